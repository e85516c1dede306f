"""Datagrams, and streams that listen, through every simulated modem to peers of this machine."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading

import pytest

import modemtls
from modemtls.errors import (
    ModemRestartedError,
    ModemTimeoutError,
    NotSupportedError,
    SocketClosedError,
    TruncatedError,
)
from modemtls.net import (
    Option,
    Psk,
    SslConfiguration,
    State,
    create_dtls_socket,
    create_tcp_socket,
    create_udp_socket,
)
from modemtls.sim import embedded
from modemtls.sim.options import Options
from modemtls.tlsengine import Settings
from tests.support.dtls import DtlsEcho
from tests.support.interrupting import strike
from tests.support.servers import free_port
from tests.support.threads import in_thread, until

MODELS = ("ublox-sara-r5", "nordic-slm", "nordic-sm", "quectel-bg95")
#: With one that has notices of its own, and takes a tenth of a second for each command.
MORE = pytest.mark.parametrize("pair", [*MODELS, "ublox-sara-r4"], indirect=True)
#: What one that has a single socket for a listener and its caller cannot do.
LISTENING = pytest.mark.parametrize("pair", [one for one in MODELS if one != "nordic-slm"], indirect=True)
PATIENCE = 5.0
IDENTITY, KEY = b"gateway", b"0123456789abcdef"


class Far:
    """A UDP port of this machine; with ``echo`` it returns what comes, until told to stop."""

    def __init__(self, *, echo: bool = False) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.settimeout(PATIENCE)
        self.port = str(self.sock.getsockname()[1])
        self.addresses: list[tuple[str, int]] = []
        if echo:
            threading.Thread(target=self._echo, daemon=True).start()

    def _echo(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                data, address = self.sock.recvfrom(65536)
                self.addresses.append(address)
                self.sock.sendto(data, address)

    def __enter__(self) -> Far:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)  # wakes who reads
        self.sock.close()

    def meet(self, sock) -> tuple[str, int]:
        """Have the modem's socket connected here, and return where it is."""
        sock.connect("127.0.0.1", self.port)
        sock.send(b"hello")
        data, address = self.sock.recvfrom(100)
        assert data == b"hello"
        return address


@pytest.fixture(scope="module")
def modems():
    with contextlib.ExitStack() as stack:

        class Started(dict):
            def __missing__(self, model):
                sim = stack.enter_context(embedded.open(model, Options.build(variants=["start=running"])))
                self[model] = sim, stack.enter_context(modemtls.open(sim.path))
                return self[model]

        yield Started()


@pytest.fixture(params=MODELS)
def pair(request, modems):
    sim, modem = modems[request.param]
    yield sim, modem
    assert modem.attached.channel.wait(lambda: not modem.attached.slots.slots(), modem.attached.now() + PATIENCE)


@pytest.fixture
def modem(pair):
    return pair[1]


@pytest.fixture
def udp(modem):
    with create_udp_socket(modem) as sock:
        yield sock


def need(modem, *capabilities):
    lacking = [one for one in capabilities if not modem.capabilities.get(one)]
    if lacking:
        pytest.skip(f"the modem declares no capability: {', '.join(lacking)}")


def test_one_datagram_is_one_datagram(udp):
    with Far(echo=True) as far:
        udp.connect("127.0.0.1", far.port)
        sent = (bytes(range(256)), b'"\r\nOK\r\n', b"x" * 500, b"y")
        for data in sent:
            udp.send(data)
            assert udp.receive(len(data), timeout=PATIENCE) == data
        with pytest.raises(ModemTimeoutError):
            udp.receive(10, timeout=0)
        assert udp.get_opt(Option.BYTES_SENT) == udp.get_opt(Option.BYTES_RECEIVED) == sum(map(len, sent))


@MORE
def test_several_that_wait_keep_their_bounds(udp):
    with Far() as far:
        address = far.meet(udp)
        for data in (b"0123456789", b"exact", b"third"):
            far.sock.sendto(data, address)
        with pytest.raises(TruncatedError) as caught:
            udp.receive(4, timeout=PATIENCE)
        assert caught.value.data == b"0123"
        assert udp.receive(5, timeout=PATIENCE) == b"exact"
        assert udp.get_opt(Option.HAS_BUFFERED_DATA)
        assert udp.receive(100, timeout=PATIENCE) == b"third"


