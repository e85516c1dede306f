"""Profiles without the silence between commands, which simulated modules do not need, and tests would wait."""

from __future__ import annotations

from pathlib import Path

_LINE = "line: {after_result: 0s, after_urc: 0s}"

#: Variants of a model that have a line of their own, which then has to go.
_VARIANTS = {"ublox-sara-r4": "variants: {r422: {set: {line: null}}}\n"}


def hasty(model: str, folder: Path) -> str:
    """Write a profile that differs from the bundled one of that name in this alone; returns its path."""
    path = folder / f"hasty-{model}.yaml"
    path.write_text(f"profile: 1\nname: hasty-{model}\nextends: {model}\n{_LINE}\n{_VARIANTS.get(model, '')}")
    return str(path)
