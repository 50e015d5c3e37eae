"""Whether the files of a version are still those that it was prepared from, wherever they lie."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kserve_v2.plugins import BackendRegistry
from kserve_v2.repository.models.spec import Prepared
from kserve_v2.repository.preparing.candidate import Candidate, Override, outdated, read_candidate
from kserve_v2.repository.preparing.options import RepositoryOptions
from kserve_v2.repository.preparing.prepare import prepare_version
from kserve_v2.repository.uploads.store import Uploads

CHANGED = "its files have changed since it was loaded: load it again"
FILES = {
    "1/model.py": "one",
    "1/deep/weights": "w",
    "2/model.py": "two",
    "labels.txt": "a",
    "config.pbtxt": "# a",
}


def write(top: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    return top


def found(tmp_path: Path) -> Candidate:
    return read_candidate("m", RepositoryOptions((tmp_path / "models",)))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return write(tmp_path / "models" / "m", FILES)


# What is done to the directory, and which versions that makes others.
EDITS: dict[str, tuple[Callable[[Path], object], list[int]]] = {
    "nothing": (lambda _: None, []),
    "a file": (lambda top: (top / "1/model.py").write_text("other"), [1]),
    "a deeper file": (lambda top: (top / "1/deep/weights").write_text("heavier"), [1]),
    "a file more": (lambda top: (top / "2/helper.py").write_text(""), [2]),
    "a file less": (lambda top: (top / "1/deep/weights").unlink(), [1]),
    "a version less": (lambda top: shutil.rmtree(top / "2"), [2]),
    "a version more": (lambda top: write(top, {"3/model.py": ""}), []),
    "a file beside the versions": (lambda top: (top / "labels.txt").write_text("a\nb"), [1, 2]),
    "the configuration": (lambda top: (top / "config.pbtxt").write_text("# something else"), []),
    "a release": (lambda top: (top / "release.json").write_text("{}"), []),
    "what Python writes": (lambda top: write(top, {"1/__pycache__/model.pyc": ""}), []),
    "a hidden file": (lambda top: write(top, {"1/.swp": "", ".swp": ""}), []),
}


@pytest.mark.parametrize("edit", EDITS)
def test_what_of_a_directory_a_version_is_made_of(tmp_path: Path, directory: Path, edit: str) -> None:
    change, others = EDITS[edit]
    candidate = found(tmp_path)
    change(directory)
    assert [version for version in (1, 2) if outdated(candidate, version)] == others
    assert {outdated(candidate, version) for version in others} <= {CHANGED}


def test_files_that_are_put_back_are_the_same(tmp_path: Path, directory: Path) -> None:
    candidate = found(tmp_path)
    directory.rename(tmp_path / "away")
    assert outdated(candidate, 1) == (
        "its files are not as they were when it was loaded: model directory cannot be read: No such file or directory"
    )
    (tmp_path / "away").rename(directory)
    assert outdated(candidate, 1) == ""


def test_uploaded_files_are_their_own(tmp_path: Path, directory: Path) -> None:
    uploads = Uploads(tmp_path)
    try:
        folder = uploads.write("m", {"file:1/model.py": b"sent", "file:labels.txt": b"a"})
        options = RepositoryOptions((directory.parent,))
        candidate = read_candidate("m", options, Override("{}"), folder)
        shutil.rmtree(directory)
        assert outdated(candidate, 1) == ""
        (folder.path / "1" / "model.py").write_text("somebody else's")
        assert outdated(candidate, 1) == CHANGED
    finally:
        uploads.close()


def test_a_backend_is_told(tmp_path: Path) -> None:
    handler = (
        "class Model:\n    inputs = outputs = {'x': ('FP32', [1])}\n    def __call__(self, i): return i\n"
    )
    directory = write(tmp_path / "models" / "m", {"1/model.py": handler})
    options = RepositoryOptions((directory.parent,))
    prepared = prepare_version(read_candidate("m", options), 1, options, BackendRegistry())
    assert isinstance(prepared, Prepared)
    assert prepared.source.outdated() == ""
    (directory / "1" / "model.py").write_text(handler + "# edited")
    assert prepared.source.outdated() == CHANGED
