"""The program's front door, for ``modemtls`` and ``python -m modemtls``.

So small that it is there at once: Ctrl-C while everything else is still being imported ends the program with exit
code 130 and without a word, for there is nothing yet to clean up.
"""

from __future__ import annotations

TYPE_CHECKING = False  # importing it from typing would take longer than all the rest here
if TYPE_CHECKING:
    from types import FrameType

__all__ = ["main"]


def main() -> int:
    """Run the command line; returns the exit code."""
    import signal

    # Ignored (a shell's background job) it stays; any other handler is somebody's who calls this.
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        from modemtls.cli.main import main as run

        return run()
    signal.signal(signal.SIGINT, _leave)
    try:
        from modemtls.cli.main import main as run

        return run(begin=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    except KeyboardInterrupt:  # before or behind what the command line guards itself
        return 130
    finally:
        signal.signal(signal.SIGINT, _leave)
        # One that struck inside an exec(), which dataclasses are made with, counts as not handled until the next:
        # `python -m` would end by the signal (seen with CPython 3.11).
        exec("")  # noqa: S102 - runs nothing


def _leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as signal() wants it
    import os

    os._exit(130)  # an exception would be swallowed and printed where Python has nobody to give it to


if __name__ == "__main__":
    raise SystemExit(main())
