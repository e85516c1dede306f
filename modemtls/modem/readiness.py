"""How far the modem has been brought up, and whether that still holds.

A restart (the end of a boot epoch) leaves nothing of it. After what may have hidden one (:attr:`Host.doubts`)
everything is asked again, and only what is amiss is put right; after a lost bearer only what depends on it.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Final

from modemtls.errors import ModemRestartedError, ModemTimeoutError, NotAModemError
from modemtls.modem.identify import errors_as, greet
from modemtls.modem.steps import step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modemtls.at.channel import Channel
    from modemtls.modem.bringup import Bringup
    from modemtls.modem.interfaces import Host, Turn
    from modemtls.modem.settings import Progress
    from modemtls.modem.slots import SlotTable
    from modemtls.modem.sockets import Sockets
    from modemtls.modem.timekeeper import Timekeeper
    from modemtls.profile import Profile

__all__ = ["RESTARTS", "Readiness"]

logger = logging.getLogger(__name__)

RESTARTS: Final = 3
"""A modem that restarts this often while it is brought up has a problem that patience does not cure."""

_PROBES: Final = 2  # set-up and probing in which something made no sense are repeated once


class Readiness:
    """*Ready*: commands work as the profile expects. *Up*: sockets can be opened.

    ``timeout``: seconds for a bring-up without a deadline. The ``note_…`` methods are called in the reading thread.
    """

    def __init__(
        self,
        channel: Channel,
        host: Host,
        profile: Profile,
        *,
        turn: Turn,
        steps: Bringup,
        clock: Timekeeper,
        slots: SlotTable,
        sockets: Sockets,
        timeout: float,
        tell: Progress,
    ) -> None:
        self._channel = channel
        self._host = host
        self._profile = profile
        self._turn = turn
        self._steps = steps
        self._clock = clock
        self._slots = slots
        self._sockets = sockets
        self._timeout = timeout
        self._tell = tell
        self.ready_epoch: int | None = None
        """The boot epoch that the modem was last made ready in."""
        self._ready_doubts = -1
        self._up_epoch: int | None = None
        self._up_doubts = -1
        self._bearer_up = False

    @property
    def pdp(self) -> int | None:
        """The PDP context in use; None before the modem was up."""
        return self._steps.pdp

    def reach(self, host: str, deadline: float | None) -> None:
        """Raise where the PDP context in use is known not to lead to an address; see :meth:`Bringup.reach`."""
        self._steps.reach(host, deadline)

    def ensure_ready(self, *, deadline: float | None = None) -> None:
        """Bring the modem to where commands work as the profile expects: error form, set-up, probed flags.

        Enough for credentials and information; no SIM or network needed. No command when already so in this epoch, and
        nothing has happened since that may have hidden a restart.
        """
        if not self._is_ready():
            self._whatever_restarts(self._ready, deadline)

    def ensure_up(self, *, deadline: float | None = None) -> None:
        """Bring the modem to where sockets can be opened: ready, SIM, registration, PDP context, clock.

        No command when already so in this epoch, the bearer has not been reported lost, and nothing has happened that
        may have hidden a restart; after that everything is asked again, and only what is amiss is put right. Begun
        again, a bounded number of times, when the modem restarts in the middle. The error says which step failed and
        why.
        """
        if not self._is_up():
            self._whatever_restarts(self._up, deadline)

    def doubt_bearer(self) -> None:
        """Take the PDP context for lost, and whatever else may have been lost with it unnoticed."""
        self._host.raise_doubt(f"PDP context {self.pdp} was not usable")
        self._bearer_up = False

    @contextlib.contextmanager
    def at_rest(self, deadline: float | None) -> Iterator[None]:
        """Keep everybody from bringing the modem up within the block."""
        with self._turn.take(self._host.now, deadline):
            yield

    def note_radio_off(self) -> None:
        """Note that the radio goes off: the next connection brings it up again."""
        self._up_epoch = None
        self._bearer_up = False

    def note_lost(self, pdp: int | None) -> None:
        """Note that the network ended a PDP context (None: all)."""
        self._steps.note_lost(pdp)
        if pdp is None or pdp == self.pdp:
            self._bearer_up = False

    def note_change(self, *, no_sim: bool = False) -> None:
        """Note that the SIM or the registration changed, or the boot epoch; ``no_sim``: the SIM has gone."""
        self._steps.note_change()
        if no_sim:
            self._up_epoch = None

    def _is_ready(self) -> bool:
        return self.ready_epoch == self._host.epoch and self._ready_doubts == self._host.doubts

    def _is_up(self) -> bool:
        return self._bearer_up and self._up_epoch == self._host.epoch and self._up_doubts == self._host.doubts

    def _whatever_restarts(self, bring: Callable[[float | None], None], deadline: float | None) -> None:
        deadline = self._host.now() + self._timeout if deadline is None else deadline
        with self._turn.take(self._host.now, deadline):
            for left in reversed(range(RESTARTS)):
                try:
                    bring(deadline)
                except ModemRestartedError as error:
                    logger.warning("bring-up: %s", error)
                    if not left:
                        raise ModemRestartedError(
                            f"bring-up: given up after {RESTARTS} restarts of the modem; the last: {error}"
                        ) from error
                else:
                    return

    def _ready(self, deadline: float | None) -> None:
        epoch = self._host.epoch
        if self._is_ready():
            return
        wanted = self._profile.line.cmee
        with step("modem"):
            if self._channel.echo is not False:
                self._tell("modem", "waiting until it answers")
                self._wait_for_boot(deadline)
            self._tell("modem", "setting up")
            if self.ready_epoch == epoch or self._channel.error_form != wanted:
                errors_as(self._channel, wanted, deadline=deadline)
            doubts = self._set_up(deadline)
        self._still(epoch)
        self.ready_epoch = epoch
        self._ready_doubts = doubts

    def _set_up(self, deadline: float | None) -> int:
        """Set up and probe; once more if something in between made no sense. The count of doubts that it stands for."""
        doubts = -1
        for _ in range(_PROBES):
            if doubts != self._host.doubts:
                doubts = self._host.doubts
                for op in ("setup", "probe"):
                    if self._host.has(op):
                        self._host.run(op, {}, deadline=deadline)
        return doubts

    def _wait_for_boot(self, deadline: float | None) -> None:
        until = self._host.now() + self._profile.line.boot_time
        try:
            greet(self._channel, until=until if deadline is None else min(until, deadline))
        except NotAModemError as error:
            raise ModemTimeoutError(f"modem: it restarted and does not answer since: {error}") from error

    def _up(self, deadline: float | None) -> None:
        self._ready(deadline)
        if self._is_up():
            return
        epoch = self._host.epoch
        doubts = self._host.doubts
        anew = self._up_epoch != epoch
        if anew or self._up_doubts != doubts:
            self._steps.radio(deadline)  # first: a modem without function may not even see its SIM
            self._steps.sim(deadline)
        self._steps.registration(deadline)
        self._bearer_up = True  # a loss reported from here on counts
        before = self.pdp
        try:
            self._steps.bearer(deadline)
        except BaseException:
            self._bearer_up = False
            raise
        if not anew and self._steps.found_down:
            self._host.raise_doubt(f"PDP context {self.pdp} was down, and nothing had said so")
            doubts += 1  # what it makes doubtful of this was looked at just now
            self._slots.on_network_lost(self.pdp)
        elif not anew and before != self.pdp:
            self._host.raise_doubt(f"PDP context {before} is not as it was set up, and nothing had said so")
            doubts += 1
        if anew:
            with step("sockets"):
                self._sockets.meet_others(deadline)
            self._clock.look(deadline)
        self._still(epoch)
        self._up_epoch = epoch
        self._up_doubts = doubts

    def _still(self, epoch: int) -> None:
        if self._host.epoch != epoch:
            raise ModemRestartedError("the modem restarted while it was being brought up")
