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
from modemtls.net.contract import Certificates, Psk, TlsVersion
from modemtls.net.contract.configuration import DEFAULT_DTLS_TIMEOUTS
from modemtls.tlsengine.suites import SUITES, Authentication

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from modemtls.modem.settings import Token
    from modemtls.net.contract import SslConfiguration

__all__ = ["Abilities", "Choice", "VersionChoice", "bounded", "choose", "choose_timers", "is_address"]

#: Suites with a pre-shared key that no engine of this host has (IANA, "TLS Cipher Suites"): RC4 and 3DES, with the key
#: alone, with Diffie-Hellman too, and with a certificate as well.
_OLD_PSK = {
    **dict.fromkeys((0x008A, 0x008B, 0x008E, 0x008F), Authentication.PSK),
    **dict.fromkeys((0x0092, 0x0093), Authentication.BOTH),
}


@dataclass(frozen=True, slots=True)
class VersionChoice:
    """One setting of the modem's: what it calls it, and the versions it then speaks."""

    token: Token
    versions: frozenset[TlsVersion]


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What a modem with its present firmware can express.

    ``suites``: IANA number to the modem's word, None if it cannot be told any. ``suite_mode`` ``one``: a single suite
    or ``all_suites``; ``list``: any number of them. ``sni``: ``host`` sends the host it connects to, ``name`` any name.
    ``told_the_name``: it has to be told whom a certificate must be for; others take the host's name. ``one_name``: of a
    peer that is verified the name that is sent is the name that is checked. ``psk``: ``inline`` takes a pre-shared key
    with the settings, ``stored`` from its store. ``handshake_timeout``: the shortest and the longest that can be set,
    in seconds, and what to set when the caller names none. ``timers`` of a handshake over datagrams: ``range`` takes
    the first wait and the longest, ``total`` one of ``timer_totals``, seconds for all waits together.
    """

    modem: str
    versions: tuple[VersionChoice, ...]
    suites: Mapping[int, Token] | None
    datagram: bool = False
    suite_mode: Literal["one", "list"] = "one"
    all_suites: Token | None = None
    sni: Literal["no", "host", "name"] = "no"
    told_the_name: bool = False
    one_name: bool = False
    hostname_check: bool = False
    date_check: bool = True
    client_certificate: bool = True
    psk: Literal["no", "inline", "stored"] = "no"
    alpn: bool = False
    cid: bool = False
    resumption: bool = False
    handshake_timeout: tuple[int, int, int] = (1, 300, 60)
    timers: Literal["no", "range", "total"] = "no"
    timer_totals: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The expression that was found; fields as :class:`~modemtls.modem.settings.TlsSettings` has them.

    ``datagram``: whether it is for DTLS. ``versions``: what ``version`` allows. ``numbers``: the IANA numbers that
    ``suites`` stand for; none if all.
    """

    datagram: bool
    version: Token
    versions: frozenset[TlsVersion]
    suites: tuple[Token, ...]
    numbers: tuple[int, ...]
    sni: bool | str
    check_hostname: bool
    expected_name: str | None
    check_dates: bool
    handshake_timeout: int


