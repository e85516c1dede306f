"""How the sockets of a modem behave, read from its profile into the terms of this layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from modemtls.errors import ConfigurationError, NotSupportedError
from modemtls.profile.traits import datagram_read, poll_period

if TYPE_CHECKING:
    from modemtls.modem.attached import AttachedModem
    from modemtls.modem.settings import Family, Receive

__all__ = ["Manners", "manners_of"]

_KINDS: Final = {"tls": "TLS", "dtls": "DTLS", "tcp": "plain TCP", "udp": "plain UDP"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """What the profile says about this kind of socket.

    ``send`` and ``receive``: largest pieces, bytes. ``short_is_empty``: a read that gives less than was asked left
    nothing behind. ``poll``: no data notices; ask that often, seconds. ``kept``: data can still be read after the
    peer closed. ``clean_end``: the modem tells the peer's own end of stream from a cut connection. ``sent_means``: what
    a send that succeeded says of the data. ``rest_kept``: what a read does not take of a datagram comes with the next.
    ``whole``: so many bytes of a datagram are had at most; None: all of any.
    """

    send: int
    receive: int
    short_is_empty: bool = False
    poll: float | None = None
    kept: bool = True
    clean_end: bool = False
    sent_means: Literal["queued", "sent", "acknowledged"] = "queued"
    rest_kept: bool = True
    whole: int | None = None


def manners_of(modem: AttachedModem, family: Family, receive: Receive) -> Manners:
    """Return how sockets of ``family`` behave; :class:`NotSupportedError` if the modem has none, or not that way."""
    able = modem.capabilities
    profile = modem.profile
    if not able.get(family):
        raise NotSupportedError(
            f"{profile.name} has no {_KINDS[family]} sockets",
            capability=family,
            choices=('engine="host"',) if family in {"tls", "dtls"} else (),
        )
    if not able.get(receive):
        other = "push" if receive == "pull" else "buffered"
        raise NotSupportedError(
            f"{profile.name} cannot receive that way", capability=receive, choices=(f'receive="{other}"',)
        )
    behaviour = profile.behaviour
    send = profile.size(family, "send") or 0
    size = profile.size(family, "receive") or 0
    if send <= 0 or (size <= 0 and receive == "pull"):
        raise ConfigurationError(f"profile {profile.name}: limits send and receive are missing")
    return Manners(
        send=send,
        receive=size,
        short_is_empty=behaviour.get("drained") == "short",
        poll=poll_period(profile) if receive == "pull" else None,
        kept=behaviour.get("remote_close", "held") == "held",
        clean_end=bool(able.get("close_reason")) and family == "tls",
        sent_means=behaviour.get("sent_means", "queued"),
        rest_kept=behaviour.get("datagram_rest", "kept") == "kept",
        whole=datagram_read(profile, family) if receive == "pull" and family in {"udp", "dtls"} else None,
    )
