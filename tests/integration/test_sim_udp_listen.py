"""UDP, listeners and the rest of the simulated modem's QI commands."""

from __future__ import annotations

import contextlib
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


@pytest.fixture(name="start")
def start_fixture():
    """Start a modem with variants and a context that is active."""
    with contextlib.ExitStack() as stack:

        def make(*variants: str, maps=()) -> Harness:
            made = stack.enter_context(Harness(variants=variants, maps=maps))
            made.command("ATE0;+QIACT=1")
            return made

        yield make


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


def test_udp_service_shows_itself_and_whom_it_knows(start, udp):
    port = free_port()
    modem = start(maps=[f"10.7.89.10:6969=127.0.0.1:{udp.getsockname()[1]}"])
    opened(modem, f'AT+QIOPEN=1,2,"UDP SERVICE","127.0.0.1",0,{port},0', 2)
    state = modem.command("AT+QISTATE=0,1")
    assert state == f'\r\n+QISTATE: 2,"UDP SERVICE","10.76.51.180",0,{port},2,1,2,0,"uart1"\r\n\r\nOK\r\n'.encode()
    modem.write(b'AT+QISEND=2,4,"10.7.89.10",6969\r')
    modem.write(b"ping")
    _, address = udp.recvfrom(100)
    udp.sendto(b"pong", address)
    modem.expect(b'"recv",2\r\n')
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        other.sendto(b"x", address)
        modem.settle(lambda _: modem.machine.personality.tcp.table[2].unread == 5)
        assert modem.command("AT+QIRD=2,1500") == b'\r\n+QIRD: 4,"10.7.89.10",6969\r\npong\r\n\r\nOK\r\n'
        theirs = other.getsockname()[1]
        assert modem.command("AT+QIRD=2,1") == f'\r\n+QIRD: 1,"127.0.0.1",{theirs}\r\nx\r\n\r\nOK\r\n'.encode()
    assert modem.command("AT+QIRD=2,0") == b"\r\n+QIRD: 5,5,0\r\n\r\nOK\r\n"


def test_udp_service_pushes_with_the_sender(modem, udp):
    port = free_port()
    opened(modem, f'AT+QIOPEN=1,2,"UDP SERVICE","127.0.0.1",0,{port},1', 2)
    mine = udp.getsockname()[1]
    for data in (b"\r\nOK\r\n", b"y" * 3000):  # one notice each, whatever the size
        udp.sendto(data, ("127.0.0.1", port))
        urc = f'\r\n+QIURC: "recv",2,{len(data)},"127.0.0.1",{mine}\r\n'.encode() + data + b"\r\n"
        assert modem.settle(lambda out, urc=urc: len(out) >= len(urc)) == urc
    assert modem.command("AT+QIRD=2") == ERROR


def test_udp_client_pushes_a_datagram_at_once(modem, udp):
    opened(modem, f'AT+QIOPEN=1,0,"UDP","127.0.0.1",{udp.getsockname()[1]},0,1', 0)
    modem.command('AT+QISENDEX=0,"00"')
    _, address = udp.recvfrom(10)
    udp.sendto(b"y" * 3000, address)
    urc = b'\r\n+QIURC: "recv",0,3000\r\n' + b"y" * 3000 + b"\r\n"
    assert modem.settle(lambda out: len(out) >= len(urc)) == urc


@pytest.mark.parametrize(
    "text",
    [
        "QISEND=2,4",
        "QISEND=2",
        'QISEND=2,4,"127.0.0.1"',
        'QISEND=2,4,"127.0.0.1",0',
        'QISEND=2,4,"peer.example",9',
        'QISEND=2,4,"300.0.0.1",9',
        "QISEND=2,4,127.0.0.1,9",
        'QISEND=2,1461,"127.0.0.1",9',
        'QISEND=2,0,"127.0.0.1",9',
        'QISENDEX=2,"3132"',
    ],
)
def test_wrong_sends_of_a_udp_service(modem, text):
    opened(modem, f'AT+QIOPEN=1,2,"UDP SERVICE","127.0.0.1",0,{free_port()},0', 2)
    assert modem.command(f"AT+{text}") == ERROR
    assert b"552" in modem.command("AT+QIGETERROR")
    assert modem.command("AT+QISWTMD=2,2") == ERROR


@pytest.mark.parametrize(("variant", "heard"), [("peer", 1), ("anybody", 2)])
def test_whom_a_udp_client_hears(start, udp, variant, heard):
    modem = start(f"udp-client-hears={variant}")
    opened(modem, f'AT+QIOPEN=1,0,"UDP","127.0.0.1",{udp.getsockname()[1]}', 0)
    assert modem.command('AT+QISEND=0,1,"127.0.0.1",9') == ERROR  # it has one peer
    assert modem.command("AT+QISWTMD=0,2") == ERROR
    modem.command('AT+QISENDEX=0,"00"')
    _, address = udp.recvfrom(10)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"?", address)
        udp.sendto(b"!", address)
        modem.settle(lambda _: modem.machine.weather.carried("in") == 2)
        reads = [modem.command("AT+QIRD=0") for _ in range(3)]
    assert sum(b"+QIRD: 1\r\n" in read for read in reads if b"+QIRD" in read) == heard


