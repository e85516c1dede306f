"""Compiles programs: walks the steps with what is known at each, checks them, and makes them immutable."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from modemtls.at.grammar import STANDARD_FINALS, FinalRule, Outcome, PromptRule
from modemtls.at.pattern import PatternError, compile_pattern
from modemtls.profile import model as m
from modemtls.profile.codecs import CODECS
from modemtls.profile.names import FAILURE_NAMES, Names, Var, constant_type
from modemtls.profile.operations import OPERATIONS
from modemtls.profile.parts import Parts, evidence
from modemtls.profile.problems import did_you_mean
from modemtls.profile.schema import STEP_KINDS
from modemtls.profile.shadows import shadowed
from modemtls.profile.shapes import seconds
from modemtls.profile.template import Placeholder, TemplateError, unescape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from modemtls.at.pattern import LinePattern
    from modemtls.profile.source import Node

__all__ = ["Compiler", "walk"]

_NO_STEPS: Final[tuple[m.Step, ...]] = ()


def walk(steps: Iterable[m.Step]) -> Iterator[m.Step]:
    """Yield all steps, those inside others too."""
    for step in steps:
        yield step
        if step.retry is not None:
            yield from walk(step.retry.before)
        if isinstance(step, (m.GroupStep, m.UseStep)):
            yield from walk(step.steps)
            yield from walk(step.on_fail)
            yield from walk(step.finally_)
        elif isinstance(step, m.EachStep):
            yield from walk(step.steps)
        elif isinstance(step, m.FirstStep):
            for one in step.alternatives:
                yield from walk(one)
        if isinstance(step, (m.SendStep, m.AwaitStep)) and step.cause is not None:
            yield from walk([step.cause.use])


def _steps(node: Node) -> Node:
    return node.entries["steps"] if node.kind == "map" else node


def _kind(node: Node) -> str:
    if "do" in node.entries and "each" not in node.entries:
        return "do"
    return next(kind for kind in STEP_KINDS if kind in node.entries)


def _mark(text: str) -> bytes:
    return unescape(text).encode("latin-1")


class Compiler:
    """Compiles the programs of one profile."""

    def __init__(
        self,
        parts: Parts,
        programs: Mapping[str, Node],
        saved: Mapping[str, Var],
        line: m.LineSettings,
        limits: Mapping[str, Any],
    ) -> None:
        self.parts = parts
        self.problems = parts.problems
        self.programs = programs
        self.saved = saved
        self.line = line
        self.limits = limits
        self.used: set[str] = set()  # helpers that somebody uses
        self._stack: list[str] = []
        self._see: list[tuple[m.Evidence, ...]] = [()]
        self._payloads: list[m.Payload] = []

    # -- programs ---------------------------------------------------------------------------------------------

    def operation(self, name: str) -> m.Program:
        """Compile an operation with everything it uses."""
        inputs = OPERATIONS[name].inputs
        known = dict(self.saved)
        for one in inputs.values():
            known[one.name] = Var(one.type, not one.optional, one.secret, "input")
        names = Names(known, set())
        self._payloads = []
        body = self._body(name, self.programs[name], names)
        steps = list(walk([body]))
        uses = {
            (one.name, one.codecs, one.table_name, one.kind, one.separator): one
            for step in steps
            for one in _placeholders(step)
            if one.name in inputs
        }.values()
        awaits = tuple(step for step in steps if isinstance(step, m.AwaitStep))
        return m.Program(
            name=name,
            body=body,
            inputs=inputs,
            uses=tuple(one for one in uses if one.kind is not None or one.table is not None or one.codecs),
            payloads=tuple(one for one in self._payloads if one.name in inputs),
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
            if not self.parts.lenient:
                self.problems.add(node, f"no program {name}", did_you_mean(name, self.programs))
            return empty
        if name in self._stack:
            self.problems.add(node, f"{name} uses itself: {' → '.join([*self._stack, name])}")
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

    def _sources(self, node: Node) -> tuple[m.Evidence, ...]:
        return evidence(node.entries.get("see")) or self._see[-1]

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

    def _secrets(self, node: Node, names: Names) -> set[str]:
        out = {name for name, var in names.known.items() if var.secret}
        if "secret" in node.entries:
            out.update(str(one.scalar) for one in node.entries["secret"].items)
        return out

    def _hidden(self, node: Node, names: Names) -> None:
        for one in node.entries["secret"].items if "secret" in node.entries else ():
            if str(one.scalar) not in names.known:
                self.parts.unknown(one, str(one.scalar), names)

    def _save(self, node: Node, names: Names) -> tuple[tuple[str, str], ...]:
        out = []
        for scope, one in self.parts.saves(node.entries.get("save")):
            name = str(one.scalar)
            var = names.known.get(name)
            if var is None or var.origin == "saved":
                live = [known for known, each in names.known.items() if each.origin != "saved"]
                self.problems.add(one, f"nothing gives {name} a value", did_you_mean(name, live))
            if scope in {"socket", "context"} and scope not in names.known:
                self.problems.add(one, f"no {scope} here to save {name} for")
            out.append((scope, name))
        return tuple(out)

    def _cause(self, node: Node, names: Names) -> m.Cause | None:
        one = node.entries.get("cause")
        if one is None:
            return None
        source = str(one.entries["from"].scalar) if "from" in one.entries else "code"
        namespace = self.parts.namespace(one.entries["code"])
        inner = names.copy()
        inner.known.pop(source, None)
        step = self.use(one.entries["use"], inner)
        if step.steps and source not in inner.known and not self.parts.lenient:
            self.problems.add(
                one.entries.get("from", one), f"{step.program} gives no {source}", did_you_mean(source, inner.known)
            )
        ignored = one.entries["except"].items if "except" in one.entries else []
        return m.Cause(step, namespace, source, tuple(item.scalar for item in ignored))

    def _checks(self, node: Node | None, names: Names) -> tuple[tuple[str, m.ValueSpec], ...]:
        for name in node.entries if node is not None else ():
            assert node is not None
            if names.get(name) is None:
                self.parts.unknown(node.key(name), name, names)
        return self.parts.values(node, names)

    # -- an exchange ------------------------------------------------------------------------------------------

    def _send(self, node: Node, names: Names) -> m.SendStep:
        entries = node.entries
        if not self._sources(node):
            self.problems.add(
                entries["send"], "a command without evidence", "add see: {manual: 'title, version, section'}"
            )
        inner = names
        if "payload" in entries:
            inner = names.copy()
            inner.known["payload_size"] = Var("int", origin="set")
        line = self.parts.template(entries["send"], inner)
        if not line.source.upper().startswith(("AT", "{")) or not line.source:
            self.problems.add(entries["send"], "a command line starts with AT")
        secrets = self._secrets(node, names)
        prompt = self._prompt(entries.get("prompt"))
        payload = self._payload(entries.get("payload"), names)
        if payload is not None and prompt is None:
            self.problems.add(node.key("payload"), "a payload needs the prompt that invites it")
        finals = self._finals(entries.get("finals"), names)
        lines, captured = self._lines(entries.get("lines"), names, secrets)
        for name, var in captured.items():
            names.add(name, var)
        outcome = self.parts.outcomes(entries.get("outcome"), names)
        cause = self._cause(node, names)
        namespaces = ("cme",) if "cme" not in entries else (self.parts.namespace(entries["cme"]), "cme")
        step = m.SendStep(
            line=line,
            lines=lines,
            finals=finals,
            prompt=prompt,
            payload=payload,
            timeout=self.parts.timeout(entries.get("timeout"), self.line.timeout, names),
            blocking=bool(entries["blocking"].scalar) if "blocking" in entries else False,
            input_timeout=seconds(entries["input_timeout"]) if "input_timeout" in entries else None,
            guard=self.line.after_result,
            terminator=self.line.terminator,
            outcome=outcome,
            fail=self.parts.fail_rule(entries.get("fail"), names),
            cause=cause,
            namespaces=namespaces,
            check=self._checks(entries.get("check"), names),
            save=self._save(node, names),
        )
        depends = {one.name for one in line.placeholders()}
        depends.update(name for rule in lines for name in rule.pattern.bound)
        if step.timeout.plus is not None:
            depends.add(step.timeout.plus)
        self._hidden(node, names)
        return replace(step, names=tuple(sorted(depends)))

    def _lines(
        self, node: Node | None, names: Names, secrets: set[str]
    ) -> tuple[tuple[m.LineRule, ...], dict[str, Var]]:
        out: list[m.LineRule] = []
        places: list[tuple[Node, LinePattern, bool]] = []
        captured: dict[str, Var] = {}
        for item in node.items if node is not None else ():
            entries = item.entries
            match = entries["match"] if item.kind == "map" else item
            repeat = str(entries["repeat"].scalar) if "repeat" in entries else "one"
            hidden = secrets | ({str(one.scalar) for one in entries["secret"].items} if "secret" in entries else set())
            pattern = self.parts.pattern(match, names, hidden)
            if pattern is None:
                continue
            fields = self.parts.captured(pattern, given=repeat == "one", secrets=hidden)
            self._known_fields(entries.get("secret"), fields)
            keep = None
            if "keep" in entries:
                if repeat != "many":
                    self.problems.add(item.key("keep"), "keep is for lines with repeat: many")
                inner = names.copy()
                words = entries["map"].entries if "map" in entries else {}
                inner.known.update(
                    {name: replace(var, type="any" if name in words else var.type) for name, var in fields.items()}
                )
                keep = self.parts.condition(entries["keep"], inner)
            sets = self.parts.constants(entries.get("sets"))
            rule = m.LineRule(
                pattern=pattern,
                repeat=repeat,
                maps=self.parts.read_maps(entries.get("map"), fields),
                keep=keep,
                sets=sets,
                data=pattern.payload.name if pattern.payload is not None else None,
            )
            mapped = {name for name, _ in rule.maps}
            for name, var in fields.items():
                captured[name] = replace(var, type="any" if name in mapped else var.type)
            for name, value in sets.items():
                captured.setdefault(name, Var(constant_type(value), given=repeat == "one", origin="set"))
            out.append(rule)
            places.append((match, pattern, repeat == "many"))
        self._shadows(places)
        return tuple(out), captured

    def _known_fields(self, node: Node | None, fields: Mapping[str, Var]) -> None:
        for one in node.items if node is not None else ():
            if str(one.scalar) not in fields:
                self.problems.add(one, f"the pattern captures no {one.scalar}", did_you_mean(str(one.scalar), fields))

    def _shadows(self, places: list[tuple[Node, LinePattern, bool]]) -> None:
        for index, (node, pattern, _) in enumerate(places):
            for earlier, other, many in places[:index]:
                same = other.source == pattern.source
                if same or (many and len(other.prefix) >= len(pattern.prefix) and shadowed(other, pattern)):
                    self.problems.add(node, f"never matches: line {earlier.line} matches everything that it matches")
                    break

    def _finals(self, node: Node | None, names: Names) -> tuple[FinalRule, ...]:
        if node is None:
            return STANDARD_FINALS
        own = []
        for source, outcome in node.entries.items():
            pattern = self.parts.pattern(node.key(source), names, bound=False)
            if pattern is None or pattern.bound:
                continue
            if pattern.payload is not None:
                self.problems.add(node.key(source), "a final result carries no payload")
                continue
            numbers = [one.name for one in pattern.fields if one.type in {"int", "hexint"}]
            texts = [one.name for one in pattern.fields if one.type in {"text", "quoted", "any", "word"}]
            own.append(
                FinalRule(
                    pattern,
                    Outcome(str(outcome.scalar)),
                    numbers[0] if numbers else None,
                    texts[0] if texts else None,
                )
            )
        return (*own, *STANDARD_FINALS)

    def _prompt(self, node: Node | None) -> PromptRule | None:
        if node is None:
            return None
        try:
            if node.kind == "text":
                return PromptRule(_mark(str(node.scalar)))
            entries = node.entries
            settle = seconds(entries["settle"]) if "settle" in entries else 0.0
            if ("text" in entries) == ("line" in entries):
                self.problems.add(node, "prompt has either `text` or `line`")
                return None
            if "line" in entries:
                return PromptRule(b"", compile_pattern(str(entries["line"].scalar)), settle=settle)
            swallow = _mark(str(entries["swallow"].scalar)) if "swallow" in entries else b" "
            return PromptRule(_mark(str(entries["text"].scalar)), swallow=swallow, settle=settle)
        except (TemplateError, PatternError) as error:
            self.problems.add(node, error.message)
        return None

    def _payload(self, node: Node | None, names: Names) -> m.Payload | None:
        if node is None:
            return None
        entries = node.entries
        data = node if node.kind == "text" else entries["data"]
        source = str(data.scalar)
        name: str | None = None
        template = None
        secret = False
        if "{" in source:
            template = self.parts.template(data, names, payload=True)
            secret = any(one.secret for one in template.placeholders())
        else:
            name = source
            var = names.get(name)
            if var is None:
                self.parts.unknown(data, name, names)
            else:
                secret = var.secret
                if var.type not in {"bytes", "any"}:
                    self.problems.add(data, f"{name} is {var.type}, not bytes", f"a template: '{{{name}:line}}'")
        marks = {}
        for key in ("end", "forbid"):
            try:
                marks[key] = _mark(str(entries[key].scalar)) if key in entries else b""
            except TemplateError as error:
                self.problems.add(entries[key], error.message)
                marks[key] = b""
        if "pause" in entries:
            if "chunk" not in entries:
                self.problems.add(node.key("pause"), "a pause between chunks needs `chunk`")
            if "see" not in entries:
                self.problems.add(node.key("pause"), "a pause needs its source", "add see: {manual: …}")
        quiet = 0.0
        end = marks["end"]
        if "escape" in entries:
            escape = entries["escape"].entries
            if end:
                self.problems.add(node.key("escape"), "a payload has either `end` or `escape`")
            try:
                end = _mark(str(escape["text"].scalar))
            except TemplateError as error:
                self.problems.add(escape["text"], error.message)
            quiet = seconds(escape["quiet"]) if "quiet" in escape else 0.0
        codec = CODECS[str(entries["codec"].scalar)] if "codec" in entries else None
        payload = m.Payload(
            name=name,
            template=template,
            codec=codec,
            hexadecimal="as" in entries and entries["as"].scalar == "hex",
            end=end,
            forbid=marks["forbid"],
            chunk=int(str(entries["chunk"].scalar)) if "chunk" in entries else 0,
            pause=seconds(entries["pause"]) if "pause" in entries else 0.0,
            quiet=quiet,
            secret=secret,
        )
        self._payloads.append(payload)
        return payload

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
            if limit not in self.limits and not self.parts.lenient:
                self.problems.add(source, f"limits has no {limit}")
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
        steps = self.steps(entries["do"], inner)
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
    return step.tolerate is True or isinstance(step, (m.SetStep, m.ReturnStep, m.PauseStep))


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


def _single(body: m.UseStep) -> m.SendStep | None:
    if len(body.steps) != 1 or body.lock or body.on_fail or body.finally_:
        return None
    step = body.steps[0]
    plain = isinstance(step, m.SendStep) and step.when is None and step.retry is None
    return step if plain and isinstance(step, m.SendStep) else None
