"""The legacy application's clients that are one command each, and push what they receive (SLM-TCPUDP)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.command import Form
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.nordic.dialect import CLIENT, LAST_TAG, LONGEST_HOST, REQUIRED, Dialect
from modemtls.sim.personalities.nordic.errno import Errno
from modemtls.sim.personalities.nordic.polling import LINE_BACKLOG
from modemtls.sim.personalities.nordic.socket import DATAGRAM, STREAM, Security
from modemtls.sim.personalities.nordic.tls import ENABLED

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.sim.command import Args
    from modemtls.sim.job import Job
    from modemtls.sim.personalities.nordic.socket import Socket

__all__ = ["Proxies"]

DISCONNECT, IPV4, IPV6 = 0, 1, 2  # <op>
NO_TAG = -1
NO_HANDLE = -1


class Proxies(Dialect):
    """``#XTCPCLI`` and ``#XUDPCLI``; one of each at a time."""

    def reset(self) -> None:
        """No proxy."""
        self._clients: dict[str, Socket] = {}
        self._families: dict[str, int] = {}  # of the last one

    @at("#XTCPCLI")
    def _tcp(self, job: Job) -> None:
        if job.form is Form.READ:
            self._show(job)
            return
        args = self.args(job, 1, 6)
        if args.number(0, DISCONNECT, IPV6) == DISCONNECT:
            self._disconnect(job)
            return
        tag = args.number(3, NO_TAG, LAST_TAG, NO_TAG)
        self._open(job, args, STREAM, self._security(args, tag, 4))

    @at("#XUDPCLI")
    def _udp(self, job: Job) -> None:
        if job.form is Form.READ:
            self._show(job)
            return
        args = self.args(job, 1, 7)
        if args.number(0, DISCONNECT, IPV6) == DISCONNECT:
            self._disconnect(job)
            return
        tag, cid = args.number(3, NO_TAG, LAST_TAG, NO_TAG), args.number(4, 0, ENABLED, 0)
        security = self._security(args, tag, 5)
        if cid and security is not None:
            if not self.module.firmware.cid:
                self._not_connected(job, Errno.ENOTSUP)
                return
            security.cid = cid
        self._open(job, args, DATAGRAM, security)

    def _show(self, job: Job) -> None:
        """Tell handle and family; -1 is none (ncs-serial-modem, doc/app/sm_testing.rst of the legacy application)."""
        name = job.command.name
        client = self._clients.get(name)
        job.info(f"{name}: {client.handle if client is not None else NO_HANDLE},{self._families.get(name, IPV4)}")

    def _security(self, args: Args, tag: int, index: int) -> Security | None:
        if tag == NO_TAG:
            return None
        security = Security(tag, args.number(index, 0, REQUIRED, REQUIRED))
        if args.number(index + 1, 0, 1, 1):
            security.host = args.text(1, longest=LONGEST_HOST)
        return security

    def _open(self, job: Job, args: Args, kind: int, security: Security | None) -> None:
        name = job.command.name
        family, host, port = args.number(0, 1, IPV6), args.text(1, longest=LONGEST_HOST), args.number(2, 1, 65535)
        if name in self._clients:
            raise self.refuse(f"there is a {name} already")
        self._families[name] = family
        sockets = self.module.sockets
        socket = sockets.open_outside(family, kind, CLIENT, 0, security)
        self._clients[name] = socket

        def done(why: Errno) -> None:
            if why:
                sockets.close(self._clients.pop(name))
                self._not_connected(job, why)
            else:
                self.end(job, Errno.OK, f'{name}: {socket.handle},"connected"')

        job.defer()
        sockets.connect(socket, host, port, done)

    def _not_connected(self, job: Job, why: Errno) -> None:
        job.info(f'{job.command.name}: -{why.value},"not connected"')
        job.refuse(self.refuse(f"{job.command.name}: {why.name}"))

    def _disconnect(self, job: Job) -> None:
        socket = self._clients.pop(job.command.name, None)
        if socket is None:
            raise self.refuse("not connected")
        self.module.sockets.close(socket)
        job.info(f'{job.command.name}: 0,"disconnected"')

    # --- data ---------------------------------------------------------------------------------------------------------

    @at("#XTCPSEND", "#XUDPSEND")
    def _send(self, job: Job) -> None:
        socket = self._clients.get({"#XTCPSEND": "#XTCPCLI", "#XUDPSEND": "#XUDPCLI"}[job.command.name])
        traffic = self.module.traffic
        if socket is None or not socket.connected:
            raise self.refuse("not connected")
        if job.form is Form.ACTION:

            def forward(data: bytes, sent: Callable[[Errno], None]) -> None:
                traffic.send(socket, data, 0, lambda why, _: sent(why))

            self.module.datamode.enter(job, socket, forward)
            return
        data = self.text(self.args(job, 1, 1), 0)
        job.defer()
        traffic.send(socket, data, 0, lambda why, count: self.sent(job, socket, "", why, count))

    def observe(self, socket: Socket) -> bool:
        """Push what has come, and tell the end; returns whether the socket is a proxy's."""
        name = next((name for name, client in self._clients.items() if client is socket), None)
        if name is None:
            return False
        if not socket.connected and not socket.error:
            return True
        self._push(socket)
        if (socket.ended or socket.error) and not socket.inbox and self.module.datamode.socket is not socket:
            why = socket.error or Errno.ENOTCONN
            self.module.sockets.close(self._clients.pop(name))
            self.module.urc(f'{name}: -{why.value},"disconnected"')
        return True

    def _push(self, socket: Socket) -> None:
        head = "#XTCPDATA" if socket.stream else "#XUDPDATA"
        while socket.inbox and self.machine.backlog <= LINE_BACKLOG:
            piece = socket.take(self.most_read)
            if self.module.datamode.socket is socket:
                self.machine.interpreter.send(piece.data)
                continue
            sender = f',"{piece.peer[0]}",{piece.peer[1]}' if piece.peer is not None else ""
            self.module.urc(f"{head}: {len(piece.data)}{sender}", piece.data, trailer=False)

    def drained(self) -> None:
        """Go on: the line has room."""
        for socket in list(self._clients.values()):
            self.observe(socket)
