"""What the application asks of the modem library's sockets, whatever the syntax (SLM-C, SM-C, NRFX-H)."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from modemtls.sim.personalities.nordic.area import Area
from modemtls.sim.personalities.nordic.errno import Errno
from modemtls.sim.personalities.nordic.socket import RAW, Socket, State
from modemtls.sim.personalities.nordic.tls import sends_cid
from modemtls.sim.transport import PlainTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.sim.loop import Timer
    from modemtls.sim.network import Stream
    from modemtls.sim.personalities.nordic.socket import Security

__all__ = ["MOST", "Sockets"]

MOST = 8  # SLM-SOCK-b, SM-SOCK
DNS_TIME = 0.02  # s until a name is resolved


class Sockets(Area):
    """The table of sockets. ``observers`` see every change of one; the first that returns true ends the round."""

    def reset(self) -> None:
        """No socket."""
        self.table: dict[int, Socket] = {}
        self._outside: list[Socket] = []  # open, but not by their handle: clients of a server socket, proxies
        self._rankings = 0
        self._waiter: Callable[[], None] | None = None
        self.observers: list[Callable[[Socket], bool]] = []

    def stop(self) -> None:
        """Drop everything."""
        super().stop()
        for socket in self._all:
            socket.drop()
        self.table.clear()
        self._outside.clear()
        self._waiter = None

    # --- the table ----------------------------------------------------------------------------------------------------

    @property
    def _all(self) -> list[Socket]:
        return [*self.table.values(), *self._outside]

    def open(self, family: int, kind: int, role: int, cid: int, security: Security | None = None) -> Socket:
        """Make a socket with the lowest free handle, and select it."""
        socket = self._make(family, kind, role, cid, security)
        self.table[socket.handle] = socket
        self.select(socket)
        return socket

    def open_outside(self, family: int, kind: int, role: int, cid: int, security: Security | None) -> Socket:
        """Make a socket that commands do not reach by its handle."""
        socket = self._make(family, kind, role, cid, security)
        self._outside.append(socket)
        return socket

    def _make(self, family: int, kind: int, role: int, cid: int, security: Security | None) -> Socket:
        if len(self._all) >= MOST:
            raise self.refuse(f"{MOST} sockets are open")
        if cid and not self.module.contexts.active(cid):
            raise self.refuse(f"context {cid} is not active")
        used = {socket.handle for socket in self._all}
        first = int(self.variants["first-handle"])
        handle = next(number for number in range(first, first + MOST) if number not in used)
        socket = Socket(handle, family, kind, role, cid, security, self.changed)
        socket.window = int(self.variants.number("receive-buffer"))
        return socket

    def get(self, handle: int) -> Socket:
        """Return an open socket, or refuse."""
        if handle not in self.table:
            raise self.refuse(f"no socket {handle}")
        return self.table[handle]

    def select(self, socket: Socket) -> None:
        """Rank a socket highest."""
        self._rankings += 1
        socket.ranking = self._rankings

    @property
    def selected(self) -> Socket:
        """The socket that commands without a handle mean, or a refusal."""
        if not self.table:
            raise self.refuse("no socket is open")
        return max(self.table.values(), key=lambda socket: socket.ranking)

    def close(self, socket: Socket) -> None:
        """Close in order; what the peer still has to say is not waited for."""
        if socket in self._outside:
            self._outside.remove(socket)
        else:
            self.table.pop(socket.handle, None)
        if socket.peer is not None:
            self.close(socket.peer)
            socket.peer = None
        if socket.association is not None:
            socket.association.close()
        if socket.transport is not None and socket.connected:
            socket.transport.close(lambda: None)
            socket.transport = None
        socket.drop()
        socket.poll.stop()

    def changed(self, socket: Socket) -> None:
        """Let everybody look who may wait for it."""
        if self._waiter is not None:
            self._waiter()
        for observer in self.observers:
            if observer(socket):
                return

    def wait(self, ready: Callable[[], bool], timeout: float | None, done: Callable[[bool], None]) -> None:
        """Call ``done`` when ``ready`` says so (true) or the time is up (false); only one waits at a time."""
        if ready():
            done(True)
            return
        timer: Timer | None = None

        def look() -> None:
            if ready():
                end(True)

        def end(result: bool) -> None:
            self._waiter = None
            if timer is not None:
                timer.cancel()
            done(result)

        self._waiter = look
        if timeout is not None:
            timer = self.later(timeout, lambda: end(False))

    # --- the PDN ------------------------------------------------------------------------------------------------------

    def pdn_lost(self, cid: int) -> None:
        """Close what cannot wait for the PDN to come back."""
        if self.variants["address-after-loss"] == "new":
            self.module.contexts.new_address()
        for socket in [item for item in self._all if item.cid == cid]:
            if socket.connecting is not None:
                socket.error = Errno.ENETDOWN
                self._outcome(socket, Errno.ENETDOWN, socket.connecting)
                continue
            fresh = socket.state is State.FRESH and socket.datagrams is None
            if fresh or socket.state is State.FAILED:
                continue
            survives = socket.association is None or sends_cid(socket.association)
            if not socket.keeps_open or not survives or socket.state is State.LISTENING:
                socket.broken(Errno.ENETDOWN)
                continue
            socket.away = True
            if socket.transport is not None:
                socket.transport.pause()
            elif socket.datagrams is not None:
                socket.local_port = socket.datagrams.local_port
                socket.datagrams.abort()
                socket.datagrams = None

    def pdn_gained(self, cid: int) -> None:
        """Let what has waited go on, from the new address if there is one."""
        moved = self.variants["address-after-loss"] == "new"
        for socket in [item for item in self._all if item.cid == cid and item.away]:
            socket.away = False
            if socket.transport is not None:
                if moved:
                    socket.broken(Errno.ENETDOWN)
                    continue
                socket.transport.resume()
            else:
                if moved:
                    socket.local_port = 0  # on loopback another port is what another address would be
                self.need_datagrams(socket)
                if socket.association is not None and socket.datagrams is not None:
                    socket.association.move(socket.datagrams)
            self.changed(socket)

    def power_lost(self) -> None:
        """AT+CFUN=0: nothing survives."""
        for socket in [item for item in self._all if item.away]:
            socket.broken(Errno.ENETDOWN)

    def usable(self, socket: Socket) -> Errno:
        """Return why a socket cannot be used; zero if it can."""
        if socket.error:
            return socket.error
        if socket.away or not self.module.contexts.active(socket.cid):
            return Errno.ENETDOWN
        return Errno.OK

    # --- names --------------------------------------------------------------------------------------------------------

    def resolve(self, host: str, family: int, cid: int | None = None) -> str | None:
        """Return the address of ``host`` over a context: ``family`` 1 is IPv4, 2 is IPv6, 0 is either."""
        contexts = self.module.contexts
        address = self.machine.network.address(host, contexts.kind(contexts.default if cid is None else cid))
        if address is None or not self.module.contexts.active(self.module.contexts.default):
            return None
        version = ipaddress.ip_address(address).version
        return address if family == 0 or version == {1: 4, 2: 6}.get(family) else None

    # --- connecting ---------------------------------------------------------------------------------------------------

    def bind(self, socket: Socket, port: int) -> None:
        """Take a local port; 0 is any.

        That a stream's port is taken shows when it listens. No source says where it does: the application hands both
        calls to the modem library, which is closed, and whose header leaves them to POSIX, where either may fail.
        """
        if socket.bound or socket.state is not State.FRESH or socket.kind == RAW:
            raise self.refuse(f"socket {socket.handle} cannot be bound now")
        socket.local_port = port
        socket.bound = True
        if not socket.stream and socket.security is None and self.need_datagrams(socket):
            socket.bound = False
            raise self.refuse(f"port {port} is taken")

    def need_datagrams(self, socket: Socket) -> Errno:
        """Open the UDP socket underneath, unless it is there."""
        if socket.datagrams is None:
            try:
                socket.datagrams = self.machine.network.datagrams(socket.local_port)
            except OSError as error:
                self.trace.note(f"UDP: {error}")
                return Errno.EADDRINUSE
            socket.datagrams.on_datagram = lambda data, host, port: self._datagram(socket, data, (host, port))
        return Errno.OK

    def _datagram(self, socket: Socket, data: bytes, sender: tuple[str, int]) -> None:
        if not socket.connected or sender == socket.target:
            socket.arrived(data, socket.names.get(sender, sender))

    def connect(self, socket: Socket, host: str, port: int, done: Callable[[Errno], None]) -> None:
        """Connect, handshake included; ``done`` gets the outcome."""
        plain_datagrams = not socket.stream and socket.security is None
        failed_before = socket.state is State.FAILED and self.variants["connect-again"] == "error"
        if socket.kind == RAW or socket.role or failed_before or socket.state is State.LISTENING:
            done(Errno.EINVAL)
        elif socket.connected and not plain_datagrams:
            done(Errno.EISCONN)
        else:
            socket.error = Errno.OK
            socket.connecting = done
            self.later(DNS_TIME, lambda: self._resolved(socket, host, port, done))

    def _resolved(self, socket: Socket, host: str, port: int, done: Callable[[Errno], None]) -> None:
        if socket.connecting is not done:
            return
        usable = self.usable(socket)
        address = self.resolve(host, socket.family, socket.cid)
        if usable or address is None:
            self._outcome(socket, usable or Errno.ENOENT, done)
            return
        socket.host, socket.port = host, port
        socket.target = self.machine.network.target(host, port)
        socket.names[socket.target] = (address, port)
        if socket.security is not None:
            self.module.tls.connect(socket, lambda result: self._outcome(socket, result, done))
            return
        if not socket.stream:
            self._outcome(socket, self.need_datagrams(socket), done)
            return
        transport = PlainTransport(self.loop, self.machine.network, self.trace)
        self.wire(socket, transport)
        transport.opened = lambda: self._outcome(socket, Errno.OK, done)
        transport.failed = lambda _, __: self._outcome(socket, Errno.ECONNREFUSED, done)
        transport.open(host, port, socket.local_port)

    def wire(self, socket: Socket, transport: PlainTransport) -> None:
        """Let a stream's data come to the socket."""
        socket.transport = transport
        transport.data = socket.arrived
        transport.ended = lambda why: socket.finished(Errno.ECONNRESET if "reset" in why else Errno.OK)

    def _outcome(self, socket: Socket, result: Errno, done: Callable[[Errno], None]) -> None:
        """Tell what has become of a connect or an accept, unless the PDN's loss was its end already."""
        if socket.connecting is not done:
            return
        socket.connecting = None
        if result:
            self.trace.note(f"socket {socket.handle}: connect failed: {result.name}")
            socket.drop()
        if socket.state is not State.FAILED or not result:
            socket.state = State.FAILED if result else State.CONNECTED
        done(result)
        self.changed(socket)

    # --- serving ------------------------------------------------------------------------------------------------------

    def listen(self, socket: Socket) -> None:
        """Listen on the bound port."""
        served = socket.role or (self.variants["listen-role"] == "any" and socket.security is None)
        if not served or not socket.stream or not socket.bound or socket.state is not State.FRESH:
            raise self.refuse(f"socket {socket.handle} cannot listen")
        if self.usable(socket):
            raise self.refuse("no PDN")

        def accepted(stream: Stream, host: str, port: int) -> None:
            stream.pause()
            socket.waiting.append((stream, host, port))
            self.changed(socket)

        try:
            socket.listener = self.machine.network.listen(socket.local_port, accepted)
        except OSError as error:
            raise self.refuse(f"listen: {error}") from None
        socket.local_port = socket.listener.local_port
        socket.state = State.LISTENING

    def accept(self, server: Socket, client: Socket, done: Callable[[Errno], None]) -> None:
        """Hand the next client to the socket ``client``, its handshake done."""
        stream, host, port = server.waiting.popleft()
        client.host, client.port = host, port
        client.target = (host, port)
        client.connecting = done
        if client.security is not None:
            self.module.tls.accept(client, stream, lambda result: self._outcome(client, result, done))
            return
        transport = PlainTransport(self.loop, self.machine.network, self.trace)
        self.wire(client, transport)
        transport.adopt(stream)
        self._outcome(client, Errno.OK, done)
        transport.resume()
