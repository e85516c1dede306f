"""Finding profiles, and the one merge rule: maps merge, everything else replaces, ``null`` deletes."""

from __future__ import annotations

import os
import stat
from functools import cache
from pathlib import Path
from typing import Final

from modemtls.errors import ConfigurationError
from modemtls.profile.problems import Problems, did_you_mean
from modemtls.profile.source import MAX_SIZE, Node, parse

__all__ = ["BUNDLED", "MAX_PARENTS", "bundled_names", "bundled_path", "concrete_names", "copy", "find", "merge", "read"]

BUNDLED: Final = Path(__file__).resolve().parent.parent / "profiles"
MAX_PARENTS: Final = 8
# A file's own: never inherited.
_OWN: Final = frozenset({"profile", "name", "abstract", "extends"})


def bundled_names() -> list[str]:
    """Return the names of all bundled profiles, abstract ones too."""
    return sorted(path.stem for path in BUNDLED.glob("*.yaml"))


def bundled_path(name: str) -> Path:
    """Return the file that a bundled profile of this name has."""
    return BUNDLED / f"{name}.yaml"


def concrete_names() -> list[str]:
    """Return the names of the bundled profiles that are not abstract."""
    return [name for name in bundled_names() if not _is_abstract(bundled_path(name))]


@cache
def _is_abstract(path: Path) -> bool:
    # Its parents do not matter: this is never inherited.
    root = parse(path.read_bytes(), str(path), Problems(), only=frozenset({"abstract"}))
    flag = None if root is None else root.entries.get("abstract")
    return flag is not None and flag.scalar is True


def find(name: str, near: Path | None = None) -> Path | None:
    """Return the file of a profile: beside another one, or bundled."""
    for folder in (near, BUNDLED):
        if folder is not None:
            path = folder / f"{name}.yaml"
            if path.is_file():
                return path
    return None


def locate(name_or_path: str, *, abstract: bool = True) -> Path:
    """Return the file of a profile given by name or path; ``~`` is a home directory.

    Raises ConfigurationError; without ``abstract`` it names only profiles that drive a modem.
    """
    if name_or_path.endswith((".yaml", ".yml")) or "/" in name_or_path:
        try:
            return Path(name_or_path).expanduser()
        except RuntimeError:
            raise ConfigurationError(f"{name_or_path}: whose home directory that is, is not known") from None
    path = find(name_or_path)
    if path is None:
        hint = did_you_mean(name_or_path, bundled_names() if abstract else concrete_names())
        raise ConfigurationError(f"no profile {name_or_path}" + (f" ({hint})" if hint else ""))
    return path


def copy(node: Node) -> Node:
    """Return a node with lists and maps of its own, one level deep."""
    return Node(
        node.kind,
        node.file,
        node.line,
        node.column,
        node.scalar,
        list(node.items),
        dict(node.entries),
        dict(node.keys),
        removed=dict(node.removed),
    )


def merge(parent: Node, child: Node, problems: Problems) -> Node:
    """Lay ``child`` over ``parent``; both are maps and stay as they are."""
    out = copy(parent)
    out.file, out.line, out.column = child.file, child.line, child.column
    for name, value in child.entries.items():
        if value.kind == "null":
            if name not in parent.entries:
                problems.add(value, f"null removes what is inherited, and there is no {name} to remove")
            out.removed[name] = value
            out.entries.pop(name, None)
            out.keys.pop(name, None)
            continue
        below = parent.entries.get(name)
        if value.kind == "map" and below is not None and below.kind == "map":
            value = merge(below, value, problems)  # noqa: PLW2901 - the merged value takes its place
        out.entries[name] = value
        out.keys[name] = child.key(name)
        out.removed.pop(name, None)
    return out


def _load(path: Path, shown: str, problems: Problems, only: frozenset[str]) -> Node | None:
    try:
        # Opening a FIFO, and reading a terminal, would wait for somebody; so those are told apart without waiting.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK | os.O_NOCTTY)) as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            data = file.read(MAX_SIZE + 1) if regular else b""  # parse() refuses the one byte more
    except OSError as error:
        raise ConfigurationError(f"{shown}: {error.strerror or error}") from None
    except ValueError:  # a NUL in the name
        raise ConfigurationError(f"{shown}: cannot be a file") from None
    if not regular:
        raise ConfigurationError(f"{shown}: it is no regular file")
    return parse(data, shown, problems, only=only)


def read(
    path: Path, problems: Problems, *, seen: tuple[Path, ...] = (), only: frozenset[str] = frozenset()
) -> Node | None:
    """Read a profile and everything it extends, merged. Raises ConfigurationError if the file cannot be read.

    What is wrong goes to ``problems``. ``only``: these entries are wanted, others may be missing.
    """
    root = _load(path, str(path), problems, only and only | _OWN)
    if root is None:
        return None
    extends = root.entries.get("extends")
    if extends is None or extends.kind != "text":
        return root
    here = path.resolve()
    name = str(extends.scalar)
    parent = find(name, here.parent)
    if parent is None:
        known = {one.stem for one in here.parent.glob("*.yaml")} | set(bundled_names())
        problems.add(extends, f"no profile {name} to extend", did_you_mean(name, known))
        return root
    if parent.resolve() in (*seen, here):
        problems.add(extends, f"{name} extends itself in a circle")
        return root
    if len(seen) + 1 >= MAX_PARENTS:
        problems.add(extends, f"more than {MAX_PARENTS} levels of extends")
        return root
    below = read(parent, problems, seen=(*seen, here), only=only)
    if below is None:
        return root
    base = copy(below)
    for own in _OWN:
        base.entries.pop(own, None)
        base.keys.pop(own, None)
    return merge(base, root, problems)
