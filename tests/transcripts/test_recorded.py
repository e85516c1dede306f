"""What the driver says is recorded, told and replayed: the three tools agree with each other and keep secrets."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from modemtls.dialogue.explain import explain
from modemtls.dialogue.known import vocabulary
from modemtls.dialogue.record import Recorder
from modemtls.dialogue.replay import Replay
from modemtls.transcript import Direction, Redacted, Transcript, load, parse
from tests.transcripts.driver_player import STEPS, _bindings, attached, profile

HERE = Path(__file__).parent


def recorded(path: Path) -> Transcript:
    """The same dialogue as the driver's own trace has it, without the commands it gets into step with."""
    transcript = load(path)
    file = io.StringIO()
    recorder = Recorder(file, source="a test", profile=transcript.profile)
    with attached(str(transcript.profile), trace=recorder) as (modem, channel, runner, _):
        for part in transcript.parts:
            if part.run is not None:
                modem.play(part.turns())
                runner.run(part.run.program, _bindings(part, part.run, runner.profile), deadline=channel.clock() + 5)
                assert modem.finish(limit=5) == ""
    recorder.close()
    return parse(file.getvalue())


@pytest.mark.parametrize(
    ("name", "secret"),
    [("pin.at", b"1234"), ("files-root-certificate.at", b"MIIDQTCC"), ("tls-buffer.at", None), ("tcp-buffer.at", None)],
)
def test_a_recorded_dialogue_is_complete_and_keeps_secrets(name: str, secret: bytes | None) -> None:
    found = recorded(HERE / "quectel" / name)
    story = explain(found, vocabulary(profile(str(found.profile))))
    assert story.rest == []
    chunks = [chunk for turn in found.turns() for chunk in turn.chunks]
    if secret is not None:
        assert any(isinstance(chunk, Redacted) for chunk in chunks)
        assert not any(secret in chunk for chunk in chunks if isinstance(chunk, bytes))
    source = [part for part in load(HERE / "quectel" / name).parts if part.run]
    said = sum(turn.length for part in source for turn in part.turns() if turn.direction is Direction.OUT)
    steps = sum(len(c) for c in STEPS if c in b"".join(x for x in chunks if isinstance(x, bytes)))
    assert sum(turn.length for turn in found.turns() if turn.direction is Direction.OUT) == said + steps
    replay = Replay(found.turns())
    for turn in found.turns():
        if turn.direction is Direction.OUT:
            replay.receive(b"".join(b"?" * c.length if isinstance(c, Redacted) else c for c in turn.chunks))
        while replay.due() is not None:
            replay.spoke()
    assert replay.finished
    assert replay.deviation is None
