"""The forms that an archive has on disk: zip, tar, or a folder. Each is made whole beside its place, or not at all."""

import io
import secrets
import shutil
import tarfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from kserve_v2.errors import InvalidArgumentError

FORMATS: Mapping[str, str] = {"default": ".mar", "zip-store": ".mar", "tgz": ".tar.gz", "no-archive": ""}
"""What the name of an archive of a model ends with."""


def write_zip(
    target: Path, files: Mapping[str, Path], manifest: tuple[str, str], *, deflate: bool = True
) -> None:
    """`manifest`: its name and text; it comes last. Replaces what is there. Raises OSError."""
    method = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
    # Files from before 1980 are dated 1980: the format knows nothing older.
    with _made(target) as place, zipfile.ZipFile(place, "x", method, strict_timestamps=False) as archive:
        for name, path in files.items():
            archive.write(path, name)
        archive.writestr(*manifest)


def write_tar(target: Path, files: Mapping[str, Path], manifest: tuple[str, str], folder: str) -> None:
    """As `write_zip`. `folder`: what everything lies in, which is dropped when the archive is read."""
    with _made(target) as place, tarfile.open(place, "x:gz", dereference=True) as archive:
        for name, path in files.items():
            archive.add(path, f"{folder}/{name}", filter=_anonymous)
        name, text = manifest
        content = text.encode()
        member = tarfile.TarInfo(f"{folder}/{name}")
        member.size, member.mtime = len(content), int(time.time())
        archive.addfile(member, io.BytesIO(content))


def write_folder(target: Path, files: Mapping[str, Path], manifest: tuple[str, str]) -> None:
    """As `write_zip`. Of a folder that is there, only one that was such an archive is replaced."""
    name, text = manifest
    if target.exists() and not (target / name).is_file():
        raise InvalidArgumentError(
            f"{target} exists already and is no archive: it has no {name}. It is not replaced, choose another place"
        )
    with _made(target) as place:
        place.mkdir()
        for member in (*files, name):
            (place / member).parent.mkdir(parents=True, exist_ok=True)
        for member, path in files.items():
            shutil.copy2(path, place / member)
        (place / name).write_text(text, encoding="utf-8")


@contextmanager
def _made(target: Path) -> Iterator[Path]:
    """A hidden place beside the target, which is moved there at the end; after a failure nothing is left. Servers that
    watch the folder see the archive when it is whole. The folder is made if there is none.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    place = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        yield place
        if place.is_dir() and target.exists():
            old = place.with_name(f"{place.name}.old")
            target.rename(old)
            place.rename(target)
            shutil.rmtree(old)
        else:
            place.replace(target)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        with suppress(OSError):
            place.unlink()
        raise


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Whose the files are here is nobody's business elsewhere."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
