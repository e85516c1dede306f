"""Programs on a real channel, against a modem that follows a script: each step kind, each rule."""

# ruff: noqa: E501, SIM117 - one case a line; who runs and what fails are two contexts

from __future__ import annotations

import threading
import time

import pytest

from modemtls.at.grammar import Outcome
from modemtls.errors import (
    CommandError,
    ConfigurationError,
    ModemRestartedError,
    ModemTimeoutError,
    NotSupportedError,
)
from modemtls.profile.model import Timeout
from tests.support.scripted import ERROR, OK, scripted

SEE = "see: {manual: x}"


def program(name: str, steps: str, rest: str = "") -> str:
    body = "\n".join("      " + line for line in steps.strip("\n").splitlines())
    return f"programs:\n  {name}:\n    {SEE}\n    steps:\n{body}\n{rest}"


# -- exchanges ------------------------------------------------------------------------------------------------


def test_values_rows_maps_and_kept_rows():
    text = program(
        "pdp_list",
        """
- send: 'AT+X?'
  lines:
    - {match: '+X: {pdp:int},{state:int},{address:quoted}', repeat: many, keep: {state: open}, map: {state: states}}
    - {match: '+N: {count:int}', repeat: optional, map: {count: {table: states, otherwise: odd}}}
""",
        "tables: {states: {closed: 0, open: [1, 5]}}",
    )
    lines = b'\r\n+X: 1,1,"a"\r\n+X: 2,0,"b"\r\n+X: 3,5,"c"\r\n+N: 9\r\n'
    with scripted(text, {b"AT+X?": lines + OK}) as (runner, _):
        result = runner.run("pdp_list")
        assert result.outcome is Outcome.OK
        assert [(row["pdp"], row["state"], row["address"]) for row in result.rows] == [
            (1, "open", "a"),
            (3, "open", "c"),
        ]
        assert result.values["count"] == "odd"
        assert result.text == "OK"


@pytest.mark.parametrize(
    ("answer", "outcome", "payload"),
    [
        (b"\r\n+R: 5\r\nOK\r\n\n\r\n" + OK, Outcome.OK, b"OK\r\n\n"),
        (b"\r\n+R: 0\r\n" + OK, Outcome.EMPTY, b""),
        (OK, Outcome.EOF, b""),
        (b"\r\n+CME ERROR: 3\r\n", Outcome.CLOSED, b""),
    ],
)
def test_outcomes_of_a_read(answer, outcome, payload):
    text = program(
        "tls_receive",
        r"""
- send: 'AT+R={socket},{size}'
  lines: [{match: '+R: {length:int}\r\n{data:raw(length)}', repeat: optional}]
  outcome:
    - {if: {code: 3}, is: closed}
    - {if: {outcome: ok, length: {given: false}}, is: eof}
    - {if: {length: 0}, is: empty}
""",
    )
    with scripted(text, {b"AT+R=4,100": answer}) as (runner, _):
        for _ in range(2):  # new, then kept
            result = runner.run("tls_receive", {"socket": 4, "size": 100})
            assert (result.outcome, result.payload) == (outcome, payload)


QUICK = r"""
- send: 'AT+R={socket},{size}'
  lines: ['+R: {length:int}\r\n{data:raw(length)}']
  outcome:
    - {if: {length: 0}, is: empty}
"""


def test_the_quick_way_gives_the_same():
    with scripted(
        program("tls_receive", QUICK), {b"AT+R=4,9": [b"\r\n+R: 2\r\nhi\r\n" + OK, b"\r\n+R: 0\r\n" + OK, ERROR]}
    ) as (
        runner,
        modem,
    ):
        bindings = {"socket": 4, "size": 9}
        first = runner.run("tls_receive", bindings)
        assert (first.outcome, first.payload, first.values) == (Outcome.OK, b"hi", {"length": 2, "data": b"hi"})
        assert runner.run("tls_receive", bindings).outcome is Outcome.EMPTY
        with pytest.raises(CommandError, match=r"AT\+R=4,9: ERROR"):
            runner.run("tls_receive", bindings)
        assert modem.sent == [b"AT+R=4,9"] * 3


SENDING = """
- send: 'AT+S={socket},{size}'
  prompt: '>'
  payload: data
  finals: {SEND OK: ok, SEND FAIL: busy}
  lines: [{match: '+S: {sent:int}', repeat: optional}]
  outcome:
    - {if: {outcome: fail, sent: {min: 1}}, is: partial}
    - {if: {outcome: ok, sent: {below: size}}, is: partial}
"""


