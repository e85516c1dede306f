"""The contract over a modem: datagrams that are secured; what secures them is played here."""

from __future__ import annotations

import pytest

from modemtls.at.grammar import Outcome
from modemtls.errors import (
    CommandError,
    ConnectError,
    ConnectOrHandshakeError,
    HandshakeError,
    ModemError,
    ModemRestartedError,
    ModemTimeoutError,
    NameResolutionError,
    NotSupportedError,
    PdpError,
    TruncatedError,
)
from modemtls.net import Errno, Option, Psk, SocketConfiguration, SslConfiguration, State, error_pair, offload
from modemtls.net.contract.mtu import RecordShape
from modemtls.net.packets import DatagramSocket
from tests.support.fakemodem import Answer
from tests.support.fakepackets import PacketModem

CCM_8 = RecordShape(8, 8)
CBC = RecordShape(16, 32, 16)


class Securing:
    """What the socket asks of whoever secures it. ``fails``: what opening raises, the next first."""

    def __init__(self, modem, configuration, family) -> None:
        assert family == "dtls"
        self.modem = modem
        self.fails: list[BaseException] = []
        self.shaped: RecordShape | None = None
        self.resumed = self.connection_resumed = False
        self.version = None
        self.parks = False
        self.told: list[str] = []

    def open(self, wanted, deadline):
        if self.fails:
            raise self.fails.pop(0)
        return self.modem.open(wanted, deadline=deadline)

    def note(self, slot):
        self.told.append("note")

    def put_aside(self, slot, deadline):
        self.told.append("put aside")
        if self.parks:
            slot.state = "parked"
        return self.parks

    def forget(self):
        self.told.append("forget")

    def shape(self):
        return self.shaped

    def set_records(self, records):
        self.told.append(f"records {records}")

    def set_timers(self, timers):
        self.told.append(f"timers {timers}")


@pytest.fixture
def modem():
    return PacketModem(capabilities={"dtls": ("1.2",)}, limits={"dtls_send": 1000, "dtls_receive": 1000})


@pytest.fixture
def make(modem, monkeypatch):
    monkeypatch.setattr(offload, "Securing", Securing)

    def make(**more):
        configuration = SslConfiguration(security=Psk(b"i", b"k" * 16), **more)
        return DatagramSocket(modem, configuration)

    return make


def connected(make, modem, **more):
    sock = make(**more)
    sock.connect("192.0.2.1", "5684")
    sock._securing.told.clear()
    modem.commands.clear()
    return sock


def fails(code, call, *given, **named):
    with pytest.raises(ModemError) as caught:
        call(*given, **named)
    assert error_pair(caught.value).code == code, caught.value


