"""One datagram socket in the modem: each datagram whole or not at all, in the order in which the modem gives them.

It is read until a read comes back empty: a short read tells nothing about the next datagram. What a command gives as
long as it can is the beginning of a larger datagram, for all one knows, unless the modem says what is left of it. Where
the rest is kept it comes with the reads that follow: it is put together if the modem said that there is one, else
dropped, since it could be another datagram, unless it is from somebody else.

What a modem calls empty may be an empty datagram that it has no other word for, with others behind it of which no
notice comes while they are unread. So where it tells how much it holds that is asked before an empty read is believed.

Datagrams may be lost, so nothing that happens to one of them ends the others: neither a send whose fate is unknown nor
a read that was not answered.
"""

from __future__ import annotations

import errno
import logging
from collections import deque
from typing import TYPE_CHECKING, Final

from modemtls.at.grammar import Outcome
from modemtls.errors import (
    BearerLostError,
    CommandError,
    ConfigurationError,
    ModemError,
    ModemTimeoutError,
    SocketClosedError,
    TruncatedError,
)
from modemtls.modem.slots import Datagram
from modemtls.net.link import BUSY_PAUSE, CLOSED, Link, again

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modemtls.at.exchange import Reply
    from modemtls.modem.attached import AttachedModem
    from modemtls.modem.runner import Result
    from modemtls.modem.slots import Slot
    from modemtls.net.manners import Manners

__all__ = ["Datagrams"]

logger = logging.getLogger(__name__)

#: Datagrams that are read ahead; there may be empty ones, so bytes alone are no bound.
_AHEAD: Final = 256

#: Empty reads in a row that are taken for empty datagrams, if the modem says that there is something behind them.
_VAIN: Final = 100

_take_first = deque.popleft


class _Beginning(Datagram):
    """The beginning of a datagram whose rest is gone."""


class _Begun:
    """A datagram whose rest is to be read. ``counted``: the modem says how much that is."""

    def __init__(self, data: bytes, source: tuple[str, int] | None, *, counted: bool) -> None:
        self.data = data
        self.source = source
        self.counted = counted
        self.more = False


