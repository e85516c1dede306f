"""What a program leaves behind that ends without closing its modem."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import servers

SCRIPT = """
import sys, warnings
import modemtls

warnings.simplefilter("ignore")
modem = modemtls.open("sim:quectel-bg95?start=running&latency=0", apn="iot.example")
sock = modem.connect(("127.0.0.1", int(sys.argv[1])), tls=None, timeout=10)
sock.setblocking(False)
exec(sys.argv[2])
assert sock.send(b"y" * 7000) == 7000
exec(sys.argv[3])
"""


def ended(serve, then, before=""):
    with servers.tls_service(None, serve) as port:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(port), before, then],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"PYTHONPATH": ""},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stderr


@pytest.mark.parametrize("then", ["", "sock.close()", "del sock", "sock.close(); del sock, modem"])
def test_what_was_accepted_is_sent(then):
    got = queue.Queue()

    def serve(stream):
        count = 0
        while piece := stream.recv(65536):
            count += len(piece)
        got.put(count)

    assert ended(serve, then) == ""
    assert got.get(timeout=5) == 7000


def test_what_cannot_be_sent_in_time_is_told():
    """Who has the modem's line keeps it, for longer than the end of a program waits."""
    began = time.monotonic()
    busy = "held = modem.attached.channel.hold(); held.__enter__()"
    told = ended(lambda stream: stream.recv(1), "import modemtls.api; modemtls.api.EXIT_LINGER = 0.05", busy)
    assert time.monotonic() - began < 10
    assert "7000 bytes that had been accepted were not sent" in told
    assert "Traceback" not in told
