"""What is counted of the memory that models use, and what becomes of loads for which there is no room."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from kserve_v2.backend import Handover, ModelSource, Placement
from kserve_v2.errors import NoRoomYetError, OverloadedError
from kserve_v2.plugins import BackendRegistry
from kserve_v2.repository.manager import ModelManager
from kserve_v2.repository.preparing.options import RepositoryOptions
from kserve_v2.repository.residency.measuring import (
    MemoryUse,
    device_name,
    processes_bytes,
    size_of_files,
    use_in_process,
)
from kserve_v2.repository.residency.residency import Budget, Claim, GivenUpError, Residency

CPU = (Placement("m_0", "CPU"),)


class Model:
    """A loaded version."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.memory: MemoryUse | None = None
        self.leaving = False
        self.activity = 0
        self.executed_ms = 0
        self.pids: Sequence[int] = ()

    def known_memory(self) -> Mapping[str, int] | None:
        return {"cpu": self.size}


class House:
    """All models, and a clock that stands still."""

    def __init__(self, path: Path, budget: int, min_idle_s: float = 0) -> None:
        self.path = path
        self.now_s = 100.0
        self.residency = Residency(self, Budget({"cpu": budget}, min_idle_s), lambda: self.now_s)
        self.models: dict[str, Model] = {}
        self.made_of: dict[str, list[Model]] = {}
        self.held: set[str] = set()
        self.pinned: set[str] = set()
        self.evicted: list[str] = []
        self.closing: list[str] = []

    async def count(self) -> None:
        pass

    def residents(self) -> Mapping[str, bool]:
        return {name: name in self.held | self.pinned for name in self.models}

    def lasting(self) -> set[str]:
        return self.pinned

    def users(self) -> Mapping[str, Sequence[Model]]:
        return self.made_of

    def evict(self, name: str) -> None:
        """Closed only when the test says so."""
        self.evicted.append(name)
        self.closing.append(name)
        self.models[name].leaving = True
        self.gone = self.models.pop(name)

    async def eviction(self) -> None:
        while not self.evicted:  # noqa: ASYNC110 - nothing else runs
            await asyncio.sleep(0)

    def close(self, model: Model) -> None:
        self.residency.closed(model)

    def folder(self, name: str, file_size: int) -> Path:
        folder = self.path / name / "1"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model").write_bytes(bytes(file_size))
        return folder

    async def admit(self, name: str, file_size: int) -> Claim:
        folder = self.folder(name, file_size)
        return await self.residency.admit(ModelSource(name, 1, folder.parent, folder, placements=CPU))

    async def load(self, name: str, file_size: int, size: int | None = None) -> Model:
        claim = await self.admit(name, file_size)
        model = Model(file_size if size is None else size)
        try:
            await self.residency.settle(claim, model, None)
        except BaseException:
            self.residency.release(claim)
            raise
        self.models[name] = model
        return model


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


def test_a_load_waits_until_what_goes_is_gone(tmp_path: Path) -> None:
    async def main() -> None:
        house = House(tmp_path, 10)
        old = await house.load("old", 6)
        house.now_s += 1
        load = asyncio.ensure_future(house.load("new", 6))
        await house.eviction()
        await asyncio.sleep(0)
        assert not load.done()
        assert house.residency.used == {"cpu": 6}
        house.close(old)
        await load
        assert house.residency.used == {"cpu": 6}
        assert house.residency.evictions == {"old": 1}

    run(main)


def test_what_is_made_of_a_model_asks_it(tmp_path: Path) -> None:
    """An ensemble may answer from its cache, and then its steps are asked nothing."""

    async def main() -> None:
        house = House(tmp_path, 10, min_idle_s=5)
        step = await house.load("step", 6)
        whole = Model(0)
        house.made_of["step"] = [whole]
        house.now_s += 10
        whole.activity = 1
        with pytest.raises(OverloadedError, match="no room for model 'new'"):
            await house.load("new", 6)
        house.now_s += 10
        load = asyncio.ensure_future(house.load("new", 6))
        await house.eviction()
        house.close(step)
        await load
        assert house.evicted == ["step"]

    run(main)


