"""The secure-socket contract: states, options, and what every operation promises.

The contract is that of a custom TLS layer for an LwM2M client; Python's own socket interface is an adapter over it
(``modemtls.sockets``), never the other way round. This module imports nothing of modemtls but its errors, so that
any engine can fulfil it.
"""

from __future__ import annotations

import enum
import errno
import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, NoReturn, Protocol, Self

from modemtls.errors import ModemError, NotSupportedError, quoted

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = [
    "DEFAULT_RECEIVE_TIMEOUT",
    "DEFAULT_SEND_TIMEOUT",
    "UNSET",
    "AddressFamily",
    "Option",
    "Pollable",
    "Socket",
    "State",
    "Unset",
    "check_receive_timeout",
]

#: Seconds; what a new socket's ``Option.RECV_TIMEOUT`` is.
DEFAULT_RECEIVE_TIMEOUT: Final = 30.0

#: Seconds a send may wait for the engine to take the data, unless the call says otherwise.
DEFAULT_SEND_TIMEOUT: Final = 30.0


class State(enum.Enum):
    """Where a socket is in its life."""

    CLOSED = "closed"  # new, or after close()
    BOUND = "bound"  # has a local address; a stream listens there
    CONNECTED = "connected"  # the end that called
    ACCEPTED = "accepted"  # the end that was called
    SHUTDOWN = "shutdown"  # both directions are over; only close() leads on


class AddressFamily(enum.Enum):
    """The address family a connection uses, as far as it is known."""

    UNSPEC = 0
    IPV4 = 4
    IPV6 = 6


class Option(enum.Enum):
    """Keys of :meth:`Socket.get_opt` and :meth:`Socket.set_opt`."""

    #: Seconds :meth:`Socket.receive` waits; ``None`` waits for ever, zero or less polls exactly once. Get and set.
    RECV_TIMEOUT = "recv_timeout"
    #: A :class:`State`; works on a closed socket too. Get.
    STATE = "state"
    #: An :class:`AddressFamily`; ``UNSPEC`` when closed or not known. Get.
    ADDR_FAMILY = "addr_family"
    #: Bytes of one packet of the network layer; a forced one first; fails where it is not known. Get.
    MTU = "mtu"
    #: The largest payload of one send; 0 for secured streams, which split by themselves, and when closed. Get.
    INNER_MTU = "inner_mtu"
    #: Whether the last handshake is *known* to have resumed a session. Get.
    SESSION_RESUMED = "session_resumed"
    #: Whether the last connect restored a Connection ID without a handshake; never, on a stream. Get.
    CONNECTION_ID_RESUMED = "connection_id_resumed"
    #: Payload bytes the engine took, over all connections of this object; survives close. Get.
    BYTES_SENT = "bytes_sent"
    #: Payload bytes that arrived, over all connections of this object; survives close. Get.
    BYTES_RECEIVED = "bytes_received"
    #: Whether receive may return something that :attr:`Socket.system` does not signal. Never falsely false. Get.
    HAS_BUFFERED_DATA = "has_buffered_data"
    #: A list of :class:`~modemtls.net.contract.dane.TlsaRecord`, copied; replaces the one before. Set, where the
    #: configuration has DANE; used by the next handshake.
    DANE_TLSA_ARRAY = "dane_tlsa_array"
    #: The first and the longest wait of a handshake over datagrams, in seconds; ``EBADF`` for values that cannot be,
    #: and for sockets that have no such handshake. Set, at any time; used by the next handshake.
    DTLS_HANDSHAKE_TIMEOUTS = "dtls_handshake_timeouts"
    #: The :class:`AddressFamily` to try first when a name is resolved. Get and set.
    PREFERRED_ADDR_FAMILY = "preferred_addr_family"
    #: The only :class:`AddressFamily` to use; ``UNSPEC`` allows both. Get and set.
    FORCED_ADDR_FAMILY = "forced_addr_family"


class Unset(enum.Enum):
    """The type of :data:`UNSET`: "the argument was not given", where ``None`` has a meaning of its own."""

    UNSET = 0


UNSET: Final = Unset.UNSET


