r"""Templates: text with placeholders ``{NAME|CODEC@TABLE:KIND?}`` (the language's section 4)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from modemtls.errors import ConfigurationError
from modemtls.profile.codecs import CODECS
from modemtls.profile.model import Items, Least
from modemtls.profile.quoting import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from modemtls.profile.codecs import Codec
    from modemtls.profile.model import ValueSpec
    from modemtls.profile.quoting import Kind

__all__ = [
    "MASK",
    "Placeholder",
    "Template",
    "TemplateError",
    "parse_placeholder",
    "parse_template",
    "unescape",
    "value_of",
]

MASK: Final = "***"
_PLACEHOLDER = re.compile(
    r"\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<codecs>(?:\|[A-Za-z0-9_]+)*)(?:@(?P<table>[A-Za-z_][A-Za-z0-9_]*))?"
    r"(?::(?P<kind>[A-Za-z]+)(?:\((?P<sep>[^()\"\r\n]*)\))?(?P<optional>\?)?)?\}"
)
_ESCAPE = re.compile(r"\\(?:([rnt\\])|x([0-9A-Fa-f]{2}))")
_SIMPLE: Final = {"r": "\r", "n": "\n", "t": "\t", "\\": "\\"}


class TemplateError(ValueError):
    """A template that cannot be read. ``message`` says why."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True, eq=False)
class Placeholder:
    """One placeholder. ``table`` maps the neutral value (as text) to the modem's; None if there is none."""

    name: str
    codecs: tuple[Codec, ...] = ()
    table_name: str | None = None
    table: Mapping[str, int | str] | None = None
    kind: Kind | None = None
    separator: str | None = None
    optional: bool = False
    secret: bool = False

    def value(self, value: object) -> object:
        """Apply codecs and table. Raises ConfigurationError."""
        if value is None:
            return None
        for codec in self.codecs:
            try:
                value = codec.convert(value)
            except ConfigurationError as error:
                raise ConfigurationError(f"{self.name}: {error}") from None
        if self.table is not None:
            key = ("true" if value else "false") if isinstance(value, bool) else str(value)
            if key not in self.table:
                raise ConfigurationError(
                    f"{self.name}: {key} cannot be expressed by this modem; it knows {', '.join(self.table)}"
                )
            value = self.table[key]
        return value

    def write(self, value: object) -> str:
        """Return the value as it is written. Raises ConfigurationError if it may not be."""
        value = self.value(value)
        kind = self.kind
        assert kind is not None
        if value is None:
            if not self.optional:
                raise ConfigurationError(f"{self.name}: a value is needed")
            return kind.empty
        if self.separator is not None:
            if not isinstance(value, (list, tuple)):
                raise ConfigurationError(f"{self.name}: a list is needed")
            return self.separator.join([kind.write(self.name, one) for one in value])
        return kind.write(self.name, value)


def value_of(spec: ValueSpec, lookup: Callable[[str], object]) -> object:
    """Return what a value of the language stands for now. Raises ConfigurationError."""
    if isinstance(spec, Placeholder):
        return spec.value(lookup(spec.name))
    if isinstance(spec, Least):
        numbers = [lookup(one) if isinstance(one, str) else one for one in spec.of]
        return min([one for one in numbers if isinstance(one, int)], default=0)
    assert not isinstance(spec, Items)  # a check compares these
    return spec


@dataclass(frozen=True, slots=True)
class Template:
    """Literal text and placeholders in order."""

    source: str
    parts: tuple[str | Placeholder, ...]

    def placeholders(self) -> Iterator[Placeholder]:
        """Yield the placeholders."""
        for part in self.parts:
            if isinstance(part, Placeholder):
                yield part

    def render(self, lookup: Callable[[str], object]) -> tuple[bytes, str]:
        """Return what is sent and what may be shown of it. Raises ConfigurationError."""
        sent: list[str] = []
        shown: list[str] = []
        for part in self.parts:
            if isinstance(part, str):
                sent.append(part)
                shown.append(part)
            else:
                text = part.write(lookup(part.name))
                sent.append(text)
                shown.append(MASK if part.secret and text else text)
        line = "".join(sent)
        return line.encode("latin-1"), "".join(shown)


def unescape(text: str) -> str:
    r"""Replace ``\r \n \t \\ \xHH``. Raises TemplateError for any other backslash."""
    if "\\" not in text:
        return text
    out = []
    position = 0
    while position < len(text):
        if text[position] != "\\":
            out.append(text[position])
            position += 1
            continue
        found = _ESCAPE.match(text, position)
        if found is None:
            raise TemplateError(r"unknown escape: known are \r \n \t \\ \xHH")
        out.append(_SIMPLE[found[1]] if found[1] else chr(int(found[2], 16)))
        position = found.end()
    return "".join(out)


def _placeholder(found: re.Match[str]) -> Placeholder:
    codecs = []
    for name in filter(None, found["codecs"].split("|")):
        if name not in CODECS:
            raise TemplateError(f"unknown codec {name}; known: {', '.join(CODECS)}")
        codecs.append(CODECS[name])
    kind = found["kind"]
    separator = found["sep"]
    if kind == "join":
        if separator is None:
            raise TemplateError("join needs its separator: join(;)")
        kind = "token"
    elif separator is not None:
        raise TemplateError(f"kind {kind} takes no argument")
    if kind is not None and kind not in KINDS:
        raise TemplateError(f"unknown kind {kind}; known: {', '.join([*KINDS, 'join(;)'])}")
    return Placeholder(
        name=found["name"],
        codecs=tuple(codecs),
        table_name=found["table"],
        kind=KINDS[kind] if kind else None,
        separator=separator,
        optional=bool(found["optional"]),
    )


def parse_template(source: str) -> Template:
    """Read a template. Tables, default kinds and secrets are filled in by the compiler. Raises TemplateError."""
    parts: list[str | Placeholder] = []
    literal: list[str] = []
    position = 0
    while position < len(source):
        char = source[position]
        if char in "{}":
            if source[position : position + 2] in {"{{", "}}"}:
                literal.append(char)
                position += 2
                continue
            found = _PLACEHOLDER.match(source, position)
            if found is None:
                raise TemplateError(f"a brace that belongs to no placeholder at character {position + 1}")
            if literal:
                parts.append(unescape("".join(literal)))
                literal.clear()
            parts.append(_placeholder(found))
            position = found.end()
            continue
        if char == "\\" and position + 1 < len(source):  # an escape stays together
            literal.append(source[position : position + 2])
            position += 2
            continue
        literal.append(char)
        position += 1
    if literal:
        parts.append(unescape("".join(literal)))
    return Template(source, tuple(parts))


def parse_placeholder(source: str) -> Placeholder | None:
    """Return the placeholder if the text is exactly one, else None. Raises TemplateError."""
    found = _PLACEHOLDER.fullmatch(source)
    return None if found is None else _placeholder(found)
