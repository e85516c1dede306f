"""The package as users get it: a wheel, from the tree and from the sdist, installed, and run from another directory."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support.installing import ROOT, environment, installed, needs_pip


def build(target: str, source: Path, out: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(out)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=120)
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module", params=["tree", "sdist"])
def wheel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = ROOT
    if request.param == "sdist":
        with tarfile.open(build("sdist", ROOT, folder / "sdist")) as archive:
            archive.extractall(folder / "unpacked", filter="data")
        (source,) = (folder / "unpacked").iterdir()
    return build("wheel", source, folder / "wheel")


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs_pip()
    return installed(wheel, tmp_path_factory.mktemp("venv") / "venv")


def run(*command: object, folder: Path) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_wheel_holds_simulator_profiles_and_type_marker(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("modemtls/sim/interpreter.py", "modemtls/profiles/quectel-bg95.yaml", "modemtls/py.typed"):
        assert names.count(name) == 1
    outside = [name for name in names if not name.startswith(("modemtls/", "modemtls-"))]
    assert outside == []
    assert not [name for name in names if "__pycache__" in name]


def test_the_wheel_holds_every_module_of_the_tree(wheel: Path) -> None:
    tree = [
        f"{to}/{path.relative_to(ROOT / at)}"
        for at, to in (("modemtls", "modemtls"), ("sim", "modemtls/sim"), ("profiles", "modemtls/profiles"))
        for kind in ("*.py", "*.yaml")
        for path in (ROOT / at).rglob(kind)
    ]
    names = zipfile.ZipFile(wheel).namelist()
    assert sorted(set(tree)) == sorted(name for name in names if name.endswith((".py", ".yaml")))


def test_the_installed_program_runs_from_another_directory(programs: Path, tmp_path: Path) -> None:
    where = run(programs / "python", "-c", "import modemtls; print(modemtls.__file__)", folder=tmp_path)
    assert where.startswith(str(programs.parent / "lib"))
    listed = json.loads(run(programs / "modemtls", "profiles", "--json", folder=tmp_path))
    profiles = {entry["name"]: entry for entry in listed}
    assert {"quectel-bg95", "quectel-bg96"} <= set(profiles)
    assert {"name", "vendor", "models", "capabilities", "limits"} <= set(profiles["quectel-bg95"])
    version = run(programs / "modemtls", "--version", folder=tmp_path)
    assert version.startswith("modemtls ")
    assert run(programs / "python", "-m", "modemtls", "--version", folder=tmp_path) == version
    assert list(tmp_path.iterdir()) == []


def test_the_installed_program_has_the_simulated_modem(programs: Path, tmp_path: Path) -> None:
    told = json.loads(run(programs / "modemtls", "-p", "sim:quectel-bg95", "info", "--json", folder=tmp_path))
    assert told["profile"] == "quectel-bg95"
    assert told["capabilities"]["hostname_check"] is True


def test_the_installed_pytest_plugin_is_found(programs: Path, tmp_path: Path) -> None:
    test = tmp_path / "test_mine.py"
    test.write_text("def test_it(simulated_modem):\n    assert simulated_modem('quectel-bg96').path\n")
    assert "1 passed" in run(programs / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", test, folder=tmp_path)
