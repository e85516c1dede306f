"""Files and streams that are written to, with their name in every error. Quick to import."""

from __future__ import annotations

import io
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO, TextIO

__all__ = ["NamedFile", "named_stream", "naming", "writing"]


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Let errors of the operating system say which file or stream they are about, as the user calls it."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror or os.strerror(error.errno), name) from None


class NamedFile(io.FileIO):
    """A file to write to whose errors name it; what is written may be told to have failed as late as at its close."""

    def __init__(self, file: str | os.PathLike[str] | int, shown: str, *, closefd: bool = True) -> None:
        self.shown = shown
        with naming(shown):
            super().__init__(file, "wb", closefd=closefd)

    def write(self, data: Any) -> int:
        """Write."""
        with naming(self.shown):
            return super().write(data)

    def close(self) -> None:
        """Close it."""
        with naming(self.shown):
            super().close()


@contextmanager
def writing(file: str | os.PathLike[str] | int, shown: str) -> Iterator[BinaryIO]:
    """Open a file to write to; written and closed at the end, or there is an error that names it as ``shown``."""
    out: BinaryIO = io.BufferedWriter(NamedFile(file, shown))
    try:
        yield out
    except BaseException:
        with suppress(OSError):  # what happened first is what is told
            out.close()
        raise
    out.close()


def named_stream(stream: TextIO, shown: str) -> TextIO:
    """Return the same standard stream with a name in its errors; any other stream as it is."""
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    if type(stream) is not io.TextIOWrapper or type(raw) is not io.FileIO:
        return stream
    named: Any = NamedFile(raw.fileno(), shown, closefd=False)
    return io.TextIOWrapper(
        named if buffer is raw else io.BufferedWriter(named),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
