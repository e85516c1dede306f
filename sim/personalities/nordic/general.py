"""Identification, functionality, power (SM-GEN, SM-CMD; 3GPP TS 27.007)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from modemtls.sim.command import Form, Refusal
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.common.card import ICCID, IMSI
from modemtls.sim.personalities.nordic.area import Area

if TYPE_CHECKING:
    from modemtls.sim.job import Job
    from modemtls.sim.personalities.nordic import Nordic

__all__ = ["IMEI", "REGISTRATION_MODES", "General"]

IMEI = "352656100000018"  # made up; the last digit is the Luhn check
REGISTRATION_MODES = {"+CEREG": (0, 1, 2, 3, 4, 5)}
FIRST_NOTICE = 0.03  # s from the host's open to Ready: opening a port flushes what came before
USUAL_RATE = 115200
RATES = (115200, 230400, 460800, 921600, 1000000)  # SM-UART: 115200 to 1000000
OFF, ON, FLIGHT = 0, 1, 4  # +CFUN
DEEP, IDLE = 1, 2  # #XSLEEP
_SECRETS = (
    re.compile(rb"(\+CPIN=)(.+)", re.IGNORECASE | re.DOTALL),
    re.compile(rb'(\+CGAUTH=[^,;]*,[^,;]*,[^,;]*,)("[^"]*"?)', re.IGNORECASE),
    # private keys (2), pre-shared keys (3), and whatever follows: a key's password
    re.compile(rb"([%#]X?CMNG=0,[^,]*,[23],)(.+)", re.IGNORECASE | re.DOTALL),
    re.compile(rb'([%#]X?CMNG=0,[^,]*,[^,]*,"[^"]*",)(.+)', re.IGNORECASE | re.DOTALL),
)


class General(Area):
    """The module itself, and what its radio does."""

    def __init__(self, module: Nordic) -> None:
        super().__init__(module)
        self._card, self._registration = module.card, module.registration
        self._card.unlocked = self._registration.search
        self._registration.joined = self._joined
        self._registration.left = lambda: module.contexts.deactivate_all("the network is left")
        self._registration.admits = lambda: not module.contexts.refusal(module.contexts.default)
        module.contexts.has_service = lambda: self._registration.attached

    def reset(self) -> None:
        """Radio off, echo off, no error numbers."""
        self.level = OFF
        self.dead = self.variants["boot-result"] == "init-error"
        self.baud = self.machine.options.baud or USUAL_RATE
        self.machine.line.set_baud(self.baud)
        self.module.serial.restore()

    def power_up(self, *, banner: bool, settled: bool) -> None:
        """Say that commands can be taken; the radio stays off unless the variant says otherwise."""
        word = b"INIT ERROR\r\n" if self.dead else b"Ready\r\n"
        self._card.ready_at = self.loop.now() + (0.0 if settled else self.variants.number("sim-time"))
        if banner:
            self.later(FIRST_NOTICE, lambda: self.machine.interpreter.send(word))
        on = self.variants["radio-at-start"] == "on"
        self._set_level(ON if on else OFF, search_delay=0.0 if settled else None)

    def mask(self, line: bytes) -> bytes:
        """Replace secrets as transcripts do."""
        for pattern in _SECRETS:
            line = pattern.sub(lambda match: match[1] + b"{%d bytes redacted}" % len(match[2]), line)
        return line

    @property
    def radio_on(self) -> bool:
        """Whether the modem is "active", as %CMNG calls it."""
        return self.level == ON

    def _set_level(self, level: int, *, search_delay: float | None = None) -> None:
        before, self.level = self.level, level
        self._card.powered = level == ON or self.variants["card-while-off"] == "ready"
        self._registration.on = level == ON
        if level == ON and before != ON:
            self._card.lock()
            self._registration.search(search_delay)
        elif level != ON and before == ON:
            self._registration.leave()

    def _joined(self) -> None:
        self.module.contexts.activate(self.module.contexts.default)
        self.module.clock.network_tells()

    # --- the application ----------------------------------------------------------------------------------------------

    @at("")
    def _at(self, job: Job) -> None:
        del job

    @at("E")
    def _echo(self, job: Job) -> None:
        if not self.module.handles:
            raise self.refuse("the legacy application has no ATE")
        self.machine.interpreter.settings.echo = job.args().number(0, 0, 1) == 1

    @at("#XSLMVER", "#XSMVER")
    def _version(self, job: Job) -> None:
        if job.command.name != self.module.facts.version_command or job.form is not Form.ACTION:
            raise self.refuse("another application's version query")
        job.info(f"{job.command.name}: {self.module.release.version}")

    @at("#XSLEEP")
    def _sleep(self, job: Job) -> None:
        mode = self.args(job, 1, 1).number(0, DEEP, IDLE)
        job.ok()
        if mode == DEEP:
            self.machine.power_off("AT#XSLEEP=1")
        else:
            self.trace.note("asleep: the UART is off")
            self.module.serial.sleep()

    @at("#XSHUTDOWN")
    def _shut_down(self, job: Job) -> None:
        if job.form is not Form.ACTION:
            raise self.refuse("#XSHUTDOWN takes nothing")
        job.ok()
        self.machine.power_off("AT#XSHUTDOWN")

    @at("#XRESET")
    def _reset(self, job: Job) -> None:
        if job.form is not Form.ACTION:
            raise self.refuse("#XRESET takes nothing")
        job.ok()
        self.machine.restart(self.module.boot_time, "AT#XRESET")

    @at("#XMODEMRESET")
    def _modem_reset(self, job: Job) -> None:
        if not self.module.handles or job.form is not Form.ACTION:
            raise self.refuse("no #XMODEMRESET here")
        self._set_level(OFF)
        self.module.sockets.stop()
        self.module.contexts.reset()
        self._registration.silence()
        job.info("#XMODEMRESET: 0")
        job.ok()
        if self.variants.on("modem-urcs"):
            self.module.urc("#XMODEM: SHUTDOWN,0")
            self.module.urc("#XMODEM: INIT,0")

    # --- 27.007 -------------------------------------------------------------------------------------------------------

    @at("+CMEE")
    def _cmee(self, job: Job) -> None:
        settings = self.machine.interpreter.settings
        if job.form is Form.TEST:
            job.info("+CMEE: (0,1)")
        elif job.form is Form.READ:
            job.info(f"+CMEE: {settings.cmee}")
        else:
            settings.cmee = job.args().number(0, 0, 1, 0)

    @at("+CFUN")
    def _cfun(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+CFUN: (0,1,4)")
            return
        if job.form is Form.READ:
            job.info(f"+CFUN: {self.level}")
            return
        args = job.args()
        args.count(1, 1)
        level = args.number(0, OFF, FLIGHT)
        if level not in {OFF, ON, FLIGHT}:
            raise Refusal

        def done() -> None:
            job.ok()
            self._set_level(level)
            if level == OFF:
                self.module.sockets.power_lost()

        job.defer()
        delay = 0.0 if level == ON else self.variants.number("cfun-time")
        if delay:
            self.later(delay, done)
        else:
            done()

    def _line(self, job: Job, text: str) -> None:
        if job.form is Form.ACTION:
            job.info(text)
        elif job.form is not Form.TEST:
            raise Refusal

    @at("+CGMI")
    def _manufacturer(self, job: Job) -> None:
        self._line(job, "Nordic Semiconductor ASA")

    @at("+CGMM")
    def _model(self, job: Job) -> None:
        self._line(job, self.module.firmware.device)

    @at("+CGMR")
    def _revision(self, job: Job) -> None:
        self._line(job, self.variants["firmware"])

    @at("+CGSN")
    def _imei(self, job: Job) -> None:
        if job.form is Form.SET:  # 27.007, 5.4: 1 is the IMEI
            job.args().number(0, 1, 1)
            job.info(f'+CGSN: "{IMEI}"')
        else:
            self._line(job, IMEI)

    @at("+CIMI")
    def _imsi(self, job: Job) -> None:
        self._card.need_pin()
        self._line(job, IMSI)

    @at("%XICCID")
    def _iccid(self, job: Job) -> None:
        self._card.need_card()
        self._line(job, f"%XICCID: {ICCID}")

    @at("+CPINR")
    def _pin_tries(self, job: Job) -> None:
        self._card.need_card()
        if job.form is Form.SET and job.args().word(0, ("SIM PIN",)):
            job.info(f'+CPINR: "SIM PIN",{self._card.pin_tries}')
        else:
            raise Refusal

    @at("+CESQ")
    def _signal(self, job: Job) -> None:
        if job.form is not Form.ACTION:
            raise Refusal
        job.info("+CESQ: 99,99,255,255,22,58" if self._registration.registered else "+CESQ: 99,99,255,255,255,255")

    @at("+IPR")
    def _rate(self, job: Job) -> None:
        if not self.module.handles:
            raise Refusal
        if job.form is Form.READ:
            job.info(f"+IPR: {self.baud}")
            return
        rate = self.args(job, 1, 1).number(0, RATES[0], RATES[-1])
        if rate not in RATES:
            raise Refusal
        job.ok()  # the new rate applies behind the OK
        self.baud = rate
        self.machine.line.set_baud(rate)
