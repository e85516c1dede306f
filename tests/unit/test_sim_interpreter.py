"""The simulated modem's V.250 interpreter, as a host sees it."""

from __future__ import annotations

import pytest

from modemtls.sim.clock import ManualClock
from modemtls.sim.command import Form, Refusal, Value, parse_body
from modemtls.sim.harness import Harness
from modemtls.sim.interpreter import Habits, Interpreter
from modemtls.sim.job import Job
from modemtls.sim.loop import Loop


@pytest.fixture
def modem():
    with Harness("quectel-bg96") as made:
        yield made


@pytest.fixture
def quiet(modem):
    """With echo off."""
    modem.command("ATE0")
    return modem


def test_echo_is_the_line_with_its_cr_and_nine_bytes_in_all(modem):
    assert modem.command("AT") == b"AT\r\r\nOK\r\n"


def test_echo_is_per_character_before_the_command_runs(modem):
    for char, echoed in ((b"A", b"A"), (b"T", b"T"), (b"E0", b"E0")):
        modem.write(char)
        assert modem.read() == echoed
    modem.write(b"\r")
    assert modem.read() == b"\r\r\nOK\r\n"  # the command that turns echo off is echoed itself
    assert modem.command("AT") == b"\r\nOK\r\n"


def test_at_may_be_lower_or_mixed_case_and_blanks_do_not_matter(quiet):
    for line in ("at", "At", "AT  +CSQ ", "at+csq", "AT+C S Q"):
        assert quiet.command(line).endswith(b"OK\r\n"), line


def test_blanks_inside_quotes_are_kept(quiet):
    quiet.command('AT+QICSGP=1,1, "two words" ,"","",0')
    assert quiet.command("AT+QICSGP=1") == b'\r\n+QICSGP: 1,"two words","","",0\r\n\r\nOK\r\n'


def test_line_without_at_is_noise(modem):
    modem.write(b"hello\r")
    assert modem.read() == b"hello\r"


def test_a_prefix_in_noise_is_found(quiet):
    quiet.write(b"\x00\xff~~AT\r")
    assert quiet.read() == b"\r\nOK\r\n"


def test_line_feed_behind_cr_is_ignored_in_one_piece_or_two(quiet):
    quiet.write(b"AT\r\nAT\r\n")
    assert quiet.read() == b"\r\nOK\r\n" * 2
    quiet.write(b"AT\r")
    quiet.write(b"\nAT\r")
    assert quiet.read() == b"\r\nOK\r\n" * 2


def test_backspace_edits(quiet):
    quiet.write(b"AT+CXX\x08\x08SQ\r")
    assert b"+CSQ: " in quiet.read()


def test_several_information_lines_have_one_line_end_between_and_one_empty_line_before_the_result(quiet):
    assert quiet.command("ATI") == b"\r\nQuectel\r\nBG96\r\nRevision: BG96MAR02A07M1G\r\n\r\nOK\r\n"


def test_numeric_results(quiet):
    assert quiet.command("ATV0") == b"0\r"
    assert quiet.command("ATI") == b"Quectel\r\nBG96\r\nRevision: BG96MAR02A07M1G\r\n0\r"
    assert quiet.command("AT+NOSUCH") == b"4\r"
    assert quiet.command("ATO") == b"3\r"
    assert quiet.command("ATV1") == b"\r\nOK\r\n"


def test_q1_prints_no_result_but_information(quiet):
    assert quiet.command("ATQ1") == b""
    assert quiet.command("AT+GMM") == b"\r\nBG96\r\n"
    assert quiet.command("AT+NOSUCH") == b""
    assert quiet.command("ATQ0") == b"\r\nOK\r\n"


def test_concatenated_commands_give_one_result(quiet):
    assert quiet.command("ATE0V1+CMEE=1;+GMM;+CFUN?") == b"\r\nBG96\r\n\r\n+CFUN: 1\r\n\r\nOK\r\n"


def test_the_first_failure_ends_the_line_with_one_result(quiet):
    answer = quiet.command("AT+GMM;+NOSUCH;+CMEE=0")
    assert answer == b"\r\nBG96\r\n\r\nERROR\r\n"
    assert quiet.command("AT+CMEE?") == b"\r\n+CMEE: 1\r\n\r\nOK\r\n"  # the third did not run


def test_blocking_command_in_a_list_delays_the_rest(quiet):
    assert quiet.command("AT+QIACT=1;+QIACT?") == b'\r\n+QIACT: 1,1,1,"10.76.51.180"\r\n\r\nOK\r\n'


def test_a_slash_repeats_at_once_without_cr(quiet):
    quiet.command("AT+GMM")
    quiet.write(b"A/")
    assert quiet.read() == b"\r\nBG96\r\n\r\nOK\r\n"
    quiet.write(b"a")
    assert quiet.read() == b""
    quiet.write(b"/AT\r")
    assert quiet.read() == b"\r\nBG96\r\n\r\nOK\r\n\r\nOK\r\n"


def test_s3_and_s4_shape_lines_and_answers(quiet):
    assert quiet.command("ATS3?") == b"\r\n013\r\n\r\nOK\r\n"
    quiet.write(b"ATS3=33\r")  # the line ends with an exclamation mark from now on
    quiet.read()
    quiet.write(b"AT!")
    assert quiet.read() == b"!\nOK!\n"
    quiet.write(b"ATS4=63!")
    quiet.read()
    quiet.write(b"AT!")
    assert quiet.read() == b"!?OK!?"


