"""Sockets of all families: numbers that the modem chooses, listening, sessions, connections put aside."""

from __future__ import annotations

import re
from collections import deque
from pathlib import Path

import pytest

from modemtls.at.exchange import Urc
from modemtls.at.grammar import Outcome, UrcRule, compile_pattern
from modemtls.errors import (
    CommandError,
    ConfigurationError,
    ModemError,
    ModemTimeoutError,
    NotSupportedError,
    SocketClosedError,
)
from modemtls.modem.contexts import ContextPool
from modemtls.modem.reports import Reports
from modemtls.modem.settings import FAMILIES, TlsSettings
from modemtls.modem.slots import SlotTable
from modemtls.modem.sockets import Opening, Sockets
from tests.support.modem_fakes import Answer, FakeHost, refusal
from tests.support.scripted import ERROR, OK, profile_of, scripted

NUMBERS = dict.fromkeys(FAMILIES, (0, 1, 2, 3))
PLAIN = TlsSettings(version=1, suites=(), ca="7", bundle="7", check_hostname=False, sni=False, check_dates=False)


class Bench:
    """Sockets over operations of plain Python, with what the modem reports."""

    def __init__(self, *, secure=None, shared=True, numbers=NUMBERS, modem_ids=False, **on):
        options = {
            key: on.pop(key)
            for key in ("take_over", "frees_failed", "frees_closed", "saved", "host_keeps")
            if key in on
        }
        given = {f"{family}_{op}": Answer() for family in FAMILIES for op in ("open", "close", "send")}
        self.host = FakeHost(**{**given, **on})
        self.background = []
        self.table = SlotTable(numbers, now=self.host.now, shared=shared, chosen=modem_ids, secure=secure)
        self.table.begin_epoch(1, "")
        options = {"take_over": False, "frees_failed": False, "modem_ids": modem_ids, **options}
        self.sockets = Sockets(self.host, self.table, defer=self.background.append, changed=lambda: None, **options)
        self.reports = Reports("modem", None, lambda urc: urc, self.table, None)

    def open(self, family="tcp", host="h.example", port=443, **wanted):
        opening = Opening(family=family, host=host, port=port, **wanted)
        return self.sockets.open(opening, epoch=1, pdp=1, deadline=None)

    def report(self, means, family=None, **values):
        rule = UrcRule(compile_pattern("+X"), means, family)
        self.reports.on_urc(Urc(rule, f"+X {values}", values))

    def later(self):
        while self.background:
            self.background.pop(0)()


# -- numbers ----------------------------------------------------------------------------------------------------------


def test_secure_and_plain_sockets_have_numbers_of_their_own_unless_they_share():
    bench = Bench(shared=False)
    secure = [bench.open(family).number for family in ("tls", "dtls", "tls", "dtls")]
    assert secure == [0, 1, 2, 3]
    assert [bench.open(family).number for family in ("tcp", "udp")] == [0, 1]
    bench = Bench()
    assert [bench.open(family).number for family in ("tls", "dtls", "tcp", "udp")] == [0, 1, 2, 3]


@pytest.mark.parametrize("take_over", [False, True])
def test_a_number_that_another_of_its_own_sockets_has_is_passed_over_and_never_closed(take_over):
    """No document says whether these modems have one set of numbers: the refusal does."""
    numbers = dict.fromkeys(FAMILIES, (0, 1))
    refused = [refusal("socket_in_use", 563), Answer()]
    bench = Bench(shared=False, numbers=numbers, take_over=take_over, tcp_open=refused)
    assert [bench.open("tls").number for _ in range(2)] == [0, 1]
    assert bench.open("tcp").number == 1
    assert bench.host.count("tcp_close") == 0
    assert bench.table.foreign("tcp") == set()


def test_a_report_for_one_family_reaches_those_that_share_its_numbers():
    bench = Bench(shared=False)
    dtls, tcp = bench.open("dtls"), bench.open("tcp")
    bench.report("data", "tls", socket=0)
    assert (dtls.data_pending, tcp.data_pending) == (True, False)


def test_more_secure_connections_than_the_modem_takes_are_refused_before_it_is_asked():
    bench = Bench(secure=2)
    first = bench.open("tls")
    bench.open("dtls")
    bench.open("tcp")
    with pytest.raises(ModemError, match="at most 2 TLS and DTLS") as caught:
        bench.open("tls")
    assert caught.value.errno == 24  # EMFILE
    bench.sockets.close(first)
    bench.open("dtls")


