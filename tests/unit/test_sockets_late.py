"""What could not be sent after it was accepted, and what the peer said meanwhile: neither is lost to the other."""

from __future__ import annotations

import select
import socket

import pytest

from modemtls.cli.connect import stream
from modemtls.errors import CommandError, SocketClosedError
from tests.support.socket_bench import (
    bench_fixture,  # noqa: F401
    readable,
)
from tests.support.threads import until


def no_sends(op, slot, bindings):
    if op == "send":
        raise CommandError("the modem answered ERROR")


def failed_late(bench, **options):
    """A socket that accepted something which the modem refused."""
    sock = bench.socket(timeout=0, **options)
    bench.modem.script = no_sends
    assert sock.send(b"abc") == 3
    until(lambda: sock._endpoint._late is not None)
    return sock


def received(sock):
    """Everything that recv() gives until the end, with the errors in between.

    Data that is announced when the failure was shown already comes first, so it may be shown once for nothing.
    """
    story = []
    fooled = 0
    while True:
        if sock.timeout == 0:
            assert readable(sock, 5)
        try:
            data = sock.recv(100)
        except BlockingIOError:
            fooled += 1
            assert fooled == 1
            continue
        except CommandError:
            story.append("failed")
            continue
        if not data:
            return story
        story.append(data)


@pytest.mark.parametrize("wait", [0, 5, None])
@pytest.mark.parametrize("mode", ["buffered", "push"])
def test_the_failure_comes_before_the_end_once(bench, wait, mode):
    sock = failed_late(bench, receive=mode)
    bench.peer.close()
    sock.settimeout(wait)
    assert received(sock) == ["failed"]
    assert sock.recv(100) == b""


@pytest.mark.parametrize("wait", [0, 5, None])
@pytest.mark.parametrize("mode", ["buffered", "push"])
def test_the_last_words_come_before_both(bench, wait, mode):
    sock = failed_late(bench, receive=mode)
    bench.peer.say(b"no room for you")
    bench.peer.close()
    sock.settimeout(wait)
    assert received(sock) == [b"no room for you", "failed"]


@pytest.mark.parametrize("wait", [0, 5])
def test_what_the_modem_still_holds_comes_first(bench, wait):
    sock = bench.socket(timeout=0)
    bench.modem.script = no_sends
    read_ahead = sock.connection.read_ahead
    sock.connection.read_ahead = lambda window: False
    bench.peer.say(b"said before it failed")
    assert sock.send(b"abc") == 3
    until(lambda: sock._endpoint._late is not None)
    if wait == 0:
        assert select.select([sock], [sock], [], 0) == ([], [sock], [])
        with pytest.raises(BlockingIOError):
            sock.recv(100)
        sock.connection.read_ahead = read_ahead
        bench.pump.wake()
    else:
        assert select.select([], [sock], [], 0)[1]
    sock.settimeout(wait)
    bench.peer.close()
    assert received(sock) == [b"said before it failed", "failed"]


def test_a_failure_is_told_to_who_waits_for_data_that_does_not_come(bench):
    sock = failed_late(bench)
    sock.settimeout(None)
    with pytest.raises(CommandError):
        sock.recv(100)


def test_looking_does_not_hide_it(bench):
    sock = failed_late(bench)
    bench.peer.say(b"bye")
    bench.peer.close()
    sock.settimeout(5)
    assert sock.recv(100, socket.MSG_PEEK) == b"bye"
    assert received(sock) == [b"bye", "failed"]


def test_shut_for_reading_it_is_told_before_the_end(bench):
    sock = failed_late(bench)
    sock.shutdown(socket.SHUT_RD)
    assert received(sock) == ["failed"]


def test_the_command_line_writes_the_last_words_and_fails(bench, tmp_path):
    """As a server does that refuses too large a body: it answers, and closes."""
    sock = bench.socket(timeout=0)

    def script(op, slot, bindings):
        if op == "send":
            bench.peer.say(b"too large")
            bench.peer.close()
        no_sends(op, slot, bindings)

    bench.modem.script = script
    source = tmp_path / "in"
    source.write_bytes(b"12345")
    got = []
    with source.open("rb") as file, pytest.raises(SocketClosedError, match=r"the far side closed.*ERROR"):
        stream(sock, file.fileno(), got.append, 1)
    assert b"".join(got) == b"too large"
