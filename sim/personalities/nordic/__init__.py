"""Nordic's nRF91 with the Serial LTE Modem (``nordic-slm``) or its successor, the Serial Modem (``nordic-sm``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.command import Refusal
from modemtls.sim.personalities.base import Personality, commands_of
from modemtls.sim.personalities.common.card import Card
from modemtls.sim.personalities.common.contexts import Contexts
from modemtls.sim.personalities.common.registration import Registration
from modemtls.sim.personalities.nordic import facts
from modemtls.sim.personalities.nordic.clock import Clock
from modemtls.sim.personalities.nordic.credentials import Credentials
from modemtls.sim.personalities.nordic.datamode import DataMode
from modemtls.sim.personalities.nordic.general import REGISTRATION_MODES, General
from modemtls.sim.personalities.nordic.interpreter import LineHabits, SerialInterpreter
from modemtls.sim.personalities.nordic.legacy import Legacy
from modemtls.sim.personalities.nordic.modern import Modern
from modemtls.sim.personalities.nordic.options import Options
from modemtls.sim.personalities.nordic.polling import Polling
from modemtls.sim.personalities.nordic.proxies import Proxies
from modemtls.sim.personalities.nordic.sockets import Sockets
from modemtls.sim.personalities.nordic.tls import Tls
from modemtls.sim.personalities.nordic.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from modemtls.sim.job import Job
    from modemtls.sim.machine import Machine
    from modemtls.sim.options import Variant

__all__ = ["MODELS", "Nordic"]

MODELS = tuple(facts.MODELS)
CIDS = range(11)
DEFAULT_CID = 0
LTE_M = 7  # <AcT>
_APPLICATION = {"", "E", "#XSLMVER", "#XSMVER", "#XRESET", "#XSHUTDOWN", "#XSLEEP"}  # work without the modem library
_TERMINATORS = {"cr": b"\r", "lf": b"\n", "crlf": b"\r\n"}


class Nordic(Personality):
    """One modem. Each area of commands is an object with its own volatile state, renewed by its ``reset``."""

    interpreter = SerialInterpreter
    cme_texts: dict[int, str] = {}  # noqa: RUF012 - +CMEE knows numbers only

    def __init__(self, machine: Machine, model: str) -> None:
        super().__init__(machine, model)
        variants = machine.variants
        self.facts = facts.MODELS[model]
        self.handles = model == "nordic-sm"
        self.release = facts.RELEASES[variants["release"]]
        self.firmware = facts.FIRMWARES[variants["firmware"]]
        self.boot_time = variants.number("boot-time")
        self.terminator = _TERMINATORS[variants["terminator"]]
        self.habits = LineHabits(
            longest_line=self.facts.longest_line,
            terminator=self.terminator,
            typing_idle=variants.number("typing-idle"),
            longest_echo=int(variants["echo-max"]),
        )
        self.card = Card(self)
        self.registration = Registration(self, self.card, REGISTRATION_MODES, LTE_M)
        self.contexts = Contexts(self, CIDS, DEFAULT_CID, int(variants.number("mtu")))
        self.clock = Clock(self)
        self.credentials = Credentials(self)
        self.general = General(self)
        self.sockets = Sockets(self)
        self.traffic = Traffic(self)
        self.tls = Tls(self)
        self.options = Options(self)
        self.polling = Polling(self)
        self.datamode = DataMode(self)
        self.dialect = Modern(self) if self.handles else Legacy(self)
        self.proxies = Proxies(self)
        self.contexts.lost, self.contexts.gained = self.sockets.pdn_lost, self.sockets.pdn_gained
        self.areas = (
            self.card, self.registration, self.contexts, self.clock, self.credentials, self.general,
            self.sockets, self.traffic, self.tls, self.options, self.polling, self.datamode, self.proxies, self.dialect,
        )  # fmt: skip
        used = [area for area in self.areas if area is not self.proxies or not self.handles]
        self.table = {
            name: handler if name in _APPLICATION else self._guarded(handler)
            for area in used
            for name, handler in commands_of(area).items()
        }

    def _guarded(self, handler: Callable[[Job], None]) -> Callable[[Job], None]:
        """Let a command fail while the modem library has not started."""

        def run(job: Job) -> None:
            if self.general.dead:
                raise Refusal
            handler(job)

        return run

    @classmethod
    def title(cls, model: str) -> str:
        """Return vendor and name of ``model``."""
        return facts.MODELS[model].title

    @classmethod
    def variants(cls, model: str) -> tuple[Variant, ...]:
        """Return the variants of ``model``."""
        return facts.variants(model)

    @property
    def serial(self) -> SerialInterpreter:
        """What reads the line."""
        reader = self.machine.interpreter
        assert isinstance(reader, SerialInterpreter)
        return reader

    @property
    def baud(self) -> int:  # type: ignore[override]
        """The rate set with AT+IPR."""
        return self.general.baud

    def boot(self, *, banner: bool, settled: bool) -> None:
        """Everything volatile at its default, then Ready."""
        self.reset()
        self.sockets.observers = [self.datamode.observe, self.proxies.observe, self.polling.observe]
        self.general.power_up(banner=banner, settled=settled)

    def mask(self, line: bytes) -> bytes:
        """Hide PINs, APN passwords and keys."""
        return self.general.mask(line)

    def snapshot(self) -> dict[str, bytes]:
        """Return the credentials, by ``TAG/TYPE``."""
        return self.credentials.snapshot()

    def set_clock(self, utc: datetime) -> None:
        """Set the RTC."""
        self.clock.rtc.set_utc(utc)
        self.clock.known = True

    def wake(self) -> None:
        """Switch the UART on again."""
        self.serial.deaf = False

    def drained(self) -> None:
        """Let what is pushed go on."""
        self.polling.drained()
        self.proxies.drained()

    def fault(self, kind: str, argument: int) -> None:
        """Carry out ``pdpdeact``: the network takes a context away, and gives the default one back."""
        if kind == "pdpdeact":
            cid = argument if self.contexts.active(argument) else DEFAULT_CID
            self.contexts.deactivate(cid, "lost by the network")
            if cid == DEFAULT_CID:
                self.contexts.later(self.machine.variants.number("registration-time"), self._comes_back)

    def _comes_back(self) -> None:
        self.contexts.activate(DEFAULT_CID)
