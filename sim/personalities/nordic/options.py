"""Socket options (SLM-SOCK-a/b, SM-SOCK, sm_sockopt.h; meaning: NRFX-H)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.nordic.area import Area
from modemtls.sim.personalities.nordic.facts import Option
from modemtls.sim.personalities.nordic.socket import DATAGRAM
from modemtls.sim.personalities.nordic.tls import cid_status, is_aead

if TYPE_CHECKING:
    from modemtls.sim.command import Args
    from modemtls.sim.job import Job
    from modemtls.sim.personalities.nordic.socket import Security, Socket

__all__ = ["Options"]

GET, SET = 0, 1
PLAIN = {  # number: least, most, value at first
    2: (0, 1, 0), 20: (0, 600, 0), 21: (1, 600, 30), 30: (0, 1, 0), 31: (0, 1, 1), 32: (0, 1, 1), 34: (0, 1, 0),
    40: (0, 10, 0), 55: (0, 135, 0), 61: (1, 5, 1), 62: (0, 604800, 0),
}  # fmt: skip
HANDSHAKE_TIMES = (1, 3, 7, 15, 31, 63, 123)  # s
MOST_SAVED = 4  # DTLS sessions
LONGEST_HOST = 128
DATAGRAMS_ONLY = {
    Option.HANDSHAKE_TIMEOUT, Option.CID, Option.CID_STATUS, Option.SAVE, Option.LOAD, Option.FRAGMENT,
}  # fmt: skip
SET_ONLY = {Option.CACHE_PURGE, Option.CID, Option.SAVE, Option.LOAD}
GET_ONLY = {Option.SUITE_USED, Option.CID_STATUS}


class Options(Area):
    """``#XSOCKETOPT`` and ``#XSSOCKETOPT``."""

    def _socket(self, job: Job) -> tuple[Socket, Args, int]:
        """Return the socket, the values, and where the operation stands among them."""
        if self.module.handles:
            args = self.args(job, 3, 4)
            return self.module.sockets.get(args.number(0, 0, 99)), args, 1
        args = self.args(job, 2, 3)
        return self.module.sockets.selected, args, 0

    def _answer(self, job: Job, socket: Socket, value: int | str) -> None:
        head = f"{socket.handle}," if self.module.handles else ""
        job.info(f"{job.command.name}: {head}{value}")

    @at("#XSOCKETOPT")
    def _plain(self, job: Job) -> None:
        socket, args, at_ = self._socket(job)
        op, number = args.number(at_, GET, SET), args.number(at_ + 1, 0, 999)
        if number not in PLAIN:
            raise self.refuse(f"no option {number}")
        least, most, default = PLAIN[number]
        if op == GET:
            args.count(at_ + 2, at_ + 2)
            self._answer(job, socket, socket.options.get(number, default))
        else:
            socket.options[number] = args.number(at_ + 2, least, most)

    @at("#XSSOCKETOPT")
    def _secure(self, job: Job) -> None:
        socket, args, at_ = self._socket(job)
        op, number = args.number(at_, GET, SET), args.number(at_ + 1, 0, 999)
        option = self.module.release.options.get(number)
        security = socket.security
        if option is None or security is None:
            raise self.refuse(f"no secure option {number} here")
        if option in DATAGRAMS_ONLY and socket.kind != DATAGRAM:
            raise self.refuse(f"{option.value} is for DTLS")
        if op == GET:
            args.count(at_ + 2, at_ + 2)
            self._answer(job, socket, self._get(socket, security, option))
        elif option in GET_ONLY:
            raise self.refuse(f"{option.value} can only be read")
        elif option is Option.HOSTNAME:
            self._set_host(security, args, at_ + 2)
        else:
            self._set(socket, security, option, args.number(at_ + 2, -(2**31), 2**31 - 1))

    def _get(self, socket: Socket, security: Security, option: Option) -> int | str:
        if option in SET_ONLY or (option is Option.HOSTNAME and not self.module.handles):
            raise self.refuse(f"{option.value} can only be set")
        match option:
            case Option.HOSTNAME:
                return security.host  # unquoted
            case Option.SUITE_USED:
                if not self.module.firmware.suite_known or not socket.suite:
                    raise self.refuse("no cipher suite known")
                return f"0x{socket.suite:x}"
            case Option.PEER_VERIFY:
                return security.verify
            case Option.SESSION_CACHE:
                return int(security.cache)
            case Option.HANDSHAKE_TIMEOUT:
                return security.handshake_limit
            case Option.CID_STATUS:
                return cid_status(socket.association)
        return security.fragment

    def _set_host(self, security: Security, args: Args, index: int) -> None:
        value = args.raw(index)
        if not value.quoted and value.text == "NULL":
            security.host = ""
        elif value.quoted and value.text:
            security.host = args.text(index, longest=LONGEST_HOST)
        else:
            raise self.refuse("TLS_HOSTNAME is a quoted name or NULL")

    def _set(self, socket: Socket, security: Security, option: Option, value: int) -> None:
        allowed: tuple[int, ...] = {
            Option.PEER_VERIFY: (0, 1, 2),
            Option.SESSION_CACHE: (0, 1),
            Option.HANDSHAKE_TIMEOUT: HANDSHAKE_TIMES,
            Option.CID: (0, 1, 2),
            Option.FRAGMENT: (0, 1, 2),
        }.get(option, (value,))
        if value not in allowed:
            raise self.refuse(f"{option.value} cannot be {value}")
        match option:
            case Option.PEER_VERIFY:
                security.verify = value
            case Option.SESSION_CACHE:
                if self.module.credentials.native_tls:
                    raise self.refuse("native TLS keeps no sessions")
                security.cache = bool(value)
            case Option.CACHE_PURGE:
                self.module.tls.purge()
            case Option.HANDSHAKE_TIMEOUT:
                security.handshake_limit = value
            case Option.FRAGMENT:
                security.fragment = value
            case Option.CID:
                if not self.module.firmware.cid or socket.association is not None:
                    raise self.refuse("Connection ID: not with this firmware, or too late")
                security.cid = value
            case Option.SAVE:
                self._save(socket, security)
            case Option.LOAD:
                if not security.saved:
                    raise self.refuse("nothing is saved")
                security.saved = False

    def _save(self, socket: Socket, security: Security) -> None:
        saved = sum(other.security is not None and other.security.saved for other in self.module.sockets.table.values())
        association = socket.association
        if (
            association is None
            or not socket.connected
            or security.saved
            or saved >= MOST_SAVED
            or not is_aead(association)
        ):
            raise self.refuse("this session cannot be saved")
        security.saved = True
