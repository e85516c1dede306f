"""The codec: every stream whole, byte by byte, and cut at every boundary makes the same events."""

import pytest

from modemtls.at import events as ev
from modemtls.at.codec import Codec
from modemtls.at.exchange import Exchange, Expected
from modemtls.at.grammar import STANDARD_FINALS, FinalRule, Grammar, Outcome, PromptRule, UrcRule, compile_pattern


def P(source, **kw):
    return compile_pattern(source, **kw)


URCS = Grammar(
    urcs=(
        UrcRule(P("RDY"), "boot"),
        UrcRule(P("NO CARRIER"), "closed", constants={"socket": 1}),
        UrcRule(P('+XURC: "recv",{socket:int}'), "data"),
        UrcRule(P('+XURC: "closed",{socket:int}'), "closed"),
        UrcRule(P(r'+XURC: "push",{socket:int},{length:int}\r\n{payload:raw(length)}'), "data"),
        UrcRule(P('+XD: {socket:int},{length:int},"{payload:raw(length)}"'), "data"),
        UrcRule(P("+CEREG: {stat:int}"), "registration"),
        UrcRule(P("+CFUN: {level:int}"), "noise"),
    ),
    max_line=64,
    max_payload=1000,
)
SEND_FINALS = (
    FinalRule(P("SEND OK"), Outcome.OK),
    FinalRule(P("SEND FAIL"), Outcome.BUSY),
    *STANDARD_FINALS[1:],
)
AT = Exchange(line=b"AT")
CEREG = Exchange(line=b"AT+CEREG?", lines=(Expected(P("+CEREG: {n:int},{stat:int}{rest:more}")),))
CFUN = Exchange(line=b"AT+CFUN?", lines=(Expected(P("+CFUN: {level:int}")),))
GSN = Exchange(line=b"AT+GSN", lines=(Expected(P("{imei:digits}")),))
LIST = Exchange(line=b"AT+L", lines=(Expected(P("+L: {n:int}"), repeat="many"),))
RECV = Exchange(line=b"AT+R=1", lines=(Expected(P(r"+R: {length:int}\r\n{data:raw(length)}")),))
RECVT = Exchange(line=b"AT+R=1", lines=(Expected(P(r"+R: {length:int}\r\n{data:raw(length)}\r\n\r\n")),))
PUSH = ("urc", "data", {"socket": 3, "length": 2}, b"he")
RECVI = Exchange(line=b"AT+R=1", lines=(Expected(P('+R: {s},{length:int},"{data:raw(length)}"'), {"s": "1"}),))
SEND = Exchange(line=b"AT+S=1,5", finals=SEND_FINALS, prompt=PromptRule(), payload=b"hello")
CONNECT = Exchange(line=b"AT+UP=5", prompt=PromptRule(pattern=P("CONNECT")), payload=b"hello")


def brief(events):
    """Events as short tuples that read well in a test."""
    out = []
    for one in events:
        match one:
            case ev.Final():
                out.append(("final", one.text, *([one.missing] if one.missing else [])))
            case ev.Info():
                out.append(("info", dict(one.values), *([one.payload] if one.payload is not None else [])))
            case ev.Unsolicited():
                means = one.rule.means if one.rule else None
                out.append(("urc", means, dict(one.values), *([one.payload] if one.payload is not None else [])))
            case ev.Unknown():
                out.append(("unknown", one.text))
            case ev.Overflow():
                out.append(("overflow", one.size))
            case ev.Prompt():
                out.append(("late prompt",) if one.late else ("prompt",))
            case ev.Broken():
                out.append(("broken", one.data, one.size))
            case _:
                out.append((type(one).__name__.lower(),))
    return out


