"""The selectable socket behaves as Python's own: readiness, time-outs, non-blocking mode, ends, refusals."""

from __future__ import annotations

import errno
import gc
import os
import pickle
import select
import selectors
import socket
import threading
import time

import pytest

from modemtls.at.grammar import Outcome
from modemtls.errors import CommandError, NotSupportedError, PdpError
from modemtls.net import Certificates, SslConfiguration, Stored, create_ssl_socket, create_tcp_socket
from modemtls.sockets.endpoint import RECEIVE_WINDOW, SEND_WINDOW
from modemtls.sockets.pump import Pump
from modemtls.sockets.stream import ModemSocket
from tests.support.fakemodem import Answer, FakeModem
from tests.unit.test_net_offload import in_thread, until

TLS = SslConfiguration(security=Certificates(trusted=Stored("ca.pem")))


class Bench:
    """A modem, its pump, and sockets made of them."""

    def __init__(self, **options):
        self.modem = FakeModem(**options)
        self.pump = Pump(self.modem.now)
        self.sockets = []

    def socket(self, host="server.example", timeout=None, tls=True, **options):
        made = create_ssl_socket(self.modem, TLS, **options) if tls else create_tcp_socket(self.modem, **options)
        made.connect(host, "443")
        self.modem.commands.clear()
        sock = ModemSocket(made, self.pump, (host, 443), timeout=timeout)
        self.sockets.append(sock)
        return sock

    @property
    def peer(self):
        return self.modem.peer


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.modem.script = lambda op, slot, b: None
    for sock in made.sockets:
        sock.close()
    made.pump.drain(5)
    made.pump.close()


def readable(sock, timeout=0.0):
    return bool(select.select([sock], [], [], timeout)[0])


def writable(sock, timeout=0.0):
    return bool(select.select([], [sock], [], timeout)[1])


