"""The state of the line when a byte of a count was lost: the rest of one's data reaches nobody else, and shows."""

import dataclasses

import pytest

from modemtls.at.exchange import Exchange, Expected
from modemtls.at.grammar import FinalRule, Grammar, Outcome, UrcRule
from modemtls.errors import SyncError
from tests.support.at_line import AT, CSQ, GRAMMAR, OK, P1, SEND, P, Rig

MINE, YOURS = ("tls", 1), ("tls", 2)
# The answer's payload has to be followed by the data's line end and the next line's.
READ = Exchange(
    line=b"AT+RECV=1",
    lines=(Expected(P(r"+RECV: {n:int}\r\n{d:raw(n)}\r\n\r\n")),),
    timeout=10.0,
    topic=MINE,
    most=1500,
)
READ_YOURS = dataclasses.replace(READ, line=b"AT+RECV=2", topic=YOURS)
SENT = (FinalRule(P("SEND OK"), Outcome.OK), FinalRule(P("SEND FAIL"), Outcome.BUSY), *SEND.finals[1:])
SEND_MINE = dataclasses.replace(SEND, topic=MINE, finals=SENT)
SEND_YOURS = dataclasses.replace(SEND_MINE, line=b"AT+SEND=2,5", topic=YOURS)
LONG = 0.2  # s; longer than what may be missing takes on the line


def rig(**kw):
    one = Rig(**kw)
    one.spills = []
    one.line.on_spill = lambda topic, kind, reason: one.spills.append((topic, kind))
    one.line.set_grammar(
        Grammar(
            urcs=(
                *GRAMMAR.urcs,
                UrcRule(P('+U: "closed",{socket:int}'), "closed", "tls"),
                UrcRule(P('+U: "open",{socket:int},{error:int}'), "opened", "tls"),
                UrcRule(P('+U: "hup",{socket:int}'), "closed"),
            )
        )
    )
    return one


def answer(data, size=None):
    return b"\r\n+RECV: %d\r\n" % (len(data) if size is None else size) + data + b"\r\n\r\nOK\r\n"


def read(one, data=b"hello"):
    job = one.submit(READ)
    one.rx(answer(data))
    assert job.reply.ok
    one.take_sent()
    return job


def send(one, ex=SEND_MINE):
    job = one.submit(ex)
    one.rx(b"\r\n> ")
    one.rx(b"\r\nSEND OK\r\n")
    one.take_sent()
    return job


def texts(one):
    return [urc.text for urc in one.urcs]


# -- answers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ex", [AT, CSQ, READ_YOURS, SEND_YOURS])
def test_what_concerns_others_waits_a_moment_after_a_short_answer(ex):
    one = rig()
    read(one)
    one.submit(ex)
    one.go(0.016)
    assert one.take_sent() == []
    one.go(0.02)
    assert one.take_sent() == [ex.line + b"\r"]


def test_it_waits_until_the_line_is_quiet_but_not_longer_than_what_may_be_missing_takes():
    one = rig()
    read(one)
    one.submit(READ_YOURS)
    for _ in range(10):
        one.go(0.005)
        one.rx(b"\r\n" * 28)
        assert one.take_sent() == []
    while not one.sent:
        one.go(0.005)
        one.rx(b"\r\n" * 28)
        assert one.now < 1000 + LONG


def test_ones_own_next_command_and_what_follows_a_full_answer_go_at_once():
    one = rig()
    read(one)
    for ex in (READ, SEND_MINE):
        one.submit(ex)
        assert one.take_sent() == [ex.line + b"\r"]
        one.rx(b"\r\nERROR\r\n")
    one.submit(READ)
    one.rx(answer(bytes(1500)))
    one.take_sent()
    one.submit(READ_YOURS)
    assert one.take_sent() == [b"AT+RECV=2\r"]


