"""Traffic of several threads while the main thread is interrupted again and again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_interrupts_in_one_thread_do_not_touch_the_traffic_of_others():
    """A signal while the main thread hands the line on used to send the next one's command unseen."""
    command = [sys.executable, "-m", "tests.stress.threads_and_interrupts", "--seconds", "4"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
