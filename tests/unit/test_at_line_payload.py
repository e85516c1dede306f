"""The state of the line while payload goes out or comes in: prompts that come late, bytes that get lost."""

import pytest

from modemtls.at.exchange import Exchange, Expected
from modemtls.at.grammar import Outcome, PromptRule
from modemtls.at.line import PAYLOAD_STALL, WRITE_STALL
from modemtls.at.recovery import Recovery
from modemtls.errors import ModemRestartedError, ModemTimeoutError, SyncError
from tests.support.at_line import AT, CSQ, OK, P1, PROBES, RECV, SEND, P, Rig, timed_out

# -- payload going out ---------------------------------------------------------------------------------------------


def test_no_probe_while_the_modem_may_wait_for_payload():
    rig = timed_out(SEND)  # no prompt came: it may come yet
    rig.submit(AT)
    rig.go(16.9)  # 20 s after the line was sent
    assert rig.take_sent() == []
    rig.go(0.3)
    assert rig.take_sent() == [b"AT+P1?\r"]


def test_a_late_prompt_starts_the_wait_again_and_gets_no_payload():
    rig = timed_out(SEND)
    rig.submit(AT)
    rig.go(10)
    rig.rx(b"\r\n> ")
    rig.go(19.9)
    assert rig.take_sent() == []
    rig.go(0.3)
    assert rig.take_sent() == [b"AT+P1?\r"]
    rig.rx(P1)
    assert rig.take_sent() == [b"AT\r"]


def test_a_late_prompt_while_idle():
    rig = timed_out(SEND)
    rig.go(15)
    rig.rx(b"\r\n> ")
    rig.go(5)
    rig.submit(AT)
    rig.go(14.9)
    assert rig.take_sent() == []
    rig.go(0.3)
    assert rig.take_sent() == [b"AT+P1?\r"]


def test_a_late_prompt_while_a_probe_is_in_flight():
    rig = timed_out(SEND)
    rig.submit(AT)
    rig.go(17.1)
    assert rig.take_sent() == [b"AT+P1?\r"]
    rig.rx(b"\r\n> ")  # the probe is payload now
    rig.go(10)
    assert rig.take_sent() == []
    rig.rx(b"\r\nERROR\r\n")  # the modem's own input time-out
    rig.go(0.3)
    assert rig.take_sent() == [b"AT+P1?\r"]


def test_a_result_ends_the_wait_for_the_data_phase():
    rig = timed_out(SEND)
    rig.submit(AT)
    rig.go(2)
    rig.rx(b"\r\nERROR\r\n")
    rig.go(0.3)
    assert rig.take_sent() == [b"AT+P1?\r"]


def test_without_an_input_time_out_the_escape_comes_first():
    rig = timed_out(SEND, recovery=Recovery(PROBES, escape=b"\x1b", escape_guard=0.5))
    rig.submit(AT)
    rig.go(0.4)
    assert rig.take_sent() == [b"\x1b"]
    rig.go(0.5)
    assert rig.take_sent() == [b"AT+P1?\r"]


def test_with_neither_a_long_time_passes_before_anything_is_sent():
    rig = timed_out(SEND, recovery=Recovery(PROBES))
    rig.submit(AT)
    rig.go(59)
    assert rig.take_sent() == []
    rig.go(1.5)
    assert rig.take_sent() == [b"AT+P1?\r"]


def test_the_exchanges_own_input_time_out_counts():
    rig = timed_out(Exchange(line=b"AT+S", prompt=PromptRule(), payload=b"x", timeout=1.0, input_timeout=4.0))
    rig.submit(AT)
    rig.go(2.9)
    assert rig.take_sent() == []
    rig.go(0.3)
    assert rig.take_sent() == [b"AT+P1?\r"]


def test_probes_that_vanish_are_followed_by_the_escape():
    rig = timed_out()
    rig.submit(AT)
    rig.go(2.95)
    assert rig.take_sent() == [b"AT+P1?\r", b"AT+P2?\r", b"AT+P3?\r"]
    rig.go(0.3)
    assert rig.take_sent() == [b"\x1b"]
    rig.go(0.5)
    assert rig.take_sent() == [b"AT+P1?\r"]


def test_probes_that_may_have_been_taken_as_payload_are_followed_by_patience():
    rig = Rig(in_step=False)  # a predecessor may have died in the middle of a payload
    rig.submit(AT)
    rig.go(3.15)
    assert rig.take_sent() == [b"AT+P1?\r", b"AT+P2?\r", b"AT+P3?\r"]
    rig.go(18.8)
    assert rig.take_sent() == []
    rig.go(0.5)
    assert rig.take_sent() == [b"\x1b"]
    rig.go(0.5)
    assert rig.take_sent() == [b"AT+P1?\r"]


