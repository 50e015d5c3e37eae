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


def is_archive(name: str) -> bool:
    """Whether a file of this name is a model's archive."""
    return name.lower().endswith(MODELS)


def unpack_archive(archive: Path, into: Path, shown: str) -> None:
    """Unpack one into a folder that is made for it, no larger than there is room for. `shown`: what errors call it.

    Members that would leave the folder, links and devices are refused. Raises InvalidArgumentError, OSError; what has
    been unpacked by then is there.
    """
    room = shutil.disk_usage(into.parent).free
    unpack(archive, into, shown, Bounds(room, _MOST_MEMBERS, links=False))


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
