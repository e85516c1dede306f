"""Real TLS and DTLS servers for engines, and the socket that carries an engine's bytes to them."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from modemtls.tlsengine import Engine, WantReadError
from tests.support.pki import Leaf
from tests.support.servers import free_port, need, run

T = TypeVar("T")


class Wire:
    """An engine over a socket of its own to a port of this machine."""

    def __init__(self, engine: Engine, port: int, *, datagram: bool = False) -> None:
        self.engine, self.datagram, self.port = engine, datagram, port
        self.sock = self._socket()

    def _socket(self) -> socket.socket:
        if not self.datagram:
            return socket.create_connection(("127.0.0.1", self.port), timeout=5)
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.connect(("127.0.0.1", self.port))
        return made

    def move(self) -> None:
        """Go on from another port, as after a rebinding on the way."""
        before = self.sock
        self.sock = self._socket()
        before.close()

    def pump(self, call: Callable[[], T], limit: float = 10.0) -> T:
        """Call it until it no longer waits for the peer; raises TimeoutError when the limit has passed."""
        end = time.monotonic() + limit
        while True:
            try:
                return call()
            except WantReadError:
                pass
            finally:
                self.flush()
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            due = self.engine.deadline()
            readable = select.select([self.sock], [], [], left if due is None else min(due, left))[0]
            if readable:
                self.engine.feed(self._receive())
            else:
                self.engine.on_timer()
                self.flush()

    def _receive(self) -> bytes:
        try:
            return self.sock.recv(65536)
        except ConnectionError:
            return b""

    def flush(self) -> None:
        for piece in self.engine.take():
            with contextlib.suppress(ConnectionError):
                self.sock.sendall(piece)

    def handshake(self, limit: float = 10.0) -> None:
        self.pump(self.engine.handshake, limit)

    def ask(self, data: bytes) -> bytes:
        """Write, and return the first answer."""
        self.engine.write(data)
        self.flush()
        return self.pump(self.engine.read)

    def close(self, *, notify: bool = True) -> None:
        self.engine.close(notify=notify)
        self.flush()
        self.sock.close()


@contextlib.contextmanager
def wired(engine: Engine, port: int, *, datagram: bool = False) -> Iterator[Wire]:
    """An engine that has shaken hands with whoever listens there."""
    wire = Wire(engine, port, datagram=datagram)
    try:
        wire.handshake()
        yield wire
    finally:
        wire.close()


def wait_until_bound(port: int, process: subprocess.Popen[bytes], limit: float = 5.0) -> None:
    """Wait for a UDP port of another process: nothing can be asked of it, so the kernel is."""
    end = time.monotonic() + limit
    wanted = f":{port:04X}"
    while True:
        tables = (Path("/proc/net/udp"), Path("/proc/net/udp6"))
        rows = [row.split() for table in tables for row in table.read_text().splitlines()[1:]]
        if any(row[1].endswith(wanted) for row in rows):
            return
        if process.poll() is not None:
            raise RuntimeError(f"server ended with {process.returncode}")
        if time.monotonic() > end:
            raise TimeoutError(f"nothing listens on UDP port {port}")
        time.sleep(0.01)


@contextlib.contextmanager
def bound(command: list[str], port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with run(command, port, log, wait=False) as process:
        wait_until_bound(port, process)
        yield process


@contextlib.contextmanager
def openssl_psk(folder: Path, identity: bytes, key: bytes, *options: str) -> Iterator[int]:
    """`openssl s_server -rev` with a key; its identity matters with TLS 1.3 only."""
    port = free_port()
    command = [need("openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-nocert", "-psk", key.hex(), "-rev"]
    command += ["-psk_identity", identity.decode(), "-cipher", "PSK:ECDHE-PSK:DHE-PSK:@SECLEVEL=0", *options]
    with run(command, port, folder / f"s_server-{port}.log"):
        yield port


@contextlib.contextmanager
def openssl_dtls(
    folder: Path, *options: str, mtu: int | None = 1200
) -> Iterator[tuple[int, subprocess.Popen[bytes], Path]]:
    """`openssl s_server -dtls1_2`: its stdin goes to the client, its log has what the client sends.

    Told an MTU it does not end with its stdin.
    """
    port = free_port()
    log = folder / f"s_server-{port}.log"
    command = [need("openssl"), "s_server", "-dtls1_2", "-accept", f"127.0.0.1:{port}", *options]
    command += [] if mtu is None else ["-mtu", str(mtu)]
    with bound(command, port, log) as process:
        yield port, process, log


@contextlib.contextmanager
def gnutls(folder: Path, *options: str, udp: bool = False) -> Iterator[int]:
    """`gnutls-serv --echo`."""
    port = free_port()
    command = [need("gnutls-serv"), *(["--udp"] if udp else []), "--echo", "--quiet", "-p", str(port), *options]
    with (bound if udp else run)(command, port, folder / f"gnutls-{port}.log"):
        yield port


def gnutls_leaf(leaf: Leaf) -> list[str]:
    return ["--x509certfile", str(leaf.cert), "--x509keyfile", str(leaf.key)]


def gnutls_keys(folder: Path, keys: dict[bytes, bytes]) -> list[str]:
    file = folder / "psk.txt"
    file.write_bytes(b"".join(b"%s:%s\n" % (identity, key.hex().encode()) for identity, key in keys.items()))
    return ["--pskpasswd", str(file), "--priority", "NORMAL:+PSK:+ECDHE-PSK:+DHE-PSK:+AES-128-CCM-8"]


@contextlib.contextmanager
def coap(folder: Path, *options: str, backend: str = "openssl") -> Iterator[int]:
    """libcoap's server; returns the port of its DTLS, which is the one after the one it is told."""
    program = need(f"coap-server-{backend}")
    while True:
        port = free_port()
        if port < 65535:
            break
    command = [program, "-A", "127.0.0.1", "-p", str(port), *options]
    with bound(command, port + 1, folder / f"coap-{port}.log"):
        yield port + 1


