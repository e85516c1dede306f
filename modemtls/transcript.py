r"""Transcripts: dialogues between a host and a modem as text files.

A neutral module: the driver and the simulator share it, and it knows neither. The format::

    # source: where the dialogue comes from
    # profile: the modem it was held with
    # evidence: manual
    > AT+CPIN?\r
    < \r\n+CPIN: READY\r\n\r\nOK\r\n
    ~ 1.25
    < \r\nRDY\r\n

``>`` is host to modem, ``<`` modem to host, ``~`` seconds; ``#`` begins a comment or a header, and there are no
trailing comments. Everything behind ``> `` or ``< `` is data: UTF-8 with the escapes ``\r \n \t \\ \xHH``.
``{N bytes redacted}`` stands for N arbitrary bytes. Consecutive lines of one direction are one stream; where a line
is cut means nothing. ``# run:`` or ``# part:`` begins a part. The whole file, in its order, is one session with one
modem.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeAlias

from modemtls.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = [
    "EVIDENCE",
    "HEADERS",
    "Chunk",
    "Comment",
    "Data",
    "Direction",
    "Entry",
    "Header",
    "Part",
    "Pause",
    "Redacted",
    "Run",
    "Transcript",
    "TranscriptError",
    "Turn",
    "Value",
    "escape",
    "join",
    "lines_of",
    "load",
    "mapping",
    "parse",
    "quote",
    "size",
    "turns",
    "unescape",
    "write",
]

Value: TypeAlias = "str | int | bool | list[Value] | dict[str, Value] | None"

# Headers with a meaning. Those of REPEATABLE may come more than once in a part; the others may not.
HEADERS = ("source", "profile", "evidence", "part", "run", "outcome", "result", "sim", "server", "any")
REPEATABLE = frozenset({"source", "result", "sim", "server", "any"})
INHERITED = frozenset({"source", "profile", "evidence", "any"})  # what a part takes over from the head of the file
MAPPINGS = frozenset({"result", "sim", "server"})
EVIDENCE = ("device", "manual", "composed")

MAX_REDACTED = 1 << 24  # a marker may ask a reader for that many bytes at most
_ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "\\": b"\\"}
_NAMED = {0x0D: "\\r", 0x0A: "\\n", 0x09: "\\t", 0x5C: "\\\\"}
_MARKER = re.compile(r"\{(\d{1,9}) bytes redacted\}")
_MARKER_BYTES = re.compile(rb"\{\d{1,9} bytes redacted\}")
_HEADER = re.compile(r"#[ \t]*([a-z][a-z-]*):[ \t]*(.*)")
_SECONDS = re.compile(r"\d{1,7}(?:\.\d{1,6})?")


MAX_SIZE: Final = 256 << 20
"""Bytes of a file that are read: some have no end."""


class TranscriptError(ConfigurationError):
    """A transcript that is not one. ``line`` counts from 1; ``name`` is the file, if there is one."""

    def __init__(self, message: str, *, line: int, name: str = "") -> None:
        super().__init__(f"{name or 'line '}{':' if name else ''}{line}: {message}")
        self.line = line
        self.name = name
        self.reason = message


class Direction(Enum):
    """Who speaks."""

    OUT = ">"  # host to modem
    IN = "<"  # modem to host


@dataclass(frozen=True, slots=True)
class Redacted:
    """So many bytes, whatever they are."""

    length: int


Chunk: TypeAlias = "bytes | Redacted"


@dataclass(frozen=True, slots=True)
class Data:
    """One data line."""

    direction: Direction
    chunks: tuple[Chunk, ...]
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Pause:
    """Seconds that pass, to a microsecond."""

    seconds: float
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Comment:
    """A line without meaning, empty ones included: its whole text."""

    text: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Header:
    """A line ``# key: text`` with one of the known keys."""

    key: str
    text: str
    line: int = field(default=0, compare=False)


Entry: TypeAlias = "Data | Pause | Comment | Header"


