"""The sockets of the u-blox modules, played against the bytes that are documented (see test_profiles_ublox)."""

from __future__ import annotations

import itertools
import time

import pytest

from modemtls.at.grammar import Outcome
from modemtls.errors import CommandError
from tests.support.ublox_profiles import (
    ERROR,
    OK,
    OPEN,
    R4,
    R5,
    ask,
    cme,
    connect_fixture,  # noqa: F401
    line,
    quick_fixture,  # noqa: F401
)

SECURE = OPEN | {"context": 2}
CREATED = ask("AT+USOCR=6", line("+USOCR: 0"))
SECURED = ask("AT+USOSEC=0,1,2")
CONNECT = 'AT+USOCO=0,"www.example.org",443'
CLOSED = b"\r\n+UUSOCL: 0\r\n"


# -- opening -------------------------------------------------------------------------------------------------------


def test_a_secure_session_as_the_guide_shows_it(connect, quick):
    modem = connect(
        quick(R5),
        CREATED,
        SECURED,
        ask(CONNECT),
        ask("AT+USOWR=0,18", b"\r\n@"),
        (b"GET / HTTP/1.0\r\n\r\n", line("+USOWR: 0,18") + b"\r\n+UUSORD: 0,27\r\n"),
        ask("AT+USORD=0,1024", b'\r\n+USORD: 0,27,"HTTP/1.0 204 No Content\r\n\r\n"\r\n\r\nOK\r\n' + CLOSED),
        ask("AT+USORD=0,1024", cme(3)),
    )
    opened = modem.run("tls_open", **SECURE)
    assert opened.values["socket"] == 0  # the modem's choice, not the number that was reserved
    assert modem.run("tls_send", socket=0, data=b"GET / HTTP/1.0\r\n\r\n", size=18).outcome is Outcome.OK
    got = modem.run("tls_receive", socket=0, size=1024)
    assert bytes(got.payload) == b"HTTP/1.0 204 No Content\r\n\r\n"
    assert modem.run("tls_receive", socket=0, size=1024).outcome is Outcome.CLOSED
    assert modem.urcs == [("data", {"socket": 0, "length": 27}), ("closed", {"socket": 0})]


def test_the_socket_is_secured_250_ms_before_it_connects(connect, quick):
    modem = connect(quick(R5), CREATED, SECURED, ask(CONNECT))
    begun = time.monotonic()
    modem.run("tls_open", **SECURE)
    assert time.monotonic() - begun >= 0.25


def test_a_socket_that_cannot_be_secured_is_closed_and_never_connected(connect, quick):
    modem = connect(quick(R5), CREATED, (SECURED[0], cme(4)), ask("AT+USOCL=0"))
    with pytest.raises(CommandError):
        modem.run("tls_open", **SECURE)


@pytest.mark.parametrize(
    ("errno", "kind"),
    [(111, "connect_or_handshake"), (65, "connect_or_handshake"), (163, "name_not_resolved"), (110, "timeout")],
)
def test_a_refused_connection_frees_the_number_and_tells_its_cause(connect, quick, errno, kind):
    modem = connect(
        quick(R5), CREATED, SECURED, ask(CONNECT, ERROR + CLOSED), ask("AT+USOER", line(f"+USOER: {errno}"))
    )
    with pytest.raises(CommandError) as caught:
        modem.run("tls_open", **SECURE)
    assert (caught.value.namespace, caught.value.modem_code, caught.value.kind) == ("secure", errno, kind)


def test_without_a_cause_it_is_one_of_both(connect, quick):
    modem = connect(quick(R5), CREATED, SECURED, ask(CONNECT, ERROR + CLOSED), ask("AT+USOER", line("+USOER: 0")))
    with pytest.raises(CommandError) as caught:
        modem.run("tls_open", **SECURE)
    assert caught.value.kind == "connect_or_handshake"


def test_plain_tcp_tells_a_refusal_for_what_it_is(connect, quick):
    modem = connect(quick(R5), CREATED, ask(CONNECT, ERROR + CLOSED), ask("AT+USOER", line("+USOER: 111")))
    with pytest.raises(CommandError) as caught:
        modem.run("tcp_open", **OPEN)
    assert (caught.value.kind, caught.value.text) == ("connect_failed", "connection refused")


def test_a_number_that_the_modem_does_not_free_is_closed(connect, quick):
    modem = connect(
        quick(R5), CREATED, ask(CONNECT, ERROR), ask("AT+USOER", line("+USOER: 113")), ask("AT+USOCL=0", ERROR)
    )
    with pytest.raises(CommandError):
        modem.run("tcp_open", **OPEN)


