"""What the layers above tell the modem layer: how to attach, and what a TLS connection has to look like.

Everything here is immutable; nothing here talks to a modem.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from modemtls.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "FAMILIES",
    "SECURE",
    "Auth",
    "Family",
    "PdpFamily",
    "Progress",
    "Receive",
    "Settings",
    "TlsSettings",
    "Token",
]

Family: TypeAlias = Literal["tls", "dtls", "tcp", "udp"]
"""Which of the modem's socket commands a socket belongs to."""

FAMILIES: Final[tuple[Family, ...]] = get_args(Family)
SECURE: Final[tuple[Family, ...]] = ("tls", "dtls")

Receive: TypeAlias = Literal["pull", "push"]
"""``pull``: the modem keeps received data until it is asked; ``push``: it prints data as soon as it arrives."""

Auth: TypeAlias = Literal["none", "pap", "chap", "any"]
PdpFamily: TypeAlias = Literal["ipv4", "ipv6", "ipv4v6"]
Token: TypeAlias = "str | int"  # noqa: S105 - a table entry, no password
"""A value of one of the profile's tables, as the modem spells it (``4``, ``"0XC02F"``)."""

Progress: TypeAlias = "Callable[[str, str], None]"
"""Called as ``progress(step, detail)``, for instance ``("registration", "searching")``, in the caller's thread."""


_TYPES: tuple[tuple[tuple[str, ...], tuple[type, ...], str], ...] = (
    (("apn", "user", "password", "auth", "family", "pin", "ntp"), (str,), "text"),
    (("profile",), (str, os.PathLike), "a name or a path"),
    (("pdp",), (int,), "a whole number"),
    (("baudrate",), (int, str), 'a whole number, or "auto",'),
    (("rtscts", "roaming", "take_over", "radio_off"), (bool,), "True or False"),
    (("timeout", "registration_timeout"), (int, float), "a number of seconds"),
)
_NEEDED = {"family", "rtscts", "roaming", "take_over", "radio_off", "timeout", "registration_timeout"}
"""None is no value of these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to attach to a modem. Secrets do not appear in ``repr``.

    ``baudrate`` None: 115200, and on a real serial port that stays silent a few others. ``"auto"``: a few others on any
    port. A number: only that one. ``pdp`` None: the modem's usual context, or another one that already fits ``apn``.
    ``roaming`` False: a visited network is refused. ``take_over``: the driver may deactivate, close and reconfigure
    what it did not create, and switch the radio off and on where that needs it. ``radio_off``: where certificates and
    keys can be written only so, the radio may be switched off for them while no socket is open. ``ntp``: server to ask
    for the time when neither the host nor the network gives it.
    Times in seconds: ``timeout`` is for the whole bring-up, ``registration_timeout`` for that step of it.
    """

    apn: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    auth: Auth | None = None
    family: PdpFamily = "ipv4"
    pin: str | None = field(default=None, repr=False)
    pdp: int | None = None
    baudrate: int | Literal["auto"] | None = None
    rtscts: bool = False
    profile: str | None = None
    roaming: bool = True
    take_over: bool = False
    radio_off: bool = False
    ntp: str | None = None
    timeout: float = 300.0
    registration_timeout: float = 180.0

    def __post_init__(self) -> None:
        self._check_types()
        if self.pin is not None and not (self.pin.isascii() and self.pin.isdigit() and 4 <= len(self.pin) <= 8):
            # 3GPP TS 31.101, 9.5.1: a PIN is 4 to 8 decimal digits.
            raise ConfigurationError("pin: a SIM's PIN is 4 to 8 decimal digits")
        if isinstance(self.baudrate, int) and self.baudrate <= 0:
            raise ConfigurationError(f"baudrate: {self.baudrate} is not a positive number")
        if isinstance(self.baudrate, str) and self.baudrate != "auto":
            raise ConfigurationError(f'baudrate: a number or "auto", not {self.baudrate!r}')
        if self.pdp is not None and self.pdp < 0:
            raise ConfigurationError(f"pdp: {self.pdp} is not a context number")
        if self.password is not None and self.user is None:
            raise ConfigurationError("password: given without user=")
        for name, usual in (("user", None), ("auth", None), ("family", "ipv4")):
            if getattr(self, name) != usual and self.apn is None:
                raise ConfigurationError(
                    f"{name}: given without apn=; a PDP context is written with its APN, or used as it is stored"
                )
        for name in ("timeout", "registration_timeout"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"{name}: must be more than 0 seconds")

    def _check_types(self) -> None:
        for names, wanted, noun in _TYPES:
            for name in names:
                value = getattr(self, name)
                if value is None and name not in _NEEDED:
                    continue
                if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
                    raise ConfigurationError(f"{name}: {noun} is wanted, not {type(value).__name__}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """What a secure connection has to be like, as the modem is told: a context is made of it, or a socket.

    ``version`` and ``suites`` are the profile's tokens (``tables.tls_versions``, ``dtls_versions``, ``suites``);
    ``ca``, ``cert``, ``key``, ``psk`` and ``peer`` (the certificate that the server must show) are names from
    :class:`~modemtls.modem.credentials.CredentialStore`, and ``bundle`` is what they are in where that makes bundles.
    ``sni`` is a bool where the modem sends the host name of the connection, and the name to send where it wants to be
    told. ``expected_name``: the name that the certificate must be for, with ``check_hostname``. ``handshake_timeout``
    in whole seconds. ``resume``: sessions are kept and used. ``cid``: DTLS Connection ID is asked for.
    ``dtls_timers``: first and longest wait for an answer in a DTLS handshake, and all waits together, in seconds.
    """

    version: Token
    suites: tuple[Token, ...]
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    psk: str | None = None
    peer: str | None = None
    bundle: str | None = None
    verify: bool = True
    client_auth: bool = False
    sni: bool | str = True
    check_hostname: bool = True
    expected_name: str | None = None
    check_dates: bool = True
    handshake_timeout: int = 60
    psk_identity: bytes | None = None
    psk_key: bytes | None = field(default=None, repr=False)
    dtls: bool = False
    alpn: str | None = None
    resume: bool = False
    cid: bool = False
    dtls_timers: tuple[int, int, int] | None = None

    @property
    def names(self) -> frozenset[str]:
        """The credentials that this configuration refers to."""
        named = (self.ca, self.cert, self.key, self.psk, self.peer, self.bundle)
        return frozenset(name for name in named if name is not None)

    def bindings(self) -> dict[str, object]:
        """Give what the operations that take TLS settings take of them."""
        first, longest, total = self.dtls_timers or (None, None, None)
        return {
            "version": self.version,
            "suites": self.suites,
            "ca": self.ca,
            "cert": self.cert,
            "key": self.key,
            "psk": self.psk,
            "peer": self.peer,
            "bundle": self.bundle,
            "verify": self.verify,
            "client_auth": self.client_auth,
            "sni": bool(self.sni),
            "sni_name": self.sni if isinstance(self.sni, str) else None,
            "check_hostname": self.check_hostname,
            "expected_name": self.expected_name,
            "check_dates": self.check_dates,
            "handshake_timeout": self.handshake_timeout,
            "psk_identity": self.psk_identity,
            "psk_key": self.psk_key,
            "dtls": self.dtls,
            "alpn": self.alpn,
            "resume": self.resume,
            "cid": self.cid,
            "dtls_timeout_min": first,
            "dtls_timeout_max": longest,
            "dtls_timeout_total": total,
        }
