"""Errors as portable pairs: a category and a code, the same on every platform and with every engine.

The numbers are those of the contract (avs_commons 5.8, ``avs_errno.h`` and ``avs_socket.h``); they are *not* the C
library's ``errno``.
"""

from __future__ import annotations

import enum
import errno
from typing import NamedTuple

from modemtls import errors

__all__ = ["Category", "Errno", "ErrorPair", "error_pair"]


class Category(enum.IntEnum):
    """Where a code is defined."""

    ERRNO = 37766
    TLS_ALERT = 8572  # an alert the peer sent: level << 8 | description (RFC 5246, 7.2)
    TLS_LIBRARY = 8573


class Errno(enum.IntEnum):
    """The portable error numbers that sockets use."""

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


_BY_NUMBER = {getattr(errno, name): value for name, value in Errno.__members__.items() if hasattr(errno, name)}


def error_pair(error: BaseException) -> ErrorPair:
    """Return the portable pair of an exception that a socket of the contract raised."""
    return ErrorPair(Category.ERRNO, _portable_errno(error))


def _portable_errno(error: BaseException) -> Errno:
    # The three whose errno belongs to another numbering (ssl's, getaddrinfo's) go by type.
    if isinstance(error, errors.NameResolutionError):
        return Errno.EADDRNOTAVAIL
    if isinstance(error, errors.ConnectOrHandshakeError):
        return Errno.ECONNREFUSED
    if isinstance(error, errors.HandshakeError):
        return Errno.EPROTO
    if isinstance(error, OSError) and error.errno is not None:
        return _BY_NUMBER.get(error.errno, Errno.UNKNOWN)
    if isinstance(error, TimeoutError):
        return Errno.ETIMEDOUT
    return Errno.UNKNOWN
