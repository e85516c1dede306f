"""The OpenSSL engine, both ends in memory: versions, suites, keys, certificates, alerts, ends."""

from __future__ import annotations

import datetime
import re
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from modemtls.tlsengine import (
    AlertReceivedError,
    CertificateRefusedError,
    CredentialError,
    MessageSizeError,
    ProtocolError,
    Psk,
    Settings,
    SettingsError,
    StreamEndedError,
    TlsError,
    UnsupportedError,
    Verify,
    Version,
    WantReadError,
    context_for,
    engine_for,
)
from tests.support.pki import Leaf, Pki, private_pem
from tests.support.tls_ends import Ends, shaken

KEY = bytes(range(16))
PSK = Psk(b"the modem", KEY)
PSKS = {b"the modem": KEY, b"another": b"another key"}
CCM8, ECDSA_CCM8 = 0xC0A8, 0xC0AE


@pytest.fixture(scope="module")
def leaf(pki: Pki) -> Leaf:
    return pki.leaf("host.example", "127.0.0.1")


@pytest.fixture(scope="module")
def ecdsa(pki: Pki) -> Leaf:
    return pki.leaf("host.example", ecdsa=True)


@pytest.fixture(scope="module")
def person(pki: Pki) -> Leaf:
    return pki.client("gateway")


def serving(leaf: Leaf, **more: object) -> Settings:
    return Settings(server=True, chain=leaf.cert_pem, key=leaf.key_pem, **{"verify": Verify.NONE, **more})


def asking(pki: Pki, **more: object) -> Settings:
    return Settings(**{"ca": pki.ca.read_bytes(), "host": "host.example", **more})


def der(leaf: Leaf) -> bytes:
    return ssl.PEM_cert_to_DER_cert(leaf.cert_pem.decode().split("-----END")[0] + "-----END CERTIFICATE-----\n")


# --- versions and suites --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("datagram", "version", "name"),
    [
        (False, Version.TLS1_0, "TLSv1"),
        (False, Version.TLS1_1, "TLSv1.1"),
        (False, Version.TLS1_2, "TLSv1.2"),
        (False, Version.TLS1_3, "TLSv1.3"),
        (True, Version.TLS1_1, "DTLSv1"),
        (True, Version.TLS1_2, "DTLSv1.2"),
    ],
)
def test_each_version(pki, leaf, datagram, version, name):
    same = {"min_version": version, "max_version": version, "datagram": datagram}
    ends = shaken(asking(pki, **same), serving(leaf, **same))
    ends.talk()
    for end in (ends.client, ends.server):
        assert end.info().version == name
        assert end.info().engine == "openssl"


def test_no_common_version_is_the_servers_alert(pki, leaf):
    old = asking(pki, max_version=Version.TLS1_2)
    with pytest.raises(ProtocolError, match="unsupported protocol") as caught:
        shaken(old, serving(leaf, min_version=Version.TLS1_3))
    assert (caught.value.sent.level, caught.value.sent.name) == (2, "protocol version")


def test_the_client_reads_the_alert(pki, leaf):
    ends = Ends(asking(pki, max_version=Version.TLS1_2), serving(leaf, min_version=Version.TLS1_3))
    with pytest.raises(ProtocolError):
        ends.handshake()
    with pytest.raises(AlertReceivedError, match="protocol version") as caught:
        ends.client.handshake()
    assert (caught.value.received.level, caught.value.received.description) == (2, 70)
    assert ends.client.info().received == caught.value.received


@pytest.mark.parametrize(
    ("suite", "kind"),
    [
        (0x1303, "certificate"),
        (0x1304, "certificate"),
        (0x1305, "certificate"),
        (0xC02F, "certificate"),
        (0xC014, "certificate"),
        (0x009E, "certificate"),
        (0xC0AE, "ecdsa"),
        (0xC0AC, "ecdsa"),
        (0xCCA9, "ecdsa"),
        (0xC0A8, "psk"),
        (0xC0A4, "psk"),
        (0x00A8, "psk"),
        (0x00AE, "psk"),
        (0xC037, "psk"),
        (0xCCAC, "psk"),
        (0x00AA, "psk"),
        (0xC0AA, "psk"),
        (0x1301, "psk"),
        (0x1302, "psk"),
    ],
)
def test_each_kind_of_suite(pki, leaf, ecdsa, suite, kind):
    for datagram in (False, True):
        if not datagram or suite >> 8 != 0x13:  # there is no DTLS 1.3 here
            one_suite(pki, leaf, ecdsa, kind, {"suites": (suite,), "datagram": datagram})


