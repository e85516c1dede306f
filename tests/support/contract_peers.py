"""Peers of the contract's tests: small TLS and DTLS servers of this process that tell what they saw."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.support import servers
from tests.support.pki import Leaf


@dataclass
class Peer:
    """A TLS server: its port, and what it learned of each client, as they came."""

    port: int = 0
    names: list[str | None] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    suites: list[str] = field(default_factory=list)
    reused: list[bool] = field(default_factory=list)
    certificates: list[bytes | None] = field(default_factory=list)
    alpn: list[str | None] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    """How each connection ended: "close_notify", "cut"."""
    ended: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    @property
    def address(self) -> tuple[str, str]:
        return "server.example", str(self.port)

    def end(self, limit: float = 5.0) -> str:
        """How the next connection ends."""
        assert self.ended.acquire(timeout=limit)
        return self.ends.pop(0)


@contextlib.contextmanager
def tls_peer(
    leaf: Leaf,
    *,
    versions: tuple[str, str] = ("TLSv1_2", "TLSv1_3"),
    ciphers: str = "",
    client_ca: object = None,
    alpn: tuple[str, ...] = (),
    tickets: bool = True,
    serve: Callable[[socket.socket], object] = servers.echo,
) -> Iterator[Peer]:
    peer = Peer()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = (getattr(ssl.TLSVersion, each) for each in versions)
    context.load_cert_chain(leaf.cert, leaf.key)
    if ciphers:
        context.set_ciphers(ciphers)
    if not tickets:
        context.options |= ssl.OP_NO_TICKET
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    if alpn:
        context.set_alpn_protocols(list(alpn))
    context.sni_callback = lambda _, name, __: peer.names.append(name)

    def note(stream: ssl.SSLSocket) -> None:
        peer.versions.append(stream.version() or "")
        peer.suites.append((stream.cipher() or ("",))[0])
        peer.reused.append(bool(stream.session_reused))
        peer.certificates.append(stream.getpeercert(binary_form=True))
        peer.alpn.append(stream.selected_alpn_protocol())
        stream.suppress_ragged_eofs = False
        how = "close_notify"
        try:
            serve(stream)
        except OSError:
            how = "cut"
        finally:
            peer.ends.append(how)
            peer.ended.release()

    with servers.tls_service(context, note) as port:
        peer.port = port
        yield peer


def remembering(leaf: Leaf, version: str = "TLSv1_2") -> contextlib.AbstractContextManager[Peer]:
    """A server that can resume with whoever takes no tickets (of TLS 1.2).

    It forgets those that end without goodbye, so it says goodbye itself, whatever the client does.
    """

    def serve(stream: ssl.SSLSocket) -> None:
        try:
            servers.echo(stream)
        finally:
            with contextlib.suppress(OSError, ValueError):
                stream.unwrap()

    return tls_peer(leaf, versions=(version, version), tickets=False, serve=serve)


@contextlib.contextmanager
def plain_peer(serve: Callable[[socket.socket], object] = servers.echo) -> Iterator[int]:
    with servers.tls_service(None, serve) as port:
        yield port


class Silent:
    """A UDP port that says nothing and keeps what it heard; or, over TCP, one that accepts and keeps quiet."""

    def __init__(self, *, datagram: bool) -> None:
        kind = socket.SOCK_DGRAM if datagram else socket.SOCK_STREAM
        self.sock = socket.socket(socket.AF_INET, kind)
        self.sock.bind(("127.0.0.1", 0))
        if not datagram:
            self.sock.listen()
        self.sock.settimeout(5)
        self.port = str(self.sock.getsockname()[1])

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def heard(self) -> list[bytes]:
        """Every datagram so far."""
        self.sock.setblocking(False)
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(self.sock.recv(65536))
        return found
