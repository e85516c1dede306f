"""Two TLS engines, and what is between them: nothing, or a network that loses and reorders datagrams."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

import pytest

from modemtls.tlsengine import (
    Context,
    Engine,
    EngineUnavailableError,
    Settings,
    TlsError,
    WantReadError,
    context_for,
    require,
)

Network = Callable[[list[bytes], str], list[bytes]]
"""What becomes of datagrams, and which way they go: "up" from the client, "down" to it."""


def whole(datagrams: list[bytes], _: str) -> list[bytes]:
    return datagrams


def has_mbedtls() -> bool:
    """Whether Mbed TLS is there."""
    try:
        require("mbedtls")
    except EngineUnavailableError:
        return False
    return True


def need_mbedtls() -> None:
    """Skip with the engine's reason where Mbed TLS is absent; fail where servers are required."""
    try:
        require("mbedtls")
    except EngineUnavailableError as error:
        if os.environ.get("MODEMTLS_REQUIRE_SERVERS"):
            pytest.fail(f"{error}, and MODEMTLS_REQUIRE_SERVERS is set")
        pytest.skip(str(error))


class Ends:
    """A client and a server. Whatever one of them has to send reaches the other, as the network lets it."""

    def __init__(
        self, client: Settings | Engine, server: Settings | Context | Engine, network: Network = whole
    ) -> None:
        self.client: Engine = context_for(client).engine() if isinstance(client, Settings) else client
        if isinstance(server, Settings):
            server = context_for(server)
        self.server: Engine = server.engine(b"the client's address") if hasattr(server, "engine") else server
        self.network = network
        self.up: list[bytes] = []
        """Everything that the client has sent."""
        self.down: list[bytes] = []

    def carry(self) -> bool:
        """Bring across what either end has to send; returns whether there was anything."""
        up, down = self.client.take(), self.server.take()
        self.up += up
        self.down += down
        for datagram in self.network(up, "up"):
            self.server.feed(datagram)
        for datagram in self.network(down, "down"):
            self.client.feed(datagram)
        return bool(up or down)

    def handshake(self) -> None:
        """Both ends, until both are done; raises what one of them raises, after its alert has reached the other."""
        for _ in range(60):
            done = [self._shake(self.client), self._shake(self.server)]
            moved = self.carry()
            if all(done) and not moved:
                return
            if not moved and not self.timers():
                raise AssertionError("neither end has anything to send, and no timer runs")
        raise AssertionError("no end to this handshake")

    def timers(self) -> bool:
        """Let the earliest timer run out; false if none runs."""
        running = [end for end in (self.client, self.server) if end.deadline() is not None]
        for end in running:
            end.on_timer()
        return bool(running)

    def _shake(self, end: Engine) -> bool:
        if not self._step(end.handshake):
            return False
        if end.info().version.startswith("DTLS"):  # the peer may not have got the last flight: reading answers it
            with contextlib.suppress(WantReadError):
                raise AssertionError(f"data in the handshake: {end.read()!r}")
        return True

    def _step(self, call: Callable[[], None]) -> bool:
        try:
            call()
        except WantReadError:
            return False
        except TlsError:
            self.carry()
            raise
        return True

    def talk(self) -> None:
        """One payload each way."""
        assert self.send(b"up") == b"up"
        assert self.send(b"down", up=False) == b"down"

    def send(self, data: bytes, *, up: bool = True) -> bytes:
        """Write at one end, return what the other one reads."""
        one, other = (self.client, self.server) if up else (self.server, self.client)
        one.write(data)
        self.carry()
        got = b""
        with contextlib.suppress(WantReadError):
            while len(got) < len(data):
                got += other.read()
        return got


def shaken(client: Settings | Engine, server: Settings | Context, network: Network = whole) -> Ends:
    """Ends that have shaken hands."""
    ends = Ends(client, server, network)
    ends.handshake()
    return ends
