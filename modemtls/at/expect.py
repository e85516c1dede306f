"""Grammar and exchanges in the form in which the codec looks lines up."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from modemtls.at import events as ev
from modemtls.at.grammar import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modemtls.at.exchange import Exchange, Expected
    from modemtls.at.grammar import FinalRule, Grammar, LinePattern, UrcRule, Value

__all__ = ["Flight", "Tables", "UrcTable", "flight_tables"]

# Values of a line without placeholders. Never written to.
NO_VALUES: Final[dict[str, Value]] = {}

LineEntry = tuple[int, bytes, re.Pattern[bytes], "LinePattern", bool]  # index, head, regex, pattern, once
FinalEntry = tuple[bytes, re.Pattern[bytes], "FinalRule"]


class Tables:
    """What an exchange's answer may consist of; shared by exchanges that expect the same."""

    __slots__ = (
        "alone",
        "closing",
        "finals",
        "framed",
        "heads",
        "inline",
        "literal_finals",
        "plain",
        "prefixed",
        "required",
        "secret",
    )

    def __init__(self, lines: tuple[Expected, ...], finals: tuple[FinalRule, ...]) -> None:
        self.literal_finals: dict[bytes, FinalRule] = {}
        self.finals: list[FinalEntry] = []
        for rule in finals:
            literal = rule.pattern.literal
            if literal is None:
                self.finals.append((rule.pattern.head, rule.pattern.regex(), rule))
            else:
                self.literal_finals.setdefault(literal, rule)
        self.heads = tuple([head for head, _, _ in self.finals])
        # The events of literal results that come without anything else, made once.
        self.alone = {text: ev.Final(rule, text, NO_VALUES) for text, rule in self.literal_finals.items()}
        self.closing = {text + b"\r\n": event for text, event in self.alone.items()}
        self.prefixed: list[LineEntry] = []
        self.plain: list[LineEntry] = []
        self.inline: list[LineEntry] = []
        self.required: list[int] = []
        for index, expected in enumerate(lines):
            pattern = expected.pattern
            entry = (index, pattern.head, pattern.regex(expected.bound), pattern, expected.repeat != "many")
            if pattern.payload is not None and pattern.payload.inline:
                self.inline.append(entry)
            elif pattern.head:
                self.prefixed.append(entry)
            else:
                self.plain.append(entry)
            if expected.repeat == "one":
                self.required.append(index)
        self.framed = self._framed()
        self.secret = any(one.pattern.secret for one in lines)  # something to be kept out of logs may come

    def _framed(self) -> LineEntry | None:
        """Return the one line that may come beside the final results, if it is a header of numbers with a payload.

        Its expression then includes the line end. Nothing else can be meant by what it matches.
        """
        if len(self.prefixed) != 1:
            return None
        index, head, regex, pattern, once = self.prefixed[0]
        if pattern.payload is None or pattern.payload.digits:
            return None
        if any(one.type not in {"int", "digits", "raw", "bound"} for one in pattern.fields):
            return None
        if any(head.startswith(one) or one.startswith(head) for one in self.heads):
            return None
        return index, head, re.compile(regex.pattern + b"\\r\\n"), pattern, once


class Flight:
    """One exchange in flight, as the codec sees it. ``seen``: which of its lines have come."""

    echoed = False
    seen: frozenset[int] = frozenset()

    def __init__(self, tables: Tables, ex: Exchange) -> None:
        self.tables = tables
        self.echo = echo = ex.line
        self.first = echo[0] if echo else -1
        self.prompt = ex.prompt

    def missing(self, rule: FinalRule) -> tuple[int, ...]:
        """Return what a final result comes too early for (see :class:`modemtls.at.events.Final`)."""
        if (not self.tables.required and self.prompt is None) or rule.outcome is not Outcome.OK:
            return ()
        absent = [index for index in self.tables.required if index not in self.seen]
        if self.prompt is not None:
            absent.append(-1)
        return tuple(absent)


_cache: dict[tuple[int, int], tuple[object, object, Tables]] = {}
_CACHE_LIMIT: Final = 512


def flight_tables(ex: Exchange) -> Tables:
    """Return the tables for an exchange, cached by the identity of what it expects (never of what it sends)."""
    key = (id(ex.lines), id(ex.finals))
    found = _cache.get(key)
    if found is None:
        if len(_cache) >= _CACHE_LIMIT:
            _cache.clear()
        # Holding both tuples keeps their identities from being given to others.
        found = _cache[key] = (ex.lines, ex.finals, Tables(ex.lines, ex.finals))
    return found[2]


_KEY: Final = 4


class UrcTable:
    """Unsolicited results by their first bytes."""

    __slots__ = ("by_head", "inline", "literal", "other")

    def __init__(self, grammar: Grammar) -> None:
        self.literal: dict[bytes, UrcRule] = {}
        self.by_head: dict[bytes, list[tuple[bytes, re.Pattern[bytes], UrcRule]]] = {}
        self.other: list[tuple[bytes, re.Pattern[bytes], UrcRule]] = []
        self.inline: list[tuple[bytes, re.Pattern[bytes], UrcRule]] = []
        for rule in grammar.urcs:
            pattern = rule.pattern
            entry = (pattern.head, pattern.regex(), rule)
            if pattern.literal is not None:
                self.literal.setdefault(pattern.literal, rule)
            elif pattern.payload is not None and pattern.payload.inline:
                self.inline.append(entry)
                continue
            if len(pattern.head) >= _KEY:
                self.by_head.setdefault(pattern.head[:_KEY], []).append(entry)
            else:
                self.other.append(entry)

    def find(self, text: bytes) -> tuple[UrcRule, Mapping[str, Value]] | None:
        """Return the rule for a whole line and the values it captures."""
        literal = self.literal.get(text)
        if literal is not None:
            return literal, NO_VALUES
        for entries in (self.by_head.get(text[:_KEY], ()), self.other):
            for head, regex, rule in entries:
                if text.startswith(head):
                    found = regex.fullmatch(text)
                    if found is not None:
                        return rule, rule.pattern.values(found)
        return None
