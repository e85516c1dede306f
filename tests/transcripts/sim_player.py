"""Plays a dialogue against the simulator: given the host's bytes it must answer these bytes, but for the named fields.

A part with `# sim:` begins a session with a fresh modem; the parts behind it go on with the same. The header is the
situation: `model` (else the profile's), `variant: {NAME: VALUE}`, `faults` (commands count from the first of `before`),
`clock`, `files: {NAME: TEXT}` (`@ca`: the test's own CA; `@client.cert`, `@client.key`: a client of it), `boot: true`
(the dialogue begins at power-up), `before: [COMMAND, …]` (given before, each has to succeed; they end as the dialogue's
own commands do; `~ SECONDS` lets time pass, `< TEXT` waits for a line that begins so). `clock: now` is this moment.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from modemtls.sim.harness import Harness
from modemtls.sim.personalities import models
from modemtls.transcript import Direction, Part, Redacted, Transcript, Turn, Value, escape, turns
from tests.transcripts.matching import Matcher, difference
from tests.transcripts.peers import Peer, running

if TYPE_CHECKING:
    from tests.support.pki import Pki

OWN = {"model", "variant", "faults", "clock", "files", "before", "boot"}
FINAL = re.compile(rb"\r\n(OK|ERROR|\+CM[ES] ERROR: [^\r\n]*)\r\n\Z")
# The most that a modem may take for an answer, in its own seconds and in real ones.
REAL = 4.0


@dataclass
class Session:
    """Parts that one modem plays."""

    situation: dict[str, Value]
    parts: list[Part] = field(default_factory=list)

    @property
    def line(self) -> int:
        return self.parts[0].line


def sessions(transcript: Transcript) -> list[Session]:
    """The stretches of a file that the simulator plays: none, if no part has a `# sim:` header."""
    out: list[Session] = []
    for part in transcript.parts:
        headers = part.mappings("sim")
        if headers:
            situation: dict[str, Value] = {}
            for header in headers:
                situation.update(header)
            out.append(Session(situation))
        if out:
            out[-1].parts.append(part)
    return out


def waiting(session: Session, transcript: Transcript) -> str:
    """What is still to come before the session can be played, if anything is."""
    model = str(session.situation.get("model") or transcript.profile)
    return "" if model in models() else f"waiting for the simulated modem {model}"


def play(session: Session, transcript: Transcript, pki: Pki) -> None:
    """Raise AssertionError where the simulator says something else."""
    servers = [spec for part in session.parts for spec in part.mappings("server")]
    with running(servers, pki) as peers, _modem(session.situation, transcript, peers, pki) as modem:
        matcher = Matcher(list(dict.fromkeys(name for part in session.parts for name in part.any)))
        _prepare(modem, session)
        entries = [entry for part in session.parts for entry in part.entries]
        for turn in turns(entries):
            _turn(modem, turn, matcher, peers)
        modem.advance(0.2)
        modem.loop.poll(0.02)
        assert modem.read() == b"", "the modem says more than the transcript"
        assert not matcher.unused, f"any: {matcher.unused} occur nowhere"
        failures = [peer.failure for peer in peers if peer.failure]
        assert not failures, failures


def _modem(situation: dict[str, Value], transcript: Transcript, peers: list[Peer], pki: Pki) -> Harness:
    unknown = set(situation) - OWN
    assert not unknown, f"sim: unknown {unknown}"
    variants = situation.get("variant") or {}
    files = situation.get("files") or {}
    assert isinstance(variants, dict)
    assert isinstance(files, dict)
    client = pki.client() if any(str(text).startswith("@client") for text in files.values()) else None
    known = {"@ca": pki.ca.read_bytes()}
    if client is not None:
        known |= {"@client.cert": client.cert_pem, "@client.key": client.key_pem}
    content = {name: known.get(str(text)) or str(text).encode() for name, text in files.items()}
    faults = situation.get("faults") or []
    assert isinstance(faults, list)
    clock = situation.get("clock")
    model = situation.get("model") or transcript.profile
    return Harness(
        str(model),
        variants=[f"{name}={_word(value)}" for name, value in variants.items()],
        maps=[f"{peer.host}:{peer.port}=127.0.0.1:{peer.real_port}" for peer in peers],
        faults=[str(fault) for fault in faults],
        files=content,
        clock=datetime.now(UTC) if clock == "now" else None if clock is None else str(clock),
        boot=not situation.get("boot"),
    )


def _word(value: Value) -> str:
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _ending(session: Session) -> bytes:
    """What ends the host's commands in this dialogue."""
    entries = [entry for part in session.parts for entry in part.entries]
    host = [turn.chunks[-1] for turn in turns(entries) if turn.direction is Direction.OUT]
    return b"\r\n" if host and isinstance(host[0], bytes) and host[0].endswith(b"\r\n") else b"\r"


def _prepare(modem: Harness, session: Session) -> None:
    situation = session.situation
    before = situation.get("before") or []
    assert isinstance(before, list)
    heard = b""
    for command in before:
        if str(command).startswith("~ "):
            modem.advance(float(str(command)[2:]))
            modem.read()
            continue
        if str(command).startswith("< "):
            line = re.compile(re.escape(str(command)[2:].encode()) + rb"[^\r\n]*\r\n")
            if not line.search(heard):
                heard = modem.settle(lambda out, line=line: bool(line.search(out)))  # type: ignore[misc]
            found = line.search(heard)
            assert found
            modem._line.out[:0] = heard[found.end() :]  # what came behind it belongs to what follows
            continue
        modem.write(str(command).encode() + _ending(session))
        heard = modem.settle(lambda out: bool(FINAL.search(out)) or b"+QSSLOPEN" in out or b"+QIOPEN" in out)
        assert b"\r\nOK\r\n" in heard, f"{command}: {heard!r}"
    if situation.get("boot"):
        modem.machine.opened()


def _turn(modem: Harness, turn: Turn, matcher: Matcher, peers: list[Peer]) -> None:
    if turn.pause:
        end = time.monotonic() + REAL
        while not all(peer.quiet for peer in peers) and time.monotonic() < end:
            modem.loop.poll(0.001)  # in a while of the modem's all arrives that has been sent
        modem.loop.poll(0.0)
        modem.advance(turn.pause)
    if turn.direction is Direction.OUT:
        assert not any(isinstance(c, Redacted) for c in turn.chunks), f"line {turn.line}: the host's bytes are needed"
        modem.write(matcher.said(b"".join(c for c in turn.chunks if isinstance(c, bytes))))
        return
    expression = matcher.expression(turn)

    def told(out: bytes) -> bool:
        for peer in peers:
            peer.hear(out)
        return bool(expression.match(out)) or _hopeless(expression, turn, out)

    try:
        heard = modem.settle(told, limit=REAL)
    except TimeoutError:
        heard = modem.read()
    match = expression.match(heard)
    assert match, difference(turn, heard) + "\n" + "\n".join(modem.machine.trace.lines[-25:])
    matcher.heard(match)
    modem._line.out[:0] = heard[match.end() :]


def _hopeless(expression: re.Pattern[bytes], turn: Turn, out: bytes) -> bool:
    """Whether enough has come to know that it is something else."""
    return len(out) > turn.length + 64 and not expression.match(out)


def describe(data: bytes) -> str:
    return escape(data)
