"""What the simulated u-blox modules do with data: writes, reads, datagrams."""

from __future__ import annotations

import contextlib
import socket

import pytest

from tests.support.ublox import (
    ERROR,
    OK,
    R4,
    R5,
    cme,
    line,
    linked,
    plain,
    start_fixture,  # noqa: F401
    udp,
)

# --- writing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hexadecimal", "command", "answer", "sent"),
    [
        (0, 'AT+USOWR=0,12,"Hello world!"', line("+USOWR: 0,12"), b"Hello world!"),
        (0, 'AT+USOWR=0,3,"a,;"', line("+USOWR: 0,3"), b"a,;"),
        (0, 'AT+USOWR=0,4,"abc"', cme(3), b""),
        (0, 'AT+USOWR=0,2,"abc"', cme(3), b""),
        (0, "AT+USOWR=0,3,abc", cme(3), b""),
        (0, 'AT+USOWR=0,0,""', line("+USOWR: 0,0"), b""),
        (0, "AT+USOWR=0,0", line("+USOWR: 0,0"), b""),
        (0, "AT+USOWR=0,1025", cme(3), b""),
        (0, 'AT+CSQ;+USOWR=0,1,"x"', b"\r\n+CSQ: 20,99\r\n" + ERROR, b""),
        (0, "AT+USOWR=1,1", cme(3), b""),
        (1, 'AT+USOWR=0,2,"4869"', line("+USOWR: 0,2"), b"Hi"),
        (1, 'AT+USOWR=0,2,"486"', cme(3), b""),
        (1, 'AT+USOWR=0,2,"48xx"', cme(3), b""),
        (1, 'AT+USOWR=0,4,"4869"', cme(3), b""),
        (1, f'AT+USOWR=0,513,"{"00" * 513}"', cme(1650), b""),
    ],
)
def test_base_syntax(start, hexadecimal, command, answer, sent):
    made = start()
    made.ok(f"AT+UDCONF=1,{hexadecimal}")
    with linked(made) as peer:
        assert made.command(command) == answer
        made.ok("AT+USOCL=0")
        assert peer.receive(100) == sent


def test_binary_syntax_takes_anything_also_in_hex_mode(start):
    made = start()
    with linked(made) as peer:
        every = bytes(range(256)) * 4
        assert made.send(0, every) == line("+USOWR: 0,1024")
        made.ok("AT+UDCONF=1,1")
        assert made.send(0, every) == line("+USOWR: 0,1024")
        assert peer.receive(2048) == every * 2
        assert made.command("AT+USOCTL=0,2") == line("+USOCTL: 0,2,2048")


def test_what_is_too_much_is_the_next_command(start):
    made = start()
    with linked(made) as peer:
        assert made.command("AT+USOWR=0,3", limit=0) == b"\r\n@"
        made.write(b"abcAT+CSQ\r")
        assert made.read() == line("+USOWR: 0,3") + line("+CSQ: 20,99")
        assert peer.receive(3) == b"abc"


def test_a_host_that_gives_up_at_the_prompt_loses_its_next_command(start):
    made = start()
    with linked(made) as peer:
        assert made.command("AT+USOWR=0,5", limit=0) == b"\r\n@"
        made.advance(60)
        made.write(b"AT\r\r")
        assert made.read() == b""
        made.write(b"\n")
        assert made.read() == line("+USOWR: 0,5")
        assert peer.receive(5) == b"AT\r\r\n"


@pytest.mark.parametrize(("variant", "answers"), [
    ("short-writes=2", [b"+USOWR: 0,8", b"+USOWR: 0,4", b"+USOWR: 0,8"]),
    ("lost-write-lines=2", [b"+USOWR: 0,8", b"\r\nOK\r\n", b"+USOWR: 0,8"]),
    ("send-fail-every=2", [b"+USOWR: 0,8", b"\r\nERROR\r\n", b"+USOWR: 0,8"]),
])  # fmt: skip
def test_writes_that_do_not_take_everything(start, variant, answers):
    made = start(R4, variant)
    with linked(made) as peer:
        said = [made.send(0, b"12345678") for _ in range(3)]
        assert [answer in got for answer, got in zip(answers, said, strict=True)] == [True] * 3
        assert (said[1] == OK) is (variant.startswith("lost"))
        made.ok("AT+USOCL=0")
        assert len(peer.receive(100)) == (20 if variant.startswith("short") else 16)


