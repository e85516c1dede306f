from __future__ import annotations

import threading

import pytest

from modemtls.errors import (
    CommandError,
    ModemError,
    ModemRestartedError,
    ModemTimeoutError,
    PortLostError,
    SocketClosedError,
)
from modemtls.modem.settings import TlsSettings
from modemtls.modem.slots import SlotTable
from modemtls.modem.sockets import Opening, Sockets
from tests.support.modem_fakes import Answer, FakeHost, refusal


class Lease:
    number = 5
    settings = TlsSettings(version=3, suites=("all",), ca="ca", verify=True)

    def __init__(self):
        self.users = 0
        self.wrong = None
        self.checked = []
        self.host = None

    def check(self, *, deadline=None):
        self.checked.append(self.host.doubts)
        if self.wrong is not None:
            raise self.wrong

    def share(self):
        self.users += 1
        return self

    def release(self):
        self.users -= 1


class Bench:
    def __init__(
        self,
        *,
        take_over=False,
        frees_failed=False,
        frees_closed=False,
        one_at_a_time=False,
        modem_ids=False,
        numbers=(0, 1, 2),
        **on,
    ):
        self.host = FakeHost(**{"tls_open": Answer(), "tls_close": Answer(), "tls_send": Answer(), **on})
        self.background = []
        self.changes = []
        self.table = SlotTable({"tls": numbers, "tcp": ()}, now=self.host.now, chosen=modem_ids)
        self.table.begin_epoch(1, "")
        self.sockets = Sockets(
            self.host,
            self.table,
            take_over=take_over,
            frees_failed=frees_failed,
            frees_closed=frees_closed,
            defer=self.background.append,
            changed=lambda: self.changes.append(1),
            one_at_a_time=one_at_a_time,
            modem_ids=modem_ids,
        )
        self.lease = Lease()
        self.lease.host = self.host

    def open(self, deadline=None):
        wanted = Opening(family="tls", host="h.example", port=443, lease=self.lease)
        return self.sockets.open(wanted, epoch=1, pdp=1, deadline=deadline)

    def later(self):
        """What the background thread does."""
        while self.background:
            self.background.pop(0)()

    def restart(self):
        self.host.epoch += 1
        self.table.begin_epoch(self.host.epoch, "RDY")

    def free(self):
        """How many sockets could be opened now."""
        n = 0
        while True:
            try:
                self.table.reserve("tls", epoch=self.host.epoch).state = "open"
            except ModemError:
                return n
            n += 1


def test_one_command_opens_and_the_socket_keeps_its_context():
    bench = Bench()
    slot = bench.open()
    assert bench.host.calls == [
        (
            "tls_open",
            {"context": 5, "host": "h.example", "port": 443, "pdp": 1, "socket": 0, "receive": "pull"},
        )
    ]
    assert (slot.state, bench.lease.users) == ("open", 1)
    bench.sockets.close(slot)
    bench.sockets.close(slot)
    assert bench.host.count("tls_close") == 1
    assert bench.lease.users == 0
    assert bench.free() == 3


def test_a_refused_open_is_closed_and_tells_the_reason():
    bench = Bench(tls_open=refusal("connect_or_handshake", 566))
    with pytest.raises(ModemError) as caught:
        bench.open()
    assert caught.value.modem_code == 566
    assert bench.host.ops() == ["tls_open", "tls_close"]
    assert (bench.free(), bench.lease.users) == (3, 0)


def test_where_the_modem_frees_a_failed_open_itself_nothing_is_closed():
    bench = Bench(tls_open=refusal("connect_or_handshake", 566), frees_failed=True)
    with pytest.raises(ModemError):
        bench.open()
    assert bench.host.ops() == ["tls_open"]
    assert bench.free() == 3


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), ModemTimeoutError("time ran out")])
def test_an_interrupted_open_is_closed_in_the_background_and_holds_number_and_context_until_then(interruption):
    bench = Bench(tls_open=interruption)
    with pytest.raises(type(interruption)):
        bench.open()
    assert bench.host.count("tls_close") == 0
    assert bench.lease.users == 1
    assert bench.sockets.busy
    bench.later()
    assert bench.host.calls[-1] == ("tls_close", {"socket": 0})
    assert not bench.sockets.busy
    assert bench.changes
    assert (bench.free(), bench.lease.users) == (3, 0)


