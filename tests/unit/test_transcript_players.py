"""The judges can fail: what may differ in a dialogue, and nothing else."""

from __future__ import annotations

import pytest

from modemtls.transcript import parse
from tests.transcripts.matching import Matcher, difference, fields


def expression(text: str, *names: str):
    matcher = Matcher(list(names))
    return matcher, matcher.expression(parse(f"< {text}\n").turns()[0])


@pytest.mark.parametrize(
    ("text", "names", "same", "other"),
    [
        ("+A: 1\\r\\n", [], b"+A: 1\r\n", b"+A: 2\r\n"),
        ("+A: 1\\r\\n", [], b"+A: 1\r\n", b"+A: 1\n"),
        ("a.c", [], b"a.c", b"abc"),
        ("{3 bytes redacted}x", [], b"\r\n\0x", b"\r\nx"),
        ("867698043281104", ["imei"], b"123456789012345", b"12345678901234"),
        ('"10.7.157.1"', ["ip"], b'"127.0.0.1"', b'"::1"'),
        ('"220.180.239.201",80', ["ip=10.0.0.1"], b'"220.180.239.201",80', b'"127.0.0.1",80'),
        ('"08/01/04,00:19:43+00"', ["clock"], b'"2026/11/24,10:00:00-08"', b'"never"'),
        ("+S: 4,65344,2", ["lport=65344"], b"+S: 4,1,2", b"+S: 4,,2"),
        ("+S: 4,65344,2", ["lport=65344"], b"+S: 4,1,2", b"+S: 5,1,2"),
        ("+E: 552,no good\\r\\n", ["text=552,no\\x20good"], b"+E: 552, no good\r\n", b"+E: \r\n"),
    ],
)
def test_what_may_differ(text: str, names: list[str], same: bytes, other: bytes) -> None:
    _, pattern = expression(text, *names)
    assert pattern.fullmatch(same)
    assert not pattern.fullmatch(other)


def test_a_field_that_occurs_nowhere_is_told() -> None:
    matcher, _ = expression("+A: 1", "imei", "ip")
    assert matcher.unused == ["imei", "ip"]
    with pytest.raises(ValueError, match="no field 'speed'"):
        fields(["speed"])
    with pytest.raises(ValueError, match="no field 'number'"):
        fields(["number"])


def test_the_difference_is_shown() -> None:
    turn = parse("# c\n< OK\\r\\n\n").turns()[0]
    text = difference(turn, b"ERROR\r\n")
    assert "line 2: byte 0" in text
    assert "expected OK\\r\\n" in text
    assert "got      ERROR\\r\\n" in text


def test_what_stays_the_same_is_said_again_by_both_sides() -> None:
    matcher = Matcher(["session=AAA"])
    first = matcher.expression(parse('< +S: "AAA"\\r\\n\n').turns()[0]).fullmatch(b'+S: "xyz"\r\n')
    assert first
    assert matcher.said(b'AT+S="AAA"\r') == b'AT+S="AAA"\r', "nothing has been heard yet"
    matcher.heard(first)
    assert matcher.said(b'AT+S="AAA"\r') == b'AT+S="xyz"\r'
    again = matcher.expression(parse("< AAA,AAA\n").turns()[0])
    assert again.fullmatch(b"xyz,xyz")
    assert not again.fullmatch(b"xyz,abc")
    fresh = Matcher(["session=AAA"]).expression(parse("< AAA;AAA\n").turns()[0])
    assert fresh.fullmatch(b"abc;abc")
    assert not fresh.fullmatch(b"abc;abd")
