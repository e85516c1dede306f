"""The socket commands of the Serial Modem: every one starts with the handle (SM-SOCK, SM-C)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.command import Form
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.nordic.dialect import CLIENT, LONGEST_HOST, Dialect
from modemtls.sim.personalities.nordic.socket import IN
from modemtls.sim.personalities.nordic.traffic import DONT_WAIT, NOTIFY_ACK, PEEK, WAIT_ACK, WAIT_ALL

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.sim.command import Args
    from modemtls.sim.job import Job
    from modemtls.sim.personalities.nordic.errno import Errno
    from modemtls.sim.personalities.nordic.socket import Piece, Socket

__all__ = ["Modern"]

TEXT, HEX, DATA = 0, 1, 2  # <mode>
MOST_HEX = 1400  # bytes
LONGEST_WAIT = 600  # s
MOST_COUNTED = 1 << 20


class Modern(Dialect):
    """``nordic-sm``."""

    def _socket(self, args: Args) -> Socket:
        return self.module.sockets.get(args.number(0, 0, 99))

    # --- opening ------------------------------------------------------------------------------------------------------

    @at("#XSOCKET")
    def _open(self, job: Job) -> None:
        if job.form is Form.READ:
            for item in self.module.sockets.table.values():
                if item.security is None:
                    job.info(f"#XSOCKET: {item.handle},{item.family},{item.role},{item.kind},{item.cid}")
            return
        args = self.args(job, 3, 4)
        socket = self.open_plain(args.number(0, 1, 3), args)
        job.info(f"#XSOCKET: {socket.handle},{socket.kind},{socket.protocol}")

    @at("#XSSOCKET")
    def _open_secure(self, job: Job) -> None:
        if job.form is Form.READ:
            for item in self.module.sockets.table.values():
                if item.security is not None:
                    head = f"{item.handle},{item.family},{item.role},{item.kind}"
                    job.info(f"#XSSOCKET: {head},{item.security.tag},{item.cid}")
            return
        args = self.args(job, 4, 6)
        socket = self.open_secure(args.number(0, 1, 2), args)
        job.info(f"#XSSOCKET: {socket.handle},{socket.kind},{socket.protocol}")

    @at("#XCLOSE")
    def _close(self, job: Job) -> None:
        if job.form is Form.ACTION:
            sockets = list(self.module.sockets.table.values())
        else:
            sockets = [self._socket(self.args(job, 1, 1))]
        for socket in sockets:
            self.module.sockets.close(socket)
            job.info(f"#XCLOSE: {socket.handle},0")

    @at("#XBIND")
    def _bind(self, job: Job) -> None:
        args = self.args(job, 2, 2)
        self.module.sockets.bind(self._socket(args), args.number(1, 0, 65535))

    @at("#XCONNECT")
    def _connect(self, job: Job) -> None:
        args = self.args(job, 3, 3)
        socket, host, port = self._socket(args), args.text(1, longest=LONGEST_HOST), args.number(2, 1, 65535)
        job.defer()
        self.module.sockets.connect(socket, host, port, lambda why: self.end(job, why, f"#XCONNECT: {socket.handle},1"))

    @at("#XLISTEN")
    def _listen(self, job: Job) -> None:
        if job.form is Form.READ:
            for item in self.module.sockets.table.values():
                if item.listener is not None:
                    job.info(f"#XLISTEN: {item.handle},{item.cid},{item.local_port}")
            return
        socket = self._socket(self.args(job, 1, 1))
        if not socket.local_port:
            raise self.refuse(f"socket {socket.handle} is bound to no port")
        if socket.security is not None and not self.variants.on("tls-listen"):
            raise self.refuse("there is no TLS server")
        self.module.sockets.listen(socket)

    @at("#XACCEPT")
    def _accept(self, job: Job) -> None:
        server = self._socket(self.args(job, 1, 1))
        if not server.waiting:
            raise self.refuse("nobody waits to be accepted")
        role = CLIENT if server.security is None else server.role  # do_accept() makes a client's socket of it (SM-C)
        client = self.module.sockets.open(server.family, server.kind, role, server.cid, server.security)
        self.module.polling.opened(client)
        server.poll.rearm(IN)

        def done(why: Errno) -> None:
            if why:
                self.module.sockets.close(client)
            self.end(job, why, f'#XACCEPT: {client.handle},{client.cid},"{client.host}",{client.port}')
            self.module.sockets.changed(server)

        job.defer()
        self.module.sockets.accept(server, client, done)

    # --- sending ------------------------------------------------------------------------------------------------------

    def _flags(self, args: Args, index: int) -> int:
        flags = args.number(index, 0, NOTIFY_ACK)
        if flags not in {0, WAIT_ACK, NOTIFY_ACK} or (flags == NOTIFY_ACK and not self.module.firmware.send_notices):
            raise self.refuse(f"send flags {flags}")
        return flags

    def _data(self, args: Args, mode: int, index: int) -> bytes:
        if mode == TEXT:
            return self.text(args, index)
        digits = args.text(index, longest=2 * MOST_HEX)
        try:
            if not digits.isalnum():  # bytes.fromhex() would take blanks
                raise ValueError  # noqa: TRY301 - one ending
            return bytes.fromhex(digits)
        except ValueError:
            raise self.refuse("not hexadecimal digits") from None

    @at("#XSEND")
    def _send(self, job: Job) -> None:
        args = self.args(job, 3, 4)
        socket, mode, flags = self._socket(args), args.number(1, TEXT, DATA), self._flags(args, 2)
        traffic = self.module.traffic
        if mode == DATA:
            length = args.number(3, 1, MOST_COUNTED) if args.has(3) else None
            if not socket.connected or socket.ended:
                raise self.refuse(f"socket {socket.handle} is not connected")

            def forward(data: bytes, sent: Callable[[Errno], None]) -> None:
                traffic.send(socket, data, flags, lambda why, _: sent(why))

            self.module.datamode.enter(job, socket, forward, length)
            return
        args.count(4, 4)
        data = self._data(args, mode, 3)
        job.defer()
        head = f"{socket.handle},{int(flags == NOTIFY_ACK)},"
        traffic.send(socket, data, flags, lambda why, count: self.sent(job, socket, head, why, count))

    @at("#XSENDTO")
    def _send_to(self, job: Job) -> None:
        args = self.args(job, 5, 6)
        socket, mode, flags = self._socket(args), args.number(1, TEXT, DATA), self._flags(args, 2)
        host, port = args.text(3, longest=LONGEST_HOST), args.number(4, 1, 65535)
        traffic = self.module.traffic
        if mode == DATA:
            length = args.number(5, 1, MOST_COUNTED) if args.has(5) else None
            if socket.stream:
                raise self.refuse("a stream has one peer")

            def forward(data: bytes, sent: Callable[[Errno], None]) -> None:
                traffic.send_to(socket, host, port, data, lambda why, _: sent(why))

            self.module.datamode.enter(job, socket, forward, length)
            return
        args.count(6, 6)
        data = self._data(args, mode, 5)
        job.defer()
        head = f"{socket.handle},{int(flags == NOTIFY_ACK)},"
        traffic.send_to(socket, host, port, data, lambda why, count: self.sent(job, socket, head, why, count))

    # --- receiving ----------------------------------------------------------------------------------------------------

    @at("#XRECV", "#XRECVFROM")
    def _receive(self, job: Job) -> None:
        args = self.args(job, 4, 5)
        socket, mode = self._socket(args), args.number(1, TEXT, HEX)
        flags = args.number(2, 0, PEEK | DONT_WAIT | WAIT_ALL)
        if flags & ~(PEEK | DONT_WAIT | WAIT_ALL):
            raise self.refuse(f"receive flags {flags}")
        timeout = args.number(3, 0, LONGEST_WAIT)
        most = args.number(4, 1, self.most_read, self.most_read)
        name = job.command.name
        if name == "#XRECVFROM" and socket.stream:
            raise self.refuse("a stream has one peer")

        def done(why: Errno, piece: Piece | None) -> None:
            if not why and piece is not None:
                host, port = piece.peer or (self.machine.network.address(socket.host) or "", socket.port)
                sender = f',"{host}",{port}' if name == "#XRECVFROM" else ""
                job.info(f"{name}: {socket.handle},{mode},{len(piece.data)}{sender}")
                job.raw(piece.data.hex().encode() if mode == HEX else piece.data)
            self.end(job, why)

        job.defer()
        self.module.traffic.receive(socket, most, flags, timeout, done)