@dataclass(frozen=True, slots=True)
class Run:
    """A profile's program and what it is given."""

    program: str
    bindings: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side says until the other side speaks, or until time is said to pass."""

    direction: Direction
    chunks: tuple[Chunk, ...]
    pause: float = 0.0  # seconds before it
    line: int = field(default=0, compare=False)

    @property
    def length(self) -> int:
        """Bytes, redacted ones included."""
        return size(self.chunks)


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a session: its entries, and what its headers say (those of the file's head included)."""

    entries: tuple[Entry, ...]
    head: tuple[Header, ...] = field(default=(), compare=False)
    name: str = field(default="", compare=False)

    def texts(self, key: str) -> list[str]:
        """Each text given to a header, in order; inherited ones only if the part has none itself."""
        own = [e.text for e in self.entries if isinstance(e, Header) and e.key == key]
        return own or [h.text for h in self.head if h.key == key and key in INHERITED]

    def text(self, key: str) -> str | None:
        """Give a header's text, repeated headers joined by a line end."""
        return "\n".join(self.texts(key)) if self.texts(key) else None

    def mappings(self, key: str) -> list[dict[str, Value]]:
        """Each mapping given to a header."""
        return [
            mapping(e.text, line=e.line, name=self.name) for e in self.entries if isinstance(e, Header) and e.key == key
        ]

    @property
    def title(self) -> str:
        """What the part is called."""
        return self.text("part") or (self.run.program if self.run else "")

    @property
    def line(self) -> int:
        """Where it begins."""
        return self.entries[0].line if self.entries else 1

    @property
    def run(self) -> Run | None:
        """The program that must send the host's bytes of this part."""
        for entry in self.entries:
            if isinstance(entry, Header) and entry.key == "run":
                return _run(entry, self.name)
        return None

    @property
    def any(self) -> list[str]:
        """Names of fields in the modem's answers that may differ."""
        return " ".join(self.texts("any")).split()

    def turns(self) -> list[Turn]:
        """List who says what."""
        return turns(self.entries)

    @property
    def has_data(self) -> bool:
        """Whether anybody says anything."""
        return any(isinstance(e, Data) for e in self.entries)


@dataclass(frozen=True, slots=True)
class Transcript:
    """A file. The first part is the head (it may hold a dialogue); the others begin with ``# run:`` or ``# part:``."""

    parts: tuple[Part, ...]
    name: str = field(default="", compare=False)

    @property
    def entries(self) -> list[Entry]:
        """Every line."""
        return [entry for part in self.parts for entry in part.entries]

    @property
    def profile(self) -> str | None:
        """The modem that the file names, if any."""
        return next((text for part in self.parts if (text := part.text("profile"))), None)

    def turns(self) -> list[Turn]:
        """List who says what in the whole session."""
        return turns(self.entries)


# --- bytes and text


def unescape(text: str) -> tuple[Chunk, ...]:
    """Read the data of one line.

    Raises ValueError with the position for what is no escape, and for control characters that stand for themselves.
    """
    out: list[Chunk] = []
    buffer = bytearray()
    at = 0
    while at < len(text):
        char = text[at]
        if char == "\\":
            name = text[at + 1 : at + 2]
            if name in _ESCAPES:
                buffer += _ESCAPES[name]
                at += 2
            elif name == "x" and re.fullmatch("[0-9A-Fa-f]{2}", text[at + 2 : at + 4]):
                buffer.append(int(text[at + 2 : at + 4], 16))
                at += 4
            else:
                known = r"known are \r \n \t \\ \xHH"
                raise ValueError(f"column {at + 1}: no escape: {text[at : at + 2]!r} ({known})")
        elif char == "{" and (marker := _MARKER.match(text, at)):
            if int(marker[1]) > MAX_REDACTED:
                raise ValueError(f"column {at + 1}: more than {MAX_REDACTED} bytes redacted")
            if buffer:
                out.append(bytes(buffer))
                buffer.clear()
            out.append(Redacted(int(marker[1])))
            at = marker.end()
        elif (char < " " and char != "\t") or char == "\x7f":
            raise ValueError(f"column {at + 1}: a control character; write {escape(char.encode())}")
        else:
            buffer += char.encode()
            at += 1
    if buffer:
        out.append(bytes(buffer))
    return join(out)


def escape(data: bytes) -> str:
    """Write bytes so that :func:`unescape` reads them back, also when an editor cuts blanks off the line's end."""
    starts = {match.start() for match in _MARKER_BYTES.finditer(data)}  # what only looks like a redaction
    text = "".join(
        _NAMED.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F and at not in starts else f"\\x{byte:02x}")
        for at, byte in enumerate(data)
    )
    return text[:-1] + "\\x20" if text.endswith(" ") else text


