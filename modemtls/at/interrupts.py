"""Ctrl-C, and other signals with handlers that raise, during an exchange.

Python runs signal handlers in the main thread between any two bytecodes: between reading bytes and acting on them,
too. So while the main thread drives the line, the handlers that programs let raise are replaced by one that passes the
signal on only where nothing can be lost (waiting for the port or for another thread) and otherwise remembers it until
the next such place.

What belongs together may be shielded as a whole (:func:`unbroken`), exchanges included: the way from the channel's
answer to where its data is kept is then as safe as the answer itself.
"""

from __future__ import annotations

import importlib
import os
import signal
import threading
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

__all__ = ["Interrupts", "shield", "unbroken"]

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
    """The replacement of the handlers.

    ``waiting`` is True exactly where a signal may be passed on; ``depth`` is how many uses are within each other.

    A context manager that ends with :meth:`restore` and :meth:`deliver`.
    """

    __slots__ = ("_pending", "depth", "found", "waiting")

    def __init__(self, found: list[tuple[int, Callable[[int, FrameType | None], Any]]]) -> None:
        self.found = found
        self._pending: list[tuple[int, FrameType | None]] = []
        self.depth = 0
        self.waiting = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self.waiting:
            self.waiting = False
            self.pass_on(number, frame)
            self.waiting = True
        else:
            self._pending.append((number, frame))

    def pass_on(self, number: int, frame: FrameType | None) -> None:
        """Call the handler that was found."""
        for one, handler in self.found:
            if one == number:
                # Another replacement below this one would only remember it.
                (handler.pass_on if type(handler) is Interrupts else handler)(number, frame)

    def wait(self) -> None:
        """Enter a place where signals may be passed on; pass on those that came before."""
        self.waiting = True
        if self._pending:
            self.waiting = False
            self.check()
            self.waiting = True

    def check(self) -> None:
        """Pass on what is remembered: nothing can be lost here.

        The first handler that raises ends it: the rest would be raised over it.
        """
        while self._pending:
            number, frame = self._pending.pop(0)
            try:
                self.pass_on(number, frame)
            except BaseException:
                self._pending.clear()
                raise

    def restore(self) -> None:
        """Put the handlers back that were found, but where somebody has set another one meanwhile.

        Within another use of the same replacement, nothing: that one does it.
        """
        global _active
        self.waiting = False
        self.depth -= 1
        if self.depth > 0:
            return
        _active = None
        for number, handler in self.found:
            if _get(number) is self:
                _set(number, handler)

    def deliver(self) -> None:
        """Pass on what is remembered, behind :meth:`restore`; it waits for the end of what this is within."""
        if self._pending and self.depth <= 0:
            self.check()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()
        self.deliver()


# Of the main thread: what replaces the handlers now, and what did so last, for the handlers that it was made for.
_active: Interrupts | None = None
_known: tuple[Any, ...] = ()
_last = Interrupts([])


def shield() -> Interrupts | None:
    """Replace the handlers and return the replacement; None where there is nothing to replace.

    Within the block of another one that is the same one again.
    """
    global _active, _known, _last
    if threading.get_ident() != _main:
        return None
    mine = _active
    if mine is not None and _get(mine.found[0][0]) is mine:
        mine.depth += 1
        return mine
    handlers = tuple(map(_get, _SIGNALS))
    if handlers != _known:
        found = [(number, one) for number, one in zip(_SIGNALS, handlers, strict=True) if callable(one)]
        _known, _last = handlers, Interrupts(found)
    mine = _last
    if not mine.found:
        return None
    mine.depth = 1
    try:
        for number, _ in mine.found:
            _set(number, mine)
        _active = mine
    except BaseException:  # from a signal that was not replaced yet
        mine.restore()
        raise
    return mine


_nothing = nullcontext()


def unbroken() -> AbstractContextManager[object]:
    """Return a context manager that puts signals off until its block has ended.

    Where the channel waits within it, they are let through; outside the main thread there are none.
    """
    return shield() or _nothing
