"""A compiled profile: immutable data that the runner walks through. Nothing here does I/O."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from modemtls.at.grammar import FinalRule, LinePattern, PromptRule, UrcRule
    from modemtls.profile.codecs import Codec
    from modemtls.profile.names import Var
    from modemtls.profile.operations import Input
    from modemtls.profile.template import Placeholder, Template

__all__ = [
    "AwaitRule", "AwaitStep", "CapabilityRule", "Cause", "CheckStep", "Condition", "DoubtStep", "EachStep",
    "ErrorCode", "Evidence", "FailRule", "FailStep", "FirstStep", "GroupStep", "Identify", "Items", "Least", "LineRule",
    "LineSettings", "OutcomeRule", "PauseStep", "Payload", "Program", "Question", "ReadMap", "Retry", "ReturnStep",
    "SendStep", "SetStep", "Step", "SuiteTable", "Test", "Timeout", "UrcSpec", "Use", "UseStep", "ValueSpec",
    "VersionChoice", "guarded", "inside", "version_key", "walk",
]  # fmt: skip

_EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})


def version_key(text: str) -> tuple[tuple[int, str], ...]:
    """Return a key that orders firmware names: digits as numbers, the rest as text."""
    return tuple(
        (int(part), "") if part.isdigit() else (-1, part.upper()) for part in re.findall(r"[0-9]+|[^0-9]+", text)
    )


def _glob(value: object, patterns: Iterable[str]) -> bool:
    return value is not None and any(fnmatch.fnmatchcase(str(value).upper(), one.upper()) for one in patterns)


@dataclass(frozen=True, slots=True)
class Test:
    """One entry of a condition. ``how``: is, not, range, given, below, same, glob, firmware."""

    name: str
    how: str
    values: tuple[object, ...] = ()
    low: int | None = None
    high: int | None = None

    def holds(self, lookup: Callable[[str], object]) -> bool:
        """Evaluate against what ``lookup`` gives for names (None: not given)."""
        value = lookup(self.name)
        how = self.how
        if how == "is":
            return value is not None and _among(value, self.values)
        if how == "given":
            return (value is not None) is self.values[0]
        if how == "not":
            return value is None or not _among(value, self.values)
        if how == "range":
            return (
                isinstance(value, int)
                and (self.low is None or value >= self.low)
                and (self.high is None or value <= self.high)
            )
        if how == "below":
            limit = self.values[0]
            other = lookup(limit) if isinstance(limit, str) else limit
            return isinstance(value, int) and isinstance(other, int) and value < other
        if how == "same":
            other = lookup(str(self.values[0]))
            return value is not None and _among(value, (other,))
        if how == "glob":
            return _glob(value, [str(one) for one in self.values])
        if value is None:
            return False
        key = version_key(str(value))
        low, high = self.values
        return (low is None or key >= version_key(str(low))) and (high is None or key < version_key(str(high)))


def _among(value: object, wanted: tuple[object, ...]) -> bool:
    for one in wanted:
        if isinstance(value, bool) or isinstance(one, bool):
            if value is one:
                return True
        elif value == one or (isinstance(value, (int, str)) and str(value) == str(one)):
            return True
    return False


@dataclass(frozen=True, slots=True)
class Condition:
    """All tests must hold."""

    tests: tuple[Test, ...]

    def holds(self, lookup: Callable[[str], object]) -> bool:
        """Evaluate against what ``lookup`` gives for names (None: not given)."""
        return all(one.holds(lookup) for one in self.tests)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where something is known from."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Timeout:
    """Seconds: ``base`` and, if ``plus`` names a number that is given, that many more, else ``otherwise`` more."""

    base: float
    plus: str | None = None
    otherwise: float = 0.0

    def seconds(self, lookup: Callable[[str], object]) -> float:
        """Return the sum."""
        if self.plus is None:
            return self.base
        value = lookup(self.plus)
        return self.base + (float(value) if isinstance(value, int) else self.otherwise)


@dataclass(frozen=True, slots=True)
class Least:
    """The smallest of some numbers and named numbers."""

    of: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Items:
    """What a field must list, in any order: a named list's elements, each as ``table`` has it, with marks between."""

    name: str
    separator: str
    table: Mapping[str, int | str] | None = None

    def listed(self, found: object, lookup: Callable[[str], object]) -> bool:
        """Tell whether ``found`` lists them, each once and nothing else; capital letters or small."""
        wanted = lookup(self.name)
        elements = [str(one) for one in wanted] if isinstance(wanted, (list, tuple)) else []
        if self.table is not None:
            elements = [str(self.table.get(one, one)) for one in elements]
        parts = str(found).split(self.separator) if found not in {None, ""} else []
        return sorted(one.strip().casefold() for one in parts) == sorted(one.casefold() for one in elements)


