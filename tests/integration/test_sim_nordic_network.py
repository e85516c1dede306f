"""Radio, PDN, clock and names of the simulated Nordic modems."""

from __future__ import annotations

import datetime

import pytest

from tests.support.nordic import ERROR, OK, SLM, SM, ask, modem


def test_the_radio_is_off_at_first_and_searches_when_it_goes_on():
    with modem(SLM, "registration=roaming", online=False) as made:
        assert made.command("AT+CFUN?") == b"\r\n+CFUN: 0\r\n\r\nOK\r\n"
        assert made.command("AT+CEREG?") == b"\r\n+CEREG: 0,0\r\n\r\nOK\r\n"
        assert made.command('AT+CGDCONT=0,"IP","iot.example"') == OK
        assert made.command("AT+CEREG=1") == OK
        made.write(b"AT+CFUN=1\r\n")
        assert made.read() == OK + b"\r\n+CEREG: 2\r\n"
        assert made.command("AT+CGPADDR=0") == b"\r\n+CGPADDR: 0\r\n\r\nOK\r\n"
        made.advance(1)
        assert made.read() == b"\r\n+CEREG: 5\r\n"
        assert made.command("AT+CGPADDR=0") == b'\r\n+CGPADDR: 0,"10.76.51.180"\r\n\r\nOK\r\n'
        assert made.command("AT+CFUN=4") == OK + b"\r\n+CEREG: 0\r\n"
        assert made.command("AT+CEREG?") == b"\r\n+CEREG: 1,0\r\n\r\nOK\r\n"


def test_registration_told_at_length():
    with modem(SM, online=False) as made:
        assert made.command("AT+CEREG=?") == b"\r\n+CEREG: (0-5)\r\n\r\nOK\r\n"
        assert made.command("AT+CEREG=6") == ERROR
        assert made.command("AT+CEREG=5") == OK
        made.command("AT+CFUN=1")
        made.advance(1)
        made.read()
        status = b'1,"1A2B","01C3D4E5",7,,,"00000000","00000000"'
        assert made.command("AT+CEREG?") == b"\r\n+CEREG: 5," + status + b"\r\n\r\nOK\r\n"
        made.command("AT+CEREG=2")
        assert made.command("AT+CEREG?") == b'\r\n+CEREG: 2,1,"1A2B","01C3D4E5",7\r\n\r\nOK\r\n'


@pytest.mark.parametrize(
    ("variants", "setup", "stat"),
    [
        (("apn=iot.example",), ('AT+CGDCONT=0,"IP","iot.example"',), b"1"),
        (("apn=iot.example",), ('AT+CGDCONT=0,"IP","other"',), b"3"),
        (("apn=iot.example",), (), b"1"),  # the network's own choice
        (("pdp-auth=me:secret",), ('AT+CGAUTH=0,1,"me","secret"',), b"1"),
        (("pdp-auth=me:secret",), (), b"3"),
        (("registration=denied",), (), b"3"),
        (("registration=searching",), (), b"2"),
    ],
)
def test_the_network_may_not_want_it(variants, setup, stat):
    with modem(SM, *variants, online=False) as made:
        for command in (*setup, "AT+CFUN=1"):
            assert made.command(command) == OK
        made.advance(1)
        made.read()
        assert made.command("AT+CEREG?") == b"\r\n+CEREG: 0," + stat + b"\r\n\r\nOK\r\n"
        assert not any("secret" in command for command in made.machine.trace.commands)


def test_the_card_lives_with_the_radio():
    with modem(SM, "sim=pin", online=False) as made:
        made.command("AT+CMEE=1")
        assert made.command("AT+CPIN?") == b"\r\n+CME ERROR: 13\r\n"
        made.command("AT+CFUN=1")
        assert made.command("AT+CPIN?") == b"\r\n+CPIN: SIM PIN\r\n\r\nOK\r\n"
        assert made.command('AT+CPINR="SIM PIN"') == b'\r\n+CPINR: "SIM PIN",3\r\n\r\nOK\r\n'
        assert made.command('AT+CPIN="9999"') == b"\r\n+CME ERROR: 16\r\n"
        assert made.command('AT+CPINR="SIM PIN"') == b'\r\n+CPINR: "SIM PIN",2\r\n\r\nOK\r\n'
        assert made.command('AT+CPIN="1234"') == OK
        made.advance(1)
        assert made.command("AT+CEREG?") == b"\r\n+CEREG: 0,1\r\n\r\nOK\r\n"
        made.command("AT+CFUN=0")
        made.command("AT+CFUN=1")
        assert made.command("AT+CPIN?") == b"\r\n+CPIN: SIM PIN\r\n\r\nOK\r\n"
        assert not any("1234" in command for command in made.machine.trace.commands)
    with modem(SM, "card-while-off=ready", online=False) as made:
        assert made.command("AT+CPIN?") == b"\r\n+CPIN: READY\r\n\r\nOK\r\n"


