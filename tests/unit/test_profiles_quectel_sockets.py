"""The sockets of the Quectel modules, played against the bytes that the manuals give (see test_profiles_quectel)."""

from __future__ import annotations

import re

import pytest

from modemtls.at.grammar import Outcome
from modemtls.errors import CommandError, ConfigurationError, ModemTimeoutError
from modemtls.profile import check_text, show
from tests.support.quectel import (
    ERROR,
    OK,
    OPEN,
    ask,
    bg95_fixture,  # noqa: F401
    connect_fixture,  # noqa: F401
    line,
    load,
    profile_fixture,  # noqa: F401
)

# -- TLS sockets ---------------------------------------------------------------------------------------------------


def test_open_send_receive_close_as_the_manual_shows_it(connect, profile):
    modem = connect(
        profile,
        ask('AT+QSSLOPEN=1,1,4,"220.180.239.201",8010,0', OK + b"\r\n+QSSLOPEN: 4,0\r\n"),
        ask("AT+QSSLSEND=4,18", b"\r\n> "),
        (b"Test data from SSL", b"\r\nSEND OK\r\n" + b'\r\n+QSSLURC: "recv",4\r\n'),
        ask("AT+QSSLRECV=4,1500", b"\r\n+QSSLRECV: 18\r\nTest data from SSL\r\n\r\nOK\r\n"),
        ask("AT+QSSLRECV=4,1500", b"\r\n+QSSLRECV: 0\r\n\r\nOK\r\n"),
        ask("AT+QSSLCLOSE=4,5", OK),
    )
    modem.run("tls_open", **OPEN)
    assert modem.run("tls_send", socket=4, data=b"Test data from SSL", size=18).outcome is Outcome.OK
    got = modem.run("tls_receive", socket=4, size=1500)
    assert (got.outcome, bytes(got.payload)) == (Outcome.OK, b"Test data from SSL")
    assert modem.run("tls_receive", socket=4, size=1500).outcome is Outcome.EMPTY
    modem.run("tls_close", socket=4)
    assert ("data", {"socket": 4}) in modem.urcs


def test_a_payload_of_any_content_is_only_a_payload(connect, profile):
    nasty = b'\r\nOK\r\n\r\n+QSSLURC: "closed",4\r\n> +++\x1a\x1b\0\xff\r\nERROR\r\n'
    modem = connect(
        profile,
        ask(f"AT+QSSLSEND=4,{len(nasty)}", b"\r\n> "),
        (nasty, b"\r\nSEND OK\r\n"),
        ask("AT+QSSLRECV=4,1500", b"\r\n+QSSLRECV: %d\r\n%s\r\n\r\nOK\r\n" % (len(nasty), nasty)),
        b'\r\n+QSSLURC: "recv",4,%d\r\n%s\r\n' % (len(nasty), nasty),
        ask("AT+QSSLSTATE=4", OK),
    )
    modem.run("tls_send", socket=4, data=nasty, size=len(nasty))
    assert bytes(modem.run("tls_receive", socket=4, size=1500).payload) == nasty
    assert modem.run("tls_state", socket=4).values["state"] == "closed"
    assert [means for means, _ in modem.urcs] == ["data"]


def test_push_mode_is_asked_for_in_the_open(connect, profile):
    modem = connect(profile, ask('AT+QSSLOPEN=1,1,4,"h.example",8011,1', OK + b"\r\n+QSSLOPEN: 4,0\r\n"))
    opened = modem.run("tls_open", **(OPEN | {"host": "h.example", "port": 8011, "receive": "push"}))
    assert (opened.outcome, opened.values["error"]) == (Outcome.OK, 0)


@pytest.mark.parametrize("code", [550, 563, 565, 566, 569, 574])
def test_a_failed_open_has_the_modems_number_and_nothing_is_sent_on_its_account(connect, profile, code):
    # 563 may be a stranger's socket; closing a number of its own is the business of whoever chose it.
    modem = connect(profile, ask('AT+QSSLOPEN=1,1,4,"220.180.239.201",8010,0', OK + b"\r\n+QSSLOPEN: 4,%d\r\n" % code))
    with pytest.raises(CommandError) as caught:
        modem.run("tls_open", **OPEN)
    error = caught.value
    assert (error.namespace, error.modem_code, error.kind) == ("open", code, profile.errors["open"][str(code)].kind)
    assert profile.errors["open"][str(code)].text in str(error)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("code", [-1, -566, 1])
