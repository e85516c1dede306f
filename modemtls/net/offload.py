"""The contract fulfilled by a modem: what its sockets have in common, streams and datagrams, plain and secure."""

from __future__ import annotations

import errno
import logging
import threading
from abc import abstractmethod
from typing import TYPE_CHECKING, Final, Literal, Protocol, cast

from modemtls.errors import (
    CommandError,
    ConfigurationError,
    ConnectError,
    ConnectOrHandshakeError,
    HandshakeError,
    ModemError,
    ModemRestartedError,
    ModemTimeoutError,
    NameResolutionError,
    NetworkError,
)
from modemtls.modem.sockets import Opening
from modemtls.net.address import check_host, check_port
from modemtls.net.choose import is_address
from modemtls.net.contract import (
    DEFAULT_RECEIVE_TIMEOUT,
    AddressFamily,
    Option,
    Socket,
    SocketConfiguration,
    State,
    Unset,
)
from modemtls.net.contract.interface import check_receive_timeout
from modemtls.net.failures import connect_failure
from modemtls.net.handle import Handle
from modemtls.net.manners import manners_of
from modemtls.net.securing import Securing
from modemtls.net.transport import Transport, literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modemtls.modem.attached import AttachedModem
    from modemtls.modem.settings import Family, Receive
    from modemtls.modem.slots import Slot
    from modemtls.net.contract import SslConfiguration, TlsVersion
    from modemtls.net.link import Link

__all__ = ["Holder", "OffloadSocket", "ReceiveMode"]

logger = logging.getLogger(__name__)

#: ``buffered``: the modem keeps data until it is asked. ``push``: it prints data as soon as that arrives.
ReceiveMode = Literal["buffered", "push"]

_MODES: Final[dict[str, Receive]] = {"buffered": "pull", "push": "push"}

#: How often a connection is begun again when the modem restarts in the middle of it. No data has been sent by then.
_RESTARTS: Final = 2

#: Seconds that the modem may take to tell addresses that are asked for only so that they outlive a shutdown.
_LAST_QUESTION: Final = 5.0

_OF_THE_TRANSPORT: Final[tuple[type[BaseException], ...]] = (NameResolutionError, ConnectError, NetworkError)

OPEN: Final = (State.CONNECTED, State.ACCEPTED)


def of_the_transport(error: BaseException) -> bool:
    """Whether it was the transport that failed to connect, whatever it was to carry."""
    return isinstance(error, _OF_THE_TRANSPORT) and not isinstance(error, HandshakeError)


class Holder(Protocol):
    """What refers to a modem, such as :class:`modemtls.Modem`. It is kept while a socket made with it lives."""

    @property
    def attached(self) -> AttachedModem:
        """The modem that it refers to."""
        ...


def attached_of(modem: AttachedModem | Holder) -> AttachedModem:
    """Return the modem itself."""
    return cast("AttachedModem", getattr(modem, "attached", modem))


