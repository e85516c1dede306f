"""`modemtls demo`: what a newcomer runs first."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from modemtls.cli import demo
from modemtls.cli.main import main

COMMAND = [sys.executable, "-m", "modemtls", "demo"]


def simulators(parent: int | None = None) -> set[str]:
    """Process ids of simulated modems; with ``parent``, of those that this process has started."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                started_by = int((entry / "stat").read_text().rpartition(")")[2].split()[1])  # proc(5)
            except OSError:
                continue
            if b"modemtls.sim.run" in words and parent in {None, started_by}:
                found.add(entry.name)
    return found


def knows(process: str, folder: Path) -> bool:
    """Whether a process was started with this folder for what is temporary."""
    try:
        return str(folder).encode() in Path("/proc", process, "environ").read_bytes()
    except OSError:
        return False  # it has ended


def test_the_demonstration_shows_dialogue_page_and_refusal_and_leaves_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "MODEMTLS_PORT": "/dev/absent"}
    done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    text = done.stdout
    assert re.search(r"^ +\d+\.\d+ --> AT\+QSSLOPEN=\d+,\d+,\d+,\"demo.example\",443", text, re.MULTILINE)
    assert re.search(r"^ +\d+\.\d+ <-- \+QSSLOPEN: \d+,0$", text, re.MULTILINE)
    assert "Hello from demo.example" in text
    assert "server name demo.example" in text
    assert "BEGIN CERTIFICATE" not in text
    assert text.index("Hello from demo.example") < text.index('"wrong.example",443') < text.index("Refused: ")
    assert not [pid for pid in simulators() if knows(pid, tmp_path)]
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_not_refused_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "WRONG_NAME", demo.NAME)
    assert main(["demo"]) == 1
    assert "NOT refused" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "said"), [("absent.invalid", "absent.invalid"), ("unmapped.example", "not by a look at the certificate")]
)
def test_a_refusal_for_another_reason_is_a_failure(
    name: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = demo._page

    def and_then_the_wrong_wrong_name(*arguments: object) -> bytes:
        monkeypatch.setattr(demo, "WRONG_NAME", name)  # neither leads to the server
        return page(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(demo, "_page", and_then_the_wrong_wrong_name)
    assert main(["demo"]) == 1
    assert said in capsys.readouterr().err


def test_a_simulator_that_does_not_start_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "_modem", lambda: ("absent", "modem"))
    assert main(["demo"]) == 1
    err = capsys.readouterr().err
    assert "did not start" in err
    assert err.count("\n") == 1


def test_a_missing_extra_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["demo"]) == 1
    err = capsys.readouterr().err
    assert "modemtls[sim]" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_stopping_it_halfway_leaves_no_modem_behind(stop: signal.Signals) -> None:
    process = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "modem at" in line:
            break
    modems = [os.pidfd_open(int(pid)) for pid in simulators(process.pid)]
    assert len(modems) == 1
    process.send_signal(stop)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 128 + stop
    assert err == ""
    assert select.select(modems, [], [], 5)[0] == modems  # readable when it has ended
    for modem in modems:
        os.close(modem)


def test_an_interrupt_while_a_class_is_made_gives_the_same_code(tmp_path: Path) -> None:
    (tmp_path / "hit.py").write_text(
        "import modemtls.cli.main, modemtls.__main__\n"
        "def run(begin):\n"
        "    begin()\n"
        "    try:\n"
        "        exec('raise KeyboardInterrupt')\n"
        "    except KeyboardInterrupt:\n"
        "        return 130\n"
        "modemtls.cli.main.main = run\n"
        "raise SystemExit(modemtls.__main__.main())\n"
    )
    done = subprocess.run([sys.executable, "-m", "hit"], cwd=tmp_path, timeout=20, check=False)
    assert done.returncode == 130
