"""The channel: who gets the line, who reads it, and what becomes of those that wait."""

import os
import signal
import socket
import threading
import time
from concurrent.futures import Future
from pathlib import Path

import pytest

from modemtls.at.channel import Channel, Exchange, Expected, LineBusyError
from modemtls.at.grammar import Grammar, Outcome, PromptRule, UrcRule, compile_pattern
from modemtls.at.interrupts import Interrupts, shield, unbroken
from modemtls.at.port import FdPort
from modemtls.errors import ModemRestartedError, ModemTimeoutError, PortLostError, SyncError

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


@pytest.fixture
def modem():
    one = Modem()
    yield one
    one.end.close()


@pytest.fixture
def channel(modem):
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


def until(condition):
    end = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def now_plus(channel, seconds):
    return channel.clock() + seconds


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


# -- callers that leave --------------------------------------------------------------------------------------------


def test_a_callers_time_out_returns_at_once_and_the_line_stays_in_step(modem, channel):
    orphans = []
    began = time.monotonic()
    done = start(channel.exchange, SLOW, deadline=now_plus(channel, 0.03), on_orphan=orphans.append)
    modem.expect(b"AT+SLOW\r")
    with pytest.raises(ModemTimeoutError) as caught:
        done.result(SOON)
    assert not isinstance(caught.value, LineBusyError)
    with pytest.raises(LineBusyError, match=r"AT: not sent, .* answer to AT\+SLOW, which its caller had given up"):
        channel.exchange(AT, deadline=now_plus(channel, 0.01))
    with pytest.raises(LineBusyError, match=r"answer to AT\+SLOW"), channel.hold(now_plus(channel, 0.01)):
        raise AssertionError("unreachable")
    assert time.monotonic() - began < 1
    later = start(channel.exchange, AT)
    modem.silent()
    modem.say(OK)
    modem.expect(b"AT\r")
    modem.say(b"\r\nERROR\r\n")
    assert later.result(SOON).outcome is Outcome.FAIL
    until(lambda: orphans)
    assert orphans[0].ok


def test_a_prompt_that_comes_after_the_caller_left_gets_its_payload(modem, channel):
    orphans = []
    done = start(channel.exchange, SEND, deadline=now_plus(channel, 0.03), on_orphan=orphans.append)
    modem.expect(b"AT+SEND=5\r")
    with pytest.raises(ModemTimeoutError):
        done.result(SOON)
    modem.say(b"\r\n> ")
    modem.expect(b"hello")
    later = start(channel.exchange, AT)
    modem.silent()
    modem.say(OK)
    modem.expect(b"AT\r")
    modem.say(OK)
    assert later.result(SOON).ok
    until(lambda: orphans)
    assert orphans[0].ok


def test_an_orphan_whose_modem_never_answers_is_told_so(modem, channel):
    orphans = []
    brief = Exchange(line=b"AT+X", timeout=0.1)
    done = start(channel.exchange, brief, deadline=now_plus(channel, 0.02), on_orphan=orphans.append)
    modem.expect(b"AT+X\r")
    with pytest.raises(ModemTimeoutError):
        done.result(SOON)
    until(lambda: orphans)
    assert isinstance(orphans[0], ModemTimeoutError)


def test_an_orphan_is_taken_over_from_a_reader_that_leaves(modem, channel):
    orphans = []
    reader = start(channel.wait, lambda: False, now_plus(channel, 0.05))
    until(lambda: channel._leader is not None)
    brief = Exchange(line=b"AT+X", timeout=0.15)
    with pytest.raises(ModemTimeoutError):
        channel.exchange(brief, deadline=now_plus(channel, 0.01), on_orphan=orphans.append)
    assert reader.result(SOON) is False
    until(lambda: orphans)
    assert isinstance(orphans[0], ModemTimeoutError)


def test_on_orphan_may_use_the_channel(modem, channel):
    replies = []

    def clean_up(_reply):
        replies.append(channel.exchange(Exchange(line=b"AT+CLOSE")))

    done = start(channel.exchange, SLOW, deadline=now_plus(channel, 0.02), on_orphan=clean_up)
    modem.expect(b"AT+SLOW\r")
    with pytest.raises(ModemTimeoutError):
        done.result(SOON)
    modem.say(OK)
    modem.expect(b"AT+CLOSE\r")
    modem.say(OK)
    until(lambda: replies)
    assert replies[0].ok


