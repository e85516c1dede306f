"""DTLS of the simulated BG95 is DTLS: its two keys, the servers of others, and what a network does to datagrams."""

from __future__ import annotations

import contextlib
import datetime
import socket
import time

import pytest

from modemtls.sim.faults import Fault, UsageError
from modemtls.sim.harness import Harness
from modemtls.tlsengine import Settings, Verify, Version
from tests.support.dtls import DtlsEcho, logged, say
from tests.support.dtls_peers import gnutls, gnutls_leaf, openssl_dtls
from tests.support.pki import Leaf, Pki

NAME = "dtls.example.net"
NOW = datetime.datetime.now(datetime.UTC)
OK = b"\r\nOK\r\n"
ERROR = b"\r\nERROR\r\n"
DTLS = ("dtls=1", "dtlsversion=1")
STRICT = (*DTLS, 'cacert="ca.pem"', "seclevel=1", "checkhost=1", "ignorelocaltime=0")


class Module(Harness):
    """A BG95 with the CA stored, a context active and these settings of SSL context 1."""

    def __init__(self, pki: Pki, port: int, *settings: str, variants=(), faults=(), files=None, model="quectel-bg95"):
        stored = {"ca.pem": pki.ca.read_bytes(), **(files or {})}
        maps = [f"{NAME}=127.0.0.1:{port}"]
        super().__init__(model, maps=maps, files=stored, clock=NOW, variants=variants, faults=faults)
        self.command("ATE0")
        assert self.command("AT+QIACT=1") == OK
        self.set(*settings)

    def set(self, *settings: str) -> None:
        for setting in settings:
            key, _, value = setting.partition("=")
            assert self.command(f'AT+QSSLCFG="{key}",1,{value}') == OK

    def connect(self, number: int = 0, mode: int = 0) -> int:
        """Open; returns what +QSSLOPEN says, which comes behind OK."""
        said = b"+QSSLOPEN: %d," % number
        self.write(f'AT+QSSLOPEN=1,1,{number},"{NAME}",5684,{mode}\r'.encode())
        answer = self.settle(lambda out: said in out and out.endswith(b"\r\n"))
        assert answer.startswith(OK + b"\r\n" + said)
        return int(answer.split(said)[1].split(b"\r\n")[0])

    def send(self, data: bytes, number: int = 0) -> bytes:
        self.write(f"AT+QSSLSEND={number},{len(data)}\r".encode())
        assert self.read() == b"\r\n> "
        self.write(data)
        result, end, rest = self.read().partition(b"\r\n\r\n")  # an echo may be here already
        self._line.out[:0] = b"\r\n" + rest if rest else b""
        return result + end[:2]

    def recv(self, size: int = 1500, number: int = 0) -> bytes:
        return self.command(f"AT+QSSLRECV={number},{size}")

    @property
    def notes(self) -> str:
        return "\n".join(self.machine.trace.notes)

    def unread(self, number: int = 0) -> int:
        return self.machine.personality.ssl.table[number].unread


def data(answer: bytes) -> bytes:
    return b"\r\n+QSSLRECV: %d\r\n" % len(answer) + (answer + b"\r\n" if answer else b"") + OK


def shown(leaf: Leaf, *more: str) -> tuple[str, ...]:
    return ("-quiet", "-cert", str(leaf.cert), "-key", str(leaf.key), *more)


def echo(pki: Pki, **changed) -> DtlsEcho:
    leaf = pki.leaf(NAME)
    wanted = {"min_version": Version.TLS1_0, "verify": Verify.NONE, "legacy": True, "mtu": 2000, **changed}
    return DtlsEcho(Settings(server=True, datagram=True, chain=leaf.cert_pem, key=leaf.key_pem, **wanted))


# --- to the servers of others -----------------------------------------------------------------------------------------


