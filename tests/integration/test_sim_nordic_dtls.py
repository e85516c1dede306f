"""DTLS of the simulated Nordic modems is DTLS: pre-shared keys, certificates, sessions, Connection ID, real servers."""

from __future__ import annotations

import contextlib
import datetime

import pytest

from modemtls.tlsengine import EngineUnavailableError, Settings, Verify, Version
from tests.support.dtls import DtlsEcho, logged, say
from tests.support.dtls_peers import coap, gnutls, gnutls_keys, java_cid, openssl_dtls
from tests.support.nordic import ERROR, OK, SLM, SM, ask, modem, udp, write
from tests.support.tls_ends import need_mbedtls

KEY, IDENTITY = "00112233445566778899AABBCCDDEEFF", "dev-01"
PSK = {"5001/3": KEY.encode(), "5001/4": IDENTITY.encode()}
NAME = "coaps.example"
NOW = datetime.datetime.now(datetime.UTC)
CONNECTED = b"\r\n#XCONNECT: 0,1\r\n" + OK


def server(**changes) -> Settings:
    return Settings(
        server=True,
        datagram=True,
        min_version=Version.TLS1_2,
        max_version=Version.TLS1_2,
        verify=Verify.NONE,
        psks={IDENTITY.encode(): bytes.fromhex(KEY)},
        **changes,
    )


@contextlib.contextmanager
def secure(port: int, *options: str, variants=(), files=None, **more):
    """A Serial Modem with a DTLS socket 0 for tag 5001 and these options."""
    stored = PSK if files is None else files
    with modem(SM, *variants, maps=[f"{NAME}=127.0.0.1:{port}"], files=stored, **more) as made:
        assert made.command("AT#XSSOCKET=1,2,0,5001") == b"\r\n#XSSOCKET: 0,2,273\r\n" + OK
        for option in options:
            assert made.command(f"AT#XSSOCKETOPT=0,1,{option}") == OK
        yield made


def connect(made, limit: float = 5.0) -> bytes:
    return ask(made, f'AT#XCONNECT=0,"{NAME}",5684', limit)


def exchange(made, data: str = "40001234") -> None:
    assert ask(made, f'AT#XSEND=0,1,0,"{data}"') == f"\r\n#XSEND: 0,0,{len(data) // 2}\r\n".encode() + OK
    assert ask(made, "AT#XRECV=0,1,0,5") == f"\r\n#XRECV: 0,1,{len(data) // 2}\r\n{data}".encode() + OK


@pytest.mark.server
def test_pre_shared_key_to_openssl(tmp_path):
    options = (
        "-quiet",
        "-psk",
        KEY.lower(),
        "-psk_identity",
        IDENTITY,
        "-nocert",
        "-cipher",
        "PSK-AES128-CCM8:@SECLEVEL=0",
    )
    with openssl_dtls(tmp_path, *options) as (port, process, log), secure(port) as made:
        assert connect(made) == CONNECTED
        assert made.command("AT#XSSOCKETOPT=0,0,4") == b"\r\n#XSSOCKETOPT: 0,0xc0a8\r\n" + OK
        assert ask(made, 'AT#XSEND=0,0,0,"one"') == b"\r\n#XSEND: 0,0,3\r\n" + OK
        assert logged(log, b"one")
        say(process, b"back\n")
        assert ask(made, "AT#XRECV=0,0,0,5") == b"\r\n#XRECV: 0,0,5\r\nback\n" + OK
        assert made.command("AT#XAPOLL=0,1,1") == OK
        assert process.stdin
        process.stdin.close()  # it says goodbye and ends
        process.stdin = None
        assert made.expect(b"XAPOLL") == b"\r\n#XAPOLL: 0,17\r\n"
        assert ask(made, "AT#XRECV=0,0,0,5") == OK


@pytest.mark.server
def test_pre_shared_key_to_gnutls(tmp_path):
    keys = gnutls_keys(tmp_path, {IDENTITY.encode(): bytes.fromhex(KEY)})
    with gnutls(tmp_path, *keys, udp=True) as port, secure(port) as made:
        assert connect(made) == CONNECTED
        exchange(made)


