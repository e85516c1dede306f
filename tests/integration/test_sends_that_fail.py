"""SEND FAIL, now and then, in a storm, or for ever: nothing accepted is lost, nothing is sent twice, others go on."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import threading
import time

import pytest

import modemtls
from modemtls.sim import embedded
from modemtls.sim.options import Options
from tests.support import servers

PEER = "peer.example"
DATA = random.Random(7).randbytes(20_000)  # a piece that were sent twice, or not, would show


class Peer:
    """A server that keeps what it is sent."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.ended = threading.Event()
        self.go_away = threading.Event()

    def serve(self, stream: socket.socket) -> None:
        stream.settimeout(0.02)
        with contextlib.suppress(ConnectionError):
            while not self.go_away.is_set():
                with contextlib.suppress(TimeoutError):
                    data = stream.recv(65536)
                    if not data:
                        break
                    self.got += data
        self.ended.set()

    def gets(self, expected: bytes) -> bool:
        """Whether exactly this arrives, in time."""
        end = time.monotonic() + 10
        while len(self.got) < len(expected) and time.monotonic() < end:
            time.sleep(0.002)
        return bytes(self.got) == expected


@contextlib.contextmanager
def rig(*variants):
    """A modem, its simulation, and a connection to a peer."""
    peer = Peer()
    options = Options.build(variants=["start=running", "registration-time=0.02", "pdp-time=0", *variants])
    with (
        servers.tls_service(None, peer.serve) as port,
        embedded.open("quectel-bg95", options) as sim,
        modemtls.open(sim.path, apn="iot.example") as modem,
    ):
        sim.map(f"{PEER}=127.0.0.1:{port}")
        yield modem, sim, peer


def connect(modem):
    return modem.connect((PEER, 7), tls=None, timeout=10)


def shrink(machine):
    """Leave the kernel little room for what the simulated modem sends."""
    for connection in machine.personality.tcp.table.values():
        connection.transport.stream._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)


def calm(sim):
    """Let sends succeed again."""
    sim.call(lambda machine: setattr(machine, "send_failures", 0))


def failed(sim):
    return sum("SEND FAIL" in line for line in sim.trace)


def send_selecting(sock, data):
    sock.setblocking(False)
    view = memoryview(data)
    while view:
        assert select.select([], [sock], [], 10)[1]
        view = view[sock.send(view) :]
    sock.settimeout(10)


@pytest.mark.parametrize("send", [lambda sock, data: sock.sendall(data), send_selecting], ids=["blocking", "selecting"])
@pytest.mark.parametrize("every", [2, 3])
def test_every_so_manieth(send, every):
    with rig(f"send-fail-every={every}") as (modem, sim, peer):
        with connect(modem) as sock:
            send(sock, DATA)
        assert peer.gets(DATA)
        assert peer.ended.wait(5)
        assert failed(sim) >= 14 // every


@pytest.mark.parametrize("send", [lambda sock, data: sock.sendall(data), send_selecting], ids=["blocking", "selecting"])
def test_several_in_a_row_in_the_middle(send):
    with rig() as (modem, sim, peer), connect(modem) as sock:
        sock.sendall(DATA[:5000])
        sim.fault_now("sendfail", "3")
        send(sock, DATA[5000:])
        assert peer.gets(DATA)
        assert failed(sim) == 3


def test_all_fail_and_the_caller_has_no_more_time():
    """What had been accepted has arrived, what had not has not, and the stream goes on where it stopped."""
    with rig() as (modem, sim, peer), connect(modem) as sock:
        sock.sendall(b"before")
        sim.fault_now("sendfail", "100000")
        sock.settimeout(0.3)
        for _ in range(2):
            with pytest.raises(TimeoutError):
                sock.sendall(DATA)
        with pytest.raises(TimeoutError):
            sock.send(b"x")
        calm(sim)
        sock.sendall(b"behind")
        assert peer.gets(b"beforebehind")


def test_the_strict_socket_tells_how_much_was_accepted_before_it_failed():
    with rig() as (modem, sim, peer), connect(modem) as sock:
        # The third command from now is the third send: two pieces of 1460 are accepted.
        sim.fault(f"sendfail@command {len(sim.commands) + 3}:100000")
        with pytest.raises(modemtls.ModemTimeoutError, match="no room") as caught:
            sock.connection.send(DATA, timeout=0.3)
        assert caught.value.bytes_accepted == 2920
        calm(sim)
        sock.connection.send(DATA[2920:], timeout=10)
        assert peer.gets(DATA)


def test_what_a_selecting_sender_was_rid_of_waits_until_it_goes():
    with rig() as (modem, sim, peer), connect(modem) as sock:
        sim.fault_now("sendfail", "100000")
        sock.setblocking(False)
        count = sock.send(DATA)
        assert count > 0
        while select.select([], [sock], [], 0)[1]:
            count += sock.send(DATA[count:])
        with pytest.raises(BlockingIOError):
            sock.send(b"x")
        assert not select.select([sock], [], [], 0)[0]  # no error: it may yet go
        calm(sim)
        assert select.select([], [sock], [], 5)[1]
        assert peer.gets(DATA[:count])


def test_the_peer_goes_away_in_the_middle_of_the_storm():
    with rig() as (modem, sim, peer):
        sock = connect(modem)
        sock.settimeout(10)
        sim.fault_now("sendfail", "100000")
        threading.Timer(0.1, peer.go_away.set).start()
        began = time.monotonic()
        with pytest.raises(ConnectionError, match="closed"):
            sock.sendall(DATA)
        assert time.monotonic() - began < 5
        with pytest.raises(ConnectionError, match="closed"):
            sock.sendall(b"more")
        sock.close()
        assert bytes(peer.got) == b""
        calm(sim)
        peer.go_away.clear()
        with connect(modem) as again:
            again.sendall(b"again")
            assert peer.gets(b"again")


def test_closed_by_another_thread_in_the_middle_of_the_storm():
    with rig() as (modem, sim, peer):
        sock = connect(modem)
        sock.settimeout(10)
        sim.fault_now("sendfail", "100000")
        threading.Timer(0.1, sock.close).start()
        began = time.monotonic()
        with pytest.raises(OSError, match="closed"):
            sock.sendall(DATA)
        assert time.monotonic() - began < 5
        calm(sim)
        with connect(modem) as again:
            again.sendall(b"again")
            assert peer.gets(b"again")


def test_one_whose_peer_takes_nothing_does_not_hold_up_another():
    """A full buffer is the plain reason for SEND FAIL."""
    with rig("send-buffer=4000") as (modem, sim, peer), socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # it is full soon
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        sim.map(f"deaf.example=127.0.0.1:{deaf.getsockname()[1]}")
        stuck = modem.connect(("deaf.example", 7), tls=None, timeout=10)
        sim.call(shrink)
        stuck.setblocking(False)
        while not failed(sim):
            assert select.select([], [stuck], [], 10)[1]
            with contextlib.suppress(BlockingIOError):
                stuck.send(DATA)
        before, said, end = failed(sim), b"", time.monotonic() + 10
        with connect(modem) as sock:
            while len(said) < len(DATA) or failed(sim) == before:  # the other has its turns, a second apart at most
                assert time.monotonic() < end
                piece = DATA[len(said) % len(DATA) :][:1000]
                sock.sendall(piece)
                said += piece
                time.sleep(0.01)
            assert peer.gets(said)
        with deaf.accept()[0]:
            pass
        assert select.select([stuck], [], [], 5)[0]
        stuck.close()
