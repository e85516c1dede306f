"""From options to an open modem, or its port alone, and a TLS configuration."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from modemtls.cli.output import passed, passing, printable, status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modemtls.api import Modem, TLSConfig
    from modemtls.at.port import Port
    from modemtls.at.trace import TraceRecord
    from modemtls.cli.settings import Settings
    from modemtls.modem.credentials import CredentialKind
    from modemtls.sockets.stream import ModemSocket

__all__ = ["connected", "dialogue_to", "opened", "opened_port", "tls_from"]

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
    sock = modem.connect((host, port), tls=tls, timeout=settings.number("timeout"))
    passed()
    return sock


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


def tls_from(settings: Settings) -> TLSConfig:
    """Make the TLS configuration that the options ask for; verifies chain and host name unless told otherwise.

    The files are read and checked here, before a port is opened, and once, as one of them may be a pipe.
    """
    import modemtls
    from modemtls.cli.settings import expanded
    from modemtls.modem.pem import load, read

    verify = not settings.flag("no_verify")
    named: dict[CredentialKind, str | None]
    named = {"ca": settings.text("cafile"), "cert": settings.text("cert"), "key": settings.text("key")}
    if verify and named["ca"] is None:
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
        sni=settings.text("sni"),
        alpn=tuple(settings.many("alpn")),
        min_version=settings.text("min_version") or "1.2",
    )
