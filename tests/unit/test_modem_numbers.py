"""Numbers that the modem gives away again: what is sent for one use of a number never reaches the next one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from modemtls.errors import CommandError, ModemError, ModemTimeoutError, SocketClosedError
from modemtls.modem.attached import _Operations
from modemtls.modem.reports import Reports
from modemtls.modem.slots import SlotTable
from modemtls.modem.sockets import Opening, Sockets
from tests.support.scripted import OK, scripted
from tests.support.threads import in_thread, until

PROFILE = """
capabilities: {tcp: true, pull: true, listen: true}
limits: {send: 100, receive: 100, tcp_sockets: {from: 0, to: 3}}
behaviour: {socket_ids: modem, shared_ids: true, failed_open: freed, remote_close: freed}
urcs:
  ended: {match: '+ENDED: {socket:int}', means: closed, see: {manual: x}}
  came: {match: '+CAME: {socket:int},{listener:int}', means: accepted, family: tcp, see: {manual: x}}
programs:
  tcp_open:
    - {send: 'AT+MAKE', timeout: 300ms, lines: ['+MAKE: {socket:int}'], see: {manual: x}}
    - do:
        - {send: 'AT+CONN={socket},{host:host},{port}', timeout: 60, see: {manual: x}}
      on_fail:
        - {send: 'AT+END={socket}', tolerate: {outcome: fail}, see: {manual: x}}
  tcp_listen:
    - {send: 'AT+MAKE', lines: ['+MAKE: {socket:int}'], see: {manual: x}}
    - {send: 'AT+LISTEN={socket},{local_port}', see: {manual: x}}
  tcp_accept:
    - {send: 'AT+ACCEPT={socket}', lines: [{match: '+ACCEPT: {socket:int}', repeat: optional}], see: {manual: x}}
  tcp_send:
    - {send: 'AT+SEND={socket},"{data:hex}"', see: {manual: x}}
  tcp_receive:
    - {send: 'AT+READ={socket}', lines: [{match: '+READ: {data:hex}', repeat: optional}], see: {manual: x}}
  tcp_close:
    - {send: 'AT+END={socket}', tolerate: {outcome: fail}, see: {manual: x}}
