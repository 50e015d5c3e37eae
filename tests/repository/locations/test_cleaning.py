"""What is no longer used of what was staged goes, whether or not anything else is asked of the server."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kserve_v2.errors import UnavailableError
from kserve_v2.net.repository_url import RepositoryUrl
from kserve_v2.repository.locations.area import KEPT_S, Area
from kserve_v2.repository.locations.locations import Locations, Where
from kserve_v2.repository.reading.scan import scan
from tests.repository.locations.conftest import Pack
from tests.repository.locations.s3_server import Bucket, Proxy, corrupted
from tests.repository.text_models import answer, managing, run

NOTE = {"items": {}, "archive": False}


class Clock:
    """Shows what it is set to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def later(self) -> None:
        """What was replaced before has been kept long enough."""
        self.now_s += KEPT_S + 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder for archives."""
    path = tmp_path / "models"
    path.mkdir()
    return path


Open = Callable[[Path | str], Locations]


@pytest.fixture
def opened(tmp_path: Path, clock: Clock) -> Iterator[Open]:
    """Makes the locations of one server after the other."""
    made: list[Locations] = []

    def make(where: Path | str) -> Locations:
        for each in made:
            each.close()
        place = RepositoryUrl.parse(where) if isinstance(where, str) else where
        made.append(Locations(Where([place], staging_dir=tmp_path / "staging"), {}, clock))
        return made[-1]

    yield make
    for each in made:
        each.close()


def trees(tmp_path: Path) -> list[Path]:
    """The trees of all models and repositories, by name."""
    return sorted((tmp_path / "staging").glob("*/trees/*/*"))


def put(models: Path, pack: Pack, name: str, text: str) -> None:
    archive = pack.zip({"1/model.text": text, "config.pbtxt": 'backend: "text"'})
    (models / f"{name}.zip").write_bytes(archive)


def fill(directory: Path) -> None:
    directory.mkdir()


def test_trees_of_an_earlier_server_go_but_for_those_that_may_be_served_again(
    tmp_path: Path, clock: Clock
) -> None:
    first = Area(tmp_path, clock)
    made = {name: [first.make(name, f"{n}", NOTE, fill) for n in range(3)] for name in ("m", "n")}
    first.show("m", made["m"][1])
    first.show("n", made["n"][2])
    first.hide("n")
    # What was shown last may be found again; so may the newest one of what was not shown when it ended.
    second = Area(tmp_path, clock)
    second.prune(())
    assert all(each.exists() for each in made["m"] + made["n"])
    clock.later()
    second.prune(())
    assert [each.exists() for each in made["m"]] == [False, True, False]
    assert [each.exists() for each in made["n"]] == [False, False, True]
    assert not second.has_replaced
    assert second.find("m", "1") == made["m"][1]
    # Though nobody has asked for it while that server ran.
    third = Area(tmp_path, clock)
    clock.later()
    third.prune(())
    assert made["m"][1].exists()
    assert made["n"][2].exists()


def test_one_that_an_earlier_server_had_replaced_and_that_is_shown_again_stays(
    tmp_path: Path, clock: Clock
) -> None:
    first = Area(tmp_path, clock)
    old = first.make("m", "1", NOTE, fill)
    new = first.make("m", "2", NOTE, fill)
    first.show("m", new)
    second = Area(tmp_path, clock)
    found = second.find("m", "1")
    assert found == old
    second.show("m", old)
    clock.later()
    second.prune(())
    assert old.exists()
    assert not new.exists()


def test_a_tree_stays_while_something_in_it_is_in_use(
    tmp_path: Path, models: Path, pack: Pack, clock: Clock, opened: Open
) -> None:
    archive = tmp_path / "all.zip"
    archive.write_bytes(pack.zip({"m/1/model.text": "1"}))
    locations = opened(archive)
    locations.materialize("m")
    loaded = scan(locations.roots).models["m"].path
    archive.write_bytes(pack.zip({"m/1/model.text": "2"}))
    locations.refresh([loaded])
    clock.later()
    assert locations.clean([loaded])
    assert (loaded / "1" / "model.text").read_text() == "1"
    assert not locations.clean()
    assert not loaded.exists()
    assert len(trees(tmp_path)) == 1


def test_what_was_loaded_since_a_fetch_began_is_in_use(
    tmp_path: Path, models: Path, pack: Pack, clock: Clock, opened: Open
) -> None:
    async def test() -> None:
        async with managing(tmp_path / "none", locations=opened(models)) as (manager, _):
            put(models, pack, "m", "1")
            # It may take minutes, and cleans up at the end.
            in_use = manager._loader.in_use
            await manager.load("m")
            [loaded] = in_use
            put(models, pack, "m", "2")
            locations = manager._loader._options.locations
            assert locations is not None
            locations.refresh(in_use)
            clock.later()
            assert locations.clean(in_use)
            assert (loaded / "1" / "model.text").read_text() == "1"
            await manager.load("m")
            # It is drained.
            while loaded.exists():
                locations.clean(in_use)
                await asyncio.sleep(0.01)

    (tmp_path / "none").mkdir()
    run(test)


def test_what_is_gone_where_it_came_from_goes(
    tmp_path: Path, models: Path, pack: Pack, clock: Clock, opened: Open
) -> None:
    for name in ("gone", "stays"):
        put(models, pack, name, "1")
    locations = opened(models)
    for name in ("gone", "stays"):
        locations.materialize(name)
    loaded = scan(locations.roots).models["gone"].path
    (models / "gone.zip").unlink()
    assert locations.clean([loaded])
    clock.later()
    assert locations.clean([loaded])
    assert loaded.exists()
    assert not locations.clean()
    assert [tree.parent.name for tree in trees(tmp_path)] == ["stays"]
    # The same where another server had it, and nobody asks this one for it.
    (models / "stays.zip").unlink()
    put(models, pack, "other", "1")
    following = opened(models)
    following.materialize("other")
    assert following.clean()
    clock.later()
    assert not following.clean()
    assert [tree.parent.name for tree in trees(tmp_path)] == ["other"]


def test_what_a_refresh_has_found_gone_is_not_named_any_more(models: Path, pack: Pack, opened: Open) -> None:
    put(models, pack, "gone", "1")
    put(models, pack, "stays", "1")
    locations = opened(models)
    locations.refresh()
    assert locations.names_seen() == ["gone", "stays"]
    (models / "gone.zip").unlink()
    # Whoever only looks does without a look at the store for a moment.
    assert locations.names_seen() == ["gone", "stays"]
    locations.refresh()
    assert locations.names_seen() == ["stays"]


def test_a_store_that_does_not_answer_takes_nothing_away(
    tmp_path: Path, models: Path, pack: Pack, clock: Clock, opened: Open
) -> None:
    put(models, pack, "m", "1")
    locations = opened(models)
    locations.materialize("m")
    models.rename(tmp_path / "elsewhere")
    assert not locations.clean()
    clock.later()
    assert not locations.clean()
    assert len(trees(tmp_path)) == 1


def test_what_could_not_be_updated_is_not_kept_for_that(
    tmp_path: Path, bucket: Bucket, proxy: Proxy, clock: Clock, opened: Open
) -> None:
    for key in ("m/1/model.text", "m/1/beside.text", "other/1/model.text"):
        bucket.put(f"models/{key}", "1")
    locations = opened(f"{bucket.url}/models")
    locations.materialize("m")
    # The next one would have taken the other file from what is there.
    bucket.put("models/m/1/model.text", "2")
    proxy.faults["model.text"] = [corrupted] * 100
    with pytest.raises(UnavailableError):
        locations.materialize("m")
    for key in ("1/model.text", "1/beside.text"):
        bucket.delete(f"models/m/{key}")
    locations.materialize("m")
    clock.later()
    assert not locations.clean()
    assert trees(tmp_path) == []


def test_a_server_of_which_nothing_is_asked_cleans_up(
    tmp_path: Path, models: Path, pack: Pack, clock: Clock, opened: Open
) -> None:
    async def only(count: int) -> None:
        while len(trees(tmp_path)) != count:
            clock.later()
            await asyncio.sleep(0.01)

    async def test() -> None:
        async with managing(tmp_path / "none", locations=opened(models)) as (manager, _):
            manager._loader.cleaning.after_s = 0.01
            for version in range(4):
                put(models, pack, "m", f"{version}")
                await manager.load("m")
            assert await answer(manager, "m") == "3"
            await only(1)
            assert await answer(manager, "m") == "3"
            (models / "m.zip").unlink()
            manager.unload("m")
            await only(0)

    (tmp_path / "none").mkdir()
    run(test)
