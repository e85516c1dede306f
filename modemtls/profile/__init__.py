"""The profile language: loading, checking and compiling the YAML that says how a modem is spoken to.

Nothing here does I/O but reading profile files. The language: docs/decisions/0002-profile-language.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modemtls.profile.loading import bundled, check, check_text, flatten, load, show
    from modemtls.profile.problems import Problem, ProfileError
    from modemtls.profile.profile import Profile
    from modemtls.profile.schema import json_schema

__all__ = [
    "Problem", "Profile", "ProfileError", "bundled", "check", "check_text", "flatten", "json_schema", "load", "show",
]  # fmt: skip

_WHERE = {
    "Problem": "problems",
    "Profile": "profile",
    "ProfileError": "problems",
    "json_schema": "schema",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_WHERE.get(name, 'loading')}"), name)
