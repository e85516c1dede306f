"""A forked child leaves its parent's modem alone: whatever it does with its copy, and when it exits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import servers

SCRIPT = """
import gc, multiprocessing, os, subprocess, sys, warnings
from concurrent.futures import ProcessPoolExecutor
import modemtls

warnings.simplefilter("ignore")
modem = modemtls.open("sim:quectel-bg95?start=running", apn="iot.example")
def connect():
    return modem.connect(("127.0.0.1", int(sys.argv[1])), tls=None, timeout=10)
blocking, selected = connect(), connect()
selected.fileno()
file = blocking.makefile("rb")

def terminals():
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            found += "/pts/" in os.readlink("/proc/self/fd/" + name)
        except OSError:
            pass  # that of the listing itself
    return found
before = terminals()

def quietly():
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)

def leave():
    sys.exit(0)

def close():
    file.close(), blocking.close(), selected.close(), modem.close()
    print("closed", modem, flush=True)
    sys.exit(0)

def forget():
    quietly()
    for name in ("file", "blocking", "selected", "connect", "modem"):
        del globals()[name]
    gc.collect()
    sys.exit(0)

def use():
    calls = [lambda: blocking.recv(1), lambda: selected.send(b"x"), lambda: blocking.sendall(b"x"), selected.fileno,
        lambda: blocking.settimeout(1), lambda: blocking.shutdown(2), connect, modem.info, modem.status,
        modem.bring_up, lambda: modem.credentials, lambda: modem.capabilities,
        lambda: modem.attached.channel.wait(lambda: False, modem.attached.now() + 5),
        lambda: blocking.connection.receive(1), lambda: blocking.connection.send(b"x")]
    for call in calls:
        try:
            call()
            print("took", calls.index(call))
        except modemtls.ModemError as error:
            print("refused" if "opened in another process" in str(error) else error)
    print("held", terminals() - before)
    sys.stdout.flush()
    os._exit(0)

def in_child(act):
    pid = os.fork()
    if pid:
        assert os.waitpid(pid, 0)[1] == 0, act
        return
    act()  # leaves by sys.exit, through all that runs at exit

def pool():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as executor:
        assert executor.submit(pow, 2, 3).result() == 8

def process():
    child = multiprocessing.get_context("fork").Process(target=int)
    child.start()
    child.join()
    assert child.exitcode == 0

acts = [lambda: in_child(leave), lambda: in_child(close), lambda: in_child(forget), lambda: in_child(use), pool,
    process, lambda: subprocess.run(["true"], check=True)]
for act in acts:
    act()
    for sock in (blocking, selected):
        sock.sendall(b"abcde")
        got = b""
        while len(got) < 5:
            got += sock.recv(5)
    connect().close()
print("parent is well")
modem.close()
"""


@pytest.fixture(scope="module")
def told():
    with servers.tls_service(None, servers.echo) as port:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(port)],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"PYTHONPATH": ""},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_the_parent_goes_on(told):
    assert told[-1] == "parent is well"


def test_the_child_closes_without_doing_anything(told):
    assert sum(line.startswith("closed <modemtls.Modem") for line in told) == 1


def test_the_child_is_refused_in_plain_words(told):
    assert [line for line in told if not line.startswith(("closed", "held", "parent"))] == ["refused"] * 15


def test_the_child_does_not_hold_the_port(told):
    assert "held -1" in told
