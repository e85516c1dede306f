"""The profiles of the Nordic applications, each with a modem that awaits exactly the bytes of a dialogue."""

from __future__ import annotations

from functools import cache

import pytest

from modemtls.profile import load as load_afresh
from tests.support.quectel import ERROR, OK, Modem, line

__all__ = ["ERROR", "MODELS", "OK", "OPEN", "TAG", "TLS", "ask", "connect_fixture", "line", "load"]

MODELS = ("nordic-slm", "nordic-sm")
TAG = "1000000007"
load = cache(load_afresh)

PROBES = {
    b"AT#XSMVER": b'\r\n#XSMVER: "1.99.0","3.0.0"\r\n\r\nOK\r\n',
    b"AT#XSLMVER": b'\r\n#XSLMVER: "2.9.0","2.7.3"\r\n\r\nOK\r\n',
    b"AT+CMEE?": b"\r\n+CMEE: 1\r\n\r\nOK\r\n",
    b"AT+CFUN?": b"\r\n+CFUN: 0\r\n\r\nOK\r\n",
}


class NordicModem(Modem):
    """As the other profiles' modem, with probes of its own."""

    probes = PROBES


@pytest.fixture(name="connect")
def connect_fixture():
    """Make a modem of a profile, with flags as after probing; it must hear all it awaited, and nothing else."""
    made = []

    def make(name, *dialogue, **flags):
        modem = NordicModem(load(name), *dialogue)
        modem.runner._boot.update(flags)  # as probing would have
        made.append(modem)
        return modem

    yield make
    for modem in made:
        modem.finish()


def ask(text: str, answer: bytes = OK, *, slm: bool = False) -> tuple[bytes, bytes]:
    """Return a command as the application wants it ended, and what is answered."""
    return text.encode() + (b"\r\n" if slm else b"\r"), answer


TLS = {
    "suites": (),
    "ca": TAG,
    "cert": None,
    "key": None,
    "psk": None,
    "peer": None,
    "bundle": TAG,
    "verify": True,
    "client_auth": False,
    "sni": True,
    "sni_name": "good.example",
    "check_hostname": True,
    "expected_name": "good.example",
    "check_dates": False,
    "handshake_timeout": 60,
    "resume": False,
    "cid": False,
    "purge": False,
}
OPEN = {"pdp": 0, "socket": 5, "host": "192.0.2.10", "port": 8883, "receive": "pull"}
