"""Figures and how they are printed."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Figure", "table"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure beside the bare loop's, or an empty interpreter's.

    ``aim`` is what the ratio of the two has to hold; without a ratio, what the figure itself has to be.
    """

    name: str
    where: str
    ours: str
    bare: str
    ratio: float | None
    aim: str
    met: bool


def table(figures: list[Figure]) -> str:
    """Return the figures as a table."""
    head = ("figure", "measured at", "modemtls", "bare", "ratio", "aim", "")
    rows = [
        head,
        *(
            (
                one.name,
                one.where,
                one.ours,
                one.bare,
                "–" if one.ratio is None else f"{one.ratio:.2f}",
                one.aim,
                "" if one.met else "missed",
            )
            for one in figures
        ),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)