def one_suite(pki, leaf, ecdsa, kind, shared):
    (suite,) = shared["suites"]
    if kind == "psk":
        ends = shaken(Settings(psk=PSK, **shared), Settings(server=True, psks=PSKS, **shared))
        assert ends.server.info().psk_identity == b"the modem"
    else:
        ends = shaken(asking(pki, **shared), serving(ecdsa if kind == "ecdsa" else leaf, **shared))
    ends.talk()
    for end in (ends.client, ends.server):
        assert end.info().suite == suite
        assert end.info().suite_name.startswith("TLS_")
        assert not end.info().resumed


def test_a_list_of_suites_decides_the_version(pki, leaf):
    assert shaken(asking(pki, suites=(0xC02F, 0x1301)), serving(leaf)).client.info().version == "TLSv1.3"
    assert shaken(asking(pki, suites=(0xC02F,)), serving(leaf)).client.info().version == "TLSv1.2"
    with pytest.raises(TlsError):
        shaken(asking(pki, suites=(0x1301,)), serving(leaf, max_version=Version.TLS1_2))


def test_unknown_suites_are_skipped(pki, leaf):
    assert shaken(asking(pki, suites=(0xFAFA, 0x0005, 0xC030)), serving(leaf)).client.info().suite == 0xC030


@pytest.mark.parametrize("datagram", [False, True])
def test_without_a_list_all_that_fits(pki, leaf, datagram):
    """A key goes without certificates, and over datagrams CoAP's own suite is among what is offered."""
    only = Settings(server=True, datagram=datagram, psks=PSKS, suites=(CCM8,))
    if datagram:
        assert shaken(Settings(psk=PSK, datagram=True), only).client.info().suite == CCM8
        return
    with pytest.raises(ProtocolError, match="no shared cipher"):
        shaken(Settings(psk=PSK), only)
    assert shaken(Settings(psk=PSK), Settings(server=True, psks=PSKS)).client.info().version == "TLSv1.3"
    with pytest.raises(ProtocolError, match="no shared cipher"):
        shaken(Settings(psk=PSK, max_version=Version.TLS1_2), serving(leaf))


# --- pre-shared keys ------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [Version.TLS1_2, Version.TLS1_3])
def test_a_wrong_key_is_an_alert_over_a_stream(version):
    wrong = Settings(psk=Psk(b"the modem", b"wrong"), max_version=version)
    with pytest.raises(ProtocolError) as caught:
        shaken(wrong, Settings(server=True, psks=PSKS))
    assert caught.value.sent.name in ("bad record mac", "illegal parameter", "decrypt error")


def test_a_wrong_key_is_silence_over_datagrams():
    wrong = Settings(psk=Psk(b"the modem", b"wrong"), datagram=True)
    ends = Ends(wrong, Settings(server=True, datagram=True, psks=PSKS))
    for _ in range(10):
        for end in (ends.client, ends.server):
            with pytest.raises(WantReadError):
                end.handshake()
        if not ends.carry():
            break
    assert ends.client.deadline() == pytest.approx(1, abs=0.5)
    assert ends.client.info().received is None


def test_an_unknown_identity_is_an_alert():
    with pytest.raises(ProtocolError) as caught:
        shaken(Settings(psk=Psk(b"nobody", KEY), suites=(0x00A8,)), Settings(server=True, psks=PSKS))
    assert caught.value.sent.name == "unknown psk identity"


