"""Settings by which a restart shows, because it undoes them: what ATE and +CMEE have set."""

from __future__ import annotations

from typing import Final, Generic, TypeVar

__all__ = ["Witness"]

_T = TypeVar("_T")

# How often in a row a setting may be contradicted, with nothing in between that showed it in force, before it is taken
# that the modem does not obey: once may be a restart at the very moment.
_DEFIANCE: Final = 2


class Witness(Generic[_T]):
    """What was set, for as long as it can testify.

    ``told``: what the modem said OK to, None if that is not known. ``proven``: whether it has been seen in force since.
    """

    __slots__ = ("_defied", "proven", "told")

    def __init__(self) -> None:
        self.told: _T | None = None
        self.proven = False
        self._defied = 0

    @property
    def value(self) -> _T | None:
        """What was set, None if that is not known or the modem says OK and leaves it as it was."""
        return self.told if self._defied < _DEFIANCE else None

    def set(self, value: _T | None) -> None:
        """Note what the modem said OK to (None: nothing is known)."""
        self.told = value
        self.proven = False

    def prove(self) -> None:
        """Note that it was seen in force, so that it can testify (again)."""
        self.proven = True
        self._defied = 0

    def contradict(self) -> bool:
        """Note that the modem did otherwise; whether that is a restart, or else a modem that does not obey."""
        if not self.proven:
            self._defied += 1
        return self.value is not None
