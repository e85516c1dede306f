"""A process that forks shares descriptors with its child, but a modem has one owner: the process that opened it.

The child has no part in it. Whatever it does, at its exit too, the modem and the parent's descriptors are left as they
are: the child closes its own copies, and its use of them is refused.
"""

from __future__ import annotations

import errno
import os
import weakref
from typing import Protocol

from modemtls.errors import ModemError

__all__ = ["Inheritance", "Inherited", "bequeath"]


class Inherited(Protocol):
    """What a forked child gets a copy of."""

    def disown(self) -> None:
        """Let go of it, in the child; no other thread is there, and a lock may be taken that nobody gives back."""


class Inheritance:
    """Knows whether this process is still the one in which it was made."""

    __slots__ = ("_generation",)

    def __init__(self) -> None:
        self._generation = _generation

    @property
    def foreign(self) -> bool:
        """Whether it was made in a process that this one was forked from."""
        return self._generation != _generation

    def check(self, name: str) -> None:
        """Raise :class:`ModemError` unless it was made in this process."""
        if self._generation != _generation:
            raise opened_elsewhere(name)


def opened_elsewhere(name: str) -> ModemError:
    """Give the reason why a forked child cannot use a modem."""
    return ModemError(f"{name} was opened in another process: open it in the one that uses it", number=errno.EBADF)


def bequeath(one: Inherited) -> None:
    """Have ``one.disown()`` called in every child that is forked."""
    _inherited.add(one)


_generation = 0
_inherited: weakref.WeakSet[Inherited] = weakref.WeakSet()


def _in_child() -> None:
    global _generation
    _generation += 1
    for one in list(_inherited):
        one.disown()
    _inherited.clear()


os.register_at_fork(after_in_child=_in_child)
