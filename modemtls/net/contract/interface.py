"""The secure-socket contract: states, options, and what every operation promises.

The contract is that of a custom TLS layer for an LwM2M client; Python's own socket interface is an adapter over it
(``modemtls.sockets``), never the other way round. This module imports nothing of modemtls but its errors, so that
any engine can fulfil it.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = [
    "DEFAULT_RECEIVE_TIMEOUT",
    "DEFAULT_SEND_TIMEOUT",
    "UNSET",
    "AddressFamily",
    "Option",
    "Socket",
    "State",
    "Unset",
]

#: Seconds; what a new socket's ``Option.RECV_TIMEOUT`` is.
DEFAULT_RECEIVE_TIMEOUT: Final = 30.0

#: Seconds a send may wait for the engine to take the data, unless the call says otherwise.
DEFAULT_SEND_TIMEOUT: Final = 30.0


class State(enum.Enum):
    """Where a socket is in its life."""

    CLOSED = "closed"  # new, or after close()
    CONNECTED = "connected"
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
    #: The largest payload of one send; 0 for streams, which split by themselves. Get.
    INNER_MTU = "inner_mtu"
    #: Whether the last handshake is *known* to have resumed a session. Get.
    SESSION_RESUMED = "session_resumed"
    #: Whether the last connect restored a Connection ID without a handshake; never, on a stream. Get.
    CONNECTION_ID_RESUMED = "connection_id_resumed"
    #: Payload bytes the engine took, over all connections of this object; survives close. Get.
    BYTES_SENT = "bytes_sent"
    #: Payload bytes that arrived, over all connections of this object; survives close. Get.
    BYTES_RECEIVED = "bytes_received"
    #: Whether receive may return something without waiting. Never falsely false. Get.
    HAS_BUFFERED_DATA = "has_buffered_data"


class Unset(enum.Enum):
    """The type of :data:`UNSET`: "the argument was not given", where ``None`` has a meaning of its own."""

    UNSET = 0


UNSET: Final = Unset.UNSET


class Socket(ABC):
    """A stream socket of the contract.

    Host and port are strings, the port decimal. All calls block, for at most their time-out. Failures are
    :class:`modemtls.errors.ModemError`; :func:`~modemtls.net.contract.portable.error_pair` gives their portable pair.

    Sending and receiving may go on in two threads at once; a call of the same kind waits for the one before it.
    """

    # -- life -------------------------------------------------------------------------------------------------

    @abstractmethod
    def connect(self, host: str, port: str, *, timeout: float | None = None) -> None:
        """Resolve, connect and finish the handshake; any failure leaves the socket ``CLOSED``.

        ``timeout`` in seconds is for the whole of it; ``None`` leaves the engine's own limits. A socket that is
        not ``CLOSED`` refuses with ``EISCONN``. After :meth:`close` the same object may connect again.
        """

    @abstractmethod
    def send(self, data: bytes | bytearray | memoryview, *, timeout: float | Unset | None = UNSET) -> None:
        """Send all of ``data`` or raise.

        The error of a send that failed half-way carries ``bytes_accepted``: what the engine took for certain. Nothing
        is ever sent twice on its own. If what happened to the next piece is in doubt (a time-out or an interruption
        while it was being handed over), later sends on this connection are refused.
        """

    @abstractmethod
    def receive(self, size: int, *, timeout: float | Unset | None = UNSET, peek: bool = False) -> bytes:
        """Return what is there, up to ``size`` bytes; ``b""`` is the peer's end of stream.

        Waits for at most ``timeout`` (default: ``Option.RECV_TIMEOUT``) for the first byte, else raises
        :class:`~modemtls.errors.ModemTimeoutError`. Bytes beyond ``size`` stay for the next call. Data that
        arrived before an error is returned before the error is raised. ``peek`` leaves the data there.
        """

    @abstractmethod
    def shutdown(self) -> None:
        """End both directions; data that already arrived can still be received, and names keep their values."""

    @abstractmethod
    def close(self, *, timeout: float | None = None) -> None:
        """Drop the connection and everything unread; the socket is ``CLOSED`` afterwards, whatever happens."""

    @abstractmethod
    def cleanup(self) -> None:
        """Close, and give up everything the socket holds; it cannot be used again. May be called twice."""

    def __enter__(self) -> Socket:
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
    def remote_hostname(self) -> str:
        """The host as given to :meth:`connect`; ``EBADF`` when closed."""

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