class Datagrams(Link):
    """The driver's end of one open datagram socket; see :class:`Link`.

    ``unconnected``: datagrams come from anybody, and are sent with an address. What :meth:`take` and :meth:`receive`
    give has its ``source``, host and port, where the modem told.
    """

    def __init__(
        self,
        modem: AttachedModem,
        slot: Slot,
        manners: Manners,
        changed: Callable[[], None] = lambda: None,
        *,
        unconnected: bool = False,
    ) -> None:
        super().__init__(modem, slot, manners, changed)
        self._counting = "pending"
        if unconnected:
            self._asking, self._counting = "receivefrom", "pendingfrom"
        self._begun: _Begun | None = None
        self._failed: ModemError | None = None  # of one read; told once
        self._secure = slot.family == "dtls"
        self._counts = not self._secure and f"{slot.family}_{self._counting}" in modem.profile.programs
        self._doubtful = False  # a read came back empty, and how much there is has not been asked
        self._vain = 0  # empty reads in a row, with something there

    # -- what is known, from memory -----------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether :meth:`take` gives a datagram, the end or an error now."""
        return (
            bool(self._pieces)
            or self.slot.pushed_datagrams > 0
            or self._failed is not None
            or self._failure() is not None
            or self._at_end()
        )

    def take(self, size: int, *, peek: bool = False) -> bytes | None:
        """Give one datagram of what is in memory, or None; raise the failure after them.

        :class:`TruncatedError` has the first ``size`` bytes of a larger one. ``b""`` may be an empty datagram, and is
        the end of a secured association.
        """
        piece = self._next(peek=peek)
        if piece is not None:
            cut = isinstance(piece, _Beginning)
            if not cut and len(piece) <= size:
                return piece
            source = getattr(piece, "source", None)
            raise TruncatedError(
                f"the modem gave the first {len(piece)} bytes of a larger datagram"
                if cut
                else f"a datagram of {len(piece)} bytes, and room for {size}",
                data=bytes(piece[:size]),
                address=None if source is None else (source[0], str(source[1])),
            )
        failed = self._failed
        if failed is not None:
            if not peek:
                self._failed = None
            raise again(failed)
        return self._nothing_more()

    def _next(self, *, peek: bool) -> bytes | None:
        taken: list[bytes] = []
        count = 0
        try:
            with self._buffers:
                if self.slot.pushed_datagrams:
                    self._gather()
                if self._pieces:
                    if peek:
                        return self._pieces[0]
                    taken.extend(map(_take_first, (self._pieces,)))
                    length = len(taken[0])
                    self._buffered -= length
                    self._given += length
                    count = length
            return taken[0] if taken else None
        except BaseException:
            self._put_back(taken, count)
            raise

    def _failure(self) -> ModemError | None:
        failure = self._broken or self.slot.lost
        no_end = not self._secure or (self.slot.broken and not self._ended)
        if failure is None and no_end and self._over():
            why = self.slot.closed or "the modem says that there is no socket any more"
            failure = self._broken = SocketClosedError(f"the socket is closed: {why}")
        return failure

    def _at_end(self) -> bool:
        return self._secure and self._over()

    def _over(self) -> bool:
        """Whether nothing will come any more but what is in memory."""
        if self._ended:
            return True
        slot = self.slot
        if slot.closed is None:
            return False
        if slot.receive == "push" or not self.manners.kept:
            return slot.pushed_datagrams == 0
        return self._asked_after_close and not slot.data_pending

    # -- receiving ----------------------------------------------------------------------------------------------

    def read_ahead(self, window: int) -> bool:
        """Fetch one datagram if the modem may have one and there is room; not while somebody else is receiving."""
        return len(self._pieces) < _AHEAD and super().read_ahead(window)

    def _fetch(self, deadline: float | None) -> None:
        """Ask the modem for one datagram, and for all of it."""
        super()._fetch(deadline)
        while self._begun is not None and not self.closing and self._failed is None and self._failure() is None:
            super()._fetch(deadline)
        if self._doubtful:
            self._make_sure(deadline)

    def _make_sure(self, deadline: float | None) -> None:
        """Ask how much there is behind what was read as empty; if anything, it is read on."""
        try:
            answer = self._modem.sockets.run(self.slot, self._counting, {}, deadline=deadline)
            pending = answer.values.get("pending")
        except CommandError as error:
            logger.debug("%r: %s", self.slot, error)
            pending = 0
        self._vain += 1
        self._doubtful = False
        if pending and self._vain < _VAIN:
            self.slot.note_data(None)  # of what is behind it no notice may come either
        self._poll_due = False

    def _arrived(self, result: Result | ModemError, mark: int, *, after_close: bool) -> None:
        if isinstance(result, ModemError):
            self._receive_failed(result, after_close=after_close)
            return
        values, outcome = result.values, result.outcome
        self._poll_due = False
        if outcome is Outcome.OK or result.payload:
            left = values.get("left")
            with self._buffers:
                self._came(result.payload, left if isinstance(left, int) else None, _source(values))
        if outcome is Outcome.OK:
            self._poll_due = self.manners.poll is not None
            self._vain = 0
            return
        with self._buffers:
            self._nothing_follows()
        self._drained(mark)
        if outcome is Outcome.EOF or outcome is Outcome.CLOSED:
            self._ended = True
        elif after_close:
            self._asked_after_close = True
        elif self._counts:
            self._doubtful = self._poll_due = True

    def _came(self, payload: bytes, left: int | None, source: tuple[str, int] | None) -> None:
        """Take one read's bytes; ``left``: of their datagram, so many remain in the modem, None if it does not say."""
        begun = self._begun
        if begun is not None and source is not None and begun.source is not None and source != begun.source:
            self._nothing_follows()  # another's: there was no rest
            begun = None
        full = len(payload) >= self.manners.receive if left is None else left > 0
        if begun is None:
            if full and self.manners.rest_kept:
                self._begun = _Begun(payload, source, counted=left is not None)
            else:
                self._append_datagram(payload, source, cut=full)
            return
        begun.more = True
        if begun.counted:
            begun.data += payload
        if not full:
            self._nothing_follows()

    def _nothing_follows(self) -> None:
        begun, self._begun = self._begun, None
        if begun is not None:
            self._append_datagram(begun.data, begun.source, cut=begun.more and not begun.counted)

    def _append_datagram(self, data: bytes, source: tuple[str, int] | None, *, cut: bool) -> None:
        made = (_Beginning if cut else Datagram)(data)
        made.source = source
        self._pieces.append(made)
        self._buffered += len(made)

    def _arrived_late(self, reply: Reply | BaseException) -> None:
        if isinstance(reply, BaseException):
            return
        with self._buffers:
            for line in reply.lines:
                if line.payload:
                    left = line.values.get("left")
                    self._came(line.payload, left if isinstance(left, int) else None, _source(line.values))

    def _receive_failed(self, error: BaseException, *, after_close: bool) -> None:
        slot = self.slot
        if slot.lost is not None:
            return  # that is the reason, and it is known already
        if isinstance(error, CommandError):
            if after_close or slot.closed is not None:
                if slot.broken:
                    self._broken = SocketClosedError(f"{slot.closed}: {error}")
                self._ended = True
            elif error.kind in CLOSED:
                self._broken = SocketClosedError(f"the modem closed the socket: {error}")
            elif error.kind == "pdp_lost":
                self._broken = BearerLostError(f"the network ended the PDP context, and the socket with it: {error}")
            else:
                self._failed = error
        elif isinstance(error, ModemTimeoutError):
            self._failed = error
        elif isinstance(error, ModemError):
            self._broken = error

    # -- sending ------------------------------------------------------------------------------------------------

    def send(self, data: memoryview, deadline: float | None) -> None:
        """Send one datagram, all of ``data``, to the peer."""
        self._send("send", bytes(data), {}, deadline)

    def send_to(self, data: bytes, host: str, port: int, deadline: float | None) -> None:
        """Send one datagram to an address."""
        self._send("sendto", data, {"host": host, "port": port}, deadline)

    def _send(self, op: str, data: bytes, where: Mapping[str, object], deadline: float | None) -> None:
        entered: bool | None = None
        pause, longest = BUSY_PAUSE
        try:
            entered = self._enter(self._sending, deadline)
            while True:
                self.check_sendable()
                if self.closing:
                    raise SocketClosedError("the socket was closed while it was sending")
                if self._hand_over(op, data, where, deadline):
                    return
                self._let_it_drain(pause, deadline)
                pause = min(2 * pause, longest)
        finally:
            if entered is not False:
                try:
                    self._sending.release()
                except RuntimeError:
                    pass

    def offer(self, piece: bytes) -> int:
        """Hand over one datagram without waiting for room; return its length, 0 if the modem has no room now."""
        if len(piece) > self.manners.send:
            raise ConfigurationError(f"{len(piece)} bytes are no piece; {self.manners.send} are", number=errno.EMSGSIZE)
        entered: bool | None = None
        try:
            entered = self._sending.acquire(blocking=False)
            if not entered:
                return 0
            self.check_sendable()
            return len(piece) if self._hand_over("send", piece, {}, None) else 0
        finally:
            if entered is not False:
                try:
                    self._sending.release()
                except RuntimeError:
                    pass

    def _hand_over(self, op: str, data: bytes, where: Mapping[str, object], deadline: float | None) -> bool:
        """Hand one datagram to the modem; False if it has no room for it now."""
        size = len(data)
        try:
            result = self._modem.sockets.run(self.slot, op, {**where, "data": data, "size": size}, deadline=deadline)
        except CommandError as error:
            if self.slot.closed is not None or error.kind in CLOSED:
                why = self.slot.closed or "the modem has no such socket any more"
                raise SocketClosedError(f"the socket is closed ({why}): {error}") from error
            if error.kind == "pdp_lost":
                raise BearerLostError(f"the network ended the PDP context, and the socket with it: {error}") from error
            raise
        if self.slot.spilt:  # what was just answered is not known to be this
            self.check_sendable()
        outcome, sent = result.outcome, result.values.get("sent")
        if outcome is Outcome.BUSY or (outcome is Outcome.PARTIAL and sent == 0):
            return False
        if outcome not in {Outcome.OK, Outcome.PARTIAL}:
            raise SocketClosedError(f"the modem took the datagram not: {self.slot.closed or 'the socket is closed'}")
        if isinstance(sent, int) and sent < size:
            raise ModemError(f"the modem sent {sent} of the datagram's {size} bytes", number=errno.EIO)
        self.sent += size
        return True


def _source(values: Mapping[str, object]) -> tuple[str, int] | None:
    host, port = values.get("host"), values.get("port")
    return (host, port if isinstance(port, int) else 0) if isinstance(host, str) else None
