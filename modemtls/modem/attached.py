"""One attached modem: everything that the layers above need of it."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

from modemtls.at.recovery import STANDARD_RECOVERY
from modemtls.errors import (
    CommandError,
    ModemError,
    ModemRestartedError,
    ModemTimeoutError,
    NotAModemError,
    PortLostError,
    SyncError,
)
from modemtls.modem.bringup import Bringup
from modemtls.modem.clock import ClockState, HostTime, look_again, set_clock
from modemtls.modem.contexts import ContextPool
from modemtls.modem.credentials import CredentialStore
from modemtls.modem.identify import ask, errors_as, greet
from modemtls.modem.interfaces import Turn
from modemtls.modem.slots import SlotTable
from modemtls.modem.sockets import Sockets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType
    from typing import Self

    from modemtls.at.channel import Channel
    from modemtls.at.exchange import Reply, Urc
    from modemtls.at.trace import Trace
    from modemtls.modem.contexts import ContextLease
    from modemtls.modem.identify import Identity
    from modemtls.modem.runner import Result, Runner
    from modemtls.modem.settings import Family, Progress, Receive, Settings
    from modemtls.modem.slots import Slot
    from modemtls.profile import Profile

__all__ = ["AttachedModem", "Status", "attach"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_RESTARTS: Final = (
    3  # a modem that restarts this often while it is brought up has a problem that patience does not cure
)
_PROBES: Final = 2  # set-up and probing in which something made no sense are repeated once
_CLOCK_HOLDS: Final = 3600.0  # s; a clock that was read longer ago is read again before it decides about certificates
# Failures of an open behind which there may be a certificate's dates.
_PERHAPS_DATES: Final = frozenset({"connect_or_handshake", "handshake_failed", "certificate", "unknown"})
_LAST_WORDS: Final = 5.0  # s; for closing what is still open when the modem is detached
_FAMILIES: Final[tuple[Family, ...]] = ("tls", "tcp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What the modem says of itself at this moment; None for what it does not tell.

    ``signal``: dBm (27.007, 8.5). ``registration``: ``home``, ``roaming``, ``searching``, ``denied``, ….
    """

    sim: str | None = None
    registration: str | None = None
    technology: str | None = None
    operator: str | None = None
    signal: int | None = None
    pdp: int | None = None
    address: str | None = None


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
        self.clock = ClockState(None, "not looked at yet")
        self._time = time or HostTime()
        self._tell = progress or (lambda step, detail: None)  # noqa: ARG005
        self._turn = Turn("bring-up")
        self._ready_epoch: int | None = None
        self._ready_doubts = -1
        self._up_epoch: int | None = None
        self._up_doubts = -1
        self._bearer_up = False
        self._clock_epoch: int | None = None
        self._clock_doubts = -1
        self._info: tuple[int, dict[str, str]] | None = None
        self._host = _Operations(channel, runner)
        self.slots = SlotTable(
            {family: _numbers(profile.limits.get(f"{family}_sockets")) for family in _FAMILIES},
            now=self.now,
            shared=bool(profile.behaviour.get("shared_ids")),
            stray=self._stray,
        )
        self.slots.begin_epoch(channel.epoch, "")
        self._sockets = Sockets(
            self._host,
            self.slots,
            take_over=settings.take_over,
            frees_failed=profile.behaviour.get("failed_open") == "freed",
            one_at_a_time="connecting" in profile.limits,
            defer=channel.defer,
            changed=channel.notify,
        )
        self.contexts = ContextPool(
            self._host, _numbers(profile.limits.get("contexts")), foreign=self._foreign_contexts
        )
        self.credentials = CredentialStore(
            self._host,
            ready=lambda deadline: self.ensure_ready(deadline=deadline),
            names_in_use=self.contexts.names_in_use,
        )
        self._bringup = Bringup(
            self._host,
            settings,
            wait=channel.wait,
            pdp_contexts=_numbers(profile.limits.get("pdp_contexts")),
            progress=progress,
            port=name,
        )
        channel.on_urc = self._on_urc
        channel.on_epoch = self._on_epoch
        channel.on_close = self._on_close

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
            epoch = self._ready_epoch
            found = self.runner.capabilities
            if epoch == self.channel.epoch:  # else the modem restarted meanwhile, and what it had said is forgotten
                return found

    @property
    def limits(self) -> Mapping[str, object]:
        """Sizes and numbers of the profile: ``send``, ``receive``, ``host``, ``contexts``, …."""
        return self.profile.limits

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
        found = {
            name: value
            for name in ("manufacturer", "model", "revision")
            if (value := str(getattr(self.identity, name)))
        }
        if self._host.has("info"):
            values = self._host.run("info", {}, deadline=deadline).values
            found |= {name: str(value) for name, value in values.items() if value not in {None, ""}}
        self._info = (epoch, found)
        return found

    def status(self, *, deadline: float | None = None) -> Status:
        """Ask for SIM, registration, operator, signal and address, without changing anything."""
        self.ensure_ready(deadline=deadline)
        registration, technology = self._registration(deadline)
        rssi = self._value("signal", "rssi", deadline)
        pdp, address = self._address(deadline)
        return Status(
            sim=_text(self._value("sim_state", "state", deadline)),
            registration=registration,
            technology=technology,
            operator=_text(self._value("operator", "operator", deadline)),
            # 27.007, 8.5: <rssi> 0 to 31 is -113 to -51 dBm in steps of 2, 99 not known
            signal=-113 + 2 * rssi if isinstance(rssi, int) and 0 <= rssi <= 31 else None,
            pdp=pdp,
            address=address,
        )

    def _registration(self, deadline: float | None) -> tuple[str | None, str | None]:
        rows = self._rows("registration", deadline)
        rank = ("home", "roaming", "denied", "searching", "idle", "unknown")
        best = min(rows, key=lambda row: rank.index(row["stat"]) if row.get("stat") in rank else len(rank), default={})
        return _text(best.get("stat")), _text(best.get("technology"))

    def _address(self, deadline: float | None) -> tuple[int | None, str | None]:
        rows = self._rows("pdp_list", deadline)
        own = self._bringup.pdp
        row = next((row for row in rows if row.get("pdp") == own), rows[0] if rows else {})
        number = row.get("pdp")
        return (number if isinstance(number, int) else None), _text(row.get("address"))

    def _value(self, op: str, name: str, deadline: float | None) -> object:
        if self._host.has(op):
            with contextlib.suppress(CommandError):
                return self._host.run(op, {}, deadline=deadline).values.get(name)
        return None

    def _rows(self, op: str, deadline: float | None) -> list[Mapping[str, object]]:
        if self._host.has(op):
            with contextlib.suppress(CommandError):
                return list(self._host.run(op, {}, deadline=deadline).rows)
        return []

    # Bring-up.

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

    def _is_ready(self) -> bool:
        return self._ready_epoch == self.channel.epoch and self._ready_doubts == self.channel.doubts

    def _is_up(self) -> bool:
        return self._bearer_up and self._up_epoch == self.channel.epoch and self._up_doubts == self.channel.doubts

    def _whatever_restarts(self, step: Callable[[float | None], None], deadline: float | None) -> None:
        deadline = self.now() + self.settings.timeout if deadline is None else deadline
        with self._turn.take(self.now, deadline):
            for left in reversed(range(_RESTARTS)):
                try:
                    step(deadline)
                except ModemRestartedError as error:
                    logger.warning("bring-up: %s", error)
                    if not left:
                        raise ModemRestartedError(
                            f"bring-up: given up after {_RESTARTS} restarts of the modem; the last: {error}"
                        ) from error
                else:
                    return

    def _ready(self, deadline: float | None) -> None:
        epoch = self.channel.epoch
        if self._is_ready():
            return
        with self._step("modem"):
            if self.channel.echo is not False:
                self._tell("modem", "waiting until it answers")
                self._wait_for_boot(deadline)
            self._tell("modem", "setting up")
            if self._ready_epoch == epoch or self.channel.error_form != self.profile.line.cmee:
                errors_as(self.channel, self.profile.line.cmee, deadline=deadline)
            doubts = self._set_up(deadline)
        self._still(epoch)
        self._ready_epoch = epoch
        self._ready_doubts = doubts

    def _set_up(self, deadline: float | None) -> int:
        """Set up and probe; once more if something in between made no sense. The count of doubts that it stands for."""
        doubts = -1
        for _ in range(_PROBES):
            if doubts != self.channel.doubts:
                doubts = self.channel.doubts
                for op in ("setup", "probe"):
                    if self._host.has(op):
                        self._host.run(op, {}, deadline=deadline)
        return doubts

    def _wait_for_boot(self, deadline: float | None) -> None:
        until = self.now() + self.profile.line.boot_time
        try:
            greet(self.channel, until=until if deadline is None else min(until, deadline))
        except NotAModemError as error:
            raise ModemTimeoutError(f"modem: it restarted and does not answer since: {error}") from error

    def _up(self, deadline: float | None) -> None:
        self._ready(deadline)
        if self._is_up():
            return
        epoch = self.channel.epoch
        doubts = self.channel.doubts
        anew = self._up_epoch != epoch
        if anew or self._up_doubts != doubts:
            self._bringup.radio(deadline)  # first: a modem without function may not even see its SIM
            self._bringup.sim(deadline)
        self._bringup.registration(deadline)
        self._bearer_up = True  # a loss reported from here on counts
        try:
            self._bringup.bearer(deadline)
        except BaseException:
            self._bearer_up = False
            raise
        if not anew and self._bringup.found_down:
            pdp = self._bringup.pdp
            self.channel.raise_doubt(f"PDP context {pdp} was down, and nothing had said so")
            doubts += 1  # what it makes doubtful of this was looked at just now
            self.slots.on_network_lost(pdp)
        if anew:
            with self._step("sockets"):
                self._meet_others(deadline)
            self._look_at_clock(deadline)
        self._still(epoch)
        self._up_epoch = epoch
        self._up_doubts = doubts

    def _still(self, epoch: int) -> None:
        if self.channel.epoch != epoch:
            raise ModemRestartedError("the modem restarted while it was being brought up")

    def _look_at_clock(self, deadline: float | None, *, quick: bool = False) -> None:
        """Read the clock, and set it if it is off; ``quick``: without asking a time server."""
        epoch, doubts = self.channel.epoch, self.channel.doubts
        with self._step("clock"):
            self._tell("clock", "checking")
            ntp = None if quick else self.settings.ntp
            self.clock = set_clock(self._host, self._time, pdp=self._bringup.pdp, ntp=ntp, deadline=deadline)
        self._clock_epoch, self._clock_doubts = epoch, doubts

    def _still_right(self, deadline: float | None) -> bool:
        """Read the clock once, if that is enough to know that it is right."""
        epoch, doubts = self.channel.epoch, self.channel.doubts
        if self._clock_epoch != epoch or self.clock.source is None:
            return False
        with self._step("clock"):
            found = look_again(self._host, self.clock, deadline=deadline)
        if found is None:
            return False
        self.clock = found
        self._clock_doubts = doubts
        return True

    def _require_clock(self, deadline: float | None) -> None:
        """Have a clock that certificates' dates can be checked against, and that was read lately."""
        if (
            self._clock_epoch == self.channel.epoch
            and self._clock_doubts == self.channel.doubts
            and self.clock.source is not None
            and self.now() - self.clock.at < _CLOCK_HOLDS
        ):
            return
        with self._turn.take(self.now, deadline):
            if not self._still_right(deadline):
                self._look_at_clock(deadline)
        if self.clock.source is None:
            raise ModemError(f"clock: certificates' dates cannot be checked: {self.clock.detail}")

    def _read_clock_after_failure(self, deadline: float | None) -> None:
        """Have :attr:`clock` say what the modem's clock shows now: a wrong one may be why a connection failed."""
        end = self.now() + _LAST_WORDS
        end = end if deadline is None else min(end, deadline)
        with contextlib.suppress(ModemError), self._turn.take(self.now, end):
            if not self._still_right(end):
                self._look_at_clock(end, quick=True)
            if self.clock.time is not None:
                shows = f"it shows {self.clock.time:%Y-%m-%d %H:%M} UTC now"
                self.clock = replace(self.clock, detail=f"{self.clock.detail.partition('; it shows ')[0]}; {shows}")

    def _meet_others(self, deadline: float | None) -> None:
        """Find out which sockets are someone else's; close them if asked to take over."""
        for family in _FAMILIES:
            others = sorted(self._foreign(family, deadline))
            if others and self.settings.take_over:
                for number in others:
                    logger.warning("%s socket %d is not the driver's: closing it, as take_over says", family, number)
                    self._host.run(f"{family}_close", {"socket": number}, deadline=deadline)
                self.slots.set_foreign(family, ())
            elif others:
                logger.info("%s sockets %s are not the driver's: left alone", family, others)

    def _foreign(self, family: Family, deadline: float | None) -> dict[int, int | None]:
        """Ask for sockets that are not the driver's, with their context where the modem tells it."""
        if not self._host.has(f"{family}_list"):
            return {}
        with self._step("sockets"):
            rows = self._host.run(f"{family}_list", {}, deadline=deadline).rows
        self.slots.set_foreign(family, (int(row["socket"]) for row in rows))
        foreign = self.slots.foreign(family)
        return {int(row["socket"]): row.get("context") for row in rows if int(row["socket"]) in foreign}

    def _foreign_contexts(self, deadline: float | None) -> Mapping[int, int | None]:
        return self._foreign("tls", deadline)

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[None]:
        try:
            yield
        except CommandError as error:
            if not error.message.startswith(f"{name}: "):
                error.message = f"{name}: {error.message}"
            raise
        except ModemTimeoutError as error:
            if str(error).startswith(f"{name}: "):
                raise
            raise ModemTimeoutError(f"{name}: {error}") from error

    # Sockets.

    def open_tls(
        self, host: str, port: int, lease: ContextLease, *, receive: Receive = "pull", deadline: float | None = None
    ) -> Slot:
        """Open a TLS socket to ``host`` with the context of ``lease``; the handshake is complete on return.

        One command on modems that allow it, if nothing has happened since the lease that may have hidden a restart;
        else the context is read back, before the connection and after it. Every failure leaves the number free again;
        an interrupted open is closed in the background, and so is its late success. Raises :class:`CommandError` with
        the modem's reason, and :class:`ModemRestartedError` when the lease is of another epoch than the connection, or
        the context is not as it was leased any more (the connection is then closed, never handed out): lease again and
        retry.
        """
        dated = lease.settings.verify and lease.settings.check_dates
        if dated:
            self._require_clock(deadline)
        bindings = {"context": lease.number, "host": host, "port": port}
        try:
            return self._open("tls", bindings, lease, receive, deadline)
        except CommandError as error:
            if dated and error.kind in _PERHAPS_DATES:
                self._read_clock_after_failure(deadline)
            raise

    def open_tcp(self, host: str, port: int, *, receive: Receive = "pull", deadline: float | None = None) -> Slot:
        """Open a plain TCP socket; otherwise as :meth:`open_tls`."""
        return self._open("tcp", {"host": host, "port": port}, None, receive, deadline)

    def _open(
        self,
        family: Family,
        bindings: Mapping[str, object],
        lease: ContextLease | None,
        receive: Receive,
        deadline: float | None,
    ) -> Slot:
        again = True
        while True:
            self.ensure_up(deadline=deadline)
            epoch = self.channel.epoch if lease is None else lease.epoch
            pdp = self._bringup.pdp
            assert pdp is not None
            if lease is not None:
                lease.confirm(deadline=deadline)
            try:
                return self._sockets.open(
                    family, bindings, lease=lease, epoch=epoch, pdp=pdp, receive=receive, deadline=deadline
                )
            except CommandError as error:
                if not again or error.kind not in {"pdp_failed", "pdp_lost"}:
                    raise
                again = False
                logger.info("PDP context %d: the modem says that it is not usable (%s), looking again", pdp, error)
                self.channel.raise_doubt(f"PDP context {pdp} was not usable")
                self._bearer_up = False

    def close_socket(self, slot: Slot, *, deadline: float | None = None) -> None:
        """Close a socket in the modem and free its number; idempotent; a failure is finished in the background."""
        self._sockets.close(slot, deadline=deadline)

    @property
    def leaving(self) -> bool:
        """Whether a socket is being closed, or waits for that."""
        return any(slot.state == "closing" for slot in self.slots.slots())

    @property
    def freed(self) -> int:
        """Another number whenever a socket has been freed; whoever waits on the channel is told."""
        return self._sockets.freed

    def run(
        self,
        slot: Slot,
        op: str,
        bindings: Mapping[str, object],
        *,
        deadline: float | None = None,
        on_orphan: Callable[[Reply | BaseException], None] | None = None,
    ) -> Result:
        """Run an operation of a socket (``socket`` is filled in) if it is usable.

        ``op`` is without family: ``send`` runs ``tls_send`` or ``tcp_send``. ``on_orphan`` is given what comes of it
        after the caller was interrupted or out of time, in the background thread; never if nothing had been sent.
        """
        return self._sockets.run(slot, op, bindings, deadline=deadline, on_orphan=on_orphan)

    def close(self) -> None:
        """Close the driver's own sockets, as far as that goes quickly, and the port."""
        try:
            if self.channel.closed_reason is None:
                end = self.now() + _LAST_WORDS
                self._sockets.close_all(PortLostError(f"{self.name} was closed"), end)
                with contextlib.suppress(PortLostError):
                    self.channel.wait(lambda: not self._sockets.busy, end)
        finally:
            self.channel.close()

    # What the modem says by itself; in the reading thread.

    def _stray(self, family: Family, number: int) -> None:
        self._sockets.stray(family, number)

    def _on_epoch(self, reason: str) -> None:
        self.slots.begin_epoch(self.channel.epoch, reason)
        self._bringup.note_change()

    def _on_close(self, reason: BaseException) -> None:
        error = reason if isinstance(reason, ModemError) else PortLostError(f"{self.name}: {reason}")
        for slot in self.slots.slots():
            slot.note_lost(error)
            slot.tell()

    def _on_urc(self, urc: Urc) -> None:
        rule = urc.rule
        if rule is None:
            return
        urc = self.runner.observe(urc)
        act = _URCS.get(rule.means)
        if act is not None:
            act(self, rule.family, urc)  # type: ignore[arg-type]

    def _on_data(self, family: Family | None, urc: Urc) -> None:
        if not urc.complete:
            self.slots.on_torn(family, _number(urc, "socket"), reported=not urc.payload)
            return
        data = urc.payload if urc.payload is not None else urc.values.get("data")
        self.slots.on_data(family, _number(urc, "socket"), data if isinstance(data, bytes) else None)

    def _on_closed(self, family: Family | None, urc: Urc) -> None:
        self.slots.on_closed(family, _number(urc, "socket"))

    def _on_opened(self, family: Family | None, urc: Urc) -> None:
        number = _number(urc, "socket")
        if number is not None:
            self.slots.on_opened(family, number, _number(urc, "error") or 0)

    def _on_network_lost(self, family: Family | None, urc: Urc) -> None:  # noqa: ARG002
        pdp = _number(urc, "pdp")
        self._bringup.note_lost(pdp)
        if pdp is None or pdp == self._bringup.pdp:
            self._bearer_up = False
        self.slots.on_network_lost(pdp)

    def _on_change(self, family: Family | None, urc: Urc) -> None:  # noqa: ARG002
        self._bringup.note_change()
        if urc.values.get("state") == "absent":
            self._up_epoch = None

    def _on_power_down(self, family: Family | None, urc: Urc) -> None:  # noqa: ARG002
        self.channel.end_epoch(f"the modem powered down ({urc.text})")


