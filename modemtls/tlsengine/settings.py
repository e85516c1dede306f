"""What a connection may do and what it demands of its peer. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import TYPE_CHECKING

from modemtls.tlsengine.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

__all__ = ["FRAGMENTS", "Psk", "Settings", "Timers", "Verify", "Version"]

#: What a record's payload can be limited to, in bytes (RFC 6066, section 4).
FRAGMENTS = (512, 1024, 2048, 4096)


class Version(IntEnum):
    """A protocol version by its TLS name and its number on the line.

    Over datagrams TLS 1.0 and 1.1 mean DTLS 1.0, and TLS 1.2 means DTLS 1.2.
    """

    TLS1_0 = 0x0301
    TLS1_1 = 0x0302
    TLS1_2 = 0x0303
    TLS1_3 = 0x0304


class Verify(Enum):
    """What is demanded of the peer's certificate."""

    NONE = "none"
    """Nothing: a client takes any certificate, a server asks for none. ``verify_code`` is told all the same."""
    OPTIONAL = "optional"
    """A server asks for one and checks it if there is one. For a client the same as REQUIRED."""
    REQUIRED = "required"
    """There has to be one, and a chain from it to a trust anchor, with the name if there is a ``host``."""
    JUDGED = "judged"
    """There has to be one, any; the caller judges it by ``Info.verify_errors``, ``peer_chain`` and ``verified_chain``
    between the end of the handshake and the first byte of data."""


