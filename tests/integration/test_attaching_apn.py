"""The APN of the context that attaching brings up, on simulated modems: written while the radio is off."""

from __future__ import annotations

import os
import select

import pytest

from modemtls.errors import PdpError
from modemtls.modem.attaching import attach
from modemtls.modem.settings import Settings
from modemtls.sim import embedded
from tests.support.hasty import hasty

QUICK = {"boot-time": "0.02", "registration-time": "0.02", "apn": "iot.example"}
EACH = pytest.mark.parametrize("model", ["nordic-sm", "ublox-sara-r4"])


@pytest.fixture(scope="module")
def profiles(tmp_path_factory):
    return {model: hasty(model, tmp_path_factory.mktemp(model)) for model in ("nordic-sm", "ublox-sara-r4")}


def switch_off(sim):
    """As somebody else may have done: an attachment more would take a second of silences."""
    fd = os.open(sim.path, os.O_RDWR | os.O_NOCTTY)
    try:
        heard = b""
        while b"OK\r\n" not in heard:
            os.write(fd, b"AT+CFUN=4\r")  # one that is still starting does not hear it
            while select.select([fd], [], [], 0.1)[0]:
                heard += os.read(fd, 4096)
    finally:
        os.close(fd)


def up(sim, profile, **settings):
    with attach(sim.path, Settings(profile=profile, timeout=20, registration_timeout=5, **settings)) as modem:
        modem.ensure_up()
        return modem.runner.run("pdp_read", {"pdp": modem.profile.limits["pdp_contexts"][0]}).values["apn"]


def writing(sim, before=0):
    return [line for line in sim.commands[before:] if line.startswith(("AT+CGDCONT=", "AT+CFUN="))]


@EACH
def test_it_is_written_before_the_radio_goes_on(model, profiles):
    with embedded.open(model, QUICK) as sim:
        switch_off(sim)
        before = len(sim.commands)
        assert up(sim, profiles[model], apn="iot.example") == "iot.example"
        written, on = writing(sim, before)[:2]
        assert "iot.example" in written
        assert on == "AT+CFUN=1"


@EACH
def test_another_one_that_the_modem_has_attached_with_is_changed_with_consent_alone(model, profiles):
    with embedded.open(model, {**QUICK, "apn": ""}) as sim:
        switch_off(sim)
        up(sim, profiles[model], apn="theirs")
        before = len(sim.commands)
        with pytest.raises(PdpError, match="take_over=True"):
            up(sim, profiles[model], apn="ours")
        assert writing(sim, before) == []
        assert up(sim, profiles[model], apn="ours", take_over=True) == "ours"
        off, written, on = writing(sim, before)[:3]
        assert (off, on) == ("AT+CFUN=4", "AT+CFUN=1")
        assert "ours" in written
