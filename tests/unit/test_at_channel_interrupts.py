"""The channel under signals: what is under way is finished, nothing is sent twice, handlers stay whose they were."""

import os
import signal
import threading
import time

import pytest

from modemtls.at.interrupts import Interrupts, shield, unbroken
from modemtls.errors import ModemTimeoutError
from tests.support.at_channel import (
    AT,
    OK,
    SEND,
    SOON,
    channel_fixture,  # noqa: F401
    modem_fixture,  # noqa: F401
    now_plus,
    start,
)
from tests.support.threads import until

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
