"""``modemtls connect --dtls``: each line of stdin is a datagram to the peer; what comes from there goes to stdout."""

from __future__ import annotations

import contextlib
import os
import select
import time
from typing import TYPE_CHECKING

from modemtls.errors import ModemTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.net.contract import Socket

__all__ = ["CLOSED", "exchange"]

PIECE = 16384
LARGEST = 65535
"""Bytes of a UDP datagram are fewer (RFC 768: 16 bits tell its length)."""
A_DAY = 86400.0
"""Seconds of one wait at most: there is a limit to what select(2) takes."""
CLOSED = "closed by the peer"


def exchange(sock: Socket, source: int, write: Callable[[bytes], object], linger: float) -> str:
    """Pass datagrams both ways until the peer ends it, or nothing came for ``linger`` s after the end of ``source``.

    ``sock`` is a connected datagram socket, ``source`` a descriptor to read lines from; an empty line sends nothing.
    Returns why it ended. Errors of the connection are raised.
    """
    lines = _Lines(source)
    quiet_since = asked = time.monotonic()
    while True:
        while (data := _received(sock)) is not None:
            if not data and sock.end_authenticated is not None:
                if lines.waiting:
                    raise ConnectionResetError(f"the peer closed before {len(lines.waiting)} lines were sent")
                return CLOSED
            write(data)
            quiet_since = time.monotonic()
        if lines.waiting:
            _send(sock, lines.waiting.pop(0), write)
            quiet_since = time.monotonic()
            continue
        now = time.monotonic()
        limits = [now + A_DAY] if lines.open else [quiet_since + linger]
        if now >= limits[0]:
            return f"closed: nothing came for {linger:g} s"
        if (period := sock.poll_period) is not None:  # a modem that gives no notice is asked
            if now >= asked + period:
                sock.poll_again()
                asked = now
                continue
            limits.append(asked + period)
        notice = [] if sock.system is None else [sock.system.fileno()]
        readers = [*notice, lines.source] if lines.open else notice
        can_read, _, _ = select.select(readers, [], [], min([A_DAY, *(max(0.0, one - now) for one in limits)]))
        if lines.source in can_read:
            lines.read()
            quiet_since = time.monotonic()


def _received(sock: Socket) -> bytes | None:
    """Return a datagram that has come, b"" at the end; None if there is nothing."""
    if not (sock.ready or sock.unread):
        return None
    with contextlib.suppress(ModemTimeoutError):
        return sock.receive(LARGEST, timeout=0)
    return None


def _send(sock: Socket, line: bytes, write: Callable[[bytes], object]) -> None:
    """Send one; if it fails, what had come before is written first."""
    try:
        sock.send(line)
    except OSError as failure:
        with contextlib.suppress(OSError):
            while data := _received(sock):
                write(data)
        raise failure from None


class _Lines:
    """Lines as they come; what a terminal or a pipe gives at once may be several, or a part of one."""

    def __init__(self, source: int) -> None:
        self.source = source
        self.open = True
        self.waiting: list[bytes] = []
        self._rest = b""

    def read(self) -> None:
        """Read once; the source is readable."""
        data = os.read(self.source, PIECE)
        *whole, self._rest = (self._rest + data).split(b"\n")
        if not data:
            self.open = False
            whole.append(self._rest)
        self.waiting += [line for line in whole if line]
        if len(self._rest) > LARGEST:
            raise OSError(f"standard input: a line of more than {LARGEST} bytes is no datagram")
