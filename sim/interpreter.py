"""The V.250 command interpreter: bytes of the host in, echo, information text and result codes out.

It knows no vendor's command: those come in a table of handlers. Sources: ITU-T V.250 clauses 5 and 6, 3GPP TS 27.007
clause 9 (+CMEE). The layout of several information lines (one CR LF between two of them, an empty line only before the
final result) is the one of the vendors' manuals.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modemtls.sim.command import Command, Form, Refusal, parse_body
from modemtls.sim.job import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modemtls.sim.loop import Loop
    from modemtls.sim.phases import Phase

__all__ = ["Habits", "Hooks", "Interpreter", "Job", "LineSettings"]


LONGEST_LINE = 4096  # bytes; V.250 5.2.1 asks for 40 at least, vendors take some thousand
LONGEST_BACKLOG = 65536  # bytes typed ahead while a command runs; beyond it a real UART overruns
_NUMERIC = {  # V.250 6.3.1, table 1
    "OK": 0,
    "CONNECT": 1,
    "RING": 2,
    "NO CARRIER": 3,
    "ERROR": 4,
    "NO DIALTONE": 6,
    "BUSY": 7,
    "NO ANSWER": 8,
}


@dataclass(slots=True)
class LineSettings:
    """What ATE, V, Q, X, S and +CMEE set; the defaults are V.250's and 27.007's usual ones."""

    echo: bool = True
    verbose: bool = True
    quiet: bool = False
    extended: int = 4
    cmee: int = 1
    registers: dict[int, int] = field(default_factory=lambda: {0: 0, 3: 13, 4: 10, 5: 8, 7: 0, 10: 15, 12: 50})

    def copy(self) -> LineSettings:
        """Return an independent copy."""
        return LineSettings(self.echo, self.verbose, self.quiet, self.extended, self.cmee, dict(self.registers))


@dataclass(frozen=True, slots=True)
class Habits:
    """How a family's interpreter differs from the plainest one.

    ``longest_line`` is in bytes, without its end; ``too_long`` is the answer to a longer one. Commands in ``alone``
    take a whole line. ``numeric`` adds to the numbers that ATV0 prints.
    """

    longest_line: int = LONGEST_LINE
    too_long: Refusal = field(default_factory=Refusal)
    alone: frozenset[str] = frozenset()
    numeric: Mapping[str, int] = field(default_factory=dict)


class Hooks:
    """What the machine around the interpreter may want to know or change; the defaults do nothing."""

    def command_line(self, shown: bytes) -> str | None:
        """Report a complete line about to run; a returned text is its final result instead ("": none is printed)."""
        del shown
        return None

    def answered(self) -> None:
        """Report that the line's final result has been printed."""

    def mask(self, line: bytes) -> bytes:
        """Return the line with its secrets masked."""
        return line

    def echo(self, data: bytes) -> None:
        """Send characters of the command line back."""

    def refused(self, name: str, why: str) -> None:
        """Report why a command was answered with a failure although the line only says ERROR."""


