"""Received data: notices of it, +USORD, +USORF, +UDCONF=1 (UBX-17003787 R16, 218-220; UBX-20032566 R05, 5.5, 5.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.command import Form, Refusal
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.ublox.area import NOT_SUPPORTED, Area
from modemtls.sim.personalities.ublox.facts import FIRMWARES_R5
from modemtls.sim.personalities.ublox.socket import IDS, Piece, Socket

if TYPE_CHECKING:
    from modemtls.sim.job import Job
    from modemtls.sim.personalities.ublox import Ublox

__all__ = ["MOST", "MOST_HEX", "Reading"]

MOST, MOST_HEX = 1024, 512  # bytes of a read or a write


class Reading(Area):
    """What the host gets of what the peers send."""

    def __init__(self, module: Ublox) -> None:
        super().__init__(module)
        self.hex = False  # non-volatile with firmware 01B of SARA-R5

    def reset(self) -> None:
        """Raw data."""
        if self.module.firmware != FIRMWARES_R5[1]:
            self.hex = False

    @property
    def most(self) -> int:
        """Bytes of one read or write at most."""
        return MOST_HEX if self.hex else MOST

    # --- notices --------------------------------------------------------------------------------------------------

    def notice(self, socket: Socket) -> str:
        """Return the name of the notice of a socket's unread data."""
        as_stream = socket.stream or (socket.peer is not None and self.variants["connected-udp-notice"] == "tcp")
        return "+UUSORD" if as_stream else self.module.facts.udp_urc

    def arrived(self, socket: Socket, data: bytes, peer: tuple[str, int] = ("", 0)) -> None:
        """Take data of a peer: to the line, or into the buffer, with a notice if there was nothing in it."""
        if self.module.direct.take(socket, data):
            return
        first = not socket.pieces
        socket.put(data, peer)
        if first:
            self.module.urc(f"{self.notice(socket)}: {socket.number},{len(data)}")
        if socket.unread >= self.variants.number("receive-buffer") and socket.transport is not None:
            socket.transport.pause()

    def _after(self, socket: Socket) -> None:
        """Tell what is left after a read, or that the peer has closed once nothing is."""
        if socket.unread < self.variants.number("receive-buffer") and socket.transport is not None:
            socket.transport.resume()
        if socket.pieces:
            self.module.urc(f"{self.notice(socket)}: {socket.number},{socket.announced}")
        elif socket.ended:
            self.module.sockets.gone(socket)

    # --- reads ----------------------------------------------------------------------------------------------------

    @at("+USORD")
    def _read(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info(f"+USORD: (0-{IDS - 1}),(0-{self.most})")
            return
        args = self.args(job, 2, 2)
        socket, most = self.module.sockets.need(args.number(0, 0, IDS - 1)), args.number(1, 0, self.most)
        if not socket.stream and socket.peer is None:
            raise self.not_allowed(f"socket {socket.number} has no peer: USORF reads it")
        if socket.stream and not (socket.connected or socket.ended):
            raise self.not_allowed(f"socket {socket.number} is not connected")
        if most == 0:
            job.info(f"+USORD: {socket.number},{socket.unread}")
            return
        piece = socket.take(most)
        if self.variants["datagram-rest"] == "lost":
            socket.drop_rest()
        self._show(job, "+USORD", socket, piece, "")

    @at("+USORF")
    def _read_from(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info(f"+USORF: (0-{IDS - 1}),(0-{self.most})")
            return
        args = self.args(job, 2, 2)
        socket, most = self.module.sockets.need(args.number(0, 0, IDS - 1)), args.number(1, 0, self.most)
        if socket.stream or socket.association is not None:
            raise Refusal(cme=NOT_SUPPORTED)
        if most == 0:
            job.info(f"+USORF: {socket.number},{socket.unread}")
            return
        piece = socket.take(most)
        host, port = piece.peer
        self._show(job, "+USORF", socket, piece, f'"{host}",{port},')

    def _show(self, job: Job, name: str, socket: Socket, piece: Piece, sender: str) -> None:
        if not piece.data:
            job.info(f'{name}: {socket.number},{"" if self.variants["empty-read"] == "bare" else "0,"}""')
            return
        data = piece.data.hex().upper().encode() if self.hex else piece.data
        head = f"{name}: {socket.number},{sender}{len(piece.data)}," + '"'
        interpreter = self.machine.interpreter
        text = interpreter.information(head, first=True)[:-2] + data + b'"\r\n'
        job.raw(text if self.variants.on("read-blank-line") else text[:-2])
        self._after(socket)

    # --- how it is shown ------------------------------------------------------------------------------------------

    def configure_hex(self, job: Job) -> None:
        """+UDCONF=1."""
        args = self.args(job, 1, 2)
        if len(args) == 1:
            job.info(f"+UDCONF: 1,{int(self.hex)}")
        else:
            self.hex = args.number(1, 0, 1) == 1
