"""CPU and rate of an AT round trip, beside a bare loop over pyserial against the same responder."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import serial

from bench.measure import compare
from bench.responder import responder
from bench.table import Figure
from modemtls.at.channel import Channel, Exchange
from modemtls.at.port import open_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUND_TRIPS = 200  # a sample: short, so that both of a pair see the same weather on a busy machine
PAIRS = 200


@contextmanager
def _bare(path: str) -> Iterator[Callable[[], None]]:
    """Write, read what is waiting until the final result: the least that a program over pyserial can do."""
    with serial.Serial(path, 115200, timeout=5) as port:

        def work() -> None:
            port.write(b"AT\r")
            answer = b""
            while not answer.endswith(b"OK\r\n"):
                answer += port.read(port.in_waiting or 1)

        yield work


@contextmanager
def _channel(path: str) -> Iterator[Callable[[], None]]:
    channel = Channel(open_port(path))
    exchange = Exchange(line=b"AT")

    def work() -> None:
        assert channel.exchange(exchange).ok

    try:
        channel.resynchronise()
        yield work
    finally:
        channel.close()


def figures() -> list[Figure]:
    """Measure in interleaved pairs; compare by the median of the pairs' ratios."""
    with ExitStack() as stack:
        bare = stack.enter_context(_bare(stack.enter_context(responder())))
        ours = stack.enter_context(_channel(stack.enter_context(responder())))
        found = compare(ours, bare, ROUND_TRIPS, PAIRS)
    return [
        Figure(
            "CPU per AT round trip",
            "at.channel",
            f"{found.ours.cpu * 1e6:.1f} µs",
            f"{found.bare.cpu * 1e6:.1f} µs",
            found.cpu,
            "≤ 1.5",
            met=found.cpu <= 1.5,
        ),
        Figure(
            "AT round trips/s",
            "at.channel",
            f"{1 / found.ours.wall:,.0f}",
            f"{1 / found.bare.wall:,.0f}",
            1 / found.wall,
            "≥ 0.9",
            met=1 / found.wall >= 0.9,
        ),
    ]
