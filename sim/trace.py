"""The trace: what crossed the line and what the modem thought about it, written as a transcript.

``> `` host to modem, ``< `` modem to host, ``~ `` seconds since the last entry, ``# `` a note. Secrets are written as
``{N bytes redacted}``: payloads that are key material, and what the personality masks in command lines.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from pathlib import Path

    from modemtls.sim.clock import Clock

__all__ = ["Trace", "escape"]

_ESCAPES = {0x0D: "\\r", 0x0A: "\\n", 0x09: "\\t", 0x5C: "\\\\"}
_TABLE = [_ESCAPES.get(n) or (chr(n) if 0x20 <= n < 0x7F else f"\\x{n:02X}") for n in range(256)]
_PAUSE = 0.001  # s; shorter ones are not written
_KEPT = 10000  # entries in memory


def escape(data: bytes) -> str:
    r"""Return ``data`` as a transcript writes it; a blank at the end is ``\x20``."""
    text = "".join([_TABLE[n] for n in data])
    return text[:-1] + "\\x20" if text.endswith(" ") else text


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class Trace:
    """Collects entries in memory (the latest ones) and, if given, in a file, flushed after every entry.

    Entries are kept as bytes and only escaped when somebody looks: a modem nobody watches spends no time on it.
    """

    def __init__(self, clock: Clock, path: Path | None = None) -> None:
        self._clock = clock
        # What is taken for a secret is not in it, but who knows what else is one: its owner's alone.
        self._file: TextIO | None = open(path, "w", encoding="utf-8", opener=_private) if path else None  # noqa: SIM115
        self._last = clock.now()
        self._echo = bytearray()
        self._entries: deque[tuple[str, bytes | str]] = deque(maxlen=_KEPT)

    def close(self) -> None:
        """Close the file; further entries stay in memory."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def note(self, text: str) -> None:
        """Write what happened inside the modem."""
        self._put("#", text.replace("\r", "\\r").replace("\n", "\\n"))

    def received(self, data: bytes, *, redact: bool = False) -> None:
        """Write bytes of the host."""
        self._put(">", f"{{{len(data)} bytes redacted}}" if redact else data)

    def sent(self, data: bytes) -> None:
        """Write bytes to the host; key material that is read back is redacted."""
        self._put("<", f"{{{len(data)} bytes redacted}}" if b"PRIVATE KEY" in data else data)

    def echoed(self, data: bytes) -> None:
        """Keep echo back until its line is complete and can be masked."""
        self._echo += data

    def command(self, shown: bytes, end: bytes) -> None:
        """Write a complete command line, masked, and its echo."""
        self._put(">", shown + end)
        if self._echo:
            self._echo.clear()
            self._put("<", shown + end)

    @property
    def lines(self) -> list[str]:
        """The entries, as the file has them."""
        return [_line(mark, what) for mark, what in self._entries]

    @property
    def notes(self) -> list[str]:
        """The notes, without their mark."""
        return [str(what) for mark, what in self._entries if mark == "#"]

    @property
    def commands(self) -> list[str]:
        """The command lines, masked, without their line end."""
        found = [
            what.rstrip(b"\r\n")
            for mark, what in self._entries
            if mark == ">" and isinstance(what, bytes) and what[-1:] in {b"\r", b"\n"}
        ]
        return [escape(line) for line in found if line[:2].upper() == b"AT"]

    def _put(self, mark: str, what: bytes | str) -> None:
        now = self._clock.now()
        if now - self._last >= _PAUSE:
            self._append("~", f"{now - self._last:.3f}")
            self._last = now
        self._append(mark, what)
        if self._file is not None:
            self._file.flush()

    def _append(self, mark: str, what: bytes | str) -> None:
        self._entries.append((mark, what))
        if self._file is not None:
            self._file.write(_line(mark, what) + "\n")


def _line(mark: str, what: bytes | str) -> str:
    return f"{mark} {what if isinstance(what, str) else escape(what)}"
