"""A modem that follows a script, at the far end of a real channel."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

from modemtls.at.channel import Channel
from modemtls.at.port import FdPort
from modemtls.at.recovery import STANDARD_RECOVERY
from modemtls.modem.runner import Runner
from modemtls.profile import check_text
from modemtls.profile.profile import Profile

__all__ = ["ERROR", "OK", "ScriptedModem", "profile_of", "scripted"]

OK = b"\r\nOK\r\n"
ERROR = b"\r\nERROR\r\n"
PATIENCE = 5.0  # s; no test waits as long unless it fails
_PROBES = {b"AT+CMEE?": b"\r\n+CMEE: 1\r\n" + OK, b"AT+CFUN?": b"\r\n+CFUN: 1\r\n" + OK}
_HEAD = "profile: 1\nname: test\nvendor: v\nmodels: [m]\nidentify: {model: x}\n"

Answer = "bytes | list[bytes] | Callable[[ScriptedModem], bytes]"


def profile_of(text: str) -> Profile:
    """Compile a profile from its body; every command may go without evidence of its own."""
    profile, problems = check_text(_HEAD + text)
    assert profile is not None, "\n".join(map(str, problems))
    return profile


class ScriptedModem:
    """Answers each command line with what the script has for it.

    ``script``: command to answer, or to a list of answers for the first time, the second…; an answer that ends in a
    prompt is followed by the payload ``expect`` bytes long. ``sent`` is everything that came, payloads as they are.
    """

    def __init__(self, script: dict[bytes, object]) -> None:
        self.script = dict(script)
        self.sent: list[bytes] = []
        self.payload_size = 0
        self.after_payload = OK
        self.terminator = b"\r"
        self.theirs, self._wire = socket.socketpair()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def say(self, data: bytes) -> None:
        """Send something unasked."""
        self._wire.sendall(data)

    def expect(self, size: int, answer: bytes = OK) -> None:
        """After the next prompt, this many bytes are payload."""
        self.payload_size, self.after_payload = size, answer

    def _serve(self) -> None:
        pending = b""
        with contextlib.suppress(OSError):
            while data := self._wire.recv(65536):
                pending += data
                while self.terminator in pending:
                    line, _, pending = pending.partition(self.terminator)
                    pending = self._answer(line, pending)

    def _answer(self, line: bytes, pending: bytes) -> bytes:
        if line in _PROBES and line not in self.script:
            self.say(_PROBES[line])
            return pending
        self.sent.append(line)
        answer = self.script.get(line, ERROR)
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if callable(answer):
            answer = answer(self)
        assert isinstance(answer, bytes)
        if answer:
            self.say(answer)
        if answer.endswith((b"> ", b"@", b"CONNECT\r\n", b"DOWNLOAD\r\n")) and self.payload_size:
            while len(pending) < self.payload_size:
                pending += self._wire.recv(65536)
            self.sent.append(pending[: self.payload_size])
            pending = pending[self.payload_size :]
            self.say(self.after_payload)
        return pending

    def close(self) -> None:
        """Go away."""
        self._wire.close()


@contextlib.contextmanager
def scripted(
    profile: Profile | str, script: dict[bytes, object], **runner: str
) -> Iterator[tuple[Runner, ScriptedModem]]:
    """Give a runner on a real channel whose far end follows the script."""
    if isinstance(profile, str):
        profile = profile_of(profile)
    modem = ScriptedModem(script)
    modem.terminator = profile.line.terminator
    channel = Channel(
        FdPort("scripted", modem.theirs.detach()), profile.grammar, recovery=replace(STANDARD_RECOVERY, quiet=0.002)
    )
    try:
        channel.resynchronise(channel.clock() + PATIENCE)
        one = Runner(channel, profile, **runner)
        channel.on_urc = one.observe
        yield one, modem
    finally:
        channel.close()
        modem.close()
