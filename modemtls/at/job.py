"""An exchange on its way: from the first byte sent to the reply, whoever waits for it."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from modemtls.at.exchange import Line, Reply
from modemtls.errors import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modemtls.at import events as ev
    from modemtls.at.exchange import Exchange
    from modemtls.at.grammar import FinalRule, Value

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


class Job:
    """One exchange in progress. Written by the line only, under the channel's lock."""

    __slots__ = (
        "epoch",
        "error",
        "ex",
        "extra",
        "final",
        "finished",
        "lines",
        "on_orphan",
        "orphaned",
        "phase",
        "position",
        "prompted",
        "reply",
        "started",
        "timer",
    )

    def __init__(
        self,
        ex: Exchange,
        on_orphan: Callable[[Reply | BaseException], None] | None = None,
        epoch: int | None = None,
    ) -> None:
        self.ex = ex
        self.epoch = epoch
        self.on_orphan = on_orphan
        self.orphaned = False
        self.phase = Phase.PENDING
        self.timer: float | None = None
        self.position = 0  # bytes of the payload that have been handed out
        self.prompted = False
        self.lines: list[Line] = []
        self.extra: list[str] = []
        self.final: tuple[FinalRule, bytes, Mapping[str, Value], tuple[int, ...]] | None = None
        self.started = False  # whether any byte of it may have reached the modem
        self.finished = False
        self.reply: Reply | None = None
        self.error: BaseException | None = None

    @property
    def secret(self) -> bool:
        """Whether it sends anything that must not be shown."""
        return bool(self.ex.shown) or self.ex.payload_secret

    @property
    def wants_more(self) -> bool:
        """Whether some of the payload has not been handed out."""
        return self.position < len(self.ex.payload) + len(self.ex.payload_end)

    def is_finished(self) -> bool:
        """Whether there is a reply or an error."""
        return self.finished

    def outcome(self) -> Reply | BaseException:
        """Return what came of it."""
        return self.error if self.error is not None else self.reply  # type: ignore[return-value]

    def info(self, event: ev.Info) -> None:
        """Keep an information line."""
        self.lines.append(Line(event.index, text_of(event.text), event.values, event.payload))

    def note(self, text: bytes) -> None:
        """Keep a line that nothing explains. What may be a torn echo of a secret is not kept."""
        self.extra.append(_REDACTED if self.hides(text) else text_of(text))

    def hides(self, text: bytes) -> bool:
        """Whether a line that nothing explains may show a secret of this exchange: a piece of its echo."""
        if not self.secret or not text:
            return False
        ex = self.ex
        return (
            text[:2].upper() == b"AT"
            or text in ex.line
            or (ex.payload_secret and (text in ex.payload or ex.payload in text))
        )

    def settle(self, rule: FinalRule, text: bytes, values: Mapping[str, Value], missing: tuple[int, ...]) -> None:
        """Make the reply."""
        if rule.pattern.literal is not None and not (missing or self.lines or self.extra):
            self.reply = _plain_reply(rule, text)
            self.finish()
            return
        code = values.get(rule.code_field) if rule.code_field is not None else None
        detail = values.get(rule.text_field) if rule.text_field is not None else None
        self.reply = Reply(
            rule.outcome,
            text_of(text),
            code if isinstance(code, int) else None,
            detail if isinstance(detail, str) else code if isinstance(code, str) else "",
            rule.namespace,
            tuple(self.lines) if self.lines else (),
            tuple(self.extra) if self.extra else (),
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
        self.phase = Phase.DONE
        self.timer = None
        self.finished = True
