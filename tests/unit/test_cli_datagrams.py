"""connect --dtls without a modem: lines of stdin to a DTLS server on this machine, what it answers to stdout."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator

import pytest

from modemtls.cli.datagrams import exchange
from modemtls.errors import ModemError
from modemtls.host import HostSocket
from modemtls.net import Psk, SocketConfiguration, SslConfiguration
from modemtls.tlsengine import Settings
from tests.support.dtls import DtlsEcho
from tests.support.loopback import LoopbackSocket

KEY = SslConfiguration(security=Psk(b"gateway", b"0123456789abcdef"), socket=SocketConfiguration(forced_mtu=1280))


@pytest.fixture
def server() -> Iterator[DtlsEcho]:
    with DtlsEcho(Settings(server=True, datagram=True, psks={b"gateway": b"0123456789abcdef"})) as made:
        yield made


@pytest.fixture
def sock(server: DtlsEcho) -> Iterator[HostSocket]:
    with HostSocket(KEY, LoopbackSocket(datagram=True)) as made:
        made.connect("server.example", str(server.port), timeout=5)
        yield made


@pytest.fixture
def stdin() -> Iterator[tuple[int, int]]:
    """What is read, and what a user writes to."""
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            pass


class Typing:
    """A user who writes something as soon as so many datagrams have come, and then no more."""

    def __init__(self, end: int, *pieces: bytes) -> None:
        self.end, self.pieces, self.got = end, list(pieces), []
        self()

    def __call__(self, data: bytes | None = None) -> None:
        if data is not None:
            self.got.append(data)
        if self.pieces:
            os.write(self.end, self.pieces.pop(0))
        elif self.end is not None:
            os.close(self.end)
            self.end = None


def test_each_line_is_a_datagram_and_each_datagram_is_written_as_it_is(server, sock, stdin) -> None:
    read, write = stdin
    got: list[bytes] = []
    os.write(write, b"one\n\n two \r\n\xff\x00\x1a> OK\n\nlast")
    os.close(write)
    assert exchange(sock, read, got.append, 0.2) == "closed: nothing came for 0.2 s"
    assert server.heard == [b"one", b" two \r", b"\xff\x00\x1a> OK", b"last"]
    assert got == server.heard


def test_a_line_is_sent_when_it_is_complete_and_answered_while_stdin_is_open(server, sock, stdin) -> None:
    read, write = stdin
    typing = Typing(write, b"fir", b"ird\n", b"fourth")
    threading.Timer(0.05, os.write, (write, b"st\nsecond\nth")).start()
    assert exchange(sock, read, typing, 0.2).startswith("closed: nothing")
    assert typing.got == [b"first", b"second", b"third", b"fourth"]


def test_it_goes_on_while_something_comes(server, sock, stdin) -> None:
    read, write = stdin
    os.close(write)
    got: list[bytes] = []

    def more(data: bytes) -> None:
        got.append(data)
        if len(got) < 5:
            threading.Timer(0.15, sock.send, (b"%d" % len(got),)).start()

    sock.send(b"0")
    assert exchange(sock, read, more, 0.4) == "closed: nothing came for 0.4 s"
    assert got == [b"0", b"1", b"2", b"3", b"4"]


def test_the_peers_end_ends_it_although_stdin_is_open(server, sock, stdin) -> None:
    read, write = stdin
    os.write(write, b"x\n")
    got: list[bytes] = []

    def take(data: bytes) -> None:
        got.append(data)
        server.close_all()

    assert exchange(sock, read, take, 5) == "closed by the peer"
    assert got == [b"x"]


def test_a_line_that_is_no_datagram_is_an_error_after_what_had_come(server, sock, stdin) -> None:
    read, write = stdin
    typing = Typing(write, b"short\n", b"y" * 3000 + b"\nnever\n")
    with pytest.raises(ModemError, match="3000 bytes do not fit into one datagram"):
        exchange(sock, read, typing, 5)
    assert typing.got == [b"short"]


class Failing(HostSocket):
    """Fails with one line, when something has come that nobody has read; notes what it is given."""

    def send(self, data, **options):
        given.append(data)
        super().send(data, **options)
        if data == b"bad":
            assert select.select([self.system], [], [], 5)[0]
            raise ModemError("the network is gone")


given: list[bytes] = []


def test_what_had_come_is_written_before_a_failure_is_told(server, stdin) -> None:
    read, write = stdin
    got: list[bytes] = []
    os.write(write, b"\n\nbad\n")
    given.clear()
    with Failing(KEY, LoopbackSocket(datagram=True)) as sock:
        sock.connect("server.example", str(server.port), timeout=5)
        with pytest.raises(ModemError, match="the network is gone"):
            exchange(sock, read, got.append, 5)
    assert (given, got) == ([b"bad"], [b"bad"])


def test_a_line_without_end_is_an_error_and_not_kept(sock, stdin) -> None:
    read, write = stdin
    endless = threading.Thread(target=_write_all, args=(write, bytes(100_000)), daemon=True)
    endless.start()
    with pytest.raises(OSError, match="a line of more than 65535 bytes"):
        exchange(sock, read, lambda _: None, 5)
    os.close(read)  # the writer hears of it
    endless.join(5)


def _write_all(end: int, data: bytes) -> None:
    try:
        while data:
            data = data[os.write(end, data) :]
    except OSError:
        pass


def test_a_broken_output_is_an_error_of_its_own(server, sock, stdin) -> None:
    read, write = stdin
    os.write(write, b"x\n")

    def broken(_: bytes) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        exchange(sock, read, broken, 5)


class Quiet(LoopbackSocket):
    """A transport that gives no notice, so that it has to be asked; as some modems are."""

    asked = 0
    pending = False

    system = None

    @property
    def poll_period(self) -> float | None:
        return 0.05

    @property
    def unread(self) -> bool:
        return self.pending

    def poll_again(self) -> None:
        self.asked += 1
        self.pending = True

    def receive(self, size, **options):
        try:
            return super().receive(size, **options)
        finally:
            self.pending = False


def test_a_modem_that_gives_no_notice_is_asked_in_its_period(server, stdin) -> None:
    read, write = stdin
    got: list[bytes] = []
    os.write(write, b"x\n")
    os.close(write)
    lower = Quiet(datagram=True)
    with HostSocket(KEY, lower) as sock:
        sock.connect("server.example", str(server.port), timeout=5)
        assert exchange(sock, read, got.append, 0.3).startswith("closed: nothing")
    assert got == [b"x"]
    assert 3 <= lower.asked <= 12