@pytest.mark.server
def test_the_sheets_dialogue(pki, tmp_path):
    """Open in push mode, one datagram each way, then the end."""
    with openssl_dtls(tmp_path, *shown(pki.leaf(NAME))) as (port, process, log), Module(pki, port, *DTLS) as made:
        assert made.command('AT+QSSLCFG="dtls",1') == b'\r\n+QSSLCFG: "dtls",1,1\r\n' + OK
        assert made.connect(mode=1) == 0
        assert "DTLSv1.2" in made.notes
        state = made.command("AT+QSSLSTATE=0").decode()
        assert state.startswith('\r\n+QSSLSTATE: 0,"SSLClient","127.0.0.1",5684,')
        assert state.endswith(',2,1,0,1,"uart1",1\r\n\r\nOK\r\n')
        assert state.split(",")[4] != "0"  # the local port
        assert made.send(b"ping\n") == b"\r\nSEND OK\r\n"
        assert logged(log, b"ping\n")
        say(process, b"pong\n")
        urc = b'\r\n+QSSLURC: "recv",0,5\r\npong\n\r\n'
        assert made.settle(lambda out: len(out) >= len(urc)) == urc
        assert made.command("AT+QSSLCLOSE=0") == OK
        assert made.command("AT+QSSLSTATE") == OK
        made.connect()  # the number is free; the server, told of the end, takes the next one


@pytest.mark.server
def test_the_peers_end_is_told_behind_its_data(pki, tmp_path):
    options = shown(pki.leaf(NAME))
    with openssl_dtls(tmp_path, *options, mtu=None) as (port, process, _), Module(pki, port, *DTLS) as made:
        assert made.connect() == 0
        say(process, b"last words\n")
        assert made.expect(b'"recv",0\r\n') == b'\r\n+QSSLURC: "recv",0\r\n'
        assert process.stdin
        process.stdin.close()  # the server says goodbye
        process.stdin = None
        assert made.expect(b'"closed",0\r\n') == b'\r\n+QSSLURC: "closed",0\r\n'
        assert made.command("AT+QSSLSTATE=0").split(b",")[5] == b"4"
        assert made.recv() == data(b"last words\n")
        assert made.recv() == data(b"")
        assert made.command("AT+QSSLSEND=0,4") == ERROR
        assert b"567" in made.command("AT+QIGETERROR")
        assert made.connect() == 563  # still taken
        assert made.command("AT+QSSLCLOSE=0") == OK


@pytest.mark.server
def test_gnutls_with_certificates(pki, tmp_path):
    with gnutls(tmp_path, *gnutls_leaf(pki.leaf(NAME)), udp=True) as port, Module(pki, port, *STRICT) as made:
        assert made.connect() == 0
        assert made.send(b"to GnuTLS") == b"\r\nSEND OK\r\n"
        made.expect(b'"recv",0\r\n')
        assert made.recv() == data(b"to GnuTLS")


@pytest.mark.server
@pytest.mark.parametrize(
    ("options", "level", "code"),
    [((), 2, 0), (("-Verify", "1"), 2, 0), (("-Verify", "1"), 1, 566)],
)
def test_own_certificate(pki, tmp_path, options, level, code):
    client = pki.client()
    if options:
        options = (*options, "-CAfile", str(pki.ca), "-verify_return_error")
    files = {"client.pem": client.cert_pem, "key.pem": client.key_pem}
    settings = (*STRICT, 'clientcert="client.pem"', 'clientkey="key.pem"', f"seclevel={level}")
    with openssl_dtls(tmp_path, *shown(pki.leaf(NAME), *options)) as (port, _, log):  # noqa: SIM117
        with Module(pki, port, *settings, files=files) as made:
            assert made.connect() == code
            if not code:
                assert made.send(b"mutual\n") == b"\r\nSEND OK\r\n"
                assert logged(log, b"mutual")


