"""Turns what passes on the line into trace records, secrets blacked out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modemtls.at import events as ev
from modemtls.at.trace import TraceRecord

if TYPE_CHECKING:
    from modemtls.at.exchange import Exchange
    from modemtls.at.job import Job
    from modemtls.at.pattern import LinePattern
    from modemtls.at.trace import Direction, Trace

__all__ = ["Tracer"]

_MASK: Final = b"***"
_SHOWN_PAYLOAD: Final = 32  # bytes of a payload that a readable line shows


class Tracer:
    """Feeds one trace. A trace that raises is not asked again: it must not hurt the line."""

    def __init__(self, trace: Trace) -> None:
        self._trace: Trace | None = trace

    def _emit(
        self, now: float, direction: Direction, data: bytes, shown: str, redacted: tuple[tuple[int, int, int], ...] = ()
    ) -> None:
        if self._trace is None:
            return
        try:
            self._trace(TraceRecord(now, direction, data, shown, redacted))
        except Exception:  # a broken observer is the observer's problem
            self._trace = None

    def note(self, text: str, now: float) -> None:
        """Record a remark of the driver's own."""
        self._emit(now, "note", b"", text)

    def command(self, ex: Exchange, now: float) -> None:
        """Record a command line that is sent."""
        if ex.shown:
            shown = ex.shown.encode()
            self._emit(now, "out", shown + ex.terminator, ex.shown, ((0, len(shown), len(ex.line)),))
        else:
            self._emit(now, "out", ex.line + ex.terminator, ex.text)

    def payload(self, ex: Exchange, data: bytes, now: float) -> None:
        """Record a payload, or a piece of it, that is sent."""
        if ex.payload_secret:
            self._emit(now, "out", _MASK, f"({len(data)} bytes, secret)", ((0, len(_MASK), len(data)),))
        else:
            self._emit(now, "out", data, _piece(data))

    def event(self, event: ev.Event, job: Job | None, now: float) -> None:
        """Record what came in."""
        raw = event.raw
        match event:
            case ev.Echo() if job is not None and job.ex.shown:
                self._masked(now, raw, job.ex.line, job.ex.shown.encode(), job.ex.shown)
            case ev.PayloadEcho() if job is not None and job.ex.payload_secret:
                self._masked(now, raw, raw, _MASK, "(echo of the secret payload)")
            case ev.PayloadEcho():
                self._emit(now, "in", raw, f"(echo of the payload, {len(raw)} bytes)")
            case ev.Info() if job is not None and job.ex.lines:
                index = event.index if event.index < len(job.ex.lines) else 0
                expected = job.ex.lines[index]
                self._line(now, expected.pattern, event.text, event.payload, raw, expected.bound)
            case ev.Unsolicited():
                pattern = event.rule.pattern if event.rule is not None else event.watches[0][0].pattern
                bound = {} if event.rule is not None else event.watches[0][0].bound
                self._line(now, pattern, event.text, event.payload, raw, bound)
            case ev.Broken():
                self._emit(
                    now,
                    "in",
                    _MASK,
                    f"(payload cut short: {len(event.data)} of {event.size} bytes)",
                    ((0, len(_MASK), len(raw)),),
                )
            case ev.Unknown() if job is not None and job.hides(event.text):
                self._masked(now, raw, event.text, _MASK, "***")
            case ev.Overflow() if job is not None and job.secret:
                self._masked(now, raw, raw, _MASK, f"({event.size} bytes without a line end)")
            case _:
                self._emit(now, "in", raw, _shorten(raw))

    def _masked(self, now: float, raw: bytes, secret: bytes, mask: bytes, shown: str) -> None:
        at = raw.find(secret)
        if at < 0 or not secret:
            self._emit(now, "in", raw, shown)
        else:
            data = raw[:at] + mask + raw[at + len(secret) :]
            self._emit(now, "in", data, shown, ((at, len(mask), len(secret)),))

    def _line(
        self,
        now: float,
        pattern: LinePattern,
        text: bytes,
        payload: bytes | None,
        raw: bytes,
        bound: object,
    ) -> None:
        shown = text
        if pattern.secret:
            shown = pattern.redact(text, bound if isinstance(bound, dict) else None)
            at = raw.find(text)
            secret_payload = payload is not None and pattern.fields[-1].secret
            end = len(raw) if secret_payload else at + len(text)
            hidden = shown + (_MASK if secret_payload else b"")
            data = raw[:at] + hidden + raw[end:]
            self._emit(now, "in", data, _shorten(shown), ((at, len(hidden), end - at),))
            return
        readable = _shorten(shown)
        if payload is not None:
            readable = f"{readable} | {_piece(payload)}"
        self._emit(now, "in", raw, readable)


def _shorten(data: bytes) -> str:
    data = data.strip(b"\r\n ")  # a prompt's blank may come before the next line
    if data.isascii() and data.decode("ascii").isprintable():
        return data.decode("ascii")
    return _piece(data)


def _piece(payload: bytes) -> str:
    text = payload[:_SHOWN_PAYLOAD].decode("latin-1").encode("unicode_escape").decode("ascii")
    return f"{text}… ({len(payload)} bytes)" if len(payload) > _SHOWN_PAYLOAD else text