def test_a_number_is_known_before_the_connection_is_made():
    """What arrives while the open has not returned is for this socket."""

    def opening(given):
        raise AssertionError("not run")

    bench = Bench(modem_ids=True, tcp_open=opening)
    run = bench.host.run

    def host_run(op, bindings=None, *, on_socket=None, **rest):
        if op == "tcp_open":
            on_socket(3)
            bench.report("data", socket=3)
            return Answer(values={"socket": 3})
        return run(op, bindings, **rest)

    bench.host.run = host_run
    slot = bench.open(receive="pull")
    assert (slot.number, slot.data_pending) == (3, True)


def test_what_the_modem_never_numbered_is_not_closed():
    for kind in ("memory", "socket_in_use"):
        bench = Bench(modem_ids=True, tcp_open=refusal(kind))
        with pytest.raises(CommandError):
            bench.open()
        assert set(bench.host.ops()) == {"tcp_open"}
        assert bench.table.slots() == []
        assert bench.table.foreign("tcp") == frozenset()


def test_what_is_reported_before_the_number_is_known_is_not_about_this_socket():
    bench = Bench(modem_ids=True)

    def host_run(op, bindings=None, *, on_socket=None, **rest):
        bench.report("closed", socket=bindings["socket"])
        on_socket(bindings["socket"])
        return Answer()

    bench.host.run = host_run
    assert bench.open().closed is None


@pytest.mark.parametrize(("frees", "closed"), [(False, ["tcp_close"]), (True, [])])
def test_what_it_numbered_and_could_not_connect_is_closed_unless_the_modem_does(frees, closed):
    bench = Bench(modem_ids=True, frees_failed=frees)
    run = bench.host.run

    def host_run(op, bindings=None, *, on_socket=None, **rest):
        if on_socket is not None:
            on_socket(2)
            raise refusal("connect_failed")
        return run(op, bindings, **rest)

    bench.host.run = host_run
    with pytest.raises(CommandError):
        bench.open()
    assert [(op, given["socket"]) for op, given in bench.host.calls] == [(op, 2) for op in closed]


@pytest.mark.parametrize("first", ["answer", "closing"])
def test_a_socket_made_after_its_caller_has_gone_is_closed(first):
    bench = Bench(modem_ids=True)
    run = bench.host.run
    late = []

    def host_run(op, bindings=None, *, on_socket=None, **rest):
        if on_socket is not None:
            late.append(on_socket)
            raise ModemTimeoutError("out of time")
        return run(op, bindings, **rest)

    bench.host.run = host_run
    with pytest.raises(ModemTimeoutError):
        bench.open()
    number = 0 if first == "answer" else 2  # 0 is what had been reserved
    steps = [lambda: late[0](number), bench.later]
    for each in steps if first == "answer" else reversed(steps):
        each()
    bench.later()
    assert [(op, given["socket"]) for op, given in bench.host.calls] == [("tcp_close", number)]
    assert bench.table.slots() == []


def test_a_number_that_the_modem_uses_again_is_no_longer_that_of_the_former_socket():
    bench = Bench(modem_ids=True, frees_closed=True, tcp_open=Answer(values={"socket": 1}))
    former = bench.open()
    now = bench.open()
    assert (now.number, now.state, former.state) == (1, "open", "gone")
    bench.sockets.close(former)
    with pytest.raises(SocketClosedError, match="uses its number again"):
        bench.sockets.run(former, "send", {"data": b"", "size": 0})
    bench.report("closed", socket=1)
    assert now.closed
    assert "tcp_close" not in bench.host.ops()
    bench.open()
    assert now.lost is None  # its end is a plain one


def test_what_the_modem_has_freed_by_itself_is_not_closed_again():
    for frees, said in ((True, ["tcp_open"]), (False, ["tcp_open", "tcp_close"])):
        bench = Bench(frees_closed=frees)
        slot = bench.open()
        bench.report("closed", socket=slot.number)
        bench.sockets.close(slot)
        assert bench.host.ops() == said
        assert bench.table.slots() == []


# -- what is asked for ------------------------------------------------------------------------------------------------


