"""Tells whether one pattern takes every line that another would match."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modemtls.at.pattern import LinePattern

__all__ = ["shadowed"]

# Lines that differ in everything that a type can differ in.
_SAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "int": ("7", "-31", "4294967295"),
    "digits": ("7", "350000000000006"),
    "hexint": ("2d13", "0x1F"),
    "hex": ("", "00FF7A"),
    "quoted": ('""', '"some, text"'),
    "word": ("word", "-x!"),
    "any": ('"some, text"', "word"),
    "text": ("", 'free text, 5, "q"'),
    "more": ("", ',5,"x"'),
    "raw": ("",),
    "bound": ("",),
}
_MOST: Final = 400  # samples tried: patterns have few fields


def _samples(pattern: LinePattern, bound: str) -> Iterator[bytes]:
    """Yield lines that the pattern matches (with a payload: its header)."""
    pieces: list[tuple[str, ...]] = []
    source = pattern.source
    position = 0
    for field in pattern.fields:
        start = source.index("{" + field.name, position)
        pieces.append((_plain(source[position:start]),))
        position = source.index("}", start) + 1
        if field.type == "raw":
            position = len(source)
            break
        pieces.append((bound,) if field.type == "bound" else _SAMPLES[field.type])
    pieces.append((_plain(source[position:]),))
    for combination in itertools.islice(itertools.product(*pieces), _MOST):
        yield "".join(combination).encode("utf-8")


def _plain(literal: str) -> str:
    literal = literal.replace("{{", "{").replace("}}", "}").removesuffix("\\r\\n").removesuffix("\r\n")
    return literal.replace("\\t", "\t").replace("\\\\", "\\")


def shadowed(first: LinePattern, second: LinePattern) -> bool:
    """Tell whether ``first``, asked first, takes every line that ``second`` matches."""
    inline = [one.payload is not None and one.payload.inline for one in (first, second)]
    if inline[0] != inline[1]:
        return False
    for bound in ("7", "bound"):
        values = dict.fromkeys((*first.bound, *second.bound), bound)
        for line in _samples(second, bound):
            if second.match(line, values) is None:
                continue
            if first.match(line, values) is None:
                return False
    return True
