"""What a simulated modem can be told at its start, and how users write it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from modemtls.sim.faults import Fault, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["NameMap", "Options", "Variant", "Variants", "parse_clock"]


@dataclass(frozen=True, slots=True)
class Variant:
    """A fact that the manuals leave open, or a circumstance; the first value is the default.

    ``free`` takes any text instead (``values`` then only holds the default); ``number`` takes a decimal number.
    """

    name: str
    about: str
    values: tuple[str, ...]
    free: bool = False
    number: bool = False

    def check(self, value: str) -> str:
        """Return ``value`` or raise :class:`UsageError`."""
        if self.number:
            if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", value):
                raise UsageError(f"variant {self.name}: {value!r} is not a number")
        elif not self.free and value not in self.values:
            raise UsageError(f"variant {self.name}: no value {value!r}; there are {', '.join(self.values)}")
        return value

    def describe(self) -> str:
        """Return a line for a help text."""
        choices = f"{self.values[0]} (default)" if self.free or self.number else "|".join(self.values)
        return f"  {self.name}={choices}: {self.about}"


class Variants:
    """The chosen value of every variant of a model."""

    def __init__(self, known: Iterable[Variant], chosen: Mapping[str, str]) -> None:
        self._values = {variant.name: variant.values[0] for variant in known}
        by_name = {variant.name: variant for variant in known}
        for name, value in chosen.items():
            if name not in by_name:
                raise UsageError(f"no variant {name!r}; there are {', '.join(by_name)}")
            self._values[name] = by_name[name].check(value)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def number(self, name: str) -> float:
        """Return a numeric variant."""
        return float(self._values[name])

    def on(self, name: str) -> bool:
        """Return a yes/no variant."""
        return self._values[name] == "yes"


@dataclass(frozen=True, slots=True)
class NameMap:
    """``NAME=HOST:PORT`` (all ports of NAME) or ``NAME:PORT=HOST:PORT``."""

    name: str
    port: int | None
    host: str
    to_port: int

    @classmethod
    def parse(cls, text: str) -> NameMap:
        """Read the command line's form; raises :class:`UsageError`."""
        left, equals, right = text.partition("=")
        host, colon, to_port = right.rpartition(":")
        name, has_port, port = left.rpartition(":")
        if not has_port:
            name, port = left, ""
        fine = bool(equals and colon and host and name) and _is_port(to_port) and (not has_port or _is_port(port))
        if not fine:
            raise UsageError(f"map {text!r}: expected NAME=HOST:PORT or NAME:PORT=HOST:PORT")
        return cls(name.lower(), int(port) if port else None, host.strip("[]"), int(to_port))


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text) < 65536


def parse_clock(text: str) -> datetime:
    """Read an ISO date (UTC unless it says otherwise)."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"clock {text!r}: expected a date such as 2026-03-01T10:15:30") from None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


@dataclass(slots=True)
class Options:
    """Everything but the model. ``files`` are stored from the start; ``clock`` is what the RTC says then."""

    baud: int | None = None
    link: Path | None = None
    maps: list[NameMap] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    variants: dict[str, str] = field(default_factory=dict)
    seed: int = 0
    trace: Path | None = None
    clock: datetime | None = None
    files: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def build(
        cls,
        *,
        baud: str | int | None = None,
        link: str | Path | None = None,
        maps: Iterable[str] = (),
        faults: Iterable[str] = (),
        variants: Iterable[str] = (),
        seed: str | int = 0,
        trace: str | Path | None = None,
        clock: str | datetime | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> Options:
        """Build options from what a user wrote; raises :class:`UsageError` with one line."""
        chosen: dict[str, str] = {}
        for text in variants:
            name, equals, value = text.partition("=")
            if not equals:
                raise UsageError(f"variant {text!r}: expected NAME=VALUE")
            chosen[name] = value
        return cls(
            baud=None if baud is None else _number("baud", baud, 300, 4_000_000),
            link=Path(link) if link else None,
            maps=[NameMap.parse(text) for text in maps],
            faults=[Fault.parse(text) for text in faults],
            variants=chosen,
            seed=_number("seed", seed, 0, 2**63),
            trace=Path(trace) if trace else None,
            clock=parse_clock(clock) if isinstance(clock, str) else clock,
            files=dict(files or {}),
        )

    @classmethod
    def from_query(cls, query: Mapping[str, str | Sequence[str]]) -> Options:
        """Build options from a port name's query: ``map``, ``fault``, ``variant`` may repeat; others are variants."""
        lists = {name: [value] if isinstance(value, str) else list(value) for name, value in query.items()}
        known = {"baud", "link", "seed", "trace", "clock"}
        single = {name: values[-1] for name, values in lists.items() if name in known}
        variants = lists.get("variant", []) + [
            f"{name}={values[-1]}"
            for name, values in lists.items()
            if name not in known and name not in {"variant", "map", "fault"}
        ]
        return cls.build(
            baud=single.get("baud"),
            link=single.get("link"),
            seed=single.get("seed", 0),
            trace=single.get("trace"),
            clock=single.get("clock"),
            maps=lists.get("map", []),
            faults=lists.get("fault", []),
            variants=variants,
        )


def _number(name: str, value: str | int, least: int, most: int) -> int:
    text = str(value)
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise UsageError(f"{name} {value!r}: expected a number from {least} to {most}")
    return int(text)
