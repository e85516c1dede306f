"""``modemtls connect``: stdin to the peer, the peer to stdout, status to stderr."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import time
from typing import TYPE_CHECKING, Protocol

from modemtls.cli.output import status, write_bytes
from modemtls.cli.session import connected, engine_from, opened, refuse_beside, secured, tls_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modemtls.api import TLSConfig
    from modemtls.cli.settings import Settings

__all__ = ["Stream", "run", "stream"]

PIECE = 16384
LINGER = 5.0
"""Seconds of --linger if it is not given."""
A_DAY = 86400.0
"""Seconds of one wait at most: there is a limit to what select(2) takes."""
CLOSED = "closed by the peer"


class Stream(Protocol):
    """What is needed of the socket."""

    def fileno(self) -> int: ...  # noqa: D102
    def setblocking(self, flag: bool, /) -> None: ...  # noqa: D102
    def recv(self, size: int, /) -> bytes: ...  # noqa: D102
    def send(self, data: bytes, /) -> int: ...  # noqa: D102
    def shutdown(self, how: int, /) -> None: ...  # noqa: D102
    def getsockopt(self, level: int, option: int, /) -> int | bytes: ...  # noqa: D102


def run(settings: Settings) -> int:
    """``modemtls connect HOST PORT``."""
    from modemtls.errors import ConfigurationError
    from modemtls.net.address import check_host

    host, port = settings.required("host"), settings.whole("peer_port") or 0
    try:
        check_host(host)
    except ConfigurationError as error:
        settings.refuse(f"HOST: {error.message.removeprefix('host: ')}")
    _ = settings.port
    if settings.flag("plain"):
        refuse_beside(settings, "--plain means no TLS: {} has no place beside it", "dtls")
        _streams(settings, host, port, None)
        return 0
    from modemtls.cli.keeping import kept_session

    with kept_session(settings.text("session_file")) as session:
        tls = tls_from(settings, session)
        if settings.flag("dtls"):
            _datagrams(settings, host, port, tls)
        else:
            _streams(settings, host, port, tls)
    return 0


def _streams(settings: Settings, host: str, port: int, tls: TLSConfig | None) -> None:
    kept = tls is not None and tls.session_resumption_buffer is not None
    with opened(settings) as modem:
        sock = connected(settings, modem, host, port, tls)
        try:
            status(f"connected to {host} port {port}, {secured(sock.connection, kept=kept)}")
            why = stream(sock, sys.stdin.fileno(), write_bytes, _linger(settings))
            if why == CLOSED and sock.end_authenticated is False:
                why += ", or cut: nothing tells" if sock.engine == "host" else ", or cut: the modem does not tell"
            status(why)
        finally:
            sock.close()


def _datagrams(settings: Settings, host: str, port: int, tls: TLSConfig) -> None:
    from modemtls.cli.datagrams import exchange
    from modemtls.net import create_dtls_socket

    with (
        opened(settings) as modem,
        create_dtls_socket(modem, tls.configuration(), engine=engine_from(settings)) as sock,
    ):
        sock.connect(host, str(port), timeout=settings.number("timeout"))
        status(f"connected to {host} port {port}, {secured(sock, kept=tls.session_resumption_buffer is not None)}")
        status(exchange(sock, sys.stdin.fileno(), write_bytes, _linger(settings)))


def _linger(settings: Settings) -> float:
    given = settings.number("linger")
    return LINGER if given is None else given


def stream(sock: Stream, source: int, write: Callable[[bytes], object], linger: float) -> str:
    """Pass bytes both ways until one side ends; return why it ended.

    ``source`` is a descriptor to read from, ``linger`` the time in seconds to go on receiving without data after its
    end. Errors of the connection are raised; whatever can still be received then has been written.
    """
    sock.setblocking(False)
    waiting = b""
    reading, flushed = True, False
    failed: OSError | None = None
    quiet_since = time.monotonic()
    while True:
        left = None
        if flushed or failed is not None:
            left = min(max(quiet_since + linger - time.monotonic(), 0.0), A_DAY)
        readers = [sock.fileno(), source] if reading and not waiting else [sock.fileno()]
        # select() and not epoll: stdin may be a plain file, which epoll refuses.
        can_read, can_write, _ = select.select(readers, [sock.fileno()] if waiting else [], [], left)
        if left == 0 and not can_read:
            if failed is not None:
                raise failed
            return f"closed: nothing came for {linger:g} s"
        try:
            if sock.fileno() in can_read and (data := _received(sock)) is not None:
                if not data:
                    if failed is not None:
                        raise failed
                    _end(sock, len(waiting))
                    return CLOSED
                write(data)
                quiet_since = time.monotonic()
            if can_write:
                with contextlib.suppress(BlockingIOError):
                    waiting = waiting[_sent(sock, waiting) :]
            if source in can_read:
                waiting = os.read(source, PIECE)
                reading = bool(waiting)
            if not reading and not waiting and not flushed:
                _flush(sock)
                flushed = True
                quiet_since = time.monotonic()
        except _FailedError as failure:
            # What is left may hold the reason, as an HTTP server's refusal of too large a body.
            if failed is not None:
                raise failed from None
            failed, waiting, reading, flushed = failure.error, b"", False, True
            quiet_since = time.monotonic()


class _FailedError(Exception):
    """The connection failed, and not stdin or stdout."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error


@contextlib.contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except BlockingIOError:
        raise
    except OSError as error:
        raise _FailedError(error) from error


def _received(sock: Stream) -> bytes | None:
    """Return what is there; None if that is nothing."""
    with contextlib.suppress(BlockingIOError), _failing():
        return sock.recv(PIECE)
    return None


def _sent(sock: Stream, data: bytes) -> int:
    with _failing():
        return sock.send(data)


def _flush(sock: Stream) -> None:
    """Wait until everything that was accepted is sent, or failed; nothing can be sent after that."""
    with _failing():
        sock.setblocking(True)
        sock.shutdown(socket.SHUT_WR)
        sock.setblocking(False)


def _end(sock: Stream, unsent: int) -> None:
    """Raise if the peer, which has closed, did not get everything."""
    if unsent:
        raise ConnectionResetError(f"the peer closed before {unsent} bytes were sent")
    sock.setblocking(True)
    sock.shutdown(socket.SHUT_WR)
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise ConnectionResetError("the peer closed before everything was sent")
