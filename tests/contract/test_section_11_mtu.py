"""Section 11: MTU and record overhead."""

from __future__ import annotations

import pytest

from modemtls.errors import ModemError, NotSupportedError, TruncatedError
from modemtls.net import AddressFamily, Errno, Option, SocketConfiguration
from modemtls.tlsengine import Settings, Verify, suites
from tests.contract.conftest import IDENTITY, KEY
from tests.support.contract_peers import Silent
from tests.support.dtls import DtlsEcho
from tests.support.subjects import NAME
from tests.support.tls_ends import need_mbedtls

ETHERNET = SocketConfiguration(forced_mtu=1500)


def everything(leaf):
    """A server for whichever way of authentication, with large packets."""
    certificate = {"chain": leaf.cert_pem, "key": leaf.key_pem, "verify": Verify.NONE}
    return Settings(server=True, datagram=True, psks={IDENTITY: KEY}, mtu=1500, **certificate)


@pytest.fixture
def server(leaf):
    with DtlsEcho(everything(leaf)) as server:
        yield server


#: Each kind of suite, what its records cost beyond padding, and the size of a block.
KINDS = {
    "PSK_WITH_AES_128_CCM_8": (29, 1),
    "PSK_WITH_AES_128_CCM": (37, 1),
    "PSK_WITH_AES_128_GCM_SHA256": (37, 1),
    "PSK_WITH_CHACHA20_POLY1305_SHA256": (29, 1),
    "PSK_WITH_AES_128_CBC_SHA256": (61, 16),
    "PSK_WITH_AES_128_CBC_SHA": (49, 16),
}
UNKNOWN = 64
CCM_8 = 0xC0A8


def number_of(suite):
    return next(each.number for each in suites.SUITES.values() if each.name == f"TLS_{suite}")


def too_large(sock, size):
    with pytest.raises(ModemError) as caught:
        sock.send(bytes(size))
    assert caught.value.code == Errno.EMSGSIZE


def whole(sock, server, size):
    """Send so much as one datagram. What comes back may be more than the engine hands out at once."""
    before = len(server.heard)
    sock.send(bytes(size))
    try:
        back = sock.receive(2000)
    except TruncatedError as error:
        back = error.data
    assert back == bytes(size)[: len(back)] != b""
    assert server.heard[before:] == [bytes(size)]


