"""What an engine's failure is called in the contract."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from modemtls import tlsengine
from modemtls.errors import (
    CertificateError,
    ConfigurationError,
    CredentialError,
    HandshakeError,
    ModemError,
    ModemTimeoutError,
    NotSupportedError,
    TlsError,
)

if TYPE_CHECKING:
    from modemtls.tlsengine import Alert

__all__ = ["connection_failure", "handshake_failure", "setting_failure", "unavailable"]


def _alert(received: Alert | None) -> tuple[int, int] | None:
    return None if received is None else (received.level, received.description)


def handshake_failure(error: tlsengine.TlsError, where: str) -> ModemError:
    """Return the exception for a handshake with ``where`` that failed."""
    code = error.code or None
    if isinstance(error, tlsengine.HandshakeTimeoutError):
        return ModemTimeoutError(f"the handshake with {where} timed out: {error.reason}")
    if isinstance(error, tlsengine.CertificateRefusedError):
        return CertificateError(f"the certificate of {where} was refused: {error.verify_text}", library_code=code)
    if isinstance(error, tlsengine.AlertReceivedError):
        return HandshakeError(f"the handshake with {where} failed: {error.reason}", alert=_alert(error.received))
    return HandshakeError(f"the handshake with {where} failed: {error.reason}", library_code=code)


def connection_failure(error: tlsengine.TlsError) -> ModemError:
    """Return the exception for a secured connection that failed after its handshake."""
    if isinstance(error, tlsengine.AlertReceivedError):
        return TlsError(f"the connection failed: {error.reason}", alert=_alert(error.received))
    return TlsError(f"the connection failed: {error.reason}", library_code=error.code or None)


def setting_failure(error: tlsengine.SettingsError, capability: str) -> ModemError:
    """Return the exception for settings that an engine does not take; ``capability``: what they are about."""
    if isinstance(error, tlsengine.CredentialError):
        return CredentialError(str(error))
    if isinstance(error, tlsengine.UnsupportedError):
        return NotSupportedError(f"the host's TLS engines cannot do this: {error}", capability=capability)
    return ConfigurationError(str(error), number=errno.EINVAL)


def unavailable(error: tlsengine.EngineUnavailableError, capability: str) -> NotSupportedError:
    """Return the exception for an engine that is not installed."""
    return NotSupportedError(f"TLS on the host: {error}", capability=capability)
