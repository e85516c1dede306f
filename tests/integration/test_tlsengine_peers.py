"""The engines with servers that others have written, over loopback."""

from __future__ import annotations

from contextlib import closing

import pytest

from modemtls.tlsengine import (
    AlertReceivedError,
    CertificateRefusedError,
    Context,
    Psk,
    Settings,
    StreamEndedError,
    TlsError,
    Version,
    connection_id,
)
from modemtls.tlsengine.openssl import OpenSslContext
from tests.support import dtls_peers as peers
from tests.support.dtls_peers import Wire, wired
from tests.support.pki import Leaf, Pki
from tests.support.servers import mosquitto, openssl_server
from tests.support.tls_ends import need_mbedtls

pytestmark = pytest.mark.server
KEY = b"secretPSK secret"
PSK = Psk(b"the modem", KEY)
CCM8, GCM, ECDSA_CCM8 = 0xC0A8, 0x00A8, 0xC0AE
MQTT_CONNECT = bytes.fromhex("101000044d51545404 02003c000473696d31".replace(" ", ""))
MQTT_ACCEPTED = bytes.fromhex("20020000")
COAP_GET = bytes.fromhex("40011234bb") + b".well-known" + b"\x04core"


@pytest.fixture(scope="module")
def leaf(pki: Pki) -> Leaf:
    return pki.leaf("host.example")


@pytest.fixture(scope="module")
def person(pki: Pki) -> Leaf:
    return pki.client("gateway")


@pytest.fixture(params=["openssl", "mbedtls"])
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "mbedtls":
        need_mbedtls()
    return str(request.param)


def asking(pki: Pki, **more: object) -> Settings:
    return Settings(**{"ca": pki.ca.read_bytes(), "host": "host.example", **more})


def of(engine: str, settings: Settings) -> Context:
    if engine == "openssl":
        return OpenSslContext(settings)
    from modemtls.tlsengine.mbedtls import MbedContext

    return MbedContext(settings)


def own(person: Leaf) -> dict[str, bytes]:
    return {"chain": person.cert_pem, "key": person.key_pem}


def failing(context: Context, port: int, *, datagram: bool = False) -> TlsError:
    """The error that the handshake ends with."""
    with closing(Wire(context.engine(), port, datagram=datagram)) as wire, pytest.raises(TlsError) as caught:
        wire.handshake()
    return caught.value


# --- streams --------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [Version.TLS1_2, Version.TLS1_3])
def test_openssl_both_certificates_protocol_and_resumption(pki, leaf, person, tmp_path, version):
    options = ("-CAfile", str(pki.ca), "-Verify", "3", "-verify_return_error", "-alpn", "mqtt,h2")
    context = OpenSslContext(asking(pki, max_version=version, alpn=(b"mqtt",), **own(person)))
    with openssl_server(tmp_path, leaf, *options) as port:
        with wired(context.engine(), port) as wire:
            assert wire.ask(b"hello\n") == b"olleh\n"
            assert wire.engine.info().alpn == b"mqtt"
            assert not wire.engine.info().resumed
            kept = wire.engine.export_session()
        again = context.engine()
        assert again.offer_session(kept)
        with wired(again, port) as wire:
            assert wire.ask(b"again\n") == b"niaga\n"
            assert wire.engine.info().resumed


@pytest.mark.parametrize("version", [Version.TLS1_2, Version.TLS1_3])
def test_gnutls_both_certificates_and_resumption(pki, leaf, person, tmp_path, version):
    options = ["--x509cafile", str(pki.ca), "--require-client-cert", "--verify-client-cert"]
    context = OpenSslContext(asking(pki, max_version=version, **own(person)))
    with peers.gnutls(tmp_path, *peers.gnutls_leaf(leaf), *options) as port:
        with wired(context.engine(), port) as wire:
            assert wire.ask(b"hello\n") == b"hello\n"
            kept = wire.engine.export_session()
        again = context.engine()
        assert again.offer_session(kept)
        with wired(again, port) as wire:
            assert wire.ask(b"again\n") == b"again\n"
            assert wire.engine.info().resumed


