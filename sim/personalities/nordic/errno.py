"""Error numbers as the application prints them: newlib's (that -134 is ENOTSUP comes from PR-11836)."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Errno"]


class Errno(IntEnum):
    """What can become of a socket call."""

    OK = 0
    ENOENT = 2
    EAGAIN = 11
    EINVAL = 22
    EPIPE = 32
    ECONNRESET = 104
    ECONNREFUSED = 111
    EADDRINUSE = 112
    ECONNABORTED = 113
    ENETDOWN = 115
    ETIMEDOUT = 116
    EHOSTUNREACH = 118
    EMSGSIZE = 122
    EISCONN = 127
    ENOTCONN = 128
    ENOTSUP = 134
