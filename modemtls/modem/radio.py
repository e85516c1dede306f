"""Switching the radio off for as long as it takes to write what a modem takes only then."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING

from modemtls.errors import CommandError, CredentialError, ModemTimeoutError
from modemtls.modem.facts import OFF

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from modemtls.modem.interfaces import Host

__all__ = ["RadioSilence"]

logger = logging.getLogger(__name__)


class RadioSilence:
    """Blocks within which the radio is off.

    ``still``: a block in which nobody else brings the modem up. ``busy`` names the open sockets, of whomever; empty if
    there are none. ``went_off`` is told before the radio goes off. ``consent``: it may, though it was on.
    """

    def __init__(
        self,
        host: Host,
        *,
        still: Callable[[float | None], AbstractContextManager[None]],
        busy: Callable[[float | None], str],
        went_off: Callable[[], None],
        consent: bool,
    ) -> None:
        self._host = host
        self._still = still
        self._busy = busy
        self._went_off = went_off
        self._consent = consent
        self._agreed: set[int] = set()  # threads

    @contextlib.contextmanager
    def agreed(self) -> Iterator[None]:
        """Take it that the radio may go off for what this thread does within the block."""
        thread = threading.get_ident()
        self._agreed.add(thread)
        try:
            yield
        finally:
            self._agreed.discard(thread)

    @contextlib.contextmanager
    def writing(self, deadline: float | None) -> Iterator[None]:
        """Have the radio off within the block, and afterwards as it was.

        Raises :class:`CredentialError` where it is on and must stay on: without consent, or with a socket open.
        """
        with self._still(deadline):
            if self._host.run("radio_state", deadline=deadline).values.get("level") in OFF:
                yield
                return
            self._agree(deadline)
            logger.info("credentials: the radio goes off while they are written")
            self._went_off()  # first: wherever this ends, the next connection brings the modem up again
            self._host.run("radio_off", deadline=deadline)
            try:
                yield
            finally:
                with contextlib.suppress(CommandError, ModemTimeoutError):  # bringing it up will do it then
                    self._host.run("radio_on")  # whatever the caller's time: it was on

    def _agree(self, deadline: float | None) -> None:
        why = "this modem stores certificates and keys only while its radio is off, and it is on"
        if not (self._consent or threading.get_ident() in self._agreed):
            raise CredentialError(
                f"credentials: {why}: open the modem with radio_off=True, which lets the driver switch it off for a "
                "moment, or have them stored before the radio goes on"
            )
        busy = self._busy(deadline)
        if busy:
            raise CredentialError(f"credentials: {why}, for {busy}: close what is open first")
