"""What secures the connections of one socket: versions, suites, names and credentials, put into the modem's terms."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

from modemtls.errors import CertificateError, CommandError, ConfigurationError, ModemError, NotSupportedError
from modemtls.modem.settings import TlsSettings
from modemtls.net.abilities import abilities_of, able_for
from modemtls.net.choose import bounded, choose, choose_timers
from modemtls.net.contract import Certificates, Psk
from modemtls.net.contract.configuration import check_dtls_timeouts
from modemtls.net.contract.dane import check_records, digest
from modemtls.net.contract.mtu import RecordShape
from modemtls.net.failures import connect_failure
from modemtls.net.judging import Means, judge_leaf, means_for
from modemtls.net.material import Material, check_chains, check_psk, load
from modemtls.net.offloadable import check_offloadable
from modemtls.net.resuming import Resuming, bound_to, filed_under
from modemtls.tlsengine.suites import SUITES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modemtls.modem.attached import AttachedModem
    from modemtls.modem.contexts import ContextLease
    from modemtls.modem.credentials import CredentialKind, Holding
    from modemtls.modem.slots import Slot
    from modemtls.modem.sockets import Opening
    from modemtls.net.choose import Choice
    from modemtls.net.contract import SslConfiguration, TlsaRecord, TlsVersion

__all__ = ["Securing"]

#: Failures of an open behind which there may be a file that somebody has removed from the modem.
_PERHAPS_FILES: Final = frozenset({"connect_or_handshake", "handshake_failed", "certificate", "unknown"})

#: A host that stands for any in what is checked before there is one (RFC 2606, 2).
_ANY_HOST: Final = "name.invalid"


class Securing:
    """What secures the connections of one socket object, one after the other.

    Created, it has loaded and checked all that creation can tell; nothing has gone over the network. Raises
    :class:`NotSupportedError` by the name of the capability that is lacking, :class:`CredentialError`,
    :class:`ConfigurationError`.

    ``resumed`` and ``connection_resumed``: how the last :meth:`open` went, as far as that is known for certain.
    """

    def __init__(self, modem: AttachedModem, configuration: SslConfiguration, family: Literal["tls", "dtls"]) -> None:
        self._modem = modem
        self._family: Literal["tls", "dtls"] = family
        self._configuration = configuration
        self._name = modem.profile.name
        check_offloadable(configuration, self._name)
        self._abilities = abilities_of(modem, family)
        choice = choose(configuration, self._abilities, verified=self._may_verify)
        self._timers = choose_timers(configuration.dtls_handshake_timeouts, self._abilities)
        self._bundles = modem.profile.behaviour.get("credential_store") == "tagged"
        self._material = self._load()
        self._records: tuple[TlsaRecord, ...] = ()
        self._choice: Choice = choice
        self._connected = False
        self._resuming = Resuming(
            modem,
            configuration.session_resumption_buffer,
            saves=self._cid and bool(able_for(modem, "saved_connections", family)),
        )
        self.resumed = False
        self.connection_resumed = False
        self._check()

    # -- what creation can tell ---------------------------------------------------------------------------------

    @property
    def _may_verify(self) -> bool:
        security = self._configuration.security
        return isinstance(security, Certificates) and (security.verify or security.dane)

    @property
    def _cid(self) -> bool:
        return self._configuration.use_connection_id and self._family == "dtls"

    def _load(self) -> Material:
        security = self._configuration.security
        stored = self._abilities.psk == "stored"
        if isinstance(security, Psk):
            check_psk(security, self._modem.limits, self._name)
        material = load(security, self._name, psk_stored=stored, bundles=self._bundles)
        check_chains(material.given, self._modem.limits.get("credential_chain"), self._name)
        self._modem.credentials.check(material.given, material.sources)
        return material

    def _check(self) -> None:
        """Have the modem's programs look at what they would be told, with names that stand for any."""
        host = self._configuration.server_name_indication or _ANY_HOST
        choice = choose(self._configuration, self._abilities, host, verified=self._may_verify)
        material = self._material
        names = self._placeholders({*material.given, *material.stored, *(("ca",) if self._may_verify else ())})
        self._name_stored(names, material.stored)
        security = self._configuration.security
        try:
            if isinstance(security, Psk):
                self._check_stored_psk(material.given)
            self._modem.check(self._family, self._settings(choice, names, verify=self._may_verify))
        except ConfigurationError as error:
            if isinstance(security, Psk):
                raise NotSupportedError(
                    f"{self._name} cannot be told this pre-shared key or identity: {error}",
                    capability="psk",
                    choices=('engine="host"',),
                ) from None
            if names:
                raise
            raise NotSupportedError(  # nothing of the caller's is wrong: there is nothing
                str(error), capability="credentials", choices=("give trusted, which is stored and not used",)
            ) from None

    def _name_stored(self, names: dict[str, str], stored: Mapping[CredentialKind, str]) -> None:
        """Put what is in the modem already among the names of what goes there."""
        names.update({str(kind): name for kind, name in stored.items()})
        if self._bundles and stored:
            names["bundle"] = next(iter(stored.values()))

    def _placeholders(self, kinds: set[CredentialKind]) -> dict[str, str]:
        if not kinds:
            return {}
        if not self._bundles:
            return dict.fromkeys(kinds, "mtls-0")
        tags = self._modem.limits.get("credential_tags")
        number = str(tags[0]) if isinstance(tags, tuple | list) else "0"
        return {**dict.fromkeys(kinds - {"psk_identity"}, number), "bundle": number}

    def _check_stored_psk(self, given: Mapping[CredentialKind, bytes]) -> None:
        """Raise for a pre-shared key that cannot be written into the modem's store: not every byte is text."""
        if given and not given["psk_identity"]:
            raise ConfigurationError("the identity is empty, and there is no storing that")
        name = self._placeholders({"psk"})["psk"]
        for kind, data in given.items():
            if self._bundles or kind == "psk":
                more = {"identity": given["psk_identity"]} if kind == "psk" else {}
                inputs = {"name": name, "data": data, "size": len(data), "kind": kind, **more}
                self._modem.runner.check("credential_write", inputs)

    def provision(self, *, radio_off: bool, deadline: float | None) -> Mapping[str, str]:
        """Have the material in the modem's store ahead of a connection; see :meth:`AttachedModem.provision`."""
        given, sources = self._material.given, self._material.sources
        if not given:
            return {}
        return self._modem.provision(given, sources=sources, radio_off=radio_off, deadline=deadline)

    # -- connecting ---------------------------------------------------------------------------------------------

    def open(self, wanted: Opening, deadline: float | None) -> Slot:
        """Make the connection that is ``wanted``, and give it when it is secured and verified.

        ``wanted`` says nothing of security yet. Raises what the caller is told of a failure;
        :class:`ModemRestartedError` if it is to be begun again.
        """
        self.resumed = self.connection_resumed = self._connected = False
        made: list[Slot] = []
        try:
            return self._open(wanted, made, deadline)
        except BaseException:
            for slot in made:  # interrupted, perhaps: closed without waiting for it
                self._modem.sockets.close(slot, deadline=self._modem.now())
            raise

    def _open(self, wanted: Opening, made: list[Slot], deadline: float | None) -> Slot:
        """As :meth:`open`; ``made``: what the modem has opened, before this returns."""
        means = self._means()
        self._choice = choice = choose(
            self._configuration, self._abilities, wanted.host or None, verified=means.verified
        )
        self._resuming.sweep(deadline)  # before anything is stored for which nothing may be open
        with self._modem.credentials.hold() as holding:
            # Before the modem is brought up: some write only while the radio is off. And again behind it, which is
            # for nothing unless what is believed of the modem has become doubtful meanwhile.
            names = self._stored(holding, means, deadline)
            self._modem.ensure_up(deadline=deadline)
            names = self._stored(holding, means, deadline)
            settings = self._settings(choice, names, verify=means.verified)
            records = digest(means.records or (self._records if means.material else ()))
            bound = bound_to(wanted.host, wanted.port, settings, records)
            slot = self._resuming.parked(bound, wanted.receive, deadline)
            if slot is not None:
                made.append(slot)
                self.resumed = self.connection_resumed = self._connected = True
                return slot
            self._make(wanted, settings, bound, made, deadline)
        slot = made[0]
        if means.records and not slot.resumed:
            self._judge(slot, means, wanted, deadline)
        self._resuming.made(slot, deadline)
        self.resumed = slot.resumed
        self._connected = True
        return slot

    def _make(
        self, wanted: Opening, settings: TlsSettings, bound: bytes, made: list[Slot], deadline: float | None
    ) -> None:
        if self._configuration.handshake_timeout is not None and not self._modem.capabilities.get("handshake_timeout"):
            end = self._modem.now() + self._configuration.handshake_timeout
            deadline = end if deadline is None else min(deadline, end)
        if deadline is not None:
            timers = bounded(settings.dtls_timers, deadline - self._modem.now(), self._abilities)
            settings = replace(settings, dtls_timers=timers)
        with self._resuming.turn(resume=settings.resume, deadline=deadline):
            self._handshake(wanted, settings, bound, made, deadline)
            self._resuming.opened()

    def _handshake(
        self, wanted: Opening, settings: TlsSettings, bound: bytes, made: list[Slot], deadline: float | None
    ) -> None:
        session, purge = self._resuming.begin(bound, filed_under(settings), resume=settings.resume, deadline=deadline)
        more: dict[str, Any] = {"session": session, "purge": purge}
        lease = None
        if self._modem.profile.behaviour.get("tls_contexts") == "none":
            more["settings"] = settings
        else:
            # What ends resumption for a moment may leave the data where it is; writing all anew does not.
            anew = settings.resume and not session
            more["lease"] = lease = self._lease(settings, wanted, deadline, anew=anew)
        try:
            made.append(self._modem.open(replace(wanted, **more), deadline=deadline))
        except CommandError as error:
            self._resuming.failed(error.kind)
            if error.kind in _PERHAPS_FILES:
                self._modem.credentials.look_again()
            raise self._failure(error, wanted) from error
        finally:
            if lease is not None:
                lease.release()  # the slot has a share of its own

    def _lease(self, settings: TlsSettings, wanted: Opening, deadline: float | None, *, anew: bool) -> ContextLease:
        try:
            return self._modem.contexts.lease(settings, anew=anew, deadline=deadline)
        except CommandError as error:
            if error.kind != "not_supported":
                raise
            raise self._failure(error, wanted) from error

    def _failure(self, error: CommandError, wanted: Opening) -> ModemError:
        clock = self._modem.clock.detail
        return connect_failure(error, wanted.host, wanted.port, self._configuration, self._choice, clock)

    def _means(self) -> Means:
        security = self._configuration.security
        if isinstance(security, Psk):
            return Means(verified=False)
        return means_for(
            security,
            self._records,
            self._name,
            pinning=bool(able_for(self._modem, "pinning", self._family)),
            shows=bool(able_for(self._modem, "peer_certificate", self._family)),
        )

    def _stored(self, holding: Holding, means: Means, deadline: float | None) -> dict[str, str]:
        """Have everything in the modem's store, and give its names there."""
        given = {**self._material.given, **means.material}
        stored = dict(self._material.stored)
        if means.material:
            stored = {kind: name for kind, name in stored.items() if kind not in means.material}
            if self._bundles and stored:
                raise NotSupportedError(
                    f"{self._name} has the certificate of a TLSA record and what is stored under another number in no "
                    "one connection",
                    capability="stored_credentials",
                    choices=("give all certificates and keys themselves",),
                )
        names = holding.ensure_all(given, deadline=deadline) if given else {}
        self._name_stored(names, stored)
        return names

    def _settings(self, choice: Choice, names: Mapping[str, str], *, verify: bool) -> TlsSettings:
        configuration, security = self._configuration, self._configuration.security
        if verify and not names.get("ca"):  # a modem without a CA accepts anybody
            raise CertificateError("no CA to verify the peer with")
        more: dict[str, Any] = {}
        if isinstance(security, Psk) and self._abilities.psk == "inline":
            more = {"psk_identity": security.identity, "psk_key": security.key}
        resume = self._resuming.wanted(known=isinstance(security, Psk) or (verify and choice.check_hostname))
        return TlsSettings(
            version=choice.version,
            suites=choice.suites,
            ca=names.get("ca") if verify or self._bundles else None,
            cert=names.get("cert"),
            key=names.get("key"),
            psk=names.get("psk"),
            peer=names.get("peer"),
            bundle=names.get("bundle"),
            verify=verify,
            client_auth="cert" in names,
            sni=choice.sni,
            check_hostname=choice.check_hostname,
            expected_name=choice.expected_name,
            check_dates=choice.check_dates,
            handshake_timeout=choice.handshake_timeout,
            dtls=self._family == "dtls",
            alpn=configuration.alpn[0] if configuration.alpn else None,
            resume=resume,
            cid=self._cid,
            dtls_timers=self._timers,
            **more,
        )

    def _judge(self, slot: Slot, means: Means, wanted: Opening, deadline: float | None) -> None:
        """Close the connection unless what the server showed is accepted by the records."""
        security = self._configuration.security
        name = None
        if isinstance(security, Certificates) and security.check_hostname:
            name = self._configuration.server_name_indication or wanted.host
        try:
            leaf = self._modem.sockets.run(slot, "peer_certificate", {}, deadline=deadline).payload
            judge_leaf(means.records, leaf, name, f"{wanted.host} port {wanted.port}")
        except BaseException as error:
            self._modem.sockets.close(slot, deadline=deadline)
            self._resuming.refused()
            if isinstance(error, CommandError):
                raise CertificateError(f"the modem does not tell which certificate it was shown: {error}") from error
            raise

    # -- afterwards ---------------------------------------------------------------------------------------------

    def note(self, slot: Slot) -> None:
        """Put what the modem has told of its session into the caller's buffer. Never raises; cheap."""
        self._resuming.note(slot)

    def put_aside(self, slot: Slot, deadline: float | None) -> bool:
        """Have the modem keep a connection that is being closed; then it is not the caller's to close any more."""
        return self._connected and self._resuming.park(slot, deadline)

    def forget(self) -> None:
        """Drop all material, for good. What was put aside stays: another object with the same buffer takes it up."""
        self._material = Material()
        self._records = ()

    @property
    def version(self) -> TlsVersion | None:
        """The protocol version, where the modem was set to exactly one; it does not tell otherwise."""
        if not self._connected or len(self._choice.versions) != 1:
            return None
        return next(iter(self._choice.versions))

    @property
    def suites(self) -> tuple[int, ...]:
        """The suites that the modem is told to offer, by IANA number; none if it offers all that it has."""
        return self._choice.numbers

    def set_records(self, records: object) -> None:
        """Take TLSA records for the next handshake, in place of those before.

        Raises :class:`NotSupportedError` for what this modem cannot do with them; it does so again when it is to
        connect. Raises ``EINVAL`` if the configuration has no DANE.
        """
        if not getattr(self._configuration.security, "dane", False):
            raise ModemError("the configuration has no DANE", number=errno.EINVAL)
        self._records = check_records(records)
        try:
            self._means()
        except (ConfigurationError, NotSupportedError):
            raise
        except ModemError:
            pass  # nothing is usable: a connection is refused then, not a record

    def set_timers(self, timers: object) -> None:
        """Take the first and the longest wait of the next handshake over datagrams, in seconds.

        Raises ``EBADF`` for what cannot be, and for streams; :class:`NotSupportedError` if the modem cannot be told.
        """
        if self._family != "dtls":
            raise ModemError("a stream has no retransmission timers", number=errno.EBADF)
        try:
            wanted = check_dtls_timeouts(timers)
        except ConfigurationError as error:
            raise ModemError(error.message, number=errno.EBADF) from None
        self._timers = choose_timers(wanted, self._abilities)

    def shape(self) -> RecordShape | None:
        """Return what a record adds to its payload; None if the suite is not known, or a Connection ID's length."""
        numbers = self._choice.numbers
        suite = SUITES.get(numbers[0]) if len(numbers) == 1 else None
        if suite is None or self._cid:
            return None
        return RecordShape(suite.nonce, suite.tag, suite.block)
