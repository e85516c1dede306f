"""The profiles of the Quectel modules, played against the bytes that the manuals give.

Values of the dialogues: BG96 SSL AT Commands Manual V1.0, chapters 2 to 4; BG96 TCP(IP) AT Commands Manual V1.1,
chapters 2 and 3; BG96 FILE AT Commands Manual V1.1, 3.1.1.1; the framing of lines is that of the BG96 AT manual, 2.15.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from dataclasses import replace
from functools import cache

import pytest

from modemtls.at.channel import Channel
from modemtls.at.grammar import Outcome
from modemtls.at.port import FdPort
from modemtls.errors import CommandError, ConfigurationError, ModemTimeoutError
from modemtls.modem.runner import Runner
from modemtls.profile import bundled, check, check_text, show
from modemtls.profile import load as load_afresh

MODELS = ("quectel-bg95", "quectel-bg96")
BG95_FLAGS = ("sni_key", "checkhost_key", "session_key", "dtls_key")
load = cache(load_afresh)
PATIENCE = 10.0  # s; nothing here takes so long unless it is broken

# AT+QSSLCFG=? as the documents show it.
BG96_KEYS = (
    b'\r\n+QSSLCFG: "sslversion",(0-5),(0-4)\r\n'
    b'+QSSLCFG: "ciphersuite",(0-5),(0X0035,0X002F,0X0005,0X0004,0X000A,0X003D,0XC011,0XC012,0XC013,0XC014,0XC027,'
    b"0XC028,0XC02F,0XFFFF)\r\n"
    b'+QSSLCFG: "cacert",(0-5),<cacertpath>\r\n'
    b'+QSSLCFG: "clientcert",(0-5),<client_cert_path>\r\n'
    b'+QSSLCFG: "clientkey",(0-5),<client_key_path>\r\n'
    b'+QSSLCFG: "seclevel",(0-5),(0-2)\r\n'
    b'+QSSLCFG: "ignorelocaltime",(0-5),(0,1)\r\n'
    b'+QSSLCFG: "negotiatetime",(0-5),(10-300)\r\n\r\nOK\r\n'
)
BG95_KEYS = (
    b'\r\n+QSSLCFG: "sslversion",(0-5),(0-4)\r\n'
    b'+QSSLCFG: "ciphersuite",(0-5),(0X0035,0X002F,0X0005,0X0004,0X000A,0X003D,0XC002,0XC003,0XC004,0XC005, 0XC007,'
    b"0XC008,0XC009,0XC00A,0XC011,0XC012,0XC013,0XC014,0XC00C,0XC00D,0XC00E,0XC00F,0XC023,0XC024,0XC025,0XC026,0XC027,"
    b"0XC028,0XC029,0XC02A,0XC02B,0XC02F,0XFFFF)\r\n"
    b'+QSSLCFG: "cacert",(0-5),<cacertpath>\r\n'
    b'+QSSLCFG: "clientcert",(0-5),<clientcertpath>\r\n'
    b'+QSSLCFG: "clientkey",(0-5),<clientkeypath>\r\n'
    b'+QSSLCFG: "seclevel",(0-5),(0-2)\r\n'
    b'+QSSLCFG: "session",(0-5),(0,1)\r\n'
    b'+QSSLCFG: "sni",(0-5),(0,1)\r\n'
    b'+QSSLCFG: "checkhost",(0-5),(0,1)\r\n'
    b'+QSSLCFG: "ignorelocaltime",(0-5),(0,1)\r\n'
    b'+QSSLCFG: "negotiatetime",(0-5),(10-300)\r\n'
    b'+QSSLCFG: "dtls",(0-5),(0,1)\r\n'
    b'+QSSLCFG: "dtlsversion",(0-5),(0-2)\r\n\r\nOK\r\n'
)
PROBES = {
    b"AT+CMEE?": b"\r\n+CMEE: 1\r\n\r\nOK\r\n",
    b"AT+CCLK?": b'\r\n+CCLK: "26/10/01,12:00:00+00"\r\n\r\nOK\r\n',
    b"AT+CGMI": b"\r\nQuectel\r\n\r\nOK\r\n",
}
OK = b"\r\nOK\r\n"
ERROR = b"\r\nERROR\r\n"


class Modem:
    """The far end of a channel: awaits exactly these bytes, says those."""

    def __init__(self, profile, *dialogue: tuple[bytes, bytes] | bytes) -> None:
        """``dialogue``: pairs of what is awaited and what is then said; bytes alone are said without being asked."""
        ours, self._wire = socket.socketpair()
        self._wire.settimeout(PATIENCE)
        self._dialogue = dialogue
        self.wrong = ""
        self.channel = Channel(
            FdPort("scripted", ours.detach()), profile.grammar, recovery=replace(profile.recovery, quiet=0.002)
        )
        self._fall_into_step()
        self.channel.echo = False
        self.urcs: list[tuple[str, dict]] = []
        self.channel.on_urc = self._urc
        self.runner = Runner(self.channel, profile)
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()

    def _fall_into_step(self) -> None:
        """A channel that has just been opened asks the profile's probes first."""
        done = threading.Event()

        def answer() -> None:
            pending = b""
            while not done.is_set():
                with contextlib.suppress(TimeoutError):
                    pending += self._wire.recv(4096)
                while b"\r" in pending:
                    asked, _, pending = pending.partition(b"\r")
                    self._wire.sendall(PROBES[asked])

        self._wire.settimeout(0.005)
        helper = threading.Thread(target=answer, daemon=True)
        helper.start()
        self.channel.resynchronise(self.channel.clock() + PATIENCE)
        done.set()
        helper.join(PATIENCE)
        self._wire.settimeout(PATIENCE)

    def _urc(self, urc) -> None:
        if urc.rule is not None:
            self.urcs.append((urc.rule.means, dict(urc.values)))

    def _play(self) -> None:
        try:
            for one in self._dialogue:
                awaited, said = one if isinstance(one, tuple) else (b"", one)
                got = b""
                while len(got) < len(awaited) and awaited.startswith(got):
                    more = self._wire.recv(len(awaited) - len(got))
                    if not more:
                        break
                    got += more
                if got != awaited:
                    self.wrong = f"awaited {awaited!r}, got {got!r}"
                    self._wire.close()
                    return
                self._wire.sendall(said)
            self._wire.settimeout(0.02)
            with contextlib.suppress(TimeoutError):
                rest = self._wire.recv(4096)
                if rest:
                    self.wrong = f"nothing was awaited any more, got {rest!r}"
        except OSError as error:
            self.wrong = self.wrong or f"{error!r} while {one!r}"

    def run(self, op: str, **bindings):
        return self.runner.run(op, bindings, deadline=self.channel.clock() + PATIENCE)

    def finish(self) -> None:
        self._thread.join(PATIENCE)
        self.channel.close()
        self._wire.close()
        assert not self.wrong


