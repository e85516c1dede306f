"""Checks that a program can give what its operation promises: the operation table is the contract for results too."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from modemtls.at.grammar import Outcome
from modemtls.profile import model as m
from modemtls.profile.names import CAPTURE_TYPES, constant_type
from modemtls.profile.operations import OPENING, OPERATIONS, Operation, Output
from modemtls.profile.problems import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from modemtls.at.pattern import LinePattern
    from modemtls.profile.problems import Problems
    from modemtls.profile.source import Node

__all__ = ["check_results", "gives", "promised"]


def promised(program: m.Program, *, modem_ids: bool) -> Operation:
    """Return a program's operation with what depends on the profile: numbers that the modem chooses, partial sends."""
    operation = OPERATIONS[program.name]
    must: list[Output] = []
    if program.name in OPENING and modem_ids:
        must.append(Output("socket", "int"))
    if "sent" in operation.values and not operation.values["sent"].given and _partial(program):
        must.append(Output("sent", "int", always=False))
    return replace(operation, values={**operation.values, **{one.name: one for one in must}}) if must else operation


def _partial(program: m.Program) -> bool:
    for step in m.walk([program.body], failing=False):
        if isinstance(step, m.ReturnStep) and step.outcome == "partial":
            return True
        if isinstance(step, m.SendStep) and any(one.outcome is Outcome.PARTIAL for one in step.finals):
            return True
        rules = step.outcome if isinstance(step, m.SendStep) else ()
        if isinstance(step, m.AwaitStep):
            rules = tuple(rule for each in step.rules for rule in each.outcome)
        if any(rule.outcome == "partial" for rule in rules):
            return True
    return False


@dataclass(slots=True)
class _Fields:
    """What one line (or a step) gives: each name's type, ``word`` with the words that it can become."""

    pattern: LinePattern | None = None
    types: dict[str, str] = field(default_factory=dict)
    words: dict[str, set[object]] = field(default_factory=dict)

    def captured(self, pattern: LinePattern, maps: Iterable[tuple[str, m.ReadMap]]) -> _Fields:
        self.pattern = pattern
        for one in pattern.fields:
            if one.type in CAPTURE_TYPES and one.name != "_":
                self.types[one.name] = CAPTURE_TYPES[one.type]
        for name, read in maps:
            if name in self.types:
                self.types[name] = "word"
                self.words[name] = {*read.table.values(), *([] if read.otherwise is None else [read.otherwise])}
        return self

    def constant(self, values: Mapping[str, object]) -> _Fields:
        for name, value in values.items():
            kind = constant_type(value)
            self.types[name] = "word" if kind == "text" else kind
            if kind == "text":
                self.words[name] = {value}
        return self


@dataclass(slots=True)
class _Given:
    """Everything that a program gives."""

    values: list[_Fields] = field(default_factory=list)
    rows: list[_Fields] = field(default_factory=list)
    payload: bool = False

    def line(self, pattern: LinePattern | None) -> None:
        if pattern is not None and (
            pattern.payload is not None or any(one.name == "data" and one.type == "hex" for one in pattern.fields)
        ):
            self.payload = True

    def take(self, step: m.Step) -> None:
        """Add what one step gives."""
        if isinstance(step, m.SendStep):
            for line in step.lines:
                self.line(line.pattern)
                one = _Fields().captured(line.pattern, line.maps).constant(line.sets)
                (self.rows if line.repeat == "many" else self.values).append(one)
            self.values.extend(_Fields().constant(one.sets) for one in step.outcome)
        elif isinstance(step, m.AwaitStep):
            for rule in step.rules:
                self.line(rule.pattern)
                self.values.append(_Fields().captured(rule.pattern, rule.maps).constant(rule.sets))
                self.values.extend(_Fields().constant(one.sets) for one in rule.outcome)
            if step.collect is not None:
                self.line(step.collect)
                self.values.append(_Fields().captured(step.collect, ()))
        elif isinstance(step, m.SetStep):
            plain = {name: value for name, value in step.values if isinstance(value, (str, int))}
            computed = {name: "any" for name, value in step.values if not isinstance(value, (str, int))}
            one = _Fields().constant(plain)
            one.types.update(computed)
            self.values.append(one)
        elif isinstance(step, m.EachStep):
            self.values.append(_Fields(types={step.name: "any", **({step.index: "int"} if step.index else {})}))


