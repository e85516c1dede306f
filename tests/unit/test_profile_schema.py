"""The JSON Schema for editors: whatever the loader takes, it takes as well."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from modemtls.profile import check_text, json_schema
from modemtls.profile.problems import Problems
from modemtls.profile.source import parse
from tests.unit.test_profile_flows import SNIPPETS, TITLES, whole

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "profile-authoring.md").read_text("utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
CHILD = "profile: 1\nname: child\nextends: parent\n"


@pytest.fixture(scope="module")
def refused():
    Draft202012Validator.check_schema(json_schema())
    validator = Draft202012Validator(json_schema())

    def errors(text: str) -> list[str]:
        problems = Problems()
        root = parse(text.encode(), "p.yaml", problems)
        assert root is not None
        assert problems.sorted() == []
        return [f"{'/'.join(map(str, one.path))}: {one.message}" for one in validator.iter_errors(root.plain())]

    return errors


@pytest.mark.parametrize("path", sorted((ROOT / "profiles").glob("*.yaml")), ids=lambda path: path.stem)
def test_bundled_profiles(refused, path):
    assert refused(path.read_text("utf-8")) == []


@pytest.mark.parametrize("snippet", SNIPPETS, ids=TITLES)
def test_the_language_document(refused, snippet):
    assert refused(whole(snippet)) == []


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: re.sub(r"\W+", "-", block)[:30])
def test_the_guide(refused, block):
    if not block.startswith("profile: 1"):
        block = CHILD + ("programs:\n" if block.startswith(" ") else "") + block
    assert refused(block) == []


@pytest.mark.parametrize(
    "body",
    [
        "capabilities: {push: null, sni: {when: null}}\n",
        "limits: null\n",
        "tables: {suites: {codes: {0x003D: null}}, off_on: null, dates: {true: null}}\n",
        "errors: {open: {codes: {566: {text: x}, 567: null}}}\n",
        "urcs: {ready: null, sim: {map: null}}\n",
        "programs: {clock_sync: null, tls_open: {on_fail: null}}\n",
        "variants: {old: null, new: {set: {capabilities: {push: null}, limits: {send: 5}}}}\n",
        "title: null\nmodels: null\n",
    ],
)
def test_a_child_may_remove_and_leave_out(refused, body):
    assert refused(CHILD + body) == []
    alone = CHILD.replace("extends: parent\n", "vendor: v\nmodels: [m]\nidentify: {model: x}\n")
    if not body.startswith("title"):  # only what extends may
        assert refused(alone + body) != [] or body.startswith("variants")
        assert check_text(alone + body)[0] is None


@pytest.mark.parametrize(
    "text",
    [
        CHILD + "limits: {sned: 5}\n",
        CHILD + "capabilities: {tls: [null]}\n",
        CHILD + "programs: {signal: [{send: null}]}\n",
        CHILD + "programs: {signal: [{send: 'AT', see: null}]}\n",
        CHILD.replace("name: child", "name: null"),
        CHILD.replace("profile: 1\n", ""),
    ],
)
def test_mistakes_are_refused_in_a_child_too(refused, text):
    assert refused(text) != []
