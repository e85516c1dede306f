"""A modem that means harm to the terminal of whoever asks it: nothing of what it says is acted upon."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

NASTY = b"\x1b]0;pwn\x07\x1b[31m\xc2\x9b5m\xe2\x80\xae"
RAW = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]|\xe2\x81[\xa6-\xa9]")
ANSWERS = {
    rb"ATI": b"Quectel\r\nBG95-M3\r\nRevision: X" + NASTY,
    rb"AT\+C?GMI": b"Quectel",
    rb"AT\+C?GMM": b"BG95-M3",
    rb"AT\+C?GMR": b"R" + NASTY,
    rb"AT\+CGSN": b"123456789012345",
    rb"AT\+CPIN\?": b"+CPIN: READY",
    rb"AT\+COPS\?": b'+COPS: 0,0,"op' + NASTY + b'",8',
    rb"AT\+QCCID": b"+QCCID: " + NASTY + b"89",
    rb"AT\+CMEE\?": b"+CMEE: 1",
    rb"AT\+CFUN\?": b"+CFUN: 1",
    rb"AT\+CCLK\?": b'+CCLK: "26/11/24,06:00:00+00"',
    rb"AT\+CSQ": b"+CSQ: 20,99",
}


@contextmanager
def hostile(more: dict[bytes, bytes]) -> Iterator[str]:
    """Offer a modem; the answers in ``more`` are given as they stand, result and all."""

    def answer(line: bytes) -> bytes:
        for pattern, text in more.items():
            if re.fullmatch(pattern, line):
                return text
        text = next((text for pattern, text in ANSWERS.items() if re.fullmatch(pattern, line)), b"")
        return (b"\r\n" + text + b"\r\n" if text else b"") + b"\r\nOK\r\n"

    def serve() -> None:
        while True:
            try:
                connection = server.accept()[0]
            except OSError:
                return
            with connection:
                buffer = b""
                while data := connection.recv(4096):
                    buffer += data
                    while b"\r" in buffer:
                        line, buffer = buffer.split(b"\r", 1)
                        connection.sendall(answer(line.strip()))

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield f"socket://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {rb"AT\+QSSLCFG=\?": b"\r\n+CME ERROR: " + NASTY + b"\r\n"},
        {rb"AT\+CPIN\?": b"\r\n+CPIN: " + NASTY + b"\r\n\r\nOK\r\n"},
        {rb"ATI|AT\+C?GM[MI]": b"\r\n" + NASTY + b"\r\n\r\nOK\r\n"},
        {rb"AT\+CSQ": b"\r\nERROR\r\n\r\nERROR" + NASTY + b"\r\n\r\n+CME ERROR: " + NASTY + b"\r\n"},
    ],
    ids=["info", "error", "state", "identity", "stray"],
)
def test_what_a_modem_says_does_not_reach_the_terminal_raw(more: dict[bytes, bytes], verbose: bool) -> None:
    with hostile(more) as port:
        command = [sys.executable, "-m", "modemtls.cli.main", "-p", port, *(["-v"] if verbose else []), "info"]
        done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    assert not RAW.search(done.stdout + done.stderr), done.stderr
    if not verbose:
        lines = done.stderr.splitlines()
        assert len(lines) == done.returncode, lines
        assert all(line.startswith(b"modemtls: ") for line in lines)
    if not more:
        assert rb"R\x1b]0;pwn" in done.stdout, "it is told, and told harmlessly"