class _Places:
    """Finds where in the file a pattern stands."""

    def __init__(self, name: str, programs: Node, used: Collection[str]) -> None:
        self.key = programs.key(name)
        self._nodes = [programs.entries[one] for one in (name, *used) if one in programs.entries]

    def of(self, pattern: LinePattern | None) -> Node:
        if pattern is None:
            return self.key
        found = (one for root in self._nodes for one in root.walk() if one.scalar == pattern.source)
        return next(found, self.key)


def gives(program: m.Program) -> frozenset[str]:
    """Return the names of everything that a program's result can have, in values or rows."""
    found = _all_given(program)
    return frozenset(name for fields in (*found.values, *found.rows) for name in fields.types)


def _all_given(program: m.Program) -> _Given:
    given = _Given()
    for step in m.walk([program.body], failing=False):
        given.take(step)
    return given


def check_results(program: m.Program, programs: Node, problems: Problems, *, modem_ids: bool) -> None:
    """Complain about what a program's operation promises and no path of the program can give.

    ``programs`` is the section. What parts that are wrong already may have given is not missed.
    """
    operation = promised(program, modem_ids=modem_ids)
    given = _all_given(program)
    used = [step.program for step in m.walk([program.body], failing=False) if isinstance(step, m.UseStep)]
    places = _Places(program.name, programs, used)
    for one in operation.values.values():
        if not problems.excused(one.name):
            _value(program.name, one, given, places, problems)
    if operation.rows and not given.rows and not any(map(problems.excused, operation.rows)):
        first = next(iter(operation.rows))
        single = any(first in fields.types for fields in given.values)
        problems.add(
            places.key, f"{program.name} gives no {first}: its result is rows",
            "repeat: many at the line" if single else "a line with repeat: many",
        )  # fmt: skip
    for fields in given.rows:
        for one in operation.rows.values():
            if problems.excused(one.name):
                continue
            if one.name in fields.types:
                _fits(program.name, one, fields, places, problems)
            elif one.given:
                hint = did_you_mean(one.name, fields.types)
                problems.add(places.of(fields.pattern), f"{program.name} gives no {one.name}", hint)
    if operation.payload and not given.payload and not problems.excused("data"):
        problems.add(places.key, f"{program.name} gives no data", "a line with {data:raw(length)} or {data:hex}")


def _value(op: str, one: Output, given: _Given, places: _Places, problems: Problems) -> None:
    giving = [fields for fields in given.values if one.name in fields.types]
    for fields in giving:
        _fits(op, one, fields, places, problems)
    if giving or not one.given:
        return
    if any(one.name in fields.types for fields in given.rows):
        row = next(fields for fields in given.rows if one.name in fields.types)
        problems.add(places.of(row.pattern), f"{op} gives no {one.name}", "it is a value: no repeat: many")
        return
    names = {name for fields in given.values for name in fields.types}
    hint = did_you_mean(one.name, names)
    near = hint.removeprefix("did you mean ").rstrip("?") if hint.startswith("did") else ""
    found = next((fields.pattern for fields in given.values if near in fields.types), None)
    problems.add(places.of(found), f"{op} gives no {one.name}", hint)


def _fits(op: str, one: Output, fields: _Fields, places: _Places, problems: Problems) -> None:
    """Complain about a value of the wrong type, or a word that is none of the operation's."""
    kind = fields.types[one.name]
    where = places.of(fields.pattern)
    if one.type == "int" and kind not in {"int", "any"}:
        problems.add(where, f"{op}: {one.name} is {kind}, not a number", f"capture it with {{{one.name}:int}}")
    if one.type == "bool" and (kind not in {"bool", "word"} or fields.words.get(one.name, set()) - {True, False}):
        table = f"map: {{{one.name}: TABLE}} to true and false"
        problems.add(where, f"{op}: {one.name} is not true or false", table)
    if one.type != "word":
        return
    known = ", ".join(one.words)
    if kind not in {"word", "any"}:
        table = f"map: {{{one.name}: TABLE}} to {known}"
        problems.add(where, f"{op}: {one.name} is the modem's own word", table)
        return
    for word in sorted(map(str, fields.words.get(one.name, ()))):
        if word not in one.words:
            problems.add(where, f"{op}: {one.name} may become {word}", did_you_mean(word, one.words))
