"""From what the caller asks to how a modem says it: exactly, or an error with ways out that work."""

from __future__ import annotations

import dataclasses

import pytest

from modemtls.errors import ConfigurationError, NotSupportedError
from modemtls.net.choose import Abilities, VersionChoice, choose
from modemtls.net.contract import Certificates, SslConfiguration, Stored, TlsVersion

V = TlsVersion
ALL = frozenset({V.SSL3, V.TLS1_0, V.TLS1_1, V.TLS1_2})
SUITES = {0xC02F: "0XC02F", 0xC02B: "0XC02B", 0x002F: "0X002F"}

EXACT = (
    VersionChoice(0, frozenset({V.SSL3})),
    VersionChoice(1, frozenset({V.TLS1_0})),
    VersionChoice(2, frozenset({V.TLS1_1})),
    VersionChoice(3, frozenset({V.TLS1_2})),
    VersionChoice(4, ALL),
)
MODEM = Abilities(
    modem="m",
    versions=EXACT,
    suites=SUITES,
    all_suites="0XFFFF",
    sni="host",
    hostname_check=True,
    handshake_timeout=(10, 300, 60),
)
SECURITY = Certificates(trusted=Stored("ca"))


def ask(modem=MODEM, host="server.example", security=SECURITY, **configuration):
    return choose(SslConfiguration(security=security, **configuration), modem, host)


def able(**changes):
    return dataclasses.replace(MODEM, **changes)


class TestVersion:
    def test_1_2_or_later_is_exactly_1_2_and_never_anything_goes(self):
        choice = ask()
        assert choice.version == 3
        assert choice.versions == {V.TLS1_2}

    def test_anything_goes_only_when_the_caller_allows_all_of_it(self):
        assert ask(version=V.SSL3).version == 4

    def test_1_0_or_later_is_the_latest_single_version_as_the_range_would_include_ssl3(self):
        assert ask(version=V.TLS1_0).version == 3

    def test_a_highest_version(self):
        assert ask(version=V.TLS1_0, max_version=V.TLS1_0).version == 1
        assert ask(version=V.TLS1_0, max_version=V.TLS1_1).version == 2

    def test_a_range_that_the_modem_has_is_preferred_to_one_version(self):
        modem = able(
            versions=(VersionChoice("a", frozenset({V.TLS1_2, V.TLS1_3})), VersionChoice("b", frozenset({V.TLS1_3})))
        )
        assert ask(modem).version == "a"
        assert ask(modem, version=V.TLS1_3).version == "b"

    def test_1_3_is_refused_with_a_choice_that_works(self):
        with pytest.raises(NotSupportedError, match=r"TLS 1\.3 or later") as caught:
            ask(version=V.TLS1_3)
        assert caught.value.capability == "tls1.3"
        assert caught.value.choices == ('min_version="1.2"',)
        assert ask(version=V.of("1.2")).version == 3

    def test_a_modem_with_nothing_but_anything_goes_is_never_used_for_1_2(self):
        with pytest.raises(NotSupportedError):
            ask(able(versions=(VersionChoice(4, ALL),)))

    def test_names(self):
        import ssl

        for name in ("1.2", "TLS1.2", "TLSv1.2", "TLSv1_2", ssl.TLSVersion.TLSv1_2, V.TLS1_2):
            assert V.of(name) is V.TLS1_2
        assert V.of("TLSv1") is V.TLS1_0
        assert V.of("SSLv3") is V.SSL3
        for wrong in ("", "1.4", "two", 1.2, None):
            with pytest.raises(ConfigurationError):
                V.of(wrong)

    def test_an_empty_range(self):
        with pytest.raises(ConfigurationError, match="no version is left"):
            ask(version=V.TLS1_2, max_version=V.TLS1_1)


class TestSuites:
    def test_none_means_all(self):
        assert ask().suites == ("0XFFFF",)

    def test_one(self):
        assert ask(ciphersuites=(0xC02F,)).suites == ("0XC02F",)

    def test_a_list_is_refused_by_one_or_all_and_each_choice_works(self):
        with pytest.raises(NotSupportedError, match="one cipher suite or all") as caught:
            ask(ciphersuites=(0xC02F, 0x002F))
        assert caught.value.choices == ("suites=[0xC02F]", "suites=[0x002F]", "leave suites out for all of the modem's")

    def test_a_list_where_lists_are_possible_keeps_its_order(self):
        assert ask(able(suite_mode="list"), ciphersuites=(0x002F, 0xC02F)).suites == ("0X002F", "0XC02F")

    def test_unknown_ones_are_passed_over(self):
        assert ask(ciphersuites=(0x1301, 0xC02F, 0xC02F)).suites == ("0XC02F",)

    def test_none_left(self):
        with pytest.raises(NotSupportedError, match=r"0x1301, 0x1302") as caught:
            ask(ciphersuites=(0x1301, 0x1302))
        assert caught.value.choices[:2] == ("suites=[0xC02B]", "suites=[0xC02F]")

    def test_a_modem_that_must_be_told_one(self):
        with pytest.raises(NotSupportedError, match="one cipher suite"):
            ask(able(all_suites=None))
        assert ask(able(all_suites=None, suite_mode="list")).suites == tuple(SUITES.values())

    @pytest.mark.parametrize("wrong", [0, -1, 0x10000, "0xC02F", True, None])
    def test_what_is_no_suite(self, wrong):
        with pytest.raises(ConfigurationError, match="no cipher suite"):
            ask(ciphersuites=(wrong,))


