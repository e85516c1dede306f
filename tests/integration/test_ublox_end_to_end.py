"""The driver with the profiles of the u-blox modules, over the simulated modules, to real servers."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading

import pytest

import modemtls
from modemtls.errors import CommandError, ConnectError, ConnectOrHandshakeError, NotSupportedError, PortLostError
from modemtls.modem.attaching import attach
from modemtls.modem.settings import Settings, TlsSettings
from modemtls.modem.sockets import Opening
from modemtls.sim import embedded
from modemtls.tlsengine import Settings as EngineSettings
from tests.support.dtls import DtlsEcho
from tests.support.hasty import hasty
from tests.support.pki import Pki
from tests.support.servers import echo, free_port, https, openssl_server, tls_service

R4, R5 = "ublox-sara-r4", "ublox-sara-r5"
QUICK = {"boot-time": "0.02", "registration-time": "0.02", "pdp-time": "0.01"}
MODULES = {
    "r5": (R5, {}),
    "r5-01b": (R5, {"firmware": "03.15,A00.01"}),
    "r410m": (R4, {"module": "R410M-02B"}),
    "r422s": (R4, {"module": "R422S"}),
}
EACH = pytest.mark.parametrize("module", MODULES)
SOME = pytest.mark.parametrize("module", ["r5", "r410m", "r422s"])
PATIENCE = 5.0


@pytest.fixture(scope="module", name="hasty")
def hasty_fixture(tmp_path_factory):
    made = {name: hasty(name, tmp_path_factory.mktemp("profiles")) for name in (R4, R5)}
    return lambda module: made[MODULES[module][0]]


@contextlib.contextmanager
def simulated(module: str, ports: dict[str, int] | None = None, **variants: str):
    model, own = MODULES[module]
    options = {**QUICK, **own, **{name.replace("_", "-"): value for name, value in variants.items()}}
    options["map"] = [f"{name}=127.0.0.1:{port}" for name, port in (ports or {}).items()]
    with embedded.open(model, options) as sim:
        yield sim


def sent(sim, start: str) -> list[str]:
    return [line for line in sim.commands if line.startswith(start)]


@pytest.fixture(scope="module")
def leaf(pki):
    return pki.leaf("good.example")


@pytest.fixture(scope="module")
def page(leaf, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    (folder / "page.txt").write_bytes(bytes(range(256)) * 20)
    with https(leaf, folder) as port:
        yield port


@pytest.fixture(scope="module")
def echoing(leaf):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert, leaf.key)
    with tls_service(context, echo) as port:
        yield port


# -- through the public API ----------------------------------------------------------------------------------------


def fetch(sock: socket.socket) -> bytes:
    connection = http.client.HTTPConnection("good.example", timeout=PATIENCE)
    connection.sock = sock
    connection.request("GET", "/page.txt", headers={"Connection": "close"})
    answer = connection.getresponse()
    assert answer.status == 200
    return answer.read()


@EACH
def test_a_page_of_all_bytes_and_again_with_settings_that_are_there(module, page, pki):
    with simulated(module, {"good.example": page}) as sim, modemtls.open(sim.path) as modem:
        tls = modemtls.TLSConfig(ca=pki.ca)
        for _ in range(2):
            with modem.connect(("good.example", 443), tls=tls, timeout=30) as sock:
                assert fetch(sock) == bytes(range(256)) * 20
        # One upload, one context, and its level written once, last.
        assert len(sent(sim, "AT+USECMNG=0,")) == 1
        assert sent(sim, "AT+USECPRF=4,0,") == ["AT+USECPRF=4,0,3"]
        written = [line for line in sent(sim, "AT+USECPRF=4") if line.count(",") > 1 or line == "AT+USECPRF=4"]
        assert written[0] == "AT+USECPRF=4"
        assert written[-1] == "AT+USECPRF=4,0,3"
        secrets = [line for line in sent(sim, "AT+USECPRF") if line.endswith((",7", ",8"))]
        assert secrets == []


@SOME
def test_a_wrong_name_is_refused_every_time_and_costs_no_socket(module, echoing, pki, hasty):
    servers = {"good.example": echoing, "bad.example": echoing}
    with simulated(module, servers) as sim, modemtls.open(sim.path, profile=hasty(module)) as modem:
        tls = modemtls.TLSConfig(ca=pki.ca)
        for _ in range(8 if module == "r5" else 2):  # there are 7 numbers
            with pytest.raises(ConnectOrHandshakeError):
                modem.connect(("bad.example", 443), tls=tls, timeout=30)
        with modem.connect(("good.example", 443), tls=tls, timeout=30) as sock:
            sock.sendall(b"hello")
            assert sock.recv(100) == b"hello"
        assert set(sent(sim, "AT+USOSEC=")) >= {"AT+USOSEC=0,1,4", "AT+USOSEC=0,1,3"}
        assert sent(sim, "AT+USOSEC=1") == []


@SOME
def test_a_stranger_is_refused(module, echoing, tmp_path, hasty):
    other = Pki(tmp_path)
    servers = {"good.example": echoing}
    with simulated(module, servers) as sim, modemtls.open(sim.path, profile=hasty(module)) as modem:
        with pytest.raises(ConnectOrHandshakeError):
            modem.connect(("good.example", 443), tls=modemtls.TLSConfig(ca=other.ca), timeout=30)
        assert sent(sim, "AT+USOWR") == []


@SOME
def test_both_show_certificates(module, leaf, pki, tmp_path, hasty):
    client = pki.client()
    (tmp_path / "page.txt").write_bytes(bytes(range(256)) * 20)
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(https(leaf, tmp_path, client_ca=pki.ca))
        sim = stack.enter_context(simulated(module, {"good.example": port}))
        modem = stack.enter_context(modemtls.open(sim.path, profile=hasty(module)))
        tls = modemtls.TLSConfig(ca=pki.ca, cert=client.cert, key=client.key)
        with modem.connect(("good.example", 443), tls=tls, timeout=30) as sock:
            assert fetch(sock) == bytes(range(256)) * 20
        assert sorted(line[:14] for line in sent(sim, "AT+USECMNG=0,")) == [
            f"AT+USECMNG=0,{kind}" for kind in (0, 1, 2)
        ]


@SOME
def test_plain_tcp(module, hasty):
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(tls_service(None, echo))
        sim = stack.enter_context(simulated(module, {"plain.example": port}))
        modem = stack.enter_context(modemtls.open(sim.path, profile=hasty(module)))
        with modem.connect(("plain.example", 80), tls=None, timeout=30) as sock:
            sock.sendall(bytes(range(256)) * 10)  # more than one command takes
            got = b""
            while len(got) < 2560:
                got += sock.recv(4096)
            assert got == bytes(range(256)) * 10
        assert sent(sim, "AT+USOSEC") == []


@SOME
def test_nobody_there(module, hasty):
    servers = {"plain.example": free_port()}
    with simulated(module, servers) as sim, modemtls.open(sim.path, profile=hasty(module)) as modem:  # noqa: SIM117
        with pytest.raises(ConnectError):
            modem.connect(("plain.example", 80), tls=None, timeout=30)


def test_a_plain_r422_has_tcp_and_no_tls(pki):
    options = {**QUICK, "module": "R422"}
    with tls_service(None, echo) as port:
        options["map"] = [f"plain.example=127.0.0.1:{port}"]
        with embedded.open(R4, options) as sim, modemtls.open(sim.path) as modem:
            with modem.connect(("plain.example", 80), tls=None, timeout=30) as sock:
                sock.sendall(b"hello")
                assert sock.recv(100) == b"hello"
            with pytest.raises(NotSupportedError):
                modem.connect(("good.example", 443), tls=modemtls.TLSConfig(ca=pki.ca), timeout=30)


@pytest.mark.parametrize(
    ("module", "variants"),
    [
        ("r5", {"prompt_gap": "strict", "import_answer_op": "1"}),
        ("r5", {"missing_name": "error", "list_style": "spaced", "colon_space": "no", "read_blank_line": "no"}),
        ("r410m", {"missing_name": "4", "list_style": "quoted-tag", "short_writes": "2"}),
        ("r410m", {"list_style": "blank-lines", "expiry": "date-time", "lost_write_lines": "2"}),
        ("r422s", {"list_style": "short", "send_fail_every": "2", "second_suite": "fail"}),
        ("r422s", {"fresh_store": "yes"}),
        ("r410m", {"empty_read": "zero", "uusocl_after_failed": "no"}),
        ("r5", {"urcs_in_answer": "emit", "urcs_at_prompt": "emit", "absent_name": "usecprf"}),
        ("r5", {"empty_name": "pass", "nameless_level": "refuse", "host_names": "either"}),
        ("r410m", {"version": "exact", "async_tls": "tcp"}),
    ],
    ids=lambda v: v if isinstance(v, str) else next(iter(v)),
)
def test_whatever_the_documents_leave_open(module, page, pki, variants, hasty):
    with contextlib.ExitStack() as stack:
        sim = stack.enter_context(simulated(module, {"good.example": page, "bad.example": page}, **variants))
        profile = None if "prompt_gap" in variants else hasty(module)  # which is about the silence that this lacks
        modem = stack.enter_context(modemtls.open(sim.path, profile=profile))
        tls = modemtls.TLSConfig(ca=pki.ca)
        with pytest.raises(modemtls.ModemError):  # noqa: SIM117
            with modem.connect(("bad.example", 443), tls=tls, timeout=30) as sock:
                fetch(sock)
        with modem.connect(("good.example", 443), tls=tls, timeout=30) as sock:
            assert fetch(sock) == bytes(range(256)) * 20


# -- what the modem layer can, and the contract will ---------------------------------------------------------------

KEY, IDENTITY = bytes.fromhex("00112233445566778899AABBCCDDEEFF"), b"device-17"
CCM8 = {"r5": '100,"C0","A8",0', "r5-01b": '100,"C0","A8",0', "r422s": '99,"C0","A8"'}


class User:
    """What the layers above do for a connection."""

    def __init__(self, sim, profile):
        self.modem = attach(sim.path, Settings(timeout=30, profile=profile))

    def __enter__(self):
        self.modem.ensure_up()
        return self

    def __exit__(self, *_):
        self.modem.close()

    def open(self, settings=None, host="peer.example", port=5684, **wanted):
        if settings is None:
            return self.modem.open(Opening(host=host, port=port, **wanted))
        with self.modem.contexts.lease(settings) as lease:
            return self.modem.open(Opening(host=host, port=port, lease=lease, **wanted))

    def send(self, slot, data):
        return self.modem.sockets.run(slot, "send", {"data": data, "size": len(data)})

    def heard(self, slot):
        while True:
            assert self.modem.channel.wait(lambda: slot.readable, self.modem.now() + PATIENCE)
            mark = slot.mark()
            if payload := self.modem.sockets.run(slot, "receive", {"size": 1024}).payload:
                return payload
            slot.drained(mark)


def with_key(module, key=KEY, **more):
    return TlsSettings(
        version=3, suites=(CCM8[module],), verify=False, check_hostname=False, check_dates=False, sni=False,
        psk_identity=IDENTITY, psk_key=key, dtls=True, **more,
    )  # fmt: skip


@pytest.fixture(name="dtls")
def dtls_fixture():
    settings = EngineSettings(server=True, datagram=True, psks={IDENTITY: KEY}, suites=(0xC0A8,))
    with DtlsEcho(settings) as server:
        yield server


@pytest.mark.parametrize("connections", [1, 7])
def test_an_unplugged_port_is_what_every_connect_tells_of(hasty, connections):
    with (
        tls_service(None, echo) as port,
        simulated("r5", {"peer.example": port}) as sim,
        User(sim, hasty("r5")) as user,
    ):
        for _ in range(connections):
            user.open(family="tcp")
        sim.fault_now("unplug")
        if connections == 7:  # with nothing to send it has to be seen first
            channel = user.modem.channel
            with pytest.raises(PortLostError):
                channel.wait(lambda: False, channel.clock() + 5)
        for _ in range(8):  # there are 7 numbers
            with pytest.raises(PortLostError):
                user.open(family="tcp")


@pytest.mark.parametrize("module", ["r5", "r422s"])
def test_dtls_with_a_pre_shared_key(module, dtls, hasty):
    with simulated(module, {"peer.example": dtls.port}) as sim, User(sim, hasty(module)) as user:
        slot = user.open(with_key(module), family="dtls")
        for datagram in (b"\x40\x01\x12\x34", bytes(range(256))):
            user.send(slot, datagram)
            assert user.heard(slot) == datagram
        user.modem.sockets.close(slot)
        assert dtls.heard == [b"\x40\x01\x12\x34", bytes(range(256))]
        assert dtls.handshakes[0].suite == 0xC0A8


@pytest.mark.parametrize("module", ["r5", "r422s"])
def test_another_key_is_refused_and_the_modem_is_usable(module, dtls, hasty):
    with simulated(module, {"peer.example": dtls.port}, handshake_time="2") as sim, User(sim, hasty(module)) as user:
        with pytest.raises(CommandError) as caught:
            user.open(with_key(module, key=bytes(16)), family="dtls")
        assert caught.value.kind in {"connect_or_handshake", "timeout"}
        slot = user.open(with_key(module), family="dtls")
        user.send(slot, b"hello")
        assert user.heard(slot) == b"hello"


@pytest.mark.parametrize("module", ["r5", "r422s"])
def test_a_session_is_resumed_only_if_it_is_given_back(module, leaf, pki, tmp_path, hasty):
    with contextlib.ExitStack() as stack:
        # These modules resume by session ID, not by ticket.
        port = stack.enter_context(openssl_server(tmp_path, leaf, "-no_ticket", "-tls1_2"))
        sim = stack.enter_context(simulated(module, {"peer.example": port}))
        user = stack.enter_context(User(sim, hasty(module)))
        holding = stack.enter_context(user.modem.credentials.hold())
        settings = TlsSettings(
            version=3, suites=("0",), ca=holding.ensure("ca", pki.ca.read_bytes()), check_hostname=False,
            check_dates=False, sni=False, resume=True,
        )  # fmt: skip
        first = user.open(settings, family="tls")
        told = dict(first.session)
        assert (first.resumed, bool(told["session_id"])) == (False, True)
        user.modem.sockets.close(first)
        again = user.open(settings, family="tls", session=told)
        assert again.resumed is True
        user.modem.sockets.close(again)
        anew = user.open(settings, family="tls", purge=True)
        assert anew.resumed is False
        user.send(anew, b"hello\n")
        assert user.heard(anew) == b"olleh\n"


@SOME
def test_udp_with_and_without_a_peer(module, hasty):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(PATIENCE)
        port = peer.getsockname()[1]
        with simulated(module, {"peer.example": port}) as sim, User(sim, hasty(module)) as user:
            slot = user.open(family="udp", port=7)
            user.send(slot, b"\0\xff")
            data, whence = peer.recvfrom(100)
            assert data == b"\0\xff"
            peer.sendto(b'"\r\nOK\r\n', whence)
            assert user.heard(slot) == b'"\r\nOK\r\n'
            user.modem.sockets.close(slot)
            slot = user.open(family="udp", how="bind")
            to = {"host": "peer.example", "port": 7, "data": b"hello", "size": 5}
            user.modem.sockets.run(slot, "sendto", to)
            data, whence = peer.recvfrom(100)
            assert data == b"hello"
            peer.sendto(b"there", whence)
            assert user.modem.channel.wait(lambda: slot.readable, user.modem.now() + PATIENCE)
            got = user.modem.sockets.run(slot, "receivefrom", {"size": 1024})
            assert got.payload == b"there"
            assert got.values["port"] > 0


def test_an_r5_listens(hasty):
    with simulated("r5") as sim, User(sim, hasty("r5")) as user:
        slot = user.open(family="tcp", how="listen", local_port=1099)
        assert slot.number == 0
        assert sent(sim, "AT+USOLI=") == ["AT+USOLI=0,1099"]
        user.modem.sockets.close(slot)
        assert sent(sim, "AT+USOCL=") == ["AT+USOCL=0"]


def test_four_at_once(echoing, pki, hasty):
    servers = {"good.example": echoing}
    with simulated("r5", servers) as sim, modemtls.open(sim.path, profile=hasty("r5")) as modem:
        tls = modemtls.TLSConfig(ca=pki.ca)
        results = []

        def one(text: bytes) -> None:
            with modem.connect(("good.example", 443), tls=tls, timeout=30) as sock:
                sock.sendall(text)
                results.append(sock.recv(100))

        threads = [threading.Thread(target=one, args=(b"%d" % n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(results) == [b"0", b"1", b"2", b"3"]
        assert len(sent(sim, "AT+USECMNG=0,")) == 1
