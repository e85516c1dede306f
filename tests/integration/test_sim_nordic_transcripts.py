"""The dialogues that the reference gives as examples, played byte by byte."""

from __future__ import annotations

import datetime
import hashlib
import threading

from modemtls.sim.harness import Harness
from modemtls.tlsengine import Settings, Verify, Version
from tests.support.dtls import DtlsEcho
from tests.support.nordic import SLM, SM, modem
from tests.support.pki import Pki
from tests.support.servers import tls_service
from tests.support.tls_ends import need_mbedtls
from tests.support.ublox import tls


def play(made: Harness, *steps: tuple[str, str]) -> None:
    """Say the first of each step, and hear exactly the second of it."""
    for said, heard in steps:
        made.write(said.encode())
        expected = heard.encode()
        got = made.settle(lambda out, expected=expected: len(out) >= len(expected))
        assert got == expected, said


def booted(model: str, *variants: str, **options) -> Harness:
    made = Harness(model, variants=variants, boot=False, **options)
    made.machine.opened()
    assert made.settle(bool) == b"Ready\r\n"
    return made


def test_legacy_tls_with_ca_host_name_and_session_cache(pki: Pki):
    pem = pki.ca.read_text()
    digest = hashlib.sha256(pem.encode()).hexdigest().upper()

    def pong(stream) -> None:
        assert stream.recv(10) == b"ping"
        stream.sendall(b"pong")

    with (
        tls(pki.leaf("tls.example.com"), serve=pong) as (port, seen),
        booted(
            SLM,
            "registration=roaming",
            maps=[f"tls.example.com:4433=127.0.0.1:{port}"],
            clock=datetime.datetime.now(datetime.UTC),
        ) as made,
    ):
        play(
            made,
            (f'AT%CMNG=0,4711,0,"{pem}"\r\n', "\r\nOK\r\n"),
            ("AT%CMNG=1,4711\r\n", f'\r\n%CMNG: 4711,0,"{digest}"\r\n\r\nOK\r\n'),
            ('AT+CGDCONT=0,"IP","iot.example"\r\n', "\r\nOK\r\n"),
            ("AT+CEREG=1\r\n", "\r\nOK\r\n"),
            ("AT+CFUN=1\r\n", "\r\nOK\r\n\r\n+CEREG: 2\r\n\r\n+CEREG: 5\r\n"),
            ("AT#XSSOCKET=1,1,0,4711,2\r\n", "\r\n#XSSOCKET: 1,1,258\r\n\r\nOK\r\n"),
            ('AT#XSSOCKETOPT=1,2,"tls.example.com"\r\n', "\r\nOK\r\n"),
            ("AT#XSSOCKETOPT=1,12,1\r\n", "\r\nOK\r\n"),
            ('AT#XCONNECT="tls.example.com",4433\r\n', "\r\n#XCONNECT: 1\r\n\r\nOK\r\n"),
            ('AT#XSEND="ping"\r\n', "\r\n#XSEND: 4\r\n\r\nOK\r\n"),
            ("AT#XRECV=10\r\n", "\r\n#XRECV: 4\r\npong\r\nOK\r\n"),
            ("AT#XRECV=5\r\n", "\r\nOK\r\n"),
            ("AT#XSSOCKET=0\r\n", '\r\n#XSSOCKET: 0,"closed"\r\n\r\nOK\r\n'),
        )
        assert seen.names == ["tls.example.com"]


