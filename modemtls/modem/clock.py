"""The modem's clock, which decides whether certificates are in date: set from the host, else from the network.

No clock is believed that lies before :data:`BUILD_DATE`.
"""

from __future__ import annotations

import ctypes
import logging
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final, Literal

from modemtls.at.grammar import Outcome
from modemtls.errors import CommandError, ConfigurationError, ModemTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.modem.interfaces import Host

__all__ = [
    "BUILD_DATE",
    "TOLERANCE",
    "ClockState",
    "HostTime",
    "format_clock",
    "host_synchronised",
    "look_again",
    "parse_clock",
    "set_clock",
]

logger = logging.getLogger(__name__)

BUILD_DATE: Final = datetime(2026, 9, 1, tzinfo=UTC)
"""This software was not yet built then: a clock that shows an earlier time is wrong. Raised with each release."""

TOLERANCE: Final = timedelta(seconds=5)
"""A clock no further off is left as it is: the format counts whole seconds, and commands take their time."""

FAR_OFF: Final = timedelta(hours=1)
"""A clock that is known to be further off and cannot be set is not used: certificates count in days."""

# 3GPP TS 27.007, 8.15: "yy/MM/dd,hh:mm:ss±zz", zz the difference from GMT in quarters of an hour. Modems also write
# four digits of the year, leave the zone out, and append daylight saving time.
_CLOCK = re.compile(r'"?(\d{4}|\d\d)/(\d\d)/(\d\d),(\d\d):(\d\d):(\d\d)(?:([+-]\d{1,2})(?:,\d)?)?"?\Z', re.ASCII)

_TIME_ERROR = 5  # adjtimex(2): "clock not synchronized", also the return value
_STA_UNSYNC = 0x0040  # <linux/timex.h>


class _Timex(ctypes.Structure):
    """The head of ``struct timex`` (adjtimex(2)), with room for the rest on every architecture."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def host_synchronised() -> bool:
    """Tell whether the kernel's clock is kept by NTP, PTP or the like; False where that cannot be known."""
    timex = _Timex()  # modes 0 only reads, and needs no privilege
    try:
        state: int = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return False
    return state >= 0 and state != _TIME_ERROR and not timex.status & _STA_UNSYNC


