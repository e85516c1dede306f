"""A transcript told in a profile's words: names, values, payloads by their count, errors with their meaning."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from modemtls.dialogue.explain import Story, explain
from modemtls.dialogue.known import choose, common, redaction, vocabulary
from modemtls.dialogue.redact import Redactor
from modemtls.dialogue.vocabulary import STANDARD
from modemtls.profile import Profile, bundled, load
from modemtls.transcript import Direction, parse, quote
from modemtls.transcript import load as read

DIALOGUES = sorted((Path(__file__).parents[1] / "transcripts").rglob("*.at"))


@cache
def profiles() -> tuple[Profile, ...]:
    return tuple(load(name) for name in bundled())


def story(text: str, name: str = "quectel-bg96") -> Story:
    return explain(parse(text), vocabulary(next(p for p in profiles() if p.name == name)))


def told(found: Story) -> list[tuple[str, str, str]]:
    return [(r.kind, r.text, r.meaning) for r in found.remarks]


@pytest.mark.parametrize("path", DIALOGUES, ids=lambda p: p.stem)
def test_every_dialogue_is_accounted_for_and_its_notices_are_known(path: Path) -> None:
    transcript = read(path)
    if transcript.profile not in bundled():
        pytest.skip(f"waiting for the profile {transcript.profile}")
    words = choose(transcript, profiles())
    assert words.name == transcript.profile
    found = explain(transcript, words)
    assert found.rest == []
    assert found.unknown_notices == []
    for direction in Direction:
        total = sum(turn.length for turn in transcript.turns() if turn.direction is direction)
        assert found.told[direction] == total if total else True


def test_a_command_is_named_with_its_values() -> None:
    found = story('> AT+QSSLOPEN=1,2,4,"h.example",8010,0\\r\n< \\r\\nOK\\r\\n\\r\\n+QSSLOPEN: 4,565\\r\\n\n')
    assert told(found)[0] == (
        "command",
        'AT+QSSLOPEN=1,2,4,"h.example",8010,0',
        "tls_open: pdp 1, context 2, socket 4, host h.example, port 8010, receive 0",
    )
    assert told(found)[-1][0] == "notice"
    assert "could not be resolved" in told(found)[-1][2]


def test_the_same_number_means_what_its_command_says() -> None:
    found = story('> AT+QFDEL="x"\\r\n< \\r\\n+CME ERROR: 405\\r\\n\n> AT+CPIN?\\r\n< \\r\\n+CME ERROR: 10\\r\\n\n')
    results = [meaning for kind, _, meaning in told(found) if kind == "result"]
    assert "not found" in results[0]
    assert "SIM" in results[1]


def test_the_number_in_an_answer_is_told_too() -> None:
    found = story("> AT+QIGETERROR\\r\n< \\r\\n+QIGETERROR: 565, whatever\\r\\n\\r\\nOK\\r\\n\n")
    assert any(kind == "answer" and "could not be resolved" in meaning for kind, _, meaning in told(found))


def test_payloads_are_counted_whatever_they_look_like() -> None:
    payload = '\\r\\nOK\\r\\n\\r\\n+QSSLURC: "closed",4\\r\\n'
    size = 6 + 24
    found = story(
        f"> AT+QSSLRECV=4,1500\\r\n< \\r\\n+QSSLRECV: {size}\\r\\n{payload}\\r\\n\\r\\nOK\\r\\n\n"
        f'< \\r\\n+QSSLURC: "recv",4,{size}\\r\\n{payload}\n'
        f"> AT+QSSLSEND=4,3\\r\n< \\r\\n>\\x20\n> AT\\r\n< \\r\\nSEND OK\\r\\n\n"
    )
    assert found.complete
    assert [text for kind, text, _ in told(found) if kind == "payload"] == [payload, payload, "AT\\r"]
    assert [r.line for r in found.remarks if r.kind == "payload"] == [2, 3, 6]
    assert found.unknown_commands == []


def test_secrets_are_not_told_again() -> None:
    found = story(
        '> AT+CPIN="7391"\\r\n< \\r\\nOK\\r\\n\n> AT+QICSGP=1,1,"iot","me","hush",1\\r\n< \\r\\nOK\\r\\n\n'
        '> AT+QFUPL="k.pem",6,60\\r\n< \\r\\nCONNECT\\r\\n\n> sesame\n< \\r\\n+QFUPL: 6,1\\r\\n\\r\\nOK\\r\\n\n'
    )
    text = "\n".join(found.lines())
    assert found.complete
    assert found.unknown_commands == []
    assert not re.search("7391|hush|sesame", text)
    assert "user me" in text


def test_a_key_in_quotes_is_one_command_over_several_lines_and_is_not_told() -> None:
    key = "-----BEGIN PRIVATE KEY-----\\nc2VzYW1l\\n-----END PRIVATE KEY-----\\n"
    found = story(
        f'> AT%CMNG=0,1000000007,2,"{key}"\\r\n< \\r\\nOK\\r\\n\n> AT%CMNG=1\\r\n< \\r\\nOK\\r\\n\n', "nordic-sm"
    )
    assert found.complete
    assert found.unknown_commands == []
    assert "c2VzYW1l" not in "\n".join(found.lines())
    assert [meaning.split(":")[0] for kind, _, meaning in told(found) if kind == "command"] == [
        "credential_write",
        "credential_list",
    ]


def test_redacted_values_still_name_their_command() -> None:
    found = story("> AT+CPIN={6 bytes redacted}\\r\n< \\r\\nOK\\r\\n\n")
    assert found.unknown_commands == []
    assert found.remarks[0].meaning.startswith("sim_unlock")


def test_unknown_is_listed_and_stray_bytes_remain() -> None:
    found = story('> AT+QGPS=1\\r\n< \\r\\nOK\\r\\n\n< \\r\\n+QGPSURC: "x"\\r\\n\n< zzz')
    assert found.unknown_commands == ["AT+QGPS=1"]
    assert found.unknown_notices == ['+QGPSURC: "x"']
    assert [rest.data for rest in found.rest] == [b"zzz"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("# profile: quectel-bg95\n> AT\\r\n", "quectel-bg95"),
        ("# profile: quectel-bg96-mar02\n> AT\\r\n", "quectel-bg96"),
        ("> AT\\r\n", ""),
        ("> ATI\\r\n< \\r\\nQuectel\\r\\nBG96\\r\\nRevision: BG96MAR02A07M1G\\r\\n\\r\\nOK\\r\\n\n", "quectel-bg96"),
        (
            "> AT+CGMM\\r\n< \\r\\nBG95-M3\\r\\n\\r\\nOK\\r\\n\n> AT+CGMI\\r\n< \\r\\nQuectel\\r\\n\\r\\nOK\\r\\n\n",
            "quectel-bg95",
        ),
        ("> AT+QSSLRECV=4,1500\\r\n< \\r\\nERROR\\r\\n\n", "quectel-bg95"),
        ("> AT+XYZ\\r\n< \\r\\nERROR\\r\\n\n", ""),
    ],
)
def test_the_profile_is_found(text: str, name: str) -> None:
    assert choose(parse(text), profiles()).name == name


def test_the_callers_choice_wins_and_has_to_exist() -> None:
    transcript = parse("# profile: quectel-bg95\n> AT\\r\n")
    assert choose(transcript, profiles(), "quectel-bg96").name == "quectel-bg96"
    with pytest.raises(KeyError):
        choose(transcript, profiles(), "nobody")
    assert choose(transcript, ()) is STANDARD


def test_what_profiles_mark_as_secret_is_kept_out_of_recordings() -> None:
    redactor = Redactor(*redaction(profiles()))
    said = [
        (Direction.OUT, b'AT+QICSGP=1,1,"iot","me","hush",1\rAT+QFUPL="k",4,100,0\r'),
        (Direction.IN, b'\r\n+QICSGP: 1,"iot","me","hush",1\r\n\r\nOK\r\n\r\nCONNECT\r\n'),
        (Direction.OUT, b"\x00\r\n1"),
        (Direction.OUT, b"AT+CSQ\r"),
    ]
    pieces = [piece for direction, data in said for piece in redactor.feed(0.0, direction, data)] + redactor.flush()
    text = "".join(quote(piece.chunks) for piece in pieces)
    assert "hush" not in text
    assert '"iot","me",' in text
    assert "{4 bytes redacted}AT+CSQ" in text


def test_what_any_profile_knows_to_come_by_itself_is_known_where_none_fits() -> None:
    transcript = parse("< Ready\\r\\n\n< \\r\\n+CEREG: 5\\r\\n\n> AT+XYZ\\r\n< \\r\\n+XYZ: 1\\r\\n\\r\\nOK\\r\\n\n")
    found = explain(transcript, choose(transcript, profiles()))
    assert told(found)[:2] == [("notice", "Ready", "boot"), ("notice", "+CEREG: 5", "registration")]
    assert found.complete
    assert found.unknown_commands == ["AT+XYZ"]


def test_what_profiles_do_not_agree_about_is_only_known() -> None:
    one = next(one for one in profiles() if one.name == "nordic-sm")
    spec = one.urcs[0]
    other = replace(one, urcs=(replace(spec, rule=replace(spec.rule, means="noise")),))
    words = common([one, other])
    assert words.meanings[spec.rule.pattern.source] == ""
    assert words.meanings[one.urcs[1].rule.pattern.source] == one.urcs[1].rule.means


def test_an_answer_is_not_taken_for_what_some_modem_says_by_itself() -> None:
    text = "> AT#XRECV=0,0,0,1,2048\\r\n< \\r\\n#XRECV: 0,0,4\\r\\nTest\\r\\nOK\\r\\n\n"
    found = explain(parse(text), common(profiles()))
    assert [(kind, said) for kind, said, _ in told(found)][1:] == [
        ("answer", "#XRECV: 0,0,4"),
        ("payload", "Test"),
        ("result", "OK"),
    ]


@pytest.mark.parametrize("shape", ['+USORD: 0,3,"{}"', "+USORD: 0,3\\r\\n{}"])
def test_digits_are_counted_by_the_bytes_that_they_stand_for(shape: str) -> None:
    answer = "\\r\\n" + shape.format("0D0a22") + "\\r\\n\\r\\nOK\\r\\n"
    found = story(f"> AT+USORD=0,512\\r\n< {answer}\n", "ublox-sara-r5")
    assert found.complete
    assert ("payload", "0D0a22", "3 bytes, in digits") in told(found)
    assert told(found)[-1][:2] == ("result", "OK")
    raw = '\\r\\n+X: 0,1,"41"\\r\\n'
    inside = story(f'> AT+USORD=0,512\\r\n< \\r\\n+USORD: 0,16,"{raw}"\\r\\n\\r\\nOK\\r\\n\n', "ublox-sara-r5")
    assert ("payload", raw, "16 bytes") in told(inside), "what a payload contains is not looked at"
