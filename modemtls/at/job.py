"""An exchange on its way: from the first byte sent to the reply, whoever waits for it."""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Final

from modemtls.at.exchange import Line, Outcome, Reply
from modemtls.at.expect import flight_tables
from modemtls.errors import ModemRestartedError, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from modemtls.at import events as ev
    from modemtls.at.exchange import Exchange
    from modemtls.at.grammar import FinalRule, Value
    from modemtls.at.hiding import Secrets
    from modemtls.errors import ModemError

__all__ = ["Job", "Phase", "text_of"]

_REDACTED: Final = "***"


class Phase(enum.Enum):
    """Where an exchange is."""

    PENDING = "not sent yet"
    ANSWER = "waiting for the answer"
    PROMPT = "waiting for the prompt"
    SETTLE = "pausing before the payload"
    PAYLOAD = "sending the payload"
    GRACE = "waiting for what a result came without"
    DONE = "done"


#: An unsolicited result that the profile does not know looks like this; so it is no proof of anything.
LIKE_A_REPORT: Final = re.compile(rb"[+^*%#$&!][A-Z][A-Z0-9_]*(?::.*)?", re.DOTALL)

_PENDING, _DONE = Phase.PENDING, Phase.DONE

_plain: dict[int, tuple[FinalRule, Reply]] = {}
_PLAIN_LIMIT: Final = 256


def _plain_reply(rule: FinalRule, text: bytes) -> Reply:
    """Return a reply that is nothing but a literal final result, made once for each rule."""
    found = _plain.get(id(rule))
    if found is None:
        if len(_plain) >= _PLAIN_LIMIT:
            _plain.clear()
        # Holding the rule keeps its identity from being given to another.
        found = _plain[id(rule)] = (rule, Reply(rule.outcome, text_of(text), namespace=rule.namespace))
    return found[1]


def text_of(data: bytes) -> str:
    """Return bytes of a line as text that can be shown: in errors, in logs, on a terminal."""
    return printable(data.decode("utf-8", "backslashreplace"))


def _breaks(data: bytes, mark: bytes) -> list[int]:
    """Return the places of a silence that keeps ``mark`` from being one in ``data``, and lets it be one behind it."""
    found = []
    at = data.find(mark)
    while at >= 0:
        found.append(at + max(1, len(mark) - 1))
        at = data.find(mark, found[-1])
    return [*found, len(data)]


