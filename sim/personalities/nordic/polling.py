"""What the application tells unasked: XAPOLL's events and automatic reception.

SM-SOCK, SM-LATER, SM-C; sdk-nrf PR 22671.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.command import Form
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.nordic.area import Area
from modemtls.sim.personalities.nordic.socket import ERR, HUP, IN, OUT, Socket

if TYPE_CHECKING:
    from modemtls.sim.command import Args
    from modemtls.sim.job import Job

__all__ = ["Polling"]

STOP, START = 0, 1
LINE_BACKLOG = 8192  # bytes towards the host above which the modem reads no more
IN_COMMANDS, IN_DATA = 1, 2  # XRECVCFG flags
MOST_PUSHED = 2048


class Polling(Area):
    """URCs of sockets."""

    def reset(self) -> None:
        """Nothing is asked for."""
        self._polled: int | None = None  # of sockets to come
        self._received: tuple[int, bool] = 0, False
        self._pushing = False
        self._arriving: set[Socket] = set()  # their data is told when what has come with it is known

    # --- XAPOLL -------------------------------------------------------------------------------------------------------

    @at("#XAPOLL")
    def _apoll(self, job: Job) -> None:
        if not self.module.release.async_poll:
            raise self.refuse("this release has no XAPOLL")
        if job.form is Form.READ and self.module.handles:
            for socket in self.module.sockets.table.values():
                if socket.poll.wanted is not None:
                    job.info(f"#XAPOLL: {socket.handle},{socket.poll.wanted}")
            return
        if self.module.handles:
            args = self.args(job, 2, 3)
            handles = [args.number(0, 0, 99)] if args.has(0) else []
            op, events = args.number(1, STOP, START), self._events(args, 2)
        else:
            args = self.args(job, 1, 10)
            handles = [args.number(index, 0, 99) for index in range(2, len(args))]
            op, events = args.number(0, STOP, START), self._events(args, 1)
        sockets = [self.module.sockets.get(handle) for handle in handles]
        if not handles:
            sockets = list(self.module.sockets.table.values())
            if self._later_too:
                self._polled = events if op == START else None
        for socket in sockets:
            if op == START:
                socket.poll.start(events)
            else:
                socket.poll.stop()
        job.ok()
        for socket in sockets:
            self.module.sockets.changed(socket)

    def _events(self, args: Args, index: int) -> int:
        events = args.number(index, 0, 5, 0)
        if events & ~(IN | OUT):
            raise self.refuse(f"events {events}")
        return events

    @property
    def _later_too(self) -> bool:
        return self.variants["without-handle"] == "later-too"

    def opened(self, socket: Socket) -> None:
        """Apply what was asked for all sockets."""
        socket.automatic, socket.automatic_hex = self._received
        if self._polled is not None:
            socket.poll.start(self._polled)
            self.later(0, lambda: self.module.sockets.changed(socket))

    def observe(self, socket: Socket) -> bool:
        """Tell what is to be told; of data not before it is known whether the end has come with it.

        The application collects events until its work queue tells them, in one URC (SM-C).
        """
        if not self._known(socket):
            return False
        self._push(socket)
        if socket in self._arriving:
            return False
        if self._state(socket) & socket.poll.armed == IN:
            self._arriving.add(socket)
            self.later(0, lambda: self._arrived(socket))
        else:
            self._tell(socket)
        return False

    def _known(self, socket: Socket) -> bool:
        return self.module.sockets.table.get(socket.handle) is socket

    def _arrived(self, socket: Socket) -> None:
        self._arriving.discard(socket)
        if self._known(socket):
            self._tell(socket)

    def _state(self, socket: Socket) -> int:
        state = socket.events
        if state & HUP and self.variants["poll-end"] == "17":
            state |= IN
        if socket.automatic & IN_COMMANDS:
            state &= ~IN
        return state

    def _tell(self, socket: Socket) -> None:
        told = socket.poll.due(self._state(socket))
        together = self.variants.on("poll-combined")
        for value in [told] if together else [told & bit for bit in (IN, OUT, ERR, HUP)]:
            if value:
                self.module.urc(f"#XAPOLL: {socket.handle},{value}")

    # --- automatic reception ------------------------------------------------------------------------------------------

    @at("#XRECVCFG")
    def _configure(self, job: Job) -> None:
        if not self.module.handles:
            raise self.refuse("the legacy application has no XRECVCFG")
        if job.form is Form.READ:
            for socket in self.module.sockets.table.values():
                if socket.automatic:
                    job.info(f"#XRECVCFG: {socket.handle},{socket.automatic},{int(socket.automatic_hex)}")
            return
        args = self.args(job, 2, 3)
        handles = [args.number(0, 0, 99)] if args.has(0) else []
        wanted = args.number(1, 0, IN_COMMANDS | IN_DATA), args.number(2, 0, 1, 0) == 1
        sockets = [self.module.sockets.get(handle) for handle in handles]
        if not handles:
            sockets = list(self.module.sockets.table.values())
            if self._later_too:
                self._received = wanted
        for socket in sockets:
            socket.automatic, socket.automatic_hex = wanted
        job.ok()
        for socket in sockets:
            self.module.sockets.changed(socket)

    def _push(self, socket: Socket) -> None:
        in_data = self.module.datamode.socket is not None
        wanted = IN_DATA if in_data else IN_COMMANDS
        if not socket.automatic & wanted or self._pushing or (in_data and socket is not self.module.datamode.socket):
            return
        self._pushing = True
        while socket.inbox and self.machine.backlog <= LINE_BACKLOG:
            piece = socket.take(MOST_PUSHED)
            if in_data:
                self.machine.interpreter.send(piece.data)
                continue
            payload = piece.data.hex().encode() if socket.automatic_hex else piece.data
            head = f"{socket.handle},{int(socket.automatic_hex)},{len(piece.data)}"
            if socket.stream or socket.connected or piece.peer is None:
                self.module.urc(f"#XRECV: {head}", payload)
            else:
                self.module.urc(f'#XRECVFROM: {head},"{piece.peer[0]}",{piece.peer[1]}', payload)
        self._pushing = False

    def drained(self) -> None:
        """Go on: the line has room."""
        for socket in list(self.module.sockets.table.values()):
            if socket.automatic and socket.inbox:
                self.observe(socket)
