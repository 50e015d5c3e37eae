"""Names of uploaded files, and the folders that they are written to."""

import os
import resource
import stat
import string
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_v2.errors import InternalError, InvalidArgumentError, UnavailableError
from kserve_v2.repository.temporary_folder import remove_leftovers
from kserve_v2.repository.uploads import names as names_of_files
from kserve_v2.repository.uploads.names import upload_paths
from kserve_v2.repository.uploads.store import Uploads


@pytest.mark.parametrize(
    "names",
    [
        ["file:1/model.py"],
        ["file:1/model.py", "file:1/a/b", "file:1/a/c", "file:2/model.py", "file:labels.txt"],
        ["file:1/...", "file:1/..a", "file:1/a..", "file:1/ a b ", "file:1/.hidden", "file:1/modèle 模型.py"],
        ["file:1/" + "x" * 255],
        ["file:initial_state/ten"],
        ["file:1/config.pbtxt"],
        [],
    ],
)
def test_names_of_files(names: list[str]) -> None:
    assert upload_paths(names) == {name: PurePosixPath(name.removeprefix("file:")) for name in names}


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["1/model.py"], "unrecognized load parameter '1/model.py'."),
        (["File:1/model.py"], "unrecognized load parameter 'File:1/model.py'."),
        (["file:"], "without empty parts"),
        (["file:1/"], "without empty parts"),
        (["file:1//model.py"], "without empty parts"),
        (["file:./1/model.py"], "without empty parts"),
        (["file:1/."], "without empty parts"),
        (["file:.."], "path traversal"),
        (["file:../model.py"], "path traversal"),
        (["file:1/../2/model.py"], "path traversal"),
        (["file:1/.."], "path traversal"),
        (["file:/etc/passwd"], "not an absolute one"),
        (["file://etc/passwd"], "not an absolute one"),
        (["file:C:/x"], "not an absolute one"),
        (["file:C:x"], "not an absolute one"),
        (["file:\\\\host\\share\\x"], "not an absolute one"),
        (["file:1\\..\\x"], "and no \\"),
        (["file:01/model.py"], "versions are 1, 2 and so on, and '01' is none of them"),
        (["file:0/model.py"], "versions are 1, 2 and so on, and '0' is none of them"),
        (["file:1/a\0"], "control characters"),
        (["file:1/a\n"], "control characters"),
        (["file:1/\ud800"], "control characters"),
        (["file:1/" + "x" * 256], "too long"),
        (["file:1/" + "é" * 128], "too long"),
        (["file:1" + "/" + "/".join(["x" * 200] * 11)], "too long"),
        (["file:" + "/".join(["1"] * 33)], "too deep"),
        (["file:config.pbtxt"], "is not read"),
        (["file:CONFIG.pbtxt"], "is not read"),
        (["file:configs/other.pbtxt"], "is not read"),
        (["file:1/model.py", "file:1/Model.py"], "same file"),
        (["file:1/\u00e9", "file:1/e\u0301"], "same file"),
        (["file:1/stra\u00dfe", "file:1/STRASSE"], "same file"),
        (["file:1/a", "file:1/a/b"], "lies below"),
        (["file:1/a/b", "file:1/a"], "lies below"),
        (["file:1/A/b", "file:1/a"], "lies below"),
    ],
)  # fmt: skip
def test_names_that_are_refused(names: list[str], why: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        upload_paths(names)
    assert why in caught.value.message
    assert caught.value.message.isprintable()


def test_so_many_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names_of_files, "MAX_FILES", 10)
    names = [f"file:1/{number}" for number in range(11)]
    assert len(upload_paths(names[:-1])) == 10
    with pytest.raises(InvalidArgumentError, match="more than"):
        upload_paths(names)


@pytest.fixture
def uploads(tmp_path: Path) -> Iterator[Uploads]:
    made = Uploads(tmp_path)
    yield made
    made.close()
    assert not [*tmp_path.iterdir()]


ALPHABET = string.ascii_letters[:4] + "./\\:~\0\n é" + "\u0301"


@pytest.mark.slow
@given(st.lists(st.text(ALPHABET, max_size=8).map("file:".__add__), max_size=4))
def test_whatever_the_names_nothing_is_written_elsewhere(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    uploads = Uploads(outside)
    try:
        folder = uploads.write("m", {name: name.encode("utf-8", "surrogatepass") for name in names})
    except InvalidArgumentError:
        assert not [*outside.glob("*/*")]
    else:
        written = {path.relative_to(folder.path) for path in folder.path.rglob("*") if path.is_file()}
        assert written == {Path(name.removeprefix("file:")) for name in names}
        inside = [path for path in outside.rglob("*") if path.is_file()]
        assert all(path.is_relative_to(folder.path) for path in inside)
    uploads.close()
    assert not [*outside.iterdir()]


def test_each_load_has_a_folder_of_its_own(uploads: Uploads, tmp_path: Path) -> None:
    assert not [*tmp_path.iterdir()]
    first, second = (uploads.write("m", {"file:1/x": content}) for content in (b"a", b"b"))
    assert (first.path / "1/x").read_bytes() == b"a"
    assert (second.path / "1/x").read_bytes() == b"b"
    first.remove()
    assert not first.path.parent.exists()
    assert (second.path / "1/x").exists()
    (root,) = tmp_path.iterdir()
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


def test_what_cannot_be_written_leaves_nothing_behind(uploads: Uploads, tmp_path: Path) -> None:
    with pytest.raises(InternalError) as caught:
        uploads.write("m" * 300, {"file:1/x": b""})
    assert "File name too long" in caught.value.message
    assert str(tmp_path) not in caught.value.message
    assert not [*tmp_path.glob("*/*")]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
def test_a_disk_without_room(uploads: Uploads, tmp_path: Path) -> None:
    uploads.write("m", {"file:1/x": b"x" * 4096})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(InternalError) as caught:
            uploads.write("m", {"file:1/small": b"x", "file:1/large": b"x" * 4097})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.message == (
        "the files of model 'm' cannot be kept in the server's directory for temporary files: File too large"
    )
    assert len([*tmp_path.glob("*/*")]) == 1


def test_nothing_is_written_once_it_is_closed(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path)
    uploads.write("m", {"file:1/x": b""})
    uploads.close()
    with pytest.raises(UnavailableError):
        uploads.write("m", {"file:1/x": b""})
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("of", ["uploads", "models", "torchserve"])
def test_leftovers(uploads: Uploads, tmp_path: Path, of: str) -> None:
    folder = uploads.write("m", {"file:1/x": b""})
    left = tmp_path / f"kserve-v2-{of}-left"
    (left / "1" / "m" / "1").mkdir(parents=True)
    (left / "1" / "m" / "1" / "x").write_bytes(b"x")
    other = tmp_path / "something-else"
    other.mkdir()
    remove_leftovers(tmp_path)
    assert not left.exists()
    assert other.exists()
    assert folder.path.exists()
    remove_leftovers(tmp_path / "nowhere")
    other.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_what_is_somebody_else_s_is_left_alone(tmp_path: Path) -> None:
    left = tmp_path / "kserve-v2-uploads-left"
    left.mkdir()
    os.chown(left, 12345, 12345)
    remove_leftovers(tmp_path)
    assert left.exists()
