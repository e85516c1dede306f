"""A transcript played as a modem: strict about the host's bytes, tolerant about when, and says where it went wrong."""

from __future__ import annotations

import os
import re
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modemtls.dialogue.replay import Replay, ReplayModem
from modemtls.transcript import parse

SESSION = """\
# profile: example
> AT\\r
< AT\\r\\r\\nOK\\r\\n
> AT+XSEND=3\\r
~ 0.5
< \\r\\n>\\x20
> {3 bytes redacted}
< \\r\\nSEND OK\\r\\n
~ 1
< \\r\\n+XURC: "recv",{1 bytes redacted}\\r\\n
"""


def talk(said: list[bytes], text: str = SESSION) -> tuple[Replay, bytes]:
    replay = Replay(parse(text).turns())
    heard = b""
    for data in [*said, b""]:
        replay.receive(data)
        while (due := replay.due()) is not None:
            heard += due[1]
            replay.spoke()
    return replay, heard


def test_the_whole_session() -> None:
    replay, heard = talk([b"AT\r", b"AT+XSEND=3\r", b"abc"])
    assert replay.finished
    assert replay.deviation is None
    assert heard == b'AT\r\r\nOK\r\n\r\n> \r\nSEND OK\r\n\r\n+XURC: "recv",x\r\n'


@given(st.lists(st.integers(1, 5), max_size=12))
def test_how_the_host_cuts_its_bytes_does_not_matter(cuts: list[int]) -> None:
    rest = b"AT\rAT+XSEND=3\r\x00\xff\r"
    said = []
    for cut in cuts:
        said.append(rest[:cut])
        rest = rest[cut:]
    replay, heard = talk([*said, rest])
    assert replay.finished
    assert heard == talk([b"AT\r", b"AT+XSEND=3\r", b"abc"])[1]


def test_the_modem_waits_for_the_host() -> None:
    replay, heard = talk([b"AT\rAT+XS"])
    assert heard == b"AT\r\r\nOK\r\n"
    assert not replay.finished
    assert replay.deviation is None
    assert "line 4" in replay.waiting
    assert "END=3" in replay.waiting


@pytest.mark.parametrize(
    ("said", "line", "says"),
    [
        ([b"AX\r"], 2, r"line 2: expected 'T\\r' after 'A', the host sent 'X\\r'"),
        ([b"AT\r", b"AT+XSEND=4\r"], 4, r"line 4: expected '3\\r' after 'AT+XSEND=', the host sent '4\\r'"),
        ([b"AT\r", b"ATI\r"], 4, "line 4: expected '+XSEND=3"),
        ([b"AT\r", b"AT+XSEND=3\r", b"abcd"], 0, "behind the end of the transcript: nothing more expected"),
    ],
)
def test_a_deviation_says_where(said: list[bytes], line: int, says: str) -> None:
    replay, heard = talk(said)
    assert replay.deviation is not None
    assert replay.deviation.line == line
    assert says in str(replay.deviation)
    assert replay.due() is None, "the modem falls silent"
    before = heard
    replay.receive(b"AT\r")
    assert replay.due() is None
    assert heard == before


@pytest.mark.parametrize("transcript", [r"> AT\r", r'> AT+CPIN="{4 bytes redacted}"\r', r"> AT+CSQ\r", r"> AT+CPIN=\r"])
@pytest.mark.parametrize(
    "said", [b'AT+CPIN="918273"\r', b"AT+CPIN=918273\r", b'AT+CMEE=1;+CPIN="918273"\r', b'AT\rAT+CPIN="918273"\r']
)
def test_a_deviation_tells_no_secret(transcript: str, said: bytes) -> None:
    for width in (1, 100):
        replay = Replay(parse(f"{transcript}\n").turns())
        for at in range(0, len(said), width):
            replay.receive(said[at : at + width])
        if replay.deviation is not None:
            assert not re.search("[1-9]{2}", str(replay.deviation).partition(": ")[2])


def test_pauses_are_said() -> None:
    replay = Replay(parse(SESSION).turns())
    replay.receive(b"AT\r")
    assert replay.due() == (0.0, b"AT\r\r\nOK\r\n")
    replay.spoke()
    replay.receive(b"AT+XSEND=3\r")
    assert replay.due() == (0.5, b"\r\n> ")


@contextmanager
def host(path: str) -> Iterator[int]:
    terminal = os.open(path, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(terminal)
    try:
        yield terminal
    finally:
        os.close(terminal)


def played(text: str, said: bytes, **options: float) -> tuple[bool, bytes, ReplayModem]:
    with ReplayModem(parse(text), speed=0, **options) as modem:
        result: list[bool] = []
        thread = threading.Thread(target=lambda: result.append(modem.run(idle=2)))
        with host(modem.path) as terminal:
            thread.start()
            os.write(terminal, said)
            thread.join(5)
            os.set_blocking(terminal, False)
            try:
                heard = os.read(terminal, 4096)
            except BlockingIOError:
                heard = b""
    return result[0], heard, modem


def test_on_a_pseudo_terminal_byte_for_byte() -> None:
    every = bytes(range(256))
    escaped = "".join(f"\\x{byte:02x}" for byte in every)
    kept, heard, _ = played(f"> {escaped}\n< {escaped}\n", every)
    assert kept
    assert heard == every


def test_on_a_pseudo_terminal_a_deviation_ends_it() -> None:
    kept, heard, modem = played("> AT\\r\n< OK\n", b"ATI\r")
    assert not kept
    assert heard == b""
    assert modem.replay.deviation is not None


def test_a_host_that_says_too_much_is_caught() -> None:
    kept, _, modem = played("> AT\\r\n< OK\n", b"AT\rAT\r")
    assert not kept
    assert modem.replay.deviation is not None


def test_a_host_that_says_too_much_afterwards_is_caught_too() -> None:
    with ReplayModem(parse("> AT\\r\n< OK\n")) as modem:

        def talk() -> None:
            with host(modem.path) as terminal:
                os.write(terminal, b"AT\r")
                assert os.read(terminal, 10) == b"OK"
                os.write(terminal, b"AT\r")
                done.wait(5)

        done = threading.Event()
        thread = threading.Thread(target=talk)
        thread.start()
        kept = modem.run(idle=2)
        done.set()
        thread.join(5)
    assert not kept
    assert "behind the end" in str(modem.replay.deviation)


def test_a_host_that_says_nothing_does_not_hang_it() -> None:
    with ReplayModem(parse("> AT\\r\n< OK\n")) as modem:
        assert not modem.run(idle=0.02)
        assert modem.replay.deviation is None
        assert "AT" in modem.replay.waiting
