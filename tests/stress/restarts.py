"""A restart at every command of a connection's life, heard of or not: `python -m tests.stress.restarts`.

For each command that the driver sends until two connections have been opened, used and closed, the simulated modem
restarts when it receives that command. Whatever the caller was doing may fail, with an error of the modem; then:

- nothing was ever connected to a server with a certificate of another CA,
- nothing has taken longer than the time that was given for it,
- the next connection works, the first time it is tried.

All times are short, of the modem and of the profile, but in proportion. A sample is part of the test run.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import itertools
import logging
import os
import re
import ssl
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import serial

import modemtls
from modemtls.modem import identify
from modemtls.profile import show
from modemtls.sim import embedded
from tests.support.pki import Pki
from tests.support.servers import echo, tls_service

NAME = "good.example"
BOOT = 0.02  # s
QUICK = (
    f"boot-time={BOOT}", "registration-time=0.01", "pdp-time=0", "send-timeout=1.5", "start=running", "rtc=right",
)  # fmt: skip
# Above what the simulated modem takes for any answer, and for its start.
PATIENCE = 1.0  # s; stands for each time-out of the profile
GIVEN = 20.0  # s for a call; the driver gives up after less than this, unless something is wrong
LIMIT = 90.0  # s for a whole story; longer is a hang


@dataclass(frozen=True)
class Setting:
    """One way to live through it."""

    kind: str  # the fault
    receive: str = "buffered"
    urc_port: str = "own"
    stored: str = "ATE0&W"  # typed before: with ATE0&W no echo tells of a restart
    server: str = "right"  # who answers in the story

    def __str__(self) -> str:
        return f"{self.kind}, {self.receive}, reports to {self.urc_port}, {self.stored}, {self.server} server"


SETTINGS = [
    Setting(kind, receive, port, stored, server)
    for kind, receive, port, stored, server in itertools.product(
        ("reboot", "mutereboot", "amnesia"),
        ("buffered", "push"),
        ("own", "usbat"),
        ("ATE0&W", "ATE1"),
        ("right", "false"),
    )
    # The echo matters where nothing else is heard of the restart, and nobody receives from the false server.
    if (stored == "ATE0&W" or (kind != "reboot" and port == "own")) and (server == "right" or receive == "buffered")
]


@dataclass(frozen=True)
class World:
    """What all stories share."""

    right: int
    false: int
    ca: Path
    profile: Path


@contextlib.contextmanager
def world(folder: Path) -> Iterator[World]:
    """Two servers for the same name, of which one has a certificate of another CA; and a profile in a hurry."""
    text, count = re.subn(
        r"\btimeout: ([0-9]+|\{base.*\})(?=[,\n])", f"timeout: {PATIENCE * 1000:.0f}ms", show("quectel-bg95", flat=True)
    )
    assert count > 20
    text = re.sub(r"input_timeout: .*", "input_timeout: 2s", text)
    assert text.count("{size},60") == 1  # how long the modem waits for an upload: whole seconds
    text = text.replace("{size},60", "{size},2")
    profile = folder / "hasty.yaml"
    profile.write_text(text)
    (folder / "other").mkdir()
    pki = Pki(folder)
    with _service(pki) as right, _service(Pki(folder / "other")) as false, _hasty():
        yield World(right, false, pki.ca, profile)


@contextlib.contextmanager
def _hasty() -> Iterator[None]:
    """Before a profile is known, standard commands are given up sooner as well."""
    with mock.patch.object(identify, "_ANSWER_TIME", PATIENCE), mock.patch.object(identify, "_GREETING_TIME", PATIENCE):
        yield


def _service(pki: Pki) -> Any:
    leaf = pki.leaf(NAME)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert, leaf.key)
    return tls_service(context, echo)


class Story:
    """One modem's life; ``told`` is what happened, ``wrong`` what must not have."""

    def __init__(self, world: World, setting: Setting, at: int = 0) -> None:
        self.world, self.setting, self.at = world, setting, at
        self.told: list[str] = []
        self.wrong: list[str] = []
        self.commands: list[str] = []
        self.acted = 0  # commands until everything that may fail has been done
        self.lines: collections.deque[str] = collections.deque(maxlen=400)

    def run(self) -> None:
        """Live it."""
        begun = time.monotonic()
        try:
            with embedded.open("quectel-bg95", {"variant": [*QUICK, f"urc-port={self.setting.urc_port}"]}) as sim:
                with serial.Serial(sim.path, 115200, timeout=0.05) as port:
                    port.write(self.setting.stored.encode() + b"\r")
                    port.read(100)
                first = len(sim.commands)
                if self.at:
                    sim.fault(f"{self.setting.kind}@command {first + self.at}:{BOOT}")
                self._live(sim)
                self.commands = sim.commands[first:]
                self.acted -= first
                if self.at and not any("restart: fault" in note for note in sim.notes):
                    self.wrong.append("the fault was not carried out")
        except BaseException:
            self.wrong.append(traceback.format_exc())
        if time.monotonic() - begun > LIMIT:
            self.wrong.append(f"took {time.monotonic() - begun:.1f} s")

    def _live(self, sim: embedded.EmbeddedModem) -> None:
        modem: list[modemtls.Modem] = []

        def trace(record: Any) -> None:
            self.lines.append(f"{record.time:12.4f} {record.direction:4} {record.data[:90]!r}")

        def attach() -> None:
            modem.append(
                modemtls.open(sim.path, apn="iot.example", timeout=GIVEN, profile=str(self.world.profile), trace=trace)
            )

        self._may_fail("open", attach)
        if not modem:
            attach()
        try:
            self._use(modem[0], sim)
        finally:
            modem[0].close()

    def _use(self, modem: modemtls.Modem, sim: embedded.EmbeddedModem) -> None:
        if self.setting.server == "right":
            sockets = [self._connect(modem), self._connect(modem)]
            for sock in sockets:
                if sock is not None:
                    self._may_fail("talk", lambda sock=sock: self._talk(sock))
                    self._may_fail("close", sock.close)
        else:
            for _ in range(2):
                self._is_not_fooled(modem)
        self.acted = len(sim.commands)
        self._is_not_fooled(modem)
        sock = modem.connect((NAME, self.world.right), tls=self._tls(), timeout=GIVEN)
        self._talk(sock)
        sock.close()

    def _connect(self, modem: modemtls.Modem) -> Any:
        made: list[Any] = []
        options: Any = {"tls": self._tls(), "timeout": GIVEN, "receive": self.setting.receive}
        self._may_fail("connect", lambda: made.append(modem.connect((NAME, self.world.right), **options)))
        return made[0] if made else None

    def _tls(self) -> modemtls.TLSConfig:
        return modemtls.TLSConfig(ca=self.world.ca)

    def _talk(self, sock: Any) -> None:
        sock.settimeout(GIVEN)
        for word in (b"ping", b"PONG" * 500):
            sock.sendall(word)
            got = b""
            while len(got) < len(word):
                piece = sock.recv(4096)
                if not piece:
                    raise modemtls.ModemError("the connection ended")
                got += piece
            if got != word:
                self.wrong.append(f"{word[:8]!r} came back as {got[:20]!r}")

    def _is_not_fooled(self, modem: modemtls.Modem) -> None:
        fooled: list[Any] = []
        options: Any = {"tls": self._tls(), "timeout": GIVEN}
        self._may_fail(
            "connect to the false", lambda: fooled.append(modem.connect((NAME, self.world.false), **options))
        )
        if fooled:
            self.wrong.append("connected to the false server")
            fooled[0].close()

    def _may_fail(self, what: str, work: Any) -> None:
        begun = time.monotonic()
        try:
            work()
            self.told.append(what)
        except OSError as error:
            self.told.append(f"{what}: {type(error).__name__}: {error}")
        took = time.monotonic() - begun
        if took >= GIVEN:
            self.wrong.append(f"{what} took {took:.1f} s")

    def report(self) -> str:
        """What was wrong, or nothing."""
        if not self.wrong:
            return ""
        where = f"command {self.at} ({self.commands[self.at - 1][:60] if 0 < self.at <= len(self.commands) else '?'})"
        return "\n".join([f"--- {self.setting}: {where}", *self.wrong, *(f"   {one}" for one in self.told)])


