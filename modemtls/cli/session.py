"""From options to an open modem, or its port alone, and a TLS configuration."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any, cast

from modemtls.cli.output import passed, passing, printable, status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from modemtls.api import Modem, TLSConfig
    from modemtls.at.port import Port
    from modemtls.at.trace import TraceRecord
    from modemtls.cli.settings import Settings
    from modemtls.modem.credentials import CredentialKind
    from modemtls.net.contract import Socket
    from modemtls.net.entry import EngineChoice
    from modemtls.sockets.stream import ModemSocket

__all__ = ["connected", "dialogue_to", "engine_from", "opened", "opened_port", "refuse_beside", "secured", "tls_from"]

WIDTH = 100
"""Characters of one line of a dialogue that are shown."""


@contextlib.contextmanager
def opened(settings: Settings) -> Iterator[Modem]:
    """Open the modem that the options name; closed at the end of the block. With --verbose the dialogue is shown."""
    import modemtls

    port = settings.port
    trace = dialogue_to(sys.stderr.write) if settings.flag("verbose") else None
    given: dict[str, Any] = {
        "apn": settings.text("apn"),
        "user": settings.text("user"),
        "password": settings.password,
        "pin": settings.pin,
        "pdp": settings.whole("pdp"),
        "baudrate": settings.whole("baudrate"),
        "profile": settings.text("profile"),
        "timeout": settings.number("timeout"),
        "trace": trace,
        "progress": _bring_up(settings),
        "rtscts": settings.flag("rtscts"),
        "take_over": settings.flag("take_over"),
        "radio_off": settings.flag("radio_off"),
    }
    try:
        modem = modemtls.open(port, **{key: value for key, value in given.items() if value is not None})
        try:
            yield modem
        finally:
            modem.close()
    finally:
        passed()


def opened_port(settings: Settings) -> Port:
    """Open the port that the options name, and no modem: no other speed is tried, as nothing is sent."""
    from modemtls.at.port import USUAL_BAUDRATE, open_port

    baudrate = settings.whole("baudrate") or USUAL_BAUDRATE
    return open_port(settings.port, baudrate=baudrate, rtscts=settings.flag("rtscts"))


def connected(settings: Settings, modem: Modem, host: str, port: int, tls: TLSConfig | None) -> ModemSocket:
    """Connect, within --timeout if that is given."""
    engine = engine_from(settings) if tls is not None else "modem"
    sock = modem.connect((host, port), tls=tls, engine=engine, timeout=settings.number("timeout"))
    passed()
    return sock


def engine_from(settings: Settings) -> EngineChoice:
    """Return who is to secure the connection."""
    return cast("EngineChoice", settings.text("engine") or "modem")


def secured(connection: Socket, *, kept: bool) -> str:
    """Say who secures a connection, and, if the session is ``kept``, whether it was resumed."""
    from modemtls.net.contract import Option

    if not connection.encrypted:
        return "without TLS"
    what = "DTLS" if connection.datagram else "TLS"
    told = f"{what} by {'this host' if connection.engine == 'host' else 'the modem'}"
    if not kept:
        return told
    if connection.get_opt(Option.CONNECTION_ID_RESUMED):
        return f"{told}, resumed without a handshake"
    return f"{told}, {'session resumed' if connection.get_opt(Option.SESSION_RESUMED) else 'new session'}"


def _bring_up(settings: Settings) -> Callable[[str, str], None] | None:
    """Progress of the bring-up: with --verbose a line for each step, on a terminal one line that is taken back.

    Anywhere else nothing, so that a failure is one line on stderr.
    """
    tell = status if settings.flag("verbose") else passing if sys.stderr.isatty() else None
    if tell is None:
        return None
    told = ""

    def take(step: str, detail: str = "") -> None:
        nonlocal told
        text = f"{step}: {detail}" if detail else step
        if text != told:
            told = text
            tell(text)

    return take


def dialogue_to(write: Callable[[str], object], start: float | None = None) -> Callable[[TraceRecord], None]:
    """Return a trace that writes the AT dialogue as people read it: time, direction, one line each."""
    began = start

    def take(record: TraceRecord) -> None:
        nonlocal began
        if began is None:
            began = record.time
        arrow = {"out": "-->", "in": "<--"}.get(record.direction, " · ")
        shown = record.shown
        if len(shown) > WIDTH:
            shown = f"{shown[:WIDTH]}… ({len(shown)} characters)"
        write(f"{record.time - began:9.3f} {arrow} {printable(shown)}\n")

    return take


_OF_CERTIFICATES = "cafile", "cert", "key", "no_verify", "no_check_hostname", "system_trust"
_OF_KEYS = "psk_identity", "psk_file"
_OF_TLS = *_OF_CERTIFICATES, "sni", "alpn", "min_version", *_OF_KEYS, "engine", "session_file"


def _given(settings: Settings, names: Sequence[str]) -> str | None:
    """Return the first of these options that stands on the command line, as it is spelled."""
    found = (name for name in names if getattr(settings.options, name, None))
    return next((f"--{name.replace('_', '-')}" for name in found), None)


def refuse_beside(settings: Settings, why: str, *more: str) -> None:
    """Wrong usage, for the reason ``why``, if an option about TLS, or one of ``more``, stands on the command line."""
    option = _given(settings, (*_OF_TLS, *more))
    if option is not None:
        settings.refuse(why.format(option))


def _by_key(settings: Settings) -> bool:
    """Whether a key of both sides secures the connection, and not certificates: the command line says so first."""
    key, other = _given(settings, _OF_KEYS), _given(settings, _OF_CERTIFICATES)
    if key and other:
        settings.refuse(f"{key} is about a key that both sides have, {other} about certificates: give one or the other")
    if key or other:
        return key is not None
    keys = settings.text("psk_identity") or settings.text("psk_file") or settings.environment.get("MODEMTLS_PSK")
    if keys and (settings.text("cafile") or settings.text("cert")):
        settings.refuse(
            "both a pre-shared key and certificates are in the environment or the configuration file; say which is "
            "meant: --psk-identity TEXT, or --cafile FILE"
        )
    return bool(keys)


def tls_from(settings: Settings, session: bytearray | None = None) -> TLSConfig:
    """Make the TLS configuration that the options ask for; verifies chain and host name unless told otherwise.

    The files are read and checked here, before a port is opened, and once, as one of them may be a pipe. ``session``:
    the buffer in which a session is kept.
    """
    shared: dict[str, Any] = {
        "sni": settings.text("sni"),
        "alpn": tuple(settings.many("alpn")),
        "min_version": settings.text("min_version") or "1.2",
        "session_resumption_buffer": session,
    }
    return _with_key(settings, shared) if _by_key(settings) else _with_certificates(settings, shared)


def _with_key(settings: Settings, shared: dict[str, Any]) -> TLSConfig:
    import modemtls

    identity = settings.text("psk_identity")
    if identity is None:
        settings.refuse("whose key is it? Give --psk-identity TEXT beside it")
    key = settings.psk
    if key is None:
        settings.refuse("--psk-identity is given without a key: give --psk-file FILE, or put it into $MODEMTLS_PSK")
    return modemtls.TLSConfig(psk=modemtls.Psk(os.fsencode(identity), key), **shared)


def _with_certificates(settings: Settings, shared: dict[str, Any]) -> TLSConfig:
    import modemtls
    from modemtls.cli.settings import expanded
    from modemtls.modem.pem import load, read

    verify = not settings.flag("no_verify")
    named: dict[CredentialKind, str | None]
    named = {"ca": settings.text("cafile"), "cert": settings.text("cert"), "key": settings.text("key")}
    system = settings.flag("system_trust")
    if system and engine_from(settings) == "modem":
        settings.refuse("--system-trust is for --engine host or auto: a modem has no part in this machine's store")
    if verify and named["ca"] is None and not system:
        settings.refuse("which CA is to be trusted? Give --cafile FILE, or --no-verify to accept anybody")
    if named["cert"] is None and named["key"] is not None:
        settings.refuse("--key is given without --cert")
    texts = read({kind: expanded(name) for kind, name in named.items() if name is not None})
    pems = load(texts)
    if named["key"] is None and "cert" in texts:
        if b"PRIVATE KEY-----" not in texts["cert"].data:
            settings.refuse(f"{named['cert']} holds no private key: give --key FILE beside --cert")
        pems = load(texts | {"key": texts["cert"]})
    return modemtls.TLSConfig(
        ca=pems.get("ca"),
        cert=pems.get("cert"),
        key=pems.get("key"),
        verify=verify,
        check_hostname=False if settings.flag("no_check_hostname") else None,
        system_trust=system,
        **shared,
    )
