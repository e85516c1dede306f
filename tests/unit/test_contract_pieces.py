"""The contract's own pieces, without any engine: sizes, TLSA records, what is kept in a buffer, configurations."""

from __future__ import annotations

import errno
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from modemtls.errors import ConfigurationError, ModemError, NotSupportedError
from modemtls.net.contract import (
    AddressFamily,
    Certificates,
    Encrypted,
    Psk,
    SocketConfiguration,
    SslConfiguration,
    TlsaRecord,
    lwm2m_record,
    resumption,
)
from modemtls.net.contract.configuration import check_dtls_timeouts
from modemtls.net.contract.dane import Fault, digest, judge, usable
from modemtls.net.contract.der import subject_public_key_info
from modemtls.net.contract.mtu import RecordShape, secure_inner, udp_inner
from modemtls.net.contract.resumption import Kind


class TestSizes:
    @pytest.mark.parametrize(
        ("shape", "size"),
        [
            (RecordShape(8, 8), 1443),
            (RecordShape(8, 16), 1435),
            (RecordShape(0, 16), 1443),
            (RecordShape(16, 32, 16), 1407),
            (RecordShape(16, 20, 16), 1407),
            (None, 1472 - 64),
        ],
        ids=["CCM-8", "GCM", "ChaCha20", "CBC-SHA256", "CBC-SHA", "unknown"],
    )
    def test_a_link_of_1500_bytes(self, shape, size):
        assert secure_inner(udp_inner(1500, AddressFamily.IPV4), shape) == size

    @pytest.mark.parametrize(
        ("mtu", "family", "size"),
        [
            (1500, AddressFamily.IPV4, 1472),
            (1500, AddressFamily.IPV6, 1452),
            (None, AddressFamily.IPV4, 548),
            (None, AddressFamily.IPV6, 1232),
            (20, AddressFamily.IPV4, 0),
            (1500, AddressFamily.UNSPEC, 1452),
            (None, AddressFamily.UNSPEC, 548),
        ],
    )
    def test_without_headers(self, mtu, family, size):
        assert udp_inner(mtu, family) == size

    def test_a_connection_id_costs_its_length_and_a_byte(self):
        assert secure_inner(1472, RecordShape(8, 8), cid=6) == 1443 - 7

    def test_the_engines_own_limit_is_a_further_bound(self):
        assert secure_inner(1472, RecordShape(8, 8), limit=1024) == 1024

    def test_a_record_has_its_own_limit(self):
        """Packets of the loopback interface are larger."""
        assert secure_inner(65508, RecordShape(8, 8)) == secure_inner(65508, None) == 1 << 14

    def test_less_than_nothing_is_an_error(self):
        assert secure_inner(29, RecordShape(8, 8)) == 0
        with pytest.raises(ModemError) as caught:
            secure_inner(28, RecordShape(8, 8))
        assert caught.value.errno == errno.EMSGSIZE


@pytest.fixture(scope="module")
def chain(pki):
    """A leaf, its intermediate CA and the root, DER."""
    ders = [
        c.public_bytes(serialization.Encoding.DER)
        for c in x509.load_pem_x509_certificates(pki.intermediate("server.example").cert.read_bytes())
    ]
    root = x509.load_pem_x509_certificate(pki.ca.read_bytes()).public_bytes(serialization.Encoding.DER)
    return [*ders, root]


def record(usage, certificate, selector=0, matching=1):
    part = subject_public_key_info(certificate) if selector else certificate
    data = {0: part, 1: hashlib.sha256(part).digest(), 2: hashlib.sha512(part).digest()}[matching]
    return TlsaRecord(usage, selector, matching, data)


NAME, EXPIRED = Fault(62, 0, "hostname mismatch"), Fault(10, 0, "expired")
NO_ISSUER = Fault(20, 1, "no issuer")