@pytest.mark.server
@pytest.mark.parametrize(
    ("which", "settings", "code", "reason"),
    [
        ("good", STRICT, 0, "DTLSv1.2"),
        ("ecdsa", STRICT, 0, "ECDSA"),
        ("wrong", STRICT, 566, "hostname mismatch"),
        ("wrong", (*STRICT, "checkhost=0"), 0, "DTLSv1.2"),
        ("expired", STRICT, 566, "expired"),
        ("expired", (*STRICT, "ignorelocaltime=1"), 0, "DTLSv1.2"),
        ("self", STRICT, 566, "self-signed"),
        ("self", DTLS, 0, "DTLSv1.2"),
        ("good", (*STRICT, 'cacert=""'), 566, "without cacert"),
        ("good", (*STRICT, 'cacert="none.pem"'), 566, "no file"),
        ("good", (*STRICT, "ciphersuite=0XC02B"), 566, "handshake"),  # ECDSA is asked for
        ("ecdsa", (*STRICT, "ciphersuite=0XC02B"), 0, "ECDSA_WITH_AES_128_GCM"),
        ("good", (*STRICT, "ciphersuite=0X0005"), 566, "no longer exists"),
    ],
)
def test_what_the_settings_accept(pki, tmp_path, which, settings, code, reason):
    leaf = {
        "good": lambda: pki.leaf(NAME),
        "ecdsa": lambda: pki.leaf(NAME, ecdsa=True),
        "wrong": lambda: pki.leaf("other.example"),
        "expired": lambda: pki.leaf(NAME, days=(-30, -1)),
        "self": lambda: pki.self_signed(NAME),
    }[which]()
    with openssl_dtls(tmp_path, *shown(leaf)) as (port, _, __), Module(pki, port, *settings) as made:
        assert made.connect() == code
        assert reason in made.notes
        assert made.command("AT+QIGETERROR") == b"\r\n+QIGETERROR: 0,operate successfully\r\n\r\nOK\r\n"
        if code:
            assert made.command("AT+QSSLSEND=0,1") == ERROR
            assert made.command("AT+QSSLCLOSE=0") == OK


# --- versions, names, sessions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "least", "most", "agreed"),
    [
        (0, Version.TLS1_1, Version.TLS1_2, "DTLSv1"),
        (1, Version.TLS1_1, Version.TLS1_2, "DTLSv1.2"),
        (2, Version.TLS1_1, Version.TLS1_2, "DTLSv1.2"),
        (2, Version.TLS1_1, Version.TLS1_1, "DTLSv1"),
        (1, Version.TLS1_1, Version.TLS1_1, ""),
        (0, Version.TLS1_2, Version.TLS1_2, ""),
    ],
)
def test_versions(pki, asked, least, most, agreed):
    """Whatever ``sslversion`` is: that is for TLS."""
    settings = ("dtls=1", f"dtlsversion={asked}", "sslversion=0", "negotiatetime=10")
    with echo(pki, min_version=least, max_version=most) as peer, Module(pki, peer.port, *settings) as made:
        assert made.connect() == (0 if agreed else 566)
        assert [info.version for info in peer.handshakes] == ([agreed] if agreed else [])


@pytest.mark.parametrize(("variant", "told"), [("no", ""), ("yes", NAME)])
def test_the_name_is_for_tls(pki, variant, told):
    with echo(pki) as peer, Module(pki, peer.port, *DTLS, "sni=1", variants=[f"dtls-sni={variant}"]) as made:
        assert made.connect() == 0
        assert [info.server_name for info in peer.handshakes] == [told]


@pytest.mark.parametrize("by", ["ticket", "id"])
def test_a_session_is_resumed_while_its_key_is_set(pki, by):
    with echo(pki) as peer, Module(pki, peer.port, *DTLS, variants=[f"session-by={by}"]) as made:

        def again() -> None:
            assert made.connect() == 0
            assert made.send(b"x") == b"\r\nSEND OK\r\n"
            made.expect(b'"recv",0\r\n')
            assert made.command("AT+QSSLCLOSE=0") == OK

        again()
        made.set("session=1")
        again()  # nothing was kept of the one before
        again()
        made.set("session=0")
        again()
        made.set("session=1")
        again()  # what was kept has been forgotten
        made.set('cacert="ca.pem"', "seclevel=1")
        again()  # the session would get around the check
        made.command("AT+CFUN=1,1")
        made.advance(5)
        made.read()
        made.command("ATE0;+QIACT=1")
        made.set(*DTLS, 'cacert="ca.pem"', "seclevel=1", "session=1")
        again()
        assert [info.resumed for info in peer.handshakes] == [False, False, True, False, False, False, False]
        assert made.notes.count("the session is resumed") == 1


