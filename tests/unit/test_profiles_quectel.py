"""The profiles of the Quectel modules, played against the bytes that the manuals give.

Values of the dialogues: BG96 SSL AT Commands Manual V1.0, chapters 2 to 4; BG96 TCP(IP) AT Commands Manual V1.1,
chapters 2 and 3; BG96 FILE AT Commands Manual V1.1, 3.1.1.1; the framing of lines is that of the BG96 AT manual, 2.15.
"""

from __future__ import annotations

import contextlib
import re

import pytest

from modemtls.at.grammar import Outcome
from modemtls.errors import CommandError
from modemtls.profile import bundled, check, show
from tests.support.quectel import (
    BG95_KEYS,
    BG96_KEYS,
    ERROR,
    MODELS,
    OK,
    ask,
    bg95_fixture,  # noqa: F401
    connect_fixture,  # noqa: F401
    line,
    load,
    profile_fixture,  # noqa: F401
)

# -- the files -----------------------------------------------------------------------------------------------------


def test_the_profiles_are_clean_and_offered():
    assert check(["quectel-common", *MODELS]) == []
    assert set(MODELS) <= set(bundled())
    assert "quectel-common" not in bundled()


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("quectel-bg95", "BG95-M3"),
        ("quectel-bg95", "BG95-MF"),
        ("quectel-bg95", "BG77"),
        ("quectel-bg96", "BG96"),
        (None, "BG770A-GL"),  # other hardware with a similar name
        (None, "BG950A-GL"),
        (None, "EC25"),
    ],
)
def test_models_are_told_apart(name, model):
    found = [one for one in MODELS if load(one).identify.score("Quectel", model)]
    assert found == ([name] if name else [])


@pytest.mark.parametrize(("name", "count"), [("quectel-bg96", 13), ("quectel-bg95", 32)])
def test_suites_are_those_that_the_modem_lists_and_written_bare(name, count):
    suites = load(name).suites
    keys = BG96_KEYS if name == "quectel-bg96" else BG95_KEYS
    listed = re.search(rb"\((0X0035[^)]*)\)", keys)[1].decode().replace(" ", "").split(",")
    assert [*suites.codes.values(), suites.all] == listed
    assert len(suites.codes) == count
    assert all(f"0X{number & 0xFFFF:04X}" == token for number, token in suites.codes.items())


def test_no_choice_of_versions_lets_in_an_older_one(profile):
    assert {one.token: set(one.versions) for one in profile.tls_versions} == {1: {"1.0"}, 2: {"1.1"}, 3: {"1.2"}}


def test_every_open_error_has_a_kind_and_says_what_it_is(profile):
    codes = profile.errors["open"]
    assert {int(code) for code in codes} == set(range(550, 575))
    ambiguous = codes["566"]
    assert ambiguous.kind == "connect_or_handshake"
    for cause in ("TCP", "certificate", "name", "clock", "version", "does not say which"):
        assert cause in ambiguous.text
    assert codes["563"].kind == "socket_in_use"
    assert codes["565"].kind == "name_not_resolved"
    assert codes["570"].kind == "pdp_lost"
    assert {profile.errors["file"][code].kind for code in ("403", "420")} == {"no_space"}
    assert profile.errors["file"]["407"].kind == "exists"


def test_nothing_of_others_is_ever_ended(profile):
    text = show("quectel-common")
    assert re.findall(r"AT\+QIDEACT=\S+", text) == ["AT+QIDEACT={pdp}'"]
    assert re.findall(r"AT\+QFDEL=\S+", text) == ["AT+QFDEL={name:quoted}'"]
    assert re.findall(r"AT\+Q(?:I|SSL)CLOSE=\S+", text) == ["AT+QSSLCLOSE={socket},5'", "AT+QICLOSE={socket},5'"]
    assert "AT&W" not in text
    assert "AT&F" not in text


# -- certificates --------------------------------------------------------------------------------------------------


def test_an_upload_as_the_manual_shows_it(connect, profile):
    modem = connect(
        profile,
        ask('AT+QFUPL="test1.txt",10,60', b"\r\nCONNECT\r\n"),
        (b"1234567890", line("+QFUPL: 10,3938")),
        # Odd length, no leading zeros, capital letters.
        ask('AT+QFUPL="a",3,60', b"\r\nCONNECT\r\n"),
        (b"abc", line("+QFUPL: 3,262")),
        ask('AT+QFUPL="h",5,60', b"\r\nCONNECT\r\n"),
        (b"hello", line("+QFUPL: 5,6B09")),
    )
    for name, data in (("test1.txt", b"1234567890"), ("a", b"abc"), ("h", b"hello")):
        assert modem.run("credential_write", name=name, data=data, size=len(data), kind="ca").outcome is Outcome.OK


