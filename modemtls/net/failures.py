"""What a failed connection is called: from the modem's reason to the exception that says whose fault it may be."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

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
from modemtls.net.contract import Psk, Stored
from modemtls.tlsengine.suites import SUITES

if TYPE_CHECKING:
    from modemtls.net.choose import Choice
    from modemtls.net.contract import SslConfiguration

__all__ = ["connect_failure"]

#: Kinds of refusals that a number of the contract says: memory, and what may pass.
_NUMBERS: Final = {"memory": errno.ENOMEM, "busy": errno.EAGAIN, "socket_in_use": errno.EADDRINUSE}


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
            says = "a failure" if error.modem_code is None else f"{error.modem_code}"
            if configuration is None or choice is None:
                return ConnectError(
                    f"could not connect to {where}: nobody listens there, or no way to it{_number(error)}"
                )
            return ConnectOrHandshakeError(
                f"could not connect to {where}: the modem reports {says} and does not distinguish connection "
                f"from handshake failures. Perhaps {_suspects(host, configuration, choice, clock)}"
            )
        case "connect_failed":
            return ConnectError(f"could not connect to {where}: {reason}")
        case "handshake_failed":
            kind = "DTLS" if choice is not None and choice.datagram else "TLS"
            return HandshakeError(f"the {kind} handshake with {where} failed: {reason}")
        case "certificate":
            return CertificateError(f"the certificate of {where} was refused: {reason}")
        case "name_not_resolved":
            return NameResolutionError(f"the modem could not resolve {host!r}: {reason}")
        case "timeout":
            return ModemTimeoutError(f"connecting to {where} timed out: {reason}")
        case "pdp_failed" | "pdp_lost" | "network":
            return PdpError(f"could not connect to {where}: the modem has no network: {reason}")
        case "not_supported":
            return NotSupportedError(f"could not connect to {where}: {reason}", capability=_lacking(configuration))
        case "memory" | "busy" | "socket_in_use":
            return CommandError(
                f"could not connect to {where}: {reason}",
                command=error.command,
                namespace=error.namespace,
                modem_code=error.modem_code,
                kind=error.kind,
                text=error.text,
                number=_NUMBERS[error.kind],
            )
        case _:
            return error


def _lacking(configuration: SslConfiguration | None) -> str:
    """Name what the modem turned out to lack: what is seldom there and was asked for, as only connecting tells it."""
    if configuration is None:
        return "open"
    if configuration.use_connection_id:
        return "cid"
    return "psk" if isinstance(configuration.security, Psk) else "open"


def _number(error: CommandError) -> str:
    return "" if error.modem_code is None else f" ({error.modem_code})"


def _reason(error: CommandError) -> str:
    text = error.text or error.message
    return text if str(error.modem_code) in text else f"{text}{_number(error)}"


def _suspects(host: str, configuration: SslConfiguration, choice: Choice, clock: str) -> str:
    """List what this connection asked for and the server may not have fulfilled, the likeliest first."""
    security = configuration.security
    nothing = _nothing_in_common(choice)
    if isinstance(security, Psk):
        return f"nobody listens there; another pre-shared key or identity; {nothing}"
    certificate = []
    if security.dane:
        certificate.append("not what the TLSA record says")
    elif security.verify:
        certificate.append("not from the given CA")
    if choice.check_hostname:
        name = choice.sni if isinstance(choice.sni, str) else host
        certificate.append("for another name" if name == host else f"not for {name!r}")
    if choice.check_dates:
        certificate.append(f"out of date (modem's clock: {clock})" if clock else "out of date by the modem's clock")
    found = ["nobody listens there"]
    if certificate:
        found.append(f"certificate {_listed(certificate)}")
    relied_on = (security.trusted if security.verify else None, security.client_cert, security.client_key)
    found.extend(f"no {one.name!r} in the modem" for one in relied_on if isinstance(one, Stored))
    found.append(nothing)
    found.append(f"client certificate {'wanted' if security.client_cert is None else 'refused'}")
    if not choice.sni:
        found.append("server name (SNI) needed")
    return "; ".join(found)


def _nothing_in_common(choice: Choice) -> str:
    versions = " or ".join(one.named(datagram=choice.datagram) for one in sorted(choice.versions))
    only = SUITES.get(choice.numbers[0]) if len(choice.numbers) == 1 else None
    return f"no {versions} or {'common cipher suite' if only is None else only.name}"


def _listed(parts: list[str]) -> str:
    return " or ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
