"""Section 16: where the contract's own sources disagree, what holds here."""

from __future__ import annotations

import pytest

from modemtls.errors import ModemError
from modemtls.net import Errno, Option, State


class TestSection16Disagreements:
    def test_resumption_needs_no_particular_engine(self, subject, trusting, echo):
        subject.need("resumption")
        sock = subject.socket(trusting(session_resumption_buffer=bytearray(4096)))
        for expected in (False, True):
            sock.connect(*echo.address)
            sock.send(b"x")
            assert sock.receive(1) == b"x"
            assert sock.get_opt(Option.SESSION_RESUMED) is expected
            sock.close()

    def test_shutdown_says_no_goodbye(self, subject, trusting, echo):
        subject.need("tls_range")
        sock = subject.socket(trusting())
        sock.connect(*echo.address)
        sock.shutdown()
        assert echo.end() == "cut"

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
