"""One connection in the modem: pieces out, pieces in, in order; nothing lost, nothing twice.

A socket is *undrained* from the modem's data notice until a read comes back empty (or short, where the profile says
that this means the same). Reads go on while it is undrained and somebody has room for the data; otherwise nothing is
asked. Where the modem gives no notice, a declared period applies, while somebody waits.
"""

from __future__ import annotations

import contextlib
import copy
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from modemtls.at.channel import LineBusyError
from modemtls.at.exchange import NoAnswerError
from modemtls.at.grammar import Outcome
from modemtls.at.interrupts import unbroken
from modemtls.errors import (
    BearerLostError,
    CommandError,
    ModemError,
    ModemTimeoutError,
    SocketClosedError,
    SyncError,
)
from modemtls.modem.interfaces import remaining

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.at.exchange import Reply
    from modemtls.modem.attached import AttachedModem
    from modemtls.modem.runner import Result
    from modemtls.modem.slots import Slot
    from modemtls.net.manners import Manners

__all__ = ["BUSY_PAUSE", "CLOSED", "Link", "again"]

#: Seconds before a piece that the modem had no room for is offered again: first, and at most.
BUSY_PAUSE: Final = (0.05, 1.0)

#: Kinds of refusals which say that there is no connection any more.
CLOSED: Final = frozenset({"closed", "no_such_socket"})

_take_first = deque.popleft


_SENT: Final = {
    "queued": "accepted by the modem",
    "sent": "sent by the modem",
    "acknowledged": "acknowledged by the peer",
}


