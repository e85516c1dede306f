"""The driver with the profiles of the Nordic applications, over the simulated ones, to real servers."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import struct
import threading
import time

import pytest

from modemtls.at.grammar import Outcome
from modemtls.errors import CommandError, SocketClosedError
from modemtls.modem.attaching import attach
from modemtls.modem.settings import Settings
from modemtls.net import create_tcp_socket
from modemtls.sim import embedded
from modemtls.tlsengine import Settings as EngineSettings
from tests.support.dtls import DtlsEcho
from tests.support.nordic_profiles import OPEN, TAG, TLS
from tests.support.servers import echo, tls_service

MODELS = ("nordic-slm", "nordic-sm")
IDENTITY, KEY = b"dev-01", bytes.fromhex("00112233445566778899aabbccddeeff")
EVERY_BYTE = bytes(range(256))
PATIENCE = 5.0
EACH = pytest.mark.parametrize("model", MODELS)


class Programs:
    """A modem of the simulator, and the programs of its profile, run one by one."""

    def __init__(self, sim: embedded.EmbeddedModem) -> None:
        self.sim = sim
        self.modem = attach(sim.path, Settings(timeout=30))

    def __call__(self, op, **inputs):
        return self.modem.runner.run(op, inputs, deadline=self.modem.channel.clock() + PATIENCE)

    def store(self, kind, data):
        self("credential_write", name=TAG, data=data, size=len(data), kind=kind)

    def heard(self, family, socket, size):
        """Read until `size` bytes have come, or the end."""
        data, end = b"", time.monotonic() + PATIENCE
        while len(data) < size and time.monotonic() < end:
            got = self(f"{family}_receive", socket=socket, size=self.modem.profile.limits["receive"])
            data += got.payload
            if got.outcome in {Outcome.EOF, Outcome.CLOSED}:
                break
        return data


@contextlib.contextmanager
def programs(model, port=None, **variants):
    options = {"boot-time": "0.02", "registration-time": "0.02"}
    if "terminator" not in variants and model == "nordic-slm":
        options["terminator"] = "cr"  # found at once; what the other costs is the subject of the first test only
    options |= {name.replace("_", "-"): value for name, value in variants.items()}
    if port is not None:
        options["map"] = [f"good.example=127.0.0.1:{port}", f"bad.example=127.0.0.1:{port}"]
    with embedded.open(model, options) as sim:
        run = Programs(sim)
        try:
            run.modem.ensure_ready()
            yield run
        finally:
            run.modem.close()


@pytest.fixture(scope="module")
def leaf(pki):
    return pki.leaf("good.example")


@pytest.fixture(scope="module")
def server(leaf):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert, leaf.key)
    with tls_service(context, echo) as port:
        yield port


def secure(host="good.example", **others):
    names = {"sni_name": host, "expected_name": host}
    return {**TLS, **OPEN, "host": host, "version": 258, "dtls": False, **names, **others}


# -- the start ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "variants"),
    [
        ("nordic-sm", {}),
        ("nordic-sm", {"terminator": "crlf"}),
        ("nordic-slm", {"terminator": "crlf"}),
        ("nordic-slm", {"terminator": "cr"}),
    ],
)
def test_each_application_is_recognised_and_brought_up_whatever_ends_its_commands(model, variants):
    with programs(model, **variants) as run:
        assert run.modem.profile.name == model
        run.modem.ensure_up()
        assert [row["stat"] for row in run("registration").rows] == ["home"]
        assert [row["pdp"] for row in run("pdp_list").rows] == [0]


@pytest.mark.parametrize(("release", "numbers"), [("1.9.2", "old"), ("2.9.0", "new"), ("3.1.0", "new")])
def test_the_numbers_of_options_are_those_of_the_release(release, numbers):
    with programs("nordic-slm", release=release) as run:
        assert run.modem.runner.flag("option_numbers") == numbers


# -- the store ---------------------------------------------------------------------------------------------------------


@EACH
def test_what_is_stored_is_known_by_its_digest_and_not_written_while_the_radio_is_on(model, pki):
    ca = pki.ca.read_bytes()
    with programs(model) as run:
        run.store("ca", ca)
        run.store("psk", KEY)
        run.store("psk_identity", IDENTITY)
        rows = {row["kind"]: row["digest"].lower() for row in run("credential_list").rows if row["name"] == TAG}
        written = {"ca": ca, "psk": KEY.hex().upper().encode(), "psk_identity": IDENTITY}
        assert rows.pop("psk") in {hashlib.sha256(one).hexdigest() for one in (KEY, written.pop("psk"))}
        assert rows == {kind: hashlib.sha256(data).hexdigest() for kind, data in written.items()}
        assert run("credential_delete", name=TAG, kind="psk").outcome is Outcome.OK
        run.modem.ensure_up()
        with pytest.raises(CommandError) as caught:
            run.store("ca", ca)
        assert caught.value.kind == "not_allowed"
        run("radio_off")
        run.store("ca", ca)


# -- TLS ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "variants"), [("nordic-sm", {}), ("nordic-slm", {}), ("nordic-slm", {"terminator": "crlf"})]
)
def test_every_byte_goes_to_a_verified_server_and_back(model, variants, server, pki):
    with programs(model, server, **variants) as run:
        run.store("ca", pki.ca.read_bytes())
        run.modem.ensure_up()
        socket = run("tls_open", **secure()).values["socket"]
        for data in (EVERY_BYTE + b"++", b"a+++b++++", b"\r\nOK\r\nAT+CFUN=0\r\n" + b"x" * 1000):
            assert run("tls_send", socket=socket, data=data, size=len(data)).outcome is Outcome.OK
            assert run.heard("tls", socket, len(data)) == data
        assert run("tls_receive", socket=socket, size=100).outcome is Outcome.EMPTY
        assert [row["socket"] for row in run("tls_list").rows] == [socket]
        run("tls_close", socket=socket)
        assert list(run("tls_list").rows) == []


@EACH
def test_a_server_that_is_not_the_one_meant_is_refused(model, server, pki):
    wrong = {
        "bad.example": ({"host": "bad.example"}, "connect_or_handshake"),
        "another name": ({"host": "good.example", "expected_name": "bad.example"}, "connect_or_handshake"),
        "no such name": ({"host": "nowhere.invalid"}, "name_not_resolved"),
    }
    with programs(model, server) as run:
        run.store("ca", pki.ca.read_bytes())
        run.modem.ensure_up()
        for what, (wanted, kind) in wrong.items():
            with pytest.raises(CommandError) as caught:
                run("tls_open", **secure(**wanted))
            assert caught.value.kind == kind, what
        run("radio_off")
        run.store("ca", pki.self_signed("somebody").cert_pem)
        run("radio_on")
        with pytest.raises(CommandError):
            run("tls_open", **secure())


@EACH
def test_with_another_authority_a_connection_that_verifies_nobody_is_made(model, server, pki):
    with programs(model, server) as run:
        run.store("ca", pki.self_signed("somebody").cert_pem)
        run.modem.ensure_up()
        run("tls_open", **secure(verify=False, check_hostname=False, expected_name=None))


@EACH
def test_the_peers_end_is_told_once_everything_has_been_read(model, leaf, pki):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert, leaf.key)
    with tls_service(context, lambda stream: stream.sendall(b"goodbye")) as port, programs(model, port) as run:
        run.store("ca", pki.ca.read_bytes())
        run.modem.ensure_up()
        socket = run("tls_open", **secure()).values["socket"]
        assert run.heard("tls", socket, 1000) == b"goodbye"
        assert run("tls_receive", socket=socket, size=100).outcome is Outcome.EOF


# -- DTLS with a pre-shared key ----------------------------------------------------------------------------------------


@pytest.fixture
def datagrams():
    with DtlsEcho(EngineSettings(server=True, datagram=True, psks={IDENTITY: KEY})) as one:
        yield one


def keyed(**others):
    free = {"ca": None, "psk": TAG, "verify": False, "check_hostname": False, "expected_name": None, "sni": False}
    timers = {"dtls_timeout_min": 1, "dtls_timeout_max": 4, "dtls_timeout_total": 7}
    return secure(**{**free, "sni_name": None, "version": 273, "dtls": True, **timers, **others})


@pytest.mark.parametrize(
    ("model", "variants"),
    [("nordic-sm", {}), ("nordic-slm", {}), ("nordic-slm", {"release": "1.9.2"})],
)
def test_datagrams_under_a_pre_shared_key(model, variants, datagrams):
    with programs(model, datagrams.port, **variants) as run:
        run.store("psk", KEY)
        run.store("psk_identity", IDENTITY)
        run.modem.ensure_up()
        socket = run("dtls_open", **keyed()).values["socket"]
        for data in (b"\x40\x01\x12\x34", EVERY_BYTE):
            run("dtls_send", socket=socket, data=data, size=len(data))
            assert run.heard("dtls", socket, len(data)) == data
        assert run("cid_status", socket=socket).values["cid"] == "none" if run.modem.capabilities.get("cid") else True
        run("dtls_close", socket=socket)
        assert datagrams.heard == [b"\x40\x01\x12\x34", EVERY_BYTE]


@EACH
def test_a_wrong_key_is_refused(model, datagrams):
    with programs(model, datagrams.port) as run:
        run.store("psk", KEY[::-1])
        run.store("psk_identity", IDENTITY)
        run.modem.ensure_up()
        with pytest.raises(CommandError) as caught:
            run("dtls_open", **keyed(dtls_timeout_total=1, dtls_timeout_max=1))
        assert caught.value.kind == "connect_or_handshake"


@pytest.mark.parametrize("model", MODELS)
def test_firmware_without_connection_id_says_so(model, datagrams):
    with programs(model, datagrams.port, firmware="mfw_nrf9160_1.3.4") as run:
        run.store("psk", KEY)
        run.store("psk_identity", IDENTITY)
        run.modem.ensure_up()
        run("dtls_open", **keyed())
        with pytest.raises(CommandError, match="Connection ID") as caught:
            run("dtls_open", **keyed(cid=True))
        assert caught.value.kind == "not_supported"


# -- plain sockets, by the public interface ----------------------------------------------------------------------------


@EACH
def test_plain_tcp(model):
    with tls_service(None, echo) as port, programs(model, port) as run:
        sock = create_tcp_socket(run.modem)
        sock.connect("good.example", "7", timeout=PATIENCE)
        sock.send(EVERY_BYTE, timeout=PATIENCE)
        got = b""
        while len(got) < 256:
            got += sock.receive(256, timeout=PATIENCE)
        assert got == EVERY_BYTE
        sock.close()


@EACH
@pytest.mark.parametrize("loss", ["reset", "network"])
def test_a_connection_that_breaks_is_an_error_and_no_end(model, loss):
    def serve(stream):
        stream.sendall(stream.recv(100))
        if loss == "reset":
            stream.recv(100)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            over.wait(PATIENCE)

    over = threading.Event()
    with tls_service(None, serve) as port, programs(model, port) as run:
        sock = create_tcp_socket(run.modem)
        sock.connect("good.example", "7", timeout=PATIENCE)
        sock.send(b"hello", timeout=PATIENCE)
        assert sock.receive(100, timeout=PATIENCE) == b"hello"
        if loss == "reset":
            sock.send(b"go", timeout=PATIENCE)
        else:
            run.sim.fault_now("pdpdeact", "0")
        with pytest.raises(SocketClosedError):
            sock.receive(100, timeout=PATIENCE)
        assert sock.end_authenticated is None
        over.set()
