"""Keeping Ctrl-C from falling between "the modem has handed data out" and "the data is in the buffer".

The channel raises an interrupt only where an exchange can go on without its caller. What is left is the way from the
channel's answer to the buffer: there Python would raise it between any two bytecodes. :func:`unbroken` puts it off
until the block has ended, except where the channel itself lets it through.
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

__all__ = ["unbroken"]

_main = threading.main_thread().ident


def _is_installed(handler: object) -> bool:
    return signal.getsignal(signal.SIGINT) is handler


class _Unbroken:
    """The handler for the length of the block."""

    __slots__ = ("_pending", "_previous")

    def __init__(self, previous: Callable[[int, FrameType | None], Any]) -> None:
        self._previous = previous
        self._pending: tuple[int, FrameType | None] | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        # Called by the interpreter, the signal waits. Called by a handler that was installed over this one (the
        # channel's, which calls only where nothing can be lost), it goes on.
        if _is_installed(self):
            self._pending = (number, frame)
        else:
            self._previous(number, frame)

    def __enter__(self) -> Self:
        signal.signal(signal.SIGINT, self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if _is_installed(self):
            signal.signal(signal.SIGINT, self._previous)
        pending, self._pending = self._pending, None
        if pending is not None:
            self._previous(*pending)


class _Nothing:
    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


_nothing = _Nothing()


def unbroken() -> _Unbroken | _Nothing:
    """Return a context manager; outside the main thread, where no interrupt arrives, it does nothing."""
    if threading.get_ident() != _main:
        return _nothing
    previous = signal.getsignal(signal.SIGINT)
    return _Unbroken(previous) if callable(previous) else _nothing
