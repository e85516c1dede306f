"""The state of the line, with a clock that only moves when told: time-outs, doubt, recovery, epochs."""

import pytest

from modemtls.at.exchange import Exchange, Expected
from modemtls.at.grammar import STANDARD_FINALS, FinalRule, Grammar, Outcome, PromptRule, UrcRule, compile_pattern
from modemtls.at.job import Job
from modemtls.at.line import GRACE, PAYLOAD_STALL, WRITE_STALL, LineState
from modemtls.at.recovery import Recovery, probe
from modemtls.errors import ModemRestartedError, ModemTimeoutError, SyncError

P = compile_pattern
GRAMMAR = Grammar(
    urcs=(
        UrcRule(P("RDY"), "boot"),
        UrcRule(P('+U: "recv",{socket:int}'), "data"),
        UrcRule(P(r'+U: "push",{socket:int},{n:int}\r\n{d:raw(n)}'), "data"),
    )
)
PROBES = (probe("AT+P1?", "+P1: {x:int}"), probe("AT+P2?", "+P2: {x:int}"), probe("AT+P3?", "+P3: {x:int}"))
P1, P2, P3 = (b"\r\n+P%d: 1\r\n\r\nOK\r\n" % n for n in (1, 2, 3))
RECOVERY = Recovery(PROBES, input_timeout=20.0, escape=b"\x1b", escape_guard=0.5)
OK = b"\r\nOK\r\n"
AT = Exchange(line=b"AT")
CSQ = Exchange(line=b"AT+CSQ", lines=(Expected(P("+CSQ: {rssi:int},{ber:int}")),), timeout=2.0)
SEND = Exchange(
    line=b"AT+SEND=5",
    finals=(FinalRule(P("SEND OK"), Outcome.OK), *STANDARD_FINALS[1:]),
    prompt=PromptRule(),
    payload=b"hello",
    timeout=3.0,
)
RECV = Exchange(line=b"AT+RECV", lines=(Expected(P(r"+RECV: {n:int}\r\n{d:raw(n)}")),), timeout=10.0)


class Rig:
    """A line, a clock, and all that was sent with the time of it."""

    def __init__(self, *, in_step=True, recovery=RECOVERY, takes=None, trace=None):
        self.now = 1000.0
        self.sent = []
        self.urcs = []
        self.epochs = []
        self.steps = []
        self.takes = takes  # None: all; else how many bytes each write takes
        self.line = LineState(GRAMMAR, now=self.now, recovery=recovery, trace=trace)
        self.line.on_urc = self.urcs.append
        self.line.on_epoch = lambda reason, error: self.epochs.append(reason)
        self.line.on_step = self.steps.append
        if in_step:
            self.line.doubt = None

    def drain(self):
        while self.line.output and self.takes != 0:
            size = len(self.line.output) if self.takes is None else self.takes
            piece = self.line.output[:size]
            self.sent.append((round(self.now - 1000, 3), piece))
            self.line.wrote(len(piece), self.now)

    def submit(self, ex):
        job = Job(ex)
        self.line.submit(job, self.now)
        self.drain()
        return job

    def rx(self, data):
        self.line.feed(data, self.now)
        self.drain()

    def go(self, seconds):
        end = self.now + seconds
        while (timer := self.line.timer()) is not None and timer <= end:
            assert timer >= self.now - 1e-9 or timer <= self.now
            self.now = max(self.now, timer)
            self.line.tick(self.now)
            self.drain()
        self.now = end

    def take_sent(self):
        out = [data for _, data in self.sent]
        self.sent.clear()
        return out


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
    rig = Rig()
    rig.submit(Exchange(line=b"AT+A", guard=0.25))
    rig.rx(OK)
    rig.submit(AT)
    rig.go(1)
    assert rig.sent == [(0, b"AT+A\r"), (0.25, b"AT\r")]


# -- never slip ----------------------------------------------------------------------------------------------------


def timed_out(ex=CSQ, **kw):
    rig = Rig(**kw)
    job = rig.submit(ex)
    rig.go(ex.timeout)
    assert isinstance(job.error, ModemTimeoutError)
    rig.take_sent()
    return rig


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


# -- epochs --------------------------------------------------------------------------------------------------------


