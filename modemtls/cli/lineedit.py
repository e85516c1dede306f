"""A line editor without input or output of its own: keys in, events and redrawing text out.

``readline`` cannot be used: it sits in its own read while the modem may speak at any time, and the line under way has
to give place and come back.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from enum import Enum

__all__ = ["Editor", "Key", "Pressed"]


class Key(Enum):
    """What ended or interrupted the editing of a line."""

    ENTER = "enter"
    FINISH = "finish"  # Ctrl-Z: the line so far, then SUB
    CANCEL = "cancel"  # Esc Esc
    INTERRUPT = "interrupt"  # Ctrl-C
    END = "end"  # Ctrl-D on an empty line, Ctrl-]


@dataclass(frozen=True, slots=True)
class Pressed:
    """One event with the line that belongs to it."""

    key: Key
    text: str = ""


# Cursor and editing keys as xterm, the Linux console and rxvt send them (ECMA-48 CSI and SS3 sequences).
_SEQUENCES = {
    "[A": "up", "OA": "up", "[B": "down", "OB": "down", "[C": "right", "OC": "right", "[D": "left", "OD": "left",
    "[H": "home", "OH": "home", "[1~": "home", "[7~": "home", "[F": "end", "OF": "end", "[4~": "end", "[8~": "end",
    "[3~": "delete",
}  # fmt: skip
_CONTROLS = {
    "\x01": "home", "\x02": "left", "\x04": "eof", "\x05": "end", "\x06": "right", "\x08": "back", "\x7f": "back",
    "\x0b": "kill", "\x0e": "down", "\x10": "up", "\x15": "clear", "\x17": "word",
}  # fmt: skip
_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;]*[ -/]*[@-~]|O[A-Za-z])")
_UNFINISHED = re.compile(r"\x1b(?:\[[0-9;]*[ -/]*|O)?\Z")
HISTORY = 500


class Editor:
    """The line that is being edited."""

    def __init__(self, prompt: str = "", columns: int = 80) -> None:
        self.prompt = prompt
        self.columns = columns
        self.text = ""
        self.cursor = 0
        self.history: list[str] = []
        self._at: int | None = None
        self._kept = ""
        self._pending = ""
        self._decode = codecs.getincrementaldecoder("utf-8")("replace")
        self._after_return = False

    def feed(self, data: bytes) -> list[Pressed]:
        """Take in what was typed, in any pieces."""
        text = self._pending + self._decode.decode(data)
        self._pending = ""
        out: list[Pressed] = []
        place = 0
        while place < len(text):
            char = text[place]
            if char == "\x1b":
                if text.startswith("\x1b\x1b", place):
                    out.append(Pressed(Key.CANCEL))
                    place += 2
                    continue
                whole = _SEQUENCE.match(text, place)
                if whole:
                    self._edit(_SEQUENCES.get(whole.group()[1:], ""))
                    place = whole.end()
                    continue
                if _UNFINISHED.match(text, place):
                    self._pending = text[place:]
                    break
                place += 1  # Esc and something that is no sequence: the Esc is dropped
                continue
            place += 1
            if char == "\n" and self._after_return:
                self._after_return = False
                continue
            self._after_return = char == "\r"
            event = self._key(char)
            if event is not None:
                out.append(event)
        return out

    def _key(self, char: str) -> Pressed | None:
        if char in "\r\n":
            line = self._take()
            if line.strip() and (not self.history or self.history[-1] != line):
                self.history.append(line)
                del self.history[:-HISTORY]
            return Pressed(Key.ENTER, line)
        if char == "\x1a":
            return Pressed(Key.FINISH, self._take())
        if char == "\x03":
            return Pressed(Key.INTERRUPT, self._take())
        if char == "\x1d" or (char == "\x04" and not self.text):
            return Pressed(Key.END)
        if char in _CONTROLS:
            self._edit(_CONTROLS[char])
        elif char.isprintable():
            self.text = self.text[: self.cursor] + char + self.text[self.cursor :]
            self.cursor += 1
        return None

    def _take(self) -> str:
        line, self.text, self.cursor, self._at = self.text, "", 0, None
        return line

    def _edit(self, what: str) -> None:
        if what == "left":
            self.cursor = max(0, self.cursor - 1)
        elif what == "right":
            self.cursor = min(len(self.text), self.cursor + 1)
        elif what == "home":
            self.cursor = 0
        elif what == "end":
            self.cursor = len(self.text)
        elif what == "back":
            self._cut(max(0, self.cursor - 1), self.cursor)
        elif what in {"delete", "eof"}:
            self._cut(self.cursor, self.cursor + 1)
        elif what == "kill":
            self._cut(self.cursor, len(self.text))
        elif what == "clear":
            self._cut(0, self.cursor)
        elif what == "word":
            before = self.text[: self.cursor].rstrip()
            self._cut(before.rfind(" ") + 1, self.cursor)
        elif what in {"up", "down"}:
            self._recall(-1 if what == "up" else 1)

    def _cut(self, start: int, end: int) -> None:
        self.text = self.text[:start] + self.text[end:]
        self.cursor = start

    def _recall(self, step: int) -> None:
        place = len(self.history) if self._at is None else self._at
        if self._at is None:
            self._kept = self.text
        place += step
        if not 0 <= place <= len(self.history):
            return
        self._at = None if place == len(self.history) else place
        self.text = self._kept if self._at is None else self.history[place]
        self.cursor = len(self.text)

    def draw(self) -> str:
        """Return what puts prompt, line and cursor on the terminal's current line; a long line scrolls sideways."""
        room = max(8, self.columns - len(self.prompt) - 1)
        start = max(0, self.cursor - room)
        back = len(self.text[start : start + room]) - (self.cursor - start)
        move = f"\x1b[{back}D" if back else ""
        return f"\r\x1b[K{self.prompt}{self.text[start : start + room]}{move}"

    @staticmethod
    def hide() -> str:
        """Return what clears the line, before something else is printed in its place."""
        return "\r\x1b[K"
