"""The security profiles of the u-blox modules, played against the bytes that are documented.

Values of the dialogues: SARA-R4 / SARA-R5 Internet applications development guide, UBX-20032566 R05, chapter 3; u-blox
AT commands manual, UBX-13002752.
"""

from __future__ import annotations

import pytest

from modemtls.at.grammar import Outcome
from modemtls.errors import CommandError, ConfigurationError, NotSupportedError
from tests.support.ublox_profiles import (
    DTLS,
    ERROR,
    OK,
    R4,
    R5,
    TLS,
    UNVERIFIED,
    ask,
    cme,
    connect_fixture,  # noqa: F401
    line,
    quick_fixture,  # noqa: F401
)


def settings(context, *parts):
    """Writing these settings of a profile."""
    return [ask(f"AT+USECPRF={context},{part}" if part else f"AT+USECPRF={context}") for part in parts]


def kept(context, *pairs):
    """Reading these settings back: what is asked for, and what comes behind it."""
    return [ask(f"AT+USECPRF={context},{op}", line(f"+USECPRF: {context},{op},{value}")) for op, value in pairs]


R5_REST = ("11,0", "13,0,0", "14,0")
SECURE = ("", "1,3", "2,0", '3,"ThawteCA"', '4,"www.example.org"', '10,"www.example.org"')


# -- writing -------------------------------------------------------------------------------------------------------


def test_everything_that_matters_is_written_and_the_level_last(connect, quick):
    modem = connect(quick(R5), *settings(2, *SECURE, *R5_REST, "0,2"))
    assert modem.run("tls_configure", **TLS).outcome is Outcome.OK


@pytest.mark.parametrize(
    ("change", "written", "level"),
    [
        ({}, ['4,"www.example.org"'], 2),
        ({"check_dates": True}, ['4,"www.example.org"'], 3),
        ({"check_hostname": False, "expected_name": None}, [], 1),
    ],
)
def test_what_is_verified_decides_the_level(connect, quick, change, written, level):
    wanted = TLS | {"sni": False, "sni_name": None} | change
    modem = connect(quick(R5), *settings(2, "", "1,3", "2,0", '3,"ThawteCA"', *written, *R5_REST, f"0,{level}"))
    modem.run("tls_configure", **wanted)


def test_nobody_is_verified_only_if_told_so(connect, quick):
    modem = connect(quick(R5), *settings(2, "", "1,3", "2,0", *R5_REST, "0,0"))
    modem.run("tls_configure", **(TLS | UNVERIFIED))


def test_a_client_certificate_goes_with_its_key(connect, quick):
    mutual = {"client_auth": True, "cert": "crt", "key": "key"}
    modem = connect(quick(R5), *settings(2, *SECURE[:-1], '5,"crt"', '6,"key"', SECURE[-1], *R5_REST, "0,2"))
    modem.run("tls_configure", **(TLS | mutual))


def test_suites_are_added_one_by_one(connect, quick):
    suites = ('100,"C0","2B",0', '100,"C0","30",0')
    modem = connect(
        quick(R5),
        *settings(2, "", "1,3", '2,100,"C0","2B",0', '2,100,"C0","30",0', *SECURE[3:], *R5_REST, "0,2"),
    )
    modem.run("tls_configure", **(TLS | {"suites": suites}))


@pytest.mark.parametrize(
    ("model", "suite", "written"), [("", 33, "2,33"), ("SARA-R422S", '99,"C0","30"', '2,99,"C0","30"')]
)
def test_an_r4_takes_one_suite(connect, quick, model, suite, written):
    rest = ("13,0,0",) if model else ()
    modem = connect(
        quick(R4, model),
        *settings(2, "", "1,3", written, '3,"ThawteCA"', '4,"www.example.org"', *rest, "0,2"),
    )
    wanted = TLS | {"suites": (suite,), "sni": False, "sni_name": None}
    modem.run("tls_configure", **wanted)


def test_a_pinned_certificate_is_compared_whole(connect, quick):
    modem = connect(quick(R5), *settings(2, *SECURE, "11,0", '12,"pin",2', "13,0,0", "14,0", "0,2"))
    modem.run("tls_configure", **(TLS | {"peer": "pin"}))


