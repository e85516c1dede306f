"""A transcript told as a story, by its framing alone: what is accounted for, what is listed, what remains."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modemtls.dialogue.explain import Story, explain
from modemtls.transcript import Direction, parse

DIALOGUES = sorted((Path(__file__).parents[1] / "transcripts").rglob("*.at"))

# What nobody tells without knowing the modem. As soon as it can be told, the test says that the entry is to go.
ONLY_A_PROFILE_TELLS = {
    "@ asks for a payload": (
        "r4-short-write r4-socket-facts r4-tls-mutual r4-udp r5-closed-with-data-left r5-dialect-aws-log r5-dtls-psk"
        " r5-late-urcs r5-listener r5-payload-that-looks-like-answers r5-tls-session r5-udp"
    ),
    "data follow an OK": (
        "slm-tcp-data-mode sm-acknowledged-sends sm-broken-in-data-mode sm-tcp-data-mode sm-tls"
    ),
    "a notice has a payload": "sm-auto-reception",
    "a notice has no CR LF in front": "slm-bring-up-log slm-start sm-start",
    "what stands before AT is dropped": "slm-identification",
}  # fmt: skip
UNTOLD = {stem: why for why, stems in ONLY_A_PROFILE_TELLS.items() for stem in stems.split()}


def story(text: str) -> Story:
    transcript = parse(text)
    told = explain(transcript)
    for direction in Direction:
        total = sum(turn.length for turn in transcript.turns() if turn.direction is direction)
        assert told.told.get(direction, 0) == total, "every byte is told or remains, once"
    return told


def kinds(told: Story) -> list[tuple[str, str]]:
    return [(r.kind, r.text) for r in told.remarks]


@pytest.mark.parametrize("path", DIALOGUES, ids=lambda p: p.stem)
def test_every_dialogue_is_accounted_for_even_without_a_profile(path: Path) -> None:
    told = story(path.read_text())
    if path.stem in UNTOLD:
        assert told.rest, f"this is told now without a profile: {UNTOLD[path.stem]}"
        pytest.xfail(f"only a profile tells that {UNTOLD[path.stem]}")
    assert told.rest == []


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


def test_an_upload_and_a_download() -> None:
    told = story(
        '> AT+XUP="a",3\\r\n< \\r\\nCONNECT\\r\\n\n> \\x00\\r\\xff\n< \\r\\n+XUP: 3\\r\\n\\r\\nOK\\r\\n\n'
        "> AT+XDOWN\\r\n< \\r\\nCONNECT\\r\\n\\x00\\r\\nOK?\\r\\n+XDOWN: 6\\r\\n\\r\\nOK\\r\\n\n"
    )
    assert told.complete
    assert [k for k, _ in kinds(told)].count("payload") == 2
    assert ("answer", "+XDOWN: 6") in kinds(told)


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