def feed_all(ex, pieces, *, grammar=URCS, keep_raw=False, payload_at=None, setup=None):
    codec = Codec(grammar, keep_raw=keep_raw)
    if setup:
        setup(codec)
    if ex is not None:
        codec.begin(ex)
    events = []
    for piece in pieces:
        for event in codec.feed(piece):
            if isinstance(event, ev.Prompt) and ex is not None and ex.payload:
                codec.payload_sent(ex.payload)
            events.append(event)
    return events, codec


def cuts(stream):
    """The stream whole, byte by byte, cut once everywhere, and with every short piece cut out."""
    yield [stream]
    yield [stream[i : i + 1] for i in range(len(stream))]
    for i in range(1, len(stream)):
        yield [stream[:i], stream[i:]]
    for i in range(1, len(stream) - 1):
        yield [stream[:i], stream[i : i + 1], stream[i + 1 :]]


def check(ex, stream, expected, *, stop_at_prompt=True, setup=None, grammar=URCS):
    """Every cut gives the expected events, raw bytes or not; raw bytes add up to the stream."""
    for pieces in cuts(stream):
        if ex is not None and ex.prompt is not None and stop_at_prompt:
            # What follows a prompt is only sent after it was seen: the piece that completes it ends there.
            fed = split_behind_prompt(pieces, stream)
        else:
            fed = pieces
        for keep_raw in (False, True):
            events, codec = feed_all(ex, fed, keep_raw=keep_raw, setup=setup, grammar=grammar)
            assert brief(events) == expected, pieces
            if keep_raw:
                assert b"".join(one.raw for one in events) + codec.pending == stream


def split_behind_prompt(pieces, stream):
    mark = stream.find(b"CONNECT\r\n")
    at = mark + 9 if mark >= 0 else stream.find(b"\n> ") + 2
    out, position = [], 0
    for piece in pieces:
        if position < at < position + len(piece):
            out += [piece[: at - position], piece[at - position :]]
        else:
            out.append(piece)
        position += len(piece)
    return out


OK = ("final", b"OK")
SEND_OK = ("final", b"SEND OK")
ECHO = ("echo",)


