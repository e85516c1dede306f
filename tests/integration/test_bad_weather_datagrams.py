"""Datagrams that are lost, overtaken, doubled, late or too large, over every simulated modem, with either engine."""

from __future__ import annotations

import pytest

from modemtls.errors import Category, ConfigurationError, ModemError, ModemTimeoutError, TruncatedError
from modemtls.net import Errno, Option, SocketConfiguration, State
from tests.support.bad_weather import answers, has_mbedtls, refused, talk
from tests.support.relay import DatagramRelay

LATE = 0.15  # seconds: more than an answer takes here


@pytest.fixture
def secure(here, good):
    """A function that makes sockets, and the port of a server that returns each record."""
    here.need("dtls")
    security = here.security(good.pki, datagram=True)
    port = good.port(security, datagram=True)
    server = good.psk if port == good.psk.port else good.certified

    def make(**more):
        return here.secure(security, datagram=True, **more)

    make.port, make.server = port, server
    return make


def carried(here, way):
    return here.sim.call(lambda machine: machine.network.weather.carried(way))


def next_one(here, way, fault, argument=""):
    """Plan what befalls the next datagram that goes that way."""
    number = carried(here, way) + 1
    here.sim.fault(f"{fault}@{way} {number}" + (f":{argument}" if argument else ""))


class TestHandshakes:
    @pytest.mark.parametrize("way", ["out", "in"])
    def test_what_is_lost_is_sent_again(self, here, secure, way):
        before, met = carried(here, "out"), len(secure.server.handshakes)
        next_one(here, way, "drop")
        timers = {"dtls_handshake_timeouts": (0.1, 2)} if here.host and has_mbedtls() else {}
        talk(secure(**timers), secure.port)
        assert carried(here, "out") - before >= 5  # three flights, one of them twice, and the data
        assert len(secure.server.handshakes) == met + 1

    @pytest.mark.parametrize(("fault", "argument"), [("twice", ""), ("twice", "3"), ("postpone", "0.1")])
    @pytest.mark.parametrize("way", ["out", "in"])
    def test_what_comes_twice_or_late_does_no_harm(self, here, secure, way, fault, argument):
        next_one(here, way, fault, argument)
        before = len(secure.server.handshakes)
        talk(secure(), secure.port)
        assert len(secure.server.handshakes) == before + 1


class TestData:
    @pytest.fixture
    def sock(self, secure):
        made = secure()
        talk(made, secure.port)
        return made

    def test_a_record_that_comes_twice_is_delivered_once(self, here, secure, sock):
        """On either way: the peer does not hear it twice, nor does the caller."""
        heard = len(secure.server.heard)
        next_one(here, "out", "twice", "2")
        next_one(here, "in", "twice", "2")
        answers(sock, b"once")
        answers(sock, b"then")
        with pytest.raises(ModemTimeoutError):
            sock.receive(10, timeout=0)
        assert secure.server.heard[heard:] == [b"once", b"then"]

    def test_an_old_record_that_somebody_plays_again_is_not_delivered(self, here, secure, sock):
        """Nor one that somebody has changed, or made up."""
        sock.close()
        with DatagramRelay(secure.port) as way:
            seen = []
            way.change = lambda *at: seen.append(at) or [at[-1]]
            talk(sock, way.port)
            kept = [data for which, _, data in seen if which == "down" and data[0] == 23]
            answers(sock, b"another")
            for data in kept:
                way.say(data)
                way.say(data[:-1] + bytes([data[-1] ^ 1]))
                way.say(data[:20])
                way.say(b"")
            way.say(bytes([21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 77, 0, 2, 2, 40]))  # an alert in clear
            answers(sock, b"a third")
            with pytest.raises(ModemTimeoutError):
                sock.receive(10, timeout=0)
        assert sock.state is State.CONNECTED

    @pytest.mark.parametrize("way", ["out", "in"])
    def test_one_that_is_lost_is_lost_alone(self, here, secure, sock, way):
        next_one(here, way, "drop")
        sock.send(b"lost")
        with pytest.raises(ModemTimeoutError) as caught:
            sock.receive(10, timeout=LATE)
        assert caught.value.pair == (Category.ERRNO, Errno.ETIMEDOUT)
        assert sock.state is State.CONNECTED
        answers(sock, b"after it")

    @pytest.mark.parametrize("way", ["out", "in"])
    def test_those_that_overtake_each_other_are_all_delivered(self, here, secure, sock, way):
        next_one(here, way, "swap")
        for data in (b"first", b"second"):
            sock.send(data)
        assert sorted(sock.receive(10, timeout=5) for _ in range(2)) == [b"first", b"second"]

    @pytest.mark.parametrize("way", ["out", "in"])
    def test_one_that_is_late_comes_late(self, here, secure, sock, way):
        next_one(here, way, "postpone", "0.1")
        sock.send(b"late")
        assert sock.receive(10, timeout=5) == b"late"

    def test_what_is_too_large_is_not_sent_at_all(self, here, secure, sock):
        heard = len(secure.server.heard)
        limit = sock.get_opt(Option.INNER_MTU)
        with pytest.raises(ModemError) as caught:
            sock.send(bytes(limit + 1))
        assert caught.value.pair == (Category.ERRNO, Errno.EMSGSIZE)
        assert sock.state is State.CONNECTED
        answers(sock, b"x")
        largest = bytes(n % 251 for n in range(limit))
        sock.send(largest)
        try:
            answer = sock.receive(limit, timeout=5)
        except TruncatedError as error:  # a modem that gives less at once, and drops the rest
            answer = largest if largest.startswith(error.data) else error.data
        assert answer == largest
        assert secure.server.heard[heard:] == [b"x", largest]

    def test_room_for_less_than_there_is(self, here, secure, sock):
        for data in (b"0123456789", b"next"):
            sock.send(data)
        with pytest.raises(ModemError) as caught:
            sock.receive(4, timeout=5)
        assert caught.value.pair == (Category.ERRNO, Errno.EMSGSIZE)
        assert caught.value.data == b"0123"
        assert sock.receive(4, timeout=5) == b"next"  # an exact fit is not truncation


class TestSizes:
    @pytest.mark.parametrize("mtu", [1, 56])
    def test_packets_smaller_than_a_record(self, here, secure, mtu):
        """Without room for a record nothing can be sent: that is said when it connects, or when it is sent."""
        try:
            sock = secure(socket=SocketConfiguration(forced_mtu=mtu))
            if here.host:
                error = refused(sock, secure.port)
            else:
                sock.connect("server.example", str(secure.port))
                assert sock.get_opt(Option.MTU) == mtu
                with pytest.raises(ModemError) as caught:
                    sock.send(b"x")
                error = caught.value
                assert sock.state is State.CONNECTED
        except ConfigurationError as caught_early:
            error = caught_early
        assert error.pair == (Category.ERRNO, Errno.EMSGSIZE)

    def test_packets_that_a_record_just_fits_into(self, here, secure):
        """Those of UDP and of IPv4, or of IPv6 where nobody says which, come off, and what a record adds."""
        sock = secure(socket=SocketConfiguration(forced_mtu=320))
        talk(sock, secure.port)
        limit = sock.get_opt(Option.INNER_MTU)
        assert 320 - 48 - 64 <= limit <= 320 - 28 - 29
        answers(sock, bytes(limit)[:100])
        with pytest.raises(ModemError) as caught:
            sock.send(bytes(limit + 1))
        assert caught.value.code == Errno.EMSGSIZE
