"""What is known about a modem's commands, in the form in which a dialogue is read.

:data:`STANDARD` knows the framing and the few commands that V.250 and 27.007 give to every modem.
:mod:`modemtls.dialogue.known` makes a vocabulary of a profile.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from modemtls.at.exchange import Expected
from modemtls.at.grammar import STANDARD_FINALS, FinalRule, Grammar, LinePattern, Outcome, PromptRule, compile_pattern

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ANYTHING", "STANDARD", "STANDARD_FORMS", "UNKNOWN_FINALS", "Awaited", "CodeIn", "Form", "Vocabulary"]

# V.250 table 2 and 27.005 3.2.5, and the words in which many modems report the end of a transmission: final where
# nobody knows the command.
UNKNOWN_FINALS: Final = (
    *STANDARD_FINALS,
    *(FinalRule(compile_pattern(text), Outcome.FAIL) for text in ("NO CARRIER", "BUSY", "NO ANSWER", "NO DIALTONE")),
    *(FinalRule(compile_pattern(text), Outcome.OK) for text in ("SEND OK", "CLOSE OK", "CONNECT OK", "SHUT OK")),
    *(FinalRule(compile_pattern(text), Outcome.FAIL) for text in ("SEND FAIL", "CONNECT FAIL")),
    FinalRule(compile_pattern("CONNECT{_:text}"), Outcome.OK),
)
ANYTHING: Final = Expected(compile_pattern("{_:text}"), repeat="many")


@dataclass(frozen=True, slots=True)
class CodeIn:
    """An error number in a line: in which field, and where it is defined."""

    field: str
    namespace: str


@dataclass(frozen=True, slots=True)
class Awaited:
    """A line that comes some time after a command."""

    pattern: LinePattern
    code: CodeIn | None = None


@dataclass(frozen=True, slots=True)
class Form:
    """One command as somebody knows it.

    ``line`` matches the whole command line without its terminator; its groups are the values. ``size`` is the group
    with the number of payload bytes; without one the payload lasts until ``end``. ``namespaces`` are where the numbers
    of ``+CME ERROR`` are looked up, ``codes`` where those in the information lines are.
    """

    name: str
    line: re.Pattern[bytes]
    lines: tuple[LinePattern, ...] = ()
    finals: tuple[FinalRule, ...] = STANDARD_FINALS
    prompt: PromptRule | None = None
    size: str = ""
    end: bytes = b""
    payload_secret: bool = False
    secrets: frozenset[str] = frozenset()
    awaited: tuple[Awaited, ...] = ()
    namespaces: tuple[str, ...] = ("cme",)
    codes: tuple[CodeIn, ...] = ()


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Everything that is known about one modem's language."""

    name: str = ""
    forms: tuple[Form, ...] = ()
    grammar: Grammar = field(default_factory=Grammar)
    errors: Mapping[tuple[str, str], str] = field(default_factory=lambda: MappingProxyType({}))
    meanings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # URC source -> what it means

    def find(self, line: bytes) -> tuple[Form, dict[str, str]] | None:
        """Return the command that a line is, and its values; of several joined by semicolons, all (V.250 5.3.2)."""
        found = self._one(line)
        if found is None and b";" in line:
            pieces = re.findall(rb'(?:"[^"]*"|[^;"])+', line)
            parts = [self._one(piece if n == 0 else b"AT" + piece) for n, piece in enumerate(pieces)]
            known = [part for part in parts if part is not None]
            if parts and len(known) == len(parts):
                form, values = known[-1]
                lines = tuple(pattern for part, _ in known for pattern in part.lines)
                name = "; ".join(part.name for part, _ in known)
                secrets = frozenset().union(*(part.secrets for part, _ in known))
                together = {key: value for _, given in known for key, value in given.items()}
                return replace(form, name=name, lines=lines, secrets=secrets), together | values
        return found

    def _one(self, line: bytes) -> tuple[Form, dict[str, str]] | None:
        for form in self.forms:
            found = form.line.fullmatch(line)
            if found:
                values = {name: value or b"" for name, value in found.groupdict().items()}
                return form, {name: value.decode("utf-8", "backslashreplace") for name, value in values.items()}
        return None

    def error(self, namespace: str, code: object) -> str:
        """Return what an error number means, or nothing."""
        return self.errors.get((namespace, str(code)), "")


def _standard(line: bytes, meaning: str) -> Form:
    return Form(meaning, re.compile(line, re.IGNORECASE), (ANYTHING.pattern,), UNKNOWN_FINALS)


# What every modem understands, by the clauses of V.250 and 27.007.
STANDARD_FORMS: Final = tuple(
    _standard(line, meaning)
    for line, meaning in (
        (rb"AT", "attention"),
        (rb"A/", "repeat (V.250 5.2.4)"),
        (rb"ATE(?P<echo>[01]?)", "echo (V.250 6.2.4)"),
        (rb"AT(?:(?:[EQVX]|&[CDK])\d?|S\d+=\d+)+", "settings (V.250 6.2)"),
        (rb"ATV(?P<words>[01]?)", "results in words (V.250 6.2.6)"),
        (rb"ATQ(?P<quiet>[01]?)", "no results (V.250 6.2.5)"),
        (rb"ATI\d*", "identification (V.250 6.1.3)"),
        (rb"ATZ\d?", "reset (V.250 6.1.1)"),
        (rb"AT&F\d?", "factory settings (V.250 6.1.2)"),
        (rb"ATO\d?", "back to the data phase (V.250 6.3.7)"),
        (rb"ATH\d?", "hang up (V.250 6.3.6)"),
        (rb"AT\+C?GMI", "manufacturer (27.007 5.1)"),
        (rb"AT\+C?GMM", "model (27.007 5.2)"),
        (rb"AT\+C?GMR", "revision (27.007 5.3)"),
        (rb"AT\+C?GSN(?:=\d)?", "serial number (27.007 5.4)"),
        (rb"AT\+CMEE(?:=(?P<form>[012])|\?)", "form of errors (27.007 9.1)"),
        (rb"AT\+IPR(?:=(?P<rate>\d+)|\?)", "bit rate (V.250 6.2.10)"),
    )
)
STANDARD: Final = Vocabulary(forms=STANDARD_FORMS)
