"""How a connection reaches its peer: plain TCP, or TLS over it. Neither knows AT commands."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.sim.loop import Loop, Timer
    from modemtls.sim.network import Network, Stream
    from modemtls.sim.trace import Trace
    from modemtls.tlsengine import Engine, Settings

__all__ = ["PlainTransport", "Stage", "TlsTransport"]

LINGER = 5.0  # s that an orderly close may go on in the background
CONNECT_LIMIT = 150.0  # s that a TCP connect may take (BG96 TCP(IP) manual V1.1)


class Stage(Enum):
    """Where an opening ended."""

    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"  # of the handshake


class PlainTransport:
    """A TCP connection. Set the callbacks, and another ``connect_limit`` in seconds, before :meth:`open`."""

    def __init__(self, loop: Loop, network: Network, trace: Trace) -> None:
        self._loop, self._network, self._trace = loop, network, trace
        self.stream: Stream | None = None
        self._limit: Timer | None = None
        self._linger: Timer | None = None
        self._closing: Callable[[], None] | None = None
        self._ended = False
        self._error = 0
        self.connect_limit = CONNECT_LIMIT
        self.opened: Callable[[], None] = lambda: None
        self.failed: Callable[[Stage, str], None] = lambda *_: None
        self.data: Callable[[bytes], None] = lambda _: None
        self.ended: Callable[[str], None] = lambda _: None

    def open(self, name: str, port: int, local_port: int = 0) -> None:
        """Connect; the outcome comes later. ``local_port``: ours, 0 for any."""
        stream = self.adopt(self._network.connect(name, port, local_port))
        stream.on_connect = self._connected
        self._limit = self._loop.call_later(
            self.connect_limit, lambda: self.fail(Stage.CONNECT, "no answer to the connect")
        )

    @property
    def error(self) -> int:
        """The errno of what ended the connection or kept it from opening; 0 if there was none."""
        return self._error or (self.stream.error if self.stream is not None else 0)

    def adopt(self, stream: Stream) -> Stream:
        """Use a connection that is there already."""
        self.stream = stream
        stream.on_data, stream.on_end = self._received, self._end
        return stream

    def _connected(self, why: str | None) -> None:
        if why is not None:
            self.fail(Stage.CONNECT, f"TCP: {why}")
            return
        self._no_limit()
        self.opened()

    def fail(self, stage: Stage, why: str) -> None:
        """Give up opening."""
        self._error = self.error
        self.abort()
        self.failed(stage, why)

    def _no_limit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _received(self, data: bytes) -> None:
        if self._closing is None:
            self.data(data)

    def _end(self, why: str | None) -> None:
        self._ended = True
        if self._closing is not None:
            self._closed()
        else:
            self.ended(why or "")

    def write(self, data: bytes) -> None:
        """Send."""
        if self.stream is not None:
            self.stream.write(data)

    def goodbye(self) -> None:
        """Say what has to be said before the FIN."""

    def close(self, done: Callable[[], None]) -> None:
        """End in order: what is unsent, then FIN; ``done`` is called when the peer has ended as well."""
        self._no_limit()
        self._closing = done
        if self.stream is None or self.stream.ended:
            self.abort()
            done()
            return
        self.goodbye()
        self.stream.finish()
        self.stream.resume()  # what the peer still sends is thrown away
        self._linger = self._loop.call_later(LINGER, self.abort)
        if self._ended:  # the peer has said goodbye already, only its FIN is not here yet
            self._closing = lambda: None
            done()

    def _closed(self) -> None:
        done, self._closing = self._closing, lambda: None
        self.abort()
        if done is not None:
            done()

    def abort(self) -> None:
        """Drop the connection; no callback comes any more."""
        self._no_limit()
        if self._linger is not None:
            self._linger.cancel()
        self._ended = True
        if self.stream is not None:
            self.stream.abort()

    def pause(self) -> None:
        """Stop reading."""
        if self.stream is not None:
            self.stream.pause()

    def resume(self) -> None:
        """Read on."""
        if self.stream is not None:
            self.stream.resume()

    @property
    def local_port(self) -> int:
        """Our port."""
        return self.stream.local_port if self.stream is not None else 0

    @property
    def unsent(self) -> int:
        """Bytes that wait here."""
        return self.stream.unsent if self.stream is not None else 0


class TlsTransport(PlainTransport):
    """TLS over TCP. ``settings`` is asked when the connection starts, as the modem reads its settings at open time.

    ``prepare`` gets the engine before its handshake: to offer a session. ``judge`` gets it behind the handshake: what
    it returns is why the peer is refused after all. ``reached`` is called when TCP is there.
    """

    def __init__(self, loop: Loop, network: Network, trace: Trace, settings: Settings, limit: float) -> None:
        super().__init__(loop, network, trace)
        self._settings, self._handshake_limit = settings, limit
        self._tls: Engine | None = None
        self._up = False
        self.prepare: Callable[[Engine], object] = lambda _: None
        self.judge: Callable[[Engine], str] = lambda _: ""
        self.reached: Callable[[], None] = lambda: None

    @property
    def engine(self) -> Engine | None:
        """The engine, once the connection is there."""
        return self._tls

    def accept(self, stream: Stream) -> None:
        """Shake hands over a connection that is there already; the outcome comes as from :meth:`open`."""
        self.adopt(stream)
        self._shake_hands()
        stream.resume()

    def _connected(self, why: str | None) -> None:
        if why is not None:
            self.fail(Stage.CONNECT, f"TCP: {why}")
            return
        self._no_limit()
        self._shake_hands()

    def _shake_hands(self) -> None:
        from modemtls.tlsengine import SettingsError, engine_for

        try:
            self._tls = engine_for(self._settings)
        except SettingsError as error:
            self.fail(Stage.TLS, str(error))
            return
        self.prepare(self._tls)
        self.reached()
        limit = self._handshake_limit
        why = f"no handshake within {limit:.0f} s"
        self._limit = self._loop.call_later(limit, lambda: self.fail(Stage.TIMEOUT, why))
        self._advance()

    def _advance(self) -> None:
        """Go on with the handshake."""
        from modemtls.tlsengine import TlsError, WantReadError

        assert self._tls is not None
        try:
            self._tls.handshake()
        except WantReadError:
            self._flush()
            return
        except TlsError as error:
            self._flush()  # the alert
            reason = error.reason
            self._no_limit()
            if self.stream is not None:
                self.stream.finish()
                stream, self.stream = self.stream, None
                stream.on_end = lambda _: stream.abort()
                stream.on_data = lambda _: None
                self._loop.call_later(LINGER, stream.abort)
                if stream.ended:
                    stream.abort()
            self.failed(Stage.TLS, f"TLS: {reason}")
            return
        refused = self.judge(self._tls)
        if refused:
            self._tls.close()
        self._flush()
        if refused:
            self.fail(Stage.TLS, f"TLS: {refused}")
            return
        self._no_limit()
        self._up = True
        info = self._tls.info()
        self._trace.note(f"TLS: {info.version}, {info.suite_name}")
        self.opened()
        self._drain()

    def _flush(self) -> None:
        if self._tls is not None:
            for data in self._tls.take():
                super().write(data)

    def _received(self, data: bytes) -> None:
        if self._tls is None or self._closing is not None:
            return
        self._tls.feed(data)
        if self._up:
            self._drain()
        else:
            self._advance()

    def _drain(self) -> None:
        from modemtls.tlsengine import TlsError, WantReadError

        assert self._tls is not None
        while self._closing is None:
            try:
                data = self._tls.read()
            except WantReadError:
                self._flush()
                return
            except TlsError as error:
                self._flush()
                self._ended = True
                self.ended(f"TLS: {error.reason}")
                return
            if not data:
                self._ended = True
                self.ended("close_notify")
                return
            self.data(data)

    def _end(self, why: str | None) -> None:
        if self._tls is not None and not self._up and self._closing is None:
            self._tls.feed(b"")
            self._advance()  # fails, with the engine's reason
            return
        if self._ended and self._closing is None:
            return  # close_notify was here before
        if self._closing is None:
            why = why or "end of stream without close_notify"
        super()._end(why)

    def write(self, data: bytes) -> None:
        """Encrypt and send."""
        from modemtls.tlsengine import TlsError, WantReadError

        if self._tls is None or not self._up:
            return
        try:
            self._tls.write(data)
        except (TlsError, WantReadError) as error:
            self._trace.note(f"TLS write: {error}")
        self._flush()

    def goodbye(self) -> None:
        """Send close_notify."""
        if self._tls is not None and self._up:
            self._tls.close()
            self._flush()
