"""Compiles programs: walks the steps with what is known at each, checks them, and makes them immutable."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from modemtls.profile import model as m
from modemtls.profile.exchanges import ExchangeCompiler
from modemtls.profile.names import FAILURE_NAMES, Names, Var, constant_type
from modemtls.profile.operations import operation
from modemtls.profile.parts import Parts, evidence
from modemtls.profile.problems import nearest
from modemtls.profile.schema import STEP_KINDS
from modemtls.profile.shapes import seconds
from modemtls.profile.template import Placeholder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from modemtls.at.pattern import LinePattern
    from modemtls.profile.operations import Input
    from modemtls.profile.source import Node

__all__ = ["Compiler"]

_NO_STEPS: Final[tuple[m.Step, ...]] = ()
_MOST_ROUNDS: Final = 4096  # of loops within loops; such programs are run on paper several times when they are checked


def _steps(node: Node) -> Node:
    return node.entries["steps"] if node.kind == "map" else node


def _kind(node: Node) -> str:
    if "do" in node.entries and "each" not in node.entries:
        return "do"
    return next(kind for kind in STEP_KINDS if kind in node.entries)


class Compiler(ExchangeCompiler):
    """Compiles the programs of one profile."""

    def __init__(
        self,
        parts: Parts,
        programs: Mapping[str, Node],
        saved: Mapping[str, Var],
        line: m.LineSettings,
        limits: Mapping[str, Any],
        *,
        behaviour: Mapping[str, Any],
        session: Mapping[str, Input],
    ) -> None:
        super().__init__(parts, line)
        self.programs = programs
        self.saved = saved
        self.limits = limits
        self.behaviour = behaviour
        self.session = session
        self.used: set[str] = set()  # helpers that somebody uses
        self._stack: list[str] = []
        self._rounds = 1  # of the loops around the step at hand

    # -- programs ---------------------------------------------------------------------------------------------

    def operation(self, name: str) -> m.Program:
        """Compile an operation with everything it uses."""
        inputs = operation(name, self.behaviour, self.session).inputs
        known = dict(self.saved)
        for one in inputs.values():
            known[one.name] = Var(one.type, not one.optional, one.secret, "input")
        names = Names(known, set())
        body = self._body(name, self.programs[name], names)
        steps = list(m.walk([body]))
        awaits = tuple(step for step in steps if isinstance(step, m.AwaitStep))
        return m.Program(
            name=name,
            body=body,
            inputs=inputs,
            uses=_uses(body, inputs),
            awaits=awaits,
            names=frozenset(names.used),
            single=None if awaits else _single(body),
        )

    def _body(self, name: str, node: Node, names: Names) -> m.UseStep:
        see = evidence(node.entries.get("see")) if node.kind == "map" else ()
        lock = node.entries.get("lock") if node.kind == "map" else None
        self._stack.append(name)
        self._see.append(see)
        try:
            before = names.copy()
            steps = self.steps(_steps(node), names)
            on_fail, finally_ = self._clean_up(node, before, names)
        finally:
            self._stack.pop()
            self._see.pop()
        return m.UseStep(
            program=name,
            steps=steps,
            lock=str(lock.scalar) if lock is not None else None,
            on_fail=on_fail,
            finally_=finally_,
            see=see,
        )

    def _clean_up(self, node: Node, before: Names, after: Names) -> tuple[tuple[m.Step, ...], tuple[m.Step, ...]]:
        """Compile ``on_fail`` and ``finally``: what the steps captured may be missing there."""
        out: list[tuple[m.Step, ...]] = []
        for key in ("on_fail", "finally"):
            part = node.entries.get(key) if node.kind == "map" else None
            if part is None:
                out.append(_NO_STEPS)
                continue
            names = before.copy()
            # What an earlier step of the group captured is there in most failures; the runner skips a step whose
            # names are missing rather than sending nonsense.
            for name, var in after.known.items():
                if name not in names.known:
                    names.known[name] = replace(var, given=True)
            out.append(self.steps(part, names))
        return out[0], out[1]

    def use(self, node: Node, names: Names, values: Node | None = None) -> m.UseStep:
        """Compile a program for the place where it is used."""
        name = str(node.scalar)
        self.used.add(name)
        body = self.programs.get(name)
        empty = m.UseStep(program=name, steps=())
        if body is None:
            if self.parts.lacks("programs", name):
                self.parts.absent("programs", node, name, f"no program {name}", self.programs)
            name = nearest(name, self.programs) or name  # what it would have given is not missed as well
            self.used.add(name)
            body = self.programs.get(name)
            if body is None or name in self._stack or self.parts.lenient:
                return empty
        if name in self._stack:
            self.problems.add(node, f"{name} uses itself: {' → '.join([*self._stack, name])}", final=True)
            return empty
        bindings = self.parts.values(values, names)
        inner = names
        if values is not None:
            inner = names.copy()
            for key, one in values.entries.items():
                inner.known[key] = self.parts.value(one, names)[1]
        step = self._body(name, body, inner)
        if inner is not names:
            names.merge_maybe(inner)
        return replace(step, values=bindings)

    # -- steps ------------------------------------------------------------------------------------------------

    def steps(self, node: Node, names: Names) -> tuple[m.Step, ...]:
        """Compile a list of steps; ``names`` gets what they capture."""
        out = []
        ended: str | None = None
        for item in node.items:
            if ended is not None:
                self.problems.add(item, f"unreachable: the step before it always ends the program ({ended})")
                ended = None
            step = self.step(item, names)
            if step is None:
                continue
            out.append(step)
            if step.when is None and step.tolerate is False and isinstance(step, (m.ReturnStep, m.FailStep)):
                ended = "return" if isinstance(step, m.ReturnStep) else "fail"
        return tuple(out)

    def step(self, node: Node, names: Names) -> m.Step | None:
        """Compile one step."""
        kind = _kind(node)
        entries = node.entries
        scope = names
        when = None
        if "when" in entries:
            when = self.parts.condition(entries["when"], names)
            scope = names.copy()
            self.parts.refine(when, scope)
        maybe = when is not None or "tolerate" in entries
        if maybe and scope is names:
            scope = names.copy()
        compiled: m.Step | None = getattr(self, f"_{kind}")(node, scope)
        if compiled is None:
            return None
        tolerate: m.Condition | bool = False
        if "tolerate" in entries:
            one = entries["tolerate"]
            if one.kind == "bool":
                tolerate = bool(one.scalar)
            else:
                tolerate = self.parts.condition(one, scope, FAILURE_NAMES)
        retry = self._retry(entries["retry"], scope) if "retry" in entries else None
        if scope is not names:
            names.merge_maybe(scope)
        return replace(compiled, when=when, tolerate=tolerate, retry=retry, see=self._sources(node))

    def _retry(self, node: Node, names: Names) -> m.Retry:
        entries = node.entries
        after = seconds(entries["after"]) if "after" in entries else 0.0
        if after and "see" not in entries and not self._see[-1]:
            self.problems.add(entries["after"], "a pause needs its source", "add see: {manual: …}")
        return m.Retry(
            condition=self.parts.condition(entries["if"], names, FAILURE_NAMES),
            times=int(str(entries["times"].scalar)),
            after=after,
            within=seconds(entries["within"]) if "within" in entries else None,
            before=self.steps(entries["before"], names.copy()) if "before" in entries else (),
        )

    # -- the other kinds --------------------------------------------------------------------------------------

    def _await(self, node: Node, names: Names) -> m.AwaitStep:
        entries = node.entries
        secrets = self._secrets(node, names)
        awaited = entries["await"]
        rules = []
        bound: list[str] = []
        maybe: list[Names] = []
        places: list[tuple[Node, LinePattern, bool]] = []
        for item in awaited.items if awaited.kind == "list" else [awaited]:
            own = item.entries if item.kind == "map" else {}
            match = own.get("match", item)
            hidden = secrets | ({str(one.scalar) for one in own["secret"].items} if "secret" in own else set())
            pattern = self.parts.pattern(match, names, hidden)
            if pattern is None:
                continue
            bound.extend(pattern.bound)
            fields = self.parts.captured(pattern, given=True, secrets=hidden)
            self._known_fields(own.get("secret"), fields)
            inner = names.copy()
            for name, var in fields.items():
                inner.add(name, var)
            rule = m.AwaitRule(
                pattern=pattern,
                maps=self.parts.read_maps(own.get("map"), fields),
                sets=self.parts.constants(own.get("sets")),
                outcome=self.parts.outcomes(own.get("outcome") or entries.get("outcome"), inner),
                fail=self.parts.fail_rule(own.get("fail") or entries.get("fail"), inner),
                data=pattern.payload.name if pattern.payload is not None else None,
            )
            for name, value in rule.sets.items():
                inner.add(name, Var(constant_type(value), origin="set"))
            for name, _ in rule.maps:
                if name in inner.known:
                    inner.known[name] = replace(inner.known[name], type="any")
            rules.append(rule)
            maybe.append(inner)
            places.append((match, pattern, True))
        self._shadows(places)
        collect = self.parts.pattern(entries["collect"], names, secrets) if "collect" in entries else None
        if collect is not None:
            bound.extend(collect.bound)
            if collect.payload is None:
                self.problems.add(entries["collect"], "collect needs a pattern with a payload")
        optional = bool(entries["optional"].scalar) if "optional" in entries else False
        if len(maybe) == 1 and not optional:
            names.known.update(maybe[0].known)
        else:
            shared = set.intersection(*(set(one.known) for one in maybe)) if maybe else set()
            for inner in maybe:
                names.merge_maybe(inner)
            for name in shared:
                if not optional and all(one.known[name].given for one in maybe):
                    names.given(name)
        self._hidden(node, names)
        return m.AwaitStep(
            rules=tuple(rules),
            timeout=self.parts.timeout(entries["timeout"], self.line.timeout, names),
            collect=collect,
            optional=optional,
            cause=self._cause(node, names),
            save=self._save(node, names),
            bound=tuple(dict.fromkeys(bound)),
        )

    def _use(self, node: Node, names: Names) -> m.UseStep:
        return self.use(node.entries["use"], names, node.entries.get("with"))

    def _group(self, node: Node, names: Names, *, key: str, atomic: bool) -> m.GroupStep:
        before = names.copy()
        steps = self.steps(node.entries[key], names)
        on_fail, finally_ = self._clean_up(node, before, names)
        return m.GroupStep(steps=steps, atomic=atomic, on_fail=on_fail, finally_=finally_)

    def _do(self, node: Node, names: Names) -> m.GroupStep:
        atomic = bool(node.entries["atomic"].scalar) if "atomic" in node.entries else False
        return self._group(node, names, key="do", atomic=atomic)

    def _atomic(self, node: Node, names: Names) -> m.GroupStep:
        return self._group(node, names, key="atomic", atomic=True)

    def _each(self, node: Node, names: Names) -> m.EachStep:
        entries = node.entries
        source = entries["in"]
        elements: str | tuple[object, ...] = ()
        kind = "int"
        if source.kind == "text":
            elements = str(source.scalar)
            var = names.get(elements)
            if var is None:
                self.parts.unknown(source, elements, names)
            elif var.type not in {"tokens", "any"}:
                self.problems.add(source, f"{elements} is {var.type}, not a list")
            kind = "token"
        elif source.kind == "list":
            elements = tuple(one.scalar for one in source.items)
            kind = constant_type(elements[0]) if elements else "text"
        elif "limit" in source.entries:
            limit = str(source.entries["limit"].scalar)
            if limit not in self.limits and self.parts.lacks("limits", limit):
                self.parts.absent("limits", source, limit, f"limits has no {limit}", ())
            elements = tuple(self.limits.get(limit, ()))
        elif "from" in source.entries and "to" in source.entries:
            low, high = (int(str(source.entries[key].scalar)) for key in ("from", "to"))
            elements = tuple(range(low, high + 1))
        else:
            self.problems.add(source, "a range needs `from` and `to`, or `limit`")
        inner = names.copy()
        inner.known[str(entries["each"].scalar)] = Var(kind, origin="set")
        index = str(entries["index"].scalar) if "index" in entries else None
        if index is not None:
            inner.known[index] = Var("int", origin="set")
        around = self._rounds
        self._rounds *= max(1, len(elements)) if isinstance(elements, tuple) else 1
        if around <= _MOST_ROUNDS < self._rounds:
            self.problems.add(source, f"loops within loops: {self._rounds} rounds, {_MOST_ROUNDS} at most")
        steps = self.steps(entries["do"], inner)
        self._rounds = around
        names.merge_maybe(inner)
        first = int(str(entries["first_index"].scalar)) if "first_index" in entries else 0
        return m.EachStep(
            name=str(entries["each"].scalar), elements=elements, steps=steps, index=index, first_index=first
        )

    def _first(self, node: Node, names: Names) -> m.FirstStep:
        alternatives = []
        maybe: list[Names] = []
        items = node.entries["first"].items
        for number, item in enumerate(items):
            inner = names.copy()
            if item.kind == "list":
                steps = self.steps(item, inner)
            else:
                one = self.step(item, inner)
                steps = () if one is None else (one,)
            if number < len(items) - 1 and steps and all(_never_fails(step) for step in steps):
                self.problems.add(items[number + 1], "unreachable: the alternative before it cannot fail")
            alternatives.append(steps)
            maybe.append(inner)
        shared = set.intersection(*(set(one.known) for one in maybe))
        for inner in maybe:
            names.merge_maybe(inner)
        for name in shared:
            if all(one.known[name].given for one in maybe):
                names.given(name)
        remember = str(node.entries["remember"].scalar) if "remember" in node.entries else None
        return m.FirstStep(alternatives=tuple(alternatives), remember=remember)

    def _set(self, node: Node, names: Names) -> m.SetStep:
        out = []
        scope = str(node.entries["scope"].scalar) if "scope" in node.entries else "command"
        if scope in {"socket", "context"} and scope not in names.known:
            self.problems.add(node.key("scope"), f"no {scope} here to set a value for")
        new: dict[str, Var] = {}
        for name, one in node.entries["set"].entries.items():
            value, var = self.parts.value(one, names)
            out.append((name, value))
            new[name] = var
        for name, var in new.items():
            before = names.known.get(name)
            if before is not None and before.origin == "set" and before.type != var.type:
                var = replace(var, type="any")  # noqa: PLW2901 - the merged type takes its place
            names.add(name, var)
        return m.SetStep(values=tuple(out), scope=scope)

    def _pause(self, node: Node, names: Names) -> m.PauseStep:
        del names
        if "see" not in node.entries:
            self.problems.add(node, "a pause needs its source", "add see: {manual: …}")
        return m.PauseStep(seconds=seconds(node.entries["pause"]))

    def _return(self, node: Node, names: Names) -> m.ReturnStep:
        del names
        return m.ReturnStep(outcome=str(node.entries["return"].scalar))

    def _check(self, node: Node, names: Names) -> m.CheckStep:
        return m.CheckStep(check=self._checks(node.entries["check"], names))

    def _doubt(self, node: Node, names: Names) -> m.DoubtStep:
        del names
        return m.DoubtStep(reason=str(node.entries["doubt"].scalar))

    def _fail(self, node: Node, names: Names) -> m.FailStep:
        entries = node.entries
        namespace = self.parts.namespace(entries["code"]) if "code" in entries else ""
        source = str(entries["from"].scalar) if "from" in entries else ""
        if source and names.get(source) is None:
            self.parts.unknown(entries["from"], source, names)
        if namespace and not source:
            self.problems.add(entries["code"], "fail needs `from`: which name has the code")
        text = str(entries["text"].scalar) if "text" in entries else ""
        return m.FailStep(kind=str(entries["fail"].scalar), text=text, namespace=namespace, source=source)


def _never_fails(step: m.Step) -> bool:
    return step.tolerate is True or isinstance(step, (m.SetStep, m.ReturnStep, m.PauseStep, m.DoubtStep))


def _placeholders(step: m.Step) -> Iterator[Placeholder]:
    """Yield the placeholders that a step writes or computes with."""
    values: Iterable[tuple[str, m.ValueSpec]] = ()
    if isinstance(step, m.SendStep):
        yield from step.line.placeholders()
        if step.payload is not None and step.payload.template is not None:
            yield from step.payload.template.placeholders()
        values = step.check
    elif isinstance(step, m.CheckStep):
        values = step.check
    elif isinstance(step, (m.SetStep, m.UseStep)):
        values = step.values
    for _, value in values:
        if isinstance(value, Placeholder):
            yield value


def _uses(body: m.UseStep, inputs: Mapping[str, Input]) -> tuple[m.Use, ...]:
    """Return what is written with the inputs, each with the conditions that only the inputs decide."""
    changed: set[str] = set()
    for step in m.walk([body]):
        if isinstance(step, (m.SetStep, m.UseStep)):
            changed.update(name for name, _ in step.values)
    uses: dict[object, m.Use] = {}
    for step, tests in m.guarded([body]):
        deciding = tuple(one for one in tests if one.name in inputs and one.name not in changed)
        for one in _placeholders(step):
            if one.name in inputs and (one.kind is not None or one.table is not None or one.codecs):
                key = (one.name, one.codecs, one.table_name, one.kind, one.separator, deciding)
                uses.setdefault(key, m.Use(one, deciding))
        payload = step.payload if isinstance(step, m.SendStep) else None
        if payload is not None and payload.name in inputs:
            uses.setdefault((id(payload), deciding), m.Use(payload, deciding))
    return tuple(uses.values())


def _single(body: m.UseStep) -> m.SendStep | None:
    if len(body.steps) != 1 or body.lock or body.on_fail or body.finally_:
        return None
    step = body.steps[0]
    plain = isinstance(step, m.SendStep) and step.when is None and step.retry is None
    return step if plain and isinstance(step, m.SendStep) else None
