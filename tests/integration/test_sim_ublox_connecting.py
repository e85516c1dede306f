"""How sockets of the simulated u-blox modules get their peer, or do not."""

from __future__ import annotations

import contextlib
import socket

import pytest

from tests.support.servers import free_port
from tests.support.ublox import (
    ERROR,
    OK,
    R4,
    R5,
    Peer,
    cme,
    line,
    linked,
    start_fixture,  # noqa: F401
)


def closed_port() -> int:
    return free_port()


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


def test_an_id_that_a_failed_connect_leaves(start):
    """As the log of an R410M-02B has it: the number is there until it is closed."""
    made = start(R4, "id-after-failed-connect=kept")
    made.command("AT+USOCR=6")
    assert made.ask(f'AT+USOCO=0,"127.0.0.1",{closed_port()}', b"ERROR\r\n") + made.until_quiet() == ERROR
    assert made.command("AT+USOER") == line("+USOER: 111")
    assert made.command("AT+USOCR=6") == line("+USOCR: 1")
    made.ok("AT+USOCL=0")
    made.ok(f'AT+USOCO=1,"127.0.0.1",{closed_port()},1')
    assert made.until_quiet() == b"\r\n+UUSOCO: 1,111\r\n"
    with Peer() as peer:  # it can be tried again
        made.ok(f'AT+USOCO=1,"127.0.0.1",{peer.port},1')
        assert made.expect(b"+UUSOCO: 1,0\r\n") == b"\r\n+UUSOCO: 1,0\r\n"


def test_a_lost_context_leaves_no_id(start, nowhere):
    made = start(R4, "id-after-failed-connect=kept")
    made.command("AT+USOCR=6")
    made.ok(f'AT+USOCO=0,"127.0.0.1",{nowhere},1')
    made.machine.personality.fault("pdpdeact", 1)
    assert b"+UUSOCO: 0,100\r\n" in made.until_quiet()
    assert made.command("AT+USOCL=0") == cme(3)


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
