"""Errors as portable pairs: a category and a code, the same on every platform and with every engine."""

from __future__ import annotations

from modemtls.errors import Category, Errno, ErrorPair, ModemError, portable_errno

__all__ = ["Category", "Errno", "ErrorPair", "error_pair"]


def error_pair(error: BaseException) -> ErrorPair:
    """Return the portable pair of any exception; that of a :class:`~modemtls.errors.ModemError` it carries itself."""
    if isinstance(error, ModemError):
        return error.pair
    if isinstance(error, OSError) and error.errno is not None:
        return ErrorPair(Category.ERRNO, portable_errno(error.errno))
    return ErrorPair(Category.ERRNO, Errno.ETIMEDOUT if isinstance(error, TimeoutError) else Errno.UNKNOWN)
