r"""Quoting kinds: how a value is written into a command line, and therefore what it may contain.

A value that does not fit raises ConfigurationError; what was written can never contain a quote that ends it early, a
line end, or a second command. The contents are bounded by character classes, never by escaping: V.250 5.4.2.2 makes
``\`` an escape in string constants, and modems differ in following it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from modemtls.errors import ConfigurationError
from modemtls.profile.codecs import pem_lf

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KINDS", "TABLE_KINDS", "Kind", "check_input", "write"]

_QUOTABLE = re.compile(r"[ !#-\[\]-~]*\Z")  # printable ASCII without " and \
_LINE = re.compile(r"[ -~]*\Z")
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}\Z")  # RFC 1035 2.3.4 for the length; RFC 4291 for the colon
_BARE = re.compile(r"[A-Za-z0-9._:+/-]+\Z")
_DIGITS = re.compile(r"[0-9]+\Z")


def _refuse(name: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"{name}: {why}")


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise _refuse(name, f"text expected, not {type(value).__name__}")
    return value


def _bytes(name: str, value: object) -> bytes:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise _refuse(name, f"bytes expected, not {type(value).__name__}")
    return bytes(value)


def _number(name: str, value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and _DIGITS.match(value):
        return value
    raise _refuse(name, "a number expected")


def _quoted(name: str, value: object) -> str:
    text = _text(name, value)
    if not _QUOTABLE.match(text):
        raise _refuse(name, "must be printable ASCII without quotation marks and backslashes")
    return f'"{text}"'


def _host_text(name: str, value: object) -> str:
    text = _text(name, value)
    if not _HOST.match(text):
        raise _refuse(name, "not a host name or address")
    return text


def _host(name: str, value: object) -> str:
    return f'"{_host_text(name, value)}"'


def _bare(name: str, value: object) -> str:
    text = _text(name, value)
    if not _BARE.match(text):
        raise _refuse(name, "only letters, digits and . _ : + / - can be sent")
    return text


def _line(name: str, value: object) -> str:
    text = _text(name, value)
    if not _LINE.match(text):
        raise _refuse(name, "must be printable ASCII")
    return text


def _hex(name: str, value: object) -> str:
    return _bytes(name, value).hex().upper()


def _hex_lower(name: str, value: object) -> str:
    return _bytes(name, value).hex()


def _pem(name: str, value: object) -> str:
    try:
        return f'"{pem_lf(_bytes(name, value)).decode("ascii")}"'
    except ConfigurationError as error:
        raise _refuse(name, str(error)) from None


def _token(name: str, value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _line(name, value)  # that it comes from the profile's tables is checked with the inputs


@dataclass(frozen=True, slots=True)
class Kind:
    """A quoting kind. ``takes`` are value types of the language; ``empty`` is written for a missing value."""

    name: str
    takes: frozenset[str]
    empty: str
    write: Callable[[str, object], str]


_TEXTS: Final = frozenset({"text", "digits"})
KINDS: Final[dict[str, Kind]] = {
    one.name: one
    for one in (
        Kind("number", frozenset({"int", "text", "digits"}), "", _number),
        Kind("quoted", _TEXTS | {"host"}, '""', _quoted),
        Kind("host", frozenset({"host"}), '""', _host),
        Kind("bare", _TEXTS | {"host"}, "", _bare),
        Kind("line", _TEXTS | {"host"}, "", _line),
        Kind("hex", frozenset({"bytes"}), "", _hex),
        Kind("hexlower", frozenset({"bytes"}), "", _hex_lower),
        Kind("pem", frozenset({"bytes"}), '""', _pem),
        Kind("token", frozenset({"token"}), "", _token),
    )
}
TABLE_KINDS: Final = frozenset({"token", "quoted", "bare", "number"})
DEFAULT_KIND: Final = {"int": "number", "token": "token"}


def write(kind: Kind, name: str, value: object) -> str:
    """Write a value. Raises ConfigurationError if the kind does not admit it."""
    return kind.empty if value is None else kind.write(name, value)


def check_input(name: str, kind: str, value: object, words: tuple[str, ...] = ()) -> None:
    """Check an operation's input against its type. Raises ConfigurationError."""
    if kind == "int":
        if not isinstance(value, int) or isinstance(value, bool):
            raise _refuse(name, f"a number expected, not {type(value).__name__}")
        if name == "port" and not 1 <= value <= 65535:
            raise _refuse(name, f"{value} is not within 1 to 65535")
        if value < 0:
            raise _refuse(name, f"{value} is negative")
    elif kind == "bool":
        if not isinstance(value, bool):
            raise _refuse(name, f"True or False expected, not {type(value).__name__}")
    elif kind == "host":
        _host_text(name, value)
    elif kind == "digits":
        if not _DIGITS.match(_text(name, value)):
            raise _refuse(name, "only digits can be sent")
    elif kind == "word":
        if _text(name, value) not in words:
            raise _refuse(name, f"{value} is none of {', '.join(words)}")
    elif kind == "bytes":
        _bytes(name, value)
    elif kind == "text":
        _text(name, value)
