"""What the machine asks of a family, and how a family collects its commands."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from modemtls.sim.interpreter import Habits, Interpreter
from modemtls.sim.options import Variant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from modemtls.sim.job import Job
    from modemtls.sim.machine import Machine
    from modemtls.sim.personalities.common.area import Area

__all__ = ["COMMON_VARIANTS", "Personality", "at", "commands_of", "preferring"]

F = TypeVar("F", bound="Callable[..., None]")

COMMON_VARIANTS = (
    Variant(
        "start",
        "whether the modem boots (with its URCs) when the host first opens the port, or has been running before",
        ("booting", "running"),
    ),
    Variant("latency", "seconds before each command line is carried out", ("0",), number=True),
    Variant("urcs-at-prompt", "whether URCs are printed between a prompt and the end of its data", ("emit", "hold")),
    Variant(
        "urcs-in-answer",
        "whether URCs are printed between a command line and its final result, or held back until then",
        ("emit", "hold"),
    ),
    Variant("datagram-loss", "per cent of the datagrams, either way, that the network loses", ("0",), number=True),
    Variant("baud-check", "whether bytes sent at another rate than the modem's are lost", ("no", "yes")),
)


def preferring(variants: Iterable[Variant], **defaults: str) -> tuple[Variant, ...]:
    """Return ``variants`` with other defaults (``_`` for ``-`` in a name); :class:`KeyError` if one is not there."""
    wanted = {name.replace("_", "-"): value for name, value in defaults.items()}
    made = []
    for variant in variants:
        value = wanted.pop(variant.name, variant.values[0])
        rest = () if variant.free or variant.number else tuple(other for other in variant.values if other != value)
        made.append(replace(variant, values=(variant.check(value), *rest)))
    if wanted:
        raise KeyError(*wanted)
    return tuple(made)


def at(*names: str) -> Callable[[F], F]:
    """Mark a method as the handler of these commands."""

    def mark(function: F) -> F:
        function.at_names = names  # type: ignore[attr-defined]
        return function

    return mark


def commands_of(owner: Any) -> dict[str, Callable[[Job], None]]:
    """Return the marked methods of ``owner`` by command name."""
    table: dict[str, Callable[[Job], None]] = {}
    for name in dir(type(owner)):
        for command in getattr(getattr(type(owner), name), "at_names", ()):
            table[command] = getattr(owner, name)
    return table


class Personality(ABC):
    """One modem of a family. ``table`` maps command names to handlers, ``areas`` hold the state behind them."""

    areas: tuple[Area[Any], ...]
    table: Mapping[str, Callable[[Job], None]]
    habits: Habits = Habits()
    interpreter: type[Interpreter] = Interpreter
    terminator = b"\r"  # what ends a command line
    cme_texts: Mapping[int, str]
    boot_time: float
    baud: int

    def __init__(self, machine: Machine, model: str) -> None:
        self.machine = machine
        self.model = model

    @classmethod
    @abstractmethod
    def title(cls, model: str) -> str:
        """Return what people call ``model``."""

    @classmethod
    @abstractmethod
    def variants(cls, model: str) -> tuple[Variant, ...]:
        """Return the variants of ``model``."""

    @abstractmethod
    def boot(self, *, banner: bool, settled: bool) -> None:
        """Come up with everything volatile at its default.

        ``banner`` prints the boot URCs; ``settled``: it has been running for long, the network is there.
        """

    def reset(self) -> None:
        """Set everything volatile to its default."""
        for area in self.areas:
            area.reset()

    def shut_down(self) -> None:
        """Drop connections and timers without a word."""
        for area in self.areas:
            area.stop()

    def lose_power(self) -> None:
        """Forget what a power cut erases and a restart does not."""
        for area in self.areas:
            area.lose_power()

    @abstractmethod
    def mask(self, line: bytes) -> bytes:
        """Return a command line with its secrets replaced by ``*``."""

    def urc(self, text: str, payload: bytes | None = None, *, trailer: bool = True) -> None:
        """Print an unsolicited result, with a payload behind it where it carries one."""
        self.machine.urc(text, payload, trailer=trailer)

    def tells_secrets(self, data: bytes) -> bool:
        """Whether there may be secrets in what is sent to the host; asked for every piece, so it has to be quick."""
        del data
        return False

    def snapshot(self) -> dict[str, bytes]:
        """Return a copy of the file storage."""
        return {}

    def set_clock(self, utc: datetime) -> None:  # noqa: B027 - optional
        """Set the modem's clock."""

    def host_closed(self) -> None:  # noqa: B027 - optional
        """React to the host closing the port."""

    def wake(self) -> None:  # noqa: B027 - optional
        """Wake from a sleep that left the modem on."""

    def drained(self) -> None:  # noqa: B027 - optional
        """Go on sending: the line has room again."""

    def fault(self, kind: str, argument: int) -> None:  # noqa: B027 - optional
        """Carry out a fault that only the family understands."""
