"""The contract over a modem: streams that listen, and those that call; against a scripted modem."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from modemtls.errors import ConfigurationError, ModemError, ModemRestartedError, ModemTimeoutError, NotSupportedError
from modemtls.modem.slots import Slot
from modemtls.net import Errno, Option, State, create_ssl_socket, create_tcp_socket, error_pair
from modemtls.net.streams import StreamSocket
from tests.support.fakemodem import FakeSockets, Peer
from tests.support.fakepackets import PacketModem
from tests.support.offload import TLS
from tests.support.threads import in_thread, until


class Listening(FakeSockets):
    """Callers come by :meth:`call`; with ``polled`` nobody is told of them."""

    polled = False

    def __init__(self, modem) -> None:
        super().__init__(modem)
        self.coming: list[Slot] = []

    def call(self, remote=("192.0.2.1", 4000)) -> Peer:
        modem, listener = self.modem, self.modem.listener
        slot = Slot("tcp", len(modem.peers), epoch=1)
        slot.state, slot.remote = "open", remote
        modem.peers.append(Peer(modem, slot))
        self.coming.append(slot)
        if not self.polled:
            listener.note_data(None)
            listener.tell()
        modem.channel.notify()
        return modem.peers[-1]

    def accept(self, slot, *, deadline=None):
        self.modem.commands.append("accept")
        if self.coming:
            return self.coming.pop(0)
        slot.drained(slot.mark())
        return None


@pytest.fixture
def modem():
    return listening_modem()


def listening_modem(**options):
    made = PacketModem(capabilities={"listen": True}, **options)
    made.sockets = Listening(made)
    made.sockets.polled = "poll" in options
    return made


def listener(modem):
    sock = create_tcp_socket(modem)
    sock.bind(None, "7")
    modem.listener = modem.peer.slot
    modem.commands.clear()
    return sock


def fails(code, call, *given, **named):
    with pytest.raises(ModemError) as caught:
        call(*given, **named)
    assert error_pair(caught.value).code == code, caught.value


class TestListening:
    def test_bound_is_listening(self, modem):
        sock = listener(modem)
        assert [(one.family, one.how, one.local_port) for one in modem.openings] == [("tcp", "listen", 7)]
        assert (sock.state, sock.local_port) == (State.BOUND, "7")
        fails(Errno.EISCONN, sock.connect, "peer.example", "7")
        fails(Errno.EISCONN, sock.bind, None, "7")
        for call in (lambda: sock.send(b"x"), lambda: sock.receive(1)):
            fails(Errno.EBADF, call)
        assert sock.get_opt(Option.HAS_BUFFERED_DATA) is False
        sock.shutdown()
        assert (sock.state, modem.peers[0].closed_by_driver) == (State.SHUTDOWN, True)
        fails(Errno.ENETDOWN, sock.accept, timeout=0)

    def test_what_cannot_be_bound(self, modem):
        sock = create_tcp_socket(modem)
        fails(Errno.EADDRNOTAVAIL, sock.bind, "192.0.2.1", "7")
        with pytest.raises(ConfigurationError):
            sock.bind(None, "99999")
        with pytest.raises(NotSupportedError) as caught:
            sock.bind(None, "0")
        assert caught.value.capability == "ephemeral_port"
        modem.fail_open = [ModemTimeoutError("no")]
        fails(Errno.ETIMEDOUT, sock.bind, None, "7")
        assert sock.state is State.CLOSED
        sock.connect("peer.example", "7")
        assert modem.openings[-1].local_port is None

    @pytest.mark.parametrize("secure", [False, True])
    def test_a_modem_that_cannot_listen(self, secure):
        modem = PacketModem()
        sock = create_ssl_socket(modem, TLS) if secure else create_tcp_socket(modem)
        with pytest.raises(NotSupportedError) as caught:
            sock.bind(None, "7")
        assert caught.value.capability == ("server" if secure else "listen")
        if secure:
            with pytest.raises(NotSupportedError) as caught:
                sock.accept()
            assert caught.value.capability == "accept"
        else:
            fails(Errno.ENETDOWN, sock.accept)
        assert modem.commands == []


class TestAccepting:
    def test_who_calls_is_given_a_socket_of_its_own(self, modem):
        sock = listener(modem)
        first, second = modem.sockets.call(), modem.sockets.call(("192.0.2.2", 4001))
        called = [sock.accept(timeout=0), sock.accept(timeout=0)]
        assert {each.state for each in called} == {State.ACCEPTED}
        assert sock.state is State.BOUND
        names = [(one.remote_hostname, one.remote_host, one.remote_port) for one in called]
        assert names == [("192.0.2.1", "192.0.2.1", "4000"), ("192.0.2.2", "192.0.2.2", "4001")]
        called[1].send(b"hello")
        assert (first.received, second.received) == (b"", b"hello")
        first.say(b"hi")
        assert called[0].receive(10) == b"hi"
        called[0].close()
        assert (first.closed_by_driver, second.closed_by_driver) == (True, False)
        called[0].connect("peer.example", "7")  # a socket as any other, then
        sock.close()
        assert called[1].state is State.ACCEPTED
        called[1].shutdown()
        assert called[1].state is State.SHUTDOWN

    def test_whom_the_modem_does_not_tell_of_has_no_name(self, modem):
        sock = listener(modem)
        modem.sockets.call(None)
        called = sock.accept()
        for name in ("remote_hostname", "remote_port"):
            fails(Errno.ENOBUFS, getattr, called, name)
        fails(Errno.ENOTSUP, getattr, called, "remote_host")

    def test_nobody_calls(self, modem):
        sock = listener(modem)
        fails(Errno.ETIMEDOUT, sock.accept, timeout=0.02)
        assert modem.commands == [], "the modem would have said so"
        fails(Errno.ENETDOWN, create_tcp_socket(modem).accept)

    def test_it_waits(self, modem):
        sock = listener(modem)
        result = in_thread(lambda: sock.accept(timeout=5))
        until(lambda: modem.channel.waiting)
        modem.sockets.call()
        assert result().state is State.ACCEPTED

    def test_a_modem_that_gives_no_notice_is_asked_in_its_period(self):
        modem = listening_modem(poll=0.01)
        sock = listener(modem)
        fails(Errno.ETIMEDOUT, sock.accept, timeout=0)
        assert modem.commands == ["accept"]
        result = in_thread(lambda: sock.accept(timeout=5))
        until(lambda: len(modem.commands) > 3)
        modem.sockets.call()
        assert result().state is State.ACCEPTED

    def test_its_period_is_no_reason_to_wait_longer(self):
        sock = listener(listening_modem(poll=60))
        began = time.monotonic()
        fails(Errno.ETIMEDOUT, sock.accept, timeout=0.02)
        assert time.monotonic() - began < 5

    def test_the_handle_tells_that_somebody_calls(self, modem):
        sock = listener(modem)
        told = threading.Event()
        sock.watch(told.set)
        assert not sock.ready
        modem.sockets.call()
        assert sock.ready
        assert told.wait(5)

    def test_closing_wakes_who_waits(self, modem):
        sock = listener(modem)
        result = in_thread(lambda: sock.accept(timeout=5))
        until(lambda: modem.channel.waiting)
        sock.close()
        fails(Errno.ENETDOWN, result)

    def test_a_restart_wakes_who_waits(self, modem):
        sock = listener(modem)
        result = in_thread(lambda: sock.accept(timeout=5))
        until(lambda: modem.channel.waiting)
        modem.peers[0].lose(ModemRestartedError("restarted"))
        with pytest.raises(ModemRestartedError):
            result()

    def test_a_listener_that_the_modem_closed(self, modem):
        sock = listener(modem)
        modem.peers[0].close()
        fails(Errno.ENETDOWN, sock.accept)

    def test_an_interrupt_leaves_no_caller_behind(self, modem, monkeypatch):
        sock = listener(modem)
        peer = modem.sockets.call()
        with monkeypatch.context() as patch:
            patch.setattr(StreamSocket, "_take_up", lambda *given: signal.raise_signal(signal.SIGINT))
            with pytest.raises(KeyboardInterrupt):
                sock.accept()
        assert peer.closed_by_driver
        modem.sockets.call()
        assert sock.accept().state is State.ACCEPTED
