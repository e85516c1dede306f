"""AT+QSSLCFG: lists, read-back, traps."""

from __future__ import annotations

import pytest

from modemtls.sim.harness import Harness
from modemtls.tlsengine import Verify, Version

OK = b"\r\nOK\r\n"
ERROR = b"\r\nERROR\r\n"


@pytest.fixture
def modem():
    with Harness("quectel-bg95") as made:
        made.command("ATE0")
        yield made


def keys(model: str, firmware: str) -> list[str]:
    with Harness(model, variants=[f"firmware={firmware}"]) as modem:
        modem.command("ATE0")
        lines = modem.command("AT+QSSLCFG=?").decode().split("\r\n")
    return [line.split('"')[1] for line in lines if line.startswith("+QSSLCFG: ")]


def test_bg95_list_has_its_stray_blank(modem):
    assert b"0XC005, 0XC007" in modem.command("AT+QSSLCFG=?")


def test_keys_differ_by_model_and_firmware():
    assert keys("quectel-bg96", "V1.0") == [
        "sslversion",
        "ciphersuite",
        "cacert",
        "clientcert",
        "clientkey",
        "seclevel",
        "ignorelocaltime",
        "negotiatetime",
    ]
    assert {"sni", "checkhost", "ignorecertchain"} <= set(keys("quectel-bg96", "BG96MAR02A07M1G"))
    assert keys("quectel-bg95", "BG95M3LAR02A03_01.011")[6:] == [
        "session",
        "sni",
        "checkhost",
        "ignorelocaltime",
        "negotiatetime",
        "dtls",
        "dtlsversion",
    ]


def test_a_key_that_the_firmware_lacks_is_an_error():
    with Harness("quectel-bg96", variants=["firmware=V1.0"]) as modem:
        modem.command("ATE0")
        assert modem.command('AT+QSSLCFG="sni",1,1') == ERROR
        assert b"552" in modem.command("AT+QIGETERROR")


def test_two_values_read_and_set_nothing(modem):
    assert modem.command('AT+QSSLCFG="ignorelocaltime",1') == b'\r\n+QSSLCFG: "ignorelocaltime",1,1\r\n\r\nOK\r\n'
    assert modem.command('AT+QSSLCFG="ignorelocaltime",0') == b'\r\n+QSSLCFG: "ignorelocaltime",0,1\r\n\r\nOK\r\n'
    assert modem.command('AT+QSSLCFG="ignorelocaltime",1,0') == OK
    assert modem.command('AT+QSSLCFG="ignorelocaltime",1') == b'\r\n+QSSLCFG: "ignorelocaltime",1,0\r\n\r\nOK\r\n'


@pytest.mark.parametrize("text", ["0XC02F", "0xc02f", "0xC02F", "0XFFFF"])
def test_suites_are_read_back_in_upper_case(modem, text):
    assert modem.command(f'AT+QSSLCFG="ciphersuite",2,{text}') == OK
    assert (
        modem.command('AT+QSSLCFG="ciphersuite",2')
        == f'\r\n+QSSLCFG: "ciphersuite",2,{text.upper()}\r\n\r\nOK\r\n'.encode()
    )


@pytest.mark.parametrize("text", ['"0XFFFF"', '"0xC02F"', "0XC030", "C02F", "49199", "0XC02"])
def test_quoted_unlisted_or_misspelt_suites_are_errors(modem, text):
    assert modem.command(f'AT+QSSLCFG="ciphersuite",2,{text}') == ERROR


@pytest.mark.parametrize(
    "rest",
    [
        '"seclevel",6,1',
        '"seclevel",1,3',
        '"SECLEVEL",1,1',
        "seclevel,1,1",
        '"negotiatetime",1,9',
        '"negotiatetime",1,301',
        '"sni",1,"1"',
        '"sni",1,1,1',
        '"cacert",1,ca.pem',
        '"nokey",1,1',
        '"sslversion",1,5',
        '"seclevel"',
    ],
)
def test_wrong_uses(modem, rest):
    assert modem.command(f"AT+QSSLCFG={rest}") == ERROR


def test_there_is_no_read_form(modem):
    assert modem.command("AT+QSSLCFG?") == ERROR


def test_paths_and_numbers_read_back(modem):
    modem.command('AT+QSSLCFG="cacert",0,"UFS:ca.pem";+QSSLCFG="negotiatetime",0,60')
    assert modem.command('AT+QSSLCFG="cacert",0') == b'\r\n+QSSLCFG: "cacert",0,"UFS:ca.pem"\r\n\r\nOK\r\n'
    assert modem.command('AT+QSSLCFG="negotiatetime",0') == b'\r\n+QSSLCFG: "negotiatetime",0,60\r\n\r\nOK\r\n'
    assert modem.command('AT+QSSLCFG="cacert",1') == b'\r\n+QSSLCFG: "cacert",1,""\r\n\r\nOK\r\n'


@pytest.mark.parametrize(("variant", "tickets"), [("ticket", True), ("id", False)])
def test_what_a_session_is_resumed_by(variant, tickets):
    with Harness(variants=[f"session-by={variant}"]) as modem:
        assert modem.machine.personality.tlsconfig.client_settings(0, "host.example").tickets is tickets


def test_defaults_verify_nothing(modem):
    settings = modem.machine.personality.tlsconfig.client_settings(0, "host.example")
    assert settings.verify is Verify.NONE
    assert not settings.check_dates
    assert settings.server_name == ""
    assert settings.host == ""
    assert (settings.min_version, settings.max_version) == (Version.TLS1_0, Version.TLS1_2)
