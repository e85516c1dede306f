"""Reads the YAML of a profile into nodes that know their place, by rules stricter than YAML's.

Built on PyYAML's event stream only: nothing is constructed, resolved or executed. The scalar rules are those of the
language (docs/decisions/0002-profile-language.md, section 2): ``true``/``false``, decimal integers, ``null``, text;
a plain scalar that some YAML reader takes for anything else is an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from modemtls.profile.problems import Problem, Problems

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_DEPTH", "MAX_SIZE", "Node", "Scalar", "is_ambiguous", "parse", "section"]

MAX_SIZE: Final = 256 * 1024  # bytes
MAX_DEPTH: Final = 24

Scalar = str | int | bool | None

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,18})\Z")
# YAML 1.1 (bool, null, int, float, timestamp, merge, value types) and the YAML 1.2 core schema.
_AMBIGUOUS = re.compile(
    r"""(?: y|yes|n|no|on|off|true|false|null|~
      | [-+]?0[0-7_]+ | [-+]?0o[0-7]+ | [-+]?0b[01_]+ | [-+]?0x[0-9a-f_]+
      | [-+]?[0-9][0-9_]* | [-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?
      | [-+]?(?:[0-9][0-9_]*)?\.[0-9][0-9_]*(?:e[-+]?[0-9]+)? | [-+]?[0-9][0-9_]*\.(?:e[-+]?[0-9]+)?
      | [-+]?[0-9][0-9_]*e[-+]?[0-9]+
      | [-+]?\.inf | \.nan
      | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:t|[ \t]+)[0-9].*)?
      | = | << )\Z""",
    re.IGNORECASE | re.VERBOSE,
)


def is_ambiguous(text: str) -> bool:
    """Tell whether some YAML reader takes this plain scalar for something else than text."""
    return not text or _AMBIGUOUS.match(text) is not None


@dataclass(slots=True, eq=False)
class Node:
    """A value with its place. Exactly one of ``scalar``, ``items`` and ``entries`` counts, as ``kind`` says.

    ``kind`` is ``text``, ``int``, ``bool``, ``null``, ``list`` or ``map``. ``keys`` are the nodes of a map's keys.
    """

    kind: str
    file: str
    line: int
    column: int
    scalar: Scalar = None
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Node] = field(default_factory=dict)
    # What a shape left out of ``entries`` because something is wrong with it.
    lost: dict[str, Node] = field(default_factory=dict)
    # What a child took away with null, and where.
    removed: dict[str, Node] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Return the keys of this map, those with wrong values too."""
        return [*self.entries, *self.lost]

    def key(self, name: str) -> Node:
        """Return where a key of this map stands (the map itself if it has none)."""
        return self.keys.get(name, self)

    def walk(self) -> Iterator[Node]:
        """Yield this node and everything below it."""
        yield self
        for one in self.items:
            yield from one.walk()
        for one in self.entries.values():
            yield from one.walk()

    def plain(self) -> object:
        """Return the value without places: dict, list or scalar."""
        if self.kind == "map":
            return {name: one.plain() for name, one in self.entries.items()}
        if self.kind == "list":
            return [one.plain() for one in self.items]
        return self.scalar


def section(root: Node, name: str) -> Node:
    """Return an entry of a map, an empty map if there is none."""
    return root.entries.get(name) or Node("map", root.file, root.line, root.column)


class _Abandon(Exception):  # noqa: N818 - control flow, never seen outside
    """Reading cannot go on; the reason is noted."""