def test_a_load_waits_for_one_that_was_given_up(tmp_path: Path) -> None:
    """That ends when its backend has loaded it, and is closed then: room is not made for it."""

    async def main() -> None:
        house = House(tmp_path, 10)
        unwanted = await house.admit("unwanted", 6)
        with pytest.raises(OverloadedError):
            await house.admit("too soon", 6)
        unwanted.handover.give_up()
        load = asyncio.ensure_future(house.load("wanted", 6))
        while not house.residency._deciding.locked():  # noqa: ASYNC110 - nothing else runs
            await asyncio.sleep(0)
        assert not load.done()
        model = Model(20)
        await house.residency.settle(unwanted, model, None)
        model.leaving = True
        house.close(model)
        await load
        assert house.residency.used == {"cpu": 6}
        assert not house.evicted

    run(main)


def test_one_that_is_given_up_keeps_nobody_waiting_whose_turn_it_is(tmp_path: Path) -> None:
    """Whoever decides waits for it to go, while it waits for its turn."""

    async def main() -> None:
        house = House(tmp_path, 10)
        old = await house.load("old", 4)
        unwanted = await house.admit("unwanted", 4)
        house.now_s += 1
        load = asyncio.ensure_future(house.load("wanted", 10))
        with pytest.raises(OverloadedError):
            await load
        load = asyncio.ensure_future(house.load("wanted", 6))
        await house.eviction()
        settling = asyncio.ensure_future(house.residency.settle(unwanted, Model(4), None))
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert house.residency._deciding.locked()
        assert not settling.done()
        unwanted.handover.give_up()
        with pytest.raises(GivenUpError):
            await settling
        assert house.residency._deciding.locked()
        house.residency.release(unwanted)
        house.close(old)
        await load
        assert not house.residency._deciding.locked()
        assert house.residency.used == {"cpu": 6}

    run(main)


def test_one_that_is_given_up_while_it_waits_for_what_goes_does_so_no_longer(tmp_path: Path) -> None:
    async def main() -> None:
        house = House(tmp_path, 10)
        old = await house.load("old", 6)
        house.now_s += 1
        handover = Handover()
        folder = house.folder("unwanted", 6)
        source = ModelSource("unwanted", 1, folder.parent, folder, placements=CPU, handover=handover)
        load = asyncio.ensure_future(house.residency.admit(source))
        await house.eviction()
        handover.give_up()
        with pytest.raises(GivenUpError):
            await load
        assert not house.residency._deciding.locked()
        house.close(old)
        assert house.residency.used == {}

    run(main)


def test_for_a_load_that_was_given_up_nobody_has_to_go(tmp_path: Path) -> None:
    async def main() -> None:
        house = House(tmp_path, 10)
        await house.load("old", 6)
        house.now_s += 1
        handover = Handover()
        handover.give_up()
        folder = house.folder("unwanted", 6)
        source = ModelSource("unwanted", 1, folder.parent, folder, placements=CPU, handover=handover)
        with pytest.raises(GivenUpError, match=r"^model 'unwanted' was unloaded meanwhile$"):
            await house.residency.admit(source)
        assert not house.evicted
        assert house.residency.used == {"cpu": 6}

    run(main)


def test_loads_at_the_same_time_do_not_take_the_same_room(tmp_path: Path) -> None:
    async def main() -> None:
        house = House(tmp_path, 10)
        outcomes = await asyncio.gather(
            *(house.admit(name, 6) for name in ("a", "b")), return_exceptions=True
        )
        claims = [each for each in outcomes if isinstance(each, Claim)]
        assert len(claims) == 1
        [refusal] = [each for each in outcomes if isinstance(each, OverloadedError)]
        assert refusal.message.endswith("on cpu it needs 6 B, and others keep 6 B of 10 B")
        # One that fails to load leaves nothing behind.
        house.residency.release(claims[0])
        house.residency.release(claims[0])
        await house.admit("b", 6)

    run(main)


