"""The modem layer over a simulated modem whose store wants its radio off, whose sockets have settings of their own."""

from __future__ import annotations

import contextlib
import socket

import pytest

from modemtls.errors import CredentialError
from modemtls.modem.attaching import attach
from modemtls.modem.settings import Settings, TlsSettings
from modemtls.modem.sockets import Opening
from modemtls.sim import embedded
from modemtls.tlsengine import Settings as EngineSettings
from tests.support.between import between
from tests.support.dtls import DtlsEcho
from tests.support.servers import free_port

PSK = {"psk": bytes(range(16)), "psk_identity": b"dev-01"}
PATIENCE = 5.0


@contextlib.contextmanager
def attached(*ports: int, model="nordic-sm", **settings):
    options = {"boot-time": "0.02", "registration-time": "0.02", "map": [f"good.example=127.0.0.1:{p}" for p in ports]}
    with embedded.open(model, options) as sim:
        modem = attach(sim.path, Settings(timeout=30, **settings))
        try:
            yield sim, modem
        finally:
            modem.close()


def keyed(names):
    return TlsSettings(
        version=273, suites=(), verify=False, check_hostname=False, sni=False, check_dates=False, dtls=True,
        dtls_timers=(1, 4, 7), **names,
    )  # fmt: skip


def exchange(modem, slot, data):
    """Send, and read what comes back."""
    modem.sockets.run(slot, "send", {"data": data, "size": len(data)})
    while True:
        assert modem.channel.wait(lambda: slot.readable, modem.now() + PATIENCE)
        mark = slot.mark()
        payload = modem.sockets.run(slot, "receive", {"size": 2048}).payload
        if payload:
            return payload
        slot.drained(mark)


def test_what_the_first_connection_needs_is_written_before_the_radio_goes_on():
    with (
        DtlsEcho(EngineSettings(server=True, datagram=True, psks={b"dev-01": PSK["psk"]})) as server,
        attached(server.port) as (sim, modem),
    ):
        with modem.credentials.hold() as holding:
            names = holding.ensure_all(PSK)
            modem.ensure_up()
            settings = keyed(names)
            modem.check("dtls", settings)
            slot = modem.open(Opening(family="dtls", host="good.example", port=5684, settings=settings))
        assert exchange(modem, slot, b"\x40\x01\x12\x34") == b"\x40\x01\x12\x34"
        assert server.heard == [b"\x40\x01\x12\x34"]
        written, on = (
            [i for i, line in enumerate(sim.commands) if line.startswith(start)] for start in ("AT%CMNG=0", "AT+CFUN=1")
        )
        assert max(written) < min(on)
        assert modem.credentials.list()[0].in_use
        with pytest.raises(CredentialError, match="radio_off=True"):
            modem.credentials.ensure_all({**PSK, "psk": b"another"})
        assert exchange(modem, slot, b"still here") == b"still here"


def test_ahead_of_any_connection_things_are_stored_and_the_radio_is_left_as_it_was():
    with attached() as (sim, modem):
        names = modem.provision(PSK)
        assert set(names) == {"psk", "bundle"}
        assert modem.provision(PSK) == names
        assert len([line for line in sim.commands if line.startswith("AT%CMNG=0")]) == 2, "once each"
        assert not [line for line in sim.commands if line.startswith(("AT+CFUN=", "AT+CPIN"))], "brought up no further"


def test_ahead_of_a_connection_the_consent_is_for_that_once():
    other, third = ({**PSK, "psk": key} for key in (b"another", b"a third"))
    with attached(free_port()) as (sim, modem):
        modem.provision(PSK)
        modem.ensure_up()
        modem.provision(PSK)  # is there
        with pytest.raises(CredentialError, match="radio_off=True"):
            modem.provision(other)
        before = len(sim.commands)
        assert modem.provision(other, radio_off=True)["psk"] != modem.provision(PSK)["psk"]
        changes = [line for line in sim.commands[before:] if line.startswith("AT+CFUN=")]
        assert changes == ["AT+CFUN=4", "AT+CFUN=1"]
        with pytest.raises(CredentialError, match="radio_off=True"):
            modem.provision(third)
        modem.ensure_up()
        slot = modem.open(Opening(family="udp", host="good.example", port=5684))
        with pytest.raises(CredentialError, match="1 connection of this program: close what is open first"):
            modem.provision(third, radio_off=True)
        modem.sockets.close(slot)


