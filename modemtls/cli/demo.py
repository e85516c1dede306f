"""``modemtls demo``: everything once, without hardware."""

from __future__ import annotations

import contextlib
import sys
import textwrap
import time
from typing import TYPE_CHECKING

from modemtls.cli.get import Target, fetch
from modemtls.cli.output import printable
from modemtls.cli.session import dialogue_to

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modemtls.api import Modem
    from modemtls.cli.demo_server import Server
    from modemtls.cli.settings import Settings

__all__ = ["DemoError", "run"]

NAME, WRONG_NAME = "demo.example", "wrong.example"
START_WAIT = 20.0
"""Seconds for a connection of the demonstration."""


class DemoError(OSError):
    """The demonstration did not show what it is to show."""


def run(settings: Settings) -> int:
    """``modemtls demo``."""
    del settings
    _need_extra()
    from modemtls.cli.demo_server import served

    model, title = _modem()
    _say("modemtls demo: a web page over HTTPS, through the TLS stack inside a cellular modem.")
    _step("1. A server", f"HTTPS on this machine. Its certificate is for {NAME}, signed by a CA made a moment ago.")
    with served(NAME) as server:
        print(f"   listening on 127.0.0.1:{server.port}")
        _step(
            "2. A modem",
            f"There is none here, so a simulated {title} takes its place: a process of its own behind a pseudo "
            "terminal, with echo, prompts, files and a clock, and real TLS towards the server.",
        )
        with _simulator(model, server.port) as path:
            print(f"   modem at {path}")
            _dialogue(path, server)
    _say(
        "That is all. With a modem of your own:   modemtls -p /dev/ttyUSB2 info\n"
        "In Python:                               modemtls.open('/dev/ttyUSB2').connect((host, port), tls=...)"
    )
    return 0


def _dialogue(path: str, server: Server) -> None:
    import modemtls

    began = time.monotonic()
    _step(
        "3. The modem comes up",
        "From now on you see what passes on the serial line, seconds in front: --> to the modem, <-- from it, and with "
        "a dot what the driver is about. It gets into step with the modem, asks what it is, loads the profile for it, "
        "waits for the network, and sets the clock that certificates will be checked against.",
    )
    trace = dialogue_to(_line, began)

    def progress(step: str, detail: str) -> None:
        _line(f"{time.monotonic() - began:9.3f}  ·  {step}: {detail}\n")

    modem = modemtls.open(path, apn="iot.example", trace=trace, progress=progress)
    try:
        modem.bring_up()
        _step(
            f"4. https://{NAME}/",
            "The CA goes into the modem as a file, once. The modem then makes the connection and the handshake itself: "
            "what crosses the serial line is the request and the page, never a TLS record.",
        )
        page = _page(modem, server)
        _step("5. The page")
        for line in page.decode().splitlines():
            print(f"   | {printable(line)}")
        print(f"   ({len(page)} bytes, complete; connection verified by the modem against that CA and that name)")
        _step(
            f"6. https://{WRONG_NAME}/",
            f"The same server under another name. Its certificate is for {NAME}, so this must be refused.",
        )
        _refusal(modem, server)
    finally:
        modem.close()
    print(f"\n   {time.monotonic() - began:.1f} s from the first command to the last.")


def _page(modem: Modem, server: Server) -> bytes:
    import modemtls

    pieces: list[bytes] = []
    with modem.connect((NAME, 443), tls=modemtls.TLSConfig(ca=server.ca), timeout=START_WAIT) as sock:
        fetch(sock, Target(secure=True, host=NAME, port=443, path="/"), pieces.append)
    if server.requests != 1:
        raise DemoError(f"the page came, but the server has seen {server.requests} requests")
    page = b"".join(pieces)
    if NAME.encode() not in page:
        raise DemoError("the page that came is not the server's")
    return page


def _refusal(modem: Modem, server: Server) -> None:
    import modemtls
    from modemtls.errors import HandshakeError

    before = len(server.names_asked)
    try:
        modem.connect((WRONG_NAME, 443), tls=modemtls.TLSConfig(ca=server.ca), timeout=START_WAIT).close()
    except HandshakeError as error:
        if server.requests != 1 or len(server.names_asked) == before:
            raise DemoError(f"refused, but not by a look at the certificate: {error}") from error
        print()
        print(textwrap.fill(f"Refused: {error}", 100, initial_indent="   ", subsequent_indent="   "))
        return
    raise DemoError(f"a connection to {WRONG_NAME} was NOT refused although the certificate is for {NAME}")


@contextlib.contextmanager
def _simulator(model: str, port: int) -> Iterator[str]:
    """Run the simulated modem and give the path of its pseudo terminal; it is ended with the block."""
    from modemtls.sim.process import ModemProcess

    maps = [part for name in (NAME, WRONG_NAME) for part in ("--map", f"{name}=127.0.0.1:{port}")]
    try:
        # A session of its own: Ctrl-C is for the demonstration, which ends the modem itself.
        modem = ModemProcess(model, *maps, own_session=True)
    except RuntimeError as error:
        raise DemoError("the simulated modem did not start: " + " ".join(str(error).split())) from None
    with modem:
        yield modem.path


def _modem() -> tuple[str, str]:
    """Return name and title of the modem that is simulated."""
    from modemtls.sim.personalities import DEFAULT_MODEL, title

    return DEFAULT_MODEL, title(DEFAULT_MODEL)


def _need_extra() -> None:
    from importlib.util import find_spec

    if find_spec("OpenSSL") is None or find_spec("cryptography") is None:
        raise DemoError("the demonstration needs the extra `sim`: pip install 'modemtls[sim]'")


def _say(text: str) -> None:
    print(f"\n{text}\n", flush=True)


def _step(title: str, text: str = "") -> None:
    print(f"\n{title}")
    if text:
        print(textwrap.fill(text, 100, initial_indent="   ", subsequent_indent="   "))
    sys.stdout.flush()


def _line(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
