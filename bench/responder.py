"""A modem in a process of its own that answers at once: what the driver is measured against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.started import started

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

# Plain C-like Python: one read, one write a command. Commands end with CR; probes get the line that tells them apart.
_SOURCE = r"""
import os, sys, tty
master, slave = os.openpty()
tty.setraw(slave)
print(os.ttyname(slave), flush=True)
answers = {
    b"AT+CMEE?": b"\r\n+CMEE: 1\r\n\r\nOK\r\n",
    b"AT+CFUN?": b"\r\n+CFUN: 1\r\n\r\nOK\r\n",
    b"AT+CSQ": b"\r\n+CSQ: 20,99\r\n\r\nOK\r\n",
}
rest = b""
while True:
    data = os.read(master, 4096)
    if rest or not data.endswith(b"\r") or data.count(b"\r") > 1:
        rest += data
        *lines, rest = rest.split(b"\r")
        for line in lines:
            os.write(master, answers.get(line, b"\r\nOK\r\n"))
    else:
        os.write(master, answers.get(data[:-1], b"\r\nOK\r\n"))
"""


def responder() -> AbstractContextManager[str]:
    """Start the modem; the value is its port."""
    return started(_SOURCE)
