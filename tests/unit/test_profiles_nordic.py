"""The profiles of the Nordic applications: what they claim, and everything but sockets, byte for byte.

Values of the dialogues: the project's sheet on these applications, sections 1 to 4, and the forms of 27.007.
"""

from __future__ import annotations

import re

import pytest

from modemtls.at.grammar import Outcome
from modemtls.errors import CommandError, ConfigurationError, NotSupportedError
from modemtls.profile import bundled, check, show
from tests.support.nordic_profiles import (
    ERROR,
    MODELS,
    OK,
    TAG,
    ask,
    connect_fixture,  # noqa: F401
    line,
    load,
)

PEM = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
SHA = "2C43952EE9E000FF2ACC4E2ED0897C0A72AD5FA72C3D934E81741CBD54F05BD1"
OTHER_SHA = "39FDCF28AEFFE08D03251FCCAF645E3C5DE19FA4EBBAFC89B4EDE2A422148BAB"


@pytest.fixture(name="name", params=MODELS)
def name_fixture(request):
    return request.param


@pytest.fixture(name="say")
def say_fixture(name):
    """Give a command with the line end of this application, and its answer."""

    def say(text, answer=OK):
        return ask(text, answer, slm=name == "nordic-slm")

    return say


# -- the files -----------------------------------------------------------------------------------------------------


def test_the_profiles_are_clean_and_offered():
    assert check(["nordic-common", *MODELS]) == []
    assert set(MODELS) <= set(bundled())
    assert "nordic-common" not in bundled()


def test_each_is_recognised_by_the_command_that_only_it_has():
    asked = {one: [(q.line, q.pattern.source) for q in load(one).identify.ask] for one in MODELS}
    assert [lines for lines, _ in asked["nordic-sm"]] == [b"AT#XSMVER"]
    assert [lines for lines, _ in asked["nordic-slm"]] == [b"AT#XSLMVER"]


def test_what_no_document_says_is_not_claimed(name):
    profile = load(name)
    for capability in ("date_check", "suites", "handshake_timeout", "alpn", "pinning", "peer_certificate", "clock"):
        assert not profile.capabilities.get(capability) or not profile.capabilities[capability].value, capability
    assert profile.suites is None
    assert profile.capabilities["resumption"].value == "unreported"


def test_only_one_version_each_and_it_is_compared_with_what_the_modem_says(name):
    profile = load(name)
    assert [(one.token, set(one.versions)) for one in profile.tls_versions] == [(258, {"1.2"})]
    assert profile.capabilities["tls"].value == profile.capabilities["dtls"].value == ("1.2",)


def test_the_store_is_written_with_the_radio_off_and_known_by_digests(name):
    behaviour = load(name).behaviour
    assert behaviour["credentials_radio_off"] is True
    assert behaviour["credential_store"] == "tagged"
    assert behaviour["credential_digest"] == "sha256"
    assert behaviour["tls_contexts"] == "none"


def test_tags_are_those_that_anybody_may_use(name):
    tags = load(name).limits["credential_tags"]
    first, last = (tags["from"], tags["to"]) if isinstance(tags, dict) else (tags[0], tags[-1])
    assert 0 <= first < last <= 2147483647


def test_the_dialects_of_the_line():
    assert load("nordic-sm").line.terminator == b"\r"
    assert load("nordic-slm").line.terminator == b"\r\n"


def test_nothing_of_others_is_ever_ended():
    for one in ("nordic-common", *MODELS):
        text = show(one)
        assert set(re.findall(r"AT#XCLOSE\S*", text)) <= {"AT#XCLOSE={socket}'"}
        assert set(re.findall(r"AT%CMNG=3\S*", text)) <= {"AT%CMNG=3,{name:number},{kind@cmng_type:token?}'"}
        assert "CFUN=0" not in text.replace("+CFUN=0 and 4", "")


# -- the start, and the network --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "means"),
    [
        (b"Ready\r\n", "boot"),
        (b"INIT ERROR\r\n", "boot"),
        (b"\r\n+CEREG: 5\r\n", "registration"),
        (b'\r\n+CEREG: 5,"1A2B","01C3D4E5",7,,,"00000000","00000000"\r\n', "registration"),
        (b"\r\n#XDATAMODE: -1\r\n", "noise"),
    ],
)
def test_what_it_says_by_itself_is_heard(connect, name, said, means):
    modem = connect(name, said)
    assert modem.channel.wait(lambda: bool(modem.urcs), modem.channel.clock() + 5)
    assert modem.urcs[0][0] == means


def test_registration_with_and_without_the_cell(connect, name, say):
    modem = connect(
        name,
        say("AT+CEREG?", line("+CEREG: 0,1")),
        say("AT+CEREG?", line('+CEREG: 5,5,"1A2B","01C3D4E5",9,,,"00000000","00000000"')),
        say("AT+CEREG?", line("+CEREG: 5,90")),
    )
    first, second, third = (modem.run("registration").rows for _ in range(3))
    assert [row["stat"] for row in first] == ["home"]
    assert [(row["stat"], row["technology"]) for row in second] == [("roaming", "nb-iot")]
    assert [row["stat"] for row in third] == ["unknown"]


