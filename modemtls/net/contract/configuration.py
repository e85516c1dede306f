"""What a secure connection has to look like: versions, suites, certificates, names.

Immutable, and checked here as far as that is possible without an engine. What an engine cannot do it refuses itself.
"""

from __future__ import annotations

import enum
import errno
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

from modemtls.errors import ConfigurationError, quoted
from modemtls.net.contract.credentials import Credential, Encrypted, Stored, check_credential
from modemtls.net.contract.interface import AddressFamily

if TYPE_CHECKING:
    from modemtls.net.contract.resumption import Buffer

__all__ = [
    "Certificates",
    "PreferredEndpoint",
    "Psk",
    "SocketConfiguration",
    "SslConfiguration",
    "TlsVersion",
    "check_dtls_timeouts",
    "check_flag",
    "check_list",
    "check_seconds",
    "shown_without",
]

#: RFC 6066, 3, takes a DNS host name, and that has at most 255 octets (RFC 1035, 2.3.4).
MAX_NAME = 255

#: Seconds: a first wait of 1 s, and of 60 s at most (RFC 6347, 4.2.4.1, and the contract's default).
DEFAULT_DTLS_TIMEOUTS = (1.0, 60.0)

#: Seconds: what 32-bit microseconds hold, the narrower of the two stacks' clocks.
MAX_DTLS_TIMEOUT = 4294.0


def check_flag(name: str, value: object) -> None:
    """Raise :class:`ConfigurationError` unless ``value`` is a bool: a check is not switched off by an empty text."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name}: True or False is wanted, not a {type(value).__name__}")


def check_list(name: str, value: object) -> tuple[object, ...]:
    """Return what a list holds, so that it cannot change or run out later; :class:`ConfigurationError` if it is none.

    A text and a mapping are none, though Python can iterate over them.
    """
    if isinstance(value, str | bytes | bytearray | Mapping) or not isinstance(value, Iterable):
        raise ConfigurationError(f"{name}: a list is wanted, not a {type(value).__name__}")
    return tuple(value)


def check_seconds(name: str, value: object) -> None:
    """Raise :class:`ConfigurationError` unless ``value`` is None or a finite number of seconds above 0."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigurationError(f"{name}: a number of seconds is wanted, not a {type(value).__name__}")
    if not (math.isfinite(value) and value > 0):
        raise ConfigurationError(f"{name}: must be more than 0 seconds, and not endless")


def shown_without(made: Any, secrets: Iterable[str]) -> str:
    """Return the ``repr`` of a dataclass instance, with what the fields ``secrets`` hold told by its size alone.

    All of them may hold a private key: one text is often certificate and key. A path and the name of a stored
    credential are shown.
    """

    def shown(name: str) -> str:
        value = getattr(made, name)
        if name not in secrets or value is None or isinstance(value, Stored | Encrypted):
            return repr(value)
        path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
        if isinstance(path, str) and path.isprintable() and "-----BEGIN" not in path:
            return repr(value)
        unit = "characters" if isinstance(value, str) else "bytes"
        return f"<{len(value)} {unit}>" if isinstance(value, str | bytes) else f"<{type(value).__name__}>"

    return f"{type(made).__name__}({', '.join(f'{one.name}={shown(one.name)}' for one in fields(made))})"


@enum.unique
class TlsVersion(enum.Enum):
    """A protocol version; members compare by age, oldest first."""

    SSL3 = "ssl3"
    TLS1_0 = "1.0"
    TLS1_1 = "1.1"
    TLS1_2 = "1.2"
    TLS1_3 = "1.3"

    @classmethod
    def of(cls, value: TlsVersion | str) -> Self:
        """Return the member for ``"1.2"`` or the like (``"TLS1.2"``, ``"TLSv1.2"`` also); :class:`ConfigurationError`.

        ``ssl.TLSVersion`` members are understood too.
        """
        if isinstance(value, cls):
            return value
        name = getattr(value, "name", value)
        if not isinstance(name, str):
            raise ConfigurationError(f"{quoted(value)} is no TLS version; one of {cls._choices()}")
        key = name.lower().removeprefix("tls").removeprefix("v").replace("_", ".").strip()
        key = {"sslv3": "ssl3", "ssl3.0": "ssl3", "1": "1.0"}.get(key, key)
        try:
            return cls(key)
        except ValueError:
            raise ConfigurationError(f"{quoted(name)} is no TLS version; one of {cls._choices()}") from None

    @classmethod
    def _choices(cls) -> str:
        return ", ".join(f'"{member.value}"' for member in cls)

    @property
    def age(self) -> int:
        """A number that is larger for a later version."""
        return list(TlsVersion).index(self)

    def __lt__(self, other: TlsVersion) -> bool:
        return self.age < other.age

    def __le__(self, other: TlsVersion) -> bool:
        return self.age <= other.age

    def __str__(self) -> str:
        return self.named(datagram=False)

    def named(self, *, datagram: bool) -> str:
        """Return its name, ``"TLS 1.2"``; over datagrams that of the version of DTLS that it stands for there."""
        if datagram:
            return f"DTLS {self.value}"
        return "SSL 3.0" if self is TlsVersion.SSL3 else f"TLS {self.value}"

    def capability(self, *, datagram: bool) -> str:
        """Return what an engine lacks that does not speak it: ``"tls1.3"``, ``"dtls1.2"``, ``"ssl3"``."""
        if self is TlsVersion.SSL3:
            return "ssl3"
        return f"{'dtls' if datagram else 'tls'}{self.value}"


