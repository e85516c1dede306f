"""A modem in memory, its pump, and selectable sockets made of them."""

from __future__ import annotations

import select

import pytest

from modemtls.net import create_ssl_socket, create_tcp_socket
from modemtls.sockets.pump import Pump
from modemtls.sockets.stream import ModemSocket
from tests.support.fakemodem import FakeModem
from tests.support.offload import TLS


class Bench:
    """A modem, its pump, and sockets made of them."""

    def __init__(self, **options):
        self.modem = FakeModem(**options)
        self.pump = Pump(self.modem.now)
        self.sockets = []

    def socket(self, host="server.example", timeout=None, tls=True, **options):
        made = create_ssl_socket(self.modem, TLS, **options) if tls else create_tcp_socket(self.modem, **options)
        made.connect(host, "443")
        self.modem.commands.clear()
        sock = ModemSocket(made, self.pump, (host, 443), timeout=timeout)
        self.sockets.append(sock)
        return sock

    @property
    def peer(self):
        return self.modem.peer


@pytest.fixture(name="bench")
def bench_fixture():
    made = Bench()
    yield made
    made.modem.script = lambda op, slot, b: None
    for sock in made.sockets:
        sock.close()
    made.pump.drain(5)
    made.pump.close()


def readable(sock, timeout=0.0):
    return bool(select.select([sock], [], [], timeout)[0])


def writable(sock, timeout=0.0):
    return bool(select.select([], [sock], [], timeout)[1])