@pytest.mark.parametrize(
    ("ex", "stream", "expected"),
    [
        # Plain answers, echo on and off, blank lines missing and doubled, NULs.
        (AT, b"\r\nOK\r\n", [OK]),
        (AT, b"AT\r\r\nOK\r\n", [ECHO, OK]),
        (AT, b"OK\r\n", [OK]),
        (AT, b"\r\n\r\n\r\nOK\r\n\r\n", [OK]),
        (AT, b"\0\0\r\n\0OK\r\n\0", [OK]),
        (AT, b"\r\r\nOK\r\r\n", [OK]),
        (AT, b"\nOK\n", [OK]),
        (AT, b"AT\r\nOK\r\n", [ECHO, OK]),
        (AT, b"\r\nAT command set\r\n\r\nOK\r\n", [("unknown", b"AT command set"), OK]),
        # Errors in the forms of CMEE 0, 1, 2.
        (AT, b"\r\nERROR\r\n", [("final", b"ERROR")]),
        (AT, b"\r\n+CME ERROR: 10\r\n", [("final", b"+CME ERROR: 10")]),
        (AT, b"\r\n+CME ERROR: SIM not inserted\r\n", [("final", b"+CME ERROR: SIM not inserted")]),
        (AT, b"\r\n+CMS ERROR: 500\r\n", [("final", b"+CMS ERROR: 500")]),
        # Information lines.
        (CEREG, b"\r\n+CEREG: 0,1\r\n\r\nOK\r\n", [("info", {"n": 0, "stat": 1, "rest": ""}), OK]),
        (CEREG, b"+CEREG: 0,1\r\nOK\r\n", [("info", {"n": 0, "stat": 1, "rest": ""}), OK]),
        (LIST, b"\r\n+L: 1\r\n+L: 2\r\n\r\n+L: 3\r\n\r\nOK\r\n", [*[("info", {"n": i}) for i in (1, 2, 3)], OK]),
        (GSN, b"\r\n0049990\r\n\r\nOK\r\n", [("info", {"imei": "0049990"}), OK]),
        (AT, b"\r\nwhat is this\r\n\r\nOK\r\n", [("unknown", b"what is this"), OK]),
        # A URC before the echo, inside the answer, before the final result, glued behind it.
        (AT, b'\r\n+XURC: "recv",1\r\nAT\r\r\nOK\r\n', [("urc", "data", {"socket": 1}), ECHO, OK]),
        (AT, b'AT\r\r\n+XURC: "recv",1\r\n\r\nOK\r\n', [ECHO, ("urc", "data", {"socket": 1}), OK]),
        (
            LIST,
            b'\r\n+L: 1\r\n\r\n+XURC: "closed",2\r\n+L: 2\r\n\r\nOK\r\n',
            [("info", {"n": 1}), ("urc", "closed", {"socket": 2}), ("info", {"n": 2}), OK],
        ),
        (
            CEREG,
            b'\r\n+CEREG: 0,1\r\n\r\n+XURC: "recv",1\r\n\r\nOK\r\n',
            [("info", {"n": 0, "stat": 1, "rest": ""}), ("urc", "data", {"socket": 1}), OK],
        ),
        (AT, b'\r\nOK\r\n\r\n+XURC: "recv",1\r\n', [OK, ("urc", "data", {"socket": 1})]),
        (AT, b'\r\nOK\r\n+XURC: "recv",1\r\n', [OK, ("urc", "data", {"socket": 1})]),
        (AT, b"\r\nNO CARRIER\r\n\r\nOK\r\n", [("urc", "closed", {"socket": 1}), OK]),
        # A URC that shares the answer's prefix: told apart by fields, or by the answer having had its line.
        (
            CEREG,
            b"\r\n+CEREG: 2\r\n\r\n+CEREG: 0,1\r\n\r\n+CEREG: 5\r\n\r\nOK\r\n",
            [
                ("urc", "registration", {"stat": 2}),
                ("info", {"n": 0, "stat": 1, "rest": ""}),
                ("urc", "registration", {"stat": 5}),
                OK,
            ],
        ),
        (
            CFUN,
            b"\r\n+CFUN: 1\r\n\r\n+CFUN: 0\r\n\r\nOK\r\n",
            [("info", {"level": 1}), ("urc", "noise", {"level": 0}), OK],
        ),
        # An unprefixed answer does not take what the grammar knows.
        (GSN, b"\r\nRDY\r\n\r\n123\r\n\r\nOK\r\n", [("urc", "boot", {}), ("info", {"imei": "123"}), OK]),
        # A boot banner in the middle of anything.
        (CEREG, b"\r\n+CER\0\0\r\nRDY\r\n", [("unknown", b"+CER"), ("urc", "boot", {})]),
        (CEREG, b"\r\n+CER\0\0RDY\r\n", [("unknown", b"+CER"), ("urc", "boot", {})]),
        (AT, b"A\r\nRDY\r\n", [("unknown", b"A"), ("urc", "boot", {})]),
        # Counted payloads: whatever they contain.
        (RECV, b"\r\n+R: 5\r\nhello\r\n\r\nOK\r\n", [("info", {"length": 5}, b"hello"), OK]),
        (RECV, b"\r\n+R: 5\r\nhelloOK\r\n", [("info", {"length": 5}, b"hello"), OK]),
        (RECV, b"\r\n+R: 0\r\n\r\n\r\nOK\r\n", [("info", {"length": 0}, b""), OK]),
        (RECV, b"\r\n+R: 6\r\n\r\nOK\r\n\r\nOK\r\n", [("info", {"length": 6}, b"\r\nOK\r\n"), OK]),
        (
            RECV,
            b'\r\n+R: 21\r\n\r\n+XURC: "closed",0\r\n\r\nOK\r\n',
            [("info", {"length": 21}, b'\r\n+XURC: "closed",0\r\n'), OK],
        ),
        (RECV, b"\r\n+R: 8\r\n\r\n> +++\0\r\nOK\r\n", [("info", {"length": 8}, b"\r\n> +++\0"), OK]),
        (
            RECV,
            b"\r\n+R: 256\r\n" + bytes(range(256)) + b"\r\nOK\r\n",
            [("info", {"length": 256}, bytes(range(256))), OK],
        ),
        # A header must end in exactly CR LF, or it is none.
        (RECV, b"\r\n+R: 5\rhello\r\n", [("unknown", b"+R: 5"), ("unknown", b"hello")]),
        # Announced longer than any payload, or negative: a line like others.
        (RECV, b"\r\n+R: 4294967295\r\n\r\nOK\r\n", [("unknown", b"+R: 4294967295"), ("final", b"OK", (0,))]),
        (RECV, b"\r\n+R: -1\r\n\r\nOK\r\n", [("unknown", b"+R: -1"), ("final", b"OK", (0,))]),
        # A payload on its header's line.
        (RECVI, b'\r\n+R: 1,5,"hello"\r\n\r\nOK\r\n', [("info", {"length": 5}, b"hello"), OK]),
        (RECVI, b'\r\n+R: 1,0,""\r\n\r\nOK\r\n', [("info", {"length": 0}, b""), OK]),
        (RECVI, b'\r\n+R: 1,8,""\r\nOK\r\n""\r\n\r\nOK\r\n', [("info", {"length": 8}, b'"\r\nOK\r\n"'), OK]),
        (RECVI, b'\r\n+R: 2,5,"hello"\r\n\r\nOK\r\n', [("unknown", b'+R: 2,5,"hello"'), ("final", b"OK", (0,))]),
        # Without the closing quote bytes were lost: what stands there instead is the next thing, and all of it.
        (RECVI, b'\r\n+R: 1,5,"helloOK\r\n', [("broken", b"hello", 5), OK]),
        (
            RECVI,
            b'\r\n+R: 1,5,"hello+XURC: "recv",1\r\n\r\nOK\r\n',
            [("broken", b"hello", 5), ("urc", "data", {"socket": 1}), OK],
        ),
        (
            None,
            b'\r\n+XD: 3,5,"helloRDY\r\n',
            [("broken", b"hello", 5), ("urc", "boot", {})],
        ),
        # What must stand behind a payload: the data's line end and the next line's.
        (RECVT, b"\r\n+R: 5\r\nhello\r\n\r\nOK\r\n", [("info", {"length": 5}, b"hello"), OK]),
        (RECVT, b"\r\n+R: 0\r\n\r\nOK\r\n", [("info", {"length": 0}, b""), OK]),
        (RECVT, b"\r\n+R: 5\r\nhell\r\n\r\nOK\r\n", [("broken", b"hell\r", 5), OK]),
        (RECVT, b"\r\n+R: 5\r\nhel\r\n\r\nOK\r\n", [("broken", b"hel\r\n", 5), OK]),
        (RECVT, b"\r\n+R: 5\r\nhelloo\r\n\r\nOK\r\n", [("broken", b"hello", 5), ("unknown", b"o"), OK]),
        # Behind what is pushed any line may begin.
        (None, b'\r\n+XURC: "push",3,2\r\nhe\r\nRDY\r\n', [PUSH, ("urc", "boot", {})]),
        (None, b'\r\n+XURC: "push",3,2\r\nhe\r\n\r\nRDY\r\n', [PUSH, ("urc", "boot", {})]),
        (None, b'\r\n+XURC: "push",3,2\r\nhe\0\0RDY\r\n', [PUSH, ("urc", "boot", {})]),
        (None, b'\r\n+XURC: "push",3,2\r\nhe\nRDY\r\n', [PUSH, ("broken", b"", 2), ("urc", "boot", {})]),
        (None, b'\r\n+XURC: "push",3,2\r\nhellRDY\r\n', [PUSH, ("broken", b"", 2), ("unknown", b"llRDY")]),
        (AT, b'\r\n+XURC: "push",3,2\r\nheAT\r\r\nOK\r\n', [PUSH, ECHO, OK]),
        (SEND, b'\r\n+XURC: "push",3,2\r\nhe> ', [PUSH, ("prompt",)]),
        # A URC that carries payload, in the middle of another command.
        (
            CEREG,
            b'\r\n+CEREG: 0,1\r\n\r\n+XURC: "push",3,6\r\n\r\nOK\r\n\r\nOK\r\n',
            [("info", {"n": 0, "stat": 1, "rest": ""}), ("urc", "data", {"socket": 3, "length": 6}, b"\r\nOK\r\n"), OK],
        ),
        (
            CEREG,
            b'\r\n+XD: 3,6,"\r\nOK\r\n"\r\n\r\n+CEREG: 0,1\r\n\r\nOK\r\n',
            [("urc", "data", {"socket": 3, "length": 6}, b"\r\nOK\r\n"), ("info", {"n": 0, "stat": 1, "rest": ""}), OK],
        ),
        (
            None,
            b'\r\n+XURC: "push",3,2\r\n\r\n\r\n+XURC: "recv",3\r\n',
            [("urc", "data", {"socket": 3, "length": 2}, b"\r\n"), ("urc", "data", {"socket": 3})],
        ),
        # A good result without the line that it must have: perhaps an earlier command's. The right one still counts.
        (
            CEREG,
            b"\r\nOK\r\n\r\n+CEREG: 0,1\r\n\r\nOK\r\n",
            [("final", b"OK", (0,)), ("info", {"n": 0, "stat": 1, "rest": ""}), OK],
        ),
        # Lines longer than the bound.
        (AT, b"\r\n" + b"x" * 65 + b"\r\nOK\r\n", [("overflow", 64), ("overflow", 1), OK]),
        (AT, b"\r\n" + b"x" * 64 + b"\r\nOK\r\n", [("unknown", b"x" * 64), OK]),
        (AT, b"x" * 200 + b"\r\nOK\r\n", [("overflow", 64)] * 3 + [("overflow", 8), OK]),
        (AT, b"x" * 128 + b"\nOK\r\n", [("overflow", 64), ("overflow", 64), OK]),
        # Nothing in flight: nothing is an answer.
        (None, b"\r\nOK\r\n\r\n+CEREG: 0,1\r\n", [("unknown", b"OK"), ("unknown", b"+CEREG: 0,1")]),
        (None, b"\r\n> \r\nRDY\r\n", [("unknown", b"> "), ("urc", "boot", {})]),
    ],
)
def test_events(ex, stream, expected):
    check(ex, stream, expected)


