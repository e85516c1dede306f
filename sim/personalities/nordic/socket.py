"""One socket of the modem library: what it is, what came for it, what it tells those who poll."""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from modemtls.sim.personalities.nordic.errno import Errno

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.sim.network import Datagrams, Listener, Stream
    from modemtls.sim.secure import SecureDatagrams
    from modemtls.sim.transport import PlainTransport

__all__ = ["DATAGRAM", "PROTOCOLS", "RAW", "STREAM", "Piece", "Poll", "Security", "Socket", "State"]

STREAM, DATAGRAM, RAW = 1, 2, 3  # <type>
PROTOCOLS = {STREAM: 6, DATAGRAM: 17, RAW: 0}  # <protocol> of plain sockets
SECURE_PROTOCOLS = {STREAM: 258, DATAGRAM: 273}  # TLS 1.2, DTLS 1.2 (NRFX-H)
IN, OUT, ERR, HUP = 1, 4, 8, 16
SEND_TIMEOUT = 30  # s, SO_SNDTIMEO (SM-C)
LONGEST_HANDSHAKE = 123  # s


class State(Enum):
    """Where a socket stands."""

    FRESH = "fresh"
    CONNECTED = "connected"
    LISTENING = "listening"
    FAILED = "failed"  # its connect failed, or the PDN took it away


class Piece(NamedTuple):
    """Received data; of a datagram socket, with whom it came from."""

    data: bytes
    peer: tuple[str, int] | None = None


class Security:
    """What makes a socket a secure one."""

    def __init__(self, tag: int, verify: int) -> None:
        self.tag, self.verify = tag, verify
        self.host = ""
        self.cache = False
        self.cid = 0
        self.handshake_limit = LONGEST_HANDSHAKE
        self.fragment = 0
        self.saved = False  # DTLS_CONN_SAVE


class Poll:
    """Events asked for with XAPOLL, and which may be told again (SM-SOCK: each once until re-armed).

    After ERR or HUP nothing more is told.
    """

    def __init__(self) -> None:
        self.wanted: int | None = None
        self.armed = 0
        self._over = False

    def start(self, events: int) -> None:
        """Ask for events; ERR and HUP come unasked, once for each socket."""
        if self.wanted is None:
            self.armed |= ERR | HUP
        self.wanted = events
        self.armed = self.armed & (ERR | HUP) | events

    def stop(self) -> None:
        """Ask for nothing more."""
        self.wanted = None

    def rearm(self, event: int) -> None:
        """Let an event be told again."""
        if self.wanted is not None:
            self.armed |= self.wanted & event

    def due(self, state: int) -> int:
        """Return what has to be told of ``state``, once."""
        if self.wanted is None or self._over:
            return 0
        told = state & self.armed
        self.armed &= ~told
        self._over = bool(told & (ERR | HUP))
        return told


class Socket:
    """One socket. ``changed`` is called whenever it may have something new to tell."""

    def __init__(
        self,
        handle: int,
        family: int,
        kind: int,
        role: int,
        cid: int,
        security: Security | None,
        changed: Callable[[Socket], None],
    ) -> None:
        self.handle, self.family, self.kind, self.role, self.cid = handle, family, kind, role, cid
        self.security = security
        self.changed = changed
        self.state = State.FRESH
        self.connecting: Callable[[Errno], None] | None = None  # who waits for its connect or accept to end
        self.ranking = 0
        self.local_port = 0
        self.bound = False
        self.host, self.port = "", 0
        self.target = ("", 0)
        self.transport: PlainTransport | None = None
        self.datagrams: Datagrams | None = None
        self.association: SecureDatagrams | None = None
        self.listener: Listener | None = None
        self.waiting: deque[tuple[Stream, str, int]] = deque()  # accepted by the stack, not by the host
        self.peer: Socket | None = None  # legacy: the accepted client of a server socket
        self.inbox: deque[Piece] = deque()
        self.unread = 0
        self.window = 1 << 30  # bytes in the inbox at which reading stops
        self.ended = False
        self.error = Errno.OK
        self.away = False  # the PDN is down, the socket waits for it (SO_KEEPOPEN)
        self.suite = 0  # of the handshake; 0 before
        self.poll = Poll()
        self.automatic = 0  # XRECVCFG flags
        self.automatic_hex = False
        self.notice_pending = False  # XSENDNTF will follow
        self.options: dict[int, int] = {}
        self.names: dict[tuple[str, int], tuple[str, int]] = {}  # whom datagrams really come from: whom they show

    @property
    def protocol(self) -> int:
        """<protocol>."""
        return (SECURE_PROTOCOLS if self.security is not None else PROTOCOLS)[self.kind]

    @property
    def stream(self) -> bool:
        """Whether it carries a stream."""
        return self.kind == STREAM

    @property
    def send_timeout(self) -> int:
        """SO_SNDTIMEO in seconds."""
        return self.options.get(21, SEND_TIMEOUT)

    @property
    def keeps_open(self) -> bool:
        """SO_KEEPOPEN."""
        return self.options.get(34, 0) == 1

    @property
    def connected(self) -> bool:
        """Whether data can be sent to the one peer."""
        return self.state is State.CONNECTED

    # --- receiving ------------------------------------------------------------------------------------------------

    def arrived(self, data: bytes, peer: tuple[str, int] | None = None) -> None:
        """Take data; datagrams beyond the window are lost, a stream is held back."""
        if not self.stream and self.unread + len(data) > self.window:
            return
        self.inbox.append(Piece(data, peer))
        self.unread += len(data)
        if self.unread >= self.window and self.transport is not None:
            self.transport.pause()
        self.changed(self)

    def finished(self, error: Errno = Errno.OK) -> None:
        """Note that the peer has ended, or that the connection broke."""
        if not self.ended:
            self.ended = True
            self.error = error
            self.changed(self)

    def broken(self, error: Errno) -> None:
        """Lose the connection: what waits to be read is lost with it."""
        self.drop()
        self.inbox.clear()
        self.unread = 0
        self.state = State.FAILED
        self.error = error
        self.changed(self)

    def take(self, most: int, *, peek: bool = False) -> Piece:
        """Return up to ``most`` bytes of a stream, or one datagram, whose rest is lost; forgets them unless peeked."""
        if not self.stream:
            piece = self.inbox[0] if peek else self.inbox.popleft()
            if not peek:
                self.unread -= len(piece.data)
            return Piece(piece.data[:most], piece.peer)
        out = b"".join(piece.data for piece in self.inbox)
        taken = out[:most]
        if not peek:
            self.inbox.clear()
            if out[most:]:
                self.inbox.append(Piece(out[most:]))
            self.unread -= len(taken)
            if self.unread < self.window and self.transport is not None:
                self.transport.resume()
        return Piece(taken)

    @property
    def events(self) -> int:
        """What poll() would say."""
        state = IN if self.inbox or self.waiting else 0
        if self.error:
            state |= ERR
        if self.ended:
            state |= HUP
        sends_to_anybody = self.kind == DATAGRAM and self.security is None
        if (self.connected or sends_to_anybody) and not (self.ended or self.away or self.error):
            state |= OUT
        return state

    def drop(self) -> None:
        """Close everything underneath without a word."""
        for item in (self.transport, self.association, self.datagrams, self.listener):
            if item is not None:
                item.abort()
        for stream, _, _ in self.waiting:
            stream.abort()
        self.waiting.clear()
        self.transport = self.association = self.datagrams = self.listener = None
