"""From options to an open modem and a TLS configuration."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modemtls.cli.output import printable, status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modemtls.api import Modem, TLSConfig
    from modemtls.at.trace import TraceRecord
    from modemtls.cli.settings import Settings

__all__ = ["dialogue_to", "opened", "tls_from"]

MAX_PEM = 1 << 20
"""No certificate or key file is larger than this (bytes)."""
WIDTH = 100
"""Characters of one line of a dialogue that are shown."""


@contextlib.contextmanager
def opened(
    settings: Settings,
    *,
    quiet: bool = False,
    trace: Callable[[TraceRecord], None] | None = None,
    progress: Callable[[str, str], None] | None = None,
) -> Iterator[Modem]:
    """Open the modem that the options name; closed at the end of the block.

    Progress goes to stderr unless ``quiet``; with --verbose the AT dialogue does too.
    """
    import modemtls

    port = settings.port
    if trace is None and settings.flag("verbose"):
        trace = dialogue_to(sys.stderr.write)
    bring_up = _BringUp(quiet=quiet, verbose=settings.flag("verbose"))
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
        "progress": progress or bring_up,
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
        bring_up.close()


class _BringUp:
    """Progress of the bring-up: on a terminal one line that is gone afterwards, with --verbose a line for each step.

    Anywhere else nothing, so that a failure is one line on stderr.
    """

    def __init__(self, *, quiet: bool, verbose: bool) -> None:
        self.lines = verbose
        self.passing = not quiet and not verbose and sys.stderr.isatty()
        self.told = ""

    def __call__(self, step: str, detail: str = "") -> None:
        text = f"{step}: {detail}" if detail else step
        if text == self.told:
            return
        if self.lines:
            status(text)
        elif self.passing:
            sys.stderr.write(f"\r\x1b[Kmodemtls: {printable(text)} ...")
            sys.stderr.flush()
        self.told = text

    def close(self) -> None:
        if self.passing and self.told:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
        self.told = ""


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


def _pem(settings: Settings, name: str) -> bytes | None:
    """Read a certificate or key file; its name is part of every error about it."""
    given = settings.text(name)
    if given is None:
        return None
    path = Path(given).expanduser()
    with path.open("rb") as source:
        data = source.read(MAX_PEM + 1)
    if len(data) > MAX_PEM:
        raise OSError(f"{os.fspath(path)}: too large for a certificate or key")
    if not data:
        raise OSError(f"{os.fspath(path)}: is empty")
    return data


def tls_from(settings: Settings) -> TLSConfig:
    """Make the TLS configuration that the options ask for; verifies chain and host name unless told otherwise."""
    import modemtls

    verify = not settings.flag("no_verify")
    ca, cert, key = (_pem(settings, name) for name in ("cafile", "cert", "key"))
    if verify and ca is None:
        settings.refuse("which CA is to be trusted? Give --cafile FILE, or --no-verify to accept anybody")
    if cert is None and key is not None:
        settings.refuse("--key is given without --cert")
    return modemtls.TLSConfig(
        ca=ca,
        cert=cert,
        key=key,
        verify=verify,
        check_hostname=False if settings.flag("no_check_hostname") else None,
        sni=settings.text("sni"),
        alpn=tuple(settings.many("alpn")),
        min_version=settings.text("min_version") or "1.2",
    )
