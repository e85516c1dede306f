"""Tell a transcript as a story: who says what, what it means, and which bytes belong to nothing.

A byte is accounted for if it belongs to an echo, a command, its answer, a prompt, a payload, or an unsolicited result
that is known or at least well framed (CR LF, printable text, CR LF). What is unknown but well framed is listed.

Of a command that nobody knows, the dialogue itself shows what follows: a sign that asks for a payload, by what the host
says next; a payload in its answer, by the number in front of it; data behind its OK, since they are no command and not
refused.
"""

from __future__ import annotations

import bisect
import re
import sys
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from modemtls.at import events as ev
from modemtls.at.codec import Codec
from modemtls.at.exchange import Exchange, Expected
from modemtls.at.grammar import Outcome, PromptRule
from modemtls.dialogue.counted import counted
from modemtls.dialogue.vocabulary import ANYTHING, STANDARD, UNKNOWN_FINALS
from modemtls.transcript import Data, Direction, Redacted, escape, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modemtls.dialogue.vocabulary import Awaited, Form, Vocabulary
    from modemtls.transcript import Transcript, Turn

__all__ = ["Remark", "Rest", "Story", "explain"]

# A command line: V.250 5.2.1, and what follows AT up to the terminator. Some modems take PEM in quotes, as it is.
_BODY: Final = rb'(?>"-----BEGIN [^"]*"|[^\r\n\x00-\x1f])*'
_COMMAND: Final = re.compile(rb"[\r\n]*(A[Tt/]|a[tT/])(" + _BODY + rb")(\r\n?|\n)")
_PARTIAL: Final = re.compile(rb"[\r\n]*(?:A|a)(?:[Tt/]" + _BODY + rb'(?:"-----BEGIN [^"]*)?)?\Z')
_FRAMED: Final = re.compile(rb"(?:\r\n)+[\x20-\x7e]+\r\n")
# The end of a data phase: whole lines, the last one a final result.
_DATA_END: Final = re.compile(
    rb"(?:\r\n[^\r\n]+)?(?:\r\n)+(?:OK|ERROR|NO CARRIER|\+CM[ES] ERROR: ?[^\r\n]*)\r\n\Z", re.DOTALL
)
# A prompt that the host's next words answer, one sign; an unsolicited result may come between.
_PROMPT_END: Final = re.compile(rb"(?:\A|[\r\n])([!-/:-@\[-`{-~]) ?(?:\r\n[\x20-\x7e]+\r\n)*\Z")
# A command behind what a modem drops, and the answer that shows that it did.
_DROPPED: Final = re.compile(rb"([\x20-\x7e]+?)" + _COMMAND.pattern)
_TAKEN: Final = re.compile(rb"(?:(?:\r\n)+[\x20-\x7e]+)*(?:\r\n)+OK\r\n")
_REFUSED: Final = re.compile(rb"(?:\r\n)+(?:ERROR|\+CM[ES] ERROR:)")
_LINES: Final = re.compile(rb"(?:(?:\r\n)+[\x20-\x7e]+\r\n)+")
_ESCAPE: Final = b"+++"  # V.250 6.2.9 leaves it to the modem; this is what all of them took over
_CTRL_Z, _ESC = 0x1A, 0x1B  # 27.005 3.5.1: end of input, cancel
SHOWN: Final = 60  # bytes of a payload that are shown


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing that was said. ``kind``: command, echo, answer, result, prompt, payload, notice, escape."""

    line: int
    direction: Direction
    kind: str
    text: str
    meaning: str = ""
    known: bool = True


@dataclass(frozen=True, slots=True)
class Rest:
    """Bytes that belong to nothing."""

    line: int
    direction: Direction
    data: bytes


@dataclass(slots=True)
class Story:
    """What a transcript says. It is ``complete`` if every byte is accounted for."""

    vocabulary: str
    remarks: list[Remark] = field(default_factory=list)
    rest: list[Rest] = field(default_factory=list)
    told: dict[Direction, int] = field(default_factory=dict)
    """Bytes of each side that the remarks and the rest are about: all there are."""

    @property
    def complete(self) -> bool:
        """Whether no byte remains."""
        return not self.rest

    @property
    def unknown_commands(self) -> list[str]:
        """Commands that nobody knows, each once."""
        return _once(r.text for r in self.remarks if r.kind == "command" and not r.known)

    @property
    def unknown_notices(self) -> list[str]:
        """Unsolicited results that nobody knows, each once."""
        return _once(r.text for r in self.remarks if r.kind == "notice" and not r.known)

    def lines(self) -> list[str]:
        """Return the story as text."""
        out = [f"{r.line:5} {r.direction.value} {r.kind:8} {r.text}" + (f"   {r.meaning}" if r.meaning else "")
               for r in self.remarks]  # fmt: skip
        for title, texts in (("command", self.unknown_commands), ("notice", self.unknown_notices)):
            out += [f"unknown {title}: {text}" for text in texts]
        for rest in self.rest:
            who = "the host" if rest.direction is Direction.OUT else "the modem"
            count = len(rest.data)
            shown = escape(rest.data[:SHOWN]) + ("…" if count > SHOWN else "")
            out.append(f"line {rest.line}: {count} byte{'s' * (count != 1)} of {who} belong to nothing: {shown}")
        return out


def _once(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def explain(transcript: Transcript, vocabulary: Vocabulary = STANDARD) -> Story:
    """Tell what a transcript says, in the terms of a vocabulary."""
    return _Reader(vocabulary).read(transcript)


def _bytes(turn: Turn, filler: bytes = b"x") -> bytes:
    return b"".join(filler * c.length if isinstance(c, Redacted) else c for c in turn.chunks)


@dataclass(slots=True)
class _Flight:
    """A command whose answer is coming."""

    line: bytes
    form: Form | None
    values: Mapping[str, str]


class _Reader:
    """Reads a dialogue turn by turn."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._words = vocabulary
        self._story = Story(vocabulary.name)
        self._codec = Codec(vocabulary.grammar, keep_raw=True)
        self._flight: _Flight | None = None
        self._queue: deque[_Flight] = deque()
        self._awaited: dict[ev.WatchKey, Awaited] = {}
        self._typed = bytearray()  # a command line that has not ended
        self._echoed = 0  # how much of it has come back
        self._payload: int | None = None  # bytes still to come, None: no payload is due, -1: until its end mark
        self._sent = bytearray()  # of the payload
        self._data_mode = False
        self._asked = False  # whether what was answered last, with OK, is a command that nobody knows
        self._announced = -1  # as many bytes as it says
        self._writing = False  # whether what the host says goes to somebody else, until it is a command
        self._starts: dict[Direction, list[tuple[int, int]]] = {}  # where each line's bytes begin in the stream
        self._at = dict.fromkeys(Direction, 0)  # bytes told so far

    # -- the two sides -----------------------------------------------------------------------------------------------

    def read(self, transcript: Transcript) -> Story:
        """Read all of it."""
        for direction in Direction:
            at, self._starts[direction] = 0, []
            for entry in transcript.entries:
                if isinstance(entry, Data) and entry.direction is direction and entry.chunks:
                    self._starts[direction].append((at, entry.line))
                    at += size(entry.chunks)
        turns = transcript.turns()
        for number, turn in enumerate(turns):
            # Two turns of one direction never follow each other.
            reply = _bytes(turns[number + 1]) if number + 1 < len(turns) else b""
            if turn.direction is Direction.OUT:
                self._host(turn, reply)
            else:
                self._modem(_bytes(turn), reply)
        self._leftovers()
        self._story.told = dict(self._at)
        return self._story

    def _tell(self, direction: Direction, raw: bytes) -> int:
        """Count bytes as told. Return the line in which their text begins."""
        blank = len(raw) - len(raw.lstrip(b" \r\n"))
        at = self._at[direction] + (blank if blank < len(raw) else 0)
        self._at[direction] += len(raw)
        starts = self._starts[direction]
        return starts[max(0, bisect.bisect_right(starts, (at, sys.maxsize)) - 1)][1] if starts else 0

    def _say(
        self, direction: Direction, kind: str, raw: bytes, text: bytes | str, meaning: str = "", *, known: bool = True
    ) -> None:
        shown = text if isinstance(text, str) else escape(text)
        self._story.remarks.append(Remark(self._tell(direction, raw), direction, kind, shown, meaning, known))

    def _remains(self, direction: Direction, data: bytes) -> None:
        line = self._tell(direction, data)
        if not data.strip(b"\r\n"):
            return
        rest = self._story.rest
        if rest and rest[-1].direction is direction and rest[-1].line == line:
            rest[-1] = Rest(line, direction, rest[-1].data + data)
        else:
            rest.append(Rest(line, direction, data))

    def _host(self, turn: Turn, reply: bytes) -> None:
        data = _bytes(turn)
        if self._data_mode and not self._typed:
            if data == _ESCAPE:
                self._say(Direction.OUT, "escape", data, data)
            else:
                self._say_payload(Direction.OUT, data)
            return
        data = self._host_payload(data)
        if self._writes(data, reply):
            return
        redacted = any(isinstance(c, Redacted) for c in turn.chunks)
        self._typed += data
        while self._typed:
            match = _COMMAND.match(self._typed)
            dropped = b""
            if match is None and _TAKEN.match(reply) and (found := _DROPPED.fullmatch(self._typed)):
                dropped = bytes(found[1])
                match = _COMMAND.match(self._typed, len(dropped))
            if match is None:
                break
            line = bytes(match[1] + match[2])
            unechoed = line[self._echoed :] if match.start(1) == 0 else dropped + line
            raw = dropped + bytes(match[0])
            del self._typed[: match.end()]
            self._echoed = 0
            self._command(raw, line, unechoed, turn if redacted else None, dropped)
        if self._typed and not _PARTIAL.match(self._typed):
            self._remains(Direction.OUT, bytes(self._typed))
            self._typed.clear()
            self._echoed = 0

    def _writes(self, data: bytes, reply: bytes) -> bool:
        """Take what the host writes behind the OK of a command that nobody knows: no command, and not refused.

        Of as many bytes as that command announces the last ones are no mark of a data phase's end.
        """
        flight = self._flight
        if not data or self._typed or not (self._writing or (self._asked and flight is None)):
            return False
        due = self._announced == len(data)
        doubtful = not (self._writing or due) and (_PARTIAL.match(data) or _REFUSED.match(reply))
        if doubtful or _COMMAND.match(data):
            self._writing = False
            return False
        if not self._writing:
            self._writing = True
            self._codec.begin(Exchange(line=b"", lines=(), finals=UNKNOWN_FINALS))
        self._asked = False
        text = data.removesuffix(_ESCAPE) if not due else data
        if text:
            self._say_payload(Direction.OUT, text)
        if len(text) < len(data):
            self._say(Direction.OUT, "escape", data[len(text) :], data[len(text) :])
        return True

    def _host_payload(self, data: bytes) -> bytes:
        """Take what belongs to a payload that is due; return the rest."""
        if self._payload is None or not data:
            return data
        if self._payload >= 0:
            taken, rest = data[: self._payload], data[self._payload :]
            self._payload -= len(taken)
            done = self._payload == 0
        else:
            end = self._flight.form.end if self._flight and self._flight.form and self._flight.form.end else b""
            marks = [at for at in ([data.find(end)] if end else [data.find(_CTRL_Z), data.find(_ESC)]) if at >= 0]
            cut = min(marks) + (len(end) or 1) if marks else len(data)
            taken, rest, done = data[:cut], data[cut:], bool(marks)
        self._sent += taken
        self._say_payload(Direction.OUT, taken)
        if done:
            self._payload = None
            self._codec.payload_sent(bytes(self._sent))
        return rest

    def _say_payload(self, direction: Direction, data: bytes, *, told: bool = False, digits: bool = False) -> None:
        shown = escape(data[:SHOWN]) + ("…" if len(data) > SHOWN else "")
        if self._flight and self._flight.form and self._flight.form.payload_secret and direction is Direction.OUT:
            shown = "***"
        size = len(data) // 2 if digits else len(data)
        count = f"{size} byte{'s' * (size != 1)}{', in digits' * digits}"
        if told:
            self._story.remarks.append(Remark(self._story.remarks[-1].line, direction, "payload", shown, count))
        else:
            self._say(direction, "payload", data, shown, count)

    # -- commands ----------------------------------------------------------------------------------------------------

    def _command(self, raw: bytes, line: bytes, unechoed: bytes, redacted: Turn | None, dropped: bytes) -> None:
        found = self._words.find(line)
        if found is None and redacted is not None:
            for filler in (b"1", b"A"):
                other = _bytes(redacted, filler).strip(b"\r\n")
                found = found or self._words.find(other) or self._words.find(_quoted(redacted))
        form, values = found or (None, {})
        if redacted is not None:
            shown = "".join(
                f"{{{c.length} bytes redacted}}" if isinstance(c, Redacted) else escape(c) for c in redacted.chunks
            ).removesuffix("\\r")
        else:
            shown = escape(dropped + line)
            for name in form.secrets if form else ():
                if values.get(name):
                    shown = shown.replace(escape(values[name].encode("utf-8")), "***")
        told = ", ".join(
            f"{name} {'***' if form and name in form.secrets else value}" for name, value in values.items() if value
        )
        meaning = f"{form.name}{': ' if told else ''}{told}" if form else ""
        if dropped:
            meaning += f"{'; ' * bool(meaning)}what stands in front is dropped"
        self._asked = self._writing = False
        self._say(Direction.OUT, "command", raw, shown, meaning, known=form is not None)
        self._queue.append(_Flight(unechoed, form, values))
        if self._flight is None or len(self._queue) > 1:
            self._next()
        else:  # the host did not wait: the command before stays without an answer
            self._codec.end()
            self._next()

    def _next(self) -> None:
        if not self._queue or (self._flight is not None and len(self._queue) > 1):
            return
        self._flight = flight = self._queue.popleft()
        self._payload = None
        self._sent.clear()
        form = flight.form
        if form is not None:
            try:
                lines = tuple(Expected(p, flight.values, "many") for p in form.lines)
                self._codec.begin(
                    Exchange(line=flight.line, lines=(*lines, ANYTHING), finals=form.finals, prompt=form.prompt)
                )
                for awaited in form.awaited:
                    self._awaited[self._codec.watch(awaited.pattern, flight.values)] = awaited
                return
            except KeyError:  # a value that an earlier answer gave: read it as an unknown command
                flight.form = None
        self._codec.begin(Exchange(line=flight.line, lines=(ANYTHING,), finals=UNKNOWN_FINALS))

    # -- the modem ---------------------------------------------------------------------------------------------------

    def _modem(self, data: bytes, said: bytes) -> None:
        if self._typed and self._echoed < len(self._typed):
            due = bytes(self._typed[self._echoed :])
            count = next((n for n in range(min(len(due), len(data)), 0, -1) if data[:n] == due[:n]), 0)
            if count:
                self._echoed += count
                self._say(Direction.IN, "echo", data[:count], data[:count])
                data = data[count:]
        if self._data_mode:
            self._received(data)
            return
        if self._writing and not _LINES.fullmatch(data):
            if data == _ESCAPE:
                self._say(Direction.IN, "escape", data, data)
            else:
                self._say_payload(Direction.IN, data)
            return
        flight = self._flight
        if flight is not None and (flight.form is None or flight.form.prompt is None) and said:
            # Unless what the host says next is a command, and not as long as the payload that was announced.
            payload = not _COMMAND.match(said) or len(said) == self._guess(flight.line)
            sign = _PROMPT_END.search(data) if payload else None
            if sign:
                # Nobody knows the command, but its answer asks for something and the host gives it.
                prompt = PromptRule(sign[1])
                self._codec.begin(Exchange(line=flight.line, lines=(ANYTHING,), finals=UNKNOWN_FINALS, prompt=prompt))
        data = self._counted(data)
        if b"CONNECT" not in data:
            self._events(self._codec.feed(data))
            return
        for at in range(len(data)):
            if self._events(self._codec.feed(data[at : at + 1])):
                self._received(data[at + 1 :])
                return

    def _counted(self, data: bytes) -> bytes:
        """Take counted payloads out of what nobody knows, if there clearly are some; return the rest.

        Of what somebody knows to have a payload, only those in digits: a modem can be set to write them.
        """
        at = 0
        for one in counted(data):
            if one.start < at:
                continue
            if b"CONNECT" in data[at : one.start]:
                break  # what follows may be something else
            self._events(self._codec.feed(data[at : one.start]))
            at = one.start
            flight = self._flight
            form = flight.form if flight is not None else None
            if form is not None:
                likely = one.digits and any(pattern.payload is not None for pattern in form.lines)
            else:
                likely = one.digits or not one.inline or flight is not None
            begun = self._codec.pending if one.inline else self._codec.pending.strip(b"\r\n")
            if begun or not likely:
                continue
            if one.inline:
                header = data[at : one.payload]
                kind = "notice" if flight is None else "answer"
                self._say(Direction.IN, kind, header, header.strip(b"\r\n"), known=flight is not None)
            else:
                self._events(self._codec.feed(data[at : one.payload]))
                at = one.payload
                if self._codec.in_payload:
                    continue  # the profile says so
            self._say_payload(Direction.IN, data[one.payload : one.stop], digits=one.digits)
            self._tell(Direction.IN, data[one.stop : one.end])
            at = one.end
        return data[at:]

    def _received(self, data: bytes) -> None:
        """Take what comes in a data phase: raw, until whole lines end it."""
        end = _DATA_END.search(data)
        payload = data[: end.start()] if end else data
        if payload:
            self._say_payload(Direction.IN, payload)
        if end:
            self._data_mode = False
            self._codec.begin(Exchange(line=b"", lines=(ANYTHING,), finals=UNKNOWN_FINALS))
            self._events(self._codec.feed(data[end.start() :]))

    def _events(self, events: list[ev.Event]) -> bool:
        """Take events; True if a data phase has begun."""
        for event in events:
            self._event(event)
        return self._data_mode

    def _event(self, event: ev.Event) -> None:
        raw = event.raw
        if isinstance(event, ev.Echo):
            self._say(Direction.IN, "echo", raw, raw.lstrip(b"\r\n"))
        elif isinstance(event, ev.PayloadEcho):
            self._say(Direction.IN, "echo", raw, f"{len(raw)} bytes of the payload")
        elif isinstance(event, ev.Prompt):
            self._say(Direction.IN, "prompt", raw, raw.strip(b"\r\n"))
            self._prompted()
        elif isinstance(event, ev.Info):
            if event.payload is None and not _printable(event.text):
                self._remains(Direction.IN, raw)
            else:
                self._say(Direction.IN, "answer", raw, event.text, self._code(event.values))
                if event.payload:
                    self._say_payload(Direction.IN, event.payload, told=True)
        elif isinstance(event, ev.Final):
            self._final(event)
        elif isinstance(event, ev.Unsolicited):
            self._notice(event)
        elif isinstance(event, ev.Unknown) and _FRAMED.fullmatch(raw):
            self._say(Direction.IN, "notice", raw, event.text, "nobody knows it", known=False)
        else:
            self._remains(Direction.IN, raw)

    def _prompted(self) -> None:
        flight = self._flight
        if flight is None:
            return
        self._sent.clear()
        if flight.form is not None and flight.form.size:
            self._payload = int(flight.values[flight.form.size])
        else:
            self._payload = self._guess(flight.line)

    @staticmethod
    def _guess(line: bytes) -> int:
        """Return how many bytes an unknown command announces: its last plain number; -1 if it has none."""
        numbers = re.findall(rb"[=,](\d+)(?=,|\Z)", line)
        return int(numbers[-1]) if len(numbers) > 1 else -1

    def _final(self, event: ev.Final) -> None:
        if event.missing:
            self._codec.end()
        values = event.values
        meaning = ""
        if event.rule.code_field is not None:
            form = self._flight.form if self._flight else None
            code = values.get(event.rule.code_field)
            spaces = (*(form.namespaces if form and event.rule.namespace == "cme" else ()), event.rule.namespace)
            meaning = next((text for space in spaces if (text := self._words.error(space, code))), "")
        self._say(Direction.IN, "result", event.raw, event.text, meaning)
        if event.text.startswith(b"CONNECT") and event.rule in UNKNOWN_FINALS and b" OK" not in event.text:
            self._data_mode = b"FAIL" not in event.text
        self._asked = self._flight is not None and self._flight.form is None and event.rule.outcome is Outcome.OK
        self._announced = self._guess(self._flight.line) if self._flight is not None else -1
        self._writing = False
        self._payload = None
        self._flight = None
        self._next()

    def _notice(self, event: ev.Unsolicited) -> None:
        meaning = ""
        for key, values in event.watches:
            awaited = self._awaited.pop(key, None)
            self._codec.unwatch(key)
            if awaited is not None and awaited.code is not None:
                meaning = self._words.error(awaited.code.namespace, values.get(awaited.code.field, ""))
        if not meaning and event.rule is not None:
            meaning = self._words.meanings.get(event.rule.pattern.source, event.rule.means)
        self._say(Direction.IN, "notice", event.raw, event.text, meaning)
        if event.payload:
            self._say_payload(Direction.IN, event.payload, told=True)

    def _code(self, values: Mapping[str, object]) -> str:
        form = self._flight.form if self._flight else None
        found = [
            self._words.error(c.namespace, values[c.field]) for c in (form.codes if form else ()) if c.field in values
        ]
        return "; ".join(text for text in found if text)

    def _leftovers(self) -> None:
        if self._codec.in_payload:
            for event in self._codec.abandon():
                self._remains(Direction.IN, event.raw)
        self._remains(Direction.IN, self._codec.pending)
        self._remains(Direction.OUT, bytes(self._typed))


def _printable(text: bytes) -> bool:
    return all(byte >= 0x20 or byte == 0x09 for byte in text)


def _quoted(turn: Turn) -> bytes:
    """Return the turn with every redacted stretch as a quoted text of its length."""
    return b"".join(
        (b'"' + b"1" * (c.length - 2) + b'"' if c.length >= 2 else b"1") if isinstance(c, Redacted) else c
        for c in turn.chunks
    ).strip(b"\r\n")
