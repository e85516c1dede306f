"""A scripted modem in memory: what the layers above :mod:`modemtls.modem` see of one, without a line or a profile.

Its sockets end at a :class:`Peer`, which tests speak for. Data notices come once, until a read has come back empty.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from modemtls.at.grammar import Outcome
from modemtls.errors import CommandError, ModemError
from modemtls.modem.credentials import check_sizes
from modemtls.modem.settings import Settings, TlsSettings
from modemtls.modem.slots import Slot
from modemtls.modem.sockets import Opening
from modemtls.profile.model import SuiteTable, VersionChoice


@dataclass
class Answer:
    outcome: Outcome = Outcome.OK
    values: dict[str, object] = field(default_factory=dict)
    payload: bytes = b""
    rows: list[dict[str, object]] = field(default_factory=list)
    text: str = ""


class FakeChannel:
    """Waiting, as the real channel does it for its callers."""

    def __init__(self) -> None:
        self.bell = threading.Condition()
        self.waiting = 0
        self.deferred: deque[Callable[[], None]] = deque()
        self.working = threading.Lock()

    def wait(self, ready: Callable[[], bool], deadline: float | None = None) -> bool:
        with self.bell:
            self.waiting += 1
            try:
                while not ready():
                    left = None if deadline is None else deadline - time.monotonic()
                    if left is not None and left <= 0:
                        return False
                    self.bell.wait(left)
                return True
            finally:
                self.waiting -= 1

    def notify(self) -> None:
        with self.bell:
            self.bell.notify_all()

    closed_reason: BaseException | None = None

    def defer(self, work: Callable[[], None]) -> None:
        self.deferred.append(work)
        threading.Thread(target=self.work_off, daemon=True).start()

    def work_off(self) -> None:
        with self.working:
            while self.deferred:
                self.deferred.popleft()()


class Peer:
    """The far end of one connection, and the modem's buffer in front of it."""

    def __init__(self, modem: FakeModem, slot: Slot) -> None:
        self.modem = modem
        self.slot = slot
        self.received = bytearray()  # what the driver sent
        self.waiting = bytearray()  # what the modem holds for the driver
        self.told = False
        self.closed_by_driver = False

    def say(self, data: bytes) -> None:
        """Data from the far end arrives in the modem."""
        with self.modem.lock:
            if self.slot.receive == "push":
                self.slot.note_data(data)
            else:
                self.waiting += data
                if not self.told:
                    self.told = True
                    self.slot.note_data(None)
        self._tell()

    def close(self) -> None:
        """The far end closes."""
        self.slot.note_closed("the far side closed the connection")
        self._tell()

    def breaks(self) -> None:
        """The connection breaks: what has arrived can still be read."""
        self.slot.note_broken("the connection broke")
        self._tell()

    def lose(self, error: ModemError) -> None:
        """The connection is lost: restart, bearer, port."""
        self.slot.note_lost(error)
        self._tell()

    def _tell(self) -> None:
        self.slot.tell()
        self.modem.channel.notify()


class FakeLease:
    """A lease; ``released``: it is given back, and so are all shares of it."""

    def __init__(self, settings: TlsSettings) -> None:
        self.number, self.epoch, self.settings = 1, 1, settings
        self.shares: list[FakeLease] = []
        self.own = True

    def share(self) -> FakeLease:
        self.shares.append(FakeLease(self.settings))
        return self.shares[-1]

    def release(self) -> None:
        self.own = False

    @property
    def released(self) -> bool:
        return not self.own and all(one.released for one in self.shares)


class FakeSockets:
    """The open sockets of a fake modem."""

    def __init__(self, modem: FakeModem) -> None:
        self.modem = modem
        self.leaving = False
        self.freed = 0

    def close(self, slot: Slot, *, deadline: float | None = None) -> None:
        self.modem.commands.append("close")
        self.modem.peers[slot.number].closed_by_driver = True
        if slot.lease is not None:
            slot.lease.release()
        slot.state = "gone"

    def run(
        self,
        slot: Slot,
        op: str,
        bindings: Mapping[str, Any],
        *,
        deadline: float | None = None,
        on_orphan: Callable[[Any], None] | None = None,
    ) -> Answer:
        self.modem.commands.append(op)
        slot.check()
        answer = self.modem.script(op, slot, bindings)
        if answer is not None:
            return answer
        with self.modem.lock:
            return self._answer(slot, op, bindings)

    def _answer(self, slot: Slot, op: str, bindings: Mapping[str, Any]) -> Answer:
        """What the modem says that the script leaves to it."""
        peer = self.modem.peers[slot.number]
        if op == "send":
            if slot.closed:
                raise CommandError("the modem answered ERROR", kind="closed")
            peer.received += bindings["data"]
            return Answer()
        taken = bytes(peer.waiting[: bindings["size"]])
        del peer.waiting[: len(taken)]
        if not taken:
            peer.told = False
        return Answer(Outcome.OK if taken else Outcome.EMPTY, payload=taken)


