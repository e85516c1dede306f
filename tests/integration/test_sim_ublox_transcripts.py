"""Dialogues of u-blox's documents, byte by byte, against simulated modules and real peers."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
from collections.abc import Iterator

import pytest

from tests.support.ublox import R4, R5, Module, Peer, tls

NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture(name="module")
def module_fixture():
    running: list[Module] = []

    def start(*arguments, **options) -> Module:
        made = Module(*arguments, **options)
        running.append(made)
        return made

    yield start
    for one in running:
        one.close()


def play(module: Module, *turns: tuple[bytes, bytes]) -> None:
    """What the host sends and exactly what is said then, by itself included."""
    for sent, said in turns:
        module.write(sent)
        got = module.settle(lambda out, said=said: len(out) >= len(said)) if said else module.read()
        assert got == said, sent


def test_start_and_activation_of_sara_r5(module):
    made = module(R5, ready=False)
    play(
        made,
        (b"AT\r", b"AT\r\r\nOK\r\n"),
        (b"ATE0\r", b"ATE0\r\r\nOK\r\n"),
        (b"AT+CMEE=2\r", b"\r\nOK\r\n"),
        (b"AT+CGMM\r", b"\r\nSARA-R510M8S\r\n\r\nOK\r\n"),
        (b"ATI9\r", b"\r\n02.06,A00.01\r\n\r\nOK\r\n"),
        (b"AT+UDCONF=1,0\r", b"\r\nOK\r\n"),
        (b"AT+CEREG?\r", b"\r\n+CEREG: 0,1\r\n\r\nOK\r\n"),
        (b"AT+UPSD=0,0,0\r", b"\r\nOK\r\n"),
        (b"AT+UPSD=0,100,1\r", b"\r\nOK\r\n"),
        (b"AT+UPSDA=0,3\r", b"\r\nOK\r\n"),
    )
    address = made.machine.personality.bearer.address(1)
    assert made.expect(b"\r\n+UUPSDA") + made.until_quiet() == f'\r\n+UUPSDA: 0,"{address}"\r\n'.encode()


def test_server_authentication_with_a_blocking_connect(module, pki):
    """The whole of the document's first example, with a certificate and a page of ours."""
    from hashlib import md5

    name = "www.example.org"
    page = b"HTTP/1.0 204 No Content\r\n\r\n"

    def serve(stream: socket.socket) -> None:
        assert stream.recv(100) == b"GET / HTTP/1.0\r\n\r\n"
        stream.sendall(page)

    pem = pki.ca.read_bytes()
    digest = md5(ssl.PEM_cert_to_DER_cert(pem.decode())).hexdigest()
    with tls(pki.leaf(name), serve=serve) as (port, seen):
        made = module(R5, maps=[f"{name}=127.0.0.1:{port}"], clock=NOW)
        expiry = pki_expiry(pki)
        play(
            made,
            (f'AT+USECMNG=0,0,"ThawteCA",{len(pem)}\r'.encode(), b"\r\n>"),
            (pem, f'\r\n+USECMNG: 0,0,"ThawteCA","{digest}"\r\n\r\nOK\r\n'.encode()),
            (b"AT+USECMNG=3\r", f'\r\nCA,"ThawteCA","","{expiry}"\r\n\r\nOK\r\n'.encode()),
            (b"AT+USECPRF=2\r", b"\r\nOK\r\n"),
            (b"AT+USECPRF=2,1,3\r", b"\r\nOK\r\n"),
            (b'AT+USECPRF=2,3,"ThawteCA"\r', b"\r\nOK\r\n"),
            (b'AT+USECPRF=2,4,"www.example.org"\r', b"\r\nOK\r\n"),
            (b'AT+USECPRF=2,10,"www.example.org"\r', b"\r\nOK\r\n"),
            (b"AT+USECPRF=2,0,2\r", b"\r\nOK\r\n"),
            (b"AT+USECPRF=2,0\r", b"\r\n+USECPRF: 2,0,2\r\n\r\nOK\r\n"),
            (b"AT+USOCR=6\r", b"\r\n+USOCR: 0\r\n\r\nOK\r\n"),
            (b"AT+USOSEC=0,1,2\r", b"\r\nOK\r\n"),
            (b'AT+USOCO=0,"www.example.org",443\r', b"\r\nOK\r\n"),
            (b"AT+USOWR=0,18\r", b"\r\n@"),
            (b"GET / HTTP/1.0\r\n\r\n", b"\r\n+USOWR: 0,18\r\n\r\nOK\r\n\r\n+UUSORD: 0,27\r\n"),
            (b"AT+USORD=0,1024\r", b'\r\n+USORD: 0,27,"' + page + b'"\r\n\r\nOK\r\n\r\n+UUSOCL: 0\r\n'),
        )
        assert seen.names == [name]
        assert seen.versions == ["TLSv1.2"]


