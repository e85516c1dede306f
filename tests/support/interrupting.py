"""Ctrl-C at a chosen place: the n-th at which the interpreter would look for signals.

CPython runs signal handlers in the main thread when a call returns, a function begins or a loop jumps back
(``CHECK_EVAL_BREAKER`` in its ``ceval.c`` and ``bytecodes.c``), and nowhere else. :func:`strike` counts these places in
the driver's own code while an operation runs, and calls the handler of SIGINT at one of them: so each can be tried.
"""

from __future__ import annotations

import inspect
import opcode
import signal
import sys
from pathlib import Path
from typing import Any

import modemtls

#: The driver, and what of the library runs in between and is written in Python.
EVERYWHERE = (str(Path(modemtls.__file__).parent), "/threading.py", "/contextlib.py", "/weakref.py")
#: Where interrupts are put off by design, and what stands for the modem.
_EXEMPT = ("/sim/", "/at/interrupts.py")
_SITES = frozenset(
    number
    for name, number in opcode.opmap.items()
    if name.startswith(("CALL", "RESUME", "JUMP_BACKWARD")) and not name.startswith("CALL_INTRINSIC")
)
_CALLS = frozenset(number for name, number in opcode.opmap.items() if name.startswith("CALL"))


class Strike:
    """What came of an operation. ``where``: the place, innermost first, or None if there were fewer."""

    def __init__(self, nth: int, within: tuple[str, ...]) -> None:
        self.nth = nth
        self.where: list[str] | None = None
        self.result: Any = None
        self.error: BaseException | None = None
        self._within = within
        self._count = 0
        self._before: dict[int, int] = {}  # frame: its last instruction
        self._left: set[int] = set()  # frames that a function in Python was called from

    @property
    def struck(self) -> bool:
        return self.where is not None

    @property
    def interrupted(self) -> bool:
        return isinstance(self.error, KeyboardInterrupt)

    def __str__(self) -> str:
        return f"{self.nth}: {' < '.join(self.where or [])}"

    def enter(self, frame: Any, event: str, arg: Any) -> Any:
        """Trace a function that begins."""
        code = frame.f_code
        if frame.f_back is not None and code.co_name != "__init__" and not code.co_flags & inspect.CO_GENERATOR:
            # Between the two there is no look for signals: the interpreter calls Python from Python without a call. But
            # a generator is gone on with by next() and the like, which are calls.
            self._left.add(id(frame.f_back))
        name = code.co_filename
        if not any(part in name for part in self._within) or any(part in name for part in _EXEMPT):
            return None
        self._before.pop(id(frame), None)
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self.step

    def step(self, frame: Any, event: str, arg: Any) -> Any:
        """Trace an instruction."""
        if event == "opcode":
            me = id(frame)
            before = self._before.get(me)
            self._before[me] = frame.f_code.co_code[frame.f_lasti]
            left = me in self._left
            self._left.discard(me)
            if before in _SITES and not (left and before in _CALLS):
                self._count += 1
                if self._count == self.nth:
                    self._strike(frame)
        return self.step

    def _strike(self, frame: Any) -> None:
        self.where = []
        one = frame
        while one is not None and len(self.where) < 6:
            self.where.append(f"{Path(one.f_code.co_filename).name}:{one.f_lineno} {one.f_code.co_name}")
            one = one.f_back
        sys.settrace(None)
        handler = signal.getsignal(signal.SIGINT)
        assert callable(handler)
        handler(signal.SIGINT, frame)


def strike(nth: int, operation: Any, *, within: tuple[str, ...] = EVERYWHERE) -> Strike:
    """Run ``operation`` with Ctrl-C at the n-th place, from 1; ``within``: parts of the names of files to count in.

    The handler of SIGINT must be the one that raises KeyboardInterrupt. What the operation raises is kept.
    """
    one = Strike(nth, within)
    tracing = sys.gettrace()
    try:
        sys.settrace(one.enter)
        try:
            one.result = operation()
        finally:
            sys.settrace(tracing)
    except (KeyboardInterrupt, OSError) as error:
        one.error = error
        error.__traceback__ = None
        error.__context__ = None
    return one
