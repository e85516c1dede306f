"""The state of one AT line: the exchange in flight, its timers, doubt and recovery, the boot epoch.

A restart that announces itself ends the boot epoch. One whose announcement was lost or garbled does not, but it leaves
traces: whatever may be one is counted (:attr:`LineState.doubts`), and who believes something about the modem asks again
when the count has changed.

No I/O and no thread: bytes and the time are handed in, bytes to send are handed out (:attr:`Line.output`). The channel
calls it under its lock.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, Final

from modemtls.at import events as ev
from modemtls.at.aftermath import Aftermath, topic_of
from modemtls.at.codec import Codec
from modemtls.at.exchange import NoAnswerError, Urc
from modemtls.at.grammar import Outcome
from modemtls.at.hiding import Secrets
from modemtls.at.job import Job, Phase, text_of
from modemtls.at.recovery import STANDARD_RECOVERY
from modemtls.at.resync import Doubt, Resync
from modemtls.at.tracing import Tracer
from modemtls.at.witness import Witness
from modemtls.errors import ModemRestartedError, SyncError

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.at.aftermath import Kind
    from modemtls.at.exchange import Topic
    from modemtls.at.grammar import Grammar, LinePattern
    from modemtls.at.recovery import Recovery
    from modemtls.at.trace import Trace

__all__ = ["LineState"]

_log = logging.getLogger(__name__)

# A counted payload comes in one go: this long a gap (s) and the rest is lost. Above the pauses that a modem makes
# between packets, far below any command's time-out.
PAYLOAD_STALL: Final = 2.0
# How long (s) the port may take no byte before a write counts as stuck: flow control that never ends.
WRITE_STALL: Final = 10.0
# A good result without a line that it must have may be a late one of an earlier command: the right answer would follow
# within this time (s).
GRACE: Final = 0.5
# Final results that tell of an exchange nobody waits for (V.250 table 2, 27.007 9.2, 27.005 3.2.5).
_STRAY: Final = re.compile(rb"OK|ERROR|\+CM[ES] ERROR:.*")
# Meanings of unsolicited results that a modem prints when it starts, though at other times as well.
_STARTING: Final = frozenset({"startup", "sim"})
_ANSWER, _PROMPT, _PAYLOAD = Phase.ANSWER, Phase.PROMPT, Phase.PAYLOAD  # asked for with every command
_LOST: Final = "something in its answer makes no sense: data may be missing"
_BREAKS: Final = re.compile(rb"[\r\n\0]+")


class LineState:
    """One AT line.

    Hooks: ``on_urc`` and ``on_watch`` for what was not asked for, ``on_epoch`` when a boot epoch ended, ``on_orphan``
    when an exchange did that its caller left, ``on_keep`` when one did after which its thread keeps the line,
    ``on_step`` when recovery did (with the error that it failed with, if it did), ``on_output`` when there is something
    to send, ``on_spill`` when somebody's data was cut or taken for commands. ``unsent`` tells how many bytes of what
    was written have not left yet, where that can be known.
    """

    def __init__(
        self, grammar: Grammar, *, now: float, trace: Trace | None = None, recovery: Recovery | None = None
    ) -> None:
        self.codec = Codec(grammar, keep_raw=trace is not None)
        self._frames = self.codec.matcher
        self.grammar = grammar
        self.recovery = recovery or STANDARD_RECOVERY
        self.secrets = Secrets()
        self.tracer = Tracer(trace, self.secrets) if trace is not None else None
        self.on_urc: Callable[[Urc], None] | None = None
        self.on_watch: Callable[[ev.WatchKey, Urc], None] | None = None
        self.on_epoch: Callable[[str, ModemRestartedError], None] | None = None
        self.on_step: Callable[[SyncError | None], None] | None = None
        self.on_orphan: Callable[[Job], None] | None = None
        self.on_keep: Callable[[Job], None] | None = None
        self.on_output: Callable[[], None] | None = None
        self.on_spill: Callable[[Topic, Kind, str], None] | None = None
        self.unsent: Callable[[], int] | None = None
        self.after = Aftermath(self)
        self.output = b""  # what waits to be written, in order
        self.terminator: bytes | None = None  # what was found to end a command; None: what each exchange says
        self.byte_time = 0.0  # s that a byte takes on the line
        self.epoch = 0
        self.doubts = 0  # how often something happened that may have hidden a restart; never falls
        self.doubted = ""  # the last of it, in words
        self._echo: Witness[bool] = Witness()
        self._form: Witness[int] = Witness()
        self._echoed = False  # since the last command
        self.job: Job | None = None  # in flight
        self.pending: Job | None = None  # waits for recovery or a guard time, nothing sent
        self.doubt: Doubt | None = Doubt("the port was just opened", unknown=True)
        self.resync: Resync | None = None
        self.not_before = 0.0  # nothing is sent earlier: guard times
        self.last_read = now
        self.last_write = now
        self._virgin = True  # nothing has been answered since the modem started: nothing is believed about it

    # -- what was set ----------------------------------------------------------------------------------------------

    @property
    def echo(self) -> bool | None:
        """What ATE set, None if that is not known or the modem does not do as it says."""
        return self._echo.value

    @echo.setter
    def echo(self, value: bool | None) -> None:
        self._echo.set(value)

    @property
    def error_form(self) -> int | None:
        """What +CMEE set, None if that is not known or the modem does not do as it says."""
        return self._form.value

    @error_form.setter
    def error_form(self, value: int | None) -> None:
        self._form.set(value)

    # -- what the channel asks -------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether an exchange is in flight or the line is being recovered."""
        return self.job is not None or self.resync is not None

    @property
    def free(self) -> bool:
        """Whether an exchange may be submitted."""
        return self.job is None and self.pending is None

    def timer(self) -> float | None:
        """Return when :meth:`tick` has to be called next, if nothing arrives."""
        job = self.job
        first = job.timer if job is not None else None
        if (
            self.resync is None
            and self.pending is None
            and not self.output
            and self._frames.frame is None
            and not self.after.held
        ):
            return first
        if self.resync is not None:
            first = _sooner(first, self.resync.timer)
        elif self.pending is not None:
            first = _sooner(first, self.not_before)
        if self.codec.in_payload:
            first = _sooner(first, self.last_read + PAYLOAD_STALL)
        if self.output:
            first = _sooner(first, self.last_write + WRITE_STALL)
        if self.after.held:
            first = _sooner(first, self.after.due())
        return first

    # -- what the channel tells ------------------------------------------------------------------------------------

    def submit(self, job: Job, now: float) -> None:
        """Start an exchange, or keep it until the line is in step and guard times are over. The line must be free."""
        if (
            self.doubt is None
            and self.resync is None
            and self.not_before <= now
            and (self.after.kind is None or self.after.kind == "send" or self._may_follow(job, now))
        ):
            self._send(job, now)
        else:
            self.pending = job
            self.tick(now)

    def _may_follow(self, job: Job, now: float) -> bool:
        """Whether a command may be sent already, after data that may have been cut."""
        if self.after.lets(job.ex, now):
            return True
        self.not_before = max(self.not_before, self.after.due())
        return False

    def withdraw(self, job: Job) -> bool:
        """Take back an exchange of which nothing was sent."""
        if self.pending is not job:
            return False
        self.pending = None
        return True

    def recover(self, now: float) -> None:
        """Begin to bring the line into step, if it is in doubt."""
        if self.doubt is not None and self.resync is None and self.job is None:
            self._note(now, f"getting into step: {self.doubt.reason}")
            self.resync = Resync(self, self.doubt, now)
            self.resync.step(now)

    def suspect(self, reason: str) -> None:
        """Doubt that commands and answers are in step."""
        self.raise_doubt(reason)
        if self.doubt is None:
            self.doubt = Doubt(reason)

    def raise_doubt(self, reason: str) -> None:
        """Count something that may have hidden a restart. Commands and answers may well be in step."""
        self.doubts += 1
        self.doubted = reason

    def wrote(self, count: int, now: float) -> None:
        """Take note that the port took the first ``count`` bytes of the output."""
        self.last_write = now
        self.output = self.output[count:]
        if not self.output and self.job is not None:
            self._written(self.job, now)

    def feed(self, data: bytes, now: float) -> None:
        """Take bytes from the modem."""
        self.last_read = now
        if self.after.kind is not None:
            self.after.more(now)
        for event in self.codec.feed(data):
            if type(event) is ev.Final and self.tracer is None:
                self._final(event, now)
            else:
                self._event(event, now)

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self.codec.in_payload and now >= self.last_read + PAYLOAD_STALL:
            for event in self.codec.abandon():
                self._event(event, now)
        if self.output and now >= self.last_write + WRITE_STALL:
            self._stuck(now)
        if self.after.held and now >= self.after.due():
            self.after.release(now)
        job = self.job
        if job is not None and job.timer is not None and now >= job.timer:
            self._expired(job, now)
        if self.resync is not None:
            self.resync.step(now)
        elif self.pending is not None and self.job is None:
            if self.doubt is not None:
                self.recover(now)
            elif now >= self.not_before and self._may_follow(self.pending, now):
                job, self.pending = self.pending, None
                self._send(job, now)

    def recovered(self, now: float) -> None:
        """Commands and answers are in step again."""
        self._note(now, "in step")
        self.after.release(now)
        self.raise_doubt("commands and answers had to be brought into step")
        self.resync = None
        self.doubt = None
        self.codec.late_prompt = None
        if self.on_step is not None:
            self.on_step(None)
        self.tick(now)

    def unrecoverable(self, error: SyncError, now: float) -> None:
        """They could not be brought into step: who waits fails; whoever comes next has it tried again."""
        self._note(now, str(error))
        self.resync = None
        self.codec.end()
        self.output = b""
        if self.on_step is not None:
            self.on_step(error)
        job, self.pending = self.pending, None
        if job is not None:
            job.fail(error)
            self._done(job)

    def end_epoch(self, reason: str, now: float, *, heard: bool = False) -> None:
        """Take it that the modem lost its state: nothing that is believed about it holds.

        ``heard``: it has read the command in flight since, and will carry it out.
        """
        self.epoch += 1
        self._virgin = True
        self.echo = None
        self.error_form = None
        unsent = bool(self.output)
        self.output = b""
        self.codec.late_prompt = None
        self.after.over()
        self._note(now, f"epoch {self.epoch}: {reason}")
        error = ModemRestartedError(f"the modem restarted: {reason}")
        job = self.job
        self.job = None
        self.codec.end()
        doubted = job.ex if job is not None else None
        self.doubt = Doubt(reason, doubted)
        if job is not None and heard and not job.prompted:
            self.codec.late_prompt = job.ex.prompt
        if job is not None and (job.prompted or (heard and job.ex.prompt is not None)) and (unsent or job.wants_more):
            # Should the notice be a false one, the modem still waits for payload; or it is going to.
            self.doubt.data_phase(job.ex.input_timeout or self.recovery.input_timeout, now)
        failed = [one for one in (job, self.pending) if one is not None]
        self.pending = None
        if self.resync is not None:
            self.resync = Resync(self, self.doubt, now)
        if self.on_epoch is not None:
            self.on_epoch(reason, error)
        for one in failed:
            one.fail(error)
            self._done(one)

    def set_grammar(self, grammar: Grammar) -> None:
        """Change what may come at any time."""
        self.grammar = grammar
        self.codec.set_grammar(grammar)

    def broken(self, now: float) -> None:
        """Get over an exception that broke in half-way: what was being done is in doubt."""
        self.after.release(now)
        self.codec.restart()
        self.output = b""
        if self.job is not None:
            self.give_up(self.job, now, SyncError(f"{self.job.ex.text}: interrupted"))
        if self.resync is not None:
            self.resync = None
        self.suspect("an interruption")

    def fail_all(self, error: BaseException) -> None:
        """End everything: the port is gone."""
        self.after.release(self.last_read)
        self.output = b""
        jobs = [one for one in (self.job, self.pending) if one is not None]
        self.job = self.pending = self.resync = None
        for one in jobs:
            one.fail(error)
            self._done(one)

    # -- sending ---------------------------------------------------------------------------------------------------

    def _send(self, job: Job, now: float) -> None:
        ex = job.ex
        self.job = job
        job.started = True
        self._echoed = False
        job.phase = _ANSWER if ex.prompt is None else _PROMPT
        job.timer = None  # starts when the line is written
        self.secrets.near = job.secret
        self.put(ex.line + (self.terminator or ex.terminator), now)
        # Behind the writing: while the modem is at work already. Nothing is read before this returns.
        self.codec.begin(ex, job.expects)
        if job.secret:
            self.secrets.sent(ex, job.payload)
        if self.tracer is not None:
            self.tracer.command(ex, self.terminator or ex.terminator, now)

    def put(self, data: bytes, now: float) -> None:
        """Queue bytes for the port."""
        if not self.output:
            self.last_write = now
        self.output += data
        if self.on_output is not None:
            self.on_output()

    def _written(self, job: Job, now: float) -> None:
        """Start the modem's time: the output is empty."""
        phase = job.phase
        if phase is _ANSWER or phase is _PROMPT:
            ex = job.ex
            job.timer = now + ex.timeout + self.byte_time * len(ex.line)
        elif phase is _PAYLOAD:
            size = len(job.payload)
            if job.position < size:
                job.phase = Phase.SETTLE
                job.timer = now + (job.ex.payload_quiet if job.breaks else job.ex.payload_pause)
            else:
                job.phase = _ANSWER
                job.timer = now + job.ex.timeout + self.byte_time * size

    def _payload(self, job: Job, now: float) -> None:
        """Hand out the payload, or its next piece."""
        ex = job.ex
        data = job.payload
        if job.position == 0:
            self.codec.payload_sent(data)
        if job.breaks:
            end = next((one for one in job.breaks if one > job.position), len(data))
        else:
            end = job.position + ex.payload_chunk if ex.payload_chunk else len(data)
        piece = data[job.position : end]  # the same object, if it is all
        job.position += len(piece)
        job.phase = _PAYLOAD
        job.timer = None
        if self.tracer is not None:
            self.tracer.payload(ex, piece, now)
        if piece:
            self.put(piece, now)
        else:
            self._written(job, now)

    def _stuck(self, now: float) -> None:
        """Give up: the port takes no bytes any more."""
        job = self.job
        self.output = b""
        if job is not None:
            self.give_up(job, now, NoAnswerError(f"{job.ex.text}: the modem takes no bytes (flow control?)"))
        elif self.resync is not None:
            self.resync.stuck(now)

    def _expired(self, job: Job, now: float) -> None:
        if job.phase is Phase.SETTLE:
            self._payload(job, now)
        elif job.phase is Phase.GRACE:
            assert job.final is not None
            rule, text, values, missing = job.final
            if not missing and now < self.after.due():
                job.timer = self.after.due()
                return
            self.codec.end()
            self.job = None
            self._virgin = False
            came = {one.index for one in job.lines}
            missing = tuple([index for index in missing if index not in came])
            if missing:
                self._doubt_exchange(job, f"{job.ex.text} was answered by {self._shown(text, rule.pattern)} alone")
            self.after.answered(job, rule, now)
            job.settle(rule, text, values, missing, self.secrets)
            self._done(job)
        else:
            what = "no prompt" if job.phase is Phase.PROMPT else "no answer"
            within = f" within {job.ex.timeout:g} s" if not job.extra else f", but {', '.join(job.extra)}"
            self.give_up(job, now, NoAnswerError(f"{job.ex.text}: {what}{within}"))

    def give_up(self, job: Job, now: float, error: BaseException) -> None:
        """End the exchange in flight with an error; its answer may still come."""
        self.job = None
        self._note(now, f"given up: {error}")
        self._doubt_exchange(job, str(error))
        for event in self.codec.abandon():
            self._event(event, now)
        self.codec.end()
        job.fail(error)
        self._done(job)

    def _doubt_exchange(self, job: Job, reason: str) -> None:
        """Doubt the line because of an exchange, which may have left the modem waiting for payload."""
        self.raise_doubt(reason)
        ex = job.ex
        doubt = Doubt(reason, ex)
        if ex.prompt is not None:
            if not job.prompted:
                self.codec.late_prompt = ex.prompt
            doubt.data_phase(ex.input_timeout or self.recovery.input_timeout, max(self.last_write, self.last_read))
        self.doubt = doubt

    def _done(self, job: Job) -> None:
        if job.orphaned:
            if self.on_orphan is not None:
                self.on_orphan(job)
        elif job.fails and job.keeps is not None and self.on_keep is not None:
            self.on_keep(job)

    # -- events ----------------------------------------------------------------------------------------------------

    def _event(self, event: ev.Event, now: float) -> None:
        if self.tracer is not None:
            self.tracer.event(event, self.job, now)
        match event:
            case ev.Final():
                self._final(event, now)
            case ev.Info():
                if self.resync is None and self.job is not None:
                    if self.secrets.near:
                        expected = self.job.ex.lines[event.index]
                        self.secrets.told(event.text, expected.pattern, expected.bound, event.payload)
                    self.job.info(event, self.secrets)
            case ev.Unsolicited():
                self.unsolicited(event, now)
            case ev.Prompt():
                self._prompt(event, now)
            case ev.Echo():
                self._echoed = True
                if self.echo is False:
                    self._contradicted(self._echo, "it echoes although echo was switched off", now, heard=True)
            case ev.Unknown():
                self._unknown(event.text, now)
            case ev.Overflow():
                self.raise_doubt("a line without an end")
                if self.resync is None:
                    self.after.stray(b"", now, result=self.after.kind is not None)
                if self.job is not None:
                    self.job.note(b"<%d bytes without a line end>" % event.size, self.secrets)
            case ev.Broken():
                self._broken(event, now)
            case _:
                pass

    def _final(self, event: ev.Final, now: float) -> None:
        guard = self.grammar.guard_after_result
        if guard:
            self.not_before = max(self.not_before, now + guard)
        if self.resync is not None:
            self.resync.final(event, now)
            return
        job = self.job
        if job is None:
            return
        rule = event.rule
        if rule.form and self._form.told is not None:
            if not self._foreign_form(rule.form):
                self._form.prove()
            elif self._form.value is not None and self._contradicted(
                self._form,
                f"it reports errors in a form that was not selected ({self._shown(event.text, rule.pattern)})",
                now,
            ):
                return
        if event.missing:
            job.final = (rule, event.text, event.values, event.missing)
            if job.phase is not Phase.PAYLOAD:
                job.phase = Phase.GRACE
                job.timer = now + GRACE
            return
        if not self._echo.proven and self._echo.told is False and not self._echoed:
            self._echo.prove()
        self._virgin = False
        if job.extra and rule.outcome is Outcome.OK and job.may_be_unread():
            self.give_up(job, now, SyncError(f"{job.ex.text}: {_LOST}"))
            return
        if self.after.kind == "push" and self.after.concerns(job.ex):
            job.final = (rule, event.text, event.values, ())
            job.phase = Phase.GRACE
            job.timer = self.after.due()
            return
        if self.output or (job.prompted and (job.wants_more or (self.unsent is not None and self.unsent()))):
            # An answer before its payload was complete: the modem may or may not want the rest. Never pad.
            self.output = b""
            reason = f"{job.ex.text} was answered before its payload was sent"
            if rule.outcome is not Outcome.FAIL:  # it took less for the whole, or it answers something else
                self.give_up(job, now, SyncError(reason))
                return
            self._doubt_exchange(job, reason)
        self.job = None
        if job.ex.topic is not None or job.lines:
            self.after.answered(job, rule, now)
        job.settle(rule, event.text, event.values, (), self.secrets)
        if job.orphaned or job.keeps is not None:
            self._done(job)

    def _contradicted(self, witness: Witness[Any], what: str, now: float, *, heard: bool = False) -> bool:
        """Take what the modem does although it was told otherwise: the epoch ends, unless it never does as told."""
        if witness.contradict():
            self.end_epoch(what, now, heard=heard)
            return True
        self.raise_doubt(f"{what}, as it always does")
        self._note(now, self.doubted)
        _log.warning("%s, as it always does: a restart will not show by that", what)
        return False

    def _foreign_form(self, form: str) -> bool:
        """Whether an error came in a form of 27.007 9.1 that was not selected.

        Numbers though text was selected are no sign: some modems mix. A bare ERROR is legal in any form.
        """
        return (form == "verbose" and self._form.told == 1) or self._form.told == 0

    def _prompt(self, event: ev.Prompt, now: float) -> None:
        job = self.job
        if event.late or job is None:
            self.raise_doubt("a prompt that nobody waits for")
            doubt = self.doubt
            if doubt is None:
                doubt = self.doubt = Doubt("a prompt that nobody waits for", unknown=True)
            own = doubt.exchange.input_timeout if doubt.exchange is not None else None
            doubt.data_phase(own or self.recovery.input_timeout, now)
            if self.resync is not None:
                self.resync.prompt(now)
            return
        job.prompted = True
        assert job.ex.prompt is not None
        if job.ex.prompt.settle:
            job.phase = Phase.SETTLE
            job.timer = now + job.ex.prompt.settle
        else:
            self._payload(job, now)

    def unsolicited(self, event: ev.Unsolicited, now: float, *, complete: bool = True, held: bool = False) -> None:
        """Pass on what nobody asked for; ``held``: it was held back until now."""
        rule = event.rule
        if self.after.kind is not None and complete and not held and self.after.holds(event):
            return
        if event.payload is not None and complete and not held:
            self.after.pushed(topic_of(event), len(event.payload), now)
        pattern = rule.pattern if rule is not None else event.watches[0][0].pattern
        urc = Urc(rule, self._shown(event.text, pattern), event.values, event.payload, complete)
        if self.on_watch is not None:
            for key, values in event.watches:
                one = urc if values is event.values else Urc(rule, urc.text, values, event.payload, complete)
                self.on_watch(key, one)
        if rule is not None and rule.means == "boot" and not self._virgin:
            self.end_epoch(f"it announced itself ({urc.text})", now)
        elif rule is not None and rule.means == "boot" and self.resync is not None:
            # What was in doubt is over, and probes of before are lost.
            self.raise_doubt(f"it announced itself ({urc.text})")
            self.codec.end()
            self.doubt = Doubt(f"it announced itself ({urc.text})")
            self.resync = Resync(self, self.doubt, now)
        if rule is not None and rule.means in _STARTING:
            self.raise_doubt(f"it said {urc.text}, as when it starts")
            if rule.means == "startup" and self.doubt is not None:
                self.doubt.result(self.recovery.quiet, now)  # it does start: no data phase is left
                if self.resync is not None:
                    self.resync.stray(now, result=True)
        if rule is not None and self.on_urc is not None:
            self.on_urc(urc)
        guard = self.grammar.guard_after_urc
        if guard:
            self.not_before = max(self.not_before, now + guard)

    def _unknown(self, text: bytes, now: float) -> None:
        # The notice of a restart, garbled or cut, looks like this. Not quoted: it may be a piece of a secret's echo.
        self.raise_doubt("a line that the profile does not know")
        result = _STRAY.fullmatch(text) is not None
        if self.resync is not None:
            self.resync.stray(now, result=result or self._is_late(text))
            return
        self.after.stray(text, now, result=result)
        job = self.job
        if job is not None:
            job.note(text, self.secrets)
            if text and job.may_be_data(text):
                self.give_up(job, now, SyncError(f"{job.ex.text}: {_LOST}"))
            elif result and job.ex.prompt is not None:
                self._foreign_result(job, text, now)
        elif result or self._is_late(text):
            shown = text_of(self.secrets.masked(text))
            self._note(now, f"stray result {shown}")
            if self.doubt is None:
                self.doubt = Doubt(f"the result {shown} that nobody waits for")
            else:
                self.doubt.result(self.recovery.quiet, now)

    def _is_late(self, text: bytes) -> bool:
        """Whether a line is a final result of the exchange that put the line in doubt."""
        ex = self.doubt.exchange if self.doubt is not None else None
        return ex is not None and any(rule.pattern.match(text) is not None for rule in ex.finals)

    def _foreign_result(self, job: Job, text: bytes, now: float) -> None:
        """Take a final result that is none of an exchange with a payload, so whose it is nobody knows."""
        if job.prompted:
            reason = f"answered by {text_of(text)}, which does not say what became of the data"
            self.give_up(job, now, SyncError(f"{job.ex.text}: {reason}"))
        elif job.phase is _PROMPT and job.timer is not None:
            job.timer = min(job.timer, now + GRACE)  # it may be a late one, and the prompt follow

    def _broken(self, event: ev.Broken, now: float) -> None:
        """Take a payload that stopped, or lost bytes: it may hold the notice of the restart that stopped it."""
        reason = f"a payload stopped after {len(event.data)} of {event.size} bytes"
        data = event.data
        if len(data) in {0, event.size}:
            reason = f"what follows a payload of {event.size} bytes is not what must: data may be missing"
            data = data[-_NOTICE:]  # of a notice only what the payload swallowed; the peer wrote the rest
        self._note(now, reason)
        self.raise_doubt(reason)
        for piece in _BREAKS.split(data)[1:]:
            rule = self.codec.boot(piece)
            if rule is not None:
                shown = self._shown(piece, rule.pattern)
                if not self._virgin:
                    self.end_epoch(f"it announced itself in the middle of a payload ({shown})", now)
                if self.on_urc is not None:
                    self.on_urc(Urc(rule, shown, dict(rule.constants)))
                break
        if event.index < 0:
            cut = ev.Unsolicited(event.rule, event.text, event.values, event.data, event.watches)
            self.unsolicited(cut, now, complete=False)
            self.suspect(reason)
        elif self.job is not None:
            self.give_up(self.job, now, SyncError(f"{self.job.ex.text}: {reason}"))

    def _shown(self, text: bytes, pattern: LinePattern) -> str:
        """Return a line that matched a pattern as errors and logs may show it."""
        return text_of(self.secrets.line(text, pattern))

    def _note(self, now: float, text: str) -> None:
        if self.tracer is not None:
            self.tracer.note(text, now)


# Bytes at the end of a payload of the wrong length among which a restart may have been announced.
_NOTICE: Final = 64


def _sooner(first: float | None, second: float | None) -> float | None:
    if first is None:
        return second
    return first if second is None or first <= second else second
