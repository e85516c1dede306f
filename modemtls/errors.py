"""The one exception tree of modemtls.

Every error that reaches a caller is a :class:`ModemError`, and so an :class:`OSError`: code written for sockets
keeps working. Where Python has a narrower type for the same event (``TimeoutError``, ``ConnectionResetError``,
``ssl.SSLError`` …) the class is that type too. Whose fault it is shows in the type.
"""

from __future__ import annotations

import errno
import socket
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "BearerLostError",
    "CertificateError",
    "CommandError",
    "ConfigurationError",
    "ConnectError",
    "ConnectOrHandshakeError",
    "CredentialError",
    "HandshakeError",
    "ModemError",
    "ModemRestartedError",
    "ModemTimeoutError",
    "NameResolutionError",
    "NetworkError",
    "NotAModemError",
    "NotSupportedError",
    "PdpError",
    "PinError",
    "PortBusyError",
    "PortError",
    "PortLostError",
    "RegistrationError",
    "SimError",
    "SocketClosedError",
    "SyncError",
]

#: Characters of one line of a message, and of one value quoted in it: enough to recognise it by.
MAX_LINE = 2000
MAX_QUOTED = 100


def printable(text: str) -> str:
    """Write whatever a terminal or a log viewer would act upon as an escape.

    That is every control character (C0, C1), every format character (overrides of the writing direction among them),
    line and paragraph separators, and half of a surrogate pair. What is escaped already stays as it is. Whatever came
    from a modem or a peer passes here before it becomes part of an error, a log or a screen.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def quoted(value: object) -> str:
    """Return the ``repr`` of what somebody gave, short enough for a message."""
    if isinstance(value, int) and value.bit_length() > 8 * MAX_QUOTED:  # Python refuses to write very long ones at all
        return f"a number of {value.bit_length()} bits"
    if isinstance(value, str | bytes) and len(value) > MAX_QUOTED:
        return f"{value[:MAX_QUOTED]!r}... (length {len(value)})"
    text = printable(repr(value))
    return text if len(text) <= 2 * MAX_QUOTED else f"{text[: 2 * MAX_QUOTED]}..."


def shortened(text: str, longest: int = MAX_LINE) -> str:
    """Leave the middle out of a message that is too long: what it quotes is there, what it says is around it."""
    return text if len(text) <= longest else f"{text[: longest * 2 // 3]} ... {text[len(text) - longest // 3 :]}"


def _presentable(message: str) -> str:
    if message.isprintable() and len(message) <= MAX_LINE:
        return message
    return "\n".join(shortened(printable(line)) for line in message.split("\n"))


class ModemError(OSError):
    """Anything that went wrong between the caller and the far end of the modem.

    ``errno`` is set where a POSIX number says the same. ``bytes_accepted`` is set by a send that failed half-way: so
    many bytes the modem had taken for certain. Messages are printable, and their lines of bounded length, whatever the
    modem or the caller gave.
    """

    default_errno: int | None = None
    bytes_accepted: int | None = None

    def __init__(self, message: str, *, number: int | None = None) -> None:
        message = _presentable(message)
        number = self.default_errno if number is None else number
        if number is None:
            super().__init__(message)
        else:
            super().__init__(number, message)
        self.message = message

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (type(self), self.args, dict(self.__dict__))


def _restore(kind: type[ModemError], arguments: tuple[object, ...], state: dict[str, object]) -> ModemError:
    """Make a copy, for copy and pickle: the constructors take other arguments than OSError keeps."""
    error = kind.__new__(kind)
    OSError.__init__(error, *arguments)
    error.__dict__.update(state)
    return error


class ConfigurationError(ModemError, ValueError):
    """The caller asked for something that can never work, and nothing was sent to the modem."""

    default_errno = errno.EINVAL


class NotSupportedError(ModemError):
    """The modem, its firmware or its profile lacks a capability; nothing was sent.

    ``capability`` names it as profiles do; ``choices`` are ways out that work today.
    """

    default_errno = errno.ENOTSUP

    def __init__(self, message: str, *, capability: str, choices: Sequence[str] = ()) -> None:
        text = message if not choices else f"{message}; choices: {'; or '.join(choices)}"
        super().__init__(text)
        self.capability = capability
        self.choices = tuple(choices)


class PortError(ModemError):
    """The serial port cannot be opened or used."""

    default_errno = errno.EIO


class PortBusyError(PortError):
    """Another process holds the serial port."""

    default_errno = errno.EBUSY


class PortLostError(PortError, ConnectionResetError):
    """The serial port went away while it was in use: unplugged, or closed by the other end."""

    default_errno = errno.ECONNRESET


class NotAModemError(PortError):
    """Something opened, but nothing that answers AT commands is behind it."""

    default_errno = errno.ENODEV


class SyncError(ModemError):
    """Command and answer could not be brought back into step; the line is unusable until it is reopened."""

    default_errno = errno.EPROTO


class ModemTimeoutError(ModemError, TimeoutError):
    """The modem or the peer did not answer in time."""

    default_errno = errno.ETIMEDOUT


class ModemRestartedError(ModemError, ConnectionResetError):
    """The modem restarted: its settings and sockets of before are gone."""

    default_errno = errno.ECONNRESET


class CommandError(ModemError):
    """The modem refused a command.

    ``command`` is the command as it may be shown (secrets masked), ``namespace`` and ``code`` the modem's own
    number and where it is defined, ``kind`` the neutral kind that the profile maps it to, ``text`` its meaning.
    """

    default_errno = errno.EIO

    def __init__(
        self,
        message: str,
        *,
        command: str = "",
        namespace: str = "",
        code: int | str | None = None,
        kind: str = "unknown",
        text: str = "",
        number: int | None = None,
    ) -> None:
        super().__init__(message, number=number)
        self.command = command
        self.namespace = namespace
        self.code = _presentable(code) if isinstance(code, str) else code
        self.kind = kind
        self.text = _presentable(text)


class SimError(ModemError):
    """No SIM, a locked SIM, or one that failed."""

    default_errno = errno.EACCES


class PinError(SimError):
    """The SIM's PIN is needed, was refused, or is not sent.

    A PIN that was sent and not accepted is not sent to that SIM again, by any process of this user, until the file
    that the error names is deleted; and none is sent unless that can be written down first.
    """


class NetworkError(ModemError):
    """The cellular network: registration, PDP context, bearer."""

    default_errno = errno.ENETDOWN


class RegistrationError(NetworkError):
    """The modem is not registered in a network."""


class PdpError(NetworkError):
    """The PDP context could not be configured, activated or kept."""


class BearerLostError(PdpError, ConnectionResetError):
    """The network ended the PDP context, and the connection with it."""


class CredentialError(ModemError):
    """A certificate or key could not be stored in the modem, or is none."""

    default_errno = errno.EINVAL


class NameResolutionError(ModemError, socket.gaierror):
    """The host name could not be resolved by the modem."""

    default_errno = socket.EAI_NONAME


class ConnectError(ModemError, ConnectionError):
    """The transport connection failed."""

    default_errno = errno.ECONNREFUSED


class HandshakeError(ModemError, ssl.SSLError):
    """The TLS handshake failed."""

    default_errno = ssl.SSL_ERROR_SSL


class CertificateError(HandshakeError, ssl.SSLCertVerificationError):
    """The peer's certificate was refused: chain, name, dates or purpose."""

    default_errno = ssl.SSL_ERROR_SSL


class ConnectOrHandshakeError(HandshakeError, ConnectionError):
    """Connection or handshake failed, and the modem does not say which."""


class SocketClosedError(ModemError, ConnectionResetError):
    """The connection ended without the caller asking for it."""

    default_errno = errno.ECONNRESET