def test_what_was_never_sent_is_never_an_orphan(modem, channel):
    orphans = []
    slow = start(channel.exchange, SLOW)
    modem.expect(b"AT+SLOW\r")
    with pytest.raises(LineBusyError):
        channel.exchange(AT, deadline=now_plus(channel, 0.02), on_orphan=orphans.append)
    modem.say(OK)
    assert slow.result(SOON).ok
    modem.silent()
    assert orphans == []


def test_the_modems_own_time_out_then_the_next_caller_is_served(modem, channel):
    with pytest.raises(ModemTimeoutError, match=r"AT\+X: no answer within 0.05 s"):
        channel.exchange(Exchange(line=b"AT+X", timeout=0.05))
    modem.expect(b"AT+X\r")
    later = start(channel.exchange, AT)
    modem.expect(b"AT+CMEE?\r")
    modem.say(OK + b"\r\n+CMEE: 1\r\n\r\nOK\r\n")  # the late answer, then the probe's
    modem.expect(b"AT\r")
    modem.say(OK)
    assert later.result(SOON).ok


def test_deferred_work_that_fails_is_logged(channel, caplog):
    done = threading.Event()
    channel.defer(lambda: 1 / 0)
    channel.defer(done.set)
    assert done.wait(SOON)
    assert "ZeroDivisionError" in caplog.text


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


# -- the end -------------------------------------------------------------------------------------------------------


def everybody_waits(modem, channel):
    """One of each kind that waits."""
    waiting = [start(channel.exchange, SLOW)]
    modem.expect(b"AT+SLOW\r")
    waiting.append(start(channel.exchange, AT))
    until(lambda: len(channel._queue) == 1)

    def hold():
        with channel.hold():
            pytest.fail("the line was not free")

    waiting.append(start(hold))
    until(lambda: len(channel._queue) == 2)
    watch = channel.watch(P("+NEVER"))
    waiting.append(start(watch.wait))
    return waiting


def test_unplugged_everybody_fails_at_once(modem, channel):
    waiting = everybody_waits(modem, channel)
    waiting.append(start(channel.wait, lambda: False))
    until(lambda: len(channel._followers) == 4)
    began = time.monotonic()
    modem.unplug()
    for one in waiting:
        with pytest.raises(PortLostError, match="test went away"):
            one.result(SOON)
    assert time.monotonic() - began < 1
    for attempt in (lambda: channel.exchange(AT), lambda: channel.watch(P("X")), lambda: channel.hold().__enter__()):
        with pytest.raises(PortLostError):
            attempt()
    assert isinstance(channel.closed_reason, PortLostError)


def test_unplugged_while_idle(modem, channel):
    modem.unplug()
    until(lambda: channel.closed_reason is not None)
    with pytest.raises(PortLostError, match="went away"):
        channel.exchange(AT)


def test_restarted_everybody_fails_at_once(modem, channel):
    done = start(channel.exchange, AT)
    modem.expect(b"AT\r")
    modem.say(OK)
    done.result(SOON)
    reasons = []
    channel.on_epoch = reasons.append
    waiting = everybody_waits(modem, channel)
    modem.say(b"\r\n\0\0RDY\r\n")
    for one in waiting:
        with pytest.raises(ModemRestartedError, match="RDY"):
            one.result(SOON)
    assert channel.epoch == 1
    assert reasons == ["it announced itself (RDY)"]
    # The next exchange is the new epoch's.
    done = start(channel.exchange, AT)
    modem.expect(b"AT+CMEE?\r")
    modem.say(OK + b"\r\n+CMEE: 1\r\n\r\nOK\r\n")
    modem.expect(b"AT\r")
    modem.say(OK)
    assert done.result(SOON).ok


def test_a_watch_for_the_restart_gets_it(modem, channel):
    done = start(channel.exchange, AT)
    modem.expect(b"AT\r")
    modem.say(OK)
    done.result(SOON)
    watch = channel.watch(P("RDY"))
    modem.say(b"\r\nRDY\r\n")
    assert watch.wait(now_plus(channel, SOON)).text == "RDY"
    with pytest.raises(ModemRestartedError):
        watch.wait(now_plus(channel, SOON))


def test_echo_and_error_form_are_forgotten_with_the_epoch(channel):
    channel.echo = False
    channel.error_form = 1
    channel.end_epoch("a test")
    assert (channel.echo, channel.error_form) == (None, None)


