"""Adapters for urllib3 and requests: what they cannot do is refused before anything is connected."""

from __future__ import annotations

import socket
import ssl

import pytest
import requests
import trustme
import urllib3
from urllib3.poolmanager import SSL_KEYWORDS
from urllib3.util import parse_url

from modemtls import TLSConfig
from modemtls.errors import ConfigurationError, NotSupportedError
from modemtls.sockets.web import ModemAdapter, pool_manager

TLS = TLSConfig(ca=trustme.CA().cert_pem.bytes())
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"


class FakeModem:
    """Answers whatever is asked, and remembers what was to be connected to."""

    def __init__(self) -> None:
        self.calls: list[tuple[tuple[str, int], object]] = []
        self.engines: list[str] = []

    def connect(self, address, *, tls, engine="modem", timeout=None):
        self.calls.append((address, tls))
        self.engines.append(engine)
        ours, theirs = socket.socketpair()
        theirs.sendall(ANSWER)
        theirs.close()
        return ours


@pytest.fixture
def modem() -> FakeModem:
    return FakeModem()


def test_connections_go_through_the_modem(modem: FakeModem) -> None:
    manager = pool_manager(modem, tls=TLS, retries=False, timeout=5, num_pools=3, maxsize=2, block=True, headers={})
    assert manager.request("GET", "https://h.example/").data == b"hi"
    assert manager.request("GET", "http://h.example:81/").data == b"hi"
    assert modem.calls == [(("h.example", 443), TLS), (("h.example", 81), None)]


def test_the_engine_is_for_what_is_secured(modem: FakeModem) -> None:
    manager = pool_manager(modem, tls=TLS, engine="host", retries=False)
    manager.request("GET", "https://h.example/")
    manager.request("GET", "http://h.example/")
    with requests.Session() as session:
        session.trust_env = False
        for scheme in ("https://", "http://"):
            session.mount(scheme, ModemAdapter(modem, tls=TLS, engine="auto"))
            assert session.get(f"{scheme}h.example/").text == "hi"
    assert modem.engines == ["host", "modem", "auto", "modem"]


GIVEN = {
    "assert_fingerprint": "00" * 32,
    "assert_hostname": "h.example",
    "server_hostname": "other.example",
    "cert_reqs": "CERT_REQUIRED",
    "ca_certs": "/ca.pem",
    "ca_cert_dir": "/certs",
    "ca_cert_data": "PEM",
    "cert_file": "/cert.pem",
    "key_file": "/key.pem",
    "key_password": "hush",
    "ssl_context": ssl.create_default_context(),
    "ssl_version": "TLSv1_2",
    "ssl_minimum_version": ssl.TLSVersion.TLSv1_2,
    "ssl_maximum_version": ssl.TLSVersion.TLSv1_2,
}


def test_all_that_urllib3_knows_of_tls_is_looked_at() -> None:
    assert set(SSL_KEYWORDS) <= set(GIVEN)


