"""The modem's sockets as the driver sees them, and what unsolicited result codes do to them.

A :class:`Slot` is one use of one socket number. URCs change it in the reading thread, which only sets state; whoever
waits for a change does so with ``channel.wait``. A number is used again as late as possible, and a URC only counts for
the use that it can belong to.
"""

from __future__ import annotations

import copy
import logging
from collections import deque
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.errors import ModemError
    from modemtls.modem.settings import Family, Receive

__all__ = ["PUSH_LIMIT", "Slot", "SlotState", "SlotTable"]

logger = logging.getLogger(__name__)

SlotState: TypeAlias = Literal["opening", "open", "closing", "gone"]

PUSH_LIMIT = 1 << 20
"""Bytes that one socket in push mode may have waiting: nothing can slow the modem down, so beyond this the stream is
given up rather than cut."""


class Slot:
    """One use of one of the modem's socket numbers.

    ``data_pending``: the modem holds data, or may (pull mode): true from a data URC until :meth:`drained`.
    ``closed``: why the far side ended the connection, or None; data may still be there to be read.
    ``lost``: why nothing can be read or sent any more (restart, bearer lost, overflow), or None.
    ``listener``: called in the reading thread after each change; it must only set state or wake someone.
    """

    __slots__ = (
        "_data_count",
        "_pushed",
        "_pushed_size",
        "closed",
        "data_pending",
        "epoch",
        "family",
        "generation",
        "listener",
        "lost",
        "number",
        "pdp",
        "receive",
        "state",
    )

    def __init__(
        self, family: Family, number: int, *, epoch: int, generation: int, pdp: int | None, receive: Receive
    ) -> None:
        self.family: Family = family
        self.number = number
        self.epoch = epoch
        self.generation = generation
        self.pdp = pdp
        self.receive: Receive = receive
        self.state: SlotState = "opening"
        self.data_pending = False
        self.closed: str | None = None
        self.lost: ModemError | None = None
        self.listener: Callable[[], None] | None = None
        self._data_count = 0
        self._pushed: deque[bytes] = deque()
        self._pushed_size = 0

    def __repr__(self) -> str:
        return f"<Slot {self.family} {self.number} {self.state} epoch {self.epoch} use {self.generation}>"

    @property
    def pushed(self) -> int:
        """Bytes received in push mode that :meth:`take` has not given yet."""
        return self._pushed_size

    @property
    def readable(self) -> bool:
        """Whether a read would find data, an end or an error without waiting."""
        return self.data_pending or self._pushed_size > 0 or self.closed is not None or self.lost is not None

    def check(self) -> None:
        """Raise why the socket is unusable, if it is. Call before every command for it."""
        if self.lost is not None:
            raise copy.copy(self.lost).with_traceback(None)

    def mark(self) -> int:
        """Take a mark before asking the modem for data, for :meth:`drained`."""
        return self._data_count

    def drained(self, mark: int) -> None:
        """Note that the modem said that nothing was left, in answer to a question asked after ``mark`` was taken.

        A data URC that came in between keeps the socket undrained: one read too many instead of data never read.
        """
        if self._data_count == mark:
            self.data_pending = False

    def take(self, size: int) -> bytes:
        """Give up to ``size`` bytes of what was received in push mode; ``b""`` when there is none."""
        pieces: list[bytes] = []
        left = size
        while left > 0 and self._pushed:
            piece = self._pushed.popleft()
            if len(piece) > left:
                self._pushed.appendleft(piece[left:])
                piece = piece[:left]
            pieces.append(piece)
            left -= len(piece)
        taken = b"".join(pieces)
        self._pushed_size -= len(taken)
        return taken


class SlotTable:
    """All sockets of one modem; filled and emptied by :class:`~modemtls.modem.attached.AttachedModem`."""

    def open(self, family: Family | None = None) -> list[Slot]:
        """List the driver's sockets that are not gone."""
        raise NotImplementedError
