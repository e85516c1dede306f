"""PDP contexts, DNS, ping (BG96 TCP(IP) manual V1.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modemtls.sim.command import Form, Refusal
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.quectel.area import Area

if TYPE_CHECKING:
    from modemtls.sim.job import Job

__all__ = ["Packet"]

MOST_ACTIVE = 3  # BG96
CIDS = (1, 16)
DNS = ("10.0.0.53", "10.0.1.53")
DNS_TIME = 0.02  # s until a name is resolved
_TYPES = {1: "IP", 2: "IPV6", 3: "IPV4V6"}


@dataclass(slots=True)
class _Context:
    kind: int = 1
    apn: str = ""
    user: str = ""
    password: str = ""
    auth: int = 0
    active: bool = False
    dns: tuple[str, str] = DNS


class Packet(Area):
    """The contexts and what needs one."""

    def reset(self) -> None:
        """Nothing configured but context 1, nothing active."""
        self._contexts: dict[int, _Context] = {1: _Context()}

    def stop(self) -> None:
        """Drop the bearers."""
        super().stop()
        for context in self._contexts.values():
            context.active = False

    def _context(self, cid: int) -> _Context:
        return self._contexts.setdefault(cid, _Context())

    def active(self, cid: int) -> bool:
        """Whether a context is active."""
        return cid in self._contexts and self._contexts[cid].active

    @staticmethod
    def address(cid: int) -> str:
        """Return the address of an active context."""
        return f"10.76.51.{179 + cid}"

    def kind(self, cid: int) -> str:
        """Return the PDP type of a context."""
        return _TYPES[self._contexts.get(cid, _Context()).kind]

    def lost(self, cid: int) -> None:
        """Let the network take a context away."""
        if self.active(cid):
            self._deactivate(cid, "lost by the network")
            self.module.urc(f'+QIURC: "pdpdeact",{cid}')

    def all_lost(self, *, silent: bool) -> None:
        """Every context goes."""
        for cid in sorted(self._contexts):
            if silent and self.active(cid):
                self._deactivate(cid, "all contexts go")
            self.lost(cid)

    def _deactivate(self, cid: int, why: str) -> None:
        self._contexts[cid].active = False
        self.trace.note(f"context {cid} inactive: {why}")
        self.module.ssl.bearer_lost(cid)
        self.module.tcp.bearer_lost(cid)

    # --- configuration ------------------------------------------------------------------------------------------------

    @at("+QICSGP")
    def _configure(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+QICSGP: (1-16),(1-3),<APN>,<username>,<password>,(0-3)")
            return
        if job.form is not Form.SET:
            raise Refusal
        args = self.ip_args(job)
        args.count(1, 6)
        cid = args.number(0, *CIDS)
        if len(args) == 1:
            context = self._contexts.get(cid, _Context())
            job.info(f'+QICSGP: {context.kind},"{context.apn}","{context.user}","{context.password}",{context.auth}')
            return
        context = self._context(cid)
        kind, apn = args.number(1, 1, 3), args.text(2, longest=127)
        user, password = args.text(3, "", longest=127), args.text(4, "", longest=127)
        auth = args.number(5, 0, 3, 0)
        context.kind, context.apn, context.user, context.password, context.auth = kind, apn, user, password, auth

    @at("+CGDCONT")
    def _define(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info(*(f'+CGDCONT: (1-16),"{kind}",,,(0),(0)' for kind in _TYPES.values()))
            return
        if job.form is Form.READ:
            for cid, context in sorted(self._contexts.items()):
                job.info(f'+CGDCONT: {cid},"{_TYPES[context.kind]}","{context.apn}","0.0.0.0",0,0')
            return
        args = job.args()
        args.count(1, 11)
        cid = args.number(0, *CIDS)
        if len(args) == 1:
            self._contexts.pop(cid, None)
            return
        kinds = {text: number for number, text in _TYPES.items()}
        kind = args.text(1, "IP").upper()
        if kind not in kinds:
            raise Refusal
        context = self._context(cid)
        context.kind, context.apn = kinds[kind], args.text(2, "", longest=127)

    @at("+CGPADDR")
    def _show_address(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+CGPADDR: (1-16)")
            return
        args = job.args()
        cids = [args.number(index, *CIDS) for index in range(len(args))] or sorted(self._contexts)
        for cid in cids:
            job.info(f'+CGPADDR: {cid},"{self.address(cid) if self.active(cid) else "0.0.0.0"}"')  # noqa: S104 - no bind

    @at("+CGACT")
    def _cgact(self, job: Job) -> None:
        if job.form is Form.READ:
            job.info(*(f"+CGACT: {cid},{int(context.active)}" for cid, context in sorted(self._contexts.items())))
        elif job.form is Form.TEST:
            job.info("+CGACT: (0,1)")
        else:
            raise Refusal(cme=3)

    # --- activation -------------------------------------------------------------------------------

    @at("+QIACT")
    def _activate(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+QIACT: (1-16)")
            return
        if job.form is Form.READ:
            for cid, context in sorted(self._contexts.items()):
                if context.active:
                    job.info(f'+QIACT: {cid},1,{context.kind},"{self.address(cid)}"')
            return
        args = self.ip_args(job)
        args.count(1, 1)
        cid = args.number(0, *CIDS)
        if self.active(cid):
            raise self.ip_error(572, f"context {cid} is active already")
        if sum(context.active for context in self._contexts.values()) >= MOST_ACTIVE:
            raise self.ip_error(561, f"no more than {MOST_ACTIVE} active contexts")
        job.defer()
        self.later(self.variants.number("pdp-time"), lambda: self._activated(job, cid))

    def _activated(self, job: Job, cid: int) -> None:
        context = self._context(cid)
        why = self._refusal(context)
        if why:
            job.refuse(self.ip_error(561, f"context {cid}: {why}"))
            return
        context.active = True
        job.ok()

    def _refusal(self, context: _Context) -> str:
        if not self.module.registration.registered or not self.module.registration.attached:
            return "no service"
        wanted, auth = self.variants["apn"], self.variants["pdp-auth"]
        if wanted and context.apn.lower() != wanted.lower():
            return "the network does not know this APN"
        if auth and (f"{context.user}:{context.password}" != auth or not context.auth):
            return "user or password refused"
        return ""

    @at("+QIDEACT")
    def _deactivation(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+QIDEACT: (1-16)")
            return
        args = self.ip_args(job)
        args.count(1, 1)
        cid = args.number(0, *CIDS)
        if not self.active(cid):
            return  # also how the host confirms a loss that the network has announced
        job.defer()
        self.later(self.variants.number("pdp-time") / 4, lambda: self._deactivated(job, cid))

    def _deactivated(self, job: Job, cid: int) -> None:
        if self.active(cid):
            self._contexts[cid].active = False
            self.module.ssl.close_all(cid)
            self.module.tcp.close_all(cid)
        job.ok()

    # --- DNS and ping -----------------------------------------------------------------------------

    @at("+QIDNSCFG")
    def _dns_servers(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+QIDNSCFG: (1-16),<pridnsaddr>,<secdnsaddr>")
            return
        args = self.ip_args(job)
        args.count(1, 3)
        cid = args.number(0, *CIDS)
        context = self._context(cid)
        if len(args) == 1:
            if not context.active:  # seen in Azure/embedded-wireless-framework issue #20
                raise self.ip_error(561, f"context {cid} is not active")
            job.info('+QIDNSCFG: {},"{}","{}"'.format(cid, *context.dns))
        else:
            context.dns = (args.text(1), args.text(2, DNS[1]))

    @at("+QIDNSGIP")
    def _resolve(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+QIDNSGIP: (1-16),<hostname>")
            return
        args = self.ip_args(job)
        args.count(2, 2)
        cid, name = args.number(0, *CIDS), args.text(1)
        if not self.active(cid):
            raise self.ip_error(561, f"context {cid} is not active")
        self.later(DNS_TIME, lambda: self._resolved(name))

    def _resolved(self, name: str) -> None:
        address = self.machine.network.address(name)
        if address is None:
            self.module.urc('+QIURC: "dnsgip",565')
        else:
            self.module.urc('+QIURC: "dnsgip",0,1,600')
            self.module.urc(f'+QIURC: "dnsgip","{address}"')

    @at("+QPING")
    def _ping(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+QPING: (1-16),<host>,(1-255),(1-10)")
            return
        args = self.ip_args(job)
        args.count(2, 4)
        cid, host = args.number(0, *CIDS), args.text(1)
        args.number(2, 1, 255, 4)
        count = args.number(3, 1, 10, 4)
        if not self.active(cid):
            raise self.ip_error(561, f"context {cid} is not active")
        self.later(DNS_TIME, lambda: self._pinged(host, count))

    def _pinged(self, host: str, count: int) -> None:
        address = self.machine.network.address(host)
        if address is None:
            self.module.urc("+QPING: 565")
            return
        for _ in range(count):
            self.module.urc(f'+QPING: 0,"{address}",32,50,255')
        self.module.urc(f"+QPING: 0,{count},{count},0,50,50,50")

    @at("+QIGETERROR")
    def _last_error(self, job: Job) -> None:
        from modemtls.sim.personalities.quectel.facts import IP_ERRORS

        if job.form is Form.TEST:
            return
        code = self.module.last_error
        space = " " if self.variants.on("error-space") else ""
        job.info(f"+QIGETERROR: {code},{space}{IP_ERRORS[code]}")