class TestServerName:
    def test_the_host_by_default(self):
        assert ask().sni is True
        assert ask(able(sni="name")).sni == "server.example"

    @pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
    def test_never_an_address(self, address):
        assert ask(host=address).sni is False
        assert ask(able(sni="name"), host=address).sni is False

    def test_a_modem_without_sni_goes_without_unless_it_was_asked_for(self):
        assert ask(able(sni="no")).sni is False
        with pytest.raises(NotSupportedError, match="cannot send a server name"):
            ask(able(sni="no"), server_name_indication="server.example")

    def test_another_name_than_the_host_where_only_the_host_can_be_sent(self):
        with pytest.raises(NotSupportedError, match=r"'server\.example', not 'other\.example'") as caught:
            ask(server_name_indication="other.example")
        assert "connect to 'other.example'" in caught.value.choices
        assert ask(able(sni="name"), server_name_indication="other.example").sni == "other.example"

    def test_the_same_name_however_it_is_spelled(self):
        assert ask(server_name_indication="Server.Example.").sni is True

    def test_without_a_host_nothing_is_judged_that_depends_on_it(self):
        assert ask(host=None, server_name_indication="other.example") == dataclasses.replace(ask(), sni=False)


class TestHostname:
    def test_checked_by_default(self):
        assert ask().check_hostname is True

    def test_a_firmware_without_it_is_refused_with_the_way_out_in_so_many_words(self):
        with pytest.raises(NotSupportedError, match="cannot check") as caught:
            ask(able(hostname_check=False))
        assert caught.value.choices == ("check_hostname=False",)
        open_eyed = dataclasses.replace(SECURITY, check_hostname=False)
        assert ask(able(hostname_check=False), security=open_eyed).check_hostname is False

    def test_without_verification_there_is_none(self):
        nothing = Certificates(verify=False)
        assert ask(able(hostname_check=False), security=nothing).check_hostname is False
        assert ask(security=nothing).check_hostname is False
        assert ask(security=nothing).check_dates is False


class TestTheRest:
    def test_dates(self):
        assert ask().check_dates is True
        with pytest.raises(NotSupportedError, match="dates") as caught:
            ask(able(date_check=False))
        assert caught.value.choices == ("check_dates=False",)
        assert (
            ask(able(date_check=False), security=dataclasses.replace(SECURITY, check_dates=False)).check_dates is False
        )

    def test_handshake_timeout_is_rounded_up_into_the_range(self):
        assert ask().handshake_timeout == 60
        assert ask(handshake_timeout=12.2).handshake_timeout == 13
        assert ask(handshake_timeout=1).handshake_timeout == 10
        assert ask(handshake_timeout=1000).handshake_timeout == 300

    def test_alpn_is_refused(self):
        with pytest.raises(NotSupportedError, match="ALPN"):
            ask(alpn=("h2",))

    def test_client_certificate(self):
        mutual = dataclasses.replace(SECURITY, client_cert=Stored("c"), client_key=Stored("k"))
        ask(security=mutual)
        with pytest.raises(NotSupportedError, match="client certificate"):
            ask(able(client_certificate=False), security=mutual)


class TestCertificates:
    def test_a_ca_or_verify_false(self):
        with pytest.raises(ConfigurationError, match="verify=False"):
            Certificates()
        Certificates(verify=False)

    def test_certificate_and_key_go_together(self):
        with pytest.raises(ConfigurationError, match="client_key"):
            Certificates(trusted=b"x", client_cert=b"c")
        with pytest.raises(ConfigurationError, match="client_cert"):
            Certificates(trusted=b"x", client_key=b"k")

    def test_the_key_is_not_in_the_repr(self):
        assert "SECRET" not in repr(Certificates(trusted=b"x", client_cert=b"c", client_key=b"SECRET"))

    @pytest.mark.parametrize("name", ["", 'a"b', "a\r\nb", "ä", "a\0"])
    def test_names_of_stored_credentials(self, name):
        with pytest.raises(ConfigurationError):
            Stored(name)