# --- datagrams --------------------------------------------------------------------------------------------------------


@pytest.fixture(name="echoing")
def echoing_fixture(pki):
    """Start a modem that is connected to an echo in ``mode``; returns both."""
    with contextlib.ExitStack() as stack:

        def start(*variants: str, mode: int = 0) -> tuple[Module, DtlsEcho]:
            peer = stack.enter_context(echo(pki))
            made = stack.enter_context(Module(pki, peer.port, *DTLS, variants=variants))
            assert made.connect(mode=mode) == 0
            return made, peer

        yield start


def echoed(made: Module, *records: bytes) -> None:
    """Have records come back, in the order in which they were sent, and wait to be read."""
    count = made.unread()
    for record in records:
        count += len(record)
        assert made.send(record) == b"\r\nSEND OK\r\n"
        said = made.settle(lambda _, count=count: made.unread() >= count)
        assert said in (b"", b'\r\n+QSSLURC: "recv",0\r\n')


def test_records_stay_apart(echoing):
    made, peer = echoing()
    echoed(made, b"one", b"three")
    assert peer.heard == [b"one", b"three"]
    assert made.recv() == data(b"one")
    assert made.recv() == data(b"three")
    assert made.recv() == data(b"")


@pytest.mark.parametrize(
    ("variant", "reads"),
    [("kept", [b"ab", b"cd", b"ef", b""]), ("lost", [b"ab", b"ef", b""]), ("joined", [b"ab", b"cd", b"ef", b""])],
)
def test_a_record_read_in_part(echoing, variant, reads):
    made, _ = echoing(f"datagram-rest={variant}")
    echoed(made, b"abcd", b"ef")
    assert [made.recv(2) for _ in reads] == [data(read) for read in reads]
    assert made.unread() == 0


def test_records_that_run_together(echoing):
    made, _ = echoing("datagram-rest=joined")
    echoed(made, b"abc", b"def")
    assert made.recv(5) == data(b"abcde")
    assert made.recv() == data(b"f")


def test_one_notice_until_everything_is_read(echoing):
    made, _ = echoing()
    made.send(b"a")
    assert made.expect(b'"recv",0\r\n') == b'\r\n+QSSLURC: "recv",0\r\n'
    made.send(b"b")
    assert made.settle(lambda _: made.unread() == 2) == b""
    assert made.recv() == data(b"a")
    made.send(b"c")
    assert made.settle(lambda _: made.unread() == 2) == b""
    made.recv()
    made.recv()
    made.send(b"d")
    made.expect(b'"recv",0\r\n')


def test_a_record_a_notice_in_push_mode(echoing):
    made, _ = echoing(mode=1)
    for record in (b"\r\nOK\r\n", bytes(range(256)), b"x" * 1400):
        made.send(record)
        urc = b'\r\n+QSSLURC: "recv",0,%d\r\n' % len(record) + record + b"\r\n"
        assert made.settle(lambda out, urc=urc: len(out) >= len(urc)) == urc
    assert made.recv() == ERROR


def test_text_up_to_ctrl_z_is_one_record(echoing):
    made, peer = echoing()
    made.write(b"AT+QSSLSEND=0\r\x1a")  # nothing: no record
    assert made.read() == b"\r\n> \r\nSEND OK\r\n"
    made.write(b"AT+QSSLSEND=0\r")
    assert made.read() == b"\r\n> "
    made.write(b"one\r\nrecord\x1a")
    assert made.read().startswith(b"\r\nSEND OK\r\n")
    made.settle(lambda _: made.unread() == 11)
    assert peer.heard == [b"one\r\nrecord"]