def test_what_turns_out_to_be_more_than_expected(tmp_path: Path) -> None:
    async def main() -> None:
        house = House(tmp_path, 10)
        old = await house.load("old", 3)
        house.now_s += 1
        # For this one there is no room, whoever goes; for the other one there is when the first is gone.
        with pytest.raises(OverloadedError):
            await house.load("liar", 3, 11)
        assert house.evicted == []
        assert house.residency.used == {"cpu": 3}
        load = asyncio.ensure_future(house.load("larger", 3, 9))
        await house.eviction()
        house.close(old)
        await load
        assert house.residency.used == {"cpu": 9}
        # The next time it is known before.
        house.close(house.models.pop("larger"))
        house.models["there"] = await house.load("there", 2)
        house.held.add("there")
        with pytest.raises(OverloadedError, match="needs 9 B"):
            await house.admit("larger", 3)

    run(main)


def test_who_was_asked_is_seen_in_what_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        house = House(tmp_path, 9, min_idle_s=5)
        models = {name: await house.load(name, 3) for name in ("a", "b", "c")}
        house.now_s += 10
        # Since the last look: b 9 s ago, a 8 s ago; c only with something that is not executed.
        monkeypatch.setattr("time.time_ns", lambda: 1_000_000 * 10**6)
        models["b"].activity, models["b"].executed_ms = 1, 1_000_000 - 9_000
        models["a"].activity, models["a"].executed_ms = 1, 1_000_000 - 8_000
        models["c"].activity = 1
        load = asyncio.ensure_future(house.load("d", 3))
        await house.eviction()
        assert house.evicted == ["b"]
        house.close(house.gone)
        await load
        # c was asked just now, and d has just come: only a may go.
        with pytest.raises(OverloadedError):
            await house.admit("e", 6)
        assert house.evicted == ["b"]

    run(main)


def test_a_clock_that_jumps_makes_nobody_older_or_younger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        house = House(tmp_path, 9)
        for name in ("a", "b"):
            house.models[name] = await house.load(name, 3)
        house.residency._look()
        house.now_s += 10
        for jump, expected in ((10**9, 100.0), (-(10**9), 110.0)):
            monkeypatch.setattr("time.time_ns", lambda jump=jump: (2 * 10**9 + jump) * 10**6)
            model = house.models["a" if jump > 0 else "b"]
            model.activity, model.executed_ms = 1, 2 * 10**9
            house.residency._looked_s = 100.0
            house.residency._look()
            claim = next(each for each in house.residency._claims if each.model is model)
            assert claim.used_s == expected

    run(main)


def test_without_a_budget_everything_is_counted_and_nothing_goes(tmp_path: Path) -> None:
    async def main() -> None:
        house = House(tmp_path, 10)
        house.residency.budget = Budget()
        for name in ("a", "b"):
            await house.load(name, 60)
        assert house.residency.used == {"cpu": 120}
        assert house.evicted == []
        assert str(house.models["a"].memory) == "60 B"

    run(main)


def test_sizes(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "model").write_bytes(bytes(1000))
    (tmp_path / "deep" / "data").write_bytes(bytes(536))
    (tmp_path / "dangling").symlink_to("nowhere")
    gpus = [Placement("m_0", "GPU", 1), Placement("m_1", "GPU", 1), Placement("m_2", "CPU")]
    files = size_of_files(tmp_path, gpus)
    assert files == MemoryUse({"gpu1": 1536, "cpu": 1536}, estimated=True)
    assert str(files) == "~1.5 KiB, ~1.5 KiB on gpu1"
    assert [device_name(each) for each in ("cpu", "cuda:0", "cuda:3")] == ["cpu", "gpu0", "gpu3"]
    # What is known goes before what is seen, and that before what is guessed.
    assert use_in_process({"cpu": 5, "cuda:0": 7}, files, 9000) == MemoryUse({"cpu": 5, "gpu0": 7})
    assert use_in_process(None, files, 9000) == MemoryUse({"gpu1": 1536, "cpu": 9000}, estimated=True)
    assert use_in_process({"cpu": 0}, files, 9000) == use_in_process(None, files, 9000)
    assert use_in_process({}, files, None) == MemoryUse({"gpu1": 1536, "cpu": 1536}, estimated=True)


def test_processes_are_measured_and_those_that_have_ended_are_nothing() -> None:
    assert processes_bytes([os.getpid()]) > 1_000_000
    assert processes_bytes([2**30]) == 0


