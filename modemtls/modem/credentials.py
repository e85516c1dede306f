"""The driver's certificates and keys in the modem: named by content, uploaded once, removed when space runs out."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from modemtls.at.grammar import Outcome
from modemtls.errors import CommandError, CredentialError, ModemTimeoutError, NotSupportedError
from modemtls.modem.garbled import near
from modemtls.modem.interfaces import Turn
from modemtls.modem.pem import normalise, noun

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterator, Mapping

    from modemtls.modem.interfaces import Host

__all__ = ["PREFIX", "CredentialKind", "CredentialStore", "Holding", "StoredCredential", "check_sizes", "content_name"]

logger = logging.getLogger(__name__)

CredentialKind: TypeAlias = Literal["ca", "cert", "key"]

PREFIX = "mtls-"
"""Every file of the driver's starts so; nothing else is ever overwritten or removed."""

_DIGITS = 20  # 80 bits of the SHA-256: nobody but the driver writes these names, so chance is all there is to fear
_CUT = 12  # digits; what begins as ours and has so many is nobody else's: digits were lost on the line
_OWN = re.compile(rf"{PREFIX}[0-9a-f]{{{_CUT},{_DIGITS}}}\Z")


def content_name(pem: bytes) -> str:
    """Give the name under which ``pem`` is kept: the same text always has the same name."""
    return PREFIX + hashlib.sha256(pem).hexdigest()[:_DIGITS]


def check_sizes(
    pems: Mapping[CredentialKind, bytes], sources: Mapping[CredentialKind, str], limits: Mapping[str, object]
) -> None:
    """Refuse certificates and a key of one connection that the modem could not hold even with nothing else in it.

    ``pems`` in the form of :func:`~modemtls.modem.pem.normalise`; ``sources``: the files that they came from;
    ``limits``: the profile's. Raises :class:`CredentialError`.
    """
    files = set(pems.values())
    total = sum(map(len, files))
    why = ""
    for kind, pem in pems.items():
        most = limits.get("credential_size")
        if isinstance(most, int) and len(pem) > most:
            why = f"{noun(kind, sources.get(kind, ''))}: {len(pem)} bytes, and this modem takes {most}"
            break
    else:
        most, count = limits.get("credential_bytes"), limits.get("credentials")
        if isinstance(most, int) and total > most:
            why = f"credentials: {total} bytes of certificates and keys, and this modem takes {most} together"
        elif isinstance(count, int) and len(files) > count:
            why = f"credentials: {len(files)} certificates and keys, and this modem has room for {count}"
    if why:
        raise CredentialError(why, number=errno.ENOSPC)


@dataclass(frozen=True, slots=True)
class StoredCredential:
    """A file of the driver's in the modem. ``size`` in bytes; ``in_use``: by a socket of this process."""

    name: str
    size: int
    in_use: bool


class Holding:
    """Credentials that must stay while a connection is being prepared; from :meth:`CredentialStore.hold`."""

    __slots__ = ("_names", "_store")

    def __init__(self, store: CredentialStore) -> None:
        self._store = store
        self._names: list[str] = []

    def ensure(self, kind: CredentialKind, data: bytes, *, deadline: float | None = None) -> str:
        """Do as :meth:`CredentialStore.ensure`, and keep the file until the holding ends."""
        return self._store._ensure(kind, data, deadline, self._names)  # noqa: SLF001 - one class in two parts

    @property
    def names(self) -> tuple[str, ...]:
        """What has been ensured, or is being."""
        return tuple(self._names)


