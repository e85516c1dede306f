"""The profiles of the u-blox modules, played against the bytes that are documented: files, store, bring-up.

Values of the dialogues: u-blox SARA-R4 series AT commands manual, UBX-17003787; SARA-R4 / SARA-R5 Internet applications
development guide, UBX-20032566; framing of lines by the former, pp. 13-14.
"""

from __future__ import annotations

import hashlib
import re
import time

import pytest

from modemtls.at.grammar import Outcome
from modemtls.errors import CommandError, ConfigurationError
from modemtls.profile import bundled, check, load, show
from tests.support.ublox_profiles import (
    ERROR,
    OK,
    R4,
    R5,
    ask,
    cme,
    connect_fixture,  # noqa: F401
    fitted,
    line,
    quick_fixture,  # noqa: F401
)

BOTH = pytest.mark.parametrize("name", [R4, R5])
SECURE_R422 = ("SARA-R422S", "SARA-R422M8S", "SARA-R422M10S")

# -- the files -----------------------------------------------------------------------------------------------------


def test_the_profiles_are_clean_and_offered():
    assert check(["ublox-common", R4, R5]) == []
    assert {R4, R5} <= set(bundled())
    assert "ublox-common" not in bundled()


@pytest.mark.parametrize(
    ("name", "model"),
    [
        (R5, "SARA-R500S"),
        (R5, "SARA-R510M8S"),
        (R4, "SARA-R410M-02B"),
        (R4, "SARA-R412M-02B"),
        (R4, "SARA-R422S"),
        (None, "SARA-R520M10"),  # SARA-R52, LARA-R6, LENA-R8, SARA-U2: other modules with other commands
        (None, "LARA-R6001D"),
        (None, "LENA-R8001M10"),
        (None, "SARA-U201"),
    ],
)
def test_models_are_told_apart(name, model):
    found = [one for one in (R4, R5) if load(one).identify.score("u-blox", model)]
    assert found == ([name] if name else [])


def able(name, model, capability, firmware=""):
    profile = fitted(name, model, firmware)
    return profile.able(capability, {"model": model, "firmware": firmware or None}.get)


@pytest.mark.parametrize(
    ("model", "sni", "dtls", "resumption", "tls"),
    [
        ("SARA-R410M-02B", False, False, False, True),
        ("SARA-R410M-03B", True, False, False, True),
        ("SARA-R412M-02B", True, False, False, True),
        ("SARA-R422", False, False, False, False),
        ("SARA-R422-00B", False, False, False, False),
        *((model, True, True, True, True) for model in SECURE_R422),
    ],
)
def test_what_each_r4_can_do(model, sni, dtls, resumption, tls):
    assert bool(able(R4, model, "sni")) is sni
    assert bool(able(R4, model, "dtls")) is dtls
    assert bool(able(R4, model, "resumption")) is resumption
    assert bool(able(R4, model, "tls")) is tls
    assert bool(able(R4, model, "credentials")) is tls
    assert able(R4, model, "local_port") is False


@pytest.mark.parametrize(("firmware", "newest"), [("02.06", "1.2"), ("03.14", "1.2"), ("03.15", "1.3")])
def test_an_r5_speaks_13_from_product_version_01b_on(firmware, newest):
    assert able(R5, "SARA-R510S", "tls", firmware)[-1] == newest
    assert able(R5, "SARA-R510S", "dtls", firmware) == ("1.0", "1.2")
    # The number is the oldest that is accepted: nothing promises less than the module may agree on.
    choices = {one.token: set(one.versions) for one in fitted(R5, "SARA-R510S", firmware).tls_versions}
    assert choices[3] == ({"1.2", "1.3"} if newest == "1.3" else {"1.2"})
    assert choices.get(4) == ({"1.3"} if newest == "1.3" else None)


