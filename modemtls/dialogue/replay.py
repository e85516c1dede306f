"""Play a transcript as a modem: strict about what the host says, tolerant about when.

:class:`Replay` does no I/O; :class:`ReplayModem` puts it on a pseudo terminal.
"""

from __future__ import annotations

import array
import fcntl
import os
import select
import termios
import time
import tty
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modemtls.transcript import Direction, Redacted, escape

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.transcript import Transcript, Turn

__all__ = ["Deviation", "Replay", "ReplayModem"]

FILLER = b"x"  # stands for a redacted byte
MASK = b"*"  # stands for a secret one of the host
CONTEXT = 40  # bytes shown around a deviation


@dataclass(frozen=True, slots=True)
class Deviation:
    """Where the host said something else than the transcript. ``line`` is the transcript's (0: behind its end).

    Secrets in what the host said are masked.
    """

    line: int
    expected: bytes
    got: bytes
    before: bytes

    def __str__(self) -> str:
        where = f"line {self.line}" if self.line else "behind the end of the transcript"
        after = f" after {escape(self.before)!r}" if self.before else ""
        expected = (
            f"expected {escape(self.expected)!r}{after}, " if self.expected else f"nothing more expected{after}, "
        )
        return f"{where}: {expected}the host sent {escape(self.got)!r}"


class Replay:
    """The modem's side of a dialogue.

    :meth:`receive` takes what the host says, :meth:`due` gives what the modem says next and in how many seconds.
    Bytes of the host that come early wait for their turn.
    """

    def __init__(self, turns: list[Turn]) -> None:
        self._turns = deque(turns)
        self._host = bytearray()
        self._at = (0, 0)  # chunk, and byte within it, of the host's turn
        self._said = bytearray()  # of the host's turn so far
        self.deviation: Deviation | None = None

    @property
    def finished(self) -> bool:
        """Whether everything has been said."""
        return not self._turns and not self._host

    @property
    def waiting(self) -> str:
        """What the host is expected to say next, as a transcript writes it; empty if the modem is to speak."""
        if not self._turns or self._turns[0].direction is Direction.IN:
            return ""
        return f"line {self._turns[0].line}: {escape(self._rest())!r}"

    def _rest(self) -> bytes:
        chunks, (index, offset) = self._turns[0].chunks, self._at
        whole = b"".join(FILLER * c.length if isinstance(c, Redacted) else c for c in chunks[index:])
        return whole[offset : offset + CONTEXT]

    def receive(self, data: bytes) -> None:
        """Take bytes of the host. After a deviation nothing is taken any more."""
        if self.deviation is None:
            self._host += data
            self._match()

    def _match(self) -> None:
        while self._host:
            if not self._turns:
                self._deviate(0, b"")
                return
            turn = self._turns[0]
            if turn.direction is Direction.IN:
                return
            index, offset = self._at
            if index == len(turn.chunks):
                self._next()
                continue
            chunk = turn.chunks[index]
            if isinstance(chunk, Redacted):
                count = min(len(self._host), chunk.length - offset)
                whole = offset + count == chunk.length
            else:
                count = _common(chunk[offset:], self._host)
                whole = offset + count == len(chunk)
            self._said += MASK * count if isinstance(chunk, Redacted) else self._host[:count]
            del self._host[:count]
            self._at = (index + 1, 0) if whole else (index, offset + count)
            if whole and index + 1 == len(turn.chunks):
                self._next()
            elif not whole and self._host:
                self._deviate(turn.line, self._rest())
                return

    def _deviate(self, line: int, expected: bytes) -> None:
        """Note what the host said instead, without its secrets: the line shows which they are."""
        from modemtls.dialogue.known import default_redactor

        begun = max(self._said.rfind(b"\r"), self._said.rfind(b"\n")) + 1
        whole = default_redactor().masked(bytes(self._said[begun:] + self._host), MASK)
        got = whole[len(self._said) - begun :]
        self.deviation = Deviation(line, expected, got[:CONTEXT], bytes(self._said[-CONTEXT:]))

    def _next(self) -> None:
        self._turns.popleft()
        self._at = (0, 0)
        self._said.clear()

    def due(self) -> tuple[float, bytes] | None:
        """Return what the modem says next and how long it takes before; None while it is the host's turn."""
        if not self._turns or self._turns[0].direction is Direction.OUT:
            return None
        turn = self._turns[0]
        return turn.pause, b"".join(FILLER * c.length if isinstance(c, Redacted) else c for c in turn.chunks)

    def spoke(self) -> None:
        """Note that what was due has been said."""
        self._turns.popleft()
        self._match()


def _common(expected: bytes, got: bytearray) -> int:
    """Return how many bytes are the same from the beginning."""
    limit = min(len(expected), len(got))
    return next((at for at in range(limit) if expected[at] != got[at]), limit)


class ReplayModem:
    """A transcript behind a pseudo terminal. ``path`` is for the host; a context manager.

    ``speed`` divides the pauses: 1 as recorded, 0 none at all.
    """

    def __init__(
        self, transcript: Transcript, *, speed: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.replay = Replay(transcript.turns())
        self._speed = speed
        self._clock = clock
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)

    def __enter__(self) -> ReplayModem:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the terminal away, once the host has read what was said (for up to a second)."""
        end = self._clock() + 1.0
        while self._slave >= 0 and self._unread() and self._clock() < end:
            time.sleep(0.005)  # asked again: no event tells that a pseudo terminal has been read empty (pty(7))
        for descriptor in (self._master, self._slave):
            if descriptor >= 0:
                os.close(descriptor)
        self._master = self._slave = -1

    def run(self, *, idle: float | None = None) -> bool:
        """Play until the transcript ends or the host deviates; True if the host kept to it.

        ``idle``: give up after so many seconds in which the host says nothing although it should. After the last
        word one more moment is given for the host to say too much.
        """
        poll = select.poll()
        poll.register(self._master, select.POLLIN)
        quiet = self._clock()
        while self.replay.deviation is None and not self.replay.finished:
            due = self.replay.due()
            limit: float | None
            if due is not None:
                pause, data = due
                limit = quiet + (pause / self._speed if self._speed else 0.0) - self._clock()
                if limit <= 0:
                    self._say(data)
                    self.replay.spoke()
                    quiet = self._clock()
                    continue
            elif idle is not None:
                limit = quiet + idle - self._clock()
                if limit <= 0:
                    return False
            else:
                limit = None
            if poll.poll(None if limit is None else limit * 1000):
                self.replay.receive(os.read(self._master, 65536))
                quiet = self._clock()
        if self.replay.deviation is None and poll.poll(50):
            self.replay.receive(os.read(self._master, 65536))
        return self.replay.deviation is None

    def _unread(self) -> int:
        count = array.array("i", [0])
        fcntl.ioctl(self._slave, termios.FIONREAD, count)
        return count[0]

    def _say(self, data: bytes) -> None:
        view = memoryview(data)
        writable = select.poll()
        writable.register(self._master, select.POLLOUT)
        while view:
            writable.poll()
            view = view[os.write(self._master, view) :]
