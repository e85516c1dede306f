"""+USOSO and +USOGO: options of sockets (UBX-17003787 R16, 224; ubxlib u_cell_sock.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.command import Form, Refusal
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.ublox.area import NOT_SUPPORTED, Area
from modemtls.sim.personalities.ublox.socket import IDS

if TYPE_CHECKING:
    from modemtls.sim.job import Job

__all__ = ["SocketOptions"]

IP, TCP_LEVEL, SOCKET_LEVEL = 0, 6, 65535
LINGER = (SOCKET_LEVEL, 128)
_OPTIONS: dict[tuple[int, int], tuple[tuple[int, int, int], ...]] = {  # least, most, default of each value
    (IP, 1): ((0, 255, 0),),  # type of service
    (IP, 2): ((0, 255, 255),),  # time to live
    (TCP_LEVEL, 1): ((0, 1, 0),),  # no delay
    (TCP_LEVEL, 2): ((0, 2147483647, 7200000),),  # keep-idle, ms
    (SOCKET_LEVEL, 4): ((0, 1, 0),),  # reuse address
    (SOCKET_LEVEL, 8): ((0, 1, 0),),  # keep-alive
    (SOCKET_LEVEL, 32): ((0, 1, 0),),  # broadcast
    LINGER: ((0, 1, 0), (0, 32767, 0)),  # on, ms
    (SOCKET_LEVEL, 512): ((0, 1, 0),),  # reuse port
}


class SocketOptions(Area):
    """Options are kept, and change nothing that is simulated."""

    def _option(self, level: int, number: int) -> tuple[tuple[int, int, int], ...]:
        if level == TCP_LEVEL and not self.module.facts.tcp_options:
            raise Refusal(cme=NOT_SUPPORTED)
        if (level, number) not in _OPTIONS:
            raise self.bad(f"option {level},{number}")
        return _OPTIONS[level, number]

    @at("+USOSO")
    def _set(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info(f"+USOSO: (0-{IDS - 1}),(0,6,65535)")
            return
        args = self.args(job, 4, 5)
        socket = self.module.sockets.need(args.number(0, 0, IDS - 1))
        level, number = args.number(1, 0, 65535), args.number(2, 0, 65535)
        spans = self._option(level, number)
        off = len(args) == 4 and args.number(3, 0, 1 << 31) == 0 and (level, number) == LINGER
        args.count(3 + (1 if off else len(spans)), 3 + len(spans))
        values = tuple(
            args.number(3 + index, least, most, default) for index, (least, most, default) in enumerate(spans)
        )
        if (level, number) == LINGER and not values[0] and self.variants["linger-off"] == "refuse":
            raise self.bad("linger off")
        socket.settings[level, number] = values

    @at("+USOGO")
    def _get(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info(f"+USOGO: (0-{IDS - 1}),(0,6,65535)")
            return
        args = self.args(job, 3, 3)
        socket = self.module.sockets.need(args.number(0, 0, IDS - 1))
        place = args.number(1, 0, 65535), args.number(2, 0, 65535)
        spans = self._option(*place)
        values = socket.settings.get(place, tuple(default for _, _, default in spans))
        job.info(f"+USOGO: {','.join(map(str, values))}")
