"""Keys of models that their repositories tell apart."""

import asyncio
from pathlib import Path

import pytest

from kserve_v2.errors import InvalidArgumentError, NotFoundError, UnavailableError
from kserve_v2.messages import IndexEntry
from kserve_v2.repository.lifecycle.names import KeysByName, short_names
from kserve_v2.repository.reading.namespaces import (
    check_key,
    find_models,
    scan_namespaces,
    step_key,
)
from tests.repository.text_models import answer, managing, run, write

NAMESPACES = {"a": Path("/models/a"), "b": Path("/models/b")}


@pytest.mark.parametrize(
    ("ensemble", "namespace", "listed", "expected"),
    [
        # The one beside it, the only one, the one that is named.
        ("a/e", "", ["a/m", "b/m"], "a/m"),
        ("b/e", "", ["a/m", "b/m"], "b/m"),
        ("a/e", "", ["b/m"], "b/m"),
        ("a/e", "b", ["a/m", "b/m"], "b/m"),
        ("a/e", "/models/b", ["a/m", "b/m"], "b/m"),
        # What is not there is told of when it is loaded, and no other one is taken for it.
        ("a/e", "b", ["a/m"], "b/m"),
        ("a/e", "", [], "m"),
        # One that was uploaded lies in no repository.
        ("e", "", ["b/m"], "b/m"),
    ],
)
def test_what_a_step_means(ensemble: str, namespace: str, listed: list[str], expected: str) -> None:
    assert step_key(NAMESPACES, ensemble, "m", namespace, listed) == expected


@pytest.mark.parametrize(
    ("ensemble", "namespace", "listed", "text"),
    [
        ("c/e", "", ["a/m", "b/m"], "There are 2 identifiers of model 'm' in global map"),
        ("a/e", "c", ["a/m"], "ensemble 'e': the step of model 'm' has the model_namespace 'c', which is none of the "
         "repositories: a, b"),
    ],
)  # fmt: skip
def test_what_a_step_cannot_mean(ensemble: str, namespace: str, listed: list[str], text: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        step_key(NAMESPACES, ensemble, "m", namespace, listed)
    assert caught.value.message.startswith(text)


@pytest.fixture
def repositories(tmp_path: Path) -> dict[str, Path]:
    for each in ("a/m/1", "a/only/1", "b/m/1", "b/m/2", "outside/1", "b/skipped"):
        (tmp_path / each).mkdir(parents=True)
    return {"a": tmp_path / "a", "b": tmp_path / "b"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("m", ["a/m", "b/m"]),
        ("only", ["a/only"]),
        ("b/m", ["b/m"]),
        ("b/only", []),
        ("nosuch", []),
        ("skipped", ["b/skipped"]),
    ],
)
def test_models_of_a_name(repositories: dict[str, Path], name: str, expected: list[str]) -> None:
    check_key(repositories, name)
    assert [entry.name for entry in find_models(repositories, name)] == expected


def test_models_of_all_repositories(repositories: dict[str, Path]) -> None:
    snapshot = scan_namespaces(repositories)
    assert {key: entry.versions for key, entry in snapshot.models.items()} == {
        "a/m": (1,), "a/only": (1,), "b/m": (1, 2),
    }  # fmt: skip
    assert all(entry.problem is None for entry in snapshot.models.values())
    assert len(snapshot.skipped) == 1


@pytest.mark.parametrize(
    "name",
    ["", " ", "..", "a/..", "a/../outside", "../outside", "c/m", "a/b/m", "/m", "a/", "a//m", "a\\m", "a/\0"],
)
def test_names_that_lead_elsewhere(repositories: dict[str, Path], name: str) -> None:
    with pytest.raises(InvalidArgumentError):
        check_key(repositories, name)


def test_keys_by_name() -> None:
    keys = KeysByName()
    for key in ("a/m", "b/m", "n"):
        keys.add(key)
    assert [*keys.of("m")] == ["a/m", "b/m"]
    assert [*keys.of("b/m")] == ["b/m"]
    assert [*keys.of("n")] == ["n"]
    keys.remove("a/m")
    keys.remove("a/m")
    keys.remove("nosuch")
    assert [*keys.of("m")] == ["b/m"]
    assert not keys.of("a/m")


def test_the_index_shows_names_that_mean_one_model() -> None:
    entries = [
        IndexEntry("a/m", "2"),
        IndexEntry("a/n", "10"),
        IndexEntry("a/n", "9"),
        IndexEntry("b/m"),
        IndexEntry("o"),
    ]
    assert [(entry.name, entry.version) for entry in short_names(entries)] == [
        ("a/m", "2"), ("b/m", ""), ("n", "9"), ("n", "10"), ("o", ""),
    ]  # fmt: skip


def test_what_a_name_means_as_models_come_and_go(tmp_path: Path) -> None:
    async def main() -> None:
        spaces = {"a": tmp_path / "a", "b": tmp_path / "b"}
        for space, root in spaces.items():
            write(root, "m", f"of {space}")
        async with managing(tmp_path, namespaces=spaces) as (manager, _):
            await manager.load("a/m")
            assert await answer(manager, "m") == await answer(manager, "a/m") == "of a"
            await manager.load("b/m")
            with pytest.raises(InvalidArgumentError, match="There are 2 identifiers of model 'm'"):
                manager.acquire("m")
            # One that had to make room is loaded again when it is asked for: no other one answers for it meanwhile.
            manager.evict("a/m")
            with pytest.raises(InvalidArgumentError, match="There are 2 identifiers of model 'm'"):
                manager.acquire("m")
            await manager.load("a/m")
            manager.unload("a/m")
            assert await answer(manager, "m") == "of b"
            # A load that still looks for its models is overtaken by an unload.
            load = asyncio.create_task(manager.load("m"))
            await asyncio.sleep(0)
            manager.unload("m")
            with pytest.raises(UnavailableError, match="it was unloaded meanwhile"):
                await load
            with pytest.raises(NotFoundError):
                manager.acquire("m")

    run(main)
