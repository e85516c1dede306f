"""The contract over a modem: sending; against a scripted modem."""

from __future__ import annotations

import pytest

from modemtls.at.channel import LineBusyError
from modemtls.at.exchange import NoAnswerError
from modemtls.at.grammar import Outcome
from modemtls.errors import (
    BearerLostError,
    CommandError,
    ModemError,
    ModemRestartedError,
    ModemTimeoutError,
    PdpError,
    PortLostError,
    SocketClosedError,
    SyncError,
)
from modemtls.net import Errno, Option, error_pair
from tests.support.fakemodem import Answer, FakeModem
from tests.support.offload import (
    connected,
    modem_fixture,  # noqa: F401
)


class TestSend:
    def test_split_at_the_modems_limit(self, modem):
        sock = connected(modem)
        data = bytes(range(256)) * 20
        sizes = []
        modem.script = lambda op, slot, b: sizes.append(b["size"])
        sock.send(data)
        assert modem.peer.received == data
        assert sizes == [1460, 1460, 1460, 740]
        assert sock.get_opt(Option.BYTES_SENT) == len(data)

    @pytest.mark.parametrize("data", [b"", bytearray(), memoryview(b"")])
    def test_an_empty_send_sends_nothing(self, modem, data):
        connected(modem).send(data)
        assert modem.commands == []

    def test_any_buffer(self, modem):
        import array

        sock = connected(modem)
        sock.send(bytearray(b"ab"))
        sock.send(memoryview(b"xcdx")[1:3])
        sock.send(memoryview(array.array("H", [0x6665])))
        assert modem.peer.received == b"abcdef"

    def test_busy_is_tried_again(self, modem):
        sock = connected(modem)
        answers = [Answer(Outcome.BUSY), Answer(Outcome.BUSY)]
        modem.script = lambda op, slot, b: answers.pop() if answers else None
        sock.send(b"data")
        assert modem.peer.received == b"data"
        assert modem.commands == ["send"] * 3

    def test_busy_until_the_deadline_is_a_timeout_that_leaves_the_stream_whole(self, modem):
        sock = connected(modem)
        modem.script = lambda op, slot, b: Answer(Outcome.BUSY)
        with pytest.raises(ModemTimeoutError, match="no room") as caught:
            sock.send(b"data", timeout=0.02)
        assert caught.value.bytes_accepted == 0
        modem.script = lambda op, slot, b: None
        sock.send(b"data")
        assert modem.peer.received == b"data"

    def test_a_partial_answer_goes_on_where_it_stopped(self, modem):
        sock = connected(modem)
        taken = [3, 0]

        def script(op, slot, b):
            if not taken:
                return None
            count = taken.pop(0)
            modem.peer.received += b["data"][:count]
            return Answer(Outcome.PARTIAL, values={"sent": count})

        modem.script = script
        sock.send(b"abcdefgh")
        assert modem.peer.received == b"abcdefgh"
        assert sock.get_opt(Option.BYTES_SENT) == 8

    @pytest.mark.parametrize(
        ("means", "says"),
        [
            ("queued", "accepted by the modem"),
            ("sent", "sent by the modem"),
            ("acknowledged", "acknowledged by the peer"),
        ],
    )
    def test_a_failure_half_way_says_so_and_nothing_is_repeated(self, means, says):
        modem = FakeModem(sent_means=means)
        sock = connected(modem)

        def script(op, slot, b):
            if len(modem.peer.received) >= 2920:
                raise CommandError("the modem answered ERROR")
            return

        modem.script = script
        with pytest.raises(CommandError, match=f"2920 of 5000 bytes had been {says}; nothing is repeated") as caught:
            sock.send(bytes(5000))
        assert caught.value.bytes_accepted == 2920
        count = len(modem.commands)
        with pytest.raises(SocketClosedError, match="earlier send did not complete"):
            sock.send(b"more")
        assert len(modem.commands) == count
        assert len(modem.peer.received) == 2920

    @pytest.mark.parametrize(
        ("doubt", "shown"),
        [
            (KeyboardInterrupt(), KeyboardInterrupt),
            (NoAnswerError("AT+S: no prompt within 60 s"), SocketClosedError),
            (SyncError("AT+S: nothing sensible"), SocketClosedError),
            (CommandError("no", kind="closed"), SocketClosedError),
            (CommandError("no", kind="no_such_socket"), SocketClosedError),
            (CommandError("no", kind="pdp_lost"), BearerLostError),
            (CommandError("no", kind="memory"), CommandError),
        ],
        ids=repr,
    )
    def test_after_doubt_nothing_follows(self, modem, doubt, shown):
        sock = connected(modem)

        def script(op, slot, b):
            raise doubt

        modem.script = script
        with pytest.raises(shown) as caught:
            sock.send(b"one", timeout=5)
        assert not isinstance(caught.value, TimeoutError)
        assert str(doubt) in str(caught.value)
        assert isinstance(caught.value, ConnectionError) == (shown in {SocketClosedError, BearerLostError})
        modem.script = lambda op, slot, b: None
        with pytest.raises(SocketClosedError):
            sock.send(b"two")
        assert modem.peer.received == b""

    @pytest.mark.parametrize("before", [True, False])
    def test_after_the_modem_may_have_taken_data_for_commands_nothing_follows(self, modem, before):
        sock = connected(modem)
        modem.peer.say(b"still here")

        def script(op, slot, b):
            if op == "send" and modem.commands.count("send") == 2 - before:
                slot.note_spilt("it may have taken data for commands")  # as the answer to it arrives

        modem.script = script
        if not before:
            sock.send(b"one")
        for _ in range(2):
            with pytest.raises(SocketClosedError, match="data for commands"):
                sock.send(b"two")
        assert modem.commands.count("send") == 2 - before
        assert sock.receive(10) == b"still here"

    def test_a_refusal_that_may_be_the_answer_to_data_is_told_as_that(self, modem):
        sock = connected(modem)

        def script(op, slot, b):
            slot.note_spilt("it may have taken data for commands")
            raise CommandError("AT+S: ERROR")

        modem.script = script
        with pytest.raises(SocketClosedError, match=r"data for commands: AT\+S: ERROR"):
            sock.send(b"one")

    def test_refused_after_the_peer_closed_is_closed_whatever_the_modem_calls_it(self, modem):
        sock = connected(modem)

        def script(op, slot, b):
            modem.peer.close()
            raise CommandError("AT+S: ERROR")

        modem.script = script
        with pytest.raises(ConnectionResetError, match=r"closed .*AT\+S: ERROR"):
            sock.send(b"one")

    def test_a_line_that_was_busy_is_no_doubt(self, modem):
        sock = connected(modem)

        def script(op, slot, b):
            raise LineBusyError("busy")

        modem.script = script
        with pytest.raises(ModemTimeoutError):
            sock.send(b"one")
        modem.script = lambda op, slot, b: None
        sock.send(b"one")
        assert modem.peer.received == b"one"

    def test_after_the_peer_closed(self, modem):
        sock = connected(modem)
        modem.peer.close()
        with pytest.raises(ConnectionResetError, match="closed"):
            sock.send(b"x")
        assert modem.commands == []

    def test_after_shutdown(self, modem):
        sock = connected(modem)
        sock.shutdown()
        with pytest.raises(ModemError) as caught:
            sock.send(b"x")
        assert error_pair(caught.value).code == Errno.EPIPE

    @pytest.mark.parametrize(
        "error", [ModemRestartedError("boot"), PortLostError("unplugged"), PdpError("bearer lost")]
    )
    def test_after_a_loss_the_reason_is_given_every_time(self, modem, error):
        sock = connected(modem)
        modem.peer.lose(error)
        for _ in range(2):
            with pytest.raises(type(error), match=str(error)):
                sock.send(b"x")
            with pytest.raises(type(error), match=str(error)):
                sock.receive(1)
        assert modem.commands == []
