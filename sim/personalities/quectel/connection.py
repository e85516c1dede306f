"""One connection id in use: its numbers, and the data that came for it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from modemtls.sim.job import Job
    from modemtls.sim.loop import Timer
    from modemtls.sim.network import Datagrams, Listener
    from modemtls.sim.secure import SecureDatagrams
    from modemtls.sim.transport import PlainTransport

__all__ = [
    "BUFFER",
    "CLOSING",
    "CONNECTED",
    "INITIAL",
    "LISTENING",
    "OPENING",
    "PUSH",
    "TRANSPARENT",
    "Connection",
    "Piece",
]

INITIAL, OPENING, CONNECTED, LISTENING, CLOSING = 0, 1, 2, 3, 4  # <socket_state>
BUFFER, PUSH, TRANSPARENT = 0, 1, 2  # <access_mode>


class Piece(NamedTuple):
    """Received data: of a stream, or one datagram; with UDP whom it came from."""

    data: bytes
    peer: tuple[str, int] | None


class Connection:
    """One id in use.

    ``rest``: what becomes of a datagram that is read in part: ``kept`` for the next read, ``lost``, or ``joined`` with
    the next datagram as if they were a stream.
    """

    def __init__(self, number: int, kind: str, cid: int, host: str, port: int, mode: int) -> None:
        self.number, self.kind, self.cid, self.host, self.port, self.mode = number, kind, cid, host, port, mode
        self.state = INITIAL
        self.server = number
        self.context = 0
        self.address = host
        self.local_port = 0
        self.transport: PlainTransport | None = None
        self.datagrams: Datagrams | None = None
        self.association: SecureDatagrams | None = None  # DTLS, over ``datagrams``
        self.listener: Listener | None = None
        self.names: dict[tuple[str, int], tuple[str, int]] = {}  # whom datagrams really come from: whom they show
        self.pieces: deque[Piece] = deque()
        self.unread = 0
        self.rest = "kept"
        self.total_received = 0
        self.total_sent = 0
        self.announced = False
        self.close_announced = False
        self.close_held = False
        self.opener: Job | None = None
        self.timer: Timer | None = None

    @property
    def boundaries(self) -> bool:
        """Whether datagrams stay apart."""
        return not self.stream and self.rest != "joined"

    @property
    def stream(self) -> bool:
        """Whether it carries a stream."""
        return not self.kind.startswith("UDP") and self.association is None

    def take(self, most: int) -> Piece:
        """Return and forget up to ``most`` received bytes; of datagrams that stay apart, of the first one."""
        if not self.pieces:
            return Piece(b"", None)
        if self.kind == "UDP SERVICE":
            return self.take_whole()
        out = bytearray()
        while self.pieces and len(out) < most:
            data = self.pieces.popleft().data
            room = most - len(out)
            out += data[:room]
            if len(data) > room:
                if self.rest == "lost" and not self.stream:
                    self.unread -= len(data) - room
                else:
                    self.pieces.appendleft(Piece(data[room:], None))
            if self.boundaries:
                break
        self.unread -= len(out)
        return Piece(bytes(out), None)

    def take_whole(self) -> Piece:
        """Return and forget the first datagram."""
        piece = self.pieces.popleft()
        self.unread -= len(piece.data)
        return piece

    def drop(self) -> None:
        """Close everything underneath, without a word to anybody."""
        if self.timer is not None:
            self.timer.cancel()
        for item in (self.transport, self.association, self.datagrams, self.listener):
            if item is not None:
                item.abort()
