"""Sockets of the simulated modem against real peers on loopback: ids, modes, prompts, URCs, closing."""

from __future__ import annotations

import contextlib
import queue
import socket
import ssl
import time

import pytest

from modemtls.sim.harness import Harness
from tests.support.servers import tls_service

OK = b"\r\nOK\r\n"
ERROR = b"\r\nERROR\r\n"
PROMPT = b"\r\n> "
EVIL = b'\r\nOK\r\n\r\n+QSSLURC: "closed",0\r\n> +++\r\nERROR\r\n' + bytes(range(256))


class Peer:
    """The far end, steered by the test. `streams` gives each accepted connection."""

    def __init__(self) -> None:
        self.streams: queue.Queue[socket.socket] = queue.Queue()
        self.finished: queue.Queue[None] = queue.Queue()

    def serve(self, stream: socket.socket) -> None:
        self.streams.put(stream)
        self.finished.get(timeout=20)

    def accept(self) -> socket.socket:
        return self.streams.get(timeout=5)


class Family:
    """The words of one family of commands."""

    def __init__(self, tls: bool) -> None:
        self.tls = tls
        self.urc = b"+QSSLURC" if tls else b"+QIURC"
        self.opened = b"+QSSLOPEN" if tls else b"+QIOPEN"
        self.received = b"+QSSLRECV" if tls else b"+QIRD"
        self.send, self.read, self.close, self.state = (
            ("QSSLSEND", "QSSLRECV", "QSSLCLOSE", "QSSLSTATE=") if tls else ("QISEND", "QIRD", "QICLOSE", "QISTATE=1,")
        )

    def open(self, number: int = 0, mode: int = 0, host: str = "peer.example", port: int = 99, cid: int = 1) -> str:
        if self.tls:
            return f'AT+QSSLOPEN={cid},1,{number},"{host}",{port},{mode}'
        return f'AT+QIOPEN={cid},{number},"TCP","{host}",{port},0,{mode}'


@pytest.fixture(params=["tls", "tcp"])
def family(request) -> Family:
    return Family(request.param == "tls")


@pytest.fixture
def peer(family, pki):
    made = Peer()
    context = None
    if family.tls:
        leaf = pki.leaf("peer.example")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf.cert, leaf.key)
    with tls_service(context, made.serve) as port:
        made.port = port  # type: ignore[attr-defined]
        yield made
        for _ in range(20):
            made.finished.put(None)


@pytest.fixture
def start(peer):
    with contextlib.ExitStack() as stack:

        def make(*variants: str, echo: bool = False, **options) -> Harness:
            maps = [f"peer.example=127.0.0.1:{peer.port}"]
            modem = stack.enter_context(Harness(variants=variants, maps=maps, **options))
            if not echo:
                modem.command("ATE0")
            modem.command("AT+QIACT=1")
            return modem

        yield make


def connect(modem: Harness, family: Family, peer: Peer, number: int = 0, mode: int = 0) -> socket.socket:
    modem.write(family.open(number, mode).encode() + b"\r")
    if mode == 2:
        assert modem.settle(bool) == b"\r\nCONNECT\r\n"
    else:
        expected = OK + b"\r\n" + family.opened + f": {number},0\r\n".encode()
        assert modem.settle(lambda out: len(out) >= len(expected)) == expected
    return peer.accept()


def recv(modem: Harness, family: Family, number: int = 0, size: int = 1500) -> bytes:
    return modem.command(f"AT+{family.read}={number},{size}")


def test_open_send_receive_close(family, peer, start):
    modem = start()
    far = connect(modem, family, peer)
    modem.write(f"AT+{family.send}=0,4\r".encode())
    assert modem.read() == PROMPT
    modem.write(b"ping")
    assert modem.read() == b"\r\nSEND OK\r\n"
    assert far.recv(10) == b"ping"
    far.sendall(b"pong")
    assert modem.expect(b"\r\n" + family.urc + b': "recv",0\r\n') == b"\r\n" + family.urc + b': "recv",0\r\n'
    assert recv(modem, family) == b"\r\n" + family.received + b": 4\r\npong\r\n\r\nOK\r\n"
    assert recv(modem, family) == b"\r\n" + family.received + b": 0\r\n\r\nOK\r\n"
    far.close()
    peer.finished.put(None)
    assert modem.expect(b'"closed",0\r\n') == b"\r\n" + family.urc + b': "closed",0\r\n'
    assert modem.command(f"AT+{family.close}=0") == OK
    assert modem.command(f"AT+{family.state}0") == OK


