"""Errors that say which step of bringing a modem up they come from."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from modemtls.errors import CommandError, ModemTimeoutError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["step"]


@contextlib.contextmanager
def step(name: str) -> Iterator[None]:
    """Have a refusal, or the end of the time, begin with ``name``, unless it does already."""
    try:
        yield
    except CommandError as error:
        if not error.message.startswith(f"{name}: "):
            error.message = f"{name}: {error.message}"
        raise
    except ModemTimeoutError as error:
        if str(error).startswith(f"{name}: "):
            raise
        raise ModemTimeoutError(f"{name}: {error}") from error
