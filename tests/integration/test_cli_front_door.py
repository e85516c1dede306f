"""Ctrl-C at the very beginning of any command: exit code 130, and not a word, least of all a traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# What a hand at the keyboard does by chance: the signal arrives while a certain module is being imported, or in a
# callback from which Python lets no exception escape.
STRUCK = """
import importlib.abc, os, runpy, signal, sys, weakref

class Target: pass

class Strike(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            if {hidden}:
                target = Target()
                weakref.finalize(target, os.kill, os.getpid(), signal.SIGINT)
                del target
            else:
                os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Strike())
sys.argv[1:] = {words!r}
runpy.run_module("modemtls", run_name="__main__", alter_sys=True)
"""


def struck(module: str, *words: str, hidden: bool = False, **more: object) -> subprocess.CompletedProcess[str]:
    code = STRUCK.format(module=module, words=list(words), hidden=hidden)
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False, **more
    )  # type: ignore[call-overload]


INFO = ("info", "-p", "sim:quectel-bg95")
GET = ("get", "http://www.example/", "-p", "sim:quectel-bg95")


@pytest.mark.parametrize("hidden", [False, True], ids=["", "in a callback"])
@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("modemtls.cli", ("--help",)), ("modemtls.cli.main", ("--help",)), ("argparse", ("--help",)),
        ("modemtls.cli.table", INFO), ("modemtls.cli.info", INFO), ("modemtls.api", INFO), ("ssl", INFO),
        ("modemtls.modem.finding", INFO), ("serial", GET), ("modemtls.cli.get", GET),
        ("modemtls.cli.profiles", ("profiles",)), ("modemtls.cli.simulate", ("sim", "quectel-bg95")),
        ("modemtls.cli.demo", ("demo",)),
    ],
)  # fmt: skip
def test_while_it_is_being_imported(module: str, words: tuple[str, ...], hidden: bool) -> None:
    done = struck(module, *words, hidden=hidden)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize(
    ("module", "words"), [("modemtls.sim.embedded", INFO), ("yaml", INFO), ("yaml", ("profiles",))]
)
def test_later_it_unwinds(module: str, words: tuple[str, ...]) -> None:
    done = struck(module, *words)
    assert (done.returncode, done.stderr) == (130, "")


def test_a_job_in_the_background_stays_deaf_to_it() -> None:
    """A shell without job control starts background jobs with SIGINT ignored."""
    done = struck(
        "argparse", "profiles", "--names", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)
    )
    assert done.returncode == 0
    assert "quectel-bg95" in done.stdout


def test_the_front_door_imports_nothing_before_it_is_guarded() -> None:
    code = (
        "import sys\nbefore = set(sys.modules)\nimport modemtls.__main__\n"
        "print(sorted(set(sys.modules) - before - {'modemtls', 'modemtls.__main__', '__future__'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_it_is_the_door_of_the_installed_program() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"modemtls": "modemtls.__main__:main"}


def test_it_takes_no_handler_away_from_whoever_calls_it() -> None:
    code = (
        "import os, signal, sys\nmine = lambda *_: print('mine')\nsignal.signal(signal.SIGINT, mine)\n"
        "sys.argv[1:] = ['--version']\nfrom modemtls.__main__ import main\nmain()\n"
        "assert signal.getsignal(signal.SIGINT) is mine"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("modemtls ")
