"""Programs on a real channel, against a modem that follows a script: each step kind, each rule."""

# ruff: noqa: E501 - one case a line

from __future__ import annotations

import threading
import time

import pytest

from modemtls.at.grammar import Outcome
from modemtls.errors import CommandError, ConfigurationError, ModemTimeoutError
from modemtls.profile.model import Timeout
from tests.support.programs import ERRORS, QUICK, TARGET, program
from tests.support.scripted import ERROR, OK, scripted

# -- the other steps ------------------------------------------------------------------------------------------


def test_error_first_and_then_the_line_that_says_why():
    body = program("setup", "- {send: 'AT+START', cause: {use: line, code: open, from: error}}") + (
        "  line:\n    - {await: '+START: {error:int}', timeout: 5}\n" + ERRORS
    )
    with scripted(body, {b"AT+START": ERROR + b"\r\n+START: 566\r\n"}) as (runner, _):
        with pytest.raises(CommandError) as caught:
            runner.run("setup")
        assert caught.value.modem_code == 566


def test_blocks_are_collected_until_the_end_line():
    body = program(
        "tls_receive",
        r"""
- atomic:
    - send: 'AT+R={socket},{size}'
    - await: '+R: {socket},{error:int}'
      collect: '+R: DATA,{socket},{length:int}\r\n{data:raw(length)}'
      timeout: 5
""",
        r"urcs: {push: {match: '+R: DATA,{socket:int},{length:int}\r\n{data:raw(length)}', means: data}}",
    )
    answer = OK + b"\r\n+R: DATA,1,3\r\none\r\n+R: DATA,1,5\r\n\r\nOK\r\r\n+R: 1,0\r\n"
    with scripted(body, {b"AT+R=1,9": answer}) as (runner, _):
        assert runner.run("tls_receive", {"socket": 1, "size": 9}).payload == b"one\r\nOK\r"


def test_the_first_of_several_lines_decides():
    body = program(
        "tls_open",
        """
- send: 'AT+O={socket}'
- await:
    - '+O: {socket},{error:int}'
    - {match: '+GONE: {socket}', fail: {if: {outcome: ok}, kind: closed, text: gone}}
  timeout: 5
""",
        "capabilities: {pull: true}",
    )
    with scripted(body, {b"AT+O=3": [OK + b"\r\n+O: 3,0\r\n", OK + b"\r\n+GONE: 3\r\n"]}) as (runner, _):
        assert runner.run("tls_open", TARGET).values["error"] == 0
        with pytest.raises(CommandError) as caught:
            runner.run("tls_open", TARGET)
        assert (caught.value.kind, caught.value.text) == ("closed", "gone")


def test_the_id_that_the_modem_chose_is_waited_for():
    body = program(
        "tls_open",
        """
- {send: 'AT+NEW', lines: ['+NEW: {socket:int}']}
- send: 'AT+O={socket}'
- {await: '+O: {socket},{error:int}', timeout: 5}
""",
        "capabilities: {pull: true}",
    )
    with scripted(body, {b"AT+NEW": b"\r\n+NEW: 7\r\n" + OK, b"AT+O=7": b"\r\n+O: 3,1\r\n\r\n+O: 7,0\r\n" + OK}) as (
        runner,
        _,
    ):
        result = runner.run("tls_open", TARGET)
        assert (result.values["socket"], result.values["error"]) == (7, 0)


def test_each_first_and_what_is_remembered():
    body = program(
        "setup",
        """
- each: id
  in: {from: 0, to: 2}
  index: place
  first_index: 5
  do:
    - send: 'AT+C={id},{place}'
      tolerate: {outcome: fail}
- first:
    - send: 'AT+OLD'
    - - send: 'AT+NEW'
      - send: 'AT+NEW2'
  remember: spelling
""",
    )
    script = {b"AT+C=0,5": OK, b"AT+C=2,7": OK, b"AT+NEW": OK, b"AT+NEW2": OK}
    with scripted(body, script) as (runner, modem):
        runner.run("setup")
        closes = [b"AT+C=0,5", b"AT+C=1,6", b"AT+C=2,7"]
        assert modem.sent == [*closes, b"AT+OLD", b"AT+NEW", b"AT+NEW2"]
        assert runner.flags == {"spelling": 1}
        modem.sent.clear()
        runner.run("setup")
        assert modem.sent == [*closes, b"AT+NEW", b"AT+NEW2"]
        modem.script[b"AT+NEW"] = ERROR
        with pytest.raises(CommandError, match=r"AT\+OLD"):
            runner.run("setup")


