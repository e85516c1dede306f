"""Section 10: session resumption and Connection ID. What is said of a session is held against what the server saw."""

from __future__ import annotations

import os
import ssl

import pytest

from modemtls.errors import HandshakeError, ModemError
from modemtls.net import Option, State, TlsVersion
from modemtls.net.contract import resumption
from modemtls.net.contract.resumption import Kind
from modemtls.tlsengine import Settings
from tests.contract.conftest import IDENTITY, KEY
from tests.support.contract_peers import plain_peer, remembering, tls_peer
from tests.support.dtls import DtlsEcho
from tests.support.subjects import NAME, refuses
from tests.support.tls_ends import need_mbedtls

SIZE = 4096
TLS12, TLS13 = ("TLSv1_2", "TLSv1_2"), ("TLSv1_3", "TLSv1_3")


def talk(sock):
    sock.send(b"x")
    assert sock.receive(1) == b"x"


@pytest.fixture
def buffer():
    """The caller's; zeroed in the end, so that whatever was put aside for it is closed by the next connection."""
    made = bytearray(SIZE)
    yield made
    made[:] = bytes(SIZE)


@pytest.fixture(params=["TLSv1_2", "TLSv1_3", "DTLSv1_2"])
def peer(request, subject, leaf):
    """A server that keeps sessions; with TLS 1.2 by itself, since not everybody takes tickets."""
    subject.need("resumption_buffer")
    if request.param == "DTLSv1_2":
        dtls = request.getfixturevalue("dtls")
        subject.need("dtls")
        yield dtls
        return
    if request.param == "TLSv1_3":
        subject.need("tls1.3")
    with remembering(leaf, request.param) as made:
        yield made


@pytest.fixture
def configured(subject, trusting, psk, peer):
    """A configuration for that server: over datagrams with a pre-shared key where the subject has that."""
    return psk if isinstance(peer, DtlsEcho) and subject.has("psk") else trusting


@pytest.fixture
def secure(subject, configured, peer, buffer):
    def make(**more):
        more = {"session_resumption_buffer": buffer, **more}
        return subject.socket(configured(**more), datagram=isinstance(peer, DtlsEcho))

    return make


@pytest.fixture
def resumed(subject, peer):
    """Connect, talk, close; whether a session was resumed, as the server saw it. What the socket says is true."""

    def connection(sock):
        sock.connect(*peer.address)
        talk(sock)
        truth = peer.reused[-1]
        # Not known is not resumed: the answer that costs least if it is wrong.
        assert sock.get_opt(Option.SESSION_RESUMED) is (truth and subject.has("resumption"))
        assert sock.get_opt(Option.CONNECTION_ID_RESUMED) is False
        sock.close()
        return truth

    return connection