class TestBlocking:
    def test_both_ways(self, bench):
        sock = bench.socket()
        sock.sendall(b"x" * 3000)
        assert sock.send(b"yz") == 2
        assert bench.peer.received == b"x" * 3000 + b"yz"
        bench.peer.say(b"hello")
        assert sock.recv(2) == b"he"
        assert sock.recv(100) == b"llo"

    def test_costs_no_thread_and_no_read_ahead(self, bench):
        before = threading.active_count()
        sock = bench.socket()
        bench.peer.say(b"x" * 5000)
        sock.recv(1)
        sock.sendall(b"y")
        assert threading.active_count() == before
        assert bench.modem.commands == ["receive", "send"]

    def test_recv_into(self, bench):
        sock = bench.socket()
        bench.peer.say(b"abcdef")
        room = bytearray(4)
        assert sock.recv_into(room) == 4
        assert room == b"abcd"
        assert sock.recv_into(memoryview(room)[1:], 1) == 1
        assert room == b"aecd"
        with pytest.raises(ValueError):
            sock.recv_into(room, 5)
        assert sock.recv_into(room) == 1

    def test_a_buffer_that_cannot_be_written_costs_no_data(self, bench):
        sock = bench.socket(timeout=1)
        bench.peer.say(b"abcdef")
        for wrong in (b"abc", "abc", memoryview(bytearray(6))[::2]):
            for call in (
                lambda w=wrong: sock.recv_into(w), lambda w=wrong: sock.recvfrom_into(w),
                lambda w=wrong: sock.recvmsg_into([bytearray(1), w]),
            ):  # fmt: skip
                with pytest.raises((TypeError, BufferError)):
                    call()
        with pytest.raises(TypeError):
            sock.recv_into(b"abc")
        assert bench.modem.commands == []
        assert sock.recv(10) == b"abcdef"

    def test_the_lesser_known_receives(self, bench):
        sock = bench.socket()
        bench.peer.say(b"abcdefghij")
        assert sock.recvfrom(2) == (b"ab", None)
        room = bytearray(2)
        assert sock.recvfrom_into(room) == (2, None)
        assert sock.recvmsg(2) == (b"ef", [], 0, None)
        rooms = [bytearray(1), bytearray(2)]
        assert sock.recvmsg_into(rooms) == (3, [], 0, None)
        assert rooms == [b"g", b"hi"]

    def test_the_lesser_known_sends(self, bench, tmp_path):
        sock = bench.socket()
        assert sock.sendmsg([b"ab", bytearray(b"cd")]) == 4
        path = tmp_path / "file"
        path.write_bytes(b"x" * 20000)
        with path.open("rb") as file:
            assert sock.sendfile(file) == 20000
        assert bench.peer.received == b"abcd" + b"x" * 20000
        for refused in (lambda: sock.sendto(b"x", ("a", 1)), lambda: sock.sendmsg([b"x"], (), 0, ("a", 1))):
            with pytest.raises(OSError) as caught:
                refused()
            assert caught.value.errno == errno.EISCONN

    def test_the_system_call_sendfile_is_refused_by_the_descriptor(self, bench, tmp_path):
        sock = bench.socket()
        path = tmp_path / "file"
        path.write_bytes(b"x" * 20)
        with path.open("rb") as file, pytest.raises(OSError) as caught:
            os.sendfile(sock.fileno(), file.fileno(), 0, 20)
        assert caught.value.errno == errno.EINVAL
        assert writable(sock)
        assert bench.peer.received == b""

    def test_flags(self, bench):
        sock = bench.socket()
        with pytest.raises(BlockingIOError):
            sock.recv(1, socket.MSG_DONTWAIT)
        bench.peer.say(b"abcdef")
        assert sock.recv(3, socket.MSG_PEEK) == b"abc"
        assert sock.recv(3, socket.MSG_PEEK) == b"abc"
        result = in_thread(lambda: sock.recv(10, socket.MSG_WAITALL))
        bench.peer.say(b"ghijkl")
        assert result() == b"abcdefghij"
        for refused in (lambda: sock.recv(1, socket.MSG_OOB), lambda: sock.send(b"x", socket.MSG_OOB)):
            with pytest.raises(OSError) as caught:
                refused()
            assert caught.value.errno == errno.EOPNOTSUPP

    def test_end_of_stream(self, bench):
        sock = bench.socket()
        bench.peer.say(b"x" * 2000)
        bench.peer.close()
        got = b""
        while piece := sock.recv(700):
            got += piece
        assert len(got) == 2000
        assert sock.recv(1) == b""
        assert sock.end_authenticated is False

    def test_reset(self, bench):
        sock = bench.socket()
        bench.peer.close()
        with pytest.raises(ConnectionResetError):
            sock.send(b"x")

    def test_a_loss_has_its_reason(self, bench):
        sock = bench.socket()
        bench.peer.lose(PdpError("the network ended PDP context 1"))
        for call in (lambda: sock.recv(1), lambda: sock.send(b"x"), lambda: sock.sendall(b"x")):
            with pytest.raises(OSError, match="PDP context 1"):
                call()

    def test_empty(self, bench):
        sock = bench.socket()
        assert sock.send(b"") == 0
        assert sock.sendall(b"") is None
        assert sock.recv(0) == b""
        assert bench.modem.commands == []
        with pytest.raises(ValueError):
            sock.recv(-1)


