"""What a security profile means to a (D)TLS stack, and what the module makes of the outcome.

UBX-20032566 R05, 3.2 to 3.4; UBX-13002752.
"""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

from modemtls.sim.personalities.ublox import resumption
from modemtls.sim.personalities.ublox.credentials import UnreadableError, certificate, key_bits
from modemtls.sim.personalities.ublox.security import ENCRYPTED, Profile
from modemtls.sim.personalities.ublox.store import CA, CLIENT_CERTIFICATE, CLIENT_KEY, SERVER_CERTIFICATE
from modemtls.sim.personalities.ublox.suites import kinds
from modemtls.sim.secure import SecureDatagrams
from modemtls.tlsengine.suites import Authentication

if TYPE_CHECKING:
    from modemtls.sim.loop import Loop
    from modemtls.sim.network import Datagrams
    from modemtls.sim.personalities.ublox import Ublox
    from modemtls.sim.personalities.ublox.store import Entry
    from modemtls.sim.trace import Trace
    from modemtls.tlsengine import Engine, Info, Psk, Settings, Version

__all__ = ["Association", "ConfigurationError", "SecureSession"]

LEAST_BITS = {"rsa": 2048, "ec": 192}  # UBX-20032566 R05, 3.1


class ConfigurationError(Exception):
    """The connect has to fail; the text is the true reason, for the trace."""


