"""The selectable socket behaves as Python's own: blocking calls, time-outs, files, refusals."""

from __future__ import annotations

import errno
import os
import pickle
import select
import socket
import threading

import pytest

from modemtls.at.grammar import Outcome
from modemtls.errors import NotSupportedError, PdpError
from tests.support.fakemodem import Answer
from tests.support.socket_bench import (
    bench_fixture,  # noqa: F401
    readable,
    writable,
)
from tests.support.threads import in_thread, until


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
