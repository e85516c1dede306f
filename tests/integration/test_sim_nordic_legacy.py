"""The selecting dialect of the simulated Serial LTE Modem, and its proxies."""

from __future__ import annotations

import contextlib
import socket

import pytest

from modemtls.tlsengine import Settings, Verify, Version
from tests.support.dtls import DtlsEcho
from tests.support.nordic import ERROR, OK, SLM, ask, modem, udp, write
from tests.support.servers import echo, free_port, tls_service
from tests.support.tls_ends import need_mbedtls
from tests.support.ublox import tls

PSK = {"7/3": b"c0ffee", "7/4": b"dev"}


@contextlib.contextmanager
def connected(*variants, serve=echo):
    with tls_service(None, serve) as port, modem(SLM, *variants) as made:
        assert made.command("AT#XSOCKET=1,1,0") == b"\r\n#XSOCKET: 1,1,6\r\n" + OK
        assert ask(made, f'AT#XCONNECT="peer.example",{port}') == b"\r\n#XCONNECT: 1\r\n" + OK
        yield made


def selected(made) -> bytes:
    return made.command("AT#XSOCKETSELECT?")


def test_opening_selects_and_closing_falls_back():
    with modem(SLM) as made:
        assert selected(made) == OK
        assert made.command("AT#XSOCKET=0") == ERROR
        made.command("AT#XSOCKET=1,1,0")
        made.command("AT#XSOCKET=1,2,0")
        assert made.command("AT#XSSOCKET=1,1,0,4711") == b"\r\n#XSSOCKET: 3,1,258\r\n" + OK
        lines = b"".join(
            b"\r\n#XSOCKETSELECT: " + line + b"\r\n"
            for line in (b"1,1,0,1,-1,1,0", b"2,1,0,2,-1,2,0", b"3,1,0,1,4711,3,0", b"3")
        )
        assert selected(made) == lines + OK
        assert made.command("AT#XSOCKETSELECT=1") == b"\r\n#XSOCKETSELECT: 1\r\n" + OK
        assert made.command("AT#XSOCKET?") == b"\r\n#XSOCKET: 1,1,0,1,0\r\n" + OK
        assert made.command("AT#XSOCKETSELECT=4") == ERROR
        assert made.command("AT#XSOCKET=0") == b'\r\n#XSOCKET: 0,"closed"\r\n' + OK
        assert selected(made).endswith(b"\r\n#XSOCKETSELECT: 3\r\n" + OK)  # the latest of those left
        assert made.command("AT#XSSOCKET?") == b"\r\n#XSSOCKET: 3,1,0,1,4711,0\r\n" + OK
        assert made.command("AT#XSSOCKET=0") == b'\r\n#XSSOCKET: 0,"closed"\r\n' + OK
        assert made.command("AT#XSOCKET=1,1,0") == b"\r\n#XSOCKET: 1,1,6\r\n" + OK
        for line in ("3,1,0", "1,3,1", "1,1", "-1"):
            assert made.command(f"AT#XSOCKET={line}") == ERROR


def test_eight_sockets():
    with modem(SLM, "first-handle=0") as made:
        for handle in range(8):
            assert made.command("AT#XSOCKET=1,2,0") == f"\r\n#XSOCKET: {handle},2,17\r\n".encode() + OK
        assert made.command("AT#XSOCKET=1,2,0") == ERROR


def test_the_commands_of_the_other_dialect_are_unknown():
    with connected() as made:
        for line in ("AT#XCLOSE", "AT#XCLOSE=1", 'AT#XSEND=1,0,0,"a"', "AT#XRECV=1,0,0,5", "AT#XAPOLL=1,1,1", "ATE1"):
            assert made.command(line) == ERROR, line


def test_data():
    with connected() as made:
        assert ask(made, 'AT#XSEND="ping"') == b"\r\n#XSEND: 4\r\n" + OK
        assert ask(made, "AT#XRECV=10") == b"\r\n#XRECV: 4\r\nping" + OK
        assert ask(made, "AT#XRECV=1") == ERROR
        assert ask(made, "AT#XRECV=0,64") == ERROR
        assert ask(made, 'AT#XSEND="' + "x" * 1024 + '"') == b"\r\n#XSEND: 1024\r\n" + OK
        assert ask(made, 'AT#XSEND="' + "x" * 1025 + '"') == ERROR
        made.settle(lambda _: made.machine.personality.sockets.table[1].unread == 1024)
        assert ask(made, "AT#XRECV=5,2") == b"\r\n#XRECV: 576\r\n" + b"x" * 576 + OK  # its buffer, peeked at
        assert ask(made, "AT#XRECV=5") == b"\r\n#XRECV: 576\r\n" + b"x" * 576 + OK
        assert ask(made, "AT#XRECV=5") == b"\r\n#XRECV: 448\r\n" + b"x" * 448 + OK


