"""While a secret may be on its way, a line that lost a byte is not taken for a harmless one; nor is a torn key."""

from __future__ import annotations

import io

import pytest

from modemtls.at.trace import TraceRecord
from modemtls.dialogue.known import default_redactor
from modemtls.dialogue.parameters import Rule
from modemtls.dialogue.record import Recorder
from modemtls.dialogue.redact import MAX_LINE, Redactor
from modemtls.transcript import Direction
from tests.unit.test_record_redact import IN, OUT, redact

ASKED = b"AT+QICSGP=1\r"
ANSWER = b'+QICSGP: 1,"iot","user1","Geheim-PW-77",3'


def written(*pieces: tuple[Direction, bytes], redactor: Redactor | None = None) -> str:
    return "\n".join(text for _, text in redact(list(pieces), redactor or default_redactor()))


@pytest.mark.parametrize("lost", range(len(ANSWER)))
def test_an_answer_with_a_secret_may_lose_any_byte(lost: int) -> None:
    torn = ANSWER[:lost] + ANSWER[lost + 1 :]
    text = written((OUT, ASKED), (IN, ASKED + b"\r\n" + torn + b"\r\n\r\nOK\r\n"))
    assert "eheim" not in text
    assert "W-7" not in text
    assert r"AT+QICSGP=1\r" in text
    assert "OK" in text


def test_an_answer_that_is_whole_keeps_what_is_no_secret() -> None:
    text = written((OUT, ASKED), (IN, b"\r\n" + ANSWER + b"\r\n\r\nOK\r\n"))
    assert '+QICSGP: 1,"iot","user1","{12 bytes redacted}",3' in text


PIN = b'AT+CPIN="47110815"'
TORN = {
    "glued": b"+CEREG: 2" + PIN,
    "first lost": PIN[1:],
    "command lost": PIN[2:],
    "name lost a byte": PIN[:4] + PIN[5:],
    "as an error": b"+CME ERROR: " + PIN,
    "as an error, bare": b"+CME ERROR: AT+CPIN=47110815",
    "behind a boot notice": b"RDY" + PIN,
    "digits alone": b"47110815",
    "as an answer": b"+CPIN: 47110815",
    "as a notice": b"+XIND: 4,47110815",
    "with the answer": PIN + b"OK",
    "as an error, without digits": b"+CME ERROR: AT+CPI=abc,4711"[:-5],
    "as an answer, without digits": b"+CPIN: AT+CPI=abc",
}


@pytest.mark.parametrize("form", TORN)
@pytest.mark.parametrize("redactor", [Redactor, default_redactor])
def test_an_echo_that_is_none_any_more_is_hidden(form: str, redactor) -> None:
    text = written((OUT, PIN + b"\r"), (IN, TORN[form] + b"\r\n\r\nOK\r\n"), redactor=redactor())
    for piece in ("4711", "0815", "abc"):
        assert piece not in text


@pytest.mark.parametrize("torn", [b"AT+CPIN=\r", b"AT+CPIN=\r\n", b'AT+CMEE=1;+CPIN="\r'])
def test_a_pin_on_the_next_line_is_hidden(torn: bytes) -> None:
    for pieces in ([(OUT, torn + b"4711\r")], [(OUT, torn), (OUT, b"4711\r")]):
        assert "4711" not in written(*pieces)
    assert "4711" in written((OUT, torn), (IN, b"\r\nERROR\r\n"), (OUT, b"4711\r")), "that is something else"


@pytest.mark.parametrize(
    "line",
    [
        b"OK", b"ERROR", b"CONNECT", b"> ", b"+CME ERROR: 16", b"+CME ERROR: incorrect password", b"+CPIN: READY",
        b"+CPIN: SIM PUK", b"+CEREG: 1,5", b"RDY", b"APP RDY", b'+QIURC: "pdpdeact",1', b'+QSSLURC: "recv",1',
    ],
)  # fmt: skip
def test_what_holds_no_secret_is_written_meanwhile(line: bytes) -> None:
    text = written((OUT, PIN + b"\r"), (IN, PIN + b"\r\r\n" + line + b"\r\n"))
    assert line.decode() in text
    assert text.count('AT+CPIN="{8 bytes redacted}"') == 2, "the command and its echo"
    assert text.count("redacted") == 2


