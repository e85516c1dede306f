"""Who reads the port: one thread of those that wait, or the background thread while none does.

The reading thread is the *leader*. Others that wait are followers: they sleep until what they wait for is there, or
until the leader leaves and makes one of them leader. All state changes under one lock, in the thread that read the
bytes; the background thread is kept out of the port's way meanwhile (its epoll does not watch the port).
"""

from __future__ import annotations

import logging
import math
import os
import select
import threading
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from modemtls.at.forks import bequeath, opened_elsewhere
from modemtls.at.port import lost
from modemtls.errors import ModemError

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.at.interrupts import Interrupts
    from modemtls.at.job import Job
    from modemtls.at.line import LineState
    from modemtls.at.port import Port

__all__ = ["Reactor"]

_log = logging.getLogger(__name__)

_READ: Final = 4096  # a tty's read returns at most 4095 bytes
_READABLE: Final = select.POLLIN | select.POLLPRI | select.POLLHUP | select.POLLERR | select.POLLNVAL
_LOST: Final = select.EPOLLHUP | select.EPOLLERR
_IN: Final = select.EPOLLIN
_IN_OUT: Final = select.EPOLLIN | select.EPOLLOUT
_FOREVER: Final = math.inf
_LONGEST: Final = 2**31 - 1  # ms: what poll(2) takes
_read = os.read
_write = os.write


class _Waiter:
    """A thread that waits. ``gate`` is locked while it sleeps."""

    __slots__ = ("gate", "ready", "thread")

    def __init__(self, ready: Callable[[], bool], thread: int) -> None:
        self.ready = ready
        self.thread = thread
        self.gate: threading.Lock | None = None

    def sleeps(self) -> threading.Lock:
        """Become a follower."""
        self.gate = gate = threading.Lock()
        gate.acquire()
        return gate

    def wake(self) -> None:
        """Let it look again."""
        if self.gate is not None and self.gate.locked():
            self.gate.release()


