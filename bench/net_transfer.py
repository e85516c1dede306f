"""Data through a socket of the strict contract, in 1,460-byte pieces, beside a bare loop over pyserial."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import serial

from bench.measure import compare
from bench.net_responder import PIECE, responder
from bench.table import Figure
from modemtls.at.channel import Channel
from modemtls.at.port import open_port
from modemtls.modem.attached import AttachedModem
from modemtls.modem.identify import Identity
from modemtls.modem.runner import Runner
from modemtls.modem.settings import Settings
from modemtls.net.streams import StreamSocket
from modemtls.profile import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modemtls.modem.slots import Slot
    from modemtls.modem.sockets import Opening

PIECES = 50
"""Sent and received in turns, each sample: short, so that both of a pair see the same weather on a busy machine."""

PAIRS = 150
RATES = {115_200: 2, 921_600: 8, 3_000_000: 20}
"""bit/s, and pieces each way: a fifth to half a second of line."""

PACED_PAIRS = 15
DATA = bytes(range(256)) * 6


@contextmanager
def _bare(path: str) -> Iterator[Callable[[], None]]:
    """Write, read what is waiting until it is all there: the least that a program over pyserial can do."""
    piece = DATA[:PIECE]
    with serial.Serial(path, 115200, timeout=5) as port:

        def work() -> None:
            port.write(b"AT+QSSLSEND=0,1460\r")
            answer = b""
            while not answer.endswith(b"> "):
                answer += port.read(port.in_waiting or 1)
            port.write(piece)
            answer = b""
            while not answer.endswith(b"OK\r\n"):
                answer += port.read(port.in_waiting or 1)
            port.write(b"AT+QSSLRECV=0,1500\r")
            answer = b""
            whole = size = 0
            while not whole or len(answer) < whole:
                answer += port.read(port.in_waiting or 1)
                if not whole and (end := answer.find(b"\r\n", 2)) > 0:
                    size = int(answer[13:end])
                    whole = end + 2 + size + 8
            assert len(answer[whole - 8 - size : whole - 8]) == PIECE

        yield work


class _Connected(AttachedModem):
    """A modem with a network and a connection: what it takes to get there is not what is measured."""

    capabilities = property(lambda self: self.runner.capabilities)

    def ensure_up(self, *, deadline: float | None = None) -> None:
        """Nothing is left to do."""

    def open(self, wanted: Opening, *, deadline: float | None = None) -> Slot:  # noqa: ARG002
        """Return a connection with data waiting: a TLS one, the commands are those."""
        slot = self.slots.reserve("tls", epoch=self.epoch)
        slot.state = "open"
        slot.note_data(None)
        return slot


@contextmanager
def _net(path: str) -> Iterator[Callable[[], None]]:
    channel = Channel(open_port(path))
    try:
        profile = load("quectel-bg95")
        channel.set_grammar(profile.grammar)
        channel.resynchronise()
        modem = _Connected("bench", channel, Runner(channel, profile), Settings(), Identity())
        piece = DATA[:PIECE]
        socket = StreamSocket(modem, None)
        socket.connect("server.example", "443")

        def work() -> None:
            socket.send(piece)
            assert len(socket.receive(PIECE)) == PIECE

        yield work
    finally:
        channel.close()


def _figures(rate: int, pieces: int, pairs: int) -> tuple[Figure, Figure]:
    with ExitStack() as stack:
        bare = stack.enter_context(_bare(stack.enter_context(responder(rate))))
        ours = stack.enter_context(_net(stack.enter_context(responder(rate))))
        found = compare(ours, bare, pieces, pairs)
    megabyte = 1e6 / (2 * PIECE)  # in pairs of pieces
    cpu = Figure(
        "CPU per MB, sent and received",
        "net",
        f"{found.ours.cpu * megabyte * 1e3:.1f} ms",
        f"{found.bare.cpu * megabyte * 1e3:.1f} ms",
        found.cpu,
        "≤ 1.5",
        met=found.cpu <= 1.5,
    )
    speed = Figure(
        f"payload rate at {rate:,} bit/s",
        "net",
        f"{2 * PIECE / found.ours.wall / 1e3:.2f} kB/s",
        f"{2 * PIECE / found.bare.wall / 1e3:.2f} kB/s",
        1 / found.wall,
        "≥ 0.97",
        met=1 / found.wall >= 0.97,
    )
    return cpu, speed


def figures() -> list[Figure]:
    """Measure: the CPU against a modem as fast as can be, the rate against lines as slow as they are."""
    fast, _ = _figures(0, PIECES, PAIRS)
    return [fast, *(_figures(rate, pieces, PACED_PAIRS)[1] for rate, pieces in RATES.items())]
