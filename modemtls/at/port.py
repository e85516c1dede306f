"""Opening the port that a modem is on.

Whatever its kind, a port ends up as one file descriptor that is read and written without blocking. Names:

- a device (``/dev/ttyUSB2``): pyserial opens and configures it; it is locked by flock and TIOCEXCL,
- ``sim:MODEL[?NAME=VALUE&…]``: starts an embedded simulated modem,
- ``socket://HOST:PORT``: a serial line server that speaks plain TCP,
- anything else that pyserial knows (``rfc2217://…``): has no descriptor of its own, so two threads carry its bytes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import sys
import termios
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import parse_qs, urlsplit

from modemtls.at.holder import holders
from modemtls.errors import ConfigurationError, PortBusyError, PortError, PortLostError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["USUAL_BAUDRATE", "FdPort", "Port", "lost", "open_port", "received"]

USUAL_BAUDRATE: Final = 115200
"""bit/s; the usual factory setting of cellular modules."""

# bit/s; termios2 has an unsigned int for it (linux/termbits.h), pyserial a signed one.
_FASTEST: Final = 2**31 - 1

# A character on the line: start bit, eight data bits, stop bit.
_BITS = 10

_LEAVING = 0.002  # s
# Majors of pseudo terminals, which queue nothing (Documentation/admin-guide/devices.txt of the kernel).
_PSEUDO: Final = range(136, 144)
_NONE: Final = bytes(4)  # an int, as the kernel writes it

_CONNECTING = 10.0  # s; for a connection to a serial line server


class Port(Protocol):
    """What a channel needs of a port.

    ``byte_time`` is what a byte takes on the line (s), 0 if unknown. ``unsent`` tells how many bytes of what was
    written have certainly not left yet; None where that cannot be known.
    """

    name: str
    byte_time: float
    unsent: Callable[[], int] | None

    def fileno(self) -> int:
        """Return the descriptor: non-blocking, read for what the modem sends, written for what it gets."""

    def close(self) -> None:
        """Close it. Harmless if repeated."""

    def disown(self) -> None:
        """Close this process's descriptor and nothing else, in a process that was forked from the owner."""


class FdPort:
    """A port made of a descriptor, which it owns, and of what else has to be closed with it."""

    def __init__(
        self, name: str, fd: int, *, byte_time: float = 0.0, on_close: Callable[[], None] | None = None
    ) -> None:
        self.name = name
        self.byte_time = byte_time
        self.unsent: Callable[[], int] | None = None
        self._fd = fd
        self._on_close = on_close
        os.set_blocking(fd, False)

    def fileno(self) -> int:
        """Return the descriptor, -1 once closed."""
        return self._fd

    def close(self) -> None:
        """Close it. Harmless if repeated."""
        fd, self._fd = self._fd, -1
        on_close, self._on_close = self._on_close, None
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)
        if on_close is not None:
            on_close()

    def disown(self) -> None:
        """Close this process's descriptor and nothing else, in a process that was forked from the owner."""
        fd, self._fd = self._fd, -1
        self._on_close = None
        if fd >= 0:
            os.close(fd)


def received(fd: int, name: str) -> bytes:
    """Read what a descriptor has that does not block, perhaps nothing. Raises PortLostError when it has ended."""
    try:
        data = os.read(fd, 65536)
    except BlockingIOError:
        return b""
    except OSError as error:
        raise lost(name, error) from error
    if not data:
        raise lost(name)
    return data


def lost(name: str, error: OSError | None = None) -> PortLostError:
    """Return the error that tells of a port's end."""
    why = f" ({error.strerror})" if error is not None and error.strerror else ""
    return PortLostError(f"{name} went away{why}")


class _Device(FdPort):
    """A serial device that was opened exclusively."""

    def __init__(self, name: str, fd: int, *, byte_time: float, on_close: Callable[[], None] | None) -> None:
        super().__init__(name, fd, byte_time=byte_time, on_close=on_close)
        if os.major(os.fstat(fd).st_rdev) not in _PSEUDO:
            self.unsent = self._unsent

    def _unsent(self) -> int:
        try:
            if fcntl.ioctl(self._fd, termios.TIOCOUTQ, _NONE) == _NONE:
                return 0
            time.sleep(_LEAVING)  # some drivers count what they have handed over for a moment more
            return int.from_bytes(fcntl.ioctl(self._fd, termios.TIOCOUTQ, _NONE), sys.byteorder)
        except OSError:
            return 0

    def close(self) -> None:
        """Close it. Harmless if repeated."""
        if self._fd >= 0:
            # The kernel forgets TIOCEXCL with the last close only, and a pty's other end may hold one more.
            with contextlib.suppress(OSError):
                fcntl.ioctl(self._fd, termios.TIOCNXCL)
        super().close()


