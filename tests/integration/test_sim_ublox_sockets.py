"""Sockets of the simulated u-blox modules, over real connections."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from tests.support.servers import free_port
from tests.support.ublox import ERROR, OK, R4, R5, Module, Peer, cme, line, plain


@pytest.fixture(name="start")
def start_fixture():
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


def closed_port() -> int:
    return free_port()


# --- creation ---------------------------------------------------------------------------------------------------------


def test_seven_sockets_the_lowest_free_id_first(start):
    made = start()
    for number in range(7):
        assert made.command("AT+USOCR=6") == line(f"+USOCR: {number}")
    assert made.command("AT+USOCR=6") == cme(3)
    made.ok("AT+USOCL=3")
    assert made.command("AT+USOCR=17") == line("+USOCR: 3")


@pytest.mark.parametrize(
    ("model", "command", "answer"),
    [
        (R5, "AT+USOCR=7", cme(3)),
        (R5, "AT+USOCR=6,65536", cme(3)),
        (R5, "AT+USOCR", cme(3)),
        (R5, "AT+USOCR=6,0", line("+USOCR: 0")),
        (R4, "AT+USOCR=6,0", line("+USOCR: 0")),
        (R4, "AT+USOCR=6,5000", cme(3)),
        (R5, "AT+USOCR=6,5000,0,1", line("+USOCR: 0")),
    ],
)
def test_creation(start, model, command, answer):
    assert start(model).command(command) == answer


def test_a_local_port_of_ones_own(start):
    made, port = start(R5, "usocr-port=yes"), free_port()
    with Peer() as peer:
        assert made.command(f"AT+USOCR=6,{port}") == line(f"+USOCR: 0,{port}")
        made.ask(f'AT+USOCO=0,"127.0.0.1",{peer.port}', b"\r\nOK\r\n")
        assert peer.stream.getpeername()[1] == port
    made.expect(b"+UUSOCL: 0\r\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        assert made.command(f"AT+USOCR=17,{taken.getsockname()[1]}") == ERROR
        assert made.command("AT+USOER") == line("+USOER: 98")


@pytest.mark.parametrize("variant", ["usocr", "usoco"])
def test_without_a_context(start, variant):
    made = start(R5, f"no-context={variant}")
    made.ok("AT+UPSDA=0,4")
    if variant == "usocr":
        assert made.command("AT+USOCR=6") == cme(3)
        return
    assert made.command("AT+USOCR=6") == line("+USOCR: 0")
    assert made.command('AT+USOCO=0,"127.0.0.1",7') == ERROR + b"\r\n+UUSOCL: 0\r\n"
    assert made.command("AT+USOER") == line("+USOER: 101")


def test_r422_needs_cgact_and_its_mapping(start):
    made = start(R4, "module=R422", boot=True, ready=False)
    made.command("ATE0")
    assert made.command("AT+USOCR=6") == ERROR
    made.ok("AT+UPSD=0,100,1")
    assert made.command("AT+USOCR=6") == ERROR
    made.ok("AT+CGACT=1,1")  # although it is active
    assert made.command("AT+USOCR=6") == line("+USOCR: 0")
    assert made.command("AT+UPSDA=0,3") == ERROR


# --- connecting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ('AT+USOCO=1,"127.0.0.1",7', cme(3)),
        ('AT+USOCO=7,"127.0.0.1",7', cme(3)),
        ('AT+USOCO=0,"127.0.0.1",0', cme(3)),
        ('AT+USOCO=0,"127.0.0.1",65536', cme(3)),
        ("AT+USOCO=0,127.0.0.1,7", cme(3)),
        ('AT+USOCO=0,"",7', cme(3)),
        ('AT+USOCO=0,"127.0.0.1"', cme(3)),
        ('AT+USOCO=0,"127.0.0.1",7,2', cme(3)),
    ],
)
def test_wrong_connects_leave_the_socket(start, command, answer):
    made = start()
    made.command("AT+USOCR=6")
    assert made.command(command) == answer
    assert made.command("AT+USOCTL=0,10") == line("+USOCTL: 0,10,0")


@pytest.mark.parametrize(("host", "code"), [("127.0.0.1", 111), ("no.invalid", 163)])
def test_failures_and_their_numbers(start, host, code):
    made, port = start(), closed_port()
    made.ok("AT+CMEE=2")  # plain ERROR all the same
    made.command("AT+USOCR=6")
    made.write(f'AT+USOCO=0,"{host}",{port}\r'.encode())
    assert made.expect(b"+UUSOCL: 0\r\n") == ERROR + b"\r\n+UUSOCL: 0\r\n"
    assert made.command("AT+USOER") == line(f"+USOER: {code}")
    assert made.command("AT+USOCTL=0,1") == b"\r\n+CME ERROR: operation not allowed\r\n"
    assert made.command("AT+USOCR=6") == line("+USOCR: 0")


def test_a_connected_socket_cannot_be_connected_or_secured(start):
    made = start()
    with linked(made) as peer:
        assert made.command(f'AT+USOCO=0,"127.0.0.1",{peer.port}') == cme(3)
        assert made.command("AT+USOSEC=0,1,0") == cme(3)
        assert made.command("AT+USOCTL=0,4") == line(f'+USOCTL: 0,4,"127.0.0.1",{peer.port}')


def silent() -> socket.socket:
    """A port where a connection is neither accepted nor refused: its queue is full."""
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    made.listen(0)
    for _ in range(3):
        filler = socket.socket()
        filler.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            filler.connect(made.getsockname())
        FILLERS.append(filler)
    return made


FILLERS: list[socket.socket] = []


@pytest.fixture(name="nowhere")
def nowhere_fixture():
    with silent() as made:
        yield made.getsockname()[1]
    for filler in FILLERS:
        filler.close()
    FILLERS.clear()


def test_nothing_is_said_while_a_connect_blocks(start, nowhere):
    made = start()
    made.ok("AT+CEREG=1")
    with linked(made) as peer:
        made.command("AT+USOCR=6")
        made.write(f'AT+USOCO=1,"127.0.0.1",{nowhere}\rAT+CSQ\r'.encode())
        peer.stream.sendall(b"news")
        assert made.until_quiet() == b""
        made.advance(119)
        assert made.read() == b""
        made.advance(2)
        said = made.read()
        assert said == ERROR + b"\r\n+UUSORD: 0,4\r\n\r\n+UUSOCL: 1\r\n" + line("+CSQ: 20,99")
        assert made.command("AT+USOER") == line("+USOER: 110")


@pytest.mark.parametrize(("variant", "closed"), [("close-first", True), ("refuse", False)])
def test_a_connect_while_another_is_under_way(start, nowhere, variant, closed):
    made = start(R4, f"second-connect={variant}")
    made.command("AT+USOCR=6")
    made.command("AT+USOCR=6")
    made.ok(f'AT+USOCO=0,"127.0.0.1",{nowhere},1')
    made.ok("AT")  # the port is free
    answer = made.command('AT+USOCO=1,"127.0.0.1",7')
    assert answer == cme(3) + (b"\r\n+UUSOCL: 0\r\n" if closed else b"")
    assert made.command("AT+USOCTL=0,0") == (cme(3) if closed else line("+USOCTL: 0,0,6"))


def test_a_connect_under_way_can_be_closed(start, nowhere):
    made = start()
    made.command("AT+USOCR=6")
    made.ok(f'AT+USOCO=0,"127.0.0.1",{nowhere},1', "AT+USOCL=0")
    made.advance(200)
    assert made.read() == b""


@pytest.mark.parametrize(("variant", "answer"), [("refuse", cme(3)), ("accept", OK + b"\r\n+UUSOCO: 0,0\r\n")])
def test_the_flag_on_udp(start, variant, answer):
    made = start(R5, f"async-udp={variant}")
    made.command("AT+USOCR=17")
    assert made.command('AT+USOCO=0,"127.0.0.1",7,1') + made.until_quiet(0.05) == answer


def test_when_the_module_is_busy(start):
    made = start(R5, "connect-busy=2")
    with Peer() as peer:
        made.command("AT+USOCR=6")
        for _ in range(2):
            assert made.command(f'AT+USOCO=0,"127.0.0.1",{peer.port}') == ERROR
        assert made.ask(f'AT+USOCO=0,"127.0.0.1",{peer.port}', b"\r\n") + made.read() == OK


def test_old_r410m_may_lock_up(start):
    made = start(R4, "sync-connect-locks=yes")
    made.command("AT+USOCR=6")
    made.write(f'AT+USOCO=0,"127.0.0.1",{closed_port()}\r'.encode())
    assert made.until_quiet() == b""
    made.write(b"AT\r")
    assert made.until_quiet() == b""


# --- writing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hexadecimal", "command", "answer", "sent"),
    [
        (0, 'AT+USOWR=0,12,"Hello world!"', line("+USOWR: 0,12"), b"Hello world!"),
        (0, 'AT+USOWR=0,3,"a,;"', line("+USOWR: 0,3"), b"a,;"),
        (0, 'AT+USOWR=0,4,"abc"', cme(3), b""),
        (0, 'AT+USOWR=0,2,"abc"', cme(3), b""),
        (0, "AT+USOWR=0,3,abc", cme(3), b""),
        (0, 'AT+USOWR=0,0,""', line("+USOWR: 0,0"), b""),
        (0, "AT+USOWR=0,0", line("+USOWR: 0,0"), b""),
        (0, "AT+USOWR=0,1025", cme(3), b""),
        (0, 'AT+CSQ;+USOWR=0,1,"x"', b"\r\n+CSQ: 20,99\r\n" + ERROR, b""),
        (0, "AT+USOWR=1,1", cme(3), b""),
        (1, 'AT+USOWR=0,2,"4869"', line("+USOWR: 0,2"), b"Hi"),
        (1, 'AT+USOWR=0,2,"486"', cme(3), b""),
        (1, 'AT+USOWR=0,2,"48xx"', cme(3), b""),
        (1, 'AT+USOWR=0,4,"4869"', cme(3), b""),
        (1, f'AT+USOWR=0,513,"{"00" * 513}"', cme(1650), b""),
    ],
)
def test_base_syntax(start, hexadecimal, command, answer, sent):
    made = start()
    made.ok(f"AT+UDCONF=1,{hexadecimal}")
    with linked(made) as peer:
        assert made.command(command) == answer
        made.ok("AT+USOCL=0")
        assert peer.receive(100) == sent


def test_binary_syntax_takes_anything_also_in_hex_mode(start):
    made = start()
    with linked(made) as peer:
        every = bytes(range(256)) * 4
        assert made.send(0, every) == line("+USOWR: 0,1024")
        made.ok("AT+UDCONF=1,1")
        assert made.send(0, every) == line("+USOWR: 0,1024")
        assert peer.receive(2048) == every * 2
        assert made.command("AT+USOCTL=0,2") == line("+USOCTL: 0,2,2048")


def test_what_is_too_much_is_the_next_command(start):
    made = start()
    with linked(made) as peer:
        assert made.command("AT+USOWR=0,3", limit=0) == b"\r\n@"
        made.write(b"abcAT+CSQ\r")
        assert made.read() == line("+USOWR: 0,3") + line("+CSQ: 20,99")
        assert peer.receive(3) == b"abc"


def test_a_host_that_gives_up_at_the_prompt_loses_its_next_command(start):
    made = start()
    with linked(made) as peer:
        assert made.command("AT+USOWR=0,5", limit=0) == b"\r\n@"
        made.advance(60)
        made.write(b"AT\r\r")
        assert made.read() == b""
        made.write(b"\n")
        assert made.read() == line("+USOWR: 0,5")
        assert peer.receive(5) == b"AT\r\r\n"


@pytest.mark.parametrize(("variant", "answers"), [
    ("short-writes=2", [b"+USOWR: 0,8", b"+USOWR: 0,4", b"+USOWR: 0,8"]),
    ("lost-write-lines=2", [b"+USOWR: 0,8", b"\r\nOK\r\n", b"+USOWR: 0,8"]),
    ("send-fail-every=2", [b"+USOWR: 0,8", b"\r\nERROR\r\n", b"+USOWR: 0,8"]),
])  # fmt: skip
def test_writes_that_do_not_take_everything(start, variant, answers):
    made = start(R4, variant)
    with linked(made) as peer:
        said = [made.send(0, b"12345678") for _ in range(3)]
        assert [answer in got for answer, got in zip(answers, said, strict=True)] == [True] * 3
        assert (said[1] == OK) is (variant.startswith("lost"))
        made.ok("AT+USOCL=0")
        assert len(peer.receive(100)) == (20 if variant.startswith("short") else 16)


def test_the_queue_of_sara_r5_is_8_kilobytes(start):
    made = start()
    with linked(made):
        full = 0
        for _ in range(20000):
            answer = made.send(0, b"x" * 1024)
            if answer == ERROR:
                full += 1
                break
        assert full
        assert made.command("AT+USOCTL=0,1") == line("+USOCTL: 0,1,11")
        assert made.command("AT+USOCTL=0,10") == line("+USOCTL: 0,10,4")


def test_the_connection_dies_while_the_prompt_is_open(start):
    made = start()
    with linked(made) as peer:
        made.command("AT+USOWR=0,3", limit=0)
        peer.stream.close()
        made.until_quiet(0.05)
        made.write(b"abc")
        assert made.read() == cme(3) + b"\r\n+UUSOCL: 0\r\n"


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("variants", "shown"), [((), b'+USORD: 0,""'), (("empty-read=zero",), b'+USORD: 0,0,""')])
def test_nothing_to_read(start, variants, shown):
    made = start(R4, *variants)
    made.command("AT+USOCR=6")
    assert made.command("AT+USORD=0,10") == cme(3)  # never connected
    made.ok("AT+USOCL=0")
    with linked(made):
        assert made.command("AT+USORD=0,10") == b"\r\n" + shown + b"\r\n" + OK
        assert made.command("AT+USORD=0,0") == line("+USORD: 0,0")


def test_a_payload_that_looks_like_anything(start):
    made = start()
    nasty = b'"\r\nOK\r\n+UUSOCL: 0\r\n\x00@>'
    with linked(made) as peer:
        peer.stream.sendall(nasty)
        made.expect(f"+UUSORD: 0,{len(nasty)}\r\n".encode())
        assert made.command("AT+USORD=0,1024") == b'\r\n+USORD: 0,%d,"%s"\r\n' % (len(nasty), nasty) + OK
        assert made.command("AT+USOCTL=0,3") == line(f"+USOCTL: 0,3,{len(nasty)}")


def test_without_the_empty_line(start):
    made = start(R4, "read-blank-line=no")
    with linked(made) as peer:
        peer.stream.sendall(b"abc")
        made.expect(b"+UUSORD: 0,3\r\n")
        assert made.command("AT+USORD=0,1024") == b'\r\n+USORD: 0,3,"abc"\r\nOK\r\n'


@pytest.mark.parametrize("command", ["AT+USORD=0,1025", "AT+USORD=0,-1", "AT+USORD=0", "AT+USORD=1,1", "AT+USORD=9,1"])
def test_wrong_reads(start, command):
    made = start()
    with linked(made):
        assert made.command(command) == cme(3)


def test_hex_mode_reads_512_at_most(start):
    made = start()
    made.ok("AT+UDCONF=1,1")
    with linked(made) as peer:
        peer.stream.sendall(b"\xab" * 600)
        made.expect(b"+UUSORD: 0,")
        made.until_quiet(0.02)
        assert made.command("AT+USORD=0,513") == cme(3)
        assert made.command("AT+USORD=0,512").startswith(b'\r\n+USORD: 0,512,"' + b"AB" * 512 + b'"\r\n')
        assert made.command("AT+UDCONF=1") == line("+UDCONF: 1,1")


@pytest.mark.parametrize(("firmware", "kept"), [("02.06,A00.01", 0), ("03.15,A00.01", 1)])
def test_hex_mode_and_restarts(start, firmware, kept):
    made = start(R5, f"firmware={firmware}")
    made.ok("AT+UDCONF=1,1", "AT+CFUN=16")
    made.advance(5)
    made.command("ATE0")
    assert made.command("AT+UDCONF=1") == line(f"+UDCONF: 1,{kept}")


def test_a_notice_only_when_nothing_was_unread(start):
    made = start()
    with linked(made) as peer:
        peer.stream.sendall(b"abc")
        assert made.expect(b"\r\n+UUSORD: 0,3\r\n")
        peer.stream.sendall(b"defgh")
        assert made.until_quiet() == b""
        assert made.command("AT+USORD=0,0") == line("+USORD: 0,8")
        assert made.command("AT+USORD=0,8") == line('+USORD: 0,8,"abcdefgh"')
        peer.stream.sendall(b"i")
        assert made.expect(b"\r\n+UUSORD: 0,1\r\n")


def test_the_module_stops_reading_when_its_buffer_is_full(start):
    made = start(R5, "receive-buffer=2048")
    with linked(made) as peer:
        peer.stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        peer.stream.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < 1 << 24:
                sent += peer.stream.send(b"x" * 4096)
        made.until_quiet()
        held = int(made.command("AT+USORD=0,0").split(b",")[1].split(b"\r")[0])
        assert 2048 <= held <= 2048 + 16384 < sent
        got = 0
        while got < sent:
            answer = made.command("AT+USORD=0,1024")
            got += int(answer.split(b"+USORD: 0,")[1].split(b",")[0]) if b'0,""' not in answer else 0
            made.loop.poll(0.001)
        assert got == sent


# --- the end ----------------------------------------------------------------------------------------------------------


def test_the_peer_closes_an_empty_socket(start):
    made = start()
    with linked(made) as peer:
        peer.stream.close()
        assert made.expect(b"0\r\n") == b"\r\n+UUSOCL: 0\r\n"
        assert made.command("AT+USOCL=0") == cme(3)
        assert made.command("AT+USOCR=6") == line("+USOCR: 0")


def test_early_close_loses_what_is_unread(start):
    made = start(R4, "early-close=yes")
    with linked(made) as peer:
        peer.stream.sendall(b"abc")
        made.expect(b"+UUSORD: 0,3\r\n")
        peer.stream.close()
        assert made.expect(b"0\r\n") == b"\r\n+UUSOCL: 0\r\n"
        assert made.command("AT+USORD=0,3") == cme(3)


def test_a_reset_is_told_too(start):
    made = start()
    with linked(made) as peer:
        peer.reset()
        assert made.expect(b"0\r\n") == b"\r\n+UUSOCL: 0\r\n"
        assert made.command("AT+USOER") == line("+USOER: 104")


@pytest.mark.parametrize(
    ("model", "command", "answer"),
    [
        (R5, "AT+USOCL=0,1", cme(3)),
        (R5, "AT+USOCL=0,0", OK),
        (R4, "AT+USOCL=0,1", OK + b"\r\n+UUSOCL: 0\r\n"),
        (R4, "AT+USOCL=0", OK),
        (R4, "AT+USOCL=1", cme(3)),
    ],
)
def test_closing_an_idle_socket(start, model, command, answer):
    made = start(model)
    made.command("AT+USOCR=6")
    assert made.command(command) + made.until_quiet(0.05) == answer


def test_a_close_that_waits_for_the_peer(start):
    made = start(R5, "close-waits=yes")
    with linked(made) as peer:
        made.write(b"AT+USOCL=0\r")
        assert made.until_quiet() == b""
        peer.stream.close()
        assert made.expect(b"OK\r\n") == OK
    with linked(made):
        made.write(b"AT+USOCL=0\r")
        made.advance(121)
        assert made.read() == OK


@pytest.mark.parametrize(("variant", "told"), [("yes", True), ("no", False)])
def test_a_lost_context_takes_the_sockets(start, variant, told):
    made = start(R5, f"uusocl-after-loss={variant}")
    with linked(made):
        made.machine.personality.fault("pdpdeact", 1)
        assert made.read() == b"\r\n+UUPSDD: 0\r\n" + (b"\r\n+UUSOCL: 0\r\n" if told else b"")
        assert made.command("AT+USORD=0,10") == cme(3)
        assert made.command("AT+UPSND=0,8") == line("+UPSND: 0,8,0")


def test_firmware_01b_says_it_twice(start):
    made = start(R5, "firmware=03.15,A00.01")
    made.machine.personality.fault("pdpdeact", 1)
    assert made.read() == b"\r\n+UUPSDD: 0\r\n" * 2


@pytest.mark.parametrize(("variant", "told"), [("yes", b"\r\n+UUSOCL: 0\r\n"), ("no", b"")])
def test_leaving_the_network(start, variant, told):
    made = start(R4, f"uusocl-after-cops2={variant}")
    with linked(made):
        assert made.command("AT+COPS=2") + made.until_quiet(0.05) == OK + told
        assert made.command("AT+USOWR=0,3") == cme(3)


# --- UDP --------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def udp() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(5)
        yield made


@pytest.mark.parametrize(
    ("model", "variants", "notice", "rest"),
    [
        (R5, ("datagram-rest=kept",), b"+UUSORD", True),
        (R4, ("datagram-rest=kept",), b"+UUSORF", True),
        (R4, ("connected-udp-notice=tcp",), b"+UUSORD", True),
        (R5, ("datagram-rest=lost",), b"+UUSORD", False),
    ],
)
def test_a_connected_udp_socket(start, model, variants, notice, rest):
    made = start(model, *variants)
    with udp() as peer, udp() as stranger:
        port = peer.getsockname()[1]
        made.command("AT+USOCR=17")
        assert made.command("AT+USORD=0,10") == cme(3)
        assert made.command("AT+USOWR=0,1") == cme(3)
        assert made.command(f'AT+USOCO=0,"127.0.0.1",{port}') == OK
        assert made.send(0, b"hello").startswith(b"\r\n+USOWR: 0,5")
        data, address = peer.recvfrom(100)
        assert data == b"hello"
        stranger.sendto(b"not for you", address)
        peer.sendto(b"abcdef", address)
        assert made.expect(b"\r\n" + notice + b": 0,6\r\n")
        answer = made.command("AT+USORD=0,4")
        assert answer == line('+USORD: 0,4,"abcd"') + (b"\r\n" + notice + b": 0,2\r\n" if rest else b"")
        assert made.command("AT+USORD=0,4") == line('+USORD: 0,2,"ef"' if rest else '+USORD: 0,""')
        assert made.command("AT+USOCTL=0,10") == cme(3)


def test_a_notice_behind_half_a_datagram_is_of_its_rest_alone(start):
    made = start()
    with udp() as peer:
        made.command("AT+USOCR=17")
        made.command(f'AT+USOST=0,"127.0.0.1",{peer.getsockname()[1]},1,"?"')
        _, address = peer.recvfrom(10)
        peer.sendto(b"abcdef", address)
        made.expect(b"+UUSORD: 0,6\r\n")
        peer.sendto(b"second", address)
        assert made.until_quiet(0.05) == b""
        assert made.command("AT+USORF=0,2").endswith(b',2,"ab"\r\n\r\nOK\r\n\r\n+UUSORD: 0,4\r\n')
        assert made.command("AT+USORF=0,0") == line("+USORF: 0,10")


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ('AT+USOST=0,"127.0.0.1",7', cme(3)),
        ('AT+USOST=0,"127.0.0.1",0,1', cme(3)),
        ('AT+USOST=0,"127.0.0.1",7,1025', cme(3)),
        ('AT+USOST=0,"127.0.0.1",7,3,"ab"', cme(3)),
        ('AT+USOST=0,"no.invalid",7,2,"ab"', ERROR),
        ('AT+USOST=1,"127.0.0.1",7,2,"ab"', cme(4)),
        ("AT+USORF=1,10", cme(4)),
        ("AT+USORF=0,10", line('+USORF: 0,""')),
        ("AT+USOLI=0,1099", cme(4)),
    ],
)
def test_wrong_datagrams(start, command, answer):
    made = start()
    made.command("AT+USOCR=17")
    made.command("AT+USOCR=6")
    assert made.command(command) == answer


# --- listening --------------------------------------------------------------------------------------------------------


def test_listening_and_the_clients_that_come(start):
    made, port = start(), free_port()
    made.command("AT+USOCR=6")
    made.ok(f"AT+USOLI=0,{port}", "AT+USOSEC=0,1,0")  # ignored
    assert made.command("AT+USOCTL=0,10") == line("+USOCTL: 0,10,1")
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
    said = made.settle(lambda out: out.count(b"+UUSOLI") == 2)
    assert b"+UUSOLI: 1," in said
    assert b"+UUSOLI: 2," in said
    assert made.command("AT+USOSEC=1") == line("+USOSEC: 1,0")
    assert made.send(1, b"welcome") == line("+USOWR: 1,7")
    assert clients[0].recv(100) == b"welcome"
    made.ok("AT+USOCL=0")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    clients[1].sendall(b"still here")
    assert made.expect(b"+UUSORD: 2,10\r\n")
    for client in clients:
        client.close()
    assert b"+UUSOCL: 1" in made.until_quiet()


def test_no_id_left_for_a_client(start):
    made, port = start(), free_port()
    for _ in range(7):
        made.command("AT+USOCR=6")
    made.ok(f"AT+USOLI=0,{port}")
    with socket.create_connection(("127.0.0.1", port)) as client:
        made.until_quiet(0.05)
        client.settimeout(5)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
    assert made.command(f"AT+USOLI=0,{port}") == cme(3)
    assert made.command(f"AT+USOLI=1,{port}") == ERROR
    assert made.command("AT+USOER") == line("+USOER: 98")


# --- direct link ------------------------------------------------------------------------------------------------------


def test_direct_link_escape_and_its_registers(start):
    made = start()
    with linked(made) as peer:
        peer.stream.sendall(b"early")
        made.expect(b"+UUSORD: 0,5\r\n")
        made.ok("ATS12=100", "ATS2=35")
        assert made.command("AT+USODL=0", limit=0) == b"\r\nCONNECT\r\nearly"
        made.advance(3)
        made.write(b"+++")
        made.advance(1.5)  # too short a silence before it
        made.write(b"###")
        made.advance(3)
        assert made.read() == b""
        made.write(b"###")
        made.advance(1.5)
        assert made.read() == b""
        made.advance(1)
        assert made.read() == b"\r\nDISCONNECT\r\n" + OK
        assert peer.receive(6) == b"+++###"
        made.write(b"AT\r")
        assert made.read() == OK


@pytest.mark.parametrize(("held", "released"), [("kept", b'+USORD: 0,5,"early"')])
def test_what_came_before_the_direct_link(start, held, released):
    made = start(R5, f"direct-link-unread={held}")
    with linked(made) as peer:
        peer.stream.sendall(b"early")
        made.expect(b"+UUSORD: 0,5\r\n")
        assert made.command("AT+USODL=0", limit=0) == b"\r\nCONNECT\r\n"
        made.advance(1.1)
        made.write(b"+++")
        made.advance(1.1)
        made.read()
        assert released in made.command("AT+USORD=0,10")


def test_direct_link_over_udp_packs_by_its_triggers(start):
    made = start()
    with udp() as peer:
        made.command("AT+USOCR=17")
        made.ok(f'AT+USOCO=0,"127.0.0.1",{peer.getsockname()[1]}')
        made.ok("AT+UDCONF=5,0,1000", "AT+UDCONF=6,0,6", "AT+UDCONF=7,0,33")
        assert made.command("AT+UDCONF=6,0") == line("+UDCONF: 6,0,6")
        assert made.command("AT+USODL=0", limit=0) == b"\r\nCONNECT\r\n"
        made.write(b"abcdefg!hi")
        assert [peer.recv(100) for _ in range(2)] == [b"abcdef", b"g!"]
        made.advance(1.1)
        assert peer.recv(100) == b"hi"


@pytest.mark.parametrize(
    "command",
    ["AT+UDCONF=5,0,99", "AT+UDCONF=6,0,2", "AT+UDCONF=6,0,2049", "AT+UDCONF=7,0,256", "AT+UDCONF=8,0,999",
     "AT+UDCONF=5,1,0", "AT+UDCONF=1,2", "AT+UDCONF=3", "AT+UDCONF=9"],
)  # fmt: skip
def test_wrong_triggers(start, command):
    made = start()
    made.command("AT+USOCR=6")
    assert made.command(command) == cme(3)


def test_no_direct_link_without_a_peer(start):
    made = start()
    assert made.command("AT+USODL=0") == cme(3)
    made.command("AT+USOCR=6")
    assert made.command("AT+USODL=0") == cme(3)


# --- state and options ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "command", "answer"),
    [
        (R5, "AT+USOCTL=0,0", line("+USOCTL: 0,0,6")),
        (R5, "AT+USOCTL=0,11", cme(4)),
        (R4, "AT+USOCTL=0,11", line("+USOCTL: 0,11,0")),
        (R5, "AT+USOCTL=0,5", cme(3)),
        (R5, "AT+USOCTL=3,0", cme(3)),
        (R5, "AT+USOCTL=?", line("+USOCTL: (0-6),(0-4,10)")),
        (R4, "AT+USOCTL=?", line("+USOCTL: (0-6),(0-4,10-11)")),
        (R5, "AT+USOCO=?", line('+USOCO: (0-6),"remote_host",(1-65535),(0-1)')),
        (R5, "AT+USOER", line("+USOER: 0")),
        (R5, "AT+USOSO=0,6,1,1", OK),
        (R4, "AT+USOSO=0,6,1,1", cme(4)),
        (R5, "AT+USOSO=0,0,2,64", OK),
        (R5, "AT+USOSO=0,0,2,256", cme(3)),
        (R5, "AT+USOSO=0,65535,128,1,500", OK),
        (R5, "AT+USOSO=0,65535,128,1", cme(3)),
        (R5, "AT+USOSO=0,65535,128,0", OK),
        (R5, "AT+USOSO=0,65535,64,1", cme(3)),
        (R5, "AT+USOGO=0,6,2", line("+USOGO: 7200000")),
        (R5, "AT+USOGO=1,6,2", cme(3)),
    ],
)
def test_control_and_options(start, model, command, answer):
    made = start(model)
    made.command("AT+USOCR=6")
    assert made.command(command) == answer


def test_options_are_kept(start):
    made = start()
    made.command("AT+USOCR=6")
    made.ok("AT+USOSO=0,65535,128,1,500")
    assert made.command("AT+USOGO=0,65535,128") == line("+USOGO: 1,500")


@pytest.mark.parametrize("flag", ["AT+USOSEC=0,0,1", "AT+USOSEC=0,2", "AT+USOSEC=0,1,5", "AT+USOSEC=4,1"])
def test_wrong_security(start, flag):
    made = start()
    made.command("AT+USOCR=6")
    assert made.command(flag) == cme(3)
    assert made.command("AT+USOSEC=0") == line("+USOSEC: 0,0")


def test_security_is_shown_with_its_profile(start):
    made = start()
    made.command("AT+USOCR=6")
    made.ok("AT+USOSEC=0,1,3")
    assert made.command("AT+USOSEC=0") == line("+USOSEC: 0,1,3")
    made.ok("AT+USOSEC=0,0")
    assert made.command("AT+USOSEC=0") == line("+USOSEC: 0,0")


def test_a_dead_tls_connection_of_r410m(start, pki):
    from tests.support.ublox import tls

    leaf = pki.leaf("dead.example")

    def die(stream: socket.socket) -> None:
        import struct

        stream.recv(1)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.socket.close(stream)

    with tls(leaf, serve=die) as (port, _):
        made = start(R4)
        made.open("127.0.0.1", port, profile=0)
        made.send(0, b"x")
        assert made.settle(lambda out: b"+UU" in out and out.endswith(b"\r\n")) == b"\r\n+UUSORD: 0,4294967295\r\n"
        made.ok("AT+USOCL=0")


def test_plain_echo_of_much(start):
    made = start()
    with plain() as port:
        assert made.open("127.0.0.1", port) == OK
        got, sent = b"", b"".join(bytes([n % 256]) * 1024 for n in range(40))
        for at in range(0, len(sent), 1024):
            made.send(0, sent[at : at + 1024])
            while len(got) < at + 1024:
                answer = made.command("AT+USORD=0,1024")
                head, _, body = answer.split(b"+USORD: 0,", 1)[1].partition(b',"')
                if head.isdigit():
                    got += body[: int(head)]
                made.loop.poll(0.001)
        assert got == sent
