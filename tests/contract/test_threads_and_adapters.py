"""Two threads on one socket; and the host's engine below the sockets that applications use."""

from __future__ import annotations

import hashlib
import os
import select
import socket
import threading

import pytest

import modemtls
from modemtls.errors import ModemError, ModemTimeoutError
from modemtls.net import Certificates, Option, Psk, SslConfiguration, State, create_ssl_socket
from modemtls.sim import embedded
from modemtls.sim.options import Options
from modemtls.sockets.pump import Pump
from modemtls.sockets.stream import ModemSocket
from tests.contract.conftest import IDENTITY, KEY, MODELS
from tests.support.contract_peers import tls_peer

DATA = os.urandom(3 << 20)


class TestTwoThreads:
    @pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
    def test_much_goes_both_ways_at_once_whole_and_in_order(self, loopback, pki, leaf, version):
        """The server sends as much as it gets, at once: whoever does not receive while it sends is stuck."""
        with tls_peer(leaf, versions=(version, version)) as peer:
            sock = loopback.socket(SslConfiguration(security=Certificates(trusted=pki.ca)))
            sock.connect(*peer.address)
            sender = threading.Thread(target=sock.send, args=(DATA,))
            sender.start()
            got = hashlib.sha256()
            count = 0
            while count < len(DATA):
                piece = sock.receive(50_000)
                count += len(piece)
                got.update(piece)
            sender.join(20)
            assert got.digest() == hashlib.sha256(DATA).digest()

    def test_two_senders_do_not_mix_their_data(self, loopback, pki, echo):
        sock = loopback.socket(SslConfiguration(security=Certificates(trusted=pki.ca)))
        sock.connect(*echo.address)
        blocks = [bytes([number]) * 50_000 for number in range(4)]
        senders = [threading.Thread(target=sock.send, args=(block,)) for block in blocks]
        for sender in senders:
            sender.start()
        got = b""
        while len(got) < 200_000:
            got += sock.receive(65536)
        for sender in senders:
            sender.join(10)
        assert sorted(got[at : at + 50_000] for at in range(0, 200_000, 50_000)) == blocks

    def test_each_datagram_goes_to_one_of_two_receivers(self, loopback, psk, dtls):
        sock = loopback.socket(psk(), datagram=True)
        sock.connect("127.0.0.1", str(dtls.port))
        got = []

        def take():
            try:
                while True:
                    got.append(sock.receive(100, timeout=0.3))
            except ModemTimeoutError:
                pass

        receivers = [threading.Thread(target=take) for _ in range(2)]
        for receiver in receivers:
            receiver.start()
        for number in range(40):
            sock.send(b"%d" % number)
        for receiver in receivers:
            receiver.join(10)
        assert sorted(got, key=int) == [b"%d" % number for number in range(40)]

    def test_a_sender_that_is_stuck_is_released_by_close(self, loopback, pki, leaf):
        stop = threading.Event()
        with tls_peer(leaf, serve=lambda _: stop.wait(20)) as peer:
            sock = loopback.socket(SslConfiguration(security=Certificates(trusted=pki.ca)))
            sock.connect(*peer.address)
            errors = []

            def pour():
                try:
                    sock.send(bytes(64 << 20))
                except ModemError as error:
                    errors.append(error)

            sender = threading.Thread(target=pour)
            sender.start()
            while sock.get_opt(Option.BYTES_SENT) < 100_000:
                pass
            sock.close()
            sender.join(10)
            assert len(errors) == 1
            assert sock.state is State.CLOSED
            stop.set()


