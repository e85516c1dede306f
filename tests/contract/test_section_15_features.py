"""Section 15: features by backend. What is declared works (the other sections), what is not is refused by its name."""

from __future__ import annotations

import pytest

from modemtls.errors import NotSupportedError
from modemtls.net import Certificates, Psk, SslConfiguration, TlsVersion

#: Capability, as the subject and the error name it, and the configuration that needs it.
NEEDS = {
    "psk": lambda pki: SslConfiguration(security=Psk(b"", b"key")),
    "system_trust": lambda pki: SslConfiguration(security=Certificates(use_system_trust=True)),
    "revocation_lists": lambda pki: SslConfiguration(security=Certificates(verify=False, revocation_lists=b"whatever")),
    "alpn": lambda pki: SslConfiguration(security=Certificates(verify=False), alpn=("coap",)),
}


class TestSection15Features:
    @pytest.mark.parametrize("capability", NEEDS)
    def test_what_is_lacking_is_refused_by_name_before_anything_is_sent(self, subject, pki, capability):
        configuration = NEEDS[capability](pki)
        if subject.has("psk"):  # a stack of this host's: it has all of them
            try:
                subject.socket(configuration)
            except NotSupportedError as error:
                pytest.fail(f"{subject.name} refuses {capability}: {error}")
            except OSError:
                pass  # what is wrong with these credentials is told elsewhere
            return
        with pytest.raises(NotSupportedError) as caught:
            subject.socket(configuration)
        assert caught.value.capability == capability
        assert caught.value.errno is not None

    def test_a_lack_names_a_way_out(self, subject, pki):
        if subject.has("psk"):
            return
        with pytest.raises(NotSupportedError, match='engine="host"'):
            subject.socket(NEEDS["psk"](pki))

    def test_dtls_is_declared_or_refused(self, subject, psk):
        if subject.has("dtls"):
            assert subject.socket(psk(), datagram=True).datagram
            return
        with pytest.raises(NotSupportedError) as caught:
            subject._secure(psk(), True)
        assert caught.value.capability in {"dtls", "udp"} | ({"psk"} - subject.capabilities)

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
