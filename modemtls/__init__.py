"""modemtls: the TLS stack inside a cellular modem as an ordinary secure socket.

    modem = modemtls.open("/dev/ttyUSB2", apn="iot.example")
    tls = modemtls.TLSConfig(ca="ca.pem")
    with modem.connect(("broker.example", 8883), tls=tls) as sock:
        sock.sendall(b"...")

Names are loaded when they are first used.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for true; importing it from typing would cost more than all the rest
if TYPE_CHECKING:
    from modemtls import errors, net
    from modemtls.api import Encrypted, Modem, Psk, Stored, TLSConfig, open  # noqa: A004 - the name users know: modemtls.open()
    from modemtls.errors import (
        BearerLostError,
        CertificateError,
        CommandError,
        ConfigurationError,
        ConnectError,
        ConnectOrHandshakeError,
        CredentialError,
        HandshakeError,
        ModemError,
        ModemRestartedError,
        ModemTimeoutError,
        NameResolutionError,
        NetworkError,
        NotAModemError,
        NotSupportedError,
        PdpError,
        PinError,
        PortBusyError,
        PortError,
        PortLostError,
        RegistrationError,
        SimError,
        SocketClosedError,
        SyncError,
        TlsError,
        TruncatedError,
    )
    from modemtls.sockets.stream import ModemSocket
    from modemtls.sockets.web import ModemAdapter

__all__ = [
    "BearerLostError",
    "CertificateError",
    "CommandError",
    "ConfigurationError",
    "ConnectError",
    "ConnectOrHandshakeError",
    "CredentialError",
    "Encrypted",
    "HandshakeError",
    "Modem",
    "ModemAdapter",
    "ModemError",
    "ModemRestartedError",
    "ModemSocket",
    "ModemTimeoutError",
    "NameResolutionError",
    "NetworkError",
    "NotAModemError",
    "NotSupportedError",
    "PdpError",
    "PinError",
    "PortBusyError",
    "PortError",
    "PortLostError",
    "Psk",
    "RegistrationError",
    "SimError",
    "SocketClosedError",
    "Stored",
    "SyncError",
    "TLSConfig",
    "TlsError",
    "TruncatedError",
    "errors",
    "net",
    "open",
]

_PLACES = {
    "Encrypted": "modemtls.api",
    "Modem": "modemtls.api",
    "ModemAdapter": "modemtls.sockets.web",
    "ModemSocket": "modemtls.sockets.stream",
    "Psk": "modemtls.api",
    "Stored": "modemtls.api",
    "TLSConfig": "modemtls.api",
    "open": "modemtls.api",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if name in {"errors", "net"}:
        return import_module(f"{__name__}.{name}")
    value = getattr(import_module(_PLACES.get(name, "modemtls.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