def test_sessions_are_kept_if_wanted(connect, quick):
    modem = connect(quick(R5), *settings(2, *SECURE, "11,0", "13,0,1", "13,1,0", "14,0", "0,2"))
    modem.run("tls_configure", **(TLS | {"resume": True}))


@pytest.mark.parametrize("op", [11, 14])
def test_what_weakens_is_written_though_a_firmware_may_not_have_it(connect, quick, op):
    parts = (*SECURE, *R5_REST, "0,2")
    dialogue = [(said, cme(4) if said.startswith(b"AT+USECPRF=2,%d," % op) else OK) for said, _ in settings(2, *parts)]
    modem = connect(quick(R5), *dialogue)
    assert modem.run("tls_configure", **TLS).outcome is Outcome.OK


@pytest.mark.parametrize("refused", ["1,3", "2,0", '3,"ThawteCA"', '4,"www.example.org"', "13,0,0", "0,2"])
def test_a_setting_that_is_refused_is_an_error(connect, quick, refused):
    written = settings(2, *SECURE, *R5_REST, "0,2")
    until = next(n for n, (said, _) in enumerate(written) if said == f"AT+USECPRF=2,{refused}\r".encode())
    modem = connect(quick(R5), *written[:until], (written[until][0], cme(50)))
    with pytest.raises(CommandError):
        modem.run("tls_configure", **TLS)


# -- pre-shared keys -----------------------------------------------------------------------------------------------

KEY = "00112233445566778899AABBCCDDEEFF"


def test_dtls_with_a_pre_shared_key(connect, quick):
    modem = connect(
        quick(R5),
        *settings(1, "", "1,3", '2,100,"C0","A8",0', f'8,"{KEY}",1', f'9,"{b"device-17".hex().upper()}",1'),
        *settings(1, *R5_REST, "0,0"),
    )
    assert modem.run("tls_configure", **DTLS).outcome is Outcome.OK


@pytest.mark.parametrize("suites", [("0",), ('100,"C0","2F",0',), ('100,"C0","A8",0', '100,"C0","2F",0')])
def test_a_suite_without_the_key_is_refused_before_anything_is_sent(connect, quick, suites):
    modem = connect(quick(R5))
    with pytest.raises(CommandError, match="only suites that use it"):
        modem.run("tls_configure", **(DTLS | {"suites": suites}))


@pytest.mark.parametrize(("firmware", "fine"), [("02.06", True), ("03.15", False), ("", False)])
def test_a_key_over_tls_needs_a_firmware_that_ends_at_12(connect, quick, firmware, fine):
    wanted = DTLS | {"dtls": False}
    identity = b"device-17".hex().upper()
    written = settings(1, "", "1,3", '2,100,"C0","A8",0', f'8,"{KEY}",1', f'9,"{identity}",1', *R5_REST, "0,0")
    modem = connect(quick(R5), *(written if fine else []), firmware=firmware or "unknown")
    if fine:
        modem.run("tls_configure", **wanted)
    else:
        with pytest.raises(CommandError, match=r"TLS 1\.3"):
            modem.run("tls_configure", **wanted)


def test_an_r410m_takes_a_key_as_text(connect, quick):
    wanted = DTLS | {"dtls": False, "suites": (16,), "psk_key": b"correct horse", "psk_identity": b"device-17"}
    modem = connect(quick(R4), *settings(1, "", "1,3", "2,16", '8,"correct horse"', '9,"device-17"', "0,0"))
    modem.run("tls_configure", **wanted)


@pytest.mark.parametrize("change", [{"psk_key": b"\0\1"}, {"psk_identity": b'a"b'}, {"psk_key": bytes(65)}])
def test_a_key_that_cannot_be_said_is_refused_before_anything_is_sent(connect, quick, change):
    wanted = DTLS | {"dtls": False, "suites": ("12",), "psk_key": b"correct horse"}
    modem = connect(quick(R4))
    with pytest.raises(ConfigurationError):
        modem.run("tls_configure", **(wanted | change))


