"""One connection id in use: its numbers, and the data that came for it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from modemtls.sim.job import Job
    from modemtls.sim.loop import Timer
    from modemtls.sim.network import Datagrams, Listener
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
    """Received data; ``peer`` is set for a UDP service, whose datagrams stay apart."""

    data: bytes
    peer: tuple[str, int] | None


class Connection:
    """One id in use."""

    def __init__(self, number: int, kind: str, cid: int, host: str, port: int, mode: int) -> None:
        self.number, self.kind, self.cid, self.host, self.port, self.mode = number, kind, cid, host, port, mode
        self.state = INITIAL
        self.server = number
        self.context = 0
        self.address = host
        self.local_port = 0
        self.transport: PlainTransport | None = None
        self.datagrams: Datagrams | None = None
        self.listener: Listener | None = None
        self.pieces: deque[Piece] = deque()
        self.unread = 0
        self.total_received = 0
        self.total_sent = 0
        self.announced = False
        self.close_announced = False
        self.close_held = False
        self.opener: Job | None = None
        self.timer: Timer | None = None

    @property
    def boundaries(self) -> bool:
        """Whether datagrams have to stay apart."""
        return self.kind.startswith("UDP")

    def take(self, most: int) -> Piece:
        """Return and forget up to ``most`` received bytes, or one whole datagram."""
        if not self.pieces:
            return Piece(b"", None)
        if self.kind == "UDP SERVICE":
            piece = self.pieces.popleft()
            self.unread -= len(piece.data)
            return piece
        out = bytearray()
        while self.pieces and len(out) < most:
            data = self.pieces.popleft().data
            room = most - len(out)
            out += data[:room]
            if len(data) > room:
                self.pieces.appendleft(Piece(data[room:], None))
            if self.boundaries:
                break
        self.unread -= len(out)
        return Piece(bytes(out), None)

    def drop(self) -> None:
        """Close everything underneath, without a word to anybody."""
        if self.timer is not None:
            self.timer.cancel()
        for item in (self.transport, self.datagrams, self.listener):
            if item is not None:
                item.abort()
