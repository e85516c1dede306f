"""Modems and servers that many cells share, and what each cell found: collected, and held against the README."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator

import pytest

import modemtls
from modemtls.sim import embedded
from modemtls.sim.options import Options
from tests.peers import table
from tests.peers.families import Family
from tests.peers.features import Feature
from tests.peers.programs import Peer, Place, Service
from tests.support.hasty import hasty
from tests.support.pki import Leaf
from tests.support.subjects import NAME

WRITING = bool(os.environ.get("MODEMTLS_WRITE_PEERS"))
"""The README is written from this run, instead of being held against it: what `make peers` sets."""

FOUND: dict[table.Cell, str] = {}
PROPERTY = "peers"
CELL = pytest.StashKey[tuple[table.Cell, str]]()


@pytest.fixture
def finding(request: pytest.FixtureRequest) -> Callable[[table.Cell, str], None]:
    """Note what this test has found out of a cell; a README that says something else is a failure."""

    def note(cell: table.Cell, what: str) -> None:
        request.node.stash[CELL] = (cell, what)
        if not WRITING:
            told = table.parse(table.section()).get(cell)
            assert told == what, f"README.md: {table.named(cell)}: it says {told!r}; `make peers` writes it anew"

    return note


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    found = item.stash.get(CELL, None)
    if found is not None and call.when == "call" and report.passed:
        report.user_properties.append((PROPERTY, found))  # this may be a worker: the report goes to who collects
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    for name, value in report.user_properties if report.when == "call" else ():
        if name == PROPERTY:
            cell, what = value
            FOUND[tuple(cell)] = what


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if not WRITING or hasattr(session.config, "workerinput"):
        return
    missing = [cell for cell in table.cells() if cell not in FOUND]
    if not missing:
        table.write(FOUND)
    else:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not FOUND:
        return
    passed = sum(what == table.PASSED for what in FOUND.values())
    every = len(table.cells())
    terminalreporter.write_line(
        f"peers: {passed} connections made, {len(FOUND) - passed} refused for a lack of the modem, of {every}"
    )
    if WRITING:
        told = "written" if len(FOUND) == every else "not written: not every connection was tried with success"
        terminalreporter.write_line(f"peers: the table in README.md was {told}")


@pytest.fixture(scope="session")
def modems(tmp_path_factory) -> Iterator[dict[tuple[str, tuple[str, ...]], modemtls.Modem]]:
    """Simulated modems, each started when first needed."""
    with contextlib.ExitStack() as stack:

        class Started(dict):
            def __missing__(self, which: tuple[str, tuple[str, ...]]) -> modemtls.Modem:
                model, variants = which
                options = Options.build(variants=["start=running", "registration-time=0.01", *variants])
                sim = stack.enter_context(embedded.open(model, options))
                profile = hasty(model, tmp_path_factory.mktemp("profiles")) if model.startswith("ublox") else None
                self[which] = stack.enter_context(modemtls.open(sim.path, profile=profile, radio_off=True))
                return self[which]

        yield Started()


@pytest.fixture
def modem(family: Family, modems) -> modemtls.Modem:
    return modems[family.modem]


@pytest.fixture(scope="session")
def leaf(pki) -> Leaf:
    return pki.leaf(NAME, "127.0.0.1")


@pytest.fixture(scope="session")
def person(pki) -> Leaf:
    return pki.client()


@pytest.fixture(scope="session")
def running(pki, leaf, tmp_path_factory) -> Iterator[Callable[[Peer, Feature, contextlib.ExitStack], Service]]:
    """Servers, each started when first needed; a new one for each cell where it serves one client a start."""
    started: dict[tuple[str, str], Service] = {}
    numbers = itertools.count(1)
    with contextlib.ExitStack() as session:

        def start(peer: Peer, feature: Feature, cell: contextlib.ExitStack) -> Service:
            lasting = peer.many or not feature.datagram
            key = (peer.letter, feature.kind)
            if lasting and key in started:
                return started[key]
            folder = tmp_path_factory.mktemp(f"{peer.name.replace(' ', '')}-{next(numbers)}")
            place = Place(folder, pki, leaf)
            service = (session if lasting else cell).enter_context(peer.serve(feature, place))
            if lasting:
                started[key] = service
            return service

        yield start


@pytest.fixture
def serving(running) -> Iterator[Callable[[Peer, Feature], Service]]:
    with contextlib.ExitStack() as cell:
        yield lambda peer, feature: running(peer, feature, cell)
