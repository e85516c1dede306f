"""The modems that can be simulated, by the names that the profiles use as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.faults import UsageError

if TYPE_CHECKING:
    from modemtls.sim.personalities.base import Personality

__all__ = ["find", "models"]


def _all() -> dict[str, type[Personality]]:
    from modemtls.sim.personalities.quectel import MODELS, Quectel

    return dict.fromkeys(MODELS, Quectel)


def models() -> list[str]:
    """Return the names of all models, sorted."""
    return sorted(_all())


def find(model: str) -> type[Personality]:
    """Return the personality of ``model``; raises :class:`UsageError`."""
    known = _all()
    if model not in known:
        raise UsageError(f"no simulated modem {model!r}; there are {', '.join(sorted(known))}")
    return known[model]
