"""The neutral TLS engine, both ends in memory."""

from __future__ import annotations

import importlib
import ssl
import sys

import pytest

from modemtls.tlsengine.openssl import Client, ClientSettings, SettingsError, TlsError, WantReadError


def converse(client: Client, context: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    """Shake hands with a server of Python's own ssl."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(incoming, outgoing, server_side=True)
    for _ in range(10):
        done = True
        try:
            client.handshake()
        except WantReadError:
            done = False
        finally:
            for data in client.take():
                incoming.write(data)
        try:
            server.do_handshake()
        except ssl.SSLWantReadError:
            done = False
        if outgoing.pending:
            client.feed(outgoing.read())
        if done:
            break
    return server, incoming, outgoing


@pytest.fixture
def context(pki):
    leaf = pki.leaf("host.example")
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(leaf.cert, leaf.key)
    return made


def test_both_directions_and_a_clean_end(pki, context):
    client = Client(ClientSettings(ca=pki.ca.read_bytes(), host="host.example", server_name="host.example"))
    server, incoming, outgoing = converse(client, context)
    client.write(bytes(range(256)) * 300)
    for data in client.take():
        incoming.write(data)
    got = b""
    while len(got) < 76800:
        got += server.read(100000)
    assert got == bytes(range(256)) * 300
    server.write(b"answer")
    with pytest.raises(ssl.SSLWantReadError):
        server.unwrap()
    client.feed(outgoing.read())
    assert client.read() == b"answer"
    assert client.read() == b""
    info = client.info()
    assert (info.version, info.resumed, info.verify_code) == ("TLSv1.2", False, 0)


def test_cut_stream_is_not_a_clean_end(pki, context):
    client = Client(ClientSettings(verify=False))
    converse(client, context)
    client.feed(b"")
    with pytest.raises(TlsError, match="ended the connection"):
        client.read()


def test_refused_certificate_tells_openssls_code(pki, context):
    client = Client(ClientSettings(ca=pki.ca.read_bytes(), host="other.example"))
    with pytest.raises(TlsError, match="hostname mismatch") as caught:
        converse(client, context)
    assert caught.value.verify_code == 62


@pytest.mark.parametrize(
    "settings",
    [
        {"ca": b"rubbish"},
        {"ciphers": "NO-SUCH-SUITE"},
        {"min_version": "SSLv3"},
        {"cert": b"rubbish", "key": b"rubbish"},
        {"host": "x" * 70 + "ä.example"},
    ],
)
def test_unusable_settings(settings):
    with pytest.raises(SettingsError):
        Client(ClientSettings(**settings))


def test_key_that_does_not_fit_its_certificate(pki):
    first, second = pki.client("a"), pki.client("b")
    with pytest.raises(SettingsError, match="does not belong"):
        Client(ClientSettings(cert=first.cert_pem, key=second.key_pem))


def test_key_is_not_in_the_repr(pki):
    key = pki.client().key_pem
    assert key.decode()[40:80] not in repr(ClientSettings(key=key))


def test_missing_libraries_are_one_clear_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "OpenSSL", None)
    monkeypatch.delitem(sys.modules, "modemtls.tlsengine.openssl")
    with pytest.raises(ImportError, match=r"pip install 'modemtls\[sim\]'") as caught:
        importlib.import_module("modemtls.tlsengine.openssl")
    assert "\n" not in str(caught.value)


def test_missing_private_name_is_named(monkeypatch):
    import OpenSSL._util

    class Lib:
        def __getattr__(self, name: str) -> object:
            if name == "SSL_get0_param":
                raise AttributeError(name)
            return object()

    monkeypatch.setattr(OpenSSL._util, "lib", Lib())
    monkeypatch.delitem(sys.modules, "modemtls.tlsengine.openssl")
    with pytest.raises(ImportError, match="does not export SSL_get0_param"):
        importlib.import_module("modemtls.tlsengine.openssl")
