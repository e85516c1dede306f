"""Which PINs have been sent and not been accepted: kept on disk, so that no process risks one a second time.

A SIM is blocked after three wrong PINs, and each run of a program is one try. So what is about to be sent is written
down first, durably, and struck out when the SIM is seen to be unlocked by it. What cannot be written down is not sent.

The files are ``pin-….json`` in :func:`state_folder`, one for each SIM; deleting one makes the driver forget. Of a PIN
they hold a salted scrypt hash (RFC 7914). That keeps it from casual eyes and is no more than that: a PIN has few
digits, and whoever may read the file can try them all.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import hmac
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias
from urllib.parse import quote

from modemtls.errors import PinError
from modemtls.modem.garbled import near

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from modemtls.at.exchange import Reply

__all__ = ["PinMemory", "Risk", "SimIdentity", "state_folder"]

logger = logging.getLogger(__name__)

Fate: TypeAlias = Literal["unknown", "refused"]

# scrypt's cost, block size and parallelism: what its author gives for interactive use. 16 MB, some 50 ms on a PC.
_COST: Final = (1 << 14, 8, 1)
_MAXMEM: Final = 1 << 26  # bytes that scrypt may use: OpenSSL's own limit leaves no room for another cost in a file

_LONGEST: Final = 40  # characters of a number that are looked at; an ICCID has 20 digits

_WAY_OUT: Final = "a SIM is blocked after three wrong PINs. Give the right one; if it was right after all, delete"


def state_folder() -> Path:
    """Where the files are: ``modemtls`` in ``$XDG_STATE_HOME``, which is ``~/.local/state`` unless it is absolute."""
    given = os.environ.get("XDG_STATE_HOME", "")  # XDG Base Directory Specification 0.8: a relative path is ignored
    base = Path(given) if given.startswith("/") else Path(os.path.expanduser("~")) / ".local" / "state"  # noqa: PTH111
    return base / "modemtls"


def _luhn(number: str) -> bool:
    """Whether the last digit is the check digit of those before it (ISO/IEC 7812-1, annex B)."""
    doubled = (int(digit) * 2 for digit in number[-2::-2])
    return (sum(map(int, number[-1::-2])) + sum(digit - 9 if digit > 9 else digit for digit in doubled)) % 10 == 0


def _well_formed(name: str, value: str) -> bool:
    if not (value.isascii() and value.isdigit()):
        return False
    if name == "imei":  # 3GPP TS 23.003, 6.2.1 and annex B
        return len(value) == 15 and _luhn(value)
    # ITU-T E.118, 4: 89, up to 19 digits with the check digit; 3GPP TS 31.102, 4.2.1 (EF ICCID) has room for 20.
    return value.startswith("89") and len(value) in {19, 20} and (_luhn(value) or _luhn(value[:19]))


def _alike(one: str, other: str) -> bool:
    """Whether two well-formed numbers that were read twice may be one all the same: a digit changed, or some lost."""
    if len(one) == len(other):
        return sum(a != b for a, b in zip(one, other, strict=True)) <= 1
    short, long = sorted((one, other), key=len)
    rest = iter(long)
    return all(digit in rest for digit in short)


@dataclass(frozen=True, slots=True)
class SimIdentity:
    """What is known of a SIM: its own number, that of the modem it is in, the port this is at; ``""`` for unknown.

    ``sure`` names which of the first two are certain: read twice alike, and with the check digit that they must have.
    """

    iccid: str = ""
    imei: str = ""
    port: str = ""
    sure: frozenset[str] = frozenset()

    @classmethod
    def read(cls, readings: Sequence[Mapping[str, object]], port: str) -> SimIdentity:
        """Put together what a modem told each time when it was asked for ``iccid`` and ``imei``."""
        found: dict[str, str] = {}
        sure = set()
        for name in ("iccid", "imei"):
            # A number of 19 digits is stored with a filler, which some modems show (3GPP TS 31.102, 4.2.1).
            told = [str(one.get(name) or "")[:_LONGEST].rstrip("Ff") for one in readings]
            value = max(told, key=lambda text: (told.count(text), text), default="")
            found[name] = value
            if told.count(value) > 1 and _well_formed(name, value):
                sure.add(name)
        return cls(found["iccid"], found["imei"], port, frozenset(sure))

    def may_be(self, other: SimIdentity) -> bool:
        """Tell whether both may be one SIM: what is not certain to be another one may be this one.

        Certain is what its own number says; where one of the two is not certain, what the modem's number says, if
        both of those are. Else anything that they have in common, but for what a bad line may have done to it, counts.
        """
        if "iccid" in self.sure and "iccid" in other.sure:
            return _alike(self.iccid, other.iccid)
        if self.iccid and self.iccid == other.iccid:
            return True
        if "imei" in self.sure and "imei" in other.sure:
            return _alike(self.imei, other.imei)
        return self.port == other.port or near(self.iccid, other.iccid) or near(self.imei, other.imei)

    @property
    def file(self) -> str:
        """The name of the file for this SIM."""
        known = (("iccid", self.iccid), ("imei", self.imei), ("port", self.port))
        kind, value = next(((kind, value) for kind, value in known if value), ("sim", "unknown"))
        name = quote(value, safe="")
        if len(name) > 100:  # a port can be any path, a file's name cannot be of any length
            name = hashlib.sha256(name.encode()).hexdigest()
        return f"pin-{kind}-{name}.json"


@dataclass(frozen=True, slots=True)
class _Sent:
    """One PIN that was sent, or was about to be."""

    sim: SimIdentity
    salt: bytes
    digest: bytes
    cost: tuple[int, int, int]
    fate: Fate = "unknown"

    @classmethod
    def new(cls, sim: SimIdentity, pin: str) -> _Sent:
        salt = os.urandom(16)
        return cls(sim, salt, _scrypt(pin, salt, _COST), _COST)

    def is_of(self, pin: str) -> bool:
        return hmac.compare_digest(_scrypt(pin, self.salt, self.cost), self.digest)

    def plain(self) -> dict[str, object]:
        known = {name: value for name in ("iccid", "imei", "port") if (value := getattr(self.sim, name))}
        return {
            **known,
            "sure": sorted(self.sim.sure),
            "fate": self.fate,
            "salt": self.salt.hex(),
            "scrypt": self.digest.hex(),
            "cost": self.cost,
        }

    @classmethod
    def of_plain(cls, entry: dict[str, object]) -> _Sent:
        """Read what :meth:`plain` gave; raises KeyError, TypeError or ValueError for anything else."""
        iccid, imei, port = (str(entry.get(name, "")) for name in ("iccid", "imei", "port"))
        sim = SimIdentity(iccid, imei, port, frozenset(map(str, entry.get("sure", ()))))  # type: ignore[call-overload]
        n, r, p = (int(number) for number in entry["cost"])  # type: ignore[attr-defined]
        if not (n > 1 and r > 0 and 0 < p < 100 and 128 * n * r < _MAXMEM and n & (n - 1) == 0):
            raise ValueError("cost")
        salt, digest = bytes.fromhex(str(entry["salt"])), bytes.fromhex(str(entry["scrypt"]))
        return cls(sim, salt, digest, (n, r, p), "refused" if entry["fate"] == "refused" else "unknown")


def _scrypt(pin: str, salt: bytes, cost: tuple[int, int, int]) -> bytes:
    n, r, p = cost
    return hashlib.scrypt(pin.encode(), salt=salt, n=n, r=r, p=p, maxmem=_MAXMEM, dklen=32)


class Risk:
    """A PIN that is written down as sent with its fate unknown, until one of these is called. From any thread."""

    def __init__(self, memory: PinMemory, path: Path, sent: _Sent) -> None:
        self._memory = memory
        self._path = path
        self._sent = sent
        self.answered = False
        """Whether the modem said OK: it took the command, which is no proof that the SIM took the PIN."""

    @property
    def way_out(self) -> str:
        """How to go on after it was refused, for the error's text."""
        return f"{_WAY_OUT} {self._path}"

    def accepted(self) -> None:
        """Strike it out: the SIM is unlocked, which also resets its counter of failures."""
        self._memory._change(self._path, self._sent, None)  # noqa: SLF001 - two halves of one thing

    not_sent = accepted

    def refused(self) -> None:
        """Note that the SIM refused it for certain."""
        self._memory._change(self._path, self._sent, "refused")  # noqa: SLF001

    def settle(self, late: Reply | BaseException) -> None:
        """Take what came of it after its sender had stopped waiting (``on_orphan`` of an exchange)."""
        if not isinstance(late, BaseException) and late.ok:
            self.answered = True


