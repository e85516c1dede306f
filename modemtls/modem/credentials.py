"""The driver's certificates and keys in the modem: named by content, uploaded once, removed when space runs out.

Where the modem keeps bundles under numbers, see :mod:`modemtls.modem.bundles`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from modemtls.at.grammar import Outcome
from modemtls.errors import CommandError, CredentialError, ModemTimeoutError, NotSupportedError
from modemtls.modem.garbled import near
from modemtls.modem.interfaces import Turn
from modemtls.modem.pem import normalise, noun
from modemtls.profile.codecs import CODECS

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from modemtls.modem.interfaces import Host

__all__ = [
    "PREFIX",
    "CredentialKind",
    "CredentialStore",
    "Holding",
    "StoredCredential",
    "Thing",
    "check_sizes",
    "content_name",
    "digests_of",
]

logger = logging.getLogger(__name__)

CredentialKind: TypeAlias = Literal["ca", "cert", "key", "psk", "psk_identity", "peer"]
"""``psk`` and ``psk_identity`` are bytes of any content and belong together; the others are PEM. ``peer``: the
certificate that the server must show."""

PREFIX = "mtls-"
"""Every file of the driver's starts so; nothing else is ever overwritten or removed."""

_DIGITS = 20  # 80 bits of the SHA-256: nobody but the driver writes these names, so chance is all there is to fear
_CUT = 12  # digits; what begins as ours and has so many is nobody else's: digits were lost on the line
_OWN = re.compile(rf"{PREFIX}[0-9a-f]{{{_CUT},{_DIGITS}}}\Z")
_RAW: Final = frozenset({"psk", "psk_identity"})


def content_name(content: bytes) -> str:
    """Give the name under which ``content`` is kept: the same text always has the same name."""
    return PREFIX + hashlib.sha256(content).hexdigest()[:_DIGITS]


def digests_of(kind: CredentialKind, form: bytes, how: object) -> frozenset[str]:
    """Give what a modem may tell as the digest of ``form``, the bytes as they were written; small letters.

    A pre-shared key may have been written as bytes or as digits, and its digest be that of either.
    """
    if how == "md5-der":
        return frozenset({str(CODECS["md5der"].convert(form))})
    forms = [form, form.hex().encode(), form.hex().upper().encode()] if kind == "psk" else [form]
    return frozenset(hashlib.sha256(one).hexdigest() for one in forms)


def check_sizes(
    forms: Mapping[CredentialKind, bytes], sources: Mapping[CredentialKind, str], limits: Mapping[str, object]
) -> None:
    """Refuse certificates and a key of one connection that the modem could not hold even with nothing else in it.

    ``forms``: as they are written; ``sources``: the files that they came from; ``limits``: the profile's. Raises
    :class:`CredentialError`.
    """
    files = set(forms.values())
    total = sum(map(len, files))
    why = ""
    for kind, form in forms.items():
        most = limits.get("credential_chain")
        if isinstance(most, int) and (held := form.count(b"-----BEGIN ")) > most:
            raise CredentialError(
                f"{noun(kind, sources.get(kind, ''))}: {held} certificates, and this modem takes {most} in one file"
            )
        most = limits.get({"psk": "psk_key", "psk_identity": "psk_identity"}.get(kind, "credential_size"))
        if isinstance(most, int) and len(form) > most:
            why = f"{noun(kind, sources.get(kind, ''))}: {len(form)} bytes, and this modem takes {most}"
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
class Thing:
    """Something to be stored. ``form``: as it is written; ``identity``: what belongs to a pre-shared key."""

    kind: CredentialKind
    name: str
    form: bytes = field(repr=False)
    identity: bytes | None = None


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
        return self.ensure_all({kind: data}, deadline=deadline)[kind]

    def ensure_all(self, material: Mapping[CredentialKind, bytes], *, deadline: float | None = None) -> dict[str, str]:
        """Do as :meth:`CredentialStore.ensure_all`, and keep what there is until the holding ends."""
        return self._store._ensure(material, deadline, self._names)  # noqa: SLF001 - one class in two parts

    @property
    def names(self) -> tuple[str, ...]:
        """What has been ensured, or is being."""
        return tuple(self._names)


