"""What may follow an exchange in which data was counted, if the line lost a byte of the count.

One digit less in front of a payload, and the rest of it is read as lines: whoever is at the far end of the connection
has written them. One digit less in a command that sends, and the modem reads the rest as commands. Neither can be
prevented on a line that has no error detection. But the rest comes at once, so it is looked at what does:

- After an answer whose payload is shorter than it could have been, and after one that came unasked, nothing about
  another connection is sent, or taken from the line, until the line has been quiet for a moment.
- What nothing explains then, or a final result that nobody waits for behind a send, is reported: somebody's data was
  cut, or carried out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from modemtls.at.grammar import Outcome
from modemtls.at.job import LIKE_A_REPORT, Phase
from modemtls.errors import SyncError

if TYPE_CHECKING:
    from modemtls.at import events as ev
    from modemtls.at.exchange import Exchange, Topic
    from modemtls.at.grammar import FinalRule
    from modemtls.at.job import Job
    from modemtls.at.line import LineState

__all__ = ["Aftermath", "Kind", "topic_of"]

Kind: TypeAlias = Literal["answer", "push", "send"]

# How many bytes' time of silence ends what was under way: twice what a USB serial adapter hands over at a time (a UART:
# 8 or 14). And at least so long (s): such adapters keep what they have for 16 ms by default (chromiumos hdctools,
# review 195312), and modems pause too.
_QUIET_BYTES: Final = 128
_LEAST_QUIET: Final = 0.02
# What comes later (s) than this after the byte before does not belong to it, however late this process reads it.
_APART: Final = 0.03
# The largest payload that is taken for pushed in one piece, bytes: what vendors' manuals give.
_MOST_PUSHED: Final = 1500
# Where the line's rate is not known: the usual one, s a byte.
_BYTE_TIME: Final = 10 / 115200

_WHY: Final[dict[Kind, str]] = {
    "answer": "more came behind what the modem read out than it had announced, so bytes of it were lost on the line",
    "push": "more came behind what the modem pushed than it had announced, so bytes of it were lost on the line",
    "send": "the modem answered more than it was asked: it may have taken data for commands, and not have sent it",
}
_FAIL: Final = Outcome.FAIL
# Meanings of lines that are never held back: they end more than one connection's data.
_AT_ONCE: Final = frozenset({"boot", "startup", "sim"})


class Aftermath:
    """The moment after data was counted, on one line.

    ``kind``: after what, None most of the time. ``topic``: whose data it was. ``unproven``: whose data was sent last,
    until an answer with lines of its own shows that the modem reads commands again. ``held``: what came of other
    topics meanwhile, each with the time of it.
    """

    __slots__ = ("_byte_time", "_cap", "_last", "_line", "_quiet", "held", "kind", "topic", "unproven")

    def __init__(self, line: LineState) -> None:
        self._line = line
        self.kind: Kind | None = None
        self.topic: Topic | None = None
        self.unproven: Topic | None = None
        self.held: list[ev.Unsolicited] = []
        self._last = 0.0
        self._cap = 0.0
        self.set_rate(0.0)

    def set_rate(self, byte_time: float) -> None:
        """Set what a byte takes on the line (s), 0 if that is not known."""
        self._byte_time = byte_time or _BYTE_TIME
        self._quiet = max(_QUIET_BYTES * self._byte_time, _LEAST_QUIET)

    # -- it begins and ends ------------------------------------------------------------------------------------------

    def answered(self, job: Job, rule: FinalRule, now: float) -> None:
        """Take note of a final result."""
        lines = job.lines
        if lines:
            self.unproven = None
            if self.kind == "send":
                self.kind = None
        ex = job.ex
        topic = ex.topic
        if topic is None or rule.outcome is _FAIL:
            return
        if ex.prompt is not None:
            self.unproven = topic
            if not self.held:
                self.kind = "send"
                self.topic = topic
                self._last = now
            return
        most = ex.most
        if most < 0:
            return
        got = 0
        for line in lines:
            if line.payload is not None:
                got += len(line.payload)
        if got < most or not most:
            self._begin("answer", topic, (most or _MOST_PUSHED) - got, now)
        elif self.kind is not None and not self.held:
            self.kind = None

    def pushed(self, topic: Topic | None, size: int, now: float) -> None:
        """Take note of a payload that came unasked."""
        if topic is not None and size < _MOST_PUSHED and self.kind != "answer":
            self._begin("push", topic, _MOST_PUSHED - size, now)

    def _begin(self, kind: Kind, topic: Topic, missing: int, now: float) -> None:
        if self.held:
            return  # until that is settled
        self.kind = kind
        self.topic = topic
        self._last = now
        self._cap = now + missing * self._byte_time + self._quiet

    def more(self, now: float) -> None:
        """Take note that bytes came."""
        if self.held or now <= self._last + max(self._quiet, _APART):
            self._last = now
        else:
            self.kind = None

    def due(self) -> float:
        """Return when the line has been quiet for long enough, if nothing more comes."""
        return min(self._last + self._quiet, self._cap)

    def over(self) -> list[ev.Unsolicited]:
        """Forget all of it; return what was held back."""
        self.kind = None
        self.unproven = None
        held, self.held = self.held, []
        return held

    # -- what it means for others --------------------------------------------------------------------------------------

    def wants_look(self, ex: Exchange) -> bool:
        """Whether what has arrived should be taken in before this is sent."""
        return ex.prompt is not None if self.kind == "send" else ex.topic != self.topic

    def lets(self, ex: Exchange, now: float) -> bool:
        """Whether this may be sent now; if not, :meth:`due` says when to ask again."""
        if self.kind == "send" or self.kind is None:
            return True
        # What is held back of its own may be about to be of a former use of the number.
        if ex.topic == self.topic and not any(map(self._own, self.held)):
            return True
        if now < self.due():
            return False
        if not self.held:
            self.kind = None
        return True

    def concerns(self, ex: Exchange) -> bool:
        """Whether an answer to this may have been written by somebody else's peer."""
        return self.kind == "push" and ex.topic != self.topic

    def _own(self, event: ev.Unsolicited) -> bool:
        """Whether it is about the one whose data was counted; not every modem says which kind of socket it means."""
        topic = topic_of(event)
        if topic is None or self.topic is None or event.rule is None:
            return False
        return topic[1] == self.topic[1] and event.rule.family in {None, self.topic[0]}

    def holds(self, event: ev.Unsolicited) -> bool:
        """Keep what concerns others back; whether it was."""
        if self.kind == "send" or (not self.held and self._own(event)):
            return False
        rule = event.rule
        if rule is not None and rule.means in _AT_ONCE:
            return False
        self.held.append(event)
        return True

    def _culprit(self, text: bytes, *, result: bool, in_step: bool) -> tuple[Topic, Kind] | None:
        """Tell whose data it is a trace of, if any, that a line came which nothing explains.

        ``result``: it looks like a final result. ``in_step``: no result of an earlier command can still come.
        """
        if self.kind is not None and self.topic is not None:
            if result or not LIKE_A_REPORT.fullmatch(text):
                return self.topic, self.kind
        elif result and in_step and self.unproven is not None:
            return self.unproven, "send"
        return None

    # -- it happened ---------------------------------------------------------------------------------------------------

    def release(self, now: float) -> None:
        """Let what was held back pass: nothing has shown that somebody's peer may have written it."""
        for event in self.over():
            self._line.unsolicited(event, now, held=True)

    def stray(self, text: bytes, now: float, *, result: bool) -> None:
        """Take a line that nothing explains; ``result``: it looks like a final result."""
        line = self._line
        found = self._culprit(text, result=result, in_step=line.doubt is None)
        if found is None:
            return
        topic, kind = found
        reason = _WHY[kind]
        line.suspect(reason)
        if line.on_spill is not None:
            line.on_spill(topic, kind, reason)
        job = line.job
        if job is not None and job.phase is Phase.GRACE and job.final is not None and not job.final[3]:
            line.give_up(job, now, SyncError(f"{job.ex.text}: its answer may have been forged: {reason}"))
        for event in self.over():
            self._lose(event, kind, reason, now)

    def _lose(self, event: ev.Unsolicited, kind: Kind, reason: str, now: float) -> None:
        """Take what was held back for what somebody's peer may have written."""
        line = self._line
        if event.payload is not None:
            line.unsolicited(event, now, complete=False, held=True)
        elif event.rule is not None and event.rule.means == "data":
            line.unsolicited(event, now, held=True)  # a read too many does no harm
        elif (topic := topic_of(event)) is not None and line.on_spill is not None:
            line.on_spill(topic, kind, f"a report about it may have been forged: {reason}")


def topic_of(event: ev.Unsolicited) -> Topic | None:
    """Return whose report it is, if it says so."""
    number = event.values.get("socket")
    if event.rule is None or not isinstance(number, int):
        return None
    return (event.rule.family or "tls", number)
