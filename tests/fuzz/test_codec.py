"""The codec under generated dialogues: however the bytes are cut, the events are the same and nothing is lost."""

from hypothesis import given, settings
from hypothesis import strategies as st

from modemtls.at import events as ev
from modemtls.at.codec import Codec
from modemtls.at.exchange import Exchange, Expected
from modemtls.at.grammar import Grammar, PromptRule, UrcRule, compile_pattern

GRAMMAR = Grammar(
    urcs=(
        UrcRule(compile_pattern("RDY"), "boot"),
        UrcRule(compile_pattern('+U: "recv",{s:int}'), "data"),
        UrcRule(compile_pattern(r'+U: "push",{s:int},{n:int}\r\n{d:raw(n)}'), "data"),
        UrcRule(compile_pattern('+D: {s:int},{n:int},"{d:raw(n)}"'), "data"),
    ),
    max_line=48,
    max_payload=4096,
)
EXCHANGE = Exchange(
    line=b"AT+R=1",
    lines=(
        Expected(compile_pattern(r"+R: {n:int}\r\n{d:raw(n)}"), repeat="many"),
        Expected(compile_pattern("+Q: {a:int},{rest:text}"), repeat="many"),
        Expected(compile_pattern("{word:digits}"), repeat="many"),
    ),
    prompt=PromptRule(),
    payload=b"\r\nOK\r\n",
)

nasty = st.one_of(
    st.binary(max_size=40),
    st.lists(
        st.sampled_from(
            [b"\r\nOK\r\n", b"> ", b"+++", b'\r\n+U: "recv",1\r\n', b"\r\nRDY\r\n", b"\0", b"\r", b"AT+R=1\r"]
        ),
        max_size=6,
    ).map(b"".join),
)
blank = st.sampled_from([b"", b"\r\n", b"\r\n\r\n", b"\0", b"\0\r\n"])


@st.composite
def piece(draw):
    """One thing that a modem may say and the event it must become."""
    kind = draw(st.sampled_from(["r", "q", "digits", "recv", "push", "inline", "boot"]))
    body = draw(nasty)
    number = draw(st.integers(0, 99))
    match kind:
        case "r":
            return b"+R: %d\r\n" % len(body) + body, ("info", body)
        case "q":
            text = draw(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)).encode()
            return b"+Q: %d,%b\r\n" % (number, text), ("info", None)
        case "digits":
            return b"%d\r\n" % number, ("info", None)
        case "recv":
            return b'+U: "recv",%d\r\n' % number, ("urc", None)
        case "push":
            return b'+U: "push",%d,%d\r\n' % (number, len(body)) + body, ("urc", body)
        case "inline":
            return b'+D: %d,%d,"' % (number, len(body)) + body + b'"\r\n', ("urc", body)
        case _:
            return b"RDY\r\n", ("urc", None)


def run(stream, cuts, *, keep_raw):
    codec = Codec(GRAMMAR, keep_raw=keep_raw)
    codec.begin(EXCHANGE)
    events = []
    last = 0
    for cut in [*sorted(cuts), len(stream)]:
        events += codec.feed(stream[last:cut])
        last = cut
    return events, codec


def stripped(events):
    return [tuple(getattr(one, name) for name in type(one).__slots__ if name != "raw") for one in events]


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_what_is_sent_is_what_is_seen(data):
    pieces = data.draw(st.lists(st.tuples(blank, piece()), max_size=8))
    # Behind pushed data no line may begin but with CR LF: anything else would be a sign of lost bytes.
    before = [b"", *(text for _, (text, _) in pieces)]
    pieces = [
        (gap or b"\r\n" * (b"push" in last[:12]), made) for last, (gap, made) in zip(before, pieces, strict=False)
    ]
    stream = b"".join(gap + text for gap, (text, _) in pieces) + b"\r\nERROR\r\n"
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12))
    events, codec = run(stream, cuts, keep_raw=True)
    seen = [
        (
            "info" if isinstance(one, ev.Info) else "urc" if isinstance(one, ev.Unsolicited) else type(one),
            getattr(one, "payload", None),
        )
        for one in events
    ]
    assert seen == [*(expected for _, (_, expected) in pieces), (ev.Final, None)]
    assert b"".join(one.raw for one in events) + codec.pending == stream


@given(
    st.lists(
        st.one_of(st.binary(max_size=30), nasty, piece().map(lambda one: one[0]), st.just(b"x" * 100)), max_size=12
    ).map(b"".join),
    st.data(),
)
@settings(max_examples=400, deadline=None)
def test_cuts_change_nothing_whatever_the_bytes(stream, data):
    whole, _ = run(stream, [], keep_raw=False)
    raws, codec = run(stream, [], keep_raw=True)
    assert stripped(raws) == stripped(whole)
    assert b"".join(one.raw for one in raws) + codec.pending == stream
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=20))
    for keep_raw in (False, True):
        cut, _ = run(stream, cuts, keep_raw=keep_raw)
        assert stripped(cut) == stripped(whole)
        bytewise, _ = run(stream, range(len(stream)), keep_raw=keep_raw)
        assert stripped(bytewise) == stripped(whole)


@given(st.binary(max_size=300), st.integers(1, 60))
@settings(max_examples=200, deadline=None)
def test_any_payload_arrives_unharmed(payload, step):
    stream = b"\r\n+R: %d\r\n" % len(payload) + payload + b"\r\nERROR\r\n"
    events, _ = run(stream, range(step, len(stream), step), keep_raw=False)
    assert [type(one) for one in events] == [ev.Info, ev.Final]
    assert events[0].payload == payload