def test_identities_are_bytes():
    identity, key = bytes(range(1, 256)), bytes(range(64))
    server = Settings(server=True, psks={identity: key}, psk_hint=b"hint")
    for version in (Version.TLS1_2, Version.TLS1_3):
        ends = shaken(Settings(psk=Psk(identity, key), min_version=version, max_version=version), server)
        assert ends.server.info().psk_identity == identity
    with_nul = {b"a\0b": key}
    of_1_3 = Settings(psk=Psk(b"a\0b", key), min_version=Version.TLS1_3)
    assert shaken(of_1_3, Settings(server=True, min_version=Version.TLS1_3, psks=with_nul)).server.info().psk_identity


def test_an_external_key_goes_with_sha_256_unless_there_is_no_such_suite():
    client = Settings(psk=PSK, min_version=Version.TLS1_3, suites=(0x1302, 0x1301))
    assert shaken(client, Settings(server=True, psks=PSKS)).server.info().psk_identity == b"the modem"


def test_a_server_may_have_both(pki, leaf):
    both = serving(leaf, psks=PSKS)
    assert shaken(Settings(psk=PSK), both).server.info().psk_identity == b"the modem"
    assert shaken(asking(pki), both).server.info().psk_identity is None


def test_with_a_key_no_certificate_is_taken(leaf):
    """A server of TLS 1.3 that does not know the key answers with its certificate: whoever can, can."""
    with pytest.raises(CertificateRefusedError, match="pre-shared key was demanded"):
        shaken(Settings(psk=PSK, verify=Verify.NONE), serving(leaf))


# --- the peer's certificate -----------------------------------------------------------------------


def refused(client: Settings, server: Settings) -> int:
    with pytest.raises(CertificateRefusedError) as caught:
        shaken(client, server)
    assert caught.value.sent.level == 2
    assert caught.value.verify_text in caught.value.reason
    return caught.value.verify_code


@pytest.mark.parametrize("datagram", [False, True])
def test_what_is_refused(pki, leaf, tmp_path, datagram):
    over = {"datagram": datagram}
    good = serving(leaf, **over)
    assert refused(asking(pki, host="other.example", **over), good) == 62
    assert refused(asking(pki, host="127.0.0.2", **over), good) == 64
    assert refused(asking(Pki(tmp_path), **over), good) == 20
    assert refused(asking(pki, **over), serving(pki.leaf("host.example", days=(-9, -2)), **over)) == 10
    assert refused(asking(pki, **over), serving(pki.leaf("host.example", days=(2, 9)), **over)) == 9
    assert refused(asking(pki, **over), serving(pki.self_signed("host.example"), **over)) == 18
    assert refused(asking(pki, **over), serving(wrong_purpose(pki), **over)) == 26


@pytest.mark.parametrize("datagram", [False, True])
def test_what_is_taken(pki, leaf, datagram):
    over = {"datagram": datagram}
    for client, server in [
        (asking(pki, **over), serving(leaf, **over)),
        (asking(pki, host="127.0.0.1", **over), serving(leaf, **over)),
        (asking(pki, host="", **over), serving(leaf, **over)),
        (asking(pki, **over), serving(pki.intermediate("host.example"), **over)),
        (asking(pki, check_dates=False, **over), serving(pki.leaf("host.example", days=(-9, -2)), **over)),
    ]:
        info = shaken(client, server).client.info()
        assert (info.verify_code, info.verify_errors) == (0, ())
        assert info.verified_chain[-1] == der(Leaf(pki.ca, pki.ca))


def test_a_given_time_counts(pki):
    past = serving(pki.leaf("host.example", days=(-9, -2)))
    then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=5)
    assert shaken(asking(pki, at=then), past).client.info().verify_code == 0
    assert refused(asking(pki, at=then - datetime.timedelta(days=10)), past) == 9


def test_common_names(pki):
    old = pki.common_name_only("host.example")
    assert shaken(asking(pki, ca=old.cert_pem), serving(old)).client.info().verify_code == 0
    assert refused(asking(pki, ca=old.cert_pem, common_name_counts=False), serving(old)) == 62