@pytest.mark.parametrize("op", ["tls_open", "tcp_open"])
def test_whatever_is_not_zero_is_no_connection(connect, op, code, late):
    urc = b"\r\n+%s: 4,%d\r\n" % (b"QSSLOPEN" if op == "tls_open" else b"QIOPEN", code)
    asked = {"tls_open": "AT+QSSLSTATE=4", "tcp_open": "AT+QISTATE=1,4"}[op]
    opened = {
        "tls_open": 'AT+QSSLOPEN=1,1,4,"220.180.239.201",8010,0',
        "tcp_open": 'AT+QIOPEN=1,4,"TCP","220.180.239.201",8010,0,0',
    }[op]
    heard = [ask(opened, OK), ask(asked, OK + urc)] if late else [ask(opened, OK + urc)]
    modem = connect(impatient("quectel-bg95"), *heard)
    with pytest.raises(CommandError) as caught:
        modem.run(op, **{name: value for name, value in OPEN.items() if op == "tls_open" or name != "context"})
    assert caught.value.modem_code == code


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("said", ['+QIURC: "pdpdeact",1', "+CGEV: NW DETACH", "+CGEV: ME DETACH"])
@pytest.mark.parametrize("op", ["tls_open", "tcp_open"])
def test_the_loss_of_the_network_ends_an_open_at_once(connect, op, said, late):
    opened, asked = {
        "tls_open": ('AT+QSSLOPEN=1,1,4,"220.180.239.201",8010,0', "AT+QSSLSTATE=4"),
        "tcp_open": ('AT+QIOPEN=1,4,"TCP","220.180.239.201",8010,0,0', "AT+QISTATE=1,4"),
    }[op]
    urc = f"\r\n{said}\r\n".encode()
    heard = [ask(opened, OK), ask(asked, OK + urc)] if late else [ask(opened, OK + urc)]
    modem = connect(impatient("quectel-bg95") if late else load("quectel-bg95"), *heard)
    with pytest.raises(CommandError) as caught:
        modem.run(op, **{name: value for name, value in OPEN.items() if op == "tls_open" or name != "context"})
    assert caught.value.kind == "pdp_lost"
    assert "network_lost" in [means for means, _ in modem.urcs]  # told to everybody else, too


def test_the_loss_of_another_pdp_context_does_not_end_an_open(connect, profile):
    heard = OK + b'\r\n+QIURC: "pdpdeact",2\r\n\r\n+QSSLOPEN: 4,0\r\n'
    modem = connect(profile, ask('AT+QSSLOPEN=1,1,4,"220.180.239.201",8010,0', heard))
    assert modem.run("tls_open", **OPEN).values["error"] == 0


@pytest.mark.parametrize("separator", [b", ", b","])
def test_a_refused_open_asks_for_the_cause_at_once(connect, profile, separator):
    modem = connect(
        profile,
        ask('AT+QSSLOPEN=1,1,4,"220.180.239.201",8010,0', ERROR),
        ask("AT+QIGETERROR", b"\r\n+QIGETERROR: 552%sinvalid parameters\r\n\r\nOK\r\n" % separator),
    )
    with pytest.raises(CommandError) as caught:
        modem.run("tls_open", **OPEN)
    assert (caught.value.modem_code, caught.value.kind) == (552, "parameter")


def test_a_cause_that_says_success_is_no_cause(connect, profile):
    modem = connect(
        profile,
        ask('AT+QSSLOPEN=1,1,4,"220.180.239.201",8010,0', ERROR),
        ask("AT+QIGETERROR", line("+QIGETERROR: 0,operate successfully")),
    )
    with pytest.raises(CommandError) as caught:
        modem.run("tls_open", **OPEN)
    assert caught.value.modem_code != 0
    assert caught.value.kind == "unknown"


def test_another_sockets_result_is_not_this_ones(connect, profile):
    modem = connect(
        profile,
        ask(
            'AT+QSSLOPEN=1,1,4,"220.180.239.201",8010,0',
            b"\r\n+QSSLOPEN: 3,566\r\n\r\n+QIOPEN: 4,566\r\n" + OK + b"\r\n+QSSLOPEN: 14,566\r\n\r\n+QSSLOPEN: 4,0\r\n",
        ),
    )
    assert modem.run("tls_open", **OPEN).values["error"] == 0
    told = [(values["socket"], values["error"]) for means, values in modem.urcs if means == "opened"]
    assert told == [(3, 566), (4, 566), (14, 566), (4, 0)]


