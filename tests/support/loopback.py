"""A plain socket of the contract on the sockets of this machine: what others are secured over, and measured by."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import math
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from modemtls.errors import (
    ConnectError,
    ModemError,
    ModemTimeoutError,
    NameResolutionError,
    SocketClosedError,
    TruncatedError,
)
from modemtls.net.address import check_host, check_port
from modemtls.net.contract import (
    DEFAULT_RECEIVE_TIMEOUT,
    DEFAULT_SEND_TIMEOUT,
    UNSET,
    AddressFamily,
    Option,
    Pollable,
    Socket,
    SocketConfiguration,
    State,
    Unset,
)
from modemtls.net.contract.interface import check_receive_timeout
from modemtls.net.contract.mtu import udp_inner

_CONNECT = 10.0
_FAMILIES = {AddressFamily.IPV4: socket.AF_INET, AddressFamily.IPV6: socket.AF_INET6}
_NAMES = {family: name for name, family in _FAMILIES.items()}
_IP_MTU = 14  # linux/in.h
_IPV6_MTU = 24  # linux/in6.h
OPEN = (State.CONNECTED, State.ACCEPTED)


def resolve(host: str, port: int, kind: int) -> list[tuple[int, tuple]]:
    """Every address of a name; all under .example is this machine, but for those beginning with "no"."""
    if host.startswith("no"):
        raise NameResolutionError(f"{host!r} is not known")
    if host.endswith(".example"):
        return [(socket.AF_INET, ("127.0.0.1", port))]
    try:
        return [(row[0], row[4]) for row in socket.getaddrinfo(host, port, type=kind)]
    except (socket.gaierror, UnicodeError) as error:
        raise NameResolutionError(f"{host!r}: {error}") from error


class LoopbackSocket(Socket):
    """See :class:`modemtls.net.contract.Socket`; ``tamper`` may change, drop (None) or add what is sent."""

    engine = "host"

    def __init__(self, *, datagram: bool = False, configuration: SocketConfiguration | None = None) -> None:
        self.datagram = datagram
        self.tamper: Callable[[bytes], list[bytes]] | None = None
        self.wire: list[bytes] = []
        """Everything that was sent, in pieces as they came."""
        self._configuration = configuration or SocketConfiguration()
        self._preferred = self._configuration.preferred_family
        self._forced = self._configuration.address_family
        self._sock: socket.socket | None = None
        self._state = State.CLOSED
        self._timeout: float | None = DEFAULT_RECEIVE_TIMEOUT
        self._host = self._port = ""
        self._sent = self._received = 0
        self._peeked: bytes | None = None
        self._gone = False
        self._ended = False
        self._wake, self._waker = os.pipe()
        self._shut_names: tuple[str, str, str, str] | None = None
        self._lock = threading.RLock()

    # -- life ------------------------------------------------------------------------------------------------

    def _kind(self) -> int:
        return socket.SOCK_DGRAM if self.datagram else socket.SOCK_STREAM

    def _made(self, family: int) -> socket.socket:
        sock = socket.socket(family, self._kind())
        if self._configuration.reuse_address:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._configuration.dscp and family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, self._configuration.dscp << 2)
        return sock

    def _check_closed(self) -> None:
        if self._gone:
            raise ModemError("cleaned up", number=errno.EBADF)
        if self._state is not State.CLOSED:
            raise ModemError(f"the socket is {self._state.value}", number=errno.EISCONN)

    def connect(self, host, port, *, timeout=None):
        if not (self.datagram and self._state is State.BOUND):
            self._check_closed()
        end = time.monotonic() + min(_CONNECT, _CONNECT if timeout is None else timeout)
        addresses = resolve(check_host(host), check_port(port), self._kind())
        if self._forced is not AddressFamily.UNSPEC:
            addresses = [one for one in addresses if one[0] == _FAMILIES[self._forced]]
        addresses.sort(key=lambda one: one[0] != _FAMILIES.get(self._preferred, socket.AF_INET6))
        wanted = self._configuration.preferred_endpoint
        if wanted is not None:
            addresses.sort(key=lambda one: one[1][0] != wanted.host)
        error: OSError = NameResolutionError(f"{host!r} has no address of the family allowed")
        for family, address in addresses:
            bound = self._sock is not None
            sock = self._sock or self._made(family)
            try:
                sock.settimeout(max(0.001, end - time.monotonic()))
                sock.connect(address)
            except OSError as failed:
                error = failed
                if not bound:
                    sock.close()
                continue
            sock.setblocking(False)
            self._sock, self._state, self._ended = sock, State.CONNECTED, False
            self._host, self._port = host, port
            if wanted is not None:
                wanted.host, wanted.port = address[0], str(address[1])
            return
        if isinstance(error, ModemError):
            raise error
        if isinstance(error, TimeoutError):
            raise ModemTimeoutError("connecting took too long") from error
        raise ConnectError(str(error), number=error.errno) from error

    def bind(self, address, port):
        self._check_closed()
        family = socket.AF_INET6 if ":" in (address or "") else socket.AF_INET
        sock = self._made(family)
        try:
            sock.bind((address or ("::" if family == socket.AF_INET6 else "0.0.0.0"), int(port or 0)))
            if not self.datagram:
                sock.listen()
        except OSError as error:
            sock.close()
            raise ModemError(str(error), number=error.errno) from error
        sock.setblocking(False)
        self._sock, self._state = sock, State.BOUND

    def accept(self, *, timeout=5.0):
        if self._state is not State.BOUND or self._sock is None:
            raise ModemError("nobody listens here", number=errno.ENETDOWN)
        self._await(select.POLLIN, timeout)
        made = LoopbackSocket(datagram=self.datagram, configuration=self._configuration)
        if self.datagram:  # takes the bound descriptor over to whoever sent first; needs address reuse
            address = self._sock.recvfrom(0, socket.MSG_PEEK)[1]
            made._sock, own = self._sock, self._sock.getsockname()
            self._sock = self._made(made._sock.family)
            made._sock.connect(address)
            self._sock.bind(own)
            self._sock.setblocking(False)
        else:
            made._sock, address = self._sock.accept()
        made._sock.setblocking(False)
        made._state, made._host, made._port = State.ACCEPTED, address[0], str(address[1])
        return made

    def shutdown(self):
        if self._sock is None or self._state is State.CLOSED:
            raise ModemError("not open", number=errno.EBADF)
        with contextlib.suppress(ModemError):
            self._shut_names = (self.remote_host, self.remote_port, self.local_host, self.local_port)
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._state = State.SHUTDOWN

    def close(self, *, timeout=None):
        with self._lock:
            sock, self._sock = self._sock, None
            self._state, self._host, self._port, self._peeked = State.CLOSED, "", "", None
            self._shut_names = None
        if sock is not None:
            os.write(self._waker, b"x")
            sock.close()

    def cleanup(self):
        self.close()
        if not self._gone:
            self._gone = True
            os.close(self._waker)
            os.close(self._wake)

    # -- data ------------------------------------------------------------------------------------------------

    def _await(self, event: int, timeout: float | None) -> None:
        """Wait until the descriptor is ready; EBADF if it is closed meanwhile."""
        sock = self._sock
        if sock is None:
            raise ModemError("not open", number=errno.EBADF)
        poll = select.poll()
        poll.register(sock, event)
        poll.register(self._wake, select.POLLIN)
        ready = dict(poll.poll(None if timeout is None or timeout == math.inf else max(0, int(timeout * 1000 + 0.999))))
        if self._wake in ready:
            os.read(self._wake, 100)
        if self._sock is not sock:
            raise ModemError("closed meanwhile", number=errno.EBADF)
        if not ready:
            raise ModemTimeoutError("not in time")

    def check_sendable(self):
        if self._state is State.SHUTDOWN:
            raise ModemError("shut down", number=errno.EPIPE)
        if self._state not in OPEN or self._sock is None:
            raise ModemError("not connected", number=errno.EBADF)

    def send(self, data, *, timeout: float | Unset | None = UNSET):
        self.check_sendable()
        limit = DEFAULT_SEND_TIMEOUT if isinstance(timeout, Unset) else timeout
        pieces = [bytes(data)] if self.tamper is None else self.tamper(bytes(data))
        for piece in pieces:
            self.wire.append(piece)
            self._send(piece, limit)
        self._sent += len(data)

    def _send(self, data: bytes, limit: float | None) -> None:
        end = None if limit is None else time.monotonic() + limit
        view = memoryview(data)
        while True:
            try:
                count = self._sock.send(view)
            except BlockingIOError:
                self._await(select.POLLOUT, None if end is None else end - time.monotonic())
                continue
            except AttributeError:
                raise ModemError("closed meanwhile", number=errno.EBADF) from None
            except OSError as error:
                self._fail(error)
            view = view[count:]
            if not view or self.datagram:
                return

    def _fail(self, error: OSError) -> NoReturn:
        if error.errno in (errno.ECONNRESET, errno.EPIPE):
            raise SocketClosedError(str(error), number=error.errno) from error
        raise ModemError(str(error), number=error.errno) from error

    def send_to(self, data, host, port):
        if not self.datagram or self._state is not State.BOUND:
            raise ModemError("not a bound datagram socket", number=errno.EBADF)
        self._sock.sendto(data, resolve(host, int(port), self._kind())[0][1])
        self._sent += len(data)

    def receive(self, size, *, timeout: float | Unset | None = UNSET, peek=False):
        if self._sock is None or self._state in (State.CLOSED, State.BOUND):
            raise ModemError("not connected", number=errno.EBADF)
        limit = self._timeout if isinstance(timeout, Unset) else timeout
        return self._received_one(size, limit, peek=peek)[0]

    def receive_from(self, size, *, timeout: float | Unset | None = UNSET):
        if not self.datagram or self._sock is None:
            raise ModemError("not a bound datagram socket", number=errno.EBADF)
        limit = self._timeout if isinstance(timeout, Unset) else timeout
        data, address = self._received_one(size, limit, peek=False)
        return data, address[0], str(address[1])

    def _received_one(self, size: int, limit: float | None, *, peek: bool) -> tuple[bytes, tuple]:
        end = None if limit is None else time.monotonic() + limit
        while True:
            sock = self._sock
            if sock is None:
                raise ModemError("closed meanwhile", number=errno.EBADF)
            try:
                data, _, flags, address = sock.recvmsg(size, 0, socket.MSG_PEEK if peek else 0)
                break
            except BlockingIOError:
                if limit is not None and limit <= 0:
                    raise ModemTimeoutError("nothing there") from None
                self._await(select.POLLIN, None if end is None else max(0.0, end - time.monotonic()))
            except OSError as error:
                self._fail(error)
        if not peek:
            self._received += len(data)
        self._ended = self._ended or (not data and bool(size) and not self.datagram)
        if flags & socket.MSG_TRUNC:
            where = (address[0], str(address[1])) if address else None
            raise TruncatedError("truncated", data=data, address=where)
        return data, address or ("", 0)

    # -- questions ---------------------------------------------------------------------------------------------

    def get_opt(self, option):
        match option:
            case Option.STATE:
                return self._state
            case Option.RECV_TIMEOUT:
                return self._timeout
            case Option.BYTES_SENT:
                return self._sent
            case Option.BYTES_RECEIVED:
                return self._received
            case Option.HAS_BUFFERED_DATA:
                return False  # the descriptor tells everything
            case Option.ADDR_FAMILY:
                return AddressFamily.UNSPEC if self._sock is None else self._family()
            case Option.MTU:
                return self._mtu()
            case Option.INNER_MTU:
                if not self.datagram or self._sock is None:
                    return 0
                try:
                    mtu = self._mtu()
                except ModemError:
                    mtu = None
                return udp_inner(mtu, self._family())
            case Option.PREFERRED_ADDR_FAMILY:
                return self._preferred
            case Option.FORCED_ADDR_FAMILY:
                return self._forced
        raise ModemError(f"{option.name} cannot be read", number=errno.EINVAL)

    def _family(self) -> AddressFamily:
        return _NAMES[self._sock.family]

    def _mtu(self) -> int:
        if self._configuration.forced_mtu:
            return self._configuration.forced_mtu
        if self._sock is None or self._state not in OPEN:
            raise ModemError("not connected", number=errno.ENOTCONN)
        if self._sock.family == socket.AF_INET6:
            return self._sock.getsockopt(socket.IPPROTO_IPV6, _IPV6_MTU)
        return self._sock.getsockopt(socket.IPPROTO_IP, _IP_MTU)

    def set_opt(self, option, value):
        match option:
            case Option.RECV_TIMEOUT:
                self._timeout = check_receive_timeout(value)
            case Option.DTLS_HANDSHAKE_TIMEOUTS:
                raise ModemError("not secure", number=errno.EBADF)
            case Option.PREFERRED_ADDR_FAMILY | Option.FORCED_ADDR_FAMILY if isinstance(value, AddressFamily):
                if option is Option.FORCED_ADDR_FAMILY:
                    self._forced = value
                else:
                    self._preferred = value
            case _:
                raise ModemError(f"{option.name} cannot be set", number=errno.EINVAL)

    @property
    def state(self):
        return self._state

    @property
    def system(self) -> Pollable | None:
        return self._sock

    def _name(self, which: int, call: str) -> str:
        if self._shut_names is not None:
            return self._shut_names[which]
        if self._sock is None:
            raise ModemError("not open", number=errno.EBADF)
        try:
            text = str(getattr(self._sock, call)()[which % 2])
        except OSError as error:
            raise ModemError(str(error), number=errno.EBADF) from error
        if which % 2:
            return text
        mapped = getattr(ipaddress.ip_address(text), "ipv4_mapped", None)
        return str(mapped or text)

    @property
    def remote_host(self):
        return self._name(0, "getpeername")

    @property
    def local_host(self):
        return self._name(2, "getsockname")

    @property
    def local_port(self):
        return self._name(3, "getsockname")

    @property
    def interface_name(self):
        if self._configuration.interface:
            return self._configuration.interface
        if self._sock is None:
            raise ModemError("not open", number=errno.EBADF)
        return "lo"

    def _associated(self, value: str) -> str:
        if self._state in (State.CLOSED, State.BOUND):
            raise ModemError("not open", number=errno.EBADF)
        if not value or len(value) > 255:
            raise ModemError("not known", number=errno.ENOBUFS)
        return value

    @property
    def remote_hostname(self):
        return self._associated(self._host)

    @property
    def remote_port(self):
        return self._associated(self._port)

    @property
    def end_authenticated(self):
        return False if self._ended else None

    # -- for adapters --------------------------------------------------------------------------------------------

    def watch(self, callback):
        pass  # nobody waits here without a descriptor

    @property
    def ready(self):
        if self._sock is None:
            return True
        return bool(select.select([self._sock], [], [], 0)[0])

    @property
    def unread(self):
        return self._sock is not None and self.ready

    def take(self, size, *, peek=False):
        try:
            return self.receive(size, timeout=0, peek=peek)
        except ModemTimeoutError:
            return None

    def offer(self, piece):
        self.check_sendable()
        try:
            count = self._sock.send(piece)
        except BlockingIOError:
            return 0
        self._sent += count
        return count

    def read_ahead(self, window):
        return False  # the kernel does

    @property
    def poll_period(self):
        return None

    def poll_again(self):
        pass

    @property
    def send_limit(self):
        return 65536
