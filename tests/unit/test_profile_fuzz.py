"""Whatever a file contains, the loader answers with a list of mistakes and never with anything else."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from modemtls.profile import check_text
from tests.unit.test_profile_flows import SNIPPETS, whole

LINES = next(one for one in SNIPPETS if "name: xy95\n" in one).splitlines()
WORDS = sorted(set(re.findall(r"[A-Za-z_]+|\{[^{}]*\}|'[^']*'|\[[^\[\]]*\]", "\n".join(LINES))))


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_a_damaged_profile(data):
    """Lines lost, doubled and swapped, words replaced by others of the language."""
    lines = list(LINES)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        how = data.draw(st.sampled_from(["drop", "double", "swap", "word", "indent", "key"]))
        if how == "drop":
            del lines[at]
        elif how == "double":
            lines.insert(at, lines[at])
        elif how == "swap":
            other = data.draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
        elif how == "indent":
            lines[at] = lines[at].removeprefix("  ")
        elif words := re.findall(r"[A-Za-z_]+|\{[^{}]*\}|'[^']*'|\[[^\[\]]*\]", lines[at]):
            old = data.draw(st.sampled_from(words))
            lines[at] = lines[at].replace(old, data.draw(st.sampled_from(WORDS)), 1)
    profile, problems = check_text("\n".join(lines))
    assert (profile is None) == bool(problems)
    assert all(one.line >= 1 and one.column >= 1 and one.message for one in problems)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_anything_at_all(data):
    profile, problems = check_text(data)
    assert profile is None
    assert problems


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SNIPPETS), st.data())
def test_a_value_of_another_shape(snippet, data):
    """Any scalar or flow collection of a snippet replaced by something of another shape."""
    text = whole(snippet)
    values = [
        one.span(1) for one in re.finditer(r": ('[^']*'|\{[^{}]*\}|\[[^\[\]]*\]|[a-z0-9_]+)$", text, re.MULTILINE)
    ]
    start, end = data.draw(st.sampled_from(values))
    new = data.draw(
        st.sampled_from(["5", "true", "null", "x", "'{x}'", "[]", "[1, x]", "{}", "{a: b}", "[{a: 1}]", "''"])
    )
    check_text(text[:start] + new + text[end:])
