"""Ctrl-C, and other signals with handlers that raise, during an exchange.

Python runs signal handlers in the main thread between any two bytecodes: between reading bytes and acting on them,
too. So while the main thread drives the line, the handlers that programs let raise are replaced by one that passes the
signal on only where nothing can be lost (waiting for the port or for another thread) and otherwise remembers it until
the next such place.
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

# Interrupts, time-outs by alarm, and polite ends: what handlers turn into exceptions.
_SIGNALS = tuple(
    map(int, (signal.SIGINT, signal.SIGALRM, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2))
)
try:
    # The same functions as the signal module's, which turns what they return into enumerations: 8 µs an exchange.
    _signals: Any = importlib.import_module("_signal")
except ImportError:
    _signals = signal
_get = _signals.getsignal
_set = _signals.signal


class Interrupts:
    """The replacement of the handlers. ``waiting`` is True exactly where a signal may be passed on."""

    __slots__ = ("_found", "_pending", "waiting")

    def __init__(self, found: list[tuple[int, Callable[[int, FrameType | None], Any]]]) -> None:
        self._found = found
        self._pending: list[tuple[int, FrameType | None]] = []
        self.waiting = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self.waiting:
            self.waiting = False
            self._pass_on(number, frame)
            self.waiting = True
        else:
            self._pending.append((number, frame))

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        for one, handler in self._found:
            if one == number:
                handler(number, frame)

    def wait(self) -> None:
        """Enter a place where signals may be passed on; pass on those that came before."""
        self.waiting = True
        if self._pending:
            self.waiting = False
            self.deliver()
            self.waiting = True

    def restore(self) -> None:
        """Put the handlers back that were found, but where somebody has set another one meanwhile."""
        self.waiting = False
        for number, handler in self._found:
            if _get(number) is self:
                _set(number, handler)

    def deliver(self) -> None:
        """Pass on what is remembered. The first handler that raises ends it: the rest would be raised over it."""
        while self._pending:
            number, frame = self._pending.pop(0)
            try:
                self._pass_on(number, frame)
            except BaseException:
                self._pending.clear()
                raise


def shield() -> Interrupts | None:
    """Replace the handlers and return the replacement; None where there is nothing to replace."""
    if threading.get_ident() != _main:
        return None
    found = [(number, handler) for number in _SIGNALS if callable(handler := _get(number))]
    if not found:
        return None
    mine = Interrupts(found)
    for number, _ in found:
        _set(number, mine)
    return mine