_URCS: Final[Mapping[str, Callable[[AttachedModem, Family | None, Urc], None]]] = {
    "data": AttachedModem._on_data,  # noqa: SLF001 - the table of its own methods
    "closed": AttachedModem._on_closed,  # noqa: SLF001
    "opened": AttachedModem._on_opened,  # noqa: SLF001
    "network_lost": AttachedModem._on_network_lost,  # noqa: SLF001
    "registration": AttachedModem._on_change,  # noqa: SLF001
    "sim": AttachedModem._on_change,  # noqa: SLF001
    "power_down": AttachedModem._on_power_down,  # noqa: SLF001
}


def _numbers(value: object) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple | list) else ()


def _number(urc: Urc, name: str) -> int | None:
    value = urc.values.get(name)
    return value if isinstance(value, int) else None


def _text(value: object) -> str | None:
    return None if value in {None, ""} else str(value)


def _identity(channel: Channel, deadline: float) -> Identity:
    """Ask what modem it is; again, should it restart meanwhile: what announces a restart is not known yet."""
    for left in reversed(range(_RESTARTS)):
        try:
            if channel.echo is not False:
                greet(channel)
            errors_as(channel, 1, deadline=deadline)
            return ask(channel, deadline=deadline)
        except (ModemRestartedError, ModemTimeoutError, SyncError) as error:
            if not left or channel.clock() >= deadline:
                raise
            logger.info("identification: %s; once more", error)
            channel.echo = None
    raise AssertionError


