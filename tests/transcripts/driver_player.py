"""Plays a dialogue against the driver: a profile's program, on a real channel, must send exactly the host's bytes.

The modem's side is the transcript's, behind one end of a socket pair. `# run:` names the program and what it is given
(`@sent`: the last thing in the part that the host says and that is no command; `@quoted`: the last thing in quotation
marks that it says), `# outcome:` what it must come to
(`error`: a refusal by the modem; `restarted`), `# result:` what of it is looked at: `payload`, `rows`, values by name,
or of a refusal `namespace`, `code` and `kind`. A part in which only the modem speaks is heard by the channel. All other
parts are skipped.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from modemtls.at.channel import Channel, Urc
from modemtls.at.port import FdPort
from modemtls.at.recovery import Recovery, probe
from modemtls.at.trace import Trace
from modemtls.dialogue.replay import Replay
from modemtls.errors import CommandError, ModemError, ModemRestartedError
from modemtls.modem.runner import Result, Runner
from modemtls.profile import Profile, bundled, load
from modemtls.profile.operations import operation
from modemtls.transcript import Direction, Part, Redacted, Run, Transcript, Turn, Value

# What the channel gets into step with when the port is opened: the script knows no such commands.
PROBES = (probe("AT+ONE", "+ONE: {n:int}"), probe("AT+TWO", "+TWO: {n:int}"))
STEPS = {f"AT+{name}\r".encode(): f"\r\n+{name}: 1\r\n\r\nOK\r\n".encode() for name in ("ONE", "TWO")}
LIMIT = 5.0  # real seconds until a part that does not end has failed


@cache
def profile(name: str) -> Profile:
    return load(name)


@dataclass
class Session:
    """Parts that one attached modem plays."""

    parts: list[Part] = field(default_factory=list)

    @property
    def line(self) -> int:
        return self.parts[0].line

    @property
    def runs(self) -> int:
        return sum(part.run is not None for part in self.parts)


def sessions(transcript: Transcript) -> list[Session]:
    """The stretches of a file that belong to one modem: a `# sim:` header begins another one."""
    out = [Session()]
    for part in transcript.parts:
        if part.mappings("sim") and any(p.has_data for p in out[-1].parts):
            out.append(Session())
        out[-1].parts.append(part)
    return [session for session in out if session.runs]


class ScriptedModem:
    """The far end of the line: says what the transcript says, as long as the driver keeps to it."""

    def __init__(self) -> None:
        self._mine, theirs = socket.socketpair()
        self.port = FdPort("script", theirs.detach())
        self._wake, self._woken = os.pipe()
        self._lock = threading.Condition()
        self._replay = Replay([])
        self._stepping = bytearray()
        self._ended = False
        self._scripted = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def play(self, turns: list[Turn]) -> None:
        with self._lock:
            self._replay = Replay(turns)
            self._scripted = True
        os.write(self._woken, b"x")

    def finish(self, *, limit: float) -> str:
        """Wait until the part has been said; return what is wrong, if anything."""
        with self._lock:
            self._lock.wait_for(lambda: self._replay.finished or self._replay.deviation is not None, limit)
            if self._replay.deviation is not None:
                return str(self._replay.deviation)
            return "" if self._replay.finished else f"the driver never says {self._replay.waiting}"

    def close(self) -> None:
        self._ended = True
        os.write(self._woken, b"x")
        self._thread.join(2)
        self._mine.close()
        os.close(self._wake)
        os.close(self._woken)

    def _run(self) -> None:
        while not self._ended:
            ready = select.select([self._mine, self._wake], [], [])[0]
            if self._wake in ready:
                os.read(self._wake, 100)
            data = self._mine.recv(65536) if self._mine in ready else b""
            if self._mine in ready and not data:
                return
            with self._lock:
                self._stepping += data
                if bytes(self._stepping) in STEPS:
                    self._mine.sendall(STEPS[bytes(self._stepping)])
                    self._stepping.clear()
                elif self._scripted and not any(command.startswith(self._stepping) for command in STEPS):
                    self._replay.receive(bytes(self._stepping))
                    self._stepping.clear()
                if not self._scripted:
                    continue
                while (due := self._replay.due()) is not None:
                    self._mine.sendall(due[1])
                    self._replay.spoke()
                self._lock.notify_all()
                if self._replay.deviation is not None:
                    self._mine.shutdown(socket.SHUT_RDWR)  # nobody shall wait for an answer
                    return


@contextmanager
def attached(name: str, trace: Trace | None = None) -> Iterator[tuple[ScriptedModem, Channel, Runner, list[Urc]]]:
    modem = ScriptedModem()
    known = profile(name)
    channel = Channel(modem.port, known.grammar, trace=trace, recovery=Recovery(probes=PROBES, quiet=0.0))
    heard: list[Urc] = []
    channel.on_urc = heard.append
    try:
        channel.resynchronise(channel.clock() + LIMIT)
        yield modem, channel, Runner(channel, known), heard
    finally:
        channel.close()
        modem.close()


def waiting(transcript: Transcript) -> str:
    """What is still to come before the dialogue can be played, if anything is."""
    known = transcript.profile in bundled()
    return "" if known else f"waiting for the profile {transcript.profile}"


def play(session: Session, transcript: Transcript) -> None:
    """Raise AssertionError where the driver says something else, or takes the answer for something else."""
    assert transcript.profile is not None
    with attached(transcript.profile) as (modem, channel, runner, heard):
        for part in session.parts:
            turns = part.turns()
            run = part.run
            if run is not None:
                modem.play(turns)
                _run(part, run, modem, channel, runner)
            elif turns and all(turn.direction is Direction.IN for turn in turns):
                before = len(heard)
                modem.play(turns)
                wrong = modem.finish(limit=LIMIT)
                assert not wrong, wrong
                assert channel.wait(lambda: len(heard) > before, channel.clock() + LIMIT), "nothing was heard"  # noqa: B023


def _run(part: Part, run: Run, modem: ScriptedModem, channel: Channel, runner: Runner) -> None:
    where = f"line {part.line}, {run.program}"
    result: Result | None = None
    error: ModemError | None = None
    try:
        result = runner.run(run.program, _bindings(part, run, runner.profile), deadline=channel.clock() + LIMIT)
    except ModemError as caught:
        error = caught
    wrong = modem.finish(limit=LIMIT if error is None else 0.2)
    assert not wrong, f"{where}: {wrong}"
    wanted = part.text("outcome") or "ok"
    got = result.outcome.value if result is not None else _word(error)
    assert got == wanted, f"{where}: {got} ({error}), not {wanted}"
    for expected in part.mappings("result"):
        for name, value in expected.items():
            _look(where, name, value, result, error)


def _word(error: ModemError | None) -> str:
    if isinstance(error, ModemRestartedError):
        return "restarted"
    return "error" if isinstance(error, CommandError) else f"{type(error).__name__}"


def _look(where: str, name: str, value: Value, result: Result | None, error: ModemError | None) -> None:
    got: Any
    if error is not None:
        got = getattr(error, "modem_code" if name == "code" else name)  # `code` is the portable pair's
    elif name == "payload":
        got, value = result.payload, str(value).encode("latin-1")  # type: ignore[assignment, union-attr]
    elif name == "rows":
        got = result.rows  # type: ignore[union-attr]
        assert isinstance(value, list)
        assert len(got) == len(value), f"{where}: rows are {got}, not {value}"
        got = [{key: row.get(key) for key in want} for row, want in zip(got, value, strict=True)]  # type: ignore[union-attr]
    else:
        got = result.values.get(name)  # type: ignore[union-attr]
    assert got == value, f"{where}: {name} is {got!r}, not {value!r}"


def _said(part: Part) -> list[bytes]:
    host = [turn for turn in part.turns() if turn.direction is Direction.OUT]
    return [b"".join(b"x" * c.length if isinstance(c, Redacted) else c for c in turn.chunks) for turn in host]


def _bindings(part: Part, run: Run, profile: Profile) -> dict[str, Any]:
    """The values of `# run:`, bytes where the operation takes bytes. What it does not speak of is not asked for."""
    inputs = operation(run.program, profile.behaviour).inputs
    out: dict[str, Any] = {name: False for name in ("dtls", "resume", "cid", "purge") if name in inputs}
    for name, value in run.bindings.items():
        if value == "@sent":
            out[name] = next(said for said in reversed(_said(part)) if not said.startswith(b"AT"))
        elif value == "@quoted":
            out[name] = b"".join(_said(part)).rsplit(b'"', 2)[1]
        elif name in inputs and inputs[name].type == "bytes":
            out[name] = str(value).encode("latin-1")
        else:
            out[name] = value
    return out