ValueSpec: TypeAlias = "str | int | bool | Placeholder | Least | Items"
"""A constant, one placeholder, or the least of some; in a check, too, what a field must list."""


@dataclass(frozen=True, slots=True)
class ReadMap:
    """From the modem's words (as text) to neutral ones."""

    table: Mapping[str, str | bool]
    otherwise: str | int | bool | None = None

    def read(self, value: object) -> object:
        """Return the neutral word; ``otherwise``, else the word as text, for an unknown one."""
        found = self.table.get(str(value))
        if found is not None:
            return found
        return str(value) if self.otherwise is None else self.otherwise


@dataclass(frozen=True, slots=True)
class LineRule:
    """An information line that belongs to an answer."""

    pattern: LinePattern
    repeat: str
    maps: tuple[tuple[str, ReadMap], ...] = ()
    keep: Condition | None = None
    sets: Mapping[str, object] = field(default_factory=lambda: _EMPTY)
    data: str | None = None  # the field that carries the payload


@dataclass(frozen=True, slots=True)
class OutcomeRule:
    """The outcome if the condition holds, and what it implies."""

    condition: Condition
    outcome: str
    sets: Mapping[str, object] = field(default_factory=lambda: _EMPTY)


@dataclass(frozen=True, slots=True)
class FailRule:
    """A failure if the condition holds (or, with ``unless``, does not)."""

    condition: Condition
    unless: bool
    namespace: str = ""
    source: str = ""
    kind: str = "unknown"
    text: str = ""


@dataclass(frozen=True, slots=True)
class Cause:
    """The question that a failure's cause is learnt by."""

    use: UseStep
    namespace: str
    source: str
    ignored: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class Payload:
    """What follows a prompt. ``name`` or ``template`` gives it.

    ``quiet``: silence before ``end``. ``split``: and within it where the data contains it, for then it is data.
    """

    name: str | None
    template: Template | None = None
    codec: Codec | None = None
    hexadecimal: bool = False
    end: bytes = b""
    forbid: bytes = b""
    chunk: int = 0
    pause: float = 0.0
    quiet: float = 0.0
    split: bool = False
    secret: bool = False

    @property
    def refused(self) -> tuple[bytes, ...]:
        """What the data must not contain."""
        if self.hexadecimal:
            return ()
        return (*([self.end] if self.end and not self.split else []), *[bytes([one]) for one in self.forbid])


