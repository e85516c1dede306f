"""connect --dtls through simulated modems to a real DTLS server: by the modem, by this host, again with the session."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from modemtls.sim import embedded
from modemtls.sim.options import Options
from modemtls.tlsengine import Settings, Verify
from tests.support.command_line import (
    NAME,
    one_line,
    plain_environment_fixture,  # noqa: F401
    spawn,
)
from tests.support.dtls import DtlsEcho
from tests.support.hasty import hasty
from tests.support.here import here
from tests.support.pki import Pki

KEY = "00ff112233445566778899aabbccddee"
QUICK = [f"{name}=0.02" for name in ("boot-time", "registration-time", "pdp-time")]
SILENT = "ublox-sara-r5"
"""A model whose profile has much silence in it."""
MODELS = {SILENT: QUICK, "nordic-sm": [], "quectel-bg95": []}

ONE = pytest.mark.parametrize("modem", ["quectel-bg95"], indirect=True)

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture(scope="module", params=MODELS)
def modem(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """A simulated modem, by the options that say where it is and what it is."""
    with embedded.open(request.param, Options.build(variants=MODELS[request.param])) as made:
        silent = request.param == SILENT
        profile = hasty(SILENT, tmp_path_factory.mktemp("profiles")) if silent else request.param
        yield ["-p", made.path, "--profile", profile, "--radio-off"]


@pytest.fixture(scope="module")
def echo() -> Iterator[DtlsEcho]:
    with DtlsEcho(Settings(server=True, datagram=True, psks={b"gateway": bytes.fromhex(KEY)})) as made:
        yield made


@pytest.fixture
def key(tmp_path: Path) -> list[str]:
    path = tmp_path / "key.hex"
    path.write_text(KEY)
    return ["--dtls", "--psk-identity", "gateway", "--psk-file", str(path)]


@pytest.fixture
def talk(modem: list[str], echo: DtlsEcho) -> Run:
    def run(
        *options: object, data: bytes = b"one\ntwo\n", until: bytes = b"onetwo", port: int = echo.port
    ) -> subprocess.CompletedProcess[bytes]:
        connect = [*modem, "--apn", "iot.example", "connect", NAME, port, "--linger", "0.05"]
        return here(*connect, *options, data=data, until=until)

    return run


def said(done: subprocess.CompletedProcess[bytes]) -> str:
    """What was told of the connection of a run that succeeded."""
    assert done.returncode == 0, done.stderr
    return done.stderr.decode().splitlines()[0].partition(", ")[2]


def test_lines_go_out_as_datagrams_and_what_comes_is_written_as_it_is(
    talk: Run, echo: DtlsEcho, key: list[str]
) -> None:
    echo.heard.clear()
    binary = b"\x00\xff\r> OK\x1a\x1b"
    done = talk(*key, "--engine", "auto", data=b"one\n\n" + binary + b"\nno end", until=binary)
    assert said(done) in {"DTLS by the modem", "DTLS by this host"}
    assert echo.heard == [b"one", binary, b"no end"]
    assert done.stdout == b"one" + binary + b"no end"
    assert done.stderr.decode().splitlines()[1:] == ["modemtls: closed: nothing came for 0.05 s"]


@ONE
def test_by_this_host_whatever_the_modem_has(talk: Run, key: list[str]) -> None:
    done = talk(*key, "--engine", "host")
    assert (done.stdout, said(done)) == (b"onetwo", "DTLS by this host")


def test_a_session_outlives_the_run_unless_the_modem_keeps_it_and_may_have_been_told_other_terms(
    request: pytest.FixtureRequest, talk: Run, echo: DtlsEcho, key: list[str], tmp_path: Path
) -> None:
    silent = "nordic" in request.node.name
    file = ("--engine", "auto", "--session-file", str(tmp_path / "session"))
    told = [said(talk(*key, *file)).rpartition(", ")[2] for _ in range(2)]
    assert told == ["new session", "new session" if silent else "session resumed"]
    assert echo.handshakes[-1].resumed is not silent


@ONE
def test_a_wrong_key_fails_in_one_line_that_does_not_repeat_it(talk: Run, key: list[str], tmp_path: Path) -> None:
    wrong = "aa" + KEY[2:]
    (tmp_path / "key.hex").write_text(wrong)
    line = one_line(talk(*key, "--engine", "host", "--timeout", "1"))
    assert wrong not in line
    assert NAME in line


@ONE
def test_a_line_that_is_no_datagram_is_an_error(talk: Run, key: list[str]) -> None:
    done = talk(*key, "--engine", "host", data=b"x" * 3000 + b"\n")
    assert done.returncode == 1
    assert b"3000 bytes do not fit" in done.stderr.splitlines()[-1]


@ONE
def test_certificates(talk: Run, pki: Pki) -> None:
    leaf = pki.leaf(NAME)
    server = Settings(server=True, datagram=True, chain=leaf.cert_pem, key=leaf.key_pem, verify=Verify.NONE)
    with DtlsEcho(server) as echo:
        ca = ("--dtls", "--engine", "host", "--cafile", str(pki.ca))
        assert talk(*ca, port=echo.port).stdout == b"onetwo"
        one_line(talk(*ca, "--sni", "other.example", port=echo.port), "certificate")


@ONE
def test_a_person_is_answered_line_by_line(modem: list[str], echo: DtlsEcho, key: list[str]) -> None:
    child = spawn(*modem, "connect", NAME, str(echo.port), *key, "--engine", "auto", "--linger", "0.1")
    child.expect("DTLS by")
    for line in ("first", "second"):
        child.sendline(line)
        child.expect_exact(line)  # the terminal's echo
        child.expect_exact(line)  # the server's
    child.sendeof()
    child.expect("nothing came for 0.1 s")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_consent_to_switch_the_radio_off_is_an_option(echo: DtlsEcho, key: list[str]) -> None:
    with embedded.open("nordic-sm") as modem:

        def connect(*options: str) -> subprocess.CompletedProcess[bytes]:
            at = ("-p", modem.path, "--profile", "nordic-sm")
            return here(*at, "connect", NAME, echo.port, *key, "--linger", "0.05", *options)

        assert said(connect("--engine", "host")) == "DTLS by this host"  # the radio is on from here on
        one_line(connect(), "--radio-off")
        assert said(connect("--radio-off")) == "DTLS by the modem"
