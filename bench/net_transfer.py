"""Data through ``net``, sent and received in 1,460-byte pieces, beside a bare loop over pyserial."""

from __future__ import annotations

import statistics
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import serial

from bench.net_responder import PIECE, responder
from bench.table import Figure
from modemtls.at.channel import Channel
from modemtls.at.port import open_port
from modemtls.modem.attached import AttachedModem
from modemtls.modem.identify import Identity
from modemtls.modem.runner import Runner
from modemtls.modem.settings import Settings
from modemtls.net.abilities import manners_of
from modemtls.net.link import Link
from modemtls.profile import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PIECES = 700
"""About a megabyte each way."""

PAIRS = 7
RATES = {115_200: 12, 921_600: 60, 3_000_000: 150}
"""bit/s, and pieces each way: one to two seconds of line."""

DATA = bytes(range(256)) * 6


@dataclass(frozen=True, slots=True)
class Sample:
    """Seconds of CPU and of time for all pieces."""

    cpu: float
    wall: float


Pair = tuple["Callable[[], None]", "Callable[[], None]"]


@contextmanager
def _bare(path: str) -> Iterator[Pair]:
    """Write, read what is waiting until it is all there: the least that a program over pyserial can do."""
    piece = DATA[:PIECE]
    with serial.Serial(path, 115200, timeout=5) as port:

        def send() -> None:
            port.write(b"AT+QSSLSEND=0,1460\r")
            answer = b""
            while not answer.endswith(b"> "):
                answer += port.read(port.in_waiting or 1)
            port.write(piece)
            answer = b""
            while not answer.endswith(b"OK\r\n"):
                answer += port.read(port.in_waiting or 1)

        def receive() -> None:
            port.write(b"AT+QSSLRECV=0,1500\r")
            answer = b""
            whole = 0
            while not whole or len(answer) < whole:
                answer += port.read(port.in_waiting or 1)
                if not whole and (end := answer.find(b"\r\n", 2)) > 0:
                    size = int(answer[13:end])
                    whole = end + 2 + size + 8
            assert len(answer[whole - 8 - size : whole - 8]) == PIECE

        yield send, receive


@contextmanager
def _net(path: str) -> Iterator[Pair]:
    channel = Channel(open_port(path))
    try:
        profile = load("quectel-bg95")
        channel.set_grammar(profile.grammar)
        runner = Runner(channel, profile)
        modem = AttachedModem("bench", channel, runner, Settings(), Identity())
        modem.slots.begin_epoch(channel.epoch, "bench")
        slot = modem.slots.reserve("tls", epoch=channel.epoch)
        slot.state = "open"
        slot.note_data(None)
        link = Link(modem, slot, manners_of(modem, "tls", "pull"))
        piece = memoryview(DATA)[:PIECE]

        def send() -> None:
            link.send(piece, None)

        def receive() -> None:
            assert len(link.receive(PIECE, None)) == PIECE

        yield send, receive
    finally:
        channel.close()


def _measure(pair: Pair, pieces: int) -> Sample:
    send, receive = pair
    for _ in range(min(20, pieces)):
        send()
        receive()
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(pieces):
        send()
        receive()
    return Sample(time.process_time() - cpu, time.perf_counter() - wall)


def _compare(rate: int, pieces: int, pairs: int) -> tuple[list[Sample], list[Sample]]:
    bare: list[Sample] = []
    ours: list[Sample] = []
    with responder(rate) as path:
        for _ in range(pairs):
            with _bare(path) as pair:
                bare.append(_measure(pair, pieces))
            with _net(path) as pair:
                ours.append(_measure(pair, pieces))
    return bare, ours


def figures() -> list[Figure]:
    """Measure in interleaved pairs and compare medians."""
    megabytes = 2 * PIECES * PIECE / 1e6
    bare, ours = _compare(0, PIECES, PAIRS)
    cpu = [statistics.median(one.cpu for one in samples) / megabytes * 1e3 for samples in (bare, ours)]
    found = [
        Figure(
            "CPU per MB, sent and received",
            "net",
            f"{cpu[1]:.1f} ms",
            f"{cpu[0]:.1f} ms",
            cpu[1] / cpu[0],
            "≤ 1.5",
            met=cpu[1] / cpu[0] <= 1.5,
        )
    ]
    for rate, pieces in RATES.items():
        bare, ours = _compare(rate, pieces, 3)
        speed = [2 * pieces * PIECE / statistics.median(one.wall for one in samples) / 1e3 for samples in (bare, ours)]
        found.append(
            Figure(
                f"payload rate at {rate:,} bit/s",
                "net",
                f"{speed[1]:.2f} kB/s",
                f"{speed[0]:.2f} kB/s",
                speed[1] / speed[0],
                "≥ 0.97",
                met=speed[1] / speed[0] >= 0.97,
            )
        )
    return found
