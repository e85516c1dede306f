"""+USODL, the direct link, and +UDCONF, what sends its bytes on.

UBX-17003787 R11, 198 to 202, R16, 223; UBX-20032566 R05, 9.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.command import Form, Refusal
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.ublox.area import NOT_SUPPORTED, Area
from modemtls.sim.personalities.ublox.socket import IDS, Socket
from modemtls.sim.phases import StreamPhase

if TYPE_CHECKING:
    from modemtls.sim.job import Job
    from modemtls.sim.loop import Timer

__all__ = ["DirectLink"]

LINE_BACKLOG = 8192  # bytes towards the host above which the module stops reading from the network
ESCAPE, GUARD = 2, 12  # S registers
GUARD_UNIT = 0.02  # s
LARGEST_DATAGRAM = 1472


class DirectLink(Area):
    """The line put through to a socket's peer."""

    def reset(self) -> None:
        """No link."""
        self._socket: Socket | None = None
        self._packet_size = LARGEST_DATAGRAM
        self._waiting = bytearray()
        self._timer: Timer | None = None

    def stop(self) -> None:
        """Forget the link."""
        super().stop()
        self._socket = None
        self._waiting.clear()

    @at("+USODL")
    def _link(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info(f"+USODL: (0-{IDS - 1})")
            return
        socket = self.module.sockets.need(self.args(job, 1, 1).number(0, 0, IDS - 1))
        if not socket.connected:
            raise self.not_allowed(f"socket {socket.number} is not connected")
        if socket.secure and self.variants["direct-link-tls"] == "refuse":
            raise Refusal(cme=NOT_SUPPORTED)
        interpreter = self.machine.interpreter
        registers = interpreter.settings.registers
        self._socket = socket
        self._waiting.clear()
        phase = StreamPhase(
            self.loop,
            self._outgoing,
            self._escaped,
            guard=registers[GUARD] * GUARD_UNIT,
            mark=bytes([registers[ESCAPE] & 0x7F]),
        )
        interpreter.enter(phase, data_mode=True)
        job.final("CONNECT")
        if self.variants["direct-link-unread"] == "first":
            while socket.pieces:
                interpreter.send(socket.take(1 << 30).data)

    def take(self, socket: Socket, data: bytes) -> bool:
        """Hand received data to the line; returns whether it was for the line."""
        if socket is not self._socket:
            return False
        socket.received += len(data)
        self.machine.interpreter.send(data)
        if self.machine.backlog > LINE_BACKLOG and socket.transport is not None:
            socket.transport.pause()
        return True

    def drained(self) -> None:
        """Read on: the line has room."""
        if self._socket is not None and self._socket.transport is not None:
            self._socket.transport.resume()

    # --- outgoing -------------------------------------------------------------------------------------------------

    def _outgoing(self, data: bytes) -> None:
        socket = self._socket
        self.trace.received(data)
        if socket is None:
            return
        if socket.stream:
            socket.write(data)  # how the stream is cut means nothing to the peer
            return
        length, character = socket.triggers.values[6], socket.triggers.values[7]
        for byte in data:
            self._waiting.append(byte)
            if byte == character or len(self._waiting) >= (length or self._packet_size):
                self._send()
        self._arm(socket)

    def _arm(self, socket: Socket) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wait = socket.triggers.values[5]
        if self._waiting and wait:
            self._timer = self.later(wait / 1000, self._send)

    def _send(self) -> None:
        if self._waiting and self._socket is not None:
            self._socket.write(bytes(self._waiting))
        self._waiting.clear()

    # --- leaving --------------------------------------------------------------------------------------------------

    def _escaped(self) -> None:
        self._send()
        self._leave("DISCONNECT", "OK")

    def _leave(self, *results: str) -> None:
        interpreter = self.machine.interpreter
        socket, self._socket = self._socket, None
        interpreter.leave()
        for result in results:
            interpreter.send(interpreter.result(result))
        interpreter.release()
        if socket is not None and socket.transport is not None:
            socket.transport.resume()

    def end(self, socket: Socket, *, tell: bool = True) -> bool:
        """Leave the link of a socket that has lost its peer; returns whether there was one."""
        if socket is not self._socket:
            return False
        if tell and self.variants["direct-link-end"] == "uusocl":
            self._socket = None
            self.machine.interpreter.leave()
            self.module.sockets.gone(socket)
            self.machine.interpreter.send(self.machine.interpreter.result("DISCONNECT"))
            self.machine.interpreter.release()
            return True
        self._leave("DISCONNECT")
        if tell and not socket.pieces:
            self.module.sockets.gone(socket)
        return True

    # --- triggers -------------------------------------------------------------------------------------------------

    @at("+UDCONF")
    def _configure(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+UDCONF: (1,2,5-8)")
            return
        args = self.args(job, 1, 3)
        what = args.number(0, 1, 8)
        if what == 1:
            self.module.reading.configure_hex(job)
        elif what == 2:
            if len(args) == 1:
                job.info(f"+UDCONF: 2,{self._packet_size}")
            else:
                self._packet_size = args.number(1, 1, LARGEST_DATAGRAM)
        elif what >= 5:
            self._trigger(job, what)
        else:
            raise self.bad(f"UDCONF={what}")

    def _trigger(self, job: Job, what: int) -> None:
        args = self.args(job, 2, 3)
        socket = self.module.sockets.need(args.number(1, 0, IDS - 1))
        values = socket.triggers.values
        if len(args) == 2:
            job.info(f"+UDCONF: {what},{socket.number},{values[what]}")
            return
        least, most = {
            5: (100, 120000), 6: (3, 2048 if socket.stream else LARGEST_DATAGRAM), 7: (-1, 255), 8: (1000, 720000),
        }[what]  # fmt: skip
        value = args.number(2, -1, 720000)
        if not least <= value <= most and not (value == 0 and what != 7):
            raise self.bad(f"UDCONF={what}: {value}")
        values[what] = value
