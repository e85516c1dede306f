"""``modemtls record`` and ``modemtls replay``: a live dialogue onto paper, and back."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from modemtls.cli.files import writing
from modemtls.cli.output import printable, status
from modemtls.cli.session import opened_port

if TYPE_CHECKING:
    from modemtls.cli.settings import Settings

__all__ = ["replay", "run"]


def run(settings: Settings) -> int:
    """``modemtls record FILE [-- COMMAND]``; with a command its exit code is returned."""
    from modemtls.dialogue.known import redaction
    from modemtls.dialogue.record import Recorder, pass_through
    from modemtls.dialogue.redact import Redactor
    from modemtls.profile import bundled, load

    name = settings.required("file")
    command = list(settings.options.tail)
    chosen = settings.text("profile")
    profiles = [load(one) for one in ([chosen] if chosen else bundled())]
    port = opened_port(settings)
    try:
        with writing(_private(name), name) as raw, io.TextIOWrapper(raw, encoding="utf-8") as file:
            recorder = Recorder(
                file,
                source=f"recorded at {port.name}",
                profile=profiles[0].name if chosen else None,
                redactor=Redactor(*redaction(profiles)),
            )
            code = pass_through(port, recorder, command, opened=None if command else _tell)
    finally:
        port.close()
    status(f"written to {name}")
    return code if code >= 0 else 128 - code


def _private(name: str) -> int:
    """Open a file that only its owner may read: what is a secret to somebody is not known to everybody."""
    number = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if stat.S_ISREG(os.fstat(number).st_mode):
        with contextlib.suppress(PermissionError):  # somebody else's file that one may write
            os.fchmod(number, 0o600)
        os.ftruncate(number, 0)
    return number


def _tell(path: str) -> None:
    print(path, flush=True)
    status("recording; Ctrl-C ends")


def replay(settings: Settings) -> int:
    """``modemtls replay FILE``."""
    from modemtls.dialogue.replay import ReplayModem
    from modemtls.transcript import load

    transcript = load(Path(settings.required("file")))
    with ReplayModem(transcript) as modem:
        print(modem.path, flush=True)
        if modem.run():
            status("played to the end")
            return 0
        print(printable(f"modemtls: {settings.required('file')}: {modem.replay.deviation}"), file=sys.stderr)
        return 1
