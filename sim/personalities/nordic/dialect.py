"""What both dialects' socket commands have in common (SLM-SOCK-b, SM-SOCK, SM-C)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.command import Form
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.nordic.area import Area
from modemtls.sim.personalities.nordic.errno import Errno
from modemtls.sim.personalities.nordic.socket import DATAGRAM, RAW, STREAM, Security, Socket
from modemtls.sim.personalities.nordic.sockets import DNS_TIME

if TYPE_CHECKING:
    from modemtls.sim.command import Args
    from modemtls.sim.job import Job

__all__ = ["CLIENT", "LONGEST_HOST", "SERVER", "Dialect"]

CLIENT, SERVER = 0, 1  # <role>
LONGEST_HOST = 128
LAST_CID, LAST_TAG = 10, 2147483647
REQUIRED, NONE = 2, 0  # <peer_verify>
IPV6 = 2


class Dialect(Area):
    """Opening, names, text."""

    def open_plain(self, family: int, args: Args) -> Socket:
        """Carry out ``<family>,<type>,<role>[,<cid>]``; the family has been read."""
        kind, role = args.number(1, STREAM, RAW), args.number(2, CLIENT, SERVER)
        if (kind == RAW or family > IPV6) and (role == SERVER or (family > IPV6 and kind != RAW)):
            raise self.refuse("a raw socket is a client's")
        return self._opened(self.module.sockets.open(family, kind, role, args.number(3, 0, LAST_CID, 0)))

    def open_secure(self, family: int, args: Args) -> Socket:
        """Carry out ``<family>,<type>,<role>,<sec_tag>[,<peer_verify>[,<cid>]]``; the family has been read."""
        kind, role = args.number(1, STREAM, DATAGRAM), args.number(2, CLIENT, SERVER)
        tag = args.number(3, 0, LAST_TAG)
        if kind == DATAGRAM and role == SERVER:
            raise self.refuse("there is no DTLS server")
        verify = args.number(4, 0, 2, NONE if role == SERVER else REQUIRED)
        if self.variants["empty-tag"] == "open":
            why = self.module.tls.unusable(tag, role)
            if why:
                raise self.refuse(why)
        return self._opened(
            self.module.sockets.open(family, kind, role, args.number(5, 0, LAST_CID, 0), Security(tag, verify))
        )

    def _opened(self, socket: Socket) -> Socket:
        self.module.polling.opened(socket)
        return socket

    def text(self, args: Args, index: int) -> bytes:
        """Return text to send: no quotes in it, and a comma is unsafe."""
        value = args.text(index, longest=1 << 20)
        if "," in value and self.variants["comma-in-text"] != "sent":
            if self.variants["comma-in-text"] == "error":
                raise self.refuse("a comma in the text")
            self.trace.note("a comma cuts the text off")
            value = value.partition(",")[0]
        data = value.encode("utf-8", "surrogateescape")
        if len(data) > self.variants.number("text-max"):
            raise self.refuse(f"{len(data)} bytes of text")
        return data

    @property
    def most_read(self) -> int:
        """The most bytes of one receive."""
        return int(self.variants["rx-max"])

    def end(self, job: Job, why: Errno, *lines: str) -> None:
        """Answer with lines and OK, or with a bare ERROR."""
        if why:
            job.refuse(self.refuse(f"{job.command.name}: {why.name}"))
            return
        job.info(*lines)
        job.ok()

    def sent(self, job: Job, socket: Socket, head: str, why: Errno, count: int) -> None:
        """Answer a send: a short write on a stream tells what went, and is an error (SM-C)."""
        if why and not (socket.stream and count):
            self.end(job, why)
            return
        job.info(f"{job.command.name}: {head}{count}")
        self.end(job, why)

    @at("#XGETADDRINFO")
    def _resolve(self, job: Job) -> None:
        args = self.args(job, 1, 2)
        host, family = args.text(0, longest=LONGEST_HOST), args.number(1, 0, IPV6, 0)

        def resolved() -> None:
            address = self.module.sockets.resolve(host, family)
            if address is None:
                job.info(f'{job.command.name}: "not found"')
                job.refuse(self.refuse(f"no address of {host!r}"))
            else:
                self.end(job, Errno.OK, f'{job.command.name}: "{address}"')

        job.defer()
        self.later(DNS_TIME, resolved)

    def need_action(self, job: Job) -> None:
        """Refuse a command that takes nothing but itself."""
        if job.form is not Form.ACTION:
            raise self.refuse(f"{job.command.name} takes nothing")
