"""The caller's resumption buffer where sessions are a modem's: what it holds, what it is good for, and what it forbids.

A modem that keeps sessions itself is told to forget whenever the buffer does not say that there is one for this very
connection, and whenever it may have one that was made on other terms. What a modem gives to the host is in the buffer
itself. A connection that the modem has put aside is known
to this process alone: the buffer holds its ticket.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import threading
import weakref
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from modemtls.errors import ModemError
from modemtls.modem.interfaces import Turn
from modemtls.net.contract import resumption
from modemtls.net.contract.resumption import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from modemtls.modem.attached import AttachedModem
    from modemtls.modem.settings import Receive, TlsSettings
    from modemtls.modem.slots import Slot
    from modemtls.net.contract.resumption import Buffer

__all__ = ["Resuming", "bound_to", "filed_under"]

logger = logging.getLogger(__name__)

_BOUND: Final = 16  # bytes
_TICKET: Final = 16
_TOLD: Final = frozenset({"send", "both"})  # whose records bear the Connection ID that the peer has chosen

#: What may have been the session's fault. Where the modem does not tell, the next connection is made without it.
_ITS_FAULT: Final = frozenset({"handshake_failed", "certificate"})
_PERHAPS_ITS_FAULT: Final = frozenset({"connect_or_handshake", "unknown"})


def bound_to(host: str, port: int, settings: TlsSettings, records: bytes) -> bytes:
    """Return what binds a session to whom it was made with, and on which terms: nothing is verified when it is resumed.

    ``records``: a digest of the TLSA records that decided.
    """
    terms = replace(settings, handshake_timeout=0, dtls_timers=None)
    text = repr((host, port, records, sorted(terms.bindings().items(), key=lambda one: one[0])))
    return hashlib.sha256(text.encode()).digest()[:_BOUND]


def filed_under(settings: TlsSettings) -> tuple[str | None, ...]:
    """Return what tells sessions apart in a modem that keeps them, as far as that is certain: the bundle's number.

    Which of the bundle a connection uses makes no difference to it. By what it knows its hosts besides (the name that
    is sent, the one that is looked up, the address) is not certain, nor is anything of a modem without bundles.
    """
    return (settings.bundle,)


@dataclass(slots=True, eq=False)
class _Parked:
    slot: Slot
    bound: bytes
    buffer: Buffer = field(repr=False)


class _Lot:
    """What this process knows of the sessions of one modem.

    ``parked``: the connections that it has put aside, by their tickets. ``filed``: on which terms the sessions were
    made that the modem itself may have, by what it files them under; None: nobody knows, others may have made some.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.parked: dict[bytes, _Parked] = {}
        self.word = ""
        self.turn = Turn("sessions")  # between purge and handshake nobody makes another one
        self.filed: dict[tuple[str | None, ...], bytes] | None = None

    def take(self, ticket: bytes, bound: bytes, receive: Receive) -> Slot | None:
        """Take one out, if it is for this connection."""
        with self.lock:
            one = self.parked.get(ticket)
            if one is None or one.bound != bound or one.slot.receive != receive:
                return None
            del self.parked[ticket]
            return one.slot

    def stale(self, word: str, most: int | None = None) -> list[Slot]:
        """Take out those whose buffers do not speak of them any more, and the oldest of more than ``most``."""
        with self.lock:
            for ticket in [ticket for ticket, one in self.parked.items() if one.slot.state != "parked"]:
                del self.parked[ticket]  # lost with a restart
            found = []
            for ticket, one in list(self.parked.items()):
                kept = resumption.read(one.buffer, word)
                if kept is None or kept.kind is not Kind.CONNECTION or kept.payload != one.bound + ticket:
                    found.append(self.parked.pop(ticket).slot)
            while most is not None and len(self.parked) > most:
                found.append(self.parked.pop(next(iter(self.parked))).slot)
            return found


_lots: weakref.WeakKeyDictionary[AttachedModem, _Lot] = weakref.WeakKeyDictionary()
_lots_lock = threading.Lock()


def _lot_of(modem: AttachedModem) -> _Lot:
    with _lots_lock:
        return _lots.setdefault(modem, _Lot())


