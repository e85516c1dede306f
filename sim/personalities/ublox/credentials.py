"""What the module makes of a certificate or key: DER of it, whom it is for, how long it lasts."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["UnreadableError", "as_pem", "certificate", "der_of", "describe", "foreign_attribute", "key_bits"]

_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_PUBLIC_KEY, _PRIVATE_KEY = 5, 2
_ACCEPTED = {  # UBX-17003787, 20.3.2, as a public script quotes it
    "2.5.4.3": "commonName",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "countryName",
    "2.5.4.7": "localityName",
    "2.5.4.8": "stateOrProvinceName",
    "2.5.4.10": "organizationName",
    "2.5.4.11": "organizationalUnitName",
    "0.9.2342.19200300.100.1.1": "userID",
    "0.9.2342.19200300.100.1.25": "domainComponent",
    "1.2.840.113549.1.9.1": "emailAddress",
    "1.2.840.113549.1.9.2": "unstructuredName",
}
_COMMON_NAME = "2.5.4.3"


class UnreadableError(ValueError):
    """Not a certificate or key of the kind asked for."""


def der_of(data: bytes, *, pem: bool, lines: bool) -> bytes:
    """Return DER of what was imported; of several things in PEM the first.

    ``pem``: PEM is taken; ``lines``: it has to have line ends. Raises :class:`UnreadableError`.
    """
    if data[:1] == b"\x30":
        return data
    found = _PEM.search(data)
    if not found:
        raise UnreadableError("neither PEM nor DER")
    if not pem:
        raise UnreadableError("PEM, and this one takes DER alone")
    body = found[2]
    if lines and b"\n" not in body:
        raise UnreadableError("PEM without line ends")
    if b":" in body:  # RFC 1421 headers of an encrypted key
        raise UnreadableError("PEM with headers")
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error as error:
        raise UnreadableError(f"PEM: {error}") from None


def describe(kind: int, der: bytes, password: str, dated: str) -> tuple[str, str]:
    """Return subject and expiry (``dated`` is strftime's) of a certificate, nothing of a key.

    Raises :class:`UnreadableError`.
    """
    if kind == _PRIVATE_KEY:
        private_key(der, password)
        return "", ""
    if kind == _PUBLIC_KEY:
        _load_public(der)
        return "", ""
    loaded = certificate(der)
    names = [str(item.value) for item in loaded.subject if item.oid.dotted_string == _COMMON_NAME]
    return names[0] if names else "", loaded.not_valid_after_utc.strftime(dated)


def certificate(der: bytes) -> x509.Certificate:
    """Return the certificate; raises :class:`UnreadableError`."""
    from cryptography import x509

    try:
        return x509.load_der_x509_certificate(der)
    except ValueError as error:
        raise UnreadableError(f"no certificate: {error}") from None


def private_key(der: bytes, password: str) -> Any:
    """Return the private key; raises :class:`UnreadableError`."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    try:
        return load_der_private_key(der, password.encode() or None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UnreadableError(f"no key: {error}") from None


def _load_public(der: bytes) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        return load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UnreadableError(f"no public key: {error}") from None


def as_pem(der: bytes, label: str) -> bytes:
    """Write DER as PEM."""
    text = base64.encodebytes(der).replace(b"\n", b"")
    rows = b"\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return b"-----BEGIN %b-----\n%b\n-----END %b-----\n" % (label.encode(), rows, label.encode())


def foreign_attribute(der: bytes) -> str:
    """Return the first attribute of a certificate's subject that SARA-R4 does not accept, as dotted number."""
    for item in certificate(der).subject:
        if item.oid.dotted_string not in _ACCEPTED:
            return item.oid.dotted_string
    return ""


def key_bits(der: bytes) -> tuple[str, int]:
    """Return kind (``rsa``, ``ec``, or another) and size in bits of a certificate's public key."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    key = certificate(der).public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return "rsa", key.key_size
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "ec", key.key_size
    return "other", 0
