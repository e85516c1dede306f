"""The command line against a simulated modem in a process of its own, as a program and as a person would use it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from modemtls.sim.process import ModemProcess
from tests.support import servers
from tests.support.pki import Leaf, Pki

PROGRAM = [sys.executable, "-m", "modemtls"]
EVERY_BYTE = bytes(range(256)) * 150 + b"\r\nOK\r\n+++\x1a\x1b> \r\nERROR\r\n"
ALL = random.Random(7).sample(EVERY_BYTE, len(EVERY_BYTE))
NAME = "www.example"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [n for n in os.environ if n.startswith("MODEMTLS_") and n != "MODEMTLS_REQUIRE_SERVERS"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


class Site:
    """A web server and an echo server behind one name, and a modem that finds them."""

    def __init__(self, pki: Pki, leaf: Leaf, folder: Path, modem: ModemProcess, options: list[str]) -> None:
        self.pki, self.leaf, self.folder, self.modem, self.options = pki, leaf, folder, modem, options

    def run(self, *arguments: object, data: bytes = b"", **more: object) -> subprocess.CompletedProcess[bytes]:
        command = [*PROGRAM, "-p", self.modem.path, *map(str, arguments)]
        return subprocess.run(command, input=data, capture_output=True, timeout=60, check=False, **more)  # type: ignore[call-overload]

    def tls(self) -> list[str]:
        return ["--cafile", str(self.pki.ca)]


@pytest.fixture(scope="module")
def site(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("web")
    (folder / "page").write_bytes(bytes(ALL))
    leaf = pki.leaf(NAME)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert, leaf.key)

    def short(stream: ssl.SSLSocket) -> None:
        stream.recv(4096)
        stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")

    def leaving(stream: ssl.SSLSocket) -> None:
        stream.recv(4096)
        stream.sendall(b"bye\n")

    with contextlib.ExitStack() as stack:
        web = stack.enter_context(servers.https(leaf, folder))
        echo = stack.enter_context(servers.tls_service(context, servers.echo))
        cut = stack.enter_context(servers.tls_service(context, short))  # type: ignore[arg-type]
        plain = stack.enter_context(servers.tls_service(None, servers.echo))
        left = stack.enter_context(servers.tls_service(context, leaving))  # type: ignore[arg-type]
        maps = {f"{NAME}:443": web, f"{NAME}:7": echo, f"{NAME}:9": cut, f"{NAME}:70": plain, "other.example": web}
        maps[f"{NAME}:10"] = left
        options = [o for name, port in maps.items() for o in ("--map", f"{name}=127.0.0.1:{port}")]
        modem = stack.enter_context(ModemProcess("quectel-bg95", "--variant", "start=running", *options))
        yield Site(pki, leaf, folder, modem, options)


def one_line(done: subprocess.CompletedProcess[bytes], *words: str) -> str:
    """The only line of stderr of a run that failed, which names these words."""
    text = done.stderr.decode()
    assert done.returncode == 1, text
    assert done.stdout == b""
    assert text.count("\n") == 1, text
    assert text.endswith("\n")
    assert text.startswith("modemtls: ")
    for word in words:
        assert word in text
    return text


# -- get -----------------------------------------------------------------------------------------------------------


def test_get_fetches_a_page_byte_for_byte(site: Site, tmp_path: Path) -> None:
    out = tmp_path / "page"
    done = site.run("get", f"https://{NAME}/page", "-o", out, *site.tls())
    assert done.returncode == 0, done.stderr
    assert done.stdout == b""
    assert out.read_bytes() == bytes(ALL)
    done = site.run("get", f"https://{NAME}/page", *site.tls())
    assert (done.returncode, done.stdout, done.stderr) == (0, bytes(ALL), b"")


def test_get_fails_in_one_line_and_leaves_no_file(site: Site, tmp_path: Path) -> None:
    out = tmp_path / "page"
    one_line(site.run("get", f"https://{NAME}/absent", "-o", out, *site.tls()), "404")
    one_line(site.run("get", f"https://{NAME}:9/", "-o", out, *site.tls()), "9 of the 100")
    one_line(site.run("get", "https://other.example/page", "-o", out, *site.tls()), "other.example", "566")
    one_line(site.run("get", "https://absent.invalid/", "-o", out, *site.tls()), "absent.invalid")
    assert list(tmp_path.iterdir()) == []


FULL = "No space left on device"


@pytest.mark.parametrize(
    "command",
    [["get", f"https://{NAME}/page"], ["connect", NAME, "7", "--linger", "0.3"], ["info", "--json"]],
    ids=lambda c: c[0],
)
def test_an_output_that_is_closed_is_named(site: Site, command: list[str], tmp_path: Path) -> None:
    tls = site.tls() if command[0] in {"get", "connect"} else []
    line = [*PROGRAM, "-p", site.modem.path, *command, *tls]
    done = subprocess.run(
        ["bash", "-c", '"$@" >&-', "bash", *line], input=b"x" * 10, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1] == b"modemtls: standard output: Bad file descriptor"
    out = tmp_path / "page"
    if command[0] == "get":  # nothing goes there
        done = subprocess.run(
            ["bash", "-c", '"$@" >&-', "bash", *line, "-o", out], capture_output=True, timeout=60, check=False
        )
        assert (done.returncode, out.read_bytes()) == (0, bytes(ALL)), done.stderr


def test_a_page_that_could_not_be_written_is_not_reported_as_written(site: Site) -> None:
    done = site.run("get", f"https://{NAME}/page", "-o", "/dev/full", *site.tls())
    assert one_line(done) == f"modemtls: /dev/full: {FULL}\n"


@pytest.mark.parametrize(
    "command",
    [
        ["get", f"https://{NAME}/page"], ["connect", NAME, 7], ["info"], ["info", "--json"], ["credentials", "list"],
        ["profiles"], ["profiles", "--json"], ["profile", "show", "quectel-bg95", "--flat"], ["--help"],
    ],
    ids=lambda words: "-".join(map(str, words)).replace("/", "-"),
)  # fmt: skip
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_a_full_output_is_named(site: Site, command: list[object], unbuffered: str) -> None:
    tls = site.tls() if command[0] in {"get", "connect"} else []
    with open("/dev/full", "wb") as out:
        done = subprocess.run(
            [*PROGRAM, "-p", site.modem.path, *map(str, command), *tls],
            input=b"x" * 1000, stdout=out, stderr=subprocess.PIPE, timeout=60, check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[-1] == f"modemtls: standard output: {FULL}"
    assert b"Traceback" not in done.stderr


def test_a_full_or_forbidden_transcript_is_named(site: Site, tmp_path: Path) -> None:
    one_line(site.run("record", "/dev/full", "--", *PROGRAM, "profiles", "--names"), f"/dev/full: {FULL}")
    one_line(site.run("record", tmp_path, "--", *PROGRAM, "profiles"), f"{tmp_path}: Is a directory")
    one_line(site.run("get", f"https://{NAME}/page", *site.tls(), "-o", tmp_path), f"{tmp_path}: Is a directory")


def test_no_verify_is_said_in_so_many_words(site: Site) -> None:
    assert site.run("get", "https://other.example/page", "--no-check-hostname", *site.tls()).stdout == bytes(ALL)
    assert site.run("get", "https://other.example/page", "--no-verify").stdout == bytes(ALL)


def test_files_that_are_wrong(site: Site, tmp_path: Path) -> None:
    url = f"https://{NAME}/page"
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("hello")
    other = site.pki.client()
    one_line(site.run("get", url, "--cafile", nothing), "PEM")
    one_line(site.run("get", url, "--cafile", tmp_path / "absent"), str(tmp_path / "absent"), "No such file")
    one_line(site.run("get", url, *site.tls(), "-o", tmp_path / "no" / "where"), "no/where")
    one_line(site.run("get", url, *site.tls(), "--cert", other.cert, "--key", site.leaf.key), "key")


@pytest.mark.server
def test_nginx_sees_version_name_and_client_certificate(site: Site, tmp_path: Path) -> None:
    client = site.pki.client()
    with (
        servers.nginx(tmp_path, site.leaf, site.pki.ca, site.folder) as port,
        ModemProcess("quectel-bg95", "--map", f"{NAME}=127.0.0.1:{port}") as modem,
    ):
        get = ("-p", modem.path, "get", *site.tls())
        assert run(*get, f"https://{NAME}/page").stdout == bytes(ALL)
        told = run(*get, f"https://{NAME}/tls", "--cert", client.cert, "--key", client.key).stdout.decode().split()
        assert (told[0], told[2], told[3]) == ("TLSv1.2", NAME, "SUCCESS")
        assert run(*get, f"https://{NAME}/tls").stdout.decode().split()[3] == "NONE"
        files = json.loads(run("-p", modem.path, "credentials", "list", "--json").stdout)
        assert len(files) == 3


def test_what_the_modem_cannot_do_is_refused_with_ways_out(site: Site) -> None:
    line = one_line(site.run("connect", NAME, 7, *site.tls(), "--min-version", "1.3"), "1.3", "--min-version 1.2")
    assert "min_version" not in line
    one_line(site.run("connect", NAME, 7, *site.tls(), "--alpn", "h2"), "alpn")


@pytest.mark.parametrize("host", ['a"b', "a,b", "a\r\nAT", "a\\b", "a b", "-", "x" * 300])
def test_a_host_that_cannot_be_one(host: str, site: Site) -> None:
    done = site.run("connect", host, 443, *site.tls())
    if host == "-":  # letters that are allowed, and no name: the modem says so
        one_line(done, "host")
        return
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert b"HOST" in done.stderr


def test_a_person_sees_a_bar_and_may_lose_patience(site: Site, tmp_path: Path) -> None:
    out = tmp_path / "page"
    url = f"https://{NAME}/page"
    child = spawn("-p", site.modem.path, "get", url, "-o", str(out), *site.tls())
    child.expect("100 %")
    child.expect("38.4 kB in")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    out.unlink()

    (web,) = re.findall(rf"{NAME}:443=(\S+)", " ".join(site.options))
    with ModemProcess("quectel-bg95", "--baud", "115200", "--map", f"{NAME}={web}") as slow:
        child = spawn("-p", slow.path, "get", url, "-o", str(out), *site.tls())
        child.expect(r"\[#+\.*\] +\d+ %")
        child.sendintr()
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 130
        assert "Traceback" not in child.before
        assert list(tmp_path.iterdir()) == []
        done = run("-p", slow.path, "connect", "absent.invalid", 1, "--plain")
        one_line(done, "absent.invalid")  # the modem answers, and in step


# -- connect -------------------------------------------------------------------------------------------------------


def test_connect_passes_every_byte_both_ways(site: Site) -> None:
    done = site.run("connect", NAME, 7, *site.tls(), "--linger", "0.5", data=EVERY_BYTE)
    assert done.returncode == 0, done.stderr
    assert done.stdout == EVERY_BYTE
    assert b"connected to www.example port 7" in done.stderr


def test_connect_without_tls(site: Site) -> None:
    done = site.run("connect", NAME, 70, "--plain", "--linger", "0.3", data=b"in the clear")
    assert (done.returncode, done.stdout) == (0, b"in the clear")
    assert b"without TLS" in done.stderr


def test_what_the_peer_said_last_arrives_although_stdin_stays_open(site: Site) -> None:
    command = [*PROGRAM, "-p", site.modem.path, "connect", NAME, "9", *site.tls()]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"anything\n")
    process.stdin.flush()
    assert process.stdout.read().endswith(b"only this")
    assert process.wait(10) == 0
    assert process.stderr is not None
    assert b"closed by the peer" in process.stderr.read()
    process.stdin.close()
    process.stdout.close()
    process.stderr.close()


def test_what_the_peer_said_before_it_closed_arrives_although_it_did_not_take_everything(site: Site) -> None:
    done = site.run("connect", NAME, 10, *site.tls(), data=bytes(300_000))
    assert done.stdout == b"bye\n", done.stderr
    assert done.returncode == 1
    assert b"clos" in done.stderr.splitlines()[-1]
    assert done.stderr.count(b"\n") == 2  # connected, and the failure


def test_a_modem_that_vanishes_ends_the_connection_at_once(site: Site) -> None:
    (echo,) = re.findall(rf"{NAME}:7=(\S+)", " ".join(site.options))
    with ModemProcess("quectel-bg95", "--map", f"{NAME}={echo}") as modem:
        command = [*PROGRAM, "-p", modem.path, "connect", NAME, "7", *site.tls()]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stderr is not None
        assert b"connected" in process.stderr.readline()
    assert process.wait(5) == 1  # its stdin is still open
    _, err = process.communicate()
    assert err.count(b"\n") == 1
    assert modem.path.encode() in err


def test_a_terminated_connection_cleans_up(site: Site) -> None:
    command = [*PROGRAM, "-p", site.modem.path, "connect", NAME, "7", *site.tls()]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert b"connected" in process.stderr.readline()
    process.terminate()
    _, err = process.communicate(timeout=15)
    assert (process.returncode, err) == (143, b"")
    assert site.run("info").returncode == 0


def test_a_reader_that_goes_away_is_no_error_message(site: Site) -> None:
    command = " ".join([*PROGRAM, "-p", site.modem.path, "get", f"https://{NAME}/page", *site.tls()])
    done = subprocess.run(
        ["bash", "-c", f"{command} | head -c 10 | wc -c; exit ${{PIPESTATUS[0]}}"],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == b"10"
    assert done.stderr == b""
    assert done.returncode in {0, 141}  # all of it may have fitted into the pipe


def spawn(*arguments: str) -> pexpect.spawn:
    child = pexpect.spawn(PROGRAM[0], [*PROGRAM[1:], *arguments], timeout=20, encoding="utf-8", dimensions=(24, 100))
    child.delayafterread = None
    child.delaybeforesend = None
    return child


def test_a_person_talks_to_a_server(site: Site) -> None:
    with servers.openssl_server(site.folder, site.leaf) as port:
        modem = ModemProcess("quectel-bg95", "--variant", "start=running", "--map", f"{NAME}=127.0.0.1:{port}")
        with modem:
            child = spawn("-p", modem.path, "connect", NAME, "4433", *site.tls(), "--linger", "0.2")
            child.expect(rf"\.\.\.\r\x1b\[Kmodemtls: connected to {NAME} port 4433\r\n")  # the progress line is gone
            child.sendline("hello modem")
            child.expect("medom olleh")
            child.sendline("again")
            child.expect("niaga")
            child.sendeof()
            child.expect(pexpect.EOF)
            child.close()
            assert child.exitstatus == 0


def test_ctrl_c_ends_a_connection_and_the_modem_stays_usable(site: Site) -> None:
    child = spawn("-p", site.modem.path, "connect", NAME, "7", *site.tls())
    child.expect("connected")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert "Traceback" not in child.before
    assert site.run("get", f"https://{NAME}/page", *site.tls()).stdout == bytes(ALL)


@pytest.mark.parametrize("line", ["getting into step", "AT+CGMI", "AT+QSSLCFG=?", "AT+QIACT=1", "AT+QSSLOPEN"])
def test_ctrl_c_at_any_moment(line: str) -> None:
    with ModemProcess("quectel-bg95", "--variant", "open-time=3") as modem:
        command = [*PROGRAM, "-v", "-p", modem.path, "connect", "absent.invalid", "443", "--no-verify"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stderr is not None
        while line.encode() not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out) == (130, b"")
        assert b"Traceback" not in err
        done = subprocess.run([*PROGRAM, "-p", modem.path, "info"], capture_output=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr


# -- ports and PINs ------------------------------------------------------------------------------------------------


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False, env={**os.environ, **environment},
    )  # fmt: skip


def test_ports_that_are_none(tmp_path: Path) -> None:
    one_line(run("-p", "/dev/absent", "info"), "/dev/absent")
    one_line(run("-p", "/dev/null", "info"), "/dev/null")
    one_line(run("-p", "sim:absent", "info"), "absent", "quectel-bg95")
    one_line(run("-p", "socket://127.0.0.1:1", "info"), "refused")
    one_line(run("-p", tmp_path, "terminal"), str(tmp_path))


def test_a_port_with_nobody_behind_it() -> None:
    master, slave = os.openpty()
    try:
        one_line(run("-p", os.ttyname(slave), "info"), "no modem there")
    finally:
        os.close(slave)
        os.close(master)


def test_a_busy_port_says_who_has_it(site: Site) -> None:
    command = [*PROGRAM, "-p", site.modem.path, "terminal"]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write(b"AT\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == b"AT\n"
        one_line(run("-p", site.modem.path, "info"), "in use", str(holder.pid))
    finally:
        holder.communicate(timeout=10)


def test_the_pin_comes_from_a_file_and_a_wrong_one_is_told(tmp_path: Path) -> None:
    wrong, right, silly = tmp_path / "wrong", tmp_path / "right", tmp_path / "silly"
    wrong.write_text("9876\n")
    right.write_text("1234\n")
    silly.write_text("12ab\n")
    with ModemProcess("quectel-bg95", "--variant", "sim=pin") as modem:
        arguments = ("-p", modem.path, "connect", "absent.invalid", "443", "--no-verify")
        one_line(run(*arguments), "SIM", "--pin-file")
        assert "12ab" not in one_line(run(*arguments, "--pin-file", silly), "PIN")
        one_line(run(*arguments, "--pin-file", tmp_path / "absent"), "absent", "No such file")
        assert "9876" not in one_line(run(*arguments, "--pin-file", wrong), "PIN was refused")
        one_line(run(*arguments, "--pin-file", right), "absent.invalid", "name")
        assert json.loads(run("-p", modem.path, "info", "--json").stdout)["status"]["sim"] == "ready"


def test_a_wrong_pin_costs_one_try_in_however_many_runs(tmp_path: Path, state_folder: Path) -> None:
    wrong, right = tmp_path / "wrong", tmp_path / "right"
    wrong.write_text("9876\n")
    right.write_text("1234\n")
    trace = tmp_path / "trace"
    with ModemProcess("quectel-bg95", "--variant", "sim=pin", "--trace", str(trace)) as modem:
        arguments = ("-p", modem.path, "connect", "absent.invalid", "443", "--no-verify")
        one_line(run(*arguments, "--pin-file", wrong), "PIN was refused")
        (note,) = state_folder.iterdir()
        for _ in range(3):
            one_line(run(*arguments, "--pin-file", wrong), "refused before", f"delete {note}")
        one_line(run(*arguments, "--pin-file", right), "absent.invalid", "name")  # the SIM is not blocked
    assert trace.read_text().count("AT+CPIN=") == 2


def test_a_pin_that_cannot_be_noted_is_not_sent(tmp_path: Path, state_folder: Path) -> None:
    right, trace = tmp_path / "right", tmp_path / "trace"
    right.write_text("1234\n")
    state_folder.parent.write_text("a file where the folder should be")
    with ModemProcess("quectel-bg95", "--variant", "sim=pin", "--trace", str(trace)) as modem:
        arguments = ("-p", modem.path, "connect", "absent.invalid", "443", "--no-verify")
        one_line(run(*arguments, "--pin-file", right), "PIN is not sent", "Not a directory", "$XDG_STATE_HOME")
    assert "AT+CPIN=" not in trace.read_text()


def test_verbose_shows_the_dialogue_without_secrets(tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    pin.write_text("1234\n")
    with ModemProcess("quectel-bg95", "--variant", "sim=pin") as modem:
        done = run("-p", modem.path, "-v", "connect", "absent.invalid", "443", "--no-verify", "--pin-file", pin)
    text = done.stderr.decode()
    assert "--> AT+CPIN=" in text
    assert "1234" not in text.replace("0X", "")
    assert done.returncode == 1


# -- info, credentials ---------------------------------------------------------------------------------------------


def test_info_for_people_and_for_programs(site: Site) -> None:
    told = json.loads(site.run("info", "--json").stdout)
    assert told["profile"] == "quectel-bg95"
    assert told["capabilities"]["hostname_check"] is True
    assert told["capabilities"]["psk"] is False
    text = site.run("info").stdout.decode()
    assert re.search(r"^profile +quectel-bg95$", text, re.MULTILINE)
    assert told["modem"]["imei"] in text


def test_info_without_a_port_lists_candidates(tmp_path: Path) -> None:
    done = run("info", "--json")
    assert done.returncode == 0
    assert isinstance(json.loads(done.stdout)["candidates"], list)


def test_the_port_may_come_from_the_environment_or_a_file(site: Site, tmp_path: Path) -> None:
    assert run("info", MODEMTLS_PORT=site.modem.path).returncode == 0
    config = tmp_path / "c.toml"
    config.write_text(f'port = "{site.modem.path}"\ncafile = "{site.pki.ca}"\n')
    done = run("get", f"https://{NAME}/page", MODEMTLS_CONFIG=str(config))
    assert done.stdout == bytes(ALL)


def test_credentials_are_listed_and_removed(site: Site) -> None:
    assert site.run("credentials", "purge").returncode == 0
    assert json.loads(site.run("credentials", "list", "--json").stdout) == []
    site.run("get", f"https://{NAME}/page", *site.tls())
    (only,) = json.loads(site.run("credentials", "list", "--json").stdout)
    assert only["name"].startswith("mtls-")
    assert only["name"].encode() in site.run("credentials", "list").stdout
    one_line(site.run("credentials", "remove", "mtls-" + "0" * 20), "0000")
    one_line(site.run("credentials", "remove", "somebody-elses.pem"), "somebody-elses.pem")
    assert site.run("credentials", "remove", only["name"]).returncode == 0
    assert site.run("credentials", "list").stdout == b""


# -- at the AT level -----------------------------------------------------------------------------------------------


def test_a_person_at_the_console() -> None:
    with ModemProcess("quectel-bg95", "--variant", "start=running") as modem:
        child = spawn("-p", modem.path, "terminal")
        child.expect("Ctrl-D")
        child.expect("at> ")
        child.send("ATX\x7fI\r")  # a typing error, taken back
        child.expect("Quectel\r\n")
        child.expect("OK\r\n")
        assert "ATI\r\n" not in child.before  # the modem's echo is not a second line
        child.send("AT+FOO\r")
        child.expect("ERROR\r\n")
        child.send('AT+QFUPL="a",3\r')
        child.expect("CONNECT\r\n")
        child.expect("data> ")
        child.send("abc\r")
        child.expect(r"\+QFUPL: 3,")
        child.expect("OK\r\n")
        child.send("\x1b[A\x1b[A\x1b[A\r")  # third line back: ATI was before FOO and QFUPL, "abc" is in between
        child.expect("ERROR\r\n")
        child.send("AT+CFUN=1,1\rhalf a li")
        child.expect("RDY\r\n")  # by itself, while a line is being typed
        child.expect("at> half a li")
        child.send("\x03")
        child.expect(r"half a li\^C")
        child.send("\x1d")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0


def test_pasted_lines_wait_for_each_other() -> None:
    """A modem drops what comes while a command runs, or takes it for a reason to break the command off."""
    with ModemProcess("quectel-bg95", "--variant", "start=running", "--variant", "latency=0.2") as modem:
        child = spawn("-p", modem.path, "terminal")
        child.expect("at> ")
        child.send("AT+CGMM\rAT+FOO\rAT+CGMI\r")
        for line in ("AT\\+CGMM", "BG95-M3", "OK", "AT\\+FOO", "ERROR", "AT\\+CGMI", "Quectel", "OK"):
            child.expect(line + "\r\n")
        child.send("AT\rAT+CGMM\r")
        child.expect("at> AT\r\n")
        child.send("\x03")  # takes back what has not gone out yet, and goes on
        child.expect(r"\^C\r\n")
        child.expect("OK\r\n")
        child.send("\x04")
        child.expect(pexpect.EOF)
        assert "BG95" not in child.before
        child.close()
        assert child.exitstatus == 0


def test_the_console_on_a_terminal_ends_with_ctrl_c_and_puts_the_terminal_back() -> None:
    with ModemProcess("quectel-bg95", "--variant", "start=running") as modem:
        child = pexpect.spawn("bash", ["-c", f"{' '.join(PROGRAM)} -p {modem.path} terminal; echo code $?; stty -a"])
        child.delayafterread = None
        child.expect("at> ")
        child.send("\x03")
        child.expect("code 130")
        child.expect(" icanon")
        child.expect(" echo ")
        child.expect(pexpect.EOF)
        child.close()


def test_the_console_on_a_pipe(site: Site) -> None:
    done = site.run("terminal", data=b"AT+CGMM\nAT+FOO\nAT+CIMI")
    assert done.returncode == 0
    lines = done.stdout.decode().splitlines()
    assert lines[:5] == ["AT+CGMM", "BG95-M3", "OK", "AT+FOO", "ERROR"]
    assert lines[5] == "AT+CIMI"
    assert lines[-1] == "OK"


def test_a_modem_that_vanishes_under_the_console() -> None:
    with ModemProcess("quectel-bg95", "--variant", "start=running", "--fault", "unplug@command 2") as modem:
        done = subprocess.run(
            [*PROGRAM, "-p", modem.path, "terminal"],
            input=b"AT\nAT+CSQ\nAT\n", capture_output=True, timeout=30, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert b"went away" in done.stderr


def test_no_answer_on_a_pipe_is_a_failure() -> None:
    master, slave = os.openpty()
    try:
        done = subprocess.run(
            [*PROGRAM, "-p", os.ttyname(slave), "--timeout", "0.2", "terminal"],
            input=b"AT\n", capture_output=True, timeout=30, check=False,
        )  # fmt: skip
    finally:
        os.close(slave)
        os.close(master)
    assert done.returncode == 1
    assert b"no answer" in done.stderr


def test_a_session_is_recorded_explained_and_replayed(site: Site, tmp_path: Path) -> None:
    paper = tmp_path / "session.at"
    done = site.run("record", paper, "--", *PROGRAM, "info", "--json")
    assert done.returncode == 0, done.stderr
    first = json.loads(done.stdout)
    text = paper.read_text()
    assert text.startswith("# source: ")
    assert "> AT+CGMM\\r\n" in text

    done = run("explain", paper)
    assert done.returncode == 0, done.stderr
    assert b"BG95-M3" in done.stdout

    player = subprocess.Popen([*PROGRAM, "replay", str(paper)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert player.stdout is not None
    path = player.stdout.readline().decode().strip()
    again = run("-p", path, "info", "--json")
    assert json.loads(again.stdout) == first
    _, err = player.communicate(timeout=10)
    assert player.returncode == 0, err


def test_recording_for_whoever_comes_until_ctrl_c(site: Site, tmp_path: Path) -> None:
    paper = tmp_path / "session.at"
    command = [*PROGRAM, "-p", site.modem.path, "record", str(paper)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    path = process.stdout.readline().decode().strip()
    assert run("-p", path, "info").returncode == 0
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 0, err
    assert run("explain", paper).returncode == 0


def test_the_recorded_commands_exit_code_is_the_exit_code(site: Site, tmp_path: Path) -> None:
    assert site.run("record", tmp_path / "a.at", "--", "sh", "-c", "exit 7").returncode == 7
    one_line(site.run("record", tmp_path / "no" / "a.at", "--", "true"), "no/a.at")
    one_line(site.run("record", tmp_path / "b.at", "--", "no-such-program"), "no-such-program")


def test_a_secret_does_not_get_onto_paper(tmp_path: Path) -> None:
    pin, paper = tmp_path / "pin", tmp_path / "session.at"
    pin.write_text("1234\n")
    with ModemProcess("quectel-bg95", "--variant", "sim=pin") as modem:
        spoken = [*PROGRAM, "--pin-file", pin, "connect", "a.invalid", 1, "--no-verify"]
        assert run("-p", modem.path, "record", paper, "--", *spoken).returncode == 1
    text = paper.read_text()
    assert 'AT+CPIN="{4 bytes redacted}"' in text
    assert "1234" not in text


def test_a_transcript_that_is_none_and_bytes_that_belong_to_nothing(tmp_path: Path) -> None:
    one_line(run("explain", tmp_path / "absent.at"), "absent.at")
    bad = tmp_path / "bad.at"
    bad.write_text("# source: x\n? what\n")
    one_line(run("explain", bad), "bad.at", "2")
    bad.write_text("# source: x\n# evidence: composed\n> AT\\r\n< \\r\\nOK\\r\\n\\x01\\x02\\x03\n")
    done = run("explain", bad)
    assert done.returncode == 1
    assert b"belong to nothing" in done.stdout
    assert done.stderr.count(b"\n") == 1


def test_a_replay_notices_when_the_host_says_something_else(tmp_path: Path) -> None:
    paper = tmp_path / "a.at"
    paper.write_text("# source: x\n# evidence: composed\n> AT\\r\n< \\r\\nOK\\r\\n\n> AT+CGMM\\r\n")
    player = subprocess.Popen([*PROGRAM, "replay", str(paper)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert player.stdout is not None
    path = player.stdout.readline().decode().strip()
    command = [*PROGRAM, "-p", path, "terminal"]
    subprocess.run(command, input=b"AT\nAT+CSQ\n", capture_output=True, timeout=30, check=False)
    _, err = player.communicate(timeout=10)
    assert player.returncode == 1
    assert err.count(b"\n") == 1
    assert b"AT+C'" in err
    assert b"SQ" in err


# -- profiles and the simulator ------------------------------------------------------------------------------------


def test_profiles_for_people_and_for_programs() -> None:
    listed = json.loads(run("profiles", "--json").stdout)
    assert {"quectel-bg95", "quectel-bg96"} <= {one["name"] for one in listed}
    for one in listed:
        assert {"name", "vendor", "models", "capabilities", "limits"} <= set(one)
        assert not one["name"].endswith("common")
    names = run("profiles", "--names").stdout.decode().split()
    assert names == [one["name"] for one in listed]
    assert all(name.encode() in run("profiles").stdout for name in names)


def test_profile_tools(tmp_path: Path) -> None:
    flat = run("profile", "show", "quectel-bg95", "--flat")
    assert flat.returncode == 0
    whole = tmp_path / "quectel-bg95.yaml"
    whole.write_bytes(flat.stdout)
    assert run("profile", "check", whole).returncode == 0
    whole.write_bytes(flat.stdout.replace(b"\ncapabilities:", b"\ncapabilites:"))
    done = run("profile", "check", whole)
    assert done.returncode == 1
    assert re.search(rb"quectel-bg95\.yaml:\d+:\d+: .*did you mean capabilities", done.stdout)
    assert done.stderr.count(b"\n") == 1
    found = json.loads(run("profile", "check", whole, "--json").stdout)
    assert {"file", "line", "column", "message", "hint"} == set(found[0])
    assert json.loads(run("profile", "schema").stdout)["$schema"]
    one_line(run("profile", "show", "absent"), "absent")


def test_a_simulated_modem_says_where_it_is_and_stops(tmp_path: Path) -> None:
    link = tmp_path / "modem"
    process = subprocess.Popen(
        [*PROGRAM, "sim", "quectel-bg95", "--link", str(link), "--variant", "start=running"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    path = process.stdout.readline().decode().strip()
    assert link.resolve() == Path(path)
    assert run("-p", link, "info").returncode == 0
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (0, b"")
    assert not link.is_symlink()


def test_wrong_use_of_the_simulator() -> None:
    for arguments in ([], ["absent"], ["quectel-bg95", "--fault", "x"], ["quectel-bg95", "--baud", "0"]):
        done = run("sim", *arguments)
        assert done.returncode == 2
        assert done.stderr.count(b"\n") == 1
        assert done.stdout == b""
