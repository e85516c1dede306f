"""The command line as it is typed: what is understood, what is refused, and how."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from modemtls.cli import parser
from modemtls.cli.completion import bash, fish, zsh
from modemtls.cli.main import main
from modemtls.cli.parser import help_text, parse
from modemtls.cli.settings import Settings
from modemtls.cli.table import COMMANDS, GLOBALS, TLS, Argument
from modemtls.profile import bundled, load
from modemtls.sim import faults
from tests.support.pki import Pki


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [n for n in os.environ if n.startswith("MODEMTLS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def settings(*argv: str, **environment: str) -> Settings:
    command, options = parser.parse(argv)
    assert command is not None
    return Settings(command, options, {"XDG_CONFIG_HOME": "/nowhere", **environment})


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line that a usage error gives."""
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.endswith("\n")
    return err


@pytest.mark.parametrize(
    "argv",
    [
        ("-p", "/dev/a", "--apn", "x", "info"),
        ("info", "-p", "/dev/a", "--apn", "x"),
        ("--port=/dev/a", "info", "--apn=x"),
    ],
)
def test_global_options_stand_before_or_behind_the_command(argv: tuple[str, ...]) -> None:
    found = settings(*argv)
    assert (found.command.name, found.port, found.text("apn")) == ("info", "/dev/a", "x")


@pytest.mark.parametrize("value", ["9" * 100_000, "x" * 100_000, "\x1b[31m\x9b\u202e"])
@pytest.mark.parametrize(
    "argv",
    [
        ("connect", "h", "{}"),
        ("{}",),
        ("profile", "{}"),
        ("--{}", "info"),
        ("--baudrate", "{}", "info"),
        ("-p", "x", "--timeout", "{}", "info"),
        ("-p", "x", "get", "{}"),
        ("-p", "x", "get", "http://x:{}/"),
        ("-p", "x", "connect", "h", "1", "--min-version", "{}"),
    ],
)
def test_what_is_wrong_is_quoted_short_and_harmless(argv, value, capsys) -> None:
    assert main([one.format(value) for one in argv]) in {1, 2}
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err[:-1].isprintable()
    assert len(err) < 1100


def test_a_baud_rate_that_no_port_has_is_one_line(capsys) -> None:
    master, slave = os.openpty()
    try:
        for command in (["info"], ["terminal"], ["record", "/dev/null"]):
            assert main(["-p", os.ttyname(slave), "--baudrate", "99999999999999", *command]) in {1, 2}
            assert "baudrate" in (err := capsys.readouterr().err)
            assert err.count("\n") == 1
    finally:
        os.close(master)
        os.close(slave)


def test_a_number_without_end_in_the_environment(monkeypatch, capsys) -> None:
    monkeypatch.setenv("MODEMTLS_BAUDRATE", "9" * 100_000)
    assert len(refused(capsys, "-p", "x", "info")) < 700


def test_a_configuration_file_without_end(monkeypatch, capsys) -> None:
    monkeypatch.setenv("MODEMTLS_CONFIG", "/dev/zero")
    assert "too large" in refused(capsys, "info")


def test_the_option_behind_the_command_wins() -> None:
    assert settings("-p", "/dev/a", "info", "-p", "/dev/b").port == "/dev/b"


def test_a_port_called_like_a_command_is_a_port() -> None:
    found = settings("-p", "demo", "connect", "info", "443")
    assert (found.command.name, found.port, found.text("host"), found.get("peer_port")) == (
        "connect",
        "demo",
        "info",
        443,
    )


def test_the_peers_port_and_the_modems_port_are_two_things() -> None:
    found = settings("connect", "host", "8883", "-p", "/dev/a")
    assert (found.port, found.get("peer_port")) == ("/dev/a", 8883)


