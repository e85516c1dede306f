"""What is between a client and its server on this machine: it cuts handshakes, and changes, drops or adds what passes.

A *flight* is what goes one way until something goes the other: the client's first is number 1, the server's answer 2.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

UP, DOWN = "up", "down"
Change = Callable[[str, int, bytes], list[bytes]]
"""Which way, which flight, and the bytes; what is to pass in their place."""


def let_pass(way: str, flight: int, data: bytes) -> list[bytes]:
    return [data]


class CutError(Exception):
    """Raised by a change: the connection is cut here, both ways; ``reset``: as by a host that has forgotten it."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__()
        self.reset = reset


class _Relay(threading.Thread, ABC):
    def __init__(self, port: int, kind: socket.SocketKind) -> None:
        super().__init__(daemon=True)
        self.change: Change = let_pass
        self.flights = 0
        """That the last connection has seen."""
        self.clients = 0
        self.arrived = threading.Semaphore(0)
        """Released by each piece that comes from a client."""
        self._to = ("127.0.0.1", port)
        self._front = socket.socket(socket.AF_INET, kind)
        self._front.bind(("127.0.0.1", 0))
        self.port: int = self._front.getsockname()[1]
        self._wake, self._waker = socket.socketpair()
        self._pairs: dict[socket.socket, socket.socket] = {}

    def __enter__(self) -> _Relay:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._waker.send(b"x")
        self.join(5)
        for one in (self._front, self._wake, self._waker, *self._pairs):
            one.close()

    def run(self) -> None:
        while True:
            ready = select.select([self._front, self._wake, *self._pairs], [], [])[0]
            if self._wake in ready:
                return
            for one in ready:
                with contextlib.suppress(OSError):
                    self._readable(one)

    @abstractmethod
    def _readable(self, one: socket.socket) -> None: ...


class StreamRelay(_Relay):
    """Of TCP connections, one after the other or at once; flights are counted for each."""

    def __init__(self, port: int) -> None:
        super().__init__(port, socket.SOCK_STREAM)
        self._front.listen()
        self._clients: set[socket.socket] = set()
        self._flight: dict[frozenset[socket.socket], tuple[str, int]] = {}

    def _readable(self, one: socket.socket) -> None:
        if one is self._front:
            client = self._front.accept()[0]
            server = socket.create_connection(self._to)
            self._pairs |= {client: server, server: client}
            self._clients.add(client)
            self.clients += 1
            return
        other = self._pairs.get(one)
        if other is None:
            return
        try:
            data = one.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._end(one, other)
            return
        way = UP if one in self._clients else DOWN
        pair = frozenset((one, other))
        before, number = self._flight.get(pair, ("", 0))
        self.flights = number + (way != before)
        self._flight[pair] = way, self.flights
        if way is UP:
            self.arrived.release()
        try:
            for piece in self.change(way, self.flights, data):
                other.sendall(piece)
        except CutError as cut:
            if cut.reset:
                for each in (one, other):
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._end(one, other)

    def _end(self, *both: socket.socket) -> None:
        for each in both:
            self._pairs.pop(each, None)
            self._clients.discard(each)
            each.close()


class DatagramRelay(_Relay):
    """Of datagrams; flights are counted for each client's address."""

    def __init__(self, port: int) -> None:
        super().__init__(port, socket.SOCK_DGRAM)
        self._servers: dict[tuple[str, int], socket.socket] = {}
        self._addresses: dict[socket.socket, tuple[str, int]] = {}
        self._flight: dict[tuple[str, int], tuple[str, int]] = {}

    def _readable(self, one: socket.socket) -> None:
        if one is self._front:
            data, address = one.recvfrom(65536)
            if address not in self._servers:
                made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                made.connect(self._to)
                self._servers[address], self._addresses[made] = made, address
                self._pairs[made] = self._front
                self.clients += 1
            self.arrived.release()
            self._pass(UP, address, data, self._servers[address].send)
        else:
            address = self._addresses[one]
            self._pass(DOWN, address, one.recv(65536), lambda piece: self._front.sendto(piece, address))

    def _pass(self, way: str, address: tuple[str, int], data: bytes, send: Callable[[bytes], object]) -> None:
        before, number = self._flight.get(address, ("", 0))
        self.flights = number + (way != before)
        self._flight[address] = way, self.flights
        with contextlib.suppress(CutError):
            for piece in self.change(way, self.flights, data):
                send(piece)

    def say(self, data: bytes) -> None:
        """Send something to every client, as if it came from the server."""
        for address in list(self._servers):
            self._front.sendto(data, address)


def relay(port: int, *, datagram: bool) -> StreamRelay | DatagramRelay:
    return DatagramRelay(port) if datagram else StreamRelay(port)


def silent_from(flight: int) -> Change:
    """Nothing passes from this flight on."""
    return lambda _, number, data: [data] if number < flight else []


def cut_at(flight: int, *, reset: bool = False) -> Change:
    """The connection ends in place of this flight."""

    def change(_: str, number: int, data: bytes) -> list[bytes]:
        if number >= flight:
            raise CutError(reset=reset)
        return [data]

    return change


def replaced(flight: int, by: bytes) -> Change:
    """Something else comes in place of this flight, and nothing after it."""
    done: list[bool] = []

    def change(_: str, number: int, data: bytes) -> list[bytes]:
        if number < flight:
            return [data]
        if number > flight or done:
            return []
        done.append(True)
        return [by]

    return change
