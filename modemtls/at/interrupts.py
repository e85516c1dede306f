"""Ctrl-C during an exchange.

Python delivers SIGINT to the main thread between any two bytecodes: between reading bytes and acting on them, too. So
while the main thread drives the line, its SIGINT handler is replaced by one that raises only where nothing can be lost
(waiting for the port or for another thread) and otherwise is remembered until the next such place.
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["Interrupts", "shield"]

_main = threading.main_thread().ident


class Interrupts:
    """The replaced handler. ``waiting`` is True exactly where an interrupt may be raised."""

    __slots__ = ("_pending", "_previous", "waiting")

    def __init__(self, previous: Callable[[int, FrameType | None], Any]) -> None:
        self._previous = previous
        self._pending: tuple[int, FrameType | None] | None = None
        self.waiting = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal."""
        if self.waiting:
            self.waiting = False
            self._previous(number, frame)
            self.waiting = True
        else:
            self._pending = (number, frame)

    def wait(self) -> None:
        """Enter a place where interrupts may be raised; raise one that came before."""
        self.waiting = True
        if self._pending is not None:
            self.waiting = False
            self.deliver()
            self.waiting = True

    def restore(self) -> None:
        """Put the handler back that was found, unless somebody has set another one meanwhile."""
        self.waiting = False
        previous = self._previous
        if signal.getsignal(signal.SIGINT) is self:
            signal.signal(signal.SIGINT, previous)

    def deliver(self) -> None:
        """Let the handler that was found have the interrupt that is remembered, if any."""
        pending, self._pending = self._pending, None
        if pending is not None:
            self._previous(*pending)


def shield() -> Interrupts | None:
    """Replace the handler and return the replacement; None where there is nothing to replace."""
    if threading.get_ident() != _main or threading.current_thread() is not threading.main_thread():
        return None
    previous = signal.getsignal(signal.SIGINT)
    if not callable(previous):
        return None
    mine = Interrupts(previous)
    signal.signal(signal.SIGINT, mine)
    return mine