def test_a_missing_certificate(pki, leaf, tmp_path):
    """Before TLS 1.3 the handshake fails, with it the first read."""
    options = ["--x509cafile", str(pki.ca), "--require-client-cert", "--verify-client-cert"]
    with peers.gnutls(tmp_path, *peers.gnutls_leaf(leaf), *options) as port:
        early = failing(OpenSslContext(asking(pki, max_version=Version.TLS1_2)), port)
        assert isinstance(early, AlertReceivedError | StreamEndedError)
        with (
            wired(OpenSslContext(asking(pki)).engine(), port) as wire,
            pytest.raises(AlertReceivedError, match="certificate required"),
        ):
            wire.pump(wire.engine.read)


@pytest.mark.parametrize("suite", [CCM8, GCM, 0x00AE, 0xC037, 0x1301])
def test_openssl_keys(tmp_path, suite):
    with peers.openssl_psk(tmp_path, PSK.identity, KEY) as port:
        with wired(OpenSslContext(Settings(psk=PSK, suites=(suite,))).engine(), port) as wire:
            assert wire.ask(b"hello\n") == b"olleh\n"
            assert wire.engine.info().suite == suite
            assert not wire.engine.info().resumed
        wrong = Settings(psk=Psk(b"the modem", b"wrong"), suites=(suite,))
        assert isinstance(failing(OpenSslContext(wrong), port), AlertReceivedError)


@pytest.mark.parametrize("suite", [CCM8, GCM, 0x1301])
def test_gnutls_keys(tmp_path, suite):
    engine = OpenSslContext(Settings(psk=PSK, suites=(suite,))).engine()
    options = peers.gnutls_keys(tmp_path, {b"the modem": KEY})
    with peers.gnutls(tmp_path, *options) as port, wired(engine, port) as wire:
        assert wire.ask(b"hello\n") == b"hello\n"
        assert wire.engine.info().suite == suite


def test_mosquitto(pki, leaf, person, tmp_path):
    with mosquitto(tmp_path, leaf, pki.ca, client_certificates=True) as port:
        context = OpenSslContext(asking(pki, **own(person)))
        with wired(context.engine(), port) as wire:
            assert wire.ask(MQTT_CONNECT) == MQTT_ACCEPTED


def test_what_we_refuse_the_server_hears_of(pki, leaf, tmp_path):
    with openssl_server(tmp_path, leaf) as port:
        for change, code in (({"host": "other.example"}, 62), ({"ca": leaf.cert_pem}, 20)):
            error = failing(OpenSslContext(asking(pki, **change)), port)
            assert isinstance(error, CertificateRefusedError)
            assert error.verify_code in (code, 21)
        log = next(tmp_path.glob("s_server-*.log")).read_bytes()
        assert b"alert bad certificate" in log or b"alert unknown ca" in log


# --- datagrams ------------------------------------------------------------------------------------


def test_openssl_datagrams(pki, leaf, person, tmp_path, engine):
    options = ["-cert", str(leaf.cert), "-key", str(leaf.key), "-CAfile", str(pki.ca), "-Verify", "3"]
    context = of(engine, asking(pki, datagram=True, **own(person)))
    with peers.openssl_dtls(tmp_path, *options) as (port, process, _):
        with wired(context.engine(), port, datagram=True) as wire:
            process.stdin.write(b"from the server\n")
            process.stdin.flush()
            assert wire.pump(wire.engine.read) == b"from the server\n"
            kept = wire.engine.export_session()
        again = context.engine()
        assert again.offer_session(kept)
        with wired(again, port, datagram=True) as wire:
            assert wire.engine.info().resumed


def test_gnutls_datagrams(pki, leaf, person, tmp_path, engine):
    options = ["--x509cafile", str(pki.ca), "--require-client-cert", *peers.gnutls_leaf(leaf)]
    with peers.gnutls(tmp_path, *options, udp=True) as port:
        context = of(engine, asking(pki, datagram=True, **own(person)))
        with wired(context.engine(), port, datagram=True) as wire:
            assert wire.ask(b"hello") == b"hello"


