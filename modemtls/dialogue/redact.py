"""Keep secrets out of what is written down, whoever spoke them.

A dialogue that somebody else holds is seen byte by byte and in both directions: a PIN typed character by character
comes back as echo in between. So nothing is passed on before the line it belongs to is complete; the order of what
both sides said is kept.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from modemtls.dialogue.parameters import (
    STANDARD_RULES,
    Rules,
    carries,
    commands,
    last_command,
    secret_spans,
    unfinished,
)
from modemtls.transcript import Chunk, Direction, Redacted, join

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from modemtls.dialogue.parameters import Rule

__all__ = ["PayloadRule", "Piece", "Redactor"]

# Where there is no command: a name in quotes that says that a secret follows, as in JSON.
_TELLING: Final = re.compile(
    rb'(?i)"(?:[a-z_/]*_)?(?:psk|pwd|passwd|password|passphrase|secret|userpass|token)" *[,=:] *(.+)', re.DOTALL
)

# What passes through a modem's own HTTP client, or through a connection: RFC 9110, 11.6.2 and 11.7.2; RFC 6265, 4;
# RFC 3986, 3.2.1; forms and queries as browsers send them.
_PASSING: Final = (
    re.compile(rb"(?i)^ *(?:(?:proxy-)?authorization|(?:set-)?cookie) *: *(.+)", re.DOTALL),
    re.compile(rb"[a-z]://[^/\s:@\"]*:([^/\s@\"]+)@"),
    re.compile(rb"(?i)(?:^|[?&\s])[a-z_.-]*(?:psk|pwd|passwd|password|passphrase|secret|token)=([^&\s\"]+)"),
)

# RFC 7468, 2, though bytes of it were lost on the line; and where all of it was lost, the key itself: PKCS #8, PKCS #1
# or SEC 1 in base64, see _KEY_DER.
_KEY_MARK: Final = re.compile(
    rb"-{3,} ?(?!(?:EN?D?|ND) )(?=[A-Z ]*(?:BEGIN|KEY))"
    rb"(?![A-Z ]*(?:CERT|TIFIC|PUBL|BLIC|CRL|REQUEST|PARAM))[A-Z ]+-{3,}"
)
_KEY_HEAD: Final = re.compile(
    rb"\bM(?:I[I-L][A-Za-z0-9+/]{2}[AQgw]IBA|I[E-H][A-Za-z0-9+/]AgE[AB]|[B-H][A-Za-z0-9+/]CAQ[AE])"
)
_KEY_END: Final = re.compile(rb"-{3,} ?[A-Z ]+-{3,}")
_PUBLIC: Final = re.compile(rb"-----(BEGIN|END) [A-Z0-9 ]+-----")
_NO_KEY: Final = re.compile(rb"\s*AT.*[^A-Z0-9+/=\s].*", re.IGNORECASE | re.DOTALL)  # a command that is no base64
# DER of PKCS #1, PKCS #8 and SEC 1 private keys: a SEQUENCE that begins with the INTEGER 0 or 1. Certificates begin
# with another SEQUENCE.
_KEY_DER: Final = re.compile(rb"\x30(?:\x82(..)|\x81(.)|([\x10-\x7f]))\x02\x01[\x00\x01][\x02\x04\x30]", re.DOTALL)
MAX_KEY: Final = 16384  # bytes after which an unfinished key is taken for something else
MAX_LINE: Final = 4096  # bytes after which an unfinished line is passed on


@dataclass(frozen=True, slots=True)
class PayloadRule:
    """After a command that matches, so many bytes of the host are a secret.

    ``size`` is the group with the number of bytes; without it the payload lasts until ``end``.
    """

    command: re.Pattern[bytes]
    size: str = ""
    end: bytes = b"\x1a"


# Answers in which there is no room for a secret. Standard results (V.250 table 2; 27.007 9.2, with text; 27.005 3.2.5),
# prompts, what +CPIN tells (27.007 8.3), and small numbers.
_HARMLESS: Final = re.compile(
    rb"OK|ERROR|CONNECT(?: \d+)?|NO CARRIER|NO ANSWER|NO DIALTONE|BUSY|RING|SEND OK|SEND FAIL|>|"
    rb"\+CM[ES] ERROR: ?(?:\d{1,3}|[A-Za-z][A-Za-z ,.()/-]*)|"
    rb"\+CPIN: ?(?:READY|(?:SIM|PH-[A-Z]+) (?:PIN|PUK)2?)|"
    rb"[+^%#$*!&][A-Z][A-Z0-9 _/.-]*: ?-?\d{1,3}(?:, ?-?\d{0,3})*"
)
_FINAL: Final = re.compile(rb"OK|ERROR|\+CM[ES] ERROR:.*", re.DOTALL)
_ATTENTION: Final = re.compile(rb"[\s\0]*A\s*[T/]", re.IGNORECASE)
_PATIENCE: Final = 3  # commands after which an answer is not waited for any more


@dataclass(frozen=True, slots=True)
class Piece:
    """What one side said in one go, secrets out."""

    time: float
    direction: Direction
    chunks: tuple[Chunk, ...]


@dataclass(slots=True)
class _Side:
    """One direction's stream: ``start`` counts the bytes decided so far, ``pending`` those that are not."""

    pending: bytearray = field(default_factory=bytearray)
    start: int = 0
    spans: deque[tuple[int, int]] = field(default_factory=deque)  # secret ranges, in bytes of the stream
    key: int = 0  # bytes of a PEM key seen so far, 0 outside one
    public: bool = False  # within PEM of something else
    payload: int = 0  # bytes of a secret payload still to come; -1 until its end mark
    end: bytes = b""
    head: bytes = b""  # where the line is passed on in parts: the command that goes on in the next