@pytest.mark.parametrize("port", ["0", "65536", "abc", "-1", "+5", "4 3", "١", ""])
def test_what_is_no_port_is_refused_by_its_name(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "PORT" in refused(capsys, "-p", "x", "connect", "h", port)


def test_a_command_to_record_wants_two_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    assert "-- COMMAND" in refused(capsys, "-p", "/dev/absent", "record", "session.at", "modemtls", "info")


def test_a_certificate_without_its_key_is_wrong_usage(
    pki: Pki, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cert = tmp_path / "cert.pem"
    cert.write_bytes(pki.leaf("gateway.example").cert_pem)
    line = refused(capsys, "-p", "/dev/absent", "connect", "h", "1", "--no-verify", "--cert", str(cert))
    assert "--key" in line
    assert str(cert) in line
    cert.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n" + cert.read_text())
    assert main(["-p", "/dev/absent", "connect", "h", "1", "--no-verify", "--cert", str(cert)]) == 1


@pytest.mark.parametrize("host", ["a b", 'a"b', "a,b", "x:1", "a\r\nb", ""])
def test_what_is_no_host_is_wrong_usage_as_a_port_is(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "HOST" in refused(capsys, "-p", "/dev/absent", "connect", host, "443", "--no-verify")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("conect", "h", "1"), "did you mean 'connect'?"),
        (("profile", "chek"), "did you mean 'check'?"),
        (("profile",), "check, show, schema"),
        (("info", "--jsno"), "--jsno"),
        (("info", "--js"), "--js"),
        (("get", "--json", "http://x/"), "modemtls get: "),
        (("connect", "h", "1", "--min-version", "9"), "(choose from 1.0, 1.1, 1.2, 1.3)"),
        (("connect", "h", "1", "--min-version", "1.4"), "(choose from 1.0, 1.1, 1.2, 1.3)"),
        (("get", "http://h", "--min-version", ""), "(choose from 1.0, 1.1, 1.2, 1.3)"),
        (("-p",), "--port"),
        (("--baudrate", "0", "info"), "'0'"),
        (("info", "--timeout", "nan"), "'nan'"),
        (("info", "--timeout", "0"), "'0'"),
        (("connect", "h", "1", "--linger", "-2"), "--linger"),
        (("-p", "", "info"), "--port"),
        (("info", "--", "x"), "x"),
        (("connect", "h", "1", "--cafile", "c"), "$MODEMTLS_PORT"),
        (("-p", "x", "connect", "h", "1"), "--cafile"),
        (("-p", "x", "connect", "h", "1", "--plain", "--no-verify"), "--no-verify"),
        (("-p", "x", "connect", "h", "1", "--plain", "--dtls"), "--dtls has no place beside it"),
        (("-p", "x", "connect", "h", "1", "--plain", "--engine", "host"), "--engine has no place beside it"),
        (("-p", "x", "connect", "h", "1", "--plain", "--psk-file", "f"), "--psk-file has no place beside it"),
        (("-p", "x", "connect", "h", "1", "--plain", "--session-file", "f"), "--session-file has no place beside it"),
        (("-p", "x", "connect", "h", "1", "--plain", "--system-trust"), "--system-trust has no place beside it"),
        (("-p", "x", "connect", "h", "1", "--psk-file", "f", "--cafile", "c"), "--psk-file is about a key that both"),
        (("-p", "x", "connect", "h", "1", "--psk-identity", "i", "--no-verify"), "--no-verify about certificates"),
        (("-p", "x", "connect", "h", "1", "--psk-identity", "i", "--cert", "c"), "--cert about certificates"),
        (("-p", "x", "connect", "h", "1", "--psk-identity", "i", "--no-check-hostname"), "--no-check-hostname about"),
        (("-p", "x", "connect", "h", "1", "--psk-identity", "i"), "--psk-file FILE"),
        (("-p", "x", "connect", "h", "1", "--dtls"), "--cafile"),
        (("-p", "x", "connect", "h", "1", "--dtls", "--psk-file", "f"), "--psk-identity TEXT"),
        (("-p", "x", "connect", "h", "1", "--system-trust"), "--engine host"),
        (("-p", "x", "get", "https://h/", "--dtls"), "--dtls"),
        (("-p", "x", "get", "http://h/", "--session-file", "f"), "--session-file has no place in an http://"),
        (("-p", "x", "get", "http://h/", "--engine", "host"), "--engine has no place in an http://"),
        (("-p", "x", "get", "ftp://h/"), "ftp"),
        (("-p", "x", "get", "https://h:99999/"), "99999"),
        (("-p", "x", "get", "https://user:secret@h/"), "password"),
        (("-p", "x", "get", "https://h/a b"), "%20"),
        (("-p", "x", "get", "http://h/", "--no-verify"), "--no-verify"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    argv: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(capsys, *argv)


def test_an_address_refused_for_its_password_does_not_repeat_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert "hunter2" not in refused(capsys, "-p", "x", "get", "https://user:hunter2@h/")


def test_the_bare_program_shows_the_help_and_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert "modemtls demo" in err


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.name)
def test_every_command_has_a_help_that_names_all_it_takes(command, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.words, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: modemtls {command.name}")
    for item in command.arguments:
        for flag in item.flags:
            assert flag in text
    if not command.more:
        assert max(map(len, text.splitlines())) <= 110


def test_help_wins_over_what_else_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["connect", "--nonsense", "-h"]) == 0
    assert "usage: modemtls connect HOST PORT" in capsys.readouterr().out


def test_commands_of_later_work_are_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out + "".join(parser.help_text(c.words) for c in COMMANDS)
    for absent in ("profile new", "profile test"):
        assert absent not in text


def test_what_follows_the_dashes_is_the_command_of_record() -> None:
    found = settings("record", "f.at", "-p", "x", "--", "modemtls", "--help", "-p", "y")
    assert found.options.tail == ["modemtls", "--help", "-p", "y"]
    assert found.port == "x"


# -- where values come from ----------------------------------------------------------------------------------------


def test_option_then_environment_then_file(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('port = "/dev/file"\napn = "file"\nbaudrate = 9600\n"pin-file" = "/pin"\n')
    found = settings("info", "-p", "/dev/option", MODEMTLS_CONFIG=str(config), MODEMTLS_APN="environment")
    assert found.port == "/dev/option"
    assert found.text("apn") == "environment"
    assert found.whole("baudrate") == 9600
    assert found.text("pin_file") == "/pin"
    assert found.text("profile") is None


def test_the_usual_place_of_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "modemtls"
    folder.mkdir()
    (folder / "config.toml").write_text('port = "/dev/file"\n')
    assert settings("info", XDG_CONFIG_HOME=str(tmp_path)).port == "/dev/file"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot = 'x'", "did you mean port?"),
        ("password = 'x'", "unknown key"),
        ("port = [", "config.toml"),
        ("port = true", "text or a number"),
        ("rtscts = 'perhaps'", "true or false"),
        ("rtscts = 2", "true or false"),
        ("pdp = true", "text or a number"),
        ("no-verify = true", "unknown key"),
        ("baudrate = 'fast'", "baudrate: 'fast'"),
    ],
)
def test_a_wrong_file_is_wrong_usage(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(text + "\n")
    monkeypatch.setenv("MODEMTLS_CONFIG", str(config))
    line = refused(capsys, "info")
    assert said in line
    assert "config.toml" in line


def test_every_option_that_the_help_gives_a_variable_can_stand_in_the_file(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('rtscts = true\n"take-over" = false\npdp = 2\nmin-version = "1.1"\ncafile = "/ca"\n')
    found = settings("connect", "h", "1", MODEMTLS_CONFIG=str(config))
    assert (found.flag("rtscts"), found.flag("take_over"), found.whole("pdp")) == (True, False, 2)
    assert found.text("min_version") == "1.1"
    config.write_text("min-version = 1.1\n")
    assert settings("connect", "h", "1", MODEMTLS_CONFIG=str(config)).text("min_version") == "1.1"


@pytest.mark.parametrize(("text", "on"), [("1", True), ("yes", True), ("0", False), ("No", False), ("true", True)])
def test_switches_in_the_environment(text: str, on: bool, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f"rtscts = {str(not on).lower()}\n")
    assert settings("info", MODEMTLS_CONFIG=str(config), MODEMTLS_RTSCTS=text).flag("rtscts") is on
    assert settings("info", "--rtscts", MODEMTLS_CONFIG=str(config), MODEMTLS_RTSCTS=text).flag("rtscts")


def test_a_file_that_was_named_must_be_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.environ["MODEMTLS_CONFIG"] = str(tmp_path / "absent.toml")
    try:
        assert main(["terminal"]) == 1
    finally:
        del os.environ["MODEMTLS_CONFIG"]
    assert "absent.toml" in capsys.readouterr().err


def test_a_wrong_value_in_the_environment_names_the_variable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEMTLS_BAUDRATE", "fast")
    assert "$MODEMTLS_BAUDRATE: 'fast'" in refused(capsys, "-p", "/nowhere", "terminal")


def test_secrets_come_from_a_file_or_the_environment(tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    pin.write_text("1234\n")
    assert settings("info", "--pin-file", str(pin), MODEMTLS_PIN="9999").pin == "1234"
    assert settings("info", MODEMTLS_PIN="9999", MODEMTLS_PIN_FILE=str(pin)).pin == "9999"
    assert settings("info", MODEMTLS_PIN_FILE=str(pin)).pin == "1234"
    assert settings("info").pin is None
    assert settings("info", MODEMTLS_PASSWORD="pass word").password == "pass word"


@pytest.mark.parametrize("content", ["", "\n", "1234\n5678\n", "1" * 2000])
def test_a_secret_file_holds_exactly_one_line(content: str, tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    pin.write_text(content)
    with pytest.raises(OSError, match="pin") as caught:
        _ = settings("info", "--pin-file", str(pin)).pin
    assert "1234" not in str(caught.value)


def key_file(folder: Path, content: str) -> str:
    path = folder / "key.hex"
    path.write_text(content)
    return str(path)


def test_a_pre_shared_key_is_one_line_of_hexadecimal(tmp_path: Path) -> None:
    name = key_file(tmp_path, "00fF10\n")
    assert settings("connect", "h", "1", "--psk-file", name, MODEMTLS_PSK="11").psk == b"\0\xff\x10"
    assert settings("connect", "h", "1", MODEMTLS_PSK="11", MODEMTLS_PSK_FILE=name).psk == b"\x11"
    assert settings("connect", "h", "1", MODEMTLS_PSK_FILE=name).psk == b"\0\xff\x10"
    assert settings("connect", "h", "1").psk is None


@pytest.mark.parametrize(
    "content", ["", "0", "5ec4e", "0x5ec4e7", "5e c4 e7", "5ec4e7\n5ec4e7", "5ec4eg", "５ec4", "5ec4\0"]
)
def test_what_is_no_key_is_not_repeated(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = key_file(tmp_path, content)
    psk = ("--psk-identity", "i", "--psk-file", name)
    assert main(["-p", "/dev/absent", "connect", "h", "1", "--dtls", *psk]) == 1
    line = capsys.readouterr().err
    assert name in line
    assert "key" in line.replace(name, "")
    assert line.count("\n") == 1
    assert "5ec4" not in line
    if content:
        with pytest.raises(OSError, match=r"^\$MODEMTLS_PSK: ") as caught:
            _ = settings("connect", "h", "1", MODEMTLS_PSK=content.replace("\n", " ")).psk
        assert "5ec4" not in str(caught.value)


def test_the_command_line_says_how_the_peer_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], pki: Pki
) -> None:
    """Key or certificates in the environment do not matter then, and both are one too many without a word."""
    psk = ("--psk-identity", "i", "--psk-file", key_file(tmp_path, "00"))
    connect = ("-p", "/dev/absent", "connect", "h", "1")
    monkeypatch.setenv("MODEMTLS_CAFILE", "/absent/ca.pem")
    assert main([*connect, *psk]) == 1
    assert "/dev/absent: no such port" in capsys.readouterr().err
    monkeypatch.setenv("MODEMTLS_PSK", "00")
    assert "say which" in refused(capsys, *connect)
    monkeypatch.setenv("MODEMTLS_PSK_IDENTITY", "i")
    assert main([*connect, "--cafile", str(pki.ca)]) == 1
    assert "/dev/absent: no such port" in capsys.readouterr().err
    monkeypatch.delenv("MODEMTLS_CAFILE")
    assert main([*connect]) == 1
    assert "/dev/absent: no such port" in capsys.readouterr().err


def test_no_option_takes_key_material_itself() -> None:
    for item in (*GLOBALS, *(a for c in COMMANDS for a in c.arguments)):
        if item.dest == "psk_identity":
            continue
        if any(word in item.dest for word in ("password", "pin", "psk", "key", "cert", "cafile", "session")):
            assert item.complete == "file", item.flags


# -- completion ----------------------------------------------------------------------------------------------------


def completed(*words: str) -> set[str]:
    """What bash offers for the last word."""
    script = bash() + (
        "\nCOMP_WORDS=(" + " ".join(f"'{w}'" for w in words) + ")\n"
        'COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _modemtls; printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, timeout=10)
    assert not done.stderr
    return set(done.stdout.split())


def test_offered_are_the_tls_versions_that_bundled_profiles_or_the_host_have() -> None:
    able = {version for name in bundled() for version in load(name).able("tls")} - {"ssl3"} | {"1.3"}
    (item,) = (item for item in TLS if item.dest == "min_version")
    assert list(item.offers) == sorted(able)
    for words in (("connect",), ("get",)):
        said = " ".join(help_text(words).split())
        assert f"[one of {', '.join(sorted(able))}; default 1.2; $MODEMTLS_MIN_VERSION]" in said


def test_somebodys_own_profile_may_have_a_later_version() -> None:
    _, options = parse(["connect", "h", "1", "--min-version", "1.3"])
    assert options.min_version == "1.3"


def test_engines_are_offered_and_nothing_else_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (("connect", "h", "1"), ("get", "u")):
        assert completed("modemtls", *command, "--engine", "") == {"modem", "host", "auto"}
        assert "'hots'" in refused(capsys, *command, "--engine", "hots")
        found = settings(*command, MODEMTLS_ENGINE="host")
        assert found.text("engine") == "host"
    for option in ("--psk-file", "--session-file"):
        assert "compgen -f" in re.search(rf'"connect:{option}"\) (.*)', bash())[1]  # type: ignore[index]


def test_bash_offers_what_the_table_has() -> None:
    assert completed("modemtls", "c") == {"connect", "credentials", "completion"}
    assert completed("modemtls", "-p", "connect", "profi") == {"profile", "profiles"}
    assert completed("modemtls", "profile", "s") == {"show", "schema"}
    assert completed("modemtls", "--apn", "x", "connect", "h", "443", "--no") == {"--no-check-hostname", "--no-verify"}
    assert completed("modemtls", "connect", "--min-version", "") == {"1.0", "1.1", "1.2", "1.3"}
    assert completed("modemtls", "completion", "") == {"bash", "zsh", "fish"}


def fault() -> Argument:
    (item,) = (item for command in COMMANDS for item in command.arguments if item.dest == "fault")
    return item


def test_faults_that_are_offered_are_those_of_the_simulator() -> None:
    assert {kind: set(words) for kind, words in fault().begins} == {
        kind: set(where) for kind, (where, _, _) in faults.KINDS.items()
    }


def test_bash_offers_faults() -> None:
    """For bash "@" ends a word, and is one."""
    assert completed("modemtls", "sim", "x", "--fault", "") == {f"{kind}@" for kind in faults.KINDS}
    assert completed("modemtls", "sim", "x", "--fault", "unp") == {"unplug@"}
    assert completed("modemtls", "sim", "x", "--fault", "unplug", "@") == {"byte", "command", "urc"}
    assert completed("modemtls", "sim", "x", "--fault", "unplug", "@", "c") == {"command"}
    assert completed("modemtls", "sim", "x", "--fault", "drop", "@", "") == {"out", "in"}


def test_fish_and_zsh_offer_faults() -> None:
    whole = {f"{kind}@{at}" for kind, (where, _, _) in faults.KINDS.items() for at in where}
    for text in (zsh(), fish()):
        assert whole <= set(re.findall(r"[a-z]+@[a-z]+", text))


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("modemtls sim x --fault unp", {"unplug@byte", "unplug@command", "unplug@urc"}),
        ("modemtls profile s", {"show", "schema"}),
        ("modemtls --apn x con", {"connect"}),
        ("modemtls get u --min-version ", {"1.0", "1.1", "1.2", "1.3"}),
        ("modemtls completion ", {"bash", "zsh", "fish"}),
    ],
)
def test_fish_offers_what_the_table_has(line: str, offered: set[str], tmp_path: Path) -> None:
    program = shutil.which("fish")
    if program is None:
        pytest.skip("needs the program fish, which is not installed")
    script = f"{fish()}\ncomplete -C '{line}'\n"
    done = subprocess.run(
        [program, "-c", script],
        capture_output=True, text=True, check=True, timeout=20, env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    assert {row.partition("\t")[0] for row in done.stdout.splitlines()} == offered


def test_bash_offers_files_where_files_are_wanted(tmp_path: Path) -> None:
    (tmp_path / "ca one.pem").touch()
    (tmp_path / "other").touch()
    assert " ".join(sorted(completed("modemtls", "get", "u", "--cafile", f"{tmp_path}/o"))) == f"{tmp_path}/other"
    assert completed("modemtls", "profile", "check", "a", f"{tmp_path}/o") == {f"{tmp_path}/other"}


@pytest.mark.parametrize(("shell", "script"), [("bash", bash), ("zsh", zsh), ("fish", fish)])
def test_completion_scripts_parse(shell: str, script, tmp_path: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"needs the program {shell}, which is not installed")
    path = tmp_path / "script"
    path.write_text(script())
    done = subprocess.run([program, "-n", str(path)], capture_output=True, text=True, check=False, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("script", [bash, zsh, fish])
def test_completion_scripts_know_every_command_and_option(script) -> None:
    text = script()
    for command in COMMANDS:
        assert command.words[-1] in text
        for item in command.arguments:
            for flag in item.flags:
                if flag.startswith("--"):
                    assert flag[2:] in text


# -- start-up ------------------------------------------------------------------------------------------------------


def test_help_starts_fast() -> None:
    """The aim is under 6 empty interpreters; the alarm is set where only a heavy import can ring it."""

    def cost(*arguments: str) -> float:
        """Processor time (s): what else the machine does costs others."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # In turns, so that a busy cache meets both; the least is what it costs in itself.
    both = [(cost("-m", "modemtls", "--help"), cost("-c", "pass")) for _ in range(7)]
    assert min(ours for ours, _ in both) < 10 * min(empty for _, empty in both)


def test_help_imports_little() -> None:
    """That an import crept in shows in the number of modules on any machine."""
    code = (
        "import sys\nbefore = set(sys.modules)\nfrom modemtls.cli.main import main\nmain(['--help'])\n"
        "sys.exit(' '.join(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    loaded = done.stderr.split()
    ours = {name for name in loaded if name.startswith("modemtls")}
    assert ours == {"modemtls", *(f"modemtls.cli{name}" for name in ("", ".files", ".main", ".parser", ".table"))}
    assert len(loaded) < 75, "argparse, dataclasses and difflib with all that they import themselves are 50"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom modemtls.cli.main import main\nmain(['--help'])\n"
        "heavy = {'ssl', 'yaml', 'serial', 'http.client', 'tomllib', 'asyncio', 'logging'} & set(sys.modules)\n"
        "sys.exit(','.join(sorted(heavy)) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# -- streams -------------------------------------------------------------------------------------------------------

PROGRAM = f"{sys.executable} -W error -m modemtls"


@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        ("profiles --names >/dev/full", 1, "modemtls: standard output: No space left on device\n"),
        ("--help >/dev/full", 1, "modemtls: standard output: No space left on device\n"),
        ("profiles --names >&-", 1, "modemtls: standard output: Bad file descriptor\n"),
        ("-p /dev/absent info >&- 2>&-", 1, ""),
        ("-p /dev/absent terminal <&-", 1, "modemtls: /dev/absent: no such port\n"),
        ("completion bash | true; exit ${PIPESTATUS[0]}", None, ""),
        ("--help >/dev/null", 0, ""),
    ],
)
def test_streams_that_are_full_closed_or_gone(line: str, code: int | None, told: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        ["bash", "-c", f"{PROGRAM} {line}"], capture_output=True, text=True, check=False, timeout=20, env=environment
    )
    assert done.stderr == told
    assert done.returncode in ({0, 141} if code is None else {code})


def test_a_closed_stdout_never_becomes_the_port(tmp_path: Path) -> None:
    """Were the number free, the next file opened would get it, and what is printed would be sent to the modem."""
    master, slave = os.openpty()
    try:
        os.set_blocking(master, False)
        done = subprocess.run(
            ["bash", "-c", f"echo AT | {PROGRAM} -p {os.ttyname(slave)} --timeout 0.1 terminal >&-"],
            capture_output=True, check=False, timeout=20,
        )  # fmt: skip
        assert done.returncode == 1
        try:
            sent = os.read(master, 100)
        except BlockingIOError:
            sent = b""
        assert sent in {b"", b"AT\r"}
    finally:
        os.close(master)
        os.close(slave)


@pytest.mark.parametrize("url", ["http://a,b/", 'https://a"b/', "http://" + "x" * 300])
def test_a_host_that_is_none_in_an_address_is_wrong_usage(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "host" in refused(capsys, "-p", "/dev/absent", "get", url, "--no-verify")


def test_a_story_without_a_profile_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "some.at"
    path.write_text("# source: nowhere\n# evidence: manual\n\n> AT\n< OK\n")
    main(["explain", str(path)])
    assert capsys.readouterr().out.splitlines()[0] == f"{path}, with no profile that knows it"
