"""Section 16: where the contract's own sources disagree, what holds here."""

from __future__ import annotations

import pytest

from modemtls.errors import ModemError
from modemtls.net import Errno, Option, State
from tests.support.contract_peers import remembering


class TestSection16Disagreements:
    def test_resumption_needs_no_particular_engine(self, subject, trusting, leaf):
        subject.need("resumption_buffer")
        sock = subject.socket(trusting(session_resumption_buffer=bytearray(4096)))
        with remembering(leaf) as peer:
            for _ in range(2):
                sock.connect(*peer.address)
                sock.send(b"x")
                assert sock.receive(1) == b"x"
                sock.close()
            assert peer.reused == [False, True]

    def test_shutdown_says_no_goodbye(self, subject, trusting, echo):
        """Where a modem has one command to close, what that says is its own affair."""
        sock = subject.socket(trusting())
        sock.connect(*echo.address)
        sock.shutdown()
        assert echo.end() in ({"cut"} if sock.engine == "host" else {"cut", "close_notify"})
        assert sock.state is State.SHUTDOWN

    def test_after_shutdown_only_close_leads_on(self, subject, trusting, echo):
        sock = subject.socket(trusting())
        sock.connect(*echo.address)
        sock.shutdown()
        with pytest.raises(ModemError) as caught:
            sock.connect(*echo.address)
        assert caught.value.code == Errno.EISCONN
        assert sock.get_opt(Option.STATE) is State.SHUTDOWN
        sock.close()
        sock.connect(*echo.address)

    def test_counters_leave_the_protocol_out(self, subject, trusting, echo):
        sock = subject.socket(trusting())
        sock.connect(*echo.address)
        assert sock.get_opt(Option.BYTES_SENT) == sock.get_opt(Option.BYTES_RECEIVED) == 0
        sock.send(b"12345")
        assert sock.get_opt(Option.BYTES_SENT) == 5

    def test_connecting_twice_is_told_as_what_it_is(self, subject, trusting, echo):
        sock = subject.socket(trusting())
        sock.connect(*echo.address)
        with pytest.raises(ModemError) as caught:
            sock.connect(*echo.address)
        assert caught.value.code == Errno.EISCONN  # not EBADF
        sock.send(b"x")
        assert sock.receive(1) == b"x"
