"""A modem in memory, with time that moves only when told: for dialogue tests and for playing transcripts.

TCP and TLS connections are real sockets on loopback even here; :meth:`Harness.settle` gives them real time, and only as
much as they need.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from modemtls.sim.clock import ManualClock
from modemtls.sim.loop import Loop
from modemtls.sim.machine import Machine
from modemtls.sim.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime
    from types import TracebackType

    from modemtls.sim.line import LineEvents

__all__ = ["Harness", "MemoryLine"]


class MemoryLine:
    """A line whose other end is a buffer."""

    def __init__(self, loop: Loop, events: LineEvents) -> None:
        del loop, events
        self.path = "memory"
        self.users = 1
        self.backlog = 0
        self.baud = 0
        self.out = bytearray()
        self.plugged = True

    def write(self, data: bytes) -> None:
        """Collect."""
        if self.plugged:
            self.out += data

    def set_baud(self, baud: int) -> None:
        """Remember the rate."""
        self.baud = baud

    def host_baud(self) -> int:
        """Return the rate: a memory line never mismatches."""
        return self.baud

    def unplug(self) -> None:
        """Let nothing through."""
        self.plugged = False

    def replug(self) -> None:
        """Let it through again."""
        self.plugged = True

    def close(self) -> None:
        """Nothing to release."""


class Harness:
    """Drive a simulated modem step by step. Usable as a context manager.

    ``variants``, ``maps`` and ``faults`` are in the command line's form; ``files`` are in its storage, ``clock`` is
    what its RTC says.
    With ``boot`` the modem has started and its boot is over (URCs thrown away), registered unless a variant says
    otherwise.
    """

    def __init__(
        self,
        model: str = "quectel-bg95",
        *,
        variants: Iterable[str] = (),
        maps: Iterable[str] = (),
        faults: Iterable[str] = (),
        seed: int = 0,
        files: Mapping[str, bytes] | None = None,
        clock: datetime | str | None = None,
        boot: bool = True,
    ) -> None:
        self.loop = Loop(ManualClock())
        options = Options.build(variants=variants, maps=maps, faults=faults, seed=seed, files=files, clock=clock)
        self._line: MemoryLine
        self.machine = Machine(model, options, loop=self.loop, make_line=self._make_line)
        if boot:
            self.machine.opened()
            self.advance(5.0)
            self.read()

    def _make_line(self, loop: Loop, events: LineEvents) -> MemoryLine:
        self._line = MemoryLine(loop, events)
        return self._line

    def __enter__(self) -> Harness:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release sockets and descriptors."""
        self.machine.close()
        self.loop.close()

    def write(self, data: bytes) -> None:
        """Give the modem bytes of the host, all at once."""
        self.machine.received(data)
        self.loop.poll(0.0)

    def read(self) -> bytes:
        """Return and forget what the modem has sent."""
        data = bytes(self._line.out)
        self._line.out.clear()
        return data

    def advance(self, seconds: float) -> None:
        """Let the modem's time pass."""
        self.loop.advance(seconds)

    def settle(self, until: Callable[[bytes], bool], *, limit: float = 5.0, step: float = 0.001) -> bytes:
        """Give real sockets time until ``until`` likes what the modem has sent so far; returns (and forgets) it.

        The modem's clock moves by ``step`` seconds a turn. Raises :class:`TimeoutError` after ``limit`` real seconds.
        """
        end = time.monotonic() + limit
        while not until(bytes(self._line.out)):
            if time.monotonic() > end:
                raise TimeoutError(f"the modem only sent {bytes(self._line.out)!r}")
            if not self.loop.poll(0.001):
                self.loop.advance(step)
        return self.read()

    def expect(self, data: bytes, *, limit: float = 5.0) -> bytes:
        """Settle until ``data`` has been sent; returns everything up to then."""
        return self.settle(lambda out: data in out, limit=limit)

    def command(self, line: str, *, limit: float = 30.0) -> bytes:
        """Send a command line and return the answer, echo included; lets the modem's time pass until the line is done.

        ``limit`` is in the modem's seconds.
        """
        self.write(line.encode() + self.machine.personality.terminator)
        waited = 0.0
        while self.machine.interpreter.running and waited < limit:
            self.advance(0.01)
            waited += 0.01
            self.loop.poll(0.001 if waited > 0.5 else 0.0)
        return self.read()
