"""The contract over a modem: datagrams; against a scripted modem."""

from __future__ import annotations

import errno
import select
import signal
import threading

import pytest

from modemtls.at.exchange import Line, NoAnswerError, Reply
from modemtls.at.grammar import Outcome
from modemtls.errors import (
    BearerLostError,
    CommandError,
    ConfigurationError,
    ModemRestartedError,
    ModemTimeoutError,
    NotSupportedError,
    SocketClosedError,
    TruncatedError,
)
from modemtls.net import Errno, Option, SocketConfiguration, State, create_udp_socket
from tests.support.fakemodem import Answer
from tests.support.fakepackets import PacketModem, bound, connected, fails
from tests.support.threads import in_thread, until


@pytest.fixture
def modem():
    return PacketModem()


def readable(handle):
    return bool(select.select([handle], [], [], 0)[0])


def cut(sock, size, **named):
    with pytest.raises(TruncatedError) as caught:
        sock.receive(size, **named)
    return caught.value.data


class TestSending:
    def test_one_send_is_one_datagram(self, modem):
        sock = connected(modem)
        for data in (b"one", bytearray(b"two"), memoryview(b"three")):
            sock.send(data)
        assert modem.peer.sent == [b"one", b"two", b"three"]
        assert sock.get_opt(Option.BYTES_SENT) == 11

    def test_what_cannot_fit_is_refused_before_anything_is_sent(self, modem):
        sock = connected(modem, configuration=SocketConfiguration(forced_mtu=1500))
        assert sock.get_opt(Option.INNER_MTU) == 1000  # the modem's own limit
        sock.send(bytes(1000))
        fails(Errno.EMSGSIZE, sock.send, bytes(1001))
        fails(Errno.EMSGSIZE, sock.offer, bytes(1001))
        assert modem.commands == ["send"]

    def test_the_size_of_packets_is_a_bound_as_well(self, modem):
        sock = connected(modem, "192.0.2.1", SocketConfiguration(forced_mtu=528))
        assert (sock.get_opt(Option.MTU), sock.get_opt(Option.INNER_MTU)) == (528, 500)
        fails(Errno.EMSGSIZE, sock.send, bytes(501))
        sock.send(bytes(500))
        other = connected(modem, "2001:db8::1", SocketConfiguration(forced_mtu=548))
        assert other.get_opt(Option.INNER_MTU) == 500

    def test_the_size_that_always_gets_through_where_nothing_is_known(self):
        modem = PacketModem(limits={"udp_send": 2000})
        sock = create_udp_socket(modem)
        assert sock.get_opt(Option.INNER_MTU) == 0
        fails(Errno.ENOTCONN, sock.get_opt, Option.MTU)
        for host, size in (("192.0.2.1", 548), ("2001:db8::1", 1232), ("peer.example", 548)):
            sock.connect(host, "7")
            assert sock.get_opt(Option.INNER_MTU) == size
            fails(Errno.ENOTSUP, sock.get_opt, Option.MTU)
            sock.close()

    def test_an_empty_one_is_refused(self, modem):
        sock = connected(modem)
        with pytest.raises(NotSupportedError) as caught:
            sock.send(b"")
        assert caught.value.capability == "empty_datagrams"
        assert modem.commands == []

    def test_a_modem_without_room_is_waited_for(self, modem):
        sock = connected(modem)
        answers = [Answer(Outcome.BUSY), Answer(Outcome.PARTIAL, {"sent": 0}), None, None, Answer(Outcome.BUSY)]
        modem.script = lambda op, slot, b: answers.pop(0)
        sock.send(b"x")
        assert sock.offer(b"y") == 1
        assert modem.peer.sent == [b"x", b"y"]
        assert sock.offer(b"z") == 0
        answers += [Answer(Outcome.BUSY)] * 100
        fails(Errno.ETIMEDOUT, sock.send, b"z", timeout=0.1)
        assert sock.get_opt(Option.BYTES_SENT) == 2

    @pytest.mark.parametrize("outcome", [Outcome.OK, Outcome.PARTIAL])
    def test_a_part_of_a_datagram_is_an_error(self, modem, outcome):
        sock = connected(modem)
        modem.script = lambda op, slot, b: Answer(outcome, {"sent": 2})
        fails(Errno.EIO, sock.send, b"abc")

    def test_one_whose_fate_is_unknown_does_not_end_the_others(self, modem):
        sock = connected(modem)

        def silent(op, slot, b):
            modem.script = lambda op, slot, b: None
            raise NoAnswerError("no answer")

        modem.script = silent
        fails(Errno.ETIMEDOUT, sock.send, b"lost")
        sock.send(b"next")
        assert modem.peer.sent == [b"next"]

    @pytest.mark.parametrize(("kind", "error"), [("no_such_socket", SocketClosedError), ("pdp_lost", BearerLostError)])
    def test_a_refusal_that_says_that_there_is_no_socket_any_more(self, modem, kind, error):
        sock = connected(modem)

        def refuse(op, slot, b):
            raise CommandError("no", kind=kind)

        modem.script = refuse
        with pytest.raises(error):
            sock.send(b"x")

    def test_after_payload_was_perhaps_taken_for_commands_nothing_more_is_sent(self, modem):
        sock = connected(modem)
        modem.peer.slot.note_spilt("the modem came out of its data mode")
        fails(Errno.ECONNRESET, sock.send, b"x")
        assert modem.commands == []


