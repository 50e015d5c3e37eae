"""Unpacking archives without trusting them: tar, compressed in any way that Python reads, and zip."""

import calendar
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from gzip import BadGzipFile
from pathlib import Path, PurePosixPath

from kserve_v2.errors import InvalidArgumentError, describe, without_directories

_CHUNK = 1024 * 1024
_ENCRYPTED = 1


class TooLargeError(InvalidArgumentError):
    """An archive has more in it than its bounds allow."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an archive may become, and how its members may be called.

    `size`: bytes of all files together; `members`: how many there may be; None for any number. `check_name` raises
    InvalidArgumentError for a name that is not wanted, beyond those that would leave the directory. `links`: whether a
    member may be a link to another one. `limit`: what `size` is, for errors.
    """

    size: int | None = None
    members: int | None = None
    check_name: Callable[[str], None] | None = None
    links: bool = True
    limit: str = "which is what there is room for"


def unpack(archive: Path, into: Path, shown: str, bounds: Bounds = Bounds(), advice: str = "") -> None:
    """Unpack an archive into a directory that is made for it. `shown`: what errors call the archive. `advice`: what to
    do about one that is refused.

    Members that would leave the directory, by their names or by links, and devices are refused. Raises
    InvalidArgumentError, TooLargeError where only the bound of the size is in the way, OSError where there is no room;
    what has been unpacked by then is there.
    """
    into.mkdir()
    tally = _Tally(shown, bounds)
    if not archive.stat().st_size:
        raise InvalidArgumentError(f"{shown} cannot be unpacked: it is empty")
    is_tar = is_tar_file(archive)
    if not is_tar and not zipfile.is_zipfile(archive):
        raise InvalidArgumentError(
            f"{shown} cannot be unpacked: it is neither a zip nor a tar file, or not whole"
        )
    try:
        if is_tar:
            _unpack_tar(archive, into, tally)
        else:
            _unpack_zip(archive, into, tally)
    except tarfile.FilterError as error:
        reason = without_directories(str(error))
        raise InvalidArgumentError(
            f"{shown} is not unpacked: {reason}{f'. {advice}' if advice else ''}"
        ) from error
    except (OSError, InvalidArgumentError) as error:
        if not isinstance(error, BadGzipFile):
            raise
        raise _damaged(shown, error) from error
    except Exception as error:  # whatever a decompressor raises
        raise _damaged(shown, error) from error


class _Tally:
    """Counts what is unpacked, and refuses what goes beyond the bounds."""

    def __init__(self, shown: str, bounds: Bounds) -> None:
        self.shown = shown
        self._bounds = bounds
        self._size = self._members = 0

    def refused(self, why: str) -> InvalidArgumentError:
        """The error for an archive that is not unpacked."""
        return InvalidArgumentError(f"{self.shown} is not unpacked: {why}")

    def add(self, name: str, size: int, *, link: bool = False) -> None:
        """One more member. Raises InvalidArgumentError."""
        self._members += 1
        self._size += size
        limit, most = self._bounds.size, self._bounds.members
        if limit is not None and self._size > limit:
            refused = self.refused(f"its files are larger than {limit} bytes together, {self._bounds.limit}")
            raise TooLargeError(refused.message)
        if most is not None and self._members > most:
            raise self.refused(f"it has more than {most} members, and that many are too many for one archive")
        if link and not self._bounds.links:
            raise self.refused(f"its member '{name}' is a link")
        if self._bounds.check_name is not None:
            try:
                self._bounds.check_name(name)
            except InvalidArgumentError as error:
                raise self.refused(error.message) from error


def _damaged(shown: str, error: Exception) -> InvalidArgumentError:
    return InvalidArgumentError(f"{shown} cannot be unpacked: {describe(error)}")


# --- zip ------------------------------------------------------------------------------------------------------------


