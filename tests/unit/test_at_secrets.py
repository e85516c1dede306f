"""What must not be shown is in no trace, note, error or reply, whatever the line makes of it."""

import pytest

from modemtls.at.events import Unknown
from modemtls.at.exchange import Exchange, Expected
from modemtls.at.grammar import PromptRule
from modemtls.at.hiding import Secrets
from tests.support.at_line import AT, CSQ, OK, P, Rig

PIN = Exchange(line=b'AT+CPIN="47110815"', shown='AT+CPIN="***"', timeout=5.0)
APN = Exchange(
    line=b'AT+XAPN=1,"iot","u","Geheim-PW-77",3', shown='AT+XAPN=1,"iot","u","***",3', timeout=5.0
)  # fmt: skip
ASK = Exchange(
    line=b"AT+XAPN=1",
    lines=(Expected(P("+XAPN: {n:int},{apn:quoted},{user:quoted},{pw:quoted},{auth:int}", secrets={"pw"})),),
    timeout=5.0,
)  # fmt: skip
ANSWER = b'\r\n+XAPN: 1,"iot","u","Geheim-PW-77",3\r\n'
KEY = b"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG\nMHcCAQEEIKe1zzTqpPnS\n-----END PRIVATE KEY-----\n"
STORE = Exchange(
    line=b"AT+XPUT=99", prompt=PromptRule(pattern=P("CONNECT")), payload=KEY, payload_secret=True, timeout=5.0
)  # fmt: skip


class Witnessed(Rig):
    """A line of which everything that may be shown is kept."""

    def __init__(self):
        self.seen = []
        super().__init__(trace=self.seen.append)

    def told(self, *jobs):
        traced = "".join(f"{one.shown}\n{one.data!r}\n" for one in self.seen)
        return (
            traced
            + repr([(one.reply, one.error) for one in jobs])
            + repr((self.epochs, self.urcs, self.line.doubt and self.line.doubt.reason))
        )


def hides(rig, jobs, *secrets):
    told = rig.told(*jobs)
    for one in secrets:
        assert one not in told, told[max(0, told.index(one) - 80) :][:160]


def echoes(echo):
    """How an echo may come: glued to what was said before, torn by what is said meanwhile, with bytes lost."""
    return {
        "exact": echo + b"\r",
        "glued": b"+CEREG: 2" + echo + b"\r",
        "in lines": b"\r\n+CEREG: 2" + echo + b"\r\nERROR\r\n",
        "first and another lost": echo[1:9] + echo[10:] + b"\r",
        "command lost": echo[2:] + b"\r",
        "command and another lost": echo[2:9] + echo[10:] + b"\r",
        "torn by a notice": echo[:12] + b'\r\n+U: "recv",2\r\n' + echo[12:] + b"\r",
        "behind a boot notice": b"RDY" + echo + b"\r",
        "other letter": b"AP" + echo[2:] + b"\r",
        "as an error": b"\r\n+CME ERROR: " + echo + b"\r\n",
        "as a notice": b"\r\n+XIND: " + echo + b"\r\n",
        "behind a notice's line": b"\r\nAPP RDY" + echo + b"\r\nERROR\r\n",
    }


@pytest.mark.parametrize("late", [False, True], ids=["at once", "commands later"])
@pytest.mark.parametrize("form", echoes(b""))
@pytest.mark.parametrize("ex", [PIN, APN], ids=["PIN", "password"])
def test_an_echo_is_hidden_whatever_became_of_it(ex, form, late):
    rig = Witnessed()
    rig.line.error_form = 1
    jobs = [rig.submit(ex)]
    if late:
        rig.rx(OK)
        jobs.append(rig.submit(AT))
    rig.rx(echoes(ex.line)[form])
    rig.rx(OK)
    hides(rig, jobs, "110815", "471108", "Geheim", "im-PW-7")


@pytest.mark.parametrize("lost", [1, 4, 9, 10, 11, 15, 18, 20, 22, 24, 36, 37, 38])
def test_an_answer_that_lost_a_byte_is_hidden_whole(lost):
    rig = Witnessed()
    job = rig.submit(ASK)
    rig.rx(ANSWER[:lost] + ANSWER[lost + 1 :] + OK)
    rig.go(5)
    hides(rig, [job], "eheim", "W-77")


def test_an_answer_is_hidden_behind_its_exchange_until_the_next_command():
    rig = Witnessed()
    job = rig.submit(ASK)
    rig.rx(b"\r\nERROR\r\n")
    rig.rx(b"\r\n+XAPN" + ANSWER[8:])
    hides(rig, [job], "Geheim")
    rig.submit(AT)
    rig.rx(b"\r\n+XNEWS: one\r\n")
    assert "+XNEWS: one" in rig.told()


