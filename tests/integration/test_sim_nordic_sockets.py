"""Plain sockets of the simulated Serial Modem (handles), against real peers."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from tests.support.nordic import ERROR, OK, SM, ask, modem, udp, write
from tests.support.servers import echo, free_port, tls_service


@contextlib.contextmanager
def echo_modem(*variants, serve=echo, **options):
    """A modem with socket 0 connected to a server."""
    with tls_service(None, serve) as port, modem(SM, *variants, **options) as made:
        assert made.command("AT#XSOCKET=1,1,0") == b"\r\n#XSOCKET: 0,1,6\r\n" + OK
        assert ask(made, f'AT#XCONNECT=0,"peer.example",{port}') == b"\r\n#XCONNECT: 0,1\r\n" + OK
        yield made


def test_text_and_hex_both_ways():
    with echo_modem() as made:
        assert ask(made, 'AT#XSEND=0,0,0,"ping"') == b"\r\n#XSEND: 0,0,4\r\n" + OK
        assert ask(made, "AT#XRECV=0,0,0,10") == b"\r\n#XRECV: 0,0,4\r\nping" + OK
        assert ask(made, 'AT#XSEND=0,1,0,"00FF0d0a2c22"') == b"\r\n#XSEND: 0,0,6\r\n" + OK
        assert ask(made, "AT#XRECV=0,1,0,10") == b"\r\n#XRECV: 0,1,6\r\n00ff0d0a2c22" + OK
        assert ask(made, 'AT#XSEND=0,1,512,"2b2b2b"') == b"\r\n#XSEND: 0,0,3\r\n" + OK  # until acknowledged
        assert ask(made, "AT#XRECV=0,0,0,10") == b"\r\n#XRECV: 0,0,3\r\n+++" + OK
        assert ask(made, "AT#XCLOSE=0") == b"\r\n#XCLOSE: 0,0\r\n" + OK
        assert ask(made, "AT#XCLOSE=0") == ERROR


def test_receive_flags_and_limits():
    with echo_modem() as made:
        ask(made, 'AT#XSEND=0,0,0,"0123456789"')
        assert ask(made, "AT#XRECV=0,0,2,10,4") == b"\r\n#XRECV: 0,0,4\r\n0123" + OK  # peek
        assert ask(made, "AT#XRECV=0,0,0,10,4") == b"\r\n#XRECV: 0,0,4\r\n0123" + OK
        assert ask(made, "AT#XRECV=0,0,256,10,6") == b"\r\n#XRECV: 0,0,6\r\n456789" + OK
        assert ask(made, "AT#XRECV=0,0,64,0") == ERROR  # nothing there, and not to wait
        assert ask(made, "AT#XRECV=0,0,256,1,6") == ERROR
        for line in ("0,0,4,0", "0,2,0,0", "0,0,0,0,2049", "1,0,0,0", "0,0,0"):
            assert ask(made, f"AT#XRECV={line}") == ERROR


def test_a_receive_that_waits_blocks_the_line():
    with echo_modem() as made:
        write(made, "AT#XRECV=0,0,0,2")
        write(made, "AT")
        assert made.read() == b""
        made.advance(1.9)
        assert made.read() == b""
        made.advance(0.2)
        assert made.read() == ERROR + OK


def test_the_peer_ends():
    def serve(stream):
        stream.recv(100)
        stream.sendall(b"last")

    with echo_modem(serve=serve) as made:
        assert made.command("AT#XAPOLL=0,1,1") == OK
        told = ask(made, 'AT#XSEND=0,0,0,"x"')
        assert told.startswith(b"\r\n#XSEND: 0,0,1\r\n" + OK)
        told += made.settle(lambda _: made.machine.personality.sockets.table[0].ended)
        assert told.count(b"#XAPOLL: 0,1") in {1, 2}  # 1 and 16, or 17
        assert ask(made, "AT#XRECV=0,0,0,5") == b"\r\n#XRECV: 0,0,4\r\nlast" + OK
        assert ask(made, "AT#XRECV=0,0,0,5") == OK  # closed and drained: no information line
        assert ask(made, "AT#XRECV=0,0,64,0") == OK
        assert ask(made, 'AT#XSEND=0,0,0,"x"') == ERROR


def test_what_goes_wrong_when_connecting():
    with modem(SM) as made:
        made.command("AT#XSOCKET=1,1,0")
        assert ask(made, f'AT#XCONNECT=0,"peer.example",{free_port()}') == ERROR
        assert "ECONNREFUSED" in made.machine.trace.notes[-1]
        assert ask(made, 'AT#XCONNECT=0,"peer.example",1') == ERROR  # a socket that has failed stays so
        for line in (
            '0,"no.such.invalid",80',
            '1,"a.example",80',
            '0,"a.example",0',
            '0,"a.example"',
            "0,a.example,80",
        ):
            assert ask(made, f"AT#XCONNECT={line}") == ERROR
        assert ask(made, 'AT#XSEND=0,0,0,"x"') == ERROR
        assert ask(made, "AT#XRECV=0,0,0,1") == ERROR
    with modem(SM, online=False) as made:
        assert made.command("AT#XSOCKET=1,1,0") == b"\r\n#XSOCKET: 0,1,6\r\n" + OK
        assert ask(made, 'AT#XCONNECT=0,"peer.example",1') == ERROR
        assert "ENETDOWN" in " ".join(made.machine.trace.notes)


def test_connecting_again_after_a_failure_may_work():
    with tls_service(None, echo) as port, modem(SM, "connect-again=tries") as made:
        made.command("AT#XSOCKET=1,1,0")
        assert ask(made, f'AT#XCONNECT=0,"peer.example",{free_port()}') == ERROR
        assert ask(made, f'AT#XCONNECT=0,"peer.example",{port}') == b"\r\n#XCONNECT: 0,1\r\n" + OK
        assert ask(made, f'AT#XCONNECT=0,"peer.example",{port}') == ERROR  # it is connected


@pytest.mark.parametrize(
    "line",
    [
        '0,0,0,"a"b"c"', "0,0,0,abc", '0,1,0,"abc"', '0,1,0,"xy"', '0,1,0,"00 1"', '0,3,0,"a"', '0,0,1,"a"', "0,0,0",
        '0,0,8192,"a"', '0,1,0,"' + "00" * 1401 + '"', '1,0,0,"a"',
    ],
)  # fmt: skip
def test_sends_that_are_refused(line):
    with echo_modem() as made:
        assert ask(made, f"AT#XSEND={line}") == ERROR
        assert ask(made, 'AT#XSEND=0,1,0,"' + "00" * 1400 + '"') == b"\r\n#XSEND: 0,0,1400\r\n" + OK


@pytest.mark.parametrize(("variant", "sent"), [("cuts", b"a"), ("sent", b"a,b"), ("error", None)])
def test_a_comma_in_text_is_unsafe(variant, sent):
    with echo_modem(f"comma-in-text={variant}") as made:
        answer = ask(made, 'AT#XSEND=0,0,0,"a,b"')
        assert answer == (ERROR if sent is None else f"\r\n#XSEND: 0,0,{len(sent)}\r\n".encode() + OK)
        if sent is not None:
            assert ask(made, "AT#XRECV=0,0,0,5") == f"\r\n#XRECV: 0,0,{len(sent)}\r\n".encode() + sent + OK


def test_a_short_write_tells_what_went_and_is_an_error():
    with echo_modem() as made:
        made.machine.send_failures = 1
        assert ask(made, 'AT#XSEND=0,0,0,"0123"') == b"\r\n#XSEND: 0,0,2\r\n" + ERROR
        assert ask(made, "AT#XRECV=0,0,0,5") == b"\r\n#XRECV: 0,0,2\r\n01" + OK


def test_a_send_that_finds_no_room_waits_until_its_time_out():
    stop = threading.Event()

    def serve(stream):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stop.wait(10)

    with echo_modem("send-buffer=1", serve=serve) as made:
        assert made.command("AT#XSOCKETOPT=0,1,21,2") == OK
        stream = made.machine.personality.sockets.table[0].transport.stream
        stream._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        data = "00" * 1400
        answer = b""
        for _ in range(20000):  # until the kernel has enough
            answer = ask(made, f'AT#XSEND=0,1,0,"{data}"', limit=10)
            if answer == ERROR:
                break
        stop.set()
        assert answer == ERROR
        assert "EAGAIN" in made.machine.trace.notes[-1]


def test_acknowledgements_announced_by_the_firmware_that_can():
    with echo_modem("firmware=mfw_nrf9151-ntn_1.0.0") as made:
        assert ask(made, 'AT#XSEND=0,0,8192,"abc"') == b"\r\n#XSEND: 0,1,3\r\n" + OK
        assert made.expect(b"XSENDNTF") == b"\r\n#XSENDNTF: 0,0,3\r\n"
        assert ask(made, 'AT#XSEND=0,0,0,"abc"') == b"\r\n#XSEND: 0,0,3\r\n" + OK


def test_eight_sockets_and_their_handles():
    with modem(SM) as made:
        for handle in range(8):
            assert made.command("AT#XSOCKET=1,2,0") == f"\r\n#XSOCKET: {handle},2,17\r\n".encode() + OK
        assert made.command("AT#XSOCKET=1,2,0") == ERROR
        made.command("AT#XCLOSE=3")
        assert made.command("AT#XSOCKET=3,3,0") == b"\r\n#XSOCKET: 3,3,0\r\n" + OK
        assert b"\r\n#XSOCKET: 3,3,0,3,0\r\n" in made.command("AT#XSOCKET?")
        made.command("AT#XCLOSE")
        for line in ("4,1,0", "1,4,0", "1,1,2", "1,1", "1,3,1", "3,1,0"):
            assert made.command(f"AT#XSOCKET={line}") == ERROR
        assert made.command("AT#XSOCKET?") == OK


# --- datagrams --------------------------------------------------------------------------------------------------------


def test_datagrams_stay_apart_and_tell_their_sender():
    with udp() as peer, udp() as stranger, modem(SM) as made:
        port = peer.getsockname()[1]
        made.command("AT#XSOCKET=1,2,0")
        assert made.command("AT#XBIND=0,0") == OK
        assert made.command("AT#XBIND=0,0") == ERROR
        assert ask(made, f'AT#XSENDTO=0,0,0,"192.0.2.7",{port},"one"') == b"\r\n#XSENDTO: 0,0,3\r\n" + OK
        data, address = peer.recvfrom(100)
        assert data == b"one"
        peer.sendto(b"first one", address)
        stranger.sendto(b"!", address)
        made.settle(lambda _: len(made.machine.personality.sockets.table[0].inbox) == 2)
        # A datagram that is larger than what is asked for loses its end; the one from the mapped peer shows its name.
        expected = f'\r\n#XRECVFROM: 0,0,5,"192.0.2.7",{port}\r\nfirst'.encode() + OK
        assert ask(made, "AT#XRECVFROM=0,0,2,5,5") == expected  # a peek
        assert ask(made, "AT#XRECVFROM=0,0,0,5,5") == expected
        expected = f'\r\n#XRECVFROM: 0,1,1,"127.0.0.1",{stranger.getsockname()[1]}\r\n21'.encode() + OK
        assert ask(made, "AT#XRECVFROM=0,1,0,5") == expected
        assert ask(made, "AT#XRECVFROM=0,0,0,1") == ERROR


def test_a_connected_datagram_socket_hears_its_peer_alone():
    with udp() as peer, udp() as stranger, modem(SM) as made:
        made.command("AT#XSOCKET=1,2,0")
        assert ask(made, f'AT#XCONNECT=0,"peer.example",{peer.getsockname()[1]}') == b"\r\n#XCONNECT: 0,1\r\n" + OK
        assert ask(made, 'AT#XSEND=0,1,0,"40001234"') == b"\r\n#XSEND: 0,0,4\r\n" + OK
        data, address = peer.recvfrom(100)
        assert data == b"\x40\x00\x12\x34"
        stranger.sendto(b"evil", address)
        peer.sendto(b"", address)
        peer.sendto(b"good", address)
        assert ask(made, "AT#XRECV=0,1,0,5") == b"\r\n#XRECV: 0,1,0\r\n" + OK
        assert ask(made, "AT#XRECV=0,0,0,5") == b"\r\n#XRECV: 0,0,4\r\ngood" + OK
        assert ask(made, 'AT#XSEND=0,1,0,"' + "00" * 1252 + '"') == b"\r\n#XSEND: 0,0,1252\r\n" + OK
        assert ask(made, 'AT#XSEND=0,1,0,"' + "00" * 1253 + '"') == ERROR


# --- serving ----------------------------------------------------------------------------------------------------------


def test_a_server_accepts_without_waiting():
    port = free_port()
    with modem(SM) as made:
        made.command("AT#XSOCKET=1,1,1")
        assert made.command("AT#XLISTEN=0") == ERROR  # not bound
        made.command("AT#XSOCKET=1,1,1")
        assert made.command("AT#XBIND=1,0") == OK
        assert made.command("AT#XLISTEN=1") == ERROR  # to any port
        made.command("AT#XCLOSE=1")
        assert made.command(f"AT#XBIND=0,{port}") == OK
        assert made.command("AT#XLISTEN=0") == OK
        assert ask(made, "AT#XACCEPT=0") == ERROR
        assert made.command("AT#XAPOLL=0,1,1") == OK
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            assert made.expect(b"XAPOLL") == b"\r\n#XAPOLL: 0,1\r\n"
            mine = client.getsockname()[1]
            assert ask(made, "AT#XACCEPT=0") == f'\r\n#XACCEPT: 1,0,"127.0.0.1",{mine}\r\n'.encode() + OK
            assert made.command("AT#XSOCKET?").endswith(b"\r\n#XSOCKET: 1,1,0,1,0\r\n" + OK)  # a client's
            client.sendall(b"hello")
            assert ask(made, "AT#XRECV=1,0,0,5") == b"\r\n#XRECV: 1,0,5\r\nhello" + OK
            assert ask(made, 'AT#XSEND=1,0,0,"hi"') == b"\r\n#XSEND: 1,0,2\r\n" + OK
            client.settimeout(5)
            assert client.recv(10) == b"hi"
            assert made.command("AT#XCLOSE=1") == b"\r\n#XCLOSE: 1,0\r\n" + OK
            assert client.recv(10) == b""


@pytest.mark.parametrize(("role", "variant", "listens"), [(1, "any", True), (0, "any", True), (0, "server", False)])
def test_who_may_listen(role, variant, listens):
    port = free_port()
    with modem(SM, f"listen-role={variant}") as made:
        made.command(f"AT#XSOCKET=1,1,{role}")
        made.command(f"AT#XBIND=0,{port}")
        assert made.command("AT#XLISTEN=0") == (OK if listens else ERROR)
        if listens:
            made.command("AT#XAPOLL=0,1,1")
            for handle in (1, 2):  # one after the other is told
                with socket.create_connection(("127.0.0.1", port), 5):
                    assert made.expect(b"XAPOLL") == b"\r\n#XAPOLL: 0,1\r\n"
                    assert ask(made, "AT#XACCEPT=0").startswith(b"\r\n#XACCEPT: %d,0," % handle)


# --- what is told unasked ---------------------------------------------------------------------------------------------


def test_poll_tells_once_and_is_armed_again_by_reading():
    with echo_modem() as made:
        assert made.command("AT#XAPOLL=0,1,5") == OK + b"\r\n#XAPOLL: 0,4\r\n"
        write(made, 'AT#XSEND=0,0,0,"abcd"')
        told = made.expect(b"\r\n#XAPOLL: 0,1\r\n")
        assert told == b"\r\n#XSEND: 0,0,4\r\n" + OK + b"\r\n#XAPOLL: 0,4\r\n\r\n#XAPOLL: 0,1\r\n"
        made.advance(5)
        assert made.read() == b""
        expected = b"\r\n#XRECV: 0,0,1\r\na" + OK + b"\r\n#XAPOLL: 0,1\r\n"  # there is more
        write(made, "AT#XRECV=0,0,0,1,1")
        assert made.settle(lambda out: out == expected) == expected
        assert ask(made, "AT#XRECV=0,0,0,1") == b"\r\n#XRECV: 0,0,3\r\nbcd" + OK
        assert made.command("AT#XAPOLL=0,0") == OK
        ask(made, 'AT#XSEND=0,0,0,"x"')
        made.settle(lambda _: bool(made.machine.personality.sockets.table[0].inbox))
        assert made.read() == b""
        for line in ("0,2,1", "0,1,2", "0,1,8", "5,1,1", "0"):
            assert made.command(f"AT#XAPOLL={line}") == ERROR


@pytest.mark.parametrize(
    ("variant", "told"),
    [("yes", b"\r\n#XAPOLL: 0,17\r\n"), ("no", b"\r\n#XAPOLL: 0,1\r\n\r\n#XAPOLL: 0,16\r\n")],
)
def test_data_and_hang_up_together(variant, told):
    with echo_modem(f"poll-combined={variant}", serve=lambda stream: stream.sendall(b"bye")) as made:
        made.settle(lambda _: made.machine.personality.sockets.table[0].ended)
        assert made.command("AT#XAPOLL=0,1,1") == OK + told
        assert ask(made, "AT#XRECV=0,0,0,1") == b"\r\n#XRECV: 0,0,3\r\nbye" + OK
        made.advance(5)
        assert made.read() == b""  # the hang-up is told once


def test_data_and_hang_up_that_arrive_together_are_told_together():
    def serve(stream):
        stream.recv(100)
        stream.sendall(b"bye", socket.MSG_MORE)
        stream.shutdown(socket.SHUT_WR)

    with echo_modem(serve=serve) as made:
        made.command("AT#XAPOLL=0,1,5")
        made.read()
        told = ask(made, 'AT#XSEND=0,0,0,"x"')
        told += made.settle(lambda _: made.machine.personality.sockets.table[0].ended)
        assert told == b"\r\n#XSEND: 0,0,1\r\n" + OK + b"\r\n#XAPOLL: 0,4\r\n\r\n#XAPOLL: 0,17\r\n"


@pytest.mark.parametrize(("variant", "value"), [("17", 17), ("16", 16)])
def test_a_hang_up_without_data(variant, value):
    """It is told with POLLIN, if that is asked for and may be told; and nothing more is told of the socket."""
    ended = threading.Event()
    with echo_modem(f"poll-end={variant}", serve=lambda _: ended.wait(5)) as made:
        assert made.command("AT#XAPOLL=0,1,1") == OK
        ended.set()
        assert made.expect(b"XAPOLL") == b"\r\n#XAPOLL: 0,%d\r\n" % value
        assert ask(made, "AT#XRECV=0,0,0,1") == OK
        assert made.command("AT#XAPOLL=0,1,5") == OK
        made.advance(5)
        assert made.read() == b""
    with echo_modem(f"poll-end={variant}", serve=lambda stream: stream.sendall(b"bye")) as made:
        made.settle(lambda _: made.machine.personality.sockets.table[0].ended)
        assert made.command("AT#XAPOLL=0,1,0") == OK + b"\r\n#XAPOLL: 0,16\r\n"
        assert ask(made, "AT#XRECV=0,0,0,1,1") == b"\r\n#XRECV: 0,0,1\r\nb" + OK
        made.advance(5)
        assert made.read() == b""


@pytest.mark.parametrize(("variant", "told"), [("open", False), ("later-too", True)])
def test_poll_without_a_handle(variant, told):
    with modem(SM, f"without-handle={variant}") as made:
        made.command("AT#XSOCKET=1,2,0")
        assert made.command("AT#XAPOLL=,1,4") == OK + b"\r\n#XAPOLL: 0,4\r\n"
        answer = made.command("AT#XSOCKET=1,2,0")
        made.advance(1)
        assert (answer + made.read()).endswith(OK + (b"\r\n#XAPOLL: 1,4\r\n" if told else b""))


def test_automatic_reception():
    with echo_modem() as made:
        assert made.command("AT#XRECVCFG=0,1") == OK
        write(made, 'AT#XSEND=0,0,0,"abc"')
        assert made.expect(b"abc\r\n").endswith(OK + b"\r\n#XRECV: 0,0,3\r\nabc\r\n")
        assert made.command("AT#XRECVCFG=0,1,1") == OK
        write(made, 'AT#XSEND=0,0,0,"abc"')
        assert made.expect(b"63\r\n").endswith(OK + b"\r\n#XRECV: 0,1,3\r\n616263\r\n")
        assert made.command("AT#XRECVCFG=,0") == OK
        ask(made, 'AT#XSEND=0,0,0,"abc"')
        assert ask(made, "AT#XRECV=0,0,0,5") == b"\r\n#XRECV: 0,0,3\r\nabc" + OK
        assert made.command("AT#XRECVCFG=0,4") == ERROR


@pytest.mark.parametrize(("variant", "later"), [("open", False), ("later-too", True)])
def test_automatic_reception_of_later_sockets(variant, later):
    with echo_modem(f"without-handle={variant}") as made:
        assert made.command("AT#XRECVCFG=,1,1") == OK
        assert made.command("AT#XSOCKET=1,2,0").endswith(OK)
        lines = b"\r\n#XRECVCFG: 0,1,1\r\n" + (b"\r\n#XRECVCFG: 1,1,1\r\n" if later else b"")
        assert made.command("AT#XRECVCFG?") == lines + OK
        assert made.command("AT#XRECVCFG=1,2") == OK
        assert made.command("AT#XRECVCFG?") == b"\r\n#XRECVCFG: 0,1,1\r\n\r\n#XRECVCFG: 1,2,0\r\n" + OK
        assert made.command("AT#XRECVCFG=,0") == OK
        made.command("AT#XSOCKET=1,2,0")
        assert made.command("AT#XRECVCFG?") == OK


def test_what_is_polled_and_what_listens_can_be_read():
    port = free_port()
    with modem(SM) as made:
        assert made.command("AT#XAPOLL?") == OK
        assert made.command("AT#XAPOLL=,1,1") == OK
        made.command("AT#XSOCKET=1,1,0")
        made.command("AT#XSOCKET=1,1,1")
        assert made.command("AT#XAPOLL=1,1,5") == OK
        assert made.command("AT#XAPOLL?") == b"\r\n#XAPOLL: 0,1\r\n\r\n#XAPOLL: 1,5\r\n" + OK
        assert made.command("AT#XAPOLL=0,0") == OK
        assert made.command("AT#XAPOLL?") == b"\r\n#XAPOLL: 1,5\r\n" + OK
        assert made.command("AT#XLISTEN?") == OK
        made.command(f"AT#XBIND=1,{port}")
        made.command("AT#XLISTEN=1")
        assert made.command("AT#XLISTEN?") == f"\r\n#XLISTEN: 1,0,{port}\r\n".encode() + OK


def test_an_accepted_socket_is_polled_as_all_are():
    port = free_port()
    with modem(SM) as made:
        assert made.command("AT#XAPOLL=,1,1") == OK
        made.command("AT#XSOCKET=1,1,1")
        made.command(f"AT#XBIND=0,{port}")
        made.command("AT#XLISTEN=0")
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            assert made.expect(b"XAPOLL") == b"\r\n#XAPOLL: 0,1\r\n"
            ask(made, "AT#XACCEPT=0")
            client.sendall(b"Hello from client")
            assert made.expect(b"XAPOLL") == b"\r\n#XAPOLL: 1,1\r\n"
            assert ask(made, "AT#XRECV=1,0,0,1") == b"\r\n#XRECV: 1,0,17\r\nHello from client" + OK
        assert made.expect(b"XAPOLL") == b"\r\n#XAPOLL: 1,17\r\n"
        assert ask(made, "AT#XRECV=1,0,0,1") == OK


def test_automatic_reception_of_datagrams():
    with udp() as peer, modem(SM) as made:
        port = peer.getsockname()[1]
        made.command("AT#XSOCKET=1,2,0")
        made.command("AT#XRECVCFG=0,1")
        ask(made, f'AT#XSENDTO=0,0,0,"127.0.0.1",{port},"x"')
        peer.sendto(b"yz", peer.recvfrom(10)[1])
        expected = f'\r\n#XRECVFROM: 0,0,2,"127.0.0.1",{port}\r\nyz\r\n'.encode()
        assert made.expect(b"yz\r\n") == expected


# --- the PDN ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["AT+CFUN=4", "AT+CFUN=0", "fault"])
def test_the_pdn_goes_and_takes_sockets_with_it(loss):
    with echo_modem() as made:
        made.command("AT#XAPOLL=0,1,1")
        if loss == "fault":
            made.machine.personality.fault("pdpdeact", 1)
            told = made.read()
        else:
            told = made.command(loss)[len(OK) :]
        assert told == b"\r\n#XAPOLL: 0,8\r\n"
        assert ask(made, 'AT#XSEND=0,0,0,"x"') == ERROR
        assert ask(made, "AT#XRECV=0,0,0,1") == ERROR
        assert "ENETDOWN" in made.machine.trace.notes[-1]
        assert ask(made, "AT#XCLOSE=0") == b"\r\n#XCLOSE: 0,0\r\n" + OK


@pytest.mark.parametrize(("address", "survives"), [("same", True), ("new", False)])
def test_a_socket_that_is_kept_open_over_a_loss(address, survives):
    with echo_modem(f"address-after-loss={address}") as made:
        assert made.command("AT#XSOCKETOPT=0,1,34,1") == OK
        made.machine.personality.fault("pdpdeact", 1)
        assert ask(made, 'AT#XSEND=0,0,0,"x"') == ERROR
        made.advance(1)
        answer = ask(made, 'AT#XSEND=0,0,0,"x"')
        assert answer == (b"\r\n#XSEND: 0,0,1\r\n" + OK if survives else ERROR)
        made.command("AT+CFUN=0")
        made.command("AT+CFUN=1")
        made.advance(1)
        assert ask(made, 'AT#XSEND=0,0,0,"x"') == ERROR  # nothing outlives that


def test_options_of_plain_sockets():
    with modem(SM) as made:
        made.command("AT#XSOCKET=1,1,0")
        assert made.command("AT#XSOCKETOPT=0,0,21") == b"\r\n#XSOCKETOPT: 0,30\r\n" + OK
        assert made.command("AT#XSOCKETOPT=0,1,20,60") == OK
        assert made.command("AT#XSOCKETOPT=0,0,20") == b"\r\n#XSOCKETOPT: 0,60\r\n" + OK
        for line in ("0,1,21,601", "0,1,61,6", "0,1,3,1", "0,0,99", "1,0,21", "0,2,21", "0,1,21"):
            assert made.command(f"AT#XSOCKETOPT={line}") == ERROR
        assert made.command('AT#XSSOCKETOPT=0,1,2,"a.example"') == ERROR  # not a secure socket