def is_address(host: str) -> bool:
    """Whether ``host`` is a numeric IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def choose(
    configuration: SslConfiguration, abilities: Abilities, host: str | None = None, *, verified: bool | None = None
) -> Choice:
    """Find the expression of ``configuration`` on a modem, for a connection to ``host``.

    Without ``host`` only what does not depend on it is judged: what creating a socket can tell. ``verified``: whether
    the peer's certificate is verified, where records decide that; None: as the configuration says.
    """
    security = configuration.security
    if configuration.alpn and not (abilities.alpn and len(configuration.alpn) == 1):
        raise NotSupportedError(
            f"{abilities.modem} cannot offer application protocols (ALPN)",
            capability="alpn",
            choices=("leave alpn out", 'engine="host"'),
        )
    if isinstance(security, Psk):
        if abilities.psk == "no":
            raise NotSupportedError(
                f"{abilities.modem} cannot use a pre-shared key", capability="psk", choices=('engine="host"',)
            )
        verified = False
    elif security.client_cert is not None and not abilities.client_certificate:
        raise NotSupportedError(
            f"{abilities.modem} cannot show a client certificate",
            capability="client_certificate",
            choices=("leave cert and key out",),
        )
    else:
        verified = security.verify if verified is None else verified
    _check_sessions(configuration, abilities)
    version = _version(configuration, abilities)
    suites, numbers = _suites(configuration, abilities, max(version.versions, key=lambda one: one.age))
    # A name or a date in a certificate that anybody may have made proves nothing.
    checks_name = isinstance(security, Certificates) and verified and _hostname(security, abilities)
    return Choice(
        datagram=abilities.datagram,
        version=version.token,
        versions=version.versions,
        suites=suites,
        numbers=numbers,
        sni=_sni(configuration, abilities, host, sent_is_checked=abilities.one_name and verified and not checks_name),
        check_hostname=checks_name,
        expected_name=(configuration.server_name_indication or host)
        if checks_name and abilities.told_the_name
        else None,
        check_dates=isinstance(security, Certificates) and verified and _dates(security, abilities),
        handshake_timeout=_handshake_timeout(configuration, abilities),
    )


def _check_sessions(configuration: SslConfiguration, abilities: Abilities) -> None:
    """Raise for sessions and Connection IDs that the modem does not have. A stream has no Connection ID to ask for."""
    if configuration.session_resumption_buffer is not None and not abilities.resumption:
        raise NotSupportedError(
            f"{abilities.modem} cannot resume sessions",
            capability="resumption",
            choices=("leave session_resumption_buffer out", 'engine="host"'),
        )
    if configuration.use_connection_id and abilities.datagram and not abilities.cid:
        raise NotSupportedError(
            f"{abilities.modem} has no Connection ID (RFC 9146)",
            capability="cid",
            choices=("leave use_connection_id out", 'engine="host"'),
        )


def _of_datagrams(version: TlsVersion) -> TlsVersion:
    """Return the version that stands for one over datagrams: there is no DTLS 1.1, and what came before it is 1.0."""
    return TlsVersion.TLS1_0 if version < TlsVersion.TLS1_2 else version


def _version(configuration: SslConfiguration, abilities: Abilities) -> VersionChoice:
    lowest, highest, datagram = configuration.version, configuration.max_version, abilities.datagram
    if datagram:
        lowest, highest = _of_datagrams(lowest), None if highest is None else _of_datagrams(highest)
    fitting = [
        choice
        for choice in abilities.versions
        if all(lowest <= v and (highest is None or v <= highest) for v in choice.versions)
    ]
    if not fitting:
        known = sorted(set().union(*(choice.versions for choice in abilities.versions)))
        least = lowest.named(datagram=datagram)
        wanted = f"{least} or later" if highest is None else f"{least} to {highest.value}"
        if highest == lowest:
            wanted = f"exactly {least}"
        names = ", ".join(one.named(datagram=datagram) for one in known)
        way_out = [v for v in reversed(known) if any(choice.versions == {v} for choice in abilities.versions)][:1]
        raise NotSupportedError(
            f"{abilities.modem} cannot be set to {wanted} and nothing else (it knows {names})",
            capability=lowest.capability(datagram=datagram),
            choices=[f'min_version="{v.value}"' for v in way_out],
        )
    # The most versions; among as many, the latest.
    return max(fitting, key=lambda choice: (len(choice.versions), max(v.age for v in choice.versions)))


def _fits(number: int, *, psk: bool) -> bool:
    """Whether a suite goes with the way of authentication: mixing them breaks servers that serve both on one port."""
    known = SUITES.get(number)
    way = _OLD_PSK.get(number, Authentication.CERTIFICATE) if known is None else known.authentication
    return way is Authentication.ANY or way is (Authentication.PSK if psk else Authentication.CERTIFICATE)


def _fitting(numbers: Iterable[int], configuration: SslConfiguration) -> list[int]:
    psk = isinstance(configuration.security, Psk)
    return [number for number in dict.fromkeys(numbers) if _fits(number, psk=psk)]


#: What is offered with a pre-shared key where the caller names no suite, the first that the modem has: over datagrams
#: what CoAP and LwM2M demand (RFC 7252, 9.1.3.1; RFC 7925, 4.2), else what most servers have: OpenSSL has all of the
#: others by default, GnuTLS those before the last two (``gnutls-cli -l --priority NORMAL:+PSK``).
_STREAM_PSK = (0x00A8, 0x00A9, 0x008C, 0x008D, 0x00AE, 0x00AF)
_DATAGRAM_PSK = (0xC0A8, *_STREAM_PSK)
#: Those of them that there are before version 1.2 (RFC 4279).
_EARLY_PSK = (0x008C, 0x008D)


def _usual_psk(abilities: Abilities, latest: TlsVersion) -> list[int]:
    """Return what to offer with a pre-shared key, best first. All that a modem has would be suites without it, too.

    A list is for streams alone: over datagrams servers were seen to fail when offered many (decision 0011, 2).
    """
    usual = _DATAGRAM_PSK if abilities.datagram else _STREAM_PSK
    known = [number for number in usual if number in (abilities.suites or ())]
    fit = [number for number in known if latest >= TlsVersion.TLS1_2 or number in _EARLY_PSK]
    return fit if abilities.suite_mode == "list" and not abilities.datagram else fit[:1]


def _suites(
    configuration: SslConfiguration, abilities: Abilities, latest: TlsVersion
) -> tuple[tuple[Token, ...], tuple[int, ...]]:
    if abilities.suites is None:
        if not configuration.ciphersuites:
            return (), ()
        raise NotSupportedError(
            f"{abilities.modem} cannot be told which cipher suites to offer",
            capability="suites",
            choices=("leave suites out for all of the modem's",),
        )
    usable = _fitting(abilities.suites, configuration)
    if not configuration.ciphersuites:
        if isinstance(configuration.security, Psk) and (usual := _usual_psk(abilities, latest)):
            return tuple(abilities.suites[number] for number in usual), tuple(usual)
        if abilities.all_suites is not None:
            return (abilities.all_suites,), ()
        if abilities.suite_mode == "list":
            return tuple(abilities.suites[number] for number in usable), tuple(usable)
        raise NotSupportedError(
            f"{abilities.modem} needs to be told one cipher suite",
            capability="suites",
            choices=[f"suites=[{_hex(number)}]" for number in _first(usable)],
        )
    # Unknown ones are passed over, and so are those of the other way of authentication: what is left allows nothing
    # that was not asked for.
    known = [number for number in _fitting(configuration.ciphersuites, configuration) if number in abilities.suites]
    everything = ["leave suites out for all of the modem's"] if abilities.all_suites is not None else []
    if not known:
        asked = ", ".join(map(_hex, configuration.ciphersuites))
        way = "a pre-shared key" if isinstance(configuration.security, Psk) else "certificates"
        raise NotSupportedError(
            f"{abilities.modem} has none of the cipher suites {asked} for {way}",
            capability="suites",
            choices=[*(f"suites=[{_hex(number)}]" for number in _first(usable)), *everything],
        )
    if len(known) > 1 and abilities.suite_mode == "one":
        raise NotSupportedError(
            f"{abilities.modem} takes one cipher suite or all, not a list of {len(known)}",
            capability="suites",
            choices=[*(f"suites=[{_hex(number)}]" for number in known[:3]), *everything],
        )
    return tuple(abilities.suites[number] for number in known), tuple(known)


#: The suites to suggest first, of those a modem has: forward secret and AEAD (RFC 9325, 4.2), and with a pre-shared key
#: the one that CoAP demands (RFC 7252, 9.1.3.1).
_GOOD = (0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0x1301, 0xC0A8, 0x00A8, 0x00AE)


def _first(suites: Iterable[int]) -> list[int]:
    suites = sorted(suites)
    return ([n for n in _GOOD if n in suites] or suites)[:2]


def _hex(number: int) -> str:
    return f"0x{number:04X}"


def _sni(
    configuration: SslConfiguration, abilities: Abilities, host: str | None, *, sent_is_checked: bool
) -> bool | str:
    """Return what is sent; ``sent_is_checked``: a name that is sent would be checked, and none is to be."""
    wanted = configuration.server_name_indication
    if sent_is_checked:
        if wanted is None:
            return False
        raise NotSupportedError(
            f"{abilities.modem} checks the name that it sends (SNI) against the certificate",
            capability="sni",
            choices=("leave sni out", "check_hostname=True"),
        )
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
    if not security.check_dates:
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


def choose_timers(timers: tuple[float, float] | None, abilities: Abilities) -> tuple[int, int, int] | None:
    """Return first wait, longest wait and all together, in whole seconds, for a modem that can be told; None if none.

    ``timers``: the caller's, None for the contract's. Rounded up to what the modem can be set to.
    """
    if not abilities.datagram:
        return None
    if abilities.timers == "no":
        if timers is None:
            return None
        raise NotSupportedError(
            f"{abilities.modem} cannot be told how long to wait for the answers of a handshake over datagrams",
            capability="handshake_timers",
            choices=("leave dtls_handshake_timeouts out",),
        )
    first, longest = DEFAULT_DTLS_TIMEOUTS if timers is None else timers
    if first < 1:
        raise NotSupportedError(
            f"{abilities.modem} counts the waits of a handshake in seconds, and cannot wait for {first:g} s",
            capability="handshake_timers",
            choices=("dtls_handshake_timeouts=(1, ...) or more", 'engine="host"'),
        )
    low, high = -int(-first // 1), -int(-longest // 1)
    total = sum(_waits(low, high))
    if abilities.timers == "total":
        total = min((one for one in abilities.timer_totals if one >= total), default=max(abilities.timer_totals))
    return low, high, total


def bounded(timers: tuple[int, int, int] | None, seconds: float, abilities: Abilities) -> tuple[int, int, int] | None:
    """Return these timers for a handshake that nobody waits for longer than ``seconds``.

    A modem that goes on waiting by itself would be of no use meanwhile.
    """
    if timers is None or abilities.timers != "total":
        return timers
    first, longest, total = timers
    return first, longest, min((one for one in abilities.timer_totals if seconds <= one < total), default=total)


def _waits(first: int, longest: int) -> Iterator[int]:
    """Yield each wait: double the one before, up to the longest, after which the handshake has failed."""
    wait = first
    while wait < longest:
        yield wait
        wait *= 2
    yield longest
