"""The channel: who gets the line, and what nobody asked for."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from modemtls.at.channel import Channel, Exchange, Expected, LineBusyError
from modemtls.at.grammar import STANDARD_FINALS, FinalRule, Outcome
from modemtls.errors import ModemRestartedError, ModemTimeoutError
from tests.support.at_channel import (
    AT,
    GRAMMAR,
    OK,
    SEND,
    SLOW,
    SOON,
    P,
    channel_fixture,  # noqa: F401
    modem_fixture,  # noqa: F401
    now_plus,
    start,
)
from tests.support.threads import until

# -- the line ------------------------------------------------------------------------------------------------------


def test_an_exchange(modem, channel):
    done = start(channel.exchange, AT)
    modem.expect(b"AT\r")
    modem.say(OK)
    assert done.result(SOON).ok


def test_opening_finds_the_step_by_itself(modem):
    channel = Channel(modem.port, GRAMMAR)
    done = start(channel.exchange, AT)
    modem.expect(b"AT+CMEE?\r")
    modem.say(b"\r\n+CMEE: 1\r\n\r\nOK\r\n")
    modem.expect(b"AT\r")
    modem.say(OK)
    assert done.result(SOON).ok
    done = start(channel.resynchronise)
    modem.expect(b"AT+CMEE?\r")
    modem.say(b"\r\n+CMEE: 1\r\n\r\nOK\r\n")
    done.result(SOON)
    channel.close()


def test_everybody_in_turn(modem, channel):
    first = start(channel.exchange, SLOW)
    modem.expect(b"AT+SLOW\r")
    waiting = []
    for number in range(5):
        waiting.append(start(channel.exchange, Exchange(line=b"AT+%d" % number)))
        until(lambda number=number: len(channel._queue) == number + 1)
    modem.say(OK)
    for number in range(5):
        modem.expect(b"AT+%d\r" % number)
        modem.say(OK)
    assert all(one.result(SOON).ok for one in [first, *waiting])


def test_a_small_message_waits_for_one_piece_only(modem, channel):
    def transfer():
        for _ in range(3):
            channel.exchange(SEND)

    transfer_done = start(transfer)
    modem.expect(b"AT+SEND=5\r")
    small = start(channel.exchange, AT)
    until(lambda: channel._queue)
    modem.say(b"\r\n> ")
    modem.expect(b"hello")
    modem.say(OK)
    modem.expect(b"AT\r")
    modem.say(OK)
    assert small.result(SOON).ok
    for _ in range(2):
        modem.expect(b"AT+SEND=5\r")
        modem.say(b"\r\n> ")
        modem.expect(b"hello")
        modem.say(OK)
    transfer_done.result(SOON)


def test_hold_keeps_others_out(modem, channel):
    inside = threading.Event()

    def sequence():
        with channel.hold(), channel.hold():
            channel.exchange(Exchange(line=b"AT+A"))
            inside.set()
            channel.exchange(Exchange(line=b"AT+B"))

    held = start(sequence)
    modem.expect(b"AT+A\r")
    other = start(channel.exchange, AT)
    until(lambda: channel._queue)
    modem.say(OK)
    modem.expect(b"AT+B\r")
    modem.say(OK)
    held.result(SOON)
    modem.expect(b"AT\r")
    modem.say(OK)
    assert other.result(SOON).ok


def test_hold_keeps_others_out_between_exchanges(modem, channel):
    with start(channel.hold).result(SOON):
        pass  # a hold may be entered in another thread than it was made in
    with channel.hold():
        other = start(channel.exchange, AT)
        modem.silent()
    modem.expect(b"AT\r")
    modem.say(OK)
    assert other.result(SOON).ok


def test_a_hold_ends_with_an_exception(channel):
    with pytest.raises(ZeroDivisionError), channel.hold():
        raise ZeroDivisionError
    with start(channel.hold).result(SOON):
        pass


def test_a_hold_that_is_not_granted(modem, channel):
    slow = start(channel.exchange, SLOW)
    modem.expect(b"AT+SLOW\r")
    with pytest.raises(LineBusyError), channel.hold(now_plus(channel, 0.02)):
        pytest.fail("the line was not free")
    modem.say(OK)
    assert slow.result(SOON).ok
    assert not channel._queue


@pytest.mark.parametrize("raises", [False, True])
def test_what_is_asked_about_a_failure_comes_next(modem, channel, raises):
    def ask(reply):
        assert reply.outcome is Outcome.FAIL
        channel.exchange(Exchange(line=b"AT+WHY"))
        if raises:
            raise ZeroDivisionError

    done = start(channel.exchange, AT, on_failure=ask)
    modem.expect(b"AT\r")
    others = [start(channel.exchange, AT) for _ in range(2)]
    until(lambda: len(channel._queue) == 2)
    modem.say(b"\r\nERROR\r\n")
    modem.expect(b"AT+WHY\r")
    modem.silent()
    modem.say(OK)
    for _ in others:
        modem.expect(b"AT\r")
        modem.say(OK)
    assert all(other.result(SOON).ok for other in others)
    if raises:
        with pytest.raises(ZeroDivisionError):
            done.result(SOON)
    else:
        assert done.result(SOON).outcome is Outcome.FAIL


def test_nothing_is_asked_about_success_or_by_one_who_has_left(modem, channel):
    asked = []
    done = start(channel.exchange, AT, on_failure=asked.append)
    modem.expect(b"AT\r")
    modem.say(OK)
    assert done.result(SOON).ok
    left = start(channel.exchange, AT, deadline=now_plus(channel, 0.02), on_failure=asked.append)
    modem.expect(b"AT\r")
    with pytest.raises(ModemTimeoutError):
        left.result(SOON)
    modem.say(b"\r\nERROR\r\n")
    until(lambda: channel._line.free)
    assert channel._holder is None
    assert asked == []


def test_the_same_command_with_another_payload(modem, channel):
    done = start(channel.exchange, SEND, payload=b"other")
    modem.expect(b"AT+SEND=5\r")
    modem.say(b"\r\n> ")
    modem.expect(b"other")
    modem.say(OK)
    assert done.result(SOON).ok


def test_within_a_hold_nothing_is_sent_after_a_restart(modem, channel):
    def sequence():
        with channel.hold():
            assert channel.exchange(AT).ok
            until(lambda: channel.epoch == 1)
            channel.exchange(Exchange(line=b"AT+UNSAFE"))

    done = start(sequence)
    modem.expect(b"AT\r")
    modem.say(OK)
    modem.say(b"\r\nRDY\r\n")
    with pytest.raises(ModemRestartedError):
        done.result(SOON)
    modem.silent()


def test_nothing_is_sent_in_another_epoch_than_asked_for(modem, channel):
    channel.end_epoch("a test")
    with pytest.raises(ModemRestartedError):
        channel.exchange(AT, epoch=0)
    modem.silent()
    channel._line.doubt = None
    slow = start(channel.exchange, SLOW)
    modem.expect(b"AT+SLOW\r")
    queued = start(channel.exchange, AT, epoch=0)
    until(lambda: channel._queue)
    modem.say(OK)
    assert slow.result(SOON).ok
    with pytest.raises(ModemRestartedError):
        queued.result(SOON)
    modem.silent()


def test_a_bound_name_without_a_value_sends_nothing(modem, channel):
    with pytest.raises(KeyError):
        channel.exchange(Exchange(line=b"AT", lines=(Expected(P("+X: {socket}")),)))
    modem.silent()
    done = start(channel.exchange, AT)
    modem.expect(b"AT\r")
    modem.say(OK)
    assert done.result(SOON).ok


# -- what nobody asked for -----------------------------------------------------------------------------------------


def test_notices_are_read_while_nobody_waits(modem, channel):
    seen = []
    channel.on_urc = seen.append
    modem.say(b'\r\n+U: "recv",3\r\n')
    until(lambda: seen)
    assert seen[0].values == {"socket": 3}


def test_waiting_for_state(modem, channel):
    seen = []
    channel.on_urc = seen.append
    done = start(channel.wait, lambda: len(seen) == 2)
    modem.say(b'\r\n+U: "recv",3\r\n')
    until(lambda: seen)
    assert not done.done()
    modem.say(b'\r\n+U: "recv",4\r\n')
    assert done.result(SOON)
    assert channel.wait(lambda: False, now_plus(channel, 0.01)) is False


def test_notify_has_waiters_look_again(channel):
    flag = []
    first = start(channel.wait, lambda: bool(flag))
    second = start(channel.wait, lambda: bool(flag))
    until(lambda: channel._leader is not None and channel._followers)
    flag.append(1)
    channel.notify()
    assert first.result(SOON)
    assert second.result(SOON)


def test_an_exchange_while_another_thread_waits(modem, channel):
    seen = []
    channel.on_urc = seen.append
    waits = start(channel.wait, lambda: bool(seen))
    until(lambda: channel._leader is not None)
    for _ in range(3):
        done = start(channel.exchange, AT)
        modem.expect(b"AT\r")
        modem.say(OK)
        assert done.result(SOON).ok
    modem.say(b'\r\n+U: "recv",3\r\n')
    assert waits.result(SOON)


def test_the_time_out_of_an_exchange_counts_while_another_thread_reads(modem, channel):
    waits = start(channel.wait, lambda: False, now_plus(channel, 0.5))
    until(lambda: channel._leader is not None)
    began = time.monotonic()
    with pytest.raises(ModemTimeoutError):
        channel.exchange(Exchange(line=b"AT+X", timeout=0.05))
    assert time.monotonic() - began < 0.4
    assert waits.result(SOON) is False


def test_reading_is_handed_over_when_the_reader_leaves(modem, channel):
    leaves = start(channel.wait, lambda: False, now_plus(channel, 0.1))
    until(lambda: channel._leader is not None)
    stays = start(channel.exchange, SLOW)
    modem.expect(b"AT+SLOW\r")
    assert leaves.result(SOON) is False
    modem.say(OK)
    assert stays.result(SOON).ok
    until(lambda: channel._leader is None)


def test_a_watch_keeps_what_comes_before_it_is_waited_for(modem, channel):
    with channel.watch(P("+OPEN: {socket},{error:int}"), {"socket": 2}) as watch:
        done = start(channel.exchange, AT)
        modem.expect(b"AT\r")
        modem.say(b"\r\n+OPEN: 1,0\r\n\r\n+OPEN: 2,0\r\n" + OK + b"\r\n+OPEN: 2,5\r\n")
        done.result(SOON)
        assert watch.wait(now_plus(channel, SOON)).values == {"error": 0}
        assert watch.wait(now_plus(channel, SOON)).values == {"error": 5}
        with pytest.raises(ModemTimeoutError, match="OPEN"):
            watch.wait(now_plus(channel, 0.01))
    assert not channel._watches


def test_a_watch_that_nobody_holds_is_forgotten(modem, channel):
    """As an interrupt leaves one between its making and its keeping."""
    channel.watch(P("+OPEN: {socket},{error:int}"), {"socket": 2})
    assert not channel._watches
    with channel.watch(P("+OPEN: {socket},{error:int}"), {"socket": 3}):
        assert len(channel._line.codec.watches) == 1


def test_a_callback_that_fails_does_not_hurt_the_line(modem, channel, caplog):
    def fail(_):
        raise RuntimeError("broken observer")

    channel.on_urc = fail
    channel.on_epoch = fail
    modem.say(b'\r\n+U: "recv",3\r\n')
    done = start(channel.exchange, AT)
    modem.expect(b"AT\r")
    modem.say(OK)
    assert done.result(SOON).ok
    channel.end_epoch("a test")
    assert "broken observer" in caplog.text


def test_idle_means_no_wake_ups(modem, channel):
    done = start(channel.exchange, AT)
    modem.expect(b"AT\r")
    modem.say(OK)
    done.result(SOON)
    time.sleep(0.02)

    def switches():
        status = Path(f"/proc/self/task/{channel._thread.native_id}/status").read_text()
        return [line for line in status.splitlines() if "ctxt_switches" in line]

    before = switches()
    time.sleep(0.15)
    assert switches() == before


def test_what_is_there_already_is_looked_at_before_the_next_piece_is_sent(channel, modem):
    """A result that nobody waits for behind that of a send: the modem may have taken data for commands."""
    spills = []
    channel.on_spill = spills.append
    done = FinalRule(P("SEND OK"), Outcome.OK)
    piece = replace(SEND, topic=("tls", 1), finals=(done, *STANDARD_FINALS[1:]))
    first = start(channel.exchange, piece)
    modem.expect(b"AT+SEND=5\r")
    modem.say(b"\r\n> ")
    modem.expect(b"hello")
    modem.say(b"\r\nSEND OK\r\n")
    assert first.result(SOON).ok
    with channel._lock:  # nobody else reads
        modem.say(OK)
        with pytest.raises(LineBusyError):
            channel.exchange(piece, deadline=now_plus(channel, 0.3))
    assert [spill.topic for spill in spills] == [("tls", 1)]
    modem.expect(b"AT+CMEE?\r")  # and not the next piece
