"""The engine on Mbed TLS 3.6: DTLS 1.2 with Connection ID. The contract is in :mod:`modemtls.tlsengine.contract`."""

from __future__ import annotations

import ctypes as c
import hashlib
import time
import weakref
from typing import TYPE_CHECKING, Any, NoReturn

from modemtls.tlsengine import sessions
from modemtls.tlsengine.contract import Info
from modemtls.tlsengine.errors import (
    Alert,
    AlertReceivedError,
    CertificateRefusedError,
    HandshakeTimeoutError,
    MessageSizeError,
    ProtocolError,
    SettingsError,
    StreamEndedError,
    TlsError,
    WantReadError,
)
from modemtls.tlsengine.mbedtls_context import MbedSettings
from modemtls.tlsengine.mbedtls_io import WANT_READ, Notes, install, next_offset
from modemtls.tlsengine.mbedtls_library import SIZE, Certificate
from modemtls.tlsengine.mbedtls_verify import Judge
from modemtls.tlsengine.names import is_address, wire_name
from modemtls.tlsengine.settings import Verify
from modemtls.tlsengine.suites import SUITES

if TYPE_CHECKING:
    from modemtls.tlsengine.settings import Settings

__all__ = ["MbedContext", "MbedEngine"]

# ssl.h, MBEDTLS_ERR_SSL_…
_WANT_WRITE, _HELLO_VERIFY, _TIMEOUT = -0x6880, -0x6A80, -0x6800
_FATAL_ALERT, _CLOSE_NOTIFY, _CLIENT_RECONNECT = -0x7780, -0x7880, -0x6780
_FATAL, _HANDSHAKE_FAILURE = 2, 40
_READ_SIZE, _STATE_SIZE, _LONGEST_CID = 16384, 16384, 32


class MbedContext:
    """Settings that Mbed TLS has accepted.

    Raises :exc:`modemtls.tlsengine.SettingsError` if it does not, and
    :exc:`modemtls.tlsengine.EngineUnavailableError` if it is not there.
    """

    name = "mbedtls"

    def __init__(self, settings: Settings) -> None:
        self._made = MbedSettings(settings)

    @property
    def settings(self) -> Settings:
        """What it was made of."""
        return self._made.settings

    def engine(self, peer: bytes = b"", *, cid: bytes | None = None) -> MbedEngine:
        """Return the engine of one connection."""
        own = self.settings.cid
        if cid is not None and (own is None or len(own) != len(cid)):
            raise SettingsError("the Connection ID of one engine is as long as that of the settings")
        return MbedEngine(self._made, peer, own if cid is None else cid)