@pytest.mark.parametrize("name", GIVEN)
def test_what_belongs_to_the_hosts_tls_is_refused(modem: FakeModem, name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{name}.*tls=TLSConfig") as caught:
        pool_manager(modem, tls=TLS, retries=False, **{name: GIVEN[name]})
    assert "hush" not in str(caught.value)
    with pytest.raises(ConfigurationError, match=name):
        pool_manager(modem, **{name: GIVEN[name]})
    manager = pool_manager(modem, tls=TLS, retries=False)
    with pytest.raises(ConfigurationError, match=name):
        manager.connection_from_host("h.example", 443, "https", pool_kwargs={name: GIVEN[name]}).request("GET", "/")
    with pytest.raises(ConfigurationError, match=name):
        manager.connection_from_url("https://h.example", pool_kwargs={name: GIVEN[name]}).request("GET", "/")
    assert modem.calls == []


def test_a_check_that_is_switched_off_is_refused_too(modem: FakeModem) -> None:
    with pytest.raises(ConfigurationError, match="assert_hostname"):
        pool_manager(modem, tls=TLS, assert_hostname=False)
    with pytest.raises(ConfigurationError, match="cert_reqs"):
        pool_manager(modem, tls=TLS, cert_reqs="CERT_NONE")


def test_what_is_not_given_is_not_refused(modem: FakeModem) -> None:
    manager = pool_manager(modem, tls=TLS, retries=False, **dict.fromkeys(GIVEN))
    assert manager.request("GET", "https://h.example/").data == b"hi"


@pytest.mark.parametrize("name", sorted(GIVEN.keys() - {"cert_reqs"}))
def test_an_adapter_that_passes_them_on_is_refused(modem: FakeModem, name: str) -> None:
    class Own(ModemAdapter):
        def init_poolmanager(self, *args, **options):
            super().init_poolmanager(*args, **options, **{name: GIVEN[name]})

    with pytest.raises(ConfigurationError, match=name):
        Own(modem, tls=TLS)


@pytest.mark.parametrize("name", sorted(GIVEN.keys() - {"cert_reqs", "ca_certs", "ca_cert_dir"}))
def test_an_adapter_that_passes_them_on_for_a_request_is_refused(modem: FakeModem, name: str) -> None:
    class Own(ModemAdapter):
        def build_connection_pool_key_attributes(self, request, verify, cert=None):
            host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
            return host, {**pool, name: GIVEN[name]}

    with requests.Session() as session:
        session.mount("https://", Own(modem, tls=TLS))
        with pytest.raises(ConfigurationError, match=name):
            session.get("https://h.example/")
    assert modem.calls == []


def test_https_without_tls_connects_to_nothing(modem: FakeModem) -> None:
    """Least of all in the clear."""
    with pytest.raises(ConfigurationError, match="tls=TLSConfig"):
        pool_manager(modem, retries=False).request("GET", "https://h.example/")
    with requests.Session() as session:
        session.mount("https://", ModemAdapter(modem))
        with pytest.raises(ConfigurationError, match="tls=TLSConfig"):
            session.get("https://h.example/")
    assert modem.calls == []


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nothing_goes_past_a_proxy(modem: FakeModem, scheme: str) -> None:
    manager = pool_manager(modem, tls=TLS, retries=False)
    proxied = {"_proxy": parse_url("http://proxy.example:3128")}
    with pytest.raises(NotSupportedError, match=r"proxy\.example"):
        manager.connection_from_host("h.example", None, scheme, pool_kwargs=proxied).urlopen("GET", "/", retries=False)
    assert modem.calls == []


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nor_past_one_of_a_session(modem: FakeModem, scheme: str) -> None:
    with requests.Session() as session:
        session.mount(f"{scheme}://", ModemAdapter(modem, tls=TLS))
        session.proxies = {scheme: "http://me:hush@proxy.example:3128"}
        with pytest.raises(NotSupportedError, match=r"proxy\.example") as caught:
            session.get(f"{scheme}://h.example/")
        assert "hush" not in str(caught.value)
    assert modem.calls == []


def test_a_bundle_from_the_environment_is_passed_over(modem: FakeModem, monkeypatch, tmp_path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.touch()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with requests.Session() as session:
        session.mount("https://", ModemAdapter(modem, tls=TLS))
        assert session.get("https://h.example/").text == "hi"
        with pytest.raises(ConfigurationError, match="verify="):
            session.get("https://h.example/", verify=str(tmp_path))
    assert len(modem.calls) == 1


@pytest.mark.parametrize(
    "said", [{"verify": False}, {"verify": "/ca.pem"}, {"cert": "/c.pem"}, {"cert": ("/c.pem", "/k.pem")}]
)
def test_what_a_request_says_is_refused_in_its_own_words(modem: FakeModem, said: dict[str, object]) -> None:
    with requests.Session() as session:
        session.mount("https://", ModemAdapter(modem, tls=TLS))
        with pytest.raises(ConfigurationError, match=r"verify= and cert=.*tls=TLSConfig"):
            session.get("https://h.example/", **said)
    assert modem.calls == []


def test_failures_are_urllib3s(modem: FakeModem) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConnectionRefusedError(111, "refused")

    modem.connect = fail
    with pytest.raises(urllib3.exceptions.NewConnectionError, match="refused"):
        pool_manager(modem, retries=False).request("GET", "http://h.example/")
