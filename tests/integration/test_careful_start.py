"""Modems that lose a command that comes too soon are asked who they are without losing any."""

from __future__ import annotations

import pytest

from modemtls.modem.attaching import attach
from modemtls.modem.settings import Settings
from modemtls.sim import embedded


@pytest.mark.parametrize("model", ["ublox-sara-r4", "ublox-sara-r5"])
def test_no_command_comes_too_soon(model):
    with (
        embedded.open(model, {"boot-time": "0.02", "gap": "strict"}) as sim,
        attach(sim.path, Settings(timeout=20)) as modem,
    ):
        assert modem.profile.name == model
        told = {"ublox-sara-r4": "L0.0.00.00.05.06", "ublox-sara-r5": "02.06"}
        assert modem.runner.flag("firmware") == told[model]
        modem.ensure_ready()
        assert len(sim.commands) == len(set(sim.commands)), "each once"
