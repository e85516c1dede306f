"""Data mode: every byte of the host is payload until ``+++`` or a length (SM-DM, SLM-DM, SM-C)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from modemtls.sim.command import Form
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.nordic.area import Area
from modemtls.sim.personalities.nordic.errno import Errno

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.sim.job import Job
    from modemtls.sim.loop import Loop, Timer
    from modemtls.sim.personalities.nordic.socket import Socket

__all__ = ["DataMode"]

ESCAPE = b"+++"  # CONFIG_SM_DATAMODE_TERMINATOR; no guard time
BUFFER = 4096  # bytes collected at most
RX_BUFFER, BITS = 2048, 10  # the UART's receive buffer and 8N1: what the least idle time is worked out from
MARGIN = 10  # ms
LONGEST_IDLE = 0xFFFF  # ms


class _Payload:
    """Collects payload; finds the escape, the given length, and silence."""

    def __init__(
        self,
        loop: Loop,
        idle: float,
        length: int | None,
        flush: Callable[[bytes], None],
        left: Callable[[], None],
        *,
        sends_parts: bool,
    ) -> None:
        self._loop, self._idle, self._left_over, self._flush, self._left = loop, idle, length, flush, left
        self._sends_parts = sends_parts
        self._collected = bytearray()
        self._matched = 0
        self._timer: Timer | None = None
        self._over = False
        self.behind = bytearray()
        self.discards = False  # only the escape is looked for

    def feed(self, data: bytes) -> int:
        """Take everything up to the end of data mode; what follows waits for the last block to be sent."""
        if self._over:
            self.behind += data
            return len(data)
        if self._timer is not None:
            self._timer.cancel()
        taken, over = (self._counted if self._left_over is not None and not self.discards else self._escaped)(data)
        if over:
            self._over = True
            self.flush()
            self._left()
        elif self._sends_parts or self._left_over is None:
            self._timer = self._loop.call_later(self._idle, self._silence)
        return taken

    def cancel(self) -> None:
        """Stop the clock."""
        if self._timer is not None:
            self._timer.cancel()

    def _counted(self, data: bytes) -> tuple[int, bool]:
        assert self._left_over is not None
        part = data[: self._left_over]
        self._left_over -= len(part)
        self._collect(part)
        return len(part), not self._left_over

    def _escaped(self, data: bytes) -> tuple[int, bool]:
        for count, byte in enumerate(data, 1):
            if byte == ESCAPE[self._matched]:
                self._matched += 1
                if self._matched == len(ESCAPE):
                    return count, True
            else:
                self._collect(ESCAPE[: self._matched] + bytes([byte]))
                self._matched = 0
        return len(data), False

    def _silence(self) -> None:
        self._collect(ESCAPE[: self._matched])
        self._matched = 0
        self.flush()

    def _collect(self, data: bytes) -> None:
        if self.discards:
            return
        self._collected += data
        while len(self._collected) >= BUFFER:
            part = bytes(self._collected[:BUFFER])
            del self._collected[:BUFFER]
            self._flush(part)

    def flush(self) -> None:
        """Send what has been collected."""
        data = bytes(self._collected)
        self._collected.clear()
        if data and not self.discards:
            self._flush(data)


class DataMode(Area):
    """The mode, and its idle timer."""

    def reset(self) -> None:
        """Not in data mode; the timer as short as the rate allows."""
        self._idle_ms: int | None = None
        self._socket: Socket | None = None
        self._payload: _Payload | None = None
        self._result = Errno.OK
        self._pending = 0
        self._leaving = False
        self._polled = True

    @property
    def _least(self) -> int:
        return math.ceil(RX_BUFFER * BITS * 1000 / self.module.general.baud) + MARGIN

    @at("#XDATACTRL")
    def _control(self, job: Job) -> None:
        current = self._least if self._idle_ms is None else max(self._idle_ms, self._least)
        if job.form is Form.READ:
            job.info(f"#XDATACTRL: {current},{self._least}")
            return
        self._idle_ms = self.args(job, 1, 1).number(0, self._least, LONGEST_IDLE)

    @property
    def socket(self) -> Socket | None:
        """The socket whose data the line carries."""
        return self._socket

    def enter(
        self,
        job: Job,
        socket: Socket,
        send: Callable[[bytes, Callable[[Errno], None]], None],
        length: int | None = None,
        *,
        polled: bool = True,
    ) -> None:
        """Give the line to ``send``, which is called with each block and what to call with its outcome.

        ``polled``: the application looks after the socket meanwhile, so it notices when that breaks.
        """
        self._socket, self._result, self._pending, self._leaving = socket, Errno.OK, 0, False
        self._polled = polled
        interpreter = self.machine.interpreter

        def flush(data: bytes) -> None:
            self.trace.received(data)
            if self._payload is None or self._payload.discards:
                return
            if not socket.stream and len(data) >= BUFFER:
                self._abort(Errno.EMSGSIZE)
                return
            self._pending += 1
            send(data, lambda why: self._sent(why, len(data)))

        idle = (self._least if self._idle_ms is None else max(self._idle_ms, self._least)) / 1000
        self._payload = _Payload(
            self.loop, idle, length, flush, self._left, sends_parts=self.variants["datamode-length"] == "sends"
        )
        job.defer()
        if self.variants["datamode-entry"] == "OK":
            interpreter.send(interpreter.result("OK"))
        interpreter.enter(self._payload, data_mode=True)  # what has been typed ahead is payload, behind the OK
        job.final("")

    def _sent(self, why: Errno, count: int) -> None:
        self._pending -= 1
        if why:
            self._result = self._result or why
        elif self.variants.on("datamode-urc") and self._socket is not None:
            self.machine.interpreter.send(f"\r\n#XDATAMODE: {count}\r\n".encode())
        if self._leaving and not self._pending:
            self._report()

    def _left(self) -> None:
        self._leaving = True
        if not self._pending:
            self._report()

    def _report(self) -> None:
        """Print how it went, and go back to commands."""
        interpreter = self.machine.interpreter
        socket, self._socket = self._socket, None
        behind = bytes(self._payload.behind) if self._payload is not None else b""
        self._payload = None
        form, why = self.variants["datamode-exit"], self._result
        if form == "plain":
            text = "ERROR" if why else "OK"
        elif why:
            text = "#XDATAMODE: -1" if form == "minus-one" else f"#XDATAMODE: -{why.value}"
        else:
            text = "#XDATAMODE: 0"
        interpreter.leave()
        interpreter.send(f"\r\n{text}\r\n".encode())
        interpreter.release()
        if socket is not None:
            self.module.sockets.changed(socket)  # for those who were told nothing in data mode
        if behind:
            interpreter.receive(behind)

    def _abort(self, why: Errno) -> None:
        """Give up: the host has to say +++, or is simply back in command mode."""
        payload = self._payload
        if payload is None or payload.discards:
            return
        self._result = self._result or why
        payload.discards = True
        payload.cancel()
        if self.variants["datamode-break"] == "leaves":
            self._left()
        else:
            self.machine.interpreter.send(ESCAPE)

    def observe(self, socket: Socket) -> bool:
        """Watch the socket break; everything else of it is told later."""
        if socket is not self._socket:
            return False
        if (socket.error or socket.ended) and (self._polled or self.variants["datamode-break"] != "unnoticed"):
            self._abort(socket.error or Errno.ENOTCONN)
        return False