@pytest.mark.parametrize(
    ("answer", "outcome", "sent"),
    [
        (b"\r\nSEND OK\r\n", Outcome.OK, None),
        (b"\r\nSEND FAIL\r\n", Outcome.BUSY, None),
        (b"\r\n+S: 3\r\n\r\nSEND OK\r\n", Outcome.PARTIAL, 3),
        (b"\r\n+S: 5\r\n\r\nSEND OK\r\n", Outcome.OK, 5),
        (b"\r\n+S: 2\r\n" + ERROR, Outcome.PARTIAL, 2),  # lines before an ERROR matter
    ],
)
def test_outcomes_of_a_send(answer, outcome, sent):
    with scripted(program("tls_send", SENDING), {b"AT+S=4,5": b"\r\n> "}) as (runner, modem):
        for payload in (b"hello", b"\r\x1a>\0\xff"):
            modem.expect(5, answer)
            result = runner.run("tls_send", {"socket": 4, "data": payload, "size": 5})
            assert (result.outcome, result.values.get("sent")) == (outcome, sent)
        assert modem.sent == [b"AT+S=4,5", b"hello", b"AT+S=4,5", b"\r\x1a>\0\xff"]


def test_checksums_are_checked_and_differences_are_told():
    text = program(
        "credential_write",
        """
- send: 'AT+U={name:quoted},{size}'
  prompt: {line: CONNECT}
  payload: data
  lines: ['+U: {written:int},{sum:hexint}']
  check: {written: '{size}', sum: '{data|xor16}'}
""",
    )
    with scripted(text, {b'AT+U="ca.pem",10': b"\r\nCONNECT\r\n"}) as (runner, modem):
        bindings = {"name": "ca.pem", "data": b"1234567890", "size": 10, "kind": "ca"}
        modem.expect(10, b"\r\n+U: 10,3938\r\n" + OK)
        assert runner.run("credential_write", bindings).outcome is Outcome.OK
        modem.expect(10, b"\r\n+U: 10,3939\r\n" + OK)
        with pytest.raises(CommandError, match="sum is not what it was set to") as caught:
            runner.run("credential_write", bindings)
        assert caught.value.kind == "mismatch"


def test_digest_case_does_not_matter():
    text = program(
        "credential_write",
        """
- send: 'AT+U={name:quoted},{size}'
  prompt: {text: '@', settle: 1ms}
  payload: data
  lines: ['+U: {digest:quoted}']
  check: {digest: '{data|md5}'}
""",
    )
    with scripted(text, {b'AT+U="x",1': b"\r\n@"}) as (runner, modem):
        modem.expect(1, b'\r\n+U: "0CC175B9C0F1B6A831C399E269772661"\r\n' + OK)
        runner.run("credential_write", {"name": "x", "data": b"a", "size": 1, "kind": "key"})


def test_payload_size_is_what_is_sent():
    text = program(
        "psk_write",
        """
- send: 'AT+F={name:bare},{payload_size}'
  prompt: '>'
  payload: {data: '{identity:line}:{key:hexlower}'}
""",
    )
    with scripted(text, {b"AT+F=psk,8": b"\r\n> "}) as (runner, modem):
        modem.expect(8)
        runner.run("psk_write", {"name": "psk", "identity": "dev", "key": b"\xab\xcd"})
        assert modem.sent[1] == b"dev:abcd"


def test_a_line_that_had_to_come_and_did_not():
    with scripted(program("signal", "- {send: 'AT+Q', lines: ['+Q: {rssi:int}']}"), {b"AT+Q": OK}) as (runner, _):
        with pytest.raises(CommandError, match="the answer lacks"):
            runner.run("signal")


# -- failures -------------------------------------------------------------------------------------------------

ERRORS = """
errors:
  file: {codes: {405: {kind: not_found, text: file not found}}}
  open: {codes: {563: {kind: socket_in_use, text: id in use}, 566: {kind: connect_or_handshake, text: failed}}}
"""


