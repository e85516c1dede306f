"""The sockets of the Quectel modules, played against the bytes that the manuals give (see test_profiles_quectel)."""

from __future__ import annotations

import contextlib
import re
from functools import cache

import pytest

from modemtls.at.grammar import Outcome
from modemtls.errors import CommandError, ConfigurationError, ModemTimeoutError, NotSupportedError
from modemtls.profile import check_text, show
from tests.support.quectel import (
    BG95_FLAGS,
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


PLAIN = {name: value for name, value in OPEN.items() if name != "context"}
BIND = {"pdp": 1, "socket": 4, "local_port": 3030, "receive": "pull"}
OPENINGS = {
    "tls_open": ('AT+QSSLOPEN=1,1,4,"220.180.239.201",8010,0', "AT+QSSLSTATE=4", OPEN),
    "dtls_open": ('AT+QSSLOPEN=1,1,4,"220.180.239.201",8010,0', "AT+QSSLSTATE=4", OPEN),
    "tcp_open": ('AT+QIOPEN=1,4,"TCP","220.180.239.201",8010,0,0', "AT+QISTATE=1,4", PLAIN),
    "udp_open": ('AT+QIOPEN=1,4,"UDP","220.180.239.201",8010,0,0', "AT+QISTATE=1,4", PLAIN),
    "udp_bind": ('AT+QIOPEN=1,4,"UDP SERVICE","127.0.0.1",0,3030,0', "AT+QISTATE=1,4", BIND),
    "tcp_listen": ('AT+QIOPEN=1,4,"TCP LISTENER","127.0.0.1",0,3030,0', "AT+QISTATE=1,4", BIND),
}


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("code", [-1, -566, 1])
@pytest.mark.parametrize("op", OPENINGS)
def test_whatever_is_not_zero_is_no_connection(connect, op, code, late):
    opened, asked, bindings = OPENINGS[op]
    urc = b"\r\n+%s: 4,%d\r\n" % (b"QSSLOPEN" if "tls" in op else b"QIOPEN", code)
    heard = [ask(opened, OK), ask(asked, OK + urc)] if late else [ask(opened, OK + urc)]
    modem = connect(impatient("quectel-bg95"), *heard, flags=BG95_FLAGS)
    with pytest.raises(CommandError) as caught:
        modem.run(op, **bindings)
    assert caught.value.modem_code == code


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("said", ['+QIURC: "pdpdeact",1', "+CGEV: NW DETACH", "+CGEV: ME DETACH"])
@pytest.mark.parametrize("op", OPENINGS)
def test_the_loss_of_the_network_ends_an_open_at_once(connect, op, said, late):
    opened, asked, bindings = OPENINGS[op]
    urc = f"\r\n{said}\r\n".encode()
    heard = [ask(opened, OK), ask(asked, OK + urc)] if late else [ask(opened, OK + urc)]
    modem = connect(impatient("quectel-bg95") if late else load("quectel-bg95"), *heard, flags=BG95_FLAGS)
    with pytest.raises(CommandError) as caught:
        modem.run(op, **bindings)
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
    "verify": True, "client_auth": False, "suites": ("0XFFFF",),
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


def test_a_plain_socket_has_the_local_port_that_is_asked_for_and_a_secure_one_has_none(connect, bg95):
    modem = connect(
        bg95,
        ask('AT+QIOPEN=1,4,"TCP","220.180.239.201",8010,5001,0', OK + b"\r\n+QIOPEN: 4,0\r\n"),
        ask('AT+QIOPEN=1,4,"UDP","220.180.239.201",8010,5002,1', OK + b"\r\n+QIOPEN: 4,0\r\n"),
        flags=BG95_FLAGS,
    )
    modem.run("tcp_open", **PLAIN, local_port=5001)
    modem.run("udp_open", **(PLAIN | {"receive": "push"}), local_port=5002)
    for op in ("tls_open", "dtls_open"):
        with pytest.raises(NotSupportedError, match=f"{op[:-5].upper()} sockets") as caught:
            modem.run(op, **OPEN, local_port=5003)
        assert caught.value.capability == "local_port"


# -- plain UDP -----------------------------------------------------------------------------------------------------


def test_udp_to_one_peer(connect, profile):
    modem = connect(
        profile,
        ask('AT+QIOPEN=1,3,"UDP","coap.example",5683,0,0', OK + b"\r\n+QIOPEN: 3,0\r\n"),
        ask("AT+QISEND=3,4", b"\r\n> "),
        (b"ping", b"\r\nSEND OK\r\n" + b'\r\n+QIURC: "recv",3\r\n'),
        ask("AT+QIRD=3,1500", b"\r\n+QIRD: 4\r\npong\r\n\r\nOK\r\n"),
        ask("AT+QIRD=3,1500", b"\r\n+QIRD: 0\r\n\r\nOK\r\n"),
        ask("AT+QIRD=3,0", line("+QIRD: 9,4,5")),
        ask("AT+QISTATE=1,3", line('+QISTATE: 3,"UDP","10.7.89.10",5683,49160,2,1,3,0,"usbmodem"')),
        ask("AT+QICLOSE=3,5", OK),
    )
    modem.run("udp_open", pdp=1, socket=3, host="coap.example", port=5683, receive="pull")
    assert modem.run("udp_send", socket=3, data=b"ping", size=4).outcome is Outcome.OK
    assert bytes(modem.run("udp_receive", socket=3, size=1500).payload) == b"pong"
    assert modem.run("udp_receive", socket=3, size=1500).outcome is Outcome.EMPTY
    assert modem.run("udp_pending", socket=3).values["pending"] == 5  # what came was without bytes, and more is there
    assert modem.run("udp_state", socket=3).values["state"] == "open"
    modem.run("udp_close", socket=3)


def test_a_udp_service_as_the_manual_shows_it(connect, profile):
    modem = connect(
        profile,
        ask('AT+QIOPEN=1,2,"UDP SERVICE","127.0.0.1",0,3030,0', OK + b"\r\n+QIOPEN: 2,0\r\n"),
        ask('AT+QISEND=2,10,"10.7.89.10",6969', b"\r\n> "),
        (b"1234567890", b"\r\nSEND OK\r\n" + b'\r\n+QIURC: "recv",2\r\n'),
        ask("AT+QIRD=2", b'\r\n+QIRD: 4,"10.7.76.34",7687\r\nAAAA\r\n\r\nOK\r\n'),
        ask("AT+QIRD=2", b'\r\n+QIRD: 0,"10.7.76.34",7688\r\n\r\nOK\r\n'),
        ask("AT+QIRD=2", b"\r\n+QIRD: 0\r\n\r\nOK\r\n"),
        ask("AT+QICLOSE=2,5", OK),
    )
    modem.run("udp_bind", pdp=1, socket=2, local_port=3030, receive="pull")
    sent = modem.run("udp_sendto", socket=2, host="10.7.89.10", port=6969, data=b"1234567890", size=10)
    assert sent.outcome is Outcome.OK
    got = modem.run("udp_receivefrom", socket=2, size=1500)
    assert (bytes(got.payload), got.values["host"], got.values["port"]) == (b"AAAA", "10.7.76.34", 7687)
    got = modem.run("udp_receivefrom", socket=2, size=1500)
    assert (got.outcome, bytes(got.payload), got.values["port"]) == (Outcome.OK, b"", 7688)  # a datagram, and empty
    assert modem.run("udp_receivefrom", socket=2, size=1500).outcome is Outcome.EMPTY
    modem.run("udp_close", socket=2)


def test_a_udp_service_without_a_port_gets_one_of_its_own(connect, profile):
    opened = [
        ask(f'AT+QIOPEN=1,{n},"UDP SERVICE","127.0.0.1",0,{49152 + n},0', OK + b"\r\n+QIOPEN: %d,0\r\n" % n)
        for n in profile.numbers("udp")
    ]
    modem = connect(profile, *opened)
    for number in profile.numbers("udp"):
        modem.run("udp_bind", pdp=1, socket=number, receive="pull")


REFUSED_NAME = [
    ask('AT+QISEND=2,4,"coap.example",5683', ERROR),
    ask("AT+QIGETERROR", line("+QIGETERROR: 552,invalid parameters")),
]
BOUND = ask('AT+QIOPEN=3,2,"UDP SERVICE","127.0.0.1",0,3030,0', OK + b"\r\n+QIOPEN: 2,0\r\n")
NAMED = {"socket": 2, "host": "coap.example", "port": 5683, "data": b"ping", "size": 4}


def test_a_name_is_looked_up_where_the_modem_takes_only_addresses(connect, profile):
    modem = connect(
        profile,
        BOUND,
        *REFUSED_NAME,
        ask(
            'AT+QIDNSGIP=3,"coap.example"',
            OK
            + b'\r\n+QIURC: "dnsgip",0,2,600\r\n\r\n+QIURC: "dnsgip","10.7.89.10"\r\n'
            + b'\r\n+QIURC: "dnsgip","10.7.89.11"\r\n',
        ),
        ask('AT+QISEND=2,4,"10.7.89.10",5683', b"\r\n> "),
        (b"ping", b"\r\nSEND OK\r\n"),
    )
    modem.run("udp_bind", pdp=3, socket=2, local_port=3030, receive="pull")
    assert modem.run("udp_sendto", **NAMED).outcome is Outcome.OK


def test_a_name_that_nobody_has_is_told_as_such(connect, profile):
    modem = connect(
        profile,
        BOUND,
        *REFUSED_NAME,
        ask('AT+QIDNSGIP=3,"coap.example"', OK + b'\r\n+QIURC: "dnsgip",565\r\n'),
    )
    modem.run("udp_bind", pdp=3, socket=2, local_port=3030, receive="pull")
    with pytest.raises(CommandError) as caught:
        modem.run("udp_sendto", **NAMED)
    assert caught.value.kind == "name_not_resolved"


@pytest.mark.parametrize(("op", "most"), [("udp_send", 1460), ("dtls_send", 1460)])
def test_a_datagram_that_is_too_large_is_refused_before_anything_is_sent(connect, bg95, op, most):
    with pytest.raises(ConfigurationError, match=str(most)):
        connect(bg95, flags=BG95_FLAGS).run(op, socket=2, data=bytes(most + 1), size=most + 1)


# -- connections that come -----------------------------------------------------------------------------------------


def test_a_server_as_the_manual_shows_it(connect, profile):
    modem = connect(
        profile,
        ask('AT+QIOPEN=1,1,"TCP LISTENER","127.0.0.1",0,2020,0', OK + b"\r\n+QIOPEN: 1,0\r\n"),
        ask(
            "AT+QISTATE=1,1",
            line('+QISTATE: 1,"TCP LISTENER","10.7.157.1",0,2020,3,1,1,0,"usbmodem"')
            + b'\r\n+QIURC: "incoming",11,1,"172.31.242.222",54091\r\n\r\n+QIURC: "recv",11\r\n',
        ),
        ask("AT+QIRD=11,1500", b"\r\n+QIRD: 4\r\ntest\r\n\r\nOK\r\n"),
        ask("AT+QICLOSE=11,5", OK),
        ask("AT+QICLOSE=1,5", OK),
    )
    modem.run("tcp_listen", pdp=1, socket=1, local_port=2020, receive="pull")
    assert modem.run("tcp_state", socket=1).values["state"] == "open"
    assert bytes(modem.run("tcp_receive", socket=11, size=1500).payload) == b"test"
    modem.run("tcp_close", socket=11)
    modem.run("tcp_close", socket=1)
    assert [(means, one["socket"]) for means, one in modem.urcs] == [("opened", 1), ("accepted", 11), ("data", 11)]


# -- all of them ---------------------------------------------------------------------------------------------------


def test_plain_sockets_are_listed_by_kind(connect, profile):
    kinds = {0: "TCP", 1: "TCP LISTENER", 2: "UDP SERVICE", 3: "UDP", 11: "TCP INCOMING"}
    rows = "\r\n".join(f'+QISTATE: {n},"{kind}","10.7.157.1",0,2020,2,1,1,0,"uart1"' for n, kind in kinds.items())
    modem = connect(profile, ask("AT+QISTATE?", line(rows)), ask("AT+QISTATE?", line(rows)), ask("AT+QISTATE?", OK))
    assert [row["socket"] for row in modem.run("tcp_list").rows] == [0, 1, 11]
    assert [row["socket"] for row in modem.run("udp_list").rows] == [2, 3]
    assert not modem.run("udp_list").rows


OWN = ask("AT+QIACT?", line('+QIACT: 3,1,1,"10.9.9.9"\r\n+QIACT: 1,1,1,"10.7.157.1"'))
NONE = ask("AT+QIACT?", ERROR)
HERE = {"local_host": "10.7.157.1"}
PEER = HERE | {"remote_host": "10.7.89.10", "remote_port": 5683}


@pytest.mark.parametrize(
    ("op", "said", "more", "known"),
    [
        ("tls", '4,"SSLClient","10.7.89.10",5683,65344,2,1,4,0,"uart1",1', [OWN], PEER | {"local_port": 65344}),
        ("dtls", '4,"SSLClient","10.7.89.10",5683,65344,2,1,4,0,"uart1",1', [OWN], PEER | {"local_port": 65344}),
        ("tcp", '4,"TCP INCOMING","10.7.89.10",5683,2020,2,1,1,0,"uart1"', [OWN], PEER | {"local_port": 2020}),
        ("udp", '4,"UDP","10.7.89.10",5683,0,2,1,1,0,"uart1"', [OWN], PEER),  # its own choice, and it does not tell
        ("udp", '4,"UDP","10.7.89.10",5683,7,2,1,1,0,"uart1"', [NONE], PEER | {"local_port": 7, "local_host": None}),
        ("udp", '4,"UDP SERVICE","10.7.157.1",0,3030,2,1,2,0,"uart1"', [], HERE | {"local_port": 3030}),
        ("tcp", '4,"TCP LISTENER","10.7.157.1",0,2020,3,1,1,0,"uart1"', [], HERE | {"local_port": 2020}),
        ("tcp", "", [], {}),
    ],
)  # fmt: skip
def test_the_addresses_of_a_socket(connect, bg95, op, said, more, known):
    command, head = ("AT+QSSLSTATE=4", "+QSSLSTATE: ") if "tls" in op else ("AT+QISTATE=1,4", "+QISTATE: ")
    modem = connect(bg95, ask(command, line(head + said) if said else OK), *more, flags=BG95_FLAGS)
    found = modem.run(f"{op}_address", socket=4).values
    wanted = dict.fromkeys(("local_host", "local_port", "remote_host", "remote_port")) | known
    assert {name: found.get(name) for name in wanted} == wanted


# -- DTLS sockets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("receive", ["pull", "push"])
def test_dtls_has_the_commands_of_tls(connect, bg95, receive):
    said = b'\r\n+QSSLURC: "recv",0,4\r\npong\r\n' if receive == "push" else b'\r\n+QSSLURC: "recv",0\r\n'
    reads = [
        ask("AT+QSSLRECV=0,1500", b"\r\n+QSSLRECV: 4\r\npong\r\n\r\nOK\r\n"),
        ask("AT+QSSLRECV=0,1500", b"\r\n+QSSLRECV: 0\r\n\r\nOK\r\n"),
    ]
    mode = {"pull": 0, "push": 1}[receive]
    modem = connect(
        bg95,
        ask(f'AT+QSSLOPEN=1,1,0,"dtls.example.net",5684,{mode}', OK + b"\r\n+QSSLOPEN: 0,0\r\n"),
        ask("AT+QSSLSEND=0,4", b"\r\n> "),
        (b"ping", b"\r\nSEND OK\r\n" + said),
        *(reads if receive == "pull" else []),
        ask("AT+QSSLCLOSE=0,5", OK),
        flags=BG95_FLAGS,
    )
    modem.run("dtls_open", pdp=1, context=1, socket=0, host="dtls.example.net", port=5684, receive=receive)
    assert modem.run("dtls_send", socket=0, data=b"ping", size=4).outcome is Outcome.OK
    if receive == "pull":
        assert bytes(modem.run("dtls_receive", socket=0, size=1500).payload) == b"pong"
        assert modem.run("dtls_receive", socket=0, size=1500).outcome is Outcome.EMPTY
    modem.run("dtls_close", socket=0)
    assert [means for means, _ in modem.urcs] == ["opened", "data"]


@pytest.mark.parametrize(
    ("verify", "key", "kept", "good"),
    [
        (True, "seclevel", 1, True),
        (True, "seclevel", 0, False),
        (False, "sslversion", 3, True),
        (False, "sslversion", 4, False),
    ],
)
def test_a_dtls_connection_is_compared_with_what_was_asked_for(connect, bg95, verify, key, kept, good):
    modem = connect(
        bg95,
        ask("AT+QSSLSTATE=4", line(STATE)),
        ask(f'AT+QSSLCFG="{key}",1', line(f'+QSSLCFG: "{key}",1,{kept}')),
        flags=BG95_FLAGS,
    )
    with contextlib.nullcontext() if good else pytest.raises(CommandError, match="another"):
        modem.run("dtls_confirm", **(CONFIRM | {"verify": verify, "version": 1}))


# -- results that go to another port of the modem ------------------------------------------------------------------


@cache
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
        (
            b'+QIURC: "incoming",11,1,"172.31.242.222",54091',
            "accepted",
            {"socket": 11, "listener": 1, "host": "172.31.242.222", "port": 54091},
        ),
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


def test_datagrams_that_are_pushed_are_bytes_and_not_lines_and_say_whom_they_are_from(connect, profile):
    modem = connect(
        profile,
        b'\r\n+QIURC: "recv",2,6,"10.7.76.34",7687\r\n\r\nOK\r\n',
        ask("AT+CSQ", line("+CSQ: 30,99")),
    )
    assert modem.run("signal").values["rssi"] == 30
    assert [(means, one["socket"], one["host"], one["port"]) for means, one in modem.urcs] == [
        ("data", 2, "10.7.76.34", 7687)
    ]


def test_a_timeout_of_the_modem_is_told_as_such(connect):
    modem = connect(
        impatient("quectel-bg95"),
        ask('AT+QSSLOPEN=1,1,4,"220.180.239.201",8010,0', OK),
        ask("AT+QSSLSTATE=4", line('+QSSLSTATE: 4,"SSLClient","220.180.239.201",8010,0,1,1,4,0,"uart1",1')),
    )
    with pytest.raises(ModemTimeoutError):
        modem.run("tls_open", **OPEN)