class _Window:
    """The time in which any line may be a secret that lost a byte on its way.

    It lasts from a command that says one, or asks for one, until the host goes on after the answer. Lines that are
    known to be something else are shown all the same.
    """

    def __init__(self, shapes: Iterable[re.Pattern[bytes]]) -> None:
        self._shapes = tuple(shapes)
        self._left = 0  # commands until it closes at the latest
        self._answered = False
        self._said = b""
        self._open = False  # it said so within quotation marks that were not closed

    def command(self, line: bytes, *, carries: bool) -> None:
        """Take a command of the host."""
        if carries:
            self._begin(line)
            self._open = bool(line.count(b'"') % 2)
            return
        self._open = False
        if self._left:
            self._left = 0 if self._answered else self._left - 1

    def _begin(self, said: bytes) -> None:
        self._left, self._answered, self._said, self._open = _PATIENCE, False, said, False

    def hides(self, line: bytes, direction: Direction) -> bool:
        """Whether a line, which is no command, is hidden."""
        text = line.strip(b" \0")
        if direction is Direction.OUT and self._open and text.count(b'"') % 2:
            self._begin(
                b""
            )  # the rest of it, behind a line end that was none: whatever the modem said of the first part
            return True
        if not self._left or not text:
            return False
        if direction is Direction.OUT:
            self._left = 0 if self._answered else self._left
            return self._left > 0
        self._answered |= _FINAL.fullmatch(text) is not None
        return not (
            line == self._said
            or _HARMLESS.fullmatch(text) is not None
            or any(shape.fullmatch(text) is not None for shape in self._shapes)
        )


