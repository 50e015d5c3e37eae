"""What models take whose memory nobody knows: found out while others come and go, in a process that is made up."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.backend import ModelSource, Placement
from kserve_v2.errors import NoRoomYetError
from kserve_v2.repository.residency.measuring import MemoryUse
from kserve_v2.repository.residency.residency import Budget, Residency

CPU = (Placement("m_0", "CPU"),)
BUDGET = 1000


class Process:
    """A process's memory. What is free is used first, and is the system's only when it is given back."""

    def __init__(self) -> None:
        self.held: dict[str, int] = {}
        self.cycles = 0
        self.free = 0
        self.most = 0
        self.collections = 0

    def resident(self) -> int:
        return 5000 + sum(self.held.values()) + self.cycles + self.free

    def libraries(self) -> int:
        return 0

    def return_freed(self, *, collect: bool) -> None:
        if collect:
            self.collections += 1
            self.cycles = 0
        self.free = 0

    def allocate(self, name: str, size: int) -> None:
        self.free -= min(self.free, size)
        self.held[name] = self.held.get(name, 0) + size
        self.most = max(self.most, sum(self.held.values()))

    def release(self, name: str, size: int | None = None) -> None:
        size = self.held[name] if size is None else size
        self.held[name] -= size
        self.free += size


class BrokenError(Exception):
    """A model cannot be loaded."""


class Model:
    """A loaded version, of which nobody knows what it takes."""

    def __init__(self) -> None:
        self.memory: MemoryUse | None = None
        self.leaving = False
        self.activity = 0
        self.executed_ms = 0
        self.pids: Sequence[int] = ()

    def known_memory(self) -> Mapping[str, int] | None:
        return None


class House:
    """Models that are loaded when they are asked for, each step of anything after a random number of turns."""

    def __init__(self, folder: Path, sizes: Mapping[str, int], random: Random) -> None:
        self.folder, self.sizes, self.random = folder, sizes, random
        self.process = Process()
        self.now_s = 100.0
        self.residency = Residency(self, Budget({"cpu": BUDGET}), lambda: self.now_s, self.process)
        self.models: dict[str, Model] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.loads: dict[str, asyncio.Task[None]] = {}
        self.measured: list[tuple[str, int]] = []

    async def count(self) -> None:
        pass

    def residents(self) -> Mapping[str, bool]:
        return dict.fromkeys(self.models, False)

    def lasting(self) -> set[str]:
        return set()

    def users(self) -> Mapping[str, Sequence[Model]]:
        return {}

    async def pause(self) -> None:
        for _ in range(self.random.randrange(4)):
            await asyncio.sleep(0)

    def evict(self, name: str) -> None:
        model = self.models.pop(name)
        model.leaving = True
        task = asyncio.ensure_future(self._close(name, model))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _close(self, name: str, model: Model) -> None:
        await self.pause()
        self.residency.closing(model)
        await self.pause()
        self.process.release(name)
        await self.pause()
        self.residency.closed(model)

    async def ask(self, name: str) -> None:
        """Returns when it is loaded, or there is no room."""
        # All of it is less than what is waited for anything: threads may be slow.
        self.now_s += 0.01
        if name in self.models:
            self.models[name].activity += 1
            return
        if name not in self.loads:
            self.loads[name] = asyncio.ensure_future(self._load(name))
        await self.loads[name]

    async def _load(self, name: str) -> None:
        try:
            # A version of the same model that goes has the same name in this process.
            while self.process.held.get(name):  # noqa: ASYNC110 - it is one of the steps of others
                await asyncio.sleep(0)
            claim = await self.residency.admit(ModelSource(name, 1, self.folder, self.folder, placements=CPU))
            try:
                async with self.residency.watch(claim) as watch:
                    await self._allocate(name)
                assert watch.bytes is not None
                self.measured.append((name, watch.bytes))
                model = Model()
                try:
                    await self.residency.settle(claim, model, watch)
                except BaseException:
                    self.residency.releasing(claim)
                    await self.pause()
                    self.process.release(name)
                    await self.pause()
                    raise
            except BaseException:
                self.residency.release(claim)
                raise
            self.models[name] = model
        except (NoRoomYetError, BrokenError):
            pass
        finally:
            del self.loads[name]

    async def _allocate(self, name: str) -> None:
        left = self.sizes[name]
        while left:
            part = self.random.randint(1, left)
            self.process.allocate(name, part)
            left -= part
            await self.pause()
        if self.random.random() < 0.1:
            # What it has made is kept by the error, and that by itself.
            self.process.cycles += self.process.held.pop(name)
            raise BrokenError
        # As whoever reads a file before making something of it.
        self.process.allocate("for a moment", 20)
        await self.pause()
        self.process.release("for a moment")

    async def quiet(self) -> None:
        while self.tasks:  # noqa: ASYNC110 - they are steps
            await asyncio.sleep(0)


def play(folder: Path, seed: int, *, known: bool) -> House:
    """Clients ask for models at the same time, and somebody unloads some. `known`: each was loaded before, alone."""
    random = Random(seed)  # noqa: S311 - steps of a test
    sizes = {name: random.randint(100, 450) for name in "abcdef"}
    house = House(folder, sizes, random)

    async def client() -> None:
        for _ in range(8):
            await house.ask(random.choice("abcdef"))
            await house.pause()
            name = random.choice("abcdef")
            if name in house.models and random.random() < 0.2:
                house.evict(name)

    async def main() -> None:
        if known:
            for name in sizes:
                while name not in house.models:
                    await house.ask(name)
                house.evict(name)
                await house.quiet()
            house.process.most = 0
        await asyncio.gather(*[client() for _ in range(4)])
        await house.quiet()

    asyncio.run(asyncio.wait_for(main(), 120))
    return house


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 1 << 32))
def test_each_is_measured_as_what_it_takes_whatever_comes_and_goes(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    house = play(tmp_path_factory.mktemp("empty"), seed, known=False)
    assert house.measured
    assert [
        (name, size - house.sizes[name]) for name, size in house.measured if size != house.sizes[name]
    ] == []
    assert sum(house.process.held.values()) <= BUDGET


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 1 << 32))
def test_with_what_was_measured_once_the_budget_is_never_exceeded(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    house = play(tmp_path_factory.mktemp("empty"), seed, known=True)
    assert house.process.most <= BUDGET + 20
