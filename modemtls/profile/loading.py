"""Loading, checking and showing profiles."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from modemtls.errors import ConfigurationError
from modemtls.profile.merge import BUNDLED, bundled_names, concrete_names, locate, read
from modemtls.profile.problems import Problem, Problems, ProfileError
from modemtls.profile.source import is_ambiguous

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from modemtls.profile.profile import Profile
    from modemtls.profile.source import Node

__all__ = ["bundled", "check", "check_text", "compiled", "flatten", "load", "show"]


def compiled(root: Node, problems: Problems) -> Profile | None:
    """Check and compile a merged tree: what has the right shape is checked further, whatever else is wrong.

    None if it is no map. The profile is of use only if ``problems`` is empty.
    """
    from modemtls.profile.compile import compile_profile
    from modemtls.profile.schema import PROFILE

    taken = PROFILE.part(root, problems)
    return None if taken is None else compile_profile(root, taken, problems)


def load(name_or_path: str | Path, *, abstract: bool = False) -> Profile:
    """Load a bundled profile by name, which is compiled once in a process, or one from a file.

    Raises ProfileError (with everything that is wrong), ConfigurationError if there is no such profile or file, or if
    it is abstract and ``abstract`` is false.
    """
    path = locate(str(name_or_path), abstract=abstract)
    profile = _kept(path) if path.parent == BUNDLED else _from_file(path)
    if profile.abstract and not abstract:
        raise ConfigurationError(f"{profile.name} is abstract: it only serves other profiles")
    return profile


def _from_file(path: Path) -> Profile:
    problems = Problems()
    root = read(path, problems)
    profile = None if root is None else compiled(root, problems)
    problems.raise_if_any()
    assert profile is not None
    return profile


_kept = cache(_from_file)


def bundled(*, abstract: bool = False) -> list[str]:
    """Return the names of the bundled profiles, without the abstract ones unless asked for."""
    return bundled_names() if abstract else concrete_names()


def check(paths: Iterable[str | Path]) -> list[Problem]:
    """Return everything that is wrong with these profiles (names or files), in order."""
    found: dict[Problem, None] = {}
    for one in paths:
        problems = Problems()
        try:
            root = read(locate(str(one)), problems)
            if root is not None:
                compiled(root, problems)
        except ProfileError as error:
            found.update(dict.fromkeys(error.problems))
        except ConfigurationError as error:
            found[Problem(str(one), 1, 1, str(error))] = None
        found.update(dict.fromkeys(problems.sorted()))
    return sorted(found)


def check_text(text: str | bytes, file: str = "profile.yaml") -> tuple[Profile | None, list[Problem]]:
    """Compile a profile from memory (without ``extends``); return it and what is wrong with it."""
    from modemtls.profile.source import parse

    problems = Problems()
    root = parse(text.encode() if isinstance(text, str) else text, file, problems)
    profile = None if root is None else compiled(root, problems)
    return (profile if not len(problems) else None), problems.sorted()


def flatten(name_or_path: str | Path) -> dict[str, Any]:
    """Return the profile with everything it inherits, as plain data. Raises ProfileError, ConfigurationError."""
    problems = Problems()
    root = read(locate(str(name_or_path)), problems)
    if root is not None:
        compiled(root, problems)
    problems.raise_if_any()
    assert root is not None
    plain = root.plain()
    assert isinstance(plain, dict)
    plain.pop("extends", None)
    return plain


def show(name_or_path: str | Path, *, flat: bool = False) -> str:
    """Return the profile's text: as it stands in its file, or with everything it inherits (a profile by itself).

    Raises ProfileError if it is none, ConfigurationError if there is no such profile or file.
    """
    plain = flatten(name_or_path)
    if not flat:
        path = locate(str(name_or_path))
        try:
            return path.read_text("utf-8")
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror or error}") from None
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes what the language's own scalar rules read back as the same."""

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - PyYAML's signature
            super().increase_indent(flow, False)

    def text(dumper: Any, value: str) -> Any:
        style = None
        if not value.isprintable():
            style = '"'
        elif is_ambiguous(value) or value in {"true", "false", "null"}:
            style = "'"
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    Dumper.ignore_aliases = lambda *_: True  # type: ignore[method-assign]
    out = yaml.dump(plain, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)
    # What PyYAML leaves as it is though it cannot be seen stands in double quotes only.
    return "".join(c if c.isprintable() or c == "\n" else _escape(c) for c in out)


def _escape(char: str) -> str:
    return f"\\U{ord(char):08x}" if ord(char) > 0xFFFF else f"\\u{ord(char):04x}"
