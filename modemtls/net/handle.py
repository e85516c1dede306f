"""Something to ``select`` on for a socket whose bytes pass through no descriptor of its own."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Handle"]


class Handle:
    """Readable while ``has`` says that there is something; :meth:`update` asks it. Only its readability means anything.

    The descriptor is closed when nobody refers to the handle any more.
    """

    def __init__(self, has: Callable[[], bool]) -> None:
        self._has = has
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.RLock()
        weakref.finalize(self, os.close, self._fd)

    def fileno(self) -> int:
        """Return the descriptor, up to date."""
        self.update()
        return self._fd

    def update(self) -> None:
        """Show what is the case now; from any thread."""
        with self._lock:
            if self._has():
                with contextlib.suppress(BlockingIOError):  # it is full, and so readable
                    os.eventfd_write(self._fd, 1)
            else:
                with contextlib.suppress(BlockingIOError):  # it was not readable before
                    os.eventfd_read(self._fd)