def open_port(
    name: str, baudrate: int = USUAL_BAUDRATE, *, rtscts: bool = False, deadline: float | None = None
) -> Port:
    """Open a port by name; ``socket://`` in ten seconds, or until ``deadline`` (:func:`time.monotonic`) if sooner.

    Raises PortBusyError if another process holds it (and says who, where that can be known), PortError if it cannot
    be opened, ConfigurationError for a name or setting that can never work.
    """
    if not name or "\0" in name:
        raise ConfigurationError(f"not a port name: {name!r}")
    if not 0 < baudrate <= _FASTEST:
        raise ConfigurationError(f"baudrate: a number of bit/s is wanted, from 1 to {_FASTEST}")
    if name.startswith("sim:"):
        return _open_simulated(name, baudrate, rtscts=rtscts)
    if name.startswith("socket://"):
        return _open_socket(name, deadline)
    if "://" in name:
        return _open_relayed(name, baudrate, rtscts=rtscts)
    return _open_device(name, baudrate, rtscts=rtscts)


def _open_device(name: str, baudrate: int, *, rtscts: bool, on_close: Callable[[], None] | None = None) -> Port:
    import serial

    if not Path(name).exists():
        raise PortError(f"{name}: no such port", number=errno.ENOENT)
    try:
        # pyserial's exclusive is flock(LOCK_EX | LOCK_NB), taken before anything is configured.
        port = serial.Serial(name, baudrate, rtscts=rtscts, exclusive=True)
    except (OSError, ValueError) as error:
        raise _not_opened(name, error) from error
    try:
        fd = os.dup(port.fileno())
    finally:
        # pyserial never unlocks: the lock belongs to the open file description, which the duplicate keeps.
        port.close()
    try:
        fcntl.ioctl(fd, termios.TIOCEXCL)
        _block_on_nothing(fd)
    except OSError as error:
        os.close(fd)
        raise _not_opened(name, error) from error
    return _Device(name, fd, byte_time=_BITS / baudrate, on_close=on_close)


def _block_on_nothing(fd: int) -> None:
    """Let a read of nothing be EAGAIN.

    pyserial sets VMIN 0, with which a read without data returns nothing just as one after a hang-up does.
    """
    attributes = termios.tcgetattr(fd)
    attributes[6][termios.VMIN] = 1
    attributes[6][termios.VTIME] = 0
    termios.tcsetattr(fd, termios.TCSANOW, attributes)


def _not_opened(name: str, error: BaseException) -> PortError | ConfigurationError:
    number = getattr(error, "errno", None)
    if isinstance(error, ValueError):
        return ConfigurationError(f"{name}: {error}")
    text = os.strerror(number) if number else str(error)
    busy = number in {errno.EBUSY, errno.EAGAIN} or "exclusively lock" in str(error)
    if busy:
        who = holders(name)
        by = f" by {', '.join(who)}" if who else ""
        return PortBusyError(f"{name} is in use{by}")
    if number in {errno.ENOTTY, errno.EINVAL} or "Could not configure port" in str(error):
        return PortError(f"{name} is not a serial port", number=errno.ENOTTY)
    return PortError(f"{name}: {text}", number=number or errno.EIO)


def _open_simulated(name: str, baudrate: int, *, rtscts: bool) -> Port:
    model, _, query = name.removeprefix("sim:").partition("?")
    if not model:
        raise ConfigurationError("sim: needs a model, as in sim:MODEL; `modemtls profiles` lists them")
    options = parse_qs(query, keep_blank_values=True)
    try:
        from modemtls.sim import embedded
    except ImportError as error:
        raise ConfigurationError(f"the simulated modem needs the extra modemtls[sim] ({error})") from error
    try:
        modem: Any = embedded.open(model, options)
    except ValueError as error:  # the simulator's word for a wrong model or option
        raise ConfigurationError(f"{name}: {error}") from error
    try:
        return _open_device(modem.path, baudrate, rtscts=rtscts, on_close=modem.close)
    except BaseException:
        modem.close()
        raise


def _open_socket(name: str, deadline: float | None) -> Port:
    parts = urlsplit(name)
    try:
        host, number = parts.hostname, parts.port
    except ValueError:
        host = number = None
    if not host or not number:
        raise ConfigurationError(f"{name}: expected socket://HOST:PORT")
    # Time for an answer that is there already is left in any case: 0 would mean not to wait at all.
    left = _CONNECTING if deadline is None else min(max(0.1, deadline - time.monotonic()), _CONNECTING)
    try:
        connection = socket.create_connection((host, number), timeout=left)
    except OSError as error:
        raise PortError(f"{name}: {error.strerror or error}", number=error.errno) from error
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return FdPort(name, connection.detach())


def _open_relayed(name: str, baudrate: int, *, rtscts: bool) -> Port:
    import serial

    try:
        port = serial.serial_for_url(name, baudrate=baudrate, rtscts=rtscts)
    except (OSError, ValueError) as error:
        raise _not_opened(name, error) from error
    ours, theirs = socket.socketpair()

    def inwards() -> None:
        with contextlib.suppress(OSError, TypeError, AttributeError), theirs:
            while data := port.read(max(1, port.in_waiting)):
                theirs.sendall(data)

    def outwards() -> None:
        with contextlib.suppress(OSError, TypeError, AttributeError):
            while data := theirs.recv(4096):
                port.write(data)
        with contextlib.suppress(OSError, TypeError, AttributeError):
            port.close()

    for relay in (inwards, outwards):
        threading.Thread(target=relay, name=f"relay {name}", daemon=True).start()
    return FdPort(name, ours.detach(), byte_time=_BITS / baudrate)