@MORE
def test_one_that_a_command_cannot_give_whole(udp, modem):
    limit = modem.attached.profile.size("udp", "receive")
    with Far() as far:
        address = far.meet(udp)
        far.sock.sendto(b"a" * (limit + 50), address)
        with pytest.raises(TruncatedError) as caught:
            udp.receive(65536, timeout=PATIENCE)
        assert caught.value.data == b"a" * limit
        far.sock.sendto(b"next", address)
        assert udp.receive(65536, timeout=PATIENCE) == b"next"


def test_the_largest_and_one_more(udp):
    with Far() as far:
        udp.connect("server.example", far.port)
        size = udp.get_opt(Option.INNER_MTU)
        with pytest.raises(OSError, match="do not fit into one datagram"):
            udp.send(bytes(size + 1))
        udp.send(b"z" * size)
        assert far.sock.recv(65536) == b"z" * size


def test_a_bound_socket_speaks_to_anybody_and_keeps_its_port_with_a_peer(udp, modem):
    need(modem, "udp_unconnected", "local_port")
    port = str(free_port())
    with Far() as one, Far() as other:
        for _ in range(2):
            udp.bind(None, port)
            for far in (one, other):
                udp.send_to(b"ping", "127.0.0.1", far.port)
                data, address = far.sock.recvfrom(100)
                assert (data, str(address[1])) == (b"ping", port)
                far.sock.sendto(b"pong", address)
                assert udp.receive_from(4, timeout=PATIENCE) == (b"pong", "127.0.0.1", far.port)
            assert far.meet(udp) == ("127.0.0.1", int(port))
            assert udp.local_port == port
            udp.close()


def test_any_port(udp, modem):
    need(modem, "udp_unconnected")
    with Far() as far:
        udp.bind(None, "0")
        udp.send_to(b"ping", "127.0.0.1", far.port)
        far.sock.sendto(b"0123456789", far.sock.recvfrom(100)[1])
        with pytest.raises(TruncatedError) as caught:
            udp.receive_from(3, timeout=PATIENCE)
        assert (caught.value.data, caught.value.address) == (b"012", ("127.0.0.1", far.port))


def test_two_threads_on_one_socket(udp):
    with Far(echo=True) as far:
        udp.connect("127.0.0.1", far.port)
        got = []

        def receive():
            while len(got) < 6:
                got.append(udp.receive(100, timeout=PATIENCE))

        done = in_thread(receive)
        for number in range(6):
            udp.send(b"datagram %d" % number)
        done()
        assert got == [b"datagram %d" % number for number in range(6)]


def test_closing_wakes_who_waits(udp):
    with Far() as far:
        far.meet(udp)
        result = in_thread(lambda: udp.receive(100, timeout=30))
        udp.close()
        with pytest.raises(OSError, match=r"closed|not connected"):
            result()
        assert udp.state is State.CLOSED


@pytest.mark.parametrize("pair", ["nordic-slm", "nordic-sm", "quectel-bg95"], indirect=True)
def test_a_restart_in_the_middle(pair):
    """Of those that say nothing when they start it shows with the next command, when they answer again."""
    sim, modem = pair
    with Far() as far, create_udp_socket(modem) as sock:
        far.meet(sock)
        result = in_thread(lambda: sock.receive(100, timeout=30))
        sim.restart()
        for call in (lambda: sock.send(b"x"), lambda: sock.send(b"x"), result):
            with pytest.raises((ModemRestartedError, SocketClosedError)):
                call()
        sock.close()
        address = far.meet(sock)
        far.sock.sendto(b"again", address)
        assert sock.receive(100, timeout=PATIENCE) == b"again"


def test_cleanup_in_every_state_leaves_nothing_in_the_modem(modem):
    with Far() as far:
        for prepare in (
            lambda sock: sock.bind(None, "0"),
            far.meet,
            lambda sock: (far.meet(sock), sock.shutdown()),
            lambda sock: (far.meet(sock), sock.close()),
        ):
            sock = create_udp_socket(modem)
            prepare(sock)
            sock.cleanup()
            assert modem.attached.slots.slots() == []


@pytest.fixture
def interruptible():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("pair", ["quectel-bg95"], indirect=True)
def test_an_interrupt_anywhere_loses_no_datagram(udp):
    wrong, nth = [], 1
    with Far() as far:
        address = far.meet(udp)
        while True:
            far.sock.sendto(b"%d" % nth, address)
            one = strike(nth, lambda: udp.receive(100, timeout=PATIENCE))
            got = in_thread(lambda: udp.receive(100, timeout=PATIENCE))() if one.interrupted else one.result
            if got != b"%d" % nth:
                wrong.append(f"{got!r} instead of {nth} after {one}")
            if not one.struck:
                break
            nth += 1
    assert nth > 100
    assert wrong == []


