"""aiocoap's client on top of a connected datagram socket of the contract."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import aiocoap
from aiocoap.error import NetworkError, UnparsableMessage
from aiocoap.interfaces import EndpointAddress, MessageInterface, MessageManager

from modemtls.errors import ModemError, TruncatedError
from modemtls.net import Option, Socket

LARGEST = 2048
"""More than a CoAP message over UDP has by default (RFC 7252, 4.6: 1152 bytes)."""
OVERHEAD = 1152 - 1024
"""What that leaves beside a payload of the largest block."""


def block_exponent(room: int) -> int:
    """The largest block (RFC 7959, 2.2: two to the power of four more) of which a message fits into `room` bytes."""
    return max(0, min(6, (room - OVERHEAD).bit_length() - 5))


class Peer(EndpointAddress):
    """The one peer that a connected socket has."""

    scheme = "coaps"
    is_multicast = is_multicast_locally = False
    hostinfo = ""
    hostinfo_local = "modem"
    maximum_block_size_exp = 6
    maximum_payload_size = 1024

    def __init__(self, sock: Socket) -> None:
        self.hostinfo = f"{sock.remote_hostname}:{sock.remote_port}"
        self.maximum_block_size_exp = block_exponent(int(sock.get_opt(Option.INNER_MTU)))
        self.maximum_payload_size = 16 << self.maximum_block_size_exp

    @property
    def uri_base(self) -> str:
        return f"{self.scheme}://{self.hostinfo}"

    @property
    def uri_base_local(self) -> str:
        return f"{self.scheme}://{self.hostinfo_local}"

    @property
    def blockwise_key(self) -> object:
        return self.hostinfo


class Transport(MessageInterface):
    """Calls of the contract block: one thread receives, another one sends. The socket is closed with the context."""

    def __init__(self, manager: MessageManager, sock: Socket) -> None:
        self._manager, self._sock, self._peer = manager, sock, Peer(sock)
        self._loop = asyncio.get_running_loop()
        self._sender = ThreadPoolExecutor(1, "CoAP sender")
        self._closing = False
        self._receiver = threading.Thread(target=self._receive, name="CoAP receiver", daemon=True)
        self._receiver.start()

    def _receive(self) -> None:
        while not self._closing:
            try:
                datagram = self._sock.receive(LARGEST, timeout=None)
                message = aiocoap.Message.decode(datagram, remote=self._peer)
            except (UnparsableMessage, TruncatedError):
                continue  # ignored (RFC 7252, 4.3): what matters is sent again
            except ModemError as error:
                self._failed(error)
                return
            self._loop.call_soon_threadsafe(self._manager.dispatch_message, message)

    def _failed(self, error: ModemError) -> None:
        if not self._closing:
            self._loop.call_soon_threadsafe(self._manager.dispatch_error, NetworkError(str(error)), self._peer)

    def send(self, message: aiocoap.Message) -> None:
        self._sender.submit(self._send, message.encode())

    def _send(self, datagram: bytes) -> None:
        try:
            self._sock.send(datagram)
        except ModemError as error:
            self._failed(error)

    async def determine_remote(self, message: aiocoap.Message) -> Peer | None:
        mine = message.requested_scheme == Peer.scheme and message.remote.hostinfo == self._peer.hostinfo
        return self._peer if mine else None

    async def recognize_remote(self, remote: EndpointAddress) -> bool:
        return remote is self._peer

    async def shutdown(self) -> None:
        self._closing = True
        await asyncio.to_thread(self._sender.shutdown)
        await asyncio.to_thread(self._sock.close)
        await asyncio.to_thread(self._receiver.join)


async def client(sock: Socket) -> aiocoap.Context:
    """A context whose requests to the peer of a connected socket go through that socket."""

    async def transport(manager: MessageManager) -> Transport:
        return Transport(manager, sock)

    context = aiocoap.Context()
    await context._append_tokenmanaged_messagemanaged_transport(transport)
    return context
