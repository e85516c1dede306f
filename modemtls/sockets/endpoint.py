"""The part of a selectable socket that outlives calls: queues, readiness, errors that come late.

Readiness is shown on one end of a socket pair, the *near* end, whose descriptor applications select on; nothing of
the connection itself passes through it. It is readable while one byte of ours waits in it, and unwritable while it is
full of ours.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import select
import socket
import threading
from typing import TYPE_CHECKING, Final

from modemtls.at.forks import Inheritance
from modemtls.errors import ModemError, ModemTimeoutError, SocketClosedError

if TYPE_CHECKING:
    from modemtls.net.contract import Socket
    from modemtls.sockets.pump import Pump

__all__ = ["RECEIVE_WINDOW", "SEND_WINDOW", "Endpoint"]

logger = logging.getLogger(__name__)

#: Bytes that are read ahead for somebody who selects. At 115,200 bit/s the line needs three seconds for it.
RECEIVE_WINDOW: Final = 1 << 15

#: Bytes accepted from a non-blocking sender and not yet taken by the modem.
SEND_WINDOW: Final = 1 << 13

#: Seconds until a piece that the modem had no room for is offered again: first, and at most.
RETRY_AFTER: Final = (0.05, 1.0)

_TOKEN = b"\0"
_FILLER = bytes(2048)


class Endpoint:
    """One connection as applications use it. Thread-safe.

    ``watched`` is set by the first use that does not block (``select``, a non-blocking call); from then on the pump
    reads ahead and readiness is kept up to date. Before that nothing of the sort costs anything.
    """

    def __init__(self, connection: Socket, pump: Pump) -> None:
        self.connection = connection
        self.watched = False
        self.finished = False  # closed, or given up
        self.owned = Inheritance()
        self.retry_at: float | None = None  # when to offer again what there was no room for
        self.ask_at: float | None = None  # when to ask a modem that gives no notice
        self.ending = False
        self._pump = pump
        near, self._far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        near.setblocking(False)
        self._far.setblocking(False)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the kernel's least, so that a few bytes fill it
        # To a socket it means nothing, but sendfile(2) refuses such a descriptor (EINVAL there): asyncio, which tries
        # that first, falls back to send().
        fcntl.fcntl(near, fcntl.F_SETFL, fcntl.fcntl(near, fcntl.F_GETFL) | os.O_APPEND)
        self._near: socket.socket | None = near
        self._kept = b""  # what an interrupted call had in hand
        self._signals = threading.Lock()
        self._readable = False
        self._writable = True
        self._queue = bytearray()
        # Entered as a lock, never as a condition: that is written in Python, where an interrupt can leave it taken.
        self._lock = threading.RLock()  # guards the queue
        self._moved = threading.Condition(self._lock)  # notified when it shrinks or fails, and at the end
        self._late: ModemError | None = None  # a failure of something that had been accepted
        self._read_shut = False
        self._write_shut = False
        self._retry_pause = RETRY_AFTER[0]
        connection.watch(self._changed)

    def near_fileno(self) -> int:
        """Give away the descriptor of the near end, once; its new owner closes it."""
        assert self._near is not None
        return self._near.detach()

    # -- receiving ----------------------------------------------------------------------------------------------

    def receive(self, near: socket.socket, size: int, timeout: float | None, *, peek: bool) -> bytes:
        """Receive as ``recv`` does; ``timeout`` 0 is non-blocking. ``near`` is the near end.

        What the peer said comes first, then the failure of a send that had been accepted, then the end.
        """
        try:
            data = self._receive(near, size, timeout, peek=peek)
        except ModemError:
            self._raise_late(near)
            raise
        if not data:
            self._raise_late(near)
        elif self.watched and not peek:
            try:
                self._show(near)
                self._pump.wake()
            except BaseException:  # interrupted: the next call gets it
                self._kept = data + self._kept
                raise
        return data

    def _receive(self, near: socket.socket, size: int, timeout: float | None, *, peek: bool) -> bytes:
        if self._is_read_shut():
            return b""
        data = self._take_kept(size, peek=peek) if self._kept else self.connection.take(size, peek=peek)
        if data is not None:
            return data
        if timeout == 0:
            self.watch()
            if not self.connection.unread:  # else the pump asks the modem first
                self._raise_late(near)
            self._show(near)
            raise BlockingIOError(errno.EAGAIN, "nothing to receive yet")
        try:
            # After a failure nothing is waited for; what the modem has still comes before it.
            return self.connection.receive(size, timeout=timeout if self._late is None else 0, peek=peek)
        except ModemTimeoutError:
            self._raise_late(near)
            raise TimeoutError("timed out") from None
        except ModemError:
            if self._is_read_shut():  # shutdown() came while this call was waiting
                return b""
            raise

    def _take_kept(self, size: int, *, peek: bool) -> bytes:
        kept = self._kept
        if not peek:
            self._kept = kept[size:]
        return kept[:size]

    def _is_read_shut(self) -> bool:
        return self._read_shut

    # -- sending ------------------------------------------------------------------------------------------------

    def send(self, near: socket.socket, data: memoryview, timeout: float | None, *, whole: bool) -> int:
        """Send as ``send`` does, or ``sendall`` if ``whole``; ``timeout`` 0 is non-blocking."""
        self._raise_late(near)
        if self._write_shut:
            raise BrokenPipeError(errno.EPIPE, "the socket was shut down for sending")
        if not data:
            return 0
        if timeout == 0:
            return self._enqueue(near, data, whole=whole)
        deadline = self._pump.deadline(timeout)
        if self._queue:
            self.flush(timeout)
            self._raise_late(near)
        left = self._pump.remaining(deadline)
        try:
            self.connection.send(data, timeout=left)
        except ModemTimeoutError as error:
            if not whole and error.bytes_accepted:
                return error.bytes_accepted
            raise TimeoutError("timed out") from None
        except ModemError as error:
            if not whole and error.bytes_accepted:
                return error.bytes_accepted  # the reason is told by the next call
            raise
        return len(data)

    def _enqueue(self, near: socket.socket, data: memoryview, *, whole: bool) -> int:
        self.watch()
        self.connection.check_sendable()
        with self._lock:
            room = SEND_WINDOW - len(self._queue)
            count = max(0, min(room, len(data)))
            self._queue += data[:count]
        if count:
            self._pump.wake()
            if self._pump.stopped:
                self.give_up(self._pump.stopped)
        self._show(near)
        if count == 0 or (whole and count < len(data)):
            raise BlockingIOError(errno.EAGAIN, "no room to send more now")
        return count

    def flush(self, timeout: float | None) -> None:
        """Wait until the modem has taken everything that was accepted from a non-blocking sender."""
        with self._lock:
            left = self._pump.remaining(self._pump.deadline(timeout))
            if self._queue and not self._moved.wait_for(lambda: not self._queue or self._late is not None, left):
                raise TimeoutError("timed out")

    # -- errors that come late ----------------------------------------------------------------------------------

    def _raise_late(self, near: socket.socket) -> None:
        error = self.pop_error(near) if self._late is not None else None
        if error is not None:
            raise error

    def pop_error(self, near: socket.socket) -> ModemError | None:
        """Take the failure of something that had been accepted, if there is one; it is told once."""
        with self._lock:
            error, self._late = self._late, None
        if error is not None:
            self._show(near)
        return error

    def _fail(self, error: ModemError) -> None:
        with self._lock:
            self._queue.clear()
            if self._late is None:
                self._late = error
            self._moved.notify_all()
        self._show()

    # -- readiness ----------------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Begin to read ahead and to show readiness."""
        if not self.watched:
            self.watched = True
            self._ask_next(self._pump.now())
            self._pump.add(self)
            self._show()

    def _changed(self) -> None:
        if self.watched:
            self._show()
            self._pump.wake()

    def _show(self, near: socket.socket | None = None) -> None:
        """Bring the pair in line with what is so; only with the near end in hand can readiness be taken away."""
        with self._signals:
            # Noted first: nothing looks for signals between that and the end of the call.
            readable = bool(self._kept) or self._read_shut or self.connection.ready
            readable = readable or (self._late is not None and not self.connection.unread)
            writable = len(self._queue) < SEND_WINDOW or self._late is not None or self._write_shut
            try:
                if readable and not self._readable:
                    self._readable = True
                    self._far.send(_TOKEN)
                elif not readable and self._readable and near is not None:
                    self._readable = False
                    socket.SocketType.recv(near, 1)
                if writable and not self._writable:
                    self._writable = True
                    self._far.recv(1 << 16)
                elif not writable and self._writable and near is not None:
                    self._writable = False
                    _fill(near)
            except OSError as error:
                if not self.ending:
                    logger.debug("readiness: %s", error)

    def _ask_next(self, now: float) -> None:
        period = self.connection.poll_period
        self.ask_at = None if period is None else now + period

    # -- work of the pump ---------------------------------------------------------------------------------------

    def step(self, now: float) -> bool:
        """Send one piece, fetch one, or finish, as there is need; return whether something was done."""
        done = self._send_queued(now)
        if self.ask_at is not None and now >= self.ask_at:
            self._ask_next(now)
            self.connection.poll_again()
        if not self.ending and not self._read_shut and self.connection.read_ahead(RECEIVE_WINDOW):
            self._show()
            done = True
        if self.ending and not self._queue:
            self._finish()
        return done

    def _send_queued(self, now: float) -> bool:
        if not self._queue or (self.retry_at is not None and now < self.retry_at):
            return False
        self.retry_at = None
        with self._lock:
            piece = bytes(self._queue[: self.connection.send_limit])
        try:
            count = self.connection.offer(piece)
        except ModemError as error:
            self._fail(error)
            return True
        except Exception as error:  # whatever it is, whoever waits has to hear of it
            logger.exception("sending what had been accepted")
            self._fail(SocketClosedError(f"sending failed: {error!r}"))
            return True
        if count == 0:
            self.retry_at = now + self._retry_pause
            self._retry_pause = min(2 * self._retry_pause, RETRY_AFTER[1])
            return False
        self._retry_pause = RETRY_AFTER[0]
        with self._lock:
            del self._queue[:count]
            self._moved.notify_all()
        self._show()
        return True

    # -- ending -------------------------------------------------------------------------------------------------

    def shutdown(self, how: int, timeout: float | None) -> None:
        """Shut one or both directions, as ``socket.shutdown`` does; a modem has no half-close to tell the peer with."""
        writing = how in {socket.SHUT_WR, socket.SHUT_RDWR}
        if writing and not self._write_shut:
            if timeout == 0:
                self._write_shut = True
            else:
                self.flush(timeout)
                self._write_shut = True
        if how in {socket.SHUT_RD, socket.SHUT_RDWR}:
            self._read_shut = True
        if how == socket.SHUT_RDWR:
            if timeout == 0:
                self.end()
            else:
                self.connection.shutdown()
        if self.watched:
            self._show()

    def close(self, timeout: float | None) -> None:
        """Close the connection. What had been accepted is still sent, and what takes longer done, in the background."""
        if timeout == 0 or self._queue or self.ending:
            self.end()
            return
        self.ending = True
        try:
            if timeout is not None:
                self.connection.close(timeout=timeout)
            self._finish()
        except BaseException:  # interrupted: the rest is done in the background
            self.end()
            raise

    def end(self) -> None:
        """Have the pump send what is left, and close."""
        self.ending = True
        if self._pump.stopped:
            self._finish()  # the modem is closed: there is nothing to wait for
        elif not self.finished:
            self._pump.add(self)
            self._pump.wake()

    def _finish(self) -> None:
        try:
            self.connection.cleanup()
        except ModemError as error:
            logger.debug("closing: %s", error)
        self._pump.remove(self)
        with self._lock:
            self.finished = True
            self._moved.notify_all()
        self._pump.note_closed()

    def settle(self, timeout: float) -> bool:
        """Wait until nothing is left to do in the background: all sent, and closed if it is being closed."""
        with self._lock:
            return self._moved.wait_for(lambda: self.finished if self.ending else not self._queue, timeout)

    def give_up(self, why: str) -> None:
        """Take note that nobody works for this connection in the background any more."""
        lost = len(self._queue)
        if lost:
            text = f"{why}: {lost} bytes that had been accepted were not sent"
            logger.warning("%r: %s", self.connection, text)
            self._fail(SocketClosedError(text))

    def disown(self) -> None:
        """Let go of it in a process that was forked from the owner."""
        self.ending = True
        self._far.close()

    def release(self) -> None:
        """Close this side of the pair; the near end's owner closes his."""
        with self._signals:
            self._far.close()


def _fill(near: socket.socket) -> None:
    """Write until the kernel calls the near end unwritable: it does so long before it refuses a write."""
    poll = select.poll()
    poll.register(socket.SocketType.fileno(near), select.POLLOUT)
    while poll.poll(0):
        socket.SocketType.send(near, _FILLER)