def quote(chunks: Sequence[Chunk]) -> str:
    """Write chunks as the data of one line."""
    texts = [f"{{{c.length} bytes redacted}}" if isinstance(c, Redacted) else escape(c) for c in chunks]
    return "".join(texts)


def join(chunks: Iterable[Chunk]) -> tuple[Chunk, ...]:
    """Merge neighbours of one kind and drop what is empty."""
    out: list[Chunk] = []
    for chunk in chunks:
        if isinstance(chunk, Redacted):
            if chunk.length == 0:
                continue
            if out and isinstance(out[-1], Redacted):
                out[-1] = Redacted(out[-1].length + chunk.length)
                continue
        elif not chunk:
            continue
        elif out and isinstance(out[-1], bytes):
            out[-1] += chunk
            continue
        out.append(chunk)
    return tuple(out)


def size(chunks: Iterable[Chunk]) -> int:
    """How many bytes chunks stand for."""
    return sum(c.length if isinstance(c, Redacted) else len(c) for c in chunks)


def turns(entries: Iterable[Entry]) -> list[Turn]:
    """Merge consecutive lines of one direction; a pause divides, and belongs to what follows it."""
    out: list[Turn] = []
    pause, fresh = 0.0, True
    for entry in entries:
        if isinstance(entry, Pause):
            pause += entry.seconds
            fresh = True
        elif isinstance(entry, Data) and entry.chunks:
            if out and not fresh and out[-1].direction is entry.direction:
                last = out[-1]
                out[-1] = Turn(last.direction, join((*last.chunks, *entry.chunks)), last.pause, last.line)
            else:
                out.append(Turn(entry.direction, entry.chunks, pause, entry.line))
            pause, fresh = 0.0, False
    return out


# --- header values


def mapping(text: str, *, line: int = 0, name: str = "") -> dict[str, Value]:
    """Read ``{key: value, …}``: a YAML flow mapping with only true, false, null, decimal integers and strings.

    Raises TranscriptError.
    """
    import yaml  # not everybody who writes a transcript reads headers

    def convert(node: yaml.Node, depth: int = 0) -> Value:
        if depth > 8:
            raise TranscriptError("nested too deeply", line=line, name=name)
        if isinstance(node, yaml.MappingNode):
            out: dict[str, Value] = {}
            for key_node, value_node in node.value:
                key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
                if not isinstance(key, str):
                    raise TranscriptError("a key has to be a word", line=line, name=name)
                if key in out:
                    raise TranscriptError(f"{key} comes twice", line=line, name=name)
                out[key] = convert(value_node, depth + 1)
            return out
        if isinstance(node, yaml.SequenceNode):
            return [convert(item, depth + 1) for item in node.value]
        word = str(node.value)
        if getattr(node, "style", None) is None:
            if word in {"true", "false", "null", ""}:
                return {"true": True, "false": False}.get(word)
            if re.fullmatch(r"0|-?[1-9]\d*", word):
                return int(word)
        return word

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or "not a flow mapping"
        raise TranscriptError(f"{problem}: {text}", line=line, name=name) from None
    if not isinstance(node, yaml.MappingNode) or not text.lstrip().startswith("{"):
        raise TranscriptError(f"expected {{key: value, …}}, not {text!r}", line=line, name=name)
    value = convert(node)
    assert isinstance(value, dict)
    return value


def _run(header: Header, name: str) -> Run:
    program, _, rest = header.text.partition(" ")
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", program):
        raise TranscriptError(
            f"expected the name of a program and {{bindings}}, not {header.text!r}", line=header.line, name=name
        )
    return Run(program, mapping(rest, line=header.line, name=name) if rest.strip() else {})


# --- files


def parse(text: str | bytes, *, name: str = "") -> Transcript:
    """Read a transcript. Raises TranscriptError with the line."""
    if isinstance(text, bytes):
        raw = text
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            raise TranscriptError("not UTF-8", line=line, name=name) from None
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    groups: list[list[Entry]] = [[]]
    opened_by = ""
    for number, text_line in enumerate(lines, 1):
        entry = _entry(text_line.removesuffix("\r"), number, name)
        if isinstance(entry, Header) and entry.key in {"run", "part"}:
            # `# part:` names the part that the next `# run:` would begin: both together begin one.
            joined = entry.key == "run" and opened_by == "part" and not _has(groups[-1], Data)
            if not joined:
                groups.append([])
            opened_by = entry.key
        groups[-1].append(entry)
    head = tuple(e for e in groups[0] if isinstance(e, Header))
    parts = tuple(Part(tuple(group), head if index else (), name) for index, group in enumerate(groups))
    for part in parts:
        _check(part, name)
    return Transcript(parts, name)


