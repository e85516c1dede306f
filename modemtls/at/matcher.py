"""Which whole line is what: the order of precedence that :mod:`modemtls.at.codec` describes."""

from __future__ import annotations

from binascii import unhexlify
from typing import TYPE_CHECKING

from modemtls.at import events as ev
from modemtls.at.expect import NO_VALUES, Flight, UrcTable

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping

    from modemtls.at.exchange import Exchange
    from modemtls.at.expect import LineEntry, Tables
    from modemtls.at.grammar import FinalRule, Grammar, LinePattern, PromptRule, UrcRule, Value

__all__ = ["Frame", "Matcher", "WatchHits"]

WatchHits = tuple[tuple[ev.WatchKey, "Mapping[str, Value]"], ...]


class Frame:
    """A counted payload that is being received, and the line it belongs to."""

    __slots__ = ("data", "digits", "index", "need", "open", "raw", "rule", "size", "tail", "text", "values", "watches")

    def __init__(
        self,
        text: bytes,
        values: Mapping[str, Value],
        pattern: LinePattern,
        raw: bytes,
        *,
        index: int = -1,
        rule: UrcRule | None = None,
        watches: WatchHits = (),
    ) -> None:
        assert pattern.payload is not None
        size = values[pattern.payload.length]
        assert isinstance(size, int)
        self.digits = pattern.payload.digits
        if self.digits:
            size *= 2
        self.text = text
        self.values = values
        self.size = size
        self.need = size
        tail = pattern.payload.tail
        self.tail = tail if size else tail.rstrip(b"\r\n")
        self.open = not tail.endswith(b"\n")  # whether a line that begins is all that can be asked of what follows
        self.raw = raw
        self.index = index
        self.rule = rule
        self.watches = watches
        self.data = bytearray()

    def event(self, raw: bytes) -> ev.Event:
        """Return the event of the complete payload."""
        payload = bytes(self.data)
        if self.digits:
            try:
                payload = unhexlify(payload)
            except ValueError:
                return ev.Broken(payload, self.size, self.index, self.text, self.values, self.rule, self.watches, raw)
        if self.index >= 0:
            return ev.Info(self.index, self.text, self.values, payload, raw)
        return ev.Unsolicited(self.rule, self.text, self.values, payload, self.watches, raw)


