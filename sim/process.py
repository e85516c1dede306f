"""Start a simulated modem in a process of its own from Python: what tests of timing need."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

__all__ = ["ModemProcess"]

STOP_LIMIT = 5.0  # s from SIGTERM to SIGKILL


class ModemProcess:
    """``modemtls sim`` with these arguments. ``path`` is its port. Raises :class:`RuntimeError` with its complaint.

    ``own_session``: the terminal's signals, such as that of Ctrl-C, do not reach it.
    """

    def __init__(self, *arguments: str, own_session: bool = False) -> None:
        command: Sequence[str] = (sys.executable, "-m", "modemtls.sim.run", *arguments)
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            start_new_session=own_session,
            text=True,
        )
        assert self._process.stdout is not None
        try:
            self.path = self._process.stdout.readline().strip()
            if not self.path:
                _, errors = self._process.communicate()
                raise RuntimeError(errors.strip() or "the simulated modem ended at once")  # noqa: TRY301
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> ModemProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def wait(self, limit: float = STOP_LIMIT) -> int:
        """Wait for it to end by itself; returns its exit code. Raises :class:`subprocess.TimeoutExpired`."""
        return self._process.wait(limit)

    def close(self) -> int:
        """Stop it; returns its exit code."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.communicate(timeout=STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        return self._process.returncode
