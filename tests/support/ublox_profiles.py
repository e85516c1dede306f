"""The profiles of the u-blox modules, each with a modem that awaits exactly the bytes of a dialogue."""

from __future__ import annotations

from functools import cache

import pytest

from modemtls.profile import load
from tests.support.quectel import ERROR, OK, PROBES, Modem, ask, line

__all__ = [
    "DTLS", "ERROR", "FIRMWARE", "OK", "OPEN", "R4", "R5", "TLS", "UNVERIFIED", "ask", "cme", "connect_fixture",
    "fitted", "line", "quick_fixture",
]  # fmt: skip

R4, R5 = "ublox-sara-r4", "ublox-sara-r5"
FIRMWARE = {R4: "L0.0.00.00.05.08", R5: "02.06"}
MODEL = {R4: "SARA-R410M-02B", R5: "SARA-R510M8S"}


def cme(number: int) -> bytes:
    return b"\r\n+CME ERROR: %d\r\n" % number


@cache
def fitted(name: str, model: str = "", firmware: str = ""):
    """The profile as it is for a module, by its own name where none is given."""
    return load(name).fitted(model=model or MODEL[name], firmware=firmware or FIRMWARE[name])


@pytest.fixture(scope="session", name="quick")
def quick_fixture(tmp_path_factory):
    """Give a profile without the silence between commands that the modules need: nobody needs it here."""
    folder = tmp_path_factory.mktemp("quick")

    @cache
    def written(name: str):
        path = folder / f"quick-{name}.yaml"
        faster = "variants: {r422: {set: {line: null}}}\n" if name == R4 else ""
        path.write_text(
            f"profile: 1\nname: quick-{name}\nextends: {name}\nline: {{after_result: 0s, after_urc: 0s}}\n{faster}"
        )
        return load(path)

    @cache
    def make(name: str, model: str = "", firmware: str = ""):
        return written(name).fitted(model=model or MODEL[name], firmware=firmware or FIRMWARE[name])

    return make


class UbloxModem(Modem):
    """What the module reports changes the flags, too."""

    probes = PROBES | {b"AT+CGMI": b"\r\nu-blox\r\n\r\nOK\r\n"}

    def _urc(self, urc):
        self.runner.observe(urc)
        super()._urc(urc)


@pytest.fixture(name="connect")
def connect_fixture():
    """Make a modem, known to be this one; at the end it must have heard all it awaited, and nothing else."""
    made = []

    def make(profile, *dialogue, model="", firmware="", **flags):
        modem = UbloxModem(profile, *dialogue)
        name = R4 if "r4" in profile.name else R5
        modem.runner._identity = {"model": model or MODEL[name], "firmware": firmware or FIRMWARE[name]}
        modem.runner._boot.update(flags)
        made.append(modem)
        return modem

    yield make
    for modem in made:
        modem.finish()


TLS = {
    "context": 2,
    "version": 3,
    "suites": ("0",),
    "ca": "ThawteCA",
    "cert": None,
    "key": None,
    "psk": None,
    "peer": None,
    "bundle": None,
    "verify": True,
    "client_auth": False,
    "sni": True,
    "sni_name": "www.example.org",
    "check_hostname": True,
    "expected_name": "www.example.org",
    "check_dates": False,
    "handshake_timeout": 60,
    "psk_identity": None,
    "psk_key": None,
    "dtls": False,
    "alpn": None,
    "resume": False,
    "cid": False,
}
UNVERIFIED = {
    "ca": None, "verify": False, "check_hostname": False, "expected_name": None, "sni": False, "sni_name": None,
}  # fmt: skip
DTLS = TLS | UNVERIFIED | {
    "context": 1,
    "dtls": True,
    "suites": ('100,"C0","A8",0',),
    "psk_key": bytes.fromhex("00112233445566778899AABBCCDDEEFF"),
    "psk_identity": b"device-17",
}  # fmt: skip
OPEN = {
    "pdp": 1, "socket": 5, "host": "www.example.org", "port": 443, "receive": "pull", "local_port": None,
}  # fmt: skip
