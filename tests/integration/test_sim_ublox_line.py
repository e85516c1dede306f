"""The simulated u-blox modules' line: identification, restarts, pauses that matter, prompts, power saving."""

from __future__ import annotations

import pytest

from tests.support.ublox import (
    ERROR,
    OK,
    R4,
    R5,
    Peer,
    cme,
    line,
    start_fixture,  # noqa: F401
)

# --- who it is --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "variants", "name", "version"),
    [
        (R5, (), "SARA-R510M8S", "02.06,A00.01"),
        (R5, ("module=R500S", "firmware=03.15,A00.01"), "SARA-R500S", "03.15,A00.01"),
        (R4, (), "SARA-R410M-02B", "L0.0.00.00.05.06,A.02.00"),
        (R4, ("module=R412M-02B", "firmware=L0.0.00.00.05.08,A.02.04"), "SARA-R412M-02B", "L0.0.00.00.05.08,A.02.04"),
        (R4, ("module=R422",), "SARA-R422", "00.12,A00.00"),
    ],
)
def test_identification(start, model, variants, name, version):
    made = start(model, *variants)
    assert made.command("AT+CGMI") == line("u-blox")
    assert made.command("AT+CGMM") == line(name)
    assert made.command("ATI9") == line(version)
    assert made.command("AT+CGSN").split(b"\r\n")[1].isdigit()


def test_r410m_says_more_with_ati(start):
    assert start(R4).command("ATI") == line(
        "Manufacturer: u-blox\r\nModel: SARA-R410M-02B\r\nRevision: L0.0.00.00.05.06 [Feb 03 2018 13:00:41]\r\n"
        "SVN: 03\r\nIMEI: 352753090000017"
    )


def test_errors_are_bare_at_first_and_as_cmee_says_then(start):
    made = start(ready=False)
    made.command("ATE0")
    assert made.command("AT+USOCL=0") == ERROR
    for form, answer in ((1, cme(3)), (2, b"\r\n+CME ERROR: operation not allowed\r\n"), (0, ERROR)):
        made.ok(f"AT+CMEE={form}")
        assert made.command("AT+USOCL=0") == answer
    capital = start(R5, "cme-case=capital")
    capital.ok("AT+CMEE=2")
    assert capital.command("AT+USOCL=0") == b"\r\n+CME ERROR: Operation not allowed\r\n"


def test_numeric_results(start):
    made = start()
    with Peer() as peer:
        made.open("127.0.0.1", peer.port)
        assert peer.stream
        assert made.command("ATV0") == b"0\r"
        assert made.command("AT+USOCTL=0,0") == b"+USOCTL: 0,0,6\r\n0\r"
        assert made.command("AT+USODL=0", limit=0) == b"1\r"
        made.advance(1.1)
        made.write(b"+++")
        made.advance(1.1)
        assert made.read() == b"14\r0\r"


@pytest.mark.parametrize(("variant", "answer"), [("1650", cme(1650)), ("error", ERROR)])
def test_lines_of_more_than_1024_characters(start, variant, answer):
    made = start(R5, f"too-long={variant}")
    prefix = 'AT+USECPRF=0,3,"'
    made.ok(f'AT+CSGT=0,""{" " * 1009}')
    assert len(prefix) < 1024
    assert made.command(prefix + "x" * 1010) == answer
    made.ok("AT")


def test_no_blank_behind_the_colon(start):
    made = start(R4, "colon-space=no")
    assert made.command("AT+USOCR=6") == line("+USOCR:0")
    assert made.command("AT+CGATT?") == line("+CGATT:1")
    assert made.command("AT+USOCL=0,1") + made.until_quiet(0.05) == OK + b"\r\n+UUSOCL:0\r\n"


# --- restarts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "level", "noise"), [(R5, 16, b""), (R4, 15, b"\0\0")])
def test_restart_by_cfun(start, model, level, noise):
    made = start(model)
    made.ok(f"AT+CFUN={level}")
    made.advance(0.15)
    made.write(b"AT\r")
    assert made.read() == b""
    made.advance(5)
    assert made.read() == noise
    assert made.command("AT") == b"AT\r" + OK  # the echo is back
    made.command("ATE0")
    assert made.command("AT+USOCL=0") == ERROR


