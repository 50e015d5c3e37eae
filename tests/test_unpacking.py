"""Unpacking archives that nobody vouches for."""

import gzip
import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.unpacking import unpack

Write = Callable[[tarfile.TarFile], None]


def file(name: str, text: str = "text", mode: int = 0o644) -> Write:
    def write(tar: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(text), mode
        tar.addfile(member, io.BytesIO(text.encode()))

    return write


def other(name: str, kind: bytes, target: str = "") -> Write:
    def write(tar: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        tar.addfile(member)

    return write


def link(name: str, target: str) -> Write:
    return other(name, tarfile.SYMTYPE, target)


def hard(name: str, target: str) -> Write:
    return other(name, tarfile.LNKTYPE, target)


def pack(path: Path, *members: Write, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for member in members:
            member(tar)
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_an_environment_is_unpacked(tmp_path: Path, mode: str) -> None:
    archive = pack(
        tmp_path / "env.tar",
        file("bin/python3.9", "#!", 0o755),
        link("bin/python", "python3.9"),
        file("lib/libz.so.1"),
        link("lib/libz.so", "libz.so.1"),
        hard("lib/libz.so.1.2", "lib/libz.so.1"),
        link("lib64", "lib"),
        link("share/terminfo", "../lib/terminfo"),
        other("lib/empty", tarfile.DIRTYPE),
        mode=mode,
    )
    unpack(archive, tmp_path / "env", "env.tar")
    env = tmp_path / "env"
    assert os.access(env / "bin" / "python", os.X_OK)
    assert not os.access(env / "lib" / "libz.so", os.X_OK) or os.geteuid() == 0
    assert (env / "lib64" / "libz.so.1.2").read_text() == "text"
    assert (env / "lib" / "empty").is_dir()
    assert (env / "share" / "terminfo").readlink() == Path("../lib/terminfo")


@pytest.mark.parametrize(
    "members",
    [
        pytest.param([file("../outside")], id="a name that goes up"),
        pytest.param([file("a/../../outside")], id="a name that goes down and up"),
        pytest.param([file("a/../b")], id="a name that goes up inside"),
        pytest.param([link("a", "/etc")], id="an absolute link"),
        pytest.param([link("a", "..")], id="a link that goes up"),
        pytest.param([link("b/a", "../../x")], id="a link that goes up from below"),
        pytest.param([hard("a", "../victim")], id="a hard link that goes up"),
        pytest.param([hard("a", "/etc/passwd")], id="an absolute hard link"),
        pytest.param([other("a", tarfile.CHRTYPE)], id="a character device"),
        pytest.param([other("a", tarfile.BLKTYPE)], id="a block device"),
        pytest.param([other("a", tarfile.FIFOTYPE)], id="a pipe"),
        # What Python's filter may let pass.
        pytest.param([link("a", "b"), file("a/x")], id="a file through a link"),
        pytest.param([link("a", "b"), link("a/c", "d")], id="a link through a link"),
        pytest.param([link("a", "b"), hard("c", "a/x")], id="a hard link through a link"),
        pytest.param([link("a", "b"), file("a")], id="a file that is written through a link"),
        pytest.param([link("./a", "b"), file("a/./x")], id="a file through a link, by another name"),
    ],
)
def test_what_would_leave_the_directory_is_refused(tmp_path: Path, members: list[Write]) -> None:
    (tmp_path / "victim").write_text("untouched")
    (tmp_path / "in").mkdir()
    archive = pack(tmp_path / "env.tar.gz", *members)
    with pytest.raises(InvalidArgumentError, match=r"^env\.tar\.gz is not unpacked: "):
        unpack(archive, tmp_path / "in" / "env", "env.tar.gz")
    assert (tmp_path / "victim").read_text() == "untouched"
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["env.tar.gz", "victim"]


def test_an_absolute_name_is_taken_as_one_inside(tmp_path: Path) -> None:
    archive = pack(tmp_path / "env.tar.gz", file("/etc/ours"))
    unpack(archive, tmp_path / "env", "env.tar.gz")
    assert (tmp_path / "env" / "etc" / "ours").exists()


def test_no_privileges_are_unpacked(tmp_path: Path) -> None:
    archive = pack(tmp_path / "env.tar.gz", file("tool", mode=0o6777))
    unpack(archive, tmp_path / "env", "env.tar.gz")
    assert (tmp_path / "env" / "tool").stat().st_mode & 0o7022 == 0


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_what_is_said_of_a_member_is_short(tmp_path: Path, kind: bytes) -> None:
    """It is read at once, and may be compressed a thousand times."""
    member = tarfile.TarInfo("said")
    member.type, member.size = kind, 64 * 1024 * 1024
    content = member.tobuf(tarfile.GNU_FORMAT) + bytes(2 * 1024 * 1024)
    archive = tmp_path / "env.tar.gz"
    archive.write_bytes(gzip.compress(content))
    with pytest.raises(InvalidArgumentError, match=r"^env\.tar\.gz cannot be unpacked: "):
        unpack(archive, tmp_path / "env", "env.tar.gz")
    archive.write_bytes(gzip.compress(tarfile.TarInfo("first").tobuf() + content))
    with pytest.raises(InvalidArgumentError, match="what it says of a member takes 67108864 bytes"):
        unpack(archive, tmp_path / "other", "env.tar.gz")


def test_an_archive_that_ends_in_its_first_header_is_an_error(tmp_path: Path) -> None:
    archive = pack(tmp_path / "env.tar.gz", file("big", os.urandom(1000).hex()))
    content = archive.read_bytes()
    for size in (15, 40, 100):
        archive.write_bytes(content[:size])
        with pytest.raises(InvalidArgumentError, match=r"^env\.tar\.gz cannot be unpacked: \w+"):
            unpack(archive, tmp_path / f"env-{size}", "env.tar.gz")


@pytest.mark.parametrize("damage", ["short", "checksum", "garbage"])
def test_a_damaged_archive_is_an_error(tmp_path: Path, damage: str) -> None:
    archive = pack(tmp_path / "env.tar.gz", file("big", os.urandom(100_000).hex()), file("more"))
    content = bytearray(archive.read_bytes())
    if damage == "short":
        content = content[:-1000]
    elif damage == "checksum":
        content[-8] ^= 1
    else:
        whole = gzip.decompress(content)
        content = bytearray(gzip.compress(whole[:150_000] + b"x" * 100_000))
    archive.write_bytes(content)
    with pytest.raises(InvalidArgumentError, match=r"^env\.tar\.gz cannot be unpacked: \w+"):
        unpack(archive, tmp_path / "env", "env.tar.gz")


def test_times_and_modes_of_a_zip_are_kept(tmp_path: Path) -> None:
    archive = tmp_path / "model.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for name, when, mode in (
            ("1/model.py", (2020, 2, 3, 4, 5, 6), 0o644),
            ("1/tool", (1980, 0, 0, 0, 0, 0), 0o755),
        ):
            member = zipfile.ZipInfo(name, when)
            member.external_attr = mode << 16
            packed.writestr(member, name)
    unpack(archive, tmp_path / "model", "model.zip")
    model, tool = (tmp_path / "model" / "1" / name for name in ("model.py", "tool"))
    assert model.stat().st_mtime == datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC).timestamp()
    assert tool.stat().st_mtime == 0
    assert (model.stat().st_mode & 0o100, tool.stat().st_mode & 0o100) == (0, 0o100)