@pytest.mark.server
def test_a_coap_exchange_with_libcoap(tmp_path):
    """GET of the server's resources; its answer is 2.05 Content to our message (RFC 7252, section 3)."""
    with (
        coap(tmp_path, "-k", KEY, "-h", "hint") as port,
        secure(port, files={**PSK, "5001/3": KEY.encode().hex().encode()}) as made,
    ):
        assert connect(made) == CONNECTED
        request = "40011234BB2E77656C6C2D6B6E6F776E04636F7265"
        assert ask(made, f'AT#XSEND=0,1,0,"{request}"').endswith(OK)
        answer = ask(made, "AT#XRECV=0,1,0,5")
        assert b"\r\n60451234" in answer
        assert b"</".hex().encode() in answer


@pytest.mark.server
@pytest.mark.parametrize(("theirs", "status"), [(b"JAVA", 3), (None, 0)])
def test_connection_id_with_bouncy_castle(tmp_path, second_engine, theirs, status):
    variants = ["address-after-loss=new"]
    with java_cid(tmp_path, bytes.fromhex(KEY), theirs) as port, secure(port, "14,2", variants=variants) as made:
        made.command("AT#XSOCKETOPT=0,1,34,1")
        assert connect(made, limit=20) == CONNECTED
        assert made.command("AT#XSSOCKETOPT=0,0,15") == f"\r\n#XSSOCKETOPT: 0,{status}\r\n".encode() + OK
        exchange(made)
        if theirs:
            made.machine.personality.fault("pdpdeact", 1)
            made.advance(1)
            exchange(made)


def test_records_stay_apart():
    with DtlsEcho(server()) as peer, secure(peer.port) as made:
        assert connect(made) == CONNECTED
        for text in ("one", "three"):
            assert ask(made, f'AT#XSEND=0,0,0,"{text}"').endswith(OK)
        made.settle(lambda _: len(made.machine.personality.sockets.table[0].inbox) == 2)
        assert ask(made, "AT#XRECV=0,0,0,5,2") == b"\r\n#XRECV: 0,0,2\r\non" + OK  # the rest is lost
        expected = b'\r\n#XRECVFROM: 0,0,5,"127.0.0.1",5684\r\nthree' + OK
        assert ask(made, "AT#XRECVFROM=0,0,0,5") == expected
        assert ask(made, f'AT#XSENDTO=0,0,0,"{NAME}",5684,"x"') == b"\r\n#XSENDTO: 0,0,1\r\n" + OK
        assert ask(made, "AT#XRECV=0,0,0,5") == b"\r\n#XRECV: 0,0,1\r\nx" + OK
        assert ask(made, 'AT#XSEND=0,1,0,"' + "00" * 1253 + '"') == ERROR
        exchange(made)


def test_sending_opens_no_session():
    with DtlsEcho(server()) as peer, secure(peer.port) as made:
        assert ask(made, f'AT#XSENDTO=0,0,0,"{NAME}",5684,"x"') == ERROR
        assert ask(made, "AT#XRECV=0,0,64,0") == ERROR
        assert peer.handshakes == []


@pytest.mark.parametrize(
    ("files", "variants", "answer"),
    [
        ({"5001/3": KEY.encode()}, (), ERROR),
        ({"5001/4": b"dev-01"}, (), ERROR),
        (PSK, ("psk-needs-ca=yes",), ERROR),
        (PSK, (), CONNECTED),
    ],
)
def test_what_has_to_be_under_the_tag(files, variants, answer):
    with DtlsEcho(server()) as peer, secure(peer.port, files=files, variants=variants) as made:
        assert connect(made) == answer


@pytest.mark.parametrize("files", [{**PSK, "5001/3": b"00"}, {**PSK, "5001/4": b"stranger"}])
def test_a_wrong_key_or_identity_is_met_with_an_error(files):
    with DtlsEcho(server()) as peer, secure(peer.port, "18,3", files=files) as made:
        assert connect(made) == ERROR
        assert peer.handshakes == []


@pytest.mark.parametrize("seconds", [1, 3, 31])
def test_a_peer_that_never_answers(seconds):
    with udp() as peer, secure(peer.getsockname()[1], f"18,{seconds}") as made:
        write(made, f'AT#XCONNECT=0,"{NAME}",5684')
        made.advance(seconds - 0.1)
        assert made.read() == b""
        made.advance(0.2)
        assert made.read() == ERROR
        assert peer.recv(2000)[:1] == b"\x16"


def test_the_pdn_goes_and_the_handshake_with_it():
    with udp() as peer, secure(peer.getsockname()[1]) as made:
        write(made, f'AT#XCONNECT=0,"{NAME}",5684')
        made.advance(2)
        made.machine.personality.fault("pdpdeact", 1)
        assert made.read() == ERROR
        made.advance(200)
        assert made.read() == b""


