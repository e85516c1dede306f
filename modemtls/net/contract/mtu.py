"""What fits into one datagram: arithmetic of packet sizes, the same for every engine. Sizes are bytes."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Final

from modemtls.errors import ModemError
from modemtls.net.contract.interface import AddressFamily

__all__ = ["UNKNOWN_OVERHEAD", "RecordShape", "secure_inner", "udp_inner"]

_HEADERS: Final = {AddressFamily.IPV4: 20 + 8, AddressFamily.IPV6: 40 + 8}  # RFC 791, RFC 8200, RFC 768
#: What gets through where nothing is known: 576 (RFC 791) and 1280 (RFC 8200, section 5) without the headers.
_SAFE: Final = {AddressFamily.IPV4: 576 - 28, AddressFamily.IPV6: 1280 - 48}

#: A record's overhead where its cipher suite is not known: more than any suite needs.
UNKNOWN_OVERHEAD: Final = 64

_LARGEST_PAYLOAD: Final = 1 << 14  # RFC 5246, 6.2.1
_RECORD_HEADER: Final = 13  # DTLS 1.2: RFC 6347, section 4.1


@dataclass(frozen=True, slots=True)
class RecordShape:
    """What a DTLS 1.2 record adds to its payload by its cipher suite.

    ``nonce``: explicit nonce or IV; ``tag``: authentication tag or MAC; ``block``: the cipher text comes in
    multiples of it (1: in any size), with at least one byte of padding (RFC 5246, 6.2.3.2).
    """

    nonce: int
    tag: int
    block: int = 1

    def payload(self, room: int, cid: int = 0) -> int:
        """Return the largest payload whose record fits into ``room``; below 0 if none does.

        ``cid``: the length of the Connection ID that the record bears, which costs a byte for the inner type as well
        (RFC 9146, section 4); 0 for none.
        """
        left = room - _RECORD_HEADER - self.nonce - self.tag - (cid + 1 if cid else 0)
        return left if self.block == 1 else left // self.block * self.block - 1


def udp_inner(mtu: int | None, family: AddressFamily) -> int:
    """Return the largest UDP payload for packets of ``mtu``; None: that is not known.

    Of a family that is not known it is what gets through by either.
    """
    if mtu is None:
        return _SAFE.get(family, min(_SAFE.values()))
    return max(0, mtu - _HEADERS.get(family, max(_HEADERS.values())))


def secure_inner(lower: int, shape: RecordShape | None, *, cid: int = 0, limit: int | None = None) -> int:
    """Return the largest payload of one secured datagram whose record has at most ``lower`` bytes.

    ``shape`` None: the suite is not known. ``cid``: length of the Connection ID it bears. ``limit``: what the engine
    takes in one send, as a further bound. Raises :class:`ModemError` (``EMSGSIZE``) if not even an empty one fits.
    """
    if shape is None:
        size = lower - UNKNOWN_OVERHEAD - (cid + 1 if cid else 0)
    else:
        size = shape.payload(lower, cid)
    size = min(size, _LARGEST_PAYLOAD)
    if limit is not None:
        size = min(size, limit)
    if size < 0:
        raise ModemError(f"no record fits into datagrams of {lower} bytes", number=errno.EMSGSIZE)
    return size
