"""A live dialogue is written down while it happens: its own, or that of another program."""

from __future__ import annotations

import io
import os
import socket
import sys
import threading
from pathlib import Path

import pytest

from modemtls.at.port import FdPort
from modemtls.at.trace import TraceRecord
from modemtls.dialogue.record import Recorder, pass_through
from modemtls.errors import PortLostError
from modemtls.transcript import Direction, Redacted, Turn, parse

OUT, IN = Direction.OUT, Direction.IN


def record(*records: TraceRecord) -> str:
    file = io.StringIO()
    recorder = Recorder(file, source="a test", profile="example")
    for item in records:
        recorder(item)
    recorder.close()
    return file.getvalue()


def test_a_channels_trace_becomes_a_transcript() -> None:
    text = record(
        TraceRecord(10.0, "note", b"", "opened"),
        TraceRecord(10.0, "out", b"AT+CSQ\r", "AT+CSQ"),
        TraceRecord(10.01, "in", b"\r\n+CSQ: 30,99\r\n\r\nOK\r\n", "+CSQ: 30,99"),
        TraceRecord(11.25, "in", b"\r\nRDY\r\n", "RDY"),
    )
    assert text.splitlines() == [
        "# source: a test",
        "# profile: example",
        "# evidence: device",
        r"> AT+CSQ\r",
        r"< \r\n+CSQ: 30,99\r\n\r\nOK\r\n",
        "~ 1.24",
        r"< \r\nRDY\r\n",
    ]


def test_what_the_channel_blacked_out_counts_the_bytes_that_passed() -> None:
    text = record(
        TraceRecord(0.0, "out", b"AT+XPW=***,1\r", "AT+XPW=***", ((7, 3, 10),)),
        TraceRecord(0.0, "in", b"\r\nOK\r\n", "OK"),
    )
    assert parse(text).turns()[0] == Turn(OUT, (b"AT+XPW=", Redacted(10), b",1\r"))


@pytest.mark.parametrize(
    ("shown", "passed", "written"),
    [
        (b'AT+CPIN="***"', 14, 'AT+CPIN="{4 bytes redacted}"'),
        (b'AT+XA="***",1,"***"', 23, 'AT+XA="{15 bytes redacted}"'),
        (b"***", 1188, "{1188 bytes redacted}"),
        (b'AT+CPIN="***"', 5, "{5 bytes redacted}"),
    ],
)
def test_what_is_around_a_mask_is_kept(shown: bytes, passed: int, written: str) -> None:
    text = record(TraceRecord(0.0, "out", shown + b"\r", "", ((0, len(shown), passed),)))
    assert f"> {written}\\r\n" in text or f"> {written}\n> \\r\n" in text
    assert parse(text).turns()[0].length == passed + 1


def test_secrets_that_nobody_blacked_out() -> None:
    text = record(TraceRecord(0.0, "out", b'AT+CPIN="1234"\r', "AT+CPIN"), TraceRecord(0.1, "in", b"\r\nOK\r\n", "OK"))
    assert "1234" not in text
    assert '"{4 bytes redacted}"' in text


def test_what_a_profile_marks_as_secret_is_one_without_being_asked() -> None:
    text = record(TraceRecord(0.0, "out", b'AT+QICSGP=1,1,"iot","me","hush",1\r', ""))
    assert "hush" not in text
    assert '"me","{4 bytes redacted}"' in text


def test_the_file_is_complete_after_each_line() -> None:
    file = io.StringIO()
    recorder = Recorder(file, source="x")
    recorder.feed(0.0, OUT, b"AT")
    assert "AT" not in file.getvalue(), "half a line could still become a secret"
    recorder.feed(0.0, OUT, b"\r")
    assert parse(file.getvalue()).turns() == [Turn(OUT, (b"AT\r",))]


def test_long_payloads_make_lines_of_bearable_length() -> None:
    data = bytes(range(256)) * 20
    file = io.StringIO()
    recorder = Recorder(file, source="x")
    recorder.feed(0.0, IN, data)
    recorder.close()
    assert parse(file.getvalue()).turns() == [Turn(IN, (data,))]
    assert max(map(len, file.getvalue().splitlines())) < 2000


PROGRAM = r"""
import os, signal, sys, tty
signal.alarm(5)
terminal = os.open(os.environ["MODEMTLS_PORT"], os.O_RDWR | os.O_NOCTTY)
tty.setraw(terminal)
def until(end):
    data = b""
    while not data.endswith(end):
        data += os.read(terminal, 1000)
    return data
os.write(terminal, b'AT+CPIN="1234"\r')
until(b"OK\r\n")
os.write(terminal, bytes(range(256)))
until(b"DONE\r\n")
os.write(terminal, b"AT+BYE\r")
sys.exit(7)
"""


@pytest.fixture
def modem() -> tuple[socket.socket, FdPort]:
    mine, theirs = socket.socketpair()
    port = FdPort("test", theirs.detach())
    with mine:
        yield mine, port
    port.close()


def test_another_program_talks_to_the_modem_and_is_recorded(
    modem: tuple[socket.socket, FdPort], tmp_path: Path
) -> None:
    far, port = modem
    heard = bytearray()

    def answer() -> None:
        far.settimeout(5)
        while not heard.endswith(b"BYE\r"):
            heard.extend(far.recv(4096))
            if heard == b'AT+CPIN="1234"\r':
                far.sendall(b"\r\nOK\r\n")
            elif len(heard) == 15 + 256:
                far.sendall(bytes(range(255, -1, -1)) + b"\r\nDONE\r\n")

    thread = threading.Thread(target=answer)
    thread.start()
    file = io.StringIO()
    code = pass_through(port, Recorder(file, source="x"), [sys.executable, "-c", PROGRAM])
    thread.join(5)
    assert code == 7, "the program's own exit code"
    assert bytes(heard) == b'AT+CPIN="1234"\r' + bytes(range(256)) + b"AT+BYE\r"
    turns = parse(file.getvalue()).turns()
    said = {
        d: b"".join(c for t in turns if t.direction is d for c in t.chunks if isinstance(c, bytes)) for d in Direction
    }
    assert said[OUT] == b'AT+CPIN=""\r' + bytes(range(256)) + b"AT+BYE\r"
    assert said[IN] == b"\r\nOK\r\n" + bytes(range(255, -1, -1)) + b"\r\nDONE\r\n"


def test_a_modem_that_goes_away_ends_it(modem: tuple[socket.socket, FdPort]) -> None:
    far, port = modem
    far.close()
    with pytest.raises(PortLostError, match="test"):
        pass_through(port, Recorder(io.StringIO(), source="x"), [sys.executable, "-c", "input()"])


def test_without_a_command_the_path_is_told(modem: tuple[socket.socket, FdPort]) -> None:
    _, port = modem
    told = []

    def opened(path: str) -> None:
        told.append(path)
        assert os.path.exists(path)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pass_through(port, Recorder(io.StringIO(), source="x"), [], opened=opened)
    assert told
