"""The simulated modem in a process of its own, with pexpect as an outside party, and the pytest fixtures (the
plugin's entry point gives them)."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pexpect.fdpexpect
import pytest

from modemtls.sim.process import ModemProcess
from tests.support.servers import echo, tls_service


class Terminal:
    """A person with a terminal program."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        self.port = pexpect.fdpexpect.fdspawn(self.fd, timeout=10)
        self.port.delayafterread = None
        self.port.delaybeforesend = None

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.port.close()

    def say(self, line: str, expect: str = "\r\nOK\r\n") -> bytes:
        self.port.send(line + "\r")
        self.port.expect_exact(expect)
        return bytes(self.port.before)

    def expect(self, text: str) -> None:
        self.port.expect_exact(text)


def test_whole_session_by_hand(pki, tmp_path: Path):
    leaf = pki.leaf("server.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert, leaf.key)
    trace = tmp_path / "trace"
    with (
        tls_service(context, echo) as port,
        ModemProcess(
            "quectel-bg95",
            "--map",
            f"server.example:443=127.0.0.1:{port}",
            "--clock",
            "2026-03-01T10:00:00",
            "--variant",
            "registration-time=0",
            "--trace",
            str(trace),
        ) as modem,
        Terminal(modem.path) as terminal,
    ):
        for line in ("RDY", "APP RDY", "+CFUN: 1", "+CPIN: READY", "+QUSIM: 1"):
            terminal.expect(f"\r\n{line}\r\n")
        terminal.say("ATE0")
        terminal.say("AT+CMEE=2")
        terminal.say('AT+QFDEL="ca.pem"', "\r\n+CME ERROR: 405\r\n")
        pem = pki.ca.read_bytes()
        terminal.say(f'AT+QFUPL="ca.pem",{len(pem)},60', "\r\nCONNECT\r\n")
        terminal.port.send(pem)
        terminal.expect(f"\r\n+QFUPL: {len(pem)},")
        terminal.expect("\r\nOK\r\n")
        terminal.say('AT+QICSGP=1,1,"iot","","",0')
        terminal.say("AT+QIACT=1")
        for setting in (
            '"cacert",1,"ca.pem"',
            '"seclevel",1,1',
            '"sni",1,1',
            '"checkhost",1,1',
            '"ignorelocaltime",1,0',
            '"sslversion",1,3',
        ):
            terminal.say(f"AT+QSSLCFG={setting}")
        terminal.say(f'AT+CCLK="{time.strftime("%y/%m/%d,%H:%M:%S", time.gmtime())}+00"')
        terminal.say('AT+QSSLOPEN=1,1,0,"server.example",443,0')
        terminal.expect("\r\n+QSSLOPEN: 0,0\r\n")
        terminal.say("AT+QSSLSEND=0,5", "\r\n> ")
        terminal.port.send(b"a\x1a\r\nb")
        terminal.expect("\r\nSEND OK\r\n")
        terminal.expect('\r\n+QSSLURC: "recv",0\r\n')
        terminal.say("AT+QSSLRECV=0,1500", "\r\n+QSSLRECV: 5\r\na\x1a\r\nb\r\n\r\nOK\r\n")
        terminal.say("AT+QSSLCLOSE=0")
        terminal.say('AT+QSSLOPEN=1,1,0,"other.example",443,0')
        terminal.expect("\r\n+QSSLOPEN: 0,566\r\n")
        assert modem.close() == 0
    text = trace.read_text()
    assert '> AT+QSSLOPEN=1,1,0,"server.example",443,0\\r\n' in text
    assert "# TLS: TLSv1.2" in text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_stops_at_a_signal_with_exit_code_zero_and_takes_its_link_along(tmp_path: Path, number):
    link = tmp_path / "modem"
    with ModemProcess("quectel-bg96", "--link", str(link)) as modem:
        assert link.resolve() == Path(modem.path)
        os.kill(modem.pid, number)
        assert modem.wait() == 0
    assert not link.is_symlink()


def test_first_line_is_the_path_and_nothing_else_is_printed(tmp_path: Path):
    command = [sys.executable, "-m", "modemtls.sim.run", "quectel-bg95"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        path = process.stdout.readline().rstrip("\n")
        assert Path(path).is_char_device()
        process.terminate()
        assert process.communicate() == ("", "")


def test_wrong_usage_from_python():
    with pytest.raises(RuntimeError, match="no simulated modem 'x'"):
        ModemProcess("x")


def test_paced_process_is_as_fast_as_its_baud_rate():
    with (
        ModemProcess("quectel-bg95", "--baud", "115200", "--variant", "start=running") as modem,
        Terminal(modem.path) as terminal,
    ):
        terminal.say("ATE0")
        began = time.monotonic()
        answer = terminal.say("AT+QSSLCFG=?")
        seconds = time.monotonic() - began
        assert seconds > 0.9 * len(answer) * 10 / 115200
        assert seconds < 1


def test_fixtures(simulated_modem, simulated_modem_process):
    first = simulated_modem(variants=["start=running", "pin=1"], files={"a": b"x"})
    second = simulated_modem_process("quectel-bg96", "--variant", "start=running")
    with Terminal(first.path) as terminal:
        assert b'+QFLST: "a",1' in terminal.say("AT+QFLST")
    with Terminal(second.path) as terminal:
        assert b"BG96" in terminal.say("AT+GMM")
    assert first.files == {"a": b"x"}
    assert first.commands == ["AT+QFLST"]


def test_a_server_that_never_answers_does_not_block_the_modem():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with (
            ModemProcess("quectel-bg95", "--map", f"h.example=127.0.0.1:{port}", "--variant", "start=running") as modem,
            Terminal(modem.path) as terminal,
        ):
            terminal.say("ATE0;+QIACT=1")
            terminal.say('AT+QSSLOPEN=1,1,0,"h.example",443,0')
            assert b",1,1,0,0," in terminal.say("AT+QSSLSTATE=0")
            terminal.say("AT+QSSLCLOSE=0")
            assert b"QSSLSTATE:" not in terminal.say("AT+QSSLSTATE")
