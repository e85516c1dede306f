"""One simulated modem: interpreter, personality, network, line and faults put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from modemtls.sim.faults import FaultPlan
from modemtls.sim.interpreter import Hooks
from modemtls.sim.line import LineEvents, PtyLine
from modemtls.sim.loop import Loop
from modemtls.sim.network import Network
from modemtls.sim.options import Variants
from modemtls.sim.outlet import Outlet
from modemtls.sim.personalities import find
from modemtls.sim.trace import Trace
from modemtls.sim.weather import Weather

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.sim.faults import Fault
    from modemtls.sim.loop import Timer
    from modemtls.sim.options import Options
    from modemtls.sim.personalities.base import Personality

__all__ = ["Line", "Machine"]

HANG_MEMORY = 4096  # bytes of a UART's buffer that survive a hang
DRIBBLE_BYTES = 256  # how long a dribble lasts that a byte position started


class Line(Protocol):
    """What the machine needs of its end of the line."""

    path: str
    users: int

    @property
    def backlog(self) -> int:
        """Bytes accepted and not sent yet."""

    def write(self, data: bytes) -> None:
        """Send."""

    def set_baud(self, baud: int) -> None:
        """Follow AT+IPR."""

    def host_baud(self) -> int:
        """Return the rate that the host has set."""

    def unplug(self) -> None:
        """Vanish."""

    def replug(self) -> None:
        """Come back."""

    def close(self) -> None:
        """Vanish for good."""


class Machine(Hooks, LineEvents):
    """A modem of ``model``; raises :class:`UsageError` for an unknown model, variant or value.

    All methods belong to the loop's thread.
    """

    def __init__(
        self,
        model: str,
        options: Options,
        *,
        loop: Loop | None = None,
        make_line: Callable[[Loop, LineEvents], Line] | None = None,
    ) -> None:
        kind = find(model)
        self.options = options
        self.variants = Variants(kind.variants(model), options.variants)
        self.loop = loop or Loop()
        self.trace = Trace(self.loop.clock, options.trace)
        self.plan = FaultPlan(options.faults, options.seed)
        self.weather = Weather(self.loop, self.plan, self.trace, self.variants.number("datagram-loss"))
        self.network = Network(self.loop, options.maps, self.trace, self.weather)
        self.outlet = Outlet(self.loop, self._write)
        self.outlet.reached = self._byte_reached
        self.outlet.due = self.plan.bytes_due()
        self._commands = 0
        self._urcs = 0
        self._frozen = False
        self._thaws = False
        self._frozen_input = bytearray()
        self._on = False
        self._started = False
        self._power_timer: Timer | None = None
        self.send_failures = 0
        self.line: Line
        self.personality: Personality = kind(self, model)
        self.interpreter = self.personality.interpreter(
            self.loop,
            self._send,
            self.personality.table,
            cme_texts=self.personality.cme_texts,
            hooks=self,
            latency=self.variants.number("latency"),
            urcs_at_prompt=self.variants["urcs-at-prompt"] == "emit",
            urcs_in_answer=self.variants["urcs-in-answer"] == "emit",
            habits=self.personality.habits,
        )
        if make_line is not None:
            self.line = make_line(self.loop, self)
        else:
            self.line = PtyLine(self.loop, self, baud=options.baud, link=options.link)
        self.trace.note(f"model: {model}")
        for fault in options.faults:
            self.trace.note(f"planned: {fault}")

    # --- power --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Power up; the first time this happens when the host opens the port."""
        self._started = True
        self._on = True
        self.interpreter.reset()
        boots = self.variants["start"] == "booting" or self._commands > 0
        self.personality.boot(banner=boots, settled=not boots)

    def restart(self, delay: float, why: str, *, mute: bool = False) -> None:
        """Fall silent, forget what a restart forgets, and come back after ``delay`` seconds.

        With ``mute`` no unsolicited result of the start leaves.
        """
        self.trace.note(f"restart: {why}")
        self._down()
        self._power_timer = self.loop.call_later(delay, lambda: self._up(mute=mute))

    def power_off(self, why: str) -> None:
        """Switch off until :meth:`power_on`."""
        self.trace.note(f"power off: {why}")
        self._down()
        self.personality.lose_power()

    def power_on(self) -> None:
        """Switch on again; a modem that is on wakes if it sleeps."""
        if self._on:
            self.personality.wake()
        elif self._power_timer is None:
            self._up()

    def _down(self) -> None:
        self._on = False
        self._frozen = False
        self._frozen_input.clear()
        self.interpreter.reset()
        self.outlet.clear()
        self.personality.shut_down()
        if self._power_timer is not None:
            self._power_timer.cancel()
            self._power_timer = None

    def _up(self, *, mute: bool = False) -> None:
        self._power_timer = None
        self._on = True
        self.trace.note("boot")
        self.personality.boot(banner=not mute, settled=False)

    @property
    def running(self) -> bool:
        """Whether the modem is powered, booted and not hung."""
        return self._alive()

    def _alive(self) -> bool:
        return self._on and not self._frozen

    def _talks(self) -> bool:
        """Whether what is printed now will leave, if only after a hang that ends."""
        return self._on and (not self._frozen or self._thaws)

    def close(self) -> None:
        """End the simulation."""
        if self._on:
            self._down()
        self.network.close()
        self.line.close()
        self.trace.close()

    # --- the line -----------------------------------------------------------------------------------------------------

    def opened(self) -> None:
        """Start on the host's first opening."""
        self.trace.note("the host has opened the port")
        if not self._started:
            self.start()

    def closed(self) -> None:
        """Carry on without a host."""
        self.trace.note("the host has closed the port")
        if self._on:
            self.personality.host_closed()

    def received(self, data: bytes) -> None:
        """Take the host's bytes."""
        if not self._on:
            return
        if self._frozen:
            self._frozen_input += data
            del self._frozen_input[HANG_MEMORY:]
            return
        if self.variants.on("baud-check") and self.line.host_baud() != self.personality.baud:
            self.trace.note(f"{len(data)} bytes at the wrong baud rate: noise")
            return
        self.interpreter.receive(data)

    def drained(self) -> None:
        """Tell the personality that the line has room."""
        self.personality.drained()

    @property
    def backlog(self) -> int:
        """Bytes on their way to the host."""
        return self.line.backlog + self.outlet.backlog

    def _send(self, data: bytes) -> None:
        if not self._talks():
            return
        self.trace.sent(self.personality.mask(data) if self.personality.tells_secrets(data) else data)
        self.outlet.send(data)

    def _write(self, data: bytes) -> None:
        self.line.write(data)

    def urc(self, text: str, payload: bytes | None = None, *, trailer: bool = True) -> None:
        """Print an unsolicited result, with a payload behind it where it carries one."""
        if not self._talks():
            return
        self._urcs += 1
        due = self.plan.take("urc", self._urcs)
        self._carry_out(due)
        if not self._talks():  # a fault may have ended it just now
            return
        data = b"\r\n" + text.encode(errors="surrogateescape") + b"\r\n"
        if payload is not None:
            data += payload + (b"\r\n" if trailer else b"")
        self.interpreter.urc(data)
        if due:
            self.outlet.normal()

    # --- hooks of the interpreter -------------------------------------------------------------------------------------

    def command_line(self, shown: bytes) -> str | None:
        """Trace the line and apply the faults that wait for it."""
        self.trace.command(shown, self.personality.terminator)
        self._commands += 1
        instead = self._inject("command", self._commands)
        return instead if self.running else ""

    def answered(self) -> None:
        """End faults that last for one answer."""
        self.outlet.normal()

    def mask(self, line: bytes) -> bytes:
        """Leave the masking of secrets to the personality."""
        return self.personality.mask(line)

    def echo(self, data: bytes) -> None:
        """Echo; the trace gets it with its line, masked."""
        self.trace.echoed(data)
        self.outlet.send(data)

    def refused(self, name: str, why: str) -> None:
        """Trace the reason."""
        self.trace.note(f"{name[:40]!r} refused: {why}")

    # --- faults -------------------------------------------------------------------------------------------------------

    def add_fault(self, fault: Fault) -> None:
        """Plan another fault while running."""
        self.plan.add(fault)
        self.outlet.due = [at for at in self.plan.bytes_due() if at > self.outlet.count]

    def apply(self, fault: Fault) -> None:
        """Carry out a fault at once."""
        self.trace.note(f"fault, now: {fault.kind}:{fault.argument}")
        self._apply(fault)

    def _byte_reached(self, at: int) -> bool:
        if at == self._dribble_end:
            self.outlet.normal()
        self._inject("byte", at)
        return self._talks()

    _dribble_end = -1

    def _inject(self, at: str, n: int) -> str | None:
        return self._carry_out(self.plan.take(at, n))

    def _carry_out(self, faults: list[Fault]) -> str | None:
        instead: str | None = None
        for fault in faults:
            self.trace.note(f"fault: {fault}")
            instead = self._apply(fault) or instead
        return instead

    def _apply(self, fault: Fault) -> str | None:
        outlet = self.outlet
        match fault.kind:
            case "urc":
                outlet.insert(b"\r\n" + fault.argument.encode() + b"\r\n")
            case "garbage":
                outlet.insert(self.plan.garbage(fault.count))
            case "loss":
                outlet.lose(fault.count)
            case "late":
                outlet.pause(fault.seconds)
            case "dribble":
                outlet.dribble(fault.seconds)
                if fault.at == "byte":
                    self._dribble_end = fault.n + DRIBBLE_BYTES
                    outlet.due = sorted({*outlet.due, self._dribble_end})
            case "error":
                return fault.argument
            case "hang":
                self._hang(fault.seconds)
            case "reboot":
                self.restart(fault.seconds or self.personality.boot_time, "fault")
            case "mutereboot":
                self.restart(fault.seconds or self.personality.boot_time, "fault, notices lost", mute=True)
            case "amnesia":
                self.trace.note("restart: fault, unheard and over already")
                self._down()
                self._on = True
                self.personality.boot(banner=False, settled=True)
            case "unplug":
                self._unplug(fault.seconds)
            case "sendfail":
                self.send_failures += fault.count
            case _:
                self.personality.fault(fault.kind, fault.count)
        return None

    def _hang(self, seconds: float) -> None:
        self._frozen = True
        self._thaws = seconds > 0
        if seconds:
            self.outlet.pause(seconds)
            self.loop.call_later(seconds, self._thaw)

    def _thaw(self) -> None:
        if not self._frozen:
            return
        self._frozen = False
        self.trace.note("answers again")
        data = bytes(self._frozen_input)
        self._frozen_input.clear()
        if data:
            self.received(data)

    def _unplug(self, seconds: float) -> None:
        self.trace.note("unplugged")
        self._down()
        self.personality.lose_power()
        self.line.unplug()
        self._started = False
        if seconds:
            self.loop.call_later(seconds, self._replug)

    def _replug(self) -> None:
        self.line.replug()
        self.trace.note(f"plugged in as {self.line.path}")


def check(model: str, options: Options) -> None:
    """Raise :class:`UsageError` if ``model`` or a variant is not known."""
    Variants(find(model).variants(model), options.variants)
