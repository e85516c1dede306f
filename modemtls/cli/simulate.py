"""``modemtls sim``: a simulated modem on a pseudo terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modemtls.cli.settings import Settings

__all__ = ["more_help", "run"]


def run(settings: Settings) -> int:
    """``modemtls sim MODEL``: hand what was asked for to the simulator's own front door."""
    from modemtls.sim.run import main

    arguments: list[str] = []
    for item in settings.command.arguments:
        value = settings.get(item.dest)
        values = value if isinstance(value, list) else [] if value is None else [value]
        for one in values:
            arguments += [str(one)] if item.positional else [f"{item.flags[0]}={one}"]
    return main(arguments)


def more_help() -> str:
    """Return the models, faults and variants that the simulator knows."""
    from modemtls.sim.personalities import models
    from modemtls.sim.run import parser

    return f"models: {', '.join(models())}\n\n{parser().epilog}\n"
