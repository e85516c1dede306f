"""How a modem is recognised, and which profile is for it: compiled without the rest of the profile."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from modemtls.profile.merge import bundled_path, read
from modemtls.profile.model import Identify, Question
from modemtls.profile.names import Names
from modemtls.profile.parts import Parts
from modemtls.profile.problems import Problems
from modemtls.profile.schema import PROFILE
from modemtls.profile.shapes import Rec, seconds
from modemtls.profile.source import section

if TYPE_CHECKING:
    from modemtls.profile.source import Node

__all__ = ["Candidate", "candidate", "identify", "question", "texts"]

_SHAPE: Final = Rec({name: PROFILE.fields[name] for name in ("models", "identify", "line")}, what="in a profile")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A bundled profile, as far as finding the one that fits needs it.

    ``pause`` (s): the silence that its modems need behind a result, before the next command.
    """

    name: str
    models: tuple[str, ...]
    identify: Identify
    pause: float = 0.0


@cache
def candidate(name: str) -> Candidate:
    """Return what a bundled profile, and what it extends, says about the modem that it is for; once in a process.

    No more of the files is parsed or checked than that takes. Raises ProfileError for what is wrong in it,
    ConfigurationError if a file cannot be read.
    """
    problems = Problems()
    root = read(bundled_path(name), problems, only=frozenset(_SHAPE.fields))
    found = Candidate(name, (), Identify())
    if root is not None:
        for other in root.entries.keys() - _SHAPE.fields.keys():
            del root.entries[other]
        taken = _SHAPE.part(root, problems)
        assert taken is not None
        parts = Parts(problems, {}, {}, (), one_way={}, lenient=True)
        pause = section(taken, "line").entries.get("after_result")
        found = Candidate(
            name,
            texts(taken.entries.get("models")),
            identify(taken.entries.get("identify"), parts) or Identify(),
            0.0 if pause is None else seconds(pause),
        )
    problems.raise_if_any()
    return found


def texts(node: Node | None) -> tuple[str, ...]:
    """Return a text, or the texts of a list; nothing if there is no node."""
    if node is None:
        return ()
    return tuple(str(one.scalar) for one in node.items) if node.kind == "list" else (str(node.scalar),)


def question(node: Node, parts: Parts) -> Question | None:
    """Compile a harmless command with its answer; None if it is wrong."""
    line = parts.template(node.entries["send"], Names({}, set()))
    pattern = parts.pattern(node.entries["match"], Names({}, set()), bound=False)
    if "see" not in node.entries:
        parts.problems.add(node, "a command without evidence", "add see: {manual: …}")
    if pattern is None:
        return None
    return Question("".join(one for one in line.parts if isinstance(one, str)).encode("ascii"), pattern)


def identify(node: Node | None, parts: Parts) -> Identify | None:
    """Compile how a modem is recognised; None if that is not said."""
    if node is None:
        return None
    if not node.entries:
        parts.problems.add(node, "identify is empty: any modem would match")
    ask = node.entries.get("ask")
    questions = [question(item, parts) for item in (ask.items if ask is not None else ())]
    version = node.entries.get("firmware")
    firmware = None if version is None else question(version, parts)
    if version is not None and firmware is not None and all(one.name != "firmware" for one in firmware.pattern.fields):
        parts.problems.add(version.entries["match"], "the pattern captures no firmware")
    return Identify(
        texts(node.entries.get("manufacturer")),
        texts(node.entries.get("model")),
        texts(node.entries.get("revision")),
        tuple(one for one in questions if one is not None),
        firmware,
    )
