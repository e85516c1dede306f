"""What secures a modem's own connections, over the simulated modem of each family, to real servers."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from modemtls.errors import (
    ConfigurationError,
    CredentialError,
    HandshakeError,
    ModemError,
    NotSupportedError,
)
from modemtls.modem.attached import AttachedModem
from modemtls.modem.attaching import attach
from modemtls.modem.settings import Settings
from modemtls.net import (
    Certificates,
    Encrypted,
    Option,
    Psk,
    SslConfiguration,
    Stored,
    TlsaRecord,
    TlsVersion,
    create_dtls_socket,
    create_ssl_socket,
)
from modemtls.net.contract import resumption
from modemtls.net.contract.resumption import Kind
from modemtls.sim import embedded
from modemtls.sim.embedded import EmbeddedModem
from modemtls.tlsengine import Settings as EngineSettings
from tests.support.contract_peers import tls_peer
from tests.support.dtls import DtlsEcho
from tests.support.hasty import hasty
from tests.support.pki import private_pem
from tests.support.servers import echo, tls_service
from tests.support.subjects import refuses
from tests.support.tls_ends import need_mbedtls

NAME = "server.example"
IDENTITY, KEY = b"dev-01", bytes(range(16))
TLS12 = ("TLSv1_2", "TLSv1_2")
QUICK = {"boot-time": "0.02", "registration-time": "0.02"}
SIZE = 1024

MODEMS = {
    "nordic-sm": ("nordic-sm", QUICK),
    "nordic-slm": ("nordic-slm", {**QUICK, "terminator": "cr"}),
    "r5": ("ublox-sara-r5", {**QUICK, "pdp-time": "0.01", "handshake-time": "1"}),
    "r422s": ("ublox-sara-r4", {**QUICK, "pdp-time": "0.01", "handshake-time": "1", "module": "R422S"}),
    "bg95": ("quectel-bg95", {"start": "running"}),
}


@dataclass
class User:
    """Who has a modem, and makes sockets of it."""

    name: str
    sim: EmbeddedModem
    modem: AttachedModem

    def need(self, **wanted: object) -> None:
        """Skip what this modem does not declare: ``True`` for any value."""
        able = self.modem.capabilities
        for capability, value in wanted.items():
            if (able.get(capability) or False) != value and not (value is True and able.get(capability)):
                pytest.skip(f"{self.name}: capability {capability} is {able.get(capability)!r}")

    def certificates(self, **more: Any) -> Certificates:
        able = self.modem.capabilities
        return Certificates(**{"check_dates": bool(able.get("date_check")), **more})

    def tls(self, security: Certificates | Psk, **more: Any):
        return create_ssl_socket(self.modem, SslConfiguration(security=security, **more))

    def dtls(self, security: Certificates | Psk | None = None, **more: Any):
        return create_dtls_socket(self.modem, SslConfiguration(security=security or Psk(IDENTITY, KEY), **more))


@contextlib.contextmanager
def using(word: str, folder, **settings: Any) -> Iterator[User]:
    model, options = MODEMS[word]
    profile = hasty(model, folder) if model.startswith("ublox") else None
    with embedded.open(model, options) as sim:
        modem = attach(sim.path, Settings(timeout=30, apn="iot.example", profile=profile, **settings))
        try:
            yield User(word, sim, modem)
        finally:
            modem.close()


@pytest.fixture(scope="module", params=MODEMS)
def user(request, tmp_path_factory):
    with using(request.param, tmp_path_factory.mktemp("profiles"), radio_off=True) as made:
        yield made


@pytest.fixture(scope="module")
def sm(tmp_path_factory):
    with using("nordic-sm", tmp_path_factory.mktemp("profiles"), radio_off=True) as made:
        yield made


@pytest.fixture(scope="module")
def r5(tmp_path_factory):
    with using("r5", tmp_path_factory.mktemp("profiles")) as made:
        yield made


@pytest.fixture
def dtls():
    settings = EngineSettings(server=True, datagram=True, psks={IDENTITY: KEY}, suites=(0xC0A8,))
    with DtlsEcho(settings) as server:
        yield server


@pytest.fixture(scope="module")
def leaf(pki):
    return pki.leaf(NAME)


def talk(sock, port, said=b"hello"):
    """Connect, talk, close; whether a session is said to have been resumed."""
    sock.connect(NAME, str(port))
    try:
        sock.send(said)
        assert sock.receive(100) == said
        return sock.get_opt(Option.SESSION_RESUMED)
    finally:
        sock.close()


def remembering(leaf):
    """A server that keeps sessions itself: not every modem takes tickets. It forgets those that end without goodbye."""

    def serve(stream):
        echo(stream)
        with contextlib.suppress(OSError, ValueError):
            stream.unwrap()

    return tls_peer(leaf, versions=TLS12, tickets=False, serve=serve)


def _remembering_context(leaf):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(leaf.cert, leaf.key)
    return context


def ders(pem):
    return [one.public_bytes(serialization.Encoding.DER) for one in x509.load_pem_x509_certificates(pem)]


class TestPreSharedKeys:
    def test_over_datagrams(self, user, dtls):
        user.need(dtls=True, psk=True)
        assert talk(user.dtls(), dtls.port) is False
        assert dtls.handshakes[0].suite == 0xC0A8
        assert dtls.heard == [b"hello"]

    def test_another_key_is_refused_and_the_modem_is_usable(self, user, dtls):
        user.need(dtls=True, psk=True)
        short = {"dtls_handshake_timeouts": (1, 1)} if user.modem.capabilities.get("handshake_timers") else {}
        with pytest.raises(ModemError):
            user.dtls(Psk(IDENTITY, bytes(16)), **short).connect(NAME, str(dtls.port))
        assert talk(user.dtls(), dtls.port) is False

    def test_what_cannot_be_told_fails_when_the_socket_is_made(self, user):
        user.need(dtls=True, psk=True)
        text_only = user.modem.capabilities["psk"] == "stored"
        for identity in (b"\0\xff", "übung".encode(), b"") if text_only else (bytes(129),):
            error = refuses("psk", lambda identity=identity: user.dtls(Psk(identity, KEY)))
            assert 'engine="host"' in error.choices
        if "psk_key" in user.modem.limits:
            refuses("psk", lambda: user.dtls(Psk(IDENTITY, bytes(user.modem.limits["psk_key"] + 1))))

    def test_of_the_suites_those_with_the_key_are_meant(self, user, dtls):
        """As a client asks that would use either way of authentication."""
        user.need(dtls=True, psk=True)
        both = (0xC0A8, 0xC0AE)
        if not user.modem.capabilities.get("suites"):
            refuses("suites", lambda: user.dtls(ciphersuites=both))
            return
        sock = user.dtls(ciphersuites=both)
        talk(sock, dtls.port)
        assert dtls.handshakes[0].suite == 0xC0A8
        refuses("suites", lambda: user.dtls(ciphersuites=(0xC0AE,)))

    def test_which_suite_is_offered_by_default_is_told(self, user, dtls):
        user.need(dtls=True, psk=True)
        told = bool(user.modem.capabilities.get("suites"))
        sock = user.dtls()
        assert sock.suites == ((0xC0A8,) if told else ())
        talk(sock, dtls.port)
        assert dtls.handshakes[0].suite == 0xC0A8
        refused = user.dtls(Psk(b"somebody", KEY))
        with pytest.raises(ModemError) as caught:
            refused.connect(NAME, str(dtls.port), timeout=2)
        assert "TLS 1.2" not in str(caught.value).replace("DTLS 1.2", "")

    def test_of_old_modules_a_key_of_any_bytes_is_refused(self, tmp_path):
        MODEMS["r410m"] = ("ublox-sara-r4", {**QUICK, "module": "R410M-02B"})
        with using("r410m", tmp_path) as user:
            refuses("psk", lambda: user.tls(Psk(IDENTITY, KEY)))
            assert user.tls(Psk(IDENTITY, b"printable")).suites == (0x00A8,)
            refuses("dtls", user.dtls)

    def test_where_it_would_keep_nobody_out_it_is_refused(self, tmp_path):
        MODEMS["r5-01b"] = ("ublox-sara-r5", {**QUICK, "firmware": "03.15,A00.01"})
        with using("r5-01b", tmp_path) as user:
            refuses("psk", lambda: user.tls(Psk(IDENTITY, KEY)))
            user.dtls()

    def test_a_modem_without_says_so(self, user):
        if not user.modem.capabilities.get("psk"):
            refuses("psk", lambda: user.tls(Psk(IDENTITY, KEY)))


class TestCredentials:
    def test_what_the_first_connection_needs_is_there_before_the_radio(self, dtls, tmp_path):
        with using("nordic-sm", tmp_path) as user:
            talk(user.dtls(), dtls.port)
            said = [line for line in user.sim.commands if line.startswith(("AT%CMNG=0", "AT+CFUN="))]
            assert [line[:9] for line in said] == ["AT%CMNG=0", "AT%CMNG=0", "AT+CFUN=1"]
            with pytest.raises(CredentialError, match="radio_off=True"):
                talk(user.dtls(Psk(IDENTITY, b"another")), dtls.port)

    @pytest.mark.parametrize("form", ["PEM", "DER", "file", "DER file", "list", "encrypted"])
    def test_an_own_certificate_in_every_form(self, user, pki, leaf, form, tmp_path):
        user.need(client_certificates=True)
        own = pki.client()
        private = serialization.load_pem_private_key(own.key_pem, None)
        kinds = serialization.PrivateFormat
        der = private.private_bytes(serialization.Encoding.DER, kinds.TraditionalOpenSSL, serialization.NoEncryption())
        (tmp_path / "key.der").write_bytes(der)
        (tmp_path / "own.der").write_bytes(ders(own.cert_pem)[0])
        cert, key = {
            "PEM": (own.cert_pem, own.key_pem),
            "DER": (ders(own.cert_pem)[0], der),
            "file": (own.cert, own.key),
            "DER file": (tmp_path / "own.der", tmp_path / "key.der"),
            "list": ([[own.cert], []], own.key),
            "encrypted": (own.cert, Encrypted(private_pem(private, b"open"), b"open")),
        }[form]
        security = user.certificates(trusted=pki.ca, client_cert=cert, client_key=key)
        with tls_peer(leaf, versions=TLS12, client_ca=pki.ca) as peer:
            talk(user.tls(security), peer.port)
            assert peer.certificates[0] == ders(own.cert_pem)[0]

    def test_a_password_that_does_not_open_a_key(self, user, pki):
        own = pki.client()
        locked = private_pem(serialization.load_pem_private_key(own.key_pem, None), b"open")
        with pytest.raises(CredentialError, match="password"):
            user.tls(user.certificates(trusted=pki.ca, client_cert=own.cert, client_key=Encrypted(locked, b"shut")))

    def test_more_certificates_than_fit_into_one(self, user, pki):
        security = user.certificates(trusted=[pki.ca, pki.self_signed("x.example").cert])
        if user.modem.limits.get("credential_chain") == 1:
            refuses("credential_chain", lambda: user.tls(security))
        else:
            user.tls(security)

    def test_what_is_stored_already_is_named(self, user, pki, leaf):
        trusted = pki.ca.read_bytes()
        user.modem.ensure_ready()
        names = user.modem.credentials.ensure_all({"ca": trusted})
        with tls_peer(leaf, versions=TLS12) as peer:
            talk(user.tls(user.certificates(trusted=Stored(names["ca"]))), peer.port)

    def test_under_one_number_all_or_nothing(self, sm, pki):
        own = pki.client()
        mixed = sm.certificates(trusted=Stored("17"), client_cert=own.cert, client_key=own.key)
        refuses("stored_credentials", lambda: sm.tls(mixed))
        sm.tls(sm.certificates(trusted=Stored("17"), client_cert=Stored("17"), client_key=Stored("17")))
        with pytest.raises(ConfigurationError):
            sm.tls(sm.certificates(trusted=Stored("ca.pem")))

    def test_nobody_verified_with_an_empty_store(self, sm, pki, leaf):
        refuses("credentials", lambda: sm.tls(Certificates(verify=False)))
        with tls_peer(pki.self_signed(NAME), versions=TLS12) as peer:
            talk(sm.tls(Certificates(verify=False, trusted=pki.ca)), peer.port)


class TestNames:
    def test_the_name_that_is_sent_is_the_name_that_is_checked(self, user, pki):
        if user.name == "bg95":
            refuses("sni", lambda: talk(user.tls(user.certificates(trusted=pki.ca), server_name_indication="x.y"), 1))
            return
        with tls_peer(pki.leaf("other.example"), versions=TLS12) as peer:
            talk(user.tls(user.certificates(trusted=pki.ca), server_name_indication="other.example"), peer.port)
            assert peer.names == ["other.example"]
            with pytest.raises(HandshakeError):
                talk(user.tls(user.certificates(trusted=pki.ca)), peer.port)

    def test_none_is_sent_where_it_would_be_checked_and_is_not_to_be(self, sm, pki):
        anyone = sm.certificates(trusted=pki.ca, check_hostname=False)
        with tls_peer(pki.leaf("other.example"), versions=TLS12) as peer:
            talk(sm.tls(anyone), peer.port)
            assert peer.names == [None]
        refuses("sni", lambda: sm.tls(anyone, server_name_indication="other.example"))


class TestVersions:
    def test_over_datagrams_the_names_of_tls_stand_for_those_of_dtls(self, user):
        user.need(dtls=True, psk=True)
        refuses("dtls1.3", lambda: user.dtls(version=TlsVersion.TLS1_3))
        user.dtls(version=TlsVersion.TLS1_1)
        if user.name == "r5":
            refuses("dtls1.0", lambda: user.dtls(version=TlsVersion.TLS1_0, max_version=TlsVersion.TLS1_1))

    def test_the_one_that_was_set_is_told(self, user, dtls):
        user.need(dtls=True, psk=True)
        sock = user.dtls()
        assert sock.version is None
        sock.connect(NAME, str(dtls.port))
        assert sock.version is TlsVersion.TLS1_2
        sock.close()


class TestTimers:
    def test_rounded_up_to_what_can_be_set(self, sm, dtls):
        for timers, written in ((None, 123), ((1, 2), 3), ((2, 10), 31), ((60, 60), 63), ((100, 600), 123)):
            before = len(sm.sim.commands)
            talk(sm.dtls(dtls_handshake_timeouts=timers), dtls.port)
            assert f"AT#XSSOCKETOPT=0,1,18,{written}" in sm.sim.commands[before:]

    def test_what_cannot_be_told_is_refused(self, user):
        user.need(dtls=True, psk=True)
        capability = user.modem.capabilities.get("handshake_timers")
        refuses("handshake_timers", lambda: user.dtls(dtls_handshake_timeouts=(0.2, 1)))
        if not capability:
            refuses("handshake_timers", lambda: user.dtls(dtls_handshake_timeouts=(1, 60)))
        with pytest.raises(ModemError) as caught:
            user.tls(user.certificates(trusted=Stored("17"))).set_opt(Option.DTLS_HANDSHAKE_TIMEOUTS, (1, 2))
        assert caught.value.code == 8


class TestSessions:
    def test_a_modem_without_says_so_when_the_socket_is_made(self, user, pki):
        if not user.modem.capabilities.get("resumption"):
            security = user.certificates(trusted=pki.ca)
            error = refuses("resumption", lambda: user.tls(security, session_resumption_buffer=bytearray(SIZE)))
            assert 'engine="host"' in error.choices

    def test_over_datagrams_with_the_truth_from_the_server(self, user, dtls):
        user.need(dtls=True, psk=True, resumption=True)
        reported = user.modem.capabilities["resumption"] == "reported"
        buffer = bytearray(SIZE)
        said = []
        for at in range(4):
            if at == 2:
                buffer[:] = bytes(SIZE)
            said.append(talk(user.dtls(session_resumption_buffer=buffer), dtls.port))
        assert [one.resumed for one in dtls.handshakes] == [False, True, False, True]
        assert said == ([False, True, False, True] if reported else [False] * 4)
        assert talk(user.dtls(), dtls.port) is False  # without a buffer nothing is kept or used
        assert dtls.handshakes[-1].resumed is False

    def test_over_a_stream(self, user, pki, leaf):
        user.need(resumption=True)
        security = user.certificates(trusted=pki.ca)
        buffer = bytearray(SIZE)
        with remembering(leaf) as peer:
            for _ in range(2):
                talk(user.tls(security, session_resumption_buffer=buffer), peer.port)
            assert peer.reused == [False, True]

    @pytest.mark.parametrize("how", ["foreign", "altered", "random", "another modem's", "another connection's"])
    def test_anything_else_in_the_buffer_is_a_full_handshake(self, user, dtls, how):
        user.need(dtls=True, psk=True, resumption=True)
        buffer = bytearray(SIZE)
        talk(user.dtls(session_resumption_buffer=buffer), dtls.port)
        good = bytes(buffer)
        if how == "another connection's":
            with DtlsEcho(EngineSettings(server=True, datagram=True, psks={IDENTITY: KEY}, suites=(0xC0A8,))) as other:
                talk(user.dtls(session_resumption_buffer=buffer), other.port)
                assert other.handshakes[0].resumed is False
        elif how == "another modem's":
            word = good[7 : 7 + good[6]].decode()
            payload = resumption.read(buffer, word).payload
            assert resumption.write(buffer, word[:-1] + ("0" if word[-1] != "0" else "1"), Kind.SESSION, payload)
        else:
            buffer[:] = {
                "foreign": b"MSP\1\0\0\4\0".ljust(SIZE, b"x"),
                "altered": good[:30] + bytes([good[30] ^ 1]) + good[31:],
                "random": bytes(i * 7 % 251 for i in range(SIZE)),
            }[how]
        assert talk(user.dtls(session_resumption_buffer=buffer), dtls.port) is False
        assert [one.resumed for one in dtls.handshakes] == [False, False]
        talk(user.dtls(session_resumption_buffer=buffer), dtls.port)
        assert dtls.handshakes[-1].resumed is True

    def test_on_other_terms_nothing_is_resumed(self, user, pki, leaf):
        user.need(resumption=True)
        buffer = bytearray(SIZE)
        with remembering(leaf) as peer:
            talk(user.tls(user.certificates(verify=False, trusted=pki.ca), session_resumption_buffer=buffer), peer.port)
            talk(user.tls(user.certificates(trusted=pki.ca), session_resumption_buffer=buffer), peer.port)
            assert peer.reused == [False, False]
            talk(user.tls(user.certificates(trusted=pki.ca), session_resumption_buffer=buffer), peer.port)
            assert peer.reused[-1] is True

    @pytest.mark.parametrize("how", ["another name is checked", "no name is checked"])
    def test_what_another_socket_made_on_weaker_terms_is_not_taken_up(self, user, pki, leaf, how):
        """Where the modem keeps sessions, it has one for host and credentials, whatever was verified."""
        user.need(resumption=True)
        more: dict[str, Any] = {"server_name_indication": "other.example"} if how == "another name is checked" else {}
        lax = user.certificates(trusted=pki.ca, **({} if more else {"check_hostname": False, "check_dates": False}))
        strict = user.tls(user.certificates(trusted=pki.ca), session_resumption_buffer=bytearray(SIZE))
        whoever = user.tls(lax, session_resumption_buffer=bytearray(SIZE), **more)
        genuine, other = (_remembering_context(each) for each in (leaf, pki.leaf("other.example")))
        now: list[ssl.SSLContext] = [genuine]

        def wrap_socket(raw, **role):  # one address, behind which somebody else is from a certain moment on
            return now[0].wrap_socket(raw, **role)

        with tls_service(SimpleNamespace(wrap_socket=wrap_socket), echo) as port:
            talk(strict, port)
            now[0] = other
            talk(whoever, port)
            with pytest.raises(ModemError):
                talk(strict, port)

    def test_zeroed_while_connected_it_stays_zero(self, user, dtls):
        user.need(dtls=True, psk=True, resumption=True)
        buffer = bytearray(SIZE)
        sock = user.dtls(session_resumption_buffer=buffer)
        sock.connect(NAME, str(dtls.port))
        assert any(buffer)
        buffer[:] = bytes(SIZE)
        sock.send(b"x")
        assert sock.receive(1) == b"x"
        sock.close()
        assert not any(buffer)

    def test_what_does_not_fit_leaves_zeros(self, user, dtls):
        user.need(dtls=True, psk=True, resumption=True)
        small = bytearray(b"\xff" * 40)
        for _ in range(2):
            assert talk(user.dtls(session_resumption_buffer=small), dtls.port) is False
            assert small == bytes(40)
        assert [one.resumed for one in dtls.handshakes] == [False, False]

    @pytest.mark.parametrize("more", [{"verify": False}, {"check_hostname": False}])
    def test_of_a_peer_that_nobody_knows_the_modem_keeps_nothing(self, sm, pki, leaf, more):
        """It would lie among the sessions of those whose chain and name have been verified."""
        anybody = sm.certificates(trusted=pki.ca, **more)
        buffer = bytearray(b"\xff" * SIZE)
        with remembering(leaf) as peer:
            for _ in range(2):
                talk(sm.tls(anybody, session_resumption_buffer=buffer), peer.port)
            assert peer.reused == [False, False]
        assert not any(buffer)


@pytest.fixture
def cid():
    need_mbedtls()
    with DtlsEcho(EngineSettings(server=True, datagram=True, psks={IDENTITY: KEY}, cid=b"server")) as server:
        yield server


def parked(user):
    return [slot for slot in user.modem.slots.slots() if slot.state == "parked"]


class TestConnectionIds:
    @pytest.fixture(autouse=True)
    def buffers(self):
        """Those of a test are zeroed behind it, so that what was put aside is closed by the next connection."""
        made = []

        def buffer(size=SIZE):
            made.append(bytearray(size))
            return made[-1]

        yield buffer
        for one in made:
            one[:] = bytes(len(one))

    def flags(self, sock):
        return sock.get_opt(Option.SESSION_RESUMED), sock.get_opt(Option.CONNECTION_ID_RESUMED)

    def test_a_modem_without_says_so_when_the_socket_is_made(self, user, pki):
        if user.modem.capabilities.get("dtls") and not user.modem.capabilities.get("cid"):
            security = user.certificates(trusted=pki.ca)
            refuses("cid", lambda: user.dtls(security, use_connection_id=True))
        user.tls(user.certificates(trusted=pki.ca), use_connection_id=True)  # without meaning there

    @pytest.mark.parametrize("same", [True, False], ids=["same object", "another object"])
    def test_what_was_closed_goes_on_without_any_packet(self, sm, cid, same, buffers):
        buffer = buffers()
        sock = sm.dtls(use_connection_id=True, session_resumption_buffer=buffer)
        sock.connect(NAME, str(cid.port))
        assert self.flags(sock) == (False, False)
        for _ in range(2):
            sock.close()
            if not same:
                sock.cleanup()
                sock = sm.dtls(use_connection_id=True, session_resumption_buffer=buffer)
            heard = len(cid.addresses)
            cid.silent = True  # whatever were sent now would be lost
            sock.connect(NAME, str(cid.port))
            cid.silent = False
            assert self.flags(sock) == (True, True)
            assert len(cid.addresses) == heard
            sock.send(b"on")
            assert sock.receive(10) == b"on"
        assert len(cid.handshakes) == 1

    @pytest.mark.parametrize("how", ["zeroed", "another process's", "other peer"])
    def test_what_does_not_belong_is_a_full_handshake(self, sm, cid, how, buffers):
        buffer = buffers()
        sock = sm.dtls(use_connection_id=True, session_resumption_buffer=buffer)
        sock.connect(NAME, str(cid.port))
        sock.close()
        (before,) = parked(sm)
        if how == "zeroed":
            buffer[:] = bytes(SIZE)
        elif how == "another process's":
            word = bytes(buffer)[7 : 7 + buffer[6]].decode()
            kept = resumption.read(buffer, word)
            assert kept.kind is Kind.CONNECTION
            resumption.write(buffer, word, Kind.CONNECTION, kept.payload[:-1] + bytes([kept.payload[-1] ^ 1]))
        sock.connect("other.example" if how == "other peer" else NAME, str(cid.port))
        assert self.flags(sock) == (False, False)
        assert len(cid.handshakes) == 2
        assert not cid.handshakes[1].resumed
        assert before.state == "gone"  # no buffer speaks of it any more
        sock.send(b"x")
        assert sock.receive(1) == b"x"
        buffer[:] = bytes(SIZE)
        sock.close()
        assert parked(sm) == []  # zeroed meanwhile: none is wanted

    def test_where_the_peer_has_none_nothing_is_put_aside(self, sm, dtls, buffers):
        sock = sm.dtls(use_connection_id=True, session_resumption_buffer=buffers())
        for _ in range(2):
            assert talk(sock, dtls.port) is False
            assert parked(sm) == []
        assert len(dtls.handshakes) == 2

    def test_of_more_than_the_modem_can_keep_the_oldest_goes(self, sm, cid, buffers):
        made = [buffers() for _ in range(sm.modem.limits["saved_connections"] + 1)]
        for buffer in made:
            talk(sm.dtls(use_connection_id=True, session_resumption_buffer=buffer), cid.port)
        assert len(parked(sm)) == len(made) - 1
        assert talk(sm.dtls(use_connection_id=True, session_resumption_buffer=made[-1]), cid.port) is True
        assert talk(sm.dtls(use_connection_id=True, session_resumption_buffer=made[0]), cid.port) is False


class TestRecords:
    def test_a_certificate_that_is_compared(self, r5, pki, leaf):
        """With a chain besides: another certificate of the same CA is not enough."""
        other = pki.leaf(NAME)
        security = r5.certificates(dane=True, trusted=pki.ca)
        with tls_peer(leaf, versions=TLS12) as peer:
            sock = r5.tls(security)
            sock.set_opt(Option.DANE_TLSA_ARRAY, [TlsaRecord(3, 0, 0, ders(leaf.cert_pem)[0])])
            talk(sock, peer.port)
            sock.set_opt(Option.DANE_TLSA_ARRAY, [TlsaRecord(3, 0, 0, ders(other.cert_pem)[0])])
            with pytest.raises(HandshakeError):
                talk(sock, peer.port)
            sock.set_opt(Option.DANE_TLSA_ARRAY, [])
            talk(sock, peer.port)

    def test_one_that_was_issued_by_somebody_else_cannot_be_had_without(self, user, leaf):
        sock = user.tls(user.certificates(dane=True))
        records = [TlsaRecord(3, 0, 0, ders(leaf.cert_pem)[0])]
        refuses("dane", lambda: sock.set_opt(Option.DANE_TLSA_ARRAY, records))

    def test_a_session_does_not_get_around_other_records(self, user, pki):
        user.need(resumption=True)
        own, other = pki.self_signed(NAME), pki.self_signed(NAME)
        buffer = bytearray(SIZE)
        sock = user.tls(user.certificates(dane=True), session_resumption_buffer=buffer)
        with remembering(own) as peer:
            sock.set_opt(Option.DANE_TLSA_ARRAY, [TlsaRecord(3, 0, 0, ders(own.cert_pem)[0])])
            for _ in range(2):
                talk(sock, peer.port)
            assert peer.reused == [False, True]
            sock.set_opt(Option.DANE_TLSA_ARRAY, [TlsaRecord(3, 0, 0, ders(other.cert_pem)[0])])
            with pytest.raises(HandshakeError):
                talk(sock, peer.port)


def test_what_is_lacking_is_told_by_the_host_engine_if_either_will_do(user, pki):
    """``auto`` takes the modem where it can do all of it."""
    with pytest.raises(NotSupportedError):
        user.tls(user.certificates(use_system_trust=True))
    made = create_ssl_socket(
        user.modem,
        SslConfiguration(security=user.certificates(trusted=pki.ca), alpn=("coap",)),
        engine="auto",
    )
    assert made.engine == "host"
    assert (
        create_ssl_socket(
            user.modem, SslConfiguration(security=user.certificates(trusted=pki.ca)), engine="auto"
        ).engine
        == "modem"
    )
