"""One socket: what it is, what came for it and has not been read."""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.sim.job import Job
    from modemtls.sim.network import Datagrams, Listener
    from modemtls.sim.personalities.ublox.tls import Association
    from modemtls.sim.transport import PlainTransport

__all__ = ["IDS", "TCP", "UDP", "Piece", "Socket", "State", "Triggers"]

IDS = 7
TCP, UDP = 6, 17


class State(IntEnum):
    """What +USOCTL=<s>,10 shows."""

    INACTIVE = 0
    LISTEN = 1
    SYN_SENT = 2
    ESTABLISHED = 4
    CLOSE_WAIT = 7


class Piece(NamedTuple):
    """Received data; of a datagram, whom it came from."""

    data: bytes
    peer: tuple[str, int]


class Triggers:
    """What sends the bytes of a direct link on: +UDCONF=5 to 8, in milliseconds, bytes, a character's code."""

    def __init__(self) -> None:
        self.values = {5: 500, 6: 0, 7: -1, 8: 60000}


class Socket:
    """One socket. ``connected`` says whether it has a peer; ``names`` is whom real senders of datagrams stand for."""

    def __init__(self, number: int, protocol: int, local_port: int) -> None:
        self.number, self.protocol, self.local_port = number, protocol, local_port
        self.secure = False
        self.profile: int | None = None
        self.state = State.INACTIVE
        self.peer: tuple[str, int] | None = None
        self.transport: PlainTransport | None = None
        self.association: Association | None = None
        self.datagrams: Datagrams | None = None
        self.listener: Listener | None = None
        self.names: dict[tuple[str, int], tuple[str, int]] = {}
        self.opener: Job | None = None
        self.opening = False
        self.pieces: deque[Piece] = deque()
        self.unread = 0
        self.half_read = False
        self.ended = False
        self.sent = self.received = 0
        self.error = 0
        self.settings: dict[tuple[int, int], tuple[int, ...]] = {}
        self.triggers = Triggers()

    @property
    def stream(self) -> bool:
        """Whether it carries a stream."""
        return self.protocol == TCP

    @property
    def connected(self) -> bool:
        """Whether it has a peer that has not ended."""
        return self.state is State.ESTABLISHED

    @property
    def idle(self) -> bool:
        """Whether it is neither connected nor being connected nor listening."""
        return self.state is State.INACTIVE and not self.opening

    @property
    def unsent(self) -> int:
        """Bytes on their way out."""
        return self.transport.unsent if self.transport is not None else 0

    def put(self, data: bytes, peer: tuple[str, int] = ("", 0)) -> None:
        """Keep received data."""
        self.pieces.append(Piece(data, peer))
        self.unread += len(data)

    def take(self, most: int) -> Piece:
        """Return and forget up to ``most`` bytes: of the stream, or of the first datagram."""
        if not self.pieces:
            return Piece(b"", ("", 0))
        peer = self.pieces[0].peer
        out = bytearray()
        while self.pieces and len(out) < most:
            piece = self.pieces.popleft()
            room = most - len(out)
            out += piece.data[:room]
            rest = piece.data[room:]
            if rest:
                self.pieces.appendleft(Piece(rest, piece.peer))
            if not self.stream:
                self.half_read = bool(rest)
                break
        self.unread -= len(out)
        self.received += len(out)
        return Piece(bytes(out), peer)

    def drop_rest(self) -> None:
        """Forget what is left of a datagram that was read in part."""
        if self.half_read and self.pieces:
            self.unread -= len(self.pieces.popleft().data)
        self.half_read = False

    @property
    def announced(self) -> int:
        """What a notice of unread data says: of a datagram read in part its rest, else everything."""
        return len(self.pieces[0].data) if self.half_read and self.pieces else self.unread

    def write(self, data: bytes) -> bool:
        """Send to the peer; returns whether it could be."""
        if self.transport is not None:
            self.transport.write(data)
        elif self.association is not None:
            if not self.association.write(data):
                return False
        elif self.datagrams is not None and self.peer is not None:
            self.datagrams.send(data, *self.real_peer)
        else:
            return False
        self.sent += len(data)
        return True

    @property
    def real_peer(self) -> tuple[str, int]:
        """Where datagrams to the peer really go."""
        return next(real for real, shown in self.names.items() if shown == self.peer)

    def drop(self) -> None:
        """Close everything underneath, without a word to anybody."""
        for item in (self.transport, self.association, self.datagrams, self.listener):
            if item is not None:
                item.abort()
        self.transport = self.association = self.datagrams = self.listener = None
        self.opening = False
        self.state = State.INACTIVE

    def fail(self) -> None:
        """Have no peer, after a connect that failed; what a datagram socket is bound to stays."""
        for item in (self.transport, self.association):
            if item is not None:
                item.abort()
        self.transport = self.association = self.peer = None
        self.opening = False
        self.state = State.INACTIVE

    def close(self, done: Callable[[], None]) -> None:
        """Close in order; ``done`` is called when the peer has, too."""
        transport, self.transport = self.transport, None
        if self.association is not None:
            self.association.close()
        self.drop()
        if transport is not None:
            transport.close(done)
        else:
            done()
