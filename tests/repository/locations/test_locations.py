"""Local folders of one model, ConfigMaps, archives, and what cannot be used."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from kserve_v2._generated.model_config_pb2 import ModelConfig, ModelOutput
from kserve_v2.config.files import is_within
from kserve_v2.errors import InvalidArgumentError, ServingError
from kserve_v2.repository.locations.locations import Locations
from kserve_v2.repository.preparing.candidate import outdated, read_candidate
from kserve_v2.repository.preparing.options import RepositoryOptions
from kserve_v2.repository.reading.class_labels import read_labels
from kserve_v2.repository.reading.scan import ModelEntry, scan
from tests.repository.locations.conftest import MakeLocations, Pack, config_map, write


def entry_of(locations: Locations, name: str) -> ModelEntry:
    return scan(locations.roots).models[name]


FLAT = {"model.py": "code", "config.pbtxt": "", "labels.txt": "a\nb", "deep/weights": "w"}


def test_a_flat_folder_is_version_1(tmp_path: Path, make_locations: MakeLocations) -> None:
    folder = write(tmp_path / "mounted", FLAT)
    locations = make_locations(folder, model_name="flowers")
    assert locations.names() == ["flowers"]
    locations.materialize("flowers")
    entry = entry_of(locations, "flowers")
    assert (entry.name, entry.path.name, entry.versions, entry.problem) == ("flowers", "flowers", (1,), None)
    for name, text in FLAT.items():
        assert (entry.path / "1" / name).read_text() == text
    assert (entry.path / "config.pbtxt").exists()
    # Labels lie beside the versions, and are within the model.
    assert is_within((entry.path / "labels.txt").resolve(), entry.path)
    assert not is_within(folder.parent.resolve() / "secret", entry.path)


def test_a_flat_folder_with_versions_is_the_model_itself(
    tmp_path: Path, make_locations: MakeLocations
) -> None:
    folder = write(tmp_path / "mounted", {"1/model.py": "one", "3/model.py": "three", "config.pbtxt": ""})
    locations = make_locations(folder, model_name="flowers")
    locations.materialize("flowers")
    assert entry_of(locations, "flowers").versions == (1, 3)
    # Nothing has to be made anew for a version that comes.
    write(folder, {"4/model.py": "four"})
    locations.refresh()
    assert entry_of(locations, "flowers").versions == (1, 3, 4)


def test_changes_of_a_flat_folder_are_seen(tmp_path: Path, make_locations: MakeLocations) -> None:
    folder = write(tmp_path / "mounted", FLAT)
    locations = make_locations(folder, model_name="m")
    locations.materialize("m")
    first = entry_of(locations, "m").fingerprint
    (folder / "deep" / "weights").write_text("heavier")
    second = entry_of(locations, "m").fingerprint
    write(folder, {"more.txt": ""})
    locations.refresh()
    third = entry_of(locations, "m")
    assert len({first, second, third.fingerprint}) == 3
    assert (third.path / "more.txt").exists()


@pytest.mark.parametrize("files", [["config.pbtxt", "1/model.py"], ["config.pbtxt", "1/deep/model.py"]])
def test_a_config_map_as_a_model_of_a_repository(
    tmp_path: Path, make_locations: MakeLocations, files: list[str]
) -> None:
    model = tmp_path / "models" / "m"
    config_map(model, "..2026_11_28", dict.fromkeys(files, "old"))
    locations = make_locations(tmp_path / "models")
    before = entry_of(locations, "m")
    assert before.versions == (1,)
    config_map(model, "..2026_11_29", dict.fromkeys(files, "newer"))
    after = entry_of(locations, "m")
    assert after.versions == (1,)
    assert after.fingerprints.versions[1] != before.fingerprints.versions[1]
    assert after.fingerprints.configuration != before.fingerprints.configuration


def test_a_config_map_as_a_version_and_as_a_repository(tmp_path: Path, make_locations: MakeLocations) -> None:
    version = tmp_path / "models" / "m" / "1"
    config_map(version, "..2026_11_28", {"model.py": "old", "deep/weights": "old"})
    whole = tmp_path / "whole"
    config_map(whole, "..2026_11_28", {"n/1/model.py": "old"})
    for folder, name in ((tmp_path / "models", "m"), (whole, "n")):
        assert [*scan([folder]).models] == [name]
    before = {name: scan([tmp_path / "models", whole]).models[name].fingerprint for name in ("m", "n")}
    # Only what lies behind a link to a directory changes.
    config_map(version, "..2026_11_29", {"model.py": "old", "deep/weights": "newer"})
    config_map(whole, "..2026_11_29", {"n/1/model.py": "newer"})
    after = {name: scan([tmp_path / "models", whole]).models[name].fingerprint for name in ("m", "n")}
    assert before["m"] != after["m"]
    assert before["n"] != after["n"]


def test_the_next_generation_of_a_config_map_is_not_what_was_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "m"
    config_map(folder, "..2026_11_28", {"1/model.py": "old"})
    candidate = read_candidate("m", RepositoryOptions((tmp_path / "models",)))
    assert outdated(candidate, 1) == ""
    config_map(folder, "..2026_11_29", {"1/model.py": "newer"})
    assert outdated(candidate, 1) != ""


def test_a_flat_config_map(tmp_path: Path, make_locations: MakeLocations) -> None:
    folder = tmp_path / "mounted"
    config_map(folder, "..2026_11_28", {"model.py": "old"})
    locations = make_locations(folder, model_name="m")
    locations.materialize("m")
    before = entry_of(locations, "m")
    assert sorted(path.name for path in before.path.iterdir()) == ["1", "model.py"]
    config_map(folder, "..2026_11_29", {"model.py": "newer"})
    locations.refresh()
    assert entry_of(locations, "m").fingerprints.versions[1] != before.fingerprints.versions[1]


def test_links_in_a_circle_are_no_end_of_the_world(tmp_path: Path) -> None:
    write(tmp_path / "models", {"m/1/deep/weights": ""})
    (tmp_path / "models" / "m" / "1" / "deep" / "up").symlink_to("..")
    assert scan([tmp_path / "models"]).models["m"].versions == (1,)


# --- archives -----------------------------------------------------------------------------------------------------


def test_a_staged_model_keeps_its_files_when_another_one_comes(
    tmp_path: Path, make_locations: MakeLocations, pack: Pack
) -> None:
    models = write(tmp_path / "archives", {"plain/1/model.py": ""})
    (models / "m.zip").write_bytes(pack.zip({"1/model.py": "1"}))
    locations = make_locations(models)
    locations.materialize("m")
    options = RepositoryOptions((models,), locations)
    candidate = read_candidate("m", options)
    (models / "m.zip").write_bytes(pack.zip({"1/model.py": "2"}))
    # As long as it is in use, its directory stays where it is.
    locations.refresh([candidate.entry.path])
    following = read_candidate("m", options)
    assert following.entry.path != candidate.entry.path
    assert outdated(candidate, 1) == outdated(following, 1) == ""


def test_archives_come_change_and_go(tmp_path: Path, make_locations: MakeLocations, pack: Pack) -> None:
    models = write(tmp_path / "models", {"plain/1/model.py": ""})
    (models / "z.zip").write_bytes(pack.zip({"1/model.py": "1", "2/model.py": "2"}))
    locations = make_locations(models)
    assert locations.names() == ["z"]
    locations.refresh()
    before = entry_of(locations, "z")
    assert set(scan(locations.roots).models) == {"plain", "z"}
    # All times in it are the same, and so are all sizes.
    (models / "z.zip").write_bytes(pack.zip({"1/model.py": "1", "2/model.py": "3"}))
    locations.refresh()
    after = entry_of(locations, "z")
    assert (after.path / "2" / "model.py").read_text() == "3"
    assert after.fingerprints.versions[1] == before.fingerprints.versions[1]
    assert after.fingerprints.versions[2] != before.fingerprints.versions[2]
    (models / "z.zip").unlink()
    locations.refresh()
    assert set(scan(locations.roots).models) == {"plain"}


def test_unpacking_makes_room_of_what_was_replaced(
    tmp_path: Path, make_locations: MakeLocations, pack: Pack
) -> None:
    archive = tmp_path / "models" / "m.zip"
    archive.parent.mkdir()

    def put(version: int) -> None:
        archive.write_bytes(pack.zip({"1/weights": f"{version}" * 100_000}))

    # For two of them, and one that is packed beside what it becomes.
    locations = make_locations(archive.parent, limit=350_000)
    for version in range(6):
        put(version)
        locations.materialize("m", () if version == 0 else [entry_of(locations, "m").path])
        assert (entry_of(locations, "m").path / "1" / "weights").read_text()[0] == str(version)
    # What is in use does not go, and the error says what there is room for; the next server begins with what is left.
    shown = entry_of(locations, "m").path
    archive.write_bytes(pack.zip({"1/weights": "w" * 150_000}))
    with pytest.raises(
        InvalidArgumentError, match=r"larger than \d+ bytes together, which is what there is room for"
    ):
        locations.materialize("m", [shown])
    assert (shown / "1" / "weights").read_text()[0] == "5"
    locations.close()
    locations = make_locations(archive.parent, limit=350_000)
    locations.materialize("m")
    assert (entry_of(locations, "m").path / "1" / "weights").stat().st_size == 150_000


def test_what_was_not_loaded_before_there_was_another_content_makes_room_for_that(
    tmp_path: Path, make_locations: MakeLocations, pack: Pack
) -> None:
    archive = tmp_path / "models" / "m.zip"
    archive.parent.mkdir()
    locations = make_locations(archive.parent, limit=350_000)

    def bring(version: int, *loaded: Path) -> Path:
        archive.write_bytes(pack.zip({"1/weights": f"{version}" * 100_000}))
        locations.materialize("m", loaded)
        return entry_of(locations, "m").path

    first = bring(1)
    second = bring(2, first)
    third = bring(3, first)
    assert (third / "1" / "weights").read_text()[0] == "3"
    assert first.exists()
    assert not second.exists()
    # What is not to be had leaves what is loaded, and takes no room.
    archive.write_bytes(pack.zip({"1/weights": "4" * 150_000}))
    with pytest.raises(InvalidArgumentError, match="which is what there is room for"):
        locations.materialize("m", [first])
    assert entry_of(locations, "m").path == first
    assert not third.exists()


def test_what_there_was_no_room_for_is_fetched_as_soon_as_there_is_more(
    tmp_path: Path, make_locations: MakeLocations, pack: Pack
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "first.zip").write_bytes(pack.zip({"1/weights": "1" * 150_000}))
    locations = make_locations(models, limit=350_000)
    locations.refresh()
    first = entry_of(locations, "first").path
    (models / "second.zip").write_bytes(pack.zip({"1/weights": "2" * 150_000}))
    for _ in range(2):
        locations.refresh([first])
        assert "which is what there is room for" in (locations.problem("second") or "")
    (models / "first.zip").unlink()
    locations.refresh([first])
    assert "which is what there is room for" in (locations.problem("second") or "")
    locations.refresh()
    assert locations.problem("second") is None
    assert set(scan(locations.roots).models) == {"second"}


def test_archives_that_are_unpacked_at_a_time_keep_to_the_limit_together(
    tmp_path: Path, make_locations: MakeLocations
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    for number in range(4):
        with zipfile.ZipFile(models / f"m{number}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            # Many, so that each takes longer than another needs to begin.
            for file in range(200):
                archive.writestr(f"1/{file}", "x" * 50_000)
    locations = make_locations(models, limit=25_000_000)
    locations.refresh()
    staged = scan(locations.roots).models
    assert len(staged) == 2
    used = sum(path.stat().st_size for path in (tmp_path / "staging").rglob("*") if path.is_file())
    assert 20_000_000 <= used <= 25_000_000
    refused = sorted({f"m{number}" for number in range(4)} - staged.keys())
    assert ["which is what there is room for" in (locations.problem(name) or "") for name in refused] == [
        True
    ] * 2


def test_a_folder_without_archives_needs_no_staging_folder(
    tmp_path: Path, make_locations: MakeLocations
) -> None:
    locations = make_locations(write(tmp_path / "models", {"plain/1/model.py": ""}))
    locations.refresh()
    locations.materialize("plain")
    assert not (tmp_path / "staging").exists()


def test_a_folder_and_an_archive_of_one_name_are_a_problem(
    tmp_path: Path, make_locations: MakeLocations, pack: Pack
) -> None:
    models = write(tmp_path / "models", {"z/1/model.py": ""})
    (models / "z.zip").write_bytes(pack.zip({"1/model.py": ""}))
    locations = make_locations(models)
    locations.refresh()
    assert entry_of(locations, "z").problem == "model appears in two or more repositories"
    (models / "z.tar").write_bytes(pack.tar({"1/model.py": ""}))
    # Others have nothing to do with that.
    (models / "other.zip").write_bytes(pack.zip({"1/model.py": ""}))
    assert list(locations.names()) == ["other", "z"]
    with pytest.raises(InvalidArgumentError, match=r"it is there twice, as z\.tar and as z\.zip"):
        locations.materialize("z")
    locations.refresh()
    assert "as z.tar and as z.zip" in (locations.problem("z") or "")
    (models / "z.tar").rename(models / "z.ZIP")
    with pytest.raises(InvalidArgumentError, match=r"it is there twice, as z\.ZIP and as z\.zip"):
        locations.materialize("z")
    assert entry_of(locations, "other").problem is None


def test_two_archives_of_torchserve_of_one_name_are_a_problem(
    tmp_path: Path, make_locations: MakeLocations
) -> None:
    models = write(tmp_path / "models", {"m.mar": "", "m.MAR": "", "other.mar": ""})
    locations = make_locations(models)
    locations.refresh()
    assert "as m.MAR and as m.mar: take one of them away" in (locations.problem("m") or "")
    with pytest.raises(InvalidArgumentError, match=r"it is there twice, as m\.MAR and as m\.mar"):
        locations.materialize("m")
    assert entry_of(locations, "other").problem is None
    (models / "m.MAR").unlink()
    locations.materialize("m")
    assert entry_of(locations, "m").problem is None


def test_what_is_shown_by_links_is_not_shown_in_the_place_of_something_else(
    tmp_path: Path, make_locations: MakeLocations
) -> None:
    models = write(
        tmp_path / "models",
        {"m.mar": "", "ml/model-settings.json": '{"name": "m", "implementation": "x.Y"}', "other.mar": ""},
    )
    locations = make_locations(models)
    for _ in range(2):
        locations.refresh()
        assert f"it is there twice, as {models}/ml/ and as {models}/m.mar" in (locations.problem("m") or "")
        with pytest.raises(InvalidArgumentError, match="it is there twice"):
            locations.materialize("m")
        assert all(not (root / "m").exists() for root in locations.roots)
        assert entry_of(locations, "other").problem is None
    (models / "ml" / "model-settings.json").unlink()
    locations.materialize("m")
    assert locations.problem("m") is None
    assert [root for root in locations.roots if (root / "m" / "1" / "m.mar").is_symlink()] != []


WRAPPED = {
    "m/1/model.py": "code",
    "m/config.pbtxt": "",
    "m/m/weights": "w",
    "__MACOSX/m/x": "",
    ".DS_Store": "",
}


@pytest.mark.parametrize("ending", ["zip", "tar.gz", "ZIP", "TAR.GZ", "Tgz"])
def test_an_archive_of_a_models_directory_is_the_model(
    tmp_path: Path, make_locations: MakeLocations, pack: Pack, ending: str
) -> None:
    """Most are made of a directory, and not of what is in it; its name is no matter."""
    models = tmp_path / "models"
    models.mkdir()
    (models / f"flowers.{ending}").write_bytes((pack.zip if ending in ("zip", "ZIP") else pack.tar)(WRAPPED))
    locations = make_locations(models)
    assert list(locations.names()) == ["flowers"]
    locations.materialize("flowers")
    entry = entry_of(locations, "flowers")
    assert entry.versions == (1,)
    assert (entry.path / "1" / "model.py").read_text() == "code"
    assert (entry.path / "m" / "weights").read_text() == "w"


def test_an_archive_of_a_repositorys_directory_is_the_repository(
    tmp_path: Path, make_locations: MakeLocations, pack: Pack
) -> None:
    archive = tmp_path / "models.zip"
    archive.write_bytes(
        pack.zip({"models/a/1/model.py": "", "models/b/1/model.py": "", "models/README.md": ""})
    )
    locations = make_locations(archive)
    locations.names()
    assert list(scan(locations.roots).models) == ["a", "b"]


def staged_files(locations: Locations, models: Path) -> tuple[Path, set[str]]:
    """Where the model `flowers` is put together, and its files."""
    locations.materialize("flowers")
    [root] = [root for root in locations.roots if root != models]
    top = root / "flowers"
    return top, {path.relative_to(top).as_posix() for path in top.rglob("*") if not path.is_dir()}


@pytest.mark.parametrize(
    "files",
    [
        {"m/1/model.py": "", "n/1/model.py": ""},
        {"m/1/model.py": "", "labels.txt": ""},
        {"1/model.py": ""},
        {"m/readme.txt": ""},
    ],
)
def test_what_is_not_one_directory_of_a_model_stays_as_it_is(
    tmp_path: Path, make_locations: MakeLocations, pack: Pack, files: dict[str, str]
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "flowers.zip").write_bytes(pack.zip(files))
    assert staged_files(make_locations(models), models)[1] == set(files)


Links = dict[str, str | None]


def staged_links(tmp_path: Path, make_locations: MakeLocations, links: Links) -> tuple[Path, set[str]]:
    """As `staged_files`, of an archive with these members, which are links where a target is given."""
    models = tmp_path / "models"
    models.mkdir()
    with tarfile.open(models / "flowers.tar", "w") as archive:
        for name, target in links.items():
            member = tarfile.TarInfo(name)
            if target is not None:
                member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return staged_files(make_locations(models), models)


@pytest.mark.parametrize(
    "links",
    [
        {".outside": None, "m/up": "../.outside"},
        # Out, and back in by the name of the directory, which is gone when it is moved up.
        {"m/up": "../m/1/model.py"},
        {"m/1/up": "../../m/1/model.py"},
        # The same by way of a link that is in order.
        {"m/a/b/here": "../..", "m/up": "a/b/here/../m/1/model.py"},
        {".by": "m", "m/up": "../.by/1/model.py"},
    ],
)
def test_a_link_never_leads_out_of_what_was_moved_up(
    tmp_path: Path, make_locations: MakeLocations, links: Links
) -> None:
    links = {"m/1/model.py": None, **links}
    top, files = staged_links(tmp_path, make_locations, links)
    assert "m/1/model.py" in files
    for name in links:
        assert (top / name).exists()
        assert (top / name).resolve().is_relative_to(top.resolve())


def test_what_is_moved_up_keeps_the_links_in_it(tmp_path: Path, make_locations: MakeLocations) -> None:
    links: Links = {"m/1/model.py": None, "m/2/model.py": "../1/model.py", "m/a": "b", "m/b": "a"}
    top, files = staged_links(tmp_path, make_locations, links)
    assert files == {"1/model.py", "2/model.py", "a", "b"}
    assert (top / "2" / "model.py").resolve() == (top / "1" / "model.py").resolve()


def test_what_lies_beside_a_models_directory_is_in_nobody_s_way(
    tmp_path: Path, make_locations: MakeLocations, pack: Pack
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    names = ("m/1/model.py", "__MACOSX/x", "m/__MACOSX/y", ".m/x", ".DS_Store/x", "m/.DS_Store")
    (models / "flowers.zip").write_bytes(pack.zip(dict.fromkeys(names, "")))
    assert staged_files(make_locations(models), models)[1] == {"1/model.py", "__MACOSX/y", ".DS_Store"}


def test_an_archive_may_have_its_top_in_it(tmp_path: Path, make_locations: MakeLocations) -> None:
    """As `tar -C flowers -czf flowers.tar.gz .` makes it."""
    models, flowers = tmp_path / "models", write(tmp_path / "flowers", {"1/model.py": "code"})
    models.mkdir()
    with tarfile.open(models / "flowers.tar.gz", "w:gz") as archive:
        archive.add(flowers, ".")
    locations = make_locations(models)
    locations.materialize("flowers")
    assert entry_of(locations, "flowers").versions == (1,)


def test_a_flat_archive_under_a_name(tmp_path: Path, make_locations: MakeLocations, pack: Pack) -> None:
    archive = tmp_path / "model.zip"
    archive.write_bytes(pack.zip({"model.py": "code", "labels.txt": "a"}))
    nameless = make_locations(archive)
    with pytest.raises(
        InvalidArgumentError, match="is one model, not a repository of models: give --model-name"
    ):
        nameless.names()
    nameless.close()
    locations = make_locations(archive, model_name="m")
    locations.materialize("m")
    entry = entry_of(locations, "m")
    assert entry.versions == (1,)
    assert (entry.path / "1" / "model.py").read_text() == "code"
    assert (entry.path / "labels.txt").read_text() == "a"


def hostile_zip(name: str, mode: int = 0, content: bytes = b"x") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        member = zipfile.ZipInfo("x" * len(name))
        member.external_attr = mode << 16
        archive.writestr(member, content)
    # As no writer would have it.
    return buffer.getvalue().replace(b"x" * len(name), name.encode())


def hostile_tar(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, link
        archive.addfile(member)
    return buffer.getvalue()


def bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1/model.py", bytes(50_000_000))
    return buffer.getvalue()


def crowd(number: int) -> bytes:
    """A zip with so many empty files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for each in range(number):
            archive.writestr(str(each), b"")
    return packed.getvalue()


