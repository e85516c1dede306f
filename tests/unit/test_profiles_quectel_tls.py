"""The TLS contexts of the Quectel modules, played against the bytes that the manuals give (BG96 SSL AT Manual V1.0)."""

from __future__ import annotations

import re

import pytest

from modemtls.errors import CommandError, ConfigurationError, NotSupportedError
from modemtls.profile import check_text, show
from tests.support.quectel import (
    BG95_FLAGS,
    BG95_KEYS,
    BG96_KEYS,
    ERROR,
    OK,
    TLS,
    ask,
    bg95_fixture,  # noqa: F401
    connect_fixture,  # noqa: F401
    line,
    load,
    profile_fixture,  # noqa: F401
)

# -- what the firmware has -----------------------------------------------------------------------------------------


def test_a_bg96_without_name_keys_has_neither_sni_nor_host_name_check(connect):
    profile = load("quectel-bg96")
    modem = connect(profile, ask("AT+QSSLCFG=?", BG96_KEYS))
    modem.run("probe")
    assert profile.able("sni", modem.runner.flags.get) is False
    assert profile.able("hostname_check", modem.runner.flags.get) is False
    assert profile.able("client_certificates", modem.runner.flags.get) is True


WEAKENING = (
    "ignorecertchain", "ignoremulticertchainverify", "ignoreinvalidcertsign", "ignorecertitem", "session",
    "session_cache", "dtls",
)  # fmt: skip


def strengthened(*there, context=1):
    """Every key that weakens verification is written, whatever the modem lists; ``there``: those that it has."""
    return [ask(f'AT+QSSLCFG="{key}",{context},0', OK if key in there else ERROR) for key in WEAKENING]


def test_a_late_bg96_has_both(connect):
    profile = load("quectel-bg96")
    late = BG96_KEYS.replace(
        b"\r\n\r\nOK",
        b'\r\n+QSSLCFG: "sni",(0-5),(0,1)\r\n+QSSLCFG: "checkhost",(0-5),(0,1)\r\n'
        b'+QSSLCFG: "ignorecertchain",(0-5),(0,1)\r\n\r\nOK',
    )
    modem = connect(
        profile,
        ask("AT+QSSLCFG=?", late),
        *(ask(f'AT+QSSLCFG="{key}",1,{value}') for key, value in SECURE_BG96),
        ask('AT+QSSLCFG="sni",1,1'),
        ask('AT+QSSLCFG="checkhost",1,1'),
        *strengthened("ignorecertchain"),
    )
    modem.run("probe")
    assert profile.able("sni", modem.runner.flags.get) is True
    assert profile.able("hostname_check", modem.runner.flags.get) is True
    modem.run("tls_configure", **TLS)


SECURE_BG96 = [
    ("sslversion", "3"),
    ("ciphersuite", "0XC02F"),
    ("cacert", '"mtls-ca"'),
    ("seclevel", "1"),
    ("ignorelocaltime", "0"),
    ("negotiatetime", "60"),
]


def test_a_bg95_is_configured_with_every_key_it_has(connect, bg95):
    modem = connect(
        bg95,
        ask("AT+QSSLCFG=?", BG95_KEYS),
        *(ask(f'AT+QSSLCFG="{key}",1,{value}') for key, value in SECURE_BG96),
        ask('AT+QSSLCFG="sni",1,1'),
        ask('AT+QSSLCFG="checkhost",1,1'),
        *strengthened("session", "dtls"),
    )
    modem.run("probe")
    modem.run("tls_configure", **TLS)
    assert list(bg95.able("tls", modem.runner.flags.get)) == ["1.0", "1.1", "1.2"]
    assert list(bg95.able("dtls", modem.runner.flags.get)) == ["1.0", "1.2"]
    # "session" is listed, but nothing tells how sessions are forgotten; the others have no key.
    assert [bg95.able(one, modem.runner.flags.get) for one in ("server", "psk", "resumption", "cid", "alpn")] == [
        False
    ] * 5


