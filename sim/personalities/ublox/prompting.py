"""The two prompts for counted bytes: ``>`` for imports, ``@`` for writes (UBX-17003787 R16, pages 215 and 216)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.personalities.ublox.area import Area
from modemtls.sim.phases import CountedPhase

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.sim.job import Job
    from modemtls.sim.loop import Loop
    from modemtls.sim.phases import Phase

__all__ = ["Prompting"]

GAP = 0.05  # s after a prompt before the host may send


class _Deaf:
    """A phase that hears nothing for a while: what comes then is lost."""

    def __init__(self, loop: Loop, until: float, phase: Phase, lost: Callable[[int], None]) -> None:
        self._loop, self._until, self._phase, self._lost = loop, until, phase, lost

    def feed(self, data: bytes) -> int:
        """Lose it, or hand it on."""
        if self._loop.now() < self._until:
            self._lost(len(data))
            return len(data)
        return self._phase.feed(data)

    def cancel(self) -> None:
        """Stop its clocks."""
        self._phase.cancel()


class Prompting(Area):
    """An area that asks for bytes."""

    def prompt(
        self,
        job: Job,
        text: bytes,
        length: int,
        done: Callable[[bytes], None],
        *,
        idle: float | None = None,
        expired: Callable[[], None] = lambda: None,
        echo: bool = False,
        secret: Callable[[bytes], bool] = lambda _: False,
    ) -> None:
        """Print the prompt and hand exactly ``length`` bytes to ``done``, or call ``expired`` after ``idle`` seconds.

        There is no way to break off. ``echo`` follows ATE. What is ``secret`` is not in the trace.
        """
        interpreter = self.machine.interpreter

        def finished(data: bytes) -> None:
            self.trace.received(data, redact=secret(data))
            interpreter.leave()
            done(data)

        def silent(data: bytes) -> None:
            self.trace.received(data, redact=secret(data))
            interpreter.leave()
            expired()

        back = self._echo if echo and interpreter.settings.echo else None
        phase: Phase = CountedPhase(self.loop, length, finished, idle=idle, expired=silent, echo=back)
        if self.variants["prompt-gap"] == "strict":
            phase = _Deaf(
                self.loop,
                self.loop.now() + GAP,
                phase,
                lambda count: self.trace.note(f"{count} bytes come within 50 ms of the prompt and are lost"),
            )
        job.defer()
        interpreter.send(text)
        interpreter.enter(phase, data_mode=False)

    def _echo(self, data: bytes) -> None:
        self.machine.outlet.send(data)
