"""DTLS of the simulated u-blox modules is DTLS: to OpenSSL's own server, over a network that loses and reorders."""

from __future__ import annotations

import datetime
import socket
import time

import pytest

from tests.support.dtls import logged, say
from tests.support.dtls_peers import openssl_dtls
from tests.support.pki import Leaf
from tests.support.ublox import OK, R4, R5, Module, cme, line

SECRET = "00112233445566778899AABBCCDDEEFF"
NAME = "coaps.example.org"
NOW = datetime.datetime.now(datetime.UTC)
PSK = ("0,0", "1,3", '2,100,"C0","A8",0', f'8,"{SECRET}",1', '9,"device-17"')


def psk_options(identity: str = "device-17") -> tuple[str, ...]:
    return (
        "-quiet",
        "-psk",
        SECRET.lower(),
        "-psk_identity",
        identity,
        "-nocert",
        "-cipher",
        "PSK-AES128-CCM8:@SECLEVEL=0",
    )


def module(port: int, *settings: str, model: str = R5, variants=(), faults=(), clock=None) -> Module:
    made = Module(model, *variants, maps=[f"{NAME}=127.0.0.1:{port}"], faults=faults, clock=clock)
    made.ok("AT+USECPRF=1", *(f"AT+USECPRF=1,{setting}" for setting in settings))
    return made


@pytest.mark.server
def test_pre_shared_key_with_the_suite_of_coap(tmp_path):
    """The whole of the document's example, then the end."""
    with openssl_dtls(tmp_path, *psk_options()) as (port, process, log), module(port, *PSK) as made:
        assert made.command("AT+USECPRF=1,2") == line('+USECPRF: 1,2,100,"C0A8"')
        assert made.open(NAME, 5684, protocol=17, profile=1) == OK
        assert "TLS_PSK_WITH_AES_128_CCM_8" in "\n".join(made.machine.trace.notes)
        assert made.send(0, b"one\n") == b"\r\n+USOWR: 0,4\r\n" + OK
        assert logged(log, b"one")
        say(process, b"back\n")
        assert made.expect(b"\r\n+UUSORD: 0,5\r\n")
        assert made.command("AT+USORD=0,1024") == b'\r\n+USORD: 0,5,"back\n"\r\n' + OK
        assert made.command("AT+USORF=0,10") == cme(4)
        assert made.command("AT+USOCTL=0,0") == line("+USOCTL: 0,0,17")
        made.ok("AT+USOCL=0")
        assert logged(log, b"")


@pytest.mark.server
def test_the_peers_end_is_told(tmp_path):
    with openssl_dtls(tmp_path, *psk_options(), mtu=None) as (port, process, _), module(port, *PSK) as made:
        assert made.open(NAME, 5684, protocol=17, profile=1) == OK
        say(process, b"last words\n")
        made.expect(b"+UUSORD: 0,11")
        before = made.machine.weather.carried("in")
        assert process.stdin
        process.stdin.close()  # the server says goodbye
        process.stdin = None
        made.settle(lambda _: made.machine.weather.carried("in") > before)
        assert made.until_quiet() == b""
        assert made.command("AT+USORD=0,100") == b'\r\n+USORD: 0,11,"last words\n"\r\n' + OK + b"\r\n+UUSOCL: 0\r\n"
        assert made.command("AT+USORD=0,100") == cme(3)


@pytest.mark.server
@pytest.mark.parametrize(
    "settings",
    [
        (f'8,"{SECRET[:-2]}00",1', '9,"device-17"'),  # the wrong key: silence
        (f'8,"{SECRET}",1', '9,"device-17"', "2,16"),  # a suite that the server does not have
    ],
)
def test_a_refused_handshake_ends_in_time(tmp_path, settings):
    with openssl_dtls(tmp_path, *psk_options()) as (port, _, _), module(
        port, *PSK[:3], *settings, variants=["handshake-time=2"]
    ) as made:  # fmt: skip
        made.command("AT+USOCR=17")
        made.ok("AT+USOSEC=0,1,1")
        answer = made.ask(f'AT+USOCO=0,"{NAME}",5684', b"+UUSOCL: 0\r\n")
        assert answer == b"\r\nERROR\r\n\r\n+UUSOCL: 0\r\n"
        assert made.command("AT+USOCL=0") == cme(3)


def test_a_server_that_never_answers():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        with module(silent.getsockname()[1], *PSK) as made:
            made.command("AT+USOCR=17")
            made.ok("AT+USOSEC=0,1,1")
            made.write(f'AT+USOCO=0,"{NAME}",5684\r'.encode())
            _, address = silent.recvfrom(2000)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:  # its alert is none
                stranger.sendto(bytes.fromhex("15fefd000000000000000000020228"), address)
            assert made.until_quiet(0.05) == b""
            made.advance(118)
            assert made.read() == b""
            made.advance(2)
            assert made.read() == b"\r\nERROR\r\n\r\n+UUSOCL: 0\r\n"
            assert made.command("AT+USOER") == line("+USOER: 110")


