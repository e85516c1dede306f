"""The selectable socket behaves as Python's own: readiness and non-blocking mode."""

from __future__ import annotations

import errno
import select
import selectors
import socket
import threading
import time

import pytest

from modemtls.at.grammar import Outcome
from modemtls.errors import CommandError, PdpError
from modemtls.sockets.endpoint import RECEIVE_WINDOW, SEND_WINDOW
from tests.support.fakemodem import Answer
from tests.support.socket_bench import (
    Bench,
    bench_fixture,  # noqa: F401
    readable,
    writable,
)
from tests.support.threads import in_thread, until


class TestReadiness:
    def test_readable_exactly_when_recv_gives_data(self, bench):
        sock = bench.socket()
        assert not readable(sock)
        bench.peer.say(b"abc")
        assert readable(sock, 5)
        sock.setblocking(False)
        assert sock.recv(2) == b"ab"
        assert readable(sock)
        assert sock.recv(2) == b"c"
        until(lambda: bench.modem.commands == ["receive", "receive"])
        assert not readable(sock)
        with pytest.raises(BlockingIOError):
            sock.recv(1)
        bench.peer.say(b"d")
        assert readable(sock, 5)
        assert sock.recv(9) == b"d"

    def test_readable_at_the_end_for_ever(self, bench):
        sock = bench.socket(timeout=0)
        assert not readable(sock)
        bench.peer.say(b"abc")
        bench.peer.close()
        assert readable(sock, 5)
        assert sock.recv(10) == b"abc"
        for _ in range(3):
            assert readable(sock, 5)
            assert sock.recv(10) == b""

    def test_readable_on_an_error(self, bench):
        sock = bench.socket(timeout=0)
        assert not readable(sock)
        bench.peer.lose(PdpError("bearer lost"))
        for _ in range(2):
            assert readable(sock, 5)
            with pytest.raises(PdpError):
                sock.recv(1)

    def test_data_that_came_before_anybody_selected(self, bench):
        sock = bench.socket()
        bench.peer.say(b"abc")
        assert readable(sock, 5)

    def test_data_left_over_from_a_blocking_recv(self, bench):
        sock = bench.socket()
        bench.peer.say(b"abc")
        sock.recv(1)
        assert readable(sock)

    def test_peeking_leaves_it_readable(self, bench):
        sock = bench.socket(timeout=0)
        bench.peer.say(b"abc")
        assert readable(sock, 5)
        assert sock.recv(1, socket.MSG_PEEK) == b"a"
        assert readable(sock)

    def test_poll_epoll_selectors(self, bench):
        sock = bench.socket()
        poll = select.poll()
        poll.register(sock, select.POLLIN | select.POLLOUT)
        assert poll.poll(0) == [(sock.fileno(), select.POLLOUT)]
        with select.epoll() as epoll, selectors.DefaultSelector() as selector:
            epoll.register(sock, select.EPOLLIN)
            selector.register(sock, selectors.EVENT_READ)
            assert epoll.poll(0) == []
            assert selector.select(0) == []
            bench.peer.say(b"x")
            assert epoll.poll(5)
            assert selector.select(5)[0][0].fileobj is sock
            assert poll.poll(0) == [(sock.fileno(), select.POLLIN | select.POLLOUT)]
            sock.setblocking(False)
            assert sock.recv(1) == b"x"
            until(lambda: len(bench.modem.commands) == 2)
            assert epoll.poll(0) == []

    def test_no_hang_up_is_signalled_at_the_end(self, bench):
        """EPOLLHUP would be reported whether it was asked for or not, and event loops take it for an error."""
        sock = bench.socket(timeout=0)
        poll = select.poll()
        poll.register(sock, 0)
        bench.peer.close()
        assert readable(sock, 5)
        assert poll.poll(0) == []

    def test_reads_ahead_into_a_bounded_window(self, bench):
        sock = bench.socket(timeout=0)
        sock.fileno()
        data = bytes(range(256)) * 1024
        bench.peer.say(data)
        quiet = 0

        def settled():
            nonlocal quiet
            before = len(bench.modem.commands)
            time.sleep(0.005)
            quiet = quiet + 1 if len(bench.modem.commands) == before else 0
            return quiet > 3

        until(settled)
        assert RECEIVE_WINDOW <= len(data) - len(bench.peer.waiting) < RECEIVE_WINDOW + 1500
        got = b""
        while len(got) < len(data):
            assert readable(sock, 5)
            got += sock.recv(10000)
        assert got == data

    def test_push(self, bench):
        sock = bench.socket(timeout=0, receive="push")
        assert not readable(sock)
        bench.peer.say(b"abc")
        assert readable(sock)
        assert sock.recv(10) == b"abc"
        assert not readable(sock)
        assert bench.modem.commands == []

    def test_two_sockets_are_served_in_turn(self, bench):
        one = bench.socket(timeout=0)
        first = bench.peer
        two = bench.socket(timeout=0)
        second = bench.peer
        first.say(bytes(20000))
        second.say(b"small")
        assert readable(two, 5)
        order = list(bench.modem.commands)
        assert two.recv(10) == b"small"
        assert len(order) <= 20
        assert readable(one, 5)

    def test_a_modem_that_gives_no_notice_is_asked_by_the_pump(self):
        bench = Bench(poll=0.01)
        sock = bench.socket(timeout=0)
        try:
            assert not readable(sock, 0.03)
            with bench.modem.lock:
                bench.peer.waiting += b"abc"
            assert readable(sock, 5)
            assert sock.recv(10) == b"abc"
        finally:
            sock.close()
            bench.pump.drain(5)
            bench.pump.close()

    def test_the_idle_pump_does_not_wake_up(self, bench):
        sock = bench.socket(timeout=0)
        bench.peer.say(b"x")
        assert readable(sock, 5)
        sock.recv(1)
        until(lambda: len(bench.modem.commands) == 2)
        steps = 0
        serve = bench.pump._serve

        def counted():
            nonlocal steps
            steps += 1
            return serve()

        bench.pump._serve = counted
        until(lambda: not bench.pump._rung)
        time.sleep(0.02)  # for the round that may be under way
        steps = 0
        time.sleep(0.05)
        assert steps == 0
        assert bench.pump._due() is None


