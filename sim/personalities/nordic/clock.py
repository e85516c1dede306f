"""The calendar clock: the network sets it (3GPP TS 27.007, 8.15)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.command import Form
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.common.clock import Calendar

if TYPE_CHECKING:
    from modemtls.sim.job import Job
    from modemtls.sim.personalities.nordic import Nordic

__all__ = ["Clock"]


class Clock(Calendar["Nordic"]):
    """The clock, and whether anybody has set it."""

    def __init__(self, module: Nordic) -> None:
        super().__init__(module)
        self.known = self.machine.options.clock is not None or self.variants["rtc"] != "factory"

    def lose_power(self) -> None:
        """Back to where the clock starts."""
        super().lose_power()
        self.known = self.machine.options.clock is not None or self.variants["rtc"] != "factory"

    def network_tells(self) -> None:
        """Take the network's time, unless a test has set the clock."""
        if self.variants.on("network-time") and not self.known:
            self.rtc.set_utc(self.true_utc(), self.zone)
            self.known = True

    @at("+CCLK")
    def _cclk(self, job: Job) -> None:
        super()._cclk(job)
        self.known = self.known or job.form is Form.SET
