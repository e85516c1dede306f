"""Sockets of the simulated u-blox modules: created, listening, closed, over real connections."""

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
    tls,
)

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
