"""Section 8: versions, suites, SNI, handshake timers."""

from __future__ import annotations

import time

import pytest

from modemtls.errors import ModemError, ModemTimeoutError
from modemtls.net import Certificates, Errno, Option, Psk, SslConfiguration, State, TlsVersion
from modemtls.tlsengine import Settings
from tests.contract.conftest import IDENTITY, KEY
from tests.support.contract_peers import Silent, tls_peer
from tests.support.dtls import DtlsEcho
from tests.support.subjects import refuses
from tests.support.tls_ends import need_mbedtls

ECDHE_RSA_AES128_GCM, ECDHE_RSA_AES256_GCM = 0xC02F, 0xC030
PSK_CCM_8 = 0xC0A8
UNKNOWN = 0xFAFA


def talk(sock, peer):
    sock.connect(*peer.address)
    sock.send(b"x")
    assert sock.receive(1) == b"x"


class TestSection08Versions:
    def test_the_version_is_a_minimum(self, subject, trusting, leaf):
        subject.need("tls_range")
        with tls_peer(leaf, versions=("TLSv1_2", "TLSv1_3")) as peer:
            sock = subject.socket(trusting(version=TlsVersion.TLS1_2))
            talk(sock, peer)
            assert peer.versions == ["TLSv1.3"]
            assert sock.version is TlsVersion.TLS1_3

    def test_a_peer_below_the_minimum_is_refused(self, subject, trusting, echo):
        subject.need("tls1.3")
        sock = subject.socket(trusting(version=TlsVersion.TLS1_3))
        with pytest.raises(ModemError):
            sock.connect(*echo.address)
        assert sock.state is State.CLOSED

    def test_a_maximum(self, subject, trusting, leaf):
        with tls_peer(leaf, versions=("TLSv1_2", "TLSv1_3")) as peer:
            talk(subject.socket(trusting(max_version=TlsVersion.TLS1_2)), peer)
            assert peer.versions == ["TLSv1.2"]

    def test_what_there_is_not_fails_at_creation(self, subject, trusting, datagrams):
        refuses("ssl3", lambda: subject.socket(trusting(version=TlsVersion.SSL3, max_version=TlsVersion.SSL3)))
        refuses("dtls1.3", lambda: subject.socket(datagrams(version=TlsVersion.TLS1_3), datagram=True))

    def test_a_very_old_minimum_allows_the_new(self, subject, trusting, echo):
        subject.need("tls_range")
        talk(subject.socket(trusting(version=TlsVersion.SSL3)), echo)

    def test_suites_by_number_and_unknown_ones_are_passed_over(self, subject, trusting, echo):
        configuration = trusting(ciphersuites=(UNKNOWN, ECDHE_RSA_AES128_GCM))
        if not subject.has("suites"):
            refuses("suites", lambda: subject.socket(configuration))
            return
        talk(subject.socket(configuration), echo)
        assert echo.suites == ["ECDHE-RSA-AES128-GCM-SHA256"]

    def test_a_list_of_suites(self, subject, trusting, leaf):
        subject.need("suite_list")
        with tls_peer(leaf, ciphers="ECDHE-RSA-AES256-GCM-SHA384", versions=("TLSv1_2", "TLSv1_3")) as peer:
            talk(subject.socket(trusting(ciphersuites=(ECDHE_RSA_AES128_GCM, ECDHE_RSA_AES256_GCM))), peer)
            assert peer.suites == ["ECDHE-RSA-AES256-GCM-SHA384"]
            assert peer.versions == ["TLSv1.2"], "a list without suites of TLS 1.3 rules it out"

    def test_nothing_left_of_the_suites_fails_at_creation(self, subject, trusting, psk):
        refuses("suites", lambda: subject.socket(trusting(ciphersuites=(UNKNOWN,))))
        refuses("suites", lambda: subject.socket(trusting(ciphersuites=(PSK_CCM_8,))))
        if subject.has("psk"):
            refuses("suites", lambda: subject.socket(psk(ciphersuites=(ECDHE_RSA_AES128_GCM,))))

    def test_the_list_of_lwm2m_over_datagrams(self, subject, psk, dtls):
        subject.need("psk", "dtls", "suites")
        sock = subject.socket(psk(ciphersuites=(PSK_CCM_8, 0xC0AE)), datagram=True)
        sock.connect(*dtls.address)
        assert dtls.handshakes[0].suite == PSK_CCM_8

    def test_the_host_is_sent_as_server_name(self, subject, trusting, echo):
        subject.need("sni")
        talk(subject.socket(trusting()), echo)
        assert echo.names == ["server.example"]

    def test_another_server_name(self, subject, trusting, pki):
        with tls_peer(pki.leaf("other.example")) as peer:
            configuration = trusting(server_name_indication="other.example")
            if not subject.has("sni_name"):
                sock = subject.socket(configuration)
                refuses("sni", lambda: sock.connect(*peer.address))
                return
            talk(subject.socket(configuration), peer)
            assert peer.names == ["other.example"]

    def test_an_address_is_no_server_name(self, subject, trusting, echo):
        sock = subject.socket(trusting())
        sock.connect("127.0.0.1", str(echo.port))
        assert echo.names == [None]

    # -- timers ---------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("how", ["configuration", "option"])
    def test_each_wait_is_double_up_to_the_longest_and_then_it_is_over(self, subject, psk, how):
        subject.need("timers_below_a_second")
        need_mbedtls()  # OpenSSL waits no less than a second
        with Silent(datagram=True) as silent:
            sock = subject.socket(
                psk(dtls_handshake_timeouts=(0.05, 0.1) if how == "configuration" else (1.0, 60.0)), datagram=True
            )
            if how == "option":
                sock.set_opt(Option.DTLS_HANDSHAKE_TIMEOUTS, (0.05, 0.1))
            began = time.monotonic()
            with pytest.raises(ModemTimeoutError) as caught:
                sock.connect("127.0.0.1", silent.port)
            assert 0.14 < time.monotonic() - began < 1
            assert caught.value.code == Errno.ETIMEDOUT
            assert len(silent.heard()) == 2
            assert sock.state is State.CLOSED

    def test_equal_timers_are_one_wait(self, subject, psk):
        subject.need("timers_below_a_second")
        need_mbedtls()
        with Silent(datagram=True) as silent:
            sock = subject.socket(psk(dtls_handshake_timeouts=(0.05, 0.05)), datagram=True)
            with pytest.raises(ModemTimeoutError):
                sock.connect("127.0.0.1", silent.port)
            assert len(silent.heard()) == 1

    def test_a_second_is_kept_by_the_usual_engine(self, subject, psk):
        subject.need("handshake_timers", "dtls")
        with Silent(datagram=True) as silent:
            sock = subject.socket(psk(dtls_handshake_timeouts=(1.0, 1.0)), datagram=True)
            began = time.monotonic()
            with pytest.raises(ModemTimeoutError if subject.has("handshake_error") else ModemError):
                sock.connect("127.0.0.1", silent.port)
            assert 0.9 < time.monotonic() - began < 2
            assert len(silent.heard()) == 1

    def test_the_callers_time_comes_first(self, subject, datagrams, dtls):
        with Silent(datagram=True) as silent:
            sock = subject.socket(datagrams(), datagram=True)
            began = time.monotonic()
            with pytest.raises(ModemTimeoutError):
                sock.connect("127.0.0.1", silent.port, timeout=0.1)
            assert time.monotonic() - began < 1
        sock.connect(*dtls.address, timeout=5)  # nor does anybody go on waiting

    def test_the_receive_timeout_is_what_it_was_after_a_handshake(self, loopback, psk, dtls):
        sock = loopback.socket(psk(), datagram=True)
        sock._lower.set_opt(Option.RECV_TIMEOUT, 7.0)
        sock.set_opt(Option.RECV_TIMEOUT, 0)
        sock.connect("127.0.0.1", str(dtls.port))
        assert sock._lower.get_opt(Option.RECV_TIMEOUT) == 7.0
        assert sock.get_opt(Option.RECV_TIMEOUT) == 0

    def test_lost_datagrams_are_sent_again(self, loopback, psk, dtls):
        need_mbedtls()
        sock = loopback.socket(psk(dtls_handshake_timeouts=(0.05, 1.0)), datagram=True)
        count = iter(range(100))
        sock._lower.tamper = lambda data: [] if next(count) % 2 == 0 else [data]
        sock.connect("127.0.0.1", str(dtls.port))
        sock._lower.tamper = None
        sock.send(b"x")
        assert sock.receive(1) == b"x"

    def test_a_wrong_key_is_met_with_silence_or_an_alert_and_is_over_in_time(self, subject):
        subject.need("dtls", "psk")
        with DtlsEcho(Settings(server=True, datagram=True, psks={IDENTITY: KEY})) as server:
            for psk in (Psk(IDENTITY, b"wrong"), Psk(b"unknown", KEY)):
                configuration = SslConfiguration(security=psk, **subject.short_waits())
                sock = subject.socket(configuration, datagram=True)
                with pytest.raises(ModemError):
                    sock.connect("127.0.0.1", str(server.port))
                assert sock.state is State.CLOSED

    def test_timers_that_cannot_be_fail_at_creation(self):
        for wrong in ((2, 1), (1, 5000), (0, 1)):
            with pytest.raises(ModemError) as caught:
                SslConfiguration(security=Certificates(verify=False), dtls_handshake_timeouts=wrong)
            assert caught.value.code == Errno.EINVAL
