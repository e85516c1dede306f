"""The quick way of programs that are one exchange: what the data path runs, command after command.

It does what :class:`~modemtls.modem.runner_steps.Run` does for the same program, for answers that need no more than
taking values and comparing them with constants. Anything else it leaves to that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from modemtls.at.grammar import Outcome
from modemtls.modem.runner_result import Result
from modemtls.profile.operations import CLOSING

if TYPE_CHECKING:
    from modemtls.at.exchange import Exchange, Reply
    from modemtls.profile.model import Program, SendStep

__all__ = ["CACHE_LIMIT", "Quick", "quick"]

CACHE_LIMIT: Final = 128  # rendered exchanges kept for each program: all sockets, a few sizes
_FAIL: Final = Outcome.FAIL
_OUTCOMES: Final = {one.value: one for one in Outcome}

# (name, values as text, outcome): the outcome if the captured name has one of the values
_Rule = tuple[str, frozenset[str], Outcome]


class Quick:
    """A one-exchange program, with the exchanges that were rendered for it lately."""

    __slots__ = ("_data", "_rules", "data", "ends", "explains", "kept", "names", "plain", "program", "step")

    def __init__(
        self, program: Program, step: SendStep, names: tuple[str, ...], rules: tuple[_Rule, ...] | None
    ) -> None:
        self.program = program
        self.step = step
        self.names = names
        self.kept: dict[tuple[object, ...], Exchange] = {}
        self.data = data = step.payload  # what follows the prompt, made anew each time
        # The input that is sent as it is, if it is bytes.
        self.plain = (
            "" if data is None or data.codec or data.hexadecimal or data.end or data.forbid else data.name or ""
        )
        self.explains = step.cause is not None  # whether a failure has a cause to ask for
        self.ends = program.name in CLOSING
        self._rules = rules
        self._data = tuple(rule.data for rule in step.lines)

    def settle(self, reply: Reply) -> Result | None:
        """Return the result of an answer, None if it is not for here."""
        rules = self._rules
        outcome = reply.outcome
        if rules is None or outcome is _FAIL or reply.missing:
            return None
        values: dict[str, Any] = {}
        payload = b""
        lines = reply.lines
        if not lines:  # a rule is about what a line says
            return Result(outcome, values, [], payload, reply.final)
        for line in lines:
            values.update(line.values)
            if line.payload is not None:
                payload += line.payload
                name = self._data[line.index]
                if name is not None:
                    values[name] = line.payload
        for name, wanted, implied in rules:
            if name in values and str(values[name]) in wanted:
                outcome = implied
                break
        return Result(outcome, values, [], payload, reply.final)


def _rules(step: SendStep) -> tuple[_Rule, ...] | None:
    """Return the outcome rules as constants to compare with, None if there is more to do than that."""
    if step.fail is not None or step.check or step.save or step.tolerate is not False:
        return None
    captured: set[str] = set()
    for line in step.lines:
        if line.repeat == "many" or line.maps or line.sets:
            return None
        captured.update(field.name for field in line.pattern.fields if field.type not in {"bound", "hex", "raw"})
    out = []
    for rule in step.outcome:
        if rule.outcome == "fail" or rule.sets or len(rule.condition.tests) != 1:
            return None
        (test,) = rule.condition.tests
        if test.how != "is" or test.name not in captured or any(isinstance(one, bool) for one in test.values):
            return None
        out.append((test.name, frozenset(map(str, test.values)), _OUTCOMES[rule.outcome]))
    if any(field.type == "hex" for line in step.lines for field in line.pattern.fields):
        return None
    return tuple(out)


def quick(program: Program) -> Quick | None:
    """Return the quick way of a program, None if it has none.

    Secrets are not kept, and neither is what depends on anything but the inputs.
    """
    step = program.single
    if step is None or any(one.secret for one in program.inputs.values()):
        return None
    if any(name not in program.inputs for name in step.names):
        return None
    if step.payload is not None and step.payload.name not in program.inputs:
        return None
    rules = _rules(step)
    if rules is None and step.cause is not None:
        return None  # even a good answer may turn out a failure with a cause, and nobody may come in between
    names = tuple(name for name, one in program.inputs.items() if one.type != "bytes")
    return Quick(program, step, names, rules)
