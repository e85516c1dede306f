"""The host's DTLS over a socket that gives the beginning of a large datagram only, as a modem's may."""

from __future__ import annotations

import select

import pytest

import modemtls
from modemtls.errors import ModemTimeoutError, TruncatedError
from modemtls.host import HostSocket
from modemtls.net import (
    Certificates,
    Option,
    Psk,
    SocketConfiguration,
    SslConfiguration,
    State,
    TlsVersion,
    create_dtls_socket,
    create_udp_socket,
)
from modemtls.tlsengine import EngineUnavailableError, Settings, Verify
from tests.support import dtls_peers
from tests.support.dtls import DtlsEcho
from tests.support.loopback import LoopbackSocket
from tests.support.subjects import NAME
from tests.support.tls_ends import has_mbedtls, need_mbedtls

IDENTITY, KEY = b"gateway", b"0123456789abcdef"
CCM_8, COST = 0xC0A8, 29
LIMIT = 576


class ShortReads(LoopbackSocket):
    """What is as long as it gives counts as truncated: for all that it knows there was more."""

    receive_limit = LIMIT

    def receive(self, size, **more):
        try:
            data = super().receive(min(size, LIMIT), **more)
        except TruncatedError as error:
            data = error.data
        if len(data) == LIMIT:
            raise TruncatedError(f"the first {LIMIT} bytes of a larger datagram", data=data)
        return data


@pytest.fixture
def made():
    made = []

    def make(configuration, lower=ShortReads):
        made.append(HostSocket(configuration, lower(datagram=True, configuration=configuration.socket)))
        return made[-1]

    yield make
    for sock in made:
        sock.cleanup()


@pytest.fixture(scope="module")
def leaf(pki):
    return pki.leaf(NAME, "127.0.0.1")


@pytest.fixture(scope="module")
def slm():
    with modemtls.open("sim:nordic-slm", apn="iot.example") as modem:
        yield modem


def psk(**more):
    return SslConfiguration(
        security=Psk(IDENTITY, KEY), ciphersuites=(CCM_8,), socket=SocketConfiguration(forced_mtu=1500), **more
    )


def trusting(pki, **more):
    return SslConfiguration(security=Certificates(trusted=pki.ca), **more)


def echoing(leaf=None, **more):
    if leaf is None:
        return Settings(server=True, datagram=True, psks={IDENTITY: KEY}, mtu=1472, **more)
    certificate = {"chain": leaf.cert_pem, "key": leaf.key_pem, "verify": Verify.NONE}
    return Settings(server=True, datagram=True, mtu=1472, **certificate, **more)


def extensions(hello: bytes) -> set[int]:
    """The numbers of a client hello's extensions; the hello is one record of one datagram."""
    body = hello[13 + 12 :]
    at = 2 + 32
    at += 1 + body[at]  # session
    at += 1 + body[at]  # cookie
    at += 2 + int.from_bytes(body[at : at + 2], "big")  # suites
    at += 1 + body[at] + 2  # compression
    found = set()
    while at < len(body):
        found.add(int.from_bytes(body[at : at + 2], "big"))
        at += 4 + int.from_bytes(body[at + 2 : at + 4], "big")
    return found


FRAGMENT, TICKET = 1, 35


