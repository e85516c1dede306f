"""What the modem reports by itself, given to the part that it concerns. All of it runs in the reading thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.errors import ModemError, PortLostError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modemtls.at.channel import Channel, Spill
    from modemtls.at.exchange import Urc
    from modemtls.modem.readiness import Readiness
    from modemtls.modem.settings import Family
    from modemtls.modem.slots import SlotTable

__all__ = ["Reports"]


class Reports:
    """What the channel of ``name`` has to say: unsolicited results, the end of a boot epoch, its own end.

    ``observe`` gives a result as the profile reads it. Everything only sets state.
    """

    def __init__(
        self, name: str, channel: Channel, observe: Callable[[Urc], Urc], slots: SlotTable, readiness: Readiness
    ) -> None:
        self._name = name
        self._channel = channel
        self._observe = observe
        self._slots = slots
        self._readiness = readiness
        self._acts: Mapping[str, Callable[[Family | None, Urc], None]] = {
            "data": self._on_data,
            "closed": self._on_closed,
            "broken": self._on_broken,
            "opened": self._on_opened,
            "accepted": self._on_accepted,
            "session": self._on_session,
            "network_lost": self._on_network_lost,
            "registration": self._on_change,
            "sim": self._on_change,
            "power_down": self._on_power_down,
        }

    def on_epoch(self, reason: str) -> None:
        """Take note that a boot epoch ended."""
        self._slots.begin_epoch(self._channel.epoch, reason)
        self._readiness.note_change()

    def on_spill(self, spill: Spill) -> None:
        """Take note that a connection's data was cut on the line, or carried out by the modem."""
        family, number = spill.topic
        self._slots.on_cut(family, number, spill.reason, sent=spill.kind == "send")  # type: ignore[arg-type]

    def on_close(self, reason: BaseException) -> None:
        """Tell everybody that the port has gone."""
        error = reason if isinstance(reason, ModemError) else PortLostError(f"{self._name}: {reason}")
        for slot in self._slots.slots():
            slot.note_lost(error)
            slot.tell()

    def on_urc(self, urc: Urc) -> None:
        """Act upon an unsolicited result; one that no rule of the profile gives a meaning to is none of ours."""
        rule = urc.rule
        if rule is None:
            return
        urc = self._observe(urc)
        act = self._acts.get(rule.means)
        if act is not None:
            act(rule.family, urc)  # type: ignore[arg-type]

    def _on_data(self, family: Family | None, urc: Urc) -> None:
        if not urc.complete:
            self._slots.on_torn(family, _number(urc, "socket"), reported=not urc.payload)
            return
        data = urc.payload if urc.payload is not None else urc.values.get("data")
        payload = data if isinstance(data, bytes) else None
        self._slots.on_data(family, _number(urc, "socket"), payload, _remote(urc))

    def _on_closed(self, family: Family | None, urc: Urc) -> None:
        held = urc.rule is not None and urc.rule.held
        self._slots.on_closed(family, _number(urc, "socket"), held=held)

    def _on_broken(self, family: Family | None, urc: Urc) -> None:
        held = urc.rule is not None and urc.rule.held
        self._slots.on_broken(family, _number(urc, "socket"), held=held)

    def _on_opened(self, family: Family | None, urc: Urc) -> None:
        number = _number(urc, "socket")
        if number is not None:
            self._slots.on_opened(family, number, _number(urc, "error") or 0)

    def _on_accepted(self, family: Family | None, urc: Urc) -> None:
        number = _number(urc, "socket")
        if number is not None:
            self._slots.on_accepted(family, _number(urc, "listener"), number, _remote(urc))

    def _on_session(self, family: Family | None, urc: Urc) -> None:  # noqa: ARG002
        fields = {name: value for name, value in urc.values.items() if name not in {"context", "socket"}}
        self._slots.on_session(_number(urc, "context"), fields)

    def _on_network_lost(self, family: Family | None, urc: Urc) -> None:  # noqa: ARG002
        pdp = _number(urc, "pdp")
        self._readiness.note_lost(pdp)
        self._slots.on_network_lost(pdp)

    def _on_change(self, family: Family | None, urc: Urc) -> None:  # noqa: ARG002
        self._readiness.note_change(no_sim=urc.values.get("state") == "absent")

    def _on_power_down(self, family: Family | None, urc: Urc) -> None:  # noqa: ARG002
        self._channel.end_epoch(f"the modem powered down ({urc.text})")


def _remote(urc: Urc) -> tuple[str, int] | None:
    """Give host and port of the far end, if the result has both."""
    host, port = urc.values.get("host"), _number(urc, "port")
    return (host, port) if isinstance(host, str) and port is not None else None


def _number(urc: Urc, name: str) -> int | None:
    value = urc.values.get(name)
    return value if isinstance(value, int) else None