def test_an_r4_model_without_a_name_is_the_plainest():
    profile = load(R4)
    assert profile.able("sni") is False
    assert profile.able("dtls") is False
    assert profile.able("resumption") is False


def test_suites_are_written_as_each_module_takes_them():
    assert fitted(R5).suites.codes[0xC030] == '100,"C0","30",0'
    assert fitted(R5).suites.mode == "list"
    assert fitted(R4).suites.codes[0xC030] == 33
    assert fitted(R4, "SARA-R422S").suites.codes[0xC030] == '99,"C0","30"'
    assert 0xC0A8 not in fitted(R4).suites.codes  # it has no number of its own
    for profile in (fitted(R5), fitted(R4), fitted(R4, "SARA-R422S")):
        back = profile.tables["suite_code"]
        assert all(back[str(token)] == f"{number & 0xFFFF:04X}" for number, token in profile.suites.codes.items())
        assert back[str(profile.suites.all)] == "automatic"


@BOTH
def test_the_modem_frees_its_numbers_by_itself(name):
    behaviour = load(name).behaviour
    assert (behaviour["socket_ids"], behaviour["shared_ids"]) == ("modem", True)
    assert (behaviour["failed_open"], behaviour["remote_close"]) == ("freed", "freed")


@BOTH
def test_nothing_of_others_is_ended_and_no_secret_is_asked_for(name):
    text = show(name)
    assert "USECPRF={context},7" not in text
    assert not re.search(r"USECPRF=\{context\},8'", text)
    assert set(re.findall(r"AT\+USOCL=[^']+", show("ublox-common"))) == {"AT+USOCL={socket}"}
    for forbidden in ("AT&W", "AT&F", "UMNOPROF", "CPWROFF"):
        assert forbidden not in text


def test_every_error_of_a_connect_has_a_kind():
    profile = fitted(R5)
    assert profile.errors["socket"]["111"].kind == "connect_failed"
    assert profile.errors["socket"]["163"].kind == "name_not_resolved"
    # With TLS the same numbers come for refused certificates, and nobody can tell.
    for code in ("9", "11", "65", "104", "111"):
        assert profile.errors["secure"][code].kind == "connect_or_handshake"
        assert "does not say which" in profile.errors["secure"][code].text
    assert profile.errors["secure"]["163"].kind == "name_not_resolved"
    assert profile.errors["secure"].keys() == profile.errors["socket"].keys()


@pytest.mark.parametrize(
    ("name", "model", "gap"), [(R5, "", 0.02), (R4, "", 0.1), (R4, "SARA-R422S", 0.02)], ids=["r5", "r410m", "r422"]
)
def test_the_module_is_given_the_silence_it_needs(connect, name, model, gap):
    profile = fitted(name, model)
    assert (profile.line.after_result, profile.line.after_urc) == (gap, 0.02)
    modem = connect(profile, ask("AT+CFUN=1"), ask("AT+CSQ", line("+CSQ: 20,99")))
    modem.run("radio_on")
    begun = time.monotonic()
    modem.run("signal")
    assert gap * 0.9 <= time.monotonic() - begun < gap + 1


# -- certificates --------------------------------------------------------------------------------------------------

DER = bytes.fromhex("3003020101")  # any DER will do for the digest
MD5 = hashlib.md5(DER, usedforsecurity=False).hexdigest()


def stored(operation, kind, name, digest):
    return line(f'+USECMNG: {operation},{kind},"{name}","{digest}"')


@pytest.mark.parametrize(
    ("kind", "number", "digest", "operation"),
    [("ca", 0, MD5, 0), ("cert", 1, MD5.upper(), 0), ("key", 2, MD5, 0), ("peer", 3, MD5, 0), ("ca", 0, MD5, 1)],
)
@BOTH
def test_an_import_is_compared_with_the_digest_of_the_der(connect, quick, name, kind, number, digest, operation):
    modem = connect(
        quick(name),
        ask(f'AT+USECMNG=0,{number},"mtls-a",5', b"\r\n>"),
        (DER, stored(operation, number, "mtls-a", digest)),
    )
    assert modem.run("credential_write", name="mtls-a", data=DER, size=5, kind=kind).outcome is Outcome.OK


