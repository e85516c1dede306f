"""PDP contexts, the internal stack's profile on top of them, names (UBX-20032566 R05, 2; ubxlib u_cell_net.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.command import Form, Refusal
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.common.contexts import Contexts
from modemtls.sim.personalities.ublox.area import Area
from modemtls.sim.personalities.ublox.facts import FIRMWARES_R5

if TYPE_CHECKING:
    from modemtls.sim.job import Job
    from modemtls.sim.personalities.ublox import Ublox

__all__ = ["Bearer"]

WRONG_TYPE = 4001  # +CME ERROR: IP type configuration mismatch
NO_SERVICE = 30
NO_SUCH_NAME = 163  # errno of the stack, UBX-17003787 R16, A.5
PROFILES = 7  # of +UPSD
LONGEST_NAME = 256
_TYPES = {"IP": (0,), "IPV6": (1,), "IPV4V6": (2, 3)}  # what +UPSD=<p>,0 has to be for each +CGDCONT type


class Bearer(Contexts["Ublox"], Area):
    """The contexts; ``ready`` says whether sockets can use one."""

    tail = ",0,0,0,0,0,0"

    def __init__(self, module: Ublox, cids: range, default: int, mtu: int) -> None:
        super().__init__(module, cids, default, mtu)
        self.mark = '"' if self.variants.on("cgpaddr-quotes") else ""
        self.lost = self._lost
        self.has_service = lambda: module.registration.registered and module.registration.attached

    def reset(self) -> None:
        """Nothing asked for, nothing mapped; what +CGDCONT defined is stored."""
        defined = self.table
        super().reset()
        if self.variants.on("cgdcont-kept"):
            self.table.update(defined)
        self.leaving = False  # it is the host that leaves the network
        self._asked: set[int] = set()  # by +CGACT
        self._type: dict[int, int] = {}
        self._mapped: dict[int, int] = {}
        self._profile: int | None = None  # the one that is active

    def stop(self) -> None:
        """Drop the bearers without a word."""
        super().stop()
        self._asked.clear()
        self._profile = None

    def attach(self) -> None:
        """Bring up the context that LTE brings with the attachment."""
        super().activate(self.default)

    def activate(self, cid: int) -> str:
        """Bring a context up because +CGACT asks."""
        why = super().activate(cid)
        if not why:
            self._asked.add(cid)
        return why

    @property
    def cid(self) -> int | None:
        """The context that sockets use; none if there is none they can use."""
        match self.module.facts.psd:
            case "none":
                return self.default if self.active(self.default) else None
            case "map":  # CGACT is needed even if the context is active
                cid = self._mapped.get(0)
                return cid if cid is not None and cid in self._asked and self.active(cid) else None
            case _:
                return self._mapped[self._profile] if self._profile is not None else None

    @property
    def local_address(self) -> str:
        """The module's own address."""
        return self.address(self.cid or self.default)

    def _lost(self, cid: int) -> None:
        self._asked.discard(cid)
        if self._profile is not None and self._mapped.get(self._profile) == cid:
            profile, self._profile = self._profile, None
            for _ in range(2 if self.module.firmware == FIRMWARES_R5[1] else 1):  # UBX-21038301: twice with 01B
                self.module.urc(f"+UUPSDD: {profile}")
            self._sockets_die(quiet=self.leaving)
        elif self.module.facts.psd != "full":
            self._sockets_die(quiet=self.leaving)

    def _sockets_die(self, *, quiet: bool) -> None:
        self.module.sockets.all_lost(told=self.variants.on("uusocl-after-cops2" if quiet else "uusocl-after-loss"))

    # --- the stack's profile --------------------------------------------------------------------------------------

    def _need_psd(self, *kinds: str) -> None:
        if self.module.facts.psd not in kinds:
            self.trace.note("this module has no PSD profiles")
            raise Refusal

    @at("+UPSD")
    def _configure(self, job: Job) -> None:
        self._need_psd("full", "map")
        if job.form is Form.TEST:
            job.info("+UPSD: (0-6),(0,100),(0-3)")
            return
        args = self.args(job, 2, 3)
        profile, parameter = args.number(0, 0, PROFILES - 1), args.number(1, 0, 100)
        if parameter == 100:
            chosen, span, default = self._mapped, (1, 8), 1
        elif parameter == 0 and self.module.facts.psd == "full":
            chosen, span, default = self._type, (0, 3), 0
        else:
            raise self.bad(f"UPSD parameter {parameter}")
        if len(args) == 2:
            job.info(f"+UPSD: {profile},{parameter},{chosen.get(profile, default)}")
            return
        if profile == self._profile:
            raise self.not_allowed(f"profile {profile} is active")
        chosen[profile] = args.number(2, *span)

    @at("+UPSDA")
    def _act(self, job: Job) -> None:
        self._need_psd("full")
        if job.form is Form.TEST:
            job.info("+UPSDA: (0-6),(0-4)")
            return
        args = self.args(job, 2, 2)
        profile, action = args.number(0, 0, PROFILES - 1), args.number(1, 0, 4)
        if action == 0:
            self._type.pop(profile, None)
            self._mapped.pop(profile, None)
        elif action == 3:
            self._start(profile)
        elif action == 4:
            if profile != self._profile:
                raise self.not_allowed(f"profile {profile} is not active")
            self._profile = None
            self._sockets_die(quiet=False)

    def _start(self, profile: int) -> None:
        if self._profile is not None:
            raise self.not_allowed(f"profile {self._profile} is active")
        if not self.has_service():
            raise Refusal(cme=NO_SERVICE)
        cid = self._mapped.setdefault(profile, self.default)
        kind = self.table[cid].kind if cid in self.table else ""
        if self._type.get(profile, 0) not in _TYPES.get(kind, ()):
            self.trace.note(f"profile {profile}: context {cid} is {kind or 'not defined'}")
            raise Refusal(cme=WRONG_TYPE)
        self.later(self.variants.number("pdp-time"), lambda: self._started(profile, cid))

    def _started(self, profile: int, cid: int) -> None:
        if super().activate(cid):
            self.module.urc("+UUPSDA: 1")
            return
        self._profile = profile
        self.module.urc(f'+UUPSDA: 0,"{self.address(cid)}"')

    @at("+UPSND")
    def _show(self, job: Job) -> None:
        self._need_psd("full")
        if job.form is Form.TEST:
            job.info("+UPSND: (0-6),(0,8)")
            return
        args = self.args(job, 2, 2)
        profile, parameter = args.number(0, 0, PROFILES - 1), args.number(1, 0, 8)
        active = profile == self._profile
        if parameter == 8:
            job.info(f"+UPSND: {profile},8,{int(active)}")
        elif parameter == 0:
            job.info(f'+UPSND: {profile},0,"{self.local_address if active else ""}"')
        else:
            raise self.bad(f"UPSND parameter {parameter}")

    # --- names ----------------------------------------------------------------------------------------------------

    @at("+UDNSRN")
    def _resolve(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info('+UDNSRN: (0,1),"domain name"')
            return
        args = self.args(job, 2, 2)
        args.number(0, 0, 1)
        name = args.text(1, longest=LONGEST_NAME)
        if self.cid is None:
            raise self.not_allowed("no context is active")
        job.defer()
        self.later(self.variants.number("dns-time"), lambda: self._resolved(job, name))

    def _resolved(self, job: Job, name: str) -> None:
        address = self.machine.network.address(name)
        if address is None:
            self.module.last_error = NO_SUCH_NAME
            job.refuse()
            return
        job.info(f'{self.variants["udnsrn-prefix"]}: "{address}"')
        job.ok()
