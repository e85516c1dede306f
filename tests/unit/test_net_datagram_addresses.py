"""The contract over a modem: where datagrams come from and go to; against a scripted modem."""

from __future__ import annotations

import pytest

from modemtls.errors import (
    CommandError,
    ConfigurationError,
    ConnectError,
    NameResolutionError,
    NotSupportedError,
    TruncatedError,
)
from modemtls.modem.settings import Settings
from modemtls.net import AddressFamily, Errno, Option, SocketConfiguration, State, create_udp_socket
from tests.support.fakepackets import PacketModem, bound, connected, fails

REFUSED = CommandError("ERROR", kind="connect_failed", text="refused")


@pytest.fixture
def modem():
    return PacketModem()


class TestBinding:
    def test_the_whole_life(self, modem):
        sock = create_udp_socket(modem)
        sock.bind(None, "5683")
        assert (sock.state, sock.local_port) == (State.BOUND, "5683")
        fails(Errno.EISCONN, sock.bind, None, "5683")
        sock.connect("peer.example", "7")
        assert (sock.state, sock.local_port) == (State.CONNECTED, "5683")
        assert [(one.how, one.local_port) for one in modem.openings] == [("bind", 5683), ("open", 5683)]
        assert [peer.closed_by_driver for peer in modem.peers] == [True, False], "a port is not had twice"
        fails(Errno.EISCONN, sock.bind, None, "1")
        sock.close()
        fails(Errno.EBADF, lambda: sock.local_port)
        sock.connect("peer.example", "7")
        assert modem.openings[-1].local_port is None

    def test_shutdown_of_a_bound_one(self, modem):
        sock = bound(modem)
        sock.shutdown()
        assert sock.state is State.SHUTDOWN
        fails(Errno.EISCONN, sock.connect, "peer.example", "7")
        fails(Errno.EISCONN, sock.bind, None, "7")
        fails(Errno.EBADF, sock.send_to, b"x", "192.0.2.1", "7")
        sock.close()
        assert sock.state is State.CLOSED

    def test_a_connect_that_fails_leaves_it_bound_and_usable(self, modem):
        sock = bound(modem)
        modem.fail_open = [REFUSED]
        with pytest.raises(ConnectError):
            sock.connect("peer.example", "7")
        assert (sock.state, sock.local_port) == (State.BOUND, "5683")
        sock.send_to(b"x", "192.0.2.1", "7")
        assert (modem.openings[-1].how, modem.openings[-1].local_port) == ("bind", 5683)
        assert modem.peer.sent == [b"x"]
        sock.connect("peer.example", "7")
        assert sock.state is State.CONNECTED

    def test_a_bind_that_fails_leaves_it_closed(self, modem):
        sock = create_udp_socket(modem)
        fails(Errno.EADDRNOTAVAIL, sock.bind, "192.0.2.1", "0")
        with pytest.raises(ConfigurationError):
            sock.bind(None, "x")
        modem.fail_open = [REFUSED]
        with pytest.raises(CommandError):
            sock.bind(None, "7")
        assert sock.state is State.CLOSED
        sock.connect("peer.example", "7")
        assert modem.openings[-1].local_port is None

    def test_any_port_and_any_address(self, modem):
        sock = create_udp_socket(modem)
        for address in (None, "", "0.0.0.0", "::"):
            for port in ("", "0"):
                sock.bind(address, port)
                assert modem.openings[-1].local_port is None
                fails(Errno.ENOTSUP, lambda: sock.local_port)
                sock.close()

    def test_a_modem_that_cannot_be_told_a_port(self):
        modem = PacketModem(capabilities={"local_port": False})
        sock = create_udp_socket(modem)
        with pytest.raises(NotSupportedError) as caught:
            sock.bind(None, "7")
        assert caught.value.capability == "local_port"
        sock.bind(None, "0")
        assert sock.state is State.BOUND

    def test_a_modem_without_sockets_that_have_no_peer_keeps_the_port_for_connect(self):
        modem = PacketModem(capabilities={"udp_unconnected": False})
        sock = bound(modem)
        assert modem.openings == []
        for call in (lambda: sock.send_to(b"x", "192.0.2.1", "7"), lambda: sock.receive_from(1)):
            with pytest.raises(NotSupportedError) as caught:
                call()
            assert caught.value.capability == "udp_unconnected"
        sock.connect("peer.example", "7")
        assert modem.openings[-1].local_port == 5683

    def test_datagrams_to_and_from_anybody(self, modem):
        sock = bound(modem)
        sock.send_to(b"to", "192.0.2.9", "9")
        assert (modem.peer.sent, modem.peer.sent_to) == ([b"to"], [("192.0.2.9", 9)])
        modem.peer.say(b"0123456789", ("192.0.2.1", 7))
        modem.peer.say(b"again", ("192.0.2.2", 8))
        with pytest.raises(TruncatedError) as caught:
            sock.receive_from(4)
        assert (caught.value.data, caught.value.address) == (b"0123", ("192.0.2.1", "7"))
        assert sock.receive_from(5) == (b"again", "192.0.2.2", "8")
        fails(Errno.ETIMEDOUT, sock.receive_from, 10, timeout=0)
        assert (sock.get_opt(Option.BYTES_SENT), sock.get_opt(Option.BYTES_RECEIVED)) == (2, 15)
        fails(Errno.EMSGSIZE, sock.send_to, bytes(1001), "192.0.2.9", "9")
        for call in (lambda: sock.send(b"x"), lambda: sock.receive(1)):
            fails(Errno.EBADF, call)
        assert modem.commands == ["sendto", *["receivefrom"] * 3]

    def test_pushed_ones_say_whom_they_are_from(self, modem):
        sock = bound(modem, receive="push")
        modem.peer.say(b"one", ("192.0.2.1", 7))
        assert sock.receive_from(10) == (b"one", "192.0.2.1", "7")

    def test_with_a_peer_it_is_from_the_peer(self, modem):
        sock = connected(modem, "192.0.2.1")
        modem.peer.say(b"one")
        assert sock.receive_from(10) == (b"one", "192.0.2.1", "5683")
        fails(Errno.EBADF, sock.send_to, b"x", "192.0.2.9", "9")
        sock.close()
        fails(Errno.EBADF, sock.receive_from, 1)
        fails(Errno.ENOTSUP, connected(modem).receive_from, 1)


