"""Modems in bad weather: who makes the sockets, over which simulated modem, and what must be left behind afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from modemtls.errors import ModemError
from modemtls.modem.attached import AttachedModem
from modemtls.modem.attaching import attach
from modemtls.modem.settings import Settings
from modemtls.net import (
    Certificates,
    Errno,
    Psk,
    Socket,
    SslConfiguration,
    State,
    create_dtls_socket,
    create_ssl_socket,
)
from modemtls.sim import embedded
from modemtls.sim.embedded import EmbeddedModem
from modemtls.sim.machine import Machine
from modemtls.tlsengine import EngineUnavailableError, Verify, require
from modemtls.tlsengine import Settings as EngineSettings
from tests.support.contract_peers import tls_peer
from tests.support.dtls import DtlsEcho
from tests.support.hasty import hasty
from tests.support.pki import Leaf, Pki

NAME = "server.example"
IDENTITY, KEY = b"dev-01", bytes(range(16))
PATIENCE = 5.0
QUICK = {"boot-time": "0.02", "registration-time": "0.02"}
UBLOX = {**QUICK, "pdp-time": "0.01"}

#: Each subject by what a test's name shows: the model, its variants, and whose engine it is.
SUBJECTS: dict[str, tuple[str, dict[str, str], str]] = {
    "nordic-sm": ("nordic-sm", QUICK, "modem"),
    "nordic-slm": ("nordic-slm", {**QUICK, "terminator": "cr"}, "modem"),
    "ublox-sara-r5": ("ublox-sara-r5", UBLOX, "modem"),
    "ublox-sara-r4": ("ublox-sara-r4", {**UBLOX, "module": "R422S"}, "modem"),
    "quectel-bg95": ("quectel-bg95", {**QUICK, "pdp-time": "0.01", "start": "running"}, "modem"),
    "host": ("ublox-sara-r5", UBLOX, "host"),
}

#: The variant of a model that says how long it waits for a peer that does not answer.
_WAITS = {"nordic": "tls-timeout", "ublox": "handshake-time"}


def has_mbedtls() -> bool:
    try:
        require("mbedtls")
    except EngineUnavailableError:
        return False
    return True


@dataclass
class Bench:
    """Somebody who makes sockets, over a modem of the simulator."""

    word: str
    engine: str
    sim: EmbeddedModem
    modem: AttachedModem
    made: list[Socket] = field(default_factory=list)

    @property
    def host(self) -> bool:
        """Whether it is the host's own engine."""
        return self.engine == "host"

    def able(self, capability: str) -> object:
        """What the modem declares; of what secures, the host's engine can do all."""
        of_the_host = {"psk", "dtls", "resumption", "date_check", "hostname_check", "client_certificates"}
        return (self.host and capability in of_the_host) or self.modem.capabilities.get(capability)

    def need(self, *capabilities: str) -> None:
        for one in capabilities:
            if not self.able(one):
                pytest.skip(f"{self.word} declares no capability: {one}")

    # -- sockets ------------------------------------------------------------------------------------------------

    def certificates(self, pki: Pki, **more: Any) -> Certificates:
        return Certificates(**{"trusted": pki.ca, "check_dates": bool(self.able("date_check")), **more})

    def security(self, pki: Pki, *, datagram: bool) -> Certificates | Psk:
        """What its datagrams are secured with: a pre-shared key where it can be, else certificates, as all streams."""
        return Psk(IDENTITY, KEY) if datagram and self.able("psk") else self.certificates(pki)

    def secure(self, security: Certificates | Psk, *, datagram: bool = False, **more: Any) -> Socket:
        create = create_dtls_socket if datagram else create_ssl_socket
        engine: Any = self.engine
        sock = create(self.modem, SslConfiguration(security=security, **more), engine=engine)
        return self.keep(sock)

    def keep(self, sock: Socket) -> Socket:
        self.made.append(sock)
        return sock

    # -- waiting ------------------------------------------------------------------------------------------------

    @property
    def short(self) -> dict[str, Any]:
        """Time-outs for a handshake over datagrams, as short as can be configured."""
        if self.host:
            return {"dtls_handshake_timeouts": (0.1, 0.1) if has_mbedtls() else (1, 1)}
        return {"dtls_handshake_timeouts": (1, 1)} if self.able("handshake_timers") else {}

    @property
    def limit(self) -> float | None:
        """Seconds that a connect to who does not answer is given here; None where the modem can be made to hurry."""
        return 0.3 if self.host or not any(self.sim_is(one) for one in _WAITS) else None

    def sim_is(self, vendor: str) -> bool:
        return SUBJECTS[self.word][0].startswith(vendor)

    @property
    def says_when_it_starts(self) -> bool:
        """Whether the modem prints something when it has restarted; another one shows it by its next answer."""
        return not self.sim_is("ublox")

    @contextlib.contextmanager
    def hurried(self, seconds: float = 0.4) -> Iterator[None]:
        """The modem gives up a peer that does not answer early."""
        name = next((name for vendor, name in _WAITS.items() if self.sim_is(vendor)), "")
        before = self._set_variant(name, str(seconds)) if name else ""
        try:
            yield
        finally:
            if name:
                self._set_variant(name, before)

    def _set_variant(self, name: str, value: str) -> str:
        def change(machine: Machine) -> str:
            before = machine.variants[name]
            machine.variants._values[name] = value
            return before

        return self.sim.call(change)

    # -- what is left -------------------------------------------------------------------------------------------

    def sockets_in_modem(self) -> int:
        """Sockets that the simulated modem has, and those of this machine that it uses for them."""

        def count(machine: Machine) -> int:
            personality: Any = machine.personality
            areas = [getattr(personality, name, None) for name in ("sockets", "ssl", "tcp")]
            return sum(len(area.table) for area in areas if area is not None) + len(machine.network._sockets)

        return self.sim.call(count)

    def contexts_in_use(self) -> int:
        return sum(len(one.leased(self.modem.epoch)) for one in self.modem.contexts._contexts)

    def nothing_is_left(self) -> None:
        """No socket of the driver's, none in the modem, no TLS context in use, and nothing is being closed."""
        modem = self.modem
        end = modem.now() + PATIENCE
        assert modem.channel.wait(lambda: not modem.slots.slots() and not modem.sockets.busy, end), modem.slots.slots()
        assert self.contexts_in_use() == 0
        assert modem.sockets.in_use(end) == ""
        self.sim.until(lambda machine: not machine.network._sockets, PATIENCE)
        assert self.sockets_in_modem() == 0

    def end(self) -> None:
        for sock in self.made:
            sock.cleanup()
        self.made.clear()


