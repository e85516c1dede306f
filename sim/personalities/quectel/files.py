"""UFS files (BG96 FILE AT Commands Manual V1.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modemtls.sim.command import Args, Form, Refusal
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.quectel.area import Area
from modemtls.sim.phases import CountedPhase

if TYPE_CHECKING:
    from modemtls.sim.job import Job
    from modemtls.sim.personalities.quectel import Quectel

__all__ = ["Files", "checksum"]

INVALID, BEYOND_END, ZERO_READ, DRIVE_FULL = 400, 401, 402, 403
NOT_FOUND, BAD_NAME, EXISTS = 405, 406, 407
TOO_MANY_OPEN, READ_ONLY, BAD_HANDLE, NO_SPACE, TIMEOUT, TOO_LARGE, BAD_PARAMETER, ALREADY_OPEN = (
    413, 414, 416, 420, 421, 423, 425, 426,
)  # fmt: skip
TEXTS = {
    400: "invalid input value", 401: "larger than the size of the file", 402: "read zero byte", 403: "drive full",
    405: "file not found", 406: "invalid file name", 407: "file already exists", 409: "fail to write the file",
    410: "fail to open the file", 411: "fail to read the file", 413: "too many files opened",
    414: "the file read-only", 416: "invalid file descriptor", 417: "fail to list the file", 418: "fail to delete",
    419: "fail to get disk info", 420: "no space", 421: "time out", 423: "file too large", 425: "invalid parameter",
    426: "file already opened",
}  # fmt: skip
LONGEST_NAME = 80  # bytes
DEFAULT_SIZE, DEFAULT_TIMEOUT = 10240, 5  # QFUPL: bytes, seconds without data
ACK_BLOCK = 1024  # bytes after which an "A" is printed in ACK mode
MOST_OPEN = 10
FIRST_HANDLE = 1


def checksum(data: bytes) -> int:
    """XOR of the data as big-endian 16-bit words; an odd last byte is a high half."""
    high = low = 0
    for byte in data[0::2]:
        high ^= byte
    for byte in data[1::2]:
        low ^= byte
    return high << 8 | low


@dataclass(slots=True)
class _Open:
    name: str
    mode: int
    position: int = 0


class Files(Area):
    """The storage (kept over restarts) and the open files (not kept)."""

    def __init__(self, module: Quectel) -> None:
        super().__init__(module)
        self.stored: dict[str, bytes] = dict(self.machine.options.files)
        self.size = int(self.variants.number("ufs-size"))

    def reset(self) -> None:
        """No file is open."""
        self._open: dict[int, _Open] = {}

    @property
    def free(self) -> int:
        """Bytes left."""
        return max(0, self.size - sum(map(len, self.stored.values())))

    def load(self, path: str) -> bytes | None:
        """Return a file's content by the path that a TLS setting names."""
        return self.stored.get(path.removeprefix("UFS:"))

    def _error(self, code: int) -> Refusal:
        settings = self.machine.interpreter.settings
        if settings.cmee == 0:
            return Refusal("ERROR")
        text = settings.cmee == 2 and self.variants.on("file-error-text")
        return Refusal(f"+CME ERROR: {TEXTS[code] if text else code}")

    def _args(self, job: Job) -> Args:
        return job.args(lambda: self._error(BAD_PARAMETER))

    def _name(self, args: Args, index: int = 0) -> str:
        name = args.text(index, longest=4096).removeprefix("UFS:")
        if (
            not name
            or len(name.encode("utf-8", "surrogateescape")) > LONGEST_NAME
            or any(c in '\\:?<>|*"' for c in name)
        ):
            raise self._error(BAD_NAME)
        return name

    def _sum(self, data: bytes) -> str:
        text = f"{checksum(data):x}"
        return text.upper() if self.variants["checksum-case"] == "upper" else text

    # --- upload and download ----------------------------------------------------------------------

    @at("+QFUPL")
    def _upload(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info(f"+QFUPL: <filename>[,(1-{self.free})[,(1-65535)[,(0,1)]]]")
            return
        args = self._args(job)
        args.count(1, 4)
        name = self._name(args)
        size = args.number(1, 1, 2**31, DEFAULT_SIZE)
        timeout = args.number(2, 1, 65535, DEFAULT_TIMEOUT)
        acknowledge = args.number(3, 0, 1, 0)
        if name in self.stored:
            raise self._error(EXISTS)
        if size > self.free:
            raise self._error(NO_SPACE)
        acknowledged = 0

        def progress(total: int) -> None:
            nonlocal acknowledged
            due = total // ACK_BLOCK - acknowledged
            if acknowledge and due:
                acknowledged += due
                self.machine.interpreter.send(b"A" * due)

        def store(data: bytes) -> None:
            self._received(data)
            self.stored[name] = data
            self.machine.interpreter.leave()
            self._upload_done(job, data)

        def expired(data: bytes) -> None:
            self._received(data)
            if data:
                self.stored[name] = data  # the part that came is kept
            self.machine.interpreter.leave()
            if self.variants["partial-upload"] == "line":
                job.info(f"+QFUPL: {len(data)},{self._sum(data)}")
            job.refuse(self._error(TIMEOUT))

        job.defer()
        self.machine.interpreter.intermediate(job, "CONNECT")
        self.machine.interpreter.enter(
            CountedPhase(self.loop, size, store, idle=timeout, expired=expired, progress=progress, escape=True),
            data_mode=True,
        )

    def _upload_done(self, job: Job, data: bytes) -> None:
        lost = self.variants["lose-qfupl"]
        if lost == "no":
            job.info(f"+QFUPL: {len(data)},{self._sum(data)}")
        if lost == "both":
            self.trace.note("+QFUPL and its OK are lost")
            self.machine.interpreter.settings.quiet, quiet = True, self.machine.interpreter.settings.quiet
            job.ok()
            self.machine.interpreter.settings.quiet = quiet
        else:
            job.ok()

    def _received(self, data: bytes) -> None:
        self.trace.received(data, redact=b"PRIVATE KEY" in data)

    @at("+QFDWL")
    def _download(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+QFDWL: <filename>")
            return
        args = self._args(job)
        args.count(1, 1)
        data = self._content(self._name(args))
        job.raw(self.machine.interpreter.result("CONNECT") + data + b"\r\n")
        job.raw(f"+QFDWL: {len(data)},{self._sum(data)}\r\n".encode())

    def _content(self, name: str) -> bytes:
        if name not in self.stored:
            raise self._error(NOT_FOUND)
        return self.stored[name]

    # --- the directory ----------------------------------------------------------------------------

    @at("+QFLST")
    def _list(self, job: Job) -> None:
        if job.form is Form.TEST:
            return
        args = self._args(job)
        args.count(0, 1)
        pattern = args.text(0, "*")
        names = sorted(self.stored)
        if pattern not in {"*", "UFS", "UFS:*"}:
            names = [self._name(args)]
            if names[0] not in self.stored:
                raise self._error(int(self.variants["qflst-missing"]))
        prefix = "UFS:" if self.variants.on("file-prefix") else ""
        job.info(*(f'+QFLST: "{prefix}{name}",{len(self.stored[name])}' for name in names))

    @at("+QFLDS")
    def _space(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info('+QFLDS: "UFS"')
            return
        args = self._args(job)
        args.count(0, 1)
        if not args.has(0):  # without a place: the size and the number of the files
            job.info(f"+QFLDS: {self.size - self.free},{len(self.stored)}")
            return
        if args.text(0) != "UFS":
            raise self._error(INVALID)
        job.info(f"+QFLDS: {self.free},{self.size}")

    @at("+QFDEL")
    def _delete(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+QFDEL: <filename>")
            return
        args = self._args(job)
        args.count(1, 1)
        if args.text(0) in {"*", "UFS:*"}:
            if self._open:  # inferred from what a single open file's deletion gives
                raise self._error(ALREADY_OPEN)
            self.stored.clear()
            return
        name = self._name(args)
        if name not in self.stored:
            raise self._error(int(self.variants["qfdel-missing"]))
        if any(opened.name == name for opened in self._open.values()):
            raise self._error(ALREADY_OPEN)
        del self.stored[name]

    @at("+QFCRC")
    def _crc(self, job: Job) -> None:
        args = self._args(job)
        args.count(1, 1)
        job.info(f"+QFCRC: {self._sum(self._content(self._name(args)))}")

    @at("+QFCPY")
    def _copy(self, job: Job) -> None:
        args = self._args(job)
        args.count(2, 3)
        source, target = self._name(args), self._name(args, 1)
        if target in self.stored and not args.number(2, 0, 1, 0):
            raise self._error(EXISTS)
        self.stored[target] = self._content(source)

    # --- open files -------------------------------------------------------------------------------

    @at("+QFOPEN")
    def _open_file(self, job: Job) -> None:
        if job.form is Form.READ:
            job.info(*(f'+QFOPEN: "{opened.name}",{handle},{opened.mode}' for handle, opened in self._open.items()))
            return
        if job.form is Form.TEST:
            job.info("+QFOPEN: <filename>,(0-2)")
            return
        args = self._args(job)
        args.count(1, 2)
        name, mode = self._name(args), args.number(1, 0, 2, 0)
        if any(opened.name == name for opened in self._open.values()):
            raise self._error(ALREADY_OPEN)
        if len(self._open) >= MOST_OPEN:
            raise self._error(TOO_MANY_OPEN)
        if mode == 2:
            self._content(name)
        elif mode == 1 or name not in self.stored:
            self.stored[name] = b""
        handle = next(n for n in range(FIRST_HANDLE, FIRST_HANDLE + MOST_OPEN + 1) if n not in self._open)
        self._open[handle] = _Open(name, mode)
        job.info(f"+QFOPEN: {handle}")

    def _handle(self, args: Args) -> _Open:
        handle = args.number(0, 0, 2**31)
        if handle not in self._open:
            raise self._error(BAD_HANDLE)
        return self._open[handle]

    @at("+QFREAD")
    def _read(self, job: Job) -> None:
        args = self._args(job)
        args.count(1, 2)
        opened = self._handle(args)
        content = self.stored[opened.name]
        count = args.number(1, 1, 2**31, max(1, len(content)))
        data = content[opened.position : opened.position + count]
        opened.position += len(data)
        if not data:
            raise self._error(ZERO_READ)
        job.raw(self.machine.interpreter.result(f"CONNECT {len(data)}") + data)

    @at("+QFWRITE")
    def _write(self, job: Job) -> None:
        args = self._args(job)
        args.count(1, 3)
        opened = self._handle(args)
        size = args.number(1, 1, 2**31, DEFAULT_SIZE)
        timeout = args.number(2, 1, 65535, DEFAULT_TIMEOUT)
        if opened.mode == 2:
            raise self._error(READ_ONLY)
        if size > self.free:
            raise self._error(NO_SPACE)

        def write(data: bytes) -> None:
            self._received(data)
            old = self.stored[opened.name].ljust(opened.position, b"\0")
            self.stored[opened.name] = old[: opened.position] + data + old[opened.position + len(data) :]
            opened.position += len(data)
            self.machine.interpreter.leave()
            job.info(f"+QFWRITE: {len(data)},{len(self.stored[opened.name])}")
            job.ok()

        job.defer()
        self.machine.interpreter.intermediate(job, "CONNECT")
        phase = CountedPhase(self.loop, size, write, idle=timeout, expired=write, escape=True)
        self.machine.interpreter.enter(phase, data_mode=True)

    @at("+QFSEEK")
    def _seek(self, job: Job) -> None:
        args = self._args(job)
        args.count(2, 3)
        opened = self._handle(args)
        end = len(self.stored[opened.name])
        base = (0, opened.position, end)[args.number(2, 0, 2, 0)]
        position = base + args.number(1, -(2**31), 2**31)
        if not 0 <= position <= end:
            raise self._error(BEYOND_END)
        opened.position = position

    @at("+QFPOSITION")
    def _position(self, job: Job) -> None:
        job.info(f"+QFPOSITION: {self._handle(self._args(job)).position}")

    @at("+QFTUCAT")
    def _truncate(self, job: Job) -> None:
        opened = self._handle(self._args(job))
        if opened.mode == 2:
            raise self._error(READ_ONLY)
        self.stored[opened.name] = self.stored[opened.name][: opened.position]

    @at("+QFCLOSE")
    def _close(self, job: Job) -> None:
        args = self._args(job)
        self._handle(args)
        del self._open[args.number(0, 0, 2**31)]
