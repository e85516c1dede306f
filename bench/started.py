"""A modem of a few lines of Python in a process of its own: what the driver is measured against."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.placement import apart

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["started"]


@contextmanager
def started(source: str, *arguments: str) -> Iterator[str]:
    """Run ``source``, whose first line of output is the port that it serves; the value is that port."""
    with subprocess.Popen([sys.executable, "-c", source, *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            path = process.stdout.readline().strip()
            with apart(process.pid):
                yield path
        finally:
            process.kill()
