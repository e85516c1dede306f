"""The package as users get it: built as a wheel, installed elsewhere, run from another directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_holds_simulator_profiles_and_type_marker(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "modemtls/sim/interpreter.py" in names
    assert "modemtls/profiles/quectel-bg95.yaml" in names
    assert "modemtls/py.typed" in names
    assert not [n for n in names if n.startswith(("sim/", "profiles/", "tests/"))]


def test_an_installed_wheel_runs_from_another_directory(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    environment = {**os.environ, "PYTHONPATH": str(site)}
    code = (
        "import modemtls.cli.main as m, modemtls; print(modemtls.__file__, flush=True);"
        "raise SystemExit(m.main(['profiles', '--json']))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    where, _, rest = done.stdout.partition("\n")
    assert where.startswith(str(site))
    profiles = {entry["name"]: entry for entry in json.loads(rest)}
    assert {"quectel-bg95", "quectel-bg96"} <= set(profiles)
    assert {"name", "vendor", "models", "capabilities", "limits"} <= set(profiles["quectel-bg95"])
