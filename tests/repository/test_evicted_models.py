"""What becomes of models that have made room for others, or found none: they come back when they are asked for."""

import asyncio
from pathlib import Path

import pytest

from kserve_v2.errors import NotFoundError, ServingError, UnavailableError
from kserve_v2.repository.lifecycle.load_request import LoadRequest
from kserve_v2.repository.lifecycle.record import EVICTED
from kserve_v2.repository.manager import ModelManager
from kserve_v2.repository.preparing.options import RepositoryOptions
from kserve_v2.repository.residency.residency import Budget
from tests.repository.text_models import OneBackend, SizedBackend, answer, is_set, run, write

LIMITED = Budget({"cpu": 100})
BOTH = LoadRequest('{"version_policy": {"specific": {"versions": [1, 2]}}}')
ALL_THREE = LoadRequest('{"version_policy": {"all": {}}}')
FIRST = LoadRequest('{"version_policy": {"specific": {"versions": [1]}}}')


def test_a_model_that_a_call_has_repaired_comes_back_at_once(tmp_path: Path) -> None:
    """Its files are as they were when a request had it loaded in vain."""

    async def test() -> None:
        options = RepositoryOptions((tmp_path,), memory=LIMITED, on_demand_wait_s=30)
        manager = ModelManager(options, OneBackend(SizedBackend()))
        write(tmp_path, "m", "good")
        write(tmp_path, "m", "fail", version=2)
        with pytest.raises(ServingError):
            await manager.demand("m")
        await manager.load("m", FIRST)
        manager.evict("m")
        assert not manager.ready_versions("m")
        await manager.demand("m")
        assert await answer(manager, "m") == "good"
        await manager.stop()

    run(test)


def test_one_that_was_not_updated_has_been_evicted_all_the_same(tmp_path: Path) -> None:
    """It has answered, so that a failure alone, which has taken nothing from anybody, does not say why it is away."""

    async def test() -> None:
        options = RepositoryOptions((tmp_path,), memory=LIMITED, on_demand_wait_s=30)
        manager = ModelManager(options, OneBackend(SizedBackend()))
        write(tmp_path, "m", "good")
        write(tmp_path, "m", "fine", version=2)
        await manager.load("m", BOTH)
        write(tmp_path, "m", "fail")
        write(tmp_path, "m", "fail", version=3)
        with pytest.raises(ServingError, match="the file says fail"):
            await manager.load("m", ALL_THREE)
        manager.evict("m")
        while any(entry.state == "UNLOADING" for entry in manager.entries("m")):
            await manager.changed.wait()
        reasons = {entry.version: entry.reason for entry in await manager.index()}
        failure = "Invalid argument: the file says fail"
        assert reasons == {"1": f"{EVICTED}; not updated: {failure}", "2": EVICTED, "3": failure}
        manager.unload("m")
        assert {entry.reason for entry in await manager.index()} == {"unloaded"}
        await manager.stop()

    run(test)


def test_one_that_is_unloaded_before_it_finds_no_room_stays_away(tmp_path: Path) -> None:
    async def test() -> None:
        backend = SizedBackend()
        manager = ModelManager(RepositoryOptions((tmp_path,), memory=LIMITED), OneBackend(backend))
        write(tmp_path, "m", "good")
        # It says so when it is loaded.
        backend.extra = 100
        backend.load_gate.clear()
        load = asyncio.ensure_future(manager.load("m"))
        await is_set(backend.loading)
        manager.unload("m")
        backend.load_gate.set()
        with pytest.raises(UnavailableError, match="it was unloaded meanwhile"):
            await load
        assert not manager.is_wanted("m")
        with pytest.raises(NotFoundError):
            manager.acquire("m")
        await manager.stop()

    run(test)


def test_a_model_whose_files_have_grown_makes_room_for_all_of_it(tmp_path: Path) -> None:
    async def test() -> None:
        backend = SizedBackend()
        manager = ModelManager(RepositoryOptions((tmp_path,), memory=LIMITED), OneBackend(backend))
        write(tmp_path, "m", "m" * 10)
        write(tmp_path, "n", "n" * 60)
        for name in ("m", "n"):
            await manager.load(name)
        manager.unload("m")
        write(tmp_path, "m", "m" * 80)
        await manager.load("m")
        assert manager.residency.evictions == {"n": 1}
        assert backend.most == 80
        # And less, if it is smaller again.
        manager.unload("m")
        write(tmp_path, "m", "m" * 10)
        await manager.load("n")
        await manager.load("m")
        assert manager.residency.evictions == {"n": 1}
        await manager.stop()

    run(test)