"""
DATA = {"data": b"x", "size": 1}
NOT_ALLOWED = b"\r\n+CME ERROR: 3\r\n"


class Modem:
    """A modem that gives the lowest number that is free. ``hits``: what was done to whose socket, in order."""

    def __init__(self) -> None:
        self.owners: dict[int, str] = {}
        self.hits: list[tuple[str, str]] = []
        self.names = iter("ABCDEF")
        self.held: set[str] = set()  # commands that are answered when the test says so
        self.waiting: list[Callable[[], None]] = []
        self.refuses = False

    def script(self) -> dict[bytes, object]:
        found: dict[bytes, object] = {b"AT+MAKE": self._answering("MAKE", self.make), b"AT+SLOW": b""}
        for number in range(4):
            for word, act in self.acts():
                more = {"CONN": b',"h.example",80', "SEND": b',"78"'}.get(word, b"")
                line = b"AT+%s=%d%s" % (word.encode(), number, more)
                found[line] = self._answering(word, lambda n=number, w=word, a=act: a(n, w))
            found[b"AT+LISTEN=%d,80" % number] = OK
        return found

    def acts(self):
        used = dict.fromkeys(("SEND", "READ"), self.use)
        return {"CONN": self.conn, "END": self.end, "ACCEPT": self.accept, **used}.items()

    def _answering(self, word: str, act: Callable[[], bytes]) -> Callable[[object], bytes]:
        def answer(modem) -> bytes:
            if word in self.held:
                self.waiting.append(lambda: modem.say(act()))
                return b""
            return act()

        return answer

    def make(self) -> bytes:
        number = min(set(range(4)) - self.owners.keys())
        self.owners[number] = next(self.names)
        return b"\r\n+MAKE: %d\r\n" % number + OK

    def use(self, number: int, word: str) -> bytes:
        if number not in self.owners:
            return NOT_ALLOWED
        self.hits.append((word, self.owners[number]))
        return OK

    def conn(self, number: int, word: str) -> bytes:
        answer = self.use(number, word)
        if answer is OK and self.refuses:
            self.owners.pop(number)
            return b"\r\nERROR\r\n"
        return answer

    def end(self, number: int, word: str) -> bytes:
        answer = self.use(number, word)
        self.owners.pop(number, None)
        return answer

    def accept(self, number: int, word: str) -> bytes:
        self.use(number, word)
        taken = min(set(range(4)) - self.owners.keys())
        self.owners[taken] = next(self.names)
        return b"\r\n+ACCEPT: %d\r\n" % taken + OK

    def far_end(self, number: int) -> bytes:
        """The far end of a connection closes it."""
        self.owners.pop(number)
        return b"\r\n+ENDED: %d\r\n" % number


class Bench:
    def __init__(self, runner, wire, modem: Modem) -> None:
        self.runner, self.wire, self.modem = runner, wire, modem
        self.channel = channel = runner.channel
        self.table = SlotTable(
            {"tls": (), "dtls": (), "tcp": range(4), "udp": ()}, now=channel.clock, shared=True, chosen=True
        )
        self.table.begin_epoch(channel.epoch, "")
        self.background: list[Callable[[], None]] = []
        self.sockets = Sockets(
            _Operations(channel, runner), self.table, take_over=False, frees_failed=True, frees_closed=True,
            modem_ids=True, defer=self.background.append, changed=channel.notify,
        )  # fmt: skip
        channel.on_urc = Reports("modem", channel, runner.observe, self.table, None).on_urc

    def open(self, how="open", deadline=None):
        wanted = Opening(family="tcp", how=how, host="h.example", port=80, local_port=80 if how == "listen" else None)
        return self.sockets.open(wanted, epoch=self.channel.epoch, pdp=1, deadline=deadline)

    def later(self) -> None:
        while self.background:
            self.background.pop(0)()

    def queued(self, count: int) -> None:
        until(lambda: len(self.channel._queue) == count)


def outcome(result):
    """What came of something that was done in another thread."""
    try:
        return result()
    except ModemError as error:
        return error


@pytest.fixture
def bench() -> Iterator[Bench]:
    modem = Modem()
    with scripted(PROFILE, modem.script()) as (runner, wire):
        yield Bench(runner, wire, modem)


@pytest.mark.parametrize("what", ["close", "send", "receive"])
def test_what_waited_for_the_line_while_the_far_end_closed_does_not_reach_the_numbers_next_use(bench, what):
    first = bench.open()
    with bench.channel.hold():
        making = in_thread(bench.open)
        bench.queued(1)
        if what == "close":
            second = in_thread(lambda: bench.sockets.close(first))
        else:
            second = in_thread(lambda: bench.sockets.run(first, what, DATA if what == "send" else {"size": 1}))
        bench.queued(2)
        bench.wire.say(bench.modem.far_end(0))
        until(lambda: first.closed)
    made = outcome(making)
    result = outcome(second)
    assert (made.number, made.state) == (0, "open")
    assert bench.modem.hits == [("CONN", "A"), ("CONN", "B")]
    assert result is None if what == "close" else isinstance(result, SocketClosedError)
    bench.sockets.run(made, "send", DATA)
    assert bench.modem.hits[-1] == ("SEND", "B")


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_close_that_was_given_up_and_is_finished_later_does_not_hit_the_numbers_next_use(bench, interrupted):
    """The command of a close that nobody waited for was carried out all the same."""
    first = bench.open()
    bench.modem.held.add("END")
    bench.sockets.close(first, deadline=bench.channel.clock())
    until(lambda: bench.modem.waiting)
    bench.modem.held.clear()
    deadline = bench.channel.clock() + 0.2 if interrupted else None
    if interrupted:
        bench.modem.held.add("MAKE")
    making = in_thread(lambda: bench.open(deadline=deadline))
    bench.queued(1)
    burying = in_thread(bench.later)
    bench.queued(2)
    bench.modem.waiting.pop()()
    if interrupted:
        assert isinstance(outcome(making), ModemTimeoutError)
        bench.modem.held.clear()
        following = in_thread(bench.open)
        bench.queued(2)
        bench.modem.waiting.pop()()
        outcome(burying)
        made = outcome(following)
        bench.later()
        assert bench.modem.owners == {made.number: "C"}
    else:
        made = outcome(making)
        outcome(burying)
        bench.later()
        assert bench.modem.owners == {made.number: "B"}
    assert bench.table.slots() == [made]
    bench.sockets.run(made, "send", DATA)


def test_what_cleans_up_behind_an_open_that_failed_does_not_hit_the_numbers_next_use(bench):
    """The modem has freed the number of what it did not connect, and gives it to somebody else before it is closed."""
    bench.modem.held.add("CONN")
    failing = in_thread(bench.open)
    until(lambda: bench.modem.waiting)
    making = in_thread(bench.open)
    bench.queued(1)
    bench.modem.held.clear()
    bench.modem.refuses = True
    fail = bench.modem.waiting.pop()
    making_ends = bench.modem.make

    def make() -> bytes:
        bench.modem.refuses = False
        return making_ends()

    bench.modem.make = make  # type: ignore[method-assign]
    bench.wire.script[b"AT+MAKE"] = lambda modem: make()
    fail()
    assert isinstance(outcome(failing), CommandError)
    made = outcome(making)
    bench.later()
    assert (made.state, bench.modem.owners) == ("open", {0: "B"})
    assert bench.table.slots() == [made]


def test_what_is_left_to_the_background_behind_an_open_that_was_given_up_does_not_either(bench):
    bench.modem.held.add("CONN")
    failing = in_thread(lambda: bench.open(deadline=bench.channel.clock() + 0.2))
    until(lambda: bench.modem.waiting)
    making = in_thread(bench.open)
    bench.queued(1)
    bench.modem.held.clear()
    assert isinstance(outcome(failing), ModemTimeoutError)
    bench.queued(2)  # what cleans up is there, behind the other one
    burying = in_thread(bench.later)
    bench.queued(3)
    bench.modem.owners.clear()
    bench.wire.say(b"\r\nERROR\r\n")
    made = outcome(making)
    outcome(burying)
    bench.later()
    assert (made.state, bench.modem.owners) == ("open", {0: "B"})
    assert bench.table.slots() == [made]
    bench.sockets.run(made, "send", DATA)


def test_a_socket_whose_number_came_without_a_result_is_closed_by_it(bench):
    bench.wire.script[b"AT+MAKE"] = lambda modem: bench.modem.make().removesuffix(OK)
    with pytest.raises(ModemTimeoutError):
        bench.open()
    bench.later()
    assert bench.modem.hits == [("END", "A")]
    assert (bench.modem.owners, bench.table.slots()) == ({}, [])


@contextlib.contextmanager
def closing(bench: Bench, listener) -> Iterator[None]:
    """While the modem is closing a socket."""
    bench.modem.held.add("END")
    doing = in_thread(lambda: bench.sockets.close(listener))
    until(lambda: bench.modem.waiting)
    bench.modem.held.clear()
    yield
    bench.modem.waiting.pop(0)()
    outcome(doing)


def test_a_connection_that_comes_while_its_listener_is_being_closed_is_closed(bench):
    listener = bench.open("listen")
    with closing(bench, listener):
        bench.modem.owners[2] = "caller"
        bench.wire.say(b"\r\n+CAME: 2,0\r\n")
    bench.later()
    assert bench.modem.hits[-1] == ("END", "caller")
    assert (bench.modem.owners, bench.table.slots()) == ({}, [])


def test_a_connection_that_is_taken_while_its_listener_is_being_closed_is_closed(bench):
    listener = bench.open("listen")
    bench.modem.held.add("ACCEPT")
    accepting = in_thread(lambda: bench.sockets.accept(listener))
    until(lambda: bench.modem.waiting)
    closes = in_thread(lambda: bench.sockets.close(listener))
    bench.queued(1)
    bench.modem.waiting.pop()()
    outcome(accepting)
    outcome(closes)
    bench.later()
    assert (bench.modem.owners, bench.table.slots()) == ({}, [])


def test_a_connection_that_is_taken_after_its_caller_has_gone_waits_for_the_next_one(bench):
    listener = bench.open("listen")
    bench.modem.held.add("ACCEPT")
    with pytest.raises(ModemTimeoutError):
        bench.sockets.accept(listener, deadline=bench.channel.clock() + 0.05)
    bench.modem.waiting.pop()()
    until(lambda: listener.waiting)
    slot = bench.sockets.accept(listener)
    assert (slot.number, slot.state) == (1, "open")