def test_an_r5_takes_a_local_port(connect, quick):
    modem = connect(
        quick(R5), ask("AT+USOCR=17,12000", line("+USOCR: 3,12000")), ask('AT+USOCO=3,"www.example.org",443')
    )
    assert modem.run("udp_open", **(OPEN | {"local_port": 12000})).values["socket"] == 3


@pytest.mark.parametrize("op", ["tls_open", "tcp_open"])
def test_an_r4_leaves_the_line_free_while_it_connects(connect, quick, op):
    before = [CREATED, SECURED] if op == "tls_open" else [CREATED]
    modem = connect(quick(R4), *before, ask(CONNECT + ",1"), b"\r\n+UUSOCO: 0,0\r\n")
    assert modem.run(op, **(SECURE if op == "tls_open" else OPEN)).values["socket"] == 0


@pytest.mark.parametrize(
    "said", [b"\r\n+UUSOCO: 0,110\r\n" + CLOSED, CLOSED, b"\r\n+UUSOCO: 1,0\r\n\r\n+UUSOCO: 0,110\r\n" + CLOSED]
)
def test_an_r4s_failure_comes_later(connect, quick, said):
    modem = connect(quick(R4), CREATED, SECURED, ask(CONNECT + ",1"), said)
    begun = time.monotonic()
    with pytest.raises(CommandError) as caught:
        modem.run("tls_open", **SECURE)
    assert caught.value.kind == ("timeout" if b"110" in said else "connect_or_handshake")
    assert time.monotonic() - begun < 1.5  # it was freed: nothing is waited for


def test_dtls_shakes_hands_in_the_connect(connect, quick):
    modem = connect(
        quick(R4, "SARA-R422S"),
        ask("AT+USOCR=17", line("+USOCR: 1")),
        ask("AT+USOSEC=1,1,1"),
        ask('AT+USOCO=1,"coaps.example.org",5684'),
        ask("AT+USOWR=1,4", b"\r\n@"),
        (b"\x40\x01\x12\x34", line("+USOWR: 1,4") + b"\r\n+UUSORD: 1,4\r\n"),
        ask("AT+USORD=1,1024", b'\r\n+USORD: 1,4,"\x60\x45\x12\x34"\r\n\r\nOK\r\n'),
        ask("AT+USOCL=1"),
        model="SARA-R422S",
    )
    wanted = OPEN | {"context": 1, "host": "coaps.example.org", "port": 5684}
    modem.run("dtls_open", **wanted)
    modem.run("dtls_send", socket=1, data=b"\x40\x01\x12\x34", size=4)
    assert bytes(modem.run("dtls_receive", socket=1, size=1024).payload) == b"\x60\x45\x12\x34"
    modem.run("dtls_close", socket=1)


# -- what an open did ----------------------------------------------------------------------------------------------

CONFIRM = {
    "pdp": 1, "context": 2, "socket": 0, "address": "151.9.34.66", "port": 443, "receive": "pull", "version": 3,
    "verify": True, "client_auth": False, "suites": ("0",),
}  # fmt: skip
SAVED = {"level": 2, "anchor": "ThawteCA"}


RIGHT = {
    "AT+USOSEC=0": line("+USOSEC: 0,1,2"),
    "AT+USOCTL=0,4": line('+USOCTL: 0,4,"151.9.34.66",443'),
    "AT+USECPRF=2,0": line("+USECPRF: 2,0,2"),
    "AT+USECPRF=2,3": line('+USECPRF: 2,3,"ThawteCA"'),
}


def confirming(quick, connect, *before, **answers):
    return connect(quick(R5), *before, *[ask(one, answers.get(one, was)) for one, was in RIGHT.items()], **SAVED)


def test_what_an_open_did_is_compared(connect, quick):
    modem = confirming(quick, connect)
    modem.run("tls_confirm", **CONFIRM)


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("AT+USOSEC=0", line("+USOSEC: 0,0")),  # it goes out in clear
        ("AT+USOSEC=0", line("+USOSEC: 0,1")),  # with a profile of the module's own, which verifies nobody
        ("AT+USOSEC=0", line("+USOSEC: 0,1,3")),
        ("AT+USOCTL=0,4", line('+USOCTL: 0,4,"151.9.34.66",44')),
        ("AT+USOCTL=0,4", line('+USOCTL: 0,4,"151.9.34.6",443')),
        ("AT+USECPRF=2,0", line("+USECPRF: 2,0,1")),
        ("AT+USECPRF=2,3", line('+USECPRF: 2,3,""')),
    ],
)
def test_another_connection_than_was_told_is_a_mismatch(connect, quick, command, answer):
    commands = list(RIGHT)
    until = commands.index(command)
    dialogue = [ask(one, answer if one == command else RIGHT[one]) for one in commands[: until + 1]]
    modem = connect(quick(R5), *dialogue, **SAVED)
    with pytest.raises(CommandError) as caught:
        modem.run("tls_confirm", **CONFIRM)
    assert caught.value.kind == "mismatch"