def test_it_ends_with_the_command_after_the_answer() -> None:
    news = b'+XNEWS: "a",12345\r\n'
    before = (OUT, PIN + b"\r"), (IN, news + b"\r\nOK\r\n")
    assert "XNEWS" not in written(*before)
    assert "XNEWS" in written(*before, (OUT, b"AT\r"), (IN, news))
    assert "XNEWS" in written((OUT, b"AT\r"), (IN, news)), "nor does it begin with just any"


def test_a_command_that_comes_before_the_answer_does_not_end_it() -> None:
    both = (OUT, ASKED + b"AT+CSQ\r")
    assert "Geheim" not in written(both, (IN, b"\r\n+QCSGP" + ANSWER[7:] + b"\r\n\r\nOK\r\n\r\n+CSQ: 9,99\r\n"))


def test_an_answer_that_never_comes_is_not_waited_for() -> None:
    news = b'\r\n+XNEWS: "a",12345\r\n'
    rest = [(OUT, b"AT+CSQ\r")] * 4
    assert "XNEWS" in written((OUT, PIN + b"\r"), *rest, (IN, news))
    assert "XNEWS" not in written((OUT, PIN + b"\r"), *rest[:2], (IN, news))


@pytest.mark.parametrize(
    "line",
    [
        b"AT+XPASSWORD?", b"AT+CGAUTH?", b'AT+QMTCFG="aliauth",0', b'AT+CMEE=1;+CLCK="SC",1,"4711"', b"ATE0+CPIN=4711",
        b'AT+QFUPL="UFS:key.pem",1704', b'AT+CLCK="SC",2;+CPIN=',
    ],
)  # fmt: skip
def test_what_begins_it(line: bytes) -> None:
    assert "XNEWS" not in written((OUT, line + b"\r"), (IN, b'\r\n+XNEWS: "a",12345\r\n'))


@pytest.mark.parametrize(
    "line", [b"AT+CPIN?", b"AT+CPIN=?", b"AT+CSQ", b"ATI", b'AT+QMTCFG="recv/mode",0,0', b"AT+CGAUTH=?"]
)
def test_what_does_not(line: bytes) -> None:
    assert "XNEWS" in written((OUT, line + b"\r"), (IN, b'\r\n+XNEWS: "a",12345\r\n'))


def test_one_form_of_a_command_may_begin_it_and_another_not() -> None:
    rules = [
        Rule(b"+XGET", b":", ((0, b"PW"),), frozenset({1})),
        Rule(b"+XSET", b"=", ((0, b"PW"),), frozenset({1})),
    ]
    news = (IN, b'\r\n+XNEWS: "a",12345\r\n')
    for name in ("XGET", "XSET"):
        begins, does_not = (b'AT+%s="%s"\r' % (name.encode(), what) for what in (b"pw", b"apn"))
        assert "XNEWS" not in written((OUT, begins), news, redactor=Redactor(rules=rules))
        assert "XNEWS" in written((OUT, does_not), news, redactor=Redactor(rules=rules))


def test_a_command_of_any_length_begins_it() -> None:
    for blanks in range(MAX_LINE - 12, MAX_LINE):
        assert "4711" not in written((OUT, b"AT" + b" " * blanks + b"+CPIN=\r4711\r"), redactor=Redactor())


def test_a_channel_says_itself_what_nothing_explains() -> None:
    """It knows what was asked, and has hidden what is secret: what it shows is kept."""
    file = io.StringIO()
    recorder = Recorder(file, source="x")
    recorder(TraceRecord(1.0, "out", b'AT+CPIN="***"\r', "", ((9, 3, 4),)))
    recorder(TraceRecord(1.0, "in", b'\r\n+XNEWS: "a",12345\r\n', ""))
    recorder.close()
    assert "XNEWS" in file.getvalue()
    assert r'> "\r' in file.getvalue()


# -- codes that are dialled ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"ATD**04*4711*4712*4712#;", b"ATD**042*4711*4712*4712#;", b"ATD**05*47114711*4712*4712#;",
        b"ATD**052*47114711*4712*4712#", b"ATD*04*4711*4712", b"atd ** 04 * 4711 * 4712#",
        b"ATD**03*330*4711*4712*4712#",
        b"ATD*33*4711*11#;", b"ATD#330*4711#", b"ATD*35*4711#",
        b'AT+CUSD=1,"**04*4711*4712*4712#",15', b"AT+CUSD=1,**04*4711*4712*4712#",
        b'AT+CUSD=1,"2A2A30342A343731312A343731322A3437313223",15',
    ],
)  # fmt: skip
@pytest.mark.parametrize("direction", Direction)
def test_a_pin_that_is_dialled(line: bytes, direction: Direction) -> None:
    text = written((direction, line + b"\r"), redactor=Redactor())
    assert "redacted" in text
    for pin in ("4711", "4712", "3437"):
        assert pin not in text


