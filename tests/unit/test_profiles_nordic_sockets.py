"""The sockets of the Nordic applications, byte for byte, in both dialects.

Values of the dialogues: the project's sheet on these applications, sections 5 to 7, 10 and 11.
"""

from __future__ import annotations

import pytest

from modemtls.at.grammar import Outcome
from modemtls.errors import CommandError, ConfigurationError, ModemError, NotSupportedError, SyncError
from tests.support.nordic_profiles import ERROR, OK, OPEN, TAG, TLS, connect_fixture, line  # noqa: F401
from tests.support.nordic_profiles import ask as ask_either

EVERY_BYTE = bytes(range(256))


def sm(text, answer=OK):
    return ask_either(text, answer)


def slm(text, answer=OK):
    return ask_either(text, answer, slm=True)


def made(command, *fields):
    return f"\r\n{command}: {','.join(map(str, fields))}\r\n\r\nOK\r\n".encode()


def selected(*sockets):
    """Give the answer to XSOCKETSELECT?: the sockets, and the last one as the selected."""
    lines = [f"\r\n#XSOCKETSELECT: {','.join(map(str, one))}\r\n" for one in (*sockets, sockets[-1][:1])]
    return "".join([*lines, "\r\nOK\r\n"]).encode()


def settings(**others):
    dtls = others.get("version") == 273
    return {"version": 258, **TLS, **OPEN, "dtls": dtls, **others}


# What is said before XCONNECT for a connection that verifies the server, in both dialects.
SM_SECURE = (
    sm(f"AT#XSSOCKET=1,1,0,{TAG},2,0", made("#XSSOCKET", 3, 1, 258)),
    sm('AT#XSSOCKETOPT=3,1,2,"good.example"'),
    sm("AT#XSSOCKETOPT=3,1,12,0"),
    sm("AT#XSSOCKET?", f"\r\n#XSSOCKET: 0,1,0,1,42,0\r\n\r\n#XSSOCKET: 3,1,0,1,{TAG},0\r\n\r\nOK\r\n".encode()),
    sm("AT#XSSOCKETOPT=3,0,5", made("#XSSOCKETOPT", 3, 2)),
    sm("AT#XSSOCKETOPT=3,0,2", made("#XSSOCKETOPT", 3, "good.example")),
)
SM_CONNECTED = (sm('AT#XCONNECT=3,"192.0.2.10",8883', made("#XCONNECT", 3, 1)), sm("AT#XAPOLL=3,1,1"))
SLM_SECURE = (
    slm(f"AT#XSSOCKET=1,1,0,{TAG},2,0", made("#XSSOCKET", 3, 1, 258)),
    slm('AT#XSSOCKETOPT=1,2,"good.example"'),
    slm("AT#XSSOCKETOPT=1,12,0"),
    slm(
        "AT#XSOCKETSELECT?",
        selected((2, 1, 0, 1, -1, 1, 0), (3, 1, 0, 1, TAG, 2, 0)),
    ),
    slm("AT#XSSOCKETOPT=0,5", made("#XSSOCKETOPT", 2)),
)
SLM_CONNECTED = (slm('AT#XCONNECT="192.0.2.10",8883', made("#XCONNECT", 1)),)


# -- a verified connection -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "dialogue"), [("nordic-sm", SM_SECURE + SM_CONNECTED), ("nordic-slm", SLM_SECURE + SLM_CONNECTED)]
)
def test_verification_and_name_are_written_and_read_back_before_anything_is_said_to_the_peer(connect, name, dialogue):
    result = connect(name, *dialogue).run("tls_open", **settings())
    assert result.outcome is Outcome.OK
    assert result.values["socket"] == 3


