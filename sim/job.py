"""One running command, as its handler sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.command import Args, Command, Form, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.sim.interpreter import Interpreter

__all__ = ["Job"]


class Job:
    """One running command. A handler prints with :meth:`info`; its return means OK unless the job was deferred."""

    __slots__ = ("_buffer", "_first", "_owner", "command", "deferred", "done")

    def __init__(self, owner: Interpreter, command: Command) -> None:
        self._owner = owner
        self.command = command
        self.deferred = False
        self.done = False
        self._buffer = bytearray()
        self._first = True

    @property
    def form(self) -> Form:
        """How the command was used."""
        return self.command.form

    def args(self, bad: Callable[[], Refusal] = Refusal) -> Args:
        """Return typed access to the values; ``bad`` makes the refusal for wrong ones."""
        return Args(self.command.values, bad)

    def info(self, *lines: str) -> None:
        """Print lines of information text."""
        for line in lines:
            self._buffer += self._owner.information(line, first=self._first)
            self._first = False

    def raw(self, data: bytes) -> None:
        """Print bytes as they are, in their place between the lines."""
        self._buffer += data

    def flush(self) -> None:
        """Send what was printed so far."""
        if self._buffer:
            data = bytes(self._buffer)
            self._buffer.clear()
            self._owner.send(data)

    def defer(self) -> None:
        """Keep the command running after the handler has returned; :meth:`ok` or another ending comes later."""
        self.deferred = True

    def ok(self) -> None:
        """End with OK."""
        self._owner.finish(self, "OK")

    def final(self, text: str) -> None:
        """End with another final result."""
        self._owner.finish(self, text)

    def refuse(self, refusal: Refusal | None = None) -> None:
        """End with a failure."""
        self._owner.finish(self, self._owner.render(refusal or Refusal()))

    def take(self) -> bytes:
        """Return and forget what was printed and not sent yet."""
        data = bytes(self._buffer)
        self._buffer.clear()
        return data
