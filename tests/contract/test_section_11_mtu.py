"""Section 11: MTU and record overhead."""

from __future__ import annotations

import pytest

from modemtls.errors import ModemError
from modemtls.net import Errno, Option, SocketConfiguration
from modemtls.tlsengine import Settings, Verify, suites
from tests.contract.conftest import IDENTITY, KEY
from tests.support.dtls import DtlsEcho
from tests.support.tls_ends import need_mbedtls

ETHERNET = SocketConfiguration(forced_mtu=1500)


@pytest.fixture
def server(leaf):
    settings = Settings(
        server=True,
        datagram=True,
        psks={IDENTITY: KEY},
        chain=leaf.cert_pem,
        key=leaf.key_pem,
        verify=Verify.NONE,
        mtu=1472,
    )
    with DtlsEcho(settings) as server:
        yield server


class TestSection11Mtu:
    @pytest.mark.parametrize(
        ("suite", "size"),
        [
            ("PSK_WITH_AES_128_CCM_8", 1443),
            ("PSK_WITH_AES_128_CCM", 1435),
            ("PSK_WITH_AES_128_GCM_SHA256", 1435),
            ("PSK_WITH_CHACHA20_POLY1305_SHA256", 1443),
            ("PSK_WITH_AES_128_CBC_SHA256", 1407),
            ("PSK_WITH_AES_128_CBC_SHA", 1407),
        ],
    )
    def test_the_largest_payload_of_each_kind_of_suite(self, loopback, psk, server, suite, size):
        number = next(each.number for each in suites.SUITES.values() if each.name == f"TLS_{suite}")
        sock = loopback.socket(psk(ciphersuites=(number,), socket=ETHERNET), datagram=True)
        assert sock.get_opt(Option.INNER_MTU) == 0
        sock.connect("127.0.0.1", str(server.port))
        inner = sock.get_opt(Option.INNER_MTU)
        assert inner <= size
        assert size - inner <= 16 if "CBC" in suite else inner == size  # encrypt-then-MAC may cost a block
        sock._lower.wire.clear()
        sock.send(bytes(inner))
        assert sock.receive(2000) == bytes(inner)
        assert len(sock._lower.wire) == 1
        assert len(sock._lower.wire[0]) <= 1472
        with pytest.raises(ModemError) as caught:
            sock.send(bytes(inner + 1))
        assert caught.value.code == Errno.EMSGSIZE
        assert len(sock._lower.wire) == 1
        sock.close()
        assert sock.get_opt(Option.INNER_MTU) == 0

    def test_a_connection_id_costs_its_length_and_a_byte(self, loopback, psk):
        need_mbedtls()
        settings = Settings(server=True, datagram=True, psks={IDENTITY: KEY}, cid=b"sixsix", mtu=1472)
        with DtlsEcho(settings) as server:
            sock = loopback.socket(psk(ciphersuites=(0xC0A8,), use_connection_id=True, socket=ETHERNET), datagram=True)
            sock.connect("127.0.0.1", str(server.port))
            inner = sock.get_opt(Option.INNER_MTU)
            assert 1443 - 7 - 16 <= inner <= 1443 - 7  # the library pads such records to multiples of 16
            sock._lower.wire.clear()
            sock.send(bytes(inner))
            assert sock.receive(2000) == bytes(inner)
            assert len(sock._lower.wire[0]) <= 1472

    def test_the_packet_size_is_the_forced_one_first(self, loopback, psk, server):
        sock = loopback.socket(psk(socket=ETHERNET), datagram=True)
        assert sock.get_opt(Option.MTU) == 1500
        free = loopback.socket(psk(), datagram=True)
        with pytest.raises(ModemError):
            free.get_opt(Option.MTU)
        free.connect("127.0.0.1", str(server.port))
        assert free.get_opt(Option.MTU) > 16000

    def test_a_limit_of_the_transport_is_a_further_bound(self, loopback, psk, server):
        sock = loopback.socket(psk(ciphersuites=(0xC0A8,), socket=ETHERNET), datagram=True)
        get_opt = sock._lower.get_opt
        sock._lower.get_opt = lambda option: 1024 if option is Option.INNER_MTU else get_opt(option)
        sock.connect("127.0.0.1", str(server.port))
        assert sock.get_opt(Option.INNER_MTU) == 1024 - 29
        sock._lower.get_opt = lambda option: 600 if option is Option.INNER_MTU else get_opt(option)
        assert sock.get_opt(Option.INNER_MTU) == 600 - 29  # the way may have become narrower
        sock._lower.wire.clear()
        with pytest.raises(ModemError) as caught:
            sock.send(bytes(600 - 28))
        assert caught.value.code == Errno.EMSGSIZE
        assert sock._lower.wire == []

    def test_packets_smaller_than_a_handshake_needs_are_an_error_and_nothing_is_left_open(self, loopback, psk, server):
        sock = loopback.socket(psk(socket=SocketConfiguration(forced_mtu=200)), datagram=True)
        with pytest.raises(ModemError) as caught:
            sock.connect("127.0.0.1", str(server.port))
        assert caught.value.code == Errno.EMSGSIZE
        assert sock.get_opt(Option.STATE).value == "closed"

    def test_a_handshake_keeps_to_small_packets(self, loopback, pki, server):
        from modemtls.net import Certificates, SslConfiguration

        configuration = SslConfiguration(
            security=Certificates(trusted=pki.ca), socket=SocketConfiguration(forced_mtu=400)
        )
        sock = loopback.socket(configuration, datagram=True)
        sock.connect("server.example", str(server.port))
        assert max(map(len, sock._lower.wire)) <= 372

    def test_a_secured_stream_has_no_such_limit(self, subject, trusting, echo):
        sock = subject.socket(trusting())
        assert sock.get_opt(Option.INNER_MTU) == 0
        sock.connect(*echo.address)
        assert sock.get_opt(Option.INNER_MTU) == 0