def pki_expiry(pki) -> str:
    from cryptography import x509

    return x509.load_pem_x509_certificate(pki.ca.read_bytes()).not_valid_after_utc.strftime("%Y/%m/%d")


def test_mutual_authentication_of_r410m_with_echo(module, pki):
    from hashlib import md5

    def der(path, marker: str) -> bytes:
        import base64
        import re

        text = re.search(rf"-----BEGIN [A-Z ]*{marker}-----(.*?)-----END", path.read_text(), re.DOTALL)
        assert text
        return base64.b64decode(text[1])

    client = pki.client()
    things = ((0, "ca", der(pki.ca, "CERTIFICATE")), (1, "crt", der(client.cert, "CERTIFICATE")),
              (2, "key", der(client.key, "PRIVATE KEY")))  # fmt: skip
    with tls(pki.leaf("mqtt.example.org"), client_ca=pki, most=ssl.TLSVersion.TLSv1_2) as (port, seen):
        made = module(R4, ready=False, maps=[f"mqtt.example.org=127.0.0.1:{port}"])
        for kind, name, data in things:
            asked = f'AT+USECMNG=0,{kind},"{name}",{len(data)}\r'.encode()
            digest = md5(data).hexdigest().upper().encode()
            play(
                made,
                (asked, asked + b"\r\n>"),
                (data, data + b'\r\n+USECMNG: 0,%d,"%s","%s"\r\n\r\nOK\r\n' % (kind, name.encode(), digest)),
            )
        for text in ("USECPRF=0", 'USECPRF=0,3,"ca"', 'USECPRF=0,5,"crt"', 'USECPRF=0,6,"key"', "USECPRF=0,0,1"):
            play(made, (f"AT+{text}\r".encode(), f"AT+{text}\r\r\nOK\r\n".encode()))
        play(
            made,
            (b"AT+USOCR=6\r", b"AT+USOCR=6\r\r\n+USOCR: 0\r\n\r\nOK\r\n"),
            (b"AT+USOSEC=0,1,0\r", b"AT+USOSEC=0,1,0\r\r\nOK\r\n"),
            (b'AT+USOCO=0,"mqtt.example.org",8883\r', b'AT+USOCO=0,"mqtt.example.org",8883\r\r\nOK\r\n'),
            (b"AT+USORD=0,512\r", b'AT+USORD=0,512\r\r\n+USORD: 0,""\r\n\r\nOK\r\n'),
            (b"AT+USOWR=0,5\r", b"AT+USOWR=0,5\r\r\n@"),
            (b"hello", b"\r\n+USOWR: 0,5\r\n\r\nOK\r\n\r\n+UUSORD: 0,5\r\n"),
            (b"AT+USOCL=0\r", b"AT+USOCL=0\r\r\nOK\r\n"),
        )
        assert made.until_quiet() == b""
        assert len(seen.clients) == 1
        assert seen.clients[0]


@contextlib.contextmanager
def udp_peer() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(5)
        yield peer


@pytest.mark.parametrize(("model", "notice"), [(R5, b"+UUSORD"), (R4, b"+UUSORF")])
def test_plain_datagrams(module, model, notice):
    with udp_peer() as peer:
        made = module(model, maps=[f"195.34.89.241:7=127.0.0.1:{peer.getsockname()[1]}"])

        def back() -> None:
            data, address = peer.recvfrom(2000)
            peer.sendto(data, address)

        play(
            made,
            (b"AT+USOCR=17\r", b"\r\n+USOCR: 0\r\n\r\nOK\r\n"),
            (b'AT+USOST=0,"195.34.89.241",7,5,"Hello"\r', b"\r\n+USOST: 0,5\r\n\r\nOK\r\n"),
        )
        back()
        assert made.expect(b"RD: 0,5\r\n" if model == R5 else b"RF: 0,5\r\n") == b"\r\n" + notice + b": 0,5\r\n"
        play(
            made,
            (b"AT+USORF=0,5\r", b'\r\n+USORF: 0,"195.34.89.241",7,5,"Hello"\r\n\r\nOK\r\n'),
            (b'AT+USOST=0,"195.34.89.241",7,2\r', b"\r\n@"),
            (b"\x00\xff", b"\r\n+USOST: 0,2\r\n\r\nOK\r\n"),
        )
        back()
        play(
            made,
            (b"", b"\r\n" + notice + b": 0,2\r\n"),
            (b"AT+USORF=0,0\r", b"\r\n+USORF: 0,2\r\n\r\nOK\r\n"),
            (b"AT+USORF=0,1024\r", b'\r\n+USORF: 0,"195.34.89.241",7,2,"\x00\xff"\r\n\r\nOK\r\n'),
        )