def test_keys_that_switch_verification_off_are_written_wherever_a_firmware_has_them(connect, bg95):
    lax = ("ignoremulticertchainverify", "ignoreinvalidcertsign", "ignorecertitem")
    more = b"".join(b'+QSSLCFG: "%s",(0-5),(0,1)\r\n' % key.encode() for key in lax)
    modem = connect(
        bg95,
        ask("AT+QSSLCFG=?", BG95_KEYS.replace(b"(0-2)\r\n\r\nOK", b"(0-2)\r\n" + more + b"\r\nOK")),
        *(ask(f'AT+QSSLCFG="{key}",1,{value}') for key, value in SECURE_BG96),
        ask('AT+QSSLCFG="sni",1,1'),
        ask('AT+QSSLCFG="checkhost",1,1'),
        *strengthened(*lax, "session", "dtls"),
    )
    modem.run("probe")
    modem.run("tls_configure", **TLS)


@pytest.mark.parametrize("key", WEAKENING)
def test_a_listed_key_that_weakens_verification_must_be_taken(connect, bg95, key):
    """ERROR means "this firmware has none" only where none was listed."""
    dialogue = [
        *(ask(f'AT+QSSLCFG="{one}",1,{value}') for one, value in SECURE_BG96),
        ask('AT+QSSLCFG="sni",1,1'),
        ask('AT+QSSLCFG="checkhost",1,1'),
        *strengthened("session", "dtls"),
    ]
    until = next(n for n, (command, _) in enumerate(dialogue) if f'"{key}",'.encode() in command)
    dialogue[until] = (dialogue[until][0], ERROR)
    modem = connect(bg95, *dialogue[: until + 1], flags=(*BG95_FLAGS, KEY_FLAGS[key]))
    with pytest.raises(CommandError, match=key):
        modem.run("tls_configure", **TLS)


KEY_FLAGS = dict(
    zip(
        WEAKENING,
        ("certchain_key", "multichain_key", "certsign_key", "certitem_key", "session_key", "cache_key", "dtls_key"),
        strict=True,
    )
)


# -- the TLS context -----------------------------------------------------------------------------------------------


def test_client_authentication_is_level_two_with_certificate_and_key(connect, profile):
    modem = connect(
        profile,
        ask('AT+QSSLCFG="sslversion",2,3'),
        ask('AT+QSSLCFG="ciphersuite",2,0XFFFF'),
        ask('AT+QSSLCFG="cacert",2,"cacert.pem"'),
        ask('AT+QSSLCFG="clientcert",2,"client.pem"'),
        ask('AT+QSSLCFG="clientkey",2,"user_key.pem"'),
        ask('AT+QSSLCFG="seclevel",2,2'),
        ask('AT+QSSLCFG="ignorelocaltime",2,1'),
        ask('AT+QSSLCFG="negotiatetime",2,300'),
        *strengthened(context=2),
    )
    names = {"ca": "cacert.pem", "cert": "client.pem", "key": "user_key.pem"}
    wanted = {"context": 2, "suites": ("0XFFFF",), "client_auth": True, "check_dates": False, "handshake_timeout": 300}
    modem.run("tls_configure", **(TLS | names | wanted | {"sni": False, "check_hostname": False}))


def test_not_verifying_is_level_nought(connect, profile):
    modem = connect(
        profile,
        ask('AT+QSSLCFG="sslversion",1,3'),
        ask('AT+QSSLCFG="ciphersuite",1,0XC02F'),
        ask('AT+QSSLCFG="seclevel",1,0'),
        ask('AT+QSSLCFG="ignorelocaltime",1,1'),
        ask('AT+QSSLCFG="negotiatetime",1,60'),
        *strengthened(),
    )
    unchecked = {"ca": None, "verify": False, "check_hostname": False, "check_dates": False, "sni": False}
    modem.run("tls_configure", **(TLS | unchecked))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"ca": None}, "CA certificate"),
        ({"verify": False, "check_hostname": False, "client_auth": True, "cert": "c", "key": "k"}, "only to a server"),
        ({"client_auth": True, "cert": None, "key": "k"}, "client certificate is needed"),
        ({"client_auth": True, "cert": "c", "key": None}, "key is needed"),
    ],
)
def test_what_cannot_be_secure_is_refused_before_anything_is_sent(connect, bg95, change, why):
    modem = connect(bg95, flags=BG95_FLAGS)
    with pytest.raises(CommandError, match=why):
        modem.run("tls_configure", **(TLS | change))