class TestReceiving:
    def test_one_receive_is_one_datagram(self, modem):
        sock = connected(modem)
        for data in (b"one", b"", b"three"):
            modem.peer.say(data)
        assert [sock.receive(100) for _ in range(3)] == [b"one", b"", b"three"]
        fails(Errno.ETIMEDOUT, sock.receive, 100, timeout=0)
        assert sock.get_opt(Option.BYTES_RECEIVED) == 8
        assert modem.commands == ["receive"] * 4

    def test_a_small_buffer_gets_the_part_and_the_rest_is_gone(self, modem):
        sock = connected(modem)
        modem.peer.say(b"0123456789")
        modem.peer.say(b"exactly")
        modem.peer.say(b"next")
        assert cut(sock, 4, peek=True) == b"0123"
        assert cut(sock, 4) == b"0123"
        assert sock.receive(7) == b"exactly"
        assert cut(sock, 0) == b""
        fails(Errno.ETIMEDOUT, sock.receive, 100, timeout=0)

    def test_what_is_looked_at_stays(self, modem):
        sock = connected(modem)
        modem.peer.say(b"one")
        assert [sock.receive(10, peek=True), sock.receive(10)] == [b"one", b"one"]

    def test_zero_timeout_polls_exactly_once(self, modem):
        sock = connected(modem)
        sock.set_opt(Option.RECV_TIMEOUT, 0)
        fails(Errno.ETIMEDOUT, sock.receive, 10)
        assert modem.commands == []
        modem.peer.say(b"one")
        assert sock.receive(10) == b"one"
        fails(Errno.ETIMEDOUT, sock.receive, 10)
        fails(Errno.ETIMEDOUT, sock.receive, 10)
        assert modem.commands == ["receive", "receive"]

    def test_a_modem_that_gives_no_notice_is_asked_each_time(self):
        modem = PacketModem(poll=60)
        sock = connected(modem)
        for _ in range(3):
            fails(Errno.ETIMEDOUT, sock.receive, 10, timeout=0)
        assert modem.commands == ["receive"] * 3
        assert sock.get_opt(Option.HAS_BUFFERED_DATA) is True  # for all one knows
        assert sock.system is None
        modem.peer.packets.append((b"x", ("192.0.2.1", 7)))
        assert sock.receive(10, timeout=0) == b"x"

    def test_so_it_is_without_a_peer(self):
        sock = bound(PacketModem(poll=60))
        assert sock.get_opt(Option.HAS_BUFFERED_DATA) is True
        sock.close()
        assert sock.get_opt(Option.HAS_BUFFERED_DATA) is False

    def test_a_modem_that_gives_no_notice_is_asked_in_its_period(self):
        modem = PacketModem(poll=0.01)
        sock = connected(modem)
        result = in_thread(lambda: sock.receive(10, timeout=5))
        until(lambda: len(modem.commands) > 2)
        modem.peer.packets.append((b"x", ("192.0.2.1", 7)))
        assert result() == b"x"

    def test_buffered_data_is_never_falsely_denied(self, modem):
        sock = connected(modem)
        assert sock.get_opt(Option.HAS_BUFFERED_DATA) is False
        modem.peer.say(b"one")
        modem.peer.say(b"")
        seen = []
        while sock.get_opt(Option.HAS_BUFFERED_DATA):
            try:
                seen.append(sock.receive(10, timeout=0))
            except ModemTimeoutError:
                break
        assert seen == [b"one", b""]
        assert sock.get_opt(Option.HAS_BUFFERED_DATA) is False

    def test_an_empty_one_that_is_not_told_of_hides_nothing(self):
        """The modem gives no notice of what arrives while something is unread, and says nothing of empty ones."""
        modem = PacketModem(tells_empty=False)
        modem.profile.programs["udp_pending"] = None
        sock = connected(modem)
        modem.peer.packets.extend((data, ("192.0.2.1", 7)) for data in (b"first", b"", b"", b"hidden", b""))
        modem.peer.slot.note_data(None)
        assert [sock.receive(10, timeout=1) for _ in range(2)] == [b"first", b"hidden"]
        fails(Errno.ETIMEDOUT, sock.receive, 10, timeout=0)
        assert sock.get_opt(Option.HAS_BUFFERED_DATA) is False
        modem.commands.clear()
        fails(Errno.ETIMEDOUT, sock.receive, 10, timeout=0)
        assert modem.commands == []

    def test_nor_does_one_to_a_socket_without_a_peer(self):
        modem = PacketModem(tells_empty=False)
        modem.profile.programs["udp_pendingfrom"] = None
        sock = bound(modem)
        modem.peer.packets.extend((data, ("192.0.2.1", 7)) for data in (b"", b"hidden", b"more"))
        modem.peer.slot.note_data(None)
        assert sock.receive_from(10, timeout=1) == (b"hidden", "192.0.2.1", "7")
        assert sock.get_opt(Option.HAS_BUFFERED_DATA) is True
        assert sock.receive_from(10, timeout=1) == (b"more", "192.0.2.1", "7")
        fails(Errno.ETIMEDOUT, sock.receive_from, 10, timeout=0)
        fails(Errno.ETIMEDOUT, sock.receive_from, 10, timeout=0)
        assert modem.commands == ["receivefrom", "pendingfrom", *["receivefrom"] * 3, "pendingfrom"]

    def test_a_modem_that_counts_wrong_is_not_asked_for_ever(self, modem):
        modem.profile.programs["udp_pending"] = None
        sock = connected(modem)
        modem.peer.slot.note_data(None)
        modem.script = lambda op, slot, b: Answer(values={"pending": 5}) if op == "pending" else None
        fails(Errno.ETIMEDOUT, sock.receive, 10, timeout=0.5)
        assert modem.commands == ["receive", "pending"] * 100
        assert sock.get_opt(Option.HAS_BUFFERED_DATA) is False

    def test_one_that_cannot_tell_how_much_it_has_is_believed(self, modem):
        modem.profile.programs["udp_pending"] = None
        sock = connected(modem)
        modem.peer.slot.note_data(None)

        def refuse(op, slot, b):
            if op == "pending":
                raise CommandError("no")

        modem.script = refuse
        fails(Errno.ETIMEDOUT, sock.receive, 10, timeout=0.01)
        assert modem.commands == ["receive", "pending"]

    def test_the_handle_is_readable_while_there_is_something(self, modem):
        sock = connected(modem)
        handle = sock.system
        modem.peer.say(b"")
        assert readable(handle)
        assert sock.receive(10) == b""
        fails(Errno.ETIMEDOUT, sock.receive, 10, timeout=0)
        assert not readable(handle)
        sock.close()
        assert sock.system is None


