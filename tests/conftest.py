"""What every test shares."""

from __future__ import annotations

import gc
import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support.pki import Pki

# A busy machine is no reason to fail a property.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """One throw-away CA for the whole run."""
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """Ctrl-C works, here and in what tests start, also where the tests were started with SIGINT ignored.

    A shell without job control starts background jobs so, and a process passes it on; a handler it does not pass on.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", autouse=True)
def state_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iterator[Path]]:
    """Never the home of whoever runs the tests: what is kept from run to run (refused PINs) goes elsewhere."""
    base = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(base / "session"))
        yield (base / str(number) for number in itertools.count(1))


@pytest.fixture(autouse=True)
def state_folder(state_folders: Iterator[Path]) -> Iterator[Path]:
    """A state directory of each test's own, not made yet: simulated modems all have the same SIM."""
    before = os.environ["XDG_STATE_HOME"]
    folder = next(state_folders)
    os.environ["XDG_STATE_HOME"] = str(folder)
    yield folder / "modemtls"
    os.environ["XDG_STATE_HOME"] = before


def pytest_collection_finish(session: pytest.Session) -> None:
    """What collecting has made stays to the end: no collection of garbage need look through it again.

    Thousands of tests are a heap that takes a tenth of a second to look through, and some tests collect at every step.
    """
    gc.collect()
    gc.freeze()
