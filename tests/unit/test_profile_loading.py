"""Files: `extends`, its one merge rule, finding, showing, and what cannot be loaded."""

from __future__ import annotations

import dataclasses
import json
import os

import pytest

from modemtls.errors import ConfigurationError, NotSupportedError
from modemtls.profile import ProfileError, bundled, check, check_text, flatten, json_schema, load, show
from modemtls.profile.model import version_key
from tests.unit.test_profile_flows import SNIPPETS

EXAMPLE = next(one for one in SNIPPETS if "name: xy95\n" in one)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "xy95.yaml").write_text(EXAMPLE, "utf-8")

    def write(text: str, name: str = "child"):
        path = tmp_path / f"{name}.yaml"
        path.write_text(text, "utf-8")
        return path

    return write


CHILD = "profile: 1\nname: child\nextends: xy95\n"


def test_maps_merge_lists_replace_null_deletes(folder):
    path = folder(
        CHILD
        + """\
models: [XY96]
limits: {send: 1000, pdp_active: null}
tables: {sim: {puk: PUK NEEDED}}
urcs: {functional: null, ready: {match: APP RDY}}
programs:
  signal: null
  restart:
    - send: 'AT+XRST'
      see: {manual: 'XY96 manual, 1'}
"""
    )
    child, parent = load(path), load(path.with_name("xy95.yaml"))
    assert child.name == "child"
    assert child.models == ("XY96",)
    assert child.vendor == parent.vendor
    assert child.limits["send"] == 1000
    assert child.limits["receive"] == parent.limits["receive"]
    assert "pdp_active" not in child.limits
    assert child.tables["sim"] == {"ready": "READY", "pin": "SIM PIN", "puk": "PUK NEEDED"}
    assert {one.name for one in parent.urcs} - {one.name for one in child.urcs} == {"functional"}
    assert next(one for one in child.urcs if one.name == "ready").rule.pattern.source == "APP RDY"
    assert "signal" not in child.programs
    assert child.programs["restart"].single.line.source == "AT+XRST"


def test_what_is_the_files_own_is_not_inherited(folder):
    folder(EXAMPLE.replace("name: xy95\n", "name: base\nabstract: true\n"), "base")
    child = load(folder(CHILD.replace("xy95", "base")))
    assert not child.abstract
    with pytest.raises(ConfigurationError, match="base is abstract"):
        load(child_path := folder(CHILD, "x").with_name("base.yaml"))
    assert load(child_path, abstract=True).abstract


def test_mistakes_point_into_the_file_that_has_them(folder):
    folder(EXAMPLE.replace("terminator: CR", "terminator: CL"), "xy95")
    path = folder(CHILD + "limits: {sendd: 5}\nprograms: {nosuch: null}\n")
    problems = check([path])
    assert [(one.file.rsplit("/")[-1], one.line, one.column) for one in problems] == [
        ("child.yaml", 4, 10),
        ("child.yaml", 5, 20),
        ("xy95.yaml", 13, 15),
    ]
    with pytest.raises(ProfileError) as caught:
        load(path)
    assert list(caught.value.problems) == problems


@pytest.mark.parametrize(
    ("head", "complaint"),
    [
        ("profile: 1\nname: child\nextends: nosuch\n", "child.yaml:3:10: no profile nosuch to extend"),
        ("profile: 1\nname: child\nextends: xy59\n", "no profile xy59 to extend (did you mean xy95?)"),
        ("profile: 1\nname: child\nextends: child\n", "child.yaml:3:10: child extends itself in a circle"),
        ("profile: 1\nname: child\nextends: ../xy95\n", "'../xy95' is not a profile's name"),
    ],
)
def test_wrong_heads(folder, head, complaint):
    assert any(complaint in str(one) for one in check([folder(head)]))


def test_extends_is_bounded(folder):
    for level in range(9):
        folder(f"profile: 1\nname: l{level}\nabstract: true\nextends: l{level + 1}\n", f"l{level}")
    path = folder("profile: 1\nname: l9\nabstract: true\n", "l9").with_name("l0.yaml")
    assert any("more than 8 levels of extends" in one.message for one in check([path]))


def test_no_such_profile(tmp_path):
    with pytest.raises(ConfigurationError, match="no profile xyz"):
        load("xyz")
    with pytest.raises(ConfigurationError, match="No such file"):
        load(tmp_path / "xyz.yaml")
    assert check(["xyz"])[0].message.startswith("no profile xyz")


