"""Figures and how they are printed."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Figure", "table"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure beside the bare loop's. ``ratio`` is ours over the bare loop's, ``aim`` what the ratio has to hold."""

    name: str
    where: str
    ours: str
    bare: str
    ratio: float
    aim: str
    met: bool


def table(figures: list[Figure]) -> str:
    """Return the figures as a table."""
    head = ("figure", "measured at", "modemtls", "bare loop", "ratio", "aim", "")
    rows = [
        head,
        *(
            (one.name, one.where, one.ours, one.bare, f"{one.ratio:.2f}", one.aim, "" if one.met else "missed")
            for one in figures
        ),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)
