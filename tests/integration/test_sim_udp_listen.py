"""UDP, listeners and the rest of the simulated modem's QI commands."""

from __future__ import annotations

import socket

import pytest

from modemtls.sim.harness import Harness
from tests.support.servers import free_port

OK = b"\r\nOK\r\n"
ERROR = b"\r\nERROR\r\n"


@pytest.fixture
def modem():
    with Harness() as made:
        made.command("ATE0")
        made.command("AT+QIACT=1")
        yield made


@pytest.fixture
def udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(5)
        yield made


def opened(modem: Harness, line: str, number: int) -> None:
    modem.write(line.encode() + b"\r")
    assert modem.settle(lambda out: b"+QIOPEN" in out) == OK + f"\r\n+QIOPEN: {number},0\r\n".encode()


def test_udp_client_keeps_datagrams_apart(modem, udp):
    opened(modem, f'AT+QIOPEN=1,0,"UDP","127.0.0.1",{udp.getsockname()[1]}', 0)
    modem.write(b"AT+QISEND=0,4\r")
    modem.write(b"ping")
    assert modem.read() == b"\r\n> \r\nSEND OK\r\n"
    data, address = udp.recvfrom(100)
    assert data == b"ping"
    udp.sendto(b"one", address)
    udp.sendto(b"three", address)
    modem.expect(b'"recv",0\r\n')
    modem.settle(lambda _: modem.machine.personality.tcp.table[0].unread == 8)
    assert modem.command("AT+QIRD=0,1500") == b"\r\n+QIRD: 3\r\none\r\n\r\nOK\r\n"
    assert modem.command("AT+QIRD=0") == b"\r\n+QIRD: 5\r\nthree\r\n\r\nOK\r\n"
    assert modem.command("AT+QICLOSE=0") == OK


def test_udp_service(modem, udp):
    port = free_port()
    opened(modem, f'AT+QIOPEN=1,2,"UDP SERVICE","127.0.0.1",0,{port},0', 2)
    mine = udp.getsockname()[1]
    udp.sendto(b"AAAA", ("127.0.0.1", port))
    modem.expect(b'+QIURC: "recv",2\r\n')
    assert modem.command("AT+QIRD=2") == f'\r\n+QIRD: 4,"127.0.0.1",{mine}\r\nAAAA\r\n\r\nOK\r\n'.encode()
    modem.write(f'AT+QISEND=2,10,"127.0.0.1",{mine}\r'.encode())
    modem.write(b"1234567890")
    assert modem.read() == b"\r\n> \r\nSEND OK\r\n"
    assert udp.recvfrom(100) == (b"1234567890", ("127.0.0.1", port))
    assert modem.command("AT+QISEND=2,10") == ERROR  # where to?


def test_listener_takes_ids_from_the_top_and_passes_its_mode_on(modem):
    port = free_port()
    opened(modem, f'AT+QIOPEN=1,1,"TCP LISTENER","127.0.0.1",0,{port},0', 1)
    state = modem.command("AT+QISTATE=1,1")
    assert state == f'\r\n+QISTATE: 1,"TCP LISTENER","10.76.51.180",0,{port},3,1,1,0,"uart1"\r\n\r\nOK\r\n'.encode()
    with socket.create_connection(("127.0.0.1", port)) as client:
        mine = client.getsockname()[1]
        modem.expect(f'\r\n+QIURC: "incoming",11,1,"127.0.0.1",{mine}\r\n'.encode())
        client.sendall(b"test")
        modem.expect(b'+QIURC: "recv",11\r\n')
        assert modem.command("AT+QIRD=11,1500") == b"\r\n+QIRD: 4\r\ntest\r\n\r\nOK\r\n"
        assert b'"TCP INCOMING"' in modem.command("AT+QISTATE=1,11")
        assert modem.command("AT+QICLOSE=11,0") == OK
        assert client.recv(10) == b""
    assert modem.command("AT+QICLOSE=1") == OK


def test_listener_that_has_no_id_left(modem):
    port = free_port()
    opened(modem, f'AT+QIOPEN=1,0,"TCP LISTENER","127.0.0.1",0,{port},0', 0)
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(12)]
    modem.expect(b'\r\n+QIURC: "incoming full"\r\n')
    for client in clients:
        client.close()


def test_port_taken(modem):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        modem.write(f'AT+QIOPEN=1,0,"TCP LISTENER","127.0.0.1",0,{taken.getsockname()[1]},0\r'.encode())
        assert b"+QIOPEN: 0,557" in modem.settle(lambda out: b"+QIOPEN" in out)


