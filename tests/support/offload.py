"""Sockets of the contract over a modem in memory."""

from __future__ import annotations

import pytest

from modemtls.net import Certificates, SslConfiguration, Stored, create_ssl_socket, create_tcp_socket
from tests.support.fakemodem import FakeModem

TLS = SslConfiguration(security=Certificates(trusted=Stored("ca.pem")))


@pytest.fixture(name="modem")
def modem_fixture():
    return FakeModem()


def connected(modem, configuration=TLS, **options):
    sock = create_ssl_socket(modem, configuration, **options) if configuration else create_tcp_socket(modem, **options)
    sock.connect("server.example", "443")
    modem.commands.clear()
    return sock
