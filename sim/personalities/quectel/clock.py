"""Clocks: the RTC, the network's time, NTP (BG96 AT Commands Manual V2.2, BG96 TCP(IP) manual V1.1)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from modemtls.sim.clock import Rtc
from modemtls.sim.command import Form, Refusal
from modemtls.sim.options import parse_clock
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.quectel.area import Area

if TYPE_CHECKING:
    from modemtls.sim.job import Job
    from modemtls.sim.loop import Timer
    from modemtls.sim.personalities.quectel import Quectel

__all__ = ["ClockCommands"]

FACTORY = datetime(1980, 1, 6, tzinfo=UTC)  # where fresh modules start
NTP_TIME = 0.05  # s until the server answers
_CCLK = re.compile(r"(\d\d)/(\d\d)/(\d\d),(\d\d):(\d\d):(\d\d)(?:([+-])(\d{1,2}))?")


class ClockCommands(Area):
    """The modem's clock and those it can learn the time from."""

    def __init__(self, module: Quectel) -> None:
        super().__init__(module)
        self._zone = int(self.variants["zone"]) if re.fullmatch(r"-?\d{1,2}", self.variants["zone"]) else 0
        self.rtc = Rtc(self.loop.clock, self._at_power_up(), 0)
        self._auto = 0
        self._ntp: Timer | None = None

    def reset(self) -> None:
        """Forget the network's time; the RTC runs through a restart."""
        self._last_sync: datetime | None = None

    def stop(self) -> None:
        """Forget a query under way."""
        if self._ntp is not None:
            self._ntp.cancel()

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

    def network_tells(self) -> None:
        """Take the time that the network tells at registration."""
        if self.variants.on("network-time"):
            self._last_sync = self.true_utc()
            if self._auto:
                self.rtc.set_utc(self._last_sync, self._zone)

    @at("+CCLK")
    def _cclk(self, job: Job) -> None:
        if job.form is Form.READ:
            job.info(f'+CCLK: "{_date(self.rtc.local(), self.rtc.zone, "%y")}"')
            return
        if job.form is not Form.SET:
            if job.form is Form.TEST:
                return
            raise Refusal
        args = job.args()
        args.count(1, 1)
        match = _CCLK.fullmatch(args.text(0))
        if not match:
            raise Refusal(cme=3)
        year, month, day, hour, minute, second = (int(match[n]) for n in range(1, 7))
        zone = int(match[8] or 0) * (-1 if match[7] == "-" else 1)
        try:
            local = datetime(1900 + year if year >= 80 else 2000 + year, month, day, hour, minute, second)  # noqa: DTZ001
        except ValueError:
            raise Refusal(cme=3) from None
        if not -48 <= zone <= 56:  # quarters of an hour, BG96 AT manual
            raise Refusal(cme=3)
        self.rtc.set_local(local, zone)

    @at("+CTZU", "+CTZR")
    def _automatic(self, job: Job) -> None:
        name = job.command.name
        if job.form is Form.TEST:
            job.info(f"{name}: (0,1)")
        elif job.form is Form.READ:
            job.info(f"{name}: {self._auto if name == '+CTZU' else 0}")
        else:
            value = job.args().number(0, 0, 1)
            if name == "+CTZU":
                self._auto = value
                if value and self._last_sync is not None:
                    self.rtc.set_utc(self.true_utc(), self._zone)

    @at("+QLTS")
    def _network_time(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+QLTS: (0-2)")
            return
        mode = job.args().number(0, 0, 2, 0) if job.form is Form.SET else 0
        if self._last_sync is None:
            job.info('+QLTS: ""')
            return
        # 0: as of the last synchronisation, 1: present GMT, 2: present local time
        utc = self._last_sync if mode == 0 else self.true_utc()
        shown = utc if mode < 2 else utc + timedelta(minutes=15 * self._zone)
        job.info(f'+QLTS: "{_date(shown, self._zone, "%Y")},0"')

    @at("+QNTP")
    def _ntp_sync(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+QNTP: (1-16),<server>,(1-65535),(0,1)")
            return
        if job.form is not Form.SET:
            raise Refusal
        args = self.ip_args(job)
        args.count(2, 4)
        cid = args.number(0, 1, 16)
        server = args.text(1)
        args.number(2, 1, 65535, 123)
        set_rtc = args.number(3, 0, 1, 1)
        if not self.module.packet.active(cid):
            raise self.ip_error(561, f"context {cid} is not active")
        self._ntp = self.loop.call_later(NTP_TIME, lambda: self._ntp_answer(server, set_rtc=bool(set_rtc)))

    def _ntp_answer(self, server: str, *, set_rtc: bool) -> None:
        if self.machine.network.address(server) is None:
            self.module.urc("+QNTP: 565")
        elif not self.variants.on("ntp"):
            self.module.urc("+QNTP: 569")
        else:
            utc = self.true_utc()
            if set_rtc:
                self.rtc.set_utc(utc, self._zone)
            shown = utc if self.variants.on("qntp-utc") else utc + timedelta(minutes=15 * self._zone)
            self.module.urc(f'+QNTP: 0,"{_date(shown, self._zone, "%Y")}"')


def _date(when: datetime, zone: int, year: str) -> str:
    return f"{when.strftime(year + '/%m/%d,%H:%M:%S')}{zone:+03d}"
