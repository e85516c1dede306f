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

ROUND_TRIPS = 3000
PAIRS = 9


@dataclass(frozen=True, slots=True)
class Sample:
    """Microseconds of CPU and of time a round trip."""

    cpu: float
    wall: float


def _measure(work: Callable[[], None]) -> Sample:
    for _ in range(200):
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
        return _measure(lambda: _check(channel.exchange(exchange).ok))
    finally:
        channel.close()


def _check(ok: bool) -> None:
    assert ok


def figures() -> list[Figure]:
    """Measure in interleaved pairs and compare medians."""
    bare: list[Sample] = []
    ours: list[Sample] = []
    with responder() as path:
        for _ in range(PAIRS):
            bare.append(_bare(path, b"AT\r"))
            ours.append(_channel(path, b"AT\r"))
    cpu = [statistics.median(one.cpu for one in samples) for samples in (bare, ours)]
    wall = [statistics.median(one.wall for one in samples) for samples in (bare, ours)]
    return [
        Figure(
            "CPU per AT round trip",
            "at.channel",
            f"{cpu[1]:.1f} µs",
            f"{cpu[0]:.1f} µs",
            cpu[1] / cpu[0],
            "≤ 1.5",
            met=cpu[1] / cpu[0] <= 1.5,
        ),
        Figure(
            "AT round trips/s",
            "at.channel",
            f"{1e6 / wall[1]:,.0f}",
            f"{1e6 / wall[0]:,.0f}",
            wall[0] / wall[1],
            "≥ 0.9",
            met=wall[0] / wall[1] >= 0.9,
        ),
    ]