def test_the_queue_of_sara_r5_is_8_kilobytes(start):
    made = start()
    with linked(made):
        full = 0
        for _ in range(20000):
            answer = made.send(0, b"x" * 1024)
            if answer == ERROR:
                full += 1
                break
        assert full
        assert made.command("AT+USOCTL=0,1") == line("+USOCTL: 0,1,11")
        assert made.command("AT+USOCTL=0,10") == line("+USOCTL: 0,10,4")


def test_the_connection_dies_while_the_prompt_is_open(start):
    made = start()
    with linked(made) as peer:
        made.command("AT+USOWR=0,3", limit=0)
        peer.stream.close()
        made.until_quiet(0.05)
        made.write(b"abc")
        assert made.read() == cme(3) + b"\r\n+UUSOCL: 0\r\n"


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("variants", "shown"), [((), b'+USORD: 0,""'), (("empty-read=zero",), b'+USORD: 0,0,""')])
def test_nothing_to_read(start, variants, shown):
    made = start(R4, *variants)
    made.command("AT+USOCR=6")
    assert made.command("AT+USORD=0,10") == cme(3)  # never connected
    made.ok("AT+USOCL=0")
    with linked(made):
        assert made.command("AT+USORD=0,10") == b"\r\n" + shown + b"\r\n" + OK
        assert made.command("AT+USORD=0,0") == line("+USORD: 0,0")


def test_a_payload_that_looks_like_anything(start):
    made = start()
    nasty = b'"\r\nOK\r\n+UUSOCL: 0\r\n\x00@>'
    with linked(made) as peer:
        peer.stream.sendall(nasty)
        made.expect(f"+UUSORD: 0,{len(nasty)}\r\n".encode())
        assert made.command("AT+USORD=0,1024") == b'\r\n+USORD: 0,%d,"%s"\r\n' % (len(nasty), nasty) + OK
        assert made.command("AT+USOCTL=0,3") == line(f"+USOCTL: 0,3,{len(nasty)}")


def test_without_the_empty_line(start):
    made = start(R4, "read-blank-line=no")
    with linked(made) as peer:
        peer.stream.sendall(b"abc")
        made.expect(b"+UUSORD: 0,3\r\n")
        assert made.command("AT+USORD=0,1024") == b'\r\n+USORD: 0,3,"abc"\r\nOK\r\n'


@pytest.mark.parametrize("command", ["AT+USORD=0,1025", "AT+USORD=0,-1", "AT+USORD=0", "AT+USORD=1,1", "AT+USORD=9,1"])
def test_wrong_reads(start, command):
    made = start()
    with linked(made):
        assert made.command(command) == cme(3)


def test_hex_mode_reads_512_at_most(start):
    made = start()
    made.ok("AT+UDCONF=1,1")
    with linked(made) as peer:
        peer.stream.sendall(b"\xab" * 600)
        made.expect(b"+UUSORD: 0,")
        made.until_quiet(0.02)
        assert made.command("AT+USORD=0,513") == cme(3)
        assert made.command("AT+USORD=0,512").startswith(b'\r\n+USORD: 0,512,"' + b"AB" * 512 + b'"\r\n')
        assert made.command("AT+UDCONF=1") == line("+UDCONF: 1,1")


@pytest.mark.parametrize(("firmware", "kept"), [("02.06,A00.01", 0), ("03.15,A00.01", 1)])
def test_hex_mode_and_restarts(start, firmware, kept):
    made = start(R5, f"firmware={firmware}")
    made.ok("AT+UDCONF=1,1", "AT+CFUN=16")
    made.advance(5)
    made.command("ATE0")
    assert made.command("AT+UDCONF=1") == line(f"+UDCONF: 1,{kept}")


def test_a_notice_only_when_nothing_was_unread(start):
    made = start()
    with linked(made) as peer:
        peer.stream.sendall(b"abc")
        assert made.expect(b"\r\n+UUSORD: 0,3\r\n")
        peer.stream.sendall(b"defgh")
        assert made.until_quiet() == b""
        assert made.command("AT+USORD=0,0") == line("+USORD: 0,8")
        assert made.command("AT+USORD=0,8") == line('+USORD: 0,8,"abcdefgh"')
        peer.stream.sendall(b"i")
        assert made.expect(b"\r\n+UUSORD: 0,1\r\n")


