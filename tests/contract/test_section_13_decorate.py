"""Section 13: decorate."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading

import pytest

from modemtls.errors import CertificateError, ConfigurationError, HandshakeError, ModemError
from modemtls.host import HostSocket, decorate
from modemtls.net import Certificates, Errno, Option, Psk, SslConfiguration, State
from modemtls.tlsengine import Psk as EnginePsk
from modemtls.tlsengine import Settings, engine_for
from tests.contract.conftest import IDENTITY, KEY
from tests.support.contract_peers import plain_peer
from tests.support.loopback import LoopbackSocket
from tests.support.servers import free_port
from tests.support.subjects import refuses


def starttls(context):
    """A server that goes on in TLS when it is asked to, and answers a line in plain text otherwise."""

    def serve(stream):
        while True:
            asked = stream.recv(100)
            if asked == b"STARTTLS":
                break
            if not asked:
                return
            stream.sendall(b"plain " + asked)
        stream.sendall(b"go")
        with context.wrap_socket(stream, server_side=True) as secure:
            while data := secure.recv(100):
                secure.sendall(b"secret " + data)

    return serve


@pytest.fixture
def server(leaf):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert, leaf.key)
    with plain_peer(starttls(context)) as port:
        yield str(port)


def asked(sock, what):
    sock.send(what)
    return sock.receive(100)


class TestSection13Decorate:
    def test_from_plain_to_secure_on_a_connected_socket(self, subject, pki, server):
        plain = subject.plain()
        plain.connect("server.example", server)
        assert asked(plain, b"hello") == b"plain hello"
        assert asked(plain, b"STARTTLS") == b"go"
        secure = subject.keep(decorate(plain, SslConfiguration(security=Certificates(trusted=pki.ca))))
        assert secure.state is State.CONNECTED
        assert asked(secure, b"hello") == b"secret hello"
        assert (secure.remote_hostname, secure.remote_port) == ("server.example", server)
        assert secure.engine == "host"
        secure.close()
        assert plain.state is State.CLOSED

    def test_if_it_fails_the_lower_socket_is_as_before(self, subject, pki, server):
        stranger = pki.self_signed("x.example").cert
        plain = subject.plain()
        plain.connect("server.example", server)
        plain.set_opt(Option.RECV_TIMEOUT, 7.0)
        assert asked(plain, b"STARTTLS") == b"go"
        secure = subject.socket_of_the_host(SslConfiguration(security=Certificates(trusted=stranger)))
        with pytest.raises(CertificateError):
            secure.decorate(plain)
        assert plain.state is State.CONNECTED
        assert plain.get_opt(Option.RECV_TIMEOUT) == 7.0
        assert plain.remote_hostname == "server.example"
        assert secure.state is State.CLOSED
        plain.close()
        plain.connect("server.example", server)
        assert asked(plain, b"hello") == b"plain hello"

    def test_where_a_modem_secures_nothing_but_its_own(self, subject, trusting):
        if not subject.has("decorate"):
            refuses("decorate", lambda: subject.socket(trusting()).decorate(subject.plain()))

    def test_a_closed_one_is_connected_later(self, loopback, pki, echo):
        secure = loopback.socket_of_the_host(SslConfiguration(security=Certificates(trusted=pki.ca)))
        secure.decorate(LoopbackSocket())
        assert secure.state is State.CLOSED
        secure.connect(*echo.address)
        assert asked(secure, b"x") == b"x"

    def test_without_a_lower_socket_nothing_connects(self, loopback, pki, echo):
        secure = loopback.socket_of_the_host(SslConfiguration(security=Certificates(trusted=pki.ca)))
        for call in (lambda: secure.connect(*echo.address), lambda: secure.bind(None, "0")):
            with pytest.raises(ModemError) as caught:
                call()
            assert caught.value.code == Errno.EBADF

    def test_one_that_has_started_takes_no_other(self, loopback, pki, echo):
        secure = loopback.socket(SslConfiguration(security=Certificates(trusted=pki.ca)))
        secure.connect(*echo.address)
        other = LoopbackSocket()
        for _ in range(2):
            with pytest.raises(ModemError) as caught:
                secure.decorate(other)
            assert caught.value.code == Errno.EISCONN
            if secure.state is State.CONNECTED:
                secure.shutdown()
        assert secure.state is State.SHUTDOWN
        other.bind(None, "0")  # still the caller's
        other.cleanup()

    def test_the_state_of_the_lower_one_is_asked_first(self, loopback, psk):
        class Broken(LoopbackSocket):
            def get_opt(self, option):
                raise ModemError("no state to tell", number=5)

        secure = loopback.socket(psk())
        with pytest.raises(ModemError, match="no state"):
            secure.decorate(Broken())

    def test_streams_and_datagrams_and_secure_ones_do_not_mix(self, loopback, psk):
        secure = loopback.socket(psk())
        for wrong in (LoopbackSocket(datagram=True), loopback.socket(psk())):
            with pytest.raises(ConfigurationError):
                secure.decorate(wrong)
        with pytest.raises(ConfigurationError):
            HostSocket(psk(), LoopbackSocket(), datagram=True)

    def test_a_name_of_its_own_where_the_lower_one_has_none(self, loopback, pki, server):
        class Nameless(LoopbackSocket):
            @property
            def remote_hostname(self):
                raise ModemError("not known", number=105)

        for name, fine in ((None, False), ("server.example", True)):
            plain = loopback.keep(Nameless())
            plain.connect("127.0.0.1", server)
            assert asked(plain, b"STARTTLS") == b"go"
            configuration = SslConfiguration(security=Certificates(trusted=pki.ca), server_name_indication=name)
            if fine:
                assert asked(decorate(plain, configuration), b"x") == b"secret x"
            else:
                with pytest.raises(ConfigurationError):
                    decorate(plain, configuration)
                assert plain.state is State.CONNECTED

    @pytest.fixture
    def accepted(self, subject):
        """An accepted socket, and the caller's end of it."""
        subject.need("accept")
        listener = subject.plain()
        port = free_port()
        listener.bind(None, str(port))
        caller = socket.create_connection(("127.0.0.1", port))
        caller.settimeout(5)
        with caller:
            yield subject.keep(listener.accept()), caller

    def test_a_server_over_an_accepted_stream(self, subject, pki, leaf, accepted):
        called, caller = accepted
        got = []

        def talk():
            context = ssl.create_default_context(cafile=str(pki.ca))
            with context.wrap_socket(caller, server_hostname="server.example") as secure:
                secure.sendall(b"hello")
                got.append(secure.recv(100))

        client = threading.Thread(target=talk)
        client.start()
        own = Certificates(client_cert=leaf.cert, client_key=leaf.key, verify=False)
        secure = subject.keep(decorate(called, SslConfiguration(security=own)))
        assert secure.state is State.ACCEPTED
        assert secure.receive(100) == b"hello"
        secure.send(b"welcome")
        client.join(5)
        assert got == [b"welcome"]

    @pytest.mark.parametrize("shown", [True, False])
    def test_a_server_that_wants_certificates(self, pki, leaf, accepted, shown):
        called, caller = accepted

        def talk():
            context = ssl.create_default_context(cafile=str(pki.ca))
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            if shown:
                own = pki.client()
                context.load_cert_chain(own.cert, own.key)
            with contextlib.suppress(OSError), context.wrap_socket(caller, server_hostname="server.example") as secure:
                secure.recv(1)

        client = threading.Thread(target=talk)
        client.start()
        security = Certificates(client_cert=leaf.cert, client_key=leaf.key, trusted=pki.ca)
        if shown:
            decorate(called, SslConfiguration(security=security)).close()
        else:
            with pytest.raises(HandshakeError):
                decorate(called, SslConfiguration(security=security))
            assert called.state is State.ACCEPTED
            called.close()
        client.join(5)

    def test_a_server_with_a_pre_shared_key_over_datagrams(self, loopback):
        from modemtls.net import SocketConfiguration

        shared = SocketConfiguration(reuse_address=True)
        listener = loopback.plain(shared, datagram=True)
        listener.bind("127.0.0.1", "0")
        configuration = SslConfiguration(security=Psk(IDENTITY, KEY))
        client = loopback.socket(configuration, datagram=True)
        connecting = threading.Thread(target=client.connect, args=("127.0.0.1", listener.local_port))
        connecting.start()
        called = loopback.keep(listener.accept())
        secure = loopback.keep(decorate(called, configuration))
        connecting.join(10)
        assert (client.state, secure.state) == (State.CONNECTED, State.ACCEPTED)
        client.send(b"hello")
        assert secure.receive(100) == b"hello"
        secure.send(b"welcome")
        assert client.receive(100) == b"welcome"

    def test_data_that_comes_with_the_end_of_the_handshake_is_not_waited_for(self, loopback):
        """The far end talks at once: its last flight and its first data arrive together."""
        client = engine_for(Settings(psk=EnginePsk(IDENTITY, KEY)))
        lower = loopback.keep(Eager(client, b"hello"))
        secure = loopback.keep(decorate(lower, SslConfiguration(security=Psk(IDENTITY, KEY))))
        assert secure.state is State.ACCEPTED
        assert secure.get_opt(Option.HAS_BUFFERED_DATA) is True
        assert secure.receive(100, timeout=0) == b"hello"

    def test_over_a_transport_that_is_no_internet_at_all(self, loopback, psk):
        """As over SMS: whatever carries datagrams, connected to begin with."""
        server = engine_for(Settings(server=True, datagram=True, psks={IDENTITY: KEY}), b"somebody")
        secure = loopback.keep(decorate(Letters(server), psk()))
        assert secure.state is State.CONNECTED
        assert asked(secure, b"hello") == b"HELLO"


