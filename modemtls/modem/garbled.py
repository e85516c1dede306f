"""What a bad line may have made of a text."""

from __future__ import annotations

from typing import Final

__all__ = ["near"]

_GARBLED: Final = 3  # characters by which a text may differ from itself, as far as it is three times as long


def near(one: str, other: str) -> bool:
    """Whether one may be the other with a few characters changed, lost or added on the line. Not for long texts."""
    if not one or not other:
        return False
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1] <= min(_GARBLED, min(len(one), len(other)) // 3)