def test_every_byte_value_and_evil_content_go_through_both_ways(family, peer, start):
    modem = start()
    far = connect(modem, family, peer)
    modem.write(f"AT+{family.send}=0,{len(EVIL)}\r".encode() + b"")
    assert modem.read() == PROMPT
    modem.write(EVIL + b"AT\r")
    assert modem.read() == b"\r\nSEND OK\r\n" + OK
    got = b""
    while len(got) < len(EVIL):
        got += far.recv(1000)
    assert got == EVIL
    far.sendall(EVIL)
    modem.expect(b'"recv",0\r\n')
    modem.settle(lambda _: modem.machine.personality.fault is not None and unread(modem, family) == len(EVIL))
    assert recv(modem, family) == b"\r\n" + family.received + f": {len(EVIL)}\r\n".encode() + EVIL + b"\r\n\r\nOK\r\n"


def unread(modem: Harness, family: Family) -> int:
    area = modem.machine.personality.ssl if family.tls else modem.machine.personality.tcp
    return area.table[0].unread


def test_recv_urc_is_edge_triggered(family, peer, start):
    modem = start()
    far = connect(modem, family, peer)
    far.sendall(b"abcd")
    modem.expect(b'"recv",0\r\n')
    far.sendall(b"efgh")
    assert modem.settle(lambda _: unread(modem, family) == 8) == b""  # no second notice
    assert b": 4\r\nabcd\r\n" in recv(modem, family, size=4)
    far.sendall(b"ijkl")
    assert modem.settle(lambda _: unread(modem, family) == 8) == b""  # the buffer was not empty
    assert b": 8\r\nefghijkl\r\n" in recv(modem, family)
    far.sendall(b"m")
    modem.expect(b'"recv",0\r\n')


def test_variant_zero_read_rearms_the_urc(family, peer, start):
    modem = start("recv-again=zero-read")
    far = connect(modem, family, peer)
    far.sendall(b"a")
    modem.expect(b'"recv",0\r\n')
    recv(modem, family)
    far.sendall(b"b")
    assert modem.settle(lambda _: unread(modem, family) == 1) == b""
    recv(modem, family)
    assert b": 0\r\n" in recv(modem, family)
    far.sendall(b"c")
    modem.expect(b'"recv",0\r\n')


def test_closed_with_data_left(family, peer, start):
    modem = start()
    far = connect(modem, family, peer)
    far.sendall(b"HTTP")
    far.close()
    peer.finished.put(None)
    urc = b"\r\n" + family.urc
    assert modem.expect(b'"closed",0\r\n') == urc + b': "recv",0\r\n' + urc + b': "closed",0\r\n'
    assert b": 4\r\nHTTP\r\n" in recv(modem, family)
    assert b": 0\r\n" in recv(modem, family)
    state = modem.command(f"AT+{family.state}0").split(b",")
    assert state[5] == b"4"
    assert modem.command(f"AT+{family.send}=0,4") == ERROR
    assert b"567" in modem.command("AT+QIGETERROR")
    assert b",563" in modem.command(family.open()) + modem.settle(lambda _: True)
    modem.read()
    assert modem.command(f"AT+{family.close}=0,0") == OK


def test_variant_glued_close(family, peer, start):
    modem = start("closed-urc=glued")
    far = connect(modem, family, peer)
    far.sendall(b"HTTP")
    far.close()
    peer.finished.put(None)
    modem.expect(b'"recv",0\r\n')
    assert modem.settle(lambda _: b"the peer has gone" in "\n".join(modem.machine.trace.notes).encode()) == b""
    answer = recv(modem, family)
    assert answer.endswith(b"HTTP\r\n\r\nOK\r\n\r\n" + family.urc + b': "closed",0\r\n')