@pytest.mark.parametrize(("variant", "reads"), [("kept", [2, 1, 2, 0]), ("lost", [2, 2, 0]), ("joined", [2, 2, 1, 0])])
def test_a_datagram_read_in_part(start, udp, variant, reads):
    modem = start(f"datagram-rest={variant}")
    opened(modem, f'AT+QIOPEN=1,0,"UDP","127.0.0.1",{udp.getsockname()[1]}', 0)
    modem.command('AT+QISENDEX=0,"00"')
    _, address = udp.recvfrom(10)
    udp.sendto(b"abc", address)
    udp.sendto(b"de", address)
    modem.settle(lambda _: modem.machine.personality.tcp.table[0].unread == 5)
    modem.read()
    assert [int(modem.command("AT+QIRD=0,2").split(b"\r\n")[1][7:]) for _ in reads] == reads


def test_a_local_port_is_that_of_the_connection(modem):
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as server:
        opened(modem, f'AT+QIOPEN=1,0,"TCP","127.0.0.1",{server.getsockname()[1]},{port},0', 0)
        far, address = server.accept()
        with far:
            assert address[1] == port
            assert f",{port},2,1,0,0," in modem.command("AT+QISTATE=1,0").decode()
        modem.write(f'AT+QIOPEN=1,1,"TCP","127.0.0.1",{server.getsockname()[1]},{server.getsockname()[1]},0\r'.encode())
        assert b"+QIOPEN: 1,556" in modem.settle(lambda out: b"+QIOPEN: 1," in out)


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


@pytest.mark.parametrize(("variant", "mode", "shown"), [("inherited", 0, 0), ("inherited", 1, 1), ("buffer", 1, 0)])
def test_the_mode_of_what_comes_in(start, variant, mode, shown):
    port = free_port()
    modem = start(f"incoming-mode={variant}")
    opened(modem, f'AT+QIOPEN=1,1,"TCP LISTENER","127.0.0.1",0,{port},{mode}', 1)
    with socket.create_connection(("127.0.0.1", port)) as client:
        mine = client.getsockname()[1]
        modem.expect(b'"incoming",11,1,')
        state = modem.command("AT+QISTATE=1,11")
        line = f'+QISTATE: 11,"TCP INCOMING","127.0.0.1",{mine},{port},2,1,1,{shown},"uart1"'
        assert state == f"\r\n{line}\r\n\r\nOK\r\n".encode()
        client.sendall(b"data")
        modem.expect(b'"recv",11,4\r\ndata' if shown else b'"recv",11\r\n')
        modem.write(b"AT+QISEND=11,4\r")
        modem.write(b"back")
        assert client.recv(10) == b"back"


@pytest.mark.parametrize(("variant", "left"), [("alone", [b"11"]), ("with-incoming", [])])
def test_closing_a_listener(start, variant, left):
    port = free_port()
    modem = start(f"listener-close={variant}")
    opened(modem, f'AT+QIOPEN=1,1,"TCP LISTENER","127.0.0.1",0,{port},0', 1)
    for wrong in ("QISEND=1,1", "QIRD=1", "QISWTMD=1,2"):
        assert modem.command(f"AT+{wrong}") == ERROR
    with socket.create_connection(("127.0.0.1", port)) as client:
        modem.expect(b'"incoming",11,1,')
        assert modem.command("AT+QICLOSE=1") == OK
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        states = modem.command("AT+QISTATE?").split(b"+QISTATE: ")[1:]
        assert [state.split(b",")[0] for state in states] == left
        if left:
            client.sendall(b"still here")
            modem.expect(b'"recv",11')
            assert modem.command("AT+QICLOSE=11,0") == OK
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(10) == b""


def test_an_id_that_is_free_again_is_given_to_the_next(modem):
    port = free_port()
    opened(modem, f'AT+QIOPEN=1,0,"TCP LISTENER","127.0.0.1",0,{port},0', 0)
    with contextlib.ExitStack() as stack:
        for number in range(11, 0, -1):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            modem.expect(f'"incoming",{number},0,'.encode())
        refused = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        assert modem.expect(b"full") + modem.read() == b'\r\n+QIURC: "incoming full"\r\n'
        with contextlib.suppress(ConnectionResetError):
            assert refused.recv(1) == b""
        assert b"+QIOPEN: 5,563" in modem.command('AT+QIOPEN=1,5,"UDP","127.0.0.1",9') + modem.settle(lambda _: True)
        assert modem.command("AT+QICLOSE=7,0") == OK
        stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        modem.expect(b'"incoming",7,0,')


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