@dataclass(frozen=True, slots=True)
class Psk:
    """A client's pre-shared key. Both are bytes of any value, the identity may be empty, the key may not."""

    identity: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Timers:
    """Retransmission in a handshake over datagrams, in seconds.

    The first wait is ``minimum``; each retransmission doubles it, up to ``maximum``. When a wait of ``maximum`` has
    passed, the handshake fails (:exc:`~modemtls.tlsengine.errors.HandshakeTimeoutError`). Both equal: one wait, nothing
    is sent again.
    """

    minimum: float = 1.0
    maximum: float = 60.0

    def __post_init__(self) -> None:
        if not 0 < self.minimum <= self.maximum < (1 << 32) / 1000:  # 32-bit milliseconds
            raise SettingsError(f"retransmission timers {self.minimum} s to {self.maximum} s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that an engine is told. Certificates, keys and CRLs are PEM or DER, several of them in a row where it fits.

    ``server``: the role. ``datagram``: DTLS instead of TLS.

    ``min_version`` and ``max_version``: what may be negotiated. Over datagrams a maximum above DTLS 1.2 means 1.2.

    ``suites``: IANA numbers in order of preference; what no engine has is skipped; a list without TLS 1.3 suites rules
    TLS 1.3 out, one without others what came before it. None: all that fit, see
    :func:`modemtls.tlsengine.suites.select`.

    ``legacy``: takes what is no longer held safe, too: keys below 2048 (RSA) or 224 bits, SHA-1 signatures.

    ``psk``: a client's pre-shared key; it has suites without certificates only, and refuses any certificate.
    ``psks``: a server's, from identity to key; ``psk_hint`` is sent to clients of up to TLS 1.2. A server may have a
    certificate as well.

    ``ca``: trust anchors, and certificates that help to build a chain. ``anchors``: trust anchors too, that may be
    intermediate or leaf certificates; while there are any, what is in ``ca`` may be so as well. ``crls``: what a CRL of
    its issuer lists is refused; that there is no CRL of an issuer is no reason to. ``chain`` (leaf first) and ``key``
    (encrypted if there is a ``key_password``) are shown to the peer.

    ``verify``, ``check_dates`` and ``at`` (None: now): the check of the peer's chain. ``host``: the name or address
    that the certificate must bear; ``common_name_counts``: also as common name where it has no alternative names at
    all.

    ``server_name``: sent as SNI, unless it is an address. ``alpn``: protocols in order of preference; a server
    refuses a client that offers others only.

    ``mtu``: largest datagram that is sent, in bytes of UDP payload; ``handshake_mtu``: largest of a handshake, None for
    the same. ``timers``: None is the engine's own, 1 s to 60 s.
    ``cookies``: a server over datagrams has the client return a cookie before it keeps anything (RFC 6347, 4.2.1).
    ``cid``: RFC 9146, datagrams only: the Connection ID by which the peer is to call us. ``b""``: we want none, the
    peer may have one. None: not offered.

    ``fragment``: the peer is asked to put no more than so many bytes into one record, and we do not either (RFC 6066,
    section 4: 512, 1024, 2048 or 4096); a client's, over datagrams. None: nothing is asked.

    ``tickets``: sessions are resumed by tickets that the client keeps (RFC 5077) too, not only by what both keep; up to
    TLS 1.2.

    ``keylog``: called with each line of an NSS key log, without line end. It is as secret as the keys.
    """

    server: bool = False
    datagram: bool = False
    min_version: Version = Version.TLS1_2
    max_version: Version = Version.TLS1_3
    suites: tuple[int, ...] | None = None
    legacy: bool = False
    psk: Psk | None = None
    psks: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)
    psk_hint: bytes = b""
    ca: bytes = b""
    anchors: bytes = b""
    crls: bytes = b""
    chain: bytes = b""
    key: bytes = field(default=b"", repr=False)
    key_password: bytes = field(default=b"", repr=False)
    verify: Verify = Verify.REQUIRED
    check_dates: bool = True
    at: datetime | None = None
    host: str = ""
    common_name_counts: bool = True
    server_name: str = ""
    alpn: tuple[bytes, ...] = ()
    mtu: int = 1232  # what IPv6 lets through everywhere (1280, RFC 8200, section 5) without its header and UDP's
    handshake_mtu: int | None = None
    timers: Timers | None = None
    cookies: bool = True
    cid: bytes | None = None
    fragment: int | None = None
    tickets: bool = True
    keylog: Callable[[bytes], None] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse what no engine could make sense of."""
        if self.min_version > self.max_version:
            raise SettingsError("the minimum version is above the maximum version")
        if self.datagram and self.min_version > Version.TLS1_2:
            raise SettingsError("there is no DTLS above 1.2 here")
        if self.psk is not None and (self.server or not self.psk.key):
            raise SettingsError("psk is a client's, and its key is not empty; a server has psks")
        if (self.psks or self.psk_hint) and not self.server:
            raise SettingsError("psks and psk_hint are a server's; a client has psk")
        if not all(self.psks.values()):
            raise SettingsError("a pre-shared key is empty")
        if bool(self.chain) != bool(self.key):
            raise SettingsError("a certificate without its key, or a key without its certificate")
        if self.server and not (self.chain or self.psks):
            raise SettingsError("a server needs a certificate or pre-shared keys")
        if not self.datagram and (self.cid is not None or self.timers is not None):
            raise SettingsError("Connection ID and retransmission timers are for datagrams")
        for size in (self.mtu, self.flight):
            if self.datagram and not 256 <= size <= 65507:  # OpenSSL's least; UDP's most over IPv4
                raise SettingsError(f"datagrams of at most {size} bytes: 256 to 65507 is possible")
        if any(not 0 < len(name) < 256 for name in self.alpn):
            raise SettingsError("an ALPN protocol name has 1 to 255 bytes (RFC 7301, section 3.1)")
        if self.fragment is not None and (self.server or not self.datagram or self.fragment not in FRAGMENTS):
            raise SettingsError(f"a client over datagrams may ask for records of at most {FRAGMENTS} bytes")
        if self.cid is not None and len(self.cid) > 32:
            raise SettingsError("a Connection ID has at most 32 bytes here")

    @property
    def flight(self) -> int:
        """The largest datagram of a handshake."""
        return self.mtu if self.handshake_mtu is None else self.handshake_mtu

    @property
    def highest(self) -> Version:
        """The highest version that can come of it."""
        return min(self.max_version, Version.TLS1_2) if self.datagram else self.max_version