@pytest.mark.parametrize("name", ['a"', "a\r", "a\n", "a,1\\", "a\0", "ä"])
def test_a_name_never_adds_a_command(connect, profile, name):
    modem = connect(profile)
    with pytest.raises(ConfigurationError):
        modem.run("tls_configure", **(TLS | {"ca": name, "sni": False, "check_hostname": False}))
    with pytest.raises(ConfigurationError):
        modem.run("credential_write", name=name, data=b"x", size=1, kind="ca")


MUTUAL = {"client_auth": True, "cert": "mtls-cert", "key": "mtls-key"}


def read_back(*, mutual=False, **values) -> list[tuple[bytes, bytes]]:
    kept = {
        "sslversion": "3",
        "ciphersuite": "0XC02F",
        "cacert": '"mtls-ca"',
        **({"clientcert": '"mtls-cert"', "clientkey": '"mtls-key"'} if mutual else {}),
        "seclevel": "2" if mutual else "1",
        "ignorelocaltime": "0",
        "negotiatetime": "60",
        "sni": "1",
        "checkhost": "1",
        **dict.fromkeys(WEAKENING),
        "session": "0",
        "dtls": "0",
    } | values
    return [
        ask(f'AT+QSSLCFG="{key}",1', ERROR if value is None else line(f'+QSSLCFG: "{key}",1,{value}' if value else ""))
        for key, value in kept.items()
    ]


@pytest.mark.parametrize("values", [{}, {"ciphersuite": "0xc02f"}, {"cacert": "mtls-ca"}, {"cacert": '"UFS:mtls-ca"'}])
def test_what_was_written_is_read_back(connect, bg95, values):
    connect(bg95, *read_back(**values), flags=BG95_FLAGS).run("tls_verify", **TLS)


@pytest.mark.parametrize("values", [{}, {"clientcert": '"UFS:mtls-cert"', "clientkey": "mtls-key"}])
def test_what_was_written_for_a_client_certificate_is_read_back(connect, bg95, values):
    connect(bg95, *read_back(mutual=True, **values), flags=BG95_FLAGS).run("tls_verify", **(TLS | MUTUAL))


@pytest.mark.parametrize("key", ["clientcert", "clientkey"])
@pytest.mark.parametrize("value", ['"mtls-other"', '""', ""])
def test_another_client_certificate_or_key_than_was_written_is_an_error(connect, bg95, key, value):
    answers = read_back(mutual=True, **{key: value})
    asked = next(number for number, (command, _) in enumerate(answers) if f'"{key}"'.encode() in command)
    modem = connect(bg95, *answers[: asked + 1], flags=BG95_FLAGS)
    with pytest.raises(CommandError) as caught:
        modem.run("tls_verify", **(TLS | MUTUAL))
    assert caught.value.kind == "mismatch"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sslversion", "4"),
        ("ciphersuite", "0XFFFF"),
        ("cacert", '"other.pem"'),
        ("cacert", '""'),
        ("seclevel", "0"),
        ("ignorelocaltime", "1"),
        ("negotiatetime", "300"),
        ("sni", "0"),
        ("checkhost", "0"),
        ("session", "1"),
        ("dtls", "1"),
        # Listed or not: one lost byte must not hide a key.
        *((key, "1") for key in WEAKENING),
        # Neither ERROR nor a value: garbled, perhaps.
        *((key, "") for key in WEAKENING),
        # Listed, and not there.
        ("session", None),
        ("dtls", None),
    ],
)
def test_what_reads_back_differently_is_an_error(connect, bg95, key, value):
    answers = read_back(**{key: value})
    asked = next(number for number, (command, _) in enumerate(answers) if f'"{key}"'.encode() in command)
    modem = connect(bg95, *answers[: asked + 1], flags=BG95_FLAGS)
    with pytest.raises(CommandError) as caught:
        modem.run("tls_verify", **TLS)
    assert caught.value.kind == ("unknown" if value is None else "mismatch")


# -- DTLS ----------------------------------------------------------------------------------------------------------

DTLS = TLS | {"dtls": True, "version": 1, "sni": False}


def datagrams(**values) -> dict[str, str]:
    """Give the keys of a context for DTLS in the order in which they are written."""
    written = dict(SECURE_BG96) | {"sni": "0", "checkhost": "1"} | {key: "0" for key in WEAKENING if key != "dtls"}
    return written | {"dtlsversion": "1", "dtls": "1"} | values


