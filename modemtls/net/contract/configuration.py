"""What a secure connection has to look like: versions, suites, certificates, names.

Immutable, and checked here as far as that is possible without an engine. What an engine cannot do it refuses itself.
"""

from __future__ import annotations

import enum
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self, TypeAlias

from modemtls.errors import ConfigurationError, quoted

__all__ = [
    "Certificates",
    "Credential",
    "SslConfiguration",
    "Stored",
    "TlsVersion",
    "check_flag",
    "check_list",
    "check_seconds",
    "shown_without",
]

#: RFC 6066, 3, takes a DNS host name, and that has at most 255 octets (RFC 1035, 2.3.4).
MAX_NAME = 255


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
        if name not in secrets or value is None or isinstance(value, Stored):
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
        return "SSL 3.0" if self is TlsVersion.SSL3 else f"TLS {self.value}"


@dataclass(frozen=True, slots=True)
class Stored:
    """A certificate or key that is in the modem already, by the modem's own name for it."""

    name: str

    def __post_init__(self) -> None:
        if not self.name or not self.name.isascii() or not self.name.isprintable() or '"' in self.name:
            raise ConfigurationError(f"{quoted(self.name)} cannot be the name of a stored credential")


#: Certificate or key material: PEM or DER bytes, a file with it, or the name of what is in the modem already.
Credential: TypeAlias = "bytes | os.PathLike[str] | Stored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """Security by certificates.

    ``trusted``: the CA certificates that a peer must chain up to; needed unless ``verify`` is off.
    ``client_cert`` (the leaf first, then its path) and ``client_key`` go together.
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

    def __post_init__(self) -> None:
        for name in ("verify", "check_hostname", "check_dates"):
            check_flag(name, getattr(self, name))
        for name in ("trusted", "client_cert", "client_key"):
            value = getattr(self, name)
            if not isinstance(value, bytes | os.PathLike | Stored | None):
                raise ConfigurationError(
                    f"{name}: PEM or DER bytes, a path object or Stored(name) is wanted, not a {type(value).__name__}"
                )
        if self.verify and self.trusted is None:
            raise ConfigurationError(
                "no CA to verify the peer with: give trusted= (PEM, DER, a file, or the name of a stored credential), "
                "or verify=False to connect to anybody"
            )
        if self.client_cert is not None and self.client_key is None:
            raise ConfigurationError("client_cert is given without its client_key")
        if self.client_key is not None and self.client_cert is None:
            raise ConfigurationError("client_key is given without its client_cert")

    def __repr__(self) -> str:
        return shown_without(self, ("trusted", "client_cert", "client_key"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SslConfiguration:
    """How a secure socket is to connect.

    ``version``: the lowest version allowed, ``max_version`` the highest (None: the engine's highest).
    ``ciphersuites``: IANA numbers, none meaning all; numbers that the engine does not know are passed over, and if
    none is left that is an error.
    ``server_name_indication``: SNI, and the name that the certificate must have; None means the host given to connect.
    ``handshake_timeout``: seconds for the handshake; None leaves it to the engine.
    """

    security: Certificates
    version: TlsVersion = TlsVersion.TLS1_2
    max_version: TlsVersion | None = None
    ciphersuites: tuple[int, ...] = ()
    server_name_indication: str | None = None
    alpn: tuple[str, ...] = ()
    handshake_timeout: float | None = None

    def __post_init__(self) -> None:
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
            raise ConfigurationError(f"server_name_indication has 1 to {MAX_NAME} characters")
        check_seconds("handshake_timeout", self.handshake_timeout)
