"""Work in another thread, and waiting for what another thread does."""

from __future__ import annotations

import threading
import time


def in_thread(work):
    """Run work in a thread; return a function that gives its result or raises its error."""
    box = []

    def run():
        try:
            box.append((work(), None))
        except BaseException as error:
            box.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def result():
        thread.join(5)
        assert box, "the thread is still at it"
        value, error = box[0]
        if error is not None:
            raise error
        return value

    return result


def until(condition):
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.001)
