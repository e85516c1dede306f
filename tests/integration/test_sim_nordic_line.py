"""The line of the simulated Nordic modems: what is a command, how answers are framed, when URCs come."""

from __future__ import annotations

import pytest

from modemtls.sim.harness import Harness
from tests.support.nordic import ERROR, OK, SLM, SM, modem


def booted(made: Harness) -> bytes:
    made.machine.opened()
    made.advance(1.0)
    return made.read()


@pytest.mark.parametrize("model", [SLM, SM])
def test_ready_has_no_crlf_before_it(model):
    with Harness(model, boot=False) as made:
        assert booted(made) == b"Ready\r\n"
        assert made.command("AT#XRESET") == OK
        made.advance(1.0)
        assert made.read() == b"Ready\r\n"


def test_a_modem_library_that_does_not_start():
    with Harness(SM, variants=["boot-result=init-error"], boot=False) as made:
        assert booted(made) == b"INIT ERROR\r\n"
        assert made.command("AT") == OK
        assert made.command("AT+CFUN?") == ERROR
        assert made.command("AT#XSOCKET=1,1,0") == ERROR


@pytest.mark.parametrize(("model", "mine", "other"), [(SLM, "XSLMVER", "XSMVER"), (SM, "XSMVER", "XSLMVER")])
def test_the_version_query_tells_the_dialect(model, mine, other):
    with modem(model, online=False) as made:
        answer = made.command(f"AT#{mine}")
        assert answer.startswith(f'\r\n#{mine}: "'.encode())
        assert answer.endswith(b'"\r\n\r\nOK\r\n')
        assert made.command(f"AT#{other}") == ERROR


@pytest.mark.parametrize("model", [SLM, SM])
@pytest.mark.parametrize("line", ["ATI", "ATZ", "AT&F", "ATH", "ATO", "AT+", "AT#", "ATE2", "AT^X", "AT+CFUN=", "AT;"])
def test_only_at_and_its_three_marks_are_commands(model, line):
    with modem(model, online=False) as made:
        assert made.command(line) == ERROR
        assert made.command("AT") == OK


def test_nothing_can_be_chained():
    with modem(SM, online=False) as made:
        assert made.command("AT+CMEE=1;+CMEE?") == ERROR
        assert made.command("AT+CMEE?") == b"\r\n+CMEE: 0\r\n\r\nOK\r\n"


def test_echo_is_off_and_only_the_newer_one_has_ate():
    with modem(SM, online=False) as made:
        assert made.command("AT") == OK
        assert made.command("ATE1") == OK
        assert made.command("AT+CMEE=1") == b"AT+CMEE=1\r" + OK
        assert made.command("ate0") == b"ate0\r" + OK
        assert made.command("AT") == OK
    with modem(SLM, online=False) as made:
        assert made.command("ATE1") == ERROR
        assert made.command("AT") == OK


def test_echo_may_be_cut_but_its_end_is_not():
    with modem(SM, "echo-max=4", online=False) as made:
        made.command("ATE1")
        assert made.command("AT+CMEE=1") == b"AT+C\r" + OK


def test_bytes_before_at_are_dropped():
    with modem(SM, online=False) as made:
        made.write(b"\x00\xff\n~a A\nat\r")
        assert made.read() == OK
        made.write(b"hello\r\r\n\r\r")  # nothing of it is a command, nothing of it is answered
        assert made.read() == b""


def test_backspace_and_delete():
    with modem(SM, online=False) as made:
        made.write(b"ATX\x08\r")
        assert made.read() == OK
        made.write(b"AT+CMEE=12\x7f\r")
        assert made.read() == OK
        made.write(b"BTT\x08\x08\x08\x08AT\r")
        assert made.read() == OK
        made.write(b'AT+CMEE"\x08?\r')  # the quote is gone, and what it opened
        assert made.read() == b"\r\n+CMEE: 1\r\n" + OK
        assert made.command("AT") == OK


@pytest.mark.parametrize(
    ("variant", "good", "ignored"),
    [("cr", b"AT\r", b"AT\n"), ("crlf", b"AT\r\n", b"AT\r"), ("lf", b"AT\n", b"AT\r")],
)
def test_terminators(variant, good, ignored):
    with modem(SM, f"terminator={variant}", online=False) as made:
        for cut in range(len(good)):
            made.write(good[:cut])
            made.write(good[cut:])
            assert made.read() == OK
        made.write(ignored)
        made.advance(1.0)
        assert made.read() == b""


def test_crlf_suits_a_modem_that_wants_cr():
    with modem(SM, online=False) as made:
        made.write(b"AT\r\nAT+CMEE?\r\nAT\r\n")
        assert made.read() == OK + b"\r\n+CMEE: 0\r\n" + OK + OK


def test_a_terminator_inside_quotes_is_content():
    for model, end in ((SLM, b"\r\n"), (SM, b"\r")):
        with modem(model, "content-check=none", online=False) as made:
            made.write(b'AT%CMNG=0,7,0,"a' + end + b"AT" + end + b'b"' + end)
            assert made.read() == OK
            assert made.machine.personality.snapshot() == {"7/0": b"a" + end + b"AT" + end + b"b"}


