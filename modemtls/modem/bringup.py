"""From a modem that answers to one that has a bearer: SIM, radio, registration, PDP context.

Each step asks before it changes anything, tells ``progress`` what it waits for, and fails with an error that begins
with the step's name.
"""

from __future__ import annotations

import contextlib
import errno
import logging
from typing import TYPE_CHECKING, Final

from modemtls.at.channel import LineBusyError
from modemtls.errors import (
    CommandError,
    ConfigurationError,
    ConnectError,
    ModemRestartedError,
    ModemTimeoutError,
    NetworkError,
    NotSupportedError,
    PdpError,
    PinError,
    RegistrationError,
    SimError,
    quoted,
)
from modemtls.modem.pins import PinMemory, SimIdentity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from modemtls.errors import ModemError
    from modemtls.modem.interfaces import Host
    from modemtls.modem.pins import Risk
    from modemtls.modem.settings import Progress, Settings

__all__ = ["Bringup", "RegistrationTimeoutError"]

logger = logging.getLogger(__name__)

_SIM_START: Final = 20.0  # s; a SIM that is still starting is asked again for so long
_SIM_AFTER_PIN: Final = 30.0  # s; reading the SIM's files after the PIN takes this long at worst
_READINGS: Final = 3  # of the SIM's and the modem's numbers, until two are alike
_ASK_AGAIN: Final = 2.0  # s; between two questions where nothing announces a change
_ASK_ANYWAY: Final = 10.0  # s; the same where changes are announced, for those that get lost
_DENIED: Final = 15.0  # s; a network's refusal is believed when it stands so long: another network may take the modem


class RegistrationTimeoutError(RegistrationError, ModemTimeoutError):
    """No network took the modem in time."""

    default_errno = errno.ETIMEDOUT


