"""Section 14: what an LwM2M client calls, in order."""

from __future__ import annotations

import select
import socket

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from modemtls.errors import ModemError, ModemTimeoutError
from modemtls.net import Option, State, lwm2m_record
from modemtls.tlsengine import Settings
from tests.contract.conftest import IDENTITY, KEY
from tests.support.contract_peers import remembering, tls_peer
from tests.support.dtls import DtlsEcho
from tests.support.subjects import NAME, refuses
from tests.support.tls_ends import need_mbedtls


def free_udp_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("0.0.0.0", 0))
        return probe.getsockname()[1]


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


class Client:
    """One server of an LwM2M client: what it calls on its one socket, in the order in which it does."""

    def __init__(self, subject, sock, server, static_port="") -> None:
        self.subject, self.sock, self.server = subject, sock, server
        self.port = self.static_port = static_port
        self.resumed = []

    def online(self, *, resumed, restored=False):
        """Bind to the port of the last time, connect, remember the port; see whether to register again."""
        sock = self.sock
        if self.port or self.static_port:
            try:
                sock.bind(None, self.port)
            except ModemError:
                sock.bind(None, self.static_port)
        sock.connect(*self.server.address)
        try:
            self.port = sock.local_port
        except ModemError:
            self.port = ""  # not every modem tells
        assert sock.get_opt(Option.STATE) is State.CONNECTED
        told = self.subject.has("resumption") or restored
        assert sock.get_opt(Option.SESSION_RESUMED) is (resumed and told)
        assert sock.get_opt(Option.CONNECTION_ID_RESUMED) is restored
        assert sock.get_opt(Option.INNER_MTU) > 100
        assert (sock.remote_hostname, sock.remote_port) == self.server.address

    def offline(self):
        self.sock.shutdown()
        assert self.sock.get_opt(Option.STATE) is State.SHUTDOWN
        self.sock.close()
        assert self.sock.get_opt(Option.STATE) is State.CLOSED


class TestSection14OrderOfCalls:
    @pytest.fixture
    def buffer(self):
        made = bytearray(4096)
        yield made
        made[:] = bytes(4096)  # nothing stays put aside

    @pytest.fixture
    def client(self, subject, datagrams, buffer):
        def make(server, static_port="", configured=datagrams, **more):
            if subject.has("resumption_buffer"):
                more["session_resumption_buffer"] = buffer
            return Client(subject, subject.socket(configured(**more), datagram=True), server, static_port)

        return make

    def test_registered_asleep_and_back_on_one_object(self, subject, client, dtls):
        one = client(dtls, str(free_udp_port()) if subject.has("bind") else "")
        for number in range(3):
            again = number > 0 and subject.has("resumption_buffer")
            one.online(resumed=again)
            for message in (b"register", b"update"):
                assert exchange(one.sock, message) == message
            assert dtls.reused[-1] is again
            assert one.sock.get_opt(Option.BYTES_SENT) == (number + 1) * len(b"registerupdate")
            one.offline()
        if subject.has("bind"):
            assert {port for _, port in dtls.addresses} == {int(one.static_port)}, "the server knows it by its port"

    def test_over_a_stream(self, subject, trusting, leaf, buffer):
        more = {"session_resumption_buffer": buffer} if subject.has("resumption_buffer") else {}
        with remembering(leaf) as peer:
            sock = subject.socket(trusting(**more))
            for number in range(2):
                sock.connect(*peer.address)
                assert exchange(sock, b"register") == b"register"
                again = number > 0 and subject.has("resumption_buffer")
                assert peer.reused[-1] is again
                assert sock.get_opt(Option.SESSION_RESUMED) is (again and subject.has("resumption"))
                sock.close()

    def test_the_static_port_is_for_when_the_last_one_is_taken(self, loopback, psk, dtls):
        one = Client(loopback, loopback.socket(psk(), datagram=True), dtls, str(free_udp_port()))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("0.0.0.0", 0))
            one.port = str(other.getsockname()[1])
            one.online(resumed=False)
            assert exchange(one.sock, b"x") == b"x"
            assert dtls.addresses[-1][1] == int(one.static_port)

    def test_a_server_that_is_disabled_gets_a_full_handshake(self, subject, client, dtls, buffer):
        subject.need("resumption_buffer")
        one = client(dtls)
        for _ in range(2):
            one.online(resumed=False)
            assert exchange(one.sock, b"x") == b"x"
            one.offline()
            buffer[:] = bytes(4096)
        assert dtls.reused == [False, False]

    def test_stateless_with_a_connection_id(self, subject, client, psk):
        subject.need("dtls", "cid", "connections_saved")
        need_mbedtls()
        with DtlsEcho(Settings(server=True, datagram=True, psks={IDENTITY: KEY}, cid=b"cid")) as server:
            one = client(server, configured=psk, use_connection_id=True)
            for both in (False, True, True):
                one.online(resumed=both, restored=both)
                assert exchange(one.sock, b"x") == b"x"
                one.offline()
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

    def test_the_one_record_is_set_right_after_creation(self, subject, trusting, pki):
        own = pki.self_signed(NAME)
        der = x509.load_pem_x509_certificate(own.cert_pem).public_bytes(serialization.Encoding.DER)
        sock = subject.socket(trusting(dane=True, trusted=None))
        sock.set_opt(Option.DANE_TLSA_ARRAY, [lwm2m_record(der)])
        with tls_peer(own, versions=("TLSv1_2", "TLSv1_2")) as peer:
            for _ in range(2):
                sock.connect(*peer.address)
                assert exchange(sock, b"x") == b"x"
                sock.close()

    def test_new_handshake_timeouts_are_pushed_to_every_socket(self, subject, datagrams, dtls):
        """Whoever cannot set them says so; the client does not mind."""
        sock = subject.socket(datagrams(), datagram=True)

        def push(*timers):
            if subject.has("handshake_timers"):
                sock.set_opt(Option.DTLS_HANDSHAKE_TIMEOUTS, timers)
            else:
                refuses("handshake_timers", lambda: sock.set_opt(Option.DTLS_HANDSHAKE_TIMEOUTS, timers))

        push(2.0, 30.0)
        sock.connect(*dtls.address)
        push(1.0, 60.0)
        assert exchange(sock, b"x") == b"x"

    @pytest.mark.parametrize("count", [1, 5])
    def test_several_datagrams_at_once_are_all_drained(self, subject, datagrams, dtls, count):
        sock = subject.socket(datagrams(), datagram=True)
        sock.connect(*dtls.address)
        for number in range(count):
            sock.send(b"%d" % number)
        found = []
        while len(found) < count:
            if sock.system is not None and not sock.get_opt(Option.HAS_BUFFERED_DATA):
                assert select.select([sock.system], [], [], 10)[0]
            found += drain(sock)
        assert found == [b"%d" % number for number in range(count)]
