"""A TLS client without sockets: bytes in, bytes out. Neutral: it knows neither modems nor their simulation.

Built on pyOpenSSL's memory BIO, which brings an OpenSSL of its own that still speaks TLS 1.0 to 1.3 and lets the
verification
time be chosen. A few functions that ``cryptography`` exports but pyOpenSSL does not wrap are used under their private
names; they
are looked up when this module is imported, and :exc:`EngineUnavailableError` names what is missing, in one line.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

__all__ = ["Client", "ClientSettings", "EngineUnavailableError", "Info", "SettingsError", "TlsError", "WantReadError"]

if TYPE_CHECKING:
    from datetime import datetime


class EngineUnavailableError(ImportError):
    """The TLS engine cannot be used; the text says what to install."""


class SettingsError(ValueError):
    """A certificate, key or suite list that the engine cannot use."""


class TlsError(Exception):
    """The handshake or the connection failed.

    ``reason`` is for people; ``verify_code`` is OpenSSL's, 0 if verification was not it.
    """

    def __init__(self, reason: str, verify_code: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.verify_code = verify_code


class WantReadError(Exception):
    """Nothing can be done before more bytes of the peer have been fed."""


_NEEDED = (
    "SSL_get0_param",
    "SSL_get_verify_result",
    "X509_VERIFY_PARAM_set1_host",
    "X509_VERIFY_PARAM_set1_ip",
    "X509_VERIFY_PARAM_set_flags",
    "X509_VERIFY_PARAM_set_hostflags",
    "X509_VERIFY_PARAM_set_time",
    "X509_verify_cert_error_string",
    "SSL_session_reused",
)
_HINT = "install it with: pip install 'modemtls[sim]'"

try:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from OpenSSL import SSL, crypto
    from OpenSSL._util import ffi, lib
except ImportError as error:
    raise EngineUnavailableError(f"the TLS engine needs pyOpenSSL and cryptography ({error}); {_HINT}") from error
_missing = [name for name in _NEEDED if not hasattr(lib, name)]
if _missing:
    raise EngineUnavailableError(
        f"this version of cryptography does not export {', '.join(_missing)}, which the TLS engine needs; {_HINT}"
    )

_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, openssl/x509_vfy.h
_NEVER_CHECK_SUBJECT = 0x20  # X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, openssl/x509v3.h
_VERSIONS = {
    "TLSv1": SSL.TLS1_VERSION,
    "TLSv1.1": SSL.TLS1_1_VERSION,
    "TLSv1.2": SSL.TLS1_2_VERSION,
    "TLSv1.3": SSL.TLS1_3_VERSION,
}
_READ_SIZE = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """What a connection may do and what it demands of the peer.

    Versions are ``TLSv1``, ``TLSv1.1``, ``TLSv1.2`` or ``TLSv1.3``. ``ciphers`` is an OpenSSL list for up to TLS 1.2.
    ``ca``, ``cert`` (leaf first) and ``key`` are PEM. With ``verify`` the chain is checked, ``at`` a date (or now) or
    without regard to dates (``check_dates`` false). ``host`` is the name or address that the certificate must bear;
    ``server_name`` is sent as SNI.
    """

    min_version: str = "TLSv1.2"
    max_version: str = "TLSv1.2"
    ciphers: str = "DEFAULT"
    ca: bytes = b""
    cert: bytes = b""
    key: bytes = field(default=b"", repr=False)
    verify: bool = True
    check_dates: bool = True
    at: datetime | None = None
    host: str = ""
    common_name_counts: bool = True
    server_name: str = ""


@dataclass(frozen=True, slots=True)
class Info:
    """What was agreed on."""

    version: str
    cipher: str
    resumed: bool
    verify_code: int


def _context(settings: ClientSettings) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    try:
        context.set_min_proto_version(_VERSIONS[settings.min_version])
        context.set_max_proto_version(_VERSIONS[settings.max_version])
        context.set_cipher_list(settings.ciphers.encode())
    except (KeyError, SSL.Error) as error:
        raise SettingsError(f"no such version or cipher suites: {settings.ciphers}") from error
    context.set_verify(SSL.VERIFY_PEER if settings.verify else SSL.VERIFY_NONE, lambda *args: bool(args[-1]))
    if settings.ca:
        store = context.get_cert_store()
        if store is None:
            raise SettingsError("no certificate store")
        for certificate in _certificates(settings.ca, "CA certificate"):
            store.add_cert(crypto.X509.from_cryptography(certificate))
    if settings.cert or settings.key:
        _use_identity(context, settings.cert, settings.key)
    return context


def _certificates(pem: bytes, what: str) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SettingsError(f"the {what} is not PEM: {error}") from error
    return found


def _use_identity(context: SSL.Context, cert: bytes, key: bytes) -> None:
    leaf, *others = _certificates(cert, "client certificate")
    try:
        private: Any = load_pem_private_key(key, None)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise SettingsError("the client key is not an unencrypted PEM key") from error
    try:
        context.use_certificate(leaf)
        for other in others:
            context.add_extra_chain_cert(other)
        context.use_privatekey(private)
        context.check_privatekey()
    except (SSL.Error, TypeError) as error:
        raise SettingsError("the client key does not belong to the client certificate") from error


class Client:
    """One TLS connection of a client. Feed what arrived, send what :meth:`take` returns, after every call.

    Raises :exc:`SettingsError` at once for certificates and suites that cannot be used.
    """

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._connection = SSL.Connection(_context(settings), None)
        self._connection.set_connect_state()
        ssl = self._connection._ssl  # noqa: SLF001 - probed above
        parameters = lib.SSL_get0_param(ssl)
        if not settings.check_dates:
            lib.X509_VERIFY_PARAM_set_flags(parameters, _NO_CHECK_TIME)
        elif settings.at is not None:
            lib.X509_VERIFY_PARAM_set_time(parameters, int(settings.at.timestamp()))
        if settings.host:
            self._demand_host(parameters, settings.host)
        if settings.server_name and not _is_address(settings.server_name):
            self._connection.set_tlsext_host_name(_wire_name(settings.server_name))
        self._ssl = ssl

    def _demand_host(self, parameters: Any, host: str) -> None:
        if _is_address(host):
            packed = ipaddress.ip_address(host).packed
            lib.X509_VERIFY_PARAM_set1_ip(parameters, packed, len(packed))
            return
        if not self._settings.common_name_counts:
            lib.X509_VERIFY_PARAM_set_hostflags(parameters, _NEVER_CHECK_SUBJECT)
        name = _wire_name(host)
        lib.X509_VERIFY_PARAM_set1_host(parameters, name, len(name))

    def feed(self, data: bytes) -> None:
        """Take bytes of the peer; ``b""`` means that it has ended the stream."""
        if data:
            self._connection.bio_write(data)
        else:
            self._connection.bio_shutdown()

    def take(self) -> list[bytes]:
        """Return what has to be sent."""
        out = []
        while True:
            try:
                out.append(self._connection.bio_read(_READ_SIZE))
            except SSL.WantReadError:
                return out

    def handshake(self) -> None:
        """Go on with the handshake; returns when it is done. Raises :exc:`WantReadError` or :exc:`TlsError`."""
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            raise WantReadError from None
        except SSL.Error as error:
            raise self._error(error, "handshake") from error

    def write(self, data: bytes) -> None:
        """Encrypt ``data``; raises :exc:`TlsError`."""
        view = memoryview(data)
        while view:
            try:
                view = view[self._connection.send(view[:16384]) :]
            except SSL.WantReadError:
                raise WantReadError from None
            except SSL.Error as error:
                raise self._error(error, "write") from error

    def read(self) -> bytes:
        """Return decrypted bytes, or ``b""`` after the peer's close_notify.

        Raises :exc:`WantReadError` or :exc:`TlsError`.
        """
        try:
            return self._connection.recv(_READ_SIZE)
        except SSL.WantReadError:
            raise WantReadError from None
        except SSL.ZeroReturnError:
            return b""
        except SSL.Error as error:
            raise self._error(error, "read") from error

    def close(self) -> None:
        """Say goodbye (close_notify)."""
        try:
            self._connection.shutdown()
        except SSL.Error:
            pass  # a connection that failed has nothing to say

    def info(self) -> Info:
        """Return what was agreed on."""
        return Info(
            version=self._connection.get_protocol_version_name(),
            cipher=self._connection.get_cipher_name() or "",
            resumed=bool(lib.SSL_session_reused(self._ssl)),
            verify_code=int(lib.SSL_get_verify_result(self._ssl)),
        )

    def _error(self, error: SSL.Error, during: str) -> TlsError:
        code = int(lib.SSL_get_verify_result(self._ssl)) if self._settings.verify else 0
        if during == "handshake" and code:
            text = ffi.string(lib.X509_verify_cert_error_string(code)).decode()
            return TlsError(f"certificate refused: {text} (verify code {code})", code)
        if isinstance(error, SSL.SysCallError):
            return TlsError(f"the peer ended the connection during the {during}")
        reasons = [entry[-1] for entry in error.args[0]] if error.args and isinstance(error.args[0], list) else []
        return TlsError(f"{during} failed: {'; '.join(reasons) or 'unknown reason'}")


def _wire_name(host: str) -> bytes:
    try:
        return host.encode("ascii") if host.isascii() else host.encode("idna")
    except UnicodeError as error:
        raise SettingsError(f"not a host name: {host!r}") from error


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
