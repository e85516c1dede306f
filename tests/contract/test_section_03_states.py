"""Section 3: states."""

from __future__ import annotations

import pytest

from modemtls.errors import HandshakeError, ModemError, NameResolutionError
from modemtls.net import Certificates, Errno, Option, SslConfiguration, State
from tests.support.contract_peers import Silent, plain_peer
from tests.support.servers import free_port
from tests.support.subjects import UNKNOWN, refuses


def state(sock):
    assert sock.state is sock.get_opt(Option.STATE)
    return sock.state


def fails(code, call, *arguments):
    with pytest.raises(ModemError) as caught:
        call(*arguments)
    assert caught.value.code == code


class TestSection03States:
    def test_a_life(self, subject, trusting, echo):
        sock = subject.socket(trusting())
        assert state(sock) is State.CLOSED
        for _ in range(2):
            sock.connect(*echo.address)
            assert state(sock) is State.CONNECTED
            fails(Errno.EISCONN, sock.connect, *echo.address)
            fails(Errno.EISCONN, sock.bind, None, "7")
            sock.shutdown()
            assert state(sock) is State.SHUTDOWN
            fails(Errno.EISCONN, sock.connect, *echo.address)
            fails(Errno.EISCONN, sock.bind, None, "7")
            sock.close()
            assert state(sock) is State.CLOSED
        sock.close()
        assert state(sock) is State.CLOSED
        fails(Errno.EBADF, sock.shutdown)
        sock.cleanup()
        sock.cleanup()
        assert state(sock) is State.CLOSED
        fails(Errno.EBADF, sock.connect, *echo.address)

    def test_a_life_over_datagrams(self, subject, datagrams, dtls):
        sock = subject.socket(datagrams(), datagram=True)
        assert state(sock) is State.CLOSED
        for _ in range(2):
            sock.bind(None, "0")
            assert state(sock) is State.BOUND
            fails(Errno.EISCONN, sock.bind, None, "0")
            sock.connect(*dtls.address)
            assert state(sock) is State.CONNECTED
            fails(Errno.EISCONN, sock.connect, *dtls.address)
            fails(Errno.EISCONN, sock.bind, None, "0")
            sock.shutdown()
            assert state(sock) is State.SHUTDOWN
            fails(Errno.EISCONN, sock.connect, *dtls.address)
            fails(Errno.EISCONN, sock.bind, None, "0")
            sock.close()
            assert state(sock) is State.CLOSED
        sock.bind(None, "0")
        sock.shutdown()
        assert state(sock) is State.SHUTDOWN
        sock.cleanup()
        assert state(sock) is State.CLOSED
        fails(Errno.EBADF, sock.bind, None, "0")
        fails(Errno.EBADF, sock.connect, *dtls.address)

    def test_every_failure_to_connect_leaves_it_closed_and_usable(self, subject, trusting, echo):
        sock = subject.socket(trusting())
        with pytest.raises((NameResolutionError, ModemError)):
            sock.connect(UNKNOWN, "1")
        assert state(sock) is State.CLOSED
        with plain_peer(lambda stream: stream.sendall(b"no TLS at all\n")) as port, pytest.raises(ModemError):
            sock.connect("server.example", str(port))
        assert state(sock) is State.CLOSED
        with Silent(datagram=False) as silent, pytest.raises(TimeoutError):
            sock.connect("server.example", silent.port, timeout=0.3)
        assert state(sock) is State.CLOSED
        sock.connect(*echo.address)
        assert state(sock) is State.CONNECTED

    def test_cleanup_in_every_state(self, subject, trusting, echo):
        for upto in range(4):
            sock = subject.socket(trusting())
            if upto:
                sock.connect(*echo.address)
            if upto > 1:
                sock.shutdown()
            if upto > 2:
                sock.close()
            sock.cleanup()
            assert state(sock) is State.CLOSED

    def test_a_datagram_socket_may_be_bound_first_and_keeps_its_port(self, subject, datagrams, dtls):
        subject.need("bind")
        sock = subject.socket(datagrams(), datagram=True)
        port = str(free_port())
        for _ in range(2):
            sock.bind(None, port)
            assert state(sock) is State.BOUND
            fails(Errno.EISCONN, sock.bind, None, "0")
            sock.connect(*dtls.address)
            assert state(sock) is State.CONNECTED
            assert sock.local_port == port
            sock.send(b"x")
            assert sock.receive(1) == b"x"
            sock.close()
            assert state(sock) is State.CLOSED
        assert {address[1] for address in dtls.addresses} == {int(port)}
        sock.connect(*dtls.address)
        sock.send(b"x")
        assert sock.receive(1) == b"x"
        assert dtls.addresses[-1][1] != int(port), "close has forgotten it"

    def test_a_bound_datagram_socket_is_bound_after_a_failed_transport_closed_after_a_failed_handshake(
        self, subject, datagrams
    ):
        sock = subject.socket(datagrams(**subject.short_waits()), datagram=True)
        sock.bind(None, "0")
        with pytest.raises(ModemError) as caught:
            sock.connect(UNKNOWN, "1")
        if subject.has("resolution_error"):
            assert caught.value.code == Errno.EADDRNOTAVAIL
        assert state(sock) is State.BOUND
        # A stack with waits of its own gives up, else the caller does.
        limit = 5.0 if subject.short_waits() else 0.2
        with Silent(datagram=True) as silent, pytest.raises(ModemError):
            sock.connect("127.0.0.1", silent.port, timeout=limit)
        assert state(sock) is State.CLOSED

    def test_a_bound_stream_socket_cannot_connect(self, subject, anybody, echo):
        sock = subject.socket(anybody())
        if not subject.has("bind_stream"):
            refuses("server", lambda: sock.bind(None, "1"))
            return
        sock.bind(None, str(free_port()))
        fails(Errno.EISCONN, sock.connect, *echo.address)
        assert state(sock) is State.BOUND
        sock.shutdown()
        assert state(sock) is State.SHUTDOWN
        fails(Errno.EISCONN, sock.bind, None, "0")

    def test_a_bind_that_fails_leaves_it_closed(self, subject, trusting):
        sock = subject.socket(trusting())
        fails(Errno.EADDRNOTAVAIL, sock.bind, "192.0.2.1", str(free_port()))
        assert state(sock) is State.CLOSED

    def test_nothing_is_connected_before_the_handshake_is_done(self, loopback, echo, pki):
        seen = []
        sock = loopback.socket(SslConfiguration(security=Certificates(trusted=pki.ca)))
        lower = sock._lower
        lower.tamper = lambda data: seen.append(sock.get_opt(Option.STATE)) or [data]
        sock.connect(*echo.address)
        assert set(seen) == {State.CLOSED}
        other = loopback.socket(SslConfiguration(security=Certificates(trusted=pki.self_signed("a.example").cert)))
        with pytest.raises(HandshakeError):
            other.connect(*echo.address)
        assert other.get_opt(Option.STATE) is State.CLOSED