class TestRecords:
    def test_the_public_key_is_the_one_that_cryptography_finds(self, chain):
        for der in chain:
            public = x509.load_der_x509_certificate(der).public_key()
            assert subject_public_key_info(der) == public.public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )

    @pytest.mark.parametrize("selector", [0, 1])
    @pytest.mark.parametrize("matching", [0, 1, 2])
    def test_selectors_and_matching_types(self, chain, selector, matching):
        one = record(3, chain[0], selector, matching)
        assert one.matches(chain[0])
        assert not one.matches(chain[1])

    @pytest.mark.parametrize(
        "one",
        [
            TlsaRecord(3, 0, 1, bytes(31)),
            TlsaRecord(3, 0, 2, bytes(32)),
            TlsaRecord(3, 0, 0, b"no DER"),
            TlsaRecord(4, 0, 1, bytes(32)),
            TlsaRecord(3, 2, 1, bytes(32)),
            TlsaRecord(3, 0, 3, bytes(32)),
        ],
    )
    def test_what_cannot_match_is_not_usable(self, chain, one):
        assert usable([one], enforced=True) == ()
        assert not one.matches(chain[0])

    def test_opportunistic_passes_over_the_constraints(self, chain):
        records = [record(usage, chain[0]) for usage in range(4)]
        assert [one.usage for one in usable(records, enforced=True)] == [0, 1, 2, 3]
        assert [one.usage for one in usable(records, enforced=False)] == [2, 3]

    @pytest.mark.parametrize("wrong", [(-1, 0, 0, b""), (256, 0, 0, b""), (True, 0, 0, b""), (3, 0, 0, "text")])
    def test_what_is_no_record(self, wrong):
        with pytest.raises(ConfigurationError):
            TlsaRecord(*wrong)

    def test_other_records_have_another_digest(self, chain):
        one, two = record(3, chain[0]), record(2, chain[1])
        assert len({digest([]), digest([one]), digest([two]), digest([one, two])}) == 4


class TestJudgement:
    def judge(self, chain, records, faults=(), *, anchored=True, path=None):
        return judge(records, leaf=chain[0], path=chain if path is None else path, faults=faults, anchored=anchored)

    @pytest.mark.parametrize(("usage", "which"), [(0, 1), (0, 2), (1, 0), (2, 1), (2, 2), (3, 0)])
    def test_each_usage_in_its_place(self, chain, usage, which):
        assert self.judge(chain, [record(usage, chain[which])]) == ""

    @pytest.mark.parametrize(("usage", "which"), [(0, 0), (1, 1), (2, 0), (3, 1)])
    def test_not_in_another(self, chain, usage, which):
        assert "in its place" in self.judge(chain, [record(usage, chain[which])])

    @pytest.mark.parametrize("usage", [0, 1])
    def test_the_constraints_need_a_verified_chain(self, chain, usage):
        good = record(usage, chain[0 if usage else 1])
        assert self.judge(chain, [good], anchored=False)
        assert self.judge(chain, [good], [EXPIRED])

    def test_an_asserted_anchor_needs_none_but_all_below_it_must_be_sound(self, chain):
        anchor = record(2, chain[1])
        assert self.judge(chain, [anchor], [NO_ISSUER], anchored=False, path=chain[:2]) == ""
        assert self.judge(chain, [anchor], [Fault(10, 2, "the root expired")]) == ""
        for fault in (EXPIRED, NAME, Fault(7, 0, "bad signature"), Fault(20, 0, "not signed by it"), Fault(10, 1, "x")):
            assert fault.text in self.judge(chain, [anchor], [fault], anchored=False)

    def test_the_peers_own_by_name_but_whatever_its_dates(self, chain):
        own = record(3, chain[0])
        assert self.judge(chain, [own], [EXPIRED, NO_ISSUER], anchored=False) == ""
        assert "hostname" in self.judge(chain, [own], [EXPIRED, NAME])

    def test_one_of_several_is_enough(self, chain):
        assert self.judge(chain, [record(3, chain[1]), record(3, chain[0])]) == ""
        assert "no TLSA record matches" in self.judge(chain, [TlsaRecord(3, 0, 1, bytes(32))])
        assert self.judge(chain, [])
        assert judge([record(3, chain[0])], leaf=b"", path=[], faults=[], anchored=True)


class TestLwm2m:
    def test_its_numbers_are_not_the_records_own(self):
        assert lwm2m_record(bytes(64), matching_type=3) == TlsaRecord(3, 0, 2, bytes(64))
        assert lwm2m_record(bytes(32), usage=1, matching_type=1) == TlsaRecord(1, 0, 1, bytes(32))
        assert lwm2m_record(b"0\0") == TlsaRecord(3, 0, 0, b"0\0")

    def test_sha_384_cannot_be_said(self):
        with pytest.raises(NotSupportedError) as caught:
            lwm2m_record(bytes(48), matching_type=2)
        assert caught.value.capability == "dane_sha384"
        with pytest.raises(ConfigurationError):
            lwm2m_record(b"", matching_type=4)


