"""The engine on Mbed TLS, with itself and with OpenSSL at the other end; what only it can."""

from __future__ import annotations

import datetime
import itertools
import time

import pytest

from modemtls.tlsengine import (
    AlertReceivedError,
    CertificateRefusedError,
    Context,
    CredentialError,
    EngineUnavailableError,
    HandshakeTimeoutError,
    MessageSizeError,
    ProtocolError,
    Psk,
    Settings,
    SettingsError,
    Timers,
    UnsupportedError,
    Verify,
    Version,
    WantReadError,
    connection_id,
    context_for,
)
from modemtls.tlsengine.openssl import OpenSslContext
from modemtls.tlsengine.suites import SUITES
from tests.support.pki import Leaf, Pki
from tests.support.tls_ends import Ends, need_mbedtls, shaken
from tests.unit.test_tlsengine_openssl import der, special, wrong_purpose
from tests.unit.test_tlsengine_weather import Loss, Weather, waits

KEY = bytes(range(16))
PSK, PSKS = Psk(b"the modem", KEY), {b"the modem": KEY}
CCM8 = 0xC0A8


@pytest.fixture(autouse=True)
def _needed():
    need_mbedtls()


def of(engine: str, **settings: object) -> Context:
    from modemtls.tlsengine.mbedtls import MbedContext

    return (MbedContext if engine == "mbedtls" else OpenSslContext)(Settings(datagram=True, **settings))


