"""The state of the line, with a clock that only moves when told: time-outs, doubt, recovery."""

import pytest

from modemtls.at.exchange import Exchange, Expected
from modemtls.at.grammar import Grammar, Outcome, PromptRule
from modemtls.at.line import GRACE
from modemtls.at.recovery import Recovery
from modemtls.errors import SyncError
from tests.support.at_line import AT, CSQ, OK, P1, P2, P3, PROBES, SEND, P, Rig, timed_out


def test_an_exchange():
    rig = Rig()
    job = rig.submit(CSQ)
    assert rig.take_sent() == [b"AT+CSQ\r"]
    rig.rx(b'\r\n+CSQ: 20,99\r\n\r\n+U: "recv",1\r\n\r\nsurprise\r\n')
    assert not job.finished
    rig.rx(OK)
    assert job.reply.ok
    assert job.reply.lines[0].values == {"rssi": 20, "ber": 99}
    assert job.reply.extra == ("surprise",)
    assert [urc.values for urc in rig.urcs] == [{"socket": 1}]
    assert rig.line.timer() is None


@pytest.mark.parametrize(
    ("answer", "code", "text"),
    [
        (b"\r\nERROR\r\n", None, ""),
        (b"\r\n+CME ERROR: 10\r\n", 10, ""),
        (b"\r\n+CME ERROR: SIM not inserted\r\n", None, "SIM not inserted"),
        (b"\r\n+CMS ERROR: 500\r\n", 500, ""),
    ],
)
def test_errors_keep_what_came_before(answer, code, text):
    rig = Rig()
    job = rig.submit(CSQ)
    rig.rx(b"\r\n+CSQ: 20,99\r\n" + answer)
    assert job.reply.outcome is Outcome.FAIL
    assert (job.reply.code, job.reply.code_text) == (code, text)
    assert len(job.reply.lines) == 1
    assert job.reply.missing == ()


def test_prompt_settle_and_payload():
    rig = Rig()
    slow = Exchange(
        line=b"AT+S",
        prompt=PromptRule(settle=0.05),
        payload=b"abcdef",
        payload_end=b"\x1a",
        payload_chunk=3,
        payload_pause=0.2,
        timeout=3.0,
    )
    job = rig.submit(slow)
    rig.go(2.9)
    rig.rx(b"\r\n> ")
    rig.go(2.9)  # the time-out starts again with the payload
    assert rig.sent == [(0, b"AT+S\r"), (2.95, b"abc"), (3.15, b"def"), (3.35, b"\x1a")]
    rig.rx(OK)
    assert job.reply.ok


def test_an_error_instead_of_the_prompt_sends_no_payload():
    rig = Rig()
    job = rig.submit(SEND)
    rig.rx(b"\r\nERROR\r\n")
    assert job.reply.outcome is Outcome.FAIL
    rig.go(100)
    assert rig.take_sent() == [b"AT+SEND=5\r"]
    assert rig.line.doubt is None


def test_guard_times_are_kept():
    rig = Rig(grammar=Grammar(guard_after_result=0.25))
    rig.submit(Exchange(line=b"AT+A"))
    rig.rx(OK)
    rig.submit(AT)
    rig.go(1)
    assert rig.sent == [(0, b"AT+A\r"), (0.25, b"AT\r")]


def test_guard_times_are_kept_while_getting_into_step():
    rig = timed_out(grammar=Grammar(guard_after_result=0.25))
    rig.submit(AT)
    rig.go(0.1)
    assert rig.take_sent() == [b"AT+P1?\r"]
    rig.rx(b"\r\nERROR\r\n")
    rig.go(0.2)
    assert rig.take_sent() == []
    rig.go(0.1)
    assert rig.take_sent() == [b"AT+P2?\r"]
    rig.rx(P2)
    rig.go(0.2)
    assert rig.take_sent() == []


@pytest.mark.parametrize(
    ("data", "pieces"),
    [
        (b"hello", [b"hello"]),
        (b"ends in ++", [b"ends in ++"]),
        (b"a+++b", [b"a++", b"+b"]),
        (b"+++", [b"++", b"+"]),
        (b"++++++", [b"++", b"++", b"++"]),
        (b"+" * 7, [b"++", b"++", b"++", b"+"]),
        (b"x+++y+++", [b"x++", b"+y++", b"+"]),
        (b"", []),
    ],
)
def test_what_ends_the_data_is_none_within_it_and_is_one_behind_it_because_of_the_silence(data, pieces):
    rig = Rig()
    job = rig.submit(
        Exchange(line=b"AT+S", prompt=PromptRule(), payload=data, payload_end=b"+++", payload_quiet=0.3, timeout=2.0)
    )
    rig.rx(b"\r\n> ")
    rig.go(1.5)
    assert not job.finished
    assert rig.sent[1:] == [(round(0.3 * n, 3), one) for n, one in enumerate([*pieces, b"+++"])]
    assert all(b"+++" not in one for one in pieces)


