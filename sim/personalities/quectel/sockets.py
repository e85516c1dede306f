"""Connections as the QI and QSSL commands share them: ids, access modes, prompts, receive buffers, URCs, closing.

Sources: BG96 SSL manual V1.0, BG96 TCP(IP) manual V1.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.personalities.quectel.connection import (
    BUFFER,
    CLOSING,
    CONNECTED,
    INITIAL,
    LISTENING,
    OPENING,
    PUSH,
    TRANSPARENT,
    Connection,
    Piece,
)
from modemtls.sim.personalities.quectel.prompting import Prompting
from modemtls.sim.phases import StreamPhase

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.sim.job import Job

__all__ = ["CONNECT_FAILED", "IDS", "Sockets"]

IDS = 12
CONNECT_FAILED = 566
WRITE_FAILED = 558
PUSH_SIZE = 1460  # most bytes in one push URC
LINE_BACKLOG = 8192  # bytes towards the host above which the modem stops reading from the network
CLOSE_TIMEOUT = 10  # s, default of QICLOSE and QSSLCLOSE


class Sockets(Prompting):
    """The ids of one family."""

    open_name = ""  # +QSSLOPEN
    urc_name = ""  # +QSSLURC

    def reset(self) -> None:
        """No id in use."""
        self.table: dict[int, Connection] = {}
        self.suspended: Connection | None = None  # left with +++, for ATO
        self._streaming: Connection | None = None
        self._opens = 0
        self._sends = 0

    def stop(self) -> None:
        """Drop everything."""
        for connection in self.table.values():
            connection.drop()
        self.table.clear()
        self._streaming = self.suspended = None

    # --- opening ----------------------------------------------------------------------------------

    def admit(self, job: Job, connection: Connection, start: Callable[[Connection], None]) -> None:
        """Check what every open checks, then accept it: ``start`` runs when the modem begins to connect."""
        number, cid = connection.number, connection.cid
        refuse_later = 0
        if number in self.table:
            refuse_later = 563
            if self.variants["id-taken"] == "error":
                raise self.ip_error(563, f"id {number} is in use")
        elif not self.module.packet.active(cid):
            refuse_later = 561
            if self.variants["pdp-down"] == "error":
                raise self.ip_error(561, f"context {cid} is not active")
        self._opens += 1
        exhausted = int(self.variants.number("exhaustion"))
        if exhausted and self._opens > exhausted:
            refuse_later = 552
        if refuse_later:
            self.trace.note(f"open of id {number} fails: {refuse_later}")
            if connection.mode == TRANSPARENT:
                raise self.ip_error(refuse_later)
            self.loop.call_later(0, lambda: self.module.urc(f"{self.open_name}: {number},{refuse_later}"))
            return
        self.table[number] = connection
        connection.state = OPENING
        if connection.mode == TRANSPARENT:
            job.defer()
            connection.opener = job
        connection.timer = self.loop.call_later(self.variants.number("open-time"), lambda: start(connection))

    def opened(self, connection: Connection) -> None:
        """Report success."""
        connection.state = LISTENING if connection.kind in {"TCP LISTENER", "UDP SERVICE"} else CONNECTED
        if connection.kind in {"UDP", "UDP SERVICE"}:
            connection.state = CONNECTED
        job, connection.opener = connection.opener, None
        if job is not None:
            self.stream(connection, job)
        else:
            self.module.urc(f"{self.open_name}: {connection.number},0")

    def failed(self, connection: Connection, code: int, why: str) -> None:
        """Report failure."""
        self.trace.note(f"open of id {connection.number} fails: {code}: {why}")
        connection.drop()
        connection.state = INITIAL
        if self.variants["id-after-failed-open"] == "free" or connection.opener is not None:
            self.table.pop(connection.number, None)
        if self.variants["error-after-open"] == "code":
            self.module.last_error = code
        job, connection.opener = connection.opener, None
        if job is not None:
            job.refuse(self.ip_error(code))
        else:
            self.module.urc(f"{self.open_name}: {connection.number},{code}")

    # --- receiving --------------------------------------------------------------------------------

    def arrived(self, connection: Connection, data: bytes, peer: tuple[str, int] | None = None) -> None:
        """Take data of the peer: to the line, to a URC, or into the buffer."""
        if not connection.stream and connection.unread + len(data) > self.variants.number("receive-buffer"):
            self.trace.note(f"id {connection.number}: the buffer is full, a datagram of {len(data)} bytes is lost")
            return
        connection.total_received += len(data)
        if connection is self._streaming:
            self.machine.interpreter.send(data)
            if self.machine.backlog > LINE_BACKLOG and connection.transport is not None:
                connection.transport.pause()
            return
        connection.pieces.append(Piece(data, peer))
        connection.unread += len(data)
        if connection.mode == PUSH:
            self._push(connection)
        else:
            if not connection.announced:
                connection.announced = True
                self.module.urc(f'{self.urc_name}: "recv",{connection.number}{self.announcement(connection)}')
            if connection.unread >= self.variants.number("receive-buffer") and connection.transport is not None:
                connection.transport.pause()

    def announcement(self, connection: Connection) -> str:
        """Return what a buffer-mode recv URC says behind the id."""
        del connection
        return ""

    def push_header(self, connection: Connection, piece: Piece) -> str:
        """Return the push URC for a piece."""
        return f'{self.urc_name}: "recv",{connection.number},{len(piece.data)}'

    def _push(self, connection: Connection) -> None:
        while connection.pieces and self.machine.backlog <= LINE_BACKLOG:
            piece = connection.take(PUSH_SIZE) if connection.stream else connection.take_whole()
            self.module.urc(self.push_header(connection, piece), piece.data, trailer=self.variants.on("push-trailer"))
        if connection.pieces and connection.transport is not None:
            connection.transport.pause()
        elif not connection.pieces:
            if connection.transport is not None:
                connection.transport.resume()
            if connection.state == CLOSING:
                self._announce_close(connection)

    def drained(self) -> None:
        """Go on pushing: the line has room."""
        for connection in list(self.table.values()):
            if connection is self._streaming:
                if connection.transport is not None:
                    connection.transport.resume()
            elif connection.mode == PUSH and connection.pieces:
                self._push(connection)

    def read(self, connection: Connection, most: int) -> Piece:
        """Return buffered data, re-arm the URC, let the network go on."""
        piece = connection.take(most)
        if not connection.pieces and (not piece.data or self.variants["recv-again"] == "empty"):
            connection.announced = False
        if connection.unread < self.variants.number("receive-buffer") and connection.transport is not None:
            connection.transport.resume()
        if connection.close_held and not connection.pieces:
            self._announce_later(connection)
        return piece

    def readable(self, number: int) -> Connection:
        """Return the connection to read from, or refuse."""
        connection = self.table.get(number)
        if connection is None or connection.state in {INITIAL, OPENING, LISTENING} or connection.mode == PUSH:
            raise self.ip_error(552 if connection is None else 572, f"nothing to read on id {number}")
        return connection

    # --- the peer ends ----------------------------------------------------------------------------

    def ended(self, connection: Connection, why: str) -> None:
        """Note that the peer has closed, or that the connection broke."""
        self.trace.note(f"id {connection.number}: the peer has gone{': ' + why if why else ''}")
        connection.state = CLOSING
        if connection is self._streaming:
            self._end_stream("NO CARRIER")
            connection.close_announced = True
            self.suspended = None
        elif connection.mode == PUSH and connection.pieces:
            self._push(connection)  # the data first
        elif connection.pieces and self.variants["closed-urc"] == "glued":
            connection.close_held = True
        else:
            self._announce_close(connection)

    def _announce_later(self, connection: Connection) -> None:
        self.loop.call_later(0, lambda: self._announce_close(connection))

    def _announce_close(self, connection: Connection) -> None:
        if not connection.close_announced and self.table.get(connection.number) is connection:
            connection.close_announced = True
            self.module.urc(f'{self.urc_name}: "closed",{connection.number}')

    def bearer_lost(self, cid: int) -> None:
        """Drop the connections of a PDP context that has gone."""
        for connection in list(self.table.values()):
            if connection.cid != cid or connection.state == INITIAL:
                continue
            if connection.state == OPENING:
                self.failed(connection, 570, "the PDP context was lost")
                continue
            connection.drop()
            connection.state = CLOSING
            if self.variants.on("closed-after-pdpdeact") and connection is not self._streaming:
                self._announce_later(connection)
            else:
                connection.close_announced = True
            if connection is self._streaming:
                self._end_stream("NO CARRIER")
                self.suspended = None

    def close_all(self, cid: int) -> None:
        """QIDEACT closes every connection of its context."""
        for connection in [item for item in self.table.values() if item.cid == cid]:
            self.remove(connection)

    # --- closing ----------------------------------------------------------------------------------

    def close(self, job: Job) -> None:
        """QICLOSE and QSSLCLOSE: blocks until the peer has closed as well, or the time is up. An unused id gives OK."""
        args = self.ip_args(job)
        args.count(1, 2)
        number = args.number(0, 0, IDS - 1)
        timeout = args.number(1, 0, 65535, CLOSE_TIMEOUT)
        connection = self.table.get(number)
        if connection is None:
            return
        was_opening = connection.state == OPENING
        if connection.association is not None:
            connection.association.close()  # nothing to wait for: datagrams have no FIN
        self.remove(connection, keep_transport=not was_opening)
        transport = connection.transport
        if was_opening and self.variants["close-while-opening"] == "report":
            self.loop.call_later(0, lambda: self.module.urc(f"{self.open_name}: {number},{CONNECT_FAILED}"))
        if was_opening or transport is None or connection.state == INITIAL:
            return
        if timeout == 0:
            transport.close(lambda: None)
            return
        job.defer()
        timer = self.loop.call_later(timeout, job.ok)

        def peer_closed() -> None:
            timer.cancel()
            job.ok()

        if self.variants.on("close-blocks"):
            transport.close(lambda: None)
        else:
            transport.close(peer_closed)

    def remove(self, connection: Connection, *, keep_transport: bool = False) -> None:
        """Free an id; what is underneath goes at once unless it is kept to be closed in order."""
        self.table.pop(connection.number, None)
        if connection is self._streaming:
            self._end_stream("NO CARRIER")
        if connection is self.suspended:
            self.suspended = None
        transport = connection.transport
        if keep_transport and transport is not None:
            connection.transport = None
        connection.drop()
        connection.transport = transport

    # --- sending ----------------------------------------------------------------------------------

    def sendable(self, number: int) -> Connection:
        """Return the connection to send on, or refuse."""
        connection = self.table.get(number)
        if connection is None or connection.state != CONNECTED:
            raise self.ip_error(552 if connection is None else 567, f"id {number} is not connected")
        return connection

    def transmit(self, job: Job, connection: Connection, data: bytes, peer: tuple[str, int] | None = None) -> None:
        """Send, and answer SEND OK, SEND FAIL (no room) or ERROR (no connection any more)."""
        if self.table.get(connection.number) is not connection or connection.state != CONNECTED:
            job.refuse(self.ip_error(567, f"id {connection.number} closed while the data was typed"))
            return
        full = connection.transport is not None and connection.transport.unsent >= self.variants.number("send-buffer")
        every = int(self.variants.number("send-fail-every"))
        self._sends += 1
        if self.machine.send_failures or full or (every and not self._sends % every):
            self.machine.send_failures = max(0, self.machine.send_failures - 1)
            self.module.last_error = WRITE_FAILED
            job.final("SEND FAIL")
            return
        result = self.deliver(connection, data, peer)
        if result == "SEND OK":
            connection.total_sent += len(data)
        else:
            self.module.last_error = WRITE_FAILED
        job.final(result)

    def deliver(self, connection: Connection, data: bytes, peer: tuple[str, int] | None) -> str:
        """Send, to ``peer`` if the connection has none of its own; returns the result."""
        if connection.transport is not None:
            connection.transport.write(data)
        elif connection.datagrams is not None:
            connection.datagrams.send(data, *(peer or self.machine.network.target(connection.host, connection.port)))
        return "SEND OK"

    # --- transparent mode -------------------------------------------------------------------------

    def stream(self, connection: Connection, job: Job, text: str = "CONNECT") -> None:
        """Put the line through to the peer."""
        interpreter = self.machine.interpreter
        self._streaming = connection
        self.suspended = None
        connection.mode = TRANSPARENT

        def outgoing(data: bytes) -> None:
            self.trace.received(data)
            if connection.transport is not None:
                connection.total_sent += len(data)
                connection.transport.write(data)

        interpreter.enter(StreamPhase(self.loop, outgoing, self.escape), data_mode=True)
        job.final(text)
        waiting = connection.take(1 << 30).data
        connection.announced = False
        if waiting:
            interpreter.send(waiting)

    def escape(self) -> None:
        """Back to commands, the connection in buffer mode (+++ or DTR with &D1)."""
        connection = self._streaming
        if connection is not None:
            connection.mode = BUFFER
            self._end_stream("OK")
            self.suspended = connection
            if connection.transport is not None:
                connection.transport.resume()

    def _end_stream(self, result: str) -> None:
        interpreter = self.machine.interpreter
        self._streaming = None
        interpreter.leave()
        interpreter.send(interpreter.result(result))
        interpreter.release()

    def resume(self, job: Job) -> bool:
        """ATO: put the line through again; returns whether there is a connection to go back to."""
        connection = self.suspended
        if connection is None or connection.state != CONNECTED:
            return False
        text = self.variants["ato-text"]
        job.defer()
        self.stream(connection, job, f"CONNECT {text}" if text else "CONNECT")
        return True

    def switch(self, job: Job, number: int, mode: int) -> None:
        """QISWTMD."""
        connection = self.table.get(number)
        if connection is None or connection.state != CONNECTED:
            raise self.ip_error(567, f"id {number} is not connected")
        if mode == TRANSPARENT and not connection.stream:
            raise self.ip_error(552, "no transparent mode for datagrams")
        if mode == TRANSPARENT:
            job.defer()
            self.stream(connection, job)
            return
        connection.mode = mode
        if mode == PUSH:
            self.loop.call_later(0, lambda: self._push(connection))

    @property
    def streaming(self) -> bool:
        """Whether one of ours has the line."""
        return self._streaming is not None

    def drop_dtr(self, *, end: bool) -> None:
        """DTR fell: &D1 leaves data mode, &D2 ends the connection as well."""
        connection = self._streaming
        if connection is None:
            return
        self.escape()
        if end:
            self.remove(connection)
