"""+USOWR and +USOST: base, HEX and binary syntax (UBX-17003787 R16, 215 to 217; UBX-20032566 R05, 5.3, 5.6)."""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING

from modemtls.sim.command import Form, Refusal
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.ublox.area import NOT_SUPPORTED
from modemtls.sim.personalities.ublox.prompting import Prompting
from modemtls.sim.personalities.ublox.reading import MOST
from modemtls.sim.personalities.ublox.socket import IDS, Socket

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.sim.command import Args
    from modemtls.sim.job import Job

__all__ = ["Writing"]

PROMPT = b"\r\n@"
LONGEST_HOST = 256


class Writing(Prompting):
    """What the host sends to the peers."""

    def reset(self) -> None:
        """Nothing written yet."""
        self._writes = 0

    @at("+USOWR")
    def _write(self, job: Job) -> None:
        if job.form is Form.TEST:
            data = ',"HEX data"' if self.module.reading.hex else ',"data"'
            job.info(f"+USOWR: (0-{IDS - 1}),(0-{self.module.reading.most}){data}")
            return
        args = self.args(job, 2, 3)
        socket = self.module.sockets.need(args.number(0, 0, IDS - 1))
        if socket.peer is None or not (socket.connected or socket.ended):
            raise self.not_allowed(f"socket {socket.number} is not connected")
        self._data(job, args, 1, lambda data: self._written(job, socket, data))

    @at("+USOST")
    def _write_to(self, job: Job) -> None:
        if job.form is Form.TEST:
            data = ',"HEX data"' if self.module.reading.hex else ',"data"'
            job.info(f'+USOST: (0-{IDS - 1}),"remote_host",(1-65535),(0-{self.module.reading.most}){data}')
            return
        args = self.args(job, 4, 5)
        socket = self.module.sockets.need(args.number(0, 0, IDS - 1))
        host, port = args.text(1, longest=LONGEST_HOST), args.number(2, 1, 65535)
        if socket.stream:
            raise Refusal(cme=NOT_SUPPORTED)
        self._data(job, args, 3, lambda data: self._sent_to(job, socket, host, port, data))

    def _data(self, job: Job, args: Args, index: int, done: Callable[[bytes], None]) -> None:
        """Get the bytes, from the command or from the prompt."""
        given = len(args) > index + 1
        length = args.number(index, 0, self.module.reading.most if given else MOST)
        job.defer()
        if not given:
            if length:
                self.prompt(job, PROMPT, length, done)
            else:
                done(b"")
            return
        text = args.text(index + 1, longest=2 * MOST).encode("utf-8", "surrogateescape")
        if self.module.reading.hex:  # the binary syntax above knows no such mode
            if not re.fullmatch(rb"([0-9A-Fa-f]{2})*", text):
                raise self.bad("not hexadecimal")
            text = bytes.fromhex(text.decode())
        if len(text) != length:
            raise self.bad(f"{len(text)} bytes given, {length} announced")
        done(text)

    # --- doing it -------------------------------------------------------------------------------------------------

    def _every(self, variant: str) -> bool:
        every = int(self.variants.number(variant))
        return bool(every) and not self._writes % every

    def _written(self, job: Job, socket: Socket, data: bytes) -> None:
        """Send as much as goes, and answer with how much that is."""
        self._writes += 1
        if self.module.sockets.table.get(socket.number) is not socket:
            job.refuse(self.not_allowed(f"socket {socket.number} closed while the data was typed"))
            return
        if socket.ended:
            self._answer(job, f"+USOWR: {socket.number},0")
            return
        if self._full(socket, len(data)):
            job.refuse(Refusal("ERROR"))
            return
        if self._every("lost-write-lines"):
            job.ok()
            return
        if socket.stream and len(data) > 1 and self._every("short-writes"):
            data = data[: len(data) // 2]
        if data and not socket.write(data):
            socket.error = self.module.last_error = errno.EIO
            job.refuse(Refusal("ERROR"))
            return
        self._answer(job, f"+USOWR: {socket.number},{len(data)}")

    def _full(self, socket: Socket, length: int) -> bool:
        forced = self.machine.send_failures > 0 or self._every("send-fail-every")
        if not forced and socket.unsent + length <= self.module.facts.queue:
            return False
        self.machine.send_failures = max(0, self.machine.send_failures - 1)
        socket.error = self.module.last_error = errno.EWOULDBLOCK
        self.trace.note(f"socket {socket.number}: the queue is full")
        return True

    def _sent_to(self, job: Job, socket: Socket, host: str, port: int, data: bytes) -> None:
        self._writes += 1
        bearer = self.module.bearer
        address = self.machine.network.address(host, bearer.kind(bearer.cid))
        if self.module.sockets.table.get(socket.number) is not socket or socket.datagrams is None:
            job.refuse(self.not_allowed(f"socket {socket.number} closed while the data was typed"))
            return
        if address is None or bearer.cid is None:
            self.module.last_error = errno.ENETUNREACH if bearer.cid is None else 163
            job.refuse(Refusal("ERROR"))
            return
        target = self.machine.network.target(host, port)
        socket.names[target] = (address, port)
        socket.datagrams.send(data, *target)  # unprotected, even if the socket is to be secure: ubxlib issue 111
        socket.sent += len(data)
        self._answer(job, f"+USOST: {socket.number},{len(data)}")

    @staticmethod
    def _answer(job: Job, line: str) -> None:
        job.info(line)
        job.ok()
