"""Mbed TLS 3.6 as shared libraries, by ctypes: where they are, what is called in them.

The environment variable ``MODEMTLS_MBEDTLS`` names a folder with ``libmbedtls.so.21`` and the two that it needs;
without it the system's are taken. ``.ci/fetch-mbedtls`` unpacks them without installing anything.

The library's structures are opaque here: over-sized zeroed buffers. What is read out of them is the head of a
certificate (x509_crt.h, x509.h, asn1.h of 3.6), which is checked against what was parsed.
"""

from __future__ import annotations

import ctypes as c
import os
from functools import cache
from pathlib import Path
from typing import Any

from modemtls.tlsengine.errors import EngineUnavailableError

__all__ = ["SIZE", "VARIABLE", "Certificate", "Library", "library"]

VARIABLE = "MODEMTLS_MBEDTLS"
_NAMES = ("libmbedcrypto.so.16", "libmbedx509.so.7", "libmbedtls.so.21")  # the sonames of all of 3.6, in this order
_SERIES = 0x0306
_DEBUG_ALERTS = 2  # the level at which the library tells of alerts that it receives (ssl_msg.c)
SIZE = c.c_size_t
_SIZES = {"ssl": 16384, "config": 8192, "crt": 4096, "crl": 4096, "pk": 4096, "session": 4096, "entropy": 8192}
_SMALL = 2048


class _Der(c.Structure):
    _fields_ = (("tag", c.c_int), ("length", c.c_size_t), ("data", c.c_void_p))


class Certificate(c.Structure):
    """The head of ``mbedtls_x509_crt``."""

    _fields_ = (("own_buffer", c.c_int), ("raw", _Der))

    @property
    def der(self) -> bytes:
        """The whole certificate; empty if nothing was parsed."""
        return c.string_at(self.raw.data, self.raw.length) if self.raw.data else b""


class Library:
    """The three libraries. Attributes are their functions; ``mbedtls_`` is left out of the names."""

    def __init__(self, crypto: c.CDLL, x509: c.CDLL, tls: c.CDLL) -> None:
        self._of = (tls, x509, crypto)
        self.ssl_get_ciphersuite_name.restype = c.c_char_p
        self.ssl_get_version.restype = c.c_char_p
        self.ssl_get_alpn_protocol.restype = c.c_char_p
        self.ssl_get_peer_cert.restype = c.c_void_p
        self.ssl_get_verify_result.restype = c.c_uint32
        self.ssl_list_ciphersuites.restype = c.POINTER(c.c_int)

    def __getattr__(self, name: str) -> Any:
        """Return the function ``mbedtls_<name>``, wherever it is."""
        for one in self._of:
            function = getattr(one, f"mbedtls_{name}", None)
            if function is not None:
                setattr(self, name, function)
                return function
        raise EngineUnavailableError(f"mbedtls: the library has no function mbedtls_{name}")

    def suites(self) -> frozenset[int]:
        """Return the IANA numbers of the suites that the library has."""
        listed, found, at = self.ssl_list_ciphersuites(), set(), 0
        while listed[at]:
            found.add(int(listed[at]))
            at += 1
        return frozenset(found)

    def words(self, code: int) -> str:
        """Return the library's words for one of its (negative) error numbers."""
        text = c.create_string_buffer(200)
        self.strerror(code, text, SIZE(len(text)))
        return text.value.decode("ascii", "replace")

    def new(self, kind: str, prefix: str) -> c.Array[c.c_char]:
        """Return a structure, initialised by ``mbedtls_<prefix>_init`` in a zeroed buffer that has room for it."""
        made = c.create_string_buffer(_SIZES.get(kind, _SMALL))
        getattr(self, f"{prefix}_init")(made)
        return made


@cache
def library() -> Library:
    """Load the libraries; raises :exc:`modemtls.tlsengine.EngineUnavailableError` with the reason."""
    folder = os.environ.get(VARIABLE, "")
    where = f"in {folder} ({VARIABLE})" if folder else f"in the system (and {VARIABLE} names no folder)"
    loaded = []
    for name in _NAMES:
        try:
            loaded.append(c.CDLL(str(Path(folder) / name) if folder else name, c.RTLD_GLOBAL))
        except OSError as error:
            raise EngineUnavailableError(f"mbedtls: no {name} {where}: {error}") from error
    crypto, x509, tls = loaded
    number = int(crypto.mbedtls_version_get_number())
    if number >> 16 != _SERIES:
        raise EngineUnavailableError(f"mbedtls: version {number >> 24}.{number >> 16 & 255} {where}; it has to be 3.6")
    if crypto.mbedtls_version_check_feature(b"MBEDTLS_SSL_DTLS_CONNECTION_ID") != 0:
        raise EngineUnavailableError(f"mbedtls: built without Connection ID {where}")
    failed = crypto.psa_crypto_init()
    if failed:
        raise EngineUnavailableError(f"mbedtls: its random numbers cannot be initialised ({failed})")
    tls.mbedtls_debug_set_threshold(_DEBUG_ALERTS)
    return Library(crypto, x509, tls)
