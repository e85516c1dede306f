"""What users write: options, faults, maps, variants, the command's exit codes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modemtls.sim import run
from modemtls.sim.clock import RealClock
from modemtls.sim.faults import KINDS, Fault, UsageError
from modemtls.sim.options import NameMap, Options, Variants
from modemtls.sim.personalities import find, models
from modemtls.sim.trace import Trace


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("late@command 5:2.5", ("late", "command", 5, "2.5")),
        ("late@(command 5):2.5", ("late", "command", 5, "2.5")),
        ("urc@byte 120:+CEREG: 0", ("urc", "byte", 120, "+CEREG: 0")),
        ("loss@urc 2", ("loss", "urc", 2, "1")),
        ("loss@command 2:all", ("loss", "command", 2, "all")),
        ("error@command 3:+CME ERROR: 14", ("error", "command", 3, "+CME ERROR: 14")),
        ("hang@byte 7", ("hang", "byte", 7, "0")),
    ],
)
def test_fault_forms(text, expected):
    fault = Fault.parse(text)
    assert (fault.kind, fault.at, fault.n, fault.argument) == expected


@pytest.mark.parametrize(
    "text",
    [
        "late",
        "late@5",
        "late@line 5",
        "nosuch@byte 1",
        "late@byte 0",
        "late@byte 1:soon",
        "error@byte 1",
        "garbage@byte 1:all",
        "loss@byte -1",
    ],
)
def test_wrong_faults_say_so_in_one_line(text):
    with pytest.raises(UsageError) as caught:
        Fault.parse(text)
    assert "\n" not in str(caught.value)
    assert text.split("@")[0] in str(caught.value)


def test_every_kind_is_described():
    from modemtls.sim import faults

    assert all(kind in faults.describe() for kind in KINDS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.example=127.0.0.1:80", ("a.example", None, "127.0.0.1", 80)),
        ("A.example:443=localhost:8443", ("a.example", 443, "localhost", 8443)),
        ("a=[::1]:1", ("a", None, "::1", 1)),
    ],
)
def test_maps(text, expected):
    entry = NameMap.parse(text)
    assert (entry.name, entry.port, entry.host, entry.to_port) == expected


@pytest.mark.parametrize("text", ["a", "a=b", "a=b:x", "a=:1", "=b:1", "a:0=b:1", "a:x=b:1", "a=b:65536", "a=b:0"])
def test_wrong_maps(text):
    with pytest.raises(UsageError, match="NAME=HOST:PORT"):
        NameMap.parse(text)


def test_unknown_variant_or_value_names_the_choices():
    known = find("quectel-bg95").variants("quectel-bg95")
    with pytest.raises(UsageError, match=r"there are .*prompt"):
        Variants(known, {"promt": "late"})
    with pytest.raises(UsageError, match="crlf-space"):
        Variants(known, {"prompt": "none"})
    with pytest.raises(UsageError, match="not a number"):
        Variants(known, {"latency": "inf"})


def test_query_of_a_port_name():
    options = Options.from_query(
        {
            "variant": ["prompt=late", "echo-x=1"],
            "map": "a=b:1",
            "fault": ["late@byte 1"],
            "seed": ["7"],
            "pin": ["0000"],
        }
    )
    assert options.variants == {"prompt": "late", "echo-x": "1", "pin": "0000"}
    assert options.seed == 7
    assert len(options.maps) == len(options.faults) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nosuch"],
        ["quectel-bg95", "--baud", "x"],
        ["quectel-bg95", "--fault", "x"],
        ["quectel-bg95", "--map", "x"],
        ["quectel-bg95", "--variant", "x"],
        ["quectel-bg95", "--variant", "x=1"],
        ["quectel-bg95", "--seed", "-1"],
        ["quectel-bg95", "--nope"],
        ["quectel-bg95", "--clock", "tomorrow"],
        ["quectel-bg95", "--variant", "rtc=tomorrow"],
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_two(arguments, capsys):
    try:
        code = run.main(arguments)
    except SystemExit as stop:
        code = stop.code
    out, errors = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert errors.count("\n") == 1


def test_what_cannot_be_opened_is_exit_code_one(tmp_path: Path, capsys):
    assert run.main(["quectel-bg95", "--trace", str(tmp_path / "no" / "trace")]) == 1
    assert run.main(["quectel-bg95", "--link", str(tmp_path / "no" / "link")]) == 1
    assert capsys.readouterr().err.count("\n") == 2


def test_link_never_replaces_a_file(tmp_path: Path, capsys):
    precious = tmp_path / "precious"
    precious.write_text("x")
    assert run.main(["quectel-bg95", "--link", str(precious)]) == 2
    assert precious.read_text() == "x"


def test_help_lists_models_variants_and_faults(capsys):
    with pytest.raises(SystemExit) as stop:
        run.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for model in models():
        assert model in text
        for variant in find(model).variants(model):
            assert f"{variant.name}=" in text
    for kind in KINDS:
        assert kind in text


def test_a_trace_is_its_owners_alone(tmp_path):
    path = tmp_path / "trace"
    before = os.umask(0o022)
    try:
        trace = Trace(RealClock(), path)
    finally:
        os.umask(before)
    trace.close()
    assert path.stat().st_mode & 0o777 == 0o600