@pytest.fixture(params=MODELS)
def profile(request):
    return load(request.param)


@pytest.fixture
def bg95():
    return load("quectel-bg95")


@pytest.fixture
def connect():
    """Make a Modem, with flags as after probing; at the end it must have heard all it awaited, and nothing else."""
    made = []

    def make(profile, *dialogue, flags=()):
        modem = Modem(profile, *dialogue)
        modem.runner._boot.update(dict.fromkeys(flags, True))  # as probing would have
        made.append(modem)
        return modem

    yield make
    for modem in made:
        modem.finish()


def ask(line: str, answer: bytes = OK) -> tuple[bytes, bytes]:
    return line.encode() + b"\r", answer


def line(text: str) -> bytes:
    return f"\r\n{text}\r\n\r\nOK\r\n".encode()


TLS = {
    "context": 1,
    "version": 3,
    "suites": ("0XC02F",),
    "ca": "mtls-ca",
    "cert": None,
    "key": None,
    "verify": True,
    "client_auth": False,
    "sni": True,
    "sni_name": None,
    "check_hostname": True,
    "check_dates": True,
    "handshake_timeout": 60,
}
OPEN = {"pdp": 1, "context": 1, "socket": 4, "host": "220.180.239.201", "port": 8010, "receive": "pull"}


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
    assert bg95.able("server") is False
    assert bg95.able("psk") is False


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