@pytest.mark.parametrize(
    "rest",
    [
        b"xyzxyz\r\n",
        b"\r\nOK\r\n",
        b"\r\n" * 100 + b"\r\n+RECV: 5\r\nEVIL!\r\n\r\nOK\r\n",
        b'\r\n+U: "recv",2\r\nxxx\r\n',
        b"x" * 9000,
    ],
)
@pytest.mark.parametrize("pause", [0, 0.004])
def test_an_answer_behind_which_more_comes_was_cut(rest, pause):
    one = rig()
    doubts = one.line.doubts
    job = one.submit(READ)
    one.rx(answer(b"hello") + (rest if not pause else b""))
    assert job.reply.ok
    job = one.submit(READ_YOURS)
    if pause:
        one.go(pause)
        one.rx(rest)
    assert one.spills == [(MINE, "answer")]
    assert one.line.doubts > doubts
    one.go(2)  # whatever is sent next is a probe
    assert all(b"RECV=2" not in data for data in one.take_sent())
    assert not job.finished


@pytest.mark.parametrize("wait", [0.0, 0.1])
def test_what_looks_like_a_report_or_comes_later_cuts_nothing(wait):
    one = rig()
    read(one)
    one.go(wait)
    one.rx(b"\r\n+XNEW: 1\r\n" if not wait else b"\r\nsomething else\r\n")
    assert one.spills == []
    one.submit(AT)
    one.go(0.02)
    assert one.take_sent() == [b"AT\r"]


def test_reports_about_others_are_held_back_for_that_moment_in_their_order():
    one = rig()
    read(one)
    one.rx(b'\r\n+U: "push",2,3\r\nabc\r\n\r\n+U: "closed",2\r\n\r\n+U: "recv",1\r\n')
    assert one.urcs == []
    one.go(0.02)
    assert [(urc.values.get("socket"), urc.rule.means, urc.payload) for urc in one.urcs] == [
        (2, "data", b"abc"), (2, "closed", None), (1, "data", None),
    ]  # fmt: skip
    assert one.spills == []


def test_ones_own_reports_are_not_held_back_whatever_kind_of_socket_they_are_about():
    one = rig()
    one.submit(dataclasses.replace(READ, topic=("tcp", 1)))
    one.rx(answer(b"hello"))
    one.rx(b'\r\n+U: "hup",1\r\n')
    assert texts(one) == ['+U: "hup",1']
    one.rx(b'\r\n+U: "hup",2\r\n')
    assert texts(one) == ['+U: "hup",1']
    one.go(LONG)
    assert texts(one) == ['+U: "hup",1', '+U: "hup",2']


def test_ones_own_report_behind_another_comes_before_the_number_is_used_again():
    one = rig()
    read(one)
    one.rx(b'\r\n+U: "hup",2\r\n\r\n+U: "hup",1\r\n')
    one.submit(READ)
    assert (texts(one), one.take_sent()) == ([], [])
    one.go(LONG)
    assert texts(one) == ['+U: "hup",2', '+U: "hup",1']
    assert one.take_sent() == [READ.line + b"\r"]


def test_a_restart_is_not_held_back():
    one = rig()
    read(one)
    one.rx(b"\r\nRDY\r\n")
    assert one.line.epoch == 1


def test_reports_that_somebodys_peer_may_have_written_are_not_believed():
    one = rig()
    read(one)
    one.rx(
        b'\r\n+U: "push",2,5\r\nEVIL!\r\n\r\n+U: "closed",3\r\n'
        b'\r\n+U: "open",4,0\r\n\r\n+U: "recv",5\r\nxxx\r\n\r\nOK\r\n'
    )
    one.go(LONG)
    assert [(urc.values["socket"], urc.complete) for urc in one.urcs] == [(2, False), (5, True)]
    assert one.spills == [(MINE, "answer"), (("tls", 3), "answer"), (("tls", 4), "answer")]


# -- what is pushed -------------------------------------------------------------------------------------------------

PUSH = b'\r\n+U: "push",1,5\r\nhello\r\n'


