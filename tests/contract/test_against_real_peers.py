"""The host's engine against servers that are not this project's: OpenSSL's and GnuTLS's programs, Mbed TLS below."""

from __future__ import annotations

import pytest

from modemtls.net import Certificates, Option, Psk, SslConfiguration, State
from modemtls.tlsengine import Settings, Verify
from tests.support import dtls, dtls_peers
from tests.support.servers import openssl_server
from tests.support.subjects import NAME
from tests.support.tls_ends import need_mbedtls

IDENTITY, KEY = b"Client_identity", b"0123456789abcdef"


@pytest.fixture
def streams(subject):
    """The host's engine over whatever carries a stream."""
    subject.need("tls_range")
    return subject


def talk(sock, host, port, said, expected):
    sock.connect(host, str(port))
    assert sock.state is State.CONNECTED
    sock.send(said)
    got = b""
    while len(got) < len(expected):
        got += sock.receive(100)
    assert got == expected
    resumed = sock.get_opt(Option.SESSION_RESUMED)
    sock.close()
    return resumed


@pytest.mark.server
class TestOpenssl:
    @pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
    def test_certificates_and_resumption(self, streams, pki, leaf, tmp_path, version):
        configuration = SslConfiguration(
            security=Certificates(trusted=pki.ca), session_resumption_buffer=bytearray(4096)
        )
        with openssl_server(tmp_path, leaf, version) as port:
            sock = streams.socket(configuration)
            resumed = [talk(sock, NAME, port, b"abc\n", b"cba\n") for _ in range(2)]
            assert resumed == [False, True]

    def test_both_show_certificates(self, streams, pki, leaf, tmp_path):
        own = pki.client()
        security = Certificates(trusted=pki.ca, client_cert=own.cert, client_key=own.key)
        with openssl_server(tmp_path, leaf, "-Verify", "3", "-CAfile", str(pki.ca)) as port:
            talk(streams.socket(SslConfiguration(security=security)), NAME, port, b"abc\n", b"cba\n")

    @pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
    def test_a_pre_shared_key(self, streams, tmp_path, version):
        with dtls_peers.openssl_psk(tmp_path, IDENTITY, KEY, "-no_dhe", version) as port:
            sock = streams.socket(SslConfiguration(security=Psk(IDENTITY, KEY)))
            talk(sock, NAME, port, b"abc\n", b"cba\n")

    def test_datagrams(self, loopback, pki, leaf, tmp_path):
        options = ["-cert", str(leaf.cert), "-key", str(leaf.key)]
        sock = loopback.socket(SslConfiguration(security=Certificates(trusted=pki.ca)), datagram=True)
        exchange(sock, tmp_path, *options)

    def test_datagrams_with_the_suite_that_coap_demands(self, loopback, tmp_path):
        options = ["-nocert", "-psk", KEY.hex(), "-cipher", "PSK-AES128-CCM8:@SECLEVEL=0"]
        configuration = SslConfiguration(security=Psk(IDENTITY, KEY), ciphersuites=(0xC0A8,))
        sock = loopback.socket(configuration, datagram=True)
        exchange(sock, tmp_path, *options)
        assert sock.info.suite_name == "TLS_PSK_WITH_AES_128_CCM_8"


def exchange(sock, folder, *options):
    """Over datagrams the program has no echo: what it gets is in its log, what it is told it sends."""
    with dtls_peers.openssl_dtls(folder, "-quiet", *options) as (port, process, log):
        sock.connect(NAME, str(port))
        sock.send(b"to the server")
        assert dtls.logged(log, b"to the server")
        dtls.say(process, b"to the client\n")
        assert sock.receive(100) == b"to the client\n"


@pytest.mark.server
class TestGnutls:
    def test_certificates_and_resumption(self, streams, pki, leaf, tmp_path):
        configuration = SslConfiguration(
            security=Certificates(trusted=pki.ca), session_resumption_buffer=bytearray(4096)
        )
        with dtls_peers.gnutls(tmp_path, *dtls_peers.gnutls_leaf(leaf)) as port:
            sock = streams.socket(configuration)
            resumed = [talk(sock, NAME, port, b"abc\n", b"abc\n") for _ in range(2)]
            assert resumed == [False, True]

    def test_datagrams_with_a_pre_shared_key(self, loopback, tmp_path):
        options = dtls_peers.gnutls_keys(tmp_path, {IDENTITY: KEY})
        with dtls_peers.gnutls(tmp_path, *options, udp=True) as port:
            sock = loopback.socket(SslConfiguration(security=Psk(IDENTITY, KEY)), datagram=True)
            talk(sock, "127.0.0.1", port, b"abc\n", b"abc\n")

    def test_datagrams_with_certificates(self, loopback, pki, leaf, tmp_path):
        with dtls_peers.gnutls(tmp_path, *dtls_peers.gnutls_leaf(leaf), udp=True) as port:
            sock = loopback.socket(SslConfiguration(security=Certificates(trusted=pki.ca)), datagram=True)
            talk(sock, NAME, port, b"abc\n", b"abc\n")


@pytest.mark.server
class TestMbedTls:
    def test_datagrams_with_certificates_of_both_and_a_session(self, loopback, pki, leaf):
        need_mbedtls()
        own = pki.client()
        settings = Settings(
            server=True, datagram=True, chain=leaf.cert_pem, key=leaf.key_pem, cid=b"",
            ca=pki.ca.read_bytes(), verify=Verify.REQUIRED,
        )  # fmt: skip
        security = Certificates(trusted=pki.ca, client_cert=own.cert, client_key=own.key)
        configuration = SslConfiguration(security=security, session_resumption_buffer=bytearray(4096))
        with dtls.DtlsEcho(settings) as server:
            sock = loopback.socket(configuration, datagram=True)
            assert [talk(sock, NAME, server.port, b"abc", b"abc") for _ in range(2)] == [False, True]
            assert server.handshakes[0].engine == "mbedtls"
            assert sock.info.engine == "openssl"

    def test_a_connection_id_of_a_server_of_another_make(self, loopback, tmp_path):
        need_mbedtls()
        with dtls_peers.java_cid(tmp_path, KEY, b"java") as port:
            configuration = SslConfiguration(
                security=Psk(IDENTITY, KEY),
                use_connection_id=True,
                session_resumption_buffer=bytearray(2048),
                dtls_handshake_timeouts=(1, 8),
            )
            sock = loopback.socket(configuration, datagram=True)
            for restored in (False, True):
                sock.connect("127.0.0.1", str(port))
                assert sock.get_opt(Option.CONNECTION_ID_RESUMED) is restored
                sock.send(b"abc")
                assert sock.receive(100) == b"abc"
                sock.close()