UNSAID = [OK, ERROR, cme(4)]


@pytest.mark.parametrize("said", UNSAID)
def test_a_socket_that_nothing_says_is_secured_is_no_connection(connect, quick, said):
    asked = [ask("AT+USOSEC=0", said)] * (1 if said == OK else 2)
    modem = connect(quick(R5), *asked, ask("AT+USOCTL=0,4", line('+USOCTL: 0,4,"151.9.34.66",443')), **SAVED)
    with pytest.raises(CommandError, match="does not say whether the connection is secured"):
        modem.run("tls_confirm", **CONFIRM)


def test_a_question_that_was_misheard_is_asked_again(connect, quick):
    confirming(quick, connect, ask("AT+USOSEC=0", ERROR)).run("tls_confirm", **CONFIRM)


@pytest.mark.parametrize("answers", [{"AT+USOCTL=0,4": cme(3)}])
def test_of_a_socket_that_is_closed_already_the_settings_alone_are_compared(connect, quick, answers):
    modem = confirming(quick, connect, **answers)
    modem.run("tls_confirm", **CONFIRM)


RESET = {  # module: profile, firmware, suites of a connection with a key; level and versions after a reset
    "SARA-R410M-02B": (R4, "", (16,), 0, (0, 3)),
    "SARA-R410M-03B": (R4, "", (16,), 0, (0, 3)),
    "SARA-R412M-02B": (R4, "", (16,), 0, (0, 3)),
    "SARA-R422S-00B": (R4, "00.12", ('99,"00","A8"',), 1, (3,)),
    "SARA-R510S-00B": (R5, "02.06", ('100,"00","A8",0',), 1, (3,)),
    "SARA-R510S-01B": (R5, "03.15", ('100,"00","A8",0',), 1, (3,)),
}
WAYS = {  # what is confirmed, and what was saved when the profile was written
    "key": ({"verify": False}, {"level": 0}),
    "ca": ({"verify": True}, {"level": 1, "anchor": "ThawteCA"}),
    "name": ({"verify": True}, {"level": 2, "anchor": "ThawteCA"}),
    "client": ({"verify": False, "client_auth": True, "suites": ("0",)}, {"level": 0, "shown": "crt"}),
    "both": ({"verify": True, "client_auth": True, "suites": ("0",)}, {"level": 1, "anchor": "ca", "shown": "crt"}),
}