def test_a_modem_without_contexts_is_told_everything_with_the_open():
    bench = Bench()
    slot = bench.open("dtls", settings=PLAIN, local_port=5683, address_family="ipv6", purge=True)
    given = bench.host.calls[0][1]
    assert {"context": 5}.items() - given.items() == {("context", 5)}
    expected = {"bundle": "7", "verify": True, "local_port": 5683, "family": "ipv6", "purge": True, "host": "h.example"}
    assert expected.items() <= given.items()
    assert bench.sockets.names_in_use() == {"7"}
    bench.sockets.close(slot)
    assert bench.sockets.names_in_use() == frozenset()


def test_a_socket_without_a_peer():
    bench = Bench(udp_bind=Answer(), udp_sendto=Answer())
    slot = bench.sockets.open(Opening(family="udp", how="bind", local_port=5683), epoch=1, pdp=1, deadline=None)
    assert bench.host.calls == [("udp_bind", {"receive": "pull", "local_port": 5683, "pdp": 1, "socket": 0})]
    bench.sockets.run(slot, "sendto", {"host": "192.0.2.1", "port": 7, "data": b"x", "size": 1})
    assert bench.host.calls[1][0] == "udp_sendto"


def test_a_pushed_datagram_stays_whole_and_says_whom_it_is_from():
    bench = Bench()
    slot = bench.open("udp", receive="push")
    for data, port in ((b"one", 7), (b"", 8), (b"two", 9)):
        bench.report("data", socket=slot.number, data=data, host="192.0.2.1", port=port)
    assert slot.readable
    into: deque[bytes] = deque()
    slot.pour(into)
    assert [(bytes(one), one.source) for one in into] == [
        (b"one", ("192.0.2.1", 7)), (b"", ("192.0.2.1", 8)), (b"two", ("192.0.2.1", 9))
    ]  # fmt: skip


# -- listening --------------------------------------------------------------------------------------------------------


def listening(bench, **wanted):
    opening = Opening(family="tcp", how="listen", local_port=80, **wanted)
    return bench.sockets.open(opening, epoch=1, pdp=1, deadline=None)


def test_a_connection_that_is_reported_can_be_used_at_once():
    bench = Bench(tcp_listen=Answer())
    listener = listening(bench)
    told = []
    listener.listener = lambda: told.append(listener.acceptable)
    bench.report("accepted", socket=3, listener=listener.number, host="192.0.2.9", port=39912)
    bench.report("data", socket=3)
    slot = bench.sockets.accept(listener)
    assert told == [True]
    assert (slot.number, slot.remote, slot.data_pending, slot.state) == (3, ("192.0.2.9", 39912), True, "open")
    assert bench.sockets.accept(listener) is None
    bench.sockets.run(slot, "send", {"data": b"x", "size": 1})
    assert bench.host.calls[-1] == ("tcp_send", {"socket": 3, "data": b"x", "size": 1})


def test_a_connection_that_has_to_be_asked_for():
    answers = [Answer(Outcome.EMPTY), Answer(values={"socket": 2, "host": "192.0.2.9", "port": 5})]
    bench = Bench(tcp_listen=Answer(), tcp_accept=answers)
    listener = listening(bench)
    bench.report("data", socket=listener.number)
    assert listener.acceptable
    assert bench.sockets.accept(listener) is None
    assert not listener.acceptable
    slot = bench.sockets.accept(listener)
    assert (slot.number, slot.remote, slot.data_pending) == (2, ("192.0.2.9", 5), True)


def test_what_came_to_somebody_elses_socket_is_left_alone():
    bench = Bench(tcp_listen=Answer())
    connected, listener = bench.open(), listening(bench)
    for where in (connected.number, 3):
        bench.report("accepted", socket=2, listener=where)
    assert bench.sockets.accept(listener) is None
    bench.later()
    assert "tcp_close" not in bench.host.ops()
    assert bench.table.slots() == [connected, listener]


def test_nobody_is_left_waiting_when_the_listener_is_closed():
    bench = Bench(tcp_listen=Answer())
    listener = listening(bench)
    for number in (2, 3):
        bench.report("accepted", socket=number, listener=listener.number)
    bench.sockets.close(listener)
    assert sorted(given["socket"] for op, given in bench.host.calls if op == "tcp_close") == [0, 2, 3]
    assert bench.table.slots() == []
    bench.report("accepted", socket=1, listener=0)
    assert bench.table.slots() == []


# -- connections put aside --------------------------------------------------------------------------------------------