@pytest.mark.parametrize(
    ("ending", "content", "message"),
    [
        ("zip", hostile_zip("../outside"), "would lie outside of it"),
        ("zip", hostile_zip("/etc/outside"), "would lie outside of it"),
        ("zip", hostile_zip("..\\outside"), "would lie outside of it"),
        ("zip", hostile_zip("1/mod\0el.py"), "would lie outside of it"),
        ("zip", hostile_zip("1/mod\x01el.py"), "has control characters"),
        ("zip", hostile_zip("1/link", 0o120777, b"/etc/passwd"), "is a link"),
        ("zip", hostile_zip("1/null", 0o020666), "is a device or pipe"),
        ("zip", bomb(), "its files are larger than"),
        (
            "zip",
            b"PK but not much more",
            "m.zip cannot be unpacked: it is neither a zip nor a tar file, or not whole$",
        ),
        ("zip", b"", "m.zip cannot be unpacked: it is empty$"),
        ("tar.gz", b"", "m.tar.gz cannot be unpacked: it is empty$"),
        ("zip", crowd(20_001), "it has more than 20000 members"),
        ("tar", hostile_tar("/etc/outside"), "is absolute"),
        ("tar", hostile_tar("1/../../outside"), "leads up with"),
        ("tar", hostile_tar("1/link", tarfile.SYMTYPE, "/etc/passwd"), "is not unpacked"),
        ("tar", hostile_tar("1/null", tarfile.CHRTYPE), "is not unpacked"),
        (
            "tar.gz",
            b"no archive at all",
            "m.tar.gz cannot be unpacked: it is neither a zip nor a tar file, or not whole$",
        ),
    ],
)
def test_hostile_archives_are_refused(
    tmp_path: Path, make_locations: MakeLocations, ending: str, content: bytes, message: str
) -> None:
    models = tmp_path / "in" / "models"
    models.mkdir(parents=True)
    (models / f"m.{ending}").write_bytes(content)
    locations = make_locations(models, limit=10_000_000)
    with pytest.raises(InvalidArgumentError, match=message):
        locations.materialize("m")
    assert dict(scan(locations.roots).models) == {}
    left = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["kserve-v2-staging", f"m.{ending}"]


