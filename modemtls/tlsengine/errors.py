"""What can go wrong, typed; and alerts. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "Alert",
    "AlertReceivedError",
    "CertificateRefusedError",
    "CredentialError",
    "EngineUnavailableError",
    "HandshakeTimeoutError",
    "MessageSizeError",
    "ProtocolError",
    "SettingsError",
    "StreamEndedError",
    "TlsError",
    "UnsupportedError",
    "WantReadError",
]

# RFC 8446, section 6; RFC 5246, section 7.2, RFC 6066, RFC 4279 and RFC 7301 for the older and the added ones.
_ALERTS = {
    0: "close notify", 10: "unexpected message", 20: "bad record mac", 21: "decryption failed", 22: "record overflow",
    30: "decompression failure", 40: "handshake failure", 41: "no certificate", 42: "bad certificate",
    43: "unsupported certificate", 44: "certificate revoked", 45: "certificate expired", 46: "certificate unknown",
    47: "illegal parameter", 48: "unknown ca", 49: "access denied", 50: "decode error", 51: "decrypt error",
    60: "export restriction", 70: "protocol version", 71: "insufficient security", 80: "internal error",
    86: "inappropriate fallback", 90: "user canceled", 100: "no renegotiation", 109: "missing extension",
    110: "unsupported extension", 111: "certificate unobtainable", 112: "unrecognized name",
    113: "bad certificate status response", 114: "bad certificate hash value", 115: "unknown psk identity",
    116: "certificate required", 120: "no application protocol",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as it stood on the line. ``level``: 1 warning, 2 fatal."""

    level: int
    description: int

    @property
    def name(self) -> str:
        """The description in words, or its number."""
        return _ALERTS.get(self.description, f"alert {self.description}")

    def __str__(self) -> str:
        return self.name


class EngineUnavailableError(ImportError):
    """A TLS engine cannot be used; the text is one line and says what is missing."""


class SettingsError(ValueError):
    """The settings contradict themselves or hold something that cannot be used. Raised before any byte is sent."""


class CredentialError(SettingsError):
    """A certificate, key or CRL cannot be read, or the key does not belong to the certificate."""


class UnsupportedError(SettingsError):
    """The settings are right, but this engine cannot fulfil them; the text names what it cannot."""


class MessageSizeError(ValueError):
    """The payload does not fit into one datagram; nothing was sent.

    ``limit`` is the largest that does, in bytes.
    """

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"{size} bytes do not fit into one datagram; at most {limit} do")
        self.limit = limit


class WantReadError(Exception):
    """Nothing can be done before more of the peer has been fed, or, over datagrams, before the timer is due."""


class TlsError(Exception):
    """The handshake or the connection failed; the engine is of no use any more.

    ``reason`` is for people. ``code`` is the library's own error number, 0 if it has none to tell. ``received`` and
    ``sent`` are the last alerts of each direction, as far as there were any.
    """

    def __init__(self, reason: str, *, code: int = 0, received: Alert | None = None, sent: Alert | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.received = received
        self.sent = sent


class CertificateRefusedError(TlsError):
    """We refused the peer's certificate.

    ``verify_code`` is OpenSSL's number (X509_V_ERR_…), whichever engine refused, and ``verify_text`` its words.
    """

    def __init__(
        self,
        verify_code: int,
        verify_text: str,
        *,
        code: int = 0,
        received: Alert | None = None,
        sent: Alert | None = None,
    ) -> None:
        super().__init__(
            f"certificate refused: {verify_text} (verify code {verify_code})", code=code, received=received, sent=sent
        )
        self.verify_code = verify_code
        self.verify_text = verify_text


class AlertReceivedError(TlsError):
    """The peer ended it with a fatal alert: ``received`` is set."""


class StreamEndedError(TlsError):
    """The peer ended the stream where more had to come: in the handshake, or without close_notify."""


class HandshakeTimeoutError(TlsError):
    """The last flight went unanswered through every retransmission that the settings allow."""


class ProtocolError(TlsError):
    """Anything else: what the peer sent is no (D)TLS, breaks its rules, or offers nothing that we may take."""