@pytest.mark.parametrize(
    ("answer", "namespace", "code", "kind", "text"),
    [
        (b"\r\n+CME ERROR: 405\r\n", "file", 405, "not_found", "file not found"),
        (b"\r\n+CME ERROR: 16\r\n", "cme", 16, "pin_wrong", "incorrect password"),
        (b"\r\n+CME ERROR: file not found\r\n", "file", 405, "not_found", "file not found"),
        (b"\r\n+CME ERROR: SIM busy\r\n", "cme", 14, "busy", "SIM busy"),
        (b"\r\n+CME ERROR: never heard of\r\n", "file", "never heard of", "unknown", None),
        (b"\r\n+CME ERROR: 9999\r\n", "file", 9999, "unknown", None),
        (ERROR, "", None, "unknown", "ERROR"),
    ],
)
def test_what_a_failure_says(answer, namespace, code, kind, text):
    body = program("credential_delete", "- {send: 'AT+D={name:quoted}', cme: file}", ERRORS)
    with scripted(body, {b'AT+D="x"': answer}) as (runner, _):
        with pytest.raises(CommandError) as caught:
            runner.run("credential_delete", {"name": "x"})
    error = caught.value
    assert (error.namespace, error.code, error.kind) == (namespace, code, kind)
    assert text is None or error.text == text
    assert error.command == 'AT+D="x"'
    assert str(error).startswith('AT+D="x": ')


def test_absent_is_an_outcome_and_not_an_error():
    body = program(
        "credential_delete",
        "- {send: 'AT+D={name:quoted}', cme: file, outcome: [{if: {kind: not_found}, is: absent}]}",
        ERRORS,
    )
    with scripted(body, {b'AT+D="x"': b"\r\n+CME ERROR: 405\r\n"}) as (runner, _):
        assert runner.run("credential_delete", {"name": "x"}).outcome is Outcome.ABSENT


def test_a_failure_can_be_an_answer():
    body = program(
        "sim_state",
        "- {send: 'AT+CPIN?', lines: [{match: '+CPIN: {state:text}', repeat: optional,"
        " map: {state: sim}}], outcome: [{if: {code: 10}, is: ok, set: {state: absent}}]}",
        "tables: {sim: {ready: READY}}",
    )
    with scripted(body, {b"AT+CPIN?": b"\r\n+CME ERROR: 10\r\n"}) as (runner, _):
        result = runner.run("sim_state")
        assert (result.outcome, result.values["state"]) == (Outcome.OK, "absent")


OPEN = (
    """
programs:
  tls_open:
    see: {manual: x}
    steps:
      - do:
          - send: 'AT+O={socket},{host:host},{port}'
            cause: {use: last_error, code: open, except: [0]}
          - await: '+O: {socket},{error:int}'
            timeout: 5
            fail: {unless: {error: 0}, code: open}
        retry: {if: {code: 563}, times: 1, before: [{use: tls_close}]}
    on_fail:
      - use: tls_close
  last_error:
    - {send: 'AT+E', see: {manual: x}, lines: ['+E: {code:int},{reason:text}']}
  tls_close:
    - {send: 'AT+C={socket}', see: {manual: x}, tolerate: {outcome: fail}}
capabilities: {pull: true, push: false}
"""
    + ERRORS
)
TARGET = {"pdp": 1, "context": 0, "socket": 3, "host": "a.example", "port": 443, "receive": "pull"}
COMMAND = b'AT+O=3,"a.example",443'


@pytest.mark.parametrize(
    "answer", [OK + b"\r\n+O: 3,0\r\n", b"\r\n+O: 3,0\r\n" + OK, b"\r\n+O: 4,566\r\n" + OK + b"\r\n+O: 3,0\r\n"]
)
def test_the_result_may_come_before_or_behind_ok(answer):
    with scripted(OPEN, {COMMAND: answer}) as (runner, modem):
        assert runner.run("tls_open", TARGET).values["error"] == 0
        assert modem.sent == [COMMAND]


def test_a_failed_open_is_cleaned_up_and_says_why():
    with scripted(OPEN, {COMMAND: OK + b"\r\n+O: 3,566\r\n", b"AT+C=3": OK}) as (runner, modem):
        with pytest.raises(CommandError) as caught:
            runner.run("tls_open", TARGET)
        assert (caught.value.namespace, caught.value.code, caught.value.kind) == ("open", 566, "connect_or_handshake")
        assert modem.sent == [COMMAND, b"AT+C=3"]


