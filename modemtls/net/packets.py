"""Datagrams through a modem: UDP and DTLS."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from modemtls.errors import (
    ModemError,
    NotSupportedError,
    TruncatedError,
)
from modemtls.net.abilities import able_for
from modemtls.net.address import check_port
from modemtls.net.contract import DEFAULT_SEND_TIMEOUT, UNSET, AddressFamily, State, Unset
from modemtls.net.contract.mtu import secure_inner, udp_inner
from modemtls.net.datagrams import Datagrams
from modemtls.net.offload import OPEN, OffloadSocket, of_the_transport
from modemtls.net.transport import check_local

if TYPE_CHECKING:
    from modemtls.modem.slots import Slot
    from modemtls.net.link import Link

__all__ = ["DatagramSocket"]


class DatagramSocket(OffloadSocket):
    """A datagram socket whose other half is in a modem; ``encrypted`` tells DTLS from plain UDP.

    One that is bound has a socket in the modem only where the modem has sockets without a peer; otherwise its port is
    remembered for :meth:`connect`, and so it is once that has failed.
    """

    kinds = ("udp", "dtls")
    datagram = True
    _readable = (*OPEN, State.BOUND)
    _local_family = AddressFamily.UNSPEC

    def _linked(self, slot: Slot) -> Link:
        return Datagrams(self._modem, slot, self._manners, self._changed)

    # -- life ---------------------------------------------------------------------------------------------------

    def _check_connectable(self) -> None:
        if self._state is not State.BOUND:
            super()._check_connectable()

    def _not_connected(self, error: BaseException) -> None:
        if self._state is State.BOUND and self.encrypted and not of_the_transport(error):
            self._state = State.CLOSED
            self._local_port = 0

    def bind(self, address: str | None, port: str) -> None:
        """Take a local port; see :meth:`Socket.bind`."""
        family, number = check_local(address, port, self._modem.profile.name)
        with self._life:
            self._check_here()
            super()._check_connectable()
            if number and not able_for(self._modem, "local_port", self._family):
                self._refuse("be given a local port", "local_port")
            if self._link is not None:
                self._end(None)  # interrupted the last time
            self._local_port, self._local_family = number, self._transport.local_family(family)
            if self._unconnected:
                try:
                    self._bind()
                except BaseException:
                    self._local_port = 0
                    raise
            self._state = State.BOUND
        self._changed()

    @property
    def _unconnected(self) -> bool:
        """Whether the modem has sockets of this kind without a peer."""
        return not self.encrypted and bool(self._modem.capabilities.get("udp_unconnected"))

    def _bind(self) -> Datagrams:
        slot: Slot | None = None
        try:
            slot = self._open(self._opening("bind", family=self._local_family), None)
            link = Datagrams(self._modem, slot, self._manners, self._changed, unconnected=True)
            self._addresses = None
            self._link = link
        except BaseException:
            self._give_up(slot)
            raise
        return link

    def _bound(self, what: str) -> Datagrams:
        """Return the link of a socket that is bound; made again if a connect that failed took its place."""
        if self.encrypted:
            self._refuse(what, what.replace(" ", "_"))
        with self._life:
            if self._state is not State.BOUND:
                raise ModemError("the socket is not bound", number=errno.EBADF)
            if not self._unconnected:
                self._refuse(what, "udp_unconnected")
            link = self._link
            if link is None:
                return self._bind()
            assert isinstance(link, Datagrams)
            return link

    # -- data ---------------------------------------------------------------------------------------------------

    def send(self, data: bytes | bytearray | memoryview, *, timeout: float | Unset | None = UNSET) -> None:
        """Send ``data`` as one datagram; see :meth:`Socket.send`. Over DTLS nothing of it is no datagram."""
        link = self._sendable()
        view = memoryview(data).cast("B")
        self._check_size(len(view))
        if view:
            link.send(view, self._deadline(DEFAULT_SEND_TIMEOUT if isinstance(timeout, Unset) else timeout))
            if self._noting is not None:
                self._noting(link.slot)

    def send_to(self, data: bytes | bytearray | memoryview, host: str, port: str) -> None:
        """Send one datagram to ``host``; see :meth:`Socket.send_to`."""
        link = self._bound("send to")
        name, number = self._check_host(host), check_port(port)
        self._transport.families(name)
        view = memoryview(data).cast("B")
        self._check_size(len(view))
        link.send_to(bytes(view), name, number, self._deadline(DEFAULT_SEND_TIMEOUT))

    def _check_size(self, size: int) -> None:
        limit = self._largest()
        if size > limit:
            raise ModemError(f"{size} bytes do not fit into one datagram; {limit} do", number=errno.EMSGSIZE)
        if not size and not self.encrypted:
            # What the commands of modems do with no data is anything from nothing to a question about what was sent.
            raise NotSupportedError(
                f"{self._modem.profile.name} cannot send an empty datagram", capability="empty_datagrams"
            )

    def receive(self, size: int, *, timeout: float | Unset | None = UNSET, peek: bool = False) -> bytes:
        """Return one datagram; see :meth:`Socket.receive`."""
        return bytes(self._received(self._connected(), size, timeout, peek=peek))

    def receive_from(self, size: int, *, timeout: float | Unset | None = UNSET) -> tuple[bytes, str, str]:
        """Return one datagram and whom it is from; see :meth:`Socket.receive_from`."""
        if self.encrypted or self._state is not State.CONNECTED:
            data = self._received(self._bound("receive from"), size, timeout)
            host, port = getattr(data, "source", None) or ("", 0)
            return bytes(data), host, str(port)
        host, number = self.remote_host, self.remote_port
        try:
            return bytes(self._received(self._connected(), size, timeout)), host, number
        except TruncatedError as error:
            error.address = (host, number)
            raise

    # -- questions ----------------------------------------------------------------------------------------------

    def _inner_mtu(self) -> int:
        if self._state is State.CLOSED or (self.encrypted and self._state is State.BOUND):
            return 0
        return self._largest()

    def _largest(self) -> int:
        """Return the largest payload of one datagram, in bytes."""
        room = udp_inner(self._transport.packets, self._family_in_use())
        if self._securing is None:
            return min(room, self._manners.send)
        return secure_inner(room, self._securing.shape(), limit=self._manners.send)

    def _family_in_use(self) -> AddressFamily:
        return self._local_family if self._state is State.BOUND else super()._family_in_use()

    @property
    def receive_limit(self) -> int | None:
        """What one command reads, unless the modem tells what is left or pushes datagrams as they are."""
        return self._manners.whole

    @property
    def send_limit(self) -> int:
        """The largest datagram that the modem takes."""
        return self._largest()