class TestFamiliesOfAddresses:
    @pytest.fixture
    def modem(self):
        return PacketModem(capabilities={"address_family": True})

    def wanted(self, modem):
        return [one.address_family for one in modem.openings]

    def test_the_one_of_an_address_is_used(self, modem):
        for host in ("192.0.2.1", "2001:db8::1", "peer.example"):
            connected(modem, host)
        assert self.wanted(modem) == ["ipv4", "ipv6", None]

    @pytest.mark.parametrize(("family", "tried"), [("ipv6", ["ipv6"]), ("ipv4v6", ["ipv4", "ipv6"])])
    def test_a_name_is_looked_for_in_those_that_the_bearer_is_for(self, modem, family, tried):
        modem.settings = Settings(apn="a", family=family)
        modem.fail_open = [REFUSED] * len(tried)
        with pytest.raises(ConnectError):
            create_udp_socket(modem).connect("peer.example", "7")
        assert self.wanted(modem) == tried

    def test_the_forced_one_is_the_only_one(self, modem):
        sock = create_udp_socket(modem, SocketConfiguration(address_family=AddressFamily.IPV6))
        assert sock.get_opt(Option.FORCED_ADDR_FAMILY) is AddressFamily.IPV6
        modem.fail_open = [REFUSED]
        with pytest.raises(ConnectError):
            sock.connect("peer.example", "7")
        fails(Errno.EADDRNOTAVAIL, sock.connect, "192.0.2.1", "7")
        assert self.wanted(modem) == ["ipv6"]
        sock.connect("peer.example", "7")
        assert sock.get_opt(Option.ADDR_FAMILY) is AddressFamily.IPV6
        sock.close()
        assert sock.get_opt(Option.ADDR_FAMILY) is AddressFamily.UNSPEC
        sock.set_opt(Option.FORCED_ADDR_FAMILY, AddressFamily.UNSPEC)
        sock.connect("192.0.2.1", "7")

    def test_the_preferred_one_is_tried_first(self, modem):
        sock = create_udp_socket(modem, SocketConfiguration(preferred_family=AddressFamily.IPV6))
        modem.fail_open = [CommandError("no", kind="name_not_resolved")]
        sock.connect("peer.example", "7")
        assert self.wanted(modem) == ["ipv6", "ipv4"]
        assert sock.get_opt(Option.ADDR_FAMILY) is AddressFamily.IPV4
        sock.close()
        sock.set_opt(Option.PREFERRED_ADDR_FAMILY, AddressFamily.IPV4)
        modem.fail_open = [CommandError("no", kind="name_not_resolved") for _ in range(2)]
        with pytest.raises(NameResolutionError):
            sock.connect("peer.example", "7")
        assert self.wanted(modem)[2:] == ["ipv4", "ipv6"]

    @pytest.mark.parametrize(
        "kinds", [("connect_failed", "name_not_resolved"), ("name_not_resolved", "connect_failed")]
    )
    def test_of_two_failures_the_one_that_tells_more_is_told(self, modem, kinds):
        sock = create_udp_socket(modem, SocketConfiguration(preferred_family=AddressFamily.IPV6))
        modem.fail_open = [CommandError("no", kind=kind) for kind in kinds]
        fails(Errno.ECONNREFUSED, sock.connect, "peer.example", "7")
        assert self.wanted(modem) == ["ipv6", "ipv4"]

    def test_the_wildcard_says_which_to_bind_in(self, modem):
        for address in (None, "0.0.0.0", "::"):
            sock = create_udp_socket(modem)
            sock.bind(address, "7")
        assert self.wanted(modem) == [None, "ipv4", "ipv6"]
        forced = create_udp_socket(modem, SocketConfiguration(address_family=AddressFamily.IPV4))
        fails(Errno.EADDRNOTAVAIL, forced.bind, "::", "7")
        assert forced.state is State.CLOSED

    def test_a_modem_that_cannot_be_told_one(self):
        modem = PacketModem()
        with pytest.raises(NotSupportedError) as caught:
            create_udp_socket(modem, SocketConfiguration(address_family=AddressFamily.IPV4))
        assert caught.value.capability == "address_family"
        sock = create_udp_socket(modem, SocketConfiguration(preferred_family=AddressFamily.IPV6))
        fails(Errno.EINVAL, sock.set_opt, Option.FORCED_ADDR_FAMILY, AddressFamily.IPV4)
        sock.set_opt(Option.FORCED_ADDR_FAMILY, AddressFamily.UNSPEC)
        for option in (Option.FORCED_ADDR_FAMILY, Option.PREFERRED_ADDR_FAMILY):
            fails(Errno.EINVAL, sock.set_opt, option, 4)
        sock.connect("peer.example", "7")
        assert modem.openings[-1].address_family is None


