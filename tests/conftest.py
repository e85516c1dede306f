"""What every test shares."""

from __future__ import annotations

import pytest

from tests.support.pki import Pki


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """One throw-away CA for the whole run."""
    return Pki(tmp_path_factory.mktemp("pki"))
