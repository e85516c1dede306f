"""The profiles of the Quectel modules, each with a modem that awaits exactly the bytes of a dialogue."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import replace
from functools import cache

import pytest

from modemtls.at.channel import Channel
from modemtls.at.port import FdPort
from modemtls.modem.runner import Runner
from modemtls.profile import load as load_afresh

MODELS = ("quectel-bg95", "quectel-bg96")
BG95_FLAGS = ("sni_key", "checkhost_key", "session_key", "dtls_key")
load = cache(load_afresh)
PATIENCE = 10.0  # s; nothing here takes so long unless it is broken

# AT+QSSLCFG=? as the documents show it.
BG96_KEYS = (
    b'\r\n+QSSLCFG: "sslversion",(0-5),(0-4)\r\n'
    b'+QSSLCFG: "ciphersuite",(0-5),(0X0035,0X002F,0X0005,0X0004,0X000A,0X003D,0XC011,0XC012,0XC013,0XC014,0XC027,'
    b"0XC028,0XC02F,0XFFFF)\r\n"
    b'+QSSLCFG: "cacert",(0-5),<cacertpath>\r\n'
    b'+QSSLCFG: "clientcert",(0-5),<client_cert_path>\r\n'
    b'+QSSLCFG: "clientkey",(0-5),<client_key_path>\r\n'
    b'+QSSLCFG: "seclevel",(0-5),(0-2)\r\n'
    b'+QSSLCFG: "ignorelocaltime",(0-5),(0,1)\r\n'
    b'+QSSLCFG: "negotiatetime",(0-5),(10-300)\r\n\r\nOK\r\n'
)
BG95_KEYS = (
    b'\r\n+QSSLCFG: "sslversion",(0-5),(0-4)\r\n'
    b'+QSSLCFG: "ciphersuite",(0-5),(0X0035,0X002F,0X0005,0X0004,0X000A,0X003D,0XC002,0XC003,0XC004,0XC005, 0XC007,'
    b"0XC008,0XC009,0XC00A,0XC011,0XC012,0XC013,0XC014,0XC00C,0XC00D,0XC00E,0XC00F,0XC023,0XC024,0XC025,0XC026,0XC027,"
    b"0XC028,0XC029,0XC02A,0XC02B,0XC02F,0XFFFF)\r\n"
    b'+QSSLCFG: "cacert",(0-5),<cacertpath>\r\n'
    b'+QSSLCFG: "clientcert",(0-5),<clientcertpath>\r\n'
    b'+QSSLCFG: "clientkey",(0-5),<clientkeypath>\r\n'
    b'+QSSLCFG: "seclevel",(0-5),(0-2)\r\n'
    b'+QSSLCFG: "session",(0-5),(0,1)\r\n'
    b'+QSSLCFG: "sni",(0-5),(0,1)\r\n'
    b'+QSSLCFG: "checkhost",(0-5),(0,1)\r\n'
    b'+QSSLCFG: "ignorelocaltime",(0-5),(0,1)\r\n'
    b'+QSSLCFG: "negotiatetime",(0-5),(10-300)\r\n'
    b'+QSSLCFG: "dtls",(0-5),(0,1)\r\n'
    b'+QSSLCFG: "dtlsversion",(0-5),(0-2)\r\n\r\nOK\r\n'
)
PROBES = {
    b"AT+CMEE?": b"\r\n+CMEE: 1\r\n\r\nOK\r\n",
    b"AT+CCLK?": b'\r\n+CCLK: "26/10/01,12:00:00+00"\r\n\r\nOK\r\n',
    b"AT+CGMI": b"\r\nQuectel\r\n\r\nOK\r\n",
}
OK = b"\r\nOK\r\n"
ERROR = b"\r\nERROR\r\n"


class Modem:
    """The far end of a channel: awaits exactly these bytes, says those."""

    probes = PROBES

    def __init__(self, profile, *dialogue: tuple[bytes, bytes] | bytes) -> None:
        """``dialogue``: pairs of what is awaited and what is then said; bytes alone are said without being asked."""
        ours, self._wire = socket.socketpair()
        self._wire.settimeout(PATIENCE)
        self._dialogue = dialogue
        self.wrong = ""
        self.channel = Channel(
            FdPort("scripted", ours.detach()), profile.grammar, recovery=replace(profile.recovery, quiet=0.002)
        )
        self._fall_into_step()
        self.channel.echo = False
        self.urcs: list[tuple[str, dict]] = []
        self.channel.on_urc = self._urc
        self.runner = Runner(self.channel, profile)
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()

    def _fall_into_step(self) -> None:
        """A channel that has just been opened asks the profile's probes first."""
        done = threading.Event()

        def answer() -> None:
            pending = b""
            while not done.is_set():
                with contextlib.suppress(TimeoutError):
                    pending += self._wire.recv(4096)
                while b"\r" in pending:
                    asked, _, pending = pending.partition(b"\r")
                    self._wire.sendall(self.probes[asked.strip()])  # some want a line feed as well

        self._wire.settimeout(0.005)
        helper = threading.Thread(target=answer, daemon=True)
        helper.start()
        self.channel.resynchronise(self.channel.clock() + PATIENCE)
        done.set()
        helper.join(PATIENCE)
        self._wire.settimeout(PATIENCE)

    def _urc(self, urc) -> None:
        if urc.rule is not None:
            self.urcs.append((urc.rule.means, dict(urc.values)))

    def _play(self) -> None:
        try:
            for one in self._dialogue:
                awaited, said = one if isinstance(one, tuple) else (b"", one)
                got = b""
                while len(got) < len(awaited) and awaited.startswith(got):
                    more = self._wire.recv(len(awaited) - len(got))
                    if not more:
                        break
                    got += more
                if got != awaited:
                    self.wrong = f"awaited {awaited!r}, got {got!r}"
                    self._wire.close()
                    return
                self._wire.sendall(said)
        except OSError as error:
            self.wrong = self.wrong or f"{error!r} while {one!r}"

    def run(self, op: str, **bindings):
        return self.runner.run(op, bindings, deadline=self.channel.clock() + PATIENCE)

    def finish(self) -> None:
        self._thread.join(2 * PATIENCE)
        assert not self._thread.is_alive()
        self.channel.close()
        with self._wire:
            assert not self.wrong
            with contextlib.suppress(ConnectionResetError):  # it has not read all that was said
                # Up to the end: a channel that is closed sends nothing more.
                assert self._wire.recv(4096) == b"", "nothing was awaited any more"


