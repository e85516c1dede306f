"""Turns what passes on the line into trace records, secrets blacked out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modemtls.at import events as ev
from modemtls.at.hiding import MASK
from modemtls.at.trace import TraceRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modemtls.at.exchange import Exchange
    from modemtls.at.hiding import Secrets
    from modemtls.at.job import Job
    from modemtls.at.pattern import LinePattern
    from modemtls.at.trace import Direction, Trace

__all__ = ["Tracer"]

_SHOWN_PAYLOAD: Final = 32  # bytes of a payload that a readable line shows

_Redacted = tuple[tuple[int, int, int], ...]


class Tracer:
    """Feeds one trace. A trace that raises is not asked again: it must not hurt the line.

    Known secrets are looked for in all that is shown; while ``secrets`` has one near, a line that nothing explains is
    blacked out whole.
    """

    def __init__(self, trace: Trace, secrets: Secrets) -> None:
        self._trace: Trace | None = trace
        self._secrets = secrets

    def _emit(
        self, now: float, direction: Direction, data: bytes, shown: str | None = None, redacted: _Redacted = ()
    ) -> None:
        """Pass one record on; ``shown`` is by default the data, and holds no secret."""
        if self._trace is None:
            return
        data, redacted = self._covered(data, redacted)
        try:
            self._trace(TraceRecord(now, direction, data, _shorten(data) if shown is None else shown, redacted))
        except Exception:  # a broken observer is the observer's problem
            self._trace = None

    def _covered(self, data: bytes, redacted: _Redacted) -> tuple[bytes, _Redacted]:
        """Black out known secrets beside what is blacked out already."""
        out = bytearray()
        places: list[tuple[int, int, int]] = []
        at = 0
        for offset, length, passed in (*redacted, (len(data), 0, 0)):
            piece = data[at:offset]
            begin = 0
            for low, high in self._secrets.spans(piece):
                out += piece[begin:low]
                places.append((len(out), len(MASK), high - low))
                out += MASK
                begin = high
            out += piece[begin:]
            if length or passed:
                places.append((len(out), length, passed))
                out += data[offset : offset + length]
            at = offset + length
        return bytes(out), tuple(places)

    def note(self, text: str, now: float) -> None:
        """Record a remark of the driver's own."""
        shown = self._secrets.masked(text.encode("utf-8", "backslashreplace"))
        self._emit(now, "note", b"", shown.decode("utf-8", "replace"))

    def command(self, ex: Exchange, terminator: bytes, now: float) -> None:
        """Record a command line that is sent."""
        if ex.shown:
            shown = ex.shown.encode()
            self._emit(now, "out", shown + terminator, ex.shown, ((0, len(shown), len(ex.line)),))
        else:
            shown = self._secrets.masked(ex.line)
            self._emit(now, "out", ex.line + terminator, shown.decode("utf-8", "backslashreplace"))

    def payload(self, ex: Exchange, data: bytes, now: float) -> None:
        """Record a payload, or a piece of it, that is sent."""
        if ex.payload_secret:
            self._emit(now, "out", MASK, f"({len(data)} bytes, secret)", ((0, len(MASK), len(data)),))
        else:
            self._emit(now, "out", data, self._piece(data))

    def event(self, event: ev.Event, job: Job | None, now: float) -> None:
        """Record what came in."""
        raw = event.raw
        match event:
            case ev.Echo() if job is not None and job.ex.shown:
                self._masked(now, raw, job.ex.line, job.ex.shown.encode(), job.ex.shown)
            case ev.PayloadEcho() if job is not None and job.ex.payload_secret:
                self._masked(now, raw, raw, MASK, "(echo of the secret payload)")
            case ev.PayloadEcho():
                self._emit(now, "in", raw, f"(echo of the payload, {len(raw)} bytes)")
            case ev.Info() if job is not None and job.ex.lines:
                index = event.index if event.index < len(job.ex.lines) else 0
                expected = job.ex.lines[index]
                self._line(now, expected.pattern, event.text, event.payload, raw, expected.bound)
            case ev.Final():
                self._line(now, event.rule.pattern, event.text, None, raw)
            case ev.Unsolicited():
                pattern = event.rule.pattern if event.rule is not None else event.watches[0][0].pattern
                bound = {} if event.rule is not None else event.watches[0][0].bound
                self._line(now, pattern, event.text, event.payload, raw, bound)
            case ev.Broken():
                self._masked(now, raw, raw, MASK, f"(payload cut short: {len(event.data)} of {event.size} bytes)")
            case ev.Unknown() if event.text and self._secrets.near:
                self._masked(now, raw, event.text, MASK, MASK.decode())
            case ev.Overflow() if self._secrets.near:
                self._masked(now, raw, raw, MASK, f"({event.size} bytes without a line end)")
            case _:
                self._emit(now, "in", raw)

    def _masked(self, now: float, raw: bytes, secret: bytes, mask: bytes, shown: str) -> None:
        """Pass ``raw`` on with ``mask`` for ``secret``, or for all of it if ``secret`` is not in it."""
        before, found, behind = raw.partition(secret) if secret else (raw, b"", b"")
        if not found:
            before = behind = b""
        hidden = len(raw) - len(before) - len(behind)
        self._emit(now, "in", before + mask + behind, shown, ((len(before), len(mask), hidden),))

    def _line(
        self,
        now: float,
        pattern: LinePattern,
        text: bytes,
        payload: bytes | None,
        raw: bytes,
        bound: Mapping[str, object] | None = None,
    ) -> None:
        if pattern.secret:
            secret_payload = payload is not None and pattern.fields[-1].secret
            shown = self._secrets.masked(pattern.redact(text, bound))
            at = raw.find(text)
            end = len(raw) if secret_payload else at + len(text)
            hidden = shown + (MASK if secret_payload else b"")
            data = raw[:at] + hidden + raw[end:]
            self._emit(now, "in", data, _shorten(shown), ((at, len(hidden), end - at),))
            return
        shown = self._secrets.line(text, pattern)
        readable = _shorten(shown)
        if payload is not None:
            readable = f"{readable} | {self._piece(payload)}"
        at = raw.find(text)
        if shown == text or at < 0:
            self._emit(now, "in", raw, readable)
        else:
            data = raw[:at] + shown + raw[at + len(text) :]
            self._emit(now, "in", data, readable, ((at, len(shown), len(text)),))

    def _piece(self, payload: bytes) -> str:
        return _piece(self._secrets.masked(payload), len(payload))


def _shorten(data: bytes) -> str:
    data = data.strip(b"\r\n ")  # a prompt's blank may come before the next line
    if data.isascii() and data.decode("ascii").isprintable():
        return data.decode("ascii")
    return _piece(data, len(data))


def _piece(payload: bytes, size: int) -> str:
    """Return the beginning of a payload of ``size`` bytes."""
    text = payload[:_SHOWN_PAYLOAD].decode("latin-1").encode("unicode_escape").decode("ascii")
    return f"{text}… ({size} bytes)" if len(payload) > _SHOWN_PAYLOAD else text
