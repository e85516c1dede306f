"""How secure sockets become real (D)TLS: credentials of a tag, options, the session cache (NRFX-H, CMNG)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from modemtls.sim.personalities.nordic.area import Area
from modemtls.sim.personalities.nordic.errno import Errno
from modemtls.sim.secure import SecureDatagrams
from modemtls.sim.transport import Stage, TlsTransport
from modemtls.tlsengine import sessions

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from modemtls.sim.network import Stream
    from modemtls.sim.personalities.nordic.credentials import Stored
    from modemtls.sim.personalities.nordic.socket import Security, Socket
    from modemtls.tlsengine import Engine, Settings

__all__ = ["Tls", "UnusableError", "cid_status", "is_aead", "sends_cid"]

NO_CHECK, OPTIONAL, REQUIRED = 0, 1, 2  # <peer_verify>
SUPPORTED, ENABLED = 1, 2  # DTLS_CID
CID_LENGTH = 8  # bytes; not documented
IP_UDP = 28
# What the modem offers; the sheets do not list it. With certificates: ECDHE with AES, GCM first.
CERTIFICATE_SUITES = (
    0xC02B, 0xC02F, 0xC02C, 0xC030, 0xC0AE, 0xC023, 0xC027, 0xC024, 0xC028, 0xC009, 0xC013, 0xC00A, 0xC014,
)  # fmt: skip
PSK_SUITES = (0xC0A8, 0x00A8, 0x00AE, 0x008C)
_ERRORS = {Stage.CONNECT: Errno.ECONNREFUSED, Stage.TLS: Errno.ECONNABORTED, Stage.TIMEOUT: Errno.ETIMEDOUT}


class UnusableError(Exception):
    """The credentials of a tag are no good for a connection; the text says why."""


class Tls(Area):
    """The (D)TLS of the modem, or of the application. The session cache is lost in a restart."""

    def reset(self) -> None:
        """No session is cached."""
        self._sessions: dict[tuple[str, int, int], bytes] = {}

    def purge(self) -> None:
        """Drop all cached sessions."""
        self._sessions.clear()

    # --- settings -----------------------------------------------------------------------------------------------------

    def unusable(self, tag: int, role: int) -> str:
        """Return why no connection can be made with a tag; empty if one can."""
        try:
            self._uses_psk(self.module.credentials.under(tag), server=bool(role))
        except UnusableError as error:
            return f"tag {tag}: {error}"
        return ""

    def _uses_psk(self, stored: Stored, *, server: bool) -> bool:
        """Return whether the pre-shared key is used; raises :class:`UnusableError`."""
        credentials = self.module.credentials
        if bool(stored.psk) != bool(stored.identity):
            raise UnusableError("half a pre-shared key")
        if bool(stored.certificate) != bool(stored.key):
            raise UnusableError("a certificate without its key, or a key without its certificate")
        if server:
            if not stored.psk and not stored.certificate:
                raise UnusableError("a server needs a certificate or a pre-shared key")
            return bool(stored.psk)
        some_ca = bool(stored.ca) or (self.variants["ca-under"] == "any" and credentials.has_some_ca)
        if not stored.psk and not some_ca:
            raise UnusableError("neither a root CA nor a pre-shared key with its identity")
        if stored.psk and self.variants.on("psk-needs-ca") and not credentials.has_some_ca:
            raise UnusableError("no root CA in the storage")
        return bool(stored.psk) and (not stored.ca or self.variants["both-under-tag"] == "psk")

    def _settings(self, socket: Socket, security: Security) -> Settings:
        from modemtls.tlsengine import Psk, Settings, Verify, Version

        stored = self.module.credentials.under(security.tag)
        server = bool(socket.role)
        psk = self._uses_psk(stored, server=server)
        key = bytes.fromhex(stored.psk.decode()) if psk else b""
        verify = {NO_CHECK: Verify.NONE, REQUIRED: Verify.REQUIRED}.get(
            security.verify, Verify.OPTIONAL if server else Verify.NONE
        )
        required = security.verify == REQUIRED
        by_certificate = bool(stored.certificate) and (server or not psk)
        return Settings(
            server=server,
            datagram=not socket.stream,
            min_version=Version.TLS1_2,
            max_version=Version.TLS1_2,
            suites=PSK_SUITES if psk and not by_certificate else CERTIFICATE_SUITES + PSK_SUITES * psk,
            psk=Psk(stored.identity, key) if psk and not server else None,
            psks={stored.identity: key} if psk and server else {},
            ca=stored.ca if not psk or server else b"",
            chain=stored.certificate if by_certificate else b"",
            key=stored.key if by_certificate else b"",
            key_password=stored.password if by_certificate else b"",
            verify=verify if not psk or server else Verify.NONE,
            check_dates=self._dates_count,
            at=self._now,
            host=security.host if required and not psk and not server else "",
            server_name="" if server else security.host,
            mtu=int(self.variants.number("mtu")) - IP_UDP,
            cid=None if socket.stream else self._own_cid(security),
        )

    @property
    def _dates_count(self) -> bool:
        choice = self.variants["dates"]
        return choice == "always" or (choice == "when-set" and self.module.clock.known)

    @property
    def _now(self) -> datetime:
        return self.module.clock.rtc.utc()

    def _own_cid(self, security: Security) -> bytes | None:
        from modemtls.tlsengine import EngineUnavailableError, require

        if not security.cid:
            return None
        try:
            require("mbedtls")
        except EngineUnavailableError as error:
            self.trace.note(f"no Connection ID: {error}")
            return None
        return b"" if security.cid == SUPPORTED else os.urandom(CID_LENGTH)

    # --- connecting ---------------------------------------------------------------------------------------------------

    def connect(self, socket: Socket, done: Callable[[Errno], None]) -> None:
        """Connect and shake hands."""
        security = socket.security
        assert security is not None
        try:
            settings = self._settings(socket, security)
        except UnusableError as error:
            self.trace.note(f"tag {security.tag}: {error}")
            done(Errno.EINVAL)
            return
        except ValueError as error:  # SettingsError: what is stored cannot be used
            self.trace.note(f"tag {security.tag}: {error}")
            done(Errno.EINVAL)
            return
        if socket.stream:
            transport = self._tls(socket, settings, done)
            transport.open(socket.host, socket.port, socket.local_port)
        else:
            self._dtls(socket, settings, security, done)

    def accept(self, socket: Socket, stream: Stream, done: Callable[[Errno], None]) -> None:
        """Shake hands with a client that has connected."""
        assert socket.security is not None
        try:
            settings = self._settings(socket, socket.security)
        except (UnusableError, ValueError) as error:
            self.trace.note(f"tag {socket.security.tag}: {error}")
            stream.abort()
            done(Errno.EINVAL)
            return
        self._tls(socket, settings, done).accept(stream)

    def _tls(self, socket: Socket, settings: Settings, done: Callable[[Errno], None]) -> TlsTransport:
        limit = self.variants.number("tls-timeout")
        transport = TlsTransport(self.loop, self.machine.network, self.trace, settings, limit)
        self.module.sockets.wire(socket, transport)
        transport.prepare = lambda engine: self._offer(socket, engine, settings)

        def opened() -> None:
            assert transport.engine is not None
            self._agreed(socket, transport.engine, settings)
            done(Errno.OK)

        transport.opened = opened
        transport.failed = lambda stage, why: self._failed(stage, why, done)
        return transport

    def _dtls(self, socket: Socket, settings: Settings, security: Security, done: Callable[[Errno], None]) -> None:
        why = self.module.sockets.need_datagrams(socket)
        if why or socket.datagrams is None:
            done(why)
            return
        association = SecureDatagrams(
            self.loop, self.trace, settings, socket.datagrams, socket.target, security.handshake_limit
        )
        socket.association = association
        association.prepare = lambda engine: self._offer(socket, engine, settings)

        def opened() -> None:
            assert association.engine is not None
            self._agreed(socket, association.engine, settings)
            done(Errno.OK)

        association.opened = opened
        association.failed = lambda stage, why: self._failed(stage, why, done)
        association.data = socket.arrived
        association.ended = lambda _: socket.finished()
        association.open()

    def _failed(self, stage: Stage, why: str, done: Callable[[Errno], None]) -> None:
        self.trace.note(why)
        done(_ERRORS[stage])

    # --- sessions: filed by host and tag, whatever else was demanded of the peer (NRFX-H) -----------------------------

    def _place(self, socket: Socket) -> tuple[str, int, int]:
        assert socket.security is not None
        name = socket.security.host if self.variants["sessions-by"] == "name" else ""
        return name or socket.host, socket.security.tag, socket.kind

    def _offer(self, socket: Socket, engine: Engine, settings: Settings) -> None:
        if socket.security is not None and socket.security.cache and not socket.role:
            session = self._sessions.get(self._place(socket), b"")
            demands = sessions.demands(engine.info().engine, settings)
            engine.offer_session(sessions.pack(sessions.SESSION, demands, session) if session else b"")

    def _agreed(self, socket: Socket, engine: Engine, settings: Settings) -> None:
        info = engine.info()
        socket.suite = info.suite
        if info.resumed:
            self.trace.note("the session was resumed")
        if socket.security is not None and socket.security.cache and not socket.role:
            demands = sessions.demands(info.engine, settings)
            session = sessions.unpack(sessions.SESSION, demands, engine.export_session())
            if session:
                self._sessions[self._place(socket)] = session


def cid_status(association: SecureDatagrams | None) -> int:
    """Return DTLS_CID_STATUS: 1 downlink, 2 uplink, 3 both; 0 before the end of the handshake."""
    if association is None or association.engine is None or not association.up:
        return 0
    info = association.engine.info()
    return (1 if info.own_cid else 0) | (2 if info.peer_cid else 0)


def sends_cid(association: SecureDatagrams | None) -> bool:
    """Whether the peer knows us by a Connection ID, wherever we send from."""
    return bool(cid_status(association) & 2)


def is_aead(association: SecureDatagrams | None) -> bool:
    """Whether the association's suite is an AEAD."""
    from modemtls.tlsengine.suites import SUITES

    if association is None or association.engine is None or not association.up:
        return False
    suite = SUITES.get(association.engine.info().suite)
    return suite is not None and suite.block == 1
