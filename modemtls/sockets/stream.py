"""The socket that applications get: a ``socket.socket`` to every library, a modem's connection underneath.

What cannot work is refused with a reason: handing the descriptor to code that does its own system calls on it
(``detach``, ``dup``, TLS on top by ``ssl.wrap_socket``, event loops in C).
"""

# ruff: noqa: ARG002 - the signatures are those of socket.socket

from __future__ import annotations

import errno
import math
import operator
import socket
import struct
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, SupportsIndex, cast

from modemtls.at.interrupts import unbroken
from modemtls.errors import NotSupportedError
from modemtls.sockets.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer

    from modemtls.net.contract import Socket
    from modemtls.sockets.pump import Pump

__all__ = ["ModemSocket"]

_RECEIVE_FLAGS: Final = socket.MSG_PEEK | socket.MSG_DONTWAIT | socket.MSG_WAITALL
_SEND_FLAGS: Final = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL | socket.MSG_MORE

# Options that libraries set on every TCP socket. They concern a host's TCP, of which there is none here: taken and
# given back, without effect.
_INERT: Final = frozenset(
    {(socket.IPPROTO_TCP, name) for name in (socket.TCP_NODELAY, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL)}
    | {(socket.IPPROTO_TCP, name) for name in (socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT, socket.TCP_QUICKACK)}
    | {(socket.SOL_SOCKET, name) for name in (socket.SO_KEEPALIVE, socket.SO_REUSEADDR, socket.SO_LINGER)}
    | {(socket.SOL_SOCKET, name) for name in (socket.SO_RCVBUF, socket.SO_SNDBUF, socket.SO_RCVTIMEO)}
    | {(socket.SOL_SOCKET, name) for name in (socket.SO_SNDTIMEO, socket.SO_OOBINLINE, socket.SO_PRIORITY)}
    | {(socket.IPPROTO_IP, socket.IP_TOS)}
)