@pytest.mark.parametrize(
    ("ex", "stream", "expected"),
    [
        (SEND, b"\r\n> \r\nSEND OK\r\n", [("prompt",), SEND_OK]),
        (SEND, b"\r\n>\r\nSEND OK\r\n", [("prompt",), SEND_OK]),
        (SEND, b"> \r\nSEND FAIL\r\n", [("prompt",), ("final", b"SEND FAIL")]),
        (SEND, b"\r\nERROR\r\n", [("final", b"ERROR")]),
        (SEND, b"AT+S=1,5\r\r\n> \r\nSEND OK\r\n", [ECHO, ("prompt",), SEND_OK]),
        # A URC while the prompt is awaited, and between the payload and its result.
        (
            SEND,
            b'\r\n+XURC: "recv",1\r\n\r\n> \r\n+XURC: "closed",1\r\n\r\nSEND OK\r\n',
            [("urc", "data", {"socket": 1}), ("prompt",), ("urc", "closed", {"socket": 1}), SEND_OK],
        ),
        # The echo of the payload, alone and behind a URC.
        (SEND, b"AT+S=1,5\r\r\n> hello\r\nSEND OK\r\n", [ECHO, ("prompt",), ("payloadecho",), SEND_OK]),
        (
            SEND,
            b'AT+S=1,5\r\r\n> \r\n+XURC: "recv",1\r\nhello\r\nSEND OK\r\n',
            [ECHO, ("prompt",), ("urc", "data", {"socket": 1}), ("payloadecho",), SEND_OK],
        ),
        # Only directly behind the prompt or another event is it the echo.
        (
            SEND,
            b"AT+S=1,5\r\r\n> \r\nhello\r\nSEND OK\r\n",
            [ECHO, ("prompt",), ("unknown", b"hello"), SEND_OK],
        ),
        (CONNECT, b"\r\nCONNECT\r\n\r\nOK\r\n", [("prompt",), OK]),
        (CONNECT, b"\r\n+CME ERROR: 407\r\n", [("final", b"+CME ERROR: 407")]),
        # A result that is too early for a command that wants a payload first.
        (CONNECT, b"\r\nOK\r\n\r\nCONNECT\r\n\r\nOK\r\n", [("final", b"OK", (-1,)), ("prompt",), OK]),
    ],
)
def test_prompts(ex, stream, expected):
    check(ex, stream, expected)