def test_a_result_before_the_payload_is_out_stops_the_payload():
    rig = Rig(takes=2)
    job = rig.submit(SEND)
    rig.takes = 0
    rig.rx(b"\r\n> ")
    rig.takes = 2
    rig.line.wrote(2, rig.now)
    rig.rx(b"\r\nERROR\r\n")
    assert job.reply.outcome is Outcome.FAIL
    assert rig.line.output == b""
    assert rig.line.doubt is not None


def test_partial_writes():
    rig = Rig(takes=1)
    job = rig.submit(SEND)
    rig.rx(b"\r\n> ")
    assert b"".join(rig.take_sent()) == b"AT+SEND=5\rhello"
    rig.rx(b"\r\nSEND OK\r\n")
    assert job.reply.ok


def test_a_port_that_takes_nothing_is_given_up():
    rig = Rig(takes=0)
    job = rig.submit(CSQ)
    rig.go(WRITE_STALL - 0.1)
    assert not job.finished
    rig.go(0.2)
    assert isinstance(job.error, ModemTimeoutError)
    assert "takes no bytes" in str(job.error)
    assert rig.line.output == b""


SURE = Exchange(line=b"AT+RECV", lines=(Expected(P(r"+RECV: {n:int}\r\n{d:raw(n)}\r\n\r\n")),), timeout=10.0)


@pytest.mark.parametrize("lost", range(1, 12))
def test_bytes_lost_in_a_payload_are_noticed_however_many(lost):
    answer = bytearray(b"\r\n+RECV: 40\r\n" + bytes(range(65, 105)) + b"\r\n\r\nOK\r\n")
    del answer[20 : 20 + lost]
    rig = Rig()
    job = rig.submit(SURE)
    rig.rx(bytes(answer))
    rig.go(2.5)
    assert isinstance(job.error, SyncError), job.reply
    assert rig.line.doubt is not None


def test_what_is_no_answer_behind_a_payload_of_unknown_end_is_a_sign_of_loss():
    rig = Rig()
    job = rig.submit(RECV)
    rig.rx(b"\r\n+RECV: 3\r\nabcd\r\n\r\nOK\r\n")
    assert isinstance(job.error, SyncError)
    assert "data may be missing" in str(job.error)


def test_slow_writes_are_no_stall():
    rig = Rig(takes=0)
    job = rig.submit(CSQ)
    for _ in range(7):
        rig.go(WRITE_STALL - 1)
        rig.line.wrote(1, rig.now)
    assert not job.finished
    rig.rx(b"\r\n+CSQ: 1,1\r\n" + OK)
    assert job.reply.ok


# -- payload coming in ---------------------------------------------------------------------------------------------


def test_a_payload_that_stops_fails_its_exchange_soon():
    rig = Rig()
    job = rig.submit(RECV)
    rig.rx(b"\r\n+RECV: 100\r\nabc")
    rig.go(PAYLOAD_STALL - 0.1)
    rig.rx(b"def")
    rig.go(PAYLOAD_STALL - 0.1)
    assert not job.finished
    rig.go(0.2)
    assert isinstance(job.error, SyncError)
    assert "6 of 100" in str(job.error)
    rig.submit(AT)
    rig.go(0.2)
    assert rig.take_sent()[-1] == b"AT+P1?\r"


def test_a_restart_in_the_middle_of_a_payload_is_found():
    rig = Rig()
    rig.submit(AT)
    rig.rx(OK)
    job = rig.submit(RECV)
    rig.rx(b"\r\n+RECV: 1000\r\nabc\0\0\r\nRDY\r\n")
    rig.go(PAYLOAD_STALL)
    assert isinstance(job.error, ModemRestartedError)
    assert rig.line.epoch == 1
    assert [urc.rule.means for urc in rig.urcs] == ["boot"]


def test_a_notices_payload_that_stops_is_told():
    rig = Rig()
    rig.rx(b'\r\n+U: "push",3,100\r\nabc')
    rig.go(PAYLOAD_STALL)
    (urc,) = rig.urcs
    assert (urc.complete, urc.payload, urc.values["socket"]) == (False, b"abc", 3)
    assert rig.line.doubt is not None


def test_what_is_pushed_waits_for_the_line_end_that_has_always_followed():
    rig = Rig()
    push = b'\r\n+U: "push",2,5\r\nhello'
    for _ in range(4):
        rig.rx(push + b"\r\n")
        rig.go(1)
    rig.rx(push)
    assert len(rig.urcs) == 4
    rig.rx(b"\r\n")
    assert [urc.complete for urc in rig.urcs] == [True] * 5
    rig.rx(push[:-2] + b"\r\n")
    rig.go(PAYLOAD_STALL)
    assert [urc.complete for urc in rig.urcs[5:]] == [False]


