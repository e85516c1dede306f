"""PEM and DER taken apart, as far as engines need it; what is inside is theirs. Standard library only."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

from modemtls.tlsengine.errors import CredentialError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CERTIFICATES", "CRLS", "children", "objects", "split_der"]

CERTIFICATES = ("CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE")
CRLS = ("X509 CRL",)
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_SEQUENCE = 0x30


def _element(data: bytes, at: int) -> tuple[int, int, int]:
    """Return tag, start of the content and end of the element; raises :exc:`ValueError`."""
    if at + 2 > len(data):
        raise ValueError("it ends in the middle of an element")
    length, start = data[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4 or start + count > len(data):
            raise ValueError("an element's length cannot be read")
        length, start = int.from_bytes(data[start : start + count], "big"), start + count
    if start + length > len(data):
        raise ValueError("it ends in the middle of an element")
    return data[at], start, start + length


def split_der(data: bytes) -> list[bytes]:
    """Return the elements that stand one after the other in ``data``; raises :exc:`ValueError`."""
    found, at = [], 0
    while at < len(data):
        _, _, end = _element(data, at)
        found.append(data[at:end])
        at = end
    return found


def children(element: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each element inside of the first in ``element``; raises :exc:`ValueError`."""
    _, at, end = _element(element, 0)
    while at < end:
        tag, start, after = _element(element, at)
        yield tag, element[start:after]
        at = after


def objects(data: bytes, labels: tuple[str, ...], what: str) -> list[bytes]:
    """Return the DER of each object in ``data``, be it PEM (blocks of other labels are skipped) or DER.

    ``what`` names it in the :exc:`modemtls.tlsengine.CredentialError` that is raised if there is none or it is broken.
    """
    if not data:
        return []
    try:
        if data[0] == _SEQUENCE:
            return split_der(data)
        blocks = [(label.decode(), text) for label, text in _BLOCK.findall(data)]
        found = [base64.b64decode(b"".join(text.split()), validate=True) for label, text in blocks if label in labels]
    except (binascii.Error, ValueError) as error:
        raise CredentialError(f"{what}: neither PEM nor DER ({error})") from error
    if not found:
        raise CredentialError(f"{what}: neither PEM nor DER, or nothing of the kind in it")
    return found
