"""What this family's areas of commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.command import Args, Refusal
from modemtls.sim.personalities.common import area as common

if TYPE_CHECKING:
    from modemtls.sim.job import Job
    from modemtls.sim.personalities.ublox import Ublox  # noqa: F401 - named in the base class

__all__ = ["NOT_ALLOWED", "NOT_SUPPORTED", "Area"]

NOT_ALLOWED, NOT_SUPPORTED = 3, 4  # +CME ERROR


class Area(common.Area["Ublox"]):
    """A group of this family's commands."""

    def chosen_refusal(self, variant: str) -> Refusal:
        """Return the refusal that a variant chooses: a +CME ERROR number, or ``error``."""
        chosen = self.variants[variant]
        return Refusal("ERROR") if chosen == "error" else Refusal(cme=int(chosen))

    def bad(self, why: str = "") -> Refusal:
        """Return the refusal of a wrong value; which one the documents leave open."""
        if why:
            self.trace.note(f"refused: {why}")
        return self.chosen_refusal("bad-parameter")

    def not_allowed(self, why: str) -> Refusal:
        """Return the refusal of what cannot be done now, as for a socket that is not there."""
        self.trace.note(f"refused: {why}")
        return Refusal(cme=NOT_ALLOWED)

    def args(self, job: Job, least: int, most: int) -> Args:
        """Return the values of a command that has to have so many."""
        args = job.args(self.bad)
        args.count(least, most)
        return args
