"""Sessions that QSSLCFG="session" keeps for a resumption: one a context. What is kept of them is not documented."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from modemtls.sim.trace import Trace
    from modemtls.tlsengine import Engine

__all__ = ["Sessions"]


class _Kept(NamedTuple):
    host: str
    port: int
    session: bytes


class Sessions:
    """The last session of each context that is to keep one; gone when the key is set to 0, and with the power."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._using: set[int] = set()
        self._kept: dict[int, _Kept] = {}

    def use(self, context: int, *, on: bool) -> None:
        """Keep the sessions of a context from now on, or forget the one that is kept."""
        if on:
            self._using.add(context)
        else:
            self._using.discard(context)
            self._kept.pop(context, None)

    def offer(self, context: int, host: str, port: int, engine: Engine) -> None:
        """Before a handshake: offer what is kept of the same host."""
        kept = self._kept.get(context)
        if kept is None or (kept.host, kept.port) != (host, port):
            return
        # refused where the settings have changed since: a resumption verifies nothing
        taken = engine.offer_session(kept.session)
        self._trace.note(f"a session is {'offered' if taken else 'kept, but of other settings'}")

    def keep(self, context: int, host: str, port: int, engine: Engine) -> None:
        """After a handshake: keep its session if the context is to."""
        self._trace.note(f"the session is {'resumed' if engine.info().resumed else 'new'}")
        session = engine.export_session() if context in self._using else b""
        if session:
            self._kept[context] = _Kept(host, port, session)