@pytest.fixture(params=["mbedtls-mbedtls", "mbedtls-openssl", "openssl-mbedtls"])
def pair(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Who is the client and who the server."""
    client, server = request.param.split("-")
    return client, server


@pytest.fixture(scope="module")
def leaf(pki: Pki) -> Leaf:
    return pki.leaf("host.example", "127.0.0.1", ecdsa=True)


@pytest.fixture(scope="module")
def person(pki: Pki) -> Leaf:
    return pki.client("gateway")


def asking(engine: str, pki: Pki, **more: object) -> Context:
    return of(engine, **{"ca": pki.ca.read_bytes(), "host": "host.example", **more})


def serving(engine: str, leaf: Leaf, **more: object) -> Context:
    chain = {"chain": leaf.cert_pem, "key": leaf.key_pem, "verify": Verify.NONE}
    return of(engine, server=True, **{**chain, **more})


# --- as with OpenSSL ------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", [0xC0A8, 0xC0A4, 0x00A8, 0xC037, 0xCCAB, 0x00AE, 0x008C])
def test_keys(pair, suite):
    ends = shaken(of(pair[0], psk=PSK, suites=(suite,)).engine(), of(pair[1], server=True, psks=PSKS))
    ends.talk()
    for end, engine in zip((ends.client, ends.server), pair, strict=True):
        info = end.info()
        assert (info.engine, info.version, info.suite, info.resumed) == (engine, "DTLSv1.2", suite, False)
    assert ends.server.info().psk_identity == b"the modem"
    limit = ends.client.payload_limit()
    ends.client.write(bytes(limit))
    (datagram,) = ends.client.take()
    assert len(datagram) <= 1232
    with pytest.raises(MessageSizeError):
        ends.client.write(bytes(limit + 1))


def test_certificates(pair, pki, leaf, person):
    own = {"chain": person.cert_pem, "key": person.key_pem}
    client = asking(pair[0], pki, server_name="host.example", alpn=(b"h2", b"coap"), **own)
    server = serving(pair[1], leaf, verify=Verify.REQUIRED, ca=pki.ca.read_bytes(), alpn=(b"coap",))
    ends = shaken(client.engine(), server)
    ends.talk()
    told, seen = ends.client.info(), ends.server.info()
    ca = der(Leaf(pki.ca, pki.ca))
    assert told.peer_chain[0] == der(leaf)
    assert told.verified_chain == (der(leaf), ca)
    assert seen.peer_chain[0] == der(person)
    assert seen.verified_chain == (der(person), ca)
    assert told.alpn == seen.alpn == b"coap"
    assert seen.server_name == "host.example"
    assert told.verify_code == seen.verify_code == 0


@pytest.mark.parametrize("server", ["mbedtls", "openssl"])
def test_small_records(server, pki):
    """Asked for by the client, which keeps to it as well; asked for by nobody, they are as large as what they bear."""
    size = 512
    leaf = pki.leaf("host.example", "127.0.0.1")
    for asked in (size, None):
        client = asking("mbedtls", pki, fragment=asked).engine()
        ends = shaken(client, serving(server, leaf))
        largest = max(map(len, ends.down))
        cost = SUITES[client.info().suite].overhead()
        assert largest <= size + cost if asked else largest > size + cost
        assert (client.payload_limit() <= size) is bool(asked)
        ends.talk()


def test_openssl_cannot_be_told_to_ask_for_them(pki):
    with pytest.raises(UnsupportedError, match="small records"):
        asking("openssl", pki, fragment=512)
    assert context_for(Settings(datagram=True, ca=pki.ca.read_bytes(), fragment=512)).name == "mbedtls"


def test_a_whole_chain_is_told(pair, pki):
    made = pki.intermediate("host.example")
    ends = shaken(asking(pair[0], pki).engine(), serving(pair[1], made))
    assert len(ends.client.info().verified_chain) == 3
    assert ends.client.info().peer_chain[:2] == ends.client.info().verified_chain[:2]


def refused(client: Context, server: Context) -> int:
    with pytest.raises(CertificateRefusedError) as caught:
        shaken(client.engine(), server)
    assert caught.value.sent.level == 2
    assert caught.value.verify_text in caught.value.reason
    return caught.value.verify_code


def test_what_is_refused_has_openssls_numbers(pki, leaf, tmp_path):
    def ask(**more: object) -> Context:
        return asking("mbedtls", pki, **more)

    good = serving("mbedtls", leaf)
    past = serving("mbedtls", pki.leaf("host.example", days=(-9, -2), ecdsa=True))
    assert refused(ask(host="other.example"), good) == 62
    assert refused(ask(host="127.0.0.2"), good) == 64
    assert refused(ask(ca=Pki(tmp_path).ca.read_bytes()), good) == 20
    assert refused(ask(ca=b""), good) == 20
    assert refused(ask(), past) == 10
    assert refused(ask(), serving("mbedtls", pki.leaf("host.example", days=(2, 9), ecdsa=True))) == 9
    assert refused(ask(), serving("mbedtls", pki.self_signed("host.example"))) == 18
    assert refused(ask(), serving("openssl", wrong_purpose(pki))) == 26  # as a server Mbed TLS does not even show it
    then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=5)
    assert refused(ask(at=then - datetime.timedelta(days=10)), past) == 9
    assert refused(ask(at=then + datetime.timedelta(days=10)), past) == 10
    old = pki.common_name_only("host.example")
    assert refused(ask(ca=old.cert_pem, common_name_counts=False), serving("mbedtls", old)) == 62
    for client in (
        ask(),
        ask(host="127.0.0.1"),
        ask(host=""),
        ask(server_name="an.alias.example"),
    ):
        assert shaken(client.engine(), good).client.info().verify_code == 0
    for client, server in (
        (ask(at=then), past),
        (ask(check_dates=False), past),
        (ask(ca=old.cert_pem), serving("mbedtls", old)),
    ):
        assert shaken(client.engine(), server).client.info().verify_errors == ()


def test_the_peer_reads_the_alert(pair, pki, leaf):
    ends = Ends(asking(pair[0], pki, host="other.example").engine(), serving(pair[1], leaf).engine(b"client"))
    with pytest.raises(CertificateRefusedError):
        ends.handshake()
    with pytest.raises(AlertReceivedError) as caught:
        ends.server.handshake()
    assert caught.value.received.level == 2
    assert caught.value.received == ends.client.info().sent


def test_judging_afterwards(pki, leaf):
    expired = pki.leaf("host.example", days=(-9, -2), ecdsa=True)
    for verify in (Verify.JUDGED, Verify.NONE):
        client = asking("mbedtls", pki, host="other.example", verify=verify)
        info = shaken(client.engine(), serving("mbedtls", expired)).client.info()
        assert {(error.code, error.depth) for error in info.verify_errors} == {(62, 0), (10, 0)}
        assert info.verify_code in (10, 62)
        assert info.verified_chain == (der(expired), der(Leaf(pki.ca, pki.ca)))


def test_a_leaf_or_an_intermediate_as_anchor(pki):
    made = pki.intermediate("host.example")
    leaf, between, *_ = made.cert_pem.split(b"-----END CERTIFICATE-----\n")
    for anchor in (leaf, between):
        settings = {"anchors": anchor + b"-----END CERTIFICATE-----\n", "host": "host.example"}
        assert shaken(of("mbedtls", **settings).engine(), serving("mbedtls", made)).client.info().verify_code == 0
        assert refused(of("mbedtls", **settings | {"host": "other.example"}), serving("mbedtls", made)) == 62


def test_client_certificates(pair, pki, leaf, person, tmp_path):
    stranger = Pki(tmp_path).client("stranger")
    shown = {"chain": stranger.cert_pem, "key": stranger.key_pem}
    for verify in (Verify.OPTIONAL, Verify.REQUIRED):
        server = serving(pair[1], leaf, verify=verify, ca=pki.ca.read_bytes())
        assert refused(asking(pair[0], pki, **shown), server) == 20
    judged = serving(pair[1], leaf, verify=Verify.JUDGED, ca=pki.ca.read_bytes())
    assert shaken(asking(pair[0], pki, **shown).engine(), judged).server.info().verify_code == 20
    for server in (judged, serving(pair[1], leaf, verify=Verify.REQUIRED, ca=pki.ca.read_bytes())):
        with pytest.raises((ProtocolError, AlertReceivedError)):
            shaken(asking(pair[0], pki).engine(), server)
    optional = serving(pair[1], leaf, verify=Verify.OPTIONAL, ca=pki.ca.read_bytes())
    assert shaken(asking(pair[0], pki).engine(), optional).server.info().peer_chain == ()


def test_weak_keys_need_legacy(pki):
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    weak = serving("mbedtls", special(pki, key, ExtendedKeyUsageOID.SERVER_AUTH), legacy=True)
    assert refused(asking("mbedtls", pki), weak) == 66
    assert shaken(asking("mbedtls", pki, legacy=True).engine(), weak).client.info().verify_code == 0


def test_a_key_that_does_not_fit(pki, leaf, person):
    with pytest.raises(CredentialError, match="does not belong"):
        serving("mbedtls", Leaf(leaf.cert, person.key))
    with pytest.raises(CredentialError, match="own key"):
        asking("mbedtls", pki, chain=person.cert_pem, key=b"rubbish")
    with pytest.raises(CredentialError, match="CA"):
        asking("mbedtls", pki, ca=b"\x30\x00")


def test_the_end(pair):
    ends = shaken(of(pair[0], psk=PSK).engine(), of(pair[1], server=True, psks=PSKS))
    ends.client.write(b"last words")
    ends.client.close()
    ends.carry()
    assert ends.server.read() == b"last words"
    assert ends.server.read() == b""
    assert ends.server.info().received.name == "close notify"
    with pytest.raises(ProtocolError, match="closed"):
        ends.client.write(b"more")


def test_an_unknown_identity_is_an_alert(pair):
    ends = Ends(of(pair[0], psk=Psk(b"nobody", KEY)).engine(), of(pair[1], server=True, psks=PSKS).engine(b"client"))
    with pytest.raises(ProtocolError) as caught:
        ends.handshake()
    assert caught.value.sent.name == "unknown psk identity"
    with pytest.raises(AlertReceivedError, match="unknown psk identity"):
        ends.client.handshake()


@pytest.mark.parametrize("client", ["openssl", "mbedtls"])
def test_a_wrong_key_is_an_alert_by_mbedtls(client):
    wrong = of(client, psk=Psk(b"the modem", b"wrong")).engine()
    ends = Ends(wrong, of("mbedtls", server=True, psks=PSKS).engine(b"client"))
    with pytest.raises(ProtocolError, match="MAC"):
        ends.handshake()
    with pytest.raises(AlertReceivedError, match="bad record mac"):
        ends.client.handshake()


def test_a_wrong_key_is_silence_by_openssl():
    wrong = of("mbedtls", psk=Psk(b"the modem", b"wrong")).engine()
    ends = Ends(wrong, of("openssl", server=True, psks=PSKS).engine(b"client"))
    for _ in range(10):
        for end in (ends.client, ends.server):
            with pytest.raises(WantReadError):
                end.handshake()
        if not ends.carry():
            break
    assert ends.client.deadline() == pytest.approx(1, abs=0.5)


@pytest.mark.parametrize("by", ["key", "certificate"])
def test_resumption(pair, pki, leaf, by):
    if by == "key":
        client, server = of(pair[0], psk=PSK), of(pair[1], server=True, psks=PSKS)
    else:
        client, server = asking(pair[0], pki), serving(pair[1], leaf)
    first = shaken(client.engine(), server)
    kept = first.client.export_session()
    assert kept == first.client.export_session()
    second = client.engine()
    assert second.offer_session(kept + bytes(300))
    ends = shaken(second, server)
    ends.talk()
    assert ends.client.info().resumed
    assert ends.server.info().resumed
    third = client.engine()
    for wrong in (b"", bytes(1024), kept[:-1], kept[:40] + bytes([kept[40] ^ 1]) + kept[41:]):
        assert not third.offer_session(wrong)
    ends = shaken(third, server)
    assert not ends.client.info().resumed
    assert not ends.server.info().resumed
    other = of(pair[0], psk=PSK, suites=(CCM8,)).engine()
    assert not other.offer_session(kept)


def test_a_server_elsewhere_resumes_nothing():
    client, psks = of("mbedtls", psk=PSK), {"server": True, "psks": PSKS}
    again = client.engine()
    assert again.offer_session(shaken(client.engine(), of("mbedtls", **psks)).client.export_session())
    ends = shaken(again, of("mbedtls", **psks))
    assert not ends.client.info().resumed
    assert not ends.server.info().resumed


def test_key_log(pair):
    mine, theirs = [], []
    shaken(of(pair[0], psk=PSK, keylog=mine.append).engine(), of(pair[1], server=True, psks=PSKS, keylog=theirs.append))
    assert mine == theirs
    assert mine[0].startswith(b"CLIENT_RANDOM ")


@pytest.mark.parametrize("seed", range(3))
def test_doubled_and_reordered(pair, pki, leaf, seed):
    over = {"mtu": 400}
    ends = Ends(asking(pair[0], pki, **over).engine(), serving(pair[1], leaf, **over).engine(b"client"), Weather(seed))
    ends.handshake()
    ends.network = lambda datagrams, _: datagrams
    ends.talk()


def test_a_handshake_has_a_limit_of_its_own(pair, pki, leaf):
    over = {"mtu": 1600, "handshake_mtu": 500}
    ends = Ends(asking(pair[0], pki, **over).engine(), serving(pair[1], leaf, **over).engine(b"client"))
    sizes = []
    ends.network = lambda datagrams, _: (sizes.extend(map(len, datagrams)), datagrams)[1]
    ends.handshake()
    assert 300 < max(sizes) <= 500
    ends.client.write(bytes(1500))
    (datagram,) = ends.client.take()
    assert len(datagram) > 1500


# --- timers ---------------------------------------------------------------------------------------


def test_timers_to_the_point():
    client = of("mbedtls", psk=PSK, timers=Timers(0.02, 0.07)).engine()
    with pytest.raises(WantReadError):
        client.handshake()
    began, found = time.monotonic(), []

    def wait() -> bool:
        left = client.deadline()
        assert left is not None
        assert not client.on_timer()
        found.append(left)
        time.sleep(left + 0.001)
        return client.on_timer()

    assert client.take()
    assert wait()
    assert client.take()
    assert wait()
    assert client.take()
    with pytest.raises(HandshakeTimeoutError):
        [wait() for _ in range(9)]
    assert time.monotonic() - began >= 0.02 + 0.04 + 0.07
    assert found == pytest.approx([0.02, 0.04, 0.07], abs=0.015)
    assert client.take() == []


def test_both_engines_count_alike(monkeypatch):
    class Clock:
        now = 1000.0

        def __call__(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    for limits in (Timers(), Timers(1, 4), Timers(3, 5), Timers(2, 2)):
        client = of("mbedtls", psk=PSK, timers=limits).engine()
        with pytest.raises(WantReadError):
            client.handshake()
        found = []
        for _ in range(20):
            found.append(client.deadline())
            clock.now += found[-1]
            try:
                assert client.on_timer()
            except HandshakeTimeoutError:
                break
        assert found == pytest.approx(waits(limits, clock))


@pytest.mark.parametrize("way", ["up", "down"])
def test_lost(way):
    class Impatient(Ends):
        def timers(self) -> bool:
            time.sleep(min(end.deadline() for end in (self.client, self.server) if end.deadline() is not None) + 0.001)
            return super().timers()

    loss, timers = Loss(way, 2), Timers(0.02, 60)
    server = of("mbedtls", server=True, psks=PSKS, timers=timers)
    ends = Impatient(of("mbedtls", psk=PSK, timers=timers).engine(), server.engine(b"client"), loss)
    ends.handshake()
    assert loss.left < 0
    ends.network = lambda datagrams, _: datagrams
    ends.talk()
    assert ends.client.deadline() is None


# --- Connection ID --------------------------------------------------------------------------------


def with_cid(client: bytes | None = b"", server: bytes | None = b"87654321", **more: object) -> Ends:
    return shaken(
        of("mbedtls", psk=PSK, cid=client, **more).engine(), of("mbedtls", server=True, psks=PSKS, cid=server)
    )


@pytest.mark.parametrize(("mine", "theirs"), [(b"", b"12345678"), (b"abc", b"12345678"), (b"abc", b"")])
def test_each_direction_bears_what_the_other_wants(mine, theirs):
    ends = with_cid(mine, theirs)
    assert (ends.client.info().own_cid, ends.client.info().peer_cid) == (mine, theirs)
    assert (ends.server.info().own_cid, ends.server.info().peer_cid) == (theirs, mine)
    ends.client.write(b"up")
    ends.server.write(b"down")
    (up,), (down,) = ends.client.take(), ends.server.take()
    assert connection_id(up, len(theirs)) == (theirs or None)
    assert connection_id(down, len(mine)) == (mine or None)
    assert up[0] == (25 if theirs else 23)
    ends.server.feed(up)
    assert ends.server.read() == b"up"
    largest = bytes(ends.client.payload_limit())
    ends.client.write(largest)
    (datagram,) = ends.client.take()
    assert len(datagram) <= 1232


@pytest.mark.parametrize(("mine", "theirs"), [(None, b"12345678"), (b"abc", None), (b"", b"")])
def test_if_one_offers_none_or_both_want_none_there_is_none(mine, theirs):
    ends = with_cid(mine, theirs)
    for end in (ends.client, ends.server):
        assert (end.info().own_cid, end.info().peer_cid) == (None, None)
        with pytest.raises(ValueError, match="Connection ID"):
            end.save()
    ends.talk()


def test_a_server_knows_its_peers_by_it():
    """Two clients change their addresses; the datagrams tell whose they are."""
    server = of("mbedtls", server=True, psks=PSKS, cid=bytes(4))
    client = of("mbedtls", psk=PSK, cid=b"")
    peers: dict[bytes, Ends] = {}
    for number in itertools.count(1):
        cid = number.to_bytes(4, "big")
        peers[cid] = shaken(client.engine(), server.engine(b"address %d" % number, cid=cid))
        if number == 2:
            break
    for cid, ends in reversed(peers.items()):
        ends.client.write(b"I am " + cid)
        (datagram,) = ends.client.take()
        found = peers[connection_id(datagram, 4) or b""].server
        found.feed(datagram)
        assert found.read() == b"I am " + cid
    with pytest.raises(SettingsError, match="as long as"):
        server.engine(cid=b"12345")


@pytest.mark.parametrize("who", ["client", "server", "both"])
def test_an_association_outlives_its_engine(who):
    """No packet passes between save and load, and the next datagram is understood."""
    client = of("mbedtls", psk=PSK, cid=b"mine")
    server = of("mbedtls", server=True, psks=PSKS, cid=b"87654321")
    ends = shaken(client.engine(), server)
    ends.talk()
    suite = ends.client.info().suite
    if who != "server":
        kept = ends.client.save()
        with pytest.raises(ProtocolError, match="saved"):
            ends.client.write(b"too late")
        assert KEY not in kept
        ends.client = client.engine()
        for wrong in (b"", kept[:-1], bytes(len(kept)), kept[:60] + bytes([kept[60] ^ 1]) + kept[61:]):
            assert not ends.client.load(wrong)
        assert ends.client.load(kept + bytes(200))
    if who != "client":
        kept = ends.server.save()
        ends.server = server.engine(b"elsewhere")
        assert ends.server.load(kept)
    for end in (ends.client, ends.server):
        end.handshake()
        assert end.take() == []
    ends.talk()
    for end, loaded in ((ends.client, who != "server"), (ends.server, who != "client")):
        assert (end.info().loaded, end.info().resumed) == (loaded, loaded)
        assert end.info().suite == suite
    assert (ends.client.info().own_cid, ends.client.info().peer_cid) == (b"mine", b"87654321")
    assert not of("mbedtls", psk=PSK, cid=b"other").engine().load(kept)


# --- which engine ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "openssl"),
        ({"timers": Timers()}, "openssl"),
        ({"timers": Timers(0.5, 60)}, "mbedtls"),
        ({"cid": b""}, "mbedtls"),
        ({"psk": Psk(b"a\0b", KEY)}, "mbedtls"),
    ],
)
def test_the_engine_that_can(settings, name):
    assert context_for(Settings(datagram=True, **{"psk": PSK, **settings})).name == name


@pytest.mark.parametrize(
    ("settings", "lacks"),
    [
        ({"cid": b"", "max_version": Version.TLS1_1, "min_version": Version.TLS1_0}, "no Connection ID.*no DTLS below"),
        ({"timers": Timers(0.5, 1), "psk": Psk(b"", KEY)}, "before 1 s.*identity 0"),
        ({"cid": b"", "psk": None, "server": True, "psks": PSKS, "psk_hint": b"hint"}, "no Connection ID.*no hint"),
    ],
)
def test_what_none_can_names_what_each_lacks(settings, lacks):
    with pytest.raises(UnsupportedError, match=lacks):
        context_for(Settings(datagram=True, **{"psk": PSK, **settings}))


def test_an_identity_with_a_nul():
    identity = b"a\0b"
    client = context_for(Settings(datagram=True, psk=Psk(identity, KEY)))
    ends = shaken(client.engine(), of("mbedtls", server=True, psks={identity: KEY}))
    assert ends.server.info().psk_identity == identity


def test_absent_libraries_are_one_line(monkeypatch, tmp_path):
    from modemtls.tlsengine import mbedtls_library

    monkeypatch.setenv(mbedtls_library.VARIABLE, str(tmp_path))
    mbedtls_library.library.cache_clear()
    try:
        with pytest.raises(EngineUnavailableError, match=r"no Connection ID; mbedtls: no libmbedcrypto") as caught:
            context_for(Settings(datagram=True, psk=PSK, cid=b""))
        assert "\n" not in str(caught.value)
        assert str(tmp_path) in str(caught.value)
    finally:
        mbedtls_library.library.cache_clear()
