"""What goes over the modem library's sockets, and what their calls' flags mean (SM-SOCK, SM-C, SLM-SOCK-b)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.personalities.nordic.area import Area
from modemtls.sim.personalities.nordic.errno import Errno
from modemtls.sim.personalities.nordic.socket import DATAGRAM, IN, OUT, RAW, Piece, Socket
from modemtls.sim.personalities.nordic.sockets import DNS_TIME

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.sim.personalities.nordic import Nordic
    from modemtls.sim.secure import SecureDatagrams

__all__ = ["DONT_WAIT", "NOTIFY_ACK", "PEEK", "WAIT_ACK", "WAIT_ALL", "Traffic"]

IP_UDP = 28  # bytes of header before a datagram's payload
PEEK, DONT_WAIT, WAIT_ALL = 2, 64, 256  # receive flags
WAIT_ACK, NOTIFY_ACK = 512, 8192  # send flags
TICK = 0.01  # s between looks at what only the kernel knows


class Traffic(Area):
    """Sending and receiving."""

    def __init__(self, module: Nordic) -> None:
        super().__init__(module)
        self._sockets = module.sockets

    def send(self, socket: Socket, data: bytes, flags: int, done: Callable[[Errno, int], None]) -> None:
        """Send; ``done`` gets the outcome and how many bytes went."""
        why = self._sockets.usable(socket) or (Errno.OK if socket.connected and not socket.ended else Errno.ENOTCONN)
        if why or (socket.security is not None and socket.security.saved):
            done(why or Errno.EINVAL, 0)
        elif not socket.stream:
            done(*self._send_datagram(socket, data))
        else:
            self._send_stream(socket, data, flags, done)
        socket.poll.rearm(OUT)
        self._sockets.changed(socket)

    def _send_datagram(self, socket: Socket, data: bytes) -> tuple[Errno, int]:
        if self._failure():
            return Errno.EAGAIN, 0
        if socket.association is not None:
            return self._record(socket.association, data)
        return self._to(socket, data, socket.target)

    @staticmethod
    def _record(association: SecureDatagrams, data: bytes) -> tuple[Errno, int]:
        from modemtls.tlsengine import MessageSizeError

        try:
            return (Errno.OK, len(data)) if association.write(data) else (Errno.ENOTCONN, 0)
        except MessageSizeError:
            return Errno.EMSGSIZE, 0

    def _to(self, socket: Socket, data: bytes, target: tuple[str, int]) -> tuple[Errno, int]:
        if len(data) > self.variants.number("mtu") - IP_UDP:
            return Errno.EMSGSIZE, 0
        result = self._sockets.need_datagrams(socket)
        if not result and socket.datagrams is not None:
            socket.datagrams.send(data, *target)
        return result, 0 if result else len(data)

    def send_to(self, socket: Socket, host: str, port: int, data: bytes, done: Callable[[Errno, int], None]) -> None:
        """Send a datagram to anybody; over DTLS to the peer of the session, which has to be there."""
        if socket.kind != DATAGRAM:
            done(Errno.EINVAL, 0)
            return
        if socket.security is not None:
            self.send(socket, data, 0, done)
            return

        def resolved() -> None:
            address = self._sockets.resolve(host, socket.family, socket.cid)
            why = self._sockets.usable(socket) or (Errno.OK if address is not None else Errno.ENOENT)
            if why or address is None:
                done(why, 0)
                return
            target = self.machine.network.target(host, port)
            socket.names[target] = (address, port)
            done(*((Errno.EAGAIN, 0) if self._failure() else self._to(socket, data, target)))

        self.later(DNS_TIME, resolved)

    def _failure(self) -> bool:
        """Whether a fault lets this send fail."""
        if self.machine.send_failures:
            self.machine.send_failures -= 1
            return True
        return False

    def _send_stream(self, socket: Socket, data: bytes, flags: int, done: Callable[[Errno, int], None]) -> None:
        transport = socket.transport
        assert transport is not None
        until = self.loop.now() + socket.send_timeout
        if self._failure():
            part = data[: len(data) // 2]
            transport.write(part)
            done(Errno.EAGAIN, len(part))
            return

        def acknowledged() -> None:
            if socket.error or self.loop.now() >= until:
                done(socket.error or Errno.EAGAIN, len(data))
            elif transport.stream is None or transport.stream.unacknowledged():
                self.later(TICK, acknowledged)
            else:
                done(Errno.OK, len(data))

        def attempt() -> None:
            full = transport.unsent >= self.variants.number("send-buffer") or socket.notice_pending
            if socket.error or socket.ended or self.loop.now() >= until:
                done(socket.error or (Errno.ENOTCONN if socket.ended else Errno.EAGAIN), 0)
            elif full:
                self.later(TICK, attempt)
            else:
                transport.write(data)
                if flags & NOTIFY_ACK:
                    self._notify(socket, len(data), until)
                acknowledged() if flags & WAIT_ACK else done(Errno.OK, len(data))

        attempt()

    def _notify(self, socket: Socket, count: int, until: float) -> None:
        """Announce the acknowledgement (#XSENDNTF) when it comes."""
        socket.notice_pending = True
        transport = socket.transport

        def look() -> None:
            gone = transport is None or transport.stream is None or socket.error
            late = self.loop.now() >= until
            if gone or late or (transport is not None and transport.stream and not transport.stream.unacknowledged()):
                socket.notice_pending = False
                self.module.urc(f"#XSENDNTF: {socket.handle},{-1 if gone or late else 0},{count}")
            else:
                self.later(TICK, look)

        self.later(TICK, look)

    def receive(
        self, socket: Socket, most: int, flags: int, timeout: float, done: Callable[[Errno, Piece | None], None]
    ) -> None:
        """Wait for data; ``done`` gets a piece, none without an error being the end. A time-out of 0 is for ever."""
        if socket.kind == RAW or (socket.stream and not socket.connected):
            done(self._sockets.usable(socket) or Errno.ENOTCONN, None)
            return
        if socket.security is not None and (socket.security.saved or not socket.connected):
            done(socket.error or Errno.ENOTCONN, None)
            return
        if not socket.stream and socket.security is None and self._sockets.need_datagrams(socket):
            done(Errno.EADDRINUSE, None)
            return

        def ready() -> bool:
            enough = socket.unread >= most if flags & WAIT_ALL and socket.stream else bool(socket.inbox)
            return enough or socket.ended or bool(socket.error) or bool(self._sockets.usable(socket))

        def end(in_time: bool) -> None:
            if socket.inbox and (in_time or flags & WAIT_ALL):
                done(Errno.OK, socket.take(most, peek=bool(flags & PEEK)))
            elif not in_time:
                done(Errno.EAGAIN, None)
            else:  # without an error it is the end
                done(self._sockets.usable(socket), None)
            socket.poll.rearm(IN)
            self._sockets.changed(socket)

        if flags & DONT_WAIT:
            end(ready())
        else:
            self._sockets.wait(ready, timeout or None, end)