@pytest.mark.parametrize(
    "payload", [b"\r\nOK\r\n", b"\r\nSEND OK\r\n", b"> ", b" x", b"\r\n", bytes(range(256)), b"+++"]
)
def test_payload_echo_is_not_an_answer(payload):
    ex = Exchange(line=b"AT+S=1", finals=(*SEND_FINALS, STANDARD_FINALS[0]), prompt=PromptRule(), payload=payload)
    stream = b"AT+S=1\r\r\n> " + payload + b"\r\nSEND OK\r\n"
    check(ex, stream, [ECHO, ("prompt",), ("payloadecho",), SEND_OK])


@pytest.mark.parametrize("payload", [b"\r\nOK\r\n", b"\r\nSEND OK\r\n", b"\r\nSEND OK\r\nmore", b"\r\nSE"])
def test_without_echo_an_answer_like_the_payload_is_an_answer(payload):
    ex = Exchange(line=b"AT+S=1", finals=SEND_FINALS, prompt=PromptRule(), payload=payload)
    check(ex, b"\r\n> \r\nSEND OK\r\n", [("prompt",), SEND_OK])


def test_ok_as_a_prompt():
    ex = Exchange(line=b"AT+D", prompt=PromptRule(pattern=P("OK")), payload=b"x")
    check(ex, b"\r\nOK\r\n\r\nOK\r\n", [("prompt",), OK], stop_at_prompt=False)