# -- never slip ----------------------------------------------------------------------------------------------------


def test_after_a_time_out_the_next_exchange_waits_for_proof():
    rig = timed_out()
    job = rig.submit(AT)
    rig.go(0.1)
    assert rig.take_sent() == [b"AT+P1?\r"]
    rig.rx(P1)
    assert rig.take_sent() == [b"AT\r"]
    rig.rx(OK)
    assert job.reply.ok


def test_a_late_ok_is_nobodys():
    rig = timed_out()
    job = rig.submit(AT)
    rig.go(0.1)
    rig.rx(b"\r\n+CSQ: 20,99\r\n\r\nOK\r\n")  # the late answer, with the probe already sent
    assert rig.take_sent() == [b"AT+P1?\r"]
    rig.rx(P1)
    assert not job.finished
    assert rig.take_sent() == [b"AT\r"]
    rig.rx(b"\r\nERROR\r\n")
    assert job.reply.outcome is Outcome.FAIL


def test_a_late_answer_while_idle_does_not_end_the_doubt():
    rig = timed_out()
    rig.go(5)
    rig.rx(b"\r\n+CSQ: 20,99\r\n\r\nOK\r\n")
    rig.submit(AT)
    rig.go(0.2)
    assert rig.take_sent() == [b"AT+P1?\r"]


def test_a_late_error_makes_another_probe_necessary_and_silence():
    rig = timed_out()
    rig.submit(AT)
    rig.go(0.1)
    rig.rx(b"\r\nERROR\r\n")  # the late answer or the probe's own
    assert rig.take_sent() == [b"AT+P1?\r", b"AT+P2?\r"]
    rig.rx(P1)  # so it was the late one
    assert rig.take_sent() == []
    rig.rx(P2)
    assert rig.take_sent() == []
    rig.go(0.1)
    assert rig.take_sent() == [b"AT\r"]


def test_the_command_in_doubt_is_no_probe():
    rig = timed_out(PROBES[0])
    rig.submit(AT)
    rig.go(0.2)
    assert rig.take_sent() == [b"AT+P2?\r"]
    rig.rx(P1)  # late
    assert rig.take_sent() == []
    rig.rx(P2)
    assert rig.take_sent() == [b"AT\r"]


def test_answers_of_probes_that_come_late_are_not_taken_for_later_ones():
    rig = timed_out()
    job = rig.submit(CSQ)
    rig.go(2.2)  # two probes unanswered
    assert rig.take_sent() == [b"AT+P1?\r", b"AT+P2?\r", b"AT+P3?\r"]
    rig.rx(P1 + P2)
    assert rig.take_sent() == []
    rig.rx(P3)
    rig.go(0.1)
    assert rig.take_sent() == [b"AT+CSQ\r"]
    assert not job.finished


def test_a_stale_answer_that_looks_right_is_found_out_by_what_follows():
    rig = timed_out(recovery=Recovery(PROBES[:2]))
    rig.submit(AT)
    rig.go(2.5)  # P1, P2 unanswered, then P1 again
    assert rig.take_sent() == [b"AT+P1?\r", b"AT+P2?\r", b"AT+P1?\r"]
    rig.rx(P1)  # of the first
    assert rig.take_sent() == []
    rig.rx(P2)
    rig.rx(P1)
    rig.go(0.5)
    assert b"AT\r" not in rig.take_sent()
    rig.rx(P1)
    rig.go(0.2)
    assert rig.take_sent() == [b"AT\r"]


def test_a_stray_result_while_idle_is_doubt():
    rig = Rig()
    rig.rx(b"\r\nOK\r\n")
    rig.submit(AT)
    rig.go(0.2)
    assert rig.take_sent() == [b"AT+P1?\r"]


def test_a_late_ok_that_comes_before_the_answer_is_outlived():
    rig = Rig()
    job = rig.submit(CSQ)
    rig.rx(OK)
    assert not job.finished
    rig.rx(b"\r\n+CSQ: 20,99\r\n\r\nOK\r\n")
    assert job.reply.lines[0].values["rssi"] == 20
    assert job.reply.missing == ()


