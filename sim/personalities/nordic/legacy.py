"""The socket commands of the Serial LTE Modem: one socket is selected (SLM-SOCK-a/b, SLM-C)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.command import Form
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.nordic.dialect import LONGEST_HOST, Dialect
from modemtls.sim.personalities.nordic.errno import Errno
from modemtls.sim.personalities.nordic.socket import ERR, HUP, IN
from modemtls.sim.personalities.nordic.traffic import DONT_WAIT, PEEK, WAIT_ALL

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.sim.job import Job
    from modemtls.sim.personalities.nordic.socket import Piece, Socket

__all__ = ["Legacy"]

CLOSE, IPV4, IPV6 = 0, 1, 2  # <op>
LONGEST_WAIT = 65535  # s
FOREVER = -1


class Legacy(Dialect):
    """``nordic-slm``."""

    # --- opening, selecting, closing ----------------------------------------------------------------------------------

    @at("#XSOCKET")
    def _open(self, job: Job) -> None:
        sockets = self.module.sockets
        if job.form is Form.READ:
            if sockets.table:
                item = sockets.selected
                job.info(f"#XSOCKET: {item.handle},{item.family},{item.role},{item.kind},{item.cid}")
            return
        args = self.args(job, 1, 4)
        family = args.number(0, CLOSE, IPV6)
        if family == CLOSE:
            self._close(job)
            return
        socket = self.open_plain(family, args)
        job.info(f"#XSOCKET: {socket.handle},{socket.kind},{socket.protocol}")

    @at("#XSSOCKET")
    def _open_secure(self, job: Job) -> None:
        sockets = self.module.sockets
        if job.form is Form.READ:
            if sockets.table and sockets.selected.security is not None:
                item, tag = sockets.selected, sockets.selected.security.tag
                job.info(f"#XSSOCKET: {item.handle},{item.family},{item.role},{item.kind},{tag},{item.cid}")
            return
        args = self.args(job, 1, 6)
        family = args.number(0, CLOSE, IPV6)
        if family == CLOSE:
            self._close(job)
            return
        socket = self.open_secure(family, args)
        job.info(f"#XSSOCKET: {socket.handle},{socket.kind},{socket.protocol}")

    def _close(self, job: Job) -> None:
        self.module.sockets.close(self.module.sockets.selected)
        job.info(f'{job.command.name}: 0,"closed"')

    @at("#XSOCKETSELECT")
    def _select(self, job: Job) -> None:
        sockets = self.module.sockets
        if job.form is Form.READ:
            for item in sockets.table.values():
                tag = -1 if item.security is None else item.security.tag
                head = f"{item.handle},{item.family},{item.role},{item.kind}"
                job.info(f"#XSOCKETSELECT: {head},{tag},{item.ranking},{item.cid}")
            if sockets.table:
                job.info(f"#XSOCKETSELECT: {sockets.selected.handle}")
            return
        socket = sockets.get(self.args(job, 1, 1).number(0, 0, 99))
        sockets.select(socket)
        job.info(f"#XSOCKETSELECT: {socket.handle}")

    # --- connecting ---------------------------------------------------------------------------------------------------

    @at("#XBIND")
    def _bind(self, job: Job) -> None:
        self.module.sockets.bind(self.module.sockets.selected, self.args(job, 1, 1).number(0, 0, 65535))

    @at("#XCONNECT")
    def _connect(self, job: Job) -> None:
        args = self.args(job, 2, 2)
        host, port = args.text(0, longest=LONGEST_HOST), args.number(1, 1, 65535)
        socket = self.module.sockets.selected
        job.defer()
        self.module.sockets.connect(socket, host, port, lambda why: self.end(job, why, "#XCONNECT: 1"))

    @at("#XLISTEN")
    def _listen(self, job: Job) -> None:
        self.need_action(job)
        self.module.sockets.listen(self.module.sockets.selected)

    @at("#XACCEPT")
    def _accept(self, job: Job) -> None:
        timeout = self.args(job, 1, 1).number(0, 0, LONGEST_WAIT)
        sockets = self.module.sockets
        server = sockets.selected
        if server.listener is None:
            raise self.refuse(f"socket {server.handle} does not listen")

        def waited(in_time: bool) -> None:
            if not in_time or not server.waiting:
                self.end(job, Errno.EAGAIN)
                return
            if server.peer is not None:
                sockets.close(server.peer)
            client = server.peer = sockets.open_outside(
                server.family, server.kind, server.role, server.cid, server.security
            )

            def done(why: Errno) -> None:
                if why:
                    sockets.close(client)
                    server.peer = None
                self.end(job, why, f'#XACCEPT: {client.handle},"{client.host}"')

            sockets.accept(server, client, done)

        job.defer()
        sockets.wait(lambda: bool(server.waiting or server.error), timeout or None, waited)

    # --- data ---------------------------------------------------------------------------------------------------------

    @property
    def _talking(self) -> Socket:
        """The socket whose data is meant: that of the accepted client, if the selected one serves."""
        socket = self.module.sockets.selected
        return socket.peer or socket

    @at("#XSEND")
    def _send(self, job: Job) -> None:
        socket = self._talking
        traffic = self.module.traffic
        if job.form is Form.ACTION:
            if not socket.connected or socket.ended:
                raise self.refuse(f"socket {socket.handle} is not connected")

            def forward(data: bytes, sent: Callable[[Errno], None]) -> None:
                traffic.send(socket, data, 0, lambda why, _: sent(why))

            self.module.datamode.enter(job, socket, forward, polled=False)
            return
        data = self.text(self.args(job, 1, 1), 0)
        job.defer()
        traffic.send(socket, data, 0, lambda why, count: self.sent(job, socket, "", why, count))

    @at("#XSENDTO")
    def _send_to(self, job: Job) -> None:
        args = self.args(job, 2, 3)
        host, port = args.text(0, longest=LONGEST_HOST), args.number(1, 1, 65535)
        socket = self._talking
        traffic = self.module.traffic
        if len(args) == 2:
            if socket.stream:
                raise self.refuse("a stream has one peer")

            def forward(data: bytes, sent: Callable[[Errno], None]) -> None:
                traffic.send_to(socket, host, port, data, lambda why, _: sent(why))

            self.module.datamode.enter(job, socket, forward, polled=False)
            return
        data = self.text(args, 2)
        job.defer()
        traffic.send_to(socket, host, port, data, lambda why, count: self.sent(job, socket, "", why, count))

    @at("#XRECV", "#XRECVFROM")
    def _receive(self, job: Job) -> None:
        args = self.args(job, 1, 2)
        timeout, flags = args.number(0, 0, LONGEST_WAIT), args.number(1, 0, PEEK | DONT_WAIT | WAIT_ALL, 0)
        if flags & ~(PEEK | DONT_WAIT | WAIT_ALL):
            raise self.refuse(f"receive flags {flags}")
        socket, name = self._talking, job.command.name
        if name == "#XRECVFROM" and socket.stream:
            raise self.refuse("a stream has one peer")

        def done(why: Errno, piece: Piece | None) -> None:
            if not why and piece is not None:
                job.info(f"{name}: {len(piece.data)}{self._sender(name, socket, piece)}")
                job.raw(piece.data)
            self.end(job, why)

        job.defer()
        self.module.traffic.receive(socket, self.most_read, flags, timeout, done)

    def _sender(self, name: str, socket: Socket, piece: Piece) -> str:
        if name == "#XRECV":
            return ""
        host, port = piece.peer or (self.machine.network.address(socket.host) or "", socket.port)
        return f',"{host}"' + (f",{port}" if self.module.release.datagram_port else "")

    @at("#XPOLL")
    def _poll(self, job: Job) -> None:
        args = self.args(job, 1, 9)
        timeout = args.number(0, FOREVER, 2**31 - 1)
        sockets = self.module.sockets
        handles = [args.number(index, 0, 99) for index in range(1, len(args))]
        watched = [sockets.get(handle) for handle in handles] or list(sockets.table.values())

        def events(socket: Socket) -> int:
            return socket.events & (IN | ERR | HUP)  # of one that listens: not of who it has accepted (SLM-C)

        def done(in_time: bool) -> None:
            if not in_time and self.variants["poll-timeout"] == "ERROR":
                self.end(job, Errno.EAGAIN)
                return
            for socket in watched:
                if events(socket):
                    job.info(f'#XPOLL: {socket.handle},"0x{events(socket):04x}"')
            job.ok()

        job.defer()
        sockets.wait(
            lambda: any(events(socket) for socket in watched), None if timeout == FOREVER else timeout / 1000, done
        )