def believed(**kw):
    rig = Rig(**kw)
    rig.submit(AT)
    rig.rx(OK)
    rig.take_sent()
    return rig


def test_a_boot_notice_ends_the_epoch_and_all_that_waits():
    rig = believed()
    rig.line.echo = False
    job = rig.submit(CSQ)
    rig.rx(b"\r\nRDY\r\n")
    assert isinstance(job.error, ModemRestartedError)
    assert rig.epochs == ["it announced itself (RDY)"]
    assert rig.line.echo is None
    # A late answer of the old epoch is nobody's.
    after = rig.submit(AT)
    rig.rx(b"\r\n+CSQ: 20,99\r\n\r\nOK\r\n")
    rig.go(1)
    rig.rx(P1)
    rig.go(0.2)
    rig.rx(OK)
    assert after.reply.ok


def test_more_boot_notices_are_the_same_boot():
    rig = believed()
    rig.rx(b"\r\nRDY\r\n\r\nRDY\r\n")
    job = rig.submit(CSQ)
    rig.go(0.2)
    rig.rx(P1)
    rig.rx(b"\r\nRDY\r\n\r\n+CSQ: 1,1\r\n" + OK)
    assert job.reply.ok
    assert rig.line.epoch == 1


def test_a_boot_notice_while_getting_into_step_begins_it_anew():
    rig = Rig(in_step=False)
    job = rig.submit(AT)
    rig.go(5)  # the probes went nowhere, patience set in
    rig.take_sent()
    rig.rx(b"\r\nRDY\r\n")
    rig.go(0.3)
    assert rig.take_sent() == [b"AT+P1?\r"]
    rig.rx(P1)
    rig.rx(OK)
    assert job.reply.ok
    assert rig.line.epoch == 0


def test_an_echo_where_echo_is_off_is_a_restart():
    rig = believed()
    rig.line.echo = False
    job = rig.submit(CSQ)
    rig.rx(b"AT+CSQ\r\r\n+CSQ: 20,99\r\n\r\nOK\r\n")
    assert isinstance(job.error, ModemRestartedError)
    assert rig.line.epoch == 1


def test_an_echo_of_a_probe_is_a_restart_too():
    rig = believed()
    rig.line.echo = False
    rig.submit(CSQ)
    rig.go(2)
    rig.submit(AT)
    rig.go(0.2)
    rig.rx(b"AT+P1?\r" + P1)
    assert rig.line.epoch == 1


def test_an_echo_is_nothing_where_it_is_not_known_to_be_off():
    rig = believed()
    job = rig.submit(AT)
    rig.rx(b"AT\r" + OK)
    assert job.reply.ok


@pytest.mark.parametrize(
    ("form", "answer", "restarted"),
    [
        (0, b"ERROR", False),
        (0, b"+CME ERROR: 3", True),
        (0, b"+CME ERROR: operation not allowed", True),
        (1, b"ERROR", False),
        (1, b"+CME ERROR: 3", False),
        (1, b"+CME ERROR: operation not allowed", True),
        (2, b"ERROR", False),
        (2, b"+CME ERROR: 3", False),  # seen on modems that mix forms
        (2, b"+CME ERROR: operation not allowed", False),
        (None, b"+CME ERROR: operation not allowed", False),
    ],
)
def test_errors_in_a_form_that_was_not_selected(form, answer, restarted):
    rig = believed()
    rig.line.error_form = form
    job = rig.submit(CSQ)
    rig.rx(b"\r\n" + answer + b"\r\n")
    assert isinstance(job.error, ModemRestartedError) is restarted
    assert rig.line.epoch == int(restarted)


UPLOAD = Exchange(
    line=b"AT+UP=5",
    prompt=PromptRule(pattern=P("CONNECT")),
    payload=b"hello",
    input_timeout=60.0,
    timeout=65.0,
)


def test_nothing_is_sent_into_an_upload_that_a_false_boot_notice_interrupted():
    """Padding would leave a file of the right name and size with wrong content."""
    rig = believed()
    rig.submit(UPLOAD)
    rig.takes = 0
    rig.rx(b"\r\nCONNECT\r\n")
    rig.rx(b"\r\nRDY\r\n")
    rig.takes = None
    rig.submit(AT)
    rig.take_sent()
    rig.go(59)
    assert rig.take_sent() == []
    rig.go(1.2)
    assert rig.take_sent() == [b"AT+P1?\r"]


