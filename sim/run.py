"""A simulated modem in a process of its own: ``modemtls sim MODEL …``, or ``python -m modemtls.sim.run MODEL …``."""

from __future__ import annotations

import argparse
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from modemtls.sim import faults
from modemtls.sim.faults import UsageError
from modemtls.sim.options import Options
from modemtls.sim.personalities import find, models

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Complain in one line."""
        sys.stderr.write(f"{self.prog}: {message}\n")
        raise SystemExit(2)


def _epilog() -> str:
    parts = ["faults (N counts from 1):", faults.describe()]
    known: dict[str, list[str]] = {}  # a variant as described: the models that have it so
    texts: dict[str, set[str]] = {}
    for model in models():
        for variant in find(model).variants(model):
            known.setdefault(variant.describe(), []).append(model)
            texts.setdefault(variant.name, set()).add(variant.describe())
    listed = []
    for text, having in known.items():
        everywhere = len(having) == len(models()) and len(texts[text.split("=")[0].strip()]) == 1
        listed.append(text if everywhere else f"{text} [{', '.join(having)}]")
    return "\n".join([*parts, "", "variants:", *listed])


def parser(prog: str = "modemtls sim") -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    made = _Parser(
        prog=prog,
        description="Run a simulated modem on a pseudo-terminal. Its path is the first line printed; "
        "it runs until stopped (Ctrl-C or SIGTERM).",
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("model", metavar="MODEL", help=f"one of: {', '.join(models())}")
    made.add_argument("--link", metavar="PATH", help="keep a symbolic link here pointing at the pseudo-terminal")
    made.add_argument("--baud", metavar="N", help="pace the line at this rate (default: as fast as it goes)")
    made.add_argument(
        "--map",
        metavar="NAME=HOST:PORT",
        action="append",
        default=[],
        help="where connections to NAME (or NAME:PORT) really go; the default is the same port on 127.0.0.1",
    )
    made.add_argument(
        "--fault",
        metavar="KIND@WHEN[:ARGUMENT]",
        action="append",
        default=[],
        help="WHEN: byte N, command N, urc N, out N or in N",
    )
    made.add_argument("--variant", metavar="NAME=VALUE", action="append", default=[], help="see below")
    made.add_argument("--seed", metavar="N", default="0", help="for the randomness of faults (default: 0)")
    made.add_argument("--trace", metavar="FILE", help="write the dialogue and what the modem thought, as a transcript")
    made.add_argument("--clock", metavar="DATE", help="what the modem's clock says at first, in UTC")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 when stopped, 1 if it cannot run, 2 for wrong usage."""
    arguments = parser().parse_args(argv)
    try:
        find(arguments.model)
        options = Options.build(
            baud=arguments.baud,
            link=arguments.link,
            maps=arguments.map,
            faults=arguments.fault,
            variants=arguments.variant,
            seed=arguments.seed,
            trace=arguments.trace,
            clock=arguments.clock,
        )
    except UsageError as error:
        return _complain(str(error), 2)
    link = options.link
    if link is not None and link.exists() and not link.is_symlink():
        return _complain(f"link {str(link)!r}: exists and is not a symbolic link", 2)
    return _run(arguments.model, options)


def _run(model: str, options: Options) -> int:
    try:
        import modemtls.tlsengine.openssl  # noqa: F401 - a missing engine shows now, not at the first TLS connection
        from modemtls.sim.machine import Machine

        machine = Machine(model, options)
    except UsageError as error:
        return _complain(str(error), 2)
    except ImportError as error:
        return _complain(str(error), 1)
    except OSError as error:
        name = error.filename2 or error.filename
        return _complain(f"{error.strerror or error}{f': {name}' if name else ''}", 1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: machine.loop.stop())
    try:
        sys.stdout.write(machine.line.path + "\n")
        sys.stdout.flush()
        machine.loop.run()
    except BrokenPipeError:
        return _complain("nobody reads the port's name", 1)
    finally:
        machine.close()
    return 0


def _complain(text: str, code: int) -> int:
    sys.stderr.write(f"modemtls sim: {text}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
