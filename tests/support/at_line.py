"""The state of the line with a clock that only moves when told: what goes out, what comes in, and when."""

from modemtls.at.exchange import Exchange, Expected
from modemtls.at.grammar import STANDARD_FINALS, FinalRule, Grammar, Outcome, PromptRule, UrcRule, compile_pattern
from modemtls.at.job import Job
from modemtls.at.line import LineState
from modemtls.at.recovery import Recovery, probe
from modemtls.errors import ModemTimeoutError

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

    def __init__(self, *, in_step=True, recovery=RECOVERY, takes=None, trace=None, grammar=GRAMMAR):
        self.now = 1000.0
        self.sent = []
        self.urcs = []
        self.epochs = []
        self.steps = []
        self.takes = takes  # None: all; else how many bytes each write takes
        self.line = LineState(grammar, now=self.now, recovery=recovery, trace=trace)
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


def timed_out(ex=CSQ, **kw):
    rig = Rig(**kw)
    job = rig.submit(ex)
    rig.go(ex.timeout)
    assert isinstance(job.error, ModemTimeoutError)
    rig.take_sent()
    return rig
