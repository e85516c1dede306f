"""What the modem must have said, byte for byte, but for the fields that a transcript lets differ."""

from __future__ import annotations

import re
from dataclasses import dataclass

from modemtls.transcript import Redacted, Turn, escape, unescape

# `# any: NAME` lets every stretch of that kind differ; `# any: NAME=TEXT` that very text, wherever it stands.
KINDS = {
    "imei": rb"(?<!\d)\d{15}(?!\d)",
    "iccid": rb"(?<!\d)\d{18,22}F?(?!\d)",
    "ip": rb"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])",
    "clock": rb"\d{2,4}/\d\d/\d\d,\d\d:\d\d:\d\d[+-]\d\d",
}
NAMED = {
    **KINDS,
    "lport": rb"\d{1,5}",
    "number": rb"\d+",
    "atport": rb"usbat|usbmodem|uart1",
    "text": rb'[^\r\n"]+',
    "session": rb'[^\r\n"]+',
}
# What is the same wherever it stands: the first time the modem says what it is, and the host says that, too.
KEPT = {"session"}


@dataclass(frozen=True)
class Field:
    """One thing that may differ."""

    name: str
    here: re.Pattern[bytes]  # what the transcript has
    there: bytes  # what may stand in its place


def fields(names: list[str]) -> list[Field]:
    out = []
    for name in dict.fromkeys(names):
        kind, equals, text = name.partition("=")
        if kind not in (NAMED if equals else KINDS):
            raise ValueError(f"any: no field {name!r}; there are {', '.join(KINDS)}, and {', '.join(NAMED)} with =TEXT")
        literal = b"".join(c for c in unescape(text) if isinstance(c, bytes))
        here = rb"(?<![A-Za-z0-9])" + re.escape(literal) + rb"(?![A-Za-z0-9])" if equals else KINDS[kind]
        out.append(Field(name, re.compile(here), NAMED[kind]))
    return sorted(out, key=lambda field: "=" not in field.name)


class Matcher:
    """Makes expressions of turns, and remembers which of the fields occurred."""

    def __init__(self, names: list[str]) -> None:
        self._fields = fields(names)
        self._kept = {f.name: f"kept{n}" for n, f in enumerate(self._fields) if f.name.partition("=")[0] in KEPT}
        self._heard: dict[str, bytes] = {}
        self.used: set[str] = set()

    @property
    def unused(self) -> list[str]:
        return [field.name for field in self._fields if field.name not in self.used]

    def heard(self, match: re.Match[bytes]) -> None:
        """Keep what the modem has said in the place of what stays the same."""
        groups = match.groupdict()
        self._heard.update({name: groups[group] for name, group in self._kept.items() if groups.get(group)})

    def said(self, data: bytes) -> bytes:
        """What the host says in the place of what the transcript has."""
        for field in self._fields:
            if field.name in self._heard:
                data = field.here.sub(lambda _, field=field: self._heard[field.name], data)  # type: ignore[misc]
        return data

    def expression(self, turn: Turn) -> re.Pattern[bytes]:
        """What the modem may say in this turn."""
        self._named: set[str] = set()
        parts = []
        for chunk in turn.chunks:
            if isinstance(chunk, Redacted):
                parts.append(b".{%d}" % chunk.length)
            else:
                parts.append(self._literal(chunk))
        return re.compile(b"".join(parts), re.DOTALL)

    def _literal(self, data: bytes) -> bytes:
        out, at = [], 0
        while True:
            found = [(m.start(), order, m, field) for order, field in enumerate(self._fields)
                     if (m := field.here.search(data, at))]  # fmt: skip
            if not found:
                return b"".join([*out, re.escape(data[at:])])
            _, _, match, field = min(found, key=lambda one: one[:2])
            self.used.add(field.name)
            out += [re.escape(data[at : match.start()]), self._stands(field)]
            at = match.end()

    def _stands(self, field: Field) -> bytes:
        group = self._kept.get(field.name)
        if group is None:
            return b"(?:" + field.there + b")"
        if field.name in self._heard:
            return re.escape(self._heard[field.name])
        again = group in self._named
        self._named.add(group)
        return b"(?P=%b)" % group.encode() if again else b"(?P<%b>%b)" % (group.encode(), field.there)


def difference(turn: Turn, got: bytes) -> str:
    """Where an answer departs from the transcript, to be read by people."""
    want = b"".join(b"?" * c.length if isinstance(c, Redacted) else c for c in turn.chunks)
    same = next((n for n in range(min(len(want), len(got))) if want[n] != got[n]), min(len(want), len(got)))
    return (
        f"line {turn.line}: byte {same}\n  expected {escape(want)}\n  got      {escape(got)}\n"
        f"  first different: {escape(want[same : same + 30])!r} / {escape(got[same : same + 30])!r}"
    )