class Resuming:
    """What the connections of one socket make of the caller's buffer, one after the other.

    ``buffer`` None: nothing, and no session is kept anywhere. ``saves``: the modem can put connections aside.
    """

    def __init__(self, modem: AttachedModem, buffer: Buffer | None, *, saves: bool) -> None:
        self._modem = modem
        self._buffer = buffer
        self._saves = saves
        self._host_keeps = modem.capabilities.get("session_store") == "host"
        self._lot = _lot_of(modem)
        self._word = ""
        self._bound = b""
        self._written = False  # by this connection
        self._seen: object = None
        self._offered = False
        self._suspect = False
        self._resumes = False
        self._place: tuple[str | None, ...] = ()
        self._purges = False

    def wanted(self, *, known: bool) -> bool:
        """Whether the session of a connection is to be kept and used.

        ``known``: the modem makes sure who is at the other end, by a pre-shared key, or by a certificate and its name.
        Where it keeps sessions itself, one with nobody known would lie among those of peers that are, and be taken up
        by who relies on that, in another process perhaps.
        """
        return self._buffer is not None and (known or self._host_keeps)

    def turn(self, *, resume: bool, deadline: float | None) -> AbstractContextManager[None]:
        """Hold this from :meth:`begin` to :meth:`opened`: what the modem keeps meanwhile is nobody else's."""
        if self._host_keeps or not resume:
            return contextlib.nullcontext()
        return self._lot.turn.take(self._modem.now, deadline)

    def begin(
        self, bound: bytes, place: tuple[str | None, ...] = (), *, resume: bool, deadline: float | None
    ) -> tuple[dict[str, Any], bool]:
        """Begin another connection: give the session to offer, and whether the modem has to forget what it keeps.

        ``place``: :func:`filed_under`. ``resume``: what :meth:`wanted` said.
        """
        self._place, self._purges = place, False
        self._bound, self._written, self._seen, self._offered = bound, False, None, False
        self._resumes = resume
        if self._buffer is None or not resume:
            return {}, False
        kept = resumption.read(self._buffer, self._engine(deadline))
        if kept is None or kept.kind is not Kind.SESSION or not kept.payload.startswith(bound) or self._suspect:
            return {}, self._purge(due=True)
        fields = self._fields(kept.payload[_BOUND:])
        self._offered = bool(fields) if self._host_keeps else not self._purge(due=False)
        return fields, not self._offered

    def _purge(self, *, due: bool) -> bool:
        """Whether the modem has to forget: if it is ``due``, or if it may have a session that was made on other terms.

        It files sessions by host and credentials, and verifies nothing when it takes one up.
        """
        if self._host_keeps:
            return due
        filed = self._lot.filed
        self._purges = due or filed is None or filed.get(self._place, self._bound) != self._bound
        if self._purges or filed is None:
            self._lot.filed = None  # until it has certainly forgotten
        else:
            filed[self._place] = self._bound  # whatever comes of this connection
        return self._purges

    def opened(self) -> None:
        """Note that the modem has made the connection, and has forgotten before what it was told to forget."""
        if self._purges:
            self._lot.filed = {self._place: self._bound}

    def _engine(self, deadline: float | None) -> str:
        """Return the word for who can use what is kept: this very modem, with the same profile."""
        if not self._word:
            # Where the modem does not tell who it is, only this attachment of it is certainly the same.
            own = self._modem.info(deadline=deadline).get("imei") or self._own_word()
            name = hashlib.sha256(own.encode()).hexdigest()[:16]
            self._word = f"modem:{self._modem.profile.name[:100]}#{name}".encode("ascii", "replace").decode()
        return self._word

    def _own_word(self) -> str:
        with self._lot.lock:
            self._lot.word = self._lot.word or os.urandom(16).hex()
            return self._lot.word

    def _fields(self, payload: bytes) -> dict[str, Any]:
        """Return what the modem told of a session; nothing if that is not what it takes back."""
        if not self._host_keeps:
            return {}
        program = self._modem.profile.programs.get("session_restore")
        try:
            found = json.loads(payload)
        except ValueError:
            return {}
        known = isinstance(found, dict) and program is not None and found.keys() <= program.inputs.keys()
        return found if known else {}

    # -- a connection that was put aside ------------------------------------------------------------------------

    def parked(self, bound: bytes, receive: Receive, deadline: float | None) -> Slot | None:
        """Take up the connection that the buffer speaks of, if this process has put it aside and it is good still.

        Those that no buffer speaks of any more are closed.
        """
        if self._buffer is None or not self._saves:
            return None
        word = self._engine(deadline)
        self.sweep(deadline)
        kept = resumption.read(self._buffer, word)
        if kept is None or kept.kind is not Kind.CONNECTION or kept.payload[:_BOUND] != bound:
            return None
        slot = self._lot.take(kept.payload[_BOUND:], bound, receive)
        resumption.write(self._buffer, word, Kind.TAKEN, b"")  # whatever comes of it, it is not taken up twice
        if slot is None:
            return None
        try:
            self._modem.sockets.unpark(slot, deadline=deadline)
        except ModemError as error:
            logger.info("a connection that was put aside cannot be taken up: %s", error)
            self._close([slot], deadline)
            return None
        except BaseException:
            self._modem.sockets.abandon(slot)
            raise
        self._bound, self._written, self._offered = bound, True, False
        return slot

    def park(self, slot: Slot, deadline: float | None) -> bool:
        """Have the modem put a connection aside; False if it cannot, or if the caller wants none. Never raises."""
        if self._buffer is None or not self._saves or not self._bound:
            return False
        most = self._modem.limits.get("saved_connections")
        if slot.state != "open" or slot.lost is not None or slot.closed is not None or self._cleared():
            return False
        try:
            if self._modem.sockets.run(slot, "cid_status", {}, deadline=deadline).values.get("cid") not in _TOLD:
                return False
            word = self._engine(deadline)
            self._close(self._lot.stale(word, most - 1 if isinstance(most, int) else None), deadline)
            ticket = os.urandom(_TICKET)
            before = bytes(self._buffer)
            if not resumption.write(self._buffer, word, Kind.CONNECTION, self._bound + ticket):
                return False
            if not self._modem.sockets.park(slot, deadline=deadline):
                self._buffer[:] = before
                return False
        except ModemError as error:
            logger.info("a connection is not put aside: %s", error)
            return False
        except BaseException:
            self._modem.sockets.abandon(slot)
            raise
        with self._lot.lock:
            self._lot.parked[ticket] = _Parked(slot, self._bound, self._buffer)
        return True

    def sweep(self, deadline: float | None) -> None:
        """Close what no buffer speaks of any more, whichever socket of this process has put it aside."""
        if self._lot.parked:
            self._close(self._lot.stale(self._engine(deadline)), deadline)

    def _close(self, slots: list[Slot], deadline: float | None) -> None:
        for slot in slots:
            self._modem.sockets.close(slot, deadline=deadline)

    # -- what becomes of a session ------------------------------------------------------------------------------

    def made(self, slot: Slot, deadline: float | None = None) -> None:
        """Note a connection that has been made: what is to be known of its session is in the buffer now."""
        self._suspect = False
        if self._buffer is None:
            return
        if not self._resumes:
            resumption.clear(self._buffer)
        elif self._host_keeps:
            if slot.session:
                self.note(slot)
            else:
                resumption.clear(self._buffer)  # what was in there did not serve
        else:
            self._written = resumption.write(self._buffer, self._word, Kind.SESSION, self._bound)
        self.sweep(deadline)

    def note(self, slot: Slot) -> None:
        """Put what the modem has told of its session meanwhile into the buffer; not after the caller has zeroed it."""
        session: Mapping[str, object] = slot.session
        if session is self._seen or self._buffer is None or not self._host_keeps or not session or self._cleared():
            return
        if not self._bound or not self._resumes:
            return
        self._seen = session
        told = json.dumps(dict(session), sort_keys=True).encode()
        self._written = resumption.write(self._buffer, self._word, Kind.SESSION, self._bound + told)

    def failed(self, kind: str) -> None:
        """Note that a connection was not made; ``kind``: the modem's reason, in the language's words."""
        if self._buffer is None:
            return
        if self._offered and kind in _ITS_FAULT:
            resumption.clear(self._buffer)
        # Not known whether it was the session: the next one is made without it, and if that fails too it was not.
        self._suspect = self._offered and kind in _PERHAPS_ITS_FAULT

    def refused(self) -> None:
        """Note that the peer was refused after the handshake: nothing of it is kept."""
        if self._buffer is not None:
            resumption.clear(self._buffer)

    def _cleared(self) -> bool:
        """Whether the caller has zeroed what this connection wrote: the next handshake is to be a full one."""
        return self._written and self._buffer is not None and resumption.is_clear(self._buffer)
