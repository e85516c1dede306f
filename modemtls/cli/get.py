"""``modemtls get``: one HTTP(S) GET through the modem, with the standard library's HTTP client."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modemtls.cli.files import naming, writing
from modemtls.cli.output import Progress, human, printable, status
from modemtls.cli.session import connected, opened, refuse_beside, secured, tls_from

if TYPE_CHECKING:
    import http.client
    import socket
    from collections.abc import Callable, Iterator

    from modemtls.cli.settings import Settings

__all__ = ["GetError", "Target", "fetch", "run", "target"]

PIECE = 16384


class GetError(OSError):
    """The page could not be had; the text says why in one line."""


@dataclass(frozen=True, slots=True)
class Target:
    """A taken-apart address. ``path`` with its query, ready for the request line."""

    secure: bool
    host: str
    port: int
    path: str


def target(url: str) -> Target:
    """Take an http:// or https:// address apart; raises ``ValueError`` with one line."""
    import urllib.parse

    from modemtls.errors import ConfigurationError
    from modemtls.net.address import check_host

    if any(ord(c) <= 32 or ord(c) == 127 for c in url):
        raise ValueError("the address holds a blank or a control character; write it as %20 and the like")
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in {"http", "https"}:
        raise ValueError(f"{url!r} begins neither with http:// nor with https://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("no user name or password in the address: it would be seen by everybody on this machine")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError(f"{parts.netloc.rpartition(':')[2]!r} is not a port (1 to 65535)")
    if not parts.hostname:
        raise ValueError(f"{url!r} names no host")
    try:
        check_host(parts.hostname)
    except ConfigurationError as error:
        raise ValueError(error.message) from None
    secure = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    path = urllib.parse.quote(path, safe="%/?:@!$&'()*+,;=~-._")
    host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode()
    return Target(secure, host, port or (443 if secure else 80), path)


def run(settings: Settings) -> int:
    """``modemtls get URL``."""
    try:
        where = target(settings.required("url"))
    except ValueError as error:
        settings.refuse(str(error))
    _ = settings.port
    if not where.secure:
        refuse_beside(settings, "{} has no place in an http:// address")
    from modemtls.cli.keeping import kept_session

    with kept_session(settings.text("session_file") if where.secure else None) as session:
        tls = tls_from(settings, session) if where.secure else None
        with _sink(settings.text("output")) as write, opened(settings) as modem:
            sock = connected(settings, modem, where.host, where.port, tls)
            try:
                how = secured(sock.connection, kept=session is not None)
                done, complete = fetch(sock, where, write)
                complete = complete or sock.end_authenticated is True
            finally:
                sock.close()
    # Only now is everything written, and the file under its name.
    if not complete:
        status("the server did not say how long the page is, nor is it known how it ended: part may be missing")
    output = settings.text("output")
    if output is not None or where.secure:
        status(f"{human(done)}{'' if output is None else f' in {output}'}, {how}")
    return 0


def fetch(sock: socket.socket, where: Target, write: Callable[[bytes], object]) -> tuple[int, bool]:
    """Send the request and pass the body to ``write``; return its length and whether that was announced.

    Raises :class:`GetError` for a status that is no success, a body shorter than announced, and what is no HTTP.
    """
    import http.client

    usual = where.port == (443 if where.secure else 80)
    client = http.client.HTTPConnection(where.host, where.port)
    client.sock = sock
    # HTTP/1.1 wants a Host header without the port if that is the scheme's own (RFC 9110, 7.2).
    host = f"[{where.host}]" if ":" in where.host else where.host
    client.putrequest("GET", where.path, skip_host=True, skip_accept_encoding=True)
    client.putheader("Host", host if usual else f"{host}:{where.port}")
    client.putheader("User-Agent", "modemtls")
    client.putheader("Accept", "*/*")
    client.putheader("Connection", "close")
    client.endheaders()
    try:
        with client.getresponse() as answer:
            _judge(answer)
            return _body(answer, write)
    except http.client.IncompleteRead as error:
        raise GetError(f"the connection ended {error.expected or 'some'} bytes before the end of the page") from None
    except http.client.HTTPException as error:
        what = printable(str(error)) or "it closed the connection without an answer"
        raise GetError(f"{where.host} port {where.port} does not answer in HTTP: {what}") from None


def _judge(answer: http.client.HTTPResponse) -> None:
    if 200 <= answer.status < 300:
        return
    reason = printable(f"{answer.status} {answer.reason}").strip()
    if 300 <= answer.status < 400 and (to := answer.getheader("Location")):
        raise GetError(f"the server answered {reason}: the page is at {printable(to)} (not followed; ask for it there)")
    raise GetError(f"the server answered {reason}")


def _length(answer: http.client.HTTPResponse) -> int | None:
    """Return how many bytes were announced, None if no number was; the library takes garbage for no number."""
    import http

    from modemtls.errors import quoted

    codings = answer.headers.get_all("Transfer-Encoding")
    if codings is not None and not answer.chunked:
        raise GetError(f"the page comes in a transfer coding that is not known: {quoted(', '.join(codings))}")
    told = answer.headers.get_all("Content-Length")
    if codings is not None or told is None or answer.status == http.HTTPStatus.NO_CONTENT:
        return answer.length
    # The same number twice is one (RFC 9110, 8.6).
    numbers = {one.strip() for line in told for one in line.split(",")}
    if len(numbers) > 1 or not re.fullmatch("[0-9]{1,18}", number := numbers.pop()):
        raise GetError(f"the server announces an impossible length of the page: {quoted(', '.join(told))}")
    return int(number)


def _body(answer: http.client.HTTPResponse, write: Callable[[bytes], object]) -> tuple[int, bool]:
    total = _length(answer)
    done = 0
    bar = Progress(total)
    try:
        # read1(): what is there, at most a piece, so that the bar moves on a slow line.
        while data := answer.read1(PIECE if total is None else min(PIECE, total - done)):
            write(data)
            done += len(data)
            bar(done)
    finally:
        bar.close()
    if total is not None and done < total:
        raise GetError(f"the connection ended after {done} of the {total} bytes announced")
    return done, total is not None or answer.chunked


@contextlib.contextmanager
def _sink(name: str | None) -> Iterator[Callable[[bytes], object]]:
    """Where the body goes. A file gets its name when it is complete; nothing is left of an unfinished one."""
    if name is None or name == "-":
        yield sys.stdout.buffer.write
        sys.stdout.buffer.flush()
        return
    path = Path(os.path.realpath(name))  # a symbolic link stays one
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        with writing(path, name) as out:  # a device, a pipe
            yield out.write
        return
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(13, "Permission denied", name)
    kept = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
    folder = path.parent
    try:
        number, temporary = tempfile.mkstemp(dir=folder, prefix=f".{path.name}.")
    except OSError as error:
        raise type(error)(error.errno, error.strerror, name) from None
    try:
        with writing(number, name) as out:
            yield out.write
        with naming(name):
            mask = os.umask(0)
            os.umask(mask)
            Path(temporary).chmod(0o666 & ~mask if kept is None else kept)
            Path(temporary).replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