@pytest.mark.parametrize("op", ["tls_confirm", "dtls_confirm"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("module", RESET)
def test_no_module_has_what_is_confirmed_by_itself_after_a_reset(connect, quick, module, way, op):
    name, firmware, suites, level, versions = RESET[module]
    what, saved = WAYS[way]
    confirmed = CONFIRM | {"suites": suites} | what
    settings = [("0", level, saved["level"])]
    settings += [("3", '""', saved["anchor"])] if confirmed["verify"] else []
    settings += [("5", '""', saved["shown"])] if confirmed["client_auth"] else []
    for version in versions:
        compared = [*settings, ("1", version, 3), ("2", 0, suites[0])]
        same = list(itertools.takewhile(lambda one: one[1] == one[2], compared))
        asked = compared[: len(same) + 1]
        modem = connect(
            quick(name, module, firmware),
            ask("AT+USOSEC=0", line("+USOSEC: 0,1,2")),
            ask("AT+USOCTL=0,4", line('+USOCTL: 0,4,"151.9.34.66",443')),
            *[ask(f"AT+USECPRF=2,{one}", line(f"+USECPRF: 2,{one},{value}")) for one, value, _ in asked],
            model=module,
            firmware=firmware,
            **saved,
        )
        with pytest.raises(CommandError) as caught:
            modem.run(op, **confirmed)
        assert caught.value.kind == "mismatch"


def test_the_name_that_a_host_was_given_as_is_not_compared(connect, quick):
    modem = confirming(quick, connect)
    modem.run("tls_confirm", **(CONFIRM | {"address": None}))


# -- sending -------------------------------------------------------------------------------------------------------


def send(modem, data=b"0123456789", op="tls_send"):
    return modem.run(op, socket=0, data=data, size=len(data))


@pytest.mark.parametrize("name", [R4, R5])
def test_data_are_sent_50_ms_behind_the_prompt(connect, quick, name):
    modem = connect(quick(name), ask("AT+USOWR=0,10", b"\r\n@"), (b"0123456789", line("+USOWR: 0,10")))
    begun = time.monotonic()
    assert send(modem).outcome is Outcome.OK
    assert time.monotonic() - begun >= 0.05


def test_a_part_may_be_taken(connect, quick):
    modem = connect(quick(R4), ask("AT+USOWR=0,10", b"\r\n@"), (b"0123456789", line("+USOWR: 0,4")))
    result = send(modem)
    assert (result.outcome, result.values["sent"]) == (Outcome.PARTIAL, 4)


@pytest.mark.parametrize("state", [0, 4, 7])
@pytest.mark.parametrize("said", [line("+USOWR: 0,0"), OK, ERROR])
def test_nothing_was_taken_because_of_a_full_queue_or_an_end(connect, quick, said, state):
    modem = connect(
        quick(R5),
        ask("AT+USOWR=0,10", b"\r\n@"),
        (b"0123456789", said),
        ask("AT+USOCTL=0,10", line(f"+USOCTL: 0,10,{state}")),
    )
    assert send(modem).outcome is (Outcome.BUSY if state == 4 else Outcome.CLOSED)


def test_an_error_may_come_instead_of_the_prompt(connect, quick):
    modem = connect(
        quick(R5),
        ask("AT+USOWR=0,10", cme(3)),
        ask("AT+USOWR=0,10", ERROR),
        ask("AT+USOCTL=0,10", cme(3)),
        ask("AT+USOWR=0,10", ERROR),
        ask("AT+USOCTL=0,10", line("+USOCTL: 0,10,4")),
    )
    assert [send(modem).outcome for _ in range(3)] == [Outcome.CLOSED, Outcome.CLOSED, Outcome.BUSY]


# -- receiving -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", ['+USORD: 0,""', '+USORD: 0,0,""'])
def test_an_empty_read_has_no_length_or_nought(connect, quick, said):
    modem = connect(quick(R4), ask("AT+USORD=0,1024", line(said)))
    assert modem.run("tls_receive", socket=0, size=1024).outcome is Outcome.EMPTY


def test_a_payload_of_any_content_is_only_a_payload(connect, quick):
    nasty = b'"\r\nOK\r\n\r\n+UUSOCL: 0\r\n@\r\nERROR\r\n+USORD: 0,""\0\xff"'
    modem = connect(
        quick(R5),
        ask(f"AT+USOWR=0,{len(nasty)}", b"\r\n@"),
        (nasty, line(f"+USOWR: 0,{len(nasty)}")),
        ask("AT+USORD=0,1024", b'\r\n+USORD: 0,%d,"%s"\r\n\r\nOK\r\n' % (len(nasty), nasty)),
        # Some firmware leaves out the empty line in front of OK.
        ask("AT+USORD=0,1024", b'\r\n+USORD: 0,%d,"%s"\r\nOK\r\n' % (len(nasty), nasty)),
    )
    assert send(modem, nasty).outcome is Outcome.OK
    for _ in range(2):
        assert bytes(modem.run("tls_receive", socket=0, size=1024).payload) == nasty
    assert modem.urcs == []


def test_how_much_there_is(connect, quick):
    modem = connect(
        quick(R5),
        ask("AT+USORD=0,0", line("+USORD: 0,25")),
        ask("AT+USORD=0,0", cme(3)),
        ask("AT+USORF=0,0", line("+USORF: 0,25")),
    )
    assert modem.run("tls_pending", socket=0).values["pending"] == 25
    assert modem.run("tls_pending", socket=0).outcome is Outcome.CLOSED
    assert modem.run("udp_pendingfrom", socket=0).values["pending"] == 25


def test_a_dead_r410m_socket_is_no_freed_number(connect, quick):
    """4294967295 bytes announce a dead TLS connection, whose number has to be closed still."""
    modem = connect(quick(R4), b"\r\n+UUSORD: 0,4294967295\r\n", ask("AT+USORD=0,1024", cme(3)), ask("AT+USOCL=0"))
    assert modem.run("tls_receive", socket=0, size=1024).outcome is Outcome.CLOSED
    modem.run("tls_close", socket=0)
    assert modem.urcs == [("closed", {"socket": 0})]
    rule = next(one.rule for one in quick(R4).urcs if one.name == "dead")
    assert rule.held, "unlike of +UUSOCL"


# -- datagrams -----------------------------------------------------------------------------------------------------


def test_datagrams_without_a_peer_as_the_guide_shows_them(connect, quick):
    modem = connect(
        quick(R4),
        ask("AT+USOCR=17", line("+USOCR: 0")),
        ask('AT+USOST=0,"195.34.89.241",7,2', b"\r\n@"),
        (b"\0\xff", line("+USOST: 0,2") + b"\r\n+UUSORF: 0,2\r\n"),
        ask("AT+USORF=0,1024", b'\r\n+USORF: 0,"195.34.89.241",7,2,"\0\xff"\r\n\r\nOK\r\n'),
        ask("AT+USORF=0,1024", line('+USORF: 0,""')),
        ask("AT+USORF=0,1024", ERROR),
    )
    bound = {name: value for name, value in OPEN.items() if name not in {"host", "port"}}
    modem.run("udp_bind", **bound)
    to = {"socket": 0, "host": "195.34.89.241", "port": 7}
    assert modem.run("udp_sendto", **to, data=b"\0\xff", size=2).outcome is Outcome.OK
    got = modem.run("udp_receivefrom", socket=0, size=1024)
    assert (got.values["host"], got.values["port"], bytes(got.payload)) == ("195.34.89.241", 7, b"\0\xff")
    for _ in range(2):
        assert modem.run("udp_receivefrom", socket=0, size=1024).outcome is Outcome.EMPTY
    assert modem.urcs == [("data", {"socket": 0, "length": 2})]


# -- what there is besides -----------------------------------------------------------------------------------------


def test_a_listening_socket_as_the_guide_shows_it(connect, quick):
    modem = connect(
        quick(R5),
        ask("AT+USOCR=6", line("+USOCR: 0")),
        ask("AT+USOLI=0,1099"),
        b'\r\n+UUSOLI: 1,"151.9.34.66",39912,0,"151.9.34.74",1099\r\n',
    )
    wanted = {"pdp": 1, "socket": 5, "local_port": 1099, "receive": "pull"}
    assert modem.run("tcp_listen", **wanted).values["socket"] == 0
    assert modem.channel.wait(lambda: bool(modem.urcs), modem.channel.clock() + 5)
    ((means, values),) = modem.urcs
    assert means == "accepted"
    assert (values["listener"], values["socket"], values["host"], values["port"]) == (0, 1, "151.9.34.66", 39912)


def test_a_port_that_cannot_be_listened_on_is_given_back(connect, quick):
    modem = connect(quick(R5), ask("AT+USOCR=6", line("+USOCR: 0")), ask("AT+USOLI=0,1099", ERROR), ask("AT+USOCL=0"))
    with pytest.raises(CommandError):
        modem.run("tcp_listen", pdp=1, socket=5, local_port=1099, receive="pull")


@pytest.mark.parametrize(
    ("number", "state"), [(0, "closed"), (2, "opening"), (4, "open"), (1, "open"), (7, "closing"), (10, "closing")]
)
def test_states(connect, quick, number, state):
    modem = connect(
        quick(R5),
        ask("AT+USOCTL=0,10", line(f"+USOCTL: 0,10,{number}")),
        ask("AT+USOCTL=0,10", cme(3)),
        ask("AT+USOCTL=0,0", line("+USOCTL: 0,0,17")),
        ask("AT+USOCTL=0,0", cme(3)),
    )
    assert modem.run("tls_state", socket=0).values["state"] == state
    assert modem.run("tcp_state", socket=0).values["state"] == "closed"
    assert modem.run("dtls_state", socket=0).values["state"] == "open"
    assert modem.run("udp_state", socket=0).values["state"] == "closed"


def test_sockets_that_are_there_are_found_by_asking_for_each(connect, quick):
    there = {2: 6, 5: 17}
    modem = connect(
        quick(R5),
        *(ask(f"AT+USOCTL={n},0", line(f"+USOCTL: {n},0,{there[n]}") if n in there else cme(3)) for n in range(7)),
    )
    assert [row["socket"] for row in modem.run("tcp_list").rows] == [2, 5]


def test_who_is_at_the_other_end(connect, quick):
    modem = connect(quick(R5), ask("AT+USOCTL=0,4", line('+USOCTL: 0,4,"151.9.34.66",443')))
    found = modem.run("tls_address", socket=0).values
    assert (found["remote_host"], found["remote_port"]) == ("151.9.34.66", 443)


@pytest.mark.parametrize("said", [OK, ERROR, cme(3)])
def test_closing_a_number_that_is_free_already_is_no_failure(connect, quick, said):
    modem = connect(quick(R5), ask("AT+USOCL=0", said))
    assert modem.run("tls_close", socket=0).outcome is Outcome.OK
