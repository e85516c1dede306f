"""modemtls.sim: a simulated modem on a pseudo-terminal, with real TLS behind it.

Rooms: ``line`` (pty, pacing), ``interpreter`` (V.250), ``personalities`` (one package a family, written from the
vendors' manuals), ``network`` (names, TCP, UDP, TLS on loopback), ``faults``, ``trace``. ``machine`` puts them
together;
``embedded`` (a thread in this process), ``run`` (a process of its own) and ``harness`` (in memory, stepped time) are
its
three front doors.
"""
