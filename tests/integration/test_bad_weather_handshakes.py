"""Handshakes that come to nothing, over every simulated modem, with its own engine and with the host's."""

from __future__ import annotations

import os

import pytest

from modemtls.errors import (
    Category,
    ConnectError,
    ConnectOrHandshakeError,
    HandshakeError,
    ModemTimeoutError,
    SocketClosedError,
)
from modemtls.net import Errno, Option, Psk, State
from tests.support.bad_weather import IDENTITY, KEY, answers, refused, talk
from tests.support.contract_peers import Silent, plain_peer, tls_peer
from tests.support.relay import cut_at, relay, replaced, silent_from

FATAL, WARNING = 2, 1
ALERTS = {"handshake failure": 40, "protocol version": 70, "internal error": 80, "unknown psk identity": 115}
JUNK = bytes(range(7, 250, 3)) * 4


def lost(here, error):
    """Nobody answers: the host and the driver know it, a modem may call it a failure to connect."""
    if here.host or here.limit is not None:
        assert isinstance(error, ModemTimeoutError)
    assert isinstance(error, ModemTimeoutError | ConnectOrHandshakeError)
    wanted = Errno.ETIMEDOUT if isinstance(error, ModemTimeoutError) else Errno.ECONNREFUSED
    assert error.pair == (Category.ERRNO, wanted)


def broken(here, error):
    """The handshake broke: the host knows how, a modem may call it a failure to connect."""
    assert isinstance(error, HandshakeError | SocketClosedError)
    if here.host:
        assert not isinstance(error, ConnectOrHandshakeError)
        assert error.pair in {(Category.ERRNO, Errno.EPROTO), (Category.ERRNO, Errno.ECONNRESET)} or (
            error.category is Category.TLS_LIBRARY
        )
    else:
        assert error.pair == (Category.ERRNO, Errno.ECONNREFUSED)


class TestKeys:
    @pytest.mark.parametrize("psk", [Psk(IDENTITY, bytes(16)), Psk(b"nobody", KEY)], ids=["key", "identity"])
    def test_another_key_or_identity_is_refused(self, here, good, psk):
        """A server answers with an alert or not at all; either way there is no connection."""
        here.need("psk", "dtls")
        sock = here.secure(psk, datagram=True, **here.short)
        with here.hurried():
            error = refused(sock, good.psk.port, timeout=here.limit)
        assert isinstance(error, HandshakeError | ModemTimeoutError)
        if here.host:
            assert error.category in {Category.TLS_ALERT, Category.ERRNO}
            assert error.category is Category.TLS_ALERT or error.code == Errno.ETIMEDOUT
        right = here.secure(Psk(IDENTITY, KEY), datagram=True)
        talk(right, good.psk.port)


class TestSilence:
    def test_a_server_that_never_answers(self, here, good, datagram):
        here.need(*["dtls"] * datagram)
        sock = here.secure(here.security(good.pki, datagram=datagram), datagram=datagram, **here.short)
        with Silent(datagram=datagram) as silent, here.hurried():
            lost(here, refused(sock, silent.port, timeout=here.limit))
            if datagram:
                assert silent.heard()

    def test_the_callers_time_is_out_before_the_modems(self, here, good):
        """The modem goes on; what it makes of the connection too late belongs to nobody."""
        sock = here.secure(here.certificates(good.pki))
        with relay(good.stream, datagram=False) as way, here.hurried(1.0):
            way.change = silent_from(2)
            error = refused(sock, way.port, timeout=0.1)
            assert isinstance(error, ModemTimeoutError)
            assert error.pair == (Category.ERRNO, Errno.ETIMEDOUT)
        talk(sock, good.stream)

    def test_nobody_is_there(self, here, good):
        with Silent(datagram=False) as gone:
            pass
        error = refused(here.secure(here.certificates(good.pki)), gone.port)
        assert isinstance(error, ConnectError | ConnectOrHandshakeError)
        assert error.pair == (Category.ERRNO, Errno.ECONNREFUSED)


