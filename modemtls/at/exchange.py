"""One command and its answer, as data: what is sent, what is expected, what came."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from modemtls.at.grammar import STANDARD_FINALS, FinalRule, LinePattern, Outcome, PromptRule, UrcRule, Value
from modemtls.errors import ModemTimeoutError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "DEFAULT_TIMEOUT",
    "Exchange",
    "Expected",
    "Line",
    "NoAnswerError",
    "Outcome",
    "Repeat",
    "Reply",
    "Topic",
    "Urc",
]

Repeat = Literal["one", "optional", "many"]

Topic: TypeAlias = tuple[str, int]
"""What an exchange or a report is about: the family and number of a socket."""


class NoAnswerError(ModemTimeoutError):
    """The modem did not answer within the command's own time, whatever time its caller had."""


# 27.007 names no time; 5 s is what vendors' manuals give for commands that touch neither SIM nor network.
DEFAULT_TIMEOUT: Final = 5.0
_EMPTY: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Expected:
    """An information line that belongs to the answer.

    ``bound``: values for the pattern's ``{name}`` placeholders. ``repeat``: ``one`` is required with a good outcome,
    ``optional`` may come once, ``many`` any number of times.
    """

    pattern: LinePattern
    bound: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    repeat: Repeat = "one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One command line, its payload and what ends it.

    ``line`` goes out with ``terminator``, or with what the channel knows the modem to take. ``shown`` is the line as
    logs, traces and errors may show it; empty means that ``line`` holds no secret. With a ``prompt``, ``payload`` and
    ``payload_end`` follow once the modem invites; ``payload_chunk`` (bytes, 0: all at once) and ``payload_pause`` (s)
    pace them where a modem needs that. ``payload_quiet`` (s): ``payload_end`` only is one behind such a silence, and
    within the payload it never is because it is cut in two by as long a one. ``payload_secret`` keeps the payload out
    of traces.

    ``timeout`` (s) is the modem's own bound for its answer; it starts when the line is written and again when the
    payload is. ``input_timeout`` (s) is how long the modem waits for payload that does not come, if that is known.
    ``blocking`` marks a command during which the modem serves nobody else (it is not sent while a caller is in a hurry;
    the channel only shows it).
    ``topic`` is whose data it moves, if anybody's; ``most`` how many bytes of payload its answer brings at most: 0 if
    that is not known, -1 if it brings none.
    """

    line: bytes
    shown: str = ""
    terminator: bytes = b"\r"
    lines: tuple[Expected, ...] = ()
    finals: tuple[FinalRule, ...] = STANDARD_FINALS
    prompt: PromptRule | None = None
    payload: bytes = field(default=b"", repr=False)
    payload_end: bytes = b""
    payload_secret: bool = False
    payload_chunk: int = 0
    payload_pause: float = 0.0
    payload_quiet: float = 0.0
    timeout: float = DEFAULT_TIMEOUT
    blocking: bool = False
    input_timeout: float | None = None
    topic: Topic | None = None
    most: int = -1

    def __repr__(self) -> str:
        return f"Exchange({self.text!r})"

    @property
    def text(self) -> str:
        """The line as it may be shown."""
        return self.shown or self.line.decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class Line:
    """An information line of an answer. ``index`` is the position of its :class:`Expected` in the exchange.

    ``text`` may be shown; a secret is among the ``values`` only.
    """

    index: int
    text: str
    values: Mapping[str, Value] = field(repr=False)
    payload: bytes | None = field(default=None, repr=False)


# A tuple, for every command has one: a frozen dataclass of eight fields takes several times as long to make.
class Reply(NamedTuple):
    """The answer to an exchange, whatever its outcome.

    ``final`` is the final result as it came. ``code``, ``code_text`` and ``namespace`` are its error number or text
    and where that is defined. ``extra`` are lines that came meanwhile and that nothing explains. ``missing`` are the
    sources of required patterns that a good outcome came without.
    """

    outcome: Outcome
    final: str
    code: int | None = None
    code_text: str = ""
    namespace: str = ""
    lines: tuple[Line, ...] = ()
    extra: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the outcome is OK."""
        return self.outcome is Outcome.OK


@dataclass(frozen=True, slots=True)
class Urc:
    """An unsolicited result, or a line that a watch waits for.

    ``rule`` is None for a line that only a watch knows. ``values`` are those of the rule (constants included) or of
    the watch. ``complete`` is False if the payload stopped arriving: the rest is lost.
    """

    rule: UrcRule | None
    text: str
    values: Mapping[str, Value]
    payload: bytes | None = field(default=None, repr=False)
    complete: bool = True
