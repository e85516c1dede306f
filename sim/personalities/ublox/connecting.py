"""How sockets get their peer and lose it."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from modemtls.sim.command import Refusal
from modemtls.sim.faults import Fault
from modemtls.sim.personalities.ublox.area import Area
from modemtls.sim.personalities.ublox.security import PLAIN, Profile
from modemtls.sim.personalities.ublox.socket import Socket, State
from modemtls.sim.personalities.ublox.tls import Association, ConfigurationError, SecureSession
from modemtls.sim.transport import PlainTransport, Stage, TlsTransport

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Connecting"]

NO_SUCH_NAME = 163
SECURE_SOCKETS = 4  # connected at once, UBX-20032566 R05, 3.3
DEAD = 4294967295  # what R410M shows as the length of what a dead TLS connection has


class Connecting(Area):
    """The table of sockets, and what happens to those that have a peer."""

    def reset(self) -> None:
        """No socket."""
        self.table: dict[int, Socket] = {}
        self._pending: Socket | None = None  # connects asynchronously
        self._busy = int(self.variants.number("connect-busy"))

    def stop(self) -> None:
        """Drop everything."""
        super().stop()
        for socket in self.table.values():
            socket.drop()
        self.table.clear()
        self._pending = None

    def forget(self, socket: Socket, *, close: bool = True) -> None:
        """Free the id; what is underneath goes at once unless the caller closes it."""
        if self.table.get(socket.number) is socket:
            del self.table[socket.number]
        if self._pending is socket:
            self._pending = None
        if close:
            socket.drop()

    @staticmethod
    def _once(function: Callable[[], None]) -> Callable[[], None]:
        called: list[bool] = []

        def run() -> None:
            if not called:
                called.append(True)
                function()

        return run

    # --- getting there --------------------------------------------------------------------------------------------

    def start(self, socket: Socket, host: str, port: int, *, later: bool) -> None:
        """Begin to connect; the outcome is told to the command that asked, or in a URC if ``later``."""
        if later:
            # the OK first
            socket.opening = True
            self.later(0, lambda: self._start(socket, host, port) if socket.opening else None)
        else:
            self._start(socket, host, port)

    def _start(self, socket: Socket, host: str, port: int) -> None:
        if self.module.bearer.cid is None:
            self._failed(socket, errno.ENETUNREACH, "no context is active")
            return
        address = self.machine.network.address(host, self.module.bearer.kind(self.module.bearer.cid))
        if address is None:
            self._failed(socket, NO_SUCH_NAME, f"no such name: {host}")
            return
        secure = [
            one for one in self.table.values() if one.secure and (one.connected or one.opening) and one is not socket
        ]
        if socket.secure and len(secure) >= SECURE_SOCKETS:
            self._failed(socket, errno.ENOBUFS, "four secure sockets are connected")
            return
        socket.opening = True
        socket.peer = (address, port)
        socket.names[self.machine.network.target(host, port)] = socket.peer
        if socket.stream:
            socket.state = State.SYN_SENT
        if socket.secure:
            try:
                session = SecureSession(self.module, self._profile(socket), socket.profile, datagram=not socket.stream)
            except ConfigurationError as error:
                self._failed(socket, self._tls_error, str(error))
                return
            session.before_result = socket.opener is not None and self.variants["resumption-urcs"] == "before"
            self._start_secure(socket, session, host, port)
        elif socket.stream:
            transport = PlainTransport(self.loop, self.machine.network, self.trace)
            self.wire(socket, transport)
            transport.open(host, port, socket.local_port)
        else:
            self._opened(socket)

    def _profile(self, socket: Socket) -> Profile:
        return PLAIN if socket.profile is None else self.module.security.profiles[socket.profile]

    def _start_secure(self, socket: Socket, session: SecureSession, host: str, port: int) -> None:
        limit = self.variants.number("handshake-time")
        if not socket.stream:
            datagrams = socket.datagrams
            assert datagrams is not None
            made = Association(
                self.loop, self.trace, session, datagrams, self.machine.network.target(host, port), limit
            )
            socket.association = made
            made.opened = lambda: self._opened(socket)
            made.failed = lambda stage, why: self._failed(
                socket, errno.ETIMEDOUT if stage is Stage.TIMEOUT else self._tls_error, why
            )
            made.data = lambda data: self.module.reading.arrived(socket, data, socket.peer or ("", 0))
            made.ended = lambda why: self.ended(socket, why)
            made.open()
            return
        transport = TlsTransport(self.loop, self.machine.network, self.trace, session.settings, limit)
        transport.prepare, transport.judge = session.prepare, session.judge
        self.wire(socket, transport)
        if self.variants["async-tls"] == "tcp" and socket.opener is None:
            transport.reached = lambda: self._opened(socket)
            transport.opened = lambda: None
            transport.failed = lambda _, why: self._failed(socket, self._tls_error, why, told=socket.connected)
        transport.open(host, port, socket.local_port)

    @property
    def _tls_error(self) -> int:
        return int(self.variants["tls-errno"])

    def wire(self, socket: Socket, transport: PlainTransport) -> None:
        """Have what happens on a transport happen to its socket."""
        socket.transport = transport
        transport.connect_limit = self.variants.number("handshake-time")
        transport.opened = lambda: self._opened(socket)
        transport.failed = lambda stage, why: self._failed(socket, self._errno(transport, stage), why)
        transport.data = lambda data: self.module.reading.arrived(socket, data)
        transport.ended = lambda why: self.ended(socket, why)

    def _errno(self, transport: PlainTransport, stage: Stage) -> int:
        if stage is Stage.CONNECT:
            return transport.error or errno.ETIMEDOUT
        return errno.ETIMEDOUT if stage is Stage.TIMEOUT else self._tls_error

    def _opened(self, socket: Socket) -> None:
        socket.opening = False
        socket.state = State.ESTABLISHED
        job, socket.opener = socket.opener, None
        if self._pending is socket:
            self._pending = None
        if job is not None:
            job.ok()
        else:
            self.module.urc(f"+UUSOCO: {socket.number},0")

    def _failed(self, socket: Socket, code: int, why: str, *, told: bool = False) -> None:
        """Let a connect fail: the id goes with it or is left to the host. ``told``: success has been told before."""
        self.trace.note(f"socket {socket.number}: errno {code}: {why}")
        self.module.last_error = code
        job, socket.opener = socket.opener, None
        kept = self.variants["id-after-failed-connect"] == "kept" and not told
        if kept:
            socket.fail()
            self._pending = None if self._pending is socket else self._pending
        else:
            self.forget(socket)
        if job is None:
            if not told:
                self.module.urc(f"+UUSOCO: {socket.number},{code}")
            if told or (self.variants.on("uusocl-after-failed") and not kept):
                self.module.urc(f"+UUSOCL: {socket.number}")
            return
        if self.variants.on("sync-connect-locks"):
            self.machine.apply(Fault("hang", "command", 1, "0"))
            return
        # Plain even with CMEE 1 and 2 (LEXI-R10 manual); behind it the notice, before whatever was typed ahead.
        held = self.variants["urcs-in-answer"] == "hold"
        if held and not kept:
            self.module.urc(f"+UUSOCL: {socket.number}")
        job.refuse(Refusal("ERROR"))
        if not held and not kept:
            self.module.urc(f"+UUSOCL: {socket.number}")

    # --- and losing it --------------------------------------------------------------------------------------------

    def ended(self, socket: Socket, why: str) -> None:
        """Note that the peer has closed, or that the connection broke."""
        self.trace.note(f"socket {socket.number}: the peer has gone{': ' + why if why else ''}")
        socket.ended = True
        socket.state = State.CLOSE_WAIT
        broken = socket.transport.error if socket.transport is not None else 0
        if broken:
            socket.error = self.module.last_error = broken
        if self.module.direct.end(socket):
            return
        if broken and socket.secure and self.module.facts.old and self.variants.on("dead-tls"):
            self.module.urc(f"{self.module.reading.notice(socket)}: {socket.number},{DEAD}")
            return  # it stays until the host closes it
        if not socket.pieces or self.variants.on("early-close"):
            self.gone(socket)

    def gone(self, socket: Socket) -> None:
        """Free the id of a socket whose peer has closed, and tell."""
        if self.table.get(socket.number) is socket:
            self.forget(socket)
            self.module.urc(f"+UUSOCL: {socket.number}")

    def all_lost(self, *, told: bool) -> None:
        """Drop every socket: their context has gone."""
        for socket in sorted(self.table.values(), key=lambda one: one.number):
            if socket.opening:
                self._failed(socket, errno.ENETDOWN, "the context has gone")
                self.forget(socket)
                continue
            streaming = self.module.direct.end(socket, tell=False)
            self.forget(socket)
            if told and not streaming:
                self.module.urc(f"+UUSOCL: {socket.number}")
