"""What is kept in a caller's resumption buffer, and how whatever else is in it is recognised.

Layout: magic (4), version (1), kind (1), length of the engine's word (1), the word, length of the payload (4, big
endian), digest of all that and the payload (16), payload, zeros to the end. The buffer is the caller's; all zeros mean
that there is no session.
"""

from __future__ import annotations

import enum
import hashlib
from typing import Final, NamedTuple, TypeAlias

__all__ = ["Buffer", "Kept", "Kind", "clear", "is_clear", "is_marked", "kind_of", "read", "write"]

Buffer: TypeAlias = "bytearray | memoryview"

_MAGIC: Final = b"mtls\x01"
_ANY: Final = tuple(b"mtls" + bytes([version]) for version in range(1, 9))  # a control character: no text begins so
_DIGEST: Final = 16


class Kind(enum.IntEnum):
    """What a payload is."""

    SESSION = 1  # to be offered in a handshake
    CONNECTION = 2  # the whole state of an association; to be taken up once, without a handshake
    TAKEN = 3  # nothing: what was here has been taken up, and lives


class Kept(NamedTuple):
    """What was in a buffer."""

    kind: Kind
    payload: bytes


def clear(buffer: Buffer) -> None:
    """Fill it with zeros."""
    buffer[:] = bytes(len(buffer))


def is_clear(buffer: Buffer) -> bool:
    """Whether it holds nothing but zeros."""
    return not any(buffer)


def write(buffer: Buffer, engine: str, kind: Kind, payload: bytes) -> bool:
    """Put ``payload`` into the buffer, zeros behind it. If it does not fit the buffer is zeroed, and False returned."""
    word = engine.encode("ascii")
    head = _MAGIC + bytes([kind, len(word)]) + word + len(payload).to_bytes(4, "big")
    record = head + _check(head, payload) + payload
    if len(record) > len(buffer):
        clear(buffer)
        return False
    buffer[:] = record + bytes(len(buffer) - len(record))
    return True


def read(buffer: Buffer, engine: str) -> Kept | None:
    """Return what :func:`write` put there for the same engine; None for anything else, whatever it is."""
    found = _read(bytes(buffer))
    return found[1] if found is not None and found[0] == engine.encode("ascii") else None


def is_marked(data: bytes) -> bool:
    """Whether it begins as what :func:`write` makes, in this version or another, whatever has become of the rest."""
    return data.startswith(_ANY)


def kind_of(buffer: bytes | Buffer) -> Kind | None:
    """Return what :func:`write` put there, for whichever engine; None for anything else, whatever it is."""
    found = _read(bytes(buffer))
    return None if found is None else found[1].kind


def _read(data: bytes) -> tuple[bytes, Kept] | None:
    if not data.startswith(_MAGIC) or len(data) < len(_MAGIC) + 2:
        return None
    kind, length = data[len(_MAGIC)], data[len(_MAGIC) + 1]
    start = len(_MAGIC) + 2 + length + 4
    head, payload = data[:start], data[start + _DIGEST :]
    if kind not in Kind.__members__.values():
        return None
    payload = payload[: int.from_bytes(head[-4:], "big")]
    if data[start : start + _DIGEST] != _check(head, payload):
        return None
    return head[len(_MAGIC) + 2 : -4], Kept(Kind(kind), payload)


def _check(head: bytes, payload: bytes) -> bytes:
    return hashlib.sha256(head + payload).digest()[:_DIGEST]