def test_a_good_result_without_its_line_is_told_and_doubted():
    rig = Rig()
    job = rig.submit(CSQ)
    rig.rx(OK)
    rig.go(GRACE)
    assert job.reply.missing == ("+CSQ: {rssi:int},{ber:int}",)
    assert rig.line.doubt is not None


def test_a_line_behind_its_result_counts():
    rig = Rig()
    job = rig.submit(CSQ)
    rig.rx(b"\r\nOK\r\n\r\n+CSQ: 20,99\r\n")
    rig.go(GRACE)
    assert job.reply.ok
    assert job.reply.missing == ()
    assert job.reply.lines[0].values["rssi"] == 20
    assert rig.line.doubt is None


def test_nothing_answers():
    rig = timed_out()
    job = rig.submit(AT)
    rig.go(200)
    assert isinstance(job.error, SyncError)
    assert len(rig.steps) == 1
    assert rig.line.timer() is None
    # Whoever comes next has it tried again.
    rig.take_sent()
    job = rig.submit(AT)
    rig.go(0.5)
    rig.rx(P1)
    rig.rx(OK)
    assert job.reply.ok


def test_what_was_not_sent_can_be_taken_back_and_recovery_goes_on():
    rig = timed_out()
    job = rig.submit(AT)
    assert rig.line.withdraw(job)
    rig.go(0.2)
    rig.rx(P1)
    assert rig.line.doubt is None
    assert rig.take_sent() == [b"AT+P1?\r"]


# -- opening -------------------------------------------------------------------------------------------------------


def test_opening_begins_with_silence():
    rig = Rig(in_step=False)
    rig.submit(AT)
    assert rig.take_sent() == []
    rig.go(0.05)
    rig.rx(b"remains of a predecessor")
    rig.go(0.09)
    assert rig.take_sent() == []
    rig.go(0.1)
    assert rig.take_sent() == [b"AT+P1?\r"]
    rig.rx(b"\r\n" + P1)
    assert rig.take_sent() == [b"AT\r"]


def test_a_line_that_is_never_silent_is_probed_all_the_same():
    rig = Rig(in_step=False)
    rig.submit(AT)
    for _ in range(120):
        rig.go(0.05)
        rig.rx(b'\r\n+U: "recv",1\r\n')
    assert b"AT+P1?\r" in rig.take_sent()


# -- secrets -------------------------------------------------------------------------------------------------------


def test_secrets_are_in_no_trace_whatever_comes_back():
    seen = []
    rig = Rig(trace=seen.append)
    ex = Exchange(
        line=b'AT+KEY="s3cxyz"',
        shown='AT+KEY="***"',
        lines=(Expected(P("+KEY: {key:quoted}", secrets={"key"})),),
        prompt=PromptRule(),
        payload=b"pr1vate",
        payload_secret=True,
    )
    job = rig.submit(ex)
    rig.rx(b'AT+KEY="s3cxyz"\r\r\n> ')
    rig.rx(b'pr1vate\r\n+KEY: "s3cxyz"\r\n\r\nOK\r\n')
    assert job.reply.ok
    job = rig.submit(ex)
    rig.rx(b'AT+KEY="s3c\r\n+U: "recv",1\r\nxyz"\r\r\n> ')
    rig.rx(b"pr1\r\n\r\nERROR\r\n")
    text = "".join(record.shown + record.data.decode() for record in seen) + repr(job.reply)
    for secret in ("s3cxyz", "s3c", "xyz", "pr1vate", "pr1"):
        assert secret not in text
    assert 'AT+KEY="***"' in text
    assert "s3c" not in repr(ex)


def test_a_trace_tells_the_dialogue():
    seen = []
    rig = Rig(trace=seen.append)
    rig.submit(CSQ)
    rig.rx(b"\r\n+CSQ: 20,99\r\n\r\nOK\r\n")
    assert [(one.direction, one.data) for one in seen] == [
        ("out", b"AT+CSQ\r"),
        ("in", b"\r\n+CSQ: 20,99\r\n"),
        ("in", b"\r\nOK\r\n"),
    ]


def test_a_trace_that_fails_does_not_hurt():
    def trace(record):
        raise RuntimeError("disk full")

    rig = Rig(trace=trace)
    job = rig.submit(AT)
    rig.rx(OK)
    assert job.reply.ok
