"""Identification, functionality, power (UBX-17003787 R09/R16, UBX-20009652 R02, UBX-19041356 R15)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.command import Form, Refusal
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.common.card import ICCID, IMSI
from modemtls.sim.personalities.ublox.area import NOT_SUPPORTED, Area
from modemtls.sim.personalities.ublox.interpreter import FRAME, ListeningInterpreter

if TYPE_CHECKING:
    from modemtls.sim.job import Job
    from modemtls.sim.personalities.ublox import Ublox

__all__ = ["BAUD_RATES", "IMEI", "REGISTERS", "REGISTRATION_MODES", "Device"]

IMEI = "352753090000017"  # made up; the last digit is the Luhn check
BAUD_RATES = (0, 9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600)  # 0: autobauding
REGISTERS = {2: 43, 12: 50}  # escape character and its guard time in 20 ms
REGISTRATION_MODES = {"+CREG": (0, 1, 2), "+CGREG": (0, 1, 2), "+CEREG": (0, 1, 2, 3, 4, 5)}
POWER_DOWN_TIME = 0.1  # s; the documents allow 40
FIRST_OUTPUT = 0.03  # s from the host's open: opening a port flushes what came before
_DATES = {"05.06": "Feb 03 2018 13:00:41"}  # of builds, as far as they were seen


class Device(Area):
    """The module itself."""

    def __init__(self, module: Ublox) -> None:
        super().__init__(module)
        # non-volatile
        self._greeting = self.variants["greeting"]
        self._profile = 0
        self._card, self._registration, self._bearer = module.card, module.registration, module.bearer
        self._card.unlocked = self._registration.search
        self._registration.joined = self._joined
        self._registration.left = self._left

    def reset(self) -> None:
        """Radio on."""
        self.level = 1
        self._power_saving = (int(self.variants["upsv"]), 2000)
        self._ctzu = self._ctzr = 0
        self._reporting = (0, 0)
        self._flow = 3

    def power_up(self, *, banner: bool, settled: bool) -> None:
        """Look for a network; ``settled``: it is found at once. There is no boot URC but the greeting."""
        if settled:
            self._registration.search(delay=0)
            return
        wait = self.variants.number("sim-time")
        self._card.ready_at = self.loop.now() + wait
        self.later(wait, self._registration.search)
        if banner and self.module.facts.old:
            self.later(FIRST_OUTPUT, lambda: self.machine.interpreter.send(b"\0\0"))  # freertos-cellular issue 75
        if banner and self._greeting:
            self.later(FIRST_OUTPUT, lambda: self.module.urc(self._greeting))

    def _joined(self) -> None:
        self._bearer.attach()
        if self._ctzu:
            self.module.clock.rtc.set_utc(self.module.clock.true_utc(), self.module.clock.zone)

    def _left(self) -> None:
        self._bearer.leaving = True
        self._bearer.deactivate_all("the host leaves the network")
        self._bearer.leaving = False

    # --- identification -------------------------------------------------------------------------------------------

    @at("I")
    def _identify(self, job: Job) -> None:
        which = job.args().number(0, 0, 9, 0)
        if which == 9:
            job.info(self.module.firmware)
        elif not self.module.facts.long_ati:
            job.info(f"{self.module.facts.name}-00B-00" if "R5" in self.module.facts.name else self.module.facts.name)
        else:
            job.info(
                "Manufacturer: u-blox",
                f"Model: {self.module.facts.name}",
                f"Revision: {self._revision}",
                "SVN: 03",
                f"IMEI: {IMEI}",
            )

    @property
    def _revision(self) -> str:
        revision = self.module.firmware.partition(",")[0]
        date = _DATES.get(revision[-5:])
        return f"{revision} [{date}]" if date else revision

    def _line(self, job: Job, text: str) -> None:
        if job.form is Form.ACTION:
            job.info(text)
        elif job.form is not Form.TEST:
            raise self.bad()

    @at("+GMI", "+CGMI")
    def _manufacturer(self, job: Job) -> None:
        self._line(job, "u-blox")

    @at("+GMM", "+CGMM")
    def _model(self, job: Job) -> None:
        self._line(job, self.module.facts.name)

    @at("+GMR", "+CGMR")
    def _show_revision(self, job: Job) -> None:
        self._line(job, self._revision)

    @at("+GSN", "+CGSN")
    def _imei(self, job: Job) -> None:
        self._line(job, IMEI)

    @at("+CIMI")
    def _imsi(self, job: Job) -> None:
        self._card.need_pin()
        self._line(job, IMSI)

    @at("+CCID")
    def _iccid(self, job: Job) -> None:
        self._card.need_card()
        self._line(job, f"+CCID: {ICCID}")

    # --- functionality --------------------------------------------------------------------------------------------

    @at("+CFUN")
    def _cfun(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info(f"+CFUN: (0,1,4,{self.module.facts.reboot}),(0-1)")
            return
        if job.form is Form.READ:
            job.info(f"+CFUN: {self.level},0")
            return
        args = self.args(job, 1, 2)
        level = args.number(0, 0, 16)
        if level in {15, 16}:
            if level != self.module.facts.reboot and self.variants["reboot-other"] == "refuse":
                raise self.not_allowed(f"this module restarts with CFUN={self.module.facts.reboot}")
            job.ok()
            self.machine.restart(self.module.boot_time, f"AT+CFUN={level}")
            return
        if level not in {0, 1, 4}:
            raise self.bad(f"CFUN={level}")
        before, self.level = self.level, level
        if level == before:
            return
        self._card.powered, self._registration.on = level != 0, level == 1
        if level == 1:
            if before == 0:
                self._card.lock()
            self._registration.search()
        else:
            self._registration.leave()

    @at("+CSQ")
    def _signal(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+CSQ: (0-31,99),(0-7,99)")
        elif job.form is Form.ACTION:
            job.info("+CSQ: 20,99" if self._registration.registered else "+CSQ: 99,99")
        else:
            raise self.bad()

    @at("+CTZU", "+CTZR")
    def _automatic_time(self, job: Job) -> None:
        name = job.command.name
        if job.form is Form.TEST:
            job.info(f"{name}: (0,1)")
        elif job.form is Form.READ:
            job.info(f"{name}: {self._ctzu if name == '+CTZU' else self._ctzr}")
        else:
            value = self.args(job, 1, 1).number(0, 0, 1)
            if name == "+CTZR":
                self._ctzr = value
                return
            self._ctzu = value
            if value and self._registration.registered:
                self.module.clock.rtc.set_utc(self.module.clock.true_utc(), self.module.clock.zone)

    @at("+CGEREP")
    def _reports(self, job: Job) -> None:
        if job.form is Form.READ:
            job.info("+CGEREP: {},{}".format(*self._reporting))
        elif job.form is Form.SET:
            args = self.args(job, 1, 2)
            self._reporting = args.number(0, 0, 2), args.number(1, 0, 1, 0)

    @at("+UMNOPROF")
    def _operator_profile(self, job: Job) -> None:
        if job.form is Form.READ:
            job.info(f"+UMNOPROF: {self._profile}")
            return
        if job.form is Form.TEST:
            return
        value = self.args(job, 1, 2).number(0, 0, 201)
        if self.level != 0:
            raise self.not_allowed("UMNOPROF only with CFUN=0")
        self._profile = value

    # --- the wires ------------------------------------------------------------------------------------------------

    @at("&K")
    def _flow_control(self, job: Job) -> None:
        value = job.args().number(0, 0, 6, 0)
        if value not in {0, 3, 4, 5, 6}:
            raise Refusal
        self._flow = value

    @at("+UPSV")
    def _sleep_mode(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+UPSV: (0-4),(40-65000)")
            return
        if job.form is Form.READ:
            mode, timeout = self._power_saving
            job.info(f"+UPSV: {mode},{timeout}" if mode in {1, 4} else f"+UPSV: {mode}")
            return
        args = self.args(job, 1, 2)
        self._power_saving = args.number(0, 0, 4), args.number(1, 40, 65000, 2000)
        mode, timeout = self._power_saving
        interpreter = self.machine.interpreter
        if isinstance(interpreter, ListeningInterpreter):
            interpreter.sleeps_after = timeout * FRAME if mode in {1, 4} else 0.0

    @at("+CSGT")
    def _greeting_text(self, job: Job) -> None:
        if job.form is Form.READ:
            job.info(f'+CSGT: {int(bool(self._greeting))},"{self._greeting}"')
            return
        if job.form is Form.TEST:
            return
        args = self.args(job, 1, 2)
        mode, text = args.number(0, 0, 1), args.text(1, "", longest=49)
        self._greeting = text if mode else ""

    # --- power ----------------------------------------------------------------------------------------------------

    @at("+CPWROFF")
    def _power_off(self, job: Job) -> None:
        if job.form is Form.TEST:
            return
        if job.form is not Form.ACTION:
            raise Refusal(cme=NOT_SUPPORTED)
        job.ok()
        self.later(POWER_DOWN_TIME, lambda: self.machine.power_off("AT+CPWROFF"))

    @at("H")
    def _hang_up(self, job: Job) -> None:
        self.module.line.flag(job)

    @at("D")
    def _dial(self, job: Job) -> None:
        job.final("NO CARRIER")  # neither calls nor PPP are simulated
