"""Section 3: states."""

from __future__ import annotations

import pytest

from modemtls.errors import HandshakeError, ModemError, NameResolutionError
from modemtls.net import Certificates, Errno, Option, SslConfiguration, State
from tests.support.contract_peers import Silent, plain_peer
from tests.support.subjects import UNKNOWN
from tests.support.tls_ends import need_mbedtls


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
            sock.shutdown()
            assert state(sock) is State.SHUTDOWN
            fails(Errno.EISCONN, sock.connect, *echo.address)
            sock.close()
            assert state(sock) is State.CLOSED
        sock.close()
        assert state(sock) is State.CLOSED
        fails(Errno.EBADF, sock.shutdown)
        sock.cleanup()
        sock.cleanup()
        assert state(sock) is State.CLOSED
        fails(Errno.EBADF, sock.connect, *echo.address)

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

    def test_a_datagram_socket_may_be_bound_first_and_keeps_its_port(self, subject, psk, dtls):
        subject.need("dtls", "bind")
        sock = subject.socket(psk(), datagram=True)
        sock.bind(None, "0")
        assert state(sock) is State.BOUND
        fails(Errno.EISCONN, sock.bind, None, "0")
        port = sock.local_port
        sock.connect("127.0.0.1", str(dtls.port))
        assert state(sock) is State.CONNECTED
        assert sock.local_port == port
        sock.close()
        sock.bind(None, port)
        sock.connect("127.0.0.1", str(dtls.port))
        assert sock.local_port == port

    def test_a_bound_datagram_socket_is_bound_after_a_failed_transport_closed_after_a_failed_handshake(
        self, subject, psk
    ):
        subject.need("dtls", "bind")
        need_mbedtls()  # for timers below a second
        sock = subject.socket(psk(dtls_handshake_timeouts=(0.05, 0.05)), datagram=True)
        sock.bind(None, "0")
        fails(Errno.EADDRNOTAVAIL, sock.connect, UNKNOWN, "1")
        assert state(sock) is State.BOUND
        with Silent(datagram=True) as silent:
            fails(Errno.ETIMEDOUT, sock.connect, "127.0.0.1", silent.port)
        assert state(sock) is State.CLOSED

    def test_a_bound_stream_socket_cannot_connect(self, subject, trusting, echo):
        subject.need("bind")
        sock = subject.socket(trusting())
        sock.bind(None, "0")
        fails(Errno.EISCONN, sock.connect, *echo.address)
        assert state(sock) is State.BOUND
        sock.shutdown()
        assert state(sock) is State.SHUTDOWN
        fails(Errno.EISCONN, sock.bind, None, "0")

    def test_a_bind_that_fails_leaves_it_closed(self, subject, trusting):
        subject.need("bind")
        sock = subject.socket(trusting())
        fails(Errno.EADDRNOTAVAIL, sock.bind, "192.0.2.1", "0")
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
