"""The table in the README: written from what a run of the matrix found, and read back to be held against the next."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tests.peers.families import FAMILIES
from tests.peers.features import FEATURES
from tests.peers.programs import BY_LETTER, PEERS

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- peers: made by `make peers`; do not edit -->", "<!-- peers: end -->"

PASSED = "passed"
Cell = tuple[str, str, str]
"""Feature, family, letter of the peer."""
Cells = Mapping[Cell, str]
"""``PASSED``, one of the ``NOTES``, or the capability that the modem lacks."""

UNTOLD, TICKETS, LARGE = "untold", "tickets", "large"
NOTES = {
    UNTOLD: ("¹", "connected, twice; whether the session was resumed neither the server nor the modem tells"),
    TICKETS: ("²", "connected, but never resumed: this server gives tickets alone, and the modem takes none"),
    LARGE: (
        "³",
        "not connected: the server's datagrams are larger than the modem gives, until it is told a smaller MTU",
    ),
}
"""What was found besides: the mark behind the peer's letter, and what it means."""


def cells() -> list[Cell]:
    """Every cell that there is something to find out for: the peer has the feature."""
    return [
        (feature.name, family.name, peer.letter)
        for family in FAMILIES
        for feature in FEATURES
        for peer in PEERS
        if peer.lack(feature) is None
    ]


def render(found: Cells) -> str:
    """The section, between its marks, without them."""
    lines = ["| | " + " | ".join(family.title for family in FAMILIES) + " |", "|---" * (len(FAMILIES) + 1) + "|"]
    protocol = ""
    for feature in FEATURES:
        if feature.protocol != protocol:
            protocol = feature.protocol
            lines.append(f"| **{protocol}** |" + " |" * len(FAMILIES))
        fields = [_field(found, feature.name, family.name) for family in FAMILIES]
        lines.append(f"| {feature.title} | " + " | ".join(fields) + " |")
    return "\n".join([*lines, "", *_legend()])


def _field(found: Cells, feature: str, family: str) -> str:
    here = {letter: what for (one, other, letter), what in found.items() if (one, other) == (feature, family)}
    marks = {PASSED: "", **{note: mark for note, (mark, _) in NOTES.items()}}
    connected = [peer.letter + marks[here[peer.letter]] for peer in PEERS if here.get(peer.letter) in marks]
    lacks = sorted({what for what in here.values() if what not in marks})
    return " ".join([*connected, *(f"no `{what}`" for what in lacks)])


def _legend() -> list[str]:
    lines = [f"{mark} {meaning}.<br>" for mark, meaning in NOTES.values()]
    lines += [""]
    for peer in PEERS:
        reasons: dict[str, list[str]] = {}
        for feature in FEATURES:
            why = peer.lack(feature)
            if why is not None:
                reasons.setdefault(why, []).append(f"{feature.protocol} {feature.title}")
        every = len(FEATURES)
        told = "; ".join(f"{why} ({_shortened(rows, every)})" for why, rows in reasons.items())
        lines.append(f"- **{peer.letter}** {peer.name}, {peer.what}." + (f" Not tried: {told}." if told else ""))
    return lines


def _shortened(rows: list[str], every: int) -> str:
    """The rows, or the protocols where all of theirs are meant."""
    if len(rows) == every - 1:
        return "all else"
    protocols = dict.fromkeys(feature.protocol for feature in FEATURES)
    parts = []
    for protocol in protocols:
        all_of_it = [f"{protocol} {each.title}" for each in FEATURES if each.protocol == protocol]
        here = [row for row in rows if row in all_of_it]
        if here == all_of_it:
            parts.append(protocol)
        elif here:
            parts.append(f"{protocol}: " + ", ".join(row.removeprefix(f"{protocol} ") for row in here))
    return "; ".join(parts)


def parse(text: str) -> dict[Cell, str]:
    """What :func:`render` was given, for the cells that there are now."""
    titles = {(feature.protocol, feature.title): feature.name for feature in FEATURES}
    families = {family.title: family.name for family in FAMILIES}
    columns: list[str] = []
    protocol = ""
    fields: dict[tuple[str, str], str] = {}
    for line in text.splitlines():
        if not line.startswith("| "):
            continue
        first, *rest = [field.strip() for field in line.strip("|").split("|")]
        if not columns:
            columns = rest
        elif first.startswith("**"):
            protocol = first.strip("*")
        elif (protocol, first) in titles:
            for column, field in zip(columns, rest, strict=True):
                if column in families:
                    fields[titles[protocol, first], families[column]] = field
    found = {}
    for cell in cells():
        feature, family, letter = cell
        field = fields.get((feature, family), "")
        lacks = re.findall(r"no `([\w.]+)`", field)
        entry = re.search(rf"(?<!\S){letter}(\S?)(?!\S)", field)
        if entry:
            found[cell] = next((note for note, (mark, _) in NOTES.items() if mark == entry[1]), PASSED)
        elif lacks:
            found[cell] = lacks[0]
    return found


def section() -> str:
    """What the README has between the marks."""
    return README.read_text("utf-8").partition(BEGIN)[2].partition(END)[0].strip()


def write(found: Cells) -> bool:
    """Put the table into the README; whether that changed it."""
    before = README.read_text("utf-8")
    head, begin, rest = before.partition(BEGIN)
    _, end, tail = rest.partition(END)
    assert begin, "the README has no mark where the table of peers begins"
    assert end, "the README has no mark where the table of peers ends"
    after = f"{head}{begin}\n{render(found)}\n{end}{tail}"
    if after != before:
        README.write_text(after, "utf-8")
    return after != before


def named(cell: Cell) -> str:
    feature, family, letter = cell
    return f"{feature} of {BY_LETTER[letter].name} through {family}"
