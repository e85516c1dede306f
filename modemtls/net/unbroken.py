"""Keeping Ctrl-C from falling between "the modem has handed data out" and "the data is in the buffer".

The channel raises an interrupt only where an exchange can go on without its caller. What is left is the way from the
channel's answer to the buffer: there Python would raise it between any two bytecodes. :func:`unbroken` puts it off
until the block has ended, except where the channel itself lets it through.
"""

from __future__ import annotations

import importlib
import signal
import threading
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

__all__ = ["unbroken"]

_main = threading.main_thread().ident
_SIGINT = int(signal.SIGINT)
try:
    # The same functions as the signal module's, which makes enumerations of what they return: 8 µs a piece of data.
    _signals: Any = importlib.import_module("_signal")
except ImportError:
    _signals = signal
_get = _signals.getsignal
_set = _signals.signal


class _Unbroken:
    """The handler for the length of the block."""

    __slots__ = ("_pending", "_previous")

    def __init__(self) -> None:
        self._pending: tuple[int, FrameType | None] | None = None
        self._previous: Callable[[int, FrameType | None], Any] | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        # Called by the interpreter, the signal waits. Called by a handler that was installed over this one (the
        # channel's, which calls only where nothing can be lost), it goes on.
        if _get(_SIGINT) is self:
            self._pending = (number, frame)
        elif self._previous is not None:
            self._previous(number, frame)

    def __enter__(self) -> Self:
        previous = _set(_SIGINT, self)
        if callable(previous):
            self._previous = previous
        else:  # ignored, left to the system, or set by something that is not Python
            _set(_SIGINT, previous)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        previous = self._previous
        if previous is None:
            return
        found = _set(_SIGINT, previous)
        if found is not self and callable(found):  # somebody has set another one meanwhile
            _set(_SIGINT, found)
        pending, self._pending = self._pending, None
        if pending is not None:
            previous(*pending)


class _Nothing:
    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


_nothing = _Nothing()


def unbroken() -> _Unbroken | _Nothing:
    """Return a context manager; outside the main thread, where no interrupt arrives, it does nothing."""
    return _Unbroken() if threading.get_ident() == _main else _nothing
