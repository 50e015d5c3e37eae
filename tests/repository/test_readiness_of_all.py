"""Whether the server is ready, through loads that are refused, fail, or are taken back; and what the index says."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kserve_v2.errors import ServingError
from kserve_v2.repository.manager import ModelManager
from tests.repository.text_models import TextBackend, answer, is_set, managing, run, write

ALL = "version_policy { all {} }"


@asynccontextmanager
async def started(root: Path) -> AsyncIterator[tuple[ModelManager, TextBackend]]:
    """A server that has come up with one model."""
    write(root, "other", "here")
    async with managing(root) as (manager, backend):
        await manager.load("other")
        manager.started = True
        yield manager, backend


async def fails(manager: ModelManager, name: str = "m") -> None:
    with pytest.raises(ServingError):
        await manager.load(name)


async def told(manager: ModelManager, name: str = "m") -> list[tuple[str, str, str]]:
    return [(each.version, each.state, each.reason) for each in await manager.index() if each.name == name]


def test_what_is_refused_leaves_the_server_ready(tmp_path: Path) -> None:
    async def main() -> None:
        async with started(tmp_path) as (manager, _):
            write(tmp_path, "unreadable", "one", config="max_batch_size: many")
            write(tmp_path, "unselected", "one", config="version_policy { specific { versions: 7 } }")
            (tmp_path / "empty").mkdir()
            (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
            for name in ("unreadable", "unselected", "empty", "nowhere", "nosuch", "a/b"):
                await fails(manager, name)
                assert manager.all_ready(), name
            assert "unreadable/config.pbtxt:1:17" in (await told(manager, "unreadable"))[0][2]

    run(main)


def test_what_is_refused_at_the_start_keeps_the_server_from_being_ready(tmp_path: Path) -> None:
    async def main() -> None:
        write(tmp_path, "m", "one", config="max_batch_size: many")
        async with managing(tmp_path) as (manager, _):
            await fails(manager)
            manager.started = True
            assert not manager.all_ready()
            manager.unload("m")
            assert manager.all_ready()
            await fails(manager)
            assert manager.all_ready()

    run(main)


def test_a_broken_model_that_is_taken_away_again_leaves_the_server_ready(tmp_path: Path) -> None:
    async def main() -> None:
        async with started(tmp_path) as (manager, _):
            for remains in ("", "config"):
                write(tmp_path, "m", "fail", config=" ")
                await fails(manager)
                assert not manager.all_ready()
                shutil.rmtree(tmp_path / "m" / "1" if remains else tmp_path / "m")
                await fails(manager)
                assert manager.all_ready()
            write(tmp_path, "m", "one")
            await manager.load("m")
            assert await answer(manager, "m") == "one"

    run(main)


@pytest.mark.parametrize("policy", ["", ALL])
def test_a_broken_version_that_is_taken_away_again_leaves_nothing(tmp_path: Path, policy: str) -> None:
    async def main() -> None:
        write(tmp_path, "m", "one", config=policy)
        async with started(tmp_path) as (manager, _):
            await manager.load("m")
            write(tmp_path, "m", "fail", 2)
            await fails(manager)
            assert manager.all_ready()
            failure = "Invalid argument: the file says fail"
            assert await told(manager) == [("1", "READY", ""), ("2", "UNAVAILABLE", failure)]
            shutil.rmtree(tmp_path / "m" / "2")
            await manager.load("m")
            assert manager.all_ready()
            assert await told(manager) == [("1", "READY", ""), ("2", "UNAVAILABLE", "unloaded")]

    run(main)


def test_a_further_version_that_is_loading_takes_nothing_from_anybody(tmp_path: Path) -> None:
    async def main() -> None:
        write(tmp_path, "m", "one", config=ALL)
        async with started(tmp_path) as (manager, backend):
            await manager.load("m")
            write(tmp_path, "m", "two", 2)
            backend.load_gate.clear()
            backend.loading.clear()
            upgrade = asyncio.create_task(manager.load("m"))
            await is_set(backend.loading)
            assert manager.all_ready()
            backend.load_gate.set()
            await upgrade
            assert manager.all_ready()

    run(main)


def test_a_failed_update_leaves_its_reason_in_the_index_until_one_succeeds(tmp_path: Path) -> None:
    async def main() -> None:
        write(tmp_path, "m", "one", config=ALL)
        write(tmp_path, "m", "two", 2)
        async with started(tmp_path) as (manager, _):
            await manager.load("m")
            write(tmp_path, "m", "fail", 2)
            await fails(manager)
            failure = "not updated: Invalid argument: the file says fail"
            assert await told(manager) == [("1", "READY", ""), ("2", "READY", failure)]
            assert await answer(manager, "m", "2") == "two"
            assert manager.all_ready()
            (tmp_path / "m" / "config.pbtxt").write_text("max_batch_size: many")
            await fails(manager)
            entries = await told(manager)
            assert [state for _, state, _ in entries] == ["READY", "READY"]
            assert all(reason.startswith("not updated: Invalid argument: m/config") for *_, reason in entries)
            write(tmp_path, "m", "three", 2, ALL)
            await manager.load("m")
            assert await told(manager) == [("1", "READY", ""), ("2", "READY", "")]
            assert await answer(manager, "m", "2") == "three"

    run(main)
