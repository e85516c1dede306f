"""The secure-socket contract. It leans on nothing of modemtls but its errors."""

from __future__ import annotations

from modemtls.net.contract.configuration import (
    Certificates,
    PreferredEndpoint,
    Psk,
    SocketConfiguration,
    SslConfiguration,
    TlsVersion,
)
from modemtls.net.contract.credentials import Credential, Encrypted, Stored
from modemtls.net.contract.dane import TlsaRecord, lwm2m_record
from modemtls.net.contract.interface import (
    DEFAULT_RECEIVE_TIMEOUT,
    DEFAULT_SEND_TIMEOUT,
    UNSET,
    AddressFamily,
    Option,
    Pollable,
    Socket,
    State,
    Unset,
)
from modemtls.net.contract.portable import Category, Errno, ErrorPair, error_pair

__all__ = [
    "DEFAULT_RECEIVE_TIMEOUT",
    "DEFAULT_SEND_TIMEOUT",
    "UNSET",
    "AddressFamily",
    "Category",
    "Certificates",
    "Credential",
    "Encrypted",
    "Errno",
    "ErrorPair",
    "Option",
    "Pollable",
    "PreferredEndpoint",
    "Psk",
    "Socket",
    "SocketConfiguration",
    "SslConfiguration",
    "State",
    "Stored",
    "TlsVersion",
    "TlsaRecord",
    "Unset",
    "error_pair",
    "lwm2m_record",
]