def test_the_module_stops_reading_when_its_buffer_is_full(start):
    made = start(R5, "receive-buffer=2048")
    with linked(made) as peer:
        peer.stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        peer.stream.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < 1 << 24:
                sent += peer.stream.send(b"x" * 4096)
        made.until_quiet()
        held = int(made.command("AT+USORD=0,0").split(b",")[1].split(b"\r")[0])
        assert 2048 <= held <= 2048 + 16384 < sent
        got = 0
        while got < sent:
            answer = made.command("AT+USORD=0,1024")
            got += int(answer.split(b"+USORD: 0,")[1].split(b",")[0]) if b'0,""' not in answer else 0
            made.loop.poll(0.001)
        assert got == sent


# --- UDP --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "variants", "notice", "rest"),
    [
        (R5, ("datagram-rest=kept",), b"+UUSORD", True),
        (R4, ("datagram-rest=kept",), b"+UUSORF", True),
        (R4, ("connected-udp-notice=tcp",), b"+UUSORD", True),
        (R5, ("datagram-rest=lost",), b"+UUSORD", False),
    ],
)
def test_a_connected_udp_socket(start, model, variants, notice, rest):
    made = start(model, *variants)
    with udp() as peer, udp() as stranger:
        port = peer.getsockname()[1]
        made.command("AT+USOCR=17")
        assert made.command("AT+USORD=0,10") == cme(3)
        assert made.command("AT+USOWR=0,1") == cme(3)
        assert made.command(f'AT+USOCO=0,"127.0.0.1",{port}') == OK
        assert made.send(0, b"hello").startswith(b"\r\n+USOWR: 0,5")
        data, address = peer.recvfrom(100)
        assert data == b"hello"
        stranger.sendto(b"not for you", address)
        peer.sendto(b"abcdef", address)
        assert made.expect(b"\r\n" + notice + b": 0,6\r\n")
        answer = made.command("AT+USORD=0,4")
        assert answer == line('+USORD: 0,4,"abcd"') + (b"\r\n" + notice + b": 0,2\r\n" if rest else b"")
        assert made.command("AT+USORD=0,4") == line('+USORD: 0,2,"ef"' if rest else '+USORD: 0,""')
        assert made.command("AT+USOCTL=0,10") == cme(3)


def test_a_notice_behind_half_a_datagram_is_of_its_rest_alone(start):
    made = start()
    with udp() as peer:
        made.command("AT+USOCR=17")
        made.command(f'AT+USOST=0,"127.0.0.1",{peer.getsockname()[1]},1,"?"')
        _, address = peer.recvfrom(10)
        peer.sendto(b"abcdef", address)
        made.expect(b"+UUSORD: 0,6\r\n")
        peer.sendto(b"second", address)
        assert made.until_quiet(0.05) == b""
        assert made.command("AT+USORF=0,2").endswith(b',2,"ab"\r\n\r\nOK\r\n\r\n+UUSORD: 0,4\r\n')
        assert made.command("AT+USORF=0,0") == line("+USORF: 0,10")


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ('AT+USOST=0,"127.0.0.1",7', cme(3)),
        ('AT+USOST=0,"127.0.0.1",0,1', cme(3)),
        ('AT+USOST=0,"127.0.0.1",7,1025', cme(3)),
        ('AT+USOST=0,"127.0.0.1",7,3,"ab"', cme(3)),
        ('AT+USOST=0,"no.invalid",7,2,"ab"', ERROR),
        ('AT+USOST=1,"127.0.0.1",7,2,"ab"', cme(4)),
        ("AT+USORF=1,10", cme(4)),
        ("AT+USORF=0,10", line('+USORF: 0,""')),
        ("AT+USOLI=0,1099", cme(4)),
    ],
)
def test_wrong_datagrams(start, command, answer):
    made = start()
    made.command("AT+USOCR=17")
    made.command("AT+USOCR=6")
    assert made.command(command) == answer


def test_plain_echo_of_much(start):
    made = start()
    with plain() as port:
        assert made.open("127.0.0.1", port) == OK
        got, sent = b"", b"".join(bytes([n % 256]) * 1024 for n in range(40))
        for at in range(0, len(sent), 1024):
            made.send(0, sent[at : at + 1024])
            while len(got) < at + 1024:
                answer = made.command("AT+USORD=0,1024")
                head, _, body = answer.split(b"+USORD: 0,", 1)[1].partition(b',"')
                if head.isdigit():
                    got += body[: int(head)]
                made.loop.poll(0.001)
        assert got == sent
