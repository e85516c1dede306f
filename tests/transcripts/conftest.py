"""Counts which dialogues were played against whom, and says so at the end of the run."""

from __future__ import annotations

from collections import defaultdict

import pytest

PLAYED: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))  # file -> side -> outcomes
WAITING: dict[str, set[str]] = defaultdict(set)  # for what -> files


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    side = item.stash.get(SIDE, None)
    if side is not None and call.when == "call":
        report.user_properties.append((PROPERTY, side))  # this may be a worker: the report goes to who counts
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    for name, value in report.user_properties if report.when == "call" else ():
        if name != PROPERTY:
            continue
        assert isinstance(value, tuple | list)
        side, dialogue = value
        if report.skipped and isinstance(report.longrepr, tuple | list):
            WAITING[str(report.longrepr[2]).removeprefix("Skipped: ")].add(dialogue)
        else:
            PLAYED[dialogue][side].append(report.outcome)


PROPERTY = "dialogue"
SIDE = pytest.StashKey[tuple[str, str]]()


@pytest.fixture
def played(request: pytest.FixtureRequest):
    """Note that this test plays a dialogue against a side: driver or simulator."""

    def note(side: str, dialogue: str) -> None:
        request.node.stash[SIDE] = (side, dialogue)

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for reason, names in sorted(WAITING.items()):
        terminalreporter.write_line(f"transcripts: {len(names)} dialogues not played: {reason}")
    if not PLAYED:
        return
    sides = {side: {name for name, by in PLAYED.items() if by.get(side)} for side in ("driver", "simulator")}
    failed = sorted(name for name, by in PLAYED.items() if any("failed" in out for out in by.values()))
    both = sides["driver"] & sides["simulator"]
    terminalreporter.write_line(
        f"transcripts: {len(PLAYED)} dialogues played: {len(sides['driver'])} against the driver, "
        f"{len(sides['simulator'])} against the simulator, {len(both)} against both"
        + (f"; {len(failed)} disagree: {', '.join(failed)}" if failed else "")
    )
