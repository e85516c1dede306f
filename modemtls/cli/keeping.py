"""The file of ``--session-file``: a resumption buffer that outlives the program. As secret as a private key."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from modemtls.cli.files import naming
from modemtls.cli.output import status
from modemtls.cli.settings import expanded
from modemtls.net.contract import resumption
from modemtls.net.contract.resumption import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SIZE", "kept_session"]

#: Bytes of the buffer. A session of TLS 1.2 holds the peer's certificates; chains of more than this are rare.
SIZE = 1 << 15
_LINKS = 40  # one behind the other: as Linux, MAXSYMLINKS


@contextlib.contextmanager
def kept_session(name: str | None) -> Iterator[bytearray | None]:
    """Give the buffer that the file ``name`` keeps, and put back what is in it at the end; None without a name.

    The file is locked until then, made if it is not there, and replaced at once with mode 0600. A session that is
    damaged counts as none, and stays until there is one; so does what others could have put there. A file that holds
    something else is none to be replaced, nor is one behind somebody else's link. Raises :class:`OSError`.
    """
    if name is None:
        yield None
        return
    with naming(name):
        path = _followed(expanded(name), name)
        if not os.access(path.parent, os.W_OK):  # found now, not when there is a session to write
            raise OSError(errno.EACCES if path.parent.is_dir() else errno.ENOENT, "")
    number, made = _locked(path, name)
    try:
        with naming(name):
            before = _content(number, name)
        buffer = bytearray(SIZE)
        buffer[: len(before)] = before
        taken = resumption.kind_of(buffer) is Kind.CONNECTION
        if taken:
            # To be taken up once: were the program killed while it lives, its record numbers would be used again.
            with naming(name):
                os.ftruncate(number, 0)
                os.fsync(number)
        try:
            yield buffer
        except BaseException:
            with contextlib.suppress(OSError):  # what happened first is what is told
                _put_back(path, number, b"" if taken else before, buffer, made=made)
            raise
        with naming(name):
            _put_back(path, number, b"" if taken else before, buffer, made=made)
    finally:
        os.close(number)


def _followed(name: Path, shown: str) -> Path:
    """Return where a name leads, by links of this user and of the system only: others could make it any file.

    The kernel's ``protected_symlinks`` sees to that in folders like /tmp, where it is on.
    """
    at = Path(name.anchor) if name.is_absolute() else Path.cwd()
    parts = [part for part in reversed(name.parts) if part != name.anchor]
    links = 0
    while parts:
        part = parts.pop()
        here = at.parent if part == ".." else at / part
        if not here.is_symlink():
            at = here
            continue
        links += 1
        if links > _LINKS:
            raise OSError(errno.ELOOP, "")
        if here.lstat().st_uid not in {os.geteuid(), 0}:
            raise OSError(f"{shown}: {here} is a link that belongs to somebody else, and is not followed")
        target = here.readlink()
        at = Path(target.anchor) if target.is_absolute() else at
        parts += [part for part in reversed(target.parts) if part != target.anchor]
    return at


def _locked(path: Path, name: str) -> tuple[int, bool]:
    """Open the file and lock it; whether it was made. What replaced it in between is what has to be locked."""
    while True:
        number, made = _opened(path, name)
        try:
            if _lock(number, path, name):
                return number, made
        except BaseException:
            os.close(number)
            raise
        os.close(number)


def _opened(path: Path, name: str) -> tuple[int, bool]:
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe is no file, and not to be waited for
    with naming(name):
        try:
            return os.open(path, flags), False
        except FileNotFoundError:
            return os.open(path, flags | os.O_CREAT, 0o600), True


def _lock(number: int, path: Path, name: str) -> bool:
    if not stat.S_ISREG(os.fstat(number).st_mode):
        raise OSError(f"{name}: this is no file that a session can be kept in")
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OSError(f"{name}: another run keeps its session there; give each a file of its own") from None
    try:
        return os.path.samestat(path.stat(), os.fstat(number))
    except FileNotFoundError:
        return False


def _content(number: int, name: str) -> bytes:
    """Return the record that is in the file; nothing if it is damaged, or not to be relied on."""
    about = os.fstat(number)
    if not about.st_size:
        return b""
    data = os.pread(number, SIZE + 1, 0)
    if not resumption.is_marked(data):
        raise OSError(f"{name}: this holds something else than a session, and is left as it is; name another file")
    # Nothing is verified again when a session is resumed: who writes it decides who the peer is.
    if about.st_uid not in {os.geteuid(), 0} or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        status(f"{name}: others may write to this file, so the session in it is not used")
        return b""
    if about.st_uid == os.geteuid():
        os.fchmod(number, 0o600)
    if len(data) > SIZE or resumption.kind_of(data.ljust(SIZE, b"\0")) is None:
        return b""
    return data


def _put_back(path: Path, number: int, before: bytes, buffer: bytearray, *, made: bool) -> None:
    """Write the buffer's content, without the zeros behind it, if it is another one than ``before``."""
    data = bytes(buffer).rstrip(b"\0")
    if data and data != before.rstrip(b"\0"):
        _replace(path, data)
    elif not data and made:
        path.unlink(missing_ok=True)
    elif not data and before:
        os.ftruncate(number, 0)


def _replace(path: Path, data: bytes) -> None:
    number, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(number, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(number)
        Path(temporary).replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
