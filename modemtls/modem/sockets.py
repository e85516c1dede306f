"""Opening and closing the modem's sockets, so that no number is ever lost and no stranger's socket is touched.

What an interrupted open or close leaves behind is closed in the background; a connection that comes up after its
caller has gone is closed, too.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from modemtls.at.grammar import Outcome
from modemtls.errors import CommandError, ModemError, ModemRestartedError, ModemTimeoutError, SocketClosedError
from modemtls.modem.interfaces import Turn
from modemtls.modem.settings import FAMILIES, SECURE
from modemtls.modem.steps import step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modemtls.at.exchange import Reply
    from modemtls.modem.contexts import ContextLease
    from modemtls.modem.interfaces import Host
    from modemtls.modem.runner import Result
    from modemtls.modem.settings import Family, Receive, TlsSettings
    from modemtls.modem.slots import Slot, SlotTable

__all__ = ["Opening", "Sockets"]

logger = logging.getLogger(__name__)

_OF_EACH: Final = (
    "open", "listen", "accept", "bind", "confirm", "send", "sendto", "receive", "receivefrom", "pending",
    "pendingfrom", "close", "state", "list", "address", "acked",
)  # fmt: skip
_OF_SOME: Final = ("cid_status", "connection_save", "connection_load", "peer_certificate")
_OPERATIONS: Final[dict[tuple[str, str], str]] = {
    **{(family, op): f"{family}_{op}" for family in FAMILIES for op in _OF_EACH},
    **{(family, op): op for family in SECURE for op in _OF_SOME},
}
_LATE: Final = 300.0  # s; the result of an open that nobody waits for may come so late (150 s and a handshake's time)
_BURIALS: Final = 3  # attempts at closing what nobody wants any more
_TRIES: Final = 3  # a question in whose answer something makes no sense is asked so often


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A socket that is wanted: everything about it but when and over which bearer it is made.

    ``how``: ``open`` connects to ``host`` and ``port``; ``listen`` waits for connections at ``local_port``; ``bind``
    makes a socket without a peer. A secure one has either ``lease``, the TLS context that it is made with (the socket
    takes a share of its own), or ``settings``, where the modem has no contexts. ``local_port`` None: the modem's
    choice, and so ``address_family``.

    Where ``settings`` say that sessions are resumed: ``session`` is what the modem told of one before
    (:attr:`Slot.session`), to be given back; without it, and with ``purge``, no earlier session may be used.
    """

    family: Family
    host: str = ""
    port: int = 0
    how: Literal["open", "listen", "bind"] = "open"
    receive: Receive = "pull"
    lease: ContextLease | None = None
    settings: TlsSettings | None = None
    local_port: int | None = None
    address_family: Literal["ipv4", "ipv6"] | None = None
    session: Mapping[str, object] = field(default_factory=dict, repr=False)
    purge: bool = False

    @property
    def wanted(self) -> TlsSettings | None:
        """What a secure connection has to be like."""
        return self.settings if self.lease is None else self.lease.settings

    def bindings(self) -> dict[str, object]:
        """Give the placeholders that a profile's program can use, but for those of the attempt."""
        given: dict[str, object] = {"receive": self.receive}
        if self.how == "open":
            given |= {"host": self.host, "port": self.port}
        if self.local_port is not None:
            given["local_port"] = self.local_port
        if self.address_family is not None:
            given["family"] = self.address_family
        if self.lease is not None:
            given["context"] = self.lease.number
        elif self.settings is not None:
            given |= {**self.settings.bindings(), "purge": self.purge}
        return given

    def confirmed(self, settings: TlsSettings) -> dict[str, object]:
        """Give what a profile's ``confirm`` compares with what the modem has done, but for those of the attempt."""
        context = {} if self.lease is None else {"context": self.lease.number}
        return {
            **context,
            # Other kinds of address can be written in several ways, and the modem's is not known.
            "address": self.host if _is_ipv4(self.host) else None,
            "port": self.port,
            "receive": self.receive,
            "version": settings.version,
            "verify": settings.verify,
            "client_auth": settings.client_auth,
            "suites": settings.suites,
        }


