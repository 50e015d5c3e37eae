"""Anything that operators and clients do to models that several processes have, in any order, with workers that are killed:
what must hold then. The workers are processes; clients ask all of them all the time.

Each text begins with a number that grows with every edit, so it is seen which of two answers is the older one.
"""

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from kserve_v2.errors import InvalidArgumentError, NotFoundError, ServingError
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.repository.residency.residency import Budget
from tests.processes.replica_worker import BROKEN_ELSEWHERE
from tests.processes.replicated import UP_TO_BYTES, House
from tests.repository.text_models import answer

T = TypeVar("T")

# How often each client asks: others want the CPU, too.
_PACE_S = 0.02

NAMES = ("m", "n")
VERSIONS = (1, 2)
WORKERS = (1, 2)
NAME, VERSION = st.sampled_from(NAMES), st.sampled_from(VERSIONS)
KINDS = ("good", "good", "good", "good", "large", "broken", "broken elsewhere")
HOMES = ("", "", "", "single", "replicated")
ALL = "version_policy { all { } }"
HOME = 'parameters { key: "home" value { string_value: "%s" } }'


@dataclass(frozen=True)
class Text:
    """What is in the file of a version. `number`: of the edit."""

    number: int
    kind: str

    @property
    def content(self) -> str:
        match self.kind:
            case "broken":
                return "fail"
            case "broken elsewhere":
                return f"{BROKEN_ELSEWHERE} {self.number}"
            case "large":
                return f"{self.number} {'x' * UP_TO_BYTES}"
            case _:
                return f"{self.number} {'x' * self.number}"

    def everywhere(self, home: str) -> bool:
        """Whether all processes are to have it."""
        return home == "replicated" or (home == "" and self.kind != "large")

    def loads(self, home: str) -> bool:
        return self.kind != "broken" and not (self.kind == "broken elsewhere" and self.everywhere(home))


@dataclass
class Expected:
    """A model: what is on disk, and what answers. `served`: for each version its text, and whether workers have it."""

    home: str = ""
    texts: dict[int, Text] = field(default_factory=dict)
    served: dict[int, tuple[Text, bool]] = field(default_factory=dict)
    label: int | None = None
    # By version, the number of the text that the last load that has returned has brought.
    floor: dict[int, int] = field(default_factory=dict)

    def elsewhere(self, version: int) -> str:
        """What workers answer."""
        text, everywhere = self.served.get(version, (None, False))
        return text.content if text is not None and everywhere and self.label is None else ""


