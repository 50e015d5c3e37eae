"""TorchServe's archives, unpacked: `.mar` and `.war`, which are zip files, and `.tgz`, whose files lie in a folder."""

import shutil
from pathlib import Path

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.unpacking import Bounds, unpack

MODELS = (".mar", ".tgz", ".tar.gz")
"""How the names of models' archives end."""

# Folders that archives say of themselves what they are in.
_OWN = ("MAR-INF", "WAR-INF")
_MOST_MEMBERS = 200_000
# What is left free of a disk, for its other users: a share of it, but no more than so many bytes.
_RESERVED_SHARE = 20
_MOST_RESERVED = 1 << 30


def is_archive(name: str) -> bool:
    """Whether a file of this name is a model's archive."""
    return name.lower().endswith(MODELS)


def unpack_archive(archive: Path, into: Path, shown: str) -> None:
    """Unpack one into a folder that is made for it, if that leaves room on the disk. `shown`: what errors call it.

    Members that would leave the folder, links and devices are refused. Raises InvalidArgumentError, OSError; what has
    been unpacked by then is there.
    """
    usage = shutil.disk_usage(into.parent)
    room = room_on(usage.total, usage.free)
    kept = f"which is what there is room for on its disk, of which {reserved_on(usage.total)} bytes are kept free"
    unpack(archive, into, shown, Bounds(room, _MOST_MEMBERS, links=False, limit=kept))


def reserved_on(total: int) -> int:
    """Bytes that no archive may have of a disk of `total` bytes."""
    return min(total // _RESERVED_SHARE, _MOST_RESERVED)


def room_on(total: int, free: int) -> int:
    """Bytes that an archive may have on such a disk, of which `free` are."""
    return max(0, free - reserved_on(total))


def files_of(folder: Path) -> Path:
    """Where the files of an unpacked archive lie: in it, or in the one folder that it has."""
    children = list(folder.iterdir())
    inner = children[0] if len(children) == 1 else folder
    if inner.name in _OWN or not inner.is_dir():
        return folder
    return inner


def lay_out(archive: Path, into: Path, shown: str) -> Path:
    """Unpack an archive, or copy the folder of one, into a folder that is made for it: where its files are then. As
    `unpack_archive`.
    """
    if archive.is_dir():
        if any(each.is_symlink() for each in archive.rglob("*")):
            raise InvalidArgumentError(f"{shown} has links in it")
        shutil.copytree(archive, into)
        return into
    unpack_archive(archive, into, shown)
    return files_of(into)