@pytest.mark.parametrize(("version", "written"), [(1, "1"), (2, "2"), (0, "0")])
def test_a_context_for_dtls_has_every_key_of_one_for_tls_and_two_more(connect, bg95, version, written):
    keys = datagrams(dtlsversion=written)
    modem = connect(
        bg95,
        *(ask(f'AT+QSSLCFG="{key}",1,{value}', OK) for key, value in keys.items()),
        *(ask(f'AT+QSSLCFG="{key}",1', line(f'+QSSLCFG: "{key}",1,{value}')) for key, value in keys.items()),
        flags=BG95_FLAGS,
    )
    modem.run("tls_configure", **(DTLS | {"version": version}))
    modem.run("tls_verify", **(DTLS | {"version": version}))


@pytest.mark.parametrize("key", ["dtlsversion", "dtls"])
def test_a_modem_that_does_not_take_dtls_gets_no_connection(connect, bg95, key):
    keys = list(datagrams().items())
    until = [name for name, _ in keys].index(key)
    for flags in (BG95_FLAGS, ("sni_key", "checkhost_key", "dtls_key")):
        dialogue = [ask(f'AT+QSSLCFG="{name}",1,{value}') for name, value in keys[:until]]
        modem = connect(bg95, *dialogue, ask(f'AT+QSSLCFG="{key}",1,1', ERROR), flags=flags)
        with pytest.raises(CommandError, match=f'"{key}"'):
            modem.run("tls_configure", **DTLS)


def test_a_profile_that_is_sure_of_dtls_takes_no_refusal_for_it_either(connect):
    sure = re.sub(r"(?m)^  dtls:\n(?:    .*\n)+", "  dtls: ['1.0', '1.2']\n", show("quectel-bg95", flat=True))
    profile, problems = check_text(sure)
    assert problems == []
    assert profile.able("dtls") == ("1.0", "1.2")
    keys = list(datagrams().items())[:-1]
    modem = connect(
        profile,
        *(ask(f'AT+QSSLCFG="{key}",1,{value}') for key, value in keys),
        ask('AT+QSSLCFG="dtls",1,1', ERROR),
        flags=("sni_key", "checkhost_key"),
    )
    with pytest.raises(CommandError, match='"dtls"'):
        modem.run("tls_configure", **DTLS)


@pytest.mark.parametrize(
    ("key", "value"), [("dtls", "0"), ("dtls", ""), ("dtls", None), ("dtlsversion", "0"), ("sslversion", "4")]
)
def test_what_reads_back_differently_for_dtls_is_an_error(connect, bg95, key, value):
    keys = list(datagrams().items())
    until = [name for name, _ in keys].index(key)
    said = ERROR if value is None else line(f'+QSSLCFG: "{key}",1,{value}' if value else "")
    dialogue = [ask(f'AT+QSSLCFG="{name}",1', line(f'+QSSLCFG: "{name}",1,{kept}')) for name, kept in keys[:until]]
    modem = connect(bg95, *dialogue, ask(f'AT+QSSLCFG="{key}",1', said), flags=BG95_FLAGS)
    with pytest.raises(CommandError) as caught:
        modem.run("tls_verify", **DTLS)
    assert caught.value.kind == ("unknown" if value is None else "mismatch")


@pytest.mark.parametrize(
    ("name", "flags", "change", "capability"),
    [
        ("quectel-bg96", ("sni_key", "checkhost_key"), {}, "dtls"),
        ("quectel-bg95", ("sni_key", "checkhost_key"), {}, "dtls"),
        ("quectel-bg95", BG95_FLAGS, {"sni": True}, "sni"),
        ("quectel-bg95", BG95_FLAGS, {"resume": True}, "resumption"),
        ("quectel-bg95", BG95_FLAGS, {"cid": True}, "cid"),
        ("quectel-bg95", BG95_FLAGS, {"psk_identity": b"i", "psk_key": b"k"}, "psk"),
    ],
)
def test_what_is_not_known_to_work_over_dtls_is_refused_before_anything_is_sent(
    connect, name, flags, change, capability
):
    modem = connect(load(name), flags=flags)
    with pytest.raises(NotSupportedError) as caught:
        modem.run("tls_configure", **(DTLS | change))
    assert caught.value.capability == capability