class Matcher:
    """Knows the grammar, the exchange in flight and the watches; keeps what of the exchange has been seen."""

    def __init__(self, grammar: Grammar) -> None:
        self.late_prompt: PromptRule | None = None
        self.flight: Flight | None = None
        self.frame: Frame | None = None
        self.watches: list[ev.WatchKey] = []
        self.has_inline = False  # whether any payload may stand on its header's line
        self.set_grammar(grammar)

    def set_grammar(self, grammar: Grammar) -> None:
        """Change what may come at any time."""
        self.grammar = grammar
        self._urcs = UrcTable(grammar)
        self._look_for_inline()

    def begin(self, ex: Exchange, expects: Tables) -> None:
        """Expect the answer to an exchange."""
        self.flight = Flight(expects, ex)
        if expects.inline:
            self.has_inline = True

    def end(self) -> None:
        """Expect no answer any more."""
        flight = self.flight
        if flight is not None:
            self.flight = None
            if flight.tables.inline:
                self._look_for_inline()

    def watch(self, pattern: LinePattern, bound: Mapping[str, object]) -> ev.WatchKey:
        """Add a watch. Raises KeyError for a bound name without a value."""
        pattern.regex(bound)
        key = ev.WatchKey(pattern, dict(bound))
        self.watches.append(key)
        self._look_for_inline()
        return key

    def unwatch(self, key: ev.WatchKey) -> None:
        """Forget a watch."""
        if key in self.watches:
            self.watches.remove(key)
            self._look_for_inline()

    def find(self, text: bytes) -> UrcRule | None:
        """Return the rule of a whole line that is an unsolicited result."""
        found = self._urcs.find(text)
        return None if found is None else found[0]

    def prompted(self, *, late: bool) -> None:
        """Take note that a prompt has come: no second one is one."""
        if late:
            self.late_prompt = None
        elif self.flight is not None:
            self.flight.prompt = None

    def _look_for_inline(self) -> None:
        self.has_inline = (
            bool(self._urcs.inline)
            or any(key.pattern.payload is not None and key.pattern.payload.inline for key in self.watches)
            or (self.flight is not None and bool(self.flight.tables.inline))
        )

    def _fits(self, pattern: LinePattern, values: Mapping[str, Value]) -> bool:
        return self.length(pattern, values) >= 0

    def length(self, pattern: LinePattern, values: Mapping[str, Value]) -> int:
        """Return how many bytes of the line the payload behind a header is, -1 if it cannot be one."""
        assert pattern.payload is not None
        size = values[pattern.payload.length]
        if not isinstance(size, int) or not 0 <= size <= self.grammar.max_payload:
            return -1
        return 2 * size if pattern.payload.digits else size

    # -- payloads on their header's line ---------------------------------------------------------------------------

    def inline(self, buffer: bytes | bytearray, at: int, limit: int) -> tuple[int, Frame] | None:
        """Return where a payload that stands on its header's line begins, if what begins at ``at`` is its header."""
        flight = self.flight
        found: re.Match[bytes] | None
        if flight is not None:
            for index, head, regex, pattern, once in flight.tables.inline:
                if buffer.startswith(head, at) and not (once and index in flight.seen):
                    found = regex.match(buffer, at, limit)
                    if found is not None and self._fits(pattern, values := pattern.values(found)):
                        flight.seen |= {index}
                        return found.end(), Frame(found[0], values, pattern, b"", index=index)
        hits: WatchHits = ()
        first: tuple[re.Match[bytes], LinePattern, Mapping[str, Value]] | None = None
        for key in self.watches:
            pattern = key.pattern
            if pattern.payload is not None and pattern.payload.inline and buffer.startswith(pattern.head, at):
                found = pattern.regex(key.bound).match(buffer, at, limit)
                if found is not None and self._fits(pattern, values := pattern.values(found)):
                    hits = (*hits, (key, values))
                    first = first or (found, pattern, values)
        rule: UrcRule | None = None
        for head, regex, one in self._urcs.inline:
            if buffer.startswith(head, at):
                found = regex.match(buffer, at, limit)
                if found is not None and self._fits(one.pattern, values := one.pattern.values(found)):
                    rule = one
                    first = (found, one.pattern, {**one.constants, **values})
                    break
        if first is None:
            return None
        found, pattern, shown = first
        return found.end(), Frame(found[0], shown, pattern, b"", rule=rule, watches=hits)

    # -- whole lines -----------------------------------------------------------------------------------------------

    def line(self, text: bytes, raw: bytes, out: list[ev.Event], *, whole: bool) -> bool:
        """Make the event of a line, or begin its payload; False if nothing explains it. ``whole``: ends in CR LF."""
        flight = self.flight
        if self.late_prompt is not None or (flight is not None and flight.prompt is not None):
            for late in (False, True):
                prompt = self.late_prompt if late else flight.prompt if flight is not None else None
                if prompt is not None and prompt.pattern is not None and prompt.pattern.match(text) is not None:
                    self.prompted(late=late)
                    out.append(ev.Prompt(late, raw))
                    return True
        if flight is not None:
            tables = flight.tables
            rule = tables.literal_finals.get(text)
            if rule is not None:
                if not (raw or flight.missing(rule)):
                    self.end()
                    out.append(tables.alone[text])
                    return True
                self._final(flight, rule, text, NO_VALUES, raw, out)
                return True
            if text.startswith(tables.heads):
                for head, regex, one in tables.finals:
                    if text.startswith(head):
                        found = regex.fullmatch(text)
                        if found is not None:
                            self._final(flight, one, text, one.pattern.values(found), raw, out)
                            return True
            if tables.prefixed and self._info(flight, tables.prefixed, text, raw, out, whole=whole):
                return True
        if self._unsolicited(text, raw, out, whole=whole):
            return True
        return (
            flight is not None
            and bool(flight.tables.plain)
            and self._info(flight, flight.tables.plain, text, raw, out, whole=whole)
        )

    def _final(
        self,
        flight: Flight,
        rule: FinalRule,
        text: bytes,
        values: Mapping[str, Value],
        raw: bytes,
        out: list[ev.Event],
    ) -> None:
        missing = flight.missing(rule)
        if not missing:
            self.end()
        out.append(ev.Final(rule, text, values, missing, raw))

    def _info(
        self,
        flight: Flight,
        entries: list[LineEntry],
        text: bytes,
        raw: bytes,
        out: list[ev.Event],
        *,
        whole: bool,
    ) -> bool:
        for index, head, regex, pattern, once in entries:
            if not text.startswith(head) or (once and index in flight.seen):
                continue
            found = regex.fullmatch(text)
            if found is None:
                continue
            values = pattern.values(found)
            if pattern.payload is None:
                out.append(ev.Info(index, text, values, None, raw))
            elif whole and self._fits(pattern, values):
                self.frame = Frame(text, values, pattern, raw, index=index)
            else:
                continue
            flight.seen |= {index}
            return True
        return False

    def _unsolicited(self, text: bytes, raw: bytes, out: list[ev.Event], *, whole: bool) -> bool:
        hits: WatchHits = ()
        framing: tuple[LinePattern, Mapping[str, Value]] | None = None
        for key in self.watches:
            pattern = key.pattern
            if text.startswith(pattern.head):
                values = pattern.match(text, key.bound)
                if values is None:
                    continue
                if pattern.payload is not None:
                    if pattern.payload.inline or not whole or not self._fits(pattern, values):
                        continue
                    framing = (pattern, values)
                hits = (*hits, (key, values))
        found = self._urcs.find(text)
        rule: UrcRule | None = None
        shown: Mapping[str, Value] = hits[0][1] if hits else NO_VALUES
        if found is not None:
            rule, shown = found
            if rule.pattern.payload is not None:
                if whole and self._fits(rule.pattern, shown):
                    framing = (rule.pattern, shown)
                else:
                    rule = None
            if rule is not None and rule.constants:
                shown = {**rule.constants, **shown}
        if rule is None and not hits:
            return False
        if framing is None:
            out.append(ev.Unsolicited(rule, text, shown, None, hits, raw))
        else:
            self.frame = Frame(text, {**framing[1], **shown}, framing[0], raw, rule=rule, watches=hits)
        return True
