"""+USECMNG: certificates and keys in the module's memory (UBX-13002752, UBX-20032566 R05 3.1 and 3.3, ubxlib).

Kept over restarts and power cycles. What is stored cannot be read back, only its digest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modemtls.sim.command import Form, Refusal
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.ublox.area import Area
from modemtls.sim.personalities.ublox.credentials import UnreadableError, der_of, describe, foreign_attribute
from modemtls.sim.personalities.ublox.prompting import Prompting

if TYPE_CHECKING:
    from modemtls.sim.command import Args
    from modemtls.sim.job import Job
    from modemtls.sim.personalities.ublox import Ublox

__all__ = ["CA", "CLIENT_CERTIFICATE", "CLIENT_KEY", "SERVER_CERTIFICATE", "Entry", "Store"]

CA, CLIENT_CERTIFICATE, CLIENT_KEY, SERVER_CERTIFICATE, SIGNER, SIGNING_KEY = range(6)
TAGS = ("CA", "CC", "PK", "SC", "VC", "PU")
LONGEST_NAME, LONGEST_PASSWORD, LARGEST = 200, 128, 8192
PATIENCE = 20.0  # s without a byte, UBX-13002752
TIMEOUT, TOO_LARGE, NO_MEMORY, BAD_FORMAT, PRESENT = 1910, 1911, 1912, 1913, 1917  # +CME ERROR
NO_FILE = 1612
LONGEST_FILE = 100000


def _hidden(data: bytes) -> bool:
    """Whether an import may be a key, whatever it was said to be: all but certificates that can be read."""
    return b"CERTIFICATE" not in data or b"PRIVATE KEY" in data


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored thing, as DER; ``subject`` and ``expiry`` of a certificate."""

    kind: int
    name: str
    der: bytes
    md5: str
    subject: str = ""
    expiry: str = ""
    password: str = ""


