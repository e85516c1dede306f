r"""Patterns of lines that a modem sends: literal text with typed placeholders.

A pattern is written as the line appears, without its line ends::

    +XSSL: "recv",{socket:int}
    +CEREG: {n:int},{stat:int}{rest:more}
    +XRECV: {length:int}\r\n{data:raw(length)}
    +XRECV: {length:int}\r\n{data:raw(length)}\r\n\r\n
    +XRECV: {length:int},"{data:raw(length)}"

What is written behind a payload must follow it, or bytes of it were lost on the line: see :class:`PayloadFrame`.

``{name:type}`` captures, ``{name}`` must equal a value bound when the exchange is made, ``{_:type}`` matches and is
dropped, ``{{`` and ``}}`` are braces, ``\r \n \t \\ \xHH`` are bytes. The types:

=========  ==========================================================  =======
int        optional minus and digits (at most 20)                      int
digits     digits                                                      str
hexint     hexadecimal number (at most 16 digits, ``0x`` allowed)      int
hex        hexadecimal bytes                                           bytes
quoted     ``"…"`` without a quote or a line end inside                str
word       one or more characters but comma, quote and white space     str
any        quoted or word                                              str
text       the rest of the line                                        str
more       nothing, or a comma and the rest of the line                str
raw(n)     as many bytes as field ``n``, captured before, says         bytes
rawhex(n)  so many bytes, each as two hexadecimal digits               bytes
=========  ==========================================================  =======

Outside literal quotes one space behind ``:`` or ``,`` may be there or not, whichever way the pattern is written
(27.007 and V.250 have it both ways, and so do modems), except directly before a raw payload.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

__all__ = ["Field", "LinePattern", "PatternError", "PayloadFrame", "Value", "compile_pattern"]

Value = int | str | bytes

_BOUND: Final = "bound"
_LAST_ONLY: Final = frozenset({"text", "more"})
_TYPES: Final[dict[str, str]] = {
    "int": r"(-?[0-9]{1,20})",
    "digits": r"([0-9]+)",
    "hexint": r"((?:0[xX])?[0-9A-Fa-f]{1,16})",
    "hex": r"((?:[0-9A-Fa-f]{2})*)",
    "quoted": r'"([^"\r\n]*)"',
    "word": r'([^,"\s]+)',
    "any": r'("[^"\r\n]*"|[^,"\s]+)',
    "text": r"(.*)",
    "more": r"(?:,[ ]?(.*))?",
}
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(?::([a-z]+)(?:\(([A-Za-z_][A-Za-z0-9_]*)\))?)?\}")
_ESCAPE = re.compile(r"\\(?:([rnt\\])|x([0-9A-Fa-f]{2}))")
_SIMPLE_ESCAPES: Final = {"r": b"\r", "n": b"\n", "t": b"\t", "\\": b"\\"}
_CACHE_LIMIT: Final = 64  # bound variants kept per pattern: more than any modem has sockets


class PatternError(ValueError):
    """A pattern that cannot be compiled. ``offset`` is the character of its source that is wrong."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _unquoted(raw: bytes) -> str:
    return _text(raw[1:-1] if raw[:1] == b'"' else raw)


def _hexadecimal(raw: bytes) -> int:
    return int(raw, 16)


def _hex_bytes(raw: bytes) -> bytes:
    return bytes.fromhex(raw.decode("ascii"))


_CONVERT: Final[dict[str, Callable[[bytes], Value]]] = {
    "int": int,
    "digits": _text,
    "hexint": _hexadecimal,
    "hex": _hex_bytes,
    "quoted": _text,
    "word": _text,
    "any": _unquoted,
    "text": _text,
    "more": _text,
}


@dataclass(frozen=True, slots=True)
class Field:
    """One placeholder. ``type`` is a type of the table above, ``raw``, or ``bound``."""

    name: str
    type: str
    secret: bool = False


