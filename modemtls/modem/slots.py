"""The modem's sockets as the driver sees them, and what unsolicited result codes do to them.

A :class:`Slot` is one use of one socket number. URCs change it in the reading thread, which only sets state; whoever
waits for a change does so with ``channel.wait``. A number is used again as late as possible, and a URC only counts for
the use that it can belong to.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import threading
from collections import deque
from itertools import repeat
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from modemtls.errors import BearerLostError, ModemError, ModemRestartedError, SocketClosedError
from modemtls.modem.settings import SECURE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from modemtls.modem.contexts import ContextLease
    from modemtls.modem.settings import Family, Receive, TlsSettings

__all__ = ["PUSH_LIMIT", "Datagram", "Slot", "SlotState", "SlotTable"]

logger = logging.getLogger(__name__)

_DATAGRAMS: Final = frozenset({"dtls", "udp"})
_take_first = deque.popleft

SlotState: TypeAlias = Literal["opening", "open", "parked", "closing", "gone"]
"""``parked``: a connection that the modem has put aside (``connection_save``)."""

PUSH_LIMIT = 1 << 20
"""Bytes that one socket in push mode may have waiting: nothing can slow the modem down, so beyond this the stream is
given up rather than cut."""

PUSHED_DATAGRAMS = 256
"""Datagrams that one socket in push mode may have waiting; beyond this they are dropped, as datagrams may be."""


class Datagram(bytes):
    """One datagram that the modem pushed. ``source``: whom it is from, host and port, if the modem said so."""

    source: tuple[str, int] | None = None


class Slot:
    """One use of one of the modem's socket numbers.

    ``data_pending``: the modem holds data, or may (pull mode): true from a data URC until :meth:`drained`, and once
    more when the far side has closed. ``closed``: why the connection ended, or None; data may still be there to be
    read. ``broken``: it was no end of the far side's own making. ``lost``: why nothing can be read or sent any more
    (restart, bearer lost, overflow), or None; what was pushed before can still be taken. ``spilt``: why nothing more
    may be sent, or nothing. ``listener``: called in the reading thread after each change; it must only set state or
    wake someone.

    ``lease``: the TLS context, given back when the socket is closed in the modem. ``settings``: what a secure
    connection was made with. ``session``: what the modem has told of its session, for the host to keep. ``resumed``:
    the modem has shown that it resumed the session that it was given. ``listening``: connections come to it.
    ``waiting``: those that came. ``remote``: whom such a connection is from, host and port, if the modem said so.
    ``numbered`` False: the modem will choose another number, if it makes the socket at all. ``held``: what has closed
    it has left its number to be closed.
    """

    __slots__ = (
        "_data_count",
        "_pushed",
        "broken",
        "closed",
        "data_pending",
        "epoch",
        "family",
        "generation",
        "held",
        "lease",
        "listener",
        "listening",
        "lost",
        "number",
        "numbered",
        "opener",
        "pdp",
        "receive",
        "remote",
        "resumed",
        "session",
        "settings",
        "spilt",
        "state",
        "waiting",
    )

    def __init__(
        self,
        family: Family,
        number: int,
        *,
        epoch: int,
        generation: int = 0,
        pdp: int | None = None,
        receive: Receive = "pull",
    ) -> None:
        self.family: Family = family
        self.number = number
        self.epoch = epoch
        self.generation = generation
        self.pdp = pdp
        self.receive: Receive = receive
        self.state: SlotState = "opening"
        self.opener = threading.get_ident()
        self.lease: ContextLease | None = None
        self.listener: Callable[[], None] | None = None
        self.lost: ModemError | None = None
        self.spilt = ""
        self.settings: TlsSettings | None = None
        self.session: dict[str, object] = {}
        self.resumed = False
        self.waiting: deque[Slot] = deque()
        self.remote: tuple[str, int] | None = None
        self.numbered = True
        self.listening = False
        self._pushed: deque[bytes] = deque()
        self._data_count = 0
        self.forget()

    def __repr__(self) -> str:
        return f"<Slot {self.family} {self.number} {self.state} epoch {self.epoch} use {self.generation}>"

    @property
    def pushed(self) -> int:
        """Bytes received in push mode that :meth:`pour` has not moved yet."""
        pushed = self._pushed
        return sum(map(len, pushed.copy())) if pushed else 0

    @property
    def pushed_datagrams(self) -> int:
        """How many datagrams received in push mode :meth:`pour` has not moved yet; there may be empty ones."""
        return len(self._pushed)

    @property
    def readable(self) -> bool:
        """Whether a read would find data, an end or an error without waiting."""
        return self.data_pending or bool(self._pushed) or self.closed is not None or self.lost is not None

    @property
    def acceptable(self) -> bool:
        """Whether there is, or may be, a connection to be taken, or none will come any more."""
        return bool(self.waiting) or self.data_pending or self.closed is not None or self.lost is not None

    def check(self) -> None:
        """Raise why the socket is unusable, if it is. Call before every command for it."""
        if self.lost is not None:
            raise type(self.lost)(self.lost.message, number=self.lost.errno)  # one for each who asks

    def obstacle(self) -> ModemError | None:
        """Return why nothing may be sent for it now: its number may be another's already."""
        return None if self.state == "open" else SocketClosedError("the connection is closed")

    def mark(self) -> int:
        """Take a mark before asking the modem for data, for :meth:`drained`."""
        return self._data_count

    def drained(self, mark: int) -> None:
        """Note that the modem said that nothing was left, in answer to a question asked after ``mark`` was taken.

        A URC that came in between keeps the socket undrained: one read too many instead of data never read.
        """
        self.data_pending = False
        if self._data_count != mark:  # asked last: a URC may come at any moment
            self.data_pending = True

    def pour(self, into: deque[bytes]) -> None:
        """Move what was received in push mode to the end of ``into``.

        In one call: wherever an interrupt strikes, each piece is in one of the two.
        """
        pushed = self._pushed
        into.extend(map(_take_first, repeat(pushed, len(pushed))))

    # What the table calls, in the reading thread.

    def forget(self) -> None:
        """Forget everything that was reported so far: it was about a former use of the number."""
        self.data_pending = False
        self.closed: str | None = None
        self.broken = False
        self.held = False
        self._pushed.clear()

    def note_data(self, payload: bytes | None, source: tuple[str, int] | None = None) -> None:
        """Note a data URC, with its payload in push mode; ``source``: whom a datagram is from."""
        if payload is not None and self.family in _DATAGRAMS:
            payload = Datagram(payload)
            payload.source = source
        if payload is None:
            self._data_count += 1
            self.data_pending = True
        elif self.family in _DATAGRAMS and len(self._pushed) >= PUSHED_DATAGRAMS:
            logger.warning("%s socket %d: a datagram is dropped, so many are not read", self.family, self.number)
        elif self.pushed + len(payload) > PUSH_LIMIT:
            self.note_lost(
                SocketClosedError(
                    f"more than {PUSH_LIMIT} bytes that the modem pushed were not read in time: data is lost"
                )
            )
        elif self.lost is None:
            self._pushed.append(payload)

    def note_torn(self, *, reported: bool) -> None:
        """Note that bytes are missing in what was pushed; what came before can still be taken.

        A datagram that is not whole is lost, and nothing else with it.
        """
        if reported and self.lost is None:
            with contextlib.suppress(IndexError):  # taken already
                self._pushed.pop()
        if self.family not in _DATAGRAMS:
            self.note_lost(SocketClosedError("bytes of what the modem pushed were lost on the line: data is missing"))

    def note_broken(self, why: str) -> None:
        """Note that the connection broke: what is still there can be read, and then it is no end but an error."""
        if not self.broken:
            self.broken = True  # first: between the two nobody may take it for an end
            self.note_closed(why)
            self.closed = why

    def note_closed(self, why: str) -> None:
        """Note that the far side has closed; a last read tells whether anything came with it."""
        if self.closed is None:
            self.closed = why
            if self.receive == "pull":
                self._data_count += 1
                self.data_pending = True

    def note_session(self, fields: Mapping[str, object]) -> None:
        """Note what the modem tells of the session: all lines of one handshake together, and later ones instead."""
        self.session = {**self.session, **fields}

    def note_lost(self, error: ModemError) -> None:
        """Note that the socket is beyond use; the first reason stays."""
        if self.lost is None:
            self.lost = error

    def note_spilt(self, reason: str) -> None:
        """Note that the modem may have taken sent data for commands."""
        self.spilt = self.spilt or reason

    def tell(self) -> None:
        """Call the listener."""
        listener = self.listener
        if listener is not None:
            listener()


