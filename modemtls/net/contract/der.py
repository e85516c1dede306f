"""DER taken apart as far as the contract needs it. Standard library only."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "is_authority",
    "is_element",
    "is_no_authority",
    "private_key_label",
    "self_issued",
    "serial_number",
    "subject_public_key_info",
]

_SEQUENCE, _VERSION = 0x30, 0xA0
_AFTER_SERIAL = 5  # RFC 5280, 4.1: serial, signature, issuer, validity, subject, and then subjectPublicKeyInfo


def _element(data: bytes, at: int) -> tuple[int, int, int]:
    """Return tag, start of the content and end of the element at ``at``; raises :exc:`ValueError`."""
    if at + 2 > len(data):
        raise ValueError("it ends in the middle of an element")
    length, start = data[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4 or start + count > len(data):
            raise ValueError("the length of an element cannot be read")
        length, start = int.from_bytes(data[start : start + count], "big"), start + count
    if start + length > len(data):
        raise ValueError("it ends in the middle of an element")
    return data[at], start, start + length


def _inside(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield tag, start and end of each whole element between ``start`` and ``end``; raises :exc:`ValueError`."""
    while start < end:
        tag, _, after = _element(data, start)
        yield tag, start, after
        start = after


def is_element(data: bytes) -> bool:
    """Whether ``data`` is one DER sequence and nothing more."""
    try:
        tag, _, end = _element(data, 0)
    except ValueError:
        return False
    return tag == _SEQUENCE and end == len(data)


def _parts(certificate: bytes) -> list[tuple[int, int, int]]:
    """Return the elements of what is signed in a certificate, from its serial number on."""
    _, start, _ = _element(certificate, 0)
    _, inner, end = _element(certificate, start)
    parts = list(_inside(certificate, inner, end))
    if parts and parts[0][0] == _VERSION:
        parts = parts[1:]
    if len(parts) <= _AFTER_SERIAL or parts[_AFTER_SERIAL][0] != _SEQUENCE:
        raise ValueError("no certificate")
    return parts


def subject_public_key_info(certificate: bytes) -> bytes:
    """Return that part of a certificate, DER; raises :exc:`ValueError` for what is no certificate."""
    _, start, end = _parts(certificate)[_AFTER_SERIAL]
    return certificate[start:end]


def serial_number(certificate: bytes) -> int:
    """Return it; raises :exc:`ValueError` for what is no certificate."""
    _, start, _ = _parts(certificate)[0]
    _, inner, end = _element(certificate, start)
    return int.from_bytes(certificate[inner:end], "big", signed=True)


#: The second element of a private key, by tag, and how PEM calls it: an AlgorithmIdentifier (RFC 5958, 2), the modulus
#: (RFC 8017, A.1.2), the key itself as an octet string (RFC 5915, 3).
_KEYS = {0x30: "PRIVATE KEY", 0x02: "RSA PRIVATE KEY", 0x04: "EC PRIVATE KEY"}
_INTEGER, _BOOLEAN, _EXTENSIONS = 0x02, 0x01, 0xA3
_BASIC_CONSTRAINTS = bytes.fromhex("551d13")  # RFC 5280, 4.2.1.9


def private_key_label(data: bytes) -> str | None:
    """Return what PEM calls a private key (DER) of this form; None for anything else, an encrypted one too."""
    try:
        _, start, end = _element(data, 0)
        parts = list(_inside(data, start, end))
    except ValueError:
        return None
    return _KEYS.get(parts[1][0]) if len(parts) > 1 and parts[0][0] == _INTEGER else None


def self_issued(certificate: bytes) -> bool:
    """Whether issuer and subject are the same; raises :exc:`ValueError` for what is no certificate."""
    parts = _parts(certificate)
    (_, at, end), (_, own, last) = parts[2], parts[4]
    return certificate[at:end] == certificate[own:last]


def is_authority(certificate: bytes) -> bool:
    """Whether a certificate says that it may issue others; raises :exc:`ValueError` for what is no certificate."""
    return _may_issue(certificate) is True


def is_no_authority(certificate: bytes) -> bool:
    """Whether a certificate says that it may issue none; raises :exc:`ValueError` for what is no certificate.

    One that does not say, as none of version 1 can, may be taken for a CA's by who trusts it.
    """
    return _may_issue(certificate) is False


def _may_issue(certificate: bytes) -> bool | None:
    """Return what the basic constraints say; None if there are none."""
    for tag, at, _ in _parts(certificate):
        if tag != _EXTENSIONS:
            continue
        _, start, _ = _element(certificate, at)
        _, first, last = _element(certificate, start)
        for _, extension, _ in _inside(certificate, first, last):
            _, inner, end = _element(certificate, extension)
            name, *rest = _inside(certificate, inner, end)
            if certificate[_element(certificate, name[1])[1] : name[2]] != _BASIC_CONSTRAINTS or not rest:
                continue
            _, value, _ = _element(certificate, rest[-1][1])
            _, begin, over = _element(certificate, value)
            flags = [
                certificate[_element(certificate, one)[1]]
                for kind, one, _ in _inside(certificate, begin, over)
                if kind == _BOOLEAN
            ]
            return bool(flags and flags[0])
    return None
