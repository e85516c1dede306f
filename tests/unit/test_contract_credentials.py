"""Credentials as callers give them: what they may be made of, and what is none."""

from __future__ import annotations

import os
import shutil
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from modemtls.errors import ConfigurationError, CredentialError, Errno, NotSupportedError
from modemtls.net.contract import Encrypted, Stored
from modemtls.net.contract.credentials import Loader, check_pair, pem, rebuilt
from tests.support.pki import private_pem


@pytest.fixture(scope="module")
def leaf(pki):
    return pki.leaf("server.example")


def der_of(path):
    certificates = x509.load_pem_x509_certificates(path.read_bytes())
    return [one.public_bytes(serialization.Encoding.DER) for one in certificates]


def load(credential, **options):
    return Loader().certificates(credential, "CA certificate", **options)


class TestCertificates:
    def test_pem_der_and_files_are_told_apart_by_content(self, pki, leaf, tmp_path):
        wanted = tuple(der_of(pki.ca))
        file = tmp_path / "ca.der"
        file.write_bytes(wanted[0])
        for given in (pki.ca.read_bytes(), wanted[0], pki.ca, file, b"text before\n" + pki.ca.read_bytes()):
            assert load(given) == wanted

    def test_lists_nest_empty_ones_are_none_and_twice_is_once(self, pki, leaf):
        ca, own = der_of(pki.ca)[0], der_of(leaf.cert)[0]
        assert load([[pki.ca], [], [[own], ca]]) == (ca, own)
        assert load([]) == load(None) == ()

    def test_a_folder_where_one_is_allowed(self, pki, leaf, tmp_path):
        shutil.copy(pki.ca, tmp_path / "b.pem")
        (tmp_path / "a.der").write_bytes(der_of(leaf.cert)[0])
        (tmp_path / "README").write_text("nothing")
        (tmp_path / "sub").mkdir()
        assert load(tmp_path, folders=True) == (der_of(leaf.cert)[0], der_of(pki.ca)[0])
        with pytest.raises(IsADirectoryError):
            load(tmp_path)
        with pytest.raises(CredentialError, match="nothing of the kind"):
            load(tmp_path / "sub", folders=True)

    @pytest.mark.parametrize("junk", [b"x", b"\n", b"0\0"])
    def test_junk_after_der_is_an_error(self, pki, junk):
        with pytest.raises(CredentialError) as caught:
            load(der_of(pki.ca)[0] + junk)
        assert caught.value.code == Errno.EPROTO

    @pytest.mark.parametrize(
        "none", [b"", b"text", b"\x30\x05ab", b"-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----"]
    )
    def test_what_is_none(self, none):
        with pytest.raises(CredentialError):
            load(none)

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            load(tmp_path / "none")

    def test_what_is_in_the_modem_cannot_be_read(self, pki):
        with pytest.raises(NotSupportedError) as caught:
            load([pki.ca, Stored("ca.pem")])
        assert caught.value.capability == "stored_credentials"

    def test_a_chain_is_completed_from_a_pool(self, pki):
        own, middle = der_of(pki.intermediate("server.example").cert)
        root = der_of(pki.ca)[0]
        assert rebuilt((own,), (root, middle)) == (own, middle, root)
        assert rebuilt((own, middle, root), (root, middle)) == (own, middle, root)
        assert rebuilt((own,), (root,)) == (own,)
        assert rebuilt((), (root,)) == ()

    def test_pem_of_der_is_what_it_was(self, pki):
        assert load(pem(der_of(pki.ca))) == tuple(der_of(pki.ca))


class TestKeys:
    def test_a_key_belongs_to_its_certificate(self, pki, leaf):
        certificate = der_of(leaf.cert)[0]
        private = serialization.load_pem_private_key(leaf.key_pem, None)
        form = serialization.PrivateFormat
        plain = serialization.NoEncryption()
        for given in (
            leaf.key_pem,
            leaf.key,
            leaf.cert_pem + leaf.key_pem,
            private.private_bytes(serialization.Encoding.DER, form.PKCS8, plain),
            private.private_bytes(serialization.Encoding.DER, form.TraditionalOpenSSL, plain),
        ):
            check_pair(certificate, Loader().private_key(given))
        with pytest.raises(CredentialError, match="does not belong"):
            check_pair(der_of(pki.ca)[0], Loader().private_key(leaf.key))

    def test_an_encrypted_key_needs_its_password(self, leaf, tmp_path):
        certificate = der_of(leaf.cert)[0]
        locked = private_pem(serialization.load_pem_private_key(leaf.key_pem, None), b"open")
        file = tmp_path / "key.pem"
        file.write_bytes(locked)
        for key in (locked, file):
            check_pair(certificate, Loader().private_key(Encrypted(key, b"open")))
        with pytest.raises(CredentialError, match="password does not open it"):
            check_pair(certificate, Loader().private_key(Encrypted(locked, b"shut")))
        with pytest.raises(CredentialError, match="encrypted"):
            Loader().private_key(locked)

    def test_a_list_is_no_key_and_two_are_not_one(self, pki, leaf):
        with pytest.raises(ConfigurationError):
            Loader().private_key([leaf.key])
        with pytest.raises(CredentialError, match="2 private keys"):
            Loader().private_key(leaf.key_pem + pki.leaf("b.example").key_pem)
        with pytest.raises(CredentialError, match="no private keys"):
            Loader().private_key(leaf.cert_pem)

    def test_a_pipe_that_holds_both_is_read_once(self, leaf, tmp_path):
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        thread = threading.Thread(target=lambda: pipe.write_bytes(leaf.cert_pem + leaf.key_pem))
        thread.start()
        loader = Loader()
        certificates = loader.certificates(pipe, "client certificate")
        check_pair(certificates[0], loader.private_key(pipe))
        thread.join(5)