def test_an_upload_that_is_not_answered_is_left_alone():
    """Whoever made it may take it for complete by its size."""
    rig = believed()
    rig.submit(UPLOAD)
    rig.rx(b"\r\nCONNECT\r\n")
    rig.go(65)
    rig.take_sent()
    rig.submit(AT)
    rig.go(0.3)
    assert rig.take_sent() == [b"AT+P1?\r"]


def half_a_send_and_a_boot_notice():
    rig = believed()
    rig.line.set_grammar(STARTING)
    rig.submit(SEND)
    rig.takes = 0
    rig.rx(b"\r\n> ")
    rig.rx(b"\r\nRDY\r\n")
    rig.takes = None
    rig.submit(AT)
    rig.take_sent()
    return rig


def test_a_boot_notice_in_the_middle_of_a_send_may_be_false_and_nothing_goes_to_the_peer():
    rig = half_a_send_and_a_boot_notice()
    rig.go(19)
    assert rig.take_sent() == []
    rig.go(1.2)
    assert rig.take_sent() == [b"AT+P1?\r"]


@pytest.mark.parametrize("more", [b"\r\nAPP RDY\r\n", b"\r\nRDY\r\n", OK])
def test_what_else_a_modem_says_when_it_starts_confirms_the_notice(more):
    rig = half_a_send_and_a_boot_notice()
    rig.go(1)
    rig.rx(more)
    rig.go(0.3)
    assert rig.take_sent() == [b"AT+P1?\r"]


def test_a_restart_stops_a_payload_half_way():
    rig = believed()
    job = rig.submit(SEND)
    rig.takes = 0
    rig.rx(b"\r\n> ")
    rig.rx(b"\r\nRDY\r\n")
    rig.takes = None
    rig.drain()
    assert isinstance(job.error, ModemRestartedError)
    assert rig.take_sent() == [b"AT+SEND=5\r"]


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


# -- what may have hidden a restart --------------------------------------------------------------------------------


STARTING = Grammar(urcs=(UrcRule(P("APP RDY"), "startup"), UrcRule(P("+CPIN: {state:text}"), "sim"), *GRAMMAR.urcs))


@pytest.mark.parametrize(
    "data",
    [
        b"\r\nRD\r\n",  # a byte of RDY lost
        b"\r\nR\xffY\r\n",
        b"\r\nOK\r\n",  # a final result that nobody waits for
        b"\r\n+CME ERROR: 3\r\n",
        b"\r\nAPP RDY\r\n",
        b"\r\n+CPIN: READY\r\n",
        b"x" * 5000 + b"\r\n",
    ],
)
def test_what_may_be_the_trace_of_a_restart_raises_the_doubts(data):
    rig = Rig()
    rig.line.set_grammar(STARTING)
    before = rig.line.doubts
    rig.rx(data)
    assert rig.line.doubts > before
    assert rig.line.doubted
    assert rig.line.epoch == 0


def test_a_line_that_does_not_belong_into_an_answer_raises_them():
    rig = Rig()
    before = rig.line.doubts
    job = rig.submit(CSQ)
    rig.rx(b"\r\n+CSQ: 1,2\r\n\r\nRD\r\n\r\nOK\r\n")
    assert job.reply.extra == ("RD",)
    assert rig.line.doubts == before + 1


def test_a_time_out_and_getting_into_step_raise_them():
    rig = Rig()
    before = rig.line.doubts
    rig.submit(CSQ)
    rig.go(2.5)
    after = rig.line.doubts
    assert after > before
    rig.submit(AT)
    rig.go(1.0)
    rig.rx(P1)
    rig.go(1.0)
    assert rig.line.doubts > after


def test_ordinary_traffic_leaves_them_alone():
    rig = Rig()
    before = rig.line.doubts
    rig.submit(CSQ)
    rig.rx(b'\r\n+CSQ: 1,2\r\n\r\n+U: "recv",1\r\n\r\nOK\r\n\0\r\n')
    rig.submit(CSQ)
    rig.rx(b"\r\nERROR\r\n")
    rig.rx(b'\r\n+U: "recv",1\r\n')
    assert rig.line.doubts == before
