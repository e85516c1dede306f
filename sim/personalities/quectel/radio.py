"""SIM, functionality, registration, signal (BG96 AT Commands Manual V2.2; 3GPP TS 27.007)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.command import Form, Refusal
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.quectel.area import Area

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.sim.job import Job
    from modemtls.sim.loop import Timer
    from modemtls.sim.personalities.quectel import Quectel

__all__ = ["Radio"]

IDLE, HOME, SEARCHING, DENIED, ROAMING = 0, 1, 2, 3, 5  # <stat>, 27.007 10.1.22
NO_SIM, PIN_REQUIRED, PUK_REQUIRED, SIM_FAILURE, SIM_BUSY, WRONG_PASSWORD = 10, 11, 12, 13, 14, 16
NOT_ALLOWED, NO_NETWORK = 3, 30
TAC, CELL = "1A2B", "01C3D4E5"
OPERATOR = "Test Network"
FIRST_URC = 0.03  # s from the host's open to RDY: opening a port flushes what came before
URC_STEP = 0.01  # s between boot URCs
PHONEBOOK_TIME = 1.0  # s; the manual says "later"
PIN_TRIES, PUK_TRIES = 3, 10


class Radio(Area):
    """The card and the network."""

    def __init__(self, module: Quectel) -> None:
        super().__init__(module)
        # on the card, hence non-volatile
        self._pin_tries = 0 if self.variants["sim"] == "puk" else PIN_TRIES
        self._puk_tries = PUK_TRIES
        self._pin = self.variants["pin"]
        self._timers: list[Timer] = []
        self.stat = IDLE

    def reset(self) -> None:
        """Radio on, card not unlocked, nothing announced."""
        self.level = 1
        self._unlocked = self.variants["sim"] == "ready"
        self.stat = IDLE
        self.attached = False
        self._manual = False
        self._card_ready = 0.0
        self.silence()

    def silence(self) -> None:
        """Registration URCs off."""
        self._notify = {"+CREG": 0, "+CGREG": 0, "+CEREG": 0}

    def stop(self) -> None:
        """Stop what is under way."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self.stat = IDLE
        self.attached = False

    def _later(self, delay: float, callback: Callable[[], None]) -> None:
        self._timers = [timer for timer in self._timers if timer.callback is not None]
        self._timers.append(self.loop.call_later(delay, callback))

    def _later_urcs(self, delay: float, *texts: str) -> float:
        for text in texts:
            self._later(delay, lambda text=text: self.module.urc(text))  # type: ignore[misc]
            delay += URC_STEP
        return delay

    # --- power-up -----------------------------------------------------------------------------------------------------

    def power_up(self, *, banner: bool, settled: bool) -> None:
        """Print the boot URCs and look for a network; ``settled``: it is found at once."""
        if settled:
            self._search(delay=0)
            return
        wait = self.variants.number("sim-time")
        self._card_ready = self.loop.now() + wait
        if banner:
            self._card_comes(max(wait, self._later_urcs(FIRST_URC, "RDY", "APP RDY", "+CFUN: 1")))
        self._later(wait, self._search)

    def _card_comes(self, delay: float) -> None:
        """Print what a card's state brings with it."""
        delay = self._later_urcs(delay, f"+CPIN: {self.card}")
        if self.card == "READY":
            delay = self._later_urcs(delay, "+QUSIM: 1", "+QIND: SMS DONE")
            self._later_urcs(delay + PHONEBOOK_TIME, "+QIND: PB DONE")

    @property
    def card(self) -> str:
        """The card's state in the words of +CPIN."""
        if self.variants["sim"] == "absent" or self.level == 0:
            return "NOT READY"
        if self._unlocked:
            return "READY"
        return "SIM PIN" if self._pin_tries else "SIM PUK"

    def need_card(self) -> None:
        """Refuse without a card."""
        if self.loop.now() < self._card_ready:
            raise Refusal(cme=SIM_BUSY)
        if self.variants["sim"] == "absent":
            raise Refusal(cme=NO_SIM)
        if self.level == 0:
            raise Refusal(cme=SIM_FAILURE)

    def need_pin(self) -> None:
        """Refuse unless the card is unlocked."""
        self.need_card()
        if self.card != "READY":
            raise Refusal(cme=PIN_REQUIRED if self._pin_tries else PUK_REQUIRED)

    @at("+CPIN")
    def _cpin(self, job: Job) -> None:
        if job.form is Form.READ:
            self.need_card()
            job.info(f"+CPIN: {self.card}")
            return
        if job.form is not Form.SET:
            if job.form is Form.TEST:
                return
            raise Refusal
        args = job.args()
        args.count(1, 2)
        self.need_card()
        code = args.text(0, bare=True)
        if self._unlocked:
            raise Refusal(cme=NOT_ALLOWED)
        if self._pin_tries:
            self._try_pin(code)
        else:
            self._try_puk(code, args.text(1, "", bare=True))
        self._unlocked = True
        self._card_comes(URC_STEP)
        self._search()

    def _try_pin(self, code: str) -> None:
        if code != self._pin:
            self._pin_tries -= 1
            self.trace.note(f"wrong PIN, {self._pin_tries} tries left")
            raise Refusal(cme=WRONG_PASSWORD if self._pin_tries else PUK_REQUIRED)
        self._pin_tries = PIN_TRIES

    def _try_puk(self, puk: str, new_pin: str) -> None:
        if not new_pin:
            raise Refusal(cme=PUK_REQUIRED)
        if puk != self.variants["puk"] or not self._puk_tries or not (4 <= len(new_pin) <= 8 and new_pin.isdigit()):
            self._puk_tries = max(0, self._puk_tries - 1)
            raise Refusal(cme=WRONG_PASSWORD if self._puk_tries else SIM_FAILURE)
        self._pin, self._pin_tries, self._puk_tries = new_pin, PIN_TRIES, PUK_TRIES

    @property
    def pin_tries(self) -> int:
        """PIN entries left on the card."""
        return self._pin_tries

    # --- functionality ----------------------------------------------------------------------------

    @at("+CFUN")
    def _cfun(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+CFUN: (0,1,4),(0,1)")
            return
        if job.form is Form.READ:
            job.info(f"+CFUN: {self.level}")
            return
        args = job.args()
        args.count(1, 2)
        level = args.number(0, 0, 4)
        restart = args.number(1, 0, 1, 0)
        if level not in {0, 1, 4} or (restart and level != 1):
            raise Refusal
        job.ok()
        if restart:
            self._restart()
            return
        before, self.level = self.level, level
        if level != before:
            self.stop()
            if level == 1:
                if before == 0:
                    self._unlocked = self.variants["sim"] == "ready"
                    self._card_comes(URC_STEP)
                self._search()
            else:
                self.module.packet.all_lost(silent=False)
                self._announce()
                if level == 0:
                    self.module.urc("+CPIN: NOT READY")

    def _restart(self) -> None:
        if self.variants.on("restart-noise"):
            self.module.urc("POWERED DOWN")  # in this order: vshymanskyy/TinyGSM issue #157
            self.module.packet.all_lost(silent=False)
        self.machine.restart(self.module.boot_time, "AT+CFUN=1,1")

    # --- registration -----------------------------------------------------------------------------

    def _search(self, delay: float | None = None) -> None:
        if self.level != 1 or self.card != "READY" or self._manual:
            return
        self._set_stat(SEARCHING)
        if self.variants["registration"] != "searching":
            self._later(self.variants.number("registration-time") if delay is None else delay, self._network_answers)

    def _network_answers(self) -> None:
        stat = {"home": HOME, "roaming": ROAMING, "denied": DENIED}[self.variants["registration"]]
        self.attached = stat != DENIED
        self._set_stat(stat)
        if self.attached:
            self.module.clock.network_tells()

    def _set_stat(self, stat: int) -> None:
        if stat != self.stat:
            self.stat = stat
            self._announce()

    @property
    def registered(self) -> bool:
        """Whether there is service."""
        return self.stat in {HOME, ROAMING}

    def _announce(self) -> None:
        for name, n in self._notify.items():
            if n:
                self.module.urc(f"{name}: {self._status(name, n)}")

    def _status(self, name: str, n: int) -> str:
        if n < 2 or not self.registered:
            return f"{self.stat}"
        text = f'{self.stat},"{TAC}","{CELL}",{self.module.facts.act}'
        return text + ',,,"00000000","00000000"' if n == 4 and name != "+CREG" else text

    @at("+CREG", "+CGREG", "+CEREG")
    def _creg(self, job: Job) -> None:
        name = job.command.name
        most = 2 if name == "+CREG" else 4
        if job.form is Form.TEST:
            job.info(f"{name}: (0-2)" if name == "+CREG" else f"{name}: (0-2,4)")
        elif job.form is Form.READ:
            n = self._notify[name]
            job.info(f"{name}: {n},{self._status(name, n)}")
        else:
            args = job.args()
            args.count(0, 1)
            n = args.number(0, 0, most, 0)
            if n == 3:
                raise Refusal
            self._notify[name] = n

    @at("+CSQ")
    def _signal(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+CSQ: (0-31,99),(0-7,99)")
        elif job.form is Form.ACTION:
            job.info("+CSQ: 28,99" if self.registered else "+CSQ: 99,99")
        else:
            raise Refusal

    @at("+COPS")
    def _operator(self, job: Job) -> None:
        if job.form is Form.READ and self.level == 0:
            job.info("+COPS: 2")
            return
        self.need_pin()
        if job.form is Form.READ:
            job.info(f'+COPS: 0,0,"{OPERATOR}",{self.module.facts.act}' if self.registered else "+COPS: 0")
        elif job.form is Form.TEST:
            job.info(f'+COPS: (2,"{OPERATOR}","{OPERATOR}","00101",{self.module.facts.act}),,(0,1,2,3,4),(0,1,2)')
        else:
            mode = job.args().number(0, 0, 4)
            if mode == 2:
                self._manual = True
                self.stop()
                self.module.packet.all_lost(silent=False)
                self._announce()
            elif mode != 3 and not self.registered:
                self._manual = False
                self._search()

    @at("+CGATT")
    def _attach(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+CGATT: (0,1)")
            return
        if job.form is Form.READ:
            job.info(f"+CGATT: {int(self.attached)}")
            return
        wanted = job.args().number(0, 0, 1)
        self.need_pin()
        if wanted and not self.registered:
            raise Refusal(cme=NO_NETWORK)
        if self.attached and not wanted:
            self.module.packet.all_lost(silent=False)
        self.attached = bool(wanted)
