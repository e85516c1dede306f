"""The strict secure-socket contract and its fulfilment by a modem, or by this host over a modem's plain sockets.

Names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modemtls.host import HostSocket, decorate
    from modemtls.net.contract import (
        AddressFamily,
        Category,
        Certificates,
        Encrypted,
        Errno,
        ErrorPair,
        Option,
        PreferredEndpoint,
        Psk,
        Socket,
        SocketConfiguration,
        SslConfiguration,
        State,
        Stored,
        TlsaRecord,
        TlsVersion,
        error_pair,
        lwm2m_record,
    )
    from modemtls.net.entry import (
        cleanup_global_ssl_state,
        create_dtls_socket,
        create_ssl_socket,
        create_tcp_socket,
        create_udp_socket,
        global_ssl_state_is_up,
        initialize_global_ssl_state,
    )

__all__ = [
    "AddressFamily",
    "Category",
    "Certificates",
    "Encrypted",
    "Errno",
    "ErrorPair",
    "HostSocket",
    "Option",
    "PreferredEndpoint",
    "Psk",
    "Socket",
    "SocketConfiguration",
    "SslConfiguration",
    "State",
    "Stored",
    "TlsVersion",
    "TlsaRecord",
    "cleanup_global_ssl_state",
    "create_dtls_socket",
    "create_ssl_socket",
    "create_tcp_socket",
    "create_udp_socket",
    "decorate",
    "error_pair",
    "global_ssl_state_is_up",
    "initialize_global_ssl_state",
    "lwm2m_record",
]

_HOST = {"HostSocket", "decorate"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if name in _HOST:
        place = "modemtls.host"
    elif name.startswith("create_") or name.endswith(("_ssl_state", "_is_up")):
        place = "modemtls.net.entry"
    else:
        place = "modemtls.net.contract"
    value = getattr(import_module(place), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