class Interpreter:
    """Feed it with :meth:`receive`; it prints through ``send``.

    ``table`` maps upper-case command names to handlers; ``cme_texts`` maps +CME ERROR numbers to their verbose form.
    URCs may come between a prompt and the end of its data (``urcs_at_prompt``), and between a command line and its
    final result (``urcs_in_answer``), or are held back until the final result.
    """

    def __init__(
        self,
        loop: Loop,
        send: Callable[[bytes], None],
        table: Mapping[str, Callable[[Job], None]],
        *,
        cme_texts: Mapping[int, str] | None = None,
        hooks: Hooks | None = None,
        latency: float = 0.0,
        urcs_at_prompt: bool = True,
        urcs_in_answer: bool = True,
        habits: Habits | None = None,
    ) -> None:
        self.loop = loop
        self.send = send
        self.settings = LineSettings()
        self._table = table
        self._cme_texts = dict(cme_texts or {})
        self._hooks = hooks or Hooks()
        self._latency = latency
        self._urcs_at_prompt = urcs_at_prompt
        self._urcs_in_answer = urcs_in_answer
        self._habits = habits or Habits()
        self._numeric = {**_NUMERIC, **self._habits.numeric}
        self._input = bytearray()
        self._line = bytearray()
        self._overlong = False
        self._skip_lf = False
        self._last = ""
        self._queue: deque[Command] = deque()
        self._chained = False
        self._job: Job | None = None
        self._waiting = False  # the answer's latency is running
        self._phase: Phase | None = None
        self._data_mode = False
        self._held: list[bytes] = []
        self._pumping = False
        self._running = False
        self._generation = 0

    # --- towards the host -------------------------------------------------------------------------------------------

    @property
    def _cr(self) -> bytes:
        return bytes([self.settings.registers[3] & 0x7F])

    @property
    def _eol(self) -> bytes:
        return self._cr + bytes([self.settings.registers[4] & 0x7F])

    def information(self, text: str, *, first: bool) -> bytes:
        """Return a line of information text as the present settings frame it."""
        eol = self._eol
        line = text.encode("utf-8", "surrogateescape") + eol
        return eol + line if first and self.settings.verbose else line

    def result(self, text: str) -> bytes:
        """Return a result code as the present settings frame it (nothing with ATQ1)."""
        if self.settings.quiet:
            return b""
        if self.settings.verbose:
            return self._eol + text.encode() + self._eol
        number = self._numeric.get("CONNECT" if text.startswith("CONNECT") else text)
        return f"{number}".encode() + self._cr if number is not None else text.encode() + self._eol

    def render(self, refusal: Refusal) -> str:
        """Return the text of a failure's final result."""
        if refusal.final is not None:
            return refusal.final
        if refusal.cme is None or self.settings.cmee == 0:
            return "ERROR"
        shown = self._cme_texts.get(refusal.cme) if self.settings.cmee == 2 else None
        return f"+CME ERROR: {shown or refusal.cme}"

    def urc(self, data: bytes) -> None:
        """Print an unsolicited result, framed already; held back while the line carries data."""
        may = self._urcs_at_prompt if self._phase is not None else self._urcs_in_answer or not self.running
        if self._data_mode or not may:
            self._held.append(data)
        else:
            self.send(data)

    @property
    def busy(self) -> bool:
        """Whether a command is running or data is awaited."""
        return self._job is not None or self._phase is not None or self._waiting

    @property
    def running(self) -> bool:
        """Whether a command has not had its final result."""
        return self._job is not None or self._waiting

    def owns(self, job: Job) -> bool:
        """Whether ``job`` is the one that runs now: a restart forgets jobs without ending them."""
        return job is self._job

    @property
    def data_mode(self) -> bool:
        """Whether the line carries data instead of commands."""
        return self._data_mode

    # --- data phases ------------------------------------------------------------------------------------------------

    def enter(self, phase: Phase, *, data_mode: bool) -> None:
        """Give the host's bytes to ``phase`` from now on; ``data_mode`` holds back URCs."""
        self._phase = phase
        self._data_mode = data_mode
        self._skip_lf = False
        self._pump()

    def leave(self) -> None:
        """Back to command lines; held URCs come out with :meth:`release`."""
        if self._phase is not None:
            self._phase.cancel()
        self._phase = None
        self._data_mode = False

    def release(self) -> None:
        """Print the URCs that were held back."""
        held, self._held = self._held, []
        for data in held:
            self.send(data)

    def reset(self) -> None:
        """Forget everything typed, running and held: a restart."""
        self._generation += 1
        if self._phase is not None:
            self._phase.cancel()
        self._phase = None
        self._job = None
        self._waiting = False
        self._data_mode = False
        self._held.clear()
        self._queue.clear()
        self._input.clear()
        self._line.clear()
        self._overlong = False
        self._last = ""

    # --- from the host ----------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take bytes of the host."""
        self._input += data
        if self.busy and self._phase is None and len(self._input) > LONGEST_BACKLOG:
            del self._input[LONGEST_BACKLOG:]
        self._pump()

    @property
    def backlog(self) -> int:
        """Bytes received and not looked at yet."""
        return len(self._input)

    def _pump(self) -> None:
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._input:
                if self._phase is not None:
                    taken = self._phase.feed(bytes(self._input))
                    del self._input[:taken]
                elif self._job is not None or self._waiting:
                    if self._skip_lf and self._input[0] == 0x0A:  # CR LF: the LF belongs to the line just sent
                        del self._input[0]
                        self._skip_lf = False
                        continue
                    return
                else:
                    self._type()
        finally:
            self._pumping = False

    def _type(self) -> None:
        """Take typed characters up to the end of a line."""
        if self._skip_lf:
            self._skip_lf = False
            if self._input[0] == 0x0A:
                del self._input[0]
                return
        cr = self.settings.registers[3] & 0x7F
        repeat = self._repeat_at()
        if repeat >= 0:
            piece = bytes(self._input[:repeat])
            del self._input[:repeat]
            self._echo(piece)
            self._line.clear()
            self._start(self._last, b"A/")
            return
        end = self._input.find(cr)
        piece = bytes(self._input if end < 0 else self._input[: end + 1])
        del self._input[: len(piece)]
        self._echo(piece)
        self._edit(piece if end < 0 else piece[:-1])
        if end < 0:
            return
        line = bytes(self._line)
        self._line.clear()
        if cr == 0x0D:  # CR LF: the LF belongs to this line, and never to the data that it may ask for
            if self._input[:1] == b"\n":
                del self._input[0]
            else:
                self._skip_lf = not self._input
        overlong, self._overlong = self._overlong, False
        self._complete(line, overlong=overlong)

    def _repeat_at(self) -> int:
        """Return how much of the input completes ``A/`` at the start of a line, or -1."""
        if len(self._line) > 1:
            return -1
        head = (bytes(self._line) + bytes(self._input[:2]))[:2]
        return 2 - len(self._line) if head.upper() == b"A/" else -1

    def _echo(self, piece: bytes) -> None:
        if self.settings.echo and piece:
            self._hooks.echo(piece)

    def _edit(self, piece: bytes) -> None:
        backspace = self.settings.registers[5]
        for byte in piece:
            if byte == backspace:
                del self._line[-1:]
            elif byte >= 0x20:  # V.250 5.2.1: other control characters are ignored
                if len(self._line) < self._habits.longest_line:
                    self._line.append(byte)
                else:
                    self._overlong = True

    def _complete(self, line: bytes, *, overlong: bool) -> None:
        at = line.upper().find(b"AT")
        if at < 0:
            return  # noise: an interpreter hunts for its prefix
        text = line[at + 2 :].decode("utf-8", "surrogateescape")
        if overlong:
            self._hooks.refused("AT", f"line longer than {self._habits.longest_line} bytes")
            text = "\0overlong"
        else:
            self._last = text
        self._start(text, self._hooks.mask(line[at:]))

    def _start(self, text: str, shown: bytes) -> None:
        instead = self._hooks.command_line(shown)
        if instead is not None:
            if instead:
                self.send(self.result(instead))
            self._hooks.answered()
            return
        if text == "\0overlong":
            self.send(self.result(self.render(self._habits.too_long)))
            self._hooks.answered()
            return
        self._queue = deque(self.parse(text))
        if not self._queue:
            self._queue.append(Command("", Form.ACTION))
        self._chained = len(self._queue) > 1
        if self._latency > 0:
            self._waiting = True
            self.loop.call_later(self._latency, self._guarded(self._run))
        else:
            self._run()

    def parse(self, text: str) -> list[Command]:
        """Take a command line apart, without its ``AT``."""
        return parse_body(text)

    def _guarded(self, callback: Callable[[], None]) -> Callable[[], None]:
        generation = self._generation

        def run() -> None:
            if generation == self._generation:
                callback()

        return run

    def _run(self) -> None:
        """Run the line's commands until one has to wait."""
        self._waiting = False
        if self._running:
            return  # the loop below goes on by itself
        self._running = True
        try:
            while self._queue and self._job is None:
                self._one(self._queue.popleft())
        finally:
            self._running = False

    def _one(self, command: Command) -> None:
        job = self._job = Job(self, command)
        handler = self._table.get(command.name)
        try:
            if command.malformed or handler is None:
                self._hooks.refused(command.name, "malformed" if command.malformed else "unknown command")
                raise Refusal  # noqa: TRY301 - every failure ends the line in one place
            if self._chained and command.name in self._habits.alone:
                self._hooks.refused(command.name, "it takes a whole line")
                raise Refusal  # noqa: TRY301 - as above
            handler(job)
        except Refusal as refusal:
            job.refuse(refusal)
            return
        if not job.deferred:
            job.ok()

    def finish(self, job: Job, final: str) -> None:
        """End a job: print its final result, or go on with the next command of the line after OK."""
        if job.done or job is not self._job:
            return
        job.done = True
        self._job = None
        if final == "OK" and self._queue:
            job.flush()
            self._run()
            return
        self._queue.clear()
        data = job.take() + self.result(final)
        if data:
            self.send(data)
        self._hooks.answered()
        if self._phase is None:
            self.release()
        self._pump()

    def intermediate(self, job: Job, text: str) -> None:
        """Print an intermediate result (CONNECT before data) of a running job."""
        self.send(job.take() + self.result(text))
