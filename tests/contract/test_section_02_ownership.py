"""Section 2: who owns what, and for how long."""

from __future__ import annotations

import errno
import hashlib
import shutil

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from modemtls.errors import ModemError
from modemtls.net import Certificates, Option, SslConfiguration, State, TlsaRecord
from modemtls.net.contract import resumption
from tests.support.contract_peers import remembering
from tests.support.loopback import LoopbackSocket


class TestSection02Ownership:
    def test_credentials_are_copied_when_the_socket_is_made(self, subject, trusting, pki, echo, tmp_path):
        ca = tmp_path / "ca.pem"
        shutil.copy(pki.ca, ca)
        sock = subject.socket(trusting(trusted=ca))
        ca.unlink()
        for _ in range(2):
            sock.connect(*echo.address)
            sock.close()

    def test_records_are_copied_when_they_are_set(self, loopback, echo, leaf):
        der = x509.load_pem_x509_certificate(leaf.cert_pem).public_bytes(serialization.Encoding.DER)
        records = [TlsaRecord(3, 0, 1, hashlib.sha256(der).digest())]
        sock = loopback.socket(SslConfiguration(security=Certificates(dane=True)))
        sock.set_opt(Option.DANE_TLSA_ARRAY, records)
        records[0] = TlsaRecord(3, 0, 1, bytes(32))
        sock.connect(*echo.address)
        sock.close()
        sock.set_opt(Option.DANE_TLSA_ARRAY, records)
        with pytest.raises(ModemError):
            sock.connect(*echo.address)

    def test_the_resumption_buffer_is_the_callers_and_used_in_place(self, subject, trusting, leaf):
        subject.need("resumption_buffer")
        buffer = bytearray(4096)
        with remembering(leaf) as peer:
            sock = subject.socket(trusting(session_resumption_buffer=buffer))
            sock.connect(*peer.address)
            assert not resumption.is_clear(buffer)
            sock.cleanup()
            again = subject.socket(trusting(session_resumption_buffer=buffer))
            again.connect(*peer.address)
            again.send(b"x")
            assert again.receive(1) == b"x"
            assert peer.reused == [False, True]

    def test_the_lower_socket_is_destroyed_with_the_upper_one(self, loopback, psk):
        from modemtls.host import HostSocket

        lower = LoopbackSocket(datagram=True)
        HostSocket(psk(), lower).cleanup()
        with pytest.raises(ModemError) as caught:
            lower.connect("127.0.0.1", "1")
        assert caught.value.errno == errno.EBADF

    def test_what_a_decorated_socket_had_before_is_destroyed(self, loopback, psk):
        before, after = LoopbackSocket(datagram=True), LoopbackSocket(datagram=True)
        sock = loopback.socket(psk(), datagram=True)
        sock.decorate(before)
        sock.decorate(after)
        with pytest.raises(ModemError):
            before.bind(None, "0")
        assert after.state is State.CLOSED
        after.bind("127.0.0.1", "0")
        assert sock.get_opt(Option.STATE) is State.BOUND
