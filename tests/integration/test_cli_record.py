"""A session of somebody else's program is recorded: nothing secret is in the file, and only its owner reads it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from modemtls.cli.record import _private

COMMANDS = [
    'AT+CMEE=1;+QICSGP=1,1,"iot","u","SECRET",1',
    'AT+QICSGP=1,1,"iot","u","SECRET",1',
    'at+qicsgp=1,1,"iot","u","SECRET",1',
    'AT+QICSGP= 1,1,"iot","u","SECRET",1',
    'AT +QICSGP=1,1,"iot","u","SECRET",1',
    'ATE1+QICSGP=1,1,"iot","u","SECRET",1',
    'AT+QICSGP=1,1,"i,ot","u","SECRET",1',
    "AT+QICSGP=1,1,iot,u,SECRET,1",
    "AT+QICSGP=1",
    'AT+QICSGP=1,1,"iot","u","SECRET"',
    "A/",
    'AT+CPIN="SECRET"',
    'AT+CPIN ="SECRET"',
    'AT+CPIN="1\x08SECRET"',
    'xxAT+CPIN="SECRET"',
    'AT+CMEE=1;+CPIN="SECRET"',
    'AT+CGAUTH=1,1,"u","SECRET"',
    'AT+QMTCONN=0,"c","user","SECRET"',
    'AT+QFTPCFG="account","u","SECRET"',
    "AT+CSQ",
]
PROGRAM = f"""
import os, serial
port = serial.Serial(os.environ["MODEMTLS_PORT"], timeout=10)
for command in {COMMANDS!r}:
    port.write(command.encode() + b"\\r")
    answer = b""
    while not answer.endswith((b"OK\\r\\n", b"ERROR\\r\\n")) and b"+CME ERROR" not in answer:
        answer += port.read(1)
    port.read(port.in_waiting)
"""


@pytest.mark.parametrize("there", [False, True])
def test_a_recording_holds_no_secret_and_is_private(tmp_path: Path, there: bool) -> None:
    paper = tmp_path / "session.at"
    if there:
        paper.write_text("older and longer than what comes\n" * 1000)
        paper.chmod(0o644)
    port = "sim:quectel-bg95?start=running&boot-time=0.05&latency=0"
    command = [sys.executable, "-m", "modemtls.cli.main", "-p", port, "record", str(paper)]
    done = subprocess.run(
        [*command, "--", sys.executable, "-c", PROGRAM],
        capture_output=True, timeout=60, check=False, umask=0o022, env={**os.environ, "MODEMTLS_PORT": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = paper.read_text()
    assert "SECRET" not in text
    assert text.count("bytes redacted") > 20
    assert r"> AT+CSQ\r" in text
    assert "older" not in text
    assert paper.stat().st_mode & 0o777 == 0o600


def test_a_recording_is_private_from_its_first_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens a file keeps it open, whatever becomes of its mode."""
    modes: list[int] = []
    change = os.fchmod

    def seen(number: int, mode: int) -> None:
        modes.append(os.fstat(number).st_mode & 0o777)
        change(number, mode)

    monkeypatch.setattr(os, "fchmod", seen)
    before = os.umask(0)
    try:
        os.close(_private(str(tmp_path / "session.at")))
    finally:
        os.umask(before)
    assert {*modes, (tmp_path / "session.at").stat().st_mode & 0o777} == {0o600}


def test_a_recording_may_go_to_a_device() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "modemtls.cli.main", "-p", "sim:quectel-bg95", "record", "/dev/stdout", "--", "true"],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"# source: ")