def test_a_modem_that_was_running_may_be_registered_already():
    with modem(SM, "start=running", "radio-at-start=on", online=False) as made:
        assert made.command("AT+CEREG?") == b"\r\n+CEREG: 0,1\r\n\r\nOK\r\n"


def test_only_three_levels_of_functionality():
    with modem(SM, online=False) as made:
        for level in ("2", "3", "5", "1,1", ""):
            assert made.command(f"AT+CFUN={level}") == ERROR


def test_identification():
    with modem(SM, online=False) as made:
        assert made.command("AT+CGMI") == b"\r\nNordic Semiconductor ASA\r\n\r\nOK\r\n"
        assert made.command("AT+CGMR") == b"\r\nmfw_nrf91x1_2.0.2\r\n\r\nOK\r\n"
        assert made.command("AT+CGSN=1") == b'\r\n+CGSN: "352656100000018"\r\n\r\nOK\r\n'
        assert made.command("AT+GMM") == ERROR


def test_the_network_sets_the_clock_unless_it_is_set():
    with modem(SM, online=False) as made:
        assert made.command("AT+CCLK?").startswith(b'\r\n+CCLK: "80/01/06')
        made.command("AT+CFUN=1")
        made.advance(1)
        this_year = f"{datetime.datetime.now(datetime.UTC):%y}".encode()
        assert made.command("AT+CCLK?").startswith(b'\r\n+CCLK: "' + this_year)
    with modem(SM, clock="2026-03-01T10:15:30") as made:
        assert made.command("AT+CCLK?").startswith(b'\r\n+CCLK: "26/03/01,10:15')
    with modem(SM, online=False) as made:
        assert made.command('AT+CCLK="31/12/24,18:00:00+04"') == OK
        made.command("AT+CFUN=1")
        made.advance(1)
        assert made.command("AT+CCLK?").startswith(b'\r\n+CCLK: "31/12/24,18:00:0')
    with modem(SM, "network-time=no") as made:
        assert made.command("AT+CCLK?").startswith(b'\r\n+CCLK: "80/01/06')


@pytest.mark.parametrize("model", [SLM, SM])
def test_names(model):
    with modem(model) as made:
        assert made.command('AT#XGETADDRINFO="host.example"') == b'\r\n#XGETADDRINFO: "127.0.0.1"\r\n\r\nOK\r\n'
        assert made.command('AT#XGETADDRINFO="192.0.2.1",1') == b'\r\n#XGETADDRINFO: "192.0.2.1"\r\n\r\nOK\r\n'
        failure = b'\r\n#XGETADDRINFO: "not found"\r\n' + ERROR
        assert made.command('AT#XGETADDRINFO="no.such.invalid"') == failure
        assert made.command('AT#XGETADDRINFO="host.example",2') == failure
        assert made.command("AT#XGETADDRINFO=host.example") == ERROR
        made.command("AT+CFUN=4")
        assert made.command('AT#XGETADDRINFO="host.example"') == failure


def test_other_contexts_are_activated_by_hand_and_sockets_want_them_active():
    with modem(SM) as made:
        assert made.command("AT#XSOCKET=1,1,0,3") == ERROR
        made.command('AT+CGDCONT=3,"IP","other"')
        assert made.command("AT+CGACT=1,3") == OK
        assert made.command("AT+CGPADDR=3") == b'\r\n+CGPADDR: 3,"10.76.51.183"\r\n\r\nOK\r\n'
        assert made.command("AT#XSOCKET=1,2,0,3") == b"\r\n#XSOCKET: 0,2,17\r\n\r\nOK\r\n"
        assert made.command("AT#XSOCKET?") == b"\r\n#XSOCKET: 0,1,0,2,3\r\n\r\nOK\r\n"
        assert made.command("AT#XSOCKET=1,1,0,11") == ERROR
        assert made.command("AT+CGCONTRDP=3").endswith(b"0,0,0,0,1280\r\n\r\nOK\r\n")


def test_a_modem_reset_takes_everything_down():
    with modem(SM, "modem-urcs=yes") as made:
        made.command("AT#XSOCKET=1,1,0")
        reset = b"\r\n#XMODEMRESET: 0\r\n" + OK
        assert made.command("AT#XMODEMRESET") == reset + b"\r\n#XMODEM: SHUTDOWN,0\r\n\r\n#XMODEM: INIT,0\r\n"
        assert made.command("AT#XSOCKET?") == OK
        assert made.command("AT+CFUN?") == b"\r\n+CFUN: 0\r\n\r\nOK\r\n"
        assert ask(made, "AT#XCLOSE=0") == ERROR