class TestTimeouts:
    def test_recv(self, bench):
        sock = bench.socket(timeout=0.02)
        with pytest.raises(TimeoutError, match="timed out"):
            sock.recv(1)
        bench.peer.say(b"x")
        assert sock.recv(1) == b"x"

    def test_sendall(self, bench):
        sock = bench.socket(timeout=0.05)
        taken = []

        def script(op, slot, b):
            if op == "send" and taken:
                return Answer(Outcome.BUSY)
            taken.append(b["size"])
            return None

        bench.modem.script = script
        with pytest.raises(TimeoutError):
            sock.sendall(bytes(3000))

    def test_send_tells_what_it_got_rid_of(self, bench):
        sock = bench.socket(timeout=0.05)
        bench.modem.script = lambda op, slot, b: Answer(Outcome.BUSY) if len(bench.peer.received) else None
        assert sock.send(bytes(3000)) == 1460
        with pytest.raises(TimeoutError):
            sock.send(bytes(10))

    def test_values(self, bench):
        sock = bench.socket(timeout=3)
        assert (sock.gettimeout(), sock.timeout, sock.getblocking()) == (3, 3, True)
        sock.settimeout(0)
        assert (sock.gettimeout(), sock.getblocking()) == (0, False)
        sock.setblocking(True)
        assert (sock.gettimeout(), sock.getblocking()) == (None, True)
        sock.setblocking(False)
        assert sock.gettimeout() == 0

    @pytest.mark.parametrize(
        "value",
        [-1, -0.5, float("nan"), float("inf"), -float("inf"), 1e10, 1e300, 10**30, "x", "1", b"1", [], 1j, True, 3,
         -0.0, 1e9],
    )  # fmt: skip
    def test_values_are_taken_and_refused_as_pythons_own_sockets_do(self, bench, value):
        sock = bench.socket(timeout=3)
        with socket.socket() as own:
            own.settimeout(3)
            refusal = None
            try:
                own.settimeout(value)
            except (ValueError, TypeError, OverflowError) as error:
                refusal = type(error)
            if refusal is None:
                sock.settimeout(value)
            else:
                with pytest.raises(refusal):
                    sock.settimeout(value)
            assert sock.gettimeout() == own.gettimeout()

    def test_a_time_out_of_a_century(self, bench):
        sock = bench.socket(timeout=3e9)
        result = in_thread(lambda: sock.recv(1))
        until(lambda: bench.modem.channel.waiting)
        bench.peer.say(b"x")
        assert result() == b"x"
        sock.sendall(b"x")
        sock.setblocking(False)
        sock.send(b"y")
        sock.settimeout(3e9)
        sock.sendall(b"z")
        assert bench.peer.received == b"xyz"


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


