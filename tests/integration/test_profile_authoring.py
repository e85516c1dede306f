"""docs/profile-authoring.md is true: its fragments are in the profiles, its example loads and works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from modemtls.profile import check, load

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "profile-authoring.md").read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
SMALLEST = next(block for block in BLOCKS if "name: my-modem" in block)
PROFILES = [
    [line.strip() for line in (ROOT / "profiles" / f"{name}.yaml").read_text().splitlines()]
    for name in ("quectel-common", "quectel-bg95", "nordic-common", "nordic-sm", "ublox-common")
]


def in_order(wanted: list[str], lines: list[str]) -> str | None:
    """The first wanted line that does not follow the one before it."""
    place = 0
    for line in wanted:
        try:
            place = lines.index(line, place) + 1
        except ValueError:
            return line
    return None


@pytest.mark.parametrize("block", [b for b in BLOCKS if b != SMALLEST], ids=lambda b: re.sub(r"\W+", "-", b)[:30])
def test_what_is_shown_is_what_is_there(block: str) -> None:
    wanted = [line.strip() for line in block.splitlines()]
    missing = [in_order(wanted, lines) for lines in PROFILES]
    assert None in missing, missing


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "my-modem.yaml"
    path.write_text(SMALLEST)
    return path


def test_the_smallest_profile_loads_and_differs_as_it_says(mine: Path) -> None:
    assert check([mine]) == []
    profile = load(mine)
    assert profile.limits["send"] == 1024
    assert profile.able("push") is False
    assert profile.able("pull") is True


def test_a_misspelling_is_told_as_the_text_says(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mine.parent)
    mine.write_text(SMALLEST.replace("send: 1024", "sned: 1024"))
    (told,) = re.findall(r"^```text\n(.*?)\n```$", TEXT, re.MULTILINE | re.DOTALL)
    assert [str(problem) for problem in check([mine.name])] == [told]


def test_the_tools_run_and_the_profile_drives_a_modem(mine: Path) -> None:
    program = mine.parent / "modemtls"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m modemtls "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{mine.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    (tools,) = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    code = f"set -e\n{tools}\nmodemtls --profile ./my-modem.yaml -p sim:quectel-bg95 info\n"
    done = subprocess.run(
        ["bash", "-c", code], cwd=mine.parent, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^profile +my-modem$", done.stdout, re.MULTILINE)
    assert re.search(r"^cannot .*\bpush\b", done.stdout, re.MULTILINE)
