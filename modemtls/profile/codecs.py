"""Neutral codecs: small conversions that several modems need, named in profiles.

Vectors and rules come from the manuals that use them; nothing here is special to one modem.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from modemtls.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CODECS", "Codec", "der", "is_pem", "pem_lf", "xor16"]

# RFC 7468, 3: label, base64 lines, the same label; white space around lines is tolerated on input.
_PEM = re.compile(
    rb"-----BEGIN ([A-Z0-9][A-Z0-9 ]*)-----[ \t]*\r?\n((?:[A-Za-z0-9+/=]+[ \t]*\r?\n)+)"
    rb"-----END \1-----[ \t]*(?:\r?\n|\Z)"
)


def xor16(data: bytes) -> int:
    """XOR of the data as big-endian 16-bit words; an odd last byte is the high half of a final word."""
    if len(data) % 2:
        data += b"\0"
    total = 0
    for (word,) in struct.iter_unpack(">H", data):
        total ^= word
    return total


def is_pem(data: bytes) -> bool:
    """Tell whether the data is PEM blocks and nothing else but blank lines between them."""
    position = 0
    found = False
    while position < len(data):
        if data[position : position + 1].isspace():
            position += 1
            continue
        match = _PEM.match(data, position)
        if match is None:
            return False
        found = True
        position = match.end()
    return found


def pem_lf(data: bytes) -> bytes:
    """PEM with LF line ends only. Raises ConfigurationError if it is no PEM."""
    if not is_pem(data):
        raise ConfigurationError("not PEM: expected -----BEGIN …-----, base64 lines, -----END …-----")
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def der(data: bytes) -> bytes:
    """Return the DER form: of PEM its first block, of DER itself. Raises ConfigurationError for anything else."""
    match = _PEM.search(data)
    if match is not None:
        try:
            return base64.b64decode(b"".join(match.group(2).split()), validate=True)
        except binascii.Error as error:
            raise ConfigurationError(f"not PEM: {error}") from None
    if data[:1] == b"\x30":  # X.690: certificates and keys are SEQUENCEs
        return data
    raise ConfigurationError("neither PEM nor DER")


def _digest(name: str, *, of_der: bool = False) -> Callable[[bytes], str]:
    def digest(data: bytes) -> str:
        return hashlib.new(name, der(data) if of_der else data, usedforsecurity=False).hexdigest()

    return digest


def _text(data: bytes) -> str:
    if not (data.isascii() and data.decode("ascii").isprintable()):
        raise ConfigurationError("this modem takes it as text only: printable ASCII")
    return data.decode("ascii")


def _size(data: bytes | str) -> int:
    return len(data) if isinstance(data, bytes) else len(data.encode())


@dataclass(frozen=True, slots=True)
class Codec:
    """A named conversion. ``takes`` are value types of the language, ``gives`` is one."""

    name: str
    takes: frozenset[str]
    gives: str
    convert: Callable[..., bytes | str | int]


_BYTES: Final = frozenset({"bytes"})
CODECS: Final[dict[str, Codec]] = {
    one.name: one
    for one in (
        Codec("xor16", _BYTES, "int", xor16),
        Codec("md5", _BYTES, "text", _digest("md5")),
        Codec("md5der", _BYTES, "text", _digest("md5", of_der=True)),
        Codec("sha256", _BYTES, "text", _digest("sha256")),
        Codec("sha256der", _BYTES, "text", _digest("sha256", of_der=True)),
        Codec("hex", _BYTES, "text", lambda data: data.hex().upper()),
        Codec("text", _BYTES, "text", _text),
        Codec("pemlf", _BYTES, "bytes", pem_lf),
        Codec("der", _BYTES, "bytes", der),
        Codec("size", frozenset({"bytes", "text", "host", "word"}), "int", _size),
    )
}
