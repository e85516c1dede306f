"""The parser and the help texts, made from the table.

Usage errors are one line on stderr and exit code 2. Global options may stand before and after the command.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import math
import re
import sys
import textwrap
from typing import TYPE_CHECKING, NoReturn

from modemtls.cli.table import COMMANDS, FAMILIES, GLOBALS, TLS, Argument, Command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["KINDS", "build", "help_text", "parse", "refuse"]

WIDTH = 96
LONGEST_NUMBER = 18
"""Digits."""
LONGEST = 500
"""Characters of a message, whatever it quotes."""


def _number(text: str, otherwise: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER else otherwise


def _count(text: str) -> int:
    value = _number(text, -1)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return value


def _positive(text: str) -> int:
    value = _number(text, 0)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return value


def _port(text: str) -> int:
    value = _number(text, 0)
    if not 1 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (1 to 65535)")
    return value


def _wait(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def _seconds(text: str) -> float:
    value = _wait(text)
    if value == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def _version(text: str) -> str:
    if not re.fullmatch(r"1\.[0-3]", text):  # those that exist; what a modem can do of them it is asked
        offers = next(item.offers for item in TLS if item.kind == "version")
        raise argparse.ArgumentTypeError(f"{text!r} is no TLS version (choose from {', '.join(offers)})")
    return text


def _flag(text: str) -> bool:
    value = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}.get(text.lower())
    if value is None:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return value


def _text(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("must not be empty")
    return text


KINDS: dict[str, Callable[[str], object]] = {
    "text": _text,
    "count": _count,
    "positive": _positive,
    "port": _port,
    "seconds": _seconds,
    "wait": _wait,
    "version": _version,
    "flag": _flag,  # in the environment and in the file; as an option it stands alone
}


def refuse(message: str, words: Sequence[str] = ()) -> NoReturn:
    """Say in one line what is wrong with the command line, and end with exit code 2."""
    called = " ".join(("modemtls", *words))
    if not message.isprintable() or len(message) > LONGEST:
        from modemtls.errors import printable, shortened

        message = shortened(printable(message), LONGEST)
    print(f"{called}: {message} (see '{called} --help')", file=sys.stderr)
    raise SystemExit(2)


class _Parser(argparse.ArgumentParser):
    def __init__(self, words: tuple[str, ...] = (), **_: object) -> None:
        super().__init__(prog=" ".join(("modemtls", *words)), add_help=False, allow_abbrev=False)
        self.words = words
        self.add_argument("-h", "--help", action="store_true", default=argparse.SUPPRESS)

    def error(self, message: str) -> NoReturn:
        wrong = re.match(r"argument COMMAND: invalid choice: '(.*)' \(", message)
        if wrong:
            known = {c.words[len(self.words)] for c in COMMANDS if c.words[: len(self.words)] == self.words}
            near = difflib.get_close_matches(wrong[1], known, 1)
            message = f"{wrong[1]!r} is no command" + (f"; did you mean {near[0]!r}?" if near else "")
        refuse(" ".join(message.split()), self.words)


def _add(parser: argparse.ArgumentParser, item: Argument) -> None:
    if item.kind == "flag":
        parser.add_argument(*item.flags, dest=item.dest, action="store_true", default=argparse.SUPPRESS)
        return
    options: dict[str, object] = {"type": KINDS[item.kind], "default": argparse.SUPPRESS}
    if item.choices:
        options["choices"] = item.choices
    if item.positional:
        options["metavar"] = item.flags[0]
        if item.count:
            options["nargs"] = item.count
        parser.add_argument(item.dest, **options)  # type: ignore[arg-type]
        return
    options["dest"] = item.dest
    options["metavar"] = item.metavar or item.dest.upper()
    if item.count == "*":
        options["action"] = "append"
    parser.add_argument(*item.flags, **options)  # type: ignore[arg-type]


def build(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Make the parser: of the commands that occur among these words, which starts faster; of all if none does."""
    parser = _Parser(())
    parser.add_argument("--version", action="store_true", default=argparse.SUPPRESS)
    for item in GLOBALS:
        _add(parser, item)
    first = parser.add_subparsers(dest="word", parser_class=_Parser, metavar="COMMAND")
    families: dict[str, argparse._SubParsersAction[_Parser]] = {}
    names = {c.words[0] for c in COMMANDS}
    limit = set(words) & names or names
    for command in COMMANDS:
        head = command.words[0]
        if head not in limit:
            continue
        if len(command.words) == 1:
            leaf = first.add_parser(head, words=command.words)
        else:
            if head not in families:
                middle = first.add_parser(head, words=(head,))
                for item in GLOBALS:
                    _add(middle, item)
                families[head] = middle.add_subparsers(dest="second", parser_class=_Parser, metavar="COMMAND")
            leaf = families[head].add_parser(command.words[1], words=command.words)
        for item in (*GLOBALS, *command.arguments):
            _add(leaf, item)
    return parser


def parse(argv: Sequence[str]) -> tuple[Command | None, argparse.Namespace]:
    """Read a command line. The command is None for the bare program: help or version was asked, or nothing.

    What follows a ``--`` goes into ``tail`` where the command takes one. Ends with exit code 2 on a usage error.
    """
    given = list(argv)
    tail: list[str] = []
    cut = given.index("--") if "--" in given else len(given)
    if cut < len(given) and {c.words[0] for c in COMMANDS if c.tail} & set(given[:cut]):
        tail, given = given[cut + 1 :], given[:cut]
    return _parse(given, tail)


