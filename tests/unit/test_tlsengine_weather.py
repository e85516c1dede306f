"""Datagrams that are lost, doubled or overtaken; the timers of a handshake. Time is ours here."""

from __future__ import annotations

import random
import time

import pytest

from modemtls.tlsengine import (
    HandshakeTimeoutError,
    Psk,
    Settings,
    SettingsError,
    Timers,
    UnsupportedError,
    Verify,
    WantReadError,
    engine_for,
)
from modemtls.tlsengine.openssl import OpenSslContext
from modemtls.tlsengine.timers import FlightTimer
from tests.support.tls_ends import Ends

PSK, PSKS = Psk(b"me", b"a key"), {b"me": b"a key"}


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(time, "monotonic", made)
    return made


def waits(timers: Timers, clock: Clock) -> list[float]:
    timer = FlightTimer(timers)
    assert timer.left() is None
    timer.start()
    found = []
    while True:
        left = timer.left()
        assert left is not None
        found.append(left)
        clock.now += left
        assert timer.left() == 0
        if not timer.again():
            assert timer.left() is None
            return found


def test_waits_double_up_to_the_maximum_and_end_with_it(clock):
    assert waits(Timers(), clock) == [1, 2, 4, 8, 16, 32, 60]
    assert waits(Timers(1, 4), clock) == [1, 2, 4]
    assert waits(Timers(3, 5), clock) == [3, 5]
    assert waits(Timers(0.2, 0.2), clock) == pytest.approx([0.2])


@pytest.mark.parametrize("limits", [(0, 1), (2, 1), (-1, 5), (1, 4294968), (float("nan"), 1)])
def test_timers_that_make_no_sense(limits):
    with pytest.raises(SettingsError):
        Timers(*limits)


def test_what_openssl_cannot_keep_to_is_refused():
    with pytest.raises(UnsupportedError, match="before 1 s"):
        OpenSslContext(Settings(datagram=True, psk=PSK, timers=Timers(0.5, 2)))


def wait_out(engine) -> bool:
    left = engine.deadline()
    assert left is not None
    assert not engine.on_timer() or left == 0, "it was not due yet"
    time.sleep(left + 0.001)
    return engine.on_timer()


def test_an_unanswered_flight_is_sent_again_and_then_given_up():
    client = engine_for(Settings(datagram=True, psk=PSK, timers=Timers(1, 1.2)))
    with pytest.raises(WantReadError):
        client.handshake()
    first = client.take()
    assert client.deadline() == pytest.approx(1, abs=0.2)
    assert not client.on_timer()
    assert wait_out(client)
    second = client.take()
    assert second[0][13:] == first[0][13:]  # but for the record's header the same
    assert second[0][:13] != first[0][:13]
    assert client.deadline() == pytest.approx(1.2, abs=0.2)
    with pytest.raises(HandshakeTimeoutError):
        wait_out(client)


def test_one_wait_only():
    client = engine_for(Settings(datagram=True, psk=PSK, timers=Timers(1.0, 1.0)))
    with pytest.raises(WantReadError):
        client.handshake()
    client.take()
    with pytest.raises(HandshakeTimeoutError):
        wait_out(client)
    assert client.take() == []


class Weather:
    """Doubles and reorders, by a seed."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)

    def __call__(self, datagrams: list[bytes], _: str) -> list[bytes]:
        through = datagrams + [one for one in datagrams if self.dice.random() < 0.2]
        self.dice.shuffle(through)
        return through


class Loss:
    """Loses one datagram of one way."""

    def __init__(self, way: str, number: int) -> None:
        self.way, self.left = way, number + 1

    def __call__(self, datagrams: list[bytes], way: str) -> list[bytes]:
        through = []
        for one in datagrams:
            self.left -= way == self.way
            if self.left or way != self.way:
                through.append(one)
        return through


class Impatient(Ends):
    """Timers are waited for."""

    def timers(self) -> bool:
        left = [left for left in (self.client.deadline(), self.server.deadline()) if left is not None]
        if left:
            time.sleep(min(left) + 0.001)
        return super().timers()


def certified(pki, **more):
    leaf = pki.leaf("host.example")
    return (
        Settings(datagram=True, ca=pki.ca.read_bytes(), host="host.example", **more),
        Settings(datagram=True, server=True, chain=leaf.cert_pem, key=leaf.key_pem, verify=Verify.NONE, **more),
    )


def keyed(**more):
    return Settings(datagram=True, psk=PSK, **more), Settings(datagram=True, server=True, psks=PSKS, **more)


@pytest.mark.parametrize("seed", range(3))
def test_doubled_and_reordered(pki, seed):
    ends = Impatient(*certified(pki, mtu=400), Weather(seed))
    ends.handshake()
    ends.network = lambda datagrams, _: datagrams
    ends.talk()


@pytest.mark.parametrize("way", ["up", "down"])
def test_lost(way):
    """The last flight of either side; the timer brings it back."""
    loss = Loss(way, 3)
    ends = Impatient(*keyed(timers=Timers(1, 60)), loss)
    ends.handshake()
    assert loss.left < 0
    ends.network = lambda datagrams, _: datagrams
    ends.talk()
    assert ends.client.deadline() is None


def test_data_may_be_lost_or_overtaken_but_not_read_twice():
    ends = Ends(*keyed())
    ends.handshake()
    for number in range(5):
        ends.client.write(b"%d" % number)
    zero, one, _, three, four = ends.client.take()
    for datagram in (four, zero, zero, three, four, one):
        ends.server.feed(datagram)
    assert [ends.server.read() for _ in range(4)] == [b"4", b"0", b"3", b"1"]
    with pytest.raises(WantReadError):
        ends.server.read()
