"""SIM, registration, functionality, restart, clocks and PDP contexts of the simulated modules."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from modemtls.sim.harness import Harness

OK = b"\r\nOK\r\n"
ERROR = b"\r\nERROR\r\n"


@pytest.fixture
def start():
    running: list[Harness] = []

    def make(*variants: str, model: str = "quectel-bg95", echo: bool = False, **options) -> Harness:
        modem = Harness(model, variants=variants, **options)
        running.append(modem)
        if not echo and options.get("boot", True):
            modem.command("ATE0")
        return modem

    yield make
    for modem in running:
        modem.close()


def test_boot_urcs_come_once_the_host_has_opened(start):
    modem = start(boot=False)
    modem.advance(10)
    assert modem.read() == b""
    modem.machine.opened()
    modem.advance(5)
    words = [line for line in modem.read().split(b"\r\n") if line]
    assert words == [
        b"RDY", b"APP RDY", b"+CFUN: 1", b"+CPIN: READY", b"+QUSIM: 1", b"+QIND: SMS DONE", b"+QIND: PB DONE",
    ]  # fmt: skip


def test_modem_that_was_running_says_nothing(start):
    modem = start("start=running", boot=False)
    modem.machine.opened()
    modem.advance(5)
    assert modem.read() == b""
    assert modem.command("AT") == b"AT\r\r\nOK\r\n"


@pytest.mark.parametrize(("model", "name"), [("quectel-bg95", b"BG95-M3"), ("quectel-bg96", b"BG96")])
def test_identification(start, model, name):
    modem = start(model=model)
    for command in ("AT+GMM", "AT+CGMM"):
        assert modem.command(command) == b"\r\n" + name + b"\r\n\r\nOK\r\n"
    assert modem.command("AT+GMI") == b"\r\nQuectel\r\n\r\nOK\r\n"
    assert modem.command("AT+CGSN").strip().split(b"\r\n")[0].isdigit()
    assert modem.command("AT+QCCID").startswith(b"\r\n+QCCID: 89")


def test_full_revision_of_the_real_module(start):
    assert start().command("AT+QGMR") == b"\r\nBG95M3LAR02A03_01.011.01.011\r\n\r\nOK\r\n"


def test_pin_is_asked_and_counts_down_to_the_puk(start):
    modem = start("sim=pin", "pin=4711")
    assert modem.command("AT+CPIN?") == b"\r\n+CPIN: SIM PIN\r\n\r\nOK\r\n"
    assert modem.command("AT+CEREG?") == b"\r\n+CEREG: 0,0\r\n\r\nOK\r\n"
    assert modem.command("AT+COPS?") == b"\r\n+CME ERROR: 11\r\n"
    assert modem.command('AT+CPIN="0000"') == b"\r\n+CME ERROR: 16\r\n"
    assert modem.command("AT+CPIN=0000") == b"\r\n+CME ERROR: 16\r\n"
    assert modem.command("AT+CPIN=0000") == b"\r\n+CME ERROR: 12\r\n"
    assert modem.command("AT+CPIN?") == b"\r\n+CPIN: SIM PUK\r\n\r\nOK\r\n"
    assert modem.command("AT+CPIN=4711") == b"\r\n+CME ERROR: 12\r\n"
    assert modem.command('AT+CPIN="99999999","1111"') == b"\r\n+CME ERROR: 16\r\n"
    assert modem.command('AT+CPIN="12345678","1111"') == OK
    modem.advance(2)
    assert modem.read().startswith(b"\r\n+CPIN: READY\r\n\r\n+QUSIM: 1\r\n")
    assert modem.command("AT+CEREG?") == b"\r\n+CEREG: 0,1\r\n\r\nOK\r\n"


def test_a_restart_locks_the_card_again_but_keeps_its_counter(start):
    modem = start("sim=pin")
    modem.command("AT+CPIN=0000")
    modem.command("AT+CFUN=1,1")
    modem.advance(3)
    modem.read()
    modem.command("ATE0")
    assert modem.machine.personality.card.pin_tries == 2
    modem.command("AT+CPIN=1234")
    assert modem.machine.personality.card.pin_tries == 3


def test_pin_is_not_in_the_trace(start):
    modem = start("sim=pin", "pin=80815", echo=True)
    modem.command('AT+CPIN="80815"')
    assert "80815" not in "\n".join(modem.machine.trace.lines)


def test_no_card(start):
    modem = start("sim=absent")
    assert modem.command("AT+CPIN?") == b"\r\n+CME ERROR: 10\r\n"
    modem.command("AT+CMEE=2")
    assert modem.command("AT+CIMI") == b"\r\n+CME ERROR: SIM not inserted\r\n"


def test_registration_takes_its_time_and_is_announced(start):
    modem = start("registration-time=30", boot=False)
    modem.machine.opened()
    modem.advance(2)
    modem.command("ATE0")
    modem.read()
    assert modem.command("AT+CEREG=1;+CREG=2") == OK
    assert modem.command("AT+CEREG?") == b"\r\n+CEREG: 1,2\r\n\r\nOK\r\n"
    assert modem.command("AT+CSQ") == b"\r\n+CSQ: 99,99\r\n\r\nOK\r\n"
    assert modem.command("AT+QIACT=1") == ERROR
    modem.advance(30)
    assert modem.read() == b'\r\n+CREG: 1,"1A2B","01C3D4E5",8\r\n\r\n+CEREG: 1\r\n'
    assert modem.command("AT+CREG?") == b'\r\n+CREG: 2,1,"1A2B","01C3D4E5",8\r\n\r\nOK\r\n'


@pytest.mark.parametrize(
    ("variant", "stat"), [("roaming", b"5"), ("denied", b"3"), ("searching", b"2"), ("home", b"1")]
)
def test_how_the_network_answers(start, variant, stat):
    modem = start(f"registration={variant}")
    assert modem.command("AT+CEREG?") == b"\r\n+CEREG: 0," + stat + b"\r\n\r\nOK\r\n"
    assert (modem.command("AT+QIACT=1") == OK) == (stat in b"15")


def test_radio_off_takes_everything_down(start):
    modem = start()
    modem.command("AT+QIACT=1;+CEREG=1")
    assert modem.command("AT+CFUN=4") == b'\r\nOK\r\n\r\n+QIURC: "pdpdeact",1\r\n\r\n+CEREG: 0\r\n'
    assert modem.command("AT+QIACT?") == OK
    assert modem.command("AT+CFUN?") == b"\r\n+CFUN: 4\r\n\r\nOK\r\n"
    answer = modem.command("AT+CFUN=1")
    modem.advance(1)
    assert answer + modem.read() == b"\r\nOK\r\n\r\n+CEREG: 2\r\n\r\n+CEREG: 1\r\n"


def test_minimum_functionality_switches_the_card_off(start):
    modem = start()
    assert b"+CPIN: NOT READY" in modem.command("AT+CFUN=0")
    assert modem.command("AT+CPIN?") == b"\r\n+CME ERROR: 13\r\n"


def test_restart_is_deaf_then_announces_itself_and_has_forgotten(start):
    modem = start()
    modem.command('AT+QSSLCFG="seclevel",1,2;+QSSLCFG="ignorelocaltime",1,0;+QISDE=0;+CREG=1')
    assert modem.command("AT+CFUN=1,1") == OK
    modem.write(b"AT\r")
    modem.advance(0.19)
    assert modem.read() == b""
    modem.advance(3)
    assert modem.read().startswith(b"\r\nRDY\r\n\r\nAPP RDY\r\n\r\n+CFUN: 1\r\n")
    assert modem.command("AT") == b"AT\r\r\nOK\r\n"  # echo again
    modem.command("ATE0")
    assert modem.command('AT+QSSLCFG="seclevel",1') == b'\r\n+QSSLCFG: "seclevel",1,0\r\n\r\nOK\r\n'
    assert modem.command('AT+QSSLCFG="ignorelocaltime",1') == b'\r\n+QSSLCFG: "ignorelocaltime",1,1\r\n\r\nOK\r\n'
    assert modem.command("AT+QISDE?;+CREG?") == b"\r\n+QISDE: 1\r\n\r\n+CREG: 0,1\r\n\r\nOK\r\n"
    assert modem.command("AT+QIACT?") == OK


def test_power_down_is_final_until_switched_on(start):
    modem = start()
    assert modem.command("AT+QPOWD") == OK
    modem.advance(1)
    assert modem.read() == b"\r\nPOWERED DOWN\r\n"
    modem.write(b"AT\r")
    modem.advance(60)
    assert modem.read() == b""
    modem.machine.power_on()
    modem.advance(2)
    assert modem.read().startswith(b"\r\nRDY\r\n")


# --- clocks ---


def test_clock_starts_at_the_factory_date_and_runs_and_is_set(start):
    modem = start()
    assert modem.command("AT+CCLK?").startswith(b'\r\n+CCLK: "80/01/06,00:00:0')
    assert modem.command('AT+CCLK="26/03/01,10:15:30+04"') == OK
    modem.advance(90)
    assert modem.command("AT+CCLK?") == b'\r\n+CCLK: "26/03/01,10:17:00+04"\r\n\r\nOK\r\n'
    assert modem.machine.personality.clock.rtc.utc() == datetime(2026, 3, 1, 9, 17, tzinfo=UTC)


def test_clock_survives_a_restart_not_a_power_cut(start):
    modem = start()
    modem.command('AT+CCLK="26/03/01,10:15:30+00"')
    modem.command("AT+CFUN=1,1")
    modem.advance(3)
    modem.read()
    modem.command("ATE0")
    assert b"26/03/01,10:15:33" in modem.command("AT+CCLK?")
    modem.command("AT+QPOWD")
    modem.advance(1)
    modem.machine.power_on()
    modem.advance(3)
    modem.read()
    assert b"80/01/06" in modem.command("AT+CCLK?")


@pytest.mark.parametrize(
    "text", ['"26/13/01,10:15:30+04"', '"2026/03/01,10:15:30+04"', "26/03/01", '"26/03/01,10:15:30+99"']
)
def test_wrong_dates_are_refused(start, text):
    assert b"ERROR" in start().command(f"AT+CCLK={text}")


def test_network_time(start):
    modem = start()
    year = f"{datetime.now(UTC):%Y/%m/%d,}".encode()
    assert modem.command("AT+QLTS").startswith(b'\r\n+QLTS: "' + year)
    assert start("network-time=no").command("AT+QLTS") == b'\r\n+QLTS: ""\r\n\r\nOK\r\n'


def test_automatic_time_sets_the_clock(start):
    modem = start()
    modem.command("AT+CTZU=1")
    assert abs(modem.machine.personality.clock.rtc.utc() - datetime.now(UTC)).total_seconds() < 5


def test_ntp_has_four_digit_years_and_sets_the_clock(start):
    modem = start()
    assert modem.command('AT+QNTP=1,"pool.example",123') == ERROR  # no context
    modem.command("AT+QIACT=1")
    assert modem.command('AT+QNTP=1,"pool.example",123') == OK
    modem.advance(1)
    assert modem.read().startswith(f'\r\n+QNTP: 0,"{datetime.now(UTC):%Y}/'.encode())
    assert abs(modem.machine.personality.clock.rtc.utc() - datetime.now(UTC)).total_seconds() < 5
    modem.command('AT+QNTP=1,"x.invalid"')
    modem.advance(1)
    assert modem.read() == b"\r\n+QNTP: 565\r\n"


# --- PDP contexts ---


def test_context_query_gives_the_type_first_and_only_active_ones_are_listed(start):
    modem = start()
    assert modem.command("AT+QICSGP=1") == b'\r\n+QICSGP: 1,"","","",0\r\n\r\nOK\r\n'
    assert modem.command('AT+QICSGP=3,3,"iot.example","u","p",2') == OK
    assert modem.command("AT+QICSGP=3") == b'\r\n+QICSGP: 3,"iot.example","u","p",2\r\n\r\nOK\r\n'
    assert modem.command("AT+QIACT?") == OK
    modem.command("AT+QIACT=3")
    assert modem.command("AT+QIACT?") == b'\r\n+QIACT: 3,1,3,"10.76.51.182"\r\n\r\nOK\r\n'


def test_apn_password_is_not_in_the_trace(start):
    modem = start(echo=True)
    modem.command('AT+QICSGP=1,1,"iot","user","hunter2",1')
    modem.command("AT+QICSGP=1")
    assert "hunter2" not in "\n".join(modem.machine.trace.lines)


def test_activation_blocks_refuses_a_second_one_and_stops_at_three(start):
    modem = start("pdp-time=2")
    modem.write(b"AT+QIACT=1\r")
    modem.advance(1.9)
    assert modem.read() == b""
    modem.advance(0.2)
    assert modem.read() == OK
    assert modem.command("AT+QIACT=1") == ERROR
    assert b"572" in modem.command("AT+QIGETERROR")
    assert modem.command("AT+QIACT=2") == modem.command("AT+QIACT=3") == OK
    assert modem.command("AT+QIACT=4") == ERROR
    assert modem.command("AT+QIDEACT=2") == OK
    assert modem.command("AT+QIACT=4") == OK


def test_network_that_wants_an_apn_and_a_password(start):
    modem = start("apn=iot.example", "pdp-auth=u:p")
    assert modem.command("AT+QIACT=1") == ERROR
    modem.command('AT+QICSGP=1,1,"iot.example","u","wrong",1')
    assert modem.command("AT+QIACT=1") == ERROR
    assert b"561" in modem.command("AT+QIGETERROR")
    modem.command('AT+QICSGP=1,1,"iot.example","u","p",1')
    assert modem.command("AT+QIACT=1") == OK


@pytest.mark.parametrize(
    "line", ["AT+QIACT=0", "AT+QIACT=17", "AT+QIACT=x", 'AT+QICSGP=1,4,"a"', "AT+QIDEACT=0", "AT+QICSGP=1,1,apn"]
)
def test_wrong_parameters_are_552(start, line):
    modem = start()
    assert modem.command(line) == ERROR
    assert modem.command("AT+QIGETERROR") == b"\r\n+QIGETERROR: 552,invalid parameters\r\n\r\nOK\r\n"


def test_last_error_is_only_of_the_last_command(start):
    modem = start("error-space=yes")
    modem.command("AT+QIACT=0")
    assert modem.command("AT+QIGETERROR") == b"\r\n+QIGETERROR: 552, invalid parameters\r\n\r\nOK\r\n"
    modem.command("AT+QIACT=1")
    assert modem.command("AT+QIGETERROR") == b"\r\n+QIGETERROR: 0, operate successfully\r\n\r\nOK\r\n"


def test_name_lookup(start):
    modem = start()
    modem.command("AT+QIACT=1")
    modem.command('AT+QIDNSGIP=1,"www.example.org"')
    modem.advance(1)
    assert modem.read() == b'\r\n+QIURC: "dnsgip",0,1,600\r\n\r\n+QIURC: "dnsgip","127.0.0.1"\r\n'
    modem.command('AT+QIDNSGIP=1,"no.such.invalid"')
    modem.advance(1)
    assert modem.read() == b'\r\n+QIURC: "dnsgip",565\r\n'


def test_urcs_go_elsewhere_until_configured(start):
    modem = start("urc-port=usbat")
    modem.command("AT+CEREG=1")
    modem.command("AT+QIACT=1")
    modem.machine.personality.fault("pdpdeact", 1)
    assert modem.read() == b""
    assert modem.command('AT+QURCCFG="urcport"') == b'\r\n+QURCCFG: "urcport","usbat"\r\n\r\nOK\r\n'
    assert modem.command('AT+QURCCFG="urcport","uart1"') == OK
    modem.command("AT+QIACT=1")
    modem.machine.personality.fault("pdpdeact", 1)
    assert modem.read() == b'\r\n+QIURC: "pdpdeact",1\r\n'


def test_urc_port_is_kept_over_a_restart(start):
    modem = start("urc-port=usbat")
    modem.command('AT+QURCCFG="urcport","uart1"')
    modem.command("AT+CFUN=1,1")
    modem.advance(3)
    assert b"RDY" in modem.read()


def test_baud_rates(start):
    modem = start()
    assert modem.command("AT+IPR=921600") == OK
    assert modem.command("AT+IPR?") == b"\r\n+IPR: 921600\r\n\r\nOK\r\n"
    assert modem.command("AT+IPR=12345") == ERROR
