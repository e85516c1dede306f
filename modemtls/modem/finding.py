"""From a port's name to a modem that answers, and to the profile that fits it."""

from __future__ import annotations

import contextlib
import difflib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from modemtls.at.channel import Channel
from modemtls.at.exchange import Exchange, Expected
from modemtls.at.port import open_port
from modemtls.errors import ConfigurationError, ModemError, NotAModemError
from modemtls.modem.identify import QUICK_RECOVERY, Listener, baudrates, greet
from modemtls.profile import bundled, load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from modemtls.at.port import Port
    from modemtls.at.trace import Trace
    from modemtls.modem.identify import Identity
    from modemtls.modem.settings import Settings
    from modemtls.profile import Profile

__all__ = ["find", "is_serial_line", "select"]

logger = logging.getLogger(__name__)

Opener = "Callable[..., Port]"


def is_serial_line(name: str) -> bool:
    """Tell whether ``name`` is a serial device, whose baud rate matters: no pseudo-terminal, no network port."""
    if not name.startswith("/dev/"):
        return False
    with contextlib.suppress(OSError):
        name = str(Path(name).resolve())
    return name.startswith("/dev/tty") and name != "/dev/tty"


def find(
    name: str, settings: Settings, trace: Trace | None = None, *, opener: Callable[..., Port] = open_port
) -> tuple[Channel, Listener]:
    """Open the port and have the modem answer, at the baud rate that was asked for or that is found.

    Raises :class:`PortError` and its kinds; :class:`NotAModemError`, with what came instead and the rates tried.
    """
    tried: list[int] = []
    reasons: list[str] = []
    for rate in baudrates(settings.baudrate, serial_line=is_serial_line(name)):
        listener = Listener(trace)
        channel = Channel(opener(name, rate, rtscts=settings.rtscts), trace=listener, recovery=QUICK_RECOVERY)
        tried.append(rate)
        try:
            greet(channel, listener, attempts=1 if reasons else 2)
        except NotAModemError as error:
            channel.close()
            reasons.append(error.message)
            logger.info("%s at %d bit/s: %s", name, rate, error)
            if "sends back" in error.message or "refuses" in error.message:
                break  # the rate is right
        except BaseException:
            channel.close()
            raise
        else:
            return channel, listener
    told = next((one for one in reasons if "nothing" not in one), reasons[0])
    rates = ", ".join(map(str, tried))
    raise NotAModemError(f"{name}: no modem there: {told} (tried {rates} bit/s)")


def select(channel: Channel, identity: Identity, wanted: str | None, *, deadline: float | None = None) -> Profile:
    """Give the profile that was asked for by name or file, else the one that recognises the modem.

    Raises :class:`ConfigurationError` when none does, or several do equally well.
    """
    if wanted is not None:
        return load(wanted)
    profiles = [load(name) for name in bundled()]
    scores = {profile.name: _score(profile, identity) for profile in profiles}
    best = max(scores.values(), default=0)
    fitting = [profile for profile in profiles if best > 0 and scores[profile.name] == best]
    if not fitting:
        fitting = [profile for profile in profiles if _answers(channel, profile, deadline)][:1]
    if len(fitting) == 1:
        logger.info("%s: profile %s", identity, fitting[0].name)
        return fitting[0]
    if fitting:
        names = [profile.name for profile in fitting]
        raise ConfigurationError(
            f"{identity}: the profiles {' and '.join(names)} fit equally well; choose one with profile="
        )
    raise ConfigurationError(f"{identity}: no bundled profile is for this modem{_nearest(profiles, identity)}")


def _score(profile: Profile, identity: Identity) -> int:
    identify = profile.identify
    score = identify.score(identity.manufacturer, identity.model, identity.revision)
    if score or identity.model:
        return score
    # It does not say which line is the model: try all that it said.
    return max((identify.score(identity.manufacturer, line, line) for line in identity.lines), default=0)


def _answers(channel: Channel, profile: Profile, deadline: float | None) -> bool:
    for question in profile.identify.ask:
        exchange = Exchange(line=question.line, lines=(Expected(question.pattern, repeat="optional"),))
        with contextlib.suppress(ModemError):
            if channel.exchange(exchange, deadline=deadline).lines:
                return True
    return False


def _nearest(profiles: Sequence[Profile], identity: Identity) -> str:
    models = {model.upper(): profile.name for profile in profiles for model in profile.models}
    near = difflib.get_close_matches(identity.model.upper(), models, n=1, cutoff=0.0)
    if not near:
        return ""
    name = models[near[0]]
    return f'; the nearest is {name}: try profile="{name}", or write a profile'
