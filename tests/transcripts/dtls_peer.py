"""A DTLS server of a dialogue: one association after the other, by the steps of its `# server:` header."""

from __future__ import annotations

import socket
import threading
from collections import deque
from contextlib import suppress

from modemtls.tlsengine import Engine, Settings, TlsError, Verify, Version, WantReadError, context_for
from modemtls.transcript import Value
from tests.support.pki import Leaf


def settings(spec: dict[str, Value], leaf: Leaf | None) -> Settings:
    """What the server offers: a pre-shared key, or the leaf's certificate; a Connection ID if it has one."""
    keys = {}
    if "psk" in spec:
        keys = {str(spec.get("identity", "")).encode(): bytes.fromhex(str(spec["psk"]))}
    return Settings(
        server=True,
        datagram=True,
        min_version=Version.TLS1_2,
        verify=Verify.NONE,
        psks=keys,
        chain=b"" if leaf is None else leaf.cert_pem,
        key=b"" if leaf is None else leaf.key_pem,
        cid=None if "cid" not in spec else bytes.fromhex(str(spec["cid"])),
        cookies=False,
    )


class DtlsPeer:
    """Serves whoever comes in a thread, until it is closed."""

    def __init__(self, wanted: Settings, steps: list[dict[str, Value]]) -> None:
        self._context = context_for(wanted)
        self._steps = steps
        self._engines: dict[tuple[str, int], tuple[Engine, deque[dict[str, Value]]]] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.02)
        self.port = int(self._socket.getsockname()[1])
        self.failure = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join(5)
        self._socket.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                data, address = self._socket.recvfrom(65536)
            except (TimeoutError, ConnectionError):
                continue
            if address not in self._engines:
                self._engines[address] = self._context.engine(repr(address).encode()), deque(self._steps)
            engine, steps = self._engines[address]
            engine.feed(data)
            try:
                with suppress(WantReadError):
                    engine.handshake()
                    self._talk(engine, steps, address)
            except TlsError:  # the client refuses, or is refused: what it says of it is the dialogue's
                self._flush(engine, address)
                del self._engines[address]
                continue
            self._flush(engine, address)

    def _talk(self, engine: Engine, steps: deque[dict[str, Value]], address: tuple[str, int]) -> None:
        self._flush(engine, address)
        while steps:
            [(what, value)] = steps[0].items()
            match what:
                case "expect":
                    got = engine.read()
                    if got != str(value).encode("latin-1"):
                        self.failure = self.failure or f"the server expected {value!r}, got {got!r}"
                case "send":
                    engine.write(str(value).encode("latin-1"))
                case "close":
                    engine.close()
                case _:
                    raise ValueError(f"server: no step {what!r}")
            steps.popleft()
            self._flush(engine, address)
        engine.read()

    def _flush(self, engine: Engine, address: tuple[str, int]) -> None:
        for datagram in engine.take():
            self._socket.sendto(datagram, address)
