"""Cipher suites of +USECPRF's op code 2: old numbers, one IANA number, a list of them (UBX-13002752, ubxlib)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modemtls.tlsengine import suites

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["AUTOMATIC", "LEGACY", "SuiteChoice", "code", "kinds"]

LEGACY = (  # IANA numbers of 1, 2, 3 …
    0x002F, 0x003C, 0x0035, 0x003D, 0x000A, 0x008C, 0x008D, 0x008B, 0x0094, 0x0095, 0x0093, 0x00AE, 0x00AF, 0x00B6,
    0x00B7, 0x00A8, 0x00A9, 0x00AC, 0x00AD, 0xC008, 0xC009, 0xC00A, 0xC012, 0xC013, 0xC014, 0xC023, 0xC024, 0xC027,
    0xC028, 0xC02B, 0xC02C, 0xC02F, 0xC030,
)  # fmt: skip
LEGACY_STYLE, ONE, LIST = 0, 99, 100
_BYTE = re.compile(r"[0-9A-Fa-f]{2}")


@dataclass(frozen=True, slots=True)
class SuiteChoice:
    """What is set: ``style`` 0 is an old ``number``, 99 and 100 are ``codes`` of IANA."""

    style: int = LEGACY_STYLE
    number: int = 0
    codes: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Return what a query shows behind the op code."""
        if self.style == LEGACY_STYLE:
            return str(self.number)
        return f'{self.style},"{";".join(f"{one:04X}" for one in self.codes)}"'

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """The IANA numbers chosen; None leaves it to the module."""
        if self.style == LEGACY_STYLE:
            return (LEGACY[self.number - 1],) if self.number else None
        return self.codes or None

    def with_code(self, style: int, added: int) -> SuiteChoice:
        """Return it with one more; one alone replaces what there was."""
        kept = self.codes if style == LIST and self.style == LIST else ()
        return SuiteChoice(style, 0, kept if added in kept else (*kept, added))

    def without(self, removed: int) -> SuiteChoice | None:
        """Return it with one less, None if it is not there; without any the choice is automatic."""
        if self.style != LIST or removed not in self.codes:
            return None
        left = tuple(one for one in self.codes if one != removed)
        return SuiteChoice(LIST, 0, left) if left else AUTOMATIC


AUTOMATIC = SuiteChoice()


def code(high: str, low: str) -> int | None:
    """Read the two quoted bytes of an IANA number; None if they are not that."""
    return int(high + low, 16) if _BYTE.fullmatch(high) and _BYTE.fullmatch(low) else None


def kinds(numbers: Iterable[int]) -> set[suites.Authentication]:
    """Return what the suites authenticate by, as far as the stack underneath still has them."""
    return {suite.authentication for suite in suites.listed(numbers)}