@pytest.fixture(name="profile", params=MODELS)
def profile_fixture(request):
    return load(request.param)


@pytest.fixture(name="bg95")
def bg95_fixture():
    return load("quectel-bg95")


@pytest.fixture(name="connect")
def connect_fixture():
    """Make a Modem, with flags as after probing; at the end it must have heard all it awaited, and nothing else."""
    made = []

    def make(profile, *dialogue, flags=()):
        modem = Modem(profile, *dialogue)
        modem.runner._boot.update(dict.fromkeys(flags, True))  # as probing would have
        made.append(modem)
        return modem

    yield make
    for modem in made:
        modem.finish()


def ask(line: str, answer: bytes = OK) -> tuple[bytes, bytes]:
    return line.encode() + b"\r", answer


def line(text: str) -> bytes:
    return f"\r\n{text}\r\n\r\nOK\r\n".encode()


TLS = {
    "context": 1,
    "version": 3,
    "suites": ("0XC02F",),
    "ca": "mtls-ca",
    "cert": None,
    "key": None,
    "verify": True,
    "client_auth": False,
    "sni": True,
    "sni_name": None,
    "check_hostname": True,
    "check_dates": True,
    "handshake_timeout": 60,
    "dtls": False,
    "resume": False,
    "cid": False,
}
OPEN = {"pdp": 1, "context": 1, "socket": 4, "host": "220.180.239.201", "port": 8010, "receive": "pull"}
