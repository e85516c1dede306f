from __future__ import annotations

import errno
from collections import deque

import pytest

from modemtls.errors import ModemError, ModemRestartedError, PdpError, SocketClosedError
from modemtls.modem import slots as slots_module
from modemtls.modem.slots import SlotTable
from tests.support.modem_fakes import FakeHost
from tests.support.threads import in_thread


@pytest.fixture
def host():
    return FakeHost()


@pytest.fixture
def stray():
    return []


@pytest.fixture
def table(host, stray):
    table = SlotTable({"tls": [0, 1, 2], "tcp": [0, 1, 2]}, now=host.now)
    table.unwanted = lambda slot: stray.append((slot.family, slot.number, slot.state))
    table.begin_epoch(1, "")
    return table


def opened(table, family="tls", **more):
    slot = table.reserve(family, epoch=1, **more)
    slot.state = "open"
    return slot


def test_a_number_is_used_again_as_late_as_possible(table):
    first = opened(table)
    assert first.number == 0
    table.free(first)
    assert [opened(table).number for _ in range(3)] == [1, 2, 0]


def test_no_number_left_is_a_clear_error(table):
    for _ in range(3):
        opened(table)
    with pytest.raises(ModemError, match="all 3 tls sockets of the modem are in use") as caught:
        opened(table)
    assert caught.value.errno == errno.EMFILE
    assert opened(table, "tcp").number == 0  # numbers of its own


def test_shared_numbers_are_given_once(host):
    table = SlotTable({"tls": [0, 1], "tcp": [0, 1, 2]}, now=host.now, shared=True)
    table.begin_epoch(1, "")
    assert [opened(table, f).number for f in ("tls", "tcp", "tcp")] == [0, 1, 2]
    with pytest.raises(ModemError):
        opened(table)


def test_foreign_sockets_are_avoided_and_counted(table):
    own = opened(table)
    table.set_foreign("tls", [own.number, 1, 2])
    assert table.foreign("tls") == {1, 2}
    with pytest.raises(ModemError, match="2 of them by another program"):
        opened(table)
    table.set_foreign("tls", [own.number])
    assert opened(table).number == 1


def test_urcs_reach_the_socket_of_their_family_only(table):
    tls, *_, tcp = opened(table), opened(table), opened(table), opened(table, "tcp")
    assert tls.number == tcp.number == 0
    table.on_data("tls", 0, None)
    assert (tls.data_pending, tcp.data_pending) == (True, False)
    table.on_closed(None, 0)
    assert tls.closed == tcp.closed is not None
    table.on_data("tls", 2, None)  # nobody's
    table.on_data("tls", 99, None)


def test_undrained_from_the_urc_until_a_read_comes_back_empty(table):
    slot = opened(table)
    assert not slot.readable
    table.on_data("tls", 0, None)
    mark = slot.mark()
    table.on_data("tls", 0, None)  # while the read was under way
    slot.drained(mark)
    assert slot.data_pending
    slot.drained(slot.mark())
    assert not slot.readable


def test_a_close_asks_for_one_more_read(table):
    slot = opened(table)
    table.on_closed("tls", 0)
    assert slot.readable
    assert slot.data_pending
    slot.drained(slot.mark())
    assert slot.closed
    assert slot.readable


def test_that_it_broke_is_remembered_whatever_is_reported_besides_until_the_number_is_used_anew(table):
    slot = opened(table)
    table.on_closed("tls", 0)
    table.on_broken("tls", 0, held=True)
    table.on_closed("tls", 0)
    assert slot.broken
    assert "broke" in slot.closed
    slot.forget()
    assert (slot.broken, slot.closed) == (False, None)


def poured(slot):
    into = deque()
    slot.pour(into)
    return b"".join(into)


def test_pushed_data_is_kept_in_order_and_survives_close_and_loss(table):
    slot = opened(table, receive="push")
    table.on_data("tls", 0, b"hello ")
    assert slot.pushed == 6
    assert poured(slot) == b"hello "
    table.on_data("tls", 0, b"world")
    table.on_closed("tls", 0)
    table.on_network_lost(None)
    assert poured(slot) == b"world"
    assert (slot.pushed, poured(slot), slot.data_pending) == (0, b"", False)