def test_a_datagram_read_in_two_halves_while_another_comes(module):
    with udp_peer() as peer:
        made = module(R4, maps=[f"195.34.89.241:7=127.0.0.1:{peer.getsockname()[1]}"])
        play(
            made,
            (b"AT+USOCR=17\r", b"\r\n+USOCR: 0\r\n\r\nOK\r\n"),
            (b'AT+USOST=0,"195.34.89.241",7,1,"?"\r', b"\r\n+USOST: 0,1\r\n\r\nOK\r\n"),
        )
        _, address = peer.recvfrom(10)
        peer.sendto(b"0123456789abcdefghij", address)
        play(
            made,
            (b"", b"\r\n+UUSORF: 0,20\r\n"),
            (
                b"AT+USORF=0,10\r",
                b'\r\n+USORF: 0,"195.34.89.241",7,10,"0123456789"\r\n\r\nOK\r\n\r\n+UUSORF: 0,10\r\n',
            ),
        )
        peer.sendto(b"x" * 20, address)
        assert made.until_quiet() == b""
        play(
            made,
            (
                b"AT+USORF=0,10\r",
                b'\r\n+USORF: 0,"195.34.89.241",7,10,"abcdefghij"\r\n\r\nOK\r\n\r\n+UUSORF: 0,20\r\n',
            ),
        )


def connected(made: Module, peer: Peer, number: int = 0) -> None:
    made.open("127.0.0.1", peer.port, number=number)
    assert peer.stream


def test_direct_link_and_back(module):
    with Peer() as peer:
        made = module(R5)
        connected(made, peer)
        play(made, (b"AT+USODL=0\r", b"\r\nCONNECT\r\n"))
        made.write(b"any bytes\x00\xff+++")
        assert peer.receive(14) == b"any bytes\x00\xff+++"
        peer.stream.sendall(b"back\r\nOK\r\n")
        play(made, (b"", b"back\r\nOK\r\n"))
        made.advance(1.1)
        made.write(b"+++")
        assert made.read() == b""
        made.advance(1.1)
        assert made.read() == b"\r\nDISCONNECT\r\n\r\nOK\r\n"
        play(made, (b"AT+USOCTL=0,10\r", b"\r\n+USOCTL: 0,10,4\r\n\r\nOK\r\n"))


@pytest.mark.parametrize(
    ("variant", "said"),
    [
        ("disconnect", b"\r\nDISCONNECT\r\n\r\n+UUSOCL: 0\r\n"),
        ("uusocl", b"\r\n+UUSOCL: 0\r\n\r\nDISCONNECT\r\n"),
    ],
)
def test_the_peer_closes_in_direct_link(module, variant, said):
    with Peer() as peer:
        made = module(R5, f"direct-link-end={variant}")
        connected(made, peer)
        play(made, (b"AT+USODL=0\r", b"\r\nCONNECT\r\n"))
        peer.stream.close()
        play(made, (b"", said), (b"AT\r", b"\r\nOK\r\n"))


def test_remote_close_with_unread_data(module):
    with Peer() as peer:
        made = module(R5)
        made.ok("AT+CMEE=2")
        connected(made, peer)
        peer.stream.sendall(b"a" * 30)
        play(made, (b"", b"\r\n+UUSORD: 0,30\r\n"))
        peer.stream.sendall(b"b" * 5)
        assert made.until_quiet() == b""
        play(
            made,
            (b"AT+USORD=0,10\r", b'\r\n+USORD: 0,10,"aaaaaaaaaa"\r\n\r\nOK\r\n\r\n+UUSORD: 0,25\r\n'),
        )
        peer.stream.close()
        assert made.until_quiet() == b""
        play(
            made,
            (b"AT+USOCTL=0,10\r", b"\r\n+USOCTL: 0,10,7\r\n\r\nOK\r\n"),
            (b"AT+USOWR=0,3\r", b"\r\n@"),
            (b"123", b"\r\n+USOWR: 0,0\r\n\r\nOK\r\n"),
            (
                b"AT+USORD=0,25\r",
                b'\r\n+USORD: 0,25,"aaaaaaaaaaaaaaaaaaaabbbbb"\r\n\r\nOK\r\n\r\n+UUSOCL: 0\r\n',
            ),
            (b"AT+USORD=0,0\r", b"\r\n+CME ERROR: operation not allowed\r\n"),
        )


def test_a_failed_connect_takes_the_socket_with_it(module, pki):
    with tls(pki.self_signed("untrusted.example.org")) as (port, _):
        made = module(R5, maps=[f"untrusted.example.org=127.0.0.1:{port}"])
        made.store(0, "ca", pki.ca.read_bytes())
        made.ok('AT+USECPRF=0,3,"ca"')
        made.command("AT+USOCR=6")
        made.ok("AT+USOSEC=0,1,0")
        play(
            made,
            (b'AT+USOCO=0,"untrusted.example.org",443\r', b"\r\nERROR\r\n\r\n+UUSOCL: 0\r\n"),
            (b"AT+USOER\r", b"\r\n+USOER: 111\r\n\r\nOK\r\n"),
            (b"AT+USOCL=0\r", b"\r\n+CME ERROR: 3\r\n"),
        )