def test_conditions_choose_steps():
    body = program(
        "setup",
        """
- {when: {model: 'XY9*'}, send: 'AT+MODEL'}
- {when: {firmware: {from: R2, below: R10}}, send: 'AT+FIRMWARE'}
- {when: {flag: {not: true}}, send: 'AT+NOFLAG'}
- {set: {flag: true}, scope: boot}
- {when: {flag: true}, send: 'AT+FLAG'}
- {when: {flag: {given: false}}, send: 'AT+NEVER'}
- {set: {number: 5}}
- {when: {number: {min: 5, max: 5}}, send: 'AT+RANGE={number}'}
- {when: {number: {same: number}}, return: ok}
- send: 'AT+END'
""",
    )
    script = dict.fromkeys([b"AT+MODEL", b"AT+FIRMWARE", b"AT+NOFLAG", b"AT+FLAG", b"AT+RANGE=5", b"AT+END"], OK)
    with scripted(body, script, model="XY95", firmware="R9") as (runner, modem):
        runner.run("setup")
        assert modem.sent == [b"AT+MODEL", b"AT+FIRMWARE", b"AT+NOFLAG", b"AT+FLAG", b"AT+RANGE=5"]
    with scripted(body, script, model="AB1", firmware="R10") as (runner, modem):
        runner.run("setup")
        assert modem.sent == [b"AT+NOFLAG", b"AT+FLAG", b"AT+RANGE=5"]


def test_never_more_than_announced():
    body = (
        program(
            "tls_receive",
            r"""
- use: tls_pending
- when: {pending: {given: false}}
  return: empty
- set: {part: {least: [size, pending]}}
- send: 'AT+R={part:number?}'
  lines: ['+R: {length:int},{data:raw(length)}']
""",
        )
        + "  tls_pending:\n    - {send: 'AT+P', see: {manual: x}, lines: [{match: '+P: {pending:int}', repeat: optional}]}\n"
    )
    with scripted(body, {b"AT+P": [b"\r\n+P: 3\r\n" + OK, OK], b"AT+R=3": b"\r\n+R: 3,abc\r\n" + OK}) as (
        runner,
        modem,
    ):
        assert runner.run("tls_receive", {"socket": 1, "size": 100}).payload == b"abc"
        assert runner.run("tls_receive", {"socket": 1, "size": 100}).outcome is Outcome.EMPTY
        assert modem.sent == [b"AT+P", b"AT+R=3", b"AT+P"]


def test_return_of_a_used_program_ends_only_that():
    body = program("setup", "- use: part\n- send: 'AT+AFTER'") + (
        "  part:\n    - {send: 'AT+IN', see: {manual: x}}\n    - return: ok\n"
    )
    with scripted(body, {b"AT+IN": OK, b"AT+AFTER": OK}) as (runner, modem):
        runner.run("setup")
        assert modem.sent == [b"AT+IN", b"AT+AFTER"]


def test_values_given_to_a_used_program_are_its_own():
    body = program("setup", "- set: {n: 1}\n- {use: part, with: {n: 2}}\n- send: 'AT+N={n}'") + (
        "  part:\n    - {send: 'AT+P={n}', see: {manual: x}}\n"
    )
    with scripted(body, {b"AT+P=2": OK, b"AT+N=1": OK}) as (runner, modem):
        runner.run("setup")
        assert modem.sent == [b"AT+P=2", b"AT+N=1"]


