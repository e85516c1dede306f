"""Every snippet of the language's decision document is loaded by the real loader: the paper stays true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modemtls.profile import Profile, check_text, load

DOCUMENT = Path(__file__).parents[2] / "docs" / "decisions" / "0002-profile-language.md"
SNIPPETS = re.findall(r"^```yaml\n(.*?)^```", DOCUMENT.read_text("utf-8"), re.DOTALL | re.MULTILINE)
TITLES = [one.splitlines()[0].removeprefix("# ") for one in SNIPPETS]
HEAD = "profile: 1\nname: flow\nvendor: v\nmodels: [m]\n"


def whole(snippet: str) -> str:
    if "profile: 1\n" in snippet:
        return snippet
    return HEAD + ("" if "\nidentify:" in snippet else "identify: {model: x}\n") + snippet


@pytest.mark.parametrize("snippet", SNIPPETS, ids=TITLES)
def test_snippet_is_a_correct_profile(snippet):
    profile, problems = check_text(whole(snippet))
    assert [str(one) for one in problems] == []
    assert isinstance(profile, Profile)


def test_every_known_flow_is_written_down():
    numbers = {int(found[1]) for title in TITLES if (found := re.match(r"flow (\d+):", title))}
    assert numbers == set(range(1, 26))


# From the contents pages of the manuals named.
SECTIONS = {
    "BG96 SSL AT Commands Manual V1.0": {
        "2.1.1": "QSSLCFG", "2.1.2": "QSSLOPEN", "2.1.3": "QSSLSEND", "2.1.4": "QSSLRECV", "2.1.5": "QSSLCLOSE",
    },
    "BG96 TCP(IP) AT Commands Manual V1.1": {"2.1.17": "QIGETERROR"},
    "BG96 FILE AT Commands Manual V1.1": {"2.2": "QFLST", "2.3": "QFDEL", "2.4": "QFUPL", "2.6": "QFOPEN"},
}  # fmt: skip


def test_sections_cited_are_those_of_the_command():
    found = 0
    for snippet in SNIPPETS:
        for command, title, section in re.findall(r"AT\+(\w+).*\n *see: \{manual: '(BG96 [^,]*), ([\d.]+)'\}", snippet):
            assert SECTIONS[title][section] == command
            found += 1
    assert found > 10


def test_no_profile_closes_an_id_that_may_be_somebody_elses():
    for snippet in SNIPPETS:
        opening = re.search(r"^  (?:tls|tcp)_open:\n((?:    .*\n|\n)+)", snippet, re.MULTILINE)
        if opening and "563" in snippet:
            assert "_close" not in opening[1]


def test_a_wrong_snippet_would_be_noticed():
    """The check above can fail: one letter less in any template, and it does."""
    noticed = 0
    for snippet in SNIPPETS:
        broken = snippet.replace("{socket}", "{sockt}")
        if broken != snippet:
            _, problems = check_text(whole(broken))
            assert any("unknown name sockt" in one.message for one in problems)
            noticed += 1
    assert noticed > 20


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> Profile:
    text = next(one for one in SNIPPETS if "name: xy95\n" in one)
    path = tmp_path_factory.mktemp("profiles") / "xy95.yaml"
    path.write_text(text, "utf-8")
    return load(path)


def test_the_example_declares_what_it_says(example):
    assert example.name == "xy95"
    assert example.able("tls") == ("1.0", "1.1", "1.2")
    assert example.able("sni") is False  # until it is probed
    assert example.able("sni", {"sni_key": True}.get) is True
    assert example.limits["tls_sockets"] == tuple(range(12))
    assert example.suites is not None
    assert example.suites.codes[0xC02F] == "0XC02F"
    assert [one.token for one in example.tls_versions if one.versions == ("1.2",)] == [3]
    assert example.error("open", 566).kind == "connect_or_handshake"
    assert example.programs["tls_send"].single is not None
    assert example.programs["tls_open"].single is None


def test_variant_of_the_example_by_model_and_firmware(example):
    assert example.fitted(model="XY95", firmware="XY95MR01") is example
    small = example.fitted(model="XY95-M", firmware="XY95MR01")
    assert (example.limits["send"], small.limits["send"]) == (1460, 1024)
    assert (example.able("push"), small.able("push")) == (True, False)
    assert example.fitted(model="XY95-M", firmware="XY95MR10") is example  # ten is more than two


def test_a_variant_is_compiled_when_its_profile_is_and_not_again_with_every_modem(example):
    small = example.fitted(model="XY95-M", firmware="XY95MR01")
    assert example.fitted(model="XY95-M", firmware="XY95MR01") is small
    assert small.fitted(model="XY95-M", firmware="XY95MR01") is small


def test_variants_that_apply_together_are_laid_over_the_profile_in_order():
    profile, problems = check_text(
        whole(
            """\
limits: {send: 10, apn: 10}
variants:
  one: {when: {model: 'X*'}, set: {limits: {send: 20, host: 20}}}
  two: {when: {firmware: {from: '2'}}, set: {limits: {send: 30}}}
"""
        )
    )
    assert profile is not None, problems
    made = [
        profile.fitted(model=model, firmware=version).limits for model, version in (("X", "1"), ("Y", "2"), ("X", "2"))
    ]
    assert [(one["send"], one.get("host"), one["apn"]) for one in made] == [(20, 20, 10), (30, None, 10), (30, 20, 10)]
