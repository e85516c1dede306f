"""Whether the modem's clock can be relied on now: when it was last looked at, and what has happened since."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from modemtls.errors import ModemError
from modemtls.modem.clock import ClockState, HostTime, look_again, set_clock
from modemtls.modem.steps import step

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.modem.interfaces import Host, Turn
    from modemtls.modem.settings import Progress

__all__ = ["Timekeeper"]

_HOLDS: Final = 3600.0  # s; a clock that was read longer ago is read again before it decides about certificates
_POST_MORTEM: Final = 5.0  # s; for reading it after a failure, when the caller has waited already


class Timekeeper:
    """The clock of one modem. ``turn``: that of bringing the modem up, for :meth:`require` and :meth:`look_back`.

    ``pdp`` gives the PDP context over which ``ntp``, a server's name, can be asked.
    """

    def __init__(
        self,
        host: Host,
        turn: Turn,
        *,
        tell: Progress,
        pdp: Callable[[], int | None],
        ntp: str | None = None,
        time: HostTime | None = None,
    ) -> None:
        self.state = ClockState(None, "not looked at yet")
        self._host = host
        self._turn = turn
        self._tell = tell
        self._pdp = pdp
        self._ntp = ntp
        self._time = time or HostTime()
        self._epoch: int | None = None
        self._doubts = -1

    def look(self, deadline: float | None, *, quick: bool = False) -> None:
        """Read the clock, and set it if it is off; ``quick``: without asking a time server. Holding the turn."""
        epoch, doubts = self._host.epoch, self._host.doubts
        with step("clock"):
            self._tell("clock", "checking")
            ntp = None if quick else self._ntp
            self.state = set_clock(self._host, self._time, pdp=self._pdp(), ntp=ntp, deadline=deadline)
        self._epoch, self._doubts = epoch, doubts

    def require(self, deadline: float | None) -> None:
        """Have a clock that certificates' dates can be checked against, and that was read lately.

        Raises :class:`ModemError` with the reason when there is none.
        """
        if (
            self._epoch == self._host.epoch
            and self._doubts == self._host.doubts
            and self.state.source is not None
            and self._host.now() - self.state.at < _HOLDS
        ):
            return
        with self._turn.take(self._host.now, deadline):
            if not self._still_right(deadline):
                self.look(deadline)
        if self.state.source is None:
            raise ModemError(f"clock: certificates' dates cannot be checked: {self.state.detail}")

    def look_back(self, deadline: float | None) -> None:
        """Have :attr:`state` say what the clock shows now: a wrong one may be why a connection failed. Never raises."""
        end = self._host.now() + _POST_MORTEM
        end = end if deadline is None else min(end, deadline)
        with contextlib.suppress(ModemError), self._turn.take(self._host.now, end):
            if not self._still_right(end):
                self.look(end, quick=True)
            if self.state.time is not None:
                shows = f"it shows {self.state.time:%Y-%m-%d %H:%M} UTC now"
                self.state = replace(self.state, detail=f"{self.state.detail.partition('; it shows ')[0]}; {shows}")

    def _still_right(self, deadline: float | None) -> bool:
        """Read the clock once, if that is enough to know that it is right."""
        epoch, doubts = self._host.epoch, self._host.doubts
        if self._epoch != epoch or self.state.source is None:
            return False
        with step("clock"):
            found = look_again(self._host, self.state, deadline=deadline)
        if found is None:
            return False
        self.state = found
        self._doubts = doubts
        return True