def test_a_connection_is_put_aside_and_taken_up_again():
    bench = Bench(saved=1, connection_save=Answer(), connection_load=Answer())
    slot, other = bench.open("dtls", settings=PLAIN), bench.open("dtls", settings=PLAIN)
    assert bench.sockets.park(slot)
    assert not bench.sockets.park(other)  # one is all the modem has room for
    with pytest.raises(SocketClosedError):
        bench.sockets.run(slot, "send", {"data": b"x", "size": 1})
    bench.table.on_network_lost(1)
    assert (slot.lost, other.lost is None) == (None, False)
    bench.sockets.unpark(slot)
    bench.sockets.run(slot, "send", {"data": b"x", "size": 1})
    said = [(op, given["socket"]) for op, given in bench.host.calls[2:]]
    assert said == [("connection_save", 0), ("connection_load", 0), ("dtls_send", 0)]


def test_what_cannot_be_put_aside_or_taken_up_stays_what_it_was():
    bench = Bench(saved=4, connection_save=[refusal("busy"), Answer()], connection_load=refusal("not_found"))
    slot = bench.open("dtls", settings=PLAIN)
    assert not bench.sockets.park(slot)
    assert slot.state == "open"
    assert bench.sockets.park(slot)
    with pytest.raises(CommandError):
        bench.sockets.unpark(slot)
    bench.sockets.close(slot)
    assert bench.host.ops()[-1] == "dtls_close"


# -- sessions ---------------------------------------------------------------------------------------------------------

RESUMING = TlsSettings(version=3, suites=(), ca="ca", resume=True)
SESSION = {"session_id": "c2lk", "master": "bXM="}


class Sessions(Bench):
    """A modem that tells what the host has to keep: ``tells`` in the next handshake."""

    def __init__(self, **options):
        self.tells = SESSION
        super().__init__(
            tls_open=self.opened, tls_configure=Answer(), session_restore=Answer(), session_purge=Answer(),
            host_keeps=lambda: True, **options,
        )  # fmt: skip
        self.pool = ContextPool(self.host, (0, 1), foreign=lambda deadline: {})

    def opened(self, given):
        if self.tells:
            self.report("session", context=given["context"], kind=0)
            self.report("session", context=given["context"], **self.tells)
        return Answer()

    def connect(self, **wanted):
        lease = self.pool.lease(RESUMING)
        return self.open("tls", lease=lease, **wanted), lease


def test_the_host_keeps_a_session_and_gives_it_back():
    bench = Sessions()
    first, lease = bench.connect()
    assert (first.session, first.resumed) == ({"kind": 0, **SESSION}, False)
    bench.sockets.close(first)
    lease.release()
    bench.host.calls.clear()
    again, lease = bench.connect(session=first.session)
    assert again.resumed
    assert bench.host.calls[0] == ("session_restore", {"context": lease.number, "kind": 0, **SESSION})
    assert bench.host.ops() == ["session_restore", "tls_open"]


@pytest.mark.parametrize("tells", [{}, {"session_id": "other", "master": "bXM="}, {"session_id": "c2lk"}])
def test_another_session_than_was_given_back_is_a_new_one(tells):
    bench = Sessions()
    bench.tells = tells
    slot, _ = bench.connect(session=SESSION)
    assert not slot.resumed


def test_without_a_session_to_give_back_the_modem_has_to_forget_the_one_before():
    bench = Sessions()
    first, lease = bench.connect()
    assert bench.host.ops() == ["tls_configure", "tls_open"]  # what was just written has nothing to forget
    bench.sockets.close(first)
    lease.release()
    bench.host.calls.clear()
    bench.connect()
    assert bench.host.ops() == ["session_purge", "tls_open"]


def test_of_two_tries_with_one_context_the_second_begins_without_what_the_first_one_left():
    bench = Sessions()
    bench.host.on["tls_open"] = [refusal("connect_failed"), Answer()]
    bench.sockets._frees_failed = True
    lease = bench.pool.lease(RESUMING)
    with pytest.raises(CommandError):
        bench.open("tls", lease=lease)
    bench.open("tls", lease=lease)
    assert bench.host.ops() == ["tls_configure", "tls_open", "session_purge", "tls_open"]


def test_connections_that_resume_share_no_context():
    bench = Sessions()
    (_, first), (_, second) = bench.connect(), bench.connect()
    assert first.number != second.number


