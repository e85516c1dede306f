"""A simulated u-blox module ready for sockets, and what tests of it do over and over."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

import pytest

from modemtls.sim.harness import Harness
from tests.support.pki import Leaf, Pki
from tests.support.servers import echo, tls_service

R4, R5 = "ublox-sara-r4", "ublox-sara-r5"
OK = b"\r\nOK\r\n"
ERROR = b"\r\nERROR\r\n"
PATIENCE = 5.0


def cme(number: int) -> bytes:
    return b"\r\n+CME ERROR: %d\r\n" % number


def line(text: str) -> bytes:
    return b"\r\n" + text.encode() + b"\r\n" + OK


class Module(Harness):
    """Echo off, errors in numbers, a context that sockets can use."""

    def __init__(self, model: str = R5, *variants: str, ready: bool = True, **options) -> None:
        super().__init__(model, variants=variants, **options)
        self._mapped = any("R422" in variant for variant in variants)
        self._model = model
        if ready:
            self.make_ready()

    def make_ready(self) -> None:
        """Echo off, errors in numbers, a context that sockets can use."""
        self.command("ATE0")
        self.command("AT+CMEE=1")
        if self._model == R5:
            self.command("AT+UPSD=0,100,1")
            assert self.command("AT+UPSDA=0,3") == OK
            self.advance(0.1)
            assert b"+UUPSDA: 0," in self.read()
        elif self._mapped:
            self.ok("AT+CGACT=1,1", "AT+UPSD=0,100,1")

    def ok(self, *commands: str) -> None:
        for command in commands:
            answer = self.command(command)
            assert answer == OK, (command, answer)

    def until_quiet(self, limit: float = 0.2) -> bytes:
        """What comes by itself within so much time of the module's."""
        out = b""
        end = self.loop.now() + limit
        while self.loop.now() < end:
            if not self.loop.poll(0.001):
                self.loop.advance(0.005)
            out += self.read()
        return out

    def ask(self, command: str, awaited: bytes) -> bytes:
        """Send a command that waits for a peer; returns all up to what is awaited."""
        self.write(command.encode() + b"\r")
        return self.expect(awaited, limit=PATIENCE)

    def open(self, host: str, port: int, *, protocol: int = 6, profile: int | None = None, number: int = 0) -> bytes:
        """Create, secure and connect socket ``number``; returns what the connect answered."""
        assert self.command(f"AT+USOCR={protocol}") == line(f"+USOCR: {number}")
        if profile is not None:
            self.ok(f"AT+USOSEC={number},1,{profile}")
        self.write(f'AT+USOCO={number},"{host}",{port}\r'.encode())
        return self.settle(lambda out: b"OK\r\n" in out or b"ERROR" in out, limit=PATIENCE)

    def store(self, kind: int, name: str, data: bytes) -> bytes:
        """Import something; returns the answer behind the prompt."""
        assert self.command(f'AT+USECMNG=0,{kind},"{name}",{len(data)}', limit=0) == b"\r\n>"
        self.write(data)
        return self.read()

    def send(self, number: int, data: bytes) -> bytes:
        """Write in binary; returns the answer behind the prompt."""
        assert self.command(f"AT+USOWR={number},{len(data)}", limit=0) == b"\r\n@"
        self.write(data)
        said = self.read()
        final = re.search(rb"\r\n(OK|ERROR|\+CME ERROR: \d+)\r\n", said)
        assert final, said
        self._line.out[:0] = said[final.end() :]  # what the peer has answered already
        return said[: final.end()]


@contextlib.contextmanager
def plain(serve: Callable[[socket.socket], object] = echo) -> Iterator[int]:
    with tls_service(None, serve) as port:
        yield port


class Peer:
    """A TCP server of one connection, driven step by step."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE)
        self.port = int(self._listener.getsockname()[1])
        self._stream: socket.socket | None = None

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        if self._stream is not None:
            self._stream.close()

    @property
    def stream(self) -> socket.socket:
        if self._stream is None:
            self._stream, _ = self._listener.accept()
            self._stream.settimeout(PATIENCE)
            self._stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._stream

    def receive(self, count: int) -> bytes:
        out = b""
        while len(out) < count:
            more = self.stream.recv(count - len(out))
            if not more:
                break
            out += more
        return out

    def reset(self) -> None:
        import struct

        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.close()


class Seen:
    """What a TLS server saw."""

    def __init__(self) -> None:
        self.names: list[str | None] = []
        self.versions: list[str | None] = []
        self.ciphers: list[str] = []
        self.clients: list[object] = []
        self.resumed: list[bool | None] = []
        self.changed = threading.Condition()


@contextlib.contextmanager
def tls(
    leaf: Leaf,
    *,
    client_ca: Pki | None = None,
    ciphers: str = "",
    least: ssl.TLSVersion | None = None,
    most: ssl.TLSVersion | None = None,
    serve: Callable[[socket.socket], object] = echo,
) -> Iterator[tuple[int, Seen]]:
    seen = Seen()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert, leaf.key)
    if client_ca is not None:
        context.load_verify_locations(client_ca.ca)
        context.verify_mode = ssl.CERT_REQUIRED
    if ciphers:
        context.set_ciphers(ciphers)
    if least is not None:
        context.minimum_version = least
    if most is not None:
        context.maximum_version = most
    context.sni_callback = lambda _, name, __: seen.names.append(name)  # type: ignore[assignment]

    def one(stream: socket.socket) -> None:
        assert isinstance(stream, ssl.SSLSocket)
        cipher = stream.cipher()
        with seen.changed:
            seen.clients.append(stream.getpeercert())
            seen.ciphers.append(cipher[0] if cipher else "")
            seen.resumed.append(stream.session_reused)
            seen.versions.append(stream.version())
            seen.changed.notify_all()
        serve(stream)

    with tls_service(context, one) as port:
        yield port, seen


@pytest.fixture(name="start")
def start_fixture() -> Iterator[Callable[..., Module]]:
    """Start modules that end with the test: model, variants, options of the harness."""
    running: list[Module] = []

    def make(model: str = R5, *variants: str, **options) -> Module:
        made = Module(model, *variants, **options)
        running.append(made)
        return made

    yield make
    for one in running:
        one.close()


@contextlib.contextmanager
def linked(made: Module) -> Iterator[Peer]:
    """Socket 0, connected."""
    with Peer() as peer:
        assert made.open("127.0.0.1", peer.port) == OK
        assert peer.stream
        yield peer


@contextlib.contextmanager
def udp() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(PATIENCE)
        yield made