def test_an_abstract_profile_is_not_offered_to_drive_a_modem():
    with pytest.raises(ConfigurationError) as caught:
        load("nope")
    assert "quectel-bg95" in str(caught.value)
    assert "quectel-common" not in str(caught.value)
    assert "quectel-common" in check(["quectel-comon"])[0].message  # which can be looked at


def test_a_home_directory_in_a_path(folder, monkeypatch):
    path = folder(CHILD)
    monkeypatch.setenv("HOME", str(path.parent))
    assert load(f"~/{path.name}").name == "child"
    with pytest.raises(ConfigurationError, match="whose home directory that is, is not known"):
        load("~nobody-here/x.yaml")


@pytest.mark.parametrize(
    ("body", "place", "complaint"),
    [
        (
            "programs: {clock_sync: null}",
            "4:24",
            "clock_sync is removed here, and capability ntp needs it (capabilities: {ntp: null})",
        ),
        ("tables: {suites: null}", "4:18", "suites is removed here, and capability suites needs it (cap"),
        ("limits: {receive: null}", "4:19", "receive is removed here, and capability tls needs it (cap"),
        ("tables: {receive_mode: null}", "4:24", "receive_mode is removed here, and line "),
        ("errors: {open: null}", "4:16", "open is removed here, and line "),
        ("programs: {last_error: null}", "4:24", "last_error is removed here, and line "),
        (
            "programs: {tls_open: [{send: 'AT+O={socket},{pdp},{context},{host:host},{port}', see: {manual: x}}]}",
            "4:12",
            "capability push needs {receive} in program tls_open",
        ),
    ],
)  # fmt: skip
def test_what_a_child_breaks_is_told_where_the_child_does(folder, body, place, complaint):
    path = folder(CHILD + body + "\n")
    problems = [str(one) for one in check([path])]
    assert any(one.startswith(f"{path}:{place}: {complaint}") for one in problems), problems


def test_flat_is_a_profile_by_itself(folder):
    path = folder(CHILD + "limits: {send: 1000}\ntitle: 'NO'\nmodels: ['010', '1e3', \"a\\tb\"]\n")
    flat = show(path, flat=True)
    profile, problems = check_text(flat)
    assert problems == []
    assert "extends" not in flat
    assert (profile.title, profile.models, profile.limits["send"]) == ("NO", ("010", "1e3", "a\tb"), 1000)
    assert profile.programs.keys() == load(path).programs.keys()
    assert flatten(path)["limits"]["send"] == 1000
    assert show(path).startswith(CHILD)


def test_bundled_profiles_are_correct_and_flat_ones_too():
    names = bundled(abstract=True)
    assert check(names) == []
    assert set(bundled()) < set(names)
    for name in names:
        assert load(name, abstract=True).name == name
    for name in bundled():
        assert check_text(show(name, flat=True))[1] == []


def test_a_profile_cannot_be_changed(folder):
    profile = load(folder(CHILD))
    with pytest.raises(dataclasses.FrozenInstanceError):
        profile.name = "x"
    for mapping in (profile.limits, profile.tables, profile.programs, profile.errors, profile.errors["open"]):
        with pytest.raises(TypeError):
            mapping["x"] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        profile.programs["restart"].single.line = None


def test_errors_by_number_and_by_text(folder):
    profile = load(folder(CHILD))
    assert profile.error("cme", 16).kind == "pin_wrong"
    assert profile.error("cme", "SIM not inserted").kind == "sim_absent"
    assert profile.error("open", 563).kind == "socket_in_use"
    assert profile.error("open", 16) is None
    assert profile.code_of("cme", "operation not allowed") == 3


def test_a_capability_says_what_it_is_known_from(folder):
    said = "capabilities: {alpn: {value: false, see: [{inferred: no key for it}, {manual: 'XY95 manual, 9'}]}}\n"
    rule = load(folder(CHILD + said)).capabilities["alpn"]
    assert (rule.value, rule.condition) == (False, None)
    assert [(one.kind, one.text) for one in rule.see] == [("inferred", "no key for it"), ("manual", "XY95 manual, 9")]
    with pytest.raises(ProfileError, match="value"):
        load(folder(CHILD + "capabilities: {alpn: {see: {manual: 'XY95 manual, 9'}}}\n"))