def test_without_verification_it_is_told_all_the_same(pki, leaf):
    info = shaken(asking(pki, ca=b"", host="other.example", verify=Verify.NONE), serving(leaf)).client.info()
    assert info.verify_code == 20
    assert {error.code for error in info.verify_errors} >= {20, 62}


def test_judging_afterwards(pki, leaf):
    """Everything that is wrong is told, with both chains, and nothing is refused."""
    expired = pki.leaf("host.example", days=(-9, -2))
    client = asking(pki, host="other.example", verify=Verify.JUDGED)
    info = shaken(client, serving(expired)).client.info()
    assert {(error.code, error.depth) for error in info.verify_errors} == {(62, 0), (10, 0)}
    assert all(error.text for error in info.verify_errors)
    assert info.peer_chain == (der(expired),)
    assert info.verified_chain == (der(expired), der(Leaf(pki.ca, pki.ca)))


def test_an_intermediate_or_a_leaf_as_anchor(pki):
    made = pki.intermediate("host.example")
    leaf, between = re.findall(rb"-----BEGIN.*?-----END CERTIFICATE-----\n?", made.cert_pem, re.DOTALL)[:2]
    for anchor in (between, leaf):
        ends = shaken(Settings(anchors=anchor, host="host.example"), serving(made))
        assert ssl.PEM_cert_to_DER_cert(anchor.decode()) in ends.client.info().verified_chain
        assert ends.client.info().verify_code == 0
        assert refused(Settings(ca=anchor, host="host.example"), serving(made)) in (2, 20, 21)
    assert refused(Settings(anchors=between, host="other.example"), serving(made)) == 62


def test_revocation(pki, leaf):
    other = pki.leaf("host.example")
    authority = pki.authority
    today = datetime.datetime.now(datetime.UTC)
    issuer = x509.load_pem_x509_certificate(pki.ca.read_bytes())
    revoked = x509.load_der_x509_certificate(der(leaf)).serial_number
    entry = x509.RevokedCertificateBuilder().serial_number(revoked).revocation_date(today).build()
    key = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(today - datetime.timedelta(days=1))
        .next_update(today + datetime.timedelta(days=1))
        .add_revoked_certificate(entry)
        .sign(key, hashes.SHA256())
    )
    for coding in (serialization.Encoding.PEM, serialization.Encoding.DER):
        listed = crl.public_bytes(coding)
        assert refused(asking(pki, crls=listed), serving(leaf)) == 23
        assert shaken(asking(pki, crls=listed), serving(other)).client.info().verify_code == 0
        elsewhere = serving(pki.intermediate("host.example"))  # whose issuer has no CRL here
        assert shaken(asking(pki, crls=listed), elsewhere).client.info().verify_code == 0


def test_short_tags_do_not_let_weak_keys_in(pki, ecdsa, tmp_path):
    """OpenSSL's security level has to go down for CCM-8; what it held up besides is held up here."""
    weak = weak_leaf(pki)
    pair = {"suites": (ECDSA_CCM8, 0xC0A2)}
    assert refused(asking(pki, **pair), serving(weak, legacy=True, **pair)) == 66
    assert shaken(asking(pki, legacy=True, **pair), serving(weak, legacy=True, **pair)).client.info().suite == 0xC0A2
    assert shaken(asking(pki, **pair), serving(ecdsa, **pair)).client.info().suite == ECDSA_CCM8


@pytest.mark.parametrize(("legacy", "offered"), [(False, False), (True, True)])
def test_short_tags_do_not_let_sha_1_signatures_in(pki, legacy, offered):
    client = engine_for(asking(pki, suites=(ECDSA_CCM8,), legacy=legacy))
    with pytest.raises(WantReadError):
        client.handshake()
    assert (0x0203 in signature_algorithms(client.take()[0])) is offered  # ecdsa_sha1, RFC 8446, section 4.2.3


