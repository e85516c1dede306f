"""Bad weather for sockets: interruptions, time-outs, restarts, unplugging; nothing is lost, doubled or left behind."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
import select
import signal
import socket
import ssl
import threading
import time

import pytest

import modemtls
from modemtls.sim import embedded
from tests.support import servers

NAME = "server.example"
DATA = bytes(range(256)) * 400


@contextlib.contextmanager
def modem_and_sim(*variants, **options):
    from modemtls.sim.options import Options

    with (
        embedded.open("quectel-bg95", Options.build(variants=["start=running", *variants], **options)) as sim,
        modemtls.open(sim.path, apn="iot.example") as modem,
    ):
        yield modem, sim


@pytest.fixture(scope="module")
def leaf(pki):
    return pki.leaf(NAME)


@pytest.fixture(scope="module")
def tls(pki):
    return modemtls.TLSConfig(ca=pki.ca)


@contextlib.contextmanager
def service(leaf, serve):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert, leaf.key)
    with servers.tls_service(context, serve) as port:
        yield port


def until_its_end(stream):
    got = b""
    while piece := stream.recv(65536):
        got += piece
    return got


def until_true(condition):
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end


def pour(stream):
    stream.sendall(DATA)
    stream.settimeout(10)
    with contextlib.suppress(OSError):
        stream.recv(1)  # until the other end goes


@contextlib.contextmanager
def ctrl_c_every(seconds):
    """Press Ctrl-C again and again; it counts only while the driver is getting data.

    Between the driver's return and the test's own variable Python itself would lose what any socket had received.
    """

    def handler(number, frame):
        while frame is not None:
            if frame.f_code.co_name == "_await_data":
                raise KeyboardInterrupt
            frame = frame.f_back

    def press():
        while not stop.wait(seconds):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    stop = threading.Event()
    before = signal.signal(signal.SIGINT, handler)
    thread = threading.Thread(target=press)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        signal.signal(signal.SIGINT, before)


class TestInterruptions:
    @pytest.mark.parametrize("every", [0.0007, 0.0023])
    def test_ctrl_c_while_receiving_loses_nothing(self, leaf, tls, every):
        enough = threading.Event()

        def pour_on(stream):
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)  # little is under way when it is enough
            while not enough.is_set():
                stream.sendall(DATA)

        with modem_and_sim("latency=0.001") as (modem, _), service(leaf, pour_on) as port:
            sock = modem.connect((NAME, port), tls=tls, timeout=20)
            got, count = b"", 0
            with ctrl_c_every(every):
                while True:
                    try:
                        piece = sock.recv(3000)
                    except KeyboardInterrupt:
                        count += 1
                        if count > 10:
                            enough.set()
                        continue
                    if not piece:
                        break
                    got += piece
            assert got == DATA * (len(got) // len(DATA))
            assert count > 10
            sock.close()

    def test_ctrl_c_while_sending_leaves_a_prefix_and_a_usable_modem(self, leaf, tls):
        arrived = bytearray()
        done = threading.Event()

        def take(stream):
            with contextlib.suppress(OSError):
                while data := stream.recv(65536):
                    arrived.extend(data)
            done.set()

        with modem_and_sim("latency=0.002") as (modem, _), service(leaf, take) as port:
            sock = modem.connect((NAME, port), tls=tls, timeout=20)
            timer = threading.Timer(0.05, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT))
            timer.start()
            with pytest.raises(KeyboardInterrupt):
                sock.sendall(DATA)
            timer.join()
            with pytest.raises(ConnectionResetError, match="earlier send"):
                sock.sendall(b"more")
            sock.close()
            assert done.wait(10)
            assert 0 < len(arrived) < len(DATA)
            assert arrived == DATA[: len(arrived)]
            with modem.connect((NAME, port), tls=tls, timeout=20) as again:
                again.sendall(b"x")

    def test_ctrl_c_while_connecting(self, leaf, tls):
        with modem_and_sim("open-time=0.2") as (modem, sim), service(leaf, servers.echo) as port:
            modem.bring_up()
            timer = threading.Timer(0.1, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT))
            timer.start()
            with pytest.raises(KeyboardInterrupt):
                modem.connect((NAME, port), tls=tls, timeout=20)
            timer.join()
            sim.until(lambda machine: any(line.startswith("AT+QSSLCLOSE") for line in machine.trace.commands))
            opened, closed = ([c for c in sim.commands if c.startswith(f"AT+QSSL{w}")] for w in ("OPEN", "CLOSE"))
            assert len(opened) == len(closed) == 1  # nothing is left behind in the modem
            with modem.connect((NAME, port), tls=tls, timeout=20) as sock:
                sock.sendall(b"x")
                assert sock.recv(1) == b"x"


class TestTimeouts:
    def test_short_timeouts_while_data_flows_lose_nothing(self, leaf, tls):
        with modem_and_sim("latency=0.0015") as (modem, _), service(leaf, pour) as port:
            sock = modem.connect((NAME, port), tls=tls, timeout=20)
            got, late = bytearray(), 0
            sock.settimeout(0.001)
            while len(got) < len(DATA):
                try:
                    got += sock.recv(3000)
                except TimeoutError:
                    late += 1
            assert bytes(got) == DATA
            assert late > 3
            sock.settimeout(20)
            sock.close()

    @pytest.mark.parametrize("timeout", [1e10, float("inf")])
    def test_longer_than_anybody_can_wait(self, leaf, tls, timeout):
        with modem_and_sim() as (modem, _), service(leaf, servers.echo) as port:
            modem.bring_up(timeout=timeout)
            modem.info(timeout=timeout)
            with modem.connect((NAME, port), tls=tls, timeout=timeout) as sock:
                sock.sendall(b"abc")
                assert sock.recv(3, socket.MSG_WAITALL) == b"abc"
                sock.send(b"def" * 1000, socket.MSG_DONTWAIT)
                sock.sendall(b"ghi")
                assert sock.recv(3003, socket.MSG_WAITALL) == b"def" * 1000 + b"ghi"

    def test_a_connect_that_takes_too_long(self, leaf, tls):
        with modem_and_sim("open-time=0.3") as (modem, _), service(leaf, servers.echo) as port:
            modem.bring_up()
            modem.connect((NAME, port), tls=tls, timeout=20).close()
            began = time.monotonic()
            with pytest.raises(TimeoutError):
                modem.connect((NAME, port), tls=tls, timeout=0.05)
            assert time.monotonic() - began < 0.25
            with modem.connect((NAME, port), tls=tls, timeout=20) as sock:
                sock.sendall(b"x")
                assert sock.recv(1) == b"x"


class TestRoom:
    """The modem's sockets and contexts that are on their way out are waited for; those in use are not."""

    @staticmethod
    def drop(sock):
        sock.setblocking(False)
        sock.close()

    @staticmethod
    def forget(sock):
        pass

    @pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
    @pytest.mark.parametrize("end", [drop, forget])
    def test_a_socket_that_is_being_closed_makes_room(self, leaf, tls, end):
        with modem_and_sim() as (modem, _), service(leaf, servers.echo) as port:
            open_ = [modem.connect((NAME, port), tls=tls, timeout=20) for _ in range(12)]
            for _ in range(3):
                end(open_.pop(0))
                open_.append(modem.connect((NAME, port), tls=tls, timeout=20))
            for number, sock in enumerate(open_):
                sock.sendall(b"%02d" % number)
                assert sock.recv(2, socket.MSG_WAITALL) == b"%02d" % number
            end(open_.pop(0))
            open_.append(modem.connect((NAME, port), tls=tls))  # without a time-out, too
            began = time.monotonic()
            with pytest.raises(OSError, match="all 12 tls sockets") as caught:
                modem.connect((NAME, port), tls=tls, timeout=20)
            assert caught.value.errno == errno.EMFILE
            assert time.monotonic() - began < 1
            for sock in open_:
                sock.close()

    @pytest.mark.parametrize("close", [drop, modemtls.ModemSocket.close])
    def test_so_does_its_context(self, leaf, pki, close):
        with modem_and_sim() as (modem, _), service(leaf, servers.echo) as port:

            def connect(seconds):
                tls = modemtls.TLSConfig(ca=pki.ca, handshake_timeout=seconds)
                return modem.connect((NAME, port), tls=tls, timeout=20)

            open_ = [connect(20 + n) for n in range(6)]
            for n in range(3):
                closing = threading.Thread(target=close, args=(open_.pop(0),))
                closing.start()
                if close is not modemtls.ModemSocket.close:
                    closing.join()
                else:
                    until_true(lambda t=closing: modem.attached.sockets.leaving or not t.is_alive())
                open_.append(connect(30 + n))
                closing.join()
            began = time.monotonic()
            with pytest.raises(OSError, match="all 6 TLS contexts"):
                connect(99)
            assert time.monotonic() - began < 1
            for sock in open_:
                sock.close()

    def test_one_that_takes_longer_than_the_caller_has(self, leaf, tls):
        with modem_and_sim() as (modem, sim), service(leaf, servers.echo) as port:

            def lag(seconds):
                sim.call(lambda machine: setattr(machine.interpreter, "_latency", seconds))

            open_ = [modem.connect((NAME, port), tls=tls, timeout=60) for _ in range(12)]
            lag(0.3)
            self.drop(open_.pop())
            began = time.monotonic()
            with pytest.raises(OSError, match="all 12 tls sockets"):
                modem.connect((NAME, port), tls=tls, timeout=0.1)
            assert 0.09 < time.monotonic() - began < 0.29
            lag(0)
            open_.append(modem.connect((NAME, port), tls=tls, timeout=20))
            for sock in open_:
                sock.close()

    def test_many_at_once_take_turns(self, leaf, tls):
        with modem_and_sim() as (modem, _), service(leaf, servers.echo) as port:
            done = []

            def work():
                for _ in range(3):
                    sock = modem.connect((NAME, port), tls=tls, timeout=30)
                    sock.sendall(b"x")
                    done.append(sock.recv(1))
                    self.drop(sock)

            threads = [threading.Thread(target=work) for _ in range(12)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert done == [b"x"] * 36


class TestLosses:
    def test_unplugged_while_receiving(self, leaf, tls):
        with modem_and_sim() as (modem, sim), service(leaf, servers.echo) as port:
            blocked = modem.connect((NAME, port), tls=tls, timeout=20)
            selecting = modem.connect((NAME, port), tls=tls, timeout=20)
            selecting.setblocking(False)
            assert not select.select([selecting], [], [], 0)[0]
            threading.Timer(0.05, lambda: sim.fault_now("unplug")).start()
            began = time.monotonic()
            with pytest.raises(modemtls.PortLostError) as caught:
                blocked.recv(1)
            assert isinstance(caught.value, ConnectionResetError)
            assert select.select([selecting], [], [], 5)[0]
            assert time.monotonic() - began < 5
            for call in (lambda: selecting.recv(1), lambda: selecting.send(b"x"), lambda: blocked.sendall(b"x")):
                with pytest.raises(modemtls.PortLostError):
                    call()
            blocked.close()
            selecting.close()

    def test_restarted_while_receiving_and_then_used_again(self, leaf, tls):
        with modem_and_sim() as (modem, sim), service(leaf, servers.echo) as port:
            sock = modem.connect((NAME, port), tls=tls, timeout=20)
            threading.Timer(0.05, sim.restart).start()
            with pytest.raises(modemtls.ModemRestartedError):
                sock.recv(1)
            with pytest.raises(modemtls.ModemRestartedError):
                sock.send(b"x")
            sock.close()
            with modem.connect((NAME, port), tls=tls, timeout=20) as again:
                again.sendall(b"after")
                assert again.recv(10) == b"after"
            levels = [line for line in sim.commands if re.fullmatch(r'AT\+QSSLCFG="seclevel",\d,1', line)]
            assert len(levels) == 2  # written anew, not believed

    def test_the_bearer_goes(self, leaf, tls):
        with modem_and_sim() as (modem, sim), service(leaf, servers.echo) as port:
            sock = modem.connect((NAME, port), tls=tls, timeout=20)
            sock.setblocking(False)
            assert not select.select([sock], [], [], 0)[0]
            sim.fault_now("pdpdeact", "1")
            assert select.select([sock], [], [], 5)[0]
            with pytest.raises(modemtls.PdpError):
                sock.recv(1)
            sock.close()
            with modem.connect((NAME, port), tls=tls, timeout=20) as again:
                again.sendall(b"after")
                assert again.recv(10) == b"after"


class TestModemClosed:
    def test_whoever_waits_hears_of_it_at_once(self, leaf, tls):
        with modem_and_sim() as (modem, _), service(leaf, servers.echo) as port:
            selected = modem.connect((NAME, port), tls=tls, timeout=20)
            blocked = modem.connect((NAME, port), tls=tls, timeout=20)
            idle = modem.connect((NAME, port), tls=tls, timeout=20)
            selected.setblocking(False)
            assert select.select([selected], [selected], [], 0) == ([], [selected], [])
            failures = []

            def receive():
                with pytest.raises(ConnectionError) as caught:
                    blocked.recv(1)
                failures.append(caught.value)

            receiver = threading.Thread(target=receive)
            receiver.start()
            threading.Timer(0.05, modem.close).start()
            began = time.monotonic()
            assert select.select([selected], [], [], 10)[0] == [selected]
            assert time.monotonic() - began < 1
            receiver.join(1)
            assert "closed" in str(failures[0])
            for sock in (selected, idle, blocked):
                for call in (lambda s=sock: s.recv(1), lambda s=sock: s.send(b"x"), lambda s=sock: s.recv(1)):
                    with pytest.raises(ConnectionError, match="closed"):
                        call()
                assert select.select([sock], [sock], [], 0) == ([sock], [sock], [])
                sock.close()

    def test_what_had_arrived_can_still_be_read(self, leaf, tls):
        with modem_and_sim() as (modem, _), service(leaf, servers.echo) as port:
            sock = modem.connect((NAME, port), tls=tls, timeout=20)
            sock.sendall(b"abc")
            assert select.select([sock], [], [], 10)[0]
            modem.close()
            assert sock.recv(10) == b"abc"
            with pytest.raises(ConnectionError, match="closed"):
                sock.recv(10)
            sock.close()

    def test_asyncio(self, leaf, tls):
        async def main(modem, port):
            sock = modem.connect((NAME, port), tls=tls, timeout=20)
            sock.setblocking(False)
            reader, writer = await asyncio.open_connection(sock=sock)
            asyncio.get_running_loop().call_later(0.05, modem.close)
            with pytest.raises(ConnectionError, match="closed"):
                await asyncio.wait_for(reader.read(10), 5)
            writer.write(b"lost")
            with pytest.raises(ConnectionError):
                await asyncio.wait_for(writer.drain(), 5)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

        with modem_and_sim() as (modem, _), service(leaf, servers.echo) as port:
            asyncio.run(main(modem, port))

    def test_what_had_been_accepted_is_sent_first(self, leaf, tls):
        got = []
        with modem_and_sim() as (modem, _), service(leaf, lambda stream: got.append(until_its_end(stream))) as port:
            sock = modem.connect((NAME, port), tls=tls, timeout=20)
            sock.setblocking(False)
            assert sock.send(DATA[:7000]) == 7000
            modem.close()
            until_true(lambda: got)
            assert got == [DATA[:7000]]
            sock.close()


class TestSending:
    @pytest.mark.parametrize("blocking", [True, False])
    def test_a_full_send_buffer_is_waited_for_and_nothing_is_doubled(self, leaf, tls, blocking):
        with modem_and_sim() as (modem, sim), service(leaf, servers.echo) as port:
            sock = modem.connect((NAME, port), tls=tls, timeout=20)
            sim.fault_now("sendfail", "2")
            sock.setblocking(blocking)
            view = memoryview(DATA[:5000])
            while view:
                select.select([], [sock], [], 10)
                view = view[sock.send(view) :]
            sock.settimeout(20)
            got = b""
            while len(got) < 5000:
                got += sock.recv(4096)
            assert got == DATA[:5000]
            sock.close()


class TestVariants:
    """What the documents leave open about the end of a connection."""

    @pytest.mark.parametrize("receive", ["buffered", "push"])
    @pytest.mark.parametrize(
        "variant",
        ["closed-urc=glued", "recv-again=zero-read", "push-trailer=no", "prompt=no-space", "prompt=crlf-after"],
    )
    def test_all_data_then_the_end(self, leaf, tls, variant, receive):
        def serve(stream):
            stream.recv(5)
            stream.sendall(DATA[:20000])

        with modem_and_sim(variant) as (modem, _), service(leaf, serve) as port:
            for selecting in (False, True):
                with modem.connect((NAME, port), tls=tls, timeout=20, receive=receive) as sock:
                    sock.sendall(b"begin")
                    got = b""
                    while True:
                        if selecting:
                            assert select.select([sock], [], [], 10)[0]
                        piece = sock.recv(3000)
                        if not piece:
                            break
                        got += piece
                    assert got == DATA[:20000]


class TestCommands:
    def test_an_open_and_two_questions_from_connect_to_usable_once_context_and_ca_are_there(self, leaf, tls):
        with modem_and_sim() as (modem, sim), service(leaf, servers.echo) as port:
            modem.connect((NAME, port), tls=tls, timeout=20).close()
            before = len(sim.commands)
            with modem.connect((NAME, port), tls=tls, timeout=20) as sock:
                assert len(sim.commands) - before == 3
                sock.sendall(b"x")
                assert sock.recv(1) == b"x"
