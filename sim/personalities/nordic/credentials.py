"""Credentials under security tags (CMNG; SLM-TCPUDP for #XCMNG)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modemtls.sim.command import Form, Refusal
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.nordic.area import Area

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modemtls.sim.command import Args
    from modemtls.sim.job import Job
    from modemtls.sim.personalities.nordic import Nordic

__all__ = ["CA", "CERTIFICATE", "IDENTITY", "KEY", "PSK", "Credentials", "Stored"]

CA, CERTIFICATE, KEY, PSK, IDENTITY = range(5)
WRITABLE = {CA, CERTIFICATE, KEY, PSK, IDENTITY, 10, 11, 13}
READABLE = {CA, CERTIFICATE, 5, 6, 8, 9, 10, 11}  # public ones; which the guide allows, the sheet does not list
TYPES = {*WRITABLE, 5, 6, 8, 9}
WRITE, LIST, READ, DELETE = range(4)
LAST_TAG, LAST_NATIVE_TAG = 2147483647, 214748364
INTERNAL_TAG, INTERNAL_TYPE = 4294967294, 6
LONGEST_PSK, LONGEST_IDENTITY, LONGEST_CONTENT = 128, 256, 8192
NOT_FOUND, NO_ACCESS, FULL, ACTIVE, EXISTS, INVALID = 513, 514, 515, 518, 519, 527
_PEM = re.compile(r"\s*-----BEGIN [A-Z0-9 ]+-----\s.*-----END [A-Z0-9 ]+-----\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Stored:
    """What is under a tag, as bytes; empty where there is nothing."""

    ca: bytes
    certificate: bytes
    key: bytes
    psk: bytes
    identity: bytes
    password: bytes  # of the key


class Credentials(Area):
    """The storage, non-volatile. ``native`` belongs to the application's own TLS instead of the modem's."""

    def __init__(self, module: Nordic) -> None:
        super().__init__(module)
        self._modem: dict[tuple[int, int], bytes] = {}
        self._native: dict[tuple[int, int], bytes] = {}
        self._passwords: dict[int, bytes] = {}  # by tag
        self.native_tls = module.model == "nordic-slm" and self.variants.on("native-tls")
        for name, content in self.machine.options.files.items():
            tag, _, kind = name.partition("/")
            if tag.isdigit() and kind.isdigit():
                self._used[int(tag), int(kind)] = content

    @property
    def _used(self) -> dict[tuple[int, int], bytes]:
        return self._native if self.native_tls else self._modem

    def snapshot(self) -> dict[str, bytes]:
        """Return what TLS uses, by ``TAG/TYPE``."""
        return {f"{tag}/{kind}": content for (tag, kind), content in self._used.items()}

    def under(self, tag: int) -> Stored:
        """Return what is under a tag."""
        kinds = (CA, CERTIFICATE, KEY, PSK, IDENTITY)
        ca, certificate, key, psk, identity = (self._used.get((tag, kind), b"") for kind in kinds)
        return Stored(ca, certificate, key, psk, identity, self._passwords.get(tag, b""))

    @property
    def has_some_ca(self) -> bool:
        """Whether there is a root CA under any tag."""
        return any(kind == CA for _, kind in self._used)

    # --- commands -----------------------------------------------------------------------------------------------------

    @at("%CMNG")
    def _cmng(self, job: Job) -> None:
        if job.form is Form.TEST:
            return
        if job.form is not Form.SET:
            raise Refusal
        args = job.args()
        args.count(1, 6)
        self._carry_out(job, args, self._modem, LAST_TAG)

    @at("#XCMNG")
    def _xcmng(self, job: Job) -> None:
        if not self.native_tls:
            raise self.refuse("no native TLS in this build")
        args = self.args(job, 1, 6)
        try:
            self._carry_out(job, args, self._native, LAST_NATIVE_TAG)
        except Refusal as refusal:
            raise self.refuse(f"#XCMNG: {refusal.cme}") from None

    def _carry_out(self, job: Job, args: Args, store: dict[tuple[int, int], bytes], last: int) -> None:
        op = args.number(0, WRITE, DELETE)
        if op == LIST:
            self._list(job, args, store, last)
            return
        tag, kind = args.number(1, 0, last), args.number(2, 0, 13)
        if kind not in TYPES:
            raise Refusal
        if op in {WRITE, DELETE} and store is self._modem and self.module.general.radio_on:
            raise Refusal(cme=ACTIVE)
        if op == WRITE:
            self._write(args, store, (tag, kind))
            return
        content = store.get((tag, kind))
        if content is None:
            raise Refusal(cme=NOT_FOUND)
        if op == DELETE:
            del store[tag, kind]
        elif kind not in READABLE:
            raise Refusal(cme=NO_ACCESS)
        else:
            text = content.decode("utf-8", "surrogateescape")
            job.info(f'{job.command.name}: {tag},{kind},"{_sha(content)}","{text}"')

    def _list(self, job: Job, args: Args, store: Mapping[tuple[int, int], bytes], last: int) -> None:
        tag = args.number(1, 0, last) if args.has(1) else None
        kind = args.number(2, 0, 13) if args.has(2) else None
        shown = [(where, _sha(content)) for where, content in sorted(store.items())]
        if self.variants.on("internal-tags") and store is self._modem:
            shown.append(((INTERNAL_TAG, INTERNAL_TYPE), _sha(b"device identity")))
        for (its_tag, its_kind), sha in shown:
            if tag in {None, its_tag} and kind in {None, its_kind}:
                job.info(f'{job.command.name}: {its_tag},{its_kind},"{sha}"')

    def _write(self, args: Args, store: dict[tuple[int, int], bytes], where: tuple[int, int]) -> None:
        kind = where[1]
        if kind not in WRITABLE:
            raise Refusal(cme=NO_ACCESS)
        if kind in {PSK, IDENTITY} and store is self._native:
            raise Refusal(cme=INVALID)
        text = args.text(3, longest=LONGEST_CONTENT)
        content = text.encode("utf-8", "surrogateescape")
        if not self._fits(kind, text):
            raise Refusal(cme=INVALID)
        sha = args.text(5, "")
        if sha and sha.upper() != _sha(content):
            raise Refusal(cme=INVALID)
        if where in store and not self.variants.on("replace"):
            raise Refusal(cme=EXISTS)
        used = sum(len(other) for place, other in store.items() if place != where)
        if used + len(content) > self.variants.number("credential-memory"):
            raise Refusal(cme=FULL)
        store[where] = content
        if kind == KEY:
            self._passwords[where[0]] = args.text(4, "").encode("utf-8", "surrogateescape")

    def _fits(self, kind: int, text: str) -> bool:
        if not text:
            return False
        if kind == PSK:
            return len(text) <= LONGEST_PSK and len(text) % 2 == 0 and re.fullmatch("[0-9A-Fa-f]+", text) is not None
        if kind == IDENTITY:
            return len(text) <= LONGEST_IDENTITY
        return kind > KEY or self.variants["content-check"] == "none" or _PEM.fullmatch(text) is not None


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest().upper()