class TestCuts:
    """The server's flights of TLS 1.2 are 2 and 4; of DTLS 1.2, with its cookie, 2, 4 and 6."""

    @pytest.mark.parametrize("flight", [2, 4])
    @pytest.mark.parametrize("how", ["stops", "closes", "resets", "garbage"])
    def test_a_stream_is_cut_at_each_flight(self, here, good, how, flight):
        change = {
            "stops": silent_from(flight),
            "closes": cut_at(flight),
            "resets": cut_at(flight, reset=True),
            "garbage": replaced(flight, JUNK),
        }[how]
        sock = here.secure(here.certificates(good.pki))
        with relay(good.stream, datagram=False) as way, here.hurried():
            way.change = change
            error = refused(sock, way.port, timeout=here.limit if how == "stops" else None)
            assert way.flights >= flight
            if how == "stops":
                lost(here, error)
            else:
                broken(here, error)
            way.change = lambda *at: [at[-1]]
            talk(sock, way.port)

    @pytest.mark.parametrize("flight", [1, 3])
    def test_a_stream_whose_server_hears_garbage(self, here, good, flight):
        """It answers with an alert, or ends."""
        sock = here.secure(here.certificates(good.pki))
        with relay(good.stream, datagram=False) as way:
            way.change = lambda way, number, data: [JUNK if number == flight else data]
            error = refused(sock, way.port)
        if here.host and error.category is Category.TLS_ALERT:
            assert error.alert[0] == FATAL
        else:
            broken(here, error)

    @pytest.mark.parametrize("flight", [2, 4, 6])
    def test_datagrams_stop_at_each_flight(self, here, good, flight):
        here.need("dtls")
        security = here.security(good.pki, datagram=True)
        sock = here.secure(security, datagram=True, **here.short)
        with relay(good.port(security, datagram=True), datagram=True) as way, here.hurried():
            way.change = silent_from(flight)
            lost(here, refused(sock, way.port, timeout=here.limit))
            assert way.flights >= flight
            way.change = lambda *at: [at[-1]]
            sock = here.secure(security, datagram=True)
            talk(sock, way.port)

    def test_forged_datagrams_in_a_handshake_change_nothing(self, here, good):
        """Anybody can send them; what is no record is dropped. (Data in clear is one, and ends OpenSSL.)"""
        here.need("dtls")
        security = here.security(good.pki, datagram=True)
        forged = [
            JUNK,
            b"",
            b"\x16",
            os.urandom(1200),
            bytes([22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]),  # a record longer than its datagram
            bytes([22, 254, 253, 0, 9, 0, 0, 0, 0, 0, 9, 0, 3]) + b"abc",  # of an epoch to come
            bytes([22, 3, 3, 0, 3]) + b"abc",  # of a stream
        ]
        with relay(good.port(security, datagram=True), datagram=True) as way:
            way.change = lambda way, _, data: [*forged, data] if way == "down" else [data]
            talk(here.secure(security, datagram=True), way.port)


class TestAlerts:
    @pytest.mark.parametrize("description", ALERTS.values(), ids=ALERTS)
    def test_in_the_handshake(self, here, good, description):
        def say(stream):
            stream.recv(1000)
            stream.sendall(bytes([21, 3, 3, 0, 2, FATAL, description]))
            stream.recv(10_000)

        with plain_peer(say) as port:
            error = refused(here.secure(here.certificates(good.pki)), port)
        assert isinstance(error, HandshakeError)
        if here.host:
            assert error.pair == (Category.TLS_ALERT, FATAL << 8 | description)
            assert error.alert == (FATAL, description)
        else:
            assert error.pair == (Category.ERRNO, Errno.ECONNREFUSED)

    def test_goodbye_in_the_handshake(self, here, good):
        def say(stream):
            stream.recv(1000)
            stream.sendall(bytes([21, 3, 3, 0, 2, WARNING, 0]))
            stream.recv(10_000)

        with plain_peer(say) as port:
            error = refused(here.secure(here.certificates(good.pki)), port)
        assert isinstance(error, HandshakeError)

    def test_while_there_is_data(self, here, good):
        """A record that was changed on the way: the server says so, encrypted, and has gone."""
        sock = here.secure(here.certificates(good.pki))
        with relay(good.stream, datagram=False) as way:
            talk(sock, way.port)
            way.change = lambda way, _, data: [data[:-1] + bytes([data[-1] ^ 1]) if way == "up" else data]
            sock.send(b"more")
            if here.host:
                for _ in range(2):
                    with pytest.raises(OSError) as caught:
                        sock.receive(10, timeout=5)
                    assert caught.value.pair == (Category.TLS_ALERT, FATAL << 8 | 20)
            else:  # "closed" for any reason: the end, and nobody says that it is the peer's own
                assert sock.receive(10, timeout=5) == b""
                assert sock.end_authenticated is False
            assert sock.state is State.CONNECTED
            sock.close()
            assert sock.state is State.CLOSED
            way.change = lambda *at: [at[-1]]
            talk(sock, way.port)

    def test_a_record_from_the_server_that_was_changed(self, here, good):
        """Not a byte of it reaches the caller."""
        sock = here.secure(here.certificates(good.pki))
        with relay(good.stream, datagram=False) as way:
            talk(sock, way.port)
            way.change = lambda way, _, data: [data[:-1] + bytes([data[-1] ^ 1]) if way == "down" else data]
            sock.send(b"more")
            if here.host:
                with pytest.raises(OSError) as caught:
                    sock.receive(10, timeout=5)
                assert caught.value.pair == (Category.ERRNO, Errno.EPROTO)
            else:
                assert sock.receive(10, timeout=5) == b""
                assert sock.end_authenticated is False

    def test_goodbye_while_there_is_data(self, here, good, datagram):
        here.need(*["dtls"] * datagram)
        security = here.security(good.pki, datagram=datagram)
        sock = here.secure(security, datagram=datagram)
        if datagram:
            talk(sock, good.port(security, datagram=True))
            (good.psk if isinstance(security, Psk) else good.certified).close_all()
        else:
            with tls_peer(good.leaf, versions=("TLSv1_2", "TLSv1_2"), serve=lambda one: one.unwrap()) as peer:
                sock.connect(*peer.address)
        for _ in range(2):
            assert sock.receive(10, timeout=5) == b""
        assert sock.end_authenticated is (True if here.host else bool(here.able("close_reason")))
        assert sock.state is State.CONNECTED
        assert sock.get_opt(Option.STATE) is State.CONNECTED
        sock.close()
        talk(sock, good.port(security, datagram=datagram))
        answers(sock, b"again")