class PinMemory:
    """The files in ``folder`` (None: :func:`state_folder`, looked up each time)."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self._folder or state_folder()

    def risk(self, sim: SimIdentity, pin: str) -> Risk:
        """Write down that ``pin`` is sent to ``sim``; it is on the disk when this returns.

        Raises :class:`PinError` when it must not be sent: it was before, and not accepted; or that cannot be told or
        written down.
        """
        folder = self.folder
        path = folder / sim.file
        try:
            _make(folder)
            with _locked(folder):
                for known in sorted(folder.glob("pin-*.json")):
                    for sent in _read(known):
                        if sent.sim.may_be(sim) and sent.is_of(pin):
                            raise _not_again(sent, known)
                sent = _Sent.new(sim, pin)
                _write(path, [*_read(path), sent])
        except PinError:
            raise
        except OSError as error:
            raise PinError(
                f"SIM: the PIN is not sent, for that could not be noted in {path} ({error.strerror or error}), and a "
                f"wrong PIN might be sent again by the next run; make {folder} a writable directory, or set "
                "$XDG_STATE_HOME to one that lasts"
            ) from error
        return Risk(self, path, sent)

    def _change(self, path: Path, sent: _Sent, fate: Fate | None) -> None:
        """Give an entry its fate, or take it out (None). What cannot be written stays as it is: the safe side."""
        try:
            with _locked(path.parent):
                known = _read(path)
                entries = [one for one in known if one.salt != sent.salt]
                if len(entries) == len(known):
                    return  # it was deleted meanwhile, and is not to come back
                if fate is not None:
                    entries.append(_Sent(sent.sim, sent.salt, sent.digest, sent.cost, fate))
                _write(path, entries)
        except (OSError, PinError) as error:
            logger.warning("SIM: %s still says that the fate of the PIN is unknown (%s)", path, error)


def _not_again(sent: _Sent, path: Path) -> PinError:
    before = (
        "this PIN was refused before"
        if sent.fate == "refused"
        else "this PIN was sent before, and its fate is unknown: no answer came, or none that says so"
    )
    return PinError(f"SIM: {before}. It is not sent again: {_WAY_OUT} {path}")


def _make(folder: Path) -> None:
    """Have the folder, for its owner alone, and for certain: what is made is synced into what it is made in."""
    missing = []
    there = folder
    while not there.exists():
        missing.append(there)
        there = there.parent
    for one in reversed(missing):
        with contextlib.suppress(FileExistsError):
            one.mkdir(0o700)
        _sync(one.parent)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other threads and processes out: a modem with two ports can be used by two."""
    import fcntl

    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)


