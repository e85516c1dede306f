"""The line as V.250 sets it (clauses 6.2 and 6.3), and how errors are told (3GPP TS 27.007, 9.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.command import Form, Refusal
from modemtls.sim.interpreter import LineSettings
from modemtls.sim.options import Variant
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.common.area import Area, Module

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from modemtls.sim.job import Job

__all__ = ["LINE_VARIANTS", "Line"]

USUAL_RATE = 115200
AUTOMATIC = 0  # +IPR: whatever the host speaks

LINE_VARIANTS = (  # settings that do not take
    Variant("ate", "ATE0 and ATE1: obeyed; OK, and the echo stays as it is; ERROR", ("obeyed", "ignored", "refused")),
    Variant("cmee", "AT+CMEE=<n>: obeyed; OK, and errors stay as they are; ERROR", ("obeyed", "ignored", "refused")),
    Variant("cmee-at-start", "how errors are told at first: 1 in numbers, 0 not, 2 in words", ("1", "0", "2")),
)


class Line(Area[Module]):
    """Echo, result codes, registers, rate.

    ``rates`` are those that +IPR takes, ``dtr`` the factory's &D, ``registers`` what there is besides V.250's own with
    their values. What &W saves is kept for good. ``defaulted`` is called for &F.
    """

    def __init__(
        self, module: Module, rates: Sequence[int], dtr: int, registers: Mapping[int, int] | None = None
    ) -> None:
        super().__init__(module)
        self._rates, self._factory_dtr, self._registers = rates, dtr, dict(registers or {})
        self._saved = self._factory(int(self.variants["cmee-at-start"]))
        self._saved_baud = self.machine.options.baud or USUAL_RATE
        self.defaulted: Callable[[], None] = lambda: None

    def _factory(self, cmee: int | None = None) -> LineSettings:
        settings = LineSettings() if cmee is None else LineSettings(cmee=cmee)
        settings.registers.update(self._registers)
        return settings

    def reset(self) -> None:
        """Load what &W saved."""
        self.baud = self._saved_baud
        if self.baud != AUTOMATIC:
            self.machine.line.set_baud(self.baud)
        self.machine.interpreter.settings = self._saved.copy()
        self.dtr, self.dcd = self._factory_dtr, 1
        self._flow = (0, 0)
        self._formats = (3, 3)

    @property
    def hears(self) -> int:
        """The rate at which the host is understood."""
        return self.baud if self.baud != AUTOMATIC else self.machine.line.host_baud()

    # --- V.250 ----------------------------------------------------------------------------------------------------

    @at("")
    def _at(self, job: Job) -> None:
        del job

    @staticmethod
    def flag(job: Job, most: int = 1, default: int = 0) -> int:
        """Return the number behind a basic command's letter."""
        return job.args().number(0, 0, most, default)

    def _obeys(self, variant: str) -> bool:
        """Whether a setting is taken; one that is refused is an error."""
        if self.variants[variant] == "refused":
            raise Refusal
        return self.variants[variant] == "obeyed"

    @at("E")
    def _echo(self, job: Job) -> None:
        echo = self.flag(job) == 1
        if self._obeys("ate"):
            self.machine.interpreter.settings.echo = echo

    @at("V")
    def _verbose(self, job: Job) -> None:
        self.machine.interpreter.settings.verbose = self.flag(job) == 1

    @at("Q")
    def _quiet(self, job: Job) -> None:
        self.machine.interpreter.settings.quiet = self.flag(job) == 1

    @at("X")
    def _extended(self, job: Job) -> None:
        self.machine.interpreter.settings.extended = self.flag(job, 4)

    @at("&C")
    def _carrier(self, job: Job) -> None:
        self.dcd = self.flag(job)

    @at("&D")
    def _terminal(self, job: Job) -> None:
        self.dtr = self.flag(job, 2)

    @at("S")
    def _register(self, job: Job) -> None:
        registers = self.machine.interpreter.settings.registers
        args = job.args()
        number = args.number(0, 0, 255)
        if number not in registers:
            raise Refusal
        if job.form is Form.READ:
            job.info(f"{registers[number]:03d}")
        else:
            registers[number] = args.number(1, 0, 127 if number in {3, 4, 5} else 255, 0)

    @at("&F")
    def _default(self, job: Job) -> None:
        self.flag(job)
        self.machine.interpreter.settings = self._factory()
        self.dtr, self.dcd = self._factory_dtr, 1
        self.defaulted()

    @at("&W")
    def _save(self, job: Job) -> None:
        self.flag(job)
        self._saved = self.machine.interpreter.settings.copy()
        self._saved_baud = self.baud

    @at("Z")
    def _restore(self, job: Job) -> None:
        self.flag(job)
        self.machine.interpreter.settings = self._saved.copy()

    # --- 27.007 ---------------------------------------------------------------------------------------------------

    @at("+CMEE")
    def _cmee(self, job: Job) -> None:
        settings = self.machine.interpreter.settings
        if job.form is Form.TEST:
            job.info("+CMEE: (0,1,2)")
        elif job.form is Form.READ:
            job.info(f"+CMEE: {settings.cmee}")
        else:
            form = job.args().number(0, 0, 2, 0)
            if self._obeys("cmee"):
                settings.cmee = form

    # --- the wires ------------------------------------------------------------------------------------------------

    @at("+IPR")
    def _rate(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info(f"+IPR: ({','.join(map(str, self._rates))})")
        elif job.form is Form.READ:
            job.info(f"+IPR: {self.baud}")
        else:
            rate = job.args().number(0, 0, 10_000_000)
            if rate not in self._rates:
                raise Refusal
            job.ok()  # the new rate applies behind the OK
            self.baud = rate
            if rate != AUTOMATIC:
                self.machine.line.set_baud(rate)

    @at("+IFC")
    def _flow_control(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+IFC: (0,2),(0,2)")
        elif job.form is Form.READ:
            job.info("+IFC: {},{}".format(*self._flow))
        else:
            args = job.args()
            values = args.number(0, 0, 2), args.number(1, 0, 2, 0)
            if 1 in values:
                raise Refusal
            self._flow = values

    @at("+ICF")
    def _framing(self, job: Job) -> None:
        if job.form is Form.READ:
            job.info("+ICF: {},{}".format(*self._formats))
        elif job.form is Form.SET:
            args = job.args()
            self._formats = args.number(0, 3, 3), args.number(1, 0, 3, 3)
