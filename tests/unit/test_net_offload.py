"""The contract over a modem: states, settings, options; against a scripted modem."""

from __future__ import annotations

import errno
import gc
import weakref

import pytest

from modemtls.errors import (
    CertificateError,
    CommandError,
    ConfigurationError,
    ConnectError,
    ConnectOrHandshakeError,
    CredentialError,
    ModemError,
    ModemRestartedError,
    ModemTimeoutError,
    NameResolutionError,
    NotSupportedError,
    PdpError,
)
from modemtls.net import (
    AddressFamily,
    Category,
    Certificates,
    Errno,
    Option,
    SslConfiguration,
    State,
    Stored,
    TlsVersion,
    create_ssl_socket,
    create_tcp_socket,
    error_pair,
)
from tests.support.fakemodem import FakeModem
from tests.support.offload import (
    TLS,
    connected,
    modem_fixture,  # noqa: F401
)


class Public:
    """What an application has in its hands: it refers to the modem that the layers work with."""

    def __init__(self, attached):
        self.attached = attached


@pytest.fixture(scope="session")
def pki_pem(pki):
    client = pki.client()
    return pki.ca.read_bytes(), client.cert_pem, client.key_pem


@pytest.fixture(scope="session")
def other_key(pki):
    return pki.client("other").key_pem


class TestStates:
    def test_the_whole_life_twice_on_one_object(self, modem):
        sock = create_ssl_socket(modem, TLS)
        assert sock.get_opt(Option.STATE) is State.CLOSED
        for _ in range(2):
            sock.connect("server.example", "443")
            assert sock.get_opt(Option.STATE) is State.CONNECTED
            sock.shutdown()
            assert sock.get_opt(Option.STATE) is State.SHUTDOWN
            sock.close()
            assert sock.get_opt(Option.STATE) is State.CLOSED
        assert [peer.closed_by_driver for peer in modem.peers] == [True, True]
        assert [lease.released for lease in modem.leases] == [1, 1]

    def test_creating_sends_nothing(self, modem):
        create_ssl_socket(modem, TLS)
        create_tcp_socket(modem)
        assert modem.commands == []

    def test_what_stands_for_a_modem_is_taken_too_and_kept_open_while_the_socket_lives(self, modem):
        for create in (lambda public: create_ssl_socket(public, TLS), create_tcp_socket):
            public = Public(modem)
            alive = weakref.ref(public)
            sock = create(public)
            del public
            sock.connect("server.example", "443")
            sock.send(b"x")
            assert modem.peer.received == b"x"
            assert alive() is not None
            sock.close()
            del sock
            gc.collect()
            assert alive() is None

    def test_connected_or_shut_down_cannot_connect(self, modem):
        sock = connected(modem)
        for _ in range(2):
            with pytest.raises(ModemError) as caught:
                sock.connect("server.example", "443")
            assert error_pair(caught.value) == (Category.ERRNO, Errno.EISCONN)
            if sock.get_opt(Option.STATE) is State.CONNECTED:
                sock.shutdown()

    @pytest.mark.parametrize("call", [lambda s: s.send(b"x"), lambda s: s.receive(1), lambda s: s.shutdown()])
    def test_closed_is_ebadf(self, modem, call):
        sock = create_ssl_socket(modem, TLS)
        with pytest.raises(ModemError) as caught:
            call(sock)
        assert caught.value.errno == errno.EBADF
        assert error_pair(caught.value).code == Errno.EBADF

    def test_a_failed_connect_leaves_it_closed_and_usable(self, modem):
        sock = create_ssl_socket(modem, TLS)
        modem.fail_open = [CommandError("ERROR", kind="connect_or_handshake", modem_code=566, text="connect failed")]
        with pytest.raises(ConnectOrHandshakeError):
            sock.connect("server.example", "443")
        assert sock.get_opt(Option.STATE) is State.CLOSED
        assert modem.leases[0].released
        sock.connect("server.example", "443")
        assert sock.get_opt(Option.STATE) is State.CONNECTED

    def test_close_is_closed_even_if_the_modem_objects(self, modem):
        sock = connected(modem)

        def refuse(slot, *, deadline=None):
            raise CommandError("no")

        modem.sockets.close = refuse
        sock.close()
        assert sock.get_opt(Option.STATE) is State.CLOSED
        assert not modem.leases[0].own  # the share is the slot's, until the modem has closed it

    def test_cleanup_ends_it_for_good(self, modem):
        sock = connected(modem)
        sock.cleanup()
        sock.cleanup()
        assert modem.peer.closed_by_driver
        with pytest.raises(ModemError) as caught:
            sock.connect("server.example", "443")
        assert caught.value.errno == errno.EBADF

    def test_names_are_as_given_until_close(self, modem):
        sock = create_ssl_socket(modem, TLS)
        sock.connect("Server.example", "0443")
        assert (sock.remote_hostname, sock.remote_port) == ("Server.example", "0443")
        sock.shutdown()
        assert sock.remote_hostname == "Server.example"
        sock.close()
        with pytest.raises(ModemError):
            _ = sock.remote_hostname

    def test_a_restart_while_connecting_begins_again_but_not_for_ever(self, modem):
        sock = create_ssl_socket(modem, TLS)
        modem.fail_open = [ModemRestartedError("boot")] * 2
        sock.connect("server.example", "443")
        assert len(modem.leases) == 3
        assert [lease.released for lease in modem.leases] == [1, 1, 0]
        sock.close()
        modem.fail_open = [ModemRestartedError("boot")] * 3
        with pytest.raises(ModemRestartedError):
            sock.connect("server.example", "443")

    def test_an_interrupted_connect_gives_the_context_back(self, modem):
        sock = create_ssl_socket(modem, TLS)
        modem.fail_open = [KeyboardInterrupt()]
        with pytest.raises(KeyboardInterrupt):
            sock.connect("server.example", "443")
        assert modem.leases[0].released