@pytest.mark.parametrize(
    ("name", "dialogue", "place", "kept"),
    [
        ("nordic-sm", SM_SECURE, 0, made("#XSSOCKET", 3, 1, 273)),  # DTLS, not TLS
        ("nordic-sm", SM_SECURE, 3, made("#XSSOCKET", 3, 1, 0, 1, TAG[:-1], 0)),
        ("nordic-sm", SM_SECURE, 4, made("#XSSOCKETOPT", 3, 0)),
        ("nordic-sm", SM_SECURE, 4, made("#XSSOCKETOPT", 3, 1)),
        ("nordic-sm", SM_SECURE, 5, made("#XSSOCKETOPT", 3, "god.example")),
        ("nordic-slm", SLM_SECURE, 3, selected((3, 1, 0, 1, TAG[1:], 2, 0))),
        ("nordic-slm", SLM_SECURE, 3, selected((3, 1, 0, 1, TAG, 2, 0), (1, 1, 0, 1, TAG, 3, 0))),
        ("nordic-slm", SLM_SECURE, 4, made("#XSSOCKETOPT", 0)),
    ],
)  # fmt: skip
def test_what_was_misheard_is_noticed_before_anything_is_said_to_the_peer(connect, name, dialogue, place, kept):
    modem = connect(name, *dialogue[:place], (dialogue[place][0], kept))
    with pytest.raises(CommandError) as caught:
        modem.run("tls_open", **settings())
    assert caught.value.kind == "mismatch"


def test_settings_that_the_modem_refuses_end_the_open(connect):
    for place in (0, 1, 2, 4):
        modem = connect("nordic-sm", *SM_SECURE[:place], (SM_SECURE[place][0], ERROR))
        with pytest.raises(CommandError):
            modem.run("tls_open", **settings())


@pytest.mark.parametrize("name", ["nordic-sm", "nordic-slm"])
def test_without_anything_in_the_store_nothing_is_sent(connect, name):
    with pytest.raises(CommandError, match="storage"):
        connect(name).run("tls_open", **settings(bundle=None, ca=None, verify=False, check_hostname=False))


@pytest.mark.parametrize(
    ("wanted", "number", "name"),
    [
        ({"sni": True, "sni_name": "other.example"}, 0, '"other.example"'),
        ({"sni": False, "sni_name": None}, 0, "NULL"),
    ],
)
def test_a_connection_that_verifies_nobody_says_so_and_still_sends_the_name(connect, wanted, number, name):
    modem = connect(
        "nordic-sm",
        sm(f"AT#XSSOCKET=1,1,0,{TAG},{number},0", made("#XSSOCKET", 3, 1, 258)),
        sm(f"AT#XSSOCKETOPT=3,1,2,{name}"),
        SM_SECURE[2],
        SM_SECURE[3],
        *SM_CONNECTED,
    )
    modem.run("tls_open", **settings(verify=False, check_hostname=False, expected_name=None, **wanted))


def test_the_cache_is_switched_on_and_purged_on_demand(connect):
    modem = connect(
        "nordic-sm",
        *SM_SECURE[:2],
        sm("AT#XSSOCKETOPT=3,1,12,1"),
        sm("AT#XSSOCKETOPT=3,1,13,1"),
        *SM_SECURE[3:],
        *SM_CONNECTED,
    )
    modem.run("tls_open", **settings(resume=True, purge=True))


def test_local_port_and_family_are_chosen_where_they_are_wanted(connect):
    modem = connect(
        "nordic-sm",
        sm(f"AT#XSSOCKET=2,1,0,{TAG},2,0", made("#XSSOCKET", 3, 1, 258)),
        sm("AT#XBIND=3,4321"),
        *SM_SECURE[1:],
        *SM_CONNECTED,
    )
    modem.run("tls_open", **settings(family="ipv6", local_port=4321))
    modem = connect(
        "nordic-slm",
        slm("AT#XSOCKET=2,1,0,0", made("#XSOCKET", 2, 1, 6)),
        slm("AT#XBIND=4321"),
        slm('AT#XCONNECT="192.0.2.10",8883', made("#XCONNECT", 1)),
    )
    modem.run("tcp_open", **OPEN, family="ipv6", local_port=4321)


@pytest.mark.parametrize(
    ("looked_up", "kind"),
    [
        (line('#XGETADDRINFO: "192.0.2.10"'), "connect_or_handshake"),
        (b'\r\n#XGETADDRINFO: "not found"\r\n\r\nERROR\r\n', "name_not_resolved"),
    ],
)
@pytest.mark.parametrize("name", ["nordic-sm", "nordic-slm"])
def test_a_refusal_is_told_from_a_name_that_does_not_resolve(connect, name, looked_up, kind):
    say, handle = (sm, "3,") if name == "nordic-sm" else (slm, "")
    modem = connect(
        name,
        *(SM_SECURE if name == "nordic-sm" else SLM_SECURE),
        say(f'AT#XCONNECT={handle}"far.example",8883', ERROR),
        say('AT#XGETADDRINFO="far.example"', looked_up),
    )
    with pytest.raises(CommandError) as caught:
        modem.run("tls_open", **settings(host="far.example"))
    assert caught.value.kind == kind
    assert "XCONNECT" in str(caught.value)