class TestBuffer:
    def test_what_was_written_is_read_and_zeros_follow(self):
        buffer = bytearray(b"\xff" * 200)
        assert resumption.write(buffer, "host-openssl", Kind.SESSION, b"secret")
        assert resumption.read(buffer, "host-openssl") == (Kind.SESSION, b"secret")
        assert buffer.rstrip(b"\0").endswith(b"secret")
        assert resumption.read(memoryview(buffer), "modem:x") is None

    def test_what_does_not_fit_leaves_zeros(self):
        buffer = bytearray(b"\xff" * 64)
        assert not resumption.write(buffer, "host-openssl", Kind.SESSION, bytes(64))
        assert resumption.is_clear(buffer)

    @pytest.mark.parametrize("size", [0, 1, 5, 6, 7, 20, 40, 50])
    def test_truncated(self, size):
        buffer = bytearray(100)
        resumption.write(buffer, "host-openssl", Kind.CONNECTION, b"0123456789abcdef")
        assert resumption.read(buffer[:size], "host-openssl") is None

    def test_anything_altered_is_nothing(self):
        whole = bytearray(80)
        resumption.write(whole, "host-openssl", Kind.SESSION, b"payload")
        for at in range(len(whole.rstrip(b"\0"))):
            for bit in (0x01, 0x80):
                altered = bytearray(whole)
                altered[at] ^= bit
                assert resumption.read(altered, "host-openssl") is None
        assert resumption.read(bytearray(80), "host-openssl") is None
        assert resumption.read(bytearray(b"\xff" * 80), "host-openssl") is None


class TestConfigurations:
    def test_no_secret_in_a_repr(self):
        psk = Psk(b"me", b"very secret")
        one = SslConfiguration(security=psk, session_resumption_buffer=bytearray(b"very secret"))
        assert "secret" not in repr(one)
        assert "identity=b'me'" in repr(one)
        with_key = Certificates(
            verify=False, client_cert=[b"-----BEGIN secret"], client_key=Encrypted(b"secret", b"secret")
        )
        assert "secret" not in repr(with_key)

    def test_a_buffer_is_used_in_place(self):
        buffer = bytearray(8)
        one = SslConfiguration(security=Psk(b"", b"k"), session_resumption_buffer=memoryview(buffer)[2:])
        one.session_resumption_buffer[0] = 7
        assert buffer[2] == 7
        assert SslConfiguration(security=Psk(b"", b"k"), session_resumption_buffer=bytearray()) is not None
        for wrong in (b"read only", memoryview(b"read only"), memoryview(bytearray(8))[::2], [0]):
            with pytest.raises(ConfigurationError):
                SslConfiguration(security=Psk(b"", b"k"), session_resumption_buffer=wrong)

    @pytest.mark.parametrize(
        "wrong",
        [
            lambda: Psk(b"id", b""),
            lambda: Psk("text", b"k"),
            lambda: SslConfiguration(security=None),
            lambda: SslConfiguration(security=Psk(b"", b"k"), use_connection_id=1),
            lambda: SslConfiguration(security=Psk(b"", b"k"), socket=object()),
            lambda: Certificates(trusted="text"),
            lambda: Certificates(trusted=[b"x", "text"]),
            lambda: Certificates(trusted=Encrypted(b"x", b"p")),
            lambda: Certificates(verify=False, client_cert=b"x", client_key=[b"x"]),
            lambda: SocketConfiguration(dscp=64),
            lambda: SocketConfiguration(priority=8),
            lambda: SocketConfiguration(forced_mtu=-1),
            lambda: SocketConfiguration(interface=""),
            lambda: SocketConfiguration(address_family=4),
            *(
                (lambda value=value: check_dtls_timeouts(value))
                for value in [(2, 1), (0, 1), (1, 5000), (float("nan"), 2), (1,), 1, (None, 1), (1, "2"), (-1, 1)]
            ),
        ],
    )
    def test_what_cannot_be_fails_when_it_is_made(self, wrong):
        with pytest.raises(ConfigurationError) as caught:
            wrong()
        assert caught.value.errno == errno.EINVAL

    def test_without_anything_to_trust_there_is_nothing_to_verify_with(self):
        with pytest.raises(ConfigurationError):
            Certificates()
        assert Certificates(dane=True).verify
        assert Certificates(use_system_trust=True).verify