def signature_algorithms(hello: bytes) -> list[int]:
    """What a ClientHello offers (RFC 5246, sections 7.4.1.2 and 7.4.1.4.1)."""
    at = 5 + 4 + 2 + 32
    at += 1 + hello[at]
    at += 2 + int.from_bytes(hello[at : at + 2], "big")
    at += 1 + hello[at] + 2
    while at < len(hello):
        kind, length = (int.from_bytes(hello[at + n : at + n + 2], "big") for n in (0, 2))
        if kind == 13:
            found = hello[at + 6 : at + 4 + length]
            return [int.from_bytes(found[n : n + 2], "big") for n in range(0, len(found), 2)]
        at += 4 + length
    raise AssertionError("no signature algorithms")


def weak_leaf(pki: Pki) -> Leaf:
    from cryptography.hazmat.primitives.asymmetric import rsa

    return special(pki, rsa.generate_private_key(public_exponent=65537, key_size=1024), ExtendedKeyUsageOID.SERVER_AUTH)


def wrong_purpose(pki: Pki) -> Leaf:
    return special(pki, ec.generate_private_key(ec.SECP256R1()), ExtendedKeyUsageOID.CLIENT_AUTH)


def special(pki: Pki, key, purpose: x509.ObjectIdentifier) -> Leaf:
    """A leaf of the CA that trustme would not make."""
    issuer = x509.load_pem_x509_certificate(pki.ca.read_bytes())
    today = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("host.example")]), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .sign(serialization.load_pem_private_key(pki.authority.private_key_pem.bytes(), None), hashes.SHA256())
    )
    cert, file = pki._paths()
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    file.write_bytes(private_pem(key))
    return Leaf(cert, file)


# --- our own certificate --------------------------------------------------------------------------


@pytest.mark.parametrize("datagram", [False, True])
@pytest.mark.parametrize("version", [Version.TLS1_2, Version.TLS1_3])
def test_both_show_a_certificate(pki, leaf, person, datagram, version):
    over = {"datagram": datagram, "max_version": version}
    server = serving(leaf, verify=Verify.REQUIRED, ca=pki.ca.read_bytes(), **over)
    ends = shaken(asking(pki, chain=person.cert_pem, key=person.key_pem, **over), server)
    ends.talk()
    assert ends.server.info().peer_chain[0] == der(person)
    assert ends.server.info().verified_chain == (der(person), der(Leaf(pki.ca, pki.ca)))


def test_a_certificate_that_is_missing(pki, leaf):
    """With TLS 1.2 the handshake fails; with 1.3 the client learns of it when it reads."""
    server = serving(leaf, verify=Verify.REQUIRED, ca=pki.ca.read_bytes())
    with pytest.raises(ProtocolError, match="did not return a certificate") as caught:
        shaken(asking(pki, max_version=Version.TLS1_2), server)
    assert caught.value.sent.name == "handshake failure"
    ends = Ends(asking(pki), server)
    with pytest.raises(ProtocolError):
        ends.handshake()
    ends.client.handshake()
    with pytest.raises(AlertReceivedError, match="certificate required") as read:
        ends.client.read()
    assert read.value.received.description == 116
    assert shaken(asking(pki), serving(leaf, verify=Verify.OPTIONAL, ca=pki.ca.read_bytes())).server.info().suite


def test_a_server_refuses_a_strangers_certificate(pki, leaf, tmp_path):
    stranger = Pki(tmp_path).client("stranger")
    client = asking(pki, chain=stranger.cert_pem, key=stranger.key_pem)
    for verify in (Verify.OPTIONAL, Verify.REQUIRED):
        assert refused(client, serving(leaf, verify=verify, ca=pki.ca.read_bytes())) == 20
    judged = shaken(client, serving(leaf, verify=Verify.JUDGED, ca=pki.ca.read_bytes()))
    assert judged.server.info().verify_code == 20
    assert judged.server.info().peer_chain[0] == der(stranger)


