"""Shapes: what a value in a profile may look like. They check nodes and describe themselves as JSON Schema."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from modemtls.profile.problems import did_you_mean, nearest
from modemtls.profile.source import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modemtls.profile.problems import Problems

__all__ = [
    "BOOL",
    "CONSTANT",
    "DURATION",
    "INT",
    "NAME",
    "TEXT",
    "Choice",
    "Either",
    "Int",
    "Later",
    "ListOf",
    "MapOf",
    "OneOf",
    "Range",
    "Rec",
    "Shape",
    "Text",
    "seconds",
]

_KINDS: Final = {
    "text": "text",
    "int": "a number",
    "bool": "true or false",
    "null": "null",
    "list": "a list",
    "map": "a map",
}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(ms|s)\Z")


def seconds(node: Node) -> float:
    """Return a duration's seconds. The node must have passed DURATION."""
    if isinstance(node.scalar, int):
        return float(node.scalar)
    found = _DURATION.match(str(node.scalar))
    assert found is not None
    return float(found[1]) * (0.001 if found[2] == "ms" else 1.0)


def _wrong(node: Node, problems: Problems, wanted: str) -> None:
    if node.kind == "null":
        problems.add(node, f"{wanted} expected, not null", "null only removes what is inherited")
    elif wanted == "text" and node.kind in {"int", "bool"}:
        problems.add(node, f"text expected, not {_KINDS[node.kind]}", f"quote it: '{str(node.scalar).lower()}'")
    else:
        problems.add(node, f"{wanted} expected, not {_KINDS[node.kind]}")


class Shape(ABC):
    """What a value may look like."""

    __slots__ = ()

    @abstractmethod
    def take(self, node: Node, problems: Problems) -> Node | None:
        """Return the node without its wrong parts, or None if nothing is left; mistakes go to ``problems``."""

    @abstractmethod
    def json(self, *, child: bool = False) -> dict[str, Any]:
        """Return the shape as JSON Schema (draft 2020-12).

        ``child``: for what is laid over an inherited value. There maps may lack what they inherit, and ``null``
        removes it.
        """


@dataclass(frozen=True, slots=True)
class Text(Shape):
    """Text, optionally of a pattern (with what it should be, for people)."""

    pattern: str = ""
    wanted: str = ""

    def take(self, node: Node, problems: Problems) -> Node | None:  # noqa: D102 - the base class says it
        if node.kind != "text":
            _wrong(node, problems, "text")
            return None
        if self.pattern and not re.fullmatch(self.pattern, str(node.scalar)):
            problems.add(node, f"{node.scalar!r} is not {self.wanted}")
            return None
        return node

    def json(self, *, child: bool = False) -> dict[str, Any]:  # noqa: ARG002, D102 - the base class says it
        return {"type": "string", **({"pattern": f"^(?:{self.pattern})$"} if self.pattern else {})}


@dataclass(frozen=True, slots=True)
class Int(Shape):
    """A decimal integer within bounds."""

    low: int | None = None
    high: int | None = None

    def take(self, node: Node, problems: Problems) -> Node | None:  # noqa: D102 - the base class says it
        if node.kind != "int":
            _wrong(node, problems, "a number")
            return None
        value = node.scalar
        assert isinstance(value, int)
        if (self.low is not None and value < self.low) or (self.high is not None and value > self.high):
            low = "" if self.low is None else f" from {self.low}"
            high = "" if self.high is None else f" to {self.high}"
            problems.add(node, f"{value} is out of range: a number{low}{high} is expected")
            return None
        return node

    def json(self, *, child: bool = False) -> dict[str, Any]:  # noqa: ARG002, D102 - the base class says it
        out: dict[str, Any] = {"type": "integer"}
        if self.low is not None:
            out["minimum"] = self.low
        if self.high is not None:
            out["maximum"] = self.high
        return out


@dataclass(frozen=True, slots=True)
class _Scalar(Shape):
    kinds: tuple[str, ...]
    wanted: str

    def take(self, node: Node, problems: Problems) -> Node | None:
        if node.kind in self.kinds:
            return node
        _wrong(node, problems, self.wanted)
        return None

    def json(self, *, child: bool = False) -> dict[str, Any]:  # noqa: ARG002
        names = {"bool": "boolean", "int": "integer", "text": "string"}
        types = [names[kind] for kind in self.kinds]
        return {"type": types[0] if len(types) == 1 else types}


