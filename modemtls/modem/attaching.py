"""From the name of a port to an attached modem with its profile."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from modemtls.at.recovery import STANDARD_RECOVERY
from modemtls.errors import ModemRestartedError, ModemTimeoutError, SyncError
from modemtls.modem.attached import AttachedModem
from modemtls.modem.identify import ask, greet
from modemtls.modem.readiness import RESTARTS

if TYPE_CHECKING:
    from modemtls.at.channel import Channel
    from modemtls.at.trace import Trace
    from modemtls.modem.identify import Identity
    from modemtls.modem.settings import Progress, Settings
    from modemtls.profile import Profile

__all__ = ["attach"]

logger = logging.getLogger(__name__)


def _identity(channel: Channel, wanted: Profile | None, deadline: float) -> Identity:
    """Ask what modem it is; again, should it restart meanwhile: what announces a restart is not known yet."""
    from modemtls.modem.finding import careful

    for left in reversed(range(RESTARTS)):
        try:
            if channel.echo is not False:
                greet(channel, deadline=deadline)
            return ask(channel, deadline=deadline, told=lambda maker: channel.set_grammar(careful(wanted, maker)))
        except (ModemRestartedError, ModemTimeoutError, SyncError) as error:
            if not left or channel.clock() >= deadline:
                raise
            logger.info("identification: %s; once more", error)
            channel.echo = None
    raise AssertionError


def attach(
    port: str, settings: Settings, *, trace: Trace | None = None, progress: Progress | None = None
) -> AttachedModem:
    """Open ``port``, find out what modem it is and give it with its profile; all of it within ``settings.timeout``.

    Sends only standard commands. Raises :class:`PortError` and its kinds, :class:`NotAModemError`, and
    :class:`ConfigurationError` for a profile that does not exist, when no profile, or more than one, fits, or for a PDP
    context that the modem does not have; :class:`NotSupportedError` for a profile that asks for what this version does
    not do. With a profile given in ``settings`` that comes before the port is opened.
    """
    from modemtls.modem.finding import find, firmware, select, suits
    from modemtls.modem.runner import Runner
    from modemtls.profile import load

    tell = progress or (lambda step, detail: None)  # noqa: ARG005
    wanted = None if settings.profile is None else load(settings.profile)  # once: one from a file costs a moment
    if wanted is not None:
        suits(wanted, settings)
    tell("port", f"opening {port}")
    deadline = time.monotonic() + settings.timeout
    channel = find(port, settings, trace, wanted=wanted, deadline=deadline)
    try:
        tell("modem", "asking what it is")
        identity = _identity(channel, wanted, deadline)
        profile = select(channel, identity, wanted, deadline=deadline)
        tell("modem", f"{identity}: profile {profile.name}")
        version = firmware(channel, profile, identity, deadline=deadline)
        profile = profile.fitted(model=identity.model, firmware=version)
        suits(profile, settings)
        channel.set_grammar(profile.grammar)
        channel.recovery = profile.recovery or STANDARD_RECOVERY
        runner = Runner(channel, profile, model=identity.model, firmware=version)
        return AttachedModem(port, channel, runner, settings, identity, progress=progress)
    except BaseException:
        channel.close()
        raise
