"""Section 12: error model."""

from __future__ import annotations

import socket
import struct
import threading

import pytest

from modemtls.errors import Category, HandshakeError, ModemError, TlsError
from modemtls.net import Certificates, Errno, SslConfiguration, State, error_pair
from modemtls.tlsengine import Settings, WantReadError, engine_for
from tests.contract.conftest import IDENTITY, KEY
from tests.support.contract_peers import Silent, plain_peer, tls_peer
from tests.support.dtls import DtlsEcho
from tests.support.servers import free_port
from tests.support.subjects import UNKNOWN
from tests.support.tls_ends import need_mbedtls

FATAL, HANDSHAKE_FAILURE, PROTOCOL_VERSION, INTERNAL_ERROR = 2, 40, 70, 80


def failure(sock, host, port):
    with pytest.raises(ModemError) as caught:
        sock.connect(host, str(port))
    assert sock.state is State.CLOSED
    error = caught.value
    assert (error.category, error.code) == error.pair == error_pair(error)
    return error


def alert(level, description):
    return bytes([21, 3, 3, 0, 2, level, description])


class TestSection12Errors:
    def test_a_name_that_is_not_resolved(self, subject, trusting):
        error = failure(subject.socket(trusting()), UNKNOWN, 1)
        if subject.has("resolution_error"):
            assert error.pair == (Category.ERRNO, Errno.EADDRNOTAVAIL)
        else:
            assert error.category is Category.ERRNO

    def test_nobody_there(self, subject, trusting):
        error = failure(subject.socket(trusting()), "server.example", free_port())
        assert error.pair == (Category.ERRNO, Errno.ECONNREFUSED)

    def test_an_alert_in_the_handshake(self, subject, trusting):
        def say(stream):
            stream.recv(100)
            stream.sendall(alert(FATAL, HANDSHAKE_FAILURE))
            stream.recv(10_000)

        with plain_peer(say) as port:
            error = failure(subject.socket(trusting()), "server.example", port)
        if subject.has("alerts"):
            assert error.pair == (Category.TLS_ALERT, FATAL << 8 | HANDSHAKE_FAILURE)
            assert error.alert == (FATAL, HANDSHAKE_FAILURE)
            assert "handshake failure" in str(error)
        else:
            assert error.category is Category.ERRNO

    def test_an_alert_while_receiving(self, loopback, psk):
        """After what came before it; the state stays, and the next connection is a new one."""
        need_mbedtls()
        with _Server(alert_after=b"data") as server:
            sock = loopback.socket(psk(dtls_handshake_timeouts=(0.5, 1)), datagram=True)
            sock.connect("127.0.0.1", str(server.port))
            sock.send(b"x")
            assert sock.receive(10) == b"data"
            for _ in range(2):
                with pytest.raises(TlsError) as caught:
                    sock.receive(10)
                assert caught.value.pair == (Category.TLS_ALERT, FATAL << 8 | INTERNAL_ERROR)
            assert sock.state is State.CONNECTED

    def test_a_refused_certificate(self, subject, trusting, pki):
        with tls_peer(pki.self_signed("server.example"), versions=("TLSv1_2", "TLSv1_2")) as peer:
            error = failure(subject.socket(trusting()), *peer.address)
        assert error.pair == (Category.ERRNO, Errno.EPROTO if subject.has("certificate_error") else Errno.ECONNREFUSED)

    def test_a_refused_certificate_by_the_other_engine_has_its_number(self, loopback, pki):
        need_mbedtls()
        leaf = pki.self_signed("server.example")
        from modemtls.tlsengine import Verify

        settings = Settings(server=True, datagram=True, chain=leaf.cert_pem, key=leaf.key_pem, verify=Verify.NONE)
        with DtlsEcho(settings) as server:
            configuration = SslConfiguration(security=Certificates(trusted=pki.ca), dtls_handshake_timeouts=(0.5, 1))
            error = failure(loopback.socket(configuration, datagram=True), "server.example", server.port)
        assert error.category is Category.TLS_LIBRARY
        assert 0 < error.code <= 0xFFFF

    def test_what_is_no_tls(self, subject, trusting):
        with plain_peer(lambda stream: stream.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")) as port:
            error = failure(subject.socket(trusting()), "server.example", port)
        if subject.has("handshake_error"):
            assert isinstance(error, HandshakeError)
            assert error.pair == (Category.ERRNO, Errno.EPROTO)

    @pytest.mark.parametrize("upto", [0, 1, 2])
    def test_a_handshake_that_is_cut(self, subject, trusting, leaf, upto):
        def cut(stream):
            for _ in range(upto):
                stream.recv(100)
            if upto == 2:  # with a reset
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        with plain_peer(cut) as port:
            error = failure(subject.socket(trusting()), "server.example", port)
        assert error.category is Category.ERRNO
        if subject.has("handshake_error"):
            assert error.code in (Errno.EPROTO, Errno.ECONNRESET)

    def test_a_peer_that_never_answers(self, subject, trusting):
        with Silent(datagram=False) as silent:
            sock = subject.socket(trusting())
            with pytest.raises(TimeoutError) as caught:
                sock.connect("server.example", silent.port, timeout=0.2)
            assert error_pair(caught.value) == (Category.ERRNO, Errno.ETIMEDOUT)
            assert sock.state is State.CLOSED

    def test_the_transport_refuses_in_the_handshake(self, subject, psk):
        subject.need("dtls", "refusal")
        error = failure(subject.socket(psk(), datagram=True), "127.0.0.1", free_port())
        assert error.pair == (Category.ERRNO, Errno.ECONNREFUSED)

    @pytest.mark.parametrize("flight", range(1, 5))
    def test_a_datagram_handshake_that_is_cut_at_each_flight(self, loopback, psk, dtls, flight):
        need_mbedtls()
        sock = loopback.socket(psk(dtls_handshake_timeouts=(0.05, 0.1)), datagram=True)
        left = iter(range(1000))
        sock._lower.tamper = lambda data: [data] if next(left) < flight - 1 else []
        if flight < 4:
            error = failure(sock, "127.0.0.1", dtls.port)
            assert error.pair == (Category.ERRNO, Errno.ETIMEDOUT)
        else:  # all that the client has to say in a handshake is said
            sock.connect("127.0.0.1", str(dtls.port))
            sock.close()
        sock._lower.tamper = None
        sock.connect("127.0.0.1", str(dtls.port))
        sock.send(b"x")
        assert sock.receive(1) == b"x"

    def test_the_socket_is_usable_after_each(self, subject, trusting, echo):
        sock = subject.socket(trusting())
        with plain_peer(lambda stream: stream.sendall(b"x")) as port:
            failure(sock, "server.example", port)
        failure(sock, "server.example", free_port())
        sock.connect(*echo.address)
        sock.send(b"x")
        assert sock.receive(1) == b"x"


class _Server:
    """A DTLS server whose first answer is data and then, encrypted, a fatal alert."""

    def __init__(self, alert_after: bytes) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.settimeout(5)
        self.port = self.sock.getsockname()[1]
        settings = Settings(server=True, datagram=True, psks={IDENTITY: KEY}, cid=b"", cookies=False)
        self.engine = engine_for(settings)  # Mbed TLS: it can be made to send an alert
        self.data = alert_after
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.thread.join(5)
        self.sock.close()

    def _run(self):
        done = False
        while True:
            data, address = self.sock.recvfrom(65536)
            self.engine.feed(data)
            try:
                if not done:
                    self.engine.handshake()
                    done = True
                if self.engine.read():
                    self.engine.write(self.data)
                    library = self.engine._lib
                    import ctypes

                    self.engine._call(
                        library.ssl_send_alert_message, ctypes.c_ubyte(FATAL), ctypes.c_ubyte(INTERNAL_ERROR)
                    )
                    return
            except WantReadError:
                pass
            finally:
                for each in self.engine.take():
                    self.sock.sendto(each, address)
