"""Credentials of the simulated Nordic modems: %CMNG and #XCMNG."""

from __future__ import annotations

import hashlib

import pytest

from tests.support.nordic import ERROR, OK, SLM, SM, modem

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"
KEY = "-----BEGIN PRIVATE KEY-----\nTOPSECRET\n-----END PRIVATE KEY-----"


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest().upper()


def cme(number: int) -> bytes:
    return f"\r\n+CME ERROR: {number}\r\n".encode()


@pytest.fixture(params=[SLM, SM])
def made(request):
    with modem(request.param, online=False) as running:
        running.command("AT+CMEE=1")
        yield running


def test_write_list_read_delete(made):
    assert made.command("AT%CMNG=1") == OK
    assert made.command(f'AT%CMNG=0,4711,0,"{PEM}"') == OK
    assert made.command('AT%CMNG=0,4711,3,"00aaFF"') == OK
    assert made.command('AT%CMNG=0,12,4,"dev-01"') == OK
    first = f'%CMNG: 12,4,"{sha("dev-01")}"\r\n'
    second, third = f'%CMNG: 4711,0,"{sha(PEM)}"\r\n', f'%CMNG: 4711,3,"{sha("00aaFF")}"\r\n'
    assert made.command("AT%CMNG=1") == f"\r\n{first}{second}{third}\r\nOK\r\n".encode()
    assert made.command("AT%CMNG=1,4711") == f"\r\n{second}{third}\r\nOK\r\n".encode()
    assert made.command("AT%CMNG=1,4711,3") == f"\r\n{third}\r\nOK\r\n".encode()
    assert made.command("AT%CMNG=1,4711,2") == OK
    assert made.command("AT%CMNG=2,4711,0") == f'\r\n%CMNG: 4711,0,"{sha(PEM)}","{PEM}"\r\n\r\nOK\r\n'.encode()
    assert made.command("AT%CMNG=2,4711,3") == cme(514)
    assert made.command("AT%CMNG=3,4711,0") == OK
    assert made.command("AT%CMNG=3,4711,0") == cme(513)
    assert made.command("AT%CMNG=2,4711,0") == cme(513)


def test_the_digest_is_of_the_exact_bytes(made):
    for ending in ("\n", "\r\n"):
        text = PEM.replace("\n", ending) + ending
        assert made.command(f'AT%CMNG=0,1,0,"{text}"') == OK
        assert sha(text).encode() in made.command("AT%CMNG=1,1")


def test_writing_and_deleting_need_the_radio_off(made):
    made.command("AT+CFUN=1")
    assert made.command('AT%CMNG=0,4711,0,"x"') == cme(518)
    assert made.command("AT%CMNG=3,4711,0") == cme(518)
    assert made.command("AT%CMNG=1") == OK
    made.command("AT+CFUN=4")
    assert made.command(f'AT%CMNG=0,4711,0,"{PEM}"') == OK
    assert made.command("AT%CMNG=3,4711,0") == OK


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ('AT%CMNG=0,1,0,"x"', cme(527)),
        (f'AT%CMNG=0,1,2,"{PEM[:-3]}"', cme(527)),
        ('AT%CMNG=0,1,3,"abc"', cme(527)),
        ('AT%CMNG=0,1,3,"xy"', cme(527)),
        ('AT%CMNG=0,1,4,""', cme(527)),
        (f'AT%CMNG=0,1,0,"{PEM}","","{"0" * 64}"', cme(527)),
        (f'AT%CMNG=0,1,0,"{PEM}","","{sha(PEM)}"', OK),
        ('AT%CMNG=0,1,6,"x"', cme(514)),
        ('AT%CMNG=0,1,7,"x"', ERROR),
        ('AT%CMNG=0,2147483648,0,"x"', ERROR),
        ("AT%CMNG=0,1,0", ERROR),
        ("AT%CMNG=4,1,0", ERROR),
        ("AT%CMNG=3,1", ERROR),
        ("AT%CMNG?", ERROR),
        ("AT#XCMNG=1", ERROR),
    ],
)
def test_what_is_refused(made, command, answer):
    assert made.command(command) == answer


def test_storage_lasts_and_is_limited():
    with modem(SM, "credential-memory=100", online=False) as made:
        made.command("AT+CMEE=1")
        assert made.command(f'AT%CMNG=0,1,0,"{PEM}"') == OK
        assert made.command(f'AT%CMNG=0,2,0,"{PEM}"') == cme(515)
        assert made.command(f'AT%CMNG=0,1,0,"{PEM}\n"') == OK  # in place of what was there
        made.command("AT#XRESET")
        made.advance(1)
        made.read()
        assert b"%CMNG: 1,0," in made.command("AT%CMNG=1")


def test_replacing_may_be_refused_and_internal_tags_listed():
    with modem(SM, "replace=no", "internal-tags=yes", online=False) as made:
        made.command("AT+CMEE=1")
        assert made.command('AT%CMNG=0,1,4,"a"') == OK
        assert made.command('AT%CMNG=0,1,4,"b"') == cme(519)
        assert b"\r\n%CMNG: 4294967294,6," in made.command("AT%CMNG=1")


def test_nothing_secret_in_the_trace():
    with modem(SM, online=False) as made:
        made.command(f'AT%CMNG=0,1,2,"{KEY}","passphrase"')
        made.command('AT%CMNG=0,1,3,"c0ffee00"')
        made.command(f'AT%CMNG=0,1,0,"{PEM}"')
        text = "\n".join(made.machine.trace.lines)
        for secret in ("TOPSECRET", "passphrase", "c0ffee00"):
            assert secret not in text
        assert "MIIB" in text


def test_the_applications_own_storage():
    with modem(SLM, "native-tls=yes") as made:
        assert made.command(f'AT#XCMNG=0,5,0,"{PEM}"') == OK  # the radio does not matter
        assert made.command("AT#XCMNG=1") == f'\r\n#XCMNG: 5,0,"{sha(PEM)}"\r\n\r\nOK\r\n'.encode()
        assert made.command('AT#XCMNG=0,5,3,"00"') == ERROR
        assert made.command(f'AT#XCMNG=0,214748365,0,"{PEM}"') == ERROR
        assert made.command("AT%CMNG=1") == OK
        assert made.machine.personality.snapshot() == {"5/0": PEM.encode()}
