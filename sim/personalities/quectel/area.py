"""What the areas of commands share: the way to the module, and the two ways of refusing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.command import Args, Refusal
from modemtls.sim.personalities.common import area as common

if TYPE_CHECKING:
    from modemtls.sim.job import Job
    from modemtls.sim.personalities.quectel import Quectel  # noqa: F401 - named in the base class

__all__ = ["Area", "bad_parameter"]


def bad_parameter() -> Refusal:
    """Return the bare ERROR that the manuals give for a wrong parameter of a general command."""
    return Refusal()


class Area(common.Area["Quectel"]):
    """A group of this family's commands."""

    def ip_error(self, code: int, why: str = "") -> Refusal:
        """Return the IP/TLS commands' refusal: ERROR whatever CMEE says, the code kept for QIGETERROR."""
        self.module.last_error = code
        if why:
            self.trace.note(f"error {code}: {why}")
        return Refusal("ERROR")

    def ip_args(self, job: Job) -> Args:
        """Return the values of an IP/TLS command, and forget the error of the last one."""
        self.module.last_error = 0
        return job.args(lambda: self.ip_error(552))
