"""The command line carries data: get and connect, as a program and as a person would use them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pexpect
import pytest

from modemtls.sim.process import ModemProcess
from tests.support import servers
from tests.support.command_line import (
    ALL,
    EVERY_BYTE,
    NAME,
    PROGRAM,
    Site,
    one_line,
    plain_environment_fixture,  # noqa: F401
    run,
    site_fixture,  # noqa: F401
    spawn,
)

# -- get -----------------------------------------------------------------------------------------------------------


def test_get_fetches_a_page_byte_for_byte(site: Site, tmp_path: Path) -> None:
    out = tmp_path / "page"
    done = site.run("get", f"https://{NAME}/page", "-o", out, *site.tls())
    assert done.returncode == 0, done.stderr
    assert done.stdout == b""
    assert out.read_bytes() == bytes(ALL)
    done = site.run("get", f"https://{NAME}/page", *site.tls())
    assert (done.returncode, done.stdout) == (0, bytes(ALL))
    assert done.stderr == b"modemtls: 38.4 kB, TLS by the modem\n"


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
    if command[0] == "credentials":
        site.run("get", f"https://{NAME}/page", *site.tls())  # so that there is one to list
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


def test_a_person_talks_to_a_server(site: Site) -> None:
    with servers.openssl_server(site.folder, site.leaf) as port:
        modem = ModemProcess("quectel-bg95", "--variant", "start=running", "--map", f"{NAME}=127.0.0.1:{port}")
        with modem:
            child = spawn("-p", modem.path, "connect", NAME, "4433", *site.tls(), "--linger", "0.2")
            # The progress line is gone.
            child.expect(rf"\.\.\.\r\x1b\[Kmodemtls: connected to {NAME} port 4433, TLS by the modem\r\n")
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