def _read(path: Path) -> list[_Sent]:
    """Give the entries of a file, none if it does not exist; :class:`PinError` if it holds anything else."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    try:
        return [_Sent.of_plain(entry) for entry in json.loads(data)["sent"]]
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise PinError(
            f"SIM: the PIN is not sent: {path}, which tells the PINs that were refused, cannot be understood; "
            "delete it if the PIN is certain to be right"
        ) from error


def _write(path: Path, entries: list[_Sent]) -> None:
    """Replace a file as a whole, on the disk when this returns; one without entries is removed. Under the lock."""
    if not entries:
        path.unlink()
        _sync(path.parent)
        return
    text = json.dumps(
        {
            "about": "PINs that modemtls has sent to this SIM, and that were not accepted as far as is known. "
            "They are not sent again unless this file is deleted.",
            "sent": [entry.plain() for entry in entries],
        },
        indent=1,
    )
    new = path.with_suffix(".new")
    with contextlib.suppress(FileNotFoundError):
        new.unlink()  # of a run that was cut short
    number = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(number, "wb") as file:
            os.fchmod(number, 0o600)
            file.write(text.encode() + b"\n")
            file.flush()
            os.fsync(number)
        new.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    _sync(path.parent)


def _sync(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno != errno.EINVAL:  # fsync(2): a file system that has no such thing for directories
            raise
    finally:
        os.close(number)