def test_an_archive_that_is_repaired_is_served(
    tmp_path: Path, make_locations: MakeLocations, pack: Pack
) -> None:
    archive = tmp_path / "models" / "m.zip"
    archive.parent.mkdir()
    whole = pack.zip({"1/model.py": "code"})
    archive.write_bytes(whole[:-10])
    locations = make_locations(archive.parent)
    with pytest.raises(ServingError):
        locations.materialize("m")
    archive.write_bytes(whole)
    locations.materialize("m")
    assert entry_of(locations, "m").versions == (1,)


# --- what cannot be used ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("hf://org/model", r"^hf:// needs the package huggingface_hub, which is not installed: pip install"),
        ("gs://bucket/models", r"^gs:// needs the package gcsfs, which is not installed: pip install"),
        ("as://account/container/models", r"^as:// needs the package adlfs, which is not installed"),
        ("as://account", r"expected as://ACCOUNT/CONTAINER/PATH"),
        ("https://127.0.0.1:9/models", r"expected an archive \(\.zip, \.tar\.gz\) that has models in it"),
    ],
)
def test_places_that_cannot_be_used(
    make_locations: MakeLocations, monkeypatch: pytest.MonkeyPatch, where: str, message: str
) -> None:
    for module in ("huggingface_hub", "gcsfs", "adlfs"):
        # Also where it is installed.
        monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(InvalidArgumentError, match=message):
        make_locations(where)