def test_errors_of_the_store(module):
    made = module(R5)
    play(
        made,
        (b'AT+USECMNG=0,0,"bad",5\r', b"\r\n>"),
        (b"xxxxx", b"\r\n+CME ERROR: 1913\r\n"),
        (b'AT+USECMNG=0,0,"big",9000\r', b"\r\n+CME ERROR: 1911\r\n"),
        (b'AT+USECMNG=4,0,"nope"\r', b"\r\n+CME ERROR: 1916\r\n"),
        (b"AT+USOWR=5,3\r", b"\r\n+CME ERROR: 3\r\n"),
        (b"AT+CMEE=2\r", b"\r\nOK\r\n"),
        (b'AT+USECMNG=0,0,"bad",5\r', b"\r\n>"),
        (b"xxxxx", b"\r\n+CME ERROR: USECMNG invalid certificate/key format\r\n"),
        (b"AT+CMEE=1\r", b"\r\nOK\r\n"),
        (b'AT+USECMNG=0,0,"slow",100\r', b"\r\n>"),
        (b"x" * 60, b""),
    )
    made.advance(19.9)
    assert made.read() == b""
    made.advance(0.2)
    assert made.read() == b"\r\n+CME ERROR: 1910\r\n"


def test_a_full_queue(module):
    with Peer() as peer:
        made = module(R5)
        connected(made, peer)
        made.machine.send_failures = 1
        play(
            made,
            (b'AT+USOWR=0,3,"abc"\r', b"\r\nERROR\r\n"),
            (b"AT+USOCTL=0,1\r", b"\r\n+USOCTL: 0,1,11\r\n\r\nOK\r\n"),
            (b'AT+USOWR=0,3,"abc"\r', b"\r\n+USOWR: 0,3\r\n\r\nOK\r\n"),
        )
        assert peer.receive(3) == b"abc"


def test_asynchronous_connect_and_close(module):
    with Peer() as peer:
        made = module(R4, maps=[f"198.51.100.7=127.0.0.1:{peer.port}"])
        for _ in range(3):
            made.command("AT+USOCR=6")
        made.write(b'AT+USOCO=2,"198.51.100.7",443,1\rAT+CSQ\r')
        assert made.expect(b"+UUSOCO: 2,0\r\n") == b"\r\nOK\r\n\r\n+CSQ: 20,99\r\n\r\nOK\r\n\r\n+UUSOCO: 2,0\r\n"
        assert peer.stream
        play(made, (b"AT+USOCL=2,1\r", b"\r\nOK\r\n"))
        peer.stream.close()
        play(made, (b"", b"\r\n+UUSOCL: 2\r\n"))


@pytest.mark.parametrize(("variant", "more"), [("yes", b"\r\n+UUSOCL: 0\r\n"), ("no", b"")])
def test_asynchronous_failure(module, variant, more):
    with Peer() as peer:
        port = peer.port
    made = module(R4, f"uusocl-after-failed={variant}")
    made.command("AT+USOCR=6")
    made.ok(f'AT+USOCO=0,"127.0.0.1",{port},1')
    assert made.until_quiet() == b"\r\n+UUSOCO: 0,111\r\n" + more


def test_hex_mode(module):
    with Peer() as peer:
        made = module(R5)
        connected(made, peer)
        play(
            made,
            (b"AT+UDCONF=1,1\r", b"\r\nOK\r\n"),
            (b'AT+USOWR=0,4,"00FF4142"\r', b"\r\n+USOWR: 0,4\r\n\r\nOK\r\n"),
        )
        assert peer.receive(4) == b"\x00\xffAB"
        peer.stream.sendall(b'\r\n"')
        play(
            made,
            (b"", b"\r\n+UUSORD: 0,3\r\n"),
            (b"AT+USORD=0,512\r", b'\r\n+USORD: 0,3,"0D0A22"\r\n\r\nOK\r\n'),
        )


def test_listening_socket(module):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = module(R5)
    local = made.machine.personality.bearer.address(1)
    made.command("AT+USOCR=6")
    play(made, (f"AT+USOLI=0,{port}\r".encode(), b"\r\nOK\r\n"))
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"eighteen bytes too")
        theirs = client.getsockname()[1]
        expected = f'\r\n+UUSOLI: 1,"127.0.0.1",{theirs},0,"{local}",{port}\r\n\r\n+UUSORD: 1,18\r\n'
        play(made, (b"", expected.encode()))