def test_a_quote_left_open_swallows_what_follows():
    with modem(SM, online=False) as made:
        made.write(b'AT%CMNG=0,7,0,"a\rAT\rAT\r')
        made.advance(60)
        assert made.read() == b""
        made.write(b'"\r')
        assert made.read() == ERROR  # content that is no PEM
        assert made.command("AT") == OK


@pytest.mark.parametrize(("model", "most"), [(SLM, 4096), (SM, 8192)])
def test_longest_line(model, most):
    with modem(model, "content-check=none", online=False) as made:
        head = 'AT%CMNG=0,7,0,"'
        assert made.command(head + "a" * (most - len(head) - 1) + '"') == OK
        assert made.command(head + "a" * (most - len(head)) + '"') == ERROR
        assert made.command("AT") == OK


def test_answers_of_the_application_and_of_the_modem_are_framed_alike():
    with modem(SM) as made:
        assert made.command("AT#XSOCKET=1,1,0") == b"\r\n#XSOCKET: 0,1,6\r\n\r\nOK\r\n"
        assert made.command("AT+CEREG?") == b"\r\n+CEREG: 0,1\r\n\r\nOK\r\n"
        made.command("AT#XSOCKET=1,2,0")
        lines = b"\r\n#XCLOSE: 0,0\r\n\r\n#XCLOSE: 1,0\r\n"
        assert made.command("AT#XCLOSE") == lines + OK
        made.command('AT+CGDCONT=1,"IP","x"')
        answer = made.command("AT+CGDCONT?")  # one blank line, before the final result
        assert answer.count(b"\r\n\r\n") == 1
        assert answer.startswith(b'\r\n+CGDCONT: 0,"IP",')
        assert b'\r\n+CGDCONT: 1,"IP","x","",0,0\r\n\r\nOK\r\n' in answer


def test_errors_have_numbers_only_where_the_modem_itself_answers_and_was_told_to():
    with modem(SM, online=False) as made:
        assert made.command("AT%CMNG=3,7,0") == ERROR
        made.command("AT+CMEE=1")
        assert made.command("AT%CMNG=3,7,0") == b"\r\n+CME ERROR: 513\r\n"
        assert made.command("AT#XCLOSE=3") == ERROR
        assert made.command("AT+CMEE=2") == ERROR


def test_urcs_wait_while_a_line_is_typed_and_an_idle_timer_ends_that():
    with modem(SM, online=False) as made:
        made.command("AT+CEREG=1")
        made.command("AT+CFUN=1")
        made.write(b"AT+CM")
        made.machine.personality.urc("#XTEST: 1")
        assert made.read() == b""
        made.write(b"EE?\r")
        assert made.read() == b"\r\n+CMEE: 0\r\n\r\nOK\r\n\r\n#XTEST: 1\r\n"
        made.write(b"AT+CM")
        made.machine.personality.urc("#XTEST: 2")
        made.advance(0.09)
        assert made.read() == b""
        made.advance(0.02)
        assert made.read() == b"\r\n#XTEST: 2\r\n"
        made.machine.personality.urc("#XTEST: 3")  # nobody types any more
        assert made.read() == b"\r\n#XTEST: 3\r\n"
        made.write(b"EE?\r")
        assert b"+CMEE: 0\r\n" in made.settle(lambda out: b"OK" in out)


def test_urcs_wait_for_the_final_result():
    with modem(SM, "cfun-time=1", online=True) as made:
        made.command("AT+CEREG=1")
        made.write(b"AT+CFUN=4\r")
        made.machine.personality.urc("#XTEST: 1")
        assert made.read() == b""
        made.advance(2)
        assert made.read() == OK + b"\r\n#XTEST: 1\r\n\r\n+CEREG: 0\r\n"


def test_the_rate_changes_behind_the_answer_and_within_limits():
    with modem(SM, online=False) as made:
        assert made.command("AT+IPR=1000000") == OK
        assert made.machine.line.baud == 1000000
        for rate in ("9600", "115201", "2000000"):
            assert made.command(f"AT+IPR={rate}") == ERROR
        assert made.command("AT#XDATACTRL?") == b"\r\n#XDATACTRL: 31,31\r\n\r\nOK\r\n"
    with modem(SLM, online=False) as made:
        assert made.command("AT+IPR=115200") == ERROR


def test_sleep_and_power():
    with modem(SM, online=False) as made:
        assert made.command("AT#XSLEEP=2") == OK
        made.write(b"AT\r")
        assert made.read() == b""
        made.machine.power_on()  # the pin that wakes it
        made.write(b"AT\r")
        assert made.read() == OK
        for command in ("AT#XSLEEP=1", "AT#XSHUTDOWN"):
            assert made.command(command) == OK
            made.write(b"AT\r")
            made.advance(5)
            assert made.read() == b""
            made.machine.power_on()
            made.advance(1)
            assert made.read() == b"Ready\r\n"
        assert made.command("AT#XSLEEP=3") == ERROR


def test_floods_do_no_harm():
    for data in (b"\0" * 100000, b"AT" * 50000, b'AT%X="' + b"a" * 100000 + b'"', b"\x7f" * 9999):
        with modem(SM, online=False) as made:
            made.write(data + b"\r")
            made.read()
            assert made.command("AT").endswith(OK)
            assert made.machine.interpreter.backlog == 0