class CredentialStore:
    """What the driver has put into the modem.

    Where the modem tells digests (``behaviour``: the profile's ``credential_digest``), they say whether a file is
    there; else name and size do, and the checksum is verified at upload. Then the file is looked for, as its name may
    have been garbled on the line; and a file whose upload was refused, cut or interrupted is removed and never used.

    ``limits``: those of the profile; of them ``credential_size`` is for one file, ``credential_bytes`` and
    ``credentials`` (a number) are for all that the modem has, whoever they belong to. ``kinds``: the modem tells of
    what kind each file is, and has one of each kind under a name. ``writing``: a block within which the modem can be
    written to.
    """

    def __init__(
        self,
        host: Host,
        *,
        ready: Callable[[float | None], None],
        names_in_use: Callable[[], frozenset[str]],
        limits: Mapping[str, object],
        behaviour: Mapping[str, object] | None = None,
        kinds: bool = False,
        writing: Callable[[float | None], AbstractContextManager[None]] | None = None,
    ) -> None:
        self._host = host
        self._ready = ready
        self._names_in_use = names_in_use
        self._turn = Turn("credentials")
        self._listed: tuple[int, int] | None = None  # epoch and doubts when the modem was last asked
        self._files: dict[str, int] = {}  # the driver's own, least recently used first
        self._foreign: dict[str, int] = {}
        self._kind_of: dict[str, str] = {}
        self._digests: dict[str, str] = {}
        self._doubtful: set[str] = set()
        self._holdings: set[Holding] = set()
        self._limits = limits
        behaviour = behaviour or {}
        self._der = behaviour.get("credential_form") == "der"
        self._digest = behaviour.get("credential_digest", "none")
        self._kinds = kinds
        self._writing = writing or (lambda deadline: contextlib.nullcontext())  # noqa: ARG005

    def check(
        self, material: Mapping[CredentialKind, bytes], sources: Mapping[CredentialKind, str] | None = None
    ) -> None:
        """Raise what :meth:`ensure_all` raises before it asks the modem. ``sources``: the files it came from."""
        self._forms(material, sources or {})

    def ensure(self, kind: CredentialKind, data: bytes, *, deadline: float | None = None) -> str:
        """Do as :meth:`ensure_all` for one thing, and give its name there."""
        return self._ensure({kind: data}, deadline, None)[kind]

    def ensure_all(self, material: Mapping[CredentialKind, bytes], *, deadline: float | None = None) -> dict[str, str]:
        """Make sure that everything in ``material`` is in the modem, and give the name of each kind there.

        The names are what :class:`~modemtls.modem.settings.TlsSettings` takes. Nothing is sent when it is known to be
        there in this epoch, and nothing has happened since that may have hidden a restart. Raises
        :class:`CredentialError` for what is no PEM of that kind, an encrypted key, what is larger than the modem takes,
        for want of space, and where nothing can be written now.
        """
        return self._ensure(material, deadline, None)

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
        if not self._is_own(name, deadline):
            raise CredentialError(f"credentials: {name!r} is not a name that the driver gives; it is left alone")
        self._require()
        with self._turn.take(self._host.now, deadline):
            if name in self._in_use():
                raise CredentialError(f"credentials: {name} is in use by an open connection", number=errno.EBUSY)
            self._ready(deadline)
            with self._writing(deadline):
                return self._delete(name, deadline)

    def purge(self, *, deadline: float | None = None) -> builtins.list[str]:
        """Remove all of the driver's files that are not in use, and give their names."""
        self._require()
        with self._turn.take(self._host.now, deadline):
            self._ready(deadline)
            self._refresh(deadline)
            unused = sorted(self._files.keys() - self._in_use())
            if not unused:
                return []
            with self._writing(deadline):
                return [name for name in unused if self._delete(name, deadline)]

    def _is_own(self, name: str, deadline: float | None) -> bool:  # noqa: ARG002 - another store has to ask
        return _OWN.match(name) is not None

    def _require(self) -> None:
        if not self._host.has("credential_write"):
            raise NotSupportedError("this modem stores no certificates or keys", capability="credentials")

    def _in_use(self) -> frozenset[str]:
        return self._names_in_use().union(*(holding.names for holding in tuple(self._holdings)))

    def _forms(
        self, material: Mapping[CredentialKind, bytes], sources: Mapping[CredentialKind, str]
    ) -> dict[CredentialKind, bytes]:
        """Give everything as it is to be written. Raises :class:`CredentialError`."""
        forms: dict[CredentialKind, bytes] = {}
        for kind, data in material.items():
            text = normalise(kind, data, sources.get(kind, ""))
            if self._der and kind not in _RAW:
                check_sizes({kind: text}, sources, {"credential_chain": 1})
                text = CODECS["der"].convert(text)  # type: ignore[assignment]
            forms[kind] = text
        if ("psk" in forms) != ("psk_identity" in forms):
            raise CredentialError("credentials: a pre-shared key and its identity belong together")
        check_sizes(forms, sources, self._limits)
        return forms

    def _ensure(
        self,
        material: Mapping[CredentialKind, bytes],
        deadline: float | None,
        keep: builtins.list[str] | None,
    ) -> dict[str, str]:
        forms = self._forms(material, {})
        if not forms:
            return {}
        self._require()
        with self._turn.take(self._host.now, deadline):
            self._ready(deadline)
            if self._listed != (self._host.epoch, self._host.doubts):
                self._refresh(deadline)
            things = self._things(forms)
            if keep is not None:
                keep.extend(one.name for one in things)
            lacking = [one for one in things if not self._whole(one, deadline)]
            if lacking:
                with self._writing(deadline):
                    self._write(lacking, things, deadline)
            for one in things:
                self._files[one.name] = self._files.pop(one.name, 0)  # most recently used
        return self._names(things)

    def _things(self, forms: Mapping[CredentialKind, bytes]) -> builtins.list[Thing]:
        """Give the names that things are to have."""
        things: builtins.list[Thing] = []
        for kind, form in forms.items():
            if kind == "psk_identity":
                continue  # goes with its key
            identity = forms["psk_identity"] if kind == "psk" else None
            content = form if identity is None else identity + b"\0" + form
            name = content_name(f"{kind}\n".encode() + content if self._kinds else content)
            things.append(Thing(kind, name, form, identity))
        return things

    @staticmethod
    def _names(things: builtins.list[Thing]) -> dict[str, str]:
        return {one.kind: one.name for one in things}

    def _whole(self, thing: Thing, deadline: float | None) -> bool:
        """Whether a thing is in the modem, and is what it should be."""
        if thing.name not in self._files or thing.name in self._doubtful:
            return False
        if self._digest == "none" or thing.kind == "psk":
            return self._files[thing.name] == len(thing.form)
        found = self._digests.get(thing.name) or self._ask_digest(thing, deadline)
        return found in digests_of(thing.kind, thing.form, self._digest)

    def _ask_digest(self, thing: Thing, deadline: float | None) -> str:
        """Ask for the digest of one thing; empty if it is not there."""
        try:
            result = self._host.run("credential_digest", {"name": thing.name, "kind": thing.kind}, deadline=deadline)
        except CommandError as error:
            raise CredentialError(f"credentials: the modem does not tell what is in {thing.name}: {error}") from error
        found = "" if result.outcome is Outcome.ABSENT else str(result.values.get("digest", "")).lower()
        self._digests[thing.name] = found
        return found

    def _write(
        self,
        lacking: builtins.list[Thing],
        things: builtins.list[Thing],  # noqa: ARG002 - all that belongs together, for another store
        deadline: float | None,
    ) -> None:
        """Store what is not there, in place of what has its name and is not whole."""
        for thing in lacking:
            if thing.name in self._files:
                logger.info("credentials: %s in the modem is incomplete or doubtful and is replaced", thing.name)
                self._delete(thing.name, deadline)
            self._upload(thing, deadline)

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
        self._kind_of = {str(row["name"]): str(row["kind"]) for row in rows if row.get("kind") is not None}
        self._digests = {str(row["name"]): str(row["digest"]).lower() for row in rows if row.get("digest") is not None}
        known = {name: listed[name] for name in self._files if name in listed}
        # What this process has not used counts as older than what it has.
        self._files = {name: size for name, size in listed.items() if name not in known} | known
        self._listed = now

    def _upload(self, thing: Thing, deadline: float | None) -> None:
        kind, name, form = thing.kind, thing.name, thing.form
        bindings: dict[str, object] = {"name": name, "data": form, "size": len(form), "kind": kind}
        if thing.identity is not None:
            bindings["identity"] = thing.identity
        self._make_room(len(form), deadline)
        again = True
        while True:
            self._files[name] = 0  # whatever is there until the upload is known to be complete, is not it
            self._doubtful.add(name)
            if self._kinds:
                self._kind_of[name] = kind
            try:
                self._host.run("credential_write", bindings, deadline=deadline)
            except CommandError as error:
                self._delete(name, deadline)
                if error.kind == "no_space":
                    if self._evict(deadline):
                        continue
                    raise CredentialError(
                        f"credentials: no space in the modem for a {kind} of {len(form)} bytes, and none of the "
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
                if not self._arrived(thing, deadline):
                    raise ModemTimeoutError(f"credentials: the modem did not store the {kind}: {error}") from error
                logger.warning("credentials: %s is there in full, but the modem did not confirm its checksum", name)
                break
            else:
                if self._arrived(thing, deadline):
                    break
                if not again:
                    raise CredentialError(
                        f"credentials: the modem did not store the {kind}: it took {len(form)} bytes and then listed "
                        f"no {name} of that size (the name was garbled on the line, or somebody has removed the file)"
                    )
                again = False
                logger.warning("credentials: %s is not there after its upload; once more", name)
        self._files[name] = len(form)
        self._doubtful.discard(name)
        logger.info("credentials: stored a %s of %d bytes as %s", kind, len(form), name)

    def _arrived(self, thing: Thing, deadline: float | None) -> bool:
        """Whether the modem lists what was just uploaded; what it left under a garbled name is removed."""
        name = thing.name
        self._files[name] = len(thing.form)  # stays so in a list without sizes
        self._refresh(deadline)
        self._clear_up(name, deadline)
        self._doubtful.discard(name)
        if self._whole(thing, deadline):
            return True
        self._doubtful.add(name)
        return False

    def _clear_up(self, name: str, deadline: float | None) -> None:
        """Remove what has almost the name of a file that was uploaded: a garbled command made it, perhaps of a key."""
        for other in [*self._files, *self._foreign]:
            strange = self._kind_of.get(other) == "other"
            if other != name and near(other, name) and other not in self._in_use() and not strange:
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
        kind = self._kind_of.get(name)
        bindings = {"name": name} if kind is None else {"name": name, "kind": kind}
        try:
            outcome = self._host.run("credential_delete", bindings, deadline=deadline).outcome
        except CommandError as error:
            raise CredentialError(f"credentials: {name} could not be removed: {error}") from error
        self._files.pop(name, None)
        self._foreign.pop(name, None)
        self._digests.pop(name, None)
        self._doubtful.discard(name)
        return outcome is not Outcome.ABSENT
