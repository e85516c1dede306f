"""One AT line shared by threads.

Whoever waits for something reads the port himself, one thread at a time (the *leader*; others sleep until the leader
hands over or has what they wait for). A background thread reads while nobody waits, and carries on with exchanges that
their callers left. All state changes under one lock, in the thread that read the bytes.

A boot epoch ends when the modem announces a restart, echoes though echo is off, or reports errors in a form that was
not selected; whoever waits then fails at once. What may have hidden a restart (a time-out, a line that makes no sense,
a line that modems print when they start) raises a count, :attr:`Channel.doubts`.
"""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from weakref import WeakValueDictionary

from modemtls.at.exchange import Exchange, Expected, Line, Outcome, Reply, Urc
from modemtls.at.grammar import Grammar
from modemtls.at.interrupts import shield, unbroken
from modemtls.at.job import Job
from modemtls.at.line import LineState
from modemtls.at.reactor import Reactor
from modemtls.at.watch import Watch
from modemtls.errors import ModemError, ModemRestartedError, ModemTimeoutError, PortLostError, SyncError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from modemtls.at import events as ev
    from modemtls.at.aftermath import Kind
    from modemtls.at.exchange import Topic
    from modemtls.at.grammar import LinePattern
    from modemtls.at.port import Port
    from modemtls.at.recovery import Recovery
    from modemtls.at.trace import Trace

__all__ = ["Channel", "Exchange", "Expected", "Line", "LineBusyError", "Outcome", "Reply", "Spill", "Urc", "Watch"]

_T = TypeVar("_T")

_log = logging.getLogger(__name__)


class LineBusyError(ModemTimeoutError):
    """The deadline passed while the line belonged to others: nothing was sent."""


class Spill(NamedTuple):
    """Data of ``topic`` was not what its count said: ``answer`` and ``push`` were cut, ``send`` was carried out."""

    topic: Topic
    kind: Kind
    reason: str


class _Turn:
    """A place in the queue for the line: an exchange, or (job None) a hold."""

    __slots__ = ("error", "granted", "job", "thread")

    def __init__(self, thread: int, job: Job | None) -> None:
        self.thread = thread
        self.job = job
        self.granted = False
        self.error: BaseException | None = None