def test_the_end_comes_without_an_information_line():
    with connected("rx-max=708", serve=lambda stream: stream.sendall(b"bye")) as made:
        assert ask(made, "AT#XRECV=5") == b"\r\n#XRECV: 3\r\nbye" + OK
        assert ask(made, "AT#XRECV=5") == OK
        assert ask(made, "AT#XRECV=5") == OK


@pytest.mark.parametrize(("release", "port_told"), [("2.9.0", True), ("1.9.2", False)])
def test_datagrams(release, port_told):
    with udp() as peer, modem(SLM, f"release={release}") as made:
        port = peer.getsockname()[1]
        made.command("AT#XSOCKET=1,2,0")
        assert made.command("AT#XBIND=0") == OK
        assert ask(made, f'AT#XSENDTO="peer.example",{port},"one"') == b"\r\n#XSENDTO: 3\r\n" + OK
        data, address = peer.recvfrom(10)
        peer.sendto(data * 2, address)
        sender = f'"127.0.0.1",{port}' if port_told else '"127.0.0.1"'
        assert ask(made, "AT#XRECVFROM=5") == f"\r\n#XRECVFROM: 6,{sender}\r\noneone".encode() + OK
        assert ask(made, 'AT#XSEND="x"') == ERROR  # there is no peer


def test_poll_waits_for_whoever_has_something():
    with connected() as made:
        made.command("AT#XSOCKET=1,2,0")
        assert ask(made, "AT#XPOLL=100") == OK
        made.command("AT#XSOCKETSELECT=1")
        ask(made, 'AT#XSEND="x"')
        assert ask(made, "AT#XPOLL=-1") == b'\r\n#XPOLL: 1,"0x0001"\r\n' + OK
        assert ask(made, "AT#XPOLL=50,2") == OK
        assert ask(made, "AT#XPOLL=50,3") == ERROR
        assert ask(made, "AT#XRECV=1") == b"\r\n#XRECV: 1\r\nx" + OK
        write(made, "AT#XPOLL=-1")
        made.advance(1000)
        assert made.read() == b""
        made.machine.personality.fault("pdpdeact", 1)
        assert made.read() == b'\r\n#XPOLL: 1,"0x0008"\r\n' + OK
    with connected("poll-timeout=ERROR") as made:
        assert ask(made, "AT#XPOLL=50") == ERROR
    with connected(serve=lambda stream: stream.sendall(b"x")) as made:
        made.settle(lambda _: made.machine.personality.sockets.table[1].ended)
        assert ask(made, "AT#XPOLL=0") == b'\r\n#XPOLL: 1,"0x0011"\r\n' + OK


def test_asynchronous_poll_came_late():
    with modem(SLM, "release=3.1.0") as made:
        made.command("AT#XSOCKET=1,2,0")
        assert made.command("AT#XAPOLL=1,4,1") == OK + b"\r\n#XAPOLL: 1,4\r\n"
        assert made.command("AT#XAPOLL=0") == OK


def test_a_server_waits_for_its_client():
    port = free_port()
    with modem(SLM) as made:
        made.command("AT#XSOCKET=1,1,1")
        assert made.command("AT#XLISTEN") == ERROR
        assert made.command(f"AT#XBIND={port}") == OK
        assert made.command("AT#XLISTEN") == OK
        assert ask(made, "AT#XACCEPT=1") == ERROR
        for text in (b"first", b"second"):  # the second takes the first one's place
            with socket.create_connection(("127.0.0.1", port), 5) as client:
                assert ask(made, "AT#XACCEPT=5") == b'\r\n#XACCEPT: 2,"127.0.0.1"\r\n' + OK
                client.sendall(text)
                assert ask(made, "AT#XPOLL=0,1") == OK  # only of who comes
                assert made.command("AT#XPOLL=0,2") == ERROR
                assert made.command("AT#XSOCKETSELECT=2") == ERROR
                assert ask(made, "AT#XRECV=5").endswith(text + OK)
                assert ask(made, 'AT#XSEND="hi"') == b"\r\n#XSEND: 2\r\n" + OK
                client.settimeout(5)
                assert client.recv(10) == b"hi"
        assert made.command("AT#XSOCKET=1,1,0") == b"\r\n#XSOCKET: 3,1,6\r\n" + OK  # 2 is the client's
        made.command("AT#XSOCKET=0")
        assert made.command("AT#XSOCKET=0") == b'\r\n#XSOCKET: 0,"closed"\r\n' + OK
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)


# --- proxies ----------------------------------------------------------------------------------------------------------


