"""Write a live dialogue down as a transcript, secrets redacted.

:class:`Recorder` is a :class:`modemtls.at.trace.Trace`: give it to a channel. :func:`pass_through` stands between a
program of somebody else and the modem.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import time
import tty
from typing import TYPE_CHECKING, TextIO

from modemtls.at.port import received
from modemtls.dialogue.known import default_redactor
from modemtls.transcript import Data, Direction, Header, Pause, Redacted, join, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from modemtls.at.port import Port
    from modemtls.at.trace import TraceRecord
    from modemtls.dialogue.redact import Piece, Redactor
    from modemtls.transcript import Chunk, Entry

__all__ = ["Recorder", "pass_through"]

PAUSE = 0.05  # seconds of silence that are worth a line
LINE = 400  # bytes in one line of the file, about
MASK = b"***"  # what a channel puts in the place of a secret
DRAIN = 0.05  # seconds that are waited for the last words of a program that has ended


class Recorder:
    """Writes a transcript as it happens. The file is complete after every call, up to an unfinished line.

    ``redactor``: what keeps secrets out; by default what the standards and all bundled profiles mark as one.
    """

    def __init__(
        self, file: TextIO, *, source: str, profile: str | None = None, redactor: Redactor | None = None
    ) -> None:
        self._file = file
        self._redactor = redactor or default_redactor()
        self._last: float | None = None
        head: list[Entry] = [Header("source", " ".join(source.split()) or "recorded")]
        if profile:
            head.append(Header("profile", profile))
        head.append(Header("evidence", "device"))
        self._write(head)

    def __call__(self, record: TraceRecord, /) -> None:
        """Take what a channel traced; what the channel blacked out stays so."""
        if record.direction == "note":
            return
        direction = Direction.OUT if record.direction == "out" else Direction.IN
        at = 0
        for offset, length, passed in record.redacted:
            self._take(self._redactor.feed(record.time, direction, record.data[at:offset], explained=True))
            self._take(self._redactor.flush(explained=True))
            self._say(record.time, direction, _unmasked(record.data[offset : offset + length], passed))
            at = offset + length
        self._take(self._redactor.feed(record.time, direction, record.data[at:], explained=True))

    def feed(self, when: float, direction: Direction, data: bytes) -> None:
        """Take bytes as they passed; ``when`` in seconds of any clock that does not run backwards."""
        self._take(self._redactor.feed(when, direction, data))

    def close(self) -> None:
        """Write what was held back. The file stays open: it is the caller's."""
        self._take(self._redactor.flush())
        self._file.flush()

    def _take(self, pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            self._say(piece.time, piece.direction, piece.chunks)

    def _say(self, when: float, direction: Direction, chunks: tuple[Chunk, ...]) -> None:
        entries: list[Entry] = []
        if self._last is not None and when - self._last >= PAUSE:
            entries.append(Pause(round(when - self._last, 3)))
        self._last = when
        entries += [Data(direction, line) for line in _lines(chunks)]
        self._write(entries)

    def _write(self, entries: list[Entry]) -> None:
        self._file.write(write(entries))
        self._file.flush()


def _unmasked(shown: bytes, passed: int) -> tuple[Chunk, ...]:
    """Return what stands for ``passed`` bytes of which ``shown`` may be seen: what is around the masks is kept."""
    before, mask, rest = shown.partition(MASK)
    behind = rest.rpartition(MASK)[2]
    hidden = passed - len(before) - len(behind)
    return join((before, Redacted(hidden), behind)) if mask and hidden >= 0 else (Redacted(passed),)


def _lines(chunks: tuple[Chunk, ...]) -> list[tuple[Chunk, ...]]:
    """Cut into lines of bearable length, at line feeds where there are any."""
    out: list[tuple[Chunk, ...]] = []
    line: list[Chunk] = []
    length = 0
    for chunk in chunks:
        if isinstance(chunk, Redacted):
            line.append(chunk)
            continue
        for piece in chunk.splitlines(keepends=True):
            for at in range(0, len(piece), LINE):
                part = piece[at : at + LINE]
                if length and length + len(part) > LINE:
                    out.append(join(line))
                    line, length = [], 0
                line.append(part)
                length += len(part)
    if line:
        out.append(join(line))
    return [line for line in out if line]


def pass_through(
    port: Port,
    recorder: Recorder,
    command: Sequence[str],
    *,
    opened: Callable[[str], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Offer the modem as a pseudo terminal, and record what passes in both directions.

    With ``command`` it is run with the terminal's path in ``$MODEMTLS_PORT``, and its exit code is returned; without
    one, ``opened`` is called with the path, and the modem is offered until Ctrl-C (then 0). The port is not closed.

    Raises PortLostError if the modem goes away, OSError if the command cannot be run.
    """
    master, slave = os.openpty()
    child: subprocess.Popen[bytes] | None = None
    try:
        tty.setraw(slave)
        os.set_blocking(master, False)
        path = os.ttyname(slave)
        if opened:
            opened(path)
        if command:
            child = subprocess.Popen(list(command), env={**os.environ, "MODEMTLS_PORT": path})  # noqa: S603
        return _pump(port, master, recorder, child, clock)
    finally:
        recorder.close()
        if child and child.poll() is None:
            child.terminate()
            child.wait()
        os.close(slave)
        os.close(master)


def _pump(
    port: Port, master: int, recorder: Recorder, child: subprocess.Popen[bytes] | None, clock: Callable[[], float]
) -> int:
    modem = port.fileno()
    to_modem, to_program = bytearray(), bytearray()  # what the other side has not taken yet
    with selectors.DefaultSelector() as selector, _child_ends(selector, child) as watched:
        for descriptor in (master, modem):
            selector.register(descriptor, selectors.EVENT_READ)
        ended = False
        while True:
            selector.modify(master, selectors.EVENT_READ | (selectors.EVENT_WRITE if to_program else 0))
            selector.modify(modem, selectors.EVENT_READ | (selectors.EVENT_WRITE if to_modem else 0))
            try:
                # A pseudo terminal hands on what was written a little later than its writer ends.
                ready = {key.fd for key, _ in selector.select(DRAIN if ended else None)}
            except KeyboardInterrupt:
                if child is None:
                    return 0
                continue  # the terminal gives Ctrl-C to the child as well: it decides
            if modem in ready:
                data = received(modem, port.name)
                recorder.feed(clock(), Direction.IN, data)
                to_program += data
            if master in ready:
                data = received(master, "the pseudo terminal")
                recorder.feed(clock(), Direction.OUT, data)
                to_modem += data
            _write(master, to_program)
            _write(modem, to_modem)
            if child is not None and child.poll() is not None:
                if ended and master not in ready and not to_modem:
                    return child.returncode
                if not ended:
                    ended = True
                    selector.unregister(watched)


def _write(descriptor: int, waiting: bytearray) -> None:
    """Write as much as is taken."""
    if waiting:
        with contextlib.suppress(BlockingIOError):
            del waiting[: os.write(descriptor, waiting)]


@contextlib.contextmanager
def _child_ends(selector: selectors.BaseSelector, child: subprocess.Popen[bytes] | None) -> Iterator[int]:
    """Wake the selector when the child ends; give the descriptor that does."""
    if child is None:
        yield -1
        return
    descriptor = os.pidfd_open(child.pid)
    selector.register(descriptor, selectors.EVENT_READ)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
