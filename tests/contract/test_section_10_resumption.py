"""Section 10: session resumption and Connection ID."""

from __future__ import annotations

import os
import ssl

import pytest

from modemtls.errors import HandshakeError, ModemError, ModemTimeoutError
from modemtls.net import Certificates, Option, Psk, SslConfiguration, State, TlsVersion
from modemtls.net.contract import resumption
from modemtls.net.contract.resumption import Kind
from modemtls.tlsengine import Settings
from tests.contract.conftest import IDENTITY, KEY
from tests.support.contract_peers import Silent, plain_peer, tls_peer
from tests.support.dtls import DtlsEcho
from tests.support.subjects import refuses
from tests.support.tls_ends import need_mbedtls

SIZE = 4096


def talk(sock):
    sock.send(b"x")
    assert sock.receive(1) == b"x"


def resumed(sock, peer):
    """Connect, talk, close; whether a session was resumed."""
    sock.connect(*peer.address)
    talk(sock)
    found = sock.get_opt(Option.SESSION_RESUMED)
    sock.close()
    return found


@pytest.fixture(params=["TLSv1_2", "TLSv1_3"])
def peer(request, leaf):
    with tls_peer(leaf, versions=(request.param, request.param)) as peer:
        yield peer


@pytest.fixture
def buffer():
    return bytearray(SIZE)


@pytest.fixture
def secure(subject, trusting, buffer):
    def make(**more):
        return subject.socket(trusting(session_resumption_buffer=buffer, **more))

    return make


@pytest.fixture
def able(subject):
    subject.need("resumption")


