"""A DTLS server of this project's engine that answers whoever it is; what is said to server programs, and heard."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from pathlib import Path

from modemtls.tlsengine import Engine, Info, Settings, TlsError, WantReadError, context_for


def logged(log: Path, what: bytes, limit: float = 5.0) -> bool:
    """Whether a server's log has `what` in time."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if what in log.read_bytes():
            return True
        time.sleep(0.005)
    return False


def say(process: subprocess.Popen[bytes], what: bytes) -> None:
    """Type something at a server's terminal."""
    assert process.stdin
    process.stdin.write(what)
    process.stdin.flush()


class DtlsEcho:
    """A server in a thread that returns each record. A peer that moves is known by its Connection ID again."""

    def __init__(self, settings: Settings, *, host: str = "127.0.0.1") -> None:
        self._context = context_for(settings)
        self._cid = settings.cid or b""
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))
        self.host = host
        self._socket.settimeout(0.02)
        self.port: int = self._socket.getsockname()[1]
        self.handshakes: list[Info] = []
        self.heard: list[bytes] = []
        self.addresses: list[tuple[str, int]] = []
        """Where each record came from."""
        self.silent = False
        self._engines: dict[tuple[str, int], Engine] = {}
        self._all: list[Engine] = []  # OpenSSL forgets the session of who goes without goodbye when it frees it
        self._up: set[int] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def address(self) -> tuple[str, str]:
        return "server.example", str(self.port)

    @property
    def reused(self) -> list[bool]:
        """Of each handshake, whether it took a session up again."""
        return [one.resumed for one in self.handshakes]

    def __enter__(self) -> DtlsEcho:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)
        self._socket.close()

    def close_all(self) -> None:
        """Say goodbye to everybody; called from the test, while the modem is quiet."""
        for address, engine in list(self._engines.items()):
            engine.close()
            self._flush(engine, address)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                data, address = self._socket.recvfrom(65536)
            except (TimeoutError, ConnectionError):
                continue
            if self.silent:
                continue
            engine = self._engine(data, address)
            engine.feed(data)
            try:
                self._serve(engine, address)
            except WantReadError:
                pass
            except TlsError:
                self._engines.pop(address, None)
            self._flush(engine, address)

    def _engine(self, data: bytes, address: tuple[str, int]) -> Engine:
        if address not in self._engines and self._cid and data[:1] == b"\x19":  # tls12_cid, RFC 9146
            for old, engine in list(self._engines.items()):
                if engine.info().own_cid and data[11:].startswith(engine.info().own_cid or b"-"):
                    self._engines[address] = self._engines.pop(old)
        begins = data[:1] == b"\x16" and data[13:14] == b"\x01" and data[3:5] == b"\0\0"  # a new ClientHello
        if address not in self._engines or (begins and id(self._engines[address]) in self._up):
            self._engines[address] = self._context.engine(repr(address).encode())
            self._all.append(self._engines[address])
        return self._engines[address]

    def _serve(self, engine: Engine, address: tuple[str, int]) -> None:
        if id(engine) not in self._up:
            engine.handshake()
            self._up.add(id(engine))
            self.handshakes.append(engine.info())
            self._flush(engine, address)
        while record := engine.read():
            self.heard.append(record)
            self.addresses.append(address)
            engine.write(record)
            self._flush(engine, address)

    def _flush(self, engine: Engine, address: tuple[str, int]) -> None:
        for datagram in engine.take():
            self._socket.sendto(datagram, address)
