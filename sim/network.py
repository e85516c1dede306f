"""The network behind the modem: names, TCP and UDP, on loopback unless a map says otherwise."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from modemtls.sim.loop import Loop, Timer
    from modemtls.sim.options import NameMap
    from modemtls.sim.trace import Trace
    from modemtls.sim.weather import Weather

__all__ = ["LOOPBACK", "Datagrams", "Listener", "Network", "Stream"]

LOOPBACK, LOOPBACK_6 = "127.0.0.1", "::1"
_CARRIED = {"IP": (False,), "IPV6": (True,), "IPV4V6": (False, True)}  # whether IPv6, by PDP type
READ_SIZE = 16384
_IN_PROGRESS = {errno.EINPROGRESS, errno.EWOULDBLOCK}


class Network:
    """Resolves what the host asks for and opens sockets to where it is mapped."""

    def __init__(self, loop: Loop, maps: Sequence[NameMap], trace: Trace, weather: Weather) -> None:
        self._loop = loop
        self.weather = weather
        self._maps = list(maps)
        self._trace = trace
        self._sockets: set[Stream | _Bound] = set()

    def map(self, entry: NameMap) -> None:
        """Add a mapping; a later one for the same name and port wins."""
        self._maps.insert(0, entry)

    def address(self, name: str, kind: str = "IPV4V6") -> str | None:
        """Return the address that the modem would show for ``name``; ``None`` if there is none for it.

        ``kind`` is the PDP type of the context (27.007, 10.1.1): a network carries no other addresses over it. Names
        have IPv4 addresses here unless they are mapped to an IPv6 one.
        """
        address = self._address(name)
        return address if address is not None and (":" in address) in _CARRIED.get(kind, ()) else None

    def _address(self, name: str) -> str | None:
        try:
            return str(ipaddress.ip_address(name))
        except ValueError:
            pass
        lowered = name.lower().rstrip(".")
        for entry in self._maps:
            if entry.name == lowered:
                return LOOPBACK_6 if ":" in entry.host else LOOPBACK
        labels = lowered.split(".")
        fine = all(0 < len(label) < 64 and label.replace("-", "").replace("_", "").isalnum() for label in labels)
        if not fine or not lowered.isascii() or labels[-1] == "invalid":  # RFC 6761, 6.4
            return None
        return LOOPBACK

    def target(self, name: str, port: int) -> tuple[str, int]:
        """Return where a connection to ``name`` really goes: the map, else the same port on loopback."""
        lowered = name.lower().rstrip(".")
        for exact in (True, False):
            for entry in self._maps:
                if entry.name == lowered and (entry.port == port if exact else entry.port is None):
                    return entry.host, entry.to_port
        return LOOPBACK_6 if ":" in name else LOOPBACK, port

    def connect(self, name: str, port: int, local_port: int = 0) -> Stream:
        """Start a TCP connection; its outcome is reported through the stream's callbacks."""
        host, to_port = self.target(name, port)
        self._trace.note(f"TCP to {name}:{port} goes to {host}:{to_port}")
        stream = Stream(self._loop, self, None)
        self._sockets.add(stream)
        stream.open(host, to_port, local_port)
        return stream

    def datagrams(self, local_port: int) -> Datagrams:
        """Open a UDP socket; raises :class:`OSError`."""
        opened = Datagrams(self._loop, self, local_port)
        self._sockets.add(opened)
        return opened

    def listen(self, local_port: int, accepted: Callable[[Stream, str, int], None]) -> Listener:
        """Listen for TCP on loopback; raises :class:`OSError`."""
        listener = Listener(self._loop, self, local_port, accepted)
        self._sockets.add(listener)
        return listener

    def adopt(self, sock: socket.socket) -> Stream:
        """Wrap an accepted socket."""
        stream = Stream(self._loop, self, sock)
        self._sockets.add(stream)
        return stream

    def forget(self, item: Stream | _Bound) -> None:
        """Drop a closed socket from the list."""
        self._sockets.discard(item)

    def close(self) -> None:
        """Abort everything."""
        for item in list(self._sockets):
            item.abort()


