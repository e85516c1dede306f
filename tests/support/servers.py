"""Server programs from the system's packages, and small Python ones, each on a free loopback port."""

from __future__ import annotations

import contextlib
import http.server
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from tests.support.pki import Leaf


def need(program: str) -> str:
    """The program's path; without it the test is skipped with the reason, and fails where servers are required."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    return found or lack(f"the program {program}")


def lack(what: str) -> NoReturn:
    """Skip the test, since something is not installed; where servers are required it fails."""
    if os.environ.get("MODEMTLS_REQUIRE_SERVERS"):
        pytest.fail(f"{what} is not installed, and MODEMTLS_REQUIRE_SERVERS is set")
    pytest.skip(f"needs {what}, which is not installed")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_listening(port: int, process: subprocess.Popen[bytes] | None = None, limit: float = 5.0) -> None:
    end = time.monotonic() + limit
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.5).close()
            return
        except OSError:
            if process is not None and process.poll() is not None:
                raise RuntimeError(f"server ended with {process.returncode}") from None
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


@contextlib.contextmanager
def run(arguments: list[str], port: int, log: Path, *, wait: bool = True) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends; it is ended by its own process id."""
    with log.open("wb") as out:
        process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT)
        try:
            if wait:
                wait_until_listening(port, process)
            yield process
        finally:
            if process.stdin:
                process.stdin.close()
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def openssl_server(folder: Path, leaf: Leaf, *options: str) -> Iterator[int]:
    """`openssl s_server -rev`: answers each line reversed. A port probe counts as a client and is refused politely."""
    port = free_port()
    program = need("openssl")
    command = [program, "s_server", "-accept", f"127.0.0.1:{port}", "-cert", str(leaf.cert), "-key", str(leaf.key)]
    command += ["-cert_chain", str(leaf.cert), "-rev", *options]
    with run(command, port, folder / f"s_server-{port}.log"):
        yield port


@contextlib.contextmanager
def mosquitto(
    folder: Path, leaf: Leaf | None, ca: Path, *, client_certificates: bool = False, options: Sequence[str] = ()
) -> Iterator[int]:
    """A real broker with one TLS listener; without a leaf ``options`` have to say how it is secured."""
    port = free_port()
    program = need("mosquitto")
    folder.chmod(0o755)
    config = folder / f"mosquitto-{port}.conf"
    lines = [
        f"listener {port} 127.0.0.1",
        "allow_anonymous true",
        "persistence false",
        *options,
    ]
    if leaf is not None:
        lines += [f"cafile {ca}", f"certfile {leaf.cert}", f"keyfile {leaf.key}"]
        lines += [f"require_certificate {'true' if client_certificates else 'false'}"]
    if os.geteuid() == 0:
        lines.append("user root")  # the scratch folder belongs to root: dropping the user would lose the key file
    config.write_text("\n".join(lines) + "\n")
    with run([program, "-c", str(config)], port, folder / f"mosquitto-{port}.log"):
        yield port


@contextlib.contextmanager
def nginx(folder: Path, leaf: Leaf, ca: Path, root: Path) -> Iterator[int]:
    """nginx serving a folder over TLS 1.2 and 1.3, telling its own view of protocol, session and client certificate."""
    port = free_port()
    program = need("nginx")
    work = folder / f"nginx-{port}"
    work.mkdir()
    temp = "".join(
        f"{kind}_temp_path {work}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = work / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; pid {work}/pid; error_log stderr;\n"
        "events { worker_connections 64; }\n"
        f"http {{ access_log off; {temp}"
        f"server {{ listen 127.0.0.1:{port} ssl; root {root}; ssl_protocols TLSv1.2 TLSv1.3;\n"
        "ssl_session_cache shared:sessions:1m;\n"
        f"ssl_certificate {leaf.cert}; ssl_certificate_key {leaf.key};\n"
        f"ssl_client_certificate {ca}; ssl_verify_client optional;\n"
        'location = /tls { return 200 "$ssl_protocol $ssl_cipher $ssl_server_name $ssl_client_verify\\n"; }\n'
        'location = /peer { return 200 "$ssl_protocol $ssl_session_reused $ssl_client_verify $ssl_client_s_dn\\n"; }\n'
        "} }\n"
    )
    with run([program, "-c", str(config), "-p", str(work)], port, folder / f"nginx-{port}.log"):
        yield port


@contextlib.contextmanager
def https(leaf: Leaf, folder: Path, *, client_ca: Path | None = None) -> Iterator[int]:
    """Python's own HTTP server over its own ssl, one thread a connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert, leaf.key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED

    class Quiet(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *arguments: object) -> None:
            pass

    with tls_service(context, lambda stream: Quiet(stream, stream.getpeername(), None)) as port:
        yield port


@contextlib.contextmanager
def tls_service(context: ssl.SSLContext | None, serve: Callable[[socket.socket], object]) -> Iterator[int]:
    """Accept connections, do the handshake (if a context is given) and hand each stream to `serve` in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def one(raw: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            raw.settimeout(20)
            stream = context.wrap_socket(raw, server_side=True) if context else raw
            with stream:
                serve(stream)
        raw.close()

    def accept() -> None:
        while not stop.is_set():
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(raw,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stop.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def echo(stream: socket.socket) -> None:
    """Give back whatever comes, until the peer ends."""
    while data := stream.recv(65536):
        stream.sendall(data)
