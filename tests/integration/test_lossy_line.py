"""A line that loses a byte where it hurts most, and reports at every place: what arrives is right, or nothing does."""

from __future__ import annotations

import contextlib
import threading

import pytest

import modemtls
from modemtls.at import reactor
from modemtls.sim import embedded
from modemtls.sim.options import Options
from tests.support import servers

BAUDRATE = 460800  # of the lines on which time matters
QUICK = ["start=running", "registration-time=0.02", "pdp-time=0"]
OK = b"\r\n\r\nOK\r\n"


class Peer:
    """The far end of one connection, which the test speaks for."""

    def __init__(self, stack):
        self.got = bytearray()
        self._there = threading.Event()
        self._news = threading.Condition()
        self.port = stack.enter_context(servers.tls_service(None, self._serve))

    def _serve(self, stream):
        self._stream = stream
        self._there.set()
        with contextlib.suppress(OSError):
            while data := stream.recv(65536):
                with self._news:
                    self.got += data
                    self._news.notify_all()

    def hears(self, data):
        """Whether exactly this arrives."""
        with self._news:
            self._news.wait_for(lambda: len(self.got) >= len(data), 5)
        return bytes(self.got) == data

    def says(self, data):
        assert self._there.wait(5)
        self._stream.sendall(data)


class Rig:
    """A simulated modem with a connection to each of two peers: nobody's in particular, and one that means harm."""

    def __init__(self, stack, *receive, **options):
        self.sim = stack.enter_context(embedded.open("quectel-bg95", Options.build(variants=QUICK, **options)))
        self.modem = stack.enter_context(modemtls.open(self.sim.path, baudrate=BAUDRATE, apn="iot.example"))
        self.peers = [Peer(stack) for _ in receive]
        self.sockets = []
        for number, how in enumerate(receive):
            self.sim.map(f"peer{number}.example=127.0.0.1:{self.peers[number].port}")
            sock = stack.enter_context(
                self.modem.connect((f"peer{number}.example", 7), tls=None, timeout=10, receive=how)
            )
            sock.settimeout(5)
            self.sockets.append(sock)

    def loses(self, offset, count=1):
        """Have bytes lost, so far behind the next that the modem sends."""
        self.plan("loss", offset, count)

    def plan(self, kind, offset, argument):
        sent = self.sim.call(lambda machine: machine.outlet.count)
        self.sim.fault(f"{kind}@byte {sent + 1 + offset}:{argument}")

    def hears(self, number, data):
        """Have a peer say something, and wait until the modem has given notice of it, with nothing left to ask."""
        channel = self.modem.attached.channel
        link = self.sockets[number].connection._link
        while link.read_ahead(1):
            pass
        assert not link.slot.data_pending
        self.peers[number].says(data)
        assert channel.wait(lambda: link.slot.data_pending, channel.clock() + 5)


@pytest.fixture
def rig():
    with contextlib.ExitStack() as stack:
        yield lambda *receive, **options: Rig(stack, *receive, **options)


def drain(sock):
    """Receive nothing that the peer has not said, until there is an end or an error."""
    while data := sock.recv(4096):
        assert data.strip(b"x") == b""