@pytest.mark.parametrize("line", [b"ATD*99#", b"ATD*99***1#", b"ATD*#06#;", b'AT+CUSD=1,"*100#",15', b"ATD*100*1234#"])
def test_other_codes_are_written(line: bytes) -> None:
    assert written((OUT, line + b"\r")) == line.decode() + r"\r"


@pytest.mark.parametrize(
    "line",
    [b'AT+CPIN2="4711"', b'AT+XPIN="4711"', b'AT+XCLCK="SC",1,"4711"', b"AT+CPIM\x7fN=4711", b'AT+CPIN="471\x7f11"'],
)
def test_other_commands_with_pins(line: bytes) -> None:
    text = written((OUT, line + b"\r"))
    assert "redacted" in text
    assert "11" not in text


def test_a_ping_is_none() -> None:
    assert written((OUT, b'AT+XPING=1,"example.com"\r')) == r'AT+XPING=1,"example.com"\r'


# -- keys ------------------------------------------------------------------------------------------------------------

BODY = b"MIIEvQIBADANBgkqhkiG9w0BAQEF\nAASCBKcwggSjAgEAAoIBAQDzzzzz\n"
BEGIN, END = b"-----BEGIN PRIVATE KEY-----", b"-----END PRIVATE KEY-----"


@pytest.mark.parametrize("lost", [*range(len(BEGIN) + 1), slice(0, 2), slice(10, 13), slice(0, len(BEGIN) + 1)])
@pytest.mark.parametrize("direction", Direction)
def test_the_mark_of_a_key_may_lose_bytes(lost: int | slice, direction: Direction) -> None:
    mark = bytearray(BEGIN + b"\n")
    del mark[lost]
    text = written((direction, bytes(mark) + BODY + END + b"\r\nAT+CSQ\r"))
    assert "MIIE" not in text
    assert "zzzz" not in text
    assert text.endswith(r"AT+CSQ\r")


@pytest.mark.parametrize("lost", range(len(END)))
def test_its_end_may_lose_one(lost: int) -> None:
    text = written((OUT, BEGIN + b"\n" + BODY + END[:lost] + END[lost + 1 :] + b"\n"), (OUT, b"AT+CSQ\r"))
    assert "zzzz" not in text
    assert text.endswith(r"AT+CSQ\r")


def test_a_key_without_an_end_is_over_when_a_command_comes() -> None:
    text = written((OUT, BEGIN + b"\n" + BODY), (OUT, b"AT+CEREG?\r"), (OUT, b"AT+CSQ\r"))
    assert "zzzz" not in text
    assert text.endswith(r"AT+CEREG?\rAT+CSQ\r")


@pytest.mark.parametrize(
    "head",
    [
        b"MIICdgIBADANBgkq", b"MIICXAIBAAKBgQC9", b"MIIJQgIBADANBgkq", b"MIGHAgEAMBMGByqG", b"MHcCAQEEIGREjZVO",
        b"MIGkAgEBBDCS3MzJ", b"MIHcAgEBBEIBjKsN", b"MC4CAQAwBQYDK2Vw",
    ],
)  # fmt: skip
def test_a_key_whose_mark_was_lost_is_known_by_its_beginning(head: bytes) -> None:
    """RSA, ECDSA and Ed25519 keys as OpenSSL writes them, in PKCS #8 and in the older forms."""
    assert "AAAA" not in written((OUT, head + b"AAAAAAAA\nAAAA\n" + END + b"\n"))


@pytest.mark.parametrize(
    "mark",
    [b"CERTIFICATE", b"PUBLIC KEY", b"CERTIFICATE REQUEST", b"X509 CRL", b"DH PARAMETERS"],
)
def test_what_is_public_is_written(mark: bytes) -> None:
    pem = b"-----BEGIN %s-----\nMIIDdzCCAl+gAwIBAgIBADAN\n%s-----END %s-----\n" % (mark, BODY, mark)
    assert "redacted" not in written((OUT, pem), (IN, pem))
    assert "redacted" not in written((OUT, b"---- TEST PASSED ----\nAT+CSQ\r"))
