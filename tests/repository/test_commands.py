"""Commands for one model in every order, while directories are read and versions are loaded and closed in every other:
what must hold then. No thread and no file takes part: `Workshop` stands for what blocks, and ends it when it is told to.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.backend import Handover, ModelConfig, ModelSource
from kserve_v2.errors import InvalidArgumentError, ServingError, UnavailableError
from kserve_v2.repository.lifecycle.load_request import LoadRequest
from kserve_v2.repository.lifecycle.loader import Loader
from kserve_v2.repository.lifecycle.managed import ManagedModel
from kserve_v2.repository.lifecycle.replicas import NO_REPLICAS, Replicas
from kserve_v2.repository.lifecycle.states import ModelState
from kserve_v2.repository.preparing.candidate import Override
from kserve_v2.repository.routing.store import NOTHING_FOUND, Found
from kserve_v2.scheduling.warm_up import WarmedUp

# What may lie in the model's directory: whether each version loads. None: the directory cannot be read.
DISKS: tuple[Mapping[int, bool] | None, ...] = (
    {1: True},
    {1: False},
    {2: True},
    {1: True, 2: True},
    {1: True, 2: False},
    {2: False, 3: True},
    None,
)

# What a load brings along: a configuration, or files with one.
OVERRIDES = (None, None, None, "good", "bad", "files", "bad files")


@dataclass(frozen=True)
class FoundOnDisk:
    """Stands for a `Candidate`. `began`: the step at which the read began."""

    loads: Mapping[int, bool]
    changes: str
    began: int
    config: ModelConfig = field(default_factory=ModelConfig)
    uploaded: object = None
    listed: bool = True
    override: Override | None = None
    found: Found = NOTHING_FOUND

    def fingerprint(self, version: int) -> str:
        return f"{self.changes}/{version}"

    @property
    def versions(self) -> list[int]:
        return sorted(self.loads)


class ServedModel:
    """Stands for a `LoadedModel`, for its scheduler and for its pool."""

    down = note = ""
    processes = ()
    warmed_up = WarmedUp()

    def __init__(self, workshop: "Workshop", found: FoundOnDisk, version: int) -> None:
        self.scheduler = self.pool = self
        self.found = found
        self.version = version
        self._workshop = workshop
        workshop.open.append(self)

    async def drain(self) -> None:
        await self._workshop.begin(self._workshop.drains)

    async def close(self) -> None:
        self._workshop.open.remove(self)

    def adopt(self, written: object) -> None:
        """It shows nothing."""

    def abandon(self, why: str = "") -> None:
        """There are no requests."""


class NothingToTidy:
    """Stands for a `Tidying`, and for a `Cleaning`."""

    def after_load(self) -> None:
        pass

    def after_end(self) -> None:
        pass

    def later(self) -> None:
        pass


@dataclass
class Workshop:
    """Stands for a `Loader`. What has begun ends when the test takes its future out of the list."""

    disk: Mapping[int, bool] | None = None
    drain_limit_s: float = 0
    replicas: Replicas = NO_REPLICAS
    tidying: NothingToTidy = field(default_factory=NothingToTidy)
    cleaning: NothingToTidy = field(default_factory=NothingToTidy)
    changes: int = 0
    step: int = 0
    reads: list[asyncio.Future[None]] = field(default_factory=list)
    loads: list[asyncio.Future[None]] = field(default_factory=list)
    drains: list[asyncio.Future[None]] = field(default_factory=list)
    open: list[ServedModel] = field(default_factory=list)
    overrides: list[str | None] = field(default_factory=list)
    folders: list[object] = field(default_factory=list)

    async def begin(self, under_way: list[asyncio.Future[None]]) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        under_way.append(done)
        await done

    async def upload(self, name: str, files: Mapping[str, bytes]) -> object:
        await self.begin(self.reads)
        folder = object()
        self.folders.append(folder)
        return folder

    def discard(self, folder: object) -> None:
        self.folders.remove(folder)

    async def read(self, name: str, override: Override | None, uploaded: object) -> FoundOnDisk:
        began = self.step
        text = override.text if override is not None else None
        self.overrides.append(text)
        await self.begin(self.reads)
        if self.disk is None:
            raise InvalidArgumentError("the directory cannot be read")
        loads = {version: good and text not in ("bad", "bad files") for version, good in self.disk.items()}
        return FoundOnDisk(
            loads, f"{self.changes}/{text}/{id(uploaded)}", began, uploaded=uploaded, override=override
        )

    async def prepare(self, found: FoundOnDisk, version: int, _handover: Handover) -> Any:
        await self.begin(self.loads)
        source = ModelSource("m", version, cast(Any, None), cast(Any, None), {})
        prepared: Any = type("Prepared", (), {"source": source, "found": found, "version": version})
        return prepared

    async def load(self, prepared: Any, *, revived: bool) -> ServedModel:
        assert not revived
        if not prepared.found.loads[prepared.version]:
            raise InvalidArgumentError("this version is broken")
        return ServedModel(self, prepared.found, prepared.version)

    @property
    def residency(self) -> "Workshop":
        """Of memory it knows nothing."""
        return self

    def closing(self, model: ServedModel) -> None:
        """It gives back nothing."""

    def closed(self, model: ServedModel) -> None:
        """It used nothing."""


@dataclass(eq=False)
class Call:
    """One load that was asked for. `overtaken`: an unload came before it was over."""

    task: asyncio.Task[None]
    override: str | None
    overtaken: bool = False
    seen: bool = False

    @property
    def error(self) -> BaseException | None:
        return self.task.exception()


def request_of(override: str | None) -> LoadRequest:
    files = {"file:1/model.py": b""} if override and "files" in override else {}
    return LoadRequest(override, files)


class Interleaving:
    """Takes steps, and checks after each of them what must hold."""

    def __init__(self) -> None:
        self.workshop = Workshop()
        self.model = ManagedModel("m", cast(Loader, self.workshop), lambda model: None)
        self.calls: list[Call] = []
        self.abandoned = 0
        self.unloaded_at = -1
        self.override: str | None = None
        self.was_serving = False
        self.newest: dict[int, int] = {}

    @property
    def serving(self) -> dict[int, ServedModel]:
        served = self.model.served
        return (
            {int(each): cast(ServedModel, model) for each, model in served.versions.items()} if served else {}
        )

    # --- steps

    async def take(self, step: tuple[str, int]) -> None:
        kind, number = step
        self.workshop.step += 1
        match kind:
            case "change":
                self.workshop.changes += 1
                self.workshop.disk = DISKS[number % len(DISKS)]
            case "load":
                override = OVERRIDES[number % len(OVERRIDES)]
                self.calls.append(Call(asyncio.create_task(self.model.load(request_of(override))), override))
            case "unload":
                self.model.unload()
                self.unloaded_at, self.override = self.workshop.step, None
                for call in self.calls:
                    call.overtaken |= not call.task.done()
                assert not self.serving
            case "leave":
                waiting = [call for call in self.calls if not call.task.done()]
                if waiting:
                    waiting[number % len(waiting)].task.cancel()
            case _:
                under_way = getattr(self.workshop, kind)
                if under_way:
                    under_way.pop(number % len(under_way)).set_result(None)
        await self.rest()
        self.check()

    async def rest(self) -> None:
        """Let everything go on that can."""
        for _ in range(20):
            await asyncio.sleep(0)
            self.look_at_calls()

    def look_at_calls(self) -> None:
        for call in self.calls:
            if call.task.done() and not call.seen:
                call.seen = True
                self.check_outcome(call)

    def check_outcome(self, call: Call) -> None:
        if call.task.cancelled():
            self.abandoned += 1
        elif call.error is None:
            assert not call.overtaken
            assert self.serving, "what answers that it is loaded is served"
            if call.override is not None:
                # The configuration of files goes with them.
                self.override = None if "files" in call.override else call.override
        else:
            assert isinstance(call.error, ServingError)
            assert call.overtaken or not isinstance(call.error, UnavailableError)

    # --- what must hold

    def check(self) -> None:
        assert len(self.workshop.reads) <= 1, "one load at a time"
        loading = [
            record
            for record in self.model.records
            if record.state is ModelState.LOADING and not record.given_up
        ]
        assert len({record.generation for record in loading}) <= 1, "one load at a time"
        serving = self.serving
        if self.was_serving and self.unloaded_at != self.workshop.step:
            assert serving, "what served serves on, until an unload"
        for version, model in serving.items():
            assert model in self.workshop.open
            assert model.found.uploaded is None or model.found.uploaded in self.workshop.folders
            assert model.found.began > self.unloaded_at, (
                "a load does not outlive an unload that came after it"
            )
            assert model.found.began >= self.newest.get(version, -1), "the newer generation wins"
            self.newest[version] = model.found.began
        self.was_serving = bool(serving)

    async def finish(self) -> None:
        """End everything that is under way, in the order in which it began."""
        while any((self.workshop.reads, self.workshop.loads, self.workshop.drains)):
            for kind in ("reads", "loads", "drains"):
                await self.take((kind, 0))
        assert all(call.task.done() for call in self.calls), "every call has an outcome"
        used = {model.found.uploaded for model in self.workshop.open}
        assert set(self.workshop.folders) <= used, "no file is kept that nothing is made from"

    async def load_now(self, disk: Mapping[int, bool], override: str | None = None) -> Call:
        self.workshop.step += 1
        self.workshop.changes += 1
        self.workshop.disk = disk
        call = Call(asyncio.create_task(self.model.load(request_of(override))), override)
        self.calls.append(call)
        await self.rest()
        await self.finish()
        return call


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ("change", "load", "load", "unload", "leave", "reads", "reads", "loads", "loads", "drains")
        ),
        st.integers(0, 13),
    ),
    max_size=40,
)


@pytest.mark.slow
@given(STEPS)
@settings(max_examples=200, deadline=None)
def test_commands_in_any_order(steps: list[tuple[str, int]]) -> None:
    async def main() -> None:
        run = Interleaving()
        for step in steps:
            await run.take(step)
        await run.finish()
        if run.unloaded_at >= 0 and not run.serving:
            assert all(record.state is ModelState.UNAVAILABLE for record in run.model.records)
        # Whatever has happened before, a broken load changes nothing that is served, and a good one everything.
        before = run.serving
        broken = await run.load_now({1: False, 4: False})
        assert isinstance(broken.error, InvalidArgumentError)
        assert run.serving == before
        expected = None if run.abandoned else run.override
        good = await run.load_now({4: True})
        if run.abandoned == 0:
            assert run.workshop.overrides[-2:] == [expected, expected]
        assert good.error is None
        assert list(run.serving) == [4]
        assert run.workshop.open == list(run.serving.values())
        assert run.model.fulfilled
        for override in ("good", "bad", None, "bad files", None, "files", None, "good"):
            await run.load_now({4: True}, override)
        await run.take(("unload", 0))
        await run.load_now({4: True})
        assert run.workshop.overrides[-9:] == [
            "good", "bad", "good", "bad files", "good", "files", None, "good", None,
        ]  # fmt: skip
        await run.take(("unload", 0))
        await run.finish()
        assert not run.workshop.open
        assert not run.workshop.folders
        assert run.model.fulfilled
        assert {(record.state, record.reason) for record in run.model.records} == {
            (ModelState.UNAVAILABLE, "unloaded")
        }

    asyncio.run(main())
