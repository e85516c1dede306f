"""Every dialogue with a program is played against the driver."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from modemtls.transcript import load
from tests.transcripts.driver_player import Session, play, sessions, waiting

HERE = Path(__file__).parent
CASES = [
    pytest.param(path, session, id=f"{path.stem}-{session.line}" if number else path.stem)
    for path in sorted(HERE.rglob("*.at"))
    for number, session in enumerate(sessions(load(path)))
]


@pytest.mark.parametrize(("path", "session"), CASES)
def test_the_driver_says_what_the_source_says(path: Path, session: Session, played: Callable[[str, str], None]) -> None:
    transcript = load(path)
    played("driver", path.relative_to(HERE).as_posix())
    if reason := waiting(transcript):
        pytest.skip(reason)
    play(session, transcript)
