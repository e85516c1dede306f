"""The interpreter of programs: one :class:`Run` for each time an operation is run."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final

from modemtls.at.grammar import Outcome
from modemtls.errors import CommandError, ConfigurationError, ModemTimeoutError, SocketClosedError, SyncError
from modemtls.modem.runner_answers import Answers, Ended
from modemtls.modem.runner_render import render
from modemtls.modem.runner_result import Result
from modemtls.profile import model as m
from modemtls.profile.template import value_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from modemtls.at.channel import Watch
    from modemtls.at.exchange import Exchange, Line, Reply, Urc
    from modemtls.modem.runner import Runner

__all__ = ["Run"]

_log = logging.getLogger(__name__)

_OUTCOMES: Final = {one.value: one for one in Outcome}


class _Return(Exception):  # noqa: N818 - control flow between steps
    """A `return` step."""

    def __init__(self, outcome: str) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class _Armed:
    """A watch of an await, with the bound values it was registered for."""

    __slots__ = ("bound", "collect", "watches")

    def __init__(self, bound: dict[str, str], watches: list[Watch], collect: Watch | None) -> None:
        self.bound = bound
        self.watches = watches
        self.collect = collect

    def close(self) -> None:
        for one in self.watches:
            one.close()
        if self.collect is not None:
            self.collect.close()


class Run(Answers):
    """One run of one operation. Used by one thread."""

    __slots__ = ("_armed", "_locks")

    def __init__(
        self,
        runner: Runner,
        program: m.Program,
        bindings: Mapping[str, Any],
        deadline: float | None,
        on_orphan: Callable[[Reply | BaseException], None] | None,
        epoch: int,
    ) -> None:
        super().__init__(runner, program, bindings, deadline, on_orphan, epoch)
        self._armed: dict[int, _Armed] = {}
        self._locks: set[str] = set()

    # -- whole programs ---------------------------------------------------------------------------------------

    def single(self, exchange: Exchange, reply: Reply) -> Result:
        """Finish a program that is one exchange, with its answer. A cause is asked for within the caller's hold."""
        step = self._program.single
        assert step is not None
        try:
            try:
                self._settle(step, exchange, reply)
            except CommandError as error:
                if step.cause is None:
                    raise
                raise self._explained(error, step.cause) from None
        except Ended as ended:
            if not self._tolerated(step.tolerate, ended.outcome, ended.final):
                return self._result(_OUTCOMES[ended.outcome])
        except CommandError as error:
            if not self._forgiven(step.tolerate, error):
                raise
        finally:
            self._disarm()
        return self._result(Outcome.OK)

    def whole(self) -> Result:
        """Run a program."""
        outcome = Outcome.OK
        if self._program.name == "tls_configure":
            self._runner.forget_context(self._bindings.get("context"))
        try:
            self._use(self._program.body)
        except Ended as ended:
            outcome = _OUTCOMES[ended.outcome]
        finally:
            self._disarm()
        return self._result(outcome)

    def _disarm(self) -> None:
        for armed in self._armed.values():
            armed.close()
        self._armed.clear()

    def _result(self, outcome: Outcome) -> Result:
        return Result(outcome, self.values, self._rows, self._payload, self.final)

    # -- steps ------------------------------------------------------------------------------------------------

    def steps(self, steps: Iterable[m.Step]) -> None:
        """Run steps one after the other."""
        for step in steps:
            if step.when is None or step.when.holds(self.lookup):
                self._step(step)

    def _step(self, step: m.Step) -> None:
        act = _ACTS[type(step)]
        tries = 0 if step.retry is None else step.retry.times
        while True:
            began = self.channel.clock()
            try:
                act(self, step)
            except Ended as ended:
                if self._tolerated(step.tolerate, ended.outcome, ended.final):
                    return
                if tries and self._again(step.retry, {"outcome": ended.outcome, "final": ended.final}, began):
                    tries -= 1
                    continue
                raise
            except CommandError as error:
                if tries and self._again(step.retry, self._about(error), began):
                    tries -= 1
                    continue
                if self._forgiven(step.tolerate, error):
                    return
                raise
            return

    def _about(self, error: CommandError) -> dict[str, object]:
        return {"outcome": "fail", "code": error.modem_code, "kind": error.kind, "final": self.final}

    def _again(self, retry: m.Retry | None, failure: dict[str, object], began: float) -> bool:
        assert retry is not None
        if not retry.condition.holds(self._with(failure)):
            return False
        now = self.channel.clock()
        if retry.within is not None and now - began > retry.within:
            return False
        if self.deadline is not None and now + retry.after >= self.deadline:
            return False
        self._disarm()  # what comes now belongs to the next try
        self.steps(retry.before)
        self._pause(retry.after)
        return True

    def _tolerated(self, tolerate: m.Condition | bool, outcome: str, final: str) -> bool:
        if isinstance(tolerate, bool):
            return tolerate
        return tolerate.holds(self._with({"outcome": outcome, "final": final}))

    def _forgiven(self, tolerate: m.Condition | bool, error: CommandError) -> bool:
        if error.kind == "mismatch" and not (
            isinstance(tolerate, m.Condition) and any(test.name == "kind" for test in tolerate.tests)
        ):
            return False  # the modem does something else than it was told: only ever tolerated in so many words
        if isinstance(tolerate, bool):
            return tolerate
        return tolerate.holds(self._with(self._about(error)))

    # -- exchanges --------------------------------------------------------------------------------------------

    def _send(self, step: m.SendStep) -> None:
        try:
            exchange = render(step, self.lookup, self._program.name)
        except ConfigurationError as error:
            if not self.shown:
                raise
            # The caller's values were tried before anything was sent: this one is the modem's.
            what = f"{self._program.name}: what the modem gave cannot be sent back: {error}"
            raise CommandError(what, command=self.shown) from None
        if self._program.awaits:
            self._arm()
        if step.cause is None:
            self._exchange(step, exchange)
            return
        # The cause is only known until the next command: nobody may come between.
        with self.channel.hold(self.deadline):
            try:
                self._exchange(step, exchange)
            except CommandError as error:
                raise self._explained(error, step.cause) from None

    def _exchange(self, step: m.SendStep, exchange: Exchange) -> None:
        self._settle(
            step,
            exchange,
            self.channel.exchange(
                exchange,
                deadline=self.deadline,
                on_orphan=self.on_orphan,
                epoch=self.epoch,
                still=self.still,
                on_lines=None if self.on_socket is None else lambda lines: self._numbered(step, lines),
            ),
        )

    def _numbered(self, step: m.SendStep, lines: Sequence[Line]) -> None:
        """Tell the number that the modem has chosen (called in the reading thread, before anything else is sent)."""
        for line in lines:
            number = line.values.get("socket")
            if isinstance(number, int) and step.lines[line.index].repeat != "many" and self.on_socket is not None:
                self.on_socket(number)

    # -- waiting for lines ------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Watch for every awaited line whose bound values are known, before the next command goes out."""
        for step in self._program.awaits:
            bound: dict[str, str] = {}
            for name in step.bound:
                value = self.lookup(name)
                if value is None:
                    break
                bound[name] = str(value)
            else:
                self._watch(step, bound)

    def _watch(self, step: m.AwaitStep, bound: dict[str, str]) -> _Armed:
        armed = self._armed.get(id(step))
        if armed is not None:
            if armed.bound == bound:
                return armed
            armed.close()
        watches = [self.channel.watch(rule.pattern, bound) for rule in step.rules]
        collect = None if step.collect is None else self.channel.watch(step.collect, bound)
        armed = self._armed[id(step)] = _Armed(bound, watches, collect)
        return armed

    def _await(self, step: m.AwaitStep) -> None:
        try:
            bound = {name: _bound(name, self.lookup(name)) for name in step.bound}
            armed = self._watch(step, bound)
            limit = self.channel.clock() + step.timeout.seconds(self.lookup)
            index, urc = self._first_of(armed.watches, limit)
            if armed.collect is not None:
                self._collect(armed.collect)
            if urc is None:
                self._late(step, limit)
                return
            self._awaited(step, step.rules[index], urc)
        except CommandError as error:
            if step.cause is None:
                raise
            with self.channel.hold(self.deadline):
                raise self._explained(error, step.cause) from None

    def _first_of(self, watches: list[Watch], limit: float) -> tuple[int, Urc | None]:
        deadline = limit if self.deadline is None else min(limit, self.deadline)
        if not any(one.ready() for one in watches):
            self.channel.wait(lambda: any(one.ready() for one in watches), deadline)
        for index, one in enumerate(watches):
            urc = one.poll()
            if urc is not None:
                return index, urc
        return 0, None

    def _collect(self, watch: Watch) -> None:
        parts = []
        while watch.ready():
            urc = watch.poll()
            if urc is None:
                break
            if not urc.complete:
                raise SyncError(f"{self.shown}: bytes of its answer's payload were lost: data is missing")
            if urc.payload is not None:
                parts.append(urc.payload)
            self.values.update({name: value for name, value in urc.values.items() if name != "data"})
        if parts:
            self._payload += b"".join(parts)
            self.values["data"] = self._payload

    def _late(self, step: m.AwaitStep, limit: float) -> None:
        if step.optional and (self.deadline is None or limit <= self.deadline):
            return
        shown = self.shown or self._program.name
        self.channel.raise_doubt(f"{shown}: no result in time")
        raise ModemTimeoutError(f"{shown}: the modem accepted it but gave no result in time")

    def _awaited(self, step: m.AwaitStep, rule: m.AwaitRule, urc: Urc) -> None:
        self._take(urc.values, rule.maps, rule.sets, rule.data, urc.payload)
        if self.on_socket is not None and isinstance(number := urc.values.get("socket"), int):
            self.on_socket(number)
        shown = self.shown or self._program.name
        word = "ok"
        if rule.outcome or rule.fail is not None:
            failure: dict[str, object] = {"outcome": word, "final": urc.text}
            word = self._ruled(rule.outcome, word, failure)
            if rule.fail is not None:
                self._fail(rule.fail, shown, failure)
        if word == "fail":
            raise self._error(shown, "", None, final="failed")
        for scope, name in step.save:
            self._save(scope, name)
        if word != "ok":
            raise Ended(word, urc.text)

    # -- the other kinds --------------------------------------------------------------------------------------

    def _use(self, step: m.UseStep) -> None:
        before: dict[str, Any] = {}
        if step.values:
            # A program that was given values sees them instead of the caller's, and only while it runs.
            given = {name: value_of(spec, self.lookup) for name, spec in step.values}
            before = {name: self.values.get(name) for name in given}
            self.values.update(given)
        lock = step.lock if step.lock not in self._locks else None
        with contextlib.ExitStack() as stack:
            if lock is not None:
                stack.enter_context(self._runner.turn(lock, self.deadline))
                self._locks.add(lock)
                stack.callback(self._locks.discard, lock)
            try:
                self._guarded(step)
            except _Return as ended:
                if ended.outcome != "ok":
                    raise Ended(ended.outcome, self.final) from None
            finally:
                for name, value in before.items():
                    if value is None:
                        self.values.pop(name, None)
                    else:
                        self.values[name] = value

    def _group(self, step: m.GroupStep) -> None:
        if not step.atomic:
            self._guarded(step)
            return
        with self.channel.hold(self.deadline):
            self._guarded(step)

    def _guarded(self, step: m.GroupStep | m.UseStep) -> None:
        """Run steps, then what is to be done if they failed, then what is to be done in any case."""
        if not (step.on_fail or step.finally_):
            self.steps(step.steps)
            return
        try:
            self.steps(step.steps)
        except (Ended, _Return):
            self._clean(step.finally_)
            raise
        except CommandError:
            self._clean(step.on_fail)
            self._clean(step.finally_)
            raise
        except (ModemTimeoutError, KeyboardInterrupt):
            self._clean_later((*step.on_fail, *step.finally_))
            raise
        self.steps(step.finally_)

    def _clean(self, steps: tuple[m.Step, ...]) -> None:
        """Run steps of which each may fail."""
        final, shown = self.final, self.shown
        for step in steps:
            try:
                self.steps([step])
            except (CommandError, ModemTimeoutError, SocketClosedError, ConfigurationError, Ended, _Return) as error:
                _log.debug("%s: cleaning up: %s", self._program.name, error)
        self.final, self.shown = final, shown

    def _clean_later(self, steps: tuple[m.Step, ...]) -> None:
        """Clean up in the background: the caller's time is over, and the modem may still be at it."""
        if not steps:
            return
        again = Run(self._runner, self._program, dict(self._bindings), None, None, self.epoch)
        again.values = dict(self.values)
        again.still = self.still

        def work() -> None:
            try:
                again._clean(steps)
            finally:
                again._disarm()

        with contextlib.suppress(Exception):
            self.channel.defer(work)

    def _each(self, step: m.EachStep) -> None:
        elements = step.elements
        if isinstance(elements, str):
            found = self.lookup(elements)
            elements = tuple(found) if isinstance(found, (list, tuple)) else ()
        for index, one in enumerate(elements, step.first_index):
            self.values[step.name] = one
            if step.index is not None:
                self.values[step.index] = index
            self.steps(step.steps)

    def _first(self, step: m.FirstStep) -> None:
        order = list(range(len(step.alternatives)))
        if step.remember is not None:
            best = self.lookup(step.remember)
            if isinstance(best, int) and best in order:
                order.remove(best)
                order.insert(0, best)
        for place, index in enumerate(order):
            try:
                self.steps(step.alternatives[index])
            except CommandError:
                if place == len(order) - 1:
                    raise
                continue
            if step.remember is not None:
                self._runner.save("boot", self._program.name, step.remember, index, self._number, self.epoch)
            return

    def _set(self, step: m.SetStep) -> None:
        values = {name: value_of(spec, self.lookup) for name, spec in step.values}
        self.values.update(values)
        if step.scope != "command":
            for name in values:
                self._save(step.scope, name)

    def _pause_step(self, step: m.PauseStep) -> None:
        self._pause(step.seconds)

    def _pause(self, seconds: float) -> None:
        if seconds <= 0:
            return
        until = self.channel.clock() + seconds
        deadline = until if self.deadline is None else min(until, self.deadline)
        self.channel.wait(lambda: False, deadline)
        if deadline < until:
            raise ModemTimeoutError(f"{self.shown or self._program.name}: the time was over during a pause")

    def _return(self, step: m.ReturnStep) -> None:
        raise _Return(step.outcome)

    def _check_step(self, step: m.CheckStep) -> None:
        self._check(step.check, self.shown or self._program.name)

    def _doubt_step(self, step: m.DoubtStep) -> None:
        self.channel.raise_doubt(step.reason)

    def _fail_step(self, step: m.FailStep) -> None:
        shown = self.shown or self._program.name
        code = self.lookup(step.source) if step.source else None
        raise self._error(shown, step.namespace, code, kind=step.kind, text=step.text)


def _bound(name: str, value: object) -> str:
    if value is None:
        raise ConfigurationError(f"{name}: a line that depends on it is waited for, and it has no value")
    return str(value)


_ACTS: Final[dict[type[m.Step], Callable[[Run, Any], None]]] = {
    m.SendStep: Run._send,  # noqa: SLF001 - the table of its own methods
    m.AwaitStep: Run._await,  # noqa: SLF001
    m.UseStep: Run._use,  # noqa: SLF001
    m.GroupStep: Run._group,  # noqa: SLF001
    m.EachStep: Run._each,  # noqa: SLF001
    m.FirstStep: Run._first,  # noqa: SLF001
    m.SetStep: Run._set,  # noqa: SLF001
    m.PauseStep: Run._pause_step,  # noqa: SLF001
    m.ReturnStep: Run._return,  # noqa: SLF001
    m.CheckStep: Run._check_step,  # noqa: SLF001
    m.DoubtStep: Run._doubt_step,  # noqa: SLF001
    m.FailStep: Run._fail_step,  # noqa: SLF001
}
