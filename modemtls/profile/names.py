"""What a program knows at a point: names with types. The checker walks the steps with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from modemtls.at.pattern import PatternError, compile_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modemtls.profile.source import Node

__all__ = ["CAPTURE_TYPES", "FAILURE_NAMES", "MODEM_NAMES", "Names", "Var", "constant_type", "saved_names"]

CAPTURE_TYPES: Final = {
    "int": "int", "digits": "digits", "hexint": "int", "hex": "bytes", "quoted": "text", "word": "text", "any": "text",
    "text": "text", "more": "text", "raw": "bytes",
}  # fmt: skip
# Names in conditions about a failure or an outcome.
FAILURE_NAMES: Final = frozenset({"outcome", "code", "kind", "final"})
# Names that every condition may use.
MODEM_NAMES: Final = frozenset({"model", "firmware"})


@dataclass(frozen=True, slots=True)
class Var:
    """A name's type, and whether it certainly has a value here. ``origin``: input, captured, set or saved."""

    type: str
    given: bool = True
    secret: bool = False
    origin: str = "captured"


def constant_type(value: object) -> str:
    """Return the language's type of a constant."""
    if isinstance(value, bool):
        return "bool"
    return "int" if isinstance(value, int) else "text"


class Names:
    """A scope: copies are cheap, ``used`` is shared by all copies of one program."""

    __slots__ = ("known", "used")

    def __init__(self, known: dict[str, Var], used: set[str]) -> None:
        self.known = known
        self.used = used

    def copy(self) -> Names:
        """Return a scope that can change without changing this one."""
        return Names(dict(self.known), self.used)

    def get(self, name: str) -> Var | None:
        """Look a name up and note its use."""
        self.used.add(name)
        return self.known.get(name)

    def add(self, name: str, var: Var) -> None:
        """Give a name a (new) meaning; what was secret stays so."""
        before = self.known.get(name)
        if before is not None and before.secret and before.origin != "saved":
            var = replace(var, secret=True)
        self.known[name] = var

    def merge_maybe(self, other: Names) -> None:
        """Take over names from steps that may not have run."""
        for name, var in other.known.items():
            mine = self.known.get(name)
            if mine is None:
                self.known[name] = replace(var, given=False)
            elif mine is not var and mine.given and not var.given:
                self.known[name] = replace(mine, given=False)
            elif mine is not var and var.secret and not mine.secret:
                self.known[name] = replace(mine, secret=True)

    def given(self, name: str) -> None:
        """Note that a name certainly has a value here: a condition says so."""
        var = self.known.get(name)
        if var is not None and not var.given:
            self.known[name] = replace(var, given=True)


def _captures(source: str) -> Iterator[tuple[str, str]]:
    try:
        pattern = compile_pattern(source)
    except PatternError:
        return
    for field in pattern.fields:
        if field.type in CAPTURE_TYPES and field.name != "_":
            yield field.name, CAPTURE_TYPES[field.type]


def _text(node: Node | None) -> str:
    return str(node.scalar) if node is not None and node.kind == "text" else ""


def saved_names(programs: Node | None, urcs: Node | None) -> dict[str, Var]:
    """Return every name that some step or URC keeps beyond its program, with its type."""
    types: dict[str, str] = {}
    kept: set[str] = set()
    secret: set[str] = set()
    roots = [one for one in (programs, urcs) if one is not None]
    for node in (node for root in roots for node in root.walk()):
        if node.kind != "map":
            continue
        entries = node.entries
        for key in ("match", "await", "collect"):
            for name, kind in _captures(_text(entries.get(key))):
                types.setdefault(name, kind)
        for key in ("lines", "await"):
            listed = entries.get(key)
            for item in listed.items if listed is not None else ():
                for name, kind in _captures(_text(item)):
                    types.setdefault(name, kind)
        for key in ("sets", "set"):
            values = entries.get(key)
            for name, value in values.entries.items() if values is not None else ():
                if value.kind in {"text", "int", "bool"}:
                    braces = value.kind == "text" and "{" in str(value.scalar)
                    types.setdefault(name, "any" if braces else value.kind)
        hidden = entries.get("secret")
        if hidden is not None:
            secret.update(_text(item) for item in hidden.items)
        save = entries.get("save")
        if save is not None:
            kept.update(_text(item) for listed in save.entries.values() for item in listed.items)
        scope = _text(entries.get("scope"))
        values = entries.get("set")
        if scope in {"socket", "context", "boot"} and values is not None:
            kept.update(values.entries)
        remembered = _text(entries.get("remember"))
        if remembered:
            kept.add(remembered)
            types[remembered] = "int"
    kept.discard("")
    return {name: Var(types.get(name, "any"), given=False, secret=name in secret, origin="saved") for name in kept}