def test_error_forms(quiet):
    assert quiet.command('AT+CPIN="1234"') == b"\r\n+CME ERROR: 3\r\n"
    quiet.command("AT+CMEE=2")
    assert quiet.command('AT+CPIN="1234"') == b"\r\n+CME ERROR: operation not allowed\r\n"
    quiet.command("AT+CMEE=0")
    assert quiet.command('AT+CPIN="1234"') == b"\r\nERROR\r\n"


def test_typed_ahead_commands_wait_for_a_blocking_one(quiet):
    quiet.write(b"AT+QIACT=1\rAT+GMM\r")
    assert quiet.read() == b""
    quiet.advance(0.1)
    assert quiet.read() == b"\r\nOK\r\n\r\nBG96\r\n\r\nOK\r\n"


def test_overlong_line_is_an_error_and_harmless(quiet):
    quiet.write(b'AT+QISENDEX=0,"' + b"0" * 10000 + b'"\r')
    assert quiet.read() == b"\r\nERROR\r\n"
    assert quiet.command("AT") == b"\r\nOK\r\n"


def test_thousands_of_commands_in_one_line(quiet):
    assert quiet.command("AT" + "E0" * 2000) == b"\r\nOK\r\n"


@pytest.mark.parametrize(
    "line", ['AT+QICSGP=1,1,"open', 'AT+QICSGP=1,1,"a"b', "AT+CFUN=1?", "AT+CFUN==1", "AT?", 'AT"', "AT+"]
)
def test_malformed_commands_are_errors(quiet, line):
    assert quiet.command(line).endswith(b"ERROR\r\n")


def test_factory_and_saved_settings(quiet):
    quiet.command("AT&W")
    quiet.command("ATE1")
    assert quiet.command("ATZ") == b"ATZ\r\r\nOK\r\n"
    assert quiet.command("AT") == b"\r\nOK\r\n"
    assert quiet.command("AT&F") == b"\r\nOK\r\n"
    assert quiet.command("AT") == b"AT\r\r\nOK\r\n"


def test_saved_settings_survive_a_restart_and_others_do_not(quiet):
    quiet.command("AT&W")
    quiet.command("AT+CMEE=2")
    quiet.command("AT+CFUN=1,1")
    quiet.advance(3)
    quiet.read()
    assert quiet.command("AT+CMEE?") == b"\r\n+CMEE: 1\r\n\r\nOK\r\n"  # and no echo


def test_latency_delays_the_answer_not_the_echo():
    with Harness(variants=["latency=0.5"]) as modem:
        modem.write(b"AT\r")
        assert modem.read() == b"AT\r"
        modem.advance(0.4)
        assert modem.read() == b""
        modem.advance(0.2)
        assert modem.read() == b"\r\nOK\r\n"


def test_parsing_keeps_quotes_and_gaps_apart():
    (command,) = parse_body('+QIOPEN=1,"1",,"",x')
    assert command.form is Form.SET
    assert command.values == (Value("1"), Value("1", quoted=True), Value(""), Value("", quoted=True), Value("x"))
    assert [value.empty for value in command.values] == [False, False, True, False, False]


def test_parsing_mixed_line():
    commands = parse_body('e0 v1 s3=13 &f+QX="a;b";+Y?;+Z=?;d*99#;')
    assert [command.name for command in commands] == ["E", "V", "S", "&F", "+QX", "+Y", "+Z", "D"]
    assert commands[4].values == (Value("a;b", quoted=True),)
    assert [command.form for command in commands[5:7]] == [Form.READ, Form.TEST]


def test_habits_of_a_family():
    """Its longest line and what it says to a longer one, commands that take a whole line, URCs that wait."""

    loop = Loop(ManualClock())
    out = bytearray()
    waiting: list[Job] = []

    def later(job: Job) -> None:
        job.defer()
        waiting.append(job)

    table = {"+LONE": lambda job: None, "+MORE": lambda job: None, "+WAIT": later}
    habits = Habits(longest_line=20, too_long=Refusal(cme=1650), alone=frozenset({"+LONE"}), numeric={"DISCONNECT": 14})
    made = Interpreter(loop, out.extend, table, urcs_in_answer=False, habits=habits)
    made.settings.echo = False

    def said(line: bytes) -> bytes:
        out.clear()
        made.receive(line + b"\r")
        return bytes(out)

    assert said(b"AT+LONE") == b"\r\nOK\r\n"
    assert said(b"AT+MORE;+MORE") == b"\r\nOK\r\n"
    assert said(b"AT+MORE;+LONE") == b"\r\nERROR\r\n"
    assert said(b"AT+LONE;+MORE") == b"\r\nERROR\r\n"
    assert said(b"AT+MORE" + b"=" + b"1" * 12) == b"\r\nOK\r\n"
    assert said(b"AT+MORE" + b"=" + b"1" * 13) == b"\r\n+CME ERROR: 1650\r\n"
    made.settings.verbose = False
    assert made.result("DISCONNECT") == b"14\r"
    made.settings.verbose = True
    assert said(b"AT+WAIT") == b""
    made.urc(b"\r\n+URC\r\n")
    assert out == b""
    waiting.pop().ok()
    assert out == b"\r\nOK\r\n\r\n+URC\r\n"
    loop.close()