@BOTH
def test_another_digest_is_a_mismatch(connect, quick, name):
    other = "0" * 32
    modem = connect(quick(name), ask('AT+USECMNG=0,2,"mtls-a",5', b"\r\n>"), (DER, stored(0, 2, "mtls-a", other)))
    with pytest.raises(CommandError) as caught:
        modem.run("credential_write", name="mtls-a", data=DER, size=5, kind="key")
    assert caught.value.kind == "mismatch"
    assert DER.hex() not in str(caught.value)


def test_data_come_50_ms_behind_the_prompt(connect, quick):
    modem = connect(quick(R5), ask('AT+USECMNG=0,0,"a",5', b"\r\n>"), (DER, stored(0, 0, "a", MD5)))
    begun = time.monotonic()
    modem.run("credential_write", name="a", data=DER, size=5, kind="ca")
    assert time.monotonic() - begun >= 0.05


@pytest.mark.parametrize(
    ("code", "kind"), [(1911, "parameter"), (1914, "no_space"), (1913, "certificate"), (1910, "timeout")]
)
def test_a_refused_import_says_why(connect, quick, code, kind):
    modem = connect(quick(R5), ask('AT+USECMNG=0,0,"a",5', cme(code)))
    with pytest.raises(CommandError) as caught:
        modem.run("credential_write", name="a", data=DER, size=5, kind="ca")
    assert (caught.value.modem_code, caught.value.kind) == (code, kind)


def test_an_r422_that_never_listed_its_files_is_made_to(connect, quick):
    written = ask('AT+USECMNG=0,0,"a",5', cme(1912))
    modem = connect(
        quick(R4, "SARA-R422S"),
        written,
        ask("AT+ULSTFILE", line("+ULSTFILE:")),
        ask('AT+USECMNG=0,0,"a",5', b"\r\n>"),
        (DER, stored(0, 0, "a", MD5)),
    )
    assert modem.run("credential_write", name="a", data=DER, size=5, kind="ca").outcome is Outcome.OK


def test_another_r4_does_not(connect, quick):
    modem = connect(quick(R4), ask('AT+USECMNG=0,0,"a",5', cme(1912)))
    with pytest.raises(CommandError) as caught:
        modem.run("credential_write", name="a", data=DER, size=5, kind="ca")
    assert caught.value.kind == "memory"


def test_larger_than_the_store_takes_is_refused_before_anything_is_sent(connect, quick):
    modem = connect(quick(R5))
    with pytest.raises(ConfigurationError):
        modem.run("credential_write", name="a", data=bytes(8193), size=8193, kind="ca")


@pytest.mark.parametrize(
    "listing",
    [
        'CA,"one","An MQTT broker","2032/10/18 08:23:32"\r\nCC,"two","A client","2032/06/22"\r\nPK,"three"',
        ' \r\nCA,"one"\r\nCC,"two"\r\nPK,"three"',
        ' CA,"one","","2036/07/17"\r\nCC,"two"\r\nPK,"three"',
        '"CA", "one","A, B","2036/07/17"\r\n\r\n"CC", "two"\r\n\r\n"PK", "three"',
    ],
    ids=["guide", "white space", "in front", "quoted"],
)
def test_the_store_is_listed_in_all_its_forms(connect, quick, listing):
    modem = connect(quick(R4), ask("AT+USECMNG=3", line(listing)))
    rows = [(row["name"], row["kind"]) for row in modem.run("credential_list").rows]
    assert rows == [("one", "ca"), ("two", "cert"), ("three", "key")]


