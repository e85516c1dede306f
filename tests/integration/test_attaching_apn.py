"""The APN of the context that attaching brings up, on simulated modems: written while the radio is off."""

from __future__ import annotations

import pytest

from modemtls.errors import PdpError
from modemtls.modem.attaching import attach
from modemtls.modem.settings import Settings
from modemtls.sim import embedded

QUICK = {"boot-time": "0.02", "registration-time": "0.02", "apn": "iot.example"}
EACH = pytest.mark.parametrize("model", ["nordic-sm", "ublox-sara-r4"])


def switched(sim, on):
    with attach(sim.path, Settings(timeout=20)) as modem:
        modem.ensure_ready()
        modem.runner.run("radio_on" if on else "radio_off")


def up(sim, **settings):
    with attach(sim.path, Settings(timeout=20, registration_timeout=5, **settings)) as modem:
        modem.ensure_up()
        return modem.runner.run("pdp_read", {"pdp": modem.profile.limits["pdp_contexts"][0]}).values["apn"]


def writing(sim, before=0):
    return [line for line in sim.commands[before:] if line.startswith(("AT+CGDCONT=", "AT+CFUN="))]


@EACH
def test_it_is_written_before_the_radio_goes_on(model):
    with embedded.open(model, QUICK) as sim:
        switched(sim, False)
        before = len(sim.commands)
        assert up(sim, apn="iot.example") == "iot.example"
        written, on = writing(sim, before)[:2]
        assert "iot.example" in written
        assert on == "AT+CFUN=1"


@EACH
def test_another_one_that_the_modem_has_attached_with_is_changed_with_consent_alone(model):
    with embedded.open(model, {**QUICK, "apn": ""}) as sim:
        switched(sim, False)
        up(sim, apn="theirs")
        before = len(sim.commands)
        with pytest.raises(PdpError, match="take_over=True"):
            up(sim, apn="ours")
        assert writing(sim, before) == []
        assert up(sim, apn="ours", take_over=True) == "ours"
        off, written, on = writing(sim, before)[:3]
        assert (off, on) == ("AT+CFUN=4", "AT+CFUN=1")
        assert "ours" in written
