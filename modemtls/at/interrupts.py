"""Ctrl-C during an exchange.

Python delivers SIGINT to the main thread between any two bytecodes: between reading bytes and acting on them, too. So
while the main thread drives the line, its SIGINT handler is replaced by one that raises only where nothing can be lost
(waiting for the port or for another thread) and otherwise is remembered until the next such place.
"""

from __future__ import annotations

import importlib
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["Interrupts", "shield"]

_main = threading.main_thread().ident


def _forked() -> None:
    global _main
    _main = threading.main_thread().ident


os.register_at_fork(after_in_child=_forked)
_SIGINT = int(signal.SIGINT)
try:
    # The same functions as the signal module's, which turns what they return into enumerations: 8 µs an exchange.
    _signals: Any = importlib.import_module("_signal")
except ImportError:
    _signals = signal
_get = _signals.getsignal
_set = _signals.signal


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
        if _get(_SIGINT) is self:
            _set(_SIGINT, self._previous)

    def deliver(self) -> None:
        """Let the handler that was found have the interrupt that is remembered, if any."""
        pending, self._pending = self._pending, None
        if pending is not None:
            self._previous(*pending)


def shield() -> Interrupts | None:
    """Replace the handler and return the replacement; None where there is nothing to replace."""
    if threading.get_ident() != _main:
        return None
    previous = _get(_SIGINT)
    if not callable(previous):
        return None
    mine = Interrupts(previous)
    _set(_SIGINT, mine)
    return mine