class Reactor(ABC):
    """Moves bytes between a port and the state of its line. Subclasses say who may use the line."""

    def __init__(self, port: Port, line: LineState, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._port = port
        self._line = line
        self._fd = port.fileno()
        self._lock = threading.RLock()
        self._closed: BaseException | None = None
        self._torn = False  # set while state changes: found set, an exception broke in
        self._inbox: deque[bytes] = deque()
        self._leader: _Waiter | None = None
        self._leader_until = math.inf
        self._followers: deque[_Waiter] = deque()
        self._queue: deque[Any] = deque()  # those who want the line, in the subclass's terms
        self._deferred: deque[Callable[[], None]] = deque()
        self._left = False  # the background thread runs nothing any more
        self._kick = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)  # the background thread's
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        self._poll.register(self._kick, select.POLLIN)
        self._polls_output = False
        self._arrived = [(self._fd, select.POLLIN)]  # what the poll finds, most of the time
        self._epoll = select.epoll()
        self._epoll.register(self._fd, select.EPOLLIN)
        self._epoll.register(self._bell, select.EPOLLIN)
        self._thread = threading.Thread(target=self._background, name=f"modemtls {port.name}", daemon=True)
        bequeath(self)

    @abstractmethod
    def _advance(self) -> None:
        """Give the line to whose turn it is."""

    @abstractmethod
    def _begin(self, job: Job, thread: int) -> None:
        """Send an exchange, or queue it."""

    @abstractmethod
    def _fail_everybody(self, error: BaseException) -> None:
        """End all that waits: the port is gone."""

    def _defer(self, work: Callable[[], None]) -> None:
        """Run ``work`` in the background thread."""
        with self._lock:
            self._deferred.append(work)
            _ring(self._bell)

    # -- the port (under the lock) ---------------------------------------------------------------------------------

    def _close(self, reason: BaseException) -> None:
        if self._closed is not None:
            return
        self._closed = reason
        self._line.fail_all(reason)
        self._fail_everybody(reason)
        for one in (self._epoll, self._poll):
            try:
                one.unregister(self._fd)
            except (OSError, KeyError, ValueError):
                pass
        self._port.close()
        for follower in self._followers:
            follower.wake()
        _ring(self._kick)
        _ring(self._bell)

    def _flush(self) -> None:
        """Write what waits to be written, as far as the port takes it."""
        line = self._line
        output = line.output
        while output and self._closed is None:
            try:
                count = _write(self._fd, output)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                self._lost(error)
                return
            line.wrote(count, self.clock())
            output = line.output
        if (output or self._polls_output) and bool(output) != self._polls_output and self._closed is None:
            self._polls_output = not self._polls_output
            self._poll.modify(self._fd, select.POLLIN | (select.POLLOUT if self._polls_output else 0))
            if self._leader is None:
                self._arm()
            else:
                _ring(self._kick)

    def _read(self) -> None:
        """Read what is there. The bytes go from the kernel into the inbox in one bytecode: nothing breaks in."""
        inbox = self._inbox
        try:
            inbox.extend(map(_read, (self._fd,), (_READ,)))
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lost(error)
            return
        while inbox:
            data = inbox.popleft()
            if not data:
                self._lost(None)
                return
            self._line.feed(data, self.clock())

    def _lost(self, error: OSError | None) -> None:
        self._close(lost(self._port.name, error))

    def _process(self, *, readable: bool) -> None:
        """Take in what arrived, do what is due, send what can be sent."""
        if self._closed is not None:
            return
        if self._torn:
            self._mend()
        self._torn = True
        line = self._line
        if readable:
            self._read()
        timer = line.timer()
        if timer is not None and timer <= self.clock():
            line.tick(self.clock())
        if self._queue:
            self._advance()
        if line.output or self._polls_output:
            self._flush()
        self._torn = False
        if self._followers:
            self._wake_followers()

    def _mend(self) -> None:
        """Get over an exception that broke in while state was changing (a signal handler that raised)."""
        self._line.broken(self.clock())
        self._torn = False  # last: another one may break in here
        self._rouse()

    def _rouse(self) -> None:
        """Wake those who have what they wait for, and the leader if he would sleep too long."""
        self._wake_followers()
        leader = self._leader
        if leader is not None:
            timer = self._line.timer()
            if (timer is not None and timer < self._leader_until) or leader.ready():
                _ring(self._kick)
        elif self._line.timer() is not None:
            _ring(self._bell)

    def _wake_followers(self) -> None:
        for follower in self._followers:
            if follower.ready():
                follower.wake()

    def _arm(self) -> None:
        """Let the background thread watch the port."""
        self._epoll.modify(self._fd, _IN_OUT if self._polls_output else _IN)

    # -- waiting ---------------------------------------------------------------------------------------------------

    def _wait(
        self,
        ready: Callable[[], bool],
        deadline: float | None,
        shielded: Interrupts | None,
        job: Job | None = None,
    ) -> bool:
        """Read the port, or sleep while another thread does, until ``ready()``; False if the deadline passed.

        ``job`` is sent first, once it is settled who reads: its answer finds the reader waiting.
        """
        clock = self.clock
        poll = self._poll.poll
        me = None
        try:
            with self._lock:
                if job is None and ready():
                    return True
                if self._closed is not None:
                    return False
                me = _Waiter(ready, threading.get_ident())
                gate = None
                leader = self._leader
                # A thread waits for one thing at a time: a leader of the same thread is one that an exception hit on
                # its way out.
                leads = leader is None or leader.thread == me.thread
                if leads:
                    self._leader = me
                else:
                    gate = me.sleeps()
                    self._followers.append(me)
                if leads:
                    self._epoll.modify(self._fd, 0)
                if job is not None:
                    self._begin(job, me.thread)
                if job is not None:
                    if not leads:
                        self._rouse()
                    if ready():
                        return True
                until = self._until(me, deadline)
            while True:
                timeout = -1.0 if until == _FOREVER else max(0.0, until - clock())
                found: list[tuple[int, int]] = []
                if shielded is not None:
                    shielded.wait()
                if leads:
                    # Rounded up: waking before the time would be waking twice.
                    found = poll(None if timeout < 0 else min(int(timeout * 1000) + 1, _LONGEST))
                else:
                    assert gate is not None
                    gate.acquire(timeout=min(timeout, threading.TIMEOUT_MAX))
                if shielded is not None:
                    shielded.waiting = False
                with self._lock:
                    if leads:
                        readable = found == self._arrived or self._look(found)
                        self._process(readable=readable)
                    if ready():
                        self._leave(me)
                        me = None
                        return True
                    if self._closed is not None or (deadline is not None and clock() >= deadline):
                        return False
                    leads = self._leader is me
                    until = self._until(me, deadline)
        finally:
            if me is not None:
                with self._lock:
                    self._leave(me)

    def _look(self, found: list[tuple[int, int]]) -> bool:
        """Answer the kick; tell whether the port is to be read."""
        readable = False
        for fd, happened in found:
            if fd == self._kick:
                _drain(fd)
            elif happened & _READABLE:
                readable = True
        return readable

    def _until(self, me: _Waiter, deadline: float | None) -> float:
        """Return how long a thread may sleep."""
        until = _FOREVER if deadline is None else deadline
        if self._leader is me:
            timer = self._line.timer()
            if timer is not None and timer < until:
                until = timer
            self._leader_until = until
        return until

    def _leave(self, me: _Waiter) -> None:
        """Stop waiting; hand the reading over."""
        if self._leader is not me:
            if me in self._followers:
                self._followers.remove(me)
            return
        if self._followers:
            self._leader = self._followers.popleft()
            self._leader_until = math.inf
            self._leader.wake()
            return
        self._leader = None
        if self._closed is None:
            self._arm()
            if self._line.timer() is not None:
                _ring(self._bell)

    # -- the background thread -------------------------------------------------------------------------------------

    def _background(self) -> None:
        """Read while nobody else does; run what was deferred."""
        timeout: float | None = None
        while True:
            found = self._epoll.poll(timeout)
            work = None
            with self._lock:
                if self._closed is not None and not self._deferred:
                    self._left = True
                    break
                readable = False
                lost = False
                for fd, happened in found:
                    if fd == self._bell:
                        _drain(fd)
                    else:
                        readable = True
                        lost = lost or bool(happened & _LOST)
                if self._leader is None or lost:
                    self._process(readable=readable)
                if self._deferred:
                    work = self._deferred.popleft()
                timer = self._line.timer() if self._leader is None and self._closed is None else None
                timeout = None if timer is None else max(0.0, timer - self.clock())
                if self._deferred or (self._closed is not None):
                    timeout = 0.0
            if work is not None:
                try:
                    work()
                except ModemError as error:
                    _log.info("%s: work left behind failed: %s", self._port.name, error)
                except Exception:
                    _log.exception("%s: work left behind failed", self._port.name)
                timeout = 0.0  # things have moved on
        with self._lock:
            self._epoll.close()
            bell, self._bell = self._bell, -1
            os.close(bell)

    def disown(self) -> None:
        """Let go of what a forked child has inherited: whoever uses it there is told so.

        The epoll set is shared with the parent, so it is left as it is, and only the child's descriptor of it closed.
        """
        self._lock = threading.RLock()  # a thread that is not there may have held the other
        self._leader = None
        self._followers.clear()
        self._left = True
        if self._closed is not None:
            return
        self._closed = opened_elsewhere(self._port.name)
        self._port.disown()
        self._epoll.close()
        kick, self._kick, bell, self._bell = self._kick, -1, self._bell, -1
        for fd in (kick, bell):
            os.close(fd)

    def __del__(self) -> None:
        # The leader may have been polling it until now.
        kick, self._kick = getattr(self, "_kick", -1), -1
        if kick >= 0:
            os.close(kick)


def _ring(fd: int) -> None:
    if fd >= 0:
        try:
            os.eventfd_write(fd, 1)
        except BlockingIOError:
            pass  # 2**64 - 1 rings are waiting


def _drain(fd: int) -> None:
    try:
        os.eventfd_read(fd)
    except BlockingIOError:
        pass  # somebody else was quicker
