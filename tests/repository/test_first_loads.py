"""While a model is loaded for the first time: who is answered, by which version, and what the others are told."""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kserve_v2.backend import ModelConfig, ModelSource
from kserve_v2.errors import (
    InvalidArgumentError,
    NotFoundError,
    NotLoadedError,
    NotServedError,
    UnavailableError,
    may_try_again,
)
from kserve_v2.repository.manager import ModelManager
from kserve_v2.repository.preparing.options import RepositoryOptions
from tests.repository.text_models import OneBackend, TextBackend, TextModel, answer, run, write

ALL = "version_policy { all {} }"


class OneByOne(TextBackend):
    """Loads each version when its gate is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.gates: dict[int, threading.Event] = {}

    def load(self, source: ModelSource, config: ModelConfig) -> TextModel:
        assert self.gates.setdefault(source.version, threading.Event()).wait(60)
        return super().load(source, config)

    def open_gate(self, version: int) -> None:
        self.gates.setdefault(version, threading.Event()).set()


@asynccontextmanager
async def loading(
    root: Path, contents: Mapping[int, str], release: str = ""
) -> AsyncIterator[tuple[ModelManager, OneByOne, "asyncio.Task[None]"]]:
    """A model `m` with these versions, all of which are being loaded."""
    backend = OneByOne()
    for version, content in contents.items():
        write(root, "m", content, version, ALL)
    if release:
        (root / "m" / "release.json").write_text(release)
    manager = ModelManager(RepositoryOptions((root,)), OneBackend(backend))
    task = asyncio.create_task(manager.load("m"))
    await states(manager, dict.fromkeys(contents, "LOADING"))
    try:
        yield manager, backend, task
    finally:
        for version in range(1, 10):
            backend.open_gate(version)
        await asyncio.gather(task, return_exceptions=True)
        await manager.stop()


async def states(manager: ModelManager, wanted: Mapping[int, str]) -> None:
    """Wait until the versions are in these states."""
    while {int(each.version): each.state for each in manager.entries("m") if each.version} != wanted:
        await manager.changed.wait()


def test_an_older_version_does_not_stand_in_for_the_newest(tmp_path: Path) -> None:
    async def test() -> None:
        async with loading(tmp_path, {1: "one", 2: "two"}) as (manager, backend, task):
            with pytest.raises(
                UnavailableError, match="'m' is not at ready state: it is being loaded"
            ) as nothing:
                manager.acquire("m")
            assert may_try_again(nothing.value)
            backend.open_gate(1)
            await states(manager, {1: "READY", 2: "LOADING"})
            # Whoever does want it says so.
            assert await answer(manager, "m", "1") == "one"
            with pytest.raises(
                UnavailableError, match="version 2 is being loaded for the first time"
            ) as refused:
                manager.acquire("m")
            assert may_try_again(refused.value)
            backend.open_gate(2)
            await task
            assert await answer(manager, "m") == "two"

    run(test)


def test_the_newest_answers_as_soon_as_it_is_there(tmp_path: Path) -> None:
    async def test() -> None:
        async with loading(tmp_path, {1: "one", 2: "two"}) as (manager, backend, task):
            backend.open_gate(2)
            await states(manager, {1: "LOADING", 2: "READY"})
            assert await answer(manager, "m") == "two"
            assert not task.done()

    run(test)


def test_of_a_newest_one_that_fails_the_others_take_the_place(tmp_path: Path) -> None:
    async def test() -> None:
        async with loading(tmp_path, {1: "one", 2: "fail", 3: "fail"}) as (manager, backend, task):
            backend.open_gate(1)
            backend.open_gate(3)
            await states(manager, {1: "READY", 2: "LOADING", 3: "UNAVAILABLE"})
            with pytest.raises(UnavailableError, match="version 2 is being loaded for the first time"):
                manager.acquire("m")
            backend.open_gate(2)
            with pytest.raises(InvalidArgumentError, match="loaded for all that: version 1"):
                await task
            assert await answer(manager, "m") == "one"

    run(test)


def test_what_has_answered_once_goes_on_while_newer_ones_are_loaded(tmp_path: Path) -> None:
    """Whether the first of them had failed, or is new."""

    async def test() -> None:
        async with loading(tmp_path, {1: "one", 2: "fail"}) as (manager, backend, task):
            for version in (1, 2):
                backend.open_gate(version)
            await asyncio.gather(task, return_exceptions=True)
            backend.gates[2].clear()
            write(tmp_path, "m", "two", 2)
            write(tmp_path, "m", "three", 3)
            again = asyncio.create_task(manager.load("m"))
            await states(manager, {1: "READY", 2: "LOADING", 3: "LOADING"})
            assert await answer(manager, "m") == "one"
            backend.open_gate(3)
            await states(manager, {1: "READY", 2: "LOADING", 3: "READY"})
            assert await answer(manager, "m") == "three"
            backend.open_gate(2)
            await again

    run(test)


def test_a_load_after_an_unload_is_the_first_one_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with loading(tmp_path, {1: "one", 2: "two"}) as (manager, backend, task):
            for version in (1, 2):
                backend.open_gate(version)
            await task
            manager.unload("m")
            await states(manager, {1: "UNAVAILABLE", 2: "UNAVAILABLE"})
            # As Triton has it: of a version it is said that it is not ready, of a model that it has none.
            with pytest.raises(NotFoundError, match=r"'m' has no available versions$"):
                manager.acquire("m")
            with pytest.raises(NotServedError, match=r"'m' version 1 is not at ready state$") as gone:
                manager.acquire("m", "1")
            assert not may_try_again(gone.value)
            backend.gates[2].clear()
            again = asyncio.create_task(manager.load("m"))
            await states(manager, {1: "READY", 2: "LOADING"})
            with pytest.raises(UnavailableError, match="version 2 is being loaded for the first time"):
                manager.acquire("m")
            backend.open_gate(2)
            await again
            assert await answer(manager, "m") == "two"

    run(test)


def test_an_unload_meanwhile_ends_the_waiting(tmp_path: Path) -> None:
    async def test() -> None:
        async with loading(tmp_path, {1: "one", 2: "two"}) as (manager, backend, task):
            backend.open_gate(1)
            await states(manager, {1: "READY", 2: "LOADING"})
            manager.unload("m")
            with pytest.raises(NotFoundError, match="'m' has no available versions"):
                manager.acquire("m")
            with pytest.raises(UnavailableError, match="it was unloaded meanwhile"):
                await task

    run(test)


@pytest.mark.parametrize(("shares", "waits"), [('{"1": 10, "2": 90}', True), ('{"1": 100, "2": 0}', False)])
def test_a_split_waits_for_all_that_share_it(tmp_path: Path, shares: str, waits: bool) -> None:
    async def test() -> None:
        release = f'{{"split": {{"shares": {shares}}}, "labels": {{"PROD": 1}}}}'
        async with loading(tmp_path, {1: "one", 2: "two", 3: "three"}, release) as (manager, backend, task):
            backend.open_gate(1)
            await states(manager, {1: "READY", 2: "LOADING", 3: "LOADING"})
            assert await answer(manager, "m", "PROD") == "one"
            if waits:
                with pytest.raises(UnavailableError, match="version 2 is being loaded for the first time"):
                    manager.acquire("m")
                backend.open_gate(2)
                await states(manager, {1: "READY", 2: "READY", 3: "LOADING"})
            assert {manager.acquire("m").like.version} <= {1, 2}
            assert not task.done()

    run(test)


def test_another_load_that_waits_keeps_nobody_from_what_is_loaded(tmp_path: Path) -> None:
    """On demand, where those who ask wait for all versions, and go on when the newest has failed."""

    async def test() -> None:
        backend = OneByOne()
        for version, content in {1: "one", 2: "fail"}.items():
            write(tmp_path, "m", content, version, ALL)
        manager = ModelManager(RepositoryOptions((tmp_path,), on_demand_wait_s=30), OneBackend(backend))
        asked = asyncio.create_task(manager.demand("m"))
        await states(manager, {1: "LOADING", 2: "LOADING"})
        another = asyncio.create_task(manager.load("m"))
        backend.open_gate(1)
        await states(manager, {1: "READY", 2: "LOADING"})
        with pytest.raises(NotLoadedError):
            manager.acquire("m", "1")
        backend.open_gate(2)
        await asked
        assert await answer(manager, "m") == "one"
        assert not another.done()
        with pytest.raises(InvalidArgumentError, match="version 2 is at UNAVAILABLE state"):
            await another
        assert await answer(manager, "m") == "one"
        await manager.stop()

    run(test)
