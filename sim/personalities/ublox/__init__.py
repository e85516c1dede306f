"""u-blox SARA-R5 and SARA-R4, after u-blox's manuals and application notes, and what hosts were seen to cope with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from modemtls.sim.command import Refusal
from modemtls.sim.interpreter import Habits
from modemtls.sim.personalities.base import Personality, commands_of
from modemtls.sim.personalities.common.card import Card
from modemtls.sim.personalities.common.clock import Calendar
from modemtls.sim.personalities.common.line import Line
from modemtls.sim.personalities.common.registration import Registration
from modemtls.sim.personalities.ublox import facts
from modemtls.sim.personalities.ublox.bearer import Bearer
from modemtls.sim.personalities.ublox.device import BAUD_RATES, REGISTERS, REGISTRATION_MODES, Device
from modemtls.sim.personalities.ublox.direct import DirectLink
from modemtls.sim.personalities.ublox.interpreter import FRAME, ListeningInterpreter
from modemtls.sim.personalities.ublox.reading import Reading
from modemtls.sim.personalities.ublox.resumption import Memory
from modemtls.sim.personalities.ublox.security import Security
from modemtls.sim.personalities.ublox.socketoptions import SocketOptions
from modemtls.sim.personalities.ublox.sockets import Sockets
from modemtls.sim.personalities.ublox.store import Store
from modemtls.sim.personalities.ublox.variants import variants
from modemtls.sim.personalities.ublox.writing import Writing

if TYPE_CHECKING:
    from datetime import datetime

    from modemtls.sim.machine import Machine
    from modemtls.sim.options import Variant

__all__ = ["MODELS", "Ublox"]

MODELS = tuple(facts.MODELS)
LONGEST_LINE = 1024  # characters, UBX-17003787 R09, page 13
ALONE = frozenset({"+USOWR", "+USOST", "+UDWNFILE", "+CMGS", "+CMGW", "+USECMNG"})  # UBX-20009652, 3; the last inferred
SLEEP_AFTER = 2000 * FRAME  # s without a byte, +UPSV's default
_SECRETS = (
    re.compile(rb"(\+CPIN=)(.+)", re.IGNORECASE | re.DOTALL),
    re.compile(rb'(\+CGAUTH=[^,;]*,[^,;]*,[^,;]*,)("[^"]*"?)', re.IGNORECASE),
    re.compile(rb'(\+USECPRF=\s*\d\s*,\s*[78]\s*,)("[^"]*"?|[^,;]+)', re.IGNORECASE),
    re.compile(rb'(\+USECPRF=\s*\d\s*,\s*13\s*,\s*2\s*,[^,]*,)("[^"]*"?|[^,;]+)', re.IGNORECASE),
    re.compile(rb'(\+USECPRF=\s*\d\s*,\s*13\s*,\s*12\s*,)("[^"]*"?|[^,;]+)', re.IGNORECASE),
    re.compile(rb'(\+USECMNG=[^,;]*,[^,;]*,"[^"]*",[^,;]*,)("[^"]*"?)', re.IGNORECASE),
    re.compile(rb"(\+UUSECPRF: \d,13,2,[^,\r]*,)([^\r]+)"),
    re.compile(rb"(\+UUSECPRF: \d,13,12,)([^,\r]+)"),
)  # fmt: skip


class Ublox(Personality):
    """One module. Each area of commands is an object with its own volatile state, renewed by its ``reset``."""

    interpreter = ListeningInterpreter

    def __init__(self, machine: Machine, model: str) -> None:
        super().__init__(machine, model)
        chosen = machine.variants
        self.facts = facts.MODELS[model].modules[chosen["module"]]
        self.firmware = self.facts.firmwares[0] if chosen["firmware"] == "own" else chosen["firmware"]
        self.boot_time = chosen.number("boot-time")
        too_long = Refusal("ERROR") if chosen["too-long"] == "error" else Refusal(cme=int(chosen["too-long"]))
        self.habits = Habits(LONGEST_LINE, too_long, ALONE, facts.NUMERIC)
        texts = facts.CME_TEXTS
        if chosen["cme-case"] == "capital":
            texts = {number: text[:1].upper() + text[1:] for number, text in texts.items()}
        self.cme_texts = texts
        self.last_error = 0
        self.sessions = Memory()
        self.line = Line(self, BAUD_RATES, 1, REGISTERS)
        self.clock = Calendar(self)
        self.card = Card(self)
        self.registration = Registration(self, self.card, REGISTRATION_MODES, self.facts.act)
        self.bearer = Bearer(self, range(1, 9), 1, 1500)
        self.device = Device(self)
        self.store = Store(self)
        self.security = Security(self)
        self.sockets = Sockets(self)
        self.reading = Reading(self)
        self.writing = Writing(self)
        self.direct = DirectLink(self)
        self.options = SocketOptions(self)
        self.areas = (
            self.line, self.clock, self.card, self.registration, self.bearer, self.device, self.store, self.security,
            self.sockets, self.reading, self.writing, self.direct, self.options,
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
        return variants(model)

    @property
    def newest(self) -> int:
        """The newest version that a security profile can have: TLS 1.3 came to SARA-R5 with its 01B firmware."""
        return min(self.facts.newest, 3) if self.firmware == facts.FIRMWARES_R5[0] else self.facts.newest

    @property
    def baud(self) -> int:  # type: ignore[override]
        """The rate set with AT+IPR, or the host's."""
        return self.line.hears

    def boot(self, *, banner: bool, settled: bool) -> None:
        """Everything volatile at its default."""
        self.last_error = 0
        interpreter, chosen = self.machine.interpreter, self.machine.variants
        if isinstance(interpreter, ListeningInterpreter):
            interpreter.gap = self.facts.gap if chosen["gap"] == "strict" else 0.0
            interpreter.keeps_typed = chosen["typed-ahead"] == "kept"
            interpreter.colon_space = chosen.on("colon-space")
            interpreter.sleeps_after = SLEEP_AFTER if chosen["upsv"] != "0" else 0.0
        self.reset()
        self.device.power_up(banner=banner, settled=settled)

    def mask(self, line: bytes) -> bytes:
        """Hide PINs, passwords, pre-shared keys and sessions."""
        for pattern in _SECRETS:
            line = pattern.sub(lambda match: match[1] + b"{%d bytes redacted}" % len(match[2]), line)
        return line

    def tells_secrets(self, data: bytes) -> bool:
        """Look for a session: it is a secret."""
        return b"+UUSECPRF" in data

    def snapshot(self) -> dict[str, bytes]:
        """Return a copy of the file storage."""
        return dict(self.store.files)

    def set_clock(self, utc: datetime) -> None:
        """Set the RTC."""
        self.clock.rtc.set_utc(utc)

    def drained(self) -> None:
        """Let the direct link go on."""
        self.direct.drained()

    def fault(self, kind: str, argument: int) -> None:
        """Carry out ``pdpdeact``."""
        if kind == "pdpdeact":
            self.bearer.deactivate(argument, "lost by the network")

    def urc(self, text: str, payload: bytes | None = None, *, trailer: bool = True) -> None:
        """Print a URC."""
        if not self.machine.variants.on("colon-space"):
            text = text.replace(": ", ":", 1)
        super().urc(text, payload, trailer=trailer)

    def tell(self, text: str, *, at_once: bool) -> None:
        """Print a URC, ``at_once`` even while a command is carried out."""
        if at_once:
            interpreter = self.machine.interpreter
            interpreter.send(interpreter.information(text, first=True))
        else:
            self.urc(text)