@dataclass(frozen=True, slots=True)
class Retry:
    """When and how often a step is tried again."""

    condition: Condition
    times: int
    after: float = 0.0
    within: float | None = None
    before: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What every step may have. ``tolerate``: True for any failure, a condition for some."""

    when: Condition | None = None
    tolerate: Condition | bool = False
    retry: Retry | None = None
    see: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SendStep(Step):
    """One exchange."""

    line: Template
    lines: tuple[LineRule, ...] = ()
    finals: tuple[FinalRule, ...] = ()
    prompt: PromptRule | None = None
    payload: Payload | None = None
    timeout: Timeout
    blocking: bool = False
    input_timeout: float | None = None
    terminator: bytes = b"\r"
    outcome: tuple[OutcomeRule, ...] = ()
    fail: FailRule | None = None
    cause: Cause | None = None
    namespaces: tuple[str, ...] = ("cme",)
    check: tuple[tuple[str, ValueSpec], ...] = ()
    save: tuple[tuple[str, str], ...] = ()  # (scope, name)
    names: tuple[str, ...] = ()  # everything that the exchange depends on but the payload's content


@dataclass(frozen=True, slots=True)
class AwaitRule:
    """One of the lines that are waited for."""

    pattern: LinePattern
    maps: tuple[tuple[str, ReadMap], ...] = ()
    sets: Mapping[str, object] = field(default_factory=lambda: _EMPTY)
    outcome: tuple[OutcomeRule, ...] = ()
    fail: FailRule | None = None
    data: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitStep(Step):
    """Waits for the first of some lines; ``collect`` gathers payloads until then."""

    rules: tuple[AwaitRule, ...]
    timeout: Timeout
    collect: LinePattern | None = None
    optional: bool = False
    cause: Cause | None = None
    save: tuple[tuple[str, str], ...] = ()
    bound: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStep(Step):
    """Steps together."""

    steps: tuple[Step, ...]
    atomic: bool = False
    on_fail: tuple[Step, ...] = ()
    finally_: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UseStep(Step):
    """Another program, compiled for this place."""

    program: str
    steps: tuple[Step, ...]
    lock: str | None = None
    on_fail: tuple[Step, ...] = ()
    finally_: tuple[Step, ...] = ()
    values: tuple[tuple[str, ValueSpec], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EachStep(Step):
    """Steps for every element."""

    name: str
    elements: str | tuple[object, ...]
    steps: tuple[Step, ...]
    index: str | None = None
    first_index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstStep(Step):
    """The first alternative that does not fail."""

    alternatives: tuple[tuple[Step, ...], ...]
    remember: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetStep(Step):
    """Gives names values."""

    values: tuple[tuple[str, ValueSpec], ...]
    scope: str = "command"


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseStep(Step):
    """Waits."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnStep(Step):
    """Ends the program."""

    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckStep(Step):
    """Compares fields with what they must be."""

    check: tuple[tuple[str, ValueSpec], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubtStep(Step):
    """Notes that the modem may have restarted unnoticed: what is believed of it is asked again."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FailStep(Step):
    """Ends the program with an error."""

    kind: str
    text: str = ""
    namespace: str = ""
    source: str = ""


def inside(step: Step, *, failing: bool = True) -> list[Step]:
    """Return the steps directly inside another; not ``failing``: without those that clean up after a failure."""
    out: list[Step] = []
    if step.retry is not None:
        out += step.retry.before
    if isinstance(step, (GroupStep, UseStep)):
        out += [*step.steps, *(step.on_fail if failing else ()), *step.finally_]
    elif isinstance(step, EachStep):
        out += step.steps
    elif isinstance(step, FirstStep):
        out += [one for alternative in step.alternatives for one in alternative]
    return out


def walk(steps: Iterable[Step], *, failing: bool = True) -> Iterator[Step]:
    """Yield all steps, those inside others too.

    Not ``failing``: only those whose values stay, so not what asks for a cause or cleans up after a failure.
    """
    for step in steps:
        yield step
        yield from walk(inside(step, failing=failing), failing=failing)
        if failing and isinstance(step, (SendStep, AwaitStep)) and step.cause is not None:
            yield from walk([step.cause.use])


def guarded(steps: Iterable[Step], tests: tuple[Test, ...] = ()) -> Iterator[tuple[Step, tuple[Test, ...]]]:
    """Yield all steps as :func:`walk` does, each with the tests of all conditions that it stands under."""
    for step in steps:
        under = tests if step.when is None else (*tests, *step.when.tests)
        yield step, under
        yield from guarded(inside(step), under)
        if isinstance(step, (SendStep, AwaitStep)) and step.cause is not None:
            yield from guarded([step.cause.use], under)


@dataclass(frozen=True, slots=True)
class Use:
    """What is written with an input, and on which inputs it depends whether it is."""

    what: Placeholder | Payload
    tests: tuple[Test, ...] = ()

    def needed(self, lookup: Callable[[str], object]) -> bool:
        """Tell whether it is written with these inputs."""
        return all(one.holds(lookup) for one in self.tests)


@dataclass(frozen=True, slots=True)
class Program:
    """The steps of an operation, with everything it uses compiled in.

    ``uses`` are placeholders and payloads over the operation's own inputs: what is tried before the first byte
    is sent. ``awaits`` are all lines waited for. ``single``: one exchange and nothing else.
    """

    name: str
    body: UseStep
    inputs: Mapping[str, Input]
    uses: tuple[Use, ...]
    awaits: tuple[AwaitStep, ...]
    names: frozenset[str]
    single: SendStep | None = None


@dataclass(frozen=True, slots=True)
class CapabilityRule:
    """The value of a capability, the condition under which the modem has it, and where that is known from."""

    name: str
    value: object
    condition: Condition | None = None
    see: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """What a code means."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class VersionChoice:
    """A setting of the TLS version: what is written, and the versions that it allows."""

    token: str | int
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SuiteTable:
    """Cipher suites: ``mode`` is one or list; ``all`` lifts the restriction; ``codes`` maps IANA numbers to tokens."""

    mode: str
    all: str | int | None
    codes: Mapping[int, str | int]


@dataclass(frozen=True, slots=True)
class UrcSpec:
    """An unsolicited result: the grammar's rule, and what the layers above do with its values."""

    name: str
    rule: UrcRule
    maps: tuple[tuple[str, ReadMap], ...] = ()
    save: tuple[tuple[str, str], ...] = ()
    clears: tuple[str, ...] = ()
    data: str | None = None
    fields: Mapping[str, Var] = field(default_factory=lambda: _EMPTY)
    secret: frozenset[str] = frozenset()
    see: tuple[Evidence, ...] = ()

    def values(self, values: Mapping[str, object]) -> dict[str, object]:
        """Return the values with the modem's words replaced by neutral ones."""
        out = dict(values)
        for name, one in self.maps:
            if name in out:
                out[name] = one.read(out[name])
        return out


@dataclass(frozen=True, slots=True)
class Question:
    """A harmless command and the line that it is answered by."""

    line: bytes
    pattern: LinePattern


@dataclass(frozen=True, slots=True)
class Identify:
    """How a modem is recognised: globs over the answers to +CGMI, +CGMM and +CGMR (27.007 5.1 to 5.3).

    ``firmware``: what tells the version that conditions on firmware mean, if it is not +CGMR; a field of that name.
    """

    manufacturer: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    revision: tuple[str, ...] = ()
    ask: tuple[Question, ...] = ()
    firmware: Question | None = None

    def made_by(self, manufacturer: str) -> bool:
        """Tell whether a modem of this manufacturer may be meant; "" if it did not say."""
        return not (self.manufacturer and manufacturer) or _glob(manufacturer, self.manufacturer)

    def score(self, manufacturer: str = "", model: str = "", revision: str = "") -> int:
        """Return 0 if it is another modem, else a number that is larger the more exactly the globs fit."""
        total = 0
        for patterns, text in ((self.manufacturer, manufacturer), (self.model, model), (self.revision, revision)):
            if not patterns:
                continue
            fitting = [one for one in patterns if _glob(text, [one])]
            if not fitting:
                return 0
            total += 1 + max(len(one.replace("*", "").replace("?", "")) for one in fitting)
        return total


@dataclass(frozen=True, slots=True)
class LineSettings:
    """The serial line and the interpreter's manners; times in seconds, sizes in bytes."""

    terminator: bytes = b"\r"
    timeout: float = 5.0
    after_result: float = 0.0
    after_urc: float = 0.0
    max_line: int = 4096
    max_payload: int = 65536
    cmee: int = 1
    boot_time: float = 30.0