# -- DTLS ----------------------------------------------------------------------------------------------------------


def dtls(say, handle, cid, timers=None, *, cid_answer=OK):
    """Give the dialogue of a DTLS open in which nobody is verified, with these option numbers."""
    get = f"AT#XSSOCKETOPT={handle}"
    return (
        say(f"AT#XSSOCKET=1,2,0,{TAG},0,0", made("#XSSOCKET", 3, 2, 273)),
        say(f"{get}1,2,NULL"),
        say(f"{get}1,12,0"),
        say(f"{get}1,{cid}", cid_answer),
        *([say(f"{get}1,{timers}")] if timers else []),
        say("AT#XSSOCKET?", made("#XSSOCKET", 3, 1, 0, 2, TAG, 0))
        if handle
        else say("AT#XSOCKETSELECT?", selected((3, 1, 0, 2, TAG, 2, 0))),
        *(SM_CONNECTED if handle else SLM_CONNECTED),
    )


def psk(**others):
    free = {"ca": None, "psk": TAG, "verify": False, "check_hostname": False, "expected_name": None, "sni": False}
    timers = {"dtls_timeout_min": 1, "dtls_timeout_max": 16, "dtls_timeout_total": 31}
    return settings(version=273, **{**free, "sni_name": None, **timers, **others})


@pytest.mark.parametrize(
    ("name", "flags", "dialogue"),
    [
        ("nordic-sm", {}, dtls(sm, "3,", "14,2", "18,31")),
        ("nordic-slm", {"option_numbers": "new"}, dtls(slm, "", "14,2", "18,31")),
        ("nordic-slm", {"option_numbers": "old"}, dtls(slm, "", "17,2", "14,31")),
    ],
)
def test_connection_id_and_time_out_under_the_numbers_of_the_release(connect, name, flags, dialogue):
    connect(name, *dialogue, **flags).run("dtls_open", **psk(cid=True))


@pytest.mark.parametrize(
    ("name", "flags", "number"),
    [
        ("nordic-sm", {}, 14),
        ("nordic-slm", {"option_numbers": "new"}, 14),
        ("nordic-slm", {"option_numbers": "old"}, 17),
    ],
)
def test_connection_id_is_refused_where_the_firmware_has_none_and_not_missed_where_nobody_wants_it(
    connect, name, flags, number
):
    say, handle = (sm, "3,") if name == "nordic-sm" else (slm, "")
    none = {"dtls_timeout_min": None, "dtls_timeout_max": None, "dtls_timeout_total": None}
    connect(name, *dtls(say, handle, f"{number},0", cid_answer=ERROR), **flags).run("dtls_open", **psk(**none))
    modem = connect(name, *dtls(say, handle, f"{number},2", cid_answer=ERROR)[:4], **flags)
    with pytest.raises((CommandError, NotSupportedError), match="Connection ID"):
        modem.run("dtls_open", **psk(cid=True, **none))


def test_an_unknown_release_of_slm_is_not_asked_for_connection_id(connect):
    with pytest.raises(NotSupportedError):
        connect("nordic-slm").run("dtls_open", **psk(cid=True))


@pytest.mark.parametrize(
    ("number", "word"), [(0, "none"), (1, "receive"), (2, "send"), (3, "both")]
)  # fmt: skip
def test_use_of_connection_id_is_told(connect, number, word):
    modem = connect("nordic-sm", sm("AT#XSSOCKETOPT=3,0,15", made("#XSSOCKETOPT", 3, number)))
    assert modem.run("cid_status", socket=3).values["cid"] == word
    for numbers, option in (("old", 18), ("new", 15)):
        modem = connect(
            "nordic-slm",
            slm("AT#XSOCKETSELECT=3", made("#XSOCKETSELECT", 3)),
            slm(f"AT#XSSOCKETOPT=0,{option}", made("#XSSOCKETOPT", number)),
            option_numbers=numbers,
        )
        assert modem.run("cid_status", socket=3).values["cid"] == word