class CredentialStore:
    """What the driver has put into the modem.

    Presence is told by name and size, as these modems list no checksum; the checksum is verified at upload, then the
    file is looked for, as its name may have been garbled on the line; and a file whose upload was refused, cut or
    interrupted is removed and never used. ``limits``: those of the profile; of
    them ``credential_size`` is for one file, ``credential_bytes`` and ``credentials`` (a number) are for all that the
    modem has, whoever they belong to.
    """

    def __init__(
        self,
        host: Host,
        *,
        ready: Callable[[float | None], None],
        names_in_use: Callable[[], frozenset[str]],
        limits: Mapping[str, object],
    ) -> None:
        self._host = host
        self._ready = ready
        self._names_in_use = names_in_use
        self._turn = Turn("credentials")
        self._listed: tuple[int, int] | None = None  # epoch and doubts when the modem was last asked
        self._files: dict[str, int] = {}  # the driver's own, least recently used first
        self._foreign: dict[str, int] = {}
        self._doubtful: set[str] = set()
        self._holdings: set[Holding] = set()
        self._limits = limits

    def ensure(self, kind: CredentialKind, data: bytes, *, deadline: float | None = None) -> str:
        """Make sure that ``data`` (PEM) is in the modem and give its name there.

        Nothing is sent when it is known to be there in this epoch, and nothing has happened since that may have hidden
        a restart. Raises :class:`CredentialError` for what is no PEM of that kind, an encrypted key, what is larger
        than the modem takes, and for want of space.
        """
        return self._ensure(kind, data, deadline, None)

    @contextlib.contextmanager
    def hold(self) -> Iterator[Holding]:
        """Keep every credential ensured within the ``with`` block from being evicted by another thread.

        Take the context lease inside the block: from then on the lease keeps them.
        """
        holding = Holding(self)
        try:
            self._holdings.add(holding)
            yield holding
        finally:
            self._holdings.discard(holding)

    def look_again(self) -> None:
        """Have the modem list its files before the next is relied on: another program may have removed some."""
        self._listed = None

    def list(self, *, deadline: float | None = None) -> builtins.list[StoredCredential]:
        """List the driver's own files in the modem; foreign ones are not listed."""
        self._require()
        with self._turn.take(self._host.now, deadline):
            self._ready(deadline)
            self._refresh(deadline)
            used = self._in_use()
            return [StoredCredential(name, size, name in used) for name, size in sorted(self._files.items())]

    def remove(self, name: str, *, deadline: float | None = None) -> bool:
        """Remove one of the driver's files; False if it was not there.

        Raises :class:`CredentialError` for a name that is not the driver's, and for one in use.
        """
        if _OWN.match(name) is None:
            raise CredentialError(f"credentials: {name!r} is not a name that the driver gives; it is left alone")
        self._require()
        with self._turn.take(self._host.now, deadline):
            if name in self._in_use():
                raise CredentialError(f"credentials: {name} is in use by an open connection", number=errno.EBUSY)
            self._ready(deadline)
            return self._delete(name, deadline)

    def purge(self, *, deadline: float | None = None) -> builtins.list[str]:
        """Remove all of the driver's files that are not in use, and give their names."""
        self._require()
        with self._turn.take(self._host.now, deadline):
            self._ready(deadline)
            self._refresh(deadline)
            used = self._in_use()
            return [name for name in sorted(self._files) if name not in used and self._delete(name, deadline)]

    def _require(self) -> None:
        if not self._host.has("credential_write"):
            raise NotSupportedError("this modem stores no certificates or keys", capability="credentials")

    def _in_use(self) -> frozenset[str]:
        return self._names_in_use().union(*(holding.names for holding in tuple(self._holdings)))

    def _ensure(
        self, kind: CredentialKind, data: bytes, deadline: float | None, keep: builtins.list[str] | None
    ) -> str:
        pem = normalise(kind, data)
        name = content_name(pem)
        self._require()
        check_sizes({kind: pem}, {}, self._limits)
        with self._turn.take(self._host.now, deadline):
            self._ready(deadline)
            if self._listed != (self._host.epoch, self._host.doubts):
                self._refresh(deadline)
            if keep is not None:
                keep.append(name)
            if name in self._files and (name in self._doubtful or self._files[name] != len(pem)):
                logger.info("credentials: %s in the modem is incomplete or doubtful and is replaced", name)
                self._delete(name, deadline)
            if name not in self._files:
                self._upload(kind, name, pem, deadline)
            self._files[name] = self._files.pop(name)  # most recently used
        return name

    def _refresh(self, deadline: float | None) -> None:
        now = (self._host.epoch, self._host.doubts)
        try:
            rows = self._host.run("credential_list", deadline=deadline).rows
        except CommandError as error:
            raise CredentialError(f"credentials: the modem does not list its files: {error}") from error
        # Of a list without sizes only what this process stored is known to be whole.
        found = {name: int(row.get("size", self._files.get(name, 0))) for row in rows if (name := str(row["name"]))}
        listed = {name: size for name, size in found.items() if _OWN.match(name)}
        self._foreign = {name: size for name, size in found.items() if name not in listed}
        known = {name: listed[name] for name in self._files if name in listed}
        # What this process has not used counts as older than what it has.
        self._files = {name: size for name, size in listed.items() if name not in known} | known
        self._listed = now

    def _upload(self, kind: CredentialKind, name: str, pem: bytes, deadline: float | None) -> None:
        self._make_room(len(pem), deadline)
        again = True
        while True:
            self._files[name] = 0  # whatever is there until the upload is known to be complete, is not it
            self._doubtful.add(name)
            try:
                self._host.run(
                    "credential_write", {"name": name, "data": pem, "size": len(pem), "kind": kind}, deadline=deadline
                )
            except CommandError as error:
                self._delete(name, deadline)
                if error.kind == "no_space":
                    if self._evict(deadline):
                        continue
                    raise CredentialError(
                        f"credentials: no space in the modem for a {kind} of {len(pem)} bytes, and none of the "
                        f"driver's own files can be removed ({error})",
                        number=errno.ENOSPC,
                    ) from error
                with contextlib.suppress(CredentialError):  # the first error says more
                    self._refresh(deadline)
                    self._clear_up(name, deadline)
                why = "what arrived in it is not what was sent" if error.kind == "mismatch" else ""
                if not again:
                    told = f"{why} ({error})" if why else str(error)
                    raise CredentialError(f"credentials: the modem did not store the {kind}: {told}") from error
                again = False
                logger.info("credentials: upload of %s failed (%s); once more", name, error)
            except ModemTimeoutError as error:
                if deadline is not None and self._host.now() >= deadline:
                    raise ModemTimeoutError(f"credentials: {error}") from error
                if not self._arrived(name, len(pem), deadline):
                    raise ModemTimeoutError(f"credentials: the modem did not store the {kind}: {error}") from error
                logger.warning("credentials: %s is there in full, but the modem did not confirm its checksum", name)
                break
            else:
                if self._arrived(name, len(pem), deadline):
                    break
                if not again:
                    raise CredentialError(
                        f"credentials: the modem did not store the {kind}: it took {len(pem)} bytes and then listed no "
                        f"{name} of that size (the name was garbled on the line, or somebody has removed the file)"
                    )
                again = False
                logger.warning("credentials: %s is not there after its upload; once more", name)
        self._files[name] = len(pem)
        self._doubtful.discard(name)
        logger.info("credentials: stored a %s of %d bytes as %s", kind, len(pem), name)

    def _arrived(self, name: str, size: int, deadline: float | None) -> bool:
        """Whether the modem lists what was just uploaded; what it left under a garbled name is removed."""
        self._files[name] = size  # stays so in a list without sizes
        self._refresh(deadline)
        self._clear_up(name, deadline)
        return self._files.get(name) == size

    def _clear_up(self, name: str, deadline: float | None) -> None:
        """Remove what has almost the name of a file that was uploaded: a garbled command made it, perhaps of a key."""
        for other in [*self._files, *self._foreign]:
            if other != name and near(other, name) and other not in self._in_use():
                logger.warning("credentials: removing %r, which was to be %s", other, name)
                self._delete(other, deadline)

    def _make_room(self, size: int, deadline: float | None) -> None:
        fresh = False
        while why := self._too_full(size):
            if self._evict(deadline):
                continue
            if fresh:
                raise CredentialError(
                    f"credentials: no space in the modem: {why}, and none of the driver's own files can be removed",
                    number=errno.ENOSPC,
                )
            self._refresh(deadline)  # others may have removed some of theirs
            fresh = True
        if not self._host.has("credential_space"):
            return
        while True:
            try:
                free = self._host.run("credential_space", deadline=deadline).values.get("free")
            except CommandError as error:
                logger.info("credentials: free space is not known (%s)", error)
                return
            if free is None or int(free) >= size or not self._evict(deadline):
                return  # the modem has the last word

    def _too_full(self, size: int) -> str:
        """Say which of the profile's limits one more file of ``size`` bytes would exceed; empty if none."""
        there = [*self._files.values(), *self._foreign.values()]
        count, most = self._limits.get("credentials"), self._limits.get("credential_bytes")
        if isinstance(count, int) and len(there) >= count:
            return f"it has {len(there)} certificates and keys, and takes {count}"
        if isinstance(most, int) and sum(there) + size > most:
            return f"it has {sum(there)} bytes of certificates and keys, and takes {most}, not {size} more"
        return ""

    def _evict(self, deadline: float | None) -> bool:
        used = self._in_use()
        for name in self._files:
            if name not in used:
                logger.info("credentials: removing %s to make room", name)
                self._delete(name, deadline)
                return True
        return False

    def _delete(self, name: str, deadline: float | None) -> bool:
        try:
            outcome = self._host.run("credential_delete", {"name": name}, deadline=deadline).outcome
        except CommandError as error:
            raise CredentialError(f"credentials: {name} could not be removed: {error}") from error
        self._files.pop(name, None)
        self._foreign.pop(name, None)
        self._doubtful.discard(name)
        return outcome is not Outcome.ABSENT