def test_the_cause_is_asked_for_and_the_recipe_followed():
    script = {COMMAND: [ERROR, OK + b"\r\n+O: 3,0\r\n"], b"AT+E": b"\r\n+E: 563,id in use\r\n" + OK, b"AT+C=3": OK}
    with scripted(OPEN, script) as (runner, modem):
        assert runner.run("tls_open", TARGET).outcome is Outcome.OK
        assert modem.sent == [COMMAND, b"AT+E", b"AT+C=3", COMMAND]


def test_a_recipe_is_not_followed_for_ever():
    script = {COMMAND: ERROR, b"AT+E": b"\r\n+E: 563,id in use\r\n" + OK, b"AT+C=3": ERROR}
    with scripted(OPEN, script) as (runner, modem):
        with pytest.raises(CommandError) as caught:
            runner.run("tls_open", TARGET)
        assert caught.value.code == 563
        assert modem.sent.count(COMMAND) == 2


@pytest.mark.parametrize("answer", [b"\r\n+E: 0,operate successfully\r\n" + OK, ERROR])
def test_a_cause_that_says_nothing(answer):
    with scripted(OPEN, {COMMAND: ERROR, b"AT+E": answer, b"AT+C=3": OK}) as (runner, _modem):
        with pytest.raises(CommandError) as caught:
            runner.run("tls_open", TARGET)
        assert (caught.value.code, caught.value.text, caught.value.command) == (None, "ERROR", COMMAND.decode())


def test_nobody_comes_between_a_failure_and_its_cause():
    """Another thread wants the line all the time; the question for the cause is next all the same."""
    body = program("tls_send", "- {send: 'AT+S={socket}', cause: {use: ask, code: open}}") + (
        "  ask:\n    - {send: 'AT+E', see: {manual: x}, lines: ['+E: {code:int}']}\n"
        "  radio_on:\n    - {send: 'AT+Q', see: {manual: x}}\n" + ERRORS
    )
    with scripted(body, {b"AT+S=1": ERROR, b"AT+E": b"\r\n+E: 566\r\n" + OK, b"AT+Q": OK}) as (runner, modem):
        over = threading.Event()

        def disturb() -> None:
            while not over.is_set():
                runner.run("radio_on")

        other = threading.Thread(target=disturb)
        other.start()
        try:
            for _ in range(30):
                with pytest.raises(CommandError) as caught:
                    runner.run("tls_send", {"socket": 1, "data": b"x", "size": 1})
                assert caught.value.code == 566
        finally:
            over.set()
            other.join()
        asked = [index for index, one in enumerate(modem.sent) if one == b"AT+S=1"]
        assert all(modem.sent[index + 1] == b"AT+E" for index in asked)
        assert modem.sent.count(b"AT+Q") > 5


def test_no_result_in_time():
    with scripted(OPEN.replace("timeout: 5", "timeout: 10ms"), {COMMAND: OK}) as (runner, _):
        with pytest.raises(ModemTimeoutError, match=r"AT\+O.*no result in time"):
            runner.run("tls_open", TARGET)


def test_the_callers_time_is_up_and_the_rest_is_done_behind_his_back():
    with scripted(OPEN, {COMMAND: OK, b"AT+C=3": OK}) as (runner, modem):
        with pytest.raises(ModemTimeoutError):
            runner.run("tls_open", TARGET, deadline=runner.channel.clock() + 0.02)
        until = time.monotonic() + 5
        while b"AT+C=3" not in modem.sent and time.monotonic() < until:
            time.sleep(0.002)
        assert modem.sent == [COMMAND, b"AT+C=3"]


# -- the other steps ------------------------------------------------------------------------------------------


def test_error_first_and_then_the_line_that_says_why():
    body = program("setup", "- {send: 'AT+START', cause: {use: line, code: open, from: error}}") + (
        "  line:\n    - {await: '+START: {error:int}', timeout: 5}\n" + ERRORS
    )
    with scripted(body, {b"AT+START": ERROR + b"\r\n+START: 566\r\n"}) as (runner, _):
        with pytest.raises(CommandError) as caught:
            runner.run("setup")
        assert caught.value.code == 566


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
        assert caught.value.code == 3
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


# -- before the first byte ------------------------------------------------------------------------------------