def test_a_prompt_of_its_own_kind():
    ex = Exchange(line=b"AT+D", prompt=PromptRule(text=b"@@", swallow=b""), payload=b"x")
    check(ex, b"\r\n@@\r\nOK\r\n", [("prompt",), OK], stop_at_prompt=False)


def test_a_prompt_is_one_only_when_asked_for():
    check(AT, b"\r\n> \r\nOK\r\n", [("unknown", b"> "), OK])
    check(SEND, b"\r\n> \r\n> \r\nSEND OK\r\n", [("prompt",), ("unknown", b"> "), SEND_OK])


def test_a_late_prompt_is_told_as_such():
    def doubt(codec):
        codec.late_prompt = PromptRule()

    check(None, b"\r\n> \r\nRDY\r\n", [("late prompt",), ("urc", "boot", {})], setup=doubt)
    check(AT, b"\r\n> \r\nOK\r\n", [("late prompt",), OK], setup=doubt)


def test_a_multi_line_command_is_recognised_in_its_echo():
    pem = b'AT+W="-----BEGIN X-----\r\nOK\r\n-----END X-----"'
    check(Exchange(line=pem), pem + b"\r\r\nOK\r\n", [ECHO, OK])


def test_watches():
    def watch(codec):
        codec.watch(P("+O: {socket},{error:int}"), {"socket": 4})
        codec.watch(P('+XURC: "closed",{socket}'), {"socket": 4})
        codec.watch(P(r"+CR: DATA,{s},{n:int}\r\n{d:raw(n)}"), {"s": 4})
        codec.watch(P("+CI: {s},{n:int},{d:raw(n)}"), {"s": 4})

    stream = (
        b"\r\n+O: 3,0\r\n\r\n+O: 4,0\r\n"
        b'\r\n+XURC: "closed",4\r\n\r\n+XURC: "closed",5\r\n'
        b"\r\n+CR: DATA,4,6\r\n\r\nOK\r\n\r\n+CI: 4,3, \r\n\r\n+O: 4,1\r\n"
    )
    expected = [
        ("unknown", b"+O: 3,0"),
        ("urc", None, {"error": 0}),
        ("urc", "closed", {"socket": 4}),
        ("urc", "closed", {"socket": 5}),
        ("urc", None, {"n": 6}, b"\r\nOK\r\n"),
        ("urc", None, {"n": 3}, b" \r\n"),
        ("urc", None, {"error": 1}),
    ]
    check(None, stream, expected, setup=watch)


