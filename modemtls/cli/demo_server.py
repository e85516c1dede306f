"""The demonstration's HTTPS server: a throw-away CA, one page, one thread a connection, on loopback only."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import socket
import ssl
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Server", "served"]

PATIENCE = 30.0
"""Seconds that a client may stay silent."""

PAGE = """\
<!doctype html>
<title>It works</title>
<h1>Hello from {name}</h1>
<p>You asked for this page through a modem's own TLS. The server saw:
   {version}, {cipher}, server name {sni}.</p>
"""


@dataclass(slots=True)
class Server:
    """A running server and what it has seen."""

    name: str
    port: int
    ca: bytes
    names_asked: list[str] = field(default_factory=list)
    requests: int = 0
    refusals: list[str] = field(default_factory=list)
    """What the TLS layer said about handshakes that came to nothing."""


def _certificates(name: str) -> tuple[bytes, bytes]:
    """Make a CA and a certificate for ``name``; return the CA and the server's chain with its key, as PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = dt.datetime.now(dt.UTC)

    def build(common: str, issuer: x509.Name, key: rsa.RSAPublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)]))
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
        )

    # RSA: modems of this class are documented with RSA suites first.
    authority = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    title = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Throw-away CA of the modemtls demo")])
    ca = (
        build("Throw-away CA of the modemtls demo", title, authority.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority, hashes.SHA256())
    )
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    leaf = (
        build(name, title, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(authority, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return ca.public_bytes(pem), leaf.public_bytes(pem) + private


def _context(chain: bytes, server: Server) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # The standard library takes a certificate from a file only; it is there for this moment.
    number, path = tempfile.mkstemp(prefix="modemtls-demo-")
    try:
        with os.fdopen(number, "wb") as out:
            out.write(chain)
        context.load_cert_chain(path)
    finally:
        Path(path).unlink()

    def asked(_object: ssl.SSLObject | ssl.SSLSocket, name: str | None, _context: ssl.SSLContext) -> None:
        server.names_asked.append(name or "(none)")

    context.sni_callback = asked
    return context


def _serve(raw: socket.socket, context: ssl.SSLContext, server: Server) -> None:
    with raw:
        raw.settimeout(PATIENCE)
        try:
            stream = context.wrap_socket(raw, server_side=True)
        except OSError as error:
            server.refusals.append(getattr(error, "reason", None) or type(error).__name__)
            return
        with contextlib.suppress(OSError), stream:
            request = b""
            while b"\r\n\r\n" not in request and len(request) < 65536:
                piece = stream.recv(4096)
                if not piece:
                    # A client that checks the certificate after the handshake says so here, or just leaves.
                    return
                request += piece
            server.requests += 1
            cipher = stream.cipher()
            page = PAGE.format(
                name=server.name,
                version=stream.version(),
                cipher=cipher[0] if cipher else "?",
                sni=server.names_asked[-1] if server.names_asked else "(none)",
            ).encode()
            fields = ("Content-Type: text/html", f"Content-Length: {len(page)}", "Connection: close", "", "")
            stream.sendall("\r\n".join(("HTTP/1.1 200 OK", *fields)).encode() + page)
            with contextlib.suppress(OSError):
                stream.unwrap()


@contextlib.contextmanager
def served(name: str) -> Iterator[Server]:
    """Serve the page under ``name`` until the block ends."""
    ca, chain = _certificates(name)
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(name, listener.getsockname()[1], ca)
    context = _context(chain, server)

    def accept() -> None:
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=_serve, args=(raw, context, server), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