def test_what_has_grown_while_it_ran_makes_others_go(tmp_path: Path) -> None:
    async def main() -> None:
        house = House(tmp_path, 10)
        house.models["old"] = await house.load("old", 4)
        house.now_s += 1
        house.models["grown"] = await house.load("grown", 4)
        house.residency._of_models[house.models["grown"]].use = MemoryUse({"cpu": 7})
        house.residency._trim()
        assert house.evicted == ["old"]
        # It is still about to go: nobody else has to.
        house.residency._trim()
        assert house.evicted == ["old"]

    run(main)


HEAVY = """
import numpy as np
class Model:
    inputs = {"x": ("FP32", [1])}
    outputs = {"x": ("FP32", [1])}
    def load(self, context):
        self.weights = np.ones(16 << 20, np.float32)
    def __call__(self, inputs):
        return inputs
"""


@pytest.mark.slow
def test_versions_that_are_loaded_together_share_what_the_process_has_grown_by(tmp_path: Path) -> None:
    """Of handlers, nobody knows the weights, and the files say nothing."""
    for version in (1, 2):
        folder = tmp_path / "heavy" / str(version)
        folder.mkdir(parents=True)
        (folder / "model.py").write_text(HEAVY)
    (tmp_path / "heavy" / "config.pbtxt").write_text("version_policy { all { } }")

    async def main() -> int:
        manager = ModelManager(RepositoryOptions((tmp_path,), explicit=True), BackendRegistry())
        try:
            await manager.load("heavy")
            return manager.residency.used["cpu"]
        finally:
            await manager.stop()

    # Half of the 64 MiB that one has grown by, at least, and as much of the other.
    assert asyncio.run(main()) >= 64 << 20


def test_whether_waiting_makes_room(tmp_path: Path) -> None:
    async def main() -> None:
        house = House(tmp_path, 10, min_idle_s=10)
        await house.load("pinned", 2)
        house.pinned = {"pinned"}
        house.now_s += 1
        await house.load("held", 4)
        house.held = {"held"}
        house.now_s += 1
        old = await house.load("old", 4)
        house.now_s += 3

        async def refused(size: int) -> OverloadedError:
            with pytest.raises(OverloadedError, match="no room for model 'new'") as caught:
                await house.admit("new", size)
            return caught.value

        # The one that is held has not been asked for 4 s, and the other one for 3 s.
        for size, in_s in ((4, 6), (5, 7), (8, 7)):
            error = await refused(size)
            assert isinstance(error, NoRoomYetError)
            assert error.in_s == in_s
        # However long it waits.
        for size in (9, 11):
            assert not isinstance(await refused(size), NoRoomYetError)
        assert house.evicted == []
        # What is told of later is what there is then.
        wanted = [("large", {"cpu": 8}), ("larger", {"cpu": 9}), ("new", {"cpu": 4}), ("small", {"cpu": 1})]
        assert house.residency.first_with_room(wanted) is None
        house.now_s += 7
        assert house.residency.first_with_room(wanted) == "new"
        # Neither what somebody else was refused nor what has been busy meanwhile makes a difference.
        await refused(8)
        house.held.add("old")
        assert house.residency.first_with_room(wanted) is None
        house.held.clear()
        assert house.residency.first_with_room(wanted) == "large"
        assert house.evicted == []
        changing = house.residency.changing()
        house.evict("old")
        assert not changing.is_set()
        # As if what goes were gone.
        house.held.add("held")
        assert house.residency.first_with_room(wanted[1:]) == "new"
        house.close(old)
        assert changing.is_set()
        changing = house.residency.changing()
        assert not house.residency.is_admitted("new")
        await house.admit("new", 4)
        assert house.residency.is_admitted("new")
        assert changing.is_set()

    run(main)


def test_versions_of_one_model_do_not_wait_for_each_other(tmp_path: Path) -> None:
    async def main() -> None:
        house = House(tmp_path, 10)
        await house.admit("two", 6)
        with pytest.raises(OverloadedError) as caught:
            await house.admit("two", 6)
        assert not isinstance(caught.value, NoRoomYetError)
        # Another one may: this load may fail, or be idle once it is over.
        with pytest.raises(NoRoomYetError):
            await house.admit("other", 6)

    run(main)
