"""Libraries over TLS of this host, through plain TCP of a modem of each vendor, unchanged.

The modems are simulated; every server is real. What they are taken through over a modem's own TLS is in
test_sockets_libraries.
"""

from __future__ import annotations

import asyncio
import http.client
import queue
import select
import selectors
import ssl
import threading

import paho.mqtt.client as paho
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import serialization

import modemtls
from modemtls.sockets.mqtt import through
from modemtls.sockets.web import pool_manager
from tests.support import servers
from tests.support.contract_peers import tls_peer
from tests.support.hasty import hasty
from tests.support.pki import Pki

NAME = "server.example"
DATA = (
    bytes(range(256)) * 40 + b'\r\nOK\r\n+QIURC: "closed",0\r\n+UUSOCL: 0\r\n#XTCPRECV: 3\r\n> +++\r\nERROR\r\n\x1a\x1b'
)
UBLOX = "sim:ublox-sara-r5?boot-time=0.02&registration-time=0.02&pdp-time=0.01"


@pytest.fixture(scope="module", params=["sim:quectel-bg95", UBLOX, "sim:nordic-sm"], ids=lambda name: name[4:14])
def modem(request, tmp_path_factory):
    profile = None
    if request.param == UBLOX:
        profile = hasty("ublox-sara-r5", tmp_path_factory.mktemp("profiles"))
    with modemtls.open(request.param, apn="iot.example", profile=profile) as made:
        yield made


@pytest.fixture(scope="module")
def leaf(pki):
    return pki.leaf(NAME)


@pytest.fixture(scope="module")
def tls(pki):
    return modemtls.TLSConfig(ca=pki.ca)


@pytest.fixture(scope="module")
def site(tmp_path_factory, leaf):
    folder = tmp_path_factory.mktemp("site")
    (folder / "page.bin").write_bytes(DATA)
    with servers.https(leaf, folder) as port:
        yield port


@pytest.fixture(scope="module")
def echo(leaf):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert, leaf.key)
    with servers.tls_service(context, servers.echo) as port:
        yield port


def received(sock, count: int) -> bytes:
    got = b""
    while len(got) < count and (piece := sock.recv(4096)):
        got += piece
    return got


class TestLibraries:
    def test_http_client(self, modem, tls, site):
        client = http.client.HTTPConnection(NAME, site, timeout=20)
        client._create_connection = lambda *a, **k: modem.create_connection(*a, tls=tls, engine="host", **k)
        for _ in range(2):
            client.request("GET", "/page.bin")
            assert client.getresponse().read() == DATA
        client.close()

    def test_requests(self, modem, tls, site):
        with requests.Session() as session:
            session.mount("https://", modemtls.ModemAdapter(modem, tls=tls, engine="host"))
            session.trust_env = False
            for _ in range(2):
                assert session.get(f"https://{NAME}:{site}/page.bin", timeout=20).content == DATA
            with pytest.raises(requests.exceptions.ConnectionError, match=r"certificate of other\.example"):
                session.get(f"https://other.example:{site}/page.bin", timeout=20)

    def test_urllib3(self, modem, tls, site):
        with pool_manager(modem, tls=tls, engine="host", retries=False, timeout=20) as manager:
            assert manager.request("GET", f"https://{NAME}:{site}/page.bin").data == DATA

    @pytest.mark.server
    def test_paho(self, modem, tls, leaf, pki, tmp_path):
        arrived: queue.Queue = queue.Queue()
        subscribed = threading.Event()
        client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        client.on_connect = lambda c, *_: c.subscribe("things/#", qos=1)
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_message = lambda c, u, message: arrived.put((message.topic, message.payload))
        through(client, modem, tls=tls, engine="host")
        with servers.mosquitto(tmp_path, leaf, pki.ca) as broker:
            client.connect(NAME, broker)
            client.loop_start()
            try:
                assert subscribed.wait(10)
                for payload in (b"", b"21.5", DATA):
                    client.publish("things/one", payload, qos=1).wait_for_publish(10)
                    assert arrived.get(timeout=10) == ("things/one", payload)
            finally:
                client.disconnect()
                client.loop_stop()

    def test_asyncio(self, modem, tls, echo):
        async def talk():
            sock = await asyncio.to_thread(modem.connect, (NAME, echo), tls=tls, engine="host", timeout=20)
            reader, writer = await asyncio.open_connection(sock=sock)
            writer.write(DATA)
            got, _ = await asyncio.gather(reader.readexactly(len(DATA)), writer.drain())
            writer.close()
            await writer.wait_closed()
            return got

        assert asyncio.run(asyncio.wait_for(talk(), 30)) == DATA

    def test_files(self, modem, tls, echo):
        with modem.connect((NAME, echo), tls=tls, engine="host", timeout=20) as sock, sock.makefile("rwb") as file:
            file.write(b"one\ntwo\n")
            file.flush()
            assert [file.readline(), file.readline()] == [b"one\n", b"two\n"]

    def test_selectors(self, modem, tls, echo):
        with (
            modem.connect((NAME, echo), tls=tls, engine="host", timeout=20) as sock,
            selectors.DefaultSelector() as selector,
        ):
            sock.setblocking(False)
            selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
            out, got = memoryview(DATA), b""
            while len(got) < len(DATA):
                events = selector.select(10)
                assert events, f"nothing in ten seconds after {len(got)} bytes"
                for _, what in events:
                    try:
                        if what & selectors.EVENT_READ:
                            got += sock.recv(65536)
                        if what & selectors.EVENT_WRITE and out:
                            out = out[sock.send(out) :]
                    except BlockingIOError:
                        continue
                if not out:
                    selector.modify(sock, selectors.EVENT_READ)
            assert got == DATA

    def test_two_threads(self, modem, tls, echo):
        with modem.connect((NAME, echo), tls=tls, engine="host", timeout=20) as sock:
            sender = threading.Thread(target=sock.sendall, args=(DATA,))
            sender.start()
            assert received(sock, len(DATA)) == DATA
            sender.join(10)