def attach(
    port: str, settings: Settings, *, trace: Trace | None = None, progress: Progress | None = None
) -> AttachedModem:
    """Open ``port``, find out what modem it is and give it with its profile. Sends only standard commands.

    Raises :class:`PortError` and its kinds, :class:`NotAModemError` in bounded time, and :class:`ConfigurationError`
    for a profile that does not exist, when no profile, or more than one, fits, or for a PDP context that the modem does
    not have; :class:`NotSupportedError` for a profile that asks for what this version does not do. With a profile given
    in ``settings`` that comes before the port is opened.
    """
    from modemtls.modem.finding import find, select, suits
    from modemtls.modem.runner import Runner
    from modemtls.profile import load

    tell = progress or (lambda step, detail: None)  # noqa: ARG005
    if settings.profile is not None:
        suits(load(settings.profile), settings)
    tell("port", f"opening {port}")
    channel = find(port, settings, trace)
    try:
        deadline = channel.clock() + settings.timeout
        tell("modem", "asking what it is")
        identity = _identity(channel, deadline)
        profile = select(channel, identity, settings.profile, deadline=deadline)
        tell("modem", f"{identity}: profile {profile.name}")
        profile = profile.fitted(model=identity.model, firmware=identity.revision)
        suits(profile, settings)
        channel.set_grammar(profile.grammar)
        channel.recovery = profile.recovery or STANDARD_RECOVERY
        runner = Runner(channel, profile, model=identity.model, firmware=identity.revision)
        return AttachedModem(port, channel, runner, settings, identity, progress=progress)
    except BaseException:
        channel.close()
        raise
