"""Runs the programs of a profile on a channel.

One :class:`Runner` belongs to one modem. It keeps what programs save (per socket, TLS context and boot epoch), refuses
before the first byte what the profile does not declare, and turns failures into :class:`~modemtls.errors.CommandError`
with the profile's meaning of the modem's codes.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from modemtls.errors import ConfigurationError, ModemRestartedError, NotSupportedError
from modemtls.modem.interfaces import Turn
from modemtls.modem.runner_quick import CACHE_LIMIT, quick
from modemtls.modem.runner_render import check_bindings, payload_bytes, render
from modemtls.modem.runner_result import Result, wanted
from modemtls.modem.runner_steps import Run
from modemtls.profile.model import UseStep, walk
from modemtls.profile.operations import CHOICES, CLOSING, FAMILIES, OPERATIONS, SECURE, family_of
from modemtls.profile.reach import PROTECTING, without_effect
from modemtls.profile.refusals import refusal, wanting
from modemtls.profile.results import promised

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from modemtls.at.channel import Channel
    from modemtls.at.exchange import Exchange, Reply, Urc
    from modemtls.errors import ModemError
    from modemtls.modem.runner_quick import Quick
    from modemtls.profile.model import Program
    from modemtls.profile.profile import Profile

__all__ = ["Result", "Runner"]


class Runner:
    """Runs operations. Every method may be called from any thread."""

    def __init__(self, channel: Channel, profile: Profile, *, model: str = "", firmware: str = "") -> None:
        self.channel = channel
        self.profile = profile
        self._identity = {"model": model or None, "firmware": firmware or None}
        self._programs = profile.programs
        steps = walk(program.body for program in profile.programs.values())
        self._turns = {step.lock: Turn(step.lock) for step in steps if isinstance(step, UseStep) and step.lock}
        self._specs = {id(one.rule): one for one in profile.urcs}
        self._quick = {name: one for name, program in profile.programs.items() if (one := quick(program)) is not None}
        modem_ids = profile.behaviour["socket_ids"] == "modem"
        self._wanted = {
            name: what
            for name, program in profile.programs.items()
            if (what := wanted(promised(program, modem_ids=modem_ids))) is not None
        }
        # Those that TLS settings are given to.
        alone = profile.behaviour["tls_contexts"] == "none"
        self._deciding = {"tls_open", "dtls_open", "tls_listen"} if alone else {"tls_configure"}
        self._epoch = channel.epoch
        self._probed = True  # False once what the modem had been asked was forgotten, until it is asked again
        self._boot: dict[str, object] = {}
        self._contexts: dict[int, dict[str, object]] = {}
        # Sockets that share their numbers are one here; see behaviour.shared_ids.
        shared = bool(profile.behaviour["shared_ids"])
        self._numbering = {one: "all" if shared else "secure" if one in SECURE else "plain" for one in FAMILIES}
        self._sockets: dict[tuple[str, int], dict[str, object]] = {}

    # -- facts ------------------------------------------------------------------------------------------------

    @property
    def flags(self) -> Mapping[str, object]:
        """What was saved for this boot epoch (by ``probe``, above all)."""
        self._check_epoch()
        return dict(self._boot)

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """Every capability with its value for this modem as far as it is probed; False for what it lacks."""
        return self.profile.able_all(self.flag)

    def flag(self, name: str) -> object:
        """Return a flag of this epoch, ``model`` or ``firmware``; None if it is not known."""
        self._check_epoch()
        found = self._boot.get(name)
        return self._identity.get(name) if found is None else found

    def _sure(self, name: str) -> object:
        """Return a flag as :meth:`flag` does. Raises ModemRestartedError if it is not known because of a restart."""
        found = self.flag(name)
        if found is None and not self._probed and name not in self._identity:
            raise ModemRestartedError("the modem restarted: what it can do has to be asked again")
        return found

    def has(self, op: str) -> bool:
        """Tell whether the profile has an operation."""
        return op in self._programs

    # -- running ----------------------------------------------------------------------------------------------

    def run(
        self,
        op: str,
        bindings: Mapping[str, Any] | None = None,
        *,
        deadline: float | None = None,
        on_orphan: Callable[[Reply | BaseException], None] | None = None,
        on_socket: Callable[[int], None] | None = None,
        still: Callable[[], ModemError | None] | None = None,
    ) -> Result:
        """Run an operation. ``deadline`` is of the channel's clock; ``on_orphan`` as for ``Channel.exchange``.

        ``still`` and ``on_socket`` as :meth:`modemtls.modem.interfaces.Host.run` has them.
        Raises NotSupportedError and ConfigurationError before anything is sent; CommandError if the modem refuses, or
        its answer lacks what the operation's callers rely on;
        ModemTimeoutError, ModemRestartedError, PortLostError, SyncError as the channel does. All commands of one run
        belong to one boot epoch.
        """
        epoch = self.channel.epoch
        result = self._run(op, bindings, deadline, on_orphan, on_socket, still)
        if op == "probe" and not self._probed and self.channel.epoch == epoch:
            self._probed = True
        return result

    def _run(
        self,
        op: str,
        bindings: Mapping[str, Any] | None,
        deadline: float | None,
        on_orphan: Callable[[Reply | BaseException], None] | None,
        on_socket: Callable[[int], None] | None,
        still: Callable[[], ModemError | None] | None,
    ) -> Result:
        program = self._programs.get(op)
        if program is None:
            raise self._absent(op)
        bindings = bindings or {}
        if self.channel.epoch != self._epoch:
            self._check_epoch()
        quick = self._quick.get(op) if on_socket is None else None
        if quick is not None:
            exchange = self._ready(quick, bindings)
            if exchange is not None:
                result = self._single(quick, exchange, bindings, deadline, on_orphan, still)
                if op in self._wanted:
                    self._wanted[op].check(op, result)
                return result
        self._check(op, program, bindings)
        run = Run(self, program, bindings, deadline, on_orphan, self._epoch)
        run.on_socket = on_socket
        run.still = still
        result = run.whole()
        self._forget_ended(op, bindings)
        if op in self._wanted:
            self._wanted[op].check(op, result)
        return result

    def check(self, op: str, bindings: Mapping[str, Any]) -> None:
        """Raise what :meth:`run` would raise before anything is sent.

        What the program itself refuses is a :class:`NotSupportedError` by the name of the capability that it wants, or
        a :class:`ConfigurationError`.
        """
        program = self._programs.get(op)
        if program is None:
            raise self._absent(op)
        self._check(op, program, bindings)
        step = refusal(program, bindings, self._sure)
        if step is None:
            return
        text = f"{self.profile.name}: {step.text}"
        if step.kind == "not_supported":
            raise NotSupportedError(text, capability=wanting(program, bindings, self._sure))
        raise ConfigurationError(text)

    def _check(self, op: str, program: Program, bindings: Mapping[str, Any]) -> None:
        check_bindings(self.profile, program, bindings, self._sure)
        if op in self._deciding:
            self._check_effect(op, bindings)

    def _check_effect(self, op: str, bindings: Mapping[str, Any]) -> None:
        """Refuse settings that protect and would decide nothing that is sent with what is known of this firmware."""
        opening = op if op != "tls_configure" else "dtls_open" if bindings.get("dtls") else "tls_open"
        for name in without_effect(self.profile, opening, bindings, self._sure):
            capability = PROTECTING[name] or "tls"
            raise NotSupportedError(
                f"{name}: nothing that profile {self.profile.name} sends to this modem depends on it, so it would not "
                "be in force",
                capability=capability,
                choices=CHOICES.get(capability, ()),
            )

    def _single(
        self,
        quick: Quick,
        exchange: Exchange,
        bindings: Mapping[str, Any],
        deadline: float | None,
        on_orphan: Callable[[Reply | BaseException], None] | None,
        still: Callable[[], ModemError | None] | None,
    ) -> Result:
        """Run a program that is one exchange: what the data path consists of."""
        epoch = self._epoch
        payload: bytes | None = None
        if quick.data is not None:
            payload = bindings.get(quick.plain)
            if type(payload) is not bytes:
                payload = payload_bytes(quick.data, bindings.get)
        explained: list[Result] = []

        def explain(reply: Reply) -> None:
            run = Run(self, quick.program, bindings, deadline, on_orphan, epoch)
            explained.append(run.single(exchange, reply))

        reply = self.channel.exchange(
            exchange,
            deadline=deadline,
            on_orphan=on_orphan,
            epoch=epoch,
            payload=payload,
            # The cause of a failure is only known until the next command: nobody may come between.
            on_failure=explain if quick.explains else None,
            still=still,
        )
        result = explained[0] if explained else quick.settle(reply)
        if result is None:
            result = Run(self, quick.program, bindings, deadline, on_orphan, epoch).single(exchange, reply)
        if quick.ends:
            self._forget_ended(quick.program.name, bindings)
        return result

    def _ready(self, quick: Quick, bindings: Mapping[str, Any]) -> Exchange | None:
        """Return the exchange of a one-exchange program without its payload, kept from the last time or new."""
        key = (len(bindings), *map(bindings.get, quick.names))
        try:
            found = quick.kept.get(key)
        except TypeError:  # a list among the inputs
            return None
        if found is None:
            check_bindings(self.profile, quick.program, bindings, self._sure)
            found = render(quick.step, bindings.get, quick.program.name)
            if quick.data is not None:  # may be large, and only the command is the same the next time
                found = replace(found, payload=b"")
            if len(quick.kept) >= CACHE_LIMIT:
                quick.kept.clear()
            quick.kept[key] = found
        return found

    def _absent(self, op: str) -> NotSupportedError:
        about = f" ({OPERATIONS[op].about})" if op in OPERATIONS else ""
        return NotSupportedError(f"{self.profile.name}: this modem has no operation {op}{about}", capability=op)

    # -- what is saved ----------------------------------------------------------------------------------------

    def _check_epoch(self) -> None:
        epoch = self.channel.epoch
        if epoch != self._epoch:
            self._epoch = epoch
            self._probed = not self.has("probe")
            for one in self._quick.values():  # what was checked was checked against the flags of then
                one.kept.clear()
            self._boot = {}
            if self.profile.behaviour["settings_survive"] == "none":
                self._contexts = {}
            self._sockets = {}

    def saved(self, op: str, name: str, bindings: Callable[[str], object]) -> object:
        """Return what was saved under a name, nearest scope first; None if nothing was."""
        if self._sockets:
            socket = bindings("socket")
            if isinstance(socket, int):
                found = self._sockets.get((self._numbering[family_of(op)], socket), {}).get(name)
                if found is not None:
                    return found
        if self._contexts:
            context = bindings("context")
            if isinstance(context, int):
                found = self._contexts.get(context, {}).get(name)
                if found is not None:
                    return found
        found = self._boot.get(name)
        return self._identity.get(name) if found is None else found

    def save(
        self, scope: str, op: str, name: str, value: object, bindings: Callable[[str], object], epoch: int
    ) -> None:
        """Keep a value, unless it belongs to an epoch that has ended."""
        self._check_epoch()
        if epoch != self._epoch:
            return
        if scope == "boot":
            self._boot[name] = value
            return
        number = bindings(scope)
        if not isinstance(number, int):
            return
        if scope == "context":
            self._contexts.setdefault(number, {})[name] = value
        else:
            self._sockets.setdefault((self._numbering[family_of(op)], number), {})[name] = value

    def _forget_ended(self, op: str, bindings: Mapping[str, Any]) -> None:
        if op in CLOSING:
            self._sockets.pop((self._numbering[family_of(op)], bindings.get("socket", -1)), None)

    def forget_context(self, number: object) -> None:
        """Drop what was saved for a context's former configuration."""
        if isinstance(number, int):
            self._contexts.pop(number, None)

    def observe(self, urc: Urc) -> Urc:
        """Return an unsolicited result with its values in neutral words, after keeping what the profile wants kept.

        For the thread that reads: it only sets state.
        """
        spec = None if urc.rule is None else self._specs.get(id(urc.rule))
        if spec is None:
            return urc
        if spec.maps:
            urc = replace(urc, values=spec.values(urc.values))  # type: ignore[arg-type]
        if spec.save or spec.clears:
            values = urc.values
            self._check_epoch()
            family = spec.rule.family
            # Of a result that does not say which kind of socket it is about, each that it can be about.
            families = ("tls", "tcp") if family is None else (family,)
            for scope, name in spec.save:
                for one in families if scope == "socket" else families[:1]:
                    self.save(scope, one, name, values.get(name), values.get, self._epoch)
            for name in spec.clears:
                self._boot.pop(name, None)
        return urc

    @contextmanager
    def turn(self, name: str, deadline: float | None) -> Iterator[None]:
        """Keep other programs of the same lock out. Raises ModemTimeoutError if the deadline passes first."""
        with self._turns[name].take(self.channel.clock, deadline):
            yield
