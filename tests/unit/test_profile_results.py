"""What an operation promises: a program that cannot give it does not load, an answer that lacks it is an error."""

# ruff: noqa: E501 - one case a line

from __future__ import annotations

import re

import pytest

from modemtls.at.grammar import Outcome
from modemtls.errors import CommandError
from modemtls.profile import check_text
from tests.support.scripted import OK, scripted
from tests.unit.test_profile_checks import EXAMPLE, place, told

MISTAKES = [
    # (operation, what to change, into what, where the complaint points, the complaint)
    ("{name:quoted},{size:int}", "{nam:quoted},{size:int}", "|'+XFLST: {nam", "credential_list gives no name (did you mean nam?)"),
    ("{name:quoted},{size:int}", "{name:quoted},{size:quoted}", "|'+XFLST: {name", "credential_list: size is text, not a number (capture it with {size:int})"),
    ("'+XIACT: {pdp:int}", "'+XIACT: {cid:int}", "|'+XIACT: {cid", "pdp_list gives no pdp (known: address, cid, state, type)"),
    ("'+CREG: {n:int},{stat:int}', repeat: many, map: {stat: registration}", "'+CREG: {n:int},{st:int}', repeat: many, map: {st: registration}", "|'+CREG: {n:int},{st:", "registration gives no stat (did you mean st?)"),
    ("'+CREG: {n:int},{stat:int}', repeat: many, map: {stat: registration}", "'+CREG: {n:int},{stat:int}', repeat: many", "|'+CREG: {n:int},{stat:int}', repeat: many}", "registration: stat is the modem's own word (map: {stat: TABLE} to home, roaming, searching, denied, idle, unknown)"),
    ("registration: {idle: 0, home: 1", "registration: {idle: 0, at_home: 1", "|'+CREG: {n:int},{stat:int}', repeat: many", "registration: stat may become at_home"),
    ("set: {state: absent}}", "set: {state: abscent}}", "|sim_state:\n    - send", "sim_state: state may become abscent (did you mean absent?)"),
    ("'+XSSLSTATE: {socket:int}{rest:more}'", "'+XSSLSTATE: {sock:int}{rest:more}'", "|'+XSSLSTATE: {sock:", "tls_list gives no socket (did you mean sock?)"),
    ("'+XSSLSTATE: {socket:int}{rest:more}', repeat: many", "'+XSSLSTATE: {socket:int}{rest:more}'", "|tls_list:\n", "tls_list gives no socket: its result is rows (repeat: many at the line)"),
    ("'+CSQ: {rssi:int},", "'+CSQ: {rsi:int},", "|'+CSQ: {rsi:", "signal gives no rssi (did you mean rsi?)"),
    ("'+CSQ: {rssi:int},", "'+CSQ: {rssi:word},", "|'+CSQ: {rssi:", "signal: rssi is text, not a number"),
    ("'+CCLK: {clock:quoted}'", "'+CCLK: {clok:quoted}'", "|'+CCLK: {clok:", "clock_read gives no clock (did you mean clok?)"),
    ("'+XFLDS: {free:int},{total:int}'", "'+XFLDS: {used:int},{total:int}'", "|credential_space:\n", "credential_space gives no free (known: total, used)"),
    ("'+XISEND: {sent:int},{acked:int},", "'+XISEND: {sent:int},{ackd:int},", "|'+XISEND: {sent:int},{ackd:", "tcp_acked gives no acked (did you mean ackd?)"),
    ("      lines: ['+XSSLRECV: {length:int}\\r\\n{data:raw(length)}']\n      outcome:\n        - {if: {length: 0}, is: empty}\n", "", "|tls_receive:\n", "tls_receive gives no data (a line with {data:raw(length)} or {data:hex})"),
    ("finals: {SEND OK: ok, SEND FAIL: busy}", "finals: {SEND OK: ok, SEND FAIL: partial}", "|tls_send:\n", "tls_send gives no sent"),
    ("socket_ids: host", "socket_ids: modem", "|tls_open:\n", "tls_open gives no socket (known: error)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "where", "complaint"), [one for one in MISTAKES if one[3]], ids=lambda v: re.sub(r"\W+", "-", v)[:40]
)
def test_a_result_that_cannot_be_is_told(old, new, where, complaint):
    assert old in EXAMPLE, "the example has changed"
    text = EXAMPLE.replace(old, new, 1)
    expected = f"{place(text, where)}: {complaint}"
    assert any(one.startswith(expected) for one in told(text)), (expected, told(text))


HEAD = "profile: 1\nname: test\nvendor: v\nmodels: [m]\nidentify: {model: x}\n"


@pytest.mark.parametrize(
    "programs",
    [
        # a value may come from a helper, a later line, an awaited line, a constant, an alternative
        "  radio_state: [{use: one}]\n  one: [{send: AT, see: {manual: x}, lines: ['+F: {level:int}']}]\n",
        "  radio_state: [{send: AT, see: {manual: x}}, {await: '+F: {level:hexint}', timeout: 1}]\n",
        "  radio_state: [{set: {level: 1}}]\n",
        "  radio_state: [{send: AT, see: {manual: x}, outcome: [{if: {outcome: fail}, is: ok, set: {level: 0}}]}]\n",
        "  radio_state: [{first: [[{send: AT, see: {manual: x}, lines: ['+F: {level:int}']}], [{set: {level: 1}}]]}]\n",
        "  tls_receive: [{send: AT, see: {manual: x}, lines: ['+R: {data:hex}']}]\n",
        "  tls_receive: [{send: AT, see: {manual: x}}, {await: '+R', timeout: 1, collect: '+D: {n:int}\\r\\n{data:raw(n)}'}]\n",
    ],
)
def test_results_come_in_many_ways(programs):
    profile, problems = check_text(HEAD + "programs:\n" + programs)
    assert (profile is not None, problems) == (True, [])


def test_what_asks_for_a_cause_or_cleans_up_gives_nothing():
    text = (
        "programs:\n  radio_state:\n    steps: [{send: AT, see: {manual: x}, cause: {use: why, code: cme, from: level}}]\n"
        "    on_fail: [{use: why}]\n  why: [{send: AT+W, see: {manual: x}, lines: ['+W: {level:int}']}]\n"
    )
    assert [one.split(": ", 1)[1] for one in told(HEAD + text)] == ["radio_state gives no level"]


# -- at run time ----------------------------------------------------------------------------------------------

LISTED = (
    "programs:\n  pdp_list: [{send: AT+P?, see: {manual: x}, lines: [{match: '+P: {pdp:int}{rest:more}', repeat: many}]}]\n"
    "  radio_state: [{first: [[{send: AT+F?, see: {manual: x}, lines: [{match: '+F: {level:int}', repeat: optional}]}], [{return: ok}]]}]\n"
    "  tcp_send: [{send: 'AT+S={socket},{size}', see: {manual: x}, prompt: '>', payload: data,"
    " lines: [{match: '+S: {sent:int}', repeat: optional}], finals: {PART: partial}}]\n"
    "  signal: [{send: AT+CSQ, see: {manual: x}, lines: [{match: '+CSQ: {rssi:int}', repeat: optional}]}]\n"
)  # fmt: skip


def test_an_answer_that_lacks_what_callers_rely_on_is_an_error():
    script = {b"AT+F?": [b"\r\n+F: 1\r\n" + OK, OK], b"AT+P?": b"\r\n+P: 1\r\n+P: 2,9\r\n" + OK, b"AT+CSQ": OK}
    with scripted(LISTED, script) as (runner, _):
        assert [row["pdp"] for row in runner.run("pdp_list").rows] == [1, 2]
        assert runner.run("radio_state").values["level"] == 1
        with pytest.raises(CommandError, match="radio_state: the profile found no level in the modem's answer"):
            runner.run("radio_state")
        assert runner.run("signal").values.get("rssi") is None  # that may happen


def test_part_of_a_send_without_how_much_is_an_error():
    with scripted(LISTED, {b"AT+S=3,2": b"\r\n> "}) as (runner, modem):
        modem.expect(2, b"\r\n+S: 1\r\nPART\r\n")
        result = runner.run("tcp_send", {"socket": 3, "data": b"ab", "size": 2})
        assert (result.outcome, result.values["sent"]) == (Outcome.PARTIAL, 1)
        modem.expect(2, b"\r\nPART\r\n")
        with pytest.raises(CommandError, match="tcp_send: the profile found no sent"):
            runner.run("tcp_send", {"socket": 3, "data": b"ab", "size": 2})
