"""Section 12: error model."""

from __future__ import annotations

import os
import socket
import struct
import threading

import pytest

from modemtls.errors import (
    Category,
    CertificateError,
    HandshakeError,
    ModemError,
    TlsError,
    TruncatedError,
)
from modemtls.net import (
    Certificates,
    Errno,
    Option,
    Psk,
    SslConfiguration,
    State,
    TlsVersion,
    create_ssl_socket,
    error_pair,
)
from modemtls.tlsengine import Settings, Verify, WantReadError, engine_for
from tests.contract.conftest import IDENTITY, KEY
from tests.support.contract_peers import Silent, plain_peer, tls_peer
from tests.support.dtls import DtlsEcho
from tests.support.servers import free_port
from tests.support.subjects import NAME, UNKNOWN
from tests.support.tls_ends import need_mbedtls

FATAL, HANDSHAKE_FAILURE, INTERNAL_ERROR = 2, 40, 80
TLS12 = ("TLSv1_2", "TLSv1_2")


def told(call):
    """The error of a call: as exception, and as the pair, which say the same."""
    with pytest.raises((ModemError, OSError)) as caught:
        call()
    error = caught.value
    pair = error_pair(error)
    if isinstance(error, ModemError):
        assert (error.category, error.code) == error.pair == pair
    assert pair.category in set(Category)
    assert pair.code != 0
    return error


def errno_of(call):
    """The portable code of a call's error."""
    category, code = error_pair(told(call))
    assert category is Category.ERRNO
    return code


def failure(sock, host, port):
    error = told(lambda: sock.connect(host, str(port)))
    assert sock.state is State.CLOSED
    assert isinstance(error, ModemError)
    return error


def alert(level, description):
    return bytes([21, 3, 3, 0, 2, level, description])


class TestSection12AtCreation:
    """What is wrong with a configuration; nothing is sent, and no engine makes a difference."""

    @pytest.fixture
    def made(self, subject, pki, trusting):
        own, other = pki.client(), pki.client()
        broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

        def secure(datagram=False, **more):
            return lambda: subject.socket(trusting(**more), datagram=datagram)

        return [
            (Errno.EINVAL, secure(trusted=7)),
            (Errno.EINVAL, secure(client_cert=own.cert)),
            (Errno.EINVAL, secure(dtls_handshake_timeouts=(5, 1))),
            (Errno.EINVAL, secure(dtls_handshake_timeouts=(1, 1e9))),
            (Errno.EINVAL, lambda: Psk(IDENTITY, b"")),
            (Errno.EPROTO, secure(trusted=b"rubbish")),
            (Errno.EPROTO, secure(trusted=broken)),
            (Errno.EPROTO, secure(client_cert=own.cert, client_key=b"rubbish")),
            (Errno.EPROTO, secure(client_cert=own.cert, client_key=other.key)),
            (Errno.ENOENT, secure(trusted=pki.folder / "nothing.pem")),
            (Errno.ENOBUFS, secure(server_name_indication="a" * 256)),
        ]

    def test_each_row(self, made):
        assert [errno_of(make) for _, make in made] == [code for code, _ in made]

    def test_what_is_not_supported(self, subject, trusting):
        subject.need("dtls")
        assert errno_of(lambda: subject.socket(trusting(version=TlsVersion.TLS1_3), datagram=True)) == Errno.ENOTSUP

    def test_no_configuration(self, modems):
        assert errno_of(lambda: create_ssl_socket(modems["nordic-sm"], None)) == Errno.EINVAL


