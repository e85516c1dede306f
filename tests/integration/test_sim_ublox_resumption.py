"""Sessions of the simulated u-blox modules are handed out, taken back and resumed, with real servers."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl

import pytest

from tests.support.servers import echo, openssl_server
from tests.support.ublox import Module, line, tls
from tests.support.ublox_tls import (
    NAME,
    STRICT,
    leaves_fixture,  # noqa: F401
    module,
    outcome,
    reasons,
)


def polite_echo(stream: socket.socket) -> None:
    """OpenSSL forgets the session of a connection that ends without its close_notify."""
    assert isinstance(stream, ssl.SSLSocket)
    echo(stream)
    with contextlib.suppress(OSError):
        stream.unwrap()


TLS12 = {"most": ssl.TLSVersion.TLSv1_2, "serve": polite_echo}


def session(made: Module, *, later: bool = False) -> list[bytes]:
    """Connect under profile 1, talk, close; returns the lines told of the session, in front of the result."""
    assert made.command("AT+USOCR=6") == line("+USOCR: 0")
    made.ok("AT+USOSEC=0,1,1")
    if later:
        answer = made.ask(f'AT+USOCO=0,"{NAME}",443,1', b"+UUSOCO: 0,0\r\n")
        assert answer.startswith(b"\r\nOK\r\n\r\n+UUSECPRF")
        answer = answer.removeprefix(b"\r\nOK\r\n").removesuffix(b"\r\n+UUSOCO: 0,0\r\n")
    else:
        answer = made.ask(f'AT+USOCO=0,"{NAME}",443', b"\r\nOK\r\n").removesuffix(b"\r\nOK\r\n")
    made.send(0, b"ping")
    made.expect(b"+UUSORD: 0,4\r\n")
    made.ok("AT+USOCL=0")
    return [part for part in answer.split(b"\r\n") if part]


@pytest.mark.parametrize("later", [False, True])
def test_a_session_given_back_is_resumed(pki, leaves, later):
    with tls(leaves["good"], **TLS12) as (port, seen), module(pki, port, *STRICT, "13,0,1", "13,1,0") as made:
        kind, told = session(made, later=later)
        assert kind == b"+UUSECPRF: 1,13,1,0"
        prefix, identity, secret = told.split(b",")[-3:]
        assert prefix == b"2"
        assert len(identity) == 46  # 32 bytes in base64, and its quotes
        assert len(secret) == 66  # 48 bytes
        data = told.removeprefix(b"+UUSECPRF: 1,13,2,").decode()
        made.ok(f"AT+USECPRF=1,13,2,{data}")
        assert session(made, later=later) == [kind, told]
        made.ok("AT+USECPRF=1,13,0,0")
        made.open(NAME, 443, profile=1)
        with seen.changed:
            seen.changed.wait_for(lambda: len(seen.resumed) == 3, 5)
        assert seen.resumed == [False, True, False]
        trace = "\n".join(made.machine.trace.lines)
        assert secret.decode().strip('"') not in trace


@pytest.mark.parametrize(
    ("variants", "pattern"),
    [
        (("resumption-urcs=held",), rb"\r\nOK\r\n(\r\n\+UUSECPRF: 1,13,\d,[^\r]+\r\n){2}"),
        (("resumption-quotes=no",), rb'(\r\n\+UUSECPRF: 1,13,\d,[^"\r]+\r\n){2}\r\nOK\r\n'),
    ],
)
def test_how_sessions_are_told(pki, leaves, variants, pattern):
    with tls(leaves["good"], **TLS12) as (port, _), module(pki, port, *STRICT, "13,0,1", variants=variants) as made:
        answer = made.open(NAME, 443, profile=1)
        assert re.fullmatch(pattern, answer + made.until_quiet(0.02))


def test_tls_1_3_has_no_session_id_to_tell(pki, leaves):
    with (
        tls(leaves["good"]) as (port, _),
        module(pki, port, *STRICT, "13,0,1", variants=["firmware=03.15,A00.01"]) as made,
    ):
        assert made.open(NAME, 443, profile=1) == b"\r\nOK\r\n"
        assert "no session" in reasons(made)


def test_what_nobody_gave_back_is_a_full_handshake(pki, leaves):
    with tls(leaves["good"], **TLS12) as (port, seen), module(pki, port, *STRICT, "13,0,1") as made:
        first = session(made)
        assert session(made) != first
        made.ok('AT+USECPRF=1,13,2,"AAAA","AAAA"')
        assert session(made) != first
        with seen.changed:
            seen.changed.wait_for(lambda: len(seen.resumed) == 3, 5)
        assert seen.resumed == [False, False, False]


def test_sessions_that_are_tickets_are_not_resumed(pki, leaves, tmp_path):
    """The server keeps nothing, and the module knows no tickets."""
    options = ("-tls1_2", "-no_cache")
    with openssl_server(tmp_path, leaves["good"], *options) as port, module(pki, port, *STRICT, "13,0,1") as made:
        first = made.open(NAME, 443, profile=1)
        assert first.endswith(b"\r\nOK\r\n")
        made.ok("AT+USOCL=0")
        if b"13,2," in first:
            data = first.split(b"13,2,")[1].split(b"\r\n")[0].decode()
            made.ok(f"AT+USECPRF=1,13,2,{data}")
        second = made.open(NAME, 443, profile=1)
        assert second.endswith(b"\r\nOK\r\n")
        assert b"13,2," not in first or second != first


def test_another_master_secret_fails_with_the_peer(pki, leaves):
    with tls(leaves["good"], **TLS12) as (port, _), module(pki, port, *STRICT, "13,0,1") as made:
        _, told = session(made)
        identity = told.split(b",")[-2].decode()
        secret = "A" * 64
        made.ok(f'AT+USECPRF=1,13,2,{identity},"{secret}"')
        assert outcome(made) is False


def test_an_encrypted_session(pki, leaves):
    with tls(leaves["good"], **TLS12) as (port, seen), module(pki, port, *STRICT, "13,0,1", "13,1,10") as made:
        kind, told = session(made)
        assert kind == b"+UUSECPRF: 1,13,1,10"
        data = told.removeprefix(b"+UUSECPRF: 1,13,12,").decode()
        text, size = data.rsplit(",", 1)
        assert int(size) == len(text.strip('"'))
        made.ok(f"AT+USECPRF=1,13,12,{data}")
        session(made)
        with seen.changed:
            seen.changed.wait_for(lambda: len(seen.resumed) == 2, 5)
        assert seen.resumed == [False, True]


def test_a_session_survives_a_restart_with_the_host(pki, leaves):
    """The module forgets it, the host has it."""
    with (
        tls(leaves["good"], **TLS12) as (port, seen),
        module(pki, port, *STRICT, "13,0,1", variants=["settings-survive=yes"]) as made,
    ):
        _, told = session(made)
        made.ok("AT+CFUN=16")
        made.advance(5)
        made.read()
        made.make_ready()
        data = told.removeprefix(b"+UUSECPRF: 1,13,2,").decode()
        made.ok(f"AT+USECPRF=1,13,2,{data}")
        session(made)
        with seen.changed:
            seen.changed.wait_for(lambda: len(seen.resumed) == 2, 5)
        assert seen.resumed == [False, True]