class TestBinding:
    def test_nothing_is_opened_before_the_peer_is_known(self, make, modem):
        sock = make()
        sock.bind(None, "5683")
        assert (sock.state, sock.local_port, modem.openings) == (State.BOUND, "5683", [])
        for call in (lambda: sock.send(b"x"), lambda: sock.receive(1)):
            fails(Errno.EBADF, call)
        for call, capability in (
            (lambda: sock.send_to(b"x", "192.0.2.1", "7"), "send_to"),
            (lambda: sock.receive_from(1), "receive_from"),
        ):
            with pytest.raises(NotSupportedError) as caught:
                call()
            assert caught.value.capability == capability
        sock.connect("peer.example", "5684")
        assert [(one.family, one.how, one.local_port) for one in modem.openings] == [("dtls", "open", 5683)]

    @pytest.mark.parametrize("error", [NameResolutionError("no"), ConnectError("no"), PdpError("no")])
    def test_it_is_bound_still_if_the_transport_failed(self, make, modem, error):
        sock = make()
        sock.bind(None, "5683")
        sock._securing.fails = [error]
        with pytest.raises(type(error)):
            sock.connect("peer.example", "5684")
        assert (sock.state, sock.local_port) == (State.BOUND, "5683")
        sock.connect("peer.example", "5684")
        assert modem.openings[-1].local_port == 5683

    @pytest.mark.parametrize(
        "error", [HandshakeError("no"), ConnectOrHandshakeError("no"), ModemTimeoutError("no"), KeyboardInterrupt()]
    )
    def test_it_is_closed_if_the_handshake_failed(self, make, modem, error):
        sock = make()
        sock.bind(None, "5683")
        sock._securing.fails = [error]
        with pytest.raises(type(error)):
            sock.connect("peer.example", "5684")
        assert sock.state is State.CLOSED
        sock.connect("peer.example", "5684")
        assert modem.openings[-1].local_port is None

    def test_a_modem_that_has_a_port_to_choose_for_other_kinds_of_sockets_only(self, monkeypatch):
        monkeypatch.setattr(offload, "Securing", Securing)
        modem = PacketModem(
            capabilities={"dtls": ("1.2",), "local_port": ("tcp", "udp")}, limits={"dtls_send": 9, "dtls_receive": 9}
        )
        sock = DatagramSocket(modem, SslConfiguration(security=Psk(b"i", b"k" * 16)))
        with pytest.raises(NotSupportedError) as caught:
            sock.bind(None, "5683")
        assert (caught.value.capability, sock.state) == ("local_port", State.CLOSED)
        sock.bind(None, "0")
        sock.connect("peer.example", "5684")


class TestConnecting:
    def test_a_restart_in_the_middle_begins_it_again(self, make, modem):
        sock = make()
        sock._securing.fails = [ModemRestartedError("restarted") for _ in range(2)]
        sock.connect("peer.example", "5684")
        assert sock.state is State.CONNECTED
        sock.close()
        sock._securing.fails = [ModemRestartedError("restarted") for _ in range(3)]
        with pytest.raises(ModemRestartedError):
            sock.connect("peer.example", "5684")
        assert sock.state is State.CLOSED

    def test_how_it_went(self, make, modem):
        sock = make()
        assert sock.get_opt(Option.SESSION_RESUMED) is sock.get_opt(Option.CONNECTION_ID_RESUMED) is False
        sock._securing.resumed = True
        sock.connect("peer.example", "5684")
        assert (sock.get_opt(Option.SESSION_RESUMED), sock.get_opt(Option.CONNECTION_ID_RESUMED)) == (True, False)
        sock._securing.connection_resumed = True
        assert sock.get_opt(Option.CONNECTION_ID_RESUMED) is True

    def test_settings_for_the_next_handshake_reach_who_secures_it(self, make):
        sock = make()
        sock.set_opt(Option.DTLS_HANDSHAKE_TIMEOUTS, (1.0, 2.0))
        sock.set_opt(Option.DANE_TLSA_ARRAY, [])
        assert sock._securing.told == ["timers (1.0, 2.0)", "records []"]


class TestClosing:
    @pytest.mark.parametrize("how", [["close"], ["shutdown"], ["shutdown", "close"], ["cleanup"]])
    def test_what_is_put_aside_is_not_closed(self, make, modem, how):
        sock = connected(make, modem)
        sock._securing.parks = True
        for each in how:
            getattr(sock, each)()
        assert (modem.peer.slot.state, modem.peer.closed_by_driver) == ("parked", False)
        assert sock._securing.told.count("put aside") == 1
        sock.cleanup()
        assert not modem.peer.closed_by_driver

    def test_what_is_not_is_closed(self, make, modem):
        sock = connected(make, modem)
        sock.shutdown()
        sock.close()
        assert modem.peer.closed_by_driver

    def test_what_is_lost_is_not_put_aside(self, make, modem):
        for lose in (lambda peer: peer.lose(PdpError("lost")), lambda peer: peer.close()):
            sock = connected(make, modem)
            sock._securing.parks = True
            lose(modem.peer)
            sock.close()
            assert "put aside" not in sock._securing.told
            assert modem.peer.closed_by_driver

    def test_a_failure_to_put_aside_closes(self, make, modem):
        sock = connected(make, modem)

        def fail(slot, deadline):
            raise ModemTimeoutError("no")

        sock._securing.put_aside = fail
        sock.close()
        assert (sock.state, modem.peer.closed_by_driver) == (State.CLOSED, True)


