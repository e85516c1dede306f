"""Ctrl-C at every place where Python looks for it, in every operation of a socket; against the simulated modem."""

from __future__ import annotations

import gc
import select
import signal
import socket
import ssl
import threading

import pytest

import modemtls
from tests.support import servers
from tests.support.interrupting import EVERYWHERE, strike

# A socket whose making or closing was interrupted is one that nobody closed.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(scope="module", autouse=True)
def little_to_look_through():
    """Garbage is collected after each place, and what the tests before have left is none of it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def echo():
    server = socket.create_server(("127.0.0.1", 0))

    def serve(peer):
        with peer:
            try:
                while data := peer.recv(1 << 16):
                    peer.sendall(data)
            except OSError:
                pass

    def accept():
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(peer,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()


@pytest.fixture(scope="module")
def secure(pki):
    """The port of a TLS server, and what it takes to trust it."""
    leaf = pki.leaf("secure.example")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(leaf.cert, leaf.key)
    with servers.tls_service(context, servers.echo) as port:
        yield port, modemtls.TLSConfig(ca=pki.ca, check_dates=False)


@pytest.fixture
def modem(echo, secure):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    names = f"map=echo.example=127.0.0.1:{echo}&map=secure.example=127.0.0.1:{secure[0]}"
    with modemtls.open(f"sim:quectel-bg95?{names}") as made:
        fresh(made).close()
        yield made
        gc.collect()
    signal.signal(signal.SIGINT, before)


def fresh(modem, **options):
    sock = modem.connect(("echo.example", 7), tls=None, timeout=20, **options)
    sock.settimeout(3)
    return sock


def in_thread(work):
    """Do work in another thread, for which a lock of this one is a lock; return what it gives or raises."""
    box = []

    def run():
        try:
            box.append(work())
        except OSError as error:
            box.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(10)
    return box[0] if box else "still at it"


def settled(modem):
    """Whether the modem has all its socket numbers back."""
    attached = modem.attached
    return attached.channel.wait(lambda: not attached.slots.slots(), attached.now() + 2)


def everywhere(prepare, operate, check, *, step=1, least=50, within=EVERYWHERE):
    """Try place after place until there are no more, ``least`` for certain; return what was wrong."""
    wrong = []
    nth = 1
    while True:
        given = prepare()
        one = strike(nth, lambda given=given: operate(given), within=within)
        found = check(given, one)
        if found:
            wrong.append(f"{found} after {one}")
        if not one.struck:
            assert nth > least, "this does not look as if everything was tried"
            return wrong
        nth += step


def receive_everywhere(modem, prepare, size, expected, **options):
    def check(sock, one):
        try:
            got = b"" if one.interrupted else one.result
            while len(got) < len(expected):
                more = in_thread(lambda: sock.recv(size))
                if not isinstance(more, bytes):
                    return f"{got!r} and then {more!r}"
                got += more
            return None if got == expected else f"{got!r} was received"
        finally:
            sock.close()

    assert everywhere(prepare, lambda sock: sock.recv(size), check, **options) == []


def test_receiving(modem):
    def prepare():
        sock = fresh(modem)
        sock.sendall(b"ping")
        return sock

    receive_everywhere(modem, prepare, 100, b"ping")


def test_receiving_part_of_what_is_there(modem):
    def prepare():
        sock = fresh(modem)
        sock.sendall(b"ping")
        assert sock.recv(1) == b"p"
        return sock

    receive_everywhere(modem, prepare, 2, b"ing", least=5)


def test_receiving_what_was_pushed(modem):
    def prepare():
        sock = fresh(modem, receive="push")
        sock.sendall(b"ping")
        return sock

    receive_everywhere(modem, prepare, 3, b"ping", least=10)


def test_receiving_what_was_read_ahead(modem):
    def prepare():
        sock = fresh(modem)
        sock.sendall(b"ping")
        assert select.select([sock], [], [], 3)[0]
        return sock

    receive_everywhere(modem, prepare, 3, b"ping", least=8)


def test_sending(modem):
    def check(sock, one):
        try:
            if one.interrupted:
                # Either it can go on, or it says why not; nobody waits for ever.
                got = in_thread(lambda: sock.send(b"more"))
                return None if got == 4 or isinstance(got, ConnectionError) else f"{got!r}"
            return repr(one.error) if one.error else None
        finally:
            sock.close()

    assert everywhere(lambda: fresh(modem), lambda sock: sock.sendall(b"hello" * 10), check) == []


def test_closing_again(modem):
    def check(sock, one):
        sock.close()
        return None if settled(modem) else "the number is not free"

    assert everywhere(lambda: fresh(modem), lambda sock: sock.close(), check) == []


def test_closing_and_forgetting(modem):
    box = []

    def prepare():
        box.append(fresh(modem))

    def close(_):
        box[0].close()

    def check(_, one):
        box.clear()
        gc.collect()
        return None if settled(modem) else "the number is not free"

    assert everywhere(prepare, close, check) == []


@pytest.mark.parametrize(
    ("within", "step"),
    [(EVERYWHERE, 7), (("/net/", "/sockets/", "/modem/sockets.py", "/modem/slots.py", "/modemtls/api.py"), 2)],
    ids=["everywhere", "where numbers are given out"],
)
def test_connecting(modem, within, step):
    def check(_, one):
        if one.result is not None:
            one.result.close()
        gc.collect()
        # What was reserved and not used is found by the next who connects.
        fresh(modem).close()
        return None if settled(modem) else "the number is not free"

    assert everywhere(lambda: None, lambda _: fresh(modem), check, step=step, within=within) == []


def test_connecting_with_tls(modem, secure):
    def connect(_):
        return modem.connect(("secure.example", 443), tls=secure[1], timeout=20)

    def check(_, one):
        if one.result is not None:
            one.result.close()
        gc.collect()
        connect(None).close()
        attached = modem.attached
        attached.channel.raise_doubt("so that the settings are read back again")
        if not settled(modem):
            return "the number is not free"
        return "a context is in use" if attached.contexts.names_in_use() else None

    within = ("/modem/contexts.py", "/modem/interfaces.py", "/contextlib.py")
    assert everywhere(lambda: None, connect, check, within=within) == []
