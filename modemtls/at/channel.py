"""One AT line shared by threads (interface; bodies follow)."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from modemtls.at.exchange import Exchange, Expected, Line, Outcome, Reply, Urc
from modemtls.at.grammar import Grammar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from modemtls.at.grammar import LinePattern
    from modemtls.at.port import Port
    from modemtls.at.recovery import Recovery
    from modemtls.at.trace import Trace

__all__ = ["Channel", "Exchange", "Expected", "Line", "Outcome", "Reply", "Urc", "Watch"]

OnOrphan = "Callable[[Reply | BaseException], None]"


class Watch:
    """Waits for lines of one kind. Register it before the command that causes them is sent. A context manager."""

    def wait(self, deadline: float | None = None) -> Urc:
        """Return the next such line (each once, in order). ``deadline`` is of the channel's clock.

        Raises ModemTimeoutError, ModemRestartedError, PortLostError.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Stop watching."""
        raise NotImplementedError

    def __enter__(self) -> Watch:
        raise NotImplementedError

    def __exit__(self, *_: object) -> None:
        raise NotImplementedError


class Channel:
    """One AT line: one exchange at a time, unsolicited results at any time.

    Attributes to set: ``grammar`` (see :meth:`set_grammar`), ``recovery``, ``on_urc`` (called in the reading thread
    for every unsolicited result; must only set state), ``on_epoch`` (called with the reason when a boot epoch ends;
    likewise), ``echo`` and ``error_form`` (what was selected: None until it was).
    To read: ``epoch`` (int), ``closed_reason``, ``clock``.
    """

    def __init__(
        self,
        port: Port,
        grammar: Grammar | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        trace: Trace | None = None,
        recovery: Recovery | None = None,
    ) -> None:
        self.on_urc: Callable[[Urc], None] | None = None
        self.on_epoch: Callable[[str], None] | None = None
        self.recovery: Recovery
        self.epoch: int = 0
        self.echo: bool | None = None  # what ATE set (V.250 6.2.4); an echo though False ends the epoch
        self.error_form: int | None = None  # what +CMEE set (27.007 9.1); text though 1 ends the epoch
        self.closed_reason: BaseException | None = None
        raise NotImplementedError

    def set_grammar(self, grammar: Grammar) -> None:
        """Change what may come at any time."""
        raise NotImplementedError

    def exchange(
        self,
        ex: Exchange,
        *,
        deadline: float | None = None,
        on_orphan: Callable[[Reply | BaseException], None] | None = None,
    ) -> Reply:
        """Send a command and return its answer, of whatever outcome.

        If ``deadline`` passes (ModemTimeoutError) or the caller is interrupted once something was sent, the exchange
        goes on without him, and ``on_orphan`` is called in the background thread with what came of it (it may use
        the channel). Before anything was sent: LineBusyError (a ModemTimeoutError), and on_orphan is never called.

        Raises ModemTimeoutError (the modem's own time-out, too), ModemRestartedError, PortLostError, SyncError.
        """
        raise NotImplementedError

    @contextmanager
    def hold(self, deadline: float | None = None) -> Iterator[None]:
        """Keep the line for several exchanges of this thread; nobody comes between."""
        raise NotImplementedError

    def watch(self, pattern: LinePattern, bound: Mapping[str, str] | None = None) -> Watch:
        """Return a watch for lines of this pattern."""
        raise NotImplementedError

    def wait(self, ready: Callable[[], bool], deadline: float | None = None) -> bool:
        """Wait until ``ready()``, which is asked again whenever something arrived; False if the deadline passed.

        Raises PortLostError once the channel is closed. An end of epoch is for ``ready`` to see.
        """
        raise NotImplementedError

    def notify(self) -> None:
        """Have every :meth:`wait` ask its ``ready`` again: something changed that did not come from the line."""
        raise NotImplementedError

    def defer(self, work: Callable[[], None]) -> None:
        """Run ``work`` in the background thread; it may use the channel. Errors are logged."""
        raise NotImplementedError

    def end_epoch(self, reason: str) -> None:
        """Declare that the modem lost its state: whoever waits fails with ModemRestartedError."""
        raise NotImplementedError

    def resynchronise(self, deadline: float | None = None) -> None:
        """Bring commands and answers into step now (otherwise done before the next exchange that needs it).

        Raises SyncError if nothing sensible answers.
        """
        raise NotImplementedError

    def close(self, reason: BaseException | None = None) -> None:
        """Close the port. Whoever waits fails at once with ``reason``, or PortLostError."""
        raise NotImplementedError
