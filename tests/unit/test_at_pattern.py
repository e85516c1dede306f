"""Line patterns: what they match, what they capture, what is refused and where."""

import pytest

from modemtls.at.grammar import PatternError, UrcRule, compile_pattern


@pytest.mark.parametrize(
    ("source", "line", "values"),
    [
        ("OK", b"OK", {}),
        ("+X: {n:int}", b"+X: -12", {"n": -12}),
        ("+X: {n:int}", b"+X:7", {"n": 7}),
        ("+X:{n:int}", b"+X: 7", {"n": 7}),
        ("+X: {n:int},{m:int}", b"+X: 7, 8", {"n": 7, "m": 8}),
        ("552, invalid", b"552,invalid", {}),
        ("552,invalid", b"552, invalid", {}),
        ("SRING : {s:int}", b"SRING : 1", {"s": 1}),
        ("{imei:digits}", b"004999010640000", {"imei": "004999010640000"}),
        ("+X: {sum:hexint}", b"+X: 3eF", {"sum": 0x3EF}),
        ("+X: {sum:hexint}", b"+X: 0x1A", {"sum": 0x1A}),
        ("+X: {d:hex}", b"+X: 00fF", {"d": b"\x00\xff"}),
        ("+X: {d:hex}", b"+X: ", {"d": b""}),
        ("+X: {d:hex}", b"+X: 0", None),
        ("+X: {s:quoted},{n:int}", b'+X: "a,b: c",1', {"s": "a,b: c", "n": 1}),
        ("+X: {s:quoted}", b'+X: ""', {"s": ""}),
        ("+X: {s:quoted}", b"+X: a", None),
        ("+X: {s:word},{t:word}", b"+X: a-b,c", {"s": "a-b", "t": "c"}),
        ("+X: {s:word}", b"+X: a b", None),
        ("+X: {s:any},{t:any}", b'+X: "a b",c', {"s": "a b", "t": "c"}),
        ("+X: {t:text}", b"+X: SIM not inserted", {"t": "SIM not inserted"}),
        ("+X: {n:int}{rest:more}", b"+X: 1", {"n": 1, "rest": ""}),
        ("+X: {n:int}{rest:more}", b'+X: 1,"A",2', {"n": 1, "rest": '"A",2'}),
        ("+X: {n:int}{rest:more}", b"+X: 12x", None),
        ("+X: {_:int},{_:int},{n:int}", b"+X: 1,2,3", {"n": 3}),
        ("{{{n:int}}}", b"{4}", {"n": 4}),
        (r"a\x41\\", b"aA\\", {}),
        ('+X: "a, b",{n:int}', b'+X: "a, b",1', {"n": 1}),
        ('+X: "a, b",{n:int}', b'+X: "a,b",1', None),
        ("+X: {n:int}", b"+X: 5 ", {"n": 5}),
        ("+X: {n:int}", b"+X: 99999999999999999999999999999", None),
        ("+X: {t:text}", "+X: Zürich".encode(), {"t": "Zürich"}),
        ("+Zü: {n:int}", "+Zü: 1".encode(), {"n": 1}),
    ],
)
def test_match(source, line, values):
    assert compile_pattern(source).match(line) == values


def test_solicited_and_unsolicited_are_told_apart_by_their_fields():
    notice = compile_pattern("+CEREG: {stat:int}")
    answer = compile_pattern("+CEREG: {n:int},{stat:int}{rest:more}")
    assert notice.match(b"+CEREG: 1") == {"stat": 1}
    assert notice.match(b"+CEREG: 0,1") is None
    assert answer.match(b"+CEREG: 1") is None
    assert answer.match(b'+CEREG: 2,1,"1A","2B",8') == {"n": 2, "stat": 1, "rest": '"1A","2B",8'}


def test_bound_values_must_be_equal_as_text():
    pattern = compile_pattern("+X: {socket},{error:int}")
    assert pattern.bound == ("socket",)
    assert pattern.match(b"+X: 4,0", {"socket": 4}) == {"error": 0}
    assert pattern.match(b"+X: 4,0", {"socket": "4", "other": 1}) == {"error": 0}
    assert pattern.match(b"+X: 40,0", {"socket": 4}) is None
    with pytest.raises(KeyError, match="socket"):
        pattern.match(b"+X: 4,0", {})
    # A bound value is text, never an expression.
    assert compile_pattern("+X: {a}").match(b"+X: abc", {"a": ".*"}) is None


def test_many_bindings_do_not_pile_up():
    pattern = compile_pattern("+X: {a}")
    for number in range(500):
        assert pattern.match(b"+X: %d" % number, {"a": number}) == {}
    assert len(pattern._cache) <= 64


def test_prefix_and_head():
    pattern = compile_pattern('+X: "recv",{socket:int}')
    assert pattern.prefix == b'+X: "recv",'
    assert pattern.head == b"+X:"
    assert compile_pattern("RDY").literal == b"RDY"
    assert compile_pattern("{imei:digits}").head == b""


def test_payload_frames():
    below = compile_pattern(r"+X: {length:int}\r\n{data:raw(length)}").payload
    assert below is not None
    assert (below.inline, below.tail, below.length) == (False, b"", "length")
    assert compile_pattern("+X: {n:int}\r\n{data:raw(n)}").payload is not None
    beside = compile_pattern('+X: {s:int},{length:int},"{data:raw(length)}"').payload
    assert beside is not None
    assert (beside.inline, beside.tail) == (True, b'"')


@pytest.mark.parametrize(
    ("source", "offset", "words"),
    [
        ("", 0, "empty"),
        ("+X: {a:int", 4, "brace"),
        ("+X: {a:int}}", 11, "brace"),
        ("+X: {a:float}", 4, "unknown type float; known: int"),
        ("+X: {a:int(b)}", 4, "takes no argument"),
        ("+X: {a:text},x", 14, "rest of the line"),
        ("+X: {a:text}{b:int}", 12, "rest of the line"),
        ("a\r\nb", 4, "line end"),
        ("a\r\nb{c:int}", 4, "line end"),
        ("{d:raw}", 0, "length"),
        ("{d:raw(n)}", 0, "no int field n"),
        ("{n:word},{d:raw(n)}", 9, "no int field n"),
        ("{n:int}{d:raw(n)}", 7, "literal text in front"),
        ("{n:int},{d:raw(n)}{x:int}", 18, "nothing but literal"),
        (r"{n:int}\r\n{d:raw(n)}x", 22, "nothing but line ends may follow"),
        ("{a:int},{a:int}", 8, "twice"),
        (r"a\q", 1, "escape"),
    ],
)
def test_refused_with_the_place(source, offset, words):
    with pytest.raises(PatternError, match=words) as caught:
        compile_pattern(source)
    assert caught.value.offset == offset


def test_an_unsolicited_result_cannot_depend_on_an_exchange():
    with pytest.raises(PatternError, match="socket"):
        UrcRule(compile_pattern("+X: {socket}"), "data")


def test_secrets_are_blacked_out_and_the_rest_is_kept():
    pattern = compile_pattern("+X: {user:quoted},{key:quoted},{n:int}", secrets={"key"})
    assert pattern.redact(b'+X: "me","s3cret",1') == b'+X: "me","***",1'
    assert pattern.redact(b"+X: something else s3cret") == b"+X:***"
    assert compile_pattern("+X: {user:quoted}").redact(b'+X: "me"') == b'+X: "me"'
