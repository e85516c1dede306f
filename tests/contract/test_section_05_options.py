"""Section 5: options."""

from __future__ import annotations

import contextlib
import math
import select
import time

import pytest

from modemtls.errors import ModemError, ModemTimeoutError
from modemtls.net import AddressFamily, Certificates, Errno, Option, SocketConfiguration, SslConfiguration, TlsaRecord
from tests.support.contract_peers import tls_peer
from tests.support.subjects import refuses


def fails(code, call, *arguments):
    with pytest.raises(ModemError) as caught:
        call(*arguments)
    assert caught.value.code == code


READABLE = {
    Option.RECV_TIMEOUT, Option.STATE, Option.ADDR_FAMILY, Option.INNER_MTU, Option.SESSION_RESUMED,
    Option.CONNECTION_ID_RESUMED, Option.BYTES_SENT, Option.BYTES_RECEIVED, Option.HAS_BUFFERED_DATA,
}  # fmt: skip


class TestSection05Options:
    def test_what_can_be_read_of_a_closed_secure_socket(self, subject, trusting):
        sock = subject.socket(trusting())
        values = {option: sock.get_opt(option) for option in READABLE}
        assert values.pop(Option.STATE).value == "closed"
        assert values == {
            Option.RECV_TIMEOUT: 30.0,
            Option.ADDR_FAMILY: AddressFamily.UNSPEC,
            Option.INNER_MTU: 0,
            Option.SESSION_RESUMED: False,
            Option.CONNECTION_ID_RESUMED: False,
            Option.BYTES_SENT: 0,
            Option.BYTES_RECEIVED: 0,
            Option.HAS_BUFFERED_DATA: False,
        }

    def test_what_is_not_listed_for_a_direction_fails(self, subject, trusting):
        sock = subject.socket(trusting())
        for option in (Option.DANE_TLSA_ARRAY, Option.DTLS_HANDSHAKE_TIMEOUTS):
            fails(Errno.EINVAL, sock.get_opt, option)
        for option in READABLE - {Option.RECV_TIMEOUT} | {Option.MTU}:
            fails(Errno.EINVAL, sock.set_opt, option, 1)

    def test_the_receive_timeout_can_be_set_any_time(self, subject, trusting, echo):
        sock = subject.socket(trusting())
        for value in (0, 0.5, -1, 30, None, math.inf):
            sock.set_opt(Option.RECV_TIMEOUT, value)
            assert sock.get_opt(Option.RECV_TIMEOUT) == value
        for wrong in ("1", True, math.nan, [1]):
            fails(Errno.EINVAL, sock.set_opt, Option.RECV_TIMEOUT, wrong)
        sock.connect(*echo.address)
        assert sock.get_opt(Option.RECV_TIMEOUT) == math.inf
        sock.set_opt(Option.RECV_TIMEOUT, 0.02)
        fails(Errno.ETIMEDOUT, sock.receive, 1)
        sock.close()
        assert sock.get_opt(Option.RECV_TIMEOUT) == 0.02

    def test_what_can_be_read_of_secured_datagrams(self, subject, datagrams, dtls):
        sock = subject.socket(datagrams(), datagram=True)
        assert sock.get_opt(Option.INNER_MTU) == 0
        assert sock.get_opt(Option.SESSION_RESUMED) is sock.get_opt(Option.CONNECTION_ID_RESUMED) is False
        sock.connect(*dtls.address)
        assert sock.get_opt(Option.STATE).value == "connected"
        assert 64 < sock.get_opt(Option.INNER_MTU) < 65536
        assert sock.get_opt(Option.SESSION_RESUMED) is sock.get_opt(Option.CONNECTION_ID_RESUMED) is False
        sock.send(b"0123456789")
        assert sock.receive(100) == b"0123456789"
        for _ in range(2):
            assert (sock.get_opt(Option.BYTES_SENT), sock.get_opt(Option.BYTES_RECEIVED)) == (10, 10)
            sock.close()
        assert sock.get_opt(Option.INNER_MTU) == 0

    def test_of_several_datagrams_those_behind_the_first_count_as_buffered(self, subject, datagrams, dtls):
        sock = subject.socket(datagrams(), datagram=True)
        sock.connect(*dtls.address)
        for data in (b"one", b"two", b"three"):
            sock.send(data)
        found = [sock.receive(100)]
        end = time.monotonic() + 5
        while len(found) < 3 and time.monotonic() < end:
            if not sock.get_opt(Option.HAS_BUFFERED_DATA) and sock.system is not None:
                assert select.select([sock.system], [], [], 5)[0], "a false no"
            with contextlib.suppress(ModemTimeoutError):
                found.append(sock.receive(100, timeout=0))
        assert found == [b"one", b"two", b"three"]

    def test_counters_count_payload_and_survive_close(self, subject, trusting, echo):
        sock = subject.socket(trusting())
        for round_ in (1, 2):
            sock.connect(*echo.address)
            sock.send(bytes(700))
            got = b""
            while len(got) < 700:
                got += sock.receive(1000)
            sock.close()
            assert sock.get_opt(Option.BYTES_SENT) == 700 * round_
            assert sock.get_opt(Option.BYTES_RECEIVED) == 700 * round_

    def test_buffered_data_is_never_falsely_denied(self, subject, trusting, leaf):
        """A record that is larger than what is received at once: the handle has nothing left to tell."""
        with tls_peer(leaf, versions=("TLSv1_2", "TLSv1_2"), serve=_two_records) as peer:
            sock = subject.socket(trusting())
            sock.connect(*peer.address)
            got = sock.receive(1)
            while len(got) < 1000:
                if not sock.get_opt(Option.HAS_BUFFERED_DATA):
                    got += sock.receive(1)  # more has to come first
                    continue
                got += sock.receive(1, timeout=0)
            assert got == bytes(500) + b"x" * 500

    def test_the_end_counts_as_something_buffered(self, loopback, leaf, pki):
        def bye(stream):
            stream.sendall(stream.recv(1))
            with contextlib.suppress(OSError):
                stream.unwrap()

        with tls_peer(leaf, serve=bye) as peer:
            sock = loopback.socket(SslConfiguration(security=Certificates(trusted=pki.ca)))
            sock.connect(*peer.address)
            assert not sock.get_opt(Option.HAS_BUFFERED_DATA)
            sock.send(b"x")
            assert sock.receive(1) == b"x"
            assert sock.receive(1) == b""
            assert sock.get_opt(Option.HAS_BUFFERED_DATA)

    def test_what_the_transport_has_in_memory_counts(self, loopback, echo, pki):
        sock = loopback.socket(SslConfiguration(security=Certificates(trusted=pki.ca)))
        sock.connect(*echo.address)
        get_opt = sock._lower.get_opt
        sock._lower.get_opt = lambda option: option is Option.HAS_BUFFERED_DATA or get_opt(option)
        assert sock.get_opt(Option.HAS_BUFFERED_DATA) is True

    def test_the_session_options_are_for_secure_sockets(self, subject):
        plain = subject.plain()
        for option in (Option.SESSION_RESUMED, Option.CONNECTION_ID_RESUMED):
            fails(Errno.EINVAL, plain.get_opt, option)
        fails(Errno.EINVAL, plain.set_opt, Option.DANE_TLSA_ARRAY, [])

    def test_tlsa_records_need_a_configuration_with_dane(self, subject, trusting):
        sock = subject.socket(trusting())
        fails(Errno.EINVAL, sock.set_opt, Option.DANE_TLSA_ARRAY, [TlsaRecord(3, 0, 1, bytes(32))])
        subject.need("dane")
        sock = subject.socket(trusting(dane=True))
        sock.set_opt(Option.DANE_TLSA_ARRAY, [])
        for wrong in (None, TlsaRecord(3, 0, 1, b""), [1], "x"):
            fails(Errno.EINVAL, sock.set_opt, Option.DANE_TLSA_ARRAY, wrong)

    def test_handshake_timers_are_for_secure_datagrams(self, subject, trusting, psk):
        if subject.has("tls_range"):
            fails(Errno.EBADF, subject.socket(trusting()).set_opt, Option.DTLS_HANDSHAKE_TIMEOUTS, (1.0, 2.0))
        subject.need("handshake_timers")
        fails(Errno.EBADF, subject.plain(datagram=True).set_opt, Option.DTLS_HANDSHAKE_TIMEOUTS, (1.0, 2.0))
        sock = subject.socket(psk(), datagram=True)
        sock.set_opt(Option.DTLS_HANDSHAKE_TIMEOUTS, (1.0, 2.0))
        for wrong in ((2.0, 1.0), (0, 1), (1.0, 5000.0), None, (1.0,), ("1", 2)):
            fails(Errno.EBADF, sock.set_opt, Option.DTLS_HANDSHAKE_TIMEOUTS, wrong)

    def test_the_family_in_use_and_the_one_wanted(self, subject, trusting, echo):
        if not subject.has("families"):
            sock = subject.socket(trusting())
            fails(Errno.EINVAL, sock.set_opt, Option.FORCED_ADDR_FAMILY, AddressFamily.IPV6)
            sock.set_opt(Option.FORCED_ADDR_FAMILY, AddressFamily.UNSPEC)
            sock.set_opt(Option.PREFERRED_ADDR_FAMILY, AddressFamily.IPV6)  # a wish
            assert sock.get_opt(Option.PREFERRED_ADDR_FAMILY) is AddressFamily.IPV6
            sock.connect(*echo.address)
            return
        sock = subject.socket(trusting())
        sock.connect(*echo.address)
        if subject.has("family_told"):
            assert sock.get_opt(Option.ADDR_FAMILY) is AddressFamily.IPV4
        sock.close()
        assert sock.get_opt(Option.ADDR_FAMILY) is AddressFamily.UNSPEC
        sock.set_opt(Option.FORCED_ADDR_FAMILY, AddressFamily.IPV4)
        sock.connect(*echo.address)
        assert sock.get_opt(Option.ADDR_FAMILY) is AddressFamily.IPV4
        sock.close()
        sock.set_opt(Option.FORCED_ADDR_FAMILY, AddressFamily.UNSPEC)
        assert sock.get_opt(Option.FORCED_ADDR_FAMILY) is AddressFamily.UNSPEC
        for option in (Option.PREFERRED_ADDR_FAMILY, Option.FORCED_ADDR_FAMILY):
            sock.set_opt(option, AddressFamily.IPV6)
            assert sock.get_opt(option) is AddressFamily.IPV6
            fails(Errno.EINVAL, sock.set_opt, option, 6)
        with pytest.raises(ModemError) as caught:
            sock.connect(*echo.address)
        if subject.has("resolution_error"):
            assert caught.value.code == Errno.EADDRNOTAVAIL
        sock.set_opt(Option.FORCED_ADDR_FAMILY, AddressFamily.UNSPEC)
        if subject.has("families_in_turn"):
            sock.connect(*echo.address)

    def test_the_packet_size(self, subject, trusting, echo):
        sock = subject.socket(trusting())
        fails(Errno.ENOTCONN, sock.get_opt, Option.MTU)
        sock.connect(*echo.address)
        if subject.has("packet_size"):
            assert sock.get_opt(Option.MTU) in (65535, 65536)  # of the loopback interface
        else:
            refuses("mtu", lambda: sock.get_opt(Option.MTU))
        assert sock.get_opt(Option.INNER_MTU) == 0
        forced = subject.socket(trusting(socket=SocketConfiguration(forced_mtu=1280)))
        assert forced.get_opt(Option.MTU) == 1280


def _two_records(stream):
    stream.sendall(bytes(500))
    stream.sendall(b"x" * 500)
    stream.recv(1)
