"""The peers: server programs that are not this project's, what each can do, and how to talk to it.

Every server speaks all its versions; it is the client that is told to speak exactly one.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path

from aiocoap import GET, Message
from aiocoap.numbers.codes import CONTENT
from aiocoap.numbers.types import CON

from modemtls.net import Socket, TlsVersion
from modemtls.tlsengine import Settings, Verify
from tests.peers.features import Feature
from tests.support import dtls, dtls_peers, servers
from tests.support.pki import Leaf, Pki
from tests.support.subjects import NAME
from tests.support.tls_ends import need_mbedtls

PERSON = "gateway"
"""The client: the common name of its certificate, and its identity with a key."""
IDENTITY, KEY = PERSON.encode(), b"0123456789abcdef"  # letters and digits: the key of coap-server is a text
PATIENCE = 10.0


@dataclass(frozen=True)
class Told:
    """What a server says of a connection; None is what it does not tell."""

    version: str | None = None
    client: str | None = None
    """Who it took the client for: ``PERSON``, or "" for nobody."""
    resumed: bool | None = None
    cid: bool | None = None


@dataclass
class Place:
    """Where a server runs: scratch files, the CA, the server's certificate and the client's."""

    folder: Path
    pki: Pki
    leaf: Leaf


@dataclass
class Service:
    """A server that runs: the port for each client, and how to talk to it.

    ``talk`` carries data both ways over a connected socket, and returns what the server tells of the connection.
    """

    ports: Iterator[int]
    talk: Callable[[Socket, Feature], Told]


Serve = Callable[[Feature, Place], AbstractContextManager[Service]]


@dataclass(frozen=True)
class Peer:
    """A letter in the table, what it stands for, and what it lacks: the reason by the features that it is for.

    ``many``: one start over datagrams serves many clients.
    """

    letter: str
    name: str
    what: str
    serve: Serve
    lacks: Mapping[str, str] = field(default_factory=dict)
    many: bool = False

    def lack(self, feature: Feature) -> str | None:
        return next((why for pattern, why in self.lacks.items() if re.match(pattern, feature.name)), None)


def hear(sock: Socket, until: Callable[[bytes], bool]) -> bytes:
    """Receive until that is all."""
    got = b""
    end = time.monotonic() + PATIENCE
    while not until(got):
        assert time.monotonic() < end, got
        more = sock.receive(1500, timeout=PATIENCE)
        assert more or sock.datagram, f"the end, after {got!r}"
        got += more
    return got


def ask(sock: Socket, question: bytes, answer: bytes) -> None:
    sock.send(question)
    assert hear(sock, lambda got: len(got) >= len(answer)) == answer


class Log:
    """What a program writes, from the end of what the last reader has read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0

    def until(self, pattern: str) -> str:
        """Wait until it has written that; return all since the last call."""
        end = time.monotonic() + PATIENCE
        while True:
            text = self.path.read_bytes()[self._read :].decode(errors="replace")
            if re.search(pattern, text):
                self._read = self.path.stat().st_size
                return text
            assert time.monotonic() < end, f"no {pattern} in {text!r}"
            time.sleep(0.005)


def person(text: str, pattern: str) -> str:
    """Who the server took the client for, if the pattern finds it."""
    found = re.search(pattern, text)
    return found[1] if found else ""


