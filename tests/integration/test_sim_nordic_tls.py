"""Secure sockets of the simulated Nordic modems: what is under the tag, what the options say, real servers."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import threading

import pytest

from modemtls.tlsengine import Psk, Settings, TlsError, Version, WantReadError, engine_for
from tests.support.nordic import ERROR, OK, SLM, SM, ask, modem, write
from tests.support.pki import Leaf, Pki
from tests.support.servers import free_port, openssl_server, tls_service
from tests.support.ublox import tls

NAME = "server.example"
NOW = datetime.datetime.now(datetime.UTC)
CONNECTED = {SM: b"\r\n#XCONNECT: 0,1\r\n" + OK, SLM: b"\r\n#XCONNECT: 1\r\n" + OK}


@pytest.fixture(scope="module")
def leaves(pki: Pki) -> dict[str, Leaf]:
    other = Pki.__new__(Pki)
    Pki.__init__(other, pki.folder / "..")
    return {
        "good": pki.leaf(NAME),
        "ecdsa": pki.leaf(NAME, ecdsa=True),
        "wrong": pki.leaf("other.example"),
        "expired": pki.leaf(NAME, days=(-30, -1)),
        "unknown": other.leaf(NAME),
        "self": pki.self_signed(NAME),
        "chain": pki.intermediate(NAME),
        "client": pki.client(),
    }


@contextlib.contextmanager
def secure(pki: Pki, port: int, *options: str, model=SM, verify="2", variants=(), files=None, clock=NOW, tag=7):
    """A modem with the CA under tag 7 and a TLS socket with these options."""
    stored = {"7/0": pki.ca.read_bytes()} if files is None else files
    with modem(model, *variants, maps=[f"{NAME}=127.0.0.1:{port}"], files=stored, clock=clock) as made:
        handle = 0 if model == SM else 1
        opened = f"\r\n#XSSOCKET: {handle},1,258\r\n".encode() + OK
        assert made.command(f"AT#XSSOCKET=1,1,0,{tag},{verify}") == opened
        for option in options:
            assert made.command(f"AT#XSSOCKETOPT={'0,' if model == SM else ''}1,{option}") == OK, option
        yield made


def connect(made) -> bool:
    model = SM if made.machine.personality.handles else SLM
    answer = ask(made, f'AT#XCONNECT={"0," if model == SM else ""}"{NAME}",443')
    assert answer in {CONNECTED[model], ERROR}  # no cause is ever told
    return answer != ERROR


HOST = f'2,"{NAME}"'


@pytest.mark.parametrize("model", [SM, SLM])
@pytest.mark.parametrize(
    ("leaf", "accepted", "reason"),
    [
        ("good", True, "TLSv1.2"),
        ("ecdsa", True, "ECDSA"),
        ("chain", True, "TLSv1.2"),
        ("wrong", False, "hostname mismatch"),
        ("expired", False, "expired"),
        ("unknown", False, "unable to get local issuer"),
        ("self", False, "self-signed"),
    ],
)
def test_verification_with_a_name(pki, leaves, model, leaf, accepted, reason):
    with tls(leaves[leaf]) as (port, seen), secure(pki, port, HOST, model=model) as made:
        assert connect(made) is accepted
        assert any(reason in note for note in made.machine.trace.notes), made.machine.trace.notes
        assert seen.names == [NAME]


@pytest.mark.parametrize(
    ("leaf", "verify", "options", "accepted"),
    [
        ("wrong", "2", (), True),  # the name is not checked before TLS_HOSTNAME
        ("wrong", "2", (HOST, "2,NULL"), True),
        ("unknown", "2", (), False),
        ("unknown", "1", (HOST,), True),
        ("unknown", "0", (HOST,), True),
        ("unknown", "2", ("5,0",), True),
        ("unknown", "0", ("5,2",), False),
        ("wrong", "0", (HOST,), True),
    ],
)
def test_levels_of_verification(pki, leaves, leaf, verify, options, accepted):
    with tls(leaves[leaf]) as (port, seen), secure(pki, port, *options, verify=verify) as made:
        assert connect(made) is accepted
        assert seen.names == [NAME if options == (HOST,) else None]


@pytest.mark.parametrize(
    ("variant", "clock", "accepted"),
    [
        ("when-set", NOW, False),
        ("when-set", None, False),  # the network has set it
        ("ignored", NOW, True),
        ("always", NOW, False),
    ],
)
def test_dates(pki, leaves, variant, clock, accepted):
    with tls(leaves["expired"]) as (port, _), secure(pki, port, variants=[f"dates={variant}"], clock=clock) as made:
        assert connect(made) is accepted


@pytest.mark.parametrize(("variant", "accepted"), [("when-set", True), ("always", False)])
def test_dates_before_the_clock_is_set(pki, leaves, variant, accepted):
    variants = [f"dates={variant}", "network-time=no"]
    with tls(leaves["good"]) as (port, _), secure(pki, port, variants=variants, clock=None) as made:
        assert connect(made) is accepted


def test_only_tls_1_2(pki, leaves):
    v = ssl.TLSVersion
    for least, most, accepted in ((v.TLSv1_2, v.TLSv1_2, True), (v.TLSv1_3, v.TLSv1_3, False)):
        with tls(leaves["good"], least=least, most=most) as (port, _), secure(pki, port) as made:
            assert connect(made) is accepted


def credentials(pki: Pki, leaves: dict[str, Leaf]) -> dict[str, bytes]:
    return {
        "ca": pki.ca.read_bytes(),
        "cert": leaves["client"].cert_pem,
        "key": leaves["client"].key_pem,
        "other": leaves["good"].key_pem,
        "psk": b"c0ffee",
        "id": b"dev",
        "bad": b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    }


@pytest.mark.parametrize(
    ("stored", "variants", "verify", "accepted"),
    [
        ({"7/0": "ca"}, (), "2", True),
        ({}, (), "0", False),  # some CA is needed even without verification
        ({"8/0": "ca"}, (), "0", False),
        ({"8/0": "ca"}, ("ca-under=any",), "0", True),
        ({"8/0": "ca"}, ("ca-under=any",), "2", False),
        ({"7/0": "ca", "7/1": "cert"}, (), "2", False),
        ({"7/0": "ca", "7/2": "key"}, (), "2", False),
        ({"7/0": "ca", "7/3": "psk"}, (), "2", False),
        ({"7/0": "ca", "7/4": "id"}, (), "2", False),
        ({"7/0": "bad"}, (), "2", False),
        ({"7/0": "ca", "7/1": "cert", "7/2": "other"}, (), "2", False),
        ({"7/0": "ca", "7/1": "cert", "7/2": "key"}, (), "2", True),
        ({"7/0": "ca", "7/3": "psk", "7/4": "id"}, (), "2", False),  # the PSK is used, the server has none
        ({"7/0": "ca", "7/3": "psk", "7/4": "id"}, ("both-under-tag=certificate",), "2", True),
    ],
)
def test_what_has_to_be_under_the_tag(pki, leaves, stored, variants, verify, accepted):
    content = credentials(pki, leaves)
    files = {place: content[what] for place, what in stored.items()}
    with tls(leaves["good"]) as (port, _), secure(pki, port, verify=verify, variants=variants, files=files) as made:
        assert connect(made) is accepted


def test_an_empty_tag_may_be_refused_at_once(pki):
    with modem(SM, "empty-tag=open", files={"7/0": pki.ca.read_bytes()}) as made:
        assert made.command("AT#XSSOCKET=1,1,0,8") == ERROR
        assert made.command("AT#XSSOCKET=1,1,0,7") == b"\r\n#XSSOCKET: 0,1,258\r\n" + OK


def test_client_certificate(pki, leaves):
    content = credentials(pki, leaves)
    files = {"7/0": content["ca"], "7/1": content["cert"], "7/2": content["key"]}
    with tls(leaves["good"], client_ca=pki) as (port, seen):
        with secure(pki, port) as made:
            assert not connect(made)
        with secure(pki, port, files=files) as made:
            assert connect(made)
            with seen.changed:
                assert seen.changed.wait_for(lambda: bool(seen.clients), 5)
        assert "gateway" in str(seen.clients[-1])


def test_data_and_the_end(pki, leaves):
    with tls(leaves["good"], serve=lambda s: s.sendall(s.recv(10)[::-1])) as (port, _), secure(pki, port) as made:
        assert connect(made)
        assert ask(made, 'AT#XSEND=0,0,0,"ping"') == b"\r\n#XSEND: 0,0,4\r\n" + OK
        assert ask(made, "AT#XRECV=0,0,0,10") == b"\r\n#XRECV: 0,0,4\r\ngnip" + OK
        assert ask(made, "AT#XRECV=0,0,0,10") == OK
        assert ask(made, "AT#XCLOSE=0") == b"\r\n#XCLOSE: 0,0\r\n" + OK


@pytest.mark.server
def test_against_openssl(pki, leaves, tmp_path):
    with openssl_server(tmp_path, leaves["ecdsa"]) as port, secure(pki, port, HOST) as made:
        assert connect(made)
        assert ask(made, 'AT#XSEND=0,1,0,"68656c6c6f0a"') == b"\r\n#XSEND: 0,0,6\r\n" + OK
        assert ask(made, "AT#XRECV=0,0,0,10") == b"\r\n#XRECV: 0,0,6\r\nolleh\n" + OK


def test_a_handshake_that_takes_too_long(pki):
    stop = threading.Event()
    with tls_service(None, lambda _: stop.wait(5)) as port, secure(pki, port, variants=["tls-timeout=10"]) as made:
        write(made, f'AT#XCONNECT=0,"{NAME}",443')
        made.settle(lambda _: made.machine.personality.sockets.table[0].transport is not None)
        made.settle(lambda _: made.machine.personality.sockets.table[0].transport.engine is not None)
        made.advance(9.5)
        assert made.read() == b""
        made.advance(1)
        assert made.read() == ERROR
        stop.set()


@pytest.mark.parametrize("stage", ["name", "handshake"])
def test_the_pdn_goes_and_the_connect_with_it(pki, stage):
    stop = threading.Event()
    with tls_service(None, lambda _: stop.wait(5)) as port, secure(pki, port) as made:
        write(made, f'AT#XCONNECT=0,"{NAME}",443')
        if stage == "handshake":
            made.settle(lambda _: made.machine.personality.sockets.table[0].transport is not None)
            made.settle(lambda _: made.machine.personality.sockets.table[0].transport.engine is not None)
        assert made.read() == b""
        made.machine.personality.fault("pdpdeact", 1)
        assert made.read() == ERROR
        assert made.command("AT#XAPOLL=0,1,1") == OK + b"\r\n#XAPOLL: 0,8\r\n"
        made.advance(200)  # it is back long since, and nothing comes of that connect any more
        assert made.read() == b""
        stop.set()


# --- sessions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caching", "between", "resumed"),
    [
        ((1, 1), "", [False, True]),
        ((0, 0), "", [False, False]),
        ((0, 1), "", [False, False]),
        ((1, 0, 1), "", [False, False, True]),
        ((1, 1), "purge", [False, False]),
        ((1, 1), "AT#XRESET", [False, False]),
        ((1, 1), "AT+CFUN=0", [False, True]),
    ],
)
def test_the_session_cache(pki, leaves, caching, between, resumed):
    with tls(leaves["good"]) as (port, seen), secure(pki, port) as made:
        for count, cache in enumerate(caching):
            made.command("AT#XCLOSE")
            if count and between.startswith("AT"):
                made.command(between)
                made.advance(1)
                made.command("AT+CFUN=1")
                made.advance(1)
                made.read()
            made.command("AT#XSSOCKET=1,1,0,7,2")
            purge = ("13,1",) if count and between == "purge" else ()
            for option in (HOST, f"12,{cache}", *purge):
                assert made.command(f"AT#XSSOCKETOPT=0,1,{option}") == OK
            assert connect(made)
            assert ask(made, 'AT#XSEND=0,0,0,"ping"') == b"\r\n#XSEND: 0,0,4\r\n" + OK
            assert ask(made, "AT#XRECV=0,0,0,10") == b"\r\n#XRECV: 0,0,4\r\nping" + OK
        with seen.changed:
            assert seen.changed.wait_for(lambda: len(seen.resumed) == len(caching), 5)
        assert seen.resumed == resumed


@pytest.mark.parametrize(
    ("between", "variants", "taken_up"),
    [
        (('2,"other.example"',), (), True),
        (("2,NULL",), (), True),
        (('2,"other.example"',), ("sessions-by=name",), False),
        ((HOST, "5,0"), ("sessions-by=name",), True),
    ],
)
def test_a_cached_session_is_taken_up_whatever_was_verified(pki, between, variants, taken_up):
    """It is filed by host and tag (NRFX-H): one that was made with one name serves with another, and with none."""
    with tls(pki.leaf(NAME, "other.example")) as (port, seen), secure(pki, port, variants=variants) as made:
        for options in (between, (HOST,)):
            made.command("AT#XCLOSE")
            made.command("AT#XSSOCKET=1,1,0,7,2")
            for option in (*options, "12,1"):
                assert made.command(f"AT#XSSOCKETOPT=0,1,{option}") == OK
            assert connect(made)
            assert ask(made, 'AT#XSEND=0,0,0,"ping"') == b"\r\n#XSEND: 0,0,4\r\n" + OK
            assert ask(made, "AT#XRECV=0,0,0,10") == b"\r\n#XRECV: 0,0,4\r\nping" + OK
        with seen.changed:
            assert seen.changed.wait_for(lambda: len(seen.resumed) == 2, 5)
        assert seen.resumed == [False, taken_up]


# --- options ----------------------------------------------------------------------------------------------------------


def test_options_of_the_serial_modem(pki, leaves):
    with tls(leaves["ecdsa"], ciphers="ECDHE-ECDSA-AES128-GCM-SHA256") as (port, _), secure(pki, port) as made:
        assert made.command("AT#XSSOCKETOPT=0,0,2") == b"\r\n#XSSOCKETOPT: 0,\r\n" + OK
        assert made.command(f'AT#XSSOCKETOPT=0,1,2,"{NAME}"') == OK
        assert made.command("AT#XSSOCKETOPT=0,0,2") == f"\r\n#XSSOCKETOPT: 0,{NAME}\r\n".encode() + OK  # no quotes
        assert made.command("AT#XSSOCKETOPT=0,0,5") == b"\r\n#XSSOCKETOPT: 0,2\r\n" + OK
        assert made.command("AT#XSSOCKETOPT=0,0,12") == b"\r\n#XSSOCKETOPT: 0,0\r\n" + OK
        assert made.command("AT#XSSOCKETOPT=0,0,4") == ERROR
        assert connect(made)
        assert made.command("AT#XSSOCKETOPT=0,0,4") == b"\r\n#XSSOCKETOPT: 0,0xc02b\r\n" + OK
        for line in (
            "0,1,4,1", "0,0,13", "0,1,5,3", "0,1,12,2", "0,1,2,host", '0,1,2,""', "0,1,3,1", "0,0,19", "1,0,5",
            "0,1,14,2", "0,0,15", "0,0,18", "0,1,19,1", "0,1,22,1",  # DTLS's own
        ):  # fmt: skip
            assert made.command(f"AT#XSSOCKETOPT={line}") == ERROR, line
        assert made.command("AT#XSSOCKET?") == b"\r\n#XSSOCKET: 0,1,0,1,7,0\r\n" + OK


def test_the_suite_is_not_known_to_older_firmware(pki, leaves):
    with tls(leaves["good"]) as (port, _), secure(pki, port, variants=["firmware=mfw_nrf9160_1.3.7"]) as made:
        assert connect(made)
        assert made.command("AT#XSSOCKETOPT=0,0,4") == ERROR


@pytest.mark.parametrize(
    ("release", "timeout", "cid", "status", "unknown"),
    [("2.9.0", 18, 14, 15, 17), ("1.9.2", 14, 17, 18, 15)],
)
def test_the_numbers_of_the_legacy_application(release, timeout, cid, status, unknown):
    with modem(SLM, f"release={release}", files={"7/3": b"c0ffee", "7/4": b"dev"}) as made:
        assert made.command("AT#XSSOCKET=1,2,0,7") == b"\r\n#XSSOCKET: 1,2,273\r\n" + OK
        assert made.command(f"AT#XSSOCKETOPT=1,{timeout},31") == OK
        assert made.command(f"AT#XSSOCKETOPT=0,{timeout}") == b"\r\n#XSSOCKETOPT: 31\r\n" + OK
        assert made.command(f"AT#XSSOCKETOPT=1,{timeout},30") == ERROR
        assert made.command(f"AT#XSSOCKETOPT=1,{cid},1") == OK
        assert made.command(f"AT#XSSOCKETOPT=0,{cid}") == ERROR
        assert made.command(f"AT#XSSOCKETOPT=0,{status}") == b"\r\n#XSSOCKETOPT: 0\r\n" + OK
        assert made.command(f"AT#XSSOCKETOPT=1,{unknown},1") == ERROR
        assert made.command(f'AT#XSSOCKETOPT=1,2,"{NAME}"') == OK
        assert made.command("AT#XSSOCKETOPT=0,2") == ERROR
        for number in (19, 20, 22):
            assert made.command(f"AT#XSSOCKETOPT=1,{number},1") == ERROR


def test_native_tls_has_neither_psk_nor_sessions(pki, leaves):
    content = credentials(pki, leaves)
    with tls(leaves["good"]) as (port, _):
        files = {"7/0": content["ca"]}
        with secure(pki, port, HOST, model=SLM, variants=["native-tls=yes"], files=files) as made:
            assert made.command("AT#XSSOCKETOPT=1,12,1") == ERROR
            assert connect(made)


# --- the server's side ------------------------------------------------------------------------------------------------


class Visitor:
    """A TLS client over a blocking socket, in a thread."""

    def __init__(self, port: int, settings: Settings) -> None:
        self.echoed = b""
        self.error = ""
        self._thread = threading.Thread(target=self._run, args=(port, settings), daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _run(self, port: int, settings: Settings) -> None:
        engine = engine_for(settings)
        with socket.create_connection(("127.0.0.1", port), 5) as stream:
            stream.settimeout(5)

            def until(call):
                while True:
                    try:
                        return call()
                    except WantReadError:
                        for data in engine.take():
                            stream.sendall(data)
                        engine.feed(stream.recv(65536))

            try:
                until(engine.handshake)
                engine.write(b"hello")
                self.echoed = until(engine.read)
            except (TlsError, OSError) as error:
                self.error = str(error)
            with contextlib.suppress(OSError):
                for data in engine.take():
                    stream.sendall(data)


SERVER_CASES = [
    ({"7/1": "cert", "7/2": "key"}, "", None, True),
    ({"7/3": "psk", "7/4": "id"}, "", "psk", True),
    ({"7/0": "ca", "7/1": "cert", "7/2": "key"}, ",2", None, False),
    ({"7/0": "ca", "7/1": "cert", "7/2": "key"}, ",2", "cert", True),
    ({"7/0": "ca"}, "", None, False),
]


@pytest.mark.parametrize("model", [SM, SLM])
@pytest.mark.parametrize(("stored", "verify", "client", "accepted"), SERVER_CASES)
def test_a_tls_server(pki, leaves, model, stored, verify, client, accepted):
    content = credentials(pki, leaves)
    content.update(cert=leaves["good"].cert_pem, key=leaves["good"].key_pem)
    ends = {"min_version": Version.TLS1_2, "max_version": Version.TLS1_2}
    settings = {
        None: lambda: Settings(ca=content["ca"], host=NAME, **ends),
        "psk": lambda: Settings(psk=Psk(b"dev", bytes.fromhex("c0ffee")), **ends),
        "cert": lambda: Settings(
            ca=content["ca"], host=NAME, chain=leaves["client"].cert_pem, key=leaves["client"].key_pem, **ends
        ),
    }[client]()
    port = free_port()
    handle = "0," if model == SM else ""
    variants = ["tls-listen=yes"] if model == SM else []
    with modem(model, *variants, files={place: content[what] for place, what in stored.items()}, clock=NOW) as made:
        made.command(f"AT#XSSOCKET=1,1,1,7{verify}")
        assert made.command(f"AT#XBIND={handle}{port}") == OK
        assert made.command("AT#XLISTEN=0" if model == SM else "AT#XLISTEN") == OK
        visitor = Visitor(port, settings)
        made.settle(lambda _: bool(made.machine.personality.sockets.table[int(model == SLM)].waiting))
        answer = ask(made, "AT#XACCEPT=0" if model == SM else "AT#XACCEPT=5")
        if accepted:
            assert answer.startswith(
                b'\r\n#XACCEPT: 1,0,"127.0.0.1",' if model == SM else b'\r\n#XACCEPT: 2,"127.0.0.1"'
            )
            receive, send = ("=1,0,0,5", '=1,0,0,"hi"') if model == SM else ("=5", '="hi"')
            assert ask(made, f"AT#XRECV{receive}").endswith(b"5\r\nhello" + OK)
            assert ask(made, f"AT#XSEND{send}").endswith(b"2\r\n" + OK)
            visitor.join()
            assert visitor.echoed == b"hi"
        else:
            assert answer == ERROR
            made.settle(lambda _: bool(visitor.error))


def test_the_serial_modem_has_no_tls_server(pki, leaves):
    content = credentials(pki, leaves)
    with modem(SM, files={"7/1": content["cert"], "7/2": content["key"]}) as made:
        assert made.command("AT#XSSOCKET=1,1,1,7").endswith(OK)
        assert made.command(f"AT#XBIND=0,{free_port()}") == OK
        assert made.command("AT#XLISTEN=0") == ERROR
        assert "no TLS server" in made.machine.trace.notes[-1]


def test_there_is_no_dtls_server(pki, leaves):
    content = credentials(pki, leaves)
    with modem(SLM, files={"7/1": content["cert"], "7/2": content["key"]}) as made:
        assert made.command("AT#XSSOCKET=1,2,1,7") == ERROR
