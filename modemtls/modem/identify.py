"""Is there a modem, and which: by standard commands that are harmless on every modem."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from modemtls.at.exchange import Exchange, Expected
from modemtls.at.grammar import compile_pattern
from modemtls.at.recovery import Recovery, probe
from modemtls.errors import ModemRestartedError, ModemTimeoutError, NotAModemError, SyncError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from modemtls.at.channel import Channel
    from modemtls.at.exchange import Reply

__all__ = ["BAUDRATES", "CLOSE_QUOTE", "QUICK_RECOVERY", "Identity", "ask", "baudrates", "errors_as", "greet"]

logger = logging.getLogger(__name__)

BAUDRATES: Final = (115200, 921600, 9600, 460800, 230400, 57600, 38400, 19200, 3000000)
"""bit/s, likeliest first: rates of 27.010's port speed table (5.7 of 27.007, +CMUX) and what fast UARTs add."""

# V.250, 6.2.4 E0: no echo; 6.2.5 Q0: result codes are sent; 6.2.6 V1: as words. The answer is in the new form already.
_GREETING: Final = b"ATE0Q0V1"
_TERMINATORS: Final = (b"\r", b"\r\n")  # V.250, 6.2.1 has CR; applications on a modem's processor may want both
_GREETING_TIME: Final = 1.0  # s; 27.007 names no time, modems answer basic commands within 0.3 s

# Before anything is known of a modem. The first probe also reaches one that was left with numeric or no result codes.
# The second is known to the simplest interpreters as well, and is not spoilt by what was typed in front of the first.
QUICK_RECOVERY: Final = Recovery(
    probes=(
        probe("ATE0Q0V1+CFUN?", "+CFUN: {level:int}{rest:more}", timeout=0.5),  # 27.007, 8.2; V.250, 5.2.1
        probe("AT+CMEE?", "+CMEE: {mode:int}", timeout=0.5),  # 27.007, 9.1
    ),
    rounds=1,
)

# Ends a command whose closing quotation mark was lost, on modems to which a line end in quotes is none. With something
# behind it, so that such a command is refused and not carried out; to any other modem a line without AT is nothing
# (V.250, 5.2.1).
CLOSE_QUOTE: Final = b'"x\r\n'

_ANSWER_TIME: Final = 3.0  # s; identification needs neither SIM nor network
_GREETING_PAUSE: Final = 0.2  # s; after a refusal, which may have been about what a predecessor had begun to type

_ANY: Final = (Expected(compile_pattern("{value:text}"), repeat="many"),)

# What to ask: 27.007, 5.1 to 5.3; V.250, 6.1.4 to 6.1.6.
_QUESTIONS: Final = {
    "manufacturer": ("+CGMI", "+GMI"),
    "model": ("+CGMM", "+GMM"),
    "revision": ("+CGMR", "+GMR"),
}

# Information text that is no answer to any question: bare words that modems print while they start.
_PREFIXED: Final = re.compile(r"[+#^*%$&!][A-Z0-9_]+:? ?")


@dataclass(frozen=True, slots=True)
class Identity:
    """What a modem says of itself: manufacturer, model and revision of its software, ``""`` for what it does not say.

    ``lines``: everything it answered to +CGMI, +CGMM, +CGMR and ATI, for what is not told apart.
    """

    manufacturer: str = ""
    model: str = ""
    revision: str = ""
    lines: tuple[str, ...] = ()

    def __str__(self) -> str:
        named = " ".join(part for part in (self.manufacturer, self.model) if part) or " ".join(self.lines[:3])
        return f"{named or 'a modem that does not say its name'}" + (f", {self.revision}" if self.revision else "")


