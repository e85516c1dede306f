"""Two pieces of work compared in interleaved pairs of short samples."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Comparison", "Sample", "compare"]

_WARM_UP = 20
"""Times that each is done before anything is measured."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Seconds of CPU (all threads of this process) and of time, each time it is done."""

    cpu: float
    wall: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Medians of both, and the medians of the pairs' ratios, ours over the bare one's."""

    ours: Sample
    bare: Sample
    cpu: float
    wall: float


def _measure(work: Callable[[], None], count: int) -> Sample:
    work()  # what the other one left in the caches is not this one's
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(count):
        work()
    return Sample((time.process_time() - cpu) / count, (time.perf_counter() - wall) / count)


def compare(ours: Callable[[], None], bare: Callable[[], None], count: int, pairs: int) -> Comparison:
    """Take ``pairs`` of samples of ``count`` each, in turn first."""
    for work in (ours, bare):
        for _ in range(min(_WARM_UP, count)):
            work()
    found: list[tuple[Sample, Sample]] = []
    for number in range(pairs):
        if number % 2:
            mine = _measure(ours, count)
            found.append((mine, _measure(bare, count)))
        else:
            other = _measure(bare, count)
            found.append((_measure(ours, count), other))
    middle = [
        Sample(
            statistics.median(pair[which].cpu for pair in found), statistics.median(pair[which].wall for pair in found)
        )
        for which in (0, 1)
    ]
    return Comparison(
        *middle,
        cpu=statistics.median(ours.cpu / bare.cpu for ours, bare in found),
        wall=statistics.median(ours.wall / bare.wall for ours, bare in found),
    )
