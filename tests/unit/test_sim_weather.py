"""What the simulated network does to datagrams, both ways."""

from __future__ import annotations

import pytest

from modemtls.sim.clock import ManualClock
from modemtls.sim.faults import Fault, FaultPlan, UsageError
from modemtls.sim.loop import Loop
from modemtls.sim.trace import Trace
from modemtls.sim.weather import Weather


@pytest.fixture(name="carried")
def carried_fixture():
    """Carry datagrams named 1, 2, 3 …; returns those delivered, in order, at once and after the time given."""
    loops = []

    def run(
        *faults: str, way: str = "out", count: int = 5, loss: float = 0, seed: int = 0, wait: float = 0
    ) -> list[int]:
        loop = Loop(ManualClock())
        loops.append(loop)
        plan = FaultPlan([Fault.parse(text) for text in faults], seed)
        weather = Weather(loop, plan, Trace(loop.clock), loss)
        out: list[int] = []

        def delivering(n: int):
            def deliver() -> bool:
                out.append(n)
                return True

            return deliver

        for n in range(1, count + 1):
            assert weather.carry(way, delivering(n))
        loop.advance(wait)
        return out

    yield run
    for loop in loops:
        loop.close()


@pytest.mark.parametrize(
    ("faults", "delivered"),
    [
        ([], [1, 2, 3, 4, 5]),
        (["drop@out 2"], [1, 3, 4, 5]),
        (["drop@out 2:3"], [1, 5]),
        (["swap@out 2"], [1, 3, 2, 4, 5]),
        (["swap@out 1:2"], [2, 3, 1, 4, 5]),
        (["twice@out 3"], [1, 2, 3, 3, 4, 5]),
        (["postpone@out 2:0.5"], [1, 3, 4, 5]),
        (["drop@in 2"], [1, 2, 3, 4, 5]),  # the other way
    ],
)
def test_each_kind(carried, faults, delivered):
    assert carried(*faults) == delivered


def test_what_is_postponed_comes(carried):
    assert carried("postpone@in 2:0.5", way="in", wait=0.6) == [1, 3, 4, 5, 2]


def test_loss_is_by_the_seed(carried):
    some = carried(loss=25, count=400)
    assert 250 < len(some) < 350
    assert carried(loss=25, count=400) == some
    assert carried(loss=25, count=400, seed=1) != some


def test_kinds_know_what_may_trigger_them():
    for text in ("drop@command 1", "late@in 1", "swap@out 0"):
        with pytest.raises(UsageError):
            Fault.parse(text)
