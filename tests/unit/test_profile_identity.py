"""Whom a profile is for is read without the rest of it, wherever in the file it stands."""

from __future__ import annotations

import pytest

from modemtls.errors import ConfigurationError
from modemtls.profile import ProfileError, bundled, load, merge
from modemtls.profile.identity import candidate
from modemtls.profile.problems import Problems
from modemtls.profile.source import parse

WANTED = frozenset({"identify", "extends"})
HEAD = "profile: 1\nextends: é-common\nidentify: {model: XY95}\n"
LARGE = "urcs:\n  one: {match: '+X: {socket:int}', means: data}\nprograms:\n  open: [{send: AT}]\n"


@pytest.fixture
def profiles(tmp_path, monkeypatch):
    """Bundled profiles of one's own; what is known of others is forgotten."""
    monkeypatch.setattr(merge, "BUNDLED", tmp_path)
    candidate.cache_clear()
    yield lambda name, text: (tmp_path / f"{name}.yaml").write_text(text, "utf-8")
    candidate.cache_clear()


@pytest.mark.parametrize("name", bundled())
def test_what_is_read_of_a_bundled_profile_is_what_it_says_and_little_more(name):
    whole, part = load(name), candidate(name)
    assert (part.name, part.models, part.pause) == (whole.name, whole.models, whole.line.after_result)
    for field in ("manufacturer", "model", "revision"):
        assert getattr(part.identify, field) == getattr(whole.identify, field)
    assert [(one.line, one.pattern.source) for one in part.identify.ask] == [
        (one.line, one.pattern.source) for one in whole.identify.ask
    ]
    head = merge.read(merge.bundled_path(name), Problems(), only=frozenset({"models", "identify"}))
    assert "programs" not in head.entries, "`models` and `identify` stand in front of what is long"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("text", "read"),
    [
        (HEAD + LARGE, {"profile", "extends", "identify"}),
        (HEAD + "# identify: here\n" + LARGE, {"profile", "extends", "identify"}),
        (LARGE + HEAD, {"urcs", "programs", "profile", "extends", "identify"}),
        ("title: é\n" + LARGE + '"identify": {model: XY95}\n', {"title", "urcs", "programs", "identify"}),
        (LARGE + '"iden\\x74ify" : {model: XY95}\n', {"urcs", "programs", "identify"}),
        (LARGE + "? identify\n: {model: XY95}\n", {"urcs", "programs", "identify"}),
        (LARGE + "identify:\n  model: XY95\n", {"urcs", "programs", "identify"}),
        ("  programs: {}\n  identify: {model: XY95}\n", {"programs", "identify"}),
        ("--- # é\nprograms: {}\nidentify: {model: XY95}\n", {"programs", "identify"}),
        ("{programs: {},\n identify: {model: XY95}}\n", {"programs", "identify"}),
        ("{programs: {},\nprofile: 1, identify: {model: XY95}}\n", {"programs", "profile", "identify"}),
        ("title: 'a\n  identify: b'\nprograms: {}\n", set()),
    ],
)
def test_nothing_that_is_wanted_is_missed(text, end, read):
    problems = Problems()
    root = parse(text.replace("\n", end).encode(), "x.yaml", problems, only=WANTED)
    assert set(root.entries) == read
    whole = parse(text.encode(), "x.yaml", problems)
    assert [root.entries[one].plain() for one in WANTED & set(whole.entries)] == [
        whole.entries[one].plain() for one in WANTED & set(whole.entries)
    ]
    assert not len(problems)


def test_what_stands_twice_is_seen():
    problems = Problems()
    parse(f"{HEAD}{LARGE}identify: {{model: XY96}}\n".encode(), "x.yaml", problems, only=WANTED)
    assert [(one.line, one.message) for one in problems.sorted()] == [(8, "duplicate key identify")]


def test_what_is_inherited_counts_and_the_rest_of_others_does_not_matter(profiles):
    profiles("maker", "profile: 1\nname: maker\nidentify: {manufacturer: Maker}\nprograms: wrong\nabstract: true\n")
    profiles(
        "xy95", "profile: 1\nname: xy95\nidentify: {model: XY95*}\nmodels: [XY95]\nurcs: wrong\nextends: maker\n"
    )
    assert bundled() == ["xy95"]
    found = candidate("xy95")
    assert (found.models, found.identify.score("Maker", "XY95-A") > 0) == (("XY95",), True)
    assert not found.identify.score("Other", "XY95-A")


def test_a_mistake_in_it_is_told_with_its_place(profiles):
    profiles("xy95", "profile: 1\nname: xy95\nidentify: {modell: XY95*}\n")
    with pytest.raises(ProfileError, match=r"xy95.yaml:3:12: unknown key modell in identify \(did you mean model\?\)"):
        candidate("xy95")
    profiles("xy96", "profile: 1\nname: xy96\nidentify: {ask: [{send: AT, match: '{x:int'}]}\n")
    with pytest.raises(ProfileError, match=r"xy96.yaml:3:"):
        candidate("xy96")
    with pytest.raises(ConfigurationError, match="No such file"):
        candidate("xy97")