@pytest.mark.parametrize("said", ["+QFUPL: 10,3939", "+QFUPL: 9,3938"])
def test_an_upload_with_a_wrong_sum_or_size_is_an_error(connect, profile, said):
    modem = connect(profile, ask('AT+QFUPL="t",10,60', b"\r\nCONNECT\r\n"), (b"1234567890", line(said)))
    with pytest.raises(CommandError) as caught:
        modem.run("credential_write", name="t", data=b"1234567890", size=10, kind="key")
    assert caught.value.kind == "mismatch"
    assert "1234567890" not in str(caught.value)


@pytest.mark.parametrize(("stored", "good"), [(10, True), (8, False)])
def test_an_upload_whose_last_line_got_lost_is_looked_up(connect, profile, stored, good):
    modem = connect(
        profile,
        ask('AT+QFUPL="t",10,60', b"\r\nCONNECT\r\n"),
        (b"1234567890", OK),
        ask('AT+QFLST="t"', line(f'+QFLST: "t",{stored}')),
    )
    with contextlib.nullcontext() if good else pytest.raises(CommandError):
        modem.run("credential_write", name="t", data=b"1234567890", size=10, kind="ca")


@pytest.mark.parametrize(("code", "kind"), [(407, "exists"), (403, "no_space"), (420, "no_space"), (423, "no_space")])
def test_a_refused_upload_says_why(connect, profile, code, kind):
    modem = connect(profile, ask('AT+QFUPL="t",10,60', b"\r\n+CME ERROR: %d\r\n" % code))
    with pytest.raises(CommandError) as caught:
        modem.run("credential_write", name="t", data=b"1234567890", size=10, kind="ca")
    assert (caught.value.namespace, caught.value.modem_code, caught.value.kind) == ("file", code, kind)


def test_files_are_listed_with_and_without_the_stores_name(connect, profile):
    modem = connect(
        profile,
        ask('AT+QFLST="*"', line('+QFLST: "mtls-1",1188\r\n+QFLST: "UFS:mtls-2",7\r\n+QFLST: "security/",0')),
        ask('AT+QFLST="*"', b"\r\n+CME ERROR: 405\r\n"),
        ask('AT+QFLST="*"', b"\r\n+CME ERROR: 417\r\n"),
        ask('AT+QFLDS="UFS"', line("+QFLDS: 12987840,14483456")),
    )
    rows = [(row["name"], row["size"]) for row in modem.run("credential_list").rows]
    assert rows == [("mtls-1", 1188), ("mtls-2", 7), ("security/", 0)]
    assert not modem.run("credential_list").rows
    assert not modem.run("credential_list").rows
    assert modem.run("credential_space").values == {"free": 12987840, "total": 14483456}


def test_a_file_that_is_not_there_is_absent(connect, profile):
    modem = connect(
        profile,
        ask('AT+QFDEL="a"', OK),
        ask('AT+QFDEL="a"', b"\r\n+CME ERROR: 405\r\n"),
        ask('AT+QFDEL="a"', b"\r\n+CME ERROR: 418\r\n"),
        ask('AT+QFLST="a"', b"\r\n+CME ERROR: 405\r\n"),
        ask('AT+QFDEL="a"', b"\r\n+CME ERROR: 418\r\n"),
        ask('AT+QFLST="a"', OK),
        ask('AT+QFDEL="a"', b"\r\n+CME ERROR: 418\r\n"),
        ask('AT+QFLST="a"', line('+QFLST: "a",5')),
    )
    outcomes = [modem.run("credential_delete", name="a").outcome for _ in range(4)]
    assert outcomes == [Outcome.OK, Outcome.ABSENT, Outcome.ABSENT, Outcome.ABSENT]
    with pytest.raises(CommandError, match="still there"):
        modem.run("credential_delete", name="a")


# -- bring-up ------------------------------------------------------------------------------------------------------


