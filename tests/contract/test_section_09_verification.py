"""Section 9: certificate verification and DANE."""

from __future__ import annotations

import datetime
import hashlib

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from modemtls.errors import CertificateError, HandshakeError, ModemError, NotSupportedError
from modemtls.net import Certificates, Errno, Option, SslConfiguration, State, TlsaRecord, lwm2m_record
from modemtls.net.contract.der import subject_public_key_info
from modemtls.tlsengine import Settings, Verify
from tests.support.contract_peers import remembering, tls_peer
from tests.support.dtls import DtlsEcho
from tests.support.subjects import NAME, refuses

ANY = ("TLSv1_2", "TLSv1_3")
TLS12 = ("TLSv1_2", "TLSv1_2")


def ders(pem):
    return [one.public_bytes(serialization.Encoding.DER) for one in x509.load_pem_x509_certificates(pem)]


def record(usage, certificate, selector=0, matching=1):
    part = subject_public_key_info(certificate) if selector else certificate
    data = {0: part, 1: hashlib.sha256(part).digest(), 2: hashlib.sha512(part).digest()}[matching]
    return TlsaRecord(usage, selector, matching, data)


def talk(sock, peer):
    sock.connect(*peer.address)
    sock.send(b"x")
    assert sock.receive(1) == b"x"
    sock.close()


def certified(leaf, **more):
    """A DTLS server that shows a certificate."""
    return Settings(server=True, datagram=True, chain=leaf.cert_pem, key=leaf.key_pem, verify=Verify.NONE, **more)


def declined(sock, peer):
    """A peer that is not accepted, by a stack that may not tell why."""
    with pytest.raises(HandshakeError):
        sock.connect(*peer.address)
    assert sock.get_opt(Option.STATE) is State.CLOSED


def refused(sock, peer, code=Errno.EPROTO):
    with pytest.raises(HandshakeError) as caught:
        sock.connect(*peer.address)
    assert caught.value.code == code
    assert sock.state is State.CLOSED
    return caught.value


class TestSection09Verification:
    def test_a_chain_to_a_trust_anchor(self, subject, trusting, pki):
        with tls_peer(pki.intermediate(NAME), versions=TLS12) as peer:
            talk(subject.socket(trusting()), peer)

    def test_none_to_any(self, subject, trusting, pki):
        for bad in (pki.self_signed(NAME), pki.leaf(NAME, days=(-20, -10)), pki.leaf(NAME, days=(10, 20))):
            with tls_peer(bad, versions=TLS12) as peer:
                sock = subject.socket(trusting())
                with pytest.raises(CertificateError if subject.has("certificate_error") else ModemError):
                    sock.connect(*peer.address)
                assert sock.state is State.CLOSED

    def test_dates_need_not_be_checked(self, subject, trusting, pki):
        subject.need("check_dates_off")
        with tls_peer(pki.leaf(NAME, days=(-20, -10)), versions=TLS12) as peer:
            talk(subject.socket(trusting(check_dates=False)), peer)

    def test_the_name_is_that_of_the_host_or_the_sni(self, subject, trusting, pki):
        if not subject.has("hostname_check"):
            refuses("hostname_check", lambda: subject.socket(trusting(check_hostname=True)))
            return
        with tls_peer(pki.leaf("other.example"), versions=TLS12) as peer:
            with pytest.raises(ModemError):
                subject.socket(trusting()).connect(*peer.address)
            # Not every modem looks at dates where it does not look at the name.
            talk(subject.socket(trusting(check_hostname=False, check_dates=False)), peer)
            if subject.has("sni_name"):
                talk(subject.socket(trusting(server_name_indication="other.example")), peer)

    def test_an_address_is_matched_against_addresses(self, subject, trusting, pki, leaf):
        subject.need("certificate_error", "hostname_check")
        with tls_peer(leaf) as peer:
            subject.socket(trusting()).connect("127.0.0.1", str(peer.port))
        with tls_peer(pki.leaf(NAME)) as peer, pytest.raises(CertificateError):
            subject.socket(trusting()).connect("127.0.0.1", str(peer.port))

    def test_without_the_name_dates_count_or_cannot_be_had(self, subject, trusting, pki):
        lacking, sock = "", None
        try:
            sock = subject.socket(trusting(check_hostname=False, check_dates=True))
        except NotSupportedError as error:
            lacking = error.capability
        assert (sock is None) == (lacking in {"check_dates", "date_check"})
        if sock is None:
            return
        with tls_peer(pki.leaf("other.example", days=(-20, -10)), versions=TLS12) as peer:
            declined(sock, peer)
        with tls_peer(pki.leaf("other.example"), versions=TLS12) as peer:
            talk(sock, peer)

    def test_no_name_is_checked_where_nothing_is_verified(self, subject, pki):
        with tls_peer(pki.self_signed("other.example"), versions=TLS12) as peer:
            trusted = None if subject.has("without_credentials") else pki.ca  # given, and not used
            talk(subject.socket(SslConfiguration(security=Certificates(verify=False, trusted=trusted))), peer)

    def test_over_datagrams_as_over_streams(self, subject, trusting, pki, leaf):
        subject.need("dtls")
        # Some modems wait after they have refused a peer; the others give a busy machine all the time it needs.
        waits = {} if subject.has("certificate_error") else subject.short_waits()
        for shown, fine in ((leaf, True), (pki.self_signed(NAME), False)):
            with DtlsEcho(certified(shown)) as peer:
                sock = subject.socket(trusting(**waits), datagram=True)
                if fine:
                    talk(sock, peer)
                else:
                    declined(sock, peer)
                    assert peer.heard == []

    def test_revoked(self, subject, trusting, pki):
        leaf = pki.leaf(NAME)
        crl = revocation_list(pki, leaf)
        if not subject.has("crl"):
            refuses("revocation_lists", lambda: subject.socket(trusting(revocation_lists=crl)))
            return
        with tls_peer(leaf) as peer:
            talk(subject.socket(trusting()), peer)
            refused(subject.socket(trusting(revocation_lists=[[crl]])), peer)
        with tls_peer(pki.leaf(NAME)) as peer:
            talk(subject.socket(trusting(revocation_lists=crl)), peer)

    def test_the_host_has_a_trust_store_of_its_own(self, loopback, pki, echo, monkeypatch):
        monkeypatch.setenv("SSL_CERT_FILE", str(pki.ca))
        talk(loopback.socket(SslConfiguration(security=Certificates(use_system_trust=True))), echo)
        monkeypatch.setenv("SSL_CERT_FILE", str(pki.self_signed("other.example").cert))
        refused(loopback.socket(SslConfiguration(security=Certificates(use_system_trust=True))), echo)


