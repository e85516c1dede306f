"""TLSA records where the TLS is a modem's: what serves, what is refused, and how a shown certificate is judged."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from modemtls.errors import CertificateError, HandshakeError, NotSupportedError
from modemtls.net.contract import Certificates, Stored, TlsaRecord
from modemtls.net.contract.credentials import pem
from modemtls.net.contract.der import is_authority, is_no_authority, private_key_label, self_issued
from modemtls.net.judging import is_for, judge_leaf, means_for

KEY = ec.generate_private_key(ec.SECP256R1())


def made(name="server.example", *alternatives, authority=None, issuer=None):
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    today = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]) if issuer else subject)
        .public_key(KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today)
        .not_valid_after(today + datetime.timedelta(days=1))
    )
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(alternatives)), critical=False)
    if authority is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


OWN = made(authority=False)
SILENT = made()  # of itself, as to whether it issues others
CA = made("ca.example", authority=True)
ISSUED = made(issuer="ca.example", authority=False)
ENFORCED = Certificates(dane=True)
TRUSTING = Certificates(dane=True, trusted=Stored("ca"))


def means(security, *records, pinning=False, shows=False):
    return means_for(security, records, "m", pinning=pinning, shows=shows)


class TestForms:
    def test_what_a_certificate_says_of_itself(self):
        assert [is_authority(one) for one in (OWN, CA, ISSUED, SILENT)] == [False, True, False, False]
        assert [is_no_authority(one) for one in (OWN, CA, ISSUED, SILENT)] == [True, False, True, False]
        assert [self_issued(one) for one in (OWN, CA, ISSUED, SILENT)] == [True, True, False, True]
        for broken in (b"", b"\x30\x00", OWN[:50]):
            for tells in (is_authority, is_no_authority):
                with pytest.raises(ValueError):
                    tells(broken)

    def test_a_private_key_tells_how_it_is_called(self):
        encoding, clear = serialization.Encoding.DER, serialization.NoEncryption()
        locked = serialization.BestAvailableEncryption(b"x")
        forms = serialization.PrivateFormat
        assert private_key_label(KEY.private_bytes(encoding, forms.PKCS8, clear)) == "PRIVATE KEY"
        assert private_key_label(KEY.private_bytes(encoding, forms.TraditionalOpenSSL, clear)) == "EC PRIVATE KEY"
        assert private_key_label(KEY.private_bytes(encoding, forms.PKCS8, locked)) is None
        assert private_key_label(b"\x30\x05nonsense") is None


class TestMeans:
    def test_an_anchor_is_the_only_ca(self):
        for security in (ENFORCED, TRUSTING, Certificates(dane=True, verify=False)):
            found = means(security, TlsaRecord(2, 0, 0, CA))
            assert (found.verified, found.material, found.records) == (True, {"ca": pem((CA,))}, ())

    def test_a_leaf_is_no_anchor(self):
        for leaf in (OWN, ISSUED, SILENT):
            with pytest.raises(NotSupportedError, match="no CA's") as caught:
                means(ENFORCED, TlsaRecord(2, 0, 0, leaf))
            assert caught.value.capability == "dane"

    def test_the_own_certificate(self):
        record = TlsaRecord(3, 0, 0, OWN)
        assert means(ENFORCED, record).material == {"ca": pem((OWN,))}
        assert means(ENFORCED, record, pinning=True).material == {"ca": pem((OWN,)), "peer": pem((OWN,))}

    @pytest.mark.parametrize("issuer", [CA, SILENT], ids=["a CA's", "one that may be taken for a CA's"])
    def test_an_own_one_under_which_others_may_have_been_issued_is_compared_or_looked_at(self, issuer):
        """As the only CA it would make its owner of everybody whom it has issued one."""
        record = TlsaRecord(3, 0, 0, issuer)
        for security in (ENFORCED, TRUSTING, Certificates(dane=True, verify=False)):
            with pytest.raises(NotSupportedError, match="whatever else this certificate has issued") as caught:
                means(security, record)
            assert caught.value.capability == "dane"
            assert means(security, record, pinning=True).material == {"ca": pem((issuer,)), "peer": pem((issuer,))}
            found = means(security, record, shows=True)
            assert (found.verified, found.material, found.records) == (False, {}, (record,))

    def test_an_issued_one_is_compared_besides_a_chain_or_looked_at_afterwards(self):
        record = TlsaRecord(3, 0, 0, ISSUED)
        assert means(TRUSTING, record, pinning=True).material == {"peer": pem((ISSUED,))}
        for security in (ENFORCED, Certificates(dane=True, verify=False, trusted=Stored("ca"))):
            with pytest.raises(NotSupportedError):
                means(security, record, pinning=True)
        with pytest.raises(NotSupportedError):
            means(TRUSTING, record)
        found = means(ENFORCED, record, shows=True)
        assert (found.verified, found.material, found.records) == (False, {}, (record,))

    @pytest.mark.parametrize(
        "records",
        [
            [TlsaRecord(0, 0, 0, CA)],
            [TlsaRecord(1, 0, 0, OWN)],
            [TlsaRecord(2, 1, 0, CA)],
            [TlsaRecord(2, 0, 1, hashlib.sha256(CA).digest())],
            [TlsaRecord(3, 0, 2, hashlib.sha512(OWN).digest())],
            [TlsaRecord(2, 0, 0, CA), TlsaRecord(3, 0, 0, OWN)],
            [TlsaRecord(3, 0, 0, b"\x30\x03\x02\x01\x01")],
        ],
    )
    def test_everything_else_is_refused(self, records):
        with pytest.raises(NotSupportedError) as caught:
            means(TRUSTING, *records)
        assert caught.value.capability == "dane"

    def test_what_is_shown_can_be_judged_by_any_record_of_usage_3(self):
        records = (TlsaRecord(3, 0, 1, hashlib.sha256(OWN).digest()), TlsaRecord(3, 0, 0, ISSUED))
        assert means(ENFORCED, *records, shows=True).records == records
        with pytest.raises(NotSupportedError):
            means(ENFORCED, *records, TlsaRecord(2, 0, 0, CA), shows=True)

    def test_without_a_usable_record(self):
        useless = TlsaRecord(3, 0, 1, b"short")
        assert means(TRUSTING) == means(Certificates(trusted=Stored("ca")))
        assert means(TRUSTING).verified
        assert not means(Certificates(dane=True, verify=False)).verified
        assert not means(Certificates(dane=True, verify=False), useless, TlsaRecord(1, 0, 0, OWN)).verified
        with pytest.raises(HandshakeError, match="none of the TLSA records"):
            means(TRUSTING, useless)
        with pytest.raises(CertificateError, match="no CA"):
            means(ENFORCED)


class TestJudging:
    def test_a_record_and_the_name_decide(self):
        good, bad = TlsaRecord(3, 0, 1, hashlib.sha256(OWN).digest()), TlsaRecord(3, 0, 0, ISSUED)
        judge_leaf([bad, good], OWN, "server.example", "w")
        judge_leaf([good], OWN, None, "w")
        for records, leaf, name in (([bad], OWN, None), ([good], OWN, "other.example"), ([good], b"", None)):
            with pytest.raises(CertificateError, match="refused"):
                judge_leaf(records, leaf, name, "w")

    @pytest.mark.parametrize(
        ("names", "host", "fits"),
        [
            (["server.example"], "Server.Example.", True),
            (["*.example"], "server.example", False),  # all of a top level
            (["*.a.example"], "b.a.example", True),
            (["*.a.example"], "c.b.a.example", False),
            (["*.a.example"], "a.example", False),
            (["b*.a.example"], "bc.a.example", False),
            (["x.example"], "server.example", False),  # the common name does not count then
            ([], "server.example", True),
            ([], "other.example", False),
        ],
    )
    def test_names(self, names, host, fits):
        assert is_for(made("server.example", *map(x509.DNSName, names)), host) is fits

    def test_addresses(self):
        one = made("192.0.2.1", x509.IPAddress(ipaddress.ip_address("192.0.2.1")))
        assert is_for(one, "192.0.2.1")
        assert not is_for(one, "192.0.2.2")
        assert not is_for(made("192.0.2.1"), "192.0.2.1")
        assert not is_for(b"nonsense", "server.example")