def test_a_handshake_whose_flights_are_lost(pki):
    faults = ["drop@out 1", "drop@in 2"]
    with DtlsEcho(server()) as peer, secure(peer.port, faults=faults) as made:
        assert connect(made, limit=15) == CONNECTED
        exchange(made)


@pytest.mark.parametrize(("host", "accepted"), [(NAME, True), ("other.example", False), ("", True)])
def test_certificates(pki, host, accepted):
    leaf, client = pki.leaf(NAME), pki.client()
    files = {"5001/0": pki.ca.read_bytes(), "5001/1": client.cert_pem, "5001/2": client.key_pem}
    settings = Settings(
        server=True,
        datagram=True,
        min_version=Version.TLS1_2,
        max_version=Version.TLS1_2,
        ca=pki.ca.read_bytes(),
        chain=leaf.cert_pem,
        key=leaf.key_pem,
        verify=Verify.REQUIRED,
    )
    options = [f'2,"{host}"'] if host else []
    with DtlsEcho(settings) as peer, secure(peer.port, *options, files=files, clock=NOW) as made:
        assert connect(made) == (CONNECTED if accepted else ERROR)
        if accepted:
            exchange(made)
            assert len(peer.handshakes) == 1
            assert peer.handshakes[0].peer_chain


@pytest.mark.parametrize(("cache", "resumed"), [(1, [False, True]), (0, [False, False])])
def test_a_session_is_resumed(cache, resumed):
    with DtlsEcho(server()) as peer, secure(peer.port, f"12,{cache}") as made:
        assert connect(made) == CONNECTED
        exchange(made)
        made.command("AT#XCLOSE=0")
        made.command("AT#XSSOCKET=1,2,0,5001")
        assert made.command(f"AT#XSSOCKETOPT=0,1,12,{cache}") == OK
        assert connect(made) == CONNECTED
        exchange(made)
        assert [info.resumed for info in peer.handshakes] == resumed


def test_options_of_dtls():
    with DtlsEcho(server()) as peer, secure(peer.port) as made:
        for line, answer in (
            ("0,0,18", "123"), ("0,1,18,15", ""), ("0,0,18", "15"), ("0,0,15", "0"), ("0,1,22,2", ""), ("0,0,22", "2"),
        ):  # fmt: skip
            expected = f"\r\n#XSSOCKETOPT: 0,{answer}\r\n".encode() + OK if answer else OK
            assert made.command(f"AT#XSSOCKETOPT={line}") == expected
        for line in ("0,1,18,2", "0,0,14", "0,1,14,3", "0,1,15,1", "0,1,22,3", "0,1,19,1", "0,1,20,1", "0,0,17"):
            assert made.command(f"AT#XSSOCKETOPT={line}") == ERROR
        assert connect(made) == CONNECTED
        assert made.command("AT#XSSOCKETOPT=0,1,14,2") == ERROR  # too late
        assert made.command("AT#XSSOCKETOPT=0,0,15") == b"\r\n#XSSOCKETOPT: 0,0\r\n" + OK  # none was asked for


def test_firmware_without_connection_id():
    with modem(SM, "firmware=mfw_nrf9160_1.3.4", files=PSK) as made:
        made.command("AT#XSSOCKET=1,2,0,5001")
        assert made.command("AT#XSSOCKETOPT=0,1,14,2") == ERROR


def test_a_session_that_is_saved_cannot_be_used_until_it_is_loaded():
    with DtlsEcho(server()) as peer, secure(peer.port) as made:
        assert connect(made) == CONNECTED
        assert made.command("AT#XSSOCKETOPT=0,1,20,1") == ERROR
        assert made.command("AT#XSSOCKETOPT=0,1,19,1") == OK
        assert made.command("AT#XSSOCKETOPT=0,1,19,1") == ERROR
        assert ask(made, 'AT#XSEND=0,0,0,"x"') == ERROR
        assert ask(made, "AT#XRECV=0,0,64,0") == ERROR
        assert made.command("AT#XSSOCKETOPT=0,1,20,1") == OK
        exchange(made)
        assert len(peer.handshakes) == 1


