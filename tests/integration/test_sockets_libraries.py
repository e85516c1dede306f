"""Libraries over the modem's own TLS, unchanged: http.client, requests, paho-mqtt, asyncio, files, selectors.

The modem is simulated, on a pseudo-terminal; its TLS, and every server, is real.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import queue
import select
import selectors
import socket
import ssl
import threading
import time

import paho.mqtt.client as paho
import pytest
import requests
import urllib3

import modemtls
from modemtls.sockets.mqtt import through
from modemtls.sockets.web import pool_manager
from tests.support import servers

NAME = "server.example"


@pytest.fixture(scope="module")
def modem():
    with modemtls.open("sim:quectel-bg95", apn="iot.example") as made:
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
    (folder / "hello.txt").write_bytes(b"hello over a modem\n")
    (folder / "large.bin").write_bytes(bytes(range(256)) * 400)
    with servers.https(leaf, folder) as port:
        yield port


@pytest.fixture(scope="module")
def echo(leaf):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert, leaf.key)
    with servers.tls_service(context, servers.echo) as port:
        yield port


@pytest.fixture(scope="module")
def broker(tmp_path_factory, leaf, pki):
    with servers.mosquitto(tmp_path_factory.mktemp("broker"), leaf, pki.ca) as port:
        yield port


LARGE = bytes(range(256)) * 400


class TestHttpClient:
    def test_get_keep_alive_and_large(self, modem, tls, site):
        client = http.client.HTTPConnection(NAME, site)
        client.sock = modem.connect((NAME, site), tls=tls, timeout=20)
        for _ in range(2):
            client.request("GET", "/hello.txt")
            answer = client.getresponse()
            assert (answer.status, answer.read()) == (200, b"hello over a modem\n")
        client.request("GET", "/large.bin", headers={"Connection": "close"})
        assert client.getresponse().read() == LARGE
        client.close()

    def test_as_its_connecting_function(self, modem, tls, site):
        client = http.client.HTTPConnection(NAME, site, timeout=20)
        client._create_connection = lambda *a, **k: modem.create_connection(*a, tls=tls, **k)
        client.request("GET", "/hello.txt")
        assert client.getresponse().read() == b"hello over a modem\n"
        client.close()


class TestRequests:
    def test_a_session(self, modem, tls, site):
        with requests.Session() as session:
            session.mount("https://", modemtls.ModemAdapter(modem, tls=tls))
            session.trust_env = False
            for _ in range(2):  # the second goes over the same connection
                answer = session.get(f"https://{NAME}:{site}/hello.txt", timeout=20)
                assert answer.text == "hello over a modem\n"
            assert session.get(f"https://{NAME}:{site}/large.bin", timeout=20).content == LARGE
            assert session.get(f"https://{NAME}:{site}/none", timeout=20).status_code == 404

    def test_streaming(self, modem, tls, site):
        with requests.Session() as session:
            session.mount("https://", modemtls.ModemAdapter(modem, tls=tls))
            session.trust_env = False
            with session.get(f"https://{NAME}:{site}/large.bin", timeout=20, stream=True) as answer:
                assert b"".join(answer.iter_content(1000)) == LARGE

    def test_a_wrong_name_is_a_connection_error_with_the_reason(self, modem, tls, site):
        with requests.Session() as session:
            session.mount("https://", modemtls.ModemAdapter(modem, tls=tls))
            session.trust_env = False
            with pytest.raises(requests.exceptions.ConnectionError, match=r"other\.example"):
                session.get(f"https://other.example:{site}/hello.txt", timeout=20)

    def test_what_belongs_to_the_hosts_tls_is_refused(self, modem, tls, site):
        with requests.Session() as session:
            session.mount("https://", modemtls.ModemAdapter(modem, tls=tls))
            session.trust_env = False
            for options in ({"verify": False}, {"verify": "/x.pem"}, {"cert": "/x.pem"}):
                with pytest.raises(modemtls.ConfigurationError, match="TLSConfig"):
                    session.get(f"https://{NAME}:{site}/hello.txt", **options)
            with pytest.raises(modemtls.NotSupportedError, match="proxy"):
                session.get(f"https://{NAME}:{site}/hello.txt", proxies={"https": "http://proxy.example:3128"})

    def test_urllib3_alone(self, modem, tls, site):
        with pool_manager(modem, tls=tls, retries=False, timeout=20) as manager:
            assert manager.request("GET", f"https://{NAME}:{site}/hello.txt").data == b"hello over a modem\n"
            with pytest.raises(urllib3.exceptions.NewConnectionError):
                manager.request("GET", f"http://{NAME}:{servers.free_port()}/")


class TestOtherServers:
    @pytest.mark.server
    def test_nginx_sees_version_name_and_client_certificate(self, modem, pki, leaf, tmp_path):
        mine = pki.client()
        with servers.nginx(tmp_path, leaf, pki.ca, tmp_path) as port:
            for extra, verdict in (({}, "NONE"), ({"cert": mine.cert, "key": mine.key}, "SUCCESS")):
                tls = modemtls.TLSConfig(ca=pki.ca, suites=[0xC02F], **extra)
                with pool_manager(modem, tls=tls, retries=False, timeout=20) as manager:
                    told = manager.request("GET", f"https://{NAME}:{port}/tls").data.decode().split()
                assert told == ["TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256", NAME, verdict]

    @pytest.mark.server
    def test_openssl_s_server(self, modem, tls, leaf, tmp_path):
        with (
            servers.openssl_server(tmp_path, leaf) as port,
            modem.connect((NAME, port), tls=tls, timeout=20) as sock,
            sock.makefile("rwb") as file,
        ):
            file.write(b"backwards\n")
            file.flush()
            assert file.readline() == b"sdrawkcab\n"


class TestPaho:
    @pytest.mark.server
    def test_publish_and_receive(self, modem, tls, broker):
        arrived: queue.Queue = queue.Queue()
        subscribed = threading.Event()
        client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        client.on_connect = lambda c, *_: c.subscribe("things/#", qos=1)
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_message = lambda c, u, message: arrived.put((message.topic, message.payload))
        through(client, modem, tls=tls)
        client.connect(NAME, broker)
        client.loop_start()
        try:
            assert subscribed.wait(10)
            big = bytes(range(256)) * 100
            for payload in (b"", b"21.5", big):
                client.publish("things/one", payload, qos=1).wait_for_publish(10)
                assert arrived.get(timeout=10) == ("things/one", payload)
        finally:
            client.disconnect()
            client.loop_stop()

    @pytest.mark.server
    def test_comes_back_by_itself_when_the_connection_is_lost(self, modem, tls, broker):
        connects: queue.Queue = queue.Queue()
        client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        client.reconnect_delay_set(1, 1)
        client.on_connect = lambda *_: connects.put(True)
        through(client, modem, tls=tls)
        client.connect(NAME, broker)
        client.loop_start()
        try:
            assert connects.get(timeout=10)
            client.socket().shutdown(socket.SHUT_RDWR)
            assert connects.get(timeout=10)
        finally:
            client.disconnect()
            client.loop_stop()


class TestAsyncio:
    def test_streams(self, modem, tls, echo):
        async def talk():
            sock = await asyncio.to_thread(modem.connect, (NAME, echo), tls=tls, timeout=20)
            reader, writer = await asyncio.open_connection(sock=sock)
            assert writer.get_extra_info("peername") == (NAME, echo)
            writer.write(LARGE)
            got, _ = await asyncio.gather(reader.readexactly(len(LARGE)), writer.drain())
            writer.write(b"line\n")
            assert await reader.readline() == b"line\n"
            writer.close()
            await writer.wait_closed()
            return got

        assert asyncio.run(asyncio.wait_for(talk(), 30)) == LARGE

    def test_end_of_stream_and_debug_mode(self, modem, leaf, tls):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf.cert, leaf.key)

        async def talk(port):
            sock = await asyncio.to_thread(modem.connect, (NAME, port), tls=tls, timeout=20)
            reader, writer = await asyncio.open_connection(sock=sock)
            data = await reader.read()
            writer.close()
            await writer.wait_closed()
            return data

        with servers.tls_service(context, lambda stream: stream.sendall(b"x" * 5000)) as port:
            assert asyncio.run(asyncio.wait_for(talk(port), 30), debug=True) == b"x" * 5000

    @pytest.mark.parametrize("transport", [True, False])
    def test_sendfile(self, modem, tls, echo, tmp_path, transport):
        (tmp_path / "file").write_bytes(LARGE)

        async def talk():
            loop = asyncio.get_running_loop()
            sock = await asyncio.to_thread(modem.connect, (NAME, echo), tls=tls, timeout=20)
            sock.setblocking(False)
            with sock, (tmp_path / "file").open("rb") as file:
                if not transport:
                    sending = asyncio.create_task(loop.sock_sendfile(sock, file))
                    got = b""
                    while len(got) < len(LARGE):
                        got += await loop.sock_recv(sock, 4096)
                    assert await sending == len(LARGE)
                    return got
                reader, writer = await asyncio.open_connection(sock=sock)
                got, count = await asyncio.gather(reader.readexactly(len(LARGE)), loop.sendfile(writer.transport, file))
                assert count == len(LARGE)
                writer.close()
                await writer.wait_closed()
                return got

        assert asyncio.run(asyncio.wait_for(talk(), 10)) == LARGE

    def test_loop_socket_calls(self, modem, tls, echo):
        async def talk():
            loop = asyncio.get_running_loop()
            sock = await asyncio.to_thread(modem.connect, (NAME, echo), tls=tls, timeout=20)
            with sock:
                sock.setblocking(False)
                await loop.sock_sendall(sock, LARGE[:20000])
                got = b""
                while len(got) < 20000:
                    got += await loop.sock_recv(sock, 4096)
                return got

        assert asyncio.run(asyncio.wait_for(talk(), 30)) == LARGE[:20000]


class TestPlainUse:
    def test_makefile(self, modem, tls, echo):
        with modem.connect((NAME, echo), tls=tls, timeout=20) as sock, sock.makefile("rwb") as file:
            file.write(b"one\ntwo\n")
            file.flush()
            assert [file.readline(), file.readline()] == [b"one\n", b"two\n"]

    def test_selectors_both_ways(self, modem, tls, echo):
        with modem.connect((NAME, echo), tls=tls) as sock, selectors.DefaultSelector() as selector:
            sock.setblocking(False)
            selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
            out, got = memoryview(LARGE), b""
            end = time.monotonic() + 30
            while len(got) < len(LARGE) and time.monotonic() < end:
                for _, events in selector.select(5):
                    if events & selectors.EVENT_READ:
                        with contextlib.suppress(BlockingIOError):
                            got += sock.recv(65536)
                    if events & selectors.EVENT_WRITE and out:
                        out = out[sock.send(out) :]
                if not out:
                    selector.modify(sock, selectors.EVENT_READ)
            assert got == LARGE

    def test_every_byte_and_text_that_looks_like_the_modems(self, modem, tls, echo):
        data = (
            bytes(range(256))
            + b'\r\nOK\r\n\r\n+QSSLURC: "closed",0\r\n> +++\r\nERROR\r\n\x1a\x1b\r\n+QSSLRECV: 5\r\n\r\nRDY\r\n'
        ) * 20
        with modem.connect((NAME, echo), tls=tls, timeout=20) as sock:
            sock.sendall(data)
            got = b""
            while len(got) < len(data):
                got += sock.recv(4096)
            assert got == data

    @pytest.mark.parametrize("receive", ["buffered", "push"])
    def test_remote_close_with_data_unread_in_the_modem(self, modem, leaf, tls, receive):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf.cert, leaf.key)

        def serve(stream):
            stream.sendall(LARGE[:9000])
            stream.setblocking(False)
            with contextlib.suppress(ssl.SSLWantReadError):
                stream.unwrap()  # close_notify; the answer is not waited for

        with (
            servers.tls_service(context, serve) as port,
            modem.connect((NAME, port), tls=tls, timeout=20, receive=receive) as sock,
        ):
            end = time.monotonic() + 10
            while sock.connection._link.slot.closed is None and time.monotonic() < end:
                time.sleep(0.005)
            assert sock.connection._link.slot.closed
            got = b""
            while piece := sock.recv(4096):
                got += piece
            assert got == LARGE[:9000]
            assert sock.recv(1) == b""
            assert sock.end_authenticated is False

    def test_push(self, modem, tls, echo):
        with modem.connect((NAME, echo), tls=tls, timeout=20, receive="push") as sock:
            sock.sendall(LARGE[:30000])
            got = b""
            while len(got) < 30000:
                assert select.select([sock], [], [], 10)[0]
                got += sock.recv(65536)
            assert got == LARGE[:30000]

    def test_plain_tcp(self, modem):
        with (
            servers.tls_service(None, servers.echo) as port,
            modem.connect((NAME, port), tls=None, timeout=20) as sock,
        ):
            sock.sendall(LARGE[:10000])
            got = b""
            while len(got) < 10000:
                got += sock.recv(4096)
            assert got == LARGE[:10000]
            assert sock.version() is None

    def test_two_threads(self, modem, tls, echo):
        with modem.connect((NAME, echo), tls=tls, timeout=20) as sock:
            sender = threading.Thread(target=sock.sendall, args=(LARGE,))
            sender.start()
            digest, count = hashlib.sha256(), 0
            while count < len(LARGE):
                piece = sock.recv(8192)
                digest.update(piece)
                count += len(piece)
            sender.join(10)
            assert digest.digest() == hashlib.sha256(LARGE).digest()

    def test_up_to_the_modems_limit_at_once_then_a_clear_error(self, modem, tls, echo):
        with contextlib.ExitStack() as stack:
            socks = [
                stack.enter_context(modem.connect((NAME, echo), tls=tls, timeout=20))
                for _ in modem.limits["tls_sockets"]
            ]
            for number, sock in enumerate(socks):
                sock.sendall(b"%d" % number * 100)
            for number, sock in enumerate(socks):
                want, got = b"%d" % number * 100, b""
                while len(got) < len(want):
                    got += sock.recv(4096)
                assert got == want
            with pytest.raises(modemtls.ModemError, match="in use"):
                modem.connect((NAME, echo), tls=tls, timeout=20)
        modem.connect((NAME, echo), tls=tls, timeout=20).close()

    def test_a_timeout_leaves_everything_usable(self, modem, tls, echo):
        with modem.connect((NAME, echo), tls=tls, timeout=20) as sock:
            sock.settimeout(0.02)
            with pytest.raises(TimeoutError):
                sock.recv(1)
            sock.settimeout(20)
            sock.sendall(b"still here")
            assert sock.recv(100) == b"still here"


class TestRefusals:
    def refused(self, modem, port, tls, name=NAME):
        with pytest.raises(modemtls.ConnectOrHandshakeError) as caught:
            modem.connect((name, port), tls=tls, timeout=20)
        error = caught.value
        assert isinstance(error, ssl.SSLError)
        assert isinstance(error, ConnectionError)
        assert "does not distinguish" in str(error)
        return str(error)

    def test_another_name(self, modem, tls, site):
        assert "for another name" in self.refused(modem, site, tls, "other.example")

    def test_another_ca(self, modem, site, tmp_path):
        from tests.support.pki import Pki

        assert "CA" in self.refused(modem, site, modemtls.TLSConfig(ca=Pki(tmp_path).ca))

    def test_expired(self, modem, tls, pki, tmp_path):
        with servers.https(pki.leaf(NAME, days=(-10, -2)), tmp_path) as port:
            assert "out of date" in self.refused(modem, port, tls)
            careless = modemtls.TLSConfig(ca=pki.ca, check_dates=False)
            modem.connect((NAME, port), tls=careless, timeout=20).close()

    def test_the_ways_out_are_different_words(self, modem, pki, site, tmp_path):
        chain_only = modemtls.TLSConfig(ca=pki.ca, check_hostname=False)
        modem.connect(("other.example", site), tls=chain_only, timeout=20).close()
        from tests.support.pki import Pki

        stranger = modemtls.TLSConfig(ca=Pki(tmp_path).ca, check_hostname=False)
        self.refused(modem, site, stranger, "other.example")
        modem.connect(("other.example", site), tls=modemtls.TLSConfig(verify=False), timeout=20).close()

    def test_nobody_listens(self, modem, tls):
        self.refused(modem, servers.free_port(), tls)
        with pytest.raises(modemtls.ConnectError):
            modem.connect((NAME, servers.free_port()), tls=None, timeout=20)

    def test_no_such_name(self, modem, tls):
        with pytest.raises(modemtls.NameResolutionError):
            modem.connect(("nowhere.invalid", 443), tls=tls, timeout=20)

    def test_client_certificate(self, modem, tls, pki, leaf, tmp_path):
        (tmp_path / "x").write_bytes(b"for members")
        mine = pki.client()
        with servers.https(leaf, tmp_path, client_ca=pki.ca) as port:
            member = modemtls.TLSConfig(ca=pki.ca, cert=mine.cert, key=mine.key)
            client = http.client.HTTPConnection(NAME, port)
            client.sock = modem.connect((NAME, port), tls=member, timeout=20)
            client.request("GET", "/x")
            assert client.getresponse().read() == b"for members"
            client.close()
            self.refused(modem, port, tls)

    def test_what_the_modem_cannot_do_is_told_before_it_connects(self, modem, pki, site):
        for wrong in ({"min_version": "1.3"}, {"suites": [0xC02F, 0xC02B]}, {"sni": "other.example"}, {"alpn": ["h2"]}):
            with pytest.raises(modemtls.NotSupportedError) as caught:
                modem.connect((NAME, site), tls=modemtls.TLSConfig(ca=pki.ca, **wrong), timeout=20)
            assert caught.value.choices
        one = modemtls.TLSConfig(ca=pki.ca, suites=[0xC02F])
        with modem.connect((NAME, site), tls=one, timeout=20) as sock:
            assert sock.version() == "TLSv1.2"