EVERYTHING = """
capabilities: {pull: true, sni: {value: true, when: {sni_key: true}}, suites: one, client_certificates: true, date_check: true}
limits: {send: 100, receive: 100, host: 20, credential_name: 8, contexts: [0], tls_sockets: [0]}
tables:
  off_on: {false: 0, true: 1}
  tls_versions: [{token: 3, versions: ['1.2']}]
  suites: {mode: one, all: '0XFFFF', codes: {0xC02F: '0XC02F'}}
programs:
  probe:
    - send: 'AT+P'
      see: {manual: x}
      lines: [{match: '+P: sni', repeat: optional, sets: {sni_key: true}}]
      save: {boot: [sni_key]}
  tls_configure:
    see: {manual: x}
    steps:
      - send: 'AT+V={context},{version},{check_dates@off_on}'
      - {each: suite, in: suites, do: [{send: 'AT+S={suite}'}]}
      - {when: {sni_key: true}, send: 'AT+SNI={sni@off_on}'}
      - send: 'AT+CA={ca:quoted?},{cert:quoted?},{key:quoted?}'
  tls_open:
    - {send: 'AT+O={host:host},{port}', see: {manual: x}}
  tls_send:
    - {send: 'AT+S={socket},{size}', see: {manual: x}, prompt: '>', payload: {data: data, end: "\\x1a", forbid: "\\x1b"}}
  credential_delete:
    - {send: 'AT+D={name:quoted}', see: {manual: x}}
  pdp_configure:
    - {send: 'AT+A={apn:quoted},{password:quoted?}', see: {manual: x}}
"""
SETTINGS = {
    "context": 0, "version": 3, "suites": ("0XFFFF",), "ca": "ca.pem", "verify": True, "client_auth": False,
    "sni": False, "check_hostname": False, "check_dates": True, "handshake_timeout": 60,
}  # fmt: skip


@pytest.mark.parametrize(
    ("op", "change", "error", "says"),
    [
        ("tls_open", {"host": 'a"b'}, ConfigurationError, "^host: "),
        ("tls_open", {"host": "a\r\nAT+CFUN=0"}, ConfigurationError, "^host: "),
        ("tls_open", {"host": "a,b"}, ConfigurationError, "^host: "),
        ("tls_open", {"host": "a\0b"}, ConfigurationError, "^host: "),
        ("tls_open", {"host": "a" * 21}, ConfigurationError, "^host: 21 characters, this modem takes 20"),
        ("tls_open", {"port": 0}, ConfigurationError, "^port: "),
        ("tls_open", {"port": 65536}, ConfigurationError, "^port: "),
        ("tls_open", {"port": "abc"}, ConfigurationError, "^port: "),
        ("tls_open", {"receive": "push"}, NotSupportedError, 'choices: receive="pull"'),
        ("tls_open", {"socket": None}, ConfigurationError, "socket is needed"),
        ("tls_open", {"nonsense": 1}, ConfigurationError, "no input nonsense"),
        ("tls_send", {"data": b"a\x1ab"}, ConfigurationError, "^data: contains"),
        ("tls_send", {"data": b"a\x1bb"}, ConfigurationError, "^data: contains"),
        ("tls_send", {"data": "text"}, ConfigurationError, "^data: bytes expected"),
        ("tls_send", {"size": 101}, ConfigurationError, "^size: 101 bytes, this modem takes 100"),
        ("credential_delete", {"name": "123456789"}, ConfigurationError, "^name: 9 characters, this modem takes 8"),
        ("credential_delete", {"name": 'a"'}, ConfigurationError, "^name: "),
        ("pdp_configure", {"password": 'pa"ss'}, ConfigurationError, "^password: must be printable"),
        ("tls_configure", {"ca": 'x";+CFUN=0'}, ConfigurationError, "^ca: "),
        ("tls_configure", {"version": "3\rAT"}, ConfigurationError, "^version: "),
        ("tls_configure", {"suites": ("0X0000",)}, ConfigurationError, "^suites: "),
        ("tls_configure", {"suites": ("0XC02F", "0XC02F")}, ConfigurationError, "one cipher suite or all"),
        ("tls_configure", {"sni": True}, NotSupportedError, "sni"),
        ("tls_configure", {"check_hostname": True}, NotSupportedError, "choices: check_hostname=False"),
        ("tls_configure", {"verify": 1}, ConfigurationError, "^verify: "),
    ],
)  # fmt: skip
def test_nothing_is_sent_that_cannot_work(op, change, error, says):
    bindings = {
        "tls_open": TARGET,
        "tls_send": {"socket": 0, "data": b"x", "size": 1},
        "credential_delete": {"name": "x"},
        "pdp_configure": {"pdp": 1, "apn": "a", "family": "ipv4"},
        "tls_configure": SETTINGS,
    }[op]
    with scripted(EVERYTHING, {}) as (runner, modem):
        with pytest.raises(error, match=says):
            runner.run(op, {**bindings, **change})
        assert modem.sent == []