@pytest.mark.parametrize("host", ['a"b', "a,b", "a b", "a\rb", "a\nb", "a\0b", "", "x" * 254, "münchen.example"])
@pytest.mark.parametrize("op", ["tls_open", "tcp_open"])
def test_a_host_that_is_none_is_refused_before_anything_is_sent(connect, bg95, op, host):
    modem = connect(bg95)
    bindings = OPEN | {"host": host}
    if op == "tcp_open":
        del bindings["context"]
    with pytest.raises(ConfigurationError):
        modem.run(op, **bindings)


@pytest.mark.parametrize("port", [0, 65536, "abc"])
def test_a_port_that_is_none_is_refused_before_anything_is_sent(connect, bg95, port):
    with pytest.raises(ConfigurationError):
        connect(bg95).run("tls_open", **(OPEN | {"port": port}))


def test_a_full_buffer_is_no_error_but_later(connect, profile):
    modem = connect(profile, ask("AT+QSSLSEND=4,1", b"\r\n> "), (b"x", b"\r\nSEND FAIL\r\n"))
    assert modem.run("tls_send", socket=4, data=b"x", size=1).outcome is Outcome.BUSY


@pytest.mark.parametrize("prompted", [True, False])
def test_an_error_instead_of_the_prompt_or_behind_the_data(connect, profile, prompted):
    command = ask("AT+QSSLSEND=4,4", b"\r\n> " if prompted else ERROR)
    modem = connect(
        profile,
        command,
        *([(b"data", ERROR)] if prompted else []),
        ask("AT+QIGETERROR", line("+QIGETERROR: 567,socket closed")),
    )
    with pytest.raises(CommandError) as caught:
        modem.run("tls_send", socket=4, data=b"data", size=4)
    assert caught.value.kind == "closed"


@pytest.mark.parametrize(("op", "command"), [("tls_receive", "AT+QSSLRECV=4,1500"), ("tcp_receive", "AT+QIRD=4,1500")])
def test_a_refused_read_says_why(connect, profile, op, command):
    modem = connect(profile, ask(command, ERROR), ask("AT+QIGETERROR", line("+QIGETERROR: 567,socket has been closed")))
    with pytest.raises(CommandError) as caught:
        modem.run(op, socket=4, size=1500)
    assert (caught.value.modem_code, caught.value.kind) == (567, "closed")


def test_states_of_tls_sockets(connect, profile):
    answer = '+QSSLSTATE: 4,"SSLClient","220.180.239.201",8010,65344,{},1,4,0,"usbmodem",1'
    modem = connect(
        profile,
        *(ask("AT+QSSLSTATE=4", line(answer.format(number))) for number in (0, 1, 2, 4)),
        ask("AT+QSSLSTATE=4", OK),
        ask("AT+QSSLSTATE", line(answer.format(2) + "\r\n" + answer.format(2).replace(" 4,", " 7,")[:-1] + "3")),
        ask("AT+QSSLSTATE", OK),
    )
    states = [modem.run("tls_state", socket=4).values["state"] for _ in range(5)]
    assert states == ["closed", "opening", "open", "closing", "closed"]
    rows = modem.run("tls_list").rows
    assert [(row["socket"], row["context"]) for row in rows] == [(4, 1), (7, 3)]
    assert not modem.run("tls_list").rows


CONFIRM = {
    "pdp": 1, "context": 1, "socket": 4, "address": "220.180.239.201", "port": 8010, "receive": "pull", "version": 3,
    "verify": True, "client_auth": False,
}  # fmt: skip
STATE = '+QSSLSTATE: 4,"SSLClient","220.180.239.201",8010,65344,2,1,4,0,"usbmodem",1'


