"""What tests of the simulated Nordic modems share."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator

from modemtls.sim.harness import Harness

OK = b"\r\nOK\r\n"
ERROR = b"\r\nERROR\r\n"
SLM, SM = "nordic-slm", "nordic-sm"
_FINAL = re.compile(rb"\r\n(OK|ERROR|\+CME ERROR: \d+)\r\n")


def write(modem: Harness, line: str) -> None:
    modem.write(line.encode() + modem.machine.personality.terminator)


def ask(modem: Harness, line: str, limit: float = 5.0) -> bytes:
    """The answer to a command that has real sockets behind it."""
    write(modem, line)
    return modem.settle(lambda out: bool(_FINAL.search(out)), limit=limit)


@contextlib.contextmanager
def modem(model: str, *variants: str, online: bool = True, **options) -> Iterator[Harness]:
    """A modem that has booted; `online`: its radio is on, the PDN is up."""
    with Harness(model, variants=variants, **options) as made:
        if online:
            assert made.command("AT+CFUN=1") == OK
            made.advance(1.0)
            made.read()
        yield made


@contextlib.contextmanager
def udp() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(5)
        yield made
