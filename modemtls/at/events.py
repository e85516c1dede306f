"""What the codec makes of the bytes that a modem sends.

Each event carries ``raw`` if the codec was told to keep it: the exact bytes since the event before, framing
included, so that all of them joined are the stream again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modemtls.at.grammar import FinalRule, UrcRule, Value
    from modemtls.at.pattern import LinePattern

__all__ = [
    "Broken",
    "Echo",
    "Event",
    "Final",
    "Info",
    "Overflow",
    "PayloadEcho",
    "Prompt",
    "Unknown",
    "Unsolicited",
    "WatchKey",
]


class WatchKey:
    """Stands for one watched pattern; compared by identity."""

    __slots__ = ("bound", "pattern")

    def __init__(self, pattern: LinePattern, bound: Mapping[str, object]) -> None:
        self.pattern = pattern
        self.bound = bound


@dataclass(frozen=True, slots=True)
class Echo:
    """The command line came back."""

    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class PayloadEcho:
    """The payload came back."""

    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class Prompt:
    """The modem invites to send a payload. ``late``: an earlier exchange's invitation, nobody asked for it now."""

    late: bool = False
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class Info:
    """An information line that the exchange in flight expects; ``index`` is its position there."""

    index: int
    text: bytes
    values: Mapping[str, Value]
    payload: bytes | None = None
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class Final:
    """A final result of the exchange in flight, which it ends.

    Unless ``missing`` says what a good result came without (indexes of required lines, -1 for the prompt): then the
    exchange is still open, for the result may be a late one of an earlier command.
    """

    rule: FinalRule
    text: bytes
    values: Mapping[str, Value]
    missing: tuple[int, ...] = ()
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class Unsolicited:
    """A line that no exchange asked for but the grammar (``rule``) or somebody waiting (``watches``) knows.

    ``values`` are those of the rule, or without one those of the first watch.
    """

    rule: UrcRule | None
    text: bytes
    values: Mapping[str, Value]
    payload: bytes | None = None
    watches: tuple[tuple[WatchKey, Mapping[str, Value]], ...] = ()
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A line that nothing explains."""

    text: bytes
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class Overflow:
    """``size`` bytes without a line end, dropped because they were longer than a line may be."""

    size: int
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class Broken:
    """A payload that did not arrive in full: ``data`` is what came of ``size`` bytes.

    All of them if what followed was wrong, none if the payload had been reported already, as unsolicited, by then.
    ``index`` is the position in the exchange that it belongs to, or -1; the rest is as in :class:`Unsolicited`.
    """

    data: bytes
    size: int
    index: int
    text: bytes
    values: Mapping[str, Value]
    rule: UrcRule | None = None
    watches: tuple[tuple[WatchKey, Mapping[str, Value]], ...] = ()
    raw: bytes = b""


Event = Echo | PayloadEcho | Prompt | Info | Final | Unsolicited | Unknown | Overflow | Broken