def test_a_connection_is_put_aside_and_taken_up(connect):
    save, load = "AT#XSSOCKETOPT=3,1,19,0", "AT#XSSOCKETOPT=3,1,20,0"
    modem = connect("nordic-sm", sm(save), sm(load), sm(load, ERROR))
    modem.run("connection_save", socket=3)
    modem.run("connection_load", socket=3)
    with pytest.raises(CommandError):
        modem.run("connection_load", socket=3)


# -- data: Serial Modem --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "more"),
    [
        (b"\r\n#XRECV: 3,1,3\r\n0d0a22\r\n", {}),
        (b'\r\n#XRECVFROM: 3,1,3,"192.0.2.1",5683\r\n0d0a22\r\n', {"host": "192.0.2.1", "port": 5683}),
    ],
)
def test_digits_that_come_by_themselves_are_counted_and_read(connect, said, more):
    modem = connect("nordic-sm", sm("AT#XCLOSE=3", said + made("#XCLOSE", 3, 0)))
    payloads = []
    seen, modem.channel.on_urc = modem.channel.on_urc, lambda urc: (payloads.append(urc.payload), seen(urc))
    modem.run("tls_close", socket=3)
    assert payloads == [b'\r\n"']
    assert modem.urcs == [("data", {"socket": 3, "length": 3, **more})]


def test_every_byte_goes_as_digits_and_the_count_comes_back(connect):
    modem = connect("nordic-sm", sm(f'AT#XSEND=3,1,0,"{EVERY_BYTE.hex().upper()}"', made("#XSEND", 3, 0, 256)))
    assert modem.run("tls_send", socket=3, data=EVERY_BYTE, size=256).outcome is Outcome.OK


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"\r\n#XSEND: 3,0,2\r\n\r\nERROR\r\n", Outcome.PARTIAL),
        (made("#XSEND", 3, 0, 2), Outcome.PARTIAL),
        (made("#XSEND", 3, 0, 4), Outcome.OK),
    ],
)
def test_a_short_write_is_told_by_its_count(connect, answer, outcome):
    result = connect("nordic-sm", sm('AT#XSEND=3,1,0,"40001234"', answer)).run(
        "tcp_send", socket=3, data=b"\x40\0\x12\x34", size=4
    )
    assert result.outcome is outcome
    assert result.values["sent"] == (4 if outcome is Outcome.OK else 2)


def test_a_send_that_failed_is_a_failure(connect):
    with pytest.raises(CommandError):
        connect("nordic-sm", sm('AT#XSEND=3,1,0,"00"', ERROR)).run("tls_send", socket=3, data=b"\0", size=1)


def test_more_than_the_modem_takes_is_refused_before_anything_is_sent(connect):
    modem = connect("nordic-sm")
    with pytest.raises(ConfigurationError, match="1400"):
        modem.run("tls_send", socket=3, data=b"x" * 1401, size=1401)
    with pytest.raises(ConfigurationError, match="1120"):
        modem.run("dtls_send", socket=3, data=b"x" * 1121, size=1121)


@pytest.mark.parametrize("payload", [b"pong", EVERY_BYTE, b"\r\nOK\r\n", b"\r\nERROR\r\n", b"#XAPOLL: 3,16\r\n"])
def test_data_comes_whole_whatever_is_in_it(connect, payload):
    said = f"\r\n#XRECV: 3,0,{len(payload)}\r\n".encode() + payload + b"\r\nOK\r\n"
    result = connect("nordic-sm", sm("AT#XRECV=3,0,64,0,2048", said)).run("tls_receive", socket=3, size=2048)
    assert (result.outcome, result.payload) == (Outcome.OK, payload)


def test_a_byte_that_was_lost_is_noticed(connect):
    modem = connect("nordic-sm", sm("AT#XRECV=3,0,64,0,2048", b"\r\n#XRECV: 3,0,4\r\npon\r\nOK\r\n"))
    with pytest.raises(SyncError):
        modem.run("tls_receive", socket=3, size=2048)