def test_a_late_success_is_closed():
    bench = Bench(tls_open=[KeyboardInterrupt(), Answer()])
    with pytest.raises(KeyboardInterrupt):
        bench.open()
    bench.later()
    bench.table.on_opened("tls", 0, 0)  # the modem got there after all
    bench.later()
    assert bench.host.ops() == ["tls_open", "tls_close", "tls_close"]
    assert bench.open().number == 1  # another one: 0 may still be talked of
    assert bench.free() == 2


def test_what_a_restart_has_ended_is_not_closed_in_the_new_epoch():
    bench = Bench(tls_open=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        bench.open()
    bench.restart()
    bench.later()
    assert bench.host.count("tls_close") == 0
    assert bench.free() == 3


def test_a_number_that_may_still_be_talked_of_is_used_last():
    bench = Bench(numbers=(0, 1), tls_open=[KeyboardInterrupt(), Answer()])
    with pytest.raises(KeyboardInterrupt):
        bench.open()
    bench.later()
    for _ in range(3):
        slot = bench.open()
        assert slot.number == 1
        bench.sockets.close(slot)


def test_a_late_success_does_not_close_the_numbers_next_user():
    bench = Bench(numbers=(0,), tls_open=[KeyboardInterrupt(), Answer()])
    with pytest.raises(KeyboardInterrupt):
        bench.open()
    bench.later()
    slot = bench.open()
    bench.table.on_opened("tls", 0, 0)
    bench.later()
    assert slot.state == "open"
    assert bench.host.ops() == ["tls_open", "tls_close", "tls_open"]


def test_numbers_of_other_programs_are_passed_over_untouched():
    bench = Bench(tls_open=[refusal("socket_in_use", 563), refusal("socket_in_use", 563), Answer()])
    assert bench.open().number == 2
    assert bench.host.count("tls_close") == 0
    assert bench.table.foreign("tls") == {0, 1}
    assert bench.lease.users == 1
    bench = Bench(tls_open=refusal("socket_in_use", 563))
    with pytest.raises(ModemError, match="3 of them by another program"):
        bench.open()
    assert bench.host.count("tls_close") == 0


def test_take_over_closes_what_is_in_the_way():
    bench = Bench(take_over=True, tls_open=[refusal("socket_in_use", 563), Answer()])
    bench.open()
    assert bench.host.ops() == ["tls_open", "tls_close", "tls_open"]
    bench = Bench(take_over=True, tls_open=refusal("socket_in_use", 563))
    with pytest.raises(ModemError):
        bench.open()
    assert bench.host.count("tls_open") == 4


def test_a_socket_opened_across_a_restart_is_never_handed_out():
    bench = Bench()

    def opens_after_a_restart(given):
        bench.restart()
        return Answer()

    bench.host.on["tls_open"] = opens_after_a_restart
    with pytest.raises(ModemRestartedError):
        bench.open()
    assert bench.lease.users == 0
    bench.later()
    assert bench.host.calls[-1] == ("tls_close", {"socket": 0})
    assert bench.free() == 3


def test_a_bearer_lost_during_the_open_fails_it():
    bench = Bench()

    def loses(given):
        bench.table.on_opened("tls", given["socket"], 0)
        bench.table.on_network_lost(1)
        return Answer()

    bench.host.on["tls_open"] = loses
    with pytest.raises(ModemError, match="the network ended"):
        bench.open()
    bench.later()
    assert bench.host.count("tls_close") == 1
    assert bench.free() == 3


def test_operations_of_a_dead_socket_send_nothing():
    bench = Bench()
    slot = bench.open()
    bench.sockets.run(slot, "send", {"data": b"x", "size": 1})
    assert bench.host.calls[-1] == ("tls_send", {"socket": 0, "data": b"x", "size": 1})
    sent = len(bench.host.calls)
    bench.restart()
    with pytest.raises(ModemRestartedError):
        bench.sockets.run(slot, "send", {})
    bench.sockets.close(slot)
    assert len(bench.host.calls) == sent
    other = Bench()
    slot = other.open()
    other.sockets.close(slot)
    with pytest.raises(SocketClosedError):
        other.sockets.run(slot, "send", {})


def test_a_close_that_fails_is_finished_in_the_background():
    bench = Bench(tls_close=[ModemTimeoutError("late"), refusal("busy"), Answer()])
    slot = bench.open()
    bench.sockets.close(slot)
    assert bench.table.slots() == [slot]
    bench.later()
    assert bench.host.count("tls_close") == 3
    assert bench.free() == 3


def test_a_close_that_never_works_gives_the_number_back_at_last():
    bench = Bench(tls_close=refusal("unknown"))
    bench.sockets.close(bench.open())
    bench.later()
    assert bench.host.count("tls_close") == 4
    assert bench.free() == 3


def test_ctrl_c_in_a_close_goes_through_and_the_socket_is_closed_all_the_same():
    bench = Bench(tls_close=[KeyboardInterrupt(), Answer()])
    slot = bench.open()
    with pytest.raises(KeyboardInterrupt):
        bench.sockets.close(slot)
    bench.later()
    assert bench.free() == 3


def test_a_lost_port_ends_everything_quietly():
    bench = Bench()
    slot = bench.open()
    bench.host.on["tls_close"] = PortLostError("unplugged")
    bench.sockets.close(slot)
    assert slot.state == "gone"
    assert bench.lease.users == 0


def test_the_modem_may_choose_the_number():
    bench = Bench(modem_ids=True, tls_open=Answer(values={"socket": 2}))
    assert bench.open().number == 2
    assert bench.free() == 2


# -- a connection made with settings that a restart may have wiped ---------------------------------------------------


def test_a_connection_whose_settings_are_gone_is_closed_and_never_handed_out():
    bench = Bench()
    ended = []
    bench.host.end_epoch = lambda reason: (ended.append((reason, bench.host.ops())), bench.restart())
    bench.lease.wrong = refusal("mismatch")
    with pytest.raises(ModemRestartedError, match="unnoticed"):
        bench.open()
    assert ended[0][1] == ["tls_open", "tls_close"]  # closed while the modem still knew it by this number
    bench.later()
    assert bench.lease.users == 0
    assert bench.free() == 3


@pytest.mark.parametrize("failure", [ModemTimeoutError("late"), refusal("unknown")])
def test_if_closing_it_fails_it_is_closed_in_the_background(failure):
    bench = Bench(tls_close=[failure, Answer()])
    bench.host.end_epoch = lambda reason: bench.restart()
    bench.lease.wrong = refusal("mismatch")
    with pytest.raises(ModemRestartedError):
        bench.open()
    bench.later()
    assert bench.host.count("tls_close") == 2
    assert bench.free() == 3


@pytest.mark.parametrize("failure", [ModemTimeoutError("late"), KeyboardInterrupt()])
def test_if_its_settings_could_not_be_read_back_it_is_closed_as_well(failure):
    bench = Bench()
    bench.lease.wrong = failure
    with pytest.raises(type(failure)):
        bench.open()
    bench.later()
    assert bench.host.ops() == ["tls_open", "tls_close"]
    assert bench.host.ended == []
    assert bench.free() == 3


# --- what an open did is compared with what it was told


@pytest.mark.parametrize(
    ("host", "address"),
    [("h.example", None), ("192.0.2.1", "192.0.2.1"), ("2001:db8::1", None), ("192.0.2.01", None), ("1", None)],
)
def test_what_the_modem_did_is_compared_with_what_it_was_told(host, address):
    bench = Bench(tls_confirm=Answer())
    slot = bench.sockets.open(
        Opening(family="tls", host=host, port=443, lease=bench.lease, receive="push"), epoch=1, pdp=7, deadline=None
    )
    told = {"context": 5, "pdp": 7, "socket": 0, "port": 443, "receive": "push"}
    assert bench.host.calls[0] == ("tls_open", {"host": host, **told})
    settings = {"version": 3, "verify": True, "client_auth": False, "suites": ("all",)}
    assert bench.host.calls[1:] == [("tls_confirm", {"address": address, **told, **settings})]
    assert (slot.state, bench.host.doubts) == ("open", 0)


def test_another_connection_is_closed_made_once_more_and_makes_everything_doubtful():
    bench = Bench(tls_confirm=[refusal("mismatch", text="context differs"), Answer()])
    slot = bench.open()
    assert slot.state == "open"
    assert bench.host.ops() == ["tls_open", "tls_confirm", "tls_close", "tls_open", "tls_confirm"]
    assert bench.host.doubts == 1
    assert bench.lease.checked == [1, 1]  # behind the doubt: it is what tells a restart from a misheard command
    assert (bench.free(), bench.host.ended) == (2, [])


def test_another_connection_each_time_is_an_error():
    bench = Bench(tls_confirm=refusal("mismatch", text="context differs"))
    with pytest.raises(CommandError, match=r"another connection than the modem was told to make.*context differs"):
        bench.open()
    assert bench.host.count("tls_open") == bench.host.count("tls_close") == 2
    assert (bench.free(), bench.lease.users, bench.host.ended) == (3, 0, [])


@pytest.mark.parametrize("kind", ["mismatch", "unknown"])
def test_if_its_settings_differ_as_well_the_modem_has_restarted(kind):
    bench = Bench(tls_confirm=refusal(kind, text="level differs"))
    bench.lease.wrong = refusal("mismatch", text="level differs")
    with pytest.raises(ModemRestartedError):
        bench.open()
    assert bench.host.ops() == ["tls_open", "tls_confirm", "tls_close"]
    assert len(bench.host.ended) == 1


@pytest.mark.parametrize("kind", ["mismatch", "unknown"])
def test_an_answer_in_which_something_made_no_sense_is_asked_for_again(kind):
    bench = Bench()

    def confirm(bindings):
        if bench.host.count("tls_confirm") < 3:
            bench.host.raise_doubt("a line that makes no sense")
            raise refusal(kind)
        return Answer()

    bench.host.on["tls_confirm"] = confirm
    bench.open()
    assert bench.host.ops() == ["tls_open", *["tls_confirm"] * 3]


@pytest.mark.parametrize("failure", [refusal("unknown"), ModemTimeoutError("time ran out"), KeyboardInterrupt()])
def test_a_connection_of_which_nothing_can_be_learnt_is_closed(failure):
    bench = Bench(tls_confirm=failure)
    with pytest.raises(type(failure)):
        bench.open()
    bench.later()
    assert bench.host.ops() == ["tls_open", "tls_confirm", "tls_close"]
    assert (bench.free(), bench.lease.users) == (3, 0)


def test_an_operation_of_a_socket_of_before_a_restart_sends_nothing_though_nobody_has_told_the_socket_yet():
    bench = Bench()
    slot = bench.open()
    bench.host.epoch += 1
    with pytest.raises(ModemRestartedError):
        bench.sockets.run(slot, "send", {"data": b"x", "size": 1})
    assert bench.host.count("tls_send") == 0


def test_where_the_modem_connects_once_at_a_time_others_wait():
    inside, most = [], []
    entered, go_on = threading.Event(), threading.Event()

    def opening(_):
        inside.append(1)
        most.append(len(inside))
        entered.set()
        go_on.wait(5)
        inside.pop()
        return Answer()

    bench = Bench(tls_open=opening, one_at_a_time=True)
    first = threading.Thread(target=bench.open)
    first.start()
    entered.wait(5)
    with pytest.raises(ModemTimeoutError, match="connecting: another thread"):
        bench.open(deadline=bench.host.now() + 0.01)
    second = threading.Thread(target=bench.open)
    second.start()
    go_on.set()
    first.join(5)
    second.join(5)
    assert most == [1, 1]
    assert bench.free() == 1


@pytest.mark.parametrize(("held", "closes"), [(False, 0), (True, 1)])
def test_a_number_that_a_dead_connection_holds_is_closed_where_others_are_free_by_then(held, closes):
    bench = Bench(frees_closed=True)
    slot = bench.open()
    bench.table.on_closed("tls", slot.number, held=held)
    bench.sockets.close(slot)
    assert bench.host.count("tls_close") == closes
    again = bench.open()
    assert not again.held