@pytest.mark.parametrize("mode", [0, 1, 5])
def test_reports_of_registration_are_switched_on_only_if_they_are_off(connect, name, say, mode):
    dialogue = [say("AT+CEREG?", line(f"+CEREG: {mode},0"))]
    if mode == 0:
        dialogue.append(say("AT+CEREG=5"))
    connect(name, *dialogue).run("registration_notify")


def test_context_zero_is_active_once_it_has_an_address(connect, name, say):
    modem = connect(
        name,
        say("AT+CGPADDR=0", line('+CGPADDR: 0,"10.1.2.3"')),
        say("AT+CGPADDR=0", line("+CGPADDR: 0")),
        say("AT+CGPADDR=0", line('+CGPADDR: 0,""')),
        say("AT+CGPADDR=0", ERROR),
    )
    rows = [[(row["pdp"], row["address"]) for row in modem.run("pdp_list").rows] for _ in range(4)]
    assert rows == [[(0, "10.1.2.3")], [], [], []]


def test_the_apn_of_context_zero(connect, name, say):
    modem = connect(
        name,
        say("AT+CGDCONT?", b'\r\n+CGDCONT: 0,"IP","iot.example","",0,0\r\n+CGDCONT: 1,"IP","x","",0,0\r\n\r\nOK\r\n'),
        say('AT+CGDCONT=0,"IPV4V6","iot.example"'),
    )
    assert modem.run("pdp_read", pdp=0).values["apn"] == "iot.example"
    modem.run("pdp_configure", pdp=0, apn="iot.example", family="ipv4v6", auth="none")


def test_a_user_name_is_refused_rather_than_left_out(connect, name):
    modem = connect(name)
    with pytest.raises((CommandError, NotSupportedError), match="user name"):
        modem.run("pdp_configure", pdp=0, apn="a", user="u", password="p", auth="pap", family="ipv4")


# -- credentials ------------------------------------------------------------------------------------------------------


def test_a_certificate_goes_in_quotes_with_its_line_ends(connect, name, say):
    modem = connect(
        name,
        say(f'AT%CMNG=0,{TAG},0,"{PEM.decode()}"'),
        say(f'AT%CMNG=0,{TAG},1,"{PEM.decode()}"'),
        say(f'AT%CMNG=0,{TAG},2,"{PEM.decode()}"'),
    )
    for kind in ("ca", "cert", "key"):
        modem.run("credential_write", name=TAG, data=PEM, size=len(PEM), kind=kind)


def test_a_pre_shared_key_is_digits_and_its_identity_text(connect, name, say):
    modem = connect(
        name, say(f'AT%CMNG=0,{TAG},3,"00112233AABBCCFF"'), say(f'AT%CMNG=0,{TAG},4,"dev-01"')
    )  # fmt: skip
    key = bytes.fromhex("00112233aabbccff")
    modem.run("credential_write", name=TAG, data=key, size=8, kind="psk")
    modem.run("credential_write", name=TAG, data=b"dev-01", size=6, kind="psk_identity")


@pytest.mark.parametrize("identity", [b'a"b', b"a\0b", b"\xc3\xa9", b"a\r\nAT+CFUN=0", b"back\\slash"])
def test_an_identity_that_quotes_cannot_hold_is_refused_before_anything_is_sent(connect, name, identity):
    modem = connect(name)
    with pytest.raises(ConfigurationError):
        modem.run("credential_write", name=TAG, data=identity, size=len(identity), kind="psk_identity")


def test_no_secret_is_shown_in_an_error(connect, name, say):
    modem = connect(name, say(f'AT%CMNG=0,{TAG},3,"00112233AABBCCFF"', b"\r\n+CME ERROR: 518\r\n"))
    with pytest.raises(CommandError) as caught:
        modem.run("credential_write", name=TAG, data=bytes.fromhex("00112233aabbccff"), size=8, kind="psk")
    assert caught.value.kind == "not_allowed"
    assert "radio" in str(caught.value)
    assert "00112233" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (513, "not_found"),
        (514, "not_allowed"),
        (515, "no_space"),
        (518, "not_allowed"),
        (519, "exists"),
        (527, "parameter"),
    ],
)
def test_errors_of_the_store_have_their_kinds(connect, name, say, code, kind):
    modem = connect(name, say(f'AT%CMNG=0,{TAG},0,"{PEM.decode()}"', f"\r\n+CME ERROR: {code}\r\n".encode()))
    with pytest.raises(CommandError) as caught:
        modem.run("credential_write", name=TAG, data=PEM, size=len(PEM), kind="ca")
    assert caught.value.kind == kind


