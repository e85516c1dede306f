"""Tells what a profile's own program would refuse before it says anything to the modem, by running it without one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from modemtls.errors import ConfigurationError
from modemtls.profile import model as m
from modemtls.profile.operations import INPUT_NEEDS
from modemtls.profile.reach import OnPaper

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["refusal", "wanting"]

#: Inputs that a program may refuse, those first that are seldom asked for.
_ASKED: Final = (
    "peer", "psk_key", "psk", "cid", "resume", "alpn", "client_auth", "check_dates", "check_hostname", "sni", "suites",
)  # fmt: skip


class _Refused(Exception):  # noqa: N818 - control flow between steps
    def __init__(self, step: m.FailStep) -> None:
        super().__init__(step.text)
        self.step = step


class _Spoken(Exception):  # noqa: N818 - likewise
    """The modem would have been told something."""


class _Silent(OnPaper):
    """A run that ends with the first word."""

    def step(self, step: m.Step) -> None:
        if isinstance(step, m.FailStep):
            raise _Refused(step)
        if isinstance(step, m.SendStep | m.AwaitStep | m.FirstStep):
            raise _Spoken
        super().step(step)


def refusal(program: m.Program, bindings: Mapping[str, Any], flags: Callable[[str], object]) -> m.FailStep | None:
    """Return the step with which a program fails before anything is sent, if it does."""
    try:
        _Silent(bindings, flags, 0).run(program)
    except _Refused as refused:
        return refused.step
    except (_Spoken, ConfigurationError):
        pass
    return None


def wanting(program: m.Program, bindings: Mapping[str, Any], flags: Callable[[str], object]) -> str:
    """Name the capability that a program refuses ``bindings`` for the want of: what it goes on without."""
    for name in _ASKED:
        if not bindings.get(name):
            continue
        off: object = False if isinstance(bindings[name], bool) else () if name == "suites" else None
        if refusal(program, {**bindings, name: off}, flags) is None:
            return INPUT_NEEDS.get(name, name)
    return "dtls" if bindings.get("dtls") else "tls"
