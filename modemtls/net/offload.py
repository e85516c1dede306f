"""The contract fulfilled by a modem: its own TLS, or plain TCP through it."""

from __future__ import annotations

import errno
import logging
import threading
from typing import TYPE_CHECKING, Final, Literal, Protocol, cast

from modemtls.errors import CommandError, ConfigurationError, ModemError, ModemRestartedError, ModemTimeoutError
from modemtls.modem.sockets import Opening
from modemtls.net.abilities import manners_of
from modemtls.net.address import check_host, check_port
from modemtls.net.choose import is_address
from modemtls.net.contract import (
    DEFAULT_RECEIVE_TIMEOUT,
    DEFAULT_SEND_TIMEOUT,
    UNSET,
    AddressFamily,
    Option,
    Socket,
    State,
    Unset,
)
from modemtls.net.contract.interface import check_receive_timeout
from modemtls.net.failures import connect_failure
from modemtls.net.handle import Handle
from modemtls.net.link import Link
from modemtls.net.securing import Securing

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.modem.attached import AttachedModem
    from modemtls.modem.settings import Family, Receive
    from modemtls.modem.slots import Slot
    from modemtls.net.contract import SslConfiguration, TlsVersion

__all__ = ["Holder", "OffloadSocket", "ReceiveMode"]

logger = logging.getLogger(__name__)

#: ``buffered``: the modem keeps data until it is asked. ``push``: it prints data as soon as that arrives.
ReceiveMode = Literal["buffered", "push"]

_MODES: Final[dict[str, Receive]] = {"buffered": "pull", "push": "push"}

#: How often a connection is begun again when the modem restarts in the middle of it. No data has been sent by then.
_RESTARTS: Final = 2


class Holder(Protocol):
    """What refers to a modem, such as :class:`modemtls.Modem`. It is kept while a socket made with it lives."""

    @property
    def attached(self) -> AttachedModem:
        """The modem that it refers to."""
        ...


def _attached(modem: AttachedModem | Holder) -> AttachedModem:
    return cast("AttachedModem", getattr(modem, "attached", modem))