def test_the_list_with_kinds_and_digests_and_the_modems_own(connect, name, say):
    listed = f'\r\n%CMNG: {TAG},0,"{SHA}"\r\n%CMNG: {TAG},4,"{OTHER_SHA}"\r\n%CMNG: 4294967293,10,"{SHA}"\r\n\r\nOK\r\n'
    modem = connect(name, say("AT%CMNG=1", listed.encode()), say("AT%CMNG=1", OK))
    rows = [(row["name"], row["kind"], row["digest"]) for row in modem.run("credential_list").rows]
    assert rows == [(TAG, "ca", SHA), (TAG, "psk_identity", OTHER_SHA), ("4294967293", "other", SHA)]
    assert list(modem.run("credential_list").rows) == []


def test_one_digest_is_asked_for_by_tag_and_kind(connect, name, say):
    modem = connect(name, say(f"AT%CMNG=1,{TAG},2", line(f'%CMNG: {TAG},2,"{SHA}"')), say(f"AT%CMNG=1,{TAG},3", OK))
    assert modem.run("credential_digest", name=TAG, kind="key").values["digest"] == SHA
    assert modem.run("credential_digest", name=TAG, kind="psk").outcome is Outcome.ABSENT


def test_one_kind_is_deleted_and_what_is_not_there_is_no_failure(connect, name, say):
    modem = connect(name, say(f"AT%CMNG=3,{TAG},1"), say(f"AT%CMNG=3,{TAG},1", b"\r\n+CME ERROR: 513\r\n"))
    assert modem.run("credential_delete", name=TAG, kind="cert").outcome is Outcome.OK
    assert modem.run("credential_delete", name=TAG, kind="cert").outcome is Outcome.ABSENT


def test_a_whole_tag_is_never_deleted_at_once(connect, name):
    modem = connect(name)
    with pytest.raises(CommandError, match="one kind"):
        modem.run("credential_delete", name=TAG)


def test_the_radio_goes_off_by_flight_mode(connect, name, say):
    modem = connect(name, say("AT+CFUN=4"), say("AT+CFUN?", line("+CFUN: 4")), say("AT+CFUN=1"))
    modem.run("radio_off")
    assert modem.run("radio_state").values["level"] == 4
    modem.run("radio_on")


# -- releases of SLM ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "numbers"),
    [
        ('"1.7.1","1.2.3"', "old"),
        ('"1.9.2","1.4.2"', "old"),
        ('"2.5.0","2.4.2"', "old"),
        ('"2.6.0","2.5.1"', "new"),
        ('"2.9.0","2.7.3","ours"', "new"),
        ('"3.1.0","2.9.0"', "new"),
        ('"main"', None),
    ],
)
def test_option_numbers_go_by_release(connect, version, numbers):
    modem = connect("nordic-slm", ask("AT#XSLMVER", line(f"#XSLMVER: {version}"), slm=True))
    modem.run("probe")
    assert modem.runner.flag("option_numbers") == numbers


def test_the_dialect_before_ncs_1_7_is_refused_by_name(connect):
    modem = connect("nordic-slm", ask("AT#XSLMVER", line('#XSLMVER: "1.6.1","1.2.0"'), slm=True))
    with pytest.raises((CommandError, NotSupportedError), match=r"1\.6"):
        modem.run("probe")


@pytest.mark.parametrize(
    ("answer", "then"),
    [
        (line("#XDATACTRL: 100,100"), []),
        (line("#XDATACTRL: 1000,100"), [ask("AT#XDATACTRL=250", slm=True)]),
        (ERROR, []),
    ],
)
def test_the_idle_time_of_data_mode_is_shorter_than_the_silence_before_its_end(connect, answer, then):
    modem = connect("nordic-slm", ask("AT#XDATACTRL?", answer, slm=True), *then)
    modem.run("setup")


def test_a_build_that_waits_too_long_for_the_end_of_data_is_refused(connect):
    modem = connect("nordic-slm", ask("AT#XDATACTRL?", line("#XDATACTRL: 1000,900"), slm=True))
    with pytest.raises((CommandError, NotSupportedError), match="250 ms"):
        modem.run("setup")


def test_sm_switches_data_that_comes_by_itself_off(connect):
    connect("nordic-sm", ask("AT#XRECVCFG=,0")).run("setup")


def test_info(connect):
    modem = connect(
        "nordic-sm",
        ask("AT#XSMVER", line('#XSMVER: "1.99.0","3.0.0"')),
        ask("AT+CGMR", line("mfw_nrf91x1_2.0.2")),
        ask("AT+CGSN", line("352656100000018")),
    )
    values = modem.run("info").values
    assert (values["firmware"], values["revision"], values["imei"]) == (
        "1.99.0",
        "mfw_nrf91x1_2.0.2",
        "352656100000018",
    )