def _has(entries: Iterable[Entry], kind: type[Entry]) -> bool:
    return any(isinstance(entry, kind) for entry in entries)


def _entry(raw: str, number: int, name: str) -> Entry:
    if raw.startswith(("> ", "< ")):
        try:
            return Data(Direction(raw[0]), unescape(raw[2:]), number)
        except ValueError as error:
            raise TranscriptError(str(error), line=number, name=name) from None
    if raw.startswith("#"):
        match = _HEADER.fullmatch(raw)
        if match and match[1] in HEADERS:
            return Header(match[1], match[2].strip(), number)
        if match and (near := difflib.get_close_matches(match[1], HEADERS, 1, 0.75)):
            raise TranscriptError(f"no header {match[1]!r}: did you mean {near[0]!r}?", line=number, name=name)
        return Comment(raw, number)
    if raw.startswith("~"):
        if not raw.startswith("~ ") or not _SECONDS.fullmatch(raw[2:].strip()):
            raise TranscriptError(f"expected '~ SECONDS', not {raw!r}", line=number, name=name)
        return Pause(float(raw[2:]), number)
    if not raw.strip():
        return Comment(raw, number)
    if raw[0] in "<>":
        raise TranscriptError(f"expected {raw[0]!r}, a space and data", line=number, name=name)
    raise TranscriptError(f"a line begins with '> ', '< ', '~ ' or '#', not with {raw[:1]!r}", line=number, name=name)


def _check(part: Part, name: str) -> None:
    seen: set[str] = set()
    for entry in part.entries:
        if not isinstance(entry, Header):
            continue
        if entry.key in seen and entry.key not in REPEATABLE:
            raise TranscriptError(f"a second '# {entry.key}:' in one part", line=entry.line, name=name)
        seen.add(entry.key)
        if not entry.text:
            raise TranscriptError(f"'# {entry.key}:' says nothing", line=entry.line, name=name)
        if entry.key == "evidence" and entry.text not in EVIDENCE:
            raise TranscriptError(
                f"evidence is one of {', '.join(EVIDENCE)}, not {entry.text!r}", line=entry.line, name=name
            )
        if entry.key in MAPPINGS:
            mapping(entry.text, line=entry.line, name=name)
        if entry.key == "run":
            _run(entry, name)
    if "outcome" in seen and "run" not in seen:
        raise TranscriptError("'# outcome:' without '# run:'", line=part.line, name=name)


def write(entries: Iterable[Entry] | Transcript) -> str:
    """Write a transcript that :func:`parse` reads back the same."""
    return "".join(_line(e) + "\n" for e in (entries.entries if isinstance(entries, Transcript) else entries))


def _line(entry: Entry) -> str:
    if isinstance(entry, Data):
        return f"{entry.direction.value} {quote(entry.chunks)}"
    if isinstance(entry, Pause):
        return "~ " + (f"{entry.seconds:.6f}".rstrip("0").rstrip(".") or "0")
    if isinstance(entry, Header):
        return f"# {entry.key}: {entry.text}"
    return entry.text


def load(path: Path) -> Transcript:
    """Read a file. Raises TranscriptError, and OSError as opening a file does."""
    with path.open("rb") as file:
        data = file.read(MAX_SIZE + 1)
    if len(data) > MAX_SIZE:
        raise TranscriptError(f"larger than {MAX_SIZE >> 20} MiB", line=1, name=str(path))
    return parse(data, name=str(path))


def lines_of(direction: Direction, data: bytes, *, width: int = 120) -> Iterator[Data]:
    """Cut bytes into data lines of about a width, at line feeds where there are any."""
    piece = b""
    for line in data.splitlines(keepends=True) if data.count(b"\n") else [data]:
        if piece and len(piece) + len(line) > width:
            yield Data(direction, (piece,))
            piece = b""
        piece += line
        while len(piece) > 4 * width:
            yield Data(direction, (piece[: 4 * width],))
            piece = piece[4 * width :]
    if piece:
        yield Data(direction, (piece,))
