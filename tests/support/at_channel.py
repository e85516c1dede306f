"""A channel in step with a modem that the test speaks for, and threads to use it from."""

import socket
import threading
from concurrent.futures import Future

import pytest

from modemtls.at.channel import Channel, Exchange
from modemtls.at.grammar import Grammar, PromptRule, UrcRule, compile_pattern
from modemtls.at.port import FdPort

P = compile_pattern
GRAMMAR = Grammar(
    urcs=(
        UrcRule(P("RDY"), "boot"),
        UrcRule(P('+U: "recv",{socket:int}'), "data"),
        UrcRule(P('+U: "closed",{socket:int}'), "closed"),
    )
)
OK = b"\r\nOK\r\n"
AT = Exchange(line=b"AT")
SLOW = Exchange(line=b"AT+SLOW", timeout=30.0)
SEND = Exchange(line=b"AT+SEND=5", prompt=PromptRule(), payload=b"hello", timeout=30.0)
SOON = 5.0  # s: what must happen happens far earlier


class Modem:
    """The other end of a channel's port, spoken for by the test."""

    def __init__(self):
        ours, theirs = socket.socketpair()
        self.end = theirs
        self.end.settimeout(SOON)
        self.port = FdPort("test", ours.detach())

    def expect(self, data):
        got = b""
        while len(got) < len(data):
            piece = self.end.recv(len(data) - len(got))
            assert piece, got
            got += piece
        assert got == data

    def silent(self, seconds=0.03):
        self.end.settimeout(seconds)
        try:
            with pytest.raises(TimeoutError):
                self.end.recv(1)
        finally:
            self.end.settimeout(SOON)

    def say(self, data):
        self.end.sendall(data)

    def unplug(self):
        self.end.close()


@pytest.fixture(name="modem")
def modem_fixture():
    one = Modem()
    yield one
    one.end.close()


@pytest.fixture(name="channel")
def channel_fixture(modem):
    one = Channel(modem.port, GRAMMAR)
    one._line.doubt = None  # recovery at opening has its own tests
    yield one
    one.close()
    assert not one._thread.is_alive()


def start(work, *args, **kw):
    """Run in a thread of its own."""
    future = Future()

    def run():
        try:
            future.set_result(work(*args, **kw))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def now_plus(channel, seconds):
    return channel.clock() + seconds
