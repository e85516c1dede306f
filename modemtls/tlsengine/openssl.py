"""The engine on OpenSSL, through pyOpenSSL's memory BIO. The contract is in :mod:`modemtls.tlsengine.contract`."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from modemtls.tlsengine import blocks, sessions
from modemtls.tlsengine.contract import Info
from modemtls.tlsengine.errors import (
    Alert,
    AlertReceivedError,
    CertificateRefusedError,
    HandshakeTimeoutError,
    MessageSizeError,
    ProtocolError,
    StreamEndedError,
    TlsError,
    UnsupportedError,
    WantReadError,
)
from modemtls.tlsengine.names import is_address, wire_name
from modemtls.tlsengine.openssl_context import NO_CID, NoCommonProtocolError, Notes, OpenSslSettings
from modemtls.tlsengine.openssl_library import SSL, crypto, ffi, lib, verify_text
from modemtls.tlsengine.openssl_verify import demand
from modemtls.tlsengine.records import records
from modemtls.tlsengine.suites import openssl_suite
from modemtls.tlsengine.timers import FlightTimer

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.tlsengine.settings import Settings

__all__ = ["OpenSslContext", "OpenSslEngine"]

T = TypeVar("T")
_READ_SIZE = 65536
_STREAM_RECORD = 16384  # RFC 8446, section 5.1
_CB_ALERT, _CB_READ, _CB_WRITE = 0x4000, 0x04, 0x08  # openssl/ssl.h, SSL_CB_…
_FATAL = 2
_TICKET = 0xAA  # SSL_SESSION's ASN.1, ssl_asn1.c: [10] tlsext_tick
_SESSION_ID_PLACE = 3  # after its version, the protocol's, and the suite
_TLS1_3 = 0x0304


class OpenSslContext:
    """Settings that OpenSSL has accepted; raises :exc:`modemtls.tlsengine.SettingsError` if it does not."""

    name = "openssl"

    def __init__(self, settings: Settings) -> None:
        if settings.server_name and not is_address(settings.server_name):
            wire_name(settings.server_name)
        if settings.host and not is_address(settings.host):
            wire_name(settings.host)
        self._made = OpenSslSettings(settings)

    @property
    def settings(self) -> Settings:
        """What it was made of."""
        return self._made.settings

    def engine(self, peer: bytes = b"", *, cid: bytes | None = None) -> OpenSslEngine:
        """Return the engine of one connection."""
        if cid is not None:
            raise UnsupportedError(NO_CID)
        return OpenSslEngine(self._made, peer)


class OpenSslEngine:
    """One end of one connection."""

    def __init__(self, made: OpenSslSettings, peer: bytes) -> None:
        self._made = made
        self._settings = settings = made.settings
        self._notes = notes = Notes(peer)
        self._connection = SSL.Connection(made.context, None)
        self._connection.set_app_data(notes)
        self._connection.set_info_callback(_note_alert)
        self._ssl: Any = self._connection._ssl  # noqa: SLF001 - probed in openssl_library
        self._listening = settings.server and settings.datagram and settings.cookies
        if settings.server:
            self._connection.set_accept_state()
        else:
            self._connection.set_connect_state()
        if settings.datagram:
            self._connection.set_options(SSL.OP_NO_QUERY_MTU)
            self._connection.set_ciphertext_mtu(settings.flight)
        demand(self._ssl, settings)
        if settings.server_name and not settings.server and not is_address(settings.server_name):
            self._connection.set_tlsext_host_name(wire_name(settings.server_name))
        self._datagrams: deque[bytes] = deque()
        self._timer = FlightTimer(settings.timers) if settings.timers is not None else None
        self._offered: Any = ffi.NULL
        self._done = self._resumed = self._closed = False

    # --- bytes ------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        if self._settings.datagram:
            self._datagrams.append(data)
        elif data:
            self._connection.bio_write(data)
        else:
            self._connection.bio_shutdown()

    def take(self) -> list[bytes]:
        """Return what has to be sent."""
        out = b""
        while True:
            try:
                out += self._connection.bio_read(_READ_SIZE)
            except SSL.WantReadError:
                break
        if self._settings.datagram:
            return list(records(out))
        return [out] if out else []

    def _until_starved(self, function: Callable[[], T], during: str) -> T:
        """Call it, with one datagram after the other: what is wrong with one must not spoil the next."""
        while True:
            try:
                return function()
            except SSL.WantReadError:
                if not self._datagrams:
                    raise WantReadError from None
                data = self._datagrams.popleft()
                if data:
                    self._connection.bio_write(data)
            except (SSL.Error, NoCommonProtocolError) as error:
                self._fail(error, during)

    # --- the handshake ----------------------------------------------------------------------------

    def handshake(self) -> None:
        """Go on with the handshake."""
        if self._done:
            return
        if self._listening:
            self._until_starved(self._connection.DTLSv1_listen, "handshake")
            self._listening = False
        before = self._openssl_deadline()
        try:
            self._until_starved(self._connection.do_handshake, "handshake")
        except WantReadError:
            self._watch_flight(before)
            raise
        if self._timer is not None:
            self._timer.stop()
        self._done = True
        self._resumed = self._was_resumed()
        self._offered = ffi.NULL

    def _watch_flight(self, before: float | None) -> None:
        """Tell a new flight, which starts OpenSSL's timer anew, from one that OpenSSL sent again by itself."""
        if self._timer is None:
            return
        after = self._openssl_deadline()
        if after is None:
            self._timer.stop()
        elif before is None or 0 < before < after:
            self._timer.start()

    def _was_resumed(self) -> bool:
        if not lib.SSL_session_reused(self._ssl):
            return False
        if self._settings.server:
            return not self._notes.external
        return bool(self._offered != ffi.NULL and lib.SSL_get_session(self._ssl) == self._offered)

    # --- time -------------------------------------------------------------------------------------

    def _openssl_deadline(self) -> float | None:
        return self._connection.DTLSv1_get_timeout() if self._settings.datagram and not self._listening else None

    def deadline(self) -> float | None:
        """Return the seconds until the timer is due."""
        left = self._openssl_deadline()
        if left is None or self._timer is None:
            return left
        own = self._timer.left()
        if own is None:
            return left
        return own if self._timer.last else max(own, left)  # OpenSSL sends nothing again before its own time is over

    def on_timer(self) -> bool:
        """Send the last flight again if it is due."""
        left = self.deadline()
        if left is None or left > 0:
            return False
        if self._timer is not None and not self._timer.again():
            raise HandshakeTimeoutError("the last flight went unanswered", **self._alerts())
        try:
            return self._connection.DTLSv1_handle_timeout()
        except SSL.WantReadError:
            return True
        except SSL.Error as error:
            if "timeout" in _reasons(error):
                raise HandshakeTimeoutError("the last flight went unanswered", **self._alerts()) from error
            self._fail(error, "handshake")

    # --- data -------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Encrypt ``data``."""
        if self._closed:
            raise ProtocolError("this end is closed", **self._alerts())
        size = _STREAM_RECORD
        if self._settings.datagram:
            size = self.payload_limit()
            if len(data) > size:
                raise MessageSizeError(len(data), size)
        view = memoryview(data)
        while view:
            piece = view[:size]
            view = view[self._until_starved(lambda piece=piece: self._connection.send(piece), "write") :]  # type: ignore[misc]

    def payload_limit(self) -> int:
        """Return the largest payload of one datagram."""
        if not self._settings.datagram:
            return 0
        suite = openssl_suite(self._connection.get_cipher_name() or "")
        if suite is None:
            raise ValueError("the suite is not agreed on yet")
        return suite.payload(self._settings.mtu)

    def read(self) -> bytes:
        """Return decrypted bytes."""
        try:
            return self._until_starved(self._receive, "read")
        except SSL.ZeroReturnError:
            return b""

    def _receive(self) -> bytes:
        return self._connection.recv(_READ_SIZE)

    def close(self, *, notify: bool = True) -> None:
        """End our direction."""
        if notify and not self._closed and self._done:
            try:
                self._connection.shutdown()
            except SSL.Error:
                pass  # a connection that failed has nothing to say
        self._closed = True

    # --- what it came to --------------------------------------------------------------------------

    def info(self) -> Info:
        """Return what was agreed on so far."""
        cipher = openssl_suite(self._connection.get_cipher_name() or "")
        notes = self._notes
        code = notes.wrong[0].code if notes.wrong else int(lib.SSL_get_verify_result(self._ssl))
        name = self._connection.get_servername() if self._settings.server else None
        return Info(
            engine="openssl",
            version=self._connection.get_protocol_version_name() if cipher else "",
            suite=cipher.number if cipher else 0,
            suite_name=cipher.name if cipher else "",
            alpn=self._connection.get_alpn_proto_negotiated(),
            resumed=self._resumed,
            peer_chain=self._peer_chain(),
            verified_chain=tuple(map(_der, self._connection.get_verified_chain() or ())),
            verify_code=code,
            verify_errors=tuple(notes.wrong),
            server_name=name.decode("ascii", "replace") if name else "",
            psk_identity=notes.psk_identity,
            received=notes.received,
            sent=notes.sent,
        )

    def _peer_chain(self) -> tuple[bytes, ...]:
        """Return the chain; as OpenSSL tells it, a server's lacks the client's own certificate."""
        chain = list(self._connection.get_peer_cert_chain() or ())
        leaf = self._connection.get_peer_certificate()
        if leaf is not None and (self._settings.server or not chain):
            chain.insert(0, leaf)
        return tuple(map(_der, chain))

    def export_session(self) -> bytes:
        """Return the session, or ``b""``."""
        if self._settings.server or not self._done:
            return b""
        session = lib.SSL_get1_session(self._ssl)
        if session == ffi.NULL:
            return b""
        length = lib.i2d_SSL_SESSION(session, ffi.NULL)
        buffer = ffi.new("unsigned char[]", max(length, 1))
        lib.i2d_SSL_SESSION(session, ffi.new("unsigned char **", buffer))
        lib.SSL_SESSION_free(session)
        der = bytes(ffi.buffer(buffer, max(length, 0)))
        return sessions.pack(sessions.SESSION, self._made.demands, der) if _resumable(der) else b""

    def offer_session(self, session: bytes) -> bool:
        """Offer a session."""
        if self._settings.server or self._done:
            return False
        der = sessions.unpack(sessions.SESSION, self._made.demands, session)
        if not der:
            return False
        buffer = ffi.new("unsigned char[]", der)
        loaded = lib.d2i_SSL_SESSION(ffi.NULL, ffi.new("const unsigned char **", buffer), len(der))
        lib.ERR_clear_error()
        if loaded == ffi.NULL:
            return False
        self._offered = ffi.gc(loaded, lib.SSL_SESSION_free)
        return bool(lib.SSL_set_session(self._ssl, loaded) == 1)

    def save(self) -> bytes:
        """Not with OpenSSL."""
        raise UnsupportedError("openssl: no association can be saved; Mbed TLS can, with Connection ID")

    def load(self, association: bytes) -> bool:  # noqa: ARG002 - the contract's
        """Not with OpenSSL."""
        return False

    # --- failing ----------------------------------------------------------------------------------

    def _alerts(self) -> dict[str, Any]:
        return {"received": self._notes.received, "sent": self._notes.sent}

    def _fail(self, error: Exception, during: str) -> NoReturn:
        if isinstance(error, SSL.ZeroReturnError) and during == "read":
            raise error
        raise self._error(error, during) from error

    def _error(self, error: Exception, during: str) -> TlsError:
        notes, alerts = self._notes, self._alerts()
        if notes.refused and not self._done:
            wrong = notes.wrong[-1]  # the one that ended it
            return CertificateRefusedError(wrong.code, wrong.text or verify_text(wrong.code), **alerts)
        if notes.received is not None and notes.received.level == _FATAL:
            return AlertReceivedError(f"{during} failed: the peer says {notes.received.name!r}", **alerts)
        reasons = _reasons(error)
        if isinstance(error, SSL.SysCallError | SSL.ZeroReturnError) or "unexpected eof" in reasons:
            return StreamEndedError(f"the peer ended the connection during the {during}", **alerts)
        if isinstance(error, NoCommonProtocolError):
            reasons = "no common application protocol"
        return ProtocolError(f"{during} failed: {reasons or 'unknown reason'}", **alerts)


def _note_alert(connection: SSL.Connection, where: int, value: int) -> None:
    if where & _CB_ALERT:
        alert = Alert(value >> 8, value & 0xFF)
        notes = connection.get_app_data()
        if where & _CB_READ:
            notes.received = alert
        elif where & _CB_WRITE:
            notes.sent = alert


def _der(certificate: crypto.X509) -> bytes:
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


def _resumable(der: bytes) -> bool:
    """Tell a session that a server can take up from one that only describes a connection.

    Before TLS 1.3 it has a session id or a ticket; with it a ticket, and the ticket comes late.
    """
    try:
        parts = list(blocks.children(der))
        ticket = any(tag == _TICKET for tag, _ in parts)
        version = int.from_bytes(parts[1][1], "big")
        return ticket or (version != _TLS1_3 and bool(parts[_SESSION_ID_PLACE][1]))
    except (ValueError, IndexError):
        return False


def _reasons(error: Exception) -> str:
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return "; ".join(entry[-1] for entry in entries)
