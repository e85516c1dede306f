"""Every dialogue with a situation is played against the simulator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from modemtls.transcript import load
from tests.support.pki import Pki
from tests.support.tls_ends import need_mbedtls
from tests.transcripts.sim_player import Session, play, sessions, waiting

HERE = Path(__file__).parent
CASES = [
    pytest.param(path, session, id=f"{path.stem}-{session.line}" if number else path.stem)
    for path in sorted(HERE.rglob("*.at"))
    for number, session in enumerate(sessions(load(path)))
]


@pytest.mark.parametrize(("path", "session"), CASES)
def test_the_simulator_answers_as_the_source_says(
    path: Path, session: Session, pki: Pki, played: Callable[[str, str], None]
) -> None:
    transcript = load(path)
    played("simulator", path.relative_to(HERE).as_posix())
    if reason := waiting(session, transcript):
        pytest.skip(reason)
    if any("cid" in spec for part in session.parts for spec in part.mappings("server")):
        need_mbedtls()
    play(session, transcript, pki)
