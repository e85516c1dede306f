"""Sessions kept for later, and what comes back instead of them."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modemtls.tlsengine import Context, Psk, Settings, Verify, Version, WantReadError, context_for, engine_for
from tests.support.pki import Leaf, Pki
from tests.support.tls_ends import Ends, shaken

PSK, PSKS = Psk(b"me", b"a key"), {b"me": b"a key"}


@pytest.fixture(scope="module")
def leaf(pki: Pki) -> Leaf:
    return pki.leaf("host.example")


def asking(pki: Pki, **more: object) -> Settings:
    return Settings(**{"ca": pki.ca.read_bytes(), "host": "host.example", **more})


def serving(leaf: Leaf, **more: object) -> Context:
    return context_for(Settings(server=True, chain=leaf.cert_pem, key=leaf.key_pem, verify=Verify.NONE, **more))


def again(settings: Settings, server: Context, session: bytes) -> Ends:
    client = engine_for(settings)
    assert client.offer_session(session)
    return shaken(client, server)


def session_of(settings: Settings, server: Context) -> bytes:
    """What is there after the first byte of data; before it, TLS 1.3 has none."""
    ends = shaken(settings, server)
    assert not ends.client.info().resumed
    ends.talk()
    return ends.client.export_session()


@pytest.mark.parametrize(
    ("datagram", "version"), [(False, Version.TLS1_2), (False, Version.TLS1_3), (True, Version.TLS1_2)]
)
def test_resumption(pki, leaf, datagram, version):
    settings = asking(pki, datagram=datagram, min_version=min(version, Version.TLS1_2), max_version=version)
    server = serving(leaf, datagram=datagram)
    kept = session_of(settings, server)
    ends = again(settings, server, kept + bytes(500))  # a buffer is larger than what is in it
    ends.talk()
    for end in (ends.client, ends.server):
        assert end.info().resumed
        assert not end.info().loaded
    assert ends.client.info().verify_code == 0
    assert again(settings, server, ends.client.export_session()).client.info().resumed


@pytest.mark.parametrize("version", [Version.TLS1_2, Version.TLS1_3])
def test_resumption_with_a_certificate_of_ours(pki, leaf, version):
    person = pki.client("gateway")
    settings = asking(pki, max_version=version, chain=person.cert_pem, key=person.key_pem)
    demanding = Settings(
        server=True, chain=leaf.cert_pem, key=leaf.key_pem, verify=Verify.REQUIRED, ca=pki.ca.read_bytes()
    )
    server = context_for(demanding)
    ends = again(settings, server, session_of(settings, server))
    assert ends.server.info().resumed
    assert ends.server.info().peer_chain[0]


@pytest.mark.parametrize("notify", [True, False])
def test_a_session_outlives_its_connection(pki, leaf, notify):
    server = serving(leaf)
    ends = shaken(asking(pki), server)
    ends.talk()
    kept = ends.client.export_session()
    ends.client.close(notify=notify)
    del ends
    assert again(asking(pki), server, kept).client.info().resumed


def test_the_ticket_of_tls_1_3_comes_late(pki, leaf):
    server = serving(leaf)
    client = engine_for(asking(pki))
    ends = Ends(client, server)
    ends.handshake()
    assert client.export_session() == b""
    with pytest.raises(WantReadError):
        client.read()
    kept = client.export_session()
    assert again(asking(pki), server, kept).client.info().resumed


def test_another_server_resumes_nothing(pki, leaf):
    kept = session_of(asking(pki), serving(leaf))
    ends = again(asking(pki), serving(leaf), kept)
    assert not ends.client.info().resumed
    assert not ends.server.info().resumed
    ends.talk()


@pytest.mark.parametrize("version", [Version.TLS1_2, Version.TLS1_3])
def test_a_pre_shared_key_is_no_resumption(version):
    """An external key of TLS 1.3 looks like one to OpenSSL; a session and a key together are told apart."""
    server = context_for(Settings(server=True, psks=PSKS))
    settings = Settings(psk=PSK, max_version=version)
    kept = session_of(settings, server)
    ends = again(settings, server, kept)
    assert ends.client.info().resumed
    assert ends.server.info().resumed
    elsewhere = again(settings, context_for(Settings(server=True, psks=PSKS)), kept)
    assert not elsewhere.client.info().resumed
    assert not elsewhere.server.info().resumed
    elsewhere.talk()


def test_what_was_wrong_then_is_still_told(pki, leaf):
    """Nothing is verified again; that nothing was right is remembered."""
    server = serving(leaf)
    for verify in (Verify.NONE, Verify.JUDGED):
        settings = asking(pki, host="other.example", verify=verify)
        info = again(settings, server, session_of(settings, server)).client.info()
        assert info.resumed
        assert info.verify_code == 62


@pytest.mark.parametrize(
    "change",
    [
        {"host": "other.example"},
        {"server_name": "host.example"},
        {"verify": Verify.NONE},
        {"ca": b""},
        {"check_dates": False},
        {"suites": (0x1301,)},
        {"max_version": Version.TLS1_2},
        {"psk": PSK},
    ],
)
def test_other_demands_take_no_session(pki, leaf, change):
    kept = session_of(asking(pki), serving(leaf))
    assert engine_for(asking(pki)).offer_session(kept)
    assert engine_for(dataclasses.replace(asking(pki), **change)).offer_session(kept) is False


@pytest.fixture(scope="module")
def kept(pki: Pki, leaf: Leaf) -> tuple[Context, bytes]:
    server = serving(leaf, max_version=Version.TLS1_2)
    return server, session_of(asking(pki), server)


@given(data=st.data())
def test_whatever_else_comes_back_is_ignored(pki, kept, data):
    _, session = kept
    at = data.draw(st.integers(0, len(session) - 1))
    changed = bytearray(session)
    changed[at] ^= data.draw(st.integers(1, 255))
    for wrong in (b"", bytes(1024), session[:at], bytes(changed), data.draw(st.binary(max_size=300))):
        assert engine_for(asking(pki)).offer_session(wrong) is False


def test_after_rubbish_the_handshake_is_a_full_one(pki, kept):
    server, session = kept
    client = engine_for(asking(pki))
    assert not client.offer_session(session[:-1])
    ends = shaken(client, server)
    assert not ends.client.info().resumed
    ends.talk()


def test_a_session_is_a_clients(pki, leaf):
    ends = shaken(asking(pki), serving(leaf, max_version=Version.TLS1_2))
    assert ends.server.export_session() == b""
    assert not ends.client.offer_session(ends.client.export_session()), "the handshake is over"