@pytest.mark.server
@pytest.mark.parametrize("leaf", ["good", "wrong"])
def test_certificates(pki, tmp_path, leaf):
    shown: Leaf = pki.leaf(NAME if leaf == "good" else "other.example")
    client = pki.client()
    options = (
        "-quiet",
        "-cert",
        str(shown.cert),
        "-key",
        str(shown.key),
        "-Verify",
        "1",
        "-CAfile",
        str(pki.ca),
        "-verify_return_error",
    )
    with openssl_dtls(tmp_path, *options) as (port, _, log), module(port, "1,3", clock=NOW) as made:
        made.store(0, "ca", pki.ca.read_bytes())
        made.store(1, "crt", client.cert_pem)
        made.store(2, "key", client.key_pem)
        made.ok('AT+USECPRF=1,3,"ca"', f'AT+USECPRF=1,4,"{NAME}"', 'AT+USECPRF=1,5,"crt"', 'AT+USECPRF=1,6,"key"')
        made.ok("AT+USECPRF=1,0,3")
        answer = made.open(NAME, 5684, protocol=17, profile=1)
        if leaf == "wrong":
            assert answer.startswith(b"\r\nERROR\r\n")
            assert "hostname mismatch" in "\n".join(made.machine.trace.notes)
            return
        assert answer == OK
        assert made.send(0, b"mutual\n").startswith(b"\r\n+USOWR: 0,7\r\n")
        assert logged(log, b"mutual")


@pytest.mark.server
@pytest.mark.parametrize(
    ("faults", "waits"),
    [
        (("drop@out 1",), True),  # the first hello
        (("drop@in 2",), True),  # the server's flight
        (("swap@in 2",), True),  # what is sent again overtakes it
        (("twice@out 2", "twice@in 2"), False),
        (("drop@out 3",), True),
    ],
)
def test_a_handshake_gets_over_what_the_network_does(tmp_path, faults, waits):
    with openssl_dtls(tmp_path, *psk_options()) as (port, _, log), module(port, *PSK, faults=faults) as made:
        began = time.monotonic()
        assert made.open(NAME, 5684, protocol=17, profile=1) == OK
        assert (time.monotonic() - began > 0.9) is waits  # OpenSSL's first wait is a second
        assert made.send(0, b"through\n") == b"\r\n+USOWR: 0,8\r\n" + OK
        assert logged(log, b"through")
        assert sum(note.startswith("fault: ") for note in made.machine.trace.notes) == len(faults)


@pytest.mark.server
def test_a_lost_record_is_lost_and_the_next_one_is_not(tmp_path):
    with openssl_dtls(tmp_path, *psk_options()) as (port, process, log), module(port, *PSK) as made:
        assert made.open(NAME, 5684, protocol=17, profile=1) == OK
        from modemtls.sim.faults import Fault

        sent = made.machine.weather.carried("out")
        made.machine.add_fault(Fault.parse(f"drop@out {sent + 1}"))
        made.send(0, b"lost\n")
        made.send(0, b"kept\n")
        assert logged(log, b"kept")
        assert b"lost" not in log.read_bytes()
        came = made.machine.weather.carried("in")
        made.machine.add_fault(Fault.parse(f"swap@in {came + 1}"))
        say(process, b"first\n")
        assert made.until_quiet(0.1) == b""
        say(process, b"second\n")
        assert b"+UUSORD: 0,7" in made.expect(b"+UUSORD")
        assert b'"second\n"' in made.command("AT+USORD=0,100")
        assert b'"first\n"' in made.command("AT+USORD=0,100")


@pytest.mark.server
def test_the_largest_write_is_one_record(tmp_path):
    with openssl_dtls(tmp_path, *psk_options()) as (port, _, log), module(port, *PSK) as made:
        assert made.open(NAME, 5684, protocol=17, profile=1) == OK
        assert made.send(0, b"x" * 1024) == b"\r\n+USOWR: 0,1024\r\n" + OK
        assert logged(log, b"x" * 1024)


def test_usost_on_a_secured_socket_leaves_unprotected():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(5)
        with module(peer.getsockname()[1], *PSK) as made:
            made.command("AT+USOCR=17")
            made.ok("AT+USOSEC=0,1,1")
            assert made.command(f'AT+USOST=0,"{NAME}",5684,3,"abc"') == line("+USOST: 0,3")
            assert peer.recv(100) == b"abc"


@pytest.mark.parametrize(
    ("model", "variants", "answer"),
    [
        (R5, (), OK),
        (R4, ("module=R422S",), OK),
        (R4, (), cme(4)),
        (R4, ("module=R422",), b"\r\nERROR\r\n"),
    ],
)
def test_who_has_dtls(model, variants, answer):
    with Module(model, *variants) as made:
        assert made.command("AT+USOCR=17") == line("+USOCR: 0")
        assert made.command("AT+USOSEC=0,1,0") == answer


@pytest.mark.server
def test_a_session_is_resumed_over_datagrams(tmp_path):
    with openssl_dtls(tmp_path, *psk_options()) as (port, _, log), module(port, *PSK, "13,0,1") as made:
        told = made.open(NAME, 5684, protocol=17, profile=1)
        assert made.send(0, b"one\n").startswith(b"\r\n+USOWR")
        assert logged(log, b"one")
        made.ok("AT+USOCL=0")
        data = told.split(b"13,2,")[1].split(b"\r\n")[0].decode()
        made.ok(f"AT+USECPRF=1,13,2,{data}")
        assert made.open(NAME, 5684, protocol=17, profile=1) == told