@pytest.mark.parametrize(
    ("variant", "answer", "code"),
    [
        ("fragments", b"\r\nSEND OK\r\n", b"0"),
        ("SEND FAIL", b"\r\nSEND FAIL\r\n", b"558"),
        ("ERROR", ERROR, b"558"),
    ],
)
def test_the_largest_send_is_longer_than_a_packet(echoing, variant, answer, code):
    made, peer = echoing(f"dtls-large={variant}")
    assert made.command("AT+QSSLSEND=0,1461") == ERROR
    assert b"552" in made.command("AT+QIGETERROR")
    assert made.send(b"x" * 1460) == answer
    assert b"+QIGETERROR: " + code in made.command("AT+QIGETERROR")
    assert made.send(b"y" * 1300) == b"\r\nSEND OK\r\n"
    made.settle(lambda _: b"y" * 1300 in peer.heard)
    assert (b"x" * 1460 in peer.heard) is (variant == "fragments")


def test_what_does_not_fit_into_the_buffer_is_lost(echoing):
    made, _ = echoing("receive-buffer=1000")
    echoed(made, b"a" * 600)
    made.send(b"b" * 600)
    made.settle(lambda _: "the buffer is full" in made.notes)
    echoed(made, b"c" * 300)
    assert made.recv() == data(b"a" * 600)
    assert made.recv() == data(b"c" * 300)


# --- wrong uses -------------------------------------------------------------------------------------------------------


def test_no_transparent_mode(echoing):
    made, _ = echoing()
    assert made.command("AT+QISWTMD=0,2") == ERROR
    assert made.command("AT+QISWTMD=0,1") == OK
    assert made.command(f'AT+QSSLOPEN=1,1,1,"{NAME}",5684,2') == ERROR
    assert b"552" in made.command("AT+QIGETERROR")
    made.set("dtls=0")
    assert made.command("AT+QSSLSTATE=0").startswith(b"\r\n+QSSLSTATE: 0,")  # what is open stays as it is
    made.send(b"still")
    made.expect(b'"recv",0,5\r\nstill')


@pytest.mark.parametrize("rest", ['"dtls",1,2', '"dtlsversion",1,3', '"dtls",1,"1"', '"dtls",6,1', '"dtls",1,1,1'])
def test_wrong_values(rest):
    with Harness() as made:
        made.command("ATE0")
        assert made.command(f"AT+QSSLCFG={rest}") == ERROR
        assert made.command('AT+QSSLCFG="dtls",1') == b'\r\n+QSSLCFG: "dtls",1,0\r\n\r\nOK\r\n'


@pytest.mark.parametrize(
    ("model", "variants"),
    [
        ("quectel-bg96", []),
        ("quectel-bg96", ["firmware=V1.0"]),
        ("quectel-bg95", ["lacking-keys=dtls,dtlsversion,session"]),
    ],
)
def test_who_has_no_dtls(model, variants):
    with Harness(model, variants=variants) as made:
        made.command("ATE0")
        assert b"dtls" not in made.command("AT+QSSLCFG=?")
        for key in ("dtls", "dtlsversion", "session"):
            assert made.command(f'AT+QSSLCFG="{key}",1,1') == ERROR
            assert b"552" in made.command("AT+QIGETERROR")
            assert made.command(f'AT+QSSLCFG="{key}",1') == ERROR


def test_every_build_has_what_the_first_manual_has():
    with pytest.raises(UsageError, match="dtlsversion"):
        Harness(variants=["lacking-keys=sslversion"])


# --- bad weather ------------------------------------------------------------------------------------------------------


def test_a_server_that_never_answers(pki):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        with Module(pki, silent.getsockname()[1], *DTLS, "negotiatetime=10") as made:
            assert made.command(f'AT+QSSLOPEN=1,1,0,"{NAME}",5684,0') == OK
            _, address = silent.recvfrom(2000)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:  # its alert is none
                stranger.sendto(bytes.fromhex("15fefd000000000000000000020228"), address)
            assert made.command("AT+QSSLSEND=0,1") == ERROR
            made.advance(9)
            assert made.read() == b""
            made.advance(1.1)
            assert made.read() == b"\r\n+QSSLOPEN: 0,566\r\n"
            assert made.connect() == 563  # until it is closed
            assert made.command("AT+QSSLCLOSE=0") == OK


