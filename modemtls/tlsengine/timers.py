"""The retransmission timer of a handshake over datagrams, counted outside of the stack. Standard library only."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modemtls.tlsengine.settings import Timers

__all__ = ["FlightTimer"]


class FlightTimer:
    """Waits of one flight after the other: ``minimum``, doubled, up to ``maximum``; after that one it has expired."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._wait = 0.0
        self._due: float | None = None

    def start(self) -> None:
        """Begin with a new flight."""
        self._wait = self._timers.minimum
        self._due = time.monotonic() + self._wait

    def stop(self) -> None:
        """Wait no longer: the flight was answered, or needs no answer."""
        self._due = None

    def left(self) -> float | None:
        """Return the seconds left of this wait; None while nothing is waited for."""
        return None if self._due is None else max(0.0, self._due - time.monotonic())

    @property
    def last(self) -> bool:
        """Whether this wait is the last one."""
        return self._wait >= self._timers.maximum

    def again(self) -> bool:
        """Return, after a wait, whether to send again (then the next wait begins), or to give up."""
        if self.last:
            self._due = None
            return False
        self._wait = min(2 * self._wait, self._timers.maximum)
        self._due = time.monotonic() + self._wait
        return True
