"""From a configuration to an engine's settings: what is loaded once, and what one connection demands of its peer."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from modemtls import tlsengine
from modemtls.errors import CertificateError, CredentialError, HandshakeError, NotSupportedError
from modemtls.host import failures
from modemtls.net.contract import Certificates, Psk, TlsVersion
from modemtls.net.contract.configuration import DEFAULT_DTLS_TIMEOUTS
from modemtls.net.contract.credentials import Loader, PrivateKey, check_pair, rebuilt
from modemtls.net.contract.dane import Fault, TlsaRecord, judge, usable
from modemtls.net.contract.der import serial_number
from modemtls.net.contract.mtu import UNKNOWN_OVERHEAD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modemtls.net.contract import SslConfiguration
    from modemtls.tlsengine import Context, Info, Settings

__all__ = ["Demands", "Material"]

logger = logging.getLogger(__name__)

_VERSIONS: Final = {
    TlsVersion.SSL3: tlsengine.Version.TLS1_0,  # as a minimum: the engines have nothing so old, and need not
    TlsVersion.TLS1_0: tlsengine.Version.TLS1_0,
    TlsVersion.TLS1_1: tlsengine.Version.TLS1_1,
    TlsVersion.TLS1_2: tlsengine.Version.TLS1_2,
    TlsVersion.TLS1_3: tlsengine.Version.TLS1_3,
}

_DANE_TA: Final = 2
_ROOMY: Final = 1500 - 28  # bytes of a UDP payload: the largest that comes over common links (Ethernet, IPv4)
_LARGEST: Final = 65507  # bytes of a UDP payload over IPv4: the widest that an engine takes


@dataclass(frozen=True, slots=True)
class Material:
    """Certificates, CRLs (DER) and the key of a configuration, loaded and checked."""

    ca: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()
    chain: tuple[bytes, ...] = ()
    key: PrivateKey | None = None

    @classmethod
    def load(cls, configuration: SslConfiguration) -> Material:
        """Read it; raises as :class:`~modemtls.net.contract.credentials.Loader` does."""
        security = configuration.security
        if isinstance(security, Psk):
            return cls()
        loader = Loader()
        trusted: tuple[bytes, ...] = ()
        if security.verify or security.rebuild_client_chain:
            trusted = loader.certificates(security.trusted, "CA certificate", folders=True)
        chain: tuple[bytes, ...] = ()
        key = None
        if security.client_cert is not None and security.client_key is not None:
            chain = loader.certificates(security.client_cert, "client certificate")
            if not chain:
                raise CredentialError("client certificate: there is none in the list")
            key = loader.private_key(security.client_key)
            check_pair(chain[0], key)
            if security.rebuild_client_chain:
                chain = rebuilt(chain, trusted)
        ca: tuple[bytes, ...] = ()
        crls: tuple[bytes, ...] = ()
        if security.verify:
            ca = trusted + (_system_trust() if security.use_system_trust else ())
            crls = loader.revocation_lists(security.revocation_lists)
        return cls(ca=ca, crls=crls, chain=chain, key=key)


def _system_trust() -> tuple[bytes, ...]:
    """Return the CA certificates that the host's own store has, DER."""
    import ssl

    paths = ssl.get_default_verify_paths()
    for name in (paths.cafile, paths.capath):
        if name is not None:
            found = Loader().certificates(Path(name), "the host's store of CA certificates", folders=True)
            # A few old ones have a serial number of 0, which RFC 5280, 4.1.2.2, rules out and parsers begin to refuse:
            # one of them must not make the others useless.
            return tuple(der for der in found if serial_number(der) > 0)
    raise CredentialError("the host has no store of CA certificates")


