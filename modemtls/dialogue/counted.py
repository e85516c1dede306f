"""Payloads in what nobody knows, found by the number in front of them.

A line announces so many bytes, and behind as many the answer goes on as answers do. The bytes stand behind the line or
in quotes on it, raw or as twice as many hexadecimal digits. Behind the number the line may say whom they come from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Counted", "counted"]

_HEADER: Final = re.compile(rb'[:,] ?(?P<size>\d{1,5})(?=(?P<end>\r\n|,"[^"\r\n]*",\d{1,5}\r\n|,"))')
_ENDED: Final = re.compile(rb"\r(?=\r\n)|\r?\n")  # the end of an echo, or of a line
_DIGITS: Final = re.compile(rb"[0-9A-Fa-f]+")
# How an answer goes on behind a payload: with a line, or not at all.
_BEHIND: Final = re.compile(rb"\r\n(?:\r\n)*(?:[A-Z+#%^*$&][^\r\n]*\r\n|\Z)")
# Lines, which are a payload only if the answer's end is still to come.
_LINES: Final = re.compile(rb"(?:(?:\r\n)+[\x20-\x7e]+)+")
_RESULT: Final = re.compile(rb"\r\n(?:OK|ERROR|\+CM[ES] ERROR: ?[^\r\n]*)\r\n")


@dataclass(frozen=True, slots=True)
class Counted:
    """Where a line stands that announces a payload, and the payload.

    ``start``: behind the end of the line before; ``end``: of everything, a closing quote included.
    """

    start: int
    payload: int
    stop: int
    end: int
    inline: bool
    digits: bool


def counted(data: bytes) -> Iterator[Counted]:
    """Yield what may be a counted payload, from the front; those that overlap too."""
    for header in _HEADER.finditer(data):
        line = max(data.rfind(b"\r", 0, header.start()), data.rfind(b"\n", 0, header.start())) + 1
        before = len(data[:line].rstrip(b"\r\n"))
        ended = _ENDED.match(data, before) if before else None
        start = ended.end() if ended else before
        size = int(header["size"])
        inline = not header["end"].endswith(b"\r\n")
        for digits in (True, False):
            begin = header.end("end")
            stop = begin + size * (1 + digits)
            payload, behind = data[begin:stop], data[stop:]
            if not size or len(payload) != stop - begin or (digits and not _DIGITS.fullmatch(payload)):
                continue
            if inline:
                if behind.startswith(b'"\r\n'):
                    yield Counted(start, begin, stop, stop + 1, inline, digits)
            elif behind.startswith(b"\r\n") if digits else _goes_on(payload, behind, named=header["end"] != b"\r\n"):
                yield Counted(start, begin, stop, stop, inline, digits)


def _goes_on(payload: bytes, behind: bytes, *, named: bool) -> bool:
    """Tell whether what stands behind a line's payload is how an answer goes on.

    Where the line says whom it comes from (``named``) that may be nothing: what is pushed has no result behind it.
    """
    if named and not behind:
        return not payload.startswith(b"\r\n")
    return _BEHIND.match(behind) is not None and (not _LINES.fullmatch(payload) or _RESULT.search(behind) is not None)
