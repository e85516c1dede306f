"""What a profile says of its sockets without a capability of its own: what comes whole, what is told unasked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.profile.results import gives

if TYPE_CHECKING:
    from modemtls.profile.profile import Profile

__all__ = ["datagram_read", "datagram_whole", "poll_period", "tells_local_port"]


def datagram_read(profile: Profile, family: str) -> int | None:
    """Return how many bytes of one datagram are read at most, where what is longer loses its end.

    None: all of any, since the modem tells what is left of it; or it reads none.
    """
    program = profile.programs.get(f"{family}_receive")
    return None if program is None or "left" in gives(program) else profile.size(family, "receive")


def datagram_whole(profile: Profile, family: str) -> int | None:
    """Return the largest datagram, in bytes, that is known to be whole when it was read; None as above.

    One byte less than is read where the rest is dropped: the next read does not show whether there was one.
    """
    limit = datagram_read(profile, family)
    return limit if limit is None or profile.behaviour.get("datagram_rest", "kept") == "kept" else limit - 1


def poll_period(profile: Profile) -> float | None:
    """Return how often the modem has to be asked for data, in seconds; None: it gives notice."""
    poll = profile.behaviour.get("poll")
    return float(poll) if isinstance(poll, int | float) else None


def tells_local_port(profile: Profile, family: str) -> bool:
    """Whether the modem tells which local port a socket has; otherwise it is known only where it was chosen."""
    program = profile.programs.get(f"{family}_address")
    return program is not None and "local_port" in gives(program)
