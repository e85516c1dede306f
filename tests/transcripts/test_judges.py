"""The players can fail: a dialogue that says something else than driver and simulator do is refused, with the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from modemtls.sim.harness import Harness
from modemtls.transcript import Transcript, parse, write
from tests.support.pki import Pki
from tests.transcripts import driver_player, sim_player

HERE = Path(__file__).parent
BUFFER = (HERE / "quectel/tls-buffer.at").read_text()


def changed(text: str, old: str, new: str) -> Transcript:
    assert old in text
    return parse(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("AT+QSSLOPEN=1,1,4", "AT+QSSLOPEN=1,2,4", "line 11: expected '2,4"),
        ("> AT+QSSLSTATE=4\\r", "> AT+QSSLSTATE=5\\r", "expected '5"),
        ("> AT+QSSLSEND=4,18\\r", "> AT+QSSLSEND=4,17\\r", "the host sent '8"),
        ("+QSSLRECV: 18\\r\\nTest data", "+QSSLRECV: 18\\r\\nTest DATA", "payload is b'Test DATA"),
        ("# result: {state: open}", "# result: {state: closed}", "state is 'open', not 'closed'"),
        ("# result: {rows: [{socket: 4}]}", "# result: {rows: []}", "rows are"),
        ("# outcome: empty", "# outcome: ok", "empty (None), not ok"),
        ("< \\r\\n+QSSLOPEN: 4,0\\r\\n", "< \\r\\n+QSSLOPEN: 4,566\\r\\n", "error"),
        ("< \\r\\nSEND OK\\r\\n", "< \\r\\nSEND FAIL\\r\\n", "busy (None), not ok"),
    ],
)
def test_the_driver_is_judged(old: str, new: str, says: str) -> None:
    transcript = changed(BUFFER, old, new)
    with pytest.raises(AssertionError) as caught:
        driver_player.play(driver_player.sessions(transcript)[0], transcript)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("files.at", "+QFUPL: 10,3938", "+QFUPL: 10,3939", "line 12: byte 16"),
        ("files.at", "+CME ERROR: 407", "+CME ERROR: 405", "407"),
        ("files.at", "> abc\n", "> abd\n", "262"),
        ("clock.at", "# any: clock=08/01/04,00:19:43+00 ", "# any: imei ", "byte"),
        ("bg96-identification.at", "# any: imei iccid", "# any: imei iccid clock", "'clock'"),
        ("bg96-identification.at", "# any: imei iccid", "# any: iccid", "866425030000001"),
    ],
)
def test_the_simulator_is_judged(name: str, old: str, new: str, says: str, pki: Pki, monkeypatch) -> None:
    monkeypatch.setattr(sim_player, "REAL", 0.3)
    transcript = changed((HERE / "quectel" / name).read_text(), old, new)
    with pytest.raises(AssertionError) as caught:
        sim_player.play(sim_player.sessions(transcript)[0], transcript, pki)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("ublox/r5-dtls-psk.at", '{expect: "@', '{expect: "A', "the server expected"),
        ("ublox/r5-listener.at", "{expect: hi}", "{expect: ho}", "+UUSOCL: 1"),
        (
            "ublox/r5-session-resumed.at",
            '> AT+USECPRF=0,13,2,"c2Vzc2lvbi1pZA=="',
            '> AT+USECPRF=0,13,2,"bm9uZQ=="',
            "13,2",
        ),
        ("ublox/r5-session-not-resumed.at", "session=YW5vdGhlci1pZA== ", "session=nowhere ", "YW5vdGhlci1pZA"),
        ("nordic/slm-credentials.at", '0,"2C43952E', '0,"2C43952F', "2C43952E"),
        ("nordic/slm-tls.at", '{files: {4711/0: "@ca"}, ', "{", "ERROR"),
        ("nordic/slm-tls-server.at", "tls: true, steps: [{send: hello}", "tls: true, steps: [{send: hallo}", "hallo"),
        ("ublox/r4-tls-dead.at", "{cut: true}", "{close: true}", "+UUSOCL: 0"),
        ("quectel/tcp-listen-fails.at", 'connects: "+QIOPEN: 11"', 'connects: "never"', "incoming full"),
        ("quectel/udp-datagrams.at", "{send: three}", "{fill: 5}", "xxxxx"),
        ("quectel/bg95-dtls-refused.at", "dtls: true, refuse: untrusted", "dtls: true", "+QSSLOPEN: 0,0"),
        ("quectel/tls-closed-at-the-prompt.at", '{after: ">"}', '{after: "<"}', "+QSSLURC"),
    ],
)
def test_servers_and_situations_count(name: str, old: str, new: str, says: str, pki: Pki, monkeypatch) -> None:
    monkeypatch.setattr(sim_player, "REAL", 0.5)
    transcript = changed((HERE / name).read_text(), old, new)
    with pytest.raises(AssertionError) as caught:
        sim_player.play(sim_player.sessions(transcript)[0], transcript, pki)
    assert says in str(caught.value)


def test_what_is_still_to_come_is_said() -> None:
    transcript = parse("# profile: no-such-modem\n# sim: {}\n\n# run: sim_state\n> AT\\r\n< \\r\\nOK\\r\\n\n")
    assert driver_player.waiting(transcript) == "waiting for the profile no-such-modem"
    [session] = sim_player.sessions(transcript)
    assert sim_player.waiting(session, transcript) == "waiting for the simulated modem no-such-modem"
    known = parse("# profile: quectel-bg95\n# sim: {}\n")
    assert driver_player.waiting(known) == ""
    assert sim_player.waiting(sim_player.sessions(known)[0], known) == ""


def test_more_than_the_transcript_is_an_error_too(pki: Pki) -> None:
    text = (HERE / "quectel/bg95-power-up.at").read_text()
    transcript = parse(text[: text.index("< \\r\\n+QUSIM")])
    with pytest.raises(AssertionError, match="the modem says more"):
        sim_player.play(sim_player.sessions(transcript)[0], transcript, pki)


@pytest.mark.parametrize("path", sorted(HERE.rglob("*.at")), ids=lambda p: p.stem)
def test_every_dialogue_has_its_source_and_reads_back_the_same(path: Path) -> None:
    transcript = parse(path.read_bytes(), name=str(path))
    assert write(transcript).encode() == path.read_bytes()
    head = transcript.parts[0]
    assert head.texts("source"), "where is it from?"
    assert head.text("profile")
    assert head.text("evidence")
    assert any(part.has_data for part in transcript.parts)


def test_the_simulators_trace_is_a_transcript() -> None:
    with Harness("quectel-bg95") as modem:
        for line in (
            "ATE0",
            "AT+CPIN?",
            'AT+CPIN="1234"',
            "AT+NOSUCH",
            'AT+QFUPL="{5 bytes redacted}",4',
            "ab\x00\xff",
        ):
            modem.write(line.encode("latin-1") + b"\r")
            modem.advance(1.0)
        text = "\n".join(modem.machine.trace.lines) + "\n"
    transcript = parse(text)
    assert len(transcript.turns()) > 10
    assert "1234" not in text
