"""What running a program gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from modemtls.at.grammar import Outcome
from modemtls.errors import CommandError

if TYPE_CHECKING:
    from modemtls.profile.operations import Operation

__all__ = ["Result", "Wanted", "wanted"]


class Result:
    """What a program came to.

    ``values``: everything captured or set. ``rows``: one for each line that may come often. ``payload``: the bytes
    received as data. ``text``: the last final result. Values may be secret: they are not in ``repr``.
    """

    __slots__ = ("outcome", "payload", "rows", "text", "values")

    def __init__(
        self, outcome: Outcome, values: dict[str, Any], rows: list[dict[str, Any]], payload: bytes, text: str
    ) -> None:
        self.outcome = outcome
        self.values = values
        self.rows = rows
        self.payload = payload
        self.text = text

    def __repr__(self) -> str:
        return f"Result({self.outcome.name}, {self.text!r}, {len(self.rows)} rows, {len(self.payload)} bytes)"


_TYPES: Final = {"int": int, "word": str, "text": str, "bool": bool}


class Wanted:
    """What a caller of an operation relies on in its result; looked at once, here."""

    __slots__ = ("_partial", "_rows", "_values")

    def __init__(self, operation: Operation) -> None:
        self._values = tuple((one.name, _TYPES[one.type]) for one in operation.values.values() if one.always)
        self._rows = tuple((one.name, _TYPES[one.type]) for one in operation.rows.values() if one.always)
        self._partial = "sent" in operation.values and operation.values["sent"].given

    def __bool__(self) -> bool:
        return bool(self._values or self._rows or self._partial)

    def check(self, op: str, result: Result) -> None:
        """Raise CommandError if the result lacks something."""
        if result.outcome is Outcome.OK:
            for name, kind in self._values:
                if not isinstance(result.values.get(name), kind):
                    raise _lacking(op, name)
        elif result.outcome is Outcome.PARTIAL and self._partial and not isinstance(result.values.get("sent"), int):
            raise _lacking(op, "sent")
        for row in result.rows:
            for name, kind in self._rows:
                if not isinstance(row.get(name), kind):
                    raise _lacking(op, name)


def _lacking(op: str, name: str) -> CommandError:
    return CommandError(f"{op}: the profile found no {name} in the modem's answer", command=op, kind="unknown")


def wanted(operation: Operation) -> Wanted | None:
    """Return what to look at in an operation's results, None if there is nothing."""
    found = Wanted(operation)
    return found if found else None
