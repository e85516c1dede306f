"""A throw-away PKI: good and bad certificates, all made in memory and written where a server wants files."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class Leaf:
    """One certificate with its key, as files."""

    cert: Path  # leaf first, then any intermediate
    key: Path

    @property
    def cert_pem(self) -> bytes:
        return self.cert.read_bytes()

    @property
    def key_pem(self) -> bytes:
        return self.key.read_bytes()


class Pki:
    """One CA and the leaves that tests ask for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA(key_type=trustme.KeyType.RSA)
        self.ca = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(self.ca)
        self._count = 0

    def leaf(self, *names: str, days: tuple[int, int] | None = None, ecdsa: bool = False) -> Leaf:
        """Issue a certificate for names or addresses; days = (not before, not after) counted from today."""
        kind = trustme.KeyType.ECDSA if ecdsa else trustme.KeyType.RSA
        limits = {}
        if days is not None:
            today = datetime.datetime.now(datetime.UTC)
            limits = {
                "not_before": today + datetime.timedelta(days=days[0]),
                "not_after": today + datetime.timedelta(days=days[1]),
            }
        return self._write(self.authority.issue_cert(*names, common_name=names[0], key_type=kind, **limits))

    def client(self, name: str = "gateway") -> Leaf:
        issued = self.authority.issue_cert(f"{name}@example.org", common_name=name, key_type=trustme.KeyType.RSA)
        return self._write(issued)

    def intermediate(self, *names: str) -> Leaf:
        child = self.authority.create_child_ca(key_type=trustme.KeyType.RSA)
        return self._write(child.issue_cert(*names, key_type=trustme.KeyType.RSA))

    def _paths(self) -> tuple[Path, Path]:
        self._count += 1
        return self.folder / f"leaf{self._count}.pem", self.folder / f"leaf{self._count}.key"

    def _write(self, issued: trustme.LeafCert) -> Leaf:
        cert, key = self._paths()
        cert.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        return Leaf(cert, key)

    def self_signed(self, name: str) -> Leaf:
        """Make a server's own certificate, which says that it issues no others."""
        return self._special(name, san=True, purpose=ExtendedKeyUsageOID.SERVER_AUTH)

    def common_name_only(self, name: str) -> Leaf:
        return self._special(name, san=False, purpose=ExtendedKeyUsageOID.SERVER_AUTH)

    def _special(self, name: str, *, san: bool, purpose: x509.ObjectIdentifier) -> Leaf:
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        today = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(today - datetime.timedelta(days=1))
            .not_valid_after(today + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        )
        if san:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        certificate = builder.sign(private, hashes.SHA256())
        cert, key = self._paths()
        cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key.write_bytes(private_pem(private))
        return Leaf(cert, key)


def private_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, password: bytes | None = None) -> bytes:
    """PKCS #8 PEM, encrypted if a password is given."""
    guard = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, guard)
