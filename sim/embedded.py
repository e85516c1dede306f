"""A simulated modem in a thread of this process, on a real pseudo-terminal: what the ``sim:`` port name opens."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

import modemtls.tlsengine.openssl  # noqa: F401 - a missing engine shows here, not at the first TLS connection
from modemtls.sim.faults import Fault
from modemtls.sim.loop import Loop
from modemtls.sim.machine import Machine
from modemtls.sim.options import NameMap, Options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType

__all__ = ["EmbeddedModem", "open"]

T = TypeVar("T")
CALL_LIMIT = 10.0  # s for a call into the modem's thread


class EmbeddedModem:
    """A running modem. ``path`` is its port. Everything else is for tests: all of it is safe to use from any thread."""

    def __init__(self, model: str, options: Options) -> None:
        self._loop = Loop()
        try:
            self._machine = Machine(model, options, loop=self._loop)
        except BaseException:
            self._loop.close()
            raise
        self._closed = False
        self._thread = threading.Thread(target=self._loop.run, name=f"simulated {model}", daemon=True)
        self._thread.start()

    def __enter__(self) -> EmbeddedModem:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def path(self) -> str:
        """The pty to open; a new one after an unplug."""
        return self._machine.line.path

    def close(self) -> None:
        """Stop the modem; its port vanishes."""
        if self._closed:
            return
        self._closed = True
        self._loop.stop()
        self._thread.join(CALL_LIMIT)
        self._machine.close()
        self._loop.close()

    def call(self, function: Callable[[Machine], T]) -> T:
        """Run ``function`` in the modem's thread and return its result."""
        if self._closed:
            raise RuntimeError("the simulated modem is closed")
        done = threading.Event()
        result: list[T] = []
        error: list[BaseException] = []

        def run() -> None:
            try:
                result.append(function(self._machine))
            except BaseException as caught:
                error.append(caught)
            done.set()

        self._loop.call_threadsafe(run)
        if not done.wait(CALL_LIMIT):
            raise TimeoutError("the simulated modem does not answer")
        if error:
            raise error[0]
        return result[0]

    def until(self, condition: Callable[[Machine], bool], limit: float = CALL_LIMIT) -> None:
        """Wait until ``condition`` holds: it is looked at in the modem's thread, after whatever happens there.

        Raises :class:`TimeoutError` when it does not within ``limit`` seconds, and what ``condition`` raises.
        """
        done = threading.Event()
        error: list[BaseException] = []

        def look() -> None:
            try:
                if condition(self._machine):
                    done.set()
            except BaseException as caught:
                error.append(caught)
                done.set()

        self.call(lambda machine: machine.loop.observers.append(look))  # this round's end is the first look
        try:
            if not done.wait(limit):
                raise TimeoutError("what was waited for did not happen in the simulated modem")
        finally:
            self.call(lambda machine: machine.loop.observers.remove(look))
        if error:
            raise error[0]

    def map(self, text: str) -> None:
        """Add a mapping (``NAME=HOST:PORT`` or ``NAME:PORT=HOST:PORT``)."""
        entry = NameMap.parse(text)
        self.call(lambda machine: machine.network.map(entry))

    def fault(self, text: str) -> None:
        """Plan a fault (``KIND@(byte N|command N|urc N)[:argument]``); N counts from the modem's start."""
        fault = Fault.parse(text)
        self.call(lambda machine: machine.add_fault(fault))

    def fault_now(self, kind: str, argument: str = "") -> None:
        """Carry out a fault at once."""
        fault = Fault.parse(f"{kind}@command 1" + (f":{argument}" if argument else ""))
        self.call(lambda machine: machine.apply(fault))

    @property
    def files(self) -> dict[str, bytes]:
        """A copy of the file storage."""
        return self.call(lambda machine: machine.personality.snapshot())

    @property
    def trace(self) -> list[str]:
        """A copy of the trace so far."""
        return self.call(lambda machine: list(machine.trace.lines))

    @property
    def notes(self) -> list[str]:
        """What the modem thought: the trace's notes."""
        return self.call(lambda machine: machine.trace.notes)

    @property
    def commands(self) -> list[str]:
        """The command lines received so far, masked, without their line end."""
        return self.call(lambda machine: machine.trace.commands)

    def set_clock(self, utc: datetime) -> None:
        """Set the modem's RTC."""
        self.call(lambda machine: machine.personality.set_clock(utc))

    def restart(self) -> None:
        """Restart, as a watchdog does."""
        self.fault_now("reboot")

    def power_on(self) -> None:
        """Switch on after AT+QPOWD."""
        self.call(lambda machine: machine.power_on())


def open(model: str, options: Options | Mapping[str, str | Sequence[str]] | None = None) -> EmbeddedModem:  # noqa: A001 - as in webbrowser.open
    """Start a modem.

    ``options`` may be a port name's query: ``variant``, ``map``, ``fault`` may repeat, other names are variants.

    Raises :class:`modemtls.sim.faults.UsageError` (a ``ValueError``) with one line for a wrong model or option.
    """
    if options is None:
        options = Options()
    elif not isinstance(options, Options):
        options = Options.from_query(options)
    return EmbeddedModem(model, options)
