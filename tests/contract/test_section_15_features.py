"""Section 15: features by backend. What is declared works (the other sections), what is not is refused by its name."""

from __future__ import annotations

import pytest

from modemtls.errors import CredentialError
from modemtls.net import Certificates, Psk, SslConfiguration, State, TlsVersion
from tests.support.subjects import refuses
from tests.support.tls_ends import need_mbedtls

#: Capability, as subject and error name it, the configuration that needs it, and whether it is one for datagrams.
NEEDS = {
    "psk": (lambda own: SslConfiguration(security=Psk(b"gateway", b"key")), False),
    "system_trust": (lambda own: SslConfiguration(security=Certificates(use_system_trust=True)), False),
    "revocation_lists": (
        lambda own: SslConfiguration(security=Certificates(**own, revocation_lists=b"no list")),
        False,
    ),
    "alpn": (lambda own: SslConfiguration(security=Certificates(**own), alpn=("coap",)), False),
    "dtls": (lambda own: SslConfiguration(security=Certificates(**own)), True),
    "tls1.3": (lambda own: SslConfiguration(security=Certificates(**own), version=TlsVersion.TLS1_3), False),
    "suites": (lambda own: SslConfiguration(security=Certificates(**own), ciphersuites=(0xC02F,)), False),
    "resumption": (
        lambda own: SslConfiguration(security=Certificates(**own), session_resumption_buffer=bytearray(1024)),
        False,
    ),
    "cid": (lambda own: SslConfiguration(security=Certificates(**own), use_connection_id=True), True),
    "handshake_timers": (
        lambda own: SslConfiguration(security=Certificates(**own), dtls_handshake_timeouts=(1.0, 60.0)),
        True,
    ),
    "credentials": (lambda own: SslConfiguration(security=Certificates(verify=False)), False),
}
#: What these tests call otherwise than errors do.
WORDS = {
    "resumption": "resumption_buffer",
    "revocation_lists": "crl",
    "credentials": "without_credentials",
}


class TestSection15Features:
    @pytest.mark.parametrize("capability", NEEDS)
    def test_what_is_declared_is_accepted_and_what_is_not_is_refused_by_name(self, subject, trusting, capability):
        configuration, datagram = NEEDS[capability]
        if datagram and capability != "dtls":
            subject.need("dtls")
        if capability == "cid" and subject.has("cid"):
            need_mbedtls()
        security = trusting().security
        own = {name: getattr(security, name) for name in ("trusted", "check_hostname", "check_dates")}
        wanted = configuration(own)
        if not subject.has(WORDS.get(capability, capability)):
            error = refuses(capability, lambda: subject._secure(wanted, datagram))
            assert error.choices  # a way out
            return
        try:
            made = subject.socket(wanted, datagram=datagram)
        except CredentialError:  # of it what is wrong with these credentials
            assert capability == "revocation_lists"
        else:
            assert (made.datagram, made.encrypted, made.state) == (datagram, True, State.CLOSED)

    def test_which_engine_it_is_and_what_kind(self, subject, trusting):
        sock = subject.socket(trusting())
        assert sock.engine in {"host", "modem"}
        assert (sock.encrypted, sock.datagram) == (True, False)
        plain = subject.plain()
        assert (plain.encrypted, plain.datagram) == (False, False)

    def test_the_version_agreed_on_is_told(self, subject, trusting, echo):
        sock = subject.socket(trusting())
        sock.connect(*echo.address)
        if subject.has("version_told"):
            assert sock.version is TlsVersion.TLS1_2
        else:
            assert sock.version in {None, TlsVersion.TLS1_2}