def read_back(**values) -> list[tuple[bytes, bytes]]:
    kept = {
        "sslversion": "3",
        "ciphersuite": "0XC02F",
        "cacert": '"mtls-ca"',
        "seclevel": "1",
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
    modem.run("tls_open", **(OPEN | {"host": "h.example", "port": 8011, "receive": "push"}))


@pytest.mark.parametrize("code", [550, 563, 565, 566, 569, 574])
def test_a_failed_open_has_the_modems_number_and_nothing_is_sent_on_its_account(connect, profile, code):
    # 563 may be a stranger's socket; closing a number of its own is the business of whoever chose it.
    modem = connect(profile, ask('AT+QSSLOPEN=1,1,4,"220.180.239.201",8010,0', OK + b"\r\n+QSSLOPEN: 4,%d\r\n" % code))
    with pytest.raises(CommandError) as caught:
        modem.run("tls_open", **OPEN)
    error = caught.value
    assert (error.namespace, error.code, error.kind) == ("open", code, profile.errors["open"][str(code)].kind)
    assert profile.errors["open"][str(code)].text in str(error)


@pytest.mark.parametrize("separator", [b", ", b","])
def test_a_refused_open_asks_for_the_cause_at_once(connect, profile, separator):
    modem = connect(
        profile,
        ask('AT+QSSLOPEN=1,1,4,"220.180.239.201",8010,0', ERROR),
        ask("AT+QIGETERROR", b"\r\n+QIGETERROR: 552%sinvalid parameters\r\n\r\nOK\r\n" % separator),
    )
    with pytest.raises(CommandError) as caught:
        modem.run("tls_open", **OPEN)
    assert (caught.value.code, caught.value.kind) == (552, "parameter")


def test_a_cause_that_says_success_is_no_cause(connect, profile):
    modem = connect(
        profile,
        ask('AT+QSSLOPEN=1,1,4,"220.180.239.201",8010,0', ERROR),
        ask("AT+QIGETERROR", line("+QIGETERROR: 0,operate successfully")),
    )
    with pytest.raises(CommandError) as caught:
        modem.run("tls_open", **OPEN)
    assert caught.value.code != 0
    assert caught.value.kind == "unknown"


def test_another_sockets_result_is_not_this_ones(connect, profile):
    modem = connect(
        profile,
        ask(
            'AT+QSSLOPEN=1,1,4,"220.180.239.201",8010,0',
            b"\r\n+QSSLOPEN: 3,566\r\n\r\n+QIOPEN: 4,566\r\n" + OK + b"\r\n+QSSLOPEN: 14,566\r\n\r\n+QSSLOPEN: 4,0\r\n",
        ),
    )
    modem.run("tls_open", **OPEN)


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
    assert (caught.value.code, caught.value.kind) == (567, "closed")


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
    modem.run("tls_open", **OPEN)


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
    modem.run("tls_open", **OPEN)


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
        modem.run("credential_write", name=name, data=data, size=len(data), kind="ca")


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
    assert (caught.value.namespace, caught.value.code, caught.value.kind) == ("file", code, kind)


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
    modem.run("setup")
    modem.run("setup")


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
    assert caught.value.code == 3


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
    modem.run("registration_notify")


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
    modem.run("pdp_configure", pdp=2, apn="iot.example", user=None, password=None, auth=None, family="ipv4v6")


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
    assert (caught.value.code, caught.value.kind) == (561, "pdp_failed")


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
