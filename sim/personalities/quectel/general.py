"""Identification, URC port, power (BG96 AT Commands Manual V2.2)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from modemtls.sim.command import Form, Refusal
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.common.card import ICCID, IMSI
from modemtls.sim.personalities.quectel.area import Area

if TYPE_CHECKING:
    from modemtls.sim.job import Job
    from modemtls.sim.personalities.quectel import Quectel

__all__ = ["IMEI", "General"]

IMEI = "866425030000019"  # made up; the last digit is the Luhn check
POWER_DOWN_TIME = 0.1  # s; the manual allows 65
_SECRETS = (
    re.compile(rb"(\+CPIN=)(.+)", re.IGNORECASE | re.DOTALL),
    re.compile(rb"(\+(?:CLCK|CPWD)=)(.+)", re.IGNORECASE | re.DOTALL),
    re.compile(rb'(\+QICSGP(?:=[^,;]*,|:)[^,;]*,[^,;]*,[^,;]*,)("[^"]*"?)', re.IGNORECASE),
    re.compile(rb'(\+CGAUTH=[^,;]*,[^,;]*,[^,;]*,)("[^"]*"?)', re.IGNORECASE),
)
_URC_PORTS = ("usbat", "usbmodem", "uart1")


class General(Area):
    """Commands that concern the module itself."""

    def __init__(self, module: Quectel) -> None:
        super().__init__(module)
        # non-volatile
        self.urc_port = module.facts.port if self.variants["urc-port"] == "own" else self.variants["urc-port"]

    def reset(self) -> None:
        """No sleep, nothing configured."""
        self._sleep = 0
        self._qcfg: dict[str, str] = {}

    @property
    def urcs_here(self) -> bool:
        """Whether URCs are printed on this port."""
        return self.urc_port == self.module.facts.port

    @property
    def firmware(self) -> tuple[str, str, tuple[tuple[str, str], ...]]:
        """CGMR, QGMR, the QSSLCFG list."""
        return self.module.facts.firmwares[self.variants["firmware"]]

    def mask(self, line: bytes) -> bytes:
        """Replace secrets as transcripts do."""
        for pattern in _SECRETS:
            line = pattern.sub(lambda match: match[1] + b"{%d bytes redacted}" % len(match[2]), line)
        return line

    # --- identification ---------------------------------------------------------------------------

    @at("I")
    def _identify(self, job: Job) -> None:
        self.module.line.flag(job)
        job.info("Quectel", self.module.facts.name, f"Revision: {self.firmware[0]}")

    def _line(self, job: Job, text: str) -> None:
        if job.form is Form.ACTION:
            job.info(text)
        elif job.form is not Form.TEST:
            raise Refusal

    @at("+GMI", "+CGMI")
    def _manufacturer(self, job: Job) -> None:
        self._line(job, "Quectel")

    @at("+GMM", "+CGMM")
    def _model(self, job: Job) -> None:
        self._line(job, self.module.facts.name)

    @at("+GMR", "+CGMR")
    def _revision(self, job: Job) -> None:
        self._line(job, self.firmware[0])

    @at("+QGMR")
    def _full_revision(self, job: Job) -> None:
        self._line(job, self.firmware[1])

    @at("+GSN", "+CGSN")
    def _imei(self, job: Job) -> None:
        self._line(job, IMEI)

    @at("+QCCID")
    def _iccid(self, job: Job) -> None:
        self.module.card.need_card()
        self._line(job, f"+QCCID: {ICCID}")

    @at("+CIMI")
    def _imsi(self, job: Job) -> None:
        self.module.card.need_pin()
        self._line(job, IMSI)

    # --- line -------------------------------------------------------------------------------------

    @at("+QSCLK")
    def _sleep_mode(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+QSCLK: (0,1)")
        elif job.form is Form.READ:
            job.info(f"+QSCLK: {self._sleep}")
        else:
            self._sleep = job.args().number(0, 0, 1)

    @at("+QURCCFG")
    def _urc_port(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info('+QURCCFG: "urcport",({})'.format(",".join(f'"{name}"' for name in _URC_PORTS)))
            return
        args = job.args()
        args.count(1, 2)
        args.word(0, ("urcport",))
        if len(args) == 1:
            job.info(f'+QURCCFG: "urcport","{self.urc_port}"')
        else:
            self.urc_port = args.word(1, _URC_PORTS)

    @at("+QCFG")
    def _configuration(self, job: Job) -> None:
        """Keep any documented key; none of them changes what is simulated."""
        args = job.args()
        args.count(1, 10)
        key = args.text(0)
        known = {"cmux/urcport": "0", "urc/ri/other": '"off"', "urc/delay": "0", "nwscanmode": "0", "iotopmode": "0"}
        if key not in known:
            raise Refusal
        if len(args) == 1:
            job.info(f'+QCFG: "{key}",{self._qcfg.get(key, known[key])}')
        else:
            values = [args.raw(index) for index in range(1, len(args))]
            self._qcfg[key] = ",".join(f'"{value.text}"' if value.quoted else value.text for value in values)

    # --- power ------------------------------------------------------------------------------------

    @at("+QPOWD")
    def _power_down(self, job: Job) -> None:
        if job.form is not Form.TEST:
            job.args().number(0, 0, 1, 1)
            job.ok()
            self.loop.call_later(POWER_DOWN_TIME, self._powered_down)

    def _powered_down(self) -> None:
        if self.machine.running:
            self.module.urc("POWERED DOWN")
            self.machine.power_off("AT+QPOWD")

    @at("H")
    def _hang_up(self, job: Job) -> None:
        self.module.line.flag(job)

    @at("D")
    def _dial(self, job: Job) -> None:
        job.final("NO CARRIER")  # neither calls nor PPP are simulated
