"""One attached modem: its parts put together, and what the layers above need of it."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Final

from modemtls.errors import CommandError, PortLostError
from modemtls.modem.bringup import Bringup
from modemtls.modem.bundles import BundleStore
from modemtls.modem.contexts import ContextPool
from modemtls.modem.credentials import CredentialStore
from modemtls.modem.facts import read_info, read_status
from modemtls.modem.interfaces import Turn
from modemtls.modem.radio import RadioSilence
from modemtls.modem.readiness import Readiness
from modemtls.modem.reports import Reports
from modemtls.modem.settings import FAMILIES
from modemtls.modem.slots import SlotTable
from modemtls.modem.sockets import Sockets
from modemtls.modem.timekeeper import Timekeeper
from modemtls.profile.results import gives

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from modemtls.at.channel import Channel
    from modemtls.modem.clock import ClockState, HostTime
    from modemtls.modem.credentials import CredentialKind
    from modemtls.modem.facts import Status
    from modemtls.modem.identify import Identity
    from modemtls.modem.runner import Runner
    from modemtls.modem.settings import Family, Progress, Settings, TlsSettings
    from modemtls.modem.slots import Slot
    from modemtls.modem.sockets import Opening
    from modemtls.profile import Profile

__all__ = ["AttachedModem"]

logger = logging.getLogger(__name__)

# Failures of an open behind which there may be a certificate's dates.
_PERHAPS_DATES: Final = frozenset({"connect_or_handshake", "handshake_failed", "certificate", "unknown"})
_LAST_WORDS: Final = 5.0  # s; for closing what is still open when the modem is detached


class _Operations:
    """The profile's operations on the channel: :class:`~modemtls.modem.interfaces.Host` for the parts."""

    def __init__(self, channel: Channel, runner: Runner) -> None:
        self._channel = channel
        self.now = channel.clock
        self.run = runner.run
        self.has = runner.has

        self.raise_doubt = channel.raise_doubt
        self.end_epoch = channel.end_epoch

    @property
    def epoch(self) -> int:
        return self._channel.epoch

    @property
    def doubts(self) -> int:
        return self._channel.doubts

    @property
    def doubted(self) -> str:
        return self._channel.doubted