def test_a_key_is_never_shown(connect, quick):
    dialogue = settings(1, "", "1,3", '2,100,"C0","A8",0')
    modem = connect(quick(R5), *dialogue, (f'AT+USECPRF=1,8,"{KEY}",1\r'.encode(), cme(50)))
    with pytest.raises(CommandError) as caught:
        modem.run("tls_configure", **DTLS)
    assert KEY not in str(caught.value)
    assert "***" in caught.value.command


# -- refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"ca": None}, "CA certificate"),
        ({"expected_name": None}, "name that the certificate must be for"),
        ({"client_auth": True, "cert": None, "key": "k"}, "client certificate is needed"),
        ({"client_auth": True, "cert": "c", "key": None}, "key is needed"),
        ({"check_hostname": False, "expected_name": None, "check_dates": True}, "only where it checks the name"),
        (UNVERIFIED | {"peer": "pin"}, "verifies no chain"),
    ],
)
def test_what_cannot_be_secure_is_refused_before_anything_is_sent(connect, quick, change, why):
    modem = connect(quick(R5))
    with pytest.raises(CommandError, match=why):
        modem.run("tls_configure", **(TLS | change))


@pytest.mark.parametrize(
    ("change", "model"),
    [
        ({}, "SARA-R410M-02B"),  # no server name
        ({"sni": False, "sni_name": None, "dtls": True}, "SARA-R412M-02B"),
        ({"sni": False, "sni_name": None, "resume": True}, "SARA-R410M-02B"),
        ({"sni": False, "sni_name": None, "peer": "pin"}, "SARA-R410M-02B"),
    ],
)
def test_what_a_model_lacks_is_refused_before_anything_is_sent(connect, quick, change, model):
    modem = connect(quick(R4, model), model=model)
    with pytest.raises(NotSupportedError):
        modem.run("tls_configure", **(TLS | change))


@pytest.mark.parametrize("name", ['a"', "a\r", "a\n", "a\\", "a\0", "ä"])
def test_a_name_never_adds_a_command(connect, quick, name):
    modem = connect(quick(R5))
    with pytest.raises(ConfigurationError):
        modem.run("tls_configure", **(TLS | {"ca": name}))


# -- reading back --------------------------------------------------------------------------------------------------

READ = [
    (0, "2"),
    (1, "3"),
    (3, '"ThawteCA"'),
    (4, '"www.example.org"'),
    (10, '"www.example.org"'),
    (11, "0"),
    (14, "0"),
]


def test_what_was_written_is_read_back(connect, quick):
    connect(quick(R5), *kept(2, *READ)).run("tls_verify", **TLS)


@pytest.mark.parametrize(
    ("op", "value"),
    [(0, "1"), (0, "0"), (1, "0"), (3, '""'), (3, '"other"'), (4, '""'), (10, '""'), (11, "1"), (14, "2")],
)
def test_another_value_than_was_written_is_a_mismatch(connect, quick, op, value):
    pairs = [(one, value if one == op else was) for one, was in READ]
    until = next(n for n, (one, _) in enumerate(pairs) if one == op)
    modem = connect(quick(R5), *kept(2, *pairs[: until + 1]))
    with pytest.raises(CommandError) as caught:
        modem.run("tls_verify", **TLS)
    assert caught.value.kind == "mismatch"


@pytest.mark.parametrize("answer", [ERROR, cme(4)])
def test_what_a_firmware_has_none_of_is_passed_over(connect, quick, answer):
    dialogue = [(said, answer if b",11\r" in said or b",14\r" in said else was) for said, was in kept(2, *READ)]
    connect(quick(R5), *dialogue).run("tls_verify", **TLS)


TWO = ('100,"C0","2B",0', '100,"C0","30",0')


MANY = {
    f'100,"{one[:2]}","{one[2:]}",0': one
    for one in ["C009", "C00A", "C013", "C014", "C023", "C024", "C027", "C028", "C02B", "C02C", "C02F", "C030"]
}