@pytest.mark.parametrize(
    ("family", "answer", "outcome"),
    [
        ("tls", ERROR, Outcome.EMPTY),
        ("tls", OK, Outcome.EOF),
        ("tcp", OK, Outcome.EOF),
        ("dtls", ERROR, Outcome.EMPTY),
        ("dtls", OK, Outcome.EOF),
        ("udp", OK, Outcome.EMPTY),
        ("udp", ERROR, Outcome.EMPTY),
    ],
)
def test_nothing_yet_is_error_and_the_end_is_ok_without_data(connect, family, answer, outcome):
    for name in ("nordic-sm", "nordic-slm"):
        if name == "nordic-sm":
            dialogue = [sm("AT#XRECV=3,0,64,0,512", answer)]
        else:
            dialogue = [slm("AT#XSOCKETSELECT=3", made("#XSOCKETSELECT", 3)), slm("AT#XRECV=1,64", answer)]
            dialogue += [slm("AT#XPOLL=0,3")] if answer == ERROR else []
        assert connect(name, *dialogue).run(f"{family}_receive", socket=3, size=512).outcome is outcome


@pytest.mark.parametrize(
    ("said", "means"),
    [(1, "data"), (5, "data"), (4, "noise"), (16, "closed"), (17, "closed"), (8, "broken"), (9, "broken"),
     (24, "broken"), (25, "broken"), (32, "broken")],
)  # fmt: skip
def test_notices_of_data_and_of_the_end(connect, said, means):
    modem = connect("nordic-sm", f"\r\n#XAPOLL: 3,{said}\r\n".encode())
    assert modem.channel.wait(lambda: bool(modem.urcs), modem.channel.clock() + 5)
    kind, values = modem.urcs[0]
    assert (kind, values["socket"]) == (means, 3)


def test_datagrams_with_and_without_a_peer(connect):
    modem = connect(
        "nordic-sm",
        sm("AT#XSOCKET=1,2,0,0", made("#XSOCKET", 3, 2, 17)),
        sm("AT#XBIND=3,0"),
        sm("AT#XAPOLL=3,1,1"),
        sm('AT#XSENDTO=3,1,0,"192.0.2.1",5683,"4001"', made("#XSENDTO", 3, 0, 2)),
        sm("AT#XRECVFROM=3,0,64,0,2048", b'\r\n#XRECVFROM: 3,0,2,"192.0.2.1",5683\r\n\r\n\r\nOK\r\n'),
        sm("AT#XRECVFROM=3,0,64,0,2048", ERROR),
    )
    modem.run("udp_bind", pdp=0, socket=0, receive="pull")
    modem.run("udp_sendto", socket=3, host="192.0.2.1", port=5683, data=b"\x40\1", size=2)
    got = modem.run("udp_receivefrom", socket=3, size=2048)
    assert (got.payload, got.values["host"], got.values["port"]) == (b"\r\n", "192.0.2.1", 5683)
    assert modem.run("udp_receivefrom", socket=3, size=2048).outcome is Outcome.EMPTY


def test_listening_and_taking_who_came(connect):
    modem = connect(
        "nordic-sm",
        sm("AT#XSOCKET=1,1,1,0", made("#XSOCKET", 3, 1, 6)),
        sm("AT#XBIND=3,7000"),
        sm("AT#XLISTEN=3"),
        sm("AT#XAPOLL=3,1,1"),
        sm("AT#XACCEPT=3", ERROR),
        sm("AT#XACCEPT=3", made("#XACCEPT", 4, 0, '"198.51.100.7"', 40000)),
        sm("AT#XAPOLL=4,1,1"),
    )
    assert modem.run("tcp_listen", pdp=0, socket=0, local_port=7000, receive="pull").values["socket"] == 3
    assert modem.run("tcp_accept", socket=3).outcome is Outcome.EMPTY
    values = modem.run("tcp_accept", socket=3).values
    assert (values["socket"], values["host"], values["port"]) == (4, "198.51.100.7", 40000)


