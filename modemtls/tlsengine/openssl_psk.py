"""Pre-shared keys for an OpenSSL context: the callbacks of TLS 1.2 (and DTLS) and those of TLS 1.3.

OpenSSL holds an identity of TLS 1.2 as a C string, and keys of up to 512 bytes, identities of up to 256 (ssl.h:
PSK_MAX_PSK_LEN, PSK_MAX_IDENTITY_LEN).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modemtls.tlsengine.errors import UnsupportedError
from modemtls.tlsengine.openssl_library import SSL, ffi, lib
from modemtls.tlsengine.settings import Version

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modemtls.tlsengine.settings import Settings
    from modemtls.tlsengine.suites import Suite

__all__ = ["install"]

_LONGEST_IDENTITY, _LONGEST_KEY = 256, 512
_TLS1_3 = 0x0304


def install(context: SSL.Context, settings: Settings, suites: Sequence[Suite]) -> list[object]:
    """Give ``context`` its pre-shared keys; return what has to live as long as it.

    With TLS 1.3 an external key belongs to one hash. By RFC 8446, 4.2.11, that is SHA-256 unless agreed otherwise;
    where only a suite with SHA-384 may be used, it is that.
    """
    keys = dict(settings.psks)
    if settings.psk is not None:
        keys[settings.psk.identity] = settings.psk.key
    for identity, key in keys.items():
        if settings.min_version < Version.TLS1_3 and b"\0" in identity:
            raise UnsupportedError("openssl: an identity of a pre-shared key with a NUL byte before TLS 1.3")
        if len(identity) > _LONGEST_IDENTITY or len(key) > _LONGEST_KEY:
            raise UnsupportedError("openssl: pre-shared keys of more than 512 bytes, or identities of more than 256")
    of_1_3 = [suite for suite in suites if suite.tls13]
    sha256 = [suite for suite in of_1_3 if suite.name.endswith("SHA256")]
    number = (sha256 or of_1_3)[0].number.to_bytes(2, "big") if of_1_3 else b""
    return _server(context, settings, number) if settings.server else _client(context, settings, number)


def _session(ssl: Any, key: bytes, number: bytes) -> Any:
    """Return the session that stands for an external key of TLS 1.3; OpenSSL frees it. NULL if it cannot be made."""
    session = lib.Cryptography_SSL_SESSION_new()
    cipher = lib.SSL_CIPHER_find(ssl, number)
    if (
        cipher == ffi.NULL
        or lib.SSL_SESSION_set1_master_key(session, key, len(key)) != 1
        or lib.SSL_SESSION_set_cipher(session, cipher) != 1
        or lib.SSL_SESSION_set_protocol_version(session, _TLS1_3) != 1
    ):
        lib.SSL_SESSION_free(session)
        return ffi.NULL
    return session


def _client(context: SSL.Context, settings: Settings, number: bytes) -> list[object]:
    assert settings.psk is not None
    identity, key = settings.psk.identity, settings.psk.key
    held = ffi.new("unsigned char[]", identity or b"\0")

    @ffi.callback("unsigned int(SSL *, const char *, char *, unsigned int, unsigned char *, unsigned int)")  # type: ignore[untyped-decorator]
    def up_to_1_2(_ssl: Any, _hint: Any, identity_to: Any, identity_max: int, key_to: Any, key_max: int) -> int:
        if len(identity) + 1 > identity_max or len(key) > key_max:
            return 0
        ffi.memmove(identity_to, identity + b"\0", len(identity) + 1)
        ffi.memmove(key_to, key, len(key))
        return len(key)

    @ffi.callback("int(SSL *, const EVP_MD *, const unsigned char **, size_t *, SSL_SESSION **)")  # type: ignore[untyped-decorator]
    def of_1_3(ssl: Any, _hash: Any, identity_to: Any, length_to: Any, session_to: Any) -> int:
        session_to[0] = _session(ssl, key, number) if number else ffi.NULL
        if session_to[0] != ffi.NULL:
            identity_to[0], length_to[0] = held, len(identity)
        return 1

    lib.SSL_CTX_set_psk_client_callback(context._context, up_to_1_2)  # noqa: SLF001 - probed in openssl_library
    lib.SSL_CTX_set_psk_use_session_callback(context._context, of_1_3)  # noqa: SLF001
    return [up_to_1_2, of_1_3, held]


def _server(context: SSL.Context, settings: Settings, number: bytes) -> list[object]:
    keys = dict(settings.psks)

    def notes(ssl: Any) -> Any:
        return SSL.Connection._reverse_mapping[ssl].get_app_data()  # noqa: SLF001

    @ffi.callback("unsigned int(SSL *, const char *, unsigned char *, unsigned int)")  # type: ignore[untyped-decorator]
    def up_to_1_2(ssl: Any, identity: Any, key_to: Any, key_max: int) -> int:
        shown = ffi.string(identity) if identity != ffi.NULL else b""
        key = keys.get(shown, b"")
        notes(ssl).psk_identity = shown
        if not key or len(key) > key_max:
            return 0
        ffi.memmove(key_to, key, len(key))
        return len(key)

    @ffi.callback("int(SSL *, const unsigned char *, size_t, SSL_SESSION **)")  # type: ignore[untyped-decorator]
    def of_1_3(ssl: Any, identity: Any, length: int, session_to: Any) -> int:
        shown = bytes(ffi.buffer(identity, length))
        key = keys.get(shown)
        session_to[0] = _session(ssl, key, number) if key and number else ffi.NULL
        if session_to[0] != ffi.NULL:
            notes(ssl).psk_identity, notes(ssl).external = shown, True
        return 1

    pointer = context._context  # noqa: SLF001
    lib.SSL_CTX_set_psk_server_callback(pointer, up_to_1_2)
    lib.SSL_CTX_set_psk_find_session_callback(pointer, of_1_3)
    if settings.psk_hint:
        lib.SSL_CTX_use_psk_identity_hint(pointer, settings.psk_hint)
    return [up_to_1_2, of_1_3]