def test_pem_der_and_passwords(pki, leaf, person):
    private = serialization.load_pem_private_key(person.key_pem, None)
    coded = [
        (coding, password, private.private_bytes(coding, serialization.PrivateFormat.PKCS8, guard))
        for coding in (serialization.Encoding.PEM, serialization.Encoding.DER)
        for password, guard in (
            (b"", serialization.NoEncryption()),
            (b"swordfish", serialization.BestAvailableEncryption(b"swordfish")),
        )
    ]
    server = serving(leaf, verify=Verify.REQUIRED, ca=pki.ca.read_bytes())
    for coding, password, key in coded:
        chain = person.cert_pem if coding is serialization.Encoding.PEM else der(person)
        trust = der(Leaf(pki.ca, pki.ca)) + der(leaf)
        shaken(asking(pki, ca=trust, chain=chain, key=key, key_password=password), server)
        if password:
            for wrong in (b"", b"sardine"):
                with pytest.raises(CredentialError, match="own key") as caught:
                    engine_for(asking(pki, chain=chain, key=key, key_password=wrong))
                assert "sardine" not in str(caught.value)


# --- names, protocols, logs -----------------------------------------------------------------------


def test_server_name_and_protocols(pki, leaf):
    client = asking(pki, server_name="host.example", alpn=(b"coap", b"mqtt"))
    ends = shaken(client, serving(leaf, alpn=(b"mqtt", b"coap")))
    assert ends.server.info().server_name == "host.example"
    assert ends.client.info().alpn == ends.server.info().alpn == b"mqtt"
    assert shaken(asking(pki, server_name="127.0.0.1"), serving(leaf)).server.info().server_name == ""
    assert shaken(asking(pki, alpn=(b"mqtt",)), serving(leaf)).client.info().alpn == b""
    with pytest.raises(ProtocolError, match="no common application protocol") as caught:
        shaken(asking(pki, alpn=(b"h2",)), serving(leaf, alpn=(b"mqtt",)))
    assert caught.value.sent.name == "no application protocol"


@pytest.mark.parametrize("version", [Version.TLS1_2, Version.TLS1_3])
def test_key_log(pki, leaf, version):
    mine, theirs = [], []
    same = {"max_version": version, "min_version": version}
    shaken(asking(pki, keylog=mine.append, **same), serving(leaf, keylog=theirs.append, **same))
    assert sorted(mine) == sorted(theirs)
    assert any(line.startswith(b"CLIENT_") for line in mine)


# --- ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("datagram", [False, True])
def test_a_clean_end_and_half_of_one(pki, leaf, datagram):
    ends = shaken(asking(pki, datagram=datagram), serving(leaf, datagram=datagram))
    ends.client.write(b"last words")
    ends.client.close()
    ends.carry()
    assert ends.server.read() == b"last words"
    assert ends.server.read() == b""
    assert ends.server.read() == b""
    assert ends.server.info().received.name == "close notify"
    with pytest.raises(ProtocolError, match="closed"):
        ends.client.write(b"more")
    assert ends.send(b"an answer", up=False) == b"an answer"


def test_an_end_without_a_word(pki, leaf):
    ends = shaken(asking(pki), serving(leaf))
    ends.client.close(notify=False)
    assert ends.client.take() == []
    ends.server.feed(b"")
    with pytest.raises(StreamEndedError, match="ended the connection"):
        ends.server.read()


def test_an_end_in_the_handshake(pki, leaf):
    ends = Ends(asking(pki), serving(leaf))
    with pytest.raises(WantReadError):
        ends.client.handshake()
    ends.client.feed(b"")
    with pytest.raises(StreamEndedError, match="handshake"):
        ends.client.handshake()


