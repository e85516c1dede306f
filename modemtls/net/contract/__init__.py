"""The secure-socket contract. It leans on nothing of modemtls but its errors."""

from __future__ import annotations

from modemtls.net.contract.configuration import Certificates, Credential, SslConfiguration, Stored, TlsVersion
from modemtls.net.contract.interface import (
    DEFAULT_RECEIVE_TIMEOUT,
    DEFAULT_SEND_TIMEOUT,
    UNSET,
    AddressFamily,
    Option,
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
    "Errno",
    "ErrorPair",
    "Option",
    "Socket",
    "SslConfiguration",
    "State",
    "Stored",
    "TlsVersion",
    "Unset",
    "error_pair",
]
