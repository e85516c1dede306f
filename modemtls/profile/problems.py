"""What is wrong with a profile: all of it at once, each with its place."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from modemtls.errors import ConfigurationError, printable, shortened

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from modemtls.profile.source import Node

__all__ = ["Problem", "Problems", "ProfileError", "did_you_mean"]

MAX_TEXT: Final = 300  # characters


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake. ``line`` and ``column`` count from 1; ``hint`` is empty or says what to write instead.

    Message and hint are printable and short, whatever they quote.
    """

    file: str
    line: int
    column: int
    message: str
    hint: str = ""

    def __post_init__(self) -> None:
        for name in ("message", "hint"):
            object.__setattr__(self, name, shortened(printable(getattr(self, name)), MAX_TEXT))

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.file}:{self.line}:{self.column}: {self.message}{hint}"


class ProfileError(ConfigurationError):
    """A profile that cannot be used. ``problems`` has everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint with the nearest known word, or the known ones if they are few, or nothing."""
    known = sorted(set(known))
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    if 0 < len(known) <= 12:
        return f"known: {', '.join(known)}"
    return ""


class Problems:
    """Collects mistakes; the same one is kept once."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[Problem, None] = {}

    def add(self, node: Node, message: str, hint: str = "") -> None:
        """Note a mistake at a node."""
        self._found[Problem(node.file, node.line, node.column, message, hint)] = None

    def note(self, problem: Problem) -> None:
        """Note a mistake that has its place."""
        self._found[problem] = None

    def __len__(self) -> int:
        return len(self._found)

    def sorted(self) -> list[Problem]:
        """Return everything by file, line and column."""
        return sorted(self._found)

    def raise_if_any(self) -> None:
        """Raise ProfileError if anything was noted."""
        if self._found:
            raise ProfileError(self.sorted())