def test_dtls_psk_with_connection_id_poll_and_hex():
    need_mbedtls()
    psk, identity = "00112233445566778899AABBCCDDEEFF", "dev-01"
    settings = Settings(
        server=True, datagram=True, min_version=Version.TLS1_2, max_version=Version.TLS1_2, verify=Verify.NONE,
        psks={identity.encode(): bytes.fromhex(psk)}, cid=b"PEER",
    )  # fmt: skip
    with DtlsEcho(settings) as peer, booted(SM, maps=[f"192.0.2.10:5684=127.0.0.1:{peer.port}"]) as made:
        play(
            made,
            ("AT+CEREG=1\r", "\r\nOK\r\n"),
            (f'AT%CMNG=0,5001,3,"{psk}"\r', "\r\nOK\r\n"),
            (f'AT%CMNG=0,5001,4,"{identity}"\r', "\r\nOK\r\n"),
            ("AT+CFUN=1\r", "\r\nOK\r\n\r\n+CEREG: 2\r\n\r\n+CEREG: 1\r\n"),
            ("AT#XSSOCKET=1,2,0,5001,0\r", "\r\n#XSSOCKET: 0,2,273\r\n\r\nOK\r\n"),
            ("AT#XSSOCKETOPT=0,1,14,2\r", "\r\nOK\r\n"),
            ("AT#XSSOCKETOPT=0,1,18,31\r", "\r\nOK\r\n"),
            ('AT#XCONNECT=0,"192.0.2.10",5684\r', "\r\n#XCONNECT: 0,1\r\n\r\nOK\r\n"),
            ("AT#XSSOCKETOPT=0,0,15\r", "\r\n#XSSOCKETOPT: 0,3\r\n\r\nOK\r\n"),
            ("AT#XAPOLL=0,1,1\r", "\r\nOK\r\n"),
            ('AT#XSEND=0,1,0,"40001234"\r', "\r\n#XSEND: 0,0,4\r\n\r\nOK\r\n\r\n#XAPOLL: 0,1\r\n"),
            ("AT#XRECV=0,1,0,1\r", "\r\n#XRECV: 0,1,4\r\n40001234\r\nOK\r\n"),
            ("AT#XCLOSE=0\r", "\r\n#XCLOSE: 0,0\r\n\r\nOK\r\n"),
        )


def test_tcp_with_data_mode_and_then_the_peer_closes():
    close = threading.Event()

    def serve(stream) -> None:
        assert stream.recv(100) == b"GET / HTTP/1.0\r\n\r\n"
        stream.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
        close.wait(5)

    with tls_service(None, serve) as port, modem(SM, "poll-end=16", maps=[f"example.com:80=127.0.0.1:{port}"]) as made:
        play(
            made,
            ("AT#XSOCKET=1,1,0\r", "\r\n#XSOCKET: 0,1,6\r\n\r\nOK\r\n"),
            ('AT#XCONNECT=0,"example.com",80\r', "\r\n#XCONNECT: 0,1\r\n\r\nOK\r\n"),
            ("AT#XAPOLL=0,1,1\r", "\r\nOK\r\n"),
            ("AT#XSEND=0,2,0,18\r", "\r\nOK\r\n"),
            ("GET / HTTP/1.0\r\n\r\n", "\r\n#XDATAMODE: 0\r\n\r\n#XAPOLL: 0,1\r\n"),
            ("AT#XRECV=0,0,0,1,2048\r", "\r\n#XRECV: 0,0,19\r\nHTTP/1.0 200 OK\r\n\r\n\r\nOK\r\n"),
        )
        close.set()
        play(
            made,
            ("", "\r\n#XAPOLL: 0,16\r\n"),
            ("AT#XRECV=0,0,64,0\r", "\r\nOK\r\n"),
            ("AT#XCLOSE=0\r", "\r\n#XCLOSE: 0,0\r\n\r\nOK\r\n"),
        )


def test_errors(pki: Pki):
    with (
        tls(pki.leaf("right.example")) as (port, _),
        modem(SM, maps=[f"wrong.example:4433=127.0.0.1:{port}"], files={"4711/0": pki.ca.read_bytes()}) as made,
    ):
        play(
            made,
            ("AT+CMEE=1\r", "\r\nOK\r\n"),
            ('AT%CMNG=0,4711,0,"x"\r', "\r\n+CME ERROR: 518\r\n"),
            ("AT#XSSOCKET=1,1,0,4711\r", "\r\n#XSSOCKET: 0,1,258\r\n\r\nOK\r\n"),
            ('AT#XSSOCKETOPT=0,1,2,"wrong.example"\r', "\r\nOK\r\n"),
            ('AT#XCONNECT=0,"wrong.example",4433\r', "\r\nERROR\r\n"),
            ('AT#XGETADDRINFO="no.such.invalid"\r', '\r\n#XGETADDRINFO: "not found"\r\n\r\nERROR\r\n'),
            ("ATI\r", "\r\nERROR\r\n"),
        )
