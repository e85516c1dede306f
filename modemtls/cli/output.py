"""What goes to the screen: one-line errors, status on stderr, the AT dialogue, a progress bar."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from modemtls.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

__all__ = ["Progress", "human", "logged", "one_line", "passed", "passing", "printable", "status", "write_bytes"]


LONGEST = 1000
"""Characters of one line on stderr."""


def one_line(error: BaseException) -> str:
    """Tell an exception in one line without control characters."""
    if isinstance(error, OSError) and error.strerror and type(error).__module__ == "builtins":
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        return _bounded(printable(where + error.strerror))
    text = " ".join(str(error).split())
    return _bounded(printable(_in_options(text))) or type(error).__name__


def _bounded(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


@contextmanager
def logged(*, verbose: bool) -> Iterator[None]:
    """Show what the driver logs as lines on stderr: errors, and with ``verbose`` warnings.

    Nothing else, and never through a handler of somebody else: a failure is one line, and that is the exception's.
    """
    import logging

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            try:
                text = record.getMessage()
                failure = record.exc_info[1] if record.exc_info else None
                status(_bounded(text if failure is None else f"{text}: {one_line(failure)}"))
            except Exception:  # what logging asks of every handler
                self.handleError(record)

    logger = logging.getLogger("modemtls")
    handler = Lines(logging.WARNING if verbose else logging.ERROR)
    before = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


# The layers below speak of arguments of modemtls.open() and TLSConfig; here they are options.
_OPTIONS = {
    "pin": "--pin-file", "password": "--password-file", "ca": "--cafile", "apn": "--apn", "user": "--user",
    "pdp": "--pdp", "profile": "--profile", "baudrate": "--baudrate", "sni": "--sni", "cert": "--cert",
    "key": "--key", "min_version": "--min-version", "take_over=True": "--take-over", "verify=False": "--no-verify",
    "check_hostname=False": "--no-check-hostname", "radio_off=True": "--radio-off", "engine": "--engine",
    "system_trust=True": "--system-trust", "session_resumption_buffer": "--session-file",
}  # fmt: skip
_ARGUMENT = re.compile(
    r"\b(take_over=True|verify=False|check_hostname=False|radio_off=True|system_trust=True|session_resumption_buffer)\b"
    r'|\b([a-z_]+)=(?:"([^"]*)")?(?![\w"])'
)


def _in_options(text: str) -> str:
    def option(match: re.Match[str]) -> str:
        name = _OPTIONS.get(match[1] or match[2])
        if name is None:
            return match[0]
        return f"{name} {match[3]}" if match[3] else name

    return _ARGUMENT.sub(option, text)


_passing = False


def passing(text: str) -> None:
    """Show on stderr what is being waited for, on a line that the next one takes back. For terminals."""
    global _passing
    sys.stderr.write(f"\r\x1b[Kmodemtls: {printable(text)} ...")
    sys.stderr.flush()
    _passing = True


def passed() -> None:
    """Take the passing line back, if there is one."""
    global _passing
    if _passing:
        _passing = False
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def status(text: str) -> None:
    """Tell on stderr what is going on."""
    passed()
    print(f"modemtls: {printable(text)}", file=sys.stderr, flush=True)


def write_bytes(data: bytes) -> None:
    """Put bytes on stdout, all of them, at once."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def human(size: float) -> str:
    """Write a number of bytes as people read it."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


class Progress:
    """A bar on a terminal; silent anywhere else. ``total`` None when the length is not known."""

    def __init__(self, total: int | None, out: TextIO | None = None) -> None:
        self.total = total
        self.out = sys.stderr if out is None else out
        self.shown = self.out.isatty()
        self.started = time.monotonic()
        self.last = 0.0

    def __call__(self, done: int) -> None:
        """So many bytes are here."""
        now = time.monotonic()
        finished = self.total is not None and done >= self.total
        if not self.shown or (now - self.last < 0.1 and not finished):
            return
        self.last = now
        rate = done / max(now - self.started, 0.001)
        tail = f" {human(done)}  {human(rate)}/s"
        if self.total:
            width = max(10, min(40, shutil.get_terminal_size().columns - len(tail) - 12))
            full = min(width, width * done // self.total)
            head = f"[{'#' * full}{'.' * (width - full)}] {100 * done // self.total:3d} %"
        else:
            head = ""
        self.out.write(f"\r\x1b[K{head}{tail}")
        self.out.flush()

    def close(self) -> None:
        """Leave the line."""
        if self.shown and self.last:
            self.out.write("\n")
            self.out.flush()
            self.shown = False
