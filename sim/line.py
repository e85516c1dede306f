"""The modem's end of a serial line, as a pseudo-terminal.

Facts about ptys that shape this (measured on Linux): a fresh pty is cooked and would echo; with no slave open the
master
reports a hang-up for ever and a waiting loop spins; holding a slave open hides the host's close. So the slave is set
raw and
held, and inotify counts opens and closes of the host. What a paced line may send is worked out from deadlines, so that
it does not drift, and it reads at the line's rate as well.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import termios
import tty
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from modemtls.sim.loop import Loop, Timer

__all__ = ["LineEvents", "PtyLine"]

BITS_PER_BYTE = 10  # 8N1
QUANTUM = 0.002  # s between wake-ups of a paced line: 2 % of a core, lateness well below a millisecond
READ_SIZE = 4096  # a pty hands over at most 4095 bytes at a time
LONGEST_QUEUE = 1 << 20  # bytes towards a host that does not read; a UART without flow control loses them as well
_IN_OPEN, _IN_CLOSE = 0x20, 0x18  # inotify(7): IN_CLOSE_WRITE | IN_CLOSE_NOWRITE
_CLOEXEC_NONBLOCK = os.O_CLOEXEC | os.O_NONBLOCK


class LineEvents:
    """What happens on a line; the machine overrides it."""

    def received(self, data: bytes) -> None:
        """Bytes of the host."""

    def opened(self) -> None:
        """Tell that the host has opened the port (the first of possibly several descriptors)."""

    def closed(self) -> None:
        """Tell that the host has closed the port (the last descriptor)."""

    def drained(self) -> None:
        """Everything written so far has left."""


class _OpenWatch:
    """Counts the descriptors that others hold on a path."""

    def __init__(self, loop: Loop, path: str, changed: Callable[[int], None]) -> None:
        self._loop, self._changed, self._users = loop, changed, 0
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd: int = libc.inotify_init1(_CLOEXEC_NONBLOCK)
        if self._fd < 0 or libc.inotify_add_watch(self._fd, os.fsencode(path), _IN_OPEN | _IN_CLOSE) < 0:
            raise OSError(ctypes.get_errno(), "inotify is not available for the pseudo-terminal")
        loop.watch(self._fd, self.look)

    def close(self) -> None:
        self._loop.unwatch(self._fd)
        os.close(self._fd)

    def look(self) -> None:
        """Take what has happened so far."""
        try:
            data = os.read(self._fd, READ_SIZE)
        except BlockingIOError:
            return
        at = 0
        while at < len(data):
            _, mask, _, length = struct.unpack_from("iIII", data, at)
            at += 16 + length
            self._users = max(0, self._users + (1 if mask & _IN_OPEN else -1 if mask & _IN_CLOSE else 0))
            self._changed(self._users)


class PtyLine:
    """A pty; ``path`` is what the host opens, ``link`` a symbolic link kept pointing at it.

    ``baud`` paces both directions; ``None`` leaves the line as fast as the kernel. What is written while the host has
    the
    port closed is lost, as on a real UART.
    """

    def __init__(self, loop: Loop, events: LineEvents, *, baud: int | None = None, link: Path | None = None) -> None:
        self._loop, self._events, self._baud, self._link = loop, events, baud, link
        self._out = bytearray()
        self._free_at = 0.0
        self._timer: Timer | None = None
        self._read_timer: Timer | None = None
        self._blocked = False
        self._reading = True
        self._present = False
        self.users = 0
        self.path = ""
        self._plug()

    def _plug(self) -> None:
        self._master, self._slave = os.openpty()
        try:
            tty.setraw(self._slave)
            os.set_blocking(self._master, False)
            path = os.ttyname(self._slave)
            self._watch = _OpenWatch(self._loop, path, self._users_changed)
        except OSError:
            os.close(self._slave)
            os.close(self._master)
            raise
        self._present = True
        self._loop.watch(self._master, self._readable)
        if self._link is not None:
            temporary = self._link.with_name(f"{self._link.name}.{os.getpid()}")
            try:
                temporary.symlink_to(path)
                temporary.replace(self._link)
            except OSError:
                self.unplug()
                raise
        self.path = path  # last: whoever sees it finds the link in place

    def unplug(self) -> None:
        """Make the port vanish under the host, as a pulled USB plug does."""
        if not self._present:
            return
        self._present = False
        for timer in (self._timer, self._read_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._read_timer = None
        self._out.clear()
        self._watch.close()
        self._loop.unwatch(self._master)
        os.close(self._slave)
        os.close(self._master)
        self.users = 0

    def replug(self) -> None:
        """Come back, under a new name; the link is re-pointed."""
        if not self._present:
            self._plug()

    def close(self) -> None:
        """Unplug for good and take the link away."""
        self.unplug()
        if self._link is not None and self._link.is_symlink() and str(self._link.readlink()) == self.path:
            with contextlib.suppress(OSError):
                self._link.unlink()

    # --- out ----------------------------------------------------------------------------------------------------------

    @property
    def backlog(self) -> int:
        """Bytes accepted and not on the line yet."""
        return len(self._out)

    def set_baud(self, baud: int) -> None:
        """Change the pace; only a paced line has one."""
        if self._baud is not None:
            self._baud = baud

    def write(self, data: bytes) -> None:
        """Send ``data``."""
        if not self._present or not self.users:
            return
        if len(self._out) + len(data) > LONGEST_QUEUE:
            return
        self._out += data
        if self._timer is None and not self._blocked:
            self._flush()

    def _flush(self) -> None:
        self._timer = None
        while self._out:
            size = READ_SIZE
            rate = self._baud / BITS_PER_BYTE if self._baud is not None else 0.0
            if rate:
                now = self._loop.now()
                self._free_at = max(self._free_at, now)  # an idle line earns no credit
                if self._free_at - now > QUANTUM / 2:
                    self._timer = self._loop.call_at(self._free_at, self._flush)
                    return
                size = max(1, int(rate * QUANTUM))
            try:
                count = os.write(self._master, bytes(self._out[:size]))
            except BlockingIOError:
                count = 0
            if not count:
                self._blocked = True
                self._loop.watch(self._master, self._readable if self._reading else None, self._writable)
                return
            del self._out[:count]
            if rate:
                self._free_at += count / rate
        self._events.drained()

    def _writable(self) -> None:
        self._blocked = False
        self._loop.watch(self._master, self._readable if self._reading else None)
        self._flush()

    # --- in -----------------------------------------------------------------------------------------------------------

    def host_baud(self) -> int:
        """Return the rate that the host has set, as the termios constant's number."""
        speed = termios.tcgetattr(self._master)[5]
        names = {
            getattr(termios, name): int(name[1:]) for name in dir(termios) if name[:1] == "B" and name[1:].isdigit()
        }
        return names.get(speed, 0)

    def _readable(self) -> None:
        limit = READ_SIZE
        if self._baud is not None:
            limit = max(1, int(self._baud / BITS_PER_BYTE * QUANTUM))
        try:
            data = os.read(self._master, limit)
        except BlockingIOError:
            return
        except OSError:
            return
        if self._baud is not None and data:
            self._reading = False
            self._loop.watch(self._master, None, self._writable if self._blocked else None)
            self._read_timer = self._loop.call_later(len(data) * BITS_PER_BYTE / self._baud, self._read_on)
        if not self.users:
            self._watch.look()  # who writes has opened before, even if that news comes later
        self._events.received(data)

    def _read_on(self) -> None:
        self._read_timer = None
        self._reading = True
        self._loop.watch(self._master, self._readable, self._writable if self._blocked else None)

    def _users_changed(self, users: int) -> None:
        before, self.users = self.users, users
        if users and not before:
            self._events.opened()
        elif before and not users:
            self._out.clear()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            termios.tcflush(self._slave, termios.TCIFLUSH)  # nobody will read what is still there
            self._events.closed()
