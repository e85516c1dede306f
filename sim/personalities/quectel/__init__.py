"""Quectel BG95-M3 and BG96, after Quectel's manuals and what real modules were seen to answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.personalities.base import Personality, commands_of
from modemtls.sim.personalities.common.card import Card
from modemtls.sim.personalities.common.line import Line
from modemtls.sim.personalities.common.registration import Registration
from modemtls.sim.personalities.quectel import facts
from modemtls.sim.personalities.quectel.clock import ClockCommands
from modemtls.sim.personalities.quectel.files import Files
from modemtls.sim.personalities.quectel.general import General
from modemtls.sim.personalities.quectel.packet import Packet
from modemtls.sim.personalities.quectel.radio import REGISTRATION_MODES, Radio
from modemtls.sim.personalities.quectel.ssl import Ssl
from modemtls.sim.personalities.quectel.tcp import Tcp
from modemtls.sim.personalities.quectel.tlsconfig import TlsConfig

if TYPE_CHECKING:
    from datetime import datetime

    from modemtls.sim.machine import Machine
    from modemtls.sim.options import Variant

__all__ = ["MODELS", "Quectel"]

MODELS = tuple(facts.MODELS)


class Quectel(Personality):
    """One module. Each area of commands is an object with its own volatile state, renewed by its ``reset``."""

    cme_texts = facts.CME_TEXTS

    def __init__(self, machine: Machine, model: str) -> None:
        super().__init__(machine, model)
        self.facts = facts.MODELS[model]
        self.boot_time = machine.variants.number("boot-time")
        self.last_error = 0
        self.line = Line(self, self.facts.baud_rates, self.facts.dtr)
        self.general = General(self)
        self.clock = ClockCommands(self)
        self.card = Card(self)
        self.registration = Registration(self, self.card, REGISTRATION_MODES, self.facts.act)
        self.radio = Radio(self)
        self.packet = Packet(self)
        self.files = Files(self)
        self.tlsconfig = TlsConfig(self)
        self.tcp = Tcp(self)
        self.ssl = Ssl(self)
        self.areas = (
            self.line, self.general, self.clock, self.card, self.registration, self.radio, self.packet,
            self.files, self.tlsconfig, self.tcp, self.ssl,
        )  # fmt: skip
        self.line.defaulted = self.registration.silence
        self.table = {name: handler for area in self.areas for name, handler in commands_of(area).items()}

    @classmethod
    def title(cls, model: str) -> str:
        """Return vendor and name of ``model``."""
        return facts.MODELS[model].title

    @classmethod
    def variants(cls, model: str) -> tuple[Variant, ...]:
        """Return the variants of ``model``."""
        return facts.variants(model)

    @property
    def baud(self) -> int:  # type: ignore[override]
        """The rate set with AT+IPR."""
        return self.line.baud

    def boot(self, *, banner: bool, settled: bool) -> None:
        """Everything volatile at its default, then the boot URCs."""
        self.last_error = 0
        self.reset()
        self.radio.power_up(banner=banner, settled=settled)

    def mask(self, line: bytes) -> bytes:
        """Hide PINs and APN passwords."""
        return self.general.mask(line)

    def tells_secrets(self, data: bytes) -> bool:
        """QICSGP's read does."""
        return b"+Q" in data

    def snapshot(self) -> dict[str, bytes]:
        """Return a copy of the file storage."""
        return dict(self.files.stored)

    def set_clock(self, utc: datetime) -> None:
        """Set the RTC."""
        self.clock.rtc.set_utc(utc)

    def host_closed(self) -> None:
        """Treat it as a DTR drop where the variant says so."""
        if self.machine.variants["dtr"] == "follow" and self.line.dtr:
            self.tcp.drop_dtr(end=self.line.dtr == 2)
            self.ssl.drop_dtr(end=self.line.dtr == 2)

    def drained(self) -> None:
        """Let push connections go on."""
        self.tcp.drained()
        self.ssl.drained()

    def fault(self, kind: str, argument: int) -> None:
        """Carry out ``pdpdeact``."""
        if kind == "pdpdeact":
            self.packet.lost(argument)

    def urc(self, text: str, payload: bytes | None = None, *, trailer: bool = True) -> None:
        """Print a URC if URCs go to this port."""
        if self.general.urcs_here:
            self.machine.urc(text, payload, trailer=trailer)