def test_finally_comes_in_any_case():
    body = program(
        "setup",
        """
- do:
    - send: 'AT+A'
    - send: 'AT+B'
  on_fail:
    - send: 'AT+UNDO'
    - send: 'AT+UNDO2'
  finally:
    - send: 'AT+LAST'
""",
    )
    script = {b"AT+A": OK, b"AT+B": [OK, b"\r\n+CME ERROR: 3\r\n"], b"AT+UNDO": ERROR, b"AT+UNDO2": OK, b"AT+LAST": OK}
    with scripted(body, script) as (runner, modem):
        runner.run("setup")
        assert modem.sent == [b"AT+A", b"AT+B", b"AT+LAST"]
        modem.sent.clear()
        with pytest.raises(CommandError, match=r"AT\+B") as caught:
            runner.run("setup")
        assert caught.value.modem_code == 3
        assert modem.sent == [b"AT+A", b"AT+B", b"AT+UNDO", b"AT+UNDO2", b"AT+LAST"]


def test_atomic_steps_stay_together():
    body = program("setup", "- atomic:\n    - send: 'AT+SEL'\n    - send: 'AT+USE'") + (
        "  radio_on:\n    - {send: 'AT+Q', see: {manual: x}}\n"
    )
    with scripted(body, {b"AT+SEL": OK, b"AT+USE": OK, b"AT+Q": OK}) as (runner, modem):
        over = threading.Event()
        other = threading.Thread(target=lambda: [runner.run("radio_on") for _ in iter(over.is_set, True)])
        other.start()
        for _ in range(30):
            runner.run("setup")
        over.set()
        other.join()
        picked = [index for index, one in enumerate(modem.sent) if one == b"AT+SEL"]
        assert all(modem.sent[index + 1] == b"AT+USE" for index in picked)


def test_a_lock_keeps_programs_apart_but_not_other_commands():
    body = (
        "programs:\n"
        "  tls_open: {lock: connect, see: {manual: x}, steps: [{send: 'AT+O={socket}'}, {await: '+O: {socket}', timeout: 5}]}\n"
        "  radio_on:\n    - {send: 'AT+Q', see: {manual: x}}\n"
        "capabilities: {pull: true}\n"
    )
    with scripted(body, {b"AT+O=3": OK, b"AT+O=4": OK + b"\r\n+O: 4\r\n", b"AT+Q": OK}) as (runner, modem):
        first = threading.Thread(target=runner.run, args=("tls_open", TARGET))
        first.start()
        while b"AT+O=3" not in modem.sent:
            time.sleep(0.001)
        with pytest.raises(ModemTimeoutError, match="connect"):
            runner.run("tls_open", {**TARGET, "socket": 4}, deadline=runner.channel.clock() + 0.02)
        runner.run("radio_on")  # meanwhile
        modem.say(b"\r\n+O: 3\r\n")
        first.join()
        runner.run("tls_open", {**TARGET, "socket": 4})
        assert modem.sent == [b"AT+O=3", b"AT+Q", b"AT+O=4"]


def test_retry_within_a_time_only():
    body = program("radio_on", "- {send: 'AT+R', retry: {if: {outcome: fail}, within: 20ms, times: 3, after: 1ms}}")
    with scripted(body, {b"AT+R": [ERROR, ERROR, OK]}) as (runner, modem):
        runner.run("radio_on")
        assert len(modem.sent) == 3

    def late(_modem) -> bytes:
        time.sleep(0.03)
        return ERROR

    with scripted(body, {b"AT+R": late}) as (runner, modem):
        with pytest.raises(CommandError):
            runner.run("radio_on")
        assert len(modem.sent) == 1


def test_a_pause_waits_and_answers_to_the_deadline():
    body = program("setup", "- {pause: 20ms, see: {manual: x}}\n- send: 'AT+A'")
    with scripted(body, {b"AT+A": OK}) as (runner, modem):
        began = time.monotonic()
        runner.run("setup")
        assert time.monotonic() - began >= 0.02
        with pytest.raises(ModemTimeoutError, match="pause"):
            runner.run("setup", deadline=runner.channel.clock() + 0.005)
        assert modem.sent == [b"AT+A"]


def test_a_program_can_fail_by_itself():
    body = program("radio_on", "- fail: not_supported\n  text: no radio here")
    with scripted(body, {}) as (runner, modem):
        with pytest.raises(CommandError) as caught:
            runner.run("radio_on")
        assert (caught.value.kind, caught.value.text) == ("not_supported", "no radio here")
        assert modem.sent == []


