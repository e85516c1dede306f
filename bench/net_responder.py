"""A modem in a process of its own that takes and gives data at once, or at the pace of a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.started import started

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

PIECE = 1460
"""Bytes a piece, both ways: a TCP segment's payload over Ethernet (RFC 879), and what the modems take at once."""

# Takes 1,460 bytes behind a prompt, or gives as many. With a rate, both directions are held to ten bits a byte by
# deadlines: what came in counts from when it could have arrived, what goes out leaves when its last bit would have.
_SOURCE = r"""
import os, sys, time, tty
rate = int(sys.argv[1])
byte = 10 / rate if rate else 0
master, slave = os.openpty()
tty.setraw(slave)
print(os.ttyname(slave), flush=True)
data = bytes(range(256)) * 6
arrived = left = 0.0
probes = {b"AT+CMEE?": b"\r\n+CMEE: 1\r\n", b"AT+CFUN?": b"\r\n+CFUN: 1\r\n", b"AT+CSQ": b"\r\n+CSQ: 20,99\r\n"}

def read(count):
    global arrived
    got = b""
    while not got or (len(got) < count if count else not got.endswith(b"\r")):
        piece = os.read(master, 4096)
        if rate:
            arrived = max(arrived, time.monotonic()) + len(piece) * byte
        got += piece
    return got

def write(answer):
    global left
    if not rate:
        os.write(master, answer)
        return
    left = max(left, arrived, time.monotonic())
    for at in range(0, len(answer), 64):
        piece = answer[at:at + 64]
        left += len(piece) * byte
        rest = left - time.monotonic()
        if rest > 0:
            time.sleep(rest)
        os.write(master, piece)

while True:
    name, _, arguments = read(0)[:-1].partition(b"=")
    if name == b"AT+QSSLSEND":
        write(b"\r\n> ")
        read(int(arguments.rpartition(b",")[2]))
        write(b"\r\nSEND OK\r\n")
    elif name == b"AT+QSSLRECV":
        count = min(int(arguments.rpartition(b",")[2]), 1460)
        write(b"\r\n+QSSLRECV: %d\r\n" % count + data[:count] + b"\r\n\r\nOK\r\n")
    else:
        write(probes.get(name, b"") + b"\r\nOK\r\n")
"""


def responder(rate: int = 0) -> AbstractContextManager[str]:
    """Start the modem; the value is its port. ``rate`` in bit/s, 0 for as fast as it can."""
    return started(_SOURCE, str(rate))
