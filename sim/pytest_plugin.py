"""pytest fixtures: simulated modems that end with the test.

``simulated_modem(model="quectel-bg95", **options)`` starts one in a thread, ``simulated_modem_process(model,
*arguments)`` one in a
process of its own (for anything timed). Both are functions and may be called several times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modemtls.sim.embedded import EmbeddedModem
    from modemtls.sim.process import ModemProcess

__all__ = ["simulated_modem", "simulated_modem_process"]


class StartModem(Protocol):
    """Start a modem in a thread; the options are those of :meth:`modemtls.sim.options.Options.build`."""

    def __call__(self, model: str = "quectel-bg95", **options: Any) -> EmbeddedModem:
        """Start it."""


class StartProcess(Protocol):
    """Start a modem in a process; the arguments are those of ``modemtls sim``."""

    def __call__(self, model: str = "quectel-bg95", *arguments: str) -> ModemProcess:
        """Start it."""


@pytest.fixture
def simulated_modem() -> Iterator[StartModem]:
    """Return a function that starts a simulated modem; its ``path`` is the port to open."""
    from modemtls.sim import embedded
    from modemtls.sim.options import Options

    running: list[EmbeddedModem] = []

    def start(model: str = "quectel-bg95", **options: Any) -> EmbeddedModem:
        modem = embedded.open(model, Options.build(**options))
        running.append(modem)
        return modem

    yield start
    for modem in running:
        modem.close()


@pytest.fixture
def simulated_modem_process() -> Iterator[StartProcess]:
    """Return a function that starts a simulated modem in a process of its own."""
    from modemtls.sim.process import ModemProcess

    running: list[ModemProcess] = []

    def start(model: str = "quectel-bg95", *arguments: str) -> ModemProcess:
        modem = ModemProcess(model, *arguments)
        running.append(modem)
        return modem

    yield start
    for modem in running:
        modem.close()
