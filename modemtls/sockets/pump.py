"""One thread per modem that serves those who do not want to wait: reads ahead, sends what was accepted.

It starts with the first socket that is selected on or made non-blocking, and sleeps without a time-out whenever there
is nothing to do.
"""

from __future__ import annotations

import itertools
import logging
import threading
from typing import TYPE_CHECKING

from modemtls.errors import ModemError

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.sockets.endpoint import Endpoint

__all__ = ["Pump"]

logger = logging.getLogger(__name__)


class Pump:
    """Serves the watched sockets of one modem, each in its turn, one piece at a time.

    ``now`` is the modem's clock. ``ended`` is called after each socket that has been closed; from any thread.
    """

    def __init__(
        self, now: Callable[[], float], name: str = "modem", *, ended: Callable[[], None] = lambda: None
    ) -> None:
        self.now = now
        self._name = name
        self._ended = ended
        self._closes = itertools.count(1)
        self.closed = 0  # another number whenever a socket has been closed
        # Entered as a lock, never as a condition: that is written in Python, where an interrupt can leave it taken.
        self._lock = threading.RLock()
        self._bell = threading.Condition(self._lock)
        self._rung = False
        self._stopping = False
        self.stopped = ""  # why nothing is done any more
        self._served: list[Endpoint] = []
        self._thread: threading.Thread | None = None

    def deadline(self, timeout: float | None) -> float | None:
        """Return the time at which ``timeout`` seconds from now are over."""
        return None if timeout is None else self.now() + timeout

    def remaining(self, deadline: float | None) -> float | None:
        """Return the seconds left until ``deadline``: at least a moment, at most what Python can wait."""
        return None if deadline is None else min(max(0.001, deadline - self.now()), threading.TIMEOUT_MAX)

    def add(self, endpoint: Endpoint) -> None:
        """Serve ``endpoint`` from now on; adding it twice is harmless."""
        with self._lock:
            if endpoint not in self._served and not endpoint.finished:
                self._served = [*self._served, endpoint]
            if self._thread is None and not self._stopping:
                self._thread = threading.Thread(target=self._run, name=f"{self._name} pump", daemon=True)
                self._thread.start()
            self._rung = True
            self._bell.notify()

    @property
    def leaving(self) -> bool:
        """Whether sockets are being closed in the background."""
        return any(endpoint.ending for endpoint in self._served)

    def remove(self, endpoint: Endpoint) -> None:
        """Serve ``endpoint`` no more."""
        with self._lock:
            self._served = [each for each in self._served if each is not endpoint]

    def note_closed(self) -> None:
        """Count a socket that has been closed."""
        self.closed = next(self._closes)
        self._ended()

    def wake(self) -> None:
        """Look for work."""
        with self._lock:
            self._rung = True
            self._bell.notify()

    def drain(self, timeout: float) -> None:
        """Wait until all that was accepted is sent, and what is being closed is closed; ``timeout`` seconds at most."""
        if threading.current_thread() is self._thread:  # it dropped the last reference to the modem
            return
        deadline = self.now() + timeout
        for endpoint in self._served:
            endpoint.settle(max(0.0, deadline - self.now()))

    def close(self) -> None:
        """Stop the thread. What it leaves unsent is an error of the socket's, and logged."""
        with self._lock:
            self._stopping = True
            self._bell.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=1.0)
        self.stopped = f"{self._name} was closed"
        for endpoint in self._served:
            endpoint.give_up(self.stopped)

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._rung and not self._stopping:
                    due = self._due()
                    left = None if due is None else due - self.now()
                    if left is not None and left <= 0:
                        break
                    self._bell.wait(left)
                if self._stopping:
                    return
                self._rung = False
            while self._serve() and not self._stopping:
                pass

    def _due(self) -> float | None:
        """Return when something has to be done even if nobody rings."""
        times = [each.retry_at for each in self._served if each.retry_at is not None]
        times += [each.ask_at for each in self._served if each.ask_at is not None]
        return min(times, default=None)

    def _serve(self) -> bool:
        """Do one piece of work for every socket; return whether there was any."""
        now = self.now()
        worked = False
        for endpoint in self._served:
            try:
                worked = endpoint.step(now) or worked
            except ModemError as error:
                logger.debug("serving a socket: %s", error)
            except Exception:  # one socket's trouble must not stop the others
                logger.exception("serving a socket")
                self.remove(endpoint)
        return worked
