"""What a modem's profile, with what was probed, says about its TLS: read into the terms of this layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from modemtls.net.choose import Abilities, VersionChoice
from modemtls.net.contract import TlsVersion

if TYPE_CHECKING:
    from modemtls.modem.attached import AttachedModem

__all__ = ["abilities_of", "told_the_name"]

#: Seconds; what is asked for when neither the caller nor the modem's range says otherwise. A handshake over a slow
#: radio takes tens of seconds; RFC 6298 (2.4) alone allows a retransmission a minute.
_USUAL_HANDSHAKE = 60


def abilities_of(modem: AttachedModem) -> Abilities:
    """Return what ``modem`` can express about TLS."""
    able = modem.capabilities
    profile = modem.profile
    suites = profile.suites
    return Abilities(
        modem=profile.title or profile.name,
        versions=tuple(
            VersionChoice(token=one.token, versions=frozenset(TlsVersion.of(v) for v in one.versions))
            for one in profile.tls_versions
        ),
        suites={} if suites is None else suites.codes,
        suite_mode="list" if able.get("suites") == "list" else "one",
        all_suites=None if suites is None else suites.all,
        sni=_sni(modem),
        hostname_check=bool(able.get("hostname_check")),
        date_check=bool(able.get("date_check")),
        client_certificate=bool(able.get("client_certificates")),
        handshake_timeout=_handshake(modem),
    )


def _sni(modem: AttachedModem) -> Literal["no", "host", "name"]:
    if not modem.capabilities.get("sni"):
        return "no"
    program = modem.profile.programs.get("tls_configure")
    return "name" if program is not None and "sni_name" in program.names else "host"


def told_the_name(modem: AttachedModem) -> bool:
    """Whether ``modem`` has to be told the name that a certificate must be for; others take the host's."""
    program = modem.profile.programs.get("tls_configure")
    return program is not None and "expected_name" in program.names


def _handshake(modem: AttachedModem) -> tuple[int, int, int]:
    lowest = _limit(modem, "handshake_timeout_min", 1)
    highest = _limit(modem, "handshake_timeout_max", max(lowest, _USUAL_HANDSHAKE))
    return lowest, highest, min(max(lowest, _USUAL_HANDSHAKE), highest)


def _limit(modem: AttachedModem, name: str, otherwise: int) -> int:
    value = modem.limits.get(name)
    return value if isinstance(value, int) else otherwise