@contextlib.contextmanager
def bench(word: str, folder: Path, **variants: str) -> Iterator[Bench]:
    model, options, engine = SUBJECTS[word]
    profile = hasty(model, folder) if model.startswith("ublox") else None
    with embedded.open(model, {**options, **variants}) as sim:
        modem = attach(sim.path, Settings(timeout=30, apn="iot.example", profile=profile, radio_off=True))
        try:
            made = Bench(word, engine, sim, modem)
            yield made
            made.end()
        finally:
            modem.close()


def talk(sock: Socket, port: int, said: bytes = b"hello", host: str = NAME) -> None:
    sock.connect(host, str(port))
    answers(sock, said)


def answers(sock: Socket, said: bytes = b"hello") -> None:
    sock.send(said)
    assert sock.receive(100, timeout=PATIENCE) == said


def refused(sock: Socket, port: int | str, host: str = NAME, timeout: float | None = None) -> ModemError:
    """Assert that it does not connect, and is closed; return the error."""
    with pytest.raises(ModemError) as caught:
        sock.connect(host, str(port), timeout=timeout)
    assert sock.state is State.CLOSED
    with pytest.raises(ModemError) as closed:
        sock.send(b"x")
    assert closed.value.code == Errno.EBADF
    return caught.value


@dataclass
class Servers:
    """Good servers, for what comes after the weather, and through relays for what comes in it."""

    pki: Pki
    leaf: Leaf
    stream: int
    psk: DtlsEcho
    certified: DtlsEcho
    psk_settings: EngineSettings

    def port(self, security: Certificates | Psk, *, datagram: bool) -> int:
        if not datagram:
            return self.stream
        return (self.psk if isinstance(security, Psk) else self.certified).port


@contextlib.contextmanager
def good_servers(pki: Pki) -> Iterator[Servers]:
    leaf = pki.leaf(NAME)
    psk = EngineSettings(server=True, datagram=True, psks={IDENTITY: KEY}, suites=(0xC0A8,), mtu=1472)
    certified = EngineSettings(
        server=True, datagram=True, chain=leaf.cert_pem, key=leaf.key_pem, verify=Verify.NONE, mtu=1472
    )
    tls12 = ("TLSv1_2", "TLSv1_2")
    with tls_peer(leaf, versions=tls12) as peer, DtlsEcho(psk) as first, DtlsEcho(certified) as second:
        yield Servers(pki, leaf, peer.port, first, second, psk)
