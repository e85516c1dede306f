"""Five threads of traffic with Ctrl-C at random in the main thread: `python -m tests.stress.threads_and_interrupts`.

A few seconds of it are part of the test run.
It prints what failed, and with the first failure the last 200 lines of the AT dialogue.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import signal
import subprocess
import sys
import threading
import time
import traceback

import modemtls
from tests.support import servers


class Interrupt:
    """A handler that interrupts what is tested, once for each time it is armed, and never the test around it."""

    armed = False

    def __call__(self, number: int, frame: object) -> None:
        if self.armed:
            self.armed = False
            raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--interrupts", type=float, default=30, help="a second; 0 for none")
    given = parser.parse_args()
    interrupt = Interrupt()
    signal.signal(signal.SIGINT, interrupt)
    with servers.tls_service(None, servers.echo) as port:
        command = [sys.executable, "-m", "modemtls", "sim", "quectel-bg95", "--map", f"echo.example=127.0.0.1:{port}"]
        simulator = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert simulator.stdout is not None
            return run(simulator.stdout.readline().strip(), given.seconds, given.interrupts, interrupt)
        finally:
            simulator.terminate()
            simulator.wait()


def run(path: str, seconds: float, rate: float, interrupt: Interrupt) -> int:
    lines: collections.deque[str] = collections.deque(maxlen=200)
    failures: list[str] = []
    modem = modemtls.open(path, trace=lambda r: lines.append(f"{r.time:12.4f} {r.direction:4} {r.data[:60]!r}"))
    peer = ("echo.example", 7000)
    modem.connect(peer, tls=None, timeout=40).close()
    stop = time.monotonic() + seconds
    counts: collections.Counter[str] = collections.Counter()

    def failed(what: str) -> None:
        if not failures:
            print(*lines, sep="\n")
        failures.append(what)

    def both_ways(name: str) -> None:
        """Send pieces of a known sequence and compare what comes back, byte by byte."""
        try:
            sock = modem.connect(peer, tls=None, timeout=40)
            sent, back = random.Random(name), random.Random(name)
            pending = b""
            while time.monotonic() < stop:
                sock.sendall(sent.randbytes(1460))
                while len(pending) < 1460:
                    data = sock.recv(4096)
                    if not data:
                        raise EOFError(name)
                    pending += data
                piece, pending = pending[:1460], pending[1460:]
                if pending or piece != back.randbytes(1460):
                    raise AssertionError(f"{name}: something else came back than was sent")
                counts[name] += 1
            sock.close()
        except BaseException:
            failed(f"{name}\n{traceback.format_exc()}")

    def churn(name: str) -> None:
        try:
            while time.monotonic() < stop:
                with modem.connect(peer, tls=None, timeout=40) as sock:
                    data = os.urandom(random.randrange(1, 2000))
                    sock.sendall(data)
                    back = b""
                    while len(back) < len(data):
                        back += sock.recv(2000) or b"?" * len(data)
                    if back != data:
                        raise AssertionError(f"{name}: other bytes came back")
                counts[name] += 1
        except BaseException:
            failed(f"{name}\n{traceback.format_exc()}")

    threads = [threading.Thread(target=both_ways, args=(f"stream {n}",), daemon=True) for n in range(4)]
    threads.append(threading.Thread(target=churn, args=("churn",), daemon=True))
    for thread in threads:
        thread.start()
    code = f"import os,time,random\nend=time.time()+{seconds}\nwhile time.time()<end and os.getppid()=={os.getpid()}:\n"
    code += f" time.sleep(random.expovariate({rate or 1})); os.kill({os.getpid()},2)"
    child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True) if rate else None
    while time.monotonic() < stop:
        try:
            interrupt.armed = True
            sock = modem.connect(peer, tls=None, timeout=20)
            sock.settimeout(5)
            sock.sendall(b"hello")
            sock.recv(10)
            sock.close()
            interrupt.armed = False
            counts["main"] += 1
        except KeyboardInterrupt:
            counts["interrupted"] += 1
        except (TimeoutError, OSError) as error:
            interrupt.armed = False
            failed(f"main: {error!r}")
    if child is not None:
        child.kill()
        child.wait()
    for thread in threads:
        thread.join(60)
    print(dict(counts), [thread.name for thread in threads if thread.is_alive()])
    print(*failures, sep="\n")
    modem.close()
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
