"""Nothing that a value contains can add a command, a quote or a line end."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modemtls.errors import ConfigurationError
from modemtls.profile.quoting import KINDS, check_input, write
from modemtls.profile.template import TemplateError, parse_template
from tests.unit.test_profile_codecs import PEM

HOSTILE = ['a"b', "a\rb", "a\nb", "a\0b", "a\x1ab", 'x",1\rAT+CFUN=0', "a\\22b", "ümlaut", "a\x7f", "\u2028"]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("kind", ["quoted", "host", "bare"])
def test_hostile_text_is_refused(kind, value):
    with pytest.raises(ConfigurationError, match=r"^field: "):
        write(KINDS[kind], "field", value)


@given(st.text(), st.sampled_from(sorted(KINDS)))
def test_whatever_text_is_written_stays_one_field(value, kind):
    try:
        written = write(KINDS[kind], "field", value)
    except ConfigurationError:
        return
    assert written.isascii()
    assert not any(char < " " or char == "\x7f" for char in written)
    if kind in {"quoted", "host"}:
        assert written[0] == written[-1] == '"'
        assert '"' not in written[1:-1]
    elif kind != "line" and kind != "token":
        assert not set(written) & set('";, \\')


@given(st.binary())
def test_whatever_bytes_are_written_stay_one_field(value):
    for kind in ("hex", "hexlower"):
        assert set(write(KINDS[kind], "field", value)) <= set(string.hexdigits)
    try:
        written = write(KINDS["pem"], "field", value)
    except ConfigurationError:
        return
    assert '"' not in written[1:-1]


def test_pem_in_quotes():
    assert write(KINDS["pem"], "data", PEM.replace(b"\n", b"\r\n")) == f'"{PEM.decode()}"'
    with pytest.raises(ConfigurationError, match=r"^data: not PEM"):
        write(KINDS["pem"], "data", PEM + b'"\rAT+CFUN=0\r')


@pytest.mark.parametrize(
    ("kind", "value", "written"),
    [
        ("number", 17, "17"),
        ("number", "0123", "0123"),
        ("quoted", "it's; fine, too", '"it\'s; fine, too"'),
        ("host", "xn--bcher-kva.example", '"xn--bcher-kva.example"'),
        ("host", "2001:db8::1", '"2001:db8::1"'),
        ("bare", "ca-1.pem", "ca-1.pem"),
        ("hex", b"\x00\xff", "00FF"),
        ("hexlower", b"\x00\xff", "00ff"),
        ("token", 4, "4"),
        ("quoted", None, '""'),
        ("number", None, ""),
    ],
)
def test_written(kind, value, written):
    assert write(KINDS[kind], "field", value) == written


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("number", True),
        ("number", "1;2"),
        ("number", "-1"),
        ("quoted", 5),
        ("hex", "00"),
        ("host", ""),
        ("host", "a b"),
    ],
)
def test_wrong_types(kind, value):
    with pytest.raises(ConfigurationError):
        write(KINDS[kind], "field", value)


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("port", "int", 0),
        ("port", "int", 65536),
        ("port", "int", "abc"),
        ("port", "int", True),
        ("socket", "int", -1),
        ("host", "host", "a,b"),
        ("pin", "digits", "12a4"),
        ("verify", "bool", 1),
        ("data", "bytes", "text"),
        ("kind", "word", "psk"),
    ],
)
def test_inputs_are_checked(name, kind, value):
    with pytest.raises(ConfigurationError, match=f"^{name}: "):
        check_input(name, kind, value, ("ca", "cert"))


@pytest.mark.parametrize(
    "source", ["{", "a}b", "{a:}", "{a:nokind}", "{a|nocodec}", "{a:join}", "{a:quoted(;)}", r"\q", "{a b}"]
)
def test_templates_that_cannot_be_read(source):
    with pytest.raises(TemplateError):
        parse_template(source)


def test_braces_and_escapes():
    assert parse_template(r"a{{b}}\x41\r").parts == ("a{b}A\r",)
