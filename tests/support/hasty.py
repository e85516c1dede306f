"""Profiles without the silence between commands and between questions, which simulated modems do not need."""

from __future__ import annotations

import re
from pathlib import Path

from modemtls.profile import merge

_LINE = "line: {after_result: 0s, after_urc: 0s}"

#: Variants of a model that have a line of their own, which then has to go; a model that has to be asked for data.
_MORE = {
    "ublox-sara-r4": "variants: {r422: {set: {line: null}}}\n",
    "nordic-slm": "behaviour: {poll: 20ms}\n",
}

#: Silence within programs, which only a copy of them can be without: behind a command, before the answer to a prompt.
#: Not that around what ends data mode: a "+" of the data before it is told from it by nothing else.
_SILENCE = re.compile(r"\b(pause|settle): [0-9]+ms")


def hasty(model: str, folder: Path) -> str:
    """Write a profile that differs from the bundled one of that name in this alone; returns its path."""
    name: str | None = model
    while name is not None:  # what a profile extends is looked for beside it first
        text = merge.bundled_path(name).read_text()
        (folder / f"{name}.yaml").write_text(_SILENCE.sub(r"\1: 5ms", text))
        parent = re.search(r"^extends: (\S+)$", text, re.MULTILINE)
        name = parent and parent[1]
    path = folder / f"hasty-{model}.yaml"
    path.write_text(f"profile: 1\nname: hasty-{model}\nextends: {model}\n{_LINE}\n{_MORE.get(model, '')}")
    return str(path)
