"""The folder in which models from elsewhere are put."""

import os
from pathlib import Path
from threading import Thread

import pytest

from kserve_v2.errors import InvalidArgumentError, ResourceExhaustedError
from kserve_v2.repository.locations.area import Area, lasting_path, tree_of
from kserve_v2.repository.locations.staging import MARK, Staging


def fill(directory: Path) -> None:
    directory.mkdir()
    (directory / "file").write_text("content")


NOTE = {"items": {}, "archive": False}


def test_the_default_folder_is_one_server_s_and_the_next_has_another(tmp_path: Path) -> None:
    environ = {"XDG_CACHE_HOME": str(tmp_path)}
    first, second = Staging(None, 0, environ), Staging(None, 0, environ)
    assert first.open() == tmp_path / "kserve-v2" / "staging"
    other = second.open()
    assert not other.is_relative_to(tmp_path / "kserve-v2")
    second.area("x")
    second.close()
    assert not other.exists()
    first.close()
    third = Staging(None, 0, environ)
    assert third.open() == tmp_path / "kserve-v2" / "staging"
    third.close()


def test_a_folder_that_is_taken_is_named_with_who_has_it(tmp_path: Path) -> None:
    first = Staging(tmp_path / "staging")
    first.open()
    with pytest.raises(InvalidArgumentError, match=rf"is used by another server \(process {os.getpid()}\)"):
        Staging(tmp_path / "staging").open()
    first.close()
    second = Staging(tmp_path / "staging")
    second.open()
    second.close()


def test_what_is_none_of_ours_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "area-0123456789abcdef").mkdir()
    with pytest.raises(InvalidArgumentError, match="has files in it that are none of the server's"):
        Staging(tmp_path).open()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["area-0123456789abcdef", "thesis.tex"]
    # Nor in a folder of ours, if it does not look like ours.
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / MARK).touch()
    (tmp_path / "ours" / "notes").mkdir()
    (tmp_path / "ours" / "area-0123456789abcdef").mkdir()
    staging = Staging(tmp_path / "ours")
    staging.open()
    staging.close()
    assert sorted(path.name for path in (tmp_path / "ours").iterdir()) == [MARK, "notes"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidArgumentError, match="cannot be used: Not a directory"):
        Staging(tmp_path / "file" / "staging").open()


def test_trees_go_when_they_were_replaced_and_nobody_uses_them(tmp_path: Path) -> None:
    now_s = [0.0]
    area = Area(tmp_path / "area", lambda: now_s[0])
    first = area.make("m", "1", NOTE, fill)
    area.show("m", first)
    second = area.make("m", "2", NOTE, fill)
    # Made, but not shown yet.
    area.prune((), at_once=True)
    assert second.exists()
    area.show("m", second)
    area.prune(())
    assert first.exists()
    now_s[0] = 100.0
    area.prune([first])
    assert first.exists()
    area.prune(())
    assert not first.exists()
    assert tree_of(area.models / "m") == second
    assert lasting_path(second) == area.models / "m"
    area.hide("m")
    assert area.names == []
    now_s[0] = 200.0
    area.prune(())
    assert not second.exists()


def test_what_is_found_again_is_not_removed_before_it_is_shown(tmp_path: Path) -> None:
    area = Area(tmp_path / "area")
    first = area.make("m", "1", NOTE, fill)
    area.show("m", first)
    area.show("m", area.make("m", "2", NOTE, fill))
    # The content of before is there again.
    assert area.find("m", "1") == first
    area.prune((), at_once=True)
    area.show("m", first)
    assert (area.models / "m" / "file").read_text() == "content"


def test_a_tree_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    area = Area(tmp_path / "area")

    def half(directory: Path) -> None:
        fill(directory)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        area.make("m", "1", NOTE, half)
    assert area.find("m", "1") is None
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_with_a_limit_room_is_given_when_what_is_being_unpacked_is_there(tmp_path: Path) -> None:
    staging = Staging(tmp_path / "staging", 100)
    area = staging.area("s3://models")
    outcomes: list[str] = []

    def fetch() -> None:
        try:
            with staging.room(area, "m", 80):
                outcomes.append("held")
        except ResourceExhaustedError as error:
            outcomes.append(error.message)

    fetching = Thread(target=fetch)
    with staging.unpacking():
        fetching.start()
        fetching.join(0.5)
        assert not outcomes
        area.path.mkdir(parents=True, exist_ok=True)
        (area.path / "unpacked").write_bytes(b"x" * 50)
    fetching.join(60)
    assert "30 are missing" in outcomes[0]
    staging.close()


def test_a_tree_that_moves_while_it_is_counted_is_counted(tmp_path: Path) -> None:
    area = Area(tmp_path / "area")
    area.make("m", "1", NOTE, fill)
    one = area.bytes()

    def make_again() -> None:
        for _ in range(100):
            area.make("m", "1", NOTE, fill)

    making = Thread(target=make_again)
    making.start()
    counted = []
    while making.is_alive():
        counted.append(area.bytes())
    making.join()
    assert min(counted, default=one) >= one