@pytest.mark.parametrize(
    ("change", "asked"),
    [
        ({}, ("seclevel", 1)),
        ({"client_auth": True}, ("seclevel", 2)),
        ({"verify": False}, ("sslversion", 3)),
        ({"address": None}, ("seclevel", 1)),
    ],
)
def test_what_an_open_did_is_compared_with_what_it_was_told(connect, profile, change, asked):
    key, value = asked
    setting = f'"{key}",1'
    modem = connect(
        profile,
        ask("AT+QSSLSTATE=4", line(STATE)),
        ask(f"AT+QSSLCFG={setting}", line(f"+QSSLCFG: {setting},{value}")),
    )
    modem.run("tls_confirm", **(CONFIRM | change))


@pytest.mark.parametrize(
    ("old", "new"),
    [(",2,1,4,", ",2,2,4,"), (",8010,", ",801,"), ('",1', '",2'), ('0,"usb', '1,"usb'), ("39.201", "39.20")],
)
def test_what_an_open_did_otherwise_is_a_mismatch(connect, profile, old, new):
    assert STATE.count(old) == 1
    modem = connect(profile, ask("AT+QSSLSTATE=4", line(STATE.replace(old, new))))
    with pytest.raises(CommandError) as caught:
        modem.run("tls_confirm", **CONFIRM)
    assert caught.value.kind == "mismatch"


@pytest.mark.parametrize(("verify", "key", "value"), [(True, "seclevel", 0), (False, "sslversion", 4)])
def test_a_context_with_what_it_has_after_a_restart_is_a_mismatch(connect, profile, verify, key, value):
    setting = f'"{key}",1'
    modem = connect(
        profile,
        ask("AT+QSSLSTATE=4", line(STATE)),
        ask(f"AT+QSSLCFG={setting}", line(f"+QSSLCFG: {setting},{value}")),
    )
    with pytest.raises(CommandError) as caught:
        modem.run("tls_confirm", **(CONFIRM | {"verify": verify}))
    assert caught.value.kind == "mismatch"


def test_a_socket_that_the_modem_does_not_know_is_no_connection(connect, profile):
    with pytest.raises(CommandError, match="lacks"):
        connect(profile, ask("AT+QSSLSTATE=4", OK)).run("tls_confirm", **CONFIRM)


# -- plain TCP -----------------------------------------------------------------------------------------------------


def test_tcp_as_the_manual_shows_it(connect, profile):
    modem = connect(
        profile,
        ask('AT+QIOPEN=1,0,"TCP","220.180.239.212",8009,0,0', OK + b"\r\n+QIOPEN: 0,0\r\n"),
        ask("AT+QISEND=0,4", b"\r\n>"),
        (b"test", b"\r\nSEND OK\r\n"),
        ask("AT+QISEND=0,0", b"\r\n+QISEND: 9,9,0\r\n\r\nOK\r\n" + b'\r\n+QIURC: "recv",0\r\n'),
        ask("AT+QIRD=0,1500", b"\r\n+QIRD: 5\r\ntest1\r\n\r\nOK\r\n"),
        ask("AT+QIRD=0,1500", b"\r\n+QIRD: 0\r\n\r\nOK\r\n"),
        ask("AT+QISTATE=1,0", line('+QISTATE: 0,"TCP","220.180.239.201",8705,65514,3,1,0,0,"usbmodem"')),
        ask("AT+QISTATE?", line('+QISTATE: 0,"TCP","220.180.239.201",8705,65514,2,1,0,0,"usbmodem"')),
        ask("AT+QICLOSE=0,5", OK),
    )
    modem.run("tcp_open", pdp=1, socket=0, host="220.180.239.212", port=8009, receive="pull")
    modem.run("tcp_send", socket=0, data=b"test", size=4)
    assert modem.run("tcp_acked", socket=0).values == {"sent": 9, "acked": 9, "unacked": 0}
    assert bytes(modem.run("tcp_receive", socket=0, size=1500).payload) == b"test1"
    assert modem.run("tcp_receive", socket=0, size=1500).outcome is Outcome.EMPTY
    assert modem.run("tcp_state", socket=0).values["state"] == "open"  # 3 has been seen for a connected client
    assert [row["socket"] for row in modem.run("tcp_list").rows] == [0]
    modem.run("tcp_close", socket=0)


# -- results that go to another port of the modem ------------------------------------------------------------------


def impatient(name: str):
    """The profile with waits of milliseconds where opening waits for the modem."""
    text, changed = re.subn(r"(timeout: |base: |otherwise: )(15|135|435)\b", r"\g<1>100ms", show(name, flat=True))
    assert changed >= 5
    profile, problems = check_text(text)
    assert problems == []
    return profile