class TestSection11EverySubject:
    """The same arithmetic for all; a limit of the modem's is a further bound."""

    @pytest.fixture
    def secure(self, subject, datagrams):
        """A socket to an address, whose family everybody knows. Not every modem checks it against a certificate."""
        anybody = {} if subject.has("psk") else {"check_hostname": False, "check_dates": False}

        def make(mtu=0, **more):
            more = {"socket": SocketConfiguration(forced_mtu=mtu), **anybody, **more}
            return subject.socket(datagrams(**more), datagram=True)

        return make

    def largest(self, subject, room):
        """What fits into a datagram of so many bytes, and into what the modem takes."""
        largest = min(room, subject.limits.get("record", room)) - self.overhead(subject)
        return min(largest, subject.limits.get("payload", largest))

    def overhead(self, subject):
        """What a record costs with one suite, or where none can be chosen."""
        return 29 if subject.has("suites") and subject.has("psk") else UNKNOWN

    def suite(self, subject):
        return {"ciphersuites": (CCM_8,)} if self.overhead(subject) != UNKNOWN else {}

    @pytest.mark.parametrize("kind", KINDS)
    def test_each_kind_of_suite(self, subject, secure, server, kind):
        subject.need("psk", "suites")
        try:
            sock = secure(700, ciphersuites=(number_of(kind),))
        except NotSupportedError as error:
            lacking = error.capability
        else:
            lacking = ""
        if lacking:
            assert lacking == "suites"
            pytest.skip(f"{subject.name} declares no suite {kind}")
        cost, block = KINDS[kind]
        size = 700 - 28 - cost
        size = size if block == 1 else size // block * block - 1
        assert sock.get_opt(Option.INNER_MTU) == 0
        sock.connect(server.host, str(server.port), timeout=5)
        inner = sock.get_opt(Option.INNER_MTU)
        assert inner in (size, size - block) if block > 1 else inner == size
        whole(sock, server, inner)
        too_large(sock, inner + 1)
        assert len(server.heard) == 1
        sock.close()
        assert sock.get_opt(Option.INNER_MTU) == 0

    def test_of_a_large_packet_the_engines_own_limit_is_what_counts(self, subject, secure, server):
        sock = secure(1500, **self.suite(subject))
        sock.connect(server.host, str(server.port), timeout=5)
        inner = sock.get_opt(Option.INNER_MTU)
        assert inner == self.largest(subject, 1500 - 28)
        whole(sock, server, inner)
        too_large(sock, inner + 1)
        assert len(server.heard) == 1

    def test_where_nothing_is_known_of_the_way(self, subject, secure, server):
        """548 bytes get through to anybody by IPv4, less what a record costs."""
        sock = secure(**self.suite(subject))
        sock.connect(server.host, str(server.port), timeout=5)
        inner = sock.get_opt(Option.INNER_MTU)
        if subject.has("packet_size"):  # packets of this machine to itself are larger than any record
            assert sock.get_opt(Option.MTU) > inner > 1500
        else:
            assert inner == 548 - self.overhead(subject)
            with pytest.raises(ModemError):
                sock.get_opt(Option.MTU)
        whole(sock, server, min(inner, 1400))

    def test_nor_of_the_family_of_a_name(self, subject, secure, server):
        """What gets through to anybody by either."""
        if subject.has("packet_size"):
            pytest.skip("packets of this machine to itself are larger than any record")
        sock = secure(**self.suite(subject))
        sock.connect(NAME, str(server.port), timeout=5)
        inner = sock.get_opt(Option.INNER_MTU)
        assert inner == 548 - self.overhead(subject)
        whole(sock, server, inner)
        too_large(sock, inner + 1)

    def test_of_a_name_the_family_may_be_unknown_and_its_headers_are_ipv6s_then(self, subject, secure, server):
        sock = secure(700, **self.suite(subject))
        sock.connect(NAME, str(server.port), timeout=5)
        known = sock.get_opt(Option.ADDR_FAMILY)
        assert known is not AddressFamily.IPV6
        headers = 28 if known is AddressFamily.IPV4 else 48
        assert sock.get_opt(Option.INNER_MTU) == self.largest(subject, 700 - headers)

    def test_a_packet_that_no_record_fits_into(self, subject, secure, server):
        """An engine of this host knows before the handshake, which would not fit either."""
        sock = secure(28 + 20)

        def connect_and_ask():
            sock.connect(server.host, str(server.port), timeout=5)
            sock.get_opt(Option.INNER_MTU)

        with pytest.raises(ModemError) as caught:
            connect_and_ask()
        assert caught.value.code == Errno.EMSGSIZE
        with pytest.raises(ModemError):
            sock.send(b"x")
        assert server.heard == []

    def test_of_plain_datagrams_there_is_no_overhead(self, subject):
        with Silent(datagram=True) as far:
            for mtu, room in ((700, 700 - 28), (0, 548)):
                if not mtu and subject.has("packet_size"):
                    continue
                sock = subject.plain(SocketConfiguration(forced_mtu=mtu), datagram=True)
                assert sock.get_opt(Option.INNER_MTU) == 0
                sock.connect("127.0.0.1", far.port)
                assert sock.get_opt(Option.INNER_MTU) == room
                if not subject.has("packet_size"):
                    too_large(sock, room + 1)
                assert far.heard() == []
                sock.close()


class TestSection11Mtu:
    @pytest.mark.parametrize(
        ("suite", "size"),
        list(zip(KINDS, (1443, 1435, 1435, 1443, 1407, 1407), strict=True)),
    )
    def test_the_largest_payload_of_each_kind_of_suite(self, loopback, psk, server, suite, size):
        number = number_of(suite)
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

    def test_headers_of_ipv6_are_larger(self, loopback, psk, leaf):
        with DtlsEcho(everything(leaf), host="::1") as server:
            sock = loopback.socket(psk(ciphersuites=(CCM_8,), socket=ETHERNET), datagram=True)
            sock.connect("::1", str(server.port))
            assert sock.get_opt(Option.ADDR_FAMILY) is AddressFamily.IPV6
            assert sock.get_opt(Option.INNER_MTU) == 1500 - 48 - 29
            whole(sock, server, 1500 - 48 - 29)
            too_large(sock, 1500 - 48 - 28)

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
