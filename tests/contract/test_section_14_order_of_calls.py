"""Section 14: what an LwM2M client calls, in order."""

from __future__ import annotations

import select

import pytest

from modemtls.errors import ModemTimeoutError
from modemtls.net import Certificates, Option, Psk, SslConfiguration, State, TlsaRecord
from modemtls.tlsengine import Settings
from tests.contract.conftest import IDENTITY, KEY
from tests.support.dtls import DtlsEcho
from tests.support.tls_ends import need_mbedtls


def drain(sock):
    """Receive with a zero time-out until nothing is left, as after the handle has fired."""
    before = sock.get_opt(Option.RECV_TIMEOUT)
    sock.set_opt(Option.RECV_TIMEOUT, 0)
    found = []
    try:
        while True:
            try:
                data = sock.receive(1500)
            except ModemTimeoutError:
                break
            if not data:
                break
            found.append(data)
            if not sock.get_opt(Option.HAS_BUFFERED_DATA):
                break
    finally:
        sock.set_opt(Option.RECV_TIMEOUT, before)
    return found


def exchange(sock, message):
    """Send, wait for the handle or for something buffered, drain."""
    sock.send(message)
    found = []
    while not found:
        handle = sock.system
        if handle is not None and not sock.get_opt(Option.HAS_BUFFERED_DATA):
            assert select.select([handle], [], [], 10)[0]
        elif handle is None:
            found.append(sock.receive(1500))
            break
        found += drain(sock)
    return b"".join(found)


class TestSection14OrderOfCalls:
    def test_registered_asleep_and_back_over_datagrams(self, subject, dtls):
        subject.need("dtls", "resumption", "bind", "addresses")
        buffer = bytearray(1024)
        configuration = SslConfiguration(security=Psk(IDENTITY, KEY), session_resumption_buffer=buffer)
        sock = subject.socket(configuration, datagram=True)
        port = ""
        for resumed in (False, True, True):
            sock.bind(None, port)
            sock.connect("127.0.0.1", str(dtls.port))
            port = sock.local_port
            assert sock.get_opt(Option.STATE) is State.CONNECTED
            assert sock.get_opt(Option.SESSION_RESUMED) is resumed
            assert sock.get_opt(Option.INNER_MTU) > 100
            assert (sock.remote_host, sock.remote_port) == ("127.0.0.1", str(dtls.port))
            for message in (b"register", b"update"):
                assert exchange(sock, message) == message
            assert sock.get_opt(Option.BYTES_SENT) > 0
            sock.shutdown()
            sock.close()
        assert len(set(dtls.addresses)) == 1, "the server knows it by its port"

    def test_a_server_that_is_disabled_gets_a_full_handshake(self, subject, dtls):
        subject.need("dtls", "resumption")
        buffer = bytearray(1024)
        configuration = SslConfiguration(security=Psk(IDENTITY, KEY), session_resumption_buffer=buffer)
        sock = subject.socket(configuration, datagram=True)
        for _ in range(2):
            sock.connect("127.0.0.1", str(dtls.port))
            assert sock.get_opt(Option.SESSION_RESUMED) is False
            assert exchange(sock, b"x") == b"x"
            sock.shutdown()
            sock.close()
            buffer[:] = bytes(1024)

    def test_stateless_with_a_connection_id(self, subject):
        subject.need("dtls", "cid")
        need_mbedtls()
        buffer = bytearray(1024)
        configuration = SslConfiguration(
            security=Psk(IDENTITY, KEY),
            session_resumption_buffer=buffer,
            use_connection_id=True,
            ciphersuites=(0xC0A8,),
        )
        with DtlsEcho(Settings(server=True, datagram=True, psks={IDENTITY: KEY}, cid=b"cid")) as server:
            for both in (False, True, True):
                sock = subject.socket(configuration, datagram=True)
                sock.connect("127.0.0.1", str(server.port))
                assert sock.get_opt(Option.SESSION_RESUMED) is both
                assert sock.get_opt(Option.CONNECTION_ID_RESUMED) is both
                assert exchange(sock, b"x") == b"x"
                sock.shutdown()
                sock.close()
                sock.cleanup()
            assert len(server.handshakes) == 1

    def test_a_download_that_is_suspended_and_resumed(self, subject, trusting, echo):
        sock = subject.socket(trusting())
        sock.connect(*echo.address)
        assert exchange(sock, b"first") == b"first"
        sock.shutdown()
        assert sock.remote_hostname == "server.example"
        host, port = sock.remote_hostname, sock.remote_port
        sock.close()
        sock.connect(host, port)
        assert exchange(sock, b"second") == b"second"
        assert sock.get_opt(Option.BYTES_RECEIVED) == len(b"firstsecond")

    def test_the_record_is_set_right_after_creation(self, subject, pki, leaf, echo):
        subject.need("dane")
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization

        der = x509.load_pem_x509_certificate(leaf.cert_pem).public_bytes(serialization.Encoding.DER)
        sock = subject.socket(SslConfiguration(security=Certificates(dane=True)))
        sock.set_opt(Option.DANE_TLSA_ARRAY, [TlsaRecord(3, 0, 0, der)])
        sock.connect(*echo.address)
        assert exchange(sock, b"x") == b"x"

    def test_new_handshake_timeouts_are_pushed_to_every_socket(self, subject, psk, dtls):
        subject.need("handshake_timers", "dtls")
        sock = subject.socket(psk(), datagram=True)
        sock.set_opt(Option.DTLS_HANDSHAKE_TIMEOUTS, (2.0, 30.0))
        sock.connect("127.0.0.1", str(dtls.port))
        sock.set_opt(Option.DTLS_HANDSHAKE_TIMEOUTS, (1.0, 60.0))
        assert exchange(sock, b"x") == b"x"

    @pytest.mark.parametrize("count", [1, 5])
    def test_several_datagrams_at_once_are_all_drained(self, subject, psk, dtls, count):
        subject.need("dtls")
        sock = subject.socket(psk(), datagram=True)
        sock.connect("127.0.0.1", str(dtls.port))
        for number in range(count):
            sock.send(b"%d" % number)
        found = []
        while len(found) < count:
            if sock.system is not None and not sock.get_opt(Option.HAS_BUFFERED_DATA):
                assert select.select([sock.system], [], [], 10)[0]
            found += drain(sock)
        assert found == [b"%d" % number for number in range(count)]