class Link:
    """The driver's end of one open socket in the modem.

    ``deadline`` arguments are of the modem's clock; None waits for ever. ``changed`` is called, from any thread, after
    anything that may matter to somebody who waits; it must be quick and must not call back.
    """

    def __init__(
        self, modem: AttachedModem, slot: Slot, manners: Manners, changed: Callable[[], None] = lambda: None
    ) -> None:
        self.slot = slot
        self.manners = manners
        self.changed = changed
        self.sent = 0
        self._modem = modem
        self._channel = modem.channel
        self._asking = "receive"
        self._question = {"size": manners.receive}
        # Re-entrant only because they know their owner; see _enter.
        self._sending = threading.RLock()
        self._receiving = threading.RLock()
        self._buffers = threading.Lock()
        self._pieces: deque[bytes] = deque()
        self._buffered = 0
        self._given = 0
        self._broken: ModemError | None = None  # why nothing more can be received
        self._unsendable: ModemError | None = None  # why nothing more can be sent
        self._ended = False  # the modem said that nothing will follow
        self._asked_after_close = False
        self._poll_due = manners.poll is not None
        self._drained_at = 0  # the slot's mark when the modem last had nothing left
        self._straggler = False  # the answer to an abandoned question may still be on its way
        self.closing = False
        self.aside = False  # put aside in the modem, and not this link's to close
        slot.listener = self._notified

    # -- what is known, from memory -----------------------------------------------------------------------------

    @property
    def buffered(self) -> int:
        """Bytes received and not given to anybody yet."""
        return self._buffered + self.slot.pushed

    @property
    def ready(self) -> bool:
        """Whether :meth:`take` gives data, the end or an error now."""
        return self.buffered > 0 or self._failure() is not None or self._at_end()

    @property
    def unread(self) -> bool:
        """Whether the modem has, or may have, something that only asking it will tell."""
        return self._is_unread()

    def _is_unread(self) -> bool:
        slot = self.slot
        if slot.receive == "push" or self._ended or self._broken is not None or slot.lost is not None:
            return False
        if slot.closed is not None:
            # A last read, whatever was announced, unless the modem has forgotten the connection.
            return self.manners.kept and (slot.data_pending or not self._asked_after_close)
        return slot.data_pending or self._poll_due

    def take(self, size: int, *, peek: bool = False) -> bytes | None:
        """Give up to ``size`` bytes of what is in memory, ``b""`` at the end, or None; raise the failure after it.

        What an interrupt keeps from the caller is given the next time.
        """
        taken: list[bytes] = []
        count = 0
        try:
            with self._buffers:
                if self.slot.pushed:
                    self._gather()
                if self._pieces:
                    if peek:
                        return b"".join(self._pieces)[:size]
                    self._pop(size, taken)
                    total = sum(map(len, taken))
                    self._given += total
                    count = total
            if taken:
                return taken[0] if len(taken) == 1 else b"".join(taken)
        except BaseException:
            self._put_back(taken, count)
            raise
        return self._nothing_more()

    def _nothing_more(self) -> bytes | None:
        """Behind the last of the data: raise the failure, or give ``b""`` at the end, None before it."""
        failure = self._failure()
        if failure is not None:
            raise again(failure)
        return b"" if self._at_end() else None

    def _pop(self, size: int, taken: list[bytes]) -> None:
        """Move up to ``size`` bytes. Python looks for signals after a call: there each byte is in one of the two."""
        pieces = self._pieces
        while size > 0 and pieces:
            first = pieces[0]
            length = len(first)
            if length > size:
                head, rest = first[:size], first[size:]
                pieces[0] = rest
                taken.append(head)
                length = size
            else:
                taken.extend(map(_take_first, (pieces,)))
            size -= length
            self._buffered -= length

    def _put_back(self, taken: list[bytes], counted: int) -> None:
        with self._buffers:
            self._pieces.extendleft(reversed(taken))
            self._buffered = sum(map(len, self._pieces))
            self._given -= counted

    def _gather(self) -> None:
        """Take over what the modem pushed."""
        self.slot.pour(self._pieces)
        self._buffered = sum(map(len, self._pieces))

    def _append(self, piece: bytes) -> None:
        if piece:
            self._pieces.append(piece)
            self._buffered += len(piece)

    @property
    def received(self) -> int:
        """Bytes received so far."""
        return self._given + self.buffered

    def _failure(self) -> ModemError | None:
        slot = self.slot
        failure = self._broken or slot.lost
        if failure is None and not self.manners.kept and slot.closed is not None and self._announced():
            failure = self._broken = SocketClosedError(f"{slot.closed}, and data it had sent is lost in the modem")
        elif failure is None and slot.broken and not self._ended and self._at_end():
            failure = self._broken = SocketClosedError(f"{slot.closed}")
        return failure

    def _at_end(self) -> bool:
        if self._ended:
            return True
        return self.slot.closed is not None and not self.unread and self.slot.pushed == 0

    def _announced(self) -> bool:
        """Whether the modem gave notice of data that has not been read. A close counts as a notice of its own."""
        slot = self.slot
        return slot.data_pending and slot.mark() > self._drained_at + (slot.closed is not None)

    def _notified(self) -> None:
        self.changed()

    @property
    def end_authenticated(self) -> bool | None:
        """Whether the end is the peer's own for certain; None as long as there is none."""
        if self._failure() is not None or not self._at_end():
            return None
        return self.manners.clean_end

    # -- receiving ----------------------------------------------------------------------------------------------

    def receive(self, size: int, deadline: float | None, *, poll: bool = False, peek: bool = False) -> bytes:
        """Wait for data, the end or an error; ``poll`` asks exactly once what there is instead of waiting."""
        while True:
            data = self.take(size, peek=peek)
            if data is not None:
                return data  # at once: an interrupt in between would lose it
            if self.closing:
                return b""
            entered: bool | None = None
            try:
                entered = self._enter(self._receiving, deadline)
                self._await_data(deadline, poll=poll)
            finally:
                if entered is not False:
                    try:
                        self._receiving.release()
                    except RuntimeError:
                        pass  # interrupted before it was taken

    def _await_data(self, deadline: float | None, *, poll: bool) -> None:
        if poll and not self._stirred():
            self.poll_again()
            self._channel.wait(self._stirred, self._modem.now())
        while self._quiet():
            if self.unread:
                # A poll is bounded by the modem's own limits for one command.
                self._fetch(None if poll else deadline)
                if not poll:
                    continue
            elif not poll and self._wait(deadline):
                continue
            if self._quiet():
                raise ModemTimeoutError("nothing was received in time")

    def _quiet(self) -> bool:
        return not self.ready and not self.closing

    def _wait(self, deadline: float | None) -> bool:
        period = self.manners.poll
        if period is None:
            return self._channel.wait(self._stirred, deadline)
        due = self._modem.now() + period
        if deadline is not None and deadline <= due:
            return self._channel.wait(self._stirred, deadline)
        if not self._channel.wait(self._stirred, due):
            self._poll_due = True
        return True

    def _stirred(self) -> bool:
        return self.closing or self.ready or self.unread

    def read_ahead(self, window: int) -> bool:
        """Fetch one piece if the modem may have one and there is room; not while somebody else is receiving."""
        if self.buffered >= window or not self.unread or self.closing:
            return False
        entered: bool | None = None
        try:
            entered = self._receiving.acquire(blocking=False)
            if not entered or not self._is_unread():  # another thread may have come first
                return False
            self._fetch(None)
            return True
        finally:
            if entered is not False:
                try:
                    self._receiving.release()
                except RuntimeError:
                    pass

    def poll_again(self) -> None:
        """Ask the modem even though it has not said anything, because a period has passed."""
        self._poll_due = self.manners.poll is not None

    def _fetch(self, deadline: float | None) -> None:
        """Ask the modem for one piece. Whatever becomes of the caller, the piece gets into the buffer."""
        slot = self.slot
        mark = slot.mark()
        after_close = slot.closed is not None

        def late(reply: Reply | BaseException) -> None:
            self._arrived_late(reply)
            self.changed()

        with unbroken():
            straggling, self._straggler = self._straggler, True  # until an answer shows that it is none
            try:
                result: Result | ModemError = self._modem.sockets.run(
                    slot, self._asking, self._question, deadline=deadline, on_orphan=late
                )
            except LineBusyError:
                self._straggler = straggling
                raise
            except ModemTimeoutError as error:
                if self._is_own_time(error, deadline):
                    raise  # the answer goes to `late`
                result = error
            except ModemError as error:
                result = error
            if straggling:
                self._let_straggler_in()
            self._straggler = False
            if not (self.closing and isinstance(result, SocketClosedError)):  # closed here: that is no failure
                self._arrived(result, mark, after_close=after_close)
            self.changed()

    def _is_own_time(self, error: BaseException, deadline: float | None) -> bool:
        """Whether it was the caller's time that ran out. A command that is not answered is another matter."""
        if isinstance(error, NoAnswerError) or not isinstance(error, ModemTimeoutError):
            return False
        return deadline is not None and self._modem.now() >= deadline

    def _let_straggler_in(self) -> None:
        """Let the answer to an abandoned question into the buffer first: it was asked before this one."""
        done = threading.Event()
        channel = self._channel
        try:
            channel.defer(done.set)  # in the same queue as that answer, behind it
        except ModemError:
            return  # the port has gone
        while not done.wait(0.1):
            if channel.closed_reason is not None:
                return

    def _arrived_late(self, reply: Reply | BaseException) -> None:
        """Take the raw answer to an abandoned question: its data. What else it means, the next question will tell."""
        if isinstance(reply, BaseException):
            self._receive_failed(reply, after_close=False)
            return
        with self._buffers:
            for line in reply.lines:
                self._append(line.payload or b"")

    def _arrived(self, result: Result | ModemError, mark: int, *, after_close: bool) -> None:
        if isinstance(result, ModemError):
            self._receive_failed(result, after_close=after_close)
            return
        with self._buffers:
            self._append(result.payload)
        self._poll_due = False
        count = len(result.payload)
        outcome = result.outcome
        empty = outcome is Outcome.EMPTY or (outcome is Outcome.OK and count == 0)
        if outcome is Outcome.EOF or outcome is Outcome.CLOSED:
            self._ended = True
            self._drained(mark)
        elif empty or (self.manners.short_is_empty and count < self.manners.receive):
            self._drained(mark)
            if after_close:
                self._asked_after_close = True
        elif self.manners.poll is not None:
            self._poll_due = True

    def _drained(self, mark: int) -> None:
        self._drained_at = mark
        self.slot.drained(mark)

    def _receive_failed(self, error: BaseException, *, after_close: bool) -> None:
        slot = self.slot
        if slot.lost is not None:
            return  # that is the reason, and it is known already
        announced = self._announced()
        if isinstance(error, CommandError) and (after_close or slot.closed is not None) and not announced:
            if slot.broken:
                self._broken = SocketClosedError(f"{slot.closed}: {error}")
            self._ended = True  # closed, nothing had been announced, nothing can be read: this is the end
            return
        if isinstance(error, CommandError) and error.kind in CLOSED:
            lost = " and data it had announced is lost" if announced else ""
            self._broken = SocketClosedError(f"the modem closed the connection{lost}: {error}")
        elif isinstance(error, ModemTimeoutError | SyncError):
            # The modem may have handed out data that never got here: the stream would have a gap.
            self._broken = SocketClosedError(f"the connection is given up, data may be missing: {error}")
        elif isinstance(error, ModemError):
            self._broken = _meaning(error)
        else:
            self._broken = SocketClosedError("receiving was interrupted, and data may be missing")

    # -- sending ------------------------------------------------------------------------------------------------

    def send(self, data: memoryview, deadline: float | None) -> None:
        """Send all of ``data`` or raise; the error says how much was certainly accepted."""
        total = len(data)
        accepted = 0
        limit = self.manners.send
        entered: bool | None = None
        try:
            entered = self._enter(self._sending, deadline)
            while accepted < total:
                accepted += self._send_piece(bytes(data[accepted : accepted + limit]), deadline)
        except ModemError as error:
            error.bytes_accepted = accepted
            if accepted:
                more = f"{accepted} of {total} bytes had been {_SENT[self.manners.sent_means]}; nothing is repeated"
                error.message = f"{error.message} ({more})"
            raise
        finally:
            if entered is not False:
                try:
                    self._sending.release()
                except RuntimeError:
                    pass

    def offer(self, piece: bytes) -> int:
        """Hand over one piece without waiting for room; return how much the modem took, 0 if it has none now."""
        entered: bool | None = None
        try:
            entered = self._sending.acquire(blocking=False)
            if not entered:
                return 0
            self.check_sendable()
            piece = piece[: self.manners.send]
            outcome, taken = self._offer(piece, None)
            return self._taken(outcome, taken, len(piece))
        finally:
            if entered is not False:
                try:
                    self._sending.release()
                except RuntimeError:
                    pass

    def check_sendable(self) -> None:
        """Raise why nothing can be sent any more, if so."""
        if self._unsendable is not None:
            raise again(self._unsendable)
        if self.slot.lost is not None:
            raise again(self.slot.lost)
        if self.slot.spilt:
            self._unsendable = SocketClosedError(f"nothing more is sent: {self.slot.spilt}")
            raise again(self._unsendable)
        if self.slot.closed is not None or self._ended:
            raise SocketClosedError(f"the connection is closed: {self.slot.closed or 'the peer ended it'}")

    def _send_piece(self, piece: bytes, deadline: float | None) -> int:
        pause, longest = BUSY_PAUSE
        while True:
            self.check_sendable()
            if self.closing:
                raise SocketClosedError("the socket was closed while it was sending")
            outcome, taken = self._offer(piece, deadline)
            count = self._taken(outcome, taken, len(piece))
            if count:
                return count
            self._let_it_drain(pause, deadline)
            pause = min(2 * pause, longest)

    def _taken(self, outcome: Outcome, taken: int, offered: int) -> int:
        if outcome is Outcome.OK:
            taken = offered
        elif outcome is Outcome.BUSY:
            taken = 0
        elif outcome is not Outcome.PARTIAL or not 0 <= taken <= offered:
            raise SocketClosedError(f"the modem took no more data: {self.slot.closed or 'the connection is closed'}")
        self.sent += taken
        return taken

    def _let_it_drain(self, pause: float, deadline: float | None) -> None:
        """Give the modem time to send what it has; other threads may use the line meanwhile."""
        until = self._modem.now() + pause
        if deadline is not None and deadline <= until:
            self._channel.wait(self._stuck, deadline)
            if not self._stuck():
                raise ModemTimeoutError("the modem had no room for more data in time")
            return
        self._channel.wait(self._stuck, until)

    def _stuck(self) -> bool:
        return self.closing or self.slot.closed is not None or self.slot.lost is not None

    def _offer(self, piece: bytes, deadline: float | None) -> tuple[Outcome, int]:
        """Hand one piece to the modem. Unless its answer is known, nothing may follow: it could leave a gap."""
        try:
            result = self._modem.sockets.run(self.slot, "send", {"data": piece, "size": len(piece)}, deadline=deadline)
        except LineBusyError:
            raise  # nothing was sent
        except BaseException as error:
            why = str(error) or type(error).__name__
            self._unsendable = SocketClosedError(f"an earlier send did not complete, so none can follow: {why}")
            self.changed()
            if not isinstance(error, ModemError) or self._is_own_time(error, deadline):
                raise
            means = _meaning(error)
            if isinstance(error, ModemTimeoutError | SyncError):
                means = SocketClosedError(f"the connection is given up, what was sent may be incomplete: {error}")
            elif self.slot.spilt:
                means = SocketClosedError(f"{self.slot.spilt}: {error}")
            elif means is error and isinstance(error, CommandError) and self.slot.closed is not None:
                means = SocketClosedError(f"the connection is closed ({self.slot.closed}): {error}")
            if means is error:
                raise
            raise means from error
        if self.slot.spilt:  # what was just answered is not known to be this
            self.check_sendable()
        taken = result.values.get("sent")
        return result.outcome, taken if isinstance(taken, int) else 0

    # -- ending -------------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Release whoever waits on the socket; nothing more is sent or received."""
        self.closing = True
        self.slot.listener = None
        with contextlib.suppress(ModemError):  # a channel that is gone has nobody to wake
            self._channel.notify()

    def close(self, deadline: float | None = None) -> None:
        """Close the socket in the modem; whoever waits on it is released first."""
        self.leave()
        self._modem.sockets.close(self.slot, deadline=deadline)

    def _enter(self, turn: threading.RLock, deadline: float | None) -> bool:
        """Take the turn; True.

        An interrupt may strike as soon as it is taken, before this returns. So whoever calls this does so within a
        ``try`` whose end gives the turn back unless it is known to be another's: in place, since a function that did
        it could be interrupted before it began, and trying it, since the lock knows its owner.
        """
        if turn.acquire(blocking=False):
            return True
        left = remaining(self._modem.now, deadline)
        if not turn.acquire(timeout=-1.0 if left is None else left):
            raise ModemTimeoutError("another thread was still using the socket when the time ran out")
        return True


def _meaning(error: ModemError) -> ModemError:
    """Return what a refused command says about its connection, if anything; else the error itself."""
    if isinstance(error, CommandError):
        if error.kind in CLOSED:
            return SocketClosedError(f"the modem closed the connection: {error}")
        if error.kind == "pdp_lost":
            return BearerLostError(f"the network ended the PDP context, and the connection with it: {error}")
    return error


def again(error: ModemError) -> ModemError:
    """Return an error to raise once more, without the tracebacks of the times before."""
    fresh = copy.copy(error)
    fresh.__traceback__ = None
    return fresh
