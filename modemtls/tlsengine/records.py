"""Records of DTLS 1.2 as they stand in datagrams. Standard library only."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["connection_id", "records", "whole_records"]

_HEADER, _LENGTH_AT = 13, 11  # RFC 6347, section 4.1
_WITH_CID = 25  # content type tls12_cid, RFC 9146, section 4: the Connection ID stands before the length


def records(data: bytes) -> Iterator[bytes]:
    """Cut apart records that were written one after the other, none of them with a Connection ID."""
    while data:
        end = _HEADER + int.from_bytes(data[_LENGTH_AT:_HEADER], "big")
        yield data[:end]
        data = data[end:]


def whole_records(datagram: bytes) -> bytes:
    """Return the records that are there to their end, of a datagram whose end may be missing.

    None of them with a Connection ID that has bytes.
    """
    end = 0
    for record in records(datagram):
        if len(record) < _HEADER or len(record) < _HEADER + int.from_bytes(record[_LENGTH_AT:_HEADER], "big"):
            break
        end += len(record)
    return datagram[:end]


def connection_id(datagram: bytes, length: int) -> bytes | None:
    """Return the Connection ID that a datagram bears, by a receiver whose own ones have ``length`` bytes; or None."""
    if len(datagram) < _HEADER + length or datagram[0] != _WITH_CID:
        return None
    return datagram[_LENGTH_AT : _LENGTH_AT + length]
