"""The SIM card and its PIN (3GPP TS 27.007, 8.3 and 9.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.command import Form, Refusal
from modemtls.sim.options import Variant
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.common.area import Area, Module

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.sim.job import Job

__all__ = ["CARD_VARIANTS", "ICCID", "IMSI", "Card"]

IMSI = "001010123456789"  # the test network 001/01
ICCID = "89860000000000000018"
NO_SIM, PIN_REQUIRED, PUK_REQUIRED, SIM_FAILURE, SIM_BUSY, WRONG_PASSWORD = 10, 11, 12, 13, 14, 16  # 9.2.1
NOT_ALLOWED = 3
PIN_TRIES, PUK_TRIES = 3, 10  # ETSI TS 102 221 leaves them to the issuer; these are usual

CARD_VARIANTS = (
    Variant(
        "sim", "SIM state: ready, pin (asks for one), puk (PIN blocked), absent", ("ready", "pin", "puk", "absent")
    ),
    Variant("sim-time", "seconds from boot until the card can be read (+CME ERROR: 14 before)", ("0",), number=True),
    Variant("pin", "the SIM's PIN", ("1234",), free=True),
    Variant("puk", "the SIM's PUK", ("12345678",), free=True),
)


class Card(Area[Module]):
    """The card. The tries left are on it, hence kept for good; ``powered`` is the family's to set."""

    def __init__(self, module: Module) -> None:
        super().__init__(module)
        self.pin_tries = 0 if self.variants["sim"] == "puk" else PIN_TRIES
        self._puk_tries = PUK_TRIES
        self._pin = self.variants["pin"]
        self.powered = True
        self.ready_at = 0.0
        self.unlocked: Callable[[], None] = lambda: None

    def reset(self) -> None:
        """Powered, its PIN not given yet."""
        self.powered = True
        self.ready_at = 0.0
        self.lock()

    def lock(self) -> None:
        """Ask for the PIN again, as after every power-up of the card."""
        self._open = self.variants["sim"] == "ready"

    @property
    def state(self) -> str:
        """The card's state in the words of +CPIN."""
        if self.variants["sim"] == "absent" or not self.powered:
            return "NOT READY"
        if self._open:
            return "READY"
        return "SIM PIN" if self.pin_tries else "SIM PUK"

    def need_card(self) -> None:
        """Refuse without a card."""
        if self.loop.now() < self.ready_at:
            raise Refusal(cme=SIM_BUSY)
        if self.variants["sim"] == "absent":
            raise Refusal(cme=NO_SIM)
        if not self.powered:
            raise Refusal(cme=SIM_FAILURE)

    def need_pin(self) -> None:
        """Refuse unless the card is unlocked."""
        self.need_card()
        if self.state != "READY":
            raise Refusal(cme=PIN_REQUIRED if self.pin_tries else PUK_REQUIRED)

    @at("+CPIN")
    def _cpin(self, job: Job) -> None:
        if job.form is Form.READ:
            self.need_card()
            job.info(f"+CPIN: {self.state}")
            return
        if job.form is not Form.SET:
            if job.form is Form.TEST:
                return
            raise Refusal
        args = job.args()
        args.count(1, 2)
        self.need_card()
        code = args.text(0, bare=True)
        if self._open:
            raise Refusal(cme=NOT_ALLOWED)
        if self.pin_tries:
            self._try_pin(code)
        else:
            self._try_puk(code, args.text(1, "", bare=True))
        self._open = True
        self.unlocked()

    def _try_pin(self, code: str) -> None:
        if code != self._pin:
            self.pin_tries -= 1
            self.trace.note(f"wrong PIN, {self.pin_tries} tries left")
            raise Refusal(cme=WRONG_PASSWORD if self.pin_tries else PUK_REQUIRED)
        self.pin_tries = PIN_TRIES

    def _try_puk(self, puk: str, new_pin: str) -> None:
        if not new_pin:
            raise Refusal(cme=PUK_REQUIRED)
        if puk != self.variants["puk"] or not self._puk_tries or not (4 <= len(new_pin) <= 8 and new_pin.isdigit()):
            self._puk_tries = max(0, self._puk_tries - 1)
            raise Refusal(cme=WRONG_PASSWORD if self._puk_tries else SIM_FAILURE)
        self._pin, self.pin_tries, self._puk_tries = new_pin, PIN_TRIES, PUK_TRIES
