"""Section 7: credential descriptors."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from modemtls.errors import ConfigurationError, CredentialError, ModemError
from modemtls.net import Encrypted, Errno, Psk, SslConfiguration, Stored
from modemtls.tlsengine import Settings
from tests.support.contract_peers import tls_peer
from tests.support.dtls import DtlsEcho
from tests.support.pki import private_pem
from tests.support.subjects import refuses
from tests.support.tls_ends import need_mbedtls


def der(pem):
    return [one.public_bytes(serialization.Encoding.DER) for one in x509.load_pem_x509_certificates(pem)]


def talk(sock, peer):
    sock.connect(*peer.address)
    sock.send(b"x")
    assert sock.receive(1) == b"x"


class TestSection07Credentials:
    @pytest.mark.parametrize("form", ["PEM", "DER", "file", "list", "nested", "folder"])
    def test_trust_anchors(self, subject, trusting, pki, echo, form, tmp_path):
        (tmp_path / "ca.pem").write_bytes(pki.ca.read_bytes())
        (tmp_path / "README").write_text("not a certificate")
        other = pki.self_signed("other.example").cert
        trusted = {
            "PEM": pki.ca.read_bytes(),
            "DER": der(pki.ca.read_bytes())[0],
            "file": pki.ca,
            "list": [other, pki.ca.read_bytes(), pki.ca],
            "nested": [[], [[der(pki.ca.read_bytes())[0]], [other]]],
            "folder": tmp_path,
        }[form]
        if form in ("list", "nested") and not subject.has("several_anchors"):
            refuses("credential_chain", lambda: subject.socket(trusting(trusted=trusted)))
            return
        talk(subject.socket(trusting(trusted=trusted)), echo)

    @pytest.mark.parametrize("form", ["PEM", "DER", "file", "DER files", "one text", "list"])
    def test_an_own_certificate(self, subject, trusting, pki, own, leaf, form, tmp_path):
        private = serialization.load_pem_private_key(own.key_pem, None)
        key_der = private.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (tmp_path / "own.der").write_bytes(der(own.cert_pem)[0])
        (tmp_path / "key.der").write_bytes(key_der)
        cert, key = {
            "PEM": (own.cert_pem, own.key_pem),
            "DER": (der(own.cert_pem)[0], key_der),
            "file": (own.cert, own.key),
            "DER files": (tmp_path / "own.der", tmp_path / "key.der"),
            "one text": (own.cert_pem + own.key_pem, own.cert_pem + own.key_pem),
            "list": ([der(own.cert_pem)[0], []], own.key),
        }[form]
        with tls_peer(leaf, versions=("TLSv1_2", "TLSv1_2"), client_ca=pki.ca) as peer:
            talk(subject.socket(trusting(client_cert=cert, client_key=key)), peer)

    def test_a_key_with_a_password(self, subject, trusting, pki, own, leaf):
        locked = private_pem(serialization.load_pem_private_key(own.key_pem, None), b"open")
        key = Encrypted(locked, b"open")
        with tls_peer(leaf, versions=("TLSv1_2", "TLSv1_2"), client_ca=pki.ca) as peer:
            talk(subject.socket(trusting(client_cert=own.cert, client_key=key)), peer)
        with pytest.raises(CredentialError):
            subject.socket(trusting(client_cert=own.cert, client_key=Encrypted(locked, b"shut")))

    @pytest.mark.parametrize("what", ["trusted", "client_cert", "client_key"])
    def test_what_is_none_fails_at_creation(self, subject, trusting, pki, own, what):
        given = {"trusted": pki.ca, "client_cert": own.cert, "client_key": own.key} | {what: b"no credential"}
        with pytest.raises(CredentialError) as caught:
            subject.socket(trusting(**given))
        assert caught.value.code == Errno.EPROTO
        assert "no credential" not in str(caught.value)

    def test_a_key_of_another_certificate_fails_at_creation(self, subject, trusting, own, leaf):
        with pytest.raises(CredentialError) as caught:
            subject.socket(trusting(client_cert=own.cert, client_key=leaf.key))
        assert caught.value.code == Errno.EPROTO

    def test_junk_after_der_fails_at_creation(self, subject, trusting, pki):
        with pytest.raises(CredentialError):
            subject.socket(trusting(trusted=der(pki.ca.read_bytes())[0] + b"junk"))

    def test_a_file_that_is_not_there_is_the_error_of_reading_it(self, subject, trusting, tmp_path):
        with pytest.raises(FileNotFoundError):
            subject.socket(trusting(trusted=tmp_path / "none.pem"))

    def test_what_is_in_a_modem_is_for_its_own_engine(self, subject, trusting, pki, echo):
        if subject.store is None:
            refuses("stored_credentials", lambda: subject.socket(trusting(trusted=Stored("42"))))
            return
        right, wrong = (
            subject.store({"ca": one})["ca"] for one in (pki.ca.read_bytes(), pki.self_signed("x").cert_pem)
        )
        talk(subject.socket(trusting(trusted=Stored(right))), echo)
        with pytest.raises(ModemError):
            subject.socket(trusting(trusted=Stored(wrong))).connect(*echo.address)

    @pytest.mark.parametrize(
        ("identity", "key"),
        [
            (b"", b"\0"),
            (b"\xff\xfe", b"\0" * 16),
            (b"a" * 128, bytes(range(64))),
            ("id".encode("utf-16-le"), bytes(range(32))),
        ],
        ids=["no identity, a key of zero", "no text", "long", "with NUL"],
    )
    def test_keys_and_identities_are_bytes_of_any_value(self, subject, identity, key):
        subject.need("psk", "dtls")
        if not subject.has("psk_of_any_bytes"):
            configuration = SslConfiguration(security=Psk(identity, key))
            if identity.isascii() and identity.decode().isprintable() and identity:
                subject.socket(configuration, datagram=True)
            else:
                refuses("psk", lambda: subject.socket(configuration, datagram=True))
            return
        if b"\0" in identity:
            need_mbedtls()
        server = Settings(server=True, datagram=True, psks={identity: key}, cid=b"" if b"\0" in identity else None)
        with DtlsEcho(server) as peer:
            sock = subject.socket(SslConfiguration(security=Psk(identity, key)), datagram=True)
            sock.connect("127.0.0.1", str(peer.port))
            sock.send(b"x")
            assert sock.receive(1) == b"x"
            assert peer.handshakes[0].psk_identity == identity

    def test_what_no_engine_can_hold_fails_at_creation(self, loopback):
        """OpenSSL has identities without NUL before TLS 1.3 only, Mbed TLS keys of up to 32 bytes."""
        refuses("psk", lambda: loopback.socket(SslConfiguration(security=Psk(b"\0", bytes(64))), datagram=True))

    @pytest.mark.parametrize(("identity", "key"), [("text", b"k"), (b"i", "text"), (b"i", Path("key")), (None, b"k")])
    def test_keys_and_identities_are_bytes_and_no_files(self, identity, key):
        with pytest.raises(ConfigurationError) as caught:
            Psk(identity, key)
        assert caught.value.code == Errno.EINVAL

    def test_an_empty_key_is_none(self):
        with pytest.raises(ConfigurationError) as caught:
            Psk(b"identity", b"")
        assert caught.value.code == Errno.EINVAL
