"""Real installations, without a network: what the package needs comes from where the tests run."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def needs_pip() -> None:
    if importlib.util.find_spec("pip") is None:
        pytest.skip("no pip where the tests run")


def checkout(folder: Path) -> Path:
    """A copy of the working tree's files that an sdist would take, links as links."""
    folder.mkdir()
    names = ["modemtls", "profiles", "sim", "tests", "docs", "bench", "README.md", "Makefile", "pyproject.toml"]
    pack = subprocess.Popen(
        ["tar", "-C", str(ROOT), "--exclude=__pycache__", "-cf", "-", *names], stdout=subprocess.PIPE
    )
    subprocess.run(["tar", "-C", str(folder), "-xf", "-"], stdin=pack.stdout, check=True)
    assert pack.stdout is not None
    pack.stdout.close()
    assert pack.wait() == 0
    return folder


def dependencies(folder: Path) -> Path:
    """A directory with all packages of this environment but modemtls itself: not even its metadata is there."""
    folder.mkdir()
    for site in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(site).iterdir():
            if "modemtls" not in entry.name and entry.suffix != ".pth" and not entry.name.startswith(("pip", "__")):
                (folder / entry.name).symlink_to(entry)
    return folder


def environment(**more: str) -> dict[str, str]:
    """Nothing of this environment, nor of pip's configuration."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_", "MODEMTLS_"))}
    return {**kept, "PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INDEX": "1", **more}


def installed(wheel: Path, folder: Path) -> Path:
    """A virtual environment with the wheel in it; the directory of its programs."""
    run = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
    subprocess.run(run, check=True, capture_output=True, timeout=60)
    python = folder / "bin" / "python"
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(f"{dependencies(folder / 'dependencies')}\n")
    run = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(run, check=True, capture_output=True, timeout=120, env=environment())
    return folder / "bin"