class Redactor:
    """Takes a dialogue piece by piece, gives it back without secrets.

    ``rules`` add to :data:`STANDARD_RULES`. ``patterns``: whatever else is a secret in a line; the groups are.
    ``shapes``: lines of a modem that can be told from a torn one; with a secret in them, ``rules`` know where.
    """

    def __init__(
        self,
        patterns: Sequence[re.Pattern[bytes]] = (),
        payloads: Sequence[PayloadRule] = (),
        rules: Iterable[Rule] = (),
        shapes: Iterable[re.Pattern[bytes]] = (),
    ) -> None:
        self._patterns = tuple(patterns)
        self._payloads = tuple(payloads)
        self._rules = Rules((*STANDARD_RULES, *rules))
        self._window = _Window(shapes)
        self._sides = {direction: _Side() for direction in Direction}
        self._queue: deque[tuple[float, Direction, int, bytes]] = deque()
        self._total = dict.fromkeys(Direction, 0)

    def feed(self, time: float, direction: Direction, data: bytes, *, explained: bool = False) -> list[Piece]:
        """Take what one side said; return what may be written by now.

        ``explained``: somebody who knows what was asked has hidden what nothing explains.
        """
        if data:
            self._queue.append((time, direction, self._total[direction], data))
            self._total[direction] += len(data)
            self._sides[direction].pending += data
            self._decide(direction, final=False, explained=explained)
        return list(self._ready())

    def flush(self, *, explained: bool = False) -> list[Piece]:
        """Return the rest: the dialogue is over. ``explained`` as in :meth:`feed`."""
        for direction in Direction:
            self._decide(direction, final=True, explained=explained)
        return list(self._ready())

    def masked(self, data: bytes, mask: bytes) -> bytes:
        """Return what a host said with ``mask`` (one byte) for every byte of its secrets."""
        pieces = [*self.feed(0.0, Direction.OUT, data), *self.flush()]
        return b"".join(
            mask * chunk.length if isinstance(chunk, Redacted) else chunk for piece in pieces for chunk in piece.chunks
        )

    def _decide(self, direction: Direction, *, final: bool, explained: bool) -> None:
        side = self._sides[direction]
        while side.pending:
            if side.payload:
                if not self._secret_payload(side):
                    return
                continue
            der = _KEY_DER.match(side.pending) if direction is Direction.OUT else None
            if der:
                length = int.from_bytes(next(g for g in der.groups() if g is not None), "big")
                side.payload = length + 2 + (2 if der[1] else 1 if der[2] else 0)
                continue
            match = re.search(rb"[\r\n\x1a]+", side.pending)
            if match and match.start() <= MAX_LINE:
                self._line(direction, side, match.start(), match.end(), explained=explained)
            elif len(side.pending) > MAX_LINE:
                self._line(direction, side, MAX_LINE, MAX_LINE, complete=False, explained=explained)
            elif final:
                self._line(direction, side, len(side.pending), len(side.pending), explained=explained)
            else:
                return

    @staticmethod
    def _secret_payload(side: _Side) -> bool:
        """Black out what has come of a secret payload; False if all that was there is gone."""
        size = min(len(side.pending), side.payload) if side.payload > 0 else len(side.pending)
        if side.payload < 0:
            at = side.pending.find(side.end)
            if at >= 0:
                size, side.payload = at, 0
        else:
            side.payload -= size
        if size:
            side.spans.append((side.start, side.start + size))
            side.start += size
            del side.pending[:size]
        return bool(side.pending)

    def _line(
        self, direction: Direction, side: _Side, text_end: int, end: int, *, explained: bool, complete: bool = True
    ) -> None:
        line = bytes(side.pending[:text_end])
        spans = self._key_spans(side, line) or self._spans(side, line)
        if not explained and self._torn(direction, side.head + line):
            spans = [(0, len(line))]
        for low, high in spans:
            side.spans.append((side.start + low, side.start + high))
        side.start += end
        del side.pending[:end]
        side.head = b"" if complete else unfinished(side.head + line)
        if direction is Direction.OUT and complete:
            self._expect_payload(side, line)

    def _torn(self, direction: Direction, line: bytes) -> bool:
        """Whether a line may be a secret of which nothing tells where it is."""
        if direction is Direction.OUT and (_ATTENTION.match(line) or next(commands(line), None) is not None):
            self._window.command(line, carries=self._carries(line))
            return False
        return self._window.hides(line, direction)

    def _carries(self, line: bytes) -> bool:
        forms = dict.fromkeys((line.strip(), last_command(line)))
        return carries(line, self._rules) or any(
            rule.command.fullmatch(form) for form in forms for rule in self._payloads
        )

    def _expect_payload(self, side: _Side, line: bytes) -> None:
        """Find out whether a secret payload follows; only the last command of a line can have one."""
        for form in dict.fromkeys((line.strip(b"\r\n"), last_command(line))):
            for rule in self._payloads:
                found = rule.command.fullmatch(form)
                if found:
                    side.payload = int(found[rule.size]) if rule.size else -1
                    side.end = rule.end

    @staticmethod
    def _key_spans(side: _Side, line: bytes) -> list[tuple[int, int]]:
        low = 0
        behind = 0
        if side.key and _NO_KEY.fullmatch(line):
            side.key = 0
        if not side.key:
            begin = _KEY_MARK.search(line) or (None if side.public else _KEY_HEAD.search(line))
            if not begin:
                for mark in _PUBLIC.finditer(line):
                    side.public = mark[1] == b"BEGIN"
                return []
            side.public = False
            low, behind = begin.span()
        finish = _KEY_END.search(line, behind)
        high = finish.end() if finish else len(line)
        side.key = 0 if finish or side.key > MAX_KEY else side.key + len(line) + 1
        return [(low, high)] if high > low else [(low, low)]

    def _spans(self, side: _Side, line: bytes) -> list[tuple[int, int]]:
        known = len(side.head)
        spans = [(max(low - known, 0), high - known) for low, high in secret_spans(side.head + line, self._rules)]
        patterns = [*self._patterns, *_PASSING]
        if next(commands(line), None) is None:
            patterns.append(_TELLING)
        spans += [
            match.span(group)
            for pattern in patterns
            for match in pattern.finditer(line)
            for group in range(1, pattern.groups + 1)
        ]
        return sorted(span for span in spans if span[1] > span[0])  # they may overlap

    def _ready(self) -> Iterator[Piece]:
        while self._queue:
            time, direction, offset, data = self._queue[0]
            side = self._sides[direction]
            if offset + len(data) > side.start:
                return
            self._queue.popleft()
            yield Piece(time, direction, join(_cut(data, offset, side.spans)))
            while side.spans and side.spans[0][1] <= offset + len(data):
                side.spans.popleft()


def _cut(data: bytes, offset: int, spans: Iterable[tuple[int, int]]) -> Iterator[Chunk]:
    at = offset
    end = offset + len(data)
    for low, high in spans:
        low, high = max(low, at), min(high, end)  # noqa: PLW2901 - clipped to this piece
        if low >= high:
            continue
        yield data[at - offset : low - offset]
        yield Redacted(high - low)
        at = high
    yield data[at - offset :]
