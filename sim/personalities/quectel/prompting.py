"""The data prompt of the sends (BG96 SSL manual V1.0, 2.1.3; BG96 TCP(IP) manual V1.1, 2.1.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.personalities.quectel.area import Area
from modemtls.sim.phases import CountedPhase, TextPhase

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.sim.job import Job

__all__ = ["Prompting"]

LATE_PROMPT = 1.0  # s, for the variant


class Prompting(Area):
    """An area that asks for data."""

    def prompt(self, job: Job, number: int, length: int | None, done: Callable[[bytes], None], *, echo: bool) -> None:
        """Ask for ``length`` bytes, or for text up to Ctrl-Z, and hand them to ``done``."""
        interpreter = self.machine.interpreter
        limit: float | None = self.variants.number("send-timeout") or None
        back = interpreter.send if echo and interpreter.settings.echo else None

        def finished(data: bytes) -> None:
            self.trace.received(data)
            interpreter.leave()
            done(data)

        def expired(_: bytes = b"") -> None:
            interpreter.leave()
            job.refuse(self.ip_error(571, f"id {number}: nothing typed for {limit:g} s at the prompt"))

        def cancelled() -> None:
            interpreter.leave()
            if self.variants["esc-result"] == "OK":
                job.ok()
            else:
                job.refuse(self.ip_error(571, "cancelled"))

        text = {"no-space": b"\r\n>", "crlf-after": b"\r\n>\r\n"}.get(self.variants["prompt"], b"\r\n> ")
        job.defer()
        if self.variants["prompt"] == "late":
            self.loop.call_later(LATE_PROMPT, lambda: interpreter.send(text) if interpreter.owns(job) else None)
        else:
            interpreter.send(text)
        if length is None:
            most = int(self.variants["send-max"])
            interpreter.enter(
                TextPhase(self.loop, most, finished, idle=limit, cancelled=cancelled, expired=expired, echo=back),
                data_mode=False,
            )
        else:
            interpreter.enter(
                CountedPhase(self.loop, length, finished, idle=limit, expired=expired, echo=back), data_mode=False
            )