class AttachedModem:
    """A modem behind an open port, with its profile. A context manager that closes.

    ``name``: the port's name. ``deadline`` arguments are times of :meth:`now` (monotonic seconds), None for the
    modem's own limits. Every method may be called from any thread.
    """

    def __init__(
        self,
        name: str,
        channel: Channel,
        runner: Runner,
        settings: Settings,
        identity: Identity,
        *,
        progress: Progress | None = None,
        time: HostTime | None = None,
    ) -> None:
        profile = runner.profile
        self.name = name
        self.channel = channel
        self.runner = runner
        self.profile: Profile = profile
        self.settings = settings
        self.identity = identity
        self._info: tuple[int, Mapping[str, str]] | None = None
        self._host = _Operations(channel, runner)
        tell = progress or (lambda step, detail: None)  # noqa: ARG005
        turn = Turn("bring-up")
        modem_ids = profile.behaviour.get("socket_ids") == "modem"
        self.slots = SlotTable(
            {family: profile.numbers(family) for family in FAMILIES},
            now=self.now,
            shared=bool(profile.behaviour.get("shared_ids")),
            chosen=modem_ids,
            secure=profile.limits.get("secure_sockets"),
        )
        self.slots.begin_epoch(channel.epoch, "")
        self.sockets = Sockets(
            self._host,
            self.slots,
            take_over=settings.take_over,
            frees_failed=profile.behaviour.get("failed_open") == "freed",
            frees_closed=profile.behaviour.get("remote_close") == "freed",
            modem_ids=modem_ids,
            saved=profile.limits.get("saved_connections", 0),
            host_keeps=lambda: runner.capabilities.get("session_store") == "host",
            one_at_a_time="connecting" in profile.limits,
            defer=channel.defer,
            changed=channel.notify,
        )
        self.contexts = ContextPool(
            self._host,
            _numbers(profile.limits.get("contexts")),
            foreign=self.sockets.contexts_of_others,
            survive=profile.behaviour.get("settings_survive") == "restart",
        )
        steps = Bringup(
            self._host,
            settings,
            wait=channel.wait,
            pdp_contexts=_numbers(profile.limits.get("pdp_contexts")),
            pdp_active=profile.limits.get("pdp_active"),
            attach_context=profile.behaviour.get("attach_context"),
            unused=self.sockets.none_open,
            progress=progress,
            port=name,
        )
        self._clock = Timekeeper(self._host, turn, tell=tell, pdp=lambda: steps.pdp, ntp=settings.ntp, time=time)
        self._readiness = Readiness(
            channel,
            self._host,
            profile,
            turn=turn,
            steps=steps,
            clock=self._clock,
            slots=self.slots,
            sockets=self.sockets,
            timeout=settings.timeout,
            tell=tell,
        )
        self._silence = RadioSilence(
            self._host,
            still=self._readiness.at_rest,
            busy=self.sockets.in_use,
            went_off=self._readiness.note_radio_off,
            consent=settings.radio_off,
        )
        self.credentials = self._store(self._silence)
        reports = Reports(name, channel, runner.observe, self.slots, self._readiness)
        channel.on_urc = reports.on_urc
        channel.on_epoch = reports.on_epoch
        channel.on_close = reports.on_close
        channel.on_spill = reports.on_spill

    def _store(self, silence: RadioSilence) -> CredentialStore:
        """Make the store of credentials that the profile speaks of."""
        behaviour = self.profile.behaviour
        listing = self.profile.programs.get("credential_list")
        kind = BundleStore if behaviour.get("credential_store") == "tagged" else CredentialStore
        return kind(
            self._host,
            ready=lambda deadline: self.ensure_ready(deadline=deadline),
            names_in_use=lambda: self.contexts.names_in_use() | self.sockets.names_in_use(),
            limits=self.profile.limits,
            behaviour=behaviour,
            kinds=listing is not None and "kind" in gives(listing),
            writing=silence.writing if behaviour.get("credentials_radio_off") else None,
        )

    def __repr__(self) -> str:
        return f"<AttachedModem {self.name} ({self.profile.name})>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # What it is.

    @property
    def epoch(self) -> int:
        """The boot epoch: a larger number after each restart of the modem."""
        return self.channel.epoch

    @property
    def capabilities(self) -> Mapping[str, object]:
        """What this modem with this firmware can do.

        Some of it the modem has to be asked: if that has not been done since it started, :meth:`ensure_ready` does it
        first, and raises what it raises.
        """
        while True:
            self.ensure_ready()
            epoch = self._readiness.ready_epoch
            found = self.runner.capabilities
            if epoch == self.channel.epoch:  # else the modem restarted meanwhile, and what it had said is forgotten
                return found

    @property
    def limits(self) -> Mapping[str, object]:
        """Sizes and numbers of the profile: ``send``, ``receive``, ``host``, ``contexts``, …."""
        return self.profile.limits

    @property
    def clock(self) -> ClockState:
        """Where the modem's time comes from, as last seen."""
        return self._clock.state

    def now(self) -> float:
        """Read the clock that deadlines are measured with."""
        return self.channel.clock()

    def info(self, *, deadline: float | None = None) -> Mapping[str, str]:
        """Tell manufacturer, model, revision, and what the profile asks for: IMEI, ICCID, …. Once per epoch."""
        self.ensure_ready(deadline=deadline)
        known = self._info
        if known is not None and known[0] == self.epoch:
            return known[1]
        epoch = self.epoch
        found = read_info(self._host, self.identity, deadline=deadline)
        self._info = (epoch, found)
        return found

    def status(self, *, deadline: float | None = None) -> Status:
        """Ask for SIM, registration, operator, signal and address, without changing anything."""
        self.ensure_ready(deadline=deadline)
        return read_status(self._host, pdp=self._readiness.pdp, deadline=deadline)

    def ensure_ready(self, *, deadline: float | None = None) -> None:
        """Bring it to where commands work; see :meth:`Readiness.ensure_ready`."""
        self._readiness.ensure_ready(deadline=deadline)

    def ensure_up(self, *, deadline: float | None = None) -> None:
        """Bring it to where sockets can be opened; see :meth:`Readiness.ensure_up`."""
        self._readiness.ensure_up(deadline=deadline)

    def check(self, family: Family, settings: TlsSettings) -> None:
        """Raise what the modem cannot be told, or cannot do, of what a secure connection has to be like.

        What creating a socket can tell: nothing is sent but what :meth:`ensure_ready` sends. Raises
        :class:`ConfigurationError`, :class:`NotSupportedError`.
        """
        self.ensure_ready()
        given = settings.bindings()
        if self.profile.behaviour.get("tls_contexts") != "none":
            self.runner.check("tls_configure", {"context": 0, **given})
            return
        target = {"pdp": 0, "socket": 0, "host": "name.invalid", "port": 1, "receive": "pull", "purge": False}
        self.runner.check(f"{family}_open", {**target, **given})

    def provision(
        self,
        material: Mapping[CredentialKind, bytes],
        *,
        sources: Mapping[CredentialKind, str] | None = None,
        radio_off: bool = False,
        deadline: float | None = None,
    ) -> Mapping[str, str]:
        """Have what secure connections will need in the modem, ahead of them, and give the name of each kind there.

        ``material`` and what is given back are those of :meth:`CredentialStore.ensure_all`; ``sources``: the files that
        it came from. Nothing is connected: the modem is brought no further than :meth:`ensure_ready`, and a radio that
        is off stays off. Where the store can be written only so and the radio is on, ``radio_off`` is the consent to
        switch it off this once; :class:`CredentialError` without it (unless the modem was opened with that), and while
        any socket is open. What is there already is not written again and needs no consent. Raises
        :class:`NotSupportedError` where the modem stores nothing, and what :meth:`CredentialStore.ensure_all` raises.
        """
        self.credentials.check(material, sources)
        with self._silence.agreed() if radio_off else contextlib.nullcontext():
            return self.credentials.ensure_all(material, deadline=deadline)

    def open(self, wanted: Opening, *, deadline: float | None = None) -> Slot:
        """Open a socket; with TLS and DTLS the handshake is complete on return. For all else there is :attr:`sockets`.

        One command, and on modems that tell what they have done those that ask for it (decision 0008, 5), if nothing
        has happened since the lease that may have hidden a restart; else the context is read back, before the
        connection and after it. Every failure leaves the number free again;
        an interrupted open is closed in the background, and so is its late success. Raises :class:`CommandError` with
        the modem's reason, and :class:`ModemRestartedError` when the lease is of another epoch than the connection, or
        the context is not as it was leased any more (the connection is then closed, never handed out): lease again and
        retry.
        """
        settings = wanted.wanted
        dated = settings is not None and settings.verify and settings.check_dates
        if dated:
            self._clock.require(deadline)
        try:
            return self._open(wanted, deadline)
        except CommandError as error:
            if dated and error.kind in _PERHAPS_DATES:
                self._clock.look_back(deadline)
            raise

    def _open(self, wanted: Opening, deadline: float | None) -> Slot:
        """Open over a bearer that is up, once more if the modem says that it is not."""
        again = True
        while True:
            self.ensure_up(deadline=deadline)
            self.channel.check()  # what is up needs no command, which would tell
            epoch = self.channel.epoch if wanted.lease is None else wanted.lease.epoch
            pdp = self._readiness.pdp
            assert pdp is not None
            self._readiness.reach(wanted.host, deadline)
            if wanted.lease is not None:
                wanted.lease.confirm(deadline=deadline)
            try:
                return self.sockets.open(wanted, epoch=epoch, pdp=pdp, deadline=deadline)
            except CommandError as error:
                if not again or error.kind not in {"pdp_failed", "pdp_lost"}:
                    raise
                again = False
                logger.info("PDP context %d: the modem says that it is not usable (%s), looking again", pdp, error)
                self._readiness.doubt_bearer()

    def close(self) -> None:
        """Close the driver's own sockets, as far as that goes quickly, and the port."""
        try:
            if self.channel.closed_reason is None:
                end = self.now() + _LAST_WORDS
                self.sockets.close_all(PortLostError(f"{self.name} was closed"), end)
                with contextlib.suppress(PortLostError):
                    self.channel.wait(lambda: not self.sockets.busy, end)
        finally:
            self.channel.close()


def _numbers(value: object) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple | list) else ()
