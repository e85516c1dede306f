"""``modemtls terminal``: an AT console.

It speaks to the port directly and believes nothing about the modem. On a terminal there is a line editor; on a pipe
one line after the other is sent, each when the one before is answered.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import select
import selectors
import shutil
import sys
import time
from collections import deque
from typing import TYPE_CHECKING

from modemtls.cli.lineedit import Editor, Key, Pressed
from modemtls.cli.output import printable, status
from modemtls.cli.session import opened_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modemtls.at.port import Port
    from modemtls.cli.settings import Settings

__all__ = ["Screen", "run"]

ANSWER_WAIT = 10.0
"""Seconds that a piped line may go unanswered, if --timeout is not given."""
A_DAY = 86400.0
"""Seconds of one wait at most: there is a limit to what select(2) takes."""
QUIET = 0.1
"""Seconds of silence after which an unfinished line is shown, and after which the end of a pipe ends the console."""

# V.250 table 1, 27.007 9.2, 27.005 3.2.5; SEND … ends a counted send in several families.
_FINAL = re.compile(
    r"OK|ERROR|\+CM[ES] ERROR:.*|NO CARRIER|NO DIALTONE|NO ANSWER|BUSY|SEND OK|SEND FAIL", re.IGNORECASE
)


class Screen:
    """Turns what the modem says into lines, without the echo of what was typed."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._decode = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._part = ""
        self._echoes: list[str] = []
        self.waiting = False
        """A line was sent and its final result has not come."""
        self.prompted = False
        """The modem waits for data."""

    def sent(self, line: str) -> None:
        """Note that this line went out: its echo will not be shown."""
        self._echoes.append(line)
        self.waiting, self.prompted = True, False

    def feed(self, data: bytes) -> None:
        """Take in what the modem said."""
        self._part += self._decode.decode(data).replace("\0", "")
        while True:
            match = re.search(r"\r*\n|\r(?=[^\r\n])|\r$", self._part)
            if match is None:
                break
            line, rest = self._part[: match.start()], self._part[match.end() :]
            if match.group() == "\r" and not self._is_echo(line) and not rest:
                break  # more may follow: CR alone ends a line only where something else begins
            self._part = rest
            self._line(line)
        if re.fullmatch(r"> ?", self._part):
            self._prompt(self._part)
            self._part = ""

    def _is_echo(self, line: str) -> bool:
        return bool(self._echoes) and line.rstrip("\x1a") == self._echoes[0]

    def _line(self, line: str) -> None:
        if self._is_echo(line):
            del self._echoes[0]
            return
        line = line.strip("\r")
        if not line or (line == " " and self.prompted):
            return
        if re.fullmatch(r"CONNECT( .*)?", line) and self.waiting:
            self._prompt(line)
            return
        if _FINAL.fullmatch(line):
            self.waiting = self.prompted = False
            self._echoes.clear()
        self._show(line)

    def _prompt(self, text: str) -> None:
        self._show(text.rstrip())
        self.prompted, self.waiting = True, False
        self._echoes.clear()

    def quiet(self) -> None:
        """Nothing came for a while: what stands unfinished is shown as it is."""
        text = self._part.strip("\r")
        if text and not any(e.startswith(text) for e in self._echoes):
            self._part = ""
            self._show(text)

    @property
    def unfinished(self) -> bool:
        """Whether a part of a line is held back."""
        return bool(self._part)


def run(settings: Settings) -> int:
    """``modemtls terminal``."""
    port = opened_port(settings)
    try:
        if sys.stdin.isatty() and sys.stdout.isatty():
            _Console(port).run()
            return 0
        return _on_pipe(port, settings.number("timeout") or ANSWER_WAIT)
    finally:
        port.close()


def _received(port: Port) -> bytes:
    from modemtls.at.port import received

    return received(port.fileno(), port.name)


def _send(port: Port, data: bytes) -> None:
    view = memoryview(data)
    while view:
        select.select([], [port.fileno()], [])
        with contextlib.suppress(BlockingIOError):
            view = view[os.write(port.fileno(), view) :]


# -- on a pipe -----------------------------------------------------------------------------------------------------


