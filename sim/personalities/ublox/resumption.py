"""Session id and master secret of a real session, as op code 13 hands them out and takes them back.

What OpenSSL keeps of a session is an ASN.1 structure (ssl/ssl_asn1.c: SSL_SESSION): version, protocol, suite, session
id, master secret, and more that a modem would keep to itself. The more is remembered by session id here.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, NamedTuple

from modemtls.tlsengine import sessions

if TYPE_CHECKING:
    from modemtls.tlsengine import Engine, Settings

__all__ = ["Memory", "Session"]

_INTEGER, _OCTETS, _SEQUENCE = 0x02, 0x04, 0x30


class Session(NamedTuple):
    """What there is to hand out."""

    identity: bytes
    secret: bytes
    der: bytes


class Memory:
    """The sessions of a module: what the host is given stands for them."""

    def __init__(self) -> None:
        self._by_identity: dict[bytes, bytes] = {}
        self._by_token: dict[str, bytes] = {}

    def plain(self, session: Session) -> tuple[str, str]:
        """Hand a session out as session id and master secret, both base64."""
        self._by_identity[session.identity] = session.der
        return base64.b64encode(session.identity).decode(), base64.b64encode(session.secret).decode()

    def encrypted(self, session: Session) -> str:
        """Hand a session out as a string that means nothing to anybody else."""
        token = base64.b64encode(_scrambled(session.der)).decode()
        self._by_token[token] = session.der
        return token

    def recall(self, data: tuple[str, ...]) -> bytes:
        """Return the session that the host's strings stand for; empty if they stand for none.

        A master secret that was altered is taken as it is: the peer will see.
        """
        if len(data) == 1:
            return self._by_token.get(data[0], b"")
        if len(data) != 2:
            return b""
        identity, secret = (base64.b64decode(text) for text in data)
        der = self._by_identity.get(identity, b"")
        known = parse(der) if der else None
        if known is None or len(known.secret) != len(secret):
            return b""
        return der.replace(known.secret, secret, 1)


def _scrambled(der: bytes) -> bytes:
    """Return 96 bytes that a session of a module could be, encrypted."""
    from hashlib import sha256

    return b"".join(sha256(bytes([n]) + der).digest() for n in range(3))


def exported(engine: Engine, settings: Settings) -> Session | None:
    """Return the session of a connection that is up; None if it cannot be resumed by session id."""
    der = sessions.unpack(sessions.SESSION, sessions.demands("openssl", settings), engine.export_session())
    return parse(der) if der else None


def offered(engine: Engine, settings: Settings, der: bytes) -> bool:
    """Offer a session before the handshake."""
    return engine.offer_session(sessions.pack(sessions.SESSION, sessions.demands("openssl", settings), der))


def parse(der: bytes) -> Session | None:
    """Take a session apart; None if it has no session id."""
    tag, content, _ = _item(der)
    if tag != _SEQUENCE:
        return None
    found: list[bytes] = []
    while content and len(found) < 3:
        tag, value, content = _item(content)
        if tag == _OCTETS:
            found.append(value)
        elif tag != _INTEGER:
            break
    if len(found) < 3 or not found[1]:
        return None
    return Session(found[1], found[2], der)


def _item(der: bytes) -> tuple[int, bytes, bytes]:
    """Return the first item's tag and content, and what follows."""
    tag, length, start = der[0], der[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[2:start], "big")
    return tag, der[start : start + length], der[start + length :]