def test_tcp_client_in_one_command():
    with tls_service(None, echo) as port, modem(SLM) as made:
        assert ask(made, f'AT#XTCPCLI=1,"peer.example",{port}') == b'\r\n#XTCPCLI: 1,"connected"\r\n' + OK
        assert ask(made, f'AT#XTCPCLI=1,"peer.example",{port}') == ERROR
        assert made.command("AT#XTCPCLI?") == b"\r\n#XTCPCLI: 1,1\r\n" + OK
        write(made, 'AT#XTCPSEND="ping"')
        assert made.expect(b"\nping") == b"\r\n#XTCPSEND: 4\r\n" + OK + b"\r\n#XTCPDATA: 4\r\nping"
        made.write(b"AT#XTCPSEND\r\n")
        assert made.read() == OK
        made.write(b"raw")
        made.advance(0.2)
        assert made.expect(b"raw") == b"raw"  # in data mode the payload alone
        made.write(b"+++")
        assert made.read() == b"\r\n#XDATAMODE: 0\r\n"
        assert made.command("AT#XTCPCLI=0") == b'\r\n#XTCPCLI: 0,"disconnected"\r\n' + OK
        assert made.command("AT#XTCPCLI=0") == ERROR
        assert made.command("AT#XTCPCLI?") == b"\r\n#XTCPCLI: -1,1\r\n" + OK
        assert ask(made, 'AT#XTCPSEND="x"') == ERROR


def test_tcp_client_whose_peer_goes_or_is_not_there():
    with tls_service(None, lambda stream: stream.sendall(b"bye")) as port, modem(SLM) as made:
        write(made, f'AT#XTCPCLI=1,"peer.example",{port}')
        expected = b'\r\n#XTCPCLI: 1,"connected"\r\n' + OK + b"\r\n#XTCPDATA: 3\r\nbye"
        assert made.expect(b'"disconnected"\r\n') == expected + b'\r\n#XTCPCLI: -128,"disconnected"\r\n'
        refused = ask(made, f'AT#XTCPCLI=1,"peer.example",{free_port()}')
        assert refused == b'\r\n#XTCPCLI: -111,"not connected"\r\n' + ERROR


@pytest.mark.parametrize(("arguments", "accepted"), [("7", False), ("7,2", False), ("7,2,0", True), ("7,0", True)])
def test_secure_tcp_client(pki, arguments, accepted):
    with (
        tls(pki.leaf("other.example")) as (port, _),
        modem(SLM, maps=[f"server.example=127.0.0.1:{port}"], files={"7/0": pki.ca.read_bytes()}) as made,
    ):
        answer = ask(made, f'AT#XTCPCLI=1,"server.example",443,{arguments}')
        if accepted:
            assert answer == b'\r\n#XTCPCLI: 1,"connected"\r\n' + OK
            write(made, 'AT#XTCPSEND="ping"')
            assert made.expect(b"\nping").endswith(b"\r\n#XTCPDATA: 4\r\nping")
        else:
            assert answer == b'\r\n#XTCPCLI: -113,"not connected"\r\n' + ERROR


def test_udp_client_in_one_command():
    with udp() as peer, modem(SLM) as made:
        port = peer.getsockname()[1]
        assert ask(made, f'AT#XUDPCLI=1,"192.0.2.9",{port}') == b'\r\n#XUDPCLI: 1,"connected"\r\n' + OK
        assert ask(made, 'AT#XUDPSEND="ping"') == b"\r\n#XUDPSEND: 4\r\n" + OK
        data, address = peer.recvfrom(10)
        peer.sendto(data, address)
        peer.sendto(b"two", address)
        told = f'\r\n#XUDPDATA: 4,"192.0.2.9",{port}\r\nping\r\n#XUDPDATA: 3,"192.0.2.9",{port}\r\ntwo'.encode()
        assert made.expect(b"two") == told
        assert made.command("AT#XUDPCLI?") == b"\r\n#XUDPCLI: 1,1\r\n" + OK
        assert made.command("AT#XUDPCLI=0") == b'\r\n#XUDPCLI: 0,"disconnected"\r\n' + OK


def server(cid: bytes | None) -> Settings:
    return Settings(
        server=True, datagram=True, min_version=Version.TLS1_2, max_version=Version.TLS1_2, verify=Verify.NONE,
        psks={b"dev": bytes.fromhex("c0ffee")}, cid=cid,
    )  # fmt: skip


def test_secure_udp_client():
    with DtlsEcho(server(None)) as peer, modem(SLM, files=PSK) as made:
        answer = ask(made, f'AT#XUDPCLI=1,"peer.example",{peer.port},7')
        assert answer == b'\r\n#XUDPCLI: 1,"connected"\r\n' + OK
        write(made, 'AT#XUDPSEND="ping"')
        assert made.expect(b"\nping") == b"\r\n#XUDPSEND: 4\r\n" + OK + b"\r\n#XUDPDATA: 4\r\nping"


def test_secure_udp_client_with_connection_id():
    with modem(SLM, "firmware=mfw_nrf9160_1.3.4", files=PSK) as made:
        answer = ask(made, 'AT#XUDPCLI=1,"peer.example",5684,7,1')
        assert answer == b'\r\n#XUDPCLI: -134,"not connected"\r\n' + ERROR
    need_mbedtls()
    with DtlsEcho(server(b"AB")) as peer, modem(SLM, files=PSK) as made:
        answer = ask(made, f'AT#XUDPCLI=1,"peer.example",{peer.port},7,2')
        assert answer == b'\r\n#XUDPCLI: 1,"connected"\r\n' + OK
        assert peer.handshakes[0].own_cid == b"AB"
        assert peer.handshakes[0].peer_cid
