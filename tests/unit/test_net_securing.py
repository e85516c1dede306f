"""What secures one socket's connections, over a modem in memory."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives import serialization

from modemtls.errors import CertificateError, CommandError, ModemError, NotSupportedError
from modemtls.modem.sockets import Opening
from modemtls.net.choose import Abilities, VersionChoice, bounded, choose, choose_timers
from modemtls.net.contract import Certificates, Encrypted, Psk, SslConfiguration, Stored, TlsaRecord, TlsVersion
from modemtls.net.failures import connect_failure
from modemtls.net.material import check_chains, load
from modemtls.net.securing import Securing
from tests.support.fakemodem import Answer, FakeModem
from tests.support.pki import private_pem
from tests.unit.test_net_judging import ISSUED, OWN

V = TlsVersion
DTLS = Abilities(
    modem="m",
    versions=(VersionChoice(2, frozenset({V.TLS1_0, V.TLS1_2})), VersionChoice(3, frozenset({V.TLS1_2}))),
    suites={0xC0A8: "CCM8", 0x008B: "OLD", 0x0094: "BOTH", 0xC02F: "RSA"},
    suite_mode="list",
    datagram=True,
    psk="inline",
)
PSK = Psk(b"identity", b"key")
WANTED = Opening(family="tls", host="server.example", port=443)


def ask(abilities=DTLS, host="server.example", security=PSK, verified=None, **configuration):
    return choose(SslConfiguration(security=security, **configuration), abilities, host, verified=verified)


def able(**changes):
    return replace(DTLS, **changes)


class TestChoice:
    def test_over_datagrams_older_versions_are_all_1_0(self):
        assert ask(version=V.TLS1_1).versions == {V.TLS1_0, V.TLS1_2}
        assert ask(version=V.SSL3).version == 2
        assert ask().versions == {V.TLS1_2}
        impossible = (
            ("dtls1.3", "DTLS 1.3 or later", {"version": V.TLS1_3}),
            ("dtls1.0", "exactly DTLS 1.0", {"version": V.TLS1_0, "max_version": V.TLS1_1}),
        )
        for capability, wanted, versions in impossible:
            with pytest.raises(NotSupportedError) as caught:
                ask(**versions)
            assert caught.value.capability == capability
            assert f"m cannot be set to {wanted} and nothing else (it knows DTLS 1.0, DTLS 1.2)" in str(caught.value)

    def test_suites_of_the_other_way_of_authentication_are_left_out(self):
        assert ask(security=PSK, ciphersuites=(0xC02F, 0x008B, 0xC0A8)).suites == ("OLD", "CCM8")
        assert ask(security=Certificates(verify=False)).suites == ("RSA",)
        assert ask(ciphersuites=(0xC02F, 0xC0A8, 0x0094)).numbers == (0xC0A8,)
        with pytest.raises(NotSupportedError, match="for a pre-shared key") as caught:
            ask(ciphersuites=(0xC02F,))
        assert caught.value.choices[0] == "suites=[0xC0A8]"

    @pytest.mark.parametrize(
        ("datagram", "mode", "lacking", "versions", "offered"),
        [
            (True, "one", (), {}, [0xC0A8]),
            (True, "list", (), {}, [0xC0A8]),
            (True, "one", (0xC0A8,), {}, [0x00A8]),
            (True, "one", (), {"version": V.TLS1_0}, [0xC0A8]),
            (False, "one", (), {}, [0x00A8]),
            (False, "one", (0x00A8,), {}, [0x008C]),
            (False, "one", (0x00A8, 0x008C), {}, [0x00AE]),
            (False, "one", (), {"version": V.TLS1_0, "max_version": V.TLS1_1}, [0x008C]),
            (False, "list", (), {}, [0x00A8, 0x008C, 0x00AE]),
        ],
    )
    def test_with_a_key_the_usual_suites_are_offered_and_none_without_it(
        self, datagram, mode, lacking, versions, offered
    ):
        numbers = (0xC02F, 0x0094, 0x008B, 0x00AE, 0x008C, 0x00A8, 0xC0A8)
        known = {number: f"{number:04X}" for number in numbers if number not in lacking}
        every = (V.TLS1_0, V.TLS1_2) if datagram else (V.TLS1_0, V.TLS1_1, V.TLS1_2)
        spoken = tuple(VersionChoice(0, frozenset(every[:upto])) for upto in range(1, len(every) + 1))
        modem = able(
            suites=known, suite_mode=mode, datagram=datagram, all_suites="all",
            versions=(*spoken, VersionChoice(1, frozenset({V.TLS1_2}))),
        )  # fmt: skip
        choice = ask(modem, **versions)
        assert list(choice.numbers) == offered
        assert choice.suites == tuple(known[number] for number in offered)
        assert ask(modem, security=Certificates(verify=False), **versions).suites == ("all",)

    def test_a_modem_that_names_no_suite_with_the_key_offers_all_that_it_has(self):
        assert ask(able(suites={0xC02F: "RSA"}, all_suites="all")).suites == ("all",)

    def test_a_modem_that_can_be_told_none(self):
        assert ask(able(suites=None)).suites == ()
        with pytest.raises(NotSupportedError) as caught:
            ask(able(suites=None), ciphersuites=(0xC0A8,))
        assert caught.value.capability == "suites"

    def test_with_a_key_nothing_is_checked(self):
        choice = ask(able(hostname_check=True, told_the_name=True, sni="name"))
        assert (choice.check_hostname, choice.check_dates, choice.expected_name) == (False, False, None)
        assert choice.sni == "server.example"

    def test_the_name_to_check_is_the_one_that_is_sent(self):
        modem = able(hostname_check=True, told_the_name=True, sni="name")
        verifying = Certificates(trusted=Stored("ca"))
        assert ask(modem, security=verifying).expected_name == "server.example"
        assert ask(modem, security=verifying, server_name_indication="x.example").expected_name == "x.example"
        assert ask(modem, host="192.0.2.1", security=verifying).expected_name == "192.0.2.1"
        assert ask(modem, host="192.0.2.1", security=verifying).sni is False

    def test_where_one_name_is_both(self):
        modem = able(hostname_check=True, told_the_name=True, sni="name", one_name=True)
        unnamed = Certificates(trusted=Stored("ca"), check_hostname=False)
        assert ask(modem, security=unnamed).sni is False
        assert ask(modem, security=Certificates(verify=False)).sni == "server.example"
        assert ask(modem, security=Certificates(trusted=Stored("ca"))).sni == "server.example"
        with pytest.raises(NotSupportedError) as caught:
            ask(modem, security=unnamed, server_name_indication="x.example")
        assert caught.value.capability == "sni"

    def test_records_decide_whether_anything_is_checked(self):
        modem = able(hostname_check=True)
        opportunistic = Certificates(dane=True, verify=False)
        assert not ask(modem, security=opportunistic).check_hostname
        assert ask(modem, security=opportunistic, verified=True).check_hostname

    def test_what_only_a_datagram_socket_asks_for(self):
        with pytest.raises(NotSupportedError) as caught:
            ask(use_connection_id=True)
        assert caught.value.capability == "cid"
        ask(able(datagram=False), use_connection_id=True)

    @pytest.mark.parametrize(
        ("timers", "found"),
        [
            (None, (1, 60, 123)),
            ((1, 1), (1, 1, 1)),
            ((2, 10), (2, 10, 24)),
            ((1.2, 2.5), (2, 3, 5)),
            ((5, 5), (5, 5, 5)),
        ],
    )
    def test_timers(self, timers, found):
        assert choose_timers(timers, able(timers="range")) == found
        totals = (1, 3, 7, 15, 31, 63, 123)
        assert choose_timers(timers, able(timers="total", timer_totals=totals))[2] == min(
            one for one in totals if one >= found[2]
        )

    def test_a_modem_goes_on_no_longer_than_anybody_waits(self):
        totals = able(timers="total", timer_totals=(1, 3, 7, 15, 31, 63, 123))
        for seconds, total in ((0.1, 1), (1, 1), (3.5, 7), (123, 123), (1000, 123)):
            assert bounded((1, 60, 123), seconds, totals) == (1, 60, total)
        assert bounded((1, 1, 1), 50, totals) == (1, 1, 1)
        assert bounded((1, 60, 123), 5, able(timers="range")) == (1, 60, 123)
        assert bounded(None, 5, totals) is None

    def test_timers_that_cannot_be_told(self):
        assert choose_timers(None, DTLS) is None
        assert choose_timers((0.1, 1), able(datagram=False)) is None
        for timers, modem in (((1, 60), DTLS), ((0.5, 1), able(timers="range"))):
            with pytest.raises(NotSupportedError) as caught:
                choose_timers(timers, modem)
            assert caught.value.capability == "handshake_timers"


class TestFailures:
    def fail(self, kind, security=PSK, modem=DTLS, **configuration):
        made = SslConfiguration(security=security, **configuration)
        choice = choose(made, replace(modem, cid=True, hostname_check=True), "server.example")
        return connect_failure(CommandError("no", kind=kind), "server.example", 443, made, choice)

    def test_with_a_key_the_key_is_suspected(self):
        assert "another pre-shared key or identity" in str(self.fail("connect_or_handshake"))

    @pytest.mark.parametrize(("datagram", "kind"), [(True, "DTLS"), (False, "TLS")])
    def test_the_protocol_has_its_name_and_a_suite_that_is_the_only_one(self, datagram, kind):
        modem = able(datagram=datagram)
        text = str(self.fail("connect_or_handshake", modem=modem, ciphersuites=(0xC0A8,)))
        assert text.endswith(f"; no {kind} 1.2 or TLS_PSK_WITH_AES_128_CCM_8")
        text = str(self.fail("connect_or_handshake", modem=modem, ciphersuites=(0xC0A8, 0x008B), version=V.TLS1_0))
        assert text.endswith(f"; no {kind} 1.0 or {kind} 1.2 or common cipher suite")
        text = str(self.fail("connect_or_handshake", Certificates(verify=False), able(datagram=datagram, suites=None)))
        assert f"; no {kind} 1.2 or common cipher suite; " in text
        assert f"the {kind} handshake with" in str(self.fail("handshake_failed", modem=modem))

    def test_with_records_the_record_is(self):
        error = self.fail("connect_or_handshake", Certificates(dane=True))
        assert "not what the TLSA record says" in str(error)

    def test_what_turned_out_to_be_lacking_has_a_name(self):
        assert self.fail("not_supported", use_connection_id=True).capability == "cid"
        assert self.fail("not_supported").capability == "psk"
        assert self.fail("not_supported", Certificates(verify=False)).capability == "open"

    def test_numbers(self):
        assert [self.fail(kind).code for kind in ("memory", "busy", "socket_in_use")] == [42, 6, 3]


class TestMaterial:
    def test_a_key_with_a_password_goes_in_without(self, pki):
        own = pki.client()
        private = serialization.load_pem_private_key(own.key_pem, None)
        key = Encrypted(private_pem(private, b"sesame"), b"sesame")
        security = Certificates(verify=False, client_cert=own.cert, client_key=key)
        found = load(security, "m", psk_stored=False, bundles=False)
        given = serialization.load_pem_private_key(found.given["key"], None)
        assert given.private_numbers() == private.private_numbers()
        assert "sesame" not in repr(found)
        assert "BEGIN" not in repr(found)

    def test_the_path_is_completed_from_the_trust_store(self, pki):
        leaf = pki.intermediate("x.example")
        first, middle = (
            part + b"-----END CERTIFICATE-----\n" for part in leaf.cert_pem.split(b"-----END CERTIFICATE-----")[:2]
        )
        security = Certificates(
            verify=False, trusted=[middle, pki.ca], client_cert=first, client_key=leaf.key, rebuild_client_chain=True
        )
        found = load(security, "m", psk_stored=False, bundles=False)
        assert found.given["cert"].count(b"BEGIN") == 3
        alone = load(replace(security, rebuild_client_chain=False), "m", psk_stored=False, bundles=False)
        assert alone.given["cert"].count(b"BEGIN") == 1
        with pytest.raises(NotSupportedError) as caught:
            check_chains(found.given, 1, "m")
        assert caught.value.capability == "credential_chain"
        check_chains(found.given, None, "m")

    def test_a_shared_key_is_material_only_where_it_is_stored(self):
        assert load(PSK, "m", psk_stored=False, bundles=True).given == {}
        assert load(PSK, "m", psk_stored=True, bundles=True).given == {"psk": b"key", "psk_identity": b"identity"}
        assert b"key" not in repr(load(PSK, "m", psk_stored=True, bundles=True)).encode().replace(b"Material", b"")


@pytest.fixture
def showing():
    """A modem that hands out what the server has shown."""
    modem = FakeModem(capabilities={"peer_certificate": True, "psk": "inline"})
    modem.shown = OWN
    modem.script = lambda op, slot, bindings: Answer(payload=modem.shown) if op == "peer_certificate" else None
    return modem


class TestConnecting:
    def secured(self, modem, *records, **more):
        made = Securing(modem, SslConfiguration(security=Certificates(dane=True, **more)), "tls")
        made.set_records(list(records))
        return made

    def test_what_the_server_showed_is_judged_before_anything_is_said(self, showing):
        record = TlsaRecord(3, 0, 1, hashlib.sha256(OWN).digest())
        slot = self.secured(showing, record).open(WANTED, None)
        assert slot.state == "open"
        assert not showing.leases[0].settings.verify
        showing.shown = ISSUED
        for refused in (record, TlsaRecord(3, 0, 0, OWN)):
            made = self.secured(showing, TlsaRecord(3, 0, 1, refused.data) if refused.matching else record)
            with pytest.raises(CertificateError, match="refused"):
                made.open(WANTED, None)
            assert showing.peer.closed_by_driver

    def test_a_name_that_it_is_not_for(self, showing):
        record = TlsaRecord(3, 0, 1, hashlib.sha256(OWN).digest())
        other = Opening(family="tls", host="other.example", port=443)
        with pytest.raises(CertificateError, match=r"not for 'other\.example'"):
            self.secured(showing, record).open(other, None)
        self.secured(showing, record, check_hostname=False).open(other, None)

    def test_one_that_the_modem_does_not_hand_out(self, showing):
        def refuse(op, slot, bindings):
            raise CommandError("no", kind="unknown")

        showing.script = refuse
        with pytest.raises(CertificateError, match="does not tell"):
            self.secured(showing, TlsaRecord(3, 0, 1, hashlib.sha256(OWN).digest())).open(WANTED, None)
        assert showing.peer.closed_by_driver

    def test_a_key_travels_with_the_settings(self, showing):
        Securing(showing, SslConfiguration(security=PSK), "tls").open(WANTED, None)
        told = showing.leases[0].settings
        assert (told.psk_identity, told.psk_key, told.verify, told.ca) == (b"identity", b"key", False, None)
        assert showing.stored == {}

    def test_records_where_there_is_no_dane(self, showing):
        made = Securing(showing, SslConfiguration(security=Certificates(trusted=Stored("ca"))), "tls")
        with pytest.raises(ModemError) as caught:
            made.set_records([])
        assert caught.value.code == 24

    def test_what_a_record_costs_is_known_of_one_suite_only(self, showing):
        showing.profile.suites = SimpleNamespace(mode="one", all="0", codes={0x00A8: 16})
        made = Securing(showing, SslConfiguration(security=PSK, ciphersuites=(0x00A8,)), "tls")
        assert (made.shape().nonce, made.shape().tag, made.shape().block) == (8, 16, 1)
        usual = Securing(showing, SslConfiguration(security=PSK), "tls")
        assert (usual.suites, usual.shape()) == ((0x00A8,), made.shape())
        every = Securing(showing, SslConfiguration(security=Certificates(verify=False)), "tls")
        assert (every.suites, every.shape()) == ((), None)

    def test_a_limit_that_the_modem_does_not_keep_is_kept_here(self, showing):
        seen = []
        original = showing.open
        showing.open = lambda wanted, deadline=None: (seen.append(deadline), original(wanted))[1]
        before = showing.now()
        Securing(showing, SslConfiguration(security=PSK, handshake_timeout=7), "tls").open(WANTED, None)
        assert 7 <= seen[0] - before < 8
        showing.capabilities["handshake_timeout"] = True
        Securing(showing, SslConfiguration(security=PSK, handshake_timeout=7), "tls").open(WANTED, None)
        assert seen[1] is None
