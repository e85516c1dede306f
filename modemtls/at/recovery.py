"""How to bring commands and answers back into step on this modem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from modemtls.at.exchange import Exchange, Expected
from modemtls.at.grammar import compile_pattern

__all__ = ["STANDARD_RECOVERY", "Recovery", "probe"]


def probe(line: str, pattern: str, *, timeout: float = 1.0) -> Exchange:
    """Return a harmless command whose answer is told apart by its information line. Raises PatternError."""
    return Exchange(line=line.encode(), lines=(Expected(compile_pattern(pattern)),), timeout=timeout)


@dataclass(frozen=True, slots=True)
class Recovery:
    """What the modem understands when in doubt.

    ``probes``: at least two harmless commands with distinct information lines (a bare OK proves nothing).
    ``input_timeout``: seconds after which the modem gives up waiting for payload by itself, None if it never does or
    nobody knows. ``escape``: bytes that end a data phase, sent alone with ``escape_guard`` seconds of silence before
    and after. ``quiet``: seconds of silence that count as silence. ``rounds``: how often all probes are tried.
    ``close_quote``: bytes that end a command whose closing quotation mark was lost, sent alone behind silence
    in a further round behind each but the first. A modem that was in no such text then is in one, until the next.
    """

    probes: tuple[Exchange, ...]
    input_timeout: float | None = None
    escape: bytes = b""
    escape_guard: float = 0.1
    quiet: float = 0.1
    rounds: int = 3
    close_quote: bytes = b""

    def __post_init__(self) -> None:
        if len({one.lines[0].pattern.head for one in self.probes if one.lines}) < 2:
            raise ValueError("recovery needs at least two probes with different information lines")


# Read commands that 27.007 makes mandatory (8.2 +CFUN, 9.1 +CMEE), answered without a SIM or a network. ESC cancels
# a 27.005 prompt (3.4.4) and is ignored in a command line (V.250 5.2.1).
STANDARD_RECOVERY: Final = Recovery(
    probes=(probe("AT+CMEE?", "+CMEE: {mode:int}"), probe("AT+CFUN?", "+CFUN: {level:int}{rest:more}")),
    escape=b"\x1b",
)