class TestSettings:
    def test_what_the_modem_is_told(self, modem, pki_pem):
        ca, cert, key = pki_pem
        sock = create_ssl_socket(
            modem,
            SslConfiguration(
                security=Certificates(trusted=ca, client_cert=cert, client_key=key), ciphersuites=(0xC02F,)
            ),
        )
        sock.connect("server.example", "443")
        told = modem.leases[0].settings
        assert (told.version, told.suites, told.sni, told.check_hostname) == (3, ("0XC02F",), True, True)
        assert (told.ca, told.cert, told.key) == ("mtls-ca", "mtls-cert", "mtls-key")
        assert told.verify
        assert told.client_auth
        assert sock.version is TlsVersion.TLS1_2

    def test_a_stored_ca_is_not_uploaded(self, modem):
        connected(modem)
        assert modem.leases[0].settings.ca == "ca.pem"
        assert modem.stored == {}

    def test_without_verification_no_ca_is_uploaded_and_nothing_is_checked(self, modem, pki_pem):
        connected(modem, SslConfiguration(security=Certificates(trusted=pki_pem[0], verify=False)))
        told = modem.leases[0].settings
        assert (told.ca, told.verify, told.check_hostname, told.check_dates) == (None, False, False, False)
        assert modem.stored == {}

    def test_verification_without_a_ca_never_gets_as_far_as_the_modem(self, modem):
        security = Certificates(trusted=Stored("x"))
        object.__setattr__(security, "trusted", None)
        sock = create_ssl_socket(modem, SslConfiguration(security=security))
        with pytest.raises(CertificateError, match="no CA"):
            sock.connect("server.example", "443")
        assert modem.leases == []

    @pytest.mark.parametrize(
        "wrong", [b"", b"hello", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
    )
    def test_what_is_no_ca_fails_at_creation(self, modem, wrong):
        with pytest.raises(CredentialError):
            create_ssl_socket(modem, SslConfiguration(security=Certificates(trusted=wrong)))
        assert modem.commands == []

    def test_a_key_that_does_not_fit_fails_at_creation(self, modem, pki_pem, other_key):
        security = Certificates(trusted=pki_pem[0], client_cert=pki_pem[1], client_key=other_key)
        with pytest.raises(CredentialError, match="does not belong"):
            create_ssl_socket(modem, SslConfiguration(security=security))

    def test_files(self, modem, pki_pem, tmp_path):
        path = tmp_path / "ca.pem"
        path.write_bytes(pki_pem[0])
        connected(modem, SslConfiguration(security=Certificates(trusted=path)))
        assert b"BEGIN CERTIFICATE" in modem.stored["mtls-ca"]
        with pytest.raises(FileNotFoundError):
            create_ssl_socket(modem, SslConfiguration(security=Certificates(trusted=tmp_path / "none")))

    def test_what_the_modem_cannot_do_fails_at_creation(self):
        with pytest.raises(NotSupportedError, match="check_hostname=False"):
            create_ssl_socket(FakeModem(capabilities={"hostname_check": False}), TLS)
        with pytest.raises(NotSupportedError, match="no TLS"):
            create_ssl_socket(FakeModem(capabilities={"tls": None}), TLS)
        with pytest.raises(NotSupportedError, match="buffered"):
            create_tcp_socket(FakeModem(capabilities={"push": False}), receive="push")
        with pytest.raises(ConfigurationError, match="receive"):
            create_tcp_socket(FakeModem(), receive="pull")

    @pytest.mark.parametrize(("host", "port"), [('a"b', "1"), ("a\r\nb", "1"), ("a", "0"), ("a", "65536"), ("a", "x")])
    def test_bad_addresses_never_reach_the_modem(self, modem, host, port):
        sock = create_tcp_socket(modem)
        with pytest.raises(ConfigurationError):
            sock.connect(host, port)
        assert modem.commands == []

    @pytest.mark.parametrize(
        ("kind", "error", "code"),
        [
            ("connect_or_handshake", ConnectOrHandshakeError, Errno.ECONNREFUSED),
            ("connect_failed", ConnectError, Errno.ECONNREFUSED),
            ("name_not_resolved", NameResolutionError, Errno.EADDRNOTAVAIL),
            ("timeout", ModemTimeoutError, Errno.ETIMEDOUT),
            ("pdp_lost", PdpError, Errno.ENETDOWN),
            ("memory", CommandError, Errno.ENOMEM),
        ],
    )
    def test_what_a_failed_open_is_called(self, modem, kind, error, code):
        modem.fail_open = [CommandError("refused", kind=kind, modem_code=566, text="some text", namespace="open")]
        sock = create_ssl_socket(modem, TLS)
        with pytest.raises(error) as caught:
            sock.connect("server.example", "443")
        assert error_pair(caught.value) == (Category.ERRNO, code)
        if error is not CommandError:
            assert isinstance(caught.value.__cause__, CommandError)
            assert caught.value.__cause__.modem_code == 566

    @pytest.mark.parametrize(
        ("kind", "looks"),
        [("connect_or_handshake", True), ("handshake_failed", True), ("certificate", True), ("unknown", True),
         ("name_not_resolved", False), ("busy", False)],
    )  # fmt: skip
    def test_after_a_failure_that_a_missing_file_explains_the_files_are_looked_at_again(self, modem, kind, looks):
        sock = create_ssl_socket(modem, TLS)
        modem.fail_open = [CommandError("no", kind=kind)]
        with pytest.raises(ModemError):
            sock.connect("server.example", "443")
        assert ("look again" in modem.commands) is looks

    def test_the_one_code_for_everything_says_what_may_be_behind_it(self, modem, pki_pem):
        modem.fail_open = [
            CommandError("x", kind="connect_or_handshake", modem_code=566, text="it failed (TCP or TLS)")
        ] * 3
        ca, _, _ = pki_pem
        usual = create_ssl_socket(modem, SslConfiguration(security=Certificates(trusted=ca)))
        with pytest.raises(ConnectOrHandshakeError) as caught:
            usual.connect("server.example", "443")
        text = str(caught.value)
        for part in (
            "server.example port 443", " 566 ", "does not distinguish", "nobody listens", "given CA",
            "another name", "out of date", "modem's clock", "TLS 1.2", "cipher suite", "client certificate wanted",
        ):  # fmt: skip
            assert text.count(part) == 1
        assert "\n" not in text
        assert len(text) < 350
        stored = create_ssl_socket(modem, TLS)
        with pytest.raises(ConnectOrHandshakeError, match=r"no 'ca\.pem' in the modem"):
            stored.connect("server.example", "443")
        plain = create_tcp_socket(modem)
        with pytest.raises(ConnectError, match="566") as refused:
            plain.connect("server.example", "443")
        assert "TLS" not in str(refused.value)


class TestOptions:
    def test_counters_survive_close(self, modem):
        sock = connected(modem)
        sock.send(b"12345")
        modem.peer.say(b"abc")
        sock.receive(1)
        sock.close()
        sock.connect("server.example", "443")
        sock.send(b"67")
        assert sock.get_opt(Option.BYTES_SENT) == 7
        assert sock.get_opt(Option.BYTES_RECEIVED) == 3

    def test_buffered_data_is_never_falsely_false(self, modem):
        sock = create_ssl_socket(modem, TLS)
        assert sock.get_opt(Option.HAS_BUFFERED_DATA) is False
        sock.connect("server.example", "443")
        assert sock.get_opt(Option.HAS_BUFFERED_DATA) is False
        modem.peer.say(b"abc")
        assert sock.get_opt(Option.HAS_BUFFERED_DATA) is True  # in the modem, as far as is known
        sock.receive(1)
        assert sock.get_opt(Option.HAS_BUFFERED_DATA) is True
        sock.receive(10)
        assert sock.get_opt(Option.HAS_BUFFERED_DATA) is True  # the modem has not said that nothing is left
        with pytest.raises(ModemTimeoutError):
            sock.receive(1, timeout=0)
        assert sock.get_opt(Option.HAS_BUFFERED_DATA) is False
        modem.peer.close()
        assert sock.get_opt(Option.HAS_BUFFERED_DATA) is True  # the end

    def test_receive_timeout(self, modem):
        sock = create_ssl_socket(modem, TLS)
        assert sock.get_opt(Option.RECV_TIMEOUT) == 30.0
        for value in (None, 0, -1, 2.5):
            sock.set_opt(Option.RECV_TIMEOUT, value)
            assert sock.get_opt(Option.RECV_TIMEOUT) == value
        for wrong in ("1", True, float("nan")):
            with pytest.raises(ModemError) as caught:
                sock.set_opt(Option.RECV_TIMEOUT, wrong)
            assert error_pair(caught.value).code == Errno.EINVAL

    def test_resumption_is_false_where_nothing_tells(self, modem):
        sock = create_ssl_socket(modem, TLS)
        assert sock.get_opt(Option.SESSION_RESUMED) is False
        assert sock.get_opt(Option.CONNECTION_ID_RESUMED) is False
        with pytest.raises(ModemError):
            create_tcp_socket(modem).get_opt(Option.SESSION_RESUMED)

    def test_the_rest(self, modem):
        sock = create_ssl_socket(modem, TLS)
        assert sock.get_opt(Option.INNER_MTU) == 0
        assert sock.get_opt(Option.ADDR_FAMILY) is AddressFamily.UNSPEC
        sock.connect("2001:db8::1", "1")
        assert sock.get_opt(Option.ADDR_FAMILY) is AddressFamily.IPV6
        for option in set(Option) - {Option.RECV_TIMEOUT}:
            with pytest.raises(ModemError) as caught:
                sock.set_opt(option, 1)
            of_datagrams = option is Option.DTLS_HANDSHAKE_TIMEOUTS
            assert caught.value.errno == (errno.EBADF if of_datagrams else errno.EINVAL)