def test_closing_is_tried_twice_and_a_socket_that_is_gone_is_closed(connect):
    modem = connect(
        "nordic-sm",
        sm("AT#XCLOSE=3", made("#XCLOSE", 3, 0)),
        sm("AT#XCLOSE=3", ERROR),
        sm("AT#XCLOSE=3", made("#XCLOSE", 3, 0)),
        sm("AT#XCLOSE=3", ERROR),
        sm("AT#XCLOSE=3", ERROR),
    )
    for _ in range(3):
        assert modem.run("tls_close", socket=3).outcome is Outcome.OK


def test_who_uses_which_socket(connect):
    secure = f"\r\n#XSSOCKET: 0,1,0,1,{TAG},0\r\n\r\n#XSSOCKET: 1,1,0,2,42,0\r\n\r\nOK\r\n".encode()
    plain = b"\r\n#XSOCKET: 2,1,1,1,0\r\n\r\n#XSOCKET: 3,1,0,2,0\r\n\r\nOK\r\n"
    modem = connect("nordic-sm", *[sm("AT#XSSOCKET?", secure)] * 2, *[sm("AT#XSOCKET?", plain)] * 2)
    found = [[row["socket"] for row in modem.run(f"{one}_list").rows] for one in ("tls", "dtls", "tcp", "udp")]
    assert found == [[0], [1], [2], [3]]
    both = selected((1, 1, 0, 1, TAG, 1, 0), (2, 1, 0, 2, -1, 2, 0))
    modem = connect("nordic-slm", *[slm("AT#XSOCKETSELECT?", both)] * 4)
    found = [[row["socket"] for row in modem.run(f"{one}_list").rows] for one in ("tls", "dtls", "tcp", "udp")]
    assert found == [[1], [], [], [2]]


# -- data: Serial LTE Modem ----------------------------------------------------------------------------------------

SELECTED = slm("AT#XSOCKETSELECT=3", made("#XSOCKETSELECT", 3))


@pytest.mark.parametrize("payload", [EVERY_BYTE, b"\r\nAT+CFUN=0\r\n", b"++", b'a"b,c', b"x" * 4096])
def test_data_mode_carries_every_byte(connect, payload):
    modem = connect("nordic-slm", SELECTED, slm("AT#XSEND", OK), (payload, b""), (b"+++", b"\r\n#XDATAMODE: 0\r\n"))
    assert modem.run("tls_send", socket=3, data=payload, size=len(payload)).outcome is Outcome.OK


def test_the_silence_before_the_end_of_data_mode_is_kept(connect):
    modem = connect("nordic-slm", SELECTED, slm("AT#XSEND", OK), (b"a+", b""), (b"+++", b"\r\n#XDATAMODE: 0\r\n"))
    begun = modem.channel.clock()
    modem.run("tcp_send", socket=3, data=b"a+", size=2)
    assert modem.channel.clock() - begun >= 0.35  # more than the 250 ms of the modem's idle timer


@pytest.mark.parametrize("payload", [b"+++", b"a+++b", b"\0+++"])
def test_a_datagram_that_would_end_data_mode_is_refused_before_anything_is_sent(connect, payload):
    modem = connect("nordic-slm")
    with pytest.raises(ConfigurationError, match=r"\+\+\+"):
        modem.run("dtls_send", socket=3, data=payload, size=len(payload))


@pytest.mark.parametrize(
    ("payload", "pieces"), [(b"+++", [b"++", b"+"]), (b"a+++b", [b"a++", b"+b"]), (b"\0+++", [b"\0++", b"+"])]
)
@pytest.mark.parametrize("family", ["tls", "tcp"])
def test_a_stream_is_silent_within_what_would_end_data_mode(connect, family, payload, pieces):
    awaited = [(one, b"") for one in pieces]
    modem = connect("nordic-slm", SELECTED, slm("AT#XSEND", OK), *awaited, (b"+++", b"\r\n#XDATAMODE: 0\r\n"))
    begun = modem.channel.clock()
    assert modem.run(f"{family}_send", socket=3, data=payload, size=len(payload)).outcome is Outcome.OK
    assert modem.channel.clock() - begun >= 2 * 0.35


