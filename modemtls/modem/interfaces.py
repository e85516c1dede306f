"""What the parts of the modem layer need of each other: small enough to be played by a test.

The real ones are :class:`~modemtls.modem.runner.Runner` and :class:`~modemtls.modem.attached.AttachedModem`.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Protocol

from modemtls.errors import ModemTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from modemtls.at.exchange import Reply
    from modemtls.modem.runner import Result

__all__ = ["Host", "Turn", "remaining"]


class Host(Protocol):
    """The attached modem as its parts see it."""

    @property
    def epoch(self) -> int:
        """The boot epoch."""
        ...

    @property
    def doubts(self) -> int:
        """How often something happened that may have hidden a restart; see :attr:`Channel.doubts`."""
        ...

    @property
    def doubted(self) -> str:
        """What it was the last time, in words."""
        ...

    def raise_doubt(self, reason: str) -> None:
        """Count something that may have hidden a restart."""
        ...

    def end_epoch(self, reason: str) -> None:
        """Declare that the modem lost its state."""
        ...

    def now(self) -> float:
        """Read the clock that deadlines are measured with."""
        ...

    def run(
        self,
        op: str,
        bindings: Mapping[str, object] | None = None,
        *,
        deadline: float | None = None,
        on_orphan: Callable[[Reply | BaseException], None] | None = None,
    ) -> Result:
        """Run an operation of the profile; ``on_orphan`` as :meth:`~modemtls.at.channel.Channel.exchange` has it."""
        ...

    def has(self, op: str) -> bool:
        """Tell whether the profile has an operation."""
        ...


def remaining(now: Callable[[], float], deadline: float | None) -> float | None:
    """Give the seconds left until ``deadline``, from 0 to the most that Python can wait; None for no deadline."""
    return None if deadline is None else min(max(0.0, deadline - now()), threading.TIMEOUT_MAX)


class Turn:
    """Lets one thread at a time through, and is not lost to a KeyboardInterrupt at any point. Not re-entrant."""

    __slots__ = ("_lock", "_what")

    def __init__(self, what: str) -> None:
        self._lock = threading.RLock()  # only because it knows its owner
        self._what = what

    @contextlib.contextmanager
    def take(self, now: Callable[[], float], deadline: float | None) -> Iterator[None]:
        """Hold the turn; :class:`ModemTimeoutError` if another thread keeps it until ``deadline``."""
        left = remaining(now, deadline)
        acquired: bool | None = None
        try:
            acquired = self._lock.acquire(timeout=-1 if left is None else left)
            if not acquired:
                raise ModemTimeoutError(f"{self._what}: another thread was still at it when the time ran out")
            yield
        finally:
            # An interrupt may strike after acquire() has succeeded and before its result is stored.
            if acquired or (acquired is None and self._lock._is_owned()):  # type: ignore[attr-defined]  # noqa: SLF001
                self._lock.release()