@dataclass(frozen=True, slots=True)
class PayloadFrame:
    """How a counted payload sits behind its header.

    ``inline`` false: the header is a line of its own that ends in exactly CR LF, and the payload starts behind it.
    ``inline`` true: the payload follows on the header's line. ``tail`` is what must stand directly behind the payload:
    literal text (inline only), then line ends. Behind an empty payload only the text must, since blank lines come and
    go. A payload with anything else behind it is one that has lost bytes, or has some too many. ``digits``: it comes as
    two hexadecimal digits a byte.
    """

    name: str
    length: str
    inline: bool
    tail: bytes = b""
    digits: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class LinePattern:
    """A compiled pattern. Immutable but for a bounded cache of bound variants.

    ``prefix`` is the literal text before the first placeholder; ``head`` that part of it with which every matching
    line begins, optional spaces taken into account. ``bound`` names the values :meth:`match` needs.
    """

    source: str
    prefix: bytes
    head: bytes
    fields: tuple[Field, ...]
    payload: PayloadFrame | None
    secret: bool
    literal: bytes | None
    _parts: tuple[str | int, ...]
    _captures: tuple[tuple[str, Callable[[bytes], Value], bool], ...]
    _cache: dict[tuple[str, ...], re.Pattern[bytes]] = field(repr=False)
    bound: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"LinePattern({self.source!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LinePattern):
            return NotImplemented
        return self.source == other.source and self.fields == other.fields

    def __hash__(self) -> int:
        return hash(self.source)

    def regex(self, bound: Mapping[str, object] | None = None) -> re.Pattern[bytes]:
        """Return the expression for a line (or, with an inline payload, for the header in front of it).

        Raises KeyError for a bound name that is missing.
        """
        key = tuple([str(bound[name]) for name in self.bound]) if bound and self.bound else ()
        if len(key) != len(self.bound):
            raise KeyError(self.bound[0])
        found = self._cache.get(key)
        if found is None:
            source = "".join([re.escape(key[part]) if isinstance(part, int) else part for part in self._parts])
            found = re.compile(source.encode("utf-8"), re.DOTALL)
            if len(self._cache) >= _CACHE_LIMIT:
                self._cache.clear()
            self._cache[key] = found
        return found

    def values(self, match: re.Match[bytes]) -> dict[str, Value]:
        """Return the captured values of a match of :meth:`regex`."""
        out: dict[str, Value] = {}
        for (name, convert, _), raw in zip(self._captures, match.groups(b""), strict=True):
            if name != "_":
                out[name] = convert(raw)
        return out

    def match(self, line: bytes, bound: Mapping[str, object] | None = None) -> dict[str, Value] | None:
        """Return the values captured from a whole line without its line end, or None if it does not match.

        With a payload this matches its header only; the payload is not among the values.
        """
        found = self.regex(bound).fullmatch(line)
        return None if found is None else self.values(found)

    def redact(self, line: bytes, bound: Mapping[str, object] | None = None) -> bytes:
        """Return the line with its secret fields blacked out, as logs and traces may show it."""
        if not self.secret:
            return line
        found = self.regex(bound).match(line)
        if found is None:
            return self.head + b"***"
        out = bytearray(line)
        for index in range(len(self._captures), 0, -1):
            start, end = found.span(index)
            if self._captures[index - 1][2] and start >= 0:
                out[start:end] = b"***"
        return bytes(out)

    def secrets(self, line: bytes, bound: Mapping[str, object] | None = None) -> list[bytes]:
        """Return the secret fields of a line as they stand in it."""
        found = self.regex(bound).match(line) if self.secret else None
        if found is None:
            return []
        return [raw for raw, (_, _, secret) in zip(found.groups(b""), self._captures, strict=True) if secret]


