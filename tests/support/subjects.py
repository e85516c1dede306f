"""Who fulfils the contract: each way to get a socket, with what it declares to be able to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest

from modemtls.errors import NotSupportedError
from modemtls.host import HostSocket
from modemtls.modem.credentials import CredentialKind
from modemtls.net import (
    Socket,
    SocketConfiguration,
    SslConfiguration,
    TlsVersion,
    create_dtls_socket,
    create_ssl_socket,
    create_tcp_socket,
    create_udp_socket,
)
from modemtls.net.abilities import abilities_of, able_for
from tests.support.loopback import LoopbackSocket
from tests.support.tls_ends import has_mbedtls

NAME = "server.example"
UNKNOWN = "nosuch.invalid"

#: What a TLS stack of this host gives, whatever it runs over.
OF_THE_HOST = {
    "alerts", "alpn", "ccm", "certificate_error", "check_dates_off", "clean_end", "client_to_anybody", "crl",
    "dane", "date_check", "decorate", "handshake_error", "hostname_check", "psk", "psk_of_any_bytes", "resumption",
    "resumption_buffer", "several_anchors", "sni", "sni_name", "suite_list", "suites", "system_trust", "tls1.3",
    "tls_range", "version_told", "without_credentials",
}  # fmt: skip
#: What a datagram socket under it adds.
OF_DATAGRAMS = {"cid", "connections_saved", "dtls", "handshake_timers", "mtu", "timers_below_a_second"}
#: What the sockets of this machine add.
OF_LOOPBACK = {
    "accept", "addresses", "bind", "bind_stream", "caller_port", "families", "families_in_turn", "family_told",
    "forced_mtu", "interface", "interface_name", "local_host", "local_port", "packet_size", "pollable", "refusal",
    "remote_host", "resolution_error", "several_anchors", "udp_unconnected",
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
        self.limits: dict[str, int] = {}
        """Bytes of the largest "payload" of a secured datagram, or "record", that a modem takes."""
        self._secure, self._plain = secure, plain
        self._made: list[Socket] = []
        self._settled: Callable[[], list[object]] = list
        self.store: Callable[[Mapping[CredentialKind, bytes]], Mapping[str, str]] | None = None
        """Puts credentials (PEM) of each kind into the modem, and tells what they are called there."""

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

    def short_waits(self) -> dict[str, tuple[float, float]]:
        """The least that the waits of a handshake over datagrams can be set to, for a configuration."""
        if self.has("timers_below_a_second") and has_mbedtls():
            return {"dtls_handshake_timeouts": (0.05, 0.1)}
        return {"dtls_handshake_timeouts": (1.0, 1.0)} if self.has("handshake_timers") else {}

    def keep(self, sock: Socket) -> Socket:
        self._made.append(sock)
        return sock

    def end(self) -> None:
        for sock in self._made:
            sock.cleanup()
        left = self._settled()
        assert not left, f"not gone long after it was closed: {left}"


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

    plain = {
        "bind": able_for(modem.attached, "local_port", "udp"),
        "accept": modem.capabilities.get("listen"),
        "bind_stream": modem.capabilities.get("listen"),
        "udp_unconnected": modem.capabilities.get("udp_unconnected"),
    }
    capabilities = OF_THE_HOST | _notices(modem) | datagrams | _told_by(modem, "tcp_address")
    capabilities |= {word for word, able in plain.items() if able}
    made = Subject("the host's engine over a modem", capabilities, secure, _plain_of(modem))
    made.limits["record"] = modem.attached.profile.size("udp", "send")
    made._settled = _all_gone(modem)
    return made


def in_modem(modem) -> Subject:
    """The modem's own engine: its capabilities are those of its profile, in the words of these tests."""
    attached = modem.attached
    tls, dtls = abilities_of(attached, "tls"), abilities_of(attached, "dtls")
    able = modem.capabilities
    words = {
        "alpn": tls.alpn,
        "accept": able.get("listen"),
        "accept_secure": able.get("server"),
        "bind": able_for(attached, "local_port", "dtls"),
        "bind_stream": able.get("server"),
        "several_anchors": attached.limits.get("credential_chain") != 1,
        "udp_unconnected": able.get("udp_unconnected"),
        "without_credentials": attached.profile.behaviour.get("credential_store") != "tagged",
        "check_dates_off": tls.date_check,
        "cid": dtls.cid,
        "clean_end": able.get("close_reason"),
        "client_to_anybody": able.get("client_to_anybody"),
        "connections_saved": able_for(attached, "saved_connections", "dtls"),
        "date_check": tls.date_check,
        "dtls": bool(dtls.versions),
        "families": able.get("address_family"),
        "families_in_turn": able.get("address_family"),
        "handshake_timers": dtls.timers != "no",
        "hostname_check": tls.hostname_check,
        "mtu": bool(dtls.versions),
        "pinning": able_for(attached, "pinning", "tls"),
        "psk": tls.psk != "no",
        "psk_of_any_bytes": tls.psk == "inline",
        "resumption": able_for(attached, "resumption", "tls") == "reported",
        "resumption_buffer": tls.resumption,
        "sni": tls.sni != "no",
        "sni_name": tls.sni == "name",
        "suite_list": tls.suites is not None and tls.suite_mode == "list",
        "suites": tls.suites is not None,
        "tls1.3": any(TlsVersion.TLS1_3 in one.versions for one in tls.versions),
    }
    always = {"dane_by_provisioning"}

    def secure(configuration: SslConfiguration, datagram: bool) -> Socket:
        create = create_dtls_socket if datagram else create_ssl_socket
        return create(modem, configuration)

    made = Subject(
        "the modem's engine",
        {word for word, able in words.items() if able} | always | _notices(modem) | _told_by(modem, "tls_address"),
        secure,
        _plain_of(modem),
    )
    made.store = attached.credentials.ensure_all
    if dtls.versions:
        made.limits["payload"] = attached.profile.size("dtls", "send")
    made._settled = _all_gone(modem)
    return made


def _all_gone(modem) -> Callable[[], list[object]]:
    """Wait until what was closed is gone in the modem too, which may happen behind the scenes; return what is not."""
    attached = modem.attached

    def left() -> list[object]:
        return [slot for slot in attached.slots.slots() if slot.state != "parked"]

    def wait() -> list[object]:
        attached.channel.wait(lambda: not left(), attached.now() + 5)
        return left()

    return wait


def _notices(modem) -> set[str]:
    """Whether a modem says unasked that there is data."""
    return set() if modem.attached.profile.behaviour.get("poll") else {"pollable"}


def _told_by(modem, program: str) -> set[str]:
    """What a modem tells of its sockets' ends, each by the name of its property."""
    told = repr(modem.attached.profile.programs.get(program))
    return {name for name in ("remote_host", "local_host", "local_port") if f"{{{name}:" in told}


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
