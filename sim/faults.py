"""Faults on demand: ``KIND@(byte N|command N|urc N|out N|in N)[:argument]``.

``N`` counts from 1: bytes that the modem sends, command lines that it receives, unsolicited results that it prints,
datagrams that it sends (``out``) and that come for it (``in``).
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

__all__ = ["KINDS", "Fault", "FaultPlan", "UsageError"]


class UsageError(ValueError):
    """A wrong option; the text is one line for the user."""


# kind -> (what may trigger it, what its argument is, the argument's default)
KINDS: dict[str, tuple[frozenset[str], str, str]] = {
    "urc": (frozenset({"byte", "command", "urc"}), "text", "+CEREG: 2"),
    "dribble": (frozenset({"command", "urc", "byte"}), "seconds", "0.002"),
    "loss": (frozenset({"byte", "command", "urc"}), "count", "1"),
    "garbage": (frozenset({"byte", "command", "urc"}), "count", "8"),
    "late": (frozenset({"byte", "command", "urc"}), "seconds", "2"),
    "error": (frozenset({"command"}), "text", "ERROR"),
    "hang": (frozenset({"byte", "command", "urc"}), "seconds", "0"),
    "reboot": (frozenset({"byte", "command", "urc"}), "seconds", "0"),
    "mutereboot": (frozenset({"byte", "command", "urc"}), "seconds", "0"),
    "amnesia": (frozenset({"command"}), "seconds", "0"),
    "unplug": (frozenset({"byte", "command", "urc"}), "seconds", "0"),
    "sendfail": (frozenset({"command"}), "count", "1"),
    "pdpdeact": (frozenset({"byte", "command", "urc"}), "count", "1"),
    "drop": (frozenset({"out", "in"}), "count", "1"),
    "swap": (frozenset({"out", "in"}), "count", "1"),
    "postpone": (frozenset({"out", "in"}), "seconds", "1"),
    "twice": (frozenset({"out", "in"}), "count", "1"),
}

_ABOUT = {
    "urc": "insert an unsolicited result (its text; default +CEREG: 2)",
    "dribble": "send byte by byte with this gap (seconds; default 0.002) until the answer or URC ends",
    "loss": "swallow this many bytes (default 1), or the rest of the answer with 'all'",
    "garbage": "insert this many random bytes (default 8)",
    "late": "hold everything back this long (seconds; default 2)",
    "error": "answer this final result (default ERROR) without running the command",
    "hang": "neither answer nor listen for this long (seconds; default 0: for ever)",
    "reboot": "restart as by a watchdog, after this long (seconds; default 0: the model's boot time)",
    "mutereboot": "restart so, and all that the start prints by itself is lost on its way",
    "amnesia": "carry the command out as a modem that has restarted, unheard, in the pause before it",
    "unplug": "the port vanishes; it comes back under a new name after this long (seconds; default 0: never)",
    "sendfail": "this many following sends answer SEND FAIL (default 1)",
    "pdpdeact": "the network deactivates this PDP context (default 1)",
    "drop": "the network loses this many datagrams, from this one on (default 1)",
    "swap": "this many later datagrams overtake this one (default 1)",
    "postpone": "this datagram comes later by this long (seconds; default 1)",
    "twice": "this datagram comes this many more times (default 1)",
}


def describe() -> str:
    """Return the list of kinds for a help text."""
    return "\n".join(f"  {kind:<10} {_ABOUT[kind]}" for kind in KINDS)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: what, when, with what."""

    kind: str
    at: str
    n: int
    argument: str

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read the command line's form; raises :class:`UsageError`."""
        match = re.fullmatch(r"([a-z]+)@\(?(byte|command|urc|out|in) ?([0-9]{1,9})\)?(?::(.*))?", text, re.DOTALL)
        if not match:
            raise UsageError(
                f"fault {text!r}: expected KIND@(byte N|command N|urc N|out N|in N)[:argument], "
                "e.g. 'late@command 5:2.5'"
            )
        kind, at, n, argument = match[1], match[2], int(match[3]), match[4]
        if kind not in KINDS:
            raise UsageError(f"fault {text!r}: no kind {kind!r}; there are {', '.join(KINDS)}")
        where, type_, default = KINDS[kind]
        if at not in where:
            raise UsageError(f"fault {text!r}: {kind} can only be triggered by {' or '.join(sorted(where))}")
        if n < 1:
            raise UsageError(f"fault {text!r}: counting starts at 1")
        argument = default if argument is None else argument
        pattern = {"text": r".+", "seconds": r"[0-9]+(\.[0-9]+)?", "count": r"[0-9]{1,6}|all"}[type_]
        if not re.fullmatch(pattern, argument, re.DOTALL) or (argument == "all" and kind != "loss"):
            raise UsageError(
                f"fault {text!r}: the argument of {kind} is {'a text' if type_ == 'text' else type_}, not {argument!r}"
            )
        return cls(kind, at, n, argument)

    @property
    def seconds(self) -> float:
        """The argument as a time."""
        return float(self.argument)

    @property
    def count(self) -> int:
        """The argument as a number; ``all`` is -1."""
        return -1 if self.argument == "all" else int(self.argument)

    def __str__(self) -> str:
        """Return the command line's form."""
        return f"{self.kind}@{self.at} {self.n}:{self.argument}"


class FaultPlan:
    """The faults of one run, handed out once each, and the seeded source of their randomness."""

    def __init__(self, faults: list[Fault], seed: int) -> None:
        self._faults = list(faults)
        self.random = random.Random(seed)  # noqa: S311 - repeatable noise, not a secret

    def add(self, fault: Fault) -> None:
        """Plan another one."""
        self._faults.append(fault)

    def take(self, at: str, n: int) -> list[Fault]:
        """Return what is due at the ``n``-th byte, command or URC, in the order given."""
        if not self._faults:
            return []
        due = [fault for fault in self._faults if fault.at == at and fault.n == n]
        for fault in due:
            self._faults.remove(fault)
        return due

    def bytes_due(self) -> list[int]:
        """Return the byte positions that something waits for, sorted."""
        return sorted({fault.n for fault in self._faults if fault.at == "byte"})

    def garbage(self, count: int) -> bytes:
        """Return random bytes."""
        return self.random.randbytes(count)
