"""The subjects of the contract: every way to fulfil it, one after the other. What one lacks it declares."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

import modemtls
from modemtls.net import Certificates, Psk, SslConfiguration
from modemtls.sim import embedded
from modemtls.sim.options import Options
from modemtls.tlsengine import Settings
from tests.support import subjects
from tests.support.contract_peers import Peer, tls_peer
from tests.support.dtls import DtlsEcho

MODELS = ("quectel-bg95",)
IDENTITY, KEY = b"gateway", b"0123456789abcdef"

#: Each subject by what a test's name shows: the host's engine over loopback, over a modem; the modem's own.
SUBJECTS = ("host", *(f"host-{model}" for model in MODELS), *MODELS)


@pytest.fixture(scope="session")
def modems() -> Iterator[dict[str, modemtls.Modem]]:
    """Simulated modems, one of each model, started when first needed."""
    with contextlib.ExitStack() as stack:

        class Started(dict):
            def __missing__(self, model: str) -> modemtls.Modem:
                sim = stack.enter_context(embedded.open(model, Options.build(variants=["start=running"])))
                self[model] = stack.enter_context(modemtls.open(sim.path, apn="iot.example"))
                return self[model]

        yield Started()


@pytest.fixture(params=SUBJECTS)
def subject(request: pytest.FixtureRequest, modems: dict[str, modemtls.Modem]) -> Iterator[subjects.Subject]:
    word = request.param
    if word == "host":
        made = subjects.over_loopback()
    elif word.startswith("host-"):
        made = subjects.over_modem(modems[word.removeprefix("host-")])
    else:
        made = subjects.in_modem(modems[word])
    yield made
    made.end()


@pytest.fixture
def loopback() -> Iterator[subjects.Subject]:
    """For what depends on the transport in ways that only sockets of this machine can be made to show."""
    made = subjects.over_loopback()
    yield made
    made.end()


@pytest.fixture(scope="session")
def leaf(pki):
    return pki.leaf(subjects.NAME, "127.0.0.1")


@pytest.fixture
def echo(leaf) -> Iterator[Peer]:
    """A TLS server that returns what it gets; up to TLS 1.2, which everybody has."""
    with tls_peer(leaf, versions=("TLSv1_2", "TLSv1_2")) as peer:
        yield peer


@pytest.fixture
def trusting(pki, subject):
    """A configuration that trusts the tests' CA, with what every subject can do."""

    def make(**more):
        security = {"trusted": pki.ca, "check_hostname": subject.has("hostname_check")}
        security |= {key: more.pop(key) for key in list(more) if key in Certificates.__dataclass_fields__}
        return SslConfiguration(security=Certificates(**security), **more)

    return make


@pytest.fixture
def psk():
    def make(**more):
        return SslConfiguration(security=Psk(IDENTITY, KEY), **more)

    return make


@pytest.fixture
def dtls() -> Iterator[DtlsEcho]:
    """A DTLS server with a pre-shared key that returns each record."""
    with DtlsEcho(Settings(server=True, datagram=True, psks={IDENTITY: KEY})) as server:
        yield server