class TestSection10Resumption:
    def test_who_has_none_refuses_the_buffer(self, subject, trusting, buffer):
        if subject.has("resumption_buffer"):
            assert subject.socket(trusting(session_resumption_buffer=buffer)).get_opt(Option.SESSION_RESUMED) is False
        else:
            refuses("resumption", lambda: subject.socket(trusting(session_resumption_buffer=buffer)))

    def test_close_and_connect_resume(self, secure, resumed):
        sock = secure()
        assert [resumed(sock) for _ in range(3)] == [False, True, True]

    def test_another_object_resumes_from_the_same_buffer(self, secure, resumed):
        for expected in (False, True):
            sock = secure()
            assert resumed(sock) is expected
            sock.cleanup()

    @pytest.mark.parametrize("peer", ["DTLSv1_2"], indirect=True)
    def test_after_a_shutdown_too(self, secure, peer, resumed):
        """As a client goes to sleep: nothing is said to the server. With TLS some servers forget the session then."""
        sock = secure()
        sock.connect(*peer.address)
        talk(sock)
        sock.shutdown()
        sock.close()
        assert resumed(sock)

    def test_another_process_resumes_from_what_was_in_the_buffer(self, secure, resumed, buffer):
        resumed(secure())
        kept = bytes(buffer)
        other = bytearray(SIZE + 100)
        other[:SIZE] = kept
        assert resumed(secure(session_resumption_buffer=other))
        assert buffer == kept

    def test_a_zeroed_buffer_means_a_full_handshake(self, secure, resumed, buffer):
        sock = secure()
        assert not resumed(sock)
        for _ in range(2):
            buffer[:] = bytes(SIZE)
            assert not resumed(sock)
        assert resumed(sock)

    def test_zeroed_while_connected_it_stays_zero(self, secure, peer, buffer, resumed):
        sock = secure()
        sock.connect(*peer.address)
        talk(sock)
        assert not resumption.is_clear(buffer)
        buffer[:] = bytes(SIZE)
        talk(sock)
        sock.close()
        assert resumption.is_clear(buffer)
        assert not resumed(sock)

    def test_without_a_buffer_there_is_no_resumption(self, secure, resumed, buffer):
        assert [resumed(secure(session_resumption_buffer=None)) for _ in range(2)] == [False, False]
        assert [resumed(secure()), resumed(secure(session_resumption_buffer=None))] == [False, False]

    def test_zeros_follow_what_is_kept(self, secure, resumed, buffer):
        buffer[:] = b"\xff" * SIZE
        resumed(secure())
        assert any(buffer[:100])
        assert buffer.endswith(bytes(100))

    @pytest.mark.parametrize("size", [1, 64])
    def test_what_does_not_fit_leaves_zeros_and_the_connection_stands(self, secure, resumed, size):
        small = bytearray(b"\xff" * size)
        sock = secure(session_resumption_buffer=small)
        for _ in range(2):
            assert not resumed(sock)
            assert small == bytes(size)

    def test_anything_else_in_the_buffer_is_survived(self, secure, resumed, buffer):
        def foreign_engines(good):
            resumption.write(buffer, "modem:other", Kind.SESSION, good)
            return bytes(buffer)

        resumed(secure())
        for how, other in {
            "foreign": lambda good: b"MSP\1\0\0\4\0" + good[: SIZE - 8],
            "truncated": lambda good: good[: len(good.rstrip(b"\0")) // 2].ljust(SIZE, b"\0"),
            "altered": lambda good: good[:40] + bytes([good[40] ^ 1]) + good[41:],
            "another engine's": foreign_engines,
            "random": lambda _: os.urandom(SIZE),
            "text": lambda _: b"not a session ".ljust(SIZE, b"-"),
        }.items():
            buffer[:] = other(bytes(buffer))
            assert not resumed(secure()), how
        assert resumed(secure())

    @pytest.mark.parametrize("peer", ["DTLSv1_2"], indirect=True)
    def test_for_another_peer_nothing_is_resumed(self, secure, peer, resumed):
        """Though it be the same server under another name: a session is bound to whom it was made with."""
        resumed(secure())
        sock = secure()
        sock.connect("127.0.0.1", peer.address[1])
        talk(sock)
        assert peer.reused[-1] is False
        assert sock.get_opt(Option.SESSION_RESUMED) is False


class TestSection10OnOtherTerms:
    """Nothing is verified when a session is resumed: so it is not resumed by who demands something else."""

    @pytest.fixture(params=["TLSv1_2"])
    def peer(self, request, subject, leaf):
        subject.need("resumption_buffer")
        with remembering(leaf, request.param) as made:
            yield made

    def test_under_other_demands_nothing_is_resumed(self, secure, resumed, pki):
        own = pki.client()
        assert not resumed(secure())
        assert not resumed(secure(client_cert=own.cert, client_key=own.key))
        assert not resumed(secure(verify=False))
        assert not resumed(secure())
        assert resumed(secure())

    def test_a_session_with_nobody_known_is_not_that_of_a_peer_that_is(self, secure, resumed, buffer):
        assert not resumed(secure(verify=False))
        kept = bytes(buffer)
        assert not resumed(secure())
        buffer[:] = kept
        assert not resumed(secure())

    def test_a_failed_connection_keeps_the_session_unless_it_was_the_reason(self, secure, leaf, buffer, peer, resumed):
        sock = secure()
        resumed(sock)
        kept = bytes(buffer)
        with tls_peer(leaf) as gone:
            port = str(gone.port)
        with pytest.raises(ModemError):
            sock.connect(NAME, port)  # nobody there
        assert buffer == kept
        assert sock.get_opt(Option.SESSION_RESUMED) is False


class TestSection10WhoseFault:
    def test_a_session_that_a_handshake_fails_with_is_not_offered_again(self, subject, trusting, leaf, buffer):
        """A server that cannot bear it would else be out of reach for as long as the buffer lives."""
        subject.need("resumption_buffer")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf.cert, leaf.key)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_TICKET
        reused, count = [], iter(range(3))

        def serve(stream):
            if next(count) == 1:
                stream.recv(100)
                stream.sendall(bytes([21, 3, 3, 0, 2, 2, 40]))
                stream.recv(10_000)
                return
            with context.wrap_socket(stream, server_side=True) as wrapped:
                reused.append(wrapped.session_reused)
                wrapped.sendall(wrapped.recv(1))

        with plain_peer(serve) as port:
            sock = subject.socket(trusting(session_resumption_buffer=buffer))
            for fails in (False, True, False):
                if not fails:
                    sock.connect(NAME, str(port))
                    talk(sock)
                    assert sock.get_opt(Option.SESSION_RESUMED) is False
                    sock.close()
                    continue
                assert not resumption.is_clear(buffer)
                with pytest.raises(HandshakeError):
                    sock.connect(NAME, str(port))
                # Who does not tell a handshake from a connection that failed leaves it out the next time alone.
                assert resumption.is_clear(buffer) or not subject.has("handshake_error")
            assert reused == [False, False]