def test_reports_that_go_elsewhere_are_directed_here_and_the_open_is_tried_again(connect):
    modem = connect(
        impatient("quectel-bg96"),
        ask('AT+QSSLOPEN=1,1,4,"220.180.239.201",8010,0', OK),
        ask("AT+QSSLSTATE=4", line('+QSSLSTATE: 4,"SSLClient","220.180.239.201",8010,0,2,1,4,0,"uart1",1')),
        ask('AT+QURCCFG="urcport"', line('+QURCCFG: "urcport","usbat"')),
        ask('AT+QURCCFG="urcport","uart1"', OK),
        ask("AT+QSSLCLOSE=4,5", OK),
        ask('AT+QSSLOPEN=1,1,4,"220.180.239.201",8010,0', OK + b"\r\n+QSSLOPEN: 4,0\r\n"),
    )
    before = modem.channel.doubts
    assert modem.run("tls_open", **OPEN).values["error"] == 0
    assert modem.channel.doubts == before + 1  # the notice of a restart would have gone elsewhere as well


@pytest.mark.parametrize("state", [1, 2])
def test_a_slow_open_changes_nothing(connect, state):
    asked = [ask('AT+QURCCFG="urcport"', line('+QURCCFG: "urcport","usbmodem"'))] if state == 2 else []
    modem = connect(
        impatient("quectel-bg96"),
        ask('AT+QSSLOPEN=1,1,4,"220.180.239.201",8010,0', OK),
        ask("AT+QSSLSTATE=4", line(f'+QSSLSTATE: 4,"SSLClient","220.180.239.201",8010,0,{state},1,4,0,"usbmodem",1')),
        *asked,
        b"\r\n+QSSLOPEN: 4,0\r\n",
    )
    before = modem.channel.doubts
    assert modem.run("tls_open", **OPEN).values["error"] == 0
    assert modem.channel.doubts == before


# -- what comes unasked --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "means", "values"),
    [
        (b"RDY", "boot", {}),
        (b"APP RDY", "startup", {}),
        (b"POWERED DOWN", "power_down", {}),
        (b'+QSSLURC: "closed",11', "closed", {"socket": 11}),
        (b'+QIURC: "closed",0', "closed", {"socket": 0}),
        (b'+QIURC: "pdpdeact",1', "network_lost", {"pdp": 1}),
        (b"+CGEV: NW DETACH", "network_lost", {}),
        (b'+CGEV: NW DEACT "IP","10.0.0.1",1', "noise", None),
        (b"+CEREG: 5", "registration", None),
        (b'+CREG: 1,"1A2B","01234567",8', "registration", None),
        (b"+CPIN: NOT READY", "sim", None),
        (b"+QSSLOPEN: 3,0", "opened", {"socket": 3, "error": 0}),
        (b'+QIURC: "incoming full"', "noise", {}),
        (b"+QIND: SMS DONE", "startup", None),
        (b"+QUSIM: 1", "startup", None),
    ],
)
def test_lines_that_come_unasked_in_the_middle_of_a_command(profile, said, means, values):
    found = [(rule, match) for rule in profile.grammar.urcs if (match := rule.pattern.match(said)) is not None]
    assert found
    rule, match = found[0]
    assert rule.means == means
    if values is not None:
        assert match == values


def test_datagrams_of_others_are_bytes_and_not_lines(connect, profile):
    modem = connect(
        profile,
        b'\r\n+QIURC: "recv",2,6,"10.7.76.34",7687\r\n\r\nOK\r\n',
        ask("AT+CSQ", line("+CSQ: 30,99")),
    )
    assert modem.run("signal").values["rssi"] == 30


def test_a_timeout_of_the_modem_is_told_as_such(connect):
    modem = connect(
        impatient("quectel-bg95"),
        ask('AT+QSSLOPEN=1,1,4,"220.180.239.201",8010,0', OK),
        ask("AT+QSSLSTATE=4", line('+QSSLSTATE: 4,"SSLClient","220.180.239.201",8010,0,1,1,4,0,"uart1",1')),
    )
    with pytest.raises(ModemTimeoutError):
        modem.run("tls_open", **OPEN)
