"""The state of the line when a modem restarts, or may have done so unnoticed."""

import pytest

from modemtls.at.exchange import Exchange
from modemtls.at.grammar import Grammar, PromptRule, UrcRule
from modemtls.errors import ModemRestartedError
from tests.support.at_line import AT, CSQ, GRAMMAR, OK, P1, SEND, P, Rig, timed_out

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


TWO_NOTICES = Grammar(urcs=(UrcRule(P("Ready"), "boot"), UrcRule(P("+MODEM: INIT,{what:text}"), "boot")))


@pytest.mark.parametrize("order", [(b"Ready", b"+MODEM: INIT,0"), (b"+MODEM: INIT,0", b"Ready")])
@pytest.mark.parametrize("between", ["nothing", "a probe that was not answered", "one that was"])
def test_different_notices_of_one_start_are_one_start(order, between):
    rig = believed(grammar=TWO_NOTICES)
    rig.rx(b"\r\n" + order[0] + b"\r\n")
    job = rig.submit(AT)
    if between != "nothing":
        rig.go(0.2)
        assert rig.take_sent() == [b"AT+P1?\r"]
    if between == "one that was":
        rig.rx(P1)
        assert rig.take_sent() == [b"AT\r"]
    rig.rx(b"\r\n" + order[1] + b"\r\n")
    if between != "one that was":
        rig.go(0.2)
        rig.rx(P1)
    rig.rx(OK)
    assert job.reply.ok
    assert rig.line.epoch == 1
    rig.rx(b"\r\n" + order[1] + b"\r\n")
    assert rig.line.epoch == 2, "commands were answered since: it has started again"


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


def echoes(rig):
    """Have the modem told not to echo, and echo all the same; the exchange."""
    rig.line.echo = False
    rig.line.doubt = None
    job = rig.submit(CSQ)
    rig.rx(b"AT+CSQ\r\r\n+CSQ: 20,99\r\n\r\nOK\r\n")
    return job


def tells_in_words(rig):
    rig.line.error_form = 1
    rig.line.doubt = None
    job = rig.submit(CSQ)
    rig.rx(b"\r\n+CME ERROR: operation not allowed\r\n")
    return job


@pytest.mark.parametrize("defies", [echoes, tells_in_words])
def test_a_modem_that_never_does_as_told_can_be_used_all_the_same(defies):
    rig = believed()
    assert isinstance(defies(rig).error, ModemRestartedError)
    doubts = rig.line.doubts
    assert defies(rig).reply is not None
    assert rig.line.doubts == doubts + 1  # it may have been a second restart, after all
    assert defies(rig).reply is not None
    assert (rig.line.epoch, rig.line.doubts) == (1, doubts + 1)
    assert rig.line.echo is None
    assert rig.line.error_form is None


@pytest.mark.parametrize(
    ("defies", "obeys"),
    [(echoes, b"\r\n+CSQ: 20,99\r\n\r\nOK\r\n"), (tells_in_words, b"\r\n+CME ERROR: 3\r\n")],
)
def test_one_that_was_seen_to_do_as_told_restarts_however_often_that_is(defies, obeys):
    rig = believed()
    for count in range(1, 5):
        rig.line.echo = False
        rig.line.error_form = 1
        rig.line.doubt = None
        rig.submit(CSQ)
        rig.rx(obeys)
        assert isinstance(defies_now(rig, defies).error, ModemRestartedError)
        assert rig.line.epoch == count


def defies_now(rig, defies):
    """Let it do otherwise without having been told anew."""
    rig.line.doubt = None
    job = rig.submit(CSQ)
    rig.rx(b"AT+CSQ\r" + OK if defies is echoes else b"\r\n+CME ERROR: operation not allowed\r\n")
    return job


@pytest.mark.parametrize(
    ("defies", "obeys"),
    [(echoes, b"\r\n+CSQ: 20,99\r\n\r\nOK\r\n"), (tells_in_words, b"\r\n+CME ERROR: 3\r\n")],
)
def test_one_that_was_taken_not_to_obey_is_believed_again_once_it_does(defies, obeys):
    rig = believed()
    for _ in range(2):
        defies(rig)
    assert rig.line.epoch == 1
    rig.line.echo = False
    rig.line.error_form = 1
    rig.submit(CSQ)
    rig.rx(obeys)
    assert isinstance(defies_now(rig, defies).error, ModemRestartedError)
    assert rig.line.epoch == 2


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
        b"x" * 9000,  # longer than a line may be, and no end to it
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


def test_a_prompt_that_nobody_waits_for_raises_them():
    rig = timed_out(SEND)
    before = rig.line.doubts
    rig.rx(b"\r\n> ")
    assert rig.line.doubts == before + 1


def test_getting_into_step_raises_them_by_itself():
    rig = Rig(in_step=False)
    before = rig.line.doubts
    rig.submit(AT)
    rig.go(1.0)
    rig.rx(P1)
    assert rig.take_sent()[-1] == b"AT\r"
    assert rig.line.doubts == before + 1


def test_ordinary_traffic_leaves_them_alone():
    rig = Rig()
    before = rig.line.doubts
    rig.submit(CSQ)
    rig.rx(b'\r\n+CSQ: 1,2\r\n\r\n+U: "recv",1\r\n\r\nOK\r\n\0\r\n')
    rig.submit(CSQ)
    rig.rx(b"\r\nERROR\r\n")
    rig.rx(b'\r\n+U: "recv",1\r\n')
    assert rig.line.doubts == before


@pytest.mark.parametrize("late", [0.0, 1.0])
def test_an_echo_of_an_upload_says_that_the_modem_will_wait_for_its_payload(late):
    """Probes would be its payload, one after the other, and its time-out never come."""
    rig = believed()
    rig.line.echo = False
    rig.submit(UPLOAD)
    rig.rx(b"AT+UP=5\r")
    assert rig.line.epoch == 1
    rig.take_sent()
    rig.submit(AT)
    rig.go(late)
    rig.rx(b"\r\nCONNECT\r\n")
    rig.go(59.5)
    assert rig.take_sent() == []
    rig.rx(b"\r\n+CME ERROR: 421\r\n")
    rig.go(0.5)
    assert rig.take_sent() == [b"AT+P1?\r"]