def test_push_overflow_fails_the_socket_instead_of_cutting_the_stream(table, monkeypatch):
    monkeypatch.setattr(slots_module, "PUSH_LIMIT", 10)
    slot = opened(table, receive="push")
    table.on_data("tls", 0, b"12345678")
    table.on_data("tls", 0, b"90A")
    table.on_data("tls", 0, b"B")  # would fit, but would come behind a hole
    assert poured(slot) == b"12345678"
    with pytest.raises(SocketClosedError, match="not read in time"):
        slot.check()


def test_what_was_said_of_a_former_use_is_forgotten_when_the_open_is_reported(table):
    slot = table.reserve("tls", epoch=1)
    table.on_closed("tls", slot.number)  # late, about the use before
    table.on_data("tls", slot.number, None)
    table.on_opened("tls", slot.number, 0)
    assert (slot.closed, slot.data_pending) == (None, False)
    table.on_data("tls", slot.number, None)  # behind the result, before open() has returned
    slot.state = "open"
    assert slot.data_pending


def test_an_open_reported_twice_does_not_wipe_what_came_since(table):
    slot = opened(table)
    table.on_data("tls", slot.number, None)
    table.on_opened("tls", slot.number, 0)
    assert slot.data_pending


def test_a_connection_that_nobody_waits_for_is_reported(table, stray):
    slot = opened(table)
    table.free(slot)
    table.on_opened("tls", 0, 566)
    assert stray == []
    table.on_opened("tls", 0, 0)
    table.on_opened("tls", 77, 0)  # no number of ours
    table.set_foreign("tls", [2])
    table.on_opened("tls", 2, 0)  # another program's
    assert stray == [("tls", 0, "closing")]


def test_seizing_takes_only_what_is_free(table):
    slot = opened(table)
    assert table.seize("tls", slot.number) is None
    seized = table.seize("tls", 1)
    assert seized.state == "closing"
    assert opened(table).number == 2
    assert table.seize("tls", 99) is None


def test_numbers_that_may_still_be_talked_of_are_used_last(table, host):
    table.free(opened(table), rest=100)
    for slot in [opened(table), opened(table)]:
        table.free(slot)
    assert opened(table).number == 1
    assert opened(table).number == 2
    assert opened(table).number == 0  # better than none
    host.time += 200


def test_bearer_loss_fails_the_sockets_of_that_context(table):
    one, two = opened(table, pdp=1), opened(table, pdp=2)
    told = []
    one.listener = lambda: told.append(one)
    two.listener = lambda: told.append(two)
    table.on_network_lost(1)
    assert told == [one]
    with pytest.raises(PdpError, match="PDP context 1"):
        one.check()
    two.check()
    table.on_network_lost(None)
    with pytest.raises(PdpError):
        two.check()


def test_a_restart_fails_everything_and_frees_everything(table):
    old = [opened(table) for _ in range(3)]
    released = []
    old[0].lease = type("Lease", (), {"release": lambda self: released.append(1)})()
    table.begin_epoch(2, "RDY")
    for slot in old:
        with pytest.raises(ModemRestartedError, match="RDY"):
            slot.check()
    assert released == [1]
    with pytest.raises(ModemRestartedError):
        table.reserve("tls", epoch=1)
    new = table.reserve("tls", epoch=2)
    table.free(old[0])  # a late clean-up of the former use must not free the number under the new one
    table.on_data("tls", new.number, None)
    assert new.data_pending
    assert new in table.slots()


def test_the_first_reason_stays(table):
    slot = opened(table, pdp=1)
    table.on_network_lost(1)
    table.begin_epoch(2, "RDY")
    with pytest.raises(PdpError):
        slot.check()


def test_the_same_error_can_be_raised_to_many(table):
    slot = opened(table)
    table.begin_epoch(2, "RDY")
    raised = []
    for _ in range(2):
        with pytest.raises(ModemRestartedError) as caught:
            slot.check()
        raised.append(caught.value)
    assert raised[0] is not raised[1]
    assert str(raised[0]) == str(raised[1])
    assert raised[0].errno == errno.ECONNRESET


def test_a_number_chosen_by_the_modem(table):
    slot = table.reserve("tls", epoch=1)
    table.rebind(slot, 2)
    slot.state = "open"
    table.on_data("tls", 2, None)
    assert slot.data_pending
    assert sorted(opened(table).number for _ in range(2)) == [0, 1]
    table.free(slot)
    assert opened(table).number == 2


