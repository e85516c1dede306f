"""One secured connection: an engine over a plain socket, for a thread that sends and one that receives.

The engine is used by one thread at a time, and never while anybody waits for the network: a receive that is blocked
stops no send. What the engine wants sent goes into one queue in the order in which it made it, and leaves it in that
order, by whoever has the sending turn.

An interrupt may strike anywhere. One that strikes after the transport gave its bytes and before the engine has them
leaves a gap, which the protocol itself notices as an error of the next record.
"""

from __future__ import annotations

import copy
import errno
import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from modemtls import tlsengine
from modemtls.errors import ConfigurationError, ModemError, ModemTimeoutError, SocketClosedError, TruncatedError
from modemtls.host import failures
from modemtls.net.contract import DEFAULT_SEND_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.host.keeping import Keeper
    from modemtls.net.contract import Socket
    from modemtls.tlsengine import Engine

__all__ = ["Flow"]

logger = logging.getLogger(__name__)

_READ: Final = 65536  # bytes: more than any datagram or record
_PIECE: Final = 16384  # bytes of one record's payload (RFC 8446, section 5.1)
_RECORD: Final = 64  # bytes that a record adds at most, so that one piece is one piece for the transport as well
_FAREWELL: Final = 2.0  # seconds that close_notify may take


class Flow:
    """Payload out, payload in. ``sent`` and ``received`` count its bytes.

    ``stir`` is called after whatever changes what :attr:`ready` says.
    """

    def __init__(
        self, engine: Engine, lower: Socket, keeper: Keeper, where: str, *, datagram: bool, stir: Callable[[], None]
    ) -> None:
        self.engine = engine
        self.lower = lower
        self.sent = self.received = 0
        self.closing = False
        self.ended: bool | None = None  # at the end: whether the peer itself said so
        self._keeper = keeper
        self._where = where
        self._datagram = datagram
        self._stir = stir
        self._engine_lock = threading.RLock()  # the engine, and all that comes out of it
        # Taken and given back as Link does it: an interrupt may strike as soon as one is taken.
        self._sending = threading.RLock()
        self._receiving = threading.RLock()
        self._outgoing: deque[bytes] = deque()
        self._stream = bytearray()
        self._records: deque[bytes] = deque()
        self._broken: ModemError | None = None
        self._unsendable: ModemError | None = None
        self._cut: TruncatedError | None = None  # what came without its end, and nobody was told of it

    # -- the handshake ------------------------------------------------------------------------------------------

    def handshake(self, deadline: float | None, wait: float | None) -> None:
        """Shake hands; ``wait``: seconds that each wait for the peer may last, where the engine has no timers."""
        unsent: ModemError | None = None
        while not self._step():
            try:
                self._flush(deadline)
            except ModemTimeoutError:
                raise
            except ModemError as error:
                unsent = error  # the peer may have said why it went
            due = None
            if self._datagram:
                with self._engine_lock:
                    due = self.engine.deadline()
            limits = [each for each in (_left(deadline), wait if due is None else due) if each is not None]
            try:
                data = self.lower.receive(_READ, timeout=min(limits, default=None))
            except ModemTimeoutError:
                if unsent is not None:
                    raise unsent from None
                self._overdue(deadline)
                continue
            except TruncatedError as error:
                data = self._beginning(error)
            if unsent is not None and not data:
                raise unsent
            with self._engine_lock:
                self.engine.feed(data)
        self._cut = None
        self._flush(deadline)

    def _step(self) -> bool:
        """Go on with the handshake; whether it is done. If it failed, the peer is told."""
        try:
            with self._engine_lock:
                try:
                    self.engine.handshake()
                except tlsengine.WantReadError:
                    return False
                finally:
                    self._outgoing.extend(self.engine.take())
        except tlsengine.TlsError as error:
            self._say_goodbye()
            raise failures.handshake_failure(error, self._where) from error
        return True

    def _overdue(self, deadline: float | None) -> None:
        """Send again what was not answered, or give up."""
        try:
            with self._engine_lock:
                try:
                    again = self._datagram and self.engine.on_timer()
                finally:
                    self._outgoing.extend(self.engine.take())
        except tlsengine.HandshakeTimeoutError as error:
            raise self._late(f"the handshake with {self._where} timed out", error.reason) from error
        except tlsengine.TlsError as error:
            raise failures.handshake_failure(error, self._where) from error
        left = _left(deadline)
        waiting = self._datagram and self.engine.deadline() is not None
        if (left is not None and left <= 0) or not (again or waiting):
            raise self._late(f"the handshake with {self._where} timed out")

    def _late(self, what: str, why: str = "") -> ModemError:
        """Return the error for what was waited for in vain: why is known if something came whose end was missing."""
        cut, self._cut = self._cut, None
        if cut is not None:
            return TruncatedError(f"{what}: {cut}", data=b"")
        return ModemTimeoutError(f"{what}: {why}" if why else what)

    def _beginning(self, error: TruncatedError) -> bytes:
        """Return what is of use of a datagram whose end may be missing. Records tell how long they are."""
        whole = tlsengine.whole_records(error.data)
        if len(whole) < len(error.data):
            self._cut = error
        return whole

    def _say_goodbye(self) -> None:
        try:
            self._flush(time.monotonic() + _FAREWELL)
        except ModemError as error:
            logger.debug("telling %s of a failed handshake: %s", self._where, error)

    def begin(self) -> None:
        """Take out of the engine what came together with the end of the handshake, once the peer is accepted."""
        with self._engine_lock:
            self._read_all()
        self._flush(None, wait=False)

    def refuse(self) -> None:
        """End a connection whose peer is not accepted after all."""
        with self._engine_lock:
            self.engine.close()
            self._outgoing.extend(self.engine.take())
        self._say_goodbye()

    # -- sending ------------------------------------------------------------------------------------------------

    def check_sendable(self) -> None:
        """Raise why nothing can be sent any more, if so."""
        if self._unsendable is not None:
            raise _again(self._unsendable)
        if self._broken is not None:
            raise _again(self._broken)
        if self.closing:
            raise SocketClosedError("the socket was closed while it was sending")
        self.lower.check_sendable()

    def payload_limit(self) -> int:
        """Return the largest payload of one datagram, by the engine."""
        with self._engine_lock:
            return self.engine.payload_limit()

    def send(self, data: memoryview, limit: int, deadline: float | None) -> None:
        """Send all of ``data``. ``limit``: the largest datagram's payload; ``EMSGSIZE`` beyond it."""
        if self._datagram and len(data) > limit:
            raise ModemError(f"{len(data)} bytes do not fit into one datagram; {limit} do", number=errno.EMSGSIZE)
        accepted = 0
        entered: bool | None = None
        try:
            entered = _enter(self._sending, deadline)
            while accepted < len(data):
                self.check_sendable()
                piece = bytes(data if self._datagram else data[accepted : accepted + _PIECE])
                self._encrypt(piece)
                self._drain(deadline)
                self.sent += len(piece)
                accepted += len(piece)
        except ModemError as error:
            error.bytes_accepted = accepted
            raise
        finally:
            if entered is not False:
                _give_back(self._sending)
        self._flush(None, wait=False)

    def offer(self, piece: bytes) -> int:
        """Hand over one piece without waiting for room; return how much was taken."""
        entered: bool | None = None
        try:
            entered = self._sending.acquire(blocking=False)
            if not entered:
                return 0
            self.check_sendable()
            if not self._push():
                return 0
            piece = piece[: self.send_limit]
            self._encrypt(piece)
            self._push()
            self.sent += len(piece)
            return len(piece)
        finally:
            if entered is not False:
                _give_back(self._sending)

    @property
    def send_limit(self) -> int:
        """The largest piece to offer, in bytes."""
        return max(1, min(_PIECE, self.lower.send_limit - _RECORD))

    def _encrypt(self, piece: bytes) -> None:
        try:
            with self._engine_lock:
                self.engine.write(piece)
                self._outgoing.extend(self.engine.take())
        except tlsengine.MessageSizeError as error:
            raise ModemError(str(error), number=errno.EMSGSIZE) from error
        except tlsengine.TlsError as error:
            self._unsendable = failures.connection_failure(error)
            raise self._unsendable from error

    def _drain(self, deadline: float | None) -> None:
        """Send what is queued. A part of a stream that may be missing ends all sending; a datagram may go missing."""
        while self._outgoing:
            piece = self._outgoing.popleft()
            try:
                self.lower.send(piece, timeout=_left(deadline))
            except BaseException as error:
                if not self._datagram:
                    why = str(error) or type(error).__name__
                    self._unsendable = SocketClosedError(f"an earlier send did not complete, so none can follow: {why}")
                raise

    def _push(self) -> bool:
        """Hand over what is queued as far as there is room; whether all of it went."""
        while self._outgoing:
            piece = self._outgoing.popleft()
            taken = 0
            try:
                taken = self.lower.offer(piece[: self.lower.send_limit])
            except BaseException as error:
                self._unsendable = SocketClosedError(f"an earlier send did not complete, so none can follow: {error}")
                raise
            if taken < len(piece):
                self._outgoing.appendleft(piece[taken:])
            if not taken:
                return False
        return True

    def _flush(self, deadline: float | None, *, wait: bool = True) -> None:
        """Send what the engine said by itself. Not waiting: whoever is sending sends it as well."""
        while self._outgoing:
            entered: bool | None = None
            try:
                if wait:
                    entered = _enter(self._sending, deadline)
                else:
                    entered = self._sending.acquire(blocking=False)
                    if not entered:
                        return
                    deadline = time.monotonic() + DEFAULT_SEND_TIMEOUT
                self._drain(deadline)
            except ModemError as error:
                if wait:
                    raise
                logger.debug("answering %s: %s", self._where, error)
                return
            finally:
                if entered is not False:
                    _give_back(self._sending)

    # -- receiving ----------------------------------------------------------------------------------------------

    def receive(self, size: int, wait: float | None, *, peek: bool) -> bytes:
        """Wait for data, the end or an error; ``wait`` of 0 or less polls the transport once."""
        poll = wait is not None and wait <= 0
        deadline = None if wait is None else time.monotonic() + wait
        while True:
            data = self.take(size, peek=peek)
            if data is not None:
                return data
            self._check_open()
            entered: bool | None = None
            try:
                entered = _enter(self._receiving, deadline)
                while not self.ready:
                    self._fetch(0 if poll else _left(deadline))
                    if poll and self._datagram and not self.ready:
                        raise self._late("nothing was received in time")
            finally:
                if entered is not False:
                    _give_back(self._receiving)

    def _check_open(self) -> None:
        if self.closing:
            raise ModemError("the socket was closed while it was receiving", number=errno.EBADF)

    def _fetch(self, timeout: float | None) -> None:
        """Receive once from the transport, and decrypt."""
        try:
            data = self.lower.receive(_READ, timeout=timeout)
        except ModemTimeoutError:
            raise self._late("nothing was received in time") from None
        except TruncatedError as error:
            data = self._beginning(error)
        except ModemError:
            self._check_open()
            raise
        self._check_open()
        self._decrypt(data)
        self._flush(None, wait=False)

    def _decrypt(self, data: bytes) -> None:
        with self._engine_lock:
            self.engine.feed(data)
            self._read_all()

    def _read_all(self) -> None:
        """Take everything out of the engine that is in it: nothing is hidden there from whoever asks or waits."""
        try:
            while True:
                record = self.engine.read()
                if not record:
                    self.ended = True
                    break
                self.received += len(record)
                if self._datagram:
                    self._records.append(record)
                else:
                    self._stream += record
        except tlsengine.WantReadError:
            pass
        except tlsengine.StreamEndedError:
            self.ended = False
        except tlsengine.TlsError as error:
            self._broken = failures.connection_failure(error)
        finally:
            self._outgoing.extend(self.engine.take())
            if self._broken is None:
                self._keeper.store(self.engine)

    @property
    def buffered(self) -> int:
        """Bytes that are decrypted and not yet received."""
        return len(self._stream) + sum(map(len, self._records))

    @property
    def ready(self) -> bool:
        """Whether :meth:`take` gives something."""
        return bool(self._stream or self._records) or self.ended is not None or self._broken is not None

    def take(self, size: int, *, peek: bool = False) -> bytes | None:
        """Return data, or the end, or raise the error; None if there is nothing yet."""
        with self._engine_lock:
            if self._records:
                record = self._records[0] if peek else self._records.popleft()
                if len(record) > size:
                    raise TruncatedError(f"a datagram of {len(record)} bytes, and room for {size}", data=record[:size])
                return record
            if self._stream:
                data = bytes(self._stream[:size])
                if not peek:
                    del self._stream[:size]
                return data
            if self._broken is not None:
                raise _again(self._broken)
            return None if self.ended is None else b""

    def take_last(self, size: int, *, peek: bool) -> bytes:
        """Return what is left after both directions have ended: what is decrypted, what the transport still has."""
        data = self.take(size, peek=peek)
        while data is None:
            try:
                more = self.lower.take(_READ)
                if not more:
                    return b""
            except TruncatedError as error:
                more = self._beginning(error)
            except ModemError:
                return b""
            self._decrypt(more)
            data = self.take(size, peek=peek)
        return data

    @property
    def unread(self) -> bool:
        """Whether the transport has, or may have, something."""
        return self.ended is None and self._broken is None and (self.lower.ready or self.lower.unread)

    def read_ahead(self, window: int) -> bool:
        """Fetch one piece, if there may be one and there is room; never waits, nor for another thread."""
        if self.buffered >= window or not self.unread or self.closing:
            return False
        entered: bool | None = None
        try:
            entered = self._receiving.acquire(blocking=False)
            if not entered or self.ended is not None or self._broken is not None:
                return False
            worked = self.lower.read_ahead(window)
            while self.ended is None and self._broken is None:
                try:
                    data = self.lower.take(_READ)
                except TruncatedError as error:
                    self._decrypt(self._beginning(error))
                    worked = True
                    continue
                except ModemError as error:
                    self._broken = error
                    break
                if data is None:
                    break
                worked = True
                self._decrypt(data)
                if not data and self._datagram:
                    break
            self._flush(None, wait=False)
        finally:
            if entered is not False:
                _give_back(self._receiving)
        self._stir()
        return worked

    # -- ending -------------------------------------------------------------------------------------------------

    def close(self, deadline: float | None, *, notify: bool) -> None:
        """Keep the association if it can be kept, else say goodbye if ``notify``; the transport is the caller's."""
        self.closing = True
        with self._engine_lock:
            if self._broken is None and self.ended is None:
                self._keeper.park(self.engine)
        if not notify or self._unsendable is not None or self._broken is not None:
            return
        entered: bool | None = None
        try:
            entered = self._sending.acquire(blocking=False)
            if not entered:
                return
            with self._engine_lock:
                self.engine.close()
                self._outgoing.extend(self.engine.take())
            limit = time.monotonic() + _FAREWELL
            self._drain(limit if deadline is None else min(limit, deadline))
        except ModemError as error:
            logger.debug("saying goodbye to %s: %s", self._where, error)
        finally:
            if entered is not False:
                _give_back(self._sending)


def check_size(size: int) -> None:
    """Raise :class:`ConfigurationError` for what is no number of bytes to receive."""
    if size < 0:
        raise ConfigurationError(f"cannot receive {size} bytes")


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _enter(turn: threading.RLock, deadline: float | None) -> bool:
    """Take the turn; True. An interrupt may strike as soon as it is taken, before this returns."""
    if turn.acquire(blocking=False):
        return True
    left = _left(deadline)
    if not turn.acquire(timeout=-1.0 if left is None else min(left, threading.TIMEOUT_MAX)):
        raise ModemTimeoutError("another thread was still using the socket when the time ran out")
    return True


def _give_back(turn: threading.RLock) -> None:
    try:
        turn.release()
    except RuntimeError:
        pass  # interrupted before it was taken


def _again(error: ModemError) -> ModemError:
    """Return an error to raise once more, without the tracebacks of the times before."""
    fresh = copy.copy(error)
    fresh.__traceback__ = None
    return fresh
