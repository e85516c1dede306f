"""A group of commands with the state that belongs to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from modemtls.sim.personalities.base import Personality

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.sim.loop import Timer

__all__ = ["Area", "Module"]

Module = TypeVar("Module", bound=Personality)


class Area(Generic[Module]):
    """A group of commands. ``reset`` runs at every boot, ``stop`` before every restart."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.machine = module.machine
        self.loop = module.machine.loop
        self.variants = module.machine.variants
        self.trace = module.machine.trace
        self._timers: list[Timer] = []

    def reset(self) -> None:
        """Set everything volatile to its default."""

    def lose_power(self) -> None:
        """Forget what a power cut erases and a restart does not."""

    def stop(self) -> None:
        """Stop timers, drop connections."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call back after ``delay`` seconds unless :meth:`stop` comes before."""
        self._timers = [timer for timer in self._timers if timer.callback is not None]
        timer = self.loop.call_later(delay, callback)
        self._timers.append(timer)
        return timer