def forged(size, rest):
    """So much data of which a tenth is all that is read, if the last digit of its length is lost."""
    return b"x" * (size // 10) + rest + b"y" * (size - size // 10 - len(rest))


@pytest.mark.parametrize("paced", [None, BAUDRATE])
def test_a_peer_speaks_for_no_other_although_a_digit_of_a_length_is_lost(rig, paced):
    one = rig("buffered", "buffered", baud=paced)
    good, evil = one.sockets
    answer = b"\r\n+QIRD: 5\r\nEVIL!" + OK
    one.hears(1, forged(1500, OK + b"\r\n" * 300 + answer))
    one.hears(0, b"GOOD")
    one.loses(len(b"\r\n+QIRD: 150"))
    assert evil.recv(4096) == b"x" * 150
    assert good.recv(4096) == b"GOOD"
    with pytest.raises(ConnectionError, match="lost on the line"):
        evil.recv(4096)
    one.peers[0].says(b"and more")
    assert good.recv(4096) == b"and more"


@pytest.mark.parametrize(
    "report",
    [b'\r\n+QIURC: "recv",0,5\r\nEVIL!\r\n', b'\r\n+QIURC: "closed",0\r\n'],
    ids=["data", "end"],
)
def test_nor_does_it_in_what_is_pushed_to_the_other(rig, report):
    one = rig("push", "buffered")
    good, evil = one.sockets
    one.peers[0].says(b"GOOD")
    assert good.recv(100) == b"GOOD"
    one.hears(1, forged(1500, OK + report))
    one.loses(len(b"\r\n+QIRD: 150"))
    assert evil.recv(4096) == b"x" * 150
    with pytest.raises(ConnectionError, match=r"lost on the line"):
        evil.recv(4096)
    with pytest.raises(ConnectionError, match=r"lost on the line"):  # it may have been real
        good.recv(100)


def test_a_rest_of_pushed_data_that_is_no_report_gives_all_of_it_away(rig):
    one = rig("push", "push")
    good, evil = one.sockets
    one.loses(len(b'\r\n+QIURC: "recv",1,146'))
    one.peers[1].says(forged(1460, b'\r\n+QIURC: "recv",0,5\r\nEVIL!\r\n'))
    with pytest.raises(ConnectionError, match=r"lost on the line"):
        drain(evil)
    with pytest.raises(ConnectionError, match=r"lost on the line"):
        good.recv(100)


def test_two_bytes_lost_from_what_is_pushed_are_not_replaced_by_the_line_end_behind_it(rig):
    one = rig("push")
    (sock,) = one.sockets
    for number in range(5):
        one.peers[0].says(b"block %d;" % number)
        assert sock.recv(100) == b"block %d;" % number
    push = b'\r\n+QIURC: "recv",0,8\r\nblock 5;\r\n'
    sent = one.sim.call(lambda machine: machine.outlet.count)
    one.loses(push.index(b"ock"), 2)
    one.peers[0].says(b"block 5;")
    one.sim.until(lambda machine: machine.outlet.count >= sent + len(push))
    one.peers[0].says(b"block 6;")
    with pytest.raises(ConnectionError, match="lost on the line"):
        drain(sock)


def test_data_that_the_modem_took_for_commands_is_not_taken_for_sent(rig, monkeypatch):
    """A digit of the size is lost on the way to the modem."""
    one = rig("buffered", "buffered")
    sock = one.sockets[0]
    write = reactor._write
    monkeypatch.setattr(reactor, "_write", lambda fd, data: _lossy(write, fd, data, b",1460\r", b",146\r"))
    # What the modem answers to the rest may also be taken for the answer to the next piece.
    with pytest.raises(modemtls.ModemError, match=r"data for commands|may be incomplete|ERROR"):
        sock.sendall((b"\r\nAT+QFDEL=*\r\n" * 200)[:2000])
    monkeypatch.undo()
    with pytest.raises(ConnectionError):
        sock.sendall(b"more")
    assert len(one.peers[0].got) <= 146
    one.peers[0].says(b"heard all the same")
    assert sock.recv(100) == b"heard all the same"
    one.sockets[1].sendall(b"another")
    one.peers[1].says(b"works")
    assert one.sockets[1].recv(100) == b"works"


def _lossy(write, fd, data, old, new):
    write(fd, bytes(data).replace(old, new))
    return len(data)


HEADER = b"\r\n+QIRD: 6\r\n"
REPORTS = {
    "data": '+QIURC: "recv",1',
    "data in it": '+QIURC: "recv",2,3\r\nabc\r\n',
    "end": '+QIURC: "closed",1',
    "registration": "+CEREG: 1",
    "other context": '+QIURC: "pdpdeact",3',
    "of nobody": '+QIURC: "closed",9',
    "unknown": "+XNEW: 1,2",
}


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_a_report_at_any_place_between_the_lines_of_an_answer_harms_nothing(rig, report):
    one = rig("buffered", "buffered", "push")
    sock, peer = one.sockets[0], one.peers[0]
    places = [0, len(HEADER) + len(b"abcdef\r\n"), len(HEADER) + len(b"abcdef" + OK)]
    for number, place in enumerate(places):
        word = b"word %d" % number
        one.hears(0, word)
        one.plan("urc", place, report)
        assert sock.recv(100) == word, place
    for number, place in enumerate([0, len(b"\r\n> "), len(b"\r\n> \r\nSEND OK\r\n")]):
        one.plan("urc", place, report)
        sock.sendall(b"%d" % number)
    peer.says(b"the end")
    assert sock.recv(100) == b"the end"
    assert peer.hears(b"012")
    if "abc" in report:
        one.sockets[2].settimeout(1)
        assert b"".join(one.sockets[2].recv(3) for _ in range(6)) == b"abc" * 6