class Eager(LoopbackSocket):
    """A stream in memory to a client that sends data as soon as it may, in one piece with its last flight."""

    def __init__(self, engine, data):
        super().__init__()
        self.far, self.data, self.back, self.done = engine, data, b"", False
        self._state = State.ACCEPTED
        self._step()

    def _step(self):
        from modemtls.tlsengine import WantReadError

        with contextlib.suppress(WantReadError):
            if not self.done:
                self.far.handshake()
                self.done = True
                self.far.write(self.data)
        self.back += b"".join(self.far.take())

    def send(self, data, *, timeout=None):
        self.far.feed(bytes(data))
        self._step()

    def receive(self, size, *, timeout=None, peek=False):
        data, self.back = self.back, b""
        assert data, "nothing would ever come"
        return data

    def check_sendable(self):
        pass


class Letters(LoopbackSocket):
    """A datagram transport in memory, to an engine that answers in capitals."""

    def __init__(self, engine):
        super().__init__(datagram=True)
        self.far = engine
        self.letters = []
        self.done = False
        self._state = State.CONNECTED

    def send(self, data, *, timeout=None):
        from modemtls.tlsengine import WantReadError

        self.far.feed(bytes(data))
        try:
            if not self.done:
                self.far.handshake()
                self.done = True
            self.far.write(self.far.read().upper())
        except WantReadError:
            pass
        self.letters += self.far.take()

    def receive(self, size, *, timeout=None, peek=False):
        from modemtls.errors import ModemTimeoutError

        if not self.letters:
            raise ModemTimeoutError("no letter")
        return self.letters.pop(0)

    def get_opt(self, option):
        return 1000 if option is Option.INNER_MTU else super().get_opt(option)

    def check_sendable(self):
        pass

    @property
    def remote_hostname(self):
        return "somebody"

    @property
    def remote_port(self):
        return "0"

    @property
    def remote_host(self):
        return "somebody"
