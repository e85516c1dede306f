"""``modemtls credentials``: what the driver has put into the modem."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from modemtls.cli.output import printable, status
from modemtls.cli.session import opened
from modemtls.errors import CredentialError

if TYPE_CHECKING:
    from modemtls.cli.settings import Settings

__all__ = ["purge", "remove", "show"]


def show(settings: Settings) -> int:
    """``modemtls credentials list``."""
    with opened(settings) as modem:
        found = modem.credentials.list()
    if settings.flag("json"):
        print(json.dumps([{"name": one.name, "size": one.size} for one in found], indent=2))
        return 0
    for one in found:
        print(f"{printable(one.name)}  {one.size} bytes")
    if not found:
        status("the driver has put nothing into this modem")
    return 0


def remove(settings: Settings) -> int:
    """``modemtls credentials remove NAME``."""
    name = settings.required("name")
    with opened(settings) as modem:
        if not modem.credentials.remove(name):
            raise CredentialError(f"credentials: the modem has no {name}")
    status(f"removed {name}")
    return 0


def purge(settings: Settings) -> int:
    """``modemtls credentials purge``."""
    with opened(settings) as modem:
        names = modem.credentials.purge()
    status(f"removed {', '.join(names)}" if names else "there was nothing to remove")
    return 0