class TestWhatTheModemCuts:
    """One command gives at most 1000 bytes."""

    def test_the_rest_is_lost_in_the_modem(self):
        modem = PacketModem(keeps=False)
        sock = connected(modem)
        modem.peer.say(bytes(1500))
        modem.peer.say(b"next")
        assert cut(sock, 2000) == bytes(1000)
        assert sock.receive(2000) == b"next"

    def test_the_rest_is_read_and_dropped_where_the_modem_keeps_it(self, modem):
        sock = connected(modem)
        modem.peer.say(b"a" * 2500)
        modem.peer.say(b"next")
        assert cut(sock, 2000) == b"a" * 1000
        assert sock.receive(2000) == b"next"

    def test_one_as_long_as_a_read_is_whole_if_nothing_follows(self, modem):
        sock = connected(modem)
        modem.peer.say(b"a" * 1000)
        assert sock.receive(1000) == b"a" * 1000

    def test_one_as_long_as_a_read_is_whole_if_somebody_elses_follows(self, modem):
        sock = bound(modem)
        modem.peer.say(b"a" * 1000, ("192.0.2.1", 7))
        modem.peer.say(b"next", ("192.0.2.2", 7))
        modem.peer.say(b"b" * 1000, ("192.0.2.2", 7))
        modem.peer.say(b"c" * 1000, ("192.0.2.2", 8))
        assert sock.receive_from(1000) == (b"a" * 1000, "192.0.2.1", "7")
        assert sock.receive_from(1000) == (b"next", "192.0.2.2", "7")
        assert [sock.receive_from(1000) for _ in range(2)] == [
            (b"b" * 1000, "192.0.2.2", "7"), (b"c" * 1000, "192.0.2.2", "8")
        ]  # fmt: skip

    def test_it_is_put_together_where_the_modem_says_what_is_left(self):
        modem = PacketModem(tells_left=True)
        sock = connected(modem)
        modem.peer.say(b"a" * 2500)
        modem.peer.say(b"b" * 1000)
        modem.peer.say(b"next")
        assert sock.receive(3000, timeout=0) == b"a" * 2500
        assert sock.receive(1000) == b"b" * 1000
        assert sock.receive(10) == b"next"

    def test_what_is_left_in_a_modem_that_drops_it_is_lost(self):
        modem = PacketModem(keeps=False, tells_left=True)
        sock = connected(modem)
        modem.peer.say(b"a" * 1001)
        modem.peer.say(b"b" * 1000)
        assert cut(sock, 2000) == b"a" * 1000
        assert sock.receive(1000) == b"b" * 1000

    def test_a_rest_that_could_not_be_read_in_time_is_no_datagram(self):
        modem = PacketModem(tells_left=True)
        sock = connected(modem)
        modem.peer.say(b"a" * 1500)

        def late(op, slot, b):
            if len(modem.commands) == 2:
                raise NoAnswerError("no answer")
            return

        modem.script = late
        fails(Errno.ETIMEDOUT, sock.receive, 2000)
        assert sock.receive(2000) == b"a" * 1500