def test_rubbish_is_a_protocol_failure(pki):
    client = engine_for(asking(pki))
    client.feed(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(ProtocolError):
        client.handshake()


def test_a_stream_is_cut_anywhere(pki, leaf):
    ends = Ends(asking(pki), serving(leaf), lambda data, _: [bytes([byte]) for piece in data for byte in piece])
    ends.handshake()
    sent = bytes(range(256)) * 200
    assert ends.send(sent) == sent
    assert ends.client.payload_limit() == 0


# --- datagrams ------------------------------------------------------------------------------------


def test_a_write_is_a_record_is_a_datagram(pki, leaf):
    over = {"datagram": True, "mtu": 500}
    ends = shaken(asking(pki, suites=(0xC02F,), **over), serving(leaf, **over))
    assert max(map(len, ends.up + ends.down)) <= 500
    limit = ends.client.payload_limit()
    assert limit == 500 - 37
    ends.client.write(bytes(limit))
    ends.client.write(b"next")
    datagrams = ends.client.take()
    assert [len(datagram) for datagram in datagrams] == [500, 4 + 37]
    for datagram in datagrams:
        ends.server.feed(datagram)
    assert ends.server.read() == bytes(limit)
    assert ends.server.read() == b"next"
    with pytest.raises(MessageSizeError) as caught:
        ends.client.write(bytes(limit + 1))
    assert caught.value.limit == limit
    assert ends.client.take() == []


def test_a_handshake_has_a_limit_of_its_own(pki, leaf):
    over = {"datagram": True, "mtu": 1600, "handshake_mtu": 500}
    ends = shaken(asking(pki, suites=(0xC02F,), **over), serving(leaf, **over))
    assert max(map(len, ends.up + ends.down)) <= 500
    ends.client.write(bytes(1600 - 37))
    (datagram,) = ends.client.take()
    assert len(datagram) == 1600
    with pytest.raises(SettingsError, match="at most 100 bytes"):
        asking(pki, datagram=True, handshake_mtu=100)


@pytest.mark.parametrize("suite", [0xC0A8, 0x00A8, 0x00AE, 0x008C, 0xCCAB, 0x00AF])
def test_the_largest_payload_really_fits(suite):
    over = {"datagram": True, "mtu": 601, "suites": (suite,)}
    ends = shaken(Settings(psk=PSK, **over), Settings(server=True, psks=PSKS, **over))
    limit = ends.client.payload_limit()
    ends.client.write(bytes(limit))
    (datagram,) = ends.client.take()
    assert len(datagram) <= 601
    ends.server.feed(datagram)
    assert ends.server.read() == bytes(limit)


def test_no_limit_before_the_suite_is_known(pki):
    with pytest.raises(ValueError, match="not agreed on"):
        engine_for(asking(pki, datagram=True)).payload_limit()


def test_cookies(pki):
    server = context_for(Settings(server=True, datagram=True, psks=PSKS))
    ends = shaken(Settings(psk=PSK, datagram=True), server)
    assert ends.down[0][13] == 3  # HelloVerifyRequest, RFC 6347, section 4.3.2
    assert sum(record[13] == 1 and record[0] == 22 for record in ends.up[:2]) == 2  # ClientHello, and again
    # A cookie of one address is none for another.
    other = server.engine(b"elsewhere")
    other.feed(ends.up[1])
    with pytest.raises(WantReadError):
        other.handshake()
    assert other.take()[0][13] == 3
    without = Settings(server=True, datagram=True, psks=PSKS, cookies=False)
    assert shaken(Settings(psk=PSK, datagram=True), without).down[0][13] == 2  # ServerHello


def test_what_is_no_hello_is_nothing_to_a_server_with_cookies():
    server = context_for(Settings(server=True, datagram=True, psks=PSKS)).engine(b"somebody")
    hello = bytes.fromhex("16feff0000000000000000000c01000000000000000000000000")
    for stray in (b"?", bytes(13), bytes(40), hello, hello[:20], b"\x17" + hello[1:], hello + bytes(9), bytes(2000)):
        server.feed(stray)
        with pytest.raises(WantReadError):
            server.handshake()
        assert server.take() == []
    ends = Ends(Settings(psk=PSK, datagram=True), server)
    ends.handshake()
    ends.talk()


def test_stray_datagrams_change_nothing(pki, leaf):
    def strays(datagrams: list[bytes], _: str) -> list[bytes]:
        return [piece for one in datagrams for piece in (b"", b"stray", one[:20], one, one, bytes(40))]

    ends = shaken(asking(pki, datagram=True), serving(leaf, datagram=True), strays)
    ends.talk()


def test_what_openssl_cannot_is_said(pki):
    engine = engine_for(asking(pki, datagram=True))
    with pytest.raises(UnsupportedError, match="Connection ID"):
        engine.save()
    assert engine.load(b"anything") is False
