"""DANE: TLSA records (RFC 6698) and what they say about a peer's certificates.

A caller that has verified a chain hands in what was found; nothing here looks at signatures or dates itself.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from modemtls.errors import ConfigurationError, NotSupportedError, quoted
from modemtls.net.contract.der import is_element, subject_public_key_info

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Fault", "TlsaRecord", "check_records", "digest", "judge", "lwm2m_record", "usable"]

PKIX_TA: Final = 0
PKIX_EE: Final = 1
DANE_TA: Final = 2
DANE_EE: Final = 3
_DIGESTS: Final = {1: hashlib.sha256, 2: hashlib.sha512}

# openssl/x509_vfy.h: X509_V_ERR_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH; _UNABLE_TO_GET_ISSUER_CERT,
# _DEPTH_ZERO_SELF_SIGNED_CERT, _SELF_SIGNED_CERT_IN_CHAIN, _UNABLE_TO_GET_ISSUER_CERT_LOCALLY.
_NAME: Final = frozenset({62, 64})
_NO_ANCHOR: Final = frozenset({2, 18, 19, 20})


@dataclass(frozen=True, slots=True)
class TlsaRecord:
    """One record, in the numbers of RFC 6698.

    ``usage``: 0 CA constraint, 1 service certificate constraint, 2 trust anchor assertion, 3 domain-issued certificate.
    ``selector``: 0 whole certificate, 1 SubjectPublicKeyInfo, both DER. ``matching``: 0 the bytes themselves, 1
    SHA-256, 2 SHA-512. Numbers without a meaning make the record unusable, not wrong.
    """

    usage: int
    selector: int
    matching: int
    data: bytes

    def __post_init__(self) -> None:
        for name in ("usage", "selector", "matching"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 255:
                raise ConfigurationError(f"TLSA record: {name} is a number of one byte, not {quoted(value)}")
        if not isinstance(self.data, bytes | bytearray | memoryview):
            raise ConfigurationError(f"TLSA record: data is bytes, not {type(self.data).__name__}")
        object.__setattr__(self, "data", bytes(self.data))

    @property
    def well_formed(self) -> bool:
        """Whether its numbers have a meaning, and its data the form that they call for."""
        if self.usage > DANE_EE or self.selector > 1 or self.matching > 2:
            return False
        if self.matching == 0:
            return is_element(self.data)
        return len(self.data) == _DIGESTS[self.matching]().digest_size

    def matches(self, certificate: bytes) -> bool:
        """Whether it describes this certificate (DER), whatever its usage."""
        if not self.well_formed:
            return False
        try:
            part = subject_public_key_info(certificate) if self.selector else certificate
        except ValueError:
            return False
        return self.data == (_DIGESTS[self.matching](part).digest() if self.matching else part)


def check_records(value: object) -> tuple[TlsaRecord, ...]:
    """Return a list of records, copied; raises :class:`ConfigurationError` for anything else."""
    if isinstance(value, list | tuple) and all(isinstance(one, TlsaRecord) for one in value):
        return tuple(value)
    raise ConfigurationError("DANE_TLSA_ARRAY: a list of TlsaRecord is wanted")


def usable(records: Iterable[TlsaRecord], *, enforced: bool) -> tuple[TlsaRecord, ...]:
    """Return the records that can decide something.

    Opportunistic DANE has no PKIX verification that usages 0 and 1 could constrain, so they are passed over.
    """
    return tuple(one for one in records if one.well_formed and (enforced or one.usage in (DANE_TA, DANE_EE)))


def digest(records: Iterable[TlsaRecord]) -> bytes:
    """Return 8 bytes that differ for other records: what was accepted by these is not accepted by others."""
    made = hashlib.sha256()
    for one in records:
        made.update(bytes([one.usage, one.selector, one.matching]) + len(one.data).to_bytes(4, "big") + one.data)
    return made.digest()[:8]


class Fault(NamedTuple):
    """One thing that is wrong with a chain. ``code``: OpenSSL's number; ``depth``: 0 is the peer's own certificate."""

    code: int
    depth: int
    text: str


def judge(
    records: Sequence[TlsaRecord],
    *,
    leaf: bytes,
    path: Sequence[bytes],
    faults: Sequence[Fault],
    anchored: bool,
) -> str:
    """Return why a peer is refused by these usable records, or ``""``: one that accepts it is enough.

    ``path``: the certificates as they were built into a chain, leaf first, each signed by the next one, DER.
    ``faults``: everything that was wrong with it, the name included where that was to be checked.
    ``anchored``: whether the path ends at a trust anchor of the *configuration* (not at one of these records).
    """
    if not path or not leaf:
        return "the peer showed no certificate"
    if not records:
        return "no usable TLSA record"
    if any(_accepts(one, leaf, path, faults, anchored=anchored) for one in records):
        return ""
    if not any(one.matches(each) for one in records for each in [leaf, *path]):
        return "no TLSA record matches any certificate of the peer"
    if faults:
        return "; ".join(f"{one.text} (verify code {one.code}, depth {one.depth})" for one in faults)
    return "the TLSA records match no certificate in its place"


def _accepts(
    record: TlsaRecord, leaf: bytes, path: Sequence[bytes], faults: Sequence[Fault], *, anchored: bool
) -> bool:
    if record.usage == DANE_EE:  # dates and issuer do not matter (RFC 7671, 5.1); the name does, as OpenSSL has it
        return record.matches(leaf) and not any(fault.code in _NAME for fault in faults)
    if record.usage == PKIX_EE:
        return anchored and not faults and record.matches(leaf)
    if record.usage == PKIX_TA:
        return anchored and not faults and any(map(record.matches, path[1:]))
    return any(
        record.matches(certificate) and _sound_up_to(depth, faults) for depth, certificate in enumerate(path) if depth
    )


def _sound_up_to(anchor: int, faults: Sequence[Fault]) -> bool:
    """Whether all is well below the certificate at ``anchor``, and nothing is wrong with it but that it is no anchor.

    Below it even a missing issuer counts: some engines call a signature that is not the issuer's by that name.
    """
    return not any(fault.depth < anchor or (fault.depth == anchor and fault.code not in _NO_ANCHOR) for fault in faults)


#: LwM2M 1.1, Security object, resource 13 to RFC 6698's matching type. 2 is SHA-384, which RFC 6698 does not have.
_LWM2M_MATCHING: Final = {0: 0, 1: 1, 3: 2}


def lwm2m_record(data: bytes, *, usage: int | None = None, matching_type: int | None = None) -> TlsaRecord:
    """Return the record that an LwM2M Security object (id 0) stands for.

    ``data``: resource 4, Server Public Key. ``usage``: resource 15, Certificate Usage, 3 if absent. ``matching_type``:
    resource 13 in *its* numbers (0 exact, 1 SHA-256, 2 SHA-384, 3 SHA-512), 0 if absent. Raises
    :class:`NotSupportedError` for SHA-384, :class:`ConfigurationError` for other numbers.
    """
    matching_type = 0 if matching_type is None else matching_type
    if matching_type == 2:
        raise NotSupportedError(
            "a TLSA record cannot hold a SHA-384",
            capability="dane_sha384",
            choices=("matching type 0 (exact), 1 (SHA-256) or 3 (SHA-512)",),
        )
    if matching_type not in _LWM2M_MATCHING:
        raise ConfigurationError(f"{quoted(matching_type)} is no matching type of LwM2M; 0 to 3 are")
    return TlsaRecord(DANE_EE if usage is None else usage, 0, _LWM2M_MATCHING[matching_type], data)