def test_no_more_than_four_saved_sessions():
    with DtlsEcho(server()) as peer, secure(peer.port) as made:
        for handle in range(5):
            if handle:
                made.command("AT#XSSOCKET=1,2,0,5001")
            assert ask(made, f'AT#XCONNECT={handle},"{NAME}",5684') == CONNECTED.replace(b" 0,", b" %d," % handle)
            assert made.command(f"AT#XSSOCKETOPT={handle},1,19,0") == (OK if handle < 4 else ERROR)
        made.command("AT#XCLOSE=0")
        assert made.command("AT#XSSOCKETOPT=4,1,19,0") == OK


def test_a_dtls_socket_is_not_kept_open_without_connection_id():
    with DtlsEcho(server()) as peer, secure(peer.port) as made:
        made.command("AT#XSOCKETOPT=0,1,34,1")
        assert connect(made) == CONNECTED
        made.machine.personality.fault("pdpdeact", 1)
        made.advance(1)
        assert ask(made, 'AT#XSEND=0,0,0,"x"') == ERROR


def test_data_mode_over_dtls():
    with DtlsEcho(server()) as peer, secure(peer.port) as made:
        assert connect(made) == CONNECTED
        made.write(b"AT#XSEND=0,2,0,8\r\x40\x01+++\r\n\x00")
        assert made.read() == OK + b"\r\n#XDATAMODE: 0\r\n"
        assert ask(made, "AT#XRECV=0,1,0,5") == b"\r\n#XRECV: 0,1,8\r\n40012b2b2b0d0a00" + OK
        assert peer.heard == [b"\x40\x01+++\r\n\x00"]


def test_the_legacy_applications_dtls():
    with (
        DtlsEcho(server()) as peer,
        modem(SLM, maps=[f"{NAME}=127.0.0.1:{peer.port}"], files=PSK) as made,
    ):
        assert made.command("AT#XSSOCKET=1,2,0,5001,0") == b"\r\n#XSSOCKET: 1,2,273\r\n" + OK
        assert ask(made, f'AT#XCONNECT="{NAME}",5684') == b"\r\n#XCONNECT: 1\r\n" + OK
        assert ask(made, 'AT#XSEND="ping"') == b"\r\n#XSEND: 4\r\n" + OK
        assert ask(made, "AT#XRECV=5") == b"\r\n#XRECV: 4\r\nping" + OK
        assert made.command("AT#XSSOCKET=0") == b'\r\n#XSSOCKET: 0,"closed"\r\n' + OK


# --- Connection ID ----------------------------------------------------------------------------------------------------


@pytest.fixture
def second_engine():
    need_mbedtls()


def test_without_the_second_engine_there_is_no_connection_id_and_the_trace_says_so(monkeypatch):
    def absent(name: str) -> None:
        raise EngineUnavailableError(f"no {name} here")

    monkeypatch.setattr("modemtls.tlsengine.require", absent)
    with DtlsEcho(server()) as peer, secure(peer.port, "14,2") as made:
        assert connect(made) == CONNECTED
        assert made.command("AT#XSSOCKETOPT=0,0,15") == b"\r\n#XSSOCKETOPT: 0,0\r\n" + OK
        assert any("no Connection ID: no mbedtls here" in note for note in made.machine.trace.notes)


@pytest.mark.parametrize(
    ("mine", "theirs", "status"),
    [(2, b"ABCD", 3), (2, b"", 1), (1, b"ABCD", 2), (0, b"ABCD", 0), (2, None, 0)],
)
def test_connection_id_status(second_engine, mine, theirs, status):
    with DtlsEcho(server(cid=theirs)) as peer, secure(peer.port, f"14,{mine}") as made:
        assert connect(made) == CONNECTED
        assert made.command("AT#XSSOCKETOPT=0,0,15") == f"\r\n#XSSOCKETOPT: 0,{status}\r\n".encode() + OK
        exchange(made)


def test_connection_id_outlives_a_change_of_address(second_engine):
    variants = ["address-after-loss=new"]
    with DtlsEcho(server(cid=b"ABCD")) as peer, secure(peer.port, "14,2", variants=variants) as made:
        made.command("AT#XSOCKETOPT=0,1,34,1")
        assert connect(made) == CONNECTED
        exchange(made)
        before = made.command("AT+CGPADDR=0")
        made.machine.personality.fault("pdpdeact", 1)
        assert ask(made, 'AT#XSEND=0,0,0,"x"') == ERROR
        made.advance(1)
        assert made.command("AT+CGPADDR=0") != before
        exchange(made)
        assert len(peer.handshakes) == 1
        assert len(set(peer.addresses)) == 2