class TestSection10Tickets:
    @pytest.fixture
    def secure(self, subject, trusting, buffer):
        subject.need("resumption")

        def make(**more):
            return subject.socket(trusting(session_resumption_buffer=buffer, **more))

        return make

    def test_of_a_server_that_keeps_nothing(self, loopback, pki, leaf, buffer):
        from modemtls.net import Certificates, SslConfiguration

        configuration = SslConfiguration(security=Certificates(trusted=pki.ca), session_resumption_buffer=buffer)
        with tls_peer(leaf, versions=TLS12) as peer:
            sock = loopback.socket(configuration)
            for expected in (False, True):
                sock.connect(*peer.address)
                talk(sock)
                assert sock.get_opt(Option.SESSION_RESUMED) is peer.reused[-1] is expected
                sock.close()

    def test_a_ticket_that_comes_late_is_kept(self, subject, secure, leaf, buffer):
        """With TLS 1.3 there is none before the first read."""
        subject.need("tls1.3")
        with tls_peer(leaf, versions=TLS13) as peer:
            sock = secure(version=TlsVersion.TLS1_3)
            sock.connect(*peer.address)
            assert resumption.is_clear(buffer)
            talk(sock)
            assert not resumption.is_clear(buffer)

    def test_until_the_next_ticket_the_one_that_served_is_kept(self, subject, secure, leaf, buffer):
        subject.need("tls1.3")
        with tls_peer(leaf, versions=TLS13) as peer:
            sock = secure(version=TlsVersion.TLS1_3)
            sock.connect(*peer.address)
            talk(sock)
            sock.close()
            sock.connect(*peer.address)
            assert sock.get_opt(Option.SESSION_RESUMED)
            assert not resumption.is_clear(buffer)
            sock.close()


@pytest.fixture
def cid():
    """A DTLS server that gives itself a Connection ID: clients send it along."""
    need_mbedtls()
    with DtlsEcho(Settings(server=True, datagram=True, psks={IDENTITY: KEY}, cid=b"server")) as server:
        yield server


