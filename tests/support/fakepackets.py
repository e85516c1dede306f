"""A scripted modem in memory with datagram sockets; see :mod:`tests.support.fakemodem`."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import pytest

from modemtls.at.grammar import Outcome
from modemtls.errors import CommandError, ModemError
from modemtls.modem.slots import Slot
from modemtls.modem.sockets import Opening
from modemtls.net import create_udp_socket, error_pair
from tests.support.fakemodem import Answer, FakeModem, FakeSockets, Peer


class PacketPeer(Peer):
    """Whoever is at the far end of one datagram socket, and what the modem holds of what they said."""

    def __init__(self, modem: PacketModem, slot: Slot) -> None:
        super().__init__(modem, slot)
        self.packets: deque[tuple[bytes, tuple[str, int]]] = deque()
        self.sent: list[bytes] = []
        self.sent_to: list[tuple[str, int]] = []

    def say(self, data: bytes, source: tuple[str, int] = ("192.0.2.1", 7)) -> None:
        with self.modem.lock:
            if self.slot.receive == "push":
                self.slot.note_data(data, source)
            else:
                self.packets.append((data, source))
                self.slot.note_data(None)
        self._tell()


class PacketSockets(FakeSockets):
    modem: PacketModem

    def _answer(self, slot: Slot, op: str, bindings: Mapping[str, Any]) -> Answer:
        peer = self.modem.peers[slot.number]
        assert isinstance(peer, PacketPeer)
        if op == "address":
            return Answer(values=dict(self.modem.addresses))
        if op in {"pending", "pendingfrom"}:
            return Answer(values={"pending": sum(len(data) for data, _ in peer.packets)})
        if op in {"send", "sendto"}:
            if slot.closed:
                raise CommandError("the modem answered ERROR", kind="closed")
            peer.sent.append(bindings["data"])
            if op == "sendto":
                peer.sent_to.append((bindings["host"], bindings["port"]))
            return Answer()
        return self._read(peer, bindings["size"])

    def _read(self, peer: PacketPeer, size: int) -> Answer:
        if not peer.packets:
            return Answer(Outcome.EMPTY)
        packet, source = peer.packets.popleft()
        piece, rest = packet[:size], packet[size:]
        if rest and self.modem.keeps:
            peer.packets.appendleft((rest, source))
        if not packet and not self.modem.tells_empty:
            return Answer(Outcome.EMPTY)
        values: dict[str, object] = {"host": source[0], "port": source[1]}
        return Answer(Outcome.OK, {**values, "left": len(rest)} if self.modem.tells_left else values, piece)


class PacketModem(FakeModem):
    """``keeps``: the rest of a datagram comes with the next read. ``tells_left``, ``tells_empty``: what it says."""

    def __init__(self, *, keeps: bool = True, tells_left: bool = False, tells_empty: bool = True, **options: Any):
        able = {"udp": True, "udp_unconnected": True, "local_port": True}
        options["capabilities"] = able | dict(options.pop("capabilities", {}))
        options["limits"] = {"udp_send": 1000, "udp_receive": 1000} | dict(options.pop("limits", {}))
        super().__init__(datagram_rest="kept" if keeps else "dropped", **options)
        self.keeps, self.tells_left, self.tells_empty = keeps, tells_left, tells_empty
        self.sockets = PacketSockets(self)
        self.openings: list[Opening] = []
        self.addresses: dict[str, object] = {}

    def open(self, wanted: Opening, *, deadline: float | None = None) -> Slot:
        self.openings.append(wanted)
        slot = super().open(wanted, deadline=deadline)
        self.peers[-1] = PacketPeer(self, slot)
        return slot


def connected(modem, host="peer.example", configuration=None, **options):
    sock = create_udp_socket(modem, configuration, **options)
    sock.connect(host, "5683")
    modem.commands.clear()
    return sock


def bound(modem, port="5683", configuration=None, **options):
    sock = create_udp_socket(modem, configuration, **options)
    sock.bind(None, port)
    modem.commands.clear()
    return sock


def fails(code, call, *given, **named):
    with pytest.raises(ModemError) as caught:
        call(*given, **named)
    assert error_pair(caught.value).code == code, caught.value
    return caught.value
