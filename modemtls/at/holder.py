"""Who has a port open, where /proc tells (Linux; other users' processes only as root)."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["holders"]


def holders(name: str) -> list[str]:
    """Return who holds a device, as ``program (pid N)``; empty if nobody can be seen."""
    try:
        status = Path(name).stat()
    except OSError:
        return []
    mine = os.getpid()
    found: dict[int, str] = {}
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != mine and _has_open(process, status):
            found[int(process.name)] = _program(process)
    for pid in _lockers(status.st_dev, status.st_ino) - found.keys() - {mine}:
        found[pid] = _program(Path("/proc") / str(pid))
    if not found and _has_open(Path("/proc/self"), status):
        return [f"this process (pid {mine})"]
    return [f"{program} (pid {pid})" for pid, program in sorted(found.items())]


def _has_open(process: Path, status: os.stat_result) -> bool:
    """Whether a process has this device open, as far as can be seen."""
    try:
        descriptors = list((process / "fd").iterdir())
    except OSError:
        return False
    for descriptor in descriptors:
        try:
            one = descriptor.stat()
        except OSError:
            continue
        if (one.st_rdev, one.st_ino, one.st_dev) == (status.st_rdev, status.st_ino, status.st_dev):
            return True
    return False


def _program(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip() or "a process"
    except OSError:
        return "a process"


def _lockers(device: int, inode: int) -> set[int]:
    """Return who holds a lock on the file by /proc/locks (proc(5): pid is field 5, major:minor:inode field 6)."""
    wanted = f"{os.major(device):02x}:{os.minor(device):02x}:{inode}"
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return set()
    out = set()
    for line in lines:
        fields = line.split()
        if "->" not in fields and len(fields) > 5 and fields[5] == wanted and fields[4].isdigit() and fields[4] != "0":
            out.add(int(fields[4]))
    return out