class TestShutdownAndClose:
    def test_shut_wr_flushes_and_refuses(self, bench):
        sock = bench.socket(timeout=0)
        sock.send(b"abc")
        sock.setblocking(True)
        sock.shutdown(socket.SHUT_WR)
        assert bench.peer.received == b"abc"
        for call in (sock.send, sock.sendall):
            with pytest.raises(BrokenPipeError):
                call(b"x")
        bench.peer.say(b"answer")
        assert sock.recv(100) == b"answer"
        assert not bench.peer.closed_by_driver

    def test_shut_wr_does_not_block_a_non_blocking_socket(self, bench):
        sock = bench.socket(timeout=0)
        gate = threading.Event()
        bench.modem.script = lambda op, slot, b: gate.wait(5) and None
        sock.send(b"abc")
        sock.shutdown(socket.SHUT_WR)
        with pytest.raises(BrokenPipeError):
            sock.send(b"x")
        gate.set()
        until(lambda: bench.peer.received == b"abc")

    def test_shut_rd(self, bench):
        sock = bench.socket()
        bench.peer.say(b"abc")
        sock.shutdown(socket.SHUT_RD)
        assert sock.recv(10) == b""
        assert readable(sock)
        sock.sendall(b"x")

    @pytest.mark.parametrize("timeout", [None, 0])
    def test_shut_rdwr_ends_the_connection(self, bench, timeout):
        sock = bench.socket(timeout=timeout)
        sock.shutdown(socket.SHUT_RDWR)
        until(lambda: bench.peer.closed_by_driver)
        assert sock.recv(1) == b""
        with pytest.raises(BrokenPipeError):
            sock.send(b"x")
        sock.close()

    def test_shut_rdwr_releases_a_receiver(self, bench):
        sock = bench.socket()
        result = in_thread(lambda: sock.recv(10))
        until(lambda: bench.modem.channel.waiting)
        sock.shutdown(socket.SHUT_RDWR)
        assert result() == b""

    def test_what_the_pump_leaves_unsent_is_told(self, bench, caplog):
        sock = bench.socket(timeout=0)
        bench.modem.script = lambda op, slot, b: Answer(Outcome.BUSY)
        sock.send(b"abc")
        flushed = in_thread(lambda: sock.shutdown(socket.SHUT_WR))
        bench.pump.drain(0.01)
        bench.pump.close()
        assert "3 bytes" in caplog.text
        assert readable(sock)
        flushed()
        with pytest.raises(ConnectionError, match="3 bytes"):
            sock.recv(1)
        with pytest.raises(OSError):
            sock.send(b"d")

    def test_close(self, bench):
        sock = bench.socket()
        sock.close()
        sock.close()
        assert bench.modem.commands == ["close"]
        assert sock.fileno() == -1
        assert "[closed]" in repr(sock)
        for call in (
            lambda: sock.recv(1), lambda: sock.send(b""), lambda: sock.sendall(b"x"), sock.getpeername,
            lambda: sock.shutdown(socket.SHUT_WR), lambda: sock.settimeout(1),
            lambda: sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR),
        ):  # fmt: skip
            with pytest.raises(OSError) as caught:
                call()
            assert caught.value.errno == errno.EBADF

    def test_close_with_unsent_data_sends_it(self, bench):
        sock = bench.socket(timeout=0)
        gate = threading.Event()
        bench.modem.script = lambda op, slot, b: gate.wait(5) and None
        data = bytes(range(256)) * 20
        sock.send(data)
        sock.close()
        assert sock.fileno() == -1
        gate.set()
        bench.pump.drain(5)
        assert bench.peer.received == data
        assert bench.peer.closed_by_driver

    def test_a_non_blocking_close_returns_at_once(self, bench):
        sock = bench.socket(timeout=0)
        gate = threading.Event()
        close = bench.modem.close_socket

        def slow(slot, *, deadline=None):
            gate.wait(5)
            close(slot)

        bench.modem.close_socket = slow
        sock.close()
        assert not bench.peer.closed_by_driver
        gate.set()
        bench.pump.drain(5)
        assert bench.peer.closed_by_driver

    def test_an_interrupted_close_is_finished_in_the_background(self, bench):
        sock = bench.socket()
        close = bench.modem.close_socket

        def interrupted(slot, *, deadline=None):
            bench.modem.close_socket = close
            raise KeyboardInterrupt

        bench.modem.close_socket = interrupted
        with pytest.raises(KeyboardInterrupt):
            sock.close()
        assert sock.fileno() == -1

    def test_closing_releases_a_receiver(self, bench):
        sock = bench.socket()
        result = in_thread(lambda: sock.recv(10))
        until(lambda: bench.modem.channel.waiting)
        sock.close()
        with pytest.raises(OSError) as caught:
            result()
        assert caught.value.errno == errno.EBADF

    def test_with(self, bench):
        with bench.socket() as sock:
            assert sock.send(b"x") == 1
        assert bench.peer.closed_by_driver

    def test_forgotten_is_closed_with_a_warning(self, bench):
        sock = bench.socket()
        bench.sockets.clear()
        with pytest.warns(ResourceWarning, match=r"unclosed.*server\.example"):  # noqa: PT031 - the deletion warns
            del sock
            gc.collect()
        until(lambda: bench.peer.closed_by_driver)

    def test_files_keep_it_open(self, bench):
        sock = bench.socket()
        file = sock.makefile("rb")
        sock.close()
        bench.peer.say(b"line 1\nline 2\n")
        assert file.readline() == b"line 1\n"
        assert not bench.peer.closed_by_driver
        file.close()
        assert bench.peer.closed_by_driver


class TestMakefile:
    def test_text_and_binary_both_ways(self, bench):
        sock = bench.socket()
        with sock.makefile("rw", encoding="utf-8", newline="\n") as file:
            bench.peer.say("grüß\ngott\n".encode())
            file.write("ja\n")
            file.flush()
            assert file.readline() == "grüß\n"
            bench.peer.close()
            assert file.read() == "gott\n"
        assert bench.peer.received == b"ja\n"

    def test_a_timeout_in_a_file(self, bench):
        sock = bench.socket(timeout=0.01)
        with sock.makefile("rb") as file:
            with pytest.raises(TimeoutError):
                file.readline()
            with pytest.raises(OSError, match="timed out"):
                file.readline()

    def test_unbuffered_non_blocking(self, bench):
        sock = bench.socket(timeout=0)
        with sock.makefile("rb", buffering=0) as file:
            assert file.read(1) is None
            bench.peer.say(b"x")
            assert readable(sock, 5)
            assert file.read(1) == b"x"


