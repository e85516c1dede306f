"""What running a program gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modemtls.at.grammar import Outcome

__all__ = ["Result"]


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
