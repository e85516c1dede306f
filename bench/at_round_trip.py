"""CPU and rate of an AT round trip, beside a bare loop over pyserial against the same responder."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import serial

from bench.responder import responder
from bench.table import Figure
from modemtls.at.channel import Channel, Exchange
from modemtls.at.port import open_port

if TYPE_CHECKING:
    from collections.abc import Callable

ROUND_TRIPS = 500  # a sample: short, so that both of a pair see the same weather on a busy machine
PAIRS = 60


@dataclass(frozen=True, slots=True)
class Sample:
    """Microseconds of CPU and of time a round trip."""

    cpu: float
    wall: float


def _measure(work: Callable[[], None]) -> Sample:
    for _ in range(20):
        work()
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(ROUND_TRIPS):
        work()
    return Sample(
        (time.process_time() - cpu) / ROUND_TRIPS * 1e6,
        (time.perf_counter() - wall) / ROUND_TRIPS * 1e6,
    )


def _bare(path: str, command: bytes) -> Sample:
    """Write, read what is waiting until the final result: the least that a program over pyserial can do."""
    with serial.Serial(path, 115200, timeout=5) as port:

        def work() -> None:
            port.write(command)
            answer = b""
            while not answer.endswith(b"OK\r\n"):
                answer += port.read(port.in_waiting or 1)

        return _measure(work)


def _channel(path: str, command: bytes) -> Sample:
    channel = Channel(open_port(path))
    exchange = Exchange(line=command.rstrip(b"\r"))
    try:
        channel.resynchronise()
        return _measure(lambda: _check(channel.exchange(exchange).ok))
    finally:
        channel.close()


def _check(ok: bool) -> None:
    assert ok


def figures() -> list[Figure]:
    """Measure in interleaved pairs; compare by the median of the pairs' ratios."""
    pairs: list[tuple[Sample, Sample]] = []
    with responder() as path:
        for number in range(PAIRS):
            # In turn first: what runs first after a change finds colder caches.
            first = _channel(path, b"AT\r") if number % 2 else _bare(path, b"AT\r")
            second = _bare(path, b"AT\r") if number % 2 else _channel(path, b"AT\r")
            pairs.append((first, second) if number % 2 else (second, first))
    cpu = statistics.median(ours.cpu / bare.cpu for ours, bare in pairs)
    rate = statistics.median(bare.wall / ours.wall for ours, bare in pairs)
    cpus = [statistics.median(pair[which].cpu for pair in pairs) for which in (0, 1)]
    walls = [statistics.median(pair[which].wall for pair in pairs) for which in (0, 1)]
    return [
        Figure(
            "CPU per AT round trip",
            "at.channel",
            f"{cpus[0]:.1f} µs",
            f"{cpus[1]:.1f} µs",
            cpu,
            "≤ 1.5",
            met=cpu <= 1.5,
        ),
        Figure(
            "AT round trips/s",
            "at.channel",
            f"{1e6 / walls[0]:,.0f}",
            f"{1e6 / walls[1]:,.0f}",
            rate,
            "≥ 0.9",
            met=rate >= 0.9,
        ),
    ]
