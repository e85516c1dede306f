"""A transcript told as a story, by its framing alone: what is accounted for, what is listed, what remains."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modemtls.dialogue.explain import Story, explain
from modemtls.dialogue.known import common
from modemtls.dialogue.vocabulary import STANDARD, Vocabulary
from modemtls.profile import bundled, load
from modemtls.transcript import Direction, parse

DIALOGUES = sorted((Path(__file__).parents[1] / "transcripts").rglob("*.at"))


@cache
def nobody() -> Vocabulary:
    """What is known where no profile fits."""
    return common([load(name) for name in bundled()])


def story(text: str, words: Vocabulary = STANDARD) -> Story:
    transcript = parse(text)
    told = explain(transcript, words)
    for direction in Direction:
        total = sum(turn.length for turn in transcript.turns() if turn.direction is direction)
        assert told.told.get(direction, 0) == total, "every byte is told or remains, once"
    return told


def kinds(told: Story) -> list[tuple[str, str]]:
    return [(r.kind, r.text) for r in told.remarks]


@pytest.mark.parametrize("path", DIALOGUES, ids=lambda p: p.stem)
def test_every_dialogue_is_accounted_for_even_without_a_profile(path: Path) -> None:
    assert story(path.read_text(), nobody()).rest == []


def test_command_answer_result_notice() -> None:
    told = story("> AT+XQ?\\r\n< \\r\\n+XQ: 1,2\\r\\n+XQ: 3\\r\\n\\r\\nOK\\r\\n\n< \\r\\nRDY\\r\\n\n")
    assert told.complete
    assert kinds(told) == [
        ("command", "AT+XQ?"),
        ("answer", "+XQ: 1,2"),
        ("answer", "+XQ: 3"),
        ("result", "OK"),
        ("notice", "RDY"),
    ]
    assert told.unknown_commands == ["AT+XQ?"]
    assert told.unknown_notices == ["RDY"]
    assert told.remarks[-1].line == 3


def test_settings_together_and_commands_joined() -> None:
    told = story("> ATE0Q0V1\\r\n< \\r\\nOK\\r\\n\n> AT+CMEE=1;+CGMM\\r\n< \\r\\nXY95\\r\\n\\r\\nOK\\r\\n\n")
    assert told.unknown_commands == []
    assert "form 1" in told.remarks[2].meaning
    assert story('> AT+CMEE=1;+XYZ="a;b"\\r\n< \\r\\nOK\\r\\n\n').unknown_commands == ['AT+CMEE=1;+XYZ="a;b"']


def test_echo_whole_and_typed_by_hand() -> None:
    told = story("> AT\\r\n< AT\\r\\r\\nOK\\r\\n\n")
    assert kinds(told) == [("command", "AT"), ("echo", "AT\\r"), ("result", "OK")]
    typed = story("> A\n< A\n> T\n< T\n> I\\r\n< I\\r\\r\\nXY95\\r\\n\\r\\nOK\\r\\n\n")
    assert typed.complete
    assert [k for k, _ in kinds(typed)] == ["echo", "echo", "command", "echo", "answer", "result"]


def test_a_payload_of_any_bytes_behind_a_prompt() -> None:
    told = story("> AT+XSEND=1,9\\r\n< \\r\\n>\\x20\n> AT+CSQ\\r\\r\\n\n< \\r\\nSEND OK\\r\\n\n")
    assert told.complete
    assert ("payload", "AT+CSQ\\r\\r\\n") in kinds(told)
    assert told.unknown_commands == ["AT+XSEND=1,9"]


def test_a_payload_up_to_ctrl_z() -> None:
    told = story("> AT+XSEND=1\\r\n< \\r\\n> \n> a\\r\\nb\\x1a\n< \\r\\nSEND OK\\r\\n\n> AT\\r\n< \\r\\nOK\\r\\n\n")
    assert told.complete
    assert ("payload", "a\\r\\nb\\x1a") in kinds(told)
    assert told.unknown_commands == ["AT+XSEND=1"]


def test_a_received_payload_that_looks_like_anything() -> None:
    payload = "\\r\\nOK\\r\\n\\r\\n> \\xff"
    told = story(f"> AT+XRECV=1\\r\n< \\r\\n+XRECV: 11\\r\\n{payload}\\r\\n\\r\\nOK\\r\\n\n")
    assert told.complete
    assert kinds(told)[2] == ("payload", payload)


@pytest.mark.parametrize("sign", [">", "@"])
def test_any_sign_asks_for_a_payload_if_the_host_gives_one(sign: str) -> None:
    told = story(f"> AT+XSEND=1,3\\r\n< \\r\\n{sign}\n> a\\r\\n\n< \\r\\n+XSEND: 3\\r\\n\\r\\nOK\\r\\n\n")
    assert told.complete
    assert kinds(told)[1:3] == [("prompt", sign), ("payload", "a\\r\\n")]
    told = story(f"> AT+XSEND=1,9\\r\n< \\r\\n{sign}\n> AT\\r\n< \\r\\nOK\\r\\n\n")
    assert [kind for kind, _ in kinds(told)] == ["command", "command", "answer", "result"]


def test_a_received_payload_in_quotes() -> None:
    payload = '"\\r\\nOK\\r\\n\\x00"'
    told = story(f'> AT+XRECV=1\\r\n< \\r\\n+XRECV: 1,9,"{payload}"\\r\\n\\r\\nOK\\r\\n\n')
    assert told.complete
    assert kinds(told)[1:] == [("answer", '+XRECV: 1,9,"'), ("payload", payload), ("result", "OK")]


def test_a_number_that_happens_to_be_the_length_of_a_result() -> None:
    told = story("> AT+XUP\\r\n< \\r\\n+XUP: 4\\r\\n\\r\\nOK\\r\\n\n> AT\\r\n< \\r\\nOK\\r\\n\n")
    assert told.complete
    assert kinds(told)[1:3] == [("answer", "+XUP: 4"), ("result", "OK")]


@pytest.mark.parametrize(("data", "count"), [("Test", "4 bytes"), ("54657374", "4 bytes, in digits")])
def test_a_notice_with_a_payload(data: str, count: str) -> None:
    told = story(f"> AT\\r\n< \\r\\nOK\\r\\n\n< \\r\\n+XRECV: 0,4\\r\\n{data}\\r\\n\n~ 1\n< \\r\\nRDY\\r\\n\n")
    assert told.complete
    assert kinds(told)[2:] == [("notice", "+XRECV: 0,4"), ("payload", data), ("notice", "RDY")]
    assert [(r.line, r.meaning) for r in told.remarks if r.kind == "payload"] == [(3, count)]
    assert told.unknown_notices == ["+XRECV: 0,4", "RDY"]


@pytest.mark.parametrize("behind", ["\\r\\n", ""])
def test_a_notice_with_a_payload_and_whom_it_comes_from(behind: str) -> None:
    told = story(
        f'> AT\\r\n< \\r\\nOK\\r\\n\n< \\r\\n+XIN: 2,4,"10.0.0.1",7\\r\\nAAAA\\r\\n+XIN: "text",5\\r\\nTests\\r\\n\n'
        f'~ 1\n< \\r\\n+XIN: 2,7,"10.0.0.1",4\\r\\nB\\r\\nOK\\r\\n{behind}\n> AT\\r\n< \\r\\nOK\\r\\n\n'
    )
    assert told.complete
    assert kinds(told)[2:-2] == [
        ("notice", '+XIN: 2,4,"10.0.0.1",7'),
        ("payload", "AAAA"),
        ("notice", '+XIN: "text",5'),
        ("payload", "Tests"),
        ("notice", '+XIN: 2,7,"10.0.0.1",4'),
        ("payload", "B\\r\\nOK\\r\\n"),
    ]


def test_a_line_with_a_name_before_a_result_of_the_length_that_it_happens_to_say() -> None:
    told = story('> AT+XREG?\\r\n< \\r\\n+XREG: 6,"1A2B",7\\r\\n\\r\\nOK\\r\\n\n')
    assert told.complete
    assert kinds(told)[1:] == [("answer", '+XREG: 6,"1A2B",7'), ("result", "OK")]


def test_data_behind_the_ok_of_a_command_that_nobody_knows() -> None:
    told = story(
        "> AT+XSEND=1\\r\n< \\r\\nOK\\r\\n\n> one\\r\\n\n< \\x00\\xff\n> two+++\n< +++\n> three+++\n"
        "< \\r\\n+XDATA: 0\\r\\n\n> AT\\r\n< \\r\\nOK\\r\\n\n"
    )
    assert kinds(told)[2:] == [
        ("payload", "one\\r\\n"),
        ("payload", "\\x00\\xff"),
        ("payload", "two"),
        ("escape", "+++"),
        ("escape", "+++"),
        ("payload", "three"),
        ("escape", "+++"),
        ("notice", "+XDATA: 0"),
        ("command", "AT"),
        ("result", "OK"),
    ]


def test_as_many_data_as_announced_are_no_mark_of_the_end() -> None:
    told = story("> AT+XSEND=1,3\\r\n< \\r\\nOK\\r\\n\n> +++\n< \\r\\n+XDATA: 0\\r\\n\n> AT\\r\n< \\r\\nOK\\r\\n\n")
    assert told.complete
    assert kinds(told)[2:] == [("payload", "+++"), ("notice", "+XDATA: 0"), ("command", "AT"), ("result", "OK")]


def test_what_the_modem_drops_in_front_of_a_command() -> None:
    told = story("> xxATI\\r\n< \\r\\nXY95\\r\\n\\r\\nOK\\r\\n\n")
    assert told.complete
    assert kinds(told)[0] == ("command", "xxATI")
    assert told.remarks[0].meaning == "identification (V.250 6.1.3); what stands in front is dropped"


def test_an_upload_and_a_download() -> None:
    told = story(
        '> AT+XUP="a",3\\r\n< \\r\\nCONNECT\\r\\n\n> \\x00\\r\\xff\n< \\r\\n+XUP: 3\\r\\n\\r\\nOK\\r\\n\n'
        "> AT+XDOWN\\r\n< \\r\\nCONNECT\\r\\n\\x00\\r\\nOK?\\r\\n+XDOWN: 6\\r\\n\\r\\nOK\\r\\n\n"
    )
    assert told.complete
    assert [k for k, _ in kinds(told)].count("payload") == 2
    assert ("answer", "+XDOWN: 6") in kinds(told)


def test_what_is_downloaded_is_not_looked_at() -> None:
    told = story("> AT+XDOWN\\r\n< \\r\\nCONNECT\\r\\n\\r\\n+X: 5\\r\\nabcde\\r\\n+XDOWN: 16\\r\\n\\r\\nOK\\r\\n\n")
    assert told.complete
    assert kinds(told)[2:] == [("payload", "\\r\\n+X: 5\\r\\nabcde"), ("answer", "+XDOWN: 16"), ("result", "OK")]


def test_a_data_phase_and_its_escape() -> None:
    told = story(
        "> ATO\\r\n< \\r\\nCONNECT\\r\\n\n> hi\n< \\x00\\xff\n~ 1\n> +++\n~ 1\n"
        "< \\r\\nOK\\r\\n\n> AT\\r\n< \\r\\nOK\\r\\n\n"
    )
    assert told.complete
    assert ("escape", "+++") in kinds(told)


@pytest.mark.parametrize(
    ("text", "direction", "data"),
    [
        ("< garbage", Direction.IN, b"garbage"),
        ("< \\r\\nno end", Direction.IN, b"\r\nno end"),
        ("< \\r\\n\\xff\\xfe\\r\\n\n", Direction.IN, b"\r\n\xff\xfe\r\n"),
        ("< no beginning\\r\\n\n", Direction.IN, b"no beginning\r\n"),
        ("< \\x00\\r\\nRDY\\r\\n\n", Direction.IN, b"\x00\r\nRDY\r\n"),
        ("> hello\\r\n", Direction.OUT, b"hello\r"),
        ("> AT+CS\n", Direction.OUT, b"AT+CS"),
        ("> AT\\r\n< \\r\\nOK\\r\\n\n< tail\n", Direction.IN, b"tail"),
        ("> AT\\r\n< \\r\\nOK\\r\\n\n> AT\\x00\\r\n", Direction.OUT, b"AT\x00\r"),
        ("> AT\\r\n< \\r\\nOK\\r\\n\n> abc\n< \\r\\nRDY\\r\\n\n", Direction.OUT, b"abc"),
        ("> AT+X\\r\n< \\r\\nERROR\\r\\n\n> abc\n", Direction.OUT, b"abc"),
        ("> AT+X\\r\n< \\r\\nOK\\r\\n\n> AX+Y\\r\n< \\r\\nERROR\\r\\n\n", Direction.OUT, b"AX+Y\r"),
        ("> AT+X\\r\n< \\r\\nOK\\r\\n\n> AT+CS\n", Direction.OUT, b"AT+CS"),
        ("> xxAT\\r\n< \\r\\nERROR\\r\\n\n", Direction.OUT, b"xxAT\r"),
    ],
)
def test_what_belongs_to_nothing_remains(text: str, direction: Direction, data: bytes) -> None:
    told = story(text)
    assert not told.complete
    assert [(r.direction, r.data) for r in told.rest] == [(direction, data)]
    assert any("belong to nothing" in line for line in told.lines())


def test_where_the_rest_is() -> None:
    assert story("> AT\\r\n< \\r\\nOK\\r\\n\n~ 1\n< \\r\\nRDY\\r\\nx\n").rest[0].line == 4


def test_redacted_stretches_fit_anywhere() -> None:
    told = story(
        "> AT+CPIN={6 bytes redacted}\\r\n< \\r\\nOK\\r\\n\n"
        "> AT+XS=1,5\\r\n< \\r\\n> \n> {5 bytes redacted}\n< \\r\\nOK\\r\\n\n"
    )
    assert told.complete
    assert told.remarks[0].text == "AT+CPIN={6 bytes redacted}"


def test_a_host_that_did_not_wait() -> None:
    told = story("> AT\\r\n> AT\\rATI\\r\n< \\r\\nOK\\r\\n\\r\\nOK\\r\\n\\r\\nXY95\\r\\n\\r\\nOK\\r\\n\n")
    assert told.complete


@given(st.binary(max_size=40))
def test_nothing_is_lost_whatever_the_modem_says(data: bytes) -> None:
    text = "".join(f"\\x{byte:02x}" for byte in data)
    told = story(f"> AT\\r\n< \\r\\nOK\\r\\n{text}\n")
    if data and not data.strip(b"\r\n"):
        assert told.complete
    if data and data[0] not in b"\r\n\x00" and b"\n" not in data:
        assert not told.complete, "what does not begin with a line end is no notice"