class SlotTable:
    """All socket numbers of one modem: which are used by whom.

    ``shared``: all sockets take their numbers from one set; else secure ones from one, plain ones from another.
    ``chosen``: the modem chooses them, and what is reserved only counts. ``secure``: how many secure sockets there may
    be at once. Allocation and the URC entry points may be called
    from any thread. Nothing here sends a command.

    Attribute to set: ``unwanted``, called in the reading thread with the slot of a connection that has come and that
    nobody waits for any more, to be closed; it must only set state.
    """

    def __init__(
        self,
        numbers: Mapping[Family, Sequence[int]],
        *,
        now: Callable[[], float],
        shared: bool = False,
        chosen: bool = False,
        secure: int | None = None,
    ) -> None:
        self._numbers: dict[Family, tuple[int, ...]] = {family: tuple(each) for family, each in numbers.items()}
        self._pools: dict[Family, str] = {
            family: "all" if shared else "secure" if family in SECURE else "plain" for family in self._numbers
        }
        self._chosen = chosen
        self._secure = secure
        self._now = now
        self.unwanted: Callable[[Slot], None] | None = None
        self._lock = threading.Lock()  # held for a few instructions, never across I/O or a callback
        self._slots: dict[tuple[str, int], Slot] = {}
        self._free: dict[str, deque[int]] = {}
        self._foreign: dict[str, dict[int, Family]] = {}
        self._resting: dict[tuple[str, int], float] = {}
        self._generation = 0
        self._epoch = -1
        self._reset()

    def _reset(self) -> None:
        self._slots = {}
        self._free = {pool: deque() for pool in self._pools.values()}
        for family, pool in self._pools.items():
            self._free[pool].extend(n for n in self._numbers[family] if n not in self._free[pool])
        self._foreign = {pool: {} for pool in self._free}
        self._resting = {}

    def begin_epoch(self, epoch: int, why: str) -> None:
        """Fail every socket of the epochs before; all numbers are free again."""
        with self._lock:
            if epoch == self._epoch:
                return
            self._epoch = epoch
            gone = [slot for slot in self._slots.values() if slot.epoch != epoch]
            self._reset()
        for slot in gone:
            slot.note_lost(ModemRestartedError(f"the modem restarted ({why}): the connection is gone"))
            self._finish(slot)
            slot.tell()

    def numbers(self, family: Family) -> tuple[int, ...]:
        """Give the numbers that the modem has for ``family``."""
        return self._numbers.get(family, ())

    def pool(self, family: Family) -> str:
        """Name the set that ``family`` takes its numbers from; a list of sockets has all that is in it."""
        return self._pools[family]

    def slots(self, family: Family | None = None) -> list[Slot]:
        """List the driver's sockets that are not gone."""
        with self._lock:
            return [slot for slot in self._slots.values() if family is None or slot.family == family]

    def set_foreign(self, family: Family, numbers: Iterable[int]) -> None:
        """Note which numbers the modem lists as used; those that are not the driver's are left alone."""
        pool = self._pools[family]
        with self._lock:
            others = {n: of for n, of in self._foreign[pool].items() if of != family}
            listed = {n: family for n in numbers if (pool, n) not in self._slots}
            self._foreign[pool] = others | listed

    def foreign(self, family: Family) -> frozenset[int]:
        """Give the numbers in use by someone else."""
        pool = self._pools[family]
        with self._lock:
            return frozenset(n for n, of in self._foreign[pool].items() if of == family)

    def reserve(self, family: Family, *, epoch: int, pdp: int | None = None, receive: Receive = "pull") -> Slot:
        """Take the number that has been free for longest.

        Raises :class:`ModemError` (``EMFILE``) when there is none, :class:`ModemRestartedError` when ``epoch`` is over.
        """
        with self._lock:
            if epoch != self._epoch:
                raise ModemRestartedError("the modem restarted while a connection was being prepared")
            self._reclaim()
            number = self._pick(family)
            slot = self._take(family, number, pdp=pdp, receive=receive)
            slot.numbered = not self._chosen
            return slot

    def seize(self, family: Family, number: int, *, given: bool = False) -> Slot | None:
        """Take a certain number in order to close it, if nobody has it.

        ``given``: the modem has just given it to what is to be closed, so whoever had it has it no more.
        """
        former = None
        with self._lock:
            pool = self._pools.get(family, "")
            if given and pool:
                former = self._given(pool, number)
            elif number not in self._free.get(pool, ()):
                return None
            slot = self._take(family, number, pdp=None, receive="pull")
            slot.state = "closing"
        self._succeeded(former)
        return slot

    def _reclaim(self) -> None:
        # A thread opens one socket at a time. What it has reserved and not given back was lost to an interrupt between
        # the reservation and the opening, so nothing was sent for it.
        me = threading.get_ident()
        for slot in [s for s in self._slots.values() if s.state == "opening" and s.opener == me]:
            self._drop(slot)
            slot.state = "gone"

    def _pick(self, family: Family) -> int:
        pool = self._pools.get(family)
        own = self.numbers(family)
        if pool is None or not own:
            raise ModemError(f"the modem's profile has no {family} sockets", number=errno.EMFILE)
        secure = [slot for slot in self._slots.values() if slot.family in SECURE]
        if family in SECURE and self._secure is not None and len(secure) >= self._secure:
            raise ModemError(
                f"this modem has at most {self._secure} TLS and DTLS connections at once: close one first",
                number=errno.EMFILE,
            )
        foreign = self._foreign[pool]
        free = [n for n in self._free[pool] if n in own and n not in foreign]
        if not free:
            others = f", {len(foreign)} of them by another program (take_over=True closes those)" if foreign else ""
            raise ModemError(
                f"all {len(own)} {family} sockets of the modem are in use{others}: close a connection first",
                number=errno.EMFILE,
            )
        now = self._now()
        rested = [n for n in free if self._resting.get((pool, n), now) <= now]
        # A modem whose documents do not say so may have one set of numbers for all.
        apart = [n for n in rested if not self._elsewhere(pool, n)]
        return (apart or rested or free)[0]

    def _take(self, family: Family, number: int, *, pdp: int | None, receive: Receive) -> Slot:
        pool = self._pools[family]
        self._resting.pop((pool, number), None)
        self._generation += 1
        slot = Slot(family, number, epoch=self._epoch, generation=self._generation, pdp=pdp, receive=receive)
        free = self._free[pool]
        self._slots[pool, number] = slot
        free.remove(number)  # directly behind: wherever an interrupt strikes, the number is in one of the two
        return slot

    def rebind(self, slot: Slot, number: int) -> bool:
        """Note which number the modem chose; whoever had it has it no more. False if the slot has been given up."""
        with self._lock:
            pool = self._pools[slot.family]
            if self._slots.get((pool, slot.number)) is not slot:
                return False
            slot.numbered = True
            slot.forget()  # what was reported for the number that was reserved was about another's
            self._foreign[pool].pop(number, None)
            if number == slot.number:
                return True
            self._drop(slot)
            former = self._given(pool, number)
            self._free[pool].remove(number)
            slot.number = number
            self._slots[pool, number] = slot
        self._succeeded(former)
        return True

    def adopt(
        self, listener: Slot, number: int, remote: tuple[str, int] | None = None, *, pending: bool = False
    ) -> Slot | None:
        """Take the number of a connection that came to a socket of the driver's, where it waits to be accepted.

        ``pending``: there may be data already. None if that socket is being closed; the connection is, then, too.
        """
        with self._lock:
            if listener.epoch != self._epoch:
                return None
            wanted = listener.state == "open"
            former = self._given(self._pools[listener.family], number)
            slot = self._take(listener.family, number, pdp=listener.pdp, receive=listener.receive)
            slot.remote = remote
            slot.settings = listener.settings
            slot.state = "open" if wanted else "closing"
            if wanted:
                if pending:
                    slot.note_data(None)
                if listener.lease is not None:
                    slot.lease = listener.lease.share()
                listener.waiting.append(slot)
        self._succeeded(former)
        if not wanted and self.unwanted is not None:
            self.unwanted(slot)
        return slot if wanted else None

    def _given(self, pool: str, number: int) -> Slot | None:
        """Have a number free that the modem has given to a new socket; return the slot that had it until now."""
        former = self._slots.get((pool, number))
        if former is not None:
            self._drop(former)
        elif number not in self._free[pool]:
            self._free[pool].append(number)
        self._foreign[pool].pop(number, None)
        if former is not None and not former.numbered:
            # It had the number only in the count, and the modem will choose another one for it.
            own = self.numbers(former.family)
            other = next((one for one in self._free[pool] if one != number and one in own), None)
            if other is not None:
                former.number = other
                self._free[pool].remove(other)
                self._slots[pool, other] = former
                return None
        return former

    def leave(self, slot: Slot) -> None:
        """Note that a socket is being closed: what comes to it from now on is not wanted."""
        with self._lock:
            slot.state = "closing"

    def forgo(self, slot: Slot) -> bool:
        """Give up what was reserved; False if the modem has chosen a number for it, which is to be closed."""
        with self._lock:
            if slot.numbered:
                return False
            self._drop(slot)
            return True

    def _succeeded(self, former: Slot | None) -> None:
        """Tell a slot that its number is another's; that it was closed, it may have missed."""
        if former is None:
            return
        if former.closed is None:
            former.note_lost(SocketClosedError("the modem has closed the connection, and uses its number again"))
        self._finish(former)
        former.tell()

    def give_to_others(self, slot: Slot) -> bool:
        """Note that a reserved number turned out to be in use; True if by someone else.

        It is the driver's own where a modem has one set of numbers for all and was not known to have.
        """
        with self._lock:
            pool = self._pools[slot.family]
            foreign = not self._elsewhere(pool, slot.number)
            if self._drop(slot) and foreign:
                self._foreign[pool][slot.number] = slot.family
        self._finish(slot)
        return foreign

    def elsewhere(self, slot: Slot) -> bool:
        """Whether another socket of the driver's has this number too, of another set."""
        with self._lock:
            return self._elsewhere(self._pools[slot.family], slot.number)

    def _elsewhere(self, pool: str, number: int) -> bool:
        return any(number == taken for other, taken in self._slots if other != pool)

    def holds(self, slot: Slot) -> bool:
        """Whether a slot has its number still."""
        with self._lock:
            return self._slots.get((self._pools[slot.family], slot.number)) is slot

    def free(self, slot: Slot, *, rest: float = 0.0) -> None:
        """Free a number that is closed in the modem; idempotent.

        ``rest``: seconds for which a late report of this use may still come; others are preferred until then.
        """
        with self._lock:
            if self._drop(slot) and rest > 0:
                self._resting[self._pools[slot.family], slot.number] = self._now() + rest
        self._finish(slot)

    def _drop(self, slot: Slot) -> bool:
        pool = self._pools[slot.family]
        if self._slots.get((pool, slot.number)) is not slot:
            return False
        del self._slots[pool, slot.number]
        self._free[pool].append(slot.number)
        return True

    def _finish(self, slot: Slot) -> None:
        if slot.state == "gone":
            return
        if slot.lease is not None:
            slot.lease.release()
        slot.state = "gone"  # last: an interrupt before it lets this be done again

    # URCs, in the reading thread.

    def on_data(
        self,
        family: Family | None,
        number: int | None,
        payload: bytes | None,
        source: tuple[str, int] | None = None,
    ) -> None:
        """Take note of a data URC; with ``payload`` in push mode, and whom a datagram is from."""
        for slot in self._find(family, number):
            slot.note_data(payload, source)
            slot.tell()

    def on_accepted(
        self, family: Family | None, listener: int | None, number: int, remote: tuple[str, int] | None = None
    ) -> None:
        """Take note of a connection that came; ``listener``: where, None if the modem does not say."""
        for waits in self._find(family, listener):
            if waits.listening:
                if self.adopt(waits, number, remote) is not None:
                    waits.tell()
                return

    def on_session(self, context: int | None, fields: Mapping[str, object]) -> None:
        """Take note of what the modem tells of the session of a connection over a TLS context."""
        for slot in self.slots():
            if slot.lease is not None and slot.lease.number == context and slot.state in {"opening", "open"}:
                slot.note_session(fields)
                slot.tell()

    def on_torn(self, family: Family | None, number: int | None, *, reported: bool) -> None:
        """Take note that pushed data did not arrive whole; ``reported``: it was the last that was told of."""
        for slot in self._find(family, number):
            slot.note_torn(reported=reported)
            slot.tell()

    def on_cut(self, family: Family, number: int, reason: str, *, sent: bool) -> None:
        """Take note that data was not what its count said, received or ``sent``."""
        for slot in self._find(family, number):
            if sent:
                slot.note_spilt(reason)
            else:
                slot.note_lost(SocketClosedError(f"the connection is given up: {reason}"))
            slot.tell()

    def on_closed(
        self, family: Family | None, number: int | None, why: str = "the far side closed it", *, held: bool = False
    ) -> None:
        """Take note that the far side, or the network, has closed; ``held``: the number is not free for that."""
        for slot in self._find(family, number):
            slot.held = held
            slot.note_closed(why)
            slot.tell()

    def on_broken(self, family: Family | None, number: int | None, *, held: bool = False) -> None:
        """Take note that a connection broke; ``held``: the number is not free for that."""
        for slot in self._find(family, number):
            slot.held = held
            slot.note_broken("the connection broke (the peer reset it, or the network is gone)")
            slot.tell()

    def on_opened(self, family: Family | None, number: int, error: int) -> None:
        """Take note of the result of an open: what was reported for the number before it was about a former use."""
        found = self._find(family, number)
        for slot in found:
            if slot.state == "opening":
                slot.forget()
        if found or error or self.unwanted is None:
            return
        for each in self._numbers if family is None else (family,):
            if number in self.numbers(each) and number not in self.foreign(each):
                late = self.seize(each, number)
                if late is not None:
                    self.unwanted(late)

    def on_network_lost(self, pdp: int | None) -> None:
        """Take note that the bearer of a PDP context is gone, and all sockets on it."""
        for slot in self.slots():
            # What is put aside needs no bearer; whether it is still good shows when it is taken up.
            if slot.state != "parked" and (pdp is None or slot.pdp is None or slot.pdp == pdp):
                which = "the PDP context" if slot.pdp is None else f"PDP context {slot.pdp}"
                slot.note_lost(BearerLostError(f"the network ended {which}: the connection is gone"))
                slot.tell()

    def _find(self, family: Family | None, number: int | None) -> list[Slot]:
        with self._lock:
            pools = dict.fromkeys(self._pools[each] for each in (self._numbers if family is None else (family,)))
            if number is None:  # a modem with one socket does not number it
                return [slot for (pool, _), slot in self._slots.items() if pool in pools]
            found = [self._slots[pool, number] for pool in pools if (pool, number) in self._slots]
        if not found:
            logger.debug("URC for socket %d, which is not the driver's", number)
        return found