def check_receive_timeout(value: object) -> float | None:
    """Return what ``Option.RECV_TIMEOUT`` may be; ``EINVAL`` for anything else."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value)):
        raise ModemError(f"a time-out is seconds or None, not {quoted(value)}", number=errno.EINVAL)
    return value


class Pollable(Protocol):
    """What ``select`` and ``poll`` take."""

    def fileno(self) -> int:
        """Return the descriptor."""
        ...


class Socket(ABC):
    """A stream or datagram socket of the contract, plain or secure.

    Host and port are strings, the port decimal. All calls block, for at most their time-out. Failures are
    :class:`modemtls.errors.ModemError`, which carry their portable pair. What an engine lacks raises
    :class:`~modemtls.errors.NotSupportedError` (``ENOTSUP``), which names the capability.

    Sending and receiving may go on in two threads at once; a call of the same kind waits for the one before it.

    ``engine``: ``modem`` or ``host``, who does the securing, or the transport if there is none. ``encrypted``: whether
    it is secure. ``datagram``: one send is one datagram, and one receive.
    """

    engine: str = "modem"
    encrypted: bool = False
    datagram: bool = False

    def _refuse(self, what: str, capability: str) -> NoReturn:
        raise NotSupportedError(f"{self!r} cannot {what}", capability=capability)

    # -- life -------------------------------------------------------------------------------------------------

    @abstractmethod
    def connect(self, host: str, port: str, *, timeout: float | None = None) -> None:
        """Resolve, connect and finish the handshake; any failure leaves the socket ``CLOSED``.

        ``timeout`` in seconds is for the whole of it; ``None`` leaves the engine's own limits. A socket that is
        not ``CLOSED`` refuses with ``EISCONN``, but for a datagram socket that is ``BOUND``: it keeps its local port.
        It is ``BOUND`` still if the transport failed, ``CLOSED`` if the handshake did. After :meth:`close` the same
        object may connect again.
        """

    def bind(self, address: str | None, port: str) -> None:
        """Take a local address (None: any) and port (``""`` or ``"0"``: any); the socket is ``BOUND`` then.

        A failure leaves it ``CLOSED``. A socket that is not ``CLOSED`` refuses with ``EISCONN``. A stream socket that
        is bound listens, and does nothing but :meth:`accept`.
        """
        self._refuse("be given a local port", "bind")

    def accept(self, *, timeout: float = 5.0) -> Socket:
        """Return a new socket, ``ACCEPTED``, for whoever calls; this one stays ``BOUND``.

        Waits for ``timeout`` seconds. ``ENETDOWN`` unless this socket is ``BOUND``.
        """
        self._refuse("accept connections", "accept")

    def decorate(self, lower: Socket) -> None:
        """Secure ``lower``, and own it from then on; what this socket had below it is destroyed.

        The handshake is done at once if ``lower`` is ``CONNECTED`` (as a client; the name is its remote host name) or
        ``ACCEPTED`` (as a server), otherwise by a :meth:`connect` that follows. ``EISCONN`` unless this socket is
        ``CLOSED``. If it fails ``lower`` is the caller's, as before: neither closed nor changed.
        """
        self._refuse("secure another socket", "decorate")

    @abstractmethod
    def send(self, data: bytes | bytearray | memoryview, *, timeout: float | Unset | None = UNSET) -> None:
        """Send all of ``data`` or raise. Over datagrams it is one datagram; ``EMSGSIZE`` if it cannot fit into one.

        The error of a send that failed half-way carries ``bytes_accepted``: what the engine took for certain. Nothing
        is ever sent twice on its own. If what happened to the next piece is in doubt (a time-out or an interruption
        while it was being handed over), later sends on this connection are refused; over datagrams, of which any may be
        missing, they go on.
        """

    @abstractmethod
    def receive(self, size: int, *, timeout: float | Unset | None = UNSET, peek: bool = False) -> bytes:
        """Return what is there, up to ``size`` bytes; ``b""`` is the peer's end of stream.

        Waits for at most ``timeout`` (default: ``Option.RECV_TIMEOUT``) for the first byte, else raises
        :class:`~modemtls.errors.ModemTimeoutError`. Bytes beyond ``size`` stay for the next call. Data that
        arrived before an error is returned before the error is raised. ``peek`` leaves the data there.

        Over datagrams one call returns one datagram, and ``b""`` may be an empty one. If it is larger than ``size``,
        :class:`~modemtls.errors.TruncatedError` (``EMSGSIZE``) has its beginning, and the rest is gone.
        """

    def send_to(self, data: bytes | bytearray | memoryview, host: str, port: str) -> None:
        """Send one datagram to ``host`` from a socket that is ``BOUND``. Plain sockets only."""
        self._refuse("send to an address", "send_to")

    def receive_from(self, size: int, *, timeout: float | Unset | None = UNSET) -> tuple[bytes, str, str]:
        """Return one datagram with its sender's numeric host and port. Plain sockets only.

        A :class:`~modemtls.errors.TruncatedError` has the address as well.
        """
        self._refuse("receive from any address", "receive_from")

    @abstractmethod
    def shutdown(self) -> None:
        """End both directions; data that already arrived can still be received, and names keep their values."""

    @abstractmethod
    def close(self, *, timeout: float | None = None) -> None:
        """Drop the connection and everything unread; the socket is ``CLOSED`` afterwards, whatever happens."""

    @abstractmethod
    def cleanup(self) -> None:
        """Close, and give up everything the socket holds; it cannot be used again. May be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cleanup()

    # -- questions --------------------------------------------------------------------------------------------

    @abstractmethod
    def get_opt(self, option: Option) -> object:
        """Return an option; ``EINVAL`` for one that cannot be read here."""

    @abstractmethod
    def set_opt(self, option: Option, value: object) -> None:
        """Set an option; ``EINVAL`` for one that cannot be set or a value that makes no sense."""

    @property
    @abstractmethod
    def state(self) -> State:
        """The same as ``Option.STATE``."""

    @property
    def system(self) -> Pollable | None:
        """What becomes readable when :meth:`receive` would have something; None when closed, or if there is none.

        What has been read from there already, ``Option.HAS_BUFFERED_DATA`` tells.
        """
        return None

    @property
    def interface_name(self) -> str:
        """The network interface in use."""
        self._refuse("tell its interface", "interface_name")

    @property
    def remote_host(self) -> str:
        """The peer's numeric address; ``EBADF`` when closed."""
        self._refuse("tell its peer's address", "remote_host")

    @property
    def local_host(self) -> str:
        """The own numeric address; ``EBADF`` when closed."""
        self._refuse("tell its own address", "local_host")

    @property
    def local_port(self) -> str:
        """The own port; ``EBADF`` when closed."""
        self._refuse("tell its own port", "local_port")

    @property
    @abstractmethod
    def remote_hostname(self) -> str:
        """The host as given to :meth:`connect`; ``EBADF`` when closed, ``ENOBUFS`` when open and there was none."""

    @property
    @abstractmethod
    def remote_port(self) -> str:
        """The port as given to :meth:`connect`; ``EBADF`` when closed."""

    @property
    @abstractmethod
    def end_authenticated(self) -> bool | None:
        """Whether the end of stream that was reached is known to be the peer's own (not a cut connection).

        ``None`` before the end. ``False`` also when the engine cannot tell the two apart.
        """

    @property
    def receive_limit(self) -> int | None:
        """So many bytes of a datagram are given at most, and what is longer has lost its end; None: all of any.

        One that is exactly as long may count as truncated, where the engine does not tell. Of a stream it says nothing.
        """
        return None

    # -- for adapters: working from memory, reading ahead -----------------------------------------------------

    @abstractmethod
    def watch(self, callback: Callable[[], None] | None) -> None:
        """Have ``callback`` called, from any thread, whenever :attr:`ready` may have changed or there is work to do.

        Work is what :meth:`read_ahead` does. The callback must be quick; of this socket it may ask :attr:`ready` and
        :attr:`unread` only.
        """

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether :meth:`take` gives data, the end or an error now, from memory."""

    @property
    @abstractmethod
    def unread(self) -> bool:
        """Whether the engine has, or may have, something that is not in memory yet."""

    @abstractmethod
    def take(self, size: int, *, peek: bool = False) -> bytes | None:
        """Like :meth:`receive`, but from memory alone; ``None`` if there is nothing yet."""

    @abstractmethod
    def check_sendable(self) -> None:
        """Raise why nothing can be sent any more, if that is known already."""

    @abstractmethod
    def offer(self, piece: bytes) -> int:
        """Hand over one piece, at most :attr:`send_limit` bytes, without waiting for room; return how much was taken.

        0 means that the engine has no room now, or that another thread is sending.
        """

    @abstractmethod
    def read_ahead(self, window: int) -> bool:
        """Fetch one piece from the engine, if it may have one and less than ``window`` bytes are in memory.

        Returns whether it did. Never waits for the peer, nor for another thread that is receiving.
        """

    @property
    @abstractmethod
    def poll_period(self) -> float | None:
        """Seconds between questions where the engine gives no notice of data; None where it does."""

    @abstractmethod
    def poll_again(self) -> None:
        """Make the next :meth:`read_ahead` ask the engine, whether it gave notice or not."""

    @property
    @abstractmethod
    def send_limit(self) -> int:
        """The largest piece that the engine takes at once, in bytes."""