def test_what_a_flag_allows_once_it_is_probed():
    with scripted(EVERYTHING, {b"AT+P": b"\r\n+P: sni\r\n" + OK}) as (runner, modem):
        assert runner.capabilities["sni"] is False
        runner.run("probe")
        assert runner.capabilities["sni"] is True
        modem.script.update(dict.fromkeys([b"AT+V=0,3,1", b"AT+S=0XFFFF", b"AT+SNI=1", b'AT+CA="ca.pem","",""'], OK))
        runner.run("tls_configure", {**SETTINGS, "verify": False, "sni": True})
        assert modem.sent[1:] == [b"AT+V=0,3,1", b"AT+S=0XFFFF", b"AT+SNI=1", b'AT+CA="ca.pem","",""']


def test_an_operation_that_is_not_there():
    with scripted(EVERYTHING, {}) as (runner, modem):
        with pytest.raises(NotSupportedError, match="no operation tls_receive") as caught:
            runner.run("tls_receive", {"socket": 0, "size": 1})
        assert caught.value.capability == "tls_receive"
        assert not runner.has("tls_receive")
        assert modem.sent == []


def test_secrets_are_shown_nowhere():
    shown: list[str] = []
    with scripted(EVERYTHING, {b'AT+A="a","hunter2"': b"\r\n+CME ERROR: 50\r\n"}) as (runner, modem):
        with pytest.raises(CommandError) as caught:
            runner.run("pdp_configure", {"pdp": 1, "apn": "a", "family": "ipv4", "password": "hunter2"})
        shown += [str(caught.value), repr(caught.value), caught.value.command]
        assert modem.sent == [b'AT+A="a","hunter2"']
        assert not any("hunter2" in repr(one.kept) for one in runner._quick.values())
    assert caught.value.command == 'AT+A="a",***'
    assert "hunter2" not in "".join(shown)


# -- scopes and epochs ----------------------------------------------------------------------------------------

SCOPES = """
programs:
  tls_configure:
    see: {manual: x}
    steps:
      - {send: 'AT+H={context},{handshake_timeout}', save: {context: [handshake_timeout]}}
  tls_open:
    see: {manual: x}
    steps:
      - when: {session_id: {given: true}}
        send: 'AT+GIVE={session_id:quoted}'
      - send: 'AT+O={socket},{handshake_timeout:number?}'
        lines: ['+O: {handle:int}']
        save: {socket: [handle]}
  tls_send:
    - {send: 'AT+S={handle:number?}', see: {manual: x}}
  tls_close:
    - {send: 'AT+C={socket}', see: {manual: x}}
  probe:
    - {set: {flag: true}, scope: boot}
urcs:
  session: {match: '+SESS: {context:int},{session_id:any}', means: session, save: {context: [session_id]}, secret: [session_id]}
  sim: {match: '+SIM: {state:int}', means: sim, map: {state: {table: sim, otherwise: other}}, clears: [flag]}
tables: {sim: {ready: 1}}
capabilities: {pull: true}
"""


def test_how_long_saved_values_last():
    opened = b"\r\n+O: 77\r\n" + OK
    script = {b"AT+H=2,60": OK, b"AT+O=3,60": opened, b"AT+O=3,": opened, b"AT+S=77": OK, b"AT+C=3": OK, b"AT+S=": OK}
    target = {**TARGET, "context": 2}
    sending = {"socket": 3, "data": b"", "size": 0}
    with scripted(SCOPES, script) as (runner, modem):
        unsafe = {"verify": False, "check_dates": False, "ca": None}  # what none of these commands would see to
        runner.run("tls_configure", {**SETTINGS, **unsafe, "context": 2, "suites": ()})
        runner.run("tls_open", {**target, "context": 1})  # another context
        runner.run("tls_open", target)
        runner.run("tls_send", sending)
        runner.run("tls_send", {**sending, "socket": 4})  # another socket
        runner.run("tls_close", {"socket": 3})
        runner.run("tls_send", sending)
        assert modem.sent == [
            b"AT+H=2,60", b"AT+O=3,", b"AT+O=3,60", b"AT+S=77", b"AT+S=", b"AT+C=3", b"AT+S=",
        ]  # fmt: skip
        runner.run("probe")
        assert runner.flags == {"flag": True}
        runner.channel.end_epoch("restarted")
        assert runner.flags == {}
        modem.sent.clear()
        runner.run("tls_open", target)
        assert modem.sent[-1] == b"AT+O=3,"