def test_push_mode(family, peer, start):
    modem = start()
    far = connect(modem, family, peer, mode=1)
    far.sendall(b"hello")
    urc = b"\r\n" + family.urc + b': "recv",0,5\r\nhello\r\n'
    assert modem.settle(lambda out: len(out) >= len(urc)) == urc
    assert recv(modem, family) == ERROR
    far.close()
    peer.finished.put(None)
    modem.expect(b'"closed",0\r\n')


def test_push_falls_between_prompt_and_payload_unless_held(family, peer, start):
    for variant in ("emit", "hold"):
        modem = start(f"urcs-at-prompt={variant}")
        far = connect(modem, family, peer, mode=1)
        modem.write(f"AT+{family.send}=0,2\r".encode())
        assert modem.read() == PROMPT
        far.sendall(b"x")
        if variant == "emit":
            modem.expect(b'"recv",0,1\r\nx\r\n')
        else:
            assert modem.settle(lambda _, m=modem: bool(m.machine.interpreter._held)) == b""
        modem.write(b"ab")
        answer = modem.read()
        assert answer.startswith(b"\r\nSEND OK\r\n")
        assert (b'"recv",0,1' in answer) == (variant == "hold")


def test_push_variant_without_trailer(family, peer, start):
    modem = start("push-trailer=no")
    far = connect(modem, family, peer, mode=1)
    far.sendall(b"hello")
    assert modem.expect(b"hello").endswith(b'"recv",0,5\r\nhello')


def test_transparent_mode(family, peer, start):
    modem = start()
    far = connect(modem, family, peer, mode=2)
    modem.write(b"AT\r+++x")
    assert far.recv(100) == b"AT\r+++x"
    far.sendall(EVIL)
    assert modem.settle(lambda out: len(out) >= len(EVIL)) == EVIL
    modem.advance(1.1)
    modem.write(b"+++")
    modem.advance(1.1)
    assert modem.read() == OK
    far.sendall(b"hi")
    modem.expect(b'"recv",0\r\n')
    assert b": 2\r\nhi\r\n" in recv(modem, family)
    assert modem.command("ATO") == b"\r\nCONNECT\r\n"
    modem.write(b"more")
    assert far.recv(100) == b"more"
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
    far.close()
    peer.finished.put(None)
    assert modem.settle(bool) == b"\r\nNO CARRIER\r\n"
    assert modem.command("ATO") == b"\r\nNO CARRIER\r\n"
    assert modem.command(f"AT+{family.close}=0") == OK


def test_switching_modes(family, peer, start):
    modem = start()
    far = connect(modem, family, peer)
    far.sendall(b"abc")
    modem.expect(b'"recv",0\r\n')
    modem.write(b"AT+QISWTMD=0,2\r")
    assert modem.settle(lambda out: b"abc" in out) == b"\r\nCONNECT\r\nabc"
    modem.advance(1.1)
    modem.write(b"+++")
    modem.advance(1.1)
    assert modem.read() == OK
    assert modem.command("AT+QISWTMD=0,1") == OK
    far.sendall(b"def")
    modem.expect(b'"recv",0,3\r\ndef\r\n')
    assert modem.command("AT+QISWTMD=7,1") == ERROR


def test_ctrl_z_send_and_escape(family, peer, start):
    modem = start()
    far = connect(modem, family, peer)
    modem.write(f"AT+{family.send}=0\r".encode())
    assert modem.read() == PROMPT
    modem.write(b"some text\r\n\x1aAT\r")
    assert modem.read() == b"\r\nSEND OK\r\n" + OK
    assert far.recv(100) == b"some text\r\n"
    modem.write(f"AT+{family.send}=0\r".encode())
    modem.write(b"never\x1b")
    assert modem.read() == PROMPT + OK


def test_payload_echo(family, peer, start):
    modem = start(echo=True)
    connect_line = family.open().encode() + b"\r"
    modem.write(connect_line)
    modem.expect(b",0\r\n")
    modem.settle(lambda _: True)
    peer.accept()
    modem.read()
    modem.write(f"AT+{family.send}=0,4\r".encode())
    modem.read()
    modem.write(b"ping")
    assert modem.read() == b"ping\r\nSEND OK\r\n"
    modem.command("AT+QISDE=0")
    modem.write(f"AT+{family.send}=0,4\r".encode())
    modem.read()
    modem.write(b"ping")
    assert modem.read() == b"\r\nSEND OK\r\n"