@dataclass(frozen=True, slots=True)
class HostTime:
    """The host's clock and whether it is synchronised."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    synchronised: Callable[[], bool] = host_synchronised


@dataclass(frozen=True, slots=True)
class ClockState:
    """Where the modem's time comes from. ``source`` None: it cannot be believed, and ``detail`` says why.

    ``time``: what it was last read as, None if it cannot be read; ``at``: when that was, on the clock of deadlines.
    """

    source: Literal["host", "network", "ntp", "modem"] | None
    detail: str
    time: datetime | None = None
    at: float = 0.0


def parse_clock(text: str) -> datetime | None:
    """Read a time as 27.007 writes it; None for anything else, an empty one included."""
    match = _CLOCK.match(text.strip())
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(group) for group in match.groups()[:6])
    if len(match[1]) == 2:
        # Two digits: modems that were never told the time start in 1970 or 1980.
        year += 1900 if year >= 70 else 2000
    try:
        zone = timezone(timedelta(minutes=15 * int(match[7] or 0)))
        return datetime(year, month, day, hour, minute, second, tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def format_clock(time: datetime) -> str:
    """Write a time as 27.007 does, in UTC, to the nearest second."""
    return (time.astimezone(UTC) + timedelta(microseconds=500_000)).strftime("%y/%m/%d,%H:%M:%S+00")


def set_clock(
    host: Host, time: HostTime, *, pdp: int | None = None, ntp: str | None = None, deadline: float | None = None
) -> ClockState:
    """Set the modem's clock if it is off, from the best source there is, and say which.

    A modem that refuses is told by the state, not by an exception; ``deadline`` and a restart do raise.
    """
    setter = _Setter(host, deadline)
    state = setter.from_host(time) or setter.from_network()
    if state is None and ntp is not None and pdp is not None:
        state = setter.from_ntp(pdp, ntp)
    if state is None:
        state = setter.as_it_is()
    logger.log(logging.INFO if state.source else logging.WARNING, "clock: %s", state.detail)
    return state


def look_again(host: Host, state: ClockState, *, deadline: float | None = None) -> ClockState | None:
    """Read a clock that was right once; the new state if it has gone on as it should, else None."""
    if state.time is None:
        return None
    shown = _Setter(host, deadline).read()
    if shown is None or abs(shown - state.time - timedelta(seconds=host.now() - state.at)) > TOLERANCE:
        return None
    return replace(state, time=shown, at=host.now())


class _Setter:
    """One attempt at setting the clock; collects why sources failed."""

    def __init__(self, host: Host, deadline: float | None) -> None:
        self._host = host
        self._deadline = deadline
        self._failures: list[str] = []
        self._wrong = False  # known to be far off
        self._time: datetime | None = None
        self._at = 0.0

    def from_host(self, time: HostTime) -> ClockState | None:
        if not time.synchronised():
            self._failures.append("the host's clock is not synchronised")
            return None
        if time.now() < BUILD_DATE:
            self._failures.append(f"the host's clock shows {time.now():%Y-%m-%d}, before this software was built")
            return None
        return self._bring_to(time.now, "host", "from the host's synchronised clock")

    def from_network(self) -> ClockState | None:
        text = self._ask("clock_network", {}, "the network")
        return self._from_text(text, "network", "the network")

    def from_ntp(self, pdp: int, server: str) -> ClockState | None:
        text = self._ask("clock_sync", {"pdp": pdp, "server": server, "port": 123}, server)  # RFC 5905, 16: port 123
        return self._from_text(text, "ntp", server)

    def as_it_is(self) -> ClockState:
        shown = self.read()
        because = "; ".join(self._failures)
        if shown is not None and self._wrong:
            return self._state(None, f"the modem's clock is wrong, {shown:%Y-%m-%d %H:%M} UTC: {because}")
        if shown is not None and shown >= BUILD_DATE:
            return self._state("modem", f"left as it is, {shown:%Y-%m-%d %H:%M} UTC: {because}")
        what = "cannot be read" if shown is None else f"shows {shown:%Y-%m-%d}, before this software was built"
        return self._state(None, f"the modem's clock {what}, and nothing better is known: {because}")

    def _state(self, source: Literal["host", "network", "ntp", "modem"] | None, detail: str) -> ClockState:
        return ClockState(source, detail, self._time, self._at)

    def _from_text(self, text: str | None, source: Literal["network", "ntp"], name: str) -> ClockState | None:
        if text is None:
            return None
        then = parse_clock(text)
        if then is None or then < BUILD_DATE:
            shown = "no time" if not text.strip('" ') else f"an impossible time, {text!r}"
            self._failures.append(f"{name} gave {shown}")
            return None
        asked = self._host.now()
        return self._bring_to(
            lambda: then + timedelta(seconds=self._host.now() - asked),
            source,
            f"from {name}, {then:%Y-%m-%d %H:%M} UTC",
        )

    def _bring_to(
        self, now: Callable[[], datetime], source: Literal["host", "network", "ntp"], detail: str
    ) -> ClockState | None:
        shown = self.read()
        if shown is not None and abs(shown - now()) <= TOLERANCE:
            return self._state(source, f"right already, {detail}")
        self._wrong = self._wrong or (shown is not None and abs(shown - now()) > FAR_OFF)
        if not self._host.has("clock_set"):
            self._failures.append("the modem's clock cannot be set")
            return None
        try:
            self._host.run("clock_set", {"clock": format_clock(now())}, deadline=self._deadline)
        except (CommandError, ModemTimeoutError) as error:
            self._failed(error, "the modem refused to be set")
            return None
        if self._host.has("clock_read"):
            kept = self.read()
            if kept is None or abs(kept - now()) > TOLERANCE:
                what = "cannot be read" if kept is None else f"shows {kept:%Y-%m-%d %H:%M} UTC all the same"
                self._failures.append(f"the modem says that its clock was set, and it {what}")
                return None
            self._wrong = False
        was = "" if shown is None else f"; it showed {shown:%Y-%m-%d %H:%M} UTC"
        return self._state(source, f"set {detail}{was}")

    def read(self) -> datetime | None:
        """Read the modem's clock; None if that fails."""
        text = self._ask("clock_read", {}, "")
        self._time = None if text is None else parse_clock(text)
        self._at = self._host.now()
        return self._time

    def _ask(self, op: str, bindings: dict[str, object], name: str) -> str | None:
        if not self._host.has(op):
            return None
        try:
            result = self._host.run(op, bindings, deadline=self._deadline)
        except (CommandError, ConfigurationError, ModemTimeoutError) as error:
            self._failed(error, f"{name} gave no time" if name else "the modem's clock cannot be read")
            return None
        text = result.values.get("clock")
        if result.outcome is not Outcome.OK or text is None:
            if name:
                self._failures.append(f"{name} gave no time")
            return None
        return str(text)

    def _failed(self, error: Exception, what: str) -> None:
        if self._deadline is not None and self._host.now() >= self._deadline:
            raise error  # the caller's time is up: that is not the clock's fault
        self._failures.append(f"{what} ({error})")