def test_a_secret_that_came_in_an_answer_is_known_from_then_on():
    rig = Witnessed()
    job = rig.submit(ASK)
    rig.rx(ANSWER + OK)
    assert job.reply.lines[0].values["pw"] == "Geheim-PW-77"
    later = rig.submit(CSQ)
    rig.rx(b"+CEREG: 2" + ANSWER + OK)
    hides(rig, [later], "Geheim", "im-PW-77")


@pytest.mark.parametrize(
    "data", [b"x" * 9000, b"+XAPN: 1," + b"Geheim-PW-78 " * 800], ids=["a long line", "a long line that tells"]
)
def test_a_line_without_an_end_is_hidden_while_a_secret_is_on_its_way(data):
    rig = Witnessed()
    job = rig.submit(ASK)
    rig.rx(data)
    rig.rx(b"\r\n" + OK)
    hides(rig, [job], "xxxx", "Geheim")
    assert "bytes without a line end" in rig.told()


def test_a_line_without_an_end_is_shown_otherwise():
    rig = Witnessed()
    rig.submit(AT)
    rig.rx(b"x" * 9000)
    assert "xxxx" in rig.told()


def test_a_payload_cut_short_is_hidden():
    rig = Witnessed()
    ex = Exchange(line=b"AT+XGET", lines=(Expected(P(r"+XGET: {n:int}\r\n{d:raw(n)}", secrets={"d"})),))
    job = rig.submit(ex)
    rig.rx(b"\r\n+XGET: 40\r\nGeheim-PW-77")
    rig.go(5)
    assert job.error is not None
    hides(rig, [job], "Geheim", "PW-77")


@pytest.mark.parametrize("piece", [slice(40, 60), slice(30, 45), slice(52, 68), slice(28, 70)])
@pytest.mark.parametrize("late", [False, True], ids=["at once", "commands later"])
def test_pieces_of_a_key_are_hidden(piece, late):
    rig = Witnessed()
    jobs = [rig.submit(STORE)]
    rig.rx(b"\r\nCONNECT\r\n")
    if late:
        rig.rx(OK)
        jobs.append(rig.submit(AT))
    rig.rx(b"+XIND: " + KEY[piece] + b"\r\n" + OK)
    rig.go(5)
    hides(rig, jobs, "QIBADANBgk", "AQEEIKe1")
    rig.submit(AT)
    rig.rx(b"\r\n-----BEGIN CERTIFICATE-----\r\n" + OK)
    assert "-----BEGIN CERTIFICATE-----" in rig.told()


def test_an_error_that_swallowed_an_echo_does_not_tell_it():
    """In the reply, which ends in an exception's text, and in the reason for a new boot epoch."""
    rig = Witnessed()
    job = rig.submit(PIN)
    rig.rx(b'\r\n+CME ERROR: AT+CPIN="47110815"\r\n')
    hides(rig, [job], "4711", "0815")
    assert job.reply.code_text == "***"
    rig.line.error_form = 1
    job = rig.submit(AT)
    rig.rx(b"\r\n+CME ERROR: AT+CPIN=47110815\r\n")
    assert job.error is not None
    assert rig.epochs
    hides(rig, [job], "4711", "0815")


def test_an_error_that_swallowed_an_answer_does_not_tell_it():
    """Whose secret nobody knows yet."""
    rig = Witnessed()
    job = rig.submit(ASK)
    rig.rx(b"\r\n+CME ERROR: " + ANSWER[2:])
    assert job.finished
    hides(rig, [job], "Geheim", "PW-77")


def test_a_known_secret_is_hidden_beside_the_place_of_one():
    rig = Witnessed()
    jobs = [rig.submit(ASK)]
    rig.rx(ANSWER + OK)
    jobs.append(rig.submit(ASK))
    rig.rx(b'\r\n+XAPN: 1,"Geheim-PW-77","u","else",3\r\n' + OK)
    hides(rig, jobs, "Geheim")


def test_a_payload_that_was_read_is_known_from_then_on():
    rig = Witnessed()
    ex = Exchange(line=b"AT+XGET", lines=(Expected(P(r"+XGET: {n:int}\r\n{d:raw(n)}", secrets={"d"})),))
    jobs = [rig.submit(ex)]
    rig.rx(b"\r\n+XGET: 12\r\nGeheim-PW-77" + OK)
    jobs.append(rig.submit(AT))
    rig.rx(b"\r\n+XIND: heim-PW-77\r\n" + OK)
    hides(rig, jobs, "Geheim", "heim-PW")


def test_a_piece_of_a_pin_is_hidden_while_it_is_on_its_way():
    rig = Witnessed()
    rig.submit(PIN)
    rig.rx(b'\r\n+U: "recv",1108\r\n')
    assert rig.seen[-1].shown == '+U: "recv",***'


