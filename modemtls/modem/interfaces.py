"""What the parts of the modem layer need of each other: small enough to be played by a test.

The real ones are :class:`~modemtls.modem.runner.Runner` and :class:`~modemtls.modem.attached.AttachedModem`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from modemtls.errors import ModemTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modemtls.at.exchange import Reply
    from modemtls.errors import ModemError
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
        on_socket: Callable[[int], None] | None = None,
        still: Callable[[], ModemError | None] | None = None,
    ) -> Result:
        """Run an operation of the profile; ``on_orphan`` as :meth:`~modemtls.at.channel.Channel.exchange` has it.

        ``still`` is asked before each command, when the line is its own: nothing of it is sent, nor of what would clean
        up behind it, if it gives an error, which is raised. ``on_socket`` is told the number of a socket that the modem
        chose before anybody else gets the line. Both run in whichever thread reads: they only look at state, or set it.
        """
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

    def take(self, now: Callable[[], float], deadline: float | None) -> _Taking:
        """Hold the turn for a block; :class:`ModemTimeoutError` if another thread keeps it until ``deadline``."""
        return _Taking(self._lock, self._what, remaining(now, deadline))


class _Taking:
    __slots__ = ("_left", "_lock", "_what")

    def __init__(self, lock: threading.RLock, what: str, left: float | None) -> None:
        self._lock = lock
        self._what = what
        self._left = left

    def __enter__(self) -> None:
        try:
            acquired = self._lock.acquire(timeout=-1 if self._left is None else self._left)
        except BaseException:
            # An interrupt may strike when acquire() has succeeded, and before its result is stored.
            if self._lock._is_owned():  # type: ignore[attr-defined]  # noqa: SLF001
                self._lock.release()
            raise
        if not acquired:
            raise ModemTimeoutError(f"{self._what}: another thread was still at it when the time ran out")

    @property
    def __exit__(self) -> Callable[..., None]:  # noqa: PLE0302 - it gives what takes the four
        # The lock's own, which is C: a function in Python could be interrupted before its first instruction.
        return self._lock.__exit__
