"""Time as the simulated modem sees it: an injected monotonic clock, and a settable real-time clock on top of it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

__all__ = ["Clock", "ManualClock", "RealClock", "Rtc"]


class Clock(Protocol):
    """Monotonic seconds."""

    def now(self) -> float:
        """Return seconds since an arbitrary origin; never goes back."""


class RealClock:
    """The host's monotonic clock."""

    def now(self) -> float:
        """Return ``time.monotonic()``."""
        return time.monotonic()


class ManualClock:
    """A clock that stands still until it is told to move: tests that use it do not sleep."""

    def __init__(self, start: float = 1000.0) -> None:
        self._now = start

    def now(self) -> float:
        """Return the time set so far."""
        return self._now

    def set(self, when: float) -> None:
        """Move to ``when``; moving back is an error."""
        if when < self._now:
            raise ValueError("a monotonic clock does not go back")
        self._now = when


class Rtc:
    """The modem's own calendar clock. It starts where it is told to, may be wrong, and runs with the injected clock.

    ``zone`` is the offset of local time from UTC in quarters of an hour, as in 3GPP TS 27.007 (+CCLK).
    """

    def __init__(self, clock: Clock, utc: datetime, zone: int = 0) -> None:
        self._clock = clock
        self.zone = zone
        self.set_utc(utc)

    def set_utc(self, utc: datetime, zone: int | None = None) -> None:
        """Set the clock; ``utc`` is an aware or a naive UTC date."""
        self._utc = utc.replace(tzinfo=UTC) if utc.tzinfo is None else utc.astimezone(UTC)
        self._at = self._clock.now()
        if zone is not None:
            self.zone = zone

    def utc(self) -> datetime:
        """Return what the modem believes is the present UTC time."""
        return self._utc + timedelta(seconds=self._clock.now() - self._at)

    def local(self) -> datetime:
        """Return what the modem believes is local time (without tzinfo)."""
        return (self.utc() + timedelta(minutes=15 * self.zone)).replace(tzinfo=None)

    def set_local(self, local: datetime, zone: int) -> None:
        """Set the clock from local time and its offset in quarters of an hour."""
        self.set_utc(local - timedelta(minutes=15 * zone), zone)