def test_what_is_pushed_to_others_directly_behind_is_held_back_and_lost_if_the_first_was_cut():
    one = rig()
    one.rx(PUSH + b'\r\n+U: "push",2,3\r\nabc\r\n')
    assert [urc.payload for urc in one.urcs] == [b"hello"]
    one.go(LONG)
    assert [urc.payload for urc in one.urcs] == [b"hello", b"abc"]
    one.rx(PUSH + b'\r\n+U: "push",2,5\r\nEVIL!\r\nxxxx\r\n')
    assert one.spills == [(MINE, "push")]
    assert [urc.payload for urc in one.urcs if urc.complete] == [b"hello", b"abc", b"hello"]
    assert one.urcs[-1].values["socket"] == 2  # and whose it was is told that it is lost


def test_an_answer_directly_behind_what_was_pushed_to_others_is_believed_when_nothing_follows():
    one = rig()
    job = one.submit(READ_YOURS)
    one.rx(PUSH + answer(b"GOOD"))
    assert not job.finished
    one.go(LONG)
    assert job.reply.lines[0].payload == b"GOOD"
    one.go(LONG)
    job = one.submit(READ_YOURS)
    one.rx(PUSH + answer(b"EVIL") + b"xxx\r\n" + answer(b"GOOD"))
    assert isinstance(job.error, SyncError)
    assert one.spills == [(MINE, "push")]


# -- sends ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [b"\r\nOK\r\n", b"\r\nERROR\r\n", b"\r\n+CME ERROR: 3\r\n"])
@pytest.mark.parametrize("pause", [0, 3.0])
def test_a_result_behind_that_of_a_send_says_that_data_was_carried_out(more, pause):
    one = rig()
    send(one)
    doubts = one.line.doubts
    one.go(pause)
    one.rx(more)
    assert one.spills == [(MINE, "send")]
    assert one.line.doubts > doubts


def test_what_makes_no_sense_directly_behind_a_send_says_so_too():
    one = rig()
    send(one)
    one.rx(b"AT+WHATEVER\r\n")
    assert one.spills == [(MINE, "send")]


def test_once_the_modem_has_answered_something_a_result_is_no_sends():
    one = rig()
    send(one)
    one.submit(CSQ)
    one.rx(b"\r\n+CSQ: 1,2\r\n\r\nOK\r\n")
    one.rx(OK)
    assert one.spills == []


def test_a_late_result_of_an_exchange_that_was_given_up_is_no_sends():
    one = rig()
    send(one)
    one.submit(CSQ)
    one.go(2.1)
    one.rx(OK)
    assert one.spills == []


def test_an_ok_is_no_answer_to_a_send_that_has_words_of_its_own():
    one = rig()
    job = one.submit(SEND_MINE)
    one.rx(b"\r\n> ")
    one.rx(OK)
    assert isinstance(job.error, SyncError)
    assert "what became of the data" in str(job.error)
    one.rx(b"\r\nSEND FAIL\r\n")  # so that is over
    one.submit(AT)
    one.go(0.3)
    assert one.take_sent()[-1:] == [b"AT+P1?\r"]
    one.rx(P1)
    assert one.take_sent() == [b"AT\r"]


def test_an_ok_instead_of_its_prompt_may_be_a_late_one():
    one = rig()
    job = one.submit(SEND_MINE)
    one.rx(OK)
    one.go(0.3)
    one.rx(b"\r\n> ")
    one.rx(b"\r\nSEND OK\r\n")
    assert job.reply.ok
    one.line.doubt = None
    job = one.submit(SEND_MINE)
    one.rx(OK)
    one.go(0.6)
    assert "no prompt, but OK" in str(job.error)


@pytest.mark.parametrize("word", [b"SEND OK", b"SEND FAIL"])
def test_an_answer_while_the_payload_is_still_leaving_is_not_believed(word):
    """The modem took a smaller number for the size, and reads the rest as commands."""
    one = rig()
    one.line.unsent = lambda: 1300
    job = one.submit(SEND_MINE)
    one.rx(b"\r\n> ")
    one.rx(b"\r\n" + word + b"\r\n")
    assert isinstance(job.error, SyncError)
    one.line.doubt = None
    job = one.submit(SEND_MINE)
    one.rx(b"\r\n> ")
    one.rx(b"\r\nERROR\r\n")
    assert not job.reply.ok
