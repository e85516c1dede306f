"""The command line at the AT level: the console, recording, explaining, replaying."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pexpect

from modemtls.sim.process import ModemProcess
from tests.support.command_line import (
    PROGRAM,
    Site,
    one_line,
    plain_environment_fixture,  # noqa: F401
    run,
    site_fixture,  # noqa: F401
    spawn,
)

# -- at the AT level -----------------------------------------------------------------------------------------------


def test_a_person_at_the_console() -> None:
    with ModemProcess("quectel-bg95", "--variant", "start=running") as modem:
        child = spawn("-p", modem.path, "terminal")
        child.expect("Ctrl-D")
        child.expect("at> ")
        child.send("ATX\x7fI\r")  # a typing error, taken back
        child.expect("Quectel\r\n")
        child.expect("OK\r\n")
        assert "ATI\r\n" not in child.before  # the modem's echo is not a second line
        child.send("AT+FOO\r")
        child.expect("ERROR\r\n")
        child.send('AT+QFUPL="a",3\r')
        child.expect("CONNECT\r\n")
        child.expect("data> ")
        child.send("abc\r")
        child.expect(r"\+QFUPL: 3,")
        child.expect("OK\r\n")
        child.send("\x1b[A\x1b[A\x1b[A\r")  # third line back: ATI was before FOO and QFUPL, "abc" is in between
        child.expect("ERROR\r\n")
        child.send("AT+CFUN=1,1\rhalf a li")
        child.expect("RDY\r\n")  # by itself, while a line is being typed
        child.expect("at> half a li")
        child.send("\x03")
        child.expect(r"half a li\^C")
        child.send("\x1d")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0


def test_pasted_lines_wait_for_each_other() -> None:
    """A modem drops what comes while a command runs, or takes it for a reason to break the command off."""
    with ModemProcess("quectel-bg95", "--variant", "start=running", "--variant", "latency=0.2") as modem:
        child = spawn("-p", modem.path, "terminal")
        child.expect("at> ")
        child.send("AT+CGMM\rAT+FOO\rAT+CGMI\r")
        for line in ("AT\\+CGMM", "BG95-M3", "OK", "AT\\+FOO", "ERROR", "AT\\+CGMI", "Quectel", "OK"):
            child.expect(line + "\r\n")
        child.send("AT\rAT+CGMM\r")
        child.expect("at> AT\r\n")
        child.send("\x03")  # takes back what has not gone out yet, and goes on
        child.expect(r"\^C\r\n")
        child.expect("OK\r\n")
        child.send("\x04")
        child.expect(pexpect.EOF)
        assert "BG95" not in child.before
        child.close()
        assert child.exitstatus == 0


def test_the_console_on_a_terminal_ends_with_ctrl_c_and_puts_the_terminal_back() -> None:
    with ModemProcess("quectel-bg95", "--variant", "start=running") as modem:
        child = pexpect.spawn("bash", ["-c", f"{' '.join(PROGRAM)} -p {modem.path} terminal; echo code $?; stty -a"])
        child.delayafterread = None
        child.expect("at> ")
        child.send("\x03")
        child.expect("code 130")
        child.expect(" icanon")
        child.expect(" echo ")
        child.expect(pexpect.EOF)
        child.close()


def test_the_console_on_a_pipe(site: Site) -> None:
    done = site.run("terminal", data=b"AT+CGMM\nAT+FOO\nAT+CIMI")
    assert done.returncode == 0
    lines = done.stdout.decode().splitlines()
    assert lines[:5] == ["AT+CGMM", "BG95-M3", "OK", "AT+FOO", "ERROR"]
    assert lines[5] == "AT+CIMI"
    assert lines[-1] == "OK"


def test_a_modem_that_vanishes_under_the_console() -> None:
    with ModemProcess("quectel-bg95", "--variant", "start=running", "--fault", "unplug@command 2") as modem:
        done = subprocess.run(
            [*PROGRAM, "-p", modem.path, "terminal"],
            input=b"AT\nAT+CSQ\nAT\n", capture_output=True, timeout=30, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert b"went away" in done.stderr


def test_no_answer_on_a_pipe_is_a_failure() -> None:
    master, slave = os.openpty()
    try:
        done = subprocess.run(
            [*PROGRAM, "-p", os.ttyname(slave), "--timeout", "0.2", "terminal"],
            input=b"AT\n", capture_output=True, timeout=30, check=False,
        )  # fmt: skip
    finally:
        os.close(slave)
        os.close(master)
    assert done.returncode == 1
    assert b"no answer" in done.stderr


def test_a_session_is_recorded_explained_and_replayed(site: Site, tmp_path: Path) -> None:
    paper = tmp_path / "session.at"
    done = site.run("record", paper, "--", *PROGRAM, "info", "--json")
    assert done.returncode == 0, done.stderr
    first = json.loads(done.stdout)
    text = paper.read_text()
    assert text.startswith("# source: ")
    assert "> AT+CGMM\\r\n" in text

    done = run("explain", paper)
    assert done.returncode == 0, done.stderr
    assert b"BG95-M3" in done.stdout

    player = subprocess.Popen([*PROGRAM, "replay", str(paper)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert player.stdout is not None
    path = player.stdout.readline().decode().strip()
    again = run("-p", path, "info", "--json")
    assert json.loads(again.stdout) == first
    _, err = player.communicate(timeout=10)
    assert player.returncode == 0, err


def test_recording_for_whoever_comes_until_ctrl_c(site: Site, tmp_path: Path) -> None:
    paper = tmp_path / "session.at"
    command = [*PROGRAM, "-p", site.modem.path, "record", str(paper)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    path = process.stdout.readline().decode().strip()
    assert run("-p", path, "info").returncode == 0
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 0, err
    assert run("explain", paper).returncode == 0


def test_the_recorded_commands_exit_code_is_the_exit_code(site: Site, tmp_path: Path) -> None:
    assert site.run("record", tmp_path / "a.at", "--", "sh", "-c", "exit 7").returncode == 7
    one_line(site.run("record", tmp_path / "no" / "a.at", "--", "true"), "no/a.at")
    one_line(site.run("record", tmp_path / "b.at", "--", "no-such-program"), "no-such-program")


def test_a_secret_does_not_get_onto_paper(tmp_path: Path) -> None:
    pin, paper = tmp_path / "pin", tmp_path / "session.at"
    pin.write_text("1234\n")
    with ModemProcess("quectel-bg95", "--variant", "sim=pin") as modem:
        spoken = [*PROGRAM, "--pin-file", pin, "connect", "a.invalid", 1, "--no-verify"]
        assert run("-p", modem.path, "record", paper, "--", *spoken).returncode == 1
    text = paper.read_text()
    assert 'AT+CPIN="{4 bytes redacted}"' in text
    assert "1234" not in text


def test_a_transcript_that_is_none_and_bytes_that_belong_to_nothing(tmp_path: Path) -> None:
    one_line(run("explain", tmp_path / "absent.at"), "absent.at")
    bad = tmp_path / "bad.at"
    bad.write_text("# source: x\n? what\n")
    one_line(run("explain", bad), "bad.at", "2")
    bad.write_text("# source: x\n# evidence: composed\n> AT\\r\n< \\r\\nOK\\r\\n\\x01\\x02\\x03\n")
    done = run("explain", bad)
    assert done.returncode == 1
    assert b"belong to nothing" in done.stdout
    assert done.stderr.count(b"\n") == 1


def test_a_replay_notices_when_the_host_says_something_else(tmp_path: Path) -> None:
    paper = tmp_path / "a.at"
    paper.write_text("# source: x\n# evidence: composed\n> AT\\r\n< \\r\\nOK\\r\\n\n> AT+CGMM\\r\n")
    player = subprocess.Popen([*PROGRAM, "replay", str(paper)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert player.stdout is not None
    path = player.stdout.readline().decode().strip()
    command = [*PROGRAM, "-p", path, "terminal"]
    subprocess.run(command, input=b"AT\nAT+CSQ\n", capture_output=True, timeout=30, check=False)
    _, err = player.communicate(timeout=10)
    assert player.returncode == 1
    assert err.count(b"\n") == 1
    assert b"AT+C'" in err
    assert b"SQ" in err
