"""connect, get and info: who secures it, keys of both sides, sessions that outlive a run, no extra installed."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modemtls.sim import embedded
from tests.support import servers
from tests.support.command_line import (
    ALL,
    KNOWN,
    NAME,
    PROGRAM,
    Site,
    one_line,
    plain_environment_fixture,  # noqa: F401
    site_fixture,  # noqa: F401
)
from tests.support.contract_peers import Peer, tls_peer
from tests.support.here import here, one_after_the_other
from tests.support.pki import Pki

KEY = "00ff112233445566778899aabbccddee"


def status(done: subprocess.CompletedProcess[bytes]) -> str:
    """What was said about the connection of a run that succeeded."""
    assert done.returncode == 0, done.stderr
    lines = done.stderr.decode().splitlines()
    return next(line for line in lines if "TLS" in line)


class TestEngine:
    @pytest.mark.parametrize(
        ("options", "who"),
        [
            ([], "the modem"),
            (["--engine", "modem"], "the modem"),
            (["--engine", "auto"], "the modem"),
            (["--engine", "host"], "this host"),
            (["--engine", "auto", "--min-version", "1.3"], "this host"),
        ],
        ids=" ".join,
    )
    def test_who_secured_it_is_told(self, site: Site, options: list[str], who: str) -> None:
        said = b"there and back"
        done = site.here("connect", NAME, 7, *site.tls(), *options, "--linger", "0.05", data=said, until=said)
        assert done.stdout == said
        assert status(done) == f"modemtls: connected to {NAME} port 7, TLS by {who}"

    def test_get_tells_it_when_all_is_written(self, site: Site, tmp_path: Path) -> None:
        page = tmp_path / "page"
        get = ("get", f"https://{NAME}/page", *site.tls(), "--engine")
        done = site.here(*get, "host", "-o", page)
        assert page.read_bytes() == bytes(ALL)
        assert done.stderr.decode() == f"modemtls: 38.4 kB in {page}, TLS by this host\n"
        done = site.here(*get, "auto")
        assert (done.stdout, done.stderr) == (bytes(ALL), b"modemtls: 38.4 kB, TLS by the modem\n")

    def test_from_the_environment(self, site: Site) -> None:
        host = {**os.environ, "MODEMTLS_ENGINE": "host"}
        done = site.here("get", f"https://{NAME}/page", *site.tls(), env=host)
        assert status(done).endswith("TLS by this host")
        plain = site.here("connect", NAME, 70, "--plain", "--linger", "0.05", data=b"x", until=b"x", env=host)
        assert (plain.returncode, plain.stdout) == (0, b"x")
        assert b"without TLS" in plain.stderr

    def test_what_is_refused_is_refused_with_the_reason(self, site: Site) -> None:
        host = ("--engine", "host")
        one_line(site.here("get", "https://other.example/page", *site.tls(), *host), "certificate of other.example")
        one_line(site.here("get", f"https://{NAME}/absent", *site.tls(), *host), "404")
        done = site.here("get", f"https://{NAME}:9/", *site.tls(), *host)
        assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
        assert b"9 of the 100" in done.stderr
        done = site.here("get", "https://other.example/page", *site.tls(), *host, "--no-check-hostname")
        assert done.stdout == bytes(ALL)

    def test_a_modem_that_cannot_names_the_option(self, site: Site) -> None:
        one_line(site.here("get", f"https://{NAME}/", *site.tls(), "--alpn", "h2"), "alpn", "--engine host")
        psk = ("--psk-identity", "gateway", "--psk-file", os.devnull)
        one_line(site.here("connect", NAME, 7, *psk), "/dev/null: holds no pre-shared key")

    def test_the_store_of_this_machine(self, site: Site) -> None:
        trusting = {**os.environ, "SSL_CERT_FILE": str(site.pki.ca)}
        get = ("get", f"https://{NAME}/page", "--engine", "host", "--system-trust")
        assert site.here(*get, env=trusting).stdout == bytes(ALL)
        one_line(site.here(*get), "certificate")


def test_without_the_extra_it_is_named(site: Site, tmp_path: Path) -> None:
    (tmp_path / "OpenSSL").mkdir()
    (tmp_path / "OpenSSL" / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'OpenSSL'\")\n")
    bare = {**os.environ, "PYTHONPATH": str(tmp_path)}
    get = ("get", f"https://{NAME}/page", *site.tls())
    lines = (
        (*get, "--engine", "host"),
        (*get, "--engine", "auto", "--alpn", "h2"),
        ("connect", NAME, 7, *site.tls(), "--engine", "host"),
        get,
        ("info",),
        ("info", "--json"),
    )
    runs = one_after_the_other(*(("-p", site.modem.path, *KNOWN, *line) for line in lines), env=bare)
    host, alpn, connected, page, info, told = runs
    one_line(host, "pip install 'modemtls[host]'")
    one_line(alpn, "alpn", "pip install 'modemtls[host]'")
    one_line(connected, "pip install 'modemtls[host]'")
    assert page.stdout == bytes(ALL)  # the modem needs none of it
    assert b"--engine host" in info.stdout
    assert b"pip install 'modemtls[host]'" in info.stdout
    assert json.loads(told.stdout)["engines"] == ["modem"]


def test_info_tells_capabilities_and_engines(site: Site) -> None:
    told = json.loads(site.here("info", "--json").stdout)
    assert told["engines"] == ["modem", "host"]
    assert "1.2" in told["capabilities"]["tls"]
    text = site.here("info").stdout.decode()
    rows = dict(line.split(maxsplit=1) for line in text.splitlines() if line.startswith(("can", "cannot")))
    for name, value in told["capabilities"].items():
        assert name in rows["cannot" if value is False else "can"]


@pytest.mark.parametrize(
    ("model", "told", "said"),
    [
        (
            "nordic-slm",
            {"poll_period": 0.5, "local_port_told": [], "datagram_whole": {"dtls": 575, "udp": 575}},
            ["no notice: asked for every 0.5 s", "not told: known only where it was chosen", "dtls 575, udp 575 bytes"],
        ),
        (
            "quectel-bg96",
            {"poll_period": None, "local_port_told": ["tls", "tcp", "udp"], "datagram_whole": {"udp": 1500}},
            ["the modem gives notice", "told for tls/tcp/udp", "udp 1500 bytes"],
        ),
    ],
)
def test_info_tells_how_sockets_behave(model: str, told: dict, said: list[str]) -> None:
    command = [sys.executable, "-m", "modemtls", "-p", f"sim:{model}", "info"]
    done = [subprocess.run([*command, *more], capture_output=True, check=True).stdout for more in ([], ["--json"])]
    assert json.loads(done[1])["sockets"] == told
    rows = done[0].decode().splitlines()
    for label, text in zip(("received data", "local port", "whole datagrams"), said, strict=True):
        (row,) = [row for row in rows if row.startswith(label)]
        assert text in row


# -- keys of both sides ------------------------------------------------------------------------------------------------


@pytest.fixture
def key(tmp_path: Path) -> list[str]:
    path = tmp_path / "key.hex"
    path.write_text(f"{KEY}\n")
    return ["--psk-identity", "gateway", "--psk-file", str(path)]


@pytest.mark.server
def test_a_key_of_both_sides(pki: Pki, tmp_path: Path, key: list[str]) -> None:
    options = ("-nocert", "-psk_identity", "gateway", "-psk", KEY, "-tls1_2")
    with (
        servers.openssl_server(tmp_path, pki.leaf(NAME), *options) as port,
        embedded.open("quectel-bg95", {"map": f"{NAME}=127.0.0.1:{port}", "start": "running"}) as modem,
    ):
        connect = ["-p", modem.path, *KNOWN, "connect", NAME, port, "--linger", "0.05"]

        def said(*more: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
            back = b"sdrawkcab\n"
            return here(*connect, *more, data=b"backwards\n", until=back, env={**os.environ, **environment})

        done = said(*key, "--engine", "auto")
        assert (done.stdout, status(done)[-16:]) == (b"sdrawkcab\n", "TLS by this host")
        done = said("--engine", "host", MODEMTLS_PSK_IDENTITY="gateway", MODEMTLS_PSK=KEY)
        assert done.stdout == b"sdrawkcab\n"
        wrong = said("--engine", "host", MODEMTLS_PSK_IDENTITY="gateway", MODEMTLS_PSK=KEY[2:])
        line = one_line(wrong, "handshake")
        assert KEY[2:] not in line
        one_line(said(*key), "key", "--engine host")  # by the modem


# -- sessions ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", name="peer")
def peer_fixture(pki: Pki) -> Iterator[tuple[Peer, str]]:
    with tls_peer(pki.leaf(NAME)) as peer:
        options = {"map": f"{NAME}=127.0.0.1:{peer.port}", "start": "running"}
        with embedded.open("quectel-bg95", options) as modem:
            yield peer, modem.path


@pytest.fixture
def session(peer: tuple[Peer, str], pki: Pki, tmp_path: Path):
    """Connect with a session file; say what was told of the session, and what the server knows of it."""
    path = tmp_path / "session"

    def connect(*options: str, file: Path = path, code: int = 0) -> tuple[str, bool | None]:
        at = ["-p", peer[1], *KNOWN, "connect", NAME, peer[0].port, "--cafile", pki.ca, "--linger", "0.05"]
        done = here(*at, "--session-file", file, *options, data=b"hello", until=b"hello")
        assert done.returncode == code, done.stderr
        told = done.stderr.decode()
        if code:
            return told, None
        assert done.stdout == b"hello"
        return status(done).rpartition(", ")[2], peer[0].reused[-1]

    return connect, path


NEW, RESUMED = ("new session", False), ("session resumed", True)


def test_a_session_outlives_the_run_and_is_told_truthfully(session) -> None:
    connect, path = session
    path.write_bytes(b"mtls\x01 and no more")
    assert connect("--engine", "host") == NEW
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert connect("--engine", "host") == RESUMED
    path.write_bytes(path.read_bytes()[:-3])  # damaged
    assert connect("--engine", "host") == NEW
    assert os.listdir(path.parent) == [path.name]


def test_get_keeps_a_session_as_well(site: Site, tmp_path: Path) -> None:
    get = ("get", f"https://{NAME}/page", *site.tls(), "--engine", "host", "--session-file", tmp_path / "session")
    assert [status(site.here(*get)).rpartition(", ")[2] for _ in range(2)] == ["new session", "session resumed"]


def test_a_session_is_for_whom_it_was_made_with(site: Site, tmp_path: Path) -> None:
    """Nothing is verified when it is resumed."""
    file = ("--engine", "host", "--session-file", tmp_path / "session")
    assert site.here("get", f"https://{NAME}/page", *site.tls(), *file).returncode == 0
    one_line(site.here("get", "https://other.example/page", *site.tls(), *file), "certificate of other.example")


def test_two_runs_cannot_have_one_session(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "session"
    connect = [*PROGRAM, "-p", site.modem.path, *KNOWN, "connect", NAME, "7", *site.tls(), "--engine", "host"]
    connect += ["--session-file", str(path)]
    first = subprocess.Popen(connect, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert first.stderr
    assert b"connected" in first.stderr.readline()
    one_line(here("-p", "/dev/absent", "get", f"https://{NAME}/", *site.tls(), "--session-file", path), "another run")
    first.terminate()
    _, err = first.communicate(timeout=15)
    assert (first.returncode, err) == (143, b"")
    assert site.here("get", f"http://{NAME}:70/").returncode == 1  # the modem is in step


def test_a_session_file_that_cannot_be(site: Site, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.write_text("somebody's notes\n")
    notes.chmod(0o644)
    for wrong, why in (
        (tmp_path, "directory"),
        (tmp_path / "in" / "it", "No such file"),
        ("/dev/null", "no file"),
        (notes, "something else than a session"),
    ):
        line = one_line(site.here("get", f"https://{NAME}/", *site.tls(), "--session-file", wrong), str(wrong))
        assert why in line
    assert (notes.read_text(), stat.S_IMODE(notes.stat().st_mode)) == ("somebody's notes\n", 0o644)