class ModemSocket(socket.socket):
    """A connected stream socket through a modem, made by :meth:`modemtls.api.Modem.connect`.

    Time-outs, non-blocking mode, end of stream and resets are those of Python's sockets; errors are
    :class:`~modemtls.errors.ModemError` where the modem or the peer is the cause. There is no half-close:
    ``shutdown(SHUT_WR)`` sends what is left and refuses further sends, and the peer does not notice.

    The descriptor is good for waiting (``select``, ``poll``, ``epoll``), and for nothing else.
    """

    def __init__(
        self, connection: Socket, pump: Pump, address: tuple[str, int], *, timeout: float | None = None
    ) -> None:
        endpoint = Endpoint(connection, pump)
        super().__init__(fileno=endpoint.near_fileno())
        super().setblocking(False)
        self._endpoint = endpoint
        self._connection = connection
        self._address = address
        self._wait = timeout
        self._options: dict[tuple[int, int], int | bytes] = {}
        self._leftover = weakref.finalize(self, _abandon, endpoint)
        self._leftover.atexit = False
        self._over = False
        self.owner: object = None  # what has to live as long as the socket: the modem

    def __repr__(self) -> str:
        state = " [closed]" if self._over else ""
        host, port = self._address
        return f"<{type(self).__module__}.{type(self).__qualname__}{state} to {host}:{port}>"

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def family(self) -> socket.AddressFamily:
        """``AF_INET``, or ``AF_INET6`` for a connection to an IPv6 address."""
        return socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET

    @property
    def type(self) -> socket.SocketKind:
        """``SOCK_STREAM``."""
        return socket.SOCK_STREAM

    @property
    def proto(self) -> int:
        """``IPPROTO_TCP``."""
        return socket.IPPROTO_TCP

    @property
    def connection(self) -> Socket:
        """The socket of the strict contract underneath."""
        return self._connection

    @property
    def engine(self) -> Literal["modem", "host"]:
        """Who does the TLS: the modem, or this host over plain TCP; the modem as well where there is no TLS."""
        return "host" if self._connection.engine == "host" else "modem"

    @property
    def end_authenticated(self) -> bool | None:
        """Whether the end of stream that was reached is the peer's own for certain; None before the end.

        False also where the modem does not tell a clean close from a cut connection: then the length of what was
        received has to come from the protocol above.
        """
        return self._connection.end_authenticated

    def fileno(self) -> int:
        """Return the descriptor to wait on, -1 when closed. From the first call on, data is read ahead."""
        number = super().fileno()
        if number >= 0:
            self._endpoint.owned.check("the modem's socket")
            self._endpoint.watch()
        return number

    def getpeername(self) -> tuple[str, int]:
        """Return host and port as they were given."""
        self._check_open()
        return self._address

    def getsockname(self) -> tuple[str, int]:
        """Return the wildcard address: modems do not tell the local one of a connection."""
        self._check_open()
        return ("::", 0) if self.family is socket.AF_INET6 else ("0.0.0.0", 0)  # noqa: S104 - nothing is bound

    # -- what TLS libraries are asked ---------------------------------------------------------------------------

    def getpeercert(self, binary_form: bool = False) -> bytes | None:
        """Return the peer's certificate as DER where ``binary_form`` is asked for and it is known; else None.

        The host's engine knows it, but for a session that was resumed perhaps. A modem does not give it away.
        """
        chain = self._agreed("peer_chain") if binary_form else None
        return chain[0] if chain else None

    def cipher(self) -> tuple[str, str | None, int | None] | None:
        """Return the suite's IANA name, the protocol version and None for the bits; None where they are not known."""
        name = self._agreed("suite_name")
        return (name, self.version(), None) if name else None

    def _agreed(self, what: str) -> Any:
        """Return what was agreed on in the handshake, where the engine tells."""
        return getattr(getattr(self._connection, "info", None), what, None)

    def version(self) -> str | None:
        """Return the protocol version as ``ssl.SSLSocket`` spells it, where it is known; else None."""
        known = getattr(self._connection, "version", None)
        if known is None:
            return None
        return "SSLv3" if known.value == "ssl3" else f"TLSv{known.value}".removesuffix(".0")

    def selected_alpn_protocol(self) -> str | None:
        """Return the application protocol that was agreed on; None if there is none, or it is not known."""
        protocol = self._agreed("alpn")
        return protocol.decode("ascii", "replace") if protocol else None

    def compression(self) -> None:
        """Return None."""

    # -- time ---------------------------------------------------------------------------------------------------

    def settimeout(self, value: float | None) -> None:
        """Set the time-out in seconds; None blocks, 0 does not."""
        if value is not None:
            value = _seconds(value)
        self._check_open()
        self._wait = value
        if value == 0:
            self._endpoint.watch()

    def gettimeout(self) -> float | None:
        """Return the time-out in seconds."""
        return self._wait

    @property
    def timeout(self) -> float | None:
        """The time-out in seconds."""
        return self._wait

    def setblocking(self, flag: bool) -> None:
        """Set the time-out to None, or to 0."""
        self.settimeout(None if flag else 0.0)

    def getblocking(self) -> bool:
        """Return whether calls may wait."""
        return self._wait != 0

    # -- receiving ----------------------------------------------------------------------------------------------

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Receive up to ``bufsize`` bytes; ``b""`` at the end of the stream."""
        if bufsize < 0:
            raise ValueError("negative buffersize in recv")
        self._check_open()
        if flags:
            return self._recv_with(bufsize, flags)
        return self._endpoint.receive(self, bufsize, self._wait, peek=False) if bufsize else b""

    def _recv_with(self, size: int, flags: int) -> bytes:
        if flags & ~_RECEIVE_FLAGS:
            raise OSError(errno.EOPNOTSUPP, f"flags {flags & ~_RECEIVE_FLAGS:#x} make no sense here")
        wait = 0.0 if flags & socket.MSG_DONTWAIT else self._wait
        data = self._endpoint.receive(self, size, wait, peek=bool(flags & socket.MSG_PEEK)) if size else b""
        if flags & socket.MSG_WAITALL and not flags & socket.MSG_PEEK:
            while data and len(data) < size:
                more = self._endpoint.receive(self, size - len(data), wait, peek=False)
                if not more:
                    break
                data += more
        return data

    def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        """Receive into a buffer; return how many bytes."""
        view = _writable(buffer)
        if nbytes < 0:
            raise ValueError("negative buffersize in recv_into")
        if nbytes > len(view):
            raise ValueError("buffer too small for requested bytes")
        data = self.recv(nbytes or len(view), flags)
        view[: len(data)] = data
        return len(data)

    def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, None]:
        """Receive as :meth:`recv`; a stream has no sender's address."""
        return self.recv(bufsize, flags), None

    def recvfrom_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> tuple[int, None]:
        """Receive as :meth:`recv_into`; a stream has no sender's address."""
        return self.recv_into(buffer, nbytes, flags), None

    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0) -> tuple[bytes, list[Any], int, None]:
        """Receive as :meth:`recv`; there is no ancillary data."""
        return self.recv(bufsize, flags), [], 0, None

    def recvmsg_into(
        self, buffers: Iterable[Buffer], ancbufsize: int = 0, flags: int = 0
    ) -> tuple[int, list[Any], int, None]:
        """Receive into several buffers, filling one after the other."""
        views = [_writable(buffer) for buffer in buffers]
        data = self.recv(sum(map(len, views)), flags)
        at = 0
        for view in views:
            piece = data[at : at + len(view)]
            view[: len(piece)] = piece
            at += len(piece)
        return len(data), [], 0, None

    # -- sending ------------------------------------------------------------------------------------------------

    def send(self, data: Buffer, flags: int = 0) -> int:
        """Send; return how many bytes were accepted."""
        self._check_open()
        return self._endpoint.send(self, memoryview(data).cast("B"), self._send_wait(flags), whole=False)

    def sendall(self, data: Buffer, flags: int = 0) -> None:
        """Send everything, or raise; how much was sent is then not known (``bytes_accepted`` at least)."""
        self._check_open()
        self._endpoint.send(self, memoryview(data).cast("B"), self._send_wait(flags), whole=True)

    def _send_wait(self, flags: int) -> float | None:
        if flags & ~_SEND_FLAGS:
            raise OSError(errno.EOPNOTSUPP, f"flags {flags & ~_SEND_FLAGS:#x} make no sense here")
        return 0.0 if flags & socket.MSG_DONTWAIT else self._wait

    def sendmsg(
        self, buffers: Iterable[Buffer], ancdata: Iterable[Any] = (), flags: int = 0, address: object = None
    ) -> int:
        """Send several buffers as one; there is no ancillary data."""
        if address is not None:
            raise OSError(errno.EISCONN, "the socket is connected")
        if list(ancdata):
            raise OSError(errno.EOPNOTSUPP, "there is no ancillary data")
        return self.send(b"".join(bytes(memoryview(buffer).cast("B")) for buffer in buffers), flags)

    def sendto(self, *_: object) -> NoReturn:
        """Refuse: the socket is connected."""
        raise OSError(errno.EISCONN, "the socket is connected")

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send a file with :meth:`send`; the system call of that name knows nothing of modems."""
        return cast("int", self._sendfile_use_send(file, offset, count))  # type: ignore[attr-defined]

    # -- options ------------------------------------------------------------------------------------------------

    def setsockopt(self, level: int, optname: int, value: Any, optlen: int | None = None) -> None:
        """Take the options that libraries set as a matter of course; they have no effect. Others are refused."""
        self._check_open()
        if (level, optname) not in _INERT:
            raise OSError(errno.ENOPROTOOPT, f"socket option {level}/{optname} does not exist here")
        self._options[level, optname] = bytes(value) if isinstance(value, bytes | bytearray) else int(value or 0)

    def getsockopt(self, level: int, optname: int, buflen: int | None = None) -> int | bytes:  # type: ignore[override]
        """Return an option that was set; ``SO_ERROR`` gives, once, the failure of a send that had been accepted."""
        self._check_open()
        value: int | bytes
        if (level, optname) == (socket.SOL_SOCKET, socket.SO_ERROR):
            error = self._endpoint.pop_error(self)
            value = 0 if error is None else error.errno or errno.EIO
        elif (level, optname) == (socket.SOL_SOCKET, socket.SO_TYPE):
            # Asked by ssl.SSLContext.wrap_socket(), which would go on to use, and close, the bare descriptor.
            raise NotSupportedError(
                "TLS of the host cannot be put on top of a modem's socket this way",
                capability="wrap_socket",
                choices=("modem.connect(…, tls=TLSConfig(…)) for the modem's own TLS", "ssl.MemoryBIO"),
            )
        elif (level, optname) == (socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            value = 0
        elif (level, optname) in _INERT:
            value = self._options.get((level, optname), 0)
        else:
            raise OSError(errno.ENOPROTOOPT, f"socket option {level}/{optname} does not exist here")
        if buflen and isinstance(value, int):
            return struct.pack("i", value)[:buflen]
        return value

    def get_inheritable(self) -> bool:
        """Return False: a child process could not use it."""
        return False

    def set_inheritable(self, inheritable: bool) -> None:
        """Refuse to hand the socket to a child process."""
        if inheritable:
            self._refuse("be inherited: a child process has no part in the modem")

    # -- what a connected socket of this kind refuses -----------------------------------------------------------

    def connect(self, address: object) -> NoReturn:
        """Refuse: the socket is connected."""
        raise OSError(errno.EISCONN, "the socket is connected")

    def connect_ex(self, address: object) -> int:
        """Refuse: the socket is connected."""
        return errno.EISCONN

    def bind(self, address: object) -> NoReturn:
        """Refuse: the socket is connected."""
        raise OSError(errno.EINVAL, "the socket is connected")

    def listen(self, backlog: SupportsIndex = 0) -> NoReturn:
        """Refuse: the socket is connected."""
        raise OSError(errno.EINVAL, "the socket is connected")

    def accept(self) -> NoReturn:
        """Refuse: the socket is connected."""
        raise OSError(errno.EINVAL, "the socket is connected")

    def dup(self) -> NoReturn:
        """Refuse: a second descriptor would not be a second socket."""
        self._refuse("be duplicated: its descriptor is for waiting only")

    def detach(self) -> NoReturn:
        """Refuse: the descriptor alone is no connection."""
        self._refuse("be detached: its descriptor is for waiting only")

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    def _refuse(self, what: str) -> NoReturn:
        raise NotSupportedError(f"a modem's socket cannot {what}", capability="descriptor")

    # -- ending -------------------------------------------------------------------------------------------------

    def shutdown(self, how: int) -> None:
        """Shut down one or both directions; see the class for what that means without a half-close."""
        if how not in {socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR}:
            raise OSError(errno.EINVAL, "how: SHUT_RD, SHUT_WR or SHUT_RDWR")
        self._check_open()
        self._endpoint.shutdown(how, self._wait)

    def _real_close(self, *_: object) -> None:
        """Close: called by ``close()`` once no file made of the socket is open any more."""
        self._over = True
        if not self._leftover.alive:
            return
        if self._endpoint.owned.foreign:
            self._leftover.detach()
            super()._real_close()  # type: ignore[misc]
            self._endpoint.disown()
            return
        try:
            self._endpoint.close(self._wait)
        finally:
            super()._real_close()  # type: ignore[misc]
            self._endpoint.release()
        self._leftover.detach()  # last: what an interrupt leaves undone is done then, or by closing again

    def _check_open(self) -> None:
        if self._over:
            raise OSError(errno.EBADF, "Bad file descriptor")
        self._endpoint.owned.check("the modem's socket")


def _seconds(value: float | SupportsIndex) -> float:
    """Take a time-out, or refuse it, as ``socket.settimeout`` does."""
    if not isinstance(value, float):
        value = operator.index(value)
    if math.isnan(value):
        raise ValueError("Invalid value NaN (not a number)")
    if abs(value) > threading.TIMEOUT_MAX:  # the longest time that Python can wait
        raise OverflowError("timeout value is too large")
    if value < 0:
        raise ValueError("Timeout value out of range")
    return float(value)


def _writable(buffer: Buffer) -> memoryview:
    """Give a view to write bytes to; before any are taken from the connection."""
    view = memoryview(buffer).cast("B")
    if view.readonly:
        raise TypeError(f"a read-write bytes-like object is needed, not {type(buffer).__name__}")
    return view


def _abandon(endpoint: Endpoint) -> None:
    """Close what nobody refers to any more, without waiting for it."""
    if endpoint.owned.foreign:
        endpoint.disown()
        return
    with unbroken():  # nobody could do it again
        endpoint.end()
        endpoint.release()
