"""The engine against Python's own ssl, both in memory; settings that cannot be used; libraries that are not there."""

from __future__ import annotations

import ssl
import subprocess
import sys

import pytest

from modemtls.tlsengine import (
    CertificateRefusedError,
    CredentialError,
    Engine,
    EngineUnavailableError,
    Psk,
    Settings,
    SettingsError,
    StreamEndedError,
    Verify,
    Version,
    WantReadError,
    engine_for,
    require,
    whole_records,
)


def converse(client: Engine, context: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
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
    client = engine_for(
        Settings(ca=pki.ca.read_bytes(), host="host.example", server_name="host.example", max_version=Version.TLS1_2)
    )
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
    client = engine_for(Settings(verify=Verify.NONE))
    converse(client, context)
    client.feed(b"")
    with pytest.raises(StreamEndedError, match="ended the connection"):
        client.read()


def test_refused_certificate_tells_openssls_code(pki, context):
    client = engine_for(Settings(ca=pki.ca.read_bytes(), host="other.example"))
    with pytest.raises(CertificateRefusedError, match=r"(?i)hostname mismatch") as caught:
        converse(client, context)
    assert caught.value.verify_code == 62


@pytest.mark.parametrize(
    ("error", "settings"),
    [
        (CredentialError, {"ca": b"rubbish"}),
        (CredentialError, {"anchors": b"\x30\x03\x02\x01\x00"}),
        (CredentialError, {"ca": b"\x30\x82"}),
        (CredentialError, {"crls": b"-----BEGIN CERTIFICATE-----\nMAMCAQA=\n-----END CERTIFICATE-----\n"}),
        (CredentialError, {"chain": b"rubbish", "key": b"rubbish"}),
        (SettingsError, {"suites": (0x0005,)}),
        (SettingsError, {"suites": (0xC0A8,)}),  # a suite of pre-shared keys, and no key
        (SettingsError, {"suites": (0x1301,), "max_version": Version.TLS1_2}),
        (SettingsError, {"min_version": Version.TLS1_3, "max_version": Version.TLS1_2}),
        (SettingsError, {"min_version": Version.TLS1_3, "datagram": True}),
        (SettingsError, {"host": "x" * 70 + "ä.example"}),
        (SettingsError, {"server_name": "x" * 300}),
        (SettingsError, {"chain": b"a certificate"}),
        (SettingsError, {"server": True}),
        (SettingsError, {"psk": Psk(b"me", b"")}),
        (SettingsError, {"psk": Psk(b"a\0b", b"key")}),
        (SettingsError, {"psk": Psk(b"me", bytes(600))}),
        (SettingsError, {"psks": {b"me": b"key"}}),
        (SettingsError, {"alpn": (b"",)}),
        (SettingsError, {"cid": b"1"}),
        (SettingsError, {"datagram": True, "mtu": 100}),
        (SettingsError, {"datagram": True, "fragment": 500}),
        (SettingsError, {"fragment": 512}),
    ],
)
def test_unusable_settings(error, settings):
    with pytest.raises(SettingsError) as caught:
        engine_for(Settings(**settings))
    assert type(caught.value) in (error, *error.__subclasses__())


def test_of_a_datagram_without_its_end_the_whole_records_are_left():
    def record(payload):
        return b"\x17\xfe\xfd" + bytes(8) + len(payload).to_bytes(2, "big") + payload

    first, second = record(bytes(20)), record(bytes(300))
    both = first + second
    for end in range(len(both) + 1):
        left = whole_records(both[:end])
        assert left == (both if end == len(both) else first if end >= len(first) else b"")


def test_key_that_does_not_fit_its_certificate(pki):
    first, second = pki.client("a"), pki.client("b")
    with pytest.raises(SettingsError, match="does not belong"):
        engine_for(Settings(chain=first.cert_pem, key=second.key_pem))


def test_secrets_are_not_in_the_repr(pki):
    leaf = pki.client()
    told = repr(
        Settings(
            chain=leaf.cert_pem, key=leaf.key_pem, key_password=b"swordfish", server=True, psks={b"it": b"open sesame"}
        )
    )
    told += repr(Settings(psk=Psk(b"it", b"open sesame")))
    assert leaf.key_pem.decode()[40:80] not in told
    assert "swordfish" not in told
    assert "sesame" not in told


@pytest.fixture
def not_loaded(monkeypatch):
    """The engine as if nobody had asked for it yet."""
    for name in [name for name in sys.modules if name.startswith("modemtls.tlsengine.openssl")]:
        monkeypatch.delitem(sys.modules, name)


def test_missing_libraries_are_one_clear_line(monkeypatch, not_loaded):
    monkeypatch.setitem(sys.modules, "OpenSSL", None)
    with pytest.raises(EngineUnavailableError, match=r"pip install 'modemtls\[host\]'") as caught:
        require("openssl")
    assert "\n" not in str(caught.value)


def test_missing_private_name_is_named(monkeypatch, not_loaded):
    import OpenSSL._util

    class Lib:
        def __getattr__(self, name: str) -> object:
            if name == "SSL_get0_param":
                raise AttributeError(name)
            return object()

    monkeypatch.setattr(OpenSSL._util, "lib", Lib())
    with pytest.raises(EngineUnavailableError, match="does not export SSL_get0_param"):
        require("openssl")


@pytest.mark.parametrize("module", ["modemtls", "modemtls.tlsengine", "modemtls.tlsengine.suites"])
def test_no_engine_is_loaded_before_it_is_needed(module):
    engines = {"OpenSSL", "cryptography", "ctypes", "modemtls.tlsengine.openssl", "modemtls.tlsengine.mbedtls"}
    code = f"import sys, {module}; print({engines!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_package_itself_loads_no_engine_code():
    done = subprocess.run(
        [sys.executable, "-c", "import sys, modemtls; print([n for n in sys.modules if 'tlsengine' in n])"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "[]\n"
