"""Programs of one exchange, against a modem that follows a script: what it gives, and how it fails."""

# ruff: noqa: SIM117 - who runs and what fails are two contexts

from __future__ import annotations

import threading
import time

import pytest

from modemtls.at.grammar import Outcome
from modemtls.errors import CommandError, ModemTimeoutError, SyncError
from tests.support.programs import COMMAND, ERRORS, OPEN, QUICK, TARGET, program
from tests.support.scripted import ERROR, OK, scripted

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


@pytest.mark.parametrize(
    ("finals", "says"),
    [
        ("{SEND OK: ok, SEND FAIL: busy}", False),
        ("{SEND OK: ok, OK: ok}", True),
        ("{SEND FAIL: busy}", True),  # no word of success of its own
    ],
)
def test_ok_is_an_answer_to_data_where_nothing_else_is_or_it_is_listed(finals, says):
    text = program("tls_send", SENDING.replace("{SEND OK: ok, SEND FAIL: busy}", finals))
    with scripted(text, {b"AT+S=4,5": b"\r\n> "}) as (runner, modem):
        modem.expect(5, OK)
        if says:
            assert runner.run("tls_send", {"socket": 4, "data": b"hello", "size": 5}).outcome is Outcome.OK
        else:
            with pytest.raises(SyncError, match="does not say what became of the data"):
                runner.run("tls_send", {"socket": 4, "data": b"hello", "size": 5})


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
        with pytest.raises(CommandError, match="answer has another sum than it should") as caught:
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
        "credential_write",
        """
- when: {kind: psk, identity: {given: true}}
  send: 'AT+F={name:bare},{payload_size}'
  prompt: '>'
  payload: {data: '{identity|text:line}:{data:hexlower}'}
""",
    )
    with scripted(text, {b"AT+F=psk,8": b"\r\n> "}) as (runner, modem):
        modem.expect(8)
        runner.run(
            "credential_write", {"name": "psk", "identity": b"dev", "data": b"\xab\xcd", "size": 2, "kind": "psk"}
        )
        assert modem.sent[1] == b"dev:abcd"


def test_a_line_that_had_to_come_and_did_not():
    with scripted(program("signal", "- {send: 'AT+Q', lines: ['+Q: {rssi:int}']}"), {b"AT+Q": OK}) as (runner, _):
        with pytest.raises(CommandError, match="the answer lacks"):
            runner.run("signal")


# -- failures -------------------------------------------------------------------------------------------------


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
    assert (error.namespace, error.modem_code, error.kind) == (namespace, code, kind)
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
        assert (caught.value.namespace, caught.value.modem_code, caught.value.kind) == (
            "open",
            566,
            "connect_or_handshake",
        )
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
        assert caught.value.modem_code == 563
        assert modem.sent.count(COMMAND) == 2


@pytest.mark.parametrize("answer", [b"\r\n+E: 0,operate successfully\r\n" + OK, ERROR])
def test_a_cause_that_says_nothing(answer):
    with scripted(OPEN, {COMMAND: ERROR, b"AT+E": answer, b"AT+C=3": OK}) as (runner, _modem):
        with pytest.raises(CommandError) as caught:
            runner.run("tls_open", TARGET)
        assert (caught.value.modem_code, caught.value.text, caught.value.command) == (None, "ERROR", COMMAND.decode())


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
                assert caught.value.modem_code == 566
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
