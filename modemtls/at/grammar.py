"""What a modem may send, as data: final results, prompts, unsolicited results and the bounds of a line.

Nothing here does I/O. :mod:`modemtls.at.codec` reads by it, profiles fill it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from modemtls.at.pattern import Field, LinePattern, PatternError, PayloadFrame, Value, compile_pattern

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "STANDARD_FINALS",
    "Field",
    "FinalRule",
    "Grammar",
    "LinePattern",
    "Outcome",
    "PatternError",
    "PayloadFrame",
    "PromptRule",
    "UrcRule",
    "Value",
    "compile_pattern",
]


class Outcome(enum.Enum):
    """What a final result means for the caller, in the words of the profile language."""

    OK = "ok"
    PARTIAL = "partial"
    EMPTY = "empty"
    EOF = "eof"
    CLOSED = "closed"
    BUSY = "busy"
    ABSENT = "absent"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class FinalRule:
    """A final result code.

    ``code_field`` names the placeholder with the error's number, ``text_field`` the one with its text,
    ``namespace`` where the number is defined. ``form`` tells the shapes of 27.007 clause 9.1 apart: ``numeric``
    and ``verbose`` for ``+CME ERROR: <n>`` and ``+CME ERROR: <text>``, empty for anything else.
    """

    pattern: LinePattern
    outcome: Outcome
    code_field: str | None = None
    text_field: str | None = None
    namespace: str = ""
    form: str = ""


@dataclass(frozen=True, slots=True)
class PromptRule:
    """The modem's invitation to send a payload.

    ``text``: bytes at a line start that have no line end of their own (27.005: ``>``); or ``pattern``: a whole line
    that invites (``CONNECT``, ``OK``). ``swallow``: one byte of these directly behind ``text`` belongs to the prompt,
    also if it comes later. ``settle``: seconds to wait before the payload.
    """

    text: bytes = b">"
    pattern: LinePattern | None = None
    swallow: bytes = b" "
    settle: float = 0.0


@dataclass(frozen=True, slots=True)
class UrcRule:
    """An unsolicited result code.

    ``means`` is the neutral word that the layers above act on; ``boot`` ends the boot epoch (see
    :mod:`modemtls.at.channel`). ``family`` tells which kind of socket an id belongs to. ``constants`` are values the
    line implies without saying them. ``held``: the number of a socket that it says is closed has to be closed by the
    driver, whatever the modem does otherwise.
    """

    pattern: LinePattern
    means: str
    family: str | None = None
    held: bool = False
    constants: Mapping[str, Value] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if self.pattern.bound:
            raise PatternError(f"an unsolicited result cannot use a bound value: {self.pattern.bound[0]}", 0)


@dataclass(frozen=True, slots=True)
class Grammar:
    """What stands at any time, whatever exchange is in flight.

    ``max_line`` bounds a line, ``max_payload`` a counted payload (bytes): what is announced longer is no payload.
    ``guard_after_result`` and ``guard_after_urc`` (s): nothing is sent so soon after a final, an unsolicited result.
    """

    urcs: tuple[UrcRule, ...] = ()
    max_line: int = 8192
    max_payload: int = 65536
    guard_after_result: float = 0.0
    guard_after_urc: float = 0.0


# V.250 6.2.6 and table 2; 27.007 9.2; 27.005 3.2.5. NO CARRIER, BUSY and the like are final only where an exchange
# says so: on many modems they are unsolicited.
STANDARD_FINALS: Final[tuple[FinalRule, ...]] = (
    FinalRule(compile_pattern("OK"), Outcome.OK),
    FinalRule(compile_pattern("ERROR"), Outcome.FAIL),
    FinalRule(compile_pattern("+CME ERROR: {code:int}"), Outcome.FAIL, "code", namespace="cme", form="numeric"),
    FinalRule(
        compile_pattern("+CME ERROR: {text:text}"), Outcome.FAIL, text_field="text", namespace="cme", form="verbose"
    ),
    FinalRule(compile_pattern("+CMS ERROR: {code:int}"), Outcome.FAIL, "code", namespace="cms", form="numeric"),
    FinalRule(
        compile_pattern("+CMS ERROR: {text:text}"), Outcome.FAIL, text_field="text", namespace="cms", form="verbose"
    ),
)