def test_settings_that_are_kept_for_ever_are_written_only_if_they_differ(connect, profile):
    right = [
        ask("AT+QISDE=0"),
        ask('AT+QICFG="viewmode"', line('+QICFG: "viewmode",0')),
        ask('AT+QICFG="dataformat"', line('+QICFG: "dataformat",0,0')),
        ask('AT+QICFG="recvind"', ERROR),  # old firmware
    ]
    wrong = [
        ask("AT+QISDE=0", ERROR),
        ask('AT+QICFG="viewmode"', line('+QICFG: "viewmode",1')),
        ask('AT+QICFG="viewmode",0'),
        ask('AT+QICFG="dataformat"', line('+QICFG: "dataformat",0,1')),
        ask('AT+QICFG="dataformat",0,0'),
        ask('AT+QICFG="recvind"', line('+QICFG: "recvind",1')),
        ask('AT+QICFG="recvind",0'),
    ]
    modem = connect(profile, *right, *wrong)
    for _ in range(2):
        assert modem.run("setup").outcome is Outcome.OK


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (line("+CPIN: READY"), "ready"),
        (line("+CPIN: SIM PIN"), "pin"),
        (line("+CPIN: SIM PUK"), "puk"),
        (line("+CPIN: PH-NET PIN"), "other"),
        (b"\r\n+CME ERROR: 10\r\n", "absent"),
        (b"\r\n+CME ERROR: 14\r\n", "busy"),
        (b"\r\n+CME ERROR: 13\r\n", "other"),
    ],
)
def test_states_of_the_sim(connect, profile, answer, state):
    assert connect(profile, ask("AT+CPIN?", answer)).run("sim_state").values["state"] == state


def test_the_pin_is_quoted_and_never_shown(connect, profile):
    modem = connect(profile, ask('AT+CPIN="1234"', b"\r\n+CME ERROR: 16\r\n"))
    with pytest.raises(CommandError) as caught:
        modem.run("sim_unlock", pin="1234")
    assert caught.value.kind == "pin_wrong"
    assert "1234" not in f"{caught.value} {caught.value.command}"


def test_registration_in_the_forms_that_it_takes(connect, profile):
    modem = connect(
        profile,
        ask("AT+CEREG?", b"\r\n+CEREG: 2\r\n" + line('+CEREG: 2,5,"FFFE","82E76B2",9')),
        ask("AT+CGREG?", line("+CGREG: 0,4")),
        ask("AT+CREG?", b'\r\n+CREG: 1,"1A2B","01234567",0\r\n' + line('+CREG: 4,1,"1A2B","01234567",8,,,"00100100"')),
    )
    rows = [(row["stat"], row.get("technology")) for row in modem.run("registration").rows]
    assert rows == [("roaming", "nb-iot"), ("unknown", None), ("home", "lte-m")]
    assert [values["stat"] for means, values in modem.urcs if means == "registration"] == [2, 1]


REFUSED = b"\r\n+CME ERROR: 3\r\n"


@pytest.mark.parametrize("refused", [(), ("CEREG",), ("CGREG",), ("CREG",), ("CEREG", "CREG")])
def test_one_domain_that_does_not_answer_leaves_the_others_to_do_so(connect, profile, refused):
    domains = ("CEREG", "CGREG", "CREG")
    modem = connect(
        profile,
        *(ask(f"AT+{one}?", REFUSED if one in refused else line(f"+{one}: 0,1")) for one in domains),
        *(
            step
            for one in domains
            for step in (
                [ask(f"AT+{one}?", REFUSED)]
                if one in refused
                else [ask(f"AT+{one}?", line(f"+{one}: 0,1")), ask(f"AT+{one}=1")]
            )
        ),
    )
    assert [row["stat"] for row in modem.run("registration").rows] == ["home"] * (3 - len(refused))
    modem.run("registration_notify")


@pytest.mark.parametrize("op", ["registration", "registration_notify"])
def test_no_domain_that_answers_is_a_failure_that_says_why(connect, profile, op):
    modem = connect(profile, *(ask(f"AT+{one}?", REFUSED) for one in ("CEREG", "CGREG", "CREG")))
    with pytest.raises(CommandError) as caught:
        modem.run(op)
    assert caught.value.modem_code == 3


def test_a_query_of_the_bearers_may_not_take_as_long_as_an_activation(profile):
    text = show("quectel-common")
    times = re.findall(r"send: '?AT\+QIACT(\?|=)[^\n]*\n(?: +see:[^\n]*\n)? +timeout: (\d+)", text)
    assert dict(times) == {"?": "15", "=": "150"}


def test_registration_reports_that_somebody_wants_in_more_detail_stay(connect, profile):
    modem = connect(
        profile,
        ask("AT+CEREG?", line('+CEREG: 4,1,"FFFE","82E76B2",8,,,"00000001","00000001"')),
        ask("AT+CGREG?", line("+CGREG: 0,1")),
        ask("AT+CGREG=1"),
        ask("AT+CREG?", line("+CREG: 1,1")),
    )
    assert modem.run("registration_notify").outcome is Outcome.OK


