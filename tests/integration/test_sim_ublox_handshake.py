"""Secure connects of the simulated u-blox modules: blocking, in the background, ended by the server, direct links."""

from __future__ import annotations

import pytest

from tests.support.ublox import Peer, line, tls
from tests.support.ublox_tls import (
    NAME,
    STRICT,
    leaves_fixture,  # noqa: F401
    module,
    outcome,
)


@pytest.mark.parametrize(
    ("variant", "leaf", "said"),
    [
        ("handshake", "good", b"\r\n+UUSOCO: 0,0\r\n"),
        ("handshake", "self", b"\r\n+UUSOCO: 0,111\r\n\r\n+UUSOCL: 0\r\n"),
        ("tcp", "good", b"\r\n+UUSOCO: 0,0\r\n"),
        ("tcp", "self", b"\r\n+UUSOCO: 0,0\r\n\r\n+UUSOCL: 0\r\n"),
    ],
)
def test_asynchronous_connects(pki, leaves, variant, leaf, said):
    with tls(leaves[leaf]) as (port, _), module(pki, port, *STRICT, variants=[f"async-tls={variant}"]) as made:
        made.command("AT+USOCR=6")
        made.ok("AT+USOSEC=0,1,1", f'AT+USOCO=0,"{NAME}",443,1')
        assert made.settle(lambda out: len(out) >= len(said)) + made.until_quiet(0.05) == said
        if leaf == "good":
            assert made.send(0, b"x").startswith(b"\r\n+USOWR: 0,1\r\n")


@pytest.mark.parametrize(("variant", "fine"), [("accept", True), ("refuse", False)])
def test_direct_link_over_tls(pki, leaves, variant, fine):
    with tls(leaves["good"]) as (port, _), module(pki, port, *STRICT, variants=[f"direct-link-tls={variant}"]) as made:
        assert outcome(made)
        answer = made.command("AT+USODL=0", limit=0)
        if not fine:
            assert answer == b"\r\n+CME ERROR: 4\r\n"
            return
        assert answer == b"\r\nCONNECT\r\n"
        made.write(b"through and back")
        assert made.expect(b"back") == b"through and back"


@pytest.mark.parametrize("number", [65, 9, 11])
def test_which_errno_a_failed_handshake_has(pki, leaves, number):
    with tls(leaves["self"]) as (port, _), module(pki, port, *STRICT, variants=[f"tls-errno={number}"]) as made:
        assert not outcome(made)
        made.read()
        assert made.command("AT+USOER") == line(f"+USOER: {number}")


def test_a_server_that_says_nothing(pki):
    with Peer() as peer, module(pki, peer.port, *STRICT) as made:
        made.command("AT+USOCR=6")
        made.ok("AT+USOSEC=0,1,1")
        made.write(f'AT+USOCO=0,"{NAME}",443\r'.encode())
        assert peer.stream
        assert made.until_quiet(0.05) == b""
        made.advance(121)
        assert made.read() == b"\r\nERROR\r\n\r\n+UUSOCL: 0\r\n"
        assert made.command("AT+USOER") == line("+USOER: 110")


@pytest.mark.parametrize("said", [b"", b"HTTP/1.0 400 Bad Request\r\n\r\n", b"\x15\x03\x03\x00\x02\x02\x28"])
def test_a_server_that_ends_the_handshake(pki, said):
    """It closes, speaks something else, or sends an alert: the host is told the same."""
    with Peer() as peer, module(pki, peer.port, *STRICT) as made:
        made.command("AT+USOCR=6")
        made.ok("AT+USOSEC=0,1,1")
        made.write(f'AT+USOCO=0,"{NAME}",443\r'.encode())
        peer.stream.sendall(said)
        peer.stream.close()
        assert made.expect(b"+UUSOCL: 0\r\n") == b"\r\nERROR\r\n\r\n+UUSOCL: 0\r\n"