class Bringup:
    """The steps, and what they found out. Used by one thread at a time, but for the ``note_…`` methods.

    ``wait(ready, deadline)`` waits as ``Channel.wait`` does. ``pdp_active``: how many PDP contexts the modem can have
    active at once, None if nobody knows. ``attach_context``: the one that attaching to the network brings up with the
    APN that it has then, None if none is. ``unused(deadline)`` asks whether the modem says that nobody has a socket
    open. ``port`` names the modem where neither the SIM nor the modem tells who it is.
    """

    def __init__(
        self,
        host: Host,
        settings: Settings,
        *,
        wait: Callable[[Callable[[], bool], float | None], bool],
        pdp_contexts: Sequence[int],
        pdp_active: int | None = None,
        attach_context: int | None = None,
        unused: Callable[[float | None], bool] = lambda deadline: False,  # noqa: ARG005
        progress: Progress | None = None,
        port: str = "",
        pins: PinMemory | None = None,
    ) -> None:
        self._host = host
        self._settings = settings
        self._wait = wait
        self._pdp_contexts = list(pdp_contexts) or [1]
        self._pdp_active = pdp_active
        self._attach_context = attach_context
        self._unused = unused
        self._reattached = False  # since the last look at the context
        self._tell = progress or (lambda step, detail: None)  # noqa: ARG005
        self._port = port
        self._pins = pins or PinMemory()
        self._events = 0
        self._notified: tuple[int, int] | None = None  # epoch and doubts
        self._risk: tuple[Risk, int] | None = None  # a PIN that was sent, and in which epoch
        self._lost: set[int] = set()
        self._written: dict[int, int] = {}  # PDP context -> hash of what the driver configured
        self.pdp: int | None = None
        """The PDP context in use, once :meth:`bearer` has returned."""
        self.found_down = False
        """Whether :meth:`bearer` found that the context in use had been inactive, and no URC had said so."""

    # What URCs say, in the reading thread.

    def note_change(self) -> None:
        """Note that the SIM or the registration changed: whoever waits asks again."""
        self._events += 1

    def note_lost(self, pdp: int | None) -> None:
        """Note that the network ended a PDP context (None: all)."""
        self._events += 1
        self._lost.update(self._pdp_contexts if pdp is None else (pdp,))

    # The steps.

    def sim(self, deadline: float | None) -> None:
        """Have a SIM that is ready, unlocking it if need be.

        Raises :class:`SimError`: no SIM, PUK, a SIM that does not start; :class:`PinError`: a PIN is needed, was
        refused, or must not be risked again.
        """
        if not self._host.has("sim_state"):
            return
        with self._step("SIM", SimError, deadline):
            self._say("SIM", "asking")
            state = self._sim_state(deadline, _SIM_START)
            if state == "pin":
                self._unlock(deadline)
                state = self._sim_state(deadline, _SIM_AFTER_PIN, leaving="pin")
            self._settle(state)
            if state == "ready":
                return
            raise SimError(
                {
                    "absent": "SIM: none is inserted",
                    "puk": "SIM: blocked after too many wrong PINs; it needs its PUK, which the driver never sends",
                    "busy": "SIM: it does not finish starting",
                }.get(state, f"SIM: not usable (the modem says {state!r})")
            )

    def _sim_state(self, deadline: float | None, patience: float, leaving: str = "") -> str:
        end = self._host.now() + patience
        while True:
            seen = self._events
            try:
                state = str(self._host.run("sim_state", deadline=deadline).values.get("state", "other"))
            except CommandError as error:
                states = {"sim_absent": "absent", "sim_locked": "pin", "puk": "puk", "busy": "busy"}
                if error.kind not in states:
                    raise
                state = states[error.kind]
            if state not in {"busy", "other", leaving} or self._host.now() >= end:
                return state
            self._pause(seen, end if deadline is None else min(end, deadline), _ASK_AGAIN)
            if deadline is not None and self._host.now() >= deadline:  # no time left to ask again
                raise ModemTimeoutError(f"the modem says {state!r}")

    def _settle(self, state: str) -> None:
        """Take the SIM's state for what came of the PIN that was sent last, if one was: OK says nothing for certain."""
        risk, epoch = self._risk or (None, -1)
        if risk is None or not risk.answered or epoch != self._host.epoch:
            return
        if state == "ready":
            self._risk = None
            risk.accepted()
        elif state in {"pin", "puk"}:
            self._risk = None
            risk.refused()
            blocked = ", and the SIM is now blocked; it needs its PUK" if state == "puk" else ""
            raise PinError(
                f"SIM: the modem took the PIN, and the SIM was not unlocked by it{blocked}. It counts as refused and "
                f"is not sent again: {risk.way_out}"
            )

    def _unlock(self, deadline: float | None) -> None:
        pin = self._settings.pin
        if pin is None:
            raise PinError("SIM: it is locked; give its PIN with pin=")
        sim = self._sim_identity(deadline)
        self._say("SIM", "unlocking")
        risk = self._pins.risk(sim, pin)
        self._risk = (risk, self._host.epoch)
        try:
            self._host.run("sim_unlock", {"pin": pin}, deadline=deadline, on_orphan=risk.settle)
        except (LineBusyError, NotSupportedError, ConfigurationError):
            risk.not_sent()
            raise
        except CommandError as error:
            if error.kind == "puk":
                risk.refused()
                raise PinError("SIM: the PIN was refused, and the SIM is now blocked; it needs its PUK") from error
            if error.kind == "pin_wrong":
                risk.refused()
            word = "refused" if error.kind == "pin_wrong" else "not taken"
            raise PinError(
                f"SIM: the PIN was {word} ({error.text or error}), and is not sent again: {risk.way_out}"
            ) from error
        risk.answered = True

    def _sim_identity(self, deadline: float | None) -> SimIdentity:
        """Ask for what tells this SIM from others, twice; modems differ in what they say while it is locked."""
        readings: list[Mapping[str, object]] = []
        while self._host.has("info") and len(readings) < _READINGS:
            try:
                readings.append(self._host.run("info", deadline=deadline).values)
            except CommandError:
                readings.append({})
            if len(readings) > 1 and all(readings[-1].get(one) == readings[-2].get(one) for one in ("iccid", "imei")):
                break
        return SimIdentity.read(readings, self._port)

    def radio(self, deadline: float | None) -> None:
        """Have the radio on (27.007, 8.2: +CFUN level 1), and what attaching brings up configured before.

        Where the radio is on, and the modem has attached, or is about to, with another APN than is wanted, it goes off
        for that: if no context is active, if the active one is nobody's, or with ``take_over``. Else :meth:`bearer`
        says what can be done.
        """
        if not (self._host.has("radio_state") and self._host.has("radio_on")):
            return
        with self._step("radio", NetworkError, deadline):
            level = self._host.run("radio_state", deadline=deadline).values.get("level")
        with self._step("PDP context", PdpError, deadline):
            number = self._to_write(deadline)
            if level == 1:
                if number is not None and self._may_attach_anew(number, deadline):
                    self._attach_anew(number, deadline)
                return
            if number is not None:
                self._configure(number, deadline)
        with self._step("radio", NetworkError, deadline):
            logger.info("radio: functionality level %s, switching on", level)
            self._say("radio", "switching on")
            self._host.run("radio_on", deadline=deadline)

    def _to_write(self, deadline: float | None) -> int | None:
        """Give the context that attaching brings up if it is the one to use, and is not configured as asked."""
        number, wanted = self._attach_context, self._settings
        preferred = self._pdp_contexts[0] if wanted.pdp is None else wanted.pdp
        if number is None or wanted.apn is None or number != preferred:
            return None
        return None if self._is_configured(number, deadline) else number

    def _may_attach_anew(self, number: int, deadline: float | None) -> bool:
        if self._settings.take_over:
            return True
        active = self._active(deadline)
        return not active or self._is_nobodys(number, active, deadline)

    def _is_nobodys(self, number: int, active: set[int], deadline: float | None) -> bool:
        """Whether attaching brought a context up with an APN that nobody has chosen, and nobody uses it or another."""
        if number != self._attach_context or active != {number} or not self._host.has("pdp_read"):
            return False
        found = self._read(number, deadline)
        return found.get("apn") == "" and not found.get("user") and self._unused(deadline)

    def _attach_anew(self, number: int, deadline: float | None) -> None:
        """Write the context that attaching brings up, with the radio off meanwhile."""
        logger.info("PDP context %d: the radio goes off while it is written: attaching brings it up", number)
        self._say("radio", "switching off and on again, for another APN")
        self._reattached = True
        self._host.run("radio_off", deadline=deadline)
        try:
            self._configure(number, deadline)
        except BaseException:
            with contextlib.suppress(CommandError, ModemTimeoutError):  # the first error says more
                self._host.run("radio_on", deadline=deadline)
            raise
        self._host.run("radio_on", deadline=deadline)

    def registration(self, deadline: float | None) -> None:
        """Be registered in a network.

        Raises :class:`RegistrationError`: denied, or roaming where that is not allowed;
        :class:`RegistrationTimeoutError` when neither happens in time.
        """
        if not self._host.has("registration"):
            return
        with self._step("registration", RegistrationError, deadline):
            self._registration(deadline)

    def _registration(self, deadline: float | None) -> None:
        begun = self._host.now()
        end = begun + self._settings.registration_timeout
        if deadline is not None:
            end = min(end, deadline)
        announced = self._be_notified(deadline)
        denied_since: float | None = None
        while True:
            seen = self._events
            rows = self._host.run("registration", deadline=deadline).rows
            stats = {str(row.get("stat", "unknown")) for row in rows}
            technology = next((str(row["technology"]) for row in rows if row.get("technology") is not None), "")
            if "home" in stats or ("roaming" in stats and self._settings.roaming):
                where = "at home" if "home" in stats else "roaming"
                self._say("registration", f"registered, {where}" + (f" ({technology})" if technology else ""))
                return
            if "roaming" in stats:
                raise RegistrationError(
                    "registration: the modem is roaming in a visited network, which roaming=False forbids"
                )
            now = self._host.now()
            denied = "denied" in stats and "searching" not in stats
            denied_since = (denied_since or now) if denied else None
            doing = next((_DOING[word] for word in _DOING if word in stats), _DOING["unknown"])
            if now >= end or (denied_since is not None and now - denied_since >= _DENIED):
                raise self._unregistered(begun, doing, denied=denied)
            self._say("registration", doing)
            limit = end if denied_since is None else min(end, denied_since + _DENIED)
            self._pause(seen, limit, _ASK_ANYWAY if announced else _ASK_AGAIN)
            if deadline is not None and self._host.now() >= deadline:  # no time left to ask again
                raise self._unregistered(begun, doing, denied=denied)

    def _be_notified(self, deadline: float | None) -> bool:
        """Have changes of registration announced; without that they are asked for more often."""
        if not self._host.has("registration_notify"):
            return False
        now = (self._host.epoch, self._host.doubts)
        if self._notified != now:
            try:
                self._host.run("registration_notify", deadline=deadline)
            except CommandError as error:
                logger.info("registration: changes will not be announced (%s)", error)
                return False
            self._notified = now
        return True

    def _unregistered(self, begun: float, doing: str, *, denied: bool) -> RegistrationError:
        if denied:
            return RegistrationError(
                "registration: denied by the network (the SIM is not accepted there: subscription, roaming agreement, "
                "or a locked device)"
            )
        return RegistrationTimeoutError(
            f"registration: no network after {self._host.now() - begun:.0f} s (the modem is {doing}): antenna, "
            "coverage, bands?"
        )

    def bearer(self, deadline: float | None) -> int:
        """Have an active PDP context that fits, and give its number. Raises :class:`PdpError`."""
        with self._step("PDP context", PdpError, deadline):
            self.pdp = self._bearer(deadline)
            self._lost.discard(self.pdp)
            return self.pdp

    def reach(self, host: str, deadline: float | None) -> None:
        """Raise :class:`ConnectError` for an IPv6 address where the context in use is one for IPv4 alone."""
        if ":" not in host or self.pdp is None or not self._host.has("pdp_read"):
            return
        with self._step("PDP context", PdpError, deadline):
            family = self._read(self.pdp, deadline).get("family")
        if family == "ipv4":
            raise ConnectError(
                f'no way to {host}: PDP context {self.pdp} is for IPv4 alone; give apn= and family="ipv4v6", or '
                '"ipv6", for one that carries IPv6, where the network has it',
                number=errno.ENETUNREACH,
            )

    def _bearer(self, deadline: float | None) -> int:
        active = self._active(deadline)
        number, configure = self._choose(active, deadline)
        down = number not in active and number not in self._lost
        self.found_down = number == self.pdp and (down or self._reattached)
        if configure and number == self._attach_context:
            self._attach_anew(number, deadline)
            self.registration(deadline)
            active, configure = self._active(deadline), False
        self._reattached = False
        if number in active and (configure or number in self._lost):
            # Taken over on request, or dead already: the modem has to be told before it can be activated again.
            self._say("PDP context", f"deactivating {number}")
            with contextlib.suppress(CommandError):
                self._host.run("pdp_deactivate", {"pdp": number}, deadline=deadline)
            active.discard(number)
        if number not in active and self._pdp_active is not None and len(active) >= self._pdp_active:
            raise PdpError(
                f"PDP context {number}: {len(active)} are active already ({', '.join(map(str, sorted(active)))}), and "
                "this modem has no more at once: give one of them as pdp=, or have one deactivated by its owner"
            )
        if configure:
            self._configure(number, deadline)
        if number not in active:
            self._activate(number, deadline)
        else:
            logger.info("PDP context %d: active already, shared", number)
        return number

    def _active(self, deadline: float | None) -> set[int]:
        if not self._host.has("pdp_list"):
            return set()
        rows = self._host.run("pdp_list", deadline=deadline).rows
        return {int(row["pdp"]) for row in rows if row.get("state") in {None, 1, "1", "active"}}

    def _choose(self, active: set[int], deadline: float | None) -> tuple[int, bool]:
        """Give the context to use, and whether it has to be configured first."""
        settings = self._settings
        preferred = self._pdp_contexts[0] if settings.pdp is None else settings.pdp
        if settings.apn is None:
            if settings.pdp is None and preferred not in active and active:
                preferred = min(active)
            return preferred, False
        if not self._host.has("pdp_read"):
            configured = self._is_configured(preferred, deadline)
            if preferred in active and not configured:
                self._refuse_unless_taking_over(preferred, "the modem does not tell its APN")
            return preferred, not configured
        found = self._read(preferred, deadline)
        if self._fits(preferred, found):
            return preferred, False
        if preferred not in active or preferred in self._lost:
            return preferred, True
        if settings.pdp is None and not settings.take_over:
            for number in sorted(active - {preferred} - self._lost):
                if self._fits(number, self._read(number, deadline)):
                    return number, False
            spare = next((n for n in self._pdp_contexts if n not in active), None)
            if spare is not None:
                return spare, not self._fits(spare, self._read(spare, deadline))
        if not self._is_nobodys(preferred, active, deadline):
            kind = f" ({found['family']})" if self._is_its_apn(found) and "family" in found else ""
            self._refuse_unless_taking_over(preferred, f"it is active with the APN {found.get('apn')!r}{kind}")
        return preferred, True

    def _refuse_unless_taking_over(self, number: int, why: str) -> None:
        if self._settings.take_over:
            return
        ways = "no apn= to share it, or take_over=True"
        if number == self._attach_context:
            ways += ", with which the radio goes off and on again: this modem attaches to the network with it"
        if len(self._pdp_contexts) > 1:
            ways = f"another pdp=, {ways}"
        wanted = f"{self._settings.apn!r}" + (f" ({self._settings.family})" if why.endswith(")") else "")
        raise PdpError(f"PDP context {number}: {why}, not {wanted}, and is not the driver's: give {ways}")

    def _is_configured(self, number: int, deadline: float | None) -> bool:
        """Whether a context is as asked, as far as the modem tells."""
        if self._host.has("pdp_read"):
            return self._fits(number, self._read(number, deadline))
        return self._written.get(number) == self._fingerprint()

    def _read(self, number: int, deadline: float | None) -> Mapping[str, object]:
        values: Mapping[str, object] = self._host.run("pdp_read", {"pdp": number}, deadline=deadline).values
        return values

    def _is_its_apn(self, found: Mapping[str, object]) -> bool:
        return str(found.get("apn", "")).lower() == (self._settings.apn or "").lower()  # 23.003, 9.1: it has no case

    def _fits(self, number: int, found: Mapping[str, object]) -> bool:
        """Whether a context is configured as asked: what the modem does not tell counts as different."""
        wanted = self._settings
        if not self._is_its_apn(found) or found.get("family", wanted.family) not in {wanted.family, "ipv4v6"}:
            return False
        if (wanted.user is not None or wanted.password is not None or wanted.auth is not None) and self._written.get(
            number
        ) == self._fingerprint():
            return True
        for name, value in (("user", wanted.user), ("password", wanted.password)):
            if value is not None and found.get(name) != value:
                return False
        return wanted.auth is None or found.get("auth") in {wanted.auth, None}

    def _fingerprint(self) -> int:
        wanted = self._settings
        return hash((wanted.apn, wanted.user, wanted.password, wanted.auth, wanted.family))

    def _configure(self, number: int, deadline: float | None) -> None:
        wanted = self._settings
        auth = wanted.auth or ("any" if wanted.user is not None else "none")
        logger.info("PDP context %d: writing APN %r (kept by the modem)", number, wanted.apn)
        self._say("PDP context", f"configuring {number}")
        self._host.run(
            "pdp_configure",
            {
                "pdp": number,
                "apn": wanted.apn or "",
                "user": wanted.user,
                "password": wanted.password,
                "auth": auth,
                "family": wanted.family,
            },
            deadline=deadline,
        )
        self._written[number] = self._fingerprint()

    def _activate(self, number: int, deadline: float | None) -> None:
        self._say("PDP context", f"activating {number}")
        try:
            self._host.run("pdp_activate", {"pdp": number}, deadline=deadline)
        except CommandError as error:
            # Some modems refuse to activate what the network has activated meanwhile.
            if number in self._active(deadline):
                return
            raise PdpError(f"PDP context {number}: not activated: {error} ({self._doubtful()})") from error
        logger.info("PDP context %d: activated", number)

    def _doubtful(self) -> str:
        """Ask about what a network refuses a context for and the caller can change; the password is not shown."""
        wanted = self._settings
        if wanted.apn is None:
            return "is the APN stored in the modem right for this SIM?"
        if wanted.user is None:
            return f"is the APN {quoted(wanted.apn)} right for this SIM, and does it take no user and password?"
        password = "the password given" if wanted.password is not None else "no password"
        return f"are the APN {quoted(wanted.apn)}, the user {quoted(wanted.user)} and {password} right for this SIM?"

    # What the steps share.

    def _say(self, step: str, detail: str) -> None:
        logger.info("%s: %s", step, detail)
        self._tell(step, detail)

    def _pause(self, seen: int, end: float, longest: float) -> None:
        """Wait until a URC, the end of the epoch, or for ``longest`` seconds; not beyond ``end``."""
        epoch = self._host.epoch
        until = min(end, self._host.now() + longest)
        self._wait(lambda: self._events != seen or self._host.epoch != epoch, until)
        if self._host.epoch != epoch:
            raise ModemRestartedError("the modem restarted while it was being brought up")

    @contextlib.contextmanager
    def _step(self, name: str, kind: type[ModemError], deadline: float | None) -> Iterator[None]:
        """Let errors say which step failed."""
        try:
            yield
        except CommandError as error:
            raise kind(f"{name}: {error}") from error
        except ModemTimeoutError as error:
            if str(error).startswith(name) or isinstance(error, RegistrationTimeoutError):
                raise
            late = deadline is not None and self._host.now() >= deadline
            raise ModemTimeoutError(f"{name}: {'not done when the time ran out: ' if late else ''}{error}") from error


_DOING: Final = {  # the word that says most first
    "searching": "searching for a network",
    "denied": "denied by a network, trying on",
    "idle": "not searching",
    "unknown": "out of coverage or in an unknown state",
}
