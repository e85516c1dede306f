"""Storing in a modem what connections will need, ahead of them, by the public face."""

from __future__ import annotations

import pytest

import modemtls
from modemtls import net
from modemtls.sim import embedded
from modemtls.tlsengine import Settings
from tests.support.dtls import DtlsEcho

KEY = b"0123456789abcdef"
TLS = modemtls.TLSConfig(psk=modemtls.Psk(b"gateway", KEY))


@pytest.fixture
def nordic():
    """A modem that takes keys only while its radio is off."""
    with embedded.open("nordic-sm", {}) as sim:
        yield sim


def talk(modem: modemtls.Modem, port: int, tls: modemtls.TLSConfig = TLS) -> bytes:
    with net.create_dtls_socket(modem, tls.configuration()) as sock:
        sock.connect("server.example", str(port), timeout=20)
        sock.send(b"hello")
        return sock.receive(100)


def written(sim) -> int:
    return sum(line.startswith("AT%CMNG=0") for line in sim.commands)


def test_a_modem_whose_radio_is_on_takes_it_with_consent(nordic):
    other = modemtls.TLSConfig(psk=modemtls.Psk(b"gateway", b"another key"))
    server = Settings(server=True, datagram=True, psks={b"gateway": KEY})
    with DtlsEcho(server) as echo, modemtls.open(nordic.path, apn="iot.example") as modem:
        names = modem.provision(TLS, dtls=True)
        assert names["psk"]
        assert not [line for line in nordic.commands if line.startswith("AT+CFUN=")], "nothing is brought up"
        before = written(nordic)
        assert talk(modem, echo.port) == b"hello"
        assert written(nordic) == before
        assert modem.provision(TLS, dtls=True) == names
        with pytest.raises(modemtls.CredentialError, match="radio_off=True"):
            modem.provision(other, dtls=True)
        assert modem.provision(other, dtls=True, radio_off=True)["psk"] != names["psk"]
        assert talk(modem, echo.port) == b"hello"


def test_consent_given_when_it_is_opened_is_for_connections_too(nordic):
    server = Settings(server=True, datagram=True, psks={b"gateway": KEY})
    with DtlsEcho(server) as echo:
        for consent in (False, True):
            with modemtls.open(nordic.path, apn="iot.example", radio_off=consent) as modem:
                modem.bring_up()
                if not consent:
                    with pytest.raises(modemtls.CredentialError, match="radio_off=True"):
                        talk(modem, echo.port)
                    continue
                assert talk(modem, echo.port) == b"hello"


def test_what_the_modem_does_not_keep_and_cannot_do(pki):
    with modemtls.open("sim:ublox-sara-r5?boot-time=0.02") as modem:
        assert set(modem.provision(modemtls.TLSConfig(ca=pki.ca))) == {"ca"}
        assert modem.provision(modemtls.TLSConfig(verify=False)) == {}
        for wrong in ({"tls": True}, {"tls": None}, {"tls": TLS, "dtls": 1}, {"tls": TLS, "radio_off": "yes"}):
            with pytest.raises(modemtls.ConfigurationError):
                modem.provision(**wrong)
        with pytest.raises(modemtls.CredentialError, match="does not hold a certificate"):
            modem.provision(modemtls.TLSConfig(ca=b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
        with pytest.raises(modemtls.NotSupportedError, match=r"system.trust"):
            modem.provision(modemtls.TLSConfig(system_trust=True))