class Store(Prompting, Area):
    """The entries by type and name, and the files."""

    def __init__(self, module: Ublox) -> None:
        super().__init__(module)
        # non-volatile
        self.entries: dict[tuple[int, str], Entry] = {}
        self.files: dict[str, bytes] = dict(self.machine.options.files)
        self._fresh = self.variants.on("fresh-store") and module.facts.psd == "map"

    def find(self, kind: int, name: str) -> Entry | None:
        """Return an entry."""
        return self.entries.get((kind, name))

    def all(self, kind: int) -> list[Entry]:
        """Return all entries of a type."""
        return [entry for (of, _), entry in self.entries.items() if of == kind]

    @at("+USECMNG")
    def _manage(self, job: Job) -> None:
        self.module.security.need_tls()
        if job.form is Form.TEST:
            job.info("+USECMNG: (0-4),(0-5)")
            return
        if job.form is not Form.SET:
            raise self.bad()
        operation = job.args(self.bad).number(0, 0, 4)
        (self._import, self._import_file, self._remove, self._list, self._digest)[operation](job)

    def _place(self, args: Args) -> tuple[int, str]:
        """Return type and name."""
        kind = args.number(1, 0, len(TAGS) - 1)
        if kind == SERVER_CERTIFICATE and not self.module.facts.pinning:
            raise self.bad("type 3 is reserved on this module")
        name = args.text(2, longest=LONGEST_NAME)
        if not name:
            raise self.bad("no name")
        return kind, name

    # --- import ---------------------------------------------------------------------------------------------------

    def _admit(self, args: Args) -> tuple[int, str, str]:
        """Check what can be checked before the data: returns type, name and password."""
        kind, name = self._place(args)
        password = args.text(4, "", longest=LONGEST_PASSWORD)
        if password and kind != CLIENT_KEY:
            raise self.bad("only a key has a password")
        if self._fresh:
            raise Refusal(cme=NO_MEMORY)
        if (kind, name) in self.entries:
            if self.variants["replace"] == "1917":
                raise Refusal(cme=PRESENT)
        elif len(self.entries) >= self.variants.number("store-size"):
            raise self.chosen_refusal("store-full")
        return kind, name, password

    def _import(self, job: Job) -> None:
        args = self.args(job, 4, 5)
        kind, name, password = self._admit(args)
        size = args.number(3, 0, 1 << 30)
        if size > LARGEST:
            raise Refusal(cme=TOO_LARGE)
        if not size:
            raise self.bad("size 0")
        prompt = b"\r\n> " if self.variants["import-prompt"] == "blank" else b"\r\n>"
        self.prompt(
            job,
            prompt,
            size,
            lambda data: self._imported(job, kind, name, data, password),
            idle=PATIENCE,
            expired=lambda: job.refuse(Refusal(cme=TIMEOUT)),
            echo=self.module.facts.import_echo,
            secret=_hidden,
        )

    def _import_file(self, job: Job) -> None:
        args = self.args(job, 4, 5)
        kind, name, password = self._admit(args)
        data = self.files.get(args.text(3))
        if data is None:
            raise Refusal(cme=NO_FILE)
        if len(data) > LARGEST:
            raise Refusal(cme=TOO_LARGE)
        self._store(job, "1", kind, name, data, password)

    def _imported(self, job: Job, kind: int, name: str, data: bytes, password: str) -> None:
        try:
            self._store(job, self.variants["import-answer-op"], kind, name, data, password)
        except Refusal as refusal:
            job.refuse(refusal)
        else:
            job.ok()

    def _store(self, job: Job, operation: str, kind: int, name: str, data: bytes, password: str) -> None:
        key = kind in {CLIENT_KEY, SIGNING_KEY}
        try:
            der = der_of(data, pem=self.variants["pem"] == "accept", lines=self.variants["pem-lines"] == "needed")
            entry = Entry(kind, name, der, self._md5(der), *describe(kind, der, password, self._dated), password)
        except UnreadableError as error:
            self.trace.note(f"{TAGS[kind]} {name!r}: {error}")
            raise (self.chosen_refusal("bad-key") if key else Refusal(cme=BAD_FORMAT)) from None
        if self.module.facts.subject_names and not key and (wrong := foreign_attribute(der)):
            self.trace.note(f"{TAGS[kind]} {name!r}: subject with {wrong}, which SARA-R4 refuses")
            raise Refusal(cme=BAD_FORMAT)
        self.entries[kind, name] = entry
        job.info(f'+USECMNG: {operation},{kind},"{name}","{entry.md5}"')

    @property
    def _dated(self) -> str:
        return "%Y/%m/%d" if self.variants["expiry"] == "date" else "%Y/%m/%d %H:%M:%S"

    def _md5(self, der: bytes) -> str:
        from hashlib import md5

        digest = md5(der, usedforsecurity=False).hexdigest()
        return digest.upper() if self.module.facts.upper_md5 else digest

    # --- the rest -------------------------------------------------------------------------------------------------

    def _known(self, args: Args) -> Entry:
        place = self._place(args)
        if place not in self.entries:
            raise self.chosen_refusal("missing-name")
        return self.entries[place]

    def _remove(self, job: Job) -> None:
        entry = self._known(self.args(job, 3, 3))
        del self.entries[entry.kind, entry.name]

    def _digest(self, job: Job) -> None:
        entry = self._known(self.args(job, 3, 3))
        job.info(f'+USECMNG: 4,{entry.kind},"{entry.name}","{entry.md5}"')

    def _list(self, job: Job) -> None:
        args = self.args(job, 1, 2)
        kind = args.number(1, 0, len(TAGS) - 1) if args.has(1) else None
        style = self.variants["list-style"]
        chosen = sorted(
            (entry for entry in self.entries.values() if kind in {None, entry.kind}), key=lambda entry: entry.kind
        )
        for index, entry in enumerate(chosen):
            tag = f'"{TAGS[entry.kind]}"' if style == "quoted-tag" else TAGS[entry.kind]
            line = f'{tag},{" " if style == "spaced" else ""}"{entry.name}"'
            if entry.kind in {CA, CLIENT_CERTIFICATE} and style != "short":
                line += f',"{entry.subject}","{entry.expiry}"'
            if not index and self.module.facts.stray_blank:
                line = " " + line
            if index and style == "blank-lines":
                line = "\r\n" + line
            job.info(line)

    @at("+ULSTFILE")
    def _list_files(self, job: Job) -> None:
        self._fresh = False
        if job.form is not Form.TEST:
            job.info("+ULSTFILE: " + ",".join(f'"{name}"' for name in sorted(self.files)))

    @at("+UDWNFILE")
    def _write_file(self, job: Job) -> None:
        if job.form is Form.TEST:
            return
        args = self.args(job, 2, 2)
        name, size = args.text(0), args.number(1, 1, LONGEST_FILE)

        def store(data: bytes) -> None:
            self.files[name] = self.files.get(name, b"") + data
            job.ok()

        self.prompt(job, b"\r\n>", size, store, idle=PATIENCE, expired=job.refuse, secret=_hidden)

    @at("+UDELFILE")
    def _delete_file(self, job: Job) -> None:
        if job.form is Form.TEST:
            return
        if self.files.pop(self.args(job, 1, 1).text(0), None) is None:
            raise Refusal(cme=NO_FILE)
