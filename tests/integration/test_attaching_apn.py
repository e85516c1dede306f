"""The APN of the context that attaching brings up, on simulated modems: written while the radio is off."""

from __future__ import annotations

import contextlib
import os
import select

import pytest

from modemtls.errors import ModemRestartedError, PdpError
from modemtls.modem.attaching import attach
from modemtls.modem.settings import Settings
from modemtls.net import create_tcp_socket
from modemtls.sim import embedded
from tests.support.hasty import hasty
from tests.support.servers import echo, tls_service

QUICK = {"boot-time": "0.02", "registration-time": "0.02", "apn": "iot.example"}
EACH = pytest.mark.parametrize("model", ["nordic-sm", "ublox-sara-r4"])


@pytest.fixture(scope="module")
def profiles(tmp_path_factory):
    return {model: hasty(model, tmp_path_factory.mktemp(model)) for model in ("nordic-sm", "ublox-sara-r4")}


def say(sim, line, awaited):
    """As another program, until the answer is there."""
    fd = os.open(sim.path, os.O_RDWR | os.O_NOCTTY)
    try:
        heard = b""
        while awaited not in heard:
            os.write(fd, line.encode() + b"\r")
            while select.select([fd], [], [], 0.1)[0]:
                heard += os.read(fd, 4096)
    finally:
        os.close(fd)


def switch_off(sim):
    """As somebody else may have done: an attachment more would take a second of silences."""
    say(sim, "AT+CFUN=4", b"OK\r\n")  # one that is still starting does not hear it


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


@EACH
def test_an_apn_that_nobody_chose_is_replaced_without_consent(model, profiles):
    with embedded.open(model, {**QUICK, "apn": ""}) as sim:
        up(sim, profiles[model])
        assert up(sim, profiles[model], apn="ours") == "ours"


def test_not_under_a_socket_of_somebody_else(profiles):
    model = "ublox-sara-r4"
    with embedded.open(model, {**QUICK, "apn": ""}) as sim:
        up(sim, profiles[model])
        say(sim, "AT+USOCR=6", b"+USOCR: 0")
        before = len(sim.commands)
        with pytest.raises(PdpError, match=r"active with the APN ''.*take_over=True"):
            up(sim, profiles[model], apn="ours")
        assert writing(sim, before) == []


def test_a_socket_of_the_drivers_own_counts(profiles):
    model = "ublox-sara-r4"
    with (
        embedded.open(model, {**QUICK, "apn": ""}) as sim,
        attach(sim.path, Settings(profile=profiles[model], timeout=20)) as modem,
        tls_service(None, echo) as port,
    ):
        modem.ensure_up()
        assert modem.sockets.none_open(None)
        connected = create_tcp_socket(modem)
        connected.connect("127.0.0.1", str(port), timeout=20)
        assert not modem.sockets.none_open(None)
        connected.cleanup()
        assert modem.sockets.none_open(None)


@pytest.mark.parametrize("kept", ["yes", "no"])
def test_after_a_restart_it_is_the_drivers_again_whether_the_modem_kept_it_or_not(kept, profiles):
    model = "ublox-sara-r4"
    with (
        embedded.open(model, {**QUICK, "apn": "", "cgdcont-kept": kept}) as sim,
        attach(sim.path, Settings(profile=profiles[model], timeout=20, apn="ours")) as modem,
        tls_service(None, echo) as port,
    ):
        for turn in range(2):
            before = len(sim.commands)
            connected = create_tcp_socket(modem)
            try:
                connected.connect("127.0.0.1", str(port), timeout=20)
            finally:
                connected.cleanup()
            written = [line for line in writing(sim, before) if line.startswith("AT+CGDCONT=")]
            assert bool(written) == (turn == 0 or kept == "no")
            sim.restart()
            sim.until(lambda machine: machine.running and machine.personality.registration.registered)
            with contextlib.suppress(ModemRestartedError):  # its answer tells
                modem.status()
