"""The channel: callers that leave, and the end of the port, the epoch or the channel."""

import socket
import threading
import time

import pytest

from modemtls.at.channel import Exchange, LineBusyError
from modemtls.at.grammar import Outcome, PromptRule
from modemtls.errors import ModemRestartedError, ModemTimeoutError, PortLostError, SyncError
from tests.support.at_channel import (
    AT,
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


def test_what_nobody_would_run_any_more_is_not_taken_for_later(modem, channel):
    modem.unplug()
    channel._thread.join(SOON)
    for _ in range(2):
        with pytest.raises(PortLostError, match="went away"):
            channel.defer(lambda: None)


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