def test_closing_wakes_everybody_and_may_be_repeated(modem, channel):
    waiting = everybody_waits(modem, channel)
    channel.close(SyncError("enough"))
    channel.close()
    for one in waiting:
        with pytest.raises(SyncError, match="enough"):
            one.result(SOON)


def test_orphans_are_told_of_the_end(modem, channel):
    orphans = []
    done = start(channel.exchange, SLOW, deadline=now_plus(channel, 0.02), on_orphan=orphans.append)
    modem.expect(b"AT+SLOW\r")
    with pytest.raises(ModemTimeoutError):
        done.result(SOON)
    modem.unplug()
    until(lambda: orphans)
    assert isinstance(orphans[0], PortLostError)


def test_a_modem_that_reads_slowly_gets_everything(modem, channel):
    modem.end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    big = bytes(range(256)) * 4000
    done = start(channel.exchange, Exchange(line=b"AT+BIG", prompt=PromptRule(), payload=big, timeout=20))
    modem.expect(b"AT+BIG\r")
    modem.say(b"\r\n> ")
    modem.expect(big)
    modem.say(OK)
    assert done.result(SOON).ok


def test_a_modem_that_reads_nothing_is_given_up(modem, channel, monkeypatch):
    monkeypatch.setattr("modemtls.at.line.WRITE_STALL", 0.05)
    big = Exchange(line=b"AT+BIG", prompt=PromptRule(), payload=bytes(4_000_000), timeout=20)
    done = start(channel.exchange, big)
    modem.expect(b"AT+BIG\r")
    modem.say(b"\r\n> ")
    with pytest.raises(ModemTimeoutError, match="takes no bytes"):
        done.result(SOON)


# -- Ctrl-C --------------------------------------------------------------------------------------------------------


def test_an_interrupt_is_remembered_until_it_is_safe():
    calls = []

    def previous(number, frame):
        calls.append(number)
        raise KeyboardInterrupt

    one = Interrupts([(signal.SIGINT, previous)])
    one(signal.SIGINT, None)
    assert calls == []
    with pytest.raises(KeyboardInterrupt):
        one.wait()
    assert not one.waiting
    one.wait()
    with pytest.raises(KeyboardInterrupt):
        one(signal.SIGINT, None)
    assert not one.waiting


def test_the_handler_is_put_back():
    found = signal.getsignal(signal.SIGINT)
    shielded = shield()
    assert signal.getsignal(signal.SIGINT) is shielded
    shielded.restore()
    assert signal.getsignal(signal.SIGINT) is found
    assert start(shield).result(SOON) is None  # other threads get no signals
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert shield() is None
    finally:
        signal.signal(signal.SIGINT, found)