def _is_ipv4(host: str) -> bool:
    """Whether ``host`` is a dotted quad: of those, only one form is valid (:mod:`ipaddress`)."""
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True


class Sockets:
    """The open sockets of one modem. ``defer`` runs work in the channel's background thread.

    ``modem_ids``: the modem chooses the numbers. ``frees_failed``, ``frees_closed``: it frees them by itself when a
    connection is not made, and when the far side ends it. ``saved``: how many connections it can put aside.
    ``host_keeps``: sessions are kept by the host.
    """

    def __init__(
        self,
        host: Host,
        table: SlotTable,
        *,
        take_over: bool,
        frees_failed: bool,
        defer: Callable[[Callable[[], None]], None],
        changed: Callable[[], None],
        one_at_a_time: bool = False,
        frees_closed: bool = False,
        modem_ids: bool = False,
        saved: int = 0,
        host_keeps: Callable[[], bool] = lambda: False,
    ) -> None:
        self._connecting = Turn("connecting") if one_at_a_time else None
        self._host = host
        self._table = table
        table.unwanted = self._unwanted
        self._take_over = take_over
        self._frees_failed = frees_failed
        self._frees_closed = frees_closed
        self._modem_ids = modem_ids
        self._saved = saved
        self._host_keeps = host_keeps
        self._defer = defer
        self._changed = changed
        self._burying: set[Slot] = set()  # what is being closed in the background
        self._frees = itertools.count(1)
        self.freed = 0
        """Another number whenever a socket has been freed; whoever waits on the channel is told."""

    @property
    def busy(self) -> bool:
        """Whether something is still being closed in the background."""
        return bool(self._burying)

    @property
    def leaving(self) -> bool:
        """Whether a socket is being closed, or waits for that."""
        return any(slot.state == "closing" for slot in self._table.slots())

    def names_in_use(self) -> frozenset[str]:
        """Name the credentials that connections without a TLS context were made with."""
        return frozenset(
            name for slot in self._table.slots() if slot.settings is not None for name in slot.settings.names
        )

    def open(self, wanted: Opening, *, epoch: int, pdp: int, deadline: float | None) -> Slot:
        """Open one socket in ``epoch``, on a bearer that is up; other programs' numbers are passed over.

        Where the modem makes only one connection at a time, others wait for their turn. What the modem did is compared
        with what it was told, where it tells; a connection that is another one is closed, and made once more. Raises
        what the modem answers as :class:`CommandError` (``mismatch`` if it was another connection each time), with the
        number free again; :class:`ModemRestartedError` when the modem restarted, or seems to have: a connection that
        may have been made with settings that a restart has wiped is closed.
        """
        with contextlib.nullcontext() if self._connecting is None else self._connecting.take(self._host.now, deadline):
            again = True
            for left in reversed(range(len(self._table.numbers(wanted.family)) + 1)):
                slot = self._table.reserve(wanted.family, epoch=epoch, pdp=pdp, receive=wanted.receive)
                made = False
                try:
                    self._connect(slot, wanted, deadline)
                    made = True
                    self._judge(slot, wanted, deadline)
                except CommandError as error:
                    if made:
                        self.close(slot, deadline=deadline)
                    else:
                        self._refused(slot, error, deadline)
                    if not left or not (error.kind == "socket_in_use" or (again and error.kind == "mismatch")):
                        raise
                    again = again and error.kind != "mismatch"
                except BaseException:
                    self.abandon(slot)
                    raise
                else:
                    return slot
        raise AssertionError

    def _connect(self, slot: Slot, wanted: Opening, deadline: float | None) -> None:
        """Have the modem connect with a reserved number, in the epoch that it was reserved in."""
        if wanted.lease is not None:
            slot.lease = wanted.lease.share()
        slot.settings = wanted.wanted
        self._prepare_session(wanted, deadline)
        bindings = {**wanted.bindings(), "pdp": slot.pdp, "socket": slot.number}
        result = self._make(_OPERATIONS[slot.family, wanted.how], slot, bindings, deadline)
        self._still(slot)
        slot.resumed = result.values.get("resumed") is True or (
            bool(wanted.session) and wanted.session.items() <= slot.session.items()
        )

    def _make(self, op: str, slot: Slot, bindings: Mapping[str, object], deadline: float | None) -> Result:
        """Run what makes the socket of a slot; the number that the modem chose is the slot's at once."""
        if not self._modem_ids:
            return self._host.run(op, bindings, deadline=deadline)
        return self._host.run(
            op,
            bindings,
            deadline=deadline,
            on_socket=lambda number: self._numbered(slot, number),
            still=lambda: self._obstacle(slot) if slot.numbered else None,
        )

    def _numbered(self, slot: Slot, number: int) -> None:
        """Take the number that the modem chose (called in the reading thread); close what was given up meanwhile."""
        if slot.epoch == self._host.epoch and not self._table.rebind(slot, number):
            self.stray(slot.family, number, given=True)

    def _obstacle(self, slot: Slot) -> SocketClosedError | None:
        """Return why nothing may be sent about a slot's number: the modem has it no more, or for something else."""
        if slot.epoch == self._host.epoch and self._table.holds(slot):
            return None
        return SocketClosedError("the modem has closed the connection, and may use its number again")

    def _closed_already(self, slot: Slot) -> SocketClosedError | None:
        freed = self._frees_closed and slot.closed is not None and not slot.held
        return SocketClosedError("the far side has closed the connection") if freed else self._obstacle(slot)

    def _prepare_session(self, wanted: Opening, deadline: float | None) -> None:
        """Have the modem use the session that is wanted, or none."""
        if wanted.lease is None or not wanted.lease.settings.resume:
            return
        context = {"context": wanted.lease.number}
        clean = wanted.lease.begin()
        if wanted.session:
            self._host.run("session_restore", {**context, **wanted.session}, deadline=deadline)
        elif not clean if self._host_keeps() else wanted.purge:  # of the host's, one before may be in the context
            self._host.run("session_purge", context, deadline=deadline)

    def _judge(self, slot: Slot, wanted: Opening, deadline: float | None) -> None:
        """Make sure that the connection is the one that was wanted, made with the settings that were."""
        misheard = None
        if wanted.how == "open" and slot.settings is not None:
            misheard = self._compare(slot, wanted, slot.settings, deadline)
        if slot.lease is not None:
            self._confirm(slot, slot.lease, deadline)
        if misheard is not None:
            raise misheard
        slot.listening = wanted.how == "listen"
        slot.state = "open"

    def _refused(self, slot: Slot, error: CommandError, deadline: float | None) -> None:
        """See to the number of a connection that the modem did not make."""
        if not slot.numbered:
            self._free(slot)  # there is none
        elif error.kind == "socket_in_use" and (not self._take_over or self._table.elsewhere(slot)):
            foreign = self._table.give_to_others(slot)
            who = "another program" if foreign else "another connection of this one"
            logger.warning("%s socket %d is used by %s; trying another", slot.family, slot.number, who)
        elif self._frees_failed and error.kind != "socket_in_use":
            self._free(slot)
        else:
            self.close(slot, deadline=deadline)

    def _still(self, slot: Slot) -> None:
        if self._host.epoch != slot.epoch:
            self.stray(slot.family, slot.number)  # it was opened by the modem that came up, with what settings ever
            raise ModemRestartedError("the modem restarted while the connection was being opened")
        slot.check()

    def accept(self, slot: Slot, *, deadline: float | None = None) -> Slot | None:
        """Give a connection that came to a socket that listens, None if none has; asks the modem where it has to.

        :attr:`Slot.acceptable` tells when to ask again.
        """
        op = _OPERATIONS[slot.family, "accept"]
        if not slot.waiting and self._host.has(op):
            mark = slot.mark()
            came: list[Slot | None] = []
            # A notice of data may have come before the number was known.
            pending = slot.receive == "pull"
            result = self.run(
                slot,
                "accept",
                {},
                deadline=deadline,
                on_socket=lambda number: came.append(self._table.adopt(slot, number, pending=pending)),
            )
            host, port = result.values.get("host"), result.values.get("port")
            for one in came:
                if one is not None and isinstance(host, str) and isinstance(port, int):
                    one.remote = (host, port)
            if not slot.waiting and result.outcome is Outcome.EMPTY:
                slot.drained(mark)
        with contextlib.suppress(IndexError):
            return slot.waiting.popleft()
        return None

    def park(self, slot: Slot, *, deadline: float | None = None) -> bool:
        """Have the modem put a DTLS connection aside; False if it cannot, or has put as many aside as it can."""
        parked = [one for one in self._table.slots() if one.state == "parked"]
        if len(parked) >= self._saved:
            return False
        try:
            self.run(slot, "connection_save", {}, deadline=deadline)
        except CommandError as error:
            logger.info("%s socket %d: not put aside (%s)", slot.family, slot.number, error)
            return False
        slot.state = "parked"
        return True

    def unpark(self, slot: Slot, *, deadline: float | None = None) -> None:
        """Take a connection up that was put aside.

        Raises :class:`CommandError` if the modem has it no more, and why the socket is lost; it is for the caller to
        close it then.
        """
        slot.check()
        if slot.state != "parked" or slot.epoch != self._host.epoch:
            raise SocketClosedError("the connection is closed")
        op = _OPERATIONS[slot.family, "connection_load"]
        self._host.run(op, {"socket": slot.number}, deadline=deadline, still=lambda: self._obstacle(slot))
        slot.state = "open"
        if slot.receive == "pull":
            slot.note_data(None)

    def _compare(
        self, slot: Slot, wanted: Opening, settings: TlsSettings, deadline: float | None
    ) -> CommandError | None:
        """Ask what the modem has done, and give the error if that is not what it was told; None if it never tells.

        A difference makes everything doubtful, and so does a socket that it does not know: only the whole of the
        settings tells a restart from a command that was misheard.
        """
        op = _OPERATIONS[slot.family, "confirm"]
        if not self._host.has(op):
            return None
        bindings = {**wanted.confirmed(settings), "pdp": slot.pdp, "socket": slot.number}
        for left in reversed(range(_TRIES)):
            doubts = self._host.doubts
            try:
                self._host.run(op, bindings, deadline=deadline)
            except CommandError as error:
                if left and self._host.doubts != doubts:
                    continue  # its answer was garbled, perhaps
                where = f"{slot.family} socket {slot.number}"
                reason = f"{where} is another connection than the modem was told to make"
                why = f"a byte of the command was lost or changed on the line ({error.message})"
                if error.kind != "mismatch":
                    reason, why = f"{where}: the modem does not tell what it has connected to", error.message
                logger.warning("%s (%s); closing it", reason, error)
                self._host.raise_doubt(reason)
                error.message = f"{reason}: {why}"
                return error
            break
        return None

    def _confirm(self, slot: Slot, lease: ContextLease, deadline: float | None) -> None:
        """Make sure that the settings which the connection was made with are those that were asked for."""
        try:
            lease.check(deadline=deadline)
        except CommandError as error:
            reason = f"a connection was made while TLS context {lease.number} was not as it was written ({error})"
            logger.warning("%s socket %d: %s; closing it", slot.family, slot.number, reason)
            closed = False
            with contextlib.suppress(CommandError, ModemTimeoutError):
                self._have_closed(slot, deadline)
                closed = True
            self._host.end_epoch(reason)
            if not closed:
                self.stray(slot.family, slot.number)
            raise ModemRestartedError(f"the modem restarted unnoticed: {reason}") from error

    def run(
        self,
        slot: Slot,
        op: str,
        bindings: Mapping[str, object],
        *,
        deadline: float | None = None,
        on_orphan: Callable[[Reply | BaseException], None] | None = None,
        on_socket: Callable[[int], None] | None = None,
    ) -> Result:
        """Run an operation of a socket (``socket`` is filled in) if it is usable.

        ``op`` is without family: ``send`` runs ``tls_send`` or ``tcp_send``. ``on_orphan`` is given what comes of it
        after the caller was interrupted or out of time, in the background thread; never if nothing had been sent.
        Raises why the socket is lost, :class:`ModemRestartedError`, or :class:`SocketClosedError`.
        """
        if slot.lost is not None:
            slot.check()
        if slot.epoch != self._host.epoch:
            raise ModemRestartedError("the modem restarted: the connection is gone")
        obstacle = slot.obstacle()
        if obstacle is not None:
            raise obstacle
        name = _OPERATIONS[slot.family, op]
        bindings = {"socket": slot.number, **bindings}
        return self._host.run(
            name, bindings, deadline=deadline, on_orphan=on_orphan, on_socket=on_socket, still=slot.obstacle
        )

    def foreign(self, family: Family, deadline: float | None) -> dict[int, int | None]:
        """Ask for sockets that are not the driver's, with their TLS context where the modem tells it."""
        if not self._host.has(_OPERATIONS[family, "list"]):
            return {}
        with step("sockets"):
            rows = self._host.run(_OPERATIONS[family, "list"], {}, deadline=deadline).rows
        self._table.set_foreign(family, (int(row["socket"]) for row in rows))
        foreign = self._table.foreign(family)
        return {int(row["socket"]): row.get("context") for row in rows if int(row["socket"]) in foreign}

    def contexts_of_others(self, deadline: float | None) -> dict[int, int | None]:
        """Ask for secure sockets that are not the driver's, with their TLS context where the modem tells it."""
        return {number: context for family in SECURE for number, context in self.foreign(family, deadline).items()}

    def in_use(self, deadline: float | None) -> str:
        """Say which sockets there are in the modem, the driver's or not; empty if none."""
        own = len(self._table.slots())
        if own:
            return f"{own} connection{'s' if own > 1 else ''} of this program"
        others = {(family, number) for family in FAMILIES for number in self.foreign(family, deadline)}
        return f"{len(others)} of another program" if others else ""

    def none_open(self, deadline: float | None) -> bool:
        """Whether the modem says that no socket is in use, whosesoever; False where it cannot tell of all of them.

        One of the driver's that is only just being made, or closed, loses nothing with its bearer.
        """
        families = [family for family in FAMILIES if self._host.has(_OPERATIONS[family, "open"])]
        lists = [family for family in families if self._host.has(_OPERATIONS[family, "list"])]
        if {self._table.pool(family) for family in families} - {self._table.pool(family) for family in lists}:
            return False
        passing = {
            (self._table.pool(slot.family), slot.number)
            for slot in self._table.slots()
            if slot.state in {"opening", "closing"}
        }
        with step("sockets"):
            return all(
                (self._table.pool(family), int(row["socket"])) in passing
                for family in lists
                for row in self._host.run(_OPERATIONS[family, "list"], {}, deadline=deadline).rows
            )

    def meet_others(self, deadline: float | None) -> None:
        """Find out which sockets are someone else's; close them if asked to take over."""
        for family in FAMILIES:
            others = sorted(self.foreign(family, deadline))
            if others and self._take_over:
                for number in others:
                    logger.warning("%s socket %d is not the driver's: closing it, as take_over says", family, number)
                    self._close_foreign(family, number, deadline)
                self._table.set_foreign(family, ())
            elif others:
                logger.info("%s sockets %s are not the driver's: left alone", family, others)

    def _close_foreign(self, family: Family, number: int, deadline: float | None) -> None:
        def obstacle() -> SocketClosedError | None:
            if number in self._table.foreign(family):
                return None
            return SocketClosedError("it is the driver's by now")

        with contextlib.suppress(SocketClosedError):
            self._host.run(_OPERATIONS[family, "close"], {"socket": number}, deadline=deadline, still=obstacle)

    def close(self, slot: Slot, *, deadline: float | None = None) -> None:
        """Close a socket in the modem and free its number; what fails is finished in the background. Idempotent."""
        if slot.state in {"closing", "gone"}:
            return
        before = slot.state
        try:
            self._table.leave(slot)
            try:
                for one in tuple(slot.waiting):  # nobody has taken them, and no more will come
                    self.close(one, deadline=deadline)
                self._close(slot, deadline)
            except (ModemTimeoutError, CommandError) as error:
                logger.info("%s socket %d: not closed yet (%s)", slot.family, slot.number, error)
                self.abandon(slot)
            except ModemError:
                self._free(slot)  # the modem, or the line to it, has gone, and the socket with it
            except BaseException:
                self.abandon(slot)
                raise
        except BaseException:
            if slot.state == "closing" and slot not in self._burying:
                slot.state = before  # interrupted before anything was settled: closing it again may do it
            raise

    def close_all(self, why: ModemError, deadline: float) -> None:
        """Close every socket; whoever waits for one is told ``why`` before the modem is."""
        slots = self._table.slots()
        for slot in slots:
            slot.note_lost(why)
            slot.tell()
        self._changed()
        for slot in slots:
            self.close(slot, deadline=deadline)

    def abandon(self, slot: Slot) -> None:
        """Close in the background what nobody waits for any more; its number stays taken until then."""
        if slot.state == "gone" or slot in self._burying:
            return
        self._table.leave(slot)
        try:
            self._burying.add(slot)
            self._defer(lambda: self._bury(slot))
        except ModemError:
            self._buried(slot)
        except BaseException:
            self._burying.discard(slot)
            raise

    def stray(self, family: Family, number: int, *, given: bool = False) -> None:
        """Close a connection that came up after its number had been given up; ``given``: just now by the modem."""
        slot = self._table.seize(family, number, given=given)
        if slot is not None:
            self._unwanted(slot)

    def _unwanted(self, slot: Slot) -> None:
        logger.info("%s socket %d: opened after its caller had gone, closing it", slot.family, slot.number)
        self.abandon(slot)

    def _close(self, slot: Slot, deadline: float | None, rest: float = 0.0) -> None:
        if slot.numbered or not self._table.forgo(slot):
            self._have_closed(slot, deadline)
        self._free(slot, rest)

    def _have_closed(self, slot: Slot, deadline: float | None) -> None:
        """Have the modem close a socket, unless it has already, and may use the number for something else."""
        if self._closed_already(slot) is None:
            op = _OPERATIONS[slot.family, "close"]
            with contextlib.suppress(SocketClosedError):
                self._host.run(op, {"socket": slot.number}, deadline=deadline, still=lambda: self._closed_already(slot))

    def _free(self, slot: Slot, rest: float = 0.0) -> None:
        self._table.free(slot, rest=rest)
        self.freed = next(self._frees)
        self._changed()

    def _bury(self, slot: Slot) -> None:
        try:
            for _ in range(_BURIALS):
                try:
                    self._close(slot, None, _LATE)
                except (CommandError, ModemTimeoutError) as error:
                    logger.info("%s socket %d: not closed (%s)", slot.family, slot.number, error)
                else:
                    break
        except ModemError as error:
            logger.debug("%s socket %d: %s", slot.family, slot.number, error)
        finally:
            self._buried(slot)

    def _buried(self, slot: Slot) -> None:
        self._table.free(slot, rest=_LATE)
        self._burying.discard(slot)
        self.freed = next(self._frees)
        self._changed()