def test_a_watch_names_itself_and_can_be_closed():
    codec = Codec(URCS)
    first = codec.watch(P("+O: {n:int}"), {})
    second = codec.watch(P("+O: {m:int}"), {})
    (event,) = codec.feed(b"\r\n+O: 1\r\n")
    assert event.watches == ((first, {"n": 1}), (second, {"m": 1}))
    codec.unwatch(first)
    (event,) = codec.feed(b"\r\n+O: 2\r\n")
    assert event.watches == ((second, {"m": 2}),)
    codec.unwatch(second)
    assert brief(codec.feed(b"\r\n+O: 3\r\n")) == [("unknown", b"+O: 3")]


def test_a_payload_that_stops_is_given_up_with_what_came():
    codec = Codec(URCS, keep_raw=True)
    codec.begin(RECV)
    assert codec.feed(b"\r\n+R: 50\r\nhalf\r\nRDY\r\n") == []
    assert codec.in_payload
    events = codec.abandon()
    assert brief(events) == [("broken", b"half\r\nRDY\r\n", 50)]
    assert events[0].raw == b"\r\n+R: 50\r\nhalf\r\nRDY\r\n"
    assert (events[0].index, events[0].values) == (0, {"length": 50})
    assert brief(codec.feed(b"\r\nOK\r\n")) == [("final", b"OK")]


def test_buffers_are_bounded():
    codec = Codec(URCS)
    codec.begin(AT)
    for _ in range(1000):
        codec.feed(b"\0" * 10)
        codec.feed(b"x" * 100)
        assert len(codec.pending) < 200
    for _ in range(1000):
        codec.feed(b"\r\n" * 10)
        assert len(codec.pending) < 200
    keeping = Codec(URCS, keep_raw=True)
    for _ in range(1000):
        keeping.feed(b"\0\r\n")
        assert len(keeping.pending) < 300


def test_a_payload_may_be_longer_than_a_line():
    body = b"\r\nOK\r\n" * 100
    check_few = [
        [b"\r\n+R: %d\r\n" % len(body), body, b"\r\nOK\r\n"],
        [b"\r\n+R: %d\r\n" % len(body) + body + b"OK\r\n"],
    ]
    for pieces in check_few:
        events, _ = feed_all(RECV, pieces)
        assert brief(events) == [("info", {"length": len(body)}, body), OK]


def test_a_grammar_can_be_changed_in_the_middle():
    codec = Codec(Grammar())
    assert brief(codec.feed(b"\r\nRDY\r\n")) == [("unknown", b"RDY")]
    codec.set_grammar(URCS)
    assert brief(codec.feed(b"\r\nRDY\r\n")) == [("urc", "boot", {})]