def test_the_bearer_as_the_manual_shows_it(connect, profile):
    modem = connect(
        profile,
        ask("AT+QICSGP=1", line('+QICSGP: 1,"","","",0')),
        ask('AT+QICSGP=1,1,"UNINET","","",1'),
        ask("AT+QIACT?", OK),
        ask("AT+QIACT?", OK),
        ask("AT+QIACT=1"),
        ask("AT+QIACT?", line('+QIACT: 1,1,1,"10.7.157.1"\r\n+QIACT: 3,0,1\r\n+QIACT: 4,1,1')),
        ask("AT+QIACT?", line('+QIACT: 1,1,1,"10.7.157.1"')),
    )
    found = modem.run("pdp_read", pdp=1).values
    assert (found["apn"], found["family"], found["auth"]) == ("", "ipv4", "none")
    modem.run("pdp_configure", pdp=1, apn="UNINET", user=None, password=None, auth="pap", family="ipv4")
    assert not modem.run("pdp_list").rows
    modem.run("pdp_activate", pdp=1)
    assert [(row["pdp"], row.get("address")) for row in modem.run("pdp_list").rows] == [(1, "10.7.157.1"), (4, None)]
    modem.run("pdp_activate", pdp=1)  # already so: nothing to do


def test_an_apn_without_credentials_erases_those_of_before(connect, profile):
    modem = connect(profile, ask('AT+QICSGP=2,3,"iot.example","","",0'))
    written = {"pdp": 2, "apn": "iot.example", "user": None, "password": None, "auth": None, "family": "ipv4v6"}
    assert modem.run("pdp_configure", **written).outcome is Outcome.OK


def test_a_refused_bearer_says_why_and_passwords_are_not_shown(connect, profile):
    modem = connect(
        profile,
        ask('AT+QICSGP=1,1,"a","me","hidden",3', ERROR),
        ask("AT+QIACT?", OK),
        ask("AT+QIACT=1", ERROR),
        ask("AT+QIGETERROR", line("+QIGETERROR: 561,open PDP context failed")),
    )
    with pytest.raises(CommandError) as caught:
        modem.run("pdp_configure", pdp=1, apn="a", user="me", password="hidden", auth="any", family="ipv4")
    assert "hidden" not in f"{caught.value} {caught.value.command}"
    with pytest.raises(CommandError) as caught:
        modem.run("pdp_activate", pdp=1)
    assert (caught.value.modem_code, caught.value.kind) == (561, "pdp_failed")


def test_clocks(connect, profile):
    modem = connect(
        profile,
        ask("AT+CCLK?", line('+CCLK: "08/01/04,00:19:43+00"')),
        ask('AT+CCLK="26/10/01,12:00:00+00"'),
        ask("AT+QLTS=2", line('+QLTS: "2017/01/13,11:41:23+32,0"')),
        ask("AT+QLTS=2", line('+QLTS: ""')),
        ask('AT+QNTP=1,"202.120.2.101",123', OK + b'\r\n+QNTP: 0,"2013/08/19,11:10:10+32"\r\n'),
        ask('AT+QNTP=1,"202.120.2.101",123', OK + b"\r\n+QNTP: 565\r\n"),
    )
    assert modem.run("clock_read").values["clock"] == "08/01/04,00:19:43+00"
    modem.run("clock_set", clock="26/10/01,12:00:00+00")
    assert modem.run("clock_network").values["clock"] == "2017/01/13,11:41:23+32,0"
    assert modem.run("clock_network").outcome is Outcome.EMPTY
    server = {"pdp": 1, "server": "202.120.2.101", "port": 123}
    assert modem.run("clock_sync", **server).values["clock"] == "2013/08/19,11:10:10+32"
    with pytest.raises(CommandError) as caught:
        modem.run("clock_sync", **server)
    assert caught.value.kind == "name_not_resolved"


def test_who_it_is_with_and_without_a_sim(connect, bg95):
    known = [
        ask("AT+CGMM", line("BG95-M3")),
        ask("AT+CGMR", line("BG95M3LAR02A03")),
        ask("AT+QGMR", line("BG95M3LAR02A03_01.011.01.011")),
        ask("AT+CGSN", line("866425030000000")),
    ]
    modem = connect(
        bg95,
        *known,
        ask("AT+QCCID", line("+QCCID: 89860025128306012474")),
        *known,
        ask("AT+QCCID", b"\r\n+CME ERROR: 10\r\n"),
    )
    found = modem.run("info").values
    assert found == {
        "model": "BG95-M3",
        "firmware": "BG95M3LAR02A03",
        "revision": "BG95M3LAR02A03_01.011.01.011",
        "imei": "866425030000000",
        "iccid": "89860025128306012474",
    }
    assert modem.run("info").values.get("iccid") is None