class TestNonBlockingSend:
    def test_accepted_then_sent_in_order(self, bench):
        sock = bench.socket(timeout=0)
        data = bytes(range(256)) * 100
        view = memoryview(data)
        while view:
            assert writable(sock, 5)
            view = view[sock.send(view) :]
        until(lambda: len(bench.peer.received) == len(data))
        assert bench.peer.received == data

    def test_unwritable_exactly_when_there_is_no_room(self, bench):
        sock = bench.socket(timeout=0)
        gate = threading.Event()

        def script(op, slot, b):
            gate.wait(5)
            return

        bench.modem.script = script
        assert writable(sock)
        sent = sock.send(bytes(SEND_WINDOW - 1))
        assert sent == SEND_WINDOW - 1
        assert writable(sock)
        assert sock.send(b"ab") == 1
        assert not writable(sock)
        assert not readable(sock)
        with pytest.raises(BlockingIOError):
            sock.send(b"c")
        gate.set()
        assert writable(sock, 5)
        assert sock.send(b"c") == 1
        until(lambda: len(bench.peer.received) == SEND_WINDOW + 1)

    def test_sendall_sends_what_it_can(self, bench):
        sock = bench.socket(timeout=0)
        gate = threading.Event()
        bench.modem.script = lambda op, slot, b: gate.wait(5) and None
        with pytest.raises(BlockingIOError):
            sock.sendall(bytes(SEND_WINDOW + 1))
        gate.set()
        until(lambda: len(bench.peer.received) == SEND_WINDOW)

    def test_busy_is_offered_again(self, bench):
        sock = bench.socket(timeout=0)
        answers = [Answer(Outcome.BUSY)]
        bench.modem.script = lambda op, slot, b: answers.pop() if answers else None
        sock.send(b"abc")
        until(lambda: bench.peer.received == b"abc")
        assert bench.modem.commands == ["send", "send"]

    def test_a_late_failure_shows_in_so_error(self, bench):
        sock = bench.socket(timeout=0)

        def script(op, slot, b):
            raise CommandError("the modem answered ERROR")

        bench.modem.script = script
        assert sock.send(b"abc") == 3
        assert readable(sock, 5)
        assert writable(sock)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.EIO
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        assert not readable(sock)
        with pytest.raises(BlockingIOError):
            sock.recv(1)

    @pytest.mark.parametrize("call", [lambda s: s.send(b"x"), lambda s: s.recv(1), lambda s: s.sendall(b"x")])
    def test_or_in_the_next_call_once(self, bench, call):
        sock = bench.socket(timeout=0)

        def script(op, slot, b):
            raise CommandError("the modem answered ERROR")

        bench.modem.script = script
        sock.send(b"abc")
        assert readable(sock, 5)
        with pytest.raises(CommandError):
            call(sock)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0

    def test_on_a_connection_that_is_known_to_be_lost_nothing_is_accepted(self, bench):
        sock = bench.socket(timeout=0)
        bench.peer.lose(PdpError("bearer lost"))
        for _ in range(2):
            with pytest.raises(PdpError):
                sock.send(b"x")

    def test_data_comes_before_the_late_failure(self, bench):
        sock = bench.socket(timeout=0)
        bench.peer.say(b"abc")
        assert readable(sock, 5)
        until(lambda: len(bench.modem.commands) == 2)

        def script(op, slot, b):
            raise CommandError("the modem answered ERROR")

        bench.modem.script = script
        sock.send(b"x")
        until(lambda: bench.modem.commands[-1] == "send")
        until(lambda: not writable(sock) or sock._endpoint._late is not None)
        assert sock.recv(10) == b"abc"
        with pytest.raises(CommandError):
            sock.recv(10)

    def test_a_blocking_send_waits_for_what_was_accepted_before(self, bench):
        sock = bench.socket(timeout=0)
        gate = threading.Event()
        bench.modem.script = lambda op, slot, b: gate.wait(5) and None
        sock.send(b"first ")
        sock.settimeout(5)
        result = in_thread(lambda: sock.sendall(b"second"))
        gate.set()
        result()
        assert bench.peer.received == b"first second"
