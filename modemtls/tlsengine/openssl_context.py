"""Settings made into an OpenSSL context."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from modemtls.tlsengine import blocks, openssl_psk, sessions, suites
from modemtls.tlsengine.errors import CredentialError, SettingsError, UnsupportedError
from modemtls.tlsengine.openssl_library import SSL, ffi, lib
from modemtls.tlsengine.openssl_verify import certificate, load_trust, verify_callback
from modemtls.tlsengine.settings import Verify, Version

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modemtls.tlsengine.contract import VerifyError
    from modemtls.tlsengine.errors import Alert
    from modemtls.tlsengine.settings import Settings
    from modemtls.tlsengine.suites import Suite

__all__ = ["NO_CID", "NoCommonProtocolError", "Notes", "OpenSslSettings"]

NO_CID = "openssl: no Connection ID"
_LEAST_WAIT = 1.0  # s: OpenSSL's own first wait (d1_lib.c, dtls1_start_timer), which can only be made longer
_DTLS = {Version.TLS1_0: 0xFEFF, Version.TLS1_1: 0xFEFF, Version.TLS1_2: 0xFEFD}
# Signatures that security level 2 allows (at least 112 bits), for where the level had to be lowered.
_SIGNATURES = (
    b"ecdsa_secp256r1_sha256:ecdsa_secp384r1_sha384:ecdsa_secp521r1_sha512:ed25519:ed448:rsa_pss_pss_sha256:"
    b"rsa_pss_pss_sha384:rsa_pss_pss_sha512:rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:RSA+SHA256:"
    b"RSA+SHA384:RSA+SHA512"
)


class NoCommonProtocolError(Exception):
    """The client offers other ALPN protocols only."""


@dataclass(slots=True)
class Notes:
    """What the callbacks of a context note about one connection."""

    peer: bytes = b""
    received: Alert | None = None
    sent: Alert | None = None
    wrong: list[VerifyError] = field(default_factory=list)
    refused: bool = False
    psk_identity: bytes | None = None
    external: bool = False


class OpenSslSettings:
    """A context for connections, and what has to live as long as it.

    Raises :exc:`modemtls.tlsengine.SettingsError` for what OpenSSL cannot do or read.
    """

    def __init__(self, settings: Settings) -> None:
        self._refuse_unsupported(settings)
        self.settings = settings
        self.demands = sessions.demands("openssl", settings)
        chosen = self._suites(settings)
        self.context = SSL.Context(SSL.DTLS_METHOD if settings.datagram else SSL.TLS_METHOD)
        lowered = self._set_versions_and_suites(chosen)
        self._held: list[object] = []
        self._set_verification(own_strength=lowered and not settings.legacy)
        if settings.chain:
            _use_identity(self.context, settings)
        if settings.psk is not None or settings.psks:
            self._held += openssl_psk.install(self.context, settings, chosen)
        if settings.server:
            self._serve(chosen)
        if settings.alpn:
            self._set_alpn()
        if not settings.tickets:
            self.context.set_options(SSL.OP_NO_TICKET)
        if settings.keylog is not None:
            keylog = settings.keylog
            self.context.set_keylog_callback(lambda _, line: keylog(line))

    @staticmethod
    def _refuse_unsupported(settings: Settings) -> None:
        if settings.cid is not None:
            raise UnsupportedError(NO_CID)
        if settings.fragment is not None:  # OpenSSL can, but cryptography does not export it
            raise UnsupportedError("openssl: cannot ask for small records")
        timers = settings.timers
        if timers is not None and timers.minimum < _LEAST_WAIT:
            raise UnsupportedError(f"openssl: no retransmission before {_LEAST_WAIT:.0f} s")

    @staticmethod
    def _suites(settings: Settings) -> tuple[Suite, ...]:
        chosen = suites.select(
            settings.suites,
            certificate=settings.psk is None and (bool(settings.chain) or not settings.server),
            psk=settings.psk is not None or bool(settings.psks),
            datagram=settings.datagram,
            tls13=settings.highest >= Version.TLS1_3,
            tls12=settings.min_version < Version.TLS1_3,
        )
        chosen = tuple(suite for suite in chosen if suite.openssl)
        if not chosen:
            raise SettingsError("openssl: no cipher suite is left that fits versions and credentials")
        return chosen

    def _set_versions_and_suites(self, chosen: Sequence[Suite]) -> bool:
        """Return whether the security level had to be lowered."""
        settings = self.settings
        of_1_3 = [suite.openssl for suite in chosen if suite.tls13]
        others = [suite.openssl for suite in chosen if not suite.tls13]
        low, high = settings.min_version, settings.highest
        if not of_1_3:
            high = min(high, Version.TLS1_2)
        if not others:
            low = max(low, Version.TLS1_3)
        # Level 0: tags of 64 bits are held to be too short above it, TLS 1.0 and 1.1 by their signatures.
        lowered = settings.legacy or low < Version.TLS1_2 or any(suite.short_tag for suite in chosen)
        try:
            self.context.set_min_proto_version(_DTLS[low] if settings.datagram else low)
            self.context.set_max_proto_version(_DTLS[high] if settings.datagram else high)
            listed = [*(others or ["DEFAULT"]), *(["@SECLEVEL=0"] if lowered else [])]
            self.context.set_cipher_list(":".join(listed).encode())
            if of_1_3:
                self.context.set_tls13_ciphersuites(":".join(of_1_3).encode())
        except SSL.Error as error:
            raise SettingsError("openssl: these versions and cipher suites cannot be set") from error
        if lowered and not settings.legacy:
            lib.SSL_CTX_set1_sigalgs_list(self.context._context, _SIGNATURES)  # noqa: SLF001 - probed
        return lowered

    def _set_verification(self, *, own_strength: bool) -> None:
        settings = self.settings
        load_trust(self.context, settings)
        modes = {
            Verify.NONE: SSL.VERIFY_NONE,
            Verify.OPTIONAL: SSL.VERIFY_PEER,
            Verify.REQUIRED: SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT,
            Verify.JUDGED: SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT,
        }
        mode = SSL.VERIFY_PEER if settings.psk is not None else modes[settings.verify]
        if settings.psks and not settings.chain:
            mode = SSL.VERIFY_NONE  # no suite with certificates is left
        callback = verify_callback(settings, own_strength=own_strength)
        self._held.append(callback)
        lib.SSL_CTX_set_verify(self.context._context, mode, callback)  # noqa: SLF001 - probed

    def _serve(self, chosen: Sequence[Suite]) -> None:
        # Without it a resumption by a client with a certificate ends in an alert (SSL_CTX_set_verify(3)).
        self.context.set_session_id(hashlib.sha256(self.demands).digest())
        if any("DHE" in suite.name and "ECDHE" not in suite.name for suite in chosen):
            _set_dh(self.context)
        if self.settings.datagram and self.settings.cookies:
            secret = secrets.token_bytes(32)

            def cookie(connection: SSL.Connection) -> bytes:
                return hmac.new(secret, connection.get_app_data().peer, hashlib.sha256).digest()

            self.context.set_cookie_generate_callback(cookie)
            self.context.set_cookie_verify_callback(lambda c, shown: hmac.compare_digest(cookie(c), shown))

    def _set_alpn(self) -> None:
        ours = self.settings.alpn
        if not self.settings.server:
            self.context.set_alpn_protos(list(ours))
            return

        def choose(_: SSL.Connection, theirs: list[bytes]) -> bytes:
            for protocol in ours:
                if protocol in theirs:
                    return protocol
            raise NoCommonProtocolError

        self.context.set_alpn_select_callback(choose)


def _use_identity(context: SSL.Context, settings: Settings) -> None:
    ders = blocks.objects(settings.chain, blocks.CERTIFICATES, "own certificate")
    leaf, *others = (certificate(der, "own certificate") for der in ders)
    load = load_der_private_key if settings.key[:1] == b"\x30" else load_pem_private_key
    try:
        private: Any = load(settings.key, settings.key_password or None)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        how = "its password does not open it, or it cannot" if settings.key_password else "it cannot"
        raise CredentialError(f"own key: {how} be read") from None  # what it says may hold parts of the key
    try:
        context.use_certificate(leaf)
        for other in others:
            context.add_extra_chain_cert(other)
        context.use_privatekey(private)
        context.check_privatekey()
    except (SSL.Error, TypeError) as error:
        raise CredentialError("the own key does not belong to the own certificate") from error


@cache
def _ffdhe2048() -> bytes:
    """Return RFC 7919's group of 2048 bits as PEM: p = 2^2048 - 2^1984 + ([2^1918 * e] + 560316) * 2^64 - 1, g = 2."""
    guard = 64
    e, term, k = 0, 1 << (1918 + guard), 0
    while term:
        e, k = e + term, k + 1
        term //= k
    prime = (1 << 2048) - (1 << 1984) + ((e >> guard) + 560316 << 64) - 1
    number = b"\x02\x82\x01\x01\0" + prime.to_bytes(256, "big")
    der = b"\x30\x82" + (len(number) + 3).to_bytes(2, "big") + number + b"\x02\x01\x02"  # DHParameter, PKCS #3
    return b"-----BEGIN DH PARAMETERS-----\n" + base64.encodebytes(der) + b"-----END DH PARAMETERS-----\n"


def _set_dh(context: SSL.Context) -> None:
    pem = _ffdhe2048()
    memory = lib.BIO_new_mem_buf(pem, len(pem))
    parameters = lib.PEM_read_bio_DHparams(memory, ffi.NULL, ffi.NULL, ffi.NULL)
    lib.SSL_CTX_set_tmp_dh(context._context, parameters)  # noqa: SLF001 - probed
    lib.DH_free(parameters)
    lib.BIO_free(memory)
