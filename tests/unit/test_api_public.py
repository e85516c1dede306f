"""The public face: what is checked before anything is sent, what is passed on, what importing costs."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import modemtls
from modemtls import net
from modemtls.errors import ConfigurationError, ModemError, NotSupportedError
from modemtls.net.contract import Stored, TlsVersion
from tests.support.fakemodem import FakeModem

CA = modemtls.Stored("ca.pem")
BOTH = b"".join(
    b"-----BEGIN %b-----\nhush\n-----END %b-----\n" % (what, what) for what in (b"CERTIFICATE", b"PRIVATE KEY")
)


@pytest.fixture
def fake():
    return FakeModem()


@pytest.fixture
def modem(fake):
    with modemtls.Modem(fake) as made:
        yield made


class TestTLSConfig:
    def test_safe_by_default(self, tmp_path):
        path = tmp_path / "ca.pem"
        path.write_text("anything")
        made = modemtls.TLSConfig(ca=str(path))
        assert (made.verify, made.check_hostname, made.check_dates) == (True, True, True)
        strict = made.configuration()
        assert strict.version is TlsVersion.TLS1_2
        assert strict.max_version is None
        assert strict.ciphersuites == ()
        assert strict.security.trusted == path

    def test_no_ca_says_what_to_give(self):
        with pytest.raises(ConfigurationError, match=r"ca=.*Stored.*verify=False"):
            modemtls.TLSConfig()

    def test_verify_and_check_hostname_are_two_different_words(self):
        chain_only = modemtls.TLSConfig(ca=CA, check_hostname=False)
        assert (chain_only.verify, chain_only.check_hostname) == (True, False)
        assert chain_only.configuration().security.verify
        nothing = modemtls.TLSConfig(verify=False)
        assert (nothing.verify, nothing.check_hostname) == (False, False)
        with pytest.raises(ConfigurationError, match="proves nothing"):
            modemtls.TLSConfig(verify=False, check_hostname=True)

    @pytest.mark.parametrize(
        ("ca", "kept"),
        [
            ("-----BEGIN CERTIFICATE-----\nx", b"-----BEGIN CERTIFICATE-----\nx"),
            (b"anything", b"anything"),
            (CA, Stored("ca.pem")),
        ],
    )
    def test_a_ca_is_a_path_or_text_or_bytes_or_stored(self, ca, kept):
        assert modemtls.TLSConfig(ca=ca).configuration().security.trusted == kept

    def test_home_directories(self, monkeypatch, tmp_path):
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "ca.pem").write_text("anything")
        assert modemtls.TLSConfig(ca="~/ca.pem").configuration().security.trusted == tmp_path / "ca.pem"

    def test_the_key_may_stand_beside_the_certificate(self):
        security = modemtls.TLSConfig(ca=CA, cert=b"both").configuration().security
        assert (security.client_cert, security.client_key) == (b"both", b"both")
        with pytest.raises(ConfigurationError, match="without cert"):
            modemtls.TLSConfig(ca=CA, key=b"k")

    @pytest.mark.parametrize(
        "wrong",
        [
            {"ca": 5}, {"min_version": "1.9"}, {"min_version": "1.2", "max_version": "1.1"}, {"suites": [0]},
            {"suites": "0xC02F"}, {"sni": 'a"b'}, {"sni": "a\r\nb"}, {"sni": ""}, {"handshake_timeout": 0},
            {"handshake_timeout": -1}, {"handshake_timeout": math.inf}, {"handshake_timeout": math.nan},
            {"handshake_timeout": "5"}, {"handshake_timeout": True}, {"alpn": "h2"}, {"alpn": [5]}, {"alpn": 0},
            {"ca": ""}, {"ca": b""}, {"ca": "x\0y"}, {"ca": "\ud800"}, {"ca": Path("x\0y")},
            {"ca": modemtls.Encrypted(b"k", b"p")}, {"system_trust": 1}, {"psk": (b"identity", b"key")},
            {"session_resumption_buffer": b"12"}, {"session_resumption_buffer": memoryview(b"12")},
            {"session_resumption_buffer": "x"},
            {"revocation_lists": 5}, {"revocation_lists": b""},
        ],
    )  # fmt: skip
    def test_wrong_values_are_told_when_it_is_made(self, wrong):
        with pytest.raises(ConfigurationError):
            modemtls.TLSConfig(**({"ca": CA} | wrong))

    @pytest.mark.parametrize("name", ["verify", "check_hostname", "check_dates"])
    @pytest.mark.parametrize("value", [0, 1, "", "no", [], {}, 0.0, None])
    def test_a_check_is_switched_off_by_false_and_by_nothing_else(self, name, value):
        if name == "check_hostname" and value is None:
            assert modemtls.TLSConfig(ca=CA, check_hostname=None).check_hostname is True
            return
        with pytest.raises(ConfigurationError, match=f"{name}.*True or False"):
            modemtls.TLSConfig(**({"ca": CA} | {name: value}))
        with pytest.raises(ConfigurationError, match=f"{name}.*True or False"):
            net.Certificates(**({"trusted": CA} | {name: value}))

    @pytest.mark.parametrize("suites", [[], (), set(), frozenset()])
    def test_an_empty_list_of_suites_does_not_mean_all(self, suites):
        with pytest.raises(ConfigurationError, match="no suite is left"):
            modemtls.TLSConfig(ca=CA, suites=suites)

    @pytest.mark.parametrize(
        "suites", [0, 0xC02F, ["0xC02F"], [True], [49199.0], [None], [-1], {}, {0xC02F: 1}, b"\xc0\x2f"]
    )
    def test_suites_are_numbers_in_a_list(self, suites):
        with pytest.raises(ConfigurationError, match="suite"):
            modemtls.TLSConfig(ca=CA, suites=suites)
        with pytest.raises(ConfigurationError, match="suite"):
            net.SslConfiguration(security=net.Certificates(trusted=CA), ciphersuites=suites)

    @pytest.mark.parametrize("wrong", [{"suites": [10**5000]}, {"min_version": 10**5000}, {"min_version": "9" * 10**5}])
    def test_what_is_quoted_is_short(self, wrong):
        with pytest.raises(ConfigurationError) as caught:
            modemtls.TLSConfig(ca=CA, **wrong)
        assert len(str(caught.value)) < 400

    def test_what_is_given_as_a_list_cannot_change_or_run_out_later(self):
        given = [0xC02F]
        made = modemtls.TLSConfig(ca=CA, suites=given)
        given.clear()
        assert made.configuration().ciphersuites == (0xC02F,)
        once = modemtls.TLSConfig(ca=CA, suites=(number for number in [0xC02F]))
        assert once.configuration().ciphersuites == once.configuration().ciphersuites == (0xC02F,)

    def test_a_file_that_cannot_be_read_is_told_when_it_is_made_and_named(self, tmp_path):
        for path, kind in ((tmp_path, IsADirectoryError), (tmp_path / "none.pem", FileNotFoundError)):
            with pytest.raises(kind) as caught:
                modemtls.TLSConfig(ca=path)
            assert caught.value.filename == str(path)
        shut = tmp_path / "shut.pem"
        shut.write_text("x")
        shut.chmod(0)
        if not os.access(shut, os.R_OK):  # root reads everything
            with pytest.raises(PermissionError, match=r"shut\.pem"):
                modemtls.TLSConfig(ca=CA, cert=shut)

    def test_a_file_without_end_is_no_certificate(self):
        with pytest.raises(ModemError, match=r"/dev/zero|certificate"), modemtls.Modem(FakeModem()) as modem:
            net.create_ssl_socket(modem, modemtls.TLSConfig(ca="/dev/zero").configuration())

    @pytest.mark.parametrize("both", [BOTH, BOTH.decode(), b"der hush"], ids=["bytes", "text", "der"])
    @pytest.mark.parametrize("names", [("cert",), ("cert", "key"), ("ca", "cert", "key")], ids="+".join)
    def test_secrets_are_not_in_the_repr(self, both, names):
        made = modemtls.TLSConfig(**({"ca": CA} | dict.fromkeys(names, both)))
        strict = made.configuration()
        for text in (repr(made), str(made), repr(strict), repr(strict.security), f"{strict}", repr([made, strict])):
            assert "hush" not in text
            assert "BEGIN" not in text
            assert f"<{len(both)} " in text

    def test_files_and_names_are_in_the_repr(self, tmp_path):
        path = tmp_path / "both.pem"
        path.write_bytes(BOTH)
        made = modemtls.TLSConfig(ca=modemtls.Stored("mtls-1"), cert=str(path), key=path, sni="www.example")
        for text in (repr(made), repr(made.configuration())):
            assert "mtls-1" in text
            assert text.count(str(path)) == 2
            assert "verify=True" in text
        assert repr(made).startswith("TLSConfig(ca=Stored(name='mtls-1'), cert=")
        assert "sni='www.example'" in repr(made)
        assert "client_key=None" in repr(net.Certificates(trusted=CA))

    @pytest.mark.parametrize(
        "beside",
        [
            {"ca": CA}, {"cert": b"c"}, {"cert": b"c", "key": b"k"}, {"verify": False}, {"check_dates": False},
            {"check_hostname": True}, {"check_hostname": False}, {"system_trust": True}, {"revocation_lists": b"crl"},
        ],
        ids=lambda beside: list(beside)[-1],
    )  # fmt: skip
    def test_a_key_of_both_sides_stands_alone(self, beside):
        key = modemtls.Psk(identity=b"gateway", key=b"hush")
        with pytest.raises(ConfigurationError, match=f"{next(iter(beside))} .*no place beside psk"):
            modemtls.TLSConfig(psk=key, **beside)
        made = modemtls.TLSConfig(psk=key, sni="www.example")
        assert made.configuration().security == net.Psk(b"gateway", b"hush")
        assert (made.verify, made.check_hostname) == (True, False)
        for text in (repr(made), repr(made.configuration())):
            assert "gateway" in text
            assert "hush" not in text

    def test_an_encrypted_key(self, tmp_path):
        made = modemtls.TLSConfig(ca=CA, cert=b"cert", key=modemtls.Encrypted(b"hush", b"sesame"))
        assert made.configuration().security.client_key == modemtls.Encrypted(b"hush", b"sesame")
        assert "hush" not in repr(made)
        assert "sesame" not in repr(made)
        with pytest.raises(FileNotFoundError, match=r"none\.pem"):
            modemtls.TLSConfig(ca=CA, cert=b"cert", key=modemtls.Encrypted(tmp_path / "none.pem", b"sesame"))

    def test_the_hosts_own_trust_is_asked_for_by_name(self):
        security = modemtls.TLSConfig(system_trust=True).configuration().security
        assert (security.use_system_trust, security.verify, security.check_hostname) == (True, True, True)
        assert not modemtls.TLSConfig(ca=CA).configuration().security.use_system_trust

    def test_the_callers_own_memory_keeps_the_session(self):
        memory = bytearray(b"hush" * 8)
        made = modemtls.TLSConfig(ca=CA, session_resumption_buffer=memory)
        strict = made.configuration()
        strict.session_resumption_buffer[:4] = b"busy"
        assert memory[:4] == b"busy"
        assert made == modemtls.TLSConfig(ca=CA)
        assert "hush" not in repr(made) + repr(strict)

    def test_ssl_names(self):
        import ssl

        assert (
            modemtls.TLSConfig(ca=CA, min_version=ssl.TLSVersion.TLSv1_1).configuration().version is TlsVersion.TLS1_1
        )


class TestStrictContract:
    """The public modem, as it is, in the hands of :mod:`modemtls.net`."""

    def test_both_kinds_of_socket(self, modem, fake):
        tls = net.create_ssl_socket(modem, modemtls.TLSConfig(ca=CA).configuration())
        plain = net.create_tcp_socket(modem)
        for sock, port in ((tls, 443), (plain, 80)):
            sock.connect("server.example", str(port))
            sock.send(b"x")
            sock.close()
        assert fake.opened == [("server.example", 443), ("server.example", 80)]
        assert [bytes(peer.received) for peer in fake.peers] == [b"x", b"x"]


class TestConnect:
    def test_tls(self, modem, fake):
        tls = modemtls.TLSConfig(ca=CA)
        with modem.connect(("server.example", 443), tls=tls, timeout=7) as sock:
            assert isinstance(sock, modemtls.ModemSocket)
            assert sock.gettimeout() == 7
            sock.sendall(b"x")
        assert fake.opened == [("server.example", 443)]
        assert fake.leases[0].settings.verify
        assert fake.peer.closed_by_driver

    def test_who_does_the_tls_is_told_by_the_socket(self, modem):
        tls = modemtls.TLSConfig(ca=CA)
        for given in ({"tls": tls}, {"tls": tls, "engine": "modem"}, {"tls": tls, "engine": "auto"}, {"tls": None}):
            with modem.connect(("server.example", 443), **given) as sock:
                assert sock.engine == "modem"
                assert (sock.getpeercert(True), sock.cipher(), sock.selected_alpn_protocol()) == (None, None, None)

    @pytest.mark.parametrize("create", [modemtls.Modem.connect, modemtls.Modem.create_connection])
    def test_an_engine_without_tls_is_a_mistake(self, modem, fake, create):
        for engine in ("host", "auto"):
            with pytest.raises(ConfigurationError, match="tls=None"):
                create(modem, ("server.example", 443), tls=None, engine=engine)
        assert fake.commands == []

    def test_what_neither_can_do_names_both(self, modem):
        tls = modemtls.TLSConfig(ca=CA, sni="other.example", alpn=["h2"])
        with pytest.raises(NotSupportedError, match=r"(?i)alpn.*nor can the host: .*ca\.pem.*in the modem"):
            modem.connect(("server.example", 443), tls=tls, engine="auto")

    def test_plain_tcp_only_in_so_many_words(self, modem, fake):
        with pytest.raises(TypeError):
            modem.connect(("server.example", 80))
        modem.connect(("server.example", "80"), tls=None).close()
        assert fake.opened == [("server.example", 80)]

    @pytest.mark.parametrize(
        "address",
        [
            ('a"b', 1), ("a,b", 1), ("a\r\nb", 1), ("a\0b", 1), ("", 1), (None, 1), ("a", 0), ("a", 65536),
            ("a", "abc"), ("a", None), ("a",), "a:1", ("a", -1), ("x" * 201, 1),
        ],
    )  # fmt: skip
    def test_bad_addresses_are_told_before_anything_is_sent(self, modem, fake, address):
        with pytest.raises(ConfigurationError) as caught:
            modem.connect(address, tls=None)
        assert isinstance(caught.value, ValueError)
        assert fake.commands == []
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        "options",
        [
            {"tls": True},
            {"tls": modemtls.TLSConfig(ca=CA), "engine": "both"},
            {"tls": None, "timeout": 0},
            {"tls": None, "timeout": -1},
            {"tls": None, "receive": "pull"},
        ],
    )
    def test_bad_options(self, modem, fake, options):
        with pytest.raises(ConfigurationError):
            modem.connect(("server.example", 443), **options)
        assert fake.commands == []

    def test_create_connection_as_libraries_call_it(self, modem, fake):
        import socket

        def timeout(*arguments):
            with modem.create_connection(("server.example", 80), *arguments) as sock:
                return sock.gettimeout()

        assert timeout() is None
        assert timeout(5) == 5
        assert timeout(None, ("", 0)) is None
        socket.setdefaulttimeout(3)
        try:
            assert timeout() == 3
        finally:
            socket.setdefaulttimeout(None)
        with pytest.raises(NotSupportedError):
            modem.create_connection(("server.example", 80), source_address=("10.0.0.1", 0))

    def test_push(self, modem, fake):
        with modem.connect(("server.example", 443), tls=modemtls.TLSConfig(ca=CA), receive="push") as sock:
            fake.peer.say(b"abc")
            assert sock.recv(10) == b"abc"
        assert "receive" not in fake.commands


class TestClose:
    def test_closed_twice(self, fake):
        modem = modemtls.Modem(fake)
        modem.close()
        modem.close()
        assert fake.closed
        assert "[closed]" in repr(modem)
        with pytest.raises(ModemError, match="closed"):
            modem.connect(("server.example", 80), tls=None)

    def test_waits_for_what_closed_sockets_had_accepted(self, fake):
        modem = modemtls.Modem(fake)
        sock = modem.connect(("server.example", 80), tls=None)
        gate = threading.Event()
        fake.script = lambda op, slot, b: gate.wait(5) and None
        sock.setblocking(False)
        sock.send(b"last words" * 500)
        sock.close()
        threading.Timer(0.02, gate.set).start()
        modem.close()
        assert fake.peers[0].received == b"last words" * 500
        assert fake.closed

    def test_forgotten_is_closed_but_not_before_its_sockets(self, fake):
        import gc

        sock = modemtls.Modem(fake).connect(("server.example", 80), tls=None)
        gc.collect()
        assert not fake.closed
        sock.close()
        del sock
        gc.collect()
        assert fake.closed

    def test_no_thread_is_left(self, fake):
        before = threading.active_count()
        modem = modemtls.Modem(fake)
        with modem.connect(("server.example", 80), tls=None) as sock:
            sock.fileno()
        modem.close()
        assert threading.active_count() == before


class TestPackage:
    def test_every_name_exists(self):
        for name in modemtls.__all__:
            assert getattr(modemtls, name) is not None
        assert set(modemtls.__all__) <= set(dir(modemtls))
        with pytest.raises(AttributeError):
            _ = modemtls.nothing

    def test_every_error_is_exported(self):
        assert set(modemtls.errors.__all__) <= set(modemtls.__all__)

    def test_net(self):
        from modemtls import net

        for name in net.__all__:
            assert getattr(net, name) is not None

    def test_importing_loads_nothing(self):
        code = "import sys; before = set(sys.modules); import modemtls; print(sorted(set(sys.modules) - before))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "['__future__', 'modemtls']"

    def test_port_names_and_settings_are_checked_by_open(self):
        for wrong in ({"pin": "12"}, {"baudrate": 0}, {"pdp": -1}, {"password": "x"}):
            with pytest.raises(ConfigurationError):
                modemtls.open("/dev/null", **wrong)


@pytest.mark.parametrize("port", ["/dev/absent", b"/dev/absent", Path("/dev/absent")], ids=repr)
def test_a_port_is_named_as_any_path_is(port):
    with pytest.raises(modemtls.PortError, match="/dev/absent: no such port"):
        modemtls.open(port)


@pytest.mark.parametrize("port", [3, None, 1.5, ["/dev/absent"], bytearray(b"/dev/absent")], ids=repr)
def test_what_is_no_path_is_no_port(port):
    with pytest.raises(ConfigurationError, match=f"^port: .*not {type(port).__name__}"):
        modemtls.open(port)


@pytest.mark.parametrize(
    "wrong",
    [
        {"pdp": "x"}, {"pdp": True}, {"pin": 1234}, {"apn": 1}, {"apn": b"x"}, {"user": 1},
        {"user": "u", "password": b"p"},
        {"auth": 1}, {"family": None}, {"baudrate": 9.6}, {"rtscts": "yes"}, {"roaming": None}, {"take_over": 1},
        {"radio_off": "yes"},
        {"ntp": 1}, {"timeout": "5"}, {"timeout": None}, {"profile": 5},
    ],
    ids=str,
)  # fmt: skip
def test_an_argument_of_another_type_is_refused_by_its_name(wrong):
    name = list(wrong)[-1]
    with pytest.raises(ConfigurationError, match=f"^{name}: .*not {type(wrong[name]).__name__}"):
        modemtls.open("/dev/absent", **wrong)