class OffloadSocket(Socket):
    """A stream socket whose other half is in a modem.

    ``encrypted`` tells TLS from plain TCP.
    """

    engine = "modem"

    def __init__(
        self,
        modem: AttachedModem | Holder,
        configuration: SslConfiguration | None,
        *,
        receive: ReceiveMode = "buffered",
    ) -> None:
        if receive not in _MODES:
            raise ConfigurationError(f'receive: "buffered" or "push", not {receive!r}')
        self.encrypted = configuration is not None
        self._given = modem  # a modem that nobody holds closes
        self._modem = attached = _attached(modem)
        self._receive_mode: Receive = _MODES[receive]
        self._manners = manners_of(attached, "tcp" if configuration is None else "tls", self._receive_mode)
        self._securing = None if configuration is None else Securing(attached, configuration, "tls")
        self._life = threading.RLock()
        self._state = State.CLOSED
        self._link: Link | None = None
        self._host = ""
        self._port = ""
        self._receive_timeout: float | None = DEFAULT_RECEIVE_TIMEOUT
        self._sent_before = 0
        self._received_before = 0
        self._callback: Callable[[], None] | None = None
        self._gone = False
        self._handle: Handle | None = None

    def __repr__(self) -> str:
        kind = "TLS" if self.encrypted else "TCP"
        where = f" {self._host}:{self._port}" if self._host else ""
        return f"<{kind} socket through {self._modem.name}{where}, {self._state.value}>"

    # -- life ---------------------------------------------------------------------------------------------------

    def connect(self, host: str, port: str, *, timeout: float | None = None) -> None:
        """Resolve, connect and finish the handshake; see :meth:`Socket.connect`."""
        number = check_port(port)
        limit = self._modem.limits.get("host")
        name = check_host(host, limit if isinstance(limit, int) else None)
        deadline = self._deadline(timeout)
        with self._life:
            if self._gone:
                raise ModemError("the socket was cleaned up", number=errno.EBADF)
            if self._state is not State.CLOSED:
                raise ModemError("the socket is connected already; close it first", number=errno.EISCONN)
            if self._link is not None:
                self.close(timeout=timeout)  # interrupted the last time
            slot = self._open(name, number, deadline)
            try:
                link = Link(self._modem, slot, self._manners, self._changed)
                self._host, self._port = str(host), str(port)
            except BaseException:  # interrupted: closed without waiting for it
                self._modem.sockets.close(slot, deadline=self._modem.now())
                raise
            self._link = link
            self._state = State.CONNECTED

    def _open(self, host: str, port: int, deadline: float | None) -> Slot:
        family: Family = "tcp" if self._securing is None else "tls"
        wanted = Opening(family=family, host=host, port=port, receive=self._receive_mode)
        for left in reversed(range(_RESTARTS + 1)):
            try:
                if self._securing is not None:
                    return self._securing.open(wanted, deadline)
                return self._open_plain(wanted, deadline)
            except ModemRestartedError:
                if not left:
                    raise
                logger.info("the modem restarted while connecting; beginning again")
        raise AssertionError("unreachable")

    def _open_plain(self, wanted: Opening, deadline: float | None) -> Slot:
        self._modem.ensure_up(deadline=deadline)
        try:
            return self._modem.open(wanted, deadline=deadline)
        except CommandError as error:
            raise connect_failure(error, wanted.host, wanted.port) from error

    def shutdown(self) -> None:
        """End both directions; see :meth:`Socket.shutdown`. There is no half-close in a modem."""
        with self._life:
            if self._state is not State.CONNECTED:
                raise ModemError("the socket is not connected", number=errno.EBADF)
            self._state = State.SHUTDOWN
            self._drop(None)
        self._changed()

    def close(self, *, timeout: float | None = None) -> None:
        """Drop the connection; see :meth:`Socket.close`."""
        with self._life:
            self._state = State.CLOSED
            self._host = self._port = ""
            link = self._link
            if link is not None:  # also if an interrupt struck the last time
                self._drop(self._deadline(timeout))
                sent, received = self._sent_before + link.sent, self._received_before + link.received
                self._link = None
                self._sent_before, self._received_before = sent, received
        self._changed()

    def _drop(self, deadline: float | None) -> None:
        assert self._link is not None
        try:
            self._link.close(deadline)
        except ModemError as error:
            logger.debug("closing %r: %s", self, error)  # the number is freed in the background

    def cleanup(self) -> None:
        """Close, for good."""
        self._gone = True
        self.close()
        if self._securing is not None:
            self._securing.forget()

    # -- data ---------------------------------------------------------------------------------------------------

    def send(self, data: bytes | bytearray | memoryview, *, timeout: float | Unset | None = UNSET) -> None:
        """Send all of ``data`` or raise; see :meth:`Socket.send`."""
        link = self._sendable()
        view = memoryview(data).cast("B")
        if view:
            link.send(view, self._deadline(DEFAULT_SEND_TIMEOUT if isinstance(timeout, Unset) else timeout))

    def receive(self, size: int, *, timeout: float | Unset | None = UNSET, peek: bool = False) -> bytes:
        """Return what is there, up to ``size`` bytes; see :meth:`Socket.receive`."""
        link = self._connected()
        if size <= 0:
            if size < 0:
                raise ConfigurationError(f"cannot receive {size} bytes")
            return b""
        if self._state is State.SHUTDOWN:
            return link.take(size, peek=peek) or b""
        wait = self._receive_timeout if isinstance(timeout, Unset) else timeout
        try:
            if wait is not None and wait <= 0:
                return link.receive(size, self._modem.now(), poll=True, peek=peek)
            data = link.receive(size, self._deadline(wait), peek=peek)
        except ModemTimeoutError:
            self._show()
            raise
        if not data and link.closing and self._state is State.CLOSED:
            raise ModemError("the socket was closed while it was receiving", number=errno.EBADF)
        return data

    def _deadline(self, timeout: float | None) -> float | None:
        return None if timeout is None else self._modem.now() + timeout

    # -- questions ----------------------------------------------------------------------------------------------

    def get_opt(self, option: Option) -> object:
        """Return an option; see :class:`Option`."""
        link = self._link
        match option:
            case Option.STATE:
                return self._state
            case Option.RECV_TIMEOUT:
                return self._receive_timeout
            case Option.BYTES_SENT:
                return self._sent_before + (link.sent if link else 0)
            case Option.BYTES_RECEIVED:
                return self._received_before + (link.received if link else 0)
            case Option.HAS_BUFFERED_DATA:
                return link is not None and (link.ready or self.unread)
            case Option.INNER_MTU:
                return 0
            case Option.ADDR_FAMILY:
                return self._address_family()
            case Option.SESSION_RESUMED if self._securing is not None:
                return self._securing.resumed
            case Option.CONNECTION_ID_RESUMED if self._securing is not None:
                return self._securing.connection_resumed
        raise ModemError(f"{option.name} cannot be read from this socket", number=errno.EINVAL)

    def _address_family(self) -> AddressFamily:
        """Return the family if the host was an address; which one the modem took for a name it does not tell."""
        if self._state is State.CLOSED or not is_address(self._host):
            return AddressFamily.UNSPEC
        return AddressFamily.IPV6 if ":" in self._host else AddressFamily.IPV4

    def set_opt(self, option: Option, value: object) -> None:
        """Set an option; only ``RECV_TIMEOUT`` can be."""
        if option is not Option.RECV_TIMEOUT:
            raise ModemError(f"{option.name} cannot be set", number=errno.EINVAL)
        self._receive_timeout = check_receive_timeout(value)

    @property
    def state(self) -> State:
        """The same as ``Option.STATE``."""
        return self._state

    @property
    def remote_hostname(self) -> str:
        """The host as given to connect."""
        if self._state is State.CLOSED:
            raise ModemError("the socket is closed", number=errno.EBADF)
        return self._host

    @property
    def remote_port(self) -> str:
        """The port as given to connect."""
        if self._state is State.CLOSED:
            raise ModemError("the socket is closed", number=errno.EBADF)
        return self._port

    @property
    def version(self) -> TlsVersion | None:
        """The protocol version, where the modem was set to exactly one; it does not tell otherwise."""
        if self._securing is None or self._state is not State.CONNECTED:
            return None
        return self._securing.version

    @property
    def end_authenticated(self) -> bool | None:
        """Whether the end of stream is the peer's own for certain; None before the end."""
        link = self._link
        return None if link is None else link.end_authenticated

    # -- for adapters -------------------------------------------------------------------------------------------

    def watch(self, callback: Callable[[], None] | None) -> None:
        """Call ``callback`` after every change; see :meth:`Socket.watch`."""
        self._callback = callback

    @property
    def system(self) -> Handle | None:
        """What becomes readable with something to receive; None when closed, and where the modem gives no notice."""
        if self._state is State.CLOSED or self._manners.poll is not None:
            return None
        if self._handle is None:
            self._handle = Handle(lambda: self.ready or self.unread)
        self._handle.update()
        return self._handle

    def _show(self) -> None:
        handle = self._handle
        if handle is not None:
            handle.update()

    def _changed(self) -> None:
        self._show()
        callback = self._callback
        if callback is not None:
            callback()

    @property
    def ready(self) -> bool:
        """Whether :meth:`take` gives something now."""
        link = self._link
        return link is None or self._state is State.SHUTDOWN or link.ready

    @property
    def unread(self) -> bool:
        """Whether the modem has, or may have, something that only asking it will tell."""
        link = self._link
        return link is not None and self._state is State.CONNECTED and link.unread

    def take(self, size: int, *, peek: bool = False) -> bytes | None:
        """Give data, the end or an error from memory, or None."""
        link = self._connected()
        data = link.take(size, peek=peek)
        return b"" if data is None and self._state is State.SHUTDOWN else data

    def check_sendable(self) -> None:
        """Raise why nothing can be sent any more, if that is known already."""
        self._sendable().check_sendable()

    def offer(self, piece: bytes) -> int:
        """Hand over one piece without waiting for room."""
        return self._sendable().offer(piece)

    def _connected(self) -> Link:
        link = self._link
        if link is None or self._state is State.CLOSED:
            raise ModemError("the socket is not connected", number=errno.EBADF)
        return link

    def _sendable(self) -> Link:
        link = self._connected()
        if self._state is State.SHUTDOWN:
            raise ModemError("the socket was shut down", number=errno.EPIPE)
        return link

    def read_ahead(self, window: int) -> bool:
        """Fetch one piece, if there may be one and there is room."""
        link = self._link
        return link is not None and self._state is State.CONNECTED and link.read_ahead(window)

    @property
    def poll_period(self) -> float | None:
        """Seconds between questions where the modem gives no notice of data; None where it does."""
        return self._manners.poll

    def poll_again(self) -> None:
        """Make the next :meth:`read_ahead` ask the modem whether it said anything or not."""
        link = self._link
        if link is not None:
            link.poll_again()

    @property
    def send_limit(self) -> int:
        """The largest piece that the modem takes at once."""
        return self._manners.send
