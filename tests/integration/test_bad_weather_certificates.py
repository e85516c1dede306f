"""Certificates that are refused, at either end, over every simulated modem, with its own engine and with the host's."""

from __future__ import annotations

import contextlib
import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from modemtls.errors import Category, CertificateError, HandshakeError, ModemError, TlsError
from modemtls.net import Errno, State
from tests.support.bad_weather import NAME, refused, talk
from tests.support.contract_peers import tls_peer
from tests.support.pki import Leaf, Pki

TLS12, TLS13 = ("TLSv1_2", "TLSv1_2"), ("TLSv1_3", "TLSv1_3")
FATAL, CERTIFICATE_REQUIRED, BAD_CERTIFICATES = 2, 116, {40, 42, 43, 44, 45, 46, 48, 116}


def of_a_client(pki: Pki, folder) -> Leaf:
    """A certificate of the right CA and name, for clients only."""
    key = ec.generate_private_key(ec.SECP256R1())
    authority = x509.load_pem_x509_certificate(pki.authority.cert_pem.bytes())
    signer = serialization.load_pem_private_key(pki.authority.private_key_pem.bytes(), None)
    today = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    leaf = Leaf(folder / "client-only.pem", folder / "client-only.key")
    leaf.cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    formats = serialization.PrivateFormat.TraditionalOpenSSL
    leaf.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, formats, serialization.NoEncryption()))
    return leaf


@pytest.fixture(scope="module")
def leaves(pki, tmp_path_factory):
    folder = tmp_path_factory.mktemp("other")
    return {
        "unknown CA": Pki(folder).leaf(NAME),
        "self-signed": pki.self_signed(NAME),
        "wrong name": pki.leaf("other.example"),
        "expired": pki.leaf(NAME, days=(-30, -1)),
        "not yet": pki.leaf(NAME, days=(1, 30)),
        "wrong usage": of_a_client(pki, folder),
    }


class TestServers:
    @pytest.mark.parametrize("why", ["unknown CA", "self-signed", "wrong name", "expired", "not yet", "wrong usage"])
    def test_one_that_is_not_to_be_trusted(self, here, good, leaves, why):
        """Nothing is said to it. The host knows why, a modem says that something failed."""
        here.need(*["date_check"] * (why in {"expired", "not yet"}), "hostname_check")
        sock = here.secure(here.certificates(good.pki))
        with tls_peer(leaves[why], versions=TLS12) as peer:
            error = refused(sock, peer.port)
        assert peer.ends == []  # the handshake was not finished there
        if here.host:
            assert isinstance(error, CertificateError)
            assert error.pair == (Category.ERRNO, Errno.EPROTO)
        else:
            assert isinstance(error, HandshakeError)
            assert error.pair == (Category.ERRNO, Errno.ECONNREFUSED)
            assert "certificate" in str(error)
        talk(sock, good.stream)


class TestClients:
    """What the server thinks of the client's certificate."""

    @pytest.mark.parametrize("why", ["none", "unknown CA"])
    def test_refused_in_the_handshake(self, here, good, pki, tmp_path, why):
        here.need("client_certificates")
        stranger = Pki(tmp_path).client()
        own = {} if why == "none" else {"client_cert": stranger.cert, "client_key": stranger.key}
        with tls_peer(good.leaf, versions=TLS12, client_ca=pki.ca) as peer:
            error = refused(here.secure(here.certificates(pki, **own)), peer.port)
        assert isinstance(error, HandshakeError)
        assert not isinstance(error, CertificateError)  # it is not the server's that was refused
        if here.host:
            assert error.category is Category.TLS_ALERT
            assert error.alert[0] == FATAL
            assert error.alert[1] in BAD_CERTIFICATES
        else:
            assert error.pair == (Category.ERRNO, Errno.ECONNREFUSED)

    def test_refused_behind_the_handshake(self, here, good, pki):
        """By TLS 1.3 the client is done before the server has looked: the alert comes where data would."""
        if not here.host:
            pytest.skip("no modem here is told to speak TLS 1.3 alone")
        sock = here.secure(here.certificates(pki))
        with tls_peer(good.leaf, versions=TLS13, client_ca=pki.ca) as peer:
            sock.connect(NAME, str(peer.port))
            assert sock.state is State.CONNECTED
            with pytest.raises(TlsError) as caught:
                sock.receive(10, timeout=5)
            assert caught.value.pair == (Category.TLS_ALERT, FATAL << 8 | CERTIFICATE_REQUIRED)
            with contextlib.suppress(ModemError):
                sock.send(b"x")
            assert sock.state is State.CONNECTED
        sock.close()
        talk(sock, good.stream)