# -- an answer with data in which something makes no sense -----------------------------------------------------------

READ = Exchange(line=b"AT+READ", lines=(Expected(P("+READ: {n:int}\\r\\n{data:raw(n)}\\r\\n"), repeat="optional"),))
HEADER, DATA = b"\r\n+READ: 10\r\n", b"0123456789\r\n"


# Nothing but well-formed reports, behind a length of which 0 is left: those are believed (decision 0006).
REPORTS = [b"+ZZ: 45678\r\n", b"+Z: 3\r\n+ZZ\r\n"]
PLACES = [*range(2, len(HEADER)), None]


@pytest.mark.parametrize(
    ("data", "at"),
    [(data, at) for data in (DATA, *REPORTS) for at in PLACES if data == DATA or at != HEADER.index(b"1")],
)
def test_a_byte_lost_from_the_head_of_data_leaves_no_gap_and_is_no_end(data, at):
    """Whoever reads is told, unless the data comes out whole; ``at``: none is lost."""
    rig = Rig()
    job = rig.submit(READ)
    head = HEADER if at is None else HEADER[:at] + HEADER[at + 1 :]
    rig.rx(head + data + OK)
    if at is None or head == b"\r\n+READ:10\r\n":
        assert job.reply is not None
        assert job.reply.lines[0].payload == data[:10]
    else:
        assert isinstance(job.error, SyncError)
        assert "data may be missing" in str(job.error)


def test_an_unknown_report_beside_data_that_came_is_no_loss():
    rig = Rig()
    job = rig.submit(READ)
    rig.rx(b"\r\n+UNKNOWN: 1\r\n" + HEADER + DATA + OK)
    assert job.reply is not None
    assert job.reply.lines[0].payload == DATA[:10]


def test_an_answer_that_says_there_is_nothing_may_have_an_unknown_report_beside_it():
    rig = Rig()
    job = rig.submit(READ)
    rig.rx(b"\r\n+UNKNOWN: 1\r\n\r\nERROR\r\n")
    assert job.reply is not None
    assert job.reply.outcome is Outcome.FAIL


CLOSE = b'"x\r\n'
CLOSED = Recovery(PROBES[:2], escape=b"+++", escape_guard=0.5, rounds=3, close_quote=CLOSE)
ORDINARY = [b"AT+P1?\r", b"AT+P2?\r", b"+++", b"AT+P1?\r", b"AT+P2?\r"]


def until_idle(rig, quoted, *, deaf=()):
    """Have a modem answer to which a line end within quotes is none; give what it was sent.

    ``quoted``: it waits for a quotation mark. What begins before ``deaf`` has been sent it does not hear.
    """
    sent = []
    for _ in range(400):
        rig.go(0.05)
        for piece in rig.take_sent():
            sent.append(piece)
            if len(sent) <= len(deaf):
                continue
            quoted ^= piece.count(b'"') % 2 == 1
            if not quoted:
                info = b"+P%c: 1\r\n\r\n" % piece[4:5] if piece.startswith(b"AT+P") else b""
                rig.rx(b"\r\n" + info + (b"OK" if piece.startswith(b"AT") else b"ERROR") + b"\r\n")
    return sent


def test_a_text_that_a_lost_quotation_mark_left_open_is_closed_when_all_else_failed():
    rig = timed_out(recovery=CLOSED)
    job = rig.submit(AT)
    assert until_idle(rig, quoted=True) == [*ORDINARY, CLOSE, b"AT+P1?\r", b"AT\r"]
    assert job.reply.ok


def test_one_that_it_opened_itself_is_closed_again():
    rig = timed_out(recovery=CLOSED)
    job = rig.submit(AT)
    sent = until_idle(rig, quoted=False, deaf=ORDINARY)
    assert sent == [*ORDINARY, CLOSE, *ORDINARY, CLOSE, b"AT+P1?\r", b"AT\r"]
    assert job.reply.ok


def test_no_more_than_two_quotation_marks_are_sent_and_none_to_a_modem_that_has_no_need_of_them():
    rig = timed_out(recovery=CLOSED)
    job = rig.submit(AT)
    rig.go(30)
    assert rig.take_sent().count(CLOSE) == 2
    assert isinstance(job.error, SyncError)
    rig = timed_out()
    rig.submit(AT)
    rig.go(200)
    assert not any(b'"' in piece for piece in rig.take_sent())
