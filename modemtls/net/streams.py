"""Streams through a modem: TLS and TCP, to those who are called and from those who call."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from modemtls.errors import ModemError, ModemTimeoutError, NotSupportedError
from modemtls.net.contract import DEFAULT_SEND_TIMEOUT, UNSET, State, Unset
from modemtls.net.link import Link
from modemtls.net.offload import OffloadSocket
from modemtls.net.transport import check_local

if TYPE_CHECKING:
    from modemtls.modem.slots import Slot

__all__ = ["StreamSocket"]


class StreamSocket(OffloadSocket):
    """A stream socket whose other half is in a modem; ``encrypted`` tells TLS from plain TCP."""

    kinds = ("tcp", "tls")

    def _linked(self, slot: Slot) -> Link:
        return Link(self._modem, slot, self._manners, self._changed)

    # -- for those who call -------------------------------------------------------------------------------------

    def bind(self, address: str | None, port: str) -> None:
        """Listen at ``port``; see :meth:`Socket.bind`. It has to be given: what the modem chose nobody could know."""
        family, number = check_local(address, port, self._modem.profile.name)
        with self._life:
            self._check_here()
            self._check_connectable()
            capability = "server" if self.encrypted else "listen"
            if not self._modem.capabilities.get(capability):
                self._refuse("accept connections", capability)
            if not number:
                raise NotSupportedError(
                    f"{self._modem.profile.name} listens at a port that it is told",
                    capability="ephemeral_port",
                    choices=("give the port",),
                )
            if self._link is not None:
                self._end(None)  # interrupted the last time
            slot: Slot | None = None
            try:
                self._local_port = number
                slot = self._open(self._opening("listen", family=self._transport.local_family(family)), None)
                self._take_up(slot, State.BOUND, "", "")
            except BaseException:
                self._give_up(slot)
                self._local_port = 0
                raise
        self._changed()

    def accept(self, *, timeout: float = 5.0) -> StreamSocket:
        """Return a socket for whoever calls; see :meth:`Socket.accept`."""
        if self.encrypted and self._state is State.CLOSED and not self._modem.capabilities.get("server"):
            self._refuse("accept connections", "accept")
        deadline = self._deadline(timeout)
        while True:
            link = self._link
            if self._state is not State.BOUND or link is None:
                raise ModemError("nobody listens at this socket", number=errno.ENETDOWN)
            slot: Slot | None = None
            made: StreamSocket | None = None
            try:
                slot = self._come(link, deadline)
                if slot is not None:
                    made = StreamSocket(self._given, self._configuration, receive=self._mode, transport=self._wishes)
                    host, port = slot.remote or ("", "")
                    made._take_up(slot, State.ACCEPTED, host, str(port))
                    return made
            except BaseException:
                if slot is not None and (made is None or made.state is State.CLOSED):
                    self._modem.sockets.close(slot, deadline=self._modem.now())
                raise
            self._await_caller(link, deadline)

    def _come(self, link: Link, deadline: float | None) -> Slot | None:
        """Return a connection that has come, None if none has."""
        slot = link.slot
        slot.check()
        if slot.closed is not None:
            raise ModemError(f"nobody listens any more: {slot.closed}", number=errno.ENETDOWN)
        if not slot.acceptable and self._manners.poll is None:
            return None
        return self._modem.sockets.accept(slot, deadline=deadline)

    def _await_caller(self, link: Link, deadline: float | None) -> None:
        """Wait until a connection may have come."""
        now, period = self._modem.now(), self._manners.poll
        until = deadline if period is None else now + period
        if period is not None and deadline is not None:
            until = min(now + period, deadline)
        came = self._modem.channel.wait(lambda: link.closing or link.slot.acceptable, until)
        if not came and deadline is not None and self._modem.now() >= deadline:
            raise ModemTimeoutError("nobody called in time")

    # -- data ---------------------------------------------------------------------------------------------------

    def send(self, data: bytes | bytearray | memoryview, *, timeout: float | Unset | None = UNSET) -> None:
        """Send all of ``data`` or raise; see :meth:`Socket.send`."""
        link = self._sendable()
        view = memoryview(data).cast("B")
        if view:
            link.send(view, self._deadline(DEFAULT_SEND_TIMEOUT if isinstance(timeout, Unset) else timeout))
            if self._noting is not None:
                self._noting(link.slot)

    def receive(self, size: int, *, timeout: float | Unset | None = UNSET, peek: bool = False) -> bytes:
        """Return what is there, up to ``size`` bytes; see :meth:`Socket.receive`."""
        link = self._connected()
        return self._received(link, size, timeout, peek=peek) if size else b""

    @property
    def ready(self) -> bool:
        """Whether :meth:`take` gives something now; of one that listens, whether :meth:`accept` may."""
        link = self._link
        if self._state is State.BOUND and link is not None:
            return link.slot.acceptable
        return super().ready
