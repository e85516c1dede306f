"""Where the host's bytes go outside command lines: counted payloads, text up to Ctrl-Z, transparent streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.sim.loop import Loop, Timer

__all__ = ["CountedPhase", "Escape", "Phase", "StreamPhase", "TextPhase"]

CTRL_Z = 0x1A  # 3GPP TS 27.005, 3.4.4: ends and sends
ESC = 0x1B  # ... cancels
GUARD_TIME = 1.0  # s of silence before and after "+++" (V.250 family: S12 = 50 x 20 ms)


class Phase(Protocol):
    """Takes the host's bytes until it is done."""

    def feed(self, data: bytes) -> int:
        """Take a prefix of ``data`` and return its length; a phase that takes less than everything is done."""

    def cancel(self) -> None:
        """Stop timers; nothing will be reported any more."""


class _IdleTimer:
    """Calls back after ``limit`` seconds without :meth:`touch`; costs one timer however often it is touched."""

    def __init__(self, loop: Loop, limit: float | None, expired: Callable[[], None]) -> None:
        self._loop, self._limit, self._expired = loop, limit, expired
        self._last = loop.now()
        self._timer: Timer | None = None
        if limit is not None:
            self._timer = loop.call_later(limit, self._check)

    def touch(self) -> None:
        self._last = self._loop.now()

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        if self._limit is None:
            return
        due = self._last + self._limit
        if due > self._loop.now():
            self._timer = self._loop.call_at(due, self._check)
        else:
            self._timer = None
            self._expired()


class Escape:
    """Finds ``+++`` framed by ``guard`` seconds of silence in a stream.

    What turns out to be data is given back in order. ``mark`` is another character than ``+`` (S2 of the V.250 family).
    """

    def __init__(
        self,
        loop: Loop,
        data: Callable[[bytes], None],
        escaped: Callable[[], None],
        *,
        guard: float = GUARD_TIME,
        mark: bytes = b"+",
    ) -> None:
        self._loop, self._data, self._escaped = loop, data, escaped
        self._guard, self._mark = guard, mark
        self._last = float("-inf")
        self._held = 0
        self._timer: Timer | None = None

    def feed(self, data: bytes) -> None:
        """Take the host's bytes; calls back with those that are data."""
        now = self._loop.now()
        quiet = now - self._last >= self._guard
        self._last = now
        if self._held or quiet:
            pluses = self._held + len(data)
            if data.strip(self._mark) == b"" and pluses <= 3:
                self._held = pluses
                self._arm()
                return
        if self._held:
            data = self._mark * self._held + data
            self.cancel()
        self._data(data)

    @property
    def held(self) -> int:
        """How many bytes wait for the decision."""
        return self._held

    def flush(self) -> None:
        """Give what is held as data."""
        held = self._held
        self.cancel()
        if held:
            self._data(self._mark * held)

    def cancel(self) -> None:
        """Forget what is held."""
        self._held = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._guard, self._silence)

    def _silence(self) -> None:
        held = self._held
        self.cancel()
        if held == 3:
            self._escaped()
        else:
            self._data(self._mark * held)


class CountedPhase:
    """Exactly ``length`` bytes of any value, then ``done``.

    ``expired`` gets the part that came if the host falls silent.

    With ``escape`` the host may break off with ``+++`` (``expired`` is then called as well). ``progress`` sees the
    running total.
    """

    def __init__(
        self,
        loop: Loop,
        length: int,
        done: Callable[[bytes], None],
        *,
        idle: float | None,
        expired: Callable[[bytes], None],
        progress: Callable[[int], None] | None = None,
        echo: Callable[[bytes], None] | None = None,
        escape: bool = False,
    ) -> None:
        self._length, self._done, self._expired = length, done, expired
        self._progress, self._echo = progress, echo
        self._got = bytearray()
        self._idle = _IdleTimer(loop, idle, self._stop)
        self._escape = Escape(loop, self._take, self._stop) if escape else None

    def feed(self, data: bytes) -> int:
        """Take up to what is missing."""
        self._idle.touch()
        escape = self._escape
        if escape is None:
            part = data[: self._length - len(self._got)]
            self._take(part)
            return len(part)
        part = data[: self._length - len(self._got) - escape.held]
        escape.feed(part)
        if len(self._got) + escape.held >= self._length:
            escape.flush()  # nothing can follow, so these were data
        return len(part)

    def cancel(self) -> None:
        """Stop the clocks."""
        self._idle.cancel()
        if self._escape is not None:
            self._escape.cancel()

    def _take(self, part: bytes) -> None:
        self._got += part
        if self._echo is not None:
            self._echo(part)
        if self._progress is not None:
            self._progress(len(self._got))
        if len(self._got) >= self._length:
            self.cancel()
            self._done(bytes(self._got))

    def _stop(self) -> None:
        self.cancel()
        self._expired(bytes(self._got))


class TextPhase:
    """Text up to Ctrl-Z (``done``) or ESC (``cancelled``). Bytes beyond ``limit`` are dropped."""

    def __init__(
        self,
        loop: Loop,
        limit: int,
        done: Callable[[bytes], None],
        *,
        idle: float | None,
        cancelled: Callable[[], None],
        expired: Callable[[], None],
        echo: Callable[[bytes], None] | None = None,
    ) -> None:
        self._limit, self._done, self._cancelled, self._expired, self._echo = limit, done, cancelled, expired, echo
        self._got = bytearray()
        self._idle = _IdleTimer(loop, idle, self._stop)

    def feed(self, data: bytes) -> int:
        """Take up to and including the mark."""
        self._idle.touch()
        marks = [at for at in (data.find(CTRL_Z), data.find(ESC)) if at >= 0]
        if not marks:
            self._take(data)
            return len(data)
        end = min(marks)
        self._take(data[:end])
        self.cancel()
        if data[end] == CTRL_Z:
            self._done(bytes(self._got))
        else:
            self._cancelled()
        return end + 1

    def cancel(self) -> None:
        """Stop the clock."""
        self._idle.cancel()

    def _take(self, part: bytes) -> None:
        if self._echo is not None and part:
            self._echo(part)
        self._got += part[: self._limit - len(self._got)]

    def _stop(self) -> None:
        self._expired()


class StreamPhase:
    """Bytes to the far end until ``+++``; ``guard`` and ``mark`` as for :class:`Escape`."""

    def __init__(
        self,
        loop: Loop,
        data: Callable[[bytes], None],
        escaped: Callable[[], None],
        *,
        guard: float = GUARD_TIME,
        mark: bytes = b"+",
    ) -> None:
        self._escape = Escape(loop, data, escaped, guard=guard, mark=mark)

    def feed(self, data: bytes) -> int:
        """Take everything."""
        self._escape.feed(data)
        return len(data)

    def cancel(self) -> None:
        """Stop the clock."""
        self._escape.cancel()