class TestWhatItIs:
    def test_addresses_and_kind(self, bench):
        sock = bench.socket()
        assert isinstance(sock, socket.socket)
        assert (sock.family, sock.type, sock.proto) == (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        assert sock.getpeername() == ("server.example", 443)
        assert sock.getsockname() == ("0.0.0.0", 0)
        assert bench.socket("2001:db8::1").family is socket.AF_INET6
        assert repr(sock) == "<modemtls.sockets.stream.ModemSocket to server.example:443>"
        assert not sock._endpoint.watched

    def test_what_the_modem_does_not_tell_is_none(self, bench):
        sock = bench.socket()
        assert sock.getpeercert() is None
        assert sock.getpeercert(True) is None
        assert sock.cipher() is None
        assert sock.selected_alpn_protocol() is None
        assert sock.compression() is None
        assert sock.version() == "TLSv1.2"  # it was set to exactly that
        assert bench.socket(tls=False).version() is None

    def test_options(self, bench):
        sock = bench.socket()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 4) == b"\1\0\0\0"
        for call in (lambda: sock.setsockopt(1, 999, 1), lambda: sock.getsockopt(1, 999)):
            with pytest.raises(OSError) as caught:
                call()
            assert caught.value.errno == errno.ENOPROTOOPT

    def test_refusals(self, bench):
        sock = bench.socket()
        for call in (sock.dup, sock.detach, lambda: sock.set_inheritable(True)):
            with pytest.raises(NotSupportedError, match=r"descriptor|inherited"):
                call()
        with pytest.raises(TypeError, match="pickle"):
            pickle.dumps(sock)
        for call, number in (
            (lambda: sock.connect(("a", 1)), errno.EISCONN),
            (lambda: sock.bind(("a", 1)), errno.EINVAL),
            (sock.listen, errno.EINVAL),
            (sock.accept, errno.EINVAL),
        ):
            with pytest.raises(OSError) as caught:
                call()
            assert caught.value.errno == number
        assert sock.connect_ex(("a", 1)) == errno.EISCONN
        assert sock.get_inheritable() is False
        sock.sendall(b"still works")
        assert bench.peer.received == b"still works"

    def test_ssl_on_top_is_refused_before_it_does_harm(self, bench):
        import ssl

        sock = bench.socket(tls=False)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with pytest.raises(NotSupportedError, match="TLSConfig"):
            context.wrap_socket(sock, server_hostname="server.example")
        sock.sendall(b"still works")
        assert bench.peer.received == b"still works"


class TestThreads:
    def test_one_sends_one_receives_one_selects(self, bench):
        sock = bench.socket()
        data = bytes(range(256)) * 300

        def receive_all():
            got = b""
            while len(got) < len(data):
                select.select([sock], [], [], 5)
                got += sock.recv(3000)
            return got

        received = in_thread(receive_all)
        sent = in_thread(lambda: sock.sendall(data))
        for i in range(0, len(data), 2000):
            bench.peer.say(data[i : i + 2000])
        sent()
        assert received() == data
        assert bench.peer.received == data


def test_closing_waits_no_longer_than_the_time_out(bench):
    for timeout in (2.5, None):
        sock = bench.socket(timeout=timeout)
        deadlines = []
        close = bench.modem.close_socket

        def closing(slot, *, deadline=None, close=close, deadlines=deadlines):
            deadlines.append(deadline and deadline - bench.modem.now())
            close(slot, deadline=deadline)

        bench.modem.close_socket = closing
        sock.close()
        bench.modem.close_socket = close
        assert deadlines == [timeout and pytest.approx(timeout, abs=0.5)]