class TestPushed:
    @pytest.fixture
    def sock(self, modem):
        return connected(modem, receive="push")

    def test_datagrams_come_whole_and_empty_ones_too(self, modem, sock):
        for data in (b"one", b"", b"three"):
            modem.peer.say(data)
        assert [sock.receive(100) for _ in range(3)] == [b"one", b"", b"three"]
        assert modem.commands == []
        fails(Errno.ETIMEDOUT, sock.receive, 100, timeout=0)

    def test_one_that_did_not_arrive_whole_is_lost_alone(self, modem, sock):
        modem.peer.say(b"whole")
        modem.peer.say(b"tor")
        modem.peer.slot.note_torn(reported=True)
        modem.peer.say(b"next")
        assert [sock.receive(100) for _ in range(2)] == [b"whole", b"next"]

    def test_more_than_are_ever_read_are_dropped(self, modem, sock):
        for number in range(300):
            modem.peer.say(b"%d" % number)
        got = []
        while sock.ready:
            got.append(int(sock.receive(10)))
        assert got == list(range(256))
        modem.peer.say(b"again")
        assert sock.receive(10) == b"again"


class TestWhatGoesWrong:
    def test_an_answer_that_does_not_come_ends_one_receive(self, modem):
        sock = connected(modem)
        modem.peer.say(b"data")

        def silent(op, slot, b):
            modem.script = lambda op, slot, b: None
            raise NoAnswerError("no answer")

        modem.script = silent
        fails(Errno.ETIMEDOUT, sock.receive, 10, timeout=5)
        assert sock.receive(10) == b"data"

    def test_a_refusal_ends_one_receive(self, modem):
        sock = connected(modem)
        modem.peer.say(b"data")

        def refuse(op, slot, b):
            modem.script = lambda op, slot, b: None
            raise CommandError("busy", kind="busy")

        modem.script = refuse
        with pytest.raises(CommandError, match="busy"):
            sock.receive(10)
        assert sock.receive(10) == b"data"

    def test_what_came_too_late_for_its_caller_is_given_to_the_next(self, modem):
        sock = connected(modem)
        modem.peer.say(b"x" * 10)
        modem.peer.say(b"next")
        run = modem.sockets.run

        def slow(slot, op, bindings, *, deadline=None, on_orphan=None):
            modem.sockets.run = run
            answer = run(slot, op, bindings)
            lines = (Line(0, "", {"host": "192.0.2.1", "port": 7}, answer.payload),)
            modem.channel.defer(lambda: on_orphan(Reply(Outcome.OK, "OK", lines=lines)))
            while modem.now() < deadline:
                pass
            raise ModemTimeoutError("too late")

        modem.sockets.run = slow
        fails(Errno.ETIMEDOUT, sock.receive, 100, timeout=0.01)
        assert [sock.receive(100) for _ in range(2)] == [b"x" * 10, b"next"]

    @pytest.mark.parametrize("receive", ["buffered", "push"])
    def test_a_socket_that_the_modem_closed_is_an_error_after_the_data(self, modem, receive):
        sock = connected(modem, receive=receive)
        modem.peer.say(b"last")
        modem.peer.close()
        assert sock.receive(10) == b"last"
        for _ in range(2):
            fails(Errno.ECONNRESET, sock.receive, 10)
        fails(Errno.ECONNRESET, sock.send, b"x")

    @pytest.mark.parametrize("error", [ModemRestartedError("restarted"), BearerLostError("lost")])
    def test_a_loss_wakes_who_waits(self, modem, error):
        sock = connected(modem)
        result = in_thread(lambda: sock.receive(10, timeout=5))
        until(lambda: modem.channel.waiting)
        modem.peer.lose(error)
        with pytest.raises(type(error)):
            result()

    def test_close_wakes_who_waits(self, modem):
        sock = connected(modem)
        result = in_thread(lambda: sock.receive(10, timeout=5))
        until(lambda: modem.channel.waiting)
        sock.close()
        fails(Errno.EBADF, result)

    def test_a_receive_that_waits_stops_no_send(self, modem):
        sock = connected(modem)
        result = in_thread(lambda: sock.receive(10, timeout=5))
        until(lambda: modem.channel.waiting)
        sock.send(b"ping")
        modem.peer.say(b"pong")
        assert result() == b"pong"

    def test_whoever_has_sent_lets_others_send(self, modem):
        sock = connected(modem)
        for send in (sock.send, sock.offer):
            in_thread(lambda send=send: send(b"x"))()
            sock.send(b"y", timeout=1)
            assert sock.offer(b"z") == 1

    def test_who_watches_hears_of_each_state(self, modem):
        sock = create_udp_socket(modem)
        seen = []
        sock.watch(lambda: seen.append(sock.state))
        sock.bind(None, "5683")
        sock.connect("peer.example", "7")
        sock.shutdown()
        sock.close()
        states = dict.fromkeys(seen)
        assert list(states) == [State.BOUND, State.CONNECTED, State.SHUTDOWN, State.CLOSED]

    def test_two_that_receive_get_one_each(self, modem):
        sock = connected(modem)
        results = [in_thread(lambda: sock.receive(10, timeout=5)) for _ in range(2)]
        until(lambda: modem.channel.waiting)
        modem.peer.say(b"one")
        modem.peer.say(b"two")
        assert {result() for result in results} == {b"one", b"two"}

    def test_an_interrupt_loses_no_datagram_that_has_arrived(self, modem):
        """Struck while the answer is on its way into memory, it is let through when the datagram is there."""
        sock = connected(modem)
        modem.peer.say(b"data")

        def struck(op, slot, b):
            modem.script = lambda op, slot, b: None
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            return

        modem.script = struck
        with pytest.raises(KeyboardInterrupt):
            sock.receive(10, timeout=5)
        assert sock.receive(10, timeout=5) == b"data"

    def test_data_may_still_be_read_after_shutdown(self, modem):
        sock = connected(modem, receive="push")
        modem.peer.say(b"one")
        sock.shutdown()
        assert [sock.receive(10), sock.receive(10)] == [b"one", b""]
        fails(Errno.EPIPE, sock.send, b"x")