# -- what ends a pushed payload ------------------------------------------------------------------------------------

PUSHED = b'\r\n+XURC: "push",3,2\r\nhe'
FOUR = ("urc", "data", {"socket": 3, "length": 4}, b"he\r\n")
BOOT = ("urc", "boot", {})


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        # Two bytes are missing, and the data's own line end takes their place.
        ((PUSHED + b"\r\n") * 3 + PUSHED.replace(b",2", b",4") + b"\r\n\r\nRDY\r\n",
         [*[PUSH] * 3, FOUR, ("broken", b"", 4), BOOT]),
        ((PUSHED + b"\r\n") * 3 + PUSHED.replace(b",2", b",4") + b"\r\n\r\n\r\nRDY\r\n", [*[PUSH] * 3, FOUR, BOOT]),
        # A third one, or one of the line end, shows at once.
        ((PUSHED + b"\r\n") * 3 + PUSHED + b"\n\r\nRDY\r\n", [*[PUSH] * 3, ("broken", b"he", 2), BOOT]),
        # Not often enough, or not always: then a modem may do without.
        ((PUSHED + b"\r\n") * 2 + PUSHED.replace(b",2", b",4") + b"\r\n\r\nRDY\r\n", [*[PUSH] * 2, FOUR, BOOT]),
        (PUSHED * 2 + (PUSHED + b"\r\n") * 6 + PUSHED * 2 + b"\r\nRDY\r\n", [*[PUSH] * 10, BOOT]),
    ],
)  # fmt: skip
def test_a_line_end_that_has_always_followed_what_is_pushed_must_follow(stream, expected):
    check(None, stream, expected)


def test_an_echo_behind_what_is_pushed_says_nothing_of_its_line_end():
    push = PUSHED + b"\r\n"
    check(AT, push * 4 + b"AT\r\r\nOK\r\n", [*[PUSH] * 4, ECHO, OK])


# -- payloads in hexadecimal digits --------------------------------------------------------------------------------

DIGITS = Grammar(urcs=(UrcRule(P(r"+RX: {socket:int},{n:int}\r\n{d:rawhex(n)}\r\n"), "data"),))
DIGITS_INLINE = Grammar(urcs=(UrcRule(P('+RX: {socket:int},{n:int},"{d:rawhex(n)}"'), "data"),))
READ_DIGITS = Exchange(line=b"AT+R", lines=(Expected(P(r"+R: {n:int}\r\n{d:rawhex(n)}\r\n")),))


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("keep_raw", [False, True])
@pytest.mark.parametrize(
    ("grammar", "said"),
    [
        (DIGITS, b"\r\n+RX: 3,4\r\n0d0A4f4b\r\n"),
        (DIGITS_INLINE, b'\r\n+RX: 3,4,"0d0A4f4b"\r\n'),
        (Grammar(), b"\r\n+R: 4\r\n0d0A4f4b\r\n"),
    ],
)
def test_the_count_is_of_bytes_and_each_is_two_digits(grammar, said, size, keep_raw):
    ex = None if grammar.urcs else READ_DIGITS
    codec = Codec(grammar, keep_raw=keep_raw)
    if ex is not None:
        codec.begin(ex)
    said += b"\r\nOK\r\n"
    events = [one for at in range(0, len(said), size) for one in codec.feed(said[at : at + size])]
    assert events[0].payload == b"\r\nOK"
    assert brief(events)[-1] == (("unknown", b"OK") if ex is None else ("final", b"OK"))


def test_digits_that_are_none_are_no_payload():
    assert brief(Codec(DIGITS).feed(b"\r\n+RX: 3,2\r\n00x1\r\n")) == [("broken", b"00x1", 4)]
    codec = Codec(Grammar())
    codec.begin(READ_DIGITS)
    assert brief(codec.feed(b"\r\n+R: 2\r\n00x1\r\n\r\nOK\r\n"))[0] == ("broken", b"00x1", 4)