@pytest.mark.parametrize(
    ("files", "name", "message"),
    [
        ({"model.onnx": ""}, "", "is one model, not a folder of models: give --model-name NAME"),
        ({"1/model.onnx": "", "2/model.onnx": ""}, "", "is one model, not a folder of models"),
        ({"config.pbtxt": "", "resnet.onnx": ""}, "", "is one model, not a folder of models"),
        (
            {"m/1/model.onnx": ""},
            "n",
            "--model-name is for a folder that is one model, but in this one there are the models m",
        ),
    ],
)
def test_folders_of_one_and_of_many(
    tmp_path: Path, make_locations: MakeLocations, files: dict[str, str], name: str, message: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        make_locations(write(tmp_path / "folder", files), model_name=name).prepare()


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"README.md": ""},
        {"a.mar": ""},
        {"m/1/model.py": ""},
        {"m/1/model.py": "", "stray.onnx": ""},
        {"m/model.py": ""},
    ],
)
def test_folders_of_many_need_no_name(
    tmp_path: Path, make_locations: MakeLocations, files: dict[str, str]
) -> None:
    (tmp_path / "folder").mkdir()
    make_locations(write(tmp_path / "folder", files)).prepare()


def test_labels_of_a_flat_folder_are_read(tmp_path: Path, make_locations: MakeLocations) -> None:
    locations = make_locations(write(tmp_path / "mounted", FLAT), model_name="m")
    locations.materialize("m")
    config = ModelConfig(output=[ModelOutput(name="y", label_filename="labels.txt")])
    assert read_labels(config, entry_of(locations, "m").path) == {"y": ("a", "b")}


def test_a_repository_that_is_away_is_told_of_once(
    tmp_path: Path, make_locations: MakeLocations, caplog: pytest.LogCaptureFixture
) -> None:
    models = write(tmp_path / "models", {"m/1/model.py": "code"})
    locations = make_locations(models)
    locations.refresh()
    models.rename(tmp_path / "away")
    locations.refresh()
    for _ in range(3):
        locations.refresh()
    assert [record.message for record in caplog.records] == [
        f"cannot read the model repository {models}: FileNotFoundError: [Errno 2] No such file or directory: 'models'"
    ]
    # Each time that it goes.
    (tmp_path / "away").rename(models)
    locations.refresh()
    models.rename(tmp_path / "away")
    locations.refresh()
    assert len(caplog.records) == 2