class Channel(Reactor):
    """One AT line: one exchange at a time in order of asking, unsolicited results at any time.

    Attributes to set: ``on_urc`` (called in the reading thread for every unsolicited result, under the channel's lock:
    it must only set state), ``on_epoch`` (called likewise with the reason when a boot epoch ended), ``on_close``
    (likewise, once), ``on_spill`` (likewise, when somebody's data was cut or carried out). Times are of ``clock``,
    which must be monotonic and in seconds.
    """

    def __init__(
        self,
        port: Port,
        grammar: Grammar | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        trace: Trace | None = None,
        recovery: Recovery | None = None,
    ) -> None:
        line = LineState(grammar or Grammar(), now=clock(), trace=trace, recovery=recovery)
        super().__init__(port, line, clock)
        self.on_urc: Callable[[Urc], None] | None = None
        self.on_epoch: Callable[[str], None] | None = None
        self.on_close: Callable[[BaseException], None] | None = None
        self.on_spill: Callable[[Spill], None] | None = None
        line.byte_time = port.byte_time
        line.after.set_rate(port.byte_time)
        line.unsent = port.unsent
        line.on_spill = self._spilt
        line.on_urc = self._urc
        line.on_watch = self._watched
        line.on_epoch = self._epoch_ended
        line.on_orphan = self._orphan_done
        line.on_keep = self._keep
        line.on_step = self._stepped
        line.on_output = self._flush
        self._queue: deque[_Turn]
        self._holder: int | None = None
        self._held = 0
        self._hold_epoch = 0
        # Held by those who wait: what an interrupt leaves to nobody is forgotten.
        self._watches: WeakValueDictionary[ev.WatchKey, Watch] = WeakValueDictionary()
        self._steps: list[_Turn] = []
        self._thread.start()

    # -- settings and facts ----------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The port's name."""
        return self._port.name

    @property
    def epoch(self) -> int:
        """How many boot epochs have ended."""
        return self._line.epoch

    @property
    def doubts(self) -> int:
        """How often something happened that may have hidden a restart; it never falls.

        What is believed of the modem is sure only while neither this nor :attr:`epoch` has changed since it was read.
        """
        return self._line.doubts

    @property
    def doubted(self) -> str:
        """What :attr:`doubts` was last raised by."""
        return self._line.doubted

    def raise_doubt(self, reason: str) -> None:
        """Count something that may have hidden a restart. Sends nothing and waits for nothing."""
        with self._lock:
            self._line.raise_doubt(reason)

    @property
    def closed_reason(self) -> BaseException | None:
        """Why the channel is closed; None while it is open."""
        return self._closed

    @property
    def echo(self) -> bool | None:
        """What ATE set (V.250 6.2.4), None until known. An echo in spite of False ends the epoch."""
        return self._line.echo

    @echo.setter
    def echo(self, value: bool | None) -> None:
        self._line.echo = value

    @property
    def error_form(self) -> int | None:
        """What +CMEE set (27.007 9.1), None until known. Text in spite of 1, or any in spite of 0, ends the epoch."""
        return self._line.error_form

    @error_form.setter
    def error_form(self, value: int | None) -> None:
        self._line.error_form = value

    @property
    def terminator(self) -> bytes | None:
        """What this modem was found to take for the end of a command; None: what each exchange says."""
        return self._line.terminator

    @terminator.setter
    def terminator(self, value: bytes | None) -> None:
        self._line.terminator = value

    @property
    def recovery(self) -> Recovery:
        """How the line is brought into step."""
        return self._line.recovery

    @recovery.setter
    def recovery(self, value: Recovery) -> None:
        self._line.recovery = value

    def set_grammar(self, grammar: Grammar) -> None:
        """Change what may come at any time."""
        with self._lock:
            self._line.set_grammar(grammar)

    # -- exchanges -------------------------------------------------------------------------------------------------

    def exchange(
        self,
        ex: Exchange,
        *,
        deadline: float | None = None,
        on_orphan: Callable[[Reply | BaseException], None] | None = None,
        epoch: int | None = None,
        payload: bytes | None = None,
        on_failure: Callable[[Reply], None] | None = None,
        still: Callable[[], ModemError | None] | None = None,
        on_lines: Callable[[Sequence[Line]], None] | None = None,
    ) -> Reply:
        """Send a command and return its answer, of whatever outcome.

        ``payload`` stands for the exchange's own. ``on_failure`` is called with an answer whose outcome is not OK while
        nobody else gets the line: some modems know the cause only until the next command.

        If ``deadline`` passes (ModemTimeoutError) or the caller is interrupted once something was sent, the exchange
        goes on without him, and ``on_orphan`` is called in the background thread with what came of it (there the
        channel may be used). Before anything was sent: LineBusyError, and on_orphan is never called.
        With ``epoch`` nothing is sent unless that is still the boot epoch. ``still`` is asked when the line is this
        exchange's, and nothing is sent if it gives an error: that is raised. ``on_lines`` is called with the
        lines of its answer before the line is anybody else's, whatever came of it, and whether or not the caller waits
        for that. Both run in whichever thread reads, under the channel's lock: they must only look at state, or set it.

        Raises ModemTimeoutError (for the modem's own time-out, too), ModemRestartedError, PortLostError, SyncError.
        """
        keeps = None if on_failure is None else threading.get_ident()
        job = Job(ex, on_orphan, epoch, payload, keeps, still, on_lines)
        try:
            shielded = shield()
            try:
                try:
                    if shielded is not None:
                        shielded.check()
                    if not self._wait(job.is_finished, deadline, shielded, job):
                        self._unfinished(job)
                except BaseException:
                    self._leave_job(job)  # within the shield: this may send the next one's command
                    raise
            finally:
                if shielded is not None:
                    shielded.restore()
            if shielded is not None:
                try:
                    shielded.deliver()
                except BaseException:
                    self._leave_job(job)
                    raise
            reply = job.reply
            if reply is None:
                assert job.error is not None
                raise _again(job.error)
            if on_failure is not None and (reply.outcome is not Outcome.OK or reply.missing):
                on_failure(reply)
            return reply
        finally:
            if job.kept:
                self._give_back(job)

    def _unfinished(self, job: Job) -> None:
        """Raise why an exchange is not done."""
        if self._closed is not None and not job.started:
            raise _again(self._closed)
        if self._leave_job(job):
            raise ModemTimeoutError(f"{job.ex.text}: not answered in the time given")
        raise LineBusyError(f"{job.ex.text}: not sent, {self._busy()} for all the time given")

    def _begin(self, job: Job, thread: int) -> None:
        """Send the exchange, or queue it."""
        if self._closed is not None or self._torn:
            self._check()
        line = self._line
        holder = self._holder
        if holder == thread and job.epoch is None:
            job.epoch = self._hold_epoch
        self._torn = True
        if line.after.kind is not None and line.after.wants_look(job.ex):
            self._look_first(thread)
            if self._closed is not None:
                self._torn = False
                return
        if self._queue or not line.free or (holder is not None and holder != thread):
            self._queue.append(_Turn(thread, job))
            self._advance()
        else:
            self._submit(job)
        if line.output:
            self._flush()
        self._torn = False

    def _look_first(self, thread: int) -> None:
        """Take in what is there already: it may show that the data before was cut. Another leader does so by itself."""
        leader = self._leader
        if leader is not None and leader.thread == thread and self._poll.poll(0):
            self._read()

    def _keep(self, job: Job) -> None:
        """Let the thread of an exchange that failed keep the line (called under the lock as it ends)."""
        if self._holder is None:
            self._holder = job.keeps
            self._held = 1
            self._hold_epoch = self._line.epoch
            job.kept = True

    def _give_back(self, job: Job) -> None:
        """End what :meth:`_keep` began."""
        with unbroken(), self._lock:
            if job.kept:
                job.kept = False
                self._release()

    def _leave_job(self, job: Job) -> bool:
        """Let an exchange go on without its caller, or take it back; whether any of it was sent."""
        with unbroken(), self._lock:
            if self._torn:
                self._mend()  # before anything is sent: what was being sent may be sent already
            if job.orphaned:
                return True
            if job.finished:
                if job.started:
                    self._orphan_done(job)
                return job.started
            if job.started:
                job.orphaned = True
            else:
                self._line.withdraw(job)
                for turn in list(self._queue):
                    if turn.job is job:
                        self._queue.remove(turn)
                self._torn = True
                self._advance()
                self._flush()
                self._torn = False
            self._rouse()
            return job.started

    def _busy(self) -> str:
        """Say what keeps the line from those who wait for it."""
        with self._lock:
            job = self._line.job
            if job is not None and job.orphaned:
                return f"the line was waiting for the answer to {job.ex.text}, which its caller had given up,"
            if self._line.resync is not None:
                return "the line was being brought back into step"
        return "the line was busy"

    @contextmanager
    def hold(self, deadline: float | None = None) -> Iterator[None]:
        """Keep the line for several exchanges of this thread: nobody comes between. May be nested.

        Once the modem restarted in between, the exchanges that are left fail. Raises what :meth:`exchange` raises.
        """
        thread = threading.get_ident()
        before = self._held if self._holder == thread else 0
        try:
            with self._lock:
                self._check()
                if before:
                    self._held = before + 1
                elif self._holder is None and not self._queue and self._line.free:
                    self._hold_epoch = self._line.epoch
                    self._held = 1
                    self._holder = thread
            if self._holder != thread:
                self._take(thread, deadline)
            yield
        finally:  # wherever an interrupt may have struck
            with unbroken(), self._lock:
                if self._holder == thread and self._held > before:
                    self._held = before
                    if not before:
                        self._release()

    def _take(self, thread: int, deadline: float | None) -> None:
        turn = _Turn(thread, None)
        with self._lock:
            self._queue.append(turn)
            self._advance()
            self._rouse()
        shielded = shield()
        try:
            try:
                self._wait(lambda: turn.granted or turn.error is not None, deadline, shielded)
            finally:
                if shielded is not None:
                    shielded.restore()
            if shielded is not None:
                shielded.deliver()
        except BaseException:
            self._leave_turn(turn)
            raise
        if turn.error is not None:
            raise _again(turn.error)
        if not turn.granted and not self._leave_turn(turn, keep=True):
            raise LineBusyError(f"{self._busy()} for all the time given")

    def _leave_turn(self, turn: _Turn, *, keep: bool = False) -> bool:
        """Leave the queue for a hold, or give it back unless ``keep``; whether it was granted."""
        with unbroken(), self._lock:
            if turn in self._queue:
                self._queue.remove(turn)
            if turn.granted and not keep:
                self._release()
            return turn.granted

    def _release(self) -> None:
        """Give the line to others."""
        if self._torn:
            self._mend()
        self._held = 0
        self._holder = None
        self._torn = True
        self._advance()
        self._flush()
        self._torn = False
        self._rouse()

    def resynchronise(self, deadline: float | None = None) -> None:
        """Bring commands and answers into step now (otherwise done before the next exchange that needs it).

        Raises SyncError if nothing sensible answers, and what :meth:`exchange` raises.
        """
        with self.hold(deadline):
            step = _Turn(threading.get_ident(), None)
            with self._lock:
                self._check()
                self._steps.append(step)
                self._line.suspect("asked to make sure")
                self._line.recover(self.clock())
                self._flush()
                self._rouse()
            self._await(lambda: step.granted or step.error is not None, deadline)
            if step.error is not None:
                raise _again(step.error)

    def _await(self, ready: Callable[[], bool], deadline: float | None) -> None:
        if not self.wait(ready, deadline):
            raise ModemTimeoutError("the modem did not answer in the time given")

    # -- what nobody asked for -------------------------------------------------------------------------------------

    def watch(self, pattern: LinePattern, bound: Mapping[str, object] | None = None) -> Watch:
        """Return a watch for lines of this pattern, which lasts until it is closed or nobody holds it.

        Raises KeyError for a bound name without a value.
        """
        with self._lock:
            self._check()
            codec = self._line.codec
            for left in [key for key in codec.watches if key not in self._watches]:
                codec.unwatch(left)
            key = codec.watch(pattern, bound or {})
            one = self._watches[key] = Watch(self, key)
            return one

    def unwatch(self, key: ev.WatchKey) -> None:
        """Forget a watch."""
        with self._lock:
            self._watches.pop(key, None)
            self._line.codec.unwatch(key)

    def wait(self, ready: Callable[[], bool], deadline: float | None = None) -> bool:
        """Wait until ``ready()``; False if the deadline passed.

        It is asked again whenever something arrived, under the channel's lock and in whichever thread reads: it must
        be quick and only look. Raises the reason once the channel is closed. A restart is for ``ready`` to see.
        """
        shielded = shield()
        try:
            done = self._wait(ready, deadline, shielded)
        finally:
            if shielded is not None:
                shielded.restore()
        if shielded is not None:
            shielded.deliver()
        if not done and self._closed is not None:
            raise _again(self._closed)
        return done

    def notify(self) -> None:
        """Have every :meth:`wait` ask its ``ready`` again: something changed that did not come from the line."""
        with self._lock:
            self._rouse()

    def defer(self, work: Callable[[], None]) -> None:
        """Run ``work`` in the background thread, where it may use the channel. Errors are logged.

        Raises why the port is closed, once that thread has ended.
        """
        with self._lock:
            if self._left:
                self._check()
            self._defer(work)

    def check(self) -> None:
        """Raise why the channel is closed, if it is."""
        with self._lock:
            self._check()

    def end_epoch(self, reason: str) -> None:
        """Declare that the modem lost its state: whoever waits fails with ModemRestartedError."""
        with self._lock:
            self._check()
            self._line.end_epoch(reason, self.clock())
            self._advance()
            self._flush()
            self._rouse()

    def close(self, reason: BaseException | None = None) -> None:
        """Close the port. Whoever waits fails at once with ``reason``, or PortLostError. Harmless if repeated."""
        with self._lock:
            self._close(reason or PortLostError(f"{self._port.name} was closed"))
        if threading.current_thread() is not self._thread:
            self._thread.join(2.0)

    def _close(self, reason: BaseException) -> None:
        first = self._closed is None
        super()._close(reason)
        if first:
            self._tell("on_close", self.on_close, reason)

    def _check(self) -> None:
        if self._closed is not None:
            raise _again(self._closed)
        if self._torn:
            self._mend()

    # -- what the line reports (under the lock) --------------------------------------------------------------------

    def _tell(self, name: str, callback: Callable[[_T], None] | None, what: _T) -> None:
        """Call what the layer above has set; its failure is not the line's."""
        if callback is not None:
            try:
                callback(what)
            except Exception:
                _log.exception("%s: %s failed", self._port.name, name)

    def _urc(self, urc: Urc) -> None:
        self._tell("on_urc", self.on_urc, urc)

    def _spilt(self, topic: Topic, kind: Kind, reason: str) -> None:
        self._tell("on_spill", self.on_spill, Spill(topic, kind, reason))

    def _watched(self, key: ev.WatchKey, urc: Urc) -> None:
        watch = self._watches.get(key)
        if watch is not None:
            watch.put(urc)

    def _epoch_ended(self, reason: str, error: ModemRestartedError) -> None:
        self._fail_everybody(error)
        self._tell("on_epoch", self.on_epoch, reason)

    def _fail_everybody(self, error: BaseException) -> None:
        self._fail_queue(error)
        for watch in list(self._watches.values()):
            watch.fail(error)

    def _stepped(self, error: SyncError | None) -> None:
        steps, self._steps = self._steps, []
        for step in steps:
            step.error = error
            step.granted = error is None
        if error is not None:
            self._fail_queue(error)

    def _orphan_done(self, job: Job) -> None:
        callback = job.on_orphan
        job.on_orphan = None
        if callback is not None:
            outcome = job.outcome()
            self.defer(lambda: callback(outcome))

    def _fail_queue(self, error: BaseException) -> None:
        queue, self._queue = self._queue, deque()
        for turn in queue:
            turn.error = error
            if turn.job is not None:
                turn.job.fail(error)
        steps, self._steps = self._steps, []
        if isinstance(error, ModemRestartedError):
            self._steps = steps  # recovery goes on in the new epoch
        else:
            for step in steps:
                step.error = error

    # -- the queue (under the lock) ---------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Give the line to whose turn it is."""
        line = self._line
        while self._queue and line.free:
            holder = self._holder
            turn = next((one for one in self._queue if holder is None or one.thread == holder), None)
            if turn is None:
                return
            self._queue.remove(turn)
            if turn.job is None:
                turn.granted = True
                self._holder = turn.thread
                self._held = 1
                self._hold_epoch = line.epoch
                return
            self._submit(turn.job)

    def _submit(self, job: Job) -> None:
        obstacle = job.obstacle(self._line.epoch)
        if obstacle is None:
            self._line.submit(job, self.clock())
        else:
            job.fail(obstacle)


def _again(error: BaseException) -> BaseException:
    """Return an error for one more thread to raise: a traceback belongs to one of them."""
    return copy.copy(error).with_traceback(None) if isinstance(error, ModemError) else error
