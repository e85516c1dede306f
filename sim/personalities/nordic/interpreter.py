"""The line of Nordic's serial modems (sm_at_host.c, as nordic-slm sheet sections 2 and 2.1 have it).

Not V.250: only ``AT``, ``ATE0``/``ATE1`` (the newer one) and ``AT`` before ``+``, ``%`` or ``#`` are commands, one a
line; what stands before ``AT`` is dropped; a terminator inside quotes is data; echo is off.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modemtls.sim.command import Command, Form, Value, split_values
from modemtls.sim.interpreter import Habits, Interpreter, LineSettings

if TYPE_CHECKING:
    from modemtls.sim.loop import Timer

__all__ = ["LineHabits", "SerialInterpreter"]

CR, LF, QUOTE = 0x0D, 0x0A, 0x22
DELETING = {0x08, 0x7F}  # BS, DEL
_COMMAND = re.compile(r"([+%#][A-Z0-9]+)(=\?|\?|=)?(.*)", re.IGNORECASE | re.DOTALL)
_ECHO = re.compile(r"E[01]?", re.IGNORECASE)
_FORMS = {None: Form.ACTION, "?": Form.READ, "=?": Form.TEST, "=": Form.SET}


@dataclass(frozen=True, slots=True)
class LineHabits(Habits):
    """``terminator`` is CR, LF or CR LF; ``typing_idle`` seconds without a character end what counts as typing."""

    terminator: bytes = b"\r"
    typing_idle: float = 0.1
    longest_echo: int = 0  # characters of a line that are echoed, 0: all


class SerialInterpreter(Interpreter):
    """Reads the line character by character."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        assert isinstance(self._habits, LineHabits)
        self._manner = self._habits
        self._quoted = False
        self._echoed = self._before = 0
        self._typing: Timer | None = None
        self.deaf = False  # asleep: the UART is off

    # --- towards the host -------------------------------------------------------------------------------------------

    def information(self, text: str, *, first: bool) -> bytes:
        """Frame a line: those of ``#X`` commands each by itself, the modem's own as 27.007 does."""
        return super().information(text, first=first or text.startswith("#"))

    def result(self, text: str) -> bytes:
        """Frame a result code; an empty one is silence."""
        return super().result(text) if text else b""

    def urc(self, data: bytes) -> None:
        """Print an unsolicited result, but not into a line that is being typed."""
        if self._typing is not None:
            self._held.append(data)
        else:
            super().urc(data)

    def restore(self) -> None:
        """Set what a restart sets: no echo, no error numbers."""
        self.settings = LineSettings(echo=False, cmee=0)

    def reset(self) -> None:
        """Forget everything typed, running and held: a restart."""
        super().reset()
        self.deaf = False
        self._begin()

    # --- from the host ----------------------------------------------------------------------------------------------

    def sleep(self) -> None:
        """Hear nothing until ``deaf`` is taken back."""
        self.deaf = True
        self._input.clear()

    def receive(self, data: bytes) -> None:
        """Take bytes of the host."""
        if not self.deaf:
            super().receive(data)

    def _begin(self) -> None:
        self._line.clear()
        self._quoted = self._overlong = False
        self._echoed = self._before = 0
        if self._typing is not None:
            self._typing.cancel()
            self._typing = None

    def _type(self) -> None:
        for at, byte in enumerate(bytes(self._input), 1):
            if self._character(byte):
                self._reflect(bytes(self._input[:at]))
                del self._input[:at]
                self._ended()
                return
        self._reflect(bytes(self._input))
        self._input.clear()
        if self._typing is not None:
            self._typing.cancel()
            self._typing = None
        if self._prefixed:
            self._typing = self.loop.call_later(self._manner.typing_idle, self._paused)

    def _paused(self) -> None:
        self._typing = None
        if not self.busy:
            self.release()

    @property
    def _prefixed(self) -> bool:
        return len(self._line) >= 2

    def _character(self, byte: int) -> bool:
        """Take a character; returns whether it ended the line."""
        line = self._line
        if byte in DELETING:
            if line[-1:] == b'"':
                self._quoted = not self._quoted
            del line[-1:]
            return False
        if not self._prefixed:  # hunting for AT
            if line and byte in b"Tt":
                line.append(byte)
            elif byte in b"Aa":
                line[:] = bytes([byte])
            else:
                line.clear()
            return False
        before, self._before = self._before, byte
        end = self._manner.terminator
        if not self._quoted and byte == end[-1] and before in (end[:-1] or bytes([before])):
            if len(end) > 1 and line.endswith(end[:-1]):
                del line[-1:]
            return True
        if byte == QUOTE:
            self._quoted = not self._quoted
        line.append(byte)
        if len(line) > self._manner.longest_line + len(end) - 1:  # a CR may be the end's
            del line[-1:]
            self._overlong = True
        return False

    def _reflect(self, piece: bytes) -> None:
        """Echo, up to the most that is echoed of a line; its end always."""
        most = self._manner.longest_echo
        if not self.settings.echo:
            return
        if most:
            shown = bytearray()
            for byte in piece:
                if byte in {CR, LF} or self._echoed < most:
                    shown.append(byte)
                    self._echoed += byte not in {CR, LF}
            piece = bytes(shown)
        if piece:
            self._hooks.echo(piece)

    def _ended(self) -> None:
        line = bytes(self._line)
        overlong = self._overlong or len(line) > self._manner.longest_line
        self._begin()
        self._complete(line, overlong=overlong)

    def parse(self, text: str) -> list[Command]:
        """Return the one command of a line."""
        if not text:
            return [Command("", Form.ACTION)]
        if _ECHO.fullmatch(text):
            return [Command("E", Form.ACTION, (Value(text[1:]),) if text[1:] else (), malformed=not text[1:])]
        match = _COMMAND.fullmatch(text)
        if not match:
            return [Command(text[:1].upper(), Form.ACTION, malformed=True)]
        form = _FORMS[match[2]]
        if form is not Form.SET:
            return [Command(match[1].upper(), form, malformed=bool(match[3]))]
        values, fine = split_values(match[3])
        return [Command(match[1].upper(), form, values, malformed=not fine)]