class Machine(RuleBasedStateMachine):
    """A home with two workers, and clients."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.root = Path(tempfile.mkdtemp())
        self.models = {name: Expected() for name in NAMES}
        self.number = 0

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(asyncio.wait_for(work, 60))

    @initialize()
    def start(self) -> None:
        async def begin() -> House:
            made = House(self.root, 3, memory=Budget({"cpu": 10**9}))
            await asyncio.gather(*(made.join(number, apart=True) for number in WORKERS))
            made.manager.started = True
            return made

        self.house = self.do(begin())
        self.manager = self.house.manager
        for name in NAMES:
            self.configure(name, "", 1)
            self.edit(name, 1, "good")
            self.load(name)

    # --- what is written --------------------------------------------------------------------------------------------

    @rule(name=NAME, version=VERSION, kind=st.sampled_from(KINDS))
    def edit(self, name: str, version: int, kind: str) -> None:
        self.number += 1
        text = Text(self.number, kind)
        directory = self.root / name / str(version)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        (directory / "model.text").write_text(text.content)
        self.models[name].texts[version] = text

    @rule(name=NAME, home=st.sampled_from(HOMES), count=st.sampled_from([1, 2]))
    def configure(self, name: str, home: str, count: int) -> None:
        (self.root / name).mkdir(exist_ok=True)
        parts = [ALL, f"instance_group {{ count: {count} kind: KIND_CPU }}", HOME % home if home else ""]
        (self.root / name / "config.pbtxt").write_text(" ".join(parts))
        self.models[name].home = home

    # --- what the server is told ------------------------------------------------------------------------------------

    @rule(name=NAME)
    def load(self, name: str) -> None:
        model = self.models[name]
        error = self.amid_requests(self.outcome(self.manager.load(name)))
        fine = {version: text for version, text in model.texts.items() if text.loads(model.home)}
        assert (error is None) == (fine == model.texts), error
        if error is not None:
            assert isinstance(error, InvalidArgumentError)
            elsewhere = [text for text in model.texts.values() if text.kind == "broken elsewhere"]
            assert ("process " in error.message) == bool(set(elsewhere) - set(fine.values()))
        # What could be loaded takes the place of what was there before; what could not leaves it as it was.
        for version, text in fine.items():
            model.served[version] = text, text.everywhere(model.home)
            model.floor[version] = text.number

    async def outcome(self, work: Coroutine[Any, Any, Any]) -> ServingError | None:
        try:
            await work
        except ServingError as error:
            return error
        return None

    @rule(name=NAME, evicted=st.booleans())
    def unload(self, name: str, evicted: bool) -> None:
        async def unload() -> None:
            (self.manager.evict if evicted and self.models[name].served else self.manager.unload)(name)
            await self.house.replicas.acknowledged()

        self.amid_requests(unload())
        self.models[name].served.clear()

    @rule(name=NAME, version=st.none() | VERSION)
    def label(self, name: str, version: int | None) -> None:
        async def change() -> None:
            await self.manager.releases.change(name, {"labels": {"PROD": version}}, "test")
            await self.house.replicas.acknowledged()

        model = self.models[name]
        error = self.amid_requests(self.outcome(change()))
        assert (error is None) == (bool(model.served) and version in {None, *model.served})
        if error is None:
            model.label = version
        else:
            assert isinstance(error, NotFoundError)

    @rule(number=st.sampled_from(WORKERS))
    def kill(self, number: int) -> None:
        """It comes again, and what it had counted stays counted."""
        [other] = set(WORKERS) - {number}
        models = {model: name for name in NAMES for model in self.manager.ready_versions(name)}

        async def kill() -> None:
            await self.manager.count()
            await self.house.end(number)
            await self.house.join(number, apart=True)

        before = {model: model.statistics.success_count for model in models}
        answered: Counter[LoadedModel] = Counter()
        self.do(self.manager.count())
        before = {model: model.statistics.success_count for model in models}
        self.amid_requests(kill(), processes=(0, other), answered=answered)
        self.do(self.manager.count())
        for model in models:
            assert model.statistics.success_count == before[model] + answered[model]

    # --- what clients ask -------------------------------------------------------------------------------------------

    def amid_requests(
        self,
        work: Coroutine[Any, Any, T],
        processes: tuple[int, ...] = (0, *WORKERS),
        answered: Counter[LoadedModel] | None = None,
    ) -> T:
        """Do something while clients ask all processes. No answer is older than what a load has brought that had returned
        before it was asked for, and each request has its one outcome.
        """

        async def ask(process: int, name: str, version: int, over: asyncio.Event) -> None:
            while not over.is_set():
                floor = self.models[name].floor.get(version, 0)
                try:
                    text = await self.ask(process, name, str(version))
                except ServingError:
                    text = ""
                if text:
                    found = int(text.removeprefix(BROKEN_ELSEWHERE).split()[0])
                    assert found >= floor
                    if answered is not None:
                        [model] = [
                            each for each in self.manager.ready_versions(name) if each.version == version
                        ]
                        answered[model] += 1
                await asyncio.sleep(_PACE_S)

        async def both() -> T:
            over = asyncio.Event()
            asking = [
                asyncio.ensure_future(ask(process, name, version, over))
                for process in processes
                for name in NAMES
                for version in VERSIONS
            ]
            try:
                return await work
            finally:
                over.set()
                await asyncio.gather(*asking)

        return self.do(both())

    async def ask(self, process: int, name: str, version: str) -> str:
        if not process:
            return await answer(self.manager, name, version)
        worker = self.house.workers.get(process)
        return "" if worker is None else await worker.ask(name, version)

    @invariant()
    def all_processes_answer_alike(self) -> None:
        if not hasattr(self, "house"):
            return

        async def ask_all() -> None:
            await self.manager.count()
            for name, model in self.models.items():
                loaded = {each.version: each for each in self.manager.ready_versions(name)}
                assert loaded.keys() == model.served.keys()
                counts = {version: each.statistics.success_count for version, each in loaded.items()}
                for version, (text, _) in model.served.items():
                    elsewhere = model.elsewhere(version)
                    said = await self.house.ask_all(name, str(version))
                    assert said == [text.content, elsewhere, elsewhere]
                    counts[version] += 1 + 2 * bool(elsewhere)
                latest = max(model.served, default=0)
                for worker in self.house.workers.values():
                    elsewhere = model.elsewhere(latest)
                    assert await worker.ask(name) == elsewhere
                    counts.update({latest: counts[latest] + 1} if elsewhere else {})
                    if not model.served:
                        assert [await worker.ask(name, str(version)) for version in VERSIONS] == ["", ""]
                await self.manager.count()
                assert counts == {version: each.statistics.success_count for version, each in loaded.items()}

        self.do(ask_all())

    def teardown(self) -> None:
        async def end() -> None:
            await self.manager.drain()
            await self.manager.stop()
            for number in list(self.house.workers):
                await self.house.end(number)
            assert self.house.backend.open == 0
            await asyncio.sleep(0)

        try:
            if hasattr(self, "house"):
                self.do(end())
        finally:
            self.runner.close()
            shutil.rmtree(self.root)


@pytest.mark.slow
def test_anything_in_any_order() -> None:
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=1,
            stateful_step_count=25,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