def _unpack_zip(archive: Path, into: Path, tally: _Tally) -> None:
    with zipfile.ZipFile(archive) as packed:
        members = packed.infolist()
        names = set[PurePosixPath]()
        # All are looked at before anything is written.
        for member in members:
            name = _zip_name(member, tally)
            if name in names:
                raise tally.refused(f"it has two members called '{member.filename}'")
            names.add(name)
            tally.add(member.orig_filename, member.file_size)
        for member in members:
            place = into.joinpath(*PurePosixPath(member.filename).parts)
            if member.is_dir():
                place.mkdir(parents=True, exist_ok=True)
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            # Python reads no more than the size that was announced, and compares the checksum.
            with packed.open(member) as source, place.open("xb") as target:
                shutil.copyfileobj(source, target, _CHUNK)
            written_s = _time_of(member)
            os.utime(place, (written_s, written_s))
            if member.external_attr >> 16 & stat.S_IXUSR:
                place.chmod(place.stat().st_mode | stat.S_IXUSR)


def _time_of(member: zipfile.ZipInfo) -> int:
    """When a member was written, as if the clock had been UTC's: a zip does not say which it was."""
    try:
        return calendar.timegm((*member.date_time, 0, 0, 0))
    except ValueError:  # a month 0, for example
        return 0


def _zip_name(member: zipfile.ZipInfo, tally: _Tally) -> PurePosixPath:
    """The name of a member that may be unpacked. Raises InvalidArgumentError for any other."""
    # Python cuts names at NUL, and takes a backslash for a slash on Windows.
    name = member.orig_filename
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or "\\" in name or not path.parts:
        shown = name.replace("\0", "\\0")
        raise tally.refused(f"its member '{shown}' would lie outside of it")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "a link" if kind == stat.S_IFLNK else "a device or pipe"
        raise tally.refused(f"its member '{name}' is {what}")
    if member.flag_bits & _ENCRYPTED:
        raise tally.refused(f"its member '{name}' is encrypted")
    return path


# --- tar ------------------------------------------------------------------------------------------------------------


def open_tar(archive: Path) -> tarfile.TarFile:
    """An archive whose headers have to be in order. Raises TarError, OSError, and what decompressors raise."""
    return tarfile.open(archive, tarinfo=_Member)


def is_tar_file(archive: Path) -> bool:
    """Whether a file begins as a tar does, compressed or not. Raises OSError."""
    try:
        open_tar(archive).close()
    except OSError:
        raise
    except Exception:  # noqa: BLE001 - whatever a decompressor raises
        return False
    return True


def _unpack_tar(archive: Path, into: Path, tally: _Tally) -> None:
    if not hasattr(tarfile, "data_filter"):
        raise tally.refused("that is safe from Python 3.11.4 on; name a directory instead")
    members = _Members(tally)
    with open_tar(archive) as tar:
        tar.extractall(into, filter=members.accept)  # noqa: S202 - it is filtered
        # The checksum of what is compressed stands at its end.
        while tar.fileobj is not None and tar.fileobj.read(_CHUNK):
            pass


# Long names, and whatever else is said of a member before it, are read at once.
_TOLD = frozenset(
    {
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
    }
)
_MOST_TOLD = 1024 * 1024


class _Member(tarfile.TarInfo):
    """A member whose header has to be in order. Python takes one that is not for the end of the archive, and an
    archive without the rest for whole.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Member":
        """Read a header. Raises ReadError, HeaderError."""
        member = super().frombuf(buf, encoding, errors)
        if member.type in _TOLD and member.size > _MOST_TOLD:
            raise tarfile.ReadError(f"what it says of a member takes {member.size} bytes")
        return member

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
    Programs that pack do not do that, and by it some versions of the filter can be deceived.
    """

    def __init__(self, tally: _Tally) -> None:
        self._tally = tally
        self._links: set[PurePosixPath] = set()

    def accept(self, member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
        """The member as it is unpacked; None for one that needs not be. Raises FilterError or InvalidArgumentError."""
        if member.isdir() and not PurePosixPath(member.name).parts:
            # The directory itself, as in `tar -C model -czf model.tar.gz .`
            return None
        self._tally.add(member.name, member.size, link=member.issym() or member.islnk())
        checked = tarfile.data_filter(member, path)
        name = PurePosixPath(checked.name)
        used = [name, *name.parents]
        if checked.islnk():
            target = PurePosixPath(checked.linkname)
            used += target.parents
        if not self._links.isdisjoint(used) or ".." in name.parts:
            raise self._tally.refused(f"its member '{member.name}' goes through a link of the archive's own")
        if checked.issym():
            self._links.add(name)
        return checked
