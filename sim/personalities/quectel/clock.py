"""Clocks: the RTC, the network's time, NTP (BG96 AT Commands Manual V2.2, BG96 TCP(IP) manual V1.1)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from modemtls.sim.command import Form, Refusal
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.common.clock import Calendar, date
from modemtls.sim.personalities.quectel.area import Area

if TYPE_CHECKING:
    from datetime import datetime

    from modemtls.sim.job import Job
    from modemtls.sim.loop import Timer
    from modemtls.sim.personalities.quectel import Quectel

__all__ = ["ClockCommands"]

NTP_TIME = 0.05  # s until the server answers


class ClockCommands(Calendar["Quectel"], Area):
    """The modem's clock and those it can learn the time from."""

    def __init__(self, module: Quectel) -> None:
        super().__init__(module)
        self._auto = 0
        self._ntp: Timer | None = None

    def reset(self) -> None:
        """Forget the network's time; the RTC runs through a restart."""
        self._last_sync: datetime | None = None

    def stop(self) -> None:
        """Forget a query under way."""
        super().stop()
        if self._ntp is not None:
            self._ntp.cancel()

    def network_tells(self) -> None:
        """Take the time that the network tells at registration."""
        if self.variants.on("network-time"):
            self._last_sync = self.true_utc()
            if self._auto:
                self.rtc.set_utc(self._last_sync, self.zone)

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
                    self.rtc.set_utc(self.true_utc(), self.zone)

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
        shown = utc if mode < 2 else utc + timedelta(minutes=15 * self.zone)
        job.info(f'+QLTS: "{date(shown, self.zone, "%Y")},0"')

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
                self.rtc.set_utc(utc, self.zone)
            shown = utc if self.variants.on("qntp-utc") else utc + timedelta(minutes=15 * self.zone)
            self.module.urc(f'+QNTP: 0,"{date(shown, self.zone, "%Y")}"')