@pytest.mark.parametrize("suite", [CCM8, GCM])
def test_gnutls_datagrams_with_a_key(tmp_path, engine, suite):
    with peers.gnutls(tmp_path, *peers.gnutls_keys(tmp_path, {b"the modem": KEY}), udp=True) as port:
        context = of(engine, Settings(datagram=True, psk=PSK, suites=(suite,)))
        with wired(context.engine(), port, datagram=True) as wire:
            assert wire.ask(b"hello") == b"hello"
            assert wire.engine.info().suite == suite


@pytest.mark.parametrize("backend", ["openssl", "gnutls"])
def test_coap_with_a_key(tmp_path, engine, backend):
    with peers.coap(tmp_path, "-k", KEY.decode(), "-h", "hint", backend=backend) as port:
        context = of(engine, Settings(datagram=True, psk=PSK, suites=(CCM8,)))
        with wired(context.engine(), port, datagram=True) as wire:
            assert_listed(wire.ask(COAP_GET))
            kept = wire.engine.export_session()
        again = context.engine()
        assert again.offer_session(kept) or not kept
        with wired(again, port, datagram=True) as wire:
            assert_listed(wire.ask(COAP_GET))
            assert wire.engine.info().resumed is (backend == "openssl")  # the other one resumes nothing


def assert_listed(answer: bytes) -> None:
    """2.05 Content to our message (RFC 7252, section 3), with the resources of the server."""
    assert answer[:4] == bytes.fromhex("60451234")
    assert b"</" in answer


def test_coap_with_certificates(pki, leaf, person, tmp_path, engine):
    options = ["-c", str(leaf.cert), "-j", str(leaf.key), "-C", str(pki.ca)]
    with peers.coap(tmp_path, *options) as port:
        context = of(engine, asking(pki, datagram=True, **own(person)))
        with wired(context.engine(), port, datagram=True) as wire:
            assert_listed(wire.ask(COAP_GET))
        assert isinstance(failing(of(engine, asking(pki, datagram=True)), port, datagram=True), AlertReceivedError)


def test_a_wrong_key_is_silence(tmp_path, engine):
    """Neither an alert nor anything else comes: only the caller's own limit ends it."""
    with peers.coap(tmp_path, "-k", KEY.decode()) as port:
        wrong = Settings(datagram=True, psk=Psk(b"the modem", b"wrong"), suites=(CCM8,))
        with closing(Wire(of(engine, wrong).engine(), port, datagram=True)) as wire:
            with pytest.raises(TimeoutError):
                wire.handshake(limit=0.7)
            assert wire.engine.info().received is None


@pytest.mark.parametrize("own_cid", [b"", b"8 bytes."])
def test_connection_id_with_another_implementation(tmp_path, own_cid):
    need_mbedtls()
    context = of("mbedtls", Settings(datagram=True, psk=PSK, suites=(CCM8,), cid=own_cid))
    with (
        peers.java_cid(tmp_path, KEY, b"\x01\x02\x03\x04") as port,
        wired(context.engine(), port, datagram=True) as wire,
    ):
        assert (wire.engine.info().own_cid, wire.engine.info().peer_cid) == (own_cid, b"\x01\x02\x03\x04")
        assert wire.ask(b"here") == b"here"
        wire.move()
        assert wire.ask(b"from elsewhere") == b"from elsewhere"
        kept = wire.engine.save()
        wire.engine = context.engine()
        assert wire.engine.load(kept)
        wire.move()
        wire.engine.write(b"another life")
        (datagram,) = wire.engine.take()
        assert connection_id(datagram, 4) == b"\x01\x02\x03\x04"
        wire.sock.sendall(datagram)
        assert wire.pump(wire.engine.read) == b"another life"


def test_a_peer_without_connection_id(tmp_path):
    need_mbedtls()
    context = of("mbedtls", Settings(datagram=True, psk=PSK, suites=(CCM8,), cid=b""))
    with peers.coap(tmp_path, "-k", KEY.decode()) as port, wired(context.engine(), port, datagram=True) as wire:
        assert_listed(wire.ask(COAP_GET))
        assert wire.engine.info().peer_cid is None