def test_silence_at_the_prompt_gives_up(family, peer, start):
    modem = start()
    far = connect(modem, family, peer)
    modem.write(f"AT+{family.send}=0,4\r".encode())
    modem.read()
    modem.write(b"ab")
    modem.advance(4.9)
    assert modem.read() == b""
    modem.advance(0.2)
    assert modem.read() == ERROR
    assert b"571" in modem.command("AT+QIGETERROR")
    far.setblocking(False)
    with pytest.raises((BlockingIOError, ssl.SSLWantReadError)):
        far.recv(1)


def test_a_line_end_behind_the_command_is_no_payload(family, peer, start):
    modem = start()
    far = connect(modem, family, peer)
    modem.write(f"AT+{family.send}=0,2\r\n".encode())
    modem.write(b"\nA")
    assert modem.read() == PROMPT + b"\r\nSEND OK\r\n"
    assert far.recv(10) == b"\nA"


@pytest.mark.parametrize(("variant", "expected"), [("no-space", b"\r\n>"), ("crlf-after", b"\r\n>\r\n")])
def test_prompt_variants(family, peer, start, variant, expected):
    modem = start(f"prompt={variant}")
    connect(modem, family, peer)
    modem.write(f"AT+{family.send}=0,2\r".encode())
    assert modem.read() == expected


def test_late_prompt(family, peer, start):
    modem = start("prompt=late")
    connect(modem, family, peer)
    modem.write(f"AT+{family.send}=0,2\r".encode())
    modem.advance(0.9)
    assert modem.read() == b""
    modem.advance(0.2)
    assert modem.read() == PROMPT


def test_peer_gone_between_prompt_and_payload(family, peer, start):
    modem = start()
    far = connect(modem, family, peer)
    modem.write(f"AT+{family.send}=0,2\r".encode())
    far.close()
    peer.finished.put(None)
    modem.expect(b'"closed",0\r\n')
    modem.write(b"xx")
    assert modem.read() == ERROR
    assert modem.command("AT") == OK


@pytest.mark.parametrize("length", [0, 1461, -1, "x"])
def test_wrong_lengths(family, peer, start, length):
    modem = start()
    connect(modem, family, peer)
    if length == 0 and not family.tls:
        assert modem.command("AT+QISEND=0,0") == b"\r\n+QISEND: 0,0,0\r\n\r\nOK\r\n"
    else:
        assert modem.command(f"AT+{family.send}=0,{length}") == ERROR
    assert modem.command(f"AT+{family.read}=0,1501") == ERROR


def test_ids(family, peer, start):
    modem = start()
    connect(modem, family, peer)
    assert modem.command(family.open()) + modem.read() == OK + b"\r\n" + family.opened + b": 0,563\r\n"
    assert modem.command(family.open(12)) == ERROR
    assert modem.command(f"AT+{family.send}=5,1") == ERROR
    assert modem.command(f"AT+{family.read}=5,1") == ERROR
    assert modem.command(f"AT+{family.close}=5") == OK  # not open: nothing to do
    assert modem.command(f"AT+{family.close}=12") == ERROR
    connect(modem, family, peer, number=11)


def test_id_taken_as_error(family, peer, start):
    modem = start("id-taken=error")
    connect(modem, family, peer)
    assert modem.command(family.open()) == ERROR
    assert b"563" in modem.command("AT+QIGETERROR")


@pytest.mark.parametrize(("variant", "code"), [("kept", b"563"), ("free", b"565")])
def test_id_after_a_failed_open(family, peer, start, variant, code):
    modem = start(f"id-after-failed-open={variant}")
    failed = b"\r\n" + family.opened + b": 0,"
    assert modem.command(family.open(host="x.invalid")) + modem.settle(lambda _: True) == OK + failed + b"565\r\n"
    assert modem.command(family.open(host="x.invalid")) + modem.settle(lambda _: True) == OK + failed + code + b"\r\n"
    modem.command(f"AT+{family.close}=0")
    connect(modem, family, peer)


