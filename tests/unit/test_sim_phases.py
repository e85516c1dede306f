"""Where payload bytes go: counted, up to Ctrl-Z, transparent with its escape."""

from __future__ import annotations

import pytest

from modemtls.sim.clock import ManualClock
from modemtls.sim.loop import Loop
from modemtls.sim.phases import CountedPhase, StreamPhase, TextPhase


@pytest.fixture
def loop():
    made = Loop(ManualClock())
    yield made
    made.close()


def stream(loop):
    got: list[bytes] = []
    escapes: list[bool] = []
    return StreamPhase(loop, got.append, lambda: escapes.append(True)), got, escapes


def test_pluses_framed_by_silence_escape(loop):
    phase, got, escapes = stream(loop)
    phase.feed(b"data")
    loop.advance(1.1)
    for char in (b"+", b"+", b"+"):
        phase.feed(char)
        loop.advance(0.1)
    assert not escapes
    loop.advance(1.0)
    assert escapes == [True]
    assert got == [b"data"]


@pytest.mark.parametrize(
    ("before", "text", "after"),
    [(0.5, b"+++", 2.0), (1.1, b"++++", 2.0), (1.1, b"++", 2.0), (1.1, b"+++x", 2.0), (1.1, b"x+++", 2.0)],
)
def test_other_pluses_are_data(loop, before, text, after):
    phase, got, escapes = stream(loop)
    phase.feed(b"data")
    loop.advance(before)
    phase.feed(text)
    loop.advance(after)
    assert not escapes
    assert b"".join(got) == b"data" + text


def test_text_too_soon_behind_the_pluses_makes_them_data(loop):
    phase, got, escapes = stream(loop)
    loop.advance(2)
    phase.feed(b"+++")
    loop.advance(0.9)
    phase.feed(b"a")
    loop.advance(5)
    assert (b"".join(got), escapes) == (b"+++a", [])


def counted(loop, length, **options):
    done: list[bytes] = []
    late: list[bytes] = []
    return CountedPhase(loop, length, done.append, idle=5.0, expired=late.append, **options), done, late


@pytest.mark.parametrize("escape", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 300])
def test_counted_takes_every_value_and_leaves_the_rest(loop, escape, size):
    data = bytes(range(256)) + b"+++\r\nOK\r\n\x1a\x1b++"
    phase, done, _ = counted(loop, len(data), escape=escape)
    rest = b""
    for at in range(0, len(data) + 4, size):
        piece = (data + b"AT\r\n")[at : at + size]
        taken = phase.feed(piece) if not done else 0
        rest += piece[taken:]
    assert done == [data]
    assert rest == b"AT\r\n"


def test_counted_payload_of_pluses_after_silence_is_complete_at_once(loop):
    phase, done, _ = counted(loop, 3, escape=True)
    loop.advance(2)
    assert phase.feed(b"+++AT") == 3
    assert done == [b"+++"]


def test_counted_gives_up_after_silence_not_after_a_total_time(loop):
    phase, done, late = counted(loop, 10)
    for _ in range(4):
        loop.advance(4.9)
        phase.feed(b"x")
    assert not late
    loop.advance(5.1)
    assert late == [b"xxxx"]
    assert not done


def test_counted_can_be_broken_off(loop):
    phase, done, late = counted(loop, 10, escape=True)
    phase.feed(b"abc")
    loop.advance(1.1)
    phase.feed(b"+++")
    loop.advance(1.1)
    assert late == [b"abc"]
    assert not done


def text(loop, limit=100):
    events: list[object] = []
    return (
        TextPhase(
            loop,
            limit,
            events.append,
            idle=5.0,
            cancelled=lambda: events.append("cancelled"),
            expired=lambda: events.append("expired"),
        ),
        events,
    )


def test_text_ends_with_ctrl_z(loop):
    phase, events = text(loop)
    assert phase.feed(b"one\r\n") == 5
    assert phase.feed(b"two\x1aAT\r") == 4
    assert events == [b"one\r\ntwo"]


def test_text_is_cancelled_by_escape_whichever_comes_first(loop):
    phase, events = text(loop)
    assert phase.feed(b"one\x1b\x1a") == 4
    assert events == ["cancelled"]


def test_text_beyond_the_limit_is_dropped(loop):
    phase, events = text(loop, 4)
    phase.feed(b"abcdef")
    phase.feed(b"gh\x1a")
    assert events == [b"abcd"]


def test_text_expires(loop):
    phase, events = text(loop)
    phase.feed(b"abc")
    loop.advance(5.1)
    assert events == ["expired"]
