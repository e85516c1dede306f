"""TLSA records where the TLS is a modem's: what of them can be had by giving it certificates, or by looking afterwards.

A modem has no DANE. But one whole certificate can be given to it as the only CA (usage 2), and as the certificate that
the server must show (usage 3, where it compares); and where it hands out what the server showed, that is judged here.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from modemtls.errors import CertificateError, HandshakeError, NotSupportedError
from modemtls.net.contract.credentials import pem
from modemtls.net.contract.dane import DANE_EE, DANE_TA, Fault, judge, usable
from modemtls.net.contract.der import is_authority, is_no_authority, self_issued

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modemtls.modem.credentials import CredentialKind
    from modemtls.net.contract import Certificates, TlsaRecord

__all__ = ["Means", "judge_leaf", "means_for"]

#: openssl/x509_vfy.h: X509_V_ERR_HOSTNAME_MISMATCH, as the judge knows faults.
_NAME_MISMATCH: Final = 62


@dataclass(frozen=True, slots=True)
class Means:
    """How a modem is brought to accept whom the records accept.

    ``verified``: it verifies a chain. ``material``: what it is given for that instead of the trust store; empty: the
    trust store. ``records``: those that the certificate it hands out afterwards is judged by.
    """

    verified: bool
    material: Mapping[CredentialKind, bytes] = field(default_factory=dict, repr=False)
    records: tuple[TlsaRecord, ...] = ()


def means_for(
    security: Certificates, records: Sequence[TlsaRecord], modem: str, *, pinning: bool, shows: bool
) -> Means:
    """Return how these records come into force; ``pinning``, ``shows``: what the modem can do.

    Raises :class:`NotSupportedError` for what cannot, :class:`HandshakeError` if the peer is to be verified and no
    record can be used, :class:`CertificateError` if there is nothing to verify it with.
    """
    decide = usable(records, enforced=security.verify) if security.dane else ()
    if security.verify and security.dane and records and not decide:
        raise HandshakeError("none of the TLSA records can be used, so no peer can be accepted")
    if not decide:
        if security.verify and security.trusted is None:
            raise CertificateError("no CA and no TLSA record to verify the peer with")
        return Means(security.verify)
    try:
        found = _by_certificates(security, decide, pinning=pinning)
    except ValueError:
        raise _refused("what a TLSA record holds is no certificate", modem) from None
    if found is not None:
        return found
    if shows and all(one.usage == DANE_EE for one in decide):
        return Means(verified=False, records=decide)
    if len(decide) > 1:
        raise _refused(f"it takes one TLSA record, not {len(decide)}", modem)
    one = decide[0]
    said = f"TLSA record {one.usage} {one.selector} {one.matching}"
    if one.usage not in {DANE_TA, DANE_EE}:
        raise _refused(f"{said}: of usages it takes 2 and 3", modem)
    if one.selector or one.matching:
        raise _refused(f"{said}: it takes whole certificates, selector 0 and matching type 0", modem)
    if one.usage == DANE_TA:
        raise _refused(f"{said}: this certificate is no CA's", modem)
    if self_issued(one.data):
        raise _refused(f"{said}: the modem might accept whatever else this certificate has issued", modem)
    raise _refused(f"{said}: this certificate was issued by somebody else, whose the modem would need", modem)


def _refused(why: str, modem: str) -> NotSupportedError:
    return NotSupportedError(f"{modem} has no DANE of its own: {why}", capability="dane", choices=('engine="host"',))


def _by_certificates(security: Certificates, records: Sequence[TlsaRecord], *, pinning: bool) -> Means | None:
    """Return what to give the modem for one record with a whole certificate, if anything serves."""
    if len(records) > 1 or (records[0].selector, records[0].matching) != (0, 0):
        return None
    (one,) = records
    certificate = pem((one.data,))
    if one.usage == DANE_TA:
        # A leaf is no anchor, and as the only CA its own certificate could become one.
        return Means(True, {"ca": certificate}) if is_authority(one.data) else None
    if one.usage != DANE_EE:
        return None
    if self_issued(one.data) and pinning:
        return Means(True, {"ca": certificate, "peer": certificate})
    if self_issued(one.data) and is_no_authority(one.data):
        return Means(True, {"ca": certificate})  # nothing else can have been issued under it
    if pinning and security.verify and security.trusted is not None:
        return Means(True, {"peer": certificate})  # and a chain besides, which refuses more than was asked, never less
    return None


def judge_leaf(records: Sequence[TlsaRecord], leaf: bytes, name: str | None, where: str) -> None:
    """Raise :class:`CertificateError` unless a server that showed ``leaf`` (DER) is accepted by these records.

    ``name``: whom the certificate must be for; None: that is not checked.
    """
    faults = []
    if name is not None and not is_for(leaf, name):
        faults.append(Fault(_NAME_MISMATCH, 0, f"the certificate is not for {name!r}"))
    why = judge(records, leaf=leaf, path=(leaf,), faults=faults, anchored=False)
    if why:
        raise CertificateError(f"the certificate of {where} was refused: {why}")


def is_for(certificate: bytes, name: str) -> bool:
    """Whether a certificate (DER) is for a host: RFC 6125, 6.4; its common name counts if it names no host else."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        parsed = x509.load_der_x509_certificate(certificate)
        found = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = found.get_values_for_type(x509.DNSName)
        addresses = [str(one) for one in found.get_values_for_type(x509.IPAddress)]
    except x509.ExtensionNotFound:
        names, addresses = [], []
    except ValueError:
        return False
    try:
        return str(ipaddress.ip_address(name)) in addresses
    except ValueError:
        pass
    if not names:
        names = [str(one.value) for one in parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return any(_matches(pattern, name) for pattern in names)


def _matches(pattern: str, name: str) -> bool:
    """Whether a name in a certificate covers a host; ``*`` stands for the whole of its first label alone."""
    pattern, name = pattern.rstrip(".").lower(), name.rstrip(".").lower()
    if pattern == name:
        return bool(name)
    star, dot, rest = pattern.partition(".")
    _, other, parent = name.partition(".")
    return star == "*" and bool(dot and other) and "." in rest and rest == parent
