from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from modemtls.at.grammar import Outcome
from modemtls.errors import ModemTimeoutError
from modemtls.modem.clock import (
    BUILD_DATE,
    HostTime,
    format_clock,
    host_synchronised,
    look_again,
    parse_clock,
    set_clock,
)
from tests.support.modem_fakes import Answer, FakeHost, refusal

TODAY = BUILD_DATE + timedelta(days=100, hours=3, seconds=7)
SYNCED = HostTime(now=lambda: TODAY, synchronised=lambda: True)
UNSYNCED = HostTime(now=lambda: TODAY, synchronised=lambda: False)


def shows(time: datetime) -> Answer:
    return Answer(values={"clock": format_clock(time)})


class ModemClock:
    """A clock that can be set and goes on with the fake modem's time. ``deaf``: OK is all that setting it does."""

    def __init__(self, shown: datetime, *, deaf: bool = False) -> None:
        self.shown = shown
        self.deaf = deaf
        self.host: FakeHost | None = None
        self.since = 1000.0

    def into(self, **on) -> FakeHost:
        self.host = FakeHost(clock_read=self.read, clock_set=self.set, **on)
        return self.host

    def read(self, bindings):
        return shows(self.shown + timedelta(seconds=self.host.time - self.since))

    def set(self, bindings):
        if not self.deaf:
            self.shown, self.since = parse_clock(bindings["clock"]), self.host.time
        return Answer()


LONG_AGO = datetime(1980, 1, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("26/03/01,10:15:30+04", datetime(2026, 3, 1, 9, 15, 30, tzinfo=UTC)),
        ("13/08/19,11:10:57+32", datetime(2013, 8, 19, 3, 10, 57, tzinfo=UTC)),
        ("13/08/19,11:10:57-10", datetime(2013, 8, 19, 13, 40, 57, tzinfo=UTC)),
        ('"2017/01/13,03:40:48+32,0"', datetime(2017, 1, 12, 19, 40, 48, tzinfo=UTC)),
        ("26/03/01,10:15:30", datetime(2026, 3, 1, 10, 15, 30, tzinfo=UTC)),
        ("80/01/06,00:00:00+00", datetime(1980, 1, 6, tzinfo=UTC)),
        ("", None),
        ("26/13/01,10:15:30+04", None),
        ("26/03/01,10:15:30+99", None),
        ("26/03/01,10:15:30+04\r\nOK", None),
        ("nonsense", None),
    ],
)
def test_times_are_read_as_27007_writes_them(text, expected):
    assert parse_clock(text) == expected


def test_written_time_reads_back():
    assert parse_clock(format_clock(TODAY)) == TODAY


def test_host_clock_is_written_when_the_modem_is_off():
    host = ModemClock(LONG_AGO).into()
    assert set_clock(host, SYNCED).source == "host"
    assert host.calls[1] == ("clock_set", {"clock": format_clock(TODAY)})


def test_a_clock_that_is_right_is_not_written():
    host = FakeHost(clock_read=shows(TODAY + timedelta(seconds=4)), clock_set=Answer())
    assert set_clock(host, SYNCED).source == "host"
    assert host.count("clock_set") == 0


def test_network_time_when_the_host_is_not_synchronised():
    host = ModemClock(LONG_AGO).into(clock_network=shows(TODAY))
    assert set_clock(host, UNSYNCED).source == "network"
    assert ("clock_set", {"clock": format_clock(TODAY)}) in host.calls


def test_host_clock_before_the_build_date_is_not_believed():
    wrong = HostTime(now=lambda: BUILD_DATE - timedelta(days=1), synchronised=lambda: True)
    host = FakeHost(clock_read=shows(TODAY), clock_set=Answer(), clock_network=shows(TODAY))
    assert set_clock(host, wrong).source == "network"


