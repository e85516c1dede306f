"""The driver's certificates and keys where the modem keeps bundles under numbers: a CA, a key pair, a pre-shared key.

The number of a bundle is made of what is in it, so that the same things always have the same number, and whose a bundle
is can be told from the digests that the modem lists: nothing else is ever overwritten or removed.
"""

from __future__ import annotations

import errno
import hashlib
import logging
from typing import TYPE_CHECKING, Any, Final, cast

from modemtls.at.grammar import Outcome
from modemtls.errors import CommandError, CredentialError
from modemtls.modem.credentials import CredentialStore, Thing, digests_of

if TYPE_CHECKING:
    import builtins
    from collections.abc import Mapping

    from modemtls.modem.credentials import CredentialKind
    from modemtls.modem.interfaces import Host

__all__ = ["BundleStore"]

logger = logging.getLogger(__name__)

_ORDER: Final[tuple[CredentialKind, ...]] = ("ca", "cert", "key", "psk", "psk_identity", "peer")
_NEXT: Final = 8  # so many numbers are tried, one after the other, when others have taken them


class BundleStore(CredentialStore):
    """What the driver has put into a modem with bundles; see :class:`CredentialStore`.

    ``limits["credential_tags"]``: the first and the last number that bundles may have.
    """

    def __init__(self, host: Host, **options: Any) -> None:
        super().__init__(host, **options)
        self._first, self._last = cast("tuple[int, int]", self._limits["credential_tags"])
        self._bundles: dict[str, dict[str, str]] = {}  # the driver's or not: number to kind to digest
        # Digests that this modem listed behind a write, of pre-shared keys of a form that nobody knows: number, the
        # digest of what was written, the digest that was listed. And those of them that were listed twice.
        self._heard: set[tuple[str, str, str]] = set()
        self._learned: set[tuple[str, str, str]] = set()
        self._told = False  # the modem has told a digest of a pre-shared key in a form that is known

    def _things(self, forms: Mapping[CredentialKind, bytes]) -> builtins.list[Thing]:
        """Give the number of the bundle: the first of its own that nothing else is in."""
        content = {str(kind): _written(kind, form) for kind, form in forms.items()}
        for step in range(_NEXT):
            number = self._number(content, step)
            if number in self._doubtful or self._is_part(number, forms):
                return [
                    Thing(kind, number, forms[kind], self._identity(kind, forms)) for kind in _ORDER if kind in forms
                ]
        raise CredentialError(
            "credentials: every number that the driver would give these certificates and keys is used by something else"
        )

    def _is_part(self, number: str, forms: Mapping[CredentialKind, bytes]) -> bool:
        """Whether what lies under a number is part of a bundle, or nothing, or the driver's to write anew."""
        there = self._bundles.get(number, {})
        right = {str(kind) for kind, form in forms.items() if self._is_right(number, kind, form)}
        if "psk_identity" in right and "psk" in forms:
            right.add("psk")  # under this number, with this identity: another one there is never used, but replaced
        return there.keys() <= right

    def _is_right(self, number: str, kind: CredentialKind, form: bytes) -> bool:
        """Whether the modem lists under a number what ``form`` has been written as."""
        found = self._bundles.get(number, {}).get(kind)
        if not found:
            return False
        if found in digests_of(kind, form, self._digest):
            self._told = self._told or kind == "psk"
            return True
        return kind == "psk" and not self._told and (number, _written(kind, form), found) in self._learned

    def _learn(self, thing: Thing) -> None:
        """Take the digest that is listed behind a write for that of what was written, the second time it is the same.

        Only of a pre-shared key, whose digest may be of something that no document tells; what was written is known
        to have got there whole then, as a line does not garble the same twice.
        """
        found = self._bundles.get(thing.name, {}).get(thing.kind)
        if thing.kind != "psk" or not found:
            return
        heard = (thing.name, _written(thing.kind, thing.form), found)
        if heard in self._heard:
            self._learned.add(heard)
        self._heard.add(heard)

    @staticmethod
    def _identity(kind: CredentialKind, forms: Mapping[CredentialKind, bytes]) -> bytes | None:
        return forms["psk_identity"] if kind == "psk" else None

    def _number(self, digests: Mapping[str, str], step: int) -> str:
        """Make the number of a bundle of its content; ``step`` counts those that are taken."""
        text = "".join(f"{kind}:{digests[kind]}\n" for kind in sorted(digests))
        place = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") + step
        return str(self._first + place % (self._last - self._first + 1))

    @staticmethod
    def _names(things: builtins.list[Thing]) -> dict[str, str]:
        # The identity of a pre-shared key has no name of its own: it goes with the key.
        return {one.kind: one.name for one in things if one.kind != "psk_identity"} | {"bundle": things[0].name}

    def _whole(self, thing: Thing, deadline: float | None) -> bool:  # noqa: ARG002 - the listing tells
        return thing.name not in self._doubtful and self._is_right(thing.name, thing.kind, thing.form)

    def _is_own(self, name: str, deadline: float | None) -> bool:
        with self._turn.take(self._host.now, deadline):
            self._ready(deadline)
            self._refresh(deadline)
        return name in self._files

    def _made_by_the_driver(self, name: str) -> bool:
        there = self._bundles[name]
        return any(self._number(there, step) == name for step in range(_NEXT))

    def _refresh(self, deadline: float | None) -> None:
        now = (self._host.epoch, self._host.doubts)
        try:
            rows = self._host.run("credential_list", deadline=deadline).rows
        except CommandError as error:
            raise CredentialError(f"credentials: the modem does not list what it has: {error}") from error
        bundles: dict[str, dict[str, str]] = {}
        for row in rows:
            kind = str(row.get("kind") or "other")
            bundles.setdefault(str(row["name"]), {})[kind] = str(row.get("digest") or "").lower()
        self._bundles = bundles
        own = [name for name in bundles if name in self._doubtful or self._made_by_the_driver(name)]
        known = [name for name in self._files if name in own]
        # What this process has not used counts as older than what it has.
        self._files = dict.fromkeys([*(name for name in own if name not in known), *known], 0)
        self._foreign = {name: 0 for name in bundles if name not in self._files}
        self._listed = now

    def _write(self, lacking: builtins.list[Thing], things: builtins.list[Thing], deadline: float | None) -> None:
        """Store what is not there of a bundle, and look whether it is then; once more if it is not."""
        number = things[0].name
        wrong: builtins.list[str] = []
        for left in (1, 0):
            if number in self._doubtful or any(one.kind in self._bundles.get(number, {}) for one in lacking):
                self._delete(number, deadline)
                lacking = things
            self._doubtful.add(number)
            thing = lacking[0]
            try:
                for thing in lacking:
                    self._put(thing, deadline)
            except CommandError as error:
                self._delete(number, deadline)
                if left and error.kind != "no_space":
                    logger.info("credentials: bundle %s was not stored (%s); once more", number, error)
                    lacking = things
                    continue
                raise CredentialError(
                    f"credentials: the modem did not store the {thing.kind}: {error}",
                    number=errno.ENOSPC if error.kind == "no_space" else None,
                ) from error
            self._doubtful.discard(number)
            self._refresh(deadline)
            wrong = [one.kind for one in lacking if not self._whole(one, deadline)]
            if wrong == ["psk"]:
                self._learn(next(one for one in lacking if one.kind == "psk"))
                wrong = [one.kind for one in lacking if not self._whole(one, deadline)]
            if not wrong:
                self._files.setdefault(number, 0)
                logger.info("credentials: stored %s as %s", ", ".join(one.kind for one in lacking), number)
                return
            self._doubtful.add(number)
            logger.warning("credentials: %s of bundle %s is not what was sent", ", ".join(wrong), number)
        self._delete(number, deadline)
        raise CredentialError(
            f"credentials: the modem did not store the {wrong[0]}: what it lists is not what was sent (a byte was lost "
            "or changed on the line)"
        )

    def _put(self, thing: Thing, deadline: float | None) -> None:
        """Write one thing; bundles that are in the way of it for want of room go."""
        bindings: dict[str, object] = {
            "name": thing.name,
            "data": thing.form,
            "size": len(thing.form),
            "kind": thing.kind,
        }
        if thing.identity is not None:
            bindings["identity"] = thing.identity
        while True:
            try:
                self._host.run("credential_write", bindings, deadline=deadline)
            except CommandError as error:
                if error.kind != "no_space" or not self._evict(deadline):
                    raise
            else:
                self._bundles.setdefault(thing.name, {})[thing.kind] = ""
                return

    def _delete(self, name: str, deadline: float | None) -> bool:
        found = False
        for kind in _ORDER:
            if kind not in self._bundles.get(name, {}):
                continue
            try:
                outcome = self._host.run("credential_delete", {"name": name, "kind": kind}, deadline=deadline).outcome
            except CommandError as error:
                raise CredentialError(f"credentials: the {kind} of {name} could not be removed: {error}") from error
            found = found or outcome is not Outcome.ABSENT
        self._bundles.pop(name, None)
        self._files.pop(name, None)
        self._foreign.pop(name, None)
        self._doubtful.discard(name)
        return found


def _written(kind: CredentialKind, form: bytes) -> str:
    """Give the digest that a modem is expected to list: of a pre-shared key that of its digits."""
    return hashlib.sha256(form.hex().upper().encode() if kind == "psk" else form).hexdigest()