def length(world: World, setting: Setting) -> int:
    """Return how many commands the story has when nothing happens."""
    story = Story(world, setting)
    story.run()
    amiss = [one for one in story.told if ": " in one and not one.startswith("connect to the false: ConnectOr")]
    assert not story.wrong + amiss, story.wrong + amiss
    return story.acted


def sweep(world: World, setting: Setting, places: Sequence[int], *, at_once: int = 4) -> list[Story]:
    """Live the story with a restart at each of these commands."""
    stories = [Story(world, setting, at) for at in places]
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(Story.run, stories))
    return stories


def _whole(number: int) -> tuple[str, int, float, list[str]]:
    """Sweep one setting whole, in a process of its own."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_STATE_HOME"] = folder
        with world(Path(folder)) as here:
            setting = SETTINGS[number]
            places = range(1, length(here, setting) + 1)
            stories = sweep(here, setting, places)
    reports = [report for story in stories if (report := story.report())]
    return str(setting), len(places), time.monotonic() - begun, reports


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--setting", type=int, help=f"only this one of {len(SETTINGS)}")
    parser.add_argument("--command", type=int, help="only a restart at this command; prints the whole dialogue")
    given = parser.parse_args()
    if given.command is not None:
        with tempfile.TemporaryDirectory() as folder, world(Path(folder)) as here:
            os.environ["XDG_STATE_HOME"] = folder
            story = Story(here, SETTINGS[given.setting or 0], given.command)
            story.run()
        print(*story.lines, *story.told, sep="\n")
        print(story.report() or "nothing wrong")
        return 1 if story.wrong else 0
    logging.disable(logging.WARNING)  # that it restarts is known
    numbers = range(len(SETTINGS)) if given.setting is None else [given.setting]
    failed = 0
    with ProcessPoolExecutor(2) as pool:
        for setting, count, took, reports in pool.map(_whole, numbers):
            print(f"{setting}: {count} restarts, {len(reports)} wrong, {took:.0f} s", flush=True)
            print(*reports, sep="\n", flush=True)
            failed += len(reports)
    print(f"{threading.active_count()} threads are left; {failed} wrong")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
