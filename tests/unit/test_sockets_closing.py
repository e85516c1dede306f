"""The selectable socket behaves as Python's own: shutting down and closing."""

from __future__ import annotations

import errno
import gc
import socket
import threading

import pytest

from modemtls.at.grammar import Outcome
from tests.support.fakemodem import Answer
from tests.support.socket_bench import (
    bench_fixture,  # noqa: F401
    readable,
)
from tests.support.threads import in_thread, until


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
        close = bench.modem.sockets.close

        def slow(slot, *, deadline=None):
            gate.wait(5)
            close(slot)

        bench.modem.sockets.close = slow
        sock.close()
        assert not bench.peer.closed_by_driver
        gate.set()
        bench.pump.drain(5)
        assert bench.peer.closed_by_driver

    def test_an_interrupted_close_is_finished_in_the_background(self, bench):
        sock = bench.socket()
        close = bench.modem.sockets.close

        def interrupted(slot, *, deadline=None):
            bench.modem.sockets.close = close
            raise KeyboardInterrupt

        bench.modem.sockets.close = interrupted
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


def test_closing_waits_no_longer_than_the_time_out(bench):
    for timeout in (2.5, None):
        sock = bench.socket(timeout=timeout)
        deadlines = []
        close = bench.modem.sockets.close

        def closing(slot, *, deadline=None, close=close, deadlines=deadlines):
            deadlines.append(deadline and deadline - bench.modem.now())
            close(slot, deadline=deadline)

        bench.modem.sockets.close = closing
        sock.close()
        bench.modem.sockets.close = close
        assert deadlines == [timeout and pytest.approx(timeout, abs=0.5)]
