"""From a port's name to a modem that answers, and to the profile that fits it."""

from __future__ import annotations

import contextlib
import difflib
import logging
import os
import re
import select as select_module
import time
from pathlib import Path
from typing import TYPE_CHECKING

from modemtls.at.channel import Channel
from modemtls.at.exchange import Exchange, Expected, NoAnswerError
from modemtls.at.grammar import Grammar
from modemtls.at.port import open_port
from modemtls.errors import (
    ConfigurationError,
    ModemError,
    ModemRestartedError,
    NotAModemError,
    NotSupportedError,
    SyncError,
)
from modemtls.modem.identify import CLOSE_QUOTE, QUICK_RECOVERY, baudrates, greet
from modemtls.profile import bundled, load
from modemtls.profile.identity import candidate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from modemtls.at.port import Port
    from modemtls.at.trace import Trace
    from modemtls.modem.identify import Identity
    from modemtls.modem.settings import Settings
    from modemtls.profile import Profile
    from modemtls.profile.identity import Candidate

__all__ = ["careful", "find", "firmware", "is_serial_line", "select", "suits"]

logger = logging.getLogger(__name__)

_LISTENING = 0.3  # s; what answers a bare AT at all begins to within this time
_MAX_HEARD = 4096


def careful(wanted: Profile | None, manufacturer: str = "") -> Grammar:
    """Give what may come from a modem of which no more is known, and how long to be silent behind each result.

    ``wanted``: the profile that was asked for; else the longest that any needs that may turn out to be for it.
    """
    if wanted is not None:
        return Grammar(guard_after_result=wanted.line.after_result)
    known = [candidate(name) for name in bundled()]
    pauses = [one.pause for one in known if one.identify.made_by(manufacturer)]
    return Grammar(guard_after_result=max(pauses, default=0.0))


def is_serial_line(name: str) -> bool:
    """Tell whether ``name`` is a serial device, whose baud rate matters: no pseudo-terminal, no network port."""
    if not name.startswith("/dev/"):
        return False
    with contextlib.suppress(OSError):
        name = str(Path(name).resolve())
    return name.startswith("/dev/tty") and name != "/dev/tty"


def find(
    name: str,
    settings: Settings,
    trace: Trace | None = None,
    *,
    wanted: Profile | None = None,
    deadline: float | None = None,
    opener: Callable[..., Port] = open_port,
) -> Channel:
    """Open the port and have the modem answer, at the baud rate that was asked for or that is found.

    What may come at any time is as :func:`careful` says of ``wanted``. ``deadline`` on the clock of
    :func:`time.monotonic`; it may be passed by the third of a second that it takes to tell what comes from the port.
    Raises :class:`PortError` and its kinds; :class:`NotAModemError`, with what came instead and the rates tried.
    """
    tried: list[int] = []
    told, late = "", False
    grammar = careful(wanted)
    rates = list(baudrates(settings.baudrate, serial_line=is_serial_line(name)))
    silent: list[int] = []
    while rates or silent:
        # Last, and where nothing comes: a modem that merely did not listen may wait for a second mark then.
        close_quote = not rates
        rate = (rates or silent).pop(0)
        if not close_quote:
            tried.append(rate)
        port = opener(name, rate, rtscts=settings.rtscts, deadline=deadline)
        attempts = 1 if told and not close_quote else 2
        channel, what, final = _try(port, trace, grammar, attempts=attempts, close_quote=close_quote, deadline=deadline)
        if channel is not None:
            return channel
        logger.info("%s at %d bit/s: %s", name, rate, what)
        if what == _SILENCE and not close_quote:
            silent.append(rate)
        told = what if not told or told == _SILENCE else told
        late = deadline is not None and time.monotonic() >= deadline
        if final or late:
            break
    where = f"tried {', '.join(map(str, tried))} bit/s" + (" until the time ran out" if late else "")
    raise NotAModemError(f"{name}: no modem there: {told} ({where})")


def _try(
    port: Port, trace: Trace | None, grammar: Grammar, *, attempts: int, close_quote: bool, deadline: float | None
) -> tuple[Channel | None, str, bool]:
    """Give a channel on ``port`` if a modem answers, else what came instead and whether no other rate can help.

    ``close_quote``: begin with what ends a quoted text that a predecessor left open.
    """
    spare = os.dup(port.fileno())  # to listen once more when the channel has gone
    channel: Channel | None = None
    try:
        if close_quote:
            with contextlib.suppress(OSError):
                os.write(spare, CLOSE_QUOTE)
        channel = Channel(port, grammar, trace=trace, recovery=QUICK_RECOVERY)
        greet(channel, attempts=attempts, deadline=deadline)
    except NotAModemError as error:
        if channel is not None:
            channel.close()
        return None, *_diagnose(spare, error.message)
    except BaseException:
        if channel is not None:
            channel.close()
        port.close()
        raise
    else:
        return channel, "", True
    finally:
        os.close(spare)


_SILENCE = "nothing answers"


