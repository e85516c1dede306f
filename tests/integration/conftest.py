"""Modems that tests in bad weather share: each of them is started once, and is as it was after every test."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.support.bad_weather import SUBJECTS, Bench, Servers, bench, good_servers, talk


@pytest.fixture(scope="session")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Bench]]:
    with contextlib.ExitStack() as stack:

        class Started(dict):
            def __missing__(self, word: str) -> Bench:
                self[word] = stack.enter_context(bench(word, tmp_path_factory.mktemp("profiles")))
                return self[word]

        yield Started()


@pytest.fixture(scope="session")
def good(pki) -> Iterator[Servers]:
    """Servers that nothing is wrong with."""
    with good_servers(pki) as servers:
        yield servers


@pytest.fixture(params=SUBJECTS)
def here(request: pytest.FixtureRequest, benches: dict[str, Bench], good: Servers) -> Iterator[Bench]:
    """Somebody with a modem, which is usable after the test: a usual connection works, and nothing is lost of it."""
    made = benches[request.param]
    yield made
    made.end()
    sock = made.secure(made.certificates(good.pki))
    talk(sock, good.stream)
    made.end()
    made.nothing_is_left()


@pytest.fixture(params=[False, True], ids=["stream", "datagrams"])
def datagram(request: pytest.FixtureRequest) -> bool:
    return request.param
