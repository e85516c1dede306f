"""Finding a network (3GPP TS 27.007, 7.2, 7.3, 10.1.9, 10.1.20 to 10.1.22)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.command import Form, Refusal
from modemtls.sim.options import Variant
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.common.area import Area, Module

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from modemtls.sim.job import Job
    from modemtls.sim.personalities.common.card import Card

__all__ = ["REGISTRATION_VARIANTS", "Registration"]

IDLE, HOME, SEARCHING, DENIED, ROAMING = 0, 1, 2, 3, 5  # <stat>, 10.1.22
NO_NETWORK = 30
TAC, CELL = "1A2B", "01C3D4E5"
OPERATOR = "Test Network"

REGISTRATION_VARIANTS = (
    Variant("registration", "how the network answers", ("home", "roaming", "denied", "searching")),
    Variant("registration-time", "seconds until the network has answered", ("0.2",), number=True),
)


class Registration(Area[Module]):
    """Registration and attachment.

    ``modes`` are the values of <n> that each of +CREG, +CGREG, +CEREG takes, ``act`` the access technology shown.
    ``on`` says whether the radio is; ``admits`` is asked whether attaching succeeds;
    ``joined`` and ``left`` are called when service comes and goes.
    """

    def __init__(self, module: Module, card: Card[Module], modes: Mapping[str, Sequence[int]], act: int) -> None:
        super().__init__(module)
        self._card, self._modes, self._act = card, modes, act
        self.stat = IDLE
        self.attached = False
        self.on = True
        self.admits: Callable[[], bool] = lambda: True
        self.joined: Callable[[], None] = lambda: None
        self.left: Callable[[], None] = lambda: None

    def reset(self) -> None:
        """Radio on, no service, nothing announced."""
        self.on = True
        self.stat = IDLE
        self.attached = False
        self._manual = False
        self.silence()

    def silence(self) -> None:
        """URCs off."""
        self._notify = dict.fromkeys(self._modes, 0)

    def stop(self) -> None:
        """Forget the network without a word."""
        super().stop()
        self.stat = IDLE
        self.attached = False

    def search(self, delay: float | None = None) -> None:
        """Look for a network; the answer comes after ``delay`` seconds or the variant's."""
        if not self.on or self._card.state != "READY" or self._manual:
            return
        self._set_stat(SEARCHING)
        if self.variants["registration"] != "searching":
            self.later(self.variants.number("registration-time") if delay is None else delay, self._network_answers)

    def _network_answers(self) -> None:
        stat = {"home": HOME, "roaming": ROAMING, "denied": DENIED}[self.variants["registration"]]
        if not self.admits():
            stat = DENIED
        self.attached = stat != DENIED
        self._set_stat(stat)
        if self.attached:
            self.joined()

    def _set_stat(self, stat: int) -> None:
        if stat != self.stat:
            self.stat = stat
            self.announce()

    @property
    def registered(self) -> bool:
        """Whether there is service."""
        return self.stat in {HOME, ROAMING}

    def announce(self) -> None:
        """Print the URCs that the host has asked for."""
        for name, n in self._notify.items():
            if n:
                self.module.urc(f"{name}: {self._status(name, n)}")

    def _status(self, name: str, n: int) -> str:
        if n < 2 or not self.registered:
            return f"{self.stat}"
        text = f'{self.stat},"{TAC}","{CELL}",{self._act}'
        return text + ',,,"00000000","00000000"' if n >= 4 and name != "+CREG" else text

    @at("+CREG", "+CGREG", "+CEREG")
    def _creg(self, job: Job) -> None:
        name = job.command.name
        if name not in self._modes:
            raise Refusal
        modes = self._modes[name]
        if job.form is Form.TEST:
            job.info(f"{name}: ({_ranges(modes)})")
        elif job.form is Form.READ:
            n = self._notify[name]
            job.info(f"{name}: {n},{self._status(name, n)}")
        else:
            args = job.args()
            args.count(0, 1)
            n = args.number(0, 0, max(modes), 0)
            if n not in modes:
                raise Refusal
            self._notify[name] = n

    @at("+COPS")
    def _operator(self, job: Job) -> None:
        if job.form is Form.READ and not self._card.powered:
            job.info("+COPS: 2")
            return
        self._card.need_pin()
        if job.form is Form.READ:
            job.info(f'+COPS: 0,0,"{OPERATOR}",{self._act}' if self.registered else "+COPS: 0")
        elif job.form is Form.TEST:
            job.info(f'+COPS: (2,"{OPERATOR}","{OPERATOR}","00101",{self._act}),,(0,1,2,3,4),(0,1,2)')
        else:
            mode = job.args().number(0, 0, 4)
            if mode == 2:
                self._manual = True
                self.leave()
            elif mode != 3 and not self.registered:
                self._manual = False
                self.search()

    def leave(self) -> None:
        """Leave the network; the bearers go first."""
        self.stop()
        self.left()
        self.announce()

    @at("+CGATT")
    def _attach(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+CGATT: (0,1)")
            return
        if job.form is Form.READ:
            job.info(f"+CGATT: {int(self.attached)}")
            return
        wanted = job.args().number(0, 0, 1)
        self._card.need_pin()
        if wanted and not self.registered:
            raise Refusal(cme=NO_NETWORK)
        if self.attached and not wanted:
            self.left()
        self.attached = bool(wanted)


def _ranges(modes: Sequence[int]) -> str:
    """Write values as 27.007 does: ``0-2,4``."""
    out: list[list[int]] = []
    for n in modes:
        if out and out[-1][-1] == n - 1:
            out[-1].append(n)
        else:
            out.append([n])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in out)
