"""Finds the mount that holds a path, by the kernel's mount table alone: a dead mount is found like a live one.

Nothing here touches the daemon, so nothing here can wait for it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from .errors import NotMounted

CONTROL_DIR = ".hippofs"
_KIND = "fuse.hippofs"
_MOUNTS = "/proc/self/mountinfo"


@dataclass(frozen=True)
class Place:
    """Where a path is inside a mount."""

    root: str
    """Root of the mount: its control directory is `.hippofs` in there."""
    relative: str
    """The path as events name it: relative to the root, empty for the root itself."""

    def control(self, name: str) -> str:
        """Path of a control file."""
        return os.path.join(self.root, CONTROL_DIR, name)


@dataclass(frozen=True)
class _Mount:
    device: str
    root: str
    point: str
    kind: str


def find(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> Place:
    """The place of `path`, which need not exist; symbolic links are followed.

    A path below a bind mount of a part of the mount is found, too, as long as the whole is mounted somewhere.
    NotMounted where that is not so.
    """
    real = os.path.realpath(os.path.abspath(os.fsdecode(path)))
    mounts = _mounts()
    holder = None
    for mount in mounts:
        # Of two at one point the later one covers the earlier one.
        if _below(real, mount.point) is not None and (holder is None or len(mount.point) >= len(holder.point)):
            holder = mount
    if holder is None or holder.kind != _KIND:
        raise NotMounted(f"{real}: not inside a hippofs mount")
    inside = _join(holder.root, _below(real, holder.point) or "")
    if holder.root == "/":
        return Place(holder.point, inside)
    for mount in mounts:
        if mount.device == holder.device and mount.root == "/":
            return Place(mount.point, inside)
    raise NotMounted(f"{real}: only a part of the mount is visible here, without its control directory")


def _mounts() -> list[_Mount]:
    try:
        with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as table:
            lines = table.read().splitlines()
    except OSError as error:
        raise NotMounted(f"{_MOUNTS}: {error.strerror}: hippofs mounts exist on Linux only") from error
    return [_parse(line) for line in lines if " - " in line]


def _parse(line: str) -> _Mount:
    before, after = line.split(" - ", 1)
    fields = before.split(" ")
    return _Mount(fields[2], _plain(fields[3]), _plain(fields[4]), after.split(" ", 1)[0])


def _plain(text: str) -> str:
    """Without the octal escapes of the table."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _below(path: str, directory: str) -> str | None:
    """The part of `path` below `directory`; None when it is not there."""
    if directory == "/" or path == directory:
        return path[len(directory):].lstrip("/")
    return path[len(directory) + 1:] if path.startswith(directory + "/") else None


def _join(root: str, below: str) -> str:
    return "/".join(part for part in (root.strip("/"), below) if part)
