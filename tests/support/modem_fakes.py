"""A modem of plain Python for the tests of the modem layer: operations instead of commands, time that tests advance."""

from __future__ import annotations

from dataclasses import dataclass, field

from modemtls.at.grammar import Outcome
from modemtls.errors import CommandError, ModemTimeoutError


@dataclass
class Answer:
    outcome: Outcome = Outcome.OK
    values: dict = field(default_factory=dict)
    rows: list = field(default_factory=list)
    payload: bytes = b""


def refusal(kind: str, code: int | None = None, text: str = "") -> CommandError:
    return CommandError(f"refused: {text or kind}", kind=kind, modem_code=code, text=text or kind)


class FakeHost:
    """`on`: operation to an Answer, an exception, a function of the bindings, or a list of these that is used up."""

    def __init__(self, **on):
        self.on = {"credential_write": Answer(), **on}
        self.calls: list[tuple[str, dict]] = []
        self.time = 1000.0
        self.epoch = 1
        self.doubts = 0
        self.doubted = ""
        self.ended = []
        self.on_wait = []  # functions called in each wait, one after the other

    def now(self):
        return self.time

    def raise_doubt(self, reason):
        self.doubts += 1
        self.doubted = reason

    def end_epoch(self, reason):
        self.epoch += 1
        self.ended.append(reason)

    def has(self, op):
        return op in self.on

    def run(self, op, bindings=None, *, deadline=None, on_orphan=None, on_socket=None, still=None):
        if deadline is not None and self.time >= deadline:
            raise ModemTimeoutError(f"{op}: too late")
        obstacle = still() if still is not None else None
        if obstacle is not None:
            raise obstacle
        self.calls.append((op, dict(bindings or {})))
        what = self.on[op]
        if isinstance(what, list):
            what = what.pop(0) if len(what) > 1 else what[0]
        if callable(what) and not isinstance(what, type):
            what = what(dict(bindings or {}))
        if isinstance(what, BaseException):
            raise what
        if on_socket is not None and "socket" in what.values:
            on_socket(what.values["socket"])
        return what

    def wait(self, ready, deadline=None):
        """As Channel.wait, with time that flies."""
        if self.on_wait:
            self.on_wait.pop(0)()
            if ready():
                return True
        assert deadline is not None, "would wait for ever"
        self.time = max(self.time, deadline)
        return ready()

    def ops(self):
        return [op for op, _ in self.calls]

    def count(self, op):
        return self.ops().count(op)