@pytest.mark.parametrize(("variant", "answer"), [("refuse", cme(3)), ("accept", OK)])
def test_the_other_number_for_a_restart(start, variant, answer):
    assert start(R5, f"reboot-other={variant}").command("AT+CFUN=15") == answer


def test_a_greeting(start):
    made = start()
    made.ok('AT+CSGT=1,"READY NOW"', "AT+CFUN=16")
    made.advance(5)
    assert made.read() == b"\r\nREADY NOW\r\n"
    made.command("ATE0")
    assert made.command("AT+CSGT?") == line('+CSGT: 1,"READY NOW"')


def test_power_off_and_on(start):
    made = start()
    made.ok("AT+CPWROFF")
    made.advance(1)
    made.write(b"AT\r")
    assert made.read() == b""
    made.machine.power_on()
    made.advance(5)
    assert made.command("AT") == b"AT\r" + OK


def test_sockets_and_profiles_of_before_are_gone(start):
    made = start()
    with Peer() as peer:
        made.open("127.0.0.1", peer.port)
        assert peer.stream
        made.ok("AT+CFUN=16")
        assert peer.stream.recv(10) == b""
    made.advance(5)
    made.make_ready()
    assert made.command("AT+USOCR=6") == line("+USOCR: 0")


# --- network ----------------------------------------------------------------------------------------------------------


def test_contexts_and_addresses(start):
    made = start()
    address = made.machine.personality.bearer.address(1)
    made.ok('AT+CGDCONT=1,"IP","apn.example"')
    assert made.command("AT+CGDCONT?") == line(f'+CGDCONT: 1,"IP","apn.example","{address}",0,0,0,0,0,0')
    assert made.command("AT+CGPADDR=1") == line(f'+CGPADDR: 1,"{address}"')
    assert start(R4, "cgpaddr-quotes=no").command("AT+CGPADDR=1") == line(f"+CGPADDR: 1,{address}")
    assert made.command("AT+CGACT?") == line("+CGACT: 1,1")
    assert made.command("AT+CEREG?") == line("+CEREG: 0,1")
    assert made.command("AT+CGATT?") == line("+CGATT: 1")
    assert made.command("AT+UPSND=0,0") == line(f'+UPSND: 0,0,"{address}"')
    assert made.command('AT+UDNSRN=0,"example.org"') == line('+UDNSRN: "127.0.0.1"')
    assert made.command('AT+UDNSRN=0,"no.invalid"') == ERROR


@pytest.mark.parametrize(
    ("kind", "profile", "answer"),
    [("IP", 0, OK), ("IP", 1, cme(4001)), ("IP", 2, cme(4001)), ("IPV4V6", 2, OK), ("IPV4V6", 3, OK),
     ("IPV4V6", 0, cme(4001)), ("IPV6", 1, OK)],
)  # fmt: skip
def test_the_types_have_to_agree(start, kind, profile, answer):
    made = start(ready=False)
    made.command("ATE0")
    made.ok("AT+CMEE=1", f'AT+CGDCONT=1,"{kind}"', f"AT+UPSD=0,0,{profile}", "AT+UPSD=0,100,1")
    assert made.command("AT+UPSDA=0,3") == answer


def test_one_profile_of_the_stack_at_a_time(start):
    made = start()
    assert made.command("AT+UPSDA=0,3") == cme(3)
    assert made.command("AT+UPSDA=1,3") == cme(3)
    assert made.command("AT+UPSD=0,100,2") == cme(3)
    assert made.command("AT+UPSD=0,100") == line("+UPSD: 0,100,1")
    made.ok("AT+UPSDA=0,4")
    assert made.command("AT+UPSDA=0,4") == cme(3)
    assert made.command("AT+UPSDA=0,5") == cme(3)


@pytest.mark.parametrize(("variants", "answer"), [(("apn=right.example",), b"\r\n+UUPSDA: 1\r\n"), ((), b"+UUPSDA: 0")])
def test_what_the_network_thinks_of_the_apn(start, variants, answer):
    made = start(R5, *variants, ready=False)
    made.command("ATE0")
    made.ok("AT+CFUN=4", 'AT+CGDCONT=1,"IP","wrong.example"', "AT+CFUN=1")
    made.advance(1)
    made.ok("AT+UPSDA=0,3")
    assert answer in made.until_quiet()


def test_no_psd_commands_on_sara_r41(start):
    made = start(R4)
    for command in ("AT+UPSD=0,0,0", "AT+UPSDA=0,3", "AT+UPSND=0,8"):
        assert made.command(command) == ERROR


