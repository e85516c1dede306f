"""The strict secure-socket contract and its fulfilment by a modem.

Names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modemtls.net.contract import (
        AddressFamily,
        Category,
        Certificates,
        Errno,
        ErrorPair,
        Option,
        Socket,
        SslConfiguration,
        State,
        Stored,
        TlsVersion,
        error_pair,
    )
    from modemtls.net.offload import create_ssl_socket, create_tcp_socket

__all__ = [
    "AddressFamily",
    "Category",
    "Certificates",
    "Errno",
    "ErrorPair",
    "Option",
    "Socket",
    "SslConfiguration",
    "State",
    "Stored",
    "TlsVersion",
    "create_ssl_socket",
    "create_tcp_socket",
    "error_pair",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = import_module("modemtls.net.offload" if name.startswith("create_") else "modemtls.net.contract")
    value = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