class TestSection12States:
    def test_of_a_stream(self, subject, trusting, leaf):
        sock = subject.socket(trusting())
        for call in (
            lambda: sock.send(b"x"),
            lambda: sock.receive(1),
            sock.shutdown,
            lambda: sock.remote_host,
            lambda: sock.remote_hostname,
            lambda: sock.remote_port,
            lambda: sock.set_opt(Option.DTLS_HANDSHAKE_TIMEOUTS, (1, 2)),
        ):
            assert errno_of(call) == Errno.EBADF
        with tls_peer(leaf, versions=TLS12) as peer:
            sock.connect(*peer.address)
            assert errno_of(lambda: sock.connect(*peer.address)) == Errno.EISCONN
            assert errno_of(lambda: sock.receive(1, timeout=0)) == Errno.ETIMEDOUT
            assert errno_of(lambda: sock.get_opt(Option.DANE_TLSA_ARRAY)) == Errno.EINVAL
            assert errno_of(lambda: sock.set_opt(Option.STATE, State.CLOSED)) == Errno.EINVAL
            sock.send(b"x")
            assert sock.receive(1) == b"x"
            sock.shutdown()
            assert errno_of(lambda: sock.send(b"x")) == Errno.EPIPE
            assert errno_of(lambda: sock.connect(*peer.address)) == Errno.EISCONN
        sock.cleanup()
        assert errno_of(lambda: sock.connect(*peer.address)) == Errno.EBADF

    def test_of_datagrams(self, subject, datagrams, dtls):
        sock = subject.socket(datagrams(), datagram=True)
        assert errno_of(lambda: sock.send(b"x")) == Errno.EBADF
        assert errno_of(lambda: sock.set_opt(Option.DTLS_HANDSHAKE_TIMEOUTS, (2, 1))) == Errno.EBADF
        sock.connect(*dtls.address)
        assert errno_of(lambda: sock.send(bytes(70_000))) == Errno.EMSGSIZE
        assert errno_of(lambda: sock.receive(1, timeout=0)) == Errno.ETIMEDOUT
        sock.send(b"truncated")
        error = told(lambda: sock.receive(4))
        assert isinstance(error, TruncatedError)
        assert (error.code, error.data) == (Errno.EMSGSIZE, b"trun")
        assert errno_of(lambda: sock.receive(10, timeout=0)) == Errno.ETIMEDOUT
        assert dtls.heard == [b"truncated"]