class TestSection10Resumption:
    def test_what_is_said_is_true(self, subject, secure, trusting, echo):
        """Also by engines that do not tell: false is the answer that costs least. Who has no sessions says so first."""
        if not subject.has("resumption_buffer"):
            refuses("resumption", secure)
            return
        sock = secure()
        for _ in range(3):
            said = resumed(sock, echo)
            assert not said or echo.reused[-1]

    def test_close_and_connect_resume(self, able, secure, peer):
        sock = secure()
        assert [resumed(sock, peer) for _ in range(3)] == [False, True, True]
        assert peer.reused == [False, True, True]
        assert sock.get_opt(Option.CONNECTION_ID_RESUMED) is False

    def test_another_object_resumes_from_the_same_buffer(self, able, secure, peer):
        assert [resumed(secure(), peer) for _ in range(2)] == [False, True]

    def test_another_process_resumes_from_what_was_in_the_buffer(self, able, secure, peer, buffer):
        resumed(secure(), peer)
        kept = bytes(buffer)
        buffer[:] = bytes(SIZE)
        buffer[:] = kept
        assert resumed(secure(), peer)

    def test_a_zeroed_buffer_means_a_full_handshake(self, able, secure, peer, buffer):
        sock = secure()
        resumed(sock, peer)
        buffer[:] = bytes(SIZE)
        assert not resumed(sock, peer)
        assert resumed(sock, peer)

    def test_zeroed_while_connected_it_stays_zero(self, able, secure, peer, buffer):
        sock = secure()
        sock.connect(*peer.address)
        talk(sock)
        assert not resumption.is_clear(buffer)
        buffer[:] = bytes(SIZE)
        talk(sock)
        sock.close()
        assert resumption.is_clear(buffer)

    def test_without_a_buffer_there_is_no_resumption(self, able, subject, trusting, peer):
        sock = subject.socket(trusting())
        assert [resumed(sock, peer) for _ in range(2)] == [False, False]
        assert peer.reused == [False, False]

    def test_zeros_follow_what_is_kept(self, able, secure, peer, buffer):
        buffer[:] = b"\xff" * SIZE
        resumed(secure(), peer)
        assert buffer.endswith(bytes(100))

    @pytest.mark.parametrize("size", [1, 16, 64])
    def test_what_does_not_fit_leaves_zeros_and_the_connection_stands(self, able, subject, trusting, peer, size):
        small = bytearray(b"\xff" * size)
        sock = subject.socket(trusting(session_resumption_buffer=small))
        assert not resumed(sock, peer)
        assert small == bytes(size)

    @pytest.mark.parametrize("how", ["foreign", "truncated", "altered", "random", "text", "another engine's"])
    def test_anything_else_in_the_buffer_is_survived(self, able, secure, peer, buffer, how):
        resumed(secure(), peer)
        good = bytes(buffer)
        length = len(good.rstrip(b"\0"))
        if how == "another engine's":
            resumption.write(buffer, "modem:other", Kind.SESSION, b"whatever")
        else:
            buffer[:] = {
                "foreign": b"MSP\1\0\0\4\0" + good[: SIZE - 8],
                "truncated": good[: length // 2] + bytes(SIZE - length // 2),
                "altered": good[: length // 2] + bytes([good[length // 2] ^ 1]) + good[length // 2 + 1 :],
                "random": os.urandom(SIZE),
                "text": b"not a session ".ljust(SIZE, b"-"),
            }[how]
        assert not resumed(secure(), peer)
        assert resumed(secure(), peer)

    def test_under_other_demands_nothing_is_resumed(self, able, secure, peer, pki):
        resumed(secure(), peer)
        assert not resumed(secure(verify=False), peer)
        assert not resumed(secure(trusted=[pki.ca, pki.self_signed("x.example").cert]), peer)

    def test_a_ticket_that_comes_late_is_kept(self, able, secure, leaf, buffer):
        """With TLS 1.3 there is none before the first read."""
        with tls_peer(leaf, versions=("TLSv1_3", "TLSv1_3")) as peer:
            sock = secure(version=TlsVersion.TLS1_3)
            sock.connect(*peer.address)
            assert resumption.is_clear(buffer)
            talk(sock)
            assert not resumption.is_clear(buffer)

    def test_until_the_next_ticket_the_one_that_served_is_kept(self, able, secure, leaf, buffer):
        with tls_peer(leaf, versions=("TLSv1_3", "TLSv1_3")) as peer:
            sock = secure(version=TlsVersion.TLS1_3)
            assert not resumed(sock, peer)
            sock.connect(*peer.address)
            assert sock.get_opt(Option.SESSION_RESUMED)
            assert not resumption.is_clear(buffer)
            sock.close()

    def test_a_failed_connection_keeps_the_session_unless_it_was_the_reason(self, able, secure, leaf, buffer):
        with tls_peer(leaf, versions=("TLSv1_2", "TLSv1_2")) as peer:
            sock = secure()
            resumed(sock, peer)
        kept = bytes(buffer)
        with pytest.raises(ModemError):
            sock.connect(*peer.address)  # nobody there
        assert buffer == kept
        assert sock.get_opt(Option.SESSION_RESUMED) is False

    def test_a_session_that_a_handshake_fails_with_is_not_offered_again(self, able, secure, leaf, buffer):
        """A server that cannot bear it would else be out of reach for as long as the buffer lives."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf.cert, leaf.key)
        count = iter(range(3))

        def serve(stream):
            if next(count) == 1:
                stream.recv(100)
                stream.sendall(bytes([21, 3, 3, 0, 2, 2, 40]))
                stream.recv(10_000)
                return
            with context.wrap_socket(stream, server_side=True) as wrapped:
                wrapped.sendall(wrapped.recv(1))

        with plain_peer(serve) as port:
            sock = secure()
            for fails in (False, True, False):
                if fails:
                    assert not resumption.is_clear(buffer)
                    with pytest.raises(HandshakeError):
                        sock.connect("server.example", str(port))
                    assert resumption.is_clear(buffer)
                    continue
                sock.connect("server.example", str(port))
                talk(sock)
                assert sock.get_opt(Option.SESSION_RESUMED) is False
                sock.close()


class TestSection10OverDatagrams:
    def test_a_session_of_a_pre_shared_key(self, subject, psk, dtls, buffer):
        subject.need("dtls", "resumption")
        sock = subject.socket(psk(session_resumption_buffer=buffer), datagram=True)
        for expected in (False, True):
            sock.connect("127.0.0.1", str(dtls.port))
            talk(sock)
            assert sock.get_opt(Option.SESSION_RESUMED) is expected
            sock.close()
        assert [one.resumed for one in dtls.handshakes] == [False, True]


@pytest.fixture
def cid():
    """A DTLS server that gives itself a Connection ID: clients send it along."""
    need_mbedtls()
    with DtlsEcho(Settings(server=True, datagram=True, psks={IDENTITY: KEY}, cid=b"server")) as server:
        yield server


class TestSection10ConnectionId:
    @pytest.fixture
    def secure(self, subject, buffer):
        subject.need("cid", "dtls")
        need_mbedtls()

        def make(**more):
            security = more.pop("security", Psk(IDENTITY, KEY))
            configuration = SslConfiguration(
                security=security,
                use_connection_id=True,
                session_resumption_buffer=buffer,
                dtls_handshake_timeouts=(0.1, 0.2),
                **more,
            )
            return subject.socket(configuration, datagram=True)

        return make

    def flags(self, sock):
        return sock.get_opt(Option.SESSION_RESUMED), sock.get_opt(Option.CONNECTION_ID_RESUMED)

    @pytest.mark.parametrize("same", [True, False], ids=["same object", "another object"])
    @pytest.mark.parametrize("shut", [True, False], ids=["shut down before", "closed alone"])
    def test_close_saves_and_connect_restores_without_any_packet(self, secure, cid, same, shut):
        address = ("127.0.0.1", str(cid.port))
        sock = secure()
        sock.connect(*address)
        assert self.flags(sock) == (False, False)
        talk(sock)
        for _ in range(2):
            if shut:
                sock.shutdown()
            sock.close()
            if not same:
                sock = secure()
            heard = len(cid.addresses)
            cid.silent = True  # whatever were sent now would be lost
            sock.connect(*address)
            cid.silent = False
            assert self.flags(sock) == (True, True)
            assert sock.state is State.CONNECTED
            talk(sock)
            assert len(cid.addresses) == heard + 1
        assert len(cid.handshakes) == 1

    def test_no_close_notify_ends_what_is_saved(self, secure, cid):
        sock = secure()
        sock.connect("127.0.0.1", str(cid.port))
        talk(sock)
        sock.close()
        sock.connect("127.0.0.1", str(cid.port))
        talk(sock)
        assert self.flags(sock) == (True, True)
        assert len(cid.handshakes) == 1

    def test_a_zeroed_buffer_means_a_full_handshake(self, secure, cid, buffer):
        sock = secure()
        for _ in range(2):
            sock.connect("127.0.0.1", str(cid.port))
            assert self.flags(sock) == (False, False)
            talk(sock)
            sock.close()
            buffer[:] = bytes(SIZE)
        assert len(cid.handshakes) == 2

    def test_zeroed_while_connected_nothing_is_saved(self, secure, cid, buffer):
        sock = secure()
        for zero_when_restored in (False, True):
            sock.connect("127.0.0.1", str(cid.port))
            if zero_when_restored:
                assert self.flags(sock) == (True, True)
                buffer[:] = bytes(SIZE)
            talk(sock)
            sock.close()
        assert resumption.is_clear(buffer)

    def test_it_is_restored_once_only(self, secure, cid, buffer):
        """Another one from the same state would use its record numbers again."""
        sock, other = secure(), secure()
        sock.connect("127.0.0.1", str(cid.port))
        talk(sock)
        sock.close()
        sock.connect("127.0.0.1", str(cid.port))
        other.connect("127.0.0.1", str(cid.port))
        assert self.flags(sock) == (True, True)
        assert self.flags(other)[1] is False

    def test_for_another_peer_it_is_not_restored(self, secure, cid):
        sock = secure()
        sock.connect("127.0.0.1", str(cid.port))
        talk(sock)
        sock.close()
        with Silent(datagram=True) as silent, pytest.raises(ModemTimeoutError):
            sock.connect("127.0.0.1", silent.port)

    def test_without_an_id_of_the_peers_there_is_a_session_only(self, secure, buffer):
        with DtlsEcho(Settings(server=True, datagram=True, psks={IDENTITY: KEY}, cid=b"")) as server:
            sock = secure()
            for expected in ((False, False), (True, False)):
                sock.connect("127.0.0.1", str(server.port))
                assert self.flags(sock) == expected
                talk(sock)
                sock.close()

    def test_what_a_peer_says_fatally_is_not_saved(self, secure, cid, buffer):
        sock = secure()
        sock.connect("127.0.0.1", str(cid.port))
        talk(sock)
        cid.close_all()
        assert sock.receive(1) == b""
        sock.close()
        sock.connect("127.0.0.1", str(cid.port))
        assert self.flags(sock)[1] is False

    def test_with_certificates(self, secure, pki, leaf):
        settings = Settings(
            server=True, datagram=True, chain=leaf.cert_pem, key=leaf.key_pem, cid=b"s", verify=_nobody()
        )
        with DtlsEcho(settings) as server:
            sock = secure(security=Certificates(trusted=pki.ca))
            for expected in ((False, False), (True, True)):
                sock.connect("server.example", str(server.port))
                assert self.flags(sock) == expected
                talk(sock)
                sock.close()


def _nobody():
    from modemtls.tlsengine import Verify

    return Verify.NONE