def test_what_the_driver_remarks_holds_no_secret():
    rig = Witnessed()
    rig.submit(PIN)
    rig.line.tracer.note("pin=47110815: no", 1.0)
    assert rig.seen[-1].shown == "pin=***: no"


def test_a_line_that_does_not_show_where_it_was_is_hidden_whole():
    rig = Witnessed()
    rig.submit(PIN)
    rig.line.tracer.event(Unknown(b"4711", b"47\x0011"), None, 1.0)
    assert (rig.seen[-1].data, rig.seen[-1].redacted) == (b"***", ((0, 3, 5),))


def test_a_line_that_is_shown_in_words_is_a_secret_whole():
    secrets = known(Exchange(line=b"AT+X=47110815", shown="the command with the PIN"))
    assert secrets.masked(b"RDYAT+X=47110815") == b"RDY***"


def test_what_an_error_says_in_words_is_told():
    rig = Witnessed()
    job = rig.submit(PIN)
    rig.rx(b"\r\n+CME ERROR: incorrect password\r\n")
    assert job.reply.code_text == "incorrect password"
    assert "+CME ERROR: incorrect password" in rig.told()


def test_a_stray_result_does_not_tell_a_secret():
    rig = Witnessed()
    rig.submit(PIN)
    rig.rx(OK)
    rig.rx(b'\r\n+CME ERROR: AT+CPIN="47110815"\r\n')
    assert "+CME ERROR: AT" in rig.line.doubt.reason
    hides(rig, [], "4711", "0815")


def test_a_secret_is_hidden_where_somebody_else_says_it():
    rig = Witnessed()
    rig.submit(APN)
    rig.rx(OK)
    job = rig.submit(Exchange(line=b'AT+XHTTP="Geheim-PW-77"', prompt=PromptRule(), payload=b"pw=Geheim-PW-77&x"))
    rig.rx(b"> ")
    hides(rig, [job], "Geheim")
    assert [one.redacted for one in rig.seen if one.direction == "out"][1:] == [((10, 3, 12),), ((3, 3, 12),)]


def test_what_is_hidden_counts_the_bytes_that_passed():
    rig = Witnessed()
    rig.submit(PIN)
    rig.rx(b'\r\n+XIND: "47110815" or 0815 \r\n')
    record = rig.seen[-1]
    assert (record.data, record.redacted) == (b"\r\n***\r\n", ((2, 3, 26),))
    rig.rx(OK)
    rig.submit(AT)
    rig.rx(b'\r\n+XIND: "47110815" or 4711081\r\n')
    record = rig.seen[-1]
    assert record.data == b'\r\n+XIND: "***" or ***\r\n'
    assert record.redacted == ((10, 3, 8), (18, 3, 7))
    assert record.shown == '+XIND: "***" or ***'


def known(ex, payload=b""):
    secrets = Secrets()
    secrets.sent(ex, payload)
    return secrets


@pytest.mark.parametrize(
    ("sent", "comes"),
    [
        (b"Geheim-PW", b"x geheim-pw y"),
        (rb"Ge\"heim-PW", b'x Ge"heim-PW y'),
        (rb"Ge\22heim-PW", b'x Ge"heim-PW y'),
        (b"47656865696D2D5057", b"x Geheim-PW y"),
        (b"47656865696D2D5057", b"x 47656865696d2d5057 y"),
        (b"4711", b"x47110y"[:5] + b"y"),
        (b"Ge\xdfheim", b"x Ge\xdfheim y"),
    ],
)
@pytest.mark.parametrize("quote", [b"", b'"'], ids=["bare", "quoted"])
def test_the_forms_of_a_secret(sent, comes, quote):
    secrets = known(Exchange(line=b"AT+X=1," + quote + sent + quote + b",2", shown="AT+X=1,***,2"))
    assert secrets.masked(comes) == (b"x***y" if b" " not in comes else b"x *** y")


def test_a_secret_with_the_mark_between_two_of_them_in_it():
    secrets = known(Exchange(line=b"AT+X=12345,67890,abcdef", shown="AT+X=***,***"))
    assert secrets.masked(b"12345 and abcdef") == b"*** and ***"


def test_a_short_number_within_a_longer_one_is_no_secret():
    secrets = known(Exchange(line=b'AT+CPIN="1234"', shown='AT+CPIN="***"'))
    assert secrets.masked(b"+CGSN: 861234567890123") == b"+CGSN: 861234567890123"
    assert secrets.masked(b'+XIND: "1234"') == b'+XIND: "***"'
    secrets.near = True
    assert secrets.masked(b"861234567890129") == b"86***567890129"


def test_old_secrets_are_forgotten_when_there_are_very_many():
    secrets = known(PIN)
    for number in range(600):
        secrets.sent(Exchange(line=b'AT+X="%08d"' % number, shown='AT+X="***"'), b"")
        secrets.masked(b"")
    assert secrets.masked(b"47110815 00000599") == b"47110815 ***"
