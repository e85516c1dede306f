"""Driver and responder on processors of their own, as a gateway and its modem are.

Left to the scheduler they share one at times, and what the same work costs then differs by a factor of two from one run
to the next: a change between processes on one processor is cheap, waking another processor is not. On a shared one
there is less to wait for on both sides, so that the driver's own steps weigh more: where CPU per MB is 1.45 times the
bare loop's apart, it is up to 2.1 times as much together.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["apart", "where"]

_PROCESSORS = sorted(os.sched_getaffinity(0))


@contextmanager
def apart(responder: int) -> Iterator[None]:
    """Keep this thread, and those that it starts, off the processor of a process; nothing if there is only one."""
    if len(_PROCESSORS) < 2:
        yield
        return
    os.sched_setaffinity(responder, _PROCESSORS[1:])
    os.sched_setaffinity(0, _PROCESSORS[:1])
    try:
        yield
    finally:
        os.sched_setaffinity(0, _PROCESSORS)


def where() -> str:
    """Say what ran where, for below the figures."""
    if len(_PROCESSORS) < 2:
        return "One processor for driver and responder."
    return "Driver and responder on processors of their own."
