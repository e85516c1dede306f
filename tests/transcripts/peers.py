"""The servers that a dialogue needs, as its `# server:` headers say; on loopback, each in a thread.

`host`, `port`: as the host names them. `tls: false` for plain TCP, `udp: true` for datagrams, `dtls: true` for DTLS,
with `psk` (hexadecimal) and `identity` instead of a certificate, and `cid` (hexadecimal) for a Connection ID.
`client: true` has a TLS client show a certificate of the test's own CA. `connects: true` is no server: it connects to
`port` as soon as the modem listens there; with a text, when the modem has said that as well (`tls: true`: with TLS,
trusting the test's own CA). `refuse: closed | expired | wrong-name | untrusted`.
`steps: [{expect: TEXT}, {send: TEXT}, {close: true}]`, or in short `expect`, `send` and `close`. Also, but not over
DTLS, `{fill: N}`: sends N bytes, whatever they are; `{after: TEXT}`: goes on when the modem has once said that to the
host; `{cut: true}`: ends the connection without a word.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from modemtls.transcript import Value
from tests.support.pki import Leaf, Pki
from tests.transcripts import dtls_peer

SECURITY = {"tls", "dtls", "psk", "identity", "cid", "client", "refuse"}
KEYS = {"host", "port", "udp", "connects", "expect", "send", "close", "steps"} | SECURITY


class Peer:
    """One server. It serves one connection after the other until it is closed."""

    def __init__(self, spec: dict[str, Value], pki: Pki) -> None:
        if unknown := set(spec) - KEYS:
            raise ValueError(f"server: unknown {', '.join(sorted(unknown))}")
        self.host = str(spec["host"])
        self.port = int(spec["port"])  # type: ignore[arg-type]
        self._failure = ""
        self._refuse = spec.get("refuse")
        steps = spec.get("steps") or [{k: spec[k]} for k in ("expect", "send", "close") if k in spec]
        self._steps: list[dict[str, Value]] = steps  # type: ignore[assignment]
        self._open: list[socket.socket] = []
        self._said: list[bytes] = []
        self._hears = threading.Condition()
        self._answers = False  # whether this serves datagrams and has not done with it
        self._answering = threading.Lock()
        self._dtls: dtls_peer.DtlsPeer | None = None
        self._context: ssl.SSLContext | None = None
        if spec.get("connects"):
            self._socket = socket.socket()
            if spec.get("tls"):
                self._context = ssl.create_default_context(cafile=pki.ca)
                self._context.check_hostname = False
            self.real_port = self.port
            self._thread = threading.Thread(target=self._connect, args=(spec["connects"],), daemon=True)
            self._thread.start()
            return
        if spec.get("dtls"):
            leaf = None if "psk" in spec else self._leaf(pki)
            self._dtls = dtls_peer.DtlsPeer(dtls_peer.settings(spec, leaf), steps)  # type: ignore[arg-type]
            self.real_port = self._dtls.port
            return
        if spec.get("udp"):
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.bind(("127.0.0.1", 0))
            self.real_port = self._socket.getsockname()[1]
            self._answers = True
            self._thread = threading.Thread(target=self._datagrams, daemon=True)
            self._thread.start()
            return
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.real_port = self._socket.getsockname()[1]
        self._context = (
            None if spec.get("tls") is False else _context(self._leaf(pki), pki if spec.get("client") else None)
        )
        if self._refuse == "closed":
            self._socket.close()
            return
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _leaf(self, pki: Pki) -> Leaf:
        match self._refuse:
            case "expired":
                return pki.leaf(self.host, days=(-20, -10))
            case "wrong-name":
                return pki.leaf("somebody-else.example")
            case "untrusted":
                return pki.self_signed(self.host)
            case None | "closed":
                return pki.leaf(self.host)
        raise ValueError(f"server: cannot refuse {self._refuse!r}")

    @property
    def failure(self) -> str:
        """What the server was told instead of what it expected, if so."""
        return self._failure or (self._dtls.failure if self._dtls is not None else "")

    def hear(self, said: bytes) -> None:
        """Take what the modem has said to the host since the host last spoke."""
        with self._hears:
            if self._said and said.startswith(self._said[-1]):
                self._said.pop()
            self._said.append(said)
            self._hears.notify_all()

    def _after(self, value: Value) -> None:
        with self._hears:
            if not self._hears.wait_for(lambda: any(_bytes(value) in one for one in self._said), 5):
                self._failure = self._failure or f"the modem never said {value!r}"

    def close(self) -> None:
        if self._dtls is not None:
            self._dtls.close()
        elif self._refuse != "closed":
            self._socket.close()
            for connection in self._open:
                connection.close()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._socket.accept()
            except OSError:
                return
            plain.settimeout(5)
            try:
                connection = self._context.wrap_socket(plain, server_side=True) if self._context else plain
            except (OSError, ssl.SSLError):
                plain.close()
                continue
            self._open.append(connection)
            try:
                self._talk(connection)
            except OSError as error:
                self._failure = self._failure or str(error)

    def _connect(self, when: Value) -> None:
        if isinstance(when, str):
            self._after(when)
        end = time.monotonic() + 5
        while time.monotonic() < end:
            try:
                connection = socket.create_connection(("127.0.0.1", self.port), 5)
            except ConnectionRefusedError:
                time.sleep(0.002)  # nobody tells that the modem listens now
                continue
            try:
                if self._context is not None:
                    connection = self._context.wrap_socket(connection)
                self._open.append(connection)
                self._talk(connection)
            except OSError as error:
                self._failure = self._failure or str(error)
            return
        self._failure = f"nobody listens on port {self.port}"

    @property
    def quiet(self) -> bool:
        """Whether a server of datagrams has answered all that it has been sent; others are not asked."""
        if not self._answers:
            return True
        with self._answering:
            return not select.select([self._socket], [], [], 0)[0]

    def _datagrams(self) -> None:
        peer = None
        steps = deque(self._steps)
        while steps:
            [(what, value)] = steps.popleft().items()
            try:
                if what == "after":
                    self._after(value)
                elif what == "expect":
                    select.select([self._socket], [], [])
                with self._answering:
                    if what == "expect":
                        got, peer = self._socket.recvfrom(4096)
                        if got != _bytes(value):
                            self._failure = f"the server expected {_bytes(value)!r}, got {got!r}"
                    while steps and (following := next(iter(steps[0]))) in {"send", "fill"}:
                        self._socket.sendto(_data(following, steps.popleft()[following]), peer)
            except (OSError, ValueError):  # closed
                break
        self._answers = False

    def _talk(self, connection: socket.socket) -> None:
        for number, step in enumerate(self._steps):
            [(what, value)] = step.items()
            last = any("close" in following for following in self._steps[number + 1 : number + 2])
            match what:
                case "expect":
                    want, got = _bytes(value), b""
                    while len(got) < len(want):
                        piece = connection.recv(len(want) - len(got))
                        if not piece:
                            break
                        got += piece
                    if got != want:
                        self._failure = f"the server expected {want!r}, got {got!r}"
                        return
                case "after":
                    self._after(value)
                case "send" | "fill":
                    # The end comes with the data in front of it, not some time later.
                    plain = not isinstance(connection, ssl.SSLSocket)
                    connection.sendall(_data(what, value), socket.MSG_MORE if last and plain else 0)
                case "cut":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    connection.close()
                    return
                case "close":
                    if isinstance(connection, ssl.SSLSocket):
                        connection.settimeout(0)
                        # Says that it closes, and does not wait for the answer; the modem may have gone already.
                        with suppress(ssl.SSLWantReadError, ssl.SSLEOFError, ConnectionError):
                            connection.unwrap()
                        connection.settimeout(5)
                    with suppress(OSError):  # the same
                        connection.shutdown(socket.SHUT_WR)
                case _:
                    raise ValueError(f"server: no step {what!r}")
        with suppress(OSError, ValueError):  # until the modem closes: then this side does, too, if it has not yet
            while connection.recv(4096):
                pass
            if isinstance(connection, ssl.SSLSocket):
                connection.unwrap()  # else its session could not be resumed
        connection.close()


def _bytes(value: Value) -> bytes:
    return str(value).encode("latin-1")


def _data(what: str, value: Value) -> bytes:
    return b"x" * int(value) if what == "fill" else _bytes(value)  # type: ignore[arg-type]


def _context(leaf: Leaf, clients: Pki | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(leaf.cert, leaf.key)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients.ca)
    return context


@contextmanager
def running(specs: list[dict[str, Value]], pki: Pki) -> Iterator[list[Peer]]:
    peers: list[Peer] = []
    try:
        for spec in specs:
            peers.append(Peer(spec, pki))  # noqa: PERF401 - what has started is closed if a later one fails
        yield peers
    finally:
        for peer in peers:
            peer.close()