@contextlib.contextmanager
def java_cid(folder: Path, key: bytes, cid: bytes | None) -> Iterator[int]:
    """BouncyCastle's DTLS server with a Connection ID of its own: an echo to where it was last called from."""
    with java_cids(folder, key, cid, count=1) as ports:
        yield ports[0]


@contextlib.contextmanager
def java_cids(folder: Path, key: bytes, cid: bytes | None, *, count: int) -> Iterator[list[int]]:
    """The same in one process with so many ports, each for one client. Its log tells who came, and the record type."""
    libraries = jars()
    source = Path(__file__).with_name("CidServer.java")
    ports = [free_port() for _ in range(count)]
    command = [need("java"), "-cp", libraries, str(source), ",".join(map(str, ports)), key.hex()]
    command += [] if cid is None else [cid.hex()]
    with run(command, ports[0], folder / f"java-{ports[0]}.log", wait=False) as process:
        for port in ports:
            wait_until_bound(port, process, limit=30)
        yield ports


def jars() -> str:
    """The class path of BouncyCastle, as .ci/fetch-mbedtls unpacks it beside the libraries."""
    import pytest

    folder = Path(os.environ.get("MODEMTLS_MBEDTLS", "/nowhere")).parents[1] / "share" / "java"
    found = [folder / f"{name}.jar" for name in ("bcprov", "bcutil", "bctls")]
    if not all(path.exists() for path in found):
        if os.environ.get("MODEMTLS_REQUIRE_SERVERS"):
            pytest.fail("no BouncyCastle beside MODEMTLS_MBEDTLS, and MODEMTLS_REQUIRE_SERVERS is set")
        pytest.skip("no BouncyCastle beside MODEMTLS_MBEDTLS")
    return ":".join(map(str, found))