@pytest.fixture(params=MODELS)
def over_modem(request, modems, pki):
    """A socket for applications, secured by the host over a modem's plain TCP."""
    modem = modems[request.param]
    pump = Pump(modem.attached.now)
    made, below = [], []

    def connect(peer):
        configuration = SslConfiguration(security=Certificates(trusted=pki.ca))
        sock = create_ssl_socket(modem, configuration, engine="host")
        below.append(sock)
        sock.connect(*peer.address)
        made.append(ModemSocket(sock, pump, (peer.address[0], peer.port), timeout=20))
        return made[-1]

    yield connect
    for sock in made:
        sock.close()
    pump.close()
    for sock in below:  # what the pump had not closed yet
        sock.cleanup()


class TestAdapters:
    def test_a_socket_for_applications_blocking(self, over_modem, echo):
        sock = over_modem(echo)
        sock.sendall(b"hello")
        assert sock.recv(5, socket.MSG_WAITALL) == b"hello"

    def test_selected_on_and_without_blocking(self, over_modem, echo):
        sock = over_modem(echo)
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(10)
        data, sent, got = bytes(range(256)) * 40, 0, b""
        while len(got) < len(data):
            readable, writable, _ = select.select([sock], [sock] if sent < len(data) else [], [], 10)
            assert readable or writable
            if writable:
                sent += sock.send(data[sent:])
            if readable:
                got += sock.recv(3000)
        assert got == data

    def test_the_peers_end_wakes_whoever_selects(self, over_modem, leaf):
        with tls_peer(leaf, serve=lambda each: each.unwrap() if each.recv(1) else None) as peer:
            sock = over_modem(peer)
            sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                sock.recv(1)
            sock.send(b"x")
            assert select.select([sock], [], [], 10)[0]
            assert sock.recv(10) == b""
            assert sock.end_authenticated is True

    def test_what_was_accepted_is_sent_before_it_closes(self, over_modem, leaf):
        arrived = []
        done = threading.Event()

        def take(stream):
            while data := stream.recv(65536):
                arrived.append(data)
            done.set()

        with tls_peer(leaf, serve=take) as peer:
            sock = over_modem(peer)
            sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                sock.recv(1)
            count = sock.send(bytes(5000))
            sock.close()
            assert done.wait(10)
            assert sum(map(len, arrived)) == count


class TestWeather:
    """What befalls the modem below reaches the secure socket as what it is, and leaves both usable."""

    @pytest.fixture(params=["quectel-bg95", "nordic-sm"])
    def own(self, request):
        """A modem of the test's own, to be ill-treated, of those that print something when they start."""
        with (
            embedded.open(request.param, Options.build(variants=["start=running"])) as sim,
            modemtls.open(sim.path, apn="iot.example") as modem,
        ):
            yield modem, sim

    def test_a_restart_while_receiving(self, own, pki, echo):
        modem, sim = own
        configuration = SslConfiguration(
            security=Certificates(trusted=pki.ca), session_resumption_buffer=bytearray(4096)
        )
        sock = create_ssl_socket(modem, configuration, engine="host")
        sock.connect(*echo.address)
        threading.Timer(0.05, sim.restart).start()
        for _ in range(2):
            with pytest.raises(ConnectionResetError):
                sock.receive(10)
        with pytest.raises(ConnectionResetError):
            sock.send(b"x")
        assert sock.state is State.CONNECTED
        sock.close()
        sock.connect(*echo.address)
        assert sock.get_opt(Option.SESSION_RESUMED) is True
        sock.send(b"x")
        assert sock.receive(1) == b"x"
        sock.cleanup()


def test_a_psk_through_a_modem_that_has_none(modems, psk, tmp_path):
    """``auto``: the modem first, the host where the modem lacks something."""
    from tests.support.dtls_peers import openssl_psk

    with openssl_psk(tmp_path, IDENTITY, KEY) as port:
        configuration = SslConfiguration(security=Psk(IDENTITY, KEY))
        sock = create_ssl_socket(modems["quectel-bg95"], configuration, engine="auto")
        assert sock.engine == "host"
        sock.connect("server.example", str(port))
        sock.send(b"abc\n")
        assert sock.receive(10) == b"cba\n"
        sock.cleanup()