@pytest.mark.parametrize(
    "said",
    [b"\r\n#XDATAMODE: -128\r\n", b"+++\r\n#XDATAMODE: -1\r\n", b"\r\n#XDATAMODE: 5\r\n\r\n#XDATAMODE: -104\r\n"],
)
def test_a_failure_in_data_mode_is_a_failure(connect, said):
    modem = connect("nordic-slm", SELECTED, slm("AT#XSEND", OK), (b"hello", b""), (b"+++", said))
    with pytest.raises(CommandError):
        modem.run("tls_send", socket=3, data=b"hello", size=5)


def test_counts_of_blocks_are_not_the_end_of_data_mode(connect):
    modem = connect(
        "nordic-slm",
        SELECTED,
        slm("AT#XSEND", OK),
        (b"hello", b""),
        (b"+++", b"\r\n#XDATAMODE: 5\r\n\r\n#XDATAMODE: 0\r\n"),
    )
    assert modem.run("tls_send", socket=3, data=b"hello", size=5).outcome is Outcome.OK


def test_a_socket_that_cannot_be_selected_is_closed_and_nothing_else_is_touched(connect):
    gone = slm("AT#XSOCKETSELECT=3", ERROR)
    modem = connect("nordic-slm", gone, gone, gone)
    assert modem.run("tls_send", socket=3, data=b"x", size=1).outcome is Outcome.CLOSED
    assert modem.run("tls_receive", socket=3, size=576).outcome is Outcome.CLOSED
    assert modem.run("tls_close", socket=3).outcome is Outcome.CLOSED


@pytest.mark.parametrize(
    ("events", "kind"),
    [("0x0001", None), ("0x0004", None), ("0x0010", None), ("0x0008", "closed"), ("0x0018", "closed"),
     ("0x000c", "closed"), ("0x0020", "no_such_socket")],
)  # fmt: skip
def test_a_broken_connection_is_told_from_one_that_is_silent(connect, events, kind):
    modem = connect(
        "nordic-slm", SELECTED, slm("AT#XRECV=1,64", ERROR), slm("AT#XPOLL=0,3", line(f'#XPOLL: 3,"{events}"'))
    )
    if kind is None:
        assert modem.run("tls_receive", socket=3, size=576).outcome is Outcome.EMPTY
        return
    with pytest.raises(CommandError) as caught:
        modem.run("tls_receive", socket=3, size=576)
    assert caught.value.kind == kind


def test_a_datagram_tells_its_sender_with_or_without_the_port(connect):
    modem = connect(
        "nordic-slm",
        SELECTED,
        slm("AT#XRECVFROM=1,64", b'\r\n#XRECVFROM: 2,"192.0.2.1",5683\r\nhi\r\nOK\r\n'),
        SELECTED,
        slm("AT#XRECVFROM=1,64", b'\r\n#XRECVFROM: 2,"192.0.2.1"\r\nho\r\nOK\r\n'),
    )
    first, second = (modem.run("udp_receivefrom", socket=3, size=576) for _ in range(2))
    assert (first.payload, first.values["host"], first.values["port"]) == (b"hi", "192.0.2.1", 5683)
    assert (second.payload, second.values["host"], second.values.get("port")) == (b"ho", "192.0.2.1", None)


def test_nobody_can_call_where_a_caller_has_no_socket_of_his_own(connect):
    modem = connect("nordic-slm")
    assert modem.runner.capabilities["listen"] is modem.runner.capabilities["server"] is False
    for op in ("tcp_listen", "tls_listen"):
        with pytest.raises(NotSupportedError):
            modem.run(op, pdp=0, socket=0, local_port=7000, receive="pull")


def test_closing_selects_first_and_uses_the_command_of_the_kind(connect):
    modem = connect(
        "nordic-slm",
        SELECTED,
        slm("AT#XSSOCKET=0", line('#XSSOCKET: 0,"closed"')),
        SELECTED,
        slm("AT#XSOCKET=0", line('#XSOCKET: 0,"closed"')),
    )
    modem.run("dtls_close", socket=3)
    modem.run("udp_close", socket=3)


def test_a_restart_in_the_middle_of_an_open_is_an_error(connect):
    modem = connect("nordic-sm", *SM_SECURE, sm('AT#XCONNECT=3,"192.0.2.10",8883', b"Ready\r\n"))
    with pytest.raises(ModemError, match="restarted"):
        modem.run("tls_open", **settings())