def test_closing_while_the_handshake_goes_on(pki):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        with Module(pki, silent.getsockname()[1], *DTLS) as made:
            assert made.command(f'AT+QSSLOPEN=1,1,0,"{NAME}",5684,0') == OK
            silent.recvfrom(2000)
            assert made.command("AT+QSSLCLOSE=0") == OK
            made.advance(400)
            assert made.read() == b""
            silent.settimeout(0.05)
            with pytest.raises(TimeoutError):
                silent.recvfrom(2000)  # neither alert nor another hello


@pytest.mark.parametrize(
    ("faults", "waits"),
    [
        (("drop@out 1",), True),
        (("drop@in 2",), True),
        (("swap@in 2",), False),  # parts of one flight
        (("twice@out 2", "twice@in 2"), False),
        (("postpone@out 1:0.2",), False),
        (("drop@out 3",), True),
    ],
)
def test_a_handshake_gets_over_what_the_network_does(pki, faults, waits):
    with echo(pki) as peer, Module(pki, peer.port, *DTLS, faults=faults) as made:
        began = time.monotonic()
        assert made.connect() == 0
        assert (time.monotonic() - began > 0.9) is waits  # OpenSSL's first wait is a second
        echoed(made, b"through")
        assert made.notes.count("fault: ") == len(faults)


def test_records_lost_late_overtaken_and_doubled(echoing):
    made, peer = echoing()

    def fault(kind: str, way: str, more: str = "") -> None:
        made.machine.add_fault(Fault.parse(f"{kind}@{way} {made.machine.weather.carried(way) + 1}{more}"))

    fault("drop", "out")
    assert made.send(b"lost") == b"\r\nSEND OK\r\n"
    fault("twice", "out")
    echoed(made, b"doubled")  # a record that comes twice is a replay (RFC 6347, 4.1.2.6)
    fault("swap", "in")
    made.send(b"first")
    made.settle(lambda _: b"first" in peer.heard)
    made.send(b"second")
    made.settle(lambda _: made.unread() == len(b"doubledfirstsecond"))
    assert [made.recv() for _ in range(3)] == [data(b"doubled"), data(b"second"), data(b"first")]
    fault("drop", "in")
    made.send(b"answered in vain")
    made.settle(lambda _: b"answered in vain" in peer.heard)
    fault("postpone", "in", ":60")
    made.send(b"late")
    made.settle(lambda _: b"late" in peer.heard)
    made.settle(lambda _: "postpone" in made.notes)
    assert made.recv() == data(b"")
    made.advance(61)
    made.expect(b'"recv",0\r\n')
    assert made.recv() == data(b"late")
    assert peer.heard == [b"doubled", b"first", b"second", b"answered in vain", b"late"]


def test_a_lost_bearer_ends_it(echoing):
    made, peer = echoing()
    made.machine.personality.fault("pdpdeact", 1)
    assert made.expect(b'"closed",0\r\n') == b'\r\n+QIURC: "pdpdeact",1\r\n\r\n+QSSLURC: "closed",0\r\n'
    assert made.command("AT+QSSLSEND=0,1") == ERROR
    assert made.command("AT+QIDEACT=1") == OK
    assert made.command("AT+QIACT=1") == OK
    assert made.connect(1) == 0
    assert made.command("AT+QIDEACT=1") == OK
    assert made.command("AT+QSSLSTATE=1") == OK
    assert len(peer.handshakes) == 2


def test_a_send_that_fails_is_no_record(pki):
    with echo(pki) as peer, Module(pki, peer.port, *DTLS, variants=["send-fail-every=2"]) as made:
        assert made.connect() == 0
        echoed(made, b"one")
        assert made.send(b"two") == b"\r\nSEND FAIL\r\n"
        assert made.send(b"three") == b"\r\nSEND OK\r\n"
        made.settle(lambda _: made.unread() == 8)
        assert peer.heard == [b"one", b"three"]
