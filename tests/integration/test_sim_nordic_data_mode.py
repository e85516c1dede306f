"""Data mode of the simulated Nordic modems."""

from __future__ import annotations

import contextlib
import threading

import pytest

from tests.support.nordic import ERROR, OK, SLM, SM, ask, modem, udp, write
from tests.support.servers import echo, tls_service

DONE = b"\r\n#XDATAMODE: 0\r\n"
IDLE = 0.19  # s, a little more than the least at 115200


class Peer:
    """A TCP server that keeps what it gets."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.close = threading.Event()

    def serve(self, stream) -> None:
        stream.settimeout(0.02)
        while not self.close.is_set():
            with contextlib.suppress(TimeoutError):
                data = stream.recv(65536)
                if not data:
                    return
                self.got += data

    def has(self, data: bytes):
        return lambda _: bytes(self.got) == data


@contextlib.contextmanager
def connected(model: str, *variants: str):
    peer = Peer()
    with tls_service(None, peer.serve) as port, modem(model, *variants) as made:
        if model == SM:
            made.command("AT#XSOCKET=1,1,0")
            assert ask(made, f'AT#XCONNECT=0,"peer.example",{port}') == b"\r\n#XCONNECT: 0,1\r\n" + OK
        else:
            made.command("AT#XSOCKET=1,1,0")
            assert ask(made, f'AT#XCONNECT="peer.example",{port}') == b"\r\n#XCONNECT: 1\r\n" + OK
        yield made, peer
        peer.close.set()


def enter(made) -> None:
    made.write(b"AT#XSEND=0,2,0\r" if made.machine.personality.handles else b"AT#XSEND\r\n")
    assert made.read() == OK


@pytest.mark.parametrize("model", [SLM, SM])
def test_everything_is_payload_until_the_escape(model):
    with connected(model) as (made, peer):
        enter(made)
        data = bytes(range(256)) + b"AT\r\nOK\r\n++ + ++x"
        made.write(data)
        assert made.read() == b""
        made.advance(IDLE)
        made.settle(peer.has(data))
        made.write(b"more+++")  # no guard time
        assert made.read() == DONE
        made.settle(peer.has(data + b"more"))
        assert made.command("AT") == OK


@pytest.mark.parametrize("cut", range(8))
def test_the_escape_cut_anywhere(cut):
    with connected(SM) as (made, peer):
        enter(made)
        for piece in (b"a+++AT\r"[:cut], b"a+++AT\r"[cut:]):
            made.write(piece)
        assert made.read() == DONE + OK
        made.settle(peer.has(b"a"))


def test_part_of_an_escape_is_data_when_silence_follows():
    with connected(SM) as (made, peer):
        enter(made)
        made.write(b"++")
        made.advance(IDLE)
        made.settle(peer.has(b"++"))
        made.write(b"+")
        made.advance(IDLE)
        made.settle(peer.has(b"+++"))
        made.write(b"++a+++")
        assert made.read() == DONE
        made.settle(peer.has(b"+++++a"))


def test_a_length_ends_it_and_the_escape_is_not_looked_for():
    with connected(SM) as (made, peer):
        made.write(b"AT#XSEND=0,2,0,10\r")
        assert made.read() == OK
        made.write(b"+++12+++")
        assert made.read() == b""
        made.write(b"34AT\r")
        assert made.read() == DONE + OK
        made.settle(peer.has(b"+++12+++34"))
        made.write(b"AT#XSEND=0,2,0,3\rabcAT\r")  # all at once
        assert made.read() == OK + DONE + OK
        made.settle(peer.has(b"+++12+++34abc"))


def test_the_second_half_of_a_crlf_is_payload():
    """The Serial Modem ends lines at CR: who ends them with CR LF sends the LF along."""
    with connected(SM) as (made, peer):
        made.write(b"AT#XSEND=0,2,0,3\r\nabc")
        assert made.read() == OK + DONE
        made.settle(peer.has(b"\nab"))


@pytest.mark.parametrize(("variant", "datagrams"), [("sends", [b"ab", b"cd"]), ("waits", [b"abcd"])])
def test_silence_before_the_length_is_reached(variant, datagrams):
    with udp() as peer, modem(SM, f"datamode-length={variant}") as made:
        made.command("AT#XSOCKET=1,2,0")
        ask(made, f'AT#XCONNECT=0,"peer.example",{peer.getsockname()[1]}')
        made.write(b"AT#XSEND=0,2,0,4\r")
        made.write(b"ab")
        made.advance(IDLE)
        made.write(b"cd")
        assert made.read() == OK + DONE
        assert [peer.recv(100) for _ in datagrams] == datagrams


@pytest.mark.parametrize("model", [SLM, SM])
def test_one_pause_one_datagram(model):
    with udp() as peer, modem(model) as made:
        port = peer.getsockname()[1]
        made.command("AT#XSOCKET=1,2,0")
        command = "AT#XSENDTO=0,2,0," if model == SM else "AT#XSENDTO="
        write(made, f'{command}"peer.example",{port}')
        assert made.read() == OK
        for data in (b"one", b"+two"):
            made.write(data)
            made.advance(IDLE)
            made.settle(lambda _: True)
            made.advance(0.1)
            assert peer.recv(100) == data
        made.write(b"+++")
        made.settle(lambda out: out == DONE)


def test_a_datagram_that_is_too_large_ends_badly():
    with udp() as peer, modem(SM) as made:
        made.command("AT#XSOCKET=1,2,0")
        ask(made, f'AT#XCONNECT=0,"peer.example",{peer.getsockname()[1]}')
        made.write(b"AT#XSEND=0,2,0\r")
        made.write(b"x" * 4096)
        assert made.read() == OK + b"+++"  # the buffer is full
        made.write(b"anything+++")
        assert made.read() == b"\r\n#XDATAMODE: -1\r\n"
        made.write(b"AT#XSEND=0,2,0\r")
        made.write(b"x" * 1253)
        made.advance(IDLE)
        made.write(b"+++")
        assert made.read() == OK + b"\r\n#XDATAMODE: -1\r\n"
        peer.settimeout(0.05)
        with pytest.raises(TimeoutError):
            peer.recv(10)


def test_the_idle_time_can_be_set():
    with connected(SM) as (made, peer):
        assert made.command("AT#XDATACTRL?") == b"\r\n#XDATACTRL: 188,188\r\n" + OK
        assert made.command("AT#XDATACTRL=187") == ERROR
        assert made.command("AT#XDATACTRL=1000") == OK
        assert made.command("AT#XDATACTRL?") == b"\r\n#XDATACTRL: 1000,188\r\n" + OK
        enter(made)
        made.write(b"a")
        made.advance(0.9)
        assert peer.got == b""
        made.advance(0.2)
        made.settle(peer.has(b"a"))


def test_a_full_buffer_is_sent_without_a_pause():
    with connected(SM) as (made, peer):
        enter(made)
        made.write(b"x" * 5000)
        made.settle(peer.has(b"x" * 4096))
        made.write(b"+++")
        assert made.read() == DONE
        made.settle(peer.has(b"x" * 5000))


@pytest.mark.parametrize(("model", "report"), [(SLM, b"\r\n#XDATAMODE: -128\r\n"), (SM, b"\r\n#XDATAMODE: -1\r\n")])
def test_the_socket_breaks_meanwhile(model, report):
    with connected(model, "datamode-break=plus") as (made, peer):
        enter(made)
        peer.close.set()
        assert made.settle(lambda out: out == b"+++") == b"+++"
        made.write(b"AT\r\nthis is lost ++")
        made.advance(5)
        assert made.read() == b""
        made.write(b"+++")
        assert made.read() == report
        assert made.command("AT") == OK


def test_the_socket_breaks_and_the_modem_leaves_by_itself():
    with connected(SLM, "datamode-break=leaves") as (made, peer):
        enter(made)
        peer.close.set()
        assert made.settle(lambda out: out.endswith(b"\r\n")) == b"\r\n#XDATAMODE: -128\r\n"
        assert made.command("AT") == OK


def test_a_peer_that_ends_behind_its_answer_does_not_end_the_data_mode_of_a_socket_that_nobody_polls():
    with connected(SLM) as (made, peer):
        enter(made)
        made.write(b"question")
        made.advance(IDLE)
        made.settle(peer.has(b"question"))
        peer.close.set()
        made.settle(lambda _: made.machine.personality.sockets.table[1].ended)
        assert made.read() == b""
        made.write(b"+++")
        assert made.read() == DONE


@pytest.mark.parametrize(
    ("variants", "entry", "exit_"),
    [
        (("datamode-entry=none",), b"", DONE),
        (("datamode-exit=plain",), OK, OK),
        (("datamode-entry=none", "datamode-exit=plain"), b"", OK),
        (("datamode-urc=yes",), OK, b"\r\n#XDATAMODE: 3\r\n" + DONE),
    ],
)
def test_old_builds(variants, entry, exit_):
    with connected(SLM, *variants) as (made, peer):
        made.write(b"AT#XSEND\r\n")
        assert made.read() == entry
        made.write(b"abc+++")
        assert made.read() == exit_
        made.settle(peer.has(b"abc"))


def test_urcs_wait_for_the_end_of_data_mode():
    with connected(SM) as (made, _):
        enter(made)
        made.machine.personality.urc("#XTEST: 1")
        made.advance(5)
        assert made.read() == b""
        made.write(b"+++")
        assert made.read() == DONE + b"\r\n#XTEST: 1\r\n"


def test_what_is_received_in_data_mode():
    with tls_service(None, echo) as port, modem(SM) as made:
        made.command("AT#XSOCKET=1,1,0")
        ask(made, f'AT#XCONNECT=0,"peer.example",{port}')
        made.command("AT#XRECVCFG=0,2")
        enter(made)
        made.write(b"abc")
        made.advance(IDLE)
        assert made.expect(b"abc") == b"abc"  # the payload alone
        made.write(b"def+++")
        assert made.read() == DONE
        assert ask(made, "AT#XRECV=0,0,0,5") == b"\r\n#XRECV: 0,0,3\r\ndef" + OK


def test_what_follows_waits_for_the_last_block():
    with udp() as peer, modem(SM) as made:
        made.command("AT#XSOCKET=1,2,0")
        made.write(f'AT#XSENDTO=0,2,0,"peer.example",{peer.getsockname()[1]},3\r'.encode() + b"abcAT+CMEE?\r")
        assert made.read() == OK  # the name is being resolved
        made.advance(1)
        assert made.read() == DONE + b"\r\n+CMEE: 0\r\n" + OK
        assert peer.recv(10) == b"abc"


def test_data_mode_needs_a_connection():
    for model, line in ((SM, "AT#XSEND=0,2,0"), (SLM, "AT#XSEND")):
        with modem(model) as made:
            made.command("AT#XSOCKET=1,1,0")
            assert made.command(line) == ERROR
    with connected(SM) as (made, _):
        for line in ("AT#XSEND=0,2,0,0", "AT#XSEND=0,2,4", 'AT#XSENDTO=0,2,0,"a.example",1'):
            assert made.command(line) == ERROR


def test_a_send_that_fails_is_reported_at_the_end():
    with connected(SM) as (made, peer):
        enter(made)
        made.machine.send_failures = 1
        made.write(b"abcd")
        made.advance(IDLE)
        made.write(b"ef+++")
        assert made.read() == b"\r\n#XDATAMODE: -1\r\n"
        made.settle(peer.has(b"abef"))
