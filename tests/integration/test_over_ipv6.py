"""Connections to ::1 through simulated modems: over a PDP context that carries IPv6, and over one that does not."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time

import pytest

from modemtls.errors import ConnectError, PdpError
from modemtls.modem.attaching import attach
from modemtls.modem.settings import Settings
from modemtls.net import create_tcp_socket, create_udp_socket
from modemtls.sim import embedded
from tests.support.hasty import hasty

MODELS = ["nordic-sm", "quectel-bg95", "ublox-sara-r4", "ublox-sara-r5"]
QUICK = {"boot-time": "0.02", "registration-time": "0.02"}
PATIENCE = 20.0


@pytest.fixture(scope="module")
def profiles(tmp_path_factory):
    return {model: hasty(model, tmp_path_factory.mktemp(model)) for model in MODELS}


@contextlib.contextmanager
def on(profiles, model, *, maps=(), **settings):
    with (
        embedded.open(model, {**QUICK, "map": [*maps]}) as sim,
        attach(sim.path, Settings(profile=profiles[model], timeout=PATIENCE, apn="x", **settings)) as modem,
    ):
        yield modem


@contextlib.contextmanager
def echo(kind):
    """An echo on ::1; its port."""
    with socket.socket(socket.AF_INET6, kind) as server:
        server.settimeout(PATIENCE)
        server.bind(("::1", 0))
        if kind == socket.SOCK_STREAM:
            server.listen()

        def serve():
            with contextlib.suppress(OSError):
                if kind == socket.SOCK_DGRAM:
                    server.sendto(*server.recvfrom(100))
                    return
                with server.accept()[0] as stream:
                    stream.sendall(stream.recv(100))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)  # ends a wait that nobody answers
            thread.join(PATIENCE)


def echoed(modem, create, host, port):
    sock = create(modem)
    try:
        sock.connect(host, str(port), timeout=PATIENCE)
        sock.send(b"six")
        return sock.receive(100)
    finally:
        sock.cleanup()


@pytest.mark.parametrize("family", ["ipv6", "ipv4v6"])
@pytest.mark.parametrize("model", MODELS)
def test_over_a_context_that_carries_it(profiles, model, family):
    with on(profiles, model, family=family) as modem:
        for create, kind in ((create_tcp_socket, socket.SOCK_STREAM), (create_udp_socket, socket.SOCK_DGRAM)):
            with echo(kind) as port:
                assert echoed(modem, create, "::1", port) == b"six"


@pytest.mark.parametrize("model", MODELS)
def test_a_name_that_has_no_other_address(profiles, model):
    with (
        echo(socket.SOCK_STREAM) as port,
        on(profiles, model, family="ipv4v6", maps=[f"six.example=[::1]:{port}"]) as modem,
    ):
        assert echoed(modem, create_tcp_socket, "six.example", 7) == b"six"


@pytest.mark.parametrize("model", MODELS)
def test_an_ipv4_context_says_so_at_once(profiles, model):
    with on(profiles, model) as modem:
        modem.ensure_up()
        for create in (create_tcp_socket, create_udp_socket):
            sock = create(modem)
            begun = time.monotonic()
            with pytest.raises(ConnectError, match=r'is for IPv4 alone; give apn= and family="ipv4v6"') as caught:
                sock.connect("::1", "7", timeout=PATIENCE)
            assert caught.value.errno == errno.ENETUNREACH
            assert time.monotonic() - begun < 2
            sock.cleanup()


def test_anothers_context_is_not_made_to_carry_it(profiles):
    model = "ublox-sara-r4"
    with embedded.open(model, QUICK) as sim:
        for family in ("ipv4", "ipv4v6"):
            settings = Settings(profile=profiles[model], timeout=PATIENCE, apn="x", family=family)
            with attach(sim.path, settings) as modem:
                if family == "ipv4":
                    modem.ensure_up()
                    continue
                with pytest.raises(PdpError, match=r"active with the APN 'x' \(ipv4\), not 'x' \(ipv4v6\)"):
                    modem.ensure_up()
