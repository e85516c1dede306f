"""The last stage before the line: counts what leaves and applies the faults that concern bytes."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.sim.loop import Loop, Timer

__all__ = ["Outlet"]


class Outlet:
    """Bytes in order to ``write``, with pauses, dribbling and losses on demand.

    ``due`` gives the positions (bytes sent so far) at which ``reached`` wants to be called, before that byte leaves.
    """

    def __init__(self, loop: Loop, write: Callable[[bytes], None]) -> None:
        self._loop = loop
        self._write = write
        self._queue: deque[bytes | float] = deque()
        self._timer: Timer | None = None
        self._drop = 0
        self._gap: float | None = None
        self.count = 0
        self.due: list[int] = []
        self.reached: Callable[[int], bool] = lambda _: True

    def send(self, data: bytes) -> None:
        """Send ``data``, behind whatever is still queued."""
        while self.due and self.count + len(data) >= self.due[0]:
            at = self.due.pop(0)
            head, data = data[: at - 1 - self.count], data[at - 1 - self.count :]
            self._count_and_put(head)
            if not self.reached(at):
                return  # the modem went away in mid-word
        self._count_and_put(data)

    def insert(self, data: bytes) -> None:
        """Send bytes that a fault made up; they do not count."""
        self._put(data)

    def pause(self, seconds: float) -> None:
        """Hold everything that follows for ``seconds``."""
        self._queue.append(seconds)
        self._run()

    def lose(self, count: int) -> None:
        """Swallow the next ``count`` bytes; -1 swallows until :meth:`normal`."""
        self._drop = count

    def dribble(self, gap: float) -> None:
        """Send byte by byte with ``gap`` seconds between until :meth:`normal`."""
        self._gap = gap

    def normal(self) -> None:
        """End dribbling and unlimited loss for what follows."""
        self._gap = None
        self._drop = max(self._drop, 0)

    def clear(self) -> None:
        """Forget what is queued: a restart."""
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.normal()
        self._drop = 0

    @property
    def backlog(self) -> int:
        """Bytes held here."""
        return sum(len(item) for item in self._queue if isinstance(item, bytes))

    def _count_and_put(self, data: bytes) -> None:
        self.count += len(data)
        if self._drop < 0:
            return
        if self._drop:
            lost = min(self._drop, len(data))
            self._drop -= lost
            data = data[lost:]
        self._put(data)

    def _put(self, data: bytes) -> None:
        if not data:
            return
        if self._gap is not None:
            for n in data:
                self._queue += (bytes([n]), self._gap)
            self._run()
        elif self._queue:
            self._queue.append(data)
        else:
            self._write(data)

    def _run(self) -> None:
        if self._timer is not None:
            return
        while self._queue:
            item = self._queue.popleft()
            if isinstance(item, bytes):
                self._write(item)
            else:
                self._queue.appendleft(b"")  # keeps the order: later bytes queue behind the pause
                self._timer = self._loop.call_later(item, self._resume)
                return

    def _resume(self) -> None:
        self._timer = None
        self._run()