def test_requiring_what_is_not_there(folder):
    profile = load(folder(CHILD))
    assert profile.require("tcp") is True
    with pytest.raises(NotSupportedError) as caught:
        profile.require("hostname_check", {}.get)
    assert caught.value.capability == "hostname_check"
    assert caught.value.choices == ("check_hostname=False",)


@pytest.mark.parametrize(
    ("older", "newer"),
    [("XY95R02A9", "XY95R02A10"), ("1.9", "1.10"), ("A", "B"), ("R01", "R01A"), ("BG96MAR02A07M1G", "BG96MAR04A02M1G")],
)
def test_firmware_is_ordered_by_numbers(older, newer):
    assert version_key(older) < version_key(newer)


def test_the_schema_is_json_and_names_every_key():
    text = json.dumps(json_schema())
    for key in ("identify", "first_index", "input_timeout", "tls_versions", "shared_ids", "otherwise"):
        assert f'"{key}"' in text
    refs = {f"#/$defs/{name}" for name in json_schema()["$defs"]}
    assert all(f'"{one}"' in text for one in refs)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize(
    "text", ["root:x:0:0::/root:/bin/sh\n", "", "profile: 1\n", EXAMPLE + "\x1b[31m: 1\n", EXAMPLE + "# \u202e evil\n"]
)
def test_only_a_profile_is_shown(folder, flat, text):
    with pytest.raises(ProfileError) as caught:
        show(folder(text), flat=flat)
    assert "root:/bin" not in str(caught.value)
    assert "\u202e" not in str(caught.value)


def test_what_is_shown_is_what_stands_in_the_file(folder):
    text = CHILD + "title: Größe, äöü – and a comment  # so\n"
    assert show(folder(text)) == text


def test_what_is_shown_flat_is_harmless_and_reads_back_the_same(folder):
    path = folder(CHILD + 'title: "a\\e[31m\\u202e\\x9b\\u2028\\U000E0001b"\n')
    text = show(path, flat=True)
    assert text.replace("\n", "").isprintable()
    assert load(folder(text, "flat")).title == load(path).title == "a\x1b[31m\u202e\x9b\u2028\U000e0001b"


@pytest.mark.parametrize("char", ["\u202e", "\u2066", "\x85", "\u2028", "\x9b", "\x1b", "\0", "\ufeff"])
def test_what_a_reader_would_not_see_cannot_stand_in_a_profile(char):
    profile, problems = check_text(EXAMPLE + f"# so{char}\n")
    assert profile is None
    assert [(one.line, one.column) for one in problems] == [(EXAMPLE.count("\n") + 1, 5)]
    assert f"U+{ord(char):04X}" in problems[0].message


@pytest.mark.parametrize("kind", ["FIFO", "device", "terminal"])
def test_what_is_no_regular_file_is_not_waited_for(tmp_path, kind):
    ends = []
    path = {"FIFO": str(tmp_path / "fifo.yaml"), "device": "/dev/zero"}.get(kind)
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "terminal":
        ends = os.openpty()
        path = os.ttyname(ends[1])
    try:
        (problem,) = check([path])
    finally:
        for end in ends:
            os.close(end)
    assert str(problem) == f"{path}:1:1: {path}: it is no regular file"


def test_a_file_that_is_too_large_is_not_read_to_its_end(tmp_path):
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    (problem,) = check([path])
    assert str(problem) == f"{path}:1:1: larger than 256 KiB"


@pytest.mark.parametrize("value", ["9" * 100_000, "x" * 100_000, f"'{'y' * 100_000}'", f"[{'1' * 100_000}]"])
@pytest.mark.parametrize("place", ["profile: {}\n", "abstract: {}\n", "terminator: {}\n", "{}: 1\n"])
def test_what_a_mistake_quotes_is_short(place, value):
    key = place.partition(":")[0]
    found = [line for line in EXAMPLE.splitlines() if line.strip().startswith(f"{key}:")][:1]
    text = EXAMPLE.replace(found[0].strip() + "\n", place.format(value), 1) if found else EXAMPLE + place.format(value)
    _, problems = check_text(text)
    assert problems
    assert all(len(str(one)) < 800 for one in problems)