def check_dtls_timeouts(value: object) -> tuple[float, float]:
    """Return first and longest wait in seconds; :class:`ConfigurationError` if they cannot be."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ConfigurationError("dtls_handshake_timeouts: the first and the longest wait are wanted, in seconds")
    for one in value:
        if one is None:
            raise ConfigurationError("dtls_handshake_timeouts: both waits are wanted")
        check_seconds("dtls_handshake_timeouts", one)
    low, high = float(value[0]), float(value[1])
    if not low <= high <= MAX_DTLS_TIMEOUT:
        raise ConfigurationError(f"dtls_handshake_timeouts: {low:g} s to {high:g} s cannot be")
    return low, high


@dataclass(frozen=True, slots=True)
class Psk:
    """Security by a pre-shared key. Both are bytes of any value; the identity may be empty, the key may not."""

    identity: bytes
    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        for name in ("identity", "key"):
            value = getattr(self, name)
            if not isinstance(value, bytes | bytearray | memoryview):
                raise ConfigurationError(f"Psk: {name} is bytes, not {type(value).__name__}")
            object.__setattr__(self, name, bytes(value))
        if not self.key:
            raise ConfigurationError("Psk: the key is empty")


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """Security by certificates.

    ``trusted``: the CA certificates that a peer must chain up to; needed unless ``verify`` is off, or ``dane`` or
    ``use_system_trust`` is on.
    ``client_cert`` (the leaf first, then its path) and ``client_key`` go together. They are this side's own, so in the
    server role they are the server's.
    ``rebuild_client_chain``: append to ``client_cert`` what is missing of its path, from ``trusted``.
    ``revocation_lists``: what a CRL of its issuer lists is refused.
    ``use_system_trust``: trust the CAs of the host's own store as well.
    ``dane``: the peer must match a TLSA record, as section 9 of the contract has it; with ``verify`` off that is
    opportunistic: records that are usable without PKIX decide, and if there are none nothing is verified.
    ``verify``: check the peer's chain. Off, nothing about the peer is checked: not its name and dates either, which
    prove nothing in a certificate that anybody may have made.
    ``check_hostname``: check that the certificate is for the name in the SNI, or the host.
    ``check_dates``: check validity dates, against the engine's clock.
    """

    trusted: Credential | None = None
    client_cert: Credential | None = None
    client_key: Credential | None = None
    verify: bool = True
    check_hostname: bool = True
    check_dates: bool = True
    dane: bool = False
    revocation_lists: Credential | None = None
    rebuild_client_chain: bool = False
    use_system_trust: bool = False

    def __post_init__(self) -> None:
        for name in ("verify", "check_hostname", "check_dates", "dane", "rebuild_client_chain", "use_system_trust"):
            check_flag(name, getattr(self, name))
        for name in ("trusted", "client_cert", "client_key", "revocation_lists"):
            check_credential(name, getattr(self, name), key=name == "client_key")
        if self.verify and self.trusted is None and not (self.dane or self.use_system_trust):
            raise ConfigurationError(
                "no CA to verify the peer with: give trusted= (PEM, DER, a file, or the name of a stored credential), "
                "or verify=False to connect to anybody"
            )
        if self.client_cert is not None and self.client_key is None:
            raise ConfigurationError("client_cert is given without its client_key")
        if self.client_key is not None and self.client_cert is None:
            raise ConfigurationError("client_key is given without its client_cert")

    def __repr__(self) -> str:
        return shown_without(self, ("trusted", "client_cert", "client_key", "revocation_lists"))


@dataclass(slots=True)
class PreferredEndpoint:
    """The peer's address that was used last: tried first if it is among those resolved, and written after success.

    It is the caller's, and used in place. Empty: none yet.
    """

    host: str = ""
    port: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketConfiguration:
    """What concerns the transport below a socket.

    ``dscp``: 0 to 63. ``priority``: 0 to 7. ``reuse_address``: share the local port. ``transparent``: bind to addresses
    that are not this machine's. ``interface``: name of the only network interface to use. ``preferred_endpoint``: see
    there. ``address_family``: the only one to use; ``preferred_family``: the one to try first. ``forced_mtu``: bytes of
    a packet of the network layer, 0 for what the network says.
    """

    dscp: int = 0
    priority: int = 0
    reuse_address: bool = False
    transparent: bool = False
    interface: str | None = None
    preferred_endpoint: PreferredEndpoint | None = None
    address_family: AddressFamily = AddressFamily.UNSPEC
    preferred_family: AddressFamily = AddressFamily.UNSPEC
    forced_mtu: int = 0

    def __post_init__(self) -> None:
        for name, highest in (("dscp", 63), ("priority", 7), ("forced_mtu", 65535)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= highest:
                raise ConfigurationError(f"{name}: a number from 0 to {highest} is wanted, not {quoted(value)}")
        check_flag("reuse_address", self.reuse_address)
        check_flag("transparent", self.transparent)
        for name in ("address_family", "preferred_family"):
            if not isinstance(getattr(self, name), AddressFamily):
                raise ConfigurationError(f"{name}: an AddressFamily is wanted, not {quoted(getattr(self, name))}")
        if self.interface is not None and not (isinstance(self.interface, str) and self.interface):
            raise ConfigurationError("interface: the name of a network interface is wanted")


@dataclass(frozen=True, slots=True, kw_only=True)
class SslConfiguration:
    """How a secure socket is to connect.

    ``version``: the lowest version allowed, ``max_version`` the highest (None: the engine's highest).
    ``ciphersuites``: IANA numbers, none meaning all, or what is usual with a pre-shared key; numbers that the engine
    does not know are passed over, and if none is left that is an error.
    ``server_name_indication``: SNI, and the name that the certificate must have; None means the host given to connect.
    ``handshake_timeout``: seconds for the handshake; None leaves it to the engine.
    ``dtls_handshake_timeouts``: the first wait for an answer, which each retransmission doubles, and the longest, after
    which the handshake has failed; seconds, over datagrams. None is 1 s and 60 s.
    ``session_resumption_buffer``: the caller's own memory, in which the session is kept for the next connect; read and
    written in place, here or after a restart of the program. All zeros: the next handshake is a full one. As secret as
    a private key. None, or none of it: no resumption.
    ``use_connection_id``: over datagrams, offer a Connection ID (RFC 9146); elsewhere without meaning.
    ``socket``: what concerns the transport.
    """

    security: Certificates | Psk
    version: TlsVersion = TlsVersion.TLS1_2
    max_version: TlsVersion | None = None
    ciphersuites: tuple[int, ...] = ()
    server_name_indication: str | None = None
    alpn: tuple[str, ...] = ()
    handshake_timeout: float | None = None
    dtls_handshake_timeouts: tuple[float, float] | None = None
    session_resumption_buffer: Buffer | None = field(default=None, repr=False, compare=False)
    use_connection_id: bool = False
    socket: SocketConfiguration = field(default_factory=SocketConfiguration)

    def __post_init__(self) -> None:
        if not isinstance(self.security, Certificates | Psk):
            raise ConfigurationError(f"security: Certificates or a Psk is wanted, not a {type(self.security).__name__}")
        if self.max_version is not None and self.max_version < self.version:
            raise ConfigurationError(f"no version is left between {self.version} and {self.max_version}")
        object.__setattr__(self, "ciphersuites", check_list("ciphersuites", self.ciphersuites))
        object.__setattr__(self, "alpn", check_list("alpn", self.alpn))
        for protocol in self.alpn:
            if not isinstance(protocol, str) or not protocol:
                raise ConfigurationError(f"alpn: names of protocols are wanted, not {quoted(protocol)}")
        for number in self.ciphersuites:
            if isinstance(number, bool) or not isinstance(number, int) or not 0 < number <= 0xFFFF:
                raise ConfigurationError(f"{quoted(number)} is no cipher suite: give IANA numbers, such as 0xC02F")
        name = self.server_name_indication
        if name is not None and (not name or len(name) > MAX_NAME):
            raise ConfigurationError(f"server_name_indication has 1 to {MAX_NAME} characters", number=errno.ENOBUFS)
        check_seconds("handshake_timeout", self.handshake_timeout)
        if self.dtls_handshake_timeouts is not None:
            object.__setattr__(self, "dtls_handshake_timeouts", check_dtls_timeouts(self.dtls_handshake_timeouts))
        check_flag("use_connection_id", self.use_connection_id)
        object.__setattr__(self, "session_resumption_buffer", _checked_buffer(self.session_resumption_buffer))
        if not isinstance(self.socket, SocketConfiguration):
            raise ConfigurationError(f"socket: a SocketConfiguration is wanted, not a {type(self.socket).__name__}")


def _checked_buffer(value: object) -> Buffer | None:
    """Return the buffer, None for none; what cannot be written in place is an error."""
    if value is None:
        return None
    try:
        view = memoryview(value) if isinstance(value, bytearray | memoryview) else None
        view = None if view is None or view.readonly else view.cast("B")
    except TypeError:
        view = None
    if view is None or isinstance(value, bytes):
        raise ConfigurationError("session_resumption_buffer: a bytearray or a writable memoryview of bytes is wanted")
    return view if len(view) else None