def test_counters_and_hex_send(modem):
    with socket.create_server(("127.0.0.1", 0)) as server:
        opened(modem, f'AT+QIOPEN=1,0,"TCP","127.0.0.1",{server.getsockname()[1]},0,0', 0)
        far, _ = server.accept()
        with far:
            assert modem.command('AT+QISENDEX=0,"3132330D"') == b"\r\nSEND OK\r\n"
            assert far.recv(10) == b"123\r"
            assert modem.command('AT+QISENDEX=0,"313"') == ERROR
            assert modem.command('AT+QISENDEX=0,"zz"') == ERROR
            modem.settle(lambda _: b"4,4,0" in modem.command("AT+QISEND=0,0"))
            far.sendall(b"hello")
            modem.expect(b'"recv",0')
            assert modem.command("AT+QIRD=0,0") == b"\r\n+QIRD: 5,0,5\r\n\r\nOK\r\n"
            modem.command("AT+QIRD=0,2")
            assert modem.command("AT+QIRD=0,0") == b"\r\n+QIRD: 5,2,3\r\n\r\nOK\r\n"


def test_configuration_changes_the_wire(modem):
    assert modem.command('AT+QICFG="viewmode",1') == modem.command('AT+QICFG="recvind",1') == OK
    assert modem.command('AT+QICFG="tcp/retranscfg"') == b'\r\n+QICFG: "tcp/retranscfg",8,600\r\n\r\nOK\r\n'
    for wrong in ('"viewmode",2', '"nokey",1', '"tcp/retranscfg",8', "viewmode,1", '"dataformat",1,1'):
        assert modem.command(f"AT+QICFG={wrong}") == ERROR
    with socket.create_server(("127.0.0.1", 0)) as server:
        opened(modem, f'AT+QIOPEN=1,0,"TCP","127.0.0.1",{server.getsockname()[1]},0,0', 0)
        far, _ = server.accept()
        with far:
            far.sendall(b"hello")
            modem.expect(b'\r\n+QIURC: "recv",0,5\r\n')
            assert modem.command("AT+QIRD=0") == b"\r\n+QIRD: 5,hello\r\n\r\nOK\r\n"


def test_ping(modem):
    modem.command('AT+QPING=1,"peer.example",4,2')
    modem.advance(1)
    assert modem.read() == (b'\r\n+QPING: 0,"127.0.0.1",32,50,255\r\n' * 2 + b"\r\n+QPING: 0,2,2,0,50,50,50\r\n")


def test_tls_and_tcp_ids_are_apart(modem):
    with socket.create_server(("127.0.0.1", 0)) as server:
        opened(modem, f'AT+QIOPEN=1,0,"TCP","127.0.0.1",{server.getsockname()[1]},0,0', 0)
        assert modem.command("AT+QSSLSTATE") == OK
        assert modem.command("AT+QSSLSEND=0,1") == ERROR
        assert modem.command("AT+QSSLCLOSE=0") == OK
        assert b'"TCP"' in modem.command("AT+QISTATE?")


@pytest.mark.parametrize(
    "text",
    [
        '1,0,"SCTP","h",9',
        '1,0,"TCP","h",0',
        '1,0,"TCP LISTENER","10.0.0.1",0,2020',
        '1,0,"UDP","h",9,0,2',
        '1,0,"TCP","h"',
        '0,0,"TCP","h",9',
    ],
)
def test_wrong_opens(modem, text):
    assert modem.command(f"AT+QIOPEN={text}") == ERROR
    assert b"552" in modem.command("AT+QIGETERROR")


def test_port_is_never_the_default_loopback_only_by_map():
    """Addresses go to loopback, too, and a map of one port leaves the others alone."""
    from modemtls.sim.faults import FaultPlan
    from modemtls.sim.loop import Loop
    from modemtls.sim.network import Network
    from modemtls.sim.options import NameMap
    from modemtls.sim.trace import Trace
    from modemtls.sim.weather import Weather

    loop = Loop()
    maps = [
        NameMap.parse("a.example:443=127.0.0.1:8443"),
        NameMap.parse("b.example=127.0.0.1:1"),
        NameMap.parse("b.example:2=127.0.0.1:3"),
    ]
    trace = Trace(loop.clock)
    network = Network(loop, maps, trace, Weather(loop, FaultPlan([], 0), trace, 0))
    assert network.target("A.Example", 443) == ("127.0.0.1", 8443)
    assert network.target("a.example", 80) == ("127.0.0.1", 80)
    assert network.target("b.example", 9) == ("127.0.0.1", 1)
    assert network.target("b.example", 2) == ("127.0.0.1", 3)
    assert network.target("93.184.216.34", 443) == ("127.0.0.1", 443)
    assert network.target("www.example.com", 80) == ("127.0.0.1", 80)
    assert network.address("93.184.216.34") == "93.184.216.34"
    for nonsense in ("x.invalid", "a..b", "", "a b", "-", "ä.example", "x" * 64 + ".example", "a\tb", 'a"b'):
        assert network.address(nonsense) is None, nonsense
    loop.close()