def test_an_empty_store_and_things_that_are_not_the_drivers(connect, quick):
    others = 'SC,"pin"\r\nVC,"v"\r\nPU,"p"'
    modem = connect(quick(R5), ask("AT+USECMNG=3", OK), ask("AT+USECMNG=3", line(others)))
    assert not modem.run("credential_list").rows
    assert [row["kind"] for row in modem.run("credential_list").rows] == ["peer", "other", "other"]


@pytest.mark.parametrize("answer", [cme(1916), cme(4), ERROR])
def test_any_error_for_a_digest_means_absent(connect, quick, answer):
    modem = connect(
        quick(R5),
        ask('AT+USECMNG=4,0,"a"', stored(4, 0, "a", "AB" * 16)),
        ask('AT+USECMNG=4,0,"a"', answer),
    )
    assert modem.run("credential_digest", name="a", kind="ca").values["digest"] == "AB" * 16
    assert modem.run("credential_digest", name="a", kind="ca").outcome is Outcome.ABSENT


@pytest.mark.parametrize("answer", [cme(4), ERROR])
def test_a_removal_that_is_refused_is_looked_into(connect, quick, answer):
    modem = connect(
        quick(R4),
        ask('AT+USECMNG=2,0,"a"'),
        ask('AT+USECMNG=2,1,"a"', cme(1916)),
        ask('AT+USECMNG=2,2,"a"', answer),
        ask('AT+USECMNG=4,2,"a"', answer),
        ask('AT+USECMNG=2,2,"a"', answer),
        ask('AT+USECMNG=4,2,"a"', stored(4, 2, "a", MD5)),
    )
    kinds = ("ca", "cert", "key")
    outcomes = [modem.run("credential_delete", name="a", kind=kind).outcome for kind in kinds]
    assert outcomes == [Outcome.OK, Outcome.ABSENT, Outcome.ABSENT]
    with pytest.raises(CommandError, match="still there"):
        modem.run("credential_delete", name="a", kind="key")


# -- bring-up ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sleeps", [OK, cme(4)])
@BOTH
def test_set_up_has_bytes_as_bytes_and_no_sleep_where_it_can(connect, quick, name, sleeps):
    modem = connect(quick(name), ask("AT+UDCONF=1,0"), ask("AT+UPSV=0", sleeps), ask("AT+CTZU=1", sleeps))
    assert modem.run("setup").outcome is Outcome.OK


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (line("+CPIN: READY"), "ready"),
        (line("+CPIN: SIM PIN"), "pin"),
        (line("+CPIN: SIM PUK"), "puk"),
        (line("+CPIN: PH-NET PIN"), "other"),
        (cme(10), "absent"),
        (cme(14), "busy"),
        (cme(13), "other"),
    ],
)
def test_the_sims_states(connect, quick, answer, state):
    modem = connect(quick(R5), ask("AT+CPIN?", answer))
    assert modem.run("sim_state").values["state"] == state


def test_identity(connect, quick):
    modem = connect(
        quick(R5),
        ask("AT+CGMM", line("SARA-R510M8S")),
        ask("AT+CGMR", line("02.06")),
        ask("ATI9", line("02.06,A00.01")),
        ask("AT+CGSN", line("352753090041680")),
    )
    found = modem.run("info").values
    assert (found["model"], found["revision"], found["imei"]) == ("SARA-R510M8S", "02.06,A00.01", "352753090041680")


def test_registration_is_asked_of_both_domains(connect, quick):
    modem = connect(
        quick(R4),
        ask("AT+CEREG?", line('+CEREG: 2,5,"1A2B","01C3D4E5",7')),
        ask("AT+CGREG?", ERROR),
    )
    assert [row["stat"] for row in modem.run("registration").rows] == ["roaming"]


