"""A quotation mark that is lost on the line, at modems to which a line end within quotes is text."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest

import modemtls
from modemtls import net
from modemtls.errors import ModemError
from modemtls.modem.attaching import attach
from modemtls.modem.settings import Settings
from modemtls.sim import embedded
from modemtls.tlsengine import Settings as EngineSettings
from tests.support.between import between
from tests.support.dtls import DtlsEcho

KEY = b"\xa7" * 16


def losing(command, lost):
    """Lose the first quotation mark of the first such command; ``lost`` gets the command."""

    def change(data):
        if not lost and command in data:
            lost.append(data)
            return data.replace(b'"', b"", 1)
        return data

    return change


def hasten(channel):
    """Have probes wait for a quarter of a second, for the simulated modem answers at once."""
    probes = tuple(replace(one, timeout=0.25) for one in channel.recovery.probes)
    channel.recovery = replace(channel.recovery, probes=probes)


def exchange(modem, port):
    sock = net.create_dtls_socket(modem, net.SslConfiguration(security=net.Psk(identity=b"dev", key=KEY)))
    try:
        sock.connect("good.example", str(port), timeout=30)
        sock.send(b"hi")
        return sock.receive(100)
    finally:
        sock.cleanup()


@pytest.mark.parametrize("model", ["nordic-sm", "nordic-slm"])
def test_a_lost_quotation_mark_costs_a_connection_and_not_the_modem(model):
    lost = []
    with (
        DtlsEcho(EngineSettings(server=True, datagram=True, psks={b"dev": KEY})) as server,
        embedded.open(model) as sim,
        between(sim.path) as line,
    ):
        line.to_modem = losing(b"CMNG=0", lost)
        with contextlib.closing(attach(line.path, Settings(apn="iot.example", timeout=60, radio_off=True))) as modem:
            hasten(modem.channel)
            with pytest.raises(ModemError):
                exchange(modem, server.port)
            assert lost
            assert exchange(modem, server.port) == b"hi"


@pytest.mark.parametrize("model", ["nordic-sm", "nordic-slm"])
def test_a_text_that_a_predecessor_left_open_keeps_nobody_from_opening_the_modem(model):
    with embedded.open(model) as sim, between(sim.path) as line:
        heard = []
        line.to_modem = lambda data: b'AT+COPS=1,2,"26201\r\n' + data if not heard and not heard.append(1) else data
        with modemtls.open(line.path, apn="iot.example", timeout=60) as modem:
            assert modem.info()
        with modemtls.open(line.path, apn="iot.example", timeout=60) as modem:
            assert modem.info()