class _Duration(Shape):
    __slots__ = ()

    def take(self, node: Node, problems: Problems) -> Node | None:
        if node.kind == "int" and isinstance(node.scalar, int) and node.scalar >= 0:
            return node
        if node.kind == "text" and _DURATION.match(str(node.scalar)):
            return node
        problems.add(node, "a duration expected: seconds, or text like 300ms or 1.5s")
        return None

    def json(self, *, child: bool = False) -> dict[str, Any]:  # noqa: ARG002
        pattern = "^[0-9]+(\\.[0-9]+)? ?(ms|s)$"
        return {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": pattern}]}


TEXT: Final = Text()
NAME: Final = Text("[A-Za-z_][A-Za-z0-9_]*", "a name (letters, digits, _)")
INT: Final = Int()
BOOL: Final = _Scalar(("bool",), "true or false")
CONSTANT: Final = _Scalar(("text", "int", "bool"), "text, a number, true or false")
DURATION: Final = _Duration()


@dataclass(frozen=True, slots=True)
class Choice(Shape):
    """One of some words or numbers."""

    words: tuple[str | int, ...]

    def take(self, node: Node, problems: Problems) -> Node | None:  # noqa: D102 - the base class says it
        if node.kind in {"text", "int"} and node.scalar in self.words:
            return node
        if node.kind not in {"text", "int"}:
            _wrong(node, problems, "one of " + ", ".join(map(str, self.words)))
            return None
        known = [str(word) for word in self.words]
        problems.add(node, f"unknown word {node.scalar}", did_you_mean(str(node.scalar), known))
        return None

    def json(self, *, child: bool = False) -> dict[str, Any]:  # noqa: ARG002, D102 - the base class says it
        return {"enum": list(self.words)}


@dataclass(frozen=True, slots=True)
class ListOf(Shape):
    """A list of one shape."""

    item: Shape
    least: int = 0
    what: str = "entries"

    def take(self, node: Node, problems: Problems) -> Node | None:  # noqa: D102 - the base class says it
        if node.kind != "list":
            _wrong(node, problems, "a list")
            return None
        if len(node.items) < self.least:
            problems.add(node, f"{self.what}: at least {self.least} expected", final=True)
        out = Node("list", node.file, node.line, node.column)
        for item in node.items:
            taken = self.item.take(item, problems)
            if taken is None:
                out.lost[str(len(out.lost))] = item
                problems.lose(item)
            else:
                out.items.append(taken)
        return out

    def json(self, *, child: bool = False) -> dict[str, Any]:  # noqa: ARG002, D102 - the base class says it
        return {"type": "array", "items": self.item.json(), **({"minItems": self.least} if self.least else {})}


def _entry(shape: Shape, *, child: bool) -> dict[str, Any]:
    """Return the JSON Schema of a map's value."""
    return {"anyOf": [{"type": "null"}, shape.json(child=True)]} if child else shape.json()


@dataclass(frozen=True, slots=True)
class MapOf(Shape):
    """A map from free keys (of a pattern) to one shape."""

    value: Shape
    key: str = ".+"
    wanted: str = "a name"
    least: int = 0

    def take(self, node: Node, problems: Problems) -> Node | None:  # noqa: D102 - the base class says it
        if node.kind != "map":
            _wrong(node, problems, "a map")
            return None
        if len(node.entries) < self.least:
            problems.add(node, "empty")
        out = Node("map", node.file, node.line, node.column, removed=node.removed)
        for name, value in node.entries.items():
            if not re.fullmatch(self.key, name):
                problems.add(node.key(name), f"{name!r} is not {self.wanted}")
                out.lost[name] = value
                problems.lose(value)
                continue
            _keep(out, name, value, self.value.take(value, problems), node.key(name), problems)
        return out

    def json(self, *, child: bool = False) -> dict[str, Any]:  # noqa: D102 - the base class says it
        return {
            "type": "object",
            "propertyNames": {"pattern": f"^(?:{self.key})$"},
            "additionalProperties": _entry(self.value, child=child),
        }


def _keep(out: Node, name: str, value: Node, taken: Node | None, key: Node, problems: Problems) -> None:
    """Put into a map what was taken of a value, or note that it is lost."""
    if taken is None:
        out.lost[name] = value
        problems.lose(value)
    else:
        out.entries[name] = taken
    out.keys[name] = key


@dataclass(frozen=True, slots=True)
class Rec(Shape):
    """A map of known keys."""

    fields: Mapping[str, Shape]
    required: frozenset[str] = frozenset()
    what: str = "here"

    def take(self, node: Node, problems: Problems) -> Node | None:  # noqa: D102 - the base class says it
        out = self.part(node, problems)
        return None if out is None or any(name not in out.entries for name in self.required) else out

    def part(self, node: Node, problems: Problems) -> Node | None:
        """Return what is right of a node, even if it lacks what is required.

        A misspelt key counts as the one that was meant, once it is told.
        """
        if node.kind != "map":
            _wrong(node, problems, "a map")
            return None
        out = Node("map", node.file, node.line, node.column, removed=node.removed)
        for name, value in node.entries.items():
            meant: str | None = name
            if name not in self.fields:
                problems.add(node.key(name), f"unknown key {name} {self.what}", did_you_mean(name, self.fields))
                meant = nearest(name, self.fields)
                if meant is None or meant in node.entries or meant in out.names():
                    problems.lose(value)
                    continue
            assert meant is not None
            _keep(out, meant, value, self.fields[meant].take(value, problems), node.key(name), problems)
        missing = sorted(name for name in self.required if name not in out.names())
        if missing:
            problems.add(node, f"missing {', '.join(missing)} {self.what}")
        return out

    def json(self, *, child: bool = False) -> dict[str, Any]:  # noqa: D102 - the base class says it
        out: dict[str, Any] = {
            "type": "object",
            "properties": {name: _entry(shape, child=child) for name, shape in self.fields.items()},
            "additionalProperties": False,
        }
        if self.required and not child:
            out["required"] = sorted(self.required)
        return out


@dataclass(frozen=True, slots=True)
class Range(Shape):
    """``{from, to}``, or another of the keys of ``rec``; of no more than ``most`` numbers."""

    rec: Rec
    most: int

    def take(self, node: Node, problems: Problems) -> Node | None:  # noqa: D102 - the base class says it
        taken = self.rec.take(node, problems)
        if taken is None or not {"from", "to"} <= taken.entries.keys():
            return taken
        low, high = (taken.entries[key].scalar for key in ("from", "to"))
        assert isinstance(low, int)
        assert isinstance(high, int)
        if high - low < self.most:
            return taken
        problems.add(taken.entries["to"], f"a range of {high - low + 1} numbers: {self.most} at most")
        return None

    def json(self, *, child: bool = False) -> dict[str, Any]:  # noqa: D102 - the base class says it
        return self.rec.json(child=child)


@dataclass(frozen=True, slots=True)
class Either(Shape):
    """A shape that depends on the kind of the value: ``((kinds, shape), …)``."""

    options: tuple[tuple[tuple[str, ...], Shape], ...]
    wanted: str

    def take(self, node: Node, problems: Problems) -> Node | None:  # noqa: D102 - the base class says it
        for kinds, shape in self.options:
            if node.kind in kinds:
                return shape.take(node, problems)
        _wrong(node, problems, self.wanted)
        return None

    def json(self, *, child: bool = False) -> dict[str, Any]:  # noqa: D102 - the base class says it
        return {"anyOf": [shape.json(child=child) for _, shape in self.options]}


def _keys(shape: Shape) -> frozenset[str]:
    return frozenset(shape.fields) if isinstance(shape, Rec) else frozenset()


@dataclass(frozen=True, slots=True)
class OneOf(Shape):
    """A map whose kind is told by which key it has: the first of ``options`` that is there."""

    options: Mapping[str, Shape]
    what: str

    def take(self, node: Node, problems: Problems) -> Node | None:  # noqa: D102 - the base class says it
        if node.kind != "map":
            _wrong(node, problems, "a map")
            return None
        for name, shape in self.options.items():
            if name in node.entries:
                return shape.take(node, problems)
        first = next(iter(node.entries), "")
        near = [name for name in self.options if nearest(first, [name])]
        meant = max(near, key=lambda one: len(_keys(self.options[one]).intersection(node.entries)), default=None)
        problems.add(
            node.key(first),
            f"not {self.what}: none of its keys says what it does",
            f"did you mean {meant}?" if meant else f"one of {', '.join(self.options)}",
        )
        if meant is None:
            return None
        renamed = Node("map", node.file, node.line, node.column)
        for name, value in node.entries.items():
            renamed.entries[meant if name == first else name] = value
            renamed.keys[meant if name == first else name] = node.key(name)
        return self.options[meant].take(renamed, problems)

    def json(self, *, child: bool = False) -> dict[str, Any]:  # noqa: D102 - the base class says it
        return {"anyOf": [shape.json(child=child) for shape in self.options.values()]}


@dataclass(frozen=True, slots=True)
class Later(Shape):
    """A shape that contains itself."""

    name: str
    get: Callable[[], Shape] = field(compare=False)

    def take(self, node: Node, problems: Problems) -> Node | None:  # noqa: D102 - the base class says it
        return self.get().take(node, problems)

    def json(self, *, child: bool = False) -> dict[str, Any]:  # noqa: D102 - the base class says it
        return {"$ref": f"#/$defs/{self.name}{'_of_child' if child else ''}"}
