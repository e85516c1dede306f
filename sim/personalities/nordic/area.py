"""What the areas of commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.command import Form, Refusal
from modemtls.sim.personalities.common import area as common

if TYPE_CHECKING:
    from modemtls.sim.command import Args
    from modemtls.sim.job import Job
    from modemtls.sim.personalities.nordic import Nordic  # noqa: F401 - named in the base class

__all__ = ["Area"]


class Area(common.Area["Nordic"]):
    """A group of this family's commands."""

    def refuse(self, why: str) -> Refusal:
        """Return the bare ERROR of the application's commands; only the trace learns the reason."""
        self.trace.note(f"error: {why}")
        return Refusal("ERROR")

    def args(self, job: Job, least: int, most: int) -> Args:
        """Return the values of a set command; anything else is an error."""
        if job.form is not Form.SET:
            raise self.refuse(f"{job.command.name} can only be set")
        args = job.args(lambda: Refusal("ERROR"))
        args.count(least, most)
        return args