def test_whoever_waits_for_a_number_of_the_modems_is_not_in_the_way_of_another(host):
    table = SlotTable({"tls": [0, 1]}, now=host.now, chosen=True)
    table.begin_epoch(1, "")
    first, second = table.reserve("tls", epoch=1), in_thread(lambda: table.reserve("tls", epoch=1))()
    assert table.rebind(second, first.number)  # its command came first, so it has what was counted for the other
    assert table.rebind(first, 1)
    assert (first.lost, second.lost, first.number, second.number) == (None, None, 1, 0)
    assert table.holds(first) and table.holds(second)  # noqa: PT018 - one fact


def test_what_was_given_up_gets_no_number_any_more(host):
    table = SlotTable({"tls": [0, 1]}, now=host.now, chosen=True)
    table.begin_epoch(1, "")
    slot = table.reserve("tls", epoch=1)
    assert table.forgo(slot)
    assert not table.rebind(slot, 0)
    slot = table.reserve("tls", epoch=1)
    assert table.rebind(slot, 0)
    assert not table.forgo(slot)  # it is to be closed
    taken = table.seize("tls", 0, given=True)
    assert (taken.number, taken.state, slot.state) == (0, "closing", "gone")


def test_a_number_that_the_modem_gives_is_not_another_programs_any_more(host):
    table = SlotTable({"tls": [0, 1]}, now=host.now, chosen=True)
    table.begin_epoch(1, "")
    table.set_foreign("tls", [1])
    assert table.rebind(table.reserve("tls", epoch=1), 1)
    assert table.foreign("tls") == frozenset()


def test_a_reservation_lost_to_an_interrupt_comes_back(table):
    for _ in range(10):
        table.reserve("tls", epoch=1)  # and Ctrl-C strikes before anything else
    assert sorted(opened(table).number for _ in range(3)) == [0, 1, 2]


def test_two_sets_of_numbers_are_kept_apart_while_there_is_room(table):
    assert [opened(table, family).number for family in ("tls", "tcp", "tls")] == [0, 1, 2]
    assert opened(table, "tcp").number == 0  # no room


def test_a_number_that_the_driver_has_itself_is_nobody_elses(table):
    for _ in range(3):
        opened(table)
    mine = table.reserve("tcp", epoch=1)
    assert table.elsewhere(mine)
    assert table.give_to_others(mine) is False
    assert table.foreign("tcp") == set()
    assert opened(table, "tcp").number == 1  # the next, and that one again in its turn


def test_a_number_found_taken_is_left_to_others(table):
    slot = table.reserve("tls", epoch=1)
    table.give_to_others(slot)
    assert table.foreign("tls") == {0}
    assert {opened(table).number for _ in range(2)} == {1, 2}


def test_bytes_lost_in_pushed_data_end_the_stream_before_them(table):
    slot = opened(table, receive="push")
    table.on_data("tls", 0, b"whole")
    table.on_data("tls", 0, b"torn")  # told of, and then what followed showed it
    table.on_torn("tls", 0, reported=True)
    assert poured(slot) == b"whole"
    with pytest.raises(SocketClosedError, match="data is missing"):
        slot.check()
    table.on_torn("tls", 0, reported=True)
    other = opened(table, receive="push")
    table.on_data("tls", other.number, b"whole")
    table.on_torn("tls", other.number, reported=False)  # stopped on the way, so not told of
    assert poured(other) == b"whole"
    assert isinstance(other.lost, SocketClosedError)


def test_a_datagram_that_did_not_arrive_whole_is_lost_alone():
    table = SlotTable({"udp": (0,)}, now=lambda: 0.0)
    table.begin_epoch(1, "")
    slot = opened(table, "udp", receive="push")
    for data in (b"", b"torn"):
        table.on_data("udp", 0, data)
    table.on_torn("udp", 0, reported=True)
    table.on_torn("udp", 0, reported=False)  # not told of yet
    assert (slot.pushed_datagrams, poured(slot), slot.lost) == (1, b"", None)


def test_datagrams_that_nobody_reads_are_dropped_the_latest_first():
    table = SlotTable({"udp": (0,)}, now=lambda: 0.0)
    table.begin_epoch(1, "")
    slot = opened(table, "udp", receive="push")
    for number in range(300):
        table.on_data("udp", 0, bytes([number % 256]))
    assert (poured(slot), slot.lost) == (bytes(range(256)), None)