class Stream:
    """A TCP connection without blocking. Set the callbacks right after creation."""

    def __init__(self, loop: Loop, network: Network, sock: socket.socket | None) -> None:
        self._loop, self._network = loop, network
        self._socket = sock
        self._out = bytearray()
        self._connected = sock is not None
        self._paused = True
        self._shut = False
        self._ended = False
        self._timer: Timer | None = None
        self.sent = 0
        self.error = 0  # errno of what ended it or kept it from opening
        self.on_connect: Callable[[str | None], None] = lambda _: None
        self.on_data: Callable[[bytes], None] = lambda _: None
        self.on_end: Callable[[str | None], None] = lambda _: None  # None: orderly; else the reason
        self.on_room: Callable[[], None] = lambda: None
        if sock is not None:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def open(self, host: str, port: int, local_port: int = 0) -> None:
        """Start connecting; the result is reported from the loop, never from here."""
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            host = str(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0][4][0])
            self._socket = socket.socket(family, socket.SOCK_STREAM)
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if local_port:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self._socket.bind(("", local_port))
            code = self._socket.connect_ex((host, port))
        except OSError as error:
            text = str(error)
            self.error = error.errno or errno.EHOSTUNREACH
            self._timer = self._loop.call_later(0, lambda: self.on_connect(text))
            return
        if code and code not in _IN_PROGRESS:
            self.error = code
            self._timer = self._loop.call_later(0, lambda: self.on_connect(os.strerror(code)))
            return
        self._loop.watch(self._socket.fileno(), None, self._connect_done)

    def _connect_done(self) -> None:
        assert self._socket is not None
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._loop.unwatch(self._socket.fileno())
        if code:
            self.error = code
            self.on_connect(os.strerror(code))
            return
        self._connected = True
        self._paused = False
        self._arm()
        self.on_connect(None)

    @property
    def local_port(self) -> int:
        """The port on our side, 0 while unknown."""
        try:
            return int(self._socket.getsockname()[1]) if self._socket is not None else 0
        except OSError:
            return 0

    @property
    def unsent(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return len(self._out)

    @property
    def ended(self) -> bool:
        """Whether the peer has ended the connection."""
        return self._ended

    def unacknowledged(self) -> int:
        """Bytes that the peer has not acknowledged (Linux SIOCOUTQ), ours included."""
        import fcntl
        import struct
        import termios

        if self._socket is None:
            return len(self._out)
        try:
            return int(struct.unpack("i", fcntl.ioctl(self._socket, termios.TIOCOUTQ, b"\0" * 4))[0]) + len(self._out)
        except OSError:
            return len(self._out)

    def pause(self) -> None:
        """Stop reading."""
        if not self._paused:
            self._paused = True
            self._arm()

    def resume(self) -> None:
        """Read on."""
        if self._paused:
            self._paused = False
            self._arm()

    def write(self, data: bytes) -> None:
        """Send ``data`` sooner or later."""
        if self._socket is None or self._shut:
            return
        self._out += data
        self.sent += len(data)
        if self._connected:
            self._flush()

    def finish(self) -> None:
        """Send what is left, then a FIN."""
        self._shut = True
        if self._connected:
            self._flush()

    def abort(self) -> None:
        """Close at once; nothing is reported any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()
            self._socket = None
        self._ended = True
        self._out.clear()
        self._network.forget(self)

    def _arm(self) -> None:
        if self._socket is None or not self._connected:
            return
        readable = None if self._paused or self._ended else self._readable
        self._loop.watch(self._socket.fileno(), readable, self._flush if self._out else None)

    def _flush(self) -> None:
        if self._socket is None:
            return
        had = bool(self._out)
        try:
            while self._out:
                count = self._socket.send(self._out)
                del self._out[:count]
        except BlockingIOError:
            pass
        except OSError as error:
            self._out.clear()
            self.error = error.errno or errno.EIO
            self._end(str(error))
            return
        if self._shut and not self._out:
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        self._arm()
        if had and not self._out:
            self.on_room()

    def _readable(self) -> None:
        """Take what has come, and the end if it came with it: a modem is told of both at once."""
        data = self._look(READ_SIZE)
        if data:
            self.on_data(data)
            if not self._paused and not self._ended:
                data = self._look(1, socket.MSG_PEEK)
        if data == b"":
            self._end(None)

    def _look(self, size: int, flags: int = 0) -> bytes | None:
        """Return what is there, ``None`` if nothing is, or if the connection broke, which is told."""
        assert self._socket is not None
        try:
            return self._socket.recv(size, flags)
        except BlockingIOError:
            return None
        except OSError as error:
            self.error = error.errno or errno.EIO
            self._end(str(error))
            return None

    def _end(self, why: str | None) -> None:
        if self._ended:
            return
        self._ended = True
        self._arm()
        self.on_end(why)


class _Bound(ABC):
    """A socket bound to a port of loopback, and what the loop does when it is readable. Raises :class:`OSError`."""

    def __init__(self, loop: Loop, network: Network, kind: socket.SocketKind, local_port: int) -> None:
        self._loop, self._network = loop, network
        self._socket: socket.socket | None = socket.socket(socket.AF_INET, kind)
        try:
            self._socket.setblocking(False)
            self._bind(self._socket, (LOOPBACK, local_port))
        except OSError:
            self._socket.close()
            raise
        loop.watch(self._socket.fileno(), self._readable)

    @property
    def local_port(self) -> int:
        """The port on our side, 0 once it is closed."""
        return int(self._socket.getsockname()[1]) if self._socket is not None else 0

    def abort(self) -> None:
        """Close."""
        if self._socket is not None:
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()
            self._socket = None
        self._network.forget(self)

    def _bind(self, sock: socket.socket, address: tuple[str, int]) -> None:
        sock.bind(address)

    @abstractmethod
    def _readable(self) -> None:
        """Take what has come."""


class Datagrams(_Bound):
    """A UDP socket on loopback; its port of IPv6 is opened when something goes there."""

    def __init__(self, loop: Loop, network: Network, local_port: int) -> None:
        self.on_datagram: Callable[[bytes, str, int], None] = lambda *_: None
        self._six: socket.socket | None = None
        super().__init__(loop, network, socket.SOCK_DGRAM, local_port)

    def abort(self) -> None:
        """Close."""
        if self._six is not None:
            self._loop.unwatch(self._six.fileno())
            self._six.close()
            self._six = None
        super().abort()

    def _by(self, host: str) -> socket.socket | None:
        """Return the socket that reaches ``host``; raises :class:`OSError`."""
        if ":" not in host or self._socket is None:
            return self._socket
        if self._six is None:
            opened = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            try:
                opened.setblocking(False)
                opened.bind((LOOPBACK_6, self.local_port))
            except OSError:
                opened.close()
                raise
            self._six = opened
            self._loop.watch(opened.fileno(), lambda: self._take(opened))
        return self._six

    def send(self, data: bytes, host: str, port: int) -> bool:
        """Send one datagram; returns whether the kernel took it, or would have, had the network not lost or kept it."""
        return self._network.weather.carry("out", lambda: self._send(data, host, port))

    def _send(self, data: bytes, host: str, port: int) -> bool:
        try:
            by = self._by(host)
            if by is None:
                return False
            by.sendto(data, (host, port))
        except OSError:
            return False
        return True

    def _readable(self) -> None:
        assert self._socket is not None
        self._take(self._socket)

    def _take(self, sock: socket.socket) -> None:
        try:
            data, peer = sock.recvfrom(65536)
        except OSError:
            return  # an ICMP error of an earlier datagram
        self._network.weather.carry("in", lambda: self._deliver(data, str(peer[0]), int(peer[1])))

    def _deliver(self, data: bytes, host: str, port: int) -> bool:
        if self._socket is not None:
            self.on_datagram(data, host, port)
        return True


class Listener(_Bound):
    """A listening TCP socket on loopback."""

    def __init__(
        self, loop: Loop, network: Network, local_port: int, accepted: Callable[[Stream, str, int], None]
    ) -> None:
        self._accepted = accepted
        super().__init__(loop, network, socket.SOCK_STREAM, local_port)

    def _bind(self, sock: socket.socket, address: tuple[str, int]) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(16)

    def _readable(self) -> None:
        assert self._socket is not None
        try:
            sock, peer = self._socket.accept()
        except OSError:
            return
        self._accepted(self._network.adopt(sock), str(peer[0]), int(peer[1]))