class TestSection12Errors:
    def test_a_name_that_is_not_resolved(self, subject, trusting):
        error = failure(subject.socket(trusting()), UNKNOWN, 1)
        assert error.pair == (Category.ERRNO, Errno.EADDRNOTAVAIL)

    def test_nobody_there(self, subject, trusting):
        error = failure(subject.socket(trusting()), NAME, free_port())
        assert error.pair == (Category.ERRNO, Errno.ECONNREFUSED)

    def test_an_alert_in_the_handshake(self, subject, trusting):
        def say(stream):
            stream.recv(100)
            stream.sendall(alert(FATAL, HANDSHAKE_FAILURE))
            stream.recv(10_000)

        with plain_peer(say) as port:
            error = failure(subject.socket(trusting()), NAME, port)
        assert isinstance(error, HandshakeError)
        if subject.has("alerts"):
            assert error.pair == (Category.TLS_ALERT, FATAL << 8 | HANDSHAKE_FAILURE)
            assert error.alert == (FATAL, HANDSHAKE_FAILURE)
            assert "handshake failure" in str(error)
        else:
            assert error.pair == (Category.ERRNO, handshake_failed(subject))
            assert error.alert is None

    def test_an_alert_while_receiving(self, subject, psk):
        """After what came before it; the state stays, and the next connection is a new one."""
        subject.need("dtls", "psk")
        need_mbedtls()
        sock = subject.socket(psk(**subject.short_waits()), datagram=True)
        with _Server(alert_after=b"data") as server:
            sock.connect("127.0.0.1", str(server.port))
            sock.send(b"x")
            assert sock.receive(10) == b"data"
            if subject.has("alerts"):
                for _ in range(2):
                    error = told(lambda: sock.receive(10))
                    assert isinstance(error, TlsError)
                    assert error.pair == (Category.TLS_ALERT, FATAL << 8 | INTERNAL_ERROR)
            else:
                assert [sock.receive(10), sock.receive(10)] == [b"", b""]  # an end like any other
            assert sock.state is State.CONNECTED
        sock.close()
        with DtlsEcho(Settings(server=True, datagram=True, psks={IDENTITY: KEY})) as peer:
            sock.connect(*peer.address)
            sock.send(b"x")
            assert sock.receive(1) == b"x"

    def test_a_record_that_is_none(self, subject, trusting, leaf):
        """After what came before it."""

        def serve(stream):
            stream.recv(1)
            stream.sendall(b"data")
            os.write(stream.fileno(), b"this is no record, whatever it may be")
            socket.socket.recv(stream, 1)  # until the client goes

        with tls_peer(leaf, versions=TLS12, serve=serve) as peer:
            sock = subject.socket(trusting())
            sock.connect(*peer.address)
            sock.send(b"x")
            assert sock.receive(4) == b"data"
            for _ in range(2):
                if subject.has("alerts"):
                    assert errno_of(lambda: sock.receive(10)) == Errno.EPROTO
                else:  # the modem ends the connection, and does not tell why
                    assert sock.receive(10) == b""
                    assert sock.end_authenticated is False
            assert sock.state is State.CONNECTED

    def test_a_refused_certificate(self, subject, trusting, pki):
        with tls_peer(pki.self_signed(NAME), versions=TLS12) as peer:
            error = failure(subject.socket(trusting()), *peer.address)
        assert isinstance(error, CertificateError if subject.has("certificate_error") else HandshakeError)
        assert error.pair == (Category.ERRNO, handshake_failed(subject))

    def test_a_refused_certificate_by_the_other_engine_has_its_number(self, loopback, pki):
        need_mbedtls()
        leaf = pki.self_signed(NAME)
        settings = Settings(server=True, datagram=True, chain=leaf.cert_pem, key=leaf.key_pem, verify=Verify.NONE)
        with DtlsEcho(settings) as server:
            configuration = SslConfiguration(security=Certificates(trusted=pki.ca), dtls_handshake_timeouts=(0.5, 1))
            error = failure(loopback.socket(configuration, datagram=True), NAME, server.port)
        assert error.category is Category.TLS_LIBRARY
        assert 0 < error.code <= 0xFFFF

    def test_what_is_no_tls(self, subject, trusting):
        with plain_peer(lambda stream: stream.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")) as port:
            error = failure(subject.socket(trusting()), NAME, port)
        assert isinstance(error, HandshakeError)
        assert error.pair == (Category.ERRNO, handshake_failed(subject))

    @pytest.mark.parametrize("upto", [0, 1, 2])
    def test_a_handshake_that_is_cut(self, subject, trusting, upto):
        def cut(stream):
            for _ in range(upto):
                stream.recv(100)
            if upto == 2:  # with a reset
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        with plain_peer(cut) as port:
            error = failure(subject.socket(trusting()), NAME, port)
        assert error.category is Category.ERRNO
        assert error.code in ({Errno.ECONNRESET, handshake_failed(subject)})

    def test_a_peer_that_never_answers(self, subject, trusting):
        with Silent(datagram=False) as silent:
            sock = subject.socket(trusting())
            error = told(lambda: sock.connect(NAME, silent.port, timeout=0.2))
            assert isinstance(error, TimeoutError)
            assert error_pair(error) == (Category.ERRNO, Errno.ETIMEDOUT)
            assert sock.state is State.CLOSED

    def test_a_peer_that_never_answers_datagrams(self, subject, datagrams):
        with Silent(datagram=True) as silent:
            sock = subject.socket(datagrams(**subject.short_waits()), datagram=True)
            error = told(lambda: sock.connect("127.0.0.1", silent.port, timeout=0.2))
            assert isinstance(error, TimeoutError)
            assert error_pair(error) == (Category.ERRNO, Errno.ETIMEDOUT)
            assert sock.state is State.CLOSED
            assert silent.heard()

    def test_the_transport_refuses_in_the_handshake(self, subject, psk):
        subject.need("dtls", "refusal")
        error = failure(subject.socket(psk(), datagram=True), "127.0.0.1", free_port())
        assert error.pair == (Category.ERRNO, Errno.ECONNREFUSED)

    @pytest.mark.parametrize("wrong", ["key", "identity"])
    def test_a_pre_shared_key_that_the_server_does_not_have(self, subject, psk, wrong):
        """A server answers another identity with an alert, and another key with silence, which is all that it may."""
        subject.need("dtls", "psk")
        psks = {IDENTITY: b"another key"} if wrong == "key" else {b"somebody": KEY}
        sock = subject.socket(psk(**subject.short_waits()), datagram=True)
        with DtlsEcho(Settings(server=True, datagram=True, psks=psks)) as server:
            error = told(lambda: sock.connect(*server.address))
            assert isinstance(error, HandshakeError | TimeoutError)
            assert sock.state is State.CLOSED
            assert server.heard == []
        with DtlsEcho(Settings(server=True, datagram=True, psks={IDENTITY: KEY})) as server:
            sock.connect(*server.address)
            sock.send(b"x")
            assert sock.receive(1) == b"x"

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
            failure(sock, NAME, port)
        failure(sock, NAME, free_port())
        sock.connect(*echo.address)
        sock.send(b"x")
        assert sock.receive(1) == b"x"


def handshake_failed(subject):
    """What a handshake that failed is called: by a modem that cannot tell, a connection that failed."""
    return Errno.EPROTO if subject.has("handshake_error") else Errno.ECONNREFUSED


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