class MbedEngine:
    """One end of one connection."""

    def __init__(self, made: MbedSettings, peer: bytes, cid: bytes | None) -> None:
        self._made, self._settings, self._lib = made, made.settings, made.library
        self._peer, self._cid = peer or b"?", cid
        self._notes = Notes(Judge(self._lib, self._settings, made.anchors))
        self._ssl = self._lib.new("ssl", "ssl")
        # Freeing looks into the configuration, so that lives until then, whatever the order of collection.
        self._finalizer = weakref.finalize(
            self, lambda free, ssl, *_: free(ssl), self._lib.ssl_free, self._ssl, made.config
        )
        made.check(self._lib.ssl_setup(self._ssl, made.config), "connection")
        self._callbacks = install(self._lib, self._ssl, self._notes, made.settings.keylog)
        name = self._settings.server_name
        named = name and not self._settings.server and not is_address(name)
        made.check(self._lib.ssl_set_hostname(self._ssl, wire_name(name) if named else None), "server name")
        self._prepare()
        self._offered = self._session = b""
        self._done = self._closed = self._resumed = self._loaded = self._dead = False
        self._code = 0

    def _prepare(self) -> None:
        """Set what a reset of the connection takes back."""
        self._lib.ssl_set_mtu(self._ssl, c.c_uint16(self._settings.flight))
        if self._settings.server and self._settings.cookies:
            code = self._lib.ssl_set_client_transport_id(self._ssl, self._peer, SIZE(len(self._peer)))
            self._made.check(code, "peer")
        if self._cid is not None:
            self._made.check(self._lib.ssl_set_cid(self._ssl, 1, self._cid, SIZE(len(self._cid))), "Connection ID")

    def _call(self, function: Any, *arguments: Any) -> int:
        """Call the library as this engine; an engine without a state any more is not called."""
        if self._dead:
            raise ProtocolError("the association was saved and lives elsewhere")
        self._made.current = self._notes
        try:
            return int(function(self._ssl, *arguments))
        finally:
            self._made.current = None

    # --- bytes ------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Take one datagram."""
        if data:
            self._notes.arrived.append(data)

    def take(self) -> list[bytes]:
        """Return the datagrams that have to be sent."""
        out, self._notes.outgoing = self._notes.outgoing, []
        return out

    # --- the handshake ----------------------------------------------------------------------------

    def handshake(self) -> None:
        """Go on with the handshake."""
        if self._done:
            return
        while True:
            code = self._call(self._lib.ssl_handshake)
            if code == 0:
                break
            if code == _HELLO_VERIFY:
                self._lib.ssl_session_reset(self._ssl)
                self._prepare()
            elif code in (WANT_READ, _WANT_WRITE):
                if not self._notes.arrived:
                    raise WantReadError
            else:
                self._fail(code, "handshake")
        if self._settings.server and self._settings.verify is Verify.JUDGED and not self._peer_chain():
            self._call(self._lib.ssl_send_alert_message, c.c_ubyte(_FATAL), c.c_ubyte(_HANDSHAKE_FAILURE))
            raise ProtocolError("handshake failed: the peer showed no certificate", **self._alerts())
        self._lib.ssl_set_mtu(self._ssl, c.c_uint16(self._settings.mtu))
        self._done = True
        digest = hashlib.sha256(self._notes.master).digest()
        if self._settings.server:
            self._resumed = self._made.remember(digest)
        else:
            self._resumed = bool(self._notes.master) and self._notes.master in self._offered
        if not self._resumed:
            self._code = self._notes.judge.wrong[0].code if self._notes.judge.wrong else 0

    # --- time -------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """Return the seconds until the timer is due."""
        timer = self._notes.timer
        return None if timer is None or self._done else max(0.0, timer[0] + timer[2] - time.monotonic())

    def on_timer(self) -> bool:
        """Send the last flight again if it is due."""
        left = self.deadline()
        if left is None or left > 0:
            return False
        try:
            self.handshake()
        except WantReadError:
            pass
        return True

    # --- data -------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Encrypt ``data``."""
        if self._closed:
            raise ProtocolError("this end is closed", **self._alerts())
        limit = self.payload_limit()
        if len(data) > limit:
            raise MessageSizeError(len(data), limit)
        code = self._call(self._lib.ssl_write, data, SIZE(len(data)))
        if code < 0:
            self._fail(code, "write")

    def payload_limit(self) -> int:
        """Return the largest payload of one datagram."""
        if not self._done:
            raise ValueError("the suite is not agreed on yet")
        return self._call(self._lib.ssl_get_max_out_record_payload)

    def read(self) -> bytes:
        """Return one decrypted record."""
        room = c.create_string_buffer(_READ_SIZE)
        while True:
            code = self._call(self._lib.ssl_read, room, SIZE(_READ_SIZE))
            if code > 0:
                return room.raw[:code]
            if code in (0, _CLOSE_NOTIFY):
                return b""
            if code not in (WANT_READ, _WANT_WRITE):
                self._fail(code, "read")
            if not self._notes.arrived:
                raise WantReadError

    def close(self, *, notify: bool = True) -> None:
        """End our direction."""
        if notify and self._done and not self._closed and not self._dead:
            self._call(self._lib.ssl_close_notify)
            self._notes.sent = Alert(1, 0)
        self._closed = True

    # --- what it came to --------------------------------------------------------------------------

    def info(self) -> Info:
        """Return what was agreed on so far."""
        notes, suite = self._notes, None
        if self._done and not self._dead:
            suite = SUITES.get(self._call(self._lib.ssl_get_ciphersuite_id_from_ssl))
        own, peer = self._cids()
        return Info(
            engine="mbedtls",
            version=self._lib.ssl_get_version(self._ssl).decode() if suite else "",
            suite=suite.number if suite else 0,
            suite_name=suite.name if suite else "",
            alpn=(self._lib.ssl_get_alpn_protocol(self._ssl) or b"") if suite else b"",
            resumed=self._resumed,
            loaded=self._loaded,
            own_cid=own,
            peer_cid=peer,
            peer_chain=self._peer_chain(),
            verified_chain=tuple(notes.judge.chain),
            verify_code=self._code or (notes.judge.wrong[0].code if notes.judge.wrong else 0),
            verify_errors=tuple(notes.judge.wrong),
            server_name=notes.server_name,
            psk_identity=notes.psk_identity,
            received=notes.received,
            sent=notes.sent,
        )

    def _cids(self) -> tuple[bytes | None, bytes | None]:
        if not self._done or self._dead or self._cid is None:
            return None, None
        used, length, room = c.c_int(0), SIZE(_LONGEST_CID), c.create_string_buffer(_LONGEST_CID)
        self._lib.ssl_get_peer_cid(self._ssl, c.byref(used), room, c.byref(length))
        return (self._cid, room.raw[: length.value]) if used.value else (None, None)

    def _peer_chain(self) -> tuple[bytes, ...]:
        pointer = None if self._dead else self._lib.ssl_get_peer_cert(self._ssl)
        if not pointer:
            return ()
        leaf = Certificate.from_address(pointer).der
        offset = next_offset(self._lib, leaf) if leaf else None
        chain = []
        while pointer:
            chain.append(Certificate.from_address(pointer).der)
            pointer = c.c_void_p.from_address(pointer + offset).value if offset else None
        return tuple(der for der in chain if der)

    def export_session(self) -> bytes:
        """Return the session, or ``b""``. The library gives it away once; so it is kept here."""
        if self._settings.server or not self._done or self._dead or self._loaded:
            return b""
        if not self._session:
            session = self._lib.new("session", "ssl_session")
            room, length = c.create_string_buffer(_STATE_SIZE), SIZE(0)
            code = self._call(self._lib.ssl_get_session, session)
            if code == 0:
                code = self._lib.ssl_session_save(session, room, SIZE(len(room)), c.byref(length))
            self._lib.ssl_session_free(session)
            if code == 0:
                self._session = self._pack(sessions.SESSION, room.raw[: length.value])
        return self._session

    def offer_session(self, session: bytes) -> bool:
        """Offer a session."""
        if self._settings.server or self._done:
            return False
        content = self._unpack(sessions.SESSION, session)
        if content is None:
            return False
        loaded = self._lib.new("session", "ssl_session")
        code = self._lib.ssl_session_load(loaded, content, SIZE(len(content)))
        if code == 0:
            code = self._call(self._lib.ssl_set_session, loaded)
        self._lib.ssl_session_free(loaded)
        if code == 0:
            self._offered = content
        return bool(code == 0)

    def save(self) -> bytes:
        """Return the association; this engine is of no use afterwards."""
        if not self._done or self._cids() == (None, None):
            raise ValueError("no association with Connection ID to save")
        room, length = c.create_string_buffer(_STATE_SIZE), SIZE(0)
        code = self._call(self._lib.ssl_context_save, room, SIZE(len(room)), c.byref(length))
        if code < 0:
            raise ValueError(f"the association cannot be saved now: {self._lib.words(code)}")
        self._dead = True
        return self._pack(sessions.ASSOCIATION, room.raw[: length.value])

    def load(self, association: bytes) -> bool:
        """Go on where :meth:`save` stopped."""
        if self._done:
            return False
        content = self._unpack(sessions.ASSOCIATION, association)
        if content is None or self._call(self._lib.ssl_context_load, content, SIZE(len(content))) != 0:
            return False
        self._done = self._resumed = self._loaded = True
        used, length, room = c.c_int(0), SIZE(_LONGEST_CID), c.create_string_buffer(_LONGEST_CID)
        self._lib.ssl_get_own_cid(self._ssl, c.byref(used), room, c.byref(length))
        self._cid = room.raw[: length.value] if used.value else self._cid
        return True

    def _pack(self, magic: bytes, content: bytes) -> bytes:
        """Nothing is verified again after resumption, so what was wrong goes with it."""
        return sessions.pack(magic, self._made.demands, self._code.to_bytes(2, "big") + content)

    def _unpack(self, magic: bytes, packed: bytes) -> bytes | None:
        content = sessions.unpack(magic, self._made.demands, packed)
        if not content:
            return None
        self._code = int.from_bytes(content[:2], "big")
        return content[2:]

    # --- failing ----------------------------------------------------------------------------------

    def _alerts(self) -> dict[str, Any]:
        return {"received": self._notes.received, "sent": self._notes.sent}

    def _fail(self, code: int, during: str) -> NoReturn:
        raise self._error(code, during)

    def _error(self, code: int, during: str) -> TlsError:
        judge, alerts = self._notes.judge, {"code": -code, **self._alerts()}
        if judge.refused and not self._done:
            return CertificateRefusedError(judge.wrong[0].code, judge.wrong[0].text, **alerts)
        if code == _TIMEOUT:
            return HandshakeTimeoutError("the last flight went unanswered", **alerts)
        if code == _FATAL_ALERT:
            said = self._notes.received.name if self._notes.received else "something fatal"
            return AlertReceivedError(f"{during} failed: the peer says {said!r}", **alerts)
        if code in (_CLOSE_NOTIFY, _CLIENT_RECONNECT):
            how = "ended the connection" if code == _CLOSE_NOTIFY else "began anew"
            return StreamEndedError(f"the peer {how} during the {during}", **alerts)
        return ProtocolError(f"{during} failed: {self._lib.words(code)}", **alerts)
