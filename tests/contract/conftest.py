"""The subjects of the contract: every way to fulfil it, one after the other. What one lacks it declares."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

import modemtls
from modemtls.net import Certificates, Psk, SslConfiguration
from modemtls.sim import embedded
from modemtls.sim.options import Options
from modemtls.tlsengine import Settings, Verify
from tests.support import subjects
from tests.support.contract_peers import Peer, tls_peer
from tests.support.dtls import DtlsEcho
from tests.support.hasty import hasty

#: Each simulated modem with the variants of its manual's readings, and of time, that it is tried with.
MODELS = {
    "quectel-bg95": ("start=running", "pdp-time=0"),
    "ublox-sara-r5": ("start=running", "registration-time=0.01", "pdp-time=0", "handshake-time=1"),
    "ublox-sara-r4": ("start=running", "registration-time=0.01", "pdp-time=0", "handshake-time=1", "module=R422S"),
    "nordic-slm": ("start=running", "registration-time=0.01", "terminator=cr"),
    "nordic-sm": ("start=running", "registration-time=0.01"),
}

#: The modem whose plain sockets the host's engine is tried over; what these do themselves, all of them show.
UNDER_THE_HOST = "quectel-bg95"
IDENTITY, KEY = b"gateway", b"0123456789abcdef"

#: Each subject by what a test's name shows: the host's engine over loopback, over a modem; the modem's own.
SUBJECTS = ("host", f"host-{UNDER_THE_HOST}", *MODELS)


@pytest.fixture(scope="session")
def modems(tmp_path_factory) -> Iterator[dict[str, modemtls.Modem]]:
    """Simulated modems, one of each model, started when first needed."""
    with contextlib.ExitStack() as stack:

        class Started(dict):
            def __missing__(self, model: str) -> modemtls.Modem:
                sim = stack.enter_context(embedded.open(model, Options.build(variants=MODELS[model])))
                profile = hasty(model, tmp_path_factory.mktemp("profiles"))
                # Whoever stores credentials with the radio off is allowed to: each test has others.
                opened = modemtls.open(sim.path, apn="iot.example", profile=profile, radio_off=True)
                self[model] = stack.enter_context(opened)
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


@pytest.fixture(scope="session")
def own(pki):
    """A client's certificate with its key."""
    return pki.client()


@pytest.fixture
def echo(leaf) -> Iterator[Peer]:
    """A TLS server that returns what it gets; up to TLS 1.2, which everybody has."""
    with tls_peer(leaf, versions=("TLSv1_2", "TLSv1_2")) as peer:
        yield peer


@pytest.fixture
def trusting(pki, subject):
    """A configuration that trusts the tests' CA, with what every subject can do."""

    def make(**more):
        security = {
            "trusted": pki.ca,
            "check_hostname": subject.has("hostname_check"),
            "check_dates": subject.has("date_check"),
        }
        security |= {key: more.pop(key) for key in list(more) if key in Certificates.__dataclass_fields__}
        return SslConfiguration(security=Certificates(**security), **more)

    return make


@pytest.fixture
def anybody(pki, subject):
    """A configuration that verifies nobody. Not everybody can without something in its store."""

    def make(**more):
        stored = None if subject.has("without_credentials") else pki.ca
        return SslConfiguration(security=Certificates(verify=False, trusted=stored), **more)

    return make


@pytest.fixture
def psk():
    def make(**more):
        return SslConfiguration(security=Psk(IDENTITY, KEY), **more)

    return make


@pytest.fixture
def datagrams(subject, trusting, psk):
    """A configuration for datagrams: with a pre-shared key where the subject has that, else with certificates."""
    subject.need("dtls")
    return psk if subject.has("psk") else trusting


@pytest.fixture
def dtls(leaf) -> Iterator[DtlsEcho]:
    """A DTLS server with a certificate and with a pre-shared key that returns each record."""
    settings = Settings(
        server=True,
        datagram=True,
        psks={IDENTITY: KEY},
        chain=leaf.cert_pem,
        key=leaf.key_pem,
        verify=Verify.NONE,
        mtu=20_000,  # whatever has come can go back
    )
    with DtlsEcho(settings) as server:
        yield server