class TestData:
    def test_the_buffer_hears_of_what_the_modem_tells_in_between(self, make, modem):
        sock = connected(make, modem, session_resumption_buffer=bytearray(100))
        modem.peer.say(b"x")
        sock.receive(1)
        sock.send(b"x")
        sock.close()
        assert sock._securing.told == ["note", "note", "note", "put aside"]

    def test_without_a_buffer_there_is_nothing_to_hear(self, make, modem):
        sock = connected(make, modem)
        sock.send(b"x")
        assert sock._securing.told == []

    def test_nothing_is_no_datagram(self, make, modem):
        sock = connected(make, modem)
        sock.send(b"")
        assert modem.commands == []

    def test_datagrams_and_the_end(self, make, modem):
        sock = connected(make, modem)
        for data in (b"0123456789", b"exact"):
            modem.peer.say(data)
        modem.peer.close()
        with pytest.raises(TruncatedError) as caught:
            sock.receive(4)
        assert caught.value.data == b"0123"
        assert [sock.receive(5) for _ in range(3)] == [b"exact", b"", b""]
        assert sock.end_authenticated is False, "the modem does not say whose end it was"
        fails(Errno.ECONNRESET, sock.send, b"x")

    @pytest.mark.parametrize("readable", [True, False])
    @pytest.mark.parametrize("receive", ["pull", "push"])
    def test_a_broken_association_is_an_error_behind_what_has_come_and_no_end(self, make, modem, receive, readable):
        def refused(op, slot, b):
            raise CommandError("ERROR")

        sock = connected(make, modem)
        modem.peer.slot.receive = receive
        modem.peer.say(b"last")
        assert sock.receive(10) == b"last"
        modem.script = modem.script if readable else refused
        modem.peer.breaks()
        for _ in range(2):
            fails(Errno.ECONNRESET, sock.receive, 10)
        assert sock.end_authenticated is None

    def test_the_end_that_a_read_tells(self, make, modem):
        sock = connected(make, modem)
        modem.peer.say(b"x")
        assert sock.receive(10) == b"x"
        modem.script = lambda op, slot, b: Answer(Outcome.EOF)
        assert [sock.receive(10), sock.receive(10)] == [b"", b""]
        assert modem.commands == ["receive", "receive"]


class TestSizes:
    @pytest.mark.parametrize(
        ("shape", "packets", "size"),
        [
            (CCM_8, 528, 500 - 29), (CBC, 528, 500 - 61 - (500 - 61) % 16 - 1), (None, 528, 500 - 64),
            (CCM_8, 0, 548 - 29), (CCM_8, 1500, 1000),
        ],
    )  # fmt: skip
    def test_a_record_fits_into_a_packet_and_into_a_command(self, make, modem, shape, packets, size):
        sock = connected(make, modem, socket=SocketConfiguration(forced_mtu=packets))
        sock._securing.shaped = shape
        assert sock.get_opt(Option.INNER_MTU) == sock.send_limit == size
        fails(Errno.EMSGSIZE, sock.send, bytes(size + 1))
        sock.send(bytes(size))
        assert modem.peer.sent == [bytes(size)]
        sock.close()
        assert sock.get_opt(Option.INNER_MTU) == 0

    def test_packets_too_small_for_any(self, make, modem):
        sock = connected(make, modem, socket=SocketConfiguration(forced_mtu=60))
        fails(Errno.EMSGSIZE, sock.get_opt, Option.INNER_MTU)
        fails(Errno.EMSGSIZE, sock.send, b"x")
