"""``modemtls info``: what modem it is and how it stands; without a port, where one may be."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from modemtls.cli.output import printable, status
from modemtls.cli.session import opened

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modemtls.cli.settings import Settings
    from modemtls.profile.profile import Profile

__all__ = ["candidates", "run"]


def candidates(root: Path = Path("/dev")) -> list[dict[str, str]]:
    """Return the serial ports that may be modems: those with a lasting name, then USB ports without one."""
    found: dict[Path, str] = {}
    by_id = root / "serial" / "by-id"
    if by_id.is_dir():
        for link in sorted(by_id.iterdir()):
            found[link.resolve()] = str(link)
    for pattern in ("ttyUSB*", "ttyACM*"):
        for device in sorted(root.glob(pattern)):
            found.setdefault(device.resolve(), str(device))
    return [{"port": name, "device": str(device)} for device, name in found.items()]


def run(settings: Settings) -> int:
    """``modemtls info``."""
    if settings.text("port") is None:
        return _list(settings)
    limit = settings.number("timeout")
    with opened(settings) as modem:
        what = dict(modem.info(timeout=limit))
        state = dataclasses.asdict(modem.status(timeout=limit))
        how = {key: value for key, value in state.items() if value is not None}
        able = {key: list(value) if isinstance(value, tuple) else value for key, value in modem.capabilities.items()}
        profile = modem.profile
        ways = _sockets(modem.attached.profile, able)
    missing = _no_host_engine()
    if settings.flag("json"):
        engines = ["modem"] if missing else ["modem", "host"]
        told = {
            "profile": profile,
            "modem": what,
            "status": how,
            "capabilities": able,
            "sockets": ways,
            "engines": engines,
        }
        print(json.dumps(told, indent=2))
        return 0
    units = {"signal": " dBm"}
    rows = [("profile", profile), *what.items(), *((key, f"{value}{units.get(key, '')}") for key, value in how.items())]
    yes = [_said(name, value) for name, value in able.items() if value is not False]
    no = [name for name, value in able.items() if value is False]
    rows += [("can", ", ".join(yes)), ("cannot", ", ".join(no))]
    rows += _ways(ways)
    rows.append(("--engine host", f"cannot be used here: {missing}" if missing else "TLS and DTLS of this machine"))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {printable(str(value))}")
    return 0


def _sockets(profile: Profile, able: Mapping[str, object]) -> dict[str, object]:
    """Return what is known of the modem's sockets beside its capabilities, as JSON can tell it."""
    from modemtls.profile.traits import datagram_whole, poll_period, tells_local_port

    families = [family for family in ("tls", "dtls", "tcp", "udp") if able.get(family)]
    return {
        "poll_period": poll_period(profile),
        "local_port_told": [family for family in families if tells_local_port(profile, family)],
        "datagram_whole": {one: datagram_whole(profile, one) for one in families if one in {"dtls", "udp"}},
    }


def _ways(sockets: dict[str, object]) -> list[tuple[str, str]]:
    period, told, whole = sockets["poll_period"], sockets["local_port_told"], sockets["datagram_whole"]
    assert isinstance(told, list)
    assert isinstance(whole, dict)
    rows = [
        ("received data", "the modem gives notice" if period is None else f"no notice: asked for every {period:g} s"),
        ("local port", f"told for {'/'.join(told)}" if told else "not told: known only where it was chosen"),
    ]
    sizes = [f"{family} {size}" for family, size in whole.items() if size is not None]
    if sizes:
        rows.append(("whole datagrams", f"{', '.join(sizes)} bytes at most; a larger one counts as truncated"))
    return rows


def _no_host_engine() -> str:
    """Return why this machine cannot do TLS itself; nothing if it can."""
    from modemtls import tlsengine

    try:
        tlsengine.require("openssl")
    except tlsengine.EngineUnavailableError as error:
        return str(error)
    return ""


def _said(name: str, value: object) -> str:
    if value is True:
        return name
    return f"{name} {'/'.join(map(str, value)) if isinstance(value, list) else value}"


def _list(settings: Settings) -> int:
    found = candidates()
    if settings.flag("json"):
        print(json.dumps({"candidates": found}, indent=2))
    elif found:
        for entry in found:
            print(f"{entry['port']}  ->  {entry['device']}" if entry["port"] != entry["device"] else entry["port"])
        status("name one with -p to ask it; a modem often has several ports, and not all of them speak AT")
    else:
        status("no serial port found in /dev/serial/by-id, nor /dev/ttyUSB* or /dev/ttyACM*")
    return 0
