"""Sockets from their creation to their end: +USOCR, +USOSEC, +USOCO, +USOLI, +USOCL, +USOCTL, +USOER.

UBX-17003787 R16, pages 212 to 228; UBX-20032566 R05, 5.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from modemtls.sim.command import Form, Refusal
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.ublox.area import NOT_SUPPORTED, Area
from modemtls.sim.personalities.ublox.connecting import Connecting
from modemtls.sim.personalities.ublox.security import PROFILES
from modemtls.sim.personalities.ublox.socket import IDS, TCP, UDP, Socket, State
from modemtls.sim.transport import PlainTransport

if TYPE_CHECKING:
    from modemtls.sim.job import Job
    from modemtls.sim.network import Stream

__all__ = ["Sockets"]

SECURE_SOCKETS = 4  # at once, UBX-20032566 R05, 3.3
CLOSE_LIMIT = 120.0  # s
LONGEST_HOST = 256


class Sockets(Connecting, Area):
    """The sockets by id."""

    # --- creation -------------------------------------------------------------------------------------------------

    @at("+USOCR")
    def _create(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+USOCR: (6,17),(0-65535)")
            return
        args = self.args(job, 1, 4)
        protocol, port = args.number(0, TCP, UDP), args.number(1, 0, 65535, 0)
        args.number(2, 0, 3, 0)
        args.number(3, 1, 8, 1)
        if protocol not in {TCP, UDP}:
            raise self.bad(f"protocol {protocol}")
        if port and not self.module.facts.local_port:
            raise self.bad("this module chooses the local port")
        free = [number for number in range(IDS) if number not in self.table]
        if not free:
            raise self.not_allowed("all sockets are in use")
        if self.module.bearer.cid is None and self.variants["no-context"] == "usocr":
            raise self.not_allowed("no context is active")
        socket = Socket(free[0], protocol, port)
        if protocol == UDP:
            self._bind(socket)
        self.table[socket.number] = socket
        job.info(f"+USOCR: {socket.number}" + (f",{port}" if port and self.variants.on("usocr-port") else ""))

    def _bind(self, socket: Socket) -> None:
        try:
            socket.datagrams = self.machine.network.datagrams(socket.local_port)
        except OSError as error:
            self.module.last_error = error.errno or errno.EADDRINUSE
            self.trace.note(f"port {socket.local_port}: {error}")
            raise Refusal from None
        socket.datagrams.on_datagram = lambda data, host, port: self._datagram(socket, data, (host, port))

    def _datagram(self, socket: Socket, data: bytes, sender: tuple[str, int]) -> None:
        shown = socket.names.get(sender, sender)
        if socket.peer is None or shown == socket.peer:
            self.module.reading.arrived(socket, data, shown)

    def need(self, number: int) -> Socket:
        """Return a socket that is there, or refuse."""
        socket = self.table.get(number)
        if socket is None:
            raise self.not_allowed(f"no socket {number}")
        return socket

    # --- security -------------------------------------------------------------------------------------------------

    @at("+USOSEC")
    def _secure(self, job: Job) -> None:
        self.module.security.need_tls()
        if job.form is Form.TEST:
            job.info(f"+USOSEC: (0-{IDS - 1}),(0,1),(0-{PROFILES - 1})")
            return
        args = self.args(job, 1, 3)
        socket = self.need(args.number(0, 0, IDS - 1))
        if len(args) == 1:
            used = f",{socket.profile}" if socket.secure and socket.profile is not None else ""
            job.info(f"+USOSEC: {socket.number},{int(socket.secure)}{used}")
            return
        on, profile = args.number(1, 0, 1) == 1, args.number(2, 0, PROFILES - 1) if args.has(2) else None
        if not on and profile is not None and self.variants["usosec-profile-off"] == "refuse":
            raise self.bad("a profile with nothing to secure")
        if socket.state is State.LISTEN:
            return  # ignored, UBX-13002752
        if not socket.idle:
            raise self.not_allowed(f"socket {socket.number} is connected")
        if on and not socket.stream and not self.module.facts.dtls:
            raise Refusal(cme=NOT_SUPPORTED)
        if (
            on
            and not socket.secure
            and self.variants["tls-limit"] == "usosec"
            and self._secure_count() >= SECURE_SOCKETS
        ):
            raise self.not_allowed("four sockets are secure")
        socket.secure, socket.profile = on, profile if on else None

    def _secure_count(self) -> int:
        return sum(socket.secure for socket in self.table.values())

    # --- connecting -----------------------------------------------------------------------------------------------

    @at("+USOCO")
    def _connect(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info(f'+USOCO: (0-{IDS - 1}),"remote_host",(1-65535),(0-1)')
            return
        args = self.args(job, 3, 4)
        socket = self.need(args.number(0, 0, IDS - 1))
        host, port = args.text(1, longest=LONGEST_HOST), args.number(2, 1, 65535)
        later = args.number(3, 0, 1, 0) == 1
        if later and self.variants["async-connect"] == "refuse":
            raise self.bad("no asynchronous connect")
        if later and not socket.stream and self.variants["async-udp"] == "refuse":
            raise self.bad("the flag is for TCP")
        if not host:
            raise self.bad("no host")
        self._one_at_a_time()
        if self._busy:
            self._busy -= 1
            raise Refusal
        if not socket.idle:
            raise self.not_allowed(f"socket {socket.number} is connected")
        if not later:
            job.defer()
            socket.opener = job
        elif socket.stream or socket.secure:
            self._pending = socket
        self.start(socket, host, port, later=later)

    def _one_at_a_time(self) -> None:
        """Refuse a connect while an asynchronous one is under way."""
        pending = self._pending
        if pending is None:
            return
        if self.variants["second-connect"] == "close-first":
            self.trace.note(f"another connect: socket {pending.number} is closed")
            self.forget(pending)
            self.module.urc(f"+UUSOCL: {pending.number}")
        raise self.not_allowed(f"socket {pending.number} is being connected")

    # --- listening ------------------------------------------------------------------------------------------------

    @at("+USOLI")
    def _listen(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info(f"+USOLI: (0-{IDS - 1}),(1-65535)")
            return
        args = self.args(job, 2, 2)
        socket, port = self.need(args.number(0, 0, IDS - 1)), args.number(1, 1, 65535)
        if not socket.stream:
            raise Refusal(cme=NOT_SUPPORTED)
        if not socket.idle:
            raise self.not_allowed(f"socket {socket.number} is in use")
        if self.module.bearer.cid is None:
            raise self.not_allowed("no context is active")
        try:
            socket.listener = self.machine.network.listen(
                port, lambda stream, host, peer_port: self._accepted(socket, port, stream, (host, peer_port))
            )
        except OSError as error:
            self.module.last_error = error.errno or errno.EADDRINUSE
            raise Refusal from None
        socket.local_port, socket.state = port, State.LISTEN

    def _accepted(self, listener: Socket, port: int, stream: Stream, peer: tuple[str, int]) -> None:
        free = [number for number in range(IDS) if number not in self.table]
        if not free:
            self.trace.note("a connection is refused: all sockets are in use")
            stream.abort()
            return
        socket = self.table[free[0]] = Socket(free[0], TCP, port)
        socket.peer, socket.state = peer, State.ESTABLISHED
        transport = PlainTransport(self.loop, self.machine.network, self.trace)
        self.wire(socket, transport)
        transport.adopt(stream)
        local = self.module.bearer.local_address
        self.module.urc(f'+UUSOLI: {socket.number},"{peer[0]}",{peer[1]},{listener.number},"{local}",{port}')
        stream.resume()

    # --- closing --------------------------------------------------------------------------------------------------

    @at("+USOCL")
    def _close(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info(f"+USOCL: (0-{IDS - 1}),(0-1)")
            return
        args = self.args(job, 1, 2)
        socket, later = self.need(args.number(0, 0, IDS - 1)), args.number(1, 0, 1, 0) == 1
        if later and not self.module.facts.async_close:
            raise self.bad("no asynchronous close")
        waits = (later or self.variants.on("close-waits")) and socket.transport is not None
        self.forget(socket, close=False)
        if later:
            finished = self._once(lambda: self.module.urc(f"+UUSOCL: {socket.number}"))
            socket.close(finished if waits else lambda: None)
            self.later(0 if not waits else CLOSE_LIMIT, finished)
        elif waits:
            job.defer()
            self.later(CLOSE_LIMIT, job.ok)
            socket.close(job.ok)
        else:
            socket.close(lambda: None)

    @at("+USOCLCFG")
    def _close_mode(self, job: Job) -> None:
        if job.form is Form.SET:
            self.args(job, 1, 1).number(0, 0, 1)

    # --- state ----------------------------------------------------------------------------------------------------

    @at("+USOCTL")
    def _control(self, job: Job) -> None:
        last = 11 if self.module.facts.unacknowledged else 10
        if job.form is Form.TEST:
            job.info(f"+USOCTL: (0-{IDS - 1}),(0-4,10{'-11' if last == 11 else ''})")
            return
        args = self.args(job, 2, 2)
        socket, what = self.need(args.number(0, 0, IDS - 1)), args.number(1, 0, 99)
        if what == 11 and last < what:
            raise Refusal(cme=NOT_SUPPORTED)
        host, port = socket.peer or ("0.0.0.0", 0)  # noqa: S104 - shown, not bound
        stream = socket.transport.stream if socket.transport is not None else None
        values = {
            0: f"{socket.protocol}",
            1: f"{socket.error}",
            2: f"{socket.sent}",
            3: f"{socket.received}",
            4: f'"{host}",{port}',
            10: f"{int(socket.state)}",
            11: f"{stream.unacknowledged() if stream is not None else 0}",
        }
        if what not in values or (what >= 10 and not socket.stream):
            raise self.bad(f"USOCTL parameter {what}")
        job.info(f"+USOCTL: {socket.number},{what},{values[what]}")

    @at("+USOER")
    def _last_error(self, job: Job) -> None:
        if job.form is Form.TEST:
            return
        if job.form is not Form.ACTION:
            raise self.bad()
        job.info(f"+USOER: {self.module.last_error}")
