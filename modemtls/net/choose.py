"""From what the caller asks to how this modem says it: exactly, or not at all.

A modem may have "exactly 1.2" and "anything" where the caller wants "1.2 or later"; one suite or all of them where he
lists three; a host-name check only with some firmware. :func:`choose` finds an expression that allows nothing the
caller has not allowed, or raises :class:`~modemtls.errors.NotSupportedError` with ways out that work, before a byte
is sent to the peer.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from modemtls.errors import NotSupportedError
from modemtls.net.offloadable import certificates_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modemtls.modem.settings import Token
    from modemtls.net.contract import Certificates, SslConfiguration, TlsVersion

__all__ = ["Abilities", "Choice", "VersionChoice", "choose", "is_address"]


@dataclass(frozen=True, slots=True)
class VersionChoice:
    """One setting of the modem's: what it calls it, and the versions it then speaks."""

    token: Token
    versions: frozenset[TlsVersion]


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What a modem with its present firmware can express.

    ``suites``: IANA number to the modem's word. ``suite_mode`` ``one``: a single suite or ``all_suites``; ``list``: any
    number of them. ``sni``: ``host`` sends the host it connects to, ``name`` any name. ``handshake_timeout``: the
    shortest and the longest that can be set, in seconds, and what to set when the caller names none.
    """

    modem: str
    versions: tuple[VersionChoice, ...]
    suites: Mapping[int, Token]
    suite_mode: Literal["one", "list"] = "one"
    all_suites: Token | None = None
    sni: Literal["no", "host", "name"] = "no"
    hostname_check: bool = False
    date_check: bool = True
    client_certificate: bool = True
    handshake_timeout: tuple[int, int, int] = (1, 300, 60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The expression that was found; fields as :class:`~modemtls.modem.settings.TlsSettings` has them.

    ``versions``: what ``version`` allows.
    """

    version: Token
    versions: frozenset[TlsVersion]
    suites: tuple[Token, ...]
    sni: bool | str
    check_hostname: bool
    check_dates: bool
    handshake_timeout: int


