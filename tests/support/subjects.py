"""Who fulfils the contract: each way to get a socket, with what it declares to be able to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from modemtls.errors import NotSupportedError
from modemtls.host import HostSocket
from modemtls.net import (
    Socket,
    SocketConfiguration,
    SslConfiguration,
    create_dtls_socket,
    create_ssl_socket,
    create_tcp_socket,
    create_udp_socket,
)
from tests.support.loopback import LoopbackSocket

NAME = "server.example"
UNKNOWN = "nosuch.invalid"

#: What a TLS stack of this host gives, whatever it runs over.
OF_THE_HOST = {
    "alerts", "alpn", "ccm", "certificate_error", "check_dates_off", "clean_end", "client_to_anybody",
    "compound", "crl", "dane", "decorate",
    "encrypted_keys", "handshake_error", "hostname_check", "psk", "rebuild", "resumption", "sni", "sni_name",
    "resumption_buffer", "suite_list", "tls1.3", "tls_range", "version_told",
}  # fmt: skip
#: What every modem adds that gives notice of data.
OF_MODEMS = {"pollable"}
#: What a datagram socket under it adds.
OF_DATAGRAMS = {"cid", "dtls", "handshake_timers", "mtu"}
#: What the sockets of this machine add.
OF_LOOPBACK = {
    "accept", "addresses", "bind", "families", "forced_mtu", "interface", "pollable", "refusal", "resolution_error",
}  # fmt: skip


class Subject:
    """One way to get sockets. Those that it made are gone after the test."""

    def __init__(
        self,
        name: str,
        capabilities: set[str],
        secure: Callable[[SslConfiguration, bool], Socket],
        plain: Callable[[SocketConfiguration | None, bool], Socket],
    ) -> None:
        self.name = name
        self.capabilities = capabilities
        self._secure, self._plain = secure, plain
        self._made: list[Socket] = []

    def need(self, *capabilities: str) -> None:
        """Skip a test of what this subject does not declare."""
        lacking = [each for each in capabilities if each not in self.capabilities]
        if lacking:
            pytest.skip(f"{self.name} declares no capability: {', '.join(lacking)}")

    def has(self, capability: str) -> bool:
        return capability in self.capabilities

    def socket(self, configuration: SslConfiguration, *, datagram: bool = False) -> Socket:
        """A closed secure socket."""
        if datagram:
            self.need("dtls")
        return self.keep(self._secure(configuration, datagram))

    def socket_of_the_host(self, configuration: SslConfiguration, *, datagram: bool = False) -> HostSocket:
        """A secure socket with nothing below it yet."""
        made = HostSocket(configuration, datagram=datagram)
        self.keep(made)
        return made

    def plain(self, configuration: SocketConfiguration | None = None, *, datagram: bool = False) -> Socket:
        """A closed plain socket."""
        return self.keep(self._plain(configuration, datagram))

    def keep(self, sock: Socket) -> Socket:
        self._made.append(sock)
        return sock

    def end(self) -> None:
        for sock in self._made:
            sock.cleanup()


def over_loopback() -> Subject:
    def plain(configuration: SocketConfiguration | None, datagram: bool) -> Socket:
        return LoopbackSocket(datagram=datagram, configuration=configuration)

    def secure(configuration: SslConfiguration, datagram: bool) -> Socket:
        return HostSocket(configuration, plain(configuration.socket, datagram))

    return Subject("the host's engine over loopback", OF_THE_HOST | OF_DATAGRAMS | OF_LOOPBACK, secure, plain)


def over_modem(modem) -> Subject:
    """The host's engine over plain sockets of a modem."""
    datagrams = OF_DATAGRAMS if modem.capabilities.get("udp") else set()

    def secure(configuration: SslConfiguration, datagram: bool) -> Socket:
        create = create_dtls_socket if datagram else create_ssl_socket
        return create(modem, configuration, engine="host")

    capabilities = OF_THE_HOST | OF_MODEMS | datagrams | _told_by(modem)
    return Subject("the host's engine over a modem", capabilities, secure, _plain_of(modem))


def in_modem(modem) -> Subject:
    """The modem's own engine: its capabilities are those of its profile, in the words of these tests."""
    able = modem.capabilities
    words = {
        "hostname_check": able.get("hostname_check"),
        "sni": able.get("sni"),
        "suite_list": able.get("suites") == "list",
        "clean_end": able.get("close_reason"),
        "check_dates_off": able.get("date_check"),
        "date_check": able.get("date_check"),
        "resumption": able.get("resumption") == "reported",
        "resumption_buffer": able.get("resumption"),
    }
    always = {"compound", "dane_by_provisioning", "encrypted_keys", "rebuild"}

    def secure(configuration: SslConfiguration, datagram: bool) -> Socket:
        create = create_dtls_socket if datagram else create_ssl_socket
        return create(modem, configuration)

    return Subject(
        "the modem's engine",
        {word for word, able in words.items() if able} | always | OF_MODEMS | _told_by(modem),
        secure,
        _plain_of(modem),
    )


def _told_by(modem) -> set[str]:
    """What a modem tells of its sockets: the addresses at both ends, not the interface."""
    programs = modem.attached.profile.programs
    return {"addresses_of_modem"} if {"tls_address", "tcp_address"} <= set(programs) else set()


def _plain_of(modem):
    def plain(configuration: SocketConfiguration | None, datagram: bool) -> Socket:
        create = create_udp_socket if datagram else create_tcp_socket
        return create(modem, configuration)

    return plain


def refuses(capability: str, make: Callable[[], object]) -> NotSupportedError:
    """Assert that what is lacking is refused by the name of its capability, as a portable ENOTSUP."""
    with pytest.raises(NotSupportedError) as caught:
        make()
    assert caught.value.capability == capability
    assert caught.value.code == 52
    return caught.value


def ended(subjects: Iterator[Subject]) -> None:
    for each in subjects:
        each.end()
