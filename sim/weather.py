"""What becomes of datagrams between the modem and its peers: lost, late, overtaken, doubled, on demand."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.sim.faults import FaultPlan
    from modemtls.sim.loop import Loop
    from modemtls.sim.trace import Trace

__all__ = ["Weather"]


class Weather:
    """Carries datagrams of two ways, ``out`` and ``in``, each counted from 1; ``loss`` is in per cent, by the seed."""

    def __init__(self, loop: Loop, plan: FaultPlan, trace: Trace, loss: float) -> None:
        self._loop, self._plan, self._trace, self._loss = loop, plan, trace, loss
        self._count = {"out": 0, "in": 0}
        self._losing = {"out": 0, "in": 0}
        self._overtaken: dict[str, list[tuple[int, Callable[[], bool]]]] = {"out": [], "in": []}

    def carried(self, way: str) -> int:
        """Return how many datagrams have gone ``out``, or come ``in``."""
        return self._count[way]

    def carry(self, way: str, deliver: Callable[[], bool]) -> bool:
        """Deliver a datagram once, never, later or often; returns what ``deliver`` says, true if it is not called."""
        self._count[way] += 1
        n = self._count[way]
        copies, kept = 1, False
        for fault in self._plan.take(way, n):
            self._trace.note(f"fault: {fault}")
            match fault.kind:
                case "drop":
                    self._losing[way] = max(self._losing[way], fault.count)
                case "twice":
                    copies += fault.count
                case "postpone":
                    kept = True
                    self._loop.call_later(fault.seconds, partial(_drop, deliver))
                case "swap":
                    kept = True
                    self._overtaken[way].append((n + fault.count, deliver))
        if self._losing[way]:
            self._losing[way] -= 1
            copies = 0
        elif self._loss and self._plan.random.random() * 100 < self._loss:
            self._trace.note(f"datagram {way} {n} is lost")
            copies = 0
        taken = True
        for _ in range(0 if kept else copies):
            taken = deliver()
        self._let_go(way, n)
        return taken

    def _let_go(self, way: str, n: int) -> None:
        due = [deliver for until, deliver in self._overtaken[way] if until <= n]
        self._overtaken[way] = [item for item in self._overtaken[way] if item[0] > n]
        for deliver in due:
            deliver()


def _drop(deliver: Callable[[], bool]) -> None:
    """Deliver what nobody waits for any more."""
    deliver()