@pytest.mark.parametrize(
    ("suites", "listed"),
    [
        (TWO, "C02B;C030"),
        (TWO, "c030;c02b"),
        (tuple(MANY), ";".join(MANY.values())),
        (tuple(MANY), ";".join(reversed(MANY.values()))),
    ],
)
def test_a_list_of_suites_is_read_back_whole(connect, quick, suites, listed):
    dialogue = [*kept(2, *READ[:2], (2, f'100,"{listed}"'), *READ[2:])]
    connect(quick(R5), *dialogue).run("tls_verify", **(TLS | {"suites": suites}))


@pytest.mark.parametrize(
    ("suites", "listed"),
    [
        (TWO, "C02B"),  # one is missing
        (TWO, "C02B;C030;002F"),  # one too many
        (TWO, "C02B;C02B"),
        (TWO[:1], "C02B;002F"),
        (TWO[:1], "C02C"),
        (tuple(MANY), ";".join([*list(MANY.values())[1:], "002F"])),
    ],
)
def test_another_list_of_suites_is_a_mismatch(connect, quick, suites, listed):
    modem = connect(quick(R5), *kept(2, *READ[:2], (2, f'100,"{listed}"')))
    with pytest.raises(CommandError) as caught:
        modem.run("tls_verify", **(TLS | {"suites": suites}))
    assert caught.value.kind == "mismatch"


def test_a_pre_shared_key_is_never_asked_for_and_its_suite_is(connect, quick):
    modem = connect(
        quick(R5),
        *kept(1, (0, "0"), (1, "3"), (2, '100,"C0A8"'), (11, "0"), (14, "0")),
    )
    modem.run("tls_verify", **DTLS)


def test_a_suite_left_from_an_older_configuration_is_found(connect, quick):
    """With a pre-shared key nobody is verified: a suite that does without it would let in anybody."""
    modem = connect(quick(R5), *kept(1, (0, "0"), (1, "3"), (2, '100,"C02F;C0A8"')))
    with pytest.raises(CommandError) as caught:
        modem.run("tls_verify", **DTLS)
    assert caught.value.kind == "mismatch"


@pytest.mark.parametrize(
    ("model", "suite", "right", "wrong"),
    [("", 33, "33", "0"), ("SARA-R422S", '99,"C0","30"', '99,"C030"', '99,"002F"')],
)
def test_the_suite_of_an_r4_is_read_back(connect, quick, model, suite, right, wrong):
    wanted = TLS | {"suites": (suite,), "sni": False, "sni_name": None}
    before, behind = READ[:2], READ[2:4]
    connect(quick(R4, model), *kept(2, *before, (2, right), *behind), model=model).run("tls_verify", **wanted)
    modem = connect(quick(R4, model), *kept(2, *before, (2, wrong)), model=model)
    with pytest.raises(CommandError) as caught:
        modem.run("tls_verify", **wanted)
    assert caught.value.kind == "mismatch"


# -- sessions ------------------------------------------------------------------------------------------------------

SID, MASTER = "c2Vzc2lvbi1pZA==", "bWFzdGVyLXNlY3JldA=="


@pytest.mark.parametrize("quotes", [True, False])
def test_session_data_come_by_themselves_and_are_given_back(connect, quick, quotes):
    form = '"{}"' if quotes else "{}"
    said = f"+UUSECPRF: 0,13,2,{form.format(SID)},{form.format(MASTER)}"
    modem = connect(
        quick(R5),
        f"\r\n+UUSECPRF: 0,13,1,0\r\n\r\n{said}\r\n".encode(),
        ask(f'AT+USECPRF=0,13,2,"{SID}","{MASTER}"'),
    )
    assert modem.channel.wait(lambda: len(modem.urcs) == 2, modem.channel.clock() + 5)
    fields = {name: value for means, values in modem.urcs for name, value in values.items() if means == "session"}
    assert fields == {"context": 0, "session_kind": 0, "session_id": SID, "session_secret": MASTER}
    assert modem.run("session_restore", **fields).outcome is Outcome.OK


def test_sessions_are_forgotten(connect, quick):
    modem = connect(quick(R5), *settings(3, "13,0,0", "13,0,1", "13,1,0"))
    modem.run("session_purge", context=3)
