"""The strict YAML of profiles: what is read, what is refused, and where the complaint points."""

from __future__ import annotations

import pytest

from modemtls.profile.problems import Problems
from modemtls.profile.source import MAX_DEPTH, MAX_SIZE, parse


def read(text: str | bytes):
    problems = Problems()
    root = parse(text.encode() if isinstance(text, str) else text, "p.yaml", problems)
    return (None if root is None else root.plain()), [str(one) for one in problems.sorted()]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("false", False),
        ("0", 0),
        ("17", 17),
        ("-3", -3),
        ("null", None),
        ("XY95", "XY95"),
        ("AT+X=1", "AT+X=1"),
        ("'NO'", "NO"),
        ("'010'", "010"),
        ('"22:22"', "22:22"),
        ("'true'", "true"),
        ("'17'", "17"),
        ("''", ""),
        (r'"\x1a"', "\x1a"),
        (r"'\r\n'", r"\r\n"),
        ("no way", "no way"),
        ("v1.2", "v1.2"),
        ("1.2.3", "1.2.3"),
    ],
)
def test_scalars(written, value):
    assert read(f"a: {written}") == ({"a": value}, [])


@pytest.mark.parametrize(
    "trap",
    [
        *("NO", "no", "Yes", "y", "N", "on", "Off", "True", "FALSE", "~", "Null"),
        *("010", "0x10", "0X1F", "0b11", "0o7", "1_000", "+5", "-010"),
        *("1.2", "1.", ".5", "1e3", "1.5e-3", ".inf", "-.INF", ".nan", "22:22", "1:30:00"),
        *("2024-01-01", "2024-01-01 10:00:00", "2001-12-14t21:59:43.10-05:00", "="),
    ],
)
def test_what_readers_disagree_on_must_be_quoted(trap):
    _, problems = read(f"x: 1\nkey: {trap}\n")
    assert problems == [f"p.yaml:2:6: {trap} means different things to YAML readers (quote it: '{trap}')"]


@pytest.mark.parametrize("key", ["NO", "010", "22:22", "1e3", "0xC02F", "true", "566", "-3"])
def test_keys_are_text_as_written(key):
    assert read(f"{key}: x") == ({key: "x"}, [])


def test_a_value_that_was_forgotten():
    assert read("a:\nb: 1")[1] == [
        "p.yaml:1:3: a value is missing (write '' for empty text, null to remove what is inherited)"
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3", "p.yaml:3:1: duplicate key a (first in line 1)"),
        ("a: {b: 1, b: 2}", "p.yaml:1:11: duplicate key b (first in line 1)"),
        ("a: &x 1", "p.yaml:1:4: anchors (&name) are not allowed (write the value out, or use extends)"),
        ("a: *x", "p.yaml:1:4: aliases (*name) are not allowed (write the value out, or use extends)"),
        ("a: !!int 3", "p.yaml:1:4: tags (!name) are not allowed"),
        ("a: !!python/object/apply:os.system [x]", "p.yaml:1:4: tags (!name) are not allowed"),
        ("<<: {a: 1}", "p.yaml:1:1: merge keys (<<) are not allowed (use extends)"),
        ("? [a]\n: 1", "p.yaml:1:3: a key must be text"),
        ("a: 1\n---\nb: 2", "p.yaml:2:1: a profile is one document"),
        ("- a", "p.yaml:1:1: a profile is a map"),
        ("", "p.yaml:1:1: empty"),
        ("# nothing", "p.yaml:1:1: empty"),
    ],
)
def test_refused(text, problem):
    assert read(text)[1] == [problem]


def test_everything_wrong_is_told_at_once():
    _, problems = read("a: NO\nb: &x 1\nc: 010\nb: 2\n")
    assert [one.split(": ")[0] for one in problems] == ["p.yaml:1:4", "p.yaml:2:4", "p.yaml:3:4", "p.yaml:4:1"]


def test_not_yaml_says_where():
    root, problems = read("a: [1, 2\nb: 3\n")
    assert root is None
    assert len(problems) == 1
    assert problems[0].startswith("p.yaml:2:")
    assert "not YAML" in problems[0]


def test_not_utf8():
    assert read(b"a: 1\nb: \xff\n")[1] == ["p.yaml:2:1: not UTF-8"]


def test_size_and_depth_are_bounded():
    assert read(b"a: " + b"x" * MAX_SIZE)[1] == ["p.yaml:1:1: larger than 256 KiB"]
    deep = "[" * 200_0 + "]" * 200_0
    assert read(f"a: {deep}")[1] == [f"p.yaml:1:{3 + MAX_DEPTH}: nested deeper than {MAX_DEPTH} levels"]
    fine = "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)
    assert read(f"a: {fine}")[1] == []
