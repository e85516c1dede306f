"""The command line as a program and as a person would use it: servers behind names, and a modem that finds them."""

from __future__ import annotations

import contextlib
import os
import random
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from modemtls.sim.process import ModemProcess
from tests.support import servers
from tests.support.here import here
from tests.support.pki import Leaf, Pki

PROGRAM = [sys.executable, "-m", "modemtls"]
EVERY_BYTE = bytes(range(256)) * 150 + b"\r\nOK\r\n+++\x1a\x1b> \r\nERROR\r\n"
ALL = random.Random(7).sample(EVERY_BYTE, len(EVERY_BYTE))
NAME = "www.example"
KNOWN = ("--profile", "quectel-bg95")


@pytest.fixture(name="plain_environment", autouse=True)
def plain_environment_fixture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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

    def here(self, *arguments: object, **more: object) -> subprocess.CompletedProcess[bytes]:
        """As :meth:`run`, in this process, and without finding out what the modem is."""
        return here("-p", self.modem.path, *KNOWN, *arguments, **more)  # type: ignore[arg-type]

    def tls(self) -> list[str]:
        return ["--cafile", str(self.pki.ca)]


@pytest.fixture(name="site", scope="module")
def site_fixture(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
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


def spawn(*arguments: str) -> pexpect.spawn:
    child = pexpect.spawn(PROGRAM[0], [*PROGRAM[1:], *arguments], timeout=20, encoding="utf-8", dimensions=(24, 100))
    child.delayafterread = None
    child.delaybeforesend = None
    return child


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False, env={**os.environ, **environment},
    )  # fmt: skip
