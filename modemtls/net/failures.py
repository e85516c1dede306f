"""What a failed connection is called: from the modem's reason to the exception that says whose fault it may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.errors import (
    CertificateError,
    CommandError,
    ConnectError,
    ConnectOrHandshakeError,
    HandshakeError,
    ModemError,
    ModemTimeoutError,
    NameResolutionError,
    NotSupportedError,
    PdpError,
)
from modemtls.net.contract import Stored

if TYPE_CHECKING:
    from modemtls.net.choose import Choice
    from modemtls.net.contract import SslConfiguration

__all__ = ["connect_failure"]


def connect_failure(
    error: CommandError,
    host: str,
    port: int,
    configuration: SslConfiguration | None = None,
    choice: Choice | None = None,
    clock: str = "",
) -> ModemError:
    """Return the exception for a connection to ``host`` that the modem could not make.

    ``clock`` says what the modem's clock was set from. The original ``error``, with the modem's own code, is what the
    result should be raised from.
    """
    where = f"{host} port {port}"
    reason = _reason(error)
    match error.kind:
        case "connect_or_handshake":
            if configuration is None or choice is None:
                return ConnectError(f"could not connect to {where}: {reason}")
            return ConnectOrHandshakeError(
                f"could not connect securely to {where}: the modem says only that it failed{_number(error)}, and does "
                "not tell a failed connection from a failed handshake; what may be behind it: "
                f"{_suspects(host, configuration, choice, clock)}"
            )
        case "connect_failed":
            return ConnectError(f"could not connect to {where}: {reason}")
        case "handshake_failed":
            return HandshakeError(f"the TLS handshake with {where} failed: {reason}")
        case "certificate":
            return CertificateError(f"the certificate of {where} was refused: {reason}")
        case "name_not_resolved":
            return NameResolutionError(f"the modem could not resolve {host!r}: {reason}")
        case "timeout":
            return ModemTimeoutError(f"connecting to {where} timed out: {reason}")
        case "pdp_failed" | "pdp_lost" | "network":
            return PdpError(f"could not connect to {where}: the modem has no network: {reason}")
        case "not_supported":
            return NotSupportedError(f"could not connect to {where}: {reason}", capability="open")
        case _:
            return error


def _number(error: CommandError) -> str:
    return "" if error.code is None else f" ({error.code})"


def _reason(error: CommandError) -> str:
    text = error.text or error.message
    return text if str(error.code) in text else f"{text}{_number(error)}"


def _suspects(host: str, configuration: SslConfiguration, choice: Choice, clock: str) -> str:
    """List what this connection asked for and the server may not have fulfilled, the likeliest first."""
    security = configuration.security
    found = ["nobody listens there, or a firewall is in the way"]
    if security.verify:
        found.append("its certificate is not signed by the given CA")
    relied_on = (security.trusted if security.verify else None, security.client_cert, security.client_key)
    found.extend(f"the modem holds no {one.name!r}" for one in relied_on if isinstance(one, Stored))
    if choice.check_hostname:
        found.append(f"its certificate is not for {host!r}")
    if choice.check_dates:
        found.append(f"its certificate is not valid at the modem's time{f' ({clock})' if clock else ''}")
    versions = " or ".join(map(str, sorted(choice.versions)))
    found.append(f"it does not speak {versions}, or shares no cipher suite")
    if security.client_cert is None:
        found.append("it wants a client certificate")
    else:
        found.append("it refuses the client certificate")
    if not choice.sni:
        found.append("it needs a server name (SNI), and none was sent")
    return "; ".join(found)