class _Reader:
    def __init__(self, text: str, file: str, problems: Problems, *, fast: bool, only: frozenset[str]) -> None:
        import yaml

        self.yaml = yaml
        self.file = file
        self.problems = problems
        self.text = text
        self.only = only
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader) if fast else yaml.SafeLoader
        self.events = yaml.parse(text, Loader=loader)

    def node(self, event: object, kind: str) -> Node:
        mark = getattr(event, "start_mark", None)
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        return Node(kind, self.file, line, column)

    def refuse(self, event: object, message: str, hint: str = "") -> None:
        self.problems.add(self.node(event, "null"), message, hint, final=True)

    def next(self) -> object:
        return next(self.events)

    def document(self) -> Node | None:
        yaml = self.yaml
        root: Node | None = None
        count = 0
        while True:
            event = self.next()
            if isinstance(event, yaml.StreamEndEvent):
                return root
            if isinstance(event, yaml.DocumentStartEvent):
                count += 1
                if count > 1:
                    self.refuse(event, "a profile is one document")
                    raise _Abandon
            elif not isinstance(event, (yaml.StreamStartEvent, yaml.DocumentEndEvent)):
                root = self.value(event, 1)
                if self.only:
                    return root

    def value(self, event: object, depth: int) -> Node:
        yaml = self.yaml
        if isinstance(event, yaml.AliasEvent):
            self.refuse(event, "aliases (*name) are not allowed", "write the value out, or use extends")
            return self.node(event, "null")
        if getattr(event, "anchor", None) is not None:
            self.refuse(event, "anchors (&name) are not allowed", "write the value out, or use extends")
        if getattr(event, "tag", None) not in {None, "!"}:
            self.refuse(event, "tags (!name) are not allowed")
        if depth > MAX_DEPTH:
            self.refuse(event, f"nested deeper than {MAX_DEPTH} levels")
            raise _Abandon
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            node = self.node(event, "list")
            while not isinstance(event := self.next(), yaml.SequenceEndEvent):
                node.items.append(self.value(event, depth + 1))
            return node
        node = self.node(event, "map")
        partial = depth == 1 and bool(self.only) and node.column == 1 and not event.flow_style  # type: ignore[attr-defined]
        while not isinstance(event := self.next(), yaml.MappingEndEvent):
            if partial and self.enough(event):
                break
            self.entry(node, event, depth)
        return node

    def enough(self, event: Any) -> bool:
        """Tell whether neither this key of the top map is wanted nor any that stands behind it.

        In a block map each key begins a line, in the column of the first one. Where one may be, all is read.
        """
        if not isinstance(event, self.yaml.ScalarEvent) or event.value in self.only:
            return False
        words = "|".join(map(re.escape, sorted(self.only)))
        behind = self.text[event.start_mark.index :]  # type: ignore[union-attr]
        return not re.search(rf"(?:^|[\r\n])(?:(?:{words})\b|[^a-z#\s])", behind)

    def entry(self, node: Node, event: object, depth: int) -> None:
        if not isinstance(event, self.yaml.ScalarEvent):
            self.refuse(event, "a key must be text")
            self.value(event, depth + 1)
            self.value(self.next(), depth + 1)
            return
        name = event.value
        key = self.node(event, "text")
        key.scalar = name
        if event.anchor is not None:
            self.refuse(event, "anchors (&name) are not allowed")
        if event.tag not in {None, "!"}:
            self.refuse(event, "tags (!name) are not allowed")
        if name == "<<" and not event.style:
            self.refuse(event, "merge keys (<<) are not allowed", "use extends")
        value = self.value(self.next(), depth + 1)
        if name in node.entries:
            first = node.keys[name]
            self.problems.add(key, f"duplicate key {name}", f"first in line {first.line}")
            return
        node.entries[name] = value
        node.keys[name] = key

    def scalar(self, event: object) -> Node:
        text: str = event.value  # type: ignore[attr-defined]
        node = self.node(event, "text")
        node.scalar = text
        if event.style:  # type: ignore[attr-defined]
            return node
        if text in {"true", "false"}:
            node.kind, node.scalar = "bool", text == "true"
        elif text == "null":
            node.kind, node.scalar = "null", None
        elif _INTEGER.match(text):
            node.kind, node.scalar = "int", int(text)
        elif not text:
            self.refuse(event, "a value is missing", "write '' for empty text, null to remove what is inherited")
        elif _AMBIGUOUS.match(text):
            self.refuse(event, f"{text} means different things to YAML readers", f"quote it: '{text}'")
        return node


def _unseen(text: str) -> int | None:
    """Return where the first character is that an editor would hide, or a terminal act upon."""
    if text.replace("\r", "").replace("\n", "").replace("\t", "").isprintable():
        return None
    return next(at for at, char in enumerate(text) if not char.isprintable() and char not in "\r\n\t")


def parse(data: bytes, file: str, problems: Problems, *, only: frozenset[str] = frozenset()) -> Node | None:
    """Read one profile. What is wrong goes to ``problems``; None if there is nothing to go on with.

    ``only``: read no further than these entries of the top map need; the result has all of them that there are, and
    perhaps others.
    """
    import yaml

    def at(line: int, column: int, message: str, hint: str = "") -> None:
        problems.note(Problem(file, line, column, message, hint))

    if len(data) > MAX_SIZE:
        at(1, 1, f"larger than {MAX_SIZE // 1024} KiB")
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at(data[: error.start].count(b"\n") + 1, 1, "not UTF-8")
        return None
    unseen = _unseen(text)
    if unseen is not None:
        start = text.rfind("\n", 0, unseen) + 1
        what = f"U+{ord(text[unseen]):04X} cannot stand in a profile: a reader would not see it"
        at(text.count("\n", 0, unseen) + 1, unseen - start + 1, what, 'in "..." there are escapes for it')
        return None
    try:
        try:
            root = _Reader(text, file, problems, fast=True, only=only).document()
        except yaml.YAMLError:
            # libyaml reads ahead, and may have its own limit of depth before ours (PyYAML 6.0.4: 1000 levels).
            _Reader(text, file, problems, fast=False, only=only).document()
            raise
    except _Abandon:
        return None
    except RecursionError:
        at(1, 1, f"nested deeper than {MAX_DEPTH} levels")
        return None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        at(line, column, f"not YAML: {what}")
        return None
    if root is None:
        at(1, 1, "empty")
        return None
    if root.kind != "map":
        problems.add(root, "a profile is a map")
        return None
    return root
