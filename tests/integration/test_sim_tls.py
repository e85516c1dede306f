"""The simulated modem's TLS is real: what a server shows and what the modem was told decide."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import threading
from collections.abc import Iterator

import pytest

from modemtls.sim.harness import Harness
from modemtls.sim.options import NameMap
from tests.support.pki import Leaf, Pki
from tests.support.servers import echo, openssl_server, tls_service

NAME = "server.example"
NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture(scope="module")
def leaves(pki: Pki) -> dict[str, Leaf]:
    other = Pki.__new__(Pki)
    Pki.__init__(other, pki.folder / "..")
    return {
        "good": pki.leaf(NAME),
        "ecdsa": pki.leaf(NAME, ecdsa=True),
        "wrong": pki.leaf("other.example"),
        "expired": pki.leaf(NAME, days=(-30, -1)),
        "future": pki.leaf(NAME, days=(1, 30)),
        "address": pki.leaf("127.0.0.1"),
        "unknown": other.leaf(NAME),
        "self": pki.self_signed(NAME),
        "chain": pki.intermediate(NAME),
        "client": pki.client(),
    }


class Server:
    """What the server saw."""

    def __init__(self) -> None:
        self.sni: list[str | None] = []
        self.client: list[object] = []
        self.version: list[str | None] = []
        self.cipher: list[str] = []
        self.resumed: list[bool | None] = []


@contextlib.contextmanager
def serving(
    leaf: Leaf,
    *,
    client_ca: Pki | None = None,
    versions: tuple[ssl.TLSVersion, ssl.TLSVersion] | None = None,
    ciphers: str = "",
    serve=echo,
) -> Iterator[tuple[int, Server]]:
    seen = Server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert, leaf.key)
    if client_ca is not None:
        context.load_verify_locations(client_ca.ca)
        context.verify_mode = ssl.CERT_REQUIRED
    if versions is not None:
        context.minimum_version, context.maximum_version = versions
    if ciphers:
        context.set_ciphers(ciphers)
    context.sni_callback = lambda _, name, __: seen.sni.append(name)  # type: ignore[assignment]

    def one(stream: socket.socket) -> None:
        assert isinstance(stream, ssl.SSLSocket)
        seen.client.append(stream.getpeercert())
        seen.version.append(stream.version())
        seen.resumed.append(stream.session_reused)
        cipher = stream.cipher()
        seen.cipher.append(cipher[0] if cipher else "")
        serve(stream)

    with tls_service(context, one) as port:
        yield port, seen


@contextlib.contextmanager
def modem(
    pki: Pki, port: int, *settings: str, name: str = NAME, variants=(), clock=NOW, files=None, model="quectel-bg95"
):
    """A modem with the CA stored, a context active and these settings of SSL context 1."""
    stored = {"ca.pem": pki.ca.read_bytes(), **(files or {})}
    with Harness(model, maps=[f"{name}=127.0.0.1:{port}"], files=stored, clock=clock, variants=variants) as made:
        made.command("ATE0")
        made.command("AT+QIACT=1")
        for setting in settings:
            key, _, value = setting.partition("=")
            assert made.command(f'AT+QSSLCFG="{key}",1,{value}') == b"\r\nOK\r\n"
        yield made


def connect(made: Harness, name: str = NAME, mode: int = 0) -> int:
    made.write(f'AT+QSSLOPEN=1,1,0,"{name}",443,{mode}\r'.encode())
    answer = made.settle(lambda out: b"+QSSLOPEN: 0," in out and out.endswith(b"\r\n"))
    assert answer.startswith(b"\r\nOK\r\n\r\n+QSSLOPEN: 0,")
    return int(answer.split(b"+QSSLOPEN: 0,")[1].split(b"\r\n")[0])


STRICT = ('cacert="ca.pem"', "seclevel=1", "checkhost=1", "sni=1", "ignorelocaltime=0", "sslversion=3")


@pytest.mark.parametrize(
    ("leaf", "code", "reason"),
    [
        ("good", 0, "TLSv1.2"),
        ("ecdsa", 0, "ECDSA"),
        ("chain", 0, "TLSv1.2"),
        ("wrong", 566, "hostname mismatch"),
        ("expired", 566, "expired"),
        ("future", 566, "not yet valid"),
        ("unknown", 566, "unable to get local issuer"),
        ("self", 566, "self-signed"),
    ],
)
def test_strict_settings_accept_only_what_is_right(pki, leaves, leaf, code, reason):
    with serving(leaves[leaf]) as (port, _), modem(pki, port, *STRICT) as made:
        assert connect(made) == code
        assert any(reason in note for note in made.machine.trace.notes), made.machine.trace.notes
        assert made.command("AT+QIGETERROR") == b"\r\n+QIGETERROR: 0,operate successfully\r\n\r\nOK\r\n"


@pytest.mark.parametrize("leaf", ["wrong", "expired", "future", "unknown", "self"])
def test_defaults_accept_everything(pki, leaves, leaf):
    with serving(leaves[leaf]) as (port, seen), modem(pki, port) as made:
        assert connect(made) == 0
        assert seen.sni == [None]


@pytest.mark.parametrize(
    ("leaf", "changed", "code"),
    [
        ("wrong", "checkhost=0", 0),
        ("expired", "ignorelocaltime=1", 0),
        ("future", "ignorelocaltime=1", 0),
        ("unknown", "seclevel=0", 0),
        ("wrong", "seclevel=0", 0),
        ("unknown", "ignorelocaltime=1", 566),
        ("good", 'cacert=""', 566),
        ("good", 'cacert="nofile.pem"', 566),
        ("good", "sslversion=0", 566),
        ("good", "ciphersuite=0X0005", 566),
        ("good", "ciphersuite=0XC02B", 566),  # an ECDSA suite, an RSA certificate
        ("good", "ciphersuite=0X003D", 0),
        ("ecdsa", "ciphersuite=0XC02B", 0),
    ],
)
def test_each_setting_counts(pki, leaves, leaf, changed, code):
    with serving(leaves[leaf], ciphers="ALL:@SECLEVEL=0") as (port, _), modem(pki, port, *STRICT, changed) as made:
        assert connect(made) == code


def test_why_old_suites_fail_is_in_the_trace(pki, leaves):
    with serving(leaves["good"]) as (port, _), modem(pki, port, "ciphersuite=0X0004") as made:
        assert connect(made) == 566
        assert "no longer exists" in made.machine.trace.notes[-1]


def test_dates_are_checked_against_the_modems_own_clock(pki, leaves):
    with (
        serving(leaves["expired"]) as (port, _),
        modem(pki, port, *STRICT, clock=NOW - datetime.timedelta(days=10)) as made,
    ):
        assert connect(made) == 0
    with serving(leaves["good"]) as (port, _), modem(pki, port, *STRICT, clock=None) as made:
        assert connect(made) == 566  # 1980: the certificate is not yet valid
        assert "not yet valid" in made.machine.trace.notes[-1]


def test_sni_is_sent_only_when_asked(pki, leaves):
    with serving(leaves["good"]) as (port, seen):
        with modem(pki, port, "sni=1") as made:
            assert connect(made) == 0
        with modem(pki, port, "sni=0") as made:
            assert connect(made) == 0
        assert seen.sni == [NAME, None]


def test_address_is_no_sni_but_is_checked(pki, leaves):
    with serving(leaves["address"]) as (port, seen), modem(pki, port, *STRICT, name="127.0.0.1") as made:
        assert connect(made, "127.0.0.1") == 0
        assert seen.sni == [None]
    with serving(leaves["good"]) as (port, _), modem(pki, port, *STRICT, name="127.0.0.1") as made:
        assert connect(made, "127.0.0.1") == 566


def test_common_name_only(pki):
    leaf = pki.common_name_only(NAME)
    files = {"own.pem": leaf.cert_pem}
    for variant, code in (("cn-only=accept", 0), ("cn-only=refuse", 566)):
        with (
            serving(leaf) as (port, _),
            modem(pki, port, *STRICT, 'cacert="own.pem"', files=files, variants=[variant]) as made,
        ):
            assert connect(made) == code


@pytest.mark.parametrize(
    ("number", "version", "code"),
    [
        (3, ssl.TLSVersion.TLSv1_2, 0),
        (4, ssl.TLSVersion.TLSv1_2, 0),
        (2, ssl.TLSVersion.TLSv1_2, 566),
        (4, ssl.TLSVersion.TLSv1_3, 566),
    ],
)
def test_versions(pki, leaves, number, version, code):
    with (
        serving(leaves["good"], versions=(version, version)) as (port, _),
        modem(pki, port, f"sslversion={number}") as made,
    ):
        assert connect(made) == code


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")
@pytest.mark.parametrize(("number", "version"), [(1, ssl.TLSVersion.TLSv1), (2, ssl.TLSVersion.TLSv1_1)])
def test_old_versions_exactly(pki, leaves, number, version):
    versions = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_2)
    with serving(leaves["good"], versions=versions, ciphers="ALL:@SECLEVEL=0") as (port, seen):
        with modem(pki, port, f"sslversion={number}") as made:
            assert connect(made) == 0
            made.settle(lambda _: bool(seen.version))  # the server's own thread reports it
        assert seen.version == [{1: "TLSv1", 2: "TLSv1.1"}[number]]


def test_one_suite_is_the_suite(pki, leaves):
    with serving(leaves["good"], ciphers="ALL:@SECLEVEL=0") as (port, seen):
        with modem(pki, port, "ciphersuite=0X002F") as made:
            assert connect(made) == 0
            made.settle(lambda _: bool(seen.cipher))
        assert seen.cipher == ["AES128-SHA"]


def test_client_certificate(pki, leaves):
    client = leaves["client"]
    files = {"c.pem": client.cert_pem, "k.pem": client.key_pem, "other.pem": leaves["good"].key_pem}
    identity = ('clientcert="c.pem"', 'clientkey="k.pem"')
    with serving(leaves["good"], client_ca=pki) as (port, seen):
        with modem(pki, port, *STRICT, *identity, "seclevel=2", files=files) as made:
            assert connect(made) == 0
            made.settle(lambda _: bool(seen.client))
        assert "gateway" in str(seen.client[0])
        for settings in (
            ("seclevel=2",),
            (*identity, "seclevel=1"),
            (*identity, 'clientkey="other.pem"', "seclevel=2"),
            (identity[0], "seclevel=2"),
        ):
            with modem(pki, port, *STRICT, *settings, files=files) as made:
                assert connect(made) == 566, settings


def test_encrypted_key_and_rubbish_pem_fail_without_harm(pki, leaves):
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from tests.support.pki import private_pem

    key = load_pem_private_key(leaves["client"].key_pem, None)
    files = {"c.pem": leaves["client"].cert_pem, "k.pem": private_pem(key, b"secret"), "bad.pem": b"not PEM"}  # type: ignore[arg-type]
    with serving(leaves["good"]) as (port, _):
        with modem(pki, port, *STRICT, "seclevel=2", 'clientcert="c.pem"', 'clientkey="k.pem"', files=files) as made:
            assert connect(made) == 566
        with modem(pki, port, *STRICT, 'cacert="bad.pem"', files=files) as made:
            assert connect(made) == 566


def test_ignorecertchain_of_the_late_bg96(pki, leaves):
    settings = ('cacert="ca.pem"', "seclevel=1", "ignorecertchain=1")
    with serving(leaves["unknown"]) as (port, _), modem(pki, port, *settings, model="quectel-bg96") as made:
        assert connect(made) == 0


def test_handshake_that_takes_too_long(pki):
    stop = threading.Event()
    with tls_service(None, lambda _: stop.wait(5)) as port:
        for variant, code in (("timeout-code=566", 566), ("timeout-code=569", 569)):
            with modem(pki, port, "negotiatetime=10", variants=[variant]) as made:
                made.command(f'AT+QSSLOPEN=1,1,0,"{NAME}",443')
                made.settle(lambda _, made=made: made.machine.personality.ssl.table[0].transport.stream is not None)
                made.settle(lambda _, m=made: m.machine.personality.ssl.table[0].transport._tls is not None)
                made.advance(9.5)
                assert made.read() == b""
                made.advance(1)
                assert made.read() == f"\r\n+QSSLOPEN: 0,{code}\r\n".encode()
        stop.set()


def test_peer_that_is_no_tls_server(pki):
    with (
        tls_service(None, lambda stream: stream.sendall(b"HTTP/1.0 400 no\r\n\r\n" * 10)) as port,
        modem(pki, port) as made,
    ):
        assert connect(made) == 566


def test_peer_that_closes_in_the_handshake(pki):
    with tls_service(None, lambda stream: stream.recv(1)) as port, modem(pki, port) as made:
        assert connect(made) == 566


def test_nobody_listens(pki):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with modem(pki, port) as made:
        assert connect(made) == 566
        assert "refused" in made.machine.trace.notes[-1]


def test_name_that_does_not_exist(pki):
    with modem(pki, 1) as made:
        assert connect(made, "www.no-such.invalid") == 565


def test_against_openssl(pki, leaves, tmp_path):
    with openssl_server(tmp_path, leaves["good"]) as port, modem(pki, port, *STRICT) as made:
        assert connect(made) == 0
        made.write(b"AT+QSSLSEND=0,6\r")
        assert made.read() == b"\r\n> "
        made.write(b"hello\n")
        assert b'\r\n+QSSLURC: "recv",0\r\n' in made.settle(lambda out: b"recv" in out)
        assert made.command("AT+QSSLRECV=0,1500") == b"\r\n+QSSLRECV: 6\r\nolleh\n\r\n\r\nOK\r\n"
        assert made.command("AT+QSSLCLOSE=0") == b"\r\nOK\r\n"


def test_openssl_that_wants_a_client_certificate(pki, leaves, tmp_path):
    options = ("-CAfile", str(pki.ca), "-Verify", "3", "-verify_return_error")
    files = {"c.pem": leaves["client"].cert_pem, "k.pem": leaves["client"].key_pem}
    with openssl_server(tmp_path, leaves["good"], *options) as port:
        with modem(pki, port, *STRICT) as made:
            assert connect(made) == 566
        identity = ("seclevel=2", 'clientcert="c.pem"', 'clientkey="k.pem"')
        with modem(pki, port, *STRICT, *identity, files=files) as made:
            assert connect(made) == 0


def test_settings_are_read_at_open_time(pki, leaves):
    with (
        serving(leaves["wrong"]) as (port, _),
        modem(pki, port, 'cacert="ca.pem"', "seclevel=1", "checkhost=0") as made,
    ):
        assert connect(made) == 0
        assert made.command('AT+QSSLCFG="checkhost",1,1') == b"\r\nOK\r\n"  # no harm to the open one
        assert made.command("AT+QSSLSTATE=0").count(b"+QSSLSTATE") == 1
        made.command("AT+QSSLCLOSE=0")
        assert connect(made) == 566


def test_settings_of_a_context_in_use_may_be_refused(pki, leaves):
    with serving(leaves["good"]) as (port, _), modem(pki, port, variants=["cfg-while-open=refuse"]) as made:
        assert connect(made) == 0
        assert made.command('AT+QSSLCFG="sni",1,1') == b"\r\nERROR\r\n"
        assert made.command('AT+QSSLCFG="sni",2,1') == b"\r\nOK\r\n"
        assert made.command('AT+QSSLCFG="sni",1') == b'\r\n+QSSLCFG: "sni",1,0\r\n\r\nOK\r\n'


def echo_and_part(stream: socket.socket) -> None:
    """Echo, and say goodbye: a session that ends without it is taken for a bad one."""
    assert isinstance(stream, ssl.SSLSocket)
    echo(stream)
    stream.unwrap()


@pytest.mark.parametrize("by", ["ticket", "id"])
def test_a_session_is_kept_for_its_context_and_host(pki, leaves, by):
    with (
        serving(leaves["good"], serve=echo_and_part) as (port, seen),
        modem(pki, port, "session=1", "sslversion=3", variants=[f"session-by={by}"]) as made,
    ):
        made.machine.network.map(NameMap.parse(f"other.example=127.0.0.1:{port}"))
        for count, name in enumerate((NAME, NAME, "other.example", NAME, NAME)):  # the last one's is kept
            assert connect(made, name) == 0
            made.settle(lambda _, count=count: len(seen.resumed) > count)  # the server is the last to know
            made.write(b"AT+QSSLCLOSE=0\r")
            assert made.settle(bool) == b"\r\nOK\r\n"  # it has ended as well
        made.command('AT+QSSLCFG="session",2,1')
        made.command('AT+QSSLCFG="sslversion",2,3')
        made.write(f'AT+QSSLOPEN=1,2,0,"{NAME}",443,0\r'.encode())
        made.expect(b"+QSSLOPEN: 0,0")  # another context has sessions of its own
        made.settle(lambda _: len(seen.resumed) > 5)
        assert seen.resumed == [False, True, False, False, True, False]


def test_a_session_does_not_get_around_what_is_demanded(pki, leaves):
    with serving(leaves["wrong"]) as (port, seen), modem(pki, port, "session=1", "sslversion=3") as made:
        for count in (1, 2):
            assert connect(made) == 0
            made.settle(lambda _, count=count: len(seen.resumed) == count)
            made.command("AT+QSSLCLOSE=0,0")
        for setting in ('"cacert",1,"ca.pem"', '"seclevel",1,1', '"checkhost",1,1'):
            made.command(f"AT+QSSLCFG={setting}")
        assert connect(made) == 566
        assert "kept, but of other settings" in "\n".join(made.machine.trace.notes)
        assert "hostname mismatch" in "\n".join(made.machine.trace.notes)
        assert seen.resumed == [False, True]