# -- OpenSSL -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def openssl(feature: Feature, place: Place) -> Iterator[Service]:
    if feature.kind == "psk":
        options = ["-nocert", "-psk", KEY.hex(), "-psk_identity", PERSON, "-no_dhe"]
        options += ["-cipher", "PSK:ECDHE-PSK:@SECLEVEL=0"]
    else:
        options = ["-cert", str(place.leaf.cert), "-key", str(place.leaf.key), "-CAfile", str(place.pki.ca)]
        options += ["-Verify", "3"] if feature.kind == "mutual" else []
    if not feature.datagram:
        port = servers.free_port()
        command = [servers.need("openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-www", *options]
        with servers.run(command, port, place.folder / f"s_server-{port}.log"):
            yield Service(repeat(port), _status_page)
        return
    with dtls_peers.openssl_dtls(place.folder, *options) as (port, process, path):
        log = Log(path)
        yield Service(repeat(port), lambda sock, feature: _typed(sock, process, log, feature))


def _status_page(sock: Socket, feature: Feature) -> Told:
    sock.send(b"GET / HTTP/1.0\r\n\r\n")
    page = hear(sock, lambda got: b"</HTML>" in got).decode()
    how = re.search(r"(New|Reused), .*, Cipher is", page)
    assert how, page
    who = r"PSK identity: (\w+)" if feature.kind == "psk" else r"Subject:.*CN ?= ?(\w+)"
    # A key of TLS 1.3 is to this program a session, which has no name and was there before.
    key13 = feature.kind == "psk" and feature.version is TlsVersion.TLS1_3
    version = person(page, r"Protocol +: (\S+)")
    return Told(version, None if key13 else person(page, who), None if key13 else how[1] == "Reused")


def _typed(sock: Socket, process: subprocess.Popen[bytes], log: Log, feature: Feature) -> Told:
    """It has no echo over datagrams: what it gets is in its log, what it is told it sends."""
    sock.send(b"to the server\n")
    text = log.until("to the server")
    dtls.say(process, b"to the client\n")
    assert sock.receive(100, timeout=PATIENCE) == b"to the client\n"
    client = None if feature.kind == "psk" else person(text, r"subject=.*CN = (\w+)")
    return Told(client=client, resumed="Reused session-id" in text)


# -- GnuTLS ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def gnutls(feature: Feature, place: Place) -> Iterator[Service]:
    if feature.kind == "psk":
        options = dtls_peers.gnutls_keys(place.folder, {IDENTITY: KEY})
    else:
        options = [*dtls_peers.gnutls_leaf(place.leaf), "--x509cafile", str(place.pki.ca)]
        options += ["--require-client-cert", "--verify-client-cert"] if feature.kind == "mutual" else []
    port = servers.free_port()
    command = [servers.need("gnutls-serv"), *(["--udp"] if feature.datagram else []), "--echo", "-p", str(port)]
    path = place.folder / f"gnutls-{port}.log"
    with (dtls_peers.bound if feature.datagram else servers.run)([*command, *options], port, path):
        log = Log(path)
        yield Service(repeat(port), lambda sock, feature: _echoed(sock, log, feature))


def _echoed(sock: Socket, log: Log, feature: Feature) -> Told:
    said = bytes(each for each in range(256) if each not in b"\0\r\n") + b"\n"
    ask(sock, said, said)
    if feature.datagram:
        return Told()
    text = log.until(r"Processing \d+ bytes command")
    who = r"PSK authentication. Connected as '(\w+)'" if feature.kind == "psk" else r"Subject: CN=(\w+)"
    version = person(text, r"- Version: (\S+)").replace("TLS", "TLSv")
    return Told(version, person(text, who), "This is a resumed session" in text)


# -- Mbed TLS ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def mbedtls(feature: Feature, place: Place) -> Iterator[Service]:
    if not feature.datagram:
        with lighttpd(place, "mod_mbedtls", mutual=feature.kind == "mutual") as port:
            yield Service(repeat(port), _env_page)
        return
    need_mbedtls()
    verify = Verify.REQUIRED if feature.kind == "mutual" else Verify.NONE
    settings = {"server": True, "datagram": True, "cid": b"mbed", "verify": verify}
    if feature.kind == "psk":
        settings |= {"psks": {IDENTITY: KEY}}
    else:
        settings |= {"chain": place.leaf.cert_pem, "key": place.leaf.key_pem}
    if feature.kind == "mutual":
        settings |= {"ca": place.pki.ca.read_bytes()}
    with dtls.DtlsEcho(Settings(**settings)) as server:
        yield Service(repeat(server.port), lambda sock, feature: _remembered(sock, server, feature))


def _remembered(sock: Socket, server: dtls.DtlsEcho, feature: Feature) -> Told:
    ask(sock, bytes(range(256)), bytes(range(256)))
    info = server.handshakes[-1]
    assert info.engine == "mbedtls"
    client = None
    if feature.kind != "psk":
        client = PERSON if info.peer_chain else ""
    return Told(info.version, client, info.resumed, info.peer_cid is not None and info.own_cid is not None)


@contextlib.contextmanager
def lighttpd(place: Place, module: str, *, mutual: bool) -> Iterator[int]:
    """lighttpd with one of its TLS modules; a page tells what that knows of the client."""
    program = servers.need("lighttpd")
    if not Path("/usr/lib/lighttpd", f"{module}.so").exists():
        servers.lack(f"lighttpd's {module}")
    port = servers.free_port()
    work = place.folder / f"lighttpd-{port}"
    work.mkdir()
    pem = work / "both.pem"
    pem.write_bytes(place.leaf.key_pem + place.leaf.cert_pem)
    (work / "view.shtml").write_text(
        '<!--#echo var="SSL_PROTOCOL" --> [<!--#echo var="SSL_CLIENT_S_DN_CN" -->]\n', "ascii"
    )
    verify = (
        f'ssl.verifyclient.ca-file = "{place.pki.ca}"\n'
        'ssl.verifyclient.activate = "enable"\nssl.verifyclient.enforce = "enable"\n'
    )
    config = work / "lighttpd.conf"
    config.write_text(
        f'server.document-root = "{work}"\nserver.bind = "127.0.0.1"\nserver.port = {port}\n'
        f'server.modules = ("{module}", "mod_ssi")\nssi.extension = (".shtml")\n'
        f'ssl.engine = "enable"\nssl.pemfile = "{pem}"\n{verify if mutual else ""}'
    )
    with servers.run([program, "-D", "-f", str(config)], port, place.folder / f"lighttpd-{port}.log"):
        yield port


def _env_page(sock: Socket, _: Feature) -> Told:
    page = _get(sock, "/view.shtml")
    version, who = re.match(r"(\S+) \[(.*)\]", page).groups()
    return Told(version, "" if who == "(none)" else who)


def _get(sock: Socket, path: str) -> str:
    """A page whose last byte is its only end of line."""
    sock.send(f"GET {path} HTTP/1.0\r\nHost: {NAME}\r\n\r\n".encode())
    head, _, body = hear(sock, lambda got: b"\n" in got.partition(b"\r\n\r\n")[2]).partition(b"\r\n\r\n")
    assert b" 200 " in head, head
    return body.decode()


# -- libcoap -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def libcoap(feature: Feature, place: Place) -> Iterator[Service]:
    with coap_server(feature, place) as (port, log):
        yield Service(repeat(port), lambda sock, feature: _resources(sock, log, feature))


@contextlib.contextmanager
def coap_server(feature: Feature, place: Place) -> Iterator[tuple[int, Log]]:
    if feature.kind == "psk":
        options = ["-k", KEY.decode(), "-h", "hint"]
    else:
        options = ["-c", str(place.leaf.cert), "-j", str(place.leaf.key)]
        options += ["-C", str(place.pki.ca)] if feature.kind == "mutual" else ["-n"]
    with dtls_peers.coap(place.folder, "-v", "7", *options) as port:
        yield port, Log(place.folder / f"coap-{port - 1}.log")


def _resources(sock: Socket, log: Log, feature: Feature) -> Told:
    question = Message(code=GET, uri_path=(".well-known", "core"), _mtype=CON, _mid=0x1234, _token=b"token")
    sock.send(question.encode())
    answer = Message.decode(sock.receive(1500, timeout=PATIENCE))
    assert (answer.code, answer.token) == (CONTENT, b"token")
    assert b"</time>" in answer.payload
    text = log.until(r"\.well-known")
    who = {"psk": r"psk_identity: '(\w+)'", "mutual": r"CN '(\w+)'"}.get(feature.kind)
    return Told(client=None if who is None else person(text, who))


# -- BouncyCastle ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def bouncycastle(feature: Feature, place: Place) -> Iterator[Service]:
    need_mbedtls()
    with dtls_peers.java_cids(place.folder, KEY, b"java", count=8) as ports:
        log = Log(place.folder / f"java-{ports[0]}.log")
        yield Service(iter(ports), lambda sock, _: _seen(sock, log))


def _seen(sock: Socket, log: Log) -> Told:
    ask(sock, bytes(range(256)), bytes(range(256)))
    text = log.until(r"identity \w+, record type \d+")
    return Told(client=person(text, r"identity (\w+)"), cid="record type 25" in text)  # tls12_cid, RFC 9146


# -- Mosquitto ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def mosquitto(feature: Feature, place: Place) -> Iterator[Service]:
    options, leaf = [], place.leaf
    if feature.kind == "psk":
        leaf = None
        keys = place.folder / "mosquitto.psk"
        keys.write_text(f"{PERSON}:{KEY.hex()}\n")
        options = ["psk_hint hint", f"psk_file {keys}"]
    if feature.kind != "certificate":
        options.append("use_identity_as_username true")
    mutual = feature.kind == "mutual"
    with servers.mosquitto(place.folder, leaf, place.pki.ca, client_certificates=mutual, options=options) as port:
        log = Log(place.folder / f"mosquitto-{port}.log")
        yield Service(repeat(port), lambda sock, _: _published(sock, log))


def _published(sock: Socket, log: Log) -> Told:
    """MQTT 3.1.1: connect, subscribe to a topic, and get what is published under it."""
    ask(sock, b"\x10\x10\0\4MQTT\4\2\0\x3c\0\4peer", b"\x20\2\0\0")
    ask(sock, b"\x82\6\0\1\0\1t\0", b"\x90\3\0\1\0")
    said = b"\x30\x53\0\1t" + bytes(range(0, 256, 3))[:80]
    ask(sock, said, said)
    text = log.until(r"New client connected from .*\n")
    return Told(client=person(text, r"u'(\w+)'"))


# -- nginx -------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def nginx(feature: Feature, place: Place) -> Iterator[Service]:
    with servers.nginx(place.folder, place.leaf, place.pki.ca, place.folder) as port:
        yield Service(repeat(port), _view)


def _view(sock: Socket, _: Feature) -> Told:
    version, resumed, verified, subject = _get(sock, "/peer").split(" ", 3)
    who = person(subject, r"CN=(\w+)") if verified == "SUCCESS" else ""
    return Told(version, who, resumed == "r")


NO_CID = "there is no Connection ID in it"
STREAMS = "it serves streams"
PEERS = (
    Peer("O", "OpenSSL", "`openssl s_server`", openssl, {"dtls1.2-cid": NO_CID}),
    Peer("G", "GnuTLS", "`gnutls-serv`", gnutls, {"dtls1.2-cid": NO_CID}),
    Peer(
        "M",
        "Mbed TLS",
        "2.28 in `lighttpd` for streams; for datagrams 3.6, driven by the tests",
        mbedtls,
        {"tls1.2-psk": "lighttpd has no setting for a key", "tls1.3": "2.28 has no TLS 1.3"},
    ),
    Peer(
        "L",
        "libcoap",
        "`coap-server`, with CoAP inside",
        libcoap,
        {"tls": "CoAP over streams (RFC 8323) is not tried", "dtls1.2-cid": NO_CID},
    ),
    Peer(
        "B",
        "BouncyCastle",
        "a small server of the tests with its library",
        bouncycastle,
        {"(?!dtls1.2-cid)": "it is there for the Connection ID"},
        many=True,
    ),
    Peer("Q", "Mosquitto", "with MQTT inside", mosquitto, {"dtls": STREAMS}),
    Peer("N", "nginx", "with HTTP inside", nginx, {"dtls": STREAMS, ".*psk": "it has no setting for a key"}),
)

BY_LETTER = {peer.letter: peer for peer in PEERS}