def test_an_r5_leads_its_context_to_its_own_stack(connect, quick):
    modem = connect(
        quick(R5),
        ask("AT+UPSND=0,8", line("+UPSND: 0,8,0")),
        ask("AT+CGDCONT?", line('+CGDCONT: 1,"IP","iot.example","10.1.2.3",0,0,0,0,0,0')),
        ask("AT+UPSD=0,0,0"),
        ask("AT+UPSD=0,100,1"),
        ask("AT+UPSDA=0,3", OK + b'\r\n+UUPSDA: 0,"10.20.30.40"\r\n'),
        ask("AT+UPSND=0,8", line("+UPSND: 0,8,1")),
        ask("AT+CGACT?", line("+CGACT: 1,1\r\n+CGACT: 2,0")),
    )
    assert not modem.run("pdp_list").rows
    modem.run("pdp_activate", pdp=1)
    assert [row["pdp"] for row in modem.run("pdp_list").rows] == [1]


@pytest.mark.parametrize(("word", "number"), [("IPV6", 1), ("IPV4V6", 2), ("Non-IP", 0)])
def test_the_kind_of_addresses_is_that_of_the_context(connect, quick, word, number):
    modem = connect(
        quick(R5),
        ask("AT+CGDCONT?", line(f'+CGDCONT: 1,"{word}","iot.example","",0,0\r\n+CGDCONT: 2,"IP","ims","",0,0')),
        ask(f"AT+UPSD=0,0,{number}"),
        ask("AT+UPSD=0,100,1"),
        ask("AT+UPSDA=0,3", OK + b"\r\n+UUPSDA: 1\r\n"),
    )
    with pytest.raises(CommandError) as caught:
        modem.run("pdp_activate", pdp=1)
    assert caught.value.kind == "pdp_failed"


def test_an_r5_that_does_not_tell_its_state_is_believed_until_the_context_is_lost(connect, quick):
    up = [ask("AT+UPSND=0,8", cme(4)), ask("AT+CGACT?", line("+CGACT: 1,1"))]
    modem = connect(quick(R5), *up, b"\r\n+UUPSDD: 0\r\n", ask("AT+UPSND=0,8", cme(4)), attached=True)
    assert [row["pdp"] for row in modem.run("pdp_list").rows] == [1]
    assert modem.channel.wait(lambda: bool(modem.urcs), modem.channel.clock() + 5)
    assert modem.urcs == [("network_lost", {"psd": 0})]
    assert not modem.run("pdp_list").rows


def test_an_r410m_uses_the_bearer_that_is_there(connect, quick):
    modem = connect(quick(R4), ask("AT+CGACT?", line("+CGACT: 1,1")))
    assert [row["pdp"] for row in modem.run("pdp_list").rows] == [1]


def test_an_r422_is_given_its_context_once_more(connect, quick):
    modem = connect(
        quick(R4, "SARA-R422S"),
        ask("AT+CGACT=1,1"),
        ask("AT+UPSD=0,100,1"),
        ask("AT+CGACT?", line("+CGACT: 1,1")),
    )
    assert not modem.run("pdp_list").rows
    modem.run("pdp_activate", pdp=1)
    assert [row["pdp"] for row in modem.run("pdp_list").rows] == [1]


@BOTH
def test_the_access_point(connect, quick, name):
    modem = connect(
        quick(name),
        ask("AT+CGDCONT?", line('+CGDCONT: 1,"IPV4V6","iot.example","",0,0\r\n+CGDCONT: 2,"IP","ims","",0,0')),
        ask('AT+CGDCONT=1,"IP","other.example"'),
    )
    found = modem.run("pdp_read", pdp=1).values
    assert (found["apn"], found["family"]) == ("iot.example", "ipv4v6")
    plain = {"pdp": 1, "apn": "other.example", "family": "ipv4"}
    modem.run("pdp_configure", **plain, user=None, password=None, auth="none")
    for secret in ({"user": "u", "password": None}, {"user": "u", "password": "p"}):
        with pytest.raises(CommandError, match="user and a password"):
            modem.run("pdp_configure", **plain, **secret, auth="any")
