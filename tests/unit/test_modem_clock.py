from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from modemtls.at.grammar import Outcome
from modemtls.errors import ModemTimeoutError
from modemtls.modem.clock import BUILD_DATE, HostTime, format_clock, host_synchronised, parse_clock, set_clock
from tests.support.modem_fakes import Answer, FakeHost, refusal

TODAY = BUILD_DATE + timedelta(days=100, hours=3, seconds=7)
SYNCED = HostTime(now=lambda: TODAY, synchronised=lambda: True)
UNSYNCED = HostTime(now=lambda: TODAY, synchronised=lambda: False)


def shows(time: datetime) -> Answer:
    return Answer(values={"clock": format_clock(time)})


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
    host = FakeHost(clock_read=shows(datetime(1980, 1, 6, tzinfo=UTC)), clock_set=Answer())
    assert set_clock(host, SYNCED).source == "host"
    assert host.calls[-1] == ("clock_set", {"clock": format_clock(TODAY)})


def test_a_clock_that_is_right_is_not_written():
    host = FakeHost(clock_read=shows(TODAY + timedelta(seconds=4)), clock_set=Answer())
    assert set_clock(host, SYNCED).source == "host"
    assert host.count("clock_set") == 0


def test_network_time_when_the_host_is_not_synchronised():
    host = FakeHost(clock_read=shows(datetime(1980, 1, 6, tzinfo=UTC)), clock_set=Answer(), clock_network=shows(TODAY))
    state = set_clock(host, UNSYNCED)
    assert (state.source, host.calls[-1][1]) == ("network", {"clock": format_clock(TODAY)})


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
    host = FakeHost(
        clock_read=shows(datetime(1980, 1, 6, tzinfo=UTC)),
        clock_set=Answer(),
        clock_network=Answer(Outcome.EMPTY),
        clock_sync=shows(TODAY),
    )
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
    host = FakeHost(clock_set=Answer(), clock_network=shows(TODAY))

    def slow(bindings):
        host.time += 30
        return shows(datetime(1980, 1, 6, tzinfo=UTC))

    host.on["clock_read"] = slow
    set_clock(host, UNSYNCED)
    assert host.calls[-1][1] == {"clock": format_clock(TODAY + timedelta(seconds=30))}


def test_kernel_answers_whether_it_is_synchronised():
    assert host_synchronised() in {True, False}