def test_options_of_other_kinds_are_refused(modem):
    sock = connected(modem)
    for option in (Option.SESSION_RESUMED, Option.CONNECTION_ID_RESUMED, Option.DANE_TLSA_ARRAY):
        fails(Errno.EINVAL, sock.get_opt, option)
    fails(Errno.EINVAL, sock.set_opt, Option.DANE_TLSA_ARRAY, [])
    fails(Errno.EBADF, sock.set_opt, Option.DTLS_HANDSHAKE_TIMEOUTS, (1.0, 2.0))
    with pytest.raises(ConfigurationError):
        sock.receive(-1)


def test_cleanup_in_every_state(modem):
    for prepare in (lambda s: None, lambda s: s.bind(None, "7"), lambda s: s.connect("h.example", "7")):
        for after in (lambda s: None, lambda s: s.state is State.CLOSED or s.shutdown(), lambda s: s.close()):
            sock = create_udp_socket(modem)
            prepare(sock)
            after(sock)
            sock.cleanup()
            sock.cleanup()
            assert sock.state is State.CLOSED
            assert fails(Errno.EBADF, sock.connect, "h.example", "7").errno == errno.EBADF
            fails(Errno.EBADF, sock.bind, None, "7")
    assert all(peer.closed_by_driver for peer in modem.peers)
