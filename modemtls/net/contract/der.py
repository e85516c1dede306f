"""DER taken apart as far as the contract needs it. Standard library only."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["is_element", "serial_number", "subject_public_key_info"]

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
