"""One attached modem: everything that the layers above need of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modemtls.at.channel import Channel
    from modemtls.modem.contexts import ContextLease, ContextPool
    from modemtls.modem.credentials import CredentialStore
    from modemtls.modem.runner import Result, Runner
    from modemtls.modem.settings import Progress, Receive, Settings
    from modemtls.modem.slots import Slot, SlotTable
    from modemtls.profile import Profile

__all__ = ["AttachedModem", "attach"]


class AttachedModem:
    """A modem behind an open port, with its profile.

    ``name``: the port's name. ``deadline`` arguments are times of :meth:`now` (monotonic seconds), None for the
    modem's own limits. Every method may be called from any thread.
    """

    name: str
    settings: Settings
    channel: Channel
    profile: Profile
    runner: Runner
    contexts: ContextPool
    credentials: CredentialStore
    slots: SlotTable

    @property
    def epoch(self) -> int:
        """The boot epoch: a larger number after each restart of the modem."""
        raise NotImplementedError

    @property
    def capabilities(self) -> Mapping[str, object]:
        """What this modem with this firmware can do (brings the modem far enough up to probe, see `ensure_ready`)."""
        raise NotImplementedError

    @property
    def limits(self) -> Mapping[str, object]:
        """Sizes and numbers of the profile: ``send``, ``receive``, ``host``, ``contexts``, …."""
        raise NotImplementedError

    def now(self) -> float:
        """Read the clock that deadlines are measured with."""
        raise NotImplementedError

    def ensure_ready(self, *, deadline: float | None = None) -> None:
        """Bring the modem to where commands work as the profile expects: error form, set-up, probed flags.

        Enough for credentials and information; no SIM or network needed. No command when already so in this epoch.
        """
        raise NotImplementedError

    def ensure_up(self, *, deadline: float | None = None) -> None:
        """Bring the modem to where sockets can be opened: ready, SIM, registration, PDP context, clock.

        No command when already so in this epoch and the bearer has not been reported lost. Begun again, a bounded
        number of times, when the modem restarts in the middle. The error says which step failed and why.
        """
        raise NotImplementedError

    def open_tls(
        self, host: str, port: int, lease: ContextLease, *, receive: Receive = "pull", deadline: float | None = None
    ) -> Slot:
        """Open a TLS socket to ``host`` with the context of ``lease``; the handshake is complete on return.

        One command on modems that allow it. Every failure leaves the number free again; an interrupted open is closed
        in the background, and so is its late success. Raises :class:`ModemRestartedError` when the lease is of another
        epoch than the connection (the connection is then closed, never handed out): lease again and retry.
        """
        raise NotImplementedError

    def open_tcp(self, host: str, port: int, *, receive: Receive = "pull", deadline: float | None = None) -> Slot:
        """Open a plain TCP socket; otherwise as :meth:`open_tls`."""
        raise NotImplementedError

    def close_socket(self, slot: Slot, *, deadline: float | None = None) -> None:
        """Close a socket in the modem and free its number; idempotent; a failure is finished in the background."""
        raise NotImplementedError

    def run(self, slot: Slot, op: str, bindings: Mapping[str, object], *, deadline: float | None = None) -> Result:
        """Run an operation of a socket (``tls_send``, ``tls_receive``, …; ``socket`` is filled in) if it is usable.

        ``op`` is without family: ``send`` runs ``tls_send`` or ``tcp_send``.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Close the driver's own sockets, as far as that goes quickly, and the port."""
        raise NotImplementedError


def attach(port: str, settings: Settings, *, trace: object = None, progress: Progress | None = None) -> AttachedModem:
    """Open ``port``, find out what modem it is and give it with its profile. Sends only standard commands.

    Raises :class:`PortError` and its kinds, :class:`NotAModemError` in bounded time, and :class:`ConfigurationError`
    for a profile that does not exist or when no profile, or more than one, fits.
    """
    raise NotImplementedError
