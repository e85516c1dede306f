"""What of a configuration a modem can be given at all: the rest is refused, by the name of the capability it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.errors import NotSupportedError
from modemtls.net.contract import Certificates

if TYPE_CHECKING:
    from modemtls.net.contract import SslConfiguration

__all__ = ["check_offloadable"]

_HOST = ('engine="host"',)


def check_offloadable(configuration: SslConfiguration, modem: str) -> None:
    """Raise :class:`NotSupportedError` for what needs a TLS stack of one's own."""
    security = configuration.security
    wanted = {}
    if isinstance(security, Certificates):
        wanted = {
            "revocation_lists": security.revocation_lists is not None,
            "system_trust": security.use_system_trust,
        }
    for capability, asked in wanted.items():
        if asked:
            what = capability.replace("_", " ")
            raise NotSupportedError(f"{modem} cannot do this: {what}", capability=capability, choices=_HOST)
