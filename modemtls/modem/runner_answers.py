"""What an answer comes to: values, outcome, or the failure with the modem's code and the profile's meaning of it."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from modemtls.at.grammar import Outcome
from modemtls.errors import CommandError, ModemTimeoutError, SocketClosedError
from modemtls.profile.model import Items
from modemtls.profile.template import value_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from modemtls.at.exchange import Exchange, Line, Reply
    from modemtls.errors import ModemError
    from modemtls.modem.runner import Runner
    from modemtls.profile import model as m

__all__ = ["Answers", "Ended"]

_log = logging.getLogger(__name__)


class Ended(Exception):  # noqa: N818 - control flow between steps
    """A step ended with an outcome other than ok."""

    def __init__(self, outcome: str, final: str) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.final = final


class Answers(ABC):
    """The names that a run knows, and how answers add to them."""

    __slots__ = (
        "_bindings",
        "_payload",
        "_program",
        "_rows",
        "_runner",
        "channel",
        "deadline",
        "epoch",
        "final",
        "on_orphan",
        "on_socket",
        "shown",
        "still",
        "values",
    )

    def __init__(
        self,
        runner: Runner,
        program: m.Program,
        bindings: Mapping[str, Any],
        deadline: float | None,
        on_orphan: Callable[[Reply | BaseException], None] | None,
        epoch: int,
    ) -> None:
        self._runner = runner
        self._program = program
        self._bindings = bindings
        self.channel = runner.channel
        self.deadline = deadline
        self.on_orphan = on_orphan
        self.on_socket: Callable[[int], None] | None = None
        self.still: Callable[[], ModemError | None] | None = None
        self.epoch = epoch
        self.values: dict[str, Any] = {}
        self._rows: list[dict[str, Any]] = []
        self._payload = b""
        self.final = ""
        self.shown = ""

    # -- names ------------------------------------------------------------------------------------------------

    def lookup(self, name: str) -> object:
        """Return the value of a name, None if it has none."""
        found = self.values.get(name)
        if found is not None:
            return found
        found = self._bindings.get(name)
        if found is not None:
            return found
        return self._runner.saved(self._program.name, name, self._number)

    def _number(self, name: str) -> object:
        found = self.values.get(name)
        return self._bindings.get(name) if found is None else found

    def _with(self, failure: Mapping[str, object]) -> Callable[[str], object]:
        """Return a lookup that knows of a failure as well."""
        return lambda name: failure[name] if name in failure else self.lookup(name)

    @abstractmethod
    def steps(self, steps: Iterable[m.Step]) -> None:
        """Run steps one after the other."""

    # -- answers ----------------------------------------------------------------------------------------------

    def _settle(self, step: m.SendStep, exchange: Exchange, reply: Reply) -> None:
        """Take from an answer what it says, and judge it."""
        self.shown = exchange.text
        self.final = reply.final
        for line in reply.lines:
            self._line(step.lines[line.index], line)
        outcome = reply.outcome
        word = outcome.value
        code: int | str | None = None
        namespace = ""
        if outcome is Outcome.FAIL:
            code, namespace = self._code(step, reply)
        if step.outcome or step.fail is not None:
            failure: dict[str, object] = {"outcome": word, "code": code, "final": reply.final}
            if outcome is Outcome.FAIL:
                failure["kind"] = self._kind(namespace, code)
            word = self._ruled(step.outcome, word, failure)
            if step.fail is not None:
                self._fail(step.fail, exchange.text, failure, code, namespace)
        if word == "fail":
            raise self._error(exchange.text, namespace, code, final=reply.final, text=reply.code_text)
        if reply.missing and outcome is Outcome.OK and word == "ok":
            raise CommandError(
                f"{exchange.text}: the answer lacks {', '.join(reply.missing)}", command=exchange.text, kind="unknown"
            )
        if step.check:
            self._check(step.check, exchange.text)
        for scope, name in step.save:
            self._save(scope, name)
        if word != "ok":
            raise Ended(word, reply.final)

    def _code(self, step: m.SendStep, reply: Reply) -> tuple[int | str | None, str]:
        """Return the code of a failed exchange and the namespace that knows it."""
        profile = self._runner.profile
        spaces = step.namespaces if reply.namespace in {"", "cme"} else (reply.namespace,)
        if reply.code is not None:
            for space in spaces:
                if profile.error(space, reply.code) is not None:
                    return reply.code, space
            return reply.code, spaces[0]
        if reply.code_text:
            for space in spaces:
                found = profile.code_of(space, reply.code_text)
                if found is not None:
                    return found, space
            return reply.code_text, spaces[0]
        return None, ""

    def _kind(self, namespace: str, code: object) -> str:
        found = self._runner.profile.error(namespace, code)
        return "unknown" if found is None else found.kind

    def _ruled(self, rules: tuple[m.OutcomeRule, ...], word: str, failure: Mapping[str, object]) -> str:
        lookup = self._with(failure)
        for rule in rules:
            if rule.condition.holds(lookup):
                self.values.update(rule.sets)
                return rule.outcome
        return word

    def _fail(
        self,
        rule: m.FailRule,
        shown: str,
        failure: Mapping[str, object],
        code: object = None,
        namespace: str = "",
    ) -> None:
        lookup = self._with(failure)
        if rule.condition.holds(lookup) is rule.unless:
            return
        if rule.namespace:
            raise self._error(shown, rule.namespace, lookup(rule.source), kind=rule.kind, text=rule.text)
        raise self._error(shown, namespace, code, kind=rule.kind, text=rule.text)

    def _error(
        self, shown: str, namespace: str, code: object, *, kind: str = "unknown", text: str = "", final: str = ""
    ) -> CommandError:
        found = self._runner.profile.error(namespace, code)
        if found is not None:
            kind, text = found.kind, found.text
        known = code if isinstance(code, (int, str)) and not isinstance(code, bool) else None
        what = text or final or "failed"
        where = f" ({namespace} {known})" if namespace and known is not None and str(known) != text else ""
        return CommandError(
            f"{shown}: {what}{where}",
            command=shown,
            namespace=namespace,
            modem_code=known,
            kind=kind,
            text=text or final,
        )

    def _explained(self, error: CommandError, cause: m.Cause) -> CommandError:
        """Ask for the cause of a failure, directly after it."""
        shown, final = error.command, self.final
        before = self.values
        self.values = {**before}
        self.values.pop(cause.source, None)
        try:
            self.steps([cause.use])
            code = self.values.get(cause.source)
        except (CommandError, ModemTimeoutError, SocketClosedError, Ended) as failed:
            _log.debug("%s: its cause could not be learnt: %s", shown, failed)
            code = None
        finally:
            self.values = before
            self.final = final
            self.shown = shown
        if code is None or any(str(code) == str(one) for one in cause.ignored):
            return error
        return self._error(shown, cause.namespace, code)

    def _line(self, rule: m.LineRule, line: Line) -> None:
        values: Mapping[str, Any] = line.values
        if rule.repeat == "many":
            row = dict(values)
            for name, one in rule.maps:
                if name in row:
                    row[name] = one.read(row[name])
            row.update(rule.sets)
            if line.payload is not None and rule.data is not None:
                row[rule.data] = line.payload
            if rule.keep is None or rule.keep.holds(lambda name: row.get(name, self.lookup(name))):
                self._rows.append(row)
            return
        self._take(values, rule.maps, rule.sets, rule.data, line.payload)

    def _take(
        self,
        values: Mapping[str, Any],
        maps: tuple[tuple[str, m.ReadMap], ...],
        sets: Mapping[str, object],
        data: str | None,
        payload: bytes | None,
    ) -> None:
        mine = self.values
        mine.update(values)
        for name, one in maps:
            if name in values:
                mine[name] = one.read(values[name])
        if sets:
            mine.update(sets)
        if payload is not None:
            self._payload += payload
            if data is not None:
                mine[data] = payload
        elif isinstance(values.get("data"), bytes):  # written in hexadecimal
            self._payload += values["data"]

    def _check(self, check: tuple[tuple[str, m.ValueSpec], ...], shown: str) -> None:
        for name, spec in check:
            found = self.lookup(name)
            if isinstance(spec, Items):
                same = spec.listed(found, self.lookup)
            else:
                wanted = value_of(spec, self.lookup)
                if wanted is None and found in {None, ""}:
                    continue
                same = found is not None and str(found).casefold() == str(wanted).casefold()
            if not same:
                raise CommandError(
                    f"{shown}: the modem's answer has another {name} than it should", command=shown, kind="mismatch",
                    text=f"{name} differs",
                )  # fmt: skip

    def _save(self, scope: str, name: str) -> None:
        value = self.lookup(name)
        if value is not None:
            self._runner.save(scope, self._program.name, name, value, self._number, self.epoch)