def test_tolerated_and_not():
    body = program(
        "setup", "- {send: 'AT+A', tolerate: {code: [553]}}\n- {send: 'AT+B', tolerate: true}\n- send: 'AT+C'"
    )
    script = {b"AT+A": [b"\r\n+CME ERROR: 553\r\n", b"\r\n+CME ERROR: 554\r\n"], b"AT+B": ERROR, b"AT+C": OK}
    with scripted(body, script) as (runner, modem):
        runner.run("setup")
        assert modem.sent == [b"AT+A", b"AT+B", b"AT+C"]
        with pytest.raises(CommandError, match="554"):
            runner.run("setup")


# -- odds and ends that a modem depends on --------------------------------------------------------------------


def test_an_optional_line_may_stay_away():
    body = program("tls_send", "- send: 'AT+S'\n- {await: '+S: {sent:int}', timeout: 10ms, optional: true}")
    sending = {"socket": 3, "data": b"", "size": 0}
    with scripted(body, {b"AT+S": [OK, OK + b"\r\n+S: 5\r\n", OK]}) as (runner, _):
        assert "sent" not in runner.run("tls_send", sending).values
        assert runner.run("tls_send", sending).values["sent"] == 5
        with pytest.raises(ModemTimeoutError):  # it is the caller whose time is up, not the line that is absent
            runner.run("tls_send", sending, deadline=runner.channel.clock() + 0.005)


def test_a_checked_value_that_did_not_come():
    body = program("signal", "- {send: 'AT+Q', lines: [{match: '+Q: {rssi:int}', repeat: optional}], check: {rssi: 5}}")
    with scripted(body, {b"AT+Q": [b"\r\n+Q: 5\r\n" + OK, OK]}) as (runner, _):
        runner.run("signal")
        with pytest.raises(CommandError) as caught:
            runner.run("signal")
        assert caught.value.kind == "mismatch"


def test_an_outcome_can_be_tolerated_too():
    body = program("setup", "- {send: 'AT+A', finals: {WAIT: busy}, tolerate: true}\n- send: 'AT+B'")
    with scripted(body, {b"AT+A": b"\r\nWAIT\r\n", b"AT+B": OK}) as (runner, modem):
        assert runner.run("setup").outcome is Outcome.OK
        assert modem.sent == [b"AT+A", b"AT+B"]
    body = program("setup", "- {send: 'AT+A', finals: {WAIT: busy}}\n- send: 'AT+B'")
    with scripted(body, {b"AT+A": b"\r\nWAIT\r\n"}) as (runner, modem):
        assert runner.run("setup").outcome is Outcome.BUSY
        assert modem.sent == [b"AT+A"]


def test_kept_exchanges_are_told_apart_and_serve_the_next_epoch():
    answer = b"\r\n+R: 0\r\n" + OK
    script = {b"AT+R=1,10": answer, b"AT+R=2,10": answer, b"AT+R=1,20": answer}
    with scripted(program("tls_receive", QUICK), script) as (runner, modem):
        wanted = [(1, 10), (2, 10), (1, 20), (1, 10)]
        for socket, size in wanted:
            runner.run("tls_receive", {"socket": socket, "size": size})
        assert modem.sent == [b"AT+R=%d,%d" % one for one in wanted]
        runner.channel.end_epoch("restarted")
        assert runner.run("tls_receive", {"socket": 1, "size": 10}).outcome is Outcome.EMPTY


def test_a_payload_of_a_later_step_is_looked_at_first():
    body = program(
        "credential_write",
        "- send: 'AT+DEL={name:quoted}'\n- {send: 'AT+W={size}', prompt: '>', payload: {data: data, codec: pemlf}}",
    )
    with scripted(body, {}) as (runner, modem):
        with pytest.raises(ConfigurationError, match="not PEM"):
            runner.run("credential_write", {"name": "x", "data": b"no pem", "size": 6, "kind": "ca"})
        assert modem.sent == []


