"""Settings made into an Mbed TLS configuration."""

from __future__ import annotations

import ctypes as c
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from modemtls.tlsengine import blocks, sessions, suites
from modemtls.tlsengine.errors import CredentialError, SettingsError, UnsupportedError
from modemtls.tlsengine.mbedtls_library import SIZE, Certificate, library
from modemtls.tlsengine.names import is_address, wire_name
from modemtls.tlsengine.settings import FRAGMENTS, Verify, Version

if TYPE_CHECKING:
    from modemtls.tlsengine.mbedtls_io import Notes
    from modemtls.tlsengine.settings import Settings

__all__ = ["MbedSettings"]

_SERVER, _DATAGRAM, _DEFAULT = 1, 1, 0  # ssl.h: MBEDTLS_SSL_IS_SERVER, …_TRANSPORT_DATAGRAM, …_PRESET_DEFAULT
_OPTIONAL, _REQUIRED, _NONE = 1, 2, 0  # MBEDTLS_SSL_VERIFY_…
_IGNORE_OTHER_CIDS = 0  # MBEDTLS_SSL_UNEXPECTED_CID_IGNORE
_DTLS_1_2 = (3, 3)
_UNKNOWN_IDENTITY = -0x7C80  # MBEDTLS_ERR_SSL_UNKNOWN_IDENTITY
_NO_TICKETS = 0  # MBEDTLS_SSL_SESSION_TICKETS_DISABLED
_ANY = 0xFFFFFFFF
_REMEMBERED = 256
_VERIFY = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.c_int, c.POINTER(c.c_uint32))
_DEBUG = c.CFUNCTYPE(None, c.c_void_p, c.c_int, c.c_char_p, c.c_int, c.c_char_p)
_BY_NAME = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.c_void_p, c.c_size_t)


