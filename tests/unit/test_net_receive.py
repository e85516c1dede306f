"""The contract over a modem: receiving; against a scripted modem."""

from __future__ import annotations

import errno
import signal
import threading
import time

import pytest

from modemtls.at.exchange import Line, NoAnswerError, Reply
from modemtls.at.grammar import Outcome
from modemtls.at.interrupts import shield
from modemtls.errors import CommandError, ConfigurationError, ModemError, ModemTimeoutError, PdpError, SocketClosedError
from modemtls.net import Option
from tests.support.fakemodem import Answer, FakeModem
from tests.support.offload import (
    connected,
    modem_fixture,  # noqa: F401
)
from tests.support.threads import in_thread, until


def raw(answer):
    """The answer as the channel gives it to whoever comes too late for it."""
    return Reply(Outcome.OK, "OK", lines=(Line(0, "", {}, answer.payload or None),))


class TestReceive:
    def test_nothing_is_asked_until_the_modem_says_so(self, modem):
        sock = connected(modem)
        with pytest.raises(ModemTimeoutError):
            sock.receive(10, timeout=0.01)
        sock.send(b"x")
        with pytest.raises(ModemTimeoutError):
            sock.receive(10, timeout=0.01)
        assert modem.commands == ["send"]

    def test_waits_for_data(self, modem):
        sock = connected(modem)
        result = in_thread(lambda: sock.receive(10, timeout=5))
        until(lambda: modem.channel.waiting)
        modem.peer.say(b"hello")
        assert result() == b"hello"

    def test_leftovers_are_given_without_asking(self, modem):
        sock = connected(modem)
        modem.peer.say(b"abcdef")
        assert sock.receive(2) == b"ab"
        assert modem.commands == ["receive"]
        assert sock.receive(2, peek=True) == b"cd"
        assert sock.receive(10) == b"cdef"
        assert modem.commands == ["receive"]

    def test_goes_on_until_a_read_comes_back_empty(self, modem):
        sock = connected(modem)
        data = bytes(range(256)) * 16
        modem.peer.say(data)
        got = b""
        while len(got) < len(data):
            got += sock.receive(4096)
        assert got == data
        with pytest.raises(ModemTimeoutError):
            sock.receive(1, timeout=0.01)
        assert modem.commands == ["receive"] * 4
        with pytest.raises(ModemTimeoutError):
            sock.receive(1, timeout=0.01)
        assert modem.commands == ["receive"] * 4
        assert sock.get_opt(Option.BYTES_RECEIVED) == len(data)

    def test_a_short_read_ends_it_where_the_profile_says_so(self):
        modem = FakeModem(drained="short")
        sock = connected(modem)
        modem.peer.say(b"x" * 1501)
        assert len(sock.receive(4096)) == 1500
        assert len(sock.receive(4096)) == 1
        with pytest.raises(ModemTimeoutError):
            sock.receive(1, timeout=0)
        assert modem.commands == ["receive"] * 2

    def test_a_notice_during_the_empty_read_is_not_lost(self, modem):
        sock = connected(modem)
        modem.peer.say(b"first")

        def script(op, slot, b):
            if op == "receive" and not modem.peer.waiting:
                modem.script = lambda op, slot, b: None
                modem.peer.told = False
                modem.peer.say(b"second")  # the notice comes before the answer "nothing"
                return Answer(Outcome.EMPTY)
            return None

        modem.script = script
        assert sock.receive(100) == b"first"
        assert sock.receive(100, timeout=5) == b"second"

    def test_a_notice_may_come_once_until_all_is_read_or_again_and_again(self, modem):
        sock = connected(modem)
        for piece in (b"one ", b"two ", b"three"):
            modem.peer.told = False
            modem.peer.say(piece)
        assert sock.receive(100) == b"one two three"
        modem.peer.slot.note_data(None)  # for what has been read
        with pytest.raises(ModemTimeoutError):
            sock.receive(100, timeout=0)
        assert modem.commands == ["receive"] * 2
        with pytest.raises(ModemTimeoutError):
            sock.receive(100, timeout=0)
        assert modem.commands == ["receive"] * 2, "a modem that has said that it has nothing was asked again"

    def test_zero_timeout_polls_exactly_once(self, modem):
        sock = connected(modem)
        sock.set_opt(Option.RECV_TIMEOUT, 0)
        with pytest.raises(ModemTimeoutError):
            sock.receive(10)
        assert modem.commands == []
        modem.peer.say(b"abc")
        assert sock.receive(10) == b"abc"
        with pytest.raises(ModemTimeoutError):
            sock.receive(10)
        assert modem.commands == ["receive", "receive"]
        with pytest.raises(ModemTimeoutError):
            sock.receive(10, timeout=-1)
        assert modem.commands == ["receive", "receive"]

    def test_end_of_stream(self, modem):
        sock = connected(modem)
        modem.peer.say(b"x" * 2000)
        modem.peer.close()
        assert sock.end_authenticated is None
        got = b""
        while piece := sock.receive(4096):
            got += piece
        assert len(got) == 2000
        assert sock.receive(4096) == b""
        assert sock.end_authenticated is False

    @pytest.mark.parametrize("first", ["", "closed"])
    @pytest.mark.parametrize("receive", ["pull", "push"])
    def test_a_broken_connection_is_an_error_behind_what_has_come_and_no_end(self, modem, receive, first):
        sock = connected(modem)
        modem.peer.slot.receive = receive
        modem.peer.say(b"x" * 2000)
        if first:
            modem.peer.close()
        modem.peer.breaks()
        got = b""
        while len(got) < 2000:
            got += sock.receive(4096)
        for _ in range(2):
            with pytest.raises(SocketClosedError, match="broke"):
                sock.receive(4096)
            assert sock.end_authenticated is None

    def test_nor_is_it_an_end_where_reading_fails(self, modem):
        def script(op, slot, b):
            raise CommandError("ERROR")

        sock = connected(modem)
        modem.peer.breaks()
        modem.script = script
        with pytest.raises(SocketClosedError, match="broke"):
            sock.receive(10)

    def test_unless_the_modem_has_the_end_all_the_same(self, modem):
        sock = connected(modem)
        modem.peer.breaks()
        modem.script = lambda op, slot, b: Answer(Outcome.EOF)
        assert sock.receive(10) == b""

    def test_no_end_in_the_moment_between_the_close_and_its_notice(self, modem):
        """The reading thread sets one after the other; a receiver may look in between."""
        sock = connected(modem)
        modem.peer.waiting += b"last words"
        modem.peer.slot.closed = "the far side closed the connection"
        assert sock.receive(100) == b"last words"
        assert sock.receive(100) == b""

    def test_the_close_wakes_whoever_waits(self, modem):
        sock = connected(modem)
        result = in_thread(lambda: sock.receive(10, timeout=5))
        until(lambda: modem.channel.waiting)
        modem.peer.close()
        assert result() == b""

    def test_data_that_comes_with_the_close_but_without_notice_is_read(self, modem):
        sock = connected(modem)
        modem.peer.waiting += b"last words"
        modem.peer.close()
        assert sock.receive(100) == b"last words"
        assert sock.receive(100) == b""

    def test_a_closed_socket_that_cannot_be_read_is_the_end_if_nothing_was_announced(self, modem):
        sock = connected(modem)
        modem.peer.say(b"abc")
        assert sock.receive(10) == b"abc"
        with pytest.raises(ModemTimeoutError):
            sock.receive(10, timeout=0)

        def script(op, slot, b):
            raise CommandError("ERROR")

        modem.script = script
        modem.peer.close()
        assert sock.receive(10) == b""
        assert sock.receive(10) == b""

    def test_but_an_error_if_data_was_announced(self, modem):
        sock = connected(modem)

        def script(op, slot, b):
            raise CommandError("ERROR")

        modem.script = script
        modem.peer.say(b"abc")
        modem.peer.close()
        for _ in range(2):
            with pytest.raises(ModemError):
                sock.receive(10)

    def test_a_modem_that_forgets_the_socket_on_close_is_not_asked(self):
        modem = FakeModem(remote_close="freed")
        sock = connected(modem)
        modem.peer.close()
        assert sock.receive(10) == b""
        assert modem.commands == []

    def test_and_what_it_had_announced_is_told_to_be_lost(self):
        modem = FakeModem(remote_close="freed")
        sock = connected(modem)
        modem.peer.say(b"x" * 2000)
        assert len(sock.receive(5000)) == 1500
        modem.peer.close()
        for _ in range(2):
            with pytest.raises(SocketClosedError, match="lost"):
                sock.receive(10)
        assert modem.commands == ["receive"]

    def test_a_clean_end_where_the_modem_tells(self):
        modem = FakeModem(capabilities={"close_reason": True})
        sock = connected(modem)
        modem.peer.close()
        assert sock.receive(1) == b""
        assert sock.end_authenticated is True

    def test_data_before_an_error(self, modem):
        sock = connected(modem)
        modem.peer.say(b"abc")
        assert sock.receive(1) == b"a"
        modem.peer.lose(PdpError("bearer lost"))
        assert sock.receive(10) == b"bc"
        with pytest.raises(PdpError):
            sock.receive(10)
        assert sock.end_authenticated is None

    def test_an_answer_that_comes_after_the_caller_has_gone_is_kept(self, modem):
        sock = connected(modem)
        modem.peer.say(b"abcdef")
        late = []
        run = modem.sockets.run

        def slow(slot, op, bindings, *, deadline=None, on_orphan=None):
            answer = run(slot, op, bindings)
            late.append(lambda: on_orphan(raw(answer)))
            if deadline is None:
                raise KeyboardInterrupt
            while time.monotonic() < deadline:
                time.sleep(0.001)
            raise ModemTimeoutError("too late")

        modem.sockets.run = slow
        with pytest.raises(ModemTimeoutError):
            sock.receive(3, timeout=0.01)
        late.pop()()
        modem.sockets.run = run
        assert sock.receive(3) == b"abc"
        assert sock.receive(10) == b"def"
        modem.peer.say(b"again")
        modem.sockets.run = slow
        with pytest.raises(KeyboardInterrupt):
            sock.receive(3, timeout=None)
        late.pop()()
        modem.sockets.run = run
        assert sock.receive(10) == b"again"

    def test_and_comes_before_the_answer_to_the_next_question(self, modem):
        """The channel hands a late answer to a background thread: the next one may be here sooner."""
        sock = connected(modem)
        modem.peer.say(b"x" * 1500 + b"y" * 1500)
        run = modem.sockets.run
        gate = threading.Event()

        def abandoned(slot, op, bindings, *, deadline=None, on_orphan=None):
            answer = run(slot, op, bindings)

            def late():
                gate.wait(5)
                on_orphan(raw(answer))

            modem.channel.defer(late)
            modem.sockets.run = run
            raise KeyboardInterrupt

        modem.sockets.run = abandoned
        with pytest.raises(KeyboardInterrupt):
            sock.receive(3000, timeout=None)
        result = in_thread(lambda: sock.receive(1500, timeout=5))
        until(lambda: modem.commands.count("receive") == 2)
        gate.set()
        assert result() == b"x" * 1500
        assert sock.receive(1500) == b"y" * 1500

    def test_an_interrupt_behind_the_answer_loses_nothing(self, modem):
        """Ctrl-C in the moment between the channel's answer and the buffer."""
        sock = connected(modem)
        modem.peer.say(b"abc")

        def script(op, slot, b):
            answer = Answer(payload=bytes(modem.peer.waiting))
            modem.peer.waiting.clear()
            signal.raise_signal(signal.SIGINT)
            return answer

        modem.script = script
        with pytest.raises(KeyboardInterrupt):
            sock.receive(10)
        modem.script = lambda op, slot, b: None
        assert sock.receive(10, timeout=1) == b"abc"
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def test_an_interrupt_where_the_channel_lets_it_through_comes_at_once(self, modem):
        sock = connected(modem)
        modem.peer.say(b"abc")
        reached = []

        def script(op, slot, b):
            shielded = shield()
            try:
                shielded.wait()
                signal.raise_signal(signal.SIGINT)
                reached.append("after")
            finally:
                shielded.restore()

        modem.script = script
        with pytest.raises(KeyboardInterrupt):
            sock.receive(10)
        assert reached == []
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def test_a_read_that_fails_breaks_the_stream_since_it_may_have_a_gap(self, modem):
        sock = connected(modem)
        modem.peer.say(b"abc")

        def script(op, slot, b):
            raise NoAnswerError("AT+R: no answer within 5 s")

        modem.script = script
        for _ in range(2):  # never as a time-out: it was not the caller's
            with pytest.raises(SocketClosedError, match=r"data may be missing: AT\+R: no answer"):
                sock.receive(10, timeout=None)
            modem.script = lambda op, slot, b: None
        assert modem.commands == ["receive"]

    def test_a_command_that_is_not_answered_breaks_the_stream_whatever_time_the_caller_had(self, modem):
        sock = connected(modem)
        modem.peer.say(b"abc")

        def script(op, slot, b):
            time.sleep(0.02)
            raise NoAnswerError("AT+R: no answer within 5 s")

        modem.script = script
        with pytest.raises(SocketClosedError, match="data may be missing"):
            sock.receive(10, timeout=0.01)

    def test_closed_just_when_the_modem_is_asked(self, modem):
        """It was closed here: that is no connection that the far side has lost."""
        sock = connected(modem)

        def script(op, slot, bindings):
            if op == "receive":
                sock.close()
                raise SocketClosedError("the connection is closed")

        modem.script = script
        modem.peer.say(b"x")
        with pytest.raises(ModemError) as caught:
            sock.receive(10, timeout=5)
        assert caught.value.errno == errno.EBADF

    def test_closing_releases_a_receiver_in_another_thread(self, modem):
        sock = connected(modem)
        result = in_thread(lambda: sock.receive(10, timeout=None))
        until(lambda: modem.channel.waiting)
        sock.close()
        with pytest.raises(ModemError) as caught:
            result()
        assert caught.value.errno == errno.EBADF

    def test_shutdown_keeps_what_had_arrived(self, modem):
        sock = connected(modem)
        modem.peer.say(b"abc")
        assert sock.receive(1) == b"a"
        sock.shutdown()
        assert modem.peer.closed_by_driver
        assert sock.receive(10) == b"bc"
        assert sock.receive(10) == b""

    def test_polled_modems_are_asked_only_while_somebody_waits(self):
        modem = FakeModem(poll=0.01)
        sock = connected(modem)
        modem.peer.waiting += b"abc"
        assert sock.receive(10, timeout=5) == b"abc"
        result = in_thread(lambda: sock.receive(10, timeout=5))
        until(lambda: modem.channel.waiting)
        with modem.lock:
            modem.peer.waiting += b"def"
        assert result() == b"def"
        count = len(modem.commands)
        time.sleep(0.03)
        assert len(modem.commands) == count

    def test_a_polled_modem_is_asked_once_by_each_receive_that_does_not_wait(self):
        modem = FakeModem(poll=60)
        sock = connected(modem)
        for _ in range(3):
            with pytest.raises(ModemTimeoutError):
                sock.receive(10, timeout=0)
        assert modem.commands == ["receive"] * 3
        assert sock.get_opt(Option.HAS_BUFFERED_DATA) is True, "what has come since, nobody says"

    def test_a_polled_modem_is_asked_on_while_it_gives_data(self):
        modem = FakeModem(poll=60)
        sock = connected(modem)
        modem.peer.waiting += b"x" * 2000
        assert len(sock.receive(2000, timeout=1)) == 1500
        assert len(sock.receive(2000, timeout=1)) == 500
        assert sock.end_authenticated is None

    def test_push(self, modem):
        sock = connected(modem, receive="push")
        modem.peer.say(b"abc")
        modem.peer.say(b"def")
        assert sock.receive(2) == b"ab"
        assert sock.receive(10) == b"cdef"
        modem.peer.say(b"last")
        modem.peer.close()
        assert sock.receive(10) == b"last"
        assert sock.receive(10) == b""
        assert modem.commands == []

    def test_push_without_end_breaks_the_stream_instead_of_cutting_it(self, modem):
        sock = connected(modem, receive="push")
        piece = bytes(1 << 18)
        for _ in range(5):
            modem.peer.say(piece)
        assert len(sock.receive(1 << 20)) == 4 << 18
        with pytest.raises(SocketClosedError, match="lost"):
            sock.receive(1)

    def test_sizes(self, modem):
        sock = connected(modem)
        assert sock.receive(0) == b""
        with pytest.raises(ConfigurationError):
            sock.receive(-1)

    def test_two_threads_one_sends_one_receives(self, modem):
        sock = connected(modem)
        data = bytes(range(256)) * 200

        def receive_all():
            got = b""
            while len(got) < len(data):
                got += sock.receive(1000, timeout=5)
            return got

        received = in_thread(receive_all)
        sent = in_thread(lambda: [sock.send(data[i : i + 5000]) for i in range(0, len(data), 5000)])
        for i in range(0, len(data), 3000):
            modem.peer.say(data[i : i + 3000])
        sent()
        assert received() == data
        assert modem.peer.received == data