# -- DTLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def dtls():
    with DtlsEcho(Settings(server=True, datagram=True, psks={IDENTITY: KEY})) as server:
        yield server


@pytest.mark.parametrize("pair", ["ublox-sara-r5", "nordic-sm", "quectel-bg95"], indirect=True)
def test_dtls_of_this_host_over_the_modems_datagrams(modem, dtls):
    """What engine="host" needs of the plain socket; the port of a reconnect is the same where it can be chosen."""
    with create_dtls_socket(modem, SslConfiguration(security=Psk(IDENTITY, KEY)), engine="host") as sock:
        port = str(free_port()) if modem.capabilities.get("local_port") else "0"
        for _ in range(2):
            sock.bind(None, port)
            sock.connect("server.example", str(dtls.port))
            for size in (1, sock.get_opt(Option.INNER_MTU)):
                sock.send(b"q" * size)
                assert sock.receive(size, timeout=PATIENCE) == b"q" * size
            sock.send(b"0123456789")
            with pytest.raises(TruncatedError) as caught:
                sock.receive(4, timeout=PATIENCE)
            assert caught.value.data == b"0123"
            sock.shutdown()
            sock.close()
        assert sock.engine == "host"
        assert port in {"0", *(str(one[1]) for one in dtls.addresses)}


@pytest.mark.parametrize("pair", ["ublox-sara-r5"], indirect=True)
def test_dtls_of_the_modem_has_the_same_bounds(modem, dtls):
    with create_dtls_socket(modem, SslConfiguration(security=Psk(IDENTITY, KEY))) as sock:
        assert (sock.engine, sock.get_opt(Option.INNER_MTU)) == ("modem", 0)
        port = str(free_port())
        for _ in range(2):
            sock.bind(None, port)
            assert sock.get_opt(Option.INNER_MTU) == 0
            for refused in (lambda: sock.send_to(b"x", "127.0.0.1", "7"), lambda: sock.receive_from(1)):
                with pytest.raises(NotSupportedError):
                    refused()
            sock.connect("server.example", str(dtls.port))
            assert sock.local_port == port
            size = sock.get_opt(Option.INNER_MTU)
            with pytest.raises(OSError, match="do not fit into one datagram"):
                sock.send(bytes(size + 1))
            sock.send(b"")  # is no datagram
            sock.send(b"z" * size)
            assert sock.receive(size, timeout=PATIENCE) == b"z" * size
            sock.send(b"0123456789")
            with pytest.raises(TruncatedError) as caught:
                sock.receive(4, timeout=PATIENCE)
            assert caught.value.data == b"0123"
            with pytest.raises(ModemTimeoutError):
                sock.receive(4, timeout=0)
            assert dtls.heard[-2:] == [b"z" * size, b"0123456789"]
            assert dtls.addresses[-1] == ("127.0.0.1", int(port))
            sock.shutdown()
            sock.close()


# -- streams that listen -----------------------------------------------------------------------------------------------


@LISTENING
def test_who_calls_is_accepted(modem):
    need(modem, "listen")
    port = free_port()
    with create_tcp_socket(modem) as listener:
        listener.bind(None, str(port))
        with pytest.raises(ModemTimeoutError):
            listener.accept(timeout=0.05)
        for round_ in range(2):
            waiting = in_thread(lambda: listener.accept(timeout=PATIENCE))
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as caller:
                with waiting() as called:
                    assert (called.state, listener.state) == (State.ACCEPTED, State.BOUND)
                    assert (called.remote_host, called.remote_port) == ("127.0.0.1", str(caller.getsockname()[1]))
                    caller.sendall(b"ping %d" % round_)
                    assert called.receive(100, timeout=PATIENCE) == b"ping %d" % round_
                    called.send(b"pong")
                    caller.settimeout(PATIENCE)
                    assert caller.recv(100) == b"pong"
                    caller.shutdown(socket.SHUT_WR)
                    assert called.receive(100, timeout=PATIENCE) == b""
                assert caller.recv(100) == b""


@LISTENING
def test_who_called_and_was_not_accepted_is_hung_up_on(modem):
    need(modem, "listen")
    port = free_port()
    with create_tcp_socket(modem) as listener:
        listener.bind(None, str(port))
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as caller:
            until(lambda: listener.ready)
            closing = in_thread(listener.close)
            caller.settimeout(PATIENCE)
            with contextlib.suppress(ConnectionResetError):
                assert caller.recv(100) == b""
        closing()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port), PATIENCE)
