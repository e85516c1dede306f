"""What secures the connections of one socket: versions, suites, names and credentials, put into the modem's terms."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from modemtls.errors import CommandError, ConfigurationError
from modemtls.modem.settings import TlsSettings
from modemtls.net.abilities import abilities_of, told_the_name
from modemtls.net.choose import choose
from modemtls.net.contract import Stored
from modemtls.net.failures import connect_failure
from modemtls.net.offloadable import certificates_of, offloadable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modemtls.modem.attached import AttachedModem
    from modemtls.modem.contexts import ContextLease
    from modemtls.modem.credentials import CredentialKind, Holding
    from modemtls.modem.slots import Slot
    from modemtls.modem.sockets import Opening
    from modemtls.net.choose import Choice
    from modemtls.net.contract import Credential, SslConfiguration, TlsaRecord, TlsVersion
    from modemtls.net.contract.mtu import RecordShape

__all__ = ["Securing"]

#: Failures of an open behind which there may be a file that somebody has removed from the modem.
_PERHAPS_FILES = frozenset({"connect_or_handshake", "handshake_failed", "certificate", "unknown"})


class Securing:
    """What secures the connections of one socket object, one after the other.

    Created, it has loaded and checked all that creation can tell; nothing has gone over the network. Raises
    :class:`NotSupportedError` by the name of the capability that is lacking, :class:`CredentialError`,
    :class:`ConfigurationError`.

    ``resumed`` and ``connection_resumed``: how the last :meth:`open` went, as far as that is known for certain.
    """

    def __init__(self, modem: AttachedModem, configuration: SslConfiguration, family: Literal["tls", "dtls"]) -> None:
        self._modem = modem
        self._family = family
        self._configuration = configuration = offloadable(configuration, modem.profile.name)
        choose(configuration, abilities_of(modem))
        self._material = _load(configuration, modem.limits)
        self._choice: Choice | None = None
        self.resumed = False
        self.connection_resumed = False

    def open(self, wanted: Opening, deadline: float | None) -> Slot:
        """Make the connection that is ``wanted``, and give it when it is secured and verified.

        Raises what the caller is told of a failure; :class:`ModemRestartedError` if it is to be begun again.
        """
        from dataclasses import replace

        self.resumed = self.connection_resumed = False
        self._modem.ensure_up(deadline=deadline)
        lease = self._lease_context(wanted.host, deadline)
        try:
            return self._modem.open(replace(wanted, lease=lease), deadline=deadline)
        except CommandError as error:
            if error.kind in _PERHAPS_FILES:
                self._modem.credentials.look_again()
            clock = self._modem.clock.detail
            raise connect_failure(error, wanted.host, wanted.port, self._configuration, self._choice, clock) from error
        finally:
            lease.release()  # the slot has a share of its own

    def _lease_context(self, host: str, deadline: float | None) -> ContextLease:
        configuration = self._configuration
        choice = choose(configuration, abilities_of(self._modem), host)
        self._choice = choice
        security = certificates_of(configuration)
        with self._modem.credentials.hold() as holding:
            names = {kind: _name(holding, kind, data, deadline) for kind, data in self._material.items()}
            if security.verify and not names.get("ca"):  # a modem without a CA accepts anybody
                raise ConfigurationError("no CA to verify the peer with")
            settings = TlsSettings(
                version=choice.version,
                suites=choice.suites,
                ca=names.get("ca"),
                cert=names.get("cert"),
                key=names.get("key"),
                verify=security.verify,
                client_auth="cert" in names,
                sni=choice.sni,
                check_hostname=choice.check_hostname,
                expected_name=host if choice.check_hostname and told_the_name(self._modem) else None,
                check_dates=choice.check_dates,
                handshake_timeout=choice.handshake_timeout,
            )
            return self._modem.contexts.lease(settings, deadline=deadline)

    def note(self, slot: Slot) -> None:
        """Put what the modem has told of its session into the caller's buffer. Never raises."""

    def put_aside(self, slot: Slot, deadline: float | None) -> bool:  # noqa: ARG002 - no modem can yet
        """Have the modem keep a connection that is being closed; then it is not the caller's to close any more."""
        return False

    def forget(self) -> None:
        """Drop all material, for good."""
        self._material = {}

    @property
    def version(self) -> TlsVersion | None:
        """The protocol version, where the modem was set to exactly one; it does not tell otherwise."""
        if self._choice is None or len(self._choice.versions) != 1:
            return None
        return next(iter(self._choice.versions))

    def set_records(self, records: Sequence[TlsaRecord]) -> None:
        """Take TLSA records for the next handshake."""
        raise NotImplementedError

    def set_timers(self, timers: tuple[float, float]) -> None:
        """Take the first and the longest wait of the next handshake over datagrams, in seconds."""
        raise NotImplementedError

    def shape(self) -> RecordShape | None:
        """Return what a record adds to its payload; None if the suite is not known."""
        return None


def _load(configuration: SslConfiguration, limits: Mapping[str, object]) -> dict[CredentialKind, bytes | Stored]:
    """Read and check the certificates and the key: what is none, or too large, fails before anything is sent."""
    from modemtls.modem.credentials import check_sizes
    from modemtls.modem.pem import PemText, load, read

    security = certificates_of(configuration)
    given: dict[CredentialKind, Credential | None] = {"cert": security.client_cert, "key": security.client_key}
    if security.verify:
        given["ca"] = security.trusted
    texts = read({kind: path for kind, path in given.items() if isinstance(path, os.PathLike)})
    texts |= {kind: PemText(data) for kind, data in given.items() if isinstance(data, bytes)}
    stored = {kind: name for kind, name in given.items() if isinstance(name, Stored)}
    pems = load(texts)
    check_sizes(pems, {kind: text.source for kind, text in texts.items()}, limits)
    return {**pems, **stored}


def _name(holding: Holding, kind: CredentialKind, data: bytes | Stored, deadline: float | None) -> str:
    return data.name if isinstance(data, Stored) else holding.ensure(kind, data, deadline=deadline)