class OffloadSocket(Socket):
    """A socket whose other half is in a modem.

    ``configuration``: how it is secured, None if it is not; ``transport``: what concerns the network below it, which
    for a secure socket its configuration says. ``receive``: see :data:`ReceiveMode`.

    Raises :class:`NotSupportedError` for what the modem cannot do, and as :class:`Securing` does.
    """

    engine = "modem"
    kinds: tuple[Family, Family]
    """Plain, and secure."""
    _readable: tuple[State, ...] = OPEN
    """The states in which the modem may have something to be read."""

    def __init__(
        self,
        modem: AttachedModem | Holder,
        configuration: SslConfiguration | None,
        *,
        receive: ReceiveMode = "buffered",
        transport: SocketConfiguration | None = None,
    ) -> None:
        if receive not in _MODES:
            raise ConfigurationError(f'receive: "buffered" or "push", not {receive!r}')
        self.encrypted = configuration is not None
        self._given = modem  # a modem that nobody holds closes
        self._modem = attached = attached_of(modem)
        self._receive_mode: Receive = _MODES[receive]
        self._family = family = self.kinds[self.encrypted]
        self._manners = manners_of(attached, family, self._receive_mode)
        if configuration is not None:
            transport = configuration.socket
        self._mode = receive
        self._wishes = transport or SocketConfiguration()
        self._transport = Transport(attached, self._wishes)
        self._configuration = configuration
        self._securing: Securing | None = None
        self._noting: Callable[[Slot], None] | None = None
        if configuration is not None:
            self._securing = Securing(attached, configuration, "dtls" if self.datagram else "tls")
            if configuration.session_resumption_buffer is not None:
                self._noting = self._securing.note
        self._life = threading.RLock()
        self._state = State.CLOSED
        self._link: Link | None = None
        self._host = ""
        self._port = ""
        self._address_family = AddressFamily.UNSPEC
        self._addresses: Mapping[str, object] | None = None  # as the modem told them
        self._local_port = 0  # as the caller chose it
        self._receive_timeout: float | None = DEFAULT_RECEIVE_TIMEOUT
        self._sent_before = 0
        self._received_before = 0
        self._callback: Callable[[], None] | None = None
        self._gone = False
        self._handle: Handle | None = None

    def __repr__(self) -> str:
        where = f" {self._host}:{self._port}" if self._host else ""
        return f"<{self._family.upper()} socket through {self._modem.name}{where}, {self._state.value}>"

    # -- life ---------------------------------------------------------------------------------------------------

    @abstractmethod
    def _linked(self, slot: Slot) -> Link:
        """Return the link over a socket that the modem has connected."""

    def _check_connectable(self) -> None:
        """Raise unless the state is one that may be connected from."""
        if self._state is not State.CLOSED:
            raise ModemError(f"the socket is {self._state.value} already; close it first", number=errno.EISCONN)

    def _not_connected(self, error: BaseException) -> None:
        """Take note that connecting has failed."""

    def connect(self, host: str, port: str, *, timeout: float | None = None) -> None:
        """Resolve, connect and finish the handshake; see :meth:`Socket.connect`."""
        number = check_port(port)
        name = self._check_host(host)
        deadline = self._deadline(timeout)
        with self._life:
            self._check_here()
            self._check_connectable()
            slot: Slot | None = None
            try:
                families = self._transport.families(name)
                if self._link is not None:
                    self._end(deadline)  # bound, or interrupted the last time
                slot = self._connected_slot(name, number, families, deadline)
                self._take_up(slot, State.CONNECTED, str(host), str(port))
            except BaseException as error:
                self._give_up(slot)
                self._not_connected(error)
                raise
        self._changed()

    def _take_up(self, slot: Slot, state: State, host: str, port: str) -> None:
        """Be connected by a socket that the modem has opened; whoever calls this gives it up if that fails."""
        link = self._linked(slot)
        self._addresses = None
        self._host, self._port = host, port
        self._link = link
        self._state = state
        if self._noting is not None:
            self._noting(slot)

    def _give_up(self, slot: Slot | None) -> None:
        """After an interrupt: close a socket that has not become this one's, without waiting for it."""
        if slot is not None and (self._link is None or self._link.slot is not slot):
            self._modem.sockets.close(slot, deadline=self._modem.now())

    def _check_here(self) -> None:
        if self._gone:
            raise ModemError("the socket was cleaned up", number=errno.EBADF)

    def _check_host(self, host: str) -> str:
        limit = self._modem.limits.get("host")
        return check_host(host, limit if isinstance(limit, int) else None)

    def _connected_slot(
        self, host: str, port: int, families: tuple[AddressFamily, ...], deadline: float | None
    ) -> Slot:
        """Connect, by one family of addresses after the other."""
        told: ModemError | None = None
        for family in families:
            try:
                slot = self._open(self._opening(host=host, port=port, family=family), deadline)
            except ModemError as error:
                if told is None or isinstance(told, NameResolutionError):
                    told = error
                # A modem may not tell a handshake that failed from a transport that did.
                if family is families[-1] or not isinstance(error, (*_OF_THE_TRANSPORT, ConnectOrHandshakeError)):
                    raise told from told.__cause__
                logger.info("%s: %s, trying the other family of addresses", family.name, error)
            else:
                self._address_family = family
                return slot
        raise AssertionError("unreachable")

    def _opening(
        self,
        how: Literal["open", "listen", "bind"] = "open",
        host: str = "",
        port: int = 0,
        family: AddressFamily = AddressFamily.UNSPEC,
    ) -> Opening:
        return Opening(
            family=self._family,
            how=how,
            host=host,
            port=port,
            receive=self._receive_mode,
            local_port=self._local_port or None,
            address_family=self._transport.word(family),
        )

    def _open(self, wanted: Opening, deadline: float | None) -> Slot:
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
            if wanted.how != "open":
                raise
            raise connect_failure(error, wanted.host, wanted.port) from error

    def shutdown(self) -> None:
        """End both directions; see :meth:`Socket.shutdown`. There is no half-close in a modem."""
        with self._life:
            if self._state not in (*OPEN, State.BOUND):
                raise ModemError("the socket is not open", number=errno.EBADF)
            try:
                self._keep_addresses()
            finally:
                self._state = State.SHUTDOWN
                self._drop(None)
        self._changed()

    def close(self, *, timeout: float | None = None) -> None:
        """Drop the connection; see :meth:`Socket.close`."""
        with self._life:
            self._state = State.CLOSED
            self._host = self._port = ""
            self._address_family = AddressFamily.UNSPEC
            self._addresses = None
            self._local_port = 0
            self._end(self._deadline(timeout))
        self._changed()

    def _end(self, deadline: float | None) -> None:
        link = self._link
        if link is not None:  # also if an interrupt struck the last time
            self._drop(deadline)
            sent, received = self._sent_before + link.sent, self._received_before + link.received
            self._link = None
            self._sent_before, self._received_before = sent, received

    def _drop(self, deadline: float | None) -> None:
        link = self._link
        if link is None or link.aside:
            return
        if self._noting is not None:
            self._noting(link.slot)
        try:
            if not self._put_aside(link, deadline):
                link.close(deadline)
        except ModemError as error:
            logger.debug("closing %r: %s", self, error)  # the number is freed in the background

    def _put_aside(self, link: Link, deadline: float | None) -> bool:
        """Have a secured association kept in the modem, where it can be taken up without a handshake."""
        if self._securing is None or not self.datagram or link.slot.lost is not None or link.slot.closed is not None:
            return False
        link.leave()
        try:
            link.aside = self._securing.put_aside(link.slot, deadline)
        except ModemError as error:
            logger.info("%r: not put aside, so it is closed: %s", self, error)
        return link.aside

    def cleanup(self) -> None:
        """Close, for good."""
        self._gone = True
        self.close()
        if self._securing is not None:
            self._securing.forget()

    # -- data ---------------------------------------------------------------------------------------------------

    def _deadline(self, timeout: float | None) -> float | None:
        return None if timeout is None else self._modem.now() + timeout

    def _connected(self) -> Link:
        link = self._link
        if link is None or self._state is State.CLOSED or self._state is State.BOUND:
            raise ModemError("the socket is not connected", number=errno.EBADF)
        return link

    def _received(self, link: Link, size: int, timeout: float | Unset | None, *, peek: bool = False) -> bytes:
        """Receive from ``link`` as the contract has it; ``timeout`` unset is the socket's own."""
        if size < 0:
            raise ConfigurationError(f"cannot receive {size} bytes")
        if self._state is State.SHUTDOWN:
            data = link.take(size, peek=peek)
            return b"" if data is None else data
        wait = self._receive_timeout if isinstance(timeout, Unset) else timeout
        try:
            if wait is not None and wait <= 0:
                data = link.receive(size, self._modem.now(), poll=True, peek=peek)
            else:
                data = link.receive(size, self._deadline(wait), peek=peek)
        except ModemTimeoutError:
            self._show()
            raise
        if self._noting is not None:
            self._noting(link.slot)
        if not data and link.closing and self.state is not State.SHUTDOWN:
            raise ModemError("the socket was closed while it was receiving", number=errno.EBADF)
        return data

    def _sendable(self) -> Link:
        link = self._connected()
        if self._state is State.SHUTDOWN:
            raise ModemError("the socket was shut down", number=errno.EPIPE)
        return link

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
                return link is not None and (link.ready or self.unread or self._may_have())
            case Option.MTU:
                return self._mtu()
            case Option.INNER_MTU:
                return self._inner_mtu()
            case Option.ADDR_FAMILY:
                return self._family_in_use()
            case Option.PREFERRED_ADDR_FAMILY:
                return self._transport.preferred
            case Option.FORCED_ADDR_FAMILY:
                return self._transport.forced
            case Option.SESSION_RESUMED if self.encrypted:
                return self._securing is not None and self._securing.resumed
            case Option.CONNECTION_ID_RESUMED if self.encrypted:
                return self._securing is not None and self._securing.connection_resumed
        raise ModemError(f"{option.name} cannot be read from this socket", number=errno.EINVAL)

    def _may_have(self) -> bool:
        """Whether the modem may have something that it does not tell of unasked."""
        return self._manners.poll is not None and self._state in self._readable

    def _mtu(self) -> int:
        if self._transport.packets is not None:
            return self._transport.packets
        if self._state in OPEN:
            self._refuse("tell the size of packets", "mtu")
        raise ModemError("the socket is not connected", number=errno.ENOTCONN)

    def _inner_mtu(self) -> int:
        return 0

    def _family_in_use(self) -> AddressFamily:
        """Return the family that the modem was told; which one it takes for a name otherwise, it does not tell."""
        if self._state is State.CLOSED:
            return AddressFamily.UNSPEC
        return self._address_family

    def set_opt(self, option: Option, value: object) -> None:
        """Set an option; see :class:`Option`."""
        match option:
            case Option.RECV_TIMEOUT:
                self._receive_timeout = check_receive_timeout(value)
            case Option.PREFERRED_ADDR_FAMILY | Option.FORCED_ADDR_FAMILY:
                self._transport.set(option, value)
            case Option.DTLS_HANDSHAKE_TIMEOUTS:
                if self._securing is None:
                    raise ModemError("the socket is not secure, and has no handshake", number=errno.EBADF)
                self._securing.set_timers(value)
            case Option.DANE_TLSA_ARRAY:
                if self._securing is None:
                    raise ModemError("the socket is not secure, and has no TLSA records", number=errno.EINVAL)
                self._securing.set_records(value)
            case _:
                raise ModemError(f"{option.name} cannot be set", number=errno.EINVAL)

    @property
    def state(self) -> State:
        """The same as ``Option.STATE``."""
        return self._state

    @property
    def version(self) -> TlsVersion | None:
        """The protocol version, where the modem was set to exactly one; it does not tell otherwise."""
        return None if self._securing is None or self._state is not State.CONNECTED else self._securing.version

    @property
    def suites(self) -> tuple[int, ...]:
        """The cipher suites that the modem is told to offer, by IANA number; none if all that it has, or plain."""
        return () if self._securing is None else self._securing.suites

    @property
    def end_authenticated(self) -> bool | None:
        """Whether the end of stream is the peer's own for certain; None before the end."""
        link = self._link
        return None if link is None else link.end_authenticated

    # -- names --------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._state is State.CLOSED:
            raise ModemError("the socket is closed", number=errno.EBADF)

    def _given_name(self, value: str) -> str:
        self._check_open()
        if not value:
            if self._state is State.BOUND:
                raise ModemError("the socket is not connected", number=errno.EBADF)
            raise ModemError("the modem does not tell who called", number=errno.ENOBUFS)
        return value

    @property
    def remote_hostname(self) -> str:
        """The host as given to connect; of a connection that came, the caller's address where the modem tells it."""
        return self._given_name(self._host)

    @property
    def remote_port(self) -> str:
        """The port as given to connect; of a connection that came, the caller's where the modem tells it."""
        return self._given_name(self._port)

    @property
    def remote_host(self) -> str:
        """The peer's numeric address, where the modem tells it or was given it."""
        self._check_open()
        if self._state is State.BOUND:
            raise ModemError("the socket is not connected", number=errno.EBADF)
        if literal(self._host) is not AddressFamily.UNSPEC:
            return self._host
        told = self._asked("remote_host")
        if not isinstance(told, str) or not is_address(told):
            self._refuse("tell its peer's address", "remote_host")
        return told

    @property
    def local_host(self) -> str:
        """The modem's own address, where it tells it."""
        self._check_open()
        told = self._asked("local_host")
        if not isinstance(told, str) or not is_address(told):
            self._refuse("tell its own address", "local_host")
        return told

    @property
    def local_port(self) -> str:
        """The own port: the one that was chosen by :meth:`bind`, else as the modem tells it."""
        self._check_open()
        told = self._local_port or self._asked("local_port")
        if not isinstance(told, int) or not told:
            self._refuse("tell its own port", "local_port")
        return str(told)

    @property
    def interface_name(self) -> str:
        """Not to be had: a modem's network interface has no name."""
        self._check_open()
        self._refuse("tell its interface", "interface_name")

    def _asked(self, name: str, deadline: float | None = None) -> object:
        """Ask the modem for the addresses of the connection, once; None if it does not tell."""
        with self._life:
            link = self._link
            if self._addresses is None:
                program = f"{self._family}_address"
                if link is None or link.closing or program not in self._modem.profile.programs:
                    return None
                self._addresses = self._modem.sockets.run(link.slot, "address", {}, deadline=deadline).values
            return self._addresses.get(name)

    def _keep_addresses(self) -> None:
        """Ask for the addresses now: they outlive the connection that is about to end."""
        link = self._link
        if link is None or link.slot.lost is not None or link.slot.closed is not None:
            return
        try:
            self._asked("", self._deadline(_LAST_QUESTION))
        except ModemError as error:
            logger.debug("%r: %s", self, error)

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
        return link is not None and self._state in self._readable and link.unread

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

    def read_ahead(self, window: int) -> bool:
        """Fetch one piece, if there may be one and there is room."""
        link = self._link
        return link is not None and self._state in self._readable and link.read_ahead(window)

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
