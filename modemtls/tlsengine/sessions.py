"""What is exported for later: packed so that whatever else comes back is recognised. Standard library only.

Layout: magic (4), digest of the demands (8), digest of the content (8), length (4, big endian), content. What follows
is ignored: buffers are larger than what is in them.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modemtls.tlsengine.settings import Settings

__all__ = ["ASSOCIATION", "SESSION", "demands", "pack", "unpack"]

SESSION, ASSOCIATION = b"mtS\x01", b"mtA\x01"
_DIGEST = 8
_HEADER = 4 + 2 * _DIGEST + 4


def demands(engine: str, settings: Settings) -> bytes:
    """Return a digest of what an engine demands of its peer and shows of itself.

    Resumption verifies nothing again: under other demands a session would get around them. Of a Connection ID its
    length counts, as how the records are that come with it; which one it is may be another each time.
    """
    s = settings
    cid = None if s.cid is None else len(s.cid)
    digest = hashlib.sha256()
    psk = (s.psk.identity, s.psk.key) if s.psk else ()
    for part in (
        engine, s.server, s.datagram, int(s.min_version), int(s.max_version), s.suites, s.legacy, psk, s.ca, s.anchors,
        s.crls, s.chain, s.verify.value, s.check_dates, s.host, s.common_name_counts, s.server_name, s.alpn, cid,
    ):  # fmt: skip
        text = repr(part).encode()
        digest.update(len(text).to_bytes(4, "big") + text)
    return digest.digest()[:_DIGEST]


def pack(magic: bytes, demanded: bytes, content: bytes) -> bytes:
    """Return ``content`` in its wrapping."""
    check = hashlib.sha256(magic + demanded + content).digest()[:_DIGEST]
    return magic + demanded + check + len(content).to_bytes(4, "big") + content


def unpack(magic: bytes, demanded: bytes, packed: bytes) -> bytes | None:
    """Return the content, or None if it is not what :func:`pack` made with the same magic and demands."""
    if len(packed) < _HEADER or not packed.startswith(magic + demanded):
        return None
    length = int.from_bytes(packed[_HEADER - 4 : _HEADER], "big")
    content = packed[_HEADER : _HEADER + length]
    return content if packed.startswith(pack(magic, demanded, content)) else None
