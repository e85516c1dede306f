"""DTLS over a UDP socket towards one peer. It knows no AT commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.transport import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.sim.loop import Loop, Timer
    from modemtls.sim.network import Datagrams
    from modemtls.sim.trace import Trace
    from modemtls.tlsengine import Engine, Settings

__all__ = ["SecureDatagrams"]


class SecureDatagrams:
    """An association over ``datagrams``, which it takes over, with ``peer``. Set the callbacks before :meth:`open`.

    ``limit`` is in seconds for the whole handshake: a wrong pre-shared key is met with silence. ``prepare`` is called
    with the engine before the handshake, ``judge`` after it: what it returns is why the peer is refused after all.
    ``data`` gets each record by itself.
    """

    def __init__(
        self, loop: Loop, trace: Trace, settings: Settings, datagrams: Datagrams, peer: tuple[str, int], limit: float
    ) -> None:
        self._loop, self._trace, self._settings, self._limit_time = loop, trace, settings, limit
        self._datagrams, self._peer = datagrams, peer
        self.engine: Engine | None = None
        self.up = False
        self._over = False
        self._limit: Timer | None = None
        self._timer: Timer | None = None
        self.prepare: Callable[[Engine], object] = lambda _: None
        self.judge: Callable[[Engine], str] = lambda _: ""
        self.opened: Callable[[], None] = lambda: None
        self.failed: Callable[[Stage, str], None] = lambda *_: None
        self.data: Callable[[bytes], None] = lambda _: None
        self.ended: Callable[[str], None] = lambda _: None

    def open(self) -> None:
        """Begin the handshake; the outcome may be told at once."""
        from modemtls.tlsengine import SettingsError, engine_for

        try:
            self.engine = engine_for(self._settings)
        except SettingsError as error:
            self._fail(Stage.TLS, str(error))
            return
        self._datagrams.on_datagram = self._arrived
        self.prepare(self.engine)
        limit = self._limit_time
        self._limit = self._loop.call_later(
            limit, lambda: self._fail(Stage.TIMEOUT, f"no handshake within {limit:.0f} s")
        )
        self._advance()

    def move(self, datagrams: Datagrams) -> None:
        """Go on over another UDP socket: the modem's address has changed."""
        self._datagrams = datagrams
        datagrams.on_datagram = self._arrived

    def _arrived(self, data: bytes, host: str, port: int) -> None:
        if (host, port) != self._peer or self._over or self.engine is None:
            return
        self.engine.feed(data)
        if self.up:
            self._drain()
        else:
            self._advance()

    def _advance(self) -> None:
        """Go on with the handshake."""
        from modemtls.tlsengine import TlsError, WantReadError

        assert self.engine is not None
        try:
            self.engine.handshake()
        except WantReadError:
            self._flush()
            return
        except TlsError as error:
            self._flush()
            self._fail(Stage.TLS, f"DTLS: {error.reason}")
            return
        refused = self.judge(self.engine)
        if refused:
            self.engine.close()
        self._flush()
        if refused:
            self._fail(Stage.TLS, f"DTLS: {refused}")
            return
        self._no_limit()
        self.up = True
        info = self.engine.info()
        self._trace.note(f"DTLS: {info.version}, {info.suite_name}")
        self.opened()
        self._drain()

    def _flush(self) -> None:
        """Send what there is, and be back when the engine's timer is due."""
        if self.engine is None or self._over:
            return
        for data in self.engine.take():
            self._datagrams.send(data, *self._peer)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wait = self.engine.deadline()
        if wait is not None:
            self._timer = self._loop.call_later(max(wait, 0.001), self._due)

    def _due(self) -> None:
        from modemtls.tlsengine import HandshakeTimeoutError, TlsError

        self._timer = None
        if self.engine is None or self._over:
            return
        try:
            if self.engine.on_timer():
                self._trace.note("DTLS: the last flight again")
        except HandshakeTimeoutError as error:
            self._fail(Stage.TIMEOUT, error.reason)
            return
        except TlsError as error:
            self._fail(Stage.TLS, f"DTLS: {error.reason}")
            return
        self._flush()

    def _drain(self) -> None:
        from modemtls.tlsengine import TlsError, WantReadError

        while not self._over and self.engine is not None:
            try:
                data = self.engine.read()
            except WantReadError:
                self._flush()
                return
            except TlsError as error:
                self._end(f"DTLS: {error.reason}")
                return
            if not data:
                self._end("close_notify")
                return
            self.data(data)

    def _end(self, why: str) -> None:
        self._flush()
        self._stop()
        self.ended(why)

    def _fail(self, stage: Stage, why: str) -> None:
        self._stop()
        self.failed(stage, why)

    def write(self, data: bytes) -> bool:
        """Send one record; returns whether it could be. Raises :class:`modemtls.tlsengine.MessageSizeError`."""
        from modemtls.tlsengine import TlsError, WantReadError

        if self.engine is None or not self.up or self._over:
            return False
        try:
            self.engine.write(data)
        except (TlsError, WantReadError) as error:
            self._trace.note(f"DTLS write: {error}")
            return False
        finally:
            self._flush()
        return True

    def close(self) -> None:
        """Say goodbye and stop; nothing is reported any more."""
        if self.engine is not None and self.up and not self._over:
            self.engine.close()
            self._flush()
        self._stop()

    def abort(self) -> None:
        """Stop without a word to anybody."""
        self._stop()

    def _no_limit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _stop(self) -> None:
        self._over = True
        self._no_limit()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
