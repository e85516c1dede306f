"""Bringing commands and answers back into step.

First silence, and where the modem may be waiting for payload its whole input time-out, for what is sent then would be
taken as payload. Then probes whose answers are told apart by their information lines. A probe that goes unanswered is
followed by a different one, so that a late answer is not taken for the next; after one that went unanswered, success
has to be followed by silence. Then the escape sequence, if the modem has one, and all again. Behind that, where a lost
quotation mark leaves the modem waiting for it for good, one that closes the text, in a round of its own. It opens one
if there was none: so the same again.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from modemtls.at.grammar import Outcome
from modemtls.errors import SyncError

if TYPE_CHECKING:
    from modemtls.at import events as ev
    from modemtls.at.exchange import Exchange
    from modemtls.at.line import LineState

__all__ = ["Doubt", "Resync"]

# How long (s) a modem is given to leave a data phase by itself where neither its input time-out nor an escape sequence
# is known: the longest default that vendors' manuals give for counted input.
_UNKNOWN_INPUT_TIMEOUT: Final = 60.0
# A line that is never silent is probed all the same after this time (s).
_QUIET_LIMIT: Final = 5.0


class Doubt:
    """Why the line may be out of step, and since when the modem may be waiting for payload.

    ``unknown``: nobody knows what was on the line before; a probe that vanishes may have been taken as payload.
    """

    __slots__ = ("exchange", "hold_until", "payload_awaited", "reason", "unknown")

    def __init__(self, reason: str, exchange: Exchange | None = None, *, unknown: bool = False) -> None:
        self.reason = reason
        self.exchange = exchange
        self.unknown = unknown
        self.payload_awaited = False
        self.hold_until: float | None = None  # None with payload_awaited: nobody knows

    def data_phase(self, input_timeout: float | None, since: float) -> None:
        """Note that the modem may be waiting for payload since then."""
        self.payload_awaited = True
        self.unknown = True
        self.hold_until = None if input_timeout is None else since + input_timeout

    def result(self, quiet: float, now: float) -> None:
        """Note that a final result came: the modem is not waiting for payload any more."""
        if self.payload_awaited:
            self.payload_awaited = False
            self.hold_until = now + quiet


class _Phase(enum.Enum):
    HOLD = enum.auto()
    QUIET = enum.auto()
    ESCAPED = enum.auto()
    GUARD = enum.auto()
    PROBE = enum.auto()
    TRAIL = enum.auto()


class Resync:
    """One attempt at it, driven by the line. ``timer`` is when :meth:`step` is due."""

    __slots__ = (
        "_close",
        "_doubt",
        "_escape",
        "_left",
        "_line",
        "_phase",
        "_quiet_from",
        "_round",
        "_unanswered",
        "timer",
    )

    def __init__(self, line: LineState, doubt: Doubt, now: float) -> None:
        self._line = line
        self._doubt = doubt
        self._round = 0
        self._unanswered = 0
        self._left = self._probes()
        self._escape = False
        self._close = self._closing()
        self._phase = _Phase.HOLD
        self._quiet_from = now
        self.timer: float | None = now
        self._hold(now)

    def _probes(self) -> list[Exchange]:
        probes = list(self._line.recovery.probes)
        doubted = self._doubt.exchange
        if doubted is None:
            return probes
        heads = {one.pattern.head for one in doubted.lines}
        fit = [
            one for one in probes if one.line != doubted.line and not heads & {line.pattern.head for line in one.lines}
        ]
        return fit or probes

    def _closing(self) -> bool:
        """Whether the round that begins is one of those that close a quoted text."""
        return bool(self._line.recovery.close_quote) and self._round >= 2 and self._round % 2 == 0

    def _hold(self, now: float) -> None:
        """Send nothing while the modem may take it as payload."""
        doubt = self._doubt
        recovery = self._line.recovery
        until = now
        if doubt.hold_until is not None:
            until = max(now, doubt.hold_until)
        elif doubt.payload_awaited:
            if recovery.escape:
                self._escape = True
            else:
                until = now + _UNKNOWN_INPUT_TIMEOUT
        self._phase = _Phase.HOLD
        self.timer = until

    # -- time ------------------------------------------------------------------------------------------------------

    def step(self, now: float) -> None:
        """Do what is due."""
        while self._line.resync is self and self.timer is not None and now >= self.timer:
            match self._phase:
                case _Phase.HOLD:
                    self._phase = _Phase.QUIET
                    self._quiet_from = now
                    self.timer = max(now, self._line.last_read + self._silence())
                    if self._doubt.exchange is None and self._doubt.unknown and not self._round:
                        self.timer = now + self._silence()  # begin with silence
                case _Phase.QUIET:
                    silent = self._line.last_read + self._silence()
                    if now < silent and now < self._quiet_from + _QUIET_LIMIT:
                        self.timer = silent
                    elif self._escape:
                        self._escape = False
                        self._line.put(self._line.recovery.escape, now)
                        self._phase = _Phase.ESCAPED
                        self.timer = now + max(self._line.recovery.escape_guard, self._line.recovery.quiet)
                    elif self._close:
                        self._close = False
                        self._line.put(self._line.recovery.close_quote, now)
                        self._phase = _Phase.ESCAPED
                        self.timer = now + self._line.recovery.quiet
                    else:
                        self._probe(now)
                case _Phase.ESCAPED | _Phase.GUARD:
                    self._probe(now)
                case _Phase.PROBE:
                    self._unanswered += 1
                    for _ in self._line.codec.abandon():
                        pass  # what a torn payload swallowed was noise of the time before
                    self._line.codec.end()
                    self._next(now)
                case _Phase.TRAIL:
                    self._finish(now)

    def _silence(self) -> float:
        recovery = self._line.recovery
        return max(recovery.quiet, recovery.escape_guard if self._escape else 0.0)

    def _probe(self, now: float) -> None:
        if now < self._line.not_before:
            self._phase = _Phase.GUARD
            self.timer = self._line.not_before
            return
        probe = self._left.pop(0)
        self._phase = _Phase.PROBE
        self.timer = now + probe.timeout
        self._line.codec.begin(probe)
        terminator = self._line.terminator or probe.terminator
        self._line.put(probe.line + terminator, now)
        if self._line.tracer is not None:
            self._line.tracer.command(probe, terminator, now)

    def _next(self, now: float) -> None:
        """Go on after a probe that failed."""
        if self._left:
            self._probe(now)
            return
        self._round += 1
        recovery = self._line.recovery
        self._close = self._closing()
        if self._round >= recovery.rounds + (recovery.rounds - 1 if recovery.close_quote else 0):
            self._fail(now, f"nothing sensible answers ({self._doubt.reason})")
            return
        self._left = self._probes()
        self._escape = bool(recovery.escape) and not self._close
        # A payload that lost bytes on the line would have swallowed the probes.
        pause = recovery.input_timeout if self._doubt.unknown and recovery.input_timeout is not None else recovery.quiet
        self._phase = _Phase.HOLD
        self.timer = max(now, self._line.last_write + pause)

    def stuck(self, now: float) -> None:
        """Give up: the port takes no bytes."""
        self._fail(now, f"the modem takes no bytes ({self._doubt.reason})")

    # -- events ----------------------------------------------------------------------------------------------------

    def final(self, event: ev.Final, now: float) -> None:
        """Take a final result that came while a probe is in flight."""
        if self._phase is not _Phase.PROBE or event.missing:
            return  # a bare OK proves nothing: it may be an earlier command's
        if event.rule.outcome is not Outcome.OK:
            self._unanswered += 1  # whose error it was is open
            self._next(now)
        elif self._unanswered:
            self._phase = _Phase.TRAIL
            self.timer = now + self._line.recovery.quiet
        else:
            self._finish(now)

    def stray(self, now: float, *, result: bool) -> None:
        """Take a line that nothing explains; ``result``: it looks like a final result."""
        if self._phase is _Phase.HOLD and result:
            self._doubt.result(self._line.recovery.quiet, now)
            self._escape = self._close = False
            self._hold(now)
        elif self._phase is _Phase.TRAIL:
            # Late answers still come: the one that counted may have been one of them.
            self._left = []
            self._next(now)

    def prompt(self, now: float) -> None:
        """Take a late prompt: now the modem does wait for payload, and what was sent since is part of it."""
        self._line.codec.end()
        self._unanswered += self._phase is _Phase.PROBE
        self._left = self._probes()
        self._escape = self._close = False
        self._hold(now)

    # -- ends ------------------------------------------------------------------------------------------------------

    def _finish(self, now: float) -> None:
        self.timer = None
        self._line.recovered(now)

    def _fail(self, now: float, reason: str) -> None:
        self.timer = None
        self._line.unrecoverable(SyncError(f"command and answer are out of step: {reason}"), now)