def is_address(host: str) -> bool:
    """Whether ``host`` is a numeric IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def choose(configuration: SslConfiguration, abilities: Abilities, host: str | None = None) -> Choice:
    """Find the expression of ``configuration`` on a modem, for a connection to ``host``.

    Without ``host`` only what does not depend on it is judged: what creating a socket can tell.
    """
    security = certificates_of(configuration)
    if configuration.alpn:
        raise NotSupportedError(
            f"{abilities.modem} cannot offer application protocols (ALPN)",
            capability="alpn",
            choices=("leave alpn out",),
        )
    if security.client_cert is not None and not abilities.client_certificate:
        raise NotSupportedError(
            f"{abilities.modem} cannot show a client certificate",
            capability="client_certificate",
            choices=("leave cert and key out",),
        )
    version = _version(configuration, abilities)
    return Choice(
        version=version.token,
        versions=version.versions,
        suites=_suites(configuration, abilities),
        sni=_sni(configuration, abilities, host),
        check_hostname=_hostname(security, abilities),
        check_dates=_dates(security, abilities),
        handshake_timeout=_handshake_timeout(configuration, abilities),
    )


def _version(configuration: SslConfiguration, abilities: Abilities) -> VersionChoice:
    lowest, highest = configuration.version, configuration.max_version
    fitting = [
        choice
        for choice in abilities.versions
        if all(lowest <= v and (highest is None or v <= highest) for v in choice.versions)
    ]
    if not fitting:
        known = sorted(set().union(*(choice.versions for choice in abilities.versions)))
        wanted = f"{lowest} or later" if highest is None else f"{lowest} to {highest}"
        if highest == lowest:
            wanted = f"exactly {lowest}"
        way_out = [v for v in reversed(known) if any(choice.versions == {v} for choice in abilities.versions)][:1]
        raise NotSupportedError(
            f"{abilities.modem} cannot be set to {wanted} and nothing else (it knows {', '.join(map(str, known))})",
            capability="tls",
            choices=[f'min_version="{v.value}"' for v in way_out],
        )
    # The most versions; among as many, the latest.
    return max(fitting, key=lambda choice: (len(choice.versions), max(v.age for v in choice.versions)))


def _suites(configuration: SslConfiguration, abilities: Abilities) -> tuple[Token, ...]:
    if not configuration.ciphersuites:
        if abilities.all_suites is not None:
            return (abilities.all_suites,)
        if abilities.suite_mode == "list":
            return tuple(abilities.suites.values())
        raise NotSupportedError(
            f"{abilities.modem} needs to be told one cipher suite",
            capability="suites",
            choices=[f"suites=[{_hex(number)}]" for number in _first(abilities.suites)],
        )
    # Unknown ones are passed over: what is left allows nothing that was not asked for.
    known = list(dict.fromkeys(n for n in configuration.ciphersuites if n in abilities.suites))
    everything = ["leave suites out for all of the modem's"] if abilities.all_suites is not None else []
    if not known:
        raise NotSupportedError(
            f"{abilities.modem} has none of the cipher suites {', '.join(map(_hex, configuration.ciphersuites))}",
            capability="suites",
            choices=[*(f"suites=[{_hex(number)}]" for number in _first(abilities.suites)), *everything],
        )
    if len(known) > 1 and abilities.suite_mode == "one":
        raise NotSupportedError(
            f"{abilities.modem} takes one cipher suite or all, not a list of {len(known)}",
            capability="suites",
            choices=[*(f"suites=[{_hex(number)}]" for number in known[:3]), *everything],
        )
    return tuple(abilities.suites[number] for number in known)


#: The suites to suggest first, of those a modem has: forward secret and AEAD (RFC 9325, 4.2).
_GOOD = (0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0x1301)


def _first(suites: Mapping[int, Token]) -> list[int]:
    return ([n for n in _GOOD if n in suites] or sorted(suites))[:2]


def _hex(number: int) -> str:
    return f"0x{number:04X}"


def _sni(configuration: SslConfiguration, abilities: Abilities, host: str | None) -> bool | str:
    wanted = configuration.server_name_indication
    if wanted is None:
        if host is None or is_address(host):  # RFC 6066, 3: literal addresses are not permitted
            return False
        return host if abilities.sni == "name" else abilities.sni == "host"
    if abilities.sni == "name":
        return wanted
    if abilities.sni == "no":
        raise NotSupportedError(
            f"{abilities.modem} cannot send a server name (SNI)",
            capability="sni",
            choices=("leave sni out, if the server does not need it",),
        )
    if host is not None and wanted.rstrip(".").lower() != host.rstrip(".").lower():
        raise NotSupportedError(
            f"{abilities.modem} sends the host it connects to as server name (SNI): {host!r}, not {wanted!r}",
            capability="sni",
            choices=("leave sni out", f"connect to {wanted!r}"),
        )
    return host is not None and not is_address(host)


def _hostname(security: Certificates, abilities: Abilities) -> bool:
    if not security.verify:
        return False  # a name in a certificate that anybody may have made proves nothing
    if not security.check_hostname:
        return False
    if not abilities.hostname_check:
        raise NotSupportedError(
            f"{abilities.modem} with this firmware cannot check that the certificate is for the host it connects to: "
            "anybody with a certificate of the same CA could answer",
            capability="hostname_check",
            choices=("check_hostname=False",),
        )
    return True


def _dates(security: Certificates, abilities: Abilities) -> bool:
    if not security.verify or not security.check_dates:
        return False
    if not abilities.date_check:
        raise NotSupportedError(
            f"{abilities.modem} cannot check the dates of certificates",
            capability="date_check",
            choices=("check_dates=False",),
        )
    return True


def _handshake_timeout(configuration: SslConfiguration, abilities: Abilities) -> int:
    shortest, longest, usual = abilities.handshake_timeout
    if configuration.handshake_timeout is None:
        return usual
    # Rounded to what the modem can be set to; the caller's own deadline is kept on this side of the line.
    return min(max(shortest, -int(-configuration.handshake_timeout // 1)), longest)
