"""What a modem's profile, with what was probed, says about its TLS: read into the terms of this layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from modemtls.net.choose import Abilities, VersionChoice
from modemtls.net.contract import TlsVersion

if TYPE_CHECKING:
    from modemtls.modem.attached import AttachedModem

__all__ = ["abilities_of", "able_for", "takes_settings"]

Family = Literal["tls", "dtls"]

#: Seconds; what is asked for when neither the caller nor the modem's range says otherwise. A handshake over a slow
#: radio takes tens of seconds; RFC 6298 (2.4) alone allows a retransmission a minute.
_USUAL_HANDSHAKE = 60


def abilities_of(modem: AttachedModem, family: Family = "tls") -> Abilities:
    """Return what ``modem`` can express about the connections of ``family``."""
    profile = modem.profile
    suites = profile.suites
    versions = profile.tls_versions if family == "tls" else profile.dtls_versions
    psk = able_for(modem, "psk", family)
    timers = able_for(modem, "handshake_timers", family)
    totals = modem.limits.get("dtls_timeouts")
    return Abilities(
        modem=profile.title or profile.name,
        versions=tuple(
            VersionChoice(token=one.token, versions=frozenset(TlsVersion.of(v) for v in one.versions))
            for one in versions
        ),
        suites=None if suites is None else suites.codes,
        datagram=family == "dtls",
        suite_mode="list" if able_for(modem, "suites", family) == "list" else "one",
        all_suites=None if suites is None else suites.all,
        sni=_sni(modem, family),
        told_the_name=takes_settings(modem, family, "expected_name"),
        one_name=profile.behaviour.get("server_name") == "together",
        hostname_check=bool(able_for(modem, "hostname_check", family)),
        date_check=bool(able_for(modem, "date_check", family)),
        client_certificate=bool(able_for(modem, "client_certificates", family)),
        psk="inline" if psk == "inline" else "stored" if psk == "stored" else "no",
        alpn=bool(able_for(modem, "alpn", family)),
        cid=bool(able_for(modem, "cid", family)),
        resumption=bool(able_for(modem, "resumption", family)),
        handshake_timeout=_handshake(modem),
        timers="range" if timers == "range" else "total" if timers == "total" else "no",
        timer_totals=tuple(totals) if isinstance(totals, tuple | list) else (),
    )


def able_for(modem: AttachedModem, capability: str, family: str) -> Any:
    """Return the value of a capability for sockets of ``family``, False if there is none.

    Of some the value is the families that they are there for.
    """
    value = modem.capabilities.get(capability)
    if isinstance(value, tuple | list) and capability not in {"tls", "dtls"}:
        return family in value
    return value or False


def takes_settings(modem: AttachedModem, family: Family, name: str) -> bool:
    """Whether what ``modem`` is told of a secure connection depends on the setting ``name``."""
    shared = modem.profile.behaviour.get("tls_contexts", "shared") != "none"
    program = modem.profile.programs.get("tls_configure" if shared else f"{family}_open")
    return program is not None and name in program.names


def _sni(modem: AttachedModem, family: Family) -> Literal["no", "host", "name"]:
    if not able_for(modem, "sni", family):
        return "no"
    return "name" if takes_settings(modem, family, "sni_name") else "host"


def _handshake(modem: AttachedModem) -> tuple[int, int, int]:
    lowest = _limit(modem, "handshake_timeout_min", 1)
    highest = _limit(modem, "handshake_timeout_max", max(lowest, _USUAL_HANDSHAKE))
    return lowest, highest, min(max(lowest, _USUAL_HANDSHAKE), highest)


def _limit(modem: AttachedModem, name: str, otherwise: int) -> int:
    value = modem.limits.get(name)
    return value if isinstance(value, int) else otherwise
