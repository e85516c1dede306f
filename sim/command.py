"""Command lines taken apart (ITU-T V.250, 5.2-5.4): from text to commands, and typed access to their values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Args", "Command", "Form", "Refusal", "Value", "parse_body", "split_values"]


class Form(Enum):
    """How a command was used."""

    ACTION = "action"
    SET = "set"
    READ = "read"
    TEST = "test"


class Refusal(Exception):  # noqa: N818 - a final result, not a defect
    """A command's failure: the final result to print. ``cme`` is rendered by the +CMEE setting; neither means ERROR."""

    def __init__(self, final: str | None = None, *, cme: int | None = None) -> None:
        super().__init__(final or cme)
        self.final = final
        self.cme = cme


@dataclass(frozen=True, slots=True)
class Value:
    """One parameter; ``quoted`` tells ``"1"`` from ``1``."""

    text: str
    quoted: bool = False

    @property
    def empty(self) -> bool:
        """Whether nothing was written between the commas."""
        return not self.text and not self.quoted


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a line. ``name`` is upper case (``+QIOPEN``, ``E``, ``&F``, ``S``)."""

    name: str
    form: Form
    values: tuple[Value, ...] = ()
    malformed: bool = False


_BASIC = re.compile(r"(&?[A-Z])(\d*)", re.IGNORECASE)
_REGISTER = re.compile(r"S(\d+)(\?|=(\d*))?", re.IGNORECASE)
_EXTENDED = re.compile(r"([+^#%$*_][A-Z0-9!%\-./:_]+)(=\?|\?|=)?", re.IGNORECASE)
_DIAL = re.compile(r"D.*", re.IGNORECASE | re.DOTALL)


def _normalise(body: str) -> str:
    """Drop blanks and control characters outside strings (V.250 5.2.1, 5.4.2.2)."""
    out: list[str] = []
    quoted = False
    for char in body:
        if char == '"':
            quoted = not quoted
        if quoted or char > " ":
            out.append(char)
    return "".join(out)


def split_values(text: str) -> tuple[tuple[Value, ...], bool]:
    """Split at commas outside strings; the flag says whether the quoting is well formed."""
    values: list[Value] = []
    fine = True
    for part in _split(text, ","):
        if part.startswith('"'):
            if len(part) < 2 or not part.endswith('"') or '"' in part[1:-1]:
                fine = False
            values.append(Value(part.strip('"'), quoted=True))
        else:
            fine = fine and '"' not in part
            values.append(Value(part))
    return tuple(values), fine


def _split(text: str, mark: str) -> list[str]:
    parts: list[str] = []
    start, quoted = 0, False
    for at, char in enumerate(text):
        if char == '"':
            quoted = not quoted
        elif char == mark and not quoted:
            parts.append(text[start:at])
            start = at + 1
    parts.append(text[start:])
    return parts


def parse_body(body: str) -> list[Command]:
    """Take a line apart, without its ``AT``. What cannot be read is a last command with ``malformed`` set."""
    text = _normalise(body)
    commands: list[Command] = []
    at = 0
    while at < len(text):
        if text[at] == ";":
            at += 1
            continue
        if match := _EXTENDED.match(text, at):
            rest = _split(text[match.end() :], ";")[0]
            end = match.end() + len(rest)
            form = {None: Form.ACTION, "?": Form.READ, "=?": Form.TEST, "=": Form.SET}[match[2]]
            values, fine = split_values(rest) if form is Form.SET else ((), not rest)
            commands.append(Command(match[1].upper(), form, values, malformed=not fine))
        elif match := _REGISTER.match(text, at):
            end = match.end()
            number = Value(match[1])
            if match[2] == "?":
                commands.append(Command("S", Form.READ, (number,)))
            elif match[2]:
                commands.append(Command("S", Form.SET, (number, Value(match[3]))))
            else:
                commands.append(Command("S", Form.ACTION, (number,), malformed=True))
        elif match := _DIAL.match(text, at):
            end = match.end()
            commands.append(Command("D", Form.ACTION, (Value(match[0][1:]),)))
        elif match := _BASIC.match(text, at):
            end = match.end()
            commands.append(Command(match[1].upper(), Form.ACTION, (Value(match[2]),) if match[2] else ()))
        else:
            commands.append(Command(text[at:], Form.ACTION, malformed=True))
            break
        at = end
    return commands


class Args:
    """Typed access to a command's values; ``bad`` makes the refusal for a wrong one."""

    def __init__(self, values: Sequence[Value], bad: Callable[[], Refusal]) -> None:
        self._values = values
        self._bad = bad

    def __len__(self) -> int:
        return len(self._values)

    def count(self, least: int, most: int) -> None:
        """Refuse a command with fewer or more values."""
        if not least <= len(self._values) <= most:
            raise self._bad()

    def has(self, index: int) -> bool:
        """Whether a value was given there."""
        return index < len(self._values) and not self._values[index].empty

    def number(self, index: int, least: int, most: int, default: int | None = None) -> int:
        """Return a bare decimal number within the limits, or the default where nothing was written."""
        if not self.has(index):
            if default is None:
                raise self._bad()
            return default
        value = self._values[index]
        if value.quoted or not re.fullmatch(r"-?[0-9]{1,10}", value.text):
            raise self._bad()
        number = int(value.text)
        if not least <= number <= most:
            raise self._bad()
        return number

    def text(self, index: int, default: str | None = None, *, longest: int = 255, bare: bool = False) -> str:
        """Return a string; unquoted text only where the command takes it ``bare``."""
        if not self.has(index):
            if default is None:
                raise self._bad()
            return default
        value = self._values[index]
        if (not value.quoted and not bare) or len(value.text) > longest:
            raise self._bad()
        return value.text

    def word(self, index: int, allowed: Sequence[str]) -> str:
        """Return a quoted string that is one of ``allowed``."""
        text = self.text(index)
        if text not in allowed:
            raise self._bad()
        return text

    def raw(self, index: int) -> Value:
        """Return the value as written."""
        if index >= len(self._values):
            raise self._bad()
        return self._values[index]
