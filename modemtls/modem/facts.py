"""What a modem tells about itself when it is asked; nothing here changes anything in it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from modemtls.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modemtls.modem.identify import Identity
    from modemtls.modem.interfaces import Host

__all__ = ["OFF", "Status", "read_info", "read_status"]

OFF: Final = frozenset({0, 4})
"""27.007, 8.2, +CFUN: minimum functionality; neither transmitting nor receiving."""

_RANK = ("home", "roaming", "denied", "searching", "idle", "unknown")
"""Of several registrations (circuit, packet, EPS) the one that says most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What the modem says of itself at this moment; None for what it does not tell.

    ``radio``: ``on`` or ``off``. ``sim``: ``ready``, ``pin``, ``puk``, ``absent``, …; ``unknown`` while the radio is
    off and no code is asked for: the card may be without power then and seem absent, or what is said of it be old.
    ``signal``: dBm (27.007, 8.5). ``registration``: ``home``, ``roaming``, ``searching``, ``denied``, ….
    """

    radio: str | None = None
    sim: str | None = None
    registration: str | None = None
    technology: str | None = None
    operator: str | None = None
    signal: int | None = None
    pdp: int | None = None
    address: str | None = None


def read_info(host: Host, identity: Identity, *, deadline: float | None = None) -> Mapping[str, str]:
    """Give manufacturer, model, revision as identified, and what the profile asks for: IMEI, ICCID, …."""
    found = {name: value for name in ("manufacturer", "model", "revision") if (value := str(getattr(identity, name)))}
    if host.has("info"):
        values = host.run("info", {}, deadline=deadline).values
        found |= {name: str(value) for name, value in values.items() if value not in {None, ""}}
    return found


def read_status(host: Host, *, pdp: int | None, deadline: float | None = None) -> Status:
    """Ask for SIM, registration, operator, signal and address; of several addresses that of the context ``pdp``.

    What the modem refuses to tell is None.
    """
    asking = _Asking(host, deadline)
    level = asking.value("radio_state", "level")
    sim = _text(asking.value("sim_state", "state"))
    if level in OFF and sim not in {"pin", "puk"}:
        sim = "unknown" if host.has("sim_state") else None
    registration, technology = asking.registration()
    rssi = asking.value("signal", "rssi")
    number, address = asking.address(pdp)
    return Status(
        radio=None if level is None else "off" if level in OFF else "on",
        sim=sim,
        registration=registration,
        technology=technology,
        operator=_text(asking.value("operator", "operator")),
        # 27.007, 8.5: <rssi> 0 to 31 is -113 to -51 dBm in steps of 2, 99 not known
        signal=-113 + 2 * rssi if isinstance(rssi, int) and 0 <= rssi <= 31 else None,
        pdp=number,
        address=address,
    )


class _Asking:
    """Questions with one deadline."""

    def __init__(self, host: Host, deadline: float | None) -> None:
        self._host = host
        self._deadline = deadline

    def registration(self) -> tuple[str | None, str | None]:
        best = min(
            self._rows("registration"),
            key=lambda row: _RANK.index(row["stat"]) if row.get("stat") in _RANK else len(_RANK),
            default={},
        )
        return _text(best.get("stat")), _text(best.get("technology"))

    def address(self, own: int | None) -> tuple[int | None, str | None]:
        rows = self._rows("pdp_list")
        row = next((row for row in rows if row.get("pdp") == own), rows[0] if rows else {})
        number = row.get("pdp")
        return (number if isinstance(number, int) else None), _text(row.get("address"))

    def value(self, op: str, name: str) -> object:
        if self._host.has(op):
            with contextlib.suppress(CommandError):
                return self._host.run(op, {}, deadline=self._deadline).values.get(name)
        return None

    def _rows(self, op: str) -> list[Mapping[str, object]]:
        if self._host.has(op):
            with contextlib.suppress(CommandError):
                return list(self._host.run(op, {}, deadline=self._deadline).rows)
        return []


def _text(value: object) -> str | None:
    return None if value in {None, ""} else str(value)