@pytest.fixture(scope="module")
def chain(pki):
    """A server's leaf with its path: leaf, intermediate and root as DER."""
    leaf = pki.intermediate(NAME)
    return leaf, [*ders(leaf.cert_pem), *ders(pki.ca.read_bytes())]


@pytest.fixture(scope="module")
def unknown(pki):
    """The DER of a certificate that is nobody's."""
    return ders(pki.self_signed(NAME).cert_pem)[0]


class TestSection09Dane:
    @pytest.fixture(autouse=True)
    def able(self, request):
        if "subject" in request.fixturenames:
            request.getfixturevalue("subject").need("dane")

    @pytest.fixture
    def socket(self, subject):
        def make(records, trusted=None, **more):
            sock = subject.socket(SslConfiguration(security=Certificates(dane=True, trusted=trusted, **more)))
            sock.set_opt(Option.DANE_TLSA_ARRAY, records)
            return sock

        return make

    @pytest.mark.parametrize("selector", [0, 1])
    @pytest.mark.parametrize("matching", [0, 1, 2])
    @pytest.mark.parametrize(("usage", "which"), [(0, 1), (0, 2), (1, 0), (2, 1), (3, 0)])
    def test_each_usage_selector_and_matching_type(
        self, loopback, pki, chain, unknown, usage, which, selector, matching
    ):
        leaf, path = chain
        trusted = pki.ca if usage < 2 else None
        one = record(usage, path[which], selector, matching)
        other = record(usage, unknown, selector, matching)
        configuration = SslConfiguration(security=Certificates(dane=True, trusted=trusted))
        with tls_peer(leaf, versions=ANY) as peer:
            sock = loopback.socket(configuration)
            sock.set_opt(Option.DANE_TLSA_ARRAY, [one])
            talk(sock, peer)
            sock.set_opt(Option.DANE_TLSA_ARRAY, [other])
            refused(sock, peer)
            sock.set_opt(Option.DANE_TLSA_ARRAY, [other, one])
            talk(sock, peer)

    def test_constraints_are_added_to_a_verified_chain_and_never_replace_it(self, socket, pki, chain):
        leaf, path = chain
        stranger = pki.self_signed("other.example").cert
        with tls_peer(leaf) as peer:
            for one in (record(0, path[1]), record(1, path[0])):
                talk(socket([one], pki.ca), peer)
                refused(socket([one], stranger), peer)
                refused(socket([one]), peer)

    def test_a_leaf_is_no_anchor(self, socket, pki):
        leaf = pki.self_signed(NAME)
        (own,) = ders(leaf.cert_pem)
        with tls_peer(leaf) as peer:
            for usage in (0, 2):
                for matching in (0, 1):
                    refused(socket([record(usage, own, 0, matching)], leaf.cert), peer)
            talk(socket([record(3, own)]), peer)
            # As an assertion it brings no chain to the trust store, which the other record wants.
            refused(socket([record(2, own, 0, 0), record(1, own)], pki.ca), peer)

    def test_an_asserted_anchor_is_the_one_that_is_sent_not_its_twin_in_the_trust_store(self, socket, pki):
        leaf = pki.leaf(NAME)
        old = x509.load_pem_x509_certificate(pki.ca.read_bytes())
        renewed = (
            x509.CertificateBuilder(extensions=list(old.extensions))
            .subject_name(old.subject)
            .issuer_name(old.issuer)
            .public_key(old.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(old.not_valid_before_utc)
            .not_valid_after(old.not_valid_after_utc)
            .sign(serialization.load_pem_private_key(pki.authority.private_key_pem.bytes(), None), hashes.SHA256())
        )
        pem = renewed.public_bytes(serialization.Encoding.PEM)
        leaf.cert.write_bytes(leaf.cert_pem + pem)
        with tls_peer(leaf) as peer:
            talk(socket([record(2, ders(pem)[0])], pki.ca), peer)

    def test_an_asserted_anchor_need_not_be_sent_if_it_is_given_whole(self, socket, pki, chain):
        leaf, path = chain
        with tls_peer(leaf) as peer:
            talk(socket([record(2, path[2], 0, 0)]), peer)
            refused(socket([record(2, path[2], 0, 1)]), peer)

    def test_an_asserted_anchor_takes_the_place_of_the_trust_store(self, socket, pki, chain):
        leaf, _ = chain
        with tls_peer(leaf) as peer:
            refused(socket([record(2, ders(pki.self_signed("x.example").cert_pem)[0], 0, 0)], pki.ca), peer)

    def test_a_forged_leaf_under_a_true_anchor_is_refused(self, socket, pki, chain):
        _, path = chain
        forged = forge(pki, path[1])
        with tls_peer(forged) as peer:
            for one in (record(2, path[1]), record(2, path[1], 0, 0), record(2, path[1], 1, 1)):
                refused(socket([one]), peer)

    def test_the_own_certificate_may_have_expired_but_not_have_another_name(self, socket, pki):
        expired, other = pki.leaf(NAME, days=(-20, -10)), pki.leaf("other.example")
        with tls_peer(expired) as peer:
            talk(socket([record(3, ders(expired.cert_pem)[0])]), peer)
            refused(socket([record(1, ders(expired.cert_pem)[0])], pki.ca), peer)
        with tls_peer(other) as peer:
            own = record(3, ders(other.cert_pem)[0])
            refused(socket([own]), peer)
            talk(socket([own], check_hostname=False), peer)

    def test_below_an_asserted_anchor_dates_and_name_count(self, socket, pki):
        ca = ders(pki.ca.read_bytes())[0]
        for bad in (pki.leaf(NAME, days=(-20, -10)), pki.leaf("other.example")):
            with tls_peer(bad) as peer:
                refused(socket([record(2, ca, 0, 0)]), peer)

    def test_without_records_the_trust_store_decides(self, socket, pki, echo):
        talk(socket([], pki.ca), echo)
        refused(socket([], pki.self_signed("x.example").cert), echo)
        refused(socket([]), echo)

    def test_records_of_which_none_can_be_used_fail_before_the_handshake(self, socket, pki, echo):
        for useless in (TlsaRecord(3, 0, 1, bytes(31)), TlsaRecord(3, 0, 9, bytes(32)), TlsaRecord(7, 0, 1, bytes(32))):
            error = refused(socket([useless], pki.ca), echo)
            assert "none of the TLSA records" in str(error)
        assert echo.versions == []

    def test_opportunistic(self, socket, pki, chain):
        leaf, path = chain
        wrong = [record(usage, ders(pki.self_signed("x.example").cert_pem)[0]) for usage in range(4)]
        with tls_peer(leaf) as peer:
            talk(socket([], verify=False), peer)
            talk(socket(wrong[:2], verify=False), peer)  # 0 and 1 mean nothing without verification
            talk(socket([TlsaRecord(3, 0, 1, b"short")], verify=False), peer)
            for bad in (wrong[2], wrong[3]):
                refused(socket([*wrong[:2], bad], verify=False), peer)
            talk(socket([record(3, path[0])], verify=False), peer)
            talk(socket([record(2, path[1])], verify=False), peer)

    def test_opportunistic_checks_a_name_only_with_a_usable_record(self, socket, pki):
        other = pki.leaf("other.example")
        with tls_peer(other) as peer:
            talk(socket([], verify=False), peer)
            refused(socket([record(3, ders(other.cert_pem)[0])], verify=False), peer)

    def test_a_session_does_not_get_around_other_records(self, loopback, pki, chain):
        leaf, path = chain
        buffer = bytearray(8192)
        configuration = SslConfiguration(security=Certificates(dane=True), session_resumption_buffer=buffer)
        with tls_peer(leaf, versions=TLS12) as peer:
            sock = loopback.socket(configuration)
            for resumed in (False, True):
                sock.set_opt(Option.DANE_TLSA_ARRAY, [record(3, path[0])])
                sock.connect(*peer.address)
                assert sock.get_opt(Option.SESSION_RESUMED) is resumed
                sock.close()
            sock.set_opt(Option.DANE_TLSA_ARRAY, [record(3, path[1])])
            refused(sock, peer)

    def test_a_refused_peer_leaves_no_session(self, loopback, chain):
        leaf, path = chain
        buffer = bytearray(8192)
        configuration = SslConfiguration(security=Certificates(dane=True), session_resumption_buffer=buffer)
        with tls_peer(leaf, versions=TLS12) as peer:
            sock = loopback.socket(configuration)
            sock.set_opt(Option.DANE_TLSA_ARRAY, [record(3, path[1])])
            refused(sock, peer)
            assert not any(buffer)

    def test_what_lwm2m_says(self, socket, pki, chain):
        leaf, path = chain
        with tls_peer(leaf) as peer:
            talk(socket([lwm2m_record(path[0])]), peer)
            talk(socket([lwm2m_record(hashlib.sha512(path[0]).digest(), matching_type=3)]), peer)
            talk(socket([lwm2m_record(hashlib.sha256(path[1]).digest(), usage=2, matching_type=1)]), peer)

    def test_over_datagrams(self, loopback, pki, chain):
        leaf, path = chain
        with DtlsEcho(certified(leaf)) as peer:
            for records, fine in (
                ([record(3, path[0])], True),
                ([record(2, path[1])], True),
                ([record(3, path[1])], False),
            ):
                sock = loopback.socket(SslConfiguration(security=Certificates(dane=True)), datagram=True)
                sock.set_opt(Option.DANE_TLSA_ARRAY, records)
                if fine:
                    sock.connect(NAME, str(peer.port))
                else:
                    with pytest.raises(CertificateError):
                        sock.connect(NAME, str(peer.port))

    def test_with_the_other_engine(self, loopback, pki, chain):
        """Mbed TLS builds chains in its own way; what is accepted is the same."""
        from tests.support.tls_ends import need_mbedtls

        need_mbedtls()
        leaf, path = chain
        forged = forge(pki, path[1])
        stranger = ders(pki.self_signed("x.example").cert_pem)[0]
        for server, records, trusted, fine in (
            (leaf, [record(3, path[0])], None, True),
            (leaf, [record(2, path[1])], None, True),
            (leaf, [record(2, path[2], 0, 0)], None, True),
            (leaf, [record(0, path[1])], pki.ca, True),
            (leaf, [record(1, path[0])], pki.ca, True),
            (leaf, [record(1, path[0])], None, False),
            (leaf, [record(3, stranger)], None, False),
            (leaf, [record(2, stranger, 0, 0)], pki.ca, False),
            (forged, [record(2, path[1])], None, False),
            (forged, [record(2, path[1], 0, 0)], None, False),
        ):
            security = Certificates(dane=True, trusted=trusted)
            configuration = SslConfiguration(security=security, dtls_handshake_timeouts=(0.5, 5))
            with DtlsEcho(certified(server)) as peer:
                sock = loopback.socket(configuration, datagram=True)
                sock.set_opt(Option.DANE_TLSA_ARRAY, records)
                if fine:
                    sock.connect(NAME, str(peer.port))
                    assert sock.info.engine == "mbedtls"
                else:
                    with pytest.raises(CertificateError):
                        sock.connect(NAME, str(peer.port))


class TestSection09DaneByProvisioning:
    """What a stack without DANE can do: one whole certificate, as its only CA or as the one that it compares with."""

    @pytest.fixture
    def socket(self, subject):
        def make(records=(), *, datagram=False, buffer=None, **more):
            security = {"check_hostname": subject.has("hostname_check"), "check_dates": subject.has("date_check")}
            configuration = SslConfiguration(
                security=Certificates(dane=True, **(security | more)),
                session_resumption_buffer=buffer,
                **(subject.short_waits() if datagram else {}),
            )
            sock = subject.socket(configuration, datagram=datagram)
            sock.set_opt(Option.DANE_TLSA_ARRAY, list(records))
            return sock

        return make

    def test_an_anchor_takes_the_place_of_the_trust_store(self, socket, pki, leaf):
        (ca,) = ders(pki.ca.read_bytes())
        stranger = ders(trustme.CA().cert_pem.bytes())[0]
        with tls_peer(leaf, versions=TLS12) as peer:
            talk(socket([record(2, ca, 0, 0)]), peer)
            talk(socket([record(2, ca, 0, 0)], verify=False), peer)
            declined(socket([record(2, stranger, 0, 0)], trusted=pki.ca), peer)
            declined(socket([record(2, stranger, 0, 0)], verify=False), peer)

    def test_the_servers_own_certificate_that_nobody_else_has_signed(self, socket, pki):
        own, other = pki.self_signed(NAME), pki.self_signed(NAME)
        with tls_peer(own, versions=TLS12) as peer:
            talk(socket([record(3, ders(own.cert_pem)[0], 0, 0)]), peer)
            declined(socket([record(3, ders(other.cert_pem)[0], 0, 0)]), peer)
        with tls_peer(other, versions=TLS12) as peer:
            talk(socket([record(3, ders(other.cert_pem)[0], 0, 0)], verify=False), peer)

    @pytest.mark.parametrize("verify", [True, False])
    def test_an_issuers_certificate_is_not_whom_it_has_issued_one(self, subject, socket, pki, leaf, verify):
        """Usage 3 is the peer's own certificate, whatever a modem accepts under a CA."""
        own = [record(3, ders(pki.ca.read_bytes())[0], 0, 0)]
        if not {"dane", "pinning"} & subject.capabilities:
            refuses("dane", lambda: socket(own, verify=verify))
            return
        with tls_peer(leaf, versions=TLS12) as peer:
            declined(socket(own, verify=verify), peer)

    def test_as_lwm2m_says_it_over_datagrams(self, subject, socket, pki):
        subject.need("dtls")
        own, other = pki.self_signed(NAME), pki.self_signed(NAME)
        with DtlsEcho(certified(own)) as peer:
            talk(socket([lwm2m_record(ders(own.cert_pem)[0])], datagram=True), peer)
            declined(socket([lwm2m_record(ders(other.cert_pem)[0])], datagram=True), peer)

    def test_another_array_takes_the_place_of_the_one_before(self, socket, pki):
        own, other = pki.self_signed(NAME), pki.self_signed(NAME)
        with tls_peer(own, versions=TLS12) as peer:
            sock = socket([record(3, ders(other.cert_pem)[0], 0, 0)])
            declined(sock, peer)
            sock.set_opt(Option.DANE_TLSA_ARRAY, [record(3, ders(own.cert_pem)[0], 0, 0)])
            talk(sock, peer)
            talk(sock, peer)

    def test_a_certificate_is_compared_besides_a_chain(self, subject, socket, pki, leaf):
        """Another one of the same CA is not enough."""
        other = pki.leaf(NAME)
        if not {"dane", "pinning"} & subject.capabilities:
            refuses("dane", lambda: socket([record(3, ders(leaf.cert_pem)[0], 0, 0)], trusted=pki.ca))
            return
        with tls_peer(leaf, versions=TLS12) as peer:
            talk(socket([record(3, ders(leaf.cert_pem)[0], 0, 0)], trusted=pki.ca), peer)
            declined(socket([record(3, ders(other.cert_pem)[0], 0, 0)], trusted=pki.ca), peer)

    def test_the_name_counts(self, subject, socket, pki):
        subject.need("hostname_check")
        other = pki.self_signed("other.example")
        own = [record(3, ders(other.cert_pem)[0], 0, 0)]
        with tls_peer(other, versions=TLS12) as peer:
            declined(socket(own), peer)
            talk(socket(own, check_hostname=False, check_dates=False), peer)

    def test_everything_else_is_refused_and_never_ignored(self, subject, socket, pki, leaf):
        if subject.has("dane"):
            pytest.skip(f"{subject.name} has all of DANE")
        (ca,), own = ders(pki.ca.read_bytes()), ders(leaf.cert_pem)[0]
        with tls_peer(leaf, versions=TLS12) as peer:
            sock = socket(trusted=pki.ca)
            for records in (
                [record(0, ca, 0, 0)], [record(1, own, 0, 0)], [record(2, ca)], [record(3, own)],
                [record(3, own, 1, 0)], [record(2, own, 0, 0)], [record(2, ca, 0, 0), record(2, ca, 0, 0)],
            ):  # fmt: skip
                refuses("dane", lambda records=records: sock.set_opt(Option.DANE_TLSA_ARRAY, records))
                refuses("dane", lambda: sock.connect(*peer.address))  # also for who took no notice
                assert sock.get_opt(Option.STATE) is State.CLOSED
            assert peer.versions == []
            sock.set_opt(Option.DANE_TLSA_ARRAY, [])
            talk(sock, peer)

    def test_without_a_usable_record(self, socket, pki, leaf):
        useless = [TlsaRecord(3, 0, 1, b"short")]
        with tls_peer(leaf, versions=TLS12) as peer:
            talk(socket(trusted=pki.ca), peer)
            declined(socket(), peer)
            declined(socket(useless, trusted=pki.ca), peer)
            talk(socket(useless, trusted=pki.ca, verify=False), peer)

    def test_a_session_does_not_get_around_other_records(self, subject, socket, pki):
        subject.need("resumption_buffer")
        own, other = pki.self_signed(NAME), pki.self_signed(NAME)
        sock = socket(buffer=bytearray(4096))
        with remembering(own) as peer:
            sock.set_opt(Option.DANE_TLSA_ARRAY, [record(3, ders(own.cert_pem)[0], 0, 0)])
            for _ in range(2):
                talk(sock, peer)
            assert peer.reused == [False, True]
            sock.set_opt(Option.DANE_TLSA_ARRAY, [record(3, ders(other.cert_pem)[0], 0, 0)])
            declined(sock, peer)

    def test_records_without_dane_are_an_error(self, subject, trusting, leaf):
        sock = subject.socket(trusting())
        with pytest.raises(ModemError) as caught:
            sock.set_opt(Option.DANE_TLSA_ARRAY, [record(3, ders(leaf.cert_pem)[0])])
        assert caught.value.code == Errno.EINVAL


def revocation_list(pki, leaf):
    """A CRL of the tests' CA that lists one certificate, PEM."""
    authority = x509.load_pem_x509_certificate(pki.ca.read_bytes())
    key = serialization.load_pem_private_key(pki.authority.private_key_pem.bytes(), None)
    now = datetime.datetime.now(datetime.UTC)
    serial = x509.load_pem_x509_certificate(leaf.cert_pem).serial_number
    revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
    made = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.subject)
        .last_update(now - datetime.timedelta(hours=1))
        .next_update(now + datetime.timedelta(days=1))
        .add_revoked_certificate(revoked)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def forge(pki, issuer):
    """A leaf that names a true CA as its issuer, and shows it, but is not signed by it."""
    import dataclasses

    from cryptography.hazmat.primitives.asymmetric import rsa

    template = x509.load_pem_x509_certificate(pki.leaf(NAME).cert_pem)
    authority = x509.load_der_x509_certificate(issuer)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    builder = (
        x509.CertificateBuilder()
        .subject_name(template.subject)
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(template.not_valid_before_utc)
        .not_valid_after(template.not_valid_after_utc)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
    )
    made = builder.sign(key, hashes.SHA256())
    leaf = pki.self_signed(NAME)
    leaf.cert.write_bytes(
        made.public_bytes(serialization.Encoding.PEM) + authority.public_bytes(serialization.Encoding.PEM)
    )
    leaf.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return dataclasses.replace(leaf)
