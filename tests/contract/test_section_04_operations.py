"""Section 4: operations."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import select
import socket
import threading
import time

import pytest

from modemtls.errors import ModemError, ModemTimeoutError, SocketClosedError, TlsError, TruncatedError
from modemtls.net import Certificates, Errno, Option, SslConfiguration, State
from tests.support import servers
from tests.support.contract_peers import plain_peer, tls_peer
from tests.support.servers import free_port
from tests.support.subjects import refuses
from tests.support.threads import until

DATA = os.urandom(70_000)


def fails(code, call, *arguments, **named):
    with pytest.raises(ModemError) as caught:
        call(*arguments, **named)
    assert caught.value.code == code
    return caught.value


def exactly(sock, count):
    got = b""
    while len(got) < count:
        piece = sock.receive(count - len(got))
        assert piece
        got += piece
    return got


@pytest.fixture
def stream(subject, trusting, echo):
    sock = subject.socket(trusting())
    sock.connect(*echo.address)
    return sock


@pytest.fixture
def packets(subject, datagrams, dtls):
    sock = subject.socket(datagrams(), datagram=True)
    sock.connect(*dtls.address)
    return sock


class TestSection04Operations:
    # -- streams --------------------------------------------------------------------------------------------

    def test_a_send_is_all_and_leftovers_stay(self, stream):
        stream.send(DATA[:6000])
        assert stream.receive(10, peek=True) == DATA[:10]
        assert stream.receive(10) == DATA[:10]
        assert exactly(stream, 5990) == DATA[10:6000]

    def test_leftovers_do_not_wait_for_the_transport(self, stream):
        stream.send(b"0123456789")
        assert stream.receive(4) == b"0123"
        assert stream.receive(100, timeout=0) == b"456789"

    def test_much_in_both_directions_at_once(self, subject, stream):
        data = DATA if subject.has("addresses") else DATA[:12_000]
        sender = threading.Thread(target=stream.send, args=(data,))
        sender.start()
        assert exactly(stream, len(data)) == data
        sender.join(10)
        assert not sender.is_alive()

    def test_a_receive_that_waits_does_not_stop_a_send(self, stream):
        got = []
        waiting = threading.Thread(target=lambda: got.append(stream.receive(100)))
        waiting.start()
        stream.send(b"through")
        waiting.join(10)
        assert got == [b"through"]

    def test_nothing_in_time(self, stream):
        fails(Errno.ETIMEDOUT, stream.receive, 10, timeout=0.02)
        for poll in (0, -1):
            began = time.monotonic()
            fails(Errno.ETIMEDOUT, stream.receive, 10, timeout=poll)
            assert time.monotonic() - began < 1
        stream.set_opt(Option.RECV_TIMEOUT, 0)
        fails(Errno.ETIMEDOUT, stream.receive, 10)
        stream.set_opt(Option.RECV_TIMEOUT, 20.0)
        stream.send(b"late")
        assert stream.receive(10) == b"late"

    def test_the_peers_end_is_no_bytes_again_and_again(self, subject, trusting, leaf):
        def bye(each):
            each.sendall(b"bye")
            with contextlib.suppress(OSError):
                each.unwrap()

        with tls_peer(leaf, versions=("TLSv1_2", "TLSv1_2"), serve=bye) as peer:
            sock = subject.socket(trusting())
            sock.connect(*peer.address)
            assert exactly(sock, 3) == b"bye"
            if subject.has("pollable"):
                known = sock.get_opt(Option.HAS_BUFFERED_DATA)
                assert known or select.select([sock.system], [], [], 5)[0], "the end is something to receive"
            assert [sock.receive(10) for _ in range(3)] == [b"", b"", b""]
            if subject.has("clean_end"):
                assert sock.end_authenticated is True

    def test_a_connection_that_was_cut_is_told_from_one_that_ended(self, subject, trusting, leaf):
        subject.need("clean_end")
        with tls_peer(leaf, versions=("TLSv1_2", "TLSv1_2"), serve=lambda each: each.send(b"x")) as peer:
            sock = subject.socket(trusting())
            sock.connect(*peer.address)
            assert sock.end_authenticated is None
            assert sock.receive(10) == b"x"
            assert sock.receive(10) == b""
            assert sock.end_authenticated is False

    def test_after_shutdown_what_arrived_can_be_read_and_names_stay(self, subject, stream, echo):
        stream.send(b"abcdef")
        assert stream.receive(2) == b"ab"
        if subject.has("addresses"):
            before = (stream.remote_host, stream.local_host, stream.local_port)
        stream.shutdown()
        assert stream.receive(2) == b"cd"
        assert stream.receive(10) == b"ef"
        assert stream.receive(10) == b""
        assert (stream.remote_hostname, stream.remote_port) == echo.address
        if subject.has("addresses"):
            assert (stream.remote_host, stream.local_host, stream.local_port) == before
        fails(Errno.EPIPE, stream.send, b"x")

    def test_what_is_not_open_does_nothing(self, subject, trusting):
        sock = subject.socket(trusting())
        fails(Errno.EBADF, sock.send, b"x")
        fails(Errno.EBADF, sock.receive, 1)
        fails(Errno.EBADF, sock.shutdown)
        assert sock.system is None
        sock.close()

    def test_close_forgets_what_was_not_read_and_names(self, stream, echo):
        stream.send(b"abcdef")
        assert stream.receive(2) == b"ab"
        stream.close()
        fails(Errno.EBADF, stream.receive, 10)
        fails(Errno.EBADF, lambda: stream.remote_hostname)
        fails(Errno.EBADF, lambda: stream.remote_port)
        stream.connect(*echo.address)
        fails(Errno.ETIMEDOUT, stream.receive, 10, timeout=0.05)

    def test_close_releases_who_is_waiting(self, stream):
        caught = []

        def wait():
            try:
                caught.append(stream.receive(10))
            except ModemError as error:
                caught.append(error.code)

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.05)
        stream.close()
        thread.join(10)
        assert caught == [Errno.EBADF]

    def test_close_is_what_releases_whatever_the_transport_calls_it(self, loopback, pki, echo):
        sock = loopback.socket(SslConfiguration(security=Certificates(trusted=pki.ca)))
        sock.connect(*echo.address)
        receive = sock._lower.receive

        def renamed(*arguments, **named):
            try:
                return receive(*arguments, **named)
            except ModemError as error:
                raise SocketClosedError("gone") from error

        sock._lower.receive = renamed
        threading.Timer(0.05, sock.close).start()
        fails(Errno.EBADF, sock.receive, 10)

    def test_no_close_notify_after_shutdown_one_after_close_alone(self, subject, trusting, echo):
        subject.need("tls_range")  # of a modem's own stack the vendor decides that
        sock = subject.socket(trusting())
        sock.connect(*echo.address)
        sock.shutdown()
        sock.close()
        assert echo.end() == "cut"
        sock.connect(*echo.address)
        sock.close()
        assert echo.end() == "close_notify"

    def test_a_handshake_over_a_stream_is_bounded_by_the_receive_timeout(self, loopback, psk):
        from tests.support.contract_peers import Silent

        with Silent(datagram=False) as silent:
            sock = loopback.socket(psk())
            sock.set_opt(Option.RECV_TIMEOUT, 0.05)
            fails(Errno.ETIMEDOUT, sock.connect, "127.0.0.1", silent.port)

    def test_a_receive_timeout_of_zero_is_no_limit_for_a_handshake(self, subject, trusting, echo):
        sock = subject.socket(trusting())
        sock.set_opt(Option.RECV_TIMEOUT, 0)
        sock.connect(*echo.address)
        assert sock.get_opt(Option.RECV_TIMEOUT) == 0

    # -- datagrams ------------------------------------------------------------------------------------------

    def test_one_send_is_one_record_is_one_datagram(self, loopback, psk, dtls):
        sock = loopback.socket(psk(), datagram=True)
        sock.connect("127.0.0.1", str(dtls.port))
        sock._lower.wire.clear()
        for size in (1, 100, 1000):
            sock.send(bytes(size))
            assert sock.receive(2000) == bytes(size)
        assert len(sock._lower.wire) == 3
        assert [one[0] for one in sock._lower.wire] == [23, 23, 23]  # application data
        assert list(map(len, dtls.heard)) == [1, 100, 1000]

    def test_no_payload_is_no_datagram(self, packets, dtls):
        packets.send(b"")
        packets.send(b"x")
        assert packets.receive(10) == b"x"
        assert dtls.heard == [b"x"]

    def test_what_cannot_fit_fails_before_anything_is_sent(self, loopback, psk, dtls):
        sock = loopback.socket(psk(), datagram=True)
        sock.connect("127.0.0.1", str(dtls.port))
        limit = sock.get_opt(Option.INNER_MTU)
        sock._lower.wire.clear()
        fails(Errno.EMSGSIZE, sock.send, bytes(limit + 1))
        assert sock._lower.wire == []
        sock.send(b"still usable")
        assert sock.receive(100) == b"still usable"

    def test_a_small_buffer_gets_the_part_and_the_rest_is_gone(self, packets):
        packets.send(b"0123456789")
        packets.send(b"next")
        with pytest.raises(TruncatedError) as caught:
            packets.receive(4)
        assert caught.value.data == b"0123"
        assert caught.value.code == Errno.EMSGSIZE
        assert packets.receive(100) == b"next"

    def test_an_exact_fit_is_no_truncation(self, packets):
        packets.send(b"0123456789")
        assert packets.receive(10) == b"0123456789"

    def test_one_send_is_one_record_and_what_cannot_fit_is_none(self, packets, dtls):
        limit = packets.get_opt(Option.INNER_MTU)
        before = packets.get_opt(Option.BYTES_SENT)
        fails(Errno.EMSGSIZE, packets.send, bytes(limit + 1))
        assert packets.get_opt(Option.BYTES_SENT) == before
        for size in (1, 300, limit):
            packets.send(bytes(size))
        packets.send(b"last")
        until(lambda: len(dtls.heard) == 4)
        assert list(map(len, dtls.heard)) == [1, 300, limit, 4]

    def test_a_datagram_stays_for_who_only_peeks(self, packets):
        packets.send(b"0123456789")
        assert packets.receive(10, peek=True) == b"0123456789"
        with pytest.raises(TruncatedError):
            packets.receive(4, peek=True)
        assert packets.receive(10) == b"0123456789"

    def test_nothing_of_datagrams_in_time(self, packets):
        for poll in (0, -1, 0.02):
            began = time.monotonic()
            fails(Errno.ETIMEDOUT, packets.receive, 10, timeout=poll)
            assert time.monotonic() - began < 1
        packets.set_opt(Option.RECV_TIMEOUT, 0)
        fails(Errno.ETIMEDOUT, packets.receive, 10)
        packets.send(b"x")
        assert packets.receive(10, timeout=20.0) == b"x"

    def test_a_poll_of_datagrams_asks_the_transport_once(self, loopback, psk, dtls):
        sock = loopback.socket(psk(), datagram=True)
        sock.connect("127.0.0.1", str(dtls.port))
        lower, calls = sock._lower, []
        receive = lower.receive
        lower.receive = lambda *a, **k: calls.append(k) or receive(*a, **k)
        fails(Errno.ETIMEDOUT, sock.receive, 10, timeout=0)
        assert [each["timeout"] for each in calls] == [0]
        sock.send(b"x")
        assert select.select([sock.system], [], [], 5)[0]
        calls.clear()
        assert sock.receive(10, timeout=0) == b"x"
        assert len(calls) == 1
        for _ in range(2):  # what is no record is one datagram all the same
            dtls._socket.sendto(b"garbage", ("127.0.0.1", int(sock.local_port)))
        assert select.select([sock.system], [], [], 5)[0]
        calls.clear()
        fails(Errno.ETIMEDOUT, sock.receive, 10, timeout=0)
        assert len(calls) == 1

    def test_what_is_no_record_is_passed_over(self, loopback, psk, dtls):
        sock = loopback.socket(psk(), datagram=True)
        sock.connect("127.0.0.1", str(dtls.port))
        stray = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with stray:
            address = ("127.0.0.1", int(sock.local_port))
            sock.send(b"x")
            assert sock.receive(10) == b"x"
            dtls._socket.sendto(b"garbage", address)
            fails(Errno.ETIMEDOUT, sock.receive, 10, timeout=0.05)
            dtls._socket.sendto(b"\x17\xfe\xfd\0\1\0\0\0\0\0\5\0\x20" + bytes(32), address)
            sock.send(b"y")
            assert sock.receive(10) == b"y"

    def test_the_end_of_an_association_is_no_bytes(self, subject, packets, dtls):
        packets.send(b"x")
        assert packets.receive(10) == b"x"
        dtls.close_all()
        assert packets.receive(10) == b""
        assert packets.end_authenticated is subject.has("clean_end")

    # -- plain sockets ----------------------------------------------------------------------------------------

    def test_accept_send_to_and_receive_from_are_for_plain_sockets(self, subject, trusting):
        sock = subject.socket(trusting())
        if not subject.has("accept_secure"):
            refuses("accept", sock.accept)
        refuses("send_to", lambda: sock.send_to(b"", "127.0.0.1", "1"))
        refuses("receive_from", lambda: sock.receive_from(1))

    def test_accept(self, subject):
        subject.need("accept")
        listener = subject.plain()
        fails(Errno.ENETDOWN, listener.accept, timeout=0)
        port = free_port()
        listener.bind(None, str(port))
        assert listener.local_port == str(port)
        fails(Errno.ETIMEDOUT, listener.accept, timeout=0.02)
        for word in (b"hello", b"again"):
            with socket.create_connection(("127.0.0.1", port)) as caller:
                called = subject.keep(listener.accept())
                assert (listener.state, called.state) == (State.BOUND, State.ACCEPTED)
                caller.sendall(word)
                assert called.receive(10) == word
                called.send(word.upper())
                assert caller.recv(10) == word.upper()
                assert called.remote_host == "127.0.0.1"
                if subject.has("caller_port"):
                    assert called.remote_port == str(caller.getsockname()[1])
                fails(Errno.EISCONN, called.connect, "127.0.0.1", str(port))
            assert called.receive(10) == b""
            called.close()
        listener.close()
        fails(Errno.ENETDOWN, listener.accept, timeout=0)

    def test_a_plain_socket_secures_nothing(self, subject):
        with plain_peer() as port:
            sock = subject.plain()
            sock.connect("server.example", str(port))
            sock.send(b"0123456789")
            assert exactly(sock, 10) == b"0123456789"
            sock.shutdown()
            assert sock.state is State.SHUTDOWN
            fails(Errno.EPIPE, sock.send, b"x")

    @pytest.mark.parametrize(("host", "port"), [("", "1"), ("a b", "1"), ("a.example", "0"), ("a.example", "65536")])
    def test_what_is_no_host_or_port(self, subject, trusting, host, port):
        sock = subject.socket(trusting())
        with pytest.raises(ModemError) as caught:
            sock.connect(host, port)
        assert caught.value.code in (Errno.EINVAL, Errno.EADDRNOTAVAIL)
        assert sock.state is State.CLOSED

    def test_datagrams_to_and_from_anybody(self, subject):
        subject.need("udp_unconnected")
        sock = subject.plain(datagram=True)
        sock.bind(None, "0")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", 0))
            other.settimeout(5)
            port = str(other.getsockname()[1])
            sock.send_to(b"hello", "127.0.0.1", port)
            data, address = other.recvfrom(100)
            assert data == b"hello"
            other.sendto(b"0123456789", address)
            other.sendto(b"again", address)
            with pytest.raises(TruncatedError) as caught:
                sock.receive_from(4)
            assert (caught.value.data, caught.value.address) == (b"0123", ("127.0.0.1", port))
            assert sock.receive_from(100) == (b"again", "127.0.0.1", port)

    # -- questions --------------------------------------------------------------------------------------------

    def test_names(self, subject, stream, echo):
        assert (stream.remote_hostname, stream.remote_port) == echo.address
        told = {
            "remote_host": lambda value: value == "127.0.0.1",
            "local_host": ipaddress.ip_address,
            "local_port": lambda value: int(value) > 0,
            "interface_name": lambda value: value == "lo",
        }
        for name, right in told.items():
            if subject.has(name):
                assert right(getattr(stream, name)), name
            else:
                refuses(name, lambda name=name: getattr(stream, name))
        stream.close()
        for name in told:
            fails(Errno.EBADF, lambda name=name: getattr(stream, name))

    def test_the_pollable_handle_tells_when_there_is_something(self, subject, stream):
        subject.need("pollable")
        fails(Errno.ETIMEDOUT, stream.receive, 10, timeout=0)  # what may be there for all one knows costs a poll
        assert not select.select([stream.system], [], [], 0.02)[0]
        stream.send(b"x")
        assert select.select([stream.system], [], [], 5)[0]
        assert stream.receive(10) == b"x"
        stream.close()
        assert stream.system is None

    def test_a_send_that_cannot_finish_says_how_much_went_and_nothing_follows(self, loopback, trusting_any, leaf):
        stop = threading.Event()
        with tls_peer(leaf, serve=lambda each: stop.wait(10)) as peer:
            sock = loopback.socket(trusting_any)
            sock.connect(*peer.address)
            big = bytes(16 << 20)
            error = fails(Errno.ETIMEDOUT, sock.send, big, timeout=0.2)
            assert 0 < error.bytes_accepted < len(big)
            assert error.bytes_accepted == sock.get_opt(Option.BYTES_SENT)
            with pytest.raises(ModemError, match="earlier send"):
                sock.send(b"x")
            stop.set()

    def test_a_broken_record_is_an_error_after_the_data_before_it(self, loopback, trusting_any, leaf):
        def serve(each):
            each.sendall(b"good")
            os.write(each.fileno(), b"\x17\x03\x03\x00\x20" + bytes(32))
            servers.echo(each)

        with tls_peer(leaf, serve=serve) as peer:
            sock = loopback.socket(trusting_any)
            sock.connect(*peer.address)
            assert sock.receive(100) == b"good"
            for _ in range(2):
                with pytest.raises(TlsError):
                    sock.receive(100)
            with pytest.raises(TlsError):
                sock.send(b"x")
            assert sock.get_opt(Option.STATE) is State.CONNECTED
            sock.close()


@pytest.fixture
def trusting_any():
    return SslConfiguration(security=Certificates(verify=False))


def test_zero_is_no_datagrams_limit(loopback, psk, dtls):
    """Room for nothing: any datagram is too large, and gone."""
    sock = loopback.socket(psk(), datagram=True)
    sock.connect("127.0.0.1", str(dtls.port))
    sock.send(b"x")
    with pytest.raises(TruncatedError):
        sock.receive(0)
    with pytest.raises(ModemTimeoutError):
        sock.receive(1, timeout=0.02)
