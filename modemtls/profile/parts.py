"""Compiles the parts that steps are made of: templates, patterns, conditions, values, rules."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from modemtls.at.pattern import LinePattern, PatternError, compile_pattern
from modemtls.profile import model as m
from modemtls.profile.names import CAPTURE_TYPES, FAILURE_NAMES, MODEM_NAMES, Names, Var, constant_type
from modemtls.profile.problems import did_you_mean, nearest
from modemtls.profile.quoting import DEFAULT_KIND, KINDS, TABLE_KINDS
from modemtls.profile.shapes import seconds
from modemtls.profile.template import (
    Placeholder,
    Template,
    TemplateError,
    parse_placeholder,
    parse_template,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from modemtls.profile.problems import Problems
    from modemtls.profile.source import Node

__all__ = ["Parts", "evidence"]


def evidence(node: Node | None) -> tuple[m.Evidence, ...]:
    """Return the sources that a ``see`` names."""
    if node is None:
        return ()
    maps = node.items if node.kind == "list" else [node]
    return tuple(m.Evidence(kind, str(one.scalar)) for item in maps for kind, one in item.entries.items())


class Parts:
    """Tables, error namespaces and the place for mistakes; ``lenient`` for abstract profiles."""

    def __init__(
        self,
        problems: Problems,
        tables: Mapping[str, Mapping[str, int | str]],
        read_tables: Mapping[str, Mapping[str, str | bool]],
        namespaces: Collection[str],
        *,
        one_way: Mapping[str, str],
        lenient: bool,
        unknown_sections: Collection[str] = (),
        removed: Callable[[str, str], Node | None] = lambda section, name: None,  # noqa: ARG005
    ) -> None:
        self.removed = removed
        self.unknown_sections = unknown_sections  # with so much wrong that nobody knows what they have
        self.problems = problems
        self.tables = tables
        self.read_tables = read_tables
        self.namespaces = namespaces
        self.one_way = one_way
        self.lenient = lenient

    # -- names ------------------------------------------------------------------------------------------------

    def unknown(self, node: Node, name: str, names: Names, extra: Iterable[str] = ()) -> None:
        """Complain about a name that nothing gives a value."""
        known = [*names.known, *extra]
        if "programs" in self.unknown_sections:
            return
        if not self.problems.excused(name):
            self.problems.add(node, f"unknown name {name}", did_you_mean(name, known))
        self.mean(name, known)

    def mean(self, name: str, known: Iterable[str]) -> None:
        """Note which name was probably meant."""
        meant = nearest(name, known)
        if meant is not None:
            self.problems.meant.add(meant)

    def absent(self, section: str, node: Node, name: str, message: str, known: Iterable[str]) -> None:
        """Complain that a section lacks a name: where it was removed, if it was."""
        place = self.removed(section, name)
        if place is None:
            self.problems.add(node, message, did_you_mean(name, known))
        else:
            self.problems.add(place, f"{name} is removed here, and line {node.line} of {node.file} uses it")

    def lacks(self, section: str, name: str) -> bool:
        """Tell whether a section lacks a name, and that does not follow from another mistake."""
        return not self.lenient and section not in self.unknown_sections and name not in self.problems.lost

    def namespace(self, node: Node) -> str:
        """Return a known error namespace."""
        name = str(node.scalar)
        if name not in self.namespaces and self.lacks("errors", name):
            self.absent("errors", node, name, f"no error namespace {name}", self.namespaces)
        return name

    # -- templates --------------------------------------------------------------------------------------------

    def _placeholder(self, node: Node, one: Placeholder, names: Names, *, payload: bool, value: bool) -> Placeholder:
        var = names.get(one.name)
        if var is None:
            self.unknown(node, one.name, names)
            return one
        kind = var.type
        for codec in one.codecs:
            if kind not in codec.takes and kind != "any":
                self.problems.add(node, f"{one.name}: codec {codec.name} does not take {kind}")
            kind = codec.gives
        table: Mapping[str, int | str] | None = None
        if one.table_name is not None:
            table = self.table(node, one.table_name)
            kind = "table"
        if value:
            if one.kind is not None or one.optional:
                self.problems.add(node, f"{one.name}: a value has no quoting kind", "kinds belong to templates")
            return replace(one, table=table, secret=var.secret)
        written = one.kind
        if written is None:
            default = "token" if kind == "table" else DEFAULT_KIND.get(kind)
            if default is not None:
                written = KINDS[default]
            elif kind in {"bool", "word"}:
                self.problems.add(node, f"{one.name} needs a table: {{{one.name}@TABLE}}")
            else:
                fitting = self._fitting(kind, payload=payload)
                self.problems.add(
                    node, f"{one.name} needs a quoting kind", f"for {kind}: {', '.join(fitting) or 'join(;)'}"
                )
        elif kind == "table":
            if written.name not in TABLE_KINDS:
                self.problems.add(node, f"kind {written.name} does not fit a word of a table")
        elif one.separator is not None:
            if kind not in {"tokens", "any"}:
                self.problems.add(node, f"{one.name} is {kind}: join is for lists")
        elif kind not in written.takes and (kind != "any" or written.name == "token"):
            fitting = self._fitting(kind, payload=payload)
            hint = f"kinds for {kind}: {', '.join(fitting)}" if fitting else f"{kind} goes through a table"
            self.problems.add(node, f"kind {written.name} does not fit {one.name}, which is {kind}", hint)
        if written is not None and written.name == "line" and not payload:
            self.problems.add(node, "kind line is for payloads only")
        if not var.given and not one.optional:
            self.problems.add(
                node,
                f"{one.name} may be missing here",
                f"write ? behind its kind, or when: {{{one.name}: {{given: true}}}}",
            )
        return replace(one, table=table, kind=written or KINDS["token"], secret=var.secret)

    @staticmethod
    def _fitting(kind: str, *, payload: bool) -> list[str]:
        return [
            name
            for name, each in KINDS.items()
            if (kind in each.takes or kind == "any") and (payload or name != "line")
        ]

    def table(self, node: Node, name: str) -> Mapping[str, int | str] | None:
        """Return a table by name."""
        table = self.tables.get(name)
        if table is None and self.lacks("tables", name):
            self.absent("tables", node, name, f"no table {name}", self.tables)
        return table if table is not None else MappingProxyType({})

    def template(self, node: Node, names: Names, *, payload: bool = False) -> Template:
        """Compile a template."""
        source = str(node.scalar)
        try:
            parsed = parse_template(source)
        except TemplateError as error:
            self.problems.add(node, error.message)
            self.problems.lose(node)
            return Template(source, ())
        parts: list[str | Placeholder] = []
        quotes = 0
        for part in parsed.parts:
            if isinstance(part, Placeholder):
                parts.append(self._placeholder(node, part, names, payload=payload, value=False))
                if part.kind is not None and part.kind.empty and quotes % 2 and not payload:
                    what = f"kind {part.kind.name} writes quotes, and {part.name} stands in quotes already"
                    self.problems.add(node, what, f"{{{part.name}:{part.kind.name}}} without quotes around it")
                continue
            quotes += part.count('"')
            bad = next((char for char in part if not " " <= char <= "~"), None)
            if bad is not None and not (payload and bad in "\r\n\t"):
                self.problems.add(node, f"{bad!r} cannot stand in a command line")
            parts.append(part)
        return Template(source, tuple(parts))

    def value(self, node: Node, names: Names) -> tuple[m.ValueSpec, Var]:
        """Compile a value: a constant, one placeholder, or the least of some."""
        if node.kind == "map" and "least" not in node.entries:
            return self._items(node, names), Var("any", origin="set")
        if node.kind == "map":
            of: list[str | int] = []
            for item in node.entries["least"].items if "least" in node.entries else ():
                if item.kind == "text":
                    var = names.get(str(item.scalar))
                    if var is None:
                        self.unknown(item, str(item.scalar), names)
                    elif var.type not in {"int", "any"}:
                        self.problems.add(item, f"{item.scalar} is {var.type}, not a number")
                of.append(item.scalar if isinstance(item.scalar, int) else str(item.scalar))
            return m.Least(tuple(of)), Var("int", origin="set")
        scalar = node.scalar
        assert scalar is not None
        if isinstance(scalar, str) and "{" in scalar:
            try:
                found = parse_placeholder(scalar)
            except TemplateError as error:
                self.problems.add(node, error.message)
                self.problems.lose(node)
                return scalar, Var("any", origin="set")
            if found is None:
                self.problems.add(node, "a value is a constant or exactly one placeholder")
                return scalar, Var("any", origin="set")
            var = names.known.get(found.name, Var("any"))
            compiled = self._placeholder(node, found, names, payload=False, value=True)
            kind = found.codecs[-1].gives if found.codecs else var.type
            kind = "token" if found.table_name is not None else kind
            return compiled, Var(kind, given=var.given, secret=var.secret, origin="set")
        return scalar, Var(constant_type(scalar), origin="set")

    def _items(self, node: Node, names: Names) -> m.Items:
        """Compile what a field must list."""
        entries = node.entries
        if not {"list", "between"} <= entries.keys() or "least" in entries:
            self.problems.add(node, "what a field must list is {list: NAME, between: MARK}, and {table: TABLE} with it")
            return m.Items("", "")
        listed, mark = str(entries["list"].scalar), str(entries["between"].scalar)
        var = names.get(listed)
        if var is None:
            self.unknown(entries["list"], listed, names)
        elif var.type not in {"tokens", "any"}:
            self.problems.add(entries["list"], f"{listed} is {var.type}, not a list")
        table = entries.get("table")
        return m.Items(listed, mark, None if table is None else self.table(table, str(table.scalar)))

    def values(self, node: Node | None, names: Names) -> tuple[tuple[str, m.ValueSpec], ...]:
        """Compile ``{NAME: VALUE}`` without giving the names their values."""
        if node is None:
            return ()
        return tuple((name, self.value(one, names)[0]) for name, one in node.entries.items())

    # -- patterns ---------------------------------------------------------------------------------------------

    def pattern(
        self, node: Node, names: Names, secrets: Collection[str] = (), *, bound: bool = True
    ) -> LinePattern | None:
        """Compile a pattern; its bound names must be known (and allowed)."""
        try:
            found = compile_pattern(str(node.scalar), secrets=secrets)
        except PatternError as error:
            self.problems.add(node, f"{error.message} (at character {error.offset + 1})")
            self.problems.lose(node)
            return None
        for name in found.bound:
            if not bound:
                self.problems.add(node, f"{{{name}}} has no type", f"write {{{name}:int}} or another type")
                continue
            var = names.get(name)
            if var is None:
                if not self.problems.excused(name):
                    hint = f"to capture it write {{{name}:int}} or another type"
                    self.problems.add(node, f"unknown name {name}", hint)
                self.mean(name, names.known)
                self.problems.lose(node)
            elif var.type in {"bytes", "bool", "tokens"}:
                self.problems.add(node, f"{name} is {var.type} and cannot be compared with text")
            elif not var.given:
                self.problems.add(node, f"{name} may be missing here", f"when: {{{name}: {{given: true}}}}")
        return found

    @staticmethod
    def captured(pattern: LinePattern, *, given: bool, secrets: Collection[str] = ()) -> dict[str, Var]:
        """Return the names that a pattern captures."""
        return {
            one.name: Var(CAPTURE_TYPES[one.type], given, one.secret or one.name in secrets)
            for one in pattern.fields
            if one.type in CAPTURE_TYPES and one.name != "_"
        }

    def read_maps(self, node: Node | None, fields: Collection[str]) -> tuple[tuple[str, m.ReadMap], ...]:
        """Compile ``map``."""
        if node is None:
            return ()
        out = []
        for name, one in node.entries.items():
            if name not in fields:
                self.problems.add(node.key(name), f"the pattern captures no {name}", did_you_mean(name, fields))
                self.mean(name, fields)
            table = one.entries["table"] if one.kind == "map" else one
            otherwise = one.entries.get("otherwise") if one.kind == "map" else None
            known = self.read_tables.get(str(table.scalar))
            if known is None and self.lacks("tables", str(table.scalar)):
                self.absent("tables", table, str(table.scalar), f"no table {table.scalar}", self.read_tables)
            if str(table.scalar) in self.one_way:
                word = self.one_way[str(table.scalar)]
                self.problems.add(table, f"table {table.scalar} cannot be read: {word} stands for several words")
            out.append((name, m.ReadMap(known or {}, otherwise.scalar if otherwise is not None else None)))
        return tuple(out)

    @staticmethod
    def constants(node: Node | None) -> Mapping[str, Any]:
        """Return ``{NAME: constant}``."""
        if node is None:
            return MappingProxyType({})
        return MappingProxyType({name: one.scalar for name, one in node.entries.items()})

    # -- conditions -------------------------------------------------------------------------------------------

    def condition(self, node: Node, names: Names, extra: Collection[str] = ()) -> m.Condition:
        """Compile a condition; ``extra`` are names that are known here besides ``names``."""
        tests: list[m.Test] = []
        for name, one in node.entries.items():
            var = names.get(name)
            if var is None and name not in MODEM_NAMES and name not in extra:
                self.unknown(node.key(name), name, names, extra)
            tests.extend(self._tests(name, one, var, names))
        return m.Condition(tuple(tests))

    def _tests(self, name: str, one: Node, var: Var | None, names: Names) -> Iterable[m.Test]:
        if one.kind != "map":
            values = tuple(item.scalar for item in one.items) if one.kind == "list" else (one.scalar,)
            if name in MODEM_NAMES:
                yield m.Test(name, "glob", values)
                return
            self._comparable(name, one, var, values)
            yield m.Test(name, "is", values)
            return
        entries = one.entries
        if name == "firmware":
            bounds = [entries[key].scalar if key in entries else None for key in ("from", "below")]
            yield m.Test(name, "firmware", tuple(bounds))
            return
        if "from" in entries:
            self.problems.add(one.key("from"), "from is for firmware", "numbers: {min: 1, max: 10}")
        if "not" in entries:
            excluded = entries["not"]
            values = tuple(i.scalar for i in excluded.items) if excluded.kind == "list" else (excluded.scalar,)
            self._comparable(name, excluded, var, values)
            yield m.Test(name, "not", values)
        if "given" in entries:
            yield m.Test(name, "given", (entries["given"].scalar,))
        if "min" in entries or "max" in entries:
            low = entries["min"].scalar if "min" in entries else None
            high = entries["max"].scalar if "max" in entries else None
            if var is not None and var.type not in {"int", "any"}:
                self.problems.add(one, f"{name} is {var.type}, not a number")
            yield m.Test(name, "range", low=low, high=high)  # type: ignore[arg-type]
        for how in ("below", "same"):
            if how in entries:
                other = entries[how]
                if other.kind == "text" and names.get(str(other.scalar)) is None:
                    self.unknown(other, str(other.scalar), names)
                yield m.Test(name, how, (other.scalar,))

    def _comparable(self, name: str, node: Node, var: Var | None, values: tuple[object, ...]) -> None:
        if var is None:
            return
        for value in values:
            kind = constant_type(value)
            if (kind == "bool") != (var.type == "bool") and var.type not in {"any"} and var.origin != "saved":
                self.problems.add(node, f"{name} is {var.type} and never {str(value).lower()}")
            elif kind == "text" and var.type == "int" and var.origin == "captured":
                self.problems.add(node, f"{name} is a number and never {value!r}")

    @staticmethod
    def refine(condition: m.Condition, names: Names) -> None:
        """Take from a condition that holds which names certainly have a value."""
        for test in condition.tests:
            if test.how in {"is", "range", "below", "same", "glob"} or (test.how == "given" and test.values[0] is True):
                names.given(test.name)

    # -- rules about answers ----------------------------------------------------------------------------------

    def outcomes(self, node: Node | None, names: Names) -> tuple[m.OutcomeRule, ...]:
        """Compile outcome rules and add the names that they set."""
        out = []
        for one in node.items if node is not None else ():
            condition = self.condition(one.entries["if"], names, FAILURE_NAMES)
            sets = self.constants(one.entries.get("set"))
            out.append(m.OutcomeRule(condition, str(one.entries["is"].scalar), sets))
            for name, value in sets.items():
                if name not in names.known:
                    names.add(name, Var(constant_type(value), given=False, origin="set"))
        return tuple(out)

    def fail_rule(self, node: Node | None, names: Names) -> m.FailRule | None:
        """Compile ``fail`` of an exchange or an await."""
        if node is None:
            return None
        entries = node.entries
        if ("if" in entries) == ("unless" in entries):
            self.problems.add(node, "fail has either `if` or `unless`")
            return None
        unless = "unless" in entries
        key = "unless" if unless else "if"
        condition = self.condition(entries[key], names, FAILURE_NAMES)
        if not unless:
            self._all_failures(entries[key], condition, names)
        source = ""
        namespace = self.namespace(entries["code"]) if "code" in entries else ""
        if "from" in entries:
            source = str(entries["from"].scalar)
            if names.get(source) is None:
                self.unknown(entries["from"], source, names)
        elif namespace:
            fields = [name for name in entries[key].entries if name not in FAILURE_NAMES]
            if len(fields) == 1:
                source = fields[0]
            else:
                self.problems.add(node, "fail needs `from`: which field has the code")
        if not namespace and "kind" not in entries:
            self.problems.add(node, "fail needs `code` (the namespace of the number) or `kind`")
        kind = str(entries["kind"].scalar) if "kind" in entries else "unknown"
        text = str(entries["text"].scalar) if "text" in entries else ""
        return m.FailRule(condition, unless, namespace, source, kind, text)

    def _all_failures(self, node: Node, condition: m.Condition, names: Names) -> None:
        """Complain where `if` names the codes of failures by their least: numbers below it would pass as success."""
        for test in condition.tests:
            var = names.get(test.name)
            if test.how == "range" and test.low is not None and var is not None and var.origin == "captured":
                what = f"numbers below {test.low}, negative ones too, would pass as success"
                self.problems.add(node.entries[test.name], what, f"unless: with what success is, as {{{test.name}: 0}}")

    def timeout(self, node: Node | None, default: float, names: Names) -> m.Timeout:
        """Compile a time-out."""
        if node is None:
            return m.Timeout(default)
        if node.kind != "map":
            return m.Timeout(seconds(node))
        other = node.entries.get("otherwise")
        plus = str(node.entries["plus"].scalar)
        var = names.get(plus)
        if var is None:
            self.unknown(node.entries["plus"], plus, names)
        elif var.type not in {"int", "any"}:
            self.problems.add(node.entries["plus"], f"{plus} is {var.type}, not a number")
        return m.Timeout(seconds(node.entries["base"]), plus, seconds(other) if other else 0.0)

    @staticmethod
    def saves(node: Node | None) -> list[tuple[str, Node]]:
        """Return (scope, name node) of a ``save``."""
        if node is None:
            return []
        return [(scope, item) for scope, listed in node.entries.items() for item in listed.items]