class TestWhatIsAskedFor:
    def hello(self, made, configuration, server, lower=ShortReads):
        sock = made(configuration, lower)
        with DtlsEcho(server) as peer:
            sock.connect(NAME, str(peer.port), timeout=5)
            sock.send(b"x")
            assert sock.receive(10, timeout=5) == b"x"
        return extensions(sock._lower.wire[0])

    def test_no_ticket_that_nobody_keeps(self, made):
        assert TICKET not in self.hello(made, psk(), echoing(), LoopbackSocket)
        assert TICKET in self.hello(made, psk(session_resumption_buffer=bytearray(2048)), echoing(), LoopbackSocket)

    def test_no_ticket_that_may_be_a_large_datagram(self, made):
        buffer = bytearray(2048)
        assert TICKET not in self.hello(made, psk(session_resumption_buffer=buffer), echoing())
        assert any(buffer)

    def test_small_records_of_whoever_shows_a_certificate(self, made, pki, leaf):
        need_mbedtls()
        server = echoing(leaf, cid=b"")  # Mbed TLS: a fragment is a datagram there
        asked = self.hello(made, trusting(pki, session_resumption_buffer=bytearray(4096)), server)
        assert FRAGMENT in asked
        assert TICKET not in asked

    def test_not_where_nobody_can_ask(self, made, pki, leaf, monkeypatch):
        def absent(*_):
            raise EngineUnavailableError("not here")

        monkeypatch.setattr("modemtls.tlsengine.mbedtls.MbedContext.__init__", absent)
        assert FRAGMENT not in self.hello(made, trusting(pki), echoing(leaf, handshake_mtu=500))

    def test_not_where_datagrams_come_whole_nor_with_a_key(self, made, pki, leaf):
        assert FRAGMENT not in self.hello(made, trusting(pki), echoing(leaf), LoopbackSocket)
        assert FRAGMENT not in self.hello(made, psk(), echoing())

    def test_of_both_ends(self, made, pki, leaf):
        need_mbedtls()
        sock = made(trusting(pki, socket=SocketConfiguration(forced_mtu=1500)))
        with DtlsEcho(echoing(leaf, cid=b"")) as peer:
            sock.connect(NAME, str(peer.port), timeout=5)
            inner = sock.get_opt(Option.INNER_MTU)
            assert 500 < inner <= 512
            sock.send(bytes(inner))
            assert sock.receive(2000, timeout=5) == bytes(inner)


class TestWhatCannotCome:
    """Nothing is asked of a peer that may be too old to know it."""

    def test_a_handshake_says_why_it_failed(self, made, pki, leaf):
        sock = made(trusting(pki, version=TlsVersion.TLS1_0, dtls_handshake_timeouts=(1.0, 1.0)))
        with DtlsEcho(echoing(leaf)) as peer, pytest.raises(TruncatedError) as caught:
            sock.connect(NAME, str(peer.port))
        assert f"the first {LIMIT} bytes of a larger datagram" in str(caught.value)
        assert "handshake" in str(caught.value)
        assert "timed out" in str(caught.value)
        assert sock.state is State.CLOSED

    def test_so_it_does_at_the_callers_own_limit(self, made, pki, leaf):
        sock = made(trusting(pki, version=TlsVersion.TLS1_0))
        with DtlsEcho(echoing(leaf)) as peer, pytest.raises(TruncatedError):
            sock.connect(NAME, str(peer.port), timeout=0.5)

    def test_a_silent_peer_is_a_time_out_still(self, made):
        sock = made(psk())
        with DtlsEcho(echoing()) as peer:
            peer.silent = True
            with pytest.raises(ModemTimeoutError):
                sock.connect(NAME, str(peer.port), timeout=0.3)


class TestData:
    @pytest.fixture
    def sock(self, made):
        with DtlsEcho(echoing()) as peer:
            sock = made(psk())
            sock.connect(NAME, str(peer.port), timeout=5)
            yield sock

    def test_a_record_tells_that_it_is_whole(self, sock):
        sock.send(bytes(LIMIT - COST))
        assert sock.receive(2000, timeout=5) == bytes(LIMIT - COST)

    def test_what_is_larger_is_told_once_when_nothing_else_came(self, sock):
        sock.send(bytes(LIMIT - COST + 1))
        with pytest.raises(TruncatedError, match="nothing was received in time: the first 576 bytes of a larger"):
            sock.receive(2000, timeout=0.2)
        with pytest.raises(ModemTimeoutError):
            sock.receive(2000, timeout=0.05)
        sock.send(b"small")
        assert sock.receive(2000, timeout=5) == b"small"

    def test_what_comes_behind_it_is_had(self, sock):
        sock.send(bytes(LIMIT))
        sock.send(b"small")
        assert sock.receive(2000, timeout=5) == b"small"

    def test_a_poll_tells_as_well(self, sock):
        sock.send(bytes(LIMIT))
        assert select.select([sock.system], [], [], 5)[0]
        with pytest.raises(TruncatedError):
            sock.receive(2000, timeout=0)

    def test_whoever_works_from_memory_loses_that_datagram_alone(self, sock):
        sock.send(bytes(LIMIT))
        sock.send(b"small")
        got = None
        while got is None:
            assert select.select([sock.system], [], [], 5)[0]
            sock.read_ahead(1 << 16)
            got = sock.take(2000)
        assert got == b"small"

    def test_so_does_whoever_reads_what_is_left(self, sock):
        sock.send(bytes(LIMIT))
        sock.send(b"small")
        with pytest.raises(TruncatedError) as cut:
            sock._lower.receive(2000, timeout=5)
        left = [cut.value, sock._lower.receive(2000, timeout=5), b""]

        def take(*_, **__):
            given = left.pop(0)
            if isinstance(given, bytes):
                return given
            raise given

        sock._lower.take = take
        sock.shutdown()
        assert sock.receive(2000) == b"small"
        assert sock.receive(2000) == b""


