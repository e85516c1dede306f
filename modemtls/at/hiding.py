"""The secrets that have passed on a line, and where they come back: in an echo, torn or glued to something else.

What an exchange sends or reads is known to be a secret by its place. What the line makes of it is not: a lost byte and
an echo is no echo any more. So the secrets themselves are looked for in all that is shown.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from modemtls.at.exchange import Exchange
    from modemtls.at.pattern import LinePattern

__all__ = ["MASK", "SHORTEST", "Secrets"]

MASK: Final = b"***"
SHORTEST: Final = 4  # bytes; 27.007 8.3, 3GPP TS 31.101: a PIN has four to eight digits
_REMEMBERED: Final = 512  # secrets, lines of keys among them; whoever sends more has the oldest forgotten
_LONGEST: Final = 8  # bytes of a long secret, wherever in it, that are recognised at any time
_LONGEST_NEAR: Final = 6  # the same while its exchange goes on
_DIGITS: Final = 6  # fewer, in the middle of a longer number, are a coincidence unless their exchange goes on

_MARKS: Final = re.compile(rb"-----(?:BEGIN|END) [A-Z0-9 ]+-----|[\r\n\x1a]+")  # RFC 7468
_ESCAPED: Final = re.compile(rb"\\([0-9A-Fa-f]{2}|.)", re.DOTALL)
_HEX: Final = re.compile(rb"(?:[0-9A-Fa-f]{2}){4,}")

_WORDS: Final = re.compile(rb"[A-Za-z ,.()/'-]*")


def _least(length: int, *, near: bool) -> int:
    """Return how many bytes of a secret of this length have to be there to be recognised."""
    return max(3, min(_LONGEST_NEAR, length // 2)) if near else max(SHORTEST, min(_LONGEST, length - 1))


class Secrets:
    """The secrets of one line, as bytes. Fragments of them count, and so do other cases of their letters.

    ``near``: the exchange in flight, or the last one that was, sends or reads a secret. Then shorter fragments count,
    and a line that nothing explains is not to be shown at all: its secret may be one that is not known yet.
    """

    def __init__(self) -> None:
        self.near = False
        self._unread: list[tuple[Exchange, bytes]] = []  # with its payload: its secrets have not been looked at
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._tables: dict[bool, dict[int, set[bytes]]] = {}

    def sent(self, ex: Exchange, payload: bytes) -> None:
        """Remember what an exchange sends, with this payload, that must not be shown."""
        self._unread.append((ex, payload if ex.payload_secret else b""))
        del self._unread[:-_REMEMBERED]

    def told(
        self, text: bytes, pattern: LinePattern, bound: Mapping[str, object] | None, payload: bytes | None
    ) -> None:
        """Remember the secret fields of a line that came."""
        self._keep(pattern.secrets(text, bound))
        if payload is not None and pattern.fields[-1].secret:
            self._keep(_MARKS.split(payload))

    def masked(self, text: bytes, *, words: bool = False) -> bytes:
        """Return what may be shown of some bytes that passed. ``words``: they are plain words, no torn echo."""
        out = bytearray(text)
        for low, high in reversed(self.spans(text, words=words)):
            out[low:high] = MASK
        return bytes(out)

    def line(self, text: bytes, pattern: LinePattern) -> bytes:
        """Return what may be shown of a line that matched a pattern, apart from the pattern's own secrets.

        While a secret is near, a text that takes whatever comes may have swallowed a piece of another line: no text
        of 27.007 9.2 has quotation marks.
        """
        if not (self.near or self._unread or self._known):
            return text
        if self.near and b'"' in text[len(pattern.head) :] and any(f.type in {"text", "more"} for f in pattern.fields):
            return pattern.head + MASK
        return self.masked(text, words=_WORDS.fullmatch(text, len(pattern.head)) is not None)

    def spans(self, text: bytes, *, words: bool = False) -> list[tuple[int, int]]:
        """Return where in ``text`` secrets, or fragments of them, are; in order, apart from each other."""
        if not (self._unread or self._known):
            return []
        near = self.near and not words
        lower = text.lower()
        marks: list[tuple[int, int]] = []
        for size, grams in self._grams(near=near).items():
            low = high = -1
            for at in range(len(lower) - size + 1):
                if lower[at : at + size] in grams:
                    if at > high:
                        if high > low:
                            marks.append((low, high))
                        low = at
                    high = at + size
            if high > low:
                marks.append((low, high))
        out: list[tuple[int, int]] = []
        for low, high in sorted(marks):
            if not near and _coincidence(text, low, high):
                continue
            if out and low <= out[-1][1]:
                out[-1] = (out[-1][0], max(high, out[-1][1]))
            else:
                out.append((low, high))
        return out

    def _grams(self, *, near: bool) -> dict[int, set[bytes]]:
        """Return the fragments that count, by their length."""
        unread, self._unread = self._unread, []
        for ex, payload in unread:
            if ex.shown:
                self._keep(_between(ex.line, ex.shown.encode("latin-1", "replace")))
            self._keep(_MARKS.split(payload))
        table = self._tables.get(near)
        if table is None:
            table = self._tables[near] = {}
            for secret in self._known:
                size = _least(len(secret), near=near)
                table.setdefault(size, set()).update(secret[at : at + size] for at in range(len(secret) - size + 1))
        return table

    def _keep(self, secrets: Iterable[bytes]) -> None:
        for one in secrets:
            for form in _forms(one):
                if form in self._known:
                    self._known.move_to_end(form)
                else:
                    self._known[form] = None
                    self._tables.clear()
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)


def _coincidence(text: bytes, low: int, high: int) -> bool:
    """Whether a few digits are part of a longer number."""
    return (
        high - low < _DIGITS
        and text[low:high].isdigit()
        and (text[low - 1 : low].isdigit() or text[high : high + 1].isdigit())
    )


def _forms(secret: bytes) -> Iterator[bytes]:
    r"""Yield how a secret may come back: as it was sent, without quotes, escapes (``\"``, ``\22``), out of hex."""
    if secret[:1] == secret[-1:] == b'"':
        secret = secret[1:-1]
    plain = _ESCAPED.sub(lambda m: bytes([int(m[1], 16)]) if len(m[1]) == 2 else m[1], secret)
    single = re.sub(rb"\\(.)", rb"\1", secret, flags=re.DOTALL)
    decoded = bytes.fromhex(secret.decode("ascii")) if _HEX.fullmatch(secret) else b""
    for form in {secret.lower(), plain.lower(), single.lower(), decoded.lower()}:
        if len(form) >= SHORTEST:
            yield form


def _between(line: bytes, shown: bytes) -> Iterator[bytes]:
    """Yield what ``shown`` has masks for. Where that can be read in two ways, both."""
    pieces = [re.escape(piece) for piece in shown.split(MASK)]
    found = False
    for value in (b"(.+?)", b"(.+)"):
        match = re.fullmatch(value.join(pieces), line, re.DOTALL)
        if match is not None:
            found = True
            yield from match.groups()
    if not found:
        yield line
