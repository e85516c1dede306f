"""What passes on the line, for logs, the demo and recordings. Secrets are blacked out before they get here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

__all__ = ["Direction", "Trace", "TraceRecord"]

Direction = Literal["out", "in", "note"]


@dataclass(frozen=True, slots=True)
class TraceRecord:
    """One piece of the dialogue.

    ``time`` is the channel's clock (s). ``data`` are the bytes as they passed; a secret in them is replaced, and what
    was replaced is given in ``redacted`` as (offset in data, number of bytes there, number of bytes that passed).
    ``shown`` is one readable line. A note has no data.
    """

    time: float
    direction: Direction
    data: bytes
    shown: str
    redacted: tuple[tuple[int, int, int], ...] = ()


class Trace(Protocol):
    """Receives the dialogue, in the thread that reads or writes. It must not block and not use the channel."""

    def __call__(self, record: TraceRecord, /) -> None:
        """Take one record."""