def test_what_is_within_a_shield_leaves_the_signal_to_the_end_of_all():
    reached = []

    def behind():
        with unbroken():
            shielded = shield()
            os.kill(os.getpid(), signal.SIGINT)
            shielded.restore()
            shielded.deliver()
            reached.append("behind the inner one")

    def waiting():
        with unbroken(), shield() as shielded:
            os.kill(os.getpid(), signal.SIGINT)
            shielded.wait()
            reached.append("it waited, and nothing came")

    for one in (behind, waiting):
        with pytest.raises(KeyboardInterrupt):
            one()
        assert reached == ["behind the inner one"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_set_within_a_shield_is_shielded_as_well():
    def other(number, frame):
        raise ZeroDivisionError

    found = signal.getsignal(signal.SIGINT)
    try:
        with unbroken():
            signal.signal(signal.SIGINT, other)
            shielded = shield()
            os.kill(os.getpid(), signal.SIGINT)
            shielded.restore()
            with pytest.raises(ZeroDivisionError):
                shielded.deliver()
        assert signal.getsignal(signal.SIGINT) is other
    finally:
        signal.signal(signal.SIGINT, found)


def test_other_signals_that_may_raise_are_shielded_too():
    def stop(number, frame):
        raise SystemExit

    found = signal.signal(signal.SIGTERM, stop)
    try:
        shielded = shield()
        os.kill(os.getpid(), signal.SIGTERM)
        shielded.restore()
        with pytest.raises(SystemExit):
            shielded.deliver()
        shielded.deliver()
        assert signal.getsignal(signal.SIGTERM) is stop
    finally:
        signal.signal(signal.SIGTERM, found)


def test_a_handler_set_meanwhile_stays():
    found = signal.getsignal(signal.SIGINT)

    def other(number, frame):
        pass

    try:
        shielded = shield()
        signal.signal(signal.SIGINT, other)
        shielded.restore()
        assert signal.getsignal(signal.SIGINT) is other
    finally:
        signal.signal(signal.SIGINT, found)


def test_ctrl_c_leaves_the_exchange_to_the_background(modem, channel):
    orphans = []
    main = threading.get_ident()

    def play():
        modem.expect(b"AT+SEND=5\r")
        until(lambda: channel._leader is not None)
        time.sleep(0.01)
        signal.pthread_kill(main, signal.SIGINT)
        until(lambda: channel._line.job is not None and channel._line.job.orphaned)
        modem.say(b"\r\n> ")
        modem.expect(b"hello")
        modem.say(OK)

    played = start(play)
    with pytest.raises(KeyboardInterrupt):
        channel.exchange(SEND, on_orphan=orphans.append)
    later = start(channel.exchange, AT)
    played.result(SOON)
    modem.expect(b"AT\r")
    modem.say(OK)
    assert later.result(SOON).ok
    until(lambda: orphans)
    assert orphans[0].ok


def test_a_handler_that_does_not_raise_does_not_disturb(modem, channel):
    main = threading.get_ident()
    calls = []
    found = signal.signal(signal.SIGINT, lambda number, frame: calls.append(number))

    def play():
        modem.expect(b"AT\r")
        time.sleep(0.01)
        signal.pthread_kill(main, signal.SIGINT)
        until(lambda: calls)
        modem.say(OK)

    try:
        played = start(play)
        assert channel.exchange(AT).ok
        played.result(SOON)
    finally:
        signal.signal(signal.SIGINT, found)
    assert calls == [signal.SIGINT]


def test_an_interrupt_that_came_too_late_hands_the_answer_on(modem, channel):
    """It arrives while the answer is being taken in: the exchange is done, the caller gone."""
    orphans = []

    def interrupt(_urc):
        os.kill(os.getpid(), signal.SIGINT)

    channel.on_urc = interrupt
    played = start(lambda: (modem.expect(b"AT\r"), modem.say(b'\r\n+U: "recv",1\r\n' + OK)))
    with pytest.raises(KeyboardInterrupt):
        channel.exchange(AT, on_orphan=orphans.append)
    played.result(SOON)
    until(lambda: orphans)
    assert orphans[0].ok
    done = start(channel.exchange, AT)
    modem.expect(b"AT\r")
    modem.say(OK)
    assert done.result(SOON).ok


class Broken(BaseException):
    """Raised from anywhere, as debuggers and some time-out libraries do: no signal, nothing to defer."""


def break_once(monkeypatch, owner, name, *, first=False):
    """Let a function be hit: before it does anything, or when it is about to return."""
    real = getattr(owner, name)

    def hit(*args, **kw):
        monkeypatch.setattr(owner, name, real)
        if not first:
            real(*args, **kw)
        raise Broken

    monkeypatch.setattr(owner, name, hit)


def send_and_be_hit(modem, channel, monkeypatch):
    """Have the payload written, and hit whoever wrote it before that could be noted; the background thread is late."""
    process = channel._process
    late = lambda **kw: threading.current_thread() is channel._thread or process(**kw)  # noqa: E731
    monkeypatch.setattr(channel, "_process", late)
    sending = start(channel.exchange, SEND)
    modem.expect(b"AT+SEND=5\r")
    until(lambda: not channel._line.output)
    break_once(monkeypatch, channel._line, "wrote", first=True)
    modem.say(b"\r\n> ")
    modem.expect(b"hello")
    with pytest.raises(Broken):
        sending.result(SOON)


def test_a_payload_is_not_written_twice_though_the_next_caller_is_hit_as_well(modem, channel, monkeypatch):
    send_and_be_hit(modem, channel, monkeypatch)
    break_once(monkeypatch, channel, "_begin", first=True)
    with pytest.raises(Broken):
        channel.exchange(AT)
    modem.silent()


def test_a_payload_is_not_written_twice_though_the_mending_is_hit_as_well(modem, channel, monkeypatch):
    break_once(monkeypatch, channel._line, "broken", first=True)
    send_and_be_hit(modem, channel, monkeypatch)
    for _ in range(2):
        with pytest.raises((Broken, ModemTimeoutError)):
            channel.exchange(AT, deadline=now_plus(channel, 0.02))
    modem.silent()
