"""``modemtls``: reads the command line, runs one command, and turns whatever happens into an exit code.

0 success; 1 the operation failed, with one line on stderr; 2 wrong usage; 130 Ctrl-C; 141 whoever read our output
went away (128 + SIGPIPE, as a shell reports it); 143 ended by SIGTERM.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

from modemtls.cli.files import named_stream
from modemtls.cli.parser import help_text, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from modemtls.cli.settings import Settings

__all__ = ["main"]

# What commands that speak to a modem import in any case: all of it before they begin.
_DRIVER = ("modemtls.api", "modemtls.modem.finding", "modemtls.modem.runner", "serial")


def main(argv: Sequence[str] | None = None, *, begin: Callable[[], object] | None = None) -> int:
    """Run one command line and return its exit code; raises nothing but what a debugger would.

    ``begin`` is called when all is imported and the command itself begins: from there on Ctrl-C is to raise
    KeyboardInterrupt.
    """
    _make_streams_safe()
    try:
        return _guarded(sys.argv[1:] if argv is None else argv, begin)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1


def _make_streams_safe() -> None:
    """Have all three streams, no character that cannot be printed, and a name in what goes wrong with the output.

    A stream that the caller closed is None in Python, and its number would go to the next file that is opened: the
    serial port would become stdout. What is written to a closed stdout fails; what is said on a closed stderr is lost.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            # The descriptor is left open on purpose: it keeps the number.
            number = os.open(os.devnull, os.O_RDONLY if name == "stdout" else os.O_RDWR)
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115
        elif mode == "w" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    sys.stdout = named_stream(sys.stdout, "standard output")


def _guarded(argv: Sequence[str], begin: Callable[[], object] | None) -> int:
    try:
        code = _run(argv, begin)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _ended(130)
    except BrokenPipeError as error:
        if type(error) is not BrokenPipeError:  # a connection's, not that of our own output
            return fail(error)
        return _ended(141)
    except OSError as error:
        return fail(error)
    except UnicodeError as error:
        return fail(error)
    return code


def _run(argv: Sequence[str], begin: Callable[[], object] | None) -> int:
    command, options = parse(argv)
    if command is None:
        asked = getattr(options, "help_for", None)
        if asked is not None:
            sys.stdout.write(help_text(asked))
            return 0
        if getattr(options, "version", False):
            from importlib.metadata import version

            print("modemtls", version("modemtls"))
            return 0
        sys.stderr.write(help_text())
        return 2
    from modemtls.cli.settings import Settings

    settings = Settings(command, options)
    settings.check()
    module, _, function = command.run.partition(":")
    run: Callable[[Settings], int] = getattr(importlib.import_module(f"modemtls.cli.{module}"), function)
    if "--port" in command.uses:
        for needed in _DRIVER:
            importlib.import_module(needed)
    if begin is not None:
        begin()
    with _ended_politely():
        if "--port" not in command.uses:
            return run(settings)
        from modemtls.cli.output import logged

        with logged(verbose=settings.flag("verbose")):
            return run(settings)


class _ended_politely:  # noqa: N801 - used like a function
    """SIGTERM unwinds the stack as Ctrl-C does, so that children, links and locks are cleaned up."""

    def __enter__(self) -> None:
        import signal
        import threading

        self.before: object = None
        self.mine = threading.current_thread() is threading.main_thread()
        if self.mine:
            self.before = signal.signal(signal.SIGTERM, _terminate)

    def __exit__(self, *_: object) -> None:
        import signal

        if self.mine:
            signal.signal(signal.SIGTERM, self.before)  # type: ignore[arg-type]


def _terminate(*_: object) -> None:
    raise SystemExit(143)


def fail(error: BaseException) -> int:
    """Say in one line what failed; returns exit code 1."""
    from modemtls.cli.output import one_line

    try:
        print(f"modemtls: {one_line(error)}", file=sys.stderr)
    except OSError:
        pass
    return _ended(1)


def _ended(code: int) -> int:
    """Nothing more will be written: keep the interpreter's own flush at exit from complaining about it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            try:
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            except (OSError, ValueError):
                pass
    return code


if __name__ == "__main__":
    raise SystemExit(main())