def _diagnose(handle: int, refusal: str) -> tuple[str, bool]:
    """Tell what comes from a port in answer to a bare AT, and whether another baud rate cannot help."""
    heard = _listen(handle)
    if not heard.strip(b"\r\n\0"):
        return refusal, refusal != _SILENCE
    if not heard.replace(b"AT", b"").strip(b"\r\n\0"):
        return "it only sends back what it is sent", True
    if re.search(rb"[^\x09\x0a\x0d\x20-\x7e]", heard):
        return f"what comes is no text (wrong baud rate?): {heard[:12].hex(' ')}", False
    if refusal != _SILENCE:
        return refusal, True
    return f"what comes is no answer to AT commands: {heard[:40].decode('ascii', 'replace')!r}", False


def _listen(handle: int) -> bytes:
    heard = b""
    end = time.monotonic() + _LISTENING
    with contextlib.suppress(OSError):
        os.write(handle, b"AT\r")
        poll = select_module.poll()
        poll.register(handle, select_module.POLLIN)
        while len(heard) < _MAX_HEARD and poll.poll(max(0, 1000 * (end - time.monotonic()))):
            piece = os.read(handle, _MAX_HEARD)
            if not piece:
                break
            heard += piece
    return heard


def select(channel: Channel, identity: Identity, wanted: Profile | None, *, deadline: float | None = None) -> Profile:
    """Give the profile that was asked for, else the one that recognises the modem.

    Of the others only what identifies their modems is read. Raises :class:`ConfigurationError` when none does, or
    several do equally well.
    """
    if wanted is not None:
        return wanted
    profiles = [candidate(name) for name in bundled()]
    scores = {profile.name: _score(profile, identity) for profile in profiles}
    best = max(scores.values(), default=0)
    fitting = [profile for profile in profiles if best > 0 and scores[profile.name] == best]
    if not fitting:
        fitting = [profile for profile in profiles if _answers(channel, profile, deadline)][:1]
    if len(fitting) == 1:
        logger.info("%s: profile %s", identity, fitting[0].name)
        return load(fitting[0].name)
    if fitting:
        names = [profile.name for profile in fitting]
        raise ConfigurationError(
            f"{identity}: the profiles {' and '.join(names)} fit equally well; choose one with profile="
        )
    raise ConfigurationError(f"{identity}: no bundled profile is for this modem{_nearest(profiles, identity)}")


def firmware(channel: Channel, profile: Profile, identity: Identity, *, deadline: float | None = None) -> str:
    """Give the version that the profile's conditions on firmware mean: by its own question, else the revision."""
    question = profile.identify.firmware
    if question is None:
        return identity.revision
    exchange = Exchange(line=question.line, lines=(Expected(question.pattern, repeat="optional"),))
    try:
        lines = channel.exchange(exchange, deadline=deadline).lines
    except (ModemRestartedError, NoAnswerError, SyncError) as error:
        logger.info("%s; once more", error)
        lines = channel.exchange(exchange, deadline=deadline).lines
    return str(lines[0].values["firmware"]) if lines else identity.revision


def suits(profile: Profile, settings: Settings) -> None:
    """Refuse what would drive the modem wrongly, before anything that depends on it is sent.

    Raises :class:`NotSupportedError` for a profile with a key that this version does not act upon,
    :class:`ConfigurationError` for a PDP context that the profile does not list.
    """
    beyond = profile.beyond()
    if beyond:
        name, why = next(iter(beyond.items()))
        raise NotSupportedError(f"{profile.name}: {name} is not acted upon yet ({why})", capability=name)
    contexts = profile.limits.get("pdp_contexts")
    if settings.pdp is not None and contexts and settings.pdp not in contexts:
        raise ConfigurationError(f"pdp: this modem has no PDP context {settings.pdp}, only {_ranges(contexts)}")


def _ranges(numbers: Sequence[int]) -> str:
    """Return numbers as people write them: ``1 to 16``, ``1, 3``."""
    if len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(map(str, numbers))


def _score(profile: Candidate, identity: Identity) -> int:
    identify = profile.identify
    score = identify.score(identity.manufacturer, identity.model, identity.revision)
    if score or identity.model:
        return score
    # It does not say which line is the model: try all that it said.
    return max((identify.score(identity.manufacturer, line, line) for line in identity.lines), default=0)


def _answers(channel: Channel, profile: Candidate, deadline: float | None) -> bool:
    for question in profile.identify.ask:
        exchange = Exchange(line=question.line, lines=(Expected(question.pattern, repeat="optional"),))
        with contextlib.suppress(ModemError):
            if channel.exchange(exchange, deadline=deadline).lines:
                return True
    return False


def _nearest(profiles: Sequence[Candidate], identity: Identity) -> str:
    models = {model.upper(): profile.name for profile in profiles for model in profile.models}
    near = difflib.get_close_matches(identity.model.upper(), models, n=1, cutoff=0.0)
    if not near:
        return ""
    name = models[near[0]]
    return f'; the nearest is {name}: try profile="{name}", or write a profile'
