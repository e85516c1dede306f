"""PDP contexts as 3GPP TS 27.007 has them (10.1.1, 10.1.10, 10.1.14, 10.1.23, 10.1.31)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modemtls.sim.command import Form, Refusal
from modemtls.sim.options import Variant
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.common.area import Area, Module

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.sim.job import Job

__all__ = ["CONTEXT_VARIANTS", "DNS", "Context", "Contexts"]

DNS = ("10.0.0.53", "10.0.1.53")
LONGEST_NAME = 127
_KINDS = ("IP", "IPV6", "IPV4V6", "Non-IP")
UNKNOWN_APN, WRONG_USER, NO_SERVICE = 27, 29, 148  # +CME ERROR, 9.2.2

CONTEXT_VARIANTS = (
    Variant("apn", "the only APN that the network accepts (empty: any)", ("",), free=True),
    Variant("pdp-auth", "USER:PASSWORD that the APN asks for (empty: none)", ("",), free=True),
)


@dataclass(slots=True)
class Context:
    """One context."""

    kind: str = "IP"
    apn: str = ""
    user: str = ""
    password: str = ""
    auth: int = 0
    active: bool = False


class Contexts(Area[Module]):
    """The contexts by number, ``default`` being the one that attaching brings up.

    ``tail`` ends each line of +CGDCONT?, ``mark`` stands around the address in +CGPADDR. ``lost`` is called with a
    context's number when it goes, ``gained`` when it comes.
    """

    tail = ",0,0"
    mark = '"'

    def __init__(self, module: Module, cids: range, default: int, mtu: int) -> None:
        super().__init__(module)
        self._cids, self.default, self.mtu = cids, default, mtu
        self.lost: Callable[[int], None] = lambda _: None
        self.gained: Callable[[int], None] = lambda _: None
        self.has_service: Callable[[], bool] = lambda: True
        self.table: dict[int, Context] = {}
        self._address = 180

    def reset(self) -> None:
        """Nothing configured, nothing active."""
        self.table = {self.default: Context()}

    def stop(self) -> None:
        """Drop the bearers without a word."""
        super().stop()
        for context in self.table.values():
            context.active = False

    def active(self, cid: int) -> bool:
        """Whether a context is active."""
        return cid in self.table and self.table[cid].active

    def address(self, cid: int) -> str:
        """Return the address of a context that is active."""
        return f"10.76.51.{self._address + cid}"

    def kind(self, cid: int | None) -> str:
        """Return the PDP type of a context; empty if there is none."""
        return self.table[cid].kind if cid in self.table else ""

    def new_address(self) -> None:
        """Let the network give other addresses from now on."""
        self._address = 60 if self._address == 180 else 180

    def activate(self, cid: int) -> str:
        """Bring a context up; returns why the network does not."""
        context = self.table.setdefault(cid, Context())
        why = self.refusal(cid) if self.has_service() else "no service"
        if why:
            self.trace.note(f"context {cid}: {why}")
        elif not context.active:
            context.active = True
            self.gained(cid)
        return why

    def deactivate(self, cid: int, why: str) -> None:
        """Let a context go."""
        if self.active(cid):
            self.table[cid].active = False
            self.trace.note(f"context {cid} inactive: {why}")
            self.lost(cid)

    def deactivate_all(self, why: str) -> None:
        """Let all contexts go."""
        for cid in sorted(self.table):
            self.deactivate(cid, why)

    def refusal(self, cid: int) -> str:
        """Return why the network refuses a context; empty if it does not."""
        context = self.table.get(cid) or Context()
        wanted, auth = self.variants["apn"], self.variants["pdp-auth"]
        if wanted and context.apn and context.apn.lower() != wanted.lower():  # none: the network's own choice
            return "the network does not know this APN"
        if auth and (f"{context.user}:{context.password}" != auth or not context.auth):
            return "user or password refused"
        return ""

    def _cid(self, job: Job, index: int = 0) -> int:
        return job.args().number(index, self._cids.start, self._cids.stop - 1)

    @at("+CGDCONT")
    def _define(self, job: Job) -> None:
        span = f"({self._cids.start}-{self._cids.stop - 1})"
        if job.form is Form.TEST:
            job.info(*(f'+CGDCONT: {span},"{kind}",,,(0),(0)' for kind in _KINDS))
            return
        if job.form is Form.READ:
            for cid, context in sorted(self.table.items()):
                address = self.address(cid) if context.active else ""
                job.info(f'+CGDCONT: {cid},"{context.kind}","{context.apn}","{address}"{self.tail}')
            return
        args = job.args()
        args.count(1, 11)
        cid = self._cid(job)
        if self.active(cid) and cid != self.default:
            raise Refusal(cme=NO_SERVICE)
        if len(args) == 1:
            self.table.pop(cid, None)
            return
        kind = args.text(1, "IP")
        if kind.upper() not in {known.upper() for known in _KINDS}:
            raise Refusal
        context = self.table.setdefault(cid, Context())
        context.kind = next(known for known in _KINDS if known.upper() == kind.upper())
        context.apn = args.text(2, "", longest=LONGEST_NAME)

    @at("+CGAUTH")
    def _authentication(self, job: Job) -> None:
        if job.form is not Form.SET:
            raise Refusal
        args = job.args()
        args.count(1, 4)
        context = self.table.setdefault(self._cid(job), Context())
        context.auth = args.number(1, 0, 2, 0)
        context.user = args.text(2, "", longest=LONGEST_NAME)
        context.password = args.text(3, "", longest=LONGEST_NAME)

    @at("+CGPADDR")
    def _show_address(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info(f"+CGPADDR: ({','.join(map(str, sorted(self.table)))})")
            return
        cids = [self._cid(job, index) for index in range(len(job.args()))] or sorted(self.table)
        for cid in cids:
            if cid in self.table:
                address = f",{self.mark}{self.address(cid)}{self.mark}" if self.active(cid) else ""
                job.info(f"+CGPADDR: {cid}{address}")

    @at("+CGCONTRDP")
    def _dynamic(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info(f"+CGCONTRDP: ({','.join(str(cid) for cid in sorted(self.table) if self.active(cid))})")
            return
        cids = [self._cid(job)] if job.form is Form.SET else sorted(self.table)
        for cid in cids:
            if self.active(cid):
                apn = self.table[cid].apn or self.variants["apn"]
                first, second = DNS
                job.info(f'+CGCONTRDP: {cid},5,"{apn}","","","{first}","{second}",0,0,0,0,{self.mtu}')

    @at("+CGACT")
    def _cgact(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+CGACT: (0,1)")
            return
        if job.form is Form.READ:
            job.info(*(f"+CGACT: {cid},{int(context.active)}" for cid, context in sorted(self.table.items())))
            return
        args = job.args()
        args.count(1, 12)
        wanted = args.number(0, 0, 1)
        cids = [self._cid(job, index) for index in range(1, len(args))] or sorted(self.table)
        for cid in cids:
            if cid not in self.table:
                raise Refusal(cme=UNKNOWN_APN)
            if not wanted:
                self.deactivate(cid, "AT+CGACT=0")
                continue
            why = self.activate(cid)
            if why:
                raise Refusal(cme=WRONG_USER if "user" in why else UNKNOWN_APN if "APN" in why else NO_SERVICE)