class TestWhatIsTold:
    def test_engine_version_suite_protocol_and_certificate(self, modem, pki, leaf):
        tls = modemtls.TLSConfig(ca=pki.ca, max_version="1.2", suites=[0xC02F], alpn=["mine", "yours"])
        with (
            tls_peer(leaf, alpn=("yours",)) as peer,
            modem.connect((NAME, peer.port), tls=tls, engine="host", timeout=20) as sock,
        ):
            assert (sock.engine, sock.version()) == ("host", "TLSv1.2")
            assert sock.cipher() == ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLSv1.2", None)
            assert sock.selected_alpn_protocol() == "yours"
            der = x509.load_pem_x509_certificate(leaf.cert_pem).public_bytes(serialization.Encoding.DER)
            assert sock.getpeercert(binary_form=True) == der

    def test_an_end_is_authenticated_or_not(self, modem, tls, leaf):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf.cert, leaf.key)

        def politely(stream):
            stream.sendall(b"bye")
            stream.recv(1)
            stream.unwrap()

        def rudely(stream):
            stream.sendall(b"bye")
            stream.recv(1)

        for serve, authenticated in ((politely, True), (rudely, False)):
            with (
                servers.tls_service(context, serve) as port,
                modem.connect((NAME, port), tls=tls, engine="host", timeout=20) as sock,
            ):
                assert sock.end_authenticated is None
                sock.sendall(b"x")
                assert received(sock, 100) == b"bye"
                assert sock.end_authenticated is authenticated