def _parse(given: list[str], tail: list[str]) -> tuple[Command | None, argparse.Namespace]:
    if any(w in {"-h", "--help"} for w in given):
        return _asked_for_help(given)
    options, unknown = build(given).parse_known_args(given)
    word = getattr(options, "word", None)
    if word is None:
        if unknown:
            refuse(f"unknown option {unknown[0]}")
        return None, options
    words = (word,) if word not in FAMILIES else (word, getattr(options, "second", None) or "")
    command = next((c for c in COMMANDS if c.words == words), None)
    if command is None:
        refuse("which of " + ", ".join(c.words[1] for c in COMMANDS if c.words[0] == word) + "?", (word,))
    if unknown:
        hint = f"; a {command.tail} stands behind two dashes: -- {command.tail}..." if command.tail else ""
        refuse(f"unknown option or one argument too many: {' '.join(unknown)}{hint}", command.words)
    options.tail = tail
    return command, options


def _asked_for_help(given: list[str]) -> tuple[None, argparse.Namespace]:
    """``--help`` anywhere wins over whatever else is missing or wrong."""
    words = tuple(w for w in given if not w.startswith("-"))
    best: tuple[str, ...] = ()
    for size in (2, 1):
        for start in range(len(words)):
            part = words[start : start + size]
            if any(c.words[: len(part)] == part for c in COMMANDS):
                best = best or part
    return None, argparse.Namespace(help_for=best)


# -- help texts ----------------------------------------------------------------------------------------------------


def _flow(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _row(left: str, right: str, column: int = 26) -> str:
    pad = " " * (column + 2)
    body = textwrap.fill(right, WIDTH, initial_indent=pad, subsequent_indent=pad, break_on_hyphens=False)
    if len(left) > column - 2:
        return f"  {left}\n{body}"
    return f"  {left:<{column}}" + body[column + 2 :]


def _spelled(item: Argument) -> str:
    if item.positional:
        return item.flags[0] + ("..." if item.count in {"+", "*"} else "")
    value = "" if item.kind == "flag" else " " + (item.metavar or item.dest.upper())
    return ", ".join(item.flags) + value


def _told(item: Argument) -> str:
    extra = []
    if (item.choices or item.offers) and not item.positional:
        extra.append("one of " + ", ".join(item.choices or item.offers))
    if item.default:
        extra.append(f"default {item.default}")
    if item.env:
        extra.append("$" + item.env)
    text = item.help
    if item.choices and item.positional:
        text += ": " + ", ".join(item.choices)
    return text + (f" [{'; '.join(extra)}]" if extra else "")


def help_text(words: tuple[str, ...] = ()) -> str:
    """Return the help of the program, of a family such as ``profile``, or of one command."""
    command = next((c for c in COMMANDS if c.words == words), None)
    if command is not None:
        return _command_help(command)
    if words:
        return _family_help(words[0])
    out = [
        "usage: modemtls [options] COMMAND ...",
        "",
        _flow("The TLS stack inside a cellular modem as an ordinary secure connection."),
        "",
        "New here?  `modemtls demo` shows everything once, without any hardware.",
        "",
    ]
    groups: dict[str, list[Command]] = {}
    for each in COMMANDS:
        groups.setdefault(each.group, []).append(each)
    for title, members in groups.items():
        out.append(f"{title}:")
        out += [_row(c.name, c.help) for c in members]
        out.append("")
    out.append("Options (before or after the command):")
    out += [_row(_spelled(item), _told(item)) for item in GLOBALS]
    out.append(_row("-h, --help", "this text, or that of a command: modemtls COMMAND --help"))
    out.append(_row("--version", "print the version"))
    out += [
        "",
        _flow(
            "An option that is shown with an environment variable and not given is taken from that, then from the "
            "file ~/.config/modemtls/config.toml (or $MODEMTLS_CONFIG), whose keys are the long names of these: "
            'port = "/dev/ttyUSB2", rtscts = true. All others, such as --no-verify, are for the command line alone. '
            "Passwords, PINs and keys are read from files or the environment, never from the command line."
        ),
        "",
        "Exit codes: 0 success, 1 the operation failed (one line on stderr says why), 2 wrong usage,",
        "130 Ctrl-C.",
    ]
    return "\n".join(out) + "\n"


def _family_help(word: str) -> str:
    members = [c for c in COMMANDS if c.words[0] == word]
    out = [f"usage: modemtls {word} {'|'.join(c.words[1] for c in members)} ...", "", _flow(FAMILIES[word]), ""]
    out += [_row(c.name, c.help) for c in members]
    return "\n".join(out) + "\n"


def _command_help(command: Command) -> str:
    places = [item for item in command.arguments if item.positional]
    named = [item for item in command.arguments if not item.positional]
    usage = ["usage: modemtls", command.name, *(_spelled(p) for p in places), "[options]"]
    if command.tail:
        usage.append(f"[-- {command.tail}...]")
    out = [" ".join(usage), "", _flow(command.help[0].upper() + command.help[1:] + "."), ""]
    if command.about:
        out += [_flow(command.about), ""]
    if places:
        out += [*(_row(_spelled(item), _told(item)) for item in places), ""]
    if named:
        out += ["Options:", *(_row(_spelled(item), _told(item)) for item in named), ""]
    shown = [item for item in GLOBALS if next(f for f in item.flags if f.startswith("--")) in command.uses]
    if shown:
        out += ["The modem:", *(_row(_spelled(item), _told(item)) for item in shown), ""]
    if command.examples:
        out += ["Examples:", *("  " + e for e in command.examples), ""]
    if command.more:
        module, _, function = command.more.partition(":")
        out.append(getattr(importlib.import_module(f"modemtls.cli.{module}"), function)())
    return "\n".join(out)
