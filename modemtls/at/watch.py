"""Waiting for a line that no exchange asks for."""

from __future__ import annotations

import copy
from collections import deque
from typing import TYPE_CHECKING, Protocol

from modemtls.errors import ModemTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.at.events import WatchKey
    from modemtls.at.exchange import Urc

__all__ = ["Watch"]


class _Owner(Protocol):
    def wait(self, ready: Callable[[], bool], deadline: float | None = None) -> bool: ...

    def unwatch(self, key: WatchKey) -> None: ...


class Watch:
    """Keeps lines of one kind until they are fetched. Register it before the command that causes them is sent.

    A context manager. Once the modem restarted or the port went away, what has arrived can still be fetched, then
    that error is raised.
    """

    def __init__(self, owner: _Owner, key: WatchKey) -> None:
        self._owner = owner
        self._key = key
        self._arrived: deque[Urc] = deque()
        self._error: BaseException | None = None

    def put(self, urc: Urc) -> None:
        """Take a line (the channel calls this)."""
        if self._error is None:
            self._arrived.append(urc)

    def fail(self, error: BaseException) -> None:
        """Have those who wait fail (the channel calls this)."""
        if self._error is None:
            self._error = error

    def ready(self) -> bool:
        """Tell whether :meth:`poll` has something to say. Only looks, so it may serve ``Channel.wait``."""
        return bool(self._arrived) or self._error is not None

    def poll(self) -> Urc | None:
        """Return the next line if one has arrived. Raises like :meth:`wait`."""
        if self._arrived:
            return self._arrived.popleft()
        if self._error is not None:
            raise copy.copy(self._error)
        return None

    def wait(self, deadline: float | None = None) -> Urc:
        """Return the next line, each once and in order. ``deadline`` is of the channel's clock.

        Raises ModemTimeoutError, ModemRestartedError, PortLostError.
        """
        if not self.ready():
            self._owner.wait(self.ready, deadline)
        found = self.poll()
        if found is None:
            raise ModemTimeoutError(f"no line like {self._key.pattern.source!r} came in the time given")
        return found

    def close(self) -> None:
        """Stop watching. Harmless if repeated."""
        self._owner.unwatch(self._key)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
