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

INPUT_TIMEOUT = 0.1  # s, of the modem

CHILD = r"""
import ctypes, os, signal, sys, threading, time
from modemtls.at.channel import Channel, Exchange, Expected
from modemtls.at.grammar import PromptRule, compile_pattern
from modemtls.at.port import open_port
from modemtls.at.recovery import Recovery, probe
from modemtls.errors import ModemError

path, number_of_signal, stop = sys.argv[1], int(sys.argv[2]), sys.argv[3]
recovery = Recovery((probe("AT+P1?", "+P1: {n:int}"), probe("AT+P2?", "+P2: {n:int}")), input_timeout=0.2, quiet=0.02)
channel = Channel(open_port(path), recovery=recovery)
line = compile_pattern("+N: {n:int}")
sent = compile_pattern("+S: {n:int},{size:int}")
broken = failed = orphans = wrong = number = 0
inside = False

class Broken(BaseException):
    pass

def handler(number, frame):
    if inside:
        raise Broken

def orphan(outcome):
    global orphans, failed
    orphans += 1
    failed += isinstance(outcome, BaseException)

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
    while True:
        time.sleep(0.004)
        if inside:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(main, ctypes.py_object(Broken))

if number_of_signal:
    signal.signal(number_of_signal, handler)
else:
    threading.Thread(target=break_in, daemon=True).start()
print("ready", flush=True)
while not os.path.exists(stop):
    try:
        number += 1
        exchange, expected = ask(number)
        values = None
        try:
            inside = True
            reply = channel.exchange(exchange, on_orphan=orphan)
            inside = False
            values = reply.lines[0].values
        except Broken:
            inside = False
            broken += 1
        except ModemError:
            inside = False
            failed += 1  # torn: not answered, but not answered wrongly either
        wrong += values is not None and values != expected
    except Broken:
        inside = False  # it came between the lines above
inside = False
try:
    time.sleep(0.02)
except Broken:
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
        """Take a payload; give up after the input time-out."""
        while len(buffer) < size:
            if not select.select([self.master], [], [], INPUT_TIMEOUT)[0]:
                os.write(self.master, b"\r\nERROR\r\n")
                return b""
            buffer += os.read(self.master, 4096)
        if buffer[:size].replace(b"\r\nOK\r\n", b""):
            self.strange.append(buffer[:size])
        os.write(self.master, b"\r\n+S: %d,%d\r\n\r\nOK\r\n" % (number, size))
        return buffer[size:]

    def close(self):
        os.close(self.slave)
        os.close(self.master)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGALRM, 0])
def test_signals_at_any_moment(number, tmp_path):
    modem = NumberingModem()
    modem.start()
    stop = tmp_path / "stop"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, modem.path, str(int(number)), str(stop)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout.readline() == "ready\n"
        dice = random.Random(7)
        end = time.monotonic() + 1.5
        signals = 0
        while time.monotonic() < end:
            time.sleep(dice.uniform(0.001, 0.008))
            if number:
                child.send_signal(number)
            signals += 1
        time.sleep(0.05)
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
    assert broken > signals / 10
    assert exchanges > broken
    if number:
        assert orphans > 0
        assert failed == 0  # a signal waits for its place: every exchange was finished by somebody
