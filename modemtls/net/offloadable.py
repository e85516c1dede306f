"""What of a configuration a modem can be given at all: the rest is refused, by the name of the capability it takes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from modemtls.errors import NotSupportedError
from modemtls.net.contract import AddressFamily, Certificates, Encrypted, Psk
from modemtls.net.contract.credentials import Loader, pem, stored_names

if TYPE_CHECKING:
    from modemtls.net.contract import Credential, SocketConfiguration, SslConfiguration

__all__ = ["certificates_of", "check_transport", "offloadable"]

_HOST = ('engine="host"',)


def certificates_of(configuration: SslConfiguration) -> Certificates:
    """Return the security by certificates; :class:`NotSupportedError` if it is another."""
    if isinstance(configuration.security, Psk):
        raise NotSupportedError("the modem cannot use a pre-shared key", capability="psk", choices=_HOST)
    return configuration.security


def offloadable(configuration: SslConfiguration, modem: str) -> SslConfiguration:
    """Return the same in the terms that modems have: each credential one text, one file, or one stored name.

    Raises :class:`NotSupportedError` for what needs a TLS stack of one's own, and as reading credentials does.
    """
    security = certificates_of(configuration)
    wanted = {
        "dane": security.dane,
        "revocation_lists": security.revocation_lists is not None,
        "rebuild_client_chain": security.rebuild_client_chain,
        "system_trust": security.use_system_trust,
        "encrypted_keys": isinstance(security.client_key, Encrypted),
    }
    for capability, asked in wanted.items():
        if asked:
            what = capability.replace("_", " ")
            raise NotSupportedError(f"{modem} cannot do this: {what}", capability=capability, choices=_HOST)
    check_transport(configuration.socket, modem)
    loader = Loader()
    trusted = _single(security.trusted, "CA certificate", loader, modem)
    own = _single(security.client_cert, "client certificate", loader, modem)
    if trusted is security.trusted and own is security.client_cert:
        return configuration
    return replace(configuration, security=replace(security, trusted=trusted, client_cert=own))


def _single(credential: Credential | None, what: str, loader: Loader, modem: str) -> Credential | None:
    der = isinstance(credential, bytes) and credential[:1] == b"\x30"
    folder = isinstance(credential, os.PathLike) and Path(credential).is_dir()
    if not (der or folder or isinstance(credential, list | tuple)):
        return credential
    if stored_names(credential):
        raise NotSupportedError(
            f"{what}: {modem} takes one stored name, not a list with others",
            capability="compound_stored_credentials",
            choices=("give the certificates themselves",),
        )
    return pem(loader.certificates(credential, what, folders=True)) or None


def check_transport(socket: SocketConfiguration, modem: str) -> None:
    """Raise :class:`NotSupportedError` for what a modem's own stack does not let anybody choose.

    To share a local port, and which address to prefer, needs nothing done.
    """
    wanted = {
        "dscp": socket.dscp != 0,
        "priority": socket.priority != 0,
        "transparent": socket.transparent,
        "interface": socket.interface is not None,
        "address_family": socket.address_family is not AddressFamily.UNSPEC,
    }
    for capability, asked in wanted.items():
        if asked:
            raise NotSupportedError(f"{modem} cannot be told a {capability}", capability=capability)