def test_later_it_takes_consent_and_no_open_socket_and_the_modem_is_up_again():
    with (
        DtlsEcho(EngineSettings(server=True, datagram=True, psks={b"dev-01": PSK["psk"]})) as server,
        attached(server.port, radio_off=True) as (sim, modem),
    ):
        modem.ensure_up()
        slot = modem.open(Opening(family="udp", host="good.example", port=7))
        with pytest.raises(CredentialError, match="1 connection of this program"):
            modem.credentials.ensure_all(PSK)
        modem.sockets.close(slot)
        before = len(sim.commands)
        settings = keyed(modem.credentials.ensure_all(PSK))
        modem.credentials.ensure_all(PSK)  # it is there
        said = [line for line in sim.commands[before:] if line.startswith(("AT+CFUN=", "AT%CMNG=0"))]
        assert [line[:9] for line in said] == ["AT+CFUN=4", "AT%CMNG=0", "AT%CMNG=0", "AT+CFUN=1"]
        slot = modem.open(Opening(family="dtls", host="good.example", port=5684, settings=settings))
        assert exchange(modem, slot, b"x") == b"x"
        assert modem.credentials.purge() == []  # in use
        modem.sockets.close(slot)
        assert modem.credentials.purge() == [settings.bundle]


@pytest.mark.parametrize("model", ["nordic-sm", "nordic-slm"])
def test_somebodys_key_under_the_number_is_not_taken_for_the_callers(model):
    """The simulated modem lists the digest of what it has, as the documents say; the identity is the right one."""
    with attached(model=model) as (sim, modem):
        names = modem.provision(PSK)
        tag = names["psk"]
        somebodys = {"name": tag, "kind": "psk", "data": b"\xee" * 16, "identity": b"dev-01", "size": 16}
        modem.runner.run("credential_write", somebodys)
        assert sim.files[f"{tag}/3"].lower() == b"ee" * 16
        modem.credentials.look_again()
        assert modem.provision(PSK) == names
        assert sim.files == {f"{tag}/3": PSK["psk"].hex().upper().encode(), f"{tag}/4": b"dev-01"}


def test_a_key_with_a_digit_changed_on_the_line_is_written_once_more():
    changed = []

    def change(data):
        if b",3," in data and data.startswith(b"AT%CMNG=0") and not changed:
            changed.append(data)
            return data.replace(b"0001", b"0002", 1)
        return data

    with embedded.open("nordic-sm", {"boot-time": "0.02"}) as sim, between(sim.path) as line:
        line.to_modem = change
        modem = attach(line.path, Settings(timeout=30))
        try:
            names = modem.provision(PSK)
        finally:
            modem.close()
        assert changed
        assert sim.files[f"{names['psk']}/3"].lower() == PSK["psk"].hex().encode()


def test_who_connects_to_a_socket_that_listens_is_heard():
    port = free_port()
    with attached() as (_, modem):
        modem.ensure_up()
        listener = modem.open(Opening(family="tcp", how="listen", local_port=port))
        assert modem.sockets.accept(listener) is None
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
            assert modem.channel.wait(lambda: listener.acceptable, modem.now() + PATIENCE)
            slot = modem.sockets.accept(listener)
            assert slot.remote == client.getsockname()
            client.settimeout(PATIENCE)
            modem.sockets.run(slot, "send", {"data": b"hi", "size": 2})
            assert client.recv(10) == b"hi"
            client.sendall(b"hello")
            assert exchange(modem, slot, b"!") == b"hello"
            modem.sockets.close(listener)
            modem.sockets.close(slot)
            assert client.recv(10) == b"!"
            assert client.recv(10) == b""
        assert modem.slots.slots() == []
