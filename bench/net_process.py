"""What is paid once: importing, connecting, doing nothing."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.table import Figure

RUNS = 25
IDLE = 3.0
"""Seconds of doing nothing."""


def _seconds(*arguments: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def _start(name: str, where: str, aim: float, *arguments: str) -> Figure:
    """Compare a whole process with an empty interpreter's, in turns; the ratio is the median of the pairs'."""
    both = [(_seconds(*arguments), _seconds("-c", "pass")) for _ in range(RUNS)]
    ours, empty = (statistics.median(one[side] for one in both) for side in (0, 1))
    ratio = statistics.median(one / other for one, other in both)
    return Figure(
        name,
        where,
        f"{ours * 1e3:.1f} ms",
        f"{empty * 1e3:.1f} ms",
        ratio,
        f"< {aim:g}",
        met=ratio < aim,
    )


def _switches() -> int:
    """Count how often any thread of this process has gone to sleep (proc(5)): once behind each wake-up."""
    total = 0
    for task in Path("/proc/self/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                total += int(line.split()[1])
    return total


def _modem_figures() -> list[Figure]:
    """Count commands of a second connection, and wake-ups with two idle ones; the simulator is its own process."""
    import contextlib
    import socket
    import ssl
    import threading

    import trustme

    import modemtls
    from modemtls.sim.process import ModemProcess

    commands: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0))
    accepted: list[socket.socket] = []
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("server.example").configure_cert(context)
    tls = modemtls.TLSConfig(ca=authority.cert_pem.bytes())

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted.append(context.wrap_socket(listener.accept()[0], server_side=True))

    thread = threading.Thread(target=accept)
    thread.start()
    port = listener.getsockname()[1]

    def trace(record: object) -> None:
        if getattr(record, "direction", "") == "out":
            commands.append(getattr(record, "shown", ""))

    with ModemProcess("quectel-bg95", "--variant", "start=running") as process:
        modem = modemtls.open(process.path, apn="iot.example", trace=trace)
        with modem, modem.connect(("server.example", port), tls=tls) as first:
            commands.clear()
            with modem.connect(("server.example", port), tls=tls) as second:
                count = len(commands)
                for one in (first, second):
                    one.setblocking(False)  # so that the pump is there, too
                time.sleep(0.2)
                before = _switches()
                time.sleep(IDLE)
                wakes = _switches() - before - 1  # this thread's own
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()
    for one in accepted:
        one.close()
    return [
        # Two more than the aim: they compare what the open did with what it was told (decision 0008, 5).
        Figure("AT commands from connect() to usable", "api", str(count), "–", None, "1", met=count <= 1),
        Figure(f"wake-ups in {IDLE:g} s, two idle sockets", "process", str(wakes), "–", None, "0", met=wakes <= 0),
    ]


def figures() -> list[Figure]:
    """Measure."""
    return [
        _start("import of the package", "process", 3, "-c", "import modemtls"),
        _start("modemtls --help", "process", 6, "-m", "modemtls", "--help"),
        *_modem_figures(),
    ]
