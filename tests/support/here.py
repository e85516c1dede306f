"""The command line in this process, for what the start and the end of a program of its own would show nothing of.

As a program (``python -m tests.support.here``) it runs one command line after the other, in one process: it reads them
as a JSON list of lists, and writes a list of what :func:`here` returned of each, as exit code, stdout and stderr.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from unittest import mock

from modemtls.cli.main import main

PATIENCE = 20.0


class _Output(io.BytesIO):
    """Keeps what is written, and ends the input when all that is waited for is there."""

    def __init__(self, until: bytes, end: io.FileIO) -> None:
        super().__init__()
        self._until, self._end = until, end

    def write(self, data) -> int:
        size = super().write(data)
        if self._until in self.getvalue():
            self._end.close()
        return size


def here(
    *arguments: object, data: bytes = b"", until: bytes | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a command line with ``data`` as its input; ``env``: its whole environment.

    The input ends at once, or when ``until`` has been written.
    """
    reading, writing = (io.FileIO(number, mode) for number, mode in zip(os.pipe(), "rw", strict=True))
    out, err = _Output(until or b"", writing), io.BytesIO()
    with _standing_in(io.TextIOWrapper(reading), io.TextIOWrapper(out), io.TextIOWrapper(err)), reading, writing:
        writing.write(data)
        if until is None:
            writing.close()
        late = threading.Timer(PATIENCE, writing.close)
        late.start()
        try:
            with mock.patch.dict(os.environ, os.environ if env is None else env, clear=env is not None):
                code = main([*map(str, arguments)])
        finally:
            late.cancel()
            late.join()
        sys.stdout.flush()
        sys.stderr.flush()
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _standing_in(*streams: io.TextIOWrapper) -> Iterator[None]:
    before = sys.stdin, sys.stdout, sys.stderr
    sys.stdin, sys.stdout, sys.stderr = streams
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = before


def one_after_the_other(*lines: tuple[object, ...], env: Mapping[str, str]) -> list[subprocess.CompletedProcess[bytes]]:
    """Run command lines in one new process, with ``env`` as its environment."""
    asked = json.dumps([[*map(str, line)] for line in lines]).encode()
    command = [sys.executable, "-m", "tests.support.here"]
    done = subprocess.run(command, input=asked, stdout=subprocess.PIPE, env=env, timeout=60, check=True)
    return [
        subprocess.CompletedProcess(line, code, bytes.fromhex(out), bytes.fromhex(err))
        for line, (code, out, err) in zip(lines, json.loads(done.stdout), strict=True)
    ]


if __name__ == "__main__":
    results = [here(*line) for line in json.load(sys.stdin)]
    print(json.dumps([(one.returncode, one.stdout.hex(), one.stderr.hex()) for one in results]))