class FakeModem:
    """See the module. ``script``: called as ``script(op, slot, bindings)`` before the default; an answer, or None."""

    VERSIONS = tuple(VersionChoice(number, (version,)) for number, version in enumerate(["1.0", "1.1", "1.2"], 1))
    SUITES = SuiteTable("one", "0XFFFF", {0xC02F: "0XC02F", 0xC02B: "0XC02B", 0x002F: "0X002F"})

    def __init__(self, *, capabilities: Mapping[str, object] = {}, limits: Mapping[str, object] = {}, **behaviour: Any):
        self.name = "fake"
        self.settings = Settings()
        self.lock = threading.RLock()
        self.channel = FakeChannel()
        self.capabilities = {
            "tls": ["ssl3", "1.0", "1.1", "1.2"],
            "tcp": True,
            "pull": True,
            "push": True,
            "sni": True,
            "hostname_check": True,
            "date_check": True,
            "client_certificates": True,
            "suites": "one",
        } | dict(capabilities)
        self.limits = {
            "send": 1460,
            "receive": 1500,
            "host": 200,
            "handshake_timeout_min": 10,
            "handshake_timeout_max": 300,
        } | dict(limits)
        self.profile = SimpleNamespace(
            name="fake-modem",
            title="Fake modem",
            tls_versions=self.VERSIONS,
            suites=self.SUITES,
            behaviour=behaviour,
            size=self.size,
            programs={"tls_configure": SimpleNamespace(names={"context", "sni", "check_hostname"})},
        )
        self.credentials = self
        self.contexts = self
        self.script: Callable[[str, Slot, Mapping[str, Any]], Answer | None] = lambda op, slot, bindings: None
        self.commands: list[str] = []
        self.peers: list[Peer] = []
        self.leases: list[FakeLease] = []
        self.stored: dict[str, bytes] = {}
        self.opened: list[tuple[str, int]] = []
        self.fail_open: list[BaseException] = []
        self.closed = False
        self.sockets = FakeSockets(self)
        self.clock = SimpleNamespace(detail="set from this computer's")

    def size(self, family: str, what: str) -> int | None:
        names = {"tcp": ("tcp_", ""), "udp": ("udp_", ""), "dtls": ("dtls_", "")}.get(family, ("",))
        return next((self.limits[name + what] for name in names if name + what in self.limits), None)

    @property
    def peer(self) -> Peer:
        return self.peers[-1]

    def now(self) -> float:
        return time.monotonic()

    def ensure_ready(self, *, deadline: float | None = None) -> None:
        pass

    def ensure_up(self, *, deadline: float | None = None) -> None:
        self.commands.append("up")

    # credentials and contexts

    def hold(self) -> FakeModem:
        return self

    def __enter__(self) -> FakeModem:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def look_again(self) -> None:
        self.commands.append("look again")

    def check(self, what: Any, other: Any = None) -> None:
        """Look at material and its sources, as the store does, or at a family and its settings, as the modem does."""
        if isinstance(what, Mapping):
            check_sizes(what, other or {}, self.limits)

    def ensure_all(self, material: Mapping[str, bytes], *, deadline: float | None = None) -> dict[str, str]:
        self.stored |= {f"mtls-{kind}": data for kind, data in material.items()}
        return {kind: f"mtls-{kind}" for kind in material}

    def lease(self, settings: TlsSettings, *, anew: bool = False, deadline: float | None = None) -> FakeLease:
        self.leases.append(FakeLease(settings))
        return self.leases[-1]

    def open(self, wanted: Opening, *, deadline: float | None = None) -> Slot:
        self.commands.append(f"open {wanted.family}")
        self.opened.append((wanted.host, wanted.port))
        if self.fail_open:
            raise self.fail_open.pop(0)
        slot = Slot(wanted.family, len(self.peers), epoch=1, receive=wanted.receive)
        slot.lease = None if wanted.lease is None else wanted.lease.share()
        slot.state = "open"
        self.peers.append(Peer(self, slot))
        return slot

    def close(self) -> None:
        self.closed = True
