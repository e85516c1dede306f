"""Section 1: entry points."""

from __future__ import annotations

import subprocess
import sys

import pytest

from modemtls import net
from modemtls.errors import ConfigurationError, NotSupportedError
from modemtls.net import Certificates, Errno, SocketConfiguration, SslConfiguration, State
from tests.support import subjects
from tests.support.fakemodem import FakeModem


@pytest.fixture(autouse=True)
def down():
    """Each test begins and ends with the global state down."""
    net.cleanup_global_ssl_state()
    yield
    net.cleanup_global_ssl_state()


@pytest.fixture
def modem():
    return FakeModem()


NOBODY = SslConfiguration(security=Certificates(verify=False))


class TestSection01EntryPoints:
    def test_the_first_socket_of_any_kind_brings_the_global_state_up(self, modem):
        for create in (lambda: net.create_ssl_socket(modem, NOBODY), lambda: net.create_tcp_socket(modem)):
            net.cleanup_global_ssl_state()
            assert not net.global_ssl_state_is_up()
            assert create().get_opt(net.Option.STATE) is State.CLOSED
            assert net.global_ssl_state_is_up()

    def test_bringing_it_up_twice_and_down_twice_is_once(self, modem):
        for _ in range(2):
            for _ in range(2):
                net.initialize_global_ssl_state()
                assert net.global_ssl_state_is_up()
            for _ in range(2):
                net.cleanup_global_ssl_state()
                assert not net.global_ssl_state_is_up()
            net.create_tcp_socket(modem)

    def test_if_the_first_creation_fails_it_is_down_again(self, modem):
        with pytest.raises(NotSupportedError):
            net.create_udp_socket(modem)
        assert not net.global_ssl_state_is_up()
        net.create_tcp_socket(modem)
        with pytest.raises(NotSupportedError):
            net.create_udp_socket(modem)
        assert net.global_ssl_state_is_up(), "there is a socket"

    def test_a_failure_beside_a_creation_that_goes_on_leaves_it_up(self, modem):
        def slowly():
            with pytest.raises(NotSupportedError):
                net.create_udp_socket(modem)
            assert net.global_ssl_state_is_up()

        modem.ensure_ready = slowly
        net.create_ssl_socket(modem, NOBODY)
        assert net.global_ssl_state_is_up()

    def test_the_first_one_that_fails_when_another_has_been_made_leaves_it_up(self, modem):
        def fail():
            net.create_tcp_socket(modem)
            raise NotSupportedError("no", capability="nothing")

        modem.ensure_ready = fail
        with pytest.raises(NotSupportedError):
            net.create_ssl_socket(modem, NOBODY)
        assert net.global_ssl_state_is_up()

    def test_creating_sends_nothing_and_fails_before_anything_is_sent(self, modem):
        subjects.refuses("dtls", lambda: net.create_dtls_socket(modem, NOBODY))
        subjects.refuses("udp", lambda: net.create_udp_socket(modem))
        subjects.refuses("dscp", lambda: net.create_tcp_socket(modem, SocketConfiguration(dscp=1)))
        net.create_tcp_socket(modem, SocketConfiguration(reuse_address=True))
        assert modem.commands == []

    @pytest.mark.parametrize("wrong", [None, "tls", Certificates(verify=False)])
    def test_without_a_configuration_there_is_no_socket(self, modem, wrong):
        for create in (net.create_ssl_socket, net.create_dtls_socket):
            with pytest.raises(ConfigurationError) as caught:
                create(modem, wrong)
            assert caught.value.code == Errno.EINVAL
        with pytest.raises(ConfigurationError):
            net.create_ssl_socket(modem, NOBODY, engine="both")
        with pytest.raises(ConfigurationError):
            net.create_tcp_socket(modem, NOBODY)

    def test_the_socket_tells_which_engine_serves(self, modem):
        psk = SslConfiguration(security=net.Psk(b"", b"key"))
        assert net.create_ssl_socket(modem, NOBODY).engine == "modem"
        assert net.create_ssl_socket(modem, NOBODY, engine="auto").engine == "modem"
        assert net.create_ssl_socket(modem, NOBODY, engine="host").engine == "host"
        assert net.create_ssl_socket(modem, psk, engine="auto").engine == "host"
        with pytest.raises(NotSupportedError) as caught:
            net.create_ssl_socket(modem, psk, engine="modem")
        assert caught.value.capability == "psk"
        assert 'engine="host"' in str(caught.value)

    def test_where_neither_engine_can_both_say_why(self, modem):
        stored = Certificates(trusted=[net.Stored("ca.pem"), net.Stored("other.pem")])
        with pytest.raises(NotSupportedError) as caught:
            net.create_ssl_socket(modem, SslConfiguration(security=stored), engine="auto")
        assert caught.value.capability == "compound_stored_credentials"
        assert "nor can the host" in str(caught.value)

    def test_without_the_extra_one_line_names_it(self):
        code = (
            "import sys; sys.modules['OpenSSL'] = None\n"
            "from modemtls.host import HostSocket\n"
            "from modemtls.net import Certificates, SslConfiguration\n"
            "from modemtls.errors import NotSupportedError\n"
            "try: HostSocket(SslConfiguration(security=Certificates(verify=False)))\n"
            "except NotSupportedError as error: print(error.capability, error)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.startswith("host_engine ")
        assert "pip install 'modemtls[host]'" in done.stdout
        assert done.stdout.count("\n") == 1

    def test_importing_loads_no_engine(self):
        code = "import sys, modemtls.net, modemtls.host; sys.exit(bool({'OpenSSL', 'cryptography'} & set(sys.modules)))"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
