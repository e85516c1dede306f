"""The family's own ways with a command line: what comes too soon, too early, or while it sleeps.

UBX-20009652 R02, 3.1 (20 ms after a final result or a URC); ubxlib (100 ms on R41x); UBX-19041356 (+UPSV).
"""

from __future__ import annotations

from modemtls.sim.interpreter import Interpreter

__all__ = ["ListeningInterpreter"]

FRAME = 0.00461538  # s, the 2G frame that +UPSV counts in


class ListeningInterpreter(Interpreter):
    """Hears less than everything, where it is told so. ``gap`` is in seconds; 0 hears whatever comes.

    ``sleeps_after``: seconds without a byte after which the first character only wakes it; 0 never sleeps.
    ``keeps_typed``: what is typed while a command runs waits for its end.
    """

    gap = 0.0
    sleeps_after = 0.0
    keeps_typed = True
    colon_space = True
    _spoke = float("-inf")
    _heard = float("-inf")
    _deaf = False

    def receive(self, data: bytes) -> None:
        """Take what is heard."""
        now = self.loop.now()
        quiet, self._heard = now - max(self._heard, self._spoke), now
        if self.sleeps_after and not self.busy and quiet >= self.sleeps_after:
            self._hooks.refused("wake-up", f"{data[:1]!r} is lost")
            data = data[1:]
        if self._phase is None and self.running and not self.keeps_typed:
            self._hooks.refused("typed ahead", f"{len(data)} bytes are lost")
            return
        if self.gap and self._phase is None and not self.running:
            data = self._audible(data, now)
        super().receive(data)

    def _audible(self, data: bytes, now: float) -> bytes:
        """Leave out a command that begins too soon, up to its end."""
        if not data:
            return data
        if not self._deaf and not self._line and now - self._spoke < self.gap:
            self._deaf = True
            self._hooks.refused("gap", f"a command {now - self._spoke:.3f} s after the last output is lost")
        if not self._deaf:
            return data
        end = data.find(self._cr)
        if end < 0:
            return b""
        self._deaf = False
        return self._audible(data[end + 1 :].removeprefix(b"\n"), now)

    def information(self, text: str, *, first: bool) -> bytes:
        """Leave the blank behind the colon out where the variant says so."""
        if not self.colon_space and text.startswith("+"):
            text = text.replace(": ", ":", 1)
        return super().information(text, first=first)

    def result(self, text: str) -> bytes:
        """Remember when it was printed."""
        self._spoke = self.loop.now()
        return super().result(text)

    def urc(self, data: bytes) -> None:
        """Remember when it was printed."""
        self._spoke = self.loop.now()
        super().urc(data)

    def reset(self) -> None:
        """Awake and listening."""
        super().reset()
        self._spoke = self._heard = float("-inf")
        self._deaf = False