class TestSection10ConnectionId:
    @pytest.fixture
    def secure(self, subject, psk, buffer):
        subject.need("cid", "dtls", "connections_saved")
        need_mbedtls()

        def make(configured=psk, **more):
            more = {"use_connection_id": True, "session_resumption_buffer": buffer, **more}
            return subject.socket(configured(**more), datagram=True)

        return make

    def flags(self, sock):
        return sock.get_opt(Option.SESSION_RESUMED), sock.get_opt(Option.CONNECTION_ID_RESUMED)

    def test_who_has_none_refuses_it_over_datagrams_alone(self, subject, datagrams, trusting):
        subject.socket(trusting(use_connection_id=True))
        if subject.has("cid"):
            need_mbedtls()
            assert subject.socket(datagrams(use_connection_id=True), datagram=True).datagram
        else:
            refuses("cid", lambda: subject.socket(datagrams(use_connection_id=True), datagram=True))

    def test_the_peers_is_sent_along(self, subject, psk, cid):
        subject.need("cid", "dtls")
        for wanted in (True, False):
            sock = subject.socket(psk(use_connection_id=wanted), datagram=True)
            sock.connect(*cid.address)
            assert self.flags(sock) == (False, False)
            talk(sock)
            assert cid.handshakes[-1].own_cid == (b"server" if wanted else None)
            sock.close()
        assert len(cid.handshakes) == 2

    @pytest.mark.parametrize("same", [True, False], ids=["same object", "another object"])
    @pytest.mark.parametrize("shut", [True, False], ids=["shut down before", "closed alone"])
    def test_close_saves_and_connect_restores_without_any_packet(self, secure, cid, same, shut):
        sock = secure()
        sock.connect(*cid.address)
        assert self.flags(sock) == (False, False)
        talk(sock)
        for _ in range(2):
            if shut:
                sock.shutdown()
            sock.close()
            if not same:
                sock.cleanup()
                sock = secure()
            heard = len(cid.addresses)
            cid.silent = True  # whatever were sent now would be lost
            sock.connect(*cid.address, timeout=5)
            cid.silent = False
            assert self.flags(sock) == (True, True)
            assert sock.state is State.CONNECTED
            talk(sock)
            assert len(cid.addresses) == heard + 1
        assert len(cid.handshakes) == 1

    def test_a_zeroed_buffer_means_a_full_handshake(self, secure, cid, buffer):
        sock = secure()
        for _ in range(2):
            sock.connect(*cid.address)
            assert self.flags(sock) == (False, False)
            talk(sock)
            sock.close()
            assert not resumption.is_clear(buffer)
            buffer[:] = bytes(SIZE)
        assert cid.reused == [False, False]

    def test_zeroed_while_connected_nothing_is_saved(self, secure, cid, buffer):
        sock = secure()
        for zero_when_restored in (False, True):
            sock.connect(*cid.address)
            if zero_when_restored:
                assert self.flags(sock) == (True, True)
                buffer[:] = bytes(SIZE)
            talk(sock)
            sock.close()
        assert resumption.is_clear(buffer)

    def test_it_is_restored_once_only(self, secure, cid, buffer):
        """Another one from the same state would use its record numbers again."""
        sock, other = secure(), secure()
        sock.connect(*cid.address)
        talk(sock)
        sock.close()
        kept = bytes(buffer)
        sock.connect(*cid.address)
        other.connect(*cid.address)
        assert self.flags(sock) == (True, True)
        assert self.flags(other)[1] is False
        talk(other)
        assert len(cid.handshakes) == 2
        other.close()
        assert kept != buffer

    def test_for_another_peer_it_is_not_restored(self, secure, cid):
        sock = secure()
        sock.connect(*cid.address)
        talk(sock)
        sock.close()
        with DtlsEcho(Settings(server=True, datagram=True, psks={IDENTITY: KEY}, cid=b"other")) as other:
            sock.connect(*other.address)
            assert self.flags(sock) == (False, False)
            talk(sock)
            assert other.reused == [False]

    def test_without_an_id_of_the_peers_there_is_a_session_only(self, subject, secure):
        with DtlsEcho(Settings(server=True, datagram=True, psks={IDENTITY: KEY}, cid=b"")) as server:
            sock = secure()
            for resumed in (False, True):
                sock.connect(*server.address)
                assert self.flags(sock) == (resumed and subject.has("resumption"), False)
                talk(sock)
                assert server.reused[-1] is resumed
                sock.close()

    def test_what_a_peer_has_ended_is_not_saved(self, secure, cid):
        sock = secure()
        sock.connect(*cid.address)
        talk(sock)
        cid.close_all()
        assert sock.receive(1) == b""
        sock.close()
        sock.connect(*cid.address)
        assert self.flags(sock)[1] is False
        talk(sock)
        assert len(cid.handshakes) == 2

    def test_with_certificates(self, secure, trusting, leaf):
        from modemtls.tlsengine import Verify

        certificate = {"chain": leaf.cert_pem, "key": leaf.key_pem, "verify": Verify.NONE}
        with DtlsEcho(Settings(server=True, datagram=True, cid=b"s", **certificate)) as server:
            sock = secure(trusting)
            for expected in ((False, False), (True, True)):
                sock.connect(*server.address)
                assert self.flags(sock) == expected
                talk(sock)
                sock.close()