def test_what_the_modem_says_later_of_a_session_counts():
    bench = Sessions()
    slot, lease = bench.connect()
    told = []
    slot.listener = lambda: told.append(dict(slot.session))
    bench.report("session", context=lease.number, session_id="new", master="new")
    bench.report("session", context=lease.number + 5, session_id="of another")
    assert told == [{"kind": 0, "session_id": "new", "master": "new"}]


def test_a_modem_that_keeps_sessions_itself_says_whether_it_resumed():
    for answer, resumed in (({"resumed": True}, True), ({"resumed": False}, False), ({}, False)):
        bench = Bench(tls_open=Answer(values=answer))
        assert bench.open("tls", settings=PLAIN).resumed is resumed


# -- the families that the decision writes down, on a real channel ---------------------------------------------------

DOCUMENT = (Path(__file__).parents[2] / "docs/decisions/0002-profile-language.md").read_text("utf-8")
LIVES = {
    title: profile_of(body)
    for title, body in re.findall(r"^```yaml\n# life: (.*?)\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)
}
NORDIC, UBLOX = LIVES["Nordic Serial Modem"], LIVES["u-blox SARA-R5"]
TARGET = {"pdp": 0, "socket": 9, "host": "name.example", "port": 5684, "receive": "pull", "purge": False}


def test_settings_of_a_socket_go_out_in_the_open_and_the_number_is_told_before_the_handshake():
    settings = TlsSettings(
        version=273, suites=(), psk="1001", bundle="1001", verify=False, check_hostname=False, sni=False,
        check_dates=False, dtls=True, resume=True, cid=True, dtls_timers=(1, 16, 31),
    )  # fmt: skip
    heard = []
    script = {
        b"AT#XSSOCKET=2,2,0,1001,0,0": b"\r\n#XSSOCKET: 4,2,273\r\n" + OK,
        b"AT#XBIND=4,5683": OK,
        b"AT#XSSOCKETOPT=4,1,2,NULL": OK,
        b"AT#XSSOCKETOPT=4,1,12,1": OK,
        b"AT#XSSOCKETOPT=4,1,13,1": OK,
        b"AT#XSSOCKETOPT=4,1,14,2": OK,
        b"AT#XSSOCKETOPT=4,1,18,31": OK,
        b'AT#XCONNECT=4,"name.example",5684': lambda modem: (heard.append("connect"), b"\r\n#XCONNECT: 4,1\r\n" + OK)[
            1
        ],
        b"AT#XAPOLL=4,1,1": OK,
    }
    with scripted(NORDIC, script) as (runner, modem):
        target = {**TARGET, "purge": True, "local_port": 5683, "family": "ipv6"}
        runner.run("dtls_open", {**target, **settings.bindings()}, on_socket=heard.append)
        assert modem.sent == list(script)
    assert heard[:2] == [4, "connect"]


def test_what_a_modem_without_contexts_cannot_do_is_refused_before_the_first_byte():
    with scripted(NORDIC, {}) as (runner, modem):
        for settings, kind, says in (
            (
                TlsSettings(version=258, suites=(), bundle="1", ca="1", check_dates=True),
                NotSupportedError,
                "date_check",
            ),
            (TlsSettings(version=258, suites=("X",), ca="1", check_dates=False), NotSupportedError, "suites"),
            (TlsSettings(version=258, suites=(), ca="1", alpn="h2", check_dates=False), NotSupportedError, "alpn"),
            (TlsSettings(version=3, suites=(), ca="1", check_dates=False), ConfigurationError, "version"),
        ):
            with pytest.raises(kind, match=says):
                runner.run("tls_open", {**TARGET, **settings.bindings()})
            with pytest.raises(kind, match=says):
                runner.check("tls_open", {**TARGET, **settings.bindings()})
        # Without the bundle nothing that is sent depends on the CA.
        unnamed = TlsSettings(version=258, suites=(), ca="1", check_dates=False, check_hostname=False, sni=False)
        with pytest.raises(CommandError, match="needs something in the credential store"):
            runner.run("tls_open", {**TARGET, **unnamed.bindings()})
        assert modem.sent == []


def test_what_protects_nobody_is_refused_where_the_socket_owns_its_settings():
    text = """
behaviour: {tls_contexts: none}
capabilities: {pull: true}
tables: {level: {false: 0, true: 1}}
programs:
  tls_open:
    - {send: 'AT+O={host:host},{verify@level}', see: {manual: x}}
"""
    settings = TlsSettings(version=1, suites=(), ca="ca", check_hostname=False, sni=False, check_dates=False)
    with scripted(text, {}) as (runner, modem):
        with pytest.raises(NotSupportedError, match=r"^ca: nothing that"):
            runner.run("tls_open", {**TARGET, **settings.bindings()})
        assert modem.sent == []


def test_what_is_written_for_one_kind_is_not_tried_for_another():
    """A key of any content is no PEM, and PEM is no identity: only the step that is run has to be able to say it."""
    pem = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    script = {
        b'AT%CMNG=0,1001,3,"00FF"': OK,
        b'AT%CMNG=0,1001,4,"device 1"': OK,
        b'AT%CMNG=0,1001,0,"' + pem + b'"': OK,
    }
    with scripted(NORDIC, script) as (runner, modem):
        for kind, data in (("psk", b"\x00\xff"), ("psk_identity", b"device 1"), ("ca", pem)):
            runner.run("credential_write", {"name": "1001", "data": data, "size": len(data), "kind": kind})
        assert modem.sent == list(script)
        for wrong in (b"\x00", b"caf\xc3\xa9", b'say "x"'):
            with pytest.raises(ConfigurationError):
                runner.run("credential_write", {"name": "1", "data": wrong, "size": 1, "kind": "psk_identity"})
        assert len(modem.sent) == 3


def test_a_failed_handshake_tells_whose_socket_it_was():
    script = {b"AT+USOCR=6": b"\r\n+USOCR: 5\r\n" + OK, b'AT+USOCO=5,"name.example",80': ERROR,
              b"AT+USOER": b"\r\n+USOER: 111\r\n" + OK}  # fmt: skip
    numbers = []
    with scripted(UBLOX, script) as (runner, modem):
        with pytest.raises(CommandError) as caught:
            runner.run(
                "tcp_open",
                {"pdp": 1, "socket": 0, "host": "name.example", "port": 80, "receive": "pull"},
                on_socket=numbers.append,
            )
        assert (caught.value.kind, numbers) == ("connect_failed", [5])
        assert modem.sent == list(script)


def test_a_pre_shared_key_longer_than_the_modem_takes_is_refused_before_the_first_byte():
    settings = TlsSettings(
        version=3, suites=('"C0","A8"',), verify=False, check_hostname=False, sni=False, check_dates=False,
        psk_identity=b"device", psk_key=bytes(65), dtls=True,
    )  # fmt: skip
    with scripted(UBLOX, {}) as (runner, modem):
        with pytest.raises(ConfigurationError, match="psk_key: 65 bytes, this modem takes 64") as caught:
            runner.run("tls_configure", {"context": 1, **settings.bindings()})
        assert modem.sent == []
    assert "00" * 8 not in repr(settings) + str(caught.value)


def test_session_data_go_back_as_inputs():
    script = {b'AT+USECPRF=1,13,2,"c2lk","bXM="': OK}
    with scripted(UBLOX, script) as (runner, modem):
        runner.run("session_restore", {"context": 1, "session_type": 0, **SESSION})
        runner.run("session_restore", {"context": 1})
        assert modem.sent == list(script)
        with pytest.raises(ConfigurationError, match="no input nonsense"):
            runner.run("session_restore", {"context": 1, "nonsense": "x"})


def test_sizes_are_those_of_the_family():
    profile = profile_of("limits: {send: 100, receive: 200, dtls_send: 50, tcp_send: 300, udp_receive: 400}\n")
    sizes = {(family, what): profile.size(family, what) for family in FAMILIES for what in ("send", "receive")}
    assert sizes == {
        ("tls", "send"): 100, ("tls", "receive"): 200, ("dtls", "send"): 50, ("dtls", "receive"): 200,
        ("tcp", "send"): 300, ("tcp", "receive"): 200, ("udp", "send"): 300, ("udp", "receive"): 400,
    }  # fmt: skip


def test_numbers_that_are_not_said_are_those_of_the_kin():
    assert NORDIC.numbers("dtls") == NORDIC.numbers("udp") == tuple(range(8))
    assert profile_of("limits: {tls_sockets: [1], tcp_sockets: [2]}\n").numbers("dtls") == ()