class Demands:
    """What a configuration demands, with its material.

    Raises :class:`NotSupportedError` for what no engine on this host can do, :class:`CredentialError` and
    :class:`OSError` for credentials that cannot be read.
    """

    def __init__(self, configuration: SslConfiguration, *, datagram: bool) -> None:
        self.configuration = configuration
        self.datagram = datagram
        try:
            tlsengine.require("openssl")
        except tlsengine.EngineUnavailableError as error:
            raise failures.unavailable(error, "host_engine") from None
        self._check_versions()
        self._suites = self._chosen_suites()
        self._material = Material.load(configuration)
        self._timers = configuration.dtls_handshake_timeouts or DEFAULT_DTLS_TIMEOUTS
        self.context(self.settings(name=configuration.server_name_indication or ""))  # what it lacks shows now

    # -- choosing -----------------------------------------------------------------------------------------------

    def _check_versions(self) -> None:
        highest = self.configuration.max_version
        if highest is TlsVersion.SSL3:
            raise NotSupportedError("the host's TLS engines have no SSL 3.0", capability="ssl3")
        if self.datagram and self.configuration.version is TlsVersion.TLS1_3:
            raise NotSupportedError("the host's TLS engines have no DTLS 1.3", capability="dtls1.3")

    def _chosen_suites(self) -> tuple[int, ...] | None:
        """Return what is left of the suites asked for; None for all.

        With a Connection ID only AEAD suites are left, if there are any.
        """
        configuration = self.configuration
        numbers = configuration.ciphersuites or None
        psk = isinstance(configuration.security, Psk)
        highest = configuration.max_version
        chosen = tlsengine.suites.select(
            numbers,
            certificate=not psk,
            psk=psk,
            datagram=self.datagram,
            tls13=highest is None or highest >= TlsVersion.TLS1_3,
            tls12=configuration.version < TlsVersion.TLS1_3,
        )
        if not chosen:
            raise NotSupportedError(
                "no cipher suite is left of those asked for that fits the way of authentication and the versions",
                capability="suites",
            )
        aead = tuple(suite for suite in chosen if suite.block == 1)
        if self.datagram and configuration.use_connection_id and aead:
            return tuple(suite.number for suite in aead)
        return None if numbers is None else tuple(suite.number for suite in chosen)

    def set_timers(self, timers: tuple[float, float]) -> None:
        """Take other retransmission timers, if an engine here can keep them; used by the next handshake."""
        before, self._timers = self._timers, timers
        try:
            self.context(self.settings(name=""))
        except NotSupportedError:
            self._timers = before
            raise

    # -- settings -----------------------------------------------------------------------------------------------

    def settings(
        self,
        *,
        name: str,
        server: bool = False,
        mtu: int = 1232,
        records: Sequence[TlsaRecord] = (),
        whole: int | None = None,
    ) -> Settings:
        """Return the settings of one connection.

        ``name``: whom to send as SNI, and who the certificate must be for. ``mtu``: the largest datagram. ``records``:
        the usable TLSA records, if they are to decide. ``whole``: the largest datagram that arrives whole, None for
        any.
        """
        configuration, security = self.configuration, self.configuration.security
        narrow = whole is not None and whole < _ROOMY
        more: dict[str, Any] = {}
        if not server:
            # A ticket nobody keeps is of no use; and a server may put it into one datagram, whatever it was asked for.
            more["tickets"] = configuration.session_resumption_buffer is not None and not narrow
            certificates = not isinstance(security, Psk) and configuration.version >= TlsVersion.TLS1_2
            if whole is not None and narrow and certificates:
                more["fragment"] = max(
                    (one for one in tlsengine.FRAGMENTS if one + UNKNOWN_OVERHEAD <= whole), default=512
                )
        if self.datagram:
            low, high = self._timers
            more |= {"mtu": min(mtu, _LARGEST), "timers": tlsengine.Timers(low, high)}
            if configuration.use_connection_id and not server:
                more["cid"] = b""
        if isinstance(security, Psk):
            if server:
                more["psks"] = {security.identity: security.key}
            else:
                more["psk"] = tlsengine.Psk(security.identity, security.key)
        else:
            more |= self._certificate_settings(security, name, records, server=server)
        try:
            return tlsengine.Settings(
                server=server,
                datagram=self.datagram,
                min_version=_VERSIONS[configuration.version],
                max_version=_VERSIONS[configuration.max_version or TlsVersion.TLS1_3],
                suites=self._suites,
                server_name="" if server else name,
                alpn=tuple(protocol.encode() for protocol in configuration.alpn),
                **more,
            )
        except tlsengine.SettingsError as error:
            raise failures.setting_failure(error, "host_engine") from error

    def _certificate_settings(
        self, security: Certificates, name: str, records: Sequence[TlsaRecord], *, server: bool
    ) -> dict[str, Any]:
        material = self._material
        found: dict[str, Any] = {"crls": b"".join(material.crls), "check_dates": security.check_dates}
        if material.key is not None:
            found |= {
                "chain": b"".join(material.chain),
                "key": material.key.data,
                "key_password": material.key.password,
            }
        if records:
            # What usages 2 and 3 accept has nothing to do with the trust store.
            pkix = any(one.usage < _DANE_TA for one in records)
            found["verify"] = tlsengine.Verify.JUDGED
            found["ca"] = b"".join(material.ca) if pkix else b""
            full = (one.data for one in records if (one.usage, one.selector, one.matching) == (_DANE_TA, 0, 0))
            found["anchors"] = b"".join(full)
        elif security.verify:
            found |= {"verify": tlsengine.Verify.REQUIRED, "ca": b"".join(material.ca)}
        else:
            found["verify"] = tlsengine.Verify.NONE
        if not server and security.check_hostname and (records or security.verify):
            found["host"] = name
        return found

    def deciding(self, records: Sequence[TlsaRecord]) -> tuple[TlsaRecord, ...]:
        """Return the TLSA records that decide about the peer; none: the trust store does, or nobody.

        Raises :class:`HandshakeError` (``EPROTO``) if the peer is to be verified and nothing could accept it.
        """
        security = self.configuration.security
        if isinstance(security, Psk):
            return ()
        if not security.dane:
            records = ()
        decide = usable(records, enforced=security.verify)
        if security.verify and records and not decide:
            raise HandshakeError("none of the TLSA records can be used, so no peer can be accepted")
        if security.verify and not decide and not self._material.ca:
            raise CertificateError("no CA and no TLSA record to verify the peer with")
        return decide

    def context(self, settings: Settings) -> Context:
        """Return the context of an engine that fulfils them; :class:`NotSupportedError` if there is none.

        A limit for fragments is a wish.
        """
        if settings.fragment is not None:
            try:
                return tlsengine.context_for(settings)
            except (tlsengine.SettingsError, tlsengine.EngineUnavailableError) as error:
                logger.debug("the peer is not asked for small records: %s", error)
                settings = replace(settings, fragment=None)
        capability = "host_engine"
        if settings.cid is not None:
            capability = "cid"
        elif settings.timers is not None and settings.timers.minimum < 1:
            capability = "handshake_timers"
        elif settings.psk is not None or settings.psks:
            capability = "psk"
        try:
            return tlsengine.context_for(settings)
        except tlsengine.SettingsError as error:
            raise failures.setting_failure(error, capability) from error
        except tlsengine.EngineUnavailableError as error:
            raise failures.unavailable(error, capability) from None

    # -- judging ------------------------------------------------------------------------------------------------

    def judge(self, records: Sequence[TlsaRecord], info: Info, where: str) -> None:
        """Raise :class:`CertificateError` unless the peer is accepted by one of the deciding records."""
        path = _signed(info.verified_chain)
        faults = [Fault(one.code, one.depth, one.text) for one in info.verify_errors]
        why = judge(
            records,
            leaf=info.peer_chain[0] if info.peer_chain else b"",
            path=path,
            faults=faults,
            anchored=bool(path) and path[-1] in self._material.ca,
        )
        if why:
            raise CertificateError(f"the certificate of {where} was refused: {why}")


def _signed(chain: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the chain as far as each certificate is signed by the next: engines only say that they built it so."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    for depth in range(len(chain) - 1):
        try:
            issuer = x509.load_der_x509_certificate(chain[depth + 1])
            x509.load_der_x509_certificate(chain[depth]).verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            return tuple(chain[: depth + 1])
    return tuple(chain)