def test_inactive_context(family, peer, start):
    modem = start()
    assert modem.command(family.open(cid=2)) == ERROR
    assert b"561" in modem.command("AT+QIGETERROR")
    modem = start("pdp-down=urc")
    assert (
        modem.command(family.open(cid=2)) + modem.settle(lambda _: True)
        == OK + b"\r\n" + family.opened + b": 0,561\r\n"
    )


def test_failed_transparent_open_is_an_error(family, peer, start):
    modem = start()
    modem.write(family.open(mode=2, host="x.invalid").encode() + b"\r")
    assert modem.settle(bool) == ERROR
    assert b"565" in modem.command("AT+QIGETERROR")


def test_close_while_opening(family, peer, start):
    modem = start("open-time=5")
    assert modem.command(family.open()) == OK
    assert modem.command(f"AT+{family.send}=0,1") == ERROR
    assert modem.command(f"AT+{family.close}=0") == OK
    modem.advance(10)
    assert modem.read() == b""
    modem = start("open-time=5", "close-while-opening=report")
    modem.command(family.open())
    answer = modem.command(f"AT+{family.close}=0")
    modem.advance(1)
    assert answer + modem.read() == OK + b"\r\n" + family.opened + b": 0,566\r\n"


def test_close_waits_for_the_peer_up_to_its_timeout(family, peer, start):
    modem = start()
    connect(modem, family, peer)
    modem.write(f"AT+{family.close}=0,3\r".encode())
    modem.advance(2.9)
    assert modem.read() == b""
    modem.advance(0.2)
    assert modem.read() == OK
    connect(modem, family, peer)
    assert modem.command(f"AT+{family.close}=0,0") == OK


def test_what_was_sent_arrives_before_the_close(family, peer, start):
    modem = start()
    far = connect(modem, family, peer)
    for _ in range(20):
        modem.write(f"AT+{family.send}=0,1000\r".encode())
        modem.write(b"x" * 1000)
    modem.write(f"AT+{family.close}=0,0\r".encode())
    assert modem.read().endswith(OK)
    got = 0
    while data := far.recv(65536):
        got += len(data)
    assert got == 20000


def test_lost_bearer(family, peer, start):
    modem = start()
    connect(modem, family, peer)
    modem.machine.personality.fault("pdpdeact", 1)
    closed = b"\r\n" + family.urc + b': "closed",0\r\n'
    assert modem.expect(b"closed") + modem.read() == b'\r\n+QIURC: "pdpdeact",1\r\n' + closed
    assert modem.command(f"AT+{family.send}=0,1") == ERROR
    assert modem.command("AT+QIDEACT=1") == OK
    assert modem.command("AT+QIACT=1") == OK
    modem.command(f"AT+{family.close}=0")
    connect(modem, family, peer)


def test_lost_bearer_without_closed_urcs(family, peer, start):
    modem = start("closed-after-pdpdeact=no")
    connect(modem, family, peer)
    modem.machine.personality.fault("pdpdeact", 1)
    modem.advance(1)
    assert modem.read() == b'\r\n+QIURC: "pdpdeact",1\r\n'


def test_deactivation_closes_every_socket(family, peer, start):
    modem = start()
    far = connect(modem, family, peer)
    assert modem.command("AT+QIDEACT=1") == OK
    assert modem.command(f"AT+{family.state}0") == OK
    with contextlib.suppress(OSError):
        assert far.recv(1) == b""


def test_send_fail(family, peer, start):
    modem = start(faults=["sendfail@command 4"])
    far = connect(modem, family, peer)  # commands 1 to 3: ATE0, QIACT, the open
    modem.write(f"AT+{family.send}=0,2\r".encode())
    modem.write(b"no")
    assert modem.read() == PROMPT + b"\r\nSEND FAIL\r\n"
    modem.write(f"AT+{family.send}=0,2\r".encode())
    modem.write(b"ok")
    assert modem.read() == PROMPT + b"\r\nSEND OK\r\n"
    assert far.recv(10) == b"ok"