def _on_pipe(port: Port, limit: float) -> int:
    def show(line: str) -> None:
        print(printable(line), flush=True)

    screen = Screen(show)
    lines: list[str] = []
    part = b""
    ended = False
    deadline = 0.0
    spoken = time.monotonic()
    with selectors.SelectSelector() as waiter:
        waiter.register(port, selectors.EVENT_READ)
        waiter.register(sys.stdin, selectors.EVENT_READ)
        while True:
            now = time.monotonic()
            if not screen.waiting and lines:
                line = lines.pop(0)
                show(line)
                screen.sent(line)
                _send(port, line.encode() + b"\r")
                deadline = now + limit
            if ended and not screen.waiting and not lines and now - spoken >= QUIET:
                return 0
            if screen.waiting and now > deadline:
                status(f"no answer within {limit:g} s")
                return 1
            wait = QUIET if ended or screen.unfinished else None
            if screen.waiting:
                wait = min(deadline - now, wait or A_DAY)
            ready = [key.fileobj for key, _ in waiter.select(wait)]
            if port in ready:
                screen.feed(_received(port))
                spoken = time.monotonic()
            elif screen.unfinished and time.monotonic() - spoken >= QUIET:
                screen.quiet()
            if sys.stdin in ready:
                data = os.read(sys.stdin.fileno(), 4096)
                if not data:
                    ended = True
                    waiter.unregister(sys.stdin)
                    spoken = max(spoken, time.monotonic())
                    data = b"\n" if part else b""
                *whole, part = (part + data).split(b"\n")
                lines += [w.decode("utf-8", "replace").strip("\r") for w in whole if w.strip()]


# -- on a terminal -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _keys_as_typed(number: int) -> Iterator[None]:
    """Give every key at once and unechoed; the terminal is put back as it was, whatever happens."""
    import termios

    before = termios.tcgetattr(number)
    mode = termios.tcgetattr(number)
    mode[3] &= ~(termios.ICANON | termios.ECHO | termios.ISIG | termios.IEXTEN)
    mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
    termios.tcsetattr(number, termios.TCSADRAIN, mode)
    try:
        yield
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)


class _Console:
    """Keys in, lines out. Lines that were pasted together go out one by one, each when the one before is answered."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self._editor = Editor()
        self._screen = Screen(self._show)
        self._pasted: deque[str] = deque()
        self._sent_at = 0.0

    def run(self) -> None:
        """Serve until the person or the port ends it."""
        print(f"{self._port.name}: type AT commands; Ctrl-D or Ctrl-] ends", flush=True)
        with _keys_as_typed(sys.stdin.fileno()), selectors.SelectSelector() as waiter:
            waiter.register(self._port, selectors.EVENT_READ)
            waiter.register(sys.stdin, selectors.EVENT_READ)
            try:
                while self._step(waiter):
                    pass
            finally:
                sys.stdout.write(self._editor.hide())
                sys.stdout.flush()

    def _step(self, waiter: selectors.BaseSelector) -> bool:
        while self._pasted and not self._held_back():
            self._enter(self._pasted.popleft())
        self._editor.prompt = "data> " if self._screen.prompted else "at> "
        self._editor.columns = shutil.get_terminal_size().columns
        sys.stdout.write(self._editor.draw())
        sys.stdout.flush()
        ready = [key.fileobj for key, _ in waiter.select(QUIET if self._screen.unfinished or self._pasted else None)]
        if self._port in ready:
            self._screen.feed(_received(self._port))
        if not ready:
            self._screen.quiet()
        if sys.stdin not in ready:
            return True
        pressed = self._editor.feed(os.read(sys.stdin.fileno(), 4096))
        return all(self._pressed(one, first=index == 0) for index, one in enumerate(pressed))

    def _held_back(self) -> bool:
        return self._screen.waiting and time.monotonic() - self._sent_at < ANSWER_WAIT

    def _show(self, line: str) -> None:
        sys.stdout.write(f"{self._editor.hide()}{printable(line)}\n")

    def _typed(self, text: str, mark: str = "") -> None:
        sys.stdout.write(f"{self._editor.hide()}{self._editor.prompt}{text}{mark}\n")

    def _pressed(self, pressed: Pressed, *, first: bool) -> bool:
        """Act upon one key; False ends the console."""
        if pressed.key is Key.END:
            return False
        if pressed.key is Key.INTERRUPT:
            if not pressed.text and not self._pasted:
                raise KeyboardInterrupt
            self._pasted.clear()
            self._typed(pressed.text, "^C")
        elif pressed.key is Key.CANCEL:
            _send(self._port, b"\x1b")
        elif pressed.key is Key.FINISH:
            self._typed(pressed.text, "^Z")
            self._screen.sent(pressed.text)
            _send(self._port, pressed.text.encode() + b"\x1a")
        elif self._pasted or (not first and self._held_back()):
            self._pasted.append(pressed.text)
        else:
            self._enter(pressed.text)
        return True

    def _enter(self, text: str) -> None:
        self._typed(text)
        if text or self._screen.prompted:
            self._screen.sent(text)
            self._sent_at = time.monotonic()
            _send(self._port, text.encode() + b"\r")
