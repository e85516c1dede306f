"""What is wrong with a profile: all of it at once, each with its place."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from modemtls.errors import ConfigurationError, printable, shortened

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from modemtls.profile.source import Node

__all__ = ["Problem", "Problems", "ProfileError", "did_you_mean", "nearest"]

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


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that was probably meant, None if there is none."""
    for near in difflib.get_close_matches(word, sorted(set(known)), n=3, cutoff=0.6):
        # Short words are as near by chance; what begins alike was meant.
        close = difflib.SequenceMatcher(None, word, near).ratio() >= 0.7
        if close or word.startswith(near) or near.startswith(word):
            return near
    return None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint with the nearest known word, or the known ones if they are few, or nothing."""
    known = sorted(set(known))
    near = nearest(word, known)
    if near is not None:
        return f"did you mean {near}?"
    if 0 < len(known) <= 12:
        return f"known: {', '.join(known)}"
    return ""


_NAMES = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)|\A([A-Za-z_][A-Za-z0-9_-]*)\Z")


class Problems:
    """Collects mistakes; the same one is kept once.

    ``lost`` are the names that occur in what was left out because of a mistake, ``meant`` those that a misspelt name
    probably stands for: that such a name is missing elsewhere only follows from a mistake that is told already.
    """

    __slots__ = ("_final", "_found", "lost", "meant")

    def __init__(self) -> None:
        self._found: dict[Problem, None] = {}
        self._final: set[tuple[str, int, int]] = set()
        self.lost: set[str] = set()
        self.meant: set[str] = set()

    def add(self, node: Node, message: str, hint: str = "", *, final: bool = False) -> None:
        """Note a mistake at a node; ``final``: whatever else is found at this place follows from it."""
        place = (node.file, node.line, node.column)
        if place in self._final:
            return
        if final:
            self._final.add(place)
        self._found[Problem(*place, message, hint)] = None

    def lose(self, node: Node) -> None:
        """Note that a part is left out because something is wrong with it."""
        for one in node.walk():
            self.lost.update(name.partition(":")[0] for name in one.entries)
            if isinstance(one.scalar, str):
                self.lost.update(found[1] or found[2] for found in _NAMES.finditer(one.scalar))

    def excused(self, name: str) -> bool:
        """Tell whether the lack of a name only follows from another mistake."""
        return name in self.lost or name in self.meant

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
