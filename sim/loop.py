"""One thread, one selector, one heap of timers, time injected: everything that the modem does happens here."""

from __future__ import annotations

import heapq
import itertools
import os
import selectors
import threading
from collections import deque
from typing import TYPE_CHECKING

from modemtls.sim.clock import ManualClock, RealClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.sim.clock import Clock

__all__ = ["Loop", "Timer"]


class Timer:
    """A pending call; :meth:`cancel` makes it never happen."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Forget the call."""
        self.callback = None


class _Watch:
    __slots__ = ("readable", "writable")

    def __init__(self, readable: Callable[[], None] | None, writable: Callable[[], None] | None) -> None:
        self.readable, self.writable = readable, writable


class Loop:
    """Timers and file descriptors. Other threads may call :meth:`call_threadsafe`, :meth:`stop`, :meth:`wake`."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock: Clock = clock or RealClock()
        self._timers: list[tuple[float, int, Timer]] = []
        self._count = itertools.count()
        self._selector = selectors.DefaultSelector()
        self._handlers: dict[int, _Watch] = {}
        self._calls: deque[Callable[[], None]] = deque()
        self.observers: list[Callable[[], None]] = []
        """Called after each round in which something may have happened; for those who wait, not for the modem."""
        self._stopping = threading.Event()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)

    def close(self) -> None:
        """Release the descriptors; the loop must not be used afterwards."""
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def now(self) -> float:
        """Return the injected clock's time."""
        return self.clock.now()

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` in ``delay`` seconds."""
        return self.call_at(self.clock.now() + delay, callback)

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` at ``when`` on the injected clock."""
        timer = Timer(when, callback)
        heapq.heappush(self._timers, (when, next(self._count), timer))
        return timer

    def call_threadsafe(self, callback: Callable[[], None]) -> None:
        """Have the loop's thread call ``callback``; usable from any thread and from a signal handler."""
        self._calls.append(callback)
        self.wake()

    def wake(self) -> None:
        """End a wait in progress."""
        try:
            os.write(self._wake_write, b"\0")
        except (BlockingIOError, OSError):  # full: it wakes anyway; closed: nobody waits
            pass

    def watch(self, fd: int, readable: Callable[[], None] | None, writable: Callable[[], None] | None = None) -> None:
        """Call ``readable``/``writable`` while ``fd`` is so; both ``None`` ends the watch."""
        events = (selectors.EVENT_READ if readable else 0) | (selectors.EVENT_WRITE if writable else 0)
        known = self._handlers.get(fd)
        if not events:
            if known is not None:
                del self._handlers[fd]
                self._selector.unregister(fd)
            return
        if known is not None:
            known.readable, known.writable = readable, writable
            self._selector.modify(fd, events, known)
        else:
            self._handlers[fd] = _Watch(readable, writable)
            self._selector.register(fd, events, self._handlers[fd])

    def unwatch(self, fd: int) -> None:
        """End the watch of ``fd``, if there is one."""
        self.watch(fd, None, None)

    def next_timer(self) -> float | None:
        """Return when the next pending timer is due."""
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def run_timers(self) -> None:
        """Run what is due now."""
        while True:
            due = self.next_timer()
            if due is None or due > self.clock.now():
                return
            timer = heapq.heappop(self._timers)[2]
            callback, timer.callback = timer.callback, None
            if callback is not None:
                callback()

    def poll(self, wait: float | None = 0.0) -> bool:
        """Handle ready descriptors and due timers, waiting up to ``wait`` real seconds (``None``: without limit).

        Returns whether any descriptor was ready.
        """
        ready = self._selector.select(wait)
        for key, events in ready:
            if key.fd == self._wake_read:
                self._drain_wake()
                continue
            # A handler may end a watch, and the descriptor's number may be given again, before its turn comes.
            watch: _Watch = key.data
            if events & selectors.EVENT_READ and self._handlers.get(key.fd) is watch and watch.readable:
                watch.readable()
            if events & selectors.EVENT_WRITE and self._handlers.get(key.fd) is watch and watch.writable:
                watch.writable()
        while self._calls:
            self._calls.popleft()()
        self.run_timers()
        for observe in self.observers.copy():
            observe()
        return bool(ready)

    def _drain_wake(self) -> None:
        try:
            while os.read(self._wake_read, 4096):
                pass
        except BlockingIOError:
            pass

    def run(self) -> None:
        """Run until :meth:`stop`, on a clock that moves by itself."""
        while not self._stopping.is_set():
            due = self.next_timer()
            self.poll(None if due is None else max(0.0, due - self.clock.now()))

    def stop(self) -> None:
        """End :meth:`run`."""
        self._stopping.set()
        self.wake()

    def advance(self, seconds: float) -> None:
        """Move a :class:`ManualClock` by ``seconds``, running each timer at its own time."""
        clock = self.clock
        if not isinstance(clock, ManualClock):
            raise TypeError("only a manual clock can be advanced")
        end = clock.now() + seconds
        while True:
            self.poll(0.0)
            due = self.next_timer()
            if due is None or due > end:
                break
            clock.set(max(due, clock.now()))
            self.run_timers()
        clock.set(end)
        self.poll(0.0)