class SecureSession:
    """One connection under a profile. ``settings`` are the stack's. Raises :class:`ConfigurationError`."""

    def __init__(self, module: Ublox, profile: Profile, number: int | None, *, datagram: bool) -> None:
        self._module, self._profile, self._number = module, profile, number
        self._variants = module.machine.variants
        self.before_result = False
        self._own = self._stored(CLIENT_CERTIFICATE, profile.certificate)
        self.settings = self._settings(datagram=datagram)

    # --- settings -------------------------------------------------------------------------------------------------

    def _stored(self, kind: int, name: str) -> Entry | None:
        if not name:
            return None
        entry = self._module.store.find(kind, name)
        if entry is None:
            raise ConfigurationError(f"{name!r} is not in the store")
        return entry

    def _settings(self, *, datagram: bool) -> Settings:
        from modemtls.tlsengine import Settings, SettingsError, Verify

        profile = self._profile
        if profile.zero_touch:
            raise ConfigurationError("no device certificate has been provisioned")
        key = self._stored(CLIENT_KEY, profile.key)
        if bool(self._own) != bool(key):
            raise ConfigurationError("only one of client certificate and client key")
        psk = self._psk()
        checked = profile.level > 0 and psk is None
        low, high = self._versions
        by_engine = profile.level >= 2 and self._variants["host-names"] == "san"
        if checked and profile.level >= 2 and not profile.host and self._variants["empty-name"] == "fail":
            raise ConfigurationError("a host name is demanded, and none is set")
        try:
            return Settings(
                datagram=datagram,
                min_version=low,
                max_version=high,
                suites=profile.suites.numbers,
                legacy=True,  # old suites and keys are taken without a murmur; the floor is the module's own
                tickets=False,
                psk=psk,
                ca=self._roots() if checked else b"",
                chain=self._own.der if self._own and psk is None else b"",
                key=key.der if key and psk is None else b"",
                key_password=(profile.password or key.password).encode() if key and psk is None else b"",
                verify=Verify.REQUIRED if checked else Verify.NONE,
                check_dates=profile.level == 3,
                at=self._module.clock.rtc.utc(),
                host=profile.host if checked and by_engine else "",
                server_name=profile.server_name,
            )
        except SettingsError as error:
            raise ConfigurationError(str(error)) from None

    @property
    def _versions(self) -> tuple[Version, Version]:
        from modemtls.tlsengine import Version

        asked = self._profile.version
        low = (Version.TLS1_0, Version.TLS1_0, Version.TLS1_1, Version.TLS1_2, Version.TLS1_3)[asked]
        if asked and self._variants["version"] == "exact":
            return low, low
        return low, Version.TLS1_3 if self._module.newest == 4 else Version.TLS1_2

    def _psk(self) -> Psk | None:
        from modemtls.tlsengine import Psk

        identity, key = self._profile.identity, self._profile.psk
        if self._profile.root_of_trust:
            name, _, digits = self._variants["root-of-trust"].rpartition(":")
            identity, key = name.encode(), bytes.fromhex(digits)
        if not key:
            return None
        chosen = self._profile.suites.numbers
        if chosen is not None and not kinds(chosen) & {Authentication.PSK, Authentication.BOTH, Authentication.ANY}:
            return None
        return Psk(identity, key)

    def _roots(self) -> bytes:
        """Return the root that is named, or all there are."""
        named = self._stored(CA, self._profile.ca)
        roots = [named] if named else self._module.store.all(CA)
        if not roots:
            raise ConfigurationError(f"level {self._profile.level} and no root in the store")
        return b"".join(root.der for root in roots)

    # --- the outcome ----------------------------------------------------------------------------------------------

    def prepare(self, engine: Engine) -> None:
        """Offer the session that the host has given back."""
        wanted = self._profile.resumption
        der = self._module.sessions.recall(wanted.data) if wanted.on else b""
        if der:
            resumption.offered(engine, self.settings, der)

    def judge(self, engine: Engine) -> str:
        """Return why the peer is refused although the stack has accepted it; tell the session if it is not."""
        info = engine.info()
        why = self._too_weak(info) or self._wrong_name(info) or self._not_pinned(info)
        if not why and self._profile.resumption.on:
            self._tell_session(engine)
        return why

    def _too_weak(self, info: Info) -> str:
        if not self._variants.on("key-size-floor"):
            return ""
        for whose, ders in (
            ("the peer's", info.peer_chain[:1]),
            ("the module's", [self._own.der] if self._own else []),
        ):
            for der in ders:
                kind, bits = key_bits(der)
                if bits < LEAST_BITS.get(kind, 0):
                    return f"{whose} key has {bits} bits"
        return ""

    def _wrong_name(self, info: Info) -> str:
        how, wanted = self._variants["host-names"], self._profile.host.lower()
        if how == "san" or self._profile.level < 2 or not info.peer_chain or not wanted:
            return ""
        from cryptography import x509

        leaf = certificate(info.peer_chain[0])
        names = [str(item.value) for item in leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
        if how == "either":
            try:
                found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            except x509.ExtensionNotFound:
                pass
            else:
                names += found.get_values_for_type(x509.DNSName)
                names += [str(address) for address in found.get_values_for_type(x509.IPAddress)]
        fits = any(_same_name(name.lower(), wanted) for name in names)
        return "" if fits else f"hostname mismatch: {', '.join(names) or 'no name'}"

    def _not_pinned(self, info: Info) -> str:
        if not self._profile.pinned:
            return ""
        entry = self._module.store.find(SERVER_CERTIFICATE, self._profile.pinned)
        if entry is None:
            return f"pinning: {self._profile.pinned!r} is not in the store"
        if not info.peer_chain:
            return "pinning: no certificate"
        try:
            same = _pin(info.peer_chain[0], self._profile.pin_level) == _pin(entry.der, self._profile.pin_level)
        except UnreadableError as error:
            return f"pinning: {error}"
        return "" if same else "pinning: another certificate"

    def _tell_session(self, engine: Engine) -> None:
        session = resumption.exported(engine, self.settings)
        if session is None:
            self._module.machine.trace.note("no session that could be resumed by its id")
            return
        wanted = self._profile.resumption
        quote = '"' if self._variants.on("resumption-quotes") else ""
        tag, strings = 2, list(self._module.sessions.plain(session))
        if wanted.kind == ENCRYPTED:
            tag, strings = 12, [self._module.sessions.encrypted(session)]
        data = ",".join(f"{quote}{text}{quote}" for text in strings)
        size = f",{len(strings[0])}" if tag == 12 else ""
        for text in (f"1,{wanted.kind}", f"{tag},{data}{size}"):
            self._module.tell(f"+UUSECPRF: {self._number or 0},13,{text}", at_once=self.before_result)


def _same_name(pattern: str, wanted: str) -> bool:
    """Compare as RFC 6125 does: a wildcard is the whole first label."""
    if not pattern.startswith("*."):
        return pattern == wanted
    return fnmatch.fnmatchcase(wanted, pattern) and wanted.count(".") == pattern.count(".")


def _pin(der: bytes, level: int) -> bytes:
    """Return what is compared: 0 the key's information, 1 the key, 2 everything."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if level == 2:
        return der
    key = certificate(der).public_key()
    if level == 1 and isinstance(key, rsa.RSAPublicKey):
        return key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    if level == 1 and isinstance(key, ec.EllipticCurvePublicKey):
        return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


class Association(SecureDatagrams):
    """DTLS of a socket under its profile."""

    def __init__(
        self,
        loop: Loop,
        trace: Trace,
        session: SecureSession,
        datagrams: Datagrams,
        peer: tuple[str, int],
        limit: float,
    ) -> None:
        super().__init__(loop, trace, session.settings, datagrams, peer, limit)
        self.prepare, self.judge = session.prepare, session.judge

    def write(self, data: bytes) -> bool:
        """Send one record; what does not fit into a datagram is not sent."""
        from modemtls.tlsengine import MessageSizeError

        try:
            return super().write(data)
        except MessageSizeError as error:
            self._trace.note(f"DTLS write: {error}")
            return False