@dataclass(slots=True)
class _Builder:
    """The state of one compilation."""

    source: str
    secrets: frozenset[str]
    literal: bytearray = field(default_factory=bytearray)  # since the last placeholder
    parts: list[str | int] = field(default_factory=list)
    fields: list[Field] = field(default_factory=list)
    captures: list[tuple[str, Callable[[bytes], Value], bool]] = field(default_factory=list)
    bound: list[str] = field(default_factory=list)
    prefix: bytes | None = None
    head: bytes = b""
    payload: PayloadFrame | None = None
    open_quote: bool = False

    def flush(self, offset: int, *, exact_end: bool = False) -> None:
        """Turn the literal text collected so far into an expression."""
        literal = bytes(self.literal)
        if b"\r" in literal or b"\n" in literal:
            raise PatternError("a line end stands only between a header and its raw payload", offset)
        self.literal.clear()
        out = []
        head: int | None = None
        skip = False
        last = len(literal) - 1
        for index, byte in enumerate(literal):
            if skip:
                skip = False
                continue
            out.append(re.escape(chr(byte)) if byte < 0x80 else f"\\x{byte:02x}")
            if byte == 0x22:
                self.open_quote = not self.open_quote
            if byte in b":," and not self.open_quote and not (exact_end and index == last):
                out.append("[ ]?")
                skip = literal[index + 1 : index + 2] == b" "
                head = index + 1 if head is None else head
        self.parts.append("".join(out))
        if self.prefix is None:
            self.prefix = literal
            self.head = literal if head is None else literal[:head]

    def placeholder(self, found: re.Match[str]) -> None:
        """Add one placeholder."""
        name, kind, argument = found.groups()
        offset = found.start()
        if self.payload is not None:
            raise PatternError("nothing but literal text may follow a raw payload", offset)
        if self.fields and self.fields[-1].type in _LAST_ONLY:
            raise PatternError(f"{self.fields[-1].type} takes the rest of the line: nothing may follow it", offset)
        if name != "_" and any(one.name == name for one in self.fields):
            raise PatternError(f"{name} occurs twice", offset)
        secret = name in self.secrets
        if kind in {"raw", "rawhex"}:
            self._raw(name, kind, argument, offset, secret=secret)
            return
        if argument is not None:
            raise PatternError(f"type {kind} takes no argument", offset)
        self.flush(offset)
        if kind is None:
            self.parts.append(len(self.bound))
            self.bound.append(name)
            self.fields.append(Field(name, _BOUND, secret))
            return
        if kind not in _TYPES:
            raise PatternError(
                f"unknown type {kind}; known: {', '.join([*_TYPES, 'raw(length)', 'rawhex(length)'])}", offset
            )
        self.parts.append(_TYPES[kind])
        self.fields.append(Field(name, kind, secret))
        self.captures.append((name, _CONVERT[kind], secret))

    def _raw(self, name: str, kind: str, argument: str | None, offset: int, *, secret: bool) -> None:
        if argument is None:
            raise PatternError(f"{kind} needs the field that holds its length: {kind}(length)", offset)
        if not any(one.name == argument and one.type in {"int", "hexint"} for one in self.fields):
            raise PatternError(f"{kind}({argument}): no int field {argument} is captured before it", offset)
        inline = not self.literal.endswith(b"\r\n")
        if inline:
            if any(one.type in _LAST_ONLY for one in self.fields):
                raise PatternError("text and more cannot stand before a payload on the same line", offset)
            if not self.literal:
                raise PatternError("a payload on the header's line needs literal text in front of it", offset)
        else:
            del self.literal[-2:]
        self.flush(offset, exact_end=inline)
        self.fields.append(Field(name, "raw", secret))
        self.payload = PayloadFrame(name, argument, inline, digits=kind == "rawhex")

    def finish(self) -> LinePattern:
        """Close the pattern."""
        if self.payload is not None:
            tail = bytes(self.literal)
            text = tail.replace(b"\r\n", b"")
            if text and not self.payload.inline:
                raise PatternError(
                    "nothing but line ends may follow a payload that stands behind its header line", len(self.source)
                )
            if b"\r" in text or b"\n" in text or not tail.startswith(text):
                raise PatternError(r"behind a payload a line end is \r\n, and ends the pattern", len(self.source))
            self.payload = replace(self.payload, tail=tail)
        else:
            if self.literal and self.fields and self.fields[-1].type in _LAST_ONLY:
                kind = self.fields[-1].type
                raise PatternError(f"{kind} takes the rest of the line: nothing may follow it", len(self.source))
            self.flush(len(self.source))
        assert self.prefix is not None
        literal = self.prefix if not self.fields and self.payload is None else None
        if not self.fields and not self.prefix:
            raise PatternError("an empty pattern matches nothing", 0)
        if (self.payload is None or not self.payload.inline) and not (
            self.fields and self.fields[-1].type in _LAST_ONLY
        ):
            self.parts.append("[ ]*")
        return LinePattern(
            source=self.source,
            prefix=self.prefix,
            head=self.head,
            fields=tuple(self.fields),
            payload=self.payload,
            secret=any(one.secret for one in self.fields),
            literal=literal,
            _parts=tuple(self.parts),
            _captures=tuple(self.captures),
            _cache={},
            bound=tuple(self.bound),
        )


def compile_pattern(source: str, *, secrets: Collection[str] = ()) -> LinePattern:
    """Compile a pattern. Fields named in ``secrets`` are blacked out in logs and traces.

    Raises PatternError.
    """
    builder = _Builder(source, frozenset(secrets))
    index = 0
    while index < len(source):
        char = source[index]
        if char in "{}":
            if source[index : index + 2] in {"{{", "}}"}:
                builder.literal += char.encode()
                index += 2
                continue
            found = _PLACEHOLDER.match(source, index)
            if found is None:
                raise PatternError("a brace that belongs to no placeholder: write {{ or }}", index)
            builder.placeholder(found)
            index = found.end()
        elif char == "\\":
            escape = _ESCAPE.match(source, index)
            if escape is None:
                raise PatternError(r"unknown escape: known are \r \n \t \\ \xHH", index)
            simple, code = escape.groups()
            builder.literal += _SIMPLE_ESCAPES[simple] if simple else bytes([int(code, 16)])
            index = escape.end()
        else:
            builder.literal += char.encode()
            index += 1
    return builder.finish()