def test_forms_of_payload():
    pem = b"-----BEGIN X-----\r\nAAAA\r\n-----END X-----\r\n"
    body = program(
        "credential_write", "- {send: 'AT+W={payload_size}', prompt: '>', payload: {data: data, codec: pemlf}}"
    ) + (
        "  tls_send:\n    - {send: 'AT+S={payload_size}', see: {manual: x}, prompt: '>', payload: {data: data, as: hex}}\n"
        "  tcp_send:\n    - {send: 'AT+T', see: {manual: x}, prompt: '>', payload: {data: data, end: \"\\x1a\"}}\n"
    )
    with scripted(body, {b"AT+W=39": b"\r\n> ", b"AT+S=4": b"\r\n> ", b"AT+T": b"\r\n> "}) as (runner, modem):
        modem.expect(39)
        runner.run("credential_write", {"name": "x", "data": pem, "size": len(pem), "kind": "ca"})
        modem.expect(4)
        runner.run("tls_send", {"socket": 1, "data": b"\0\xff", "size": 2})
        modem.expect(3)
        runner.run("tcp_send", {"socket": 1, "data": b"hi", "size": 2})
        assert modem.sent[1::2] == [pem.replace(b"\r\n", b"\n"), b"00FF", b"hi\x1a"]


def test_silence_before_an_escape():
    body = program(
        "tcp_send",
        "- {send: 'AT+T', prompt: {line: CONNECT}, payload: {data: data, escape: {text: '+++', quiet: 30ms}}}",
    )
    with scripted(body, {b"AT+T": b"\r\nCONNECT\r\n"}) as (runner, modem):
        modem.expect(2 + 3)
        began = time.monotonic()
        runner.run("tcp_send", {"socket": 1, "data": b"hi", "size": 2})
        assert time.monotonic() - began >= 0.03
        assert modem.sent == [b"AT+T", b"hi+++"]


def test_the_escape_within_data_is_refused_or_split():
    steps = "- {send: 'AT+T', prompt: {line: CONNECT}, payload: {data: data, escape: {text: '+++', quiet: 10ms SPLIT}}}"
    sending = {"socket": 1, "data": b"a+++b", "size": 5}
    with scripted(program("tcp_send", steps.replace("SPLIT", "")), {}) as (runner, modem):
        with pytest.raises(ConfigurationError, match=r"^data: contains b'\+\+\+'"):
            runner.run("tcp_send", sending)
        assert modem.sent == []
    body = program("tcp_send", steps.replace("SPLIT", ", split: true"))
    with scripted(body, {b"AT+T": b"\r\nCONNECT\r\n"}) as (runner, modem):
        modem.expect(5 + 3)
        began = time.monotonic()
        runner.run("tcp_send", sending)
        assert modem.sent == [b"AT+T", b"a+++b+++"]
        assert time.monotonic() - began >= 0.02


def test_nothing_waits_behind_an_escape_that_was_answered():
    body = program(
        "tcp_send",
        "- {send: 'AT+T', prompt: {line: CONNECT}, payload: {data: data, escape: {text: '+++', quiet: 400ms}}}",
        "  setup:\n    - {send: 'AT+A', see: {manual: x}}\n",
    )
    with scripted(body, {b"AT+T": b"\r\nCONNECT\r\n", b"AT+A": OK}) as (runner, modem):
        modem.expect(3)
        runner.run("tcp_send", {"socket": 1, "data": b"", "size": 0})
        began = time.monotonic()
        runner.run("setup")
        assert time.monotonic() - began < 0.35


def test_a_time_out_that_depends_on_a_setting():
    timeout = Timeout(150.0, "handshake_timeout", 300.0)
    assert timeout.seconds({"handshake_timeout": 60}.get) == 210
    assert timeout.seconds({}.get) == 450
    assert Timeout(5.0).seconds({}.get) == 5


def test_a_value_of_the_modem_that_cannot_be_sent_back():
    body = program("setup", "- {send: 'AT+A', lines: ['+A: {name:text}']}\n- send: 'AT+B={name:quoted}'")
    with scripted(body, {b"AT+A": b'\r\n+A: x";+CFUN=0\r\n' + OK}) as (runner, modem):
        with pytest.raises(CommandError, match="cannot be sent back: name"):
            runner.run("setup")
        assert modem.sent == [b"AT+A"]
