"""Ctrl-C and other signals at any moment, from outside, against a modem that numbers its answers.

A process of its own exchanges numbered commands and payloads; whatever breaks in, each answer must be that of the
command, every payload complete, and nobody may hang.
"""

import contextlib
import os
import random
import select
import signal
import subprocess
import sys
import threading
import time
import tty

import pytest

# s, of the modem, for when nothing told it that the payload of an exchange will not come: any time alone would be too
# short on a busy machine.
INPUT_TIMEOUT = 1.5

CHILD = r"""
import ctypes, functools, os, signal, sys, threading, time
from modemtls.at.channel import Channel, Exchange, Expected
from modemtls.at.grammar import PromptRule, compile_pattern
from modemtls.at.port import open_port
from modemtls.at.recovery import Recovery, probe
from modemtls.errors import ModemError

ENOUGH = 100
path, number_of_signal, stop, torn = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
# The modem says when it has given up, which ends the wait.
recovery = Recovery((probe("AT+P1?", "+P1: {n:int}"), probe("AT+P2?", "+P2: {n:int}")), input_timeout=6.0, quiet=0.02)
channel = Channel(open_port(path), recovery=recovery)
line = compile_pattern("+N: {n:int}")
sent = compile_pattern("+S: {n:int},{size:int}")
broken = failed = orphans = wrong = number = 0
inside = over = False

class Broken(BaseException):
    pass

def handler(number, frame):
    if inside:
        raise Broken

def orphan(number, outcome):
    global orphans, failed
    orphans += 1
    if isinstance(outcome, BaseException):
        failed += 1
        os.write(torn, b"%8d" % number)

def ask(number):
    if number % 3:
        return Exchange(line=b"AT+N=%d" % number, lines=(Expected(line),)), {"n": number}
    payload = b"\r\nOK\r\n" * (number % 50 + 1)
    command = b"AT+S=%d,%d" % (number, len(payload))
    exchange = Exchange(line=command, lines=(Expected(sent),), prompt=PromptRule(), payload=payload)
    return exchange, {"n": number, "size": len(payload)}

def break_in():
    # What a debugger or a time-out library may do: raise anywhere, without any signal.
    main = ctypes.c_ulong(threading.main_thread().ident)
    while not over:
        time.sleep(0.004)
        if inside:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(main, ctypes.py_object(Broken))

if number_of_signal:
    signal.signal(number_of_signal, handler)
else:
    breaker = threading.Thread(target=break_in, daemon=True)
    breaker.start()
print("ready", flush=True)
while not os.path.exists(stop):
    try:
        if broken >= ENOUGH:
            open(stop + "-please", "w").close()
        number += 1
        exchange, expected = ask(number)
        values = None
        try:
            inside = True
            reply = channel.exchange(exchange, on_orphan=functools.partial(orphan, number))
            inside = False
            values = reply.lines[0].values if reply.lines else reply.final
        except Broken:
            inside = False
            broken += 1
        except ModemError:
            inside = False
            failed += 1  # torn: not answered, but not answered wrongly either
            os.write(torn, b"%8d" % number)
        wrong += values is not None and values != expected
    except Broken:
        inside = False  # it came between the lines above
inside = False
try:
    over = True
    if not number_of_signal:
        breaker.join()
except Broken:
    pass  # the last one, on its way since before
try:
    channel.exchange(ask(number)[0])  # its turn comes when everything that was given up has been finished
except ModemError:
    pass
channel.close()
print(number, broken, failed, orphans, wrong, flush=True)
"""


class NumberingModem(threading.Thread):
    """Answers AT+N=<n> with +N: <n>, and takes payloads of AT+S=<n>,<size>."""

    def __init__(self):
        super().__init__(daemon=True)
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        self.path = os.ttyname(self.slave)
        self.strange = []
        self.told, self.torn = os.pipe()  # numbers of exchanges that their process has given up

    def run(self):
        with contextlib.suppress(OSError):
            self.serve()

    def serve(self):
        buffer = b""
        while True:
            buffer += os.read(self.master, 4096)
            while b"\r" in buffer:
                line, _, buffer = buffer.partition(b"\r")
                if line.startswith(b"AT+N="):
                    os.write(self.master, b"\r\n+N: %b\r\n\r\nOK\r\n" % line[5:])
                elif line.startswith(b"AT+S="):
                    number, size = map(int, line[5:].split(b","))
                    os.write(self.master, b"\r\n> ")
                    buffer = self.take(buffer, number, size)
                elif line in {b"AT+P1?", b"AT+P2?"}:
                    os.write(self.master, b"\r\n%b: 1\r\n\r\nOK\r\n" % line[2:5])
                else:
                    self.strange.append(line)
                    os.write(self.master, b"\r\nERROR\r\n")

    def take(self, buffer, number, size):
        """Take a payload; give up if it will not come."""
        hopeless = False
        while len(buffer) < size:
            found = select.select([self.master] if hopeless else [self.master, self.told], [], [], INPUT_TIMEOUT)[0]
            if self.master in found:  # first: what was written before it was given up
                buffer += os.read(self.master, 4096)
            elif self.told in found:
                hopeless = int(os.read(self.told, 8)) == number
            if not found or (hopeless and not select.select([self.master], [], [], 0)[0]):
                os.write(self.master, b"\r\nERROR\r\n")
                return b""
        if buffer[:size].replace(b"\r\nOK\r\n", b""):
            self.strange.append(buffer[:size])
        os.write(self.master, b"\r\n+S: %d,%d\r\n\r\nOK\r\n" % (number, size))
        return buffer[size:]

    def close(self):
        for fd in (self.slave, self.master, self.told, self.torn):
            os.close(fd)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGALRM, 0])
def test_signals_at_any_moment(number, tmp_path):
    modem = NumberingModem()
    modem.start()
    stop = tmp_path / "stop"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, modem.path, str(int(number)), str(stop), str(modem.torn)],
        pass_fds=[modem.torn],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout.readline() == "ready\n"
        dice = random.Random(7)
        end = time.monotonic() + 20
        while not stop.with_name("stop-please").exists() and time.monotonic() < end:
            time.sleep(dice.uniform(0.001, 0.008))
            if number:
                child.send_signal(number)
        stop.touch()
        out, err = child.communicate(timeout=20)
    finally:
        child.kill()
        child.wait()
        for pipe in (child.stdout, child.stderr):
            pipe.close()
        modem.close()
    assert child.returncode == 0, err
    exchanges, broken, failed, orphans, wrong = map(int, out.split())
    assert wrong == 0
    assert modem.strange == []
    assert broken >= 100
    assert exchanges > broken
    if number:
        assert orphans > 0
        assert failed == 0  # a signal waits for its place: every exchange was finished by somebody
