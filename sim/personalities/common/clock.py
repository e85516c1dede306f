"""The modem's calendar clock (3GPP TS 27.007, 8.15: +CCLK)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from modemtls.sim.clock import Rtc
from modemtls.sim.command import Form, Refusal
from modemtls.sim.options import Variant, parse_clock
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.common.area import Area, Module

if TYPE_CHECKING:
    from modemtls.sim.job import Job

__all__ = ["CLOCK_VARIANTS", "Calendar", "date"]

FACTORY = datetime(1980, 1, 6, tzinfo=UTC)  # where fresh modems start
EARLIEST, LATEST = -48, 56  # quarters of an hour
WRONG_DATE = 3  # +CME ERROR: operation not allowed
_CCLK = re.compile(r"(\d\d)/(\d\d)/(\d\d),(\d\d):(\d\d):(\d\d)(?:([+-])(\d{1,2}))?")

CLOCK_VARIANTS = (
    Variant(
        "rtc",
        "the clock at power-up: factory date, right, or as ISO date through --variant rtc=2026-03-01T10:15:30",
        ("factory",),
        free=True,
    ),
    Variant("zone", "the network's time zone in quarters of an hour", ("4",), free=True),
)


class Calendar(Area[Module]):
    """The RTC, which runs through a restart and falls back when power goes."""

    def __init__(self, module: Module) -> None:
        super().__init__(module)
        zone = self.variants["zone"]
        self.zone = int(zone) if re.fullmatch(r"-?\d{1,2}", zone) else 0
        self.rtc = Rtc(self.loop.clock, self._at_power_up(), 0)

    def _at_power_up(self) -> datetime:
        if self.machine.options.clock is not None:
            return self.machine.options.clock
        choice = self.variants["rtc"]
        if choice == "factory":
            return FACTORY
        return self.true_utc() if choice == "right" else parse_clock(choice)

    def lose_power(self) -> None:
        """Back to where the clock starts."""
        self.rtc.set_utc(self._at_power_up(), 0)

    def true_utc(self) -> datetime:
        """Return the network's time, which is the host's."""
        return datetime.now(UTC)

    @at("+CCLK")
    def _cclk(self, job: Job) -> None:
        if job.form is Form.READ:
            job.info(f'+CCLK: "{date(self.rtc.local(), self.rtc.zone, "%y")}"')
            return
        if job.form is not Form.SET:
            if job.form is Form.TEST:
                return
            raise Refusal
        args = job.args()
        args.count(1, 1)
        match = _CCLK.fullmatch(args.text(0))
        if not match:
            raise Refusal(cme=WRONG_DATE)
        year, month, day, hour, minute, second = (int(match[n]) for n in range(1, 7))
        zone = int(match[8] or 0) * (-1 if match[7] == "-" else 1)
        try:
            local = datetime(1900 + year if year >= 80 else 2000 + year, month, day, hour, minute, second)  # noqa: DTZ001
        except ValueError:
            raise Refusal(cme=WRONG_DATE) from None
        if not EARLIEST <= zone <= LATEST:
            raise Refusal(cme=WRONG_DATE)
        self.rtc.set_local(local, zone)


def date(when: datetime, zone: int, year: str) -> str:
    """Write a date as +CCLK does; ``year`` is strftime's ``%y`` or ``%Y``."""
    return f"{when.strftime(year + '/%m/%d,%H:%M:%S')}{zone:+03d}"
