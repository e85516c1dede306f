"""Power-up, functionality, signal (BG96 AT Commands Manual V2.2; 3GPP TS 27.007)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.command import Form, Refusal
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.quectel.area import Area

if TYPE_CHECKING:
    from modemtls.sim.job import Job
    from modemtls.sim.personalities.quectel import Quectel

__all__ = ["REGISTRATION_MODES", "Radio"]

REGISTRATION_MODES = {"+CREG": (0, 1, 2), "+CGREG": (0, 1, 2, 4), "+CEREG": (0, 1, 2, 4)}
FIRST_URC = 0.03  # s from the host's open to RDY: opening a port flushes what came before
URC_STEP = 0.01  # s between boot URCs
PHONEBOOK_TIME = 1.0  # s; the manual says "later"


class Radio(Area):
    """What the card and the network do to each other, and what is printed of it."""

    def __init__(self, module: Quectel) -> None:
        super().__init__(module)
        self._card, self._registration = module.card, module.registration
        self._card.unlocked = self._unlocked
        self._registration.joined = module.clock.network_tells
        self._registration.left = lambda: module.packet.all_lost(silent=False)

    def reset(self) -> None:
        """Radio on."""
        self.level = 1

    def stop(self) -> None:
        """Stop what is under way."""
        super().stop()
        self._registration.stop()

    def _later_urcs(self, delay: float, *texts: str) -> float:
        for text in texts:
            self.later(delay, lambda text=text: self.module.urc(text))  # type: ignore[misc]
            delay += URC_STEP
        return delay

    # --- power-up -----------------------------------------------------------------------------------------------------

    def power_up(self, *, banner: bool, settled: bool) -> None:
        """Print the boot URCs and look for a network; ``settled``: it is found at once."""
        if settled:
            self._registration.search(delay=0)
            return
        wait = self.variants.number("sim-time")
        self._card.ready_at = self.loop.now() + wait
        if banner:
            self._card_comes(max(wait, self._later_urcs(FIRST_URC, "RDY", "APP RDY", "+CFUN: 1")))
        self.later(wait, self._registration.search)

    def _card_comes(self, delay: float) -> None:
        """Print what a card's state brings with it."""
        delay = self._later_urcs(delay, f"+CPIN: {self._card.state}")
        if self._card.state == "READY":
            delay = self._later_urcs(delay, "+QUSIM: 1", "+QIND: SMS DONE")
            self._later_urcs(delay + PHONEBOOK_TIME, "+QIND: PB DONE")

    def _unlocked(self) -> None:
        self._card_comes(URC_STEP)
        self._registration.search()

    # --- functionality ----------------------------------------------------------------------------

    @at("+CFUN")
    def _cfun(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+CFUN: (0,1,4),(0,1)")
            return
        if job.form is Form.READ:
            job.info(f"+CFUN: {self.level}")
            return
        args = job.args()
        args.count(1, 2)
        level = args.number(0, 0, 4)
        restart = args.number(1, 0, 1, 0)
        if level not in {0, 1, 4} or (restart and level != 1):
            raise Refusal
        job.ok()
        if restart:
            self._restart()
            return
        before, self.level = self.level, level
        if level != before:
            self.stop()
            self._card.powered, self._registration.on = level != 0, level == 1
            if level == 1:
                if before == 0:
                    self._card.lock()
                    self._card_comes(URC_STEP)
                self._registration.search()
            else:
                self._registration.leave()
                if level == 0:
                    self.module.urc("+CPIN: NOT READY")

    def _restart(self) -> None:
        if self.variants.on("restart-noise"):
            self.module.urc("POWERED DOWN")  # in this order: vshymanskyy/TinyGSM issue #157
            self.module.packet.all_lost(silent=False)
        self.machine.restart(self.module.boot_time, "AT+CFUN=1,1")

    @at("+CSQ")
    def _signal(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+CSQ: (0-31,99),(0-7,99)")
        elif job.form is Form.ACTION:
            job.info("+CSQ: 28,99" if self._registration.registered else "+CSQ: 99,99")
        else:
            raise Refusal
