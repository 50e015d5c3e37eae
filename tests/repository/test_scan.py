"""The scan of real directories."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.repository.reading.scan import ModelEntry, check_model_name, config_path, scan, scan_model


def make_model(root: Path, name: str, *versions: str) -> Path:
    model = root / name
    for version in versions or ("1",):
        (model / version).mkdir(parents=True)
        (model / version / "model.py").write_text("# a handler\n")
    (model / "config.pbtxt").write_text('backend: "python"\n')
    (model / "labels.txt").write_text("yes\nno\n")
    return model


def fingerprint(root: Path, name: str = "m") -> str:
    entry = scan_model([root], name)
    assert entry is not None
    return entry.fingerprint


def test_models_and_versions_of_several_repositories(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    make_model(first, "zebra", "1", "10", "2")
    make_model(second, "a model with spaces")
    make_model(second, "...three")
    make_model(second, "__pycache__")
    (second / "README.md").write_text("not a model\n")
    snapshot = scan([first, second])
    assert list(snapshot.models) == ["a model with spaces", "zebra"]
    entry = snapshot.models["zebra"]
    assert (entry.name, entry.path, entry.versions, entry.problem) == (
        "zebra",
        first / "zebra",
        (1, 2, 10),
        None,
    )
    with pytest.raises(TypeError):
        snapshot.models["zebra"] = entry  # type: ignore[index]


def test_only_decimals_without_leading_zero_are_versions(tmp_path: Path) -> None:
    model = make_model(
        tmp_path, "m", "1", "01", "0", "-3", "1.0", "v2", "configs", "².5", "٣", "9" * 19, "7" * 18
    )
    (model / "5").write_text("a file\n")
    entry = scan([tmp_path]).models["m"]
    assert entry.versions == (1, int("7" * 18))
    assert entry.problem is None


def test_a_name_in_two_repositories_is_a_problem(tmp_path: Path) -> None:
    roots = [tmp_path / "first", tmp_path / "second"]
    for root in roots:
        make_model(root, "m")
    expected = "model appears in two or more repositories"
    assert scan(roots).models["m"].problem == expected
    found = scan_model(roots, "m")
    assert found is not None
    assert found.problem == expected


def test_one_model_is_read_as_the_whole_repository_is(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    make_model(first, "m", "1", "2")
    make_model(first, "twice")
    make_model(second, "twice")
    make_model(second, ".hidden")
    make_model(second, "__pycache__")
    make_model(second, "two\nlines")
    make_model(second, "back\\slash")
    (second / "file").write_text("")
    (second / "link").symlink_to(first / "m")
    (second / "file_link").symlink_to(second / "file")
    (second / "nowhere").symlink_to(second / "missing")
    (second / "loop").symlink_to(second / "loop")
    models = scan([first, second]).models
    assert list(models) == ["link", "loop", "m", "nowhere", "twice"]
    for name in {path.name for path in (*first.iterdir(), *second.iterdir())} - {"back\\slash"}:
        assert scan_model([first, second], name) == models.get(name), name


def test_one_model_is_read_without_a_listing_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("m", "n", "o"):
        make_model(tmp_path, name)
    listed: list[str] = []
    scandir = os.scandir

    class Watched(Iterator[os.DirEntry[str]]):
        """What `os.scandir` gives, and which entries are taken from it."""

        def __init__(self, path: Path) -> None:
            self.entries = scandir(path)

        def __enter__(self) -> "Watched":
            return self

        def __exit__(self, *error: object) -> None:
            self.entries.close()

        def __iter__(self) -> Iterator[os.DirEntry[str]]:
            return self

        def __next__(self) -> os.DirEntry[str]:
            entry: os.DirEntry[str] = next(self.entries)
            listed.append(entry.path)
            return entry

    monkeypatch.setattr("kserve_v2.repository.reading.scan.os.scandir", Watched)
    assert scan_model([tmp_path], "m") is not None
    assert listed
    assert [path for path in listed if not path.startswith(f"{tmp_path}/m/")] == []


def test_a_repository_that_cannot_be_listed_has_no_models_to_miss(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        scan_model([tmp_path / "gone"], "m")


@pytest.mark.parametrize("name", ["missing", "M", "...", "..m", "m..1", "m ", "x" * 5000, ".hidden", "file"])
def test_a_name_that_no_repository_has(tmp_path: Path, name: str) -> None:
    make_model(tmp_path, "m")
    make_model(tmp_path, ".hidden")
    (tmp_path / "file").write_text("")
    assert scan_model([tmp_path], name) is None


@pytest.mark.parametrize("name", ["..", ".", " .. ", "../m", "/etc", "m/1", "a\\b", "m\0", "m/../m"])
def test_a_name_that_is_a_path_is_refused(tmp_path: Path, name: str) -> None:
    make_model(tmp_path, "m")
    with pytest.raises(InvalidArgumentError, match="must not contain path traversal characters"):
        scan_model([tmp_path], name)


@pytest.mark.parametrize("name", ["", " ", "\t\n"])
def test_an_empty_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        check_model_name(name)
    assert caught.value.message == "Model name cannot be empty. Please enter a valid name to deploy."


def test_links_in_the_repository_are_followed(tmp_path: Path) -> None:
    elsewhere = make_model(tmp_path / "elsewhere", "original", "3")
    root = tmp_path / "root"
    root.mkdir()
    (root / "linked").symlink_to(elsewhere, target_is_directory=True)
    partly = make_model(root, "partly")
    (partly / "8").symlink_to(elsewhere / "3", target_is_directory=True)
    models = scan([root]).models
    assert (models["linked"].versions, models["linked"].path) == ((3,), root / "linked")
    assert models["partly"].versions == (1, 8)


def test_what_cannot_be_read_is_a_problem_of_its_model_alone(tmp_path: Path) -> None:
    make_model(tmp_path, "good")
    model = make_model(tmp_path, "half", "1")
    (model / "2").symlink_to("2")
    (model / "4").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("nowhere")
    models = scan([tmp_path]).models
    assert models["good"].problem is None
    assert models["half"].versions == (1,)
    assert models["half"].problem == (
        "version 2 cannot be read: Too many levels of symbolic links; "
        "version 4 cannot be read: it is a link to something that does not exist"
    )
    assert models["loop"].problem == "model directory cannot be read: Too many levels of symbolic links"
    assert (
        models["gone"].problem
        == "model directory cannot be read: it is a link to something that does not exist"
    )


def test_a_file_that_is_a_link_to_nowhere_is_named(tmp_path: Path) -> None:
    (make_model(tmp_path, "m", "1") / "1" / "model.onnx").symlink_to("blobs/gone")
    assert scan([tmp_path]).models["m"].problem == (
        "version 1 cannot be read: 1/model.onnx: it is a link to something that does not exist"
    )


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_version_without_permission_is_a_problem(tmp_path: Path) -> None:
    version = make_model(tmp_path, "m", "1", "2") / "2"
    version.chmod(0)
    entry = scan([tmp_path]).models["m"]
    version.chmod(0o755)
    assert (entry.versions, entry.problem) == ((1,), "version 2 cannot be read: Permission denied")


def test_names_that_cannot_be_shown_are_left_out(tmp_path: Path) -> None:
    make_model(tmp_path, "line\nbreak")
    make_model(tmp_path, os.fsdecode(b"not-utf8-\xff"))
    make_model(tmp_path, "größe")
    make_model(tmp_path, "back\\slash")
    make_model(tmp_path, "  ")
    (tmp_path / "file\nbreak").touch()
    found = scan([tmp_path])
    assert list(found.models) == ["größe"]
    # But not in silence.
    assert [str(each).partition(" has ")[0] for each in found.skipped] == [
        "'  '",
        r"'back\slash'",
        r"'line\nbreak'",
        r"'not-utf8-\udcff'",
    ]
    assert [each.name for each in found.skipped if "rename it" in each.reason] == [
        "  ",
        "back\\slash",
        "line\nbreak",
        os.fsdecode(b"not-utf8-\xff"),
    ]


def test_a_missing_repository_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        scan([tmp_path / "missing"])


def test_the_fingerprint_is_the_same_until_a_file_changes(tmp_path: Path) -> None:
    model = make_model(tmp_path, "m", "1", "2")
    (model / "1" / "weights").mkdir()
    before = fingerprint(tmp_path)
    assert fingerprint(tmp_path) == before
    (model / "1" / ".hidden").write_text("x")
    (model / "1" / "__pycache__").mkdir()
    (model / "1" / "__pycache__" / "model.pyc").write_text("x")
    (model / "notes").mkdir()
    (model / "notes" / "todo.txt").write_text("x")
    # By what backups and administrators do to files, nothing of a model changes.
    (model / "1" / "model.py").chmod(0o600)
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / "model.py").hardlink_to(model / "1" / "model.py")
    assert fingerprint(tmp_path) == before


def touch_later(path: Path) -> None:
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def replace_alike(path: Path) -> None:
    """Another content, but what a directory tells of it."""
    other = path.with_name("other")
    other.write_bytes(path.read_bytes()[::-1])
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)


CHANGES: dict[str, Callable[[Path], object]] = {
    "config": lambda model: touch_later(model / "config.pbtxt"),
    "config removed": lambda model: (model / "config.pbtxt").unlink(),
    "labels": lambda model: (model / "labels.txt").write_text("yes\nno\nperhaps\n"),
    "named config": lambda model: touch_later(model / "configs" / "small.pbtxt"),
    "initial state": lambda model: touch_later(model / "initial_state" / "zeros"),
    "model file": lambda model: touch_later(model / "1" / "model.py"),
    "nested file": lambda model: touch_later(model / "1" / "weights" / "a.bin"),
    "new file": lambda model: (model / "1" / "vocab.txt").write_text(""),
    "a file as old and as large": lambda model: replace_alike(model / "1" / "model.py"),
    "renamed file": lambda model: (model / "1" / "model.py").rename(model / "1" / "model.pt"),
    "new version": lambda model: (model / "2").mkdir(),
    "removed version": lambda model: shutil.rmtree(model / "3"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_fingerprint_changes_with_every_file(tmp_path: Path, change: Callable[[Path], object]) -> None:
    model = make_files(tmp_path)
    before = fingerprint(tmp_path)
    change(model)
    assert fingerprint(tmp_path) != before


@pytest.mark.parametrize("link", ["m", "m/1", "m/1/weights", "m/1/model.py"])
def test_a_link_that_leads_elsewhere_is_a_change_though_times_and_sizes_are_the_same(
    tmp_path: Path, link: str
) -> None:
    root, releases = tmp_path / "models", tmp_path / "releases"
    for release in ("a", "b"):
        for path in make_files(releases / release).rglob("*"):
            os.utime(path, (0, 0))
    shutil.copytree(releases / "a", root)
    path = root / link
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    found = []
    for release in ("a", "a", "b"):
        path.unlink(missing_ok=True)
        path.symlink_to(releases / release / link)
        found.append(fingerprint(root))
    assert found[0] == found[1] != found[2]


def make_files(root: Path) -> Path:
    model = make_model(root, "m", "1", "3")
    (model / "configs").mkdir()
    (model / "configs" / "small.pbtxt").write_text("")
    (model / "initial_state").mkdir()
    (model / "initial_state" / "zeros").write_bytes(b"\0")
    (model / "1" / "weights").mkdir()
    (model / "1" / "weights" / "a.bin").write_bytes(b"\0")
    return model


# Whom the changes above concern.
CONCERNED: dict[str, set[str | int]] = {
    "a file as old and as large": {1},
    "config": {"configuration"},
    "config removed": {"configuration"},
    "labels": {"shared"},
    "named config": {"configuration"},
    "initial state": {"shared"},
    "model file": {1},
    "nested file": {1},
    "new file": {1},
    "renamed file": {1},
    "new version": {2},
    "removed version": {3},
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_concerns_one_version_or_all(tmp_path: Path, name: str) -> None:
    model = make_files(tmp_path)
    before = parts(tmp_path)
    CHANGES[name](model)
    after = parts(tmp_path)
    changed = {part for part in before | after if before.get(part) != after.get(part)}
    assert changed == CONCERNED[name]


def parts(root: Path) -> dict[str | int, str]:
    entry = scan_model([root], "m")
    assert entry is not None
    found = entry.fingerprints
    return {"configuration": found.configuration, "shared": found.shared, **found.versions}


def test_the_configuration_file(tmp_path: Path) -> None:
    model = make_model(tmp_path, "m")
    (model / "configs").mkdir()
    (model / "configs" / "small.pbtxt").write_text("")
    entry = ModelEntry("m", model, (1,))
    assert config_path(entry) == model / "config.pbtxt"
    assert config_path(entry, "small") == model / "configs" / "small.pbtxt"
    assert config_path(entry, "other") == model / "config.pbtxt"
    (model / "config.pbtxt").unlink()
    assert config_path(entry) is None
    assert config_path(entry, "other") is None


@pytest.mark.parametrize("name", ["config.pbtxt", "release.json"])
def test_what_is_no_file_is_there_all_the_same(tmp_path: Path, name: str) -> None:
    """Nothing reads it, but it is not as though it were not there."""
    model = make_model(tmp_path, "m")
    (model / name).unlink(missing_ok=True)
    seen = [fingerprint(tmp_path)]
    for make in (os.mkfifo, Path.mkdir, lambda path: path.symlink_to("gone")):
        make(model / name)
        seen.append(fingerprint(tmp_path))
        (model / name).rmdir() if (model / name).is_dir() else (model / name).unlink()
    assert len(set(seen)) == 4
    assert fingerprint(tmp_path) == seen[0]
