"""Unpacking an archive of an environment, without trusting it."""

import tarfile
from gzip import BadGzipFile
from pathlib import Path, PurePosixPath

from kserve_v2.errors import InvalidArgumentError, describe, without_directories

_CHUNK = 1024 * 1024


def unpack(archive: Path, into: Path, shown: str) -> None:
    """Unpack a tar archive, compressed in any way that Python reads, into a directory that is made for it. `shown`:
    what errors call the archive.

    Members that would leave the directory, by their names or by links, and devices are refused: Python's filter `data`
    does that, and `_Members` what it has overlooked. Raises InvalidArgumentError, OSError where there is no room; what
    has been unpacked by then is there.
    """
    if not hasattr(tarfile, "data_filter"):
        raise InvalidArgumentError(
            f"{shown} is not unpacked: that is safe from Python 3.11.4 on; name a directory instead"
        )
    into.mkdir()
    members = _Members(shown)
    try:
        with tarfile.open(archive, tarinfo=_Member) as tar:
            tar.extractall(into, filter=members.accept)  # noqa: S202 - it is filtered
            # The checksum of what is compressed stands at its end.
            while tar.fileobj is not None and tar.fileobj.read(_CHUNK):
                pass
    except tarfile.FilterError as error:
        raise InvalidArgumentError(
            f"{shown} is not unpacked: {without_directories(str(error))}. Pack environments with conda-pack, or unpack "
            "it yourself and name the directory"
        ) from error
    except (OSError, InvalidArgumentError) as error:
        if not isinstance(error, BadGzipFile):
            raise
        raise _damaged(shown, error) from error
    except Exception as error:  # whatever a decompressor raises
        raise _damaged(shown, error) from error


def _damaged(shown: str, error: Exception) -> InvalidArgumentError:
    return InvalidArgumentError(f"{shown} cannot be unpacked: {describe(error)}")


class _Member(tarfile.TarInfo):
    """A member whose header has to be in order. Python takes one that is not for the end of the archive, and an
    environment without the rest for whole.
    """

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> "_Member":
        """Read the next header. Raises ReadError, and EOFHeaderError at the end."""
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.HeaderError as error:
            if type(error).__name__ == "EOFHeaderError":
                raise
            raise tarfile.ReadError(f"the archive is damaged, or not whole: {error}") from error


class _Members:
    """What Python's filter is asked, and what it leaves open: nothing is written through a link of the archive's own.
    Programs that pack environments do not do that, and by it some versions of the filter can be deceived.
    """

    def __init__(self, shown: str) -> None:
        self._shown = shown
        self._links: set[PurePosixPath] = set()

    def accept(self, member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
        """The member as it is unpacked. Raises FilterError or InvalidArgumentError."""
        checked = tarfile.data_filter(member, path)
        name = PurePosixPath(checked.name)
        used = [name, *name.parents]
        if checked.islnk():
            target = PurePosixPath(checked.linkname)
            used += target.parents
        if not self._links.isdisjoint(used) or ".." in name.parts:
            raise InvalidArgumentError(
                f"{self._shown} is not unpacked: its member '{member.name}' goes through a link of the archive's own"
            )
        if checked.issym():
            self._links.add(name)
        return checked