def test_what_unsolicited_results_save_map_and_clear():
    script = {b'AT+GIVE="abc"': OK, b"AT+O=3,": b"\r\n+O: 1\r\n" + OK}
    with scripted(SCOPES, script) as (runner, modem):
        heard = []
        arrived = threading.Event()

        def listen(urc) -> None:
            heard.append(runner.observe(urc))
            arrived.set()

        runner.channel.on_urc = listen
        modem.say(b'\r\n+SESS: 0,"abc"\r\n')
        assert arrived.wait(5)
        arrived.clear()
        runner.run("probe")
        modem.say(b"\r\n+SIM: 9\r\n")
        assert arrived.wait(5)
        assert heard[1].values["state"] == "other"
        assert runner.flags == {}
        runner.run("tls_open", TARGET)
        assert modem.sent == [b'AT+GIVE="abc"', b"AT+O=3,"]


def test_no_command_of_a_run_goes_to_a_modem_that_restarted_meanwhile():
    body = program("setup", "- send: 'AT+A'\n- {pause: 50ms, see: {manual: x}}\n- send: 'AT+B'")
    body += "urcs: {boot: {match: RDY, means: boot}}\n"
    with scripted(body, {b"AT+A": OK + b"\r\nRDY\r\n", b"AT+B": OK}) as (runner, modem):
        with pytest.raises(ModemRestartedError):
            runner.run("setup")
        assert modem.sent == [b"AT+A"]


def test_a_restart_ends_waiting_at_once():
    body = OPEN + "urcs: {boot: {match: RDY, means: boot}}\n"
    with scripted(body, {COMMAND: OK + b"\r\nRDY\r\n"}) as (runner, modem):
        with pytest.raises(ModemRestartedError):
            runner.run("tls_open", TARGET)
        assert modem.sent == [COMMAND]


# -- odds and ends that a modem depends on ---------------------------------------------------------------------


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


# -- what may have hidden a restart, and what is never forgiven ---------------------------------------------------


def test_doubt_is_raised_and_the_program_goes_on():
    with scripted(program("setup", "- doubt: reports went elsewhere\n- send: 'AT+A'"), {b"AT+A": OK}) as (
        runner,
        modem,
    ):
        before = runner.channel.doubts
        runner.run("setup")
        assert modem.sent == [b"AT+A"]
        assert runner.channel.doubts == before + 1
        assert runner.channel.doubted == "reports went elsewhere"


def test_a_result_that_does_not_come_raises_doubt():
    with scripted(OPEN.replace("timeout: 5", "timeout: 10ms"), {COMMAND: OK, b"AT+C=3": OK}) as (runner, _):
        before = runner.channel.doubts
        with pytest.raises(ModemTimeoutError):
            runner.run("tls_open", TARGET)
        assert runner.channel.doubts > before


CHECKED = """
- send: 'AT+A?'
  lines: [{match: '+A: {kept:int}', repeat: optional}]
  check: {kept: 0}
  tolerate: TOLERATE
"""


@pytest.mark.parametrize("tolerate", ["true", "{outcome: fail}"])
def test_another_value_than_was_set_is_not_tolerated_along_with_errors(tolerate):
    """ERROR: the modem lacks the setting. Another value, or none: it does something else than it was told."""
    answers = [ERROR, b"\r\n+A: 0\r\n" + OK, b"\r\n+A: 1\r\n" + OK, OK]
    with scripted(program("setup", CHECKED.replace("TOLERATE", tolerate)), {b"AT+A?": answers}) as (runner, _):
        runner.run("setup")
        runner.run("setup")
        for _ in range(2):
            with pytest.raises(CommandError) as caught:
                runner.run("setup")
            assert caught.value.kind == "mismatch"


def test_another_value_is_tolerated_in_so_many_words():
    text = program("setup", CHECKED.replace("TOLERATE", "{kind: mismatch}"))
    with scripted(text, {b"AT+A?": [b"\r\n+A: 1\r\n" + OK, ERROR]}) as (runner, _):
        runner.run("setup")
        with pytest.raises(CommandError):
            runner.run("setup")