class TestThroughAModem:
    """Serial LTE Modem gives 576 bytes of a datagram, and drops the rest."""

    def test_it_says_so(self, slm):
        plain = create_udp_socket(slm)
        assert plain.receive_limit == LIMIT
        plain.cleanup()

    def talk(self, slm, configuration, port):
        sock = create_dtls_socket(slm, configuration, engine="host")
        try:
            sock.connect(NAME, str(port), timeout=20)
            sock.send(b"said\n")
            assert sock.receive(100, timeout=10) == b"said\n"
            return sock.get_opt(Option.SESSION_RESUMED)
        finally:
            sock.cleanup()

    @pytest.mark.server
    def test_gnutls_with_a_key(self, slm, tmp_path):
        """Its ticket alone would be a datagram of 900 bytes."""
        options = dtls_peers.gnutls_keys(tmp_path, {IDENTITY: KEY})
        configuration = SslConfiguration(security=Psk(IDENTITY, KEY), session_resumption_buffer=bytearray(4096))
        with dtls_peers.gnutls(tmp_path, *options, udp=True) as port:
            assert [self.talk(slm, configuration, port) for _ in range(2)] == [False, True]

    @pytest.mark.server
    def test_gnutls_with_certificates(self, slm, pki, leaf, tmp_path):
        need_mbedtls()
        configuration = trusting(pki, session_resumption_buffer=bytearray(4096))
        with dtls_peers.gnutls(tmp_path, *dtls_peers.gnutls_leaf(leaf), udp=True) as port:
            assert [self.talk(slm, configuration, port) for _ in range(2)] == [False, True]

    def test_mbed_tls_with_certificates(self, slm, pki, leaf):
        need_mbedtls()
        with DtlsEcho(echoing(leaf, cid=b"")) as peer:
            sock = create_dtls_socket(slm, trusting(pki), engine="host")
            sock.connect(NAME, str(peer.port), timeout=20)
            assert sock.info.engine == "mbedtls"
            sock.send(b"said")
            assert sock.receive(100, timeout=10) == b"said"
            sock.cleanup()

    @pytest.mark.server
    @pytest.mark.parametrize("mtu", [548, 1200])
    def test_openssl_with_certificates_heeds_its_own_packet_size_alone(self, slm, pki, leaf, tmp_path, mtu):
        options = ["-quiet", "-cert", str(leaf.cert), "-key", str(leaf.key)]
        sock = create_dtls_socket(slm, trusting(pki, dtls_handshake_timeouts=(2.0, 2.0)), engine="host")
        with dtls_peers.openssl_dtls(tmp_path, *options, mtu=mtu) as (port, _, _):
            if mtu > LIMIT:
                with pytest.raises(TruncatedError, match="the modem gave the first 576 bytes of a larger datagram"):
                    sock.connect(NAME, str(port), timeout=20)
            else:
                sock.connect(NAME, str(port), timeout=20)
                assert sock.info.engine == ("mbedtls" if has_mbedtls() else "openssl")
        sock.cleanup()