def test_network_time_before_the_build_date_is_not_believed_and_the_reason_is_told():
    host = FakeHost(
        clock_read=shows(datetime(1980, 1, 6, tzinfo=UTC)),
        clock_set=Answer(),
        clock_network=shows(BUILD_DATE - timedelta(seconds=1)),
    )
    state = set_clock(host, UNSYNCED)
    assert state.source is None
    assert "1980-01-06" in state.detail
    assert "host's clock is not synchronised" in state.detail
    assert "impossible time" in state.detail
    assert host.count("clock_set") == 0


def test_ntp_is_asked_only_when_a_server_was_named():
    host = ModemClock(LONG_AGO).into(clock_network=Answer(Outcome.EMPTY), clock_sync=shows(TODAY))
    assert set_clock(host, UNSYNCED, pdp=1).source is None
    assert host.count("clock_sync") == 0
    assert set_clock(host, UNSYNCED, pdp=1, ntp="time.example").source == "ntp"
    assert ("clock_sync", {"pdp": 1, "server": "time.example", "port": 123}) in host.calls


def test_a_plausible_modem_clock_stays_when_nothing_better_is_known():
    host = FakeHost(clock_read=shows(TODAY), clock_set=Answer())
    assert set_clock(host, UNSYNCED).source == "modem"
    assert host.count("clock_set") == 0


def test_a_modem_that_refuses_is_no_exception():
    host = FakeHost(clock_read=refusal("not_allowed"), clock_set=refusal("not_allowed"))
    state = set_clock(host, SYNCED)
    assert state.source is None
    assert "refused to be set" in state.detail


def test_the_callers_deadline_is_not_swallowed():
    host = FakeHost(clock_read=shows(TODAY))
    with pytest.raises(ModemTimeoutError):
        set_clock(host, SYNCED, deadline=host.time)


def test_time_spent_asking_is_added_to_network_time():
    clock = ModemClock(LONG_AGO)
    host = clock.into(clock_network=shows(TODAY))

    def slow(bindings):
        host.time += 30
        return clock.read(bindings)

    host.on["clock_read"] = slow
    set_clock(host, UNSYNCED)
    assert ("clock_set", {"clock": format_clock(TODAY + timedelta(seconds=30))}) in host.calls


def test_kernel_answers_whether_it_is_synchronised():
    assert host_synchronised() in {True, False}


@pytest.mark.parametrize("time", [SYNCED, UNSYNCED], ids=["host", "network"])
@pytest.mark.parametrize("shown", [LONG_AGO, TODAY - timedelta(days=20)])
def test_a_modem_that_only_says_that_its_clock_was_set_is_not_believed(time, shown):
    """Twenty days ago is late enough to be plausible; but it is known to be wrong."""
    host = ModemClock(shown, deaf=True).into(clock_network=shows(TODAY))
    state = set_clock(host, time)
    assert state.source is None
    assert "says that its clock was set" in state.detail
    assert f"{shown:%Y-%m-%d}" in state.detail


def test_what_was_set_is_read_back_and_the_state_tells_what_it_was():
    host = ModemClock(LONG_AGO).into()
    state = set_clock(host, SYNCED)
    assert (state.source, state.time) == ("host", TODAY)
    assert host.ops() == ["clock_read", "clock_set", "clock_read"]
    assert "it showed 1980-01-06" in state.detail


def test_the_next_source_is_tried_when_setting_did_nothing_the_first_time():
    clock = ModemClock(LONG_AGO, deaf=True)
    host = clock.into()

    def network(bindings):
        clock.deaf = False
        return shows(TODAY)

    host.on["clock_network"] = network
    assert set_clock(host, SYNCED).source == "network"


def test_a_clock_that_went_on_as_it_should_is_one_command():
    clock = ModemClock(TODAY)
    host = clock.into()
    state = set_clock(host, SYNCED)
    host.calls.clear()
    host.time += 5000
    again = look_again(host, state)
    assert (again.time, again.at) == (TODAY + timedelta(seconds=5000), host.time)
    assert host.ops() == ["clock_read"]
    clock.shown -= timedelta(minutes=1)
    assert look_again(host, again) is None
    host.on["clock_read"] = refusal("unknown")
    assert look_again(host, again) is None