def test_peer_that_does_not_read_gives_send_fail(family, peer, start):
    modem = start()
    far = connect(modem, family, peer)
    answers = b""
    for _ in range(20000):
        modem.write(f"AT+{family.send}=0,1460\r".encode() + b"")
        modem.write(bytes(1460))
        answers = modem.read()
        if b"SEND FAIL" in answers:
            break
    assert answers == PROMPT + b"\r\nSEND FAIL\r\n"
    far.close()


def test_modem_that_is_not_read_stops_the_peer(family, peer, start):
    modem = start("receive-buffer=4096")
    far = connect(modem, family, peer)
    far.settimeout(0.05)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < 60_000_000:
            far.sendall(bytes(65536))
            sent += 65536
            modem.loop.poll(0)
    assert sent < 60_000_000
    assert unread(modem, family) < 100_000


def test_large_transfer_arrives_whole(family, peer, start):
    import threading

    modem = start()
    far = connect(modem, family, peer)
    data = bytes(range(256)) * 2000
    writer = threading.Thread(target=lambda: far.sendall(data))
    writer.start()
    got = bytearray()
    end = time.monotonic() + 20
    while len(got) < len(data):
        assert time.monotonic() < end, len(got)
        answer = recv(modem, family)
        header, _, rest = answer.partition(family.received + b": ")[2].partition(b"\r\n")
        got += rest[: int(header)]
        if header == b"0":
            modem.loop.poll(0.002)
    writer.join()
    assert bytes(got) == data


def test_exhaustion(family, peer, start):
    modem = start("exhaustion=2")
    for number in range(2):
        connect(modem, family, peer, number)
    assert b": 2,552" in modem.command(family.open(2)) + modem.settle(lambda _: True)
    modem.command("AT+QIDEACT=1")
    modem.command("AT+QIACT=1")
    assert b": 0,552" in modem.command(family.open(0)) + modem.settle(lambda _: True)
    modem.command("AT+CFUN=1,1")
    modem.advance(3)
    modem.read()
    modem.command("ATE0")
    modem.command("AT+QIACT=1")
    connect(modem, family, peer)


def test_restart_drops_connections_silently(family, peer, start):
    modem = start()
    far = connect(modem, family, peer)
    modem.command("AT+CFUN=1,1")
    with contextlib.suppress(OSError):
        assert far.recv(1) == b""
    modem.advance(3)
    modem.read()
    modem.command("ATE0")
    assert modem.command(f"AT+{family.state}0") == OK


def test_state_lines(family, peer, start):
    modem = start()
    connect(modem, family, peer, number=4)
    answer = modem.command(f"AT+{family.state}4").decode()
    if family.tls:
        assert answer.startswith('\r\n+QSSLSTATE: 4,"SSLClient","127.0.0.1",99,')
        assert answer.endswith(',2,1,4,0,"uart1",1\r\n\r\nOK\r\n')
        assert modem.command("AT+QSSLSTATE") == answer.encode()
        assert modem.command("AT+QSSLSTATE=1,4") == ERROR
    else:
        assert answer.startswith('\r\n+QISTATE: 4,"TCP","127.0.0.1",99,')
        assert answer.endswith(',2,1,4,0,"uart1"\r\n\r\nOK\r\n')
        assert modem.command("AT+QISTATE?") == modem.command("AT+QISTATE=0,1") == answer.encode()
        assert modem.command("AT+QISTATE=0,2") == OK


@pytest.mark.parametrize(
    "text",
    [
        '1,1,"host",99,0',
        "1,1,0,host,99,0",
        '1,1,0,"host",0,0',
        '1,1,0,"host",65536,0',
        '1,1,0,"host",99,3',
        '17,1,0,"host",99',
        '1,6,0,"h",9',
        '1,1,0,"",99',
        "1,1,0",
        '1,1,0,"' + "h" * 256 + '",99',
        '1,1,0,"h",9,0,0',
    ],
)
def test_wrong_opens_are_552_at_once(text):
    with Harness() as modem:
        modem.command("ATE0;+QIACT=1")
        assert modem.command(f"AT+QSSLOPEN={text}") == ERROR
        assert modem.command("AT+QIGETERROR") == b"\r\n+QIGETERROR: 552,invalid parameters\r\n\r\nOK\r\n"
        assert modem.command("AT+QSSLSTATE") == OK
