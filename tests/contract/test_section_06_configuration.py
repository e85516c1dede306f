"""Section 6: configuration."""

from __future__ import annotations

import errno

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from modemtls.errors import ConfigurationError, ModemError
from modemtls.net import (
    AddressFamily,
    Certificates,
    Errno,
    Option,
    PreferredEndpoint,
    SocketConfiguration,
    SslConfiguration,
    State,
)
from tests.support.contract_peers import tls_peer
from tests.support.subjects import refuses
from tests.support.tls_ends import need_mbedtls


def der(pem):
    return [one.public_bytes(serialization.Encoding.DER) for one in x509.load_pem_x509_certificates(pem)]


class TestSection06Configuration:
    def test_verification_off_connects_to_anybody(self, subject, anybody, pki):
        with tls_peer(pki.self_signed("other.example"), versions=("TLSv1_2", "TLSv1_2")) as peer:
            if not subject.has("without_credentials"):
                refuses("credentials", lambda: subject.socket(SslConfiguration(security=Certificates(verify=False))))
            sock = subject.socket(anybody())
            sock.connect(*peer.address)
            sock.send(b"x")
            assert sock.receive(1) == b"x"

    def test_a_client_certificate_is_shown_with_its_path(self, subject, trusting, pki, own, leaf):
        with tls_peer(leaf, versions=("TLSv1_2", "TLSv1_2"), client_ca=pki.ca) as peer:
            sock = subject.socket(trusting(client_cert=own.cert, client_key=own.key))
            sock.connect(*peer.address)
            sock.send(b"x")
            assert sock.receive(1) == b"x"
            assert peer.certificates == der(own.cert_pem)
            with pytest.raises(ModemError):
                subject.socket(trusting()).connect(*peer.address)

    def test_the_clients_path_is_rebuilt_from_the_trust_store(self, subject, trusting, pki, leaf):
        own = pki.intermediate("gateway.example")
        first, middle = der(own.cert_pem)
        security = {
            "client_cert": first,
            "client_key": own.key,
            "trusted": [pki.ca, middle],
            "rebuild_client_chain": True,
            # Off, the trust store is needed for this all the same; some show themselves only to whom they verify.
            "verify": not subject.has("client_to_anybody"),
        }
        if not subject.has("several_anchors"):
            refuses("credential_chain", lambda: subject.socket(trusting(**security)))
            return
        with tls_peer(leaf, versions=("TLSv1_2", "TLSv1_2"), client_ca=pki.ca) as peer:
            sock = subject.socket(trusting(**security))
            sock.connect(*peer.address)
            sock.send(b"x")
            assert sock.receive(1) == b"x"
            if security["verify"]:
                return  # a stack that has the CAs at hand may send what is missing by itself
            alone = subject.socket(trusting(**{**security, "rebuild_client_chain": False}))
            with pytest.raises(ModemError):
                _talk(alone, peer)

    def test_application_protocols(self, subject, trusting, leaf):
        if not subject.has("alpn"):
            refuses("alpn", lambda: subject.socket(trusting(alpn=("coap",))))
            return
        with tls_peer(leaf, alpn=("h2", "coap")) as peer:
            sock = subject.socket(trusting(alpn=("mqtt", "coap")))
            _talk(sock, peer)
            assert peer.alpn == ["coap"]
            assert sock.info.alpn == b"coap"

    def test_a_limit_for_the_handshake(self, loopback, psk):
        from tests.support.contract_peers import Silent

        with Silent(datagram=False) as silent:
            sock = loopback.socket(psk(handshake_timeout=0.05))
            with pytest.raises(TimeoutError):
                sock.connect("127.0.0.1", silent.port)

    def test_the_endpoint_used_is_kept_for_the_next_time(self, loopback, pki, echo):
        kept = PreferredEndpoint()
        configuration = SslConfiguration(
            security=Certificates(trusted=pki.ca), socket=SocketConfiguration(preferred_endpoint=kept)
        )
        loopback.socket(configuration).connect(*echo.address)
        assert kept == PreferredEndpoint("127.0.0.1", str(echo.port))

    def test_what_a_transport_cannot_be_told_is_refused(self, subject, trusting):
        wishes = {"dscp": 8, "priority": 2, "interface": "x0", "transparent": True}
        if not subject.has("families"):
            wishes["address_family"] = AddressFamily.IPV4
        for capability, value in wishes.items():
            configuration = trusting(socket=SocketConfiguration(**{capability: value}))
            if subject.has("interface"):
                assert subject.socket(configuration).state is State.CLOSED
            else:
                refuses(capability, lambda configuration=configuration: subject.socket(configuration))
                refuses(capability, lambda configuration=configuration: subject.plain(configuration.socket))

    @pytest.mark.parametrize("more", [{"dscp": 64}, {"priority": 8}, {"forced_mtu": -1}, {"address_family": 4}])
    def test_what_no_transport_can_be_told(self, more):
        with pytest.raises(ConfigurationError) as caught:
            SocketConfiguration(**more)
        assert caught.value.code == Errno.EINVAL

    def test_a_connection_id_that_cannot_be_had_is_refused(self, subject, datagrams):
        make = lambda: subject.socket(datagrams(use_connection_id=True), datagram=True)  # noqa: E731
        if subject.has("cid"):
            if subject.has("decorate"):  # that is this host, and only one of its engines can
                need_mbedtls()
            assert make().get_opt(Option.CONNECTION_ID_RESUMED) is False
        else:
            refuses("cid", make)

    def test_timers_that_cannot_be_set_are_refused(self, subject, datagrams):
        def make(*timers):
            return lambda: subject.socket(datagrams(dtls_handshake_timeouts=timers), datagram=True)

        if not subject.has("handshake_timers"):
            refuses("handshake_timers", make(1, 60))
            sock = subject.socket(datagrams(), datagram=True)
            refuses("handshake_timers", lambda: sock.set_opt(Option.DTLS_HANDSHAKE_TIMEOUTS, (1, 2)))
            return
        assert make(1, 60)().state is State.CLOSED
        if not subject.has("timers_below_a_second"):
            refuses("handshake_timers", make(0.5, 60))

    def test_to_share_a_port_needs_nothing(self, subject, trusting, echo):
        _talk(subject.socket(trusting(socket=SocketConfiguration(reuse_address=True))), echo)

    def test_a_connection_id_has_no_meaning_over_streams(self, subject, trusting, echo):
        sock = subject.socket(trusting(use_connection_id=True))
        _talk(sock, echo)

    def test_a_name_that_is_too_long(self):
        with pytest.raises(ConfigurationError) as caught:
            SslConfiguration(security=Certificates(verify=False), server_name_indication="a" * 256)
        assert caught.value.errno == errno.ENOBUFS
        assert caught.value.code == Errno.ENOBUFS


def _talk(sock, peer):
    sock.connect(*peer.address)
    sock.send(b"x")
    assert sock.receive(1) == b"x"