def test_operator_profile_only_with_the_radio_off(start):
    made = start()
    assert made.command("AT+UMNOPROF=1") == cme(3)
    assert made.command("AT+CFUN=0") == OK + b"\r\n+UUPSDD: 0\r\n"
    made.ok("AT+UMNOPROF=1")
    assert made.command("AT+UMNOPROF?") == line("+UMNOPROF: 1")


# --- pauses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "gap"), [(R5, 0.02), (R4, 0.1)])
def test_a_command_that_comes_too_soon_is_lost(start, model, gap):
    made = start(model, "gap=strict", ready=False)
    made.command("ATE0")
    made.write(b"AT\r")
    assert made.read() == b""
    made.advance(gap + 0.001)
    made.write(b"AT\r")
    assert made.read() == OK
    made.advance(gap - 0.005)
    made.write(b"AT+CG")
    made.advance(gap)
    made.write(b"MI\r")  # its end belongs to what was lost
    assert made.read() == b""
    made.advance(gap)
    made.write(b"AT\r")
    assert made.read() == OK


def test_a_notice_counts_as_output_too(start):
    made = start(R5, "gap=strict", ready=False)
    made.command("ATE0")
    made.advance(1)
    made.machine.urc("+CEREG: 1")
    made.read()
    made.write(b"AT\r")
    assert made.read() == b""


@pytest.mark.parametrize(("variant", "lost"), [("strict", True), ("any", False)])
def test_bytes_too_soon_behind_the_prompt(start, variant, lost):
    made = start(R5, f"prompt-gap={variant}")
    with Peer() as peer:
        made.open("127.0.0.1", peer.port)
        assert peer.stream
        made.command("AT+USOWR=0,4", limit=0)
        made.write(b"ab")
        made.advance(0.051)
        made.write(b"cdef")
        assert made.read() == line("+USOWR: 0,4")
        assert peer.receive(4) == (b"cdef" if lost else b"abcd")


@pytest.mark.parametrize(("variant", "more"), [("kept", OK), ("lost", b"")])
def test_what_is_typed_while_a_command_runs(start, variant, more):
    made = start(R5, f"typed-ahead={variant}", "dns-time=1")
    made.write(b'AT+UDNSRN=0,"a.example"\r')
    made.write(b"AT\r")
    made.advance(1.1)
    assert made.read() == line('+UDNSRN: "127.0.0.1"') + more


def test_automatic_rate(start):
    made = start()
    made.ok("AT+IPR=0", "AT+IPR=9600", "AT+IPR=0", "AT+CFUN=16")
    made.advance(5)
    assert made.command("AT") == b"AT\r" + OK
    assert made.command("AT+IPR=1200").endswith(ERROR)


def test_power_saving_swallows_the_first_character(start):
    made = start()
    made.ok("AT+UPSV=4,2000")
    made.advance(5)
    made.ok("AT")
    made.advance(10)
    made.write(b"AT\r")
    assert made.read() == b""
    made.write(b"AT\r")
    assert made.read() == OK
    assert made.command("AT+UPSV?") == line("+UPSV: 4,2000")
    made.ok("AT+UPSV=0")
    made.advance(60)
    made.ok("AT")


def test_notices_wait_for_the_end_of_a_command_and_of_its_data(start):
    made = start(R4)
    with Peer() as peer:
        made.open("127.0.0.1", peer.port)
        assert peer.stream
        made.command("AT+USOWR=0,3", limit=0)
        peer.stream.sendall(b"news")
        assert made.until_quiet() == b""
        made.write(b"abc")
        assert made.read() == line("+USOWR: 0,3") + b"\r\n+UUSORD: 0,4\r\n"


def test_the_blank_prompt(start):
    made = start(R5, "import-prompt=blank")
    assert made.command('AT+USECMNG=0,0,"x",3', limit=0) == b"\r\n> "


def test_help_lists_the_models_and_their_variants():
    from modemtls.sim.personalities import models, title
    from modemtls.sim.run import parser

    assert {R4, R5} <= set(models())
    assert title(R5) == "u-blox SARA-R5"
    text = parser().format_help()
    for word in ("ublox-sara-r5", "prompt-gap=any|strict", "module=R510M8S|", "drop ", "datagram-loss="):
        assert word in text