class MbedSettings:
    """A configuration for connections, and all that has to live as long as it.

    Raises :exc:`modemtls.tlsengine.SettingsError` for what Mbed TLS cannot do or read, and
    :exc:`modemtls.tlsengine.EngineUnavailableError` if it is not there. ``current`` are the notes of the engine that is
    calling the library, for callbacks that are not told which it is.
    """

    def __init__(self, settings: Settings) -> None:
        _refuse_unsupported(settings)
        self.settings = settings
        self.library = lib = library()
        self.demands = sessions.demands("mbedtls", settings)
        self.current: Notes | None = None
        self.known: OrderedDict[bytes, None] = OrderedDict()
        self._held: list[Any] = []
        self.rng = self._new("rng", "ctr_drbg")
        entropy = self._new("entropy", "entropy")
        self.check(lib.ctr_drbg_seed(self.rng, lib.entropy_func, entropy, b"", SIZE(0)), "random numbers")
        self.config = self._new("config", "ssl_config")
        self.check(lib.ssl_config_defaults(self.config, int(settings.server), _DATAGRAM, _DEFAULT), "configuration")
        lib.ssl_conf_rng(self.config, lib.ctr_drbg_random, self.rng)
        lib.ssl_conf_min_version(self.config, *_DTLS_1_2)
        lib.ssl_conf_max_version(self.config, *_DTLS_1_2)
        self._set_suites()
        self._set_trust()
        self._set_identity()
        self._set_keys()
        self._set_rest()

    def _new(self, kind: str, prefix: str) -> Any:
        made = self.library.new(kind, prefix)
        self._held.append(made)
        weakref.finalize(self, getattr(self.library, f"{prefix}_free"), made)
        return made

    def check(self, code: int, what: str, error: type[SettingsError] = SettingsError) -> None:
        """Raise ``error`` if the library returned one."""
        if code < 0:
            raise error(f"mbedtls: {what}: {self.library.words(code)}")

    def remember(self, digest: bytes) -> bool:
        """Note a connection's secret by its digest; returns whether it was known: then it was resumed."""
        known = digest in self.known
        self.known[digest] = None
        while len(self.known) > _REMEMBERED:
            self.known.popitem(last=False)
        return known

    # --- parts ------------------------------------------------------------------------------------

    def _set_suites(self) -> None:
        settings, has = self.settings, self.library.suites()
        chosen = suites.select(
            settings.suites,
            certificate=settings.psk is None and (bool(settings.chain) or not settings.server),
            psk=settings.psk is not None or bool(settings.psks),
            datagram=True,
        )
        numbers = [suite.number for suite in chosen if suite.number in has]
        if not numbers:
            raise SettingsError("mbedtls: no cipher suite is left that fits versions and credentials")
        listed = (c.c_int * (len(numbers) + 1))(*numbers, 0)
        self._held.append(listed)
        self.library.ssl_conf_ciphersuites(self.config, listed)

    def _set_trust(self) -> None:
        settings, lib = self.settings, self.library
        self.anchors = frozenset(blocks.objects(settings.anchors, blocks.CERTIFICATES, "trust anchor"))
        trusted = self._new("crt", "x509_crt")
        for der in (*blocks.objects(settings.ca, blocks.CERTIFICATES, "CA certificate"), *self.anchors):
            code = lib.x509_crt_parse_der(trusted, der, SIZE(len(der)))
            self.check(code, "CA certificate", CredentialError)
        revoked = None
        for der in blocks.objects(settings.crls, blocks.CRLS, "CRL"):
            revoked = revoked or self._new("crl", "x509_crl")
            self.check(lib.x509_crl_parse_der(revoked, der, SIZE(len(der))), "CRL", CredentialError)
        lib.ssl_conf_ca_chain(self.config, trusted, revoked)
        mode = _OPTIONAL
        if settings.server:
            mode = {Verify.NONE: _NONE, Verify.REQUIRED: _REQUIRED}.get(settings.verify, _OPTIONAL)
        elif settings.verify in (Verify.OPTIONAL, Verify.REQUIRED):
            mode = _REQUIRED
        lib.ssl_conf_authmode(self.config, mode)
        if settings.legacy:
            profile = (c.c_uint32 * 4)(
                _ANY, _ANY, _ANY, 512
            )  # mbedtls_x509_crt_profile: hashes, keys, curves, RSA bits
            self._held.append(profile)
            lib.ssl_conf_cert_profile(self.config, profile)

        def verify(_: int, pointer: int, depth: int, flags: Any) -> int:
            assert self.current is not None
            return self.current.judge.certificate(pointer, depth, flags)

        self._keep(_VERIFY(verify), lambda held: lib.ssl_conf_verify(self.config, held, None))

    def _keep(self, callback: Any, install: Any) -> None:
        self._held.append(callback)
        install(callback)

    def _set_identity(self) -> None:
        settings, lib = self.settings, self.library
        if not settings.chain:
            return
        chain, key = self._new("crt", "x509_crt"), self._new("pk", "pk")
        for der in blocks.objects(settings.chain, blocks.CERTIFICATES, "own certificate"):
            self.check(lib.x509_crt_parse_der(chain, der, SIZE(len(der))), "own certificate", CredentialError)
        text = settings.key if settings.key[:1] == b"\x30" else settings.key + b"\0"  # PEM has to end in NUL
        password = settings.key_password or None
        length = SIZE(len(settings.key_password))
        code = lib.pk_parse_key(key, text, SIZE(len(text)), password, length, lib.ctr_drbg_random, self.rng)
        self.check(code, "own key", CredentialError)
        public = c.create_string_buffer(4096)
        written = lib.pk_write_pubkey_der(key, public, SIZE(len(public)))  # at the end of the buffer
        self.check(written, "own key", CredentialError)
        if public.raw[len(public) - written :] not in Certificate.from_buffer(chain).der:
            raise CredentialError("the own key does not belong to the own certificate")
        self.check(lib.ssl_conf_own_cert(self.config, chain, key), "own certificate", CredentialError)

    def _set_keys(self) -> None:
        settings, lib = self.settings, self.library
        if settings.psk is not None:
            identity, key = settings.psk.identity, settings.psk.key
            code = lib.ssl_conf_psk(self.config, key, SIZE(len(key)), identity, SIZE(len(identity)))
            self.check(code, f"a pre-shared key of {len(key)} bytes, identity {len(identity)}", UnsupportedError)
        if not settings.psks:
            return
        keys = dict(settings.psks)

        def find(_: int, ssl: int, shown: int, length: int) -> int:
            identity = c.string_at(shown, length)
            if self.current is not None:
                self.current.psk_identity = identity
            key = keys.get(identity)
            if key is None:
                return _UNKNOWN_IDENTITY
            return int(lib.ssl_set_hs_psk(c.c_void_p(ssl), key, SIZE(len(key))))

        self._keep(_BY_NAME(find), lambda held: lib.ssl_conf_psk_cb(self.config, held, None))

    def _set_rest(self) -> None:
        settings, lib = self.settings, self.library
        if settings.timers is not None:
            limits = (round(settings.timers.minimum * 1000), round(settings.timers.maximum * 1000))
            lib.ssl_conf_handshake_timeout(self.config, *(c.c_uint32(max(1, limit)) for limit in limits))
        if settings.alpn:
            names = (c.c_char_p * (len(settings.alpn) + 1))(*settings.alpn, None)
            self._held.append(names)
            self.check(lib.ssl_conf_alpn_protocols(self.config, names), "ALPN")
        if settings.cid is not None:
            code = lib.ssl_conf_cid(self.config, SIZE(len(settings.cid)), _IGNORE_OTHER_CIDS)
            self.check(code, f"a Connection ID of {len(settings.cid)} bytes", UnsupportedError)
        if settings.fragment is not None:
            code = FRAGMENTS.index(settings.fragment) + 1  # RFC 6066, 4, and ssl.h: MBEDTLS_SSL_MAX_FRAG_LEN_512 is 1
            self.check(lib.ssl_conf_max_frag_len(self.config, c.c_ubyte(code)), "the length of fragments")
        if settings.server:
            self._serve()
        elif not settings.tickets:
            lib.ssl_conf_session_tickets(self.config, _NO_TICKETS)

        def debug(_context: int, _level: int, _file: bytes, _line: int, text: bytes) -> None:
            if self.current is not None:
                self.current.told(text)

        self._keep(_DEBUG(debug), lambda held: lib.ssl_conf_dbg(self.config, held, None))

    def _serve(self) -> None:
        lib = self.library
        cache = self._new("cache", "ssl_cache")
        lib.ssl_conf_session_cache(self.config, cache, lib.ssl_cache_get, lib.ssl_cache_set)
        if self.settings.cookies:
            cookie = self._new("cookie", "ssl_cookie")
            self.check(lib.ssl_cookie_setup(cookie, lib.ctr_drbg_random, self.rng), "cookies")
            lib.ssl_conf_dtls_cookies(self.config, lib.ssl_cookie_write, lib.ssl_cookie_check, cookie)
        else:
            lib.ssl_conf_dtls_cookies(self.config, None, None, None)

        def named(_: int, _ssl: int, shown: int, length: int) -> int:
            if self.current is not None:
                self.current.server_name = c.string_at(shown, length).decode("ascii", "replace")
            return 0

        self._keep(_BY_NAME(named), lambda held: lib.ssl_conf_sni(self.config, held, None))


def _refuse_unsupported(settings: Settings) -> None:
    if not settings.datagram:
        raise UnsupportedError("mbedtls: serves datagrams only")
    if settings.highest < Version.TLS1_2:
        raise UnsupportedError("mbedtls: no DTLS below 1.2")
    if settings.psk_hint:
        raise UnsupportedError("mbedtls: sends no hint for pre-shared keys")
    for name in (settings.server_name, settings.host):
        if name and not is_address(name):
            wire_name(name)
