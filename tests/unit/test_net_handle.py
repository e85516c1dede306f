"""The pollable handle of a modem's socket."""

from __future__ import annotations

import gc
import os
import select

import pytest

from modemtls.net import State
from modemtls.net.handle import Handle
from tests.support.fakemodem import FakeModem
from tests.support.offload import connected


def readable(handle):
    return bool(select.select([handle], [], [], 0)[0])


class TestHandle:
    def test_it_shows_what_is_the_case(self):
        something = [False]
        handle = Handle(lambda: something[0])
        assert not readable(handle)
        something[0] = True
        poll = select.poll()
        poll.register(handle.fileno(), select.POLLIN)
        for _ in range(3):
            handle.update()
        assert poll.poll(0)
        something[0] = False
        handle.update()
        assert not poll.poll(0)

    def test_its_descriptor_goes_with_it(self):
        handle = Handle(lambda: False)
        fd = handle.fileno()
        del handle
        gc.collect()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


class TestOfASocket:
    def test_data_and_the_end_of_it(self):
        modem = FakeModem()
        sock = connected(modem)
        handle = sock.system
        with pytest.raises(TimeoutError):
            sock.receive(10, timeout=0)
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        assert not poll.poll(0)
        modem.peer.say(b"hello")
        assert poll.poll(1000)
        assert sock.receive(10) == b"hello"
        with pytest.raises(TimeoutError):
            sock.receive(10, timeout=0)
        assert not poll.poll(0)
        sock.close()
        assert sock.system is None
        assert sock.state is State.CLOSED
