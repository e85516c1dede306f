"""The columns of the table: simulated modems, each with its own engine, and the host's over two of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Family:
    """A modem that secures the connections itself, or over whose plain sockets the host does."""

    name: str
    title: str
    model: str
    variants: tuple[str, ...] = ()
    engine: Literal["modem", "host"] = "modem"

    @property
    def modem(self) -> tuple[str, tuple[str, ...]]:
        return self.model, self.variants


FAMILIES = (
    Family("bg95", "BG95", "quectel-bg95"),
    Family("sara-r5", "SARA-R5", "ublox-sara-r5"),
    Family("sara-r410m", "SARA-R410M", "ublox-sara-r4", ("module=R410M-02B",)),
    Family("sara-r422s", "SARA-R422S", "ublox-sara-r4", ("module=R422S",)),
    Family("nordic-slm", "SLM", "nordic-slm"),
    Family("nordic-sm", "Serial Modem", "nordic-sm"),
    Family("host", "host, Serial Modem", "nordic-sm", engine="host"),
    Family("host-slm", "host, SLM", "nordic-slm", engine="host"),
)

BY_NAME = {family.name: family for family in FAMILIES}