class Job:
    """One exchange in progress. Written by the line only, under the channel's lock."""

    # What most exchanges never change.
    orphaned = False
    prompted = False
    kept = False
    started = False  # whether any byte of it may have reached the modem
    finished = False
    position = 0  # bytes of the payload that have been handed out
    breaks: Sequence[int] = ()  # where it has to be silent within the payload
    timer: float | None = None
    final: tuple[FinalRule, bytes, Mapping[str, Value], tuple[int, ...]] | None = None
    lines: Sequence[Line] = ()
    extra: Sequence[str] = ()
    reply: Reply | None = None
    error: BaseException | None = None

    def __init__(
        self,
        ex: Exchange,
        on_orphan: Callable[[Reply | BaseException], None] | None = None,
        epoch: int | None = None,
        payload: bytes | None = None,
        keeps: int | None = None,
        still: Callable[[], ModemError | None] | None = None,
        on_lines: Callable[[Sequence[Line]], None] | None = None,
    ) -> None:
        """Raise KeyError for a bound name without a value.

        ``payload`` stands for the exchange's own. ``keeps``: the thread that keeps the line if the outcome is not OK;
        ``kept`` then tells that it does. ``still`` is asked when its turn has come: why it is not to be sent.
        ``on_lines`` is called with the lines of its answer, if it has any, before anything else is sent.
        """
        self.ex = ex
        self.expects = flight_tables(ex)
        self.on_orphan = on_orphan
        self.epoch = epoch
        self.keeps = keeps
        self.still = still
        self.on_lines = on_lines
        self.phase = _PENDING
        data = ex.payload if payload is None else payload
        self.payload = data + ex.payload_end if ex.payload_end else data  # all that follows a prompt
        if ex.payload_quiet and data:
            self.breaks = _breaks(data, ex.payload_end)

    @property
    def secret(self) -> bool:
        """Whether it sends, or may be answered, anything that must not be shown."""
        return bool(self.ex.shown) or self.ex.payload_secret or self.expects.secret

    @property
    def wants_more(self) -> bool:
        """Whether some of the payload has not been handed out."""
        return self.position < len(self.payload)

    @property
    def fails(self) -> bool:
        """Whether there is a reply that is not, or not quite, OK."""
        reply = self.reply
        return reply is not None and (reply.outcome is not Outcome.OK or bool(reply.missing))

    def obstacle(self, epoch: int) -> ModemError | None:
        """Return why it is not to be sent in ``epoch``, although its turn has come."""
        if self.epoch is not None and self.epoch != epoch:
            return ModemRestartedError("the modem restarted meanwhile")
        return None if self.still is None else self.still()

    def is_finished(self) -> bool:
        """Whether there is a reply or an error."""
        return self.finished

    def outcome(self) -> Reply | BaseException:
        """Return what came of it."""
        return self.error if self.error is not None else self.reply  # type: ignore[return-value]

    def info(self, event: ev.Info, secrets: Secrets) -> None:
        """Keep an information line."""
        text = event.text
        if self.expects.secret:
            expected = self.ex.lines[event.index]
            text = secrets.masked(expected.pattern.redact(text, expected.bound))
        line = Line(event.index, text_of(text), event.values, event.payload)
        if isinstance(self.lines, list):
            self.lines.append(line)
        else:
            self.lines = [line]

    def may_be_data(self, text: bytes) -> bool:
        """Whether a line of its answer that nothing explains may be of data that it asked for, or of their header.

        What looks like a report that the profile does not know may be one; not behind data of which nothing but the
        length is known.
        """
        if self.lines and self.lines[-1].payload is not None:
            payload = self.ex.lines[self.lines[-1].index].pattern.payload
            if payload is not None and not payload.tail.endswith(b"\n"):
                return True
        return self._reads and LIKE_A_REPORT.fullmatch(text) is None

    def may_be_unread(self) -> bool:
        """Whether data that it asked for may have come in a line that nothing explains, since no line did that does."""
        return self._reads and not self.lines

    @property
    def _reads(self) -> bool:
        return any(line.pattern.payload is not None for line in self.ex.lines)

    def note(self, text: bytes, secrets: Secrets) -> None:
        """Keep a line that nothing explains. What is, or may be a torn piece of, a secret is not kept."""
        shown = _REDACTED if self.secret and text else text_of(secrets.masked(text))
        if isinstance(self.extra, list):
            self.extra.append(shown)
        else:
            self.extra = [shown]

    def settle(
        self, rule: FinalRule, text: bytes, values: Mapping[str, Value], missing: tuple[int, ...], secrets: Secrets
    ) -> None:
        """Make the reply, without ``secrets`` that the final result may have swallowed."""
        if not (self.lines or missing or self.extra) and rule.pattern.literal is not None:
            self.reply = _plain_reply(rule, text)
            self.finish()
            return
        code = values.get(rule.code_field) if rule.code_field is not None else None
        detail = values.get(rule.text_field) if rule.text_field is not None else None
        shown = secrets.line(text, rule.pattern)
        if shown != text and isinstance(detail, str):
            detail = _REDACTED
        self.reply = Reply(
            rule.outcome,
            text_of(shown),
            code if isinstance(code, int) else None,
            detail if isinstance(detail, str) else code if isinstance(code, str) else "",
            rule.namespace,
            tuple(self.lines),
            tuple(self.extra),
            tuple([self.ex.lines[index].pattern.source if index >= 0 else "prompt" for index in missing])
            if missing
            else (),
        )
        self.finish()

    def fail(self, error: BaseException) -> None:
        """End it without a reply."""
        self.error = error
        self.finish()

    def finish(self) -> None:
        """Mark it done."""
        self.phase = _DONE
        self.timer = None
        self.finished = True
        if self.on_lines is not None and self.lines:
            self.on_lines(self.lines)
