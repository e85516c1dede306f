"""The modems that can be simulated, by the names that the profiles use as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.faults import UsageError

if TYPE_CHECKING:
    from modemtls.sim.personalities.base import Personality

__all__ = ["DEFAULT_MODEL", "find", "models", "title"]

DEFAULT_MODEL = "quectel-bg95"
"""What is shown to whoever did not ask for a particular one."""


def _all() -> dict[str, type[Personality]]:
    from modemtls.sim.personalities.nordic import MODELS as NORDIC_MODELS
    from modemtls.sim.personalities.nordic import Nordic
    from modemtls.sim.personalities.quectel import MODELS, Quectel
    from modemtls.sim.personalities.ublox import MODELS as UBLOX_MODELS
    from modemtls.sim.personalities.ublox import Ublox

    return {
        **dict.fromkeys(MODELS, Quectel),
        **dict.fromkeys(UBLOX_MODELS, Ublox),
        **dict.fromkeys(NORDIC_MODELS, Nordic),
    }


def models() -> list[str]:
    """Return the names of all models, sorted."""
    return sorted(_all())


def title(model: str) -> str:
    """Return what people call ``model``; raises :class:`UsageError`."""
    return find(model).title(model)


def find(model: str) -> type[Personality]:
    """Return the personality of ``model``; raises :class:`UsageError`."""
    known = _all()
    if model not in known:
        raise UsageError(f"no simulated modem {model!r}; there are {', '.join(sorted(known))}")
    return known[model]
