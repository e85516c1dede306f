"""Bytes from the modem in, events out. No I/O, no clock, no thread.

The events depend on the bytes and on what is expected (:meth:`Codec.begin`), never on how the bytes were cut.
Buffers are bounded, time is linear in the bytes.

A line ends with CR LF, a CR that no LF follows, or LF; blank lines and NULs between lines are skipped. At the start
of a line these are tried in order: payload echo, prompt, echo, payloads on their header's line, then, once the line is
complete: final results of the exchange in flight, its lines that begin with literal text, what somebody watches for,
unsolicited results, its lines that do not begin with literal text. A line of an exchange that has come as often as it
may does not compete any more. What a payload contains is never looked at.
What follows it is: if that is not what its pattern says, or no line begins behind an unsolicited one, bytes were lost.
Where a modem has always ended what it pushes with a line end of its own, that must follow too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modemtls.at import events as ev
from modemtls.at.expect import flight_tables
from modemtls.at.matcher import Frame, Matcher

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modemtls.at.exchange import Exchange
    from modemtls.at.expect import Flight, LineEntry, Tables
    from modemtls.at.grammar import Grammar, LinePattern, PromptRule, UrcRule

__all__ = ["Codec"]

_CR: Final = 0x0D
_LF: Final = 0x0A
_BLANK: Final = b"\r\n\0"
# The longest header in front of a payload on the same line. Only this much of a line is tried as one, so that a long
# line that comes byte by byte costs linear time.
_MAX_HEADER: Final = 512
# Where raw bytes are kept, a run of blanks becomes an event of its own at this length: buffers stay bounded.
_MAX_BLANKS: Final = 256
# How often, without exception, a line end of its own has to follow an unsolicited payload before it must.
_HABIT: Final = 3
_SHORT: Final = 24  # bytes; no literal final result is longer, but for a vendor's that then takes the long way
_PROMPT: Final = ev.Prompt()


class Codec:
    """One direction of one AT line: what the modem sends."""

    def __init__(self, grammar: Grammar, *, keep_raw: bool = False) -> None:
        self._keep_raw = keep_raw
        self.matcher = Matcher(grammar)  # its ``frame`` is the payload that is being received
        self._max_line = grammar.max_line
        self._buffer = bytearray()
        self._scanned = 0  # bytes of the buffer's start that are known to hold no line end
        self._swallow = b""  # what may directly follow a prompt
        self._overflowing = False
        self._sent_payload = b""  # the payload whose echo may come
        self._try_payload_echo = False
        self._ended: Frame | None = None  # an unsolicited payload, until what follows shows that it was whole
        self._between = -1  # line ends between it and what follows; -1 before the first byte
        self._habits: dict[int, int] = {}  # by rule: how often more than one, -1 once only one

    # -- what is expected ------------------------------------------------------------------------------------------

    def set_grammar(self, grammar: Grammar) -> None:
        """Change what may come at any time. A payload that is being received is finished by the old one."""
        self.matcher.set_grammar(grammar)
        self._max_line = grammar.max_line
        self._habits = {}

    def begin(self, ex: Exchange, expects: Tables | None = None) -> None:
        """Expect the answer to an exchange, from the next byte on. ``expects``: its tables, if they are at hand."""
        self.matcher.begin(ex, expects or flight_tables(ex))
        self._sent_payload = b""

    def payload_sent(self, payload: bytes) -> None:
        """Tell that the payload is being sent: where the command was echoed it may come back as well."""
        flight = self.matcher.flight
        if flight is not None and flight.echoed and payload:
            self._sent_payload = payload
            self._try_payload_echo = True

    def end(self) -> None:
        """Expect nothing any more (a final result does so by itself)."""
        self.matcher.end()
        self._sent_payload = b""

    @property
    def late_prompt(self) -> PromptRule | None:
        """The prompt of an earlier exchange that may still come; it is recognised whatever is in flight."""
        return self.matcher.late_prompt

    @late_prompt.setter
    def late_prompt(self, prompt: PromptRule | None) -> None:
        self.matcher.late_prompt = prompt

    def watch(self, pattern: LinePattern, bound: Mapping[str, object]) -> ev.WatchKey:
        """Recognise lines of this pattern, beside the grammar's, until :meth:`unwatch`.

        Raises KeyError for a bound name without a value.
        """
        return self.matcher.watch(pattern, bound)

    @property
    def watches(self) -> Sequence[ev.WatchKey]:
        """What is watched for."""
        return self.matcher.watches

    def unwatch(self, key: ev.WatchKey) -> None:
        """Forget a watch."""
        self.matcher.unwatch(key)

    # -- payloads that stop ----------------------------------------------------------------------------------------

    @property
    def in_payload(self) -> bool:
        """Whether a payload has begun to arrive and is not complete."""
        return self.matcher.frame is not None

    @property
    def pending(self) -> bytes:
        """What has arrived and has not become an event yet, a payload's part included (for a transcript's end)."""
        frame = self.matcher.frame
        head = b"" if frame is None else frame.raw + bytes(frame.data)
        return head + bytes(self._buffer)

    def abandon(self) -> list[ev.Event]:
        """Give up a payload that stopped arriving."""
        frame = self.matcher.frame
        if frame is None:
            return []
        self.matcher.frame = None
        data = bytes(frame.data)
        raw = frame.raw + data if self._keep_raw else b""
        return [ev.Broken(data, frame.size, frame.index, frame.text, frame.values, frame.rule, frame.watches, raw)]

    def restart(self) -> None:
        """Forget what has arrived and what an exchange expected; grammar and watches stay."""
        self.end()
        self.matcher.frame = None
        self._buffer = bytearray()
        self._overflowing = False
        self._ended = None
        self._made()

    def boot(self, text: bytes) -> UrcRule | None:
        """Return the rule by which this line, found in a broken payload, tells of a restart."""
        found = self.matcher.find(text)
        return found if found is not None and found.means == "boot" else None

    # -- bytes -----------------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> list[ev.Event]:
        """Take bytes and return the events that they complete."""
        out: list[ev.Event] = []
        kept = self._buffer
        buffer: bytes | bytearray = data
        if kept:
            kept += data
            buffer = kept
        size = len(buffer)
        matcher = self.matcher
        done = 0  # everything before has become events
        while True:
            if matcher.frame is not None:
                end = self._payload(matcher.frame, buffer, done, out)
            elif done < size:
                end = self._step(buffer, done, size, out)
            else:
                break
            if end < 0:
                break
            done = end
        if buffer is kept:
            del kept[:done]
        elif done < size:
            kept += data[done:]
        return out

    def _step(self, buffer: bytes | bytearray, start: int, size: int, out: list[ev.Event]) -> int:
        """Make one event of what begins at ``start``; return where it ends, or -1 if more bytes are needed."""
        if self._ended is not None:
            self._behind(self._ended, buffer, start, out)
        if self._overflowing:
            return self._overflow(buffer, start, out)
        if self._sent_payload and self._try_payload_echo:
            end = self._payload_echo(buffer, start, out)
            if end != 0:
                return end
        matcher = self.matcher
        at = start
        if self._swallow and buffer[at] in self._swallow:
            at += 1
            if at == size:
                return -1
        if size - at > 2 and buffer.startswith(b"\r\n", at):  # how nearly everything begins
            at += 2
        while buffer[at] in _BLANK:
            at += 1
            if self._keep_raw and at - start >= _MAX_BLANKS:
                self._made()
                out.append(ev.Unknown(b"", bytes(buffer[start:at])))
                return at
            if at == size:
                if self._keep_raw:
                    return -1
                self._swallow = b""
                return size
        flight = matcher.flight
        if flight is not None:
            if flight.prompt is not None or (buffer[at] == flight.first and not flight.echoed):
                end = self._expected(flight, buffer, start, at, out)
                if end != 0:
                    return end
            if size - at <= _SHORT and self._ends(flight, buffer, at, out):
                return size
        if matcher.late_prompt is not None:
            end = self._prompt(matcher.late_prompt, buffer, start, at, out, late=True)
            if end != 0:
                return end
        if matcher.has_inline:
            limit = at + _MAX_HEADER
            if self._scanned <= limit - start:
                opened = matcher.inline(buffer, at, limit)
                if opened is not None:
                    end, frame = opened
                    frame.raw = self._raw(buffer, start, end)
                    matcher.frame = frame
                    self._made()
                    return end
        if flight is not None and flight.tables.framed is not None and not self._keep_raw:
            end = self._framed(flight, flight.tables.framed, buffer, at, out)
            if end != 0:
                return end
        return self._line(buffer, start, at, out)

    def _framed(self, flight: Flight, entry: LineEntry, buffer: bytes | bytearray, at: int, out: list[ev.Event]) -> int:
        """Make the event of a header and its payload, if all of it is here; return the end, or 0.

        What :meth:`_line` and :meth:`_payload` would do, in one step.
        """
        index, _, regex, pattern, once = entry
        found = regex.match(buffer, at)
        if found is None or flight.prompt is not None or (once and index in flight.seen):
            return 0
        values = pattern.values(found)
        begin = found.end()
        end = begin + self.matcher.length(pattern, values)
        if not begin <= end <= len(buffer):
            return 0
        payload = bytes(buffer[begin:end])
        assert pattern.payload is not None
        tail = pattern.payload.tail
        if tail and payload:
            if not buffer.startswith(tail, end):
                return 0
            end += len(tail)
        flight.seen |= {index}
        self._made()
        out.append(ev.Info(index, found[0][:-2], values, payload))
        return end

    def _ends(self, flight: Flight, buffer: bytes | bytearray, at: int, out: list[ev.Event]) -> bool:
        """Make the event of a literal final result behind which nothing follows: how nearly all answers end.

        What :meth:`_line` would do, in one step.
        """
        final = flight.tables.closing.get(bytes(buffer[at:]))
        if final is None or self._keep_raw or flight.missing(final.rule):
            return False
        self.end()
        self._made()
        out.append(final)
        return True

    def _may_begin(self, byte: int) -> bool:
        """Whether a line, or a prompt or echo that is due, may begin so. Lines begin with CR LF (V.250 5.7.1)."""
        if byte in (_CR, 0):
            return True
        flight = self.matcher.flight
        if flight is None:
            return False
        if byte == flight.first and not flight.echoed:
            return True
        return flight.prompt is not None and flight.prompt.text[:1] == bytes((byte,))

    def _behind(self, ended: Frame, buffer: bytes | bytearray, start: int, out: list[ev.Event]) -> None:
        """Look at what follows an unsolicited payload."""
        if self._between < 0 and not self._may_begin(buffer[start]):
            self._ended = None
            out.append(ev.Broken(b"", ended.size, -1, ended.text, ended.values, ended.rule, ended.watches))
            return
        at = start
        while at < len(buffer) and buffer[at] in _BLANK:
            at += 1
        seen = max(0, self._between) + buffer.count(b"\n", start, at)
        if at == len(buffer):
            if not self._keep_raw:  # else these bytes are looked at again
                self._between = seen
            return
        self._ended = None
        flight = self.matcher.flight
        if not seen or ended.tail or (flight is not None and buffer[at] == flight.first and not flight.echoed):
            return  # what had to follow did; an echo begins without a line end
        before = self._habits.get(id(ended.rule), 0)
        self._habits[id(ended.rule)] = -1 if before < 0 or seen < 2 else before + 1

    def _raw(self, buffer: bytes | bytearray, start: int, end: int) -> bytes:
        return bytes(buffer[start:end]) if self._keep_raw else b""

    def _made(self) -> None:
        """Forget what only concerned the event that has just been made."""
        self._scanned = 0
        self._swallow = b""
        self._try_payload_echo = True

    def _expected(self, flight: Flight, buffer: bytes | bytearray, start: int, at: int, out: list[ev.Event]) -> int:
        """Try prompt and echo at ``at``. Return the end, -1 if more bytes are needed, 0 if it is neither."""
        if flight.prompt is not None:
            end = self._prompt(flight.prompt, buffer, start, at, out, late=False)
            if end != 0:
                return end
        if flight.echoed or buffer[at] != flight.first:
            return 0
        echo = flight.echo
        end = at + len(echo)
        if buffer.startswith(echo, at):
            if end == len(buffer):
                return -1
            if buffer[end] == _CR:
                flight.echoed = True
                self._made()
                out.append(ev.Echo(self._raw(buffer, start, end + 1)))
                return end + 1
        elif end > len(buffer) and echo.startswith(bytes(buffer[at:])):
            return -1
        return 0

    def _prompt(
        self, prompt: PromptRule, buffer: bytes | bytearray, start: int, at: int, out: list[ev.Event], *, late: bool
    ) -> int:
        """Try a prompt that is no whole line. Return as :meth:`_expected` does."""
        if prompt.pattern is not None:
            return 0
        text = prompt.text
        end = at + len(text)
        if buffer.startswith(text, at):
            self._made()
            if not self._keep_raw and end < len(buffer) and buffer[end] in prompt.swallow:
                end += 1
            else:
                self._swallow = prompt.swallow
            self.matcher.prompted(late=late)
            out.append(ev.Prompt(late, self._raw(buffer, start, end)) if late or self._keep_raw else _PROMPT)
            return end
        return -1 if end > len(buffer) and text.startswith(bytes(buffer[at:])) else 0

    def _payload_echo(self, buffer: bytes | bytearray, start: int, out: list[ev.Event]) -> int:
        """Try the echo of the payload. Return as :meth:`_expected` does."""
        sent = self._sent_payload
        for at in (start, start + 1) if self._swallow and buffer[start] in self._swallow else (start,):
            end = at + len(sent)
            if buffer.startswith(sent, at):
                self._made()
                self._sent_payload = b""
                out.append(ev.PayloadEcho(self._raw(buffer, start, end)))
                return end
            if end > len(buffer) and sent.startswith(bytes(buffer[at:])):
                return -1
        self._try_payload_echo = False  # until the next event: something else may have come first
        return 0

    def _payload(self, frame: Frame, buffer: bytes | bytearray, start: int, out: list[ev.Event]) -> int:
        """Take bytes of a payload."""
        begin = start
        if frame.need:
            taken = buffer[start : start + frame.need]
            frame.data += taken
            frame.need -= len(taken)
            start += len(taken)
            if frame.need:
                return start if taken else -1
        end = start
        if (
            frame.open
            and frame.index < 0
            and not frame.tail
            and frame.size
            and self._habits.get(id(frame.rule), 0) >= _HABIT
        ):
            frame.tail = b"\r\n"
        if frame.tail:
            end += len(frame.tail)
            behind = bytes(buffer[start:end])
            if len(behind) < len(frame.tail) and frame.tail.startswith(behind):
                return start if start > begin else -1
            if behind != frame.tail:  # bytes were lost on the line: these are not the right ones
                self._made()
                self._habits.pop(id(frame.rule), None)
                out.extend(self.abandon())
                return start
        self.matcher.frame = None
        self._made()
        if frame.open and frame.index < 0 and frame.size:
            self._ended = frame
            self._between = -1
        raw = frame.raw + bytes(frame.data) + bytes(buffer[start:end]) if self._keep_raw else b""
        out.append(frame.event(raw))
        return end

    def _line(self, buffer: bytes | bytearray, start: int, at: int, out: list[ev.Event]) -> int:
        """Find the end of the line and make an event of it."""
        size = len(buffer)
        search = start + self._scanned if self._scanned > at - start else at
        limit = at + self._max_line + 1
        cr = buffer.find(b"\r", search, limit)
        lf = buffer.find(b"\n", search, cr if cr >= 0 else limit)
        stop = lf if lf >= 0 else cr
        if stop < 0:
            if size < limit:
                self._scanned = size - start
                return -1
            self._made()
            self._overflowing = True
            out.append(ev.Overflow(self._max_line, self._raw(buffer, start, limit - 1)))
            return limit - 1
        end = stop + 1
        whole = False
        if lf < 0:
            if end == size:
                self._scanned = stop - start
                return -1
            if buffer[end] == _LF:
                end += 1
                whole = True
        text = bytes(buffer[at:stop])
        raw = bytes(buffer[start:end]) if self._keep_raw else b""
        self._made()
        if not self.matcher.line(text, raw, out, whole=whole):
            if b"\0" in text:
                self._split(text, raw, out, whole=whole)
            else:
                out.append(ev.Unknown(text, raw))
        if self.matcher.flight is None:
            self._sent_payload = b""
        return end

    def _split(self, text: bytes, raw: bytes, out: list[ev.Event], *, whole: bool) -> None:
        """Take a line apart at NULs, which a modem emits when it restarts in the middle of one."""
        pieces = [piece for piece in text.split(b"\0") if piece]
        last = len(pieces) - 1
        for number, piece in enumerate(pieces):
            cut = raw.index(piece) + len(piece) if raw and number < last else len(raw)
            if not self.matcher.line(piece, raw[:cut], out, whole=whole and number == last):
                out.append(ev.Unknown(piece, raw[:cut]))
            raw = raw[cut:]

    def _overflow(self, buffer: bytes | bytearray, start: int, out: list[ev.Event]) -> int:
        """Drop the rest of a line that is too long, in pieces of the longest line."""
        limit = start + self._max_line
        cr = buffer.find(b"\r", start, limit)
        lf = buffer.find(b"\n", start, cr if cr >= 0 else limit)
        end = lf if lf >= 0 else cr
        if end >= 0:
            self._overflowing = False
        elif len(buffer) >= limit:
            end = limit
        else:
            return -1
        if end > start:
            self._made()
            out.append(ev.Overflow(end - start, self._raw(buffer, start, end)))
        return end
