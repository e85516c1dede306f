"""Host names and addresses, as certificates and SNI have them. Standard library only."""

from __future__ import annotations

import ipaddress

from modemtls.tlsengine.errors import SettingsError

__all__ = ["is_address", "wire_name"]


def wire_name(host: str) -> bytes:
    """Return a host name as it stands in certificates and in SNI; raises :exc:`modemtls.tlsengine.SettingsError`."""
    try:
        name = host.encode("ascii") if host.isascii() else host.encode("idna")
    except UnicodeError as error:
        raise SettingsError(f"not a host name: {host!r}") from error
    if len(name) > 255 or b"\0" in name:  # RFC 1035, section 2.3.4
        raise SettingsError(f"not a host name: {host[:80]!r}")
    return name


def is_address(host: str) -> bool:
    """Tell an IP address from a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
