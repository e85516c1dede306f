"""Ctrl-C at every place where Python looks for it, in what the modem layer gives out and takes back."""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import replace

import pytest

from modemtls.errors import ModemTimeoutError
from modemtls.modem.contexts import ContextPool
from modemtls.modem.interfaces import Turn
from modemtls.modem.settings import TlsSettings
from tests.support.interrupting import strike
from tests.support.modem_fakes import Answer, FakeHost

PLAIN = TlsSettings(version=3, suites=("0XFFFF",), ca="mtls-ca")
WITHIN = ("/modem/contexts.py", "/modem/interfaces.py", "/contextlib.py")


@pytest.fixture(autouse=True)
def interruptible():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def everywhere(operate, check, *, least):
    """Strike in place after place until there are no more, ``least`` for certain; return after which it was wrong."""
    wrong = []
    nth = 1
    while True:
        one = strike(nth, operate, within=WITHIN)
        if not check(one):
            wrong.append(str(one))
        if not one.struck:
            assert wrong or nth > least, "this does not look as if everything was tried"
            return wrong
        nth += 1


def in_thread(work):
    box = []
    thread = threading.Thread(target=lambda: box.append(work()))
    thread.start()
    thread.join(10)
    return box[0]


def is_free(turn):
    """Whether another thread gets its turn at once."""

    def take():
        try:
            with turn.take(time.monotonic, time.monotonic()):
                return True
        except ModemTimeoutError:
            return False

    return in_thread(take)


@pytest.mark.parametrize("deadline", [None, 1e9])
def test_a_turn_is_given_back_before_anybody_hears_of_the_interrupt(deadline):
    turn = Turn("this")
    held = []

    def operate():
        try:
            with turn.take(time.monotonic, deadline):
                held.append(is_free(turn))
        finally:
            free.append(is_free(turn))

    def check(one):
        return free.pop() and not any(held)

    free = []
    assert everywhere(operate, check, least=2) == []
    assert held, "nobody got as far as the block"


class Leasing:
    """A pool of two contexts, and a program that wants one."""

    def __init__(self, *, configured=False, share=False):
        self.host = FakeHost(tls_configure=Answer(), tls_verify=Answer())
        self.pool = ContextPool(self.host, (0, 1), foreign=lambda deadline: {})
        self.share = share
        self.configured = configured

    def __call__(self):
        self.pool.lease(PLAIN).release()
        self.host.raise_doubt("anything")
        with self.pool.lease(PLAIN if self.configured else replace(PLAIN, ca=None)) as lease:
            if self.share:
                lease.share().release()
            lease.check()

    def all_idle(self, _):
        """Whether every context is free for a configuration of its own, and the turn with them."""

        def lease(handshake_timeout):
            wanted = replace(PLAIN, handshake_timeout=handshake_timeout)
            return self.pool.lease(wanted, deadline=self.host.now() + 1)

        def use():
            try:
                with lease(10) as one, lease(11) as other:
                    return one.number != other.number
            except OSError:
                return False

        return in_thread(use) and self.pool.names_in_use() == frozenset()


@pytest.mark.parametrize("kind", [{}, {"configured": True}, {"share": True}])
def test_no_context_stays_leased_by_nobody(kind):
    leasing = Leasing(**kind)
    assert everywhere(leasing, leasing.all_idle, least=20) == []
