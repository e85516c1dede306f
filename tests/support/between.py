"""Somebody in the middle of a serial line, who can change what is said."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import tty
from collections.abc import Callable, Iterator

Change = Callable[[bytes], bytes]


class Between:
    """``path`` is the line's end for the host. Both changes are called in a thread of its own.

    ``to_modem`` gets what the host writes, mostly a command line at a time, and ``to_host`` what the modem says, in
    whatever pieces that comes.
    """

    def __init__(self, modem: str) -> None:
        self.to_modem: Change = lambda data: data
        self.to_host: Change = lambda data: data
        self._modem = os.open(modem, os.O_RDWR | os.O_NOCTTY)
        self._host, self._kept = os.openpty()
        for end in (self._modem, self._kept):
            tty.setraw(end)
        self.path = os.ttyname(self._kept)
        self._wake, self._woken = os.pipe()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def ask(self, line: str) -> bytes:
        """Say something to the modem, and hear its answer: from within ``to_modem``."""
        os.write(self._modem, line.encode() + b"\r")
        heard = b""
        while not heard.endswith((b"OK\r\n", b"ERROR\r\n")) and select.select([self._modem], [], [], 5)[0]:
            heard += os.read(self._modem, 4096)
        return heard

    def hush(self, quiet: float) -> None:
        """Swallow what the modem says until it has been silent for so many seconds: from within ``to_modem``."""
        while select.select([self._modem], [], [], quiet)[0]:
            os.read(self._modem, 4096)

    def close(self) -> None:
        os.write(self._woken, b"x")
        self._thread.join(5)
        for end in (self._modem, self._host, self._kept, self._wake, self._woken):
            os.close(end)

    def _run(self) -> None:
        while True:
            ready = select.select([self._wake, self._host, self._modem], [], [])[0]
            if self._wake in ready:
                return
            for end, other, change in (
                (self._host, self._modem, self.to_modem),
                (self._modem, self._host, self.to_host),
            ):
                if end in ready:
                    data = change(os.read(end, 65536))
                    while data:
                        data = data[os.write(other, data) :]


@contextlib.contextmanager
def between(modem: str) -> Iterator[Between]:
    one = Between(modem)
    try:
        yield one
    finally:
        one.close()


def once(old: bytes, new: bytes) -> Change:
    """Change the first occurrence that comes along, and nothing after it."""
    left = [True]

    def change(data: bytes) -> bytes:
        if left and old in data:
            left.clear()
            return data.replace(old, new, 1)
        return data

    return change