class TestNames:
    def test_what_the_modem_tells_is_asked_once_and_outlives_a_shutdown(self, modem):
        modem.profile.programs["udp_address"] = None
        modem.addresses = {"local_host": "10.0.0.1", "local_port": 4000, "remote_host": "192.0.2.1"}
        sock = connected(modem)

        def names():
            return sock.local_host, sock.local_port, sock.remote_host, sock.remote_hostname, sock.remote_port

        assert names() == names() == ("10.0.0.1", "4000", "192.0.2.1", "peer.example", "5683")
        assert modem.commands == ["address"]
        sock.shutdown()
        assert names() == ("10.0.0.1", "4000", "192.0.2.1", "peer.example", "5683")
        sock.close()
        for name in ("local_host", "local_port", "remote_host", "remote_hostname", "remote_port", "interface_name"):
            fails(Errno.EBADF, getattr, sock, name)
        sock.connect("peer.example", "7")
        sock.shutdown()
        assert sock.local_port == "4000", "asked for before it ended"

    def test_what_it_does_not_tell_is_refused_by_name(self, modem):
        sock = connected(modem)
        for name in ("local_host", "local_port", "remote_host", "interface_name"):
            with pytest.raises(NotSupportedError) as caught:
                getattr(sock, name)
            assert caught.value.capability == name

    def test_of_a_bound_one(self, modem):
        sock = bound(modem)
        for name in ("remote_host", "remote_hostname", "remote_port"):
            fails(Errno.EBADF, getattr, sock, name)

    def test_with_a_peer_they_are_asked_for_anew(self, modem):
        modem.profile.programs["udp_address"] = None
        modem.addresses = {"local_host": "10.0.0.1"}
        sock = bound(modem)
        assert sock.local_host == "10.0.0.1"
        sock.connect("peer.example", "7")
        modem.addresses = {"local_host": "10.0.0.2"}
        assert sock.local_host == "10.0.0.2"

    def test_a_failure_to_tell_does_not_stop_a_shutdown(self, modem):
        modem.profile.programs["udp_address"] = None
        sock = connected(modem)

        def refuse(op, slot, b):
            raise CommandError("no")

        modem.script = refuse
        sock.shutdown()
        assert (sock.state, modem.peer.closed_by_driver) == (State.SHUTDOWN, True)