class TestWhatIsVerified:
    """The same as by a modem, and here the reason is known."""

    def refused(self, modem, port, tls, name=NAME):
        with pytest.raises(modemtls.CertificateError) as caught:
            modem.connect((name, port), tls=tls, engine="host", timeout=20)
        assert isinstance(caught.value, ssl.SSLCertVerificationError)
        return str(caught.value)

    def test_name_authority_and_dates(self, modem, tls, pki, site, tmp_path):
        assert "other.example" in self.refused(modem, site, tls, "other.example")
        self.refused(modem, site, modemtls.TLSConfig(ca=Pki(tmp_path).ca))
        with servers.https(pki.leaf(NAME, days=(-10, -2)), tmp_path) as port:
            assert "expired" in self.refused(modem, port, tls)
        for careless in (modemtls.TLSConfig(ca=pki.ca, check_hostname=False), modemtls.TLSConfig(verify=False)):
            modem.connect(("other.example", site), tls=careless, engine="host", timeout=20).close()

    def test_the_store_of_this_host(self, modem, pki, site, monkeypatch):
        trusting = modemtls.TLSConfig(system_trust=True)
        self.refused(modem, site, trusting)
        monkeypatch.setenv("SSL_CERT_FILE", str(pki.ca))
        modem.connect((NAME, site), tls=trusting, engine="host", timeout=20).close()

    def test_an_encrypted_key_of_ours(self, modem, pki, leaf):
        mine = pki.client()
        key = serialization.load_pem_private_key(mine.key_pem, None).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"sesame"),
        )
        with tls_peer(leaf, client_ca=pki.ca) as peer:
            tls = modemtls.TLSConfig(ca=pki.ca, cert=mine.cert, key=modemtls.Encrypted(key, b"sesame"))
            with modem.connect((NAME, peer.port), tls=tls, engine="host", timeout=20) as sock:
                sock.sendall(b"x")
                assert sock.recv(1) == b"x"
            own = x509.load_pem_x509_certificate(mine.cert_pem).public_bytes(serialization.Encoding.DER)
            assert peer.certificates == [own]
            wrong = modemtls.TLSConfig(ca=pki.ca, cert=mine.cert, key=modemtls.Encrypted(key, b"mumble"))
            with pytest.raises(modemtls.CredentialError, match="password") as caught:
                modem.connect((NAME, peer.port), tls=wrong, engine="host", timeout=20)
            assert "mumble" not in str(caught.value)

    @pytest.mark.server
    @pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
    def test_a_key_of_both_sides(self, modem, leaf, tmp_path, version):
        options = ("-nocert", "-psk_identity", "gateway", "-psk", "00ff1122334455667788", version)
        key = bytes.fromhex("00ff1122334455667788")
        with servers.openssl_server(tmp_path, leaf, *options) as port:
            tls = modemtls.TLSConfig(psk=modemtls.Psk(b"gateway", key))
            with modem.connect((NAME, port), tls=tls, engine="host", timeout=20) as sock:
                sock.sendall(b"backwards\n")
                assert received(sock, 10) == b"sdrawkcab\n"
            wrong = modemtls.TLSConfig(psk=modemtls.Psk(b"gateway", key[1:]))
            with pytest.raises(modemtls.HandshakeError):
                modem.connect((NAME, port), tls=wrong, engine="host", timeout=20)


class TestSessions:
    @pytest.mark.parametrize("versions", [("TLSv1_2", "TLSv1_2"), ("TLSv1_3", "TLSv1_3")], ids=lambda v: v[0])
    def test_a_session_is_kept_in_the_callers_memory(self, modem, pki, leaf, versions):
        memory = bytearray(8192)
        tls = modemtls.TLSConfig(ca=pki.ca, session_resumption_buffer=memory)
        with tls_peer(leaf, versions=versions) as peer:

            def connect() -> bool:
                with modem.connect((NAME, peer.port), tls=tls, engine="host", timeout=20) as sock:
                    sock.sendall(b"x")
                    assert sock.recv(1) == b"x"
                return peer.reused[-1]

            assert not connect()
            assert any(memory)
            assert connect()
            memory[:] = bytes(len(memory))  # the caller's word for a full handshake
            assert not connect()
            assert connect()


class TestAuto:
    def test_the_host_where_the_modem_cannot(self, modem, pki, leaf, site):
        wanted = modemtls.TLSConfig(ca=pki.ca, min_version="1.3")
        with tls_peer(leaf) as peer, modem.connect((NAME, peer.port), tls=wanted, engine="auto", timeout=20) as sock:
            assert (sock.engine, sock.version()) == ("host", "TLSv1.3")

    def test_waiting_for_readability(self, modem, tls, echo):
        with modem.connect((NAME, echo), tls=tls, engine="host", timeout=20) as sock:
            assert select.select([sock], [], [], 0)[0] == []
            sock.sendall(b"x")
            assert select.select([sock], [], [], 10)[0] == [sock]
            assert sock.recv(10) == b"x"


def test_the_modem_where_it_can(pki, leaf):
    tls = modemtls.TLSConfig(ca=pki.ca)
    with (
        tls_peer(leaf) as peer,
        modemtls.open("sim:quectel-bg95") as modem,
        modem.connect((NAME, peer.port), tls=tls, engine="auto", timeout=20) as sock,
    ):
        assert sock.engine == "modem"