def greet(channel: Channel, *, attempts: int = 2, until: float | None = None, deadline: float | None = None) -> None:
    """Have the modem answer, without echo if it can, and in words.

    Tried ``attempts`` times, or, if a time ``until`` is given, until then and no longer; in no case beyond
    ``deadline``. A modem that goes on refusing that and answers a bare AT keeps its echo. Raises
    :class:`NotAModemError`. With :data:`QUICK_RECOVERY` an attempt costs some 1.1 s on a silent line, and some 6 s on
    one that is never silent. What it takes for the end of a command is kept in ``channel.terminator``: where nothing
    answers to CR, the next attempt is with CR LF. One that has answered to CR is never sent a needless LF, which could
    get into a payload.
    """
    refusal = ""
    known = channel.terminator is not None
    unheard = 0
    end = min((time for time in (until, deadline) if time is not None), default=None)
    while (attempts > 0 or until is not None) and (end is None or channel.clock() < end):
        attempts -= 1
        if not known:
            channel.terminator = _TERMINATORS[unheard % len(_TERMINATORS)]
        reply = _say(channel, _GREETING, end)
        if reply is None:
            unheard += 1
            continue
        known = True
        if reply.ok:
            channel.echo = False
            return
        if refusal:
            bare = _say(channel, b"AT", end)
            if bare is not None and bare.ok:
                logger.warning("the modem refuses %s: it keeps its echo", _GREETING.decode())
                channel.echo = None
                return
        else:  # heard for the first time, perhaps in the last attempt: a refusal alone is not the end
            attempts = max(attempts, 1)
        refusal = reply.final
        pause = channel.clock() + _GREETING_PAUSE
        channel.wait(lambda: False, pause if end is None else min(pause, end))
    if not known:
        channel.terminator = None
    if refusal:
        raise NotAModemError(f"it refuses even the simplest command ({_GREETING.decode()}: {refusal})")
    raise NotAModemError("nothing answers")


def _say(channel: Channel, line: bytes, deadline: float | None) -> Reply | None:
    try:
        return channel.exchange(Exchange(line=line, timeout=_GREETING_TIME), deadline=deadline)
    except (SyncError, ModemTimeoutError, ModemRestartedError):
        return None


def errors_as(channel: Channel, form: int, *, deadline: float | None = None) -> None:
    """Select how errors are told (27.007, 9.1: +CMEE 0 ``ERROR``, 1 numbers, 2 words); a modem without it stays."""
    reply = channel.exchange(Exchange(line=f"AT+CMEE={form}".encode(), timeout=_ANSWER_TIME), deadline=deadline)
    channel.error_form = form if reply.ok else None


def ask(channel: Channel, *, deadline: float | None = None, told: Callable[[str], None] | None = None) -> Identity:
    """Ask a modem that answers for its manufacturer, model and revision.

    ``told`` is called with the manufacturer, before anything else is asked; "" if the modem does not say.
    """
    found: dict[str, str] = {}
    everything: list[str] = []
    for name, commands in _QUESTIONS.items():
        for command in commands:
            lines = _lines(channel, command, deadline)
            if lines:
                found[name] = lines[0]
                everything += lines
                break
        if name == "manufacturer" and told is not None:
            told(found.get(name, ""))
    if not found.get("model"):
        everything += _lines(channel, "I", deadline)  # V.250, 6.1.3
    return Identity(**found, lines=tuple(dict.fromkeys(everything)))


def _lines(channel: Channel, command: str, deadline: float | None) -> list[str]:
    """Give the information text of a command's answer, without what else the modem had to say meanwhile.

    No unsolicited result is known yet: lines with another command's prefix are none of the answer, and if more than
    one is left, only those count that are there when asked again.
    """
    lines = _once(channel, command, deadline)
    if len(lines) > 1 and command != "I":
        again = _once(channel, command, deadline)
        lines = [line for line in lines if line in again] or lines
    return lines


def _once(channel: Channel, command: str, deadline: float | None) -> list[str]:
    reply = channel.exchange(
        Exchange(line=b"AT" + command.encode(), lines=_ANY, timeout=_ANSWER_TIME), deadline=deadline
    )
    if not reply.ok:
        return []
    lines = []
    for line in (line.text.strip() for line in reply.lines):
        if line.startswith(command + ":"):
            line = line[len(command) + 1 :]  # noqa: PLW2901 - some modems put the command's name before the text
        elif _PREFIXED.match(line):
            continue
        lines.append(line.strip(' "'))
    return [line for line in lines if line]


def baudrates(asked: int | str | None, *, serial_line: bool) -> Sequence[int]:
    """Give the rates to try, in order, for what the caller asked (see ``Settings.baudrate``)."""
    if isinstance(asked, int):
        return (asked,)
    return BAUDRATES if asked == "auto" or serial_line else BAUDRATES[:1]
