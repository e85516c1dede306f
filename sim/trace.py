"""The trace: what crossed the line and what the modem thought about it, written as a transcript.

``> `` host to modem, ``< `` modem to host, ``~ `` seconds since the last entry, ``# `` a note. Secrets are written as
``{N bytes redacted}``: payloads that are key material, and what the personality masks in command lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from pathlib import Path

    from modemtls.sim.clock import Clock

__all__ = ["Trace", "escape"]

_ESCAPES = {0x0D: "\\r", 0x0A: "\\n", 0x09: "\\t", 0x5C: "\\\\"}
_TABLE = [_ESCAPES.get(n) or (chr(n) if 0x20 <= n < 0x7F else f"\\x{n:02X}") for n in range(256)]


def escape(data: bytes) -> str:
    r"""Return ``data`` as a transcript writes it; a blank at the end is ``\x20``."""
    text = "".join([_TABLE[n] for n in data])
    return text[:-1] + "\\x20" if text.endswith(" ") else text


class Trace:
    """Collects entries in memory and, if given, in a file (flushed after every entry)."""

    def __init__(self, clock: Clock, path: Path | None = None, *, keep: int = 10000) -> None:
        self._clock = clock
        self._file: TextIO | None = path.open("w", encoding="utf-8") if path else None
        self._keep = keep
        self._last = clock.now()
        self._echo = bytearray()
        self.lines: list[str] = []

    def close(self) -> None:
        """Close the file; further entries stay in memory."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def note(self, text: str) -> None:
        """Write what happened inside the modem."""
        self._write("# " + text.replace("\r", "\\r").replace("\n", "\\n"))

    def received(self, data: bytes, *, redact: bool = False) -> None:
        """Write bytes of the host."""
        self._write("> " + (f"{{{len(data)} bytes redacted}}" if redact else escape(data)))

    def sent(self, data: bytes) -> None:
        """Write bytes to the host; key material that is read back is redacted."""
        self._write("< " + (f"{{{len(data)} bytes redacted}}" if b"PRIVATE KEY" in data else escape(data)))

    def echoed(self, data: bytes) -> None:
        """Keep echo back until its line is complete and can be masked."""
        self._echo += data

    def commands(self) -> list[str]:
        """Return the command lines so far, masked, without their line end."""
        return [
            line[2:-2]
            for line in self.lines
            if line.startswith("> ") and line.endswith("\\r") and line[2:4].upper() == "AT"
        ]

    def command(self, shown: bytes) -> None:
        """Write a complete command line, masked, and its echo."""
        self._write("> " + escape(shown) + "\\r")
        if self._echo:
            self._echo.clear()
            self._write("< " + escape(shown) + "\\r")

    @property
    def notes(self) -> list[str]:
        """The notes so far, without their mark."""
        return [line[2:] for line in self.lines if line.startswith("# ")]

    def _write(self, text: str) -> None:
        now = self._clock.now()
        if now - self._last >= 0.001:
            self._put(f"~ {now - self._last:.3f}")
            self._last = now
        self._put(text)
        if self._file is not None:
            self._file.flush()

    def _put(self, text: str) -> None:
        self.lines.append(text)
        if len(self.lines) > self._keep:
            del self.lines[: self._keep // 2]
        if self._file is not None:
            self._file.write(text + "\n")
