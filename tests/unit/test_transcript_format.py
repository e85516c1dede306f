"""The transcript format: what is read, what is refused and where, and that writing loses nothing."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modemtls.transcript import (
    Comment,
    Data,
    Direction,
    Header,
    Pause,
    Redacted,
    Run,
    TranscriptError,
    Turn,
    escape,
    join,
    lines_of,
    mapping,
    parse,
    quote,
    turns,
    unescape,
    write,
)

EXAMPLE = """\
# source: SSL AT Commands Manual V1.0, 3.2
# profile: example
# evidence: manual
> AT+XOPEN=1,1,4,"220.180.239.212",8010,0\\r
< \\r\\nOK\\r\\n
~ 1.25
< \\r\\n+XOPEN: 4,0\\r\\n
"""

RUNS = """\
# source: a
# profile: example
# evidence: composed
# any: imei

# part: opening it
# run: tls_open {socket: 4, host: 220.180.239.212, port: 8010}
# outcome: ok
> AT+XOPEN=4\\r
< \\r\\nOK\\r\\n

# run: tls_close {socket: 4}
# source: b
> AT+XCLOSE=4\\r
< \\r\\nOK\\r\\n

# part: what no program does
# sim: {clock: "26/03/01,10:15:30+04", files: {"ca.pem": 3}}
# server: {port: 8010, send: [a, 1, true, null]}
> AT\\r
< \\r\\nOK\\r\\n
"""

payloads = st.binary(max_size=60) | st.sampled_from(
    [b"{5 bytes redacted}", b"x {12 bytes redacted}{", b"\\x41", b" ", b"\r\n> ", b"# run: x", b"\xc3\xa9 "]
)
chunks = st.lists(payloads | st.integers(0, 5000).map(Redacted), max_size=5).map(join)
no_controls = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\u2028\u2029\x85"), max_size=30
)
entries = st.one_of(
    st.builds(Data, st.sampled_from(Direction), chunks),
    st.builds(Pause, st.integers(0, 9_999_999_999).map(lambda us: us / 1_000_000)),
    no_controls.map(lambda text: Comment(f"#! {text}")),
    st.just(Comment("")),
    st.builds(Header, st.just("source"), no_controls.map(str.strip).filter(bool)),
)


def test_the_blueprints_example() -> None:
    transcript = parse(EXAMPLE)
    assert transcript.profile == "example"
    assert transcript.parts[0].text("evidence") == "manual"
    assert transcript.turns() == [
        Turn(Direction.OUT, (b'AT+XOPEN=1,1,4,"220.180.239.212",8010,0\r',)),
        Turn(Direction.IN, (b"\r\nOK\r\n",)),
        Turn(Direction.IN, (b"\r\n+XOPEN: 4,0\r\n",), 1.25),
    ]


def test_parts_begin_with_run_or_part_and_inherit_the_head() -> None:
    head, opening, closing, rest = parse(RUNS).parts
    assert not head.has_data
    assert opening.title == "opening it"
    assert opening.run == Run("tls_open", {"socket": 4, "host": "220.180.239.212", "port": 8010})
    assert opening.text("outcome") == "ok"
    assert closing.run == Run("tls_close", {"socket": 4})
    assert closing.texts("source") == ["b"], "its own source, not the head's"
    assert rest.run is None
    assert [p.any for p in (opening, closing, rest)] == [["imei"]] * 3
    assert rest.mappings("sim") == [{"clock": "26/03/01,10:15:30+04", "files": {"ca.pem": 3}}]
    assert rest.mappings("server") == [{"port": 8010, "send": ["a", 1, True, None]}]
    assert opening.mappings("server") == [], "a situation is not inherited"
    assert parse("# sim: {a: 1}\n# run: x\n> a\n").parts[1].texts("sim") == []


def test_where_a_line_is_cut_means_nothing() -> None:
    cut = parse("> AT\n> \\r\n< \\r\\nO\n# a comment between\n< K\\r\\n\n")
    assert cut.turns() == parse("> AT\\r\n< \\r\\nOK\\r\\n\n").turns()


def test_a_pause_divides_and_pauses_add_up() -> None:
    found = parse("< a\n~ 1\n~ 0.5\n< b\n< c\n").turns()
    assert found == [Turn(Direction.IN, (b"a",)), Turn(Direction.IN, (b"bc",), 1.5)]


@pytest.mark.parametrize(
    ("text", "data"),
    [
        (r"\r\n\t\\\x00\xff", (b"\r\n\t\\\x00\xff",)),
        (r"a\x20", (b"a ",)),
        ("a ", (b"a ",)),
        ("{3 bytes redacted}", (Redacted(3),)),
        ("{3 bytes redacted}{4 bytes redacted}", (Redacted(7),)),
        (r"\x7b3 bytes redacted}", (b"{3 bytes redacted}",)),
        ("{x bytes redacted}", (b"{x bytes redacted}",)),
        ("{0 bytes redacted}", ()),
        ("é", ("é".encode(),)),
        ("# no comment here", (b"# no comment here",)),
    ],
)
def test_data(text: str, data: tuple[bytes | Redacted, ...]) -> None:
    assert unescape(text) == data


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("> AT\\r\n< \\q\n", 2, "column 1: no escape"),
        ("> ab\\x4\n", 1, "column 3: no escape"),
        ("> AT\\\n", 1, "no escape"),
        ("> A\x01T\n", 1, r"column 2: a control character; write \x01"),
        ("> A\rT\n", 1, r"write \r"),
        (">AT\n", 1, "a space and data"),
        (">\n", 1, "a space and data"),
        ("AT\n", 1, "begins with"),
        ("~1\n", 1, "SECONDS"),
        ("~ -1\n", 1, "SECONDS"),
        ("~ 1e3\n", 1, "SECONDS"),
        ("~ 1 # why\n", 1, "SECONDS"),
        ("# evidence: guess\n", 1, "device, manual, composed"),
        ("\n# evidance: manual\n", 2, "did you mean 'evidence'"),
        ("# profile: a\n# profile: b\n", 2, "a second '# profile:'"),
        ("# source:\n", 1, "says nothing"),
        ("# sim: clock\n", 1, "expected {key: value"),
        ("# sim: {a: 1, a: 2}\n", 1, "a comes twice"),
        ("# sim: {a: [}\n", 1, ""),
        ("# sim: {a: &a {b: *a}}\n", 1, ""),
        ("# run: 4\n", 1, "the name of a program"),
        ("# run: x {a: 1\n", 1, ""),
        ("# outcome: ok\n", 1, "without '# run:'"),
        ("> {99999999 bytes redacted}\n", 1, "bytes redacted"),
    ],
)
def test_what_is_no_transcript_is_refused_with_its_line(text: str, line: int, says: str) -> None:
    with pytest.raises(TranscriptError) as caught:
        parse(text, name="x.at")
    assert caught.value.line == line
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"x.at:{line}: ")


def test_bytes_are_read_as_utf8_with_or_without_a_mark_and_with_any_line_ends() -> None:
    assert parse(b"\xef\xbb\xbf> AT\\r\r\n< OK\r\n") == parse("> AT\\r\n< OK\n")
    with pytest.raises(TranscriptError) as caught:
        parse(b"# caf\xc3\xa9\n> \xe9\n")
    assert caught.value.line == 2


def test_a_part_line_joins_only_the_run_that_follows_it() -> None:
    assert len(parse("# part: a\n# run: x {}\n> a\n").parts) == 2
    assert len(parse("# part: a\n> a\n# run: x\n> b\n").parts) == 3
    assert len(parse("# run: x\n# run: y\n").parts) == 3


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{a: 0}", {"a": 0}),
        ("{a: -12}", {"a": -12}),
        ("{a: 010}", {"a": "010"}),
        ("{a: NO}", {"a": "NO"}),
        ("{a: yes}", {"a": "yes"}),
        ("{a: 1.5}", {"a": "1.5"}),
        ("{a: 22:22}", {"a": "22:22"}),
        ("{a: 2024-01-02}", {"a": "2024-01-02"}),
        ("{a: '1'}", {"a": "1"}),
        ('{a: "\\x1a"}', {"a": "\x1a"}),
        ("{a: true, b: false, c: null, d: }", {"a": True, "b": False, "c": None, "d": None}),
        ("{}", {}),
    ],
)
def test_header_values_have_no_yaml_traps(text: str, value: object) -> None:
    found = mapping(text)
    assert found == value
    assert [type(v) for v in found.values()] == [type(v) for v in value.values()]  # type: ignore[attr-defined]


@given(st.binary(max_size=300))
@example(b"> ")
@example(b"{1 bytes redacted} ")
def test_every_byte_comes_back(data: bytes) -> None:
    text = escape(data)
    assert unescape(text) == join([data])
    assert unescape(text.rstrip()) == join([data]), "blanks cut off by an editor do no harm"
    assert text.isascii()
    assert "\n" not in text


@given(chunks)
def test_chunks_come_back(data: tuple[bytes | Redacted, ...]) -> None:
    assert unescape(quote(data)) == data


@given(st.lists(entries, max_size=12))
def test_what_is_written_reads_back_the_same(items: list[Data | Pause | Comment | Header]) -> None:
    text = write(items)
    once = parse(text)
    assert once.entries == items
    assert write(once) == text
    assert parse(write(once)) == once


@given(st.binary(max_size=2000), st.sampled_from(Direction))
def test_cutting_into_lines_keeps_the_stream(data: bytes, direction: Direction) -> None:
    cut = list(lines_of(direction, data))
    assert turns(cut) == ([Turn(direction, (data,))] if data else [])
    assert all(entry.chunks for entry in cut)


def test_runs_survive_a_round_trip() -> None:
    assert write(parse(RUNS)) == RUNS
