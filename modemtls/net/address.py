"""Host names and ports as they come from callers: checked before anything is sent to a modem."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from modemtls.errors import ConfigurationError, quoted

__all__ = ["check_host", "check_port"]

#: RFC 1035, 2.3.4: 255 octets on the wire, which leaves 253 characters of text.
MAX_HOST: Final = 253

# Letters, digits and hyphen (RFC 952, RFC 1123 2.1), the underscore that service names use (RFC 2782), and the colons
# of an IPv6 address. Nothing else can get onto a command line.
_HOST: Final = re.compile(r"[A-Za-z0-9._:-]+")


def check_host(host: object, limit: int | None = None) -> str:
    """Return ``host`` as ASCII, an international name in its IDNA form; :class:`ConfigurationError`.

    ``limit``: the longest name that the modem takes, in characters.
    """
    if isinstance(host, bytes | bytearray):
        host = bytes(host).decode("ascii", "backslashreplace")
    if not isinstance(host, str):
        raise ConfigurationError(f"host: a name or an address is wanted, not {type(host).__name__}")
    if not host:
        raise ConfigurationError("host: is empty")
    name = host
    if host.startswith("[") and host.endswith("]") and ":" in host:
        name = host[1:-1]
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError:
            raise ConfigurationError(f"host: {quoted(host)} cannot be a host name") from None
    if not _HOST.fullmatch(name):
        raise ConfigurationError(f"host: {quoted(host)} cannot be a host name or address")
    if ":" in name and not _is_ipv6(name):
        raise ConfigurationError(
            f"host: {quoted(host)} has a colon and is no IPv6 address; a port? give the port separately"
        )
    longest = MAX_HOST if limit is None else min(limit, MAX_HOST)
    if len(name) > longest:
        raise ConfigurationError(f"host: {len(name)} characters are more than the modem takes ({longest})")
    return name


def _is_ipv6(name: str) -> bool:
    try:
        ipaddress.IPv6Address(name)
    except ValueError:
        return False
    return True


def check_port(port: object) -> int:
    """Return ``port``, an int or its decimal text, as an int from 1 to 65535; :class:`ConfigurationError`."""
    if isinstance(port, str) and port.isascii() and port.isdigit() and len(port) <= 5:
        port = int(port)
    if isinstance(port, bool) or not isinstance(port, int):
        raise ConfigurationError(f"port: a number from 1 to 65535 is wanted, not {quoted(port)}")
    if not 1 <= port <= 65535:
        raise ConfigurationError(f"port: {quoted(port)} is not between 1 and 65535")
    return port
