"""The direct link of the simulated u-blox modules."""

from __future__ import annotations

import pytest

from tests.support.ublox import (
    OK,
    R5,
    cme,
    line,
    linked,
    start_fixture,  # noqa: F401
    udp,
)


def test_direct_link_escape_and_its_registers(start):
    made = start()
    with linked(made) as peer:
        peer.stream.sendall(b"early")
        made.expect(b"+UUSORD: 0,5\r\n")
        made.ok("ATS12=100", "ATS2=35")
        assert made.command("AT+USODL=0", limit=0) == b"\r\nCONNECT\r\nearly"
        made.advance(3)
        made.write(b"+++")
        made.advance(1.5)  # too short a silence before it
        made.write(b"###")
        made.advance(3)
        assert made.read() == b""
        made.write(b"###")
        made.advance(1.5)
        assert made.read() == b""
        made.advance(1)
        assert made.read() == b"\r\nDISCONNECT\r\n" + OK
        assert peer.receive(6) == b"+++###"
        made.write(b"AT\r")
        assert made.read() == OK


@pytest.mark.parametrize(("held", "released"), [("kept", b'+USORD: 0,5,"early"')])
def test_what_came_before_the_direct_link(start, held, released):
    made = start(R5, f"direct-link-unread={held}")
    with linked(made) as peer:
        peer.stream.sendall(b"early")
        made.expect(b"+UUSORD: 0,5\r\n")
        assert made.command("AT+USODL=0", limit=0) == b"\r\nCONNECT\r\n"
        made.advance(1.1)
        made.write(b"+++")
        made.advance(1.1)
        made.read()
        assert released in made.command("AT+USORD=0,10")


def test_direct_link_over_udp_packs_by_its_triggers(start):
    made = start()
    with udp() as peer:
        made.command("AT+USOCR=17")
        made.ok(f'AT+USOCO=0,"127.0.0.1",{peer.getsockname()[1]}')
        made.ok("AT+UDCONF=5,0,1000", "AT+UDCONF=6,0,6", "AT+UDCONF=7,0,33")
        assert made.command("AT+UDCONF=6,0") == line("+UDCONF: 6,0,6")
        assert made.command("AT+USODL=0", limit=0) == b"\r\nCONNECT\r\n"
        made.write(b"abcdefg!hi")
        assert [peer.recv(100) for _ in range(2)] == [b"abcdef", b"g!"]
        made.advance(1.1)
        assert peer.recv(100) == b"hi"


@pytest.mark.parametrize(
    "command",
    ["AT+UDCONF=5,0,99", "AT+UDCONF=6,0,2", "AT+UDCONF=6,0,2049", "AT+UDCONF=7,0,256", "AT+UDCONF=8,0,999",
     "AT+UDCONF=5,1,0", "AT+UDCONF=1,2", "AT+UDCONF=3", "AT+UDCONF=9"],
)  # fmt: skip
def test_wrong_triggers(start, command):
    made = start()
    made.command("AT+USOCR=6")
    assert made.command(command) == cme(3)


def test_no_direct_link_without_a_peer(start):
    made = start()
    assert made.command("AT+USODL=0") == cme(3)
    made.command("AT+USOCR=6")
    assert made.command("AT+USODL=0") == cme(3)
