"""The one exception tree of modemtls.

Every error that reaches a caller is a :class:`ModemError`, and so an :class:`OSError`: code written for sockets
keeps working. Where Python has a narrower type for the same event (``TimeoutError``, ``ConnectionResetError``,
``ssl.SSLError`` …) the class is that type too. Whose fault it is shows in the type. Each also has the portable pair of
the contract, ``category`` and ``code``.
"""

from __future__ import annotations

import enum
import errno
import socket
import ssl
from typing import TYPE_CHECKING, NamedTuple

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
    "TlsError",
    "TruncatedError",
]

#: Characters of one line of a message, and of one value quoted in it: enough to recognise it by.
MAX_LINE = 2000
MAX_QUOTED = 100


class Category(enum.IntEnum):
    """Where a portable code is defined (avs_commons 5.8, ``avs_errno.h`` and ``avs_socket.h``)."""

    ERRNO = 37766
    TLS_ALERT = 8572  # an alert the peer sent: level << 8 | description (RFC 5246, 7.2)
    TLS_LIBRARY = 8573  # the TLS library's own 16-bit code


class Errno(enum.IntEnum):
    """The portable error numbers that sockets use; *not* the C library's (avs_commons 5.8, ``avs_errno.h``)."""

    EADDRINUSE = 3
    EADDRNOTAVAIL = 4
    EAGAIN = 6
    EBADF = 8
    EBADMSG = 9
    ECONNABORTED = 12
    ECONNREFUSED = 13
    ECONNRESET = 14
    EHOSTUNREACH = 21
    EINVAL = 24
    EIO = 25
    EISCONN = 26
    EMSGSIZE = 31
    ENETDOWN = 33
    ENETUNREACH = 35
    ENOBUFS = 37
    ENOENT = 39
    ENOMEM = 42
    ENOTCONN = 48
    ENOTSUP = 52
    EPIPE = 57
    EPROTO = 58
    ERANGE = 61
    ETIMEDOUT = 65
    UNKNOWN = 65535


class ErrorPair(NamedTuple):
    """What the contract calls an error; code 0 is success in every category."""

    category: Category
    code: int


_PORTABLE = {getattr(errno, name): value for name, value in Errno.__members__.items() if hasattr(errno, name)}


def portable_errno(number: int | None) -> Errno:
    """Return the portable number for one of this platform's."""
    return Errno.UNKNOWN if number is None else _PORTABLE.get(number, Errno.UNKNOWN)


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
    modem or the caller gave. ``alert`` is the level and description of a TLS alert that the peer sent, ``library_code``
    the TLS library's own number, where there was one.
    """

    default_errno: int | None = None
    default_portable: Errno | None = None  # where ``errno`` belongs to another numbering: ssl's, getaddrinfo's
    bytes_accepted: int | None = None
    alert: tuple[int, int] | None = None
    library_code: int | None = None

    def __init__(self, message: str, *, number: int | None = None) -> None:
        message = _presentable(message)
        number = self.default_errno if number is None else number
        if number is None:
            super().__init__(message)
        else:
            super().__init__(number, message)
        self.message = message

    @property
    def pair(self) -> ErrorPair:
        """The portable pair of category and code."""
        if self.alert is not None:
            level, description = self.alert
            return ErrorPair(Category.TLS_ALERT, level << 8 | description)
        if self.library_code is not None:
            return ErrorPair(Category.TLS_LIBRARY, self.library_code & 0xFFFF)
        return ErrorPair(Category.ERRNO, self.default_portable or portable_errno(self.errno))

    @property
    def category(self) -> Category:
        """Where :attr:`code` is defined."""
        return self.pair.category

    @property
    def code(self) -> int:
        """The portable number, of :class:`Errno` or as :attr:`category` says."""
        return self.pair.code

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

    ``command`` is the command as it may be shown (secrets masked), ``modem_code`` and ``namespace`` the modem's own
    number and where it is defined, ``kind`` the neutral kind that the profile maps it to, ``text`` its meaning.
    """

    default_errno = errno.EIO

    def __init__(
        self,
        message: str,
        *,
        command: str = "",
        namespace: str = "",
        modem_code: int | str | None = None,
        kind: str = "unknown",
        text: str = "",
        number: int | None = None,
    ) -> None:
        super().__init__(message, number=number)
        self.command = command
        self.namespace = namespace
        self.modem_code = _presentable(modem_code) if isinstance(modem_code, str) else modem_code
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

    default_errno = errno.EPROTO


class NameResolutionError(ModemError, socket.gaierror):
    """The host name could not be resolved."""

    default_errno = socket.EAI_NONAME
    default_portable = Errno.EADDRNOTAVAIL


class ConnectError(ModemError, ConnectionError):
    """The transport connection failed."""

    default_errno = errno.ECONNREFUSED


class TlsError(ModemError, ssl.SSLError):
    """A secured connection failed by what its protocol says: an alert, a broken record."""

    default_errno = ssl.SSL_ERROR_SSL
    default_portable = Errno.EPROTO

    def __init__(
        self,
        message: str,
        *,
        number: int | None = None,
        alert: tuple[int, int] | None = None,
        library_code: int | None = None,
    ) -> None:
        super().__init__(message, number=number)
        if alert is not None:
            self.alert = alert
        if library_code is not None:
            self.library_code = library_code


class HandshakeError(TlsError):
    """The TLS handshake failed."""


class CertificateError(HandshakeError, ssl.SSLCertVerificationError):
    """The peer's certificate was refused: chain, name, dates or purpose."""


class ConnectOrHandshakeError(HandshakeError, ConnectionError):
    """Connection or handshake failed, and the modem does not say which."""

    default_portable = Errno.ECONNREFUSED


class SocketClosedError(ModemError, ConnectionResetError):
    """The connection ended without the caller asking for it."""

    default_errno = errno.ECONNRESET


class TruncatedError(ModemError):
    """A datagram was larger than the room for it: ``data`` is its beginning, the rest is gone.

    ``address``: the sender's host and port, where that was asked for.
    """

    default_errno = errno.EMSGSIZE

    def __init__(self, message: str, *, data: bytes, address: tuple[str, str] | None = None) -> None:
        super().__init__(message)
        self.data = data
        self.address = address
